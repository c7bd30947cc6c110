//! The card on PCI, by the requests of its drivers.

mod netkvm;
mod pairs;
mod spread;

use std::sync::Mutex;

use devices_core::Size;
use devices_core::events::{DeviceEvent, Observer};
use devices_core::net::{TestNet, gso};
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario, us};

use super::super::driver::pci::{self as driver, MEMORY, PORTS, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::spec::{DEVICE, NO_VECTOR};
use super::super::pci::{Handles, Options as PciOptions, USUAL_FEATURES};
use super::super::spec::status as device_status;
use super::spec::{NUM_BUFFERS, ack, class, mac, queue, rx, vlan};
use super::*;

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const RX: u64 = 0x4_0000;
const TX: u64 = 0x6_0000;
const CONTROL: u64 = 0x8_0000;
const SENT: u64 = 0x2_0000;
const RECEIVED: u64 = 0xc_0000;

const ALL: u64 = feature::MRG_RXBUF
    | feature::STATUS
    | feature::CTRL_VQ
    | feature::CTRL_RX
    | feature::CTRL_VLAN
    | feature::CTRL_MAC_ADDR
    | feature::GUEST_ANNOUNCE
    | OFFLOADS;

const OFFLOADS: u64 = feature::CSUM
    | feature::HOST_TSO4
    | feature::HOST_ECN
    | feature::GUEST_CSUM
    | feature::GUEST_TSO4
    | feature::GUEST_TSO6
    | feature::CTRL_GUEST_OFFLOADS;

type Slot = Arc<devices_core::DeviceCell<VirtioPci<Net>>>;

fn attach(rig: &mut Rig) -> (Arc<TestNet>, Slot, Wiring) {
    attach_to(rig, TestNet::default(), ALL)
}

fn attach_to(rig: &mut Rig, backend: TestNet, features: u64) -> (Arc<TestNet>, Slot, Wiring) {
    let (wiring, backend) = (rig.wiring(), Arc::new(backend));
    let options = Options { rx_size: 256, tx_size: 256, features, mtu: Some(1400), model: &model::MODEL };
    let cable = NicConfig { backend: backend.clone(), mac: MAC };
    let handles =
        Handles { name: "card", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let features = USUAL_FEATURES | ring::RING_PACKED;
    let how = PciOptions { legacy: true, modern: true, vectors: 4, features };
    let card = VirtioPci::new(Net::new(options, &wiring, cable), how, handles);
    let card = rig.attach_pci(card, &wiring, SLOT, 0);
    driver::map(rig);
    (backend, card, wiring)
}

/// A card whose driver is set up.
struct Started {
    rx: DriverQueue,
    tx: DriverQueue,
    control: DriverQueue,
    backend: Arc<TestNet>,
    slot: Slot,
    wiring: Wiring,
    received: u64,
}

impl Started {
    fn new(rig: &mut Rig, features: u64) -> Started {
        let (backend, slot, wiring) = attach(rig);
        let features = features | ring::VERSION_1 | ring::INDIRECT_DESC;
        assert_ne!(driver::negotiate(rig, features) & device_status::FEATURES_OK, 0);
        let queue = |rig: &Rig, base| DriverQueue::new(rig.ram().clone(), base, 16, features);
        let (rx, tx, control) = (queue(rig, RX), queue(rig, TX), queue(rig, CONTROL));
        for (number, queue) in [&rx, &tx, &control].into_iter().enumerate() {
            driver::enable(rig, number as u16, queue.place(), NO_VECTOR);
        }
        driver::ready(rig);
        Started { rx, tx, control, backend, slot, wiring, received: 0 }
    }

    fn send(&mut self, rig: &mut Rig, frame: &[u8]) {
        self.send_with(rig, frame, Offload::default());
    }

    fn send_with(&mut self, rig: &mut Rig, frame: &[u8], left: Offload) {
        rig.poke(SENT, &[0; HEADER]);
        rig.poke(SENT, &left.bytes());
        rig.poke(SENT + HEADER as u64, frame);
        let whole = Buffer { gpa: SENT, len: (HEADER + frame.len()) as u32, write: false };
        assert!(self.tx.offer(&[whole], false, 0));
        driver::notify(rig, queue::tx(0));
    }

    /// Gives the card a buffer.
    fn give(&mut self, rig: &mut Rig, len: u32) {
        let gpa = RECEIVED + self.received % 16 * 0x1000;
        assert!(self.rx.offer(&[Buffer { gpa, len, write: true }], false, gpa));
        self.received += 1;
        driver::notify(rig, queue::rx(0));
    }

    fn come(&self, frame: &[u8]) {
        self.backend.give(frame);
        self.wiring.waker().wake(Wake::Backend(CABLE));
    }

    /// The next buffer that the card has filled.
    fn filled(&mut self, rig: &Rig) -> Option<Vec<u8>> {
        let (gpa, len) = self.rx.used()?;
        Some(rig.peek(gpa, len as usize))
    }

    fn command(&mut self, rig: &mut Rig, class: u8, command: u8, data: &[u8]) -> u8 {
        rig.poke(SENT, &[class, command]);
        rig.poke(SENT + 2, data);
        rig.poke(SENT + 0x800, &[0xee]);
        let buffers = [
            Buffer { gpa: SENT, len: 2 + data.len() as u32, write: false },
            Buffer { gpa: SENT + 0x800, len: 1, write: true },
        ];
        assert!(self.control.offer(&buffers, true, 0));
        driver::notify(rig, queue::control(1));
        assert_eq!(self.control.used(), Some((0, 1)));
        rig.peek(SENT + 0x800, 1)[0]
    }
}

fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = to.to_vec();
    frame.extend((6..len).map(|at| at as u8));
    frame
}

#[test]
fn frames_go_both_ways() {
    for features in [0, feature::MRG_RXBUF, ring::RING_PACKED | feature::MRG_RXBUF] {
        scenario(|rig| {
            let mut card = Started::new(rig, features);
            for len in [60, 1514] {
                let out = frame([9; 6], len);
                card.send(rig, &out);
                assert_eq!(card.backend.sent(), Some(out));
                assert!(card.tx.used().is_some());
                card.give(rig, 2048);
                let expected = frame(MAC, len);
                card.come(&expected);
                let got = card.filled(rig).unwrap();
                assert_eq!(got[..HEADER], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
                assert_eq!(got[HEADER..], expected);
            }
        });
    }
}

#[test]
fn what_was_agreed_on_is_left_to_the_other_side_and_no_more() {
    let whole = Offload {
        flags: Offload::NEEDS_CSUM,
        gso_type: gso::TCPV4,
        hdr_len: 54,
        gso_size: 1448,
        csum_start: 34,
        csum_offset: 16,
    };
    scenario(|rig| {
        let mut card = Started::new(rig, OFFLOADS | feature::MRG_RXBUF | feature::CTRL_VQ);
        assert_eq!(card.backend.allowed(), Offloads { ecn: false, ..Offloads::ALL });
        let out = frame([9; 6], 5000);
        card.send_with(rig, &out, whole);
        assert_eq!(card.backend.sent_with(), Some((out.clone(), whole)));
        for wrong in [
            Offload { gso_type: gso::TCPV6, ..whole },
            Offload { gso_type: 0x7f, ..whole },
            Offload { gso_size: 0, ..whole },
            Offload { flags: 0, ..whole },
            Offload { csum_start: 4990, csum_offset: 9, ..whole },
            Offload { csum_start: 0xffff, csum_offset: 0xffff, ..whole },
        ] {
            card.send_with(rig, &out, wrong);
            assert_eq!(card.backend.sent_with(), None, "{wrong:?}");
        }
        let ecn = Offload { gso_type: gso::TCPV4 | gso::ECN, ..whole };
        card.send_with(rig, &out, ecn);
        assert_eq!(card.backend.sent_with(), Some((out, ecn)));

        let come = |card: &Started, frame: &[u8], left| {
            card.backend.give_with(frame, left);
            card.wiring.waker().wake(Wake::Backend(CABLE));
        };
        let frame = frame(MAC, 1800);
        // Not agreed on, and with a kind that nobody knows.
        come(&card, &frame, ecn);
        come(&card, &frame, Offload { gso_type: 3, ..whole });
        come(&card, &frame, whole);
        card.give(rig, 2048);
        let got = card.filled(rig).unwrap();
        assert_eq!((&got[..Offload::LEN], &got[HEADER..]), (&whole.bytes()[..], &frame[..]));
        // The driver changes its mind: more than it agreed to is no command.
        let set = |bits: u64| bits.to_le_bytes();
        let class = class::GUEST_OFFLOADS;
        for wrong in [feature::GUEST_ECN, feature::CSUM, 1 << 63] {
            assert_eq!(card.command(rig, class, 0, &set(wrong)), ack::ERR);
        }
        assert_eq!(card.command(rig, class, 0, &[0; 4]), ack::ERR);
        assert_eq!(card.command(rig, class, 0, &set(feature::GUEST_CSUM)), ack::OK);
        assert_eq!(card.backend.allowed(), Offloads { checksum: true, ..Offloads::NONE });
        come(&card, &frame, whole);
        card.give(rig, 2048);
        assert_eq!(card.filled(rig), None, "it is from before");
        driver::set_status(rig, 0);
        assert_eq!(card.backend.allowed(), Offloads::NONE);
    });
}

#[test]
fn a_driver_that_leaves_nothing_need_not_say_so() {
    let mut rig = Rig::new();
    let mut card = Started::new(&mut rig, 0);
    let out = frame([9; 6], 60);
    card.send_with(&mut rig, &out, Offload::of_bytes([0xff; Offload::LEN]));
    assert_eq!(card.backend.sent_with(), Some((out, Offload::default())));
    // Features hang on one another, and on what the backend can do.
    let of = |backend, asked| offload::features(backend, asked);
    let all = Offloads::ALL;
    assert_eq!(of(all, OFFLOADS | feature::STATUS), OFFLOADS | feature::STATUS);
    assert_eq!(of(Offloads::NONE, OFFLOADS), feature::CTRL_GUEST_OFFLOADS);
    assert_eq!(of(all, OFFLOADS & !feature::CSUM) & (feature::HOST_TSO4 | feature::HOST_ECN), 0);
    assert_eq!(of(all, OFFLOADS & !feature::GUEST_CSUM) & (feature::GUEST_TSO4 | feature::GUEST_TSO6), 0);
}

#[test]
fn a_frame_is_spread_over_buffers_and_waits_for_enough() {
    scenario(|rig| {
        let mut card = Started::new(rig, feature::MRG_RXBUF);
        card.give(rig, 100);
        let expected = frame(MAC, 250);
        card.come(&expected);
        assert_eq!(card.filled(rig), None, "150 bytes have no place");
        card.come(&frame(MAC, 60));
        card.give(rig, 100);
        card.give(rig, 100);
        let parts: Vec<Vec<u8>> = (0..3).map(|_| card.filled(rig).unwrap()).collect();
        assert_eq!(parts[0][NUM_BUFFERS..HEADER], [3, 0]);
        assert_eq!(parts.concat()[HEADER..], expected);
        card.give(rig, 100);
        assert_eq!(card.filled(rig).unwrap()[HEADER..], frame(MAC, 60));
    });
    // A driver that cannot have it so loses the frame, and keeps its buffer.
    scenario(|rig| {
        let mut card = Started::new(rig, 0);
        card.give(rig, 100);
        card.come(&frame(MAC, 250));
        assert_eq!(card.filled(rig), None);
        card.come(&frame(MAC, 60));
        assert_eq!(card.filled(rig).unwrap()[HEADER..], frame(MAC, 60));
    });
}

#[test]
fn what_the_host_has_no_room_for_waits() {
    scenario(|rig| {
        let mut card = Started::new(rig, 0);
        card.backend.set_full(true);
        card.send(rig, &frame([9; 6], 60));
        card.send(rig, &frame([9; 6], 61));
        assert_eq!(card.tx.used(), None);
        card.backend.set_full(false);
        card.wiring.waker().wake(Wake::Backend(CABLE));
        assert_eq!([60, 61].map(|_| card.backend.sent().unwrap().len()), [60, 61]);
        assert!(card.tx.used().is_some() && card.tx.used().is_some());
    });
}

#[test]
fn many_frames_need_more_than_one_call() {
    scenario(|rig| {
        let mut card = Started::new(rig, feature::CTRL_VQ | feature::CTRL_RX);
        for _ in 0..10 {
            card.give(rig, 2048);
        }
        // What is let in by no filter counts as work too.
        assert_eq!(card.command(rig, class::RX, rx::PROMISC, &[0]), ack::OK);
        for _ in 0..200 {
            card.backend.give(&frame([4; 6], 60));
        }
        card.come(&frame(MAC, 60));
        assert_eq!(card.filled(rig), None, "that was not all");
        rig.advance(us(1));
        assert!(card.filled(rig).is_some());
    });
}

#[test]
fn commands_say_what_is_let_in() {
    scenario(|rig| {
        let mut card = Started::new(rig, ALL);
        let (group, other, all) = ([1, 0, 0x5e, 0, 0, 1], [4; 6], [0xff; 6]);
        let comes = |card: &mut Started, rig: &mut Rig, to| {
            card.give(rig, 2048);
            card.come(&frame(to, 60));
            let came = card.filled(rig).is_some();
            if !came {
                // The buffer is used up by one that comes for certain.
                card.command(rig, class::RX, rx::PROMISC, &[1]);
                card.come(&frame(to, 60));
                assert!(card.filled(rig).is_some());
                card.command(rig, class::RX, rx::PROMISC, &[0]);
            }
            came
        };
        assert!(comes(&mut card, rig, other), "everything, before anybody says anything");
        assert_eq!(card.command(rig, class::RX, rx::PROMISC, &[0]), ack::OK);
        assert_eq!([MAC, other, group, all].map(|to| comes(&mut card, rig, to)), [true, false, false, true]);
        let table = [&1u32.to_le_bytes()[..], &other, &1u32.to_le_bytes(), &group].concat();
        assert_eq!(card.command(rig, class::MAC, mac::TABLE_SET, &table), ack::OK);
        assert_eq!([MAC, other, group, all].map(|to| comes(&mut card, rig, to)), [true; 4]);
        // More than there is room for are all.
        let many = [&0u32.to_le_bytes()[..], &65u32.to_le_bytes(), &[1; 65 * 6]].concat();
        assert_eq!(card.command(rig, class::MAC, mac::TABLE_SET, &many), ack::OK);
        assert!(comes(&mut card, rig, group));
        for bad in [&table[..3], &table[..9], &[table.clone(), vec![0]].concat(), &[0xff; 8]] {
            assert_eq!(card.command(rig, class::MAC, mac::TABLE_SET, bad), ack::ERR);
        }
        assert_eq!(card.command(rig, class::MAC, mac::ADDR_SET, &other), ack::OK);
        assert_eq!(rig.mmio_read(MEMORY + DEVICE.offset, Size::B1), 4);
        assert!(comes(&mut card, rig, other) && !comes(&mut card, rig, MAC));
        // VLANs: none, until they are told.
        let mut tagged = frame(other, 64);
        tagged[12..16].copy_from_slice(&[0x81, 0, 0xf0, 5]);
        for (add, seen) in [(vlan::ADD, true), (vlan::DEL, false)] {
            assert_eq!(card.command(rig, class::VLAN, add, &[5, 0]), ack::OK);
            card.give(rig, 2048);
            card.come(&tagged);
            assert_eq!(card.filled(rig).is_some(), seen);
        }
        assert_eq!(card.command(rig, class::VLAN, vlan::ADD, &[0, 0x10]), ack::ERR);
        assert_eq!(card.command(rig, class::MQ, 0, &[1, 0]), ack::ERR, "there is one pair of queues");
        assert_eq!(card.command(rig, class::RX, 9, &[1]), ack::ERR);
        assert_eq!(card.command(rig, class::ANNOUNCE, 0, &[]), ack::ERR, "nobody asked");
    });
}

#[derive(Default)]
struct Changes(Mutex<u32>);

impl Observer for Changes {
    fn observe(&self, event: DeviceEvent) {
        assert_eq!(event, DeviceEvent::FilterChanged);
        *self.0.lock().unwrap() += 1;
    }
}

#[test]
fn whoever_has_looked_at_the_filter_is_told_of_the_next_change() {
    let mut rig = Rig::new();
    let (mut card, changes) = (Started::new(&mut rig, ALL), Arc::<Changes>::default());
    let observer = changes.clone();
    card.slot.lock().with(|card, _| card.observer = Some(observer));
    let told = || std::mem::take(&mut *changes.0.lock().unwrap());
    assert_eq!(card.command(&mut rig, class::RX, 9, &[1]), ack::ERR);
    assert_eq!(told(), 0, "nothing has changed");
    let changed: [(u8, u8, &[u8]); 3] = [
        (class::RX, rx::PROMISC, &[1]),
        (class::MAC, mac::ADDR_SET, &MAC),
        (class::VLAN, vlan::ADD, &[5, 0]),
    ];
    for (class, command, data) in changed {
        for expected in [1, 0, 0] {
            assert_eq!(card.command(&mut rig, class, command, data), ack::OK);
            assert_eq!(told(), expected);
        }
        card.slot.lock().rx_filter();
    }
}

#[test]
fn the_cable_and_the_address_are_in_the_configuration() {
    let mut rig = Rig::new();
    let (backend, card, wiring) = attach(&mut rig);
    let config = |rig: &mut Rig, at: usize| rig.mmio_read(MEMORY + DEVICE.offset + at as u64, Size::B2);
    assert_eq!([0, 2, 4].map(|at| config(&mut rig, at)), [2, 0, 0x100]);
    assert_eq!(config(&mut rig, config::MTU), 1400);
    driver::negotiate(&mut rig, ring::VERSION_1 | feature::STATUS);
    driver::ready(&mut rig);
    let generation = driver::get(&mut rig, 0x15, Size::B1);
    card.lock().set_link(false);
    assert!(rig.irq(11), "the driver hears of it");
    assert_eq!(config(&mut rig, config::STATUS), 0);
    assert_ne!(driver::get(&mut rig, 0x15, Size::B1), generation);
    backend.give(&frame(MAC, 60));
    wiring.waker().wake(Wake::Backend(CABLE));
    assert_eq!(backend.left(), 1, "it waits on the wire");
    card.lock().set_link(true);
    assert_eq!(config(&mut rig, config::STATUS), u64::from(status::LINK_UP));
}

#[test]
fn a_driver_announces_itself_after_a_restore() {
    let mut rig = Rig::new();
    let mut card = Started::new(&mut rig, ALL);
    rig.save_load();
    let resumed = rig.bus().slots().into_iter().find(|(name, _)| name == "card").unwrap().1;
    resumed.lock().resume();
    let at = MEMORY + DEVICE.offset + config::STATUS as u64;
    assert_eq!(rig.mmio_read(at, Size::B2), u64::from(status::LINK_UP | status::ANNOUNCE));
    assert_eq!(card.command(&mut rig, class::ANNOUNCE, 0, &[]), ack::OK);
    assert_eq!(rig.mmio_read(at, Size::B2), u64::from(status::LINK_UP));
}

#[test]
fn requests_that_no_driver_makes_break_the_card() {
    let short = |len, write| Buffer { gpa: SENT, len, write };
    for (number, buffers) in [
        (queue::tx(0), vec![short(11, false)]),
        (queue::tx(0), vec![short(60, false), short(1, true)]),
        (queue::control(1), vec![short(8, false)]),
        (queue::control(1), vec![short(1, false), short(1, true)]),
    ] {
        let mut rig = Rig::new();
        let mut card = Started::new(&mut rig, ALL);
        let queue = if number == queue::tx(0) { &mut card.tx } else { &mut card.control };
        assert!(queue.offer(&buffers, false, 0));
        driver::notify(&mut rig, number);
        let status = driver::status(&mut rig);
        assert_eq!(status & device_status::NEEDS_RESET, device_status::NEEDS_RESET, "{buffers:?}");
    }
    // Longer than any frame: taken, and sent nowhere.
    let mut rig = Rig::new();
    let mut card = Started::new(&mut rig, 0);
    assert!(card.tx.offer(&[short(70_000, false)], false, 0));
    driver::notify(&mut rig, queue::tx(0));
    assert!(card.tx.used().is_some());
    assert_eq!(card.backend.sent(), None);
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        let (backend, _, wiring) = attach(&mut rig);
        (rig, (backend, wiring))
    };
    let places = [
        FuzzRange::Ports(PORTS, 0x40),
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x1000, 0x2010),
        FuzzRange::Memory(driver::MSIX, 0x40),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(build, 5, &places, |(rig, (backend, wiring)), what| match what {
        0..6 => {
            driver::map(rig);
            let packed = if what % 2 == 0 { ring::RING_PACKED } else { 0 };
            let features = ring::VERSION_1 | packed | if what < 3 { ALL } else { 0 };
            driver::negotiate(rig, features);
            for (number, base) in [RX, TX, CONTROL].into_iter().enumerate() {
                let mut queue = DriverQueue::new(rig.ram().clone(), base, 16, features);
                driver::enable(rig, number as u16, queue.place(), what as u16);
                for n in 0..4 {
                    let write = number == 0;
                    let buffer = Buffer { gpa: SENT + n * 256, len: 40 + 20 * n as u32, write };
                    queue.offer(&[buffer], false, n);
                }
            }
            driver::ready(rig);
            (0..3).for_each(|queue| driver::notify(rig, queue));
        }
        6..20 => {
            backend.give(&frame(MAC, 40 + what as usize * 5));
            wiring.waker().wake(Wake::Backend(CABLE));
        }
        20..24 => backend.set_full(what == 20),
        24..30 => rig.poke(RX + (what - 24) * 0x1000, &[what as u8; 24]),
        _ => {}
    });
}
