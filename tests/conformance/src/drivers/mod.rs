//! The kinds of machines.
