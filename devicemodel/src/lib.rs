#![forbid(unsafe_code)]
//! The program `ailurus`: builds a machine from a configuration and runs it.

pub mod cli;
pub mod commands;
pub mod config;
mod display;
mod domain;
pub mod host;
pub mod inherited;
pub mod install;
mod launch;
pub mod ledger;
pub mod listing;
pub mod lockstep;
pub mod machine;
pub mod monitor;
pub mod notices;
pub mod probe;
pub mod qdisk;
pub mod qemu;
pub mod qemu_main;
pub mod qtest;
pub mod replay;
pub mod restore;
pub mod run;
pub mod sandbox;
pub mod saved;
pub mod screenshot;
mod shares;
pub mod stream;
pub mod trace;
pub mod vnc;
pub mod web;
pub mod whole_file;
pub mod xlcfg;
