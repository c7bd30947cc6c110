//! BMI1, BMI2, LZCNT, TZCNT and ADX (SDM vol. 2).
//!
//! Flags that the manuals leave undefined are as of a logical result: AMD's and Intel's processors differ in them.

use super::{Cpu, Ctx, Exec, Int, Op, in_memory, size, wide};
use crate::cpu::RDX;
use crate::flags::bits as fl;
use iced_x86::{Instruction, Mnemonic, OpKind};

/// A source operand: the register `op.rm`, or memory.
#[inline(always)]
fn source<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Result<T, crate::cpu::Fault> {
    if MEM { cpu.load::<T>(op) } else { Ok(T::get(cpu, op.rm)) }
}

/// The register that VEX.vvvv names, which `lower` left in the immediate.
#[inline(always)]
fn other<T: Int>(cpu: &Cpu, op: &Op) -> T {
    T::get(cpu, op.imm as u8 & 15)
}

/// The lowest `n` bits of a register.
#[inline(always)]
fn lowest(n: u64) -> u64 {
    if n < 64 { (1 << n) - 1 } else { u64::MAX }
}

/// Leaves SF and ZF of a result, OF clear, and CF.
#[inline(always)]
fn leave<T: Int>(cpu: &mut Cpu, r: T, cf: bool) {
    cpu.flags_logic::<T>(r);
    cpu.set_cf(cf);
}

fn andn<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = source::<T, MEM>(cpu, op)?;
    let r = !other::<T>(cpu, op) & b;
    T::set(cpu, op.reg, r);
    leave(cpu, r, false);
    Ok(())
}

fn bextr<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = source::<T, MEM>(cpu, op)?.zext();
    let control = other::<T>(cpu, op).zext();
    let shifted = v.checked_shr(control as u32 & 0xff).unwrap_or(0);
    let r = T::from64(shifted & lowest(control >> 8 & 0xff));
    T::set(cpu, op.reg, r);
    leave(cpu, r, false);
    Ok(())
}

fn bzhi<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = source::<T, MEM>(cpu, op)?.zext();
    let index = other::<T>(cpu, op).zext() & 0xff;
    let r = T::from64(v & lowest(index));
    T::set(cpu, op.reg, r);
    leave(cpu, r, index >= u64::from(T::BITS));
    Ok(())
}

/// What is done with the lowest bit that is set: BLSR clears it, BLSMSK makes a mask up to it, BLSI keeps it alone.
trait Lowest {
    /// The result of an operand.
    fn result(v: u64) -> u64;
    /// CF says that the operand is zero, or that it is not.
    const CARRY_IF_ZERO: bool;
}
struct Clear;
struct Mask;
struct Isolate;
impl Lowest for Clear {
    fn result(v: u64) -> u64 {
        v & v.wrapping_sub(1)
    }
    const CARRY_IF_ZERO: bool = true;
}
impl Lowest for Mask {
    fn result(v: u64) -> u64 {
        v ^ v.wrapping_sub(1)
    }
    const CARRY_IF_ZERO: bool = true;
}
impl Lowest for Isolate {
    fn result(v: u64) -> u64 {
        v & v.wrapping_neg()
    }
    const CARRY_IF_ZERO: bool = false;
}

fn lowest_set<L: Lowest, T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = source::<T, MEM>(cpu, op)?.zext();
    let r = T::from64(L::result(v));
    T::set(cpu, op.reg, r);
    leave(cpu, r, (v == 0) == L::CARRY_IF_ZERO);
    Ok(())
}

/// LZCNT, or TZCNT unless `LEADING`: the width if there is no one.
fn count<T: Int, const MEM: bool, const LEADING: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = source::<T, MEM>(cpu, op)?.zext();
    let n = if LEADING { v.leading_zeros() - (64 - T::BITS) } else { v.trailing_zeros().min(T::BITS) };
    T::set(cpu, op.reg, T::from64(n.into()));
    let carry = if v == 0 { fl::CF } else { 0 };
    cpu.set_status(carry | if n == 0 { fl::ZF } else { 0 });
    Ok(())
}

/// RDX times the source: the high half into `op.reg`, which wins if both halves go to one register.
fn mulx<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = source::<T, MEM>(cpu, op)?;
    let product = u128::from(T::get(cpu, RDX as u8).zext()) * u128::from(b.zext());
    T::set(cpu, op.imm as u8 & 15, T::from64(product as u64));
    T::set(cpu, op.reg, T::from64((product >> T::BITS) as u64));
    Ok(())
}

fn rorx<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = source::<T, MEM>(cpu, op)?.zext();
    let n = op.imm as u32 & (T::BITS - 1);
    let twice = u128::from(v) | u128::from(v) << T::BITS;
    T::set(cpu, op.reg, T::from64((twice >> n) as u64));
    Ok(())
}

/// Which way a shift without flags goes.
trait Shift {
    /// The low bits of the result.
    fn result<T: Int>(v: T, n: u32) -> u64;
}
struct Left;
struct Right;
struct Arithmetic;
impl Shift for Left {
    fn result<T: Int>(v: T, n: u32) -> u64 {
        v.zext() << n
    }
}
impl Shift for Right {
    fn result<T: Int>(v: T, n: u32) -> u64 {
        v.zext() >> n
    }
}
impl Shift for Arithmetic {
    fn result<T: Int>(v: T, n: u32) -> u64 {
        (v.sext() as i64 >> n) as u64
    }
}

fn shift<S: Shift, T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = source::<T, MEM>(cpu, op)?;
    let n = other::<T>(cpu, op).zext() as u32 & (T::BITS - 1);
    T::set(cpu, op.reg, T::from64(S::result(v, n)));
    Ok(())
}

/// PDEP: the low bits of `v`, each to a place where the mask has a one.
fn deposit(v: u64, mut mask: u64) -> u64 {
    let (mut r, mut n) = (0, 0);
    while mask != 0 {
        r |= (v >> n & 1) << mask.trailing_zeros();
        mask &= mask - 1;
        n += 1;
    }
    r
}

/// PEXT: the bits of `v` at the mask's ones, side by side.
fn extract(v: u64, mut mask: u64) -> u64 {
    let (mut r, mut n) = (0, 0);
    while mask != 0 {
        r |= (v >> mask.trailing_zeros() & 1) << n;
        mask &= mask - 1;
        n += 1;
    }
    r
}

fn pdep<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let mask = source::<T, MEM>(cpu, op)?.zext();
    let r = deposit(other::<T>(cpu, op).zext(), mask);
    T::set(cpu, op.reg, T::from64(r));
    Ok(())
}

fn pext<T: Int, const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let mask = source::<T, MEM>(cpu, op)?.zext();
    let r = extract(other::<T>(cpu, op).zext(), mask);
    T::set(cpu, op.reg, T::from64(r));
    Ok(())
}

/// ADCX, or ADOX if `OF`: an addition that reads and writes one flag alone.
fn add_with<T: Int, const MEM: bool, const OF: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = source::<T, MEM>(cpu, op)?.zext();
    let carry = if OF { cpu.of() } else { cpu.cf() };
    let sum = u128::from(T::get(cpu, op.reg).zext()) + u128::from(b) + u128::from(carry);
    T::set(cpu, op.reg, T::from64(sum as u64));
    let carry = sum >> T::BITS != 0;
    if OF {
        cpu.set_of(carry);
    } else {
        cpu.set_cf(carry);
    }
    Ok(())
}

/// Lowers the instructions of this family that VEX encodes.
pub fn lower_vex(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    /// `$f` by width, with its register or memory operand in `$rm`.
    macro_rules! by_source {
        ($rm:expr, $f:ident $(, $how:ident)?) => {
            wide!(size(i, 0), |T| if in_memory(i, $rm) {
                Op::line($f::<$($how,)? T, true>).mem(i, ctx)
            } else {
                Op::line($f::<$($how,)? T, false>).rm(ctx.reg(i.op_register($rm)))
            })?
        };
    }
    // The destination is operand 0; VEX.vvvv is the operand that is neither it nor `rm`.
    let register = |n: u32| u64::from(ctx.reg(i.op_register(n)));
    let (op, imm) = match i.mnemonic() {
        Mnemonic::Andn => (by_source!(2, andn), register(1)),
        Mnemonic::Mulx => (by_source!(2, mulx), register(1)),
        Mnemonic::Pdep => (by_source!(2, pdep), register(1)),
        Mnemonic::Pext => (by_source!(2, pext), register(1)),
        Mnemonic::Bextr => (by_source!(1, bextr), register(2)),
        Mnemonic::Bzhi => (by_source!(1, bzhi), register(2)),
        Mnemonic::Shlx => (by_source!(1, shift, Left), register(2)),
        Mnemonic::Shrx => (by_source!(1, shift, Right), register(2)),
        Mnemonic::Sarx => (by_source!(1, shift, Arithmetic), register(2)),
        Mnemonic::Rorx => (by_source!(1, rorx), i.immediate(2)),
        Mnemonic::Blsr => (by_source!(1, lowest_set, Clear), 0),
        Mnemonic::Blsmsk => (by_source!(1, lowest_set, Mask), 0),
        Mnemonic::Blsi => (by_source!(1, lowest_set, Isolate), 0),
        _ => return None,
    };
    Some(op.reg(ctx.reg(i.op0_register())).imm(imm))
}

/// Lowers the others.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let mem = i.op1_kind() == OpKind::Memory;
    macro_rules! by_source {
        ($f:ident, $flag:literal) => {
            wide!(size(i, 0), |T| if mem {
                Op::line($f::<T, true, $flag>).mem(i, ctx)
            } else {
                Op::line($f::<T, false, $flag>).rm(ctx.reg(i.op1_register()))
            })?
        };
    }
    let op = match i.mnemonic() {
        Mnemonic::Lzcnt => by_source!(count, true),
        Mnemonic::Tzcnt => by_source!(count, false),
        Mnemonic::Adcx => by_source!(add_with, false),
        Mnemonic::Adox => by_source!(add_with, true),
        _ => return None,
    };
    Some(op.reg(ctx.reg(i.op0_register())))
}
