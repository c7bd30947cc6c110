//! System instructions.

pub mod bits;
pub mod msr;

use iced_x86::Instruction;

use crate::op::{Ctx, Op};

/// Lowers what belongs to this family.
pub fn lower(_i: &Instruction, _ctx: &Ctx) -> Option<Op> {
    None
}
