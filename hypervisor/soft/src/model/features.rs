//! What CPUID can announce: a set of bits with the names that `-cpu` knows them by.

use std::ops::{BitAnd, BitOr};

/// How many words of CPUID hold features.
const WORDS: usize = 10;

/// Leaf, subleaf and register of each word, as the manuals write them.
const PLACES: [(u32, Option<u32>, &str); WORDS] = [
    (1, None, "EDX"),
    (1, None, "ECX"),
    (7, Some(0), "EBX"),
    (7, Some(0), "ECX"),
    (7, Some(0), "EDX"),
    (0x8000_0001, None, "EDX"),
    (0x8000_0001, None, "ECX"),
    (0xd, Some(1), "EAX"),
    (6, None, "EAX"),
    (0x8000_0007, None, "EDX"),
];

/// Leaf 1 EDX.
pub const ONE_EDX: usize = 0;
/// Leaf 1 ECX.
pub const ONE_ECX: usize = 1;
/// Leaf 7 EBX.
pub const SEVEN_EBX: usize = 2;
/// Leaf 7 ECX.
pub const SEVEN_ECX: usize = 3;
/// Leaf 7 EDX.
pub const SEVEN_EDX: usize = 4;
/// Leaf 0x8000_0001 EDX.
pub const EXT_EDX: usize = 5;
/// Leaf 0x8000_0001 ECX.
pub const EXT_ECX: usize = 6;
/// Leaf 0xD, subleaf 1, EAX.
pub const XSAVE_EAX: usize = 7;
/// Leaf 6 EAX.
pub const POWER_EAX: usize = 8;
/// Leaf 0x8000_0007 EDX.
pub const EXT7_EDX: usize = 9;

/// One bit of CPUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    word: u8,
    bit: u8,
}

/// Names the features of each word: in `names` all of them, and a constant for those that the processor asks about.
macro_rules! features {
    ($($word:ident { $($bit:literal $name:literal $($constant:ident)?,)* })*) => {
        /// Every feature that has a name.
        pub const NAMES: &[(&str, Feature)] = &[
            $($(($name, Feature { word: $word as u8, bit: $bit }),)*)*
        ];
        /// Features that decide what the processor does.
        #[allow(missing_docs, reason = "the name is QEMU's and the manuals'")]
        impl Feature {
            $($($(pub const $constant: Feature = Feature { word: $word as u8, bit: $bit };)?)*)*
        }
    };
}

features! {
    ONE_EDX {
        0 "fpu" FPU, 1 "vme" VME, 2 "de" DE, 3 "pse" PSE, 4 "tsc" TSC, 5 "msr" MSR, 6 "pae" PAE, 7 "mce" MCE,
        8 "cx8" CX8, 9 "apic" APIC, 11 "sep" SEP, 12 "mtrr" MTRR, 13 "pge" PGE, 14 "mca" MCA, 15 "cmov" CMOV,
        16 "pat" PAT, 17 "pse36" PSE36, 18 "pn", 19 "clflush" CLFLUSH, 21 "ds", 22 "acpi", 23 "mmx" MMX,
        24 "fxsr" FXSR, 25 "sse" SSE, 26 "sse2" SSE2, 27 "ss", 28 "ht", 29 "tm", 30 "ia64", 31 "pbe",
    }
    ONE_ECX {
        0 "pni" SSE3, 1 "pclmulqdq" PCLMULQDQ, 2 "dtes64", 3 "monitor" MONITOR, 4 "ds-cpl", 5 "vmx", 6 "smx",
        7 "est", 8 "tm2", 9 "ssse3" SSSE3, 10 "cid", 12 "fma" FMA, 13 "cx16" CX16, 14 "xtpr", 15 "pdcm",
        17 "pcid" PCID, 18 "dca", 19 "sse4.1" SSE4_1, 20 "sse4.2" SSE4_2, 21 "x2apic" X2APIC, 22 "movbe" MOVBE,
        23 "popcnt" POPCNT, 24 "tsc-deadline" TSC_DEADLINE, 25 "aes" AES, 26 "xsave" XSAVE, 28 "avx" AVX,
        29 "f16c" F16C, 30 "rdrand" RDRAND, 31 "hypervisor" HYPERVISOR,
    }
    SEVEN_EBX {
        0 "fsgsbase" FSGSBASE, 1 "tsc-adjust", 2 "sgx", 3 "bmi1" BMI1, 4 "hle", 5 "avx2" AVX2,
        7 "smep" SMEP, 8 "bmi2" BMI2, 9 "erms" ERMS, 10 "invpcid" INVPCID, 11 "rtm", 14 "mpx", 16 "avx512f",
        17 "avx512dq", 18 "rdseed" RDSEED, 19 "adx" ADX, 20 "smap" SMAP, 21 "avx512ifma", 22 "pcommit",
        23 "clflushopt" CLFLUSHOPT, 24 "clwb" CLWB, 25 "intel-pt", 26 "avx512pf", 27 "avx512er", 28 "avx512cd",
        29 "sha-ni" SHA, 30 "avx512bw", 31 "avx512vl",
    }
    SEVEN_ECX {
        1 "avx512vbmi", 2 "umip" UMIP, 3 "pku" PKU, 5 "waitpkg", 6 "avx512vbmi2", 8 "gfni", 9 "vaes",
        10 "vpclmulqdq", 11 "avx512vnni", 12 "avx512bitalg", 14 "avx512-vpopcntdq", 16 "la57", 22 "rdpid" RDPID,
        24 "bus-lock-detect", 25 "cldemote", 27 "movdiri", 28 "movdir64b", 30 "sgxlc", 31 "pks",
    }
    SEVEN_EDX {
        2 "avx512-4vnniw", 3 "avx512-4fmaps", 4 "fsrm" FSRM, 8 "avx512-vp2intersect", 10 "md-clear", 14 "serialize",
        16 "tsx-ldtrk", 19 "arch-lbr", 22 "amx-bf16", 23 "avx512-fp16", 24 "amx-tile", 25 "amx-int8", 26 "spec-ctrl",
        27 "stibp", 29 "arch-capabilities", 30 "core-capability", 31 "ssbd",
    }
    EXT_EDX {
        11 "syscall" SYSCALL, 20 "nx" NX, 22 "mmxext", 25 "fxsr-opt", 26 "pdpe1gb" PDPE1GB,
        27 "rdtscp" RDTSCP, 29 "lm" LM, 30 "3dnowext", 31 "3dnow",
    }
    EXT_ECX {
        0 "lahf-lm" LAHF_LM, 1 "cmp-legacy", 2 "svm", 3 "extapic", 4 "cr8legacy", 5 "abm" ABM, 6 "sse4a",
        7 "misalignsse", 8 "3dnowprefetch" PREFETCHW, 9 "osvw", 10 "ibs", 11 "xop", 12 "skinit", 13 "wdt", 15 "lwp",
        16 "fma4", 17 "tce", 19 "nodeid-msr", 21 "tbm", 22 "topoext", 23 "perfctr-core", 24 "perfctr-nb",
    }
    XSAVE_EAX { 0 "xsaveopt" XSAVEOPT, 1 "xsavec" XSAVEC, 2 "xgetbv1" XGETBV1, 3 "xsaves", }
    POWER_EAX { 2 "arat" ARAT, }
    EXT7_EDX { 8 "invtsc" INVTSC, }
}

/// Other names of the same bits.
const ALIASES: &[(&str, &str)] = &[
    ("sse3", "pni"),
    ("sse4-1", "sse4.1"),
    ("sse4-2", "sse4.2"),
    ("pclmuldq", "pclmulqdq"),
    ("xd", "nx"),
    ("i64", "lm"),
    ("ffxsr", "fxsr-opt"),
    ("lzcnt", "abm"),
];

impl Feature {
    /// The feature of a name; `_` is as good as `-`.
    pub fn named(name: &str) -> Option<Feature> {
        let name = name.replace('_', "-");
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name.as_str(), |(_, real)| real);
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, feature)| *feature)
    }
    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, feature)| *feature == self).map_or("", |(name, _)| name)
    }
    /// Where CPUID has it: `CPUID.07H:EBX.bmi1 [bit 3]`.
    pub fn place(self) -> String {
        let (leaf, sub, register) = PLACES[self.word as usize % WORDS];
        let sub = match sub {
            Some(n) if n > 0 => format!(",{n}"),
            _ => String::new(),
        };
        format!("CPUID.{leaf:02X}H{sub}:{register}.{} [bit {}]", self.name(), self.bit)
    }
}

/// A set of features.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Features([u32; WORDS]);

impl Features {
    /// None.
    pub const NONE: Features = Features([0; WORDS]);

    /// Those of a list.
    pub const fn of(list: &[Feature]) -> Features {
        Features::NONE.and(list)
    }
    /// These and those of a list.
    pub const fn and(mut self, list: &[Feature]) -> Features {
        let mut n = 0;
        while n < list.len() {
            self.0[list[n].word as usize] |= 1 << list[n].bit;
            n += 1;
        }
        self
    }
    /// Whether the feature is among them.
    #[inline(always)]
    pub fn has(&self, feature: Feature) -> bool {
        self.0[feature.word as usize % WORDS] >> feature.bit & 1 != 0
    }
    /// Puts it in, or takes it out.
    pub fn set(&mut self, feature: Feature, on: bool) {
        let word = &mut self.0[feature.word as usize % WORDS];
        *word = *word & !(1 << feature.bit) | u32::from(on) << feature.bit;
    }
    /// Those that `other` has not.
    pub fn without(self, other: Features) -> Features {
        Features(std::array::from_fn(|n| self.0[n] & !other.0[n]))
    }
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Features::NONE
    }
    /// The word of a leaf.
    pub fn word(&self, word: usize) -> u32 {
        self.0[word % WORDS]
    }
    /// Those that have a name, in the order of CPUID.
    pub fn iter(&self) -> impl Iterator<Item = Feature> {
        let set = *self;
        NAMES.iter().map(|(_, feature)| *feature).filter(move |feature| set.has(*feature))
    }
}

impl BitAnd for Features {
    type Output = Features;
    fn bitand(self, other: Features) -> Features {
        Features(std::array::from_fn(|n| self.0[n] & other.0[n]))
    }
}

impl BitOr for Features {
    type Output = Features;
    fn bitor(self, other: Features) -> Features {
        Features(std::array::from_fn(|n| self.0[n] | other.0[n]))
    }
}

/// Those that a processor announces whose highest leaves are these.
#[cfg(target_arch = "x86_64")]
pub(super) fn of_cpuid(basic: u32, extended: u32, leaf: impl Fn(u32, u32) -> [u32; 4]) -> Features {
    Features(PLACES.map(|(number, sub, register)| {
        let highest = if number >= 0x8000_0000 { extended } else { basic };
        if number > highest {
            return 0;
        }
        let register = ["EAX", "EBX", "ECX", "EDX"].iter().position(|name| *name == register);
        leaf(number, sub.unwrap_or(0))[register.unwrap_or(0)]
    }))
}
