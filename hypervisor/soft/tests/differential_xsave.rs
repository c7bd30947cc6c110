//! XSAVE, XSAVEOPT, XSAVEC, XRSTOR and XGETBV with the upper halves of YMM registers, on our processor and on the
//! host's: any components asked for, any in use, areas that lie or lack alignment.
//!
//! Which components a processor takes for unused is its own, but for those that are as after reset by XRSTOR. The x87
//! unit is empty: it has tests of its own. `CASES` in the environment sets the number of cases, `SEED` where they start.

#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

#[allow(dead_code, reason = "the other families are other tests'")]
mod native;

use std::arch::x86_64::__cpuid_count;

use native::cases::{Case, Random};
use native::host::{DATA, End, Host, Regs};
use native::number;
use native::wide::{Left, MXCSR, Soft, XMM, XSTATE_BV, YMM, both, differences, image};

/// Where the areas lie.
const AREA: u64 = DATA + 0x1000;
/// Offset of XCOMP_BV.
const XCOMP_BV: usize = XSTATE_BV + 8;

/// XSAVE, XSAVEOPT, XSAVEC and XRSTOR of [RSI], with REX.W and without; XGETBV.
const CODES: [&[u8]; 9] = [
    &[0x0f, 0xae, 0x26],
    &[0x48, 0x0f, 0xae, 0x26],
    &[0x0f, 0xae, 0x36],
    &[0x48, 0x0f, 0xae, 0x36],
    &[0x0f, 0xc7, 0x26],
    &[0x48, 0x0f, 0xc7, 0x26],
    &[0x0f, 0xae, 0x2e],
    &[0x48, 0x0f, 0xae, 0x2e],
    &[0x0f, 0x01, 0xd0],
];

fn is_load(code: &[u8]) -> bool {
    code[code.len() - 1] == 0x2e
}

/// Something to restore, mostly in order.
fn area(rng: &mut Random) -> Vec<u8> {
    let mut out = image(rng).to_vec();
    let compacted = rng.below(2) == 0;
    let (present, components) = (rng.below(8), rng.below(8));
    let present = if compacted { present & components } else { present };
    out[XSTATE_BV] = present as u8;
    if compacted {
        out[XCOMP_BV] = components as u8;
        out[XCOMP_BV + 7] = 0x80;
    }
    match rng.below(12) {
        // Reserved bits of the header, components that no host has, bits of MXCSR.
        0 => out[XSTATE_BV + 2 + rng.below(62) as usize] ^= 1 << rng.below(8),
        1 => out[XCOMP_BV] ^= 1 << rng.below(5),
        // Bit 17 is AMD's.
        2 => out[26 + rng.below(2) as usize] = rng.bits() as u8 & !2,
        _ => {}
    }
    out
}

/// What a processor left without what is its own: whether SSE, which is as after reset, counts as used, the mask of
/// MXCSR and the components that we do not have.
fn of_every_model(code: &[u8], regs: &Regs, left: &mut Left, start: usize) {
    let area = &mut left.memory[start..start + YMM];
    if is_load(code) || left.end == End::Fault {
        return;
    }
    if code[1] == 1 {
        left.regs.gpr[0] = left.regs.gpr[0] & 5 | 2;
        return;
    }
    let asked = regs.gpr[0] as u8;
    if asked & 6 != 0 {
        area[28..32].fill(0);
    }
    if asked & 2 != 0 && area[XSTATE_BV] & 2 == 0 {
        area[XSTATE_BV] |= 2;
        area[XMM..XMM + 256].fill(0);
        if code[code.len() - 2] == 0xc7 {
            area[MXCSR..MXCSR + 4].copy_from_slice(&0x1f80u32.to_le_bytes());
        }
    }
}

#[test]
fn the_state_is_saved_and_restored_as_on_the_host() {
    // XSAVEOPT, XSAVEC and XGETBV of what is in use.
    if __cpuid_count(1, 0).ecx >> 27 & 1 == 0 || __cpuid_count(0xd, 1).eax & 7 != 7 {
        println!("skipped: the host does not have them");
        return;
    }
    let (cases, seed) = (number("CASES", 10_000), number("SEED", 1));
    let mut rng = Random::new(seed);
    let (mut soft, mut host) = (Soft::new(64), Host::new());
    let (mut report, mut faults) = (String::new(), 0);
    for n in 0..cases {
        let code = CODES[rng.below(CODES.len() as u64) as usize];
        let mut before = image(&mut rng);
        before[XSTATE_BV] = rng.below(8) as u8;
        let mut regs = Regs { flags: 0x202, ..Regs::default() };
        // Components above are the host's alone.
        regs.gpr[0] = if rng.below(8) == 0 { rng.bits() & !0xf_fff8 } else { rng.below(8) };
        regs.gpr[2] = if rng.below(8) == 0 { rng.bits() } else { 0 };
        regs.gpr[1] = if rng.below(8) == 0 { rng.below(3) } else { 1 };
        regs.gpr[6] = AREA + if rng.below(16) == 0 { rng.below(64) } else { 0 };
        let start = regs.gpr[6] as usize - DATA as usize;
        let bytes = if is_load(code) { area(&mut rng) } else { (0..832).map(|_| rng.bits() as u8).collect() };
        host.data()[start..start + bytes.len()].copy_from_slice(&bytes);
        let case = Case { bits: 64, text: format!("{code:02x?}"), code: code.into(), regs };
        let mut sides = both(&mut soft, &mut host, &case, &before, true);
        for side in &mut sides {
            of_every_model(code, &case.regs, side, start);
        }
        faults += u64::from(sides[0].end == End::Fault);
        let what = differences(64, &before, &sides, 0);
        if !what.is_empty() {
            report += &format!(
                "seed {seed}, case {n}: {}, eax {:#x}, ecx {:#x}, in use {:#x}, header {:02x?}\n{what}",
                case.text,
                case.regs.gpr[0],
                case.regs.gpr[1],
                before[XSTATE_BV],
                &bytes[XSTATE_BV..XSTATE_BV + 24],
            );
        }
    }
    println!("{cases} cases, {faults} faults");
    assert!(faults * 50 > cases && faults * 2 < cases);
    assert!(report.is_empty(), "{report}");
}
