//! Several pairs of queues, as Linux sets them up: all of them at the start, of which a command takes some into use.

use devices_core::pci::reg;

use super::super::super::pci::spec::{common, legacy};
use super::*;

const PAIRS: u16 = 4;
const FEATURES: u64 = feature::MQ | feature::CTRL_VQ | feature::MRG_RXBUF;
/// Where the queues lie, the one behind the other.
const QUEUES: u64 = 0x10_0000;
const STRIDE: u64 = 0x8000;

pub(super) struct Several {
    queues: Vec<DriverQueue>,
    pub(super) backend: Arc<TestNet>,
    wiring: Wiring,
    given: u64,
}

impl Several {
    fn new(rig: &mut Rig, features: u64) -> Several {
        Several::of(rig, ALL | FEATURES, features)
    }

    /// A card that offers features, and a driver that takes some.
    pub(super) fn of(rig: &mut Rig, offered: u64, features: u64) -> Several {
        let (backend, _, wiring) = attach_to(rig, TestNet::with_queues(PAIRS), offered);
        let features = features | ring::VERSION_1 | ring::INDIRECT_DESC;
        assert_ne!(driver::negotiate(rig, features) & device_status::FEATURES_OK, 0);
        let queues = (0..2 * PAIRS + 1).map(|number| {
            let base = QUEUES + u64::from(number) * STRIDE;
            let queue = DriverQueue::new(rig.ram().clone(), base, 16, features);
            driver::enable(rig, number, queue.place(), NO_VECTOR);
            queue
        });
        let queues = queues.collect();
        driver::ready(rig);
        Several { queues, backend, wiring, given: 0 }
    }

    pub(super) fn command(&mut self, rig: &mut Rig, command: u8, data: &[u8]) -> u8 {
        rig.poke(SENT, &[class::MQ, command]);
        rig.poke(SENT + 2, data);
        rig.poke(SENT + 0x800, &[0xee]);
        let buffers = [
            Buffer { gpa: SENT, len: 2 + data.len() as u32, write: false },
            Buffer { gpa: SENT + 0x800, len: 1, write: true },
        ];
        let control = queue::control(PAIRS);
        assert!(self.queues[usize::from(control)].offer(&buffers, true, 0));
        driver::notify(rig, control);
        assert_eq!(self.queues[usize::from(control)].used(), Some((0, 1)));
        rig.peek(SENT + 0x800, 1)[0]
    }

    pub(super) fn set_pairs(&mut self, rig: &mut Rig, pairs: u16) -> u8 {
        self.command(rig, 0, &pairs.to_le_bytes())
    }

    pub(super) fn give(&mut self, rig: &mut Rig, pair: u16) {
        let gpa = RECEIVED + self.given % 16 * 0x1000;
        self.given += 1;
        let number = queue::rx(pair);
        assert!(self.queues[usize::from(number)].offer(
            &[Buffer { gpa, len: 2048, write: true }],
            false,
            gpa
        ));
        driver::notify(rig, number);
    }

    pub(super) fn come(&self, pair: u16, frame: &[u8]) {
        self.backend.give_by(pair, frame, Offload::default());
        self.wiring.waker().wake(Wake::Backend(CABLE));
    }

    /// The next buffer that the card has filled, with its header.
    pub(super) fn filled(&mut self, rig: &Rig, pair: u16) -> Option<Vec<u8>> {
        let (gpa, len) = self.queues[usize::from(queue::rx(pair))].used()?;
        Some(rig.peek(gpa, len as usize))
    }

    pub(super) fn offer(&mut self, rig: &mut Rig, number: u16, buffers: &[Buffer]) {
        assert!(self.queues[usize::from(number)].offer(buffers, false, 0));
        driver::notify(rig, number);
    }

    fn send(&mut self, rig: &mut Rig, pair: u16, frame: &[u8]) {
        rig.poke(SENT, &[0; HEADER]);
        rig.poke(SENT + HEADER as u64, frame);
        let whole = Buffer { gpa: SENT, len: (HEADER + frame.len()) as u32, write: false };
        self.offer(rig, queue::tx(pair), &[whole]);
    }

    fn is_sent(&mut self, pair: u16) -> bool {
        self.queues[usize::from(queue::tx(pair))].used().is_some()
    }
}

#[test]
fn each_pair_has_a_queue_of_the_backends() {
    for packed in [0, ring::RING_PACKED] {
        scenario(|rig| {
            let mut card = Several::new(rig, FEATURES | packed);
            let at = MEMORY + DEVICE.offset + config::MAX_VIRTQUEUE_PAIRS as u64;
            assert_eq!(rig.mmio_read(at, Size::B2), u64::from(PAIRS));
            assert_eq!(card.backend.in_use(), 1, "one, until a command");
            assert_eq!(card.set_pairs(rig, PAIRS), ack::OK);
            assert_eq!(card.backend.in_use(), PAIRS);
            for pair in 0..PAIRS {
                let out = frame([9; 6], 60 + usize::from(pair));
                card.send(rig, pair, &out);
                assert_eq!(card.backend.sent_by(), Some((pair, out)));
                assert!(card.is_sent(pair));
                card.give(rig, pair);
                let expected = frame(MAC, 100 + usize::from(pair));
                card.come(pair, &expected);
                assert_eq!(card.filled(rig, pair).unwrap()[HEADER..], expected);
            }
        });
    }
}

#[test]
fn pairs_that_are_not_in_use_take_nothing_and_are_emptied() {
    scenario(|rig| {
        let mut card = Several::new(rig, FEATURES);
        (0..PAIRS).for_each(|pair| card.give(rig, pair));
        // What the driver sends by one all the same goes by the first.
        let out = frame([9; 6], 60);
        card.send(rig, 3, &out);
        assert_eq!(card.backend.sent_by(), Some((0, out.clone())));
        assert!(card.is_sent(3));
        assert_eq!(card.set_pairs(rig, 3), ack::OK);
        card.come(3, &frame(MAC, 60));
        assert_eq!(card.filled(rig, 3), None);
        card.come(2, &frame(MAC, 61));
        assert_eq!(card.filled(rig, 2).unwrap()[HEADER..], frame(MAC, 61));
        // A frame that waits for buffers is lost with its pair, and its buffers stay for later.
        card.give(rig, 1);
        card.come(1, &frame(MAC, 9000));
        assert_eq!(card.filled(rig, 1), None);
        card.backend.set_full(true);
        card.send(rig, 2, &out);
        assert!(!card.is_sent(2));
        assert_eq!(card.set_pairs(rig, 1), ack::OK);
        card.backend.set_full(false);
        card.wiring.waker().wake(Wake::Backend(CABLE));
        assert_eq!(card.backend.sent_by(), Some((0, out)));
        assert!(card.is_sent(2));
        assert_eq!(card.set_pairs(rig, 2), ack::OK);
        card.come(1, &frame(MAC, 62));
        assert_eq!(card.filled(rig, 1).unwrap()[HEADER..], frame(MAC, 62));
    });
}

#[test]
fn what_a_backend_told_of_before_a_pair_was_in_use_is_looked_for() {
    let mut rig = Rig::new();
    let mut card = Several::new(&mut rig, FEATURES);
    card.give(&mut rig, 1);
    card.come(1, &frame(MAC, 60));
    assert_eq!(card.filled(&rig, 1), None);
    // `TestNet` keeps what it was given for a queue that comes into use.
    assert_eq!(card.set_pairs(&mut rig, 2), ack::OK);
    assert_eq!(card.filled(&rig, 1).unwrap()[HEADER..], frame(MAC, 60));
}

#[test]
fn numbers_of_pairs_that_there_are_not_are_refused() {
    scenario(|rig| {
        let mut card = Several::new(rig, FEATURES);
        assert_eq!(card.set_pairs(rig, 2), ack::OK);
        for wrong in [0, PAIRS + 1, 0x8000, 0xffff] {
            assert_eq!(card.set_pairs(rig, wrong), ack::ERR);
        }
        for wrong in [&[][..], &[1]] {
            assert_eq!(card.command(rig, 0, wrong), ack::ERR);
        }
        assert_eq!(card.command(rig, 3, &[1, 0]), ack::ERR);
        assert_eq!(card.backend.in_use(), 2, "as before");
        driver::set_status(rig, 0);
        assert_eq!(card.backend.in_use(), 1);
    });
}

fn sizes(rig: &mut Rig) -> Vec<u64> {
    let size = |rig: &mut Rig, queue| {
        driver::set(rig, common::QUEUE_SELECT, Size::B2, queue);
        driver::get(rig, common::QUEUE_SIZE, Size::B2)
    };
    (0..u64::from(2 * PAIRS) + 2).map(|queue| size(rig, queue)).collect()
}

#[test]
fn the_control_queue_is_the_last_of_those_that_the_driver_knows_of() {
    scenario(|rig| {
        attach_to(rig, TestNet::with_queues(PAIRS), ALL | FEATURES);
        let all = [vec![256; 8], vec![64, 0]].concat();
        let one = [vec![256; 2], vec![64], vec![0; 7]].concat();
        for _ in 0..2 {
            assert_eq!(sizes(rig), all, "nobody has said anything");
            driver::negotiate(rig, ring::VERSION_1 | FEATURES);
            assert_eq!((sizes(rig), driver::get(rig, common::NUM_QUEUES, Size::B2)), (all.clone(), 9));
            driver::negotiate(rig, ring::VERSION_1 | feature::CTRL_VQ);
            assert_eq!((sizes(rig), driver::get(rig, common::NUM_QUEUES, Size::B2)), (one.clone(), 3));
            driver::set_status(rig, 0);
        }
    });
    // A card that does not offer several pairs has one, whatever its backend has.
    let mut rig = Rig::new();
    attach_to(&mut rig, TestNet::with_queues(PAIRS), ALL);
    assert_eq!(driver::get(&mut rig, common::NUM_QUEUES, Size::B2), 3);
}

#[test]
fn a_driver_that_knows_of_one_pair_commands_by_queue_2() {
    scenario(|rig| {
        let (backend, slot, wiring) = attach_to(rig, TestNet::with_queues(PAIRS), ALL | FEATURES);
        let features = ring::VERSION_1 | ring::INDIRECT_DESC | feature::CTRL_VQ | feature::CTRL_RX;
        driver::negotiate(rig, features);
        let queue = |rig: &Rig, base| DriverQueue::new(rig.ram().clone(), base, 16, features);
        let (rx, tx, control) = (queue(rig, RX), queue(rig, TX), queue(rig, CONTROL));
        for (number, queue) in [&rx, &tx, &control].into_iter().enumerate() {
            driver::enable(rig, number as u16, queue.place(), NO_VECTOR);
        }
        driver::ready(rig);
        let mut card = Started { rx, tx, control, backend, slot, wiring, received: 0 };
        assert_eq!(card.command(rig, class::MQ, 0, &[1, 0]), ack::ERR, "it was not agreed on");
        assert_eq!(card.command(rig, class::RX, rx::PROMISC, &[0]), ack::OK);
        card.give(rig, 2048);
        card.come(&frame(MAC, 60));
        assert_eq!(card.filled(rig).unwrap()[HEADER..], frame(MAC, 60));
    });
}

/// A legacy driver may use queues before it says what it accepts, and then says that there are fewer.
#[test]
fn queues_that_a_legacy_driver_loses_leave_nothing_behind() {
    scenario(|rig| {
        let (backend, _, wiring) = attach_to(rig, TestNet::with_queues(PAIRS), ALL | FEATURES);
        let ports = |register: u64| PORTS + register as u16;
        let accept = |rig: &mut Rig, features: u64| rig.outl(ports(legacy::DRIVER_FEATURES), features as u32);
        rig.outb(ports(legacy::DEVICE_STATUS), 3);
        accept(rig, FEATURES);
        let mut queues = Vec::new();
        for number in 0..2 * PAIRS + 1 {
            let page = 0x100 + u32::from(number) * 8;
            rig.outw(ports(legacy::QUEUE_SELECT), number);
            let size = rig.inw(ports(legacy::QUEUE_SIZE));
            rig.outl(ports(legacy::QUEUE_ADDRESS), page);
            let descriptors = u64::from(page) * 4096;
            let driver = descriptors + u64::from(size) * 16;
            let device = (driver + 6 + u64::from(size) * 2).next_multiple_of(4096);
            let place = super::super::super::queue::Place { size, descriptors, driver, device };
            queues.push(DriverQueue::at(rig.ram().clone(), place, 0x8_0000, FEATURES));
        }
        rig.poke(SENT, &[class::MQ, 0, PAIRS as u8, 0, 0, 0]);
        let command =
            [Buffer { gpa: SENT, len: 4, write: false }, Buffer { gpa: SENT + 0x800, len: 1, write: true }];
        assert!(queues[8].offer(&command, false, 0));
        rig.outw(ports(legacy::QUEUE_NOTIFY), 8);
        assert_eq!((queues[8].used().is_some(), backend.in_use()), (true, PAIRS));
        // A frame on its way out, and one in.
        backend.set_full(true);
        assert!(queues[7].offer(&[Buffer { gpa: SENT, len: 100, write: false }], false, 0));
        rig.outw(ports(legacy::QUEUE_NOTIFY), 7);
        assert!(queues[6].offer(&[Buffer { gpa: RECEIVED, len: 100, write: true }], false, 0));
        backend.give_by(3, &frame(MAC, 1000), Offload::default());
        wiring.waker().wake(Wake::Backend(CABLE));
        accept(rig, feature::CTRL_VQ);
        rig.outw(ports(legacy::QUEUE_SELECT), 7);
        assert_eq!(rig.inw(ports(legacy::QUEUE_SIZE)), 0);
        rig.save_load();
        accept(rig, FEATURES);
        backend.set_full(false);
        wiring.waker().wake(Wake::Backend(CABLE));
        assert_eq!(backend.sent(), None);
        assert!(queues[7].used().is_none() && queues[6].used().is_none());
        rig.save_load();
    });
}

#[test]
fn one_queue_of_a_pair_is_reset() {
    scenario(|rig| {
        let mut card = Several::new(rig, FEATURES | ring::RING_RESET);
        assert_eq!(card.set_pairs(rig, PAIRS), ack::OK);
        (0..2).for_each(|_| card.give(rig, 2));
        card.come(2, &frame(MAC, 9000));
        driver::set(rig, common::QUEUE_SELECT, Size::B2, queue::rx(2).into());
        driver::set(rig, common::QUEUE_RESET, Size::B2, 1);
        assert_eq!(driver::get(rig, common::QUEUE_ENABLE, Size::B2), 0);
        // What comes meanwhile waits, and other pairs go on.
        card.come(2, &frame(MAC, 60));
        card.give(rig, 1);
        card.come(1, &frame(MAC, 61));
        assert_eq!(card.filled(rig, 1).unwrap()[HEADER..], frame(MAC, 61));
        let features = FEATURES | ring::RING_RESET | ring::VERSION_1 | ring::INDIRECT_DESC;
        let base = QUEUES + u64::from(queue::rx(2)) * STRIDE;
        rig.poke(base, &[0; STRIDE as usize]);
        let again = DriverQueue::new(rig.ram().clone(), base, 16, features);
        driver::enable(rig, queue::rx(2), again.place(), NO_VECTOR);
        card.queues[usize::from(queue::rx(2))] = again;
        (0..6).for_each(|_| card.give(rig, 2));
        let parts: Vec<Vec<u8>> = (0..5).map(|_| card.filled(rig, 2).unwrap()).collect();
        assert_eq!(parts.concat()[HEADER..], frame(MAC, 9000));
        assert_eq!(card.filled(rig, 2).unwrap()[HEADER..], frame(MAC, 60));
    });
}

#[test]
fn a_state_of_one_pair_is_as_it_was_before_there_were_several() {
    let state = |backend: TestNet, features| {
        let mut rig = Rig::new();
        let (_, slot, _) = attach_to(&mut rig, backend, features);
        rig.config_write(SLOT, 0, reg::COMMAND, Size::B2, 7);
        let saved = rig.bus().save().unwrap().remove(0).1;
        drop(slot);
        saved.body.clone()
    };
    let holds = |state: &[u8], word: &[u8]| state.windows(word.len()).any(|part| part == word);
    let one = state(TestNet::default(), ALL | feature::MQ);
    assert!(holds(&one, b"allowed") && !holds(&one, b"others"));
    assert!(holds(&state(TestNet::with_queues(2), ALL | FEATURES), b"others"));
}

#[test]
fn fuzzed_with_several_pairs() {
    let build = || {
        let mut rig = Rig::new();
        let (backend, _, wiring) = attach_to(&mut rig, TestNet::with_queues(PAIRS), ALL | FEATURES);
        (rig, (backend, wiring))
    };
    let places = [
        FuzzRange::Ports(PORTS, 0x40),
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x3000, 0x28),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(build, 7, &places, |(rig, (backend, wiring)), what| match what {
        0..6 => {
            driver::map(rig);
            let features = ring::VERSION_1 | if what < 4 { FEATURES } else { feature::CTRL_VQ };
            driver::negotiate(rig, features);
            let last = if what < 4 { queue::control(PAIRS) } else { queue::control(1) };
            rig.poke(SENT, &[class::MQ, 0, what as u8, 0]);
            for number in 0..=last {
                let base = QUEUES + u64::from(number) * STRIDE;
                let mut queue = DriverQueue::new(rig.ram().clone(), base, 16, features);
                driver::enable(rig, number, queue.place(), what as u16);
                for n in 0..3 {
                    let write = number % 2 == 0 && number != last;
                    let len = if number == last { 4 } else { 40 + 20 * n as u32 };
                    let mut buffers = vec![Buffer { gpa: SENT + n * 256, len, write }];
                    if number == last {
                        buffers.push(Buffer { gpa: SENT + 0x800, len: 1, write: true });
                    }
                    queue.offer(&buffers, false, n);
                }
            }
            driver::ready(rig);
            (0..=last).for_each(|queue| driver::notify(rig, queue));
        }
        6..26 => {
            let pair = (what % 4) as u16;
            backend.give_by(pair, &frame(MAC, 40 + what as usize * 5), Offload::default());
            wiring.waker().wake(Wake::Backend(CABLE));
        }
        26..28 => backend.set_full(what == 26),
        28..32 => rig.poke(QUEUES + (what - 28) * STRIDE + 0x1000, &[what as u8; 24]),
        _ => {}
    });
}
