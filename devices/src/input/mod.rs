//! Keyboard and pointer.

pub mod i8042;
pub mod keys;
mod keysyms;
pub mod layouts;
mod ps2;
mod sink;

pub(crate) use sink::lights_in_order;
pub use sink::{InputSink, Motion, Pointer, Role};
