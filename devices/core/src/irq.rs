//! Interrupt lines: level wires with several sharers.

use std::sync::{Arc, Mutex};

/// The receiving end of a bank of wires: an interrupt controller or a router. Called with the wire's lock
/// held, on a change only; takes at most locks of the router rank.
pub trait IrqSink: Send + Sync {
    /// Wire `pin` went to `level`.
    fn set(&self, pin: u32, level: bool);
    /// Whether edges of wire `pin` make no difference as things stand: none of them would be delivered, nor be
    /// remembered where it is not remembered already.
    fn is_masked(&self, _pin: u32) -> bool {
        false
    }
    /// Has `unmasked` called each time when [`is_masked`](IrqSink::is_masked) ceases to hold for wire `pin`.
    fn on_unmask(&self, _pin: u32, _unmasked: Unmasked) {}
}

/// Hears that a wire's edges make a difference again. Called with locks of the router rank held: it arms a timer, and
/// no more.
pub type Unmasked = Arc<dyn Fn() + Send + Sync>;

/// A bank of wires that lead to one sink. Clones are handles.
#[derive(Clone)]
pub struct IrqBank {
    wires: Arc<[Mutex<u32>]>,
    sink: Arc<dyn IrqSink>,
}

impl IrqBank {
    /// `pins` wires, all low.
    pub fn new(pins: u32, sink: Arc<dyn IrqSink>) -> IrqBank {
        IrqBank { wires: (0..pins).map(|_| Mutex::new(0)).collect(), sink }
    }

    /// One more sharer of wire `pin`. A pin that the bank does not have gives a line that leads nowhere.
    pub fn line(&self, pin: u32) -> IrqLine {
        IrqLine { to: Some((self.clone(), pin)), level: false }
    }
}

/// One sharer of a wire: the wire is high while any of its lines is. Dropping a line lowers it.
pub struct IrqLine {
    to: Option<(IrqBank, u32)>,
    level: bool,
}

impl IrqLine {
    /// A line that leads nowhere.
    pub fn unconnected() -> IrqLine {
        IrqLine { to: None, level: false }
    }

    /// Drives the line. Setting the level that it has does nothing.
    pub fn set(&mut self, level: bool) {
        if self.level == level {
            return;
        }
        self.level = level;
        let Some((bank, pin)) = &self.to else { return };
        let Some(wire) = bank.wires.get(*pin as usize) else { return };
        let mut sharers = wire.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        *sharers = if level { *sharers + 1 } else { *sharers - 1 };
        if *sharers == u32::from(level) {
            bank.sink.set(*pin, level);
        }
    }

    /// A rising edge and back, for edge-triggered inputs.
    pub fn pulse(&mut self) {
        self.set(true);
        self.set(false);
    }

    /// Whether its edges make no difference ([`IrqSink::is_masked`]). One that leads nowhere may be watched still.
    pub fn is_masked(&self) -> bool {
        self.to.as_ref().is_some_and(|(bank, pin)| bank.sink.is_masked(*pin))
    }

    /// Has `unmasked` called when they do again.
    pub fn on_unmask(&self, unmasked: Unmasked) {
        if let Some((bank, pin)) = &self.to {
            bank.sink.on_unmask(*pin, unmasked);
        }
    }

    /// The level this sharer drives.
    pub fn level(&self) -> bool {
        self.level
    }
}

impl Drop for IrqLine {
    fn drop(&mut self) {
        self.set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Log(Mutex<Vec<(u32, bool)>>);
    impl IrqSink for Log {
        fn set(&self, pin: u32, level: bool) {
            self.0.lock().unwrap().push((pin, level));
        }
    }

    #[test]
    fn a_wire_is_the_or_of_its_sharers() {
        let log = Arc::new(Log::default());
        let bank = IrqBank::new(4, log.clone());
        let (mut a, mut b) = (bank.line(3), bank.line(3));
        a.set(true);
        a.set(true);
        b.set(true);
        a.set(false);
        drop(b);
        bank.line(9).set(true);
        assert_eq!(*log.0.lock().unwrap(), [(3, true), (3, false)]);
    }
}
