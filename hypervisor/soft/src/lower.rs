//! From decoded instructions to operations: each family in turn.

use iced_x86::{CpuidFeature, EncodingKind, Instruction};

use crate::cpu::{Cpu, Exec};
use crate::op::{Ctx, Op};

fn invalid(cpu: &mut Cpu, _: &Op) -> Exec {
    Err(cpu.ud())
}

fn too_long(cpu: &mut Cpu, _: &Op) -> Exec {
    Err(cpu.gp(0))
}

/// One instruction; `bytes` start at it. What this processor does not have is an invalid opcode.
pub fn lower(i: &Instruction, ctx: &Ctx, bytes: &[u8]) -> Op {
    if i.is_invalid() {
        let prefixes = bytes.iter().take(15).take_while(|b| is_prefix(**b, ctx.code)).count();
        return if prefixes >= 14 { Op::jump(too_long) } else { Op::jump(invalid) };
    }
    if !announced(i) {
        return Op::jump(invalid);
    }
    crate::int::lower(i, ctx)
        .or_else(|| crate::sse::lower(i, ctx))
        .or_else(|| crate::fp::lower(i, ctx, bytes))
        .or_else(|| crate::system::lower(i, ctx))
        .unwrap_or_else(|| Op::jump(invalid))
}

/// Whether a byte before the opcode is a prefix.
pub(crate) fn is_prefix(b: u8, code: u8) -> bool {
    matches!(b, 0x26 | 0x2e | 0x36 | 0x3e | 0x64..=0x67 | 0xf0 | 0xf2 | 0xf3)
        || code == 64 && b & 0xf0 == 0x40
}

/// Whether CPUID says that the instruction exists.
fn announced(i: &Instruction) -> bool {
    use CpuidFeature::*;
    if i.encoding() != EncodingKind::Legacy {
        return false;
    }
    let has = |f: &CpuidFeature| {
        matches!(
            *f,
            INTEL8086
                | INTEL8086_ONLY
                | INTEL186
                | INTEL286
                | INTEL386
                | INTEL486
                | X64
                | CLFSH
                | CMOV
                | CMPXCHG16B
                | CPUID
                | CX8
                | FPU
                | FPU287
                | FPU387
                | FXSR
                | MMX
                | MONITOR
                | MOVBE
                | MSR
                | MULTIBYTENOP
                | PAUSE
                | POPCNT
                | PREFETCHW
                | PREFETCHWT1
                | RDPMC
                | RDTSCP
                | SEP
                | SMAP
                | SSE
                | SSE2
                | SSE3
                | SSE4_1
                | SSE4_2
                | SSSE3
                | SYSCALL
                | TSC
                | XSAVE
                | XSAVEOPT
        )
    };
    i.cpuid_features().iter().all(has)
}
