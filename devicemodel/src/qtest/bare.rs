//! A whole machine with no CPU in this process.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use devices_core::power::PowerEvent;
use hypervisor::NoCpu;

use super::{Access, IrqIntercept};
use crate::config::GuestConfig;
use crate::machine::{BuildError, Machine, MachineHandles, split_ram};
use crate::notices::{Notice, Notices, notices};

/// Longest that one step of guest time may take of the host's.
const PATIENCE: Duration = Duration::from_secs(60);

/// A machine for tests: built as any guest's, with nobody in it but who holds this.
pub struct Bare {
    machine: Machine,
    access: Access,
    taps: Arc<IrqIntercept>,
    notices: Notices,
    power: Vec<PowerEvent>,
}

impl Bare {
    /// Builds it; `debugcon` gets what is written to the debug port. The machine is on.
    pub fn new(config: GuestConfig, debugcon: Option<PathBuf>) -> Result<Bare, BuildError> {
        let host = |source| BuildError::File { path: "eventfd".into(), source };
        let (notifier, notices) = notices().map_err(host)?;
        let taps = IrqIntercept::new().map_err(host)?;
        let (below, above) = split_ram(config.memory_mib << 20);
        let still = Arc::new(NoCpu::new(config.vcpus, below, above)?);
        let handles = MachineHandles {
            debugcon,
            taps: Some(taps.clone()),
            ..MachineHandles::new(still.clone(), notifier)
        };
        let machine = Machine::build(config, handles)?;
        crate::saved::unquiesce(machine.bus());
        let access = Access::new(still, machine.bus());
        Ok(Bare { machine, access, taps, notices, power: Vec::new() })
    }

    /// Ports, memory and time.
    pub fn access(&mut self) -> &mut Access {
        &mut self.access
    }
    /// The machine.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }
    /// The interrupt wires.
    pub fn taps(&self) -> &Arc<IrqIntercept> {
        &self.taps
    }

    /// Lets guest time pass, in nanoseconds, once nothing is in flight at the host: what a disk does takes no guest
    /// time. False when that, or the timers on the way, took more of the host's time than anybody waits.
    pub fn advance(&mut self, ns: u64) -> bool {
        let quiet = crate::saved::quiesce(self.machine.bus()).is_ok();
        crate::saved::unquiesce(self.machine.bus());
        let end = self.access.now().saturating_add(ns);
        quiet && self.access.still().advance(end, Instant::now() + PATIENCE)
    }

    /// Carries out what devices have asked for: resets at once, the rest is kept for
    /// [`take_power`](Bare::take_power). To be called after accesses.
    pub fn settle(&mut self) {
        while let Some(notice) = self.notices.next() {
            match notice {
                Notice::Power(event) => {
                    if event == PowerEvent::Reset {
                        self.machine.reset();
                    }
                    self.power.push(event);
                }
                Notice::Unplug(what, done) => self.machine.unplug(what, done),
                Notice::Cpu(_) | Notice::Device | Notice::Quit => {}
            }
        }
        self.machine.settle();
    }

    /// What devices have asked for since last asked.
    pub fn take_power(&mut self) -> Vec<PowerEvent> {
        std::mem::take(&mut self.power)
    }
}
