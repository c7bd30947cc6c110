//! Comparisons by all 32 predicates of AVX (SDM volume 2, CMPPD).

use crate::env::FpEnv;
use crate::float::Host;
use crate::lanes::{join, split};
use crate::softfloat::{self, Double, Single};
use std::cmp::Ordering;

/// For the low four bits of a predicate, where it holds: less 1, equal 2, greater 4, unordered 8.
const HOLDS: [u8; 16] = [2, 1, 3, 8, 13, 14, 12, 7, 10, 9, 11, 0, 5, 6, 4, 15];
/// Predicates below 16 for which a quiet NaN is invalid; from 16 on it is the other way round.
const SIGNALS: u16 = 0b0110_0110_0110_0110;

fn test<F: Host>(cx: &mut FpEnv, a: F::Bits, b: F::Bits, imm: u8) -> bool {
    let signal_quiet = (SIGNALS >> (imm & 15) & 1 != 0) != (imm & 16 != 0);
    let at = match softfloat::compare::<F>(cx, F::wide(a), F::wide(b), signal_quiet) {
        Some(Ordering::Less) => 1,
        Some(Ordering::Equal) => 2,
        Some(Ordering::Greater) => 4,
        None => 8,
    };
    HOLDS[usize::from(imm & 15)] & at != 0
}

/// Compare four single-precision lanes by one of 32 predicates.
pub fn vcmpps(cx: &mut FpEnv, a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (split::<u32, 4, u128>(a), split::<u32, 4, u128>(b));
    join::<u32, 4, u128>(std::array::from_fn(
        |n| if test::<Single>(cx, a[n], b[n], imm) { u32::MAX } else { 0 },
    ))
}

/// Compare two double-precision lanes.
pub fn vcmppd(cx: &mut FpEnv, a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (split::<u64, 2, u128>(a), split::<u64, 2, u128>(b));
    join::<u64, 2, u128>(std::array::from_fn(
        |n| if test::<Double>(cx, a[n], b[n], imm) { u64::MAX } else { 0 },
    ))
}

/// Compare the low single-precision lanes; the others are those of `a`.
pub fn vcmpss(cx: &mut FpEnv, a: u128, b: u128, imm: u8) -> u128 {
    let r = if test::<Single>(cx, a as u32, b as u32, imm) { u32::MAX } else { 0 };
    crate::pack::movss(a, u128::from(r))
}

/// Compare the low double-precision lanes; the other is that of `a`.
pub fn vcmpsd(cx: &mut FpEnv, a: u128, b: u128, imm: u8) -> u128 {
    let r = if test::<Double>(cx, a as u64, b as u64, imm) { u64::MAX } else { 0 };
    crate::pack::movsd(a, u128::from(r))
}
