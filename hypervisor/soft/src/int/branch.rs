//! Near JMP, CALL and RET, Jcc, LOOP and JCXZ. Far transfers and interrupts are elsewhere.

use super::mov::condition;
use super::{
    AnyStack, Cpu, Ctx, Exec, Fault, Int, LongStack, NearStack, Op, Stack, by_condition, in_memory, wide,
};
use crate::cpu::{RCX, RSP};
use iced_x86::{Code, Instruction, Mnemonic, OpKind};

/// The target of a relative branch: the operand size cuts it.
#[inline(always)]
fn target<T: Int>(cpu: &Cpu, op: &Op) -> u64 {
    T::from64(after::<T>(cpu, op).wrapping_add(op.imm)).zext()
}

/// [`Cpu::jump`]; operands of 64 bits occur in 64-bit code alone.
#[inline(always)]
fn go_to<T: Int>(cpu: &mut Cpu, to: u64) -> Exec {
    if T::BITS != 64 {
        return cpu.jump(to);
    }
    if (to as i64) << 16 >> 16 != to as i64 {
        return Err(cpu.gp(0));
    }
    cpu.set_rip(to);
    Ok(())
}

/// Address of the next instruction, likewise.
#[inline(always)]
fn after<T: Int>(cpu: &Cpu, op: &Op) -> u64 {
    if T::BITS == 64 { cpu.this_ip(op).wrapping_add(op.len.into()) } else { cpu.next_ip(op) }
}

fn jmp<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = target::<T>(cpu, op);
    go_to::<T>(cpu, to)
}

fn jcc<T: Int, const CC: u8>(cpu: &mut Cpu, op: &Op) -> Result<bool, Fault> {
    let taken = cpu.cond::<CC>();
    if taken {
        let to = target::<T>(cpu, op);
        go_to::<T>(cpu, to)?;
    }
    Ok(taken)
}

fn jmp_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = T::get(cpu, op.rm).zext();
    go_to::<T>(cpu, to)
}

fn jmp_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = cpu.load::<T>(op)?.zext();
    go_to::<T>(cpu, to)
}

/// Pushes the return address and goes; when the target is refused the stack pointer is as before.
#[inline(always)]
fn call_to<T: Int, S: Stack>(cpu: &mut Cpu, op: &Op, to: u64) -> Exec {
    let old = cpu.gpr[RSP];
    let back = after::<T>(cpu, op);
    S::push::<T>(cpu, T::from64(back))?;
    let done = go_to::<T>(cpu, to);
    if done.is_err() {
        cpu.gpr[RSP] = old;
    }
    done
}

fn call<T: Int, S: Stack>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = target::<T>(cpu, op);
    call_to::<T, S>(cpu, op, to)
}

fn call_reg<T: Int, S: Stack>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = T::get(cpu, op.rm).zext();
    call_to::<T, S>(cpu, op, to)
}

fn call_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let to = cpu.load::<T>(op)?.zext();
    call_to::<T, AnyStack>(cpu, op, to)
}

/// RET; the immediate is what it drops above the return address.
fn ret<T: Int, S: Stack, const DROP: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let old = cpu.gpr[RSP];
    let to = S::pop::<T>(cpu)?.zext();
    if DROP {
        let sp = cpu.sp().wrapping_add(op.imm);
        cpu.set_sp(sp);
    }
    let done = go_to::<T>(cpu, to);
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
fn count_down<T: Int, C: Int, const KIND: u8>(cpu: &mut Cpu, op: &Op) -> Result<bool, Fault> {
    let old = cpu.gpr[RCX];
    let n = C::from64(C::get(cpu, RCX as u8).zext().wrapping_sub(1));
    C::set(cpu, RCX as u8, n);
    let go = match KIND {
        WHILE_EQUAL => cpu.zf(),
        WHILE_NOT_EQUAL => !cpu.zf(),
        _ => true,
    };
    if n.zext() == 0 || !go {
        return Ok(false);
    }
    let to = target::<T>(cpu, op);
    let done = go_to::<T>(cpu, to);
    if done.is_err() {
        cpu.gpr[RCX] = old;
    }
    done.map(|()| true)
}

/// JCXZ, JECXZ, JRCXZ.
fn count_zero<T: Int, C: Int>(cpu: &mut Cpu, op: &Op) -> Result<bool, Fault> {
    let taken = C::get(cpu, RCX as u8).zext() == 0;
    if taken {
        let to = target::<T>(cpu, op);
        go_to::<T>(cpu, to)?;
    }
    Ok(taken)
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

/// A branch that uses the stack, with a quick form in 64-bit code and in 32-bit code.
macro_rules! stacked {
    ($ctx:expr, |$S:ident| $f:expr) => {{
        let any = {
            type $S = AnyStack;
            $f
        };
        let long = {
            type $S = LongStack;
            $f
        };
        let near = {
            type $S = NearStack;
            $f
        };
        match ($ctx.stack, $ctx.code) {
            (64, _) => Op::near_fast(long, any),
            (32, 32) => Op::near_fast(near, any),
            _ => Op::near(any),
        }
    }};
}

fn is_near(i: &Instruction) -> bool {
    matches!(i.op0_kind(), OpKind::NearBranch16 | OpKind::NearBranch32 | OpKind::NearBranch64)
}

fn lower_transfer(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let call_it = i.mnemonic() == Mnemonic::Call;
    wide!(width(i)?, |T| if is_near(i) {
        let op = if call_it { stacked!(ctx, |S| call::<T, S>) } else { Op::near(jmp::<T>) };
        op.imm(displacement(i))
    } else if in_memory(i, 0) {
        let op = if call_it { Op::near(call_mem::<T>) } else { Op::near(jmp_mem::<T>) };
        op.mem(i, ctx)
    } else {
        let op = if call_it { stacked!(ctx, |S| call_reg::<T, S>) } else { Op::near(jmp_reg::<T>) };
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
        Mnemonic::Loop => Op::branch(count_down::<T, C, PLAIN>),
        Mnemonic::Loope => Op::branch(count_down::<T, C, WHILE_EQUAL>),
        Mnemonic::Loopne => Op::branch(count_down::<T, C, WHILE_NOT_EQUAL>),
        _ => Op::branch(count_zero::<T, C>),
    })?);
    Some(op?.imm(displacement(i)))
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    match i.mnemonic() {
        Mnemonic::Jmp | Mnemonic::Call => lower_transfer(i, ctx),
        Mnemonic::Ret => {
            let drop = if i.op_count() == 1 { u64::from(i.immediate16()) } else { 0 };
            let op = wide!(i.stack_pointer_increment() as u64 - drop, |T| if drop == 0 {
                stacked!(ctx, |S| ret::<T, S, false>)
            } else {
                stacked!(ctx, |S| ret::<T, S, true>)
            });
            Some(op?.imm(drop))
        }
        Mnemonic::Loop
        | Mnemonic::Loope
        | Mnemonic::Loopne
        | Mnemonic::Jcxz
        | Mnemonic::Jecxz
        | Mnemonic::Jrcxz => lower_counted(i),
        _ if i.is_jcc_short_or_near() => {
            let op = wide!(width(i)?, |T| by_condition!(condition(i)?, |CC| Op::branch(jcc::<T, CC>))?);
            Some(op?.imm(displacement(i)))
        }
        _ => None,
    }
}
