//! The integer instruction set: handlers and their lowering, by family.
//!
//! A handler is monomorphised for its operand width and form, so that it decodes nothing while it runs. Each
//! family has a `lower` that turns a decoded instruction into an [`Op`], or gives `None` for what is not its own.

use crate::cpu::{Cpu, Exec, Fault};
use crate::op::{Ctx, Int, Op};
use crate::place::{AnyStack, LongStack, MemOperand, NearStack, Stack, placed};
use iced_x86::Instruction;

mod alu;
mod atomic;
mod bcd;
mod bits;
mod bmi;
mod branch;
mod calc;
mod misc;
mod mov;
mod muldiv;
pub(crate) mod random;
mod shift;
mod stack;
mod string;

/// Runs `$body` with `$T` naming the unsigned integer of `$bytes` bytes; other sizes give `None`.
macro_rules! sized {
    ($bytes:expr, |$T:ident| $body:expr) => {
        match $bytes {
            1 => {
                type $T = u8;
                Some($body)
            }
            2 => {
                type $T = u16;
                Some($body)
            }
            4 => {
                type $T = u32;
                Some($body)
            }
            8 => {
                type $T = u64;
                Some($body)
            }
            _ => None,
        }
    };
}

/// As [`sized`], for operands that are never bytes.
macro_rules! wide {
    ($bytes:expr, |$T:ident| $body:expr) => {
        match $bytes {
            2 => {
                type $T = u16;
                Some($body)
            }
            4 => {
                type $T = u32;
                Some($body)
            }
            8 => {
                type $T = u64;
                Some($body)
            }
            _ => None,
        }
    };
}

/// Runs `$body` with the constant `$CC` naming the condition code `$cc`, 0 to 15 as in the opcode.
macro_rules! by_condition {
    ($cc:expr, |$CC:ident| $body:expr) => {
        by_condition!(@ $cc, $CC, $body, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    (@ $cc:expr, $CC:ident, $body:expr, $($n:literal)*) => {
        match $cc {
            $($n => { const $CC: u8 = $n; Some($body) })*
            _ => None,
        }
    };
}

use {by_condition, sized, wide};

/// Bytes of operand `n`.
fn size(i: &Instruction, n: u32) -> usize {
    use iced_x86::OpKind;
    match i.op_kind(n) {
        OpKind::Register => i.op_register(n).size(),
        _ => i.memory_size().size(),
    }
}

/// The operand that `i` names in `n` is in memory.
fn in_memory(i: &Instruction, n: u32) -> bool {
    i.op_kind(n) == iced_x86::OpKind::Memory
}

/// The memory operand's offset and `by` more, cut to the address size.
#[inline(always)]
pub(crate) fn ea_plus(cpu: &Cpu, op: &Op, by: u64) -> u64 {
    let off = cpu.ea(op).wrapping_add(by);
    match op.scale >> 6 {
        0 => u64::from(off as u16),
        1 => u64::from(off as u32),
        _ => off,
    }
}

pub(crate) use mov::{is_cmovcc, is_setcc};

/// The condition of a short or near Jcc.
pub(crate) fn branch_condition(i: &Instruction) -> Option<u8> {
    use iced_x86::OpKind::{NearBranch32, NearBranch64};
    let whole = matches!(i.op0_kind(), NearBranch32 | NearBranch64);
    if whole && i.is_jcc_short_or_near() { mov::condition(i) } else { None }
}

pub(crate) use bmi::lower_vex;

/// Lowers an instruction of the integer set; `None` for any other.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    None.or_else(|| mov::lower(i, ctx))
        .or_else(|| alu::lower(i, ctx))
        .or_else(|| branch::lower(i, ctx))
        .or_else(|| stack::lower(i, ctx))
        .or_else(|| shift::lower(i, ctx))
        .or_else(|| bits::lower(i, ctx))
        .or_else(|| bmi::lower(i, ctx))
        .or_else(|| muldiv::lower(i, ctx))
        .or_else(|| random::lower(i, ctx))
        .or_else(|| string::lower(i, ctx))
        .or_else(|| atomic::lower(i, ctx))
        .or_else(|| misc::lower(i, ctx))
        .or_else(|| bcd::lower(i, ctx))
}
