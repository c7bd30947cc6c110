//! Registers, bits and commands of ATA (ATA/ATAPI-6, T13/1410D) and of the PIIX3 bus master (Intel 82371SB,
//! section 2.6).

use bitflags::bitflags;

/// Offsets in the command block, for reads and writes.
pub mod reg {
    /// Data, 16 or 32 bits.
    pub const DATA: u64 = 0;
    /// Error; features on writes.
    pub const ERROR: u64 = 1;
    /// Sector count; interrupt reason of packet devices.
    pub const COUNT: u64 = 2;
    /// LBA 7:0, sector number.
    pub const LBA_LOW: u64 = 3;
    /// LBA 15:8, cylinder low, byte count low.
    pub const LBA_MID: u64 = 4;
    /// LBA 23:16, cylinder high, byte count high.
    pub const LBA_HIGH: u64 = 5;
    /// Device, head, LBA 27:24.
    pub const DEVICE: u64 = 6;
    /// Status; command on writes.
    pub const STATUS: u64 = 7;
}

bitflags! {
    /// Status register.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Status: u8 {
        /// An error happened; for packet devices: check condition.
        const ERR = 0x01;
        /// Data request: the data port wants to be read or written.
        const DRQ = 0x08;
        /// Seek complete.
        const DSC = 0x10;
        /// Device fault.
        const DF = 0x20;
        /// Ready.
        const DRDY = 0x40;
        /// Busy: no other bit means anything.
        const BSY = 0x80;
    }

    /// Error register.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Fault: u8 {
        /// Command aborted. (Alone after diagnostics: device passed.)
        const ABRT = 0x04;
        /// Address not found.
        const IDNF = 0x10;
        /// Uncorrectable data.
        const UNC = 0x40;
    }

    /// Device control register.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Control: u8 {
        /// Interrupts off.
        const NIEN = 0x02;
        /// Software reset while set.
        const SRST = 0x04;
        /// Reads give the older halves of the 48-bit registers.
        const HOB = 0x80;
    }

    /// Interrupt reason of packet devices (count register).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Reason: u8 {
        /// Command, not data.
        const COD = 0x01;
        /// To the host.
        const IO = 0x02;
    }

    /// Bus master command register.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct BmCommand: u8 {
        /// Engine runs.
        const START = 0x01;
        /// The engine writes memory.
        const TO_MEMORY = 0x08;
    }

    /// Bus master status register.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct BmStatus: u8 {
        /// Engine active.
        const ACTIVE = 0x01;
        /// Memory could not be reached.
        const ERROR = 0x02;
        /// The drive raised its interrupt.
        const INTERRUPT = 0x04;
        /// For software: drive 0 does DMA.
        const DRIVE0 = 0x20;
        /// For software: drive 1 does DMA.
        const DRIVE1 = 0x40;
    }
}

/// Device register: LBA, not CHS.
pub const DEVICE_LBA: u8 = 0x40;
/// Device register: drive 1.
pub const DEVICE_1: u8 = 0x10;
/// Device register: bits that read as ones.
pub const DEVICE_ONES: u8 = 0xa0;

/// Features register of PACKET: data by DMA.
pub const PACKET_DMA: u8 = 0x01;
/// Features register of PACKET: overlapped, which is not supported.
pub const PACKET_OVERLAP: u8 = 0x02;

/// Bytes of a PRD.
pub const PRD: u64 = 8;
/// A descriptor table does not cross this boundary.
pub const PRD_TABLE: u64 = 0x1_0000;
/// End of table, in a PRD's second word.
pub const PRD_END: u32 = 0x8000_0000;

/// Most sectors of one data block of READ/WRITE MULTIPLE.
pub const MULTIPLE: u8 = 16;
/// Bytes of a sector.
pub const SECTOR: usize = 512;

/// Values that a drive leaves in its registers after a reset, for software to tell what it is: count, low,
/// mid, high.
pub const SIGNATURE_ATA: [u8; 4] = [1, 1, 0, 0];
/// Likewise of a packet device.
pub const SIGNATURE_ATAPI: [u8; 4] = [1, 1, 0x14, 0xeb];

/// Command codes.
pub mod cmd {
    #![allow(missing_docs, reason = "the names are the standard's")]
    pub const NOP: u8 = 0x00;
    pub const DATA_SET_MANAGEMENT: u8 = 0x06;
    pub const DEVICE_RESET: u8 = 0x08;
    pub const RECALIBRATE: u8 = 0x10;
    pub const RECALIBRATE_LAST: u8 = 0x1f;
    pub const READ: u8 = 0x20;
    pub const READ_NO_RETRY: u8 = 0x21;
    pub const READ_EXT: u8 = 0x24;
    pub const READ_DMA_EXT: u8 = 0x25;
    pub const READ_NATIVE_MAX_EXT: u8 = 0x27;
    pub const READ_MULTIPLE_EXT: u8 = 0x29;
    pub const WRITE: u8 = 0x30;
    pub const WRITE_NO_RETRY: u8 = 0x31;
    pub const WRITE_EXT: u8 = 0x34;
    pub const WRITE_DMA_EXT: u8 = 0x35;
    pub const WRITE_MULTIPLE_EXT: u8 = 0x39;
    pub const WRITE_VERIFY: u8 = 0x3c;
    pub const VERIFY: u8 = 0x40;
    pub const VERIFY_NO_RETRY: u8 = 0x41;
    pub const VERIFY_EXT: u8 = 0x42;
    pub const SEEK: u8 = 0x70;
    pub const SEEK_LAST: u8 = 0x7f;
    pub const DIAGNOSTIC: u8 = 0x90;
    pub const INIT_PARAMETERS: u8 = 0x91;
    pub const STANDBY_IMMEDIATE_OLD: u8 = 0x94;
    pub const IDLE_IMMEDIATE_OLD: u8 = 0x95;
    pub const STANDBY_OLD: u8 = 0x96;
    pub const IDLE_OLD: u8 = 0x97;
    pub const CHECK_POWER_OLD: u8 = 0x98;
    pub const SLEEP_OLD: u8 = 0x99;
    pub const PACKET: u8 = 0xa0;
    pub const IDENTIFY_PACKET: u8 = 0xa1;
    pub const SMART: u8 = 0xb0;
    pub const READ_MULTIPLE: u8 = 0xc4;
    pub const WRITE_MULTIPLE: u8 = 0xc5;
    pub const SET_MULTIPLE: u8 = 0xc6;
    pub const READ_DMA: u8 = 0xc8;
    pub const READ_DMA_NO_RETRY: u8 = 0xc9;
    pub const WRITE_DMA: u8 = 0xca;
    pub const WRITE_DMA_NO_RETRY: u8 = 0xcb;
    pub const STANDBY_IMMEDIATE: u8 = 0xe0;
    pub const IDLE_IMMEDIATE: u8 = 0xe1;
    pub const STANDBY: u8 = 0xe2;
    pub const IDLE: u8 = 0xe3;
    pub const CHECK_POWER: u8 = 0xe5;
    pub const SLEEP: u8 = 0xe6;
    pub const FLUSH: u8 = 0xe7;
    pub const FLUSH_EXT: u8 = 0xea;
    pub const IDENTIFY: u8 = 0xec;
    pub const SET_FEATURES: u8 = 0xef;
    pub const SECURITY_FREEZE: u8 = 0xf5;
    pub const READ_NATIVE_MAX: u8 = 0xf8;
}

/// Subcommands of SET FEATURES.
pub mod feature {
    #![allow(missing_docs, reason = "the names are the standard's")]
    pub const WRITE_CACHE_ON: u8 = 0x02;
    pub const TRANSFER_MODE: u8 = 0x03;
    pub const APM_ON: u8 = 0x05;
    pub const ACOUSTIC_ON: u8 = 0x42;
    pub const KEEP_DEFAULTS: u8 = 0x66;
    pub const LOOK_AHEAD_OFF: u8 = 0x55;
    pub const ECC_OFF: u8 = 0x69;
    pub const REASSIGN_OFF: u8 = 0x67;
    pub const WRITE_CACHE_OFF: u8 = 0x82;
    pub const APM_OFF: u8 = 0x85;
    pub const LOOK_AHEAD_ON: u8 = 0xaa;
    pub const ACOUSTIC_OFF: u8 = 0xc2;
    pub const POWER_ON_DEFAULTS: u8 = 0xcc;
}

/// Subcommands of SMART, and the registers' key.
pub mod smart {
    #![allow(missing_docs, reason = "the names are the standard's")]
    pub const KEY_MID: u8 = 0x4f;
    pub const KEY_HIGH: u8 = 0xc2;
    pub const READ_DATA: u8 = 0xd0;
    pub const READ_THRESHOLDS: u8 = 0xd1;
    pub const AUTOSAVE: u8 = 0xd2;
    pub const SAVE_ATTRIBUTES: u8 = 0xd3;
    pub const OFFLINE: u8 = 0xd4;
    pub const READ_LOG: u8 = 0xd5;
    pub const ENABLE: u8 = 0xd8;
    pub const DISABLE: u8 = 0xd9;
    pub const STATUS: u8 = 0xda;
}
