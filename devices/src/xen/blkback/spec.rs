//! Numbers and layouts of the block protocol (Xen's public `io/blkif.h`, `io/ring.h`, `io/xenbus.h`).

/// Bytes of a page.
pub const PAGE: usize = 4096;
/// Bytes of a sector in all fields of the protocol.
pub const SECTOR: u64 = 512;
/// Sectors of a page.
pub const PAGE_SECTORS: u8 = 8;

/// A ring's shared indices, and where its entries begin.
pub mod ring {
    pub const REQ_PROD: usize = 0;
    pub const REQ_EVENT: usize = 4;
    pub const RSP_PROD: usize = 8;
    pub const RSP_EVENT: usize = 12;
    pub const ENTRIES: usize = 64;
    /// Largest order of pages of a ring that we take.
    pub const ORDER_MAX: u32 = 4;
}

/// Operations.
pub mod op {
    pub const READ: u8 = 0;
    pub const WRITE: u8 = 1;
    pub const FLUSH: u8 = 3;
    pub const DISCARD: u8 = 5;
    pub const INDIRECT: u8 = 6;
}

/// A discard that must leave nothing behind, which we do not offer.
pub const DISCARD_SECURE: u8 = 1;

/// What became of a request.
pub mod status {
    pub const OKAY: i16 = 0;
    pub const ERROR: i16 = -1;
    pub const UNSUPPORTED: i16 = -2;
}

/// Segments in a request itself.
pub const SEGMENTS: usize = 11;
/// Most segments in the pages that a request refers to.
pub const INDIRECT_SEGMENTS: usize = 256;
/// Bytes of a segment.
pub const SEGMENT_LEN: usize = 8;
/// Pages of segments that a request can refer to.
pub const INDIRECT_PAGES: usize = 8;

/// Where the fields of requests lie for one kind of frontend. A request that is not described by its
/// segments has the first two fields in common with all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Bytes of a ring's entry.
    pub entry: usize,
    /// Bytes of a response.
    pub response: usize,
    /// The request's number, 64 bits.
    pub id: usize,
    /// First sector, 64 bits.
    pub sector: usize,
    /// First segment.
    pub segments: usize,
    /// Sectors of a discard, 64 bits.
    pub discard_sectors: usize,
    /// First of the references to pages of segments.
    pub indirect_refs: usize,
}

/// A 64-bit frontend: 64-bit fields are aligned to eight bytes.
pub const X86_64: Layout = Layout {
    entry: 112,
    response: 16,
    id: 8,
    sector: 16,
    segments: 24,
    discard_sectors: 24,
    indirect_refs: 28,
};

/// A 32-bit frontend: 64-bit fields are aligned to four.
pub const X86_32: Layout = Layout {
    entry: 108,
    response: 12,
    id: 4,
    sector: 12,
    segments: 20,
    discard_sectors: 20,
    indirect_refs: 24,
};

/// Bits of the backend's `info`.
pub mod info {
    pub const CDROM: u32 = 1;
    pub const REMOVABLE: u32 = 2;
    pub const READ_ONLY: u32 = 4;
}
