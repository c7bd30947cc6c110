//! Floating-point arithmetic and comparison.

use iced_x86::{Instruction, Mnemonic};
use simd::{compare, float};

use super::forms::{by_operands, flags, packed_fp, scalar_fp};
use super::other;
use crate::cpu::Cpu;
use crate::op::{Ctx, Op};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    arithmetic(i, ctx)
        .or_else(|| with_immediate(i, ctx))
        .or_else(|| dot_product(i, ctx))
        .or_else(|| comparisons(i, ctx))
}

fn arithmetic(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! table {
        (packed { $($packed:ident $f:ident)* } $($w:ty { $($scalar:ident $g:ident)* })*) => {
            Some(match i.mnemonic() {
                $(Mnemonic::$packed => packed_fp(i, ctx, |_, env, a, b| float::$f(env, a, b)),)*
                $($(Mnemonic::$scalar => scalar_fp::<$w>(i, ctx, |_, env, a, b| float::$g(env, a, b)),)*)*
                Mnemonic::Vsqrtps => packed_fp(i, ctx, |_, env, _, b| float::sqrtps(env, b)),
                Mnemonic::Vsqrtpd => packed_fp(i, ctx, |_, env, _, b| float::sqrtpd(env, b)),
                Mnemonic::Vrcpss => scalar_fp::<u32>(i, ctx, |_, _, a, b| float::rcpss(a, b)),
                Mnemonic::Vrsqrtss => scalar_fp::<u32>(i, ctx, |_, _, a, b| float::rsqrtss(a, b)),
                _ => return None,
            })
        };
    }
    table! {
        packed {
            Vaddpd addpd Vsubpd subpd Vmulpd mulpd Vdivpd divpd Vminpd minpd Vmaxpd maxpd Vhaddpd haddpd
            Vhsubpd hsubpd Vaddsubpd addsubpd Vaddps addps Vsubps subps Vmulps mulps Vdivps divps Vminps minps
            Vmaxps maxps Vhaddps haddps Vhsubps hsubps Vaddsubps addsubps
        }
        u64 { Vaddsd addsd Vsubsd subsd Vmulsd mulsd Vdivsd divsd Vminsd minsd Vmaxsd maxsd Vsqrtsd sqrtsd }
        u32 { Vaddss addss Vsubss subss Vmulss mulss Vdivss divss Vminss minss Vmaxss maxss Vsqrtss sqrtss }
    }
}

fn with_immediate(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! table {
        (packed { $($packed:ident $m:ident $f:ident)* } $($w:ty { $($scalar:ident $n:ident $g:ident)* })*) => {
            Some(match i.mnemonic() {
                $(Mnemonic::$packed => packed_fp(i, ctx, |op, env, a, b| $m::$f(env, a, b, op.imm as u8)),)*
                $($(Mnemonic::$scalar => {
                    scalar_fp::<$w>(i, ctx, |op, env, a, b| $n::$g(env, a, b, op.imm as u8))
                })*)*
                Mnemonic::Vroundps => packed_fp(i, ctx, |op, env, _, b| float::roundps(env, b, op.imm as u8)),
                Mnemonic::Vroundpd => packed_fp(i, ctx, |op, env, _, b| float::roundpd(env, b, op.imm as u8)),
                _ => return None,
            })
        };
    }
    table! {
        packed { Vcmpps compare vcmpps Vcmppd compare vcmppd Vdppd float dppd }
        u64 { Vcmpsd compare vcmpsd Vroundsd float roundsd }
        u32 { Vcmpss compare vcmpss Vroundss float roundss }
    }
}

/// VDPPS, whose halves take their steps together.
fn dot_product(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn form<const MEM: bool, const WIDE: bool>(_: ()) -> Op {
        Op::line(|cpu: &mut Cpu, op: &Op| {
            let b = cpu.wide_source::<MEM, WIDE>(op)?;
            let a = cpu.y(other(op));
            let imm = op.imm as u8;
            let r = cpu.floating(|env| {
                if WIDE {
                    return float::vdpps(env, a, b, imm);
                }
                [float::dpps(env, a[0], b[0], imm), 0]
            })?;
            cpu.set_y(op.reg, r);
            Ok(())
        })
    }
    (i.mnemonic() == Mnemonic::Vdpps).then(|| by_operands!(form, i, ctx, ()))
}

fn comparisons(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    Some(match i.mnemonic() {
        Mnemonic::Vcomiss => flags::<u32>(i, ctx, float::comiss),
        Mnemonic::Vucomiss => flags::<u32>(i, ctx, float::ucomiss),
        Mnemonic::Vcomisd => flags::<u64>(i, ctx, float::comisd),
        Mnemonic::Vucomisd => flags::<u64>(i, ctx, float::ucomisd),
        _ => return None,
    })
}
