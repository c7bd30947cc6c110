//! AML terms that the tables need and `acpi_tables` does not have (ACPI 6.5, sections 6.4 and 20.2).

use acpi_tables::{Aml, AmlSink};

/// Finished AML, to be put among other terms.
#[derive(Default)]
pub struct Raw(pub Vec<u8>);

impl Raw {
    /// Appends a term.
    pub fn push(&mut self, term: &dyn Aml) {
        term.to_aml_bytes(&mut self.0);
    }
}

impl Aml for Raw {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

/// An ISA interrupt: edge-triggered, active high, not shared (small resource item 4, two bytes of mask).
pub struct IsaIrq(pub u8);

impl Aml for IsaIrq {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x22);
        sink.word(1u16.wrapping_shl(self.0.into()));
    }
}

/// An ISA DMA channel: compatibility mode, no bus master, 8 bits (small resource item 5).
pub struct IsaDma(pub u8);

impl Aml for IsaDma {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x2a);
        sink.byte(1u8.wrapping_shl(self.0.into()));
        sink.byte(0);
    }
}

/// Interrupts of a PCI link: level-triggered, active high, shared (large resource item 9). The first number lies 5
/// bytes into the descriptor.
pub struct LinkIrqs(pub &'static [u32]);

impl Aml for LinkIrqs {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const CONSUMER_SHARED: u8 = 0b1001;
        sink.byte(0x89);
        sink.word(2 + 4 * self.0.len() as u16);
        sink.byte(CONSUMER_SHARED);
        sink.byte(self.0.len() as u8);
        for number in self.0 {
            sink.dword(*number);
        }
    }
}

/// A processor object with its name, ACPI processor id, and no register block.
pub struct Processor(pub [u8; 4], pub u8);

impl Aml for Processor {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.byte(0x5b);
        sink.byte(0x83);
        // Package length, itself included: 1 + name 4 + id 1 + block address 4 + block length 1.
        sink.byte(11);
        sink.vec(&self.0);
        sink.byte(self.1);
        sink.dword(0);
        sink.byte(0);
    }
}
