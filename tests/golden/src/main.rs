#![forbid(unsafe_code)]
//! Makes the golden saved state of this build. See the README beside it.

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(file) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: cargo run -p golden-tests -- tests/golden/states/VERSION.saved");
        return ExitCode::from(2);
    };
    let made = std::path::absolute(&file).map_err(anyhow::Error::from).and_then(|file| {
        let folder = tempfile::tempdir()?;
        golden_tests::enter(folder.path())?;
        golden_tests::make(&file)
    });
    match made {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
