//! Registers and bits, by Intel's "82574 GbE Controller Family Datasheet" (revision 3.4), chapters 6, 7 and 10: what
//! is there beside, or is otherwise than, in the 8254x.

pub use crate::net::e1000x::spec::{
    Cause, IOADDR, IODATA, MEMORY_LEN, RDTR_FPD, VENDOR, mdic, stat, tctl, txd,
};

/// 82574L.
pub const DEVICE: u16 = 0x10d3;
/// Bytes of BAR 1, the flash.
pub const FLASH_LEN: u64 = 128 << 10;
/// Bytes of BAR 2, IOADDR and IODATA.
pub const PORTS_LEN: u64 = 32;
/// Bytes of BAR 3, the MSI-X table and pending bits.
pub const MSIX_LEN: u64 = 16 << 10;
/// Vectors of MSI-X.
pub const VECTORS: usize = 5;
/// Queues of either direction.
pub const QUEUES: usize = 2;

/// Offsets of the registers in BAR 0.
pub mod reg {
    pub use crate::net::e1000x::spec::reg::*;

    /// CTRL once more.
    pub const CTRL_DUP: u32 = 0x0004;
    /// Flash access.
    pub const FLA: u32 = 0x001c;
    /// Causes that a message clears by itself.
    pub const EIAC: u32 = 0x00dc;
    /// Causes that are masked by themselves.
    pub const IAM: u32 = 0x00e0;
    /// Which cause has which vector.
    pub const IVAR: u32 = 0x00e4;
    /// Throttling of each vector: 256 ns.
    pub const EITR: u32 = 0x00e8;
    /// The last of these.
    pub const EITR_END: u32 = EITR + 4 * (super::VECTORS as u32 - 1);
    /// Extended configuration: who owns MDIO.
    pub const EXTCNF_CTRL: u32 = 0x0f00;
    /// Its size.
    pub const EXTCNF_SIZE: u32 = 0x0f08;
    /// The PHY's OEM bits.
    pub const POEMB: u32 = 0x0f10;
    /// Packet buffer size.
    pub const PBS: u32 = 0x1008;
    /// NVM access of management.
    pub const EEMNGCTL: u32 = 0x1010;
    /// Flash timer.
    pub const FLASHT: u32 = 0x1028;
    /// NVM write.
    pub const EEWR: u32 = 0x102c;
    /// Flash by software: control, data, counter, opcodes.
    pub const FLSWCTL: u32 = 0x1030;
    /// The last of these.
    pub const FLOP: u32 = 0x103c;
    /// What was loaded from flash.
    pub const FLOL: u32 = 0x1050;
    /// Sizes of split buffers.
    pub const PSRCTL: u32 = 0x2170;
    /// Receive descriptors of queue 1; registers as queue 0 has them.
    pub const RDBAL1: u32 = 0x2900;
    /// Its tail.
    pub const RDT1: u32 = 0x2918;
    /// Small packets: shorter than that.
    pub const RSRPD: u32 = 0x2c00;
    /// Delay of acknowledgements: 1024 ns.
    pub const RAID: u32 = 0x2c08;
    /// Transmit arbitration of queue 0.
    pub const TARC0: u32 = 0x3840;
    /// Transmit descriptors of queue 1; registers as queue 0 has them.
    pub const TDBAL1: u32 = 0x3900;
    /// Its head.
    pub const TDH1: u32 = 0x3910;
    /// Its tail.
    pub const TDT1: u32 = 0x3918;
    /// Transmit arbitration of queue 1.
    pub const TARC1: u32 = 0x3940;
    /// The last of the statistics, interrupts that were asserted.
    pub const IAC: u32 = super::stat::IAC;
    /// Receive filter control.
    pub const RFCTL: u32 = 0x5008;
    /// Management VLAN tags, to the fourth.
    pub const MAVTV0: u32 = 0x5010;
    /// The fourth.
    pub const MAVTV3: u32 = 0x501c;
    /// Several receive queues.
    pub const MRQC: u32 = 0x5818;
    /// Management filters valid.
    pub const MFVAL: u32 = 0x5824;
    /// Management ports 0 and 1.
    pub const MFUTP01: u32 = 0x5828;
    /// Management ports 2 and 3.
    pub const MFUTP23: u32 = 0x5830;
    /// Management to the host.
    pub const MANC2H: u32 = 0x5860;
    /// Management decisions: 8 words.
    pub const MDEF: u32 = 0x5890;
    /// The last.
    pub const MDEF_END: u32 = 0x58ac;
    /// PCI Express control.
    pub const GCR: u32 = 0x5b00;
    /// Function tag.
    pub const FUNCTAG: u32 = 0x5b08;
    /// PCI Express statistics, to the eighth.
    pub const GSCL_1: u32 = 0x5b10;
    /// The eighth.
    pub const GSCN_3: u32 = 0x5b2c;
    /// Function active and power state.
    pub const FACTPS: u32 = 0x5b30;
    /// Second software semaphore.
    pub const SWSM2: u32 = 0x5b58;
    /// Second PCI Express control.
    pub const GCR2: u32 = 0x5b64;
    /// Clears pending bits of MSI-X.
    pub const PBACLR: u32 = 0x5b68;
    /// Which hash goes to which queue: 128 bytes.
    pub const RETA: u32 = 0x5c00;
    /// Its last word.
    pub const RETA_END: u32 = 0x5c7c;
    /// The hash's key: 40 bytes.
    pub const RSSRK: u32 = 0x5c80;
    /// Its last word.
    pub const RSSRK_END: u32 = 0x5ca4;
    /// Flow control refresh.
    pub const FCRTV: u32 = 0x5f40;
    /// Time stamps: system time and what belongs to it.
    pub const SYSTIML: u32 = 0xb600;
    /// Type of messages with time stamps.
    pub const RXCFGL: u32 = 0xb634;
    /// The last of these: their UDP port.
    pub const RXUDP: u32 = 0xb638;
}

/// CTRL.
pub mod ctrl {
    pub use crate::net::e1000x::spec::ctrl::{FD, PHY_RST, RST, SLU, SPEED_1000, VME};

    /// No more requests on the bus are begun.
    pub const GIO_MASTER_DISABLE: u32 = 1 << 2;
    /// Speed.
    pub const SPEED: u32 = 3 << 8;
    /// CTRL.SPEED holds.
    pub const FRCSPD: u32 = 1 << 11;
    /// CTRL.FD holds.
    pub const FRCDPX: u32 = 1 << 12;
    /// After a reset: pins 0 and 2 are high.
    pub const INITIAL: u32 = SPEED_1000 | SLU | FD | 1 << 18 | 1 << 20;
}

/// CTRL_EXT.
pub mod ctrl_ext {
    /// Checks the speed once more; reads as 0.
    pub const ASDCHK: u32 = 1 << 12;
    /// Reads the NVM anew; reads as 0.
    pub const EE_RST: u32 = 1 << 13;
    /// CTRL.SPEED holds.
    pub const SPD_BYPS: u32 = 1 << 15;
    /// A message masks the causes of IAM that it tells.
    pub const EIAME: u32 = 1 << 24;
    /// Reading or writing ICR masks the causes of IAM.
    pub const IAME: u32 = 1 << 27;
    /// Unmasking everything tells what was held back.
    pub const TIMERS_CLEAR: u32 = 1 << 29;
    /// Unmasking a cause of MSI-X clears the pending bit of its vector.
    pub const PBA_CLR: u32 = 1 << 31;
}

/// STATUS.
pub mod status {
    pub use crate::net::e1000x::spec::status::LU;

    /// Full duplex.
    pub const FD: u32 = 1 << 0;
    /// Shift of the speed.
    pub const SPEED_SHIFT: u32 = 6;
    /// The PHY was reset; cleared by writing 0.
    pub const PHYRA: u32 = 1 << 10;
    /// Requests on the bus may be begun.
    pub const GIO_MASTER: u32 = 1 << 19;
    /// Initialized from the NVM, as the bit is called here.
    pub const INITIAL: u32 = 1 << 9;
}

/// EECD.
pub mod eecd {
    /// Access is asked for.
    pub const REQ: u32 = 1 << 6;
    /// And granted.
    pub const GNT: u32 = 1 << 7;
    /// An NVM is there.
    pub const PRES: u32 = 1 << 8;
    /// It was read after the reset.
    pub const AUTO_RD: u32 = 1 << 9;
    /// What software cannot set; the size is zero: 64 words.
    pub const READ_ONLY: u32 = GNT | PRES | AUTO_RD | 0xf << 11;
}

/// EERD and EEWR.
pub mod eerd {
    /// Begins.
    pub const START: u32 = 1 << 0;
    /// It is done.
    pub const DONE: u32 = 1 << 1;
    /// The word's number, 14 bits.
    pub const ADDRESS_SHIFT: u32 = 2;
    /// The word.
    pub const DATA_SHIFT: u32 = 16;
}

/// IVAR: four bits for each of RxQ0, RxQ1, TxQ0, TxQ1 and Other, in this order.
pub mod ivar {
    /// The vector, in three of them.
    pub const VECTOR: u32 = 7;
    /// There is a vector.
    pub const VALID: u32 = 8;
    /// Every transmit descriptor is written back, and told.
    pub const EVERY: u32 = 1 << 31;
}

impl Cause {
    /// Those that MSI-X tells by OTHER.
    pub const OTHERS: Cause = Cause::LSC
        .union(Cause::RXO)
        .union(Cause::MDAC)
        .union(Cause::SRPD)
        .union(Cause::ACK)
        .union(Cause::MNG);
    /// Those that can be unmasked.
    pub const MASKABLE: Cause = Cause::OTHERS
        .union(Cause::TXDW)
        .union(Cause::TXQE)
        .union(Cause::RXSEQ)
        .union(Cause::RXDMT0)
        .union(Cause::RXT0)
        .union(Cause::TXD_LOW)
        .union(Cause::MSIX);
    /// Those that have an entry in IVAR.
    pub const MSIX: Cause =
        Cause::RXQ0.union(Cause::RXQ1).union(Cause::TXQ0).union(Cause::TXQ1).union(Cause::OTHER);
}

/// ICR: there is a cause.
pub const ASSERTED: u32 = 1 << 31;

/// RCTL.
pub mod rctl {
    pub use crate::net::e1000x::spec::rctl::*;

    /// Type of descriptors: split packets.
    pub const DTYP_SPLIT: u32 = 1 << 10;
    /// Both bits of it.
    pub const DTYP: u32 = 3 << 10;
    /// Size of a buffer in KiB, if it is not 0.
    pub const FLXBUF_SHIFT: u32 = 27;
}

/// PSRCTL: sizes of the four buffers, in 128 bytes, then in KiB.
pub mod psrctl {
    /// Bits of each.
    pub const MASKS: [u32; 4] = [0x7f, 0x3f, 0x3f, 0x3f];
    /// Units of each.
    pub const UNITS: [usize; 4] = [128, 1024, 1024, 1024];
}

/// RFCTL.
pub mod rfctl {
    /// IPv6 is not recognized.
    pub const IPV6_DIS: u32 = 1 << 10;
    /// Checksums over IPv6 are not looked at.
    pub const IPV6_XSUM_DIS: u32 = 1 << 11;
    /// Acknowledgements are no cause.
    pub const ACK_DIS: u32 = 1 << 12;
    /// Those with data are none.
    pub const ACK_DATA_DIS: u32 = 1 << 13;
    /// Fragments are not split.
    pub const IPFRSP_DIS: u32 = 1 << 14;
    /// Descriptors are of the extended format.
    pub const EXTEN: u32 = 1 << 15;
    /// IPv6 packets with extension headers have no hash over TCP ports.
    pub const IPV6_EX_DIS: u32 = 1 << 16;
}

/// RXCSUM.
pub mod rxcsum {
    pub use crate::net::e1000x::spec::rxcsum::*;

    /// Descriptors have the hash in place of the packet checksum.
    pub const PCSD: u32 = 1 << 13;
}

/// MRQC.
pub mod mrqc {
    /// Which queues: 1 is by hash.
    pub const ENABLE: u32 = 3;
    /// By hash.
    pub const RSS: u32 = 1;
    /// TCP over IPv4.
    pub const TCP_V4: u32 = 1 << 16;
    /// IPv4.
    pub const V4: u32 = 1 << 17;
    /// TCP over IPv6.
    pub const TCP_V6: u32 = 1 << 18;
    /// IPv6 with extension headers.
    pub const V6_EX: u32 = 1 << 19;
    /// IPv6.
    pub const V6: u32 = 1 << 20;
}

/// TARC: the queue is on.
pub const TARC_ENABLE: u32 = 1 << 10;

/// A receive descriptor's status and errors in the extended format.
pub mod rxd {
    pub use crate::net::e1000x::spec::rxd::*;

    /// The UDP checksum was looked at.
    pub const UDPCS: u32 = 1 << 4;
    /// The IP identification is there.
    pub const IPIDV: u32 = 1 << 9;
    /// A TCP acknowledgement.
    pub const ACK: u32 = 1 << 15;
    /// Type of the packet: 1 is IPv4, 2 with TCP or UDP, 5 is IPv6, 6 with those.
    pub const TYPE_SHIFT: u32 = 16;
    /// Split packets: the header is in the first buffer.
    pub const HDRSP: u16 = 1 << 15;
}
