//! Sines to logarithms, with fixed-point series of about 100 correct bits, so that the result is rounded wrongly only
//! when the true value lies within 2^-10 or less of the last place from a tie (Intel SDM volume 1, section 8.3.10).
//!
//! Arguments of the trigonometric functions are reduced with the 66-bit pi of the hardware (SDM 8.3.8), exactly.

use crate::f80::{BIAS, C2, Env, F80, INTEGER_BIT, PE, UE};
use std::cmp::Ordering;

/// A positive number `sig` * 2^(exp - 127), `sig` normalised (bit 127 set).
#[derive(Clone, Copy)]
struct Wide {
    exp: i32,
    sig: u128,
}

/// pi/2 in units of 2^-65: the 66 bits that the hardware has of pi.
const HALF_PI_66: u128 = 0x3_243f_6a88_85a3_08d3;
/// pi with 126 fraction bits.
const PI: u128 = 0xc90f_daa2_2168_c234_c4c6_628b_80dc_1cd1;
/// ln 2 with 128 fraction bits.
const LN_2: u128 = 0xb172_17f7_d1cf_79ab_c9e3_b398_03f2_f6af;
/// 1 / ln 2 with 127 fraction bits.
const LOG2_E: u128 = 0xb8aa_3b29_5c17_f0bb_be87_fed0_691d_3e88;
/// 1.0 with 127 fraction bits.
const ONE: u128 = 1 << 127;
/// atan(k/16) with 127 fraction bits.
const ATAN_16THS: [u128; 17] = [
    0x0,
    0x07fd_56ed_cb3f_7a71_b659_3c96_e071_706a,
    0x0fea_dd4d_5617_b6e3_2c89_7989_f3e8_88ef,
    0x17b9_7b4b_ce5b_0226_8f61_69f1_0393_8e90,
    0x1f5b_75f9_2c80_dd62_adb8_f3de_bef4_42fc,
    0x26c4_ee6e_0fd7_979a_716a_ed26_349e_bcca,
    0x2dec_3283_c9bd_e11c_e2a8_c848_b73f_9120,
    0x34c9_dd87_9847_f96d_909f_257a_4007_9c4d,
    0x3b58_ce0a_c376_9ed1_5bf9_117b_2f0e_a340,
    0x4195_fa53_6cc3_3f15_25b5_04e5_b0d2_8ae0,
    0x4780_2eaf_7bfa_cfcd_ae41_af0b_32e2_1ba3,
    0x4d17_c073_38de_ed10_2113_7c71_1027_f9de,
    0x525e_3e8c_9a7b_8492_0cd4_3f95_22be_d64f,
    0x5756_261c_5a6c_6040_0a39_2f17_9f29_0385,
    0x5c02_9f15_e118_cf39_e596_d2a9_0852_221e,
    0x6067_42dc_5629_3320_44ee_b162_3749_7d12,
    0x6487_ed51_10b4_611a_6263_3145_c06e_0e68,
];

/// 1/n! for n = 0.. with 127 fraction bits.
const INVERSE_FACTORIALS: [u128; 34] = {
    let mut t = [ONE; 34];
    let mut n = 1;
    while n < 34 {
        t[n] = t[n - 1] / n as u128;
        n += 1;
    }
    t
};

/// 1/(2n+1) for n = 0.. with 127 fraction bits.
const ODD_INVERSES: [u128; 24] = {
    let mut t = [ONE; 24];
    let mut n = 1;
    while n < 24 {
        t[n] = ONE / (2 * n as u128 + 1);
        n += 1;
    }
    t
};

/// High half of a product: the product of two fractions of 128 bits.
#[inline]
const fn mul_high(a: u128, b: u128) -> u128 {
    let (a1, a0) = (a >> 64, a as u64 as u128);
    let (b1, b0) = (b >> 64, b as u64 as u128);
    let low = (a0 * b0) >> 64;
    let m1 = a1 * b0;
    let m2 = a0 * b1;
    let carry = (low + (m1 as u64 as u128) + (m2 as u64 as u128)) >> 64;
    a1 * b1 + (m1 >> 64) + (m2 >> 64) + carry
}

impl Wide {
    #[inline]
    const fn new(exp: i32, sig: u128) -> Wide {
        let lz = sig.leading_zeros();
        Wide { exp: exp - lz as i32, sig: sig << (lz & 127) }
    }

    /// A finite non-zero operand.
    const fn of(a: F80) -> Wide {
        let (e, m) = a.parts();
        Wide { exp: e - BIAS, sig: (m as u128) << 64 }
    }

    #[inline]
    const fn mul(self, o: Wide) -> Wide {
        Wide::new(self.exp + o.exp + 1, mul_high(self.sig, o.sig))
    }

    /// Quotient; good to 75 bits.
    const fn div(self, o: Wide) -> Wide {
        ratio(self.exp - o.exp, self.sig >> 52, o.sig >> 52)
    }

    /// As a fraction of 1 with 128 bits; the value must be under 1, and what lies under 2^-128 is lost.
    #[inline]
    const fn fraction(self) -> u128 {
        let n = -1 - self.exp;
        if n >= 128 { 0 } else { self.sig >> n }
    }
}

/// `n / d * 2^exp` to 100 bits, for `n` and `d` above 0 and under 2^77.
const fn ratio(exp: i32, n: u128, d: u128) -> Wide {
    let s = n.leading_zeros() as i32 - d.leading_zeros() as i32;
    let (mut n, d, exp) = if s >= 0 { (n << s, d, exp - s) } else { (n, d << -s, exp - s) };
    // Now n and d have equal lengths: the quotient is in (1/2, 2).
    let mut q = n / d;
    let mut i = 0;
    while i < 2 {
        n = (n % d) << 50;
        q = (q << 50) | (n / d);
        i += 1;
    }
    Wide::new(exp + 27, q)
}

/// Alternating series 1 - z*c1 + z^2*c2 - ... in fractions of 127 bits, where `z` is a fraction of 128 bits and the
/// products shrink. Never quite 1: the true value of every such series here lies below it.
fn alternating(z: u128, terms: impl DoubleEndedIterator<Item = u128>) -> u128 {
    let tail = terms.rev().fold(0, |s, c| c - mul_high(z, s).min(c));
    ONE - mul_high(z, tail).max(1)
}

fn sin_series(r: Wide) -> Wide {
    let z = r.mul(r).fraction();
    let p = alternating(z, INVERSE_FACTORIALS[3..30].iter().step_by(2).copied());
    r.mul(Wide::new(0, p))
}

fn cos_series(r: Wide) -> Wide {
    let z = r.mul(r).fraction();
    Wide::new(0, alternating(z, INVERSE_FACTORIALS[2..30].iter().step_by(2).copied()))
}

/// `t * (1 - t^2/3 + t^4/5 ...)` for t under 1/16.
fn atan_series(t: Wide) -> Wide {
    let z = t.mul(t).fraction();
    t.mul(Wide::new(0, alternating(z, ODD_INVERSES[1..14].iter().copied())))
}

/// `t * (1 + t^2/3 + t^4/5 ...)` for t under 0.18.
fn atanh_series(t: Wide) -> Wide {
    let z = t.mul(t).fraction();
    let tail = ODD_INVERSES[1..].iter().rev().fold(0, |s, c| c + mul_high(z, s));
    // Halved, so that the sum stays under 1.
    t.mul(Wide::new(1, (ONE >> 1) + (mul_high(z, tail) >> 1).max(1)))
}

/// sin or cos of a reduced angle, with its sign.
struct Angle {
    /// Quarter turns taken off, modulo 4.
    quadrant: u64,
    /// What is left is negative.
    negative: bool,
    /// What is left, at most pi/4. Never zero: no 64-bit significand is a multiple of the odd 66-bit `HALF_PI_66`.
    rest: Wide,
}

/// Reduce `|a|`, below 2^63, by multiples of pi/2.
fn reduce(a: F80) -> Angle {
    let (e, m) = a.parts();
    let e = e - BIAS;
    if e < -2 {
        return Angle { quadrant: 0, negative: false, rest: Wide::of(a) };
    }
    let units = u128::from(m) << (e + 2).clamp(0, 64);
    let mut q = units / HALF_PI_66;
    let mut r = units % HALF_PI_66;
    let negative = 2 * r > HALF_PI_66;
    if negative {
        q += 1;
        r = HALF_PI_66 - r;
    }
    // The unit is 2^-65: bit 127 of a Wide with exponent 62 stands for 2^62.
    Angle { quadrant: q as u64 & 3, negative, rest: Wide::new(62, r) }
}

impl Angle {
    /// Sine of `quadrant` + `shift` quarter turns and the rest: sign and magnitude.
    fn sine(&self, shift: u64) -> (bool, Wide) {
        let q = (self.quadrant + shift) & 3;
        if q & 1 == 0 {
            ((q == 2) ^ self.negative, sin_series(self.rest))
        } else {
            (q == 3, cos_series(self.rest))
        }
    }
}

/// Results of the functions of one angle.
pub enum Trig {
    /// The angle is out of range: C2 is set, nothing else changes.
    OutOfRange,
    /// The results: the second for FSINCOS and FPTAN.
    Value(F80, F80),
}

impl Env {
    fn pack_wide(&mut self, sign: bool, w: Wide) -> F80 {
        self.pack(sign, w.exp + BIAS, (w.sig >> 64) as u64, w.sig as u64 | 1, 0)
    }

    /// Pack the sine or tangent of `a`. In and next to the denormals it is `a` whatever the rounding, though inexact.
    fn pack_small(&mut self, a: F80, sign: bool, w: Wide) -> F80 {
        if a.exp() > 1 {
            return self.pack_wide(sign, w);
        }
        let (e, m) = a.parts();
        let v = self.pack(a.sign(), e, m, 0, 0);
        self.call_inexact(v)
    }

    fn trig(&mut self, a: F80, zero: (F80, F80), f: impl FnOnce(&mut Env, Angle) -> (F80, F80)) -> Trig {
        if let Some(nan) = self.nan1(a) {
            return Trig::Value(nan, nan);
        }
        if a.is_infinity() {
            let nan = self.invalid();
            return Trig::Value(nan, nan);
        }
        if a.exp() >= BIAS + 63 {
            self.flags |= C2;
            return Trig::OutOfRange;
        }
        if self.denormal(a.is_denormal()) || a.is_zero() {
            return Trig::Value(zero.0, zero.1);
        }
        let (x, y) = f(self, reduce(a));
        Trig::Value(x, y)
    }

    /// FSIN.
    pub fn sin(&mut self, a: F80) -> Trig {
        self.trig(a, (a, a), |env, angle| {
            let (s, w) = angle.sine(0);
            let v = env.pack_small(a, s ^ a.sign(), w);
            (v, v)
        })
    }

    /// FCOS.
    pub fn cos(&mut self, a: F80) -> Trig {
        self.trig(a, (F80::ONE, F80::ONE), |env, angle| {
            let (s, w) = angle.sine(1);
            let v = env.pack_wide(s, w);
            (v, v)
        })
    }

    /// FSINCOS: sine, cosine.
    pub fn sin_cos(&mut self, a: F80) -> Trig {
        self.trig(a, (a, F80::ONE), |env, angle| {
            let ((ss, s), (cs, c)) = (angle.sine(0), angle.sine(1));
            (env.pack_small(a, ss ^ a.sign(), s), env.pack_wide(cs, c))
        })
    }

    /// FPTAN: tangent, and the 1.0 to push.
    pub fn tan(&mut self, a: F80) -> Trig {
        self.trig(a, (a, F80::ONE), |env, angle| {
            let ((ss, s), (cs, c)) = (angle.sine(0), angle.sine(1));
            (env.pack_small(a, ss ^ cs ^ a.sign(), s.div(c)), F80::ONE)
        })
    }

    /// FPATAN: the angle of the point (`x`, `y`).
    pub fn atan2(&mut self, y: F80, x: F80) -> F80 {
        if let Some(nan) = self.nan2(y, x) {
            return nan;
        }
        if self.denormal(y.is_denormal() || x.is_denormal()) {
            return y;
        }
        let sign = y.sign();
        let turn = |env: &mut Env, eighths: u128| env.pack_wide(sign, Wide::new(2, (PI >> 3) * eighths));
        match (y.is_infinity(), x.is_infinity()) {
            (true, true) => return turn(self, if x.sign() { 3 } else { 1 }),
            (true, false) => return turn(self, 2),
            (false, true) if x.sign() => return turn(self, 4),
            (false, true) => return F80::zero(sign),
            _ => {}
        }
        if y.is_zero() {
            return if x.sign() { turn(self, 4) } else { F80::zero(sign) };
        }
        if x.is_zero() {
            return turn(self, 2);
        }
        let ((ey, my), (ex, mx)) = (y.parts(), x.parts());
        let swap = (ey, my) > (ex, mx);
        let w = if swap { atan_ratio((ex, mx), (ey, my)) } else { atan_ratio((ey, my), (ex, mx)) };
        if !swap && !x.sign() {
            return self.pack_wide(sign, w);
        }
        // pi/2 and pi with 125 fraction bits; the ratio's angle is at most pi/4.
        let base = if swap { PI >> 2 } else { PI >> 1 };
        let part = w.fraction() >> 3;
        let sum = if swap && x.sign() { base + part } else { base - part };
        self.pack_wide(sign, Wide::new(2, sum))
    }

    /// F2XM1: 2^a - 1 for |a| up to 1.
    pub fn exp2_m1(&mut self, a: F80) -> F80 {
        if let Some(nan) = self.nan1(a) {
            return nan;
        }
        if a.is_infinity() {
            return if a.sign() { F80::ONE.negate() } else { a };
        }
        if self.denormal(a.is_denormal()) || a.is_zero() {
            return a;
        }
        if a.exp() >= BIAS {
            // Beyond 1 the result is undefined; hardware hands the operand back. It calls even the exact ones inexact.
            self.flags |= PE;
            return match (a.abs() == F80::ONE, a.sign()) {
                (true, true) => F80::new(true, BIAS as u16 - 1, INTEGER_BIT),
                _ => a,
            };
        }
        let y = Wide::of(a).mul(Wide { exp: -1, sig: LN_2 });
        let z = y.fraction();
        let c = INVERSE_FACTORIALS[2..].iter().copied();
        let p = if a.sign() {
            Wide::new(0, alternating(z, c))
        } else {
            let tail = c.rev().fold(0, |s, c| c + mul_high(z, s));
            Wide::new(1, (ONE >> 1) + (mul_high(z, tail) >> 1).max(1))
        };
        self.pack_wide(a.sign(), y.mul(p))
    }

    /// FYL2X: `y * log2(x)`.
    pub fn y_log2_x(&mut self, y: F80, x: F80) -> F80 {
        if let Some(nan) = self.nan2(y, x) {
            return nan;
        }
        if x.sign() && !x.is_zero() {
            return self.invalid();
        }
        let above = compare_one(x);
        if x.is_zero() {
            if y.is_zero() {
                return self.invalid();
            }
            if y.is_infinity() {
                return y.negate();
            }
            // The pole comes before a denormal multiplier.
            return self.zero_divide(!y.sign());
        }
        if (y.is_infinity() && above == Ordering::Equal) || (x.is_infinity() && y.is_zero()) {
            return self.invalid();
        }
        if self.denormal(y.is_denormal() || x.is_denormal()) {
            return y;
        }
        let sign = y.sign() ^ (above == Ordering::Less);
        if x.is_infinity() || y.is_infinity() {
            return F80::infinity(sign);
        }
        if y.is_zero() || above == Ordering::Equal {
            return F80::zero(sign);
        }
        let (e, m) = x.parts();
        let e = e - BIAS;
        if m == INTEGER_BIT {
            let n = crate::convert::from_i64(i64::from(e));
            return self.exact_product(sign, y, n);
        }
        self.pack_wide(sign, log2(e, u128::from(m) << 64).mul(Wide::of(y)))
    }

    /// Product with a small integer, at full precision whatever the precision control. Hardware calls it inexact even
    /// when it is not.
    fn exact_product(&mut self, sign: bool, y: F80, n: F80) -> F80 {
        let ((ey, my), (en, mn)) = (y.parts(), n.parts());
        let p = Wide::new(1, u128::from(my) * u128::from(mn));
        let v = self.pack(sign, ey + en - BIAS + p.exp, (p.sig >> 64) as u64, p.sig as u64, 0);
        self.call_inexact(v)
    }

    /// Raise what goes with `v` being inexact, though it was computed exactly.
    fn call_inexact(&mut self, v: F80) -> F80 {
        self.flags |= PE | if v.is_denormal() { UE } else { 0 };
        v
    }

    /// FYL2XP1: `y * log2(x + 1)`, defined for |x| under 1 - sqrt(1/2).
    pub fn y_log2_x_plus_1(&mut self, y: F80, x: F80) -> F80 {
        if let Some(nan) = self.nan2(y, x) {
            return nan;
        }
        let sign = y.sign() ^ x.sign();
        if (x.is_infinity() && (x.sign() || y.is_zero())) || (x.is_zero() && y.is_infinity()) {
            return self.invalid();
        }
        if self.denormal(y.is_denormal() || x.is_denormal()) {
            return y;
        }
        if x.is_infinity() || y.is_infinity() {
            return F80::infinity(sign);
        }
        if x.is_zero() || y.is_zero() {
            return F80::zero(sign);
        }
        if x.sign() && x.exp() >= BIAS {
            // The logarithm of zero or of a negative number is undefined; hardware hands the operand back.
            self.flags |= PE;
            return x;
        }
        let (e, m) = x.parts();
        let e = e - BIAS;
        let log = log2_plus_one(x.sign(), e, m);
        self.pack_wide(sign, log.mul(Wide::of(y)))
    }
}

/// atan(n/d) for n <= d, both as exponent and significand.
fn atan_ratio((en, mn): (i32, u64), (ed, md): (i32, u64)) -> Wide {
    let t = ratio(en - ed, u128::from(mn), u128::from(md));
    // The nearest sixteenth.
    let k = if t.exp >= 0 { 16 } else { ((t.fraction() >> 123) + 1) >> 1 };
    if k == 0 {
        return atan_series(t);
    }
    // atan(n/d) = atan(k/16) + atan((16n - kd) / (16d + kn)), all of it integers.
    let n = u128::from(mn);
    let den = u128::from(md) << (ed - en);
    let (left, right) = (16 * n, k * den);
    let table = ATAN_16THS[k as usize];
    if left == right {
        return Wide::new(0, table);
    }
    let rest = atan_series(ratio(0, left.abs_diff(right), 16 * den + k * n)).fraction() >> 1;
    Wide::new(0, if left > right { table + rest } else { table - rest })
}

/// log2 of `t` = (f - 1)/(f + 1), for the number f.
fn log2_of_ratio(t: Wide) -> Wide {
    atanh_series(t).mul(Wide { exp: 1, sig: LOG2_E })
}

/// Magnitude of log2 of `sig` * 2^(e - 127), `sig` normalised; 75 bits of it count.
fn log2(e: i32, sig: u128) -> Wide {
    /// sqrt(2) with 127 fraction bits, near enough.
    const SQRT_2: u128 = 0xb504_f333_f9de_6484 << 64;
    const UNIT: u128 = 1 << 75;
    let f = sig >> 52;
    // f in [sqrt(1/2), sqrt(2)): small, and of the sign of the whole.
    let (e, below, n, d) =
        if sig < SQRT_2 { (e, false, f - UNIT, f + UNIT) } else { (e + 1, true, 2 * UNIT - f, 2 * UNIT + f) };
    let log = log2_of_ratio(ratio(0, n, d));
    if e == 0 {
        return log;
    }
    let whole = u128::from(e.unsigned_abs()) << 111;
    let part = log.fraction() >> 17;
    Wide::new(16, if below == (e < 0) { whole + part } else { whole - part })
}

/// Magnitude of log2(1 + x) for x = `m` * 2^(e - 63), negative if `negative`, above -1.
fn log2_plus_one(negative: bool, e: i32, m: u64) -> Wide {
    let x = u128::from(m);
    let join = |one: u128, x: u128| if negative { one - x } else { one + x };
    if e < -2 {
        // x / (2 + x), the divisor in units of 2^-75.
        let small = if e < -12 { x.checked_shr((-12 - e) as u32).unwrap_or(0) } else { x << (e + 12) };
        return log2_of_ratio(ratio(e + 12, x, join(2 << 75, small)));
    }
    // Beyond 2^58 the one no longer shows.
    let sum = if e > 58 { x << 64 } else { join(1 << 65, x << (e + 2)) };
    let exp = if e > 58 { e } else { 62 - sum.leading_zeros() as i32 };
    log2(exp, sum << sum.leading_zeros())
}

/// A positive or zero number against 1.
fn compare_one(x: F80) -> Ordering {
    (x.exp(), x.mantissa).cmp(&(BIAS, INTEGER_BIT))
}
