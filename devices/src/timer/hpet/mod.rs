//! The high precision event timers: a 64-bit counter of 10 ns ticks and three comparators.
//!
//! After "IA-PC HPET Specification" 1.0a; periods, routes and the treatment of a comparator in the past
//! (a 64-bit one matches at once, a 32-bit one after the counter has wrapped) as in QEMU's `pc-i440fx`.
//! Not here: interrupts as messages (FSB), which the capabilities do not announce; a match that lies
//! beyond the wrap of the 64-bit counter; writes to the counter while it runs.

pub mod legacy;
pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::irq::{IrqBank, IrqLine};
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError, Timer, Wake, Wiring};

use super::SHORTEST;
use legacy::Legacy;
use spec::*;
use state::{Comparator, Registers};

const KIND: &str = "hpet";
const REGIONS: [Region; 1] = [Region::mmio("registers", BASE, SIZE).widest(8)];

impl Comparator {
    fn is(&self, bit: u64) -> bool {
        self.config & bit != 0
    }

    fn narrow(&self, value: u64) -> u64 {
        if self.is(T_32) { value & 0xffff_ffff } else { value }
    }

    /// Looks for the next match from `counter` on.
    fn aim(&mut self, counter: u64) {
        let due = if self.is(T_32) {
            let due = counter & !0xffff_ffff | self.value;
            if due < counter { due.checked_add(1 << 32) } else { Some(due) }
        } else {
            Some(self.value)
        };
        self.due = due;
    }

    /// Whether it matched up to `counter`; then it is aimed anew.
    fn matched(&mut self, counter: u64) -> bool {
        let Some(due) = self.due.filter(|&due| due <= counter) else { return false };
        let step = match (self.is(T_PERIODIC), self.is(T_32)) {
            (true, _) if self.period != 0 => self.period,
            (_, true) => 1 << 32,
            _ => 0,
        };
        let steps = (counter - due).checked_div(step).map_or(0, |steps| steps + 1);
        if self.is(T_PERIODIC) {
            self.value = self.narrow(self.value.wrapping_add(step.wrapping_mul(steps)));
        }
        // A match beyond the end of the counter never comes.
        let ahead = step.checked_mul(steps).and_then(|ahead| due.checked_add(ahead));
        self.due = ahead.filter(|&due| due > counter);
        true
    }

    fn configure(&mut self, value: u64) {
        self.config = value & T_WRITABLE | self.config & !T_WRITABLE;
        self.value = self.narrow(self.value);
        self.period = self.narrow(self.period);
    }

    /// A comparator write of some of its bytes.
    fn compare(&mut self, value: u64, mask: u64) {
        if !self.is(T_PERIODIC) || self.is(T_SET) {
            self.value = self.narrow(self.value & !mask | value & mask);
        }
        if self.is(T_PERIODIC) {
            self.period = self.narrow(self.period & !mask | value & mask);
        }
        self.config &= !T_SET;
    }
}

/// Which register of a timer an offset is, and of which timer.
fn timer_at(offset: u64) -> Option<(usize, u64)> {
    let offset = offset.checked_sub(TIMER)?;
    let number = (offset / TIMER_STRIDE) as usize;
    (number < TIMERS).then_some((number, offset % TIMER_STRIDE))
}

impl Registers {
    fn runs(&self) -> bool {
        self.config & RUN != 0
    }

    fn counter(&self, now: u64) -> u64 {
        if self.runs() { self.counter.wrapping_add(now / TICK) } else { self.counter }
    }

    fn read(&self, offset: u64, now: u64) -> u64 {
        match offset {
            CAPS => CAPABILITIES,
            CONFIG => self.config,
            STATUS => self.status,
            COUNTER => self.counter(now),
            _ => match timer_at(offset).and_then(|(n, register)| Some((self.timers.get(n)?, register))) {
                Some((timer, 0)) => timer.config,
                Some((timer, 8)) => timer.value,
                _ => 0,
            },
        }
    }

    fn configure(&mut self, value: u64, now: u64) {
        let ran = self.runs();
        let counter = self.counter(now);
        self.config = value & (RUN | LEGACY);
        match (ran, self.runs()) {
            (false, true) => {
                self.counter = counter.wrapping_sub(now / TICK);
                self.timers.iter_mut().for_each(|timer| timer.aim(counter));
            }
            (true, false) => {
                self.counter = counter;
                self.timers.iter_mut().for_each(|timer| timer.due = None);
            }
            _ => {}
        }
    }

    /// Whether timer `number` holds its line up.
    fn level(&self, number: usize, timer: &Comparator) -> bool {
        self.runs() && timer.is(T_LEVEL) && timer.is(T_ENABLE) && self.status >> number & 1 != 0
    }
}

/// Where a timer's interrupt goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Route {
    #[default]
    Nowhere,
    Legacy(u32),
    Gsi(u32),
}

/// A timer's wiring.
struct Output {
    route: Route,
    line: IrqLine,
    timer: Timer,
}

/// The timers.
pub struct Hpet {
    registers: Registers,
    outputs: [Output; TIMERS],
    gsi: IrqBank,
    legacy: Arc<Legacy>,
    replacements: IrqBank,
    wiring: Wiring,
}

impl Hpet {
    /// Timers that are routed to `gsi`, two of which may replace what passes `legacy`.
    pub fn new(wiring: &Wiring, gsi: IrqBank, legacy: Arc<Legacy>) -> Hpet {
        let output = |number| Output {
            route: Route::Nowhere,
            line: IrqLine::unconnected(),
            timer: wiring.timer(number),
        };
        let outputs = [output(0), output(1), output(2)];
        let replacements = legacy.timers();
        let registers = Registers::default();
        Hpet { registers, outputs, gsi, legacy, replacements, wiring: wiring.clone() }
    }

    /// Makes the interrupts of all matches so far.
    fn settle(&mut self, now: u64) {
        if !self.registers.runs() {
            return;
        }
        let counter = self.registers.counter(now);
        for (number, output) in self.outputs.iter_mut().enumerate() {
            let Some(timer) = self.registers.timers.get_mut(number) else { return };
            if !timer.matched(counter) {
                continue;
            }
            if timer.is(T_LEVEL) {
                // The status shows a match even when the interrupt is off.
                self.registers.status |= 1 << number;
            } else if timer.is(T_ENABLE) {
                output.line.pulse();
            }
        }
        self.follow(now);
    }

    /// Routes and drives the lines and arms the next matches.
    fn follow(&mut self, now: u64) {
        let counter = self.registers.counter(now);
        let legacy = self.registers.config & LEGACY != 0;
        for (number, output) in self.outputs.iter_mut().enumerate() {
            let Some(timer) = self.registers.timers.get(number) else { return };
            let route = match number {
                0 | 1 if legacy => Route::Legacy(number as u32),
                _ => Route::Gsi(route(timer.config)),
            };
            if output.route != route {
                output.route = route;
                output.line = match route {
                    Route::Nowhere => IrqLine::unconnected(),
                    Route::Legacy(pin) => self.replacements.line(pin),
                    Route::Gsi(pin) => self.gsi.line(pin),
                };
            }
            output.line.set(self.registers.level(number, timer));
            // A match whose interrupt is off is seen in registers alone, and made up for when these are read. Linux leaves
            // timer 0 periodic when it has found a better one.
            let seen = self.registers.runs() && timer.is(T_ENABLE);
            let Some(due) = timer.due.filter(|_| seen) else {
                output.timer.cancel();
                continue;
            };
            let wait = due.saturating_sub(counter);
            let at = (now / TICK).saturating_add(wait).saturating_mul(TICK);
            let fast = timer.is(T_PERIODIC) && timer.period < SHORTEST / TICK;
            output.timer.arm(if fast { at.max(now.saturating_add(SHORTEST)) } else { at });
        }
    }

    /// Writes the bytes of `value` that `mask` has into the register at `offset`.
    fn put(&mut self, offset: u64, value: u64, mask: u64, now: u64) {
        let registers = &mut self.registers;
        let merge = |old: u64| old & !mask | value & mask;
        match offset {
            CONFIG => {
                registers.configure(merge(registers.config), now);
                self.legacy.replace(registers.config & LEGACY != 0);
            }
            STATUS => registers.status &= !(value & mask),
            COUNTER if !registers.runs() => registers.counter = merge(registers.counter),
            _ => {
                let (runs, counter) = (registers.runs(), registers.counter(now));
                let Some((number, register)) = timer_at(offset) else { return };
                let Some(timer) = registers.timers.get_mut(number) else { return };
                match register {
                    0 => timer.configure(merge(timer.config)),
                    8 => timer.compare(value, mask),
                    _ => return,
                }
                let again = register == 8 || timer.due.is_some();
                if runs && again {
                    timer.aim(counter);
                }
            }
        }
    }
}

impl Device for Hpet {
    fn name(&self) -> &str {
        "hpet"
    }

    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let now = self.wiring.now();
        self.settle(now);
        let value = self.registers.read(at.offset & !7, now).to_le_bytes();
        let shift = (at.offset & 7) as usize;
        for (to, from) in data.iter_mut().zip(value.iter().skip(shift).chain(std::iter::repeat(&0))) {
            *to = *from;
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        // Registers are written by halves or whole.
        let shift = 8 * (at.offset & 7) as u32;
        let mask = match (data.len(), shift) {
            (8, 0) => u64::MAX,
            (4, 0 | 32) => 0xffff_ffff << shift,
            _ => return Io::Done,
        };
        let mut value = [0; 8];
        for (to, from) in value.iter_mut().zip(data) {
            *to = *from;
        }
        let now = self.wiring.now();
        self.settle(now);
        self.put(at.offset & !7, u64::from_le_bytes(value) << shift, mask, now);
        self.follow(now);
        // A comparator may lie in the past already.
        self.settle(now);
        Io::Done
    }

    fn wake(&mut self, _why: Wake) {
        self.settle(self.wiring.now());
    }

    fn reset(&mut self) {
        self.registers = Registers::default();
        self.follow(self.wiring.now());
        self.legacy.replace(false);
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode(KIND, 1, &self.registers)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let registers: Registers = saved.decode(KIND, 1)?;
        registers.check()?;
        self.registers = registers;
        // The levels before the switch: turned first, it would pulse IRQ 0 and 8 low.
        self.follow(self.wiring.now());
        self.legacy.replace(self.registers.config & LEGACY != 0);
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        let registers = &self.registers;
        node.hex("config", registers.config).hex("status", registers.status);
        node.hex("counter", registers.counter(self.wiring.now()));
        for (number, timer) in registers.timers.iter().enumerate() {
            let node = node.child(&format!("timer{number}"));
            node.hex("config", timer.config).hex("comparator", timer.value).hex("period", timer.period);
        }
    }
}
