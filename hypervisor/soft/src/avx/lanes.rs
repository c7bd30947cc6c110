//! Single lanes in and out of registers, masks, blends by a register, tests and string comparisons.

use iced_x86::{Instruction, Mnemonic};
use simd::{int, pack, string};

use super::forms::{by_operands, in_memory, operands, source, stored};
use super::{fourth, other};
use crate::cpu::{Cpu, RAX, RCX, RDX};
use crate::flags::bits as fl;
use crate::op::{Ctx, Op, Word};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    inserts(i, ctx)
        .or_else(|| extracts(i, ctx))
        .or_else(|| masks(i, ctx))
        .or_else(|| tests(i, ctx))
        .or_else(|| blends(i, ctx))
        .or_else(|| strings(i, ctx))
}

fn inserts(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<W: Word, const MEM: bool>(f: impl Fn(u128, u64, u8) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let v = if MEM { cpu.load::<W>(op)?.to128() as u64 } else { cpu.gpr[usize::from(op.rm & 15)] };
            let r = f(cpu.y(other(op))[0], v, op.imm as u8);
            cpu.set_y(op.reg, [r, 0]);
            Ok(())
        })
    }
    fn insert<W: Word>(i: &Instruction, ctx: &Ctx, f: impl Fn(u128, u64, u8) -> u128 + Copy) -> Op {
        let op = if in_memory(i, source(i)) { form::<W, true>(f) } else { form::<W, false>(f) };
        operands(op, i, ctx)
    }
    Some(match i.mnemonic() {
        Mnemonic::Vpinsrb => insert::<u8>(i, ctx, pack::pinsrb),
        Mnemonic::Vpinsrw => insert::<u16>(i, ctx, pack::pinsrw),
        Mnemonic::Vpinsrd => insert::<u32>(i, ctx, pack::pinsrd),
        Mnemonic::Vpinsrq => insert::<u64>(i, ctx, pack::pinsrq),
        Mnemonic::Vinsertps => insertps(i, ctx),
        _ => return None,
    })
}

/// VINSERTPS; the lane that memory gives is always the first.
fn insertps(i: &Instruction, ctx: &Ctx) -> Op {
    fn form<const MEM: bool>() -> Op {
        Op::line(|cpu: &mut Cpu, op: &Op| {
            let b = if MEM { u128::from(cpu.load::<u32>(op)?) } else { cpu.y(op.rm)[0] };
            let imm = op.imm as u8 & if MEM { 0x3f } else { 0xff };
            let r = pack::insertps(cpu.y(other(op))[0], b, imm);
            cpu.set_y(op.reg, [r, 0]);
            Ok(())
        })
    }
    operands(if in_memory(i, 2) { form::<true>() } else { form::<false>() }, i, ctx)
}

fn extracts(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<W: Word, const MEM: bool>(f: impl Fn(u128, u8) -> u64 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let v = f(cpu.y(op.reg)[0], op.imm as u8);
            if MEM {
                return cpu.store(op, W::from128(u128::from(v)));
            }
            cpu.gpr[usize::from(op.rm & 15)] = v;
            Ok(())
        })
    }
    fn extract<W: Word>(i: &Instruction, ctx: &Ctx, f: impl Fn(u128, u8) -> u64 + Copy) -> Op {
        stored(if in_memory(i, 0) { form::<W, true>(f) } else { form::<W, false>(f) }, i, ctx)
    }
    Some(match i.mnemonic() {
        Mnemonic::Vpextrb => extract::<u8>(i, ctx, pack::pextrb),
        Mnemonic::Vpextrw => extract::<u16>(i, ctx, pack::pextrw),
        Mnemonic::Vpextrd | Mnemonic::Vextractps => extract::<u32>(i, ctx, pack::pextrd),
        Mnemonic::Vpextrq => extract::<u64>(i, ctx, pack::pextrq),
        _ => return None,
    })
}

/// VPMOVMSKB, VMOVMSKPS and VMOVMSKPD: the upper half's bits above the lower half's.
fn masks(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn mask<const BITS: u32>(i: &Instruction, ctx: &Ctx, f: impl Fn(u128) -> u32 + Copy) -> Op {
        let wide = i.op1_register().is_ymm();
        let run = move |cpu: &mut Cpu, op: &Op| {
            let [low, high] = cpu.y(op.rm);
            let high = if op.disp != 0 { f(high) << BITS } else { 0 };
            cpu.gpr[usize::from(op.reg & 15)] = u64::from(f(low) | high);
            Ok(())
        };
        let mut op = operands(Op::line(run), i, ctx);
        // There is no memory operand.
        op.disp = i64::from(wide);
        op
    }
    Some(match i.mnemonic() {
        Mnemonic::Vpmovmskb => mask::<16>(i, ctx, int::pmovmskb),
        Mnemonic::Vmovmskps => mask::<4>(i, ctx, int::movmskps),
        Mnemonic::Vmovmskpd => mask::<2>(i, ctx, int::movmskpd),
        _ => return None,
    })
}

/// VPTEST, VTESTPS and VTESTPD: ZF if `a & b` has none of the bits that count, CF if `!a & b` has none.
fn tests(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<const MEM: bool, const WIDE: bool>(counts: impl Fn() -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.wide_source::<MEM, WIDE>(op)?;
            let a = cpu.y(op.reg);
            let halves = if WIDE { 2 } else { 1 };
            let none = |f: fn(u128, u128) -> u128| (0..halves).all(|n| f(a[n], b[n]) & counts() == 0);
            let zf = if none(|a, b| a & b) { fl::ZF } else { 0 };
            let cf = if none(|a, b| !a & b) { fl::CF } else { 0 };
            cpu.set_status(zf | cf);
            Ok(())
        })
    }
    const SIGNS_PS: u128 = 0x8000_0000_8000_0000_8000_0000_8000_0000;
    const SIGNS_PD: u128 = 0x8000_0000_0000_0000_8000_0000_0000_0000;
    Some(match i.mnemonic() {
        Mnemonic::Vptest => by_operands!(form, i, ctx, || u128::MAX),
        Mnemonic::Vtestps => by_operands!(form, i, ctx, || SIGNS_PS),
        Mnemonic::Vtestpd => by_operands!(form, i, ctx, || SIGNS_PD),
        _ => return None,
    })
}

/// Blends by the signs of a fourth register.
fn blends(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<const MEM: bool, const WIDE: bool>(f: impl Fn(u128, u128, u128) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.wide_source::<MEM, WIDE>(op)?;
            let (a, mask) = (cpu.y(other(op)), cpu.y(fourth(op)));
            let high = if WIDE { f(a[1], b[1], mask[1]) } else { 0 };
            cpu.set_y(op.reg, [f(a[0], b[0], mask[0]), high]);
            Ok(())
        })
    }
    Some(match i.mnemonic() {
        Mnemonic::Vpblendvb => by_operands!(form, i, ctx, pack::pblendvb),
        Mnemonic::Vblendvps => by_operands!(form, i, ctx, pack::blendvps),
        Mnemonic::Vblendvpd => by_operands!(form, i, ctx, pack::blendvpd),
        _ => return None,
    })
}

/// VPCMPESTRI and its kin, which are SSE's but for the upper half of XMM0.
fn strings(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<R, const WIDE: bool>(
        i: &Instruction,
        ctx: &Ctx,
        f: impl Fn(u128, i64, u128, i64, u8) -> (R, u32) + Copy,
        put: impl Fn(&mut Cpu, R) + Copy,
    ) -> Op {
        fn of<R, const MEM: bool, const WIDE: bool>(
            f: impl Fn(u128, i64, u128, i64, u8) -> (R, u32) + Copy,
            put: impl Fn(&mut Cpu, R) + Copy,
        ) -> Op {
            Op::line(move |cpu: &mut Cpu, op: &Op| {
                let b = if MEM { cpu.load::<u128>(op)? } else { cpu.y(op.rm)[0] };
                let length = |v: u64| if WIDE { v as i64 } else { i64::from(v as i32) };
                let (a_len, b_len) = (length(cpu.gpr[RAX]), length(cpu.gpr[RDX]));
                let (r, status) = f(cpu.y(op.reg)[0], a_len, b, b_len, op.imm as u8);
                put(cpu, r);
                cpu.set_status(u64::from(status));
                Ok(())
            })
        }
        let op = if in_memory(i, 1) { of::<R, true, WIDE>(f, put) } else { of::<R, false, WIDE>(f, put) };
        operands(op, i, ctx)
    }
    let index = |cpu: &mut Cpu, r: u32| cpu.gpr[RCX] = u64::from(r);
    let mask = |cpu: &mut Cpu, r: u128| cpu.set_y(0, [r, 0]);
    Some(match i.mnemonic() {
        Mnemonic::Vpcmpestri => form::<_, false>(i, ctx, string::pcmpestri, index),
        Mnemonic::Vpcmpestri64 => form::<_, true>(i, ctx, string::pcmpestri, index),
        Mnemonic::Vpcmpestrm => form::<_, false>(i, ctx, string::pcmpestrm, mask),
        Mnemonic::Vpcmpestrm64 => form::<_, true>(i, ctx, string::pcmpestrm, mask),
        Mnemonic::Vpcmpistri => {
            form::<_, false>(i, ctx, |a, _, b, _, imm| string::pcmpistri(a, b, imm), index)
        }
        Mnemonic::Vpcmpistrm => {
            form::<_, false>(i, ctx, |a, _, b, _, imm| string::pcmpistrm(a, b, imm), mask)
        }
        _ => return None,
    })
}
