//! From PCI interrupt pins over the four links to ISA interrupts.

use std::sync::{Mutex, MutexGuard};

use devices_core::irq::{IrqBank, IrqLine, IrqSink};

/// Number of links: PIRQA to PIRQD.
pub const LINKS: usize = 4;

/// Where the route control registers are heard.
pub trait Links: Send + Sync {
    /// Link `link` (0 is PIRQA) goes to ISA interrupt `irq` (0-15), or nowhere. Called for each link on
    /// a change, with the bridge's lock held; saying the same again does nothing.
    fn route(&self, link: u8, irq: Option<u8>);
}

/// The link of pin `pin` (0 is INTA) of `device` on bus 0, as the 440FX board is wired.
pub const fn link_of(device: u8, pin: u8) -> u8 {
    device.wrapping_add(pin).wrapping_sub(1) & 3
}

/// The wires of each link, one bit each.
const WIRES: [u128; LINKS] = {
    let mut wires = [0; LINKS];
    let mut wire = 0;
    while wire < 128 {
        wires[link_of(wire / 4, wire & 3) as usize] |= 1 << wire;
        wire += 1;
    }
    wires
};

/// The router. As an interrupt sink its wires are the pins of bus 0: device * 4 + pin, 128 of them.
pub struct PirqRouter {
    isa: IrqBank,
    inner: Mutex<Inner>,
}

struct Inner {
    /// Levels of the wires.
    high: u128,
    links: [Link; LINKS],
}

struct Link {
    irq: Option<u8>,
    line: IrqLine,
}

impl PirqRouter {
    /// A router to the sixteen wires of `isa`. All links lead nowhere.
    pub fn new(isa: IrqBank) -> PirqRouter {
        let links = std::array::from_fn(|_| Link { irq: None, line: IrqLine::unconnected() });
        PirqRouter { isa, inner: Mutex::new(Inner { high: 0, links }) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Inner {
    fn level(&self, link: u8) -> bool {
        WIRES.get(usize::from(link)).is_some_and(|wires| self.high & wires != 0)
    }
}

impl IrqSink for PirqRouter {
    fn set(&self, wire: u32, level: bool) {
        if wire >= 128 {
            return;
        }
        let mut inner = self.inner();
        inner.high = inner.high & !(1 << wire) | u128::from(level) << wire;
        let link = link_of((wire / 4) as u8, (wire & 3) as u8);
        let level = inner.level(link);
        if let Some(link) = inner.links.get_mut(usize::from(link)) {
            link.line.set(level);
        }
    }
}

impl Links for PirqRouter {
    fn route(&self, link: u8, irq: Option<u8>) {
        let mut inner = self.inner();
        let level = inner.level(link);
        let Some(link) = inner.links.get_mut(usize::from(link)) else { return };
        if link.irq == irq {
            return;
        }
        link.irq = irq;
        // The old line is lowered as it is dropped.
        link.line = irq.map_or_else(IrqLine::unconnected, |irq| self.isa.line(irq.into()));
        link.line.set(level);
    }
}
