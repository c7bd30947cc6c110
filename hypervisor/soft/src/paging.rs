//! Page tables: 2, 3 and 4 levels (SDM volume 3, chapter 4).

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use hypervisor::memory::PAGE;

use crate::cpu::{Cpu, Fault, mode};
use crate::flags::bits as fl;
use crate::physical::PageInfo;
use crate::system::bits::{cr0, cr4, efer};
use crate::tlb::{self, PAGE_MASK, Slow, perm, set};

/// Width of physical addresses in bits, as CPUID leaf 0x8000_0008 says.
pub const PHYS_BITS: u32 = 40;
const PHYS_MASK: u64 = (1 << PHYS_BITS) - 1;

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const PS: u64 = 0x80;
const G: u64 = 0x100;
const NX: u64 = 1 << 63;

/// What an access wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read data.
    Read,
    /// Write data.
    Write,
    /// Fetch an instruction.
    Exec,
}

impl Access {
    fn perm(self) -> u64 {
        match self {
            Access::Read => perm::READ,
            Access::Write => perm::WRITE,
            Access::Exec => perm::EXEC,
        }
    }
}

/// Where a linear page leads.
struct Page {
    phys: u64,
    user: bool,
    write: bool,
    nx: bool,
    dirty: bool,
    global: bool,
    large: bool,
}

enum Walk {
    Page(Page),
    Fault(u32),
    /// An entry changed while it was being marked.
    Retry,
}

impl Cpu {
    /// What is at a physical page, from the vCPU's own memory of it.
    #[inline]
    pub(crate) fn phys_page(&mut self, gpa: u64) -> PageInfo {
        let gpa = gpa & PAGE_MASK & self.a20;
        let at = (gpa >> 12) as usize & (self.phys_cache.len() - 1);
        let (tag, info) = self.phys_cache[at];
        if tag == gpa {
            return info;
        }
        let info = self.shared.physical.page(gpa);
        self.phys_cache[at] = (gpa, info);
        info
    }

    fn read_entry(&mut self, at: u64, wide: bool) -> u64 {
        let info = self.phys_page(at);
        if info.read().is_null() {
            return 0;
        }
        let host = info.read().wrapping_add((at & (PAGE - 1)) as usize);
        // SAFETY: entries are naturally aligned, so they lie in the page, which is mapped.
        unsafe {
            if wide {
                AtomicU64::from_ptr(host as *mut u64).load(Ordering::Relaxed)
            } else {
                AtomicU32::from_ptr(host as *mut u32).load(Ordering::Relaxed) as u64
            }
        }
    }

    /// Sets accessed and dirty bits; false if the entry is no longer `old`.
    fn mark_entry(&mut self, at: u64, old: u64, set: u64, wide: bool) -> bool {
        if old & set == set {
            return true;
        }
        let info = self.phys_page(at);
        if info.write().is_null() {
            return true;
        }
        let host = info.write().wrapping_add((at & (PAGE - 1)) as usize);
        let new = old | set;
        // SAFETY: as in `read_entry`.
        let done = unsafe {
            if wide {
                let entry = AtomicU64::from_ptr(host as *mut u64);
                entry.compare_exchange(old, new, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            } else {
                let entry = AtomicU32::from_ptr(host as *mut u32);
                entry.compare_exchange(old as u32, new as u32, Ordering::AcqRel, Ordering::Relaxed).is_ok()
            }
        };
        if let Some((track, page)) = info.dirty_track(&self.shared.physical) {
            track.touch(page);
        }
        done
    }

    /// Whether an access to such a page is allowed, for TLB set `who`.
    fn allowed(&self, page: &Page, access: Access, who: usize) -> bool {
        let user = who >= set::USER;
        match access {
            _ if user && !page.user => false,
            Access::Exec if page.nx => false,
            Access::Exec => user || !page.user || self.cr4 & cr4::SMEP == 0,
            _ if !user && page.user && self.cr4 & cr4::SMAP != 0 && who != set::SUPER_AC => false,
            Access::Write => page.write || (!user && self.cr0 & cr0::WP == 0),
            Access::Read => true,
        }
    }

    fn walk(&mut self, lin: u64, access: Access, who: usize) -> Walk {
        let pae = self.cr4 & cr4::PAE != 0;
        let long = self.msr.efer & efer::LMA != 0;
        let nxe = self.msr.efer & efer::NXE != 0;
        let reserved = if nxe { 0 } else { NX };
        let high = if pae { !PHYS_MASK & ((1 << 52) - 1) } else { 0 };
        let mut page =
            Page { phys: 0, user: true, write: true, nx: false, dirty: false, global: false, large: false };
        let (mut level, mut table, wide) = match (pae, long) {
            (_, true) => (4, self.cr3 & PHYS_MASK & PAGE_MASK, true),
            (true, false) => {
                let entry = self.pdpte[(lin >> 30) as usize & 3];
                if entry & P == 0 {
                    return Walk::Fault(0);
                }
                (2, entry & PHYS_MASK & PAGE_MASK, true)
            }
            _ => (2, self.cr3 & 0xffff_f000, false),
        };
        let bits = if wide { 9 } else { 10 };
        loop {
            let shift = 12 + bits * (level - 1);
            let index = (lin >> shift) & ((1 << bits) - 1);
            let at = table + index * if wide { 8 } else { 4 };
            let entry = self.read_entry(at, wide);
            if entry & P == 0 {
                return Walk::Fault(0);
            }
            let large =
                entry & PS != 0 && (level == 3 && wide || level == 2 && (pae || self.cr4 & cr4::PSE != 0));
            let leaf = level == 1 || large;
            let mut bad = reserved | high | if wide && !long { 0x7ff << 52 } else { 0 };
            if wide && level == 4 {
                bad |= PS;
            }
            if wide && large {
                bad |= ((1 << shift) - 1) & !0x1fff;
            }
            if !wide && large {
                bad = 1 << 21;
            }
            if (wide || large) && entry & bad != 0 {
                return Walk::Fault(1 | 8);
            }
            page.user &= entry & U != 0;
            page.write &= entry & W != 0;
            page.nx |= wide && entry & NX != 0;
            if !leaf {
                if !self.mark_entry(at, entry, A, wide) {
                    return Walk::Retry;
                }
                table = if wide { entry & PHYS_MASK & PAGE_MASK } else { entry & 0xffff_f000 };
                level -= 1;
                continue;
            }
            if !self.allowed(&page, access, who) {
                return Walk::Fault(1);
            }
            let set = if access == Access::Write { A | D } else { A };
            if !self.mark_entry(at, entry, set, wide) {
                return Walk::Retry;
            }
            page.dirty = (entry | set) & D != 0;
            page.large = large;
            page.global = entry & G != 0 && self.cr4 & cr4::PGE != 0;
            let frame = match (wide, large) {
                (_, false) => entry & PHYS_MASK & PAGE_MASK,
                (true, true) => entry & PHYS_MASK & !((1 << shift) - 1),
                // PSE-36: bits 13-20 are address bits 32-39.
                (false, true) => entry & 0xffc0_0000 | (entry >> 13 & 0xff) << 32,
            };
            page.phys = frame | lin & ((1 << shift) - 1) & PAGE_MASK;
            return Walk::Page(page);
        }
    }

    /// Translates for an access by TLB set `who`; fills the TLB. The physical address of `lin` itself.
    pub(crate) fn translate(&mut self, lin: u64, access: Access, who: usize) -> Result<u64, Fault> {
        let at = tlb::index(lin);
        let slow = self.tlb_sets.slow[who][at];
        if slow.page == lin & PAGE_MASK && slow.phys & access.perm() != 0 {
            return Ok(slow.phys & PAGE_MASK | lin & !PAGE_MASK);
        }
        let page = self.find_page(lin, access, who)?;
        let mut perms = if page.global { perm::GLOBAL } else { 0 };
        if page.large {
            perms |= perm::LARGE;
        }
        for a in [Access::Read, Access::Exec] {
            if self.allowed(&page, a, who) {
                perms |= a.perm();
            }
        }
        if page.dirty && self.allowed(&page, Access::Write, who) {
            perms |= perm::WRITE;
        }
        let phys = page.phys & self.a20;
        self.tlb_sets.fill(who, Slow { page: lin & PAGE_MASK, phys: phys | perms });
        self.fill_fast(lin, who);
        Ok(phys | lin & !PAGE_MASK)
    }

    fn find_page(&mut self, lin: u64, access: Access, who: usize) -> Result<Page, Fault> {
        if self.cr0 & cr0::PG == 0 {
            let phys = lin & 0xffff_f000;
            return Ok(Page {
                phys,
                user: true,
                write: true,
                nx: false,
                dirty: true,
                global: false,
                large: false,
            });
        }
        // A few retries are enough for other vCPUs that mark the same entries.
        for _ in 0..64 {
            match self.walk(lin, access, who) {
                Walk::Page(page) => return Ok(page),
                Walk::Retry => {}
                Walk::Fault(code) => return Err(self.page_fault(lin, code, access, who)),
            }
        }
        Err(self.again())
    }

    fn page_fault(&mut self, lin: u64, code: u32, access: Access, who: usize) -> Fault {
        let mut error = code;
        if access == Access::Write {
            error |= 2;
        }
        if who >= set::USER {
            error |= 4;
        }
        let nxe = self.msr.efer & efer::NXE != 0 && self.cr4 & cr4::PAE != 0;
        if access == Access::Exec && (nxe || self.cr4 & cr4::SMEP != 0) {
            error |= 16;
        }
        self.page_fault_at(lin, error)
    }

    /// Sets the fast tags of an entry as far as nothing speaks against it.
    pub(crate) fn fill_fast(&mut self, lin: u64, who: usize) {
        let page = lin & PAGE_MASK;
        let at = tlb::index(lin);
        let slow = self.tlb_sets.slow[who][at];
        let info = self.phys_page(slow.phys & PAGE_MASK);
        let usual = who != set::STRICT && !self.watched(page) && !self.is_apic_page(slow.phys & PAGE_MASK);
        let read = usual && !info.read().is_null() && slow.phys & perm::READ != 0;
        let write = read
            && slow.phys & perm::WRITE != 0
            && std::ptr::eq(info.read(), info.write())
            && info
                .dirty_track(&self.shared.physical)
                .is_some_and(|(t, n)| t.is_dirty_in_all(n) && !t.is_code(n));
        let fast = &mut self.tlb_sets.fast[who][at];
        fast.read = if read { page } else { tlb::no_page(at) };
        fast.write = if write { page } else { tlb::no_page(at) };
        fast.host = info.read() as u64;
        fast.addend = fast.host.wrapping_sub(page);
    }

    /// Which TLB set the current privilege uses, and points the fast path at it.
    pub(crate) fn choose_set(&mut self) {
        let ac = self.flags & fl::AC != 0;
        let n = match (self.cpl == 3, ac) {
            (true, true) if self.cr0 & cr0::AM != 0 => set::STRICT,
            (true, _) => set::USER,
            (false, true) if self.cr4 & cr4::SMAP != 0 => set::SUPER_AC,
            _ => set::SUPER,
        };
        let user = if self.cpl == 3 { mode::USER } else { 0 };
        let real = if !self.protected() || self.v86() { mode::REAL } else { 0 };
        self.mode = self.mode & !(mode::USER | mode::REAL) | user | real;
        self.set = n as u8;
        self.tlb = self.tlb_sets.fast[n].as_mut_ptr();
    }

    /// Loads the four PDPTEs that `cr3` points to; false if one has reserved bits set. Both vendors look at them here, and
    /// not again before the next load (SDM vol. 3, 4.4.1); AMD's processors do so at each walk in guests with nested
    /// paging alone (APM vol. 2, 15.25.10).
    pub(crate) fn load_pdptes(&mut self, cr3: u64) -> bool {
        let table = cr3 & 0xffff_ffe0;
        let mut new = [0; 4];
        for (n, slot) in new.iter_mut().enumerate() {
            *slot = self.read_entry(table + 8 * n as u64, true);
            if *slot & P != 0 && *slot & (!PHYS_MASK | 0x1e6) != 0 {
                return false;
            }
        }
        self.pdpte = new;
        true
    }
}
