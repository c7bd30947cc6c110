//! From decoded instructions to operations: each family in turn.

use iced_x86::{CpuidFeature, EncodingKind, Instruction};

use crate::cpu::{Cpu, Exec, mode};
use crate::model::{Feature, Features};
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
    if !in_cpuid(i, &ctx.has) {
        return Op::jump(invalid);
    }
    if i.encoding() == EncodingKind::VEX {
        // Real and virtual-8086 mode have no such prefix (SDM vol. 1, 14.1.1).
        let op = match ctx.mode & mode::REAL {
            0 => crate::int::lower_vex(i, ctx).or_else(|| crate::avx::lower(i, ctx)),
            _ => None,
        };
        return op.unwrap_or_else(|| Op::jump(invalid));
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
fn in_cpuid(i: &Instruction, has: &Features) -> bool {
    let vex = i.encoding() == EncodingKind::VEX;
    (vex || i.encoding() == EncodingKind::Legacy) && i.cpuid_features().iter().all(|f| known(*f, vex, has))
}

/// Whether one of iced's features is there; `vex` for instructions with that prefix.
fn known(feature: CpuidFeature, vex: bool, has: &Features) -> bool {
    use CpuidFeature::*;
    let needed = match feature {
        // On any processor with long mode, or where nothing tells (PREFETCHW was a NOP before it was announced).
        INTEL8086 | INTEL8086_ONLY | INTEL186 | INTEL286 | INTEL386 | INTEL486 | X64 | CPUID | FPU
        | FPU287 | FPU387 | MSR | MULTIBYTENOP | PAUSE | PREFETCHW | PREFETCHWT1 | RDPMC | SYSCALL | TSC => {
            return !vex;
        }
        // It may be tried whatever leaf 1 says.
        MONITOR => return !vex,
        ADX => Feature::ADX,
        AES => Feature::AES,
        AVX => Feature::AVX,
        AVX2 => Feature::AVX2,
        BMI1 => Feature::BMI1,
        BMI2 => Feature::BMI2,
        CLFLUSHOPT => Feature::CLFLUSHOPT,
        CLFSH => Feature::CLFLUSH,
        CLWB => Feature::CLWB,
        CMOV => Feature::CMOV,
        CMPXCHG16B => Feature::CX16,
        CX8 => Feature::CX8,
        F16C => Feature::F16C,
        FMA => Feature::FMA,
        FSGSBASE => Feature::FSGSBASE,
        FXSR => Feature::FXSR,
        INVPCID => Feature::INVPCID,
        LZCNT => Feature::ABM,
        MMX => Feature::MMX,
        MOVBE => Feature::MOVBE,
        PCLMULQDQ => Feature::PCLMULQDQ,
        POPCNT => Feature::POPCNT,
        RDPID => Feature::RDPID,
        RDRAND => Feature::RDRAND,
        RDSEED => Feature::RDSEED,
        RDTSCP => Feature::RDTSCP,
        SEP => Feature::SEP,
        SHA => Feature::SHA,
        SMAP => Feature::SMAP,
        SSE => Feature::SSE,
        SSE2 => Feature::SSE2,
        SSE3 => Feature::SSE3,
        SSE4_1 => Feature::SSE4_1,
        SSE4_2 => Feature::SSE4_2,
        SSSE3 => Feature::SSSE3,
        XSAVE => Feature::XSAVE,
        XSAVEC => Feature::XSAVEC,
        XSAVEOPT => Feature::XSAVEOPT,
        _ => return false,
    };
    has.has(needed)
}
