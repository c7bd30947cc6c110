//! The software TLB: linear pages to host addresses.
//!
//! Four sets: supervisor, supervisor with EFLAGS.AC under SMAP, user, and one that never gives a fast hit, used while
//! alignment checks are on. Tags of read and write fail for everything unusual: MMIO, pages that hold code, pages that
//! some dirty log has not seen, watched pages.

use crate::cpu::Cpu;
use hypervisor::memory::PAGE;

/// Entries a set.
pub const SIZE: usize = 512;
/// Page offset bits cleared.
pub const PAGE_MASK: u64 = !(PAGE - 1);
/// A tag that no page has.
pub const NONE: u64 = u64::MAX;

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
    /// Linear page that may be read at once, or [`NONE`].
    pub read: u64,
    /// Linear page that may be written at once, or [`NONE`].
    pub write: u64,
    /// Host address is linear address plus this.
    pub addend: u64,
    /// Unused; keeps entries at a power of two.
    pub spare: u64,
}

/// What the slow path knows of the same entry.
#[derive(Clone, Copy)]
pub struct Slow {
    /// Linear page, or [`NONE`].
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
}

/// All entries of a vCPU.
pub struct Sets {
    /// For the fast path.
    pub fast: [[Tlb; SIZE]; set::COUNT],
    /// For the slow path.
    pub slow: [[Slow; SIZE]; set::COUNT],
}

const EMPTY: Tlb = Tlb { read: NONE, write: NONE, addend: 0, spare: 0 };
const UNKNOWN: Slow = Slow { page: NONE, phys: 0 };

impl Sets {
    /// No entry.
    pub fn new() -> Box<Sets> {
        Box::new(Sets { fast: [[EMPTY; SIZE]; set::COUNT], slow: [[UNKNOWN; SIZE]; set::COUNT] })
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
        let sets = &mut *self.tlb_sets;
        for (fast, slow) in sets.fast.iter_mut().flatten().zip(sets.slow.iter_mut().flatten()) {
            if slow.page != NONE && (global || slow.phys & perm::GLOBAL == 0) {
                *fast = EMPTY;
                *slow = UNKNOWN;
            }
        }
        self.new_stamp();
    }

    /// Drops the entries of one page.
    pub(crate) fn flush_page(&mut self, lin: u64) {
        let at = index(lin);
        let sets = &mut *self.tlb_sets;
        for n in 0..set::COUNT {
            if sets.slow[n][at].page == lin & PAGE_MASK {
                sets.slow[n][at] = UNKNOWN;
                sets.fast[n][at] = EMPTY;
            }
        }
        self.new_stamp();
    }

    /// Makes every write take the slow path again. `keep` says which physical pages may stay fast.
    pub(crate) fn flush_writes(&mut self, mut drop: impl FnMut(u64) -> bool) {
        let sets = &mut *self.tlb_sets;
        for (fast, slow) in sets.fast.iter_mut().flatten().zip(sets.slow.iter().flatten()) {
            if fast.write != NONE && drop(slow.phys & PAGE_MASK) {
                fast.write = NONE;
            }
        }
    }

    /// Virtual addresses may now mean other code.
    pub(crate) fn new_stamp(&mut self) {
        self.key = self.key.wrapping_add(1 << 32);
    }
}
