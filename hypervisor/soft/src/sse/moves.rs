//! Moves between registers and memory.

use iced_x86::{Code, Instruction, Mnemonic};
use simd::pack;

use super::forms::{mm, operands, xmm};
use super::{in_memory, number};
use crate::cpu::{Cpu, Exec, RDI};
use crate::op::{Ctx, Int, Op, Word};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    whole(i, ctx).or_else(|| parts(i, ctx)).or_else(|| general(i, ctx)).or_else(|| mmx(i, ctx))
}

/// Moves of 16 bytes.
fn whole(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    Some(match i.code() {
        Movaps_xmm_xmmm128 | Movapd_xmm_xmmm128 | Movdqa_xmm_xmmm128 | Movntdqa_xmm_m128 => {
            xmm::<u128>(i, ctx, |_, _, b| b)
        }
        Movups_xmm_xmmm128 | Movupd_xmm_xmmm128 | Movdqu_xmm_xmmm128 | Lddqu_xmm_m128 => {
            if !in_memory(i, 1) {
                return Some(xmm::<u128>(i, ctx, |_, _, b| b));
            }
            let load = |cpu: &mut Cpu, op: &Op| {
                let v = cpu.load::<u128>(op)?;
                cpu.set_x(op.reg, v);
                Ok(())
            };
            operands(Op::line(load), i, ctx)
        }
        Movaps_xmmm128_xmm | Movapd_xmmm128_xmm | Movdqa_xmmm128_xmm | Movntps_m128_xmm
        | Movntpd_m128_xmm | Movntdq_m128_xmm => {
            let aligned = |cpu: &mut Cpu, op: &Op| {
                let off = cpu.ea16(op)?;
                cpu.write(op.seg, off, cpu.x(op.reg))
            };
            if in_memory(i, 0) { stored(Op::line(aligned), i, ctx) } else { copied(i) }
        }
        Movups_xmmm128_xmm | Movupd_xmmm128_xmm | Movdqu_xmmm128_xmm => {
            if in_memory(i, 0) {
                store::<u128>(i, ctx, |x| x)
            } else {
                copied(i)
            }
        }
        Maskmovdqu_rDI_xmm_xmm => maskmovdqu(i, ctx),
        _ => return None,
    })
}

/// MASKMOVDQU and its VEX form.
pub(crate) fn maskmovdqu(i: &Instruction, ctx: &Ctx) -> Op {
    masked(i, ctx, |cpu, op| {
        let mask = simd::int::pmovmskb(cpu.x(op.rm));
        store_masked(cpu, op, cpu.x(op.reg), mask)
    })
}

/// Fills in memory operand 0 and register operand 1.
fn stored(op: Op, i: &Instruction, ctx: &Ctx) -> Op {
    op.mem(i, ctx).reg(number(i, 1))
}

/// The store forms' move from register to register.
fn copied(i: &Instruction) -> Op {
    let copy = |cpu: &mut Cpu, op: &Op| {
        cpu.set_x(op.reg, cpu.x(op.rm));
        Ok(())
    };
    Op::line(copy).reg(number(i, 0)).rm(number(i, 1))
}

/// Stores `W` of what `f` makes of an XMM register; no alignment is asked for.
fn store<W: Word>(i: &Instruction, ctx: &Ctx, f: impl Fn(u128) -> u128 + Copy) -> Op {
    let store = move |cpu: &mut Cpu, op: &Op| cpu.store(op, W::from128(f(cpu.x(op.reg))));
    stored(Op::line(store), i, ctx)
}

/// Moves of a part of a register.
fn parts(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    Some(match i.code() {
        // From memory the rest of the register becomes zero, from a register it stays.
        Movss_xmm_xmmm32 if in_memory(i, 1) => xmm::<u32>(i, ctx, |_, _, b| b),
        Movsd_xmm_xmmm64 if in_memory(i, 1) => xmm::<u64>(i, ctx, |_, _, b| b),
        Movss_xmm_xmmm32 => xmm::<u32>(i, ctx, |_, a, b| pack::movss(a, b)),
        Movsd_xmm_xmmm64 => xmm::<u64>(i, ctx, |_, a, b| pack::movsd(a, b)),
        Movss_xmmm32_xmm if in_memory(i, 0) => store::<u32>(i, ctx, |x| x),
        Movsd_xmmm64_xmm if in_memory(i, 0) => store::<u64>(i, ctx, |x| x),
        Movss_xmmm32_xmm => xmm::<u32>(i, ctx, |_, a, b| pack::movss(a, b)),
        Movsd_xmmm64_xmm => xmm::<u64>(i, ctx, |_, a, b| pack::movsd(a, b)),
        Movlps_xmm_m64 | Movlpd_xmm_m64 => xmm::<u64>(i, ctx, |_, a, b| pack::movsd(a, b)),
        Movhps_xmm_m64 | Movhpd_xmm_m64 | Movlhps_xmm_xmm => xmm::<u64>(i, ctx, |_, a, b| pack::movhps(a, b)),
        Movhlps_xmm_xmm => xmm::<u64>(i, ctx, |_, a, b| pack::movhlps(a, b)),
        Movlps_m64_xmm | Movlpd_m64_xmm => store::<u64>(i, ctx, |x| x),
        Movhps_m64_xmm | Movhpd_m64_xmm => store::<u64>(i, ctx, |x| x >> 64),
        Movq_xmm_xmmm64 => xmm::<u64>(i, ctx, |_, _, b| u128::from(b as u64)),
        Movq_xmmm64_xmm if in_memory(i, 0) => store::<u64>(i, ctx, |x| x),
        Movq_xmmm64_xmm => xmm::<u64>(i, ctx, |_, _, b| u128::from(b as u64)),
        _ => return None,
    })
}

/// Moves between XMM or MMX registers and general registers or memory.
fn general(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    fn load<T: Int, const MEM: bool, const MMX: bool>() -> Op {
        Op::line(|cpu: &mut Cpu, op: &Op| {
            if MMX {
                cpu.x87_wait()?;
            }
            let v = if MEM { cpu.load::<T>(op)? } else { T::get(cpu, op.rm) };
            if MMX {
                cpu.x87.set_mmx(op.reg, v.zext());
            } else {
                cpu.set_x(op.reg, v.to128());
            }
            Ok(())
        })
    }
    fn store<T: Int, const MEM: bool, const MMX: bool>() -> Op {
        Op::line(|cpu: &mut Cpu, op: &Op| {
            if MMX {
                cpu.x87_wait()?;
            }
            let v = T::from64(if MMX { cpu.x87.mmx(op.reg) } else { cpu.x(op.reg) as u64 });
            if MEM {
                cpu.store(op, v)?;
            } else {
                T::set(cpu, op.rm, v);
            }
            if MMX {
                cpu.x87.enter_mmx();
            }
            Ok(())
        })
    }
    macro_rules! by_operand {
        ($f:ident, $t:ty, $mmx:literal, $n:literal) => {
            if in_memory(i, $n) {
                $f::<$t, true, $mmx>().mem(i, ctx)
            } else {
                $f::<$t, false, $mmx>().rm(number(i, $n))
            }
            .reg(number(i, 1 - $n))
        };
    }
    Some(match i.code() {
        Movd_xmm_rm32 => by_operand!(load, u32, false, 1),
        Movq_xmm_rm64 => by_operand!(load, u64, false, 1),
        Movd_mm_rm32 => by_operand!(load, u32, true, 1),
        Movq_mm_rm64 => by_operand!(load, u64, true, 1),
        Movd_rm32_xmm => by_operand!(store, u32, false, 0),
        Movq_rm64_xmm => by_operand!(store, u64, false, 0),
        Movd_rm32_mm => by_operand!(store, u32, true, 0),
        Movq_rm64_mm => by_operand!(store, u64, true, 0),
        Movq_mmm64_mm | Movntq_m64_mm if in_memory(i, 0) => by_operand!(store, u64, true, 0),
        _ => return None,
    })
}

/// Moves of MMX registers.
fn mmx(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    Some(match i.code() {
        Movq_mm_mmm64 | Movq_mmm64_mm => mm::<u64>(i, ctx, |_, _, b| b),
        Maskmovq_rDI_mm_mm => masked(i, ctx, |cpu, op| {
            cpu.x87_wait()?;
            let mask = simd::int::pmovmskb_mmx(cpu.x87.mmx(op.rm));
            store_masked(cpu, op, u128::from(cpu.x87.mmx(op.reg)), mask)?;
            cpu.x87.enter_mmx();
            Ok(())
        }),
        _ if i.mnemonic() == Mnemonic::Movq2dq => {
            let to_xmm = |cpu: &mut Cpu, op: &Op| {
                cpu.x87_wait()?;
                cpu.set_x(op.reg, u128::from(cpu.x87.mmx(op.rm)));
                cpu.x87.enter_mmx();
                Ok(())
            };
            operands(Op::line(to_xmm), i, ctx)
        }
        _ if i.mnemonic() == Mnemonic::Movdq2q => {
            let to_mm = |cpu: &mut Cpu, op: &Op| {
                cpu.x87_wait()?;
                cpu.x87.set_mmx(op.reg, cpu.x(op.rm) as u64);
                Ok(())
            };
            operands(Op::line(to_mm), i, ctx)
        }
        _ => return None,
    })
}

/// An instruction that stores to (R/E)DI: operand 1 is what it stores, operand 2 the mask.
fn masked(i: &Instruction, ctx: &Ctx, f: impl Fn(&mut Cpu, &Op) -> Exec + Copy) -> Op {
    let reach = match ctx.addr(i) {
        16 => 0xffff,
        32 => 0xffff_ffff,
        _ => u64::MAX,
    };
    let mut op = Op::line(f).reg(number(i, 1)).rm(number(i, 2)).imm(reach);
    op.seg = ctx.seg(i.memory_segment());
    op
}

/// Stores the bytes of `v` that `mask` has a bit for; offsets are cut to `op.imm`. What is written before a fault is
/// written again after it.
fn store_masked(cpu: &mut Cpu, op: &Op, v: u128, mask: u32) -> Exec {
    let off = cpu.gpr[RDI];
    for k in (0..16).filter(|k| mask >> k & 1 != 0) {
        cpu.write(op.seg, off.wrapping_add(k) & op.imm, (v >> (8 * k)) as u8)?;
    }
    Ok(())
}
