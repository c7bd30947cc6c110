//! The x87 unit's instructions: the arithmetic is the `x87` crate's, here are its memory operands and its faults.
//!
//! What CR0 has to say is decided when a block is decoded, as CR0.EM, TS and MP belong to the block's key.
//!
//! With CR0.NE clear a pending error asserts FERR#, which a PC makes into interrupt 13 and answers with IGNNE#. That
//! interrupt is not wired: such an error is ignored, as if IGNNE# were asserted all the time.

mod area;
pub(crate) use area::{YMM_ON, in_use, xcr0_may_hold};
#[cfg(test)]
mod tests;

use iced_x86::{Instruction, MemorySize, Mnemonic};
use x87::{EnvLayout, MemForm, Prepared};

use crate::cpu::{Cpu, Exec, Fault, RAX, mode, seg};
use crate::int::ea_plus;
use crate::lower::is_prefix;
use crate::op::{Ctx, Int, Op};
use crate::system::bits::cr0;

impl Cpu {
    /// #MF, for instructions that wait: an unmasked exception pends.
    #[inline(always)]
    pub(crate) fn x87_wait(&mut self) -> Exec {
        if self.x87.pending() { self.x87_pending() } else { Ok(()) }
    }

    #[cold]
    fn x87_pending(&mut self) -> Exec {
        if self.cr0 & cr0::NE != 0 { Err(self.mf()) } else { Ok(()) }
    }

    /// Remembers an instruction that is not a control instruction; its eleven opcode bits are in `op.imm`.
    #[inline(always)]
    fn x87_note(&mut self, op: &Op) {
        let (cs, ip) = (self.seg[seg::CS].selector, self.this_ip(op));
        self.x87.note(op.imm as u16, cs, ip);
    }

    /// The same with a memory operand.
    #[inline(always)]
    fn x87_note_memory(&mut self, op: &Op, off: u64) {
        self.x87_note(op);
        let selector = self.seg[op.seg as usize & 7].selector;
        self.x87.note_data(selector, off);
    }
}

/// Device not available, found while decoding.
pub(crate) fn unavailable(cpu: &mut Cpu, _: &Op) -> Exec {
    Err(cpu.nm())
}

/// Invalid opcode, found while decoding.
pub(crate) fn undefined(cpu: &mut Cpu, _: &Op) -> Exec {
    Err(cpu.ud())
}

/// Lowers x87 instructions and those that save and restore its state; `None` for any other.
pub fn lower(i: &Instruction, ctx: &Ctx, bytes: &[u8]) -> Option<Op> {
    if i.mnemonic() == Mnemonic::Wait {
        let blocked = mode::MP | mode::TS;
        let off = ctx.mode & blocked == blocked;
        return Some(if off { Op::jump(unavailable) } else { Op::line(wait) });
    }
    if let Some(op) = area::lower(i, ctx) {
        return Some(op);
    }
    let (escape, modrm) = escape(bytes.get(..i.len())?, ctx.code)?;
    if ctx.mode & (mode::EM | mode::TS) != 0 {
        return Some(Op::jump(unavailable));
    }
    let opcode = u16::from(escape & 7) << 8 | u16::from(modrm);
    if modrm >= 0xc0 {
        return Some(register_form(opcode).imm(u64::from(opcode)));
    }
    let reg = modrm >> 3 & 7;
    let wide = matches!(i.memory_size(), MemorySize::FpuEnv28 | MemorySize::FpuState108);
    let op = match MemForm::classify(escape, reg) {
        Err(x87::Undefined) => return Some(Op::jump(undefined)),
        Ok(MemForm::LoadEnv) => Op::line(load_environment::<false>),
        Ok(MemForm::Restore) => Op::line(load_environment::<true>),
        Ok(MemForm::StoreEnv) => Op::line(store_environment::<false>),
        Ok(MemForm::Save) => Op::line(store_environment::<true>),
        Ok(_) => memory_form(escape & 7, reg)?,
    };
    Some(op.mem(i, ctx).imm(u64::from(opcode)).rm(u8::from(wide)))
}

/// Opcode and ModRM byte, if the opcode is one of D8 to DF.
fn escape(bytes: &[u8], code: u8) -> Option<(u8, u8)> {
    let mut rest = bytes.iter().copied().skip_while(|b| is_prefix(*b, code));
    let escape = rest.next().filter(|b| b & 0xf8 == 0xd8)?;
    Some((escape, rest.next()?))
}

fn wait(cpu: &mut Cpu, _: &Op) -> Exec {
    cpu.x87_wait()
}

fn register_form(opcode: u16) -> Op {
    match opcode {
        _ if !x87::is_waiting(opcode) => Op::line(control),
        // FCMOVcc; FCOMI and its kin.
        0x2c0..=0x2df | 0x3c0..=0x3df | 0x3e8..=0x3f7 | 0x7e8..=0x7f7 => Op::line(with_flags),
        _ => Op::line(with_registers),
    }
}

/// A register form that knows nothing of the status flags.
fn with_registers(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.x87_wait()?;
    if cpu.x87.exec_reg(op.imm as u16, &mut 0).is_err() {
        return Err(cpu.ud());
    }
    cpu.x87_note(op);
    Ok(())
}

/// A register form that reads or writes the status flags.
fn with_flags(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.x87_wait()?;
    let mut flags = cpu.status() as u32;
    if cpu.x87.exec_reg(op.imm as u16, &mut flags).is_err() {
        return Err(cpu.ud());
    }
    cpu.set_status(u64::from(flags));
    cpu.x87_note(op);
    Ok(())
}

/// A register form that waits for nothing and is not remembered: FNINIT, FNCLEX, FNSTSW AX.
fn control(cpu: &mut Cpu, op: &Op) -> Exec {
    match cpu.x87.exec_reg(op.imm as u16, &mut 0) {
        Ok(Some(status)) => u16::set(cpu, RAX as u8, status),
        Ok(None) => {}
        Err(x87::Undefined) => return Err(cpu.ud()),
    }
    Ok(())
}

/// The handler of a memory form, but for those with an environment.
fn memory_form(escape: u8, reg: u8) -> Option<Op> {
    macro_rules! by_number {
        (@ $escape:literal: $($reg:literal)*) => {
            match reg {
                $($reg => number_form::<$escape, $reg>(),)*
                _ => return None,
            }
        };
        ($($escape:literal)*) => {
            match escape {
                $($escape => by_number!(@ $escape: 0 1 2 3 4 5 6 7),)*
                _ => return None,
            }
        };
    }
    Some(by_number!(0 1 2 3 4 5 6 7))
}

const fn form(escape: u8, reg: u8) -> MemForm {
    match MemForm::classify(escape, reg) {
        Ok(form) => form,
        // Such an encoding has been refused before; it needs some value here to compile.
        Err(_) => MemForm::LoadControl,
    }
}

fn number_form<const ESCAPE: u8, const REG: u8>() -> Op {
    if const { form(ESCAPE, REG).is_store() } {
        Op::line(store::<ESCAPE, REG>)
    } else {
        Op::line(load::<ESCAPE, REG>)
    }
}

/// Memory to the unit.
fn load<const ESCAPE: u8, const REG: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    let form = const { form(ESCAPE, REG) };
    let layout = EnvLayout::default();
    cpu.x87_wait()?;
    let off = cpu.ea(op);
    let v = match form.size(layout) {
        2 => u128::from(cpu.read::<u16>(op.seg, off)?),
        4 => u128::from(cpu.read::<u32>(op.seg, off)?),
        8 => u128::from(cpu.read::<u64>(op.seg, off)?),
        _ => {
            let low = cpu.read::<u64>(op.seg, off)?;
            let high = cpu.read::<u16>(op.seg, ea_plus(cpu, op, 8))?;
            u128::from(high) << 64 | u128::from(low)
        }
    };
    cpu.x87.load_op(form, layout, &v.to_le_bytes());
    if !form.is_control() {
        cpu.x87_note_memory(op, off);
    }
    Ok(())
}

/// The unit to memory. If the write faults the unit stays as it was.
fn store<const ESCAPE: u8, const REG: u8>(cpu: &mut Cpu, op: &Op) -> Exec {
    let form = const { form(ESCAPE, REG) };
    if form.is_waiting() {
        cpu.x87_wait()?;
    }
    let off = cpu.ea(op);
    let mut out = [0; 108];
    let prepared = cpu.x87.prepare(form, EnvLayout::default(), &mut out);
    write_number(cpu, op, off, &prepared, &out)?;
    cpu.x87.commit(prepared);
    if !form.is_control() {
        cpu.x87_note_memory(op, off);
    }
    Ok(())
}

#[inline(always)]
fn write_number(cpu: &mut Cpu, op: &Op, off: u64, prepared: &Prepared, out: &[u8; 108]) -> Exec {
    let low = u64::from_le_bytes([out[0], out[1], out[2], out[3], out[4], out[5], out[6], out[7]]);
    match prepared.len {
        0 => Ok(()),
        2 => cpu.write(op.seg, off, low as u16),
        4 => cpu.write(op.seg, off, low as u32),
        8 => cpu.write(op.seg, off, low),
        _ => {
            // What is written before a fault in the other page is written again after it.
            let high = u16::from_le_bytes([out[8], out[9]]);
            cpu.write(op.seg, ea_plus(cpu, op, 8), high)?;
            cpu.write(op.seg, off, low)
        }
    }
}

/// `op.rm` tells the operand size, CR0.PE and EFLAGS.VM the rest.
fn layout(cpu: &Cpu, op: &Op) -> EnvLayout {
    match (op.rm != 0, cpu.protected() && !cpu.v86()) {
        (false, false) => EnvLayout::Real16,
        (false, true) => EnvLayout::Protected16,
        (true, false) => EnvLayout::Real32,
        (true, true) => EnvLayout::Protected32,
    }
}

/// FLDENV, and FRSTOR if `ALL`.
fn load_environment<const ALL: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.x87_wait()?;
    let layout = layout(cpu, op);
    let len = if ALL { layout.save_size() } else { layout.env_size() };
    let mut bytes = [0u8; 108];
    read_bytes(cpu, op, &mut bytes[..len])?;
    if ALL {
        cpu.x87.restore(layout, &bytes);
    } else {
        cpu.x87.load_env(layout, &bytes);
    }
    Ok(())
}

/// FNSTENV, and FNSAVE if `ALL`.
fn store_environment<const ALL: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let layout = layout(cpu, op);
    let mut bytes = [0u8; 108];
    let form = if ALL { MemForm::Save } else { MemForm::StoreEnv };
    let prepared = cpu.x87.prepare(form, layout, &mut bytes);
    write_bytes(cpu, op, &bytes[..prepared.len])?;
    cpu.x87.commit(prepared);
    Ok(())
}

/// Reads an even number of bytes at the memory operand.
fn read_bytes(cpu: &mut Cpu, op: &Op, bytes: &mut [u8]) -> Result<(), Fault> {
    for (k, two) in bytes.as_chunks_mut::<2>().0.iter_mut().enumerate() {
        *two = cpu.read::<u16>(op.seg, ea_plus(cpu, op, 2 * k as u64))?.to_le_bytes();
    }
    Ok(())
}

/// Writes an even number of bytes at the memory operand.
fn write_bytes(cpu: &mut Cpu, op: &Op, bytes: &[u8]) -> Exec {
    for (k, two) in bytes.as_chunks::<2>().0.iter().enumerate() {
        cpu.write(op.seg, ea_plus(cpu, op, 2 * k as u64), u16::from_le_bytes(*two))?;
    }
    Ok(())
}
