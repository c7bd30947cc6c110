//! Decoded blocks and where they are found.
//!
//! A block is keyed by the physical address of its first byte and the mode bits; a direct-mapped table by linear
//! address lies in front. A block holds as long as its page's write counter stands; when it moved, the bytes are
//! compared, because most writes to pages with code are to data beside it. An instruction that crosses a page makes a
//! block of its own, whose bytes are compared each time.
//!
//! A second tier finds its place behind the same key: a block that ran often gets another `run` in its first
//! operation.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU32, Ordering};

use hypervisor::memory::PAGE;
use iced_x86::{Decoder, DecoderError, DecoderOptions, Instruction};

use crate::cpu::{Cpu, Fault, IP, mode, seg};
use crate::lower;
use crate::op::{Ctx, Op};
use crate::paging::Access;
use crate::tlb::PAGE_MASK;

/// Most instructions of a block.
const MAX_OPS: usize = 48;
/// Most bytes of a block; offsets in it are bytes.
const MAX_BYTES: usize = 240;
/// Longest instruction.
const MAX_LEN: usize = 15;
/// Entries of the table by linear address.
const LINES: usize = 8192;
/// Operations that are kept before everything is thrown away.
const MAX_CACHED: usize = 1 << 20;

static NEVER: AtomicU32 = AtomicU32::new(0);

/// A run of decoded instructions.
pub struct Block {
    ops: Box<[Op]>,
    code: Box<[u8]>,
    /// Write counter of the page when it was last known good.
    generation: u32,
    counter: *const AtomicU32,
    /// Physical page.
    pub(crate) page: u64,
    /// Number of instructions.
    pub(crate) count: u32,
    crosses: bool,
}

impl Block {
    /// First operation.
    pub(crate) fn first(&self) -> *const Op {
        self.ops.as_ptr()
    }
    /// Number of operations from `op` to the end that are instructions.
    pub(crate) fn left_from(&self, op: *const Op) -> u32 {
        let at = (op as usize).wrapping_sub(self.ops.as_ptr() as usize) / size_of::<Op>();
        self.count.saturating_sub(at as u32)
    }
    #[inline(always)]
    fn is_current(&self) -> bool {
        // SAFETY: the counter is `NEVER` or one of a page track that the machine keeps alive.
        unsafe { (*self.counter).load(Ordering::Acquire) == self.generation }
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
    key: u64,
    block: *const Block,
}

/// The blocks of a vCPU.
pub struct Cache {
    by_phys: HashMap<(u64, u32), Box<Block>, BuildHasherDefault<Fx>>,
    by_lin: Box<[Line]>,
    cached: usize,
}

impl Cache {
    /// No block.
    pub fn new() -> Cache {
        let line = Line { lin: 0, key: u64::MAX, block: std::ptr::null() };
        Cache { by_phys: HashMap::default(), by_lin: vec![line; LINES].into(), cached: 0 }
    }
    /// Forgets everything. The caller moves the stamp, so that no line is believed.
    fn clear(&mut self) {
        self.by_phys.clear();
        self.cached = 0;
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
    (lin ^ (lin >> 13)) as usize & (LINES - 1)
}

/// Bytes of code that were fetched.
struct Fetched {
    bytes: [u8; MAX_BYTES + 16],
    len: usize,
    /// Bytes of it on the first page.
    near: usize,
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

    /// The block at RIP.
    #[inline(always)]
    pub(crate) fn find_block(&mut self) -> Result<*const Block, Fault> {
        let lin = self.linear_ip();
        let entry = &self.blocks.by_lin[line(lin)];
        if entry.lin == lin && entry.key == self.key {
            // SAFETY: blocks live until the cache is cleared, and then the key changes.
            let block = unsafe { &*entry.block };
            if block.is_current() && self.gpr[IP].wrapping_add(block.code.len() as u64) <= self.ip_bound {
                return Ok(entry.block);
            }
        }
        self.find_block_slow(lin)
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
        let mode = self.key as u32;
        let counter = self.generation(gpa).map_or(&raw const NEVER, |(counter, _)| counter);
        // After a change of the map the page's counter may be another one.
        let found = self
            .blocks
            .by_phys
            .get(&(gpa, mode))
            .map(|b| (b.crosses, b.code.len(), b.is_current() && std::ptr::eq(b.counter, counter)));
        if let Some((crosses, len, current)) = found
            && ip.wrapping_add(len as u64) <= self.ip_bound
        {
            let good = if crosses || !current { self.verify(lin, gpa, mode, len)? } else { true };
            if good {
                return Ok(self.keep_line(lin, gpa, mode));
            }
        }
        self.decode_block(lin, gpa, mode)
    }

    fn keep_line(&mut self, lin: u64, gpa: u64, mode: u32) -> *const Block {
        let Some(block) = self.blocks.by_phys.get(&(gpa, mode)) else { return std::ptr::null() };
        let pointer: *const Block = &**block;
        if !block.crosses {
            self.blocks.by_lin[line(lin)] = Line { lin, key: self.key, block: pointer };
        }
        pointer
    }

    /// Whether a block's bytes are still those in memory.
    fn verify(&mut self, lin: u64, gpa: u64, mode: u32, len: usize) -> Result<bool, Fault> {
        let generation = self.mark_code(gpa);
        let fetched = self.fetch(lin, gpa, len)?;
        let Some(block) = self.blocks.by_phys.get_mut(&(gpa, mode)) else { return Ok(false) };
        let same = *block.code == fetched.bytes[..fetched.len.min(len)];
        if same {
            if !block.crosses {
                (block.counter, block.generation) = generation.unwrap_or((&NEVER, 0));
            }
        }
        Ok(same)
    }

    /// Write counter of a page and its value; none where there is no memory.
    fn generation(&mut self, gpa: u64) -> Option<(*const AtomicU32, u32)> {
        let info = self.phys_page(gpa);
        let (track, page) = info.code_track()?;
        let counter = track.generation(page)?;
        Some((counter, counter.load(Ordering::Acquire)))
    }

    /// Reads up to `want` bytes of code from the first page, and if these are fewer, more from the second one.
    fn fetch(&mut self, lin: u64, gpa: u64, want: usize) -> Result<Fetched, Fault> {
        let room = (PAGE - (gpa & (PAGE - 1))) as usize;
        let near = want.min(room);
        let mut fetched = Fetched { bytes: [0xff; MAX_BYTES + 16], len: want, near };
        self.fetch_page(gpa, &mut fetched.bytes[..near]);
        if want > near {
            let next = (lin & PAGE_MASK).wrapping_add(PAGE);
            let next = if self.code == 64 { next } else { next as u32 as u64 };
            let gpa = self.translate(next, Access::Exec, self.set as usize)?;
            self.fetch_page(gpa, &mut fetched.bytes[near..want]);
        }
        Ok(fetched)
    }

    fn fetch_page(&mut self, gpa: u64, bytes: &mut [u8]) {
        let info = self.phys_page(gpa);
        if !info.read.is_null() {
            let host = info.read.wrapping_add((gpa & (PAGE - 1)) as usize);
            // SAFETY: `bytes` does not go past the end of the page, which is mapped.
            unsafe { std::ptr::copy_nonoverlapping(host, bytes.as_mut_ptr(), bytes.len()) };
        }
    }

    fn decode_block(&mut self, lin: u64, gpa: u64, mode: u32) -> Result<*const Block, Fault> {
        let ip = self.gpr[IP];
        let limit = usize::try_from(self.ip_bound.wrapping_sub(ip)).unwrap_or(usize::MAX);
        let generation = self.mark_code(gpa);
        let room = (PAGE - (gpa & (PAGE - 1))) as usize;
        let mut fetched = self.fetch(lin, gpa, MAX_BYTES.min(room).min(limit))?;
        let mut built = build(&fetched.bytes[..fetched.len], ip, mode);
        if built.is_none() && limit.min(MAX_LEN) > fetched.near {
            // The first instruction does not end on its page.
            fetched = self.fetch(lin, gpa, limit.min(MAX_LEN))?;
            built = build(&fetched.bytes[..fetched.len], ip, mode);
        }
        // Still not whole: it runs past the limit of its segment.
        let Some((ops, len, count)) = built else { return Err(self.gp(0)) };
        let crosses = len > room;
        let (counter, generation) = generation.unwrap_or((&NEVER, 0));
        let block = Block {
            ops,
            code: fetched.bytes[..len].into(),
            generation,
            counter: if crosses { &NEVER } else { counter },
            page: gpa & PAGE_MASK,
            count,
            crosses,
        };
        self.store_block(lin, gpa, mode, block)
    }

    fn store_block(&mut self, lin: u64, gpa: u64, mode: u32, block: Block) -> Result<*const Block, Fault> {
        if self.blocks.cached > MAX_CACHED {
            self.drop_blocks();
        }
        self.blocks.cached += block.ops.len();
        match self.blocks.by_phys.get_mut(&(gpa, mode)) {
            // In place: lines by linear address may point here.
            Some(old) => **old = block,
            None => {
                self.blocks.by_phys.insert((gpa, mode), Box::new(block));
            }
        }
        Ok(self.keep_line(lin, gpa, mode))
    }

    /// Throws all decoded code away. Not while a block runs.
    pub(crate) fn drop_blocks(&mut self) {
        self.new_stamp();
        self.blocks.clear();
    }

    /// Says that this page holds code and makes all writes to it be noticed; gives its counter.
    fn mark_code(&mut self, gpa: u64) -> Option<(*const AtomicU32, u32)> {
        let info = self.phys_page(gpa);
        let newly = info.code_track().is_some_and(|(track, page)| track.mark_code(page));
        if newly {
            let page = gpa & PAGE_MASK;
            self.flush_writes(|phys| phys == page);
            self.shared.tell_others(self.id, crate::machine::attention::CODE);
        }
        self.generation(gpa)
    }
}

/// Decodes as many instructions as make a block; none if the bytes end within the first.
fn build(bytes: &[u8], ip: u64, mode: u32) -> Option<(Box<[Op]>, usize, u32)> {
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
    let ctx = Ctx { code: bits, stack, mode, block_ip: ip };
    // What we do not announce decodes as on processors before it.
    let options = DecoderOptions::NO_WBNOINVD
        | DecoderOptions::NO_MPFX_0FBC
        | DecoderOptions::NO_MPFX_0FBD
        | DecoderOptions::FORCE_RESERVED_NOP;
    let most = if mode & mode::SINGLE != 0 { 1 } else { MAX_OPS };
    let mut decoder = Decoder::with_ip(bits as u32, bytes, ip, options);
    let mut ops = Vec::with_capacity(most.min(16) + 1);
    let mut i = Instruction::default();
    let mut at = 0;
    let mut open = true;
    while open && ops.len() < most && at < bytes.len() {
        decoder.decode_out(&mut i);
        if i.is_invalid() && decoder.last_error() == DecoderError::NoMoreBytes && bytes.len() - at < MAX_LEN {
            break;
        }
        let len = if i.is_invalid() { 1 } else { i.len() };
        let mut op = lower::lower(&i, &ctx, &bytes[at..]);
        open = op.place(at as u8, len as u8);
        ops.push(op);
        at += len;
    }
    if ops.is_empty() {
        return None;
    }
    let count = ops.len() as u32;
    if open {
        let mut fall = Op::fall();
        fall.place(at as u8, 0);
        ops.push(fall);
    }
    Some((ops.into(), at, count))
}
