//! Registers and descriptors, by the "Universal Host Controller Interface (UHCI) Design Guide", 1.1.

use bitflags::bitflags;

/// Intel.
pub const VENDOR: u16 = 0x8086;
/// Serial bus, USB, UHCI.
pub const CLASS: u32 = 0x0c_03_00;
/// Bytes of BAR 4, ports.
pub const PORTS_LEN: u64 = 32;
/// Its BAR.
pub const BAR: usize = 4;

/// Registers of the configuration space.
pub mod config {
    /// SBRN, release of USB: 0x10 is 1.0.
    pub const RELEASE: u16 = 0x60;
    /// LEGSUP, legacy support.
    pub const LEGSUP: u16 = 0xc0;
    /// LEGSUP after a reset: interrupts go out as PIRQD.
    pub const LEGSUP_DEFAULT: u16 = 0x2000;
    /// Bits of LEGSUP that can be written.
    pub const LEGSUP_WRITABLE: u16 = 0x20bf;
    /// Bits of LEGSUP that are cleared by a one.
    pub const LEGSUP_CLEARED: u16 = 0x8f00;
}

/// Registers behind the BAR (2.1).
pub mod reg {
    /// Command.
    pub const USBCMD: u64 = 0x00;
    /// Status.
    pub const USBSTS: u64 = 0x02;
    /// Interrupt enable.
    pub const USBINTR: u64 = 0x04;
    /// Frame number.
    pub const FRNUM: u64 = 0x06;
    /// Base address of the frame list, lower half.
    pub const FRBASEADD: u64 = 0x08;
    /// Upper half.
    pub const FRBASEADD_HIGH: u64 = 0x0a;
    /// Start of frame modify.
    pub const SOFMOD: u64 = 0x0c;
    /// First port; the second is after it.
    pub const PORTSC: u64 = 0x10;
}

/// What registers read as that are not there: a port that does not exist.
pub const ABSENT: u16 = 0xff7f;
/// SOFMOD after a reset.
pub const SOF_DEFAULT: u8 = 64;
/// Frame numbers have 11 bits.
pub const FRAME_MASK: u16 = 0x7ff;
/// Entries of the frame list.
pub const FRAMES: u16 = 1024;

bitflags! {
    /// USBCMD.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Command: u16 {
        /// The schedule runs.
        const RUN = 1 << 0;
        /// The controller is reset.
        const HOST_RESET = 1 << 1;
        /// All devices are, too.
        const GLOBAL_RESET = 1 << 2;
        /// The bus is suspended.
        const GLOBAL_SUSPEND = 1 << 3;
        /// It is being resumed.
        const GLOBAL_RESUME = 1 << 4;
        /// Frames one at a time.
        const DEBUG = 1 << 5;
        /// Software has configured it.
        const CONFIGURED = 1 << 6;
        /// Packets of 64 bytes fit at the end of a frame.
        const MAX_PACKET = 1 << 7;
    }

    /// USBSTS.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Status: u16 {
        /// A TD asked for an interrupt, or came short.
        const INTERRUPT = 1 << 0;
        /// A TD failed.
        const ERROR = 1 << 1;
        /// A device wakes the bus.
        const RESUME = 1 << 2;
        /// Memory could not be reached.
        const SYSTEM_ERROR = 1 << 3;
        /// A descriptor makes no sense.
        const PROCESS_ERROR = 1 << 4;
        /// The schedule stands.
        const HALTED = 1 << 5;
    }

    /// USBINTR.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Enable: u16 {
        /// TDs that failed.
        const ERROR = 1 << 0;
        /// A device that wakes the bus.
        const RESUME = 1 << 1;
        /// TDs that ask for it.
        const COMPLETE = 1 << 2;
        /// Short packets.
        const SHORT = 1 << 3;
    }

    /// PORTSC.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PortBits: u16 {
        /// There is a device.
        const CONNECTED = 1 << 0;
        /// One has come or gone.
        const CONNECT_CHANGE = 1 << 1;
        /// Packets go through.
        const ENABLED = 1 << 2;
        /// It was disabled.
        const ENABLE_CHANGE = 1 << 3;
        /// The device wakes the host.
        const RESUME = 1 << 6;
        /// Always set.
        const ALWAYS = 1 << 7;
        /// The device has low speed.
        const LOW_SPEED = 1 << 8;
        /// The device is being reset.
        const RESET = 1 << 9;
        /// The device is suspended.
        const SUSPEND = 1 << 12;
        /// What software cannot write, the changes among them.
        const READ_ONLY = 0x1bb;
        /// What is cleared by a one.
        const CLEARED = 1 << 1 | 1 << 3;
        const _ = !0;
    }
}

/// Link pointers (3.1 to 3.3).
pub mod link {
    /// There is nothing more.
    pub const TERMINATE: u32 = 1 << 0;
    /// It leads to a queue head.
    pub const QUEUE: u32 = 1 << 1;
    /// Of a TD: the next one of the queue comes in the same frame.
    pub const DEPTH: u32 = 1 << 2;
    /// The address.
    pub const ADDRESS: u32 = !0xf;
}

/// Control and status of a TD (3.2.2).
pub mod control {
    /// Bytes that went over, less one.
    pub const LENGTH: u32 = 0x7ff;
    /// Nobody answered.
    pub const TIMEOUT: u32 = 1 << 18;
    /// The device was not ready.
    pub const NAK: u32 = 1 << 19;
    /// The device sent too much.
    pub const BABBLE: u32 = 1 << 20;
    /// It ended for good.
    pub const STALLED: u32 = 1 << 22;
    /// It is to be done.
    pub const ACTIVE: u32 = 1 << 23;
    /// Its end is an interrupt.
    pub const INTERRUPT: u32 = 1 << 24;
    /// It is done once, whatever comes of it.
    pub const ISOCHRONOUS: u32 = 1 << 25;
    /// Errors that are left before it fails.
    pub const ERRORS: u32 = 3 << 27;
    /// One of them.
    pub const ERROR: u32 = 1 << 27;
    /// A short packet ends the queue.
    pub const SHORT: u32 = 1 << 29;
}

/// PIDs of tokens.
pub mod pid {
    /// From the device.
    pub const IN: u32 = 0x69;
    /// To the device.
    pub const OUT: u32 = 0xe1;
    /// A request.
    pub const SETUP: u32 = 0x2d;
}

/// Most bytes of a TD.
pub const TD_MOST: usize = 1280;
