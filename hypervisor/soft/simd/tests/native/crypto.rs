//! AES, PCLMULQDQ and SHA, where the host has them.

use crate::host::{Random, every_imm, host};
use crate::{from_xmm, to_xmm};
use simd::crypto;
use std::arch::asm;

const ROUNDS: usize = 20_000;
const IMM_ROUNDS: usize = 100;

macro_rules! binary {
    ($($op:ident)+) => {
        let mut rng = Random::new();
        $(
            let host = host!(xmm xmm: $op);
            for _ in 0..ROUNDS {
                let (a, b) = rng.pair();
                assert_eq!(crypto::$op(a, b), host(a, b), "{} {a:#x} {b:#x} seed {}", stringify!($op), rng.seed);
            }
        )+
    };
}

macro_rules! with_imm {
    ($($op:ident)+) => {
        let mut rng = Random::new();
        $(
            let hosts = host!(xmm xmm imm: $op);
            for imm in 0..=255u8 {
                for _ in 0..IMM_ROUNDS {
                    let (a, b) = rng.pair();
                    let theirs = hosts[usize::from(imm)](a, b);
                    assert_eq!(crypto::$op(a, b, imm), theirs, "{} {a:#x} {b:#x} {imm}", stringify!($op));
                }
            }
        )+
    };
}

#[test]
fn aes() {
    if !is_x86_feature_detected!("aes") || !is_x86_feature_detected!("pclmulqdq") {
        return println!("skipped: the host has no AES");
    }
    binary! { aesenc aesenclast aesdec aesdeclast }
    with_imm! { pclmulqdq }
    let mut rng = Random::new();
    let imc = host!(xmm xmm: aesimc);
    let assist = host!(xmm xmm imm: aeskeygenassist);
    for n in 0..ROUNDS {
        let (a, b) = rng.pair();
        assert_eq!(crypto::aesimc(b), imc(a, b), "{b:#x}");
        assert_eq!(crypto::aeskeygenassist(b, n as u8), assist[n % 256](a, b), "{b:#x} {n}");
    }
}

#[test]
fn sha() {
    if !is_x86_feature_detected!("sha") {
        return println!("skipped: the host has no SHA");
    }
    binary! { sha1nexte sha1msg1 sha1msg2 sha256msg1 sha256msg2 }
    with_imm! { sha1rnds4 }
    let mut rng = Random::new();
    let rounds = host!(xmm xmm xmm0: sha256rnds2);
    for _ in 0..ROUNDS {
        let ((a, b), message) = (rng.pair(), rng.register());
        assert_eq!(crypto::sha256rnds2(a, b, message), rounds(a, b, message), "{a:#x} {b:#x} {message:#x}");
    }
}
