//! Control and debug registers, descriptor-table registers, and instructions of that kind.

use crate::cpu::{Cpu, Exec, RAX, RCX, RDX, Segment, Table, attr, seg, special};
use crate::flags::bits as fl;
use crate::model::Feature;
use crate::op::{Int, Op};
use crate::system::bits::{cr0, cr4, efer};
use crate::system::segment::{Desc, error_of};

/// #GP unless at CPL 0.
pub(super) fn kernel(cpu: &mut Cpu) -> Exec {
    if cpu.cpl != 0 { Err(cpu.gp(0)) } else { Ok(()) }
}

impl Cpu {
    pub(crate) fn write_cr0(&mut self, v: u64) -> Exec {
        if v >> 32 != 0 {
            return Err(self.gp(0));
        }
        let v = v & cr0::ALL | cr0::ET;
        let old = self.cr0;
        let changed = old ^ v;
        let ends_ids = v & cr0::PG == 0 && self.cr4 & cr4::PCIDE != 0;
        let bad = v & cr0::PG != 0 && v & cr0::PE == 0 || v & cr0::NW != 0 && v & cr0::CD == 0 || ends_ids;
        if bad {
            return Err(self.gp(0));
        }
        let pae = self.cr4 & cr4::PAE != 0;
        if changed & cr0::PG != 0 {
            let on = v & cr0::PG != 0;
            if self.msr.efer & efer::LME != 0 {
                let l = self.seg[seg::CS].attr & attr::L != 0;
                if on && (!pae || l) || !on && self.code == 64 {
                    return Err(self.gp(0));
                }
                let lma = if on { efer::LMA } else { 0 };
                self.msr.efer = self.msr.efer & !efer::LMA | lma;
            }
        }
        let legacy_pae = v & cr0::PG != 0 && pae && self.msr.efer & efer::LMA == 0;
        if legacy_pae && changed & (cr0::PG | cr0::CD | cr0::NW) != 0 {
            let cr3 = self.cr3;
            if !self.load_pdptes(cr3) {
                return Err(self.gp(0));
            }
        }
        self.cr0 = v;
        if changed & cr0::PE != 0 {
            self.cpl = 0;
            // Rights of real-mode segments count from now on.
            for slot in 0..6 {
                let long = self.code == 64 && slot >= seg::FS;
                self.seg[slot].bounds(long);
            }
        }
        if changed & (cr0::PG | cr0::WP | cr0::PE) != 0 {
            self.flush_tlb(true);
        }
        self.mode_changed();
        Ok(())
    }

    pub(crate) fn write_cr3(&mut self, v: u64) -> Exec {
        let long = self.msr.efer & efer::LMA != 0;
        // Bit 63 lets the processor keep translations of the identifier; nothing asks it to, and these have none.
        let v = if self.cr4 & cr4::PCIDE != 0 { v & !(1 << 63) } else { v };
        if long && v >> crate::paging::PHYS_BITS != 0 {
            return Err(self.gp(0));
        }
        if self.cr0 & cr0::PG != 0 && self.cr4 & cr4::PAE != 0 && !long && !self.load_pdptes(v) {
            return Err(self.gp(0));
        }
        self.cr3 = v;
        self.flush_tlb(false);
        Ok(())
    }

    fn write_cr4(&mut self, v: u64) -> Exec {
        let changed = self.cr4 ^ v;
        let long = self.msr.efer & efer::LMA != 0;
        let features = self.model.features;
        let known = cr4::OF_FEATURES.iter().filter(|(_, feature)| features.has(*feature));
        let known = known.fold(cr4::ALWAYS, |bits, (bit, _)| bits | bit);
        if v & !known != 0 || long && v & cr4::PAE == 0 {
            return Err(self.gp(0));
        }
        // Identifiers of address spaces come with four levels, and begin with 0 (SDM vol. 3, 4.10.1).
        if changed & v & cr4::PCIDE != 0 && (!long || self.cr3 & 0xfff != 0) {
            return Err(self.gp(0));
        }
        let paging = cr4::PGE | cr4::PAE | cr4::PSE | cr4::SMEP;
        if changed & paging != 0 && v & cr4::PAE != 0 && self.cr0 & cr0::PG != 0 && !long {
            let cr3 = self.cr3;
            if !self.load_pdptes(cr3) {
                return Err(self.gp(0));
            }
        }
        self.cr4 = v;
        if changed & (paging | cr4::SMAP | cr4::PCIDE) != 0 {
            self.flush_tlb(true);
        }
        self.mode_changed();
        Ok(())
    }

    /// Recomputes what DR7 switches: instruction breakpoints and watched pages.
    pub(crate) fn debug_changed(&mut self) {
        let armed = self.breakpoints().any(|(_, kind, ..)| kind == 0);
        let bits = if armed { special::IBREAK } else { 0 };
        self.set_special(self.special & !special::IBREAK | bits);
        self.flush_tlb(true);
        self.flags_changed();
    }

    /// Enabled breakpoints: number, kind (0 execute, 1 write, 2 I/O, 3 access), address, length.
    pub(crate) fn breakpoints(&self) -> impl Iterator<Item = (usize, u64, u64, u64)> {
        let dr7 = self.dr[5];
        let dr = self.dr;
        (0..4).filter(move |n| dr7 >> (2 * n) & 3 != 0).map(move |n| {
            let field = dr7 >> (16 + 4 * n);
            let len = [1, 2, 8, 4][field as usize >> 2 & 3];
            (n, field & 3, dr[n], len)
        })
    }

    /// Instruction breakpoints at the next instruction, as bits of DR6.
    pub(crate) fn instruction_breakpoints(&self) -> u64 {
        let lin = self.linear_ip();
        self.breakpoints().filter(|b| b.1 == 0 && b.2 == lin).fold(0, |hits, b| hits | 1 << b.0)
    }

    /// Whether a data breakpoint lies on a linear page.
    #[inline]
    pub(crate) fn watched(&self, page: u64) -> bool {
        self.dr[5] & 0xff != 0
            && self.breakpoints().any(|(_, kind, at, len)| {
                kind & 1 != 0 && at < page.saturating_add(4096) && at.saturating_add(len) > page
            })
    }

    /// Notes data breakpoints that an access hits; asks for a block of its own, so that the trap comes right after.
    #[inline]
    pub(crate) fn watch_hit(&mut self, lin: u64, size: usize, write: bool) -> Exec {
        if self.dr[5] & 0xff == 0 {
            return Ok(());
        }
        self.watch_hit_slow(lin, size, write)
    }

    #[cold]
    fn watch_hit_slow(&mut self, lin: u64, size: usize, write: bool) -> Exec {
        let hits = self
            .breakpoints()
            .filter(|(_, kind, at, len)| {
                let at = at & !(len - 1);
                (*kind == 3 || *kind == 1 && write) && lin < at + len && at < lin + size as u64
            })
            .fold(0, |hits, b| hits | 1 << b.0);
        if hits != 0 {
            if !self.single {
                return Err(self.alone());
            }
            self.dr6_pending |= hits;
        }
        Ok(())
    }
}

/// MOV r, CRn; `rm` is the control register.
pub(super) fn mov_from_cr(cpu: &mut Cpu, op: &Op) -> Exec {
    kernel(cpu)?;
    let v = match op.rm {
        0 => cpu.cr0,
        2 => cpu.cr2,
        3 => cpu.cr3,
        4 => cpu.cr4,
        8 => cpu.apic_task_priority() as u64,
        _ => return Err(cpu.ud()),
    };
    cpu.gpr[op.reg as usize & 15] = if cpu.code == 64 { v } else { v & 0xffff_ffff };
    Ok(())
}

/// MOV CRn, r.
pub(super) fn mov_to_cr(cpu: &mut Cpu, op: &Op) -> Exec {
    kernel(cpu)?;
    let v = cpu.gpr[op.reg as usize & 15];
    let v = if cpu.code == 64 { v } else { v & 0xffff_ffff };
    match op.rm {
        0 => cpu.write_cr0(v),
        2 => {
            cpu.cr2 = v;
            Ok(())
        }
        3 => cpu.write_cr3(v),
        4 => cpu.write_cr4(v),
        8 if v < 16 => {
            cpu.set_apic_task_priority(v as u8);
            Ok(())
        }
        8 => Err(cpu.gp(0)),
        _ => Err(cpu.ud()),
    }
}

/// Which element of `dr` a number is.
fn debug_slot(cpu: &mut Cpu, n: u8) -> Result<usize, crate::cpu::Fault> {
    kernel(cpu)?;
    if cpu.dr[5] >> 13 & 1 != 0 {
        return Err(cpu.db(1 << 13));
    }
    match n {
        0..=3 => Ok(n as usize),
        4 | 5 if cpu.cr4 & cr4::DE != 0 => Err(cpu.ud()),
        4..=7 => Ok((n as usize & 1) + 4),
        _ => Err(cpu.ud()),
    }
}

/// MOV r, DRn.
pub(super) fn mov_from_dr(cpu: &mut Cpu, op: &Op) -> Exec {
    let slot = debug_slot(cpu, op.rm)?;
    cpu.gpr[op.reg as usize & 15] = cpu.dr[slot];
    Ok(())
}

/// MOV DRn, r.
pub(super) fn mov_to_dr(cpu: &mut Cpu, op: &Op) -> Exec {
    let slot = debug_slot(cpu, op.rm)?;
    let v = cpu.gpr[op.reg as usize & 15];
    let v = if cpu.code == 64 { v } else { v & 0xffff_ffff };
    if slot >= 4 && v >> 32 != 0 {
        return Err(cpu.gp(0));
    }
    cpu.dr[slot] = match slot {
        4 => v & 0xe00f | 0xffff_0ff0,
        5 => v & 0xffff_27ff | 0x400,
        _ => v,
    };
    cpu.debug_changed();
    Ok(())
}

/// CLTS.
pub(super) fn clts(cpu: &mut Cpu, _: &Op) -> Exec {
    kernel(cpu)?;
    cpu.cr0 &= !cr0::TS;
    cpu.mode_changed();
    Ok(())
}

/// LMSW: cannot clear PE.
pub(super) fn lmsw<const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    kernel(cpu)?;
    let v = source16::<MEM>(cpu, op)? as u64;
    let cr0 = cpu.cr0;
    cpu.write_cr0(cr0 & !0xe | v & 0xf | cr0 & 1)
}

fn source16<const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Result<u16, crate::cpu::Fault> {
    if MEM { cpu.load(op) } else { Ok(u16::get(cpu, op.reg)) }
}

/// Stores a value: 16 bits to memory, the operand size to a register.
fn store_short<const MEM: bool, T: Int>(cpu: &mut Cpu, op: &Op, v: u64) -> Exec {
    if MEM {
        return cpu.store(op, v as u16);
    }
    T::set(cpu, op.reg, T::from64(v));
    Ok(())
}

/// #GP in user mode when CR4.UMIP hides the system's registers.
fn hidden(cpu: &mut Cpu) -> Exec {
    if cpu.cpl > 0 && cpu.cr4 & cr4::UMIP != 0 { Err(cpu.gp(0)) } else { Ok(()) }
}

/// SMSW.
pub(super) fn smsw<const MEM: bool, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    hidden(cpu)?;
    let v = cpu.cr0;
    store_short::<MEM, T>(cpu, op, v)
}

/// SLDT.
pub(super) fn sldt<const MEM: bool, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    protected(cpu)?;
    hidden(cpu)?;
    let v = cpu.ldt.selector as u64;
    store_short::<MEM, T>(cpu, op, v)
}

/// STR.
pub(super) fn str<const MEM: bool, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    protected(cpu)?;
    hidden(cpu)?;
    let v = cpu.tr.selector as u64;
    store_short::<MEM, T>(cpu, op, v)
}

/// #UD in real and virtual-8086 mode.
fn protected(cpu: &mut Cpu) -> Exec {
    if !cpu.protected() || cpu.v86() { Err(cpu.ud()) } else { Ok(()) }
}

/// Reads a system descriptor of a GDT selector; 16 bytes in long mode, base of 64 bits.
fn system_segment(cpu: &mut Cpu, selector: u16, kinds: &[u8]) -> Result<(Segment, u64), crate::cpu::Fault> {
    let error = error_of(selector);
    if selector & 4 != 0 {
        return Err(cpu.gp(error));
    }
    let desc = cpu.descriptor(selector, Cpu::gp)?;
    if desc.is_segment() || !kinds.contains(&desc.kind()) {
        return Err(cpu.gp(error));
    }
    if !desc.present() {
        return Err(cpu.np(error));
    }
    let at = cpu.gdt.base.wrapping_add((selector & 0xfff8) as u64);
    let mut s = desc.segment(selector);
    if cpu.long_mode() {
        if (selector & 0xfff8) as u64 + 15 > cpu.gdt.limit as u64 {
            return Err(cpu.gp(error));
        }
        let high = cpu.read_system::<u64>(at.wrapping_add(8))?;
        if high >> 40 & 0x1f != 0 {
            return Err(cpu.gp(error));
        }
        s.base |= high << 32;
        if (s.base as i64) << 16 >> 16 != s.base as i64 {
            return Err(cpu.gp(error));
        }
    }
    Ok((s, at))
}

/// LLDT.
pub(super) fn lldt<const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    protected(cpu)?;
    kernel(cpu)?;
    let selector = source16::<MEM>(cpu, op)?;
    cpu.ldt = if selector & 0xfffc == 0 {
        Segment { selector, ..Segment::default() }
    } else {
        system_segment(cpu, selector, &[2])?.0
    };
    Ok(())
}

/// LTR.
pub(super) fn ltr<const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    protected(cpu)?;
    kernel(cpu)?;
    let selector = source16::<MEM>(cpu, op)?;
    if selector & 0xfffc == 0 {
        return Err(cpu.gp(0));
    }
    let kinds: &[u8] = if cpu.long_mode() { &[9] } else { &[1, 9] };
    let (mut s, at) = system_segment(cpu, selector, kinds)?;
    let busy = cpu.read_system::<u8>(at + 5)? | 2;
    cpu.write_system::<u8>(at + 5, busy)?;
    s.attr |= 2;
    cpu.tr = s;
    Ok(())
}

/// LGDT and LIDT; `reg` 1 for the IDT, `rm` the bytes of the base (3, 4 or 8).
pub(super) fn load_table(cpu: &mut Cpu, op: &Op) -> Exec {
    kernel(cpu)?;
    let at = cpu.ea(op);
    let limit = cpu.read::<u16>(op.seg, at)?;
    let base = if op.rm == 8 {
        cpu.read::<u64>(op.seg, at.wrapping_add(2))?
    } else {
        let base = cpu.read::<u32>(op.seg, at.wrapping_add(2))? as u64;
        if op.rm == 3 { base & 0xff_ffff } else { base }
    };
    if (base as i64) << 16 >> 16 != base as i64 {
        return Err(cpu.gp(0));
    }
    let table = Table { base, limit };
    if op.reg == 1 {
        cpu.idt = table;
    } else {
        cpu.gdt = table;
    }
    Ok(())
}

/// SGDT and SIDT.
pub(super) fn store_table(cpu: &mut Cpu, op: &Op) -> Exec {
    hidden(cpu)?;
    let table = if op.reg == 1 { cpu.idt } else { cpu.gdt };
    let at = cpu.ea(op);
    cpu.write::<u16>(op.seg, at, table.limit)?;
    let at = at.wrapping_add(2);
    if op.rm == 8 {
        cpu.write::<u64>(op.seg, at, table.base)
    } else {
        cpu.write::<u32>(op.seg, at, table.base as u32)
    }
}

/// INVLPG.
pub(super) fn invlpg(cpu: &mut Cpu, op: &Op) -> Exec {
    kernel(cpu)?;
    let lin = cpu.linear(op.seg, cpu.ea(op));
    cpu.flush_page(lin);
    Ok(())
}

/// INVD, WBINVD: caches are not seen.
pub(super) fn kernel_nop(cpu: &mut Cpu, _: &Op) -> Exec {
    kernel(cpu)
}

/// CLFLUSH: the address must be readable.
pub(super) fn clflush(cpu: &mut Cpu, op: &Op) -> Exec {
    cpu.load::<u8>(op).map(|_| ())
}

/// SWAPGS.
pub(super) fn swapgs(cpu: &mut Cpu, _: &Op) -> Exec {
    kernel(cpu)?;
    let (gs, kernel_gs) = (cpu.seg[seg::GS].base, cpu.msr.kernel_gs);
    cpu.seg[seg::GS].base = kernel_gs;
    cpu.msr.kernel_gs = gs;
    Ok(())
}

/// RDTSC.
pub(super) fn rdtsc(cpu: &mut Cpu, _: &Op) -> Exec {
    if cpu.cpl > 0 && cpu.cr4 & cr4::TSD != 0 {
        return Err(cpu.gp(0));
    }
    let v = cpu.tsc();
    (cpu.gpr[RAX], cpu.gpr[RDX]) = (v & 0xffff_ffff, v >> 32);
    Ok(())
}

/// RDTSCP.
pub(super) fn rdtscp(cpu: &mut Cpu, op: &Op) -> Exec {
    rdtsc(cpu, op)?;
    cpu.gpr[RCX] = cpu.msr.tsc_aux;
    Ok(())
}

/// RDPMC: no counter is announced.
pub(super) fn rdpmc(cpu: &mut Cpu, _: &Op) -> Exec {
    if cpu.cpl > 0 && cpu.cr4 & cr4::PCE == 0 {
        return Err(cpu.gp(0));
    }
    Err(cpu.gp(0))
}

/// CLAC and STAC; `reg` is the flag's new value.
pub(super) fn set_ac(cpu: &mut Cpu, op: &Op) -> Exec {
    if cpu.cpl != 0 {
        return Err(cpu.ud());
    }
    cpu.flags = cpu.flags & !fl::AC | if op.reg != 0 { fl::AC } else { 0 };
    cpu.choose_set();
    Ok(())
}

/// XGETBV.
pub(super) fn xgetbv(cpu: &mut Cpu, _: &Op) -> Exec {
    if cpu.cr4 & cr4::OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    let v = match cpu.gpr[RCX] as u32 {
        0 => cpu.xcr0,
        1 if cpu.model.features.has(Feature::XGETBV1) => cpu.xcr0 & crate::fp::in_use(cpu),
        _ => return Err(cpu.gp(0)),
    };
    (cpu.gpr[RAX], cpu.gpr[RDX]) = (v & 0xffff_ffff, v >> 32);
    Ok(())
}

/// XSETBV: x87 always, SSE, and AVX with it.
pub(super) fn xsetbv(cpu: &mut Cpu, _: &Op) -> Exec {
    if cpu.cr4 & cr4::OSXSAVE == 0 {
        return Err(cpu.ud());
    }
    kernel(cpu)?;
    let v = cpu.gpr[RAX] & 0xffff_ffff | cpu.gpr[RDX] << 32;
    if cpu.gpr[RCX] as u32 != 0 || !crate::fp::xcr0_may_hold(cpu, v) {
        return Err(cpu.gp(0));
    }
    cpu.xcr0 = v;
    cpu.mode_changed();
    Ok(())
}

/// What LAR, LSL, VERR and VERW need of a selector; none where ZF must be clear.
fn look(cpu: &mut Cpu, selector: u16) -> Result<Option<Desc>, crate::cpu::Fault> {
    if selector & 0xfffc == 0 {
        return Ok(None);
    }
    let Some(at) = cpu.descriptor_at(selector) else { return Ok(None) };
    Ok(Some(Desc(cpu.read_system::<u64>(at)?)))
}

fn reachable(cpu: &Cpu, desc: Desc, selector: u16) -> bool {
    desc.is_code() && desc.conforming() || desc.dpl() >= cpu.cpl && desc.dpl() >= selector as u8 & 3
}

/// LAR (`LIMIT` false) and LSL.
pub(super) fn lar_lsl<const MEM: bool, const LIMIT: bool, T: Int>(cpu: &mut Cpu, op: &Op) -> Exec {
    protected(cpu)?;
    let selector = if MEM { cpu.load::<u16>(op)? } else { u16::get(cpu, op.rm) };
    let desc = look(cpu, selector)?.filter(|d| reachable(cpu, *d, selector)).filter(|d| {
        let long = cpu.long_mode();
        d.is_segment()
            || match d.kind() {
                2 | 9 | 11 => true,
                1 | 3 => !long,
                12 => !LIMIT,
                4 | 5 => !LIMIT && !long,
                _ => false,
            }
    });
    if let Some(d) = desc {
        let v = if LIMIT { d.limit() as u64 } else { d.0 >> 32 & 0x00ff_ff00 };
        T::set(cpu, op.reg, T::from64(v));
    }
    cpu.set_zf(desc.is_some());
    Ok(())
}

/// VERR (`WRITE` false) and VERW.
pub(super) fn verify<const MEM: bool, const WRITE: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    protected(cpu)?;
    let selector = source16::<MEM>(cpu, op)?;
    let good = look(cpu, selector)?.is_some_and(|d| {
        reachable(cpu, d, selector) && if WRITE { d.is_writable() } else { d.is_readable() }
    });
    cpu.set_zf(good);
    Ok(())
}

/// ARPL: raises the RPL of the destination to that of `rm`. One that is high enough is only read.
pub(super) fn arpl<const MEM: bool>(cpu: &mut Cpu, op: &Op) -> Exec {
    protected(cpu)?;
    let rpl = u16::get(cpu, op.rm) & 3;
    let old = source16::<MEM>(cpu, op)?;
    let raised = old & 3 < rpl;
    if raised {
        let new = old & !3 | rpl;
        if MEM { cpu.store(op, new)? } else { u16::set(cpu, op.reg, new) }
    }
    cpu.set_zf(raised);
    Ok(())
}

/// HLT.
pub(super) fn hlt(cpu: &mut Cpu, _: &Op) -> Exec {
    kernel(cpu)?;
    cpu.halted = true;
    cpu.ask(crate::machine::attention::IRQ);
    Ok(())
}

/// MONITOR: only checks.
pub(super) fn monitor(cpu: &mut Cpu, op: &Op) -> Exec {
    if cpu.cpl != 0 {
        return Err(cpu.ud());
    }
    if cpu.gpr[RCX] as u32 != 0 {
        return Err(cpu.gp(0));
    }
    let at = cpu.gpr[RAX] & op.imm;
    cpu.read::<u8>(op.seg, at).map(|_| ())
}

/// MWAIT: a write to the watched line is not seen, so it waits for nothing: a legal, early wake.
pub(super) fn mwait(cpu: &mut Cpu, _: &Op) -> Exec {
    if cpu.cpl != 0 {
        return Err(cpu.ud());
    }
    if cpu.gpr[RCX] as u32 > 1 {
        return Err(cpu.gp(0));
    }
    Ok(())
}
