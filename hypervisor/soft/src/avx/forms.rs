//! The shapes of instructions: each makes a handler of a function on register values, as those of SSE.
//!
//! The immediate of an operation holds the instruction's in its low byte and the register of VEX.vvvv above.

use iced_x86::{Instruction, OpKind};
use simd::FpEnv;

use super::{Ymm, other};
use crate::cpu::Cpu;
use crate::op::{Ctx, Int, Op, Word};

/// Whether an operand has 32 bytes.
pub(super) fn is_wide(i: &Instruction) -> bool {
    i.memory_size().size() == 32 || (0..i.op_count()).any(|n| i.op_register(n).is_ymm())
}

/// Number of the operand that ModRM names: the second one, or the third one if VEX.vvvv has the second.
pub(super) fn source(i: &Instruction) -> u32 {
    let third = i.op_count() > 2 && matches!(i.op_kind(2), OpKind::Register | OpKind::Memory);
    if third { 2 } else { 1 }
}

pub(super) fn in_memory(i: &Instruction, n: u32) -> bool {
    i.op_kind(n) == OpKind::Memory
}

fn number(i: &Instruction, n: u32) -> u8 {
    if i.op_kind(n) == OpKind::Register { i.op_register(n).number() as u8 } else { 0 }
}

/// The instruction's immediate; the fourth register, where there is one, as its encoding has it.
fn immediate(i: &Instruction) -> u64 {
    if i.op_count() > 3 && i.op_kind(3) == OpKind::Register {
        return u64::from(number(i, 3)) << 4;
    }
    (0..i.op_count()).find(|n| i.op_kind(*n) == OpKind::Immediate8).map_or(0, |n| i.immediate(n) & 0xff)
}

/// Fills in the operands of the usual shape.
pub(super) fn operands(op: Op, i: &Instruction, ctx: &Ctx) -> Op {
    let from = source(i);
    let op = if in_memory(i, from) { op.mem(i, ctx) } else { op.rm(number(i, from)) };
    let vvvv = if from == 2 { number(i, 1) } else { 0 };
    op.reg(number(i, 0)).imm(immediate(i) | u64::from(vvvv) << 8)
}

/// Fills in those of a store: the destination is in memory or in `rm`.
pub(super) fn stored(op: Op, i: &Instruction, ctx: &Ctx) -> Op {
    let op = if in_memory(i, 0) { op.mem(i, ctx) } else { op.rm(number(i, 0)) };
    op.reg(number(i, 1)).imm(immediate(i))
}

/// `$form::<MEM, WIDE>($f)` by the operands of `$i`.
macro_rules! by_operands {
    ($form:ident, $i:expr, $ctx:expr, $f:expr) => {{
        use $crate::avx::forms::{in_memory, is_wide, operands, source};
        let op = match (in_memory($i, source($i)), is_wide($i)) {
            (false, false) => $form::<false, false>($f),
            (false, true) => $form::<false, true>($f),
            (true, false) => $form::<true, false>($f),
            (true, true) => $form::<true, true>($f),
        };
        operands(op, $i, $ctx)
    }};
}
pub(super) use by_operands;

/// Each half of the destination from the same halves of the sources; `f` gets the number of the half.
pub(super) fn packed(i: &Instruction, ctx: &Ctx, f: impl Fn(&Op, usize, u128, u128) -> u128 + Copy) -> Op {
    fn form<const MEM: bool, const WIDE: bool>(f: impl Fn(&Op, usize, u128, u128) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.wide_source::<MEM, WIDE>(op)?;
            let a = cpu.y(other(op));
            let high = if WIDE { f(op, 1, a[1], b[1]) } else { 0 };
            cpu.set_y(op.reg, [f(op, 0, a[0], b[0]), high]);
            Ok(())
        })
    }
    by_operands!(form, i, ctx, f)
}

/// The same with MXCSR.
pub(super) fn packed_fp(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&Op, &mut FpEnv, u128, u128) -> u128 + Copy,
) -> Op {
    fn form<const MEM: bool, const WIDE: bool>(f: impl Fn(&Op, &mut FpEnv, u128, u128) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.wide_source::<MEM, WIDE>(op)?;
            let a = cpu.y(other(op));
            let r = cpu.floating(|env| {
                let low = f(op, env, a[0], b[0]);
                [low, if WIDE { f(op, env, a[1], b[1]) } else { 0 }]
            })?;
            cpu.set_y(op.reg, r);
            Ok(())
        })
    }
    by_operands!(form, i, ctx, f)
}

/// The destination whole from the sources whole.
pub(super) fn whole(i: &Instruction, ctx: &Ctx, f: impl Fn(&Op, Ymm, Ymm) -> Ymm + Copy) -> Op {
    fn form<const MEM: bool, const WIDE: bool>(f: impl Fn(&Op, Ymm, Ymm) -> Ymm + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.wide_source::<MEM, WIDE>(op)?;
            let a = cpu.y(other(op));
            let r = f(op, a, b);
            cpu.set_y(op.reg, [r[0], if WIDE { r[1] } else { 0 }]);
            Ok(())
        })
    }
    by_operands!(form, i, ctx, f)
}

/// A source of `W`, zero-extended if in memory, whatever the size of the destination.
pub(super) fn narrow<W: Word>(i: &Instruction, ctx: &Ctx, f: impl Fn(&Op, Ymm, u128) -> Ymm + Copy) -> Op {
    fn form<W: Word, const MEM: bool, const WIDE: bool>(f: impl Fn(&Op, Ymm, u128) -> Ymm + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = if MEM { cpu.load::<W>(op)?.to128() } else { cpu.xmm[usize::from(op.rm & 15)] };
            let r = f(op, cpu.y(other(op)), b);
            cpu.set_y(op.reg, [r[0], if WIDE { r[1] } else { 0 }]);
            Ok(())
        })
    }
    let op = match (in_memory(i, source(i)), is_wide(i)) {
        (false, false) => form::<W, false, false>(f),
        (false, true) => form::<W, false, true>(f),
        (true, false) => form::<W, true, false>(f),
        (true, true) => form::<W, true, true>(f),
    };
    operands(op, i, ctx)
}

/// The same with MXCSR.
pub(super) fn narrow_fp<W: Word>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&Op, &mut FpEnv, u128, u128) -> Ymm + Copy,
) -> Op {
    fn form<W: Word, const MEM: bool, const WIDE: bool>(
        f: impl Fn(&Op, &mut FpEnv, u128, u128) -> Ymm + Copy,
    ) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = if MEM { cpu.load::<W>(op)?.to128() } else { cpu.xmm[usize::from(op.rm & 15)] };
            let a = cpu.y(other(op))[0];
            let r = cpu.floating(|env| f(op, env, a, b))?;
            cpu.set_y(op.reg, [r[0], if WIDE { r[1] } else { 0 }]);
            Ok(())
        })
    }
    let op = match (in_memory(i, source(i)), is_wide(i)) {
        (false, false) => form::<W, false, false>(f),
        (false, true) => form::<W, false, true>(f),
        (true, false) => form::<W, true, false>(f),
        (true, true) => form::<W, true, true>(f),
    };
    operands(op, i, ctx)
}

/// One number of `W`, with the rest of the register as in VEX.vvvv.
pub(super) fn scalar_fp<W: Word>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&Op, &mut FpEnv, u128, u128) -> u128 + Copy,
) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&Op, &mut FpEnv, u128, u128) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = if MEM { cpu.load::<W>(op)?.to128() } else { cpu.xmm[usize::from(op.rm & 15)] };
            let a = cpu.y(other(op))[0];
            let r = cpu.floating(|env| f(op, env, a, b))?;
            cpu.set_y(op.reg, [r, 0]);
            Ok(())
        })
    }
    let op = if in_memory(i, source(i)) { form::<W, true>(f) } else { form::<W, false>(f) };
    operands(op, i, ctx)
}

/// A general register or `T` in memory as the source.
pub(super) fn from_general<T: Int>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&Op, &mut FpEnv, u128, T) -> u128 + Copy,
) -> Op {
    fn form<T: Int, const MEM: bool>(f: impl Fn(&Op, &mut FpEnv, u128, T) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = if MEM { cpu.load::<T>(op)? } else { T::from64(cpu.gpr[usize::from(op.rm & 15)]) };
            let a = cpu.y(other(op))[0];
            let r = cpu.floating(|env| f(op, env, a, b))?;
            cpu.set_y(op.reg, [r, 0]);
            Ok(())
        })
    }
    let op = if in_memory(i, source(i)) { form::<T, true>(f) } else { form::<T, false>(f) };
    operands(op, i, ctx)
}

/// A general register from a number of `W`.
pub(super) fn to_general<W: Word>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&mut FpEnv, u128) -> u64 + Copy,
) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&mut FpEnv, u128) -> u64 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = if MEM { cpu.load::<W>(op)?.to128() } else { cpu.xmm[usize::from(op.rm & 15)] };
            let r = cpu.floating(|env| f(env, b))?;
            cpu.gpr[usize::from(op.reg & 15)] = r;
            Ok(())
        })
    }
    let op = if in_memory(i, 1) { form::<W, true>(f) } else { form::<W, false>(f) };
    operands(op, i, ctx)
}

/// Status flags from two registers.
pub(super) fn flags<W: Word>(
    i: &Instruction,
    ctx: &Ctx,
    f: impl Fn(&mut FpEnv, u128, u128) -> u32 + Copy,
) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&mut FpEnv, u128, u128) -> u32 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = if MEM { cpu.load::<W>(op)?.to128() } else { cpu.xmm[usize::from(op.rm & 15)] };
            let a = cpu.xmm[usize::from(op.reg & 15)];
            let r = cpu.floating(|env| f(env, a, b))?;
            cpu.set_status(u64::from(r));
            Ok(())
        })
    }
    let op = if in_memory(i, 1) { form::<W, true>(f) } else { form::<W, false>(f) };
    operands(op, i, ctx)
}
