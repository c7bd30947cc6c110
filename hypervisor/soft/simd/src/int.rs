//! Integer arithmetic, comparison and logic, lane by lane.

use crate::lanes::{Register, both_widths, join, map1, map2, pairs, split, xmm_only};

fn mask<T: Default + std::ops::Not<Output = T>>(set: bool) -> T {
    if set { !T::default() } else { T::default() }
}

/// The high half of a 16-bit product after rounding at bit 14 (PMULHRSW).
fn mulhrs(x: i16, y: i16) -> i16 {
    ((((i32::from(x) * i32::from(y)) >> 14) + 1) >> 1) as i16
}

fn avg8(x: u8, y: u8) -> u8 {
    ((u16::from(x) + u16::from(y) + 1) >> 1) as u8
}

fn avg16(x: u16, y: u16) -> u16 {
    ((u32::from(x) + u32::from(y) + 1) >> 1) as u16
}

/// Sums of absolute differences of each eight bytes, in 64-bit lanes.
#[inline(always)]
fn sad<const N: usize, V: Register>(a: V, b: V) -> V {
    let (a, b) = (split::<[u8; 8], N, V>(a), split::<[u8; 8], N, V>(b));
    join::<u64, N, V>(std::array::from_fn(|i| {
        a[i].iter().zip(b[i]).map(|(&x, y)| u64::from(x.abs_diff(y))).sum()
    }))
}

/// A bitwise operation, for which lanes do not matter.
#[inline(always)]
fn whole<const N: usize, V: Register>(a: V, b: V, f: impl Fn(u64, u64) -> u64) -> V {
    V::halves(a, b, f)
}

/// All ones in each lane that is equal, `N` lanes in the register. In whole integers, because loops over text live on
/// it: a lane differs if the difference has the lane's top bit, or carries into it when one less than it is added.
#[inline(always)]
fn equal<const N: usize, V: Register>(a: V, b: V) -> V {
    let width = 8 * size_of::<V>() / N;
    let lowest = u64::MAX / (u64::MAX >> (64 - width));
    let top = lowest << (width - 1);
    V::halves(a, b, |a, b| {
        let difference = a ^ b;
        let same = !(((difference & !top) + !top) | difference) & top;
        // The top bit less the lowest is all the bits between.
        (same - (same >> (width - 1))) | same
    })
}

/// Horizontal operation: pairs of `a` fill the lower half of the result, pairs of `b` the upper.
#[inline(always)]
fn horizontal<T: crate::lanes::Lane, const N: usize, V: Register>(a: V, b: V, f: impl Fn(T, T) -> T) -> V {
    let (a, b) = (split::<T, N, V>(a), split::<T, N, V>(b));
    join::<T, N, V>(std::array::from_fn(|i| {
        let j = 2 * i % N;
        if i < N / 2 { f(a[j], a[j + 1]) } else { f(b[j], b[j + 1]) }
    }))
}

/// `b` decides the sign of `a`: kept, negated or zeroed.
macro_rules! sign {
    () => {
        |x, y| match y.signum() {
            0 => 0,
            1 => x,
            _ => x.wrapping_neg(),
        }
    };
}

both_widths! {
    /// Add bytes.
    paddb(a, b) = map2<u8; u8>(u8::wrapping_add);
    /// Add words.
    paddw(a, b) = map2<u16; u16>(u16::wrapping_add);
    /// Add doublewords.
    paddd(a, b) = map2<u32; u32>(u32::wrapping_add);
    /// Add quadwords.
    paddq(a, b) = map2<u64; u64>(u64::wrapping_add);
    /// Add signed bytes with saturation.
    paddsb(a, b) = map2<i8; i8>(i8::saturating_add);
    /// Add signed words with saturation.
    paddsw(a, b) = map2<i16; i16>(i16::saturating_add);
    /// Add unsigned bytes with saturation.
    paddusb(a, b) = map2<u8; u8>(u8::saturating_add);
    /// Add unsigned words with saturation.
    paddusw(a, b) = map2<u16; u16>(u16::saturating_add);
    /// Subtract bytes.
    psubb(a, b) = map2<u8; u8>(u8::wrapping_sub);
    /// Subtract words.
    psubw(a, b) = map2<u16; u16>(u16::wrapping_sub);
    /// Subtract doublewords.
    psubd(a, b) = map2<u32; u32>(u32::wrapping_sub);
    /// Subtract quadwords.
    psubq(a, b) = map2<u64; u64>(u64::wrapping_sub);
    /// Subtract signed bytes with saturation.
    psubsb(a, b) = map2<i8; i8>(i8::saturating_sub);
    /// Subtract signed words with saturation.
    psubsw(a, b) = map2<i16; i16>(i16::saturating_sub);
    /// Subtract unsigned bytes with saturation.
    psubusb(a, b) = map2<u8; u8>(u8::saturating_sub);
    /// Subtract unsigned words with saturation.
    psubusw(a, b) = map2<u16; u16>(u16::saturating_sub);
    /// Low words of the products of words.
    pmullw(a, b) = map2<u16; u16>(u16::wrapping_mul);
    /// High words of the products of signed words.
    pmulhw(a, b) = map2<i16; i16>(|x, y| ((i32::from(x) * i32::from(y)) >> 16) as i16);
    /// High words of the products of unsigned words.
    pmulhuw(a, b) = map2<u16; u16>(|x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16);
    /// High words of the products of signed words, scaled and rounded.
    pmulhrsw(a, b) = map2<i16; i16>(mulhrs);
    /// Products of the even unsigned doublewords.
    pmuludq(a, b) = pairs<u32, u32, u64; u64>(|x, y| u64::from(x[0]) * u64::from(y[0]));
    /// Products of signed words, added in pairs.
    pmaddwd(a, b) = pairs<i16, i16, i32; i32>(|x, y| {
        (i32::from(x[0]) * i32::from(y[0])).wrapping_add(i32::from(x[1]) * i32::from(y[1]))
    });
    /// Products of unsigned bytes of `a` and signed bytes of `b`, added in pairs with saturation.
    pmaddubsw(a, b) = pairs<u8, i8, i16; i16>(|x, y| {
        (i16::from(x[0]) * i16::from(y[0])).saturating_add(i16::from(x[1]) * i16::from(y[1]))
    });
    /// Rounded averages of unsigned bytes.
    pavgb(a, b) = map2<u8; u8>(avg8);
    /// Rounded averages of unsigned words.
    pavgw(a, b) = map2<u16; u16>(avg16);
    /// Sums of absolute differences of unsigned bytes.
    psadbw(a, b) = sad<; u64>();
    /// Lesser unsigned bytes.
    pminub(a, b) = map2<u8; u8>(u8::min);
    /// Greater unsigned bytes.
    pmaxub(a, b) = map2<u8; u8>(u8::max);
    /// Lesser signed words.
    pminsw(a, b) = map2<i16; i16>(i16::min);
    /// Greater signed words.
    pmaxsw(a, b) = map2<i16; i16>(i16::max);
    /// All ones where bytes are equal.
    pcmpeqb(a, b) = equal<; u8>();
    /// All ones where words are equal.
    pcmpeqw(a, b) = equal<; u16>();
    /// All ones where doublewords are equal.
    pcmpeqd(a, b) = equal<; u32>();
    /// All ones where signed bytes of `a` are greater.
    pcmpgtb(a, b) = map2<i8; i8>(|x, y| mask(x > y));
    /// All ones where signed words of `a` are greater.
    pcmpgtw(a, b) = map2<i16; i16>(|x, y| mask(x > y));
    /// All ones where signed doublewords of `a` are greater.
    pcmpgtd(a, b) = map2<i32; i32>(|x, y| mask(x > y));
    /// Bitwise and (also ANDPS, ANDPD).
    pand(a, b) = whole<; u8>(|x, y| x & y);
    /// Bitwise and of `b` with the complement of `a` (also ANDNPS, ANDNPD).
    pandn(a, b) = whole<; u8>(|x, y| !x & y);
    /// Bitwise or (also ORPS, ORPD).
    por(a, b) = whole<; u8>(|x, y| x | y);
    /// Bitwise exclusive or (also XORPS, XORPD).
    pxor(a, b) = whole<; u8>(|x, y| x ^ y);
    /// Absolute values of signed bytes of the source.
    pabsb(b) = map1<i8; i8>(i8::wrapping_abs);
    /// Absolute values of signed words of the source.
    pabsw(b) = map1<i16; i16>(i16::wrapping_abs);
    /// Absolute values of signed doublewords of the source.
    pabsd(b) = map1<i32; i32>(i32::wrapping_abs);
    /// Give bytes of `a` the sign of those of `b`.
    psignb(a, b) = map2<i8; i8>(sign!());
    /// Give words of `a` the sign of those of `b`.
    psignw(a, b) = map2<i16; i16>(sign!());
    /// Give doublewords of `a` the sign of those of `b`.
    psignd(a, b) = map2<i32; i32>(sign!());
    /// Add neighbouring words.
    phaddw(a, b) = horizontal<i16; i16>(i16::wrapping_add);
    /// Add neighbouring doublewords.
    phaddd(a, b) = horizontal<i32; i32>(i32::wrapping_add);
    /// Add neighbouring signed words with saturation.
    phaddsw(a, b) = horizontal<i16; i16>(i16::saturating_add);
    /// Subtract the odd words from the even.
    phsubw(a, b) = horizontal<i16; i16>(i16::wrapping_sub);
    /// Subtract the odd doublewords from the even.
    phsubd(a, b) = horizontal<i32; i32>(i32::wrapping_sub);
    /// Subtract the odd signed words from the even with saturation.
    phsubsw(a, b) = horizontal<i16; i16>(i16::saturating_sub);
}

xmm_only! {
    /// Products of the even signed doublewords.
    pmuldq(a, b) = pairs<i32, i32, i64; i64>(|x, y| i64::from(x[0]) * i64::from(y[0]));
    /// Low doublewords of the products of doublewords.
    pmulld(a, b) = map2<u32; u32>(u32::wrapping_mul);
    /// Lesser signed bytes.
    pminsb(a, b) = map2<i8; i8>(i8::min);
    /// Greater signed bytes.
    pmaxsb(a, b) = map2<i8; i8>(i8::max);
    /// Lesser unsigned words.
    pminuw(a, b) = map2<u16; u16>(u16::min);
    /// Greater unsigned words.
    pmaxuw(a, b) = map2<u16; u16>(u16::max);
    /// Lesser signed doublewords.
    pminsd(a, b) = map2<i32; i32>(i32::min);
    /// Greater signed doublewords.
    pmaxsd(a, b) = map2<i32; i32>(i32::max);
    /// Lesser unsigned doublewords.
    pminud(a, b) = map2<u32; u32>(u32::min);
    /// Greater unsigned doublewords.
    pmaxud(a, b) = map2<u32; u32>(u32::max);
    /// All ones where quadwords are equal.
    pcmpeqq(a, b) = map2<u64; u64>(|x, y| mask(x == y));
    /// All ones where signed quadwords of `a` are greater.
    pcmpgtq(a, b) = map2<i64; i64>(|x, y| mask(x > y));
}

/// Eight sums of absolute differences of four bytes: one block of `b` (immediate bits 1:0, in units of four bytes)
/// against eight neighbouring blocks of `a` (from byte 4 if immediate bit 2 is set).
pub fn mpsadbw(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    let (from, block) = (usize::from(imm & 4), usize::from(imm & 3) * 4);
    join::<u16, 8, u128>(std::array::from_fn(|i| {
        (0..4).map(|k| u16::from(a[from + i + k].abs_diff(b[block + k]))).sum()
    }))
}

/// The least unsigned word of the source in bits 15:0, its index in bits 18:16.
pub fn phminposuw(b: u128) -> u128 {
    let least = split::<u16, 8, u128>(b).into_iter().zip(0u128..).min();
    least.map_or(0, |(word, index)| u128::from(word) | index << 16)
}

/// The EFLAGS bits PTEST sets: ZF (0x40) if `a & b` is zero, CF (1) if `!a & b` is zero. OF, AF, PF and SF become 0.
pub fn ptest(a: u128, b: u128) -> u32 {
    u32::from(a & b == 0) << 6 | u32::from(!a & b == 0)
}

/// The top bits of the sixteen bytes. MASKMOVDQU writes the bytes whose bit is set here.
pub fn pmovmskb(b: u128) -> u32 {
    pmovmskb_mmx(b as u64) | pmovmskb_mmx((b >> 64) as u64) << 8
}

/// The top bits of the eight bytes of an MMX register. MASKMOVQ writes the bytes whose bit is set here.
pub fn pmovmskb_mmx(b: u64) -> u32 {
    // The product moves bit 0 of byte n to bit 56 + n; no two partial products meet.
    (((b >> 7) & 0x0101_0101_0101_0101).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u32
}

/// The signs of the four single-precision lanes.
pub fn movmskps(b: u128) -> u32 {
    (0..4).map(|i| ((b >> (32 * i + 31)) as u32 & 1) << i).sum()
}

/// The signs of the two double-precision lanes.
pub fn movmskpd(b: u128) -> u32 {
    ((b >> 127) as u32) << 1 | (b >> 63) as u32 & 1
}
