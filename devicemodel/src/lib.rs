#![forbid(unsafe_code)]
//! The program `ailurus`: builds a machine from a configuration and runs it.

pub mod cli;
pub mod config;
pub mod monitor;
pub mod saved;
pub mod stream;
pub mod xlcfg;
