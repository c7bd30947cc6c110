//! Floating-point arithmetic, comparison and rounding.
//!
//! In the usual environment (nearest, no FTZ, no DAZ) and away from denormal, infinite and overflowing values, the
//! host's own arithmetic gives the result, and only whether it was inexact remains to be found, which is left out when
//! MXCSR has that already. Everything else goes to `softfloat`.

use crate::approx;
use crate::env::{Flags, FpEnv, Rounding};
use crate::lanes::{Lane, join, split};
use crate::pack::{blendpd, blendps, movsd, movss};
use crate::softfloat::{self, Double, Format, Single};
use std::cmp::Ordering;
use std::ops::{Add, Div, Mul, Sub};

/// The host's type of a format.
pub(crate) trait Float:
    Copy
    + PartialOrd
    + Default
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
{
    fn sqrt(self) -> Self;
    fn fused(self, y: Self, z: Self) -> Self;
}

/// A format the host calculates in.
pub(crate) trait Host: Format {
    type Bits: Lane;
    type Value: Float;
    fn wide(bits: Self::Bits) -> u64;
    fn narrow(bits: u64) -> Self::Bits;
    fn value(bits: Self::Bits) -> Self::Value;
    fn bits(value: Self::Value) -> Self::Bits;
}

macro_rules! host {
    ($format:ty, $bits:ty, $value:ty) => {
        impl Float for $value {
            #[inline(always)]
            fn sqrt(self) -> Self {
                <$value>::sqrt(self)
            }
            #[inline(always)]
            fn fused(self, y: Self, z: Self) -> Self {
                self.mul_add(y, z)
            }
        }
        impl Host for $format {
            type Bits = $bits;
            type Value = $value;
            #[inline(always)]
            fn wide(bits: $bits) -> u64 {
                u64::from(bits)
            }
            #[inline(always)]
            fn narrow(bits: u64) -> $bits {
                bits as $bits
            }
            #[inline(always)]
            fn value(bits: $bits) -> $value {
                <$value>::from_bits(bits)
            }
            #[inline(always)]
            fn bits(value: $value) -> $bits {
                value.to_bits()
            }
        }
    };
}

host!(Single, u32, f32);
host!(Double, u64, f64);

/// The significand without its trailing zeros.
fn odd_part<F: Host>(x: F::Bits) -> u128 {
    let x = F::wide(x);
    let significand = x & (F::HIDDEN - 1) | F::HIDDEN;
    u128::from(significand >> significand.trailing_zeros())
}

/// One of the four operations. `r` is the host's result, normal or zero, of operands that are not denormal.
trait Operation {
    fn host<F: Host>(x: F::Value, y: F::Value) -> F::Value;
    fn soft<F: Host>(cx: &mut FpEnv, a: u64, b: u64) -> u64;
    /// Whether a result of zero is the true one: else it is an underflow.
    fn true_zero<F: Host>(x: F::Value, y: F::Value) -> bool;
    /// Whether a normal result is exact.
    fn exact<F: Host>(a: F::Bits, b: F::Bits, r: F::Bits) -> bool;
}

/// The error of `x + y = r` is zero (Knuth's TwoSum, which has no error of its own while nothing overflows).
fn sum_is_exact<T: Float>(x: T, y: T, r: T) -> bool {
    let y_part = r - x;
    let x_part = r - y_part;
    (x - x_part) + (y - y_part) == T::default()
}

struct Sum;
impl Operation for Sum {
    #[inline(always)]
    fn host<F: Host>(x: F::Value, y: F::Value) -> F::Value {
        x + y
    }
    fn soft<F: Host>(cx: &mut FpEnv, a: u64, b: u64) -> u64 {
        softfloat::add::<F>(cx, a, b)
    }
    #[inline(always)]
    fn true_zero<F: Host>(_: F::Value, _: F::Value) -> bool {
        true
    }
    fn exact<F: Host>(a: F::Bits, b: F::Bits, r: F::Bits) -> bool {
        sum_is_exact(F::value(a), F::value(b), F::value(r))
    }
}

struct Difference;
impl Operation for Difference {
    #[inline(always)]
    fn host<F: Host>(x: F::Value, y: F::Value) -> F::Value {
        x - y
    }
    fn soft<F: Host>(cx: &mut FpEnv, a: u64, b: u64) -> u64 {
        softfloat::sub::<F>(cx, a, b)
    }
    #[inline(always)]
    fn true_zero<F: Host>(_: F::Value, _: F::Value) -> bool {
        true
    }
    fn exact<F: Host>(a: F::Bits, b: F::Bits, r: F::Bits) -> bool {
        // As a sum of a and -b.
        sum_is_exact(F::value(a), F::Value::default() - F::value(b), F::value(r))
    }
}

struct Product;
impl Operation for Product {
    #[inline(always)]
    fn host<F: Host>(x: F::Value, y: F::Value) -> F::Value {
        x * y
    }
    fn soft<F: Host>(cx: &mut FpEnv, a: u64, b: u64) -> u64 {
        softfloat::mul::<F>(cx, a, b)
    }
    #[inline(always)]
    fn true_zero<F: Host>(x: F::Value, y: F::Value) -> bool {
        x == F::Value::default() || y == F::Value::default()
    }
    fn exact<F: Host>(a: F::Bits, b: F::Bits, _: F::Bits) -> bool {
        odd_part::<F>(a) * odd_part::<F>(b) < u128::from(F::HIDDEN) << 1
    }
}

struct Quotient;
impl Operation for Quotient {
    #[inline(always)]
    fn host<F: Host>(x: F::Value, y: F::Value) -> F::Value {
        x / y
    }
    fn soft<F: Host>(cx: &mut FpEnv, a: u64, b: u64) -> u64 {
        softfloat::div::<F>(cx, a, b)
    }
    #[inline(always)]
    fn true_zero<F: Host>(x: F::Value, _: F::Value) -> bool {
        x == F::Value::default()
    }
    fn exact<F: Host>(a: F::Bits, b: F::Bits, r: F::Bits) -> bool {
        odd_part::<F>(r) * odd_part::<F>(b) == odd_part::<F>(a)
    }
}

/// A normal result that did not come from below the normal range by rounding.
#[inline(always)]
pub(crate) fn is_safe<F: Host>(r: F::Bits) -> bool {
    let magnitude = softfloat::magnitude::<F>(F::wide(r));
    magnitude > F::HIDDEN && magnitude < F::INFINITY
}

#[inline(always)]
fn is_zero<F: Host>(r: F::Bits) -> bool {
    softfloat::magnitude::<F>(F::wide(r)) == 0
}

/// An operation on lanes.
#[inline(always)]
fn calculate<O: Operation, F: Host, const N: usize>(
    cx: &mut FpEnv,
    a: [F::Bits; N],
    b: [F::Bits; N],
) -> [F::Bits; N] {
    if cx.is_plain() {
        let r: [F::Bits; N] = std::array::from_fn(|i| F::bits(O::host::<F>(F::value(a[i]), F::value(b[i]))));
        let easy = (0..N).all(|i| {
            !softfloat::is_denormal::<F>(F::wide(a[i]))
                && !softfloat::is_denormal::<F>(F::wide(b[i]))
                && (is_safe::<F>(r[i])
                    || is_zero::<F>(r[i]) && O::true_zero::<F>(F::value(a[i]), F::value(b[i])))
        });
        if easy {
            if !cx.ignores_inexact() && !(0..N).all(|i| is_zero::<F>(r[i]) || O::exact::<F>(a[i], b[i], r[i]))
            {
                cx.raise(Flags::PE);
            }
            return r;
        }
    }
    std::array::from_fn(|i| F::narrow(O::soft::<F>(cx, F::wide(a[i]), F::wide(b[i]))))
}

/// Square roots of lanes.
#[inline(always)]
fn roots<F: Host, const N: usize>(cx: &mut FpEnv, b: [F::Bits; N]) -> [F::Bits; N] {
    if cx.is_plain() {
        let r: [F::Bits; N] = b.map(|x| F::bits(F::value(x).sqrt()));
        // A denormal operand has a root that is safe, so it is looked for itself.
        if (0..N).all(|i| is_safe::<F>(r[i]) && !softfloat::is_denormal::<F>(F::wide(b[i]))) {
            let exact = |i: usize| odd_part::<F>(r[i]) * odd_part::<F>(r[i]) == odd_part::<F>(b[i]);
            if !cx.ignores_inexact() && !(0..N).all(exact) {
                cx.raise(Flags::PE);
            }
            return r;
        }
    }
    b.map(|x| F::narrow(softfloat::sqrt::<F>(cx, F::wide(x))))
}

/// Any function of two lanes.
#[inline(always)]
fn each<F: Host, const N: usize>(
    a: [F::Bits; N],
    b: [F::Bits; N],
    mut f: impl FnMut(u64, u64) -> u64,
) -> [F::Bits; N] {
    std::array::from_fn(|i| F::narrow(f(F::wide(a[i]), F::wide(b[i]))))
}

#[inline(always)]
fn ps(v: u128) -> [u32; 4] {
    split(v)
}

#[inline(always)]
fn pd(v: u128) -> [u64; 2] {
    split(v)
}

/// Defines the four forms of an instruction with two operands from a function of `[lane; N]` arrays.
macro_rules! forms {
    ($($what:literal: $ps:ident $pd:ident $ss:ident $sd:ident ($cx:ident, $a:ident, $b:ident $(, $imm:ident)?) =
        $f:ident<$($o:ty)?>($($arg:expr),*);)+) => {$(
        #[doc = concat!($what, ", four single-precision lanes.")]
        pub fn $ps($cx: &mut FpEnv, $a: u128, $b: u128 $(, $imm: u8)?) -> u128 {
            let ($a, $b) = (ps($a), ps($b));
            join($f::<$($o,)? Single, 4>($($arg),*))
        }

        #[doc = concat!($what, ", two double-precision lanes.")]
        pub fn $pd($cx: &mut FpEnv, $a: u128, $b: u128 $(, $imm: u8)?) -> u128 {
            let ($a, $b) = (pd($a), pd($b));
            join($f::<$($o,)? Double, 2>($($arg),*))
        }

        #[doc = concat!($what, ", the low single-precision lane; the others are those of `a`.")]
        pub fn $ss($cx: &mut FpEnv, $a: u128, $b: u128 $(, $imm: u8)?) -> u128 {
            let old = $a;
            let ($a, $b) = ([$a as u32], [$b as u32]);
            let [r] = $f::<$($o,)? Single, 1>($($arg),*);
            movss(old, u128::from(r))
        }

        #[doc = concat!($what, ", the low double-precision lane; the other is that of `a`.")]
        pub fn $sd($cx: &mut FpEnv, $a: u128, $b: u128 $(, $imm: u8)?) -> u128 {
            let old = $a;
            let ($a, $b) = ([$a as u64], [$b as u64]);
            let [r] = $f::<$($o,)? Double, 1>($($arg),*);
            movsd(old, u128::from(r))
        }
    )+};
}

#[inline(always)]
fn select<F: Host, const N: usize>(
    cx: &mut FpEnv,
    a: [F::Bits; N],
    b: [F::Bits; N],
    wanted: Ordering,
) -> [F::Bits; N] {
    each::<F, N>(a, b, |x, y| softfloat::select::<F>(cx, x, y, wanted))
}

/// Predicates 0 to 7: EQ, LT, LE, UNORD, NEQ, NLT, NLE, ORD. Bits 7:3 of the immediate are ignored.
#[inline(always)]
fn test<F: Host, const N: usize>(cx: &mut FpEnv, a: [F::Bits; N], b: [F::Bits; N], imm: u8) -> [F::Bits; N] {
    let signal_quiet = matches!(imm & 3, 1 | 2);
    each::<F, N>(a, b, |x, y| {
        let order = softfloat::compare::<F>(cx, x, y, signal_quiet);
        let holds = match imm & 3 {
            0 => order == Some(Ordering::Equal),
            1 => order == Some(Ordering::Less),
            2 => matches!(order, Some(Ordering::Less | Ordering::Equal)),
            _ => order.is_none(),
        };
        if holds != (imm & 4 != 0) { u64::MAX } else { 0 }
    })
}

/// Bits 1:0 of the immediate are the rounding mode unless bit 2 says MXCSR's; bit 3 keeps PE from being raised.
#[inline(always)]
fn integral<F: Host, const N: usize>(cx: &mut FpEnv, b: [F::Bits; N], imm: u8) -> [F::Bits; N] {
    let mode = if imm & 4 != 0 { cx.rounding() } else { Rounding::from_bits(u32::from(imm)) };
    b.map(|x| F::narrow(softfloat::round_to_int::<F>(cx, F::wide(x), mode, imm & 8 != 0)))
}

forms! {
    "Add": addps addpd addss addsd (cx, a, b) = calculate<Sum>(cx, a, b);
    "Subtract": subps subpd subss subsd (cx, a, b) = calculate<Difference>(cx, a, b);
    "Multiply": mulps mulpd mulss mulsd (cx, a, b) = calculate<Product>(cx, a, b);
    "Divide": divps divpd divss divsd (cx, a, b) = calculate<Quotient>(cx, a, b);
    "The lesser, `b` if there is none": minps minpd minss minsd (cx, a, b) = select<>(cx, a, b, Ordering::Less);
    "The greater, `b` if there is none": maxps maxpd maxss maxsd (cx, a, b) = select<>(cx, a, b, Ordering::Greater);
    "Compare by predicate, all ones or zeros": cmpps cmppd cmpss cmpsd (cx, a, b, imm) = test<>(cx, a, b, imm);
}

/// Forms whose packed versions have one operand: the macro gives the scalar ones a destination to merge with.
macro_rules! unary_forms {
    ($($what:literal: $ps:ident $pd:ident $ss:ident $sd:ident ($cx:ident, $b:ident $(, $imm:ident)?) = $f:ident;)+) => {$(
        #[doc = concat!($what, ", four single-precision lanes.")]
        pub fn $ps($cx: &mut FpEnv, $b: u128 $(, $imm: u8)?) -> u128 {
            join($f::<Single, 4>($cx, ps($b) $(, $imm)?))
        }

        #[doc = concat!($what, ", two double-precision lanes.")]
        pub fn $pd($cx: &mut FpEnv, $b: u128 $(, $imm: u8)?) -> u128 {
            join($f::<Double, 2>($cx, pd($b) $(, $imm)?))
        }

        #[doc = concat!($what, ", the low single-precision lane; the others are those of `a`.")]
        pub fn $ss($cx: &mut FpEnv, a: u128, $b: u128 $(, $imm: u8)?) -> u128 {
            let [r] = $f::<Single, 1>($cx, [$b as u32] $(, $imm)?);
            movss(a, u128::from(r))
        }

        #[doc = concat!($what, ", the low double-precision lane; the other is that of `a`.")]
        pub fn $sd($cx: &mut FpEnv, a: u128, $b: u128 $(, $imm: u8)?) -> u128 {
            let [r] = $f::<Double, 1>($cx, [$b as u64] $(, $imm)?);
            movsd(a, u128::from(r))
        }
    )+};
}

unary_forms! {
    "Square root": sqrtps sqrtpd sqrtss sqrtsd (cx, b) = roots;
    "Round to an integer": roundps roundpd roundss roundsd (cx, b, imm) = integral;
}

/// EFLAGS of a comparison: ZF (0x40), PF (4) and CF (1), all three for unordered; OF, SF and AF become 0.
fn order_flags(order: Option<Ordering>) -> u32 {
    match order {
        Some(Ordering::Greater) => 0,
        Some(Ordering::Less) => 0x01,
        Some(Ordering::Equal) => 0x40,
        None => 0x45,
    }
}

/// Ordered comparison of the low single-precision lanes; invalid for every NaN. Returns EFLAGS: ZF, PF, CF.
pub fn comiss(cx: &mut FpEnv, a: u128, b: u128) -> u32 {
    order_flags(softfloat::compare::<Single>(cx, u64::from(a as u32), u64::from(b as u32), true))
}

/// As [`comiss`], but a quiet NaN is not invalid.
pub fn ucomiss(cx: &mut FpEnv, a: u128, b: u128) -> u32 {
    order_flags(softfloat::compare::<Single>(cx, u64::from(a as u32), u64::from(b as u32), false))
}

/// Ordered comparison of the low double-precision lanes; invalid for every NaN. Returns EFLAGS: ZF, PF, CF.
pub fn comisd(cx: &mut FpEnv, a: u128, b: u128) -> u32 {
    order_flags(softfloat::compare::<Double>(cx, a as u64, b as u64, true))
}

/// As [`comisd`], but a quiet NaN is not invalid.
pub fn ucomisd(cx: &mut FpEnv, a: u128, b: u128) -> u32 {
    order_flags(softfloat::compare::<Double>(cx, a as u64, b as u64, false))
}

/// Add neighbouring single-precision lanes: those of `a`, then those of `b`.
pub fn haddps(cx: &mut FpEnv, a: u128, b: u128) -> u128 {
    let ([p, q, r, s], [t, u, v, w]) = (ps(a), ps(b));
    join(calculate::<Sum, Single, 4>(cx, [p, r, t, v], [q, s, u, w]))
}

/// Add the two lanes of `a`, and those of `b`.
pub fn haddpd(cx: &mut FpEnv, a: u128, b: u128) -> u128 {
    let ([p, q], [t, u]) = (pd(a), pd(b));
    join(calculate::<Sum, Double, 2>(cx, [p, t], [q, u]))
}

/// Subtract the odd single-precision lanes from the even.
pub fn hsubps(cx: &mut FpEnv, a: u128, b: u128) -> u128 {
    let ([p, q, r, s], [t, u, v, w]) = (ps(a), ps(b));
    join(calculate::<Difference, Single, 4>(cx, [p, r, t, v], [q, s, u, w]))
}

/// Subtract the upper lane from the lower.
pub fn hsubpd(cx: &mut FpEnv, a: u128, b: u128) -> u128 {
    let ([p, q], [t, u]) = (pd(a), pd(b));
    join(calculate::<Difference, Double, 2>(cx, [p, t], [q, u]))
}

/// Subtract in even single-precision lanes, add in odd ones.
pub fn addsubps(cx: &mut FpEnv, a: u128, b: u128) -> u128 {
    let ([p, q, r, s], [t, u, v, w]) = (ps(a), ps(b));
    let [even0, even1] = calculate::<Difference, Single, 2>(cx, [p, r], [t, v]);
    let [odd0, odd1] = calculate::<Sum, Single, 2>(cx, [q, s], [u, w]);
    join([even0, odd0, even1, odd1])
}

/// Subtract the low lanes, add the upper.
pub fn addsubpd(cx: &mut FpEnv, a: u128, b: u128) -> u128 {
    let ([p, q], [t, u]) = (pd(a), pd(b));
    let [low] = calculate::<Difference, Double, 1>(cx, [p], [t]);
    let [high] = calculate::<Sum, Double, 1>(cx, [q], [u]);
    join([low, high])
}

/// The products that the upper half of the immediate chooses, the others zero.
fn chosen_products<F: Host, const N: usize>(
    cx: &mut FpEnv,
    a: [F::Bits; N],
    b: [F::Bits; N],
    imm: u8,
) -> [F::Bits; N] {
    std::array::from_fn(|i| {
        if imm >> (4 + i) & 1 == 0 {
            return F::narrow(0);
        }
        let [product] = calculate::<Product, F, 1>(cx, [a[i]], [b[i]]);
        product
    })
}

/// Dot product of the single-precision lanes chosen by immediate bits 7:4, written to those of bits 3:0.
pub fn dpps(cx: &mut FpEnv, a: u128, b: u128, imm: u8) -> u128 {
    let [r] = vdpps(cx, [a], [b], imm);
    r
}

/// The same of `H` halves of a register, which take their steps together.
///
/// As in hardware each lane makes its own sum: they differ in which of several NaNs they give.
pub fn vdpps<const H: usize>(cx: &mut FpEnv, a: [u128; H], b: [u128; H], imm: u8) -> [u128; H] {
    let products: [_; H] = std::array::from_fn(|n| chosen_products::<Single, 4>(cx, ps(a[n]), ps(b[n]), imm));
    if !cx.next_step() {
        return a;
    }
    let pairs = products.map(|[p, q, r, s]| calculate::<Sum, Single, 4>(cx, [q, p, s, r], [p, q, r, s]));
    if !cx.next_step() {
        return a;
    }
    pairs.map(|[t, u, v, w]| {
        let sums = calculate::<Sum, Single, 4>(cx, [t, u, v, w], [v, w, t, u]);
        blendps(0, join(sums), imm)
    })
}

/// Dot product of the double-precision lanes chosen by immediate bits 5:4, written to those of bits 1:0.
pub fn dppd(cx: &mut FpEnv, a: u128, b: u128, imm: u8) -> u128 {
    let [p, q] = chosen_products::<Double, 2>(cx, pd(a), pd(b), imm);
    if !cx.next_step() {
        return a;
    }
    let sums = calculate::<Sum, Double, 2>(cx, [p, q], [q, p]);
    blendpd(0, join(sums), imm)
}

/// Approximate reciprocals. Reads nothing of MXCSR and raises nothing, as hardware.
pub fn rcpps(b: u128) -> u128 {
    join(ps(b).map(approx::reciprocal))
}

/// Approximate reciprocal of the low lane; the others are those of `a`.
pub fn rcpss(a: u128, b: u128) -> u128 {
    movss(a, u128::from(approx::reciprocal(b as u32)))
}

/// Approximate reciprocal square roots. Reads nothing of MXCSR and raises nothing, as hardware.
pub fn rsqrtps(b: u128) -> u128 {
    join(ps(b).map(approx::reciprocal_root))
}

/// Approximate reciprocal square root of the low lane; the others are those of `a`.
pub fn rsqrtss(a: u128, b: u128) -> u128 {
    movss(a, u128::from(approx::reciprocal_root(b as u32)))
}
