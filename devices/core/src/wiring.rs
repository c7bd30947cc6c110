//! Guest time, timers and wake-ups for one device.

use std::sync::{Arc, OnceLock, Weak};

use hypervisor::{Clock, Timer, TimerQueue};

use crate::device::{Device, DeviceCell, Wake};

/// Stands between a device and what wakes it, for a recording of the machine or its replay.
pub trait Gate: Send + Sync {
    /// The device of that name is about to be woken, which `wake` does. From any thread, with no lock held.
    fn wake(&self, device: &str, why: Wake, wake: &mut dyn FnMut());
    /// A device has armed its timer of that number for that instant of guest time, or cancelled it. Called by
    /// the device.
    fn armed(&self, timer: u32, deadline: Option<u64>);
}

/// Wakes one device from anywhere. Made before the device, bound when the device is attached.
#[derive(Clone, Default)]
pub struct Waker {
    sleeper: Arc<OnceLock<Sleeper>>,
    gate: Option<Arc<dyn Gate>>,
}

enum Sleeper {
    Device(Weak<DeviceCell<dyn Device>>, String),
    Other(Box<dyn Fn(Wake) + Send + Sync>),
}

impl Waker {
    /// A waker of something that is no device of the bus (the back end of a PV device): calls `wake`, from
    /// any thread. It must not block.
    pub fn calling(wake: impl Fn(Wake) + Send + Sync + 'static) -> Waker {
        Waker { sleeper: Arc::new(OnceLock::from(Sleeper::Other(Box::new(wake)))), gate: None }
    }

    /// Calls [`Device::wake`] with the device's lock taken. Does nothing for a device that is not
    /// attached or gone. Not to be called by the device itself.
    pub fn wake(&self, why: Wake) {
        match self.sleeper.get() {
            Some(Sleeper::Device(slot, name)) => match (slot.upgrade(), &self.gate) {
                (Some(slot), None) => slot.lock().wake(why),
                (Some(slot), Some(gate)) => gate.wake(name, why, &mut || slot.lock().wake(why)),
                (None, _) => {}
            },
            Some(Sleeper::Other(wake)) => wake(why),
            None => {}
        }
    }

    pub(crate) fn bind(&self, slot: &Arc<DeviceCell<dyn Device>>) {
        // A waker belongs to one device: the first binding stays.
        let name = slot.lock().name().to_owned();
        let _ = self.sleeper.set(Sleeper::Device(Arc::downgrade(slot), name));
    }
}

/// What a device's constructor takes to know time and to be woken. One for each device.
#[derive(Clone)]
pub struct Wiring {
    clock: Arc<dyn Clock>,
    timers: TimerQueue,
    waker: Waker,
}

impl Wiring {
    /// Wiring for one device of a machine with this clock and queue.
    pub fn new(clock: Arc<dyn Clock>, timers: TimerQueue) -> Wiring {
        Wiring { clock, timers, waker: Waker::default() }
    }
    /// The same with a gate before the device.
    pub fn gated(clock: Arc<dyn Clock>, timers: TimerQueue, gate: Arc<dyn Gate>) -> Wiring {
        Wiring { clock, timers, waker: Waker { gate: Some(gate), ..Waker::default() } }
    }
    /// Guest time in nanoseconds.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }
    /// A timer that wakes the device with [`Wake::Timer`]`(number)`.
    pub fn timer(&self, number: u32) -> Timer {
        let waker = self.waker.clone();
        let timer = self.timers.timer(move || waker.wake(Wake::Timer(number)));
        match self.waker.gate.clone() {
            None => timer,
            Some(gate) => timer.told(move |deadline| gate.armed(number, deadline)),
        }
    }
    /// A timer that calls `callback`, for a backend. It runs on the timers' thread with no lock held.
    pub fn callback(&self, callback: impl Fn() + Send + Sync + 'static) -> Timer {
        self.timers.timer(callback)
    }
    /// For backends.
    pub fn waker(&self) -> Waker {
        self.waker.clone()
    }
}
