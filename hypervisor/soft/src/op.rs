//! A decoded operation: what tier 1 runs.
//!
//! iced-x86 decodes an instruction once; a family's `lower` turns it into one [`Op`] whose handler has no decoding
//! left to do. The ops of a block lie side by side, and a handler that is done calls the next one's itself: the
//! compiler makes that a jump where it can, and blocks are short, so that the stack stays small where it cannot.

use std::ops::{BitAnd, BitOr, BitXor, Not};

use iced_x86::{Instruction, Register};

use crate::cpu::{Cpu, Exec, Fault, IP, ZERO};
use crate::model::Features;

/// How a handler left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Flow {
    /// The block is over and RIP is set.
    Next,
    /// `cpu.fault` says what happened in `cpu.fault_op`.
    Fault,
}

/// The function of an operation. The pointer is to an [`Op`] of a block, with its successors behind it.
pub type Handler = unsafe fn(&mut Cpu, *const Op) -> Flow;

/// One operation, 32 bytes.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Op {
    /// What runs it.
    pub run: Handler,
    /// Immediate operand, sign-extended; branch displacement; or whatever the family likes.
    pub imm: u64,
    /// Displacement of the memory operand.
    pub disp: i64,
    /// Base register slot of the memory operand; [`ZERO`] for none, [`IP`] for RIP-relative.
    pub base: u8,
    /// Index register slot; [`ZERO`] for none.
    pub index: u8,
    /// Bits 0-1: log2 of the index factor. Bits 6-7: address size (0: 16, 1: 32, 2: 64 bits).
    pub scale: u8,
    /// Segment slot of the memory operand.
    pub seg: u8,
    /// Register operand.
    pub reg: u8,
    /// The other register operand.
    pub rm: u8,
    /// Offset of the instruction in its block.
    pub at: u8,
    /// Length of the instruction.
    pub len: u8,
}

const _: () = assert!(size_of::<Op>() == 32);

/// A value of the zero-sized type `F`.
#[inline(always)]
fn conjure<F: Copy>() -> F {
    const { assert!(size_of::<F>() == 0, "only plain functions can be handlers") };
    // SAFETY: a zero-sized Copy type with a value (the constructors are given one) has no bytes to get wrong.
    unsafe { std::ptr::NonNull::<F>::dangling().read() }
}

/// # Safety
/// `op` points to an operation of a block whose last operation is not a `line`.
unsafe fn run_line<F: Fn(&mut Cpu, &Op) -> Exec + Copy>(cpu: &mut Cpu, op: *const Op) -> Flow {
    // SAFETY: by the contract of a handler.
    let this = unsafe { &*op };
    match conjure::<F>()(cpu, this) {
        Ok(()) => {
            // SAFETY: a `line` is never the last operation of a block.
            unsafe {
                let next = op.add(1);
                ((*next).run)(cpu, next)
            }
        }
        Err(Fault) => {
            cpu.fault_op = op;
            Flow::Fault
        }
    }
}

/// # Safety
/// `op` points to an operation of a block.
unsafe fn run_stop<F: Fn(&mut Cpu, &Op) -> Exec + Copy>(cpu: &mut Cpu, op: *const Op) -> Flow {
    // SAFETY: by the contract of a handler.
    let this = unsafe { &*op };
    match conjure::<F>()(cpu, this) {
        Ok(()) => {
            cpu.gpr[IP] = cpu.next_ip(this);
            Flow::Next
        }
        Err(Fault) => {
            cpu.fault_op = op;
            Flow::Fault
        }
    }
}

/// # Safety
/// `op` points to an operation of a block.
unsafe fn run_jump<F: Fn(&mut Cpu, &Op) -> Exec + Copy>(cpu: &mut Cpu, op: *const Op) -> Flow {
    // SAFETY: by the contract of a handler.
    let this = unsafe { &*op };
    match conjure::<F>()(cpu, this) {
        Ok(()) => Flow::Next,
        Err(Fault) => {
            cpu.fault_op = op;
            Flow::Fault
        }
    }
}

/// Keeps the general form out of the quick one, which then needs no stack.
///
/// # Safety
/// That of `run`.
#[cold]
#[inline(never)]
unsafe fn slowly(run: Handler, cpu: &mut Cpu, op: *const Op) -> Flow {
    // SAFETY: by contract.
    unsafe { run(cpu, op) }
}

/// Runs `F`, a quick form of `S` that gives up with a [`Fault`] that has no reason; then `S` says what is the matter.
///
/// # Safety
/// `op` points to an operation of a block whose last operation is not a `line`.
unsafe fn run_fast<F, S>(cpu: &mut Cpu, op: *const Op) -> Flow
where
    F: Fn(&mut Cpu, &Op) -> Exec + Copy,
    S: Fn(&mut Cpu, &Op) -> Exec + Copy,
{
    // SAFETY: by the contract of a handler.
    let this = unsafe { &*op };
    match conjure::<F>()(cpu, this) {
        // SAFETY: a `line` is never the last operation of a block.
        Ok(()) => unsafe {
            let next = op.add(1);
            ((*next).run)(cpu, next)
        },
        // SAFETY: the same contract.
        Err(Fault) => unsafe { slowly(run_line::<S>, cpu, op) },
    }
}

/// [`run_fast`] for near branches.
///
/// # Safety
/// `op` points to an operation of a block.
unsafe fn run_near_fast<F, S>(cpu: &mut Cpu, op: *const Op) -> Flow
where
    F: Fn(&mut Cpu, &Op) -> Exec + Copy,
    S: Fn(&mut Cpu, &Op) -> Exec + Copy,
{
    // SAFETY: by the contract of a handler.
    let this = unsafe { &*op };
    match conjure::<F>()(cpu, this) {
        // SAFETY: the handler has set RIP.
        Ok(()) => unsafe { chain(cpu) },
        // SAFETY: the same contract.
        Err(Fault) => unsafe { slowly(run_near::<S>, cpu, op) },
    }
}

/// Two operations at once: `F`, a quick form of `S`, and the conditional branch of 64-bit code behind it, whose
/// condition is then often known without the flags.
///
/// # Safety
/// `op` points to an operation of a block, followed by a branch on the condition `CC`.
unsafe fn run_fused<F, S, const CC: u8>(cpu: &mut Cpu, op: *const Op) -> Flow
where
    F: Fn(&mut Cpu, &Op) -> Exec + Copy,
    S: Fn(&mut Cpu, &Op) -> Exec + Copy,
{
    // SAFETY: by the contract of a handler, and by this one's.
    let (this, branch) = unsafe { (&*op, &*op.add(1)) };
    if conjure::<F>()(cpu, this).is_err() {
        // SAFETY: the same contract; the branch follows as an operation of its own.
        return unsafe { slowly(run_line::<S>, cpu, op) };
    }
    if !cpu.cond::<CC>() {
        // SAFETY: a branch is never the last operation of a block.
        unsafe {
            let next = op.add(2);
            return ((*next).run)(cpu, next);
        }
    }
    let to = cpu.gpr[IP].wrapping_add(branch.at as u64 + branch.len as u64).wrapping_add(branch.imm);
    if (to as i64) << 16 >> 16 != to as i64 {
        // SAFETY: as above; it takes the branch and faults.
        return unsafe { (branch.run)(cpu, branch) };
    }
    cpu.gpr[IP] = to;
    cpu.icount = cpu.icount.wrapping_sub(branch.disp as u64);
    // SAFETY: RIP is set.
    unsafe { chain(cpu) }
}

/// Goes on with the block at RIP, unless something between blocks must be done first.
///
/// # Safety
/// Called at the end of a handler whose block is over.
#[inline(always)]
unsafe fn chain(cpu: &mut Cpu) -> Flow {
    match cpu.next_block() {
        // SAFETY: the first operation of a block.
        Some(first) => unsafe { ((*first).run)(cpu, first) },
        None => Flow::Next,
    }
}

/// # Safety
/// `op` points to an operation of a block.
unsafe fn run_near<F: Fn(&mut Cpu, &Op) -> Exec + Copy>(cpu: &mut Cpu, op: *const Op) -> Flow {
    // SAFETY: by the contract of a handler.
    let this = unsafe { &*op };
    match conjure::<F>()(cpu, this) {
        // SAFETY: the handler has set RIP.
        Ok(()) => unsafe { chain(cpu) },
        Err(Fault) => {
            cpu.fault_op = op;
            Flow::Fault
        }
    }
}

/// # Safety
/// `op` points to an operation of a block that is not its last one.
unsafe fn run_branch<F: Fn(&mut Cpu, &Op) -> Result<bool, Fault> + Copy>(
    cpu: &mut Cpu,
    op: *const Op,
) -> Flow {
    // SAFETY: by the contract of a handler.
    let this = unsafe { &*op };
    match conjure::<F>()(cpu, this) {
        // SAFETY: a branch is never the last operation of a block.
        Ok(false) => unsafe {
            let next = op.add(1);
            ((*next).run)(cpu, next)
        },
        Ok(true) => {
            cpu.icount = cpu.icount.wrapping_sub(this.disp as u64);
            // SAFETY: the handler has set RIP.
            unsafe { chain(cpu) }
        }
        Err(Fault) => {
            cpu.fault_op = op;
            Flow::Fault
        }
    }
}

/// The first operation of a block that has a translation.
///
/// # Safety
/// `op` points to the first operation of the running block.
pub(crate) unsafe fn run_translated(cpu: &mut Cpu, op: *const Op) -> Flow {
    use crate::tier2::After;
    // SAFETY: the running block, which stays until the cache is cleared, between blocks.
    let block = unsafe { &*cpu.block };
    match cpu.enter_translation(block) {
        // SAFETY: the handler that the operation had before.
        After::None => unsafe { (block.handler(0))(cpu, op) },
        // SAFETY: RIP is set.
        After::Between => unsafe { chain(cpu) },
        // SAFETY: an operation of a block with its own handler.
        After::Resume(run, op) => unsafe { run(cpu, op) },
        After::Fault => Flow::Fault,
    }
}

/// In the segment field of a conditional branch, which has no memory operand.
const BRANCH: u8 = 0xff;

/// Length of an operation that ends its block, until it is placed.
const ENDS: u8 = 0x80;

impl Op {
    fn new(run: Handler) -> Op {
        Op {
            run,
            imm: 0,
            disp: 0,
            base: ZERO as u8,
            index: ZERO as u8,
            scale: 0x80,
            seg: 0,
            reg: 0,
            rm: 0,
            at: 0,
            len: 0,
        }
    }
    /// An ordinary instruction: the next one of the block follows.
    pub fn line<F: Fn(&mut Cpu, &Op) -> Exec + Copy>(_: F) -> Op {
        Op::new(run_line::<F>)
    }
    /// An ordinary instruction with a quick form, which calls nothing and gives up with a [`Fault`] that has no
    /// reason; the general form then runs in its place.
    pub fn fast<F, S>(_: F, _: S) -> Op
    where
        F: Fn(&mut Cpu, &Op) -> Exec + Copy,
        S: Fn(&mut Cpu, &Op) -> Exec + Copy,
    {
        Op::new(run_fast::<F, S>)
    }
    /// [`fast`](Op::fast) with the conditional branch of 64-bit code on `CC` that follows.
    ///
    /// # Safety
    /// In the block that the operation is put into, a [`branch`](Op::branch) on `CC` follows it.
    pub unsafe fn fused<F, S, const CC: u8>(_: F, _: S) -> Op
    where
        F: Fn(&mut Cpu, &Op) -> Exec + Copy,
        S: Fn(&mut Cpu, &Op) -> Exec + Copy,
    {
        Op::new(run_fused::<F, S, CC>)
    }
    /// [`near`](Op::near) with a quick form.
    pub fn near_fast<F, S>(_: F, _: S) -> Op
    where
        F: Fn(&mut Cpu, &Op) -> Exec + Copy,
        S: Fn(&mut Cpu, &Op) -> Exec + Copy,
    {
        Op { len: ENDS, ..Op::new(run_near_fast::<F, S>) }
    }
    /// The block ends after it and goes on at the next instruction.
    pub fn stop<F: Fn(&mut Cpu, &Op) -> Exec + Copy>(_: F) -> Op {
        Op { len: ENDS, ..Op::new(run_stop::<F>) }
    }
    /// The block ends and the handler has set RIP.
    pub fn jump<F: Fn(&mut Cpu, &Op) -> Exec + Copy>(_: F) -> Op {
        Op { len: ENDS, ..Op::new(run_jump::<F>) }
    }
    /// An unconditional near branch: the handler has set RIP, and nothing else about the processor has changed.
    pub fn near<F: Fn(&mut Cpu, &Op) -> Exec + Copy>(_: F) -> Op {
        Op { len: ENDS, ..Op::new(run_near::<F>) }
    }
    /// A conditional near branch: the handler has set RIP and gives true, or the next operation follows. It has no
    /// memory operand.
    pub fn branch<F: Fn(&mut Cpu, &Op) -> Result<bool, Fault> + Copy>(_: F) -> Op {
        Op { seg: BRANCH, ..Op::new(run_branch::<F>) }
    }
    /// Whether it was made by [`branch`](Op::branch).
    pub(crate) fn is_branch(&self) -> bool {
        self.seg == BRANCH
    }
    /// Tells a conditional branch how many instructions of its block follow.
    pub(crate) fn set_left(&mut self, left: usize) {
        if self.is_branch() {
            self.disp = left as i64;
        }
    }
    /// What stands behind operations that are run apart from their block: does nothing, and nothing follows.
    pub(crate) fn end() -> Op {
        fn over(_: &mut Cpu, _: *const Op) -> Flow {
            Flow::Next
        }
        Op::new(over)
    }
    /// Ends a block that has no branch: goes on at its own address.
    pub(crate) fn fall() -> Op {
        Op::stop(|_, _| Ok(()))
    }
    /// Puts the instruction at its place; tells whether another operation of the block may follow.
    pub(crate) fn place(&mut self, at: u8, len: u8) -> bool {
        let goes_on = self.len != ENDS;
        (self.at, self.len) = (at, len);
        goes_on
    }
    /// Sets the register operand.
    pub fn reg(mut self, reg: u8) -> Op {
        self.reg = reg;
        self
    }
    /// Sets the other register operand.
    pub fn rm(mut self, rm: u8) -> Op {
        self.rm = rm;
        self
    }
    /// Sets the immediate.
    pub fn imm(mut self, imm: u64) -> Op {
        self.imm = imm;
        self
    }
    /// Fills the memory operand.
    pub fn mem(mut self, i: &Instruction, ctx: &Ctx) -> Op {
        let size = match (i.memory_base(), i.memory_index()) {
            (Register::None, Register::None) => i.memory_displ_size() as u8,
            (Register::None, r) | (r, _) => r.size() as u8,
        };
        let size = match (i.memory_base(), i.memory_index(), size) {
            // A bare displacement of 4 bytes in 64-bit mode is sign-extended unless there is a 67 prefix,
            // which iced shows as a size of 4; 8 is the sign-extended form.
            (Register::None, Register::None, 0 | 1) => ctx.code / 8,
            (_, _, size) => size,
        };
        self.seg = ctx.seg(i.memory_segment());
        self.base = slot(i.memory_base());
        self.index = slot(i.memory_index());
        self.scale = i.memory_index_scale().trailing_zeros() as u8;
        self.scale |= match size {
            2 => 0,
            4 => 0x40,
            _ => 0x80,
        };
        self.disp = i.memory_displacement64() as i64;
        if i.is_ip_rel_memory_operand() {
            // iced gives the target; what is wanted is relative to the block's first byte.
            self.disp = self.disp.wrapping_sub(ctx.block_ip as i64);
        }
        self
    }
}

fn slot(r: Register) -> u8 {
    match r {
        Register::None => ZERO as u8,
        Register::RIP | Register::EIP => IP as u8,
        r => r.number() as u8,
    }
}

/// What decoding and lowering depend on.
#[derive(Clone, Copy, Debug)]
pub struct Ctx {
    /// Code size in bits: 16, 32 or 64.
    pub code: u8,
    /// Stack address size in bits: 16, 32 or 64.
    pub stack: u8,
    /// Mode bits of the block's key, see [`crate::cpu::mode`].
    pub mode: u32,
    /// What the processor announces.
    pub has: Features,
    /// RIP of the block's first instruction at the time of decoding.
    pub block_ip: u64,
    /// Condition code of a conditional branch of 64-bit code that follows in the same block.
    pub branch: Option<u8>,
}

impl Ctx {
    /// Slot of a segment register for memory operands.
    pub fn seg(&self, r: Register) -> u8 {
        use crate::cpu::seg::*;
        let slot = match r {
            Register::ES => ES,
            Register::CS => CS,
            Register::SS => SS,
            Register::FS => FS,
            Register::GS => GS,
            _ => DS,
        };
        match slot {
            SS if self.code == 64 => STACK as u8,
            ES | CS | DS if self.code == 64 => FLAT as u8,
            slot => slot as u8,
        }
    }
    /// Operand field of a general register: its number, or the byte offset for 8-bit registers.
    pub fn reg(&self, r: Register) -> u8 {
        use Register::*;
        match r {
            AH | CH | DH | BH => (r as u8 - AH as u8) * 8 + 1,
            r if r.is_gpr8() => {
                let n = r.full_register().number() as u8;
                n * 8
            }
            r => r.number() as u8,
        }
    }
    /// Address size in bits of a string instruction or one with implied memory operands.
    pub fn addr(&self, i: &Instruction) -> u8 {
        use iced_x86::OpKind::*;
        for n in 0..i.op_count() {
            match i.op_kind(n) {
                MemorySegSI | MemorySegDI | MemoryESDI => return 16,
                MemorySegESI | MemorySegEDI | MemoryESEDI => return 32,
                MemorySegRSI | MemorySegRDI | MemoryESRDI => return 64,
                Memory if i.memory_base() != iced_x86::Register::None => {
                    return (i.memory_base().size() * 8) as u8;
                }
                _ => {}
            }
        }
        self.code
    }
}

/// What memory can hold: plain numbers, any bytes of which are a value.
pub trait Word: Copy + 'static {
    /// Size in bytes.
    const SIZE: usize;
    /// From the low bytes.
    fn from128(v: u128) -> Self;
    /// Zero-extended.
    fn to128(self) -> u128;
}

macro_rules! word {
    ($($t:ty),*) => {$(
        impl Word for $t {
            const SIZE: usize = size_of::<$t>();
            #[inline(always)]
            fn from128(v: u128) -> Self { v as $t }
            #[inline(always)]
            fn to128(self) -> u128 { self as u128 }
        }
    )*};
}
word!(u8, u16, u32, u64, u128);

/// The integer operand sizes.
pub trait Int:
    Word
    + Eq
    + Ord
    + std::fmt::Debug
    + BitAnd<Output = Self>
    + BitOr<Output = Self>
    + BitXor<Output = Self>
    + Not<Output = Self>
{
    /// Width in bits.
    const BITS: u32;
    /// The low bits.
    fn from64(v: u64) -> Self;
    /// Zero-extended.
    fn zext(self) -> u64;
    /// Sign-extended.
    fn sext(self) -> u64;
    /// Reads a register operand.
    fn get(cpu: &Cpu, r: u8) -> Self;
    /// Writes a register operand: 32 bits clear the upper half, 8 and 16 leave the rest.
    fn set(cpu: &mut Cpu, r: u8, v: Self);
}

macro_rules! int {
    ($t:ty, $s:ty, $cpu:ident, $r:ident, $v:ident, $get:expr, $set:expr) => {
        impl Int for $t {
            const BITS: u32 = <$t>::BITS;
            #[inline(always)]
            fn from64(v: u64) -> Self {
                v as $t
            }
            #[inline(always)]
            fn zext(self) -> u64 {
                self as u64
            }
            #[inline(always)]
            fn sext(self) -> u64 {
                self as $s as i64 as u64
            }
            #[inline(always)]
            fn get($cpu: &Cpu, $r: u8) -> Self {
                $get
            }
            #[inline(always)]
            fn set($cpu: &mut Cpu, $r: u8, $v: Self) {
                $set
            }
        }
    };
}

// SAFETY (both): gpr is 256 bytes, so that every u8 is an offset within it; the host is little-endian.
int!(
    u8,
    i8,
    cpu,
    r,
    v,
    // SAFETY: as above.
    unsafe { *cpu.gpr.as_ptr().cast::<u8>().add(r as usize) },
    // SAFETY: as above.
    unsafe { *cpu.gpr.as_mut_ptr().cast::<u8>().add(r as usize) = v }
);
int!(u16, i16, cpu, r, v, cpu.gpr[r as usize & 31] as u16, {
    let slot = &mut cpu.gpr[r as usize & 31];
    *slot = *slot & !0xffff | v as u64;
});
int!(u32, i32, cpu, r, v, cpu.gpr[r as usize & 31] as u32, cpu.gpr[r as usize & 31] = v as u64);
int!(u64, i64, cpu, r, v, cpu.gpr[r as usize & 31], cpu.gpr[r as usize & 31] = v);
