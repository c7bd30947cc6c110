//! Scenarios of the card. Each runs twice: straight on, and with a save and load before every access.

mod hostile;
mod interrupts;
mod parts;
mod receive;
mod start;
mod transmit;

use std::sync::Arc;

use devices_core::net::{Nic, TestNet};
use devices_core::rig::Rig;
use devices_core::{Size, Waker};

use super::spec::{Cause, ctrl, eerd, mdic, rctl, reg, rfctl, rxcsum, rxd, status, tctl, txd};
use super::{E1000e, EXPRESS_AT, MSI_AT, MSIX_AT, Options, PM_AT};
use crate::board::NicConfig;
use crate::net::e1000x::tests::{
    self, BROADCAST, BUFFERS, DATA, MAC, MEMORY, PIN, PORTS, RING, RX_RING, SLOT, TX_RING, frame,
};

const FLASH: u64 = 0xe002_0000;
const TABLE: u64 = 0xe004_0000;

type Card<'a> = tests::Card<'a, E1000e>;

/// Puts a card into a rig, as firmware leaves it.
fn card(rig: &mut Rig) -> Card<'_> {
    let wiring = rig.wiring();
    let net = Arc::<TestNet>::default();
    let cable = NicConfig { backend: net.clone(), mac: MAC };
    let (ram, line, msi) = (rig.ram().clone(), rig.irqs().line(PIN), rig.recorder());
    let card = E1000e::new("nic", Options::default(), cable, ram, line, msi, &wiring);
    let slot = rig.attach_pci(card, &wiring, SLOT, 0);
    place(rig);
    Card { rig, net, slot, waker: wiring.waker() }
}

/// BARs, decoding and bus mastering as firmware sets them.
fn place(rig: &mut Rig) {
    for (bar, address) in [(0x10, MEMORY), (0x14, FLASH), (0x18, PORTS.into()), (0x1c, TABLE)] {
        rig.config_write(SLOT, 0, bar, Size::B4, address as u32);
    }
    rig.config_write(SLOT, 0, 0x04, Size::B2, 7);
}

impl Card<'_> {
    fn causes(&mut self) -> Cause {
        Cause::from_bits_retain(self.read(reg::ICR) & !super::spec::ASSERTED)
    }
    /// A word of the NVM.
    fn nvm(&mut self, word: u32) -> u16 {
        self.write(reg::EERD, word << eerd::ADDRESS_SHIFT | eerd::START);
        let read = self.read(reg::EERD);
        assert_ne!(read & eerd::DONE, 0);
        (read >> eerd::DATA_SHIFT) as u16
    }
    /// MSI-X is on, with a message of its own for each vector.
    fn start_msix(&mut self) {
        for vector in 0..5 {
            let entry = TABLE + 16 * vector;
            self.rig.mmio_write(entry, Size::B8, 0xfee0_0000);
            self.rig.mmio_write(entry + 8, Size::B4, 0x40 + vector);
            self.rig.mmio_write(entry + 12, Size::B4, 0);
        }
        self.rig.config_write(SLOT, 0, MSIX_AT + 2, Size::B2, 0x8000);
    }
    /// The vectors that were told.
    fn vectors(&self) -> Vec<u32> {
        self.rig.take_messages().into_iter().map(|(_, data)| data - 0x40).collect()
    }
    /// A transmitter is on, its ring empty.
    fn start_tx(&mut self, queue: u32) {
        let ring = reg::TDBAL + 0x100 * queue;
        self.write(ring, TX_RING as u32 + 0x1000 * queue);
        self.write(ring + 8, RING * 16);
        self.write(ring + 0x10, 0);
        self.write(ring + 0x18, 0);
        self.write(reg::TCTL, tctl::EN | tctl::PSP);
    }
    /// Puts a descriptor into a ring.
    fn descriptor(&self, queue: u32, number: u32, address: u64, command: u32, upper: u32) {
        let bytes = [&address.to_le_bytes()[..], &command.to_le_bytes(), &upper.to_le_bytes()].concat();
        self.rig.poke(TX_RING + u64::from(0x1000 * queue + number * 16), &bytes);
    }
    /// Sends data by one legacy descriptor at the tail.
    fn send(&mut self, queue: u32, data: &[u8], command: u32) {
        self.rig.poke(DATA, data);
        let at = reg::TDBAL + 0x100 * queue + 0x18;
        let tail = self.read(at);
        self.descriptor(queue, tail, DATA, data.len() as u32 | txd::EOP | txd::RS | command, 0);
        self.write(at, (tail + 1) % RING);
    }
    /// A ring of so many buffers of 2048 bytes.
    fn start_ring(&mut self, queue: u32, buffers: u32) {
        for number in 0..RING {
            let buffer = BUFFERS + u64::from(0x4000 * queue + number * 2048);
            self.rx_descriptor(queue, number, &[buffer, 0]);
        }
        let ring = reg::RDBAL + 0x100 * queue;
        self.write(ring, RX_RING as u32 + 0x1000 * queue);
        self.write(ring + 8, RING * 16);
        self.write(ring + 0x10, 0);
        self.write(ring + 0x18, buffers);
    }
    /// The receiver is on, with so many buffers in queue 0.
    fn start_rx(&mut self, buffers: u32, control: u32) {
        self.start_ring(0, buffers);
        self.write(reg::RCTL, rctl::EN | rctl::BAM | rctl::SECRC | control);
    }
    fn rx_descriptor(&self, queue: u32, number: u32, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let at = u64::from(number) * bytes.len() as u64;
        self.rig.poke(RX_RING + u64::from(0x1000 * queue) + at, &bytes);
    }
    /// An extended descriptor that was written back: MRQ, hash or checksum, status, length, tag.
    fn extended(&self, queue: u32, number: u32) -> (u32, u32, u32, u16, u16) {
        let d = self.rig.peek(RX_RING + u64::from(0x1000 * queue + number * 16), 16);
        let long = |at: usize| u32::from_le_bytes([d[at], d[at + 1], d[at + 2], d[at + 3]]);
        (long(0), long(4), long(8), long(12) as u16, (long(12) >> 16) as u16)
    }
    fn buffer(&self, queue: u32, number: u32, len: usize) -> Vec<u8> {
        self.rig.peek(BUFFERS + u64::from(0x4000 * queue + number * 2048), len)
    }
}

/// A TCP packet over IPv4 to the station, with right checksums and so much payload, from that port.
fn tcp(port: u16, payload: usize) -> Vec<u8> {
    use crate::net::offload::{Insert, fold, insert, sum};
    let mut packet = [&MAC[..], &[2; 6], &[8, 0, 0x45, 0]].concat();
    packet.extend(((40 + payload) as u16).to_be_bytes());
    packet.extend([0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15]);
    packet.extend(port.to_be_bytes());
    packet.extend([0, 80, 0x11, 0x22, 0x33, 0x44, 1, 2, 3, 4, 0x50, 0x18, 0xff, 0xff]);
    let pseudo = fold(sum(&[10, 0, 2, 15, 10, 0, 2, 2]) + 6 + 20 + payload as u64);
    packet.extend(pseudo.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend((0..payload).map(|at| (at % 253) as u8));
    insert(&mut packet, Insert { start: 14, at: 24, end: 33, never_zero: false });
    insert(&mut packet, Insert { start: 34, at: 50, end: 0, never_zero: false });
    packet
}
