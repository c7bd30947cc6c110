//! Contents of vector registers that are worth computing with.

use super::cases::Random;

/// A double worth computing with.
pub fn double(rng: &mut Random) -> u64 {
    let sign = rng.bits() & 1 << 63;
    sign | match rng.below(12) {
        0 => 0,
        1 => 0x7ff0_0000_0000_0000,
        2 => 0x7ff8_0000_0000_0000 | rng.value() >> 13,
        3 => 0x7ff0_0000_0000_0001 | rng.value() >> 14,
        4 => rng.value() >> 12,
        5 => (rng.below(64) as f64).to_bits(),
        6 => (rng.value() as i64 as f64).abs().to_bits(),
        7 => (1023 + rng.below(64)) << 52 | rng.bits() >> 12,
        8 => (1023 - rng.below(64)) << 52 | rng.value() >> 12,
        9 => (rng.below(1000) as f64 * 0.125).to_bits(),
        _ => rng.bits() >> 1,
    }
}

/// A single worth computing with.
pub fn single(rng: &mut Random) -> u32 {
    let sign = rng.bits() as u32 & 1 << 31;
    sign | match rng.below(10) {
        0 => 0,
        1 => 0x7f80_0000,
        2 => 0x7fc0_0000 | rng.value() as u32 >> 10,
        3 => 0x7f80_0001 | rng.value() as u32 >> 11,
        4 => rng.value() as u32 >> 9,
        5 => (rng.below(64) as f32).to_bits(),
        6 => (rng.value() as i32 as f32).abs().to_bits(),
        7 => (rng.below(1000) as f32 * 0.125).to_bits(),
        _ => rng.bits() as u32 >> 1,
    }
}

/// Sixteen bytes of one kind of lanes.
pub fn lanes(rng: &mut Random) -> [u8; 16] {
    let mut out = [0; 16];
    let kind = rng.below(4);
    for chunk in out.as_chunks_mut::<8>().0 {
        let v = match kind {
            0 => double(rng),
            1 => u64::from(single(rng)) << 32 | u64::from(single(rng)),
            2 => rng.value(),
            // Text with an end, for string comparisons.
            _ => u64::from_le_bytes(std::array::from_fn(|_| b"\0abcABC\xff"[rng.below(8) as usize])),
        };
        *chunk = v.to_le_bytes();
    }
    out
}
