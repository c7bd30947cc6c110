//! A machine whose processors stand still for ever: what happens to its devices comes from elsewhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hypervisor::inspect::Node;
use hypervisor::memory::{Tap, new_block, new_ram};
use hypervisor::{
    Capabilities, Claims, Clock, Dispatch, Error, Event, GuestRam, Hypervisor, IrqTarget, Mapping, MsiTarget,
    RamBlock, SavedPart, TimerQueue,
};

use crate::trace::tapped;

/// Guest time that somebody sets.
#[derive(Debug, Default)]
pub struct StillClock(AtomicU64);

impl Clock for StillClock {
    fn now(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
    fn stop(&self) {}
    fn start(&self) {}
    fn set(&self, now: u64) {
        self.0.store(now, Ordering::Release);
    }
}

/// The hypervisor of such a machine.
pub struct Still {
    pub(super) capabilities: Capabilities,
    pub(super) vcpus: u32,
    pub(super) ram: GuestRam,
    pub(super) irq: Arc<dyn IrqTarget>,
    pub(super) msi: Arc<dyn MsiTarget>,
    pub(super) clock: Arc<StillClock>,
    pub(super) timers: TimerQueue,
}

/// RAM that nobody has touched, so it takes no room, with a tap.
pub(super) fn ram(below: u64, above: u64, tap: Arc<dyn Tap>) -> Result<GuestRam, Error> {
    tapped(&new_ram(below, above)?, &tap)
}

impl Hypervisor for Still {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
    fn vcpus(&self) -> u32 {
        self.vcpus
    }
    fn memory(&self) -> GuestRam {
        self.ram.clone()
    }
    fn irq(&self) -> Arc<dyn IrqTarget> {
        self.irq.clone()
    }
    fn msi(&self) -> Arc<dyn MsiTarget> {
        self.msi.clone()
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
    fn timers(&self) -> TimerQueue {
        self.timers.clone()
    }
    fn add_ram(&self, _name: &str, len: u64) -> Result<RamBlock, Error> {
        new_block(0, len)
    }
    fn map(&self, mapping: Mapping) -> Result<(), Error> {
        mapping.check()
    }
    fn claim(&self, _claims: &Claims) -> Result<(), Error> {
        Ok(())
    }
    fn run(
        &self,
        _dispatch: &mut dyn FnMut(u32) -> Box<dyn Dispatch>,
        _events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<(), Error> {
        Ok(())
    }
    fn suspend(&self) {}
    fn pause(&self) {}
    fn resume(&self) {}
    fn reset(&self) {}
    fn stop(&self) {}
    fn wake_up(&self) -> Result<(), Error> {
        Ok(())
    }
    fn save(&self) -> Result<Vec<SavedPart>, Error> {
        Ok(Vec::new())
    }
    fn load(&self, _parts: &[SavedPart]) -> Result<(), Error> {
        Ok(())
    }
    fn inspect(&self, _node: &mut Node) {}
}
