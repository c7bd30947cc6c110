//! The watchdog of Intel's 6300ESB I/O controller hub, a PCI function with two stages.
//!
//! Specification: Intel 6300ESB I/O Controller Hub datasheet, "Watchdog Timer", and QEMU's `i6300esb`. The first stage's
//! end may interrupt (QEMU's does not, nor does ours: no driver asks for it); the second's resets the machine, that is,
//! barks. A write of a register behind the sequence 80h, 86h at the reload register reaches it, and takes the sequence
//! with it. QEMU looks at the sequence at each width but takes preload values as 32 bits and the reload as 16 alone.
//!
//! Left out: the down counter, which has no register; the interrupt and SMI of the first stage.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::power::{Power, PowerEvent};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Timer, Wake, Wiring};

/// Least length of a stage in nanoseconds: a free-running watchdog of nothing must not starve the host.
const SHORTEST: u64 = 10_000;

/// Which of the two stages counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    First,
    Second,
}

/// How far a driver is in the sequence that lets one write through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Shut,
    /// 80h has been written.
    Half,
    Open,
}

/// The watchdog.
pub struct I6300esb {
    name: String,
    pci: PciConfig,
    regions: [Region; 1],
    wiring: Wiring,
    timer: Timer,
    power: Arc<dyn Power>,
    /// First stage, second.
    preload: [u32; 2],
    gate: Gate,
    stage: Stage,
    /// When that stage ends, in guest time. None: it does not run.
    deadline: Option<u64>,
    /// It has barked, and no driver has taken that down. A reset of the machine keeps it.
    barked: bool,
}

impl I6300esb {
    /// A watchdog of that name that does not run.
    pub fn new(name: &str, wiring: &Wiring, power: Arc<dyn Power>) -> I6300esb {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: 0,
            class: 0x08_80_00,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(0, BarKind::Mem32 { prefetch: false }, spec::LEN, Window::Region(0));
        let config = spec::OUTPUT_DISABLED | spec::PRESCALE | spec::INT_TYPE;
        pci.allow(spec::CONFIG, &config.to_le_bytes());
        pci.allow(spec::LOCK, &[spec::FREE_RUN | spec::ENABLE | spec::LOCKED]);
        I6300esb {
            name: name.to_owned(),
            pci,
            regions: [Region::floating("registers", Space::Mmio, spec::LEN)],
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            power,
            preload: [spec::PRELOAD; 2],
            gate: Gate::Shut,
            stage: Stage::First,
            deadline: None,
            barked: false,
        }
    }

    fn is(&self, bit: u8) -> bool {
        self.pci.u8(spec::LOCK) & bit != 0
    }

    /// Nanoseconds of a stage.
    fn length(&self, stage: Stage) -> u64 {
        let scale = spec::SCALES[usize::from(self.pci.u16(spec::CONFIG) & spec::PRESCALE != 0)];
        spec::length(self.preload[stage as usize], scale).max(SHORTEST)
    }

    fn set_deadline(&mut self, deadline: Option<u64>) {
        self.deadline = deadline;
        match deadline {
            Some(deadline) => self.timer.arm(deadline),
            None => self.timer.cancel(),
        }
    }

    /// Begins a stage.
    fn begin(&mut self, stage: Stage) {
        self.stage = stage;
        self.set_deadline(Some(self.wiring.now().saturating_add(self.length(stage))));
    }

    /// The second stage is over.
    fn expired(&mut self) {
        if self.pci.u16(spec::CONFIG) & spec::OUTPUT_DISABLED == 0 {
            self.power_on();
            self.barked = true;
            self.power.request(PowerEvent::Watchdog);
        } else if self.is(spec::FREE_RUN) {
            self.begin(Stage::First);
        } else {
            self.set_deadline(None);
        }
    }

    /// Registers as after power-on, the configuration space's header aside.
    fn power_on(&mut self) {
        self.pci.poke(spec::CONFIG, 0);
        self.pci.poke(spec::LOCK, 0);
        self.preload = [spec::PRELOAD; 2];
        self.gate = Gate::Shut;
        self.stage = Stage::First;
        self.set_deadline(None);
    }

    /// A write of the reload register or of a preload value, if it comes behind the sequence.
    fn reach(&mut self, at: u64, data: &[u8]) {
        match (at, data) {
            (spec::RELOAD, &[low, high]) => {
                let value = u16::from_le_bytes([low, high]);
                if value & spec::RELOAD_NOW != 0 && self.is(spec::ENABLE) {
                    self.begin(Stage::First);
                }
                if value & (spec::TIMED_OUT | spec::TIMED_OUT_AS_LINUX) != 0 {
                    self.barked = false;
                }
            }
            (spec::PRELOAD1 | spec::PRELOAD2, &[a, b, c, d]) => {
                let value = u32::from_le_bytes([a, b, c, d]) & spec::PRELOAD;
                self.preload[usize::from(at == spec::PRELOAD2)] = value;
            }
            _ => {}
        }
        // A byte is no register's write.
        if data.len() > 1 {
            self.gate = Gate::Shut;
        }
    }
}

impl Device for I6300esb {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        data.fill(0);
        if let (spec::RELOAD, [low, high], true) = (at.offset, data, self.barked) {
            [*low, *high] = (spec::TIMED_OUT | spec::TIMED_OUT_AS_LINUX).to_le_bytes();
        }
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let value = data.iter().rev().fold(0_u64, |value, &byte| value << 8 | u64::from(byte));
        if at.offset == spec::RELOAD && value == u64::from(spec::UNLOCK1) {
            self.gate = Gate::Half;
        } else if at.offset == spec::RELOAD && value == u64::from(spec::UNLOCK2) && self.gate == Gate::Half {
            self.gate = Gate::Open;
        } else if self.gate == Gate::Open {
            self.reach(at.offset, data);
        }
        Io::Done
    }
    fn wake(&mut self, _why: Wake) {
        // The timer may have been on its way when it was stopped or fed.
        if self.deadline.is_some_and(|deadline| deadline <= self.wiring.now()) {
            match self.stage {
                Stage::First => self.begin(Stage::Second),
                Stage::Second => self.expired(),
            }
        }
    }
    fn reset(&mut self) {
        self.pci.reset();
        self.power_on();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        let old = self.pci.u8(spec::LOCK);
        let moved = self.pci.write(reg, data);
        if old & spec::LOCKED != 0 {
            self.pci.poke(spec::LOCK, old);
        } else if !self.is(spec::ENABLE) {
            self.set_deadline(None);
        } else if old & spec::ENABLE == 0 {
            self.begin(Stage::First);
        }
        moved
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        let lengths = [Stage::First, Stage::Second].map(|stage| self.length(stage) / 1_000_000);
        node.value("stages", format_args!("{} ms, {} ms", lengths[0], lengths[1]));
        match self.deadline {
            Some(deadline) => {
                let left = deadline.saturating_sub(self.wiring.now()) / 1_000_000;
                node.value("runs", format_args!("{:?} stage, {left} ms left", self.stage))
            }
            None => node.value("runs", "no"),
        };
        node.value("locked", self.is(spec::LOCKED));
        node.value("has barked", self.barked);
    }
}
