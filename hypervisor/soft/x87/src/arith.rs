//! Addition to remainder: the operations that are exact before one rounding.

use crate::f80::{BIAS, C0, C1, C2, C3, Cut, Env, F80, IE, INTEGER_BIT, PE, jam, rc, rounds_up};
use std::cmp::Ordering;

impl Env {
    /// `a + b`.
    #[inline]
    pub fn add(&mut self, a: F80, b: F80) -> F80 {
        if a.is_normal() && b.is_normal() {
            return self.sum(a.sign(), (a.exp(), a.mantissa), b.sign(), (b.exp(), b.mantissa));
        }
        self.add_rare(a, b, false)
    }

    /// `a - b`.
    #[inline]
    pub fn sub(&mut self, a: F80, b: F80) -> F80 {
        if a.is_normal() && b.is_normal() {
            return self.sum(a.sign(), (a.exp(), a.mantissa), !b.sign(), (b.exp(), b.mantissa));
        }
        self.add_rare(a, b, true)
    }

    #[inline]
    fn sum(&mut self, sa: bool, a: (i32, u64), sb: bool, b: (i32, u64)) -> F80 {
        // Tuples compare by exponent, then significand: by magnitude.
        let (sign, (e, m), (small_e, small_m)) = if a >= b { (sa, a, b) } else { (sb, b, a) };
        let big = u128::from(m) << 64;
        let small = jam(u128::from(small_m) << 64, (e - small_e) as u32);
        if sa == sb {
            let (s, carry) = big.overflowing_add(small);
            let (s, e) = if carry { (jam(s, 1) | 1 << 127, e + 1) } else { (s, e) };
            return self.pack(sign, e, (s >> 64) as u64, s as u64, self.drop_bits());
        }
        let d = big - small;
        if d == 0 {
            return F80::zero(self.rounding() == rc::DOWN);
        }
        let lz = d.leading_zeros();
        let d = d << lz;
        self.pack(sign, e - lz as i32, (d >> 64) as u64, d as u64, self.drop_bits())
    }

    #[cold]
    #[inline(never)]
    fn add_rare(&mut self, a: F80, b: F80, negate: bool) -> F80 {
        if let Some(nan) = self.nan2(a, b) {
            return nan;
        }
        let b = if negate { b.negate() } else { b };
        if a.is_infinity() && b.is_infinity() && a.sign() != b.sign() {
            return self.invalid();
        }
        if self.denormal(a.is_denormal() || b.is_denormal()) || a.is_infinity() {
            return a;
        }
        if b.is_infinity() {
            return b;
        }
        match (a.is_zero(), b.is_zero()) {
            (true, true) if a.sign() == b.sign() => a,
            (true, true) => F80::zero(self.rounding() == rc::DOWN),
            (true, false) => self.repack(b),
            (false, true) => self.repack(a),
            (false, false) => self.sum(a.sign(), a.parts(), b.sign(), b.parts()),
        }
    }

    /// Round a finite non-zero number to the precision in force.
    fn repack(&mut self, a: F80) -> F80 {
        let (e, m) = a.parts();
        self.pack(a.sign(), e, m, 0, self.drop_bits())
    }

    /// `a * b`.
    #[inline]
    pub fn mul(&mut self, a: F80, b: F80) -> F80 {
        let sign = a.sign() ^ b.sign();
        if a.is_normal() && b.is_normal() {
            return self.product(sign, (a.exp(), a.mantissa), (b.exp(), b.mantissa));
        }
        self.mul_rare(a, b, sign)
    }

    #[inline]
    fn product(&mut self, sign: bool, (ea, ma): (i32, u64), (eb, mb): (i32, u64)) -> F80 {
        let p = u128::from(ma) * u128::from(mb);
        let short = (p >> 127) == 0;
        let p = p << u32::from(short);
        let e = ea + eb - (BIAS - 1) - i32::from(short);
        self.pack(sign, e, (p >> 64) as u64, p as u64, self.drop_bits())
    }

    #[cold]
    #[inline(never)]
    fn mul_rare(&mut self, a: F80, b: F80, sign: bool) -> F80 {
        if let Some(nan) = self.nan2(a, b) {
            return nan;
        }
        let infinite = a.is_infinity() || b.is_infinity();
        let zero = a.is_zero() || b.is_zero();
        if infinite && zero {
            return self.invalid();
        }
        if self.denormal(a.is_denormal() || b.is_denormal()) {
            return a;
        }
        if infinite {
            F80::infinity(sign)
        } else if zero {
            F80::zero(sign)
        } else {
            self.product(sign, a.parts(), b.parts())
        }
    }

    /// `a / b`.
    #[inline]
    pub fn div(&mut self, a: F80, b: F80) -> F80 {
        let sign = a.sign() ^ b.sign();
        if a.is_normal() && b.is_normal() {
            return self.quotient(sign, (a.exp(), a.mantissa), (b.exp(), b.mantissa));
        }
        self.div_rare(a, b, sign)
    }

    #[inline]
    fn quotient(&mut self, sign: bool, (ea, ma): (i32, u64), (eb, mb): (i32, u64)) -> F80 {
        let short = ma < mb;
        let n = u128::from(ma) << (63 + u32::from(short));
        let d = u128::from(mb);
        let q = n / d;
        let r = n - q * d;
        let rest = remainder_fraction(r.wrapping_mul(2), d, r != 0);
        self.pack(sign, ea - eb + BIAS - i32::from(short), q as u64, rest, self.drop_bits())
    }

    #[cold]
    #[inline(never)]
    fn div_rare(&mut self, a: F80, b: F80, sign: bool) -> F80 {
        if let Some(nan) = self.nan2(a, b) {
            return nan;
        }
        if (a.is_infinity() && b.is_infinity()) || (a.is_zero() && b.is_zero()) {
            return self.invalid();
        }
        if b.is_zero() && !a.is_infinity() {
            return self.zero_divide(sign);
        }
        if self.denormal(a.is_denormal() || b.is_denormal()) {
            return a;
        }
        if a.is_infinity() {
            F80::infinity(sign)
        } else if b.is_infinity() || a.is_zero() {
            F80::zero(sign)
        } else {
            self.quotient(sign, a.parts(), b.parts())
        }
    }

    /// Square root.
    pub fn sqrt(&mut self, a: F80) -> F80 {
        if let Some(nan) = self.nan1(a) {
            return nan;
        }
        if a.is_zero() {
            return a;
        }
        if a.sign() {
            return self.invalid();
        }
        if self.denormal(a.is_denormal()) || a.is_infinity() {
            return a;
        }
        let (e, m) = a.parts();
        let e = e - BIAS;
        // An even exponent leaves a radicand in [2^126, 2^128), so the root has exactly 64 bits.
        let n = u128::from(m) << (63 + (e & 1));
        let root = n.isqrt();
        let r = n - root * root;
        let rest = if r == 0 {
            0
        } else if r > root {
            INTEGER_BIT | 1
        } else {
            1
        };
        self.pack(false, (e >> 1) + BIAS, root as u64, rest, self.drop_bits())
    }

    /// FPREM (truncating) or FPREM1 (`nearest`): one step of `a` modulo `b`, with C2 and the quotient bits in the flags.
    pub fn remainder(&mut self, a: F80, b: F80, nearest: bool) -> F80 {
        if let Some(nan) = self.nan2(a, b) {
            return nan;
        }
        if a.is_infinity() || b.is_zero() {
            return self.invalid();
        }
        if self.denormal(a.is_denormal() || b.is_denormal()) || a.is_zero() {
            return a;
        }
        if b.is_infinity() {
            // Unlike below, an unmasked underflow is not raised for a denormal.
            return a.regular();
        }
        let ((ea, ma), (eb, mb)) = (a.parts(), b.parts());
        let d = ea - eb;
        if d < -1 || (d < 0 && !nearest) {
            return self.pack(a.sign(), ea, ma, 0, 0);
        }
        let partial = d >= 64;
        // How far one partial step gets is the implementation's choice; Intel's takes D mod 32 plus 32 bits.
        let n = if partial { (d & 31) | 32 } else { d };
        // For d = -1 the divisor is scaled up instead, so that nothing of the dividend is lost.
        let dividend = if n < 0 { u128::from(ma) } else { u128::from(ma) << n };
        let divisor = u128::from(mb) << u32::from(n < 0);
        let mut q = dividend / divisor;
        let mut r = dividend - q * divisor;
        let mut sign = a.sign();
        if partial {
            self.flags |= C2;
        } else {
            if nearest && (2 * r > divisor || (2 * r == divisor && q & 1 != 0)) {
                q += 1;
                r = divisor - r;
                sign = !sign;
            }
            self.flags |= (if q & 1 != 0 { C1 } else { 0 }) | (if q & 2 != 0 { C3 } else { 0 });
            self.flags |= if q & 4 != 0 { C0 } else { 0 };
        }
        if r == 0 {
            return F80::zero(a.sign());
        }
        let v = r << r.leading_zeros();
        let e = ea - n.max(0) + 64 - r.leading_zeros() as i32;
        self.pack_keeping_c1(sign, e, (v >> 64) as u64)
    }

    /// Pack an exact result without touching a C1 that means something else.
    fn pack_keeping_c1(&mut self, sign: bool, e: i32, m: u64) -> F80 {
        let c1 = self.flags & C1;
        let r = self.pack(sign, e, m, 0, 0);
        self.flags = (self.flags & !C1) | c1;
        r
    }

    /// FRNDINT: to an integer in the same format.
    pub fn round_to_integer(&mut self, a: F80) -> F80 {
        if let Some(nan) = self.nan1(a) {
            return nan;
        }
        if self.denormal(a.is_denormal()) || a.is_zero() || a.exp() >= BIAS + 63 {
            return a;
        }
        let e = a.exp() - BIAS;
        if e < 0 {
            self.flags |= PE;
            let rest = if e == -1 { a.mantissa } else { 1 };
            if rounds_up(self.rounding(), a.sign(), rest, false) {
                self.flags |= C1;
                return F80::new(a.sign(), BIAS as u16, INTEGER_BIT);
            }
            return F80::zero(a.sign());
        }
        let cut = Cut::new(self.rounding(), a.sign(), a.mantissa, 0, (63 - e) as u32);
        self.inexact(&cut);
        F80::new(a.sign(), (a.exp() + i32::from(cut.carry)) as u16, cut.mantissa)
    }

    /// FSCALE: `a * 2^trunc(b)`.
    pub fn scale(&mut self, a: F80, b: F80) -> F80 {
        if let Some(nan) = self.nan2(a, b) {
            return nan;
        }
        if b.is_infinity() && if b.sign() { a.is_infinity() } else { a.is_zero() } {
            return self.invalid();
        }
        if self.denormal(a.is_denormal() || b.is_denormal()) || a.is_infinity() || a.is_zero() {
            return a;
        }
        if b.is_infinity() {
            return if b.sign() { F80::zero(a.sign()) } else { F80::infinity(a.sign()) };
        }
        let (e, m) = a.parts();
        let be = b.exp() - BIAS;
        let n = match be {
            ..0 => 0,
            0..=15 => (b.mantissa >> (63 - be)) as i32,
            // Past every exponent, and with no overflow in what follows.
            _ => 0x1_0000,
        };
        self.pack(a.sign(), if b.sign() { e - n } else { e + n }, m, 0, 0)
    }

    /// FXTRACT: exponent as a number, and the significand in [1, 2).
    pub fn extract(&mut self, a: F80) -> (F80, F80) {
        if let Some(nan) = self.nan1(a) {
            return (nan, nan);
        }
        if a.is_infinity() {
            return (F80::infinity(false), a);
        }
        if a.is_zero() {
            return (self.zero_divide(true), a);
        }
        if self.denormal(a.is_denormal()) {
            return (a, a);
        }
        let (e, m) = a.parts();
        (crate::convert::from_i64(i64::from(e - BIAS)), F80::new(a.sign(), BIAS as u16, m))
    }

    /// Compare: `None` if unordered. With `quiet` a quiet NaN does not raise #I (the FUCOM family).
    #[inline]
    pub fn compare(&mut self, a: F80, b: F80, quiet: bool) -> Option<Ordering> {
        if !(a.is_normal() && b.is_normal()) {
            if a.is_unsupported() || b.is_unsupported() {
                self.flags |= IE;
                return None;
            }
            if a.is_nan() || b.is_nan() {
                if !quiet || a.is_signalling() || b.is_signalling() {
                    self.flags |= IE;
                }
                return None;
            }
            self.denormal(a.is_denormal() || b.is_denormal());
            if a.is_zero() && b.is_zero() {
                return Some(Ordering::Equal);
            }
        }
        // A pseudo-denormal has the value of exponent 1.
        let key = |v: F80| (v.exp().max(1), v.mantissa);
        let magnitude = key(a).cmp(&key(b));
        Some(match (a.sign(), b.sign()) {
            (false, false) => magnitude,
            (true, true) => magnitude.reverse(),
            (false, true) => Ordering::Greater,
            (true, false) => Ordering::Less,
        })
    }
}

/// The fraction that a remainder stands for: below, at or above one half of the last place.
#[inline]
fn remainder_fraction(twice: u128, d: u128, any: bool) -> u64 {
    match twice.cmp(&d) {
        Ordering::Less => u64::from(any),
        Ordering::Equal => INTEGER_BIT,
        Ordering::Greater => INTEGER_BIT | 1,
    }
}
