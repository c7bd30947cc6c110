//! Names and numbers of block devices (Virtio 1.3, 5.2).

/// Feature bits (5.2.3).
pub mod feature {
    /// At most so many buffers of data in a request.
    pub const SEG_MAX: u64 = 1 << 2;
    /// Cylinders, heads, sectors.
    pub const GEOMETRY: u64 = 1 << 4;
    /// The device takes no writes.
    pub const RO: u64 = 1 << 5;
    /// Bytes of a block.
    pub const BLK_SIZE: u64 = 1 << 6;
    /// The driver can flush.
    pub const FLUSH: u64 = 1 << 9;
    /// What sizes and alignments are best.
    pub const TOPOLOGY: u64 = 1 << 10;
    /// The driver can turn the write cache off.
    pub const CONFIG_WCE: u64 = 1 << 11;
    /// Several queues.
    pub const MQ: u64 = 1 << 12;
    /// Discard.
    pub const DISCARD: u64 = 1 << 13;
    /// Write zeroes.
    pub const WRITE_ZEROES: u64 = 1 << 14;
}

/// Where fields of the configuration are (5.2.4).
pub mod config {
    /// Sectors, 64 bits.
    pub const CAPACITY: usize = 0;
    /// Most buffers of a request.
    pub const SEG_MAX: usize = 12;
    /// Cylinders (16 bits), heads, sectors.
    pub const GEOMETRY: usize = 16;
    /// Bytes of a block.
    pub const BLK_SIZE: usize = 20;
    /// Logical blocks of a physical one, as a power of two.
    pub const PHYSICAL_BLOCK_EXP: usize = 24;
    /// Whether there is a write cache.
    pub const WRITEBACK: usize = 32;
    /// Queues, 16 bits.
    pub const NUM_QUEUES: usize = 34;
    /// Most sectors of a discard.
    pub const MAX_DISCARD_SECTORS: usize = 36;
    /// Most ranges of one.
    pub const MAX_DISCARD_SEG: usize = 40;
    /// What they are to be aligned to.
    pub const DISCARD_SECTOR_ALIGNMENT: usize = 44;
    /// Most sectors of a write of zeroes.
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    /// Most ranges of one.
    pub const MAX_WRITE_ZEROES_SEG: usize = 52;
    /// Whether one may give space back.
    pub const WRITE_ZEROES_MAY_UNMAP: usize = 56;
    /// Bytes of it all.
    pub const LEN: usize = 60;
}

/// Request types (5.2.6).
pub mod request {
    /// Read.
    pub const IN: u32 = 0;
    /// Write.
    pub const OUT: u32 = 1;
    /// Flush.
    pub const FLUSH: u32 = 4;
    /// The device's serial number.
    pub const GET_ID: u32 = 8;
    /// Discard.
    pub const DISCARD: u32 = 11;
    /// Write zeroes.
    pub const WRITE_ZEROES: u32 = 13;
    /// Flag of drivers of before version 1: what was asked for before comes first.
    pub const BARRIER: u32 = 1 << 31;
}

/// Status of a request (5.2.6).
pub mod status {
    /// Done.
    pub const OK: u8 = 0;
    /// It failed.
    pub const IOERR: u8 = 1;
    /// The device does not know it.
    pub const UNSUPP: u8 = 2;
}

/// Bytes of a request's head: type, priority, sector.
pub const HEAD: usize = 16;
/// Bytes of a range to discard or to zero: sector, sectors, flags.
pub const RANGE: usize = 16;
/// Flag of a range: the space may be given back.
pub const RANGE_UNMAP: u32 = 1;
/// Bytes of the serial number.
pub const ID_BYTES: usize = 20;
/// Most sectors of one discard: as many as QEMU takes.
pub const DISCARD_SECTORS: u32 = (i32::MAX as u32) >> 9;
/// Most sectors of one write of zeroes.
pub const ZERO_SECTORS: u32 = 0xffff;
/// Most sectors of it that are written at once, as any other data.
pub const ZERO_PIECE: u32 = 128;
