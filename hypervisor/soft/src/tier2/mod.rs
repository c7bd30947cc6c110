//! The second tier: blocks that run often, translated to host code.
//!
//! Tier 1 stays the authority. A block is found, checked and counted by it; a translation is what its first operation
//! then runs (`run_translated`). Translated code runs on from block to block by itself, by links within a
//! page, by guarded slots to other pages and by a cache of the targets of indirect jumps, and comes back to tier 1 for
//! all that is unusual. A run with translations and one without are the same run, unless the guest changes a mapping that
//! it has used and does not invalidate it: which of the two it sees then no processor promises (SDM vol. 3, 4.10.4.3),
//! and links remember longer than tier 1 does.
//!
//! What is translated is 64-bit code and, where offsets are linear addresses ([`mode::FLAT`]), 32-bit code. ES, FS and GS of
//! the latter have bases and limits, which the code asks for.
//!
//! A translation holds while the bytes of its page stand. Who writes to such a page tells every vCPU
//! ([`hypervisor::PageTrack::mark_translated`]), which looks before the next block: the beginning of what no longer
//! holds is overwritten with a jump out, so that nobody who links to it needs to be known. When tier 1 finds the bytes
//! to be the same again, the beginning is put back.
//!
//! Everything here belongs to one vCPU and its thread.

use std::any::Any;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};

use hypervisor::PageTrack;
use iced_x86::Instruction;

use crate::block::Block;
use crate::cpu::{Cpu, IP, mode, seg};
use crate::lower;
use crate::model::Features;
use crate::op::{Flow, Handler, Op};
use crate::paging::Access;
use crate::tlb::PAGE_MASK;

pub mod arena;
pub mod asm;
mod emit;
mod flow;
pub mod layout;
mod links;
mod select;
#[cfg(test)]
mod tests;
mod translate;
mod vectors;

use arena::Arena;
use layout::{Thunks, left};
use links::Links;
use select::Sse;
use translate::{Edge, Insn, Kind, Link, Place};

/// Room that a translation may need, in bytes.
const ROOM: usize = 64 << 10;
/// Most instructions that are run without a look at `icount_limit`.
const MOST: u64 = 1 << 40;

/// What was done, for `inspect`.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counters {
    /// Blocks translated.
    pub translated: u64,
    /// Instructions of these.
    pub instructions: u64,
    /// Those of them that tier 1 runs.
    pub interpreted: u64,
    /// Entries from tier 1.
    pub entered: u64,
    /// Links made.
    pub linked: u64,
    /// Translations whose page was written.
    pub dropped: u64,
    /// Those that held again.
    pub revived: u64,
    /// Times everything was thrown away.
    pub flushed: u64,
}

/// A site of the code in place.
#[derive(Clone, Copy)]
struct Site {
    block: *const Block,
    /// Where its operations are, with an end behind them; [`NOT_YET`] until they are first run.
    ops: u32,
    at: u8,
    run: u8,
    flags: bool,
}

const NOT_YET: u32 = u32::MAX;

/// A translation in place.
struct Translated {
    /// Offset of its code.
    entry: usize,
    /// Offset of the jump out.
    dead: usize,
    /// Its first bytes, while a jump out stands there.
    beginning: [u8; 5],
    alive: bool,
    /// The whole mode, privilege included: links are not asked again who may run what.
    mode: u32,
    /// Index of its page.
    page: usize,
}

/// A page with translations.
struct CodePage {
    counter: *const AtomicU32,
    /// What all that live here were made of.
    generation: u32,
    alive: Vec<u32>,
    /// Where it is marked as one with translations; none for a page that nobody can write.
    mark: Option<(*const PageTrack, usize)>,
}

/// The translations of a vCPU.
pub struct Tier2 {
    arena: Arena,
    thunks: Thunks,
    /// Offset behind the thunks.
    start: usize,
    /// Offset of the first free byte.
    free: usize,
    sites: Vec<Site>,
    /// Operations of sites.
    ops: Vec<Op>,
    edges: Vec<Edge>,
    translations: Vec<Translated>,
    pages: Vec<CodePage>,
    page_of: HashMap<u64, usize>,
    links: Links,
    /// Runs of a block before it is translated.
    threshold: u32,
    /// What the running code may use up, and `icount` when it was entered.
    granted: i64,
    entered_at: u64,
    /// Where an operation of a site did not complete, or tier 1 goes on behind one.
    stopped: (*const Block, usize),
    panic: Option<Box<dyn Any + Send>>,
    counters: Counters,
}

/// How tier 1 goes on.
pub(crate) enum After {
    /// There is no translation for this.
    None,
    /// Between blocks.
    Between,
    /// With an operation.
    Resume(Handler, *const Op),
    /// With a fault.
    Fault,
}

fn packed(status: u64) -> u16 {
    (status as u16 & 0xd5 | 2) << 8 | (status >> 11 & 1) as u16
}

fn unpacked(flags: u16) -> u64 {
    u64::from(flags >> 8 & 0xd5) | u64::from(flags & 1) << 11
}

/// What of SSE runs by itself in a mode.
fn sse_of(mode: u32) -> Sse {
    match mode & (mode::TS | mode::EM | mode::OSFXSR | mode::UNMASKED) {
        mode::OSFXSR => Sse::All,
        on if on & !mode::UNMASKED == mode::OSFXSR => Sse::Integer,
        _ => Sse::None,
    }
}

/// Whether the host's processor does what translated code asks of it.
#[cfg(not(target_arch = "x86_64"))]
fn host_suits() -> bool {
    false
}

/// Whether the host's processor does what translated code asks of it.
#[cfg(target_arch = "x86_64")]
fn host_suits() -> bool {
    // LAHF in 64-bit code is bit 0 of this leaf's ECX.
    let lahf = std::arch::x86_64::__cpuid(0x8000_0000).eax > 0x8000_0000
        && std::arch::x86_64::__cpuid(0x8000_0001).ecx & 1 != 0;
    lahf && is_x86_feature_detected!("popcnt")
}

impl Tier2 {
    /// No translation yet. Blocks are translated at their `threshold`th run.
    pub fn new(threshold: u32) -> std::io::Result<Tier2> {
        if !host_suits() {
            return Err(std::io::Error::other("the host's processor is no x86-64 with LAHF and POPCNT"));
        }
        let mut arena = Arena::new()?;
        let (code, thunks) = layout::thunks(arena.base(), helper);
        arena.put(0, &code);
        let start = code.len().next_multiple_of(64);
        Ok(Tier2 {
            arena,
            thunks,
            start,
            free: start,
            sites: Vec::new(),
            ops: Vec::new(),
            edges: Vec::new(),
            translations: Vec::new(),
            pages: Vec::new(),
            page_of: HashMap::new(),
            links: Links::new(arena::SIZE),
            threshold,
            granted: 0,
            entered_at: 0,
            stopped: (std::ptr::null(), 0),
            panic: None,
            counters: Counters::default(),
        })
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }
    /// Shows what was done.
    pub(crate) fn inspect(&self, node: &mut hypervisor::inspect::Node) {
        let c = &self.counters;
        node.value("translated", c.translated).value("instructions", c.instructions);
        node.value("interpreted", c.interpreted).value("entered", c.entered).value("linked", c.linked);
        node.value("dropped", c.dropped).value("revived", c.revived).value("flushed", c.flushed);
        node.value("bytes", self.used());
    }
    /// Bytes of code and slots in use.
    pub fn used(&self) -> usize {
        self.free - self.start + arena::SIZE - self.links.slots_from()
    }
    pub(crate) fn threshold(&self) -> u32 {
        self.threshold
    }

    /// Ways that were found through mappings which no longer hold are not taken again.
    pub(crate) fn mapping_moved(&mut self, global: bool) {
        self.links.forget(global);
    }

    fn kill(&mut self, n: u32) {
        let base = self.arena.base();
        let t = &mut self.translations[n as usize];
        if !t.alive {
            return;
        }
        t.alive = false;
        t.beginning = self.arena.get(t.entry);
        let out = asm::jump_bytes(base + t.entry as u64, base + t.dead as u64);
        self.arena.put(t.entry, &out);
        self.counters.dropped += 1;
    }

    fn kill_page(&mut self, page: usize) {
        for n in std::mem::take(&mut self.pages[page].alive) {
            self.kill(n);
        }
    }

    /// Leads from a translation whose bytes changed to that of the bytes that are there now: others may be linked to it.
    fn replace(&mut self, old: u32, new: u32) {
        let of = |n: u32| self.translations.get(n as usize).map(|t| (t.entry, t.mode, t.alive));
        let (Some((from, its_mode, false)), Some((to, mode, _))) = (of(old), of(new)) else { return };
        if its_mode == mode {
            let base = self.arena.base();
            self.arena.put(from, &asm::jump_bytes(base + from as u64, base + to as u64));
        }
    }

    /// Pages with code were written: what was made of their bytes holds no longer.
    ///
    /// Who writes takes the mark off, and may have taken one that was set behind its write: what lives on is marked
    /// again, before the counter is looked at.
    pub(crate) fn code_written(&mut self) {
        for page in 0..self.pages.len() {
            let CodePage { counter, generation, alive, mark } = &self.pages[page];
            if alive.is_empty() {
                continue;
            }
            if let Some((track, number)) = mark {
                // SAFETY: a page track that the machine keeps alive.
                unsafe { (**track).mark_translated(*number) };
            }
            // SAFETY: a counter of a page track that the machine keeps alive, or the one of pages nobody can write.
            if unsafe { (**counter).load(Ordering::SeqCst) } != *generation {
                self.kill_page(page);
            }
        }
    }

    /// Nothing holds until it is looked at again: the physical map is another.
    pub(crate) fn distrust(&mut self) {
        for page in 0..self.pages.len() {
            self.kill_page(page);
        }
    }

    /// Makes the operations of a site; gives where they are.
    fn lower(&mut self, number: usize, block: &Block, has: &Features) -> usize {
        let site = &mut self.sites[number];
        let (first, mut skip) = (self.ops.len(), usize::from(site.at));
        let mut left = usize::from(site.run);
        let ops = &mut self.ops;
        // Where it lies does not matter to operations.
        decode(block, 0, has, |_, op, _| match (skip, left) {
            (0, 0) => {}
            (0, _) => {
                ops.push(op);
                left -= 1;
            }
            _ => skip -= 1,
        });
        ops.push(Op::end());
        site.ops = first as u32;
        first
    }

    fn has_room(&self) -> bool {
        self.links.slots_from() - self.free > ROOM
    }

    /// Forgets everything. Blocks must be told.
    fn clear(&mut self) {
        self.free = self.start;
        self.sites.clear();
        self.ops.clear();
        self.edges.clear();
        self.translations.clear();
        self.pages.clear();
        self.page_of.clear();
        self.links = Links::new(arena::SIZE);
        self.counters.flushed += 1;
    }

    /// The page of a block, with all that lives there made of the same bytes as the block.
    fn page(&mut self, block: &Block) -> usize {
        let (counter, generation) = block.counted();
        let next = self.pages.len();
        let page = *self.page_of.entry(block.page).or_insert(next);
        if page == next {
            self.pages.push(CodePage { counter, generation, alive: Vec::new(), mark: None });
        }
        let known = &self.pages[page];
        if known.generation != generation || !std::ptr::eq(known.counter, counter) {
            self.kill_page(page);
            (self.pages[page].counter, self.pages[page].generation) = (counter, generation);
        }
        page
    }
}

/// Runs a site's operations for translated code.
extern "C" fn helper(cpu: *mut Cpu, site: u32) -> u64 {
    // SAFETY: translated code passes the processor that entered it, which waits for it to leave.
    let cpu = unsafe { &mut *cpu };
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| cpu.run_site(site))) {
        Ok(left) => left,
        // Not through code that has no frames.
        Err(panic) => {
            if let Some(tier2) = &mut cpu.tier2 {
                tier2.panic = Some(panic);
            }
            left::PANIC
        }
    }
}

/// Decodes the instructions of a block again, each by itself; `each` gets it, the operation it is, and whether tier 1's
/// block ends there.
fn decode(block: &Block, ip: u64, has: &Features, mut each: impl FnMut(Instruction, Op, bool)) {
    let bytes = block.code();
    let (mut decoder, ctx) = crate::block::decoder(bytes, ip, block.mode, has);
    let mut at = 0;
    for _ in 0..block.count {
        let mut i = Instruction::default();
        decoder.decode_out(&mut i);
        let len = if i.is_invalid() { 1 } else { i.len() };
        let mut op = lower::lower(&i, &ctx, &bytes[at.min(bytes.len())..]);
        let ends = !op.place(at as u8, len as u8);
        each(i, op, ends);
        at += len;
    }
}

impl Cpu {
    /// Begins to translate blocks, or leaves it. Between blocks.
    pub(crate) fn set_tier2(&mut self, tier2: Option<Tier2>) {
        self.drop_blocks();
        self.tier2 = tier2.map(Box::new);
    }

    /// Whether blocks of a mode are translated, and after how many runs; 0 for never.
    pub(crate) fn heat(&self, mode: u32) -> u32 {
        let suits = mode & (mode::CODE64 | mode::FLAT) != 0 && mode & mode::SINGLE == 0;
        self.tier2.as_ref().filter(|_| suits).map_or(0, |t| t.threshold())
    }

    /// Translates a block that was just found at RIP. Not while translated code runs.
    #[cold]
    #[inline(never)]
    pub(crate) fn translate_block(&mut self, block: *const Block) {
        // SAFETY: blocks stay until the cache is cleared, which happens between blocks.
        let found = unsafe { &*block };
        if found.crosses() {
            return;
        }
        if self.tier2.as_ref().is_some_and(|t| !t.has_room()) {
            self.forget_translations();
        }
        let ip = self.gpr[IP];
        let mut insns = Vec::with_capacity(found.count as usize);
        decode(found, ip, &self.model.features, |i, _, ends| insns.push(Insn { i, ends }));
        let translated = self.place_translation(found, &insns, ip);
        if let Some(number) = translated {
            found.set_translation(translated);
            if let (Some(old), Some(tier2)) = (found.replaces(), &mut self.tier2) {
                tier2.replace(old, number);
            }
        }
    }

    /// The segments that have no end now, whatever their base, a bit each: what translated code expects of them, though it
    /// does not rely on it.
    fn endless(&self) -> u8 {
        let all = |slot: &usize| self.seg[*slot].limit == u32::MAX && self.seg[*slot].rbound != 0;
        [seg::ES, seg::FS, seg::GS].iter().filter(|slot| all(slot)).fold(0, |bits, slot| bits | 1 << slot)
    }

    /// Puts a translation into the arena; gives its number.
    fn place_translation(&mut self, block: &Block, insns: &[Insn], ip: u64) -> Option<u32> {
        let whole = self.mode;
        let kind = Kind { long: whole & mode::CODE64 != 0, endless: self.endless(), sse: sse_of(whole) };
        let tier2 = self.tier2.as_deref_mut()?;
        let base = tier2.arena.base();
        let place = Place {
            origin: base + tier2.free as u64,
            thunks: tier2.thunks,
            sites: tier2.sites.len() as u32,
            edges: tier2.edges.len() as u32,
            slots: base + tier2.links.slots_from() as u64,
        };
        let made = translate::translate(insns, kind, ip, block.gpa() & !PAGE_MASK, place).ok()?;
        if made.code.len() + (place.slots - made.slots) as usize > ROOM {
            return None;
        }
        let page = tier2.page(block);
        if !self.translation_watched(block, page) {
            return None;
        }
        let tier2 = self.tier2.as_deref_mut()?;
        tier2.arena.put(tier2.free, &made.code);
        tier2.links.slots_to(&mut tier2.arena, (made.slots - base) as usize);
        for site in made.sites {
            tier2.sites.push(Site { block, ops: NOT_YET, at: site.at, run: site.run, flags: site.flags });
        }
        // Offsets of the code become offsets of the arena.
        let at = tier2.free as u32;
        tier2.edges.extend(made.edges.into_iter().map(|mut edge| {
            if let Link::Jump(jump) = &mut edge.link {
                *jump += at;
            }
            edge
        }));
        let (entry, dead) = (tier2.free, tier2.free + made.dead as usize);
        let n = tier2.translations.len() as u32;
        tier2.translations.push(Translated {
            entry,
            dead,
            beginning: [0; 5],
            alive: true,
            mode: whole,
            page,
        });
        tier2.pages[page].alive.push(n);
        tier2.free = (tier2.free + made.code.len()).next_multiple_of(16);
        tier2.counters.translated += 1;
        tier2.counters.instructions += u64::from(block.count);
        tier2.counters.interpreted += u64::from(made.interpreted);
        Some(n)
    }

    /// Asks to be told when the block's page, that of this index, is written; false if it was in the meantime.
    fn translation_watched(&mut self, block: &Block, page: usize) -> bool {
        let info = self.phys_page(block.page);
        let mark = info.code_track(&self.shared.physical);
        if let Some((track, number)) = mark {
            track.mark_translated(number);
        }
        if let Some(known) = self.tier2.as_deref_mut().and_then(|tier2| tier2.pages.get_mut(page)) {
            known.mark = mark.map(|(track, number)| (&raw const *track, number));
        }
        let (counter, generation) = block.counted();
        // SAFETY: as in `code_written`.
        unsafe { (*counter).load(Ordering::SeqCst) == generation }
    }

    /// Throws all translations away. Not while translated code runs.
    pub(crate) fn forget_translations(&mut self) {
        let Some(tier2) = self.tier2.as_deref_mut() else { return };
        tier2.clear();
        let threshold = tier2.threshold;
        self.blocks.forget_translations(threshold);
    }

    /// The translation of a block that holds for this mode, put back if its bytes are what they were.
    fn translation_of(&mut self, block: &Block) -> Option<usize> {
        let n = block.translation()?;
        let tier2 = self.tier2.as_deref_mut()?;
        let t = tier2.translations.get(n as usize).filter(|t| t.mode == self.mode)?;
        if t.alive {
            return Some(t.entry);
        }
        let page = tier2.page(block);
        if !self.translation_watched(block, page) {
            return None;
        }
        let tier2 = self.tier2.as_deref_mut()?;
        let t = &mut tier2.translations[n as usize];
        (t.alive, t.page) = (true, page);
        tier2.arena.put(t.entry, &t.beginning);
        tier2.pages[page].alive.push(n);
        tier2.counters.revived += 1;
        Some(t.entry)
    }

    /// Runs the translation of the block that tier 1 just entered.
    pub(crate) fn enter_translation(&mut self, block: &Block) -> After {
        let Some(entry) = self.translation_of(block) else { return After::None };
        let lin = self.gpr[IP];
        let own = self.blocks.is_own(lin, self.stamps.own);
        let mode = self.mode;
        let Some(tier2) = self.tier2.as_deref_mut() else { return After::None };
        let mut entry = tier2.arena.base() + entry as u64;
        (self.frame.jumps, self.frame.codes) = (tier2.links.jumps(mode), tier2.links.codes(mode));
        tier2.links.found(mode, lin, block.page, own);
        tier2.links.remember(mode, lin, block.page, entry);
        tier2.counters.entered += 1;
        let enter = tier2.thunks.enter;
        self.icount = self.icount.wrapping_sub(block.count.into());
        self.frame.page = lin & PAGE_MASK;
        self.frame.flags = packed(self.status());
        let why = loop {
            let granted = self.icount_limit.wrapping_sub(self.icount).min(MOST) as i64;
            self.frame.budget = granted;
            if let Some(tier2) = &mut self.tier2 {
                (tier2.granted, tier2.entered_at) = (granted, self.icount);
            }
            // SAFETY: the entry is that of a translation which holds for this mode and for the bytes at RIP.
            let why = unsafe { arena::enter(enter, self, entry) };
            self.icount = self.icount.wrapping_add((granted - self.frame.budget) as u64);
            if why != left::LINK {
                break why;
            }
            match self.follow(self.frame.left_at as usize) {
                Some(next) => entry = next,
                None => break left::BETWEEN,
            }
        };
        self.set_status(unpacked(self.frame.flags));
        self.after(why)
    }

    fn after(&mut self, why: u64) -> After {
        let Some(tier2) = self.tier2.as_deref_mut() else { return After::Between };
        let (block, at) = match why {
            left::RESUME if self.frame.left_at != u32::MAX => {
                let site = &tier2.sites[self.frame.left_at as usize];
                (site.block, usize::from(site.at))
            }
            left::RESUME | left::FAULT => tier2.stopped,
            left::PANIC => {
                let panic = tier2.panic.take().unwrap_or_else(|| Box::new("an operation panicked"));
                std::panic::resume_unwind(panic);
            }
            _ => return After::Between,
        };
        self.stand_in(block);
        // SAFETY: blocks stay until the cache is cleared, which happens between blocks.
        let block = unsafe { &*block };
        self.icount = self.icount.wrapping_add(block.count.into());
        let op = block.op(at);
        if why == left::FAULT {
            self.fault_op = op;
            return After::Fault;
        }
        After::Resume(block.handler(at), op)
    }

    /// Makes a block the one that runs, at the page that translated code runs in.
    fn stand_in(&mut self, block: *const Block) {
        self.block = block;
        // SAFETY: blocks stay until the cache is cleared, which happens between blocks.
        let block = unsafe { &*block };
        self.block_page = block.page;
        self.gpr[IP] = self.frame.page | block.gpa() & !PAGE_MASK;
    }

    /// Where translated code goes on behind an edge, linked for the next time; RIP is set there.
    fn follow(&mut self, edge: usize) -> Option<u64> {
        let edge = *self.tier2.as_ref()?.edges.get(edge)?;
        let lin = self.frame.page.wrapping_add(edge.to as u64);
        let lin = if self.code == 64 { lin } else { lin as u32 as u64 };
        self.gpr[IP] = lin;
        let page = lin & PAGE_MASK;
        let Some(block) = self.known_block(lin) else {
            let entry = self.linked_before(edge.link, lin)?;
            self.frame.page = page;
            return Some(entry);
        };
        // SAFETY: blocks stay until the cache is cleared, which happens between blocks.
        let block = unsafe { &*block };
        block.translation()?;
        let entry = self.translation_of(block)?;
        let own = self.blocks.is_own(lin, self.stamps.own);
        let mode = self.mode;
        let tier2 = self.tier2.as_deref_mut()?;
        let entry = tier2.arena.base() + entry as u64;
        match edge.link {
            Link::Jump(at) => {
                let at = at as usize;
                let bytes = asm::jump_bytes(tier2.arena.base() + at as u64, entry);
                tier2.arena.put(at, &bytes);
            }
            Link::Slot(at) => {
                let at = (at - tier2.arena.base()) as usize;
                tier2.links.found(mode, lin, block.page, own);
                tier2.links.fill(&mut tier2.arena, at, layout::Slot { phys: block.page, entry });
            }
        }
        tier2.counters.linked += 1;
        self.frame.page = page;
        Some(entry)
    }

    /// Where a link leads that was made under other mappings, if its page is the same now.
    fn linked_before(&mut self, link: Link, lin: u64) -> Option<u64> {
        let Link::Slot(at) = link else { return None };
        let tier2 = self.tier2.as_deref()?;
        let slot = tier2.links.slot(&tier2.arena, (at - tier2.arena.base()) as usize);
        if slot.phys == layout::NO_PAGE || (lin as i64) << 16 >> 16 != lin as i64 {
            return None;
        }
        let set = self.set as usize;
        // What goes wrong, tier 1 finds again.
        let gpa = self.translate(lin, Access::Exec, set).ok()?;
        if gpa & PAGE_MASK != slot.phys {
            return None;
        }
        let global = self.tlb_sets.is_global(lin, set);
        self.tlb_sets.ran(lin, global);
        let mode = self.mode;
        self.tier2.as_deref_mut()?.links.found(mode, lin, slot.phys, !global);
        Some(slot.entry)
    }

    /// Runs the operations of a site as tier 1 would in their block.
    fn run_site(&mut self, number: u32) -> u64 {
        let Some(tier2) = self.tier2.as_deref_mut() else { return left::BETWEEN };
        let Site { block, ops, at, run, flags } = tier2.sites[number as usize];
        let (at, run) = (usize::from(at), usize::from(run));
        let ops = if ops == NOT_YET {
            // SAFETY: blocks stay until the cache is cleared, which happens between blocks.
            tier2.lower(number as usize, unsafe { &*block }, &self.model.features)
        } else {
            ops as usize
        };
        let used = tier2.granted - self.frame.budget;
        let entered_at = tier2.entered_at;
        let first = &raw const tier2.ops[ops];
        let mode = self.mode;
        self.stand_in(block);
        // SAFETY: blocks stay until the cache is cleared, which happens between blocks.
        let count = unsafe { (*block).count };
        let before = entered_at.wrapping_add(used as u64).wrapping_add(count.into());
        self.icount = before;
        if flags {
            self.set_status(unpacked(self.frame.flags));
        }
        // SAFETY: the first of a site's operations, to which none are added while they run; the last one is an end.
        let flow = unsafe { ((*first).run)(self, first) };
        // String instructions count what they do.
        self.frame.budget -= self.icount.wrapping_sub(before) as i64;
        self.icount = entered_at;
        if flags {
            self.frame.flags = packed(self.status());
        }
        let ran = match flow {
            Flow::Fault => (self.fault_op as usize).wrapping_sub(first as usize) / size_of::<Op>(),
            Flow::Next if self.special == 0 && self.mode == mode => return 0,
            Flow::Next => run,
        };
        if let Some(tier2) = &mut self.tier2 {
            tier2.stopped = (block, at + ran);
        }
        self.frame.left_at = u32::MAX;
        if flow == Flow::Fault { left::FAULT } else { left::RESUME }
    }
}
