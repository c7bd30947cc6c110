//! The models that have a name: what they announce, and which processor they say they are.

use super::features::{Feature, Features};

/// Who made the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vendor {
    /// `GenuineIntel`.
    Intel,
    /// `AuthenticAMD`.
    Amd,
}

impl Vendor {
    /// The twelve letters of leaf 0.
    pub fn text(self) -> &'static str {
        match self {
            Vendor::Intel => "GenuineIntel",
            Vendor::Amd => "AuthenticAMD",
        }
    }
}

/// A row of the table.
pub struct Named {
    /// What `-cpu` knows it by.
    pub name: &'static str,
    /// Vendor.
    pub vendor: Vendor,
    /// Family, model, stepping.
    pub signature: (u32, u32, u32),
    /// Highest leaf.
    pub level: u32,
    /// The name that leaves 0x8000_0002 to 4 spell.
    pub brand: &'static str,
    /// What it announces.
    pub features: Features,
}

/// The model of a guest that asks for none.
pub const DEFAULT: &str = "soft64";

use Feature as F;

/// What every processor with long mode has.
const BASE: Features = Features::of(&[
    F::FPU,
    F::DE,
    F::PSE,
    F::TSC,
    F::MSR,
    F::PAE,
    F::MCE,
    F::CX8,
    F::APIC,
    F::SEP,
    F::MTRR,
    F::PGE,
    F::MCA,
    F::CMOV,
    F::PAT,
    F::PSE36,
    F::CLFLUSH,
    F::MMX,
    F::FXSR,
    F::SSE,
    F::SSE2,
    F::SSE3,
    F::CX16,
    F::SYSCALL,
    F::NX,
    F::LM,
    F::HYPERVISOR,
]);

/// The default: x86-64-v2 and what the system part of this crate has had from its first release on. It stays what it
/// is, as guests were saved with it.
const SOFT: Features = BASE.and(&[
    F::VME,
    F::SSSE3,
    F::SSE4_1,
    F::SSE4_2,
    F::X2APIC,
    F::MOVBE,
    F::POPCNT,
    F::TSC_DEADLINE,
    F::XSAVE,
    F::XSAVEOPT,
    F::SMEP,
    F::SMAP,
    F::PDPE1GB,
    F::RDTSCP,
    F::LAHF_LM,
    F::PREFETCHW,
    F::ARAT,
    F::INVTSC,
]);

/// All that is built and exact: what `max` announces. Any other request is told and left out.
pub const SUPPORTED: Features = SOFT.and(&[
    F::ABM,
    F::BMI1,
    F::BMI2,
    F::ADX,
    F::FSGSBASE,
    F::RDPID,
    F::CLFLUSHOPT,
    F::CLWB,
    F::UMIP,
    F::PCID,
    F::INVPCID,
    F::ERMS,
    F::FSRM,
    F::AES,
    F::PCLMULQDQ,
    F::SHA,
    F::RDRAND,
    F::RDSEED,
    F::AVX,
    F::AVX2,
    F::FMA,
    F::F16C,
    F::XSAVEC,
    F::XGETBV1,
]);

const fn named(name: &'static str) -> Option<Feature> {
    let mut n = 0;
    while n < super::features::NAMES.len() {
        if same(super::features::NAMES[n].0.as_bytes(), name.as_bytes()) {
            return Some(super::features::NAMES[n].1);
        }
        n += 1;
    }
    None
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

/// A feature that has no constant, because nothing here depends on it.
const fn other(name: &'static str) -> Feature {
    match named(name) {
        Some(feature) => feature,
        None => panic!("the name is one of the list's"),
    }
}

const SVM: Feature = other("svm");
const HLE: Feature = other("hle");
const RTM: Feature = other("rtm");

const NEHALEM: Features = BASE.and(&[F::VME, F::SSSE3, F::SSE4_1, F::SSE4_2, F::POPCNT, F::LAHF_LM]);
const WESTMERE: Features = NEHALEM.and(&[F::AES, F::PCLMULQDQ, F::ARAT]);
const SANDY_BRIDGE: Features =
    WESTMERE.and(&[F::AVX, F::XSAVE, F::XSAVEOPT, F::TSC_DEADLINE, F::X2APIC, F::RDTSCP]);
const IVY_BRIDGE: Features = SANDY_BRIDGE.and(&[F::F16C, F::RDRAND, F::FSGSBASE, F::SMEP, F::ERMS]);
const HASWELL: Features =
    IVY_BRIDGE.and(&[F::FMA, F::MOVBE, F::PCID, F::ABM, F::BMI1, F::BMI2, F::AVX2, F::INVPCID]);
const BROADWELL: Features = HASWELL.and(&[F::RDSEED, F::ADX, F::SMAP, F::PREFETCHW]);
const SKYLAKE: Features = BROADWELL.and(&[F::XSAVEC, F::XGETBV1]);
const EPYC: Features = BASE.and(&[
    F::VME,
    F::SSSE3,
    F::SSE4_1,
    F::SSE4_2,
    F::POPCNT,
    F::MOVBE,
    F::AES,
    F::PCLMULQDQ,
    F::AVX,
    F::F16C,
    F::FMA,
    F::RDRAND,
    F::XSAVE,
    F::MONITOR,
    F::FSGSBASE,
    F::BMI1,
    F::BMI2,
    F::AVX2,
    F::SMEP,
    F::SMAP,
    F::RDSEED,
    F::ADX,
    F::CLFLUSHOPT,
    F::SHA,
    F::XSAVEOPT,
    F::XSAVEC,
    F::XGETBV1,
    F::ARAT,
    F::RDTSCP,
    F::PDPE1GB,
    F::LAHF_LM,
    F::ABM,
    F::PREFETCHW,
    SVM,
    other("mmxext"),
    other("fxsr-opt"),
    other("cr8legacy"),
    other("sse4a"),
    other("misalignsse"),
    other("osvw"),
]);

/// The table.
pub const MODELS: &[Named] = &[
    Named {
        name: DEFAULT,
        vendor: Vendor::Amd,
        // What QEMU's qemu64 says, and drivers are used to.
        signature: (15, 107, 1),
        level: 0xd,
        brand: "Ailurus soft CPU",
        features: SOFT,
    },
    Named {
        name: "base",
        vendor: Vendor::Amd,
        signature: (15, 107, 1),
        level: 0xd,
        brand: "Ailurus soft CPU",
        features: Features::NONE,
    },
    Named {
        name: "max",
        vendor: Vendor::Amd,
        signature: (15, 107, 1),
        level: 0xd,
        brand: "Ailurus soft CPU",
        features: SUPPORTED,
    },
    Named {
        name: "qemu64",
        vendor: Vendor::Amd,
        signature: (15, 107, 1),
        level: 0xd,
        brand: "QEMU Virtual CPU version 2.5+",
        features: BASE.and(&[F::LAHF_LM, SVM]),
    },
    Named {
        name: "kvm64",
        vendor: Vendor::Intel,
        signature: (15, 6, 1),
        level: 0xd,
        brand: "Common KVM processor",
        features: BASE.and(&[F::VME]),
    },
    Named {
        name: "Nehalem",
        vendor: Vendor::Intel,
        signature: (6, 26, 3),
        level: 11,
        brand: "Intel Core i7 9xx (Nehalem Class Core i7)",
        features: NEHALEM,
    },
    Named {
        name: "Westmere",
        vendor: Vendor::Intel,
        signature: (6, 44, 1),
        level: 11,
        brand: "Westmere E56xx/L56xx/X56xx (Nehalem-C)",
        features: WESTMERE,
    },
    Named {
        name: "SandyBridge",
        vendor: Vendor::Intel,
        signature: (6, 42, 1),
        level: 0xd,
        brand: "Intel Xeon E312xx (Sandy Bridge)",
        features: SANDY_BRIDGE,
    },
    Named {
        name: "IvyBridge",
        vendor: Vendor::Intel,
        signature: (6, 58, 9),
        level: 0xd,
        brand: "Intel Xeon E3-12xx v2 (Ivy Bridge)",
        features: IVY_BRIDGE,
    },
    Named {
        name: "Haswell",
        vendor: Vendor::Intel,
        signature: (6, 60, 4),
        level: 0xd,
        brand: "Intel Core Processor (Haswell)",
        features: HASWELL.and(&[HLE, RTM]),
    },
    Named {
        name: "Haswell-noTSX",
        vendor: Vendor::Intel,
        signature: (6, 60, 1),
        level: 0xd,
        brand: "Intel Core Processor (Haswell, no TSX)",
        features: HASWELL,
    },
    Named {
        name: "Broadwell-noTSX",
        vendor: Vendor::Intel,
        signature: (6, 61, 2),
        level: 0xd,
        brand: "Intel Core Processor (Broadwell, no TSX)",
        features: BROADWELL,
    },
    Named {
        name: "Skylake-Client-noTSX-IBRS",
        vendor: Vendor::Intel,
        signature: (6, 94, 3),
        level: 0xd,
        brand: "Intel Core Processor (Skylake, IBRS, no TSX)",
        features: SKYLAKE.and(&[other("spec-ctrl")]),
    },
    Named {
        name: "EPYC",
        vendor: Vendor::Amd,
        signature: (23, 1, 2),
        level: 0xd,
        brand: "AMD EPYC Processor",
        features: EPYC,
    },
];
