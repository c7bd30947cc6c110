//! The RTL8139C+ network card. Realtek's RTL8139C(L) and RTL8139C(L)+ datasheets ("139C", "139C+"), PCI 2.1,
//! IEEE 802.3, RFC 793 and 1071. Its cable leads nowhere: packets come back by the card's loopback.

mod cplus;
mod registers;
mod ring;

use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

const SLOT: u8 = 3;
const PORTS: u16 = 0xc000;
const MEMORY: u64 = 0xe200_0000;
/// Where cases route its interrupt.
const IRQ: u8 = 11;
const MAC: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];
const OTHER: [u8; 6] = [0x52, 0x54, 0x00, 0xab, 0xcd, 0xef];

pub(super) const GROUP: Group = Group {
    device: "rtl8139",
    about: "network card RTL8139C+",
    setup: Setup { disks: &[], args: &["-device", "rtl8139,mac=52:54:00:12:34:56,addr=3"] },
    cases: &[
        case("identity", "139C+ 9.1, PCI configuration space", registers::identity),
        case("BARs and their sizes", "139C+ 9.1, IOAR and MEMAR", registers::bars),
        case("registers at power-on", "139C 6, default values", registers::power_on),
        case("ports and memory are the same registers", "139C+ 9.1, IOAR and MEMAR", registers::both),
        case("registers can be read in parts", "139C 6, R/W registers", registers::widths),
        case("software reset", "139C 6.5 CR, RST", registers::soft_reset),
        case("the reset button", "139C 6, IDR loaded from the EEPROM", registers::reset),
        case("TCR: version and what can be written", "139C 6.8 TCR", registers::tcr),
        case("RCR: what can be written", "139C 6.9 RCR", registers::rcr),
        case("CONFIG registers are locked", "139C 6.10 9346CR, EEM", registers::lock),
        case("CONFIG5 is not", "139C+ 6, Config5", registers::config5),
        case("EEPROM by its wires", "139C 5, 93C46; 93C46B, READ", registers::eeprom),
        case("EEPROM is written", "93C46B, EWEN, WRITE, EWDS", registers::eeprom_write),
        case("the EEPROM is loaded", "139C 6.10 9346CR, EEM 01", registers::load),
        case(
            "ISR bits are cleared by ones, IMR lets them out",
            "139C 6.6 IMR, 6.7 ISR",
            registers::interrupts,
        ),
        case("TCTR counts at 33 MHz", "139C 6, TCTR", registers::timer),
        case("TimerInt", "139C 6, TimerInt; 6.7 ISR, TimeOut", registers::timer_int),
        case("PHY registers", "IEEE 802.3, 22.2.4; 139C 6.15 to 6.19", registers::phy),
        case("MSR: link", "139C 6.12 MSR", registers::msr),
        case("a packet in loopback", "139C 6.1 Rx header; 6.2 TSD; 6.8 TCR, LBK", ring::loopback),
        case("four buffers in turn", "139C 6.2 TSD, 6.20 TSAD", ring::buffers),
        case("which addresses are let in", "139C 6.9 RCR, AAP, APM, AM, AB; 6, MAR", ring::filters),
        case("nothing comes in while RE is off", "139C 6.5 CR, RE", ring::off),
        case("nothing goes out while TE is off", "139C 6.5 CR, TE", ring::tx_off),
        case("nothing moves while the bus is not the card's", "PCI 2.1, 6.2.2, bus master", ring::not_master),
        case("a packet at the ring's end", "139C 6.9 RCR, WRAP 0", ring::end),
        case("a packet goes on behind the ring's end", "139C 6.9 RCR, WRAP 1", ring::behind),
        case("the ring is full", "139C 6.7 ISR, RXOVW", ring::full),
        case("RCR is written while packets are there", "139C 6.9 RCR", ring::rcr_meanwhile),
        case("CAPR beyond what there is", "no document: what a driver must not do", ring::capr),
        case("a packet by descriptors", "139C+ 9, Tx and Rx descriptors", cplus::packet),
        case("a packet of two descriptors", "139C+ 9, FS and LS", cplus::pieces),
        case("rings end where EOR says", "139C+ 9, EOR", cplus::end_of_ring),
        case("no Rx descriptor", "139C+ 6, ISR, RDU", cplus::no_room),
        case("a packet over several Rx descriptors", "139C+ 9, FS and LS", cplus::spread),
        case("checksums are made", "139C+ 9, IPCS, UDPCS, TCPCS; RFC 1071", cplus::checksums),
        case("checksums are judged", "139C+ 9, PID, IPF, UDPF, TCPF", cplus::judged),
        case("a large packet is cut", "139C+ 9, LGSEN, MSS; RFC 793", cplus::segments),
        case("VLAN tags", "139C+ 9, TAGC, TAVA; 6, CPCR", cplus::tags),
        case("tally counters", "139C+ 6, DTCCR", cplus::tally),
        case("an interrupt on demand", "139C+ 6, TPPoll, FSWInt", cplus::software),
    ],
};

mod reg {
    pub const IDR: u16 = 0x00;
    pub const MAR: u16 = 0x08;
    pub const TSD: u16 = 0x10;
    pub const TSAD: u16 = 0x20;
    pub const RBSTART: u16 = 0x30;
    pub const CR: u16 = 0x37;
    pub const CAPR: u16 = 0x38;
    pub const CBR: u16 = 0x3a;
    pub const IMR: u16 = 0x3c;
    pub const ISR: u16 = 0x3e;
    pub const TCR: u16 = 0x40;
    pub const RCR: u16 = 0x44;
    pub const TCTR: u16 = 0x48;
    pub const MPC: u16 = 0x4c;
    pub const CFG9346: u16 = 0x50;
    pub const CONFIG0: u16 = 0x51;
    pub const CONFIG1: u16 = 0x52;
    pub const TIMER_INT: u16 = 0x54;
    pub const MSR: u16 = 0x58;
    pub const CONFIG3: u16 = 0x59;
    pub const CONFIG4: u16 = 0x5a;
    pub const TSAD_SUMMARY: u16 = 0x60;
    pub const BMCR: u16 = 0x62;
    pub const BMSR: u16 = 0x64;
    pub const ANAR: u16 = 0x66;
    pub const ANLPAR: u16 = 0x68;
    pub const ANER: u16 = 0x6a;
    pub const CSCR: u16 = 0x74;
    pub const CONFIG5: u16 = 0xd8;
    pub const TPPOLL: u16 = 0xd9;
    pub const CPCR: u16 = 0xe0;
    pub const RDSAR: u16 = 0xe4;
}

const BUFE: u8 = 1;
const TE: u8 = 4;
const RE: u8 = 8;
const RST: u8 = 0x10;

const ROK: u16 = 1;
const TOK: u16 = 4;
const RXOVW: u16 = 0x10;
const TIMEOUT: u16 = 0x4000;

/// RCR: what a driver sets beside the filter: burst without limit, no threshold, 8 KiB.
const RCR: u32 = 0xe700;
const AAP: u32 = 1;
const APM: u32 = 2;
const AM: u32 = 4;
const AB: u32 = 8;
/// TCR: gap, burst, both loopback bits.
const LOOPBACK: u32 = 0x0306_0600;

/// Puts the card at its place; it may use memory.
fn on(bench: &mut Bench<'_>) {
    bench.set_config(SLOT, 0, 0x10, Size::B4, PORTS.into());
    bench.set_config(SLOT, 0, 0x14, Size::B4, MEMORY as u32);
    bench.set_config(SLOT, 0, 4, Size::B2, 7);
}

/// Brings its interrupt to the 8259.
fn route(bench: &mut Bench<'_>) {
    bench.interrupts();
    for link in 0x60..0x64 {
        bench.set_config(1, 0, link, Size::B1, IRQ.into());
    }
}

fn get8(bench: &mut Bench<'_>, at: u16) -> u8 {
    bench.inb(PORTS + at)
}
fn get16(bench: &mut Bench<'_>, at: u16) -> u16 {
    bench.inw(PORTS + at)
}
fn get32(bench: &mut Bench<'_>, at: u16) -> u32 {
    bench.inl(PORTS + at)
}
fn set8(bench: &mut Bench<'_>, at: u16, value: u8) {
    bench.outb(PORTS + at, value);
}
fn set16(bench: &mut Bench<'_>, at: u16, value: u16) {
    bench.outw(PORTS + at, value);
}
fn set32(bench: &mut Bench<'_>, at: u16, value: u32) {
    bench.outl(PORTS + at, value);
}

/// What has happened, which is acknowledged.
fn events(bench: &mut Bench<'_>) -> u16 {
    let isr = get16(bench, reg::ISR);
    set16(bench, reg::ISR, isr);
    isr
}

/// A frame of so many bytes with contents of its own.
fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = [to, OTHER].concat();
    frame.extend([0x88, 0xb5]);
    frame.extend((frame.len()..len).map(|at| (at * 7 + len) as u8));
    frame
}

/// The check sequence (IEEE 802.3, 3.2.9).
fn fcs(frame: &[u8]) -> [u8; 4] {
    let crc = frame.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (crc & 1) * 0xedb8_8320)
    });
    (!crc).to_le_bytes()
}
