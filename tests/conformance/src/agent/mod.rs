//! The agent: a guest of a few kilobytes that does on a real PC what a case asks for.
//!
//! [`image`] is its BIOS, assembled here. It runs from the reset vector on, moves to RAM below 0x20000, needs no
//! address line 20 and no shadow RAM, touches no device but COM2 and its CPU's own, and carries out what [`wire`] describes.

mod code;
pub mod layout;
pub mod wire;

#[cfg(test)]
mod tests;

pub use code::image;
