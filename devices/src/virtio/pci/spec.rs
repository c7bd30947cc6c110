//! Virtio over PCI: ids, capabilities and registers (Virtio 1.3, 4.1), with QEMU's places for them.

/// PCI vendor.
pub const VENDOR: u16 = 0x1af4;
/// PCI device id of a device of version 1 without its type's number.
pub const DEVICE_MODERN: u16 = 0x1040;
/// Subsystem id of a device of version 1, as QEMU has it. A transitional device has its type's number there.
pub const SUBSYSTEM_MODERN: u16 = 0x1100;
/// Revision of a device that is not transitional.
pub const REVISION_MODERN: u8 = 1;

/// BAR with the legacy registers.
pub const BAR_LEGACY: usize = 0;
/// BAR with the MSI-X table.
pub const BAR_MSIX: usize = 1;
/// BAR with the structures of version 1.
pub const BAR_MODERN: usize = 4;

/// Vectors of a device for which nobody said otherwise.
pub const VECTORS: u16 = 2;
/// Most vectors.
pub const VECTORS_MAX: u16 = 2048;
/// Bytes of the MSI-X BAR, unless the table is longer.
pub const MSIX_BAR: u64 = 4096;
/// What a vector register says of no vector (4.1.5.1.2).
pub const NO_VECTOR: u16 = 0xffff;

/// Capability id: vendor specific.
pub const CAP_VENDOR: u8 = 9;
/// Bytes of a capability that describes a structure (`struct virtio_pci_cap`).
pub const CAP_LEN: u16 = 16;
/// Where fields of a capability are.
pub mod cap {
    /// Bytes of the capability.
    pub const LEN: u16 = 2;
    /// Which structure.
    pub const CFG_TYPE: u16 = 3;
    /// The BAR with it.
    pub const BAR: u16 = 4;
    /// Where in the BAR.
    pub const OFFSET: u16 = 8;
    /// How many bytes.
    pub const LENGTH: u16 = 12;
    /// In that of notifications, the multiplier; in that of configuration access, the data.
    pub const DATA: u16 = 16;
}

/// A structure in the BAR of version 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Structure {
    /// Which one (4.1.4).
    pub cfg_type: u8,
    /// Where its capability is.
    pub cap: u16,
    /// Where it begins.
    pub offset: u64,
}

/// Bytes of each structure.
pub const STRUCTURE_LEN: u64 = 0x1000;
/// Bytes of that BAR.
pub const MODERN_LEN: u64 = 4 * STRUCTURE_LEN;
/// Common configuration.
pub const COMMON: Structure = Structure { cfg_type: 1, cap: 0x40, offset: 0 };
/// Interrupt status.
pub const ISR: Structure = Structure { cfg_type: 3, cap: 0x50, offset: STRUCTURE_LEN };
/// The device's own configuration.
pub const DEVICE: Structure = Structure { cfg_type: 4, cap: 0x60, offset: 2 * STRUCTURE_LEN };
/// Notifications: four bytes a queue.
pub const NOTIFY: Structure = Structure { cfg_type: 2, cap: 0x70, offset: 3 * STRUCTURE_LEN };
/// What of that is elsewhere in a device that is another one, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// BAR with the MSI-X table.
    pub bar_msix: usize,
    /// BAR with the structures of version 1.
    pub bar_modern: usize,
    /// Where the common configuration begins.
    pub common: u64,
    /// Where the interrupt status does.
    pub isr: u64,
    /// Bytes of each of these two.
    pub length: u64,
    /// Number of the first of its regions.
    pub region: usize,
}

impl Layout {
    /// Of a device that is nothing else.
    pub const USUAL: Layout = Layout {
        bar_msix: BAR_MSIX,
        bar_modern: BAR_MODERN,
        common: COMMON.offset,
        isr: ISR.offset,
        length: STRUCTURE_LEN,
        region: 0,
    };

    /// Which structure is there (0: none), and where in it that is.
    pub fn find(&self, offset: u64) -> (u8, u64) {
        let structures = [
            (NOTIFY.cfg_type, NOTIFY.offset),
            (DEVICE.cfg_type, DEVICE.offset),
            (ISR.cfg_type, self.isr),
            (COMMON.cfg_type, self.common),
        ];
        let found = structures.into_iter().find(|(_, first)| *first <= offset);
        found.map_or((0, offset), |(cfg_type, first)| (cfg_type, offset - first))
    }
}

/// Bytes of the structure between two queues.
pub const NOTIFY_MULTIPLIER: u32 = 4;
/// Access to the structures by configuration space: type and place of the capability.
pub const PCI_CFG: (u8, u16) = (5, 0x84);
/// Where MSI-X is, behind those; where there are none it comes first.
pub const MSIX_CAP: u16 = 0x98;
/// The first capability.
pub const FIRST_CAP: u16 = 0x40;

/// Registers of the common configuration (`struct virtio_pci_common_cfg`).
pub mod common {
    /// Which half of the offered features is read.
    pub const DEVICE_FEATURE_SELECT: u64 = 0x00;
    /// Offered features.
    pub const DEVICE_FEATURE: u64 = 0x04;
    /// Which half of the accepted features is meant.
    pub const DRIVER_FEATURE_SELECT: u64 = 0x08;
    /// Accepted features.
    pub const DRIVER_FEATURE: u64 = 0x0c;
    /// Vector of configuration changes.
    pub const CONFIG_MSIX_VECTOR: u64 = 0x10;
    /// Number of queues.
    pub const NUM_QUEUES: u64 = 0x12;
    /// Device status.
    pub const DEVICE_STATUS: u64 = 0x14;
    /// Configuration generation.
    pub const CONFIG_GENERATION: u64 = 0x15;
    /// Which queue is meant.
    pub const QUEUE_SELECT: u64 = 0x16;
    /// Its elements.
    pub const QUEUE_SIZE: u64 = 0x18;
    /// Its vector.
    pub const QUEUE_MSIX_VECTOR: u64 = 0x1a;
    /// Whether it is enabled.
    pub const QUEUE_ENABLE: u64 = 0x1c;
    /// Where it is notified.
    pub const QUEUE_NOTIFY_OFF: u64 = 0x1e;
    /// Descriptor area.
    pub const QUEUE_DESC: u64 = 0x20;
    /// Driver area.
    pub const QUEUE_DRIVER: u64 = 0x28;
    /// Device area.
    pub const QUEUE_DEVICE: u64 = 0x30;
    /// What a notification is to say.
    pub const QUEUE_NOTIF_CONFIG_DATA: u64 = 0x38;
    /// Resets the queue.
    pub const QUEUE_RESET: u64 = 0x3a;
}

/// Legacy registers (4.1.4.10).
pub mod legacy {
    /// Offered features, 32 bits.
    pub const DEVICE_FEATURES: u64 = 0x00;
    /// Accepted features, 32 bits.
    pub const DRIVER_FEATURES: u64 = 0x04;
    /// Page number of the queue.
    pub const QUEUE_ADDRESS: u64 = 0x08;
    /// Its elements.
    pub const QUEUE_SIZE: u64 = 0x0c;
    /// Which queue is meant.
    pub const QUEUE_SELECT: u64 = 0x0e;
    /// Notifications.
    pub const QUEUE_NOTIFY: u64 = 0x10;
    /// Device status.
    pub const DEVICE_STATUS: u64 = 0x12;
    /// Interrupt status.
    pub const ISR_STATUS: u64 = 0x13;
    /// Vector of configuration changes, while MSI-X is enabled.
    pub const CONFIG_VECTOR: u64 = 0x14;
    /// Vector of the queue, likewise.
    pub const QUEUE_VECTOR: u64 = 0x16;
    /// The device's own configuration, while MSI-X is off.
    pub const CONFIG: u64 = 0x14;
    /// The same while MSI-X is enabled.
    pub const CONFIG_MSIX: u64 = 0x18;

    /// What queues are aligned to.
    pub const ALIGN: u64 = 4096;
}
