//! Registers and bits, by Intel's "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's
//! Manual" (317453), chapters 3, 5, 13 and 14.

use bitflags::bitflags;

/// Intel.
pub const VENDOR: u16 = 0x8086;
/// Bytes of BAR 0, the registers.
pub const MEMORY_LEN: u64 = 128 << 10;
/// Bytes of BAR 1, IOADDR and IODATA.
pub const PORTS_LEN: u64 = 64;
/// Offsets in BAR 1.
pub const IOADDR: u64 = 0;
/// The register that IOADDR names.
pub const IODATA: u64 = 4;

/// Offsets of the registers in BAR 0.
pub mod reg {
    /// Device control.
    pub const CTRL: u32 = 0x0000;
    /// Device status.
    pub const STATUS: u32 = 0x0008;
    /// EEPROM and flash control: the wires of the EEPROM.
    pub const EECD: u32 = 0x0010;
    /// EEPROM read.
    pub const EERD: u32 = 0x0014;
    /// Extended device control.
    pub const CTRL_EXT: u32 = 0x0018;
    /// MDI control: the registers of the PHY.
    pub const MDIC: u32 = 0x0020;
    /// Flow control address, low.
    pub const FCAL: u32 = 0x0028;
    /// Flow control address, high.
    pub const FCAH: u32 = 0x002c;
    /// Flow control type.
    pub const FCT: u32 = 0x0030;
    /// Type of a tagged frame.
    pub const VET: u32 = 0x0038;
    /// Interrupt causes: reading clears them.
    pub const ICR: u32 = 0x00c0;
    /// Interrupt throttling: 256 ns.
    pub const ITR: u32 = 0x00c4;
    /// Sets interrupt causes.
    pub const ICS: u32 = 0x00c8;
    /// Interrupt mask, and sets bits of it.
    pub const IMS: u32 = 0x00d0;
    /// Clears bits of the interrupt mask.
    pub const IMC: u32 = 0x00d8;
    /// Receive control.
    pub const RCTL: u32 = 0x0100;
    /// Flow control transmit timer.
    pub const FCTTV: u32 = 0x0170;
    /// Transmit configuration word.
    pub const TXCW: u32 = 0x0178;
    /// Transmit control.
    pub const TCTL: u32 = 0x0400;
    /// Transmit inter-packet gap.
    pub const TIPG: u32 = 0x0410;
    /// Adaptive inter-frame spacing.
    pub const AIFS: u32 = 0x0458;
    /// LEDs.
    pub const LEDCTL: u32 = 0x0e00;
    /// Packet buffer allocation.
    pub const PBA: u32 = 0x1000;
    /// Flow control thresholds.
    pub const FCRTL: u32 = 0x2160;
    /// Likewise, high.
    pub const FCRTH: u32 = 0x2168;
    /// Receive data FIFO, for diagnosis: head, tail, saved head and tail, packet count, 8 bytes apart.
    pub const RDFH: u32 = 0x2410;
    /// The last of these.
    pub const RDFPC: u32 = 0x2430;
    /// Receive descriptors: base, low.
    pub const RDBAL: u32 = 0x2800;
    /// Base, high.
    pub const RDBAH: u32 = 0x2804;
    /// Bytes.
    pub const RDLEN: u32 = 0x2808;
    /// Head.
    pub const RDH: u32 = 0x2810;
    /// Tail.
    pub const RDT: u32 = 0x2818;
    /// Receive delay timer: 1024 ns.
    pub const RDTR: u32 = 0x2820;
    /// Receive descriptor control.
    pub const RXDCTL: u32 = 0x2828;
    /// Receive absolute delay timer: 1024 ns.
    pub const RADV: u32 = 0x282c;
    /// Transmit data FIFO, for diagnosis, as that of the receiver.
    pub const TDFH: u32 = 0x3410;
    /// The last of these.
    pub const TDFPC: u32 = 0x3430;
    /// Transmit descriptors: base, low.
    pub const TDBAL: u32 = 0x3800;
    /// Base, high.
    pub const TDBAH: u32 = 0x3804;
    /// Bytes.
    pub const TDLEN: u32 = 0x3808;
    /// Head.
    pub const TDH: u32 = 0x3810;
    /// Tail.
    pub const TDT: u32 = 0x3818;
    /// Transmit delay timer: 1024 ns.
    pub const TIDV: u32 = 0x3820;
    /// Transmit descriptor control.
    pub const TXDCTL: u32 = 0x3828;
    /// Transmit absolute delay timer: 1024 ns.
    pub const TADV: u32 = 0x382c;
    /// TCP segmentation padding and threshold.
    pub const TSPMT: u32 = 0x3830;
    /// Statistics: the first and the last.
    pub const STATISTICS: u32 = 0x4000;
    /// The last.
    pub const STATISTICS_END: u32 = 0x40fc;
    /// Receive checksum control.
    pub const RXCSUM: u32 = 0x5000;
    /// Multicast table: 128 words.
    pub const MTA: u32 = 0x5200;
    /// Its last.
    pub const MTA_END: u32 = 0x53fc;
    /// Receive addresses: 16 pairs.
    pub const RA: u32 = 0x5400;
    /// The last word of these.
    pub const RA_END: u32 = 0x547c;
    /// VLAN filter table: 128 words.
    pub const VFTA: u32 = 0x5600;
    /// Its last.
    pub const VFTA_END: u32 = 0x57fc;
    /// Wake-up control.
    pub const WUC: u32 = 0x5800;
    /// Wake-up filter control.
    pub const WUFC: u32 = 0x5808;
    /// Wake-up status.
    pub const WUS: u32 = 0x5810;
    /// Management control.
    pub const MANC: u32 = 0x5820;
    /// IP addresses valid.
    pub const IPAV: u32 = 0x5838;
    /// IPv4 addresses: 4 pairs.
    pub const IP4AT: u32 = 0x5840;
    /// Their last word that is not reserved.
    pub const IP4AT_END: u32 = 0x5858;
    /// IPv6 address: 4 words.
    pub const IP6AT: u32 = 0x5880;
    /// Its last.
    pub const IP6AT_END: u32 = 0x588c;
    /// Wake-up packet: 32 words.
    pub const WUPM: u32 = 0x5a00;
    /// Its last.
    pub const WUPM_END: u32 = 0x5a7c;
    /// Software semaphore.
    pub const SWSM: u32 = 0x5b50;
    /// Lengths of the flexible filters, 8 bytes apart.
    pub const FFLT: u32 = 0x5f00;
    /// The last.
    pub const FFLT_END: u32 = 0x5f18;
    /// Masks of the flexible filters, 8 bytes apart.
    pub const FFMT: u32 = 0x9000;
    /// The last.
    pub const FFMT_END: u32 = 0x93f8;
    /// Values of the flexible filters, 8 bytes apart.
    pub const FFVT: u32 = 0x9800;
    /// The last.
    pub const FFVT_END: u32 = 0x9bf8;
}

/// Statistics registers.
pub mod stat {
    /// Missed packets.
    pub const MPC: u32 = 0x4010;
    /// Packets received of 64 bytes, then 65 to 127, and so on; 6 registers.
    pub const PRC64: u32 = 0x405c;
    /// Good packets received.
    pub const GPRC: u32 = 0x4074;
    /// Broadcasts received.
    pub const BPRC: u32 = 0x4078;
    /// Multicasts received.
    pub const MPRC: u32 = 0x407c;
    /// Good packets transmitted.
    pub const GPTC: u32 = 0x4080;
    /// Good octets received, low and high.
    pub const GORCL: u32 = 0x4088;
    /// Good octets transmitted.
    pub const GOTCL: u32 = 0x4090;
    /// Received with no buffer.
    pub const RNBC: u32 = 0x40a0;
    /// Received too long.
    pub const ROC: u32 = 0x40ac;
    /// Octets received.
    pub const TORL: u32 = 0x40c0;
    /// Octets transmitted.
    pub const TOTL: u32 = 0x40c8;
    /// Packets received.
    pub const TPR: u32 = 0x40d0;
    /// Packets transmitted.
    pub const TPT: u32 = 0x40d4;
    /// Packets transmitted of 64 bytes, then 65 to 127, and so on; 6 registers.
    pub const PTC64: u32 = 0x40d8;
    /// Multicasts transmitted.
    pub const MPTC: u32 = 0x40f0;
    /// Broadcasts transmitted.
    pub const BPTC: u32 = 0x40f4;
    /// Interrupts that were asserted, of the 82574.
    pub const IAC: u32 = 0x4100;
    /// TCP segmentations done.
    pub const TSCTC: u32 = 0x40f8;
}

/// CTRL.
pub mod ctrl {
    /// Full duplex.
    pub const FD: u32 = 1 << 0;
    /// Set link up.
    pub const SLU: u32 = 1 << 6;
    /// 1000 Mbit/s.
    pub const SPEED_1000: u32 = 2 << 8;
    /// Resets the controller; reads as 0.
    pub const RST: u32 = 1 << 26;
    /// VLAN mode: tags are taken off and put on.
    pub const VME: u32 = 1 << 30;
    /// Resets the PHY.
    pub const PHY_RST: u32 = 1 << 31;
    /// After a reset, as the EEPROM has it and the pins stand.
    pub const INITIAL: u32 = SPEED_1000 | SLU | 1 << 18 | 1 << 20;
}

/// STATUS.
pub mod status {
    /// The link is up.
    pub const LU: u32 = 1 << 1;
    /// Full duplex, 1000 Mbit/s by both ways of telling, the transmit clock runs; as QEMU shows it.
    pub const INITIAL: u32 = 0x8008_0781;
}

/// EECD: the wires of the EEPROM.
pub mod eecd {
    /// Clock.
    pub const SK: u32 = 1 << 0;
    /// Chip select.
    pub const CS: u32 = 1 << 1;
    /// To the chip.
    pub const DI: u32 = 1 << 2;
    /// From the chip.
    pub const DO: u32 = 1 << 3;
    /// What software can set: the wires, flash write enable, request.
    pub const WRITABLE: u32 = SK | CS | DI | 3 << 4 | 1 << 6;
    /// Granted.
    pub const GNT: u32 = 1 << 7;
    /// An EEPROM is there.
    pub const PRES: u32 = 1 << 8;
}

/// EERD.
pub mod eerd {
    /// Begins a read.
    pub const START: u32 = 1 << 0;
    /// It is done.
    pub const DONE: u32 = 1 << 4;
    /// The word's number.
    pub const ADDRESS_SHIFT: u32 = 8;
    /// The word.
    pub const DATA_SHIFT: u32 = 16;
}

/// CTRL_EXT: reads the EEPROM anew, reads as 0.
pub const CTRL_EXT_EE_RST: u32 = 1 << 13;

/// MDIC.
pub mod mdic {
    /// The register's number.
    pub const REGISTER_SHIFT: u32 = 16;
    /// The PHY's address.
    pub const PHY_SHIFT: u32 = 21;
    /// The only PHY that there is.
    pub const PHY: u32 = 1;
    /// Writes.
    pub const WRITE: u32 = 1 << 26;
    /// Reads.
    pub const READ: u32 = 2 << 26;
    /// Done.
    pub const READY: u32 = 1 << 28;
    /// An interrupt is wanted at the end.
    pub const INTERRUPT: u32 = 1 << 29;
    /// No PHY answered.
    pub const ERROR: u32 = 1 << 30;
}

bitflags! {
    /// Interrupt causes.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct Cause: u32 {
        /// A transmit descriptor was written back.
        const TXDW = 1 << 0;
        /// A transmit ring is empty.
        const TXQE = 1 << 1;
        /// The link changed.
        const LSC = 1 << 2;
        /// Reserved; drivers try messages by it.
        const RXSEQ = 1 << 3;
        /// Few receive descriptors are left.
        const RXDMT0 = 1 << 4;
        /// A frame was lost.
        const RXO = 1 << 6;
        /// Frames were received.
        const RXT0 = 1 << 7;
        /// An MDIC access is done.
        const MDAC = 1 << 9;
        /// Few transmit descriptors are left.
        const TXD_LOW = 1 << 15;
        /// A small packet was received.
        const SRPD = 1 << 16;
        /// A TCP acknowledgement was received.
        const ACK = 1 << 17;
        /// Management.
        const MNG = 1 << 18;
        /// MSI-X: receive queue 0.
        const RXQ0 = 1 << 20;
        /// MSI-X: receive queue 1.
        const RXQ1 = 1 << 21;
        /// MSI-X: transmit queue 0.
        const TXQ0 = 1 << 22;
        /// MSI-X: transmit queue 1.
        const TXQ1 = 1 << 23;
        /// MSI-X: one of the others.
        const OTHER = 1 << 24;
        const _ = !0;
    }
}

/// RCTL.
pub mod rctl {
    /// On.
    pub const EN: u32 = 1 << 1;
    /// Bad packets are stored.
    pub const SBP: u32 = 1 << 2;
    /// All frames to one station.
    pub const UPE: u32 = 1 << 3;
    /// All frames to groups.
    pub const MPE: u32 = 1 << 4;
    /// Long packets.
    pub const LPE: u32 = 1 << 5;
    /// Loopback.
    pub const LBM: u32 = 3 << 6;
    /// Which part of the ring is few, from 1/2 down.
    pub const RDMTS_SHIFT: u32 = 8;
    /// Which bits of an address are its number in the multicast table.
    pub const MO_SHIFT: u32 = 12;
    /// Frames to all.
    pub const BAM: u32 = 1 << 15;
    /// Size of a buffer, from 2048 down.
    pub const BSIZE_SHIFT: u32 = 16;
    /// VLAN filter.
    pub const VFE: u32 = 1 << 18;
    /// The canonical form indicator is compared.
    pub const CFIEN: u32 = 1 << 19;
    /// With this.
    pub const CFI: u32 = 1 << 20;
    /// Buffers are 16 times as large.
    pub const BSEX: u32 = 1 << 25;
    /// The check sequence is taken off.
    pub const SECRC: u32 = 1 << 26;
}

/// RAH: the address is valid.
pub const RAH_AV: u32 = 1 << 31;

/// RDTR: what was held back is told now; reads as 0.
pub const RDTR_FPD: u32 = 1 << 31;

/// RXCSUM.
pub mod rxcsum {
    /// IP checksums are looked at.
    pub const IPOFLD: u32 = 1 << 8;
    /// TCP and UDP checksums are.
    pub const TUOFLD: u32 = 1 << 9;
}

/// TCTL.
pub mod tctl {
    /// On.
    pub const EN: u32 = 1 << 1;
    /// Short packets are filled up.
    pub const PSP: u32 = 1 << 3;
}

/// Bytes of a descriptor.
pub const DESCRIPTOR: u64 = 16;

/// A receive descriptor's status, in the lowest byte of its last words, and errors, in the highest.
pub mod rxd {
    /// Done.
    pub const DD: u32 = 1 << 0;
    /// The frame's last.
    pub const EOP: u32 = 1 << 1;
    /// The other checksum bits mean nothing.
    pub const IXSM: u32 = 1 << 2;
    /// It had a VLAN tag.
    pub const VP: u32 = 1 << 3;
    /// The TCP or UDP checksum was looked at.
    pub const TCPCS: u32 = 1 << 5;
    /// The IP checksum was.
    pub const IPCS: u32 = 1 << 6;
    /// Error: the TCP or UDP checksum is wrong.
    pub const TCPE: u32 = 1 << 29;
    /// Error: the IP checksum is.
    pub const IPE: u32 = 1 << 30;
}

/// A transmit descriptor's second word: commands and type.
pub mod txd {
    /// Type of an extended descriptor: data (0 is context).
    pub const DATA: u32 = 1 << 20;
    /// End of packet.
    pub const EOP: u32 = 1 << 24;
    /// Legacy: insert a checksum.
    pub const IC: u32 = 1 << 26;
    /// Data: segmentation. Likewise of a context.
    pub const TSE: u32 = 1 << 26;
    /// Context: the packet is TCP.
    pub const TCP: u32 = 1 << 24;
    /// Context: the packet is IPv4.
    pub const IP: u32 = 1 << 25;
    /// Report status.
    pub const RS: u32 = 1 << 27;
    /// Report packet sent.
    pub const RPS: u32 = 1 << 28;
    /// The descriptor is of the extended format.
    pub const DEXT: u32 = 1 << 29;
    /// Insert a VLAN tag.
    pub const VLE: u32 = 1 << 30;
    /// The interrupt may wait.
    pub const IDE: u32 = 1 << 31;
    /// Third word: done.
    pub const DD: u32 = 1 << 0;
    /// Third word: excess and late collisions, underrun.
    pub const TROUBLE: u32 = 7 << 1;
    /// Options of a data descriptor: insert the IP checksum.
    pub const IXSM: u8 = 1 << 0;
    /// Insert the TCP or UDP checksum.
    pub const TXSM: u8 = 1 << 1;
}
