//! What the processor says of itself: the leaves of its model.

use crate::cpu::{Cpu, Exec, RAX, RBX, RCX, RDX};
use crate::model::features::{self, Feature};
use crate::model::{CpuModel, Vendor};
use crate::op::Op;
use crate::system::bits::cr4;

const HYPERVISOR: [u32; 3] =
    [u32::from_le_bytes(*b"Ailu"), u32::from_le_bytes(*b"rus "), u32::from_le_bytes(*b"soft")];
/// Bits of leaf 1 EDX that AMD's processors have in leaf 0x8000_0001 EDX too (APM vol. 3, E.4.2).
const ALIASES: u32 = 0x0183_f3ff;

/// Offset and size of the upper halves of YMM registers in XSAVE's area (SDM vol. 1, 13.4.3).
const YMM_AREA: u32 = 0x240;
const YMM_SIZE: u32 = 0x100;

/// Four letters of a text, zeros behind its end.
fn letters(text: &str, at: usize) -> u32 {
    let byte = |n: usize| text.as_bytes().get(at + n).copied().unwrap_or(0);
    u32::from_le_bytes(std::array::from_fn(byte))
}

impl CpuModel {
    /// Leaf 1 of a processor that nobody has reconfigured: EAX below, EDX above.
    pub fn processor_id(&self) -> u64 {
        self.signature as u64 | (self.features.word(features::ONE_EDX) as u64) << 32
    }

    fn vendor_leaf(&self, highest: u32) -> [u32; 4] {
        let text = self.vendor.text();
        [highest, letters(text, 0), letters(text, 8), letters(text, 4)]
    }

    fn brand_leaf(&self, part: u32) -> [u32; 4] {
        std::array::from_fn(|n| letters(&self.brand, part as usize * 16 + n * 4))
    }

    fn extended_edx(&self) -> u32 {
        let aliases = match self.vendor {
            Vendor::Amd => self.features.word(features::ONE_EDX) & ALIASES,
            Vendor::Intel => 0,
        };
        self.features.word(features::EXT_EDX) | aliases
    }
}

impl Cpu {
    /// One leaf: EAX, EBX, ECX, EDX.
    pub fn cpuid_leaf(&self, leaf: u32, sub: u32) -> [u32; 4] {
        let model = &*self.model;
        let word = |n: usize| model.features.word(n);
        // Beyond the highest leaf Intel's processors repeat it (SDM vol. 2, CPUID), AMD's say nothing.
        let beyond = leaf > model.level && leaf < 0x4000_0000;
        let leaf = match model.vendor {
            Vendor::Intel if beyond => model.level,
            Vendor::Amd if beyond => return [0; 4],
            _ => leaf,
        };
        match leaf {
            0 => model.vendor_leaf(model.level),
            1 => {
                let osxsave = if self.cr4 & cr4::OSXSAVE != 0 { 1 << 27 } else { 0 };
                let edx = word(features::ONE_EDX);
                let edx = if self.apic_enabled() { edx } else { edx & !(1 << 9) };
                [model.signature, self.id << 24 | 1 << 16 | 8 << 8, word(features::ONE_ECX) | osxsave, edx]
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
            6 => [word(features::POWER_EAX), 0, 0, 0],
            7 if sub == 0 => {
                [0, word(features::SEVEN_EBX), word(features::SEVEN_ECX), word(features::SEVEN_EDX)]
            }
            0xb => match sub {
                // Every processor is a package of its own.
                0 => [0, 1, 1 << 8, self.id],
                1 => [0, 1, 2 << 8 | 1, self.id],
                _ => [0, 0, sub, self.id],
            },
            0xd if model.features.has(Feature::XSAVE) => self.xsave_leaf(sub),
            0x4000_0000 => [0x4000_0000, HYPERVISOR[0], HYPERVISOR[1], HYPERVISOR[2]],
            0x8000_0000 => model.vendor_leaf(0x8000_0008),
            0x8000_0001 => [model.signature, 0, word(features::EXT_ECX), model.extended_edx()],
            0x8000_0002..=0x8000_0004 => model.brand_leaf(leaf - 0x8000_0002),
            0x8000_0005 => [0x01ff_01ff, 0x01ff_01ff, 0x4002_0140, 0x4002_0140],
            0x8000_0006 => [0, 0x4200_4200, 0x0200_8140, 0],
            0x8000_0007 => [0, 0, 0, word(features::EXT7_EDX)],
            0x8000_0008 => [crate::paging::PHYS_BITS | 48 << 8, 0, 0, 0],
            _ => [0; 4],
        }
    }

    /// Leaf 0xD: the components of XSAVE.
    fn xsave_leaf(&self, sub: u32) -> [u32; 4] {
        let has = &self.model.features;
        let avx = has.has(Feature::AVX);
        let size = |components: u64| if components & 4 != 0 { YMM_AREA + YMM_SIZE } else { YMM_AREA };
        let all = if avx { 7 } else { 3 };
        match sub {
            0 => [all, size(self.xcr0), size(u64::from(all)), 0],
            // Without gaps it is as long: AVX's part is the first behind the header.
            1 if has.has(Feature::XSAVEC) => [has.word(features::XSAVE_EAX), size(self.xcr0), 0, 0],
            1 => [has.word(features::XSAVE_EAX), 0, 0, 0],
            2 if avx => [YMM_SIZE, YMM_AREA, 0, 0],
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
