//! What the firmware is told: what the machine is, and the items that carry them.

/// Where an item lies in the firmware configuration device.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FwCfgKey {
    /// A fixed selector.
    Numeric(u16),
    /// A file, found by its name (at most 55 bytes) through the file directory, selector 0x19.
    File(String),
}

/// One item of the firmware configuration device: bytes under a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where the guest finds it.
    pub key: FwCfgKey,
    /// What it reads there.
    pub bytes: Vec<u8>,
    /// The firmware may write them.
    pub writable: bool,
    /// Where in them are 4 bytes with a port of the power management block, and which port from its base on. The firmware
    /// may put the block elsewhere before it reads them.
    pub pm_ports: Vec<(u32, u16)>,
}

impl Item {
    /// An item under a fixed selector.
    pub fn numeric(selector: u16, bytes: impl Into<Vec<u8>>) -> Self {
        Self { key: FwCfgKey::Numeric(selector), bytes: bytes.into(), writable: false, pm_ports: Vec::new() }
    }

    /// An item in the file directory.
    pub fn file(name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            key: FwCfgKey::File(name.to_owned()),
            bytes: bytes.into(),
            writable: false,
            pm_ports: Vec::new(),
        }
    }
}

/// Strings of the SMBIOS structures. An empty string is left out of its structure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmbiosStrings {
    /// Type 1, 3, 4 and 17 manufacturer.
    pub manufacturer: String,
    /// Type 1 product name.
    pub product: String,
    /// Type 1 and 3 version.
    pub version: String,
    /// Type 1 serial number.
    pub serial: String,
    /// Type 1 family.
    pub family: String,
    /// Type 0 vendor, version and date (mm/dd/yyyy). `None` leaves type 0 to the firmware, which knows its own.
    pub bios: Option<[String; 3]>,
}

impl Default for SmbiosStrings {
    fn default() -> Self {
        Self {
            manufacturer: "Ailurus".into(),
            product: "Standard PC (i440FX + PIIX, 1996)".into(),
            version: "pc-1".into(),
            serial: String::new(),
            family: String::new(),
            bios: None,
        }
    }
}

/// Everything that the tables must know of a machine. Build it with [`MachineInfo::new`] and change what differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MachineInfo {
    /// Bytes of RAM from address 0 up; at most 4 GiB less the PCI hole.
    pub ram_below_4g: u64,
    /// Bytes of RAM from 4 GiB up.
    pub ram_above_4g: u64,
    /// vCPUs present at start, 1 to [`MachineInfo::MAX_VCPUS`]. APIC ids are 0, 1, 2 ...
    pub vcpus: u32,
    /// vCPUs that may be present later; not less than `vcpus`.
    pub max_vcpus: u32,
    /// What the processors answer to CPUID leaf 1: EAX in the lower half, EDX in the upper one. 0: not known.
    pub processor_id: u64,
    /// The machine's UUID in the order of its text form.
    pub uuid: [u8; 16],
    /// A display is there: the firmware uses the screen. Otherwise it may use the serial line.
    pub graphics: bool,
    /// SeaBIOS offers its boot menu (Esc) and waits for it.
    pub boot_menu: bool,
    /// How long menu and picture wait, in ms; none: as long as the firmware likes.
    pub splash_ms: Option<u16>,
    /// The firmware resets the machine so many ms after a boot that failed; none: never.
    pub reboot_ms: Option<u16>,
    /// The PIIX4's power management and the ACPI tables are there.
    pub acpi: bool,
    /// The HPET at 0xfed00000 is there.
    pub hpet: bool,
    /// ACPI PCI hotplug registers at 0xae00 are there; without them no slot can be ejected.
    pub pci_hotplug: bool,
    /// Sleep state S3 (suspend to RAM) works.
    pub s3: bool,
    /// Sleep state S4 (suspend to disk) works.
    pub s4: bool,
    /// 16550 UARTs present at the four usual places.
    pub serial: [bool; 4],
    /// Parallel port at 0x378.
    pub parallel: bool,
    /// Floppy controller at 0x3f0.
    pub floppy: bool,
    /// pvpanic at port 0x505.
    pub pvpanic: bool,
    /// The VM generation id, in the order of its text form, if there is one.
    pub generation: Option<[u8; 16]>,
    /// First address of the 64-bit window for PCI BARs and the last one, when there is one.
    pub pci_hole_64: Option<(u64, u64)>,
    /// SMBIOS strings.
    pub smbios: SmbiosStrings,
}

impl MachineInfo {
    /// Local APIC ids of one byte, less the broadcast id.
    pub const MAX_VCPUS: u32 = 255;

    /// First address that is not for PCI BARs any more: the IOAPIC.
    pub const PCI_HOLE_END: u64 = 0xfec0_0000;

    /// A machine with QEMU's usual PC devices: HPET, one UART, PCI hotplug, a display, no sleep states.
    pub fn new(ram_below_4g: u64, ram_above_4g: u64, vcpus: u32) -> Self {
        Self {
            ram_below_4g,
            ram_above_4g,
            vcpus,
            max_vcpus: vcpus,
            processor_id: 0,
            uuid: [0; 16],
            graphics: true,
            boot_menu: false,
            splash_ms: None,
            reboot_ms: None,
            acpi: true,
            hpet: true,
            pci_hotplug: true,
            s3: false,
            s4: false,
            serial: [true, false, false, false],
            parallel: false,
            floppy: false,
            pvpanic: false,
            generation: None,
            pci_hole_64: None,
            smbios: SmbiosStrings::default(),
        }
    }
}
