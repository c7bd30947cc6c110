//! Guests saved at any instant of a boot go on in a new process as if nothing had been.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::json;

const USERLAND: &str = "AILURUS-USERLAND-OK";
/// Of so many instants one lies in the firmware, before the guest says anything.
const FIRMWARE: u64 = 4;

/// How long a boot is, in the guest's own measures: they do not depend on how busy the host is.
struct Length {
    /// Guest time in milliseconds before the first byte on the serial port.
    silent: u64,
    /// Bytes on the serial port before userland's line.
    said: usize,
}

/// An instant of a boot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Instant {
    /// Guest time in milliseconds, before the guest says anything.
    Silent(u64),
    /// After so many bytes on the serial port, and then so many milliseconds of the host's.
    Said(usize, u64),
}

impl Length {
    fn measure(machine: &Machine) -> Result<Length> {
        let mut guest = machine.boot()?;
        let mut silent = 0;
        while guest.said().is_empty() && guest.is_running() {
            silent = guest.milliseconds()?;
            std::thread::sleep(Duration::from_millis(5));
        }
        guest.wait_for(USERLAND, seconds(240))?;
        let said = guest.said().find(USERLAND).context("userland's line")?;
        guest.wait_power_off(seconds(30))?;
        println!("  a boot is {silent} ms of guest time and then {said} bytes");
        Ok(Length { silent, said })
    }

    fn random(&self, random: &mut Random) -> Instant {
        if random.below(FIRMWARE) == 0 {
            return Instant::Silent(random.below(self.silent));
        }
        Instant::Said(random.below(self.said as u64) as usize, random.below(60))
    }
}

/// Waits for an instant; whether the boot has come no further than to userland by then. `before` is what the guest
/// said in earlier processes.
fn reach(guest: &mut Guest, before: &str, instant: Instant) -> Result<bool> {
    loop {
        let said = before.len() + guest.said().len();
        let there = match instant {
            // The measured boot may have been silent for longer than this one.
            Instant::Silent(_) if said > 0 => true,
            Instant::Silent(at) => guest.milliseconds()? >= at,
            Instant::Said(at, extra) => {
                let there = said >= at;
                if there {
                    std::thread::sleep(Duration::from_millis(extra));
                }
                there
            }
        };
        if there || !guest.is_running() {
            return Ok(guest.is_running() && !guest.said().contains(USERLAND));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Boots once, interrupted at random instants; the last part must power off. Gives how many of the saves fell within
/// the boot.
fn interrupted_boot(machine: &Machine, length: &Length, times: u32, random: &mut Random) -> Result<u32> {
    let folder = tempfile::tempdir()?;
    let mut instants: Vec<Instant> = (0..times).map(|_| length.random(random)).collect();
    instants.sort_unstable();
    println!("  saved at {instants:?}");
    let mut guest = machine.boot()?;
    let mut heard = String::new();
    let mut saves = 0;
    for (index, instant) in instants.iter().enumerate() {
        if !reach(&mut guest, &heard, *instant)? {
            println!("  userland came before {instant:?}");
            break;
        }
        let file = folder.path().join(format!("saved{index}"));
        let saved = guest.save(&file).with_context(|| format!("saving at {instant:?}"));
        heard += &guest.said_to_the_end();
        if heard.contains(USERLAND) {
            // It came while the save was asked for. A guest that was saved must still end well.
            println!("  userland came before the save at {instant:?}");
            if saved.is_ok() {
                guest = Guest::restore(&file)?;
            }
            break;
        }
        saved?;
        saves += 1;
        guest = Guest::restore(&file).with_context(|| format!("restoring what was saved at {instant:?}"))?;
    }
    let ended = guest.wait_power_off(seconds(240));
    heard += &guest.said_to_the_end();
    ended.with_context(|| format!("after saves at {instants:?}"))?;
    ensure!(heard.contains(USERLAND), "saved at {instants:?}: no userland:\n{heard}");
    Ok(saves)
}

/// Boots until `boots` times `saves` saves were made within a boot.
fn random_instants(machine: &Machine, boots: u32, saves: u32) -> Result<()> {
    let mut random = Random::new();
    let length = Length::measure(machine)?;
    let (mut done, wanted) = (0, boots * saves);
    for _ in 0..3 * boots {
        done += interrupted_boot(machine, &length, saves.min(wanted - done), &mut random)?;
        if done == wanted {
            return Ok(());
        }
    }
    anyhow::bail!("only {done} of {wanted} saves fell within a boot")
}

#[test]
fn boot_from_cd_saved_at_random_instants() {
    case("cloud kernel from CD, 3 boots saved at 4 random instants each", || {
        random_instants(&Machine::new()?.cdrom("cloud.iso")?, 3, 4)
    });
}

#[test]
fn direct_boot_of_2_vcpus_saved_at_random_instants() {
    case("cloud kernel directly, 2 vCPUs, 2 boots saved at 4 random instants each", || {
        let append = "console=ttyS0,115200 ailurus=poweroff";
        random_instants(&Machine::new()?.vcpus(2).kernel("cloud", append)?, 2, 4)
    });
}

#[test]
#[ignore = "soak: 20 whole boots, each saved once"]
fn soak_20_boots_saved_once_each() {
    case("cloud kernel from CD, 20 boots saved at a random instant each", || {
        random_instants(&Machine::new()?.cdrom("cloud.iso")?, 20, 1)
    });
}

#[test]
fn a_saved_shell_remembers() {
    case("shell saved with -c, restored twice from the same file", || {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("saved");
        let append = "console=ttyS0,115200 ailurus=shell";
        let mut guest = Machine::new()?.kernel("cloud", append)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        guest.type_line("secret=$((40 + 2)); echo noted-$?")?;
        guest.wait_for("noted-0", seconds(30))?;
        let output = guest.subcommand("save", &["-c", &file.display().to_string()])?;
        ensure!(output.status.success(), "save -c: {}", String::from_utf8_lossy(&output.stderr));
        guest.type_line("echo original-$secret")?;
        guest.wait_for("original-42", seconds(30))?;
        guest.kill();
        for _ in 0..2 {
            let mut again = Guest::restore(&file)?;
            again.type_line("echo again-$secret")?;
            again.wait_for("again-42", seconds(60))?;
            again.type_line("poweroff -f")?;
            again.wait_power_off(seconds(60))?;
        }
        Ok(())
    });
}

/// Sorts, floating point and hashes, whose sums are always the same.
const WORK: &str = "work() { (seq 1 9000 | sort -r; seq 1 9000 | awk '{s+=$1/7;print s}') | sha256sum; }";

/// Saved in one tier and restored in the other, twice, while the guest computes the same sum over and over.
fn changes_tier(first: &'static str, second: &'static str) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let append = "console=ttyS0,115200 ailurus=shell";
    let mut guest = Machine::new()?.vcpus(2).kernel("cloud", append)?.cpu_tier(first).boot()?;
    guest.wait_for("ailurus:/root#", seconds(240))?;
    guest.type_line(WORK)?;
    guest.type_line(
        "work > first; (i=0; while [ ! -e over ]; do i=$((i+1)); work; echo at-$i >&2; done) > all &",
    )?;
    for (number, tier) in [second, first].into_iter().enumerate() {
        guest.wait_for("at-2", seconds(120))?;
        let file = folder.path().join(format!("saved{number}"));
        guest.save(&file)?;
        guest = Guest::restore_in(&file, tier)?;
        // It counts on from there.
        guest.wait_for("at-", seconds(120))?;
        guest.type_line("true")?;
        if number == 0 {
            guest.type_line("touch over; wait; rm over; echo half-$?")?;
            guest.wait_for("half-0", seconds(120))?;
            guest.type_line(
                "(i=0; while [ ! -e over ]; do i=$((i+1)); work; echo at-$i >&2; done) >> all &",
            )?;
        }
    }
    guest.type_line(
        "touch over; wait; echo sums-$(cat first all | sort -u | wc -l) of-$(cat all | wc -l)-all",
    )?;
    // The echo of the line has no number there.
    let line = guest.wait_for_any(&["sums-1 of-", "sums-2 of-", "sums-3 of-", "sums-4 of-"], seconds(120))?;
    ensure!(line.contains("sums-1 of-"), "different sums: {line}");
    guest.type_line("poweroff -f")?;
    guest.wait_power_off(seconds(60))
}

#[test]
fn a_guest_saved_in_one_tier_goes_on_in_the_other() {
    case("shell with 2 vCPUs that computes, saved interpreted and restored translated, and back", || {
        changes_tier("1", "2")
    });
}

#[test]
#[ignore = "all: the same from the other end"]
fn a_guest_saved_translated_goes_on_interpreted() {
    case("shell with 2 vCPUs that computes, saved translated and restored interpreted, and back", || {
        changes_tier("2", "1")
    });
}

/// Linux takes new seeds when its VM generation id is another: two guests that go on from one file must not have the same
/// random numbers.
#[test]
#[ignore = "all: the generic kernel, started and restored"]
fn a_restored_guest_knows_that_it_is_another() {
    case("generic kernel, two lives from one saved file", || -> Result<()> {
        let append = "console=ttyS0,115200 ailurus=shell quiet";
        let mut guest = Machine::new()?.kernel("sound", append)?.device("vmgenid").boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        let id = |guest: &mut Guest| -> Result<String> {
            let answer = guest.monitor()?.execute("query-vm-generation-id", json!({}))?;
            Ok(answer["guid"].as_str().context("no id")?.to_owned())
        };
        let count = "dmesg | grep -c 'due to virtual machine fork' | tr '\\n' ,";
        // Seeds are taken anew by a generator that has had some.
        guest.type_line(&format!("head -c 1 /dev/random >/dev/null; echo forks-$({count})."))?;
        guest.wait_for("forks-0,.", seconds(60))?;
        let mut ids = vec![id(&mut guest)?];
        let file = guest.folder().join("once.saved");
        guest.save(&file)?;
        for _ in 0..2 {
            let mut other = Guest::restore(&file)?;
            other.type_line(&format!("sleep 1; echo forks-$({count})."))?;
            other.wait_for("forks-1,.", seconds(60))?;
            ids.push(id(&mut other)?);
            other.kill();
        }
        ids.sort();
        ids.dedup();
        ensure!(ids.len() == 3, "{ids:?}");
        Ok(())
    });
}
