//! One counter. Time is in ticks of the input clock.

use super::spec::{STATUS_NULL, STATUS_OUT};
use super::state::{Counter, Run};

/// Goes on for ever.
fn periodic(mode: u8) -> bool {
    matches!(mode, 2 | 3)
}

/// Starts at a rise of its gate.
fn triggered(mode: u8) -> bool {
    matches!(mode, 1 | 5)
}

impl Counter {
    /// As QEMU's PC has it at power-on: square waves of the longest period.
    pub fn power_on(gate: bool, now: u64) -> Counter {
        let run = if gate { Run::Since(now) } else { Run::Held(0) };
        Counter { mode: 3, access: 3, gate, reload: 0x1_0000, count: 0x1_0000, run, ..Counter::default() }
    }

    pub fn control(&mut self, mode: u8, access: u8, bcd: bool) {
        let count = self.count;
        *self = Counter { mode, access, bcd, count, gate: self.gate, ..Counter::default() };
    }

    /// Takes over a new count whose time has come.
    pub fn settle(&mut self, now: u64) {
        if let Some(switch) = self.switch.filter(|&switch| now >= switch) {
            self.switch = None;
            self.count = self.reload.max(1);
            self.run = Run::Since(switch);
        }
    }

    /// Ticks since the load; None before it.
    fn elapsed(&self, now: u64) -> Option<u64> {
        match self.run {
            Run::Idle => None,
            Run::Since(since) => Some(now.saturating_sub(since)),
            Run::Held(elapsed) => Some(elapsed),
        }
    }

    /// The period of modes 2 and 3, for which a count of 1 is not allowed.
    fn period(&self) -> u64 {
        u64::from(self.count.max(2))
    }

    /// Level of OUT.
    pub fn out(&self, now: u64) -> bool {
        let Some(elapsed) = self.elapsed(now) else { return self.mode != 0 };
        let period = self.period();
        match self.mode {
            0 | 1 => elapsed >= u64::from(self.count),
            2 | 3 if !self.gate => true,
            2 => elapsed % period != period - 1,
            3 => elapsed % period < period.div_ceil(2),
            _ => elapsed != u64::from(self.count),
        }
    }

    /// Whether OUT rose in (`seen`, `now`].
    pub fn rose(&self, seen: u64, now: u64) -> bool {
        let Run::Since(since) = self.run else { return false };
        let (from, to) = (seen.saturating_sub(since), now.saturating_sub(since));
        let passes = |at: u64| from < at && at <= to;
        match self.mode {
            0 | 1 => passes(self.count.into()),
            2 | 3 => from / self.period() < to / self.period(),
            _ => passes(u64::from(self.count) + 1),
        }
    }

    /// When the interrupt line has to be looked at next. The low tick of modes 2, 4 and 5 is left to the
    /// rise after it.
    pub fn next_change(&self, now: u64) -> Option<u64> {
        let Run::Since(since) = self.run else { return None };
        let elapsed = now.saturating_sub(since);
        let period = self.period();
        let phase = elapsed % period;
        let next = match self.mode {
            0 | 1 => Some(self.count.into()).filter(|&end| elapsed < end),
            2 => Some(elapsed - phase + period),
            3 if phase < period.div_ceil(2) => Some(elapsed - phase + period.div_ceil(2)),
            3 => Some(elapsed - phase + period),
            _ => Some(u64::from(self.count) + 1).filter(|&end| elapsed < end),
        };
        next.map(|elapsed| since.saturating_add(elapsed))
    }

    /// Whether it goes on for ever with changes less than `ticks` apart: mode 3 has two in a period.
    pub fn faster_than(&self, ticks: u64) -> bool {
        let apart = if self.mode == 3 { self.period() / 2 } else { self.period() };
        periodic(self.mode) && apart < ticks
    }

    /// What the counting element holds.
    fn value(&self, now: u64) -> u16 {
        let elapsed = self.elapsed(now).unwrap_or(0);
        let count = u64::from(self.count);
        let period = self.period();
        let modulus = if self.bcd { 10_000 } else { 0x1_0000 };
        let value = match self.mode {
            2 => period - elapsed % period,
            3 => {
                let half = period.div_ceil(2);
                let phase = elapsed % period;
                let into = if phase < half { phase } else { phase - half };
                (period & !1).saturating_sub(2 * into)
            }
            _ => count + modulus * 2 - elapsed % modulus,
        };
        let value = (value % modulus) as u16;
        if self.bcd { to_bcd(value) } else { value }
    }

    fn status(&self, now: u64) -> u8 {
        // The count of modes 1 and 5 waits for its trigger.
        let null = self.switch.is_some() || self.reload != self.count || self.run == Run::Idle;
        let out = if self.out(now) { STATUS_OUT } else { 0 };
        let null = if null { STATUS_NULL } else { 0 };
        out | null | self.access << 4 | self.mode << 1 | u8::from(self.bcd)
    }

    /// Keeps the count for reading, unless one is kept.
    pub fn latch_count(&mut self, now: u64) {
        self.latch.get_or_insert(self.value(now));
    }

    /// Keeps the status for reading, unless one is kept.
    pub fn latch_status(&mut self, now: u64) {
        let status = self.status(now);
        self.status.get_or_insert(status);
    }

    pub fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let [low, high] = self.latch.unwrap_or_else(|| self.value(now)).to_le_bytes();
        let first_of_two = self.access == 3 && !self.read_high;
        self.read_high = first_of_two;
        if first_of_two {
            return low;
        }
        self.latch = None;
        if self.access == 1 { low } else { high }
    }

    pub fn write(&mut self, value: u8, now: u64) {
        match self.access {
            1 => self.load(u16::from(value), now),
            2 => self.load(u16::from(value) << 8, now),
            _ => match self.low.take() {
                None => {
                    self.low = Some(value);
                    // The first byte stops mode 0 (82C54, "Mode 0").
                    if self.mode == 0 {
                        self.run = Run::Idle;
                    }
                }
                Some(low) => self.load(u16::from_le_bytes([low, value]), now),
            },
        }
    }

    fn load(&mut self, written: u16, now: u64) {
        let binary = if self.bcd { from_bcd(written) } else { written.into() };
        let full = if self.bcd { 10_000 } else { 0x1_0000 };
        self.reload = if binary == 0 { full } else { binary };
        if triggered(self.mode) {
            return;
        }
        if let (true, Run::Since(since)) = (periodic(self.mode), self.run) {
            let elapsed = now.saturating_sub(since);
            let end = elapsed - elapsed % self.period() + self.period();
            self.switch = Some(since.saturating_add(end));
            return;
        }
        self.count = self.reload;
        // The counter is loaded by the next clock after the write.
        self.run = if self.gate { Run::Since(now.saturating_add(1)) } else { Run::Held(0) };
    }

    pub fn set_gate(&mut self, gate: bool, now: u64) {
        if self.gate == gate {
            return;
        }
        self.gate = gate;
        let next = now.saturating_add(1);
        match self.mode {
            1 | 5 if gate && self.reload != 0 => {
                self.count = self.reload;
                self.run = Run::Since(next);
            }
            1 | 5 => {}
            2 | 3 if gate && self.run != Run::Idle => {
                self.count = self.reload.max(1);
                self.run = Run::Since(next);
            }
            _ => match self.run {
                Run::Since(_) if !gate => {
                    self.run = Run::Held(self.elapsed(now).unwrap_or(0));
                    self.switch = None;
                }
                Run::Held(elapsed) if gate => self.run = Run::Since(next.saturating_sub(elapsed)),
                _ => {}
            },
        }
    }
}

fn to_bcd(value: u16) -> u16 {
    let digit = |power: u16| value / power % 10;
    digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)
}

/// Digits above 9 count as they would in the chip's decade counters: by their weight.
fn from_bcd(value: u16) -> u32 {
    [12, 8, 4, 0].iter().fold(0, |sum, shift| sum * 10 + u32::from(value >> shift & 15))
}
