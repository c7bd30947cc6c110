//! Keyboard and pointer.

pub mod i8042;
pub mod keys;
mod keysyms;
pub mod layouts;
mod ps2;
