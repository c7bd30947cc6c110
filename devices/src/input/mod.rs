//! Keyboard and pointer.
