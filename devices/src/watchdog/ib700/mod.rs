//! iBASE's IB700: a countdown of up to 30 s behind two ports.
//!
//! Specification: the board's manual as Linux's `ib700wdt` follows it, and QEMU's `ib700`. A write to 443h begins the
//! countdown that its low four bits choose, which every other write there begins anew; a write to 441h ends it. At its
//! end the watchdog barks, once. Reads find nothing at the ports.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::model::Model;
use devices_core::power::{Power, PowerEvent};
use devices_core::{At, Device, Io, Node, Region, Saved, StateError, Timer, Wake, Wiring};

/// The watchdog.
pub struct Ib700 {
    name: String,
    regions: [Region; 2],
    wiring: Wiring,
    timer: Timer,
    power: Arc<dyn Power>,
    /// When it barks, in guest time.
    deadline: Option<u64>,
}

/// The region of [`spec::START`]; the other is that of [`spec::STOP`].
const START: usize = 1;

impl Ib700 {
    /// A watchdog of that name that does not run.
    pub fn new(name: &str, wiring: &Wiring, power: Arc<dyn Power>) -> Ib700 {
        Ib700 {
            name: name.to_owned(),
            regions: [Region::pio("stop", spec::STOP, 1), Region::pio("start", spec::START, 1)],
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            power,
            deadline: None,
        }
    }

    fn set_deadline(&mut self, deadline: Option<u64>) {
        self.deadline = deadline;
        match deadline {
            Some(deadline) => self.timer.arm(deadline),
            None => self.timer.cancel(),
        }
    }
}

impl Device for Ib700 {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, _at: At, data: &mut [u8]) -> Io {
        data.fill(0xff);
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let choice = data.first().copied().unwrap_or(0);
        let starts = at.region == START;
        self.set_deadline(starts.then(|| self.wiring.now().saturating_add(spec::timeout(choice))));
        Io::Done
    }
    fn wake(&mut self, _why: Wake) {
        // The timer may have been on its way when it was stopped or fed.
        if self.deadline.is_some_and(|deadline| deadline <= self.wiring.now()) {
            self.set_deadline(None);
            self.power.request(PowerEvent::Watchdog);
        }
    }
    fn reset(&mut self) {
        self.set_deadline(None);
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        match self.deadline {
            Some(deadline) => {
                let left = deadline.saturating_sub(self.wiring.now()) / 1_000_000;
                node.value("barks in", format_args!("{left} ms"))
            }
            None => node.value("barks in", "never"),
        };
    }
}
