//! Numbers of the controller: PCI, registers, TRBs, contexts and completion codes (xHCI 1.1, chapters 5 and 6).

use bitflags::bitflags;

/// Class: serial bus, USB, xHCI.
pub const CLASS: u32 = 0x0c_0330;
/// BAR of the registers, and its bytes.
pub const BAR: usize = 0;
/// Bytes of it.
pub const BAR_LEN: u64 = 0x4000;

/// Configuration space beyond the header.
pub mod config {
    /// SBRN: the release of USB.
    pub const RELEASE: u16 = 0x60;
    /// MSI.
    pub const MSI: u16 = 0x70;
    /// MSI-X.
    pub const MSIX: u16 = 0x90;
    /// Where MSI-X has its table in the BAR.
    pub const MSIX_TABLE: u32 = 0x3000;
    /// And its pending bits.
    pub const MSIX_PBA: u32 = 0x3800;
}

/// Capability registers (5.3).
pub mod cap {
    /// CAPLENGTH and HCIVERSION.
    pub const LENGTH: u64 = 0x00;
    /// HCSPARAMS1: slots, interrupters, ports.
    pub const HCSPARAMS1: u64 = 0x04;
    /// HCSPARAMS2.
    pub const HCSPARAMS2: u64 = 0x08;
    /// HCCPARAMS1.
    pub const HCCPARAMS1: u64 = 0x10;
    /// DBOFF.
    pub const DBOFF: u64 = 0x14;
    /// RTSOFF.
    pub const RTSOFF: u64 = 0x18;
    /// Where the extended capabilities begin.
    pub const EXTENDED: u64 = 0x20;
}

/// Value of CAPLENGTH: where the operational registers are.
pub const OPERATIONAL: u64 = 0x40;
/// HCIVERSION.
pub const VERSION: u32 = 0x0100;
/// HCSPARAMS2: the isochronous scheduling threshold; an event ring has one segment.
pub const PARAMS2: u32 = 0x0f;
/// HCCPARAMS1: 64-bit addresses, and where the extended capabilities are. No streams.
pub const CAPABILITIES: u32 = (cap::EXTENDED as u32 / 4) << 16 | 1;
/// Where the port registers are, and how far apart.
pub const PORTS: u64 = OPERATIONAL + 0x400;
/// Bytes of a port's registers.
pub const PORT_LEN: u64 = 0x10;
/// Where the runtime registers are.
pub const RUNTIME: u64 = 0x1000;
/// Where the first interrupter is, and how far apart they are.
pub const INTERRUPTERS: u64 = RUNTIME + 0x20;
/// Bytes of an interrupter's registers.
pub const INTERRUPTER_LEN: u64 = 0x20;
/// Where the doorbells are.
pub const DOORBELLS: u64 = 0x2000;

/// Operational registers (5.4), from where these begin.
pub mod op {
    /// USBCMD.
    pub const USBCMD: u64 = 0x00;
    /// USBSTS.
    pub const USBSTS: u64 = 0x04;
    /// PAGESIZE.
    pub const PAGESIZE: u64 = 0x08;
    /// DNCTRL.
    pub const DNCTRL: u64 = 0x14;
    /// CRCR.
    pub const CRCR: u64 = 0x18;
    /// Its upper half.
    pub const CRCR_HIGH: u64 = 0x1c;
    /// DCBAAP.
    pub const DCBAAP: u64 = 0x30;
    /// Its upper half.
    pub const DCBAAP_HIGH: u64 = 0x34;
    /// CONFIG.
    pub const CONFIG: u64 = 0x38;
}

/// Registers of an interrupter (5.5.2), from where these begin.
pub mod int {
    /// IMAN.
    pub const IMAN: u64 = 0x00;
    /// IMOD.
    pub const IMOD: u64 = 0x04;
    /// ERSTSZ.
    pub const ERSTSZ: u64 = 0x08;
    /// ERSTBA.
    pub const ERSTBA: u64 = 0x10;
    /// Its upper half.
    pub const ERSTBA_HIGH: u64 = 0x14;
    /// ERDP.
    pub const ERDP: u64 = 0x18;
    /// Its upper half.
    pub const ERDP_HIGH: u64 = 0x1c;
}

bitflags! {
    /// USBCMD (5.4.1).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Command: u32 {
        /// R/S.
        const RUN = 1 << 0;
        /// HCRST.
        const RESET = 1 << 1;
        /// INTE.
        const INTERRUPTS = 1 << 2;
        /// HSEE.
        const SYSTEM_ERROR = 1 << 3;
        /// CSS.
        const SAVE = 1 << 8;
        /// CRS.
        const RESTORE = 1 << 9;
        /// EWE.
        const WRAP_EVENT = 1 << 10;
        /// EU3S.
        const U3_STOP = 1 << 11;
        /// What stays as it was written.
        const KEPT = Self::RUN.bits() | Self::INTERRUPTS.bits() | Self::SYSTEM_ERROR.bits()
            | Self::WRAP_EVENT.bits() | Self::U3_STOP.bits();
    }

    /// USBSTS (5.4.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Status: u32 {
        /// HCH.
        const HALTED = 1 << 0;
        /// HSE.
        const SYSTEM_ERROR = 1 << 2;
        /// EINT.
        const EVENT = 1 << 3;
        /// PCD.
        const PORT_CHANGE = 1 << 4;
        /// SRE.
        const RESTORE_ERROR = 1 << 10;
        /// HCE.
        const CONTROLLER_ERROR = 1 << 12;
        /// What a one clears.
        const CLEARED = Self::SYSTEM_ERROR.bits() | Self::EVENT.bits() | Self::PORT_CHANGE.bits()
            | Self::RESTORE_ERROR.bits();
    }

    /// PORTSC (5.4.8), without the link state and the speed.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PortBits: u32 {
        /// CCS.
        const CONNECTED = 1 << 0;
        /// PED.
        const ENABLED = 1 << 1;
        /// PR.
        const RESET = 1 << 4;
        /// PP.
        const POWER = 1 << 9;
        /// LWS.
        const LINK_WRITE = 1 << 16;
        /// CSC.
        const CONNECT_CHANGE = 1 << 17;
        /// PEC.
        const ENABLE_CHANGE = 1 << 18;
        /// WRC.
        const WARM_RESET_CHANGE = 1 << 19;
        /// OCC.
        const OVERCURRENT_CHANGE = 1 << 20;
        /// PRC.
        const RESET_CHANGE = 1 << 21;
        /// PLC.
        const LINK_CHANGE = 1 << 22;
        /// CEC.
        const CONFIG_CHANGE = 1 << 23;
        /// WCE, WDE, WOE.
        const WAKE = 7 << 25;
        /// WPR.
        const WARM_RESET = 1 << 31;
        /// What a one clears.
        const CHANGES = 0x7f << 17;
        /// What is kept in a port.
        const HELD = Self::CONNECTED.bits() | Self::ENABLED.bits() | Self::POWER.bits() | Self::CHANGES.bits()
            | Self::WAKE.bits();
    }
}

/// PORTSC: shift of the link state (PLS).
pub const LINK_SHIFT: u32 = 5;
/// PORTSC: shift of the speed.
pub const SPEED_SHIFT: u32 = 10;

/// States of a port's link (PLS).
pub mod link {
    /// It works.
    pub const U0: u8 = 0;
    /// It sleeps.
    pub const U3: u8 = 3;
    /// Nobody is there.
    pub const DETECT: u8 = 5;
    /// Somebody is there, before a reset.
    pub const POLLING: u8 = 7;
    /// The device wakes it, or the driver does.
    pub const RESUME: u8 = 15;
}

/// CRCR: ring cycle state, stop, abort, running.
pub mod crcr {
    /// RCS.
    pub const CYCLE: u64 = 1 << 0;
    /// CS.
    pub const STOP: u64 = 1 << 1;
    /// CA.
    pub const ABORT: u64 = 1 << 2;
    /// CRR.
    pub const RUNNING: u64 = 1 << 3;
    /// The ring.
    pub const ADDRESS: u64 = !0x3f;
}

/// IMAN: an interrupt is pending.
pub const PENDING: u32 = 1 << 0;
/// IMAN: it is let through.
pub const ENABLE: u32 = 1 << 1;
/// ERDP: the driver is at it (EHB).
pub const BUSY: u64 = 1 << 3;
/// IMOD after a reset: a millisecond.
pub const MODERATION: u32 = 4000;

/// Nanoseconds of a microframe, of which MFINDEX counts 2^14.
pub const MICROFRAME: u64 = 125_000;
/// What MFINDEX counts to.
pub const MICROFRAMES: u64 = 1 << 14;

/// Types of TRBs (table 139).
pub mod trb {
    /// Data.
    pub const NORMAL: u8 = 1;
    /// A request begins.
    pub const SETUP: u8 = 2;
    /// Its data.
    pub const DATA: u8 = 3;
    /// Its end.
    pub const STATUS: u8 = 4;
    /// Data in time.
    pub const ISOCH: u8 = 5;
    /// Where the ring goes on.
    pub const LINK: u8 = 6;
    /// An event with a value of the driver's.
    pub const EVENT_DATA: u8 = 7;
    /// Nothing, on a transfer ring.
    pub const NO_OP: u8 = 8;
    /// Commands.
    pub const ENABLE_SLOT: u8 = 9;
    /// A slot is free.
    pub const DISABLE_SLOT: u8 = 10;
    /// A device has an address.
    pub const ADDRESS_DEVICE: u8 = 11;
    /// Endpoints come and go.
    pub const CONFIGURE_ENDPOINT: u8 = 12;
    /// Contexts are read anew.
    pub const EVALUATE_CONTEXT: u8 = 13;
    /// A halted endpoint.
    pub const RESET_ENDPOINT: u8 = 14;
    /// One that runs.
    pub const STOP_ENDPOINT: u8 = 15;
    /// Where an endpoint goes on.
    pub const SET_DEQUEUE: u8 = 16;
    /// A device was reset.
    pub const RESET_DEVICE: u8 = 17;
    /// How much is free.
    pub const PORT_BANDWIDTH: u8 = 21;
    /// Nothing, on the command ring.
    pub const NO_OP_COMMAND: u8 = 23;
    /// NEC: the firmware's revision.
    pub const NEC_FIRMWARE: u8 = 49;
    /// Events.
    pub const TRANSFER: u8 = 32;
    /// A command is over.
    pub const COMMAND_COMPLETION: u8 = 33;
    /// A port.
    pub const PORT_STATUS: u8 = 34;
    /// MFINDEX has wrapped.
    pub const WRAP: u8 = 39;
    /// NEC: answer to the command of its own.
    pub const NEC_COMPLETION: u8 = 48;
}

/// Revision of the firmware that NEC's controller tells.
pub const NEC_REVISION: u32 = 0x3025;

/// Bits of a TRB's control word.
pub mod control {
    /// Cycle.
    pub const CYCLE: u32 = 1 << 0;
    /// Link: the cycle toggles. Others: evaluate next.
    pub const TOGGLE: u32 = 1 << 1;
    /// Interrupt on short packet; in an event: event data.
    pub const SHORT: u32 = 1 << 2;
    /// In an event: its pointer is the driver's value.
    pub const EVENT_DATA: u32 = 1 << 2;
    /// The TD goes on.
    pub const CHAIN: u32 = 1 << 4;
    /// Interrupt on completion.
    pub const INTERRUPT: u32 = 1 << 5;
    /// The data is in the TRB.
    pub const IMMEDIATE: u32 = 1 << 6;
    /// Address device: not yet (BSR). Configure endpoint: none (DC).
    pub const BLOCK: u32 = 1 << 9;
    /// Data and status: from the device.
    pub const IN: u32 = 1 << 16;
}

/// Completion codes (table 138).
pub mod code {
    /// All was done.
    pub const SUCCESS: u8 = 1;
    /// The data's memory is none.
    pub const DATA_BUFFER: u8 = 2;
    /// The device sent too much.
    pub const BABBLE: u8 = 3;
    /// No answer.
    pub const TRANSACTION: u8 = 4;
    /// A TRB makes no sense.
    pub const TRB: u8 = 5;
    /// The device refused.
    pub const STALL: u8 = 6;
    /// No slot is free.
    pub const NO_SLOTS: u8 = 9;
    /// There is no such slot.
    pub const SLOT: u8 = 11;
    /// There is no such endpoint.
    pub const ENDPOINT: u8 = 12;
    /// Less came than there was room for.
    pub const SHORT: u8 = 13;
    /// A context or address is wrong.
    pub const PARAMETER: u8 = 17;
    /// It is in another state.
    pub const CONTEXT_STATE: u8 = 19;
    /// The command ring was stopped.
    pub const RING_STOPPED: u8 = 24;
    /// The endpoint was stopped in the middle.
    pub const STOPPED: u8 = 26;
}

/// Bytes of a context.
pub const CONTEXT: u64 = 32;
/// Endpoints of a slot, with the control endpoint.
pub const ENDPOINTS: u8 = 31;
