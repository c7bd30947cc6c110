//! Pages of L2 tables or of refcount blocks: as many as there is room for, the changed ones until they are written.

use std::collections::HashMap;
use std::io;

use super::spec::be64;

/// A page.
pub(super) struct Page {
    /// Its place in the file.
    pub(super) at: u64,
    /// The L1 entry that names its table; of no meaning for refcounts.
    pub(super) table: usize,
    pub(super) data: Vec<u8>,
    /// Not yet written.
    dirty: bool,
    /// Being written by a commit.
    saving: bool,
    used: bool,
}

impl Page {
    /// An entry of a table.
    pub(super) fn entry(&self, index: usize) -> u64 {
        be64(&self.data, index * 8)
    }

    /// Changes an entry.
    pub(super) fn set_entry(&mut self, index: usize, value: u64) {
        if let Some(entry) = self.data.get_mut(index * 8..index * 8 + 8) {
            entry.copy_from_slice(&value.to_be_bytes());
        }
    }
}

/// Writes a page.
pub(super) type Write<'w> = &'w dyn Fn(&Page) -> io::Result<()>;

/// A page as it is to be written.
pub(super) struct Copy {
    pub(super) at: u64,
    pub(super) table: usize,
    pub(super) data: Vec<u8>,
}

/// Bounded, but for pages that must be written before they may go.
pub(super) struct Cache {
    pages: Vec<Page>,
    index: HashMap<u64, usize>,
    hand: usize,
    capacity: usize,
    dirty: usize,
}

impl Cache {
    /// For so many pages.
    pub(super) fn new(capacity: usize) -> Cache {
        Cache { pages: Vec::new(), index: HashMap::new(), hand: 0, capacity: capacity.max(2), dirty: 0 }
    }

    /// Whether a commit should make pages clean before more come.
    pub(super) fn crowded(&self) -> bool {
        self.dirty * 4 >= self.capacity * 3
    }

    /// The page at `at`, if it is here.
    pub(super) fn find(&mut self, at: u64) -> Option<&mut Page> {
        let page = self.pages.get_mut(*self.index.get(&at)?)?;
        page.used = true;
        Some(page)
    }

    /// The page at `at`, which is here, to be changed.
    pub(super) fn alter(&mut self, at: u64) -> Option<&mut Page> {
        let page = self.pages.get_mut(*self.index.get(&at)?)?;
        if !page.dirty {
            page.dirty = true;
            self.dirty += 1;
        }
        Some(page)
    }

    /// The page at `at`. One that is not here is brought by `load`; `write` writes a page that has to go, where
    /// pages may be written at any time.
    pub(super) fn get(
        &mut self,
        at: u64,
        table: usize,
        load: impl FnOnce() -> io::Result<Vec<u8>>,
        write: Option<Write<'_>>,
    ) -> io::Result<&mut Page> {
        // Looked up twice, for a borrow that is returned may not end otherwise.
        if !self.index.contains_key(&at) {
            let data = load()?;
            self.make_room(write)?;
            self.index.insert(at, self.pages.len());
            self.pages.push(Page { at, table, data, dirty: false, saving: false, used: true });
        }
        self.find(at).ok_or_else(|| io::Error::other("a page that was lost"))
    }

    /// Lets go of pages that were not used of late until there is room, if any may go.
    fn make_room(&mut self, write: Option<Write<'_>>) -> io::Result<()> {
        let mut left = 2 * self.pages.len();
        while self.pages.len() >= self.capacity && left > 0 {
            left -= 1;
            self.hand = if self.hand + 1 < self.pages.len() { self.hand + 1 } else { 0 };
            let page = &mut self.pages[self.hand];
            if std::mem::take(&mut page.used) || page.saving || (page.dirty && write.is_none()) {
                continue;
            }
            if let (true, Some(write)) = (page.dirty, write) {
                write(page)?;
            }
            self.remove(self.hand);
        }
        Ok(())
    }

    fn remove(&mut self, slot: usize) {
        let gone = self.pages.swap_remove(slot);
        self.dirty -= usize::from(gone.dirty);
        self.index.remove(&gone.at);
        if let Some(moved) = self.pages.get(slot) {
            self.index.insert(moved.at, slot);
        }
    }

    /// Forgets the pages from `at` on, `len` bytes of the file.
    pub(super) fn forget(&mut self, at: u64, len: u64) {
        while let Some(slot) = self.pages.iter().position(|page| page.at >= at && page.at - at < len) {
            self.remove(slot);
        }
    }

    /// All that are to be written, for a commit. [`saved`](Cache::saved) ends it for each.
    pub(super) fn take_changed(&mut self) -> Vec<Copy> {
        self.dirty = 0;
        let changed = self.pages.iter_mut().filter(|page| page.dirty);
        let copy = |page: &mut Page| {
            (page.dirty, page.saving) = (false, true);
            Copy { at: page.at, table: page.table, data: page.data.clone() }
        };
        changed.map(copy).collect()
    }

    /// Writes all that are changed, by `write`, which may be at any time.
    pub(super) fn write_changed(&mut self, write: Write<'_>) -> io::Result<()> {
        if self.dirty == 0 {
            return Ok(());
        }
        for page in self.pages.iter_mut().filter(|page| page.dirty) {
            write(page)?;
            page.dirty = false;
            self.dirty -= 1;
        }
        Ok(())
    }

    /// A commit is over. If it failed its page is to be written again.
    pub(super) fn saved(&mut self, at: u64, done: bool) {
        if let Some(page) = self.index.get(&at).and_then(|slot| self.pages.get_mut(*slot)) {
            page.saving = false;
            if !done && !page.dirty {
                page.dirty = true;
                self.dirty += 1;
            }
        }
    }
}
