//! Network cards.

pub mod e1000;
mod offload;
