//! PCMPESTRI, PCMPESTRM, PCMPISTRI and PCMPISTRM (SDM volume 2, 4.1).
//!
//! The immediate: bits 1:0 element type (unsigned byte, unsigned word, signed byte, signed word), bits 3:2 comparison,
//! bits 5:4 polarity, bit 6 which index or which kind of mask.

use crate::lanes::{join, split};

/// What a string comparison found, before it is turned into an index or a mask.
struct Found {
    /// One bit for each element of `b`.
    matches: u32,
    /// Elements in a register: 8 or 16.
    count: u32,
    /// EFLAGS: CF, ZF, SF and OF; AF and PF are 0.
    flags: u32,
}

impl Found {
    /// Bit 6 of the immediate chooses the last match instead of the first; the number of elements means none.
    fn index(&self, imm: u8) -> u32 {
        match self.matches {
            0 => self.count,
            bits if imm & 0x40 != 0 => bits.ilog2(),
            bits => bits.trailing_zeros(),
        }
    }

    /// Bit 6 of the immediate widens each bit of the mask to an element.
    fn mask(&self, imm: u8) -> u128 {
        let bit = |i: usize| self.matches >> i & 1;
        match (imm & 0x40 != 0, self.count) {
            (false, _) => u128::from(self.matches),
            (true, 8) => join::<u16, 8, u128>(std::array::from_fn(|i| (bit(i) as u16).wrapping_neg())),
            (true, _) => join::<u8, 16, u128>(std::array::from_fn(|i| (bit(i) as u8).wrapping_neg())),
        }
    }
}

/// The elements as integers of one type, and how many there are.
fn elements(v: u128, imm: u8) -> ([i32; 16], usize) {
    let bytes = split::<u8, 16, u128>(v);
    let words = split::<u16, 8, u128>(v);
    let word = |i: usize| words[i % 8];
    match imm & 3 {
        0 => (bytes.map(i32::from), 16),
        1 => (std::array::from_fn(|i| i32::from(word(i))), 8),
        2 => (bytes.map(|x| i32::from(x as i8)), 16),
        _ => (std::array::from_fn(|i| i32::from(word(i) as i16)), 8),
    }
}

/// Elements before the first that is zero.
fn implicit_length(v: u128, imm: u8) -> usize {
    let (elements, count) = elements(v, imm);
    elements.iter().take(count).position(|&x| x == 0).unwrap_or(count)
}

/// An explicit length: its magnitude, at most the number of elements.
fn explicit_length(length: i64, imm: u8) -> usize {
    let count = if imm & 1 == 0 { 16 } else { 8 };
    usize::try_from(length.unsigned_abs()).map_or(count, |n| n.min(count))
}

fn compare(a: u128, a_len: usize, b: u128, b_len: usize, imm: u8) -> Found {
    let ((x, count), (y, _)) = (elements(a, imm), elements(b, imm));
    let (set, text) = (&x[..a_len.min(16)], &y[..b_len.min(16)]);
    let in_text = |i: usize| i < text.len();
    let matches = |i: usize| match imm >> 2 & 3 {
        // Any element of the set.
        0 => in_text(i) && set.contains(&y[i]),
        // Within any of the ranges that pairs of the set give; an odd last element is no range.
        1 => in_text(i) && set.as_chunks::<2>().0.iter().any(|[low, high]| (*low..=*high).contains(&y[i])),
        // The same as the element in the same place; beyond both strings is the same too.
        2 => match (i < set.len(), in_text(i)) {
            (true, true) => x[i] == y[i],
            (in_set, in_text) => in_set == in_text,
        },
        // The whole set as a string from here on; what lies beyond the register counts as equal.
        _ => set.iter().zip(i..count).all(|(&x, k)| in_text(k) && x == y[k]),
    };
    let found = (0..count).fold(0, |bits, i| bits | u32::from(matches(i)) << i);
    let everything = (1 << count) - 1;
    let found = match imm >> 4 & 3 {
        1 => found ^ everything,
        3 => found ^ ((1 << text.len()) - 1),
        _ => found,
    };
    let flags = u32::from(found != 0)
        | u32::from(b_len < count) << 6
        | u32::from(a_len < count) << 7
        | (found & 1) << 11;
    Found { matches: found, count: count as u32, flags }
}

fn explicit(a: u128, a_len: i64, b: u128, b_len: i64, imm: u8) -> Found {
    compare(a, explicit_length(a_len, imm), b, explicit_length(b_len, imm), imm)
}

fn implicit(a: u128, b: u128, imm: u8) -> Found {
    compare(a, implicit_length(a, imm), b, implicit_length(b, imm), imm)
}

/// Strings of explicit lengths (RAX for `a`, RDX for `b`; EAX and EDX sign-extended without REX.W): the index for ECX
/// and the six arithmetic EFLAGS.
pub fn pcmpestri(a: u128, a_len: i64, b: u128, b_len: i64, imm: u8) -> (u32, u32) {
    let found = explicit(a, a_len, b, b_len, imm);
    (found.index(imm), found.flags)
}

/// As [`pcmpestri`], but the mask for XMM0.
pub fn pcmpestrm(a: u128, a_len: i64, b: u128, b_len: i64, imm: u8) -> (u128, u32) {
    let found = explicit(a, a_len, b, b_len, imm);
    (found.mask(imm), found.flags)
}

/// Strings that end at an element of zero: the index for ECX and the six arithmetic EFLAGS.
pub fn pcmpistri(a: u128, b: u128, imm: u8) -> (u32, u32) {
    let found = implicit(a, b, imm);
    (found.index(imm), found.flags)
}

/// As [`pcmpistri`], but the mask for XMM0.
pub fn pcmpistrm(a: u128, b: u128, imm: u8) -> (u128, u32) {
    let found = implicit(a, b, imm);
    (found.mask(imm), found.flags)
}
