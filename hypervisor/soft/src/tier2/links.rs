//! How translated code finds other translated code: slots to other pages, and caches of the targets of indirect jumps.
//!
//! Both say what a linear address was found to hold, and are forgotten with the stamps of the mappings by which it was
//! found ([`crate::tlb::Stamps`]).

use super::arena::Arena;
use super::layout::{JUMPS, Jump, NO_PAGE, Slot, jump_index};
use crate::cpu::mode;

/// In the list of what ends with a write of CR3.
const OWN: u8 = 1;
/// In the other one.
const GLOBAL: u8 = 2;

/// Puts a number into the list for how it was found, once.
fn list<T>(listed: &mut u8, own: bool, lists: (&mut Vec<T>, &mut Vec<T>), number: T) {
    let (bit, list) = if own { (OWN, lists.0) } else { (GLOBAL, lists.1) };
    if *listed & bit == 0 {
        *listed |= bit;
        list.push(number);
    }
}

/// One jump cache.
struct JumpCache {
    jumps: Box<[Jump]>,
    /// The mode that its entries were found in.
    mode: u32,
    /// Entries found by mappings that a write of CR3 ends.
    own: Vec<u16>,
    /// Entries found by global ones.
    global: Vec<u16>,
    /// By entry: bit 0 and 1, whether it is in these lists.
    listed: Box<[u8]>,
}

impl JumpCache {
    fn new() -> JumpCache {
        JumpCache {
            jumps: (0..JUMPS).map(Jump::none).collect(),
            mode: u32::MAX,
            own: Vec::new(),
            global: Vec::new(),
            listed: vec![0; JUMPS].into(),
        }
    }
    fn forget(&mut self, global: bool) {
        for at in self.own.drain(..) {
            self.jumps[usize::from(at)] = Jump::none(usize::from(at));
            self.listed[usize::from(at)] &= !OWN;
        }
        if global {
            for at in self.global.drain(..) {
                self.jumps[usize::from(at)] = Jump::none(usize::from(at));
                self.listed[usize::from(at)] &= !GLOBAL;
            }
        }
    }
}

/// The links of a vCPU.
pub struct Links {
    /// Of privileged code, and of CPL 3.
    caches: [JumpCache; 2],
    /// Offset of the lowest slot.
    slots_from: usize,
    /// Where they end.
    slots_end: usize,
    own: Vec<u32>,
    global: Vec<u32>,
    /// By slot, as of jump caches.
    listed: Vec<u8>,
}

const EMPTY: Slot = Slot { from: NO_PAGE, page: 0, entry: 0 };

fn put(arena: &mut Arena, at: usize, slot: Slot) {
    let mut bytes = [0; size_of::<Slot>()];
    for (word, v) in bytes.chunks_exact_mut(8).zip([slot.from, slot.page, slot.entry]) {
        word.copy_from_slice(&v.to_le_bytes());
    }
    arena.put(at, &bytes);
}

impl Links {
    /// None; slots are made downwards from `end`.
    pub fn new(end: usize) -> Links {
        Links {
            caches: [JumpCache::new(), JumpCache::new()],
            slots_from: end,
            slots_end: end,
            own: Vec::new(),
            global: Vec::new(),
            listed: Vec::new(),
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
            self.listed.push(0);
            put(arena, self.slots_from, EMPTY);
        }
    }

    /// Fills a slot. `own`: its target was found by a mapping that a write of CR3 ends.
    pub fn fill(&mut self, arena: &mut Arena, at: usize, slot: Slot, own: bool) {
        put(arena, at, slot);
        let number = (self.slots_end - at) / size_of::<Slot>() - 1;
        list(&mut self.listed[number], own, (&mut self.own, &mut self.global), at as u32);
    }

    fn cache(&mut self, mode: u32) -> &mut JumpCache {
        let cache = &mut self.caches[usize::from(mode & mode::USER != 0)];
        if cache.mode != mode {
            cache.forget(true);
            cache.mode = mode;
        }
        cache
    }

    /// The jump cache of a mode.
    pub fn jumps(&mut self, mode: u32) -> *const Jump {
        self.cache(mode).jumps.as_ptr()
    }

    /// Remembers what begins at a linear address.
    pub fn remember(&mut self, mode: u32, lin: u64, entry: u64, own: bool) {
        let cache = self.cache(mode);
        let at = jump_index(lin);
        let jump = &mut cache.jumps[at];
        if jump.lin != lin || jump.entry != entry {
            *jump = Jump { lin, entry };
            list(&mut cache.listed[at], own, (&mut cache.own, &mut cache.global), at as u16);
        }
    }

    /// Forgets what was found by mappings that end; by global ones too if `global`.
    pub fn forget(&mut self, arena: &mut Arena, global: bool) {
        for cache in &mut self.caches {
            cache.forget(global);
        }
        let mut end = |slots: &mut Vec<u32>, bit: u8| {
            for at in slots.drain(..) {
                put(arena, at as usize, EMPTY);
                let number = (self.slots_end - at as usize) / size_of::<Slot>() - 1;
                self.listed[number] &= !bit;
            }
        };
        end(&mut self.own, OWN);
        if global {
            end(&mut self.global, GLOBAL);
        }
    }
}
