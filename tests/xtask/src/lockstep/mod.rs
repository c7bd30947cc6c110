//! `cargo xtask lockstep`: a guest run twice, its code interpreted and translated, and held against itself.
//!
//! Both runs count instructions, and so are the same run if the tiers are right. Each says at chosen instants what the
//! guest is: hashes of the vCPU, RAM and every device. Where they differ first, the same two runs are made again with
//! closer stops, down to a block, and then with that block cut shorter, down to an instruction.

mod cases;
mod pair;
mod report;

use anyhow::{Result, bail, ensure};

use crate::place::Place;
use crate::{check, guests, ui};
use cases::{CASES, Case};
use pair::{Difference, Stops, Verdict};

/// How much closer the stops are in each further pair of runs.
const CLOSER: u64 = 100;

/// What is asked.
#[derive(clap::Args)]
pub struct Arguments {
    /// Which guest; `all`, or `list` for their names
    guest: String,
    /// Up to this instant of guest time, in nanoseconds: one an instruction, more where the guest waits
    #[arg(long)]
    until: Option<u64>,
    /// From one stop to the next
    #[arg(long, default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
    /// Plant a fault: in the second run a bit of the stack pointer is another one from this instant on. It must be found
    /// and named
    #[arg(long)]
    plant: Option<u64>,
}

/// Runs what was asked for.
pub fn lockstep(place: &Place, arguments: &Arguments) -> Result<()> {
    if arguments.guest == "list" {
        CASES.iter().for_each(|case| println!("{:<20} {}", case.name, case.what));
        return Ok(());
    }
    let chosen: Vec<&Case> =
        CASES.iter().filter(|case| arguments.guest == "all" || arguments.guest == case.name).collect();
    ensure!(!chosen.is_empty(), "there is no guest {}: `cargo xtask lockstep list`", arguments.guest);
    // Who says which program is meant has made the guests, too.
    if std::env::var_os("AILURUS").is_none() {
        guests::guests(place)?;
        check::release(place)?;
    }
    let mut failed = Vec::new();
    for case in chosen {
        match one(case, arguments) {
            Ok(said) => println!("ok      {}: {said}", case.name),
            Err(error) => {
                println!("FAILED  {}: {error:#}", case.name);
                failed.push(case.name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("not the same in both tiers: {}", failed.join(", "));
    }
    Ok(())
}

/// One guest; gives a sentence of what was seen.
fn one(case: &Case, arguments: &Arguments) -> Result<String> {
    let until = arguments.until.or(case.until);
    let stops = Stops { every: arguments.every, until, plant: arguments.plant, ..Stops::default() };
    let found = match pair::run(case, &stops)? {
        Verdict::Same { stops, last } => {
            ensure!(arguments.plant.is_none(), "the planted fault left no trace in {stops} stops");
            return Ok(format!("{stops} stops alike, to {last}"));
        }
        Verdict::Differ(found) => found,
    };
    ui::say(format!("{}: a difference, {found}", case.name));
    let (found, count) = narrow(case, stops, found)?;
    let text = report::text(&found, count);
    let last = found.last();
    match arguments.plant {
        Some(planted) if last.time == planted && count.is_some() => {
            println!("{text}");
            Ok(format!("the planted fault was found, at instruction {}", last.count))
        }
        Some(planted) => bail!("a fault was planted at {planted}, and this was found:\n{text}"),
        None => bail!("the tiers differ\n{text}"),
    }
}

/// From a difference at some stop to one behind a block, or behind an instruction of it: then also the number of
/// instructions from the last stop that was alike.
fn narrow(case: &Case, mut stops: Stops, mut found: Difference) -> Result<(Difference, Option<u64>)> {
    while stops.every > 1 {
        stops.every = (stops.every / CLOSER).max(1);
        stops.detail = stops.every == 1;
        stops.from = Some(found.before.as_ref().map_or(1, |line| line.time));
        stops.until = Some(found.last().time);
        found = match pair::run(case, &stops)? {
            Verdict::Differ(found) => found,
            Verdict::Same { .. } => bail!("{found}; but not where the stops are {} apart", stops.every),
        };
        ui::say(format!("{}: {found}", case.name));
    }
    let Some(before) = found.before.clone() else { return Ok((found, None)) };
    stops.from = Some(before.time);
    stops.until = Some(before.time + 1);
    // The block with so many instructions at most: the first stop behind it.
    let behind = |most: u64| -> Result<Option<Difference>> {
        match pair::run(case, &Stops { cut: Some((before.time, most)), ..stops.clone() })? {
            Verdict::Differ(found) => Ok(Some(found)),
            Verdict::Same { .. } => Ok(None),
        }
    };
    let whole = found.last().count.saturating_sub(before.count).clamp(1, 48);
    let Some(mut shortest) = behind(whole)? else { return Ok((found, None)) };
    let (mut alike, mut differs) = (0, whole);
    while differs - alike > 1 {
        let middle = (alike + differs) / 2;
        match behind(middle)? {
            Some(found) => (shortest, differs) = (found, middle),
            None => alike = middle,
        }
    }
    Ok((shortest, Some(differs)))
}
