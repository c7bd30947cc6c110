//! The arithmetic itself: results and status flags of integer operations, with no CPU around it.
//!
//! Every function takes plain numbers and gives plain numbers, so that each can be held against the host's own
//! CPU. Flags that the manuals leave undefined are set as Intel's cores since Sandy Bridge set them (measured):
//! the overflow flag of a shift or rotate by several bits is that of its first step, the auxiliary flag is
//! cleared, a multiplication clears ZF and takes SF and PF from the low half, a bit scan takes PF from the index.

use super::Int;

/// Carry flag, bit 0 of RFLAGS.
pub const CF: u32 = 1 << 0;
/// Parity flag, bit 2.
pub const PF: u32 = 1 << 2;
/// Auxiliary carry flag, bit 4.
pub const AF: u32 = 1 << 4;
/// Zero flag, bit 6.
pub const ZF: u32 = 1 << 6;
/// Sign flag, bit 7.
pub const SF: u32 = 1 << 7;
/// Direction flag, bit 10.
pub const DF: u32 = 1 << 10;

/// PF for the low byte of a result: set when the number of ones is even.
#[inline]
pub fn parity(low: u8) -> u32 {
    (low.count_ones() & 1 ^ 1) * PF
}

/// SF, ZF and PF of a result.
#[inline]
pub fn szp<T: Int>(r: T) -> u32 {
    let r = r.zext();
    parity(r as u8) | ((r == 0) as u32 * ZF) | (((r >> (T::BITS - 1)) & 1) as u32 * SF)
}

#[inline]
fn bit<T: Int>(a: T, n: u32) -> u32 {
    ((a.zext() >> n) & 1) as u32
}

#[inline]
fn msb<T: Int>(a: T) -> u32 {
    bit(a, T::BITS - 1)
}

/// The count that a shift really uses: five bits, six for 64-bit operands (SDM vol. 2, SAL/SAR/SHL/SHR).
#[inline]
pub fn mask_count<T: Int>(n: u8) -> u32 {
    u32::from(n) & if T::BITS == 64 { 63 } else { 31 }
}

/// What a shift or rotate gives: the result, the carry and the overflow flag.
pub struct Shifted<T> {
    /// The result.
    pub r: T,
    /// CF.
    pub c: bool,
    /// OF.
    pub o: bool,
}

/// SHL by a masked count of 1 or more.
#[inline]
pub fn shl<T: Int>(a: T, n: u32) -> Shifted<T> {
    let v = a.zext();
    let c = if T::BITS == 64 { (v >> (64 - n)) & 1 } else { ((v << n) >> (T::BITS & 63)) & 1 };
    Shifted { r: T::from64(v << n), c: c != 0, o: msb(a) != bit(a, T::BITS - 2) }
}

/// SHR by a masked count of 1 or more.
#[inline]
pub fn shr<T: Int>(a: T, n: u32) -> Shifted<T> {
    let v = a.zext();
    Shifted { r: T::from64(v >> n), c: (v >> (n - 1)) & 1 != 0, o: msb(a) != 0 }
}

/// SAR by a masked count of 1 or more.
#[inline]
pub fn sar<T: Int>(a: T, n: u32) -> Shifted<T> {
    let v = a.sext() as i64;
    Shifted { r: T::from64((v >> n) as u64), c: (v >> (n - 1)) & 1 != 0, o: false }
}

#[inline]
fn rotated<T: Int>(a: T, left: u32) -> T {
    let n = left % T::BITS;
    let v = a.zext();
    T::from64((v << n) | (v >> ((T::BITS - n) & 63)))
}

/// ROL by a masked count of 1 or more.
#[inline]
pub fn rol<T: Int>(a: T, n: u32) -> Shifted<T> {
    let r = rotated(a, n);
    Shifted { r, c: bit(r, 0) != 0, o: msb(a) != bit(a, T::BITS - 2) }
}

/// ROR by a masked count of 1 or more.
#[inline]
pub fn ror<T: Int>(a: T, n: u32) -> Shifted<T> {
    let r = rotated(a, T::BITS - n % T::BITS);
    Shifted { r, c: msb(r) != 0, o: msb(a) != bit(a, 0) }
}

/// RCL through the carry by a masked count: `None` when nothing, not even a flag, changes.
#[inline]
pub fn rcl<T: Int>(a: T, n: u32, carry: bool) -> Option<Shifted<T>> {
    let n = n % (T::BITS + 1);
    if n == 0 {
        return None;
    }
    let wide = (u128::from(carry) << T::BITS) | u128::from(a.zext());
    let turned = (wide << n) | (wide >> (T::BITS + 1 - n));
    let c = (turned >> T::BITS) & 1 != 0;
    Some(Shifted { r: T::from64(turned as u64), c, o: msb(a) != bit(a, T::BITS - 2) })
}

/// RCR through the carry by a masked count.
#[inline]
pub fn rcr<T: Int>(a: T, n: u32, carry: bool) -> Option<Shifted<T>> {
    let n = n % (T::BITS + 1);
    if n == 0 {
        return None;
    }
    let wide = (u128::from(carry) << T::BITS) | u128::from(a.zext());
    let turned = (wide >> n) | (wide << (T::BITS + 1 - n));
    let c = (turned >> T::BITS) & 1 != 0;
    Some(Shifted { r: T::from64(turned as u64), c, o: carry != (msb(a) != 0) })
}

/// SHLD by a masked count of 1 or more. A 16-bit count above 16 goes on through `a` again.
#[inline]
pub fn shld<T: Int>(a: T, b: T, n: u32) -> Shifted<T> {
    let (x, y) = (a.zext(), b.zext());
    let (r, c) = if T::BITS == 16 {
        let wide = (x << 32) | (y << 16) | x;
        ((wide << n) >> 32, wide >> (48 - n))
    } else {
        ((x << n) | (y >> (T::BITS - n)), x >> (T::BITS - n))
    };
    Shifted { r: T::from64(r), c: c & 1 != 0, o: msb(a) != bit(a, T::BITS - 2) }
}

/// SHRD by a masked count of 1 or more.
#[inline]
pub fn shrd<T: Int>(a: T, b: T, n: u32) -> Shifted<T> {
    let (x, y) = (a.zext(), b.zext());
    let (r, c) = if T::BITS == 16 {
        let wide = (x << 32) | (y << 16) | x;
        (wide >> n, wide >> (n - 1))
    } else {
        ((x >> n) | (y << (T::BITS - n)), x >> (n - 1))
    };
    Shifted { r: T::from64(r), c: c & 1 != 0, o: msb(a) != bit(b, 0) }
}

/// Unsigned product: low half, high half, and whether the high half carries information.
#[inline]
pub fn mul<T: Int>(a: T, b: T) -> (T, T, bool) {
    let p = u128::from(a.zext()) * u128::from(b.zext());
    let high = T::from64((p >> T::BITS) as u64);
    (T::from64(p as u64), high, high.zext() != 0)
}

/// Signed product: low half, high half, and whether the high half is more than the low one's sign.
#[inline]
pub fn imul<T: Int>(a: T, b: T) -> (T, T, bool) {
    let p = i128::from(a.sext() as i64) * i128::from(b.sext() as i64);
    let low = T::from64(p as u64);
    (low, T::from64((p >> T::BITS) as u64), p != i128::from(low.sext() as i64))
}

/// Unsigned quotient and remainder of `high:low` by `b`; `None` is #DE.
#[inline]
pub fn div<T: Int>(high: T, low: T, b: T) -> Option<(T, T)> {
    let d = b.zext();
    if high.zext() >= d {
        // Covers a divisor of zero, and every quotient that does not fit.
        return None;
    }
    if T::BITS < 64 || high.zext() == 0 {
        let n = if T::BITS < 64 { (high.zext() << (T::BITS & 63)) | low.zext() } else { low.zext() };
        return Some((T::from64(n / d), T::from64(n % d)));
    }
    let n = (u128::from(high.zext()) << 64) | u128::from(low.zext());
    let d = u128::from(d);
    Some((T::from64((n / d) as u64), T::from64((n % d) as u64)))
}

/// Signed quotient and remainder of `high:low` by `b`; `None` is #DE.
#[inline]
pub fn idiv<T: Int>(high: T, low: T, b: T) -> Option<(T, T)> {
    let d = i128::from(b.sext() as i64);
    let n = (i128::from(high.sext() as i64) << T::BITS) | i128::from(low.zext());
    let q = n.checked_div(d)?;
    let fits = q == i128::from(T::from64(q as u64).sext() as i64);
    fits.then(|| (T::from64(q as u64), T::from64((n % d) as u64)))
}

/// CRC-32C (polynomial 0x11edc6f41, bits reflected) of `v` onto `crc`, as the CRC32 instruction does it.
#[inline]
pub fn crc32c<T: Int>(crc: u32, v: T) -> u32 {
    // Accumulator bits above a narrow operand are shifted down and not consumed.
    let mut x = u64::from(crc) ^ v.zext();
    for _ in 0..T::BITS {
        x = (x >> 1) ^ if x & 1 != 0 { 0x82f6_3b78 } else { 0 };
    }
    x as u32
}

/// DAA on AL with the flags before it: AL and the status flags (SDM vol. 2, DAA; OF is cleared).
pub fn daa(al: u8, flags: u32) -> (u8, u32) {
    let (mut r, mut f) = (al, 0);
    if al & 15 > 9 || flags & AF != 0 {
        r = r.wrapping_add(6);
        f |= AF;
    }
    if al > 0x99 || flags & CF != 0 {
        r = r.wrapping_add(0x60);
        f |= CF;
    }
    (r, f | szp(r))
}

/// DAS on AL.
pub fn das(al: u8, flags: u32) -> (u8, u32) {
    let (mut r, mut f) = (al, 0);
    if al & 15 > 9 || flags & AF != 0 {
        // A borrow out of the low correction is a carry of its own.
        f |= AF | (flags & CF) | ((al < 6) as u32 * CF);
        r = r.wrapping_sub(6);
    }
    if al > 0x99 || flags & CF != 0 {
        r = r.wrapping_sub(0x60);
        f |= CF;
    }
    (r, f | szp(r))
}

/// AAA on AX: AX and the status flags.
pub fn aaa(ax: u16, flags: u32) -> (u16, u32) {
    ascii(ax, flags, ax.wrapping_add(0x106))
}

/// AAS on AX.
pub fn aas(ax: u16, flags: u32) -> (u16, u32) {
    ascii(ax, flags, ax.wrapping_sub(0x106))
}

fn ascii(ax: u16, flags: u32, adjusted: u16) -> (u16, u32) {
    let adjust = ax & 15 > 9 || flags & AF != 0;
    let (v, f) = if adjust { (adjusted, AF | CF) } else { (ax, 0) };
    let r = v & 0xff0f;
    (r, f | szp(r as u8))
}

/// AAM: AX and the status flags; `None` (#DE) when the base is zero.
pub fn aam(al: u8, base: u8) -> Option<(u16, u32)> {
    let high = al.checked_div(base)?;
    let low = al % base;
    Some((u16::from(high) << 8 | u16::from(low), szp(low)))
}

/// AAD: AL, and the two numbers whose sum it is and whose addition leaves the flags (measured on Intel's cores).
pub fn aad(ax: u16, base: u8) -> (u8, u8, u8) {
    let (al, tens) = (ax as u8, ((ax >> 8) as u8).wrapping_mul(base));
    (al.wrapping_add(tens), al, tens)
}
