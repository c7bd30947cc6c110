//! Display adapters and the pictures they make.

mod picture;
pub mod vga;

pub use picture::Picture;
