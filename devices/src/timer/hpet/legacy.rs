//! Legacy replacement: who drives IRQ 0 and IRQ 8.

use std::sync::{Arc, Mutex, MutexGuard};

use devices_core::irq::{IrqBank, IrqLine, IrqSink, Unmasked};

/// The wire of the 8254 among the inputs.
pub const PIT: u32 = 0;
/// The wire of the clock.
pub const RTC: u32 = 1;

/// A switch for two wires: the 8254's and the clock's interrupts pass until the HPET's timers 0 and 1
/// take their place. Attach the HPET before the other two, so that a load sets the switch before they
/// raise their lines.
pub struct Legacy {
    switch: Mutex<Switch>,
}

struct Switch {
    replaced: bool,
    /// Levels of the 8254 and the clock.
    inputs: [bool; 2],
    /// Levels of the HPET's timers 0 and 1.
    timers: [bool; 2],
    /// IRQ 0 and IRQ 8.
    outputs: [IrqLine; 2],
    /// Who of the 8254 and the clock wants to know that they are not replaced any more.
    unmasked: [Vec<Unmasked>; 2],
}

impl Switch {
    fn drive(&mut self) {
        let levels = if self.replaced { self.timers } else { self.inputs };
        for (line, level) in self.outputs.iter_mut().zip(levels) {
            line.set(level);
        }
    }
}

impl Legacy {
    /// A switch in front of IRQ 0 and IRQ 8 of `gsi`.
    pub fn new(gsi: &IrqBank) -> Arc<Legacy> {
        let outputs = [gsi.line(0), gsi.line(8)];
        let unmasked = [Vec::new(), Vec::new()];
        let switch = Switch { replaced: false, inputs: [false; 2], timers: [false; 2], outputs, unmasked };
        Arc::new(Legacy { switch: Mutex::new(switch) })
    }

    /// Its inputs, [`PIT`] and [`RTC`].
    pub fn inputs(self: &Arc<Legacy>) -> IrqBank {
        IrqBank::new(2, self.clone())
    }

    /// The HPET's side: its timers 0 and 1 as a bank.
    pub(super) fn timers(self: &Arc<Legacy>) -> IrqBank {
        IrqBank::new(2, Arc::new(Timers(self.clone())))
    }

    pub(super) fn replace(&self, replaced: bool) {
        let mut switch = self.lock();
        let ends = switch.replaced && !replaced;
        switch.replaced = replaced;
        switch.drive();
        if ends {
            switch.unmasked.iter().flatten().for_each(|unmasked| unmasked());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Switch> {
        self.switch.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl IrqSink for Legacy {
    fn set(&self, pin: u32, level: bool) {
        let mut switch = self.lock();
        if let Some(input) = switch.inputs.get_mut(pin as usize) {
            *input = level;
        }
        switch.drive();
    }

    fn is_masked(&self, pin: u32) -> bool {
        let switch = self.lock();
        switch.replaced || switch.outputs.get(pin as usize).is_none_or(IrqLine::is_masked)
    }

    fn on_unmask(&self, pin: u32, unmasked: Unmasked) {
        let mut switch = self.lock();
        if let Some(output) = switch.outputs.get(pin as usize) {
            output.on_unmask(unmasked.clone());
        }
        if let Some(to) = switch.unmasked.get_mut(pin as usize) {
            to.push(unmasked);
        }
    }
}

struct Timers(Arc<Legacy>);

impl IrqSink for Timers {
    fn set(&self, pin: u32, level: bool) {
        let mut switch = self.0.lock();
        if let Some(timer) = switch.timers.get_mut(pin as usize) {
            *timer = level;
        }
        switch.drive();
    }
}
