//! How drivers use it.
//!
//! Linux's ne2k-pci: CR is read; page 1, all ones into register 13, page 0 again, whose register 13 counts and is
//! cleared by reading. The reset port is read and written back, ISR's RST awaited. Word mode, no remote DMA, monitor
//! and loopback on, 32 bytes of the PROM read one by one, each of which moves a word on. Then the ring, PAR, CURR, CR
//! started, loopback and monitor off, IMR 0x3f. Packets go by `rep outsl` to page 0x40, TBCR, TXP; they come from CURR on
//! by their header's next page, and BNRY is put one page before it.
//!
//! The older drivers (8 bits, DOS) do the same byte by byte.

use std::sync::Arc;

use devices_core::net::{Nic, TestNet};
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};
use devices_core::{Device, DeviceCell, Dir, Size, Waker};

use super::*;
use crate::net::group_hash;

const SLOT: u8 = 3;
const IO: u16 = 0xc000;
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
const PIN: u32 = 11;
/// Pages of the receive ring, and of the packet to be sent.
const START: u8 = 0x46;
const STOP: u8 = 0x60;
const TX: u8 = 0x40;
/// Where packets lie in the guest's memory.
const BUFFER: u64 = 0x1_0000;

struct Card<'a> {
    rig: &'a mut Rig,
    net: Arc<TestNet>,
    slot: Arc<DeviceCell<Ne2000>>,
    waker: Waker,
}

fn card(rig: &mut Rig) -> Card<'_> {
    let wiring = rig.wiring();
    let net = Arc::<TestNet>::default();
    let cable = NicConfig { backend: net.clone(), mac: MAC };
    let line = rig.irqs().line(PIN);
    let slot = rig.attach_pci(Ne2000::new("nic", cable, line, &wiring), &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, IO.into());
    rig.config_write(SLOT, 0, 0x04, Size::B2, 5);
    Card { rig, net, slot, waker: wiring.waker() }
}

impl Card<'_> {
    fn get(&mut self, register: u16) -> u8 {
        self.rig.inb(IO + register)
    }
    fn set(&mut self, register: u16, value: u8) {
        self.rig.outb(IO + register, value);
    }
    /// Remote DMA: where, how much, and which way.
    fn remote(&mut self, address: u16, count: u16, command: u8) {
        let ([a, b], [c, d]) = (address.to_le_bytes(), count.to_le_bytes());
        for (register, value) in [(8, a), (9, b), (10, c), (11, d), (0, command)] {
            self.set(register, value);
        }
    }
    fn read_memory(&mut self, address: u16, len: u16) -> Vec<u8> {
        self.remote(address, len.next_multiple_of(2), 0x0a);
        (0..len.div_ceil(2)).flat_map(|_| self.rig.inw(IO + 0x10).to_le_bytes()).take(len.into()).collect()
    }
    /// As a driver leaves it.
    fn start(&mut self, receive: u8) {
        for (register, value) in [
            (0x00, 0x21),
            (0x0e, 0x49),
            (0x0c, 0x20),
            (0x0d, 0x02),
            (0x01, START),
            (0x02, STOP),
            (0x03, START),
            (0x04, TX),
            (0x07, 0xff),
            (0x00, 0x61),
            (0x07, START + 1),
        ] {
            self.set(register, value);
        }
        for (register, byte) in (1..).zip(MAC) {
            self.set(register, byte);
        }
        for (register, value) in [(0x00, 0x22), (0x0f, 0x3f), (0x0d, 0), (0x0c, receive)] {
            self.set(register, value);
        }
    }
    fn send(&mut self, packet: &[u8]) {
        self.rig.poke(BUFFER, packet);
        let len = packet.len() as u16;
        self.remote(u16::from(TX) << 8, len.next_multiple_of(2), 0x12);
        self.rig.string(Dir::Write, IO + 0x10, Size::B2, u32::from(len.div_ceil(2)), BUFFER);
        let [low, high] = len.to_le_bytes();
        for (register, value) in [(5, low), (6, high), (0, 0x26)] {
            self.set(register, value);
        }
    }
    fn arrives(&mut self, packet: &[u8]) {
        self.net.give(packet);
        self.waker.wake(Wake::Backend(0));
    }
    fn curr(&mut self) -> u8 {
        self.set(0, 0x62);
        let curr = self.get(7);
        self.set(0, 0x22);
        curr
    }
    /// Takes the packet at a page; its bytes, and the page of the next.
    fn take(&mut self, page: u8) -> (Vec<u8>, u8) {
        let header = self.read_memory(u16::from(page) << 8, 4);
        assert_eq!(header[0] & 1, 1);
        let len = u16::from_le_bytes([header[2], header[3]]);
        let whole = self.read_memory((u16::from(page) << 8) + 4, len);
        let next = header[1];
        self.set(3, if next == START { STOP - 1 } else { next - 1 });
        self.set(7, 1);
        (whole[..whole.len() - FCS].to_vec(), next)
    }
    fn irq(&self) -> bool {
        self.rig.irq(PIN)
    }
}

fn packet(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut packet = [&to[..], &[2, 0, 0, 0, 0, 1, 0x88, 0xb5]].concat();
    packet.extend((packet.len()..len).map(|at| (at * 7 + at / 251) as u8));
    packet
}

#[test]
fn as_linux_does_it() {
    scenario(|rig| {
        let mut card = card(rig);
        assert_eq!(card.rig.config_read(SLOT, 0, 0, Size::B4), 0x8029_10ec);
        assert_ne!(card.get(0), 0xff);
        card.set(0, 0x61);
        card.set(13, 0xff);
        card.set(0, 0x20);
        card.get(13);
        assert_eq!(card.get(13), 0, "a counter that reading clears");
        let reset = card.get(0x1f);
        card.set(0x1f, reset);
        assert_eq!(card.get(7) & 0x80, 0x80);
        card.set(7, 0xff);
        for (register, value) in
            [(0, 0x21), (14, 0x49), (10, 0), (11, 0), (15, 0), (7, 0xff), (12, 0x20), (13, 2)]
        {
            card.set(register, value);
        }
        card.remote(0, 32, 0x0a);
        let prom: Vec<u8> = (0..16).map(|_| card.get(0x10)).collect();
        assert_eq!(prom[..6], MAC);
        assert_eq!(prom[14..], [0x57, 0x57]);
        assert_eq!(card.get(7) & 0x40, 0x40, "all 32 have been moved");
        card.start(0x04);
        assert_eq!(card.get(7), 0, "it runs");
        let out = packet([2; 6], 101);
        card.send(&out);
        assert_eq!(card.net.sent(), Some(out));
        assert!(card.irq());
        assert_eq!((card.get(7) & 0x0a, card.get(4), card.get(0) & 4), (2, 1, 0));
        card.set(7, 0xff);
        assert!(!card.irq());
        let back = packet(MAC, 99);
        card.arrives(&back);
        assert!(card.irq());
        assert_eq!((card.get(7) & 1, card.curr()), (1, START + 2));
        assert_eq!(card.take(START + 1), (back, START + 2));
        card.set(0, 0xe0);
        assert_eq!([3, 5, 6].map(|at| card.get(at)), [0, 0x40, 0x40]);
        card.set(0, 0x22);
        assert_eq!([10, 11].map(|at| card.get(at)), *b"PC");
    });
}

#[test]
fn packets_lie_around_the_end_of_the_ring() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start(0x04);
        let mut page = START + 1;
        for turn in 0..40 {
            let back = packet(MAC, 60 + turn * 37);
            card.arrives(&back);
            let (got, next) = card.take(page);
            assert_eq!(got, back, "{turn}");
            assert_eq!(card.curr(), next);
            page = next;
        }
    });
}

#[test]
fn a_boundary_before_the_first_page_is_the_last() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start(0x04);
        // As Linux reads: BNRY is the next packet's page less one, also where the ring begins.
        for turn in 0..60u8 {
            let back = packet(MAC, 60 + usize::from(turn));
            card.arrives(&back);
            let page = START + (turn + 1) % (STOP - START);
            let (got, next) = card.take(page);
            assert_eq!(got, back, "{turn}");
            card.set(3, next - 1);
        }
        // It holds the card back there too.
        card.set(0, 0x62);
        card.set(7, START);
        card.set(0, 0x22);
        card.set(3, START - 1);
        for _ in 0..6 {
            card.arrives(&packet(MAC, 1500));
            card.set(7, 1);
        }
        assert_eq!(card.net.left(), 2);
    });
}

#[test]
fn packets_wait_for_room() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start(0x04);
        for number in 0..6 {
            card.arrives(&packet(MAC, 1500 + number));
        }
        let left = card.net.left();
        assert!((1..6).contains(&left), "{left}");
        let mut page = START + 1;
        for number in 0..6 {
            let (got, next) = card.take(page);
            assert_eq!(got, packet(MAC, 1500 + number));
            page = next;
        }
        assert_eq!(card.net.left(), 0);
    });
}

#[test]
fn packets_come_in_bursts_that_a_driver_can_read() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start(0x04);
        for number in 0..20 {
            card.net.give(&packet(MAC, 60 + number));
        }
        card.waker.wake(Wake::Backend(0));
        assert_eq!(card.net.left(), 12);
        card.set(3, START + 5);
        card.arrives(&packet(MAC, 80));
        assert_eq!(card.net.left(), 13, "not before the driver has taken PRX back");
        card.set(7, 1);
        assert_eq!((card.net.left(), card.irq()), (5, true));
        // One that polls takes none back: it has read all.
        card.set(15, 0);
        assert_eq!(card.net.left(), 5);
        let curr = card.curr();
        card.set(3, curr - 1);
        assert_eq!(card.net.left(), 0);
    });
}

#[test]
fn a_driver_that_leaves_packets_in_a_full_ring_is_told_again() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start(0x04);
        for number in 0..6 {
            card.net.give(&packet(MAC, 60 + number));
        }
        (6..18).for_each(|number| card.net.give(&packet(MAC, 1500 + number)));
        card.waker.wake(Wake::Backend(0));
        let (mut page, mut taken) = (START + 1, 0);
        while card.irq() {
            let (got, next) = card.take(page);
            assert_eq!(got.len(), if taken < 6 { 60 + taken } else { 1500 + taken });
            (page, taken) = (next, taken + 1);
        }
        assert_eq!(card.net.left(), 0, "{taken} were taken");
    });
}

#[test]
fn only_what_is_wanted_comes_in() {
    scenario(|rig| {
        let mut card = card(rig);
        let group = [1, 0, 0x5e, 0, 0, 0xfb];
        let bit = group_hash(group);
        card.start(0);
        let comes = |card: &mut Card<'_>, to: [u8; 6], receive: u8| {
            card.set(12, receive);
            let before = card.curr();
            card.set(3, before);
            card.set(7, 1);
            card.arrives(&packet(to, 64));
            let now = card.curr();
            assert!(now == before || card.get(12) == if to[0] & 1 != 0 { 0x21 } else { 1 });
            now != before
        };
        assert!(comes(&mut card, MAC, 0) && !comes(&mut card, [2; 6], 0) && comes(&mut card, [2; 6], 0x10));
        assert!(!comes(&mut card, [0xff; 6], 0) && comes(&mut card, [0xff; 6], 4));
        assert!(!comes(&mut card, group, 8));
        card.set(0, 0x62);
        card.set(8 + u16::from(bit / 8), 1 << (bit % 8));
        card.set(0, 0x22);
        assert!(comes(&mut card, group, 8) && !comes(&mut card, group, 0x10));
        card.set(7, 1);
        card.arrives(&packet(MAC, 1600));
        assert_eq!(card.net.left(), 0, "too long, and dropped");
        // Nothing is taken by a card that only listens, is in loopback, or is stopped.
        for (register, off, on) in [(12, 0x20, 0), (13, 2, 0), (0, 0x21, 0x22)] {
            let before = card.curr();
            card.set(3, before);
            card.set(7, 1);
            card.set(register, off);
            card.arrives(&packet(MAC, 64));
            assert_eq!(card.net.left(), 1);
            card.set(register, on);
            assert_eq!(card.net.left(), 0, "{register}");
        }
    });
}

#[test]
fn the_data_port_moves_bytes_words_and_more() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start(0);
        card.rig.poke(BUFFER, &[1, 2, 3, 4, 5, 6, 7, 8]);
        card.remote(0x4000, 8, 0x12);
        card.rig.string(Dir::Write, IO + 0x10, Size::B4, 2, BUFFER);
        assert_eq!(card.get(7) & 0x40, 0x40);
        assert_eq!(card.read_memory(0x4000, 8), [1, 2, 3, 4, 5, 6, 7, 8]);
        card.set(14, 0x48);
        card.remote(0x4001, 3, 0x0a);
        assert_eq!([0; 3].map(|_| card.get(0x10)), [2, 3, 4]);
        assert_eq!([8, 9].map(|at| card.get(at)), [4, 0x40]);
        card.remote(0x4006, 1, 0x12);
        card.set(0x10, 0xee);
        card.remote(0x4006, 2, 0x0a);
        card.rig.string(Dir::Read, IO + 0x10, Size::B1, 2, BUFFER);
        assert_eq!(card.rig.peek(BUFFER, 2), [0xee, 8]);
        // Outside of memory, and over the PROM.
        card.remote(0x0000, 1, 0x12);
        card.set(0x10, 0xee);
        card.remote(0x0000, 1, 0x0a);
        assert_eq!(card.get(0x10), 0x52);
        card.remote(0x3fff, 2, 0x0a);
        assert_eq!([0; 2].map(|_| card.get(0x10)), [0xff, 1]);
        // It goes round with the ring.
        card.remote((u16::from(STOP) << 8) - 1, 2, 0x12);
        card.set(0x10, 0x11);
        card.set(0x10, 0x22);
        card.remote(u16::from(START) << 8, 1, 0x0a);
        assert_eq!(card.get(0x10), 0x22);
        // Nothing to move is done at once.
        card.set(7, 0xff);
        card.remote(0, 0, 0x0a);
        assert_eq!(card.get(7) & 0x40, 0x40);
    });
}

#[test]
fn a_full_backend_shows_as_a_packet_that_is_being_sent() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start(4);
        card.net.set_full(true);
        card.send(&packet([2; 6], 80));
        assert_eq!((card.get(0) & 4, card.get(7) & 2), (4, 0));
        card.set(0, 0x22);
        assert_eq!(card.get(0) & 4, 4, "software cannot take it back");
        card.net.set_full(false);
        card.waker.wake(Wake::Backend(0));
        assert_eq!((card.get(0) & 4, card.get(7) & 2), (0, 2));
        assert_eq!(card.net.sent(), Some(packet([2; 6], 80)));
        // But it can stop the card.
        card.net.set_full(true);
        card.send(&packet([2; 6], 80));
        card.set(0, 0x21);
        card.net.set_full(false);
        card.set(0, 0x22);
        assert_eq!((card.net.sent(), card.get(0) & 4), (None, 0));
    });
}

#[test]
fn nothing_moves_without_a_cable_or_while_the_guest_is_saved() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start(4);
        card.slot.lock().set_link(false);
        card.send(&packet([2; 6], 80));
        card.arrives(&packet(MAC, 80));
        assert_eq!((card.net.sent(), card.net.left(), card.get(7) & 2), (None, 1, 2));
        card.slot.lock().set_link(true);
        assert_eq!((card.net.left(), card.slot.lock().link()), (0, true));
        assert_eq!(card.slot.lock().rx_filter().main_mac, MAC);
    });
    let mut rig = Rig::new();
    let mut card = card(&mut rig);
    card.start(4);
    assert!(card.slot.lock().quiesce());
    card.send(&packet([2; 6], 80));
    card.arrives(&packet(MAC, 80));
    assert_eq!((card.net.sent(), card.net.left()), (None, 1));
    card.slot.lock().resume();
    assert_eq!((card.net.sent(), card.net.left()), (Some(packet([2; 6], 80)), 0));
    card.rig.reset();
    card.arrives(&packet(MAC, 80));
    assert_eq!((card.net.left(), card.irq()), (1, false));
}

#[test]
fn a_loaded_card_is_like_another() {
    let build = || {
        let mut rig = Rig::new();
        let mut card = card(&mut rig);
        card.start(0x1c);
        let parts = (card.net.clone(), card.waker.clone());
        (rig, parts)
    };
    let places = [
        FuzzRange::Ports(IO, 32),
        FuzzRange::Ports(IO, 16),
        FuzzRange::Ports(IO, 256),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(build, 5, &places, |(rig, (net, waker)), what| match what {
        0..64 => {
            net.give(&packet(if what & 1 == 0 { MAC } else { [0xff; 6] }, what as usize * 25));
            waker.wake(Wake::Backend(0));
        }
        64 => net.set_full(true),
        65..70 => {
            net.set_full(false);
            waker.wake(Wake::Backend(0));
        }
        70..90 => {
            rig.config_write(SLOT, 0, 0x10, Size::B4, IO.into());
            rig.config_write(SLOT, 0, 0x04, Size::B2, 5);
        }
        _ => {}
    });
}

/// Linux's ne2k-pci detaches its interface before Xen moves the guest, and leaves the card as it runs; see rtl8139's test.
#[test]
fn a_guest_that_is_moved_is_not_interrupted_before_its_driver_resumes() {
    for resumes in [true, false] {
        let mut rig = Rig::new();
        let mut card = card(&mut rig);
        card.start(0x04);
        card.slot.lock().suspends(true);
        card.arrives(&packet(MAC, 100));
        assert!(card.irq());
        assert!(card.slot.lock().quiesce());
        assert!(!card.irq(), "when the interrupt controller's state is saved");
        card.rig.save_load();
        card.slot.lock().resume();
        card.arrives(&packet(MAC, 101));
        assert!(!card.irq());
        if resumes {
            // It begins with a stop, which leaves the interrupt.
            card.set(0, 0x21);
        } else {
            card.rig.advance(1_999_999_999);
            assert!(!card.irq());
            card.rig.advance(1);
        }
        assert!(card.irq());
    }
}
