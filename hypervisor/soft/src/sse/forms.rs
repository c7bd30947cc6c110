//! The shapes of instructions: each makes a handler of a function on register values.
//!
//! `f` gets the operation for its immediate, then the destination as it was and the source.

use iced_x86::Instruction;
use simd::FpEnv;

use super::{immediate, in_memory, number};
use crate::cpu::Cpu;
use crate::op::{Ctx, Op, Word};

/// Fills in the operands of the usual shape: register destination 0, register or memory source 1, immediate.
pub(super) fn operands(op: Op, i: &Instruction, ctx: &Ctx) -> Op {
    let op = if in_memory(i, 1) { op.mem(i, ctx) } else { op.rm(number(i, 1)) };
    op.reg(number(i, 0)).imm(immediate(i))
}

/// `xmm = f(xmm, xmm or W in memory)`.
pub(super) fn xmm<W: Word>(i: &Instruction, ctx: &Ctx, f: impl Fn(&Op, u128, u128) -> u128 + Copy) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&Op, u128, u128) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.source::<W, MEM>(op)?;
            cpu.set_x(op.reg, f(op, cpu.x(op.reg), b));
            Ok(())
        })
    }
    operands(if in_memory(i, 1) { form::<W, true>(f) } else { form::<W, false>(f) }, i, ctx)
}

/// `mm = f(mm, mm or W in memory)`.
pub(super) fn mm<W: Word>(i: &Instruction, ctx: &Ctx, f: impl Fn(&Op, u64, u64) -> u64 + Copy) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&Op, u64, u64) -> u64 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            cpu.x87_wait()?;
            let b = cpu.source_mm::<W, MEM>(op)?;
            cpu.x87.set_mmx(op.reg, f(op, cpu.x87.mmx(op.reg), b));
            Ok(())
        })
    }
    operands(if in_memory(i, 1) { form::<W, true>(f) } else { form::<W, false>(f) }, i, ctx)
}

/// `xmm = f(xmm, xmm or W in memory)` with MXCSR.
pub(super) fn fp<W: Word>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&Op, &mut FpEnv, u128, u128) -> u128 + Copy,
) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&Op, &mut FpEnv, u128, u128) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.source::<W, MEM>(op)?;
            let a = cpu.x(op.reg);
            let r = cpu.floating(|env| f(op, env, a, b))?;
            cpu.set_x(op.reg, r);
            Ok(())
        })
    }
    operands(if in_memory(i, 1) { form::<W, true>(f) } else { form::<W, false>(f) }, i, ctx)
}

/// Status flags from `f(xmm, xmm or W in memory)` with MXCSR.
pub(super) fn compare<W: Word>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&mut FpEnv, u128, u128) -> u32 + Copy,
) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&mut FpEnv, u128, u128) -> u32 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.source::<W, MEM>(op)?;
            let a = cpu.x(op.reg);
            let flags = cpu.floating(|env| f(env, a, b))?;
            cpu.set_status(u64::from(flags));
            Ok(())
        })
    }
    operands(if in_memory(i, 1) { form::<W, true>(f) } else { form::<W, false>(f) }, i, ctx)
}

/// A general register from `f(xmm or W in memory)` with MXCSR, written as a 32-bit (zero-extended) or 64-bit value.
pub(super) fn to_general<W: Word>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&mut FpEnv, u128) -> u64 + Copy,
) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&mut FpEnv, u128) -> u64 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.source::<W, MEM>(op)?;
            let r = cpu.floating(|env| f(env, b))?;
            cpu.gpr[usize::from(op.reg & 15)] = r;
            Ok(())
        })
    }
    operands(if in_memory(i, 1) { form::<W, true>(f) } else { form::<W, false>(f) }, i, ctx)
}

/// `xmm = f(xmm, general register or T in memory)` with MXCSR.
pub(super) fn from_general<T: crate::op::Int>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&Op, &mut FpEnv, u128, T) -> u128 + Copy,
) -> Op {
    fn form<T: crate::op::Int, const MEM: bool>(f: impl Fn(&Op, &mut FpEnv, u128, T) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = if MEM { cpu.load::<T>(op)? } else { T::get(cpu, op.rm) };
            let a = cpu.x(op.reg);
            let r = cpu.floating(|env| f(op, env, a, b))?;
            cpu.set_x(op.reg, r);
            Ok(())
        })
    }
    operands(if in_memory(i, 1) { form::<T, true>(f) } else { form::<T, false>(f) }, i, ctx)
}
