//! `cargo xtask test`: everything whose failure would stop a change, and with `--all` the rest.
//!
//! Two CPUs are kept busy: packages come while the checks are compiled, and afterwards guests, the device cases and the
//! Xen lab run side by side, one more than there are CPUs. A test that takes long and has never been alone in finding a
//! fault is marked `#[ignore = "all: why"]`.

use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use crate::check::{cargo, on_guests};
use crate::fetch::{Group, fetch};
use crate::jobs::{self, Job};
use crate::marks::{self, Mark, Marked};
use crate::place::{Place, machine_tool};
use crate::times::Times;
use crate::{guests, qmp, ui, xen_lab};

/// How much is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// What needs no guest.
    Quick,
    /// What stops a change.
    Usual,
    /// All but the soak tests.
    All,
}

/// The package of the tests with real guests.
const GUESTS: &str = "guest-tests";
/// Its tests that take longest begin first, so that none of them runs alone at the end.
const LONG: [&str; 5] = ["save_restore", "disk", "installer", "inventory", "pae"];

/// Brings what the tests need, runs them, and prints how long each step took.
pub fn test(place: &Place, reach: Reach) -> Result<()> {
    let times = Times::default();
    let began = Instant::now();
    let result = work(place, reach, &times);
    eprintln!("{}", times.table(began.elapsed()));
    result
}

fn work(place: &Place, reach: Reach, times: &Times) -> Result<()> {
    times.show("formatting", &mut cargo(place, &["fmt", "--all", "--check"]))?;
    std::thread::scope(|scope| {
        let (tell, firmware) = mpsc::channel();
        let bringing = scope.spawn(move || bring(place, reach, times, &tell));
        let checked = check(place, reach, times, &firmware);
        if let Err(error) = &checked {
            eprintln!("\nerror: {error:#}");
            ui::say("what is on its way into build/ is still brought");
        }
        let brought = bringing.join().map_err(|_| anyhow!("the thread that brings packages panicked"))?;
        checked.and(brought)
    })?;
    let apart = side_by_side(place, reach, times);
    if reach != Reach::All {
        return apart;
    }
    // Of a run of hours everything that fails is wanted.
    if let Err(error) = &apart {
        eprintln!("\nerror: {error:#}");
    }
    rest(place, times).and(apart)
}

/// Brings and makes everything that a test needs; tells when the firmware is there, which unit tests read.
fn bring(place: &Place, reach: Reach, times: &Times, firmware: &mpsc::Sender<()>) -> Result<()> {
    times.step("bring the firmware and iasl", || fetch(place, &[Group::Firmware, Group::Acpica], false))?;
    // Who waits for it may have failed meanwhile.
    let _ = firmware.send(());
    times.step("bring the monitor's client", || qmp::bring_all(place).map(|_| ()))?;
    if reach == Reach::Quick {
        return Ok(());
    }
    times.step("bring and make guests", || guests::guests(place))?;
    times.step("bring and make the Xen lab", || xen_lab::make(place))
}

/// What cargo says of the sources, the unit and scenario tests, and the programs that the rest is run with.
fn check(place: &Place, reach: Reach, times: &Times, firmware: &mpsc::Receiver<()>) -> Result<()> {
    let clippy = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
    times.show("lints", &mut cargo(place, &clippy))?;
    let mut doc = cargo(place, &["doc", "--workspace", "--no-deps"]);
    times.show("documentation", doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    let runner = Runner::of_the_machine();
    times.show("compile the tests", cargo(place, runner.build).args(["--workspace"]))?;
    firmware.recv().context("the firmware was not brought")?;
    if reach == Reach::Quick {
        return unit_tests(place, &runner, times);
    }
    // Many of these tests wait for something; the compiler does not.
    std::thread::scope(|scope| {
        let release = scope.spawn(|| {
            times.show("compile the release", &mut cargo(place, &["build", "--release", "--bin", "ailurus"]))
        });
        let tested = unit_tests(place, &runner, times);
        let compiled =
            release.join().map_err(|_| anyhow!("the thread that compiles the release panicked"))?;
        tested.and(compiled)
    })
}

/// What runs unit tests here.
struct Runner {
    /// Compiles the tests of the packages that are named behind it.
    build: &'static [&'static str],
    /// Runs them.
    run: &'static [&'static str],
    nextest: bool,
}

impl Runner {
    fn of_the_machine() -> Runner {
        if machine_tool("cargo-nextest").is_some() {
            return Runner {
                build: &["nextest", "run", "--no-run"],
                run: &["nextest", "run", "--no-fail-fast", "--status-level", "slow"],
                nextest: true,
            };
        }
        ui::say("cargo-nextest is not installed; `cargo test` does the same, more slowly");
        let build = &["test", "--lib", "--bins", "--tests", "--no-run"];
        Runner { build, run: &["test", "--lib", "--bins", "--tests"], nextest: false }
    }

    /// Runs the tests of `package`, or of all but the guests'. All are compiled as they were: other packages that are
    /// named to cargo would be other features, so other programs.
    fn run(&self, place: &Place, package: Option<&str>) -> Command {
        let mut command = cargo(place, self.run);
        match (self.nextest, package) {
            (true, Some(package)) => command.args(["--workspace", "-E", &format!("package({package})")]),
            (true, None) => command.args(["--workspace", "-E", &format!("not package({GUESTS})")]),
            (false, Some(package)) => command.args(["-p", package]),
            (false, None) => command.args(["--workspace", "--exclude", GUESTS]),
        };
        command
    }
}

/// The unit and scenario tests.
fn unit_tests(place: &Place, runner: &Runner, times: &Times) -> Result<()> {
    times.show("unit and scenario tests", &mut runner.run(place, None))?;
    let mut translated = runner.run(place, Some("hypervisor-soft"));
    times.show("the soft CPU's tests, all code translated", translated.env("CPU_TIER", "2"))?;
    let mut examples = cargo(place, &["test", "--doc", "--workspace", "--exclude", GUESTS]);
    times.show("examples in the documentation", &mut examples)
}

/// Everything that runs the finished program, side by side.
fn side_by_side(place: &Place, reach: Reach, times: &Times) -> Result<()> {
    let mut all = Vec::new();
    if reach != Reach::Quick {
        // `--all` runs every test of the lab later.
        if reach == Reach::Usual {
            all.push(own(place, "Xen lab: smoke", &["xen-lab", "smoke", "--model", "ailurus"])?);
        }
        // As it was compiled for the unit tests: it only talks to the machines that it judges.
        let suite = ["conformance", "--twice", "--jobs", "1", "--program", "target/debug/conformance"];
        all.push(own(place, "conformance", &suite)?);
        all.extend(guest_tests(place, reach, times)?);
        all.extend(lockstep(place, reach)?);
    }
    // As it was compiled for the unit tests.
    all.push(own(place, "monitor's client", &["qmp", "--program", "target/debug/ailurus"])?);
    jobs::run(all, jobs::at_a_time(), &place.build.join("test-logs"), times)
}

/// A task of this program's, as a job.
fn own(place: &Place, name: &str, words: &[&str]) -> Result<Job> {
    let mut command = Command::new(std::env::current_exe().context("where this program lies")?);
    command.args(words).current_dir(&place.workspace);
    Ok(Job { name: name.into(), command })
}

/// Guests in both tiers of the CPU at once, and whether a planted fault is found.
fn lockstep(place: &Place, reach: Reach) -> Result<Vec<Job>> {
    let guest = if reach == Reach::All { "all" } else { "cloud" };
    let planted = ["lockstep", "cloud", "--until", "20000000", "--plant", "12345678"];
    let jobs = [("lockstep", &["lockstep", guest][..]), ("lockstep: a planted fault", &planted)];
    let job = |(name, words)| {
        let Job { name, command } = own(place, name, words)?;
        // The program and the guests have been made.
        Ok(Job { name, command: on_guests(place, command) })
    };
    jobs.into_iter().map(job).collect()
}

/// The rest, which no day waits for.
fn rest(place: &Place, times: &Times) -> Result<()> {
    let mut failed = Vec::new();
    for test in marks::find(&place.workspace, Mark::All)?.iter().filter(|test| test.package != GUESTS) {
        if let Err(error) = times.step(&test.name, || test.run(place)) {
            eprintln!("FAILED  {}: {error:#}", test.name);
            failed.push(test.name.clone());
        }
    }
    let tasks = [
        ("the page in a browser", &["web"][..]),
        ("vncdotool", &["viewers"]),
        ("QEMU's qtests", &["qtest", "--explained"]),
        ("ThreadSanitizer", &["tsan"]),
        ("Xen lab", &["xen-lab", "all"]),
    ];
    for (name, words) in tasks {
        let mut job = own(place, name, words)?;
        if let Err(error) = times.show(&job.name, &mut job.command) {
            eprintln!("FAILED  {error:#}");
            failed.push(job.name);
        }
    }
    if failed.is_empty() {
        return Ok(());
    }
    bail!("failed: {}", failed.join(", "))
}

/// A test program of the guests' package.
struct Program {
    name: String,
    path: PathBuf,
}

/// A job for each test with a real guest, the long ones first.
fn guest_tests(place: &Place, reach: Reach, times: &Times) -> Result<Vec<Job>> {
    // They were compiled with all tests; what is wanted is where they lie.
    let built = ["test", "--lib", "--bins", "--tests", "--workspace", "--no-run", "--message-format", "json"];
    let text = times.step("find the guests' tests", || ui::run(&mut cargo(place, &built)))?;
    let mut programs = programs(&text);
    programs.sort_by_key(|program| LONG.iter().position(|long| program.name == *long).unwrap_or(LONG.len()));
    let marked = match reach {
        Reach::All => marks::find(&place.workspace, Mark::All)?,
        Reach::Quick | Reach::Usual => Vec::new(),
    };
    let mut jobs = Vec::new();
    for program in &programs {
        let list = |more: &[&str]| {
            let words = [more, &["--list", "--format", "terse"]].concat();
            ui::run(Command::new(&program.path).args(words)).map(|text| names(&text))
        };
        for test in chosen(&program.name, &list(&[])?, &list(&["--ignored"])?, &marked) {
            let mut command = on_guests(place, Command::new(&program.path));
            command.args(["--include-ignored", "--nocapture", "--exact", &test]);
            jobs.push(Job { name: format!("{}::{test}", program.name), command });
        }
    }
    Ok(jobs)
}

/// The tests of a program that are to be run: those that are not ignored, and those ignored ones that are marked.
fn chosen(program: &str, all: &[String], ignored: &[String], marked: &[Marked]) -> Vec<String> {
    let is_marked = |test: &String| {
        marked.iter().any(|mark| {
            mark.package == GUESTS
                && mark.file.as_deref().is_none_or(|file| file == program)
                && test.rsplit("::").next() == Some(&mark.name)
        })
    };
    all.iter().filter(|test| !ignored.contains(test) || is_marked(test)).cloned().collect()
}

/// The guests' test programs that cargo's messages name, in cargo's order.
fn programs(messages: &str) -> Vec<Program> {
    let of_the_guests = |message: &serde_json::Value| {
        // `path+file:///folder/tests/guests#guest-tests@0.1.0`
        message["package_id"].as_str().is_some_and(|id| id.contains(&format!("#{GUESTS}@")))
    };
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["reason"] == "compiler-artifact" && message["profile"]["test"] == true)
        .filter(of_the_guests)
        .filter_map(|message| {
            Some(Program {
                name: message["target"]["name"].as_str()?.to_owned(),
                path: message["executable"].as_str()?.into(),
            })
        })
        .collect()
}

/// The tests in a test program's own list.
fn names(listed: &str) -> Vec<String> {
    listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_found_in_cargos_messages() {
        let message = |package: &str, name: &str, test: bool| {
            let id = format!("path+file:///w/tests/{package}#{package}@0.1.0");
            let executable = test.then(|| format!("/t/{name}-1"));
            serde_json::json!({"reason": "compiler-artifact", "package_id": id, "target": {"name": name},
                               "profile": {"test": test}, "executable": executable})
        };
        let messages = [
            message(GUESTS, "guest_tests", false).to_string(),
            "not a message".into(),
            message(GUESTS, "disk", true).to_string(),
            message("golden-tests", "states", true).to_string(),
            "{\"reason\":\"build-finished\",\"success\":true}".into(),
        ]
        .join("\n");
        let found = programs(&messages);
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].name.as_str(), found[0].path.to_str()), ("disk", Some("/t/disk-1")));
    }

    #[test]
    fn ignored_tests_run_only_if_they_are_marked() {
        let all = names("a: test\nm::b: test\nc: test\n\n3 tests, 0 benchmarks\n");
        let ignored = names("m::b: test\nc: test\n");
        let mark = |name: &str, file: Option<&str>| Marked {
            name: name.into(),
            reason: String::new(),
            package: GUESTS.into(),
            file: file.map(str::to_owned),
        };
        assert_eq!(chosen("disk", &all, &ignored, &[]), ["a"]);
        assert_eq!(chosen("disk", &all, &ignored, &[mark("b", Some("disk"))]), ["a", "m::b"]);
        assert_eq!(chosen("disk", &all, &ignored, &[mark("c", Some("cloud"))]), ["a"]);
    }
}
