//! Integer arithmetic, logic, packing and shifts, half by half.

use iced_x86::{Instruction, Mnemonic, OpKind};
use simd::{crypto, float, int, pack, shift};

use super::Ymm;
use super::forms::{narrow, packed};
use crate::op::{Ctx, Op};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    if i.op_count() == 3
        && i.op2_kind() == OpKind::Immediate8
        && let Some(op) = shifts_by_immediate(i, ctx)
    {
        return Some(op);
    }
    two(i, ctx)
        .or_else(|| one(i, ctx))
        .or_else(|| with_immediate(i, ctx))
        .or_else(|| shifts_by_register(i, ctx))
        .or_else(|| shifts_lane_by_lane(i, ctx))
}

fn two(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! table {
        ($($module:ident { $($mnemonic:ident $f:ident)* })*) => {
            Some(match i.mnemonic() {
                $($(Mnemonic::$mnemonic => packed(i, ctx, |_, _, a, b| $module::$f(a, b)),)*)*
                _ => return None,
            })
        };
    }
    table! {
        int {
            Vpaddb paddb Vpaddw paddw Vpaddd paddd Vpaddq paddq Vpaddsb paddsb Vpaddsw paddsw Vpaddusb paddusb
            Vpaddusw paddusw Vpsubb psubb Vpsubw psubw Vpsubd psubd Vpsubq psubq Vpsubsb psubsb Vpsubsw psubsw
            Vpsubusb psubusb Vpsubusw psubusw Vpmullw pmullw Vpmulhw pmulhw Vpmulhuw pmulhuw Vpmulhrsw pmulhrsw
            Vpmuludq pmuludq Vpmuldq pmuldq Vpmulld pmulld Vpmaddwd pmaddwd Vpmaddubsw pmaddubsw Vpavgb pavgb
            Vpavgw pavgw Vpsadbw psadbw Vpminub pminub Vpmaxub pmaxub Vpminsw pminsw Vpmaxsw pmaxsw Vpminsb pminsb
            Vpmaxsb pmaxsb Vpminuw pminuw Vpmaxuw pmaxuw Vpminsd pminsd Vpmaxsd pmaxsd Vpminud pminud Vpmaxud pmaxud
            Vpcmpeqb pcmpeqb Vpcmpeqw pcmpeqw Vpcmpeqd pcmpeqd Vpcmpeqq pcmpeqq Vpcmpgtb pcmpgtb Vpcmpgtw pcmpgtw
            Vpcmpgtd pcmpgtd Vpcmpgtq pcmpgtq Vpand pand Vpandn pandn Vpor por Vpxor pxor Vandps pand Vandpd pand
            Vandnps pandn Vandnpd pandn Vorps por Vorpd por Vxorps pxor Vxorpd pxor Vpsignb psignb Vpsignw psignw
            Vpsignd psignd Vphaddw phaddw Vphaddd phaddd Vphaddsw phaddsw Vphsubw phsubw Vphsubd phsubd
            Vphsubsw phsubsw
        }
        pack {
            Vpacksswb packsswb Vpackssdw packssdw Vpackuswb packuswb Vpackusdw packusdw Vpunpcklbw punpcklbw
            Vpunpcklwd punpcklwd Vpunpckldq punpckldq Vpunpckhbw punpckhbw Vpunpckhwd punpckhwd
            Vpunpckhdq punpckhdq Vpunpcklqdq punpcklqdq Vpunpckhqdq punpckhqdq Vunpcklps punpckldq
            Vunpckhps punpckhdq Vunpcklpd punpcklqdq Vunpckhpd punpckhqdq Vpshufb pshufb
        }
        crypto { Vaesenc aesenc Vaesenclast aesenclast Vaesdec aesdec Vaesdeclast aesdeclast }
    }
}

fn one(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! table {
        ($($mnemonic:ident $f:path),*) => {
            Some(match i.mnemonic() {
                $(Mnemonic::$mnemonic => packed(i, ctx, |_, _, _, b| $f(b)),)*
                _ => return None,
            })
        };
    }
    table! {
        Vpabsb int::pabsb, Vpabsw int::pabsw, Vpabsd int::pabsd, Vphminposuw int::phminposuw,
        Vmovshdup pack::movshdup, Vmovsldup pack::movsldup, Vrcpps float::rcpps, Vrsqrtps float::rsqrtps,
        Vaesimc crypto::aesimc
    }
}

fn with_immediate(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    /// `f` of both sources and the immediate as each half has it.
    macro_rules! table {
        ($($mnemonic:ident |$half:pat_param, $a:pat_param, $b:ident, $imm:ident| $r:expr;)*) => {
            Some(match i.mnemonic() {
                $(Mnemonic::$mnemonic => packed(i, ctx, |op, $half, $a, $b| {
                    let $imm = op.imm as u8;
                    $r
                }),)*
                _ => return None,
            })
        };
    }
    table! {
        Vpshufd |_, _, b, imm| pack::pshufd(b, imm);
        Vpshuflw |_, _, b, imm| pack::pshuflw(b, imm);
        Vpshufhw |_, _, b, imm| pack::pshufhw(b, imm);
        Vshufps |_, a, b, imm| pack::shufps(a, b, imm);
        Vshufpd |half, a, b, imm| pack::shufpd(a, b, imm >> (2 * half));
        Vpalignr |_, a, b, imm| pack::palignr(a, b, imm);
        Vpblendw |_, a, b, imm| pack::pblendw(a, b, imm);
        Vblendps |half, a, b, imm| pack::blendps(a, b, imm >> (4 * half));
        Vpblendd |half, a, b, imm| pack::blendps(a, b, imm >> (4 * half));
        Vblendpd |half, a, b, imm| pack::blendpd(a, b, imm >> (2 * half));
        Vmpsadbw |half, a, b, imm| int::mpsadbw(a, b, imm >> (3 * half));
        Vpclmulqdq |_, a, b, imm| crypto::pclmulqdq(a, b, imm);
        Vaeskeygenassist |_, _, b, imm| crypto::aeskeygenassist(b, imm);
    }
}

fn shifts_by_immediate(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! table {
        ($($mnemonic:ident $f:ident)*) => {
            Some(match i.mnemonic() {
                $(Mnemonic::$mnemonic => packed(i, ctx, |op, _, _, b| shift::$f(b, op.imm as u8)),)*
                _ => return None,
            })
        };
    }
    table! {
        Vpsllw psllw_imm Vpslld pslld_imm Vpsllq psllq_imm Vpsrlw psrlw_imm Vpsrld psrld_imm Vpsrlq psrlq_imm
        Vpsraw psraw_imm Vpsrad psrad_imm Vpslldq pslldq Vpsrldq psrldq
    }
}

/// Shifts of both halves by one count, in the low quadword of 16 bytes.
fn shifts_by_register(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! table {
        ($($mnemonic:ident $f:ident)*) => {
            Some(match i.mnemonic() {
                $(Mnemonic::$mnemonic => {
                    narrow::<u128>(i, ctx, |_, a: Ymm, b| [shift::$f(a[0], b), shift::$f(a[1], b)])
                })*
                _ => return None,
            })
        };
    }
    table! {
        Vpsllw psllw Vpslld pslld Vpsllq psllq Vpsrlw psrlw Vpsrld psrld Vpsrlq psrlq Vpsraw psraw Vpsrad psrad
    }
}

/// Shifts of each lane by its own count.
fn shifts_lane_by_lane(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! table {
        ($($mnemonic:ident $f:ident)*) => {
            Some(match i.mnemonic() {
                $(Mnemonic::$mnemonic => packed(i, ctx, |_, _, a, b| shift::$f(a, b)),)*
                _ => return None,
            })
        };
    }
    table! { Vpsllvd psllvd Vpsllvq psllvq Vpsrlvd psrlvd Vpsrlvq psrlvq Vpsravd psravd }
}
