//! IEEE 754 arithmetic on bit patterns in every mode of MXCSR: the slow path, and the definition, of all operations.
//!
//! A finite number other than zero is unpacked into sign, exponent and a 64-bit significand whose top bit is set; each
//! operation computes such a number with a sticky last bit, and [`round`] alone turns it into a result and flags.

use crate::env::{Flags, FpEnv, Rounding};
use std::cmp::Ordering;

/// A binary interchange format; bit patterns are held in the low bits of a `u64`.
pub(crate) trait Format {
    /// Bits of the fraction.
    const FRACTION: u32;
    /// Bits of the whole format.
    const WIDTH: u32;

    const SIGN: u64 = 1 << (Self::WIDTH - 1);
    const HIDDEN: u64 = 1 << Self::FRACTION;
    const INFINITY: u64 = Self::SIGN - Self::HIDDEN;
    const QUIET: u64 = Self::HIDDEN >> 1;
    /// The real indefinite: what an invalid operation gives.
    const INDEFINITE: u64 = Self::SIGN | Self::INFINITY | Self::QUIET;
    const BIAS: i32 = (1 << (Self::WIDTH - Self::FRACTION - 2)) - 1;
    /// Exponent of the smallest normal number.
    const MIN_EXP: i32 = 1 - Self::BIAS;
}

/// Single precision.
pub(crate) struct Single;
impl Format for Single {
    const FRACTION: u32 = 23;
    const WIDTH: u32 = 32;
}

/// Double precision.
pub(crate) struct Double;
impl Format for Double {
    const FRACTION: u32 = 52;
    const WIDTH: u32 = 64;
}

/// Half precision.
pub(crate) struct Half;
impl Format for Half {
    const FRACTION: u32 = 10;
    const WIDTH: u32 = 16;
}

pub(crate) fn magnitude<F: Format>(x: u64) -> u64 {
    x & !F::SIGN
}

pub(crate) fn is_nan<F: Format>(x: u64) -> bool {
    magnitude::<F>(x) > F::INFINITY
}

fn is_signaling<F: Format>(x: u64) -> bool {
    is_nan::<F>(x) && x & F::QUIET == 0
}

fn is_infinite<F: Format>(x: u64) -> bool {
    magnitude::<F>(x) == F::INFINITY
}

pub(crate) fn is_denormal<F: Format>(x: u64) -> bool {
    magnitude::<F>(x).wrapping_sub(1) < F::HIDDEN - 1
}

/// The operand as DAZ makes it.
fn operand<F: Format>(cx: &FpEnv, x: u64) -> u64 {
    if cx.daz() && is_denormal::<F>(x) { x & F::SIGN } else { x }
}

fn invalid<F: Format>(cx: &mut FpEnv) -> u64 {
    cx.raise(Flags::IE);
    F::INDEFINITE
}

/// The result if an operand is a NaN: the first that is one, made quiet.
fn propagate<F: Format>(cx: &mut FpEnv, a: u64, b: u64) -> Option<u64> {
    if is_signaling::<F>(a) || is_signaling::<F>(b) {
        cx.raise(Flags::IE);
    }
    [a, b].into_iter().find(|&x| is_nan::<F>(x)).map(|x| x | F::QUIET)
}

fn note_denormal<F: Format>(cx: &mut FpEnv, x: u64) {
    if is_denormal::<F>(x) {
        cx.raise(Flags::DE);
    }
}

/// A finite number other than zero: `significand / 2^63 * 2^exp`, top bit of the significand set.
#[derive(Clone, Copy)]
struct Number {
    negative: bool,
    exp: i32,
    significand: u64,
}

impl Number {
    /// The number of a finite bit pattern; `None` for zeros.
    fn unpack<F: Format>(x: u64) -> Option<Self> {
        let magnitude = magnitude::<F>(x);
        let fraction = magnitude & (F::HIDDEN - 1);
        let (fraction, exp) = match (magnitude >> F::FRACTION) as i32 {
            0 if fraction == 0 => return None,
            0 => (fraction, F::MIN_EXP),
            e => (fraction | F::HIDDEN, e - F::BIAS),
        };
        let shift = fraction.leading_zeros();
        let top = 63 - F::FRACTION;
        Some(Self {
            negative: x & F::SIGN != 0,
            exp: exp + top as i32 - shift as i32,
            significand: fraction << shift,
        })
    }

    /// The number `value / 2^127 * 2^exp`, lost bits kept as the sticky last bit; `None` if it is zero.
    fn new(negative: bool, exp: i32, value: u128) -> Option<Self> {
        let shift = value.leading_zeros();
        let value = value.checked_shl(shift)?;
        let significand = (value >> 64) as u64 | u64::from(value as u64 != 0);
        Some(Self { negative, exp: exp - shift as i32, significand })
    }
}

/// `value` shifted right and rounded to an integer; also whether that was inexact. `value` is not zero.
fn shift_and_round(value: u64, shift: u32, negative: bool, mode: Rounding) -> (u64, bool) {
    let (kept, half, rest) = match shift {
        0 => return (value, false),
        1..64 => (value >> shift, value >> (shift - 1) & 1 != 0, value << 1 << (64 - shift) != 0),
        64 => (0, value >> 63 != 0, value << 1 != 0),
        _ => (0, false, true),
    };
    let inexact = half || rest;
    let up = match mode {
        Rounding::Nearest => half && (rest || kept & 1 != 0),
        Rounding::Down => inexact && negative,
        Rounding::Up => inexact && !negative,
        Rounding::Zero => false,
    };
    (kept + u64::from(up), inexact)
}

/// Rounds a number into the format: overflow, underflow (tininess after rounding), flush to zero, inexact.
fn round<F: Format>(cx: &mut FpEnv, number: Number) -> u64 {
    let Number { negative, exp, significand } = number;
    let sign = if negative { F::SIGN } else { 0 };
    let mode = cx.rounding();
    let excess = 63 - F::FRACTION;
    let (mut fraction, mut inexact) = shift_and_round(significand, excess, negative, mode);
    let exp_rounded = exp + i32::from(fraction == F::HIDDEN << 1);
    if exp_rounded < F::MIN_EXP {
        let masked = cx.masked(Flags::UE);
        if masked && cx.mxcsr & Flags::FTZ != 0 {
            cx.raise(Flags::UE | Flags::PE);
            return sign;
        }
        if !masked {
            // The handler of an unmasked underflow is told whether the result with an unbounded exponent was exact.
            cx.raise(if inexact { Flags::UE | Flags::PE } else { Flags::UE });
            return sign;
        }
        (fraction, inexact) =
            shift_and_round(significand, excess.saturating_add_signed(F::MIN_EXP - exp), negative, mode);
        if inexact {
            cx.raise(Flags::UE | Flags::PE);
        }
        // A fraction that rounds up to HIDDEN is the encoding of the smallest normal number.
        return sign | fraction;
    }
    if inexact {
        cx.raise(Flags::PE);
    }
    if exp_rounded > F::BIAS {
        cx.raise(if cx.masked(Flags::OE) { Flags::OE | Flags::PE } else { Flags::OE });
        let infinite = match mode {
            Rounding::Nearest => true,
            Rounding::Down => negative,
            Rounding::Up => !negative,
            Rounding::Zero => false,
        };
        return sign | (F::INFINITY - u64::from(!infinite));
    }
    // A carry out of the fraction leaves HIDDEN set one place higher and the fraction zero.
    sign | ((exp_rounded + F::BIAS) as u64) << F::FRACTION | fraction & (F::HIDDEN - 1)
}

pub(crate) fn add<F: Format>(cx: &mut FpEnv, a: u64, b: u64) -> u64 {
    let (a, b) = (operand::<F>(cx, a), operand::<F>(cx, b));
    if let Some(nan) = propagate::<F>(cx, a, b) {
        return nan;
    }
    if is_infinite::<F>(a) && is_infinite::<F>(b) && a != b {
        return invalid::<F>(cx);
    }
    note_denormal::<F>(cx, a);
    note_denormal::<F>(cx, b);
    if is_infinite::<F>(a) {
        return a;
    }
    if is_infinite::<F>(b) {
        return b;
    }
    let sum = match (Number::unpack::<F>(a), Number::unpack::<F>(b)) {
        (None, None) if a == b => return a,
        (None, None) => None,
        (Some(x), None) | (None, Some(x)) => Some(x),
        (Some(x), Some(y)) => add_numbers(x, y),
    };
    match sum {
        Some(sum) => round::<F>(cx, sum),
        None if cx.rounding() == Rounding::Down => F::SIGN,
        None => 0,
    }
}

fn add_numbers(x: Number, y: Number) -> Option<Number> {
    let (x, y) = if (x.exp, x.significand) < (y.exp, y.significand) { (y, x) } else { (x, y) };
    // Two bits of room for the carry; a distance that loses bits leaves them as the sticky bit.
    let (big, small) = (u128::from(x.significand) << 62, u128::from(y.significand) << 62);
    let distance = (x.exp - y.exp) as u32;
    let aligned = small.checked_shr(distance).unwrap_or(0);
    let lost = aligned.checked_shl(distance).unwrap_or(0) != small;
    let aligned = aligned | u128::from(lost);
    let value = if x.negative == y.negative { big + aligned } else { big - aligned };
    Number::new(x.negative, x.exp + 2, value)
}

pub(crate) fn sub<F: Format>(cx: &mut FpEnv, a: u64, b: u64) -> u64 {
    add::<F>(cx, a, if is_nan::<F>(b) { b } else { b ^ F::SIGN })
}

pub(crate) fn mul<F: Format>(cx: &mut FpEnv, a: u64, b: u64) -> u64 {
    let (a, b) = (operand::<F>(cx, a), operand::<F>(cx, b));
    if let Some(nan) = propagate::<F>(cx, a, b) {
        return nan;
    }
    let sign = (a ^ b) & F::SIGN;
    if is_infinite::<F>(a) || is_infinite::<F>(b) {
        if magnitude::<F>(a) == 0 || magnitude::<F>(b) == 0 {
            return invalid::<F>(cx);
        }
        note_denormal::<F>(cx, a);
        note_denormal::<F>(cx, b);
        return sign | F::INFINITY;
    }
    note_denormal::<F>(cx, a);
    note_denormal::<F>(cx, b);
    let (Some(x), Some(y)) = (Number::unpack::<F>(a), Number::unpack::<F>(b)) else {
        return sign;
    };
    let value = u128::from(x.significand) * u128::from(y.significand);
    Number::new(sign != 0, x.exp + y.exp + 1, value).map_or(sign, |n| round::<F>(cx, n))
}

/// A product, or a number to be added to it: `value / 2^127 * 2^exp`, top bit of `value` set and the lowest 22 clear.
struct Wide {
    negative: bool,
    exp: i32,
    value: u128,
}

fn add_wide(x: Wide, y: Wide) -> Option<Number> {
    let (x, y) = if (x.exp, x.value) < (y.exp, y.value) { (y, x) } else { (x, y) };
    // As in `add_numbers`.
    let (big, small) = (x.value >> 2, y.value >> 2);
    let distance = (x.exp - y.exp) as u32;
    let aligned = small.checked_shr(distance).unwrap_or(0);
    let lost = aligned.checked_shl(distance).unwrap_or(0) != small;
    let aligned = aligned | u128::from(lost);
    let value = if x.negative == y.negative { big + aligned } else { big - aligned };
    Number::new(x.negative, x.exp + 2, value)
}

/// `x * y + z` rounded once, the product or the addend negated if asked. NaNs are taken as they are: of several the
/// first in the order of the arguments.
pub(crate) fn fma<F: Format>(cx: &mut FpEnv, x: u64, y: u64, z: u64, minus: bool, less: bool) -> u64 {
    let (x, y, z) = (operand::<F>(cx, x), operand::<F>(cx, y), operand::<F>(cx, z));
    let zero = |v: u64| magnitude::<F>(v) == 0;
    if let Some(nan) = propagate_three::<F>(cx, x, y, z) {
        return nan;
    }
    let product_sign = (x ^ y) & F::SIGN ^ if minus { F::SIGN } else { 0 };
    let z = if less { z ^ F::SIGN } else { z };
    let infinite_product = is_infinite::<F>(x) || is_infinite::<F>(y);
    let clash = infinite_product && is_infinite::<F>(z) && z & F::SIGN != product_sign;
    if infinite_product && (zero(x) || zero(y)) || clash {
        return invalid::<F>(cx);
    }
    for v in [x, y, z] {
        note_denormal::<F>(cx, v);
    }
    if infinite_product {
        return product_sign | F::INFINITY;
    }
    if is_infinite::<F>(z) {
        return z;
    }
    let product = match (Number::unpack::<F>(x), Number::unpack::<F>(y)) {
        (Some(x), Some(y)) => {
            let value = u128::from(x.significand) * u128::from(y.significand);
            let shift = value.leading_zeros();
            let exp = x.exp + y.exp + 1 - shift as i32;
            Some(Wide { negative: product_sign != 0, exp, value: value << shift })
        }
        _ => None,
    };
    let sum = match (product, Number::unpack::<F>(z)) {
        (None, None) if product_sign == z & F::SIGN => return z,
        (None, None) => None,
        (None, Some(z)) => Some(z),
        (Some(p), None) => Number::new(p.negative, p.exp, p.value),
        (Some(p), Some(z)) => {
            add_wide(p, Wide { negative: z.negative, exp: z.exp, value: u128::from(z.significand) << 64 })
        }
    };
    match sum {
        Some(sum) => round::<F>(cx, sum),
        None if cx.rounding() == Rounding::Down => F::SIGN,
        None => 0,
    }
}

/// [`propagate`] for three operands.
fn propagate_three<F: Format>(cx: &mut FpEnv, x: u64, y: u64, z: u64) -> Option<u64> {
    if [x, y, z].into_iter().any(is_signaling::<F>) {
        cx.raise(Flags::IE);
    }
    [x, y, z].into_iter().find(|&v| is_nan::<F>(v)).map(|v| v | F::QUIET)
}

pub(crate) fn div<F: Format>(cx: &mut FpEnv, a: u64, b: u64) -> u64 {
    let (a, b) = (operand::<F>(cx, a), operand::<F>(cx, b));
    if let Some(nan) = propagate::<F>(cx, a, b) {
        return nan;
    }
    let sign = (a ^ b) & F::SIGN;
    let both = |test: fn(u64) -> bool| test(magnitude::<F>(a)) && test(magnitude::<F>(b));
    if both(|x| x == 0) || both(|x| x == F::INFINITY) {
        return invalid::<F>(cx);
    }
    if magnitude::<F>(b) == 0 {
        if !is_infinite::<F>(a) {
            cx.raise(Flags::ZE);
        }
        return sign | F::INFINITY;
    }
    note_denormal::<F>(cx, a);
    note_denormal::<F>(cx, b);
    if is_infinite::<F>(a) {
        return sign | F::INFINITY;
    }
    if is_infinite::<F>(b) {
        return sign;
    }
    let (Some(x), Some(y)) = (Number::unpack::<F>(a), Number::unpack::<F>(b)) else {
        return sign;
    };
    let (dividend, divisor) = (u128::from(x.significand) << 63, u128::from(y.significand));
    let value = (dividend / divisor) << 1 | u128::from(dividend % divisor != 0);
    Number::new(sign != 0, x.exp - y.exp + 63, value).map_or(sign, |n| round::<F>(cx, n))
}

pub(crate) fn sqrt<F: Format>(cx: &mut FpEnv, a: u64) -> u64 {
    let a = operand::<F>(cx, a);
    if let Some(nan) = propagate::<F>(cx, a, a) {
        return nan;
    }
    if magnitude::<F>(a) == 0 || a == F::INFINITY {
        return a;
    }
    if a & F::SIGN != 0 {
        return invalid::<F>(cx);
    }
    note_denormal::<F>(cx, a);
    let Some(x) = Number::unpack::<F>(a) else {
        return a;
    };
    // An even exponent halves exactly: an odd one lends a factor of two to the significand.
    let radicand = u128::from(x.significand) << (63 + (x.exp & 1));
    let root = radicand.isqrt();
    let value = root << 1 | u128::from(root * root != radicand);
    Number::new(false, (x.exp >> 1) + 63, value).map_or(a, |n| round::<F>(cx, n))
}

/// The order of two operands, `None` if a NaN is among them. Signals for quiet NaNs too if `signal_quiet`.
pub(crate) fn compare<F: Format>(cx: &mut FpEnv, a: u64, b: u64, signal_quiet: bool) -> Option<Ordering> {
    let (a, b) = (operand::<F>(cx, a), operand::<F>(cx, b));
    if let Some(_nan) = propagate::<F>(cx, a, b) {
        if signal_quiet {
            cx.raise(Flags::IE);
        }
        return None;
    }
    note_denormal::<F>(cx, a);
    note_denormal::<F>(cx, b);
    let rank = |x: u64| {
        let magnitude = magnitude::<F>(x) as i64;
        if x & F::SIGN != 0 { -magnitude } else { magnitude }
    };
    Some(rank(a).cmp(&rank(b)))
}

/// MIN and MAX: `a` if it compares as wanted with `b`, else `b` (which includes NaNs and zeros).
pub(crate) fn select<F: Format>(cx: &mut FpEnv, a: u64, b: u64, wanted: Ordering) -> u64 {
    let chosen = if compare::<F>(cx, a, b, true) == Some(wanted) { a } else { b };
    operand::<F>(cx, chosen)
}

/// Conversion between formats.
pub(crate) fn convert<From: Format, To: Format>(cx: &mut FpEnv, a: u64) -> u64 {
    let a = operand::<From>(cx, a);
    let sign = if a & From::SIGN != 0 { To::SIGN } else { 0 };
    if let Some(nan) = propagate::<From>(cx, a, a) {
        let fraction = (nan & (From::HIDDEN - 1)) << (64 - From::FRACTION) >> (64 - To::FRACTION);
        return sign | To::INFINITY | fraction;
    }
    if is_infinite::<From>(a) {
        return sign | To::INFINITY;
    }
    note_denormal::<From>(cx, a);
    Number::unpack::<From>(a).map_or(sign, |n| round::<To>(cx, n))
}

/// Conversion of a signed integer.
pub(crate) fn from_int<F: Format>(cx: &mut FpEnv, value: i64) -> u64 {
    let magnitude = u128::from(value.unsigned_abs()) << 64;
    Number::new(value < 0, 63, magnitude).map_or(0, |n| round::<F>(cx, n))
}

/// Conversion to a signed integer of 32 or 64 bits, sign-extended. What does not fit gives the integer indefinite (the
/// least integer) and is invalid.
pub(crate) fn to_int<F: Format>(cx: &mut FpEnv, a: u64, width: u32, mode: Rounding) -> i64 {
    let a = operand::<F>(cx, a);
    let least = i64::MIN >> (64 - width);
    if magnitude::<F>(a) < F::INFINITY {
        let Some(Number { negative, exp, significand }) = Number::unpack::<F>(a) else {
            return 0;
        };
        if exp < 64 {
            let (value, inexact) = shift_and_round(significand, (63 - exp) as u32, negative, mode);
            let value = if negative { -i128::from(value) } else { i128::from(value) };
            if value >= i128::from(least) && value <= i128::from(!least) {
                if inexact {
                    cx.raise(Flags::PE);
                }
                return value as i64;
            }
        }
    }
    cx.raise(Flags::IE);
    least
}

/// Rounding to an integer in the same format; `quiet` keeps inexact from being raised.
pub(crate) fn round_to_int<F: Format>(cx: &mut FpEnv, a: u64, mode: Rounding, quiet: bool) -> u64 {
    let a = operand::<F>(cx, a);
    if let Some(nan) = propagate::<F>(cx, a, a) {
        return nan;
    }
    if is_infinite::<F>(a) {
        return a;
    }
    let Some(Number { negative, exp, significand }) = Number::unpack::<F>(a) else {
        return a;
    };
    if exp >= F::FRACTION as i32 {
        return a;
    }
    let (value, inexact) = shift_and_round(significand, (63 - exp) as u32, negative, mode);
    if inexact && !quiet {
        cx.raise(Flags::PE);
    }
    let rounded = from_int::<F>(&mut FpEnv::default(), value as i64);
    rounded | a & F::SIGN
}
