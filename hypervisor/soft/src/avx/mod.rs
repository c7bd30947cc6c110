//! AVX, AVX2, FMA and F16C, and the VEX forms of AES and PCLMULQDQ: lowering and operands.
//!
//! Most instructions do in each half of 16 bytes what SSE's do, so that a form runs the `simd` crate's function on one
//! half or on both. Each writes a whole register: what an instruction of 16 bytes does not reach becomes zero. Memory
//! operands need no alignment but for the moves that ask for it. What CR4.OSXSAVE, XCR0 and CR0.TS forbid is decided
//! when a block is decoded.

mod convert;
mod float;
mod fma;
mod forms;
mod gather;
mod integer;
mod lanes;
mod moves;
mod permute;

use iced_x86::Instruction;

use crate::cpu::{Cpu, Exec, Fault, mode};
use crate::fp::{unavailable, undefined};
use crate::int::ea_plus;
use crate::op::{Ctx, Op};

/// A register: the lower half first.
pub(crate) type Ymm = [u128; 2];

/// Lowers an instruction with a VEX prefix on vector registers; `None` for any other.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let op = moves::lower(i, ctx)
        .or_else(|| integer::lower(i, ctx))
        .or_else(|| float::lower(i, ctx))
        .or_else(|| fma::lower(i, ctx))
        .or_else(|| convert::lower(i, ctx))
        .or_else(|| lanes::lower(i, ctx))
        .or_else(|| permute::lower(i, ctx))
        .or_else(|| gather::lower(i, ctx))?;
    Some(if ctx.mode & mode::AVX == 0 {
        Op::jump(undefined)
    } else if ctx.mode & mode::TS != 0 {
        Op::jump(unavailable)
    } else {
        op
    })
}

/// The register that VEX.vvvv names.
#[inline(always)]
fn other(op: &Op) -> u8 {
    (op.imm >> 8) as u8 & 15
}

/// The register that the immediate names.
#[inline(always)]
fn fourth(op: &Op) -> u8 {
    (op.imm >> 4) as u8 & 15
}

impl Cpu {
    #[inline(always)]
    pub(crate) fn y(&self, r: u8) -> Ymm {
        let r = usize::from(r & 15);
        [self.xmm[r], self.ymm[r]]
    }

    #[inline(always)]
    pub(crate) fn set_y(&mut self, r: u8, v: Ymm) {
        let r = usize::from(r & 15);
        (self.xmm[r], self.ymm[r]) = (v[0], v[1]);
    }

    /// The register or memory operand; the upper half is that of a 32-byte one.
    #[inline(always)]
    fn wide_source<const MEM: bool, const WIDE: bool>(&mut self, op: &Op) -> Result<Ymm, Fault> {
        if !MEM {
            return Ok(self.y(op.rm));
        }
        let low = self.load::<u128>(op)?;
        let high = if WIDE { self.read(op.seg, ea_plus(self, op, 16))? } else { 0 };
        Ok([low, high])
    }

    /// Stores a register to memory; nothing is written if a part of it cannot be.
    #[inline(always)]
    fn store_wide<const WIDE: bool>(&mut self, op: &Op, v: Ymm) -> Exec {
        if !WIDE {
            return self.store(op, v[0]);
        }
        let (low, high) = (self.ea(op), ea_plus(self, op, 16));
        // Only at the end of a page, an address space or a segment can the halves fare differently.
        if self.code != 64 || self.linear(op.seg, low) & 0xfff > 0xfe0 {
            self.probe_write(op.seg, low, 16)?;
            self.probe_write(op.seg, high, 16)?;
        }
        self.write(op.seg, low, v[0])?;
        self.write(op.seg, high, v[1])
    }

    /// #GP if the memory operand's address is no multiple of its size.
    #[inline(always)]
    fn aligned<const WIDE: bool>(&mut self, op: &Op) -> Exec {
        let mask = if WIDE { 31 } else { 15 };
        if self.linear(op.seg, self.ea(op)) & mask != 0 { Err(self.gp(0)) } else { Ok(()) }
    }
}
