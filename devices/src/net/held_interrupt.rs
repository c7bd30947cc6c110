//! A card's interrupt while a guest of Xen's goes from one process to another.
//!
//! Linux suspends its drivers before Xen moves it. Some of them leave their card as it runs (8139cp, whose pending poll
//! sets IMR again after it was cleared; ne2k-pci, which only detaches its interface), so a packet may ask for an interrupt
//! before the driver resumes. By then Linux has bound the card's interrupt to an event channel, not masked, although the
//! interrupt is still disabled: it acknowledges (`PHYSDEVOP_eoi`) and calls no handler, and Xen, whose line is high,
//! sends it again at once. The guest does nothing else any more.
//!
//! So the line is low from when the guest is saved until its driver has touched a register again, or a time has passed:
//! a guest that was not told of its move waits no longer for a packet than that. One whose interrupt was pending need not
//! wait: the load shows the line high before it is held, which its interrupt controller remembers.

use devices_core::Wiring;
use devices_core::pci::PciConfig;
use hypervisor::Timer;

/// How long, in nanoseconds of guest time. Linux resumes within milliseconds; in an emulator it takes longer.
const HOLD: u64 = 2_000_000_000;

/// Whether it is held.
pub(super) struct HeldInterrupt {
    /// The guest's drivers may be suspended when it is saved.
    applies: bool,
    held: bool,
    timer: Timer,
}

impl HeldInterrupt {
    /// Never, unless it [applies](HeldInterrupt::applies). `number` is the timer's.
    pub fn new(wiring: &Wiring, number: u32) -> HeldInterrupt {
        HeldInterrupt { applies: false, held: false, timer: wiring.timer(number) }
    }

    /// Whether drivers may be suspended when the guest is saved: one of Xen's that has PV drivers.
    pub fn applies(&mut self, applies: bool) {
        self.applies = applies;
    }

    /// The guest is being saved, or was loaded just now.
    pub fn hold(&mut self, pci: &mut PciConfig) {
        if self.applies {
            self.held = true;
            self.timer.cancel();
            pci.hold_intx(true);
        }
    }

    /// The guest goes on.
    pub fn resumed(&mut self, now: u64) {
        if self.held {
            self.timer.arm(now.saturating_add(HOLD));
        }
    }

    /// The driver has touched a register, or the time is over.
    pub fn release(&mut self, pci: &mut PciConfig) {
        if self.held {
            self.held = false;
            self.timer.cancel();
            pci.hold_intx(false);
        }
    }
}
