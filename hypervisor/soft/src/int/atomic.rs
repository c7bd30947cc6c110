//! XADD, CMPXCHG, CMPXCHG8B and CMPXCHG16B. The LOCK forms are host atomics.

use super::{Cpu, Ctx, Exec, Int, Op, in_memory, size, sized};
use crate::cpu::{RAX, RBX, RCX, RDX};
use iced_x86::{Instruction, Mnemonic};

fn xadd_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (a, b) = (T::get(cpu, op.rm), T::get(cpu, op.reg));
    let r = T::from64(a.zext().wrapping_add(b.zext()));
    T::set(cpu, op.reg, a);
    T::set(cpu, op.rm, r);
    cpu.flags_add::<T>(a, b, r);
    Ok(())
}

fn xadd_mem<T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = T::get(cpu, op.reg);
    let (a, r) = cpu.modify::<T, LOCK>(op, |a| T::from64(a.zext().wrapping_add(b.zext())))?;
    T::set(cpu, op.reg, a);
    cpu.flags_add::<T>(a, b, r);
    Ok(())
}

/// Flags of the comparison, and the accumulator when it failed.
#[inline(always)]
fn compared<T: Int>(cpu: &mut Cpu, expected: T, old: T) {
    let r = T::from64(expected.zext().wrapping_sub(old.zext()));
    cpu.flags_sub::<T>(expected, old, r);
    if r.zext() != 0 {
        T::set(cpu, RAX as u8, old);
    }
}

fn cmpxchg_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (old, new, expected) = (T::get(cpu, op.rm), T::get(cpu, op.reg), T::get(cpu, RAX as u8));
    compared(cpu, expected, old);
    // A destination that differs is not written, so that a 32-bit one keeps its upper half (Intel's cores).
    if old == expected {
        T::set(cpu, op.rm, new);
    }
    Ok(())
}

/// Memory is written either way, with its own value when the comparison fails.
fn cmpxchg_mem<T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (new, expected) = (T::get(cpu, op.reg), T::get(cpu, RAX as u8));
    let (old, _) = cpu.modify::<T, LOCK>(op, |old| if old == expected { new } else { old })?;
    compared(cpu, expected, old);
    Ok(())
}

fn cmpxchg8b<const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let pair = |cpu: &Cpu, h: usize, l: usize| {
        u64::from(u32::get(cpu, h as u8)) << 32 | u64::from(u32::get(cpu, l as u8))
    };
    let (expected, new) = (pair(cpu, RDX, RAX), pair(cpu, RCX, RBX));
    let (old, _) = cpu.modify::<u64, LOCK>(op, |old| if old == expected { new } else { old })?;
    if old != expected {
        u32::set(cpu, RAX as u8, old as u32);
        u32::set(cpu, RDX as u8, (old >> 32) as u32);
    }
    cpu.set_zf(old == expected);
    Ok(())
}

fn cmpxchg16b<const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let off = cpu.ea(op);
    if cpu.linear(op.seg, off) & 15 != 0 {
        return Err(cpu.gp(0));
    }
    let pair = |cpu: &Cpu, h: usize, l: usize| {
        u128::from(u64::get(cpu, h as u8)) << 64 | u128::from(u64::get(cpu, l as u8))
    };
    let (expected, new) = (pair(cpu, RDX, RAX), pair(cpu, RCX, RBX));
    let (old, _) = cpu.modify::<u128, LOCK>(op, |old| if old == expected { new } else { old })?;
    if old != expected {
        u64::set(cpu, RAX as u8, old as u64);
        u64::set(cpu, RDX as u8, (old >> 64) as u64);
    }
    cpu.set_zf(old == expected);
    Ok(())
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let (lock, mem) = (i.has_lock_prefix(), in_memory(i, 0));
    match i.mnemonic() {
        Mnemonic::Xadd => sized!(size(i, 0), |T| match (mem, lock) {
            (false, _) => Op::line(xadd_reg::<T>).rm(ctx.reg(i.op0_register())),
            (true, false) => Op::line(xadd_mem::<T, false>).mem(i, ctx),
            (true, true) => Op::line(xadd_mem::<T, true>).mem(i, ctx),
        })
        .map(|op| op.reg(ctx.reg(i.op1_register()))),
        Mnemonic::Cmpxchg => sized!(size(i, 0), |T| match (mem, lock) {
            (false, _) => Op::line(cmpxchg_reg::<T>).rm(ctx.reg(i.op0_register())),
            (true, false) => Op::line(cmpxchg_mem::<T, false>).mem(i, ctx),
            (true, true) => Op::line(cmpxchg_mem::<T, true>).mem(i, ctx),
        })
        .map(|op| op.reg(ctx.reg(i.op1_register()))),
        Mnemonic::Cmpxchg8b if lock => Some(Op::line(cmpxchg8b::<true>).mem(i, ctx)),
        Mnemonic::Cmpxchg8b => Some(Op::line(cmpxchg8b::<false>).mem(i, ctx)),
        Mnemonic::Cmpxchg16b if lock => Some(Op::line(cmpxchg16b::<true>).mem(i, ctx)),
        Mnemonic::Cmpxchg16b => Some(Op::line(cmpxchg16b::<false>).mem(i, ctx)),
        _ => None,
    }
}
