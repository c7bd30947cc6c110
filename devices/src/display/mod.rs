//! Display adapters and the pictures they make.

mod picture;

pub use picture::Picture;
