//! Handlers of far transfers, segment moves, and instructions that touch the system flags.

use crate::cpu::{Cpu, Exec, IP, seg, special};
use crate::flags::bits as fl;
use crate::op::{Int, Op, Word};
use crate::system::bits::cr4;
use crate::system::deliver::Source;

/// JMP and CALL with an immediate pointer: `imm` the offset, `disp` the selector, `rm` operand size in bytes.
pub(super) fn far_direct<const CALL: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let next = cpu.next_ip(op);
    if CALL {
        cpu.far_call(op.disp as u16, op.imm, op.rm, next)
    } else {
        cpu.far_jump(op.disp as u16, op.imm, next)
    }
}

/// The same through memory.
pub(super) fn far_indirect<const CALL: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let next = cpu.next_ip(op);
    let (selector, offset) = cpu.far_pointer(op.seg, cpu.ea(op), op.rm)?;
    if CALL { cpu.far_call(selector, offset, op.rm, next) } else { cpu.far_jump(selector, offset, next) }
}

/// RETF; `imm` bytes of parameters.
pub(super) fn retf(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.far_return(op.rm, op.imm as u16)
}

/// IRET.
pub(super) fn iret(cpu: &mut Cpu, op: &Op) -> Exec {
    // A return to another task leaves this one's next instruction behind.
    if cpu.flags & fl::NT != 0 && cpu.protected() && !cpu.v86() {
        cpu.gpr[IP] = cpu.next_ip(op);
        return cpu.interrupt_return(op.rm).inspect_err(|_| {
            cpu.gpr[IP] = cpu.gpr[IP].wrapping_sub(op.at as u64 + op.len as u64);
        });
    }
    cpu.interrupt_return(op.rm)
}

/// INT n, INT3, INTO, INT1 (vector in `imm`).
pub(super) fn int(cpu: &mut Cpu, op: &Op) -> Exec {
    let next = cpu.next_ip(op);
    cpu.software_interrupt(op.imm as u8, next, Source::Software)
}

/// INTO.
pub(super) fn into(cpu: &mut Cpu, op: &Op) -> Exec {
    let next = cpu.next_ip(op);
    if cpu.of() {
        return cpu.software_interrupt(4, next, Source::Software);
    }
    cpu.gpr[IP] = next;
    Ok(())
}

/// INT1: a debug trap that asks no privilege.
pub(super) fn int1(cpu: &mut Cpu, op: &Op) -> Exec {
    let next = cpu.next_ip(op);
    cpu.software_interrupt(1, next, Source::Trap)?;
    // What MOV SS held back comes with it: one #DB. As any, it opens the debug registers to its handler.
    let held = std::mem::take(&mut cpu.dr6_pending);
    if held != 0 {
        cpu.dr[4] = cpu.dr[4] & !0xf | held;
    }
    cpu.dr[5] &= !(1 << 13);
    Ok(())
}

/// SYSCALL.
pub(super) fn syscall(cpu: &mut Cpu, op: &Op) -> Exec {
    let next = cpu.next_ip(op);
    cpu.syscall(next)
}
/// SYSRET.
pub(super) fn sysret(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.sysret(op.rm)
}
/// SYSENTER.
pub(super) fn sysenter(cpu: &mut Cpu, _: &Op) -> Exec {
    cpu.sysenter()
}
/// SYSEXIT.
pub(super) fn sysexit(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.sysexit(op.rm)
}

/// MOV Sreg, r/m16; `rm` the segment slot.
pub(super) fn mov_to_seg<const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    let selector = if MEM { cpu.load::<u16>(op)? } else { u16::get(cpu, op.reg) };
    cpu.load_seg(op.rm as usize & 7, selector)?;
    shadow(cpu, op.rm);
    Ok(())
}

/// MOV r/m16, Sreg.
pub(super) fn mov_from_seg<const MEM: bool, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.seg[op.rm as usize & 7].selector;
    if MEM {
        return cpu.store(op, v);
    }
    T::set(cpu, op.reg, T::from64(v as u64));
    Ok(())
}

/// After SS was loaded the stack pointer may follow undisturbed.
fn shadow(cpu: &mut Cpu, slot: u8) {
    if slot as usize == seg::SS {
        cpu.add_special(special::MOV_SS);
    }
}

/// PUSH Sreg with an operand size; only the selector is written, the rest of a wide slot stays.
pub(super) fn push_seg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let v = cpu.seg[op.rm as usize & 7].selector;
    if T::SIZE == 4 {
        cpu.stack_write::<u16>(-4, v)?;
        let sp = cpu.sp().wrapping_sub(4);
        cpu.set_sp(sp);
        return Ok(());
    }
    cpu.push::<T>(T::from64(v as u64))
}

/// POP Sreg.
pub(super) fn pop_seg<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let selector = cpu.stack_read::<u16>(0)?;
    // The pointer moves by the old stack's size, even if this loads SS.
    let sp = cpu.sp().wrapping_add(<T as Word>::SIZE as u64);
    let (was, mask) = (cpu.gpr[crate::cpu::RSP], cpu.sp_mask);
    cpu.load_seg(op.rm as usize & 7, selector)?;
    let keep = if mask == 0xffff { !mask } else { 0 };
    cpu.gpr[crate::cpu::RSP] = was & keep | sp & mask;
    shadow(cpu, op.rm);
    Ok(())
}

/// LES, LDS, LSS, LFS, LGS; `rm` the slot.
pub(super) fn load_far<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let (selector, offset) = cpu.far_pointer(op.seg, cpu.ea(op), T::SIZE as u8)?;
    cpu.load_seg(op.rm as usize & 7, selector)?;
    T::set(cpu, op.reg, T::from64(offset));
    Ok(())
}

fn iopl(cpu: &Cpu) -> u8 {
    ((cpu.flags & fl::IOPL) >> 12) as u8
}

/// PUSHF.
pub(super) fn pushf<T: Int>(cpu: &mut Cpu, _: &Op) -> Exec {
    let mut v = cpu.eflags() & !(fl::VM | fl::RF);
    if cpu.v86() && iopl(cpu) < 3 {
        if T::BITS != 16 || cpu.cr4 & cr4::VME == 0 {
            return Err(cpu.gp(0));
        }
        v = v & !fl::IF | fl::IOPL | if v & fl::VIF != 0 { fl::IF } else { 0 };
    }
    cpu.push::<T>(T::from64(v))
}

/// POPF.
pub(super) fn popf<T: Int>(cpu: &mut Cpu, _: &Op) -> Exec {
    let v86 = cpu.v86();
    let virtual_if = v86 && iopl(cpu) < 3;
    if virtual_if && (T::BITS != 16 || cpu.cr4 & cr4::VME == 0) {
        return Err(cpu.gp(0));
    }
    let v = cpu.stack_read::<T>(0)?.zext();
    if virtual_if && (v & fl::TF != 0 || v & fl::IF != 0 && cpu.flags & fl::VIP != 0) {
        return Err(cpu.gp(0));
    }
    let sp = cpu.sp().wrapping_add(<T as Word>::SIZE as u64);
    cpu.set_sp(sp);
    let mut mask = fl::STATUS | fl::TF | fl::DF | fl::NT;
    if T::BITS > 16 {
        mask |= fl::AC | fl::ID;
    }
    if !v86 && cpu.cpl == 0 {
        mask |= fl::IOPL;
    }
    if virtual_if {
        cpu.flags = cpu.flags & !fl::VIF | if v & fl::IF != 0 { fl::VIF } else { 0 };
    } else if !cpu.protected() || cpu.cpl <= iopl(cpu) {
        mask |= fl::IF;
    }
    cpu.set_flags(mask, v);
    cpu.flags_changed();
    Ok(())
}

/// Whether CLI and STI act on VIF: virtual-8086 mode with VME, or CPL 3 with PVI. #GP if on nothing.
fn interrupt_flag(cpu: &mut Cpu) -> Result<u64, crate::cpu::Fault> {
    if !cpu.protected() || cpu.cpl <= iopl(cpu) {
        return Ok(fl::IF);
    }
    let on = if cpu.v86() { cr4::VME } else { cr4::PVI };
    if cpu.cr4 & on != 0 && cpu.cpl == 3 { Ok(fl::VIF) } else { Err(cpu.gp(0)) }
}

/// CLI.
pub(super) fn cli(cpu: &mut Cpu, _: &Op) -> Exec {
    let flag = interrupt_flag(cpu)?;
    cpu.flags &= !flag;
    Ok(())
}

/// STI.
pub(super) fn sti(cpu: &mut Cpu, _: &Op) -> Exec {
    let flag = interrupt_flag(cpu)?;
    if flag == fl::VIF && cpu.flags & fl::VIP != 0 {
        return Err(cpu.gp(0));
    }
    if cpu.flags & flag == 0 {
        cpu.flags |= flag;
        if flag == fl::IF {
            cpu.flags_changed();
            cpu.add_special(special::STI);
        }
    }
    Ok(())
}

/// An instruction with no effect that ends its block: PAUSE lets the loop look around.
pub(super) fn pause(_: &mut Cpu, _: &Op) -> Exec {
    Ok(())
}
