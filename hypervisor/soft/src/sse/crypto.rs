//! AES, PCLMULQDQ and SHA.

use iced_x86::{Instruction, Mnemonic};
use simd::crypto;

use super::forms::{operands, xmm};
use super::in_memory;
use crate::cpu::Cpu;
use crate::op::{Ctx, Op};

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    macro_rules! two {
        ($($mnemonic:ident $f:ident)*; $($with_imm:ident $g:ident)*) => {
            Some(match i.mnemonic() {
                $(Mnemonic::$mnemonic => xmm::<u128>(i, ctx, |_, a, b| crypto::$f(a, b)),)*
                $(Mnemonic::$with_imm => xmm::<u128>(i, ctx, |op, a, b| crypto::$g(a, b, op.imm as u8)),)*
                Mnemonic::Aesimc => xmm::<u128>(i, ctx, |_, _, b| crypto::aesimc(b)),
                Mnemonic::Aeskeygenassist => {
                    xmm::<u128>(i, ctx, |op, _, b| crypto::aeskeygenassist(b, op.imm as u8))
                }
                Mnemonic::Sha256rnds2 if in_memory(i, 1) => operands(rounds::<true>(), i, ctx),
                Mnemonic::Sha256rnds2 => operands(rounds::<false>(), i, ctx),
                _ => return None,
            })
        };
    }
    two! {
        Aesenc aesenc Aesenclast aesenclast Aesdec aesdec Aesdeclast aesdeclast Sha1nexte sha1nexte Sha1msg1 sha1msg1
        Sha1msg2 sha1msg2 Sha256msg1 sha256msg1 Sha256msg2 sha256msg2;
        Pclmulqdq pclmulqdq Sha1rnds4 sha1rnds4
    }
}

/// SHA256RNDS2, which reads XMM0 too.
fn rounds<const MEM: bool>() -> Op {
    Op::line(|cpu: &mut Cpu, op: &Op| {
        let b = cpu.source::<u128, MEM>(op)?;
        cpu.set_x(op.reg, crypto::sha256rnds2(cpu.x(op.reg), b, cpu.x(0)));
        Ok(())
    })
}
