//! Names and numbers that all virtio devices share (Virtual I/O Device 1.3; "legacy" is its chapter on what came before
//! 1.0, sections 2.x "Legacy Interface").

/// Device status (2.1).
pub mod status {
    /// The driver has seen the device.
    pub const ACKNOWLEDGE: u8 = 1;
    /// The driver knows how to drive it.
    pub const DRIVER: u8 = 2;
    /// The driver is set up.
    pub const DRIVER_OK: u8 = 4;
    /// The driver has accepted features, and the device agrees.
    pub const FEATURES_OK: u8 = 8;
    /// The device is in a state that only a reset ends.
    pub const NEEDS_RESET: u8 = 0x40;
}

/// Feature bits that belong to no device type (6).
pub mod feature {
    /// Legacy: the device interrupts when it has used all buffers, though the driver wants no interrupts.
    pub const NOTIFY_ON_EMPTY: u64 = 1 << 24;
    /// A request may be cut into descriptors as the driver likes.
    pub const ANY_LAYOUT: u64 = 1 << 27;
    /// Descriptors may be in tables elsewhere.
    pub const INDIRECT_DESC: u64 = 1 << 28;
    /// Driver and device say at which place of the ring they want to hear of the other.
    pub const EVENT_IDX: u64 = 1 << 29;
    /// The driver knows version 1 and later.
    pub const VERSION_1: u64 = 1 << 32;
    /// Queues are packed.
    pub const RING_PACKED: u64 = 1 << 34;
    /// Buffers are used in the order in which they were made available.
    pub const IN_ORDER: u64 = 1 << 35;
    /// A notification says how far the driver has come.
    pub const NOTIFICATION_DATA: u64 = 1 << 38;
    /// One queue can be reset.
    pub const RING_RESET: u64 = 1 << 40;

    /// Those that say nothing about what a device does, and belong to transport and queues.
    pub const TRANSPORT: u64 = NOTIFY_ON_EMPTY | ANY_LAYOUT | INDIRECT_DESC | EVENT_IDX | !0 << 32;
}

/// Interrupt status (4.1.4.5).
pub mod isr {
    /// Buffers were used.
    pub const QUEUE: u8 = 1;
    /// The configuration has changed.
    pub const CONFIG: u8 = 2;
}

/// Device types (5).
pub mod device_id {
    /// Network card.
    pub const NET: u16 = 1;
    /// Block device.
    pub const BLOCK: u16 = 2;
    /// Console.
    pub const CONSOLE: u16 = 3;
    /// Entropy source.
    pub const ENTROPY: u16 = 4;
    /// Memory balloon.
    pub const BALLOON: u16 = 5;
    /// SCSI host.
    pub const SCSI: u16 = 8;
    /// GPU.
    pub const GPU: u16 = 16;
    /// Input device.
    pub const INPUT: u16 = 18;
    /// Socket device.
    pub const VSOCK: u16 = 19;
}

/// Most elements of a queue, as in QEMU; a chain has no more buffers.
pub const QUEUE_SIZE_MAX: u16 = 1024;

/// Bytes of a descriptor, in both layouts (2.7.5, 2.8.13).
pub const DESCRIPTOR: u64 = 16;

/// Descriptor flags (2.7.5, 2.8.13).
pub mod descriptor {
    /// The chain goes on.
    pub const NEXT: u16 = 1;
    /// The device writes there.
    pub const WRITE: u16 = 2;
    /// It is a table of descriptors.
    pub const INDIRECT: u16 = 4;
    /// Packed: the driver has made it available in a round with this bit.
    pub const AVAIL: u16 = 1 << 7;
    /// Packed: the device has used it in a round with this bit.
    pub const USED: u16 = 1 << 15;
}

/// Flag of a split queue's available ring: no interrupts, please (2.7.6).
pub const AVAIL_NO_INTERRUPT: u16 = 1;

/// Flags of a packed queue's event suppression structures (2.8.14).
pub mod event {
    /// Notifications are wanted.
    pub const ENABLE: u16 = 0;
    /// None is.
    pub const DISABLE: u16 = 1;
    /// One is, when the ring comes to a place.
    pub const DESC: u16 = 2;
}
