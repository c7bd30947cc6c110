//! Conversions between the extended format and what memory holds: single, double, integers, packed BCD
//! (Intel SDM volume 1, sections 4.2, 4.7 and 8.1.5).

use crate::f80::{
    BIAS, C1, Cut, EXP_MASK, Env, F80, INTEGER_BIT, OE, PE, UE, overflows_to_infinity, rc, rounds_up,
    shift_right_jam,
};

/// An IEEE interchange format of `F` stored fraction bits and `E` exponent bits.
struct Layout<const F: u32, const E: u32>;

type Single = Layout<23, 8>;
type Double = Layout<52, 11>;

impl<const F: u32, const E: u32> Layout<F, E> {
    /// Largest exponent field: infinities and NaNs.
    const MAX: i32 = (1 << E) - 1;
    /// What to add to an exponent of this format to bias it for the extended one.
    const REBIAS: i32 = BIAS - (Self::MAX >> 1);
    /// Significand bits of the extended format that this one has no room for.
    const DROP: u32 = 63 - F;

    #[inline]
    fn widen(bits: u64) -> F80 {
        let fraction = bits & ((1 << F) - 1);
        let e = (bits >> F) as i32 & Self::MAX;
        let sign = bits >> (F + E) & 1 != 0;
        let m = fraction << (63 - F);
        if e == Self::MAX {
            return F80::new(sign, EXP_MASK, m | INTEGER_BIT);
        }
        if e != 0 {
            return F80::new(sign, (e + Self::REBIAS) as u16, m | INTEGER_BIT);
        }
        if m == 0 {
            return F80::zero(sign);
        }
        let lz = m.leading_zeros();
        F80::new(sign, (Self::REBIAS + 1 - lz as i32) as u16, m << lz)
    }

    #[inline]
    const fn is_denormal(bits: u64) -> bool {
        bits >> F & Self::MAX as u64 == 0 && bits & ((1 << F) - 1) != 0
    }

    #[inline]
    const fn join(sign: bool, e: i32, fraction: u64) -> u64 {
        (sign as u64) << (F + E) | (e as u64) << F | fraction
    }

    #[inline]
    fn narrow(a: F80, env: &mut Env) -> u64 {
        let e = a.exp() - Self::REBIAS;
        let sign = a.sign();
        if a.is_normal() && e >= 1 && e < Self::MAX - 1 {
            let cut = Cut::new(env.rounding(), sign, a.mantissa, 0, Self::DROP);
            env.inexact(&cut);
            return Self::join(sign, e + i32::from(cut.carry), cut.mantissa << 1 >> (Self::DROP + 1));
        }
        Self::narrow_rare(a, env)
    }

    #[cold]
    #[inline(never)]
    fn narrow_rare(a: F80, env: &mut Env) -> u64 {
        if let Some(nan) = env.nan1(a) {
            return Self::join(nan.sign(), Self::MAX, nan.mantissa << 1 >> (Self::DROP + 1));
        }
        let sign = a.sign();
        if a.is_infinity() {
            return Self::join(sign, Self::MAX, 0);
        }
        if a.is_zero() {
            return Self::join(sign, 0, 0);
        }
        let (e, m) = a.parts();
        let e = e - Self::REBIAS;
        let cut = Cut::new(env.rounding(), sign, m, 0, Self::DROP);
        let rounded = e + i32::from(cut.carry);
        if rounded >= Self::MAX {
            env.flags |= OE;
            if !env.masked(OE) {
                return 0;
            }
            env.flags |= PE;
            return if overflows_to_infinity(env.rounding(), sign) {
                env.flags |= C1;
                Self::join(sign, Self::MAX, 0)
            } else {
                Self::join(sign, Self::MAX - 1, (1 << F) - 1)
            };
        }
        if e >= 1 {
            env.inexact(&cut);
            return Self::join(sign, rounded, cut.mantissa << 1 >> (Self::DROP + 1));
        }
        if rounded < 1 && !env.masked(UE) {
            env.flags |= UE;
            return 0;
        }
        let (hi, lo) = shift_right_jam(m, 0, (1 - e) as u32);
        let cut = Cut::new(env.rounding(), sign, hi, lo, Self::DROP);
        env.inexact(&cut);
        if rounded < 1 && cut.inexact {
            env.flags |= UE;
        }
        // A denormal that rounds up to the least normal number carries into the exponent by itself.
        Self::join(sign, 0, 0) | cut.mantissa >> Self::DROP
    }
}

/// Single to extended: exact, NaNs as they are. No exception is raised here.
#[inline]
#[must_use]
pub fn from_f32(bits: u32) -> F80 {
    Single::widen(u64::from(bits))
}

/// Double to extended: exact, NaNs as they are. No exception is raised here.
#[inline]
#[must_use]
pub fn from_f64(bits: u64) -> F80 {
    Double::widen(bits)
}

/// True if the single is denormal.
#[inline]
#[must_use]
pub const fn is_denormal_f32(bits: u32) -> bool {
    Single::is_denormal(bits as u64)
}

/// True if the double is denormal.
#[inline]
#[must_use]
pub const fn is_denormal_f64(bits: u64) -> bool {
    Double::is_denormal(bits)
}

/// Integer to extended: exact.
#[inline]
#[must_use]
pub const fn from_i64(v: i64) -> F80 {
    if v == 0 {
        return F80::ZERO;
    }
    let m = v.unsigned_abs();
    let lz = m.leading_zeros();
    F80::new(v < 0, (BIAS as u32 + 63 - lz) as u16, m << lz)
}

/// Packed BCD to extended: 18 digits and a sign. Digits above nine count as what they are, as on hardware.
#[must_use]
pub fn from_bcd(b: [u8; 10]) -> F80 {
    let [digits @ .., sign] = b;
    let magnitude =
        digits.iter().rev().fold(0i64, |v, &d| v * 100 + i64::from(d >> 4) * 10 + i64::from(d & 15));
    let v = from_i64(magnitude);
    if sign & 0x80 != 0 { v.negate() } else { v }
}

/// Largest magnitude of packed BCD.
const BCD_MAX: u64 = 999_999_999_999_999_999;
/// The packed BCD indefinite.
const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xc0, 0xff, 0xff];

impl Env {
    /// To single, rounded. 0 if an unmasked overflow or underflow forbids the store.
    #[inline]
    pub fn to_f32(&mut self, a: F80) -> u32 {
        Single::narrow(a, self) as u32
    }

    /// To double, rounded. 0 if an unmasked overflow or underflow forbids the store.
    #[inline]
    pub fn to_f64(&mut self, a: F80) -> u64 {
        Double::narrow(a, self)
    }

    /// Magnitude of `a` rounded to an integer, or `None` if it does not fit 64 bits or is not a number.
    /// Sets PE and C1.
    #[inline]
    fn magnitude(&mut self, a: F80, rounding: u16) -> Option<u64> {
        if a.exp() > BIAS + 63 || a.is_unsupported() {
            return None;
        }
        let e = a.exp() - BIAS;
        let (whole, rest) = match e {
            63 => (a.mantissa, 0),
            0..63 => (a.mantissa >> (63 - e), a.mantissa << (e + 1)),
            -1 => (0, a.mantissa),
            _ => (0, u64::from(a.mantissa != 0)),
        };
        if rest == 0 {
            return Some(whole);
        }
        let up = rounds_up(rounding, a.sign(), rest, whole & 1 != 0);
        // A fraction is left only below 2^63: this cannot carry out.
        let v = whole.wrapping_add(u64::from(up));
        self.flags |= PE | if up { C1 } else { 0 };
        Some(v)
    }

    /// To an integer of `bits` (16, 32 or 64) bits, truncated if `truncate`, else by the rounding control. The integer
    /// indefinite with #I if it does not fit.
    #[inline]
    pub fn to_int(&mut self, a: F80, bits: u32, truncate: bool) -> i64 {
        let rounding = if truncate { rc::ZERO } else { self.rounding() };
        let before = self.flags;
        let limit = 1u64 << (bits - 1);
        match self.magnitude(a, rounding) {
            Some(v) if a.sign() && v <= limit => (v as i64).wrapping_neg(),
            Some(v) if !a.sign() && v < limit => v as i64,
            _ => {
                self.flags = before;
                self.invalid();
                (limit as i64).wrapping_neg()
            }
        }
    }

    /// To packed BCD. The BCD indefinite with #I if it has more than 18 digits.
    pub fn to_bcd(&mut self, a: F80) -> [u8; 10] {
        let before = self.flags;
        match self.magnitude(a, self.rounding()) {
            Some(mut v) if v <= BCD_MAX => {
                let mut out = [0; 10];
                for b in &mut out[..9] {
                    let pair = (v % 100) as u8;
                    *b = ((pair / 10) << 4) | (pair % 10);
                    v /= 100;
                }
                out[9] = u8::from(a.sign()) << 7;
                out
            }
            _ => {
                self.flags = before;
                self.invalid();
                BCD_INDEFINITE
            }
        }
    }
}
