//! Registers and bits, by National's DP8390D data sheet and Realtek's RTL8029AS specification.

use bitflags::bitflags;

/// Realtek.
pub const VENDOR: u16 = 0x10ec;
/// RTL8029.
pub const DEVICE: u16 = 0x8029;
/// Bytes of BAR 0.
pub const PORTS_LEN: u64 = 256;

/// First port of the data port, 16 of them.
pub const DATA: u64 = 0x10;
/// Last of them that moves data.
pub const DATA_END: u64 = 0x17;
/// The reset port.
pub const RESET: u64 = 0x1f;
/// The reset port's first; all eight do the same.
pub const RESET_FIRST: u64 = 0x18;

/// Where the address PROM lies in the card's memory, and its bytes.
pub const PROM_LEN: usize = 32;
/// Where the packet memory begins.
pub const MEMORY: u16 = 0x4000;
/// Its bytes, with QEMU's size: a real NE2000 has half of it.
pub const MEMORY_LEN: usize = 0x8000;

/// Offset of the command register, on every page.
pub const CR: u64 = 0;

/// Page 0 when it is read.
pub mod page0r {
    /// Local DMA address.
    pub const CLDA0: u64 = 1;
    /// Likewise, high.
    pub const CLDA1: u64 = 2;
    /// Boundary.
    pub const BNRY: u64 = 3;
    /// Transmit status.
    pub const TSR: u64 = 4;
    /// Interrupt status.
    pub const ISR: u64 = 7;
    /// Remote DMA address.
    pub const CRDA0: u64 = 8;
    /// Likewise, high.
    pub const CRDA1: u64 = 9;
    /// RTL8029: `P`.
    pub const ID0: u64 = 0xa;
    /// RTL8029: `C`.
    pub const ID1: u64 = 0xb;
    /// Receive status.
    pub const RSR: u64 = 0xc;
}

/// Page 0 when it is written; page 2 shows the same when it is read, where it shows anything.
pub mod page0w {
    /// First page of the receive ring.
    pub const PSTART: u64 = 1;
    /// The page behind its last.
    pub const PSTOP: u64 = 2;
    /// Boundary.
    pub const BNRY: u64 = 3;
    /// Page of the packet to be sent.
    pub const TPSR: u64 = 4;
    /// Its length.
    pub const TBCR0: u64 = 5;
    /// Likewise, high.
    pub const TBCR1: u64 = 6;
    /// Interrupt status: ones clear.
    pub const ISR: u64 = 7;
    /// Remote DMA address.
    pub const RSAR0: u64 = 8;
    /// Likewise, high.
    pub const RSAR1: u64 = 9;
    /// Remote DMA count.
    pub const RBCR0: u64 = 0xa;
    /// Likewise, high.
    pub const RBCR1: u64 = 0xb;
    /// Receive configuration.
    pub const RCR: u64 = 0xc;
    /// Transmit configuration.
    pub const TCR: u64 = 0xd;
    /// Data configuration.
    pub const DCR: u64 = 0xe;
    /// Interrupt mask.
    pub const IMR: u64 = 0xf;
}

/// Page 1.
pub mod page1 {
    /// Station address, 6 bytes.
    pub const PAR: u64 = 1;
    /// Current page.
    pub const CURR: u64 = 7;
    /// Groups, 8 bytes.
    pub const MAR: u64 = 8;
}

/// Page 3 of an RTL8029.
pub mod page3 {
    /// Configuration 0.
    pub const CONFIG0: u64 = 3;
    /// Configuration 2.
    pub const CONFIG2: u64 = 5;
    /// Configuration 3.
    pub const CONFIG3: u64 = 6;
}

bitflags! {
    /// Command register.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Command: u8 {
        /// Stop.
        const STP = 0x01;
        /// Start.
        const STA = 0x02;
        /// A packet is being sent.
        const TXP = 0x04;
        /// Remote read.
        const READ = 0x08;
        /// Remote write.
        const WRITE = 0x10;
        /// No remote DMA.
        const NODMA = 0x20;
        /// Page.
        const PAGE = 0xc0;
    }

    /// Interrupt status and mask.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Interrupts: u8 {
        /// A packet was received.
        const PRX = 0x01;
        /// A packet was sent.
        const PTX = 0x02;
        /// Received with an error.
        const RXE = 0x04;
        /// Not sent.
        const TXE = 0x08;
        /// The ring is full.
        const OVW = 0x10;
        /// A counter is half full.
        const CNT = 0x20;
        /// Remote DMA is complete.
        const RDC = 0x40;
        /// The card is stopped. No interrupt.
        const RST = 0x80;
    }
}

/// RCR.
pub mod rcr {
    /// Broadcasts.
    pub const AB: u8 = 0x04;
    /// Groups in the hash table.
    pub const AM: u8 = 0x08;
    /// All frames to one station.
    pub const PRO: u8 = 0x10;
    /// Monitor: nothing is stored.
    pub const MON: u8 = 0x20;
}

/// TCR: loopback.
pub const TCR_LB: u8 = 0x06;
/// DCR: the data port moves words.
pub const DCR_WTS: u8 = 0x01;
/// TSR: a packet was sent.
pub const TSR_PTX: u8 = 0x01;
/// RSR: a packet was received.
pub const RSR_PRX: u8 = 0x01;
/// RSR: to a group.
pub const RSR_PHY: u8 = 0x20;
