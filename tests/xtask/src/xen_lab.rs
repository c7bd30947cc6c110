//! `cargo xtask xen-lab`: a real Xen host with a real dom0 and its tools, in an emulator of AMD's virtualization, and
//! tests in it with two device models: Debian's QEMU as the control, and Ailurus.

mod dom0;
mod lab;
pub mod packages;

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;

use crate::fetch::{Group, fetch};
use crate::place::Place;
use crate::ui;
use crate::guests;
use lab::{Boot, Lab, Manner};

/// The command line of `cargo xtask xen-lab`.
#[derive(Args)]
pub struct Arguments {
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
        return shell(place).map(|()| 0);
    }
    if arguments.keep {
        let lab = Lab::boot(place, &artefacts(place)?, Manner::Kept)?;
        ui::say(format!("the console goes to {}", lab.console().display()));
    }
    for file in &arguments.push {
        let name = file.file_name().with_context(|| format!("{} is not a file", file.display()))?;
        let target = running(place)?.share().join(name);
        fs::copy(file, &target).with_context(|| format!("cannot copy {}", file.display()))?;
    }
    let mut status = 0;
    if let Some(script) = &arguments.run {
        let limit = Duration::from_secs(arguments.limit);
        let mut stdout = std::io::stdout();
        status = running(place)?.run(script, limit, |text| {
            // A closed pipe must not end the job.
            let _ = stdout.write_all(text).and_then(|()| stdout.flush());
        })?;
    }
    if arguments.stop {
        running(place)?.stop()?;
    }
    Ok(u8::try_from(status).unwrap_or(1))
}

fn running(place: &Place) -> Result<Lab> {
    Lab::running(place).context("no lab is running; `cargo xtask xen-lab --keep` starts one")
}

fn shell(place: &Place) -> Result<()> {
    let boot = artefacts(place)?;
    ui::say("Ctrl-A x ends the lab; what dom0 wrote to its disk is gone then");
    Lab::boot(place, &boot, Manner::Shell)?.wait()
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
    guests::make_at(place, &boot.disk, &groups, |target| dom0::disk(place, &[], target))?;
    Ok(boot)
}
