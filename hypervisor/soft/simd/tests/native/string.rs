//! The four string comparisons, with every immediate.

use crate::host::{Random, every_imm};
use crate::{from_xmm, to_xmm};
use simd::string;
use std::arch::asm;
use std::arch::x86_64::__m128i;

const ROUNDS: usize = 300;
/// CF, PF, AF, ZF, SF and OF.
const ARITHMETIC: u64 = 0x8d5;

type Answer = (u128, u64);

/// A host instruction as a function of both strings and lengths (ignored by the implicit forms).
macro_rules! host {
    ($op:literal, $out:tt) => {{
        fn host<const IMM: i32>(a: u128, a_len: i64, b: u128, b_len: i64) -> Answer {
            let (index, flags): (u64, u64);
            let mask: __m128i;
            // SAFETY: computes in the registers it names and reads the flags through the stack.
            unsafe {
                asm!(concat!($op, " xmm1, xmm2, {imm}"), "pushfq", "pop {flags}", imm = const IMM, flags = out(reg) flags,
                    in("xmm1") to_xmm(a), in("xmm2") to_xmm(b), in("rax") a_len, in("rdx") b_len,
                    lateout("rcx") index, lateout("xmm0") mask);
            }
            (host!(@ $out (u128::from(index)) (from_xmm(mask))), flags & ARITHMETIC)
        }
        const HOST: [fn(u128, i64, u128, i64) -> Answer; 256] = every_imm!(host);
        &HOST
    }};
    (@ index $index:tt $mask:tt) => {{ let _ = $mask; $index }};
    (@ mask $index:tt $mask:tt) => {{ let _ = $index; $mask }};
}

/// A string of few letters, now and then with a zero in it or words of bytes.
fn text(rng: &mut Random) -> u128 {
    let letters = rng.pick(&[2, 3, 6]);
    match rng.below(5) {
        0 => rng.register(),
        1 => (0..8).fold(0, |v, _| v << 16 | u128::from(rng.below(letters))),
        2 => (0..8).fold(0, |v, _| v << 16 | u128::from((rng.below(letters) + 1) | (rng.below(2) << 15))),
        3 => (0..16).fold(0, |v, _| v << 8 | u128::from(rng.below(letters) + 1)),
        _ => (0..16).fold(0, |v, _| v << 8 | u128::from(rng.below(letters) | rng.below(2) << 7)),
    }
}

fn length(rng: &mut Random) -> i64 {
    match rng.below(8) {
        0 => i64::from(rng.next() as i32),
        1 => rng.pick(&[i64::from(i32::MIN), i64::from(i32::MAX), 16, -16, 8, -8]),
        _ => rng.below(40) as i64 - 20,
    }
}

#[test]
fn compare_strings() {
    let mut rng = Random::new();
    type Ours = fn(u128, i64, u128, i64, u8) -> Answer;
    type Theirs = fn(u128, i64, u128, i64) -> Answer;
    let forms: [(&str, Ours, &[Theirs; 256]); 4] = [
        ("pcmpestri", |a, m, b, n, imm| widen(string::pcmpestri(a, m, b, n, imm)), host!("pcmpestri", index)),
        ("pcmpestrm", |a, m, b, n, imm| widen(string::pcmpestrm(a, m, b, n, imm)), host!("pcmpestrm", mask)),
        ("pcmpistri", |a, _, b, _, imm| widen(string::pcmpistri(a, b, imm)), host!("pcmpistri", index)),
        ("pcmpistrm", |a, _, b, _, imm| widen(string::pcmpistrm(a, b, imm)), host!("pcmpistrm", mask)),
    ];
    for (name, ours, hosts) in forms {
        for imm in 0..=255u8 {
            for _ in 0..ROUNDS {
                let (a, b, m, n) = (text(&mut rng), text(&mut rng), length(&mut rng), length(&mut rng));
                assert_eq!(
                    ours(a, m, b, n, imm),
                    hosts[usize::from(imm)](a, m, b, n),
                    "{name} {a:#034x} {m} {b:#034x} {n} {imm:#x} seed {}",
                    rng.seed
                );
            }
        }
    }
}

fn widen<T: Into<u128>>((result, flags): (T, u32)) -> Answer {
    (result.into(), u64::from(flags))
}
