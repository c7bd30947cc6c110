//! Who wrote to a page since it was last asked, and which pages hold code.

use std::ops::RangeInclusive;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

use vm_memory::bitmap::{Bitmap, NewBitmap, RefSlice, WithBitmapSlice};

use super::PAGE;

/// Marks what was written where this process does not see it.
type BringIn = Box<dyn Fn(&PageTrack, DirtyLog) + Send + Sync>;

/// What happened to each page of a block: two dirty logs with separate readers, and whether a CPU keeps
/// decoded code of it. Every write through vm-memory lands here; the software CPU calls [`PageTrack::touch`].
#[derive(Default)]
pub struct PageTrack {
    flags: Box<[AtomicU8]>,
    generation: Box<[AtomicU32]>,
    fetched: OnceLock<BringIn>,
    taken: OnceLock<Box<dyn Fn() + Send + Sync>>,
    written: OnceLock<Box<dyn Fn(RangeInclusive<usize>) + Send + Sync>>,
    code_written: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl std::fmt::Debug for PageTrack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PageTrack").field("pages", &self.pages()).finish_non_exhaustive()
    }
}

/// Reader of a dirty log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum DirtyLog {
    /// Save and migration.
    Migration = 1,
    /// The display's refresh.
    Display = 2,
}

impl PageTrack {
    const CODE: u8 = 0x80;
    const TRANSLATED: u8 = 0x40;
    const DIRTY: u8 = DirtyLog::Migration as u8 | DirtyLog::Display as u8;

    /// Number of pages.
    pub fn pages(&self) -> usize {
        self.flags.len()
    }

    /// Marks one page written. Out of range is ignored.
    pub fn touch(&self, page: usize) {
        let Some(flags) = self.flags.get(page) else { return };
        let seen = flags.load(Ordering::Acquire);
        if seen & Self::DIRTY != Self::DIRTY {
            flags.fetch_or(Self::DIRTY, Ordering::Release);
        }
        if seen & Self::CODE != 0 {
            // Before the mark is looked at: who sets it looks at the counter afterwards.
            self.generation[page].fetch_add(1, Ordering::SeqCst);
            let marked = flags.load(Ordering::SeqCst) & Self::TRANSLATED != 0;
            if marked
                && flags.fetch_and(!Self::TRANSLATED, Ordering::SeqCst) & Self::TRANSLATED != 0
                && let Some(tell) = self.code_written.get()
            {
                tell();
            }
        }
    }

    /// Marks every page of a byte range written.
    pub fn touch_range(&self, offset: usize, len: usize) {
        if len == 0 {
            return;
        }
        let first = offset / PAGE as usize;
        let last = offset.saturating_add(len - 1) / PAGE as usize;
        for page in first..=last.min(self.pages().saturating_sub(1)) {
            self.touch(page);
        }
    }

    /// Says that a CPU holds decoded code of this page; true if it did not before. From now on each
    /// write changes [`generation`](PageTrack::generation).
    pub fn mark_code(&self, page: usize) -> bool {
        self.flags.get(page).is_some_and(|f| f.fetch_or(Self::CODE, Ordering::AcqRel) & Self::CODE == 0)
    }

    /// Says that a CPU runs translated code of this page, which it marked as code: the next write is told to whom
    /// [`on_code_written`](PageTrack::on_code_written) named, once. [`generation`](PageTrack::generation) read after
    /// this call tells of the writes before it.
    ///
    /// A write of which somebody is being told just now may still take the mark off: who is told marks again what it goes
    /// on with.
    pub fn mark_translated(&self, page: usize) {
        let Some(flags) = self.flags.get(page) else { return };
        if flags.load(Ordering::SeqCst) & Self::TRANSLATED == 0 {
            flags.fetch_or(Self::TRANSLATED, Ordering::SeqCst);
        }
    }

    /// Whether a CPU holds decoded code of this page.
    pub fn is_code(&self, page: usize) -> bool {
        self.flags.get(page).is_some_and(|f| f.load(Ordering::Acquire) & Self::CODE != 0)
    }

    /// Whether all dirty logs have this page already, so that a further write need not be told.
    pub fn is_dirty_in_all(&self, page: usize) -> bool {
        self.flags.get(page).is_some_and(|f| f.load(Ordering::Acquire) & Self::DIRTY == Self::DIRTY)
    }

    /// The counter that each write to a page that holds code changes. None out of range.
    pub fn generation(&self, page: usize) -> Option<&AtomicU32> {
        self.generation.get(page)
    }

    /// The pages that were written since this log's reader last fetched it, which begins anew.
    pub fn fetch_dirty(&self, log: DirtyLog) -> Vec<usize> {
        if let Some(bring_in) = self.fetched.get() {
            bring_in(self, log);
        }
        let is_dirty = |page: &usize| {
            let flags = self.flags.get(*page);
            flags.is_some_and(|f| f.load(Ordering::Acquire) & log as u8 != 0)
        };
        let pages: Vec<usize> = (0..self.pages()).filter(is_dirty).collect();
        for flags in pages.iter().filter_map(|page| self.flags.get(*page)) {
            flags.fetch_and(!(log as u8), Ordering::AcqRel);
        }
        if !pages.is_empty()
            && let Some(tell) = self.taken.get()
        {
            tell();
        }
        pages
    }

    /// Who marks, once, what a CPU elsewhere has written, before a log is fetched. Called from the reader's thread.
    pub fn on_fetch(&self, bring_in: impl Fn(&PageTrack, DirtyLog) + Send + Sync + 'static) {
        // A second one is not wanted: one hypervisor owns the block.
        let _ = self.fetched.set(Box::new(bring_in));
    }

    /// Whom to tell, once, that a log was fetched: a CPU that writes to pages known to be dirty without a word
    /// must look again. Called after pages were taken, from the reader's thread; must be quick.
    pub fn on_take(&self, tell: impl Fn() + Send + Sync + 'static) {
        // A second one is not wanted: one hypervisor owns the block.
        let _ = self.taken.set(Box::new(tell));
    }

    /// Whom to tell, once, that a page with translated code was written. Called from the writer's thread, after the write;
    /// must be quick.
    pub fn on_code_written(&self, tell: impl Fn() + Send + Sync + 'static) {
        // A second one is not wanted: one hypervisor owns the block.
        let _ = self.code_written.set(Box::new(tell));
    }

    /// Whom to tell, once, of every write by the device model to pages that a CPU elsewhere runs on. Called from the
    /// writer's thread, after the write.
    pub fn on_write(&self, tell: impl Fn(RangeInclusive<usize>) + Send + Sync + 'static) {
        // A second one is not wanted: one hypervisor owns the block.
        let _ = self.written.set(Box::new(tell));
    }
}

impl<'a> WithBitmapSlice<'a> for PageTrack {
    type S = RefSlice<'a, PageTrack>;
}

impl Bitmap for PageTrack {
    fn mark_dirty(&self, offset: usize, len: usize) {
        self.touch_range(offset, len);
        if let (Some(tell), Some(last)) = (self.written.get(), len.checked_sub(1)) {
            tell(offset / PAGE as usize..=offset.saturating_add(last) / PAGE as usize);
        }
    }
    fn dirty_at(&self, offset: usize) -> bool {
        let flags = self.flags.get(offset / PAGE as usize);
        flags.is_some_and(|f| f.load(Ordering::Acquire) & DirtyLog::Migration as u8 != 0)
    }
    fn slice_at(&self, offset: usize) -> RefSlice<'_, PageTrack> {
        RefSlice::new(self, offset)
    }
}

impl NewBitmap for PageTrack {
    fn with_len(len: usize) -> PageTrack {
        let pages = len.div_ceil(PAGE as usize);
        PageTrack {
            flags: (0..pages).map(|_| AtomicU8::new(0)).collect(),
            generation: (0..pages).map(|_| AtomicU32::new(0)).collect(),
            fetched: OnceLock::new(),
            taken: OnceLock::new(),
            written: OnceLock::new(),
            code_written: OnceLock::new(),
        }
    }
}
