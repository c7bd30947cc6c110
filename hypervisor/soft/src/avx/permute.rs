//! What crosses the border between halves: permutations, broadcasts, halves in and out, widening moves.

use iced_x86::{Instruction, Mnemonic, OpKind};
use simd::pack;

use super::Ymm;
use super::forms::{in_memory, is_wide, narrow, packed, stored, whole};
use crate::cpu::Cpu;
use crate::op::{Ctx, Op};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    within(i, ctx)
        .or_else(|| across(i, ctx))
        .or_else(|| halves(i, ctx))
        .or_else(|| broadcasts(i, ctx))
        .or_else(|| widening(i, ctx))
}

/// Permutations within each half, by a register or an immediate.
fn within(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let by_immediate = i.op2_kind() == OpKind::Immediate8;
    Some(match i.mnemonic() {
        Mnemonic::Vpermilps if by_immediate => packed(i, ctx, |op, _, _, b| pack::pshufd(b, op.imm as u8)),
        Mnemonic::Vpermilpd if by_immediate => {
            packed(i, ctx, |op, half, _, b| pack::shufpd(b, b, op.imm as u8 >> (2 * half)))
        }
        Mnemonic::Vpermilps => packed(i, ctx, |_, _, a, b| pack::permilps(a, b)),
        Mnemonic::Vpermilpd => packed(i, ctx, |_, _, a, b| pack::permilpd(a, b)),
        _ => return None,
    })
}

/// Doublewords of a register, the lowest first.
fn doublewords(v: Ymm) -> [u32; 8] {
    std::array::from_fn(|n| (v[n / 4] >> (32 * (n % 4))) as u32)
}

fn from_doublewords(v: [u32; 8]) -> Ymm {
    let half = |at: usize| (0..4).fold(0, |sum, n| sum | u128::from(v[at + n]) << (32 * n));
    [half(0), half(4)]
}

/// Quadwords chosen by two bits of an immediate each.
fn quadwords(b: Ymm, imm: u8) -> Ymm {
    let chosen = |n: usize| {
        let from = usize::from(imm >> (2 * n) & 3);
        (b[from / 2] >> (64 * (from % 2))) as u64
    };
    let half = |n: usize| u128::from(chosen(n)) | u128::from(chosen(n + 1)) << 64;
    [half(0), half(2)]
}

/// A half chosen by four bits: of the first or second source, or zero.
fn half_of(a: Ymm, b: Ymm, imm: u8) -> u128 {
    if imm & 8 != 0 { 0 } else { [a[0], a[1], b[0], b[1]][usize::from(imm & 3)] }
}

/// Permutations of a whole register.
fn across(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    Some(match i.mnemonic() {
        // VEX.vvvv has the indices, the other operand what they choose from.
        Mnemonic::Vpermd | Mnemonic::Vpermps => whole(i, ctx, |_, a, b| {
            let from = doublewords(b);
            from_doublewords(doublewords(a).map(|n| from[n as usize & 7]))
        }),
        Mnemonic::Vpermq | Mnemonic::Vpermpd => whole(i, ctx, |op, _, b| quadwords(b, op.imm as u8)),
        Mnemonic::Vperm2f128 | Mnemonic::Vperm2i128 => {
            whole(i, ctx, |op, a, b| [half_of(a, b, op.imm as u8), half_of(a, b, op.imm as u8 >> 4)])
        }
        _ => return None,
    })
}

/// Halves in and out.
fn halves(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    fn extract<const MEM: bool>() -> Op {
        Op::line(|cpu: &mut Cpu, op: &Op| {
            let v = cpu.y(op.reg)[op.imm as usize & 1];
            if MEM {
                return cpu.store(op, v);
            }
            cpu.set_y(op.rm, [v, 0]);
            Ok(())
        })
    }
    Some(match i.mnemonic() {
        Mnemonic::Vinsertf128 | Mnemonic::Vinserti128 => {
            narrow::<u128>(i, ctx, |op, a, b| if op.imm & 1 == 0 { [b, a[1]] } else { [a[0], b] })
        }
        Mnemonic::Vextractf128 | Mnemonic::Vextracti128 => {
            stored(if in_memory(i, 0) { extract::<true>() } else { extract::<false>() }, i, ctx)
        }
        _ => return None,
    })
}

fn broadcasts(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    /// A number of 16 bytes that is `v`, the low `1 << shift` bytes of it, again and again.
    fn repeated<const BITS: u32>(b: u128) -> Ymm {
        let v = b & ((1 << BITS) - 1);
        let half = (0..128 / BITS).fold(0, |sum, n| sum | v << (BITS * n));
        [half; 2]
    }
    Some(match i.mnemonic() {
        Mnemonic::Vpbroadcastb => narrow::<u8>(i, ctx, |_, _, b| repeated::<8>(b)),
        Mnemonic::Vpbroadcastw => narrow::<u16>(i, ctx, |_, _, b| repeated::<16>(b)),
        Mnemonic::Vpbroadcastd | Mnemonic::Vbroadcastss => narrow::<u32>(i, ctx, |_, _, b| repeated::<32>(b)),
        Mnemonic::Vpbroadcastq | Mnemonic::Vbroadcastsd => narrow::<u64>(i, ctx, |_, _, b| repeated::<64>(b)),
        Mnemonic::Vbroadcastf128 | Mnemonic::Vbroadcasti128 => narrow::<u128>(i, ctx, |_, _, b| [b; 2]),
        _ => return None,
    })
}

/// Sign- and zero-extension: each half of the destination needs a part of the source.
fn widening(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! table {
        ($($low:ty, $both:ty, $bits:literal { $($mnemonic:ident $f:ident)* })*) => {
            Some(match (i.mnemonic(), is_wide(i)) {
                $($(
                    (Mnemonic::$mnemonic, false) => narrow::<$low>(i, ctx, |_, _, b| [pack::$f(b), 0]),
                    (Mnemonic::$mnemonic, true) => {
                        narrow::<$both>(i, ctx, |_, _, b| [pack::$f(b), pack::$f(b >> $bits)])
                    }
                )*)*
                _ => return None,
            })
        };
    }
    table! {
        u64, u128, 64 {
            Vpmovsxbw pmovsxbw Vpmovsxwd pmovsxwd Vpmovsxdq pmovsxdq Vpmovzxbw pmovzxbw Vpmovzxwd pmovzxwd
            Vpmovzxdq pmovzxdq
        }
        u32, u64, 32 { Vpmovsxbd pmovsxbd Vpmovsxwq pmovsxwq Vpmovzxbd pmovzxbd Vpmovzxwq pmovzxwq }
        u16, u32, 16 { Vpmovsxbq pmovsxbq Vpmovzxbq pmovzxbq }
    }
}
