//! Registers and descriptors, as Realtek's datasheets of the RTL8139C(L)+ and the RTL8139D name them.

/// Realtek.
pub const VENDOR: u16 = 0x10ec;
/// RTL8139.
pub const DEVICE: u16 = 0x8139;
/// The 8139C+, by which drivers tell it from those without descriptor rings.
pub const REVISION: u8 = 0x20;
/// Bytes of registers, in ports and in memory.
pub const REGISTERS_LEN: u64 = 256;

/// Offsets of the registers.
pub mod reg {
    /// Station address, 6 bytes.
    pub const IDR: u8 = 0x00;
    /// Multicast hash table, 8 bytes.
    pub const MAR: u8 = 0x08;
    /// Status of the four Tx buffers, 4 bytes each; in C+ mode DTCCR, 8 bytes.
    pub const TSD: u8 = 0x10;
    /// Addresses of the four Tx buffers, 4 bytes each; in C+ mode TNPDS and THPDS, 8 bytes each.
    pub const TSAD: u8 = 0x20;
    /// Rx ring's address.
    pub const RBSTART: u8 = 0x30;
    /// Command.
    pub const CR: u8 = 0x37;
    /// How far the driver has read, less 16.
    pub const CAPR: u8 = 0x38;
    /// How far the card has written.
    pub const CBR: u8 = 0x3a;
    /// Interrupt mask.
    pub const IMR: u8 = 0x3c;
    /// Interrupt status.
    pub const ISR: u8 = 0x3e;
    /// Tx configuration.
    pub const TCR: u8 = 0x40;
    /// Rx configuration.
    pub const RCR: u8 = 0x44;
    /// Counts up with the PCI clock.
    pub const TCTR: u8 = 0x48;
    /// Missed packets.
    pub const MPC: u8 = 0x4c;
    /// EEPROM and configuration lock.
    pub const CFG9346: u8 = 0x50;
    /// Configuration, a byte each.
    pub const CONFIG0: u8 = 0x51;
    pub const CONFIG1: u8 = 0x52;
    /// Where TCTR raises an interrupt.
    pub const TIMER_INT: u8 = 0x54;
    /// Media status.
    pub const MSR: u8 = 0x58;
    pub const CONFIG3: u8 = 0x59;
    pub const CONFIG4: u8 = 0x5a;
    /// Stops the card's clock.
    pub const HLTCLK: u8 = 0x5b;
    /// Early interrupts, 16 bits.
    pub const MULINT: u8 = 0x5c;
    /// The PCI revision again.
    pub const RERID: u8 = 0x5e;
    /// All TSD in short.
    pub const TSAD_SUMMARY: u8 = 0x60;
    /// MII registers of the PHY, 16 bits each.
    pub const BMCR: u8 = 0x62;
    pub const BMSR: u8 = 0x64;
    pub const ANAR: u8 = 0x66;
    pub const ANLPAR: u8 = 0x68;
    pub const ANER: u8 = 0x6a;
    /// Configuration and status of the PHY.
    pub const CSCR: u8 = 0x74;
    pub const CONFIG5: u8 = 0xd8;
    /// C+: looks at the Tx rings now.
    pub const TPPOLL: u8 = 0xd9;
    /// C+ command.
    pub const CPCR: u8 = 0xe0;
    /// C+ Rx ring, 8 bytes.
    pub const RDSAR: u8 = 0xe4;
    /// C+: largest packet to be sent, in units of 32 bytes.
    pub const MTPS: u8 = 0xec;
}

/// Command register.
pub mod cr {
    /// Rx ring is empty.
    pub const BUFE: u8 = 1 << 0;
    pub const TE: u8 = 1 << 2;
    pub const RE: u8 = 1 << 3;
    pub const RST: u8 = 1 << 4;
}

/// Interrupt status and mask.
pub mod int {
    pub const ROK: u16 = 1 << 0;
    pub const TOK: u16 = 1 << 2;
    pub const TER: u16 = 1 << 3;
    /// The Rx ring is full; in C+ mode RDU, no Rx descriptor is the card's.
    pub const RXOVW: u16 = 1 << 4;
    /// The link changed, or a CAPR was written that has no packet.
    pub const LINK: u16 = 1 << 5;
    /// In C+ mode, TDU: no Tx descriptor is the card's.
    pub const TDU: u16 = 1 << 7;
    /// C+: the driver asked for it by TPPoll.
    pub const SW: u16 = 1 << 8;
    pub const TIMEOUT: u16 = 1 << 14;
    /// An error on the PCI bus.
    pub const SERR: u16 = 1 << 15;
    /// Those that there are.
    pub const ALL: u16 = 0xe1ff;
}

/// Tx status of a buffer.
pub mod tsd {
    pub const SIZE: u32 = 0x1fff;
    /// The driver's.
    pub const OWN: u32 = 1 << 13;
    pub const TUN: u32 = 1 << 14;
    pub const TOK: u32 = 1 << 15;
    /// Early threshold, bits 16 to 21.
    pub const WRITABLE: u32 = 0x003f_0000 | SIZE | OWN;
    pub const TABT: u32 = 1 << 30;
}

/// Tx configuration.
pub mod tcr {
    /// Both: internal loopback.
    pub const LOOPBACK: u32 = 3 << 17;
    /// Retries, burst, CRC, loopback, interframe gap.
    pub const WRITABLE: u32 = 0x030f_07f0;
    /// 8139C+, as the chip's version number has it.
    pub const VERSION: u32 = 0x7480_0000;
}

/// Rx configuration.
pub mod rcr {
    /// Everything to one station.
    pub const AAP: u32 = 1 << 0;
    /// What is to this station.
    pub const APM: u32 = 1 << 1;
    /// Groups of the hash table.
    pub const AM: u32 = 1 << 2;
    pub const AB: u32 = 1 << 3;
    /// A packet that comes to the ring's end goes on behind it.
    pub const WRAP: u32 = 1 << 7;
    /// Length of the ring: 8 KiB to 64 KiB.
    pub const RBLEN_SHIFT: u32 = 11;
    pub const WRITABLE: u32 = 0x0f03_ffbf;
}

/// Header of a packet in the Rx ring: status, and in the high half the length with check sequence.
pub mod header {
    pub const ROK: u32 = 1 << 0;
    pub const BAR: u32 = 1 << 13;
    pub const PAM: u32 = 1 << 14;
    pub const MAR: u32 = 1 << 15;
}

/// EEPROM and lock, in CFG9346: what the two high bits choose, and the EEPROM's wires.
pub mod cfg9346 {
    pub const MODE: u8 = 0xc0;
    /// Loads the EEPROM into the registers.
    pub const LOAD: u8 = 0x40;
    /// The wires are the driver's.
    pub const PROGRAM: u8 = 0x80;
    /// CONFIG registers can be written.
    pub const UNLOCK: u8 = 0xc0;
    pub const EECS: u8 = 1 << 3;
    pub const EESK: u8 = 1 << 2;
    pub const EEDI: u8 = 1 << 1;
    pub const EEDO: u8 = 1 << 0;
    pub const WRITABLE: u8 = 0xce;
}

/// CONFIG registers: what they are at first, and which bits the driver can write.
pub mod config {
    /// Boot ROM size.
    pub const WRITABLE0: u8 = 0x07;
    /// Ports and memory are mapped.
    pub const INITIAL1: u8 = 0x0c;
    pub const WRITABLE1: u8 = 0xf3;
    /// Fast back-to-back.
    pub const INITIAL3: u8 = 0x01;
    pub const WRITABLE3: u8 = 0x70;
    pub const WRITABLE4: u8 = 0xf5;
    pub const WRITABLE5: u8 = 0x7f;
}

/// The PHY.
pub mod phy {
    /// BMCR: reset.
    pub const RESET: u16 = 1 << 15;
    /// 100 Mbit/s, autonegotiation, full duplex: what a driver can choose.
    pub const BMCR_WRITABLE: u16 = 0x3100;
    /// Autonegotiation.
    pub const BMCR: u16 = 0x1000;
    /// 10 and 100 Mbit/s, half and full duplex; autonegotiation, done; extended registers.
    pub const BMSR: u16 = 0x7829;
    pub const BMSR_LINK: u16 = 1 << 2;
    /// All of these, and pause.
    pub const ABILITIES: u16 = 0x05e1;
    /// The partner can negotiate.
    pub const ANER: u16 = 0x0001;
    /// Link, heartbeat, 100 Mbit/s.
    pub const CSCR: u16 = 0x0340;
    /// MSR: flow control both ways, auxiliary power.
    pub const MSR: u8 = 0xd0;
    /// MSR: no link.
    pub const MSR_LINKB: u8 = 1 << 2;
}

/// C+ command.
pub mod cpcr {
    pub const TX: u16 = 1 << 0;
    pub const RX: u16 = 1 << 1;
    /// Looks at checksums of what comes in.
    pub const RX_CHECKSUM: u16 = 1 << 5;
    /// Takes VLAN tags off.
    pub const RX_VLAN: u16 = 1 << 6;
    pub const WRITABLE: u16 = 0x007b;
}

/// TPPoll.
pub mod tppoll {
    /// The ring of normal priority has something to send.
    pub const NORMAL: u8 = 1 << 6;
    /// Raises an interrupt.
    pub const SW: u8 = 1 << 0;
}

/// DTCCR: dumps the tally counters; clears itself.
pub const DUMP: u32 = 1 << 3;

/// Descriptors of C+ mode: 16 bytes, of which the first word is `command`, the second `vlan`, the rest an address.
pub mod descriptor {
    pub const LEN: u64 = 16;
    /// The card's.
    pub const OWN: u32 = 1 << 31;
    /// The ring ends with it.
    pub const EOR: u32 = 1 << 30;
    pub const FS: u32 = 1 << 29;
    pub const LS: u32 = 1 << 28;

    /// Tx: to be cut into segments; bits 16 to 26 say how long.
    pub const LGSEN: u32 = 1 << 27;
    pub const MSS: u32 = 0x7ff;
    pub const MSS_SHIFT: u32 = 16;
    /// Tx: checksums to be made.
    pub const IPCS: u32 = 1 << 18;
    pub const UDPCS: u32 = 1 << 17;
    pub const TCPCS: u32 = 1 << 16;
    /// Tx: an error.
    pub const TES: u32 = 1 << 23;
    /// Tx: underrun, error, collision, no link, too many collisions.
    pub const TX_STATUS: u32 = 0x02f0_0000;
    /// Tx: put a tag in.
    pub const TAGC: u32 = 1 << 17;

    /// Rx: to a group, to this station, to all.
    pub const MAR: u32 = 1 << 26;
    pub const PAM: u32 = 1 << 25;
    pub const BAR: u32 = 1 << 24;
    /// Rx: TCP over IP, UDP over IP; both: IP alone.
    pub const TCP: u32 = 1 << 16;
    pub const UDP: u32 = 2 << 16;
    pub const IP: u32 = 3 << 16;
    pub const IPF: u32 = 1 << 15;
    pub const UDPF: u32 = 1 << 14;
    pub const TCPF: u32 = 1 << 13;
    /// Rx: bytes of the buffer, then of the packet with check sequence.
    pub const RX_SIZE: u32 = 0x1fff;
    /// Rx: a tag was taken off.
    pub const TAVA: u32 = 1 << 16;
}

/// Most descriptors of a ring without EOR. The datasheet has 64, QEMU any number.
pub const RING_MAX: u32 = 1024;
/// The rings' addresses are multiples of this.
pub const RING_ALIGN: u64 = 256;

/// Nanoseconds of a tick of TCTR: 33 MHz.
pub const TICK: u64 = 30;
