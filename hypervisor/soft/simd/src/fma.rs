//! Products with a sum, rounded once (SDM volume 1, 14.5).

use crate::env::FpEnv;
use crate::float::{Float, Host, is_safe};
use crate::lanes::{join, split};
use crate::softfloat::{self, Double, Single};

/// What is added to or taken from `x * y`, and its sign.
#[derive(Clone, Copy)]
pub struct Signs {
    /// The product is negated.
    pub product: bool,
    /// The addend is negated in even lanes.
    pub even: bool,
    /// The addend is negated in odd lanes.
    pub odd: bool,
}

#[inline(always)]
fn one<F: Host>(cx: &mut FpEnv, x: F::Bits, y: F::Bits, z: F::Bits, product: bool, addend: bool) -> F::Bits {
    let usual = |v: F::Bits| !softfloat::is_denormal::<F>(F::wide(v));
    // The host says nothing of exactness here, so that it must not matter.
    if cx.is_plain() && cx.ignores_inexact() && usual(x) && usual(y) && usual(z) {
        let signed =
            |v: F::Bits, minus: bool| F::value(F::narrow(F::wide(v) ^ if minus { F::SIGN } else { 0 }));
        let r = F::bits(signed(x, product).fused(F::value(y), signed(z, addend)));
        if is_safe::<F>(r) {
            return r;
        }
    }
    F::narrow(softfloat::fma::<F>(cx, F::wide(x), F::wide(y), F::wide(z), product, addend))
}

/// Four single-precision lanes of `x * y + z`.
pub fn fmaps(cx: &mut FpEnv, x: u128, y: u128, z: u128, signs: Signs) -> u128 {
    let (x, y, z) = (split::<u32, 4, u128>(x), split::<u32, 4, u128>(y), split::<u32, 4, u128>(z));
    join::<u32, 4, u128>(std::array::from_fn(|n| {
        one::<Single>(cx, x[n], y[n], z[n], signs.product, if n % 2 == 0 { signs.even } else { signs.odd })
    }))
}

/// Two double-precision lanes.
pub fn fmapd(cx: &mut FpEnv, x: u128, y: u128, z: u128, signs: Signs) -> u128 {
    let (x, y, z) = (split::<u64, 2, u128>(x), split::<u64, 2, u128>(y), split::<u64, 2, u128>(z));
    join::<u64, 2, u128>(std::array::from_fn(|n| {
        one::<Double>(cx, x[n], y[n], z[n], signs.product, if n % 2 == 0 { signs.even } else { signs.odd })
    }))
}

/// The low single-precision lane; the rest is that of `z` and of no use.
pub fn fmass(cx: &mut FpEnv, x: u128, y: u128, z: u128, signs: Signs) -> u128 {
    u128::from(one::<Single>(cx, x as u32, y as u32, z as u32, signs.product, signs.even))
}

/// The low double-precision lane.
pub fn fmasd(cx: &mut FpEnv, x: u128, y: u128, z: u128, signs: Signs) -> u128 {
    u128::from(one::<Double>(cx, x as u64, y as u64, z as u64, signs.product, signs.even))
}
