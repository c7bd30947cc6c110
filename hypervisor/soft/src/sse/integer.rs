//! Integer arithmetic, logic, packing and shifts: whatever is a function of two operands and an immediate.

use iced_x86::{Instruction, Mnemonic, OpKind};
use simd::{float, int, pack, shift};

use super::forms::{mm, xmm};
use super::{immediate, number};
use crate::cpu::Cpu;
use crate::op::{Ctx, Op};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    if i.op_count() == 2 && i.op1_kind() == OpKind::Immediate8 {
        return shifts_by_immediate(i);
    }
    if i.op0_register().is_mm() { mmx(i, ctx) } else { both(i, ctx).or_else(|| sse(i, ctx)) }
}

/// A table of instructions: mnemonic and function, the latter in the module that heads its group.
macro_rules! table {
    ($i:ident, $ctx:ident, $form:ident; $($module:ident [$w:ty] { $($mnemonic:ident $f:ident)* })*) => {
        Some(match $i.mnemonic() {
            $($(Mnemonic::$mnemonic => $form::<$w>($i, $ctx, |_, a, b| $module::$f(a, b)),)*)*
            _ => return None,
        })
    };
}

/// What exists for MMX and XMM registers alike; the modules are those in scope. `$low` is what the unpacking of lower
/// halves reads of memory.
macro_rules! both {
    ($i:ident, $ctx:ident, $form:ident, $word:ty, $low:ty) => {
        table! { $i, $ctx, $form;
            int [$word] {
                Paddb paddb Paddw paddw Paddd paddd Paddq paddq Paddsb paddsb Paddsw paddsw Paddusb paddusb
                Paddusw paddusw Psubb psubb Psubw psubw Psubd psubd Psubq psubq Psubsb psubsb Psubsw psubsw
                Psubusb psubusb Psubusw psubusw Pmullw pmullw Pmulhw pmulhw Pmulhuw pmulhuw Pmulhrsw pmulhrsw
                Pmuludq pmuludq Pmaddwd pmaddwd Pmaddubsw pmaddubsw Pavgb pavgb Pavgw pavgw Psadbw psadbw
                Pminub pminub Pmaxub pmaxub Pminsw pminsw Pmaxsw pmaxsw Pcmpeqb pcmpeqb Pcmpeqw pcmpeqw
                Pcmpeqd pcmpeqd Pcmpgtb pcmpgtb Pcmpgtw pcmpgtw Pcmpgtd pcmpgtd Pand pand Pandn pandn Por por
                Pxor pxor Psignb psignb Psignw psignw Psignd psignd Phaddw phaddw Phaddd phaddd Phaddsw phaddsw
                Phsubw phsubw Phsubd phsubd Phsubsw phsubsw
            }
            pack [$word] {
                Packsswb packsswb Packssdw packssdw Packuswb packuswb Punpckhbw punpckhbw Punpckhwd punpckhwd
                Punpckhdq punpckhdq Pshufb pshufb
            }
            pack [$low] { Punpcklbw punpcklbw Punpcklwd punpcklwd Punpckldq punpckldq }
            shift [$word] {
                Psllw psllw Pslld pslld Psllq psllq Psrlw psrlw Psrld psrld Psrlq psrlq Psraw psraw Psrad psrad
            }
        }
    };
}

fn both(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    both!(i, ctx, xmm, u128, u128)
}

fn both_mmx(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use simd::{int::mmx as int, pack::mmx as pack, shift::mmx as shift};
    both!(i, ctx, mm, u64, u32)
}

fn mmx(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    Some(match i.mnemonic() {
        Mnemonic::Pabsb => mm::<u64>(i, ctx, |_, _, b| int::mmx::pabsb(b)),
        Mnemonic::Pabsw => mm::<u64>(i, ctx, |_, _, b| int::mmx::pabsw(b)),
        Mnemonic::Pabsd => mm::<u64>(i, ctx, |_, _, b| int::mmx::pabsd(b)),
        Mnemonic::Pshufw => mm::<u64>(i, ctx, |op, _, b| pack::pshufw_mmx(b, op.imm as u8)),
        Mnemonic::Palignr => mm::<u64>(i, ctx, |op, a, b| pack::palignr_mmx(a, b, op.imm as u8)),
        _ => return both_mmx(i, ctx),
    })
}

/// What exists for XMM registers alone.
fn sse(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    one_operand(i, ctx).or_else(|| with_immediate(i, ctx)).or_else(|| {
        table! { i, ctx, xmm;
            int [u128] {
                Pmuldq pmuldq Pmulld pmulld Pminsb pminsb Pmaxsb pmaxsb Pminuw pminuw Pmaxuw pmaxuw Pminsd pminsd
                Pmaxsd pmaxsd Pminud pminud Pmaxud pmaxud Pcmpeqq pcmpeqq Pcmpgtq pcmpgtq
                Andps pand Andpd pand Andnps pandn Andnpd pandn Orps por Orpd por Xorps pxor Xorpd pxor
            }
            pack [u128] {
                Packusdw packusdw Punpcklqdq punpcklqdq Punpckhqdq punpckhqdq Unpcklps punpckldq
                Unpckhps punpckhdq Unpcklpd punpcklqdq Unpckhpd punpckhqdq
            }
            float [u32] { Rcpss rcpss Rsqrtss rsqrtss }
        }
    })
}

fn one_operand(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! one {
        ($($w:ty { $($mnemonic:ident $f:path),* })*) => {
            Some(match i.mnemonic() {
                $($(Mnemonic::$mnemonic => xmm::<$w>(i, ctx, |_, _, b| $f(b)),)*)*
                _ => return None,
            })
        };
    }
    one! {
        u128 {
            Pabsb int::pabsb, Pabsw int::pabsw, Pabsd int::pabsd, Phminposuw int::phminposuw,
            Movshdup pack::movshdup, Movsldup pack::movsldup, Rcpps float::rcpps, Rsqrtps float::rsqrtps
        }
        u64 {
            Pmovsxbw pack::pmovsxbw, Pmovsxwd pack::pmovsxwd, Pmovsxdq pack::pmovsxdq,
            Pmovzxbw pack::pmovzxbw, Pmovzxwd pack::pmovzxwd, Pmovzxdq pack::pmovzxdq, Movddup pack::movddup
        }
        u32 {
            Pmovsxbd pack::pmovsxbd, Pmovsxwq pack::pmovsxwq, Pmovzxbd pack::pmovzxbd, Pmovzxwq pack::pmovzxwq
        }
        u16 { Pmovsxbq pack::pmovsxbq, Pmovzxbq pack::pmovzxbq }
    }
}

fn with_immediate(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    Some(match i.mnemonic() {
        Mnemonic::Pshufd => xmm::<u128>(i, ctx, |op, _, b| pack::pshufd(b, op.imm as u8)),
        Mnemonic::Pshuflw => xmm::<u128>(i, ctx, |op, _, b| pack::pshuflw(b, op.imm as u8)),
        Mnemonic::Pshufhw => xmm::<u128>(i, ctx, |op, _, b| pack::pshufhw(b, op.imm as u8)),
        Mnemonic::Shufps => xmm::<u128>(i, ctx, |op, a, b| pack::shufps(a, b, op.imm as u8)),
        Mnemonic::Shufpd => xmm::<u128>(i, ctx, |op, a, b| pack::shufpd(a, b, op.imm as u8)),
        Mnemonic::Palignr => xmm::<u128>(i, ctx, |op, a, b| pack::palignr(a, b, op.imm as u8)),
        Mnemonic::Pblendw => xmm::<u128>(i, ctx, |op, a, b| pack::pblendw(a, b, op.imm as u8)),
        Mnemonic::Blendps => xmm::<u128>(i, ctx, |op, a, b| pack::blendps(a, b, op.imm as u8)),
        Mnemonic::Blendpd => xmm::<u128>(i, ctx, |op, a, b| pack::blendpd(a, b, op.imm as u8)),
        Mnemonic::Mpsadbw => xmm::<u128>(i, ctx, |op, a, b| int::mpsadbw(a, b, op.imm as u8)),
        _ => return None,
    })
}

/// Shifts of one register by an immediate.
fn shifts_by_immediate(i: &Instruction) -> Option<Op> {
    fn xmm(f: impl Fn(u128, u8) -> u128 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            cpu.set_x(op.reg, f(cpu.x(op.reg), op.imm as u8));
            Ok(())
        })
    }
    fn mm(f: impl Fn(u64, u8) -> u64 + Copy) -> Op {
        Op::line(move |cpu: &mut Cpu, op: &Op| {
            cpu.x87_wait()?;
            cpu.x87.set_mmx(op.reg, f(cpu.x87.mmx(op.reg), op.imm as u8));
            Ok(())
        })
    }
    macro_rules! shifts {
        ($($mnemonic:ident $f:ident),*) => {
            match (i.mnemonic(), i.op0_register().is_mm()) {
                $(
                    (Mnemonic::$mnemonic, false) => xmm(shift::$f),
                    (Mnemonic::$mnemonic, true) => mm(shift::mmx::$f),
                )*
                (Mnemonic::Pslldq, _) => xmm(shift::pslldq),
                (Mnemonic::Psrldq, _) => xmm(shift::psrldq),
                _ => return None,
            }
        };
    }
    let op = shifts! {
        Psllw psllw_imm, Pslld pslld_imm, Psllq psllq_imm, Psrlw psrlw_imm, Psrld psrld_imm, Psrlq psrlq_imm,
        Psraw psraw_imm, Psrad psrad_imm
    };
    Some(op.reg(number(i, 0)).imm(immediate(i)))
}
