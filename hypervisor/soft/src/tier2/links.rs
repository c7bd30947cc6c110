//! How translated code finds other translated code: slots to other pages, and caches of the targets of indirect jumps.
//!
//! Both say which physical page holds what they lead to, and hold for as long as the translation does. That a linear
//! page is that physical one now is what [`Code`] says, a TLB of its own for the pages that code was run from: its entries
//! are forgotten with the stamps of the mappings by which they were found ([`crate::tlb::Stamps`]). So a guest that
//! comes back to an address space finds all its links again, once each of its pages was looked up.

use super::arena::Arena;
use super::layout::{CODES, Code, JUMPS, Jump, NO_PAGE, Slot, code_index, jump_index};
use crate::cpu::mode;

/// In the list of what ends with a write of CR3.
const OWN: u8 = 1;
/// In the other one.
const GLOBAL: u8 = 2;

/// The pages of a privilege that code was run from.
struct Codes {
    /// [`Code`]s. As words, so that what is not used is the host's zero page.
    entries: Box<[[u64; 4]]>,
    /// Entries found by mappings that a write of CR3 ends.
    own: Vec<u16>,
    /// Entries found by global ones.
    global: Vec<u16>,
    /// By entry: bit 0 and 1, whether it is in these lists.
    listed: Box<[u8]>,
}

impl Codes {
    fn new() -> Codes {
        Codes {
            entries: vec![[0; 4]; CODES].into(),
            own: Vec::new(),
            global: Vec::new(),
            listed: vec![0; CODES].into(),
        }
    }

    fn put(&mut self, at: usize, Code { lin, phys, tag, room }: Code) {
        self.entries[at] = [lin, phys, tag, room];
    }

    fn fill(&mut self, at: usize, code: Code, own: bool) {
        self.put(at, code);
        let (bit, list) = if own { (OWN, &mut self.own) } else { (GLOBAL, &mut self.global) };
        if self.listed[at] & bit == 0 {
            self.listed[at] |= bit;
            list.push(at as u16);
        }
    }

    fn forget(&mut self, global: bool) {
        self.forget_list(OWN);
        if global {
            self.forget_list(GLOBAL);
        }
    }

    fn forget_list(&mut self, bit: u8) {
        let mut list = std::mem::take(if bit == OWN { &mut self.own } else { &mut self.global });
        for at in list.drain(..).map(usize::from) {
            self.put(at, Code::NONE);
            self.listed[at] &= !bit;
        }
        // Its room is kept.
        *(if bit == OWN { &mut self.own } else { &mut self.global }) = list;
    }
}

/// One jump cache.
struct JumpCache {
    /// [`Jump`]s, as words.
    jumps: Box<[[u64; 4]]>,
    /// The mode that its entries were found in.
    mode: u32,
    /// Entries that may be in use.
    used: Vec<u16>,
    listed: Box<[bool]>,
}

impl JumpCache {
    fn new() -> JumpCache {
        let mut cache = JumpCache {
            jumps: vec![[0; 4]; JUMPS].into(),
            mode: u32::MAX,
            used: Vec::new(),
            listed: vec![false; JUMPS].into(),
        };
        cache.put(0, Jump::none(0));
        cache
    }

    fn put(&mut self, at: usize, Jump { lin, entry, page, tag }: Jump) {
        self.jumps[at] = [lin, entry, page, tag];
    }

    fn forget(&mut self) {
        let mut used = std::mem::take(&mut self.used);
        for at in used.drain(..).map(usize::from) {
            self.put(at, Jump::none(at));
            self.listed[at] = false;
        }
        // Its room is kept.
        self.used = used;
    }
}

/// The links of a vCPU.
pub struct Links {
    /// Of privileged code, and of CPL 3.
    caches: [JumpCache; 2],
    /// The same.
    codes: [Codes; 2],
    /// Offset of the lowest slot.
    slots_from: usize,
}

fn put(arena: &mut Arena, at: usize, slot: Slot) {
    let mut bytes = [0; size_of::<Slot>()];
    for (word, v) in bytes.chunks_exact_mut(8).zip([slot.phys, slot.entry]) {
        word.copy_from_slice(&v.to_le_bytes());
    }
    arena.put(at, &bytes);
}

fn of_user(mode: u32) -> usize {
    usize::from(mode & mode::USER != 0)
}

impl Links {
    /// None; slots are made downwards from `end`.
    pub fn new(end: usize) -> Links {
        Links {
            caches: [JumpCache::new(), JumpCache::new()],
            codes: [Codes::new(), Codes::new()],
            slots_from: end,
        }
    }

    /// Offset of the lowest slot.
    pub fn slots_from(&self) -> usize {
        self.slots_from
    }

    /// Makes empty slots down to an offset.
    pub fn slots_to(&mut self, arena: &mut Arena, from: usize) {
        while self.slots_from > from {
            self.slots_from -= size_of::<Slot>();
            put(arena, self.slots_from, Slot { phys: NO_PAGE, entry: 0 });
        }
    }

    /// Fills a slot.
    pub fn fill(&mut self, arena: &mut Arena, at: usize, slot: Slot) {
        put(arena, at, slot);
    }

    /// Reads one.
    pub fn slot(&self, arena: &Arena, at: usize) -> Slot {
        let word = |n: usize| u64::from_le_bytes(arena.get(at + 8 * n));
        Slot { phys: word(0), entry: word(1) }
    }

    /// Takes note that a linear page was found to be a physical one, to run code from. `own`: by a mapping that a
    /// write of CR3 ends.
    pub fn found(&mut self, mode: u32, lin: u64, phys: u64, own: bool) {
        let codes = &mut self.codes[of_user(mode)];
        let (at, code) = (code_index(lin), Code::new(lin, phys));
        if codes.entries[at][..2] != [code.lin, code.phys] {
            codes.fill(at, code, own);
        }
    }

    /// Address of the pages that code of a mode was run from.
    pub fn codes(&self, mode: u32) -> u64 {
        self.codes[of_user(mode)].entries.as_ptr().addr() as u64
    }

    fn cache(&mut self, mode: u32) -> &mut JumpCache {
        let cache = &mut self.caches[of_user(mode)];
        if cache.mode != mode {
            cache.forget();
            cache.mode = mode;
        }
        cache
    }

    /// Address of the jump cache of a mode.
    pub fn jumps(&mut self, mode: u32) -> u64 {
        self.cache(mode).jumps.as_ptr().addr() as u64
    }

    /// Remembers what begins at a linear address, on a physical page.
    pub fn remember(&mut self, mode: u32, lin: u64, phys: u64, entry: u64) {
        let tag = Code::new(lin, phys).tag;
        if tag == Code::NONE.tag {
            return;
        }
        let page = self.codes(mode) + (code_index(lin) * size_of::<Code>()) as u64;
        let cache = self.cache(mode);
        let at = jump_index(lin);
        if cache.jumps[at][..2] != [lin, entry] {
            cache.put(at, Jump { lin, entry, page, tag });
            if !cache.listed[at] {
                cache.listed[at] = true;
                cache.used.push(at as u16);
            }
        }
    }

    /// Forgets what was found by mappings that end; by global ones too if `global`.
    pub fn forget(&mut self, global: bool) {
        for codes in &mut self.codes {
            codes.forget(global);
        }
    }
}
