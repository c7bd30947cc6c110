//! MOV and what moves like it: MOVZX, MOVSX, LEA, XCHG, BSWAP, MOVBE, CMOVcc, SETcc, XLAT, CBW and CWD.

use super::{Cpu, Ctx, Exec, Int, MemOperand, Op, by_condition, in_memory, placed, size, sized, wide};
use crate::cpu::{RAX, RDX};
use iced_x86::{ConditionCode, Instruction, Mnemonic, OpKind, Register};

fn reg_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = T::get(cpu, op.reg);
    T::set(cpu, op.rm, v);
    Ok(())
}

fn reg_imm<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    T::set(cpu, op.rm, T::from64(op.imm));
    Ok(())
}

fn reg_mem<T: Int, M: MemOperand>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = M::load::<T>(cpu, op)?;
    T::set(cpu, op.reg, v);
    Ok(())
}

fn mem_reg<T: Int, M: MemOperand>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = T::get(cpu, op.reg);
    M::store::<T>(cpu, op, v)
}

fn mem_imm<T: Int, M: MemOperand>(cpu: &mut Cpu, op: &Op) -> Exec {
    M::store::<T>(cpu, op, T::from64(op.imm))
}

#[inline(always)]
fn extend<D: Int, S: Int, const SIGNED: bool>(v: S) -> D {
    D::from64(if SIGNED { v.sext() } else { v.zext() })
}

fn extend_reg<D: Int, S: Int, const SIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = S::get(cpu, op.rm);
    D::set(cpu, op.reg, extend::<D, S, SIGNED>(v));
    Ok(())
}

fn extend_mem<D: Int, S: Int, M: MemOperand, const SIGNED: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = M::load::<S>(cpu, op)?;
    D::set(cpu, op.reg, extend::<D, S, SIGNED>(v));
    Ok(())
}

fn lea<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = T::from64(cpu.ea(op));
    T::set(cpu, op.reg, v);
    Ok(())
}

fn xchg_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (a, b) = (T::get(cpu, op.rm), T::get(cpu, op.reg));
    T::set(cpu, op.rm, b);
    T::set(cpu, op.reg, a);
    Ok(())
}

fn xchg_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let new = T::get(cpu, op.reg);
    let (old, _) = cpu.modify::<T, true>(op, |_| new)?;
    T::set(cpu, op.reg, old);
    Ok(())
}

#[inline(always)]
fn swapped<T: Int>(v: T) -> T {
    T::from64(v.zext().swap_bytes() >> (64 - T::BITS))
}

fn bswap<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    // The manuals leave a 16-bit BSWAP undefined; Intel's cores clear the register.
    let v = if T::BITS == 16 { T::from64(0) } else { swapped(T::get(cpu, op.rm)) };
    T::set(cpu, op.rm, v);
    Ok(())
}

fn movbe_load<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.load::<T>(op)?;
    T::set(cpu, op.reg, swapped(v));
    Ok(())
}

fn movbe_store<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = swapped(T::get(cpu, op.reg));
    cpu.store::<T>(op, v)
}

/// The destination is written whatever the condition: a 32-bit one loses its upper half.
fn cmov_reg<T: Int, const CC: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    let from = if cpu.cond::<CC>() { op.rm } else { op.reg };
    let v = T::get(cpu, from);
    T::set(cpu, op.reg, v);
    Ok(())
}

fn cmov_mem<T: Int, const CC: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.load::<T>(op)?;
    let v = if cpu.cond::<CC>() { v } else { T::get(cpu, op.reg) };
    T::set(cpu, op.reg, v);
    Ok(())
}

fn set_reg<const CC: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = u8::from(cpu.cond::<CC>());
    u8::set(cpu, op.rm, v);
    Ok(())
}

fn set_mem<const CC: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = u8::from(cpu.cond::<CC>());
    cpu.store::<u8>(op, v)
}

/// XLAT: AL is an index into the table at (E/R)BX.
fn xlat(cpu: &mut Cpu, op: &Op) -> Exec {
    // The lowered operand names BX as base and RAX as index; only AL of it counts.
    let rax = cpu.gpr[RAX];
    cpu.gpr[RAX] = rax & 0xff;
    let v = cpu.load::<u8>(op);
    cpu.gpr[RAX] = rax;
    let v = v?;
    u8::set(cpu, 0, v);
    Ok(())
}

/// CBW, CWDE, CDQE: the accumulator's lower half, sign-extended into the whole.
fn widen<D: Int, S: Int>(cpu: &mut Cpu, _: &Op) -> Exec {
    let v = S::get(cpu, RAX as u8).sext();
    D::set(cpu, RAX as u8, D::from64(v));
    Ok(())
}

/// CWD, CDQ, CQO: the accumulator's sign, through the data register.
fn sign<T: Int>(cpu: &mut Cpu, _: &Op) -> Exec {
    let v = (T::get(cpu, RAX as u8).sext() as i64 >> 63) as u64;
    T::set(cpu, RDX as u8, T::from64(v));
    Ok(())
}

fn is_plain(r: Register) -> bool {
    r.is_gpr()
}

fn lower_mov(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let (a, b) = (i.op0_register(), i.op1_register());
    sized!(size(i, 0), |T| match (i.op0_kind(), i.op1_kind()) {
        (OpKind::Register, OpKind::Register) if is_plain(a) && is_plain(b) => {
            Op::line(reg_reg::<T>).rm(ctx.reg(a)).reg(ctx.reg(b))
        }
        (OpKind::Register, OpKind::Memory) if is_plain(a) =>
            placed!(i, ctx, |M| reg_mem::<T, M>).reg(ctx.reg(a)).mem(i, ctx),
        (OpKind::Memory, OpKind::Register) if is_plain(b) =>
            placed!(i, ctx, |M| mem_reg::<T, M>).reg(ctx.reg(b)).mem(i, ctx),
        (OpKind::Register | OpKind::Memory, OpKind::Register | OpKind::Memory) => return None,
        (OpKind::Register, _) => Op::line(reg_imm::<T>).rm(ctx.reg(a)).imm(i.immediate(1)),
        _ => placed!(i, ctx, |M| mem_imm::<T, M>).imm(i.immediate(1)).mem(i, ctx),
    })
}

fn lower_extend<const SIGNED: bool>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let op = wide!(size(i, 0), |D| sized!(size(i, 1), |S| if in_memory(i, 1) {
        placed!(i, ctx, |M| extend_mem::<D, S, M, SIGNED>).mem(i, ctx)
    } else {
        Op::line(extend_reg::<D, S, SIGNED>).rm(ctx.reg(i.op1_register()))
    })?);
    Some(op?.reg(ctx.reg(i.op0_register())))
}

fn lower_xchg(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    sized!(size(i, 0), |T| match (i.op0_kind(), i.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            Op::line(xchg_reg::<T>).rm(ctx.reg(i.op0_register())).reg(ctx.reg(i.op1_register()))
        }
        (OpKind::Register, _) => Op::line(xchg_mem::<T>).reg(ctx.reg(i.op0_register())).mem(i, ctx),
        _ => Op::line(xchg_mem::<T>).reg(ctx.reg(i.op1_register())).mem(i, ctx),
    })
}

fn lower_movbe(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    wide!(size(i, 0), |T| if in_memory(i, 1) {
        Op::line(movbe_load::<T>).reg(ctx.reg(i.op0_register())).mem(i, ctx)
    } else {
        Op::line(movbe_store::<T>).reg(ctx.reg(i.op1_register())).mem(i, ctx)
    })
}

/// The condition's number in the opcode.
pub fn condition(i: &Instruction) -> Option<u8> {
    use ConditionCode::*;
    let order = [o, no, b, ae, e, ne, be, a, s, ns, p, np, l, ge, le, g];
    order.iter().position(|&c| c == i.condition_code()).map(|n| n as u8)
}

fn lower_conditional(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let name = i.mnemonic();
    if is_setcc(name) {
        return by_condition!(condition(i)?, |CC| if in_memory(i, 0) {
            Op::line(set_mem::<CC>).mem(i, ctx)
        } else {
            Op::line(set_reg::<CC>).rm(ctx.reg(i.op0_register()))
        });
    }
    if !is_cmovcc(name) {
        return None;
    }
    let op = by_condition!(condition(i)?, |CC| wide!(size(i, 0), |T| if in_memory(i, 1) {
        Op::line(cmov_mem::<T, CC>).mem(i, ctx)
    } else {
        Op::line(cmov_reg::<T, CC>).rm(ctx.reg(i.op1_register()))
    })?);
    Some(op?.reg(ctx.reg(i.op0_register())))
}

/// SETcc.
pub fn is_setcc(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        m,
        Seto | Setno
            | Setb
            | Setae
            | Sete
            | Setne
            | Setbe
            | Seta
            | Sets
            | Setns
            | Setp
            | Setnp
            | Setl
            | Setge
            | Setle
            | Setg
    )
}

/// CMOVcc.
pub fn is_cmovcc(m: Mnemonic) -> bool {
    use Mnemonic::*;
    matches!(
        m,
        Cmovo
            | Cmovno
            | Cmovb
            | Cmovae
            | Cmove
            | Cmovne
            | Cmovbe
            | Cmova
            | Cmovs
            | Cmovns
            | Cmovp
            | Cmovnp
            | Cmovl
            | Cmovge
            | Cmovle
            | Cmovg
    )
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    match i.mnemonic() {
        Mnemonic::Mov => lower_mov(i, ctx),
        Mnemonic::Movnti => {
            wide!(size(i, 1), |T| placed!(i, ctx, |M| mem_reg::<T, M>)
                .reg(ctx.reg(i.op1_register()))
                .mem(i, ctx))
        }
        Mnemonic::Movzx => lower_extend::<false>(i, ctx),
        Mnemonic::Movsx | Mnemonic::Movsxd => lower_extend::<true>(i, ctx),
        Mnemonic::Lea => wide!(size(i, 0), |T| Op::line(lea::<T>).reg(ctx.reg(i.op0_register())).mem(i, ctx)),
        Mnemonic::Xchg => lower_xchg(i, ctx),
        Mnemonic::Bswap => wide!(size(i, 0), |T| Op::line(bswap::<T>).rm(ctx.reg(i.op0_register()))),
        Mnemonic::Movbe => lower_movbe(i, ctx),
        Mnemonic::Xlatb => Some(Op::line(xlat).mem(i, ctx)),
        Mnemonic::Cbw => Some(Op::line(widen::<u16, u8>)),
        Mnemonic::Cwde => Some(Op::line(widen::<u32, u16>)),
        Mnemonic::Cdqe => Some(Op::line(widen::<u64, u32>)),
        Mnemonic::Cwd => Some(Op::line(sign::<u16>)),
        Mnemonic::Cdq => Some(Op::line(sign::<u32>)),
        Mnemonic::Cqo => Some(Op::line(sign::<u64>)),
        _ => lower_conditional(i, ctx),
    }
}
