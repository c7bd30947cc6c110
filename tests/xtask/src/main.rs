#![forbid(unsafe_code)]
//! The project's tasks: bring what is missing, make guests, try the program, test it.

mod apt;
mod bench;
mod check;
mod conformance;
mod cpio;
mod disk;
#[cfg(test)]
mod documents;
mod fetch;
mod fuzz;
mod guests;
mod initrd;
mod iso;
mod jobs;
mod lockstep;
mod marks;
mod modules;
mod place;
mod process;
mod qmp;
mod qtest;
mod soak;
mod test;
mod times;
mod tsan;
mod ui;
mod viewers;
mod web;
mod xen_lab;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use fetch::Group;
use place::Place;
use test::Reach;

/// Tasks of the Ailurus project. Nothing here needs root; everything made lies in `build/`.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Boot Debian's kernel from a CD and stay in the guest's shell
    ///
    /// Brings SeaBIOS, ISOLINUX, a Debian kernel and busybox (about 25 MB), builds the program in release, makes the
    /// CD and boots it on the software CPU: no hypervisor and no root are needed.
    Demo,
    /// Bring what the tests need and run all that must hold before a change goes in
    ///
    /// Formatting, lints, documentation, unit and scenario tests, then, with a release build and one more than there
    /// are CPUs at a time, real guests, the device cases and the Xen lab's shortest test. Takes some 25 minutes on two
    /// CPUs, from an empty build folder. Ends with a table of times.
    Test {
        /// Leave out what needs a guest
        #[arg(long, conflicts_with = "all")]
        quick: bool,
        /// Run the rest, too, but the soak tests: tests marked `all:`, QEMU's own qtests, and every test of the
        /// Xen lab. Takes hours
        #[arg(long)]
        all: bool,
    },
    /// Run the tests that take too long for every day
    ///
    /// Ignored tests whose reason begins with `soak:`, of the whole workspace, one after the other in release, with a
    /// table of their times at the end. Makes the guests they need first.
    Soak {
        /// Only tests whose name contains this
        name: Option<String>,
    },
    /// Drive the monitor with the qemu.qmp package
    ///
    /// Brings the package into build/ with pip, builds the program, starts it with a paused guest and asks everything
    /// that tools of QEMU's ask. Left out, with a line that says so, where there is no Python or no package.
    Qmp {
        /// Drive this program, and build none
        #[arg(long)]
        program: Option<std::path::PathBuf>,
    },
    /// Look at a guest with vncdotool, and type in it
    ///
    /// Brings the package into build/ with pip, builds the program in release and starts a guest that two viewers see at
    /// once. Left out, with a line that says so, where there is no Python or no package.
    Viewers,
    /// Run tests in which threads meet, under ThreadSanitizer
    ///
    /// Compiles Rust's own library and four of the crates with the sanitizer, into target/tsan. The library's source is the
    /// toolchain's (rust-src), or brought into build/ with curl; left out, with a line that says so, where there is no way
    /// to it. What the sanitizer is not to report is in tests/tsan.txt, with its reasons.
    Tsan,
    /// Try the page of `--display web` in a browser
    ///
    /// Brings Debian's Chromium, and playwright-core by npm, into build/; types at a guest's login, changes its CD, pauses
    /// and saves it, at three sizes of the window and by the keyboard alone. Pictures of the page are in build/web-run.
    /// Left out, with a line that says so, where there is no node or no way to the packages.
    Web,
    /// Run QEMU's own tests of its devices on ours
    ///
    /// Brings Debian's source package of QEMU, builds its test programs with gcc (a C compiler and Python are needed)
    /// and runs each case in a process of its own. What fails is named in tests/xtask/src/qtest/explained.txt with its
    /// reason, or it is an error.
    Qtest(qtest::Arguments),
    /// Give mutated bytes to everything that takes bytes from strangers
    ///
    /// Targets are in tests/fuzz. Inputs that fail are kept in build/fuzz/TARGET.
    Fuzz {
        /// One target; all of them, one after the other, when none is named
        target: Option<String>,
        /// How many seconds each (60 if not given), or the file of an input to run again
        what: Option<String>,
    },
    /// Bring Debian packages into build/ and unpack them there
    ///
    /// Packages are downloaded with a private copy of apt's lists and unpacked with dpkg-deb: the machine's own
    /// packages stay as they are. What is already there is not brought again.
    Fetch {
        /// Groups of packages; all that guests and tests need when none is named
        groups: Vec<Group>,
        /// Ask for new versions of what is already there
        #[arg(long)]
        fresh: bool,
    },
    /// Make real guests in build/guests: CDs, disks, kernels
    ///
    /// Brings the packages they need first. A guest that is there already is made again only when its recipe or its
    /// packages changed.
    Guests {
        /// Only the cloud kernel and its CDs, the ones that `demo` boots
        #[arg(long)]
        cloud: bool,
    },
    /// Measure speed and memory beside Debian's QEMU
    ///
    /// Brings QEMU into build/ and runs the same guests on both in turn: boots, resident memory, an idle guest, disk
    /// reads, two vCPUs against one, loops in the guest. Prints medians and their ratios. Takes about half an hour.
    Bench {
        /// How often each figure is taken
        #[arg(long, default_value_t = 3)]
        runs: usize,
        /// Only measures whose name contains this; `cpu`: what shows the speed of the CPU
        only: Option<String>,
    },
    /// Hold the CPU's two tiers against each other over a whole guest
    ///
    /// Runs the guest twice by instruction count, its code interpreted and translated, and compares hashes of vCPUs, RAM
    /// and devices at equal instants. The first difference is sought down to a block, then to an instruction, and shown
    /// with the registers of both.
    Lockstep(lockstep::Arguments),
    /// Judge the devices, ours and QEMU's, by one suite of cases
    ///
    /// Brings QEMU into build/ and runs every case on both. Prints a table, where they differ, what is wrong and what
    /// of that is allowed and why; build/conformance.html says the same. Exit status 1: something is not explained.
    Conformance(conformance::Arguments),
    /// Run a real Xen host in an emulator, and tests in it
    ///
    /// Brings Xen, its tools, a kernel for dom0 and QEMU (about 200 MB) into build/ and boots them there: no root and no
    /// hardware virtualization are needed. The emulator takes one CPU and up to 4 GB.
    XenLab(xen_lab::Arguments),
}

fn main() -> ExitCode {
    match work(Arguments::parse()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn work(arguments: Arguments) -> Result<u8> {
    let place = Place::find()?;
    let done = match arguments.task {
        Task::Demo => check::demo(&place),
        Task::Test { quick: true, .. } => test::test(&place, Reach::Quick),
        Task::Test { all: true, .. } => test::test(&place, Reach::All),
        Task::Test { .. } => test::test(&place, Reach::Usual),
        Task::Soak { name } => soak::soak(&place, name.as_deref()),
        Task::Qmp { program } => qmp::qmp(&place, program),
        Task::Viewers => viewers::viewers(&place),
        Task::Tsan => tsan::tsan(&place),
        Task::Web => web::web(&place),
        Task::Qtest(arguments) => qtest::qtest(&place, &arguments),
        Task::Fuzz { target, what } => fuzz::fuzz(&place, target.as_deref(), what.as_deref()),
        Task::Fetch { groups, fresh } => {
            let groups = if groups.is_empty() { Group::ALL.to_vec() } else { groups };
            fetch::fetch(&place, &groups, fresh)
        }
        Task::Guests { cloud: true } => guests::cloud(&place),
        Task::Guests { cloud: false } => guests::guests(&place),
        Task::Bench { runs, only } => bench::bench(&place, runs.max(1), only.as_deref()),
        Task::Lockstep(arguments) => lockstep::lockstep(&place, &arguments),
        Task::Conformance(arguments) => return conformance::conformance(&place, &arguments),
        Task::XenLab(arguments) => return xen_lab::work(&place, &arguments),
    };
    done.map(|()| 0)
}
