//! Registers and descriptors, by the "Enhanced Host Controller Interface Specification for Universal Serial Bus", 1.0.

use bitflags::bitflags;

/// Intel.
pub const VENDOR: u16 = 0x8086;
/// Serial bus, USB, EHCI.
pub const CLASS: u32 = 0x0c_03_20;
/// The BAR, memory.
pub const BAR: usize = 0;
/// Bytes of it.
pub const BAR_LEN: u64 = 0x1000;
/// Ports of a controller.
pub const PORTS: usize = 6;

/// Registers of the configuration space (2.1).
pub mod config {
    /// SBRN, release of USB: 0x20 is 2.0.
    pub const RELEASE: u16 = 0x60;
    /// FLADJ, length of a frame.
    pub const FRAME_LENGTH: u16 = 0x61;
    /// FLADJ after a reset: 60000 bit times.
    pub const FRAME_LENGTH_DEFAULT: u8 = 0x20;
    /// PORTWAKECAP.
    pub const PORT_WAKE: u16 = 0x62;
    /// USBLEGSUP, to which EECP leads: whether firmware or system has the controller.
    pub const LEGACY: u16 = 0x68;
    /// Its capability id, with no other capability behind it.
    pub const LEGACY_ID: u8 = 1;
    /// In the third byte of USBLEGSUP: the firmware has it. In the fourth: the system has.
    pub const OWNED: u8 = 1;
    /// USBLEGCTLSTS: SMIs, of which there are none.
    pub const LEGACY_CONTROL: u16 = 0x6c;
    /// USBLEGCTLSTS after a reset, as QEMU has it: the BAR and the command register were written.
    pub const LEGACY_CONTROL_DEFAULT: u32 = 0xc000_0000;
}

/// Capability registers (2.2), and where the others begin.
pub mod cap {
    /// CAPLENGTH and HCIVERSION 1.0.
    pub const LENGTH_VERSION: u32 = 0x0100_0020;
    /// HCSPARAMS: N_PORTS. How many companions there are, each of how many ports, is added.
    pub const PARAMS: u64 = 4;
    /// HCCPARAMS.
    pub const CAPABILITIES: u64 = 8;
    /// Its value: EECP, and a frame may be cached.
    pub const CAPABILITIES_VALUE: u32 = 0x6880;
    /// Bytes of the capability registers.
    pub const LEN: u64 = 0x20;
}

/// Operational registers (2.3), from the end of the capabilities on.
pub mod reg {
    /// Command.
    pub const USBCMD: u64 = 0x00;
    /// Status.
    pub const USBSTS: u64 = 0x04;
    /// Interrupt enable.
    pub const USBINTR: u64 = 0x08;
    /// Microframe number.
    pub const FRINDEX: u64 = 0x0c;
    /// Upper half of all addresses, which controllers of 32 bits do not have.
    pub const CTRLDSSEGMENT: u64 = 0x10;
    /// The frame list.
    pub const PERIODICLISTBASE: u64 = 0x14;
    /// The queue head that is next.
    pub const ASYNCLISTADDR: u64 = 0x18;
    /// Whether ports lead here.
    pub const CONFIGFLAG: u64 = 0x40;
    /// The first port; the others follow.
    pub const PORTSC: u64 = 0x44;
}

/// Microframes that FRINDEX counts.
pub const INDEX_MASK: u16 = 0x3fff;
/// Frames that it counts.
pub const FRAME_MASK: u16 = INDEX_MASK >> 3;
/// Entries of the frame list.
pub const FRAMES: u16 = 1024;
pub use super::super::frames::FRAME;
/// Nanoseconds of a microframe.
pub const MICROFRAME: u64 = FRAME / 8;

bitflags! {
    /// USBCMD.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u32 {
        /// The schedules run.
        const RUN = 1 << 0;
        /// The controller is reset.
        const RESET = 1 << 1;
        /// The periodic schedule is on.
        const PERIODIC = 1 << 4;
        /// The asynchronous schedule is on.
        const ASYNC = 1 << 5;
        /// The driver asks to be told when no queue head is kept.
        const DOORBELL = 1 << 6;
        /// Microframes between interrupts.
        const THRESHOLD = 0xff << 16;
    }

    /// USBSTS and USBINTR.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Status: u32 {
        /// A transfer asked for it, or came short.
        const INTERRUPT = 1 << 0;
        /// A transfer failed.
        const ERROR = 1 << 1;
        /// A port has changed.
        const PORT_CHANGE = 1 << 2;
        /// The frame list begins anew.
        const ROLLOVER = 1 << 3;
        /// Memory could not be reached.
        const SYSTEM_ERROR = 1 << 4;
        /// The doorbell is answered.
        const ADVANCE = 1 << 5;
        /// The controller stands.
        const HALTED = 1 << 12;
        /// The asynchronous schedule had something.
        const RECLAMATION = 1 << 13;
        /// The periodic schedule runs.
        const PERIODIC = 1 << 14;
        /// The asynchronous schedule runs.
        const ASYNC = 1 << 15;
        /// What is cleared by a one, and has an interrupt.
        const CLEARED = 0x3f;
    }

    /// PORTSC.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PortBits: u32 {
        /// There is a device.
        const CONNECTED = 1 << 0;
        /// One has come or gone.
        const CONNECT_CHANGE = 1 << 1;
        /// Packets go through.
        const ENABLED = 1 << 2;
        /// The port was disabled by an error.
        const ENABLE_CHANGE = 1 << 3;
        /// The port resumes.
        const RESUME = 1 << 6;
        /// The device sleeps.
        const SUSPEND = 1 << 7;
        /// The device is being reset.
        const RESET = 1 << 8;
        /// The line is idle as a full speed device keeps it.
        const LINE_J = 1 << 11;
        /// It has power.
        const POWER = 1 << 12;
        /// The companion has it.
        const OWNER = 1 << 13;
        /// Lights, a test, and what wakes the system: kept.
        const KEPT = 0x7f_c000;
        /// What is cleared by a one.
        const CHANGES = 1 << 1 | 1 << 3 | 1 << 5;
    }
}

/// USBCMD after a reset: eight microframes between interrupts.
pub const COMMAND_DEFAULT: Command = Command::from_bits_retain(8 << 16);

/// Link pointers (3.1, 3.6).
pub mod link {
    /// There is nothing more.
    pub const TERMINATE: u32 = 1 << 0;
    /// What it leads to.
    pub const KIND: u32 = 3 << 1;
    /// A queue head.
    pub const QUEUE: u32 = 1 << 1;
    /// The address.
    pub const ADDRESS: u32 = !0x1f;
}

/// Endpoint characteristics and capabilities of a queue head (3.6.2).
pub mod endpoint {
    /// Device address.
    pub const ADDRESS: u32 = 0x7f;
    /// Endpoint number's place.
    pub const NUMBER_SHIFT: u32 = 8;
    /// Speed.
    pub const SPEED: u32 = 3 << 12;
    /// High speed.
    pub const HIGH: u32 = 2 << 12;
    /// The toggle comes from each qTD.
    pub const TOGGLE_CONTROL: u32 = 1 << 14;
    /// Head of the reclamation list.
    pub const HEAD: u32 = 1 << 15;
    /// Maximum packet length's place; 11 bits.
    pub const PACKET_SHIFT: u32 = 16;
    /// Its bits.
    pub const PACKET: u32 = 0x7ff;
    /// Of the capabilities: microframes in which an interrupt endpoint is asked.
    pub const START_MASK: u32 = 0xff;
    /// Packets of a microframe: their number's place, two bits.
    pub const MULT_SHIFT: u32 = 30;
}

/// Token of a qTD (3.5.3).
pub mod token {
    /// The endpoint's state for OUT at high speed.
    pub const PING: u32 = 1 << 0;
    /// Nobody answered.
    pub const TRANSACTION: u32 = 1 << 3;
    /// The device sent too much.
    pub const BABBLE: u32 = 1 << 4;
    /// The buffer is not long enough.
    pub const BUFFER: u32 = 1 << 5;
    /// It ended for good.
    pub const HALTED: u32 = 1 << 6;
    /// It is to be done.
    pub const ACTIVE: u32 = 1 << 7;
    /// The PID's place; two bits.
    pub const PID_SHIFT: u32 = 8;
    /// Errors that are left before it fails.
    pub const ERRORS: u32 = 3 << 10;
    /// One of them.
    pub const ERROR: u32 = 1 << 10;
    /// The page of the buffer: its place; three bits.
    pub const PAGE_SHIFT: u32 = 12;
    /// Its end is an interrupt.
    pub const INTERRUPT: u32 = 1 << 15;
    /// Bytes that are left: their place; 15 bits.
    pub const LENGTH_SHIFT: u32 = 16;
    /// Their bits.
    pub const LENGTH: u32 = 0x7fff;
    /// The toggle.
    pub const TOGGLE: u32 = 1 << 31;
}

/// Bytes of a page of a buffer.
pub const PAGE: u32 = 4096;
/// Pages of a buffer.
pub const PAGES: usize = 5;
/// Most bytes of a qTD.
pub const TRANSFER_MOST: u32 = PAGE * PAGES as u32;
