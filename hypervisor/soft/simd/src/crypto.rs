//! AES, carry-less multiplication and SHA: the steps that the instructions of these names make.
//!
//! FIPS 197 for AES, FIPS 180-4 for SHA, the SDM vol. 2 for which part of a step is whose.

use crate::lanes::{join, split};

/// Product of two elements of AES's field.
const fn times(mut a: u8, mut b: u8) -> u8 {
    let mut r = 0;
    while b != 0 {
        if b & 1 != 0 {
            r ^= a;
        }
        a = a << 1 ^ if a & 0x80 != 0 { 0x1b } else { 0 };
        b >>= 1;
    }
    r
}

/// The substitution of bytes, and its inverse.
const BOXES: ([u8; 256], [u8; 256]) = {
    let (mut forth, mut back) = ([0; 256], [0; 256]);
    // Powers of the generator 3 and of its inverse 0xf6 meet every element but zero.
    let (mut x, mut inverse) = (1u8, 1u8);
    let mut n = 0;
    while n < 255 {
        let y = inverse
            ^ inverse.rotate_left(1)
            ^ inverse.rotate_left(2)
            ^ inverse.rotate_left(3)
            ^ inverse.rotate_left(4)
            ^ 0x63;
        forth[x as usize] = y;
        back[y as usize] = x;
        x = times(x, 3);
        inverse = times(inverse, 0xf6);
        n += 1;
    }
    forth[0] = 0x63;
    back[0x63] = 0;
    (forth, back)
};

/// What mixing makes of one byte of a column, for each of the factors.
const fn products(factors: [u8; 4]) -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let b = n as u8;
        table[n] = u32::from_le_bytes([
            times(b, factors[0]),
            times(b, factors[1]),
            times(b, factors[2]),
            times(b, factors[3]),
        ]);
        n += 1;
    }
    table
}

const MIX: [u32; 256] = products([2, 1, 1, 3]);
const UNMIX: [u32; 256] = products([14, 9, 13, 11]);

/// Rows of the state moved by as many columns as their number says, forth or back, each byte substituted.
fn shift_and_substitute(state: u128, columns: usize, table: &[u8; 256]) -> u128 {
    let bytes = state.to_le_bytes();
    u128::from_le_bytes(std::array::from_fn(|n| {
        let (row, column) = (n % 4, n / 4);
        table[usize::from(bytes[(column + columns * row) % 4 * 4 + row])]
    }))
}

fn mix(state: u128, table: &[u32; 256]) -> u128 {
    let columns = split::<[u8; 4], 4, u128>(state);
    join(columns.map(|column| {
        (0..4).fold(0u32, |sum, row| sum ^ table[usize::from(column[row])].rotate_left(8 * row as u32))
    }))
}

/// One round of encryption.
pub fn aesenc(a: u128, key: u128) -> u128 {
    mix(shift_and_substitute(a, 1, &BOXES.0), &MIX) ^ key
}

/// The last round of encryption.
pub fn aesenclast(a: u128, key: u128) -> u128 {
    shift_and_substitute(a, 1, &BOXES.0) ^ key
}

/// One round of the equivalent decryption.
pub fn aesdec(a: u128, key: u128) -> u128 {
    mix(shift_and_substitute(a, 3, &BOXES.1), &UNMIX) ^ key
}

/// The last round of decryption.
pub fn aesdeclast(a: u128, key: u128) -> u128 {
    shift_and_substitute(a, 3, &BOXES.1) ^ key
}

/// A key of encryption made one of the equivalent decryption.
pub fn aesimc(b: u128) -> u128 {
    mix(b, &UNMIX)
}

/// What the expansion of a key needs of doublewords 1 and 3.
pub fn aeskeygenassist(b: u128, imm: u8) -> u128 {
    let words = split::<u32, 4, u128>(b);
    let substituted =
        |word: u32| u32::from_le_bytes(word.to_le_bytes().map(|byte| BOXES.0[usize::from(byte)]));
    let (x1, x3) = (substituted(words[1]), substituted(words[3]));
    let round = u32::from(imm);
    join([x1, x1.rotate_right(8) ^ round, x3, x3.rotate_right(8) ^ round])
}

/// The block cipher itself, with a key of 128 bits.
pub fn encrypt(block: u128, key: u128) -> u128 {
    let (mut state, mut key, mut round) = (block ^ key, key, 1);
    for n in 1..=10 {
        let assist = split::<u32, 4, u128>(aeskeygenassist(key, round))[3];
        let mut words = split::<u32, 4, u128>(key);
        words[0] ^= assist;
        for k in 1..4 {
            words[k] ^= words[k - 1];
        }
        key = join(words);
        round = times(round, 2);
        state = if n < 10 { aesenc(state, key) } else { aesenclast(state, key) };
    }
    state
}

/// The product without carries of the quadwords that immediate bits 0 (of `a`) and 4 (of `b`) choose.
pub fn pclmulqdq(a: u128, b: u128, imm: u8) -> u128 {
    let a = u128::from((a >> (64 * u32::from(imm & 1))) as u64);
    let b = (b >> (64 * u32::from(imm >> 4 & 1))) as u64;
    (0..64).filter(|n| b >> n & 1 != 0).fold(0, |sum, n| sum ^ a << n)
}

/// Doublewords, the highest first, as FIPS 180-4 counts.
fn words(v: u128) -> [u32; 4] {
    let [d, c, b, a] = split::<u32, 4, u128>(v);
    [a, b, c, d]
}

fn from_words([a, b, c, d]: [u32; 4]) -> u128 {
    join([d, c, b, a])
}

/// Four rounds of SHA-1; the immediate says which of the four functions.
pub fn sha1rnds4(state: u128, message: u128, imm: u8) -> u128 {
    let [mut a, mut b, mut c, mut d] = words(state);
    let mut e = 0u32;
    let constant = [0x5a82_7999, 0x6ed9_eba1, 0x8f1b_bcdc, 0xca62_c1d6][usize::from(imm & 3)];
    for word in words(message) {
        let f = match imm & 3 {
            0 => b & c ^ !b & d,
            2 => b & c ^ b & d ^ c & d,
            _ => b ^ c ^ d,
        };
        let next = f.wrapping_add(a.rotate_left(5)).wrapping_add(word).wrapping_add(e).wrapping_add(constant);
        (a, b, c, d, e) = (next, a, b.rotate_left(30), c, d);
    }
    from_words([a, b, c, d])
}

/// The state variable E after four rounds, added to a message.
pub fn sha1nexte(a: u128, b: u128) -> u128 {
    let e = words(a)[0].rotate_left(30);
    let [first, rest @ ..] = words(b);
    from_words([first.wrapping_add(e), rest[0], rest[1], rest[2]])
}

/// First half of the schedule of SHA-1's messages.
pub fn sha1msg1(a: u128, b: u128) -> u128 {
    let ([w0, w1, w2, w3], [w4, w5, ..]) = (words(a), words(b));
    from_words([w2 ^ w0, w3 ^ w1, w4 ^ w2, w5 ^ w3])
}

/// Second half of the schedule of SHA-1's messages.
pub fn sha1msg2(a: u128, b: u128) -> u128 {
    let ([a0, a1, a2, a3], [_, w13, w14, w15]) = (words(a), words(b));
    let w16 = (a0 ^ w13).rotate_left(1);
    let w17 = (a1 ^ w14).rotate_left(1);
    let w18 = (a2 ^ w15).rotate_left(1);
    from_words([w16, w17, w18, (a3 ^ w16).rotate_left(1)])
}

/// Two rounds of SHA-256: `state` has C, D, G, H, `other` A, B, E, F; the message is the low half of XMM0.
pub fn sha256rnds2(state: u128, other: u128, message: u128) -> u128 {
    let ([mut c, mut d, mut g, mut h], [mut a, mut b, mut e, mut f]) = (words(state), words(other));
    for word in [message as u32, (message >> 32) as u32] {
        let choice = e & f ^ !e & g;
        let majority = a & b ^ a & c ^ b & c;
        let low = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let high = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let t = choice.wrapping_add(high).wrapping_add(word).wrapping_add(h);
        let next = t.wrapping_add(majority).wrapping_add(low);
        (a, b, c, d, e, f, g, h) = (next, a, b, c, d.wrapping_add(t), e, f, g);
    }
    // What becomes of C, D, G and H is known by who asks.
    let _ = (c, d, g, h);
    from_words([a, b, e, f])
}

/// First half of the schedule of SHA-256's messages.
pub fn sha256msg1(a: u128, b: u128) -> u128 {
    let sigma = |w: u32| w.rotate_right(7) ^ w.rotate_right(18) ^ w >> 3;
    let (w, next) = (split::<u32, 4, u128>(a), b as u32);
    join([
        w[0].wrapping_add(sigma(w[1])),
        w[1].wrapping_add(sigma(w[2])),
        w[2].wrapping_add(sigma(w[3])),
        w[3].wrapping_add(sigma(next)),
    ])
}

/// Second half of the schedule of SHA-256's messages.
pub fn sha256msg2(a: u128, b: u128) -> u128 {
    let sigma = |w: u32| w.rotate_right(17) ^ w.rotate_right(19) ^ w >> 10;
    let (w, last) = (split::<u32, 4, u128>(a), split::<u32, 4, u128>(b));
    let w16 = w[0].wrapping_add(sigma(last[2]));
    let w17 = w[1].wrapping_add(sigma(last[3]));
    join([w16, w17, w[2].wrapping_add(sigma(w16)), w[3].wrapping_add(sigma(w17))])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 197, appendix B.
    #[test]
    fn a_block_is_encrypted_as_the_standard_has_it() {
        let block = u128::from_be_bytes(0x3243_f6a8_885a_308d_3131_98a2_e037_0734u128.to_be_bytes());
        let key = 0x2b7e_1516_28ae_d2a6_abf7_1588_09cf_4f3c_u128;
        let expected = 0x3925_841d_02dc_09fb_dc11_8597_196a_0b32_u128;
        assert_eq!(encrypt(block.swap_bytes(), key.swap_bytes()), expected.swap_bytes());
    }

    /// A round and its inverse, for any state.
    #[test]
    fn decryption_undoes_encryption() {
        let (state, key) =
            (0x0011_2233_4455_6677_8899_aabb_ccdd_eeff, 0x1234_5678_9abc_def0_0fed_cba9_8765_4321);
        let round = aesenc(state, key);
        // Key first, then the mixing, then the rest.
        assert_eq!(aesdeclast(aesimc(round ^ key), 0), state);
        assert_eq!(aesdec(aesenclast(state, 0), 0), aesimc(state));
    }

    /// The SDM's picture of PCLMULQDQ, by hand: (x + 1)^2 = x^2 + 1.
    #[test]
    fn a_product_has_no_carries() {
        assert_eq!(pclmulqdq(3, 3, 0), 5);
        assert_eq!(pclmulqdq(3 << 64, 7, 1), 9);
        assert_eq!(pclmulqdq(u128::MAX, 1 << 127, 0x10), u128::from(u64::MAX) << 63);
    }

    /// FIPS 180-4's test message "abc", whole: the steps together make the digest.
    #[test]
    fn sha256_of_abc() {
        #[rustfmt::skip]
        const K: [u32; 64] = [
            0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
            0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
            0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
            0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
            0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
            0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
            0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
            0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
        ];
        let start = [
            0x6a09e667u32,
            0xbb67ae85,
            0x3c6ef372,
            0xa54ff53a,
            0x510e527f,
            0x9b05688c,
            0x1f83d9ab,
            0x5be0cd19,
        ];
        let [a, b, c, d, e, f, g, h] = start;
        let (mut abef, mut cdgh) = (from_words([a, b, e, f]), from_words([c, d, g, h]));
        let mut w: Vec<u128> = vec![join([0x6162_6380u32, 0, 0, 0]), 0, 0, join([0u32, 0, 0, 24])];
        for n in 0..16 {
            if n >= 4 {
                let part = sha256msg1(w[n - 4], w[n - 3]);
                let seven = join::<u32, 4, u128>({
                    let (low, high) = (split::<u32, 4, u128>(w[n - 2]), split::<u32, 4, u128>(w[n - 1]));
                    [low[1], low[2], low[3], high[0]]
                });
                let sum = crate::int::paddd(part, seven);
                w.push(sha256msg2(sum, w[n - 1]));
            }
            let keys = join::<u32, 4, u128>([K[4 * n], K[4 * n + 1], K[4 * n + 2], K[4 * n + 3]]);
            let wk = crate::int::paddd(w[n], keys);
            for half in [wk, wk >> 64] {
                (abef, cdgh) = (sha256rnds2(cdgh, abef, half), abef);
            }
        }
        let [ra, rb, re, rf] = words(abef);
        let [rc, rd, rg, rh] = words(cdgh);
        let digest: Vec<u32> =
            [ra, rb, rc, rd, re, rf, rg, rh].iter().zip(start).map(|(x, y)| x.wrapping_add(y)).collect();
        assert_eq!(
            digest,
            [0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223, 0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad]
        );
    }
}
