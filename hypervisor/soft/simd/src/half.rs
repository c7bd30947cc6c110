//! F16C: conversion between half and single precision.

use crate::env::{Flags, FpEnv};
use crate::lanes::{join, split};
use crate::softfloat::{self, Half, Single};

/// Four half-precision numbers of the low quadword to single precision. They are exact; DAZ does not apply, and a
/// denormal is no exception (SDM vol. 2, VCVTPH2PS).
pub fn cvtph2ps(cx: &mut FpEnv, b: u64) -> u128 {
    let mut exact = FpEnv::new(cx.mxcsr & !Flags::DAZ);
    let lanes =
        split::<u16, 4, u64>(b).map(|x| softfloat::convert::<Half, Single>(&mut exact, u64::from(x)) as u32);
    cx.raise(exact.raised & Flags::IE);
    join(lanes)
}

/// Four single-precision lanes to half precision, as the immediate's bits 1:0 say or, with bit 2, MXCSR. FTZ does not
/// apply.
pub fn cvtps2ph(cx: &mut FpEnv, b: u128, imm: u8) -> u64 {
    let rounding = if imm & 4 != 0 { cx.mxcsr & Flags::RC } else { u32::from(imm & 3) << 13 };
    let mut env = FpEnv::new(cx.mxcsr & !(Flags::RC | Flags::FTZ) | rounding);
    let lanes =
        split::<u32, 4, u128>(b).map(|x| softfloat::convert::<Single, Half>(&mut env, u64::from(x)) as u16);
    cx.raise(env.raised);
    join(lanes)
}
