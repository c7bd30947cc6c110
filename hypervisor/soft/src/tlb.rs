//! The software TLB: linear pages to host addresses.
//!
//! Four sets: supervisor, supervisor with EFLAGS.AC under SMAP, user, and one that never gives a fast hit, used while
//! alignment checks are on. Tags of read and write fail for everything unusual: MMIO, pages that hold code, pages that
//! some dirty log has not seen, watched pages.

use crate::cpu::Cpu;
use hypervisor::memory::PAGE;

/// Entries a set.
pub const SIZE: usize = 1024;
/// Page offset bits cleared.
pub const PAGE_MASK: u64 = !(PAGE - 1);
/// A page that is none.
const NONE: u64 = u64::MAX;
/// Page of an entry that was dropped but is still in the list of those in use.
const GONE: u64 = u64::MAX - 1;
/// Largest page.
const GIANT: u64 = 1 << 30;

/// The sets.
pub mod set {
    /// CPL 0-2.
    pub const SUPER: usize = 0;
    /// CPL 0-2 with SMAP and EFLAGS.AC: user pages may be touched.
    pub const SUPER_AC: usize = 1;
    /// CPL 3.
    pub const USER: usize = 2;
    /// CPL 3 with alignment checks.
    pub const STRICT: usize = 3;
    /// How many.
    pub const COUNT: usize = 4;
}

/// What the fast path looks at.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Tlb {
    /// Linear page that may be read at once, or [`no_page`].
    pub read: u64,
    /// Linear page that may be written at once, or [`no_page`].
    pub write: u64,
    /// Host address is linear address plus this.
    pub addend: u64,
    /// Host address of the page.
    pub host: u64,
}

/// The tag of entry `at` that holds no page: an address that is not canonical, of a page that has another entry, so
/// that no address whose first or last byte leads to this entry matches it.
#[inline(always)]
pub fn no_page(at: usize) -> u64 {
    1 << 63 | ((at ^ 2) << 12) as u64
}

impl Tlb {
    /// Entry `at` without a page.
    pub fn empty(at: usize) -> Tlb {
        Tlb { read: no_page(at), write: no_page(at), addend: 0, host: 0 }
    }
}

/// What the slow path knows of the same entry.
#[derive(Clone, Copy)]
pub struct Slow {
    /// Linear page, or all ones.
    pub page: u64,
    /// Physical page with [`perm`] bits below.
    pub phys: u64,
}

/// Permission bits of an entry, already for its set.
pub mod perm {
    /// May be read.
    pub const READ: u64 = 1;
    /// May be written, and the dirty bit is set.
    pub const WRITE: u64 = 2;
    /// May be executed.
    pub const EXEC: u64 = 4;
    /// Survives writes of CR3.
    pub const GLOBAL: u64 = 8;
    /// Piece of a larger page: INVLPG of any address in that drops it.
    pub const LARGE: u64 = 16;
}

/// All entries of a vCPU.
pub struct Sets {
    /// For the fast path.
    pub fast: [[Tlb; SIZE]; set::COUNT],
    /// For the slow path.
    pub slow: [[Slow; SIZE]; set::COUNT],
    /// Set and index of the entries that may be in use.
    used: Vec<(u8, u16)>,
    /// Lowest and highest linear page that is a piece of a larger one.
    large: (u64, u64),
    /// Linear pages of no global mapping that code was run from since [`Stamps::own`] moved.
    own: Pages<16>,
    /// Those of global mappings, since [`Stamps::global`] moved: a kernel's.
    global: Pages<128>,
}

const NO_LARGE: (u64, u64) = (u64::MAX, 0);

/// A set of linear pages by their hash: it may say yes to one that is not in it.
struct Pages<const WORDS: usize>([u64; WORDS]);

impl<const WORDS: usize> Pages<WORDS> {
    const NONE: Self = Pages([0; WORDS]);

    fn bit(lin: u64) -> (usize, u64) {
        let hash = (lin >> 12).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        ((hash >> 6) as usize % WORDS, 1 << (hash & 63))
    }
    fn add(&mut self, lin: u64) {
        let (word, bit) = Self::bit(lin);
        self.0[word] |= bit;
    }
    fn may_have(&self, lin: u64) -> bool {
        let (word, bit) = Self::bit(lin);
        self.0[word] & bit != 0
    }
}

/// Move when linear addresses may mean other code: what was found under another stamp is not believed. No two of them
/// are ever the same.
#[derive(Clone, Copy, Default)]
pub struct Stamps {
    /// Of mappings that a write of CR3 ends.
    pub own: u32,
    /// Of global ones.
    pub global: u32,
    last: u32,
}

impl Stamps {
    /// A stamp that was never given before. The caller sees to it that there is one left.
    fn next(&mut self) -> u32 {
        self.last = self.last.wrapping_add(1);
        self.last
    }

    /// Leaves none.
    #[cfg(test)]
    pub(crate) fn wear_out(&mut self) {
        self.last = u32::MAX;
    }
}

const UNKNOWN: Slow = Slow { page: NONE, phys: 0 };

impl Sets {
    /// No entry.
    pub fn new() -> Box<Sets> {
        Box::new(Sets {
            fast: [std::array::from_fn(Tlb::empty); set::COUNT],
            slow: [[UNKNOWN; SIZE]; set::COUNT],
            used: Vec::new(),
            large: NO_LARGE,
            own: Pages::NONE,
            global: Pages::NONE,
        })
    }

    /// Every entry with its number in its set.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = (usize, &mut Tlb, &Slow)> {
        let pairs = self.fast.iter_mut().zip(&self.slow);
        pairs.flat_map(|(fast, slow)| {
            fast.iter_mut().zip(slow).enumerate().map(|(at, (fast, slow))| (at, fast, slow))
        })
    }

    /// Puts an entry in place.
    pub(crate) fn fill(&mut self, who: usize, slow: Slow) {
        let at = index(slow.page);
        let old = std::mem::replace(&mut self.slow[who][at], slow);
        if old.page == NONE {
            self.used.push((who as u8, at as u16));
        }
        if slow.phys & perm::LARGE != 0 {
            self.large = (self.large.0.min(slow.page), self.large.1.max(slow.page));
        }
    }

    /// Remembers that code is run from a page.
    pub(crate) fn ran(&mut self, lin: u64, global: bool) {
        if global { self.global.add(lin) } else { self.own.add(lin) }
    }

    /// Whether the mapping that was just used for code at `lin` by set `who` survives writes of CR3.
    pub(crate) fn is_global(&self, lin: u64, who: usize) -> bool {
        let slow = self.slow[who][index(lin)];
        slow.page == lin & PAGE_MASK && slow.phys & perm::GLOBAL != 0
    }

    fn drop_if(&mut self, mut gone: impl FnMut(&Slow) -> bool) {
        let (fast, slow) = (&mut self.fast, &mut self.slow);
        self.used.retain(|&(who, at)| {
            let (who, at) = (who as usize % set::COUNT, at as usize % SIZE);
            let entry = &mut slow[who][at];
            let drop = entry.page >= GONE || gone(entry);
            if drop {
                *entry = UNKNOWN;
                fast[who][at] = Tlb::empty(at);
            }
            !drop
        });
    }
}

/// Entry of a linear address.
#[inline(always)]
pub fn index(lin: u64) -> usize {
    (lin >> 12) as usize & (SIZE - 1)
}

impl Cpu {
    /// Drops every entry, global ones too if `global`.
    pub(crate) fn flush_tlb(&mut self, global: bool) {
        self.tlb_sets.drop_if(|slow| global || slow.phys & perm::GLOBAL == 0);
        if self.tlb_sets.used.is_empty() {
            self.tlb_sets.large = NO_LARGE;
        }
        self.new_stamp(global);
    }

    /// INVLPG: drops the entries of one page, however large it is.
    pub(crate) fn flush_page(&mut self, lin: u64) {
        let page = lin & PAGE_MASK;
        let at = index(lin);
        let sets = &mut *self.tlb_sets;
        for n in 0..set::COUNT {
            if sets.slow[n][at].page == page {
                // The entry stays in the list of those in use, as one that holds nothing.
                sets.slow[n][at] = Slow { page: GONE, phys: 0 };
                sets.fast[n][at] = Tlb::empty(at);
            }
        }
        let (low, high) = sets.large;
        let whole = page >= low & !(GIANT - 1) && page <= high | (GIANT - 1);
        if whole {
            sets.drop_if(|slow| slow.phys & perm::LARGE != 0 && (slow.page ^ page) < GIANT);
        }
        let global = whole || sets.global.may_have(lin);
        if global || sets.own.may_have(lin) {
            self.new_stamp(global);
        }
    }

    /// Makes every write take the slow path again. `keep` says which physical pages may stay fast.
    pub(crate) fn flush_writes(&mut self, mut drop: impl FnMut(u64) -> bool) {
        for (at, fast, slow) in self.tlb_sets.each() {
            if fast.write != no_page(at) && drop(slow.phys & PAGE_MASK) {
                fast.write = no_page(at);
            }
        }
    }

    /// Linear addresses may now mean other code: those of global mappings too if `global`.
    pub(crate) fn new_stamp(&mut self, global: bool) {
        if self.stamps.last >= u32::MAX - 1 {
            // Stamps begin anew: no line may have an old one.
            self.blocks.forget_lines();
            self.stamps = Stamps::default();
        }
        self.stamps.own = self.stamps.next();
        self.tlb_sets.own = Pages::NONE;
        if global || self.stamps.global == 0 {
            self.stamps.global = self.stamps.next();
            self.tlb_sets.global = Pages::NONE;
        }
        if let Some(tier2) = &mut self.tier2 {
            tier2.mapping_moved(global);
        }
    }
}
