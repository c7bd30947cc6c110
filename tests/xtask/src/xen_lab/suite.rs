//! The lab's tests: scripts in `tests/xen-lab/tests` that run in dom0, each with every device model.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::ValueEnum;

use crate::check::cargo;
use crate::place::Place;
use crate::ui::{self, Step};
use crate::xen_lab::lab::{Boot, Lab, Manner};
use crate::xen_lab::record;

/// The device model that a test's guests get.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Model {
    /// Debian's build of QEMU for Xen: the control
    Stock,
    /// Ours
    Ailurus,
}

impl Model {
    /// The control first: where it fails, the lab or the test is at fault.
    pub const ALL: [Model; 2] = [Model::Stock, Model::Ailurus];

    /// As the command line names it.
    pub fn name(self) -> &'static str {
        match self {
            Model::Stock => "stock",
            Model::Ailurus => "ailurus",
        }
    }
}

/// One test. Its script begins with two comments: what it shows, and `seconds N`, after which it has failed. A third
/// may name programs that it needs, `needs NAME...`: examples of `hypervisor-xen`, which it finds in /share.
pub struct Test {
    /// The script's file name, without `.sh`.
    pub name: String,
    /// What it shows.
    pub about: String,
    limit: Duration,
    needs: Vec<String>,
}

impl Test {
    /// Every test, in the order of their file names.
    pub fn all(place: &Place) -> Result<Vec<Test>> {
        let folder = folder(place);
        let mut names: Vec<String> = fs::read_dir(&folder)
            .with_context(|| format!("cannot read {}", folder.display()))?
            .flatten()
            .filter_map(|entry| entry.file_name().to_str()?.strip_suffix(".sh").map(str::to_owned))
            .filter(|name| name != "lib")
            .collect();
        names.sort();
        names.into_iter().map(|name| Test::read(&folder, name)).collect()
    }

    /// The tests of these names, in this order; `all` is every one.
    pub fn named(place: &Place, names: &[String]) -> Result<Vec<Test>> {
        if names.iter().any(|name| name == "all") {
            return Test::all(place);
        }
        let read = |name: &String| {
            Test::read(&folder(place), name.clone())
                .with_context(|| format!("no test `{name}`: `cargo xtask xen-lab` lists them"))
        };
        names.iter().map(read).collect()
    }

    fn read(folder: &Path, name: String) -> Result<Test> {
        let script = fs::read_to_string(folder.join(format!("{name}.sh")))?;
        let mut comments = script.lines().filter_map(|line| line.strip_prefix("# "));
        let about = comments.next().context("a test says first what it shows")?.to_owned();
        let seconds = comments.next().and_then(|line| line.strip_prefix("seconds ")?.parse().ok());
        let limit = Duration::from_secs(seconds.context("a test says second how many seconds it may take")?);
        let needs = comments.next().and_then(|line| line.strip_prefix("needs "));
        let needs = needs.unwrap_or("").split_whitespace().map(str::to_owned).collect();
        Ok(Test { name, about, limit, needs })
    }
}

/// How a test ended with a device model.
pub struct Row {
    test: String,
    model: Model,
    time: Duration,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Runs tests in the lab that runs, or in one of their own; `artefacts` makes what a lab boots from.
pub fn run(
    place: &Place,
    tests: &[Test],
    models: &[Model],
    program: &Path,
    artefacts: impl Fn() -> Result<Boot>,
) -> Result<Vec<Row>> {
    if models.contains(&Model::Ailurus) {
        ensure!(program.is_file(), "no program {}; `cargo build --release` makes it", program.display());
    }
    let mut lab: Option<Lab> = None;
    let mut rows = Vec::new();
    for test in tests {
        for &model in models {
            // A test that brings the whole host down has failed; the next one gets a new host.
            lab = lab.filter(Lab::is_alive);
            let lab = match &mut lab {
                Some(lab) => lab,
                none => none.insert(prepare(place, &artefacts)?),
            };
            if model == Model::Ailurus {
                lab.push(program, "ailurus")?;
            }
            for name in &test.needs {
                lab.push(&example(place, name)?, name)?;
            }
            rows.push(one(place, lab, test, model)?);
        }
    }
    Ok(rows)
}

/// Builds a program that a test needs.
fn example(place: &Place, name: &str) -> Result<PathBuf> {
    let words = ["build", "--quiet", "--package", "hypervisor-xen", "--example", name];
    let mut command = cargo(place, &words);
    let status = command.status().with_context(|| ui::line(&command))?;
    ensure!(status.success(), "`{}` failed", ui::line(&command));
    Ok(place.workspace.join("target/debug/examples").join(name))
}

/// The lab that runs, or a new one, with the tests of now in its share.
fn prepare(place: &Place, artefacts: &impl Fn() -> Result<Boot>) -> Result<Lab> {
    let lab = match Lab::running(place) {
        Some(lab) => {
            ui::say("the tests run in the lab that is running");
            lab
        }
        None => Lab::boot(place, &artefacts()?, Manner::Tests)?,
    };
    share(place, &lab, "tests")?;
    Ok(lab)
}

/// Puts the scripts of `tests/xen-lab/FOLDER` into the share.
pub fn share(place: &Place, lab: &Lab, folder: &str) -> Result<()> {
    let target = lab.share().join(folder);
    fs::create_dir_all(&target)?;
    for entry in fs::read_dir(place.workspace.join("tests/xen-lab").join(folder))? {
        let entry = entry?;
        fs::copy(entry.path(), target.join(entry.file_name()))?;
    }
    Ok(())
}

/// Runs one test and keeps what it and dom0 said in `build/xen-lab/logs/TEST-MODEL`.
fn one(place: &Place, lab: &mut Lab, test: &Test, model: Model) -> Result<Row> {
    let name = format!("{}-{}", test.name, model.name());
    let logs = place.build.join("xen-lab/logs").join(&name);
    if logs.exists() {
        fs::remove_dir_all(&logs)?;
    }
    fs::create_dir_all(&logs)?;
    let step = Step::begin(format!("{}: {} with {}", test.name, test.about, model.name()));
    let mut output = Vec::new();
    let begun = Instant::now();
    let script = format!("MODEL={} TEST={}\n. /share/tests/lib.sh\nrun_test", model.name(), test.name);
    let ended = lab.run(&script, test.limit, |text| output.extend_from_slice(text));
    let time = begun.elapsed();
    let output = String::from_utf8_lossy(&output).into_owned();
    fs::write(logs.join("output.txt"), &output)?;
    let (host, mut failure) = match ended {
        Ok(status) => (collect(lab, &name, &logs), why(status, test, &output)),
        Err(error) => (Err(error), None),
    };
    fs::copy(lab.console(), logs.join("console.txt"))?;
    if let Err(error) = host {
        // Whatever became of the host, the next test shall not suffer from it.
        lab.end();
        failure = Some(format!("{error:#}"));
    }
    if test.name == "record" && model == Model::Ailurus && failure.is_none() {
        let stock = place.build.join("xen-lab/logs/record-stock");
        failure = record::compare(&stock, &logs).unwrap_or_else(|error| Some(format!("{error:#}")));
    }
    match &failure {
        None => step.done(),
        Some(why) => ui::say(format!("FAILED after {:.1} s: {why}", time.as_secs_f32())),
    }
    Ok(Row { test: test.name.clone(), model, time, failure })
}

/// Why a script of that exit status has failed, if it has.
fn why(status: i32, test: &Test, output: &str) -> Option<String> {
    match status {
        0 => None,
        124 | 137 => Some(format!("not done in {:?}; it said: {}", test.limit, last_line(output))),
        _ => Some(last_line(output).to_owned()),
    }
}

/// Ends what a test left behind, and brings the logs of dom0 here.
pub fn collect(lab: &Lab, name: &str, logs: &Path) -> Result<()> {
    let script = format!("LOGS=/share/logs/{name}\n. /share/tests/lib.sh\nclean_up");
    let mut said = Vec::new();
    let status = lab.run(&script, Duration::from_secs(60), |text| said.extend_from_slice(text))?;
    let from = lab.share().join("logs").join(name);
    for entry in fs::read_dir(&from).with_context(|| format!("dom0 left no {}", from.display()))? {
        let entry = entry?;
        fs::copy(entry.path(), logs.join(entry.file_name()))?;
    }
    fs::remove_dir_all(&from)?;
    if status != 0 {
        bail!("dom0 cannot be cleaned up after {name}: {}", String::from_utf8_lossy(&said));
    }
    Ok(())
}

/// What a script said at its end.
pub fn last_line(output: &str) -> &str {
    output.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("nothing")
}

fn folder(place: &Place) -> PathBuf {
    place.workspace.join("tests/xen-lab/tests")
}

/// The report: a line for every test and device model.
pub fn table(rows: &[Row]) -> String {
    let mut text = format!("\n{:<20}{:<14}{:<8}{:>8}\n", "test", "device model", "result", "seconds");
    for row in rows {
        let result = if row.failure.is_none() { "passed" } else { "FAILED" };
        let seconds = row.time.as_secs_f32();
        text += &format!("{:<20}{:<14}{result:<8}{seconds:>8.1}", row.test, row.model.name());
        if let Some(why) = &row.failure {
            text += &format!("  {why}");
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_shows_and_how_long_it_may_take() {
        let place = Place::find().unwrap();
        let tests = Test::all(&place).unwrap();
        assert!(tests.iter().any(|test| test.name == "hello"));
        assert!(Test::named(&place, &["no such test".into()]).is_err());
    }

    #[test]
    fn the_table_says_why() {
        let row = |model, failure: Option<&str>| Row {
            test: "hello".into(),
            model,
            time: Duration::from_millis(9140),
            failure: failure.map(str::to_owned),
        };
        let text = table(&[row(Model::Stock, None), row(Model::Ailurus, Some("no HELLO in 60 s"))]);
        assert!(text.contains("hello               stock         passed       9.1\n"), "{text}");
        assert!(text.contains("ailurus       FAILED       9.1  no HELLO in 60 s\n"), "{text}");
    }
}
