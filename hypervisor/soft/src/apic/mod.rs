//! The local APIC, xAPIC and x2APIC (SDM volume 3, chapter 10).
//!
//! The chip alone: it holds registers and says what follows from an access ([`Effect`]). Who it is wired to, its
//! timer and its messages, is in `wire`. Time is in nanoseconds of guest time and the timer's clock is 1 GHz, as the
//! TSC's. A masked timer wakes nobody. Left out: thermal, performance and machine-check sources of its LVT never fire; SMI.

pub mod spec;
mod state;
#[cfg(test)]
mod tests;
pub(crate) mod wire;

pub use state::State;

use spec::*;

/// What an access to a register asks of the world around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Look again at what is pending.
    Check,
    /// An interrupt ended; its vector if it was level-triggered.
    End(Option<u8>),
    /// Send what the ICR says: low word, destination.
    Send(u32, u32),
    /// The timer's deadline changed.
    Timer,
    /// No such register: #GP by MSR, an error in ESR by MMIO.
    Illegal,
}

/// A message: who it is for and what it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Destination.
    pub dest: u32,
    /// Logical destination.
    pub logical: bool,
    /// Delivery mode, see [`delivery`].
    pub mode: u32,
    /// Vector.
    pub vector: u8,
    /// Level-triggered.
    pub level: bool,
}

/// Shortest period of the timer, in ns; that of the devices' timers.
const FLOOR: u64 = 10_000;

/// One local APIC.
#[derive(Clone, Debug)]
pub struct Apic {
    id: u32,
    base: u64,
    tpr: u8,
    ldr: u32,
    dfr: u32,
    svr: u32,
    isr: [u32; 8],
    tmr: [u32; 8],
    irr: [u32; 8],
    esr: u32,
    esr_next: u32,
    icr: u64,
    lvt: [u32; lvt::COUNT],
    initial: u32,
    divide: u32,
    /// When the count began, while it runs.
    started: u64,
    /// When the timer fires next.
    due: Option<u64>,
    /// IA32_TSC_DEADLINE as written.
    deadline: u64,
}

fn highest(bits: &[u32; 8]) -> Option<u8> {
    (0..8).rev().find(|n| bits[*n] != 0).map(|n| (n as u8) << 5 | (31 - bits[n].leading_zeros()) as u8)
}

fn set_bit(bits: &mut [u32; 8], v: u8, on: bool) {
    let bit = 1 << (v & 31);
    let word = &mut bits[v as usize >> 5];
    *word = if on { *word | bit } else { *word & !bit };
}

impl Apic {
    /// Power-on state of APIC `id`.
    pub fn new(id: u32) -> Apic {
        let bsp = if id == 0 { base::BSP } else { 0 };
        let mut apic = Apic {
            id,
            base: base::DEFAULT | base::ENABLE | bsp,
            tpr: 0,
            ldr: 0,
            dfr: u32::MAX,
            svr: 0xff,
            isr: [0; 8],
            tmr: [0; 8],
            irr: [0; 8],
            esr: 0,
            esr_next: 0,
            icr: 0,
            lvt: [lvt::MASK; lvt::COUNT],
            initial: 0,
            divide: 0,
            started: 0,
            due: None,
            deadline: 0,
        };
        apic.wire_bsp();
        apic
    }

    /// What INIT leaves: everything but the base register as at power-on.
    pub fn init(&mut self) {
        *self = Apic { base: self.base & !base::X2APIC, ..Apic::new(self.id) };
    }

    /// The BSP starts with its 8259 connected through LINT0, as PC firmware expects.
    fn wire_bsp(&mut self) {
        if self.id == 0 {
            self.lvt[lvt::LINT0] = delivery::EXTINT << 8;
        }
    }

    /// IA32_APIC_BASE.
    pub fn base(&self) -> u64 {
        self.base
    }
    /// Sets IA32_APIC_BASE; false if the change is not allowed.
    pub fn set_base(&mut self, v: u64) -> bool {
        let (en, x2) = (v & base::ENABLE != 0, v & base::X2APIC != 0);
        let was_x2 = self.x2apic();
        let reserved = v & !(base::BSP | base::X2APIC | base::ENABLE | 0xff_ffff_f000) != 0;
        let was_on = self.base & base::ENABLE != 0;
        if reserved || x2 && !en || was_x2 && en && !x2 || x2 && !was_on && !was_x2 {
            return false;
        }
        if !en && was_on {
            let keep = self.base;
            *self = Apic::new(self.id);
            self.base = keep;
        }
        self.base = v & !base::BSP | self.base & base::BSP;
        if x2 && !was_x2 {
            self.ldr = (self.id >> 4) << 16 | 1 << (self.id & 15);
        }
        true
    }
    /// Whether x2APIC mode is on.
    pub fn x2apic(&self) -> bool {
        self.base & base::X2APIC != 0
    }
    /// Whether the APIC is on at all.
    pub fn enabled(&self) -> bool {
        self.base & base::ENABLE != 0
    }
    fn software_enabled(&self) -> bool {
        self.svr & SVR_ENABLE != 0
    }

    /// Task priority, 0-255.
    pub fn tpr(&self) -> u8 {
        self.tpr
    }
    /// Sets it.
    pub fn set_tpr(&mut self, v: u8) {
        self.tpr = v;
    }
    fn ppr(&self) -> u8 {
        let isr = highest(&self.isr).unwrap_or(0);
        if self.tpr >> 4 >= isr >> 4 { self.tpr } else { isr & 0xf0 }
    }
    /// How busy it is, for lowest-priority delivery.
    pub fn priority(&self) -> u8 {
        self.ppr()
    }

    /// The vector that would be delivered now.
    pub fn pending(&self) -> Option<u8> {
        if !self.enabled() || !self.software_enabled() {
            return None;
        }
        highest(&self.irr).filter(|v| v >> 4 > self.ppr() >> 4)
    }
    /// Takes it into service.
    pub fn acknowledge(&mut self) -> Option<u8> {
        let v = self.pending()?;
        set_bit(&mut self.irr, v, false);
        set_bit(&mut self.isr, v, true);
        Some(v)
    }

    /// A fixed interrupt arrives.
    pub fn accept(&mut self, vector: u8, level: bool) {
        if !self.enabled() || !self.software_enabled() {
            return;
        }
        if vector < 16 {
            self.error(esr::RECEIVE_ILLEGAL);
            return;
        }
        set_bit(&mut self.irr, vector, true);
        set_bit(&mut self.tmr, vector, level);
    }

    fn error(&mut self, bit: u32) {
        let new = self.esr_next & bit == 0;
        self.esr_next |= bit;
        let entry = self.lvt[lvt::ERROR];
        let vector = entry as u8;
        if new && entry & lvt::MASK == 0 && vector >= 16 {
            self.accept(vector, false);
        }
    }

    /// Whether the 8259's INTR reaches the processor.
    pub fn takes_intr(&self) -> bool {
        let entry = self.lvt[lvt::LINT0];
        let extint = entry & lvt::MASK == 0 && entry >> 8 & 7 == delivery::EXTINT;
        !self.enabled() && self.base & base::BSP != 0 || extint
    }
    /// A rising edge of LINT0: delivers if it is programmed as a fixed interrupt. True if it did.
    pub fn intr_edge(&mut self) -> bool {
        let entry = self.lvt[lvt::LINT0];
        let fixed = entry & lvt::MASK == 0 && entry >> 8 & 7 == delivery::FIXED;
        if fixed && self.enabled() {
            self.accept(entry as u8, false);
        }
        fixed
    }
    /// Whether LINT1 makes an NMI.
    pub fn takes_nmi(&self) -> bool {
        let entry = self.lvt[lvt::LINT1];
        !self.enabled() || entry & lvt::MASK == 0 && entry >> 8 & 7 == delivery::NMI
    }

    /// Whether a message is for this APIC.
    pub fn matches(&self, message: &Message) -> bool {
        let dest = message.dest;
        if !self.enabled() {
            return false;
        }
        match (self.x2apic(), message.logical) {
            (true, false) => dest == self.id || dest == u32::MAX || dest == 0xff,
            (true, true) => {
                dest == u32::MAX
                    || dest >> 16 == self.ldr >> 16 && dest & self.ldr & 0xffff != 0
                    || dest == 0xff
            }
            (false, false) => dest & 0xff == self.id & 0xff || dest & 0xff == 0xff,
            (false, true) => {
                let (dest, ldr) = (dest as u8, (self.ldr >> 24) as u8);
                if self.dfr >> 28 == 0xf {
                    dest & ldr != 0
                } else {
                    dest == 0xff || dest >> 4 == ldr >> 4 && dest & ldr & 0xf != 0
                }
            }
        }
    }

    fn shift(&self) -> u32 {
        // Divide configuration: bits 0, 1 and 3 count from 2 to 128, all ones is 1.
        ((self.divide & 3 | self.divide >> 1 & 4) + 1) & 7
    }
    fn mode(&self) -> u32 {
        self.lvt[lvt::TIMER] >> 17 & 3
    }
    fn period(&self) -> u64 {
        (self.initial as u64) << self.shift()
    }
    fn current(&self, now: u64) -> u32 {
        if self.initial == 0 || self.mode() == 2 || self.due.is_none() {
            return 0;
        }
        let (gone, period) = (now.saturating_sub(self.started), self.period().max(1));
        // A one-shot count stops at zero, a periodic one begins anew.
        let gone = if self.mode() == 1 { gone % period } else { gone.min(period) };
        self.initial - (gone >> self.shift()) as u32
    }
    fn start_count(&mut self, now: u64) {
        self.started = now;
        self.due = (self.initial != 0 && self.mode() != 2).then(|| now.saturating_add(self.period()));
    }
    /// When somebody must call [`expire`](Apic::expire), in guest time: while the timer is masked, never. What it
    /// would have done is made up for at the next access to its registers.
    pub fn due(&self) -> Option<u64> {
        self.due.filter(|_| self.lvt[lvt::TIMER] & lvt::MASK == 0)
    }
    /// The deadline is reached. True if an interrupt was accepted.
    pub fn expire(&mut self, now: u64) -> bool {
        let Some(due) = self.due.filter(|due| *due <= now) else { return false };
        self.due = None;
        if self.mode() == 1 && self.initial != 0 {
            // Whole periods that were slept through are lost.
            let period = self.period().max(1);
            self.started = now - (now - due) % period;
            self.due = Some(self.started.saturating_add(period.max(FLOOR)));
        }
        if self.mode() == 2 {
            self.deadline = 0;
        }
        let entry = self.lvt[lvt::TIMER];
        if entry & lvt::MASK != 0 {
            return false;
        }
        self.accept(entry as u8, false);
        true
    }
    /// IA32_TSC_DEADLINE.
    pub fn deadline(&mut self, now: u64) -> u64 {
        self.expire(now);
        if self.mode() == 2 { self.deadline } else { 0 }
    }
    /// Sets it; `ahead` is what the TSC is ahead of guest time. One that is past fires at once.
    pub fn set_deadline(&mut self, tsc: u64, ahead: u64, now: u64) {
        if self.mode() != 2 {
            return;
        }
        self.expire(now);
        self.deadline = tsc;
        self.due = (tsc != 0).then(|| {
            let left = tsc.wrapping_sub(now.wrapping_add(ahead)) as i64;
            now.saturating_add(left.max(0) as u64)
        });
        self.expire(now);
    }

    /// Reads a register; none if there is no such one.
    pub fn read(&mut self, reg: u32, now: u64) -> Option<u64> {
        let x2 = self.x2apic();
        Some(match reg {
            ID if x2 => self.id as u64,
            ID => (self.id as u64) << 24,
            VERSION => VERSION_VALUE as u64,
            TPR => self.tpr as u64,
            APR if !x2 => 0,
            PPR => self.ppr() as u64,
            EOI if !x2 => 0,
            LDR => self.ldr as u64,
            DFR if !x2 => self.dfr as u64,
            SVR => self.svr as u64,
            ISR..=0x17 => self.isr[reg as usize & 7] as u64,
            TMR..=0x1f => self.tmr[reg as usize & 7] as u64,
            IRR..=0x27 => self.irr[reg as usize & 7] as u64,
            ESR => self.esr as u64,
            ICR if x2 => self.icr,
            ICR => self.icr & 0xffff_ffff,
            ICR_HIGH if !x2 => self.icr >> 32,
            LVT_TIMER..=LVT_ERROR => self.lvt[(reg - LVT_TIMER) as usize] as u64,
            INITIAL => self.initial as u64,
            CURRENT => {
                self.expire(now);
                self.current(now) as u64
            }
            DIVIDE => self.divide as u64,
            _ => return None,
        })
    }

    /// Writes a register.
    pub fn write(&mut self, reg: u32, v: u64, now: u64) -> Effect {
        let x2 = self.x2apic();
        let low = v as u32;
        if x2 && v & !x2apic_writable(reg) != 0 {
            return Effect::Illegal;
        }
        match reg {
            ID if !x2 => Effect::None,
            TPR => {
                self.tpr = low as u8;
                Effect::Check
            }
            EOI => self.end(),
            LDR if !x2 => {
                self.ldr = low & 0xff00_0000;
                Effect::None
            }
            DFR if !x2 => {
                self.dfr = low | 0x0fff_ffff;
                Effect::None
            }
            SVR => {
                self.svr = low & SVR_WRITABLE;
                if !self.software_enabled() {
                    self.expire(now);
                    self.lvt.iter_mut().for_each(|l| *l |= lvt::MASK);
                }
                Effect::Timer
            }
            ESR => {
                self.esr = std::mem::take(&mut self.esr_next);
                Effect::None
            }
            ICR => {
                self.icr = if x2 { v } else { self.icr & !0xffff_ffff | v & 0xffff_ffff } & !(1 << 12);
                let dest = if x2 { (v >> 32) as u32 } else { (self.icr >> 56) as u32 };
                Effect::Send(low, dest)
            }
            ICR_HIGH if !x2 => {
                self.icr = self.icr & 0xffff_ffff | v << 32;
                Effect::None
            }
            SELF_IPI if x2 => {
                self.accept(low as u8, false);
                Effect::Check
            }
            LVT_TIMER..=LVT_ERROR => self.write_lvt((reg - LVT_TIMER) as usize, low, now),
            INITIAL => {
                self.expire(now);
                self.initial = low;
                self.start_count(now);
                Effect::Timer
            }
            DIVIDE => {
                self.expire(now);
                self.divide = low & 0xb;
                if self.mode() != 2 && self.due.is_some() {
                    self.start_count(now);
                }
                Effect::Timer
            }
            VERSION | APR | PPR | CURRENT | ISR..=0x27 if !x2 => Effect::None,
            _ => Effect::Illegal,
        }
    }

    fn write_lvt(&mut self, n: usize, v: u32, now: u64) -> Effect {
        let mask = if self.software_enabled() { 0 } else { lvt::MASK };
        if n == lvt::TIMER {
            // What was due is by the old mode, vector and mask.
            self.expire(now);
        }
        let old = std::mem::replace(&mut self.lvt[n], v & lvt::WRITABLE[n] | mask);
        if n != lvt::TIMER {
            return Effect::Check;
        }
        if (old ^ v) >> 18 & 1 != 0 {
            // To or from deadlines: disarmed. Between one-shot and periodic the count goes on as it is.
            self.deadline = 0;
            self.due = None;
        }
        Effect::Timer
    }

    fn end(&mut self) -> Effect {
        let Some(v) = highest(&self.isr) else { return Effect::None };
        set_bit(&mut self.isr, v, false);
        let level = self.tmr[v as usize >> 5] >> (v & 31) & 1 != 0;
        Effect::End(level.then_some(v))
    }

    /// An access outside the registers.
    pub fn illegal(&mut self) {
        self.error(esr::ILLEGAL_REGISTER);
    }
    /// A message with a vector that does not exist was to be sent.
    pub fn illegal_send(&mut self) {
        self.error(esr::SEND_ILLEGAL);
    }
}
