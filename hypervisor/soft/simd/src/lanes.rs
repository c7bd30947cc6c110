//! Registers as arrays of lanes, without `unsafe`: the copies below compile to plain moves.

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes};

/// A register value: `u64` (MMX) or `u128` (XMM).
pub(crate) trait Register: FromBytes + IntoBytes + Immutable + Copy {
    /// `f` of the two halves of an XMM register, or of an MMX register.
    fn halves(a: Self, b: Self, f: impl Fn(u64, u64) -> u64) -> Self;
}

impl Register for u64 {
    #[inline(always)]
    fn halves(a: u64, b: u64, f: impl Fn(u64, u64) -> u64) -> u64 {
        f(a, b)
    }
}

impl Register for u128 {
    #[inline(always)]
    fn halves(a: u128, b: u128, f: impl Fn(u64, u64) -> u64) -> u128 {
        u128::from(f((a >> 64) as u64, (b >> 64) as u64)) << 64 | u128::from(f(a as u64, b as u64))
    }
}

/// A lane's type.
pub(crate) trait Lane: FromBytes + IntoBytes + Immutable + Copy {}
impl<T: FromBytes + IntoBytes + Immutable + Copy> Lane for T {}

/// The lanes of a register. `N` lanes of `T` must be as long as the register (all uses are constant; a mismatch would
/// give zeros, which the comparison with the host would show).
#[inline(always)]
pub(crate) fn split<T: Lane, const N: usize, V: Register>(v: V) -> [T; N] {
    FromBytes::read_from_bytes(v.as_bytes()).unwrap_or_else(|_| FromZeros::new_zeroed())
}

/// The register that holds these lanes.
#[inline(always)]
pub(crate) fn join<T: Lane, const N: usize, V: Register>(lanes: [T; N]) -> V {
    V::read_from_bytes(lanes.as_bytes()).unwrap_or_else(|_| FromZeros::new_zeroed())
}

/// Each lane of the result from the same lane of one operand.
#[inline(always)]
pub(crate) fn map1<T: Lane, const N: usize, V: Register>(a: V, f: impl Fn(T) -> T) -> V {
    join(split::<T, N, V>(a).map(f))
}

/// Each lane of the result from the same lanes of two operands.
#[inline(always)]
pub(crate) fn map2<T: Lane, const N: usize, V: Register>(a: V, b: V, f: impl Fn(T, T) -> T) -> V {
    let (a, b) = (split::<T, N, V>(a), split::<T, N, V>(b));
    join::<T, N, V>(std::array::from_fn(|i| f(a[i], b[i])))
}

/// Each (wider) lane of the result from the pair of lanes it covers in both operands.
#[inline(always)]
pub(crate) fn pairs<A: Lane, B: Lane, R: Lane, const N: usize, V: Register>(
    a: V,
    b: V,
    f: impl Fn([A; 2], [B; 2]) -> R,
) -> V {
    let (a, b) = (split::<[A; 2], N, V>(a), split::<[B; 2], N, V>(b));
    join::<R, N, V>(std::array::from_fn(|i| f(a[i], b[i])))
}

/// Defines instructions that exist for XMM registers and, with the same name in `mod mmx`, for MMX registers.
///
/// Each line: `name(operands) = helper<lane types; type that counts lanes>(function of a lane)`.
macro_rules! both_widths {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),+) = $helper:ident<$($t:ty),* ; $lane:ty>($($f:expr)?);)+) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name($($arg: u128),+) -> u128 {
                $helper::<$($t,)* { 16 / size_of::<$lane>() }, u128>($($arg),+ $(, $f)?)
            }
        )+

        /// The same instructions on MMX registers.
        pub mod mmx {
            #[allow(unused_imports)]
            use super::*;
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name($($arg: u64),+) -> u64 {
                    $helper::<$($t,)* { 8 / size_of::<$lane>() }, u64>($($arg),+ $(, $f)?)
                }
            )+
        }
    };
}

/// Defines instructions that exist for XMM registers only; lines as in [`both_widths`].
macro_rules! xmm_only {
    ($($(#[$doc:meta])* $name:ident($($arg:ident),+) = $helper:ident<$($t:ty),* ; $lane:ty>($($f:expr)?);)+) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name($($arg: u128),+) -> u128 {
                $helper::<$($t,)* { 16 / size_of::<$lane>() }, u128>($($arg),+ $(, $f)?)
            }
        )+
    };
}

pub(crate) use {both_widths, xmm_only};
