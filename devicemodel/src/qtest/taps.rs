//! The interrupt wires as a test sees them.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::irq::IrqSink;
use vmm_sys_util::eventfd::EventFd;

/// Most changes that wait to be told.
const MOST: usize = 1 << 16;

/// Hears of every change of the ISA wires (GSI 0 to 23, as they enter the IOAPIC) and keeps those that somebody wants
/// to be told of.
pub struct IrqIntercept {
    wanted: AtomicBool,
    changes: Mutex<Vec<(u32, bool)>>,
    bell: EventFd,
}

impl IrqIntercept {
    /// IrqIntercept that nobody listens at yet.
    pub fn new() -> io::Result<Arc<IrqIntercept>> {
        let bell = EventFd::new(libc::EFD_NONBLOCK | libc::EFD_CLOEXEC)?;
        Ok(Arc::new(IrqIntercept { wanted: AtomicBool::new(false), changes: Mutex::default(), bell }))
    }

    fn changes(&self) -> MutexGuard<'_, Vec<(u32, bool)>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on, or no longer, changes are kept.
    pub fn want(&self, wanted: bool) {
        self.changes().clear();
        self.wanted.store(wanted, Ordering::Release);
    }

    /// Changes since last asked: (wire, level). Beyond 65536 they are lost.
    pub fn take(&self) -> Vec<(u32, bool)> {
        std::mem::take(&mut self.changes())
    }

    /// Makes the bell readable.
    pub fn ring(&self) {
        // It cannot overflow: the counter is read before it is full.
        let _ = self.bell.write(1);
    }

    /// Makes it no longer readable. To be called before the changes are [taken](IrqIntercept::take): one that comes after
    /// is seen in the next turn.
    pub fn hear(&self) {
        let _ = self.bell.read();
    }

    /// Readable when there are changes, until it is [heard](IrqIntercept::hear).
    pub fn bell(&self) -> &EventFd {
        &self.bell
    }
}

impl IrqSink for IrqIntercept {
    fn set(&self, pin: u32, level: bool) {
        if !self.wanted.load(Ordering::Acquire) {
            return;
        }
        let mut changes = self.changes();
        if changes.len() < MOST {
            changes.push((pin, level));
        }
        drop(changes);
        self.ring();
    }
}
