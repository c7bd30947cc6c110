//! Decoded blocks and where they are found.
//!
//! A block is keyed by the physical address of its first byte and the mode bits; a direct-mapped table by linear
//! address lies in front. A block holds as long as its page's write counter stands; when it moved, the bytes are
//! compared, because most writes to pages with code are to data beside it. An instruction that crosses a page makes a
//! block of its own, with the counters of both pages; the second one is that of the linear address it was last
//! compared at.
//!
//! A block that ran often is translated ([`crate::tier2`]): it gets another `run` in its first operation.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use hypervisor::memory::PAGE;
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

use crate::cpu::{Cpu, Fault, IP, mode, seg};
use crate::host;
use crate::lower;
use crate::model::{Feature, Features};
use crate::op::{Ctx, Handler, Op, run_translated};
use crate::paging::Access;
use crate::tlb::PAGE_MASK;

/// Most instructions of a block.
pub(crate) const MAX_OPS: usize = 48;
/// Most bytes of a block; offsets in it are bytes.
pub(crate) const MAX_BYTES: usize = 240;
/// Longest instruction.
const MAX_LEN: usize = 15;
/// Entries of the table by linear address.
const LINES: usize = 1 << 15;
/// Operations that are kept before everything is thrown away.
const MAX_CACHED: usize = 1 << 20;
/// Operations of blocks that wait to be translated that are kept before those blocks are thrown away: most code of a
/// guest is run a few times and never again.
const MAX_WAITING: usize = 1 << 16;

static NEVER: AtomicU32 = AtomicU32::new(0);

/// A run of decoded instructions.
pub struct Block {
    ops: Box<[Cell<Op>]>,
    code: Box<[u8]>,
    /// Physical address of its first byte.
    gpa: u64,
    /// Mode bits it was decoded for.
    pub(crate) mode: u32,
    /// The first operation's own handler.
    handler: Handler,
    /// Runs until it is translated; 0 for never.
    heat: Cell<u32>,
    /// Number of its translation.
    translation: Cell<Option<u32>>,
    /// That of a block which was here before it: its bytes changed.
    replaces: Cell<Option<u32>>,
    /// Write counter of the page when it was last known good.
    generation: u32,
    counter: *const AtomicU32,
    /// Physical page.
    pub(crate) page: u64,
    /// Number of instructions.
    pub(crate) count: u32,
    /// Of an instruction that crosses a page: where it ends.
    far: Option<Far>,
}

/// The second page of an instruction that lies on two.
struct Far {
    /// Linear address of the instruction. From another one, the second page may be another one.
    lin: u64,
    /// As of the first page.
    generation: u32,
    counter: *const AtomicU32,
}

/// A page's write counter, and what it was.
type Counted = (*const AtomicU32, u32);
/// What stands for a page that nobody can write.
const UNWRITTEN: Counted = (&raw const NEVER, 0);

impl Block {
    /// First operation.
    pub(crate) fn first(&self) -> *const Op {
        self.ops.as_ptr().cast()
    }
    /// An operation.
    pub(crate) fn op(&self, at: usize) -> *const Op {
        self.ops[at].as_ptr()
    }
    /// What runs it in tier 1.
    pub(crate) fn handler(&self, at: usize) -> Handler {
        if at == 0 { self.handler } else { self.ops[at].get().run }
    }
    /// Its bytes.
    pub(crate) fn code(&self) -> &[u8] {
        &self.code
    }
    /// Physical address of its first byte.
    pub(crate) fn gpa(&self) -> u64 {
        self.gpa
    }
    /// Whether its one instruction lies on two pages.
    pub(crate) fn crosses(&self) -> bool {
        self.far.is_some()
    }
    /// Write counter of its page and what it was.
    pub(crate) fn counted(&self) -> (*const AtomicU32, u32) {
        (self.counter, self.generation)
    }
    /// Number of its translation.
    pub(crate) fn translation(&self) -> Option<u32> {
        self.translation.get()
    }
    /// Counts a run; true when the block is to be translated.
    #[inline(always)]
    pub(crate) fn warm_up(&self) -> bool {
        let heat = self.heat.get();
        if heat == 0 {
            return false;
        }
        self.heat.set(heat - 1);
        heat == 1
    }
    /// Number of the translation that is to lead to its own.
    pub(crate) fn replaces(&self) -> Option<u32> {
        self.replaces.get()
    }
    /// Gives it a translation, or takes it away.
    pub(crate) fn set_translation(&self, number: Option<u32>) {
        self.translation.set(number);
        let run = if number.is_some() { run_translated } else { self.handler };
        self.ops[0].set(Op { run, ..self.ops[0].get() });
    }
    /// Number of operations from `op` to the end that are instructions.
    pub(crate) fn left_from(&self, op: *const Op) -> u32 {
        let at = (op as usize).wrapping_sub(self.ops.as_ptr() as usize) / size_of::<Op>();
        self.count.saturating_sub(at as u32)
    }
    #[inline(always)]
    fn is_current(&self, lin: u64) -> bool {
        // SAFETY: the counter is `NEVER` or one of a page track that the machine keeps alive.
        let near = unsafe { (*self.counter).load(Ordering::Acquire) == self.generation };
        near && self.far.as_ref().is_none_or(|far| far.is_current(lin))
    }
}

impl Far {
    #[inline(never)]
    fn is_current(&self, lin: u64) -> bool {
        // SAFETY: as that of the first page.
        self.lin == lin && unsafe { (*self.counter).load(Ordering::Acquire) == self.generation }
    }
}

/// Multiplies: keys are addresses, no one can gain from collisions but the guest itself.
#[derive(Default)]
pub struct Fx(u64);

impl Hasher for Fx {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.write_u64(*b as u64);
        }
    }
    fn write_u64(&mut self, v: u64) {
        self.0 = (self.0.rotate_left(5) ^ v).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    fn write_u32(&mut self, v: u32) {
        self.write_u64(v as u64);
    }
}

#[derive(Clone, Copy)]
struct Line {
    lin: u64,
    mode: u32,
    /// One of [`crate::tlb::Stamps`].
    stamp: u32,
    block: *const Block,
}

/// Matches no mode.
const NO_LINE: Line = Line { lin: 0, mode: u32::MAX, stamp: 0, block: std::ptr::null() };

/// The blocks of a vCPU.
pub struct Cache {
    by_phys: HashMap<(u64, u32), Box<Block>, BuildHasherDefault<Fx>>,
    by_lin: Box<[Line; LINES]>,
    cached: usize,
    /// Of these, operations of blocks that were to be translated some time, when they were made.
    waiting: usize,
    /// Most instructions of a block that is decoded from now on.
    pub(crate) most: usize,
}

impl Default for Cache {
    fn default() -> Cache {
        Cache::new()
    }
}

impl Cache {
    /// No block.
    pub fn new() -> Cache {
        let by_lin = vec![NO_LINE; LINES].into_boxed_slice().try_into();
        let by_lin = by_lin.unwrap_or_else(|_| Box::new([NO_LINE; LINES]));
        Cache { by_phys: HashMap::default(), by_lin, cached: 0, waiting: 0, most: MAX_OPS }
    }
    /// Forgets what lies where, not the blocks.
    pub(crate) fn forget_lines(&mut self) {
        self.by_lin.fill(NO_LINE);
    }
    /// Forgets everything.
    fn clear(&mut self) {
        self.forget_lines();
        self.by_phys.clear();
        (self.cached, self.waiting) = (0, 0);
    }
    /// Forgets the blocks that wait to be translated: those that ran less than a few times of the `runs` it takes, or if
    /// that is not enough, all. Between blocks.
    fn forget_waiting(&mut self, runs: u32) {
        const FEW: u32 = 4;
        self.forget_lines();
        for least in [FEW, u32::MAX] {
            if self.waiting > MAX_WAITING / 2 {
                // A translation of the bytes that were there before may still name the block.
                self.by_phys.retain(|_, block| {
                    let heat = block.heat.get();
                    heat == 0 || runs.saturating_sub(heat) >= least || block.replaces().is_some()
                });
                let left = self.by_phys.values().filter(|block| block.heat.get() != 0);
                self.waiting = left.map(|block| block.ops.len()).sum();
            }
        }
        self.cached = self.by_phys.values().map(|block| block.ops.len()).sum();
    }
    /// Takes the translations of all blocks away; they are translated again after so many runs.
    pub(crate) fn forget_translations(&self, runs: u32) {
        for block in self.by_phys.values() {
            block.replaces.set(None);
            if block.translation().is_some() {
                block.set_translation(None);
                block.heat.set(runs);
            }
        }
    }
    /// Whether a line was found by a mapping that a write of CR3 ends, if it is known at all.
    pub(crate) fn is_own(&self, lin: u64, own: u32) -> bool {
        let entry = &self.by_lin[line(lin)];
        entry.lin != lin || entry.stamp == own
    }
    /// Number of blocks.
    pub fn len(&self) -> usize {
        self.by_phys.len()
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_phys.is_empty()
    }
}

#[inline(always)]
fn line(lin: u64) -> usize {
    (lin ^ (lin >> 15)) as usize & (LINES - 1)
}

/// Bytes of code that were fetched.
struct Fetched {
    bytes: [u8; MAX_BYTES + 16],
    len: usize,
    /// Bytes of it on the first page.
    near: usize,
    /// The rest's page.
    far: Option<Far>,
}

impl Cpu {
    /// Linear address of the next instruction.
    #[inline(always)]
    pub(crate) fn linear_ip(&self) -> u64 {
        if self.code == 64 {
            self.gpr[IP]
        } else {
            (self.gpr[IP] as u32).wrapping_add(self.seg[seg::CS].base as u32) as u64
        }
    }

    /// The block at RIP, if it is known by its linear address.
    #[inline(always)]
    pub(crate) fn known_block(&self, lin: u64) -> Option<*const Block> {
        let entry = &self.blocks.by_lin[line(lin)];
        let stamps = &self.stamps;
        if entry.lin == lin
            && entry.mode == self.mode
            && (entry.stamp == stamps.own || entry.stamp == stamps.global)
        {
            // SAFETY: blocks live until the cache is cleared, and then the stamps move.
            let block = unsafe { &*entry.block };
            if block.is_current(lin) && self.gpr[IP].wrapping_add(block.code.len() as u64) <= self.ip_bound {
                return Some(entry.block);
            }
        }
        None
    }

    /// The block at RIP.
    #[inline(always)]
    pub(crate) fn find_block(&mut self) -> Result<*const Block, Fault> {
        let lin = self.linear_ip();
        match self.known_block(lin) {
            Some(block) => Ok(block),
            None => self.find_block_slow(lin),
        }
    }

    #[cold]
    #[inline(never)]
    fn find_block_slow(&mut self, lin: u64) -> Result<*const Block, Fault> {
        let ip = self.gpr[IP];
        if self.code == 64 {
            if (ip as i64) << 16 >> 16 != ip as i64 {
                return Err(self.gp(0));
            }
        } else if ip >= self.ip_bound {
            return Err(self.gp(0));
        }
        let gpa = self.translate(lin, Access::Exec, self.set as usize)?;
        let mode = self.mode & !mode::USER;
        let (counter, _) = self.generation(gpa).unwrap_or(UNWRITTEN);
        if let Some(found) = self.found_again(lin, gpa, counter) {
            return Ok(found);
        }
        if let Some(block) = self.blocks.by_phys.get(&(gpa, mode)) {
            let (found, len, crosses) = (&raw const **block, block.code.len(), block.far.is_some());
            if ip.wrapping_add(len as u64) <= self.ip_bound {
                // After a change of the map a page's counter may be another one.
                let sure = !crosses && std::ptr::eq(block.counter, counter) && block.is_current(lin);
                if sure || self.verify(lin, gpa, mode, len)? {
                    self.keep_line(lin, crosses, found);
                    return Ok(found);
                }
            }
        }
        self.decode_block(lin, gpa, mode)
    }

    /// The block that was known at a linear address before the stamps moved, if that is still the one.
    fn found_again(&mut self, lin: u64, gpa: u64, counter: *const AtomicU32) -> Option<*const Block> {
        let entry = self.blocks.by_lin[line(lin)];
        if entry.lin != lin || entry.mode != self.mode {
            return None;
        }
        // SAFETY: blocks live until the cache is cleared, and then there are no lines.
        let block = unsafe { &*entry.block };
        let same = block.gpa == gpa && block.far.is_none() && std::ptr::eq(block.counter, counter);
        let fits = self.gpr[IP].wrapping_add(block.code.len() as u64) <= self.ip_bound;
        if !same || !fits || !block.is_current(lin) {
            return None;
        }
        self.keep_line(lin, false, entry.block);
        Some(entry.block)
    }

    /// Remembers what was found at a linear address, for as long as the mapping of its pages stands.
    fn keep_line(&mut self, lin: u64, crosses: bool, block: *const Block) {
        let last = if crosses { self.page_after(lin) } else { lin };
        let sets = &mut self.tlb_sets;
        let global = [lin, last].into_iter().all(|at| sets.is_global(at, self.set as usize));
        sets.ran(lin, global);
        sets.ran(last, global);
        let stamp = if global { self.stamps.global } else { self.stamps.own };
        self.blocks.by_lin[line(lin)] = Line { lin, mode: self.mode, stamp, block };
    }

    /// Whether a block's bytes are still those in memory.
    fn verify(&mut self, lin: u64, gpa: u64, mode: u32, len: usize) -> Result<bool, Fault> {
        let near = self.mark_code(gpa);
        let fetched = self.fetch(lin, gpa, len)?;
        let Some(block) = self.blocks.by_phys.get_mut(&(gpa, mode)) else { return Ok(false) };
        let same = *block.code == fetched.bytes[..fetched.len.min(len)];
        if same {
            (block.counter, block.generation) = near;
            block.far = fetched.far;
        }
        Ok(same)
    }

    /// Write counter of a page and its value; none where there is no memory.
    fn generation(&mut self, gpa: u64) -> Option<Counted> {
        let info = self.phys_page(gpa);
        let (track, page) = info.code_track(&self.shared.physical)?;
        let counter = track.generation(page)?;
        Some((counter, counter.load(Ordering::Acquire)))
    }

    /// Reads up to `want` bytes of code from the first page, and if these are fewer, more from the second one.
    fn fetch(&mut self, lin: u64, gpa: u64, want: usize) -> Result<Fetched, Fault> {
        let room = (PAGE - (gpa & (PAGE - 1))) as usize;
        let near = want.min(room);
        let mut fetched = Fetched { bytes: [0xff; MAX_BYTES + 16], len: want, near, far: None };
        self.fetch_page(gpa, &mut fetched.bytes[..near]);
        if want > near {
            let gpa = self.translate(self.page_after(lin), Access::Exec, self.set as usize)?;
            let (counter, generation) = self.mark_code(gpa);
            fetched.far = Some(Far { lin, generation, counter });
            self.fetch_page(gpa, &mut fetched.bytes[near..want]);
        }
        Ok(fetched)
    }

    fn page_after(&self, lin: u64) -> u64 {
        let next = (lin & PAGE_MASK).wrapping_add(PAGE);
        if self.code == 64 { next } else { next as u32 as u64 }
    }

    fn fetch_page(&mut self, gpa: u64, bytes: &mut [u8]) {
        let info = self.phys_page(gpa);
        if !info.read().is_null() {
            let at = info.read().wrapping_add((gpa & (PAGE - 1)) as usize);
            // SAFETY: `bytes` does not go past the end of the page, which is mapped, and is our own.
            unsafe { host::copy(at, bytes.as_mut_ptr(), bytes.len()) };
        }
    }

    fn decode_block(&mut self, lin: u64, gpa: u64, mode: u32) -> Result<*const Block, Fault> {
        let ip = self.gpr[IP];
        let limit = usize::try_from(self.ip_bound.wrapping_sub(ip)).unwrap_or(usize::MAX);
        let (counter, generation) = self.mark_code(gpa);
        let room = (PAGE - (gpa & (PAGE - 1))) as usize;
        let mut fetched = self.fetch(lin, gpa, MAX_BYTES.min(room).min(limit))?;
        let most = if mode & mode::SINGLE != 0 { 1 } else { self.blocks.most };
        let has = self.model.features;
        let mut built = build(&fetched.bytes[..fetched.len], ip, mode, &has, most);
        if built.is_none() && limit.min(MAX_LEN) > fetched.near {
            // The first instruction does not end on its page. It stays alone, so that writes to the second page
            // are never to what is still to come of the block.
            fetched = self.fetch(lin, gpa, limit.min(MAX_LEN))?;
            built = build(&fetched.bytes[..fetched.len], ip, mode, &has, 1);
        }
        // Still not whole: it runs past the limit of its segment.
        let Some((ops, looked, count)) = built else { return Err(self.gp(0)) };
        let crosses = fetched.far.is_some();
        let handler = ops[0].run;
        let block = Block {
            ops: ops.into_iter().map(Cell::new).collect(),
            code: fetched.bytes[..looked].into(),
            gpa,
            mode,
            handler,
            heat: Cell::new(self.heat(mode)),
            translation: Cell::new(None),
            replaces: Cell::new(None),
            generation,
            counter,
            page: gpa & PAGE_MASK,
            count,
            far: fetched.far,
        };
        let stored = self.store_block(gpa, mode, block);
        self.keep_line(lin, crosses, stored);
        Ok(stored)
    }

    fn store_block(&mut self, gpa: u64, mode: u32, block: Block) -> *const Block {
        if self.blocks.cached > MAX_CACHED {
            self.drop_blocks();
        }
        if self.blocks.waiting > MAX_WAITING {
            let runs = self.tier2.as_ref().map_or(0, |tier2| tier2.threshold());
            self.blocks.forget_waiting(runs);
        }
        self.blocks.cached += block.ops.len();
        if block.heat.get() != 0 {
            self.blocks.waiting += block.ops.len();
        }
        match self.blocks.by_phys.entry((gpa, mode)) {
            // In place: lines by linear address may point here.
            Entry::Occupied(old) => {
                let place = old.into_mut();
                block.replaces.set(place.translation().or(place.replaces()));
                **place = block;
                &raw const **place
            }
            Entry::Vacant(free) => &raw const **free.insert(Box::new(block)),
        }
    }

    /// Throws all decoded code away. Not while a block runs.
    pub(crate) fn drop_blocks(&mut self) {
        self.new_stamp(true);
        self.forget_translations();
        self.blocks.clear();
    }

    /// Says that this page holds code and makes all writes to it be noticed; gives its counter.
    fn mark_code(&mut self, gpa: u64) -> Counted {
        let info = self.phys_page(gpa);
        let newly = info.code_track(&self.shared.physical).is_some_and(|(track, page)| track.mark_code(page));
        if newly {
            let page = gpa & PAGE_MASK;
            self.flush_writes(|phys| phys == page);
            self.shared.tell_others(self.id, crate::machine::attention::CODE);
        }
        // Whoever marked it: somebody may still write there without a word.
        self.await_others();
        self.generation(gpa).unwrap_or(UNWRITTEN)
    }
}

/// A decoder of code for a mode, and what lowering depends on.
pub(crate) fn decoder<'a>(bytes: &'a [u8], ip: u64, mode: u32, has: &Features) -> (Decoder<'a>, Ctx) {
    let bits = match mode & (mode::CODE32 | mode::CODE64) {
        0 => 16,
        mode::CODE32 => 32,
        _ => 64,
    };
    let stack = match bits {
        64 => 64,
        _ if mode & mode::STACK32 != 0 => 32,
        _ => 16,
    };
    let ctx = Ctx { code: bits, stack, mode, has: *has, block_ip: ip, branch: None };
    // Where the vendors differ, as CPUID's vendor: AMD's near branches of 16 bits in 64-bit code, its far pointers of 32
    // at most. What we do not announce decodes as on processors before it.
    let mut options = DecoderOptions::NO_WBNOINVD | DecoderOptions::FORCE_RESERVED_NOP;
    options |= if mode & mode::INTEL != 0 { 0 } else { DecoderOptions::AMD };
    // Without TZCNT and LZCNT the prefix of BSF and BSR is ignored, and software tells by that (SDM vol. 2, TZCNT).
    for (feature, option) in
        [(Feature::BMI1, DecoderOptions::NO_MPFX_0FBC), (Feature::ABM, DecoderOptions::NO_MPFX_0FBD)]
    {
        options |= if has.has(feature) { 0 } else { option };
    }
    (Decoder::with_ip(bits as u32, bytes, ip, options), ctx)
}

/// Decodes as many instructions as make a block, `most` of them; none if the bytes end within the first. With them, the
/// number of bytes that must stay what they were, and that of instructions.
fn build(bytes: &[u8], ip: u64, mode: u32, has: &Features, most: usize) -> Option<(Box<[Op]>, usize, u32)> {
    let (mut decoder, mut ctx) = decoder(bytes, ip, mode, has);
    let mut ops = Vec::with_capacity(most.min(16) + 1);
    let mut decode = |i: &mut Instruction, at: usize| {
        decoder.decode_out(i);
        let cut = i.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes;
        at < bytes.len() && !(cut && bytes.len() - at < MAX_LEN)
    };
    let (mut i, mut ahead) = (Instruction::default(), Instruction::default());
    let (mut at, mut looked) = (0, 0);
    let mut open = true;
    let mut more = decode(&mut i, 0);
    while open && more && ops.len() < most {
        let len = if i.is_invalid() { 1 } else { i.len() };
        more = ops.len() + 1 < most && decode(&mut ahead, at + len);
        let fused = ctx.branch.is_some();
        ctx.branch = if more && ctx.code == 64 { crate::int::branch_condition(&ahead) } else { None };
        let mut op = lower::lower(&i, &ctx, &bytes[at..]);
        // What comes before was promised it.
        assert!(!fused || op.is_branch(), "the branch that was looked at ahead is one");
        open = op.place(at as u8, len as u8);
        ops.push(op);
        // Any byte may be the one for which an instruction is none, though it counts as of one byte.
        looked = at + if i.is_invalid() { MAX_LEN.min(bytes.len() - at) } else { len };
        at += len;
        std::mem::swap(&mut i, &mut ahead);
    }
    if ops.is_empty() {
        return None;
    }
    let count = ops.len() as u32;
    for (k, op) in ops.iter_mut().enumerate() {
        op.set_left(count as usize - 1 - k);
    }
    if open {
        let mut fall = Op::fall();
        fall.place(at as u8, 0);
        ops.push(fall);
    }
    Some((ops.into(), looked, count))
}
