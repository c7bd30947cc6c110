//! What the vCPUs share: memory map, attention words, pins, local APICs, the clock.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use hypervisor::{Clock, GuestRam, TimerQueue};

use crate::apic::wire::Unit;
use crate::physical::Physical;

/// Bits of the attention word.
pub mod attention {
    /// Look at the local APIC and the pins.
    pub const IRQ: u32 = 1 << 0;
    /// The physical map or A20 changed: forget all translations.
    pub const FLUSH: u32 = 1 << 1;
    /// A page was found to hold code.
    pub const CODE: u32 = 1 << 2;
    /// A dirty log was taken.
    pub const DIRTY: u32 = 1 << 3;
    /// A page that translated code was made of was written.
    pub const WRITTEN: u32 = 1 << 4;
    /// What is about memory.
    pub const MEMORY: u32 = FLUSH | CODE | DIRTY | WRITTEN;
    /// Stand still.
    pub const PAUSE: u32 = 1 << 8;
    /// End the thread.
    pub const STOP: u32 = 1 << 9;
    /// INIT or start-up message.
    pub const INIT: u32 = 1 << 10;
    /// A timer was armed for an earlier instant than its thread sleeps to.
    pub const TIMERS: u32 = 1 << 11;
    /// What the inner loop leaves to the thread.
    pub const OUTSIDE: u32 = PAUSE | STOP | INIT;
}

/// The shared part of one vCPU.
pub(crate) struct Vcpu {
    pub(crate) attention: AtomicU32,
    /// It runs the guest's code, or may at any moment without a look at `attention`.
    inside: AtomicBool,
    /// It does what `attention` asked of it about memory.
    syncing: AtomicBool,
    pub(crate) unit: Mutex<Unit>,
    sleep: Mutex<()>,
    wake: Condvar,
}

impl Vcpu {
    pub(crate) fn new(id: u32) -> Vcpu {
        Vcpu {
            attention: AtomicU32::new(0),
            inside: AtomicBool::new(false),
            syncing: AtomicBool::new(false),
            unit: Mutex::new(Unit::new(id)),
            sleep: Mutex::default(),
            wake: Condvar::new(),
        }
    }
    /// From here on to the end of what it gives, the vCPU runs the guest's code.
    pub(crate) fn enter(&self) -> Inside<'_> {
        // A full barrier: who does not see it set is seen by the look at `attention` that follows.
        self.inside.swap(true, Ordering::SeqCst);
        Inside(self)
    }
    /// Takes what `bits` of attention ask for, and does it by `sync`.
    pub(crate) fn sync(&self, bits: u32, sync: impl FnOnce(u32)) {
        self.syncing.store(true, Ordering::SeqCst);
        sync(self.attention.fetch_and(!bits, Ordering::AcqRel) & bits);
        self.syncing.store(false, Ordering::Release);
    }
    /// Whether it may still run by what it knew before these bits of attention were set.
    pub(crate) fn lags(&self, bits: u32) -> bool {
        // In this order: the bits are taken while it says that it syncs.
        self.inside.load(Ordering::Acquire)
            && (self.attention.load(Ordering::Acquire) & bits != 0 || self.syncing.load(Ordering::Acquire))
    }
    fn guard(&self) -> MutexGuard<'_, ()> {
        self.sleep.lock().unwrap_or_else(|p| p.into_inner())
    }
    /// Sleeps until an attention bit is set.
    pub(crate) fn wait(&self) {
        let mut guard = self.guard();
        while self.attention.load(Ordering::Acquire) == 0 {
            guard = self.wake.wait(guard).unwrap_or_else(|p| p.into_inner());
        }
    }
    /// Sleeps until an attention bit is set, or so long.
    pub(crate) fn wait_for(&self, time: Duration) {
        let guard = self.guard();
        let idle = |_: &mut ()| self.attention.load(Ordering::Acquire) == 0;
        drop(self.wake.wait_timeout_while(guard, time, idle));
    }
}

/// A vCPU runs the guest's code while this lives.
pub(crate) struct Inside<'a>(&'a Vcpu);

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.inside.store(false, Ordering::Release);
    }
}

/// Guest time that is the count of instructions run.
#[derive(Debug, Default)]
pub struct CountClock {
    now: AtomicU64,
}

impl CountClock {
    /// Moves to an instant; used by whoever runs the instructions.
    pub(crate) fn set(&self, now: u64) {
        self.now.store(now, Ordering::Release);
    }
}

impl Clock for CountClock {
    fn now(&self) -> u64 {
        self.now.load(Ordering::Acquire)
    }
    fn stop(&self) {}
    fn start(&self) {}
    fn set(&self, now: u64) {
        CountClock::set(self, now);
    }
}

/// What the vCPUs share.
pub struct Shared {
    pub(crate) physical: Physical,
    pub(crate) vcpus: Vec<Vcpu>,
    pub(crate) ram: GuestRam,
    pub(crate) clock: Arc<dyn Clock>,
    /// The same clock when it counts instructions.
    pub(crate) counter: Option<Arc<CountClock>>,
    pub(crate) timers: TimerQueue,
    /// Level of INTR.
    pub(crate) intr: AtomicBool,
    /// Level of NMI.
    pub(crate) nmi: AtomicBool,
    a20: AtomicBool,
    /// Where the one thread of instruction counting sleeps.
    all: Condvar,
    all_lock: Mutex<()>,
}

impl Shared {
    pub(crate) fn new(
        vcpus: u32,
        ram: GuestRam,
        clock: Arc<dyn Clock>,
        counter: Option<Arc<CountClock>>,
    ) -> Shared {
        Shared {
            physical: Physical::default(),
            vcpus: (0..vcpus).map(Vcpu::new).collect(),
            ram,
            clock,
            counter,
            timers: TimerQueue::new(),
            intr: AtomicBool::new(false),
            nmi: AtomicBool::new(false),
            a20: AtomicBool::new(true),
            all: Condvar::new(),
            all_lock: Mutex::default(),
        }
    }

    /// Sets attention bits of one vCPU and wakes it.
    pub(crate) fn tell(&self, vcpu: u32, bits: u32) {
        let Some(v) = self.vcpus.get(vcpu as usize) else { return };
        v.attention.fetch_or(bits, Ordering::AcqRel);
        if self.counter.is_some() {
            drop(self.all_lock.lock());
            self.all.notify_all();
        } else {
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
    /// Sets attention bits of all vCPUs.
    pub(crate) fn tell_all(&self, bits: u32) {
        self.tell_others(u32::MAX, bits);
    }
    /// Clears attention bits of all vCPUs.
    pub(crate) fn untell_all(&self, bits: u32) {
        for v in &self.vcpus {
            v.attention.fetch_and(!bits, Ordering::AcqRel);
        }
    }
    /// Sleeps until some vCPU has attention, or a little while: timers are armed without a word to us.
    pub(crate) fn wait_any(&self) {
        let guard = self.all_lock.lock().unwrap_or_else(|p| p.into_inner());
        if self.vcpus.iter().all(|v| v.attention.load(Ordering::Acquire) == 0) {
            drop(self.all.wait_timeout(guard, Duration::from_millis(10)));
        }
    }

    /// Address mask by the A20 pin.
    pub(crate) fn a20_mask(&self) -> u64 {
        if self.a20.load(Ordering::Acquire) { u64::MAX } else { !(1 << 20) }
    }
    /// Drives the A20 pin.
    pub(crate) fn set_a20(&self, open: bool) {
        if self.a20.swap(open, Ordering::AcqRel) != open {
            self.tell_all(attention::FLUSH);
        }
    }
}
