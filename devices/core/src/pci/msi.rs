//! The capability list, and message-signalled interrupts in configuration space (PCI Local Bus
//! Specification 3.0, sections 6.7 and 6.8.1).

use std::sync::Arc;

use hypervisor::MsiTarget;
use hypervisor::inspect::Node;

use super::{PciConfig, command, reg};

/// Status bit (low byte): there is a capability list.
const STATUS_CAPABILITIES: u8 = 1 << 4;
/// Capability id.
const MSI: u8 = 0x05;

/// Message control, from the capability's start.
const CONTROL: u16 = 2;
/// Message address, low half.
const ADDRESS: u16 = 4;
/// Message control: enable.
const ENABLE: u16 = 1 << 0;
/// Message control: shift of log2 of the vectors that the function can use, three bits.
const CAPABLE_SHIFT: u16 = 1;
/// Message control: shift of log2 of those that it may use, three bits.
const GRANTED_SHIFT: u16 = 4;
/// Message control: the address has 64 bits.
const WIDE: u16 = 1 << 7;
/// Message control: vectors can be masked.
const MASKABLE: u16 = 1 << 8;

/// What a function's MSI capability is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MsiShape {
    /// Vectors: 1, 2, 4, 8, 16 or 32.
    pub vectors: u8,
    /// Addresses have 64 bits.
    pub wide: bool,
    /// Each vector can be masked.
    pub maskable: bool,
}

impl MsiShape {
    fn data_at(self) -> u16 {
        if self.wide { 0x0c } else { 0x08 }
    }
    fn mask_at(self) -> u16 {
        self.data_at() + 4
    }
    fn pending_at(self) -> u16 {
        self.data_at() + 8
    }
    fn len(self) -> u16 {
        if self.maskable { self.pending_at() + 4 } else { self.data_at() + 2 }
    }
    /// Mask of the bits that vectors have.
    fn bits(self) -> u32 {
        u32::MAX >> (32 - u32::from(self.vectors))
    }
}

/// The capability. Its registers, pending bits included, are the bytes of the configuration space.
pub(super) struct Msi {
    at: u16,
    shape: MsiShape,
    target: Arc<dyn MsiTarget>,
}

impl PciConfig {
    /// Adds a capability of `len` bytes (its header of two included) at `at`, a multiple of 4 from 0x40 on,
    /// in front of those that are there, as QEMU's devices have them. Its body is zero and read only.
    pub fn capability(&mut self, at: u16, id: u8, len: u16) {
        assert!(at >= 0x40 && at.is_multiple_of(4) && at + len <= 0x100, "a capability has its place");
        let next = self.u8(reg::CAPABILITIES);
        self.set(at, &vec![0; usize::from(len)]);
        self.set(at, &[id, next]);
        self.allow(at, &vec![0; usize::from(len)]);
        self.set(reg::CAPABILITIES, &[at as u8]);
        self.set(reg::STATUS, &[self.u8(reg::STATUS) | STATUS_CAPABILITIES]);
    }

    /// Adds MSI at `at`; see [`message`](PciConfig::message).
    pub fn msi(&mut self, at: u16, shape: MsiShape, target: Arc<dyn MsiTarget>) {
        assert!(shape.vectors.is_power_of_two() && shape.vectors <= 32, "MSI has 1 to 32 vectors");
        self.capability(at, MSI, shape.len());
        let flag = |on, bit| if on { bit } else { 0 };
        let capable = (shape.vectors.ilog2() as u16) << CAPABLE_SHIFT;
        self.set_u16(at + CONTROL, capable | flag(shape.wide, WIDE) | flag(shape.maskable, MASKABLE));
        self.allow(at + CONTROL, &(ENABLE | 7 << GRANTED_SHIFT).to_le_bytes());
        self.allow(at + ADDRESS, &(!3u32).to_le_bytes());
        if shape.wide {
            self.allow(at + ADDRESS + 4, &[0xff; 4]);
        }
        self.allow(at + shape.data_at(), &[0xff; 2]);
        if shape.maskable {
            self.allow(at + shape.mask_at(), &shape.bits().to_le_bytes());
        }
        self.msi = Some(Msi { at, shape, target });
    }

    /// Sends an interrupt message: vector `vector`, counted from 0. True if the guest has enabled MSI-X or
    /// MSI: then the message is sent, or is pending while masked, or lost while bus mastering is off. False
    /// if it has not: the function interrupts by [`set_intx`](PciConfig::set_intx).
    ///
    /// Where MSI was granted fewer vectors than the function has, vectors share by their low bits. A vector
    /// that MSI-X does not have is lost.
    pub fn message(&mut self, vector: u16) -> bool {
        if self.msix_message(vector) {
            return true;
        }
        let enabled = self.msi_enabled();
        if let (true, Some(msi)) = (enabled, &self.msi) {
            let vector = u32::from(vector) & ((1 << msi.granted(self)) - 1);
            if msi.masked(self) >> vector & 1 != 0 {
                let pending = msi.pending(self) | 1 << vector;
                self.set_msi_pending(pending);
            } else {
                msi.send(self, vector);
            }
        }
        enabled
    }

    /// A level-triggered interrupt source with one vector: INTx follows it, and a message (vector 0) tells
    /// that it rose.
    pub fn set_interrupt(&mut self, level: bool) {
        let rises = level && !self.intx;
        self.set_intx(level);
        if rises {
            self.message(0);
        }
    }

    /// Whether the guest has enabled MSI or MSI-X, so that INTx is silent.
    pub fn messages_enabled(&self) -> bool {
        self.msi_enabled() || self.msix_enabled()
    }

    fn msi_enabled(&self) -> bool {
        self.msi.as_ref().is_some_and(|msi| self.u16(msi.at + CONTROL) & ENABLE != 0)
    }

    /// After a write to the capability, or a load: keeps what was granted within what there is, and sends
    /// what waited and may go now.
    pub(super) fn follow_msi(&mut self) {
        let Some(msi) = &self.msi else { return };
        let at = msi.at + CONTROL;
        let most = msi.shape.vectors.ilog2() as u16;
        let control = self.u16(at);
        if control >> GRANTED_SHIFT & 7 > most {
            let control = control & !(7 << GRANTED_SHIFT) | most << GRANTED_SHIFT;
            let [low, high] = control.to_le_bytes();
            self.poke(at, low);
            self.poke(at + 1, high);
        }
        self.send_waiting();
    }

    fn send_waiting(&mut self) {
        let Some(msi) = self.msi.as_ref().filter(|_| self.msi_enabled()) else { return };
        let pending = msi.pending(self);
        let go = pending & !msi.masked(self);
        if go == 0 {
            return;
        }
        (0..32).filter(|vector| go >> vector & 1 != 0).for_each(|vector| msi.send(self, vector));
        self.set_msi_pending(pending & !go);
    }

    fn set_msi_pending(&mut self, pending: u32) {
        let Some(msi) = self.msi.as_ref().filter(|msi| msi.shape.maskable) else { return };
        for (at, byte) in (msi.at + msi.shape.pending_at()..).zip(pending.to_le_bytes()) {
            self.poke(at, byte);
        }
    }

    /// Sends one message, if the function may write to memory.
    pub(super) fn signal(&self, target: &Arc<dyn MsiTarget>, address: u64, data: u32) {
        if self.command() & command::MASTER != 0 {
            target.signal(address, data);
        }
    }

    pub(super) fn inspect_msi(&self, node: &mut Node) {
        let Some(msi) = &self.msi else { return };
        node.value("enabled", self.msi_enabled()).value("vectors", 1 << msi.granted(self));
        node.hex("address", msi.address(self)).hex("data", msi.data(self));
        if msi.shape.maskable {
            node.hex("masked", msi.masked(self)).hex("pending", msi.pending(self));
        }
    }
}

impl Msi {
    /// Log2 of the vectors that the function may use.
    fn granted(&self, config: &PciConfig) -> u16 {
        let granted = config.u16(self.at + CONTROL) >> GRANTED_SHIFT & 7;
        granted.min(self.shape.vectors.ilog2() as u16)
    }
    fn address(&self, config: &PciConfig) -> u64 {
        let high = if self.shape.wide { config.u32(self.at + ADDRESS + 4) } else { 0 };
        u64::from(config.u32(self.at + ADDRESS) & !3) | u64::from(high) << 32
    }
    fn data(&self, config: &PciConfig) -> u16 {
        config.u16(self.at + self.shape.data_at())
    }
    fn masked(&self, config: &PciConfig) -> u32 {
        if self.shape.maskable { config.u32(self.at + self.shape.mask_at()) } else { 0 }
    }
    fn pending(&self, config: &PciConfig) -> u32 {
        if self.shape.maskable { config.u32(self.at + self.shape.pending_at()) } else { 0 }
    }
    /// The low bits of the data tell the vector.
    fn send(&self, config: &PciConfig, vector: u32) {
        let vectors = (1 << self.granted(config)) - 1;
        let data = u32::from(self.data(config)) & !vectors | vector & vectors;
        config.signal(&self.target, self.address(config), data);
    }
}
