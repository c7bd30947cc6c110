//! Every operation against the host's own instruction, on random operands. SIMD_SEED repeats a run.
#![cfg(target_arch = "x86_64")]

mod crypto;
mod fp;
mod host;
mod int;
mod string;

use std::arch::x86_64::{__m128i, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_unpackhi_epi64};

/// A register value for `asm!`.
fn to_xmm(v: u128) -> __m128i {
    // SAFETY: SSE2 is part of the target.
    unsafe { _mm_set_epi64x((v >> 64) as i64, v as i64) }
}

fn from_xmm(v: __m128i) -> u128 {
    // SAFETY: SSE2 is part of the target.
    let (low, high) = unsafe { (_mm_cvtsi128_si64(v), _mm_cvtsi128_si64(_mm_unpackhi_epi64(v, v))) };
    u128::from(high as u64) << 64 | u128::from(low as u64)
}
