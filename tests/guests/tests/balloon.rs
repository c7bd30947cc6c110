//! A memory balloon under Debian's cloud kernel: the host gets pages back that the guest does not use.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guest_tests::{Guest, Machine, case, seconds};
use serde_json::json;

const APPEND: &str = "console=ttyS0,115200 ailurus=shell quiet";
const MIB: u64 = 1 << 20;

/// MiB of the guest's RAM that the host has given.
fn resident(guest: &Guest) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{}/status", guest.pid()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssShmem:")).context("no RssShmem")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? / 1024)
}

fn until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    let end = Instant::now() + seconds(60);
    while !holds()? {
        ensure!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn size(guest: &mut Guest) -> Result<u64> {
    let answer = guest.monitor()?.execute("query-balloon", json!({}))?;
    Ok(answer["actual"].as_u64().context("no size")? / MIB)
}

fn resize(guest: &mut Guest, mib: u64) -> Result<()> {
    guest.monitor()?.execute("balloon", json!({ "value": mib * MIB }))?;
    let mut last = 0;
    let end = Instant::now() + seconds(60);
    while last != mib {
        ensure!(Instant::now() < end, "{last} MiB, and {mib} are wanted");
        last = size(guest)?;
    }
    Ok(())
}

/// The guest's own count of its memory, in MiB.
fn total(guest: &mut Guest) -> Result<u64> {
    guest.type_line("awk '/^MemTotal/ { print \"total is\", $2, \"KiB\" }' /proc/meminfo")?;
    let line = guest.wait_for("total is ", seconds(60))?;
    let number = line.split("total is ").last().and_then(|rest| rest.split(' ').next());
    let number = number.and_then(|number| number.parse::<u64>().ok());
    Ok(number.with_context(|| format!("no number in {line:?}"))? / 1024)
}

#[test]
fn pages_that_the_guest_does_not_use_go_back_to_the_host() {
    case("memory balloon: free pages reported, half of the guest and back, saved meanwhile", || {
        let device = "virtio-balloon-pci,id=b,free-page-reporting=on";
        let mut guest = Machine::new()?.kernel("virtio", APPEND)?.device(device).boot()?;
        guest.wait_for("ailurus:/root#", seconds(240))?;
        let before = resident(&guest)?;
        guest.type_line(
            "mount -t tmpfs none /mnt; dd if=/dev/urandom of=/mnt/x bs=1M count=96; echo used-$((6*7))",
        )?;
        guest.wait_for("used-42", seconds(120))?;
        let used = resident(&guest)?;
        ensure!(used >= before + 64, "{used} MiB after, {before} before");
        guest.type_line("rm /mnt/x")?;
        until("free pages stay with the guest", || Ok(resident(&guest)? < used - 64))?;

        let all = total(&mut guest)?;
        resize(&mut guest, 128)?;
        let less = total(&mut guest)?;
        ensure!(less + 120 < all, "{less} of {all} MiB");
        let half = resident(&guest)?;
        ensure!(half <= 128, "{half} MiB are resident of a guest that has 128");
        let file = guest.folder().join("half.saved");
        guest.save(&file)?;
        let mut guest = Guest::restore(&file)?;
        ensure!(size(&mut guest)? == 128, "the balloon is not as it was saved");
        guest.monitor()?.execute(
            "qom-set",
            json!({ "path": "/machine/peripheral/b", "property": "guest-stats-polling-interval", "value": 1 }),
        )?;
        resize(&mut guest, 256)?;
        ensure!(total(&mut guest)? == all, "the guest has not got all back");
        until("the guest tells nothing of its memory", || {
            let asked = json!({ "path": "/machine/peripheral/b", "property": "guest-stats" });
            let told = guest.monitor()?.execute("qom-get", asked)?;
            let known = told["stats"]["stat-total-memory"].as_u64().filter(|bytes| *bytes != u64::MAX);
            Ok(known.is_some_and(|bytes| bytes / MIB == all))
        })?;
        guest.type_line("poweroff -f")?;
        guest.wait_power_off(seconds(60))
    });
}
