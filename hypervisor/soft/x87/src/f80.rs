//! The 80-bit extended format: representation, classes, and the one place where results are rounded and packed
//! (Intel SDM volume 1, sections 4.2, 4.8 and 4.9).

use serde::{Deserialize, Serialize};

/// Status word bit IE: invalid operation.
pub const IE: u16 = 0x01;
/// Status word bit DE: denormal operand.
pub const DE: u16 = 0x02;
/// Status word bit ZE: division by zero.
pub const ZE: u16 = 0x04;
/// Status word bit OE: overflow.
pub const OE: u16 = 0x08;
/// Status word bit UE: underflow.
pub const UE: u16 = 0x10;
/// Status word bit PE: inexact result.
pub const PE: u16 = 0x20;
/// Status word bit SF: the invalid operation was a stack fault.
pub const SF: u16 = 0x40;
/// Status word bit ES: an unmasked exception pends.
pub const ES: u16 = 0x80;
/// Status word bit C0.
pub const C0: u16 = 0x100;
/// Status word bit C1: rounded up, or stack overflow rather than underflow.
pub const C1: u16 = 0x200;
/// Status word bit C2: operand out of range, or reduction incomplete, or unordered.
pub const C2: u16 = 0x400;
/// Status word bit C3.
pub const C3: u16 = 0x4000;
/// Status word bit B: equals ES since the 80387.
pub const BUSY: u16 = 0x8000;

pub(crate) const EXP_MASK: u16 = 0x7fff;
pub(crate) const SIGN: u16 = 0x8000;
/// Exponent bias, and the exponent field of 1.0.
pub(crate) const BIAS: i32 = 0x3fff;
pub(crate) const INTEGER_BIT: u64 = 1 << 63;
const QUIET_BIT: u64 = 1 << 62;
/// What an unmasked overflow or underflow adds to the exponent (SDM 4.9.1.4).
const WRAP: i32 = 0x6000;

/// Rounding control field (control word bits 11:10).
pub(crate) mod rc {
    pub const NEAREST: u16 = 0;
    pub const DOWN: u16 = 1;
    pub const UP: u16 = 2;
    pub const ZERO: u16 = 3;
}

/// A number in double extended format: sign and 15-bit exponent, then 64 bits of significand with explicit integer bit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[repr(C)]
pub struct F80 {
    /// Significand; bit 63 is the integer bit.
    pub mantissa: u64,
    /// Bit 15 is the sign, bits 14:0 the exponent with bias 16383.
    pub sign_exp: u16,
}

impl F80 {
    /// Positive zero.
    pub const ZERO: F80 = F80 { mantissa: 0, sign_exp: 0 };
    /// One.
    pub const ONE: F80 = F80 { mantissa: INTEGER_BIT, sign_exp: 0x3fff };
    /// The real indefinite: the quiet NaN of every masked invalid operation.
    pub const INDEFINITE: F80 = F80 { mantissa: 0xc000_0000_0000_0000, sign_exp: 0xffff };

    /// From sign, biased exponent and significand.
    #[inline]
    pub(crate) const fn new(sign: bool, exp: u16, mantissa: u64) -> F80 {
        F80 { mantissa, sign_exp: ((sign as u16) << 15) | exp }
    }

    #[inline]
    pub(crate) const fn zero(sign: bool) -> F80 {
        F80::new(sign, 0, 0)
    }

    #[inline]
    pub(crate) const fn infinity(sign: bool) -> F80 {
        F80::new(sign, EXP_MASK, INTEGER_BIT)
    }

    /// From the ten little-endian bytes of memory.
    #[inline]
    #[must_use]
    pub const fn from_bytes(b: [u8; 10]) -> F80 {
        F80 {
            mantissa: u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            sign_exp: u16::from_le_bytes([b[8], b[9]]),
        }
    }

    /// To the ten little-endian bytes of memory.
    #[inline]
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 10] {
        let m = self.mantissa.to_le_bytes();
        let e = self.sign_exp.to_le_bytes();
        [m[0], m[1], m[2], m[3], m[4], m[5], m[6], m[7], e[0], e[1]]
    }

    /// True if the sign bit is set.
    #[inline]
    #[must_use]
    pub const fn sign(self) -> bool {
        self.sign_exp & SIGN != 0
    }

    /// Biased exponent field.
    #[inline]
    pub(crate) const fn exp(self) -> i32 {
        (self.sign_exp & EXP_MASK) as i32
    }

    /// A normal finite number: no special case of any operation applies to it.
    #[inline]
    #[must_use]
    pub const fn is_normal(self) -> bool {
        (self.sign_exp & EXP_MASK).wrapping_sub(1) < 0x7ffe && self.mantissa >> 63 != 0
    }

    /// Zero of either sign.
    #[inline]
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.sign_exp & EXP_MASK == 0 && self.mantissa == 0
    }

    /// Denormal or pseudo-denormal.
    #[inline]
    #[must_use]
    pub const fn is_denormal(self) -> bool {
        self.sign_exp & EXP_MASK == 0 && self.mantissa != 0
    }

    /// Unnormal, pseudo-NaN or pseudo-infinity: the encodings that the 80387 and later reject.
    #[inline]
    #[must_use]
    pub const fn is_unsupported(self) -> bool {
        self.sign_exp & EXP_MASK != 0 && self.mantissa >> 63 == 0
    }

    /// Infinity of either sign.
    #[inline]
    #[must_use]
    pub const fn is_infinity(self) -> bool {
        self.sign_exp & EXP_MASK == EXP_MASK && self.mantissa == INTEGER_BIT
    }

    /// Quiet or signalling NaN (not a pseudo-NaN).
    #[inline]
    #[must_use]
    pub const fn is_nan(self) -> bool {
        self.sign_exp & EXP_MASK == EXP_MASK && self.mantissa > INTEGER_BIT
    }

    /// Signalling NaN.
    #[inline]
    #[must_use]
    pub const fn is_signalling(self) -> bool {
        self.is_nan() && self.mantissa & QUIET_BIT == 0
    }

    #[inline]
    pub(crate) const fn quiet(self) -> F80 {
        F80 { mantissa: self.mantissa | QUIET_BIT, ..self }
    }

    #[inline]
    pub(crate) const fn negate(self) -> F80 {
        F80 { sign_exp: self.sign_exp ^ SIGN, ..self }
    }

    #[inline]
    pub(crate) const fn abs(self) -> F80 {
        F80 { sign_exp: self.sign_exp & EXP_MASK, ..self }
    }

    /// A pseudo-denormal as the normal number that it stands for; all else as it is.
    #[inline]
    pub(crate) const fn regular(self) -> F80 {
        if self.sign_exp & EXP_MASK == 0 {
            F80 { sign_exp: self.sign_exp | (self.mantissa >> 63) as u16, ..self }
        } else {
            self
        }
    }

    /// Biased exponent and significand of a finite non-zero number with the integer bit brought up to bit 63;
    /// the exponent of a denormal comes out at or below zero.
    #[inline]
    pub(crate) const fn parts(self) -> (i32, u64) {
        let lz = self.mantissa.leading_zeros();
        let e = self.exp();
        (if e == 0 { 1 - lz as i32 } else { e }, self.mantissa << (lz & 63))
    }

    /// The full two-bit tag of a register that is not empty: 0 valid, 1 zero, 2 special.
    #[must_use]
    pub const fn tag(self) -> u16 {
        if self.is_normal() {
            0
        } else if self.is_zero() {
            1
        } else {
            2
        }
    }
}

/// One operation's surroundings: the control word it obeys and the status bits it raises.
#[derive(Clone, Copy, Debug)]
pub struct Env {
    control: u16,
    /// Exception flags, SF and condition codes raised so far, at their places in the status word.
    pub flags: u16,
}

impl Env {
    /// Surroundings under a control word, with no flag raised.
    #[inline]
    #[must_use]
    pub const fn new(control: u16) -> Env {
        Env { control, flags: 0 }
    }

    #[inline]
    pub(crate) const fn rounding(&self) -> u16 {
        (self.control >> 10) & 3
    }

    /// True if a flag of `which` is raised whose mask is clear.
    #[inline]
    #[must_use]
    pub const fn unmasked(&self, which: u16) -> bool {
        self.flags & !self.control & which & 0x3f != 0
    }

    /// True if an exception that keeps the operation from delivering a result is raised and unmasked.
    #[inline]
    #[must_use]
    pub const fn aborted(&self) -> bool {
        self.unmasked(IE | DE | ZE)
    }

    /// How many low significand bits precision control drops: 40, 11 or 0.
    #[inline]
    pub(crate) const fn drop_bits(&self) -> u32 {
        match self.control & 0x300 {
            0 => 40,
            0x200 => 11,
            _ => 0,
        }
    }

    /// Raise #I and give the indefinite.
    #[cold]
    pub(crate) fn invalid(&mut self) -> F80 {
        self.flags |= IE;
        F80::INDEFINITE
    }

    /// Raise #Z and give an infinity.
    #[cold]
    pub(crate) fn zero_divide(&mut self, sign: bool) -> F80 {
        self.flags |= ZE;
        F80::infinity(sign)
    }

    /// Raise #D if `any`; true if the operation must stop there.
    #[inline]
    pub(crate) fn denormal(&mut self, any: bool) -> bool {
        if any {
            self.flags |= DE;
        }
        any && self.unmasked(DE)
    }

    /// The result if an operand is unsupported or a NaN.
    #[inline]
    pub(crate) fn nan1(&mut self, a: F80) -> Option<F80> {
        if a.is_unsupported() {
            return Some(self.invalid());
        }
        if !a.is_nan() {
            return None;
        }
        if a.is_signalling() {
            self.flags |= IE;
        }
        Some(a.quiet())
    }

    /// The result if either of two operands is unsupported or a NaN (SDM table 4-7: the larger significand wins, and
    /// of equal ones the positive).
    #[cold]
    pub(crate) fn nan2(&mut self, a: F80, b: F80) -> Option<F80> {
        if a.is_unsupported() || b.is_unsupported() {
            return Some(self.invalid());
        }
        if !a.is_nan() {
            return self.nan1(b);
        }
        if !b.is_nan() {
            return self.nan1(a);
        }
        if a.is_signalling() || b.is_signalling() {
            self.flags |= IE;
        }
        let (qa, qb) = (a.quiet(), b.quiet());
        let first = match a.mantissa.cmp(&b.mantissa) {
            std::cmp::Ordering::Greater => true,
            std::cmp::Ordering::Less => false,
            std::cmp::Ordering::Equal => !a.sign(),
        };
        Some(if first { qa } else { qb })
    }

    /// Round and pack `hi.lo` * 2^(exp - 16383), where `hi` is normalised (bit 63 set) and `lo` the fraction of its last
    /// bit, the lowest bit sticky. `drop` low bits of the significand are rounded away (precision control).
    #[inline(always)]
    pub(crate) fn pack(&mut self, sign: bool, exp: i32, hi: u64, lo: u64, drop: u32) -> F80 {
        if drop != 0 || !(1..0x7ffe).contains(&exp) {
            return self.pack_slow(sign, exp, hi, lo, drop);
        }
        if lo == 0 {
            return F80::new(sign, exp as u16, hi);
        }
        self.flags |= PE;
        if !rounds_up(self.rounding(), sign, lo, hi & 1 != 0) {
            return F80::new(sign, exp as u16, hi);
        }
        self.flags |= C1;
        match hi.checked_add(1) {
            Some(m) => F80::new(sign, exp as u16, m),
            None => F80::new(sign, exp as u16 + 1, INTEGER_BIT),
        }
    }

    #[inline(never)]
    fn pack_slow(&mut self, sign: bool, exp: i32, hi: u64, lo: u64, drop: u32) -> F80 {
        let cut = Cut::new(self.rounding(), sign, hi, lo, drop);
        let e = exp + i32::from(cut.carry);
        if e >= 0x7fff {
            return self.overflow(sign, e, cut, drop);
        }
        if e < 1 && self.control & UE == 0 {
            self.flags |= UE;
            self.inexact(&cut);
            let e = e + WRAP;
            if e < 1 {
                // Only FSCALE gets so far below that the wrapped exponent does not fit either.
                self.flags |= PE;
                return F80::zero(sign);
            }
            return F80::new(sign, e as u16, cut.mantissa);
        }
        if exp >= 1 {
            self.inexact(&cut);
            return F80::new(sign, e as u16, cut.mantissa);
        }
        let (hi, lo) = shift_right_jam(hi, lo, (1 - exp) as u32);
        let tiny = e < 1;
        let cut = Cut::new(self.rounding(), sign, hi, lo, drop);
        self.inexact(&cut);
        if tiny && cut.inexact {
            self.flags |= UE;
        }
        F80::new(sign, (cut.mantissa >> 63) as u16, cut.mantissa)
    }

    fn overflow(&mut self, sign: bool, e: i32, cut: Cut, drop: u32) -> F80 {
        self.flags |= OE;
        if self.control & OE == 0 {
            self.inexact(&cut);
            let e = e - WRAP;
            if e >= 0x7fff {
                self.flags |= PE | C1;
                return F80::infinity(sign);
            }
            return F80::new(sign, e as u16, cut.mantissa);
        }
        self.flags |= PE;
        if overflows_to_infinity(self.rounding(), sign) {
            self.flags |= C1;
            F80::infinity(sign)
        } else {
            F80::new(sign, 0x7ffe, u64::MAX << drop)
        }
    }

    #[inline]
    pub(crate) fn inexact(&mut self, cut: &Cut) {
        if cut.inexact {
            self.flags |= PE;
            if cut.up {
                self.flags |= C1;
            }
        }
    }

    /// True if the exceptions of `which` are masked.
    #[inline]
    pub(crate) const fn masked(&self, which: u16) -> bool {
        self.control & which == which
    }
}

/// Whether a masked overflow gives infinity rather than the largest finite number.
#[inline]
pub(crate) const fn overflows_to_infinity(rounding: u16, sign: bool) -> bool {
    match rounding {
        rc::NEAREST => true,
        rc::DOWN => sign,
        rc::UP => !sign,
        _ => false,
    }
}

/// Whether the magnitude grows when a fraction `rest`/2^64 of the last place is rounded away.
#[inline(always)]
pub(crate) const fn rounds_up(rounding: u16, sign: bool, rest: u64, odd: bool) -> bool {
    match rounding {
        rc::NEAREST => rest > INTEGER_BIT || (rest == INTEGER_BIT && odd),
        rc::DOWN => sign && rest != 0,
        rc::UP => !sign && rest != 0,
        _ => false,
    }
}

/// A significand after rounding.
pub(crate) struct Cut {
    /// The kept bits at their places; 2^63 after a carry.
    pub mantissa: u64,
    /// Rounding carried out of bit 63.
    pub carry: bool,
    /// Something was rounded away.
    pub inexact: bool,
    /// The magnitude grew.
    pub up: bool,
}

impl Cut {
    /// Round `hi.lo` at bit `drop` of `hi` (0 to 63).
    #[inline(always)]
    pub fn new(rounding: u16, sign: bool, hi: u64, lo: u64, drop: u32) -> Cut {
        let (kept, rest) = if drop == 0 {
            (hi, lo)
        } else {
            let rest = (hi << (64 - drop)) | (lo >> drop) | u64::from(lo << (64 - drop) != 0);
            ((hi >> drop) << drop, rest)
        };
        let up = rounds_up(rounding, sign, rest, (kept >> drop) & 1 != 0);
        let (sum, carry) = kept.overflowing_add(u64::from(up) << drop);
        Cut { mantissa: if carry { INTEGER_BIT } else { sum }, carry, inexact: rest != 0, up }
    }
}

/// Shift `hi.lo` right by `n`; bits that fall out stay in the lowest bit as a sticky bit.
#[inline]
pub(crate) const fn shift_right_jam(hi: u64, lo: u64, n: u32) -> (u64, u64) {
    let v = jam((hi as u128) << 64 | lo as u128, n);
    ((v >> 64) as u64, v as u64)
}

/// Shift right by any `n`, sticky in the lowest bit.
#[inline]
pub(crate) const fn jam(v: u128, n: u32) -> u128 {
    if n == 0 {
        v
    } else if n < 128 {
        (v >> n) | (v << (128 - n) != 0) as u128
    } else {
        (v != 0) as u128
    }
}
