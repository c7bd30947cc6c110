//! Shortcuts to memory for the commonest operands: 64-bit addresses in a flat segment and the stack of 64-bit code,
//! 32-bit addresses in a segment with bounds and the stack of 32-bit code.
//!
//! A shortcut that does not find its page in the TLB gives [`Fault`] and says no reason; the operation is then run
//! again from its beginning by the general way ([`Op::fast`]). So the quick form of a handler calls nothing and needs
//! no stack, and whatever can go wrong is dealt with in one place.

use crate::cpu::{Cpu, Exec, Fault, RSP, ZERO, seg};
use crate::host;
use crate::op::{Ctx, Op, Word};
use crate::tlb::{self, PAGE_MASK};
use iced_x86::Instruction;

/// How an operation reaches its memory operand.
pub trait MemOperand: Copy + 'static {
    /// Reads it.
    fn load<T: Word>(cpu: &mut Cpu, op: &Op) -> Result<T, Fault>;
    /// Writes it.
    fn store<T: Word>(cpu: &mut Cpu, op: &Op, v: T) -> Exec;
    /// See [`Cpu::modify`].
    fn modify<T: Word, const LOCK: bool>(cpu: &mut Cpu, op: &Op, f: impl Fn(T) -> T)
    -> Result<(T, T), Fault>;
}

/// Any operand.
#[derive(Clone, Copy)]
pub struct Any;

/// A flat segment and a 64-bit address; without `INDEX`, base and displacement alone.
#[derive(Clone, Copy)]
pub struct Flat<const INDEX: bool>;

/// FS or GS of 64-bit code: no limit, but a base.
#[derive(Clone, Copy)]
pub struct Based;

/// A segment with a base and a limit and a 32-bit address: the usual operand of 32-bit code.
#[derive(Clone, Copy)]
pub struct Limited;

impl MemOperand for Any {
    #[inline(always)]
    fn load<T: Word>(cpu: &mut Cpu, op: &Op) -> Result<T, Fault> {
        cpu.load(op)
    }
    #[inline(always)]
    fn store<T: Word>(cpu: &mut Cpu, op: &Op, v: T) -> Exec {
        cpu.store(op, v)
    }
    #[inline(always)]
    fn modify<T: Word, const LOCK: bool>(
        cpu: &mut Cpu,
        op: &Op,
        f: impl Fn(T) -> T,
    ) -> Result<(T, T), Fault> {
        cpu.modify::<T, LOCK>(op, f)
    }
}

/// Host address of `T` at a linear address, if the page may be read (written) at once.
#[inline(always)]
fn place<T: Word, const WRITE: bool>(cpu: &Cpu, lin: u64) -> Result<*mut T, Fault> {
    // SAFETY: `tlb` points to `SIZE` entries.
    let e = unsafe { &*cpu.tlb.add(tlb::index(lin)) };
    let last = lin.wrapping_add(T::SIZE as u64 - 1) & PAGE_MASK;
    if last != if WRITE { e.write } else { e.read } {
        return Err(Fault);
    }
    Ok(lin.wrapping_add(e.addend) as *mut T)
}

/// Linear address of the operand, for the places that have shortcuts.
trait Linear: Copy + 'static {
    fn linear(cpu: &Cpu, op: &Op) -> u64;
}

impl<const INDEX: bool> Linear for Flat<INDEX> {
    #[inline(always)]
    fn linear(cpu: &Cpu, op: &Op) -> u64 {
        let near = cpu.gpr[op.base as usize & 31].wrapping_add(op.disp as u64);
        if INDEX { near.wrapping_add(cpu.gpr[op.index as usize & 31] << (op.scale & 3)) } else { near }
    }
}

impl Linear for Based {
    #[inline(always)]
    fn linear(cpu: &Cpu, op: &Op) -> u64 {
        Flat::<true>::linear(cpu, op).wrapping_add(cpu.seg[op.seg as usize & 7].base)
    }
}

impl<L: Linear> MemOperand for L {
    #[inline(always)]
    fn load<T: Word>(cpu: &mut Cpu, op: &Op) -> Result<T, Fault> {
        let at = place::<T, false>(cpu, L::linear(cpu, op))?;
        // SAFETY: a valid tag says that the whole page is host memory at this addend.
        Ok(unsafe { host::get(at) })
    }
    #[inline(always)]
    fn store<T: Word>(cpu: &mut Cpu, op: &Op, v: T) -> Exec {
        let at = place::<T, true>(cpu, L::linear(cpu, op))?;
        // SAFETY: a valid tag says that the whole page is writable host memory at this addend.
        unsafe { host::put(at, v) };
        Ok(())
    }
    #[inline(always)]
    fn modify<T: Word, const LOCK: bool>(
        cpu: &mut Cpu,
        op: &Op,
        f: impl Fn(T) -> T,
    ) -> Result<(T, T), Fault> {
        if LOCK {
            return Err(Fault);
        }
        let at = place::<T, true>(cpu, L::linear(cpu, op))?;
        // SAFETY: a valid tag says that the whole page is writable host memory at this addend.
        unsafe {
            let old = host::get(at);
            let new = f(old);
            host::put(at, new);
            Ok((old, new))
        }
    }
}

/// Linear address of `T` at an offset of a segment that reads (writes) there need no further check. It does not wrap
/// within the bounds of a segment.
#[inline(always)]
fn limited<T: Word, const WRITE: bool>(cpu: &Cpu, slot: u8, off: u64) -> Result<u64, Fault> {
    let s = &cpu.seg[slot as usize & 7];
    let bound = if WRITE { s.wbound } else { s.rbound };
    if off.wrapping_add(T::SIZE as u64 - 1) < bound { Ok(off.wrapping_add(s.base)) } else { Err(Fault) }
}

/// Offset of an operand with a 32-bit address.
#[inline(always)]
fn offset32(cpu: &Cpu, op: &Op) -> u64 {
    Flat::<true>::linear(cpu, op) as u32 as u64
}

impl MemOperand for Limited {
    #[inline(always)]
    fn load<T: Word>(cpu: &mut Cpu, op: &Op) -> Result<T, Fault> {
        let lin = limited::<T, false>(cpu, op.seg, offset32(cpu, op))?;
        let at = place::<T, false>(cpu, lin)?;
        // SAFETY: a valid tag says that the whole page is host memory at this addend.
        Ok(unsafe { host::get(at) })
    }
    #[inline(always)]
    fn store<T: Word>(cpu: &mut Cpu, op: &Op, v: T) -> Exec {
        let lin = limited::<T, true>(cpu, op.seg, offset32(cpu, op))?;
        let at = place::<T, true>(cpu, lin)?;
        // SAFETY: a valid tag says that the whole page is writable host memory at this addend.
        unsafe { host::put(at, v) };
        Ok(())
    }
    #[inline(always)]
    fn modify<T: Word, const LOCK: bool>(
        cpu: &mut Cpu,
        op: &Op,
        f: impl Fn(T) -> T,
    ) -> Result<(T, T), Fault> {
        if LOCK {
            return Err(Fault);
        }
        let lin = limited::<T, true>(cpu, op.seg, offset32(cpu, op))?;
        let at = place::<T, true>(cpu, lin)?;
        // SAFETY: a valid tag says that the whole page is writable host memory at this addend.
        unsafe {
            let old = host::get(at);
            let new = f(old);
            host::put(at, new);
            Ok((old, new))
        }
    }
}

/// How an operation reaches the stack.
pub trait Stack: Copy + 'static {
    /// See [`Cpu::push`].
    fn push<T: Word>(cpu: &mut Cpu, v: T) -> Exec;
    /// See [`Cpu::pop`].
    fn pop<T: Word>(cpu: &mut Cpu) -> Result<T, Fault>;
}

/// Any stack.
#[derive(Clone, Copy)]
pub struct AnyStack;

/// The stack of 64-bit code.
#[derive(Clone, Copy)]
pub struct LongStack;

impl Stack for AnyStack {
    #[inline(always)]
    fn push<T: Word>(cpu: &mut Cpu, v: T) -> Exec {
        cpu.push(v)
    }
    #[inline(always)]
    fn pop<T: Word>(cpu: &mut Cpu) -> Result<T, Fault> {
        cpu.pop()
    }
}

impl Stack for LongStack {
    #[inline(always)]
    fn push<T: Word>(cpu: &mut Cpu, v: T) -> Exec {
        let sp = cpu.gpr[RSP].wrapping_sub(T::SIZE as u64);
        let at = place::<T, true>(cpu, sp)?;
        // SAFETY: a valid tag says that the whole page is writable host memory at this addend.
        unsafe { host::put(at, v) };
        cpu.gpr[RSP] = sp;
        Ok(())
    }
    #[inline(always)]
    fn pop<T: Word>(cpu: &mut Cpu) -> Result<T, Fault> {
        let sp = cpu.gpr[RSP];
        let at = place::<T, false>(cpu, sp)?;
        cpu.gpr[RSP] = sp.wrapping_add(T::SIZE as u64);
        // SAFETY: a valid tag says that the whole page is host memory at this addend.
        Ok(unsafe { host::get(at) })
    }
}

/// The stack of 32-bit code with a stack segment of its size.
#[derive(Clone, Copy)]
pub struct NearStack;

impl Stack for NearStack {
    #[inline(always)]
    fn push<T: Word>(cpu: &mut Cpu, v: T) -> Exec {
        let sp = (cpu.gpr[RSP] as u32).wrapping_sub(T::SIZE as u32) as u64;
        let lin = limited::<T, true>(cpu, seg::SS as u8, sp)?;
        let at = place::<T, true>(cpu, lin)?;
        // SAFETY: a valid tag says that the whole page is writable host memory at this addend.
        unsafe { host::put(at, v) };
        cpu.gpr[RSP] = sp;
        Ok(())
    }
    #[inline(always)]
    fn pop<T: Word>(cpu: &mut Cpu) -> Result<T, Fault> {
        let sp = cpu.gpr[RSP] as u32;
        let lin = limited::<T, false>(cpu, seg::SS as u8, sp as u64)?;
        let at = place::<T, false>(cpu, lin)?;
        cpu.gpr[RSP] = sp.wrapping_add(T::SIZE as u32) as u64;
        // SAFETY: a valid tag says that the whole page is host memory at this addend.
        Ok(unsafe { host::get(at) })
    }
}

/// Which [`MemOperand`] suits the memory operand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Suits {
    /// [`Any`].
    Any,
    /// [`Flat`] without an index.
    Near,
    /// [`Flat`] with one.
    Index,
    /// [`Based`].
    Based,
    /// [`Limited`].
    Limited,
}

/// Chooses the place of an instruction's memory operand.
pub fn suits(i: &Instruction, ctx: &Ctx) -> Suits {
    let op = Op::fall().mem(i, ctx);
    let slot = op.seg as usize;
    if ctx.code == 32 && op.scale >> 6 == 1 {
        Suits::Limited
    } else if ctx.code != 64 || op.scale >> 6 != 2 {
        Suits::Any
    } else if slot == seg::FS || slot == seg::GS {
        Suits::Based
    } else if slot != seg::FLAT {
        Suits::Any
    } else if op.index as usize == ZERO {
        Suits::Near
    } else {
        Suits::Index
    }
}

/// An operation by `$f`, which names its place `$M`, for the memory operand of `$i`.
macro_rules! placed {
    ($i:expr, $ctx:expr, |$M:ident| $f:expr) => {{
        use $crate::place::{Any, Based, Flat, Limited, Suits};
        macro_rules! at {
            ($P:ty) => {{
                type $M = $P;
                $f
            }};
        }
        match $crate::place::suits($i, $ctx) {
            Suits::Any => $crate::op::Op::line(at!(Any)),
            Suits::Near => $crate::op::Op::fast(at!(Flat<false>), at!(Any)),
            Suits::Index => $crate::op::Op::fast(at!(Flat<true>), at!(Any)),
            Suits::Based => $crate::op::Op::fast(at!(Based), at!(Any)),
            Suits::Limited => $crate::op::Op::fast(at!(Limited), at!(Any)),
        }
    }};
}
pub(crate) use placed;
