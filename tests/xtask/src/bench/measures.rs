//! What is measured, and how each guest is made to show it.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, Program, seconds};

use super::Better;
use crate::process;

/// One figure that both programs are asked for.
pub struct Measure {
    /// What it is.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// What the project asks for, in words.
    pub asked: &'static str,
    /// The same in numbers: the bound of our ratio to QEMU's figure, or of our figure alone.
    pub bound: Bound,
    /// Takes it once.
    pub take: fn(&Program) -> Result<f64>,
}

/// What a figure is held against.
pub enum Bound {
    /// Nothing: it is shown only.
    None,
    /// Ours divided by QEMU's.
    Ratio(Better, f64),
    /// Ours alone.
    Own(Better, f64),
}

impl Measure {
    /// Whether the bound is kept; none when there is nothing to say.
    pub fn met(&self, ours: Option<f64>, ratio: Option<f64>) -> Option<bool> {
        let keeps = |better, figure: f64, bound: f64| match better {
            Better::Less => figure <= bound,
            Better::More => figure >= bound,
        };
        match self.bound {
            Bound::None => None,
            Bound::Ratio(better, bound) => ratio.map(|ratio| keeps(better, ratio, bound)),
            Bound::Own(better, bound) => ours.map(|ours| keeps(better, ours, bound)),
        }
    }
}

/// Everything that is measured, in the table's order.
pub const MEASURES: &[Measure] = &[
    Measure {
        name: "boot by --kernel",
        unit: "s",
        asked: "at most 0.7",
        bound: Bound::Ratio(Better::Less, 0.7),
        take: |program| boot(cloud(program, "poweroff")?),
    },
    Measure {
        name: "boot from CD",
        unit: "s",
        asked: "at most 0.7",
        bound: Bound::Ratio(Better::Less, 0.7),
        take: |program| boot(Machine::on(program.clone()).cdrom("cloud.iso")?),
    },
    Measure {
        name: "boot of a 32-bit kernel",
        unit: "s",
        asked: "less than QEMU's",
        bound: Bound::Ratio(Better::Less, 1.0),
        take: |program| boot(linux(program, "pae", "poweroff")?),
    },
    Measure {
        name: "resident beyond guest RAM",
        unit: "MiB",
        asked: "at most half",
        bound: Bound::Ratio(Better::Less, 0.5),
        take: resident,
    },
    Measure {
        name: "idle guest",
        unit: "% of a core",
        asked: "at most 0.3 %",
        bound: Bound::Own(Better::Less, 0.3),
        take: idle,
    },
    Measure {
        name: "IDE DMA sequential read",
        unit: "MB/s",
        asked: "at least 1.2 times",
        bound: Bound::Ratio(Better::More, 1.2),
        take: |program| disk_read(program, 6, "iflag=direct"),
    },
    Measure {
        name: "the same through the guest's page cache",
        unit: "MB/s",
        asked: "at least 1.25 times",
        bound: Bound::Ratio(Better::More, 1.25),
        take: |program| disk_read(program, 1, ""),
    },
    Measure {
        name: "work of 2 vCPUs against 1",
        unit: "times",
        asked: "at least 1.9",
        bound: Bound::Own(Better::More, 1.9),
        take: two_vcpus,
    },
    Measure {
        name: "integer loop in the shell",
        unit: "s",
        asked: "at most 0.8",
        bound: Bound::Ratio(Better::Less, 0.8),
        take: |program| in_shell(program, COUNT),
    },
    Measure {
        name: "integer loop in a 32-bit shell",
        unit: "s",
        asked: "less than QEMU's",
        bound: Bound::Ratio(Better::Less, 1.0),
        take: |program| timed(&mut shell(linux(program, "pae", "shell")?)?, COUNT),
    },
    Measure {
        name: "fork and page faults, 32-bit",
        unit: "s",
        asked: "less than QEMU's",
        bound: Bound::Ratio(Better::Less, 1.0),
        take: |program| timed(&mut shell(linux(program, "pae", "shell")?)?, FORKS),
    },
    Measure {
        name: "memory fill, 4 GB",
        unit: "s",
        asked: "",
        bound: Bound::None,
        take: |program| in_shell(program, "dd if=/dev/zero of=/dev/null bs=1M count=4000"),
    },
    Measure {
        name: "fork and page faults",
        unit: "s",
        asked: "at most 0.8",
        bound: Bound::Ratio(Better::Less, 0.8),
        take: |program| in_shell(program, FORKS),
    },
    Measure {
        name: "floating point in awk",
        unit: "s",
        asked: "",
        bound: Bound::None,
        take: |program| in_shell(program, "awk 'BEGIN{for(i=1;i<100000;i++)s+=1/(i*i+.5);print s}'"),
    },
    Measure {
        name: "sort in the shell",
        unit: "s",
        asked: "at most 0.8",
        bound: Bound::Ratio(Better::Less, 0.8),
        take: |program| in_shell(program, "seq 1 40000 | sort -r | sort -n | sha256sum"),
    },
    Measure {
        name: "SHA-256 of 16 MB",
        unit: "s",
        asked: "at most 0.8",
        bound: Bound::Ratio(Better::Less, 0.8),
        take: |program| in_shell(program, "dd if=/dev/zero bs=1M count=16 2>/dev/null | sha256sum"),
    },
];

/// A loop of arithmetic that makes no system call.
const COUNT: &str = "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done";
/// One of processes that end at once.
const FORKS: &str = "i=0; while [ $i -lt 200 ]; do /bin/true; (:); i=$((i+1)); done";
/// Guest RAM of every machine here, MiB.
const MEMORY: u64 = 256;
/// How long a boot may take on a busy machine.
const PATIENCE: Duration = seconds(300);
/// How much the disk is read, bytes.
const READ: u64 = 300 << 20;

fn cloud(program: &Program, todo: &str) -> Result<Machine> {
    linux(program, "cloud", todo)
}

fn linux(program: &Program, kernel: &str, todo: &str) -> Result<Machine> {
    let append = format!("console=ttyS0,115200 quiet ailurus={todo}");
    Machine::on(program.clone()).memory(MEMORY).kernel(kernel, &append)
}

/// Seconds to userland.
fn boot(machine: Machine) -> Result<f64> {
    let mut guest = machine.boot()?;
    guest.wait_for("AILURUS-USERLAND-OK", PATIENCE)?;
    let time = guest.elapsed();
    guest.wait_power_off(seconds(60))?;
    Ok(time.as_secs_f64())
}

/// A guest that has nothing to do, some seconds after it said so.
fn resting(program: &Program) -> Result<Guest> {
    let mut guest = cloud(program, "idle")?.boot()?;
    guest.wait_for("AILURUS-USERLAND-OK", PATIENCE)?;
    std::thread::sleep(seconds(5));
    ensure!(guest.is_running(), "the idle guest ended");
    Ok(guest)
}

fn resident(program: &Program) -> Result<f64> {
    let guest = resting(program)?;
    process::resident_beyond(guest.pid(), MEMORY << 10).map(|kib| kib as f64 / 1024.0)
}

fn idle(program: &Program) -> Result<f64> {
    let guest = resting(program)?;
    let before = process::cpu_time(guest.pid())?;
    let begun = Instant::now();
    std::thread::sleep(seconds(20));
    let used = process::cpu_time(guest.pid())?.saturating_sub(before);
    Ok(100.0 * used.as_secs_f64() / begun.elapsed().as_secs_f64())
}

/// A guest with a shell on its serial port.
pub(super) fn shell(machine: Machine) -> Result<Guest> {
    let mut guest = machine.boot()?;
    guest.wait_for("ailurus:/root#", PATIENCE)?;
    // What the kernel still has to do at the end of a boot is no part of what follows.
    std::thread::sleep(seconds(1));
    Ok(guest)
}

/// How long a line takes in the guest's shell, seconds of the host's time.
pub(super) fn timed(guest: &mut Guest, line: &str) -> Result<f64> {
    let begun = Instant::now();
    // The echo of the line, with `$?`, is not what is waited for.
    guest.type_line(&format!("{line}; echo finished=$?"))?;
    let end = guest.wait_for_any(&["finished=0", "finished=1", "finished=2"], PATIENCE)?;
    let time = begun.elapsed().as_secs_f64();
    ensure!(end.contains("=0"), "`{line}` fails in the guest:\n{}", guest.said());
    Ok(time)
}

fn in_shell(program: &Program, line: &str) -> Result<f64> {
    timed(&mut shell(cloud(program, "shell")?)?, line)
}

fn two_vcpus(program: &Program) -> Result<f64> {
    let mut guest = shell(cloud(program, "shell")?.vcpus(2))?;
    let alone = timed(&mut guest, &format!("({COUNT})"))?;
    let both = timed(&mut guest, &format!("({COUNT}) & ({COUNT}) & wait"))?;
    Ok(2.0 * alone / both)
}

/// Reads the whole disk so many times. Past the guest's page cache (`iflag=direct`) it is the controller that is
/// measured; through it, mostly the guest's own code.
fn disk_read(program: &Program, times: u32, flag: &str) -> Result<f64> {
    let folder = tempfile::tempdir()?;
    let image = folder.path().join("disk");
    // Real data in the host's page cache, which has nothing to write back any more: what is measured is the way from
    // there into the guest.
    let mut random = File::open("/dev/urandom")?.take(READ);
    let mut file = File::create(&image)?;
    std::io::copy(&mut random, &mut file)
        .and_then(|_| file.sync_all())
        .context("cannot write the disk image")?;
    let append = "console=ttyS0,115200 quiet ailurus=shell";
    let machine = Machine::on(program.clone()).memory(512).kernel("generic", append)?;
    let mut guest = shell(machine.disk(&image, "raw"))?;
    timed(&mut guest, "while [ ! -b /dev/sda ]; do sleep 0.1; done")?;
    let dd = format!("dd if=/dev/sda of=/dev/null bs=1M {flag}");
    let time = timed(&mut guest, &vec![dd; times as usize].join(" && "))?;
    Ok(f64::from(times) * READ as f64 / 1e6 / time)
}
