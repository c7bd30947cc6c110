//! Any hypervisor, with a recorder between it and the devices.

use std::sync::Arc;
use std::time::Duration;

use hypervisor::debug::Debug;
use hypervisor::inspect::Node;
use hypervisor::memory::{DmaObserver, ram_of};
use hypervisor::{
    Capabilities, Claims, Clock, Dispatch, Error, Event, GuestRam, Hypervisor, IrqTarget, Laggards, Mapping,
    MsiTarget, NoCpu, RamBlock, SavedPart, TimerQueue,
};

use super::recorder::Recorder;
use super::taps::{Memory, Messages, Pins, Time, Vcpu};
use crate::replay::Player;

/// A hypervisor with somebody between it and the devices.
pub struct Watched {
    inner: Arc<dyn Hypervisor>,
    ram: GuestRam,
    irq: Arc<dyn IrqTarget>,
    msi: Arc<dyn MsiTarget>,
    clock: Arc<dyn Clock>,
    recorder: Option<Arc<Recorder>>,
}

impl Watched {
    /// That hypervisor, heard by that recorder.
    pub fn recorded(inner: Arc<dyn Hypervisor>, recorder: Arc<Recorder>) -> Result<Watched, Error> {
        Ok(Watched {
            ram: observed(&inner.memory(), &(Arc::new(Memory(recorder.clone())) as Arc<dyn DmaObserver>))?,
            irq: Arc::new(Pins(recorder.clone(), inner.irq())),
            msi: Arc::new(Messages(recorder.clone(), inner.msi())),
            clock: Arc::new(Time(recorder.clone(), inner.clock())),
            recorder: Some(recorder),
            inner,
        })
    }

    /// A machine that stands still in the place of one that was recorded, with the player where its processors
    /// and their memory were.
    pub fn replayed(still: NoCpu, player: &Arc<Player>) -> Result<Watched, Error> {
        Ok(Watched {
            ram: observed(&still.memory(), &(player.clone() as Arc<dyn DmaObserver>))?,
            irq: player.clone(),
            msi: player.clone(),
            clock: still.clock(),
            recorder: None,
            inner: Arc::new(still),
        })
    }
}

/// The same memory with an observer.
fn observed(ram: &GuestRam, observer: &Arc<dyn DmaObserver>) -> Result<GuestRam, Error> {
    use vm_memory::GuestMemoryBackend;
    ram_of(ram.iter().map(|region| region.clone().observed_by(observer.clone())).collect())
}

/// It has no doorbells: a recording has every write of the guest, and a replay has nobody whom one could wake.
impl Hypervisor for Watched {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }
    fn vcpus(&self) -> u32 {
        self.inner.vcpus()
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
        self.inner.timers()
    }
    fn add_ram(&self, name: &str, len: u64) -> Result<RamBlock, Error> {
        self.inner.add_ram(name, len)
    }
    fn map(&self, mapping: Mapping) -> Result<(), Error> {
        self.inner.map(mapping)
    }
    fn claim(&self, claims: &Claims) -> Result<(), Error> {
        self.inner.claim(claims)
    }
    fn run(
        &self,
        dispatch: &mut dyn FnMut(u32) -> Box<dyn Dispatch>,
        events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<(), Error> {
        let Some(recorder) = &self.recorder else { return self.inner.run(dispatch, events) };
        let mut heard = |number| -> Box<dyn Dispatch> {
            Box::new(Vcpu { recorder: recorder.clone(), number, inner: dispatch(number) })
        };
        self.inner.run(&mut heard, events)
    }
    fn suspend(&self) {
        self.inner.suspend();
    }
    fn pause(&self) {
        self.inner.pause();
    }
    fn pause_within(&self, patience: Duration) -> Result<(), Laggards> {
        self.inner.pause_within(patience)
    }
    fn resume(&self) {
        self.inner.resume();
    }
    fn reset(&self) {
        self.inner.reset();
    }
    fn stop(&self) {
        self.inner.stop();
    }
    fn log_dirty(&self, on: bool) -> Result<(), Error> {
        self.inner.log_dirty(on)
    }
    fn lock_roms(&self, locked: bool) -> Result<(), Error> {
        self.inner.lock_roms(locked)
    }
    fn wake_up(&self) -> Result<(), Error> {
        self.inner.wake_up()
    }
    fn save(&self) -> Result<Vec<SavedPart>, Error> {
        self.inner.save()
    }
    fn load(&self, parts: &[SavedPart]) -> Result<(), Error> {
        self.inner.load(parts)
    }
    fn debug(&self) -> Option<&dyn Debug> {
        self.inner.debug()
    }
    fn inspect(&self, node: &mut Node) {
        self.inner.inspect(node);
    }
}
