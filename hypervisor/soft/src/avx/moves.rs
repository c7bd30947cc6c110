//! Moves between registers and memory, whole, in part and by a mask.

use iced_x86::{Code, Instruction, Mnemonic};
use simd::pack;

use super::forms::{in_memory, is_wide, narrow, operands, packed, stored, whole};
use super::other;
use crate::cpu::{Cpu, Exec};
use crate::int::ea_plus;
use crate::op::{Ctx, Int, Op, Word};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    whole_registers(i, ctx)
        .or_else(|| parts(i, ctx))
        .or_else(|| general(i, ctx))
        .or_else(|| masked(i, ctx))
        .or_else(|| control(i, ctx))
}

fn load_aligned<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.aligned::<WIDE>(op)?;
    let v = cpu.wide_source::<true, WIDE>(op)?;
    cpu.set_y(op.reg, v);
    Ok(())
}

fn store_aligned<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.aligned::<WIDE>(op)?;
    cpu.store_wide::<WIDE>(op, cpu.y(op.reg))
}

fn store_any<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.store_wide::<WIDE>(op, cpu.y(op.reg))
}

/// The store forms' move from register to register.
fn copy<const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.y(op.reg);
    cpu.set_y(op.rm, [v[0], if WIDE { v[1] } else { 0 }]);
    Ok(())
}

fn whole_registers(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let aligned = match i.mnemonic() {
        Mnemonic::Vmovaps | Mnemonic::Vmovapd | Mnemonic::Vmovdqa => true,
        Mnemonic::Vmovntps | Mnemonic::Vmovntpd | Mnemonic::Vmovntdq | Mnemonic::Vmovntdqa => true,
        Mnemonic::Vmovups | Mnemonic::Vmovupd | Mnemonic::Vmovdqu | Mnemonic::Vlddqu => false,
        _ => return None,
    };
    let wide = is_wide(i);
    if in_memory(i, 0) {
        let op = match (aligned, wide) {
            (true, true) => Op::line(store_aligned::<true>),
            (true, false) => Op::line(store_aligned::<false>),
            (false, true) => Op::line(store_any::<true>),
            (false, false) => Op::line(store_any::<false>),
        };
        return Some(stored(op, i, ctx));
    }
    use Code::*;
    let backwards = matches!(
        i.code(),
        VEX_Vmovaps_xmmm128_xmm
            | VEX_Vmovaps_ymmm256_ymm
            | VEX_Vmovapd_xmmm128_xmm
            | VEX_Vmovapd_ymmm256_ymm
            | VEX_Vmovdqa_xmmm128_xmm
            | VEX_Vmovdqa_ymmm256_ymm
            | VEX_Vmovups_xmmm128_xmm
            | VEX_Vmovups_ymmm256_ymm
            | VEX_Vmovupd_xmmm128_xmm
            | VEX_Vmovupd_ymmm256_ymm
            | VEX_Vmovdqu_xmmm128_xmm
            | VEX_Vmovdqu_ymmm256_ymm
    );
    Some(match (in_memory(i, 1), aligned) {
        (true, true) if wide => operands(Op::line(load_aligned::<true>), i, ctx),
        (true, true) => operands(Op::line(load_aligned::<false>), i, ctx),
        _ if backwards && wide => stored(Op::line(copy::<true>), i, ctx),
        _ if backwards => stored(Op::line(copy::<false>), i, ctx),
        _ => whole(i, ctx, |_, _, b| b),
    })
}

/// Stores `W` of what `f` makes of the lower half.
fn store<W: Word>(i: &Instruction, ctx: &Ctx, f: impl Fn(u128) -> u128 + Copy) -> Op {
    stored(Op::line(move |cpu: &mut Cpu, op: &Op| cpu.store(op, W::from128(f(cpu.y(op.reg)[0])))), i, ctx)
}

/// Moves of a part of a register.
fn parts(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let to_memory = in_memory(i, 0);
    // A merge of two registers has three operands; a load clears the rest.
    let merges = i.op_count() == 3;
    Some(match i.mnemonic() {
        Mnemonic::Vmovss if to_memory => store::<u32>(i, ctx, |x| x),
        Mnemonic::Vmovsd if to_memory => store::<u64>(i, ctx, |x| x),
        Mnemonic::Vmovss if merges => merged(i, ctx, pack::movss),
        Mnemonic::Vmovsd if merges => merged(i, ctx, pack::movsd),
        Mnemonic::Vmovss => narrow::<u32>(i, ctx, |_, _, b| [b, 0]),
        Mnemonic::Vmovsd => narrow::<u64>(i, ctx, |_, _, b| [b, 0]),
        Mnemonic::Vmovlps | Mnemonic::Vmovlpd if to_memory => store::<u64>(i, ctx, |x| x),
        Mnemonic::Vmovhps | Mnemonic::Vmovhpd if to_memory => store::<u64>(i, ctx, |x| x >> 64),
        Mnemonic::Vmovlps | Mnemonic::Vmovlpd => narrow::<u64>(i, ctx, |_, a, b| [pack::movsd(a[0], b), 0]),
        Mnemonic::Vmovhps | Mnemonic::Vmovhpd | Mnemonic::Vmovlhps => {
            narrow::<u64>(i, ctx, |_, a, b| [pack::movhps(a[0], b), 0])
        }
        Mnemonic::Vmovhlps => narrow::<u64>(i, ctx, |_, a, b| [pack::movhlps(a[0], b), 0]),
        Mnemonic::Vmovddup if is_wide(i) => packed(i, ctx, |_, _, _, b| pack::movddup(b)),
        Mnemonic::Vmovddup => narrow::<u64>(i, ctx, |_, _, b| [pack::movddup(b), 0]),
        _ => return None,
    })
}

/// A merge of two registers. Either of its encodings has the number in the last operand.
fn merged(i: &Instruction, ctx: &Ctx, f: impl Fn(u128, u128) -> u128 + Copy) -> Op {
    let run = move |cpu: &mut Cpu, op: &Op| {
        let r = f(cpu.y(other(op))[0], cpu.y(op.rm)[0]);
        cpu.set_y(op.reg, [r, 0]);
        Ok(())
    };
    operands(Op::line(run), i, ctx)
}

/// VMOVD and VMOVQ.
fn general(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn load<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
        let v = if MEM { cpu.load::<T>(op)? } else { T::get(cpu, op.rm) };
        cpu.set_y(op.reg, [v.to128(), 0]);
        Ok(())
    }
    fn store_general<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
        let v = T::from64(cpu.y(op.reg)[0] as u64);
        T::set(cpu, op.rm, v);
        Ok(())
    }
    use Code::*;
    let memory = in_memory(i, 1);
    Some(match i.code() {
        VEX_Vmovd_xmm_rm32 if memory => operands(Op::line(load::<u32, true>), i, ctx),
        VEX_Vmovd_xmm_rm32 => operands(Op::line(load::<u32, false>), i, ctx),
        VEX_Vmovq_xmm_rm64 if memory => operands(Op::line(load::<u64, true>), i, ctx),
        VEX_Vmovq_xmm_rm64 => operands(Op::line(load::<u64, false>), i, ctx),
        VEX_Vmovd_rm32_xmm if in_memory(i, 0) => store::<u32>(i, ctx, |x| x),
        VEX_Vmovd_rm32_xmm => stored(Op::line(store_general::<u32>), i, ctx),
        VEX_Vmovq_rm64_xmm if in_memory(i, 0) => store::<u64>(i, ctx, |x| x),
        VEX_Vmovq_rm64_xmm => stored(Op::line(store_general::<u64>), i, ctx),
        VEX_Vmovq_xmm_xmmm64 => narrow::<u64>(i, ctx, |_, _, b| [u128::from(b as u64), 0]),
        VEX_Vmovq_xmmm64_xmm if in_memory(i, 0) => store::<u64>(i, ctx, |x| x),
        VEX_Vmovq_xmmm64_xmm => {
            let low = |cpu: &mut Cpu, op: &Op| {
                let v = u128::from(cpu.y(op.reg)[0] as u64);
                cpu.set_y(op.rm, [v, 0]);
                Ok(())
            };
            stored(Op::line(low), i, ctx)
        }
        _ => return None,
    })
}

/// Loads and stores of the lanes whose mask is negative. Nothing is reached of the others.
fn masked(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    /// A lane of a register.
    fn lane<T: Int>(v: super::Ymm, n: usize) -> T {
        let per_half = 16 / T::SIZE;
        T::from128(v[n / per_half] >> (8 * T::SIZE * (n % per_half)))
    }
    fn lanes<T: Int, const WIDE: bool>(mask: super::Ymm) -> impl Iterator<Item = usize> {
        let count = if WIDE { 32 } else { 16 } / T::SIZE;
        (0..count).filter(move |n| lane::<T>(mask, *n).zext() >> (T::BITS - 1) != 0)
    }
    fn load<T: Int, const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
        let mut r = [0; 2];
        for n in lanes::<T, WIDE>(cpu.y(other(op))) {
            let v = cpu.read::<T>(op.seg, ea_plus(cpu, op, (n * T::SIZE) as u64))?;
            r[n * T::SIZE / 16] |= v.to128() << (8 * T::SIZE * n % 128);
        }
        cpu.set_y(op.reg, r);
        Ok(())
    }
    /// The mask is in `op.reg`, what is stored in `op.rm`.
    fn store<T: Int, const WIDE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
        let (mask, v) = (cpu.y(op.reg), cpu.y(op.rm));
        for n in lanes::<T, WIDE>(mask) {
            let at = ea_plus(cpu, op, (n * T::SIZE) as u64);
            cpu.probe_write(op.seg, at, T::SIZE)?;
        }
        for n in lanes::<T, WIDE>(mask) {
            let at = ea_plus(cpu, op, (n * T::SIZE) as u64);
            cpu.write::<T>(op.seg, at, lane::<T>(v, n))?;
        }
        Ok(())
    }
    let wide = is_wide(i);
    macro_rules! by_form {
        ($t:ty) => {
            match (in_memory(i, 0), wide) {
                (false, false) => operands(Op::line(load::<$t, false>), i, ctx),
                (false, true) => operands(Op::line(load::<$t, true>), i, ctx),
                (true, false) => {
                    stored(Op::line(store::<$t, false>), i, ctx).rm(i.op2_register().number() as u8)
                }
                (true, true) => {
                    stored(Op::line(store::<$t, true>), i, ctx).rm(i.op2_register().number() as u8)
                }
            }
        };
    }
    Some(match i.mnemonic() {
        Mnemonic::Vmaskmovps | Mnemonic::Vpmaskmovd => by_form!(u32),
        Mnemonic::Vmaskmovpd | Mnemonic::Vpmaskmovq => by_form!(u64),
        Mnemonic::Vmaskmovdqu => crate::sse::maskmovdqu(i, ctx),
        _ => return None,
    })
}

/// VZEROUPPER, VZEROALL, and MXCSR in and out.
fn control(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn zero<const ALL: bool>(cpu: &mut Cpu, _: &Op) -> Exec {
        let reach = if cpu.code == 64 { 16 } else { 8 };
        cpu.ymm[..reach].fill(0);
        if ALL {
            cpu.xmm[..reach].fill(0);
        }
        Ok(())
    }
    Some(match i.mnemonic() {
        Mnemonic::Vzeroupper => Op::line(zero::<false>),
        Mnemonic::Vzeroall => Op::line(zero::<true>),
        Mnemonic::Vldmxcsr => Op::line(crate::sse::ldmxcsr).mem(i, ctx),
        Mnemonic::Vstmxcsr => Op::line(|cpu: &mut Cpu, op: &Op| cpu.store(op, cpu.mxcsr)).mem(i, ctx),
        _ => return None,
    })
}
