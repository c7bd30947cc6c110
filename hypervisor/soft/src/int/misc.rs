//! LAHF, SAHF, the carry and direction flags, BOUND, UD, and all that does nothing here.

use super::{Cpu, Ctx, Exec, Int, Op, calc, ea_plus, wide};
use crate::cpu::RAX;
use iced_x86::{Instruction, Mnemonic};

/// Byte offset of AH in the register file.
const AH: u8 = 1;
/// What SAHF takes from AH.
const SAHF: u32 = calc::SF | calc::ZF | calc::AF | calc::PF | calc::CF;

fn lahf(cpu: &mut Cpu, _: &Op) -> Exec {
    let v = cpu.eflags() as u8;
    u8::set(cpu, AH, v);
    Ok(())
}

fn sahf(cpu: &mut Cpu, _: &Op) -> Exec {
    let v = u8::get(cpu, AH);
    cpu.set_flags(SAHF.into(), v.into());
    Ok(())
}

/// CLC, STC and CMC: 0, 1, 2.
fn carry<const WHAT: u8>(cpu: &mut Cpu, _: &Op) -> Exec {
    let cf = if WHAT == 2 { !cpu.cf() } else { WHAT == 1 };
    cpu.set_cf(cf);
    Ok(())
}

fn direction<const SET: bool>(cpu: &mut Cpu, _: &Op) -> Exec {
    cpu.set_flags(calc::DF.into(), if SET { calc::DF.into() } else { 0 });
    Ok(())
}

/// SALC: AL is all ones if CF, else zero.
fn salc(cpu: &mut Cpu, _: &Op) -> Exec {
    let v = if cpu.cf() { 0xff } else { 0 };
    u8::set(cpu, 8 * RAX as u8, v);
    Ok(())
}

fn nop(_: &mut Cpu, _: &Op) -> Exec {
    Ok(())
}

fn fence(_: &mut Cpu, _: &Op) -> Exec {
    std::sync::atomic::fence(std::sync::atomic::Ordering::SeqCst);
    Ok(())
}

fn undefined(cpu: &mut Cpu, _: &Op) -> Exec {
    Err(cpu.ud())
}

/// BOUND: #BR (vector 5) unless the signed index lies between the two words in memory, both included.
fn bound<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let off = cpu.ea(op);
    let low = cpu.read::<T>(op.seg, off)?.sext() as i64;
    let above = ea_plus(cpu, op, u64::from(T::BITS / 8));
    let high = cpu.read::<T>(op.seg, above)?.sext() as i64;
    let index = T::get(cpu, op.reg).sext() as i64;
    if index < low || index > high {
        return Err(cpu.raise(5, None));
    }
    Ok(())
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, ctx: &Ctx) -> Option<Op> {
    use Mnemonic::*;
    Some(match i.mnemonic() {
        Lahf => Op::line(lahf),
        Sahf => Op::line(sahf),
        Salc => Op::line(salc),
        Clc => Op::line(carry::<0>),
        Stc => Op::line(carry::<1>),
        Cmc => Op::line(carry::<2>),
        Cld => Op::line(direction::<false>),
        Std => Op::line(direction::<true>),
        Mfence | Sfence | Lfence => Op::line(fence),
        // Hints, and what a core without CET, MPX or CLDEMOTE takes for hints (SDM vol. 2, 0F 18 to 0F 1F).
        Nop | Reservednop | Prefetch | Prefetchw | Prefetchwt1 | Prefetchnta | Prefetcht0 | Prefetcht1
        | Prefetcht2 | Prefetchit0 | Prefetchit1 | Endbr32 | Endbr64 | Rdsspd | Rdsspq | Cldemote | Bndmk
        | Bndcl | Bndcu | Bndcn | Bndmov | Bndldx | Bndstx => Op::line(nop),
        Ud0 | Ud1 | Ud2 => Op::line(undefined),
        Bound => {
            return wide!(i.op0_register().size(), |T| Op::line(bound::<T>)
                .reg(ctx.reg(i.op0_register()))
                .mem(i, ctx));
        }
        _ => return None,
    })
}
