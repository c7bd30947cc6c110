//! Gathers: lanes from addresses of their own.
//!
//! A lane that was read has its mask cleared at once. A fault leaves what was done, and the instruction goes on with
//! the rest when it runs again (SDM vol. 2, VGATHERDPS).

use iced_x86::{Instruction, Mnemonic};

use super::forms::is_wide;
use super::{Ymm, other};
use crate::cpu::{Cpu, Exec, ZERO};
use crate::op::{Ctx, Int, Op};

/// A lane of a register.
#[inline(always)]
fn lane<T: Int>(v: Ymm, n: usize) -> T {
    let per_half = 16 / T::SIZE;
    T::from128(v[n / per_half] >> (8 * T::SIZE * (n % per_half)))
}

/// The register with a lane replaced.
#[inline(always)]
fn with_lane<T: Int>(mut v: Ymm, n: usize, lane: T) -> Ymm {
    let (half, shift) = (n * T::SIZE / 16, 8 * T::SIZE * n % 128);
    let ones = u128::MAX >> (128 - 8 * T::SIZE);
    v[half] = v[half] & !(ones << shift) | lane.to128() << shift;
    v
}

/// `T` are the lanes, `I` their indices; the lower 4 bits of the immediate are the register of these, VEX.vvvv that of
/// the mask, `op.rm` how many lanes there are.
fn gather<T: Int, I: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (index, mask) = (op.imm as u8 & 15, other(op));
    let count = usize::from(op.rm);
    for n in 0..count {
        if lane::<T>(cpu.y(mask), n).zext() >> (T::BITS - 1) != 0 {
            let offset = lane::<I>(cpu.y(index), n).sext() << (op.scale & 3);
            let at = cpu.gpr[op.base as usize & 31].wrapping_add(op.disp as u64).wrapping_add(offset);
            let at = if op.scale >> 6 == 1 { at as u32 as u64 } else { at };
            let v = cpu.read::<T>(op.seg, at)?;
            let r = with_lane(cpu.y(op.reg), n, v);
            cpu.set_y(op.reg, r);
        }
        let left = with_lane(cpu.y(mask), n, T::from64(0));
        cpu.set_y(mask, left);
    }
    // What no lane reaches becomes zero, of the mask all.
    let reached = count * T::SIZE;
    let v = cpu.y(op.reg);
    let low = if reached < 16 { v[0] & (u128::MAX >> (128 - 8 * reached)) } else { v[0] };
    cpu.set_y(op.reg, [low, if reached > 16 { v[1] } else { 0 }]);
    cpu.set_y(mask, [0; 2]);
    Ok(())
}

/// Lowers the family; `None` for any other instruction.
pub(super) fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let wide = is_wide(i);
    let bytes = |is_wide: bool| if is_wide { 32 } else { 16 };
    let index = i.memory_index();
    // As many lanes as the registers of both have room for.
    let (op, lanes) = match i.mnemonic() {
        Mnemonic::Vpgatherdd | Mnemonic::Vgatherdps => (Op::line(gather::<u32, u32>), bytes(wide) / 4),
        Mnemonic::Vpgatherdq | Mnemonic::Vgatherdpd => (Op::line(gather::<u64, u32>), bytes(wide) / 8),
        Mnemonic::Vpgatherqd | Mnemonic::Vgatherqps => {
            (Op::line(gather::<u32, u64>), bytes(index.is_ymm()) / 8)
        }
        Mnemonic::Vpgatherqq | Mnemonic::Vgatherqpd => (Op::line(gather::<u64, u64>), bytes(wide) / 8),
        _ => return None,
    };
    let mut op = op.mem(i, ctx);
    op.index = ZERO as u8;
    // The index says nothing of the size of an address: the base does, or the code.
    let narrow = match i.memory_base() {
        iced_x86::Register::None => i.memory_displ_size() == 4,
        base => base.is_gpr32(),
    };
    op.scale = op.scale & 0x3f | if narrow { 0x40 } else { 0x80 };
    let vvvv = u64::from(i.op2_register().number() as u8);
    Some(op.reg(i.op0_register().number() as u8).rm(lanes).imm(u64::from(index.number() as u8) | vvvv << 8))
}
