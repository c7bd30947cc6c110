//! Hardware task switches (SDM volume 3, chapter 8).

use crate::cpu::{Cpu, Exec, Fault, IP, Segment, attr, seg};
use crate::flags::bits as fl;
use crate::system::bits::{cr0, cr4};
use crate::system::segment::{Desc, error_of, v86_segment};

/// How a task is entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Enter {
    /// JMP: the old task is not busy any more.
    Jump,
    /// CALL, exception or interrupt: nested.
    Call,
    /// IRET with NT.
    Return,
}

/// Order of the segment registers in a task segment.
const ORDER: [usize; 6] = [seg::ES, seg::CS, seg::SS, seg::DS, seg::FS, seg::GS];

/// What a task segment holds of a task.
struct Image {
    cr3: Option<u64>,
    ip: u64,
    flags: u64,
    regs: [u64; 8],
    segs: [u16; 6],
    ldt: u16,
    trap: bool,
}

impl Cpu {
    /// The task segment of a task gate, checked.
    pub(crate) fn task_of_gate(&mut self, selector: u16) -> Result<Desc, Fault> {
        let error = error_of(selector) | self.ext();
        if selector & 4 != 0 || selector & 0xfffc == 0 {
            return Err(self.gp(error));
        }
        let desc = self.descriptor(selector, Cpu::gp)?;
        if desc.is_segment() || !matches!(desc.kind(), 1 | 9) {
            return Err(self.gp(error));
        }
        if !desc.present() {
            return Err(self.np(error));
        }
        Ok(desc)
    }

    /// An interrupt through a task gate.
    pub(crate) fn task_by_gate(&mut self, selector: u16, error: Option<u32>) -> Exec {
        self.task_of_gate(selector)?;
        self.task_switch(selector, Enter::Call, self.gpr[IP], error)
    }

    /// IRET with NT set: back to the task that the link names.
    pub(crate) fn task_return(&mut self) -> Exec {
        let link = self.read_system::<u16>(self.tr.base)?;
        let error = error_of(link);
        if link & 4 != 0 || link & 0xfffc == 0 {
            return Err(self.ts(error));
        }
        let desc = self.descriptor(link, Cpu::ts)?;
        if desc.is_segment() || !matches!(desc.kind(), 3 | 11) {
            return Err(self.ts(error));
        }
        if !desc.present() {
            return Err(self.np(error));
        }
        self.task_switch(link, Enter::Return, self.gpr[IP], None)
    }

    /// Switches to the task of a checked selector. `next` is the old task's return address.
    pub(crate) fn task_switch(&mut self, selector: u16, how: Enter, next: u64, error: Option<u32>) -> Exec {
        let desc = self.descriptor(selector, Cpu::ts)?;
        let code = error_of(selector) | self.ext();
        let wide = desc.kind() & 8 != 0;
        if desc.limit() < if wide { 0x67 } else { 0x2b } {
            return Err(self.ts(code));
        }
        let base = desc.base();
        let image = self.read_task(base, wide)?;
        // Both task segments are reached before anything changes.
        let old_wide = self.tr.attr & 8 != 0;
        let mut old_flags = self.eflags();
        if how == Enter::Return {
            old_flags &= !fl::NT;
        }
        self.write_task(self.tr.base, old_wide, next, old_flags)?;
        if how == Enter::Call {
            self.write_system::<u16>(base, self.tr.selector)?;
        }
        if how != Enter::Call {
            self.set_busy(self.tr.selector, false)?;
        }
        if how != Enter::Return {
            self.set_busy(selector, true)?;
        }
        self.tr = desc.segment(selector);
        self.tr.attr |= 2;
        self.cr0 |= cr0::TS;
        self.dr[5] &= !0x155;
        self.enter_task(image, how)?;
        if let Some(error) = error {
            let mut stack = self.this_stack();
            stack.push(self, if wide { 4 } else { 2 }, error as u64)?;
            self.keep_stack(&stack);
        }
        if self.gpr[IP] > self.seg[seg::CS].limit as u64 {
            return Err(self.gp(0));
        }
        Ok(())
    }

    fn set_busy(&mut self, selector: u16, busy: bool) -> Exec {
        let Some(at) = self.descriptor_at(selector) else { return Ok(()) };
        let byte = self.read_system::<u8>(at + 5)?;
        self.write_system::<u8>(at + 5, byte & !2 | (busy as u8) << 1)
    }

    fn read_task(&mut self, base: u64, wide: bool) -> Result<Image, Fault> {
        let mut image = Image { cr3: None, ip: 0, flags: 0, regs: [0; 8], segs: [0; 6], ldt: 0, trap: false };
        if wide {
            image.cr3 = Some(self.read_system::<u32>(base + 0x1c)? as u64);
            image.ip = self.read_system::<u32>(base + 0x20)? as u64;
            image.flags = self.read_system::<u32>(base + 0x24)? as u64;
            for (n, r) in (0u64..).zip(&mut image.regs) {
                *r = self.read_system::<u32>(base + 0x28 + 4 * n)? as u64;
            }
            for (n, s) in (0u64..).zip(&mut image.segs) {
                *s = self.read_system::<u16>(base + 0x48 + 4 * n)?;
            }
            image.ldt = self.read_system::<u16>(base + 0x60)?;
            image.trap = self.read_system::<u16>(base + 0x64)? & 1 != 0;
        } else {
            image.ip = self.read_system::<u16>(base + 0x0e)? as u64;
            image.flags = self.read_system::<u16>(base + 0x10)? as u64;
            for (n, r) in (0u64..).zip(&mut image.regs) {
                *r = self.read_system::<u16>(base + 0x12 + 2 * n)? as u64 | 0xffff_0000;
            }
            for (n, s) in (0u64..).zip(&mut image.segs[..4]) {
                *s = self.read_system::<u16>(base + 0x22 + 2 * n)?;
            }
            image.ldt = self.read_system::<u16>(base + 0x2a)?;
        }
        Ok(image)
    }

    fn write_task(&mut self, base: u64, wide: bool, next: u64, flags: u64) -> Exec {
        let regs = self.gpr;
        if wide {
            self.write_system::<u32>(base + 0x20, next as u32)?;
            self.write_system::<u32>(base + 0x24, flags as u32)?;
            for n in 0..8 {
                self.write_system::<u32>(base + 0x28 + 4 * n, regs[n as usize] as u32)?;
            }
            for (n, slot) in (0u64..).zip(ORDER) {
                self.write_system::<u16>(base + 0x48 + 4 * n, self.seg[slot].selector)?;
            }
        } else {
            self.write_system::<u16>(base + 0x0e, next as u16)?;
            self.write_system::<u16>(base + 0x10, flags as u16)?;
            for n in 0..8 {
                self.write_system::<u16>(base + 0x12 + 2 * n, regs[n as usize] as u16)?;
            }
            for (n, slot) in (0u64..).zip(&ORDER[..4]) {
                self.write_system::<u16>(base + 0x22 + 2 * n, self.seg[*slot].selector)?;
            }
        }
        Ok(())
    }

    /// Takes over a task's registers. Faults from here on are the new task's.
    fn enter_task(&mut self, image: Image, how: Enter) -> Exec {
        if let Some(cr3) = image.cr3
            && self.cr0 & cr0::PG != 0
        {
            if self.cr4 & cr4::PAE != 0 && !self.load_pdptes(cr3) {
                return Err(self.gp(0));
            }
            self.cr3 = cr3;
            self.flush_tlb(false);
        }
        self.gpr[IP] = image.ip;
        self.gpr[..8].copy_from_slice(&image.regs);
        let nested = if how == Enter::Call { fl::NT } else { 0 };
        self.set_flags(fl::ALL, image.flags | nested);
        let v86 = self.v86();
        for (slot, selector) in ORDER.into_iter().zip(image.segs) {
            // Selectors are there even if a check below fails.
            self.seg[slot] = Segment { selector, ..Segment::default() };
        }
        self.ldt = Segment { selector: image.ldt, ..Segment::default() };
        self.load_task_ldt(image.ldt)?;
        if v86 {
            for (slot, selector) in ORDER.into_iter().zip(image.segs) {
                self.set_seg(slot, v86_segment(selector));
            }
            self.set_cs(v86_segment(image.segs[1]), 3);
            self.seg[seg::CS].selector = image.segs[1];
        } else {
            self.load_task_segments(&image.segs)?;
        }
        self.flags_changed();
        // The new task's first step is its first instruction.
        self.no_step = true;
        if image.trap {
            self.dr6_pending |= 1 << 15;
            self.add_special(crate::cpu::special::DEBUG);
        }
        Ok(())
    }

    fn load_task_ldt(&mut self, selector: u16) -> Exec {
        if selector & 0xfffc == 0 {
            return Ok(());
        }
        let error = error_of(selector);
        let at = self.gdt.base + (selector & 0xfff8) as u64;
        if selector & 4 != 0 || (selector & 0xfff8) as u64 + 7 > self.gdt.limit as u64 {
            return Err(self.ts(error));
        }
        let desc = Desc(self.read_system::<u64>(at)?);
        if desc.is_segment() || desc.kind() != 2 || !desc.present() {
            return Err(self.ts(error));
        }
        self.ldt = desc.segment(selector);
        Ok(())
    }

    fn load_task_segments(&mut self, segs: &[u16; 6]) -> Exec {
        let cs = segs[1];
        self.cpl = cs as u8 & 3;
        let error = error_of(cs);
        if cs & 0xfffc == 0 {
            return Err(self.ts(error));
        }
        let desc = self.descriptor(cs, Cpu::ts)?;
        let right = if desc.conforming() { desc.dpl() <= self.cpl } else { desc.dpl() == self.cpl };
        if !desc.is_code() || !right {
            return Err(self.ts(error));
        }
        if !desc.present() {
            return Err(self.np(error));
        }
        let desc = self.mark_accessed(cs, desc)?;
        self.set_cs(desc.segment(cs), cs as u8 & 3);
        let ss = self.check_ss(segs[2], self.cpl, Cpu::ts)?;
        self.set_seg(seg::SS, ss);
        for (slot, selector) in
            [(seg::ES, segs[0]), (seg::DS, segs[3]), (seg::FS, segs[4]), (seg::GS, segs[5])]
        {
            self.load_task_data(slot, selector)?;
        }
        Ok(())
    }

    fn load_task_data(&mut self, slot: usize, selector: u16) -> Exec {
        if selector & 0xfffc == 0 {
            self.set_null(slot, selector);
            return Ok(());
        }
        let desc = self.descriptor(selector, Cpu::ts)?;
        let error = error_of(selector);
        let private = !desc.is_code() || !desc.conforming();
        if !desc.is_readable() || private && (self.cpl > desc.dpl() || selector as u8 & 3 > desc.dpl()) {
            return Err(self.ts(error));
        }
        if !desc.present() {
            return Err(self.np(error));
        }
        let desc = self.mark_accessed(selector, desc)?;
        self.set_seg(slot, desc.segment(selector));
        Ok(())
    }

    /// Whether the task register holds a task segment that I/O permission can be looked up in.
    pub(crate) fn has_wide_task(&self) -> bool {
        self.tr.attr & attr::P != 0 && self.tr.attr & 8 != 0
    }
}
