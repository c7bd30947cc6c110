//! AVX, AVX2, FMA, F16C and the VEX forms of AES and PCLMULQDQ on our processor and on the host's, if it has them: the
//! same random registers and memory.
//!
//! Our side begins with XRSTOR and ends with XSAVE. Flags that the manuals leave undefined are not compared. `CASES` in
//! the environment sets how many cases a family has, `SEED` where they start.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[allow(dead_code, reason = "the other families are other tests'")]
mod native;

use std::collections::BTreeMap;

use iced_x86::{
    Code, CpuidFeature, Decoder, DecoderOptions, EncodingKind, Instruction, Mnemonic, OpKind, RflagsBits,
};
use native::cases::{Case, Family, Random};
use native::host::{End, Host, Regs, TEST};
use native::values::lanes;
use native::wide::{Image, Left, Soft, XMM, XSTATE_BV, YMM, both, differences, image};
use native::{intel, number};

fn decode(bits: u32, code: &[u8]) -> Instruction {
    Decoder::with_ip(bits, code, TEST, DecoderOptions::NONE).decode()
}

/// The status flags that an instruction defines.
fn defined(insn: &Instruction) -> u64 {
    let undefined = insn.rflags_undefined();
    let bits = [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::OF, 11),
    ];
    bits.iter().filter(|(bit, _)| undefined & bit == 0).fold(0, |all, (_, at)| all | 1 << at)
}

/// What is built.
fn known(feature: CpuidFeature) -> bool {
    use CpuidFeature::{AES, AVX, AVX2, F16C, FMA, PCLMULQDQ};
    matches!(feature, AVX | AVX2 | FMA | F16C | AES | PCLMULQDQ)
}

/// Whether all vendors' processors do the same.
fn agreed(i: &Instruction, bits: u32) -> bool {
    use Mnemonic::{Vrcpps, Vrcpss, Vrsqrtps, Vrsqrtss};
    // Approximations are each vendor's own.
    let approximate = matches!(i.mnemonic(), Vrcpps | Vrcpss | Vrsqrtps | Vrsqrtss);
    // Outside 64-bit mode Intel ignores VEX.W in these, AMD does not know them with it.
    let lane = bits == 32 && matches!(i.mnemonic(), Mnemonic::Vpinsrd | Mnemonic::Vpextrd);
    intel() || !approximate && !lane
}

fn has(i: &Instruction, feature: CpuidFeature) -> bool {
    i.cpuid_features().contains(&feature)
}

fn named(i: &Instruction, beginnings: &[&str]) -> bool {
    let name = format!("{:?}", i.mnemonic());
    beginnings.iter().any(|beginning| name.starts_with(beginning))
}

fn is_arithmetic(i: &Instruction) -> bool {
    const NAMES: [&str; 14] = [
        "Vadd", "Vsub", "Vmul", "Vdiv", "Vmin", "Vmax", "Vhadd", "Vhsub", "Vsqrt", "Vround", "Vdp", "Vcom",
        "Vucom", "Vr",
    ];
    named(i, &NAMES)
}

fn is_integer(i: &Instruction) -> bool {
    named(i, &["Vp", "Vand", "Vor", "Vxor"]) && !is_crypto(i)
}

fn is_crypto(i: &Instruction) -> bool {
    has(i, CpuidFeature::AES) || has(i, CpuidFeature::PCLMULQDQ)
}

/// Tells whether an instruction is one of a family.
type Wanted = fn(&Instruction) -> bool;

/// Families of instructions: each has its name and its number of cases.
const FAMILIES: [(&str, Wanted); 9] = [
    ("arithmetic", is_arithmetic),
    ("comparisons", |i| named(i, &["Vcmp"])),
    ("conversions", |i| named(i, &["Vcvt"]) && !has(i, CpuidFeature::F16C)),
    ("half precision", |i| has(i, CpuidFeature::F16C)),
    ("products", |i| has(i, CpuidFeature::FMA)),
    ("integer", |i| is_integer(i) && !i.is_vsib()),
    ("AES", is_crypto),
    ("gathers", |i| i.is_vsib()),
    ("moves", |i| {
        let others = is_arithmetic(i) || is_integer(i) || is_crypto(i) || i.is_vsib();
        !others && !named(i, &["Vcmp", "Vcvt"]) && !has(i, CpuidFeature::FMA)
    }),
];

/// Every encoding of a family, with some of the registers.
fn encodings(bits: u32, want: Wanted, rng: &mut Random) -> Vec<Vec<u8>> {
    let mut out = Vec::new();
    for map in 1..=3u8 {
        for opcode in 0..=255u8 {
            for n in 0..32u8 {
                // W, L and the mandatory prefix; a register in VEX.vvvv (inverted) or none.
                let (w, l, prefix) = (n & 1, n >> 1 & 1, n >> 2 & 3);
                let vvvv = if n & 16 != 0 { 15 } else { rng.below(16) as u8 };
                let rxb = if bits == 64 { rng.below(8) as u8 } else { 7 };
                let code = vec![0xc4, rxb << 5 | map, w << 7 | vvvv << 3 | l << 2 | prefix, opcode];
                // A register, an address in one, and one with an index.
                let tries = [[0xc1, 0], [0x07, 0], [0x04, 0x7e]]
                    .map(|modrm| decode(bits, &[&code[..], &modrm, &[0; 5]].concat()));
                let good = |i: &Instruction| {
                    !i.is_invalid()
                        && i.encoding() == EncodingKind::VEX
                        && i.cpuid_features().iter().all(|f| known(*f))
                        && agreed(i, bits)
                        && want(i)
                };
                if good(&tries[2]) && tries[2].is_vsib() {
                    let modrm = rng.bits() as u8 & 0xb8 | 4;
                    out.push([&code[..], &[modrm]].concat());
                } else if tries.iter().any(good) {
                    out.push(code);
                }
            }
        }
    }
    out
}

fn register(image: &mut Image, at: usize, number: usize) -> &mut [u8] {
    &mut image[at + 16 * number..at + 16 * number + 16]
}

/// Gives a gather indices that stay near its base, mostly.
fn near(insn: &Instruction, image: &mut Image, rng: &mut Random) {
    use Mnemonic::{Vgatherdpd, Vgatherdps, Vpgatherdd, Vpgatherdq};
    let narrow = matches!(insn.mnemonic(), Vgatherdpd | Vgatherdps | Vpgatherdd | Vpgatherdq);
    let far = rng.below(40) == 0;
    for half in [XMM, YMM] {
        for lane in register(image, half, insn.memory_index().number()).as_chunks_mut::<8>().0 {
            let mut index = || if far { rng.value() as i64 } else { rng.below(0x200) as i64 - 0x100 };
            *lane = if narrow {
                (index() as u32 as u64 | (index() as u64) << 32).to_le_bytes()
            } else {
                index().to_le_bytes()
            };
        }
    }
}

/// A result without what one model does in another way than the next: which of several NaNs a dot product gives.
fn of_every_model(insn: &Instruction, left: &mut Left) {
    let number = insn.op0_register().number();
    match insn.mnemonic() {
        Mnemonic::Vdpps => {
            for half in [XMM, YMM] {
                for lane in register(&mut left.image, half, number).as_chunks_mut::<4>().0 {
                    *lane = if f32::from_le_bytes(*lane).is_nan() { [0xff; 4] } else { *lane };
                }
            }
        }
        Mnemonic::Vdppd => {
            for lane in register(&mut left.image, XMM, number).as_chunks_mut::<8>().0 {
                *lane = if f64::from_le_bytes(*lane).is_nan() { [0xff; 8] } else { *lane };
            }
        }
        _ => {}
    }
}

fn compare(
    bits: u32,
    host: &mut Host,
    (name, want): (&'static str, Wanted),
    cases: u64,
    seed: u64,
) -> String {
    let mut rng = Random::new(seed);
    let mut soft = Soft::new(bits);
    let opcodes = encodings(bits, want, &mut rng);
    let family = Family { name, bits, opcodes, prefixes: &[], want: |_| true, branch: false };
    let mut report = String::new();
    let mut wrong = BTreeMap::<String, u64>::new();
    let (mut ran, mut tried, mut faults) = (0, 0, 0u64);
    while ran < cases {
        tried += 1;
        assert!(tried < 20 * cases, "{name}: only {ran} of {tried} cases ran");
        for chunk in host.data().as_chunks_mut::<16>().0.iter_mut().skip(rng.below(1984) as usize).take(16) {
            *chunk = lanes(&mut rng);
        }
        let Some(case) = family.case(tried as usize, &mut rng) else { continue };
        let insn = decode(bits, &case.code);
        let built = insn.encoding() == EncodingKind::VEX && insn.cpuid_features().iter().all(|f| known(*f));
        if !built || !want(&insn) {
            continue;
        }
        let mut before = image(&mut rng);
        before[XSTATE_BV] = 7;
        if insn.is_vsib() {
            near(&insn, &mut before, &mut rng);
        }
        let reaches = (0..insn.op_count()).any(|n| !matches!(insn.op_kind(n), OpKind::Register));
        let mut sides = both(&mut soft, host, &case, &before, reaches);
        ran += 1;
        faults += u64::from(sides[0].end == End::Fault);
        if insn.is_vsib() && sides.iter().all(|side| side.end == End::Fault) {
            // How many of the lanes that can be read have been is each model's own.
            continue;
        }
        sides.iter_mut().for_each(|side| of_every_model(&insn, side));
        let what = differences(bits, &before, &sides, defined(&insn));
        if !what.is_empty() {
            let count = wrong.entry(format!("{:?}", insn.mnemonic())).or_default();
            *count += 1;
            if *count <= 2 {
                report += &format!("{bits} bits, seed {seed}, case {tried}: {}\n{what}", case.text);
            }
        }
    }
    println!("{name}, {bits} bits: {ran} cases from seed {seed}, {faults} faults, differ: {wrong:?}");
    if report.is_empty() { report } else { format!("{report}{wrong:?}\n") }
}

fn host_has_all() -> bool {
    let all = is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
        && is_x86_feature_detected!("aes")
        && is_x86_feature_detected!("pclmulqdq");
    if !all {
        println!("skipped: the host does not have them");
    }
    all
}

fn all_families(cases: u64, seed: u64) {
    if !host_has_all() {
        return;
    }
    let mut host = Host::new();
    let mut report = String::new();
    for family in FAMILIES {
        report += &compare(64, &mut host, family, cases - cases / 5, seed);
        report += &compare(32, &mut host, family, cases / 5, seed + 1);
    }
    assert!(report.is_empty(), "{report}");
}

#[test]
fn vex_instructions_do_what_the_host_does() {
    all_families(number("CASES", 10_000), number("SEED", 1));
}

#[test]
#[ignore = "soak: a million cases of each family"]
fn vex_instructions_do_what_the_host_does_a_million_times() {
    all_families(1_000_000, number("SEED", 100));
}

/// Prefixes, VEX prefix and opcode at random, the opcode half of the time one of `known`; operands are registers, so
/// that nothing is reached.
fn any_encoding(bits: u32, known: &[Vec<u8>], rng: &mut Random) -> Vec<u8> {
    let mut code = Vec::new();
    for prefix in [0x66, 0xf2, 0xf3, 0xf0, 0x2e] {
        if rng.below(16) == 0 {
            code.push(prefix);
        }
    }
    if bits == 64 && rng.below(16) == 0 {
        code.push(0x40 | rng.below(16) as u8);
    }
    let last = if rng.below(2) == 0 { rng.bits() as u8 } else { 0x78 | rng.bits() as u8 };
    if rng.below(2) == 0 {
        let one = &known[rng.below(known.len() as u64) as usize];
        let last = if rng.below(2) == 0 {
            one[2]
        } else {
            one[2] & 7 | last & 0x78 | if bits == 32 { 0x40 } else { 0 }
        };
        code.extend([one[0], one[1], last, one[3]]);
        code.extend([rng.bits() as u8 | 0xc0, rng.bits() as u8]);
        return code;
    }
    if rng.below(4) == 0 {
        code.extend([0xc5, last | if bits == 32 { 0xc0 } else { 0 }]);
    } else {
        let rxb = if bits == 32 { 0xe0 } else { rng.bits() as u8 & 0xe0 };
        let last = last | if bits == 32 { 0x40 } else { 0 };
        code.extend([0xc4, rxb | 1 + rng.below(3) as u8, last]);
    }
    code.extend([rng.bits() as u8, rng.bits() as u8 | 0xc0, rng.bits() as u8]);
    code
}

/// Whether a host of these tests knows no more of the encoding than we do, and it does nothing that a case may not.
fn comparable(bits: u32, code: &[u8]) -> bool {
    let loose = Decoder::with_ip(bits, code, TEST, DecoderOptions::NO_INVALID_CHECK).decode();
    let stores = matches!(loose.code(), Code::VEX_Vmaskmovdqu_rDI_xmm_xmm);
    let vex = loose.encoding() == EncodingKind::VEX || loose.is_invalid();
    let ours = |f: &CpuidFeature| known(*f) || matches!(f, CpuidFeature::BMI1 | CpuidFeature::BMI2);
    // AMD takes VPERMQ and VPERMPD without VEX.W, too.
    let vex3 = code.iter().position(|b| *b == 0xc4).unwrap_or(code.len());
    let permutes = matches!(code[vex3..], [_, a, b, 0..=1, ..] if a & 0x1f == 3 && b & 0x80 == 0);
    vex && !stores
        && (intel() || !permutes)
        && (loose.is_invalid() || loose.cpuid_features().iter().all(ours))
        && agreed(&loose, bits)
}

fn refused(bits: u32, host: &mut Host, cases: u64, seed: u64) -> String {
    let mut rng = Random::new(seed);
    let mut soft = Soft::new(bits);
    let known = encodings(bits, |_| true, &mut rng);
    let mut before = image(&mut rng);
    before[XSTATE_BV] = 7;
    // All exceptions masked.
    before[24..28].copy_from_slice(&0x1f80u32.to_le_bytes());
    let (mut report, mut bad, mut good) = (String::new(), 0, 0);
    for _ in 0..cases {
        let mut code = any_encoding(bits, &known, &mut rng);
        if !comparable(bits, &code) {
            continue;
        }
        let insn = decode(bits, &code);
        if !insn.is_invalid() {
            code.truncate(insn.len());
        }
        let mut regs = Regs { flags: 0x202, ..Regs::default() };
        regs.gpr.iter_mut().for_each(|r| *r = rng.value() & if bits == 32 { 0xffff_ffff } else { u64::MAX });
        let case = Case { bits, text: format!("{insn} [{code:02x?}]"), code, regs };
        let [ours, theirs] = both(&mut soft, host, &case, &before, false);
        if ours.end == End::Done {
            good += 1;
        } else {
            bad += 1;
        }
        if ours.end != theirs.end {
            report += &format!("{bits} bits: {}: {:?}, host {:?}\n", case.text, ours.end, theirs.end);
        }
    }
    println!("{bits} bits: {good} encodings run, {bad} refused");
    assert!(good * 10 > cases && bad * 10 > cases, "{good} and {bad} of {cases}");
    report
}

#[test]
fn vex_encodings_that_mean_nothing_are_refused() {
    if !host_has_all() {
        return;
    }
    let (cases, seed) = (number("CASES", 20_000), number("SEED", 1));
    let mut host = Host::new();
    let report = refused(64, &mut host, cases, seed) + &refused(32, &mut host, cases, seed);
    assert!(report.is_empty(), "{report}");
}
