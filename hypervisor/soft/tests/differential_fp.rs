//! x87, MMX and SSE instructions on our processor and on the host's: the same random registers and memory.
//!
//! Both sides begin with FXRSTOR and end with FXSAVE of the floating-point state, which is compared whole but for the
//! pointers to the last x87 instruction and its operand, which some hosts do not keep. `CASES` in the environment sets
//! the number of cases a family, `SEED` where they start.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[allow(dead_code, reason = "the integer families are the other test's")]
mod native;

use hypervisor_soft::bare::{self, Bare};
use iced_x86::{CpuidFeature, Decoder, DecoderOptions, Instruction, Mnemonic, OpKind, Register};
use native::cases::{Case, Family, Random};
use native::host::{CODE, DATA, DATA_LEN, End, Host, Regs, TAKEN, TEST};
use native::values::{double, lanes, single};
use native::{intel, number};

/// `jmp $`: where our side stops.
const HERE: [u8; 2] = [0xeb, 0xfe];
/// Status flags and DF.
const FLAGS: u64 = 0x8d5 | 0x400;
/// Where our side keeps the image of the state.
const IMAGE: u64 = 0x2002_0000;
/// Code that loads it, and code that saves it.
const LOAD: u64 = CODE + 0x900;
const SAVE: u64 = CODE + 0x980;

type Image = [u8; 512];

struct Soft {
    bare: Bare,
}

impl Soft {
    fn new(bits: u32) -> Soft {
        let areas = [(CODE, 0x1000), (DATA, DATA_LEN as u64), (IMAGE, 0x1000)];
        let mut bare = Bare::new(bits as u8, &areas).unwrap();
        bare.write(TAKEN, &HERE);
        let (restore, save): (&[u8], &[u8]) = match bits {
            64 => (&[0x48, 0x0f, 0xae, 0x0c, 0x25], &[0x48, 0x0f, 0xae, 0x04, 0x25]),
            _ => (&[0x0f, 0xae, 0x0d], &[0x0f, 0xae, 0x05]),
        };
        for (at, code) in [(LOAD, restore), (SAVE, save)] {
            bare.write(at, &[code, &(IMAGE as u32).to_le_bytes(), &HERE].concat());
        }
        Soft { bare }
    }

    /// Runs one of the pieces of code that load and save the state.
    fn move_state(&mut self, at: u64) {
        self.bare.set_regs(&bare::Regs { rip: at, flags: 2, ..Default::default() });
        assert_eq!(self.bare.run(1), bare::End::Count);
    }

    fn run(&mut self, case: &Case, image: &mut Image, memory: &mut [u8]) -> (Regs, End) {
        self.bare.write(IMAGE, image);
        self.move_state(LOAD);
        self.bare.write(DATA, memory);
        self.bare.write(TEST, &case.code);
        self.bare.write(TEST + case.code.len() as u64, &HERE);
        self.bare.set_regs(&bare::Regs { gpr: case.regs.gpr, flags: case.regs.flags, rip: TEST });
        let end = self.bare.run(1);
        let bare::Regs { gpr, flags, rip } = self.bare.regs();
        self.bare.read(DATA, memory);
        self.move_state(SAVE);
        self.bare.read(IMAGE, image);
        (Regs { gpr, flags, rip }, if end == bare::End::Count { End::Done } else { End::Fault })
    }
}

/// Ten bytes for an x87 register.
fn extended(rng: &mut Random) -> [u8; 10] {
    let mantissa = match rng.below(4) {
        0 => 1 << 63,
        1 => rng.value(),
        _ => 1 << 63 | rng.bits(),
    };
    let exponent = match rng.below(8) {
        0 => 0,
        1 => 0x7fff,
        2 => rng.bits() as u16 & 0x7fff,
        _ => 0x3fff_u16.wrapping_add(rng.below(80) as u16).wrapping_sub(10),
    };
    let mantissa = if rng.below(8) == 0 { 0 } else { mantissa };
    let exponent = if mantissa == 0 && rng.below(8) != 0 { 0 } else { exponent };
    let mut out = [0; 10];
    out[..8].copy_from_slice(&mantissa.to_le_bytes());
    out[8..].copy_from_slice(&(exponent | (rng.bits() as u16 & 0x8000)).to_le_bytes());
    out
}

/// A floating-point state. `unmask`: some exceptions may be unmasked, and x87 ones pend.
fn image(rng: &mut Random) -> Image {
    let mut out = [0; 512];
    let unmask = rng.below(6) == 0;
    let some = |rng: &mut Random| (rng.bits() & rng.bits() & 0x3f) as u16;
    let masks = if unmask { !some(rng) & 0x3f } else { 0x3f };
    let control =
        0x40 | masks | (rng.below(4) << 10) as u16 | [0, 0x200, 0x300, 0x300][rng.below(4) as usize];
    let flags = if rng.below(16) == 0 { some(rng) } else { some(rng) & masks };
    let summary = if flags & !masks != 0 { 0x8080 } else { 0 };
    let status = flags | summary | (rng.bits() as u16 & 0x7f40);
    let valid = if rng.below(2) == 0 { 0xff } else { rng.bits() as u8 | rng.bits() as u8 };
    let masks = if unmask { !u32::from(some(rng)) & 0x3f } else { 0x3f };
    let modes = if rng.below(2) == 0 { 0 } else { rng.bits() as u32 & 0xe040 };
    let mxcsr = masks << 7 | modes | u32::from(some(rng)) & masks;
    out[..2].copy_from_slice(&control.to_le_bytes());
    out[2..4].copy_from_slice(&status.to_le_bytes());
    out[4] = valid;
    out[24..28].copy_from_slice(&mxcsr.to_le_bytes());
    for k in 0..8 {
        out[32 + 16 * k..][..10].copy_from_slice(&extended(rng));
    }
    for k in 0..16 {
        let x = lanes(rng);
        // Equal registers make comparisons worth their name.
        let from = 160 + 16 * rng.below(16) as usize;
        out[160 + 16 * k..][..16].copy_from_slice(&x);
        if rng.below(8) == 0 {
            out.copy_within(from..from + 16, 160 + 16 * k);
        }
    }
    out
}

/// What is compared of a state: all but pointers, the mask of MXCSR and bytes that FXSAVE does not write.
fn compared(bits: u32, at: usize) -> bool {
    let end = if bits == 64 { 416 } else { 288 };
    matches!(at, 0..=4 | 24..=27 | 32..=159) && (at < 32 || at % 16 < 10) || (160..end).contains(&at)
}

fn decode(case: &Case) -> Instruction {
    Decoder::with_ip(case.bits, &case.code, TEST, DecoderOptions::NONE).decode()
}

/// Where the memory operand lies.
fn operand(case: &Case, insn: &Instruction) -> Option<u64> {
    let at = insn.virtual_address(0, 0, |r, _, _| {
        if r.is_segment_register() {
            return Some(0);
        }
        let v = case.regs.gpr[r.full_register().number()];
        Some(match r.size() {
            2 => v & 0xffff,
            4 => v & 0xffff_ffff,
            _ => v,
        })
    })?;
    (DATA..DATA + DATA_LEN as u64 - 0x240).contains(&at).then_some(at)
}

/// Gives the operands that need it a value of their kind; false if they serve for the address too. `memory` is the
/// data area.
fn prepare(case: &mut Case, memory: &mut [u8], rng: &mut Random) -> bool {
    let insn = decode(case);
    let lengths = matches!(insn.mnemonic(), Mnemonic::Pcmpestri | Mnemonic::Pcmpestrm);
    let components = insn.cpuid_features().contains(&CpuidFeature::XSAVE);
    let address = [insn.memory_base(), insn.memory_index()].map(|r| r.full_register());
    if (lengths || components) && (address.contains(&Register::RAX) || address.contains(&Register::RDX)) {
        return false;
    }
    if matches!(insn.mnemonic(), Mnemonic::Maskmovdqu | Mnemonic::Maskmovq) {
        case.regs.gpr[7] = DATA + 0x2ff0 + rng.below(32);
    }
    if lengths && rng.below(4) != 0 {
        case.regs.gpr[0] = rng.below(20);
        case.regs.gpr[2] = rng.below(20);
    }
    if components {
        (case.regs.gpr[0], case.regs.gpr[2]) = (rng.below(4), 0);
    }
    if !(0..insn.op_count()).any(|n| insn.op_kind(n) == OpKind::Memory) {
        return true;
    }
    let Some(at) = operand(case, &insn).map(|at| (at - DATA) as usize) else { return true };
    let len = insn.memory_size().size();
    match len {
        4 => memory[at..at + 4].copy_from_slice(&single(rng).to_le_bytes()),
        8 => memory[at..at + 8].copy_from_slice(&double(rng).to_le_bytes()),
        10 => memory[at..at + 10].copy_from_slice(&extended(rng)),
        16 => memory[at..at + 16].copy_from_slice(&lanes(rng)),
        _ => {}
    }
    match insn.mnemonic() {
        Mnemonic::Ldmxcsr if rng.below(8) != 0 => memory[at + 2..at + 4].fill(0),
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 | Mnemonic::Xrstor | Mnemonic::Xrstor64 => {
            memory[at] |= 0x3f;
            memory[at + 2] &= 0x7f;
            memory[at + 3] &= 0x7f;
            memory[at + 26..at + 28].fill(0);
            memory[at + 512..at + 576].fill(0);
            memory[at + 512] = rng.below(4) as u8;
            match rng.below(16) {
                // Of XRSTOR the host does a part before it finds this.
                0 if !components => memory[at + 26 + rng.below(2) as usize] = rng.bits() as u8,
                1 => memory[at + 513 + rng.below(23) as usize] = rng.bits() as u8,
                _ => {}
            }
        }
        // Digits, mostly.
        Mnemonic::Fbld => {
            memory[at..at + 9].iter_mut().for_each(|b| *b = (rng.below(10) << 4 | rng.below(10)) as u8)
        }
        // Everything masked, so that the status word says nothing that follows from something else.
        Mnemonic::Fldenv | Mnemonic::Frstor => {
            let status = if matches!(len, 14 | 94) { 2 } else { 4 };
            memory[at] |= 0x3f;
            memory[at + status] &= 0x7f;
            memory[at + status + 1] &= 0x7f;
        }
        _ => {}
    }
    true
}

/// Takes the instruction and operand pointers, and MXCSR's mask, out of what has been written.
fn forget_pointers(case: &Case, memory: &mut [u8]) {
    use Mnemonic::*;
    let insn = decode(case);
    let (pointers, mask) = match insn.mnemonic() {
        Fnstenv | Fnsave if matches!(insn.memory_size().size(), 14 | 94) => (6..14, 0..0),
        Fnstenv | Fnsave => (12..28, 0..0),
        Fxsave | Fxsave64 | Xsave | Xsave64 => (6..24, 28..32),
        _ => return,
    };
    let Some(at) = operand(case, &insn).map(|at| (at - DATA) as usize) else { return };
    for range in [pointers, mask] {
        memory[at + range.start..at + range.end].fill(0);
    }
}

struct Side {
    end: (Regs, End),
    image: Image,
    memory: Vec<u8>,
}

/// What differs, in words; empty when nothing does.
fn differences(case: &Case, before: &Image, soft: &Side, host: &Side) -> String {
    let mut out = String::new();
    let ((s, soft_end), (h, host_end)) = (&soft.end, &host.end);
    if soft_end != host_end {
        out += &format!("  ends {soft_end:?}, host {host_end:?}\n");
    }
    for r in (0..16).filter(|&r| s.gpr[r] != h.gpr[r]) {
        out += &format!("  r{r} was {:#x}: {:#x}, host {:#x}\n", case.regs.gpr[r], s.gpr[r], h.gpr[r]);
    }
    if (s.flags ^ h.flags) & FLAGS != 0 {
        out += &format!("  flags {:#x}, host {:#x}\n", s.flags & FLAGS, h.flags & FLAGS);
    }
    if s.rip != h.rip {
        out += &format!("  rip {:#x}, host {:#x}\n", s.rip, h.rip);
    }
    let odd = |at: &usize| compared(case.bits, *at) && soft.image[*at] != host.image[*at];
    let mut rows: Vec<usize> = (0..512).filter(odd).map(|at| at / 16).collect();
    rows.dedup();
    for row in rows {
        let at = row * 16..row * 16 + 16;
        out += &format!(
            "  state {:#x} was {:02x?}:\n    {:02x?}, host\n    {:02x?}\n",
            at.start,
            &before[at.clone()],
            &soft.image[at.clone()],
            &host.image[at.clone()]
        );
    }
    if !out.is_empty() {
        out += &format!("  control and status were {:02x?}, MXCSR {:02x?}\n", &before[..5], &before[24..28]);
    }
    if let Some(at) = (0..DATA_LEN).find(|&at| soft.memory[at] != host.memory[at]) {
        let (a, b) = (soft.memory[at], host.memory[at]);
        out += &format!("  memory at {:#x}: {a:#x}, host {b:#x}\n", DATA as usize + at);
    }
    out
}

fn compare(family: &Family, host: &mut Host, soft: &mut Soft, cases: u64, seed: u64) -> String {
    let mut rng = Random::new(seed);
    let mut report = String::new();
    let (mut ran, mut done, mut bad) = (0, 0, 0);
    host.data().iter_mut().for_each(|b| *b = rng.value() as u8);
    for k in 0..cases as usize {
        let Some(mut case) = family.case(k, &mut rng) else { continue };
        if !prepare(&mut case, host.data(), &mut rng) {
            continue;
        }
        let before = image(&mut rng);
        let mut ours =
            Side { end: (Regs::default(), End::Done), image: before, memory: host.data().to_vec() };
        ours.end = soft.run(&case, &mut ours.image, &mut ours.memory);
        host.fp().copy_from_slice(&before);
        let end = host.run(case.bits, &case.code, &case.regs);
        let mut theirs = Side { end, image: *host.fp(), memory: host.data().to_vec() };
        forget_pointers(&case, &mut ours.memory);
        forget_pointers(&case, &mut theirs.memory);
        let what = differences(&case, &before, &ours, &theirs);
        ran += 1;
        done += u64::from(ours.end.1 == End::Done);
        if !what.is_empty() {
            bad += 1;
            if bad <= 4 {
                report += &format!(
                    "{} {} bits, seed {seed}, case {k}: {}\n{what}",
                    family.name, case.bits, case.text
                );
            }
        }
    }
    assert!(done * 8 > cases, "{}: only {done} of {cases} cases ran to their end", family.name);
    println!("{:12} {} bits: {ran} cases from seed {seed}, {bad} differ", family.name, family.bits);
    report
}

fn range(prefix: &[u8], range: impl IntoIterator<Item = u8>) -> Vec<Vec<u8>> {
    range.into_iter().map(|b| [prefix, &[b]].concat()).collect()
}

/// What this processor announces of the vector extensions.
fn vector(i: &Instruction) -> bool {
    use CpuidFeature::*;
    let ours = |f: &CpuidFeature| matches!(f, MMX | SSE | SSE2 | SSE3 | SSSE3 | SSE4_1 | SSE4_2);
    let addressed = matches!(i.memory_segment(), Register::FS | Register::GS);
    // Whether a masked store faults where its mask is zero is each processor's own; DI reaches no memory.
    let unreachable = i.op0_kind() == OpKind::MemorySegDI;
    i.cpuid_features().iter().all(ours) && !addressed && !unreachable
}

/// Whole states. XSAVEOPT leaves out what it pleases.
fn state(i: &Instruction) -> bool {
    use Mnemonic::*;
    matches!(
        i.mnemonic(),
        Fxsave | Fxsave64 | Fxrstor | Fxrstor64 | Xsave | Xsave64 | Xrstor | Xrstor64 | Ldmxcsr | Stmxcsr
    )
}

/// Transcendental functions are computed to the last bit here; the host is a little off.
fn exact(i: &Instruction) -> bool {
    use Mnemonic::*;
    !matches!(i.mnemonic(), Fsin | Fcos | Fsincos | Fptan | Fpatan | F2xm1 | Fyl2x | Fyl2xp1)
        && i.cpuid_features().iter().all(|f| {
            matches!(
                f,
                CpuidFeature::INTEL8086
                    | CpuidFeature::INTEL286
                    | CpuidFeature::FPU
                    | CpuidFeature::FPU387
                    | CpuidFeature::FPU287
                    | CpuidFeature::CMOV
                    | CpuidFeature::SSE3
            )
        })
}

fn families(bits: u32) -> Vec<Family> {
    const ALL: &[&[u8]] = &[&[], &[0x66], &[0xf3], &[0xf2]];
    const NONE: &[&[u8]] = &[];
    let family =
        |name, opcodes, prefixes, want| Family { name, bits, opcodes, prefixes, want, branch: false };
    let moves =
        (0x10..=0x17).chain([0x28, 0x29, 0x2b, 0x50, 0x6e, 0x6f, 0x7e, 0x7f, 0xd6, 0xd7, 0xe7, 0xf0, 0xf7]);
    let convert = [0x2a, 0x2c, 0x2d, 0x5a, 0x5b, 0xe6];
    let float =
        [0x2e, 0x2f].into_iter().chain(0x51..=0x59).chain(0x5c..=0x5f).chain([0x7c, 0x7d, 0xc2, 0xd0]);
    let lanes = (0x60..=0x6d).chain([0x70, 0xc4, 0xc5, 0xc6]);
    let integer = (0x71..=0x77).chain(0xd1..=0xef).chain(0xf1..=0xfe);
    let three = [0x08..=0x0f, 0x14..=0x17, 0x20..=0x22, 0x40..=0x42].into_iter().flatten();
    vec![
        family("moves", range(&[0x0f], moves), ALL, vector),
        family("convert", range(&[0x0f], convert), ALL, vector),
        family("float", range(&[0x0f], float), ALL, vector),
        family("lanes", range(&[0x0f], lanes), ALL, vector),
        family("integer", range(&[0x0f], integer), ALL, vector),
        family("ssse3", range(&[0x0f, 0x38], (0..=0x0b).chain(0x1c..=0x1e)), &[&[], &[0x66]], vector),
        family("sse4", range(&[0x0f, 0x38], (0x10..=0x17).chain(0x20..=0x41)), &[&[0x66]], vector),
        family("sse4 imm", range(&[0x0f, 0x3a], three), &[&[], &[0x66]], vector),
        family("strings", range(&[0x0f, 0x3a], 0x60..=0x63), &[&[0x66]], vector),
        family("state", vec![vec![0x0f, 0xae]], NONE, state),
        family("x87", range(&[], 0xd8..=0xdf), NONE, exact),
        family("x87 0", range(&[0xd8], 0xc0..=0xff), NONE, exact),
        family("x87 1", range(&[0xd9], 0xc0..=0xff), NONE, exact),
        family("x87 2", [range(&[0xda], 0xc0..=0xff), range(&[0xdb], 0xc0..=0xff)].concat(), NONE, exact),
        family("x87 4", [range(&[0xdc], 0xc0..=0xff), range(&[0xdd], 0xc0..=0xff)].concat(), NONE, exact),
        family(
            "x87 6",
            [range(&[0xde], 0xc0..=0xff), range(&[0xdf], 0xc0..=0xff), vec![vec![0x9b]]].concat(),
            NONE,
            exact,
        ),
    ]
}

#[test]
fn floating_point_and_vector_instructions_do_what_the_host_does() {
    if !intel() {
        println!("skipped: the measure is an Intel core");
        return;
    }
    let (cases, seed) = (number("CASES", 10_000), number("SEED", 1));
    let mut host = Host::new();
    let mut report = String::new();
    for bits in [64, 32] {
        let mut soft = Soft::new(bits);
        for (n, family) in families(bits).iter().enumerate() {
            report += &compare(family, &mut host, &mut soft, cases, seed * 1000 + n as u64);
        }
    }
    assert!(report.is_empty(), "{report}");
}
