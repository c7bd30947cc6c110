//! What the vCPUs share.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use hypervisor::{Clock, GuestRam, TimerQueue};

use crate::physical::Physical;

/// Bits of the attention word.
pub mod attention {
    /// Look at the local APIC and the pins.
    pub const IRQ: u32 = 1 << 0;
    /// The physical map or A20 changed: forget all translations and code.
    pub const FLUSH: u32 = 1 << 1;
    /// A page was found to hold code.
    pub const CODE: u32 = 1 << 2;
    /// A dirty log was taken.
    pub const DIRTY: u32 = 1 << 3;
    /// Stand still.
    pub const PAUSE: u32 = 1 << 8;
    /// End the thread.
    pub const STOP: u32 = 1 << 9;
    /// INIT or start-up message, NMI excluded.
    pub const INIT: u32 = 1 << 10;
    /// What the inner loop leaves to the thread.
    pub const OUTSIDE: u32 = PAUSE | STOP | INIT;
}

/// The shared part of one vCPU.
#[derive(Default)]
pub(crate) struct Vcpu {
    pub(crate) attention: AtomicU32,
    sleep: Mutex<()>,
    wake: Condvar,
}

/// What the vCPUs share.
pub struct Shared {
    pub(crate) physical: Physical,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) ram: GuestRam,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) timers: TimerQueue,
    a20: AtomicBool,
}

impl Shared {
    /// Sets attention bits of one vCPU and wakes it.
    pub(crate) fn tell(&self, vcpu: u32, bits: u32) {
        if let Some(v) = self.vcpus.get(vcpu as usize) {
            v.attention.fetch_or(bits, Ordering::AcqRel);
            drop(v.guard());
            v.wake.notify_all();
        }
    }
    /// Sets attention bits of all vCPUs but one.
    pub(crate) fn tell_others(&self, vcpu: u32, bits: u32) {
        for n in (0..self.vcpus.len() as u32).filter(|n| *n != vcpu) {
            self.tell(n, bits);
        }
    }
    /// Address mask by the A20 pin.
    pub(crate) fn a20_mask(&self) -> u64 {
        if self.a20.load(Ordering::Acquire) { u64::MAX } else { !(1 << 20) }
    }
}

impl Vcpu {
    fn guard(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(|p| p.into_inner())
    }
}
