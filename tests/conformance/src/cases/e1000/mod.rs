//! Intel 82540EM. "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual", 317453 (SDM);
//! 93C46 (Microwire); IEEE 802.3, clause 22. Frames come in by loopback: the cable leads nowhere.

pub(super) mod frames;
mod parts;
pub(super) mod registers;

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

pub(super) const SLOT: u8 = 3;
/// Where cases put the BARs.
pub(super) const REGISTERS: u64 = 0xe000_0000;
pub(super) const PORTS: u16 = 0xc000;
pub(super) const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

/// Registers.
pub(super) const CTRL: u64 = 0x0000;
pub(super) const STATUS: u64 = 0x0008;
pub(super) const EECD: u64 = 0x0010;
pub(super) const EERD: u64 = 0x0014;
pub(super) const MDIC: u64 = 0x0020;
pub(super) const VET: u64 = 0x0038;
pub(super) const ICR: u64 = 0x00c0;
const ITR: u64 = 0x00c4;
pub(super) const ICS: u64 = 0x00c8;
pub(super) const IMS: u64 = 0x00d0;
pub(super) const IMC: u64 = 0x00d8;
pub(super) const RCTL: u64 = 0x0100;
const TCTL: u64 = 0x0400;
pub(super) const RDBAL: u64 = 0x2800;
pub(super) const TDBAL: u64 = 0x3800;
pub(super) const RXCSUM: u64 = 0x5000;
const MTA: u64 = 0x5200;
pub(super) const RA: u64 = 0x5400;
const VFTA: u64 = 0x5600;

pub(super) const GROUP: Group = Group {
    device: "e1000",
    about: "Intel 82540EM network card",
    setup: Setup { disks: &[], args: &["-device", "e1000,mac=52:54:00:12:34:56,addr=3"] },
    cases: &[
        case("identity", "SDM 4.1; PCI 2.2, 6.2.1", registers::identity),
        case("header", "no document: a card's own", registers::header),
        case("BARs and their sizes", "SDM 4.1, table 4-3", registers::bars),
        case("registers at power-on", "SDM 13.4; no document for straps", registers::power_on),
        case("registers keep their bits", "SDM 13.4", registers::keep),
        case("tables", "SDM 13.5", registers::tables),
        case("IOADDR and IODATA", "SDM 13.2.1", registers::io),
        case("CTRL.RST", "SDM 13.4.1, RST", registers::reset),
        case("reset button", "SDM 14.2", registers::button),
        case("accesses of a byte and of a word", "no document: SDM 13.2 wants 32 bits", registers::narrow),
        case("EERD", "SDM 5.3.1, 13.4.4", parts::eerd),
        case("EEPROM by its wires", "SDM 5.4, 13.4.3; 93C46, READ", parts::wires),
        case("EEPROM checksum", "SDM 5.6.35", parts::checksum),
        case("PHY identifiers", "SDM 13.4.7; 802.3, 22.2.4.3.1", parts::phy),
        case("PHY registers", "no document: a PHY's own", parts::phy_registers),
        case("no PHY at other addresses", "SDM 13.4.7, E", parts::no_phy),
        case("negotiation", "802.3, 22.2.4.1.7; SDM 13.4.2, LU", parts::negotiation),
        case("MDIC interrupt", "SDM 13.4.7, I", parts::mdac),
        case("interrupt causes", "SDM 13.4.17 to 13.4.21", parts::causes),
        case("ICR by writing ones", "SDM 13.4.17", parts::write_icr),
        case("interrupt pin", "SDM 13.4.20; PCI 2.3, 6.2.3", parts::pin),
        case("throttling", "SDM 13.4.18", parts::throttle),
        case("statistics are cleared by reading", "SDM 13.7", frames::statistics),
        case("legacy descriptors", "SDM 3.3.3", frames::legacy),
        case("checksums", "SDM 3.3.6, 3.5.10", frames::checksums),
        case("segmentation", "SDM 3.5", frames::segmentation),
        case("VLAN tags", "SDM 9.2, 9.4", frames::vlan),
        case("VLAN filter", "SDM 9.3", frames::vlan_filter),
        case("long frames", "SDM 3.2.1, LPE; 3.2.3", frames::long),
        case("address filter", "SDM 3.2.1", frames::filter),
        case("no descriptors", "SDM 3.2.7, RXO; 13.7.7", frames::overrun),
        case("received checksums", "SDM 3.2.9", frames::received_checksums),
    ],
};

/// Puts the BARs in place and lets the card answer and use memory.
fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, REGISTERS as u32);
    bench.set_config(SLOT, 0, 0x14, Size::B4, PORTS.into());
    bench.set_config(SLOT, 0, 4, Size::B2, 7);
}

pub(super) fn get(bench: &mut Bench<'_>, register: u64) -> u32 {
    bench.readl(REGISTERS + register)
}

pub(super) fn set(bench: &mut Bench<'_>, register: u64, value: u32) {
    bench.writel(REGISTERS + register, value);
}

/// A register of the PHY.
pub(super) fn phy(bench: &mut Bench<'_>, register: u32) -> u32 {
    set(bench, MDIC, 2 << 26 | 1 << 21 | register << 16);
    get(bench, MDIC)
}

pub(super) fn set_phy(bench: &mut Bench<'_>, register: u32, value: u32) {
    set(bench, MDIC, 1 << 26 | 1 << 21 | register << 16 | value);
}
