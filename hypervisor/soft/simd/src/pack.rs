//! Moves between lanes: pack, unpack, shuffle, blend, insert, extract, extend.

use crate::lanes::{Lane, Register, both_widths, join, split, xmm_only};

fn clamp_i8(x: i16) -> i8 {
    x.clamp(-0x80, 0x7f) as i8
}

fn clamp_u8(x: i16) -> u8 {
    x.clamp(0, 0xff) as u8
}

fn clamp_i16(x: i32) -> i16 {
    x.clamp(-0x8000, 0x7fff) as i16
}

fn clamp_u16(x: i32) -> u16 {
    x.clamp(0, 0xffff) as u16
}

/// Narrows the lanes of `a` into the lower half, those of `b` into the upper. The register is `[[T; N]; 2]`-sized as
/// results: `N` counts the (wide) lanes of one operand.
#[inline(always)]
fn pack<W: Lane, R: Lane, const N: usize, V: Register>(a: V, b: V, f: impl Fn(W) -> R) -> V {
    join::<[R; N], 2, V>([split::<W, N, V>(a).map(&f), split::<W, N, V>(b).map(&f)])
}

/// Interleaves the lower halves; `N` counts pairs, that is lanes of the result divided by two.
#[inline(always)]
fn low<T: Lane, const N: usize, V: Register>(a: V, b: V) -> V {
    let (a, b) = (split::<[T; N], 2, V>(a), split::<[T; N], 2, V>(b));
    join::<[T; 2], N, V>(std::array::from_fn(|i| [a[0][i], b[0][i]]))
}

/// [`low`] for words. The compiler (1.95) makes a wrong one of it where it is inlined with a source of 32 bytes: what
/// is compiled alone is right.
#[inline(never)]
fn low_words<T: Lane, const N: usize, V: Register>(a: V, b: V) -> V {
    low::<T, N, V>(a, b)
}

/// Interleaves the upper halves; `N` as in [`low`].
#[inline(always)]
fn high<T: Lane, const N: usize, V: Register>(a: V, b: V) -> V {
    let (a, b) = (split::<[T; N], 2, V>(a), split::<[T; N], 2, V>(b));
    join::<[T; 2], N, V>(std::array::from_fn(|i| [a[1][i], b[1][i]]))
}

/// Bytes of `a` chosen by the low bits of the bytes of `b`; zero where the top bit of the choice is set.
#[inline(always)]
fn choose<const N: usize, V: Register>(a: V, b: V) -> V {
    let (a, b) = (split::<u8, N, V>(a), split::<u8, N, V>(b));
    join::<u8, N, V>(b.map(|n| if n < 0x80 { a[usize::from(n) % N] } else { 0 }))
}

both_widths! {
    /// Narrow signed words to signed bytes with saturation.
    packsswb(a, b) = pack<i16, i8; i16>(clamp_i8);
    /// Narrow signed doublewords to signed words with saturation.
    packssdw(a, b) = pack<i32, i16; i32>(clamp_i16);
    /// Narrow signed words to unsigned bytes with saturation.
    packuswb(a, b) = pack<i16, u8; i16>(clamp_u8);
    /// Interleave the lower bytes.
    punpcklbw(a, b) = low<u8; u16>();
    /// Interleave the lower words.
    punpcklwd(a, b) = low_words<u16; u32>();
    /// Interleave the lower doublewords (also UNPCKLPS).
    punpckldq(a, b) = low<u32; u64>();
    /// Interleave the upper bytes.
    punpckhbw(a, b) = high<u8; u16>();
    /// Interleave the upper words.
    punpckhwd(a, b) = high<u16; u32>();
    /// Interleave the upper doublewords (also UNPCKHPS).
    punpckhdq(a, b) = high<u32; u64>();
    /// Choose bytes of `a` by the bytes of `b`.
    pshufb(a, b) = choose<; u8>();
}

xmm_only! {
    /// Narrow signed doublewords to unsigned words with saturation.
    packusdw(a, b) = pack<i32, u16; i32>(clamp_u16);
    /// Lower quadwords of `a` and `b` (also UNPCKLPD, MOVLHPS).
    punpcklqdq(a, b) = low<u64; u128>();
    /// Upper quadwords of `a` and `b` (also UNPCKHPD).
    punpckhqdq(a, b) = high<u64; u128>();
}

/// Upper quadword of `b` below the upper quadword of `a` (MOVHLPS).
pub fn movhlps(a: u128, b: u128) -> u128 {
    a >> 64 << 64 | b >> 64
}

/// Low doubleword from `b`, the rest from `a` (MOVSS between registers).
#[inline]
pub fn movss(a: u128, b: u128) -> u128 {
    a >> 32 << 32 | u128::from(b as u32)
}

/// Low quadword from `b`, the rest from `a` (MOVSD between registers, MOVLPS, MOVLPD).
#[inline]
pub fn movsd(a: u128, b: u128) -> u128 {
    a >> 64 << 64 | u128::from(b as u64)
}

/// Low quadword of `b` above the low quadword of `a` (MOVHPS, MOVHPD from memory).
#[inline]
pub fn movhps(a: u128, b: u128) -> u128 {
    b << 64 | u128::from(a as u64)
}

/// Four selectors of two bits.
fn selectors(imm: u8) -> [usize; 4] {
    [0, 2, 4, 6].map(|shift| usize::from(imm >> shift & 3))
}

/// Doublewords of the source chosen by the immediate.
pub fn pshufd(b: u128, imm: u8) -> u128 {
    let b = split::<u32, 4, u128>(b);
    join::<u32, 4, u128>(selectors(imm).map(|n| b[n]))
}

/// Words of the lower half chosen by the immediate, the upper half copied.
pub fn pshuflw(b: u128, imm: u8) -> u128 {
    movsd(b, u128::from(pshufw_mmx(b as u64, imm)))
}

/// Words of the upper half chosen by the immediate, the lower half copied.
pub fn pshufhw(b: u128, imm: u8) -> u128 {
    movhps(b, u128::from(pshufw_mmx((b >> 64) as u64, imm)))
}

/// PSHUFW of MMX: words of the source chosen by the immediate.
pub fn pshufw_mmx(b: u64, imm: u8) -> u64 {
    let b = split::<u16, 4, u64>(b);
    join::<u16, 4, u64>(selectors(imm).map(|n| b[n]))
}

/// Two lanes of `a`, then two of `b`, chosen by the immediate.
pub fn shufps(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (split::<u32, 4, u128>(a), split::<u32, 4, u128>(b));
    let [p, q, r, s] = selectors(imm);
    join::<u32, 4, u128>([a[p], a[q], b[r], b[s]])
}

/// One lane of `a` (immediate bit 0), then one of `b` (bit 1).
pub fn shufpd(a: u128, b: u128, imm: u8) -> u128 {
    let (a, b) = (split::<u64, 2, u128>(a), split::<u64, 2, u128>(b));
    join::<u64, 2, u128>([a[usize::from(imm & 1)], b[usize::from(imm >> 1 & 1)]])
}

/// `a:b` shifted right by bytes; the low register is the result.
pub fn palignr(a: u128, b: u128, imm: u8) -> u128 {
    match u32::from(imm) * 8 {
        0 => b,
        n @ 1..128 => b >> n | a << (128 - n),
        n => a.checked_shr(n - 128).unwrap_or(0),
    }
}

/// PALIGNR of MMX registers.
pub fn palignr_mmx(a: u64, b: u64, imm: u8) -> u64 {
    let both = u128::from(a) << 64 | u128::from(b);
    both.checked_shr(u32::from(imm) * 8).unwrap_or(0) as u64
}

/// Lanes of `b` where the condition of the lane's number holds, else of `a`.
#[inline(always)]
fn blend<T: Lane, const N: usize>(a: u128, b: u128, take: impl Fn(usize) -> bool) -> u128 {
    let (a, b) = (split::<T, N, u128>(a), split::<T, N, u128>(b));
    join::<T, N, u128>(std::array::from_fn(|i| if take(i) { b[i] } else { a[i] }))
}

/// Words of `b` where the immediate's bit is set.
pub fn pblendw(a: u128, b: u128, imm: u8) -> u128 {
    blend::<u16, 8>(a, b, |i| imm >> i & 1 != 0)
}

/// Single-precision lanes of `b` where the immediate's bit is set.
pub fn blendps(a: u128, b: u128, imm: u8) -> u128 {
    blend::<u32, 4>(a, b, |i| imm >> i & 1 != 0)
}

/// Double-precision lanes of `b` where the immediate's bit is set.
pub fn blendpd(a: u128, b: u128, imm: u8) -> u128 {
    blend::<u64, 2>(a, b, |i| imm >> i & 1 != 0)
}

/// Bytes of `b` where the top bit of the mask's byte is set.
pub fn pblendvb(a: u128, b: u128, mask: u128) -> u128 {
    blend::<u8, 16>(a, b, |i| mask >> (8 * i + 7) & 1 != 0)
}

/// Single-precision lanes of `b` where the mask's lane is negative.
pub fn blendvps(a: u128, b: u128, mask: u128) -> u128 {
    blend::<u32, 4>(a, b, |i| mask >> (32 * i + 31) & 1 != 0)
}

/// Double-precision lanes of `b` where the mask's lane is negative.
pub fn blendvpd(a: u128, b: u128, mask: u128) -> u128 {
    blend::<u64, 2>(a, b, |i| mask >> (64 * i + 63) & 1 != 0)
}

/// Inserts and extracts of one lane: `value` and the result are zero-extended general registers.
macro_rules! insert_extract {
    ($($insert:ident, $extract:ident: $t:ty, $what:literal;)+) => {$(
        #[doc = concat!("Replace the ", $what, " that the immediate names (modulo the number of lanes).")]
        pub fn $insert(a: u128, value: u64, imm: u8) -> u128 {
            let lane = usize::from(imm) % (16 / size_of::<$t>());
            blend::<$t, { 16 / size_of::<$t>() }>(a, join([value as $t; 16 / size_of::<$t>()]), |i| i == lane)
        }

        #[doc = concat!("The ", $what, " that the immediate names (modulo the number of lanes), zero-extended.")]
        pub fn $extract(b: u128, imm: u8) -> u64 {
            let lanes = split::<$t, { 16 / size_of::<$t>() }, u128>(b);
            u64::from(lanes[usize::from(imm) % lanes.len()])
        }
    )+};
}

insert_extract! {
    pinsrb, pextrb: u8, "byte";
    pinsrw, pextrw: u16, "word";
    pinsrd, pextrd: u32, "doubleword (PEXTRD is also EXTRACTPS)";
    pinsrq, pextrq: u64, "quadword";
}

/// PINSRW of MMX.
pub fn pinsrw_mmx(a: u64, value: u64, imm: u8) -> u64 {
    pinsrw(u128::from(a), value, imm & 3) as u64
}

/// PEXTRW of MMX.
pub fn pextrw_mmx(b: u64, imm: u8) -> u64 {
    pextrw(u128::from(b), imm & 3)
}

/// Immediate bits 7:6 choose a lane of `b`, bits 5:4 the lane it replaces in `a`, bits 3:0 the lanes to zero. With a
/// memory source the caller loads the doubleword into lane 0 and passes `imm & 0x3f`.
pub fn insertps(a: u128, b: u128, imm: u8) -> u128 {
    let source = split::<u32, 4, u128>(b)[usize::from(imm >> 6)];
    let mut lanes = split::<u32, 4, u128>(a);
    lanes[usize::from(imm >> 4 & 3)] = source;
    for (i, lane) in lanes.iter_mut().enumerate() {
        if imm >> i & 1 != 0 {
            *lane = 0;
        }
    }
    join(lanes)
}

/// Widening moves: the low lanes of the source, sign- or zero-extended.
macro_rules! extend {
    ($($(#[$doc:meta])* $name:ident: $from:ty => $to:ty;)+) => {$(
        $(#[$doc])*
        pub fn $name(b: u128) -> u128 {
            let b = split::<$from, { 16 / size_of::<$from>() }, u128>(b);
            join::<$to, { 16 / size_of::<$to>() }, u128>(std::array::from_fn(|i| <$to>::from(b[i])))
        }
    )+};
}

extend! {
    /// Sign-extend eight bytes to words.
    pmovsxbw: i8 => i16;
    /// Sign-extend four bytes to doublewords.
    pmovsxbd: i8 => i32;
    /// Sign-extend two bytes to quadwords.
    pmovsxbq: i8 => i64;
    /// Sign-extend four words to doublewords.
    pmovsxwd: i16 => i32;
    /// Sign-extend two words to quadwords.
    pmovsxwq: i16 => i64;
    /// Sign-extend two doublewords to quadwords.
    pmovsxdq: i32 => i64;
    /// Zero-extend eight bytes to words.
    pmovzxbw: u8 => u16;
    /// Zero-extend four bytes to doublewords.
    pmovzxbd: u8 => u32;
    /// Zero-extend two bytes to quadwords.
    pmovzxbq: u8 => u64;
    /// Zero-extend four words to doublewords.
    pmovzxwd: u16 => u32;
    /// Zero-extend two words to quadwords.
    pmovzxwq: u16 => u64;
    /// Zero-extend two doublewords to quadwords.
    pmovzxdq: u32 => u64;
}

/// The low quadword of the source, twice.
pub fn movddup(b: u128) -> u128 {
    shufpd(b, b, 0)
}

/// The odd single-precision lanes, each twice.
pub fn movshdup(b: u128) -> u128 {
    pshufd(b, 0b11_11_01_01)
}

/// The even single-precision lanes, each twice.
pub fn movsldup(b: u128) -> u128 {
    pshufd(b, 0b10_10_00_00)
}

/// Doublewords of `a` chosen by the low two bits of the doublewords of `b` (VPERMILPS).
pub fn permilps(a: u128, b: u128) -> u128 {
    let (a, b) = (split::<u32, 4, u128>(a), split::<u32, 4, u128>(b));
    join::<u32, 4, u128>(b.map(|n| a[n as usize & 3]))
}

/// Quadwords of `a` chosen by bit 1 of the quadwords of `b` (VPERMILPD).
pub fn permilpd(a: u128, b: u128) -> u128 {
    let (a, b) = (split::<u64, 2, u128>(a), split::<u64, 2, u128>(b));
    join::<u64, 2, u128>(b.map(|n| a[n as usize >> 1 & 1]))
}
