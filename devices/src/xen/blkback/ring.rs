//! A ring of requests and responses in pages that the frontend shares.

use std::sync::atomic::{Ordering, fence};

use vm_memory::Bytes;

use super::Mapping;
use super::spec::{Layout, ring};

/// Our end of a ring. The frontend can write all of the pages at any time; nothing of theirs but the entry
/// that is asked for and the two indices that are the frontend's is ever read.
pub struct Ring {
    pages: Box<dyn Mapping>,
    layout: Layout,
    /// Entries, a power of two.
    size: u32,
    /// Requests that were taken.
    taken: u32,
    /// Responses that were put.
    put: u32,
    /// Responses that the frontend was shown.
    shown: u32,
}

/// The frontend's indices make no sense: it says that there are more requests than the ring has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

impl Ring {
    /// Over mapped pages; None if not even one entry fits in.
    pub fn new(pages: Box<dyn Mapping>, layout: Layout) -> Option<Ring> {
        let entries = pages.slice().len().checked_sub(ring::ENTRIES)? / layout.entry;
        let size = 1u32.checked_shl(u32::try_from(entries).ok()?.checked_ilog2()?)?;
        let mut ring = Ring { pages, layout, size, taken: 0, put: 0, shown: 0 };
        // A frontend that comes back to a ring in use goes on after the last response.
        let before = ring.load(ring::RSP_PROD);
        (ring.taken, ring.put, ring.shown) = (before, before, before);
        Some(ring)
    }

    /// Where fields of entries lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// For people.
    pub fn summary(&self) -> String {
        let Ring { size, taken, put, .. } = self;
        let [produced, asked, shown, wanted] =
            [ring::REQ_PROD, ring::REQ_EVENT, ring::RSP_PROD, ring::RSP_EVENT].map(|at| self.load(at));
        format!(
            "{size} entries, {taken} requests of {produced} (event at {asked}), \
             {put} responses, {shown} shown (event at {wanted})"
        )
    }

    fn load(&self, at: usize) -> u32 {
        // The indices lie in the first page.
        self.pages.slice().load(at, Ordering::Acquire).map_or(0, u32::from_le)
    }

    fn store(&self, at: usize, value: u32) {
        // As above.
        let _ = self.pages.slice().store(value.to_le(), at, Ordering::Release);
    }

    fn entry(&self, index: u32) -> usize {
        ring::ENTRIES + (index & (self.size - 1)) as usize * self.layout.entry
    }

    /// Copies the next request to `raw` and takes it. False: there is none now.
    pub fn take(&mut self, raw: &mut [u8]) -> Result<bool, Broken> {
        let produced = self.load(ring::REQ_PROD);
        if produced == self.taken {
            return Ok(false);
        }
        // Every request has room for its response.
        if produced.wrapping_sub(self.put) > self.size || produced.wrapping_sub(self.taken) > self.size {
            return Err(Broken);
        }
        let len = raw.len().min(self.layout.entry);
        let entry = self.pages.slice().read_slice(&mut raw[..len], self.entry(self.taken));
        entry.map_err(|_| Broken)?;
        self.taken = self.taken.wrapping_add(1);
        Ok(true)
    }

    /// Asks for an event at the next request. True: one came meanwhile, without an event.
    pub fn rest(&mut self) -> bool {
        self.store(ring::REQ_EVENT, self.taken.wrapping_add(1));
        fence(Ordering::SeqCst);
        self.load(ring::REQ_PROD) != self.taken
    }

    /// Puts a response, with zeros where it says nothing. The frontend is shown it by
    /// [`show`](Ring::show).
    pub fn put(&mut self, id: u64, op: u8, status: i16) {
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&id.to_le_bytes());
        raw[8] = op;
        raw[10..12].copy_from_slice(&status.to_le_bytes());
        let len = self.layout.response.min(raw.len());
        // Entries lie in the pages.
        let _ = self.pages.slice().write_slice(&raw[..len], self.entry(self.put));
        self.put = self.put.wrapping_add(1);
    }

    /// Shows the frontend the responses that were put. True: it wants an event.
    pub fn show(&mut self) -> bool {
        if self.put == self.shown {
            return false;
        }
        let before = std::mem::replace(&mut self.shown, self.put);
        self.store(ring::RSP_PROD, self.put);
        fence(Ordering::SeqCst);
        let wanted = self.load(ring::RSP_EVENT);
        self.put.wrapping_sub(wanted) < self.put.wrapping_sub(before)
    }
}
