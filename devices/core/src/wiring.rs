//! Guest time, timers and wake-ups for one device.

use std::sync::{Arc, OnceLock, Weak};

use hypervisor::{Clock, Timer, TimerQueue};

use crate::device::{Device, Slot, Wake};

/// Wakes one device from anywhere. Made before the device, bound when the device is attached.
#[derive(Clone, Default)]
pub struct Waker {
    slot: Arc<OnceLock<Weak<Slot<dyn Device>>>>,
}

impl Waker {
    /// Calls [`Device::wake`] with the device's lock taken. Does nothing for a device that is not
    /// attached or gone. Not to be called by the device itself.
    pub fn wake(&self, why: Wake) {
        if let Some(slot) = self.slot.get().and_then(Weak::upgrade) {
            slot.lock().wake(why);
        }
    }

    pub(crate) fn bind(&self, slot: &Arc<Slot<dyn Device>>) {
        // A waker belongs to one device: the first binding stays.
        let _ = self.slot.set(Arc::downgrade(slot));
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
