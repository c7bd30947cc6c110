//! Any hypervisor, with a recorder between it and the devices.

use std::sync::Arc;

use hypervisor::inspect::Node;
use hypervisor::memory::{Tap, ram_of};
use hypervisor::{
    Capabilities, Claims, Clock, Dispatch, Error, Event, GuestRam, Hypervisor, IrqTarget, Mapping, MsiTarget,
    RamBlock, SavedPart, TimerQueue,
};

use super::recorder::Recorder;
use super::taps::{Memory, Messages, Pins, Time, Vcpu};

/// The hypervisor of a guest that is recorded.
pub struct Recorded {
    inner: Arc<dyn Hypervisor>,
    recorder: Arc<Recorder>,
    ram: GuestRam,
}

impl Recorded {
    /// That hypervisor, heard by that recorder.
    pub fn new(inner: Arc<dyn Hypervisor>, recorder: Arc<Recorder>) -> Result<Recorded, Error> {
        let tap: Arc<dyn Tap> = Arc::new(Memory(recorder.clone()));
        let ram = tapped(&inner.memory(), &tap)?;
        Ok(Recorded { inner, recorder, ram })
    }
}

/// The same memory with a tap.
pub fn tapped(ram: &GuestRam, tap: &Arc<dyn Tap>) -> Result<GuestRam, Error> {
    use vm_memory::GuestMemoryBackend;
    ram_of(ram.iter().map(|region| region.clone().tapped(tap.clone())).collect())
}

impl Hypervisor for Recorded {
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
        Arc::new(Pins(self.recorder.clone(), self.inner.irq()))
    }
    fn msi(&self) -> Arc<dyn MsiTarget> {
        Arc::new(Messages(self.recorder.clone(), self.inner.msi()))
    }
    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(Time(self.recorder.clone(), self.inner.clock()))
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
        let recorder = &self.recorder;
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
    fn refresh_display(&self) {
        self.inner.refresh_display();
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
    fn inspect(&self, node: &mut Node) {
        self.inner.inspect(node);
    }
}
