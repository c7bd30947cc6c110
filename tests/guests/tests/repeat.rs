//! With `--clock icount` a whole run repeats exactly, whether the guest's code is interpreted or translated.

use std::fs;
use std::path::Path;

use anyhow::{Result, ensure};
use guest_tests::{Machine, case, saved, seconds};

/// A whole boot to the power-off, kept after it and saved to `file`; gives what the serial port said and the tree of
/// the machine with its guest time.
fn run(config: &Path, machine: &Machine, file: &Path) -> Result<String> {
    let mut guest = machine.clone().config(config).boot()?;
    guest.wait_for("AILURUS-USERLAND-OK", seconds(400))?;
    // Powered off but kept: the status says so.
    let until = std::time::Instant::now() + seconds(60);
    loop {
        let status = guest.monitor()?.execute("query-status", serde_json::json!({}))?;
        if status["running"] == false {
            break;
        }
        ensure!(std::time::Instant::now() < until, "no power-off: {status}");
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    let said = format!("{}\n{}", guest.said(), without_tier2(&guest.inspect("")?));
    guest.save(file)?;
    Ok(said)
}

/// The tree without what each vCPU tells of the code that it decoded and translated, which is no part of the guest.
fn without_tier2(tree: &str) -> String {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut inside = None;
    let kept = tree.lines().filter(|line| {
        if inside.is_some_and(|of| depth(line) > of) {
            return false;
        }
        inside = (line.trim() == "tier2/").then(|| depth(line));
        inside.is_none() && !line.trim_start().starts_with("blocks: ")
    });
    kept.collect::<Vec<_>>().join("\n")
}

/// Runs it in each tier.
fn repeats(machine: &Machine) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let config = folder.path().join("guest.cfg");
    fs::write(&config, "name = 'repeat'\non_poweroff = 'preserve'\n")?;
    let (one, other) = (folder.path().join("one"), folder.path().join("other"));
    let first = run(&config, &machine.clone().cpu_tier("1"), &one)?;
    let second = run(&config, &machine.clone().cpu_tier("2"), &other)?;
    ensure!(
        first == second,
        "the serial output or the machine's tree differs:\n{}",
        first_difference(&first, &second)
    );
    let differences = saved::differences(&one, &other)?;
    ensure!(differences.is_empty(), "the final states differ in {}", differences.join(", "));
    Ok(())
}

fn first_difference(one: &str, other: &str) -> String {
    let pair = one.lines().zip(other.lines()).find(|(a, b)| a != b);
    pair.map_or("one is longer".into(), |(a, b)| format!("{a}\n{b}"))
}

const APPEND: &str = "console=ttyS0,115200 ailurus=poweroff";

#[test]
fn icount_boot_repeats_to_the_last_byte_in_the_other_tier() {
    case(
        "cloud kernel directly, icount, interpreted and translated: same output, RAM and device state",
        || repeats(&Machine::new()?.kernel("cloud", APPEND)?.icount()),
    );
}

#[test]
#[ignore = "soak: two slow boots"]
fn soak_icount_boot_of_2_vcpus_repeats() {
    case("cloud kernel from CD, icount, 2 vCPUs, interpreted and translated", || {
        repeats(&Machine::new()?.vcpus(2).cdrom("cloud.iso")?.icount())
    });
}
