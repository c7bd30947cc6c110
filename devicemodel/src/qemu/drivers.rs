//! QEMU's device models by name: those that are built ([`devices::models`]) and those that are not.

use devices::models;
use devices_core::model::{Model, Plug};

/// Models of QEMU's that are refused by name, and what they are.
const NOT_BUILT: &[(&str, &[&str])] = &[
    (
        "display adapter",
        &["cirrus-vga", "qxl", "qxl-vga", "virtio-vga", "bochs-display", "secondary-vga", "ramfb"],
    ),
    ("network card", &["ne2k_isa", "pcnet", "vmxnet3"]),
    ("network card", &["i82551", "i82557b", "i82559er", "igb", "tulip", "virtio-net", "virtio-net-pci"]),
    ("USB", &["piix3-usb-uhci", "piix4-usb-uhci", "ich9-usb-ehci1", "ich9-usb-ehci2", "usb-ehci"]),
    ("USB", &["ich9-usb-uhci1", "ich9-usb-uhci2", "ich9-usb-uhci3", "pci-ohci", "nec-usb-xhci", "qemu-xhci"]),
    ("USB", &["usb-tablet", "usb-mouse", "usb-kbd", "usb-host", "usb-redir", "usb-storage", "usb-hub"]),
    ("USB", &["usb-audio", "usb-serial", "usb-net", "usb-ccid", "usb-wacom-tablet"]),
    ("sound card", &["intel-hda", "ich9-intel-hda", "hda-duplex", "hda-output", "hda-micro", "AC97", "ac97"]),
    ("sound card", &["ES1370", "es1370", "adlib", "cs4231a", "gus", "sb16"]),
    (
        "disk controller",
        &["lsi53c895a", "lsi", "lsi53c810", "ahci", "ich9-ahci", "megasas", "pvscsi", "mptsas1068"],
    ),
    ("disk controller", &["nvme", "isa-fdc", "floppy", "isa-ide", "piix3-ide", "usb-bot", "usb-uas"]),
    ("SCSI drive", &["scsi-hd", "scsi-cd", "scsi-block", "scsi-generic"]),
    ("virtio", &["virtio-blk", "virtio-blk-pci", "virtio-scsi", "virtio-scsi-pci", "virtio-rng-pci"]),
    (
        "virtio",
        &["virtio-serial", "virtio-serial-pci", "virtserialport", "virtconsole", "virtio-balloon-pci"],
    ),
    ("virtio", &["virtio-9p-pci", "virtio-gpu-pci", "virtio-keyboard-pci", "virtio-tablet-pci"]),
    ("PCI passthrough", &["xen-pci-passthrough", "vfio-pci", "igd-passthrough-isa-bridge"]),
    ("TPM", &["tpm-tis", "tpm-crb"]),
    ("lines", &["isa-serial", "pci-serial", "isa-parallel", "isa-debugcon"]),
    ("test device", &["edu"]),
    ("device", &["pci-bridge", "vmgenid", "ib700", "i6300esb", "vmcoreinfo", "xen-backend", "loader"]),
];

/// A model to be had, or what it would be.
#[derive(Clone, Copy, Debug)]
pub(super) enum Driver {
    /// A guest can have one.
    Built(&'static Model),
    /// Not yet: what it is.
    NotBuilt(&'static str),
}

/// A model that a person can add; none: there is no such model.
pub(super) fn driver(name: &str) -> Option<Driver> {
    if let Some(model) = models::find(name).filter(|model| model.plug != Plug::Fixed) {
        return Some(Driver::Built(model));
    }
    let (what, _) = NOT_BUILT.iter().find(|(_, names)| names.contains(&name))?;
    Some(Driver::NotBuilt(what))
}

/// Whether a guest can have a device of that model.
pub fn is_built(name: &str) -> bool {
    matches!(driver(name), Some(Driver::Built(_)))
}

/// The properties of a model, for `-device MODEL,help`; none: there is no such model.
pub(super) fn properties(name: &str) -> Option<String> {
    Some(match driver(name)? {
        Driver::Built(model) => model.help(),
        Driver::NotBuilt(what) => format!("{name} ({what}) is not built yet\n"),
    })
}
