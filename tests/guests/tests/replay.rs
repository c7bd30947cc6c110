//! A run that was recorded replays exactly, and faster than it ran.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use guest_tests::{Guest, Machine, Screen, case, seconds};

const APPEND: &str = "console=ttyS0,115200 ailurus=poweroff";

/// Replays `file`, which took `ran`, and says how they compare.
fn replays(machine: &Machine, file: &Path, ran: Duration) -> Result<()> {
    let begun = Instant::now();
    let output = machine.program.command().arg("replay").arg(file).output()?;
    let took = begun.elapsed();
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(0), "{}:\n{said}{errors}", output.status);
    let ratio = ran.as_secs_f64() / took.as_secs_f64();
    println!("  {}", said.trim_end());
    let size = file.metadata()?.len();
    println!(
        "  ran {:.1} s, replayed in {:.2} s: {ratio:.0} times; {size} bytes",
        ran.as_secs_f64(),
        took.as_secs_f64()
    );
    ensure!(took < ran, "the replay took longer than the run");
    Ok(())
}

fn userland(machine: Machine) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("recording");
    let machine = machine.record(&file);
    let mut guest = machine.boot()?;
    guest.wait_for("AILURUS-USERLAND-OK", seconds(400))?;
    guest.wait_power_off(seconds(60))?;
    let ran = guest.elapsed();
    replays(&machine, &file, ran)
}

#[test]
fn a_boot_by_instruction_count_replays() {
    case("cloud kernel from CD, icount, recorded and replayed", || {
        userland(Machine::new()?.cdrom("cloud.iso")?.icount())
    });
}

#[test]
fn a_boot_by_the_hosts_clock_replays() {
    case("cloud kernel directly, recorded and replayed", || {
        userland(Machine::new()?.kernel("cloud", APPEND)?)
    });
}

#[test]
fn a_boot_of_two_vcpus_replays() {
    case("cloud kernel from CD, 2 vCPUs, recorded and replayed", || {
        userland(Machine::new()?.vcpus(2).cdrom("cloud.iso")?)
    });
}

/// Keys and the text screen, and a guest that is ended from outside.
#[test]
#[ignore = "soak: the installer's boot takes minutes"]
fn soak_the_installer_replays() {
    case("Debian installer, amd64 text, to its first dialog, recorded and replayed", || {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("recording");
        let append = "vga=normal fb=false nomodeset quiet";
        let machine = Machine::new()?.memory(1024).kernel("installer-amd64-text", append)?.record(&file);
        let mut guest: Guest = machine.boot()?;
        let dialog = |screen: &Screen| screen.has("Select a language") && screen.has("English");
        let screen = guest.wait_screen_until("the choice of language", seconds(600), dialog)?;
        let before = screen.highlighted();
        guest.keys(&["down"])?;
        guest.wait_screen_until("another language chosen", seconds(60), |s| s.highlighted() != before)?;
        ensure!(guest.subcommand("quit", &[])?.status.success(), "quit");
        guest.wait_exit(seconds(30))?;
        let ran = guest.elapsed();
        replays(&machine, &file, ran)
    });
}
