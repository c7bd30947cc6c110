//! The PC's two 8259A interrupt controllers and the edge/level control of the PIIX3.
//!
//! After "8259A Programmable Interrupt Controller" (Intel 231468) and the 82371SB data sheet (290550). Not
//! here: the MCS-80/85 mode, buffered mode, and the level bit (LTIM) of ICW1, which the PIIX3 replaces by
//! the ELCR. As in QEMU an edge stays latched when its input falls before the acknowledge; an acknowledge
//! with nothing to give yields input 7's vector with no bit in service.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex};

use devices_core::irq::{IrqSink, Unmasked};
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

use super::{Output, lock};
use spec::*;
use state::{Chips, Half, Step};

/// Inputs of the pair; number 2 is the cascade and leads nowhere.
pub const PINS: u32 = 16;

const KIND: &str = "i8259";
const REGIONS: [Region; 3] =
    [Region::pio("master", MASTER, 2), Region::pio("slave", SLAVE, 2), Region::pio("elcr", ELCR, 2)];

impl Half {
    /// Rank of the first of `set` in the present order of priorities, 8 if there is none.
    fn rank(&self, set: u8) -> u8 {
        set.rotate_right(self.highest.into()).trailing_zeros() as u8
    }

    fn at_rank(&self, rank: u8) -> u8 {
        (self.highest + rank) & 7
    }

    /// The input that asks for service, if one may. `cascade`: the input that a slave sits on.
    fn requesting(&self, cascade: Option<u8>) -> Option<u8> {
        let wanted = self.rank(self.irr & !self.imr);
        let mut serving = self.isr;
        if self.special_mask {
            serving &= !self.imr;
        }
        if let Some(input) = cascade.filter(|_| self.nested) {
            serving &= !(1 << input);
        }
        (wanted < self.rank(serving)).then(|| self.at_rank(wanted))
    }

    fn set(&mut self, input: u8, level: bool) {
        let bit = 1 << (input & 7);
        let rises = level && self.levels & bit == 0;
        if rises || level && self.elcr & bit != 0 {
            self.irr |= bit;
        } else if !level && self.elcr & bit != 0 {
            self.irr &= !bit;
        }
        self.levels = if level { self.levels | bit } else { self.levels & !bit };
    }

    /// Whether edges of the input make no difference: one is latched, and waits.
    fn is_masked(&self, input: u8) -> bool {
        let bit = 1 << (input & 7);
        self.irr & self.imr & !self.elcr & bit != 0
    }

    /// The acknowledge cycle for `input`.
    fn serve(&mut self, input: u8) {
        let bit = 1 << input;
        if !self.auto_eoi {
            self.isr |= bit;
        } else if self.auto_rotate {
            self.highest = (input + 1) & 7;
        }
        if self.elcr & bit == 0 {
            self.irr &= !bit;
        }
    }

    fn set_elcr(&mut self, value: u8, mask: u8) {
        self.elcr = value & mask;
        self.irr = self.irr & !self.elcr | self.levels & self.elcr;
    }

    /// ICW1 resets all but the wiring: levels and their sense.
    fn initialize(&mut self, icw1: u8) {
        *self = Half {
            levels: self.levels,
            irr: self.levels & self.elcr,
            elcr: self.elcr,
            step: Step::Icw2,
            want_icw4: icw1 & ICW1_IC4 != 0,
            single: icw1 & ICW1_SNGL != 0,
            ..Half::default()
        };
    }

    fn command(&mut self, value: u8) {
        if value & ICW1 != 0 {
            self.initialize(value);
        } else if value & OCW3 != 0 {
            self.poll |= value & OCW3_POLL != 0;
            if value & OCW3_RR != 0 {
                self.read_isr = value & OCW3_RIS != 0;
            }
            if value & OCW3_ESMM != 0 {
                self.special_mask = value & OCW3_SMM != 0;
            }
        } else {
            self.end_or_rotate(value >> 5, value & 7);
        }
    }

    /// OCW2: bits rotate, specific, end of interrupt.
    fn end_or_rotate(&mut self, command: u8, level: u8) {
        match command {
            0b000 | 0b100 => self.auto_rotate = command != 0,
            0b001 | 0b101 => {
                // In special mask mode a masked level is not ended without being named.
                let hidden = if self.special_mask { self.imr } else { 0 };
                let rank = self.rank(self.isr & !hidden);
                if rank < 8 {
                    let input = self.at_rank(rank);
                    self.isr &= !(1 << input);
                    if command == 0b101 {
                        self.highest = (input + 1) & 7;
                    }
                }
            }
            0b011 | 0b111 => {
                self.isr &= !(1 << level);
                if command == 0b111 {
                    self.highest = (level + 1) & 7;
                }
            }
            0b110 => self.highest = (level + 1) & 7,
            _ => {}
        }
    }

    fn data(&mut self, value: u8) {
        let after = if self.want_icw4 { Step::Icw4 } else { Step::Ready };
        match self.step {
            Step::Ready => self.imr = value,
            Step::Icw2 => {
                self.base = value & ICW2_BASE;
                self.step = if self.single { after } else { Step::Icw3 };
            }
            // The PC's wiring is fixed.
            Step::Icw3 => self.step = after,
            Step::Icw4 => {
                self.nested = value & ICW4_SFNM != 0;
                self.auto_eoi = value & ICW4_AEOI != 0;
                self.step = Step::Ready;
            }
        }
    }

    fn read(&mut self, data_port: bool, cascade: Option<u8>) -> u8 {
        if std::mem::take(&mut self.poll) {
            let Some(input) = self.requesting(cascade) else { return 0 };
            self.serve(input);
            return POLL_INT | input;
        }
        match (data_port, self.read_isr) {
            (true, _) => self.imr,
            (false, true) => self.isr,
            (false, false) => self.irr,
        }
    }

    fn inspect(&self, node: &mut Node) {
        node.hex("levels", self.levels).hex("irr", self.irr).hex("isr", self.isr).hex("imr", self.imr);
        node.hex("elcr", self.elcr).hex("base", self.base).value("highest", self.highest);
        node.value("auto_eoi", self.auto_eoi).value("special_mask", self.special_mask);
    }
}

impl Chips {
    /// The same of a pin of the pair; one that it has not, or that leads nowhere, is masked.
    fn is_masked(&self, pin: u32) -> bool {
        match pin {
            0..8 if pin != u32::from(CASCADE) => self.master.is_masked(pin as u8),
            8..PINS => self.slave.is_masked(pin as u8 - 8),
            _ => true,
        }
    }
}

struct Pair {
    chips: Chips,
    /// The master's output.
    intr: bool,
    output: Output,
    watched: Vec<Watched>,
}

/// Somebody wants to know when an input is masked no more.
struct Watched {
    pin: u32,
    masked: bool,
    unmasked: Unmasked,
}

impl Pair {
    /// Carries the slave's output to the master and the master's to the processor.
    fn settle(&mut self) {
        let slave = self.chips.slave.requesting(None).is_some();
        self.chips.master.set(CASCADE, slave);
        let intr = self.chips.master.requesting(Some(CASCADE)).is_some();
        if intr != self.intr {
            self.intr = intr;
            (self.output)(intr);
        }
        for Watched { pin, masked, unmasked } in &mut self.watched {
            let was = std::mem::replace(masked, self.chips.is_masked(*pin));
            if was && !*masked {
                unmasked();
            }
        }
    }

    fn half(&mut self, slave: bool) -> &mut Half {
        if slave { &mut self.chips.slave } else { &mut self.chips.master }
    }

    fn acknowledge(&mut self) -> u8 {
        let Chips { master, slave } = &mut self.chips;
        let vector = match master.requesting(Some(CASCADE)) {
            Some(CASCADE) => {
                let input = slave.requesting(None);
                if let Some(input) = input {
                    slave.serve(input);
                }
                master.serve(CASCADE);
                // A slave that still asks (automatic end of interrupt) makes no edge: ask for it.
                if slave.requesting(None).is_some() {
                    master.irr |= 1 << CASCADE;
                }
                slave.base | input.unwrap_or(7)
            }
            Some(input) => {
                master.serve(input);
                master.base | input
            }
            None => master.base | 7,
        };
        self.settle();
        vector
    }
}

/// The pair as wires and processors see it. Clones are handles to the same chips.
#[derive(Clone)]
pub struct PicHandle(Arc<Mutex<Pair>>);

impl PicHandle {
    /// An interrupt acknowledge: the vector of the most urgent request, which is now in service; that of
    /// input 7 if there is none.
    pub fn acknowledge(&self) -> u8 {
        lock(&self.0).acknowledge()
    }

    /// Level of the output to the processor.
    pub fn intr(&self) -> bool {
        lock(&self.0).intr
    }
}

impl IrqSink for PicHandle {
    fn set(&self, pin: u32, level: bool) {
        if pin >= PINS || pin == u32::from(CASCADE) {
            return;
        }
        let mut pair = lock(&self.0);
        pair.half(pin >= 8).set(pin as u8 & 7, level);
        pair.settle();
    }

    fn is_masked(&self, pin: u32) -> bool {
        lock(&self.0).chips.is_masked(pin)
    }

    fn on_unmask(&self, pin: u32, unmasked: Unmasked) {
        let mut pair = lock(&self.0);
        let masked = pair.chips.is_masked(pin);
        pair.watched.push(Watched { pin, masked, unmasked });
    }
}

/// The pair on the bus.
pub struct Pic(PicHandle);

impl Pic {
    /// A pair whose master drives `output` (INTR of the bootstrap processor).
    pub fn new(output: Output) -> Pic {
        let pair = Pair { chips: Chips::default(), intr: false, output, watched: Vec::new() };
        Pic(PicHandle(Arc::new(Mutex::new(pair))))
    }

    /// For wires and processors.
    pub fn handle(&self) -> PicHandle {
        self.0.clone()
    }
}

impl Device for Pic {
    fn name(&self) -> &str {
        "pic"
    }

    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let mut pair = lock(&self.0.0);
        let second = at.offset != 0;
        let value = match at.region {
            0 => pair.half(false).read(second, Some(CASCADE)),
            1 => pair.half(true).read(second, None),
            _ => pair.half(second).elcr,
        };
        pair.settle();
        data.fill(value);
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let Some(&value) = data.first() else { return Io::Done };
        let mut pair = lock(&self.0.0);
        match (at.region, at.offset) {
            (chip @ (0 | 1), 0) => pair.half(chip == 1).command(value),
            (chip @ (0 | 1), _) => pair.half(chip == 1).data(value),
            (_, 0) => pair.half(false).set_elcr(value, ELCR_MASK[0]),
            (_, _) => pair.half(true).set_elcr(value, ELCR_MASK[1]),
        }
        pair.settle();
        Io::Done
    }

    fn reset(&mut self) {
        let mut pair = lock(&self.0.0);
        // Levels belong to the wires.
        for slave in [false, true] {
            let half = pair.half(slave);
            *half = Half { levels: half.levels, ..Half::default() };
        }
        pair.settle();
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode(KIND, 1, &lock(&self.0.0).chips)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let chips: Chips = saved.decode(KIND, 1)?;
        chips.check()?;
        let mut pair = lock(&self.0.0);
        pair.chips = chips;
        pair.settle();
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        let pair = lock(&self.0.0);
        node.value("intr", pair.intr);
        pair.chips.master.inspect(node.child("master"));
        pair.chips.slave.inspect(node.child("slave"));
    }
}
