//! The devices on PCI.

mod vioinput;

use std::sync::Arc;

use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};
use devices_core::{DeviceCell, Size};

use super::super::driver::pci::{self as driver, MEMORY, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::spec::{DEVICE, NO_VECTOR};
use super::super::pci::{Handles, Options as PciOptions, USUAL_FEATURES};
use super::super::spec::feature;
use super::spec::select;
use super::*;

const QUEUES: u64 = 0x4_0000;
const GOT: u64 = 0x2_0000;

type Cell = Arc<DeviceCell<VirtioPci<Input>>>;

fn attach_as(rig: &mut Rig, kind: Kind, wheel_axis: bool) -> Cell {
    let wiring = rig.wiring();
    let handles =
        Handles { name: "input", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let how = PciOptions { legacy: true, modern: true, vectors: 2, features: USUAL_FEATURES };
    let model = match kind {
        Kind::Keyboard => &model::KEYBOARD,
        Kind::Mouse => &model::MOUSE,
        Kind::Tablet => &model::TABLET,
    };
    let options = Options { kind, serial: None, wheel_axis, model };
    let cell = rig.attach_pci(VirtioPci::new(Input::new(options), how, handles), &wiring, SLOT, 0);
    driver::map(rig);
    cell
}

/// A device whose driver is set up.
struct Started {
    cell: Cell,
    events: DriverQueue,
    status: DriverQueue,
    given: u64,
}

impl Started {
    fn new(rig: &mut Rig, kind: Kind) -> Started {
        let cell = attach_as(rig, kind, true);
        driver::negotiate(rig, feature::VERSION_1);
        let queue = |rig: &Rig, at| DriverQueue::new(rig.ram().clone(), at, 16, feature::VERSION_1);
        let (events, status) = (queue(rig, QUEUES), queue(rig, QUEUES + 0x1_0000));
        driver::enable(rig, queue::EVENT, events.place(), NO_VECTOR);
        driver::enable(rig, queue::STATUS, status.place(), NO_VECTOR);
        driver::ready(rig);
        Started { cell, events, status, given: 0 }
    }

    fn give(&mut self, rig: &mut Rig, count: u64) {
        for _ in 0..count {
            let gpa = GOT + self.given % 64 * 8;
            self.given += 1;
            assert!(self.events.offer(&[Buffer { gpa, len: 8, write: true }], false, gpa));
        }
        driver::notify(rig, queue::EVENT);
    }

    /// The events that have come.
    fn come(&mut self, rig: &Rig) -> Vec<(u16, u16, i32)> {
        std::iter::from_fn(|| self.events.used())
            .map(|(gpa, len)| {
                assert_eq!(len, 8);
                let [t0, t1, c0, c1, v0, v1, v2, v3] = rig.peek(gpa, 8).try_into().unwrap();
                let value = i32::from_le_bytes([v0, v1, v2, v3]);
                (u16::from_le_bytes([t0, t1]), u16::from_le_bytes([c0, c1]), value)
            })
            .collect()
    }

    fn point(&self, motion: Motion, wheel: i32, buttons: u8) {
        self.cell.lock().point(Pointer { motion, wheel, buttons });
    }
}

const END: (u16, u16, i32) = (0, 0, 0);

#[test]
fn keys_go_down_and_up() {
    scenario(|rig| {
        let mut keyboard = Started::new(rig, Kind::Keyboard);
        keyboard.give(rig, 4);
        let key = Key::by_name("a").unwrap();
        keyboard.cell.lock().key(key, true);
        assert_eq!(keyboard.come(rig), [(1, 30, 1), END]);
        keyboard.cell.lock().key(key, false);
        assert_eq!(keyboard.come(rig), [(1, 30, 0), END]);
    });
}

#[test]
fn a_packet_without_enough_buffers_is_dropped_whole() {
    scenario(|rig| {
        let mut mouse = Started::new(rig, Kind::Mouse);
        mouse.give(rig, 2);
        mouse.point(Motion::By { dx: 3, dy: -4 }, 0, 1);
        assert_eq!(mouse.come(rig), []);
        mouse.give(rig, 2);
        // The button is told now, the movement is lost.
        mouse.point(Motion::By { dx: 1, dy: 0 }, 0, 1);
        assert_eq!(mouse.come(rig), [(2, 0, 1), (1, 0x110, 1), END]);
        mouse.give(rig, 3);
        mouse.point(Motion::By { dx: 0, dy: 0 }, 0, 1);
        assert_eq!(mouse.come(rig), [], "nothing has changed");
        mouse.point(Motion::By { dx: 0, dy: 7 }, 2, 0);
        assert_eq!(mouse.come(rig), [(2, 1, 7), (1, 0x110, 0), (2, 8, -2), END]);
    });
}

#[test]
fn a_tablet_is_at_a_place() {
    scenario(|rig| {
        let mut tablet = Started::new(rig, Kind::Tablet);
        tablet.give(rig, 8);
        tablet.point(Motion::To { x: Some(0x7fff), y: Some(5) }, 0, 2);
        assert_eq!(tablet.come(rig), [(3, 0, 0x7fff), (3, 1, 5), (1, 0x111, 1), END]);
        tablet.point(Motion::To { x: None, y: Some(6) }, 0, 2);
        assert_eq!(tablet.come(rig), [(3, 1, 6), END]);
    });
}

#[test]
fn a_wheel_of_buttons() {
    let mut rig = Rig::new();
    let mut mouse = Started::new(&mut rig, Kind::Mouse);
    mouse.cell.lock().with(|input, _| input.options.wheel_axis = false);
    mouse.give(&mut rig, 4);
    mouse.point(Motion::By { dx: 0, dy: 0 }, -1, 0);
    assert_eq!(mouse.come(&rig), [(1, 0x151, 1), END, (1, 0x151, 0), END]);
}

#[test]
fn nobody_hears_before_a_driver_is_there() {
    let mut rig = Rig::new();
    let cell = attach_as(&mut rig, Kind::Keyboard, false);
    assert!(!cell.lock().is_active());
    cell.lock().key(Key::by_name("a").unwrap(), true);
    driver::negotiate(&mut rig, feature::VERSION_1);
    driver::ready(&mut rig);
    assert!(cell.lock().is_active());
    driver::set_status(&mut rig, 0);
    assert!(!cell.lock().is_active());
}

#[test]
fn lights_are_kept() {
    scenario(|rig| {
        let mut keyboard = Started::new(rig, Kind::Keyboard);
        for (bytes, lights) in [
            ([0x11, 0, 1, 0, 1, 0, 0, 0], 2),
            ([0x11, 0, 0, 0, 1, 0, 0, 0], 3),
            ([0x11, 0, 1, 0, 0, 0, 0, 0], 1),
            ([0x11, 0, 9, 0, 1, 0, 0, 0], 1),
            ([0x12, 0, 2, 0, 1, 0, 0, 0], 1),
        ] {
            rig.poke(GOT, &bytes);
            assert!(keyboard.status.offer(&[Buffer { gpa: GOT, len: 8, write: false }], false, 0));
            driver::notify(rig, queue::STATUS);
            assert!(keyboard.status.used().is_some());
            let (_, slot) = rig.bus().slots().into_iter().find(|(name, _)| name == "input").unwrap();
            let mut node = Node::default();
            slot.lock().inspect(&mut node);
            assert!(node.to_string().contains(&format!("lights: {lights:#x}")), "{node}");
        }
    });
}

/// Asks the configuration: what it says of size, and the answer.
fn ask(rig: &mut Rig, what: u8, which: u8) -> Vec<u8> {
    let at = MEMORY + DEVICE.offset;
    rig.mmio_write(at, Size::B1, what.into());
    rig.mmio_write(at + 1, Size::B1, which.into());
    let size = rig.mmio_read(at + 2, Size::B1);
    (0..size).map(|byte| rig.mmio_read(at + 8 + byte, Size::B1) as u8).collect()
}

#[test]
fn the_configuration_answers_as_qemu_s() {
    scenario(|rig| {
        attach_as(rig, Kind::Tablet, true);
        assert_eq!(ask(rig, select::ID_NAME, 0), b"QEMU Virtio Tablet\0");
        assert_eq!(ask(rig, select::ID_DEVIDS, 0), [6, 0, 0x27, 6, 3, 0, 2, 0]);
        assert_eq!(ask(rig, select::EV_BITS, 3), [3]);
        assert_eq!(ask(rig, select::EV_BITS, 2), [0, 1]);
        let range = [&[0; 4][..], &[0xff, 0x7f, 0, 0], &[0; 12]].concat();
        assert_eq!(ask(rig, select::ABS_INFO, 1), range);
        let buttons = ask(rig, select::EV_BITS, 1);
        assert_eq!((buttons.len(), buttons[34], buttons[42]), (43, 0x1f, 3));
        for (what, which) in [(select::ID_NAME, 1), (select::ID_SERIAL, 0), (0, 0), (0xff, 0xff)] {
            assert_eq!(ask(rig, what, which), []);
            assert_eq!(rig.mmio_read(MEMORY + DEVICE.offset, Size::B1), 0, "nothing is chosen");
        }
    });
    let mut rig = Rig::new();
    attach_as(&mut rig, Kind::Keyboard, false);
    assert_eq!(ask(&mut rig, select::EV_BITS, 0x11), [7]);
    assert_eq!(ask(&mut rig, select::EV_BITS, 0x14), [0]);
    let keys = ask(&mut rig, select::EV_BITS, 1);
    assert_eq!((keys.len(), keys[0], keys[1]), (29, 0xfe, 0xff));
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        let cell = attach_as(&mut rig, Kind::Tablet, true);
        (rig, cell)
    };
    let places = [
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x1000, 0x2010),
        FuzzRange::Memory(driver::MSIX, 0x40),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(build, 5, &places, |(rig, cell), what| match what {
        0..6 => {
            driver::map(rig);
            driver::negotiate(rig, feature::VERSION_1);
            for number in 0..2u64 {
                let at = QUEUES + number * 0x1_0000;
                let mut queue = DriverQueue::new(rig.ram().clone(), at, 16, feature::VERSION_1);
                driver::enable(rig, number as u16, queue.place(), what as u16);
                for n in 0..8 {
                    let write = number == 0;
                    queue.offer(&[Buffer { gpa: GOT + n * 64, len: 3 + n as u32, write }], false, n);
                }
            }
            driver::ready(rig);
            (0..2).for_each(|queue| driver::notify(rig, queue));
        }
        6..12 => rig.poke(QUEUES + (what - 6) * 0x1000, &[what as u8; 24]),
        12..40 => {
            let (x, y) = (Some(what as u16 * 100), (what % 3 == 0).then_some(7));
            cell.lock().point(Pointer {
                motion: Motion::To { x, y },
                wheel: what as i32 % 3 - 1,
                buttons: what as u8,
            });
        }
        _ => {}
    });
}
