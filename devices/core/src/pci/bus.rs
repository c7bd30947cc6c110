//! A PCI bus: which function is where, and the interrupt pins of its slots.
//!
//! Addresses that somebody named are taken first; what has none gets the lowest slot that is empty, as with
//! QEMU, so that no address that a configuration or a saved guest names ever moves because another device
//! came.

use std::collections::BTreeMap;

use ioreq::Sbdf;
use thiserror::Error;

use crate::irq::{IrqBank, IrqLine};

/// Slots of a bus.
const SLOTS: u8 = 32;

/// A bus, as the one who puts devices on it sees it.
pub struct PciBus {
    /// Who is where, by devfn.
    functions: BTreeMap<u8, String>,
    intx: IrqBank,
}

/// Why a function has no place. In QEMU's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlaceError {
    /// Somebody is there.
    #[error("PCI: slot {slot} function {function} not available for {name}, in use by {by}")]
    Taken {
        /// The slot.
        slot: u8,
        /// The function.
        function: u8,
        /// Who was to have it.
        name: String,
        /// Who has it.
        by: String,
    },
    /// No slot is empty.
    #[error("PCI: no slot/function available for {0}, all in use or reserved")]
    Full(String),
}

impl PciBus {
    /// An empty bus. Wire device * 4 + pin of `intx` is that pin (0 is INTA), 128 in all.
    pub fn new(intx: IrqBank) -> PciBus {
        PciBus { functions: BTreeMap::new(), intx }
    }

    /// Takes a place for `name`. Function 0 of a slot is not needed: software finds the others only if it is
    /// there and says that there are more.
    pub fn take(&mut self, devfn: u8, name: &str) -> Result<(), PlaceError> {
        match self.functions.get(&devfn) {
            Some(by) => Err(PlaceError::Taken {
                slot: devfn >> 3,
                function: devfn & 7,
                name: name.to_owned(),
                by: by.clone(),
            }),
            None => {
                self.functions.insert(devfn, name.to_owned());
                Ok(())
            }
        }
    }

    /// Takes function 0 of the lowest slot that is empty.
    pub fn allocate(&mut self, name: &str) -> Result<u8, PlaceError> {
        let empty = |slot: &u8| self.functions.range(slot << 3..=slot << 3 | 7).next().is_none();
        let slot = (0..SLOTS).find(empty).ok_or_else(|| PlaceError::Full(name.to_owned()))?;
        self.functions.insert(slot << 3, name.to_owned());
        Ok(slot << 3)
    }

    /// Gives a place back.
    pub fn release(&mut self, devfn: u8) {
        self.functions.remove(&devfn);
    }

    /// Who is at a devfn.
    pub fn at(&self, devfn: u8) -> Option<&str> {
        self.functions.get(&devfn).map(String::as_str)
    }

    /// Who is in a slot, by function.
    pub fn in_slot(&self, slot: u8) -> impl Iterator<Item = &str> {
        let first = slot.min(SLOTS - 1) << 3;
        self.functions.range(first..=first | 7).map(|(_, name)| name.as_str())
    }

    /// A line to interrupt pin `pin` (0 is INTA) of the function's slot.
    pub fn intx(&self, devfn: u8, pin: u8) -> IrqLine {
        self.intx.line(u32::from(devfn >> 3) * 4 + u32::from(pin & 3))
    }
}

/// The address on bus 0 of a devfn.
pub fn on_bus_0(devfn: u8) -> Sbdf {
    Sbdf::bus0(devfn >> 3, devfn & 7)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::irq::IrqSink;

    #[derive(Default)]
    struct Log(Mutex<Vec<(u32, bool)>>);
    impl IrqSink for Log {
        fn set(&self, pin: u32, level: bool) {
            self.0.lock().unwrap().push((pin, level));
        }
    }

    #[test]
    fn what_is_named_stays_and_the_rest_goes_around_it() {
        let mut bus = PciBus::new(IrqBank::new(128, Arc::new(Log::default())));
        bus.take(0, "host").unwrap();
        bus.take(2 << 3 | 1, "named").unwrap();
        assert_eq!(bus.allocate("a"), Ok(1 << 3));
        assert_eq!(bus.allocate("b"), Ok(3 << 3), "a slot with any function is not empty");
        bus.release(1 << 3);
        assert_eq!(bus.allocate("c"), Ok(1 << 3));
        let error = bus.take(1 << 3, "d").unwrap_err();
        assert_eq!(error.to_string(), "PCI: slot 1 function 0 not available for d, in use by c");
        assert_eq!(bus.in_slot(2).collect::<Vec<_>>(), ["named"]);
        for _ in 4..32 {
            bus.allocate("e").unwrap();
        }
        assert_eq!(bus.allocate("f"), Err(PlaceError::Full("f".into())));
    }

    #[test]
    fn each_pin_of_a_slot_is_a_wire() {
        let log = Arc::new(Log::default());
        let bus = PciBus::new(IrqBank::new(128, log.clone()));
        let mut line = bus.intx(31 << 3 | 2, 3);
        line.set(true);
        drop(line);
        assert_eq!(*log.0.lock().unwrap(), [(127, true), (127, false)]);
    }
}
