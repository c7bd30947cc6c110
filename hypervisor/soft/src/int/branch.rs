//! Near JMP, CALL and RET, Jcc, LOOP and JCXZ. Far transfers and interrupts are elsewhere.

use super::mov::condition;
use super::{Cpu, Ctx, Exec, Int, Op, by_condition, in_memory, wide};
use crate::cpu::{RCX, RSP};
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

/// The target of a relative branch: the operand size cuts it.
#[inline(always)]
fn target<T: Int>(cpu: &Cpu, op: &Op) -> u64 {
    T::from64(cpu.next_ip(op).wrapping_add(op.imm)).zext()
}

fn jmp<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = target::<T>(cpu, op);
    cpu.jump(to)
}

fn jcc<T: Int, const CC: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    if cpu.cond::<CC>() {
        let to = target::<T>(cpu, op);
        return cpu.jump(to);
    }
    cpu.rip_next(op);
    Ok(())
}

fn jmp_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = T::get(cpu, op.rm).zext();
    cpu.jump(to)
}

fn jmp_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = cpu.load::<T>(op)?.zext();
    cpu.jump(to)
}

/// Pushes the return address and goes; when the target is refused the stack pointer is as before.
#[inline(always)]
fn call_to<T: Int>(cpu: &mut Cpu, op: &Op, to: u64) -> Exec {
    let old = cpu.gpr[RSP];
    let back = cpu.next_ip(op);
    cpu.push::<T>(T::from64(back))?;
    let done = cpu.jump(to);
    if done.is_err() {
        cpu.gpr[RSP] = old;
    }
    done
}

fn call<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = target::<T>(cpu, op);
    call_to::<T>(cpu, op, to)
}

fn call_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = T::get(cpu, op.rm).zext();
    call_to::<T>(cpu, op, to)
}

fn call_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = cpu.load::<T>(op)?.zext();
    call_to::<T>(cpu, op, to)
}

/// RET; the immediate is what it drops above the return address.
fn ret<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let old = cpu.gpr[RSP];
    let to = cpu.pop::<T>()?.zext();
    if op.imm != 0 {
        let sp = cpu.sp().wrapping_add(op.imm);
        cpu.set_sp(sp);
    }
    let done = cpu.jump(to);
    if done.is_err() {
        cpu.gpr[RSP] = old;
    }
    done
}

/// What LOOP looks at besides the count.
const PLAIN: u8 = 0;
const WHILE_EQUAL: u8 = 1;
const WHILE_NOT_EQUAL: u8 = 2;

/// LOOP, LOOPE, LOOPNE with a count register of type `C`.
fn count_down<T: Int, C: Int, const KIND: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    let old = cpu.gpr[RCX];
    let n = C::from64(C::get(cpu, RCX as u8).zext().wrapping_sub(1));
    C::set(cpu, RCX as u8, n);
    let go = match KIND {
        WHILE_EQUAL => cpu.zf(),
        WHILE_NOT_EQUAL => !cpu.zf(),
        _ => true,
    };
    if n.zext() == 0 || !go {
        cpu.rip_next(op);
        return Ok(());
    }
    let to = target::<T>(cpu, op);
    let done = cpu.jump(to);
    if done.is_err() {
        cpu.gpr[RCX] = old;
    }
    done
}

/// JCXZ, JECXZ, JRCXZ.
fn count_zero<T: Int, C: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    if C::get(cpu, RCX as u8).zext() == 0 {
        let to = target::<T>(cpu, op);
        return cpu.jump(to);
    }
    cpu.rip_next(op);
    Ok(())
}

/// Bytes of the operand of a near branch: what the instruction pointer is cut to.
fn width(i: &Instruction) -> Option<usize> {
    Some(match i.op0_kind() {
        OpKind::NearBranch16 => 2,
        OpKind::NearBranch32 => 4,
        OpKind::NearBranch64 => 8,
        OpKind::Register => i.op0_register().size(),
        OpKind::Memory if i.is_jmp_near_indirect() || i.is_call_near_indirect() => i.memory_size().size(),
        _ => return None,
    })
}

fn displacement(i: &Instruction) -> u64 {
    let to = i.near_branch_target();
    match i.op0_kind() {
        OpKind::NearBranch16 => (to as u16).wrapping_sub(i.next_ip() as u16) as i16 as u64,
        OpKind::NearBranch32 => (to as u32).wrapping_sub(i.next_ip() as u32) as i32 as u64,
        _ => to.wrapping_sub(i.next_ip()),
    }
}

fn is_near(i: &Instruction) -> bool {
    matches!(i.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

fn lower_transfer(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let call_it = i.mnemonic() == Mnemonic::Call;
    wide!(width(i)?, |T| if is_near(i) {
        let op = if call_it { Op::jump(call::<T>) } else { Op::jump(jmp::<T>) };
        op.imm(displacement(i))
    } else if in_memory(i, 0) {
        let op = if call_it { Op::jump(call_mem::<T>) } else { Op::jump(jmp_mem::<T>) };
        op.mem(i, ctx)
    } else {
        let op = if call_it { Op::jump(call_reg::<T>) } else { Op::jump(jmp_reg::<T>) };
        op.rm(ctx.reg(i.op0_register()))
    })
}

/// Bytes of the count register: the address size, which the code of the instruction names.
fn count_bytes(i: &Instruction) -> Option<u32> {
    use Code::*;
    Some(match i.code() {
        Loop_rel8_16_CX | Loop_rel8_32_CX | Loope_rel8_16_CX | Loope_rel8_32_CX | Loopne_rel8_16_CX
        | Loopne_rel8_32_CX | Jcxz_rel8_16 | Jcxz_rel8_32 => 2,
        Loop_rel8_16_ECX | Loop_rel8_32_ECX | Loop_rel8_64_ECX | Loope_rel8_16_ECX | Loope_rel8_32_ECX
        | Loope_rel8_64_ECX | Loopne_rel8_16_ECX | Loopne_rel8_32_ECX | Loopne_rel8_64_ECX
        | Jecxz_rel8_16 | Jecxz_rel8_32 | Jecxz_rel8_64 => 4,
        Loop_rel8_16_RCX | Loop_rel8_64_RCX | Loope_rel8_16_RCX | Loope_rel8_64_RCX | Loopne_rel8_16_RCX
        | Loopne_rel8_64_RCX | Jrcxz_rel8_16 | Jrcxz_rel8_64 => 8,
        _ => return None,
    })
}

fn lower_counted(i: &Instruction) -> Option<Op> {
    let op = wide!(width(i)?, |T| wide!(count_bytes(i)?, |C| match i.mnemonic() {
        Mnemonic::Loop => Op::jump(count_down::<T, C, PLAIN>),
        Mnemonic::Loope => Op::jump(count_down::<T, C, WHILE_EQUAL>),
        Mnemonic::Loopne => Op::jump(count_down::<T, C, WHILE_NOT_EQUAL>),
        _ => Op::jump(count_zero::<T, C>),
    })?);
    Some(op?.imm(displacement(i)))
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    match i.mnemonic() {
        Mnemonic::Jmp | Mnemonic::Call => lower_transfer(i, ctx),
        Mnemonic::Ret => {
            let drop = if i.op_count() == 1 { u64::from(i.immediate16()) } else { 0 };
            let op = wide!(i.stack_pointer_increment() as u64 - drop, |T| Op::jump(ret::<T>));
            Some(op?.imm(drop))
        }
        Mnemonic::Loop
        | Mnemonic::Loope
        | Mnemonic::Loopne
        | Mnemonic::Jcxz
        | Mnemonic::Jecxz
        | Mnemonic::Jrcxz => lower_counted(i),
        _ if i.is_jcc_short_or_near() => {
            let op = wide!(width(i)?, |T| by_condition!(condition(i)?, |CC| Op::jump(jcc::<T, CC>))?);
            Some(op?.imm(displacement(i)))
        }
        _ => None,
    }
}
