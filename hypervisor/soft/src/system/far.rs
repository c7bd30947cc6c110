//! Far transfers: JMP, CALL, RET and IRET in every mode, SYSCALL and SYSENTER with their returns.

use crate::cpu::{Cpu, Exec, IP, RCX, RDX, RSP, Segment, attr, seg};
use crate::flags::bits as fl;
use crate::system::bits::{cr4, efer};
use crate::system::deliver::{Stack, set_of, stack_mask};
use crate::system::segment::{Desc, error_of, null_ss, v86_segment};
use crate::system::task::Enter;

const R11: usize = 11;

fn canonical(a: u64) -> bool {
    (a as i64) << 16 >> 16 == a as i64
}

fn cut(v: u64, size: u8) -> u64 {
    match size {
        2 => v & 0xffff,
        4 => v & 0xffff_ffff,
        _ => v,
    }
}

impl Cpu {
    /// Whether segments are real-mode ones: base is selector times 16.
    fn real_segments(&self) -> bool {
        !self.protected() || self.v86()
    }

    /// JMP ptr16:xx and JMP m16:xx.
    pub(crate) fn far_jump(&mut self, selector: u16, offset: u64, next: u64) -> Exec {
        if self.real_segments() {
            if offset > 0xffff {
                return Err(self.gp(0));
            }
            self.set_cs_real(selector);
            self.gpr[IP] = offset;
            return Ok(());
        }
        if selector & 0xfffc == 0 {
            return Err(self.gp(0));
        }
        let desc = self.descriptor(selector, Cpu::gp)?;
        if desc.is_code() {
            self.check_direct(selector, desc)?;
            return self.enter_code(selector, desc, offset, self.cpl);
        }
        self.far_by_system(selector, desc, next, false)
    }

    /// CALL ptr16:xx and CALL m16:xx; `size` is the operand size in bytes.
    pub(crate) fn far_call(&mut self, selector: u16, offset: u64, size: u8, next: u64) -> Exec {
        if self.real_segments() {
            if offset > 0xffff {
                return Err(self.gp(0));
            }
            let mut stack = self.this_stack();
            stack.push(self, size, self.seg[seg::CS].selector as u64)?;
            stack.push(self, size, next)?;
            self.keep_stack(&stack);
            self.set_cs_real(selector);
            self.gpr[IP] = offset;
            return Ok(());
        }
        if selector & 0xfffc == 0 {
            return Err(self.gp(0));
        }
        let desc = self.descriptor(selector, Cpu::gp)?;
        if desc.is_code() {
            self.check_direct(selector, desc)?;
            let mut stack = self.this_stack();
            stack.push(self, size, self.seg[seg::CS].selector as u64)?;
            stack.push(self, size, next)?;
            self.enter_code(selector, desc, offset, self.cpl)?;
            self.keep_stack(&stack);
            return Ok(());
        }
        self.far_by_system(selector, desc, next, true)
    }

    /// Privilege and type checks of a direct transfer.
    fn check_direct(&mut self, selector: u16, desc: Desc) -> Exec {
        let error = error_of(selector);
        let (dpl, rpl) = (desc.dpl(), selector as u8 & 3);
        let right = if desc.conforming() { dpl <= self.cpl } else { rpl <= self.cpl && dpl == self.cpl };
        let both = attr::L | attr::DB;
        if !right || self.long_mode() && desc.packed() & both == both {
            return Err(self.gp(error));
        }
        if !desc.present() {
            return Err(self.np(error));
        }
        Ok(())
    }

    /// Checks the offset and goes to a code segment.
    fn enter_code(&mut self, selector: u16, desc: Desc, offset: u64, cpl: u8) -> Exec {
        let long = self.long_mode() && desc.packed() & attr::L != 0;
        if if long { !canonical(offset) } else { offset > desc.limit() as u64 } {
            return Err(self.gp(0));
        }
        let desc = self.mark_accessed(selector, desc)?;
        self.set_cs(desc.segment(selector), cpl);
        self.gpr[IP] = offset;
        Ok(())
    }

    /// Far transfer through a call gate, a task gate or to a task segment.
    fn far_by_system(&mut self, selector: u16, desc: Desc, next: u64, call: bool) -> Exec {
        let error = error_of(selector);
        let long = self.long_mode();
        let kind = if desc.is_segment() { 0 } else { desc.kind() };
        let known = if long { kind == 12 } else { matches!(kind, 1 | 4 | 5 | 9 | 12) };
        if !known || desc.dpl() < self.cpl || desc.dpl() < selector as u8 & 3 {
            return Err(self.gp(error));
        }
        if !desc.present() {
            return Err(self.np(error));
        }
        let enter = if call { Enter::Call } else { Enter::Jump };
        match kind {
            1 | 9 => self.task_switch(selector, enter, next, None),
            5 => {
                let at = desc.gate_selector();
                self.task_of_gate(at)?;
                self.task_switch(at, enter, next, None)
            }
            _ => self.call_gate(selector, desc, next, call),
        }
    }

    fn call_gate(&mut self, gate_selector: u16, gate: Desc, next: u64, call: bool) -> Exec {
        let long = self.long_mode();
        let mut offset = gate.gate_offset();
        if long {
            let error = error_of(gate_selector);
            let Some(at) = self.descriptor_at(gate_selector.wrapping_add(8)) else {
                return Err(self.gp(error));
            };
            let high = self.read_system::<u64>(at)?;
            if high >> 40 & 0x1f != 0 {
                return Err(self.gp(error));
            }
            offset |= high << 32;
        } else if gate.kind() == 4 {
            offset &= 0xffff;
        }
        let selector = gate.gate_selector();
        if selector & 0xfffc == 0 {
            return Err(self.gp(0));
        }
        let code = self.descriptor(selector, Cpu::gp)?;
        let error = error_of(selector);
        if !code.is_code() || code.dpl() > self.cpl || long && code.packed() & (attr::L | attr::DB) != attr::L
        {
            return Err(self.gp(error));
        }
        if !code.present() {
            return Err(self.np(error));
        }
        let size = if long {
            8
        } else if gate.kind() == 12 {
            4
        } else {
            2
        };
        if !call {
            if !code.conforming() && code.dpl() != self.cpl {
                return Err(self.gp(error));
            }
            return self.enter_code(selector, code, offset, self.cpl);
        }
        if code.conforming() || code.dpl() == self.cpl {
            let mut stack = self.this_stack();
            stack.push(self, size, self.seg[seg::CS].selector as u64)?;
            stack.push(self, size, next)?;
            self.enter_code(selector, code, offset, self.cpl)?;
            self.keep_stack(&stack);
            return Ok(());
        }
        let dpl = code.dpl();
        let mut stack = if long {
            let sp = self.long_stack(dpl as u64)?;
            Stack { seg: null_ss(dpl as u16), sp, mask: u64::MAX, who: set_of(dpl), flat: true }
        } else {
            self.inner_stack(dpl)?
        };
        let mut old = self.this_stack();
        let count = if long { 0 } else { gate.0 >> 32 & 31 };
        let mut params = [0; 31];
        for p in params.iter_mut().take(count as usize) {
            *p = old.pop(self, size)?;
        }
        stack.push(self, size, self.seg[seg::SS].selector as u64)?;
        stack.push(self, size, self.gpr[RSP])?;
        for p in params[..count as usize].iter().rev() {
            stack.push(self, size, *p)?;
        }
        stack.push(self, size, self.seg[seg::CS].selector as u64)?;
        stack.push(self, size, next)?;
        self.enter_code(selector, code, offset, dpl)?;
        self.set_seg(seg::SS, stack.seg);
        self.keep_stack(&stack);
        Ok(())
    }

    /// RETF, with `release` bytes of parameters.
    pub(crate) fn far_return(&mut self, size: u8, release: u16) -> Exec {
        let mut stack = self.this_stack();
        let ip = stack.pop(self, size)?;
        let cs = stack.pop(self, size)? as u16;
        if self.real_segments() {
            if ip > 0xffff {
                return Err(self.gp(0));
            }
            stack.sp = stack.sp.wrapping_add(release as u64) & stack.mask;
            self.keep_stack(&stack);
            self.set_cs_real(cs);
            self.gpr[IP] = ip;
            return Ok(());
        }
        self.return_to(cs, ip, size, stack, release, None)
    }

    /// IRET in every mode.
    pub(crate) fn interrupt_return(&mut self, size: u8) -> Exec {
        let real = self.real_segments();
        if self.v86() && self.flags & fl::IOPL != fl::IOPL {
            return self.iret_v86(size);
        }
        if !real && self.flags & fl::NT != 0 {
            if self.long_mode() {
                return Err(self.gp(0));
            }
            self.task_return()?;
            self.nmi_ended();
            return Ok(());
        }
        let mut stack = self.this_stack();
        let ip = stack.pop(self, size)?;
        let cs = stack.pop(self, size)? as u16;
        let flags = stack.pop(self, size)?;
        if real {
            if ip > 0xffff {
                return Err(self.gp(0));
            }
            self.keep_stack(&stack);
            self.set_cs_real(cs);
            self.gpr[IP] = ip;
            let iopl = if self.v86() { 0 } else { fl::IOPL };
            let wide = if size == 2 { 0xffff } else { u64::MAX };
            let mask = fl::STATUS | fl::TF | fl::IF | fl::DF | fl::NT | iopl | fl::RF | fl::AC | fl::ID;
            self.set_flags(mask & wide, flags);
        } else if flags & fl::VM != 0 && size == 4 && self.cpl == 0 && !self.long_mode() {
            self.return_to_v86(cs, ip, flags, stack)?;
        } else {
            self.return_to(cs, ip, size, stack, 0, Some(flags))?;
        }
        self.nmi_ended();
        self.flags_changed();
        Ok(())
    }

    /// An IRET that has ended lets NMIs in again: one that waits is taken next, whatever IF says.
    fn nmi_ended(&mut self) {
        if std::mem::take(&mut self.nmi_blocked) {
            self.ask(crate::machine::attention::IRQ);
        }
    }

    /// IRET of virtual-8086 mode below IOPL 3: only with VME, and only of 16 bits.
    fn iret_v86(&mut self, size: u8) -> Exec {
        if self.cr4 & cr4::VME == 0 || size != 2 {
            return Err(self.gp(0));
        }
        let mut stack = self.this_stack();
        let ip = stack.pop(self, 2)?;
        let cs = stack.pop(self, 2)? as u16;
        let flags = stack.pop(self, 2)?;
        if flags & fl::TF != 0 || flags & fl::IF != 0 && self.flags & fl::VIP != 0 {
            return Err(self.gp(0));
        }
        self.keep_stack(&stack);
        self.set_cs_real(cs);
        self.gpr[IP] = ip;
        self.set_flags((fl::STATUS | fl::DF | fl::NT) & 0xffff, flags);
        self.flags = self.flags & !fl::VIF | if flags & fl::IF != 0 { fl::VIF } else { 0 };
        self.nmi_ended();
        self.flags_changed();
        Ok(())
    }

    fn return_to_v86(&mut self, cs: u16, ip: u64, flags: u64, mut stack: Stack) -> Exec {
        let mut words = [0; 6];
        for w in &mut words {
            *w = stack.pop(self, 4)?;
        }
        let [sp, ss, es, ds, fs, gs] = words;
        self.set_flags(fl::ALL, flags);
        for (slot, selector) in [(seg::SS, ss), (seg::ES, es), (seg::DS, ds), (seg::FS, fs), (seg::GS, gs)] {
            self.set_seg(slot, v86_segment(selector as u16));
        }
        self.set_cs(v86_segment(cs), 3);
        // The selector of virtual-8086 mode is no selector: its low bits are address.
        self.seg[seg::CS].selector = cs;
        self.gpr[RSP] = sp;
        self.gpr[IP] = ip & 0xffff;
        Ok(())
    }

    /// The common part of RETF and IRET in protected mode.
    fn return_to(
        &mut self,
        cs: u16,
        ip: u64,
        size: u8,
        mut stack: Stack,
        release: u16,
        flags: Option<u64>,
    ) -> Exec {
        if cs & 0xfffc == 0 {
            return Err(self.gp(0));
        }
        let desc = self.descriptor(cs, Cpu::gp)?;
        let error = error_of(cs);
        let rpl = cs as u8 & 3;
        let long = self.long_mode();
        let both = attr::L | attr::DB;
        let privilege = if desc.conforming() { desc.dpl() <= rpl } else { desc.dpl() == rpl };
        if !desc.is_code() || rpl < self.cpl || !privilege || long && desc.packed() & both == both {
            return Err(self.gp(error));
        }
        if !desc.present() {
            return Err(self.np(error));
        }
        let to_long = long && desc.packed() & attr::L != 0;
        if if to_long { !canonical(ip) } else { ip > desc.limit() as u64 } {
            return Err(self.gp(0));
        }
        stack.sp = stack.sp.wrapping_add(release as u64) & stack.mask;
        let outer = rpl > self.cpl;
        let pops_stack = outer || flags.is_some() && self.code == 64;
        let old_cpl = self.cpl;
        if !pops_stack {
            let desc = self.mark_accessed(cs, desc)?;
            self.keep_stack(&stack);
            self.return_flags(flags, size, old_cpl);
            self.set_cs(desc.segment(cs), rpl);
            self.gpr[IP] = ip;
            return Ok(());
        }
        let sp = stack.pop(self, size)?;
        let ss = stack.pop(self, size)? as u16;
        let segment = self.return_stack(ss, rpl, to_long)?;
        let desc = self.mark_accessed(cs, desc)?;
        self.return_flags(flags, size, old_cpl);
        self.set_cs(desc.segment(cs), rpl);
        self.set_seg(seg::SS, segment);
        let sp = sp.wrapping_add(release as u64);
        if to_long {
            self.gpr[RSP] = cut(sp, size);
        } else {
            let mask = stack_mask(&segment);
            let keep = if mask == 0xffff && size == 2 { !0xffff } else { 0 };
            self.gpr[RSP] = self.gpr[RSP] & keep | cut(sp, size) & if keep != 0 { mask } else { 0xffff_ffff };
        }
        self.gpr[IP] = ip;
        if outer {
            self.drop_inner_segments();
        }
        Ok(())
    }

    fn return_stack(&mut self, ss: u16, rpl: u8, to_long: bool) -> Result<Segment, crate::cpu::Fault> {
        if ss & 0xfffc == 0 {
            if to_long && rpl < 3 && ss as u8 & 3 == rpl {
                return Ok(null_ss(ss));
            }
            return Err(self.gp(0));
        }
        self.check_ss(ss, rpl, Cpu::gp)
    }

    fn return_flags(&mut self, flags: Option<u64>, size: u8, cpl: u8) {
        let Some(flags) = flags else { return };
        let mut mask = fl::STATUS | fl::TF | fl::DF | fl::NT;
        if size > 2 {
            mask |= fl::RF | fl::AC | fl::ID;
        }
        if cpl == 0 {
            mask |= fl::IOPL;
            if size > 2 {
                mask |= fl::VIF | fl::VIP;
            }
        }
        if cpl as u64 <= (self.flags & fl::IOPL) >> 12 {
            mask |= fl::IF;
        }
        self.set_flags(mask, flags);
    }

    /// Data segments that the outer level may not use become null.
    fn drop_inner_segments(&mut self) {
        for slot in [seg::ES, seg::DS, seg::FS, seg::GS] {
            let s = self.seg[slot];
            let private = s.attr & attr::CODE == 0 || s.attr & attr::DC == 0;
            if s.attr & attr::P != 0 && private && s.dpl() < self.cpl {
                self.set_null(slot, 0);
            }
        }
    }

    fn flat_segments(&mut self, cs: u16, ss: u16, cpl: u8, long: bool) {
        let dpl = (cpl as u16) << attr::DPL;
        let common = attr::P | attr::S | attr::RW | attr::ACCESSED | attr::G | dpl;
        let size = if long { attr::L } else { attr::DB };
        let flat = Segment { limit: u32::MAX, ..Segment::default() };
        self.set_cs(Segment { selector: cs, attr: common | attr::CODE | size, ..flat }, cpl);
        self.set_seg(seg::SS, Segment { selector: ss & !3 | cpl as u16, attr: common | attr::DB, ..flat });
    }

    /// SYSCALL; `next` is the return address.
    pub(crate) fn syscall(&mut self, next: u64) -> Exec {
        // Intel's processors have it in 64-bit mode only.
        if self.msr.efer & efer::SCE == 0 || self.intel() && self.code != 64 {
            return Err(self.ud());
        }
        let cs = (self.msr.star >> 32) as u16 & !3;
        if self.long_mode() {
            self.gpr[RCX] = next;
            self.gpr[R11] = self.eflags() & !fl::RF;
            let target = if self.code == 64 { self.msr.lstar } else { self.msr.cstar };
            let clear = self.msr.sfmask | fl::RF;
            self.set_flags(fl::ALL, self.eflags() & !clear);
            self.flat_segments(cs, cs + 8, 0, true);
            self.gpr[IP] = target;
        } else {
            if !self.protected() {
                return Err(self.ud());
            }
            self.gpr[RCX] = next & 0xffff_ffff;
            self.flags &= !(fl::IF | fl::VM | fl::RF);
            self.flat_segments(cs, cs + 8, 0, false);
            self.gpr[IP] = self.msr.star & 0xffff_ffff;
        }
        self.flags_changed();
        self.step_by_new_flags();
        Ok(())
    }

    /// SYSRET with the operand size in bytes.
    pub(crate) fn sysret(&mut self, size: u8) -> Exec {
        let intel = self.intel();
        if self.msr.efer & efer::SCE == 0 || !self.protected() || intel && self.code != 64 {
            return Err(self.ud());
        }
        // A target that is not canonical faults there, at CPL 3: AMD's order. Intel's processors refuse it here.
        if self.cpl != 0 || intel && size == 8 && !canonical(self.gpr[RCX]) {
            return Err(self.gp(0));
        }
        let base = (self.msr.star >> 48) as u16;
        if self.long_mode() {
            let flags = self.gpr[R11] & !(fl::RF | fl::VM);
            let mask = fl::ALL & !fl::VM;
            self.set_flags(mask, flags);
        } else {
            self.flags |= fl::IF;
        }
        let long = size == 8;
        self.gpr[IP] = if long { self.gpr[RCX] } else { self.gpr[RCX] & 0xffff_ffff };
        let cs = base.wrapping_add(if long { 16 } else { 0 }) | 3;
        let stack = self.seg[seg::SS];
        self.flat_segments(cs, base.wrapping_add(8) | 3, 3, long);
        if !intel {
            // AMD's processors change the selector alone (APM vol. 3).
            let selector = self.seg[seg::SS].selector;
            self.set_seg(seg::SS, Segment { selector, ..stack });
        }
        self.flags_changed();
        self.step_by_new_flags();
        Ok(())
    }

    /// SYSENTER: in long mode, where AMD's processors have SYSCALL alone, Intel's enter 64-bit code.
    pub(crate) fn sysenter(&mut self) -> Exec {
        let cs = self.msr.sysenter_cs as u16;
        let long = self.long_mode();
        if long && !self.intel() {
            return Err(self.ud());
        }
        if !self.protected() || cs & 0xfffc == 0 {
            return Err(self.gp(0));
        }
        self.flags &= !(fl::VM | fl::IF | fl::RF);
        self.flat_segments(cs & !3, (cs & !3).wrapping_add(8), 0, long);
        let reach = if long { u64::MAX } else { 0xffff_ffff };
        self.gpr[RSP] = self.msr.sysenter_esp & reach;
        self.gpr[IP] = self.msr.sysenter_eip & reach;
        self.flags_changed();
        Ok(())
    }

    /// SYSEXIT with the operand size in bytes, likewise.
    pub(crate) fn sysexit(&mut self, size: u8) -> Exec {
        let cs = self.msr.sysenter_cs as u16 & !3;
        if self.long_mode() && !self.intel() {
            return Err(self.ud());
        }
        if !self.protected() || self.cpl != 0 || cs == 0 {
            return Err(self.gp(0));
        }
        let (ip, sp) = (self.gpr[RDX], self.gpr[RCX]);
        let long = size == 8;
        if long && !(canonical(ip) && canonical(sp)) {
            return Err(self.gp(0));
        }
        let cs = cs.wrapping_add(if long { 32 } else { 16 });
        self.flat_segments(cs | 3, cs.wrapping_add(8) | 3, 3, long);
        let reach = if long { u64::MAX } else { 0xffff_ffff };
        self.gpr[RSP] = sp & reach;
        self.gpr[IP] = ip & reach;
        self.flags_changed();
        Ok(())
    }

    /// What a far pointer in memory says: offset of `size` bytes, then the selector.
    pub(crate) fn far_pointer(
        &mut self,
        slot: u8,
        at: u64,
        size: u8,
    ) -> Result<(u16, u64), crate::cpu::Fault> {
        let offset = match size {
            2 => self.read::<u16>(slot, at)? as u64,
            4 => self.read::<u32>(slot, at)? as u64,
            _ => self.read::<u64>(slot, at)?,
        };
        let selector = self.read::<u16>(slot, at.wrapping_add(size as u64))?;
        Ok((selector, offset))
    }
}
