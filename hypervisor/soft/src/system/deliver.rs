//! Delivery of exceptions and interrupts in every mode (SDM volume 3, chapter 6).

use crate::cpu::{Cpu, Exec, Fault, FaultInfo, IP, RSP, Segment, Why, attr, seg};
use crate::flags::bits as fl;
use crate::system::bits::cr4;
use crate::system::segment::{Desc, error_of, null_ss};
use crate::tlb::set;

/// DR6.BD: an access to a debug register while DR7.GD is set.
const GENERAL_DETECT: u64 = 1 << 13;

/// Where an event comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    /// An exception of the processor.
    Exception,
    /// An interrupt line, a message or NMI.
    External,
    /// INT n, INT3, INTO: the gate's privilege counts.
    Software,
    /// INT1: like an exception, but the instruction is over.
    Trap,
}

/// A stack that is being filled before it becomes the current one.
pub(crate) struct Stack {
    pub(crate) seg: Segment,
    pub(crate) sp: u64,
    pub(crate) mask: u64,
    pub(crate) who: usize,
    pub(crate) flat: bool,
}

impl Stack {
    /// Writes `v` below the top. Nothing but memory changes.
    pub(crate) fn push(&mut self, cpu: &mut Cpu, size: u8, v: u64) -> Exec {
        let sp = self.sp.wrapping_sub(size as u64) & self.mask;
        let lin = self.linear(cpu, sp, size)?;
        cpu.write_linear(lin, size as usize, v, self.who)?;
        self.sp = sp;
        Ok(())
    }
    /// Reads the top and moves past it.
    pub(crate) fn pop(&mut self, cpu: &mut Cpu, size: u8) -> Result<u64, Fault> {
        let lin = self.linear(cpu, self.sp, size)?;
        let v = cpu.read_linear(lin, size as usize, self.who)?;
        self.sp = self.sp.wrapping_add(size as u64) & self.mask;
        Ok(v)
    }
    fn linear(&self, cpu: &mut Cpu, sp: u64, size: u8) -> Result<u64, Fault> {
        let last = size as u64 - 1;
        if self.flat {
            let canonical = |a: u64| (a as i64) << 16 >> 16 == a as i64;
            if canonical(sp) && canonical(sp.wrapping_add(last)) {
                return Ok(sp);
            }
            let ext = cpu.ext();
            return Err(cpu.ss(ext));
        }
        let limit = self.seg.limit as u64;
        let down = self.seg.attr & attr::DC != 0 && self.seg.attr & attr::CODE == 0;
        let good = if down { sp > limit && sp + last <= self.mask } else { sp + last <= limit };
        if !good {
            let ext = cpu.ext();
            return Err(cpu.ss(ext));
        }
        Ok(self.seg.base.wrapping_add(sp) as u32 as u64)
    }
}

/// TLB set of a privilege level for stack accesses.
pub(crate) fn set_of(cpl: u8) -> usize {
    if cpl == 3 { set::USER } else { set::SUPER }
}

pub(crate) fn stack_mask(s: &Segment) -> u64 {
    if s.attr & attr::DB != 0 { 0xffff_ffff } else { 0xffff }
}

fn contributory(vector: u8) -> bool {
    matches!(vector, 0 | 10..=13)
}

impl Cpu {
    /// The current stack.
    pub(crate) fn this_stack(&self) -> Stack {
        let flat = self.code == 64;
        Stack { seg: self.seg[seg::SS], sp: self.sp(), mask: self.sp_mask, who: self.set as usize, flat }
    }

    /// Takes the stack pointer of a filled stack of the same segment.
    pub(crate) fn keep_stack(&mut self, stack: &Stack) {
        let keep = if stack.mask == 0xffff { !0xffff } else { 0 };
        self.gpr[RSP] = self.gpr[RSP] & keep | stack.sp;
    }

    /// Delivers `self.fault`. Faults on the way become double faults or the end.
    pub(crate) fn exception(&mut self) {
        let mut now = self.fault;
        let mut first: Option<u8> = None;
        // Every step either delivers, or goes up to a double fault and then to shutdown.
        for _ in 0..8 {
            if now.why == Why::Shutdown {
                break;
            }
            self.prepare(&now);
            if self.deliver(now.vector, Source::Exception, now.error).is_ok() {
                return;
            }
            let next = self.fault;
            let vector = now.vector;
            let double = contributory(vector) && contributory(next.vector)
                || vector == 14 && (contributory(next.vector) || next.vector == 14)
                || first.is_some_and(|f| f == 14 && contributory(next.vector));
            if vector == 8 {
                break;
            }
            first = Some(vector);
            now = if double {
                FaultInfo { why: Why::Exception, vector: 8, error: Some(0), extra: 0 }
            } else {
                next
            };
        }
        self.shutdown = true;
        self.ask(crate::machine::attention::IRQ);
    }

    /// What an exception leaves in registers before its handler is looked for.
    fn prepare(&mut self, fault: &FaultInfo) {
        match fault.vector {
            1 => {
                self.dr[4] = self.dr[4] & !0xf | fault.extra | 0xffff_0ff0;
                self.dr[5] &= !(1 << 13);
            }
            14 => self.cr2 = fault.extra,
            _ => {}
        }
    }

    /// Delivers an event whose return address is RIP. On a fault nothing but memory has changed.
    pub(crate) fn deliver(&mut self, vector: u8, source: Source, error: Option<u32>) -> Exec {
        self.external = source == Source::External || source == Source::Exception;
        // What is pushed may lie beside the running code, or even in MMIO: all of it is allowed here.
        let single = std::mem::replace(&mut self.single, true);
        let done = self.deliver_by_mode(vector, source, error);
        self.single = single;
        self.external = false;
        if done.is_ok() {
            self.halted = false;
            // A trap of the instruction is not also one of the handler's first; a new task may bring one.
            let keep = crate::cpu::special::IBREAK | crate::cpu::special::DEBUG;
            self.set_special(self.special & keep);
            self.no_step = true;
            self.flags_changed();
        }
        done
    }

    fn deliver_by_mode(&mut self, vector: u8, source: Source, error: Option<u32>) -> Exec {
        // Faults are restarted, so their instruction breakpoint must not hit again. That of #DB by such a breakpoint
        // itself is for the handler to set (APM vol. 2, 3.1.6); of the others of #DB one is a fault: general detect.
        let mut image = self.eflags();
        let fault = match vector {
            1 => self.fault.extra & GENERAL_DETECT != 0,
            3 | 4 | 8 | 18 => false,
            _ => true,
        };
        if source == Source::Exception && fault {
            image |= fl::RF;
        }
        if !self.protected() {
            self.deliver_real(vector, image)
        } else if self.long_mode() {
            self.deliver_long(vector, source, error, image)
        } else {
            self.deliver_protected(vector, source, error, image)
        }
    }

    /// Through the interrupt vector table. VME uses it too.
    pub(crate) fn deliver_real(&mut self, vector: u8, image: u64) -> Exec {
        let at = vector as u64 * 4;
        let base = if self.protected() { 0 } else { self.idt.base };
        if !self.protected() && at + 3 > self.idt.limit as u64 {
            return Err(self.gp(vector as u32 * 8 + 2));
        }
        let entry = self.read_system::<u32>(base + at)?;
        let mut stack = self.this_stack();
        stack.push(self, 2, image & 0xffff)?;
        stack.push(self, 2, self.seg[seg::CS].selector as u64)?;
        stack.push(self, 2, self.gpr[IP])?;
        self.keep_stack(&stack);
        self.flags &= !(fl::TF | fl::RF | fl::AC);
        if self.v86() {
            // VME: the virtual interrupt flag stands for IF.
            if self.flags & fl::IOPL == fl::IOPL {
                self.flags &= !fl::IF;
            } else {
                self.flags &= !fl::VIF;
            }
        } else {
            self.flags &= !fl::IF;
        }
        self.set_cs_real((entry >> 16) as u16);
        self.gpr[IP] = entry as u64 & 0xffff;
        Ok(())
    }

    fn deliver_protected(&mut self, vector: u8, source: Source, error: Option<u32>, image: u64) -> Exec {
        let index = vector as u32 * 8 + 2;
        let gate_error = index | if source == Source::Software { 0 } else { self.ext() };
        if vector as u64 * 8 + 7 > self.idt.limit as u64 {
            return Err(self.gp(gate_error));
        }
        let gate = Desc(self.read_system::<u64>(self.idt.base + vector as u64 * 8)?);
        if gate.is_segment() || !matches!(gate.kind(), 5 | 6 | 7 | 14 | 15) {
            return Err(self.gp(gate_error));
        }
        if source == Source::Software && gate.dpl() < self.cpl {
            return Err(self.gp(gate_error));
        }
        if !gate.present() {
            return Err(self.np(gate_error));
        }
        if source == Source::Software {
            self.external = false;
        }
        if gate.kind() == 5 {
            self.task_by_gate(gate.gate_selector(), error)?;
            return Ok(());
        }
        let wide = gate.kind() & 8 != 0;
        let size = if wide { 4 } else { 2 };
        let (code, dpl) = self.gate_code(gate.gate_selector())?;
        let offset = if wide { gate.gate_offset() } else { gate.gate_offset() & 0xffff };
        let inner = !code.conforming() && dpl < self.cpl;
        if self.v86() && (!inner || dpl != 0) {
            let e = error_of(gate.gate_selector()) | self.ext();
            return Err(self.gp(e));
        }
        let mut stack = if inner { self.inner_stack(dpl)? } else { self.this_stack() };
        let cpl = if inner { dpl } else { self.cpl };
        if inner {
            if self.v86() {
                for slot in [seg::GS, seg::FS, seg::DS, seg::ES] {
                    stack.push(self, size, self.seg[slot].selector as u64)?;
                }
            }
            stack.push(self, size, self.seg[seg::SS].selector as u64)?;
            stack.push(self, size, self.gpr[RSP])?;
        }
        stack.push(self, size, image)?;
        stack.push(self, size, self.seg[seg::CS].selector as u64)?;
        stack.push(self, size, self.gpr[IP])?;
        if let Some(error) = error {
            stack.push(self, size, error as u64)?;
        }
        if offset > code.limit() as u64 {
            let ext = self.ext();
            return Err(self.gp(ext));
        }
        let code = self.mark_accessed(gate.gate_selector(), code)?;
        let from_v86 = self.v86();
        self.clear_for_gate(gate.kind() & 1 == 0);
        if from_v86 {
            for slot in [seg::GS, seg::FS, seg::DS, seg::ES] {
                self.set_null(slot, 0);
            }
        }
        self.set_cs(code.segment(gate.gate_selector()), cpl);
        if inner {
            self.set_seg(seg::SS, stack.seg);
        }
        self.keep_stack(&stack);
        self.gpr[IP] = offset;
        Ok(())
    }

    fn clear_for_gate(&mut self, interrupt: bool) {
        self.flags &= !(fl::TF | fl::NT | fl::RF | fl::VM);
        if interrupt {
            self.flags &= !fl::IF;
        }
    }

    /// The code segment of an interrupt gate, checked; with its privilege level.
    fn gate_code(&mut self, selector: u16) -> Result<(Desc, u8), Fault> {
        let ext = self.ext();
        if selector & 0xfffc == 0 {
            return Err(self.gp(ext));
        }
        let code = self.descriptor(selector, Cpu::gp)?;
        let error = error_of(selector) | ext;
        if !code.is_code() || code.dpl() > self.cpl {
            return Err(self.gp(error));
        }
        if !code.present() {
            return Err(self.np(error));
        }
        Ok((code, code.dpl()))
    }

    /// The stack of an inner privilege level, from a 16- or 32-bit task segment.
    pub(crate) fn inner_stack(&mut self, dpl: u8) -> Result<Stack, Fault> {
        let error = error_of(self.tr.selector) | self.ext();
        let wide = self.tr.attr & 8 != 0;
        let (at, size) = if wide { (4 + 8 * dpl as u64, 6) } else { (2 + 4 * dpl as u64, 4) };
        if at + size - 1 > self.tr.limit as u64 {
            return Err(self.ts(error));
        }
        let base = self.tr.base + at;
        let (sp, ss) = if wide {
            (self.read_system::<u32>(base)? as u64, self.read_system::<u16>(base + 4)?)
        } else {
            (self.read_system::<u16>(base)? as u64, self.read_system::<u16>(base + 2)?)
        };
        let seg = self.check_ss(ss, dpl, Cpu::ts)?;
        let mask = stack_mask(&seg);
        Ok(Stack { seg, sp: sp & mask, mask, who: set_of(dpl), flat: false })
    }

    /// A stack pointer of a 64-bit task segment: slot 0-2 for a privilege level, 4-10 for IST 1-7.
    pub(crate) fn long_stack(&mut self, slot: u64) -> Result<u64, Fault> {
        let at = 4 + 8 * slot;
        if at + 7 > self.tr.limit as u64 {
            let error = error_of(self.tr.selector) | self.ext();
            return Err(self.ts(error));
        }
        self.read_system::<u64>(self.tr.base.wrapping_add(at))
    }

    fn deliver_long(&mut self, vector: u8, source: Source, error: Option<u32>, image: u64) -> Exec {
        let index = vector as u32 * 8 + 2;
        let gate_error = index | if source == Source::Software { 0 } else { self.ext() };
        if vector as u64 * 16 + 15 > self.idt.limit as u64 {
            return Err(self.gp(gate_error));
        }
        let at = self.idt.base.wrapping_add(vector as u64 * 16);
        let gate = Desc(self.read_system::<u64>(at)?);
        let high = self.read_system::<u64>(at.wrapping_add(8))?;
        if gate.is_segment() || !matches!(gate.kind(), 14 | 15) {
            return Err(self.gp(gate_error));
        }
        if source == Source::Software && gate.dpl() < self.cpl {
            return Err(self.gp(gate_error));
        }
        if !gate.present() {
            return Err(self.np(gate_error));
        }
        if source == Source::Software {
            self.external = false;
        }
        let selector = gate.gate_selector();
        let (code, dpl) = self.gate_code(selector)?;
        if code.packed() & (attr::L | attr::DB) != attr::L {
            let e = error_of(selector) | self.ext();
            return Err(self.gp(e));
        }
        let inner = !code.conforming() && dpl < self.cpl;
        let cpl = if inner { dpl } else { self.cpl };
        let ist = gate.0 >> 32 & 7;
        let sp = match (ist, inner) {
            (0, true) => self.long_stack(dpl as u64)?,
            (0, false) => self.gpr[RSP],
            (ist, _) => self.long_stack(3 + ist)?,
        };
        let mut stack =
            Stack { seg: Segment::default(), sp: sp & !15, mask: u64::MAX, who: set_of(cpl), flat: true };
        stack.push(self, 8, self.seg[seg::SS].selector as u64)?;
        stack.push(self, 8, self.gpr[RSP])?;
        stack.push(self, 8, image)?;
        stack.push(self, 8, self.seg[seg::CS].selector as u64)?;
        stack.push(self, 8, self.gpr[IP])?;
        if let Some(error) = error {
            stack.push(self, 8, error as u64)?;
        }
        let offset = gate.gate_offset() | high << 32;
        if (offset as i64) << 16 >> 16 != offset as i64 {
            let ext = self.ext();
            return Err(self.gp(ext));
        }
        let code = self.mark_accessed(selector, code)?;
        self.clear_for_gate(gate.kind() & 1 == 0);
        self.set_cs(code.segment(selector), cpl);
        if inner {
            self.set_seg(seg::SS, null_ss(cpl as u16));
        }
        self.gpr[RSP] = stack.sp;
        self.gpr[IP] = offset;
        Ok(())
    }

    /// INT n and its kin; RIP is still that of the instruction, `next` the return address.
    pub(crate) fn software_interrupt(&mut self, vector: u8, next: u64, source: Source) -> Exec {
        let int_n = source == Source::Software;
        if self.v86() && int_n && vector != 3 && vector != 4 {
            if self.cr4 & cr4::VME != 0 && !self.redirected(vector)? {
                let mut image = self.eflags();
                if self.flags & fl::IOPL != fl::IOPL {
                    image = image & !fl::IF | fl::IOPL | if self.flags & fl::VIF != 0 { fl::IF } else { 0 };
                }
                let this = std::mem::replace(&mut self.gpr[IP], next);
                self.deliver_real(vector, image).inspect_err(|_| self.gpr[IP] = this)?;
                self.no_step = true;
                self.flags_changed();
                return Ok(());
            }
            if self.flags & fl::IOPL != fl::IOPL {
                return Err(self.gp(0));
            }
        }
        let this = std::mem::replace(&mut self.gpr[IP], next);
        self.deliver(vector, source, None).inspect_err(|_| self.gpr[IP] = this)
    }

    /// Whether the task segment's redirection map sends an interrupt of virtual-8086 mode to protected mode.
    fn redirected(&mut self, vector: u8) -> Result<bool, Fault> {
        if 0x67 > self.tr.limit {
            return Ok(true);
        }
        let map = self.read_system::<u16>(self.tr.base + 0x66)? as u64;
        let at = map.wrapping_sub(32) + vector as u64 / 8;
        if map < 32 || at > self.tr.limit as u64 {
            return Ok(true);
        }
        Ok(self.read_system::<u8>(self.tr.base + at)? >> (vector & 7) & 1 != 0)
    }
}
