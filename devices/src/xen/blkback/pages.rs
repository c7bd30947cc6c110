//! The frontend's data: copied by grant, or through pages that it leaves mapped.

use std::collections::HashMap;

use vm_memory::Bytes;

use super::request::Segment;
use super::spec::PAGE;
use super::{GrantCopy, GrantError, GrantOps, Local, Mapping};

/// Most pages of a disk that stay mapped: each is a mapping of its own, of which a process has some
/// thousands. What is beyond is copied by grant.
pub const PERSISTENT: usize = 1056;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the frontend's pages to us.
    FromGuest,
    /// To the frontend's pages.
    ToGuest,
}

/// A queue's way to the frontend's pages.
pub struct DataPages {
    /// Pages that stay mapped, by their grant; none if the frontend does not leave grants standing.
    mapped: Option<HashMap<u32, Box<dyn Mapping>>>,
    /// Most of them.
    limit: usize,
}

impl DataPages {
    /// With so many grants that stand until the ring is closed; none: the frontend takes them back.
    pub fn new(limit: Option<usize>) -> DataPages {
        DataPages { mapped: limit.map(|_| HashMap::new()), limit: limit.unwrap_or(0) }
    }

    /// Moves bytes between segments and `buffer`, whose length is the sum of theirs.
    pub fn transfer(
        &mut self,
        host: &dyn GrantOps,
        segments: &[Segment],
        buffer: &mut [u8],
        way: Way,
    ) -> Result<(), GrantError> {
        let mut copies = Vec::new();
        let mut rest = buffer;
        for segment in segments {
            let len = usize::from(segment.len).min(rest.len());
            let (part, after) = std::mem::take(&mut rest).split_at_mut(len);
            rest = after;
            match self.page(host, segment.reference) {
                Some(page) => through(page, segment.offset, part, way)?,
                None => {
                    let local = match way {
                        Way::FromGuest => Local::Into(part),
                        Way::ToGuest => Local::From(part),
                    };
                    copies.push(GrantCopy { local, reference: segment.reference, offset: segment.offset });
                }
            }
        }
        if copies.is_empty() { Ok(()) } else { host.copy(&mut copies) }
    }

    /// The page of a grant that stands, mapped now if there is room.
    fn page(&mut self, host: &dyn GrantOps, reference: u32) -> Option<&dyn Mapping> {
        let mapped = self.mapped.as_mut()?;
        if !mapped.contains_key(&reference) && mapped.len() < self.limit {
            // A page that cannot be mapped for writing is one that does not stand: copied.
            let page = host.map(&[reference], true).ok()?;
            mapped.insert(reference, page);
        }
        mapped.get(&reference).map(|page| &**page)
    }

    /// Pages that are mapped.
    pub fn mapped(&self) -> usize {
        self.mapped.as_ref().map_or(0, HashMap::len)
    }
}

fn through(page: &dyn Mapping, offset: u16, part: &mut [u8], way: Way) -> Result<(), GrantError> {
    let slice = page.slice();
    let offset = usize::from(offset) % PAGE;
    match way {
        Way::FromGuest => slice.read_slice(part, offset),
        Way::ToGuest => slice.write_slice(part, offset),
    }
    .map_err(|error| GrantError(error.to_string()))
}
