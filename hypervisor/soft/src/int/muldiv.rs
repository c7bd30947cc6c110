//! MUL, IMUL, DIV and IDIV.

use super::{Cpu, Ctx, Exec, Int, Op, calc, in_memory, size, sized, wide};
use crate::cpu::{RAX, RDX};
use iced_x86::{Instruction, Mnemonic, OpKind};

/// Byte offset of AH, the high half of a byte product and the remainder of a byte division.
const AH: u8 = 1;

/// The register that holds the high half.
#[inline(always)]
fn high<T: Int>() -> u8 {
    if T::BITS == 8 { AH } else { RDX as u8 }
}

#[inline(always)]
fn product<T: Int, const SIGNED: bool>(cpu: &mut Cpu, b: T) {
    let a = T::get(cpu, RAX as u8);
    let (l, h, wide) = if SIGNED { calc::imul(a, b) } else { calc::mul(a, b) };
    T::set(cpu, RAX as u8, l);
    T::set(cpu, high::<T>(), h);
    leave_flags(cpu, l, wide);
}

/// CF and OF when the product is wider than its low half, SF and PF of that half, and never ZF.
#[inline(always)]
fn leave_flags<T: Int>(cpu: &mut Cpu, low: T, wide: bool) {
    cpu.flags_logic::<T>(low);
    cpu.set_carries(wide, wide);
    if low.zext() == 0 {
        cpu.set_zf(false);
    }
}

fn mul_reg<T: Int, const SIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = T::get(cpu, op.rm);
    product::<T, SIGNED>(cpu, b);
    Ok(())
}

fn mul_mem<T: Int, const SIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = cpu.load::<T>(op)?;
    product::<T, SIGNED>(cpu, b);
    Ok(())
}

/// IMUL into `op.reg` alone.
#[inline(always)]
fn truncated<T: Int>(cpu: &mut Cpu, op: &Op, a: T, b: T) -> Exec {
    let (l, _, wide) = calc::imul(a, b);
    T::set(cpu, op.reg, l);
    leave_flags(cpu, l, wide);
    Ok(())
}

fn imul2_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (a, b) = (T::get(cpu, op.reg), T::get(cpu, op.rm));
    truncated(cpu, op, a, b)
}

fn imul2_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = cpu.load::<T>(op)?;
    let a = T::get(cpu, op.reg);
    truncated(cpu, op, a, b)
}

fn imul3_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = T::get(cpu, op.rm);
    truncated(cpu, op, a, T::from64(op.imm))
}

fn imul3_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = cpu.load::<T>(op)?;
    truncated(cpu, op, a, T::from64(op.imm))
}

/// The flags stay as they were, as on Intel's cores.
#[inline(always)]
fn quotient<T: Int, const SIGNED: bool>(cpu: &mut Cpu, b: T) -> Exec {
    let (h, l) = (T::get(cpu, high::<T>()), T::get(cpu, RAX as u8));
    let done = if SIGNED { calc::idiv(h, l, b) } else { calc::div(h, l, b) };
    let Some((q, r)) = done else {
        return Err(cpu.de());
    };
    T::set(cpu, RAX as u8, q);
    T::set(cpu, high::<T>(), r);
    Ok(())
}

fn div_reg<T: Int, const SIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = T::get(cpu, op.rm);
    quotient::<T, SIGNED>(cpu, b)
}

fn div_mem<T: Int, const SIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = cpu.load::<T>(op)?;
    quotient::<T, SIGNED>(cpu, b)
}

fn lower_mul<const SIGNED: bool>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    sized!(size(i, 0), |T| if in_memory(i, 0) {
        Op::line(mul_mem::<T, SIGNED>).mem(i, ctx)
    } else {
        Op::line(mul_reg::<T, SIGNED>).rm(ctx.reg(i.op0_register()))
    })
}

fn lower_div<const SIGNED: bool>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    sized!(size(i, 0), |T| if in_memory(i, 0) {
        Op::line(div_mem::<T, SIGNED>).mem(i, ctx)
    } else {
        Op::line(div_reg::<T, SIGNED>).rm(ctx.reg(i.op0_register()))
    })
}

fn lower_imul(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    if i.op_count() == 1 {
        return lower_mul::<true>(i, ctx);
    }
    let three = i.op_count() == 3;
    let op = wide!(size(i, 0), |T| match (i.op1_kind() == OpKind::Memory, three) {
        (false, false) => Op::line(imul2_reg::<T>).rm(ctx.reg(i.op1_register())),
        (true, false) => Op::line(imul2_mem::<T>).mem(i, ctx),
        (false, true) => Op::line(imul3_reg::<T>).rm(ctx.reg(i.op1_register())),
        (true, true) => Op::line(imul3_mem::<T>).mem(i, ctx),
    })?;
    let op = op.reg(ctx.reg(i.op0_register()));
    Some(if three { op.imm(i.immediate(2)) } else { op })
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    match i.mnemonic() {
        Mnemonic::Mul => lower_mul::<false>(i, ctx),
        Mnemonic::Imul => lower_imul(i, ctx),
        Mnemonic::Div => lower_div::<false>(i, ctx),
        Mnemonic::Idiv => lower_div::<true>(i, ctx),
        _ => None,
    }
}
