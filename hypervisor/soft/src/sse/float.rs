//! Floating-point arithmetic and comparison.

use iced_x86::{Instruction, Mnemonic};
use simd::float;

use super::forms::{compare, fp};
use crate::op::{Ctx, Op};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    two_operands(i, ctx).or_else(|| with_immediate(i, ctx)).or_else(|| comparisons(i, ctx))
}

fn two_operands(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! two {
        ($($w:ty { $($mnemonic:ident $f:ident)* })*) => {
            match i.mnemonic() {
                $($(Mnemonic::$mnemonic => fp::<$w>(i, ctx, |_, env, a, b| float::$f(env, a, b)),)*)*
                Mnemonic::Sqrtps => fp::<u128>(i, ctx, |_, env, _, b| float::sqrtps(env, b)),
                Mnemonic::Sqrtpd => fp::<u128>(i, ctx, |_, env, _, b| float::sqrtpd(env, b)),
                _ => return None,
            }
        };
    }
    Some(two! {
        u64 { Addsd addsd Subsd subsd Mulsd mulsd Divsd divsd Minsd minsd Maxsd maxsd Sqrtsd sqrtsd }
        u32 { Addss addss Subss subss Mulss mulss Divss divss Minss minss Maxss maxss Sqrtss sqrtss }
        u128 {
            Addpd addpd Subpd subpd Mulpd mulpd Divpd divpd Minpd minpd Maxpd maxpd Haddpd haddpd Hsubpd hsubpd
            Addsubpd addsubpd Addps addps Subps subps Mulps mulps Divps divps Minps minps Maxps maxps
            Haddps haddps Hsubps hsubps Addsubps addsubps
        }
    })
}

fn with_immediate(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! imm {
        ($($w:ty { $($mnemonic:ident $f:ident)* })*) => {
            match i.mnemonic() {
                $($(Mnemonic::$mnemonic => fp::<$w>(i, ctx, |op, env, a, b| float::$f(env, a, b, op.imm as u8)),)*)*
                Mnemonic::Roundps => fp::<u128>(i, ctx, |op, env, _, b| float::roundps(env, b, op.imm as u8)),
                Mnemonic::Roundpd => fp::<u128>(i, ctx, |op, env, _, b| float::roundpd(env, b, op.imm as u8)),
                _ => return None,
            }
        };
    }
    Some(imm! {
        u128 { Cmpps cmpps Cmppd cmppd Dpps dpps Dppd dppd }
        u64 { Cmpsd cmpsd Roundsd roundsd }
        u32 { Cmpss cmpss Roundss roundss }
    })
}

fn comparisons(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    Some(match i.mnemonic() {
        Mnemonic::Comiss => compare::<u32>(i, ctx, float::comiss),
        Mnemonic::Ucomiss => compare::<u32>(i, ctx, float::ucomiss),
        Mnemonic::Comisd => compare::<u64>(i, ctx, float::comisd),
        Mnemonic::Ucomisd => compare::<u64>(i, ctx, float::ucomisd),
        _ => return None,
    })
}
