//! Our processor against the host's: the same instructions on the same random registers, flags and memory.
//!
//! Flags that the manuals leave undefined are compared too: the measure is an Intel core, and on other hosts these
//! tests are skipped. `CASES` in the environment sets the number of cases a family, `SEED` where they start.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

mod native;

use hypervisor_soft::bare::{self, Bare};
use native::cases::{Case, Family, Random};
use native::families;
use native::host::{CODE, DATA, DATA_LEN, End, Host, Regs, TAKEN, TEST};
use native::{intel, number};

/// `jmp $`: where both sides stop.
const HERE: [u8; 2] = [0xeb, 0xfe];
/// Status flags and DF.
const FLAGS: u64 = 0x8d5 | 0x400;

struct Soft(Bare);

impl Soft {
    fn new(bits: u32) -> Soft {
        let mut bare = Bare::new(bits as u8, &[(CODE, 0x1000), (DATA, DATA_LEN as u64)]).unwrap();
        bare.write(TAKEN, &HERE);
        if std::env::var("CPU_TIER").as_deref() == Ok("2") {
            bare.translate(1).unwrap();
        }
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

/// What differs, in words; empty when nothing does.
fn differences(case: &Case, soft: &(Regs, End), host: &(Regs, End), ours: &[u8], theirs: &[u8]) -> String {
    let mut out = String::new();
    let (s, h) = (&soft.0, &host.0);
    if soft.1 != host.1 {
        out += &format!("  ends {:?}, host {:?}\n", soft.1, host.1);
    }
    for r in 0..16 {
        if s.gpr[r] != h.gpr[r] {
            out += &format!("  r{r} was {:#x}: {:#x}, host {:#x}\n", case.regs.gpr[r], s.gpr[r], h.gpr[r]);
        }
    }
    if (s.flags ^ h.flags) & FLAGS != 0 {
        let was = case.regs.flags & FLAGS;
        out += &format!("  flags were {was:#x}: {:#x}, host {:#x}\n", s.flags & FLAGS, h.flags & FLAGS);
    }
    if s.rip != h.rip {
        out += &format!("  rip {:#x}, host {:#x}\n", s.rip, h.rip);
    }
    if ours != theirs {
        let at = ours.iter().zip(theirs).position(|(a, b)| a != b).unwrap_or(0);
        out += &format!("  memory at {:#x}: {:#x}, host {:#x}\n", DATA as usize + at, ours[at], theirs[at]);
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
        let Some(case) = family.case(k, &mut rng) else { continue };
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
    assert!(ran * 10 > cases, "{}: only {ran} of {cases} cases ran", family.name);
    println!("{:12} {} bits: {ran} cases from seed {seed}, {bad} differ", family.name, family.bits);
    report
}

#[test]
fn integer_instructions_do_what_the_host_does() {
    if !intel() {
        println!("skipped: the measure is an Intel core");
        return;
    }
    let (cases, seed) = (number("CASES", 10_000), number("SEED", 1));
    let mut host = Host::new();
    let mut report = String::new();
    for (bits, families) in [(64, families::long()), (32, families::legacy())] {
        let mut soft = Soft::new(bits);
        for (n, family) in families.iter().enumerate() {
            report += &compare(family, &mut host, &mut soft, cases, seed * 1000 + n as u64);
        }
    }
    assert!(report.is_empty(), "{report}");
}
