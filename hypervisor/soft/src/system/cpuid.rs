//! What the processor says of itself: x86-64-v2 and what the system part of this crate implements.

use crate::cpu::{Cpu, Exec, RAX, RBX, RCX, RDX};
use crate::op::Op;
use crate::system::bits::cr4;

/// Leaf 1 EDX: FPU VME DE PSE TSC MSR PAE MCE CX8 APIC SEP MTRR PGE MCA CMOV PAT PSE36 CLFLUSH MMX FXSR SSE SSE2.
const ONE_EDX: u32 = 0x0783_fbff | 1 << 19;
/// Leaf 1 ECX: SSE3 SSSE3 CX16 SSE4.1 SSE4.2 x2APIC MOVBE POPCNT TSC-deadline XSAVE HYPERVISOR.
const ONE_ECX: u32 =
    1 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22 | 1 << 23 | 1 << 24 | 1 << 26 | 1 << 31;
/// Leaf 7 EBX: SMEP SMAP.
const SEVEN_EBX: u32 = 1 << 7 | 1 << 20;
/// Leaf 0x8000_0001 EDX: the common bits of leaf 1, SYSCALL NX 1GB RDTSCP LM.
const EXT_EDX: u32 = ONE_EDX & 0x0183_f3ff | 1 << 11 | 1 << 20 | 1 << 26 | 1 << 27 | 1 << 29;
/// Leaf 0x8000_0001 ECX: LAHF, PREFETCHW.
const EXT_ECX: u32 = 1 | 1 << 8;
const VENDOR: [u32; 3] =
    [u32::from_le_bytes(*b"Auth"), u32::from_le_bytes(*b"enti"), u32::from_le_bytes(*b"cAMD")];
/// Family 15, model 107, stepping 1: what QEMU's qemu64 says, and drivers are used to.
const SIGNATURE: u32 = 0x0006_0fb1;
/// Leaf 1 of a processor that nobody has reconfigured: EAX below, EDX above.
pub const PROCESSOR_ID: u64 = SIGNATURE as u64 | (ONE_EDX as u64) << 32;
const BRAND: &[u8; 48] = b"Ailurus soft CPU\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
const HYPERVISOR: [u32; 3] =
    [u32::from_le_bytes(*b"Ailu"), u32::from_le_bytes(*b"rus "), u32::from_le_bytes(*b"soft")];

fn brand(part: usize) -> [u32; 4] {
    let word = |n: usize| {
        let at = part * 16 + n * 4;
        u32::from_le_bytes([BRAND[at], BRAND[at + 1], BRAND[at + 2], BRAND[at + 3]])
    };
    [word(0), word(1), word(2), word(3)]
}

impl Cpu {
    /// One leaf: EAX, EBX, ECX, EDX.
    pub fn cpuid_leaf(&self, leaf: u32, sub: u32) -> [u32; 4] {
        match leaf {
            0 => [0xd, VENDOR[0], VENDOR[2], VENDOR[1]],
            1 => {
                let osxsave = if self.cr4 & cr4::OSXSAVE != 0 { 1 << 27 } else { 0 };
                let apic = if self.apic_enabled() { ONE_EDX } else { ONE_EDX & !(1 << 9) };
                [SIGNATURE, self.id << 24 | 1 << 16 | 8 << 8, ONE_ECX | osxsave, apic]
            }
            // Two leaves about caches that only Intel's processors have; harmless, and asked for.
            2 => [1, 0, 0, 0x2c_307d],
            4 => match sub {
                0 => [0x121, 7 << 22 | 63, 63, 1],
                1 => [0x122, 7 << 22 | 63, 63, 1],
                2 => [0x143, 15 << 22 | 63, 4095, 1],
                _ => [0; 4],
            },
            5 => [64, 64, 3, 0],
            6 => [1 << 2, 0, 0, 0],
            7 if sub == 0 => [0, SEVEN_EBX, 0, 0],
            0xb => match sub {
                // Every processor is a package of its own.
                0 => [0, 1, 1 << 8, self.id],
                1 => [0, 1, 2 << 8 | 1, self.id],
                _ => [0, 0, sub, self.id],
            },
            0xd => match sub {
                0 => [3, 0x240, 0x240, 0],
                // XSAVEOPT.
                1 => [1, 0, 0, 0],
                _ => [0; 4],
            },
            0x4000_0000 => [0x4000_0000, HYPERVISOR[0], HYPERVISOR[1], HYPERVISOR[2]],
            0x8000_0000 => [0x8000_0008, VENDOR[0], VENDOR[2], VENDOR[1]],
            0x8000_0001 => [SIGNATURE, 0, EXT_ECX, EXT_EDX],
            0x8000_0002..=0x8000_0004 => brand((leaf - 0x8000_0002) as usize),
            0x8000_0005 => [0x01ff_01ff, 0x01ff_01ff, 0x4002_0140, 0x4002_0140],
            0x8000_0006 => [0, 0x4200_4200, 0x0200_8140, 0],
            // The TSC runs at one rate in every state.
            0x8000_0007 => [0, 0, 0, 1 << 8],
            0x8000_0008 => [crate::paging::PHYS_BITS | 48 << 8, 0, 0, 0],
            _ => [0; 4],
        }
    }
}

/// CPUID.
pub(super) fn cpuid(cpu: &mut Cpu, _: &Op) -> Exec {
    let [a, b, c, d] = cpu.cpuid_leaf(cpu.gpr[RAX] as u32, cpu.gpr[RCX] as u32);
    for (slot, v) in [(RAX, a), (RBX, b), (RCX, c), (RDX, d)] {
        cpu.gpr[slot] = v as u64;
    }
    Ok(())
}
