//! One test: its time, its verdict.

use std::time::Instant;

use anyhow::Result;

use crate::place::Missing;

/// Runs a test and prints how long it took. Panics with the whole chain of causes when it fails; files that
/// are missing are a failure too, unless `AILURUS_SKIP_MISSING` is set.
pub fn case(name: &str, test: impl FnOnce() -> Result<()>) {
    let begun = Instant::now();
    let result = test();
    let time = begun.elapsed().as_secs_f32();
    match result {
        Ok(()) => println!("{name}: {time:.1} s"),
        Err(error) => {
            let missing = error.downcast_ref::<Missing>().is_some();
            if missing && std::env::var_os("AILURUS_SKIP_MISSING").is_some() {
                println!("{name}: SKIPPED, {error:#}");
                return;
            }
            panic!("{name}: failed after {time:.1} s: {error:#}");
        }
    }
}
