//! The password's challenge (RFC 6143, 7.2.2).

use std::io;

use des::Des;
use des::cipher::{Block, BlockCipherEncrypt, Key, KeyInit};
use rustix::rand::{GetRandomFlags, getrandom};

/// Bytes that no client has seen before.
pub fn challenge() -> io::Result<[u8; 16]> {
    let mut bytes = [0; 16];
    let mut done = 0;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        done += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(bytes)
}

/// What a client that knows the password answers. Only the first eight bytes of a password count.
pub fn answer(password: &[u8], challenge: [u8; 16]) -> [u8; 16] {
    let mut key = [0; 8];
    for (to, from) in key.iter_mut().zip(password) {
        // The protocol has the bits of each byte the other way round than the cipher.
        *to = from.reverse_bits();
    }
    let cipher = Des::new(&Key::<Des>::from(key));
    let mut answer = challenge;
    for half in answer.as_chunks_mut::<8>().0 {
        let mut block = Block::<Des>::from(*half);
        cipher.encrypt_block(&mut block);
        *half = block.into();
    }
    answer
}

/// Compares without telling by the time it takes how much is right.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_des_with_the_keys_bits_turned() {
        // FIPS 81's example: key 0123456789abcdef, "Now is t" gives 3fa40e8a984d4815.
        let password = [0x01u8, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef].map(u8::reverse_bits);
        let plain = *b"Now is tNow is t";
        let cipher = [0x3f, 0xa4, 0x0e, 0x8a, 0x98, 0x4d, 0x48, 0x15];
        assert_eq!(answer(&password, plain)[..8], cipher);
        assert_eq!(answer(&password, plain)[8..], cipher);
        assert_eq!(answer(b"12345678", plain), answer(b"123456789", plain));
        assert_ne!(answer(b"", plain), answer(b"1", plain));
    }

    #[test]
    fn challenges_differ() {
        assert_ne!(challenge().unwrap(), challenge().unwrap());
    }
}
