//! The software CPU calls one operation from another, and the compiler makes jumps of these calls: a guest takes no more
//! of its processor's stack the longer it runs.

use std::fs;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";
/// KiB of a vCPU's stack that a guest touches at most: what the deepest operation takes, and far less than the 4,096
/// blocks that follow each other would, if they called.
const MOST: u64 = 64;

/// Where the threads of the vCPUs have their stacks: the stack pointer of each that waits.
fn stack_pointers(guest: &Guest) -> Result<Vec<u64>> {
    let mut found = Vec::new();
    for thread in fs::read_dir(format!("/proc/{}/task", guest.pid()))? {
        let thread = thread?.path();
        if !fs::read_to_string(thread.join("comm"))?.starts_with("vcpu-") {
            continue;
        }
        // The number of the system call, its six arguments, the stack pointer, the program counter.
        let call = fs::read_to_string(thread.join("syscall"))?;
        let pointer = call.split_whitespace().nth(7).and_then(|word| word.strip_prefix("0x"));
        found.extend(pointer.map(|digits| u64::from_str_radix(digits, 16)).transpose()?);
    }
    Ok(found)
}

/// KiB that were touched of the mapping with that address.
fn touched(guest: &Guest, address: u64) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{}/smaps", guest.pid()))?;
    let range = |line: &str| {
        let (from, to) = line.split_once(' ')?.0.split_once('-')?;
        Some(u64::from_str_radix(from, 16).ok()?..u64::from_str_radix(to, 16).ok()?)
    };
    let mut lines = text.lines().skip_while(|line| range(line).is_none_or(|range| !range.contains(&address)));
    let rss =
        lines.find_map(|line| line.strip_prefix("Rss:")).context("no mapping has a vCPU's stack pointer")?;
    Ok(rss.trim().trim_end_matches(" kB").parse()?)
}

/// The same of each vCPU, when all of them wait.
fn stacks(guest: &Guest, vcpus: usize) -> Result<Vec<u64>> {
    let end = Instant::now() + seconds(60);
    loop {
        let pointers = stack_pointers(guest)?;
        if pointers.len() == vcpus {
            return pointers.into_iter().map(|pointer| touched(guest, pointer)).collect();
        }
        ensure!(Instant::now() < end, "{} of {vcpus} vCPUs wait", pointers.len());
    }
}

#[test]
fn a_boot_leaves_the_stacks_of_its_processors_small() {
    case("stack: what a boot in the first tier touches of its vCPUs' stacks", || {
        let mut guest = Machine::new()?.kernel("cloud", APPEND)?.vcpus(2).cpu_tier("1").boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        let stacks = stacks(&guest, 2)?;
        println!("{stacks:?} KiB");
        ensure!(stacks.iter().all(|touched| *touched <= MOST), "{stacks:?} KiB of stacks were touched");
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
