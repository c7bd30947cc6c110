//! The I/O APIC.
//!
//! After "82093AA I/O Advanced Programmable Interrupt Controller" (Intel 290566), with the EOI register of
//! version 0x20, as QEMU's PC has it. It delivers messages in the format of message-signalled interrupts.
//! Not here: the APIC bus and its arbitration, and pin polarity (a wire here is asserted or not).

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use devices_core::irq::{IrqSink, Unmasked};
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};
use hypervisor::MsiTarget;

use super::lock;
use spec::*;
use state::Registers;

const KIND: &str = "ioapic";
const REGIONS: [Region; 1] = [Region::mmio("registers", BASE, SIZE)];

/// Messages of one call, one a pin at most: (address, data).
#[derive(Default)]
struct Outbox {
    messages: [(u64, u32); PINS],
    count: usize,
}

impl Outbox {
    fn push(&mut self, message: (u64, u32)) {
        if let Some(place) = self.messages.get_mut(self.count) {
            *place = message;
            self.count += 1;
        }
    }
}

impl Registers {
    /// The message that an entry makes.
    fn message(entry: u64) -> (u64, u32) {
        let destination = entry >> 56 & 0xff;
        let logical = entry >> 11 & 1;
        let level = if entry & LEVEL != 0 { MSI_LEVEL | MSI_ASSERT } else { 0 };
        (MSI_ADDRESS | destination << 12 | logical << 2, (entry & 0x7ff) as u32 | level)
    }

    /// Delivers a level triggered pin that is high, unmasked and not in service.
    fn deliver_level(&mut self, pin: usize, out: &mut Outbox) {
        let high = self.levels >> pin & 1 != 0;
        let Some(entry) = self.entries.get_mut(pin) else { return };
        if high && *entry & (LEVEL | MASKED | REMOTE_IRR) == LEVEL {
            *entry |= REMOTE_IRR;
            out.push(Registers::message(*entry));
        }
    }

    fn set_pin(&mut self, pin: usize, level: bool, out: &mut Outbox) {
        let Some(&entry) = self.entries.get(pin) else { return };
        let bit = 1 << pin;
        let rises = level && self.levels & bit == 0;
        self.levels = if level { self.levels | bit } else { self.levels & !bit };
        if entry & LEVEL != 0 {
            self.deliver_level(pin, out);
        } else if rises && entry & MASKED == 0 {
            // An edge at a masked pin is lost (82093AA, section 3.2.4, "Interrupt Mask").
            out.push(Registers::message(entry));
        }
    }

    fn end_of_interrupt(&mut self, vector: u8, out: &mut Outbox) {
        for pin in 0..PINS {
            let Some(entry) = self.entries.get_mut(pin) else { return };
            if *entry & LEVEL != 0 && *entry as u8 == vector {
                *entry &= !REMOTE_IRR;
                self.deliver_level(pin, out);
            }
        }
    }

    /// Whether an edge of the pin is lost.
    fn is_masked(&self, pin: u32) -> bool {
        self.entries.get(pin as usize).is_none_or(|entry| entry & (MASKED | LEVEL) == MASKED)
    }

    fn read(&self) -> u32 {
        match self.select {
            ID | ARBITRATION => self.id,
            VERSION => VERSION_VALUE,
            _ => self.entry().map_or(0, |(pin, high)| {
                let entry = self.entries.get(pin).copied().unwrap_or(0);
                (if high { entry >> 32 } else { entry }) as u32
            }),
        }
    }

    /// The selected redirection entry, and which half of it.
    fn entry(&self) -> Option<(usize, bool)> {
        let half = usize::from(self.select.checked_sub(REDIRECTION)?);
        (half < 2 * PINS).then_some((half / 2, half % 2 != 0))
    }

    fn write(&mut self, value: u32, out: &mut Outbox) {
        if self.select == ID {
            self.id = value & ID_MASK;
        }
        let Some((pin, high)) = self.entry() else { return };
        let Some(entry) = self.entries.get_mut(pin) else { return };
        let value = u64::from(value);
        let new = if high { *entry & 0xffff_ffff | value << 32 } else { *entry & !0xffff_ffff | value };
        *entry = new & WRITABLE | *entry & !WRITABLE;
        if *entry & LEVEL == 0 {
            // Older systems without the EOI register end an interrupt by switching to edge and back.
            *entry &= !REMOTE_IRR;
        }
        self.deliver_level(pin, out);
    }
}

struct Chip {
    registers: Mutex<Registers>,
    /// Who wants to know of pins that are masked no more.
    watched: Mutex<Vec<(u32, Unmasked)>>,
    msi: Arc<dyn MsiTarget>,
}

impl Chip {
    /// Does `act` under the lock and sends what came of it after: a local APIC may be calling.
    fn act(&self, act: impl FnOnce(&mut Registers, &mut Outbox)) {
        let mut out = Outbox::default();
        act(&mut lock(&self.registers), &mut out);
        for &(address, data) in out.messages.iter().take(out.count) {
            self.msi.signal(address, data);
        }
    }

    /// The same for what the guest writes, which may unmask a pin.
    fn written(&self, act: impl FnOnce(&mut Registers, &mut Outbox)) {
        let watched = lock(&self.watched);
        let mut masked = [false; PINS];
        self.act(|registers, out| {
            for ((pin, _), masked) in watched.iter().zip(&mut masked) {
                *masked = registers.is_masked(*pin);
            }
            act(registers, out);
            for ((pin, _), masked) in watched.iter().zip(&mut masked) {
                *masked &= !registers.is_masked(*pin);
            }
        });
        for ((_, unmasked), _) in watched.iter().zip(masked).filter(|(_, masked)| *masked) {
            unmasked();
        }
    }
}

/// The chip as wires and processors see it. Clones are handles to the same chip.
#[derive(Clone)]
pub struct IoapicHandle(Arc<Chip>);

impl IoapicHandle {
    /// A local APIC's broadcast: a level triggered interrupt with this vector has ended.
    pub fn end_of_interrupt(&self, vector: u8) {
        self.0.act(|registers, out| registers.end_of_interrupt(vector, out));
    }
}

impl IrqSink for IoapicHandle {
    fn set(&self, pin: u32, level: bool) {
        self.0.act(|registers, out| registers.set_pin(pin as usize, level, out));
    }

    fn is_masked(&self, pin: u32) -> bool {
        lock(&self.0.registers).is_masked(pin)
    }

    fn on_unmask(&self, pin: u32, unmasked: Unmasked) {
        lock(&self.0.watched).push((pin, unmasked));
    }
}

/// The chip on the bus.
pub struct Ioapic(IoapicHandle);

impl Ioapic {
    /// A chip that sends its messages to `msi`.
    pub fn new(msi: Arc<dyn MsiTarget>) -> Ioapic {
        Ioapic(IoapicHandle(Arc::new(Chip { registers: Mutex::default(), watched: Mutex::default(), msi })))
    }

    /// For wires and processors.
    pub fn handle(&self) -> IoapicHandle {
        self.0.clone()
    }
}

impl Device for Ioapic {
    fn name(&self) -> &str {
        "ioapic"
    }

    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let registers = lock(&self.0.0.registers);
        // Registers are whole: the window gives nothing to a narrower access.
        let value = match at.offset {
            IOREGSEL => u32::from(registers.select),
            IOWIN if data.len() == 4 => registers.read(),
            _ => 0,
        };
        for (byte, value) in data.iter_mut().zip(value.to_le_bytes()) {
            *byte = value;
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let mut value = [0; 4];
        for (to, from) in value.iter_mut().zip(data) {
            *to = *from;
        }
        let value = u32::from_le_bytes(value);
        self.0.0.written(|registers, out| match at.offset {
            IOREGSEL => registers.select = value as u8,
            IOWIN if data.len() == 4 => registers.write(value, out),
            EOI if data.len() == 4 => registers.end_of_interrupt(value as u8, out),
            _ => {}
        });
        Io::Done
    }

    fn reset(&mut self) {
        let mut registers = lock(&self.0.0.registers);
        // Levels belong to the wires.
        *registers = Registers { levels: registers.levels, ..Registers::default() };
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode(KIND, 1, &*lock(&self.0.0.registers))
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let registers: Registers = saved.decode(KIND, 1)?;
        registers.check()?;
        *lock(&self.0.0.registers) = registers;
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        let registers = lock(&self.0.0.registers);
        node.hex("id", registers.id >> 24).hex("levels", registers.levels);
        for (pin, entry) in registers.entries.iter().enumerate() {
            node.hex(&format!("pin{pin}"), *entry);
        }
    }
}
