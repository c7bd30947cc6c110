//! `cargo xtask bench`: Ailurus beside Debian's QEMU with its translator, on this machine, in one run.
//!
//! Each measure is taken of both in turn, several times, and the medians are compared: what else the machine does
//! meanwhile hits both alike.

mod aio;
mod cpu;
// The example of hypervisor-soft runs the same ones, with nothing around them.
#[path = "../../../hypervisor/soft/examples/mips/loops.rs"]
mod loops;
mod measures;
mod network;
mod virtio;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use guest_tests::Program;

use crate::fetch::{Group, fetch};
use crate::place::Place;
use crate::{guests, ui};
use measures::{MEASURES, Measure};

/// Which of two figures is the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The smaller: seconds, megabytes.
    Less,
    /// The larger: work in a time.
    More,
}

/// One row of the table.
struct Row {
    measure: &'static Measure,
    ours: Option<f64>,
    qemu: Option<f64>,
}

/// Brings what is needed, measures, prints the table.
pub fn bench(place: &Place, runs: usize, only: Option<&str>) -> Result<()> {
    fetch(place, &[Group::Firmware, Group::Qemu], false)?;
    guests::guests(place)?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let build = ["build", "--release", "--bin", "ailurus"];
    if std::env::var_os("AILURUS").is_none() {
        ui::show(Command::new(&cargo).args(build).current_dir(&place.workspace))?;
    }
    let ours = Program::Ailurus(guest_tests::place::program()?);
    let qemu = Program::qemu()?;
    let all = MEASURES.iter().chain(network::MEASURES).chain(virtio::MEASURES).chain(cpu::MEASURES);
    let wanted = all.filter(|measure| match only {
        None => true,
        Some("cpu") => cpu::is_one(measure.name),
        Some(part) => measure.name.contains(part),
    });
    let rows: Vec<Row> = wanted.map(|measure| compare(measure, &ours, &qemu, runs)).collect();
    println!("{}", table(&rows));
    if let Some(mean) = mean_of_loops(&rows) {
        println!("loops, geometric mean: {mean:.2} times as fast as QEMU's (asked for: 2)");
    }
    if only.is_none_or(|only| only == "cpu") {
        instructions(place, cargo.into())?;
    }
    Ok(())
}

/// Measures both in turn, now the one first and now the other: what the machine does beside it falls on both.
fn compare(measure: &'static Measure, ours: &Program, qemu: &Program, runs: usize) -> Row {
    let mut figures = [Vec::new(), Vec::new()];
    for run in 1..=runs {
        let mut both: Vec<_> = [ours, qemu].into_iter().zip(&mut figures).collect();
        if run % 2 == 0 {
            both.reverse();
        }
        for (program, figures) in both {
            let who = if program == ours { "ailurus" } else { "qemu" };
            match (measure.take)(program) {
                Ok(figure) => {
                    ui::say(format!("{} {run}/{runs}: {who} {figure:.2} {}", measure.name, measure.unit));
                    figures.push(figure);
                }
                // One guest that fails must not cost the other figures; the table shows the gap.
                Err(error) => ui::say(format!("{} {run}/{runs}: {who} FAILED: {error:#}", measure.name)),
            }
        }
    }
    let [mut of_ours, mut of_qemu] = figures;
    Row { measure, ours: median(&mut of_ours), qemu: median(&mut of_qemu) }
}

/// How many times as fast we are as QEMU in the loops, if all of them were measured.
fn mean_of_loops(rows: &[Row]) -> Option<f64> {
    let loops = rows.iter().filter(|row| cpu::is_loop(row.measure.name));
    let ratios: Option<Vec<f64>> = loops.map(|row| Some(row.qemu? / row.ours?)).collect();
    let ratios = ratios.filter(|ratios| !ratios.is_empty())?;
    Some((ratios.iter().map(|ratio| ratio.ln()).sum::<f64>() / ratios.len() as f64).exp())
}

fn median(figures: &mut [f64]) -> Option<f64> {
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        len if len % 2 == 1 => Some(figures[middle]),
        _ => Some((figures[middle - 1] + figures[middle]) / 2.0),
    }
}

/// The table that a person reads. The ratio is ours to QEMU's.
fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "\n{:<46} {:>10} {:>10} {:>7}  {}\n",
        "(medians)", "ailurus", "qemu tcg", "ratio", "asked for"
    );
    let show = |figure: Option<f64>| figure.map_or("failed".into(), |figure| format!("{figure:.2}"));
    for Row { measure, ours, qemu } in rows {
        let ratio = ours.zip(*qemu).map(|(ours, qemu)| ours / qemu);
        let name = format!("{}, {}", measure.name, measure.unit);
        let met = match measure.met(*ours, ratio) {
            None => "",
            Some(true) => ": yes",
            Some(false) => ": NO",
        };
        text += &format!(
            "{name:<46} {:>10} {:>10} {:>7}  {}{met}\n",
            show(*ours),
            show(*qemu),
            show(ratio),
            measure.asked
        );
    }
    text
}

/// Millions of instructions a second of the software CPU's own loops, where that crate has them.
fn instructions(place: &Place, cargo: PathBuf) -> Result<()> {
    let run = ["run", "--release", "--quiet", "--package", "hypervisor-soft", "--example", "mips"];
    ui::show(Command::new(cargo).args(run).current_dir(&place.workspace)).context("instructions a second")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median(&mut []), None);
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&mut [4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn the_mean_of_ratios_is_geometric() {
        let row = |ours, qemu| Row { measure: &cpu::MEASURES[0], ours: Some(ours), qemu: Some(qemu) };
        assert!((mean_of_loops(&[row(1.0, 8.0), row(2.0, 1.0)]).unwrap() - 2.0).abs() < 1e-9);
        assert_eq!(mean_of_loops(&[Row { ours: None, ..row(1.0, 1.0) }]), None);
        assert_eq!(mean_of_loops(&[]), None);
    }

    #[test]
    fn the_table_says_what_is_met_and_what_failed() {
        let boot = MEASURES.iter().find(|measure| measure.name == "boot by --kernel").unwrap();
        let good = table(&[Row { measure: boot, ours: Some(1.0), qemu: Some(2.0) }]);
        assert!(good.contains("0.50  at most 0.7: yes"), "{good}");
        let slow = table(&[Row { measure: boot, ours: Some(14.0), qemu: Some(2.0) }]);
        assert!(slow.contains("7.00  at most 0.7: NO"), "{slow}");
        let broken = table(&[Row { measure: boot, ours: None, qemu: Some(2.0) }]);
        assert!(broken.contains("failed") && !broken.contains("yes"), "{broken}");
    }
}
