//! Interrupt controllers.
//!
//! The chips are shared: devices reach them through wires ([`devices_core::irq::IrqSink`]), the vCPUs
//! through their handles (acknowledge, end of interrupt), and the guest through ports and memory. So each
//! chip sits behind a lock of the router rank, and the [`devices_core::Device`] of the same name is only
//! its face on the bus.
//!
//! Wire levels are inputs of a chip and part of its saved state. A device that loads raises its wire to a
//! level that the chip either has loaded already, or overwrites when it loads: no edge is seen twice, in
//! either order.

pub mod ioapic;
pub mod pic;

use std::sync::{Arc, Mutex, MutexGuard};

use devices_core::irq::{IrqSink, Unmasked};

use ioapic::IoapicHandle;
use pic::PicHandle;

/// The PC's global system interrupts: wire n leads to input n of the 8259 pair (below 16) and to pin n of
/// the IOAPIC. Wire 0, the system timer, leads to IOAPIC pin 2, since the 8259 cascade leaves that free;
/// wire 2 leads to IOAPIC pin 2 alone (the HPET's route), and the pin is the OR of the two.
pub struct IsaInterrupts {
    pic: PicHandle,
    ioapic: Option<IoapicHandle>,
    /// Levels of wires 0 and 2.
    timer: Mutex<[bool; 2]>,
}

impl IsaInterrupts {
    /// Wires to both controllers, or to the 8259 pair alone.
    pub fn new(pic: PicHandle, ioapic: Option<IoapicHandle>) -> IsaInterrupts {
        IsaInterrupts { pic, ioapic, timer: Mutex::default() }
    }
}

impl IrqSink for IsaInterrupts {
    fn set(&self, wire: u32, level: bool) {
        self.pic.set(wire, level);
        let Some(ioapic) = &self.ioapic else { return };
        if wire != 0 && wire != 2 {
            return ioapic.set(wire, level);
        }
        // Held across the call, so that the pin ends at the OR of the two whoever comes first.
        let mut timer = lock(&self.timer);
        timer[usize::from(wire == 2)] = level;
        ioapic.set(2, timer[0] || timer[1]);
    }

    fn is_masked(&self, wire: u32) -> bool {
        let by_the_ioapic = |ioapic: &IoapicHandle| ioapic.is_masked(ioapic_pin(wire));
        self.pic.is_masked(wire) && self.ioapic.as_ref().is_none_or(by_the_ioapic)
    }

    fn on_unmask(&self, wire: u32, unmasked: Unmasked) {
        self.pic.on_unmask(wire, unmasked.clone());
        if let Some(ioapic) = &self.ioapic {
            ioapic.on_unmask(ioapic_pin(wire), unmasked);
        }
    }
}

/// Where a wire leads at the IOAPIC.
fn ioapic_pin(wire: u32) -> u32 {
    if wire == 0 { 2 } else { wire }
}

/// A chip's state behind its lock. A panic has been reported; the chip is used on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// Where a single output wire goes: called on a change only, with the chip's lock held. Must not block
/// and must not call the chip.
pub type Output = Arc<dyn Fn(bool) + Send + Sync>;
