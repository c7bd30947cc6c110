//! System instructions.
