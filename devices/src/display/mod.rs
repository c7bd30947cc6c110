//! Display adapters and the pictures they make.

pub mod cirrus;
pub mod edid;
pub mod vga;

pub use devices_core::picture::Picture;
