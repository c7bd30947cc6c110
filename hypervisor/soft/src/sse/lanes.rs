//! Single lanes in and out of registers, masks, blends by XMM0, tests and string comparisons.

use iced_x86::{Code, Instruction, Mnemonic};
use simd::{int, pack, string};

use super::forms::{compare, operands, xmm};
use super::{immediate, in_memory, number};
use crate::cpu::{Cpu, Fault, RAX, RCX, RDX};
use crate::op::{Ctx, Op, Word};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    inserts(i, ctx)
        .or_else(|| extracts(i, ctx))
        .or_else(|| masks(i, ctx))
        .or_else(|| blends(i, ctx))
        .or_else(|| strings(i, ctx))
}

fn inserts(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<W: Word, const MEM: bool>(f: impl Fn(u128, u64, u8) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let v = general::<W, MEM>(cpu, op)?;
            cpu.set_x(op.reg, f(cpu.x(op.reg), v, op.imm as u8));
            Ok(())
        })
    }
    fn form_mm<const MEM: bool>() -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            cpu.x87_wait()?;
            let v = general::<u16, MEM>(cpu, op)?;
            cpu.x87.set_mmx(op.reg, pack::pinsrw_mmx(cpu.x87.mmx(op.reg), v, op.imm as u8));
            Ok(())
        })
    }
    fn insert<W: Word>(mem: bool, f: impl Fn(u128, u64, u8) -> u128 + Copy) -> Op {
        if mem { form::<W, true>(f) } else { form::<W, false>(f) }
    }
    let mem = in_memory(i, 1);
    let op = match i.mnemonic() {
        Mnemonic::Pinsrb => insert::<u8>(mem, pack::pinsrb),
        Mnemonic::Pinsrw if i.op0_register().is_mm() => {
            if mem {
                form_mm::<true>()
            } else {
                form_mm::<false>()
            }
        }
        Mnemonic::Pinsrw => insert::<u16>(mem, pack::pinsrw),
        Mnemonic::Pinsrd => insert::<u32>(mem, pack::pinsrd),
        Mnemonic::Pinsrq => insert::<u64>(mem, pack::pinsrq),
        // The lane that memory gives is always the first.
        Mnemonic::Insertps if mem => {
            return Some(xmm::<u32>(i, ctx, |op, a, b| pack::insertps(a, b, op.imm as u8 & 0x3f)));
        }
        Mnemonic::Insertps => return Some(xmm::<u32>(i, ctx, |op, a, b| pack::insertps(a, b, op.imm as u8))),
        _ => return None,
    };
    Some(operands(op, i, ctx))
}

/// The general register `op.rm` whole, or `W` in memory.
#[inline(always)]
fn general<W: Word, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Result<u64, Fault> {
    if MEM { Ok(cpu.load::<W>(op)?.to128() as u64) } else { Ok(cpu.gpr[usize::from(op.rm & 15)]) }
}

fn extracts(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<W: Word, const MEM: bool>(f: impl Fn(u128, u8) -> u64 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let v = f(cpu.x(op.reg), op.imm as u8);
            if MEM {
                return cpu.store(op, W::from128(u128::from(v)));
            }
            cpu.gpr[usize::from(op.rm & 15)] = v;
            Ok(())
        })
    }
    fn extract<W: Word>(mem: bool, f: impl Fn(u128, u8) -> u64 + Copy) -> Op {
        if mem { form::<W, true>(f) } else { form::<W, false>(f) }
    }
    fn extract_mm(cpu: &mut Cpu, op: &Op) -> crate::cpu::Exec {
        cpu.x87_wait()?;
        cpu.gpr[usize::from(op.rm & 15)] = pack::pextrw_mmx(cpu.x87.mmx(op.reg), op.imm as u8);
        cpu.x87.enter_mmx();
        Ok(())
    }
    let mem = in_memory(i, 0);
    let op = match i.mnemonic() {
        Mnemonic::Pextrb => extract::<u8>(mem, pack::pextrb),
        Mnemonic::Pextrw if i.op1_register().is_mm() => Op::line(extract_mm),
        Mnemonic::Pextrw => extract::<u16>(mem, pack::pextrw),
        Mnemonic::Pextrd | Mnemonic::Extractps => extract::<u32>(mem, pack::pextrd),
        Mnemonic::Pextrq => extract::<u64>(mem, pack::pextrq),
        _ => return None,
    };
    let op = if mem { op.mem(i, ctx) } else { op.rm(number(i, 0)) };
    Some(op.reg(number(i, 1)).imm(immediate(i)))
}

/// PMOVMSKB, MOVMSKPS, MOVMSKPD and PTEST.
fn masks(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn mask(i: &Instruction, ctx: &Ctx, f: impl Fn(u128) -> u32 + Copy) -> Op {
        let run = move |cpu: &mut Cpu, op: &Op| {
            cpu.gpr[usize::from(op.reg & 15)] = u64::from(f(cpu.x(op.rm)));
            Ok(())
        };
        operands(Op::line(run), i, ctx)
    }
    fn mask_mm(cpu: &mut Cpu, op: &Op) -> crate::cpu::Exec {
        cpu.x87_wait()?;
        cpu.gpr[usize::from(op.reg & 15)] = u64::from(int::pmovmskb_mmx(cpu.x87.mmx(op.rm)));
        cpu.x87.enter_mmx();
        Ok(())
    }
    Some(match i.mnemonic() {
        Mnemonic::Pmovmskb if i.op1_register().is_mm() => operands(Op::line(mask_mm), i, ctx),
        Mnemonic::Pmovmskb => mask(i, ctx, int::pmovmskb),
        Mnemonic::Movmskps => mask(i, ctx, int::movmskps),
        Mnemonic::Movmskpd => mask(i, ctx, int::movmskpd),
        Mnemonic::Ptest => compare::<u128>(i, ctx, |_, a, b| int::ptest(a, b)),
        _ => return None,
    })
}

fn blends(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<const MEM: bool>(f: impl Fn(u128, u128, u128) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.source::<u128, MEM>(op)?;
            cpu.set_x(op.reg, f(cpu.x(op.reg), b, cpu.x(0)));
            Ok(())
        })
    }
    fn blend(i: &Instruction, ctx: &Ctx, f: impl Fn(u128, u128, u128) -> u128 + Copy) -> Op {
        operands(if in_memory(i, 1) { form::<true>(f) } else { form::<false>(f) }, i, ctx)
    }
    Some(match i.mnemonic() {
        Mnemonic::Pblendvb => blend(i, ctx, pack::pblendvb),
        Mnemonic::Blendvps => blend(i, ctx, pack::blendvps),
        Mnemonic::Blendvpd => blend(i, ctx, pack::blendvpd),
        _ => return None,
    })
}

/// PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM: their memory operands need no alignment.
fn strings(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    /// `f` gets the operands, the lengths in RAX and RDX, and the immediate.
    fn form<R, const MEM: bool, const WIDE: bool>(
        f: impl Fn(u128, i64, u128, i64, u8) -> (R, u32) + Copy,
        put: impl Fn(&mut Cpu, R) + Copy,
    ) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = if MEM { cpu.load::<u128>(op)? } else { cpu.x(op.rm) };
            let length = |v: u64| if WIDE { v as i64 } else { i64::from(v as i32) };
            let (a_len, b_len) = (length(cpu.gpr[RAX]), length(cpu.gpr[RDX]));
            let (r, flags) = f(cpu.x(op.reg), a_len, b, b_len, op.imm as u8);
            put(cpu, r);
            cpu.set_status(u64::from(flags));
            Ok(())
        })
    }
    fn string<R, const WIDE: bool>(
        i: &Instruction,
        ctx: &Ctx,
        f: impl Fn(u128, i64, u128, i64, u8) -> (R, u32) + Copy,
        put: impl Fn(&mut Cpu, R) + Copy,
    ) -> Op {
        let mem = in_memory(i, 1);
        operands(if mem { form::<R, true, WIDE>(f, put) } else { form::<R, false, WIDE>(f, put) }, i, ctx)
    }
    let index = |cpu: &mut Cpu, r: u32| cpu.gpr[RCX] = u64::from(r);
    let mask = |cpu: &mut Cpu, r: u128| cpu.set_x(0, r);
    Some(match i.code() {
        Code::Pcmpestri_xmm_xmmm128_imm8 => string::<_, false>(i, ctx, string::pcmpestri, index),
        Code::Pcmpestri64_xmm_xmmm128_imm8 => string::<_, true>(i, ctx, string::pcmpestri, index),
        Code::Pcmpestrm_xmm_xmmm128_imm8 => string::<_, false>(i, ctx, string::pcmpestrm, mask),
        Code::Pcmpestrm64_xmm_xmmm128_imm8 => string::<_, true>(i, ctx, string::pcmpestrm, mask),
        Code::Pcmpistri_xmm_xmmm128_imm8 => {
            string::<_, false>(i, ctx, |a, _, b, _, imm| string::pcmpistri(a, b, imm), index)
        }
        Code::Pcmpistrm_xmm_xmmm128_imm8 => {
            string::<_, false>(i, ctx, |a, _, b, _, imm| string::pcmpistrm(a, b, imm), mask)
        }
        _ => return None,
    })
}
