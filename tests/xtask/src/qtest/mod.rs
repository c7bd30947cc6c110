//! `cargo xtask qtest`: QEMU's own tests of its devices, on ours.
//!
//! The tests are programs that start a device model with `-accel qtest` and speak to it over two sockets, as libqos's
//! drivers do. Each case runs in a process of its own, since a case that fails ends its program. There is no control:
//! Debian's QEMU is built without the qtest accelerator, and its package runs these tests itself when it is built.

mod build;
mod explained;
mod run;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;

use crate::check;
use crate::fetch::{Group, fetch};
use crate::place::Place;
use build::Programs;
use explained::Explanation;
use run::{Bench, Verdict};

/// The test files: of devices and of command-line and monitor behaviour that a PC of xl's has.
const FILES: [&str; 27] = [
    "i440fx-test",
    "ide-test",
    "rtc-test",
    "fw_cfg-test",
    "hd-geo-test",
    "endianness-test",
    "boot-order-test",
    "boot-serial-test",
    "cdrom-test",
    "pvpanic-test",
    "pvpanic-pci-test",
    "wdt_ib700-test",
    "vmgenid-test",
    "display-vga-test",
    "fdc-test",
    "rtl8139-test",
    "fuzz-e1000e-test",
    "usb-hcd-uhci-test",
    "usb-hcd-ehci-test",
    "usb-hcd-xhci-test",
    "qmp-test",
    "readconfig-test",
    "drive_del-test",
    "device-plug-test",
    "test-hmp",
    "test-netfilter",
    "machine-none-test",
];

/// What to run.
#[derive(Args, Default)]
pub struct Arguments {
    /// Run the cases that may fail as well, and print what each said
    #[arg(long)]
    explained: bool,
    /// Only cases whose path contains this
    #[arg(long)]
    case: Option<String>,
    /// Test files, such as ide-test; all of them when none is named
    files: Vec<String>,
}

/// Brings and builds the tests and the program, runs them, tells a table; an error if a failure is not explained.
pub fn qtest(place: &Place, arguments: &Arguments) -> Result<()> {
    let files: Vec<&str> = FILES
        .into_iter()
        .filter(|file| arguments.files.is_empty() || arguments.files.iter().any(|wanted| wanted == file))
        .collect();
    if let Some(unknown) = arguments.files.iter().find(|file| !FILES.contains(&file.as_str())) {
        bail!("there is no test file {unknown}: {}", FILES.join(", "));
    }
    fetch(place, &[Group::Firmware], false)?;
    let programs = build::build(place, &files)?;
    check::release(place)?;
    let bench = Bench::new(place)?;
    let table = explained::all();
    let mut sum = Sum::default();
    for file in files {
        sum.add(&judge(&programs, file, &bench, &table, arguments)?);
    }
    eprintln!("{:20} {} of {}; {} may fail", "all", sum.passed, sum.cases, sum.explained);
    match sum.wrong {
        0 => Ok(()),
        many => bail!("{many} cases of QEMU's tests are not as tests/xtask/src/qtest/explained.txt says"),
    }
}

/// How many cases went how.
#[derive(Default)]
struct Sum {
    cases: usize,
    passed: usize,
    explained: usize,
    wrong: usize,
}

impl Sum {
    fn add(&mut self, other: &Sum) {
        let Sum { cases, passed, explained, wrong } = other;
        self.cases += cases;
        self.passed += passed;
        self.explained += explained;
        self.wrong += wrong;
    }
}

/// Runs the cases of one file and prints its line and what is not as it should be.
fn judge(
    programs: &Programs,
    file: &str,
    bench: &Bench,
    table: &[Explanation<'_>],
    arguments: &Arguments,
) -> Result<Sum> {
    let program = programs.path(file);
    let whole = format!("/{file}");
    // Some programs start a machine before they know their cases.
    let (mut cases, verdicts) = match explained::of(table, &whole) {
        Some(_) => (vec![whole], Some(Vec::new())),
        None => match run::list(&program, bench) {
            Ok(cases) => (cases, None),
            Err(error) => (vec![whole], Some(vec![Verdict::Failed(format!("{error:#}"))])),
        },
    };
    cases.retain(|case| arguments.case.as_ref().is_none_or(|part| case.contains(part.as_str())));
    let (may_fail, must): (Vec<_>, Vec<_>) =
        cases.into_iter().partition(|case| explained::of(table, case).is_some());
    let verdicts = match verdicts {
        Some(verdicts) => verdicts,
        None => run::each(&program, &must, bench)?,
    };
    let passed = verdicts.iter().filter(|verdict| !matches!(verdict, Verdict::Failed(_))).count();
    let mut sum = Sum { cases: must.len() + may_fail.len(), passed, explained: may_fail.len(), wrong: 0 };
    eprintln!("{file:20} {passed} of {}", sum.cases);
    for (case, verdict) in must.iter().zip(&verdicts) {
        if let Verdict::Failed(said) = verdict {
            eprintln!("    FAILED {case}: {said}");
            sum.wrong += 1;
        }
    }
    if arguments.explained {
        sum.wrong += look_again(&program, &may_fail, bench, table)?;
    }
    Ok(sum)
}

/// Runs cases that may fail; one that passes is not explained rightly.
fn look_again(program: &Path, cases: &[String], bench: &Bench, table: &[Explanation<'_>]) -> Result<usize> {
    let mut wrong = 0;
    for (case, verdict) in cases.iter().zip(run::each(program, cases, bench)?) {
        let reason = explained::of(table, case).map_or("", |line| line.reason);
        match verdict {
            Verdict::Failed(said) => eprintln!("    may fail {case}: {reason}: {said}"),
            Verdict::Skipped => {}
            Verdict::Passed => {
                eprintln!("    PASSED {case}, which may fail: {reason}");
                wrong += 1;
            }
        }
    }
    Ok(wrong)
}

/// What the tests are run in.
fn folder(place: &Place) -> PathBuf {
    place.build.join("qtest/run")
}
