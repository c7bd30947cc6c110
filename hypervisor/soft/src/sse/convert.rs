//! Conversions between formats, general registers and MMX registers.

use iced_x86::{Code, Instruction};
use simd::{FpEnv, convert};

use super::forms::{fp, from_general, operands, to_general, xmm};
use super::in_memory;
use crate::cpu::Cpu;
use crate::op::{Ctx, Op, Word};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Code::*;
    use convert::*;
    Some(match i.code() {
        Cvtps2pd_xmm_xmmm64 => fp::<u64>(i, ctx, |_, env, _, b| cvtps2pd(env, b)),
        Cvtpd2ps_xmm_xmmm128 => fp::<u128>(i, ctx, |_, env, _, b| cvtpd2ps(env, b)),
        Cvtss2sd_xmm_xmmm32 => fp::<u32>(i, ctx, |_, env, a, b| cvtss2sd(env, a, b)),
        Cvtsd2ss_xmm_xmmm64 => fp::<u64>(i, ctx, |_, env, a, b| cvtsd2ss(env, a, b)),
        Cvtdq2ps_xmm_xmmm128 => fp::<u128>(i, ctx, |_, env, _, b| cvtdq2ps(env, b)),
        Cvtps2dq_xmm_xmmm128 => fp::<u128>(i, ctx, |_, env, _, b| cvtps2dq(env, b)),
        Cvttps2dq_xmm_xmmm128 => fp::<u128>(i, ctx, |_, env, _, b| cvttps2dq(env, b)),
        Cvtpd2dq_xmm_xmmm128 => fp::<u128>(i, ctx, |_, env, _, b| cvtpd2dq(env, b)),
        Cvttpd2dq_xmm_xmmm128 => fp::<u128>(i, ctx, |_, env, _, b| cvttpd2dq(env, b)),
        Cvtdq2pd_xmm_xmmm64 => xmm::<u64>(i, ctx, |_, _, b| cvtdq2pd(b)),
        Cvtsi2ss_xmm_rm32 => from_general::<u32>(i, ctx, |_, env, a, b| cvtsi2ss_32(env, a, b as i32)),
        Cvtsi2ss_xmm_rm64 => from_general::<u64>(i, ctx, |_, env, a, b| cvtsi2ss_64(env, a, b as i64)),
        Cvtsi2sd_xmm_rm32 => from_general::<u32>(i, ctx, |_, env, a, b| cvtsi2sd_32(env, a, b as i32)),
        Cvtsi2sd_xmm_rm64 => from_general::<u64>(i, ctx, |_, env, a, b| cvtsi2sd_64(env, a, b as i64)),
        Cvtss2si_r32_xmmm32 => to_general::<u32>(i, ctx, |env, b| u64::from(cvtss2si_32(env, b) as u32)),
        Cvtss2si_r64_xmmm32 => to_general::<u32>(i, ctx, |env, b| cvtss2si_64(env, b) as u64),
        Cvttss2si_r32_xmmm32 => to_general::<u32>(i, ctx, |env, b| u64::from(cvttss2si_32(env, b) as u32)),
        Cvttss2si_r64_xmmm32 => to_general::<u32>(i, ctx, |env, b| cvttss2si_64(env, b) as u64),
        Cvtsd2si_r32_xmmm64 => to_general::<u64>(i, ctx, |env, b| u64::from(cvtsd2si_32(env, b) as u32)),
        Cvtsd2si_r64_xmmm64 => to_general::<u64>(i, ctx, |env, b| cvtsd2si_64(env, b) as u64),
        Cvttsd2si_r32_xmmm64 => to_general::<u64>(i, ctx, |env, b| u64::from(cvttsd2si_32(env, b) as u32)),
        Cvttsd2si_r64_xmmm64 => to_general::<u64>(i, ctx, |env, b| cvttsd2si_64(env, b) as u64),
        Cvtpi2ps_xmm_mmm64 => from_mm(i, ctx, cvtpi2ps),
        Cvtpi2pd_xmm_mmm64 => from_mm(i, ctx, |_, _, b| cvtpi2pd(b)),
        Cvtps2pi_mm_xmmm64 => to_mm::<u64>(i, ctx, cvtps2pi),
        Cvttps2pi_mm_xmmm64 => to_mm::<u64>(i, ctx, cvttps2pi),
        Cvtpd2pi_mm_xmmm128 => to_mm::<u128>(i, ctx, cvtpd2pi),
        Cvttpd2pi_mm_xmmm128 => to_mm::<u128>(i, ctx, cvttpd2pi),
        _ => return None,
    })
}

/// `xmm = f(xmm, mm or 8 bytes in memory)`. With a source in memory MMX has no part in it (the manual says so of
/// CVTPI2PD alone; processors treat CVTPI2PS alike).
fn from_mm(i: &Instruction, ctx: &Ctx, f: impl Fn(&mut FpEnv, u128, u64) -> u128 + Copy) -> Op {
    fn form<const MEM: bool>(f: impl Fn(&mut FpEnv, u128, u64) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            if !MEM {
                cpu.x87_wait()?;
            }
            let b = cpu.source_mm::<u64, MEM>(op)?;
            let a = cpu.x(op.reg);
            if !MEM {
                cpu.x87.enter_mmx();
            }
            let r = cpu.floating(|env| f(env, a, b))?;
            cpu.set_x(op.reg, r);
            Ok(())
        })
    }
    operands(if in_memory(i, 1) { form::<true>(f) } else { form::<false>(f) }, i, ctx)
}

/// `mm = f(xmm or W in memory)`.
fn to_mm<W: Word>(i: &Instruction, ctx: &Ctx, f: impl Fn(&mut FpEnv, u128) -> u64 + Copy) -> Op {
    fn form<W: Word, const MEM: bool>(f: impl Fn(&mut FpEnv, u128) -> u64 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            cpu.x87_wait()?;
            let b = cpu.source::<W, MEM>(op)?;
            // #XM comes after this.
            cpu.x87.enter_mmx();
            let r = cpu.floating(|env| f(env, b))?;
            cpu.x87.set_mmx(op.reg, r);
            Ok(())
        })
    }
    operands(if in_memory(i, 1) { form::<W, true>(f) } else { form::<W, false>(f) }, i, ctx)
}
