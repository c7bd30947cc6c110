//! BMI1, BMI2, LZCNT, TZCNT, ADX and MOVBE on our processor and on the host's, if it has them: the same random registers,
//! flags and memory.
//!
//! Flags that the manuals leave undefined are not compared: the vendors differ, and so any host is a measure. `CASES` in
//! the environment sets the number of cases a family, `SEED` where they start.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[allow(dead_code, reason = "the other families are other tests'")]
mod native;

use hypervisor_soft::CpuModel;
use hypervisor_soft::bare::{self, Bare};
use iced_x86::{Decoder, DecoderOptions, Instruction, Mnemonic, RflagsBits};
use native::cases::{Case, Family, Random};
use native::host::{CODE, DATA, DATA_LEN, End, Host, Regs, TAKEN, TEST};
use native::number;

/// `jmp $`: where our side stops.
const HERE: [u8; 2] = [0xeb, 0xfe];

/// The status flags that an instruction defines, and DF.
fn defined(case: &Case) -> u64 {
    let insn = Decoder::with_ip(case.bits, &case.code, TEST, DecoderOptions::NONE).decode();
    let undefined = insn.rflags_undefined();
    let bits = [
        (RflagsBits::CF, 0),
        (RflagsBits::PF, 2),
        (RflagsBits::AF, 4),
        (RflagsBits::ZF, 6),
        (RflagsBits::SF, 7),
        (RflagsBits::OF, 11),
    ];
    bits.iter().filter(|(bit, _)| undefined & bit == 0).fold(0x400, |all, (_, at)| all | 1 << at)
}

struct Soft(Bare);

impl Soft {
    fn new(bits: u32) -> Soft {
        let mut bare = Bare::new(bits as u8, &[(CODE, 0x1000), (DATA, DATA_LEN as u64)]).unwrap();
        bare.set_cpu(CpuModel::parse("max").unwrap().0);
        bare.write(TAKEN, &HERE);
        Soft(bare)
    }

    fn run(&mut self, case: &Case, memory: &mut [u8]) -> (Regs, End) {
        self.0.write(DATA, memory);
        self.0.write(TEST, &case.code);
        self.0.write(TEST + case.code.len() as u64, &HERE);
        self.0.set_regs(&bare::Regs { gpr: case.regs.gpr, flags: case.regs.flags, rip: TEST });
        let end = self.0.run(1);
        self.0.read(DATA, memory);
        let bare::Regs { gpr, flags, rip } = self.0.regs();
        (Regs { gpr, flags, rip }, if end == bare::End::Count { End::Done } else { End::Fault })
    }
}

/// Every encoding of an instruction that VEX encodes but its operands: map, mandatory prefix, opcode.
fn vex(map: u8, prefix: u8, opcode: u8) -> impl Iterator<Item = Vec<u8>> {
    (0..=255u8).flat_map(move |n| {
        // R, X, B and vvvv are inverted; L is clear.
        let w_and_register = (n & 0x1f) << 3;
        [vec![0xc4, n & 0xe0 | map, w_and_register | prefix, opcode]]
    })
}

fn families(bits: u32) -> Vec<Family> {
    let family =
        |name, opcodes, prefixes, want| Family { name, bits, opcodes, prefixes, want, branch: false };
    let bmi1 = [vex(2, 0, 0xf2), vex(2, 0, 0xf3), vex(2, 0, 0xf7)].into_iter().flatten().collect();
    let bmi2 = [
        vex(2, 0, 0xf5),
        vex(2, 2, 0xf5),
        vex(2, 3, 0xf5),
        vex(2, 3, 0xf6),
        vex(2, 1, 0xf7),
        vex(2, 2, 0xf7),
        vex(2, 3, 0xf7),
        vex(3, 3, 0xf0),
    ];
    let adx = vec![vec![0x0f, 0x38, 0xf6]];
    let counts = vec![vec![0x0f, 0xbc], vec![0x0f, 0xbd]];
    let named = |i: &Instruction| !matches!(i.mnemonic(), Mnemonic::Les | Mnemonic::Lds);
    vec![
        family("bmi1", bmi1, &[], named),
        family("bmi2", bmi2.into_iter().flatten().collect(), &[], named),
        family("counts", counts, &[&[0xf3]], |_| true),
        family("adx", adx, &[&[0xf3], &[0x66]], |i| matches!(i.mnemonic(), Mnemonic::Adcx | Mnemonic::Adox)),
    ]
}

fn differences(case: &Case, soft: &(Regs, End), host: &(Regs, End), ours: &[u8], theirs: &[u8]) -> String {
    let mut out = String::new();
    let (s, h) = (&soft.0, &host.0);
    if soft.1 != host.1 || s.rip != h.rip {
        out += &format!("  ends {:?} at {:#x}, host {:?} at {:#x}\n", soft.1, s.rip, host.1, h.rip);
    }
    for r in (0..16).filter(|r| s.gpr[*r] != h.gpr[*r]) {
        out += &format!("  r{r} was {:#x}: {:#x}, host {:#x}\n", case.regs.gpr[r], s.gpr[r], h.gpr[r]);
    }
    let flags = defined(case);
    if (s.flags ^ h.flags) & flags != 0 {
        let was = case.regs.flags & flags;
        out += &format!("  flags were {was:#x}: {:#x}, host {:#x}\n", s.flags & flags, h.flags & flags);
    }
    if ours != theirs {
        out += "  memory\n";
    }
    out
}

fn compare(family: &Family, host: &mut Host, soft: &mut Soft, cases: u64, seed: u64) -> String {
    let mut rng = Random::new(seed);
    let mut report = String::new();
    let (mut ran, mut bad) = (0, 0);
    host.data().iter_mut().for_each(|b| *b = rng.value() as u8);
    for k in 0..cases as usize {
        let page = rng.below(8) as usize * 0x1000;
        host.data()[page..page + 64].iter_mut().for_each(|b| *b = rng.bits() as u8);
        // Every opcode in turn, and each with all registers.
        let Some(case) = family.case(rng.below(1 << 20) as usize, &mut rng) else { continue };
        let mut memory = host.data().to_vec();
        let ours = soft.run(&case, &mut memory);
        let theirs = host.run(case.bits, &case.code, &case.regs);
        let what = differences(&case, &ours, &theirs, &memory, host.data());
        ran += 1;
        if !what.is_empty() {
            bad += 1;
            if bad <= 5 {
                report += &format!(
                    "{} {} bits, seed {seed}, case {k}: {}\n{what}",
                    family.name, case.bits, case.text
                );
            }
        }
    }
    assert!(ran * 20 > cases, "{}: only {ran} of {cases} cases ran", family.name);
    println!("{:12} {} bits: {ran} cases from seed {seed}, {bad} differ", family.name, family.bits);
    report
}

#[test]
fn bit_instructions_do_what_the_host_does() {
    let all = is_x86_feature_detected!("bmi1")
        && is_x86_feature_detected!("bmi2")
        && is_x86_feature_detected!("lzcnt")
        && is_x86_feature_detected!("adx");
    if !all {
        println!("skipped: the host does not have them");
        return;
    }
    let (cases, seed) = (number("CASES", 20_000), number("SEED", 1));
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
