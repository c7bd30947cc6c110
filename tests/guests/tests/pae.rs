//! Debian's 32-bit kernel with PAE, to userland.

use anyhow::ensure;
use guest_tests::{Machine, case, seconds};

#[test]
#[ignore = "soak: the same boot with more memory is not left out"]
fn soak_pae_kernel_reaches_userland() {
    case("32-bit PAE kernel, 512 MiB", || {
        let append = "console=ttyS0,115200 ailurus=poweroff";
        let mut guest = Machine::new()?.memory(512).kernel("pae", append)?.boot()?;
        let line = guest.wait_for("AILURUS-USERLAND-OK", seconds(300))?;
        ensure!(line.contains("i686"), "not the 32-bit kernel: {line}");
        guest.wait_power_off(seconds(30))
    });
}

#[test]
fn pae_kernel_uses_memory_above_4_gib_on_2_vcpus() {
    case("32-bit PAE kernel, 6 GiB, 2 vCPUs", || {
        let append = "console=ttyS0,115200 ailurus=poweroff";
        let mut guest = Machine::new()?.memory(6144).vcpus(2).kernel("pae", append)?.boot()?;
        let line = guest.wait_for("AILURUS-USERLAND-OK", seconds(300))?;
        ensure!(line.contains("cpus=2 "), "not two CPUs: {line}");
        let kib = line.split_once("memory=").and_then(|(_, rest)| rest.split_once("kB"));
        let kib: u64 = kib.map_or(0, |(number, _)| number.parse().unwrap_or(0));
        ensure!(kib > 5 << 20, "{kib} KiB of 6 GiB");
        guest.wait_power_off(seconds(30))
    });
}
