//! AAA, AAD, AAM, AAS, DAA and DAS: legacy modes only.

use super::{Cpu, Ctx, Exec, Int, Op, calc};
use crate::cpu::RAX;
use iced_x86::{Instruction, Mnemonic};

fn packed(cpu: &mut Cpu, adjust: fn(u8, u32) -> (u8, u32)) -> Exec {
    let (al, flags) = adjust(u8::get(cpu, RAX as u8), cpu.eflags() as u32);
    u8::set(cpu, RAX as u8, al);
    cpu.set_status(flags.into());
    Ok(())
}

fn unpacked(cpu: &mut Cpu, adjust: fn(u16, u32) -> (u16, u32)) -> Exec {
    let (ax, flags) = adjust(u16::get(cpu, RAX as u8), cpu.eflags() as u32);
    u16::set(cpu, RAX as u8, ax);
    cpu.set_status(flags.into());
    Ok(())
}

fn daa(cpu: &mut Cpu, _: &Op) -> Exec {
    packed(cpu, calc::daa)
}

fn das(cpu: &mut Cpu, _: &Op) -> Exec {
    packed(cpu, calc::das)
}

fn aaa(cpu: &mut Cpu, _: &Op) -> Exec {
    unpacked(cpu, calc::aaa)
}

fn aas(cpu: &mut Cpu, _: &Op) -> Exec {
    unpacked(cpu, calc::aas)
}

fn aam(cpu: &mut Cpu, op: &Op) -> Exec {
    let Some((ax, flags)) = calc::aam(u8::get(cpu, RAX as u8), op.imm as u8) else {
        return Err(cpu.de());
    };
    u16::set(cpu, RAX as u8, ax);
    cpu.set_status(flags.into());
    Ok(())
}

fn aad(cpu: &mut Cpu, op: &Op) -> Exec {
    let (al, a, b) = calc::aad(u16::get(cpu, RAX as u8), op.imm as u8);
    u16::set(cpu, RAX as u8, al.into());
    cpu.flags_add::<u8>(a, b, al);
    Ok(())
}

/// Lowers the instructions of this family.
pub fn lower(i: &Instruction, _: &Ctx) -> Option<Op> {
    Some(match i.mnemonic() {
        Mnemonic::Daa => Op::line(daa),
        Mnemonic::Das => Op::line(das),
        Mnemonic::Aaa => Op::line(aaa),
        Mnemonic::Aas => Op::line(aas),
        Mnemonic::Aam => Op::line(aam).imm(i.immediate(0)),
        Mnemonic::Aad => Op::line(aad).imm(i.immediate(0)),
        _ => return None,
    })
}
