//! Conversions: between formats, from and to general registers, half precision.

use iced_x86::{Code, Instruction, Mnemonic};
use simd::convert::*;
use simd::half;

use super::forms::{
    by_operands, from_general, in_memory, is_wide, narrow_fp, packed_fp, scalar_fp, stored, to_general,
};
use crate::cpu::Cpu;
use crate::op::{Ctx, Op};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    lanes(i, ctx).or_else(|| general(i, ctx))
}

/// The upper quadword of a half.
fn upper(b: u128) -> u128 {
    b >> 64
}

/// Results of two halves side by side in one.
fn joined(low: u128, high: u128) -> u128 {
    low & u128::from(u64::MAX) | high << 64
}

fn lanes(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let wide = is_wide(i);
    Some(match i.mnemonic() {
        Mnemonic::Vcvtdq2ps => packed_fp(i, ctx, |_, env, _, b| cvtdq2ps(env, b)),
        Mnemonic::Vcvtps2dq => packed_fp(i, ctx, |_, env, _, b| cvtps2dq(env, b)),
        Mnemonic::Vcvttps2dq => packed_fp(i, ctx, |_, env, _, b| cvttps2dq(env, b)),
        // To wider numbers: half of the source is enough.
        Mnemonic::Vcvtps2pd if wide => {
            narrow_fp::<u128>(i, ctx, |_, env, _, b| [cvtps2pd(env, b), cvtps2pd(env, upper(b))])
        }
        Mnemonic::Vcvtps2pd => narrow_fp::<u64>(i, ctx, |_, env, _, b| [cvtps2pd(env, b), 0]),
        Mnemonic::Vcvtdq2pd if wide => {
            narrow_fp::<u128>(i, ctx, |_, _, _, b| [cvtdq2pd(b), cvtdq2pd(upper(b))])
        }
        Mnemonic::Vcvtdq2pd => narrow_fp::<u64>(i, ctx, |_, _, _, b| [cvtdq2pd(b), 0]),
        Mnemonic::Vcvtph2ps if wide => narrow_fp::<u128>(i, ctx, |_, env, _, b| {
            [half::cvtph2ps(env, b as u64), half::cvtph2ps(env, upper(b) as u64)]
        }),
        Mnemonic::Vcvtph2ps => narrow_fp::<u64>(i, ctx, |_, env, _, b| [half::cvtph2ps(env, b as u64), 0]),
        // To narrower ones: the results lie side by side in the lower half.
        Mnemonic::Vcvtpd2ps => to_narrow(i, ctx, cvtpd2ps),
        Mnemonic::Vcvtpd2dq => to_narrow(i, ctx, cvtpd2dq),
        Mnemonic::Vcvttpd2dq => to_narrow(i, ctx, cvttpd2dq),
        Mnemonic::Vcvtps2ph => store_half(i, ctx),
        Mnemonic::Vcvtss2sd => scalar_fp::<u32>(i, ctx, |_, env, a, b| cvtss2sd(env, a, b)),
        Mnemonic::Vcvtsd2ss => scalar_fp::<u64>(i, ctx, |_, env, a, b| cvtsd2ss(env, a, b)),
        _ => return None,
    })
}

fn to_narrow(i: &Instruction, ctx: &Ctx, f: impl Fn(&mut simd::FpEnv, u128) -> u128 + Copy) -> Op {
    fn form<const MEM: bool, const WIDE: bool>(f: impl Fn(&mut simd::FpEnv, u128) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            let b = cpu.wide_source::<MEM, WIDE>(op)?;
            let r = cpu.floating(|env| {
                let low = f(env, b[0]);
                joined(low, if WIDE { f(env, b[1]) } else { 0 })
            })?;
            cpu.set_y(op.reg, [r, 0]);
            Ok(())
        })
    }
    by_operands!(form, i, ctx, f)
}

/// VCVTPS2PH: the destination is the register or memory operand.
fn store_half(i: &Instruction, ctx: &Ctx) -> Op {
    fn form<const MEM: bool, const WIDE: bool>() -> Op {
        Op::line(|cpu: &mut Cpu, op: &Op| {
            let v = cpu.y(op.reg);
            let imm = op.imm as u8;
            let before = cpu.mxcsr;
            let r = cpu.floating(|env| {
                let low = u128::from(half::cvtps2ph(env, v[0], imm));
                joined(low, if WIDE { u128::from(half::cvtps2ph(env, v[1], imm)) } else { 0 })
            })?;
            if !MEM {
                cpu.set_y(op.rm, [r, 0]);
                return Ok(());
            }
            let stored = if WIDE { cpu.store(op, r) } else { cpu.store(op, r as u64) };
            // A fault of the store comes before any flag is raised.
            stored.inspect_err(|_| cpu.mxcsr = before)
        })
    }
    let op = match (in_memory(i, 0), is_wide(i)) {
        (false, false) => form::<false, false>(),
        (false, true) => form::<false, true>(),
        (true, false) => form::<true, false>(),
        (true, true) => form::<true, true>(),
    };
    stored(op, i, ctx)
}

fn general(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    Some(match i.code() {
        VEX_Vcvtsi2ss_xmm_xmm_rm32 => {
            from_general::<u32>(i, ctx, |_, env, a, b| cvtsi2ss_32(env, a, b as i32))
        }
        VEX_Vcvtsi2ss_xmm_xmm_rm64 => {
            from_general::<u64>(i, ctx, |_, env, a, b| cvtsi2ss_64(env, a, b as i64))
        }
        VEX_Vcvtsi2sd_xmm_xmm_rm32 => {
            from_general::<u32>(i, ctx, |_, env, a, b| cvtsi2sd_32(env, a, b as i32))
        }
        VEX_Vcvtsi2sd_xmm_xmm_rm64 => {
            from_general::<u64>(i, ctx, |_, env, a, b| cvtsi2sd_64(env, a, b as i64))
        }
        VEX_Vcvtss2si_r32_xmmm32 => to_general::<u32>(i, ctx, |env, b| u64::from(cvtss2si_32(env, b) as u32)),
        VEX_Vcvtss2si_r64_xmmm32 => to_general::<u32>(i, ctx, |env, b| cvtss2si_64(env, b) as u64),
        VEX_Vcvttss2si_r32_xmmm32 => {
            to_general::<u32>(i, ctx, |env, b| u64::from(cvttss2si_32(env, b) as u32))
        }
        VEX_Vcvttss2si_r64_xmmm32 => to_general::<u32>(i, ctx, |env, b| cvttss2si_64(env, b) as u64),
        VEX_Vcvtsd2si_r32_xmmm64 => to_general::<u64>(i, ctx, |env, b| u64::from(cvtsd2si_32(env, b) as u32)),
        VEX_Vcvtsd2si_r64_xmmm64 => to_general::<u64>(i, ctx, |env, b| cvtsd2si_64(env, b) as u64),
        VEX_Vcvttsd2si_r32_xmmm64 => {
            to_general::<u64>(i, ctx, |env, b| u64::from(cvttsd2si_32(env, b) as u32))
        }
        VEX_Vcvttsd2si_r64_xmmm64 => to_general::<u64>(i, ctx, |env, b| cvttsd2si_64(env, b) as u64),
        _ => return None,
    })
}
