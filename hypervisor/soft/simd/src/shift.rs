//! Shifts: by a count register (its low 64 bits are the count), by an immediate (`_imm`), of whole registers by bytes.

use crate::lanes::{join, map1, split};

/// Defines one shift in its four forms: XMM and MMX, count in a register and immediate.
macro_rules! shifts {
    ($($(#[$doc:meta])* $name:ident, $name_imm:ident: $t:ty = $f:expr;)+) => {
        $(
            $(#[$doc])*
            #[inline]
            pub fn $name(a: u128, b: u128) -> u128 {
                map1::<$t, { 16 / size_of::<$t>() }, u128>(a, |x| $f(x, b as u64))
            }

            $(#[$doc])*
            #[inline]
            pub fn $name_imm(a: u128, imm: u8) -> u128 {
                $name(a, u128::from(imm))
            }
        )+

        /// The same instructions on MMX registers.
        pub mod mmx {
            use super::*;
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name(a: u64, b: u64) -> u64 {
                    map1::<$t, { 8 / size_of::<$t>() }, u64>(a, |x| $f(x, b))
                }

                $(#[$doc])*
                #[inline]
                pub fn $name_imm(a: u64, imm: u8) -> u64 {
                    $name(a, u64::from(imm))
                }
            )+
        }
    };
}

/// A logical shift of a lane: a count of the lane's width or more gives zero.
macro_rules! logical {
    ($t:ty, $op:ident) => {
        |x: $t, n: u64| u32::try_from(n).ok().and_then(|n| x.$op(n)).unwrap_or(0)
    };
}

shifts! {
    /// Shift words left.
    psllw, psllw_imm: u16 = logical!(u16, checked_shl);
    /// Shift doublewords left.
    pslld, pslld_imm: u32 = logical!(u32, checked_shl);
    /// Shift quadwords left.
    psllq, psllq_imm: u64 = logical!(u64, checked_shl);
    /// Shift words right.
    psrlw, psrlw_imm: u16 = logical!(u16, checked_shr);
    /// Shift doublewords right.
    psrld, psrld_imm: u32 = logical!(u32, checked_shr);
    /// Shift quadwords right.
    psrlq, psrlq_imm: u64 = logical!(u64, checked_shr);
    /// Shift signed words right; counts above 15 act as 15.
    psraw, psraw_imm: i16 = |x: i16, n: u64| x >> n.min(15);
    /// Shift signed doublewords right; counts above 31 act as 31.
    psrad, psrad_imm: i32 = |x: i32, n: u64| x >> n.min(31);
}

/// Shift the register left by bytes; 16 or more give zero.
#[inline]
pub fn pslldq(a: u128, imm: u8) -> u128 {
    a.checked_shl(u32::from(imm) * 8).unwrap_or(0)
}

/// Shift the register right by bytes; 16 or more give zero.
#[inline]
pub fn psrldq(a: u128, imm: u8) -> u128 {
    a.checked_shr(u32::from(imm) * 8).unwrap_or(0)
}

/// Defines shifts of each lane by the count in the same lane of the other operand.
macro_rules! own_counts {
    ($($(#[$doc:meta])* $name:ident: $t:ty, $n:ty = $f:expr;)+) => {$(
        $(#[$doc])*
        pub fn $name(a: u128, b: u128) -> u128 {
            let counts = split::<$n, { 16 / size_of::<$t>() }, u128>(b);
            let lanes = split::<$t, { 16 / size_of::<$t>() }, u128>(a);
            join::<$t, { 16 / size_of::<$t>() }, u128>(std::array::from_fn(|i| $f(lanes[i], u64::from(counts[i]))))
        }
    )+};
}

own_counts! {
    /// Shift doublewords left, each by its own count.
    psllvd: u32, u32 = logical!(u32, checked_shl);
    /// Shift quadwords left, each by its own count.
    psllvq: u64, u64 = logical!(u64, checked_shl);
    /// Shift doublewords right, each by its own count.
    psrlvd: u32, u32 = logical!(u32, checked_shr);
    /// Shift quadwords right, each by its own count.
    psrlvq: u64, u64 = logical!(u64, checked_shr);
    /// Shift signed doublewords right, each by its own count; above 31 it acts as 31.
    psravd: i32, u32 = |x: i32, n: u64| x >> n.min(31);
}
