//! PUSH, POP, PUSHA, POPA, ENTER and LEAVE. Segment registers and flags are pushed elsewhere.

use super::{AnyStack, Cpu, Ctx, Exec, Int, LongStack, NearStack, Op, Stack, in_memory, wide};
use crate::cpu::{RAX, RBP, RDI, RSP};
use iced_x86::{Instruction, Mnemonic, OpKind};

fn push_reg<T: Int, S: Stack>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = T::get(cpu, op.reg);
    S::push::<T>(cpu, v)
}

fn push_imm<T: Int, S: Stack>(cpu: &mut Cpu, op: &Op) -> Exec {
    S::push::<T>(cpu, T::from64(op.imm))
}

fn push_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.load::<T>(op)?;
    cpu.push::<T>(v)
}

/// POP into a register. POP RSP keeps the popped value, because the register is written last.
fn pop_reg<T: Int, S: Stack>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = S::pop::<T>(cpu)?;
    T::set(cpu, op.reg, v);
    Ok(())
}

/// POP into memory: an address on RSP uses its value after the pop (SDM vol. 2, POP).
fn pop_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let old = cpu.gpr[RSP];
    let v = cpu.pop::<T>()?;
    let done = cpu.store::<T>(op, v);
    if done.is_err() {
        cpu.gpr[RSP] = old;
    }
    done
}

/// PUSHA: AX, CX, DX, BX, the SP before, BP, SI, DI.
fn push_all<T: Int>(cpu: &mut Cpu, _: &Op) -> Exec {
    let old = cpu.gpr[RSP];
    for r in RAX..=RDI {
        let v = if r == RSP { T::from64(old) } else { T::get(cpu, r as u8) };
        if let Err(fault) = cpu.push::<T>(v) {
            cpu.gpr[RSP] = old;
            return Err(fault);
        }
    }
    Ok(())
}

/// POPA: the reverse; the stored SP is thrown away.
fn pop_all<T: Int>(cpu: &mut Cpu, _: &Op) -> Exec {
    let old = cpu.gpr[RSP];
    let mut popped = [T::from64(0); 8];
    for v in popped.iter_mut().rev() {
        match cpu.pop::<T>() {
            Ok(x) => *v = x,
            Err(fault) => {
                cpu.gpr[RSP] = old;
                return Err(fault);
            }
        }
    }
    for (r, v) in (RAX..=RDI).zip(popped) {
        if r != RSP {
            T::set(cpu, r as u8, v);
        }
    }
    Ok(())
}

/// ENTER: the frame size is the low half of the immediate, the nesting level the byte above it.
fn enter<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (rsp, rbp) = (cpu.gpr[RSP], cpu.gpr[RBP]);
    let done = enter_frame::<T>(cpu, op.imm & 0xffff, (op.imm >> 16) & 31);
    if done.is_err() {
        cpu.gpr[RSP] = rsp;
        cpu.gpr[RBP] = rbp;
    }
    done
}

fn enter_frame<T: Int>(cpu: &mut Cpu, size: u64, level: u64) -> Exec {
    let bp = T::get(cpu, RBP as u8);
    cpu.push::<T>(bp)?;
    // All of it, however little of it the stack uses: the operand size alone cuts what RBP gets.
    let frame = cpu.gpr[RSP];
    let mut link = cpu.gpr[RBP];
    for _ in 1..level {
        link = link.wrapping_sub(u64::from(T::BITS / 8));
        let v = cpu.read::<T>(cpu.stack_seg, link & cpu.sp_mask)?;
        cpu.push::<T>(v)?;
    }
    if level > 0 {
        cpu.push::<T>(T::from64(frame))?;
    }
    let sp = cpu.sp().wrapping_sub(size) & cpu.sp_mask;
    // A stack top that cannot be written faults here and not at the next push (SDM vol. 2, ENTER).
    cpu.modify_at::<u8, true>(cpu.stack_seg, sp, |v| v)?;
    T::set(cpu, RBP as u8, T::from64(frame));
    cpu.set_sp(sp);
    Ok(())
}

fn leave<T: Int, S: Stack>(cpu: &mut Cpu, _: &Op) -> Exec {
    let old = cpu.gpr[RSP];
    let frame = cpu.gpr[RBP];
    cpu.set_sp(frame);
    match S::pop::<T>(cpu) {
        Ok(v) => {
            T::set(cpu, RBP as u8, v);
            Ok(())
        }
        Err(fault) => {
            cpu.gpr[RSP] = old;
            Err(fault)
        }
    }
}

/// An operation on the stack, with a quick form in 64-bit code and in 32-bit code.
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
            (64, _) => Op::fast(long, any),
            (32, 32) => Op::fast(near, any),
            _ => Op::line(any),
        }
    }};
}

fn lower_push(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let r = i.op0_register();
    wide!(i.stack_pointer_increment().unsigned_abs(), |T| match i.op0_kind() {
        OpKind::Register if r.is_gpr() => stacked!(ctx, |S| push_reg::<T, S>).reg(ctx.reg(r)),
        OpKind::Register => return None,
        OpKind::Memory => Op::line(push_mem::<T>).mem(i, ctx),
        _ => stacked!(ctx, |S| push_imm::<T, S>).imm(i.immediate(0)),
    })
}

fn lower_pop(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let r = i.op0_register();
    wide!(i.stack_pointer_increment().unsigned_abs(), |T| if in_memory(i, 0) {
        Op::line(pop_mem::<T>).mem(i, ctx)
    } else if r.is_gpr() {
        stacked!(ctx, |S| pop_reg::<T, S>).reg(ctx.reg(r))
    } else {
        return None;
    })
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use iced_x86::Code;
    match i.mnemonic() {
        Mnemonic::Push => lower_push(i, ctx),
        Mnemonic::Pop => lower_pop(i, ctx),
        Mnemonic::Pusha => Some(Op::line(push_all::<u16>)),
        Mnemonic::Pushad => Some(Op::line(push_all::<u32>)),
        Mnemonic::Popa => Some(Op::line(pop_all::<u16>)),
        Mnemonic::Popad => Some(Op::line(pop_all::<u32>)),
        Mnemonic::Enter => {
            let imm = u64::from(i.immediate16()) | u64::from(i.immediate8_2nd()) << 16;
            let op = match i.code() {
                Code::Enterw_imm16_imm8 => Op::line(enter::<u16>),
                Code::Enterd_imm16_imm8 => Op::line(enter::<u32>),
                _ => Op::line(enter::<u64>),
            };
            Some(op.imm(imm))
        }
        Mnemonic::Leave => Some(match i.code() {
            Code::Leavew => Op::line(leave::<u16, AnyStack>),
            Code::Leaved => Op::line(leave::<u32, AnyStack>),
            _ => stacked!(ctx, |S| leave::<u64, S>),
        }),
        _ => None,
    }
}
