//! Keyboard and pointer.

pub mod i8042;
pub mod keys;
mod keysyms;
mod ps2;
