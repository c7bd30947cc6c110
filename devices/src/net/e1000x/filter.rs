//! Which frames are received: station addresses, the hash table of groups, VLANs (section 3.2.1).

use devices_core::net::{Accepts, RxFilter};

use super::registers::Registers;
use super::spec::{RAH_AV, rctl, reg};

/// A frame's VLAN tag, if it has one of the type in VET.
pub fn tag(registers: &Registers, frame: &[u8]) -> Option<u16> {
    let &[high, low, tag_high, tag_low] = frame.get(12..)?.first_chunk()?;
    let tagged = u32::from(u16::from_be_bytes([high, low])) == registers.get(reg::VET);
    tagged.then_some(u16::from_be_bytes([tag_high, tag_low]))
}

/// Station addresses that are valid, in order.
fn stations(registers: &Registers) -> impl Iterator<Item = [u8; 6]> {
    (0..16).filter_map(|number| {
        let low = registers.get(reg::RA + 8 * number);
        let high = registers.get(reg::RA + 8 * number + 4);
        let [a, b, c, d] = low.to_le_bytes();
        let [e, f, ..] = high.to_le_bytes();
        (high & RAH_AV != 0).then_some([a, b, c, d, e, f])
    })
}

/// Whether a bit of a table of 128 words is set.
fn bit(registers: &Registers, table: u32, number: u32) -> bool {
    registers.get(table + 4 * (number >> 5 & 0x7f)) >> (number & 31) & 1 != 0
}

/// Whether a frame to that address is let in.
fn address(registers: &Registers, to: [u8; 6]) -> bool {
    let control = registers.get(reg::RCTL);
    let all = if to == [0xff; 6] {
        rctl::BAM
    } else if to[0] & 1 != 0 {
        rctl::MPE
    } else {
        rctl::UPE
    };
    if control & all != 0 || stations(registers).any(|station| station == to) {
        return true;
    }
    let shift = [4, 3, 2, 0][(control >> rctl::MO_SHIFT & 3) as usize];
    let hash = u32::from(u16::from_le_bytes([to[4], to[5]])) >> shift & 0xfff;
    to[0] & 1 != 0 && bit(registers, reg::MTA, hash)
}

/// Whether a frame of that VLAN is.
fn vlan(registers: &Registers, tag: u16) -> bool {
    let control = registers.get(reg::RCTL);
    if control & rctl::VFE == 0 {
        return true;
    }
    let canonical = control & rctl::CFIEN == 0 || (control & rctl::CFI != 0) == (tag & 1 << 12 != 0);
    canonical && bit(registers, reg::VFTA, u32::from(tag & 0xfff))
}

/// Whether a frame is let in.
pub fn accepts(registers: &Registers, frame: &[u8]) -> bool {
    let Some(&to) = frame.first_chunk() else { return false };
    address(registers, to) && tag(registers, frame).is_none_or(|tag| vlan(registers, tag))
}

/// The same for people and programs.
pub fn describe(registers: &Registers) -> RxFilter {
    let control = registers.get(reg::RCTL);
    let on = |bit: u32| control & bit != 0;
    let state = |all: bool| if all { Accepts::All } else { Accepts::Normal };
    let main = stations(registers).next().unwrap_or_default();
    let (groups, others) = stations(registers).skip(1).partition(|station| station[0] & 1 != 0);
    let vlans = (0..0x1000).filter(|number| on(rctl::VFE) && bit(registers, reg::VFTA, *number));
    RxFilter {
        promiscuous: on(rctl::UPE) && on(rctl::MPE),
        unicast: state(on(rctl::UPE)),
        multicast: state(on(rctl::MPE)),
        broadcast: on(rctl::BAM),
        vlan: state(!on(rctl::VFE)),
        main_mac: main,
        unicast_table: others,
        multicast_table: groups,
        vlan_table: vlans.map(|number| number as u16).collect(),
    }
}
