//! Guest time, timers and wake-ups for one device.

use std::sync::{Arc, OnceLock, Weak};

use hypervisor::{Clock, Timer, TimerQueue};

use crate::device::{Device, Slot, Wake};

/// Wakes one device from anywhere. Made before the device, bound when the device is attached.
#[derive(Clone, Default)]
pub struct Waker {
    sleeper: Arc<OnceLock<Sleeper>>,
}

enum Sleeper {
    Device(Weak<Slot<dyn Device>>),
    Other(Box<dyn Fn(Wake) + Send + Sync>),
}

impl Waker {
    /// A waker of something that is no device of the bus (the back end of a PV device): calls `wake`, from
    /// any thread. It must not block.
    pub fn calling(wake: impl Fn(Wake) + Send + Sync + 'static) -> Waker {
        Waker { sleeper: Arc::new(OnceLock::from(Sleeper::Other(Box::new(wake)))) }
    }

    /// Calls [`Device::wake`] with the device's lock taken. Does nothing for a device that is not
    /// attached or gone. Not to be called by the device itself.
    pub fn wake(&self, why: Wake) {
        match self.sleeper.get() {
            Some(Sleeper::Device(slot)) => {
                if let Some(slot) = slot.upgrade() {
                    slot.lock().wake(why);
                }
            }
            Some(Sleeper::Other(wake)) => wake(why),
            None => {}
        }
    }

    pub(crate) fn bind(&self, slot: &Arc<Slot<dyn Device>>) {
        // A waker belongs to one device: the first binding stays.
        let _ = self.sleeper.set(Sleeper::Device(Arc::downgrade(slot)));
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
    /// Guest time in nanoseconds.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }
    /// A timer that wakes the device with [`Wake::Timer`]`(number)`.
    pub fn timer(&self, number: u32) -> Timer {
        let waker = self.waker.clone();
        self.timers.timer(move || waker.wake(Wake::Timer(number)))
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
