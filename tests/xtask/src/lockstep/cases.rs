//! The guests, each as the tests with real guests start it.

use anyhow::Result;
use guest_tests::{Machine, guest};

/// One guest.
pub struct Case {
    /// What it is called.
    pub name: &'static str,
    /// What it is.
    pub what: &'static str,
    /// Where it ends, in guest time; None for one that switches itself off.
    pub until: Option<u64>,
    /// What it is made of.
    pub machine: fn() -> Result<Machine>,
}

const APPEND: &str = "console=ttyS0,115200 ailurus=poweroff";
const INSTALLER: &str = "vga=normal fb=false nomodeset quiet";
const SECOND: u64 = 1_000_000_000;

/// All of them, the short ones first. What does not end is run for so long that it has reached its screen.
pub const CASES: &[Case] = &[
    Case {
        name: "u-boot",
        what: "U-Boot's 64-bit ROM as firmware, to its prompt",
        until: Some(2 * SECOND),
        machine: || Ok(Machine::new()?.firmware("u-boot-x64.rom")?.snapshot_of(&guest("disk.img")?, "raw")),
    },
    Case {
        name: "invaders",
        what: "grub-invaders, marching",
        until: Some(5 * SECOND),
        machine: || Machine::new()?.cdrom("invaders.iso"),
    },
    Case {
        name: "grub",
        what: "GRUB's rescue CD, its menu and what it tries after that",
        until: Some(8 * SECOND),
        machine: || Machine::new()?.cdrom("grub-rescue.iso"),
    },
    Case {
        name: "hdt",
        what: "HDT, its menu",
        until: Some(8 * SECOND),
        machine: || Machine::new()?.cdrom("hdt.iso"),
    },
    Case {
        name: "memtest-ia32",
        what: "memtest86+ ia32, 32 MiB",
        until: Some(2 * SECOND),
        machine: || Machine::new()?.memory(32).cdrom("memtest-ia32.iso"),
    },
    Case {
        name: "memtest-x64",
        what: "memtest86+ x64, 32 MiB",
        until: Some(2 * SECOND),
        machine: || Machine::new()?.memory(32).cdrom("memtest-x64.iso"),
    },
    Case {
        name: "cloud",
        what: "Debian's cloud kernel by --kernel, to the power-off",
        until: None,
        machine: || Machine::new()?.kernel("cloud", APPEND),
    },
    Case {
        name: "cloud-cd",
        what: "the same from CD (SeaBIOS, ISOLINUX)",
        until: None,
        machine: || Machine::new()?.cdrom("cloud.iso"),
    },
    Case {
        name: "cloud-2",
        what: "the same with 2 vCPUs",
        until: None,
        machine: || Machine::new()?.vcpus(2).cdrom("cloud.iso"),
    },
    Case {
        name: "pae",
        what: "a 32-bit PAE kernel, to the power-off",
        until: None,
        machine: || Machine::new()?.memory(512).kernel("pae", APPEND),
    },
    Case {
        name: "disk",
        what: "the generic kernel from an IDE disk (GRUB, ext4): writes, reboots, reads, switches off",
        until: None,
        machine: || Ok(Machine::new()?.memory(512).snapshot_of(&guest("disk.qcow2")?, "qcow2")),
    },
    Case {
        name: "installer-amd64",
        what: "Debian's text installer, amd64, past its first dialog",
        until: Some(20 * SECOND),
        machine: || Machine::new()?.memory(1024).kernel("installer-amd64-text", INSTALLER),
    },
    Case {
        name: "installer-i386",
        what: "the same, i386",
        until: Some(20 * SECOND),
        machine: || Machine::new()?.memory(1024).kernel("installer-i386-text", INSTALLER),
    },
];
