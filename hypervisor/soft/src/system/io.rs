//! Port input and output.

use hypervisor::memory::PAGE;
use ioreq::{Data, Dir, Request, Size, Target};

use crate::cpu::{Cpu, Exec, RCX, RDI, RDX, RSI, seg};
use crate::flags::bits as fl;
use crate::op::{Int, Op};
use crate::paging::Access;

/// Most items of one request for a string instruction: what lies between two looks at the attention word.
const MOST: u64 = 4096;
/// Requests of a string instruction after which the loop gets its turn, and that count as so many instructions then.
const REQUESTS: u64 = 1024;

impl Cpu {
    /// #GP unless I/O privilege or the task's permission map allows `size` ports from `port` on.
    fn check_port(&mut self, port: u16, size: usize) -> Exec {
        let iopl = (self.flags & fl::IOPL) >> 12;
        if !self.protected() || self.cpl as u64 <= iopl && !self.v86() {
            return Ok(());
        }
        if !self.has_wide_task() || self.tr.limit < 0x67 {
            return Err(self.gp(0));
        }
        let map = self.read_system::<u16>(self.tr.base.wrapping_add(0x66))? as u64;
        let at = map + port as u64 / 8;
        if at + 1 > self.tr.limit as u64 {
            return Err(self.gp(0));
        }
        let bits = self.read_system::<u16>(self.tr.base.wrapping_add(at))? >> (port & 7);
        if bits & ((1 << size) - 1) != 0 {
            return Err(self.gp(0));
        }
        Ok(())
    }

    /// I/O breakpoints, as bits of DR6.
    fn watch_port(&mut self, port: u16, size: usize) {
        if self.dr[5] & 0xff == 0 || self.cr4 & crate::system::bits::cr4::DE == 0 {
            return;
        }
        let (from, to) = (port as u64, port as u64 + size as u64);
        let hits = self
            .breakpoints()
            .filter(|(_, kind, at, len)| *kind == 2 && *at < to && at + len > from)
            .fold(0, |hits, b| hits | 1 << b.0);
        if hits != 0 {
            self.dr6_pending |= hits;
            self.add_special(crate::cpu::special::DEBUG);
        }
    }

    fn port_read(&mut self, port: u16, size: Size) -> u64 {
        self.request(&Request::read(self.id, Target::Pio(port), size)) & size.mask()
    }
    fn port_write(&mut self, port: u16, size: Size, v: u64) {
        self.request(&Request::write(self.id, Target::Pio(port), size, v));
    }
}

fn size_of_int<T: Int>() -> Size {
    match T::BITS {
        8 => Size::B1,
        16 => Size::B2,
        _ => Size::B4,
    }
}

fn port<const DX: bool>(cpu: &Cpu, op: &Op) -> u16 {
    if DX { cpu.gpr[RDX] as u16 } else { op.imm as u8 as u16 }
}

/// IN; `DX` or an immediate port.
pub(super) fn input<const DX: bool, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let port = port::<DX>(cpu, op);
    let size = size_of_int::<T>();
    cpu.check_port(port, size.bytes())?;
    let v = cpu.port_read(port, size);
    T::set(cpu, 0, T::from64(v));
    cpu.watch_port(port, size.bytes());
    Ok(())
}

/// OUT.
pub(super) fn output<const DX: bool, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let port = port::<DX>(cpu, op);
    let size = size_of_int::<T>();
    cpu.check_port(port, size.bytes())?;
    let v = T::get(cpu, 0).zext();
    cpu.port_write(port, size, v);
    cpu.watch_port(port, size.bytes());
    Ok(())
}

/// INS (`IN`) and OUTS. `imm` bit 0: REP; `rm`: address size in bytes; `seg`: source segment of OUTS.
pub(super) fn string<const IN: bool, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    let port = cpu.gpr[RDX] as u16;
    let size = size_of_int::<T>();
    let bytes = size.bytes() as u64;
    cpu.check_port(port, size.bytes())?;
    let mask = u64::MAX >> (64 - 8 * op.rm as u32);
    let rep = op.imm & 1 != 0;
    let slot = if IN { RDI } else { RSI };
    let down = cpu.df();
    let mut left = if rep { cpu.gpr[RCX] & mask } else { 1 };
    let mut requests = 0;
    while left > 0 {
        let off = cpu.gpr[slot] & mask;
        let done = match string_run::<IN>(cpu, op.seg, off, port, size, left.min(MOST), down)? {
            // Item by item a port access could come twice if the memory access needs its own block.
            0 if !cpu.single => return Err(cpu.alone()),
            0 => {
                if IN {
                    // The destination must be writable before the port is read.
                    cpu.probe_write(op.seg, off, size.bytes())?;
                    let v = cpu.port_read(port, size);
                    cpu.write::<T>(op.seg, off, T::from64(v))?;
                } else {
                    let v = cpu.read::<T>(op.seg, off)?;
                    cpu.port_write(port, size, v.zext());
                }
                1
            }
            n => n,
        };
        let step = if down { (done * bytes).wrapping_neg() } else { done * bytes };
        set_part(cpu, slot, off.wrapping_add(step), mask);
        left -= done;
        if rep {
            set_part(cpu, RCX, left, mask);
        }
        requests += 1;
        let due = left > 0 && requests == REQUESTS;
        if due {
            cpu.icount += REQUESTS;
        }
        if left > 0 && (due || cpu.interrupted() || cpu.special & !crate::cpu::special::ONCE != 0) {
            return Err(cpu.again());
        }
    }
    cpu.watch_port(port, size.bytes());
    Ok(())
}

/// Writes a register by address size: 32 bits clear the upper half.
fn set_part(cpu: &mut Cpu, slot: usize, v: u64, mask: u64) {
    let keep = if mask == 0xffff { !mask } else { 0 };
    cpu.gpr[slot] = cpu.gpr[slot] & keep | v & mask;
}

/// As many items as lie in one page of RAM, as one request; 0 if it must be item by item.
fn string_run<const IN: bool>(
    cpu: &mut Cpu,
    seg: u8,
    off: u64,
    port: u16,
    size: Size,
    left: u64,
    down: bool,
) -> Result<u64, crate::cpu::Fault> {
    let bytes = size.bytes() as u64;
    if down || left < 2 || cpu.dr[5] & 0xff != 0 {
        return Ok(0);
    }
    let access = if IN { Access::Write } else { Access::Read };
    let lin = cpu.check(seg, off, size.bytes(), access)?;
    let page_room = (PAGE - (lin & (PAGE - 1))) / bytes;
    let s = cpu.seg[seg as usize & 7];
    let bound = if IN { s.wbound } else { s.rbound };
    let room = bound.saturating_sub(off) / bytes;
    let n = left.min(page_room).min(room);
    if n < 2 {
        return Ok(0);
    }
    let gpa = cpu.translate(lin, access, cpu.set as usize)?;
    if !cpu.is_plain_ram(gpa, IN) {
        return Ok(0);
    }
    let request = Request {
        vcpu: cpu.id,
        target: Target::Pio(port),
        dir: if IN { Dir::Read } else { Dir::Write },
        size,
        data: Data::Guest(gpa),
        count: n as u32,
        descending: false,
    };
    cpu.request(&request);
    Ok(n)
}

/// Slot of the destination of INS.
pub(super) const INS_SEG: usize = seg::ES;
