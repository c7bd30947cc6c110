//! SHL, SHR, SAR, ROL, ROR, RCL, RCR, SHLD and SHRD.

use super::calc::{self, Shifted};
use super::{Cpu, Ctx, Exec, Int, Op, in_memory, size, sized, wide};
use crate::cpu::RCX;
use iced_x86::{Instruction, Mnemonic, OpKind};

/// A shift or rotate of one operand by a count.
trait Shift {
    /// A shift writes all six status flags, a rotate CF and OF alone.
    const ROTATE: bool;
    /// ROL and ROR of a register by an immediate other than 1 leave OF (measured on Intel's cores).
    const KEEPS_OF: bool;
    /// The result for a masked count of 1 or more; `None` when nothing changes.
    fn result<T: Int>(a: T, n: u32, carry: bool) -> Option<Shifted<T>>;
}

macro_rules! shifts {
    ($($name:ident $rotate:literal $keeps:literal ($a:ident, $n:ident, $c:ident) = $r:expr;)*) => {$(
        struct $name;
        impl Shift for $name {
            const ROTATE: bool = $rotate;
            const KEEPS_OF: bool = $keeps;
            #[inline(always)]
            fn result<T: Int>($a: T, $n: u32, $c: bool) -> Option<Shifted<T>> {
                $r
            }
        }
    )*};
}

shifts! {
    Shl false false (a, n, _c) = Some(calc::shl(a, n));
    Shr false false (a, n, _c) = Some(calc::shr(a, n));
    Sar false false (a, n, _c) = Some(calc::sar(a, n));
    Rol true true (a, n, _c) = Some(calc::rol(a, n));
    Ror true true (a, n, _c) = Some(calc::ror(a, n));
    Rcl true false (a, n, c) = calc::rcl(a, n, c);
    Rcr true false (a, n, c) = calc::rcr(a, n, c);
}

#[inline(always)]
fn leave_flags<T: Int>(cpu: &mut Cpu, s: &Shifted<T>, rotate: bool) {
    if !rotate {
        cpu.flags_logic::<T>(s.r);
    }
    cpu.set_carries(s.c, s.o);
}

#[inline(always)]
fn shift_reg<S: Shift, T: Int>(cpu: &mut Cpu, r: u8, n: u32) -> Exec {
    let a = T::get(cpu, r);
    let shifted = if n == 0 { None } else { S::result(a, n, cpu.cf()) };
    match shifted {
        Some(s) => {
            T::set(cpu, r, s.r);
            leave_flags(cpu, &s, S::ROTATE);
        }
        // Written all the same: a 32-bit register loses its upper half.
        None => T::set(cpu, r, a),
    }
    Ok(())
}

#[inline(always)]
fn shift_mem<S: Shift, T: Int>(cpu: &mut Cpu, op: &Op, n: u32) -> Exec {
    let carry = cpu.cf();
    let go = |a: T| if n == 0 { None } else { S::result(a, n, carry) };
    let (a, _) = cpu.modify::<T, false>(op, |a| go(a).map_or(a, |s| s.r))?;
    if let Some(s) = go(a) {
        leave_flags(cpu, &s, S::ROTATE);
    }
    Ok(())
}

fn reg_imm<S: Shift, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let n = calc::mask_count::<T>(op.imm as u8);
    let of = cpu.of();
    shift_reg::<S, T>(cpu, op.rm, n)?;
    if S::KEEPS_OF && n != 1 {
        cpu.set_of(of);
    }
    Ok(())
}

fn reg_cl<S: Shift, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let n = calc::mask_count::<T>(cpu.gpr[RCX] as u8);
    shift_reg::<S, T>(cpu, op.rm, n)
}

fn mem_imm<S: Shift, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    shift_mem::<S, T>(cpu, op, calc::mask_count::<T>(op.imm as u8))
}

fn mem_cl<S: Shift, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let n = calc::mask_count::<T>(cpu.gpr[RCX] as u8);
    shift_mem::<S, T>(cpu, op, n)
}

/// SHLD (`LEFT`) or SHRD by `n`.
#[inline(always)]
fn double<T: Int, const LEFT: bool>(a: T, b: T, n: u32) -> Shifted<T> {
    if LEFT { calc::shld(a, b, n) } else { calc::shrd(a, b, n) }
}

#[inline(always)]
fn double_count<T: Int, const CL: bool>(cpu: &Cpu, op: &Op) -> u32 {
    calc::mask_count::<T>(if CL { cpu.gpr[RCX] as u8 } else { op.imm as u8 })
}

fn double_reg<T: Int, const LEFT: bool, const CL: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let n = double_count::<T, CL>(cpu, op);
    let (a, b) = (T::get(cpu, op.rm), T::get(cpu, op.reg));
    if n == 0 {
        T::set(cpu, op.rm, a);
        return Ok(());
    }
    let s = double::<T, LEFT>(a, b, n);
    T::set(cpu, op.rm, s.r);
    leave_flags(cpu, &s, false);
    Ok(())
}

fn double_mem<T: Int, const LEFT: bool, const CL: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let n = double_count::<T, CL>(cpu, op);
    let b = T::get(cpu, op.reg);
    let (a, _) = cpu.modify::<T, false>(op, |a| if n == 0 { a } else { double::<T, LEFT>(a, b, n).r })?;
    if n != 0 {
        leave_flags(cpu, &double::<T, LEFT>(a, b, n), false);
    }
    Ok(())
}

fn lower_shift<S: Shift>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let by_cl = i.op1_kind() == OpKind::Register;
    let op = sized!(size(i, 0), |T| match (in_memory(i, 0), by_cl) {
        (false, false) => Op::line(reg_imm::<S, T>).rm(ctx.reg(i.op0_register())),
        (false, true) => Op::line(reg_cl::<S, T>).rm(ctx.reg(i.op0_register())),
        (true, false) => Op::line(mem_imm::<S, T>).mem(i, ctx),
        (true, true) => Op::line(mem_cl::<S, T>).mem(i, ctx),
    })?;
    Some(if by_cl { op } else { op.imm(i.immediate(1)) })
}

fn lower_double<const LEFT: bool>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let by_cl = i.op2_kind() == OpKind::Register;
    let op = wide!(size(i, 0), |T| match (in_memory(i, 0), by_cl) {
        (false, false) => Op::line(double_reg::<T, LEFT, false>).rm(ctx.reg(i.op0_register())),
        (false, true) => Op::line(double_reg::<T, LEFT, true>).rm(ctx.reg(i.op0_register())),
        (true, false) => Op::line(double_mem::<T, LEFT, false>).mem(i, ctx),
        (true, true) => Op::line(double_mem::<T, LEFT, true>).mem(i, ctx),
    })?;
    let op = op.reg(ctx.reg(i.op1_register()));
    Some(if by_cl { op } else { op.imm(i.immediate(2)) })
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    match i.mnemonic() {
        Mnemonic::Shl | Mnemonic::Sal => lower_shift::<Shl>(i, ctx),
        Mnemonic::Shr => lower_shift::<Shr>(i, ctx),
        Mnemonic::Sar => lower_shift::<Sar>(i, ctx),
        Mnemonic::Rol => lower_shift::<Rol>(i, ctx),
        Mnemonic::Ror => lower_shift::<Ror>(i, ctx),
        Mnemonic::Rcl => lower_shift::<Rcl>(i, ctx),
        Mnemonic::Rcr => lower_shift::<Rcr>(i, ctx),
        Mnemonic::Shld => lower_double::<true>(i, ctx),
        Mnemonic::Shrd => lower_double::<false>(i, ctx),
        _ => None,
    }
}
