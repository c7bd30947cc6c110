//! What is the same of received frames, whatever descriptors tell of them: how long they may be, the VLAN tag, the
//! checksums (section 3.2).

use super::filter;
use super::registers::Registers;
use super::spec::{ctrl, rctl, reg, rxcsum, rxd, stat};
use super::stats;
use crate::net::offload::{self, Checked};

/// The longest frame without a check sequence that is no long packet: with a VLAN tag.
const LONGEST: usize = 1518;
/// The longest long packet.
const LONGEST_LONG: usize = 16384 - 4;
/// The check sequence, for which there is room in the buffers unless it is taken off.
const FCS: usize = 4;

/// Whether a frame is not too long; one that is, is counted.
pub fn fits(registers: &mut Registers, frame: &[u8]) -> bool {
    let control = registers.get(reg::RCTL);
    let long = control & rctl::LPE != 0;
    let oversize = frame.len() > if long { LONGEST_LONG } else { LONGEST };
    if oversize && control & rctl::SBP == 0 {
        stats::count(registers, stat::ROC);
        return false;
    }
    true
}

/// The VLAN tag that is to be taken out of a frame and told by its descriptor.
pub fn stripped_tag(registers: &Registers, frame: &[u8]) -> Option<u16> {
    let strips = registers.get(reg::CTRL) & ctrl::VME != 0;
    filter::tag(registers, frame).filter(|_| strips)
}

/// Bytes of a frame's buffers: with the check sequence, if that is kept.
pub fn total(registers: &Registers, frame: &[u8]) -> usize {
    let stripped = registers.get(reg::RCTL) & rctl::SECRC != 0;
    frame.len() + if stripped { 0 } else { FCS }
}

/// Bytes of a buffer.
pub fn buffer_size(registers: &Registers) -> usize {
    let control = registers.get(reg::RCTL);
    match (control >> rctl::BSIZE_SHIFT & 3, control & rctl::BSEX != 0) {
        (0, _) => 2048,
        (size, false) => 2048 >> size,
        (size, true) => 32768 >> size,
    }
}

/// Whether so few descriptors are left that the guest is told.
pub fn few_left(registers: &Registers, free: u32, count: u32) -> bool {
    free <= count >> ((registers.get(reg::RCTL) >> rctl::RDMTS_SHIFT & 3) + 1)
}

/// The packet checksum: of all from a place that RXCSUM names.
pub fn packet_checksum(registers: &Registers, frame: &[u8]) -> u16 {
    let from = frame.len().min(registers.get(reg::RXCSUM) as usize & 0xff);
    !offload::fold(offload::sum(&frame[from..]))
}

/// Whether any other checksum is looked at.
pub fn looks_at_checksums(registers: &Registers) -> bool {
    registers.get(reg::RXCSUM) & (rxcsum::IPOFLD | rxcsum::TUOFLD) != 0
}

/// What a descriptor says of them.
pub fn checksum_status(registers: &Registers, found: Checked) -> u32 {
    let control = registers.get(reg::RXCSUM);
    let looks = [
        (rxcsum::IPOFLD, found.ip, rxd::IPCS, rxd::IPE),
        (rxcsum::TUOFLD, found.transport, rxd::TCPCS, rxd::TCPE),
    ];
    looks.into_iter().fold(0, |status, (wanted, found, looked, wrong)| {
        match found.filter(|_| control & wanted != 0) {
            Some(true) => status | looked,
            Some(false) => status | looked | wrong,
            None => status,
        }
    })
}
