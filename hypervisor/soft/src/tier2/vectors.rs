//! XMM registers in translated code, and the instructions that work on them.
//!
//! Nothing else uses the host's XMM registers while translated code runs: a guest's register is held in the host's of
//! the same number from where an instruction of a block first names it to the end of the block, or until tier 1 runs
//! something. What was written there reaches the [`crate::cpu::Cpu`] before anyone else can look.
//!
//! Floating point is the host's own while the guest masks all exceptions, which is part of the mode. The guest's MXCSR is
//! loaded when a block first needs it, and given back, with the flags that were raised, when translated code leaves or calls.

use iced_x86::{EncodingKind, Instruction, Mnemonic, OpAccess, OpKind};

use super::asm::{Asm, Label};
use super::emit::writes;
use super::layout;
use super::select::in_memory;
use super::translate::{Translator, Untranslatable};

/// The XMM registers that are held, a bit each.
#[derive(Clone, Copy, Default)]
pub(super) struct Held {
    /// The host's register is the guest's.
    pub valid: u16,
    /// And the [`crate::cpu::Cpu`]'s is older.
    pub dirty: u16,
}

fn numbers(bits: u16) -> impl Iterator<Item = u8> {
    (0..16).filter(move |n| bits >> n & 1 != 0)
}

/// Stores registers.
pub(super) fn store(asm: &mut Asm, registers: u16) {
    for n in numbers(registers) {
        asm.store_vector(layout::vector(n.into()), n);
    }
}

/// Loads registers.
pub(super) fn load(asm: &mut Asm, registers: u16) {
    for n in numbers(registers) {
        asm.load_vector(n, layout::vector(n.into()));
    }
}

/// Instructions by what they ask of MXCSR: none of these, nothing at all.
fn moves(m: Mnemonic) -> bool {
    use Mnemonic::*;
    #[rustfmt::skip]
    let them = matches!(
        m,
        Movaps | Movapd | Movups | Movupd | Movdqa | Movdqu | Lddqu | Movd | Movq | Movss | Movsd | Movlps | Movhps
            | Movlpd | Movhpd | Movhlps | Movlhps | Movntdq | Movntps | Movntpd | Movntdqa | Pmovmskb | Movmskps
            | Movmskpd | Pinsrw | Pextrw | Pinsrb | Pinsrd | Pinsrq | Pextrb | Pextrd | Pextrq | Insertps | Extractps
            | Movddup | Movshdup | Movsldup
    );
    them
}

fn integers(m: Mnemonic) -> bool {
    use Mnemonic::*;
    #[rustfmt::skip]
    let them = matches!(
        m,
        Pxor | Por | Pand | Pandn | Xorps | Xorpd | Andps | Andpd | Andnps | Andnpd | Orps | Orpd | Paddb | Paddw
            | Paddd | Paddq | Psubb | Psubw | Psubd | Psubq | Paddsb | Paddsw | Paddusb | Paddusw | Psubsb | Psubsw
            | Psubusb | Psubusw | Pavgb | Pavgw | Pmullw | Pmulhw | Pmulhuw | Pmuludq | Pmaddwd | Psadbw | Pminub
            | Pmaxub | Pminsw | Pmaxsw | Pcmpeqb | Pcmpeqw | Pcmpeqd | Pcmpgtb | Pcmpgtw | Pcmpgtd | Pmulhrsw
            | Pmaddubsw | Pabsb | Pabsw | Pabsd | Psignb | Psignw | Psignd | Phaddw | Phaddd | Phaddsw | Phsubw
            | Phsubd | Phsubsw | Pmulld | Pmuldq | Pminsb | Pminsd | Pminuw | Pminud | Pmaxsb | Pmaxsd | Pmaxuw
            | Pmaxud | Pcmpeqq | Pcmpgtq | Phminposuw | Mpsadbw | Psllw | Pslld | Psllq | Psrlw | Psrld | Psrlq
            | Psraw | Psrad | Pslldq | Psrldq | Aesenc | Aesenclast | Aesdec | Aesdeclast | Aesimc
            | Aeskeygenassist | Pclmulqdq | Sha1nexte | Sha1msg1 | Sha1msg2 | Sha1rnds4 | Sha256msg1 | Sha256msg2
            | Sha256rnds2 | Ptest | Pcmpistri | Pcmpistrm
    );
    them
}

fn order(m: Mnemonic) -> bool {
    use Mnemonic::*;
    #[rustfmt::skip]
    let them = matches!(
        m,
        Punpcklbw | Punpcklwd | Punpckldq | Punpcklqdq | Punpckhbw | Punpckhwd | Punpckhdq | Punpckhqdq | Packsswb
            | Packssdw | Packuswb | Packusdw | Pshufd | Pshuflw | Pshufhw | Pshufb | Palignr | Shufps | Shufpd
            | Unpcklps | Unpckhps | Unpcklpd | Unpckhpd | Pblendw | Pblendvb | Blendps | Blendpd | Blendvps | Blendvpd
            | Pmovsxbw | Pmovsxbd | Pmovsxbq | Pmovsxwd | Pmovsxwq | Pmovsxdq | Pmovzxbw | Pmovzxbd | Pmovzxbq
            | Pmovzxwd | Pmovzxwq | Pmovzxdq | Cvtdq2pd
    );
    them
}

/// Those that MXCSR has a say in. RCPPS and RSQRTPS are not among them, whose results are each processor's own, nor
/// DPPS and DPPD, whose flags are.
fn rounds(m: Mnemonic) -> bool {
    use Mnemonic::*;
    #[rustfmt::skip]
    let arithmetic = matches!(
        m,
        Addps | Addpd | Addss | Addsd | Subps | Subpd | Subss | Subsd | Mulps | Mulpd | Mulss | Mulsd | Divps | Divpd
            | Divss | Divsd | Sqrtps | Sqrtpd | Sqrtss | Sqrtsd | Minps | Minpd | Minss | Minsd | Maxps | Maxpd | Maxss
            | Maxsd | Addsubps | Addsubpd | Haddps | Haddpd | Hsubps | Hsubpd | Roundps | Roundpd | Roundss | Roundsd
    );
    #[rustfmt::skip]
    let comparisons = matches!(m, Cmpps | Cmppd | Cmpss | Cmpsd | Comiss | Comisd | Ucomiss | Ucomisd);
    #[rustfmt::skip]
    let conversions = matches!(
        m,
        Cvtps2pd | Cvtpd2ps | Cvtss2sd | Cvtsd2ss | Cvtdq2ps | Cvtps2dq | Cvttps2dq | Cvtpd2dq | Cvttpd2dq
            | Cvtsi2ss | Cvtsi2sd | Cvtss2si | Cvttss2si | Cvtsd2si | Cvttsd2si
    );
    arithmetic || comparisons || conversions
}

/// Whether the host's processor has what the instruction needs: where nothing is translated, nothing.
#[cfg(not(target_arch = "x86_64"))]
fn host_has(_: &Instruction) -> bool {
    false
}

/// Whether the host's processor has what the instruction needs.
#[cfg(target_arch = "x86_64")]
fn host_has(i: &Instruction) -> bool {
    use iced_x86::CpuidFeature;
    i.cpuid_features().iter().all(|feature| match feature {
        CpuidFeature::SSE | CpuidFeature::SSE2 => true,
        CpuidFeature::SSE3 => is_x86_feature_detected!("sse3"),
        CpuidFeature::SSSE3 => is_x86_feature_detected!("ssse3"),
        CpuidFeature::SSE4_1 => is_x86_feature_detected!("sse4.1"),
        CpuidFeature::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        CpuidFeature::AES => is_x86_feature_detected!("aes"),
        CpuidFeature::PCLMULQDQ => is_x86_feature_detected!("pclmulqdq"),
        CpuidFeature::SHA => is_x86_feature_detected!("sha"),
        _ => false,
    })
}

/// Whether an instruction names XMM and general registers and plain memory alone: no MMX, no string.
fn suits(i: &Instruction) -> bool {
    let operand = |n| match i.op_kind(n) {
        OpKind::Register => i.op_register(n).is_xmm() || i.op_register(n).is_gpr(),
        OpKind::Memory => matches!(i.memory_size().size(), 1 | 2 | 4 | 8 | 16),
        kind => kind == OpKind::Immediate8,
    };
    let any = (0..i.op_count()).any(|n| i.op_kind(n) == OpKind::Register && i.op_register(n).is_xmm());
    i.encoding() == EncodingKind::Legacy && any && (0..i.op_count()).all(operand) && host_has(i)
}

/// Whether it moves data in XMM registers or computes with integers there.
pub fn vector(i: &Instruction) -> bool {
    let m = i.mnemonic();
    (moves(m) || integers(m) || order(m)) && suits(i)
}

/// Whether it computes with floating-point numbers in XMM registers.
pub fn floating(i: &Instruction) -> bool {
    rounds(i.mnemonic()) && suits(i)
}

/// Whether its operand in memory must be aligned to 16 bytes.
pub fn aligned(i: &Instruction) -> bool {
    use Mnemonic::*;
    i.memory_size().size() == 16
        && (vector(i) || floating(i))
        && !matches!(i.mnemonic(), Movups | Movupd | Movdqu | Lddqu | Pcmpistri | Pcmpistrm)
}

/// Whether it reads XMM0 without naming it.
fn reads_first(i: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(i.mnemonic(), Pblendvb | Blendvps | Blendvpd | Sha256rnds2)
}

impl Translator<'_> {
    /// An instruction on XMM registers; `floating`: by MXCSR.
    pub(super) fn vector(&mut self, at: usize, floating: bool) -> Result<(), Untranslatable> {
        let i = *self.insn(at);
        if floating && !self.rounding {
            // The flags are kept, or nobody's.
            self.flags_lost();
            let label = self.need_rounding();
            self.asm.bind(label);
        }
        let makes = super::flow::writes(&i) != 0;
        let back = self.anywhere(at)?;
        if makes {
            self.flags_made();
        }
        if let Some(back) = back {
            self.miss_gives(makes);
            self.asm.bind(back);
        }
        Ok(())
    }

    /// Holds the XMM registers of an instruction in the host's of the same numbers. The host's flags stay.
    pub(super) fn hold_vectors(&mut self, i: &Instruction) {
        // PCMPISTRI's ECX is the host's too.
        let mut read = u16::from(reads_first(i));
        let mut written = u16::from(i.mnemonic() == Mnemonic::Pcmpistrm);
        for n in (0..i.op_count()).filter(|n| i.op_kind(*n) == OpKind::Register && i.op_register(*n).is_xmm())
        {
            let bit = 1 << i.op_register(n).number();
            let access = self.access(i, n);
            read |= if access == OpAccess::Write { 0 } else { bit };
            written |= if writes(access) { bit } else { 0 };
        }
        load(&mut self.asm, read & !self.held.valid);
        self.held.valid |= read | written;
        self.held.dirty |= written;
    }

    /// Stores what was written to XMM registers. The host's flags stay.
    pub(super) fn store_vectors(&mut self) {
        store(&mut self.asm, std::mem::take(&mut self.held.dirty));
    }

    /// Emits the question whether the guest's MXCSR is loaded; gives the label that is to be bound where it is.
    fn need_rounding(&mut self) -> Label {
        use super::asm::{Alu, Width, cc};
        let (label, back) = (self.asm.label(), self.asm.label());
        self.asm.alu_imm(Alu::Cmp, Width::B, layout::rounding(), 0);
        self.asm.jcc(cc::E, label);
        self.rounds_from(label, back);
        back
    }

    /// Whether the host's flags stay what they were, its own writes apart.
    pub(super) fn vector_keeps_flags(&self, i: &Instruction, floating: bool) -> bool {
        !in_memory(i) && (!floating || self.rounding)
    }
}
