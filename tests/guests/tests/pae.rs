//! Debian's 32-bit kernel with PAE, to userland, and its programs under a 64-bit kernel.

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

/// They enter the kernel by SYSENTER on Intel's processors, by SYSCALL on AMD's: neither is there on the other's.
#[test]
fn programs_of_32_bits_under_a_64_bit_kernel() {
    for model in ["Haswell", "EPYC"] {
        case(&format!("32-bit programs under a 64-bit kernel, {model}"), || {
            let append = "console=ttyS0,115200 ailurus=poweroff panic=-1";
            let machine = Machine::new()?.cpu(model).kernel("generic", append)?.initrd("pae")?;
            let mut guest = machine.boot()?;
            let line = guest.wait_for_any(&["AILURUS-USERLAND-OK", "Kernel panic"], seconds(240))?;
            ensure!(line.contains("x86_64"), "not the 64-bit kernel, or it died: {line}");
            guest.wait_power_off(seconds(30))
        });
    }
}
