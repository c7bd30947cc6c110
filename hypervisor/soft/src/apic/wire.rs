//! What local APICs are wired to: their processors, each other, the pins, the timer queue.

use std::sync::MutexGuard;
use std::sync::atomic::Ordering;

use hypervisor::{IrqTarget, MsiTarget, Pin, Timer};
use ioreq::Size;

use super::spec::{base, delivery};
use super::{Apic, Effect, Message};
use crate::cpu::{Cpu, Exec, Fault};
use crate::flags::bits as fl;
use crate::machine::{Shared, attention};
use crate::system::deliver::Source;

/// A vCPU's APIC and what other threads leave for it.
pub(crate) struct Unit {
    pub(crate) apic: Apic,
    pub(crate) timer: Option<Timer>,
    pub(crate) nmi: bool,
    /// An ExtINT message: the 8259 pair is asked for the vector.
    pub(crate) extint: bool,
    pub(crate) init: bool,
    pub(crate) startup: Option<u8>,
}

impl Unit {
    pub(crate) fn new(id: u32) -> Unit {
        Unit { apic: Apic::new(id), timer: None, nmi: false, extint: false, init: false, startup: None }
    }
    /// Arms the timer for what the APIC waits for.
    pub(crate) fn arm(&mut self) {
        let due = self.apic.due();
        match (&mut self.timer, due) {
            (Some(timer), Some(due)) => timer.arm(due),
            (Some(timer), None) => timer.cancel(),
            (None, _) => {}
        }
    }
}

impl Shared {
    /// A vCPU's unit, locked. No second one is locked meanwhile.
    pub(crate) fn unit(&self, vcpu: u32) -> MutexGuard<'_, Unit> {
        let n = (vcpu as usize).min(self.vcpus.len() - 1);
        self.vcpus[n].unit.lock().unwrap_or_else(|p| p.into_inner())
    }

    fn numbers(&self) -> std::ops::Range<u32> {
        0..self.vcpus.len() as u32
    }

    /// Sends a message to all that it is for; lowest priority to one.
    pub(crate) fn send(&self, message: &Message) {
        if message.mode == delivery::LOWEST {
            let best = self
                .numbers()
                .filter(|n| self.unit(*n).apic.matches(message))
                .min_by_key(|n| self.unit(*n).apic.priority());
            if let Some(n) = best {
                self.receive(n, message);
            }
            return;
        }
        for n in self.numbers() {
            if self.unit(n).apic.matches(message) {
                self.receive(n, message);
            }
        }
    }

    fn receive(&self, vcpu: u32, message: &Message) {
        let mut unit = self.unit(vcpu);
        let mut bits = attention::IRQ;
        match message.mode {
            delivery::FIXED | delivery::LOWEST => unit.apic.accept(message.vector, message.level),
            delivery::NMI => unit.nmi = true,
            delivery::EXTINT => unit.extint = true,
            delivery::INIT => {
                unit.init = true;
                unit.startup = None;
                bits = attention::INIT;
            }
            delivery::STARTUP => {
                unit.startup = Some(message.vector);
                bits = attention::INIT;
            }
            _ => return,
        }
        drop(unit);
        self.tell(vcpu, bits);
    }

    /// Sends what an ICR says.
    fn send_icr(&self, from: u32, low: u32, dest: u32) {
        let mode = low >> 8 & 7;
        let message = Message {
            dest,
            logical: low >> 11 & 1 != 0,
            mode,
            vector: low as u8,
            level: low >> 15 & 1 != 0 && mode == delivery::FIXED,
        };
        if mode == delivery::INIT && low >> 14 & 3 == 2 {
            // INIT level de-assert: a relic.
            return;
        }
        if matches!(mode, delivery::FIXED | delivery::LOWEST) && message.vector < 16 {
            self.unit(from).apic.illegal_send();
            return;
        }
        match low >> 18 & 3 {
            0 => self.send(&message),
            1 => self.receive(from, &message),
            shorthand => {
                for n in self.numbers().filter(|n| shorthand == 2 || *n != from) {
                    self.receive(n, &message);
                }
            }
        }
    }

    /// A timer fired.
    pub(crate) fn timer_fired(&self, vcpu: u32) {
        let now = self.clock.now();
        let mut unit = self.unit(vcpu);
        let accepted = unit.apic.expire(now);
        unit.arm();
        drop(unit);
        if accepted {
            self.tell(vcpu, attention::IRQ);
        }
    }
}

impl IrqTarget for Shared {
    fn set(&self, pin: Pin, level: bool) {
        match pin {
            Pin::Intr => {
                let was = self.intr.swap(level, Ordering::AcqRel);
                if !level || was {
                    return;
                }
                for n in self.numbers() {
                    let mut unit = self.unit(n);
                    let wants = unit.apic.takes_intr() || unit.apic.intr_edge();
                    drop(unit);
                    if wants {
                        self.tell(n, attention::IRQ);
                    }
                }
            }
            Pin::Nmi => {
                if self.nmi.swap(level, Ordering::AcqRel) || !level {
                    return;
                }
                for n in self.numbers() {
                    let mut unit = self.unit(n);
                    if unit.apic.takes_nmi() {
                        unit.nmi = true;
                        drop(unit);
                        self.tell(n, attention::IRQ);
                    }
                }
            }
            Pin::A20 => self.set_a20(level),
            Pin::Isa(_) | Pin::Intx { .. } => {}
        }
    }
}

impl MsiTarget for Shared {
    fn signal(&self, address: u64, data: u32) {
        let low = address as u32;
        let mode = data >> 8 & 7;
        let hint = low >> 3 & 1 != 0;
        let logical = low >> 2 & 1 != 0;
        let mode = if hint && logical && mode == delivery::FIXED { delivery::LOWEST } else { mode };
        let dest = low >> 12 & 0xff | (address >> 32) as u32 & 0xffff_ff00;
        self.send(&Message { dest, logical, mode, vector: data as u8, level: data >> 15 & 1 != 0 });
    }
}

impl Cpu {
    pub(crate) fn now(&self) -> u64 {
        if self.shared.counter.is_some() {
            self.icount.wrapping_add(self.time_offset)
        } else {
            self.shared.clock.now()
        }
    }

    /// IA32_APIC_BASE.
    pub(crate) fn apic_base(&self) -> u64 {
        self.shared.unit(self.id).apic.base()
    }
    /// Whether CPUID shows the APIC.
    pub(crate) fn apic_enabled(&self) -> bool {
        self.apic_page != u64::MAX || self.shared.unit(self.id).apic.enabled()
    }
    /// Sets IA32_APIC_BASE.
    pub(crate) fn set_apic_base(&mut self, v: u64) -> Exec {
        let mut unit = self.shared.unit(self.id);
        let good = unit.apic.set_base(v);
        unit.arm();
        drop(unit);
        if !good {
            return Err(self.gp(0));
        }
        self.apic_moved();
        self.flush_tlb(true);
        self.ask(attention::IRQ);
        Ok(())
    }
    /// Remembers where the registers are mapped.
    pub(crate) fn apic_moved(&mut self) {
        let unit = self.shared.unit(self.id);
        let mapped = unit.apic.enabled() && !unit.apic.x2apic();
        let page = unit.apic.base() & 0xff_ffff_f000;
        drop(unit);
        self.apic_page = if mapped { page } else { u64::MAX };
    }
    /// Whether a physical page is that of the registers.
    #[inline(always)]
    pub(crate) fn is_apic_page(&self, gpa: u64) -> bool {
        gpa & crate::tlb::PAGE_MASK == self.apic_page
    }

    /// Reads by MMIO; registers are 32 bits at multiples of 16.
    pub(crate) fn apic_read(&mut self, offset: u64, size: Size) -> u64 {
        let now = self.now();
        let mut unit = self.shared.unit(self.id);
        if offset & 0xf > 3 {
            return 0;
        }
        let Some(v) = unit.apic.read(offset as u32 >> 4, now) else {
            unit.apic.illegal();
            return 0;
        };
        drop(unit);
        // A timer that reads as ended has fired.
        self.ask(attention::IRQ);
        v >> (8 * (offset & 3)) & size.mask()
    }
    /// Writes by MMIO.
    pub(crate) fn apic_write(&mut self, offset: u64, size: Size, v: u64) {
        if offset & 0xf != 0 || size == Size::B8 && v >> 32 != 0 {
            return;
        }
        let effect = self.apic_access(offset as u32 >> 4, v & 0xffff_ffff);
        if effect == Effect::Illegal {
            self.shared.unit(self.id).apic.illegal();
        }
    }

    fn apic_access(&mut self, reg: u32, v: u64) -> Effect {
        let now = self.now();
        let mut unit = self.shared.unit(self.id);
        let effect = unit.apic.write(reg, v, now);
        if effect == Effect::Timer {
            unit.arm();
        }
        drop(unit);
        self.deadline_moved();
        match effect {
            Effect::Send(low, dest) => self.shared.send_icr(self.id, low, dest),
            Effect::End(Some(vector)) => {
                if let Some(dispatch) = &mut self.dispatch {
                    dispatch.end_of_interrupt(vector);
                }
            }
            _ => {}
        }
        self.ask(attention::IRQ);
        effect
    }

    /// Reads by MSR.
    pub(crate) fn x2apic_read(&mut self, n: u32) -> Result<u64, Fault> {
        let now = self.now();
        let mut unit = self.shared.unit(self.id);
        let v = if unit.apic.x2apic() { unit.apic.read(n - 0x800, now) } else { None };
        drop(unit);
        self.ask(attention::IRQ);
        v.ok_or_else(|| self.gp(0))
    }
    /// Writes by MSR.
    pub(crate) fn x2apic_write(&mut self, n: u32, v: u64) -> Exec {
        let reg = n - 0x800;
        let x2 = self.shared.unit(self.id).apic.x2apic();
        if !x2 {
            return Err(self.gp(0));
        }
        match self.apic_access(reg, v) {
            Effect::Illegal => Err(self.gp(0)),
            _ => Ok(()),
        }
    }

    /// CR8.
    pub(crate) fn apic_task_priority(&self) -> u8 {
        self.shared.unit(self.id).apic.tpr() >> 4
    }
    /// Sets CR8.
    pub(crate) fn set_apic_task_priority(&mut self, v: u8) {
        self.shared.unit(self.id).apic.set_tpr(v << 4);
        self.ask(attention::IRQ);
    }

    /// IA32_TSC_DEADLINE.
    pub(crate) fn apic_deadline(&mut self) -> u64 {
        let now = self.now();
        let deadline = self.shared.unit(self.id).apic.deadline(now);
        self.ask(attention::IRQ);
        deadline
    }
    /// Sets it.
    pub(crate) fn set_apic_deadline(&mut self, v: u64) {
        let (now, ahead) = (self.now(), self.msr.tsc_offset);
        let mut unit = self.shared.unit(self.id);
        unit.apic.set_deadline(v, ahead, now);
        unit.arm();
        drop(unit);
        self.deadline_moved();
        self.ask(attention::IRQ);
    }
    /// After the TSC was moved: the deadline is by the TSC.
    pub(crate) fn rearm_deadline(&mut self) {
        let v = self.apic_deadline();
        if v != 0 {
            self.set_apic_deadline(v);
        }
    }

    /// Delivers what is pending, if it may be.
    pub(crate) fn take_interrupt(&mut self) {
        let shared = self.shared.clone();
        let mut unit = shared.unit(self.id);
        if unit.nmi && !self.nmi_blocked {
            unit.nmi = false;
            drop(unit);
            self.nmi_blocked = true;
            self.irq_waiting = true;
            self.interrupt(2);
            return;
        }
        let intr = shared.intr.load(Ordering::Acquire) && unit.apic.takes_intr();
        let ext = intr || unit.extint;
        let apic = unit.apic.pending().is_some();
        if !ext && !apic {
            self.irq_waiting = unit.nmi;
            return;
        }
        self.irq_waiting = true;
        if self.flags & fl::IF == 0 {
            return;
        }
        // The 8259's interrupt comes first: it has no priority among the APIC's vectors.
        let vector = if ext {
            unit.extint = false;
            drop(unit);
            self.dispatch.as_mut().map(|dispatch| dispatch.acknowledge())
        } else {
            let vector = unit.apic.acknowledge();
            drop(unit);
            vector
        };
        if let Some(vector) = vector {
            self.interrupt(vector);
        }
    }

    fn interrupt(&mut self, vector: u8) {
        self.halted = false;
        if self.deliver(vector, Source::External, None).is_err() {
            self.external = false;
            self.exception();
        }
        if self.flags & fl::IF != 0 {
            self.ask(attention::IRQ);
        }
    }

    /// A processor that is not the bootstrap processor waits for a start-up message after INIT.
    pub(crate) fn is_bootstrap(&self) -> bool {
        self.apic_base() & base::BSP != 0
    }
}
