//! `cargo xtask xen-lab`: a real Xen host with a real dom0 and its tools, in an emulator of AMD's virtualization, and
//! tests in it with two device models: Debian's QEMU as the control, and Ailurus.
//!
//! What dom0 is made of, the guests' programs and the tests lie in `tests/xen-lab`; what is made of them lies in
//! `build/xen-lab`, and in `build/xen-lab/live` while a lab runs.

mod bench;
mod dom0;
mod lab;
mod linux;
pub mod packages;
mod pulse;
mod record;
mod sectors;
mod suite;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::fetch::{Group, fetch};
use crate::place::Place;
use crate::{guests, ui};
use lab::{Boot, Lab, Manner};
use suite::{Model, Test};

/// The command line of `cargo xtask xen-lab`.
#[derive(Args)]
pub struct Arguments {
    /// Tests to run, `all`, or `bench`; the tests' names and what they show are listed when none is named
    ///
    /// They run in the lab that `--keep` left, or else in one of their own that ends with them. `bench` measures both
    /// device models in a lab of its own, and keeps the table in build/xen-lab/bench.md; `bench ide` takes only that
    /// part's figures, and the parts are sector, linux, ide and net.
    tests: Vec<String>,
    /// Only with this device model
    #[arg(long, value_enum)]
    model: Option<Model>,
    /// The device model under test; else target/release/ailurus
    #[arg(long, value_name = "PROGRAM")]
    ailurus: Option<PathBuf>,
    /// How often `bench` takes each figure
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Boot a lab with dom0's console on this terminal; Ctrl-A x ends it
    #[arg(long)]
    shell: bool,
    /// Boot a lab and leave it running
    #[arg(long, conflicts_with = "shell")]
    keep: bool,
    /// Put a file into /share of the running lab; may be repeated
    #[arg(long, value_name = "FILE")]
    push: Vec<PathBuf>,
    /// Run bash commands in dom0 of the running lab, with their output and exit status
    #[arg(long, value_name = "COMMANDS")]
    run: Option<String>,
    /// Seconds after which `--run` kills its commands
    #[arg(long, default_value_t = 600)]
    limit: u64,
    /// End the running lab
    #[arg(long, conflicts_with_all = ["shell", "keep"])]
    stop: bool,
}

/// Does what the command line asks; gives the exit status.
pub fn work(place: &Place, arguments: &Arguments) -> Result<u8> {
    if arguments.shell {
        let boot = artefacts(place)?;
        ui::say("Ctrl-A x ends the lab; what dom0 wrote to its disk is gone then");
        return Lab::boot(place, &boot, Manner::Shell)?.wait().map(|()| 0);
    }
    if arguments.keep {
        let lab = Lab::boot(place, &artefacts(place)?, Manner::Kept)?;
        ui::say(format!("the console goes to {}", lab.console().display()));
    }
    for file in &arguments.push {
        let name = file.file_name().with_context(|| format!("{} is not a file", file.display()))?;
        running(place)?.push(file, &name.to_string_lossy())?;
    }
    let mut status = 0;
    if let Some(script) = &arguments.run {
        let mut stdout = std::io::stdout();
        status = running(place)?.run(script, Duration::from_secs(arguments.limit), |text| {
            // A closed pipe must not end the job.
            let _ = stdout.write_all(text).and_then(|()| stdout.flush());
        })?;
    }
    let nothing = !(arguments.keep || arguments.run.is_some() || arguments.stop) && arguments.push.is_empty();
    match arguments.tests.split_first() {
        Some((first, parts)) if first == "bench" => measure(place, arguments, parts)?,
        Some(_) => status = test(place, arguments)?,
        None if nothing => {
            for test in Test::all(place)? {
                println!("{:20}{}", test.name, test.about);
            }
        }
        None => {}
    }
    if arguments.stop {
        running(place)?.stop()?;
    }
    Ok(u8::try_from(status).unwrap_or(1))
}

fn running(place: &Place) -> Result<Lab> {
    Lab::running(place).context("no lab is running; `cargo xtask xen-lab --keep` starts one")
}

fn program(place: &Place, arguments: &Arguments) -> PathBuf {
    arguments.ailurus.clone().unwrap_or_else(|| place.workspace.join("target/release/ailurus"))
}

fn measure(place: &Place, arguments: &Arguments, parts: &[String]) -> Result<()> {
    let parts = bench::parts(parts)?;
    let boot = artefacts(place)?;
    let sector = place.build.join("xen-lab/bench.img");
    fs::write(&sector, sectors::bench()?)?;
    bench::bench(place, &program(place, arguments), &boot, &sector, &parts, arguments.rounds.max(1))
}

fn test(place: &Place, arguments: &Arguments) -> Result<i32> {
    let tests = Test::named(place, &arguments.tests)?;
    let models = arguments.model.map_or(Model::ALL.to_vec(), |model| vec![model]);
    let rows = suite::run(place, &tests, &models, &program(place, arguments), || artefacts(place))?;
    println!("{}", suite::table(&rows));
    Ok(i32::from(rows.iter().any(|row| row.failure.is_some())))
}

/// Makes what `cargo xtask test` boots a lab from.
pub fn make(place: &Place) -> Result<()> {
    artefacts(place).map(|_| ())
}

/// Makes what a lab is booted from, as far as it is not there.
fn artefacts(place: &Place) -> Result<Boot> {
    let groups = [Group::Xen, Group::Disk, Group::Cloud, Group::Iso];
    fetch(place, &groups, false)?;
    fetch(place, &[Group::Qemu], false)?;
    let folder = place.build.join("xen-lab");
    fs::create_dir_all(&folder)?;
    let version = guests::version(&place.root(), "-amd64", |name| !name.contains("cloud"))?;
    let boot = Boot {
        xen: folder.join("xen"),
        kernel: place.root().join("boot").join(format!("vmlinuz-{version}")),
        ramdisk: folder.join("dom0.initrd"),
        disk: folder.join("dom0.img"),
    };
    guests::make_at(place, &boot.xen, &groups, |target| dom0::xen(place, target))?;
    guests::make_at(place, &boot.ramdisk, &groups, |target| dom0::ramdisk(place, &version, target))?;
    let (hello, linux) = (folder.join("hello.img"), folder.join("linux.img"));
    guests::make_at(place, &hello, &groups, |target| Ok(fs::write(target, sectors::hello()?)?))?;
    guests::make_at(place, &linux, &groups, |target| linux::disk(place, linux::Kernel::Cloud, target))?;
    let cards = folder.join("cards.img");
    guests::make_at(place, &cards, &groups, |target| linux::disk(place, linux::Kernel::Generic, target))?;
    let desk = folder.join("desk.img");
    guests::make_at(place, &desk, &groups, |target| linux::disk(place, linux::Kernel::Desk, target))?;
    let cd = folder.join("linux.iso");
    guests::make_at(place, &cd, &groups, |target| linux::cd(place, target))?;
    let srv = [
        ("hello.img", hello),
        ("linux.img", linux),
        ("linux.iso", cd),
        ("cards.img", cards),
        ("desk.img", desk),
    ];
    guests::make_at(place, &boot.disk, &groups, |target| dom0::disk(place, &srv, target))?;
    Ok(boot)
}
