//! Registers and descriptors, by the "Open Host Controller Interface Specification for USB", 1.0a.

use bitflags::bitflags;

/// Apple, whose controller QEMU's is named after.
pub const VENDOR: u16 = 0x106b;
/// KeyLargo's.
pub const DEVICE: u16 = 0x003f;
/// Serial bus, USB, OHCI.
pub const CLASS: u32 = 0x0c_03_10;
/// Its BAR, memory.
pub const BAR: usize = 0;
/// Bytes of it.
pub const BAR_LEN: u64 = 0x100;
/// Most ports (7.4.1, NDP).
pub const PORTS: u8 = 15;
/// The upper byte of the PCI status, and its bit for a parity error: how QEMU tells of an unrecoverable error.
pub const PCI_STATUS: u16 = 7;
/// The bit.
pub const PARITY: u8 = 0x80;

/// Registers (7).
pub mod reg {
    /// HcRevision.
    pub const REVISION: u64 = 0x00;
    /// HcControl.
    pub const CONTROL: u64 = 0x04;
    /// HcCommandStatus.
    pub const COMMAND_STATUS: u64 = 0x08;
    /// HcInterruptStatus.
    pub const INTERRUPT_STATUS: u64 = 0x0c;
    /// HcInterruptEnable.
    pub const INTERRUPT_ENABLE: u64 = 0x10;
    /// HcInterruptDisable.
    pub const INTERRUPT_DISABLE: u64 = 0x14;
    /// HcHCCA.
    pub const HCCA: u64 = 0x18;
    /// HcPeriodCurrentED.
    pub const PERIOD_CURRENT: u64 = 0x1c;
    /// HcControlHeadED.
    pub const CONTROL_HEAD: u64 = 0x20;
    /// HcControlCurrentED.
    pub const CONTROL_CURRENT: u64 = 0x24;
    /// HcBulkHeadED.
    pub const BULK_HEAD: u64 = 0x28;
    /// HcBulkCurrentED.
    pub const BULK_CURRENT: u64 = 0x2c;
    /// HcDoneHead.
    pub const DONE_HEAD: u64 = 0x30;
    /// HcFmInterval.
    pub const FM_INTERVAL: u64 = 0x34;
    /// HcFmRemaining.
    pub const FM_REMAINING: u64 = 0x38;
    /// HcFmNumber.
    pub const FM_NUMBER: u64 = 0x3c;
    /// HcPeriodicStart.
    pub const PERIODIC_START: u64 = 0x40;
    /// HcLSThreshold.
    pub const LS_THRESHOLD: u64 = 0x44;
    /// HcRhDescriptorA.
    pub const RH_DESCRIPTOR_A: u64 = 0x48;
    /// HcRhDescriptorB.
    pub const RH_DESCRIPTOR_B: u64 = 0x4c;
    /// HcRhStatus.
    pub const RH_STATUS: u64 = 0x50;
    /// HcRhPortStatus of the first port; the others are after it.
    pub const PORTS: u64 = 0x54;
}

/// What registers read as that are not there.
pub const ABSENT: u32 = 0xffff_ffff;
/// HcRevision: 1.0.
pub const REVISION: u32 = 0x10;
/// HcFmInterval after a reset: 12000 bits a frame, and the largest packet that QEMU begins with.
pub const FM_INTERVAL_DEFAULT: u32 = 0x2778_2edf;
/// Bits of HcFmInterval: FI, FSMPS and FIT.
pub const FM_INTERVAL_MASK: u32 = 0xffff_3fff;
/// FI.
pub const FI: u32 = 0x3fff;
/// FIT, and FRT of HcFmRemaining.
pub const TOGGLE: u32 = 1 << 31;
/// HcLSThreshold after a reset.
pub const LS_THRESHOLD_DEFAULT: u32 = 0x628;
/// Nanoseconds of a bit at full speed, of which a frame has 12000; times twelve.
pub const TWELVE_BITS: u64 = 1000;
/// HcRhDescriptorA: ports have power always.
pub const NO_SWITCHES: u32 = 1 << 9;
/// HcRhStatus: a connection wakes the bus.
pub const WAKE_ON_CONNECT: u32 = 1 << 15;
/// HcRhStatus, written: it does not.
pub const CLEAR_WAKE_ON_CONNECT: u32 = 1 << 31;

bitflags! {
    /// HcControl (7.1.2).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Control: u32 {
        /// CBSR: control endpoints for one bulk endpoint.
        const RATIO = 3;
        /// PLE: the periodic list is processed.
        const PERIODIC = 1 << 2;
        /// IE: its isochronous endpoints are.
        const ISOCHRONOUS = 1 << 3;
        /// CLE: the control list is.
        const CONTROL = 1 << 4;
        /// BLE: the bulk list is.
        const BULK = 1 << 5;
        /// HCFS, the state of the bus.
        const STATE = 3 << 6;
        /// IR: interrupts are the firmware's.
        const ROUTING = 1 << 8;
        /// RWC: the controller can be woken.
        const WAKE_CONNECTED = 1 << 9;
        /// RWE: and may be.
        const WAKE_ENABLED = 1 << 10;
        const _ = !0;
    }

    /// HcCommandStatus (7.1.3).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct CommandStatus: u32 {
        /// HCR: reset.
        const RESET = 1 << 0;
        /// CLF: there is something in the control list.
        const CONTROL_FILLED = 1 << 1;
        /// BLF: there is in the bulk list.
        const BULK_FILLED = 1 << 2;
        /// OCR: the driver asks the firmware for the controller.
        const OWNERSHIP = 1 << 3;
        /// SOC: scheduling overruns.
        const OVERRUNS = 3 << 16;
    }

    /// HcInterruptStatus, and what of it interrupts (7.1.4 to 7.1.6).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Interrupt: u32 {
        /// SO: scheduling overrun.
        const OVERRUN = 1 << 0;
        /// WDH: the done queue is in memory.
        const DONE = 1 << 1;
        /// SF: a frame begins.
        const FRAME = 1 << 2;
        /// RD: a device resumes the bus.
        const RESUME = 1 << 3;
        /// UE: unrecoverable error.
        const ERROR = 1 << 4;
        /// FNO: bit 15 of the frame number has changed.
        const OVERFLOW = 1 << 5;
        /// RHSC: a port has changed.
        const ROOT_HUB = 1 << 6;
        /// OC: the owner has changed.
        const OWNER = 1 << 30;
        /// MIE: any of them interrupts.
        const MASTER = 1 << 31;
        const _ = !0;
    }

    /// HcRhPortStatus as it is read (7.4.4).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct PortBits: u32 {
        /// CCS: there is a device.
        const CONNECTED = 1 << 0;
        /// PES: packets go through.
        const ENABLED = 1 << 1;
        /// PSS: the device sleeps.
        const SUSPENDED = 1 << 2;
        /// POCI: it draws too much current.
        const OVER_CURRENT = 1 << 3;
        /// PRS: it is being reset.
        const RESET = 1 << 4;
        /// PPS: there is power.
        const POWER = 1 << 8;
        /// LSDA: the device is of low speed.
        const LOW_SPEED = 1 << 9;
        /// CSC: one has come or gone.
        const CONNECT_CHANGE = 1 << 16;
        /// PESC: it was disabled.
        const ENABLE_CHANGE = 1 << 17;
        /// PSSC: it is awake again.
        const SUSPEND_CHANGE = 1 << 18;
        /// OCIC: of the current.
        const CURRENT_CHANGE = 1 << 19;
        /// PRSC: the reset is over.
        const RESET_CHANGE = 1 << 20;
        /// What is cleared by a one.
        const CHANGES = 0x1f << 16;
    }
}

/// HcRhPortStatus as it is written: a one does it, a zero does nothing.
pub mod port {
    /// ClearPortEnable.
    pub const DISABLE: u32 = 1 << 0;
    /// SetPortEnable.
    pub const ENABLE: u32 = 1 << 1;
    /// SetPortSuspend.
    pub const SUSPEND: u32 = 1 << 2;
    /// ClearSuspendStatus.
    pub const RESUME: u32 = 1 << 3;
    /// SetPortReset.
    pub const RESET: u32 = 1 << 4;
}

/// States of the bus, HCFS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bus {
    /// USBReset.
    Reset,
    /// USBResume.
    Resume,
    /// USBOperational: frames pass.
    Operational,
    /// USBSuspend.
    Suspend,
}

impl Control {
    const STATE_SHIFT: u32 = 6;

    /// HCFS.
    pub fn bus(self) -> Bus {
        match (self & Control::STATE).bits() >> Control::STATE_SHIFT {
            0 => Bus::Reset,
            1 => Bus::Resume,
            2 => Bus::Operational,
            _ => Bus::Suspend,
        }
    }
    /// The same with another state.
    pub fn with(self, bus: Bus) -> Control {
        self - Control::STATE | Control::from_bits_retain((bus as u32) << Control::STATE_SHIFT)
    }
}

/// HCCA (4.4): heads of the periodic lists, then what the controller writes.
pub mod hcca {
    /// Where it can be.
    pub const ADDRESS: u32 = !0xff;
    /// Heads of lists.
    pub const HEADS: u16 = 32;
    /// HccaFrameNumber, and HccaPad1 behind it.
    pub const FRAME: u32 = 0x80;
    /// HccaDoneHead.
    pub const DONE: u32 = 0x84;
}

/// Addresses of descriptors.
pub const ADDRESS: u32 = !0xf;
/// A page.
pub const PAGE: u32 = 0x1000;

/// Endpoint descriptors (4.2).
pub mod ed {
    /// FA: address of the device.
    pub const FUNCTION: u32 = 0x7f;
    /// EN: number of the endpoint.
    pub const ENDPOINT_SHIFT: u32 = 7;
    /// D: direction.
    pub const DIRECTION_SHIFT: u32 = 11;
    /// K: it is passed over.
    pub const SKIP: u32 = 1 << 14;
    /// F: its TDs are isochronous.
    pub const ISOCHRONOUS: u32 = 1 << 15;
    /// MPS: the longest packet.
    pub const PACKET_SHIFT: u32 = 16;
    /// Its bits.
    pub const PACKET: u32 = 0x7ff;
    /// Of the head: H, halted.
    pub const HALTED: u32 = 1 << 0;
    /// Of the head: C, the toggle.
    pub const CARRY: u32 = 1 << 1;
}

/// Transfer descriptors (4.3).
pub mod td {
    /// R: a short packet is no error.
    pub const ROUNDING: u32 = 1 << 18;
    /// DP: direction.
    pub const DIRECTION_SHIFT: u32 = 19;
    /// DI: frames until the interrupt.
    pub const DELAY_SHIFT: u32 = 21;
    /// No interrupt.
    pub const NEVER: u8 = 7;
    /// T: the toggle is that of the TD.
    pub const OWN_TOGGLE: u32 = 1 << 25;
    /// The toggle.
    pub const TOGGLE: u32 = 1 << 24;
    /// EC: errors in a row.
    pub const ERROR: u32 = 1 << 26;
    /// Its bits.
    pub const ERRORS: u32 = 3 << 26;
    /// CC: how it ended.
    pub const CODE_SHIFT: u32 = 28;
    /// Isochronous: SF, the first frame.
    pub const FIRST_FRAME: u32 = 0xffff;
    /// Isochronous: FC, packets less one.
    pub const COUNT_SHIFT: u32 = 24;
}

/// Directions of packets.
pub mod direction {
    /// Of a TD: a request begins.
    pub const SETUP: u32 = 0;
    /// To the device.
    pub const OUT: u32 = 1;
    /// From the device.
    pub const IN: u32 = 2;
}

/// Condition codes (4.3.3).
pub mod code {
    /// NoError.
    pub const GOOD: u32 = 0;
    /// Stall.
    pub const STALL: u32 = 4;
    /// DeviceNotResponding.
    pub const SILENCE: u32 = 5;
    /// DataOverrun.
    pub const OVERRUN: u32 = 8;
    /// DataUnderrun.
    pub const UNDERRUN: u32 = 9;
    /// NotAccessed, with any lowest bit.
    pub const NOT_ACCESSED: u32 = 0xe;
}
