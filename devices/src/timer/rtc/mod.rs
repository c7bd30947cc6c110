//! The MC146818A clock and its battery-backed RAM, at ports 0x70 and 0x71.
//!
//! After Motorola's data sheet; century register and defaults as QEMU's PC. Time is computed from guest
//! time when it is read. Not here: daylight saving (register B bit 0 is kept and does nothing), the square
//! wave output, a day of the week that the guest sets apart from the date, and the NMI mask in bit 7 of
//! the index port, since nothing here raises an NMI.

pub mod cmos;
mod date;
pub mod firmware;
pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::events::{DeviceEvent, Observer};
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError, Timer, Wake, Wiring};

use super::{nanoseconds, ticks};
use date::{Date, decode, decode_hour, encode, encode_hour};
use spec::*;
use state::Registers;

const KIND: &str = "mc146818";
const REGIONS: [Region; 1] = [Region::pio("ports", BASE, 2)];

impl Registers {
    fn get(&self, register: u8) -> u8 {
        self.bytes.get(usize::from(register & INDEX_MASK)).copied().unwrap_or(0)
    }

    fn put(&mut self, register: u8, value: u8) {
        if let Some(byte) = self.bytes.get_mut(usize::from(register & INDEX_MASK)) {
            *byte = value;
        }
    }

    fn divider_runs(&self) -> bool {
        self.get(A) & A_DIVIDER <= A_RUNS
    }

    /// Whether the time goes on.
    fn runs(&self) -> bool {
        self.divider_runs() && self.get(B) & B_SET == 0
    }

    /// Nanoseconds of guest time since `since`.
    fn elapsed(&self, now: u64) -> u64 {
        u64::try_from(i128::from(now) - i128::from(self.since)).unwrap_or(0)
    }

    fn seconds(&self, now: u64) -> i64 {
        self.base + (self.elapsed(now) / SECOND) as i64
    }

    /// Guest time at which second `second` begins.
    fn begin_of(&self, second: i64) -> u64 {
        let at = i128::from(second - self.base) * i128::from(SECOND) + i128::from(self.since);
        u64::try_from(at.max(0)).unwrap_or(u64::MAX)
    }

    /// Puts the running time into its registers.
    fn show(&mut self, now: u64) {
        let b = self.get(B);
        let date = Date::from_seconds(self.seconds(now));
        self.put(SECONDS, encode(b, date.second));
        self.put(MINUTES, encode(b, date.minute));
        self.put(HOURS, encode_hour(b, date.hour));
        self.put(WEEKDAY, encode(b, date.weekday));
        self.put(DAY, encode(b, date.day));
        self.put(MONTH, encode(b, date.month));
        self.put(YEAR, encode(b, date.year));
        self.put(CENTURY, encode(b, date.year.div_euclid(100)));
    }

    /// Lets the time go on from its registers. `fraction`: nanoseconds of the second that are over.
    fn start(&mut self, now: u64, fraction: u64) {
        let b = self.get(B);
        let date = Date {
            year: decode(b, self.get(CENTURY)) * 100 + decode(b, self.get(YEAR)),
            month: decode(b, self.get(MONTH)),
            day: decode(b, self.get(DAY)),
            hour: decode_hour(b, self.get(HOURS)),
            minute: decode(b, self.get(MINUTES)),
            second: decode(b, self.get(SECONDS)),
            weekday: 0,
        };
        self.base = date.to_seconds();
        self.checked = self.base;
        self.since = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(fraction as i64);
    }

    /// The first second after `after` that the alarm registers match, within a day or two.
    fn next_alarm(&self, after: i64) -> Option<i64> {
        let b = self.get(B);
        let field = |register: u8, of: fn(u8, u8) -> i64| {
            let value = self.get(register);
            (value < ANY).then(|| of(b, value))
        };
        let hour = field(HOURS_ALARM, decode_hour);
        let (minute, second) = (field(MINUTES_ALARM, decode), field(SECONDS_ALARM, decode));
        let mut at = after + 1;
        // At most 24 steps by hours, 60 by minutes and 60 by seconds, twice over.
        for _ in 0..300 {
            let day = at.rem_euclid(86_400);
            let step = if hour.is_some_and(|hour| hour != day / 3600) {
                3600
            } else if minute.is_some_and(|minute| minute != day / 60 % 60) {
                60
            } else if second.is_some_and(|second| second != day % 60) {
                1
            } else {
                return Some(at);
            };
            at += step - at.rem_euclid(step);
        }
        None
    }

    /// Raises the flags of all that happened up to `now`.
    fn settle(&mut self, now: u64) {
        let mut flags = 0;
        if self.runs() {
            let seconds = self.seconds(now);
            if seconds > self.checked {
                flags |= C_UF;
                if self.next_alarm(self.checked).is_some_and(|alarm| alarm <= seconds) {
                    flags |= C_AF;
                }
                self.checked = seconds;
            }
        }
        let tick = ticks(now, HERTZ);
        let period = period(self.get(A));
        if period != 0 && self.divider_runs() && tick / period > self.ticked / period {
            flags |= C_PF;
        }
        self.ticked = tick;
        self.put(C, self.get(C) | flags);
    }

    /// Whether the interrupt line is up.
    fn interrupts(&self) -> bool {
        self.get(C) & self.get(B) & (C_PF | C_AF | C_UF) != 0
    }

    /// When the next interrupt comes.
    fn next_interrupt(&self, now: u64) -> Option<u64> {
        let b = self.get(B);
        let period = period(self.get(A));
        let tick = ticks(now, HERTZ);
        let periodic = (b & B_PIE != 0 && period != 0 && self.divider_runs())
            .then(|| nanoseconds((tick / period.max(1) + 1).saturating_mul(period), HERTZ));
        let update = (b & B_UIE != 0 && self.runs()).then(|| self.begin_of(self.checked + 1));
        let alarm = (b & B_AIE != 0 && self.runs()).then(|| self.next_alarm(self.checked)).flatten();
        let alarm = alarm.map(|second| self.begin_of(second));
        [periodic, update, alarm].into_iter().flatten().min()
    }

    fn read(&mut self, now: u64) -> u8 {
        match self.index {
            SECONDS | MINUTES | HOURS | WEEKDAY | DAY | MONTH | YEAR | CENTURY | CENTURY_PS2 => {
                if self.runs() {
                    self.show(now);
                }
                self.get(if self.index == CENTURY_PS2 { CENTURY } else { self.index })
            }
            A => {
                let ahead = self.elapsed(now) % SECOND >= SECOND - UIP_AHEAD;
                self.get(A) & !A_UIP | if self.runs() && ahead { A_UIP } else { 0 }
            }
            C => {
                let flags = self.get(C);
                let irq = if self.interrupts() { C_IRQF } else { 0 };
                self.put(C, 0);
                flags | irq
            }
            index => self.get(index),
        }
    }

    /// Writes the register that the index chooses. True when the clock goes on from another time by it.
    fn write(&mut self, value: u8, now: u64) -> bool {
        let fraction = self.elapsed(now) % SECOND;
        match self.index {
            SECONDS | MINUTES | HOURS | WEEKDAY | DAY | MONTH | YEAR | CENTURY | CENTURY_PS2 => {
                let ran = self.runs();
                if ran {
                    self.show(now);
                }
                self.put(if self.index == CENTURY_PS2 { CENTURY } else { self.index }, value);
                if ran {
                    self.start(now, fraction);
                }
                return ran;
            }
            A => {
                let held = !self.divider_runs();
                let set = self.change(A, value & !A_UIP, now, if held { SECOND / 2 } else { fraction });
                if held && self.divider_runs() && !self.runs() {
                    // The divider's phase does not depend on the set bit: it goes on from here.
                    self.since = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(SECOND as i64 / 2);
                }
                return set;
            }
            // Setting the time ends update interrupts.
            B if value & B_SET != 0 => return self.change(B, value & !B_UIE, now, fraction),
            B => return self.change(B, value, now, fraction),
            C | D => {}
            index => self.put(index, value),
        }
        false
    }

    /// Writes register A or B; the clock may stop or start by it. True when it starts.
    fn change(&mut self, register: u8, value: u8, now: u64, fraction: u64) -> bool {
        let ran = self.runs();
        if ran {
            self.show(now);
        }
        self.put(register, value);
        let starts = !ran && self.runs();
        if starts {
            self.start(now, fraction);
        }
        starts
    }
}

/// The clock.
pub struct Rtc {
    registers: Registers,
    irq: IrqLine,
    timer: Timer,
    wiring: Wiring,
    observer: Option<Arc<dyn Observer>>,
}

impl Rtc {
    /// A clock that shows `seconds` since 1970 now and raises `irq` (IRQ 8). For a clock in local time
    /// the machine adds the zone's offset.
    pub fn new(wiring: &Wiring, irq: IrqLine, seconds: i64) -> Rtc {
        let now = wiring.now();
        let since = i64::try_from(now).unwrap_or(i64::MAX);
        // Within 30000 years of 1970, so that no later sum overflows.
        let base = seconds.clamp(-1_000_000_000_000, 1_000_000_000_000);
        let ticked = ticks(now, HERTZ);
        let registers = Registers { base, since, checked: base, ticked, ..Registers::default() };
        Rtc { registers, irq, timer: wiring.timer(0), wiring: wiring.clone(), observer: None }
    }

    /// Has `observer` told when the guest sets the time.
    #[must_use]
    pub fn observed(self, observer: Arc<dyn Observer>) -> Rtc {
        Rtc { observer: Some(observer), ..self }
    }

    /// What the clock shows, in seconds since 1970; while it stands, where it would go on from.
    pub fn seconds(&self) -> i64 {
        let mut registers = self.registers.clone();
        let now = self.wiring.now();
        if !registers.runs() {
            registers.start(now, 0);
        }
        registers.seconds(now)
    }

    /// Sets a byte of RAM, 0x0e to 0x7f, as firmware of an earlier boot would have left it. Lower ones
    /// are the clock's own and are not changed.
    pub fn set(&mut self, index: u8, value: u8) {
        if index > D && usize::from(index) < SIZE {
            self.registers.put(index, value);
        }
    }

    /// A byte of RAM.
    pub fn get(&self, index: u8) -> u8 {
        self.registers.get(index)
    }

    /// Drives the line and arms the next interrupt. None is waited for while one is up: what happens
    /// until the guest reads register C is seen then.
    fn follow(&mut self) {
        let up = self.registers.interrupts();
        self.irq.set(up);
        match self.registers.next_interrupt(self.wiring.now()) {
            Some(at) if !up => self.timer.arm(at),
            _ => self.timer.cancel(),
        }
    }
}

impl Device for Rtc {
    fn name(&self) -> &str {
        "rtc"
    }

    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        if at.offset == 0 {
            return Io::Unclaimed;
        }
        let now = self.wiring.now();
        self.registers.settle(now);
        let value = self.registers.read(now);
        self.follow();
        data.fill(value);
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let Some(&value) = data.first() else { return Io::Done };
        if at.offset == 0 {
            self.registers.index = value & INDEX_MASK;
            return Io::Done;
        }
        let now = self.wiring.now();
        self.registers.settle(now);
        let set = self.registers.write(value, now);
        self.follow();
        if let (true, Some(observer)) = (set, &self.observer) {
            observer.observe(DeviceEvent::ClockSet { seconds: self.registers.seconds(now) });
        }
        Io::Done
    }

    fn wake(&mut self, _why: Wake) {
        self.registers.settle(self.wiring.now());
        self.follow();
    }

    /// The battery keeps time and RAM; interrupts end (data sheet, "Reset").
    fn reset(&mut self) {
        let b = self.registers.get(B);
        self.registers.put(B, b & !(B_PIE | B_AIE | B_UIE | B_SQWE));
        self.registers.put(C, 0);
        self.follow();
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode(KIND, 1, &self.registers)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let registers: Registers = saved.decode(KIND, 1)?;
        registers.check()?;
        self.registers = registers;
        self.follow();
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        let date = Date::from_seconds(self.registers.seconds(self.wiring.now()));
        let Date { year, month, day, hour, minute, second, .. } = date;
        node.value("time", format_args!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"));
        node.value("runs", self.registers.runs()).value("irq", self.irq.level());
        for (name, register) in [("a", A), ("b", B), ("c", C)] {
            node.hex(name, self.registers.get(register));
        }
    }
}
