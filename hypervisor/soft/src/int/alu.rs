//! ADD, OR, ADC, SBB, AND, SUB, XOR, CMP, TEST, INC, DEC, NEG and NOT (SDM vol. 2).

use super::{Cpu, Ctx, Exec, Int, Op, in_memory, size, sized};
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

fn reg_mem<A: Alu, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = cpu.load::<T>(op)?;
    let a = T::get(cpu, op.reg);
    let r = apply::<A, T>(cpu, a, b);
    T::set(cpu, op.reg, r);
    Ok(())
}

#[inline(always)]
fn change<A: Alu, T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op, b: T) -> Exec {
    let c = carry::<A>(cpu);
    let (a, r) = cpu.modify::<T, LOCK>(op, |a| A::result(a, b, c))?;
    A::flags(cpu, a, b, r);
    Ok(())
}

fn mem_reg<A: Alu, T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = T::get(cpu, op.reg);
    change::<A, T, LOCK>(cpu, op, b)
}

fn mem_imm<A: Alu, T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    change::<A, T, LOCK>(cpu, op, T::from64(op.imm))
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

fn test_reg_mem<A: Alu, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let b = cpu.load::<T>(op)?;
    let a = T::get(cpu, op.reg);
    apply::<A, T>(cpu, a, b);
    Ok(())
}

fn test_mem_reg<A: Alu, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = cpu.load::<T>(op)?;
    let b = T::get(cpu, op.reg);
    apply::<A, T>(cpu, a, b);
    Ok(())
}

fn test_mem_imm<A: Alu, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let a = cpu.load::<T>(op)?;
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

fn unary_mem<U: Unary, T: Int, const LOCK: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (a, r) = cpu.modify::<T, LOCK>(op, |a| U::result(a))?;
    U::flags(cpu, a, r);
    Ok(())
}

/// An operation that keeps its result.
fn lower_store<A: Alu>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    let lock = i.has_lock_prefix();
    sized!(size(i, 0), |T| match (i.op0_kind(), i.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            Op::line(reg_reg::<A, T>).rm(ctx.reg(i.op0_register())).reg(ctx.reg(i.op1_register()))
        }
        (OpKind::Register, OpKind::Memory) =>
            Op::line(reg_mem::<A, T>).reg(ctx.reg(i.op0_register())).mem(i, ctx),
        (OpKind::Register, _) => Op::line(reg_imm::<A, T>).rm(ctx.reg(i.op0_register())).imm(i.immediate(1)),
        (_, OpKind::Register) => {
            let op = if lock { Op::line(mem_reg::<A, T, true>) } else { Op::line(mem_reg::<A, T, false>) };
            op.reg(ctx.reg(i.op1_register())).mem(i, ctx)
        }
        _ => {
            let op = if lock { Op::line(mem_imm::<A, T, true>) } else { Op::line(mem_imm::<A, T, false>) };
            op.imm(i.immediate(1)).mem(i, ctx)
        }
    })
}

/// CMP and TEST: flags alone.
fn lower_test<A: Alu>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    sized!(size(i, 0), |T| match (i.op0_kind(), i.op1_kind()) {
        (OpKind::Register, OpKind::Register) => {
            Op::line(test_reg_reg::<A, T>).rm(ctx.reg(i.op0_register())).reg(ctx.reg(i.op1_register()))
        }
        (OpKind::Register, OpKind::Memory) => {
            Op::line(test_reg_mem::<A, T>).reg(ctx.reg(i.op0_register())).mem(i, ctx)
        }
        (OpKind::Register, _) =>
            Op::line(test_reg_imm::<A, T>).rm(ctx.reg(i.op0_register())).imm(i.immediate(1)),
        (_, OpKind::Register) => Op::line(test_mem_reg::<A, T>).reg(ctx.reg(i.op1_register())).mem(i, ctx),
        _ => Op::line(test_mem_imm::<A, T>).imm(i.immediate(1)).mem(i, ctx),
    })
}

fn lower_unary<U: Unary>(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    sized!(size(i, 0), |T| if !in_memory(i, 0) {
        Op::line(unary_reg::<U, T>).rm(ctx.reg(i.op0_register()))
    } else if i.has_lock_prefix() {
        Op::line(unary_mem::<U, T, true>).mem(i, ctx)
    } else {
        Op::line(unary_mem::<U, T, false>).mem(i, ctx)
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
