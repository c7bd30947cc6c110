//! Display adapters and the pictures they make.

pub mod bochs;
pub mod cirrus;
pub mod edid;
pub mod monitor;
pub mod vga;

pub use devices_core::picture::Picture;
