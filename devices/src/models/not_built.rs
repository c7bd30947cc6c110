//! QEMU's models that a guest cannot have yet, so that they are refused for what they are.

/// Models of QEMU's that are refused by name, and what they are.
pub(super) const NOT_BUILT: &[(&str, &[&str])] = &[
    ("display adapter", &["qxl", "qxl-vga", "ramfb"]),
    ("network card", &["ne2k_isa", "pcnet", "vmxnet3"]),
    ("network card", &["i82551", "i82557b", "i82559er", "igb", "tulip"]),
    ("USB", &["usb-host", "usb-redir"]),
    ("USB", &["usb-audio", "usb-net", "usb-ccid", "usb-wacom-tablet"]),
    ("sound card", &["adlib", "cs4231a", "gus", "sb16"]),
    (
        "disk controller",
        &["lsi53c895a", "lsi", "lsi53c810", "ahci", "ich9-ahci", "megasas", "pvscsi", "mptsas1068"],
    ),
    ("disk controller", &["nvme", "isa-fdc", "floppy", "isa-ide", "piix3-ide", "usb-bot"]),
    ("SCSI drive", &["scsi-block", "scsi-generic"]),
    ("virtio", &["virtio-9p-pci", "virtio-multitouch-pci"]),
    (
        "virtio",
        &[
            "vhost-user-input-pci",
            "vhost-user-input",
            "vhost-user-gpu-pci",
            "vhost-user-gpu",
            "vhost-user-vga",
        ],
    ),
    ("PCI passthrough", &["xen-pci-passthrough", "vfio-pci", "igd-passthrough-isa-bridge"]),
    ("TPM", &["tpm-tis", "tpm-crb"]),
    ("lines", &["pci-serial-2x", "pci-serial-4x", "isa-parallel"]),
    ("test device", &["edu"]),
    ("device", &["pci-bridge", "vmcoreinfo", "xen-backend", "loader"]),
];
