//! RCPSS and RSQRTSS as Intel's processors answer them: the bits, not only the promised error of 1.5 * 2^-12.
//!
//! Measured over all fractions, the hardware takes the leading 11 (RCP) or 10 (RSQRT) fraction bits, and answers with
//! the true value for the middle of the interval they name, rounded to 12 fraction bits. Other makers' processors
//! differ in the last of these bits. Denormal operands count as zeros, denormal results become zeros.

use crate::softfloat::{Format, Single, is_nan};

const SIGN: u32 = Single::SIGN as u32;
const INFINITY: u32 = Single::INFINITY as u32;
const QUIET: u32 = Single::QUIET as u32;
const INDEFINITE: u32 = Single::INDEFINITE as u32;

/// A result in [0.5, 1) times a power of two; `fixed` is twice it as a fixed-point number with 12 fraction bits.
fn assemble(exponent: u32, fixed: u32) -> u32 {
    exponent << 23 | (fixed & 0xfff) << 11
}

/// About `1 / x`.
pub(crate) fn reciprocal(x: u32) -> u32 {
    let sign = x & SIGN;
    if is_nan::<Single>(u64::from(x)) {
        return x | QUIET;
    }
    match x >> 23 & 0xff {
        0 => sign | INFINITY,
        exponent @ 1..253 => {
            let middle = 4097 + 2 * (x >> 12 & 0x7ff);
            let fixed = ((1 << 26) / middle).div_ceil(2);
            sign | assemble(253 - exponent, fixed)
        }
        _ => sign,
    }
}

/// About `1 / sqrt(x)`.
pub(crate) fn reciprocal_root(x: u32) -> u32 {
    if is_nan::<Single>(u64::from(x)) {
        return x | QUIET;
    }
    match x >> 23 & 0xff {
        0 => x & SIGN | INFINITY,
        _ if x & SIGN != 0 => INDEFINITE,
        255 => 0,
        exponent => {
            let middle = u64::from(2049 + 2 * (x >> 13 & 0x3ff)) << (1 - (exponent & 1));
            let fixed = ((1u64 << 39) / middle).isqrt().div_ceil(2);
            // 126 less half of the unbiased exponent, that rounded down.
            assemble(190 - exponent.div_ceil(2), fixed as u32)
        }
    }
}
