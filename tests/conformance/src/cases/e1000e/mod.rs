//! Intel 82574L. "82574 GbE Controller Family Datasheet", revision 3.4 (DS); PCI Local Bus 3.0; PCI Express 1.1;
//! IEEE 802.3, clause 22. Frames come in by loopback: the cable leads nowhere. What is as in the 82540EM is looked at by
//! its cases.

mod interrupts;
mod receive;
mod registers;

use super::e1000::{
    CTRL, EECD, EERD, ICR, ICS, IMC, IMS, MAC, MDIC, PORTS, RA, RCTL, RDBAL, REGISTERS, RXCSUM, SLOT, STATUS,
    TDBAL, VET, frames, get, phy, set, set_phy,
};
use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

/// Where cases put the table of messages.
const TABLE: u64 = 0xe004_0000;
/// Where capabilities are.
const MSIX: u8 = 0xa0;

/// Registers that the 82540EM has not.
const CTRL_EXT: u64 = 0x0018;
const EIAC: u64 = 0x00dc;
const IAM: u64 = 0x00e0;
const IVAR: u64 = 0x00e4;
const EEWR: u64 = 0x102c;
const PSRCTL: u64 = 0x2170;
const RFCTL: u64 = 0x5008;
const MRQC: u64 = 0x5818;
const SWSM: u64 = 0x5b50;
const PBACLR: u64 = 0x5b68;
const RETA: u64 = 0x5c00;
const RSSRK: u64 = 0x5c80;

pub(super) const GROUP: Group = Group {
    device: "e1000e",
    about: "Intel 82574L network card",
    setup: Setup { disks: &[], args: &["-device", "e1000e,mac=52:54:00:12:34:56,addr=3"] },
    cases: &[
        case("identity", "DS 9.2; PCI 6.2.1", registers::identity),
        case("header", "no document: a card's own", super::e1000::registers::header),
        case("capabilities", "DS 9.2.5 to 9.2.8; PCI 6.7", registers::capabilities),
        case("BARs and their sizes", "DS 9.2.4, BARs", registers::bars),
        case("registers at power-on", "DS 10.2; no document for straps", registers::power_on),
        case("registers keep their bits", "DS 10.2", registers::keep),
        case("registers at their old places", "DS 10.1.2, table 10-2", registers::old_places),
        case("IOADDR and IODATA", "DS 10.1.1.3", registers::io),
        case("software semaphore", "DS 10.2.9.15, SMBI", registers::semaphore),
        case("bus master disable", "DS 10.2.2.1, GIO; 10.2.2.2", registers::master),
        case("CTRL.RST", "DS 10.2.2.1, RST", registers::reset),
        case("EERD and EEWR", "DS 10.2.2.4, 10.2.2.24; 6.1", registers::nvm),
        case("PHY identifiers and pages", "DS 8.2; 802.3, 22.2.4.3.1", registers::phy),
        case("interrupt causes", "DS 10.2.4.1 to 10.2.4.6", interrupts::causes),
        case("IAME", "DS 10.2.2.5, IAME; 10.2.4.1", interrupts::iame),
        case("interrupt pin", "DS 7.4; PCI 6.2.3", interrupts::pin),
        case("vectors of MSI-X", "DS 7.4.1, 10.2.4.9", interrupts::vectors),
        case("OTHER", "DS 10.2.4.1, OTHER", interrupts::others),
        case("EIAC and EIAME", "DS 10.2.4.7; 10.2.2.5, EIAME", interrupts::auto),
        case("PBACLR", "DS 10.2.9.17", interrupts::pba_clear),
        case("extended descriptors", "DS 7.1.5", receive::extended),
        case("split descriptors", "DS 7.1.5.1, 7.1.10", receive::split),
        case("queue by hash", "DS 7.1.11", receive::hash),
        case("legacy descriptors", "DS 7.2.4", frames::legacy),
        case("segmentation", "DS 7.2.6", frames::segmentation),
        case("VLAN tags", "DS 7.5.1 to 7.5.4", frames::vlan),
        case("VLAN filter", "DS 7.5.5", frames::vlan_filter),
        case("long frames", "DS 7.1.2; 10.2.5.1, LPE", frames::long),
        case("address filter", "DS 7.1.1", frames::filter),
        case("statistics are cleared by reading", "DS 10.2.7", frames::statistics),
    ],
};

/// Puts the BARs in place and lets the card answer and use memory.
fn on(bench: &mut Bench<'_>) {
    for (bar, address) in [(0x10, REGISTERS as u32), (0x18, PORTS.into()), (0x1c, TABLE as u32)] {
        bench.set_config(SLOT, 0, bar, Size::B4, address);
    }
    bench.set_config(SLOT, 0, 4, Size::B2, 7);
}
