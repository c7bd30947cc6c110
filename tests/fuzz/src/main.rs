#![forbid(unsafe_code)]
//! Fuzzes one target, or runs one input. `cargo xtask fuzz` calls this; see the README.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use fuzz_targets::{TARGETS, Target, engine};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match work(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(words: &[String]) -> Result<()> {
    match words {
        [] => {
            for target in TARGETS {
                println!("{}", target.name);
            }
            Ok(())
        }
        [name, what] => {
            let target = TARGETS.iter().find(|target| target.name == name);
            let target = target.with_context(|| format!("no target is called {name}"))?;
            match what.parse() {
                Ok(seconds) => fuzz(target, Duration::from_secs(seconds)),
                Err(_) => again(target, Path::new(what)),
            }
        }
        _ => bail!("usage: fuzz TARGET SECONDS | fuzz TARGET FILE | fuzz"),
    }
}

fn fuzz(target: &Target, time: Duration) -> Result<()> {
    let given = std::env::var("AILURUS_SEED").ok().and_then(|text| text.parse().ok());
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos() as u64;
    let seed = given.unwrap_or_else(now);
    println!("{}: AILURUS_SEED={seed}", target.name);
    // What is caught on the way says nothing; what fails is told at the end.
    std::panic::set_hook(Box::new(|_| ()));
    let folder = PathBuf::from("build/fuzz").join(target.name);
    let report = engine::fuzz(target, time, seed, &folder)?;
    println!("{}: {} inputs, {} outcomes, none failed", target.name, report.runs, report.outcomes);
    Ok(())
}

/// One input, with the panic's own message and place.
fn again(target: &Target, file: &Path) -> Result<()> {
    let input = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    match engine::run(target, &input) {
        Ok(_) => {
            println!("{}: it does not fail", target.name);
            Ok(())
        }
        Err(why) => bail!("{}: {why}", target.name),
    }
}
