#![forbid(unsafe_code)]
//! `ailurus`: see `ailurus --help`.

use std::process::ExitCode;

fn main() -> ExitCode {
    devicemodel::commands::main()
}
