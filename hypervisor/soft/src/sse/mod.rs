//! MMX and SSE to SSE4.2: lowering, operands, faults. What the instructions compute is the `simd` crate's.
//!
//! A form in `forms` makes a handler of a plain function, so that each instruction has a handler of its own with the
//! function inlined. What CR0.EM, CR0.TS and CR4.OSFXSR forbid is decided when a block is decoded.

mod convert;
mod crypto;
mod float;
mod forms;
mod integer;
mod lanes;
mod moves;

use iced_x86::{Code, Instruction, OpKind};
use simd::FpEnv;

use crate::cpu::{Cpu, Exec, Fault, mode};
use crate::fp::{unavailable, undefined};
use crate::op::{Ctx, Op, Word};
use crate::system::bits::cr4;

/// Bits of MXCSR that can be set: also what FXSAVE says of them.
pub const MXCSR_MASK: u32 = 0xffff;
/// MXCSR after reset.
pub const MXCSR_RESET: u32 = simd::Flags::RESET;

/// Lowers an MMX or SSE instruction; `None` for any other.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let op = moves::lower(i, ctx)
        .or_else(|| integer::lower(i, ctx))
        .or_else(|| float::lower(i, ctx))
        .or_else(|| convert::lower(i, ctx))
        .or_else(|| lanes::lower(i, ctx))
        .or_else(|| crypto::lower(i, ctx))
        .or_else(|| control(i, ctx))?;
    let xmm = (0..i.op_count()).any(|n| i.op_register(n).is_xmm());
    let sse = xmm || matches!(i.code(), Code::Ldmxcsr_m32 | Code::Stmxcsr_m32);
    Some(if ctx.mode & mode::EM != 0 || sse && ctx.mode & mode::OSFXSR == 0 {
        Op::jump(undefined)
    } else if ctx.mode & mode::TS != 0 {
        Op::jump(unavailable)
    } else {
        op
    })
}

pub(crate) use moves::maskmovdqu;

/// LDMXCSR, STMXCSR and EMMS.
fn control(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    Some(match i.code() {
        Code::Ldmxcsr_m32 => Op::line(ldmxcsr).mem(i, ctx),
        Code::Stmxcsr_m32 => Op::line(|cpu, op| cpu.store(op, cpu.mxcsr)).mem(i, ctx),
        Code::Emms => Op::line(emms),
        _ => return None,
    })
}

pub(crate) fn ldmxcsr(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.load::<u32>(op)?;
    if v & !MXCSR_MASK != 0 {
        return Err(cpu.gp(0));
    }
    cpu.set_mxcsr(v);
    Ok(())
}

fn emms(cpu: &mut Cpu, _: &Op) -> Exec {
    cpu.x87_wait()?;
    cpu.x87.emms();
    Ok(())
}

/// Number of the register that operand `n` names; zero for memory.
fn number(i: &Instruction, n: u32) -> u8 {
    if i.op_kind(n) == OpKind::Register { i.op_register(n).number() as u8 } else { 0 }
}

fn in_memory(i: &Instruction, n: u32) -> bool {
    i.op_kind(n) == OpKind::Memory
}

/// The immediate, zero if there is none.
fn immediate(i: &Instruction) -> u64 {
    (0..i.op_count()).find(|n| i.op_kind(*n) == OpKind::Immediate8).map_or(0, |n| i.immediate(n) & 0xff)
}

impl Cpu {
    #[inline(always)]
    fn x(&self, r: u8) -> u128 {
        self.xmm[usize::from(r & 15)]
    }

    #[inline(always)]
    fn set_x(&mut self, r: u8, v: u128) {
        self.xmm[usize::from(r & 15)] = v;
    }

    /// Address of a memory operand of 16 bytes that must be aligned.
    #[inline(always)]
    fn ea16(&mut self, op: &Op) -> Result<u64, Fault> {
        let off = self.ea(op);
        if self.linear(op.seg, off) & 15 != 0 { Err(self.gp(0)) } else { Ok(off) }
    }

    /// A source operand: the register `op.rm` whole, or memory of `W`'s size, zero-extended, aligned if of 16 bytes.
    #[inline(always)]
    fn source<W: Word, const MEM: bool>(&mut self, op: &Op) -> Result<u128, Fault> {
        if !MEM {
            Ok(self.x(op.rm))
        } else if W::SIZE == 16 {
            let off = self.ea16(op)?;
            self.read::<u128>(op.seg, off)
        } else {
            Ok(self.load::<W>(op)?.to128())
        }
    }

    /// A source operand of an MMX instruction: the register `op.rm`, or memory of `W`'s size, zero-extended.
    #[inline(always)]
    fn source_mm<W: Word, const MEM: bool>(&mut self, op: &Op) -> Result<u64, Fault> {
        if MEM { Ok(self.load::<W>(op)?.to128() as u64) } else { Ok(self.x87.mmx(op.rm)) }
    }

    /// Runs floating-point arithmetic: MXCSR in and out, and #XM if it raised what is not masked.
    #[inline(always)]
    pub(crate) fn floating<R>(&mut self, f: impl FnOnce(&mut FpEnv) -> R) -> Result<R, Fault> {
        let mut env = FpEnv::new(self.mxcsr);
        let r = f(&mut env);
        let stop = env.finish();
        self.mxcsr = env.mxcsr;
        if stop { Err(self.simd_error()) } else { Ok(r) }
    }

    #[cold]
    fn simd_error(&mut self) -> Fault {
        if self.cr4 & cr4::OSXMMEXCPT != 0 { self.xm() } else { self.ud() }
    }
}
