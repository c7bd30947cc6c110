//! The table of device models that `-device` knows.

/// What a model is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The standard VGA.
    Vga,
    /// An ATAPI CD drive on the IDE controller.
    IdeCd,
    /// A disk on the IDE controller.
    IdeDisk,
    /// The Xen platform device.
    XenPlatform,
    /// The second Xen platform device, for Windows Update.
    XenPvDevice,
    /// The paravirtualised panic device, which every machine of ours has.
    Pvpanic,
    /// Refused by name; what it is.
    NotBuilt(&'static str),
}

const DISPLAY: Role = Role::NotBuilt("display adapter");
const NETWORK: Role = Role::NotBuilt("network card");
const USB: Role = Role::NotBuilt("USB");
const SOUND: Role = Role::NotBuilt("sound card");
const STORAGE: Role = Role::NotBuilt("disk controller");
const SCSI: Role = Role::NotBuilt("SCSI drive");
const VIRTIO: Role = Role::NotBuilt("virtio");
const PASSTHROUGH: Role = Role::NotBuilt("PCI passthrough");
const TPM: Role = Role::NotBuilt("TPM");
const LINES: Role = Role::NotBuilt("lines");
const TESTING: Role = Role::NotBuilt("test device");
const OTHER: Role = Role::NotBuilt("device");

const DRIVERS: &[(Role, &[&str])] = &[
    (Role::Vga, &["VGA"]),
    (Role::IdeCd, &["ide-cd"]),
    (Role::IdeDisk, &["ide-hd"]),
    (Role::XenPlatform, &["xen-platform"]),
    (Role::XenPvDevice, &["xen-pvdevice"]),
    (Role::Pvpanic, &["pvpanic"]),
    (DISPLAY, &["cirrus-vga", "qxl", "qxl-vga", "virtio-vga", "bochs-display", "secondary-vga", "ramfb"]),
    (NETWORK, &["e1000", "e1000-82540em", "e1000e", "rtl8139", "ne2k_pci", "ne2k_isa", "pcnet", "vmxnet3"]),
    (NETWORK, &["i82551", "i82557b", "i82559er", "igb", "tulip", "virtio-net", "virtio-net-pci"]),
    (USB, &["piix3-usb-uhci", "piix4-usb-uhci", "ich9-usb-ehci1", "ich9-usb-ehci2", "usb-ehci"]),
    (USB, &["ich9-usb-uhci1", "ich9-usb-uhci2", "ich9-usb-uhci3", "pci-ohci", "nec-usb-xhci", "qemu-xhci"]),
    (USB, &["usb-tablet", "usb-mouse", "usb-kbd", "usb-host", "usb-redir", "usb-storage", "usb-hub"]),
    (USB, &["usb-audio", "usb-serial", "usb-net", "usb-ccid", "usb-wacom-tablet"]),
    (SOUND, &["intel-hda", "ich9-intel-hda", "hda-duplex", "hda-output", "hda-micro", "AC97", "ac97"]),
    (SOUND, &["ES1370", "es1370", "adlib", "cs4231a", "gus", "sb16"]),
    (STORAGE, &["lsi53c895a", "lsi", "lsi53c810", "ahci", "ich9-ahci", "megasas", "pvscsi", "mptsas1068"]),
    (STORAGE, &["nvme", "isa-fdc", "floppy", "isa-ide", "piix3-ide", "usb-bot", "usb-uas"]),
    (SCSI, &["scsi-hd", "scsi-cd", "scsi-block", "scsi-generic"]),
    (VIRTIO, &["virtio-blk", "virtio-blk-pci", "virtio-scsi", "virtio-scsi-pci", "virtio-rng-pci"]),
    (VIRTIO, &["virtio-serial", "virtio-serial-pci", "virtserialport", "virtconsole", "virtio-balloon-pci"]),
    (VIRTIO, &["virtio-9p-pci", "virtio-gpu-pci", "virtio-keyboard-pci", "virtio-tablet-pci"]),
    (PASSTHROUGH, &["xen-pci-passthrough", "vfio-pci", "igd-passthrough-isa-bridge"]),
    (TPM, &["tpm-tis", "tpm-crb"]),
    (LINES, &["isa-serial", "pci-serial", "isa-parallel", "isa-debugcon"]),
    (TESTING, &["isa-debug-exit", "pci-testdev", "edu"]),
    (OTHER, &["pci-bridge", "vmgenid", "ib700", "i6300esb", "vmcoreinfo", "xen-backend", "loader"]),
];

/// The models that a guest can have, for `-device help`.
pub(super) fn list() -> String {
    let mut text = String::from("Devices:\n");
    for (role, names) in DRIVERS {
        let about = match role {
            Role::Vga => "bus PCI, desc \"standard VGA\"",
            Role::IdeCd => "bus IDE, desc \"ATAPI CD drive\"",
            Role::IdeDisk => "bus IDE, desc \"ATA disk\"",
            Role::XenPlatform => "bus PCI, desc \"Xen platform device\"",
            Role::XenPvDevice => "bus PCI, desc \"Xen PV device\"",
            Role::Pvpanic => "bus ISA, desc \"paravirtualised panic device\"",
            Role::NotBuilt(_) => continue,
        };
        names.iter().for_each(|name| text.push_str(&format!("name \"{name}\", {about}\n")));
    }
    text
}

/// The properties of a model, for `-device MODEL,help`; none: there is no such model.
pub(super) fn properties(driver: &str) -> Option<String> {
    let lines: &[&str] = match role(driver)? {
        Role::Vga => &["vgamem_mb=<uint32> - video memory in MiB (default: 16)"],
        Role::IdeCd | Role::IdeDisk => &[
            "bus=<str> - ide.0 or ide.1",
            "drive=<str> - a -drive or -blockdev",
            "unit=<uint32> - 0 (master) or 1 (slave)",
        ],
        Role::XenPvDevice => &["device-id=<uint16> - PCI device id"],
        Role::XenPlatform | Role::Pvpanic => &[],
        Role::NotBuilt(_) => &["not built yet"],
    };
    let mut text = format!("{driver} options:\n  id=<str> - its name\n");
    lines.iter().for_each(|line| text.push_str(&format!("  {line}\n")));
    Some(text)
}

/// What a model is; none: there is no such model.
pub(super) fn role(driver: &str) -> Option<Role> {
    DRIVERS.iter().find(|(_, names)| names.contains(&driver)).map(|(role, _)| *role)
}

/// Whether a guest can have a device of that model.
pub fn is_built(driver: &str) -> bool {
    role(driver).is_some_and(|role| !matches!(role, Role::NotBuilt(_)))
}
