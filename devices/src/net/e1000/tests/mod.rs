//! Scenarios of the card. Each runs twice: straight on, and with a save and load before every access.

mod hostile;
mod parts;
mod receive;
mod start;
mod transmit;

use std::sync::Arc;

use devices_core::net::{Nic, TestNet};
use devices_core::rig::Rig;
use devices_core::{Size, Waker};

use super::model::VARIANTS;
use super::spec::{Cause, ctrl, mdic, rctl, reg, rxd, status, tctl, txd};
use super::{E1000, Options};
use crate::board::NicConfig;
use crate::net::e1000x::tests::{
    self, BROADCAST, BUFFERS, DATA, MAC, MEMORY, PIN, PORTS, RING, RX_RING, SLOT, TX_RING, frame,
};

type Card<'a> = tests::Card<'a, E1000>;

/// Puts a card into a rig, as firmware leaves it.
fn attach(rig: &mut Rig, which: usize, options: Options) -> Card<'_> {
    let wiring = rig.wiring();
    let net = Arc::<TestNet>::default();
    let cable = NicConfig { backend: net.clone(), mac: MAC };
    let (ram, line) = (rig.ram().clone(), rig.irqs().line(PIN));
    let card = E1000::new("nic", &VARIANTS[which], options, cable, ram, line, &wiring);
    let slot = rig.attach_pci(card, &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, MEMORY as u32);
    rig.config_write(SLOT, 0, 0x14, Size::B4, PORTS.into());
    rig.config_write(SLOT, 0, 0x04, Size::B2, 7);
    Card { rig, net, slot, waker: wiring.waker() }
}

fn card(rig: &mut Rig) -> Card<'_> {
    attach(rig, 0, Options::default())
}

impl Card<'_> {
    fn causes(&mut self) -> Cause {
        Cause::from_bits_retain(self.read(reg::ICR))
    }
    /// The transmitter is on, its ring empty.
    fn start_tx(&mut self) {
        self.write(reg::TDBAL, TX_RING as u32);
        self.write(reg::TDLEN, RING * 16);
        self.write(reg::TDH, 0);
        self.write(reg::TDT, 0);
        self.write(reg::TCTL, tctl::EN | tctl::PSP);
    }
    /// Puts a descriptor into the ring.
    fn descriptor(&self, number: u32, address: u64, command: u32, upper: u32) {
        let bytes = [&address.to_le_bytes()[..], &command.to_le_bytes(), &upper.to_le_bytes()].concat();
        self.rig.poke(TX_RING + u64::from(number) * 16, &bytes);
    }
    /// Sends data by one legacy descriptor at the tail.
    fn send(&mut self, data: &[u8], command: u32) {
        self.rig.poke(DATA, data);
        let tail = self.read(reg::TDT);
        self.descriptor(tail, DATA, data.len() as u32 | txd::EOP | txd::RS | command, 0);
        self.write(reg::TDT, (tail + 1) % RING);
    }
    /// The receiver is on, with so many buffers of 2048 bytes.
    fn start_rx(&mut self, buffers: u32, control: u32) {
        for number in 0..RING {
            self.rx_descriptor(number, BUFFERS + u64::from(number) * 2048);
        }
        self.write(reg::RDBAL, RX_RING as u32);
        self.write(reg::RDLEN, RING * 16);
        self.write(reg::RDH, 0);
        self.write(reg::RDT, buffers);
        self.write(reg::RCTL, rctl::EN | rctl::BAM | rctl::SECRC | control);
    }
    fn rx_descriptor(&self, number: u32, buffer: u64) {
        let bytes = [&buffer.to_le_bytes()[..], &[0; 8]].concat();
        self.rig.poke(RX_RING + u64::from(number) * 16, &bytes);
    }
    /// A descriptor that was written back: length, checksum, status with errors, tag.
    fn received(&self, number: u32) -> (u16, u16, u32, u16) {
        let d = self.rig.peek(RX_RING + u64::from(number) * 16 + 8, 8);
        let word = |at: usize| u16::from_le_bytes([d[at], d[at + 1]]);
        (word(0), word(2), u32::from_le_bytes([d[4], 0, 0, d[5]]), word(6))
    }
    fn buffer(&self, number: u32, len: usize) -> Vec<u8> {
        self.rig.peek(BUFFERS + u64::from(number) * 2048, len)
    }
}
