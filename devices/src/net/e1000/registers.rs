//! Which registers there are, what they hold after a reset, and which bits software can set.

use super::spec::{ctrl, reg, status};
use crate::net::e1000x::registers::Registers;

/// Words of the register file: up to the last of the flexible filters.
const WORDS: usize = (reg::FFVT_END as usize + 4) / 4;

/// The register file, with nothing in it.
pub(super) fn empty() -> Registers {
    Registers::new(WORDS)
}

/// As after a reset, with that address and that type of tagged frames. The link is down.
pub(super) fn reset(registers: &mut Registers, mac: [u8; 6], vet: u16) {
    registers.clear();
    let [a, b, c, d, e, f] = mac;
    for (offset, value) in [
        (reg::CTRL, ctrl::INITIAL),
        (reg::STATUS, status::INITIAL),
        (reg::LEDCTL, 0x0602),
        (reg::PBA, 0x0010_0030),
        (reg::MANC, 0x0022_2300),
        (reg::VET, vet.into()),
        (reg::RA, u32::from_le_bytes([a, b, c, d])),
        (reg::RA + 4, super::spec::RAH_AV | u32::from(u16::from_le_bytes([e, f]))),
    ] {
        registers.set(offset, value);
    }
}

/// What a register can hold.
pub(super) fn can_hold(offset: u32, value: u32) -> bool {
    is_own(offset) || writable(offset) | value == writable(offset)
}

/// Registers that the device writes itself, beside what software does.
fn is_own(offset: u32) -> bool {
    matches!(offset, reg::STATUS | reg::MDIC | reg::STATISTICS..=reg::STATISTICS_END)
}

/// The bits that software can set; none: no register is there, or it is the device's.
pub(super) fn writable(offset: u32) -> u32 {
    let every_other = |first: u32| (offset - first).is_multiple_of(8);
    match offset {
        reg::CTRL => !ctrl::RST,
        reg::CTRL_EXT => !super::spec::CTRL_EXT_EE_RST,
        reg::FCAL
        | reg::RCTL
        | reg::TCTL
        | reg::TXCW
        | reg::LEDCTL
        | reg::PBA
        | reg::RDBAH
        | reg::TDBAH
        | reg::RXDCTL
        | reg::TXDCTL
        | reg::TSPMT
        | reg::WUC
        | reg::WUFC
        | reg::WUS
        | reg::MANC
        | reg::IPAV
        | reg::SWSM
        | reg::MTA..=reg::MTA_END
        | reg::VFTA..=reg::VFTA_END
        | reg::IP4AT..=reg::IP4AT_END
        | reg::IP6AT..=reg::IP6AT_END
        | reg::WUPM..=reg::WUPM_END => !0,
        reg::RA..=reg::RA_END => {
            if offset & 4 == 0 {
                !0
            } else {
                0x8003_ffff
            }
        }
        reg::TIPG => 0x3fff_ffff,
        reg::FCRTL => 0x8000_fff8,
        reg::FCRTH => 0x0000_fff8,
        reg::RDBAL | reg::TDBAL => !0xf,
        reg::RDLEN | reg::TDLEN => 0x000f_ff80,
        reg::RXCSUM => 0x0fff,
        reg::FCAH
        | reg::FCT
        | reg::VET
        | reg::FCTTV
        | reg::AIFS
        | reg::RDH
        | reg::RDT
        | reg::TDH
        | reg::TDT
        | reg::ITR
        | reg::RDTR
        | reg::RADV
        | reg::TIDV
        | reg::TADV => 0xffff,
        reg::RDFH..=reg::RDFPC | reg::TDFH..=reg::TDFPC if offset & 15 == 0 || offset & 15 == 8 => 0x1fff,
        reg::FFLT..=reg::FFLT_END if every_other(reg::FFLT) => 0x07ff,
        reg::FFMT..=reg::FFMT_END if every_other(reg::FFMT) => 0x000f,
        reg::FFVT..=reg::FFVT_END if every_other(reg::FFVT) => !0,
        _ => 0,
    }
}

/// Registers of the interrupt timers, which are not there with `mitigation=off`.
pub(super) fn is_timer(offset: u32) -> bool {
    matches!(offset, reg::ITR | reg::RDTR | reg::RADV | reg::TIDV | reg::TADV)
}

/// Registers that are not there with `extra_mac_registers=off`: those that QEMU 2.5 came to have.
pub(super) fn is_extra(offset: u32) -> bool {
    use super::spec::stat;
    match offset {
        reg::AIFS
        | reg::RDFH..=reg::RDFPC
        | reg::TDFH..=reg::TDFPC
        | reg::WUC
        | reg::WUS
        | reg::IPAV
        | reg::IP4AT..=reg::IP4AT_END
        | reg::IP6AT..=reg::IP6AT_END
        | reg::WUPM..=reg::WUPM_END
        | reg::FFLT..=reg::FFLT_END
        | reg::FFMT..=reg::FFMT_END
        | reg::FFVT..=reg::FFVT_END => true,
        stat::MPC | stat::GPRC | stat::GPTC | stat::TPR | stat::TPT => false,
        stat::TORL..=0x40cc => false,
        reg::STATISTICS..=reg::STATISTICS_END => true,
        _ => false,
    }
}
