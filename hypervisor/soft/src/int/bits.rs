//! BT, BTS, BTR, BTC, BSF, BSR, POPCNT and CRC32.

use super::{Cpu, Ctx, Exec, Int, Op, calc, ea_plus, in_memory, size, sized, wide};
use iced_x86::{Instruction, Mnemonic, OpKind};

/// What a bit test does to the bit.
trait Bit {
    /// BT only looks.
    const WRITE: bool = true;
    /// The operand after, for the mask of the bit.
    fn result(a: u64, mask: u64) -> u64;
}

struct Look;
struct Set;
struct Reset;
struct Complement;

impl Bit for Look {
    const WRITE: bool = false;
    fn result(a: u64, _: u64) -> u64 {
        a
    }
}

impl Bit for Set {
    fn result(a: u64, mask: u64) -> u64 {
        a | mask
    }
}

impl Bit for Reset {
    fn result(a: u64, mask: u64) -> u64 {
        a & !mask
    }
}

impl Bit for Complement {
    fn result(a: u64, mask: u64) -> u64 {
        a ^ mask
    }
}

#[inline(always)]
fn test_reg<B: Bit, T: Int>(cpu: &mut Cpu, op: &Op, n: u64) -> Exec {
    let mask = 1 << (n & u64::from(T::BITS - 1));
    let a = T::get(cpu, op.rm).zext();
    if B::WRITE {
        T::set(cpu, op.rm, T::from64(B::result(a, mask)));
    }
    cpu.set_cf(a & mask != 0);
    Ok(())
}

fn reg_reg<B: Bit, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let n = T::get(cpu, op.reg).zext();
    test_reg::<B, T>(cpu, op, n)
}

fn reg_imm<B: Bit, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    test_reg::<B, T>(cpu, op, op.imm)
}

/// The word at `off` in the operand's segment, bit `n` of it.
#[inline(always)]
fn test_mem<B: Bit, T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op, off: u64, n: u64) -> Exec {
    let mask = 1 << (n & u64::from(T::BITS - 1));
    let a = if B::WRITE {
        let change = |a: T| T::from64(B::result(a.zext(), mask));
        cpu.modify_at::<T, LOCK>(op.seg, off, change)?.0
    } else {
        cpu.read::<T>(op.seg, off)?
    };
    cpu.set_cf(a.zext() & mask != 0);
    Ok(())
}

/// A register offset reaches words before and after the operand: it is signed and counts bits.
fn mem_reg<B: Bit, T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let n = T::get(cpu, op.reg).sext() as i64;
    let words = n >> T::BITS.trailing_zeros();
    let bytes = words.wrapping_mul(i64::from(T::BITS / 8));
    let off = ea_plus(cpu, op, bytes as u64);
    test_mem::<B, T, LOCK>(cpu, op, off, n as u64)
}

fn mem_imm<B: Bit, T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let off = cpu.ea(op);
    test_mem::<B, T, LOCK>(cpu, op, off, op.imm)
}

/// BSF, or BSR when `REVERSE`. Without a one the destination stays whole, upper half included.
#[inline(always)]
fn scan<T: Int, const REVERSE: bool>(cpu: &mut Cpu, op: &Op, v: T) {
    let v = v.zext();
    if v == 0 {
        cpu.flags_logic::<T>(T::from64(0));
        return;
    }
    let index = if REVERSE { 63 - v.leading_zeros() } else { v.trailing_zeros() };
    T::set(cpu, op.reg, T::from64(index.into()));
    // PF is the index's, ZF only the source's (measured on Intel's cores).
    cpu.flags_logic::<u8>(index as u8);
    if index == 0 {
        cpu.set_zf(false);
    }
}

fn scan_reg<T: Int, const REVERSE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = T::get(cpu, op.rm);
    scan::<T, REVERSE>(cpu, op, v);
    Ok(())
}

fn scan_mem<T: Int, const REVERSE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.load::<T>(op)?;
    scan::<T, REVERSE>(cpu, op, v);
    Ok(())
}

#[inline(always)]
fn count<T: Int>(cpu: &mut Cpu, op: &Op, v: T) {
    T::set(cpu, op.reg, T::from64(v.zext().count_ones().into()));
    let zero = if v.zext() == 0 { calc::ZF } else { 0 };
    cpu.set_status(zero.into());
}

fn popcnt_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = T::get(cpu, op.rm);
    count(cpu, op, v);
    Ok(())
}

fn popcnt_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.load::<T>(op)?;
    count(cpu, op, v);
    Ok(())
}

/// CRC32 accumulates into the 32-bit half and clears the upper one.
fn crc_reg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = T::get(cpu, op.rm);
    let r = calc::crc32c(u32::get(cpu, op.reg), v);
    u32::set(cpu, op.reg, r);
    Ok(())
}

fn crc_mem<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.load::<T>(op)?;
    let r = calc::crc32c(u32::get(cpu, op.reg), v);
    u32::set(cpu, op.reg, r);
    Ok(())
}

fn lower_test<B: Bit>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let lock = i.has_lock_prefix();
    let by_reg = i.op1_kind() == OpKind::Register;
    let op = wide!(size(i, 0), |T| match (in_memory(i, 0), by_reg, lock) {
        (false, false, _) => Op::line(reg_imm::<B, T>).rm(ctx.reg(i.op0_register())),
        (false, true, _) => Op::line(reg_reg::<B, T>).rm(ctx.reg(i.op0_register())),
        (true, false, false) => Op::line(mem_imm::<B, T, false>).mem(i, ctx),
        (true, false, true) => Op::line(mem_imm::<B, T, true>).mem(i, ctx),
        (true, true, false) => Op::line(mem_reg::<B, T, false>).mem(i, ctx),
        (true, true, true) => Op::line(mem_reg::<B, T, true>).mem(i, ctx),
    })?;
    Some(if by_reg { op.reg(ctx.reg(i.op1_register())) } else { op.imm(i.immediate(1)) })
}

fn lower_scan<const REVERSE: bool>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let op = wide!(size(i, 0), |T| if in_memory(i, 1) {
        Op::line(scan_mem::<T, REVERSE>).mem(i, ctx)
    } else {
        Op::line(scan_reg::<T, REVERSE>).rm(ctx.reg(i.op1_register()))
    })?;
    Some(op.reg(ctx.reg(i.op0_register())))
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    match i.mnemonic() {
        Mnemonic::Bt => lower_test::<Look>(i, ctx),
        Mnemonic::Bts => lower_test::<Set>(i, ctx),
        Mnemonic::Btr => lower_test::<Reset>(i, ctx),
        Mnemonic::Btc => lower_test::<Complement>(i, ctx),
        Mnemonic::Bsf => lower_scan::<false>(i, ctx),
        Mnemonic::Bsr => lower_scan::<true>(i, ctx),
        Mnemonic::Popcnt => {
            let op = wide!(size(i, 0), |T| if in_memory(i, 1) {
                Op::line(popcnt_mem::<T>).mem(i, ctx)
            } else {
                Op::line(popcnt_reg::<T>).rm(ctx.reg(i.op1_register()))
            })?;
            Some(op.reg(ctx.reg(i.op0_register())))
        }
        Mnemonic::Crc32 => {
            let op = sized!(size(i, 1), |T| if in_memory(i, 1) {
                Op::line(crc_mem::<T>).mem(i, ctx)
            } else {
                Op::line(crc_reg::<T>).rm(ctx.reg(i.op1_register()))
            })?;
            // The destination may be named as 64 bits wide; the register number is the same.
            Some(op.reg(ctx.reg(i.op0_register())))
        }
        _ => None,
    }
}
