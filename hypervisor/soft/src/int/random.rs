//! RDRAND and RDSEED.
//!
//! The numbers are those of a block cipher that counts, with a key of the machine's own and the vCPU's number above the
//! count: they are part of the saved state, so that a guest goes on, and an instruction-counted run repeats, with the
//! same ones.

use super::{Cpu, Ctx, Exec, Int, Op, size, wide};
use crate::flags::bits as fl;
use iced_x86::{Instruction, Mnemonic};

/// Where a vCPU's random numbers come from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// The machine's key.
    pub(crate) key: u128,
    /// How many were taken.
    pub(crate) taken: u64,
}

impl Source {
    /// The next number of vCPU `id`.
    pub(crate) fn next(&mut self, id: u32) -> u64 {
        self.taken = self.taken.wrapping_add(1);
        simd::crypto::encrypt(u128::from(id) << 64 | u128::from(self.taken), self.key) as u64
    }
}

/// There is always one: CF is set, the other flags clear.
fn random<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.random.next(cpu.id);
    T::set(cpu, op.reg, T::from64(v));
    cpu.set_status(fl::CF);
    Ok(())
}

/// Lowers the family; `None` for any other instruction.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    match i.mnemonic() {
        Mnemonic::Rdrand | Mnemonic::Rdseed => {
            wide!(size(i, 0), |T| Op::line(random::<T>).reg(ctx.reg(i.op0_register())))
        }
        _ => None,
    }
}
