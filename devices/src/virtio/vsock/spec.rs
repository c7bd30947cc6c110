//! Names and numbers of socket devices (Virtio 1.3, 5.10). What packets are made of is in [`devices_core::vsock`].

/// Numbers of queues (5.10.2).
pub mod queue {
    /// Packets to the driver.
    pub const RX: u16 = 0;
    /// Packets of the driver's.
    pub const TX: u16 = 1;
    /// Events to the driver.
    pub const EVENT: u16 = 2;
}

/// Elements of a queue, as QEMU's devices of this type have them.
pub const QUEUE_SIZE: u16 = 128;

/// Features of the type (5.10.3).
pub mod feature {
    /// There are streams.
    pub const STREAM: u64 = 1;
}

/// Bytes of the configuration: the guest's CID (5.10.4).
pub const CONFIG_LEN: usize = 8;

/// Events (5.10.6.7).
pub mod event {
    /// Connections are gone, and the CID may be another.
    pub const TRANSPORT_RESET: u32 = 0;
}
