#![forbid(unsafe_code)]
//! The x87 floating-point unit of the software CPU: true 80-bit results and flags, with no host floating point in it.
//!
//! The crate knows no memory and no decoder. [`X87`] is the state and has every instruction: register forms through
//! [`X87::exec_reg`], memory forms through [`MemForm`], [`X87::load_op`], [`X87::prepare`] and [`X87::commit`].
//! [`Env`] has the bare arithmetic on [`F80`].
//!
//! What the guest sees follows the Intel SDM (volume 1 chapter 8; volume 2) and, where the manual says "undefined", what
//! Intel's processors do: the tests in `tests/native.rs` compare with the host's own unit.

mod arith;
mod convert;
mod env;
mod exec;
mod f80;
mod memory;
mod state;
mod transcendental;

pub use convert::{from_bcd, from_f32, from_f64, from_i64, is_denormal_f32, is_denormal_f64};
pub use env::EnvLayout;
pub use exec::{Undefined, is_waiting};
pub use f80::{BUSY, C0, C1, C2, C3, DE, ES, Env, F80, IE, OE, PE, SF, UE, ZE};
pub use memory::{Arith, Format, MemForm, Prepared};
pub use state::{State, X87};
pub use transcendental::Trig;
