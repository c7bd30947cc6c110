//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG and NOT (SDM vol. 2).

use super::{Cpu, Ctx, Exec, Int, MemOperand, Op, by_condition, in_memory, placed, size, sized};
use crate::place::{Any, Flat, Suits, suits};
use iced_x86::{Instruction, Mnemonic, OpKind};

/// A two-operand operation on the first operand.
trait Alu {
    /// Whether the carry goes in.
    const CARRY: bool = false;
    /// The result; `c` is the carry in, 0 without one.
    fn result<T: Int>(a: T, b: T, c: u64) -> T;
    /// Leaves the flags of `r`.
    fn flags<T: Int>(cpu: &mut Cpu, a: T, b: T, r: T);
}

macro_rules! alu {
    ($($(#[$carry:ident])? $name:ident($a:ident, $b:ident, $c:ident) = $r:expr, |$cpu:ident, $ret:ident| $flags:expr;)*) => {$(
        struct $name;
        impl Alu for $name {
            $(const $carry: bool = true;)?
            #[inline(always)]
            fn result<T: Int>(a: T, b: T, $c: u64) -> T {
                let ($a, $b) = (a.zext(), b.zext());
                T::from64($r)
            }
            #[inline(always)]
            fn flags<T: Int>($cpu: &mut Cpu, $a: T, $b: T, $ret: T) {
                $flags
            }
        }
    )*};
}

alu! {
    Add(a, b, _c) = a.wrapping_add(b), |cpu, r| cpu.flags_add::<T>(a, b, r);
    Sub(a, b, _c) = a.wrapping_sub(b), |cpu, r| cpu.flags_sub::<T>(a, b, r);
    #[CARRY] Adc(a, b, c) = a.wrapping_add(b).wrapping_add(c), |cpu, r| cpu.flags_add::<T>(a, b, r);
    #[CARRY] Sbb(a, b, c) = a.wrapping_sub(b).wrapping_sub(c), |cpu, r| cpu.flags_sub::<T>(a, b, r);
    And(a, b, _c) = a & b, |cpu, r| { let _ = (a, b); cpu.flags_logic::<T>(r) };
    Or(a, b, _c) = a | b, |cpu, r| { let _ = (a, b); cpu.flags_logic::<T>(r) };
    Xor(a, b, _c) = a ^ b, |cpu, r| { let _ = (a, b); cpu.flags_logic::<T>(r) };
}

#[inline(always)]
fn carry<A: Alu>(cpu: &Cpu) -> u64 {
    if A::CARRY { cpu.cf().into() } else { 0 }
}

/// Computes, leaves the flags and gives the result.
#[inline(always)]
fn apply<A: Alu, T: Int>(cpu: &mut Cpu, a: T, b: T) -> T {
    let r = A::result(a, b, carry::<A>(cpu));
    A::flags(cpu, a, b, r);
    r
}

fn reg_reg<A: Alu, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (a, b) = (T::get(cpu, op.rm), T::get(cpu, op.reg));
    let r = apply::<A, T>(cpu, a, b);
    T::set(cpu, op.rm, r);
    Ok(())
}

fn reg_imm<A: Alu, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = T::get(cpu, op.rm);
    let r = apply::<A, T>(cpu, a, T::from64(op.imm));
    T::set(cpu, op.rm, r);
    Ok(())
}

fn reg_mem<A: Alu, T: Int, M: MemOperand>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = M::load::<T>(cpu, op)?;
    let a = T::get(cpu, op.reg);
    let r = apply::<A, T>(cpu, a, b);
    T::set(cpu, op.reg, r);
    Ok(())
}

#[inline(always)]
fn change<A: Alu, T: Int, M: MemOperand, const LOCK: bool>(cpu: &mut Cpu, op: &Op, b: T) -> Exec {
    let c = carry::<A>(cpu);
    let (a, r) = M::modify::<T, LOCK>(cpu, op, |a| A::result(a, b, c))?;
    A::flags(cpu, a, b, r);
    Ok(())
}

fn mem_reg<A: Alu, T: Int, M: MemOperand, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = T::get(cpu, op.reg);
    change::<A, T, M, LOCK>(cpu, op, b)
}

fn mem_imm<A: Alu, T: Int, M: MemOperand, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    change::<A, T, M, LOCK>(cpu, op, T::from64(op.imm))
}

fn test_reg_reg<A: Alu, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (a, b) = (T::get(cpu, op.rm), T::get(cpu, op.reg));
    apply::<A, T>(cpu, a, b);
    Ok(())
}

fn test_reg_imm<A: Alu, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = T::get(cpu, op.rm);
    apply::<A, T>(cpu, a, T::from64(op.imm));
    Ok(())
}

fn test_reg_mem<A: Alu, T: Int, M: MemOperand>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = M::load::<T>(cpu, op)?;
    let a = T::get(cpu, op.reg);
    apply::<A, T>(cpu, a, b);
    Ok(())
}

fn test_mem_reg<A: Alu, T: Int, M: MemOperand>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = M::load::<T>(cpu, op)?;
    let b = T::get(cpu, op.reg);
    apply::<A, T>(cpu, a, b);
    Ok(())
}

fn test_mem_imm<A: Alu, T: Int, M: MemOperand>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = M::load::<T>(cpu, op)?;
    apply::<A, T>(cpu, a, T::from64(op.imm));
    Ok(())
}

/// XOR or SUB of a register with itself: a constant.
fn zero<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let r = T::from64(0);
    cpu.flags_logic::<T>(r);
    T::set(cpu, op.rm, r);
    Ok(())
}

/// A one-operand operation.
trait Unary {
    fn result<T: Int>(a: T) -> T;
    fn flags<T: Int>(cpu: &mut Cpu, a: T, r: T);
}

macro_rules! unary {
    ($($name:ident($a:ident) = $r:expr, |$cpu:ident, $ret:ident| $flags:expr;)*) => {$(
        struct $name;
        impl Unary for $name {
            #[inline(always)]
            fn result<T: Int>(a: T) -> T {
                let $a = a.zext();
                T::from64($r)
            }
            #[inline(always)]
            fn flags<T: Int>($cpu: &mut Cpu, $a: T, $ret: T) {
                $flags
            }
        }
    )*};
}

unary! {
    Inc(a) = a.wrapping_add(1), |cpu, r| { let _ = a; cpu.flags_inc::<T>(r) };
    Dec(a) = a.wrapping_sub(1), |cpu, r| { let _ = a; cpu.flags_dec::<T>(r) };
    Neg(a) = a.wrapping_neg(), |cpu, r| cpu.flags_sub::<T>(T::from64(0), a, r);
    Not(a) = !a, |cpu, r| { let _ = (cpu, a, r); };
}

fn unary_reg<U: Unary, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = T::get(cpu, op.rm);
    let r = U::result(a);
    T::set(cpu, op.rm, r);
    U::flags(cpu, a, r);
    Ok(())
}

fn unary_mem<U: Unary, T: Int, M: MemOperand, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (a, r) = M::modify::<T, LOCK>(cpu, op, |a| U::result(a))?;
    U::flags(cpu, a, r);
    Ok(())
}

/// A step of a count: with a branch on zero or not zero behind it.
macro_rules! counted {
    ($ctx:expr, $f:expr) => {
        match $ctx.branch {
            // SAFETY: the block's maker says that this branch follows, and sees to it.
            Some(4) => unsafe { Op::fused::<_, _, 4>($f, $f) },
            // SAFETY: as above.
            Some(5) => unsafe { Op::fused::<_, _, 5>($f, $f) },
            _ => Op::line($f),
        }
    };
}

/// An operation that keeps its result.
fn lower_store<A: Alu>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let lock = i.has_lock_prefix();
    sized!(size(i, 0), |T| match (i.op0_kind(), i.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            Op::line(reg_reg::<A, T>).rm(ctx.reg(i.op0_register())).reg(ctx.reg(i.op1_register()))
        }
        (OpKind::Register, OpKind::Memory) =>
            placed!(i, ctx, |M| reg_mem::<A, T, M>).reg(ctx.reg(i.op0_register())).mem(i, ctx),
        (OpKind::Register, _) =>
            counted!(ctx, reg_imm::<A, T>).rm(ctx.reg(i.op0_register())).imm(i.immediate(1)),
        (_, OpKind::Register) => {
            let op = if lock {
                Op::line(mem_reg::<A, T, Any, true>)
            } else {
                placed!(i, ctx, |M| mem_reg::<A, T, M, false>)
            };
            op.reg(ctx.reg(i.op1_register())).mem(i, ctx)
        }
        _ => {
            let op = if lock {
                Op::line(mem_imm::<A, T, Any, true>)
            } else {
                placed!(i, ctx, |M| mem_imm::<A, T, M, false>)
            };
            op.imm(i.immediate(1)).mem(i, ctx)
        }
    })
}

/// An operation on registers, together with the conditional branch that follows if there is one.
macro_rules! fusible {
    ($ctx:expr, $f:expr) => {
        match $ctx.branch {
            // SAFETY: the block's maker says that this branch follows, and sees to it.
            Some(cc) => by_condition!(cc, |CC| unsafe { Op::fused::<_, _, CC>($f, $f) })?,
            None => Op::line($f),
        }
    };
}

/// The same for an operand in memory.
macro_rules! fusible_placed {
    ($i:expr, $ctx:expr, |$M:ident| $f:expr) => {{
        macro_rules! at {
            ($P:ty) => {{
                type $M = $P;
                $f
            }};
        }
        match ($ctx.branch, suits($i, $ctx)) {
            (Some(cc), Suits::Near) => {
                // SAFETY: the block's maker says that this branch follows, and sees to it.
                by_condition!(cc, |CC| unsafe { Op::fused::<_, _, CC>(at!(Flat<false>), at!(Any)) })?
            }
            (Some(cc), Suits::Index) => {
                // SAFETY: as above.
                by_condition!(cc, |CC| unsafe { Op::fused::<_, _, CC>(at!(Flat<true>), at!(Any)) })?
            }
            _ => placed!($i, $ctx, |$M| $f),
        }
    }};
}

/// CMP and TEST: flags alone.
fn lower_test<A: Alu>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let (a, b) = (i.op0_register(), i.op1_register());
    sized!(size(i, 0), |T| match (i.op0_kind(), i.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            fusible!(ctx, test_reg_reg::<A, T>).rm(ctx.reg(a)).reg(ctx.reg(b))
        }
        (OpKind::Register, OpKind::Memory) => {
            placed!(i, ctx, |M| test_reg_mem::<A, T, M>).reg(ctx.reg(a)).mem(i, ctx)
        }
        (OpKind::Register, _) => fusible!(ctx, test_reg_imm::<A, T>).rm(ctx.reg(a)).imm(i.immediate(1)),
        (_, OpKind::Register) => {
            placed!(i, ctx, |M| test_mem_reg::<A, T, M>).reg(ctx.reg(b)).mem(i, ctx)
        }
        _ => fusible_placed!(i, ctx, |M| test_mem_imm::<A, T, M>).imm(i.immediate(1)).mem(i, ctx),
    })
}

fn lower_unary<U: Unary>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    sized!(size(i, 0), |T| if !in_memory(i, 0) {
        counted!(ctx, unary_reg::<U, T>).rm(ctx.reg(i.op0_register()))
    } else if i.has_lock_prefix() {
        Op::line(unary_mem::<U, T, Any, true>).mem(i, ctx)
    } else {
        placed!(i, ctx, |M| unary_mem::<U, T, M, false>).mem(i, ctx)
    })
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let itself = i.op0_kind() == OpKind::Register
        && i.op1_kind() == OpKind::Register
        && i.op0_register() == i.op1_register();
    match i.mnemonic() {
        Mnemonic::Xor | Mnemonic::Sub if itself => {
            sized!(size(i, 0), |T| Op::line(zero::<T>).rm(ctx.reg(i.op0_register())))
        }
        Mnemonic::Add => lower_store::<Add>(i, ctx),
        Mnemonic::Or => lower_store::<Or>(i, ctx),
        Mnemonic::Adc => lower_store::<Adc>(i, ctx),
        Mnemonic::Sbb => lower_store::<Sbb>(i, ctx),
        Mnemonic::And => lower_store::<And>(i, ctx),
        Mnemonic::Sub => lower_store::<Sub>(i, ctx),
        Mnemonic::Xor => lower_store::<Xor>(i, ctx),
        Mnemonic::Cmp => lower_test::<Sub>(i, ctx),
        Mnemonic::Test => lower_test::<And>(i, ctx),
        Mnemonic::Inc => lower_unary::<Inc>(i, ctx),
        Mnemonic::Dec => lower_unary::<Dec>(i, ctx),
        Mnemonic::Neg => lower_unary::<Neg>(i, ctx),
        Mnemonic::Not => lower_unary::<Not>(i, ctx),
        _ => None,
    }
}
