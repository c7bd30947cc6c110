//! CRC32: the Castagnoli polynomial 0x11EDC6F41, bit-reflected, with no inversion before or after.

const REFLECTED: u32 = 0x82f6_3b78;

const TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = (crc >> 1) ^ (REFLECTED * (crc & 1));
            bit += 1;
        }
        table[i] = crc;
        i += 1;
    }
    table
};

fn bytes(crc: u32, data: &[u8]) -> u32 {
    data.iter().fold(crc, |crc, &byte| (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)])
}

/// CRC32 of one byte. As for all of these the destination's upper half becomes zero with a 64-bit destination.
pub fn crc32_u8(crc: u32, data: u8) -> u32 {
    bytes(crc, &[data])
}

/// CRC32 of a word.
pub fn crc32_u16(crc: u32, data: u16) -> u32 {
    bytes(crc, &data.to_le_bytes())
}

/// CRC32 of a doubleword.
pub fn crc32_u32(crc: u32, data: u32) -> u32 {
    bytes(crc, &data.to_le_bytes())
}

/// CRC32 of a quadword.
pub fn crc32_u64(crc: u32, data: u64) -> u32 {
    bytes(crc, &data.to_le_bytes())
}
