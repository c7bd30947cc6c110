#![forbid(unsafe_code)]
//! Fuzz targets: everything hostile that reaches us as bytes, each as a function that takes any bytes.

pub mod engine;
mod script;
mod targets;

pub use targets::{TARGETS, Target};
