//! Which registers there are, what they hold after a reset, and which bits software can set (chapter 10).

use super::spec::{ASSERTED, QUEUES, TARC_ENABLE, ctrl, ctrl_ext, reg, rxcsum, status};
use crate::net::e1000x::registers::Registers;

/// Words of the register file: up to the last one of time stamps.
const WORDS: usize = (reg::RXUDP as usize + 4) / 4;

/// GCR: latencies of the link, which only the NVM sets.
const GCR_READ_ONLY: u32 = 1 << 23 | 1 << 25 | 1 << 26;
/// RAH: the address is valid.
const RAH_AV: u32 = 1 << 31;

/// The register file, with nothing in it.
pub(super) fn empty() -> Registers {
    Registers::new(WORDS)
}

/// The station address becomes the NVM's.
pub(super) fn set_station(registers: &mut Registers, mac: [u8; 6]) {
    let [a, b, c, d, e, f] = mac;
    registers.set(reg::RA, u32::from_le_bytes([a, b, c, d]));
    registers.set(reg::RA + 4, RAH_AV | u32::from(u16::from_le_bytes([e, f])));
}

/// As after a reset, with that address and that type of tagged frames. The link is down.
pub(super) fn reset(registers: &mut Registers, mac: [u8; 6], vet: u16) {
    registers.clear();
    for (offset, value) in [
        (reg::CTRL, ctrl::INITIAL),
        (reg::STATUS, status::INITIAL),
        (reg::VET, vet.into()),
        (reg::TIPG, 0x0060_2008),
        (reg::LEDCTL, 0x0006_8302),
        (reg::EXTCNF_CTRL, 1 << 3),
        (reg::POEMB, 0x030d),
        (reg::PBA, 0x0014_0014),
        (reg::PBS, 0x28),
        (reg::EEMNGCTL, 1 << 31),
        (reg::FLASHT, 2),
        (reg::FLSWCTL, 3 << 30),
        (reg::FLOL, 1),
        (reg::PSRCTL, 0x0004_0402),
        (reg::RXDCTL, 1 << 16),
        (reg::RDBAL1 + 0x28, 1 << 16),
        (reg::TARC0, 3 | TARC_ENABLE),
        (reg::TARC1, 3 | TARC_ENABLE),
        (reg::RXCSUM, rxcsum::IPOFLD | rxcsum::TUOFLD),
        (reg::MANC, 1 << 28),
        (reg::GCR, 1 << 9 | GCR_READ_ONLY),
        (reg::FACTPS, 0x2000_0004),
        (reg::SWSM, 1),
        (reg::RXCFGL, 0x88f7),
        (reg::RXUDP, 0x0319),
    ] {
        registers.set(offset, value);
    }
    for offset in [reg::TDFH, reg::TDFH + 8, reg::TDFH + 16, reg::TDFH + 24] {
        registers.set(offset, 0x600);
    }
    set_station(registers, mac);
}

/// What a register can hold.
pub(super) fn can_hold(offset: u32, value: u32) -> bool {
    let own = matches!(offset, reg::STATUS | reg::MDIC | reg::STATISTICS..=reg::IAC | reg::GCR);
    own || writable(offset) | value == writable(offset)
}

/// Where a register is that is asked for at its place of the 82542, the first of its kind.
pub(super) fn place(offset: u32) -> u32 {
    match offset {
        reg::CTRL_DUP => reg::CTRL,
        0x0040..=0x00bc => offset - 0x0040 + reg::RA,
        0x0108 => reg::RDTR,
        0x0110..=0x0118 => offset - 0x0110 + reg::RDBAL,
        0x0120 => reg::RDH,
        0x0128 => reg::RDT,
        0x0160 => reg::FCRTH,
        0x0168 => reg::FCRTL,
        0x0420..=0x0428 => offset - 0x0420 + reg::TDBAL,
        0x0430..=0x0440 => offset - 0x0430 + reg::TDH,
        0x0600..=0x07fc => offset - 0x0600 + reg::VFTA,
        _ => offset,
    }
}

/// A register of a ring, of either queue, as queue 0 has it.
fn of_queue_0(offset: u32) -> u32 {
    let queue = 0x100 * (QUEUES as u32 - 1);
    match offset {
        reg::RDBAL1..0x2a00 | reg::TDBAL1..0x3a00 => offset - queue,
        _ => offset,
    }
}

/// The bits that software can set; none: no register is there, or it is the device's.
pub(super) fn writable(offset: u32) -> u32 {
    let every_other = |first: u32| (offset - first).is_multiple_of(8);
    match of_queue_0(offset) {
        reg::CTRL => !ctrl::RST,
        reg::CTRL_EXT => !(ctrl_ext::EE_RST | ctrl_ext::ASDCHK),
        reg::IAM => !ASSERTED,
        reg::EIAC => 0x01f0_0000,
        reg::GCR => !GCR_READ_ONLY,
        reg::FCAL
        | reg::IVAR
        | reg::RCTL
        | reg::TXCW
        | reg::TCTL
        | reg::TIPG
        | reg::LEDCTL
        | reg::EXTCNF_CTRL
        | reg::EXTCNF_SIZE
        | reg::POEMB
        | reg::PBA
        | reg::EEMNGCTL
        | reg::FLSWCTL..=reg::FLOP
        | reg::FLOL
        | reg::FLA
        | reg::PSRCTL
        | reg::RDBAH
        | reg::RXDCTL
        | reg::TDBAH
        | reg::TXDCTL
        | reg::RXCSUM
        | reg::RFCTL
        | reg::MAVTV0..=reg::MAVTV3
        | reg::MTA..=reg::MTA_END
        | reg::RA..=reg::RA_END
        | reg::VFTA..=reg::VFTA_END
        | reg::WUC
        | reg::WUFC
        | reg::WUS
        | reg::MRQC
        | reg::MANC
        | reg::MFVAL
        | reg::MFUTP01
        | reg::MFUTP23
        | reg::IPAV
        | reg::IP4AT..=reg::IP4AT_END
        | reg::MANC2H
        | reg::IP6AT..=reg::IP6AT_END
        | reg::MDEF..=reg::MDEF_END
        | reg::WUPM..=reg::WUPM_END
        | reg::FUNCTAG
        | reg::GSCL_1..=reg::GSCN_3
        | reg::FACTPS
        | reg::SWSM
        | reg::SWSM2
        | reg::GCR2
        | reg::RETA..=reg::RETA_END
        | reg::RSSRK..=reg::RSSRK_END
        | reg::SYSTIML..=reg::RXUDP => !0,
        // Bits 10:0, and 30:27.
        reg::TARC0 => 0x7800_07ff,
        reg::RDBAL | reg::TDBAL => !0xf,
        reg::RDLEN | reg::TDLEN => 0x000f_ff80,
        reg::FCRTL => 0x8000_fff8,
        reg::FCRTH => 0x0000_fff8,
        reg::RSRPD => 0x0fff,
        reg::PBACLR => 0x1f,
        reg::PBS => 0x3f,
        reg::FCAH
        | reg::FCT
        | reg::VET
        | reg::ITR
        | reg::EITR..=reg::EITR_END
        | reg::FCTTV
        | reg::FCRTV
        | reg::AIFS
        | reg::FLASHT
        | reg::RDH
        | reg::RDT
        | reg::RDTR
        | reg::RADV
        | reg::RAID
        | reg::TDH
        | reg::TDT
        | reg::TIDV
        | reg::TADV => 0xffff,
        reg::RDFH..=reg::RDFPC | reg::TDFH..=reg::TDFPC if offset.is_multiple_of(8) => 0x1fff,
        reg::FFLT..=reg::FFLT_END if every_other(reg::FFLT) => 0x07ff,
        reg::FFMT..=reg::FFMT_END if every_other(reg::FFMT) => 0x000f,
        reg::FFVT..=reg::FFVT_END if every_other(reg::FFVT) => !0,
        _ => 0,
    }
}
