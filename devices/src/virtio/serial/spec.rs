//! Names and numbers of consoles and ports (Virtio 1.3, 5.3).

/// Feature bits (5.3.3).
pub mod feature {
    /// The size of the console is in the configuration.
    pub const SIZE: u64 = 1 << 0;
    /// There are several ports, and control queues.
    pub const MULTIPORT: u64 = 1 << 1;
    /// A character can be put out before the driver is set up.
    pub const EMERG_WRITE: u64 = 1 << 2;
}

/// Where fields of the configuration are (5.3.4).
pub mod config {
    /// Columns of the console, 16 bits.
    pub const COLS: usize = 0;
    /// Its rows, 16 bits.
    pub const ROWS: usize = 2;
    /// Most ports, 32 bits.
    pub const MAX_NR_PORTS: usize = 4;
    /// A character to put out, 32 bits, for the driver to write.
    pub const EMERG_WR: usize = 8;
    /// Bytes of it all.
    pub const LEN: usize = 12;
}

/// Numbers of queues (5.3.2).
pub mod queue {
    /// Control messages to the driver.
    pub const CONTROL_RX: u16 = 2;
    /// Control messages of the driver's.
    pub const CONTROL_TX: u16 = 3;

    /// What comes in by a port.
    pub const fn rx(port: u32) -> u16 {
        if port == 0 { 0 } else { 2 + 2 * port as u16 }
    }
    /// What goes out.
    pub const fn tx(port: u32) -> u16 {
        rx(port) + 1
    }
    /// The port of a queue that is none of the control queues, and whether it is for what goes out.
    pub const fn port(queue: u16) -> (u32, bool) {
        let pair = if queue < 2 { 0 } else { queue / 2 - 1 };
        (pair as u32, queue % 2 == 1)
    }
}

/// Elements of a port's queue, as in QEMU.
pub const PORT_QUEUE: u16 = 128;
/// Elements of a control queue.
pub const CONTROL_QUEUE: u16 = 32;

/// Most ports of a device, as in QEMU: its transport has no more queues.
pub const PORTS_MAX: u32 = 511;

/// Bytes of a control message: port (32 bits), event and value (16 bits each). What follows is the event's.
pub const MESSAGE: usize = 8;

/// Events of control messages (5.3.6.2).
pub mod event {
    /// The driver is there.
    pub const DEVICE_READY: u16 = 0;
    /// There is a port.
    pub const DEVICE_ADD: u16 = 1;
    /// It is gone.
    pub const DEVICE_REMOVE: u16 = 2;
    /// The driver has the port.
    pub const PORT_READY: u16 = 3;
    /// It is a console.
    pub const CONSOLE_PORT: u16 = 4;
    /// The console's size: columns and rows (16 bits each) follow.
    pub const RESIZE: u16 = 5;
    /// The other side has opened the port, or closed it.
    pub const PORT_OPEN: u16 = 6;
    /// The port's name follows.
    pub const PORT_NAME: u16 = 7;
}
