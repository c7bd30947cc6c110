#![forbid(unsafe_code)]
//! MMX, SSE to SSE4.2, and lane by lane what AVX adds, as pure functions on register values.
//!
//! An XMM register is a `u128`, an MMX register a `u64`; lane 0 is the least significant. Functions are named after the
//! instruction. `a` is the destination operand as it was before the instruction, `b` the source: the result is what the
//! destination becomes. Nothing here touches guest memory, faults, or panics, whatever the operands.
//!
//! | shape | instructions |
//! |---|---|
//! | `fn(u128, u128) -> u128` | two operands, no floating-point environment |
//! | `fn(u128) -> u128` | the old destination does not matter (PABSB, PMOVSXBW, ...) |
//! | `fn(u128, u128, u8) -> u128` | two operands and an immediate |
//! | `fn(u128, u8) -> u128` | one operand and an immediate |
//! | `fn(u128, u128, u128) -> u128` | variable blends: the third operand is XMM0 |
//! | `fn(&mut FpEnv, ...) -> ...` | arithmetic that reads MXCSR and raises its flags |
//!
//! The MMX forms have the same names and shapes over `u64`, in the module `mmx` beside each SSE form.
//!
//! Source for all behaviour: Intel SDM volume 1 chapters 4.8, 4.9, 9 to 12 and volume 2, checked against a real CPU by
//! `tests/native`.

mod approx;
pub mod compare;
pub mod convert;
pub mod crc;
pub mod crypto;
mod env;
pub mod float;
pub mod fma;
pub mod half;
pub mod int;
mod lanes;
pub mod pack;
pub mod shift;
mod softfloat;
pub mod string;

pub use env::{Flags, FpEnv};
