//! FSGSBASE, RDPID and INVPCID (SDM vol. 2).

use crate::cpu::{Cpu, Exec, seg};
use crate::op::{Int, Op};
use crate::system::bits::cr4;
use crate::system::control::kernel;

/// RDFSBASE and RDGSBASE; `rm` is the segment.
pub(super) fn read_base<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    enabled(cpu)?;
    let base = cpu.seg[slot(op)].base;
    T::set(cpu, op.reg, T::from64(base));
    Ok(())
}

/// WRFSBASE and WRGSBASE.
pub(super) fn write_base<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    enabled(cpu)?;
    let v = T::get(cpu, op.reg).zext();
    if (v as i64) << 16 >> 16 != v as i64 {
        return Err(cpu.gp(0));
    }
    cpu.seg[slot(op)].base = v;
    Ok(())
}

fn enabled(cpu: &mut Cpu) -> Exec {
    if cpu.cr4 & cr4::FSGSBASE == 0 { Err(cpu.ud()) } else { Ok(()) }
}

fn slot(op: &Op) -> usize {
    if op.rm as usize == seg::FS { seg::FS } else { seg::GS }
}

/// RDPID: what RDTSCP puts into ECX, whoever asks.
pub(super) fn rdpid(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.gpr[op.reg as usize & 15] = cpu.msr.tsc_aux;
    Ok(())
}

/// INVPCID. More than what is named may be dropped, and is: translations here have no identifier.
pub(super) fn invpcid<T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    kernel(cpu)?;
    let kind = T::get(cpu, op.reg).zext();
    let descriptor = cpu.load::<u128>(op)?;
    let (id, at) = (descriptor as u64, (descriptor >> 64) as u64);
    let canonical = (at as i64) << 16 >> 16 == at as i64;
    let bad = kind > 3
        || id >> 12 != 0
        || kind < 2 && id != 0 && cpu.cr4 & cr4::PCIDE == 0
        || kind == 0 && !canonical;
    if bad {
        return Err(cpu.gp(0));
    }
    // 0: an address. 1: an identifier. 2: all, with global ones. 3: all but those.
    match kind {
        0 => cpu.flush_page(at),
        kind => cpu.flush_tlb(kind == 2),
    }
    Ok(())
}
