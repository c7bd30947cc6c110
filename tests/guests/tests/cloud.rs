//! Debian's cloud kernel and busybox: from a CD through SeaBIOS and ISOLINUX, and loaded directly.

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::json;

const APPEND: &str = "console=ttyS0,115200 ailurus=poweroff";

/// Waits for userland, checks what it found, and for the power-off.
fn reaches_userland(guest: &mut Guest, vcpus: u64, mib: u64) -> Result<()> {
    let line = guest.wait_for("AILURUS-USERLAND-OK", seconds(240))?;
    println!("  userland after {:.1} s", guest.elapsed().as_secs_f32());
    let number = |key: &str| {
        let from = line.split_once(key).map(|(_, rest)| rest)?;
        from.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<u64>().ok()
    };
    let cpus = number("cpus=").with_context(|| format!("no CPUs in {line:?}"))?;
    let kib = number("memory=").with_context(|| format!("no memory in {line:?}"))?;
    ensure!(cpus == vcpus, "{vcpus} vCPUs, but the guest sees {cpus}");
    // The kernel keeps its own image, the page array and the firmware's areas to itself.
    ensure!((mib * 750..mib * 1024).contains(&kib), "{mib} MiB, but the guest has {kib} KiB");
    guest.wait_power_off(seconds(30))
}

fn from_cd(vcpus: u32, mib: u64) -> Result<()> {
    let mut guest = Machine::new()?.vcpus(vcpus).memory(mib).cdrom("cloud.iso")?.boot()?;
    reaches_userland(&mut guest, vcpus.into(), mib)
}

fn direct(vcpus: u32, mib: u64) -> Result<()> {
    let mut guest = Machine::new()?.vcpus(vcpus).memory(mib).kernel("cloud", APPEND)?.boot()?;
    reaches_userland(&mut guest, vcpus.into(), mib)
}

#[test]
fn cloud_from_cd_1_vcpu_256_mib() {
    case("cloud kernel from CD, 1 vCPU, 256 MiB", || from_cd(1, 256));
}

#[test]
fn cloud_from_cd_2_vcpus_256_mib() {
    case("cloud kernel from CD, 2 vCPUs, 256 MiB", || from_cd(2, 256));
}

#[test]
fn cloud_from_cd_4_vcpus_6_gib() {
    case("cloud kernel from CD, 4 vCPUs, 6 GiB", || from_cd(4, 6144));
}

#[test]
fn cloud_direct_1_vcpu_256_mib() {
    case("cloud kernel directly, 1 vCPU, 256 MiB", || direct(1, 256));
}

#[test]
fn cloud_direct_1_vcpu_6_gib() {
    case("cloud kernel directly, 1 vCPU, 6 GiB", || direct(1, 6144));
}

#[test]
fn cloud_direct_2_vcpus_6_gib() {
    case("cloud kernel directly, 2 vCPUs, 6 GiB", || direct(2, 6144));
}

#[test]
fn cloud_direct_4_vcpus_256_mib() {
    case("cloud kernel directly, 4 vCPUs, 256 MiB", || direct(4, 256));
}

/// The guest's reset leads through SeaBIOS again, in the same process.
#[test]
fn cloud_reboots_in_the_same_process() {
    case("cloud kernel directly, rebooted", || {
        let append = "console=ttyS0,115200 ailurus=reboot";
        let mut guest = Machine::new()?.kernel("cloud", append)?.boot()?;
        guest.wait_for("AILURUS-USERLAND-OK", seconds(240))?;
        guest.wait_for("AILURUS-USERLAND-OK", seconds(240))?;
        ensure!(guest.is_running(), "the reset ended the process");
        Ok(())
    });
}

#[test]
fn the_shell_takes_what_is_typed_on_the_serial_port() {
    case("cloud kernel, shell on the serial port", || {
        let mut guest = Machine::new()?.cdrom("cloud-shell.iso")?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        guest.type_line("echo $((6 * 7))-answered")?;
        guest.wait_for("42-answered", seconds(30))?;
        // A burst longer than the UART's FIFO must arrive whole.
        let long = "x".repeat(300);
        guest.type_line(&format!("echo {long} | wc -c"))?;
        guest.wait_for("\n301", seconds(30))?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}

/// Linux finds the device by ACPI, lets it go when it is asked to, and ejects it.
#[test]
fn a_pci_device_comes_and_goes_while_linux_runs() {
    case("cloud kernel, a PCI device plugged, saved, restored and unplugged", || {
        let append = "console=ttyS0,115200 ailurus=shell";
        let mut guest = Machine::new()?.kernel("cloud", append)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        let device = json!({ "driver": "pci-testdev", "id": "t", "addr": "0x9" });
        guest.monitor()?.execute("device_add", device)?;
        // The guest asks itself, and answers with what was not typed.
        let wait = |guest: &mut Guest, until: &str, answer: &str| -> Result<()> {
            let loops = format!("until {until}; do sleep 0.1; done; echo it-is-$((40+2))-{answer}");
            guest.type_line(&loops)?;
            guest.wait_for(&format!("it-is-42-{answer}"), seconds(60)).map(drop)
        };
        let there = "grep -q 0x0005 /sys/bus/pci/devices/0000:00:09.0/device";
        wait(&mut guest, there, "there")?;
        let file = guest.folder().join("plugged.saved");
        guest.save(&file)?;
        let mut guest = Guest::restore(&file)?;
        wait(&mut guest, there, "restored")?;
        guest.monitor()?.execute("device_del", json!({ "id": "t" }))?;
        wait(&mut guest, "! test -e /sys/bus/pci/devices/0000:00:09.0", "gone")?;
        // Linux ejects the slot after it has taken the device out of its tree.
        let until = std::time::Instant::now() + seconds(30);
        while guest.monitor()?.execute("query-pci", json!({}))?.to_string().contains("\"qdev_id\":\"t\"") {
            ensure!(std::time::Instant::now() < until, "the slot was not ejected");
        }
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}

#[test]
fn pause_stops_the_guest_and_reset_starts_it_again() {
    case("cloud kernel paused, resumed and reset by the monitor", || {
        let append = "console=ttyS0,115200 ailurus=shell";
        let mut guest = Machine::new()?.kernel("cloud", append)?.boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        ensure!(guest.subcommand("pause", &[])?.status.success(), "pause");
        guest.type_line("echo $((6 * 7))-answered")?;
        ensure!(guest.wait_for("42-answered", seconds(2)).is_err(), "a paused guest answers");
        ensure!(guest.subcommand("resume", &[])?.status.success(), "resume");
        guest.wait_for("42-answered", seconds(30))?;
        ensure!(guest.subcommand("reset", &[])?.status.success(), "reset");
        guest.wait_for("AILURUS-USERLAND-OK", seconds(240))?;
        ensure!(guest.subcommand("quit", &[])?.status.success(), "quit");
        guest.wait_exit(seconds(10))?;
        Ok(())
    });
}
