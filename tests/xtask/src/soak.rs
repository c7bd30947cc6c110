//! `cargo xtask soak`: the tests that take too long for every day, those marked `#[ignore = "soak: why"]`.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use crate::marks::{self, Mark, Marked};
use crate::place::Place;
use crate::{check, guests, ui};

/// Runs the soak tests whose name contains `only`, one after the other, and tells how each went.
pub fn soak(place: &Place, only: Option<&str>) -> Result<()> {
    let mut tests = marks::find(&place.workspace, Mark::Soak)?;
    tests.retain(|test| only.is_none_or(|only| test.name.contains(only)));
    ensure!(!tests.is_empty(), "no soak test is called {}", only.unwrap_or("anything"));
    guests::guests(place)?;
    check::release(place)?;
    let mut verdicts = Vec::new();
    for (index, test) in tests.iter().enumerate() {
        ui::say(format!("\n[{}/{}] {}: {}", index + 1, tests.len(), test.name, test.reason));
        let begun = Instant::now();
        let result = test.run(place);
        verdicts.push((test, result, begun.elapsed()));
    }
    report(&verdicts)
}

fn report(verdicts: &[(&Marked, Result<()>, Duration)]) -> Result<()> {
    eprintln!();
    let mut failed = 0;
    for (test, result, time) in verdicts {
        let word = if result.is_ok() { "ok    " } else { "FAILED" };
        eprintln!("{word} {:8.1} s  {}", time.as_secs_f32(), test.name);
        failed += u32::from(result.is_err());
    }
    if failed > 0 {
        bail!("{failed} of {} soak tests failed", verdicts.len());
    }
    Ok(())
}
