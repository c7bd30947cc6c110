//! `cargo xtask xen-lab bench`: both device models in one boot of the lab, in turn, several times.
//!
//! The emulated host counts instructions: its clock goes on by 8 ns with each, whatever else this machine does. So
//! what takes a time in the lab takes a number of instructions, of the guest, Xen, dom0 and the device model together,
//! and a figure is the same on every machine that measures.

mod figures;

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::place::Place;
use crate::ui::{self, Step};
use crate::xen_lab::lab::{Boot, Lab, Manner};
use crate::xen_lab::suite::{self, Model};
use figures::{Figures, ROWS, Row, figures};

/// A part of the bench: a script in `tests/xen-lab/bench`.
pub struct Part {
    name: &'static str,
    /// In how many rounds it comes once.
    share: usize,
    /// How long a round of one device model may take.
    limit: Duration,
}

const PARTS: [Part; 4] =
    [part("sector", 1, 480), part("linux", 3, 720), part("ide", 3, 900), part("net", 5, 900)];

const fn part(name: &'static str, share: usize, seconds: u64) -> Part {
    Part { name, share, limit: Duration::from_secs(seconds) }
}

/// The parts of these names, or all if none is named.
pub fn parts(names: &[String]) -> Result<Vec<Part>> {
    if let Some(name) = names.iter().find(|name| PARTS.iter().all(|part| part.name != **name)) {
        let known = PARTS.map(|part| part.name).join(", ");
        bail!("the bench has no part {name}; its parts are {known}");
    }
    let wanted = |part: &Part| names.is_empty() || names.iter().any(|name| name == part.name);
    Ok(PARTS.into_iter().filter(wanted).collect())
}

/// Measures, prints the table and keeps it in `build/xen-lab/bench.md`.
pub fn bench(
    place: &Place,
    program: &Path,
    boot: &Boot,
    sector: &Path,
    parts: &[Part],
    rounds: usize,
) -> Result<()> {
    ensure!(program.is_file(), "no program {}; `cargo build --release` makes it", program.display());
    let mut running = None;
    let mut taken = [Figures::new(), Figures::new()];
    let report = place.build.join("xen-lab/bench.md");
    for part in parts {
        let rounds = rounds.div_ceil(part.share);
        for round in 1..=rounds {
            for (model, taken) in Model::ALL.into_iter().zip(&mut taken) {
                let step = Step::begin(format!("{} {round}/{rounds} with {}", part.name, model.name()));
                let lab = match running.take() {
                    Some(lab) => lab,
                    None => prepare(place, boot, program, sector)?,
                };
                // One round that fails must not cost the other figures; the table shows the gap.
                match one(place, &lab, part, model) {
                    Ok(new) => {
                        step.done();
                        running = Some(lab);
                        new.into_iter()
                            .for_each(|(name, figure)| taken.entry(name).or_default().push(figure));
                    }
                    // A guest that hangs in its firmware, which happens here, may take all of the lab's time.
                    Err(error) => ui::say(format!("FAILED: {error:#}; the next round gets a new lab")),
                }
            }
            fs::write(&report, table(&taken))
                .with_context(|| format!("cannot write {}", report.display()))?;
        }
    }
    println!("{}", table(&taken));
    Ok(())
}

/// A lab with all that the parts need.
fn prepare(place: &Place, boot: &Boot, program: &Path, sector: &Path) -> Result<Lab> {
    let lab = Lab::boot(place, boot, Manner::Counted)?;
    suite::share(place, &lab, "tests")?;
    suite::share(place, &lab, "bench")?;
    lab.push(program, "ailurus")?;
    lab.push(sector, "bench.img")?;
    Ok(lab)
}

/// One part with one device model.
fn one(place: &Place, lab: &Lab, part: &Part, model: Model) -> Result<Vec<(String, f64)>> {
    let Part { name: part, limit, .. } = part;
    let name = format!("bench-{part}-{}", model.name());
    let logs = place.build.join("xen-lab/logs").join(&name);
    if logs.exists() {
        fs::remove_dir_all(&logs)?;
    }
    fs::create_dir_all(&logs)?;
    let script =
        format!("MODEL={} TEST={part} TESTS=/share/bench\n. /share/tests/lib.sh\nrun_test", model.name());
    let mut output = Vec::new();
    let status = lab.run(&script, *limit, |text| output.extend_from_slice(text))?;
    fs::write(logs.join("output.txt"), &output)?;
    suite::collect(lab, &name, &logs)?;
    let output = String::from_utf8_lossy(&output);
    if status != 0 {
        bail!("{part} with {}: {}", model.name(), suite::last_line(&output));
    }
    let read = |name: &str| fs::read(logs.join(name)).unwrap_or_default();
    figures(&output, &String::from_utf8_lossy(&read("bench.serial")), &read("state.log"))
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

/// Medians, their spread and their ratio, as a table of Markdown.
fn table(taken: &[Figures; 2]) -> String {
    let mut text = String::from(
        "Medians; in brackets the smallest and the largest. In the lab, 1 ms is 125000 instructions of everybody.\n\n\
         | | unit | stock | ailurus | ratio | aim |\n|---|---|---|---|---|---|\n",
    );
    for Row { name, what, unit, aim } in ROWS {
        let [stock, ours] =
            [&taken[0], &taken[1]].map(|figures| figures.get(*name).cloned().unwrap_or_default());
        let ratio = median(&mut ours.clone()).zip(median(&mut stock.clone())).map(|(a, b)| a / b);
        let (ratio, met) = match ratio.filter(|ratio| ratio.is_finite()) {
            None => ("-".to_owned(), "not measured"),
            Some(ratio) => (format!("{ratio:.2}"), aim.met(ratio)),
        };
        text += &format!(
            "| {what} | {unit} | {} | {} | {ratio} | {}{met} |\n",
            shown(stock),
            shown(ours),
            aim.words()
        );
    }
    text
}

/// A figure with its spread.
fn shown(mut figures: Vec<f64>) -> String {
    let digits = |figure: f64| match figure {
        _ if figure >= 100.0 => format!("{figure:.0}"),
        _ => format!("{figure:.2}"),
    };
    match (median(&mut figures), figures.first(), figures.last()) {
        (Some(middle), Some(least), Some(most)) => {
            format!("{} ({} to {})", digits(middle), digits(*least), digits(*most))
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_chosen_by_name() {
        let names = |of: &[&str]| {
            let of: Vec<String> = of.iter().map(ToString::to_string).collect();
            parts(&of).map(|parts| parts.iter().map(|part| part.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&[]).unwrap(), ["sector", "linux", "ide", "net"]);
        assert_eq!(names(&["ide", "sector"]).unwrap(), ["sector", "ide"]);
        assert!(names(&["ide", "disk"]).unwrap_err().to_string().contains("no part disk"));
    }

    #[test]
    fn the_table_shows_medians_ratios_and_gaps() {
        let figures = |port: &[f64]| Figures::from([("port".to_owned(), port.to_vec())]);
        let text = table(&[figures(&[4.0, 2.0, 200.0]), figures(&[1.0, 2.0])]);
        assert!(text.contains("4.00 (2.00 to 200) | 1.50 (1.00 to 2.00) | 0.38 | less: yes |"), "{text}");
        assert!(text.contains("| - | - | - | less: not measured |"), "{text}");
    }
}
