//! Requests, parsed from bytes that the frontend cannot change any more.

use super::spec::{
    INDIRECT_PAGES, INDIRECT_SEGMENTS, Layout, PAGE, PAGE_SECTORS, SECTOR, SEGMENT_LEN, SEGMENTS, op,
};

/// Part of a page that the frontend grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The grant.
    pub reference: u32,
    /// First byte in the page.
    pub offset: u16,
    /// Bytes, at least a sector.
    pub len: u16,
}

impl Segment {
    /// From eight bytes. None if it does not lie in a page.
    fn parse(raw: &[u8; SEGMENT_LEN]) -> Option<Segment> {
        let &[a, b, c, d, first, last, _, _] = raw;
        if first > last || last >= PAGE_SECTORS {
            return None;
        }
        let sectors = u16::from(last - first) + 1;
        Some(Segment {
            reference: u32::from_le_bytes([a, b, c, d]),
            offset: u16::from(first) * SECTOR as u16,
            len: sectors * SECTOR as u16,
        })
    }

    /// So many from bytes.
    pub fn parse_all(raw: &[u8], count: usize) -> Option<Vec<Segment>> {
        let (raw, _) = raw.as_chunks();
        raw.get(..count)?.iter().map(Segment::parse).collect()
    }
}

/// What a request wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Want {
    /// Medium to segments.
    Read(Vec<Segment>),
    /// Segments to medium.
    Write(Vec<Segment>),
    /// As `Read` or, if so said, as `Write`, with the segments in the pages of these grants.
    Indirect {
        /// Segments to medium.
        write: bool,
        /// How many segments there are.
        count: usize,
        /// The grants; as many as so many segments need.
        pages: Vec<u32>,
    },
    /// All that was written is to be safe; then as `Write`.
    Flush(Vec<Segment>),
    /// So many bytes do not matter any more.
    Discard {
        /// How many.
        len: u64,
        /// The frontend's flags.
        flags: u8,
    },
    /// Something that is not known.
    Unknown,
    /// Something that is known and makes no sense.
    Malformed,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The frontend's number for it, which goes into the response.
    pub id: u64,
    /// The operation that goes into the response: the frontend's, and of an indirect one what it stands for.
    /// Linux' blkfront takes no other, and gives the disk up.
    pub op: u8,
    /// First byte on the medium.
    pub offset: u64,
    /// What is to be done.
    pub want: Want,
}

/// Segments of a page.
const PER_PAGE: usize = PAGE / SEGMENT_LEN;

fn u64_at(raw: &[u8], at: usize) -> u64 {
    raw.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

impl Request {
    /// From a ring's entry.
    pub fn parse(layout: &Layout, raw: &[u8]) -> Request {
        let byte = |at: usize| raw.get(at).copied().unwrap_or_default();
        let op = byte(0);
        let second = byte(1);
        let sector = u64_at(raw, layout.sector);
        let want = parse_want(layout, raw, op, second);
        let op = if op == op::INDIRECT { second } else { op };
        // A sector beyond 2^55 is beyond every medium.
        let (offset, want) = match sector.checked_mul(SECTOR) {
            Some(offset) => (offset, want),
            None => (0, Want::Malformed),
        };
        Request { id: u64_at(raw, layout.id), op, offset, want }
    }
}

fn parse_want(layout: &Layout, raw: &[u8], op: u8, second: u8) -> Want {
    let segments = || {
        let count = usize::from(second);
        let raw = raw.get(layout.segments..).unwrap_or_default();
        Segment::parse_all(raw, count).filter(|_| count <= SEGMENTS)
    };
    let some = |segments: Option<Vec<Segment>>| segments.filter(|segments| !segments.is_empty());
    match op {
        op::READ => some(segments()).map_or(Want::Malformed, Want::Read),
        op::WRITE => some(segments()).map_or(Want::Malformed, Want::Write),
        op::FLUSH => segments().map_or(Want::Malformed, Want::Flush),
        op::DISCARD => match u64_at(raw, layout.discard_sectors).checked_mul(SECTOR) {
            Some(len) => Want::Discard { len, flags: second },
            None => Want::Malformed,
        },
        op::INDIRECT => parse_indirect(layout, raw, second),
        _ => Want::Unknown,
    }
}

fn parse_indirect(layout: &Layout, raw: &[u8], inner: u8) -> Want {
    let write = match inner {
        op::READ => false,
        op::WRITE => true,
        _ => return Want::Malformed,
    };
    let count =
        raw.get(2..).and_then(|rest| rest.first_chunk()).map_or(0, |count| u16::from_le_bytes(*count));
    let count = usize::from(count);
    if !(1..=INDIRECT_SEGMENTS).contains(&count) {
        return Want::Malformed;
    }
    let (references, _) = raw.get(layout.indirect_refs..).unwrap_or_default().as_chunks();
    let pages = references.iter().take(count.div_ceil(PER_PAGE).min(INDIRECT_PAGES));
    Want::Indirect { write, count, pages: pages.map(|reference| u32::from_le_bytes(*reference)).collect() }
}
