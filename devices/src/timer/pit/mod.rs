//! The 8254 interval timer and port 0x61, through which the PC gates and watches its counter 2.
//!
//! After "82C54 CHMOS Programmable Interval Timer" (Intel 231244). Counter 0 drives IRQ 0. Before it is set up,
//! which the data sheet leaves undefined, its output is low, so that no interrupt is pending at power-on.
//!
//! Firmware sets counter 0 to 18.2 Hz. An operating system with a better timer masks IRQ 0 and leaves the counter as it
//! is: while the interrupt controllers lose its edges none is made, and nobody wakes for it.
//!
//! Not here: in mode 3 a new count begins with the next period, not with the next half; the parity and channel check
//! bits of port 0x61 read as zero, as in QEMU.

mod counter;
pub mod model;
mod speaker;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};

use devices_core::audio::AudioBackend;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError, Timer, Wake, Wiring};

use super::{SHORTEST, nanoseconds, ticks};
use speaker::{Sound, Speaker};
use spec::*;
use state::{Chip, Counter};

const KIND: &str = "i8254";
const REGIONS: [Region; 2] = [Region::pio("counters", BASE, 4), Region::pio("port-b", PORT_B, 1)];

/// The timer.
pub struct Pit {
    chip: Chip,
    irq: IrqLine,
    timer: Timer,
    wiring: Wiring,
    /// The controllers lose what counter 0 says. Its line is left high then, so that no edge is made when that ends
    /// but those that are due.
    unheard: bool,
    /// Who hears the speaker.
    speaker: Option<Speaker>,
}

/// Number of the timer that looks after the speaker.
const SPEAKER_TIMER: u32 = 2;

impl Pit {
    /// A timer whose counter 0 drives `irq`.
    pub fn new(wiring: &Wiring, irq: IrqLine) -> Pit {
        let wake = Mutex::new((wiring.timer(1), wiring.clone()));
        irq.on_unmask(Arc::new(move || {
            let mut wake = wake.lock().unwrap_or_else(PoisonError::into_inner);
            let (timer, wiring) = &mut *wake;
            timer.arm(wiring.now());
        }));
        let (timer, wiring) = (wiring.timer(0), wiring.clone());
        let mut pit = Pit { chip: Chip::default(), irq, timer, wiring, unheard: false, speaker: None };
        pit.reset();
        pit
    }

    /// The same, whose speaker is heard there.
    pub fn with_speaker(self, backend: Arc<dyn AudioBackend>) -> Pit {
        let timer = self.wiring.timer(SPEAKER_TIMER);
        Pit { speaker: Some(Speaker { backend, timer }), ..self }
    }

    /// What the speaker has made up to now is played.
    fn sound(&mut self) {
        let Pit { chip, wiring, speaker: Some(speaker), .. } = self else { return };
        let [_, _, counter] = &chip.counters;
        if let Some(sound) = &mut chip.sound {
            speaker.play(sound, wiring.now(), counter, chip.speaker);
        }
    }

    /// A program has touched what moves the speaker, or it is time to look: it begins, goes on or ends.
    fn settle_speaker(&mut self, touched: bool) {
        let Pit { chip, wiring, speaker: Some(speaker), .. } = self else { return };
        let now = wiring.now();
        let [_, _, counter] = &chip.counters;
        match &mut chip.sound {
            None if chip.speaker => {
                chip.sound = Some(Sound::start(now));
                speaker.timer.arm(Sound::alarm(now));
            }
            None => {}
            Some(sound) if touched => sound.touch(now),
            Some(sound) if sound.has_ended(now, counter, chip.speaker) => {
                chip.sound = None;
                speaker.backend.stop(0);
                speaker.timer.cancel();
            }
            Some(_) => speaker.timer.arm(Sound::alarm(now)),
        }
    }

    fn now(&self) -> u64 {
        ticks(self.wiring.now(), HERTZ)
    }

    /// Brings all counters and the interrupt line to the present.
    fn settle(&mut self, now: u64) {
        let [counter, others @ ..] = &mut self.chip.counters;
        let rose = counter.rose(self.chip.seen, now);
        counter.settle(now);
        others.iter_mut().for_each(|other| other.settle(now));
        self.chip.seen = now;
        if rose && !self.chip.silent && !self.unheard {
            self.irq.set(false);
            self.irq.set(true);
        }
        self.follow(now);
    }

    /// Drives the interrupt line and arms its next change.
    fn follow(&mut self, now: u64) {
        if self.chip.silent {
            self.irq.set(false);
            return self.timer.cancel();
        }
        self.unheard = self.irq.is_masked();
        if self.unheard {
            self.irq.set(true);
            return self.timer.cancel();
        }
        let [counter, ..] = &self.chip.counters;
        self.irq.set(counter.out(now));
        let next = counter.next_change(now).map(|tick| nanoseconds(tick, HERTZ));
        match next {
            Some(at) if counter.faster_than(ticks(SHORTEST, HERTZ) + 1) => {
                self.timer.arm(at.max(self.wiring.now().saturating_add(SHORTEST)));
            }
            Some(at) => self.timer.arm(at),
            None => self.timer.cancel(),
        }
    }

    fn control(&mut self, value: u8, now: u64) {
        let selected = select(value);
        if let Some(counter) = self.chip.counters.get_mut(selected) {
            match access(value) {
                0 => counter.latch_count(now),
                access => {
                    counter.control(mode(value), access, value & BCD != 0);
                    self.chip.silent &= selected != 0;
                }
            }
            return;
        }
        for (number, counter) in self.chip.counters.iter_mut().enumerate() {
            if value >> (number + 1) & 1 == 0 {
                continue;
            }
            if value & NO_COUNT == 0 {
                counter.latch_count(now);
            }
            if value & NO_STATUS == 0 {
                counter.latch_status(now);
            }
        }
    }

    fn port_b(&self, now: u64) -> u8 {
        let [_, _, counter] = &self.chip.counters;
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        bit(counter.gate, GATE2)
            | bit(self.chip.speaker, SPEAKER)
            | bit((now / REFRESH_TICKS) & 1 != 0, REFRESH)
            | bit(counter.out(now), OUT2)
    }
}

impl Device for Pit {
    fn name(&self) -> &str {
        "pit"
    }

    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let now = self.now();
        self.settle(now);
        let value = match at.region {
            0 => self.chip.counters.get_mut(at.offset as usize).map_or(0, |counter| counter.read(now)),
            _ => self.port_b(now),
        };
        data.fill(value);
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let Some(&value) = data.first() else { return Io::Done };
        self.sound();
        let now = self.now();
        self.settle(now);
        match (at.region, at.offset) {
            (0, CONTROL) => self.control(value, now),
            (0, counter) => {
                self.chip.silent &= counter != 0;
                if let Some(counter) = self.chip.counters.get_mut(counter as usize) {
                    counter.write(value, now);
                }
            }
            _ => {
                self.chip.speaker = value & SPEAKER != 0;
                let [_, _, counter] = &mut self.chip.counters;
                counter.set_gate(value & GATE2 != 0, now);
            }
        }
        self.settle_speaker(true);
        self.follow(now);
        Io::Done
    }

    fn wake(&mut self, why: Wake) {
        if why == Wake::Timer(SPEAKER_TIMER) {
            self.sound();
            self.settle_speaker(false);
        }
        let now = self.now();
        self.settle(now);
    }

    fn reset(&mut self) {
        let now = self.now();
        if let (Some(speaker), Some(_)) = (&mut self.speaker, self.chip.sound) {
            speaker.backend.stop(0);
            speaker.timer.cancel();
        }
        let counters = [true, true, false].map(|gate| Counter::power_on(gate, now));
        self.chip = Chip { counters, seen: now, silent: true, ..Chip::default() };
        self.irq.set(false);
        self.follow(now);
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        self.chip.irq = self.irq.level();
        if self.unheard {
            self.chip.seen = self.now();
        }
        Saved::encode(KIND, 1, &self.chip)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let chip: Chip = saved.decode(KIND, 1)?;
        chip.check()?;
        self.irq.set(chip.irq);
        self.chip = chip;
        self.unheard = false;
        match &mut self.speaker {
            Some(speaker) if self.chip.sound.is_some() => speaker.timer.arm(self.wiring.now()),
            Some(_) => {}
            None => self.chip.sound = None,
        }
        // The line is moved by the wake, so that an edge which was due is made, and made once.
        self.timer.arm(self.wiring.now());
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        let now = self.now();
        node.value("irq", self.irq.level()).value("speaker", self.chip.speaker);
        for (number, counter) in self.chip.counters.iter().enumerate() {
            let node = node.child(&format!("counter{number}"));
            node.value("mode", counter.mode).value("count", counter.count).value("gate", counter.gate);
            node.value("out", counter.out(now)).value("bcd", counter.bcd);
        }
    }
}
