//! Guests saved at any instant of a boot go on in a new process as if nothing had been.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use guest_tests::random::Random;
use guest_tests::{Guest, Machine, case, seconds};

/// How long a boot takes here and now, so that instants fall into it.
fn boot_time(machine: &Machine) -> Result<Duration> {
    let mut guest = machine.boot()?;
    guest.wait_for("AILURUS-USERLAND-OK", seconds(240))?;
    let time = guest.elapsed();
    guest.wait_power_off(seconds(30))?;
    Ok(time)
}

/// Boots once, interrupted `times` times at random instants of guest time; the last part must power off.
fn interrupted_boot(machine: &Machine, whole: Duration, times: u32, random: &mut Random) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let mut instants: Vec<u64> =
        (0..times).map(|_| random.below(whole.as_millis() as u64 * 8 / 10)).collect();
    instants.sort_unstable();
    println!("  saved at {instants:?} ms of {} ms", whole.as_millis());
    let mut guest = machine.boot()?;
    let mut heard = String::new();
    let mut passed = 0;
    for (index, instant) in instants.iter().enumerate() {
        std::thread::sleep(Duration::from_millis(instant - passed));
        passed = *instant;
        let file = folder.path().join(format!("saved{index}"));
        let saved = guest.save(&file).with_context(|| format!("saving at {instant} ms"));
        heard += &guest.said();
        // A machine that is faster than its measured boot may have ended already, by itself and well.
        if saved.is_err() && heard.contains("AILURUS-USERLAND-OK") {
            println!("  ended before the save at {instant} ms");
            return guest.wait_power_off(seconds(10));
        }
        saved?;
        guest = Guest::restore(&file).with_context(|| format!("restoring what was saved at {instant} ms"))?;
    }
    let ended = guest.wait_power_off(seconds(240));
    heard += &guest.said();
    ended.with_context(|| format!("after saves at {instants:?} ms"))?;
    ensure!(heard.contains("AILURUS-USERLAND-OK"), "saved at {instants:?} ms: no userland:\n{heard}");
    Ok(())
}

fn random_instants(machine: &Machine, boots: u32, saves: u32) -> Result<()> {
    let mut random = Random::new();
    let whole = boot_time(machine)?;
    (0..boots).try_for_each(|_| interrupted_boot(machine, whole, saves, &mut random))
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
