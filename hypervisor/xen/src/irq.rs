//! Interrupts: levels of pins, routes of links, messages. The controllers and the router are Xen's.

use std::sync::{Arc, Mutex, MutexGuard};

use hypervisor::{IrqTarget, MsiTarget, Pin};

use crate::abi::dm::{InjectMsi, Payload, SetIsaIrqLevel, SetPciIntxLevel, SetPciLinkRoute};
use crate::domain::Domain;

/// The way to Xen's interrupt controllers. Says only what changed: ISA interrupt 9 is Xen's too, and a level
/// said again would undo its own.
pub struct Irqs {
    domain: Arc<Domain>,
    said: Mutex<Said>,
}

/// What Xen was told; None until then, for a restored domain comes with levels of its own.
struct Said {
    isa: [Option<bool>; 16],
    intx: [Option<bool>; 128],
    links: [Option<u8>; 4],
}

impl Irqs {
    /// Nothing said yet.
    pub fn new(domain: Arc<Domain>) -> Irqs {
        let said = Said { isa: [None; 16], intx: [None; 128], links: [None; 4] };
        Irqs { domain, said: Mutex::new(said) }
    }

    fn said(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn tell<P: Payload + std::fmt::Debug>(&self, payload: P) {
        if let Err(error) = self.domain.op(payload) {
            self.domain.complain(&error);
        }
    }

    fn isa(&self, irq: u8, level: bool) {
        // The lock is held while Xen is told, so that the last to speak is the last to be heard.
        let mut said = self.said();
        let Some(last) = said.isa.get_mut(usize::from(irq)) else { return };
        if last.replace(level) != Some(level) {
            self.tell(SetIsaIrqLevel { irq, level: level.into() });
        }
    }

    fn intx(&self, device: u8, pin: u8, level: bool) {
        let mut said = self.said();
        let wire = usize::from(device) * 4 + usize::from(pin);
        let Some(last) = said.intx.get_mut(wire).filter(|_| pin < 4) else { return };
        if last.replace(level) != Some(level) {
            self.tell(SetPciIntxLevel { domain: 0, bus: 0, device, intx: pin, level: level.into() });
        }
    }
}

impl IrqTarget for Irqs {
    fn set(&self, pin: Pin, level: bool) {
        match pin {
            Pin::Isa(irq) => self.isa(irq, level),
            Pin::Intx { device, pin } => self.intx(device, pin, level),
            // The processors and their controllers are Xen's; address line 20 is always open there.
            Pin::Intr | Pin::Nmi | Pin::A20 => {}
        }
    }

    fn route(&self, link: u8, irq: Option<u8>) {
        let irq = irq.filter(|irq| *irq < 16).unwrap_or(0);
        let mut said = self.said();
        let Some(last) = said.links.get_mut(usize::from(link)) else { return };
        if last.replace(irq) != Some(irq) {
            self.tell(SetPciLinkRoute { link, irq });
        }
    }
}

impl MsiTarget for Irqs {
    fn signal(&self, address: u64, data: u32) {
        self.tell(InjectMsi { data, pad: 0, addr: address });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::{DOMID, FakeXen};

    #[test]
    fn only_changes_are_told() {
        let fake = FakeXen::new(0);
        let irqs = Irqs::new(Arc::new(Domain::new(fake.clone(), DOMID)));
        for (pin, level) in [
            (Pin::Isa(9), false),
            (Pin::Isa(9), false),
            (Pin::Isa(9), true),
            (Pin::Isa(9), true),
            (Pin::Isa(16), true),
            (Pin::Nmi, true),
            (Pin::A20, true),
        ] {
            irqs.set(pin, level);
        }
        let isa = fake.ops::<SetIsaIrqLevel>();
        assert_eq!(isa, [SetIsaIrqLevel { irq: 9, level: 0 }, SetIsaIrqLevel { irq: 9, level: 1 }]);
        irqs.set(Pin::Intx { device: 31, pin: 3 }, true);
        irqs.set(Pin::Intx { device: 31, pin: 3 }, true);
        irqs.set(Pin::Intx { device: 32, pin: 0 }, true);
        irqs.set(Pin::Intx { device: 3, pin: 4 }, true);
        let expected = SetPciIntxLevel { device: 31, intx: 3, level: 1, ..Default::default() };
        assert_eq!(fake.ops::<SetPciIntxLevel>(), [expected]);
        for (link, irq) in [(0, Some(5)), (0, Some(5)), (1, None), (3, Some(200)), (4, Some(5)), (0, None)] {
            irqs.route(link, irq);
        }
        let routes = fake.ops::<SetPciLinkRoute>();
        let expected = [(0, 5), (1, 0), (3, 0), (0, 0)].map(|(link, irq)| SetPciLinkRoute { link, irq });
        assert_eq!(routes, expected);
        irqs.signal(0xfee0_1000, 0x41);
        assert_eq!(fake.ops::<InjectMsi>(), [InjectMsi { data: 0x41, pad: 0, addr: 0xfee0_1000 }]);
    }
}
