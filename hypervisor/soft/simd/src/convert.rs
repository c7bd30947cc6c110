//! Conversions between integers and the two floating-point formats.
//!
//! Names with `tt` truncate, the others round as MXCSR says. The source's memory form is narrower than a register for
//! several (CVTPS2PD reads 64 bits): the caller zero-extends it. Common values go to the host, as in [`crate::float`].

use crate::env::{Flags, FpEnv, Rounding};
use crate::lanes::{join, split};
use crate::pack::{movsd, movss};
use crate::softfloat::{self, Double, Single};

fn single(cx: &mut FpEnv, value: i64) -> u32 {
    softfloat::from_int::<Single>(cx, value) as u32
}

fn double(cx: &mut FpEnv, value: i64) -> u64 {
    if value.unsigned_abs() <= 1 << 53 {
        return (value as f64).to_bits();
    }
    softfloat::from_int::<Double>(cx, value)
}

fn widen(cx: &mut FpEnv, value: u32) -> u64 {
    let host = f32::from_bits(value);
    if host.is_normal() {
        return f64::from(host).to_bits();
    }
    softfloat::convert::<Single, Double>(cx, u64::from(value))
}

fn narrow(cx: &mut FpEnv, value: u64) -> u32 {
    let host = f64::from_bits(value);
    let rounded = host as f32;
    // Above the smallest normal number rounding cannot have hidden an underflow.
    if cx.is_plain() && rounded.is_normal() && rounded.abs() > f32::MIN_POSITIVE {
        if f64::from(rounded) != host {
            cx.raise(Flags::PE);
        }
        return rounded.to_bits();
    }
    softfloat::convert::<Double, Single>(cx, value) as u32
}

fn single_to_i32(cx: &mut FpEnv, value: u32, mode: Rounding) -> i32 {
    softfloat::to_int::<Single>(cx, u64::from(value), 32, mode) as i32
}

fn double_to_i32(cx: &mut FpEnv, value: u64, mode: Rounding) -> i32 {
    let host = f64::from_bits(value);
    if mode == Rounding::Zero && host.is_normal() && host.abs() < f64::from(i32::MAX) {
        if f64::from(host as i32) != host {
            cx.raise(Flags::PE);
        }
        return host as i32;
    }
    softfloat::to_int::<Double>(cx, value, 32, mode) as i32
}

/// Two single-precision lanes to double precision.
pub fn cvtps2pd(cx: &mut FpEnv, b: u128) -> u128 {
    let [p, q, ..] = split::<u32, 4, u128>(b);
    join([p, q].map(|x| widen(cx, x)))
}

/// Two double-precision lanes to single precision; the upper half becomes zero.
pub fn cvtpd2ps(cx: &mut FpEnv, b: u128) -> u128 {
    u128::from(join::<u32, 2, u64>(split::<u64, 2, u128>(b).map(|x| narrow(cx, x))))
}

/// The low single-precision lane to double precision; the upper half is that of `a`.
pub fn cvtss2sd(cx: &mut FpEnv, a: u128, b: u128) -> u128 {
    movsd(a, u128::from(widen(cx, b as u32)))
}

/// The low double-precision lane to single precision; the other lanes are those of `a`.
pub fn cvtsd2ss(cx: &mut FpEnv, a: u128, b: u128) -> u128 {
    movss(a, u128::from(narrow(cx, b as u64)))
}

/// Four signed doublewords to single precision.
pub fn cvtdq2ps(cx: &mut FpEnv, b: u128) -> u128 {
    join(split::<i32, 4, u128>(b).map(|x| single(cx, i64::from(x))))
}

/// Two signed doublewords to double precision (exact).
pub fn cvtdq2pd(b: u128) -> u128 {
    cvtpi2pd(b as u64)
}

/// Two signed doublewords of an MMX register to double precision (exact).
pub fn cvtpi2pd(b: u64) -> u128 {
    join(split::<i32, 2, u64>(b).map(|x| f64::from(x).to_bits()))
}

/// Two signed doublewords of an MMX register to single precision; the upper half is that of `a`.
pub fn cvtpi2ps(cx: &mut FpEnv, a: u128, b: u64) -> u128 {
    let low = join::<u32, 2, u64>(split::<i32, 2, u64>(b).map(|x| single(cx, i64::from(x))));
    movsd(a, u128::from(low))
}

/// A signed doubleword to single precision; the other lanes are those of `a`.
pub fn cvtsi2ss_32(cx: &mut FpEnv, a: u128, b: i32) -> u128 {
    cvtsi2ss_64(cx, a, i64::from(b))
}

/// A signed quadword to single precision; the other lanes are those of `a`.
pub fn cvtsi2ss_64(cx: &mut FpEnv, a: u128, b: i64) -> u128 {
    movss(a, u128::from(single(cx, b)))
}

/// A signed doubleword to double precision (exact); the upper half is that of `a`.
pub fn cvtsi2sd_32(_: &mut FpEnv, a: u128, b: i32) -> u128 {
    movsd(a, u128::from(f64::from(b).to_bits()))
}

/// A signed quadword to double precision; the upper half is that of `a`.
pub fn cvtsi2sd_64(cx: &mut FpEnv, a: u128, b: i64) -> u128 {
    movsd(a, u128::from(double(cx, b)))
}

/// Defines conversions to signed integers in pairs: rounding as MXCSR says, and truncating. What does not fit, and
/// NaNs, give the least integer and are invalid.
macro_rules! to_integers {
    ($($what:literal: $rounding:ident $truncating:ident ($cx:ident, $b:ident: $from:ty, $mode:ident) -> $to:ty $body:block)+) => {$(
        #[doc = concat!($what, ", rounded as MXCSR says.")]
        pub fn $rounding($cx: &mut FpEnv, $b: $from) -> $to {
            let $mode = $cx.rounding();
            $body
        }

        #[doc = concat!($what, ", truncated.")]
        pub fn $truncating($cx: &mut FpEnv, $b: $from) -> $to {
            let $mode = Rounding::Zero;
            $body
        }
    )+};
}

to_integers! {
    "Four single-precision lanes to signed doublewords": cvtps2dq cvttps2dq (cx, b: u128, mode) -> u128 {
        join(split::<u32, 4, u128>(b).map(|x| single_to_i32(cx, x, mode)))
    }
    "Two double-precision lanes to signed doublewords, the upper half zero": cvtpd2dq cvttpd2dq (cx, b: u128, mode) -> u128 {
        u128::from(join::<i32, 2, u64>(split::<u64, 2, u128>(b).map(|x| double_to_i32(cx, x, mode))))
    }
    "Two single-precision lanes to signed doublewords of an MMX register": cvtps2pi cvttps2pi (cx, b: u128, mode) -> u64 {
        join(split::<u32, 2, u64>(b as u64).map(|x| single_to_i32(cx, x, mode)))
    }
    "Two double-precision lanes to signed doublewords of an MMX register": cvtpd2pi cvttpd2pi (cx, b: u128, mode) -> u64 {
        join(split::<u64, 2, u128>(b).map(|x| double_to_i32(cx, x, mode)))
    }
    "The low single-precision lane to a signed doubleword": cvtss2si_32 cvttss2si_32 (cx, b: u128, mode) -> i32 {
        single_to_i32(cx, b as u32, mode)
    }
    "The low single-precision lane to a signed quadword": cvtss2si_64 cvttss2si_64 (cx, b: u128, mode) -> i64 {
        softfloat::to_int::<Single>(cx, u64::from(b as u32), 64, mode)
    }
    "The low double-precision lane to a signed doubleword": cvtsd2si_32 cvttsd2si_32 (cx, b: u128, mode) -> i32 {
        double_to_i32(cx, b as u64, mode)
    }
    "The low double-precision lane to a signed quadword": cvtsd2si_64 cvttsd2si_64 (cx, b: u128, mode) -> i64 {
        softfloat::to_int::<Double>(cx, b as u64, 64, mode)
    }
}
