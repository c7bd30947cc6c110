//! The device on PCI: what Linux's driver does with it, and what none should.

mod windows;

use std::sync::Mutex;

use devices_core::rig::{FuzzRange, Rig, fuzz, scenario, us};
use devices_core::{DeviceCell, Size};

use super::super::driver::pci::{self as driver, MEMORY, PORTS, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::{Handles, Options as PciOptions, USUAL_FEATURES};
use super::super::spec::feature as common;
use super::*;

const ALL: Options = Options { deflate_on_oom: true, reporting: true, poison: true };
/// The structures' offset of the device's configuration.
const CONFIG: u64 = MEMORY + 0x2000;
const QUEUES: [u64; 4] = [0x4_0000, 0x5_0000, 0x6_0000, 0x7_0000];
const DATA: u64 = 0x2_0000;
const SECOND: u64 = 1_000_000_000;

#[derive(Default)]
struct Heard(Mutex<Vec<DeviceEvent>>);

impl Observer for Heard {
    fn observe(&self, event: DeviceEvent) {
        self.0.lock().unwrap().push(event);
    }
}

type Cell = Arc<DeviceCell<VirtioPci<VirtioBalloon>>>;

fn attach(rig: &mut Rig, options: Options) -> (Cell, Arc<Heard>) {
    let wiring = rig.wiring();
    let handles =
        Handles { name: "balloon", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let how = PciOptions { legacy: true, modern: true, vectors: 5, features: USUAL_FEATURES };
    let heard = Arc::<Heard>::default();
    let balloon = VirtioBalloon::new(&model::MODEL, options, &wiring, rig.ram(), heard.clone());
    let cell = rig.attach_pci(VirtioPci::new(balloon, how, handles), &wiring, SLOT, 0);
    driver::map(rig);
    (cell, heard)
}

/// As Linux does: features, queues, `actual`.
fn start(rig: &mut Rig, features: u64, queues: u16) -> Vec<DriverQueue> {
    let features = features | common::VERSION_1;
    driver::negotiate(rig, features);
    let queue = |(number, base): (u16, &u64)| {
        let queue = DriverQueue::new(rig.ram().clone(), *base, 32, features);
        driver::enable(rig, number, queue.place(), number);
        queue
    };
    let queues = (0..queues).zip(&QUEUES).map(queue).collect();
    driver::ready(rig);
    queues
}

/// Page numbers in a buffer.
fn numbers(rig: &Rig, pages: &[u32]) -> Buffer {
    let bytes: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    rig.poke(DATA, &bytes);
    Buffer { gpa: DATA, len: bytes.len() as u32, write: false }
}

fn fill(rig: &Rig, pages: impl Iterator<Item = u64>) {
    pages.for_each(|page| rig.poke(page * PAGE, &[0x55; 16]));
}

/// Which of these pages were given back.
fn gone(rig: &Rig, pages: impl Iterator<Item = u64>) -> Vec<u64> {
    pages.filter(|page| rig.peek(page * PAGE, 16) == [0; 16]).collect()
}

#[test]
fn the_guest_fills_it_as_it_is_asked_and_the_host_gets_the_pages() {
    scenario(|rig| {
        let (cell, heard) = attach(rig, ALL);
        let mut queues = start(rig, feature::STATS_VQ | feature::REPORTING, 4);
        cell.lock().set_target((2 << 20) - 8 * PAGE);
        assert_eq!(rig.mmio_read(CONFIG, Size::B4), 8);
        fill(rig, 0x100..0x110);
        // In no order, one twice, and some that are none of the guest's.
        let pages = [0x105, 0x100, 0x101, 0x102, 0x109, 0x105, u32::MAX, 0x200, 0x1_0000];
        assert!(queues[0].offer(&[numbers(rig, &pages)], false, 1));
        driver::notify(rig, 0);
        assert_eq!(queues[0].used(), Some((1, 0)));
        assert_eq!(gone(rig, 0x100..0x110), [0x100, 0x101, 0x102, 0x105, 0x109]);
        rig.mmio_write(CONFIG + 4, Size::B4, 5);
        assert_eq!(cell.lock().actual(), (2 << 20) - 5 * PAGE);
        let last = heard.0.lock().unwrap().pop();
        assert_eq!(last, Some(DeviceEvent::BalloonMoved { actual: (2 << 20) - 5 * PAGE }));
        // Out again: nothing to be done, and the same once more is no news.
        assert!(queues[1].offer(&[numbers(rig, &[0x100])], false, 2));
        driver::notify(rig, 1);
        assert_eq!(queues[1].used(), Some((2, 0)));
        let before = heard.0.lock().unwrap().len();
        rig.mmio_write(CONFIG + 4, Size::B4, 5);
        assert_eq!(heard.0.lock().unwrap().len(), before);
    });
}

#[test]
fn the_driver_is_told_that_another_size_is_wanted() {
    let mut rig = Rig::new();
    let (cell, _) = attach(&mut rig, Options::default());
    start(&mut rig, feature::STATS_VQ, 2);
    rig.take_edges();
    cell.lock().set_target(1 << 20);
    assert_eq!(rig.take_edges(), [(11, true)]);
    // More than there is, and nothing at all.
    cell.lock().set_target(u64::MAX);
    assert_eq!(rig.mmio_read(CONFIG, Size::B4), 0);
    cell.lock().set_target(0);
    assert_eq!(rig.mmio_read(CONFIG, Size::B4), (2 << 20) / PAGE);
    // Poison is not among what it has.
    rig.mmio_write(CONFIG + 12, Size::B4, 1);
    assert_eq!(rig.mmio_read(CONFIG + 12, Size::B4), 0xffff_ffff);
    // A driver that starts anew has all its pages; what is wanted stays.
    rig.mmio_write(CONFIG + 4, Size::B4, 7);
    driver::set_status(&mut rig, 0);
    assert_eq!(rig.mmio_read(CONFIG, Size::B8), (2 << 20) / PAGE);
}

#[test]
fn free_pages_that_are_reported_go_unless_the_guest_relies_on_what_is_in_them() {
    scenario(|rig| {
        attach(rig, ALL);
        let mut queues = start(rig, feature::STATS_VQ | feature::REPORTING | feature::PAGE_POISON, 4);
        let mut report = |rig: &mut Rig, id| {
            fill(rig, 0x100..0x110);
            let run = |first: u64, len: u32| Buffer { gpa: first, len, write: true };
            // The second has one whole page in it, the third none.
            let free = [
                run(0x101 * PAGE, 4 * PAGE as u32),
                run(0x108 * PAGE - 8, PAGE as u32 + 16),
                run(0x10c * PAGE + 8, 64),
            ];
            assert!(queues[3].offer(&free, false, id));
            driver::notify(rig, 3);
            assert_eq!(queues[3].used(), Some((id, 0)));
            gone(rig, 0x100..0x110)
        };
        assert_eq!(report(rig, 1), [0x101, 0x102, 0x103, 0x104, 0x108]);
        rig.mmio_write(CONFIG + 12, Size::B4, 0xaaaa_aaaa);
        assert!(report(rig, 2).is_empty());
    });
}

#[test]
fn statistics_are_asked_for_as_often_as_the_monitor_says() {
    scenario(|rig| {
        let (cell, _) = attach(rig, ALL);
        let mut queues = start(rig, feature::STATS_VQ, 3);
        let stats = &mut queues[2];
        let mut tell = |rig: &mut Rig, free: u64, id| {
            let one = |tag: u16, value: u64| [&tag.to_le_bytes()[..], &value.to_le_bytes()].concat();
            rig.poke(DATA, &[one(4, free), one(5, 1 << 20), one(99, 1)].concat());
            assert!(stats.offer(&[Buffer { gpa: DATA, len: 30, write: false }], false, id));
            driver::notify(rig, 2);
            assert_eq!(stats.used(), None, "it stays until the device asks again");
            let values = cell.lock().statistics().values;
            assert_eq!(values[4..6], [Some(free), Some(1 << 20)]);
        };
        tell(rig, 1000, 1);
        rig.advance(10 * SECOND);
        assert_eq!(queues[2].used(), None, "nobody wants to know");
        cell.lock().set_polling(2);
        rig.advance(2 * SECOND + 1);
        assert_eq!(queues[2].used(), Some((1, 0)));
    });
}

#[test]
fn a_driver_without_sense_is_survived() {
    let mut rig = Rig::new();
    attach(&mut rig, ALL);
    let mut queues = start(&mut rig, feature::STATS_VQ | feature::REPORTING, 4);
    // A million page numbers, statistics without an end, half a number, buffers in the wrong direction.
    let long = Buffer { gpa: 0, len: 2 << 20, write: false };
    let all: Vec<Buffer> = vec![long; 30];
    for (number, queue) in queues.iter_mut().enumerate() {
        assert!(queue.offer(&all, false, 1));
        driver::notify(&mut rig, number as u16);
    }
    assert_eq!(queues[1].used(), Some((1, 0)));
    let mut rig = Rig::new();
    attach(&mut rig, ALL);
    let mut queues = start(&mut rig, feature::STATS_VQ, 3);
    fill(&rig, 0x100..0x110);
    rig.poke(DATA, &[0, 1, 0]);
    let odd =
        [Buffer { gpa: DATA, len: 3, write: false }, Buffer { gpa: 0x100 * PAGE, len: 64, write: true }];
    assert!(queues[0].offer(&odd, false, 1));
    driver::notify(&mut rig, 0);
    assert_eq!(queues[0].used(), Some((1, 0)));
    assert!(gone(&rig, 0x100..0x110).is_empty());
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        attach(&mut rig, ALL);
        rig
    };
    let places = [
        FuzzRange::Ports(PORTS, 0x28),
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x1000, 0x2010),
    ];
    fuzz(build, 11, &places, |rig, what| {
        if what < 4 {
            driver::map(rig);
            let mut queues = start(rig, feature::STATS_VQ | feature::REPORTING | feature::PAGE_POISON, 4);
            for (number, queue) in queues.iter_mut().enumerate() {
                for n in 0..8 {
                    let write = number == 3;
                    assert!(queue.offer(&[Buffer { gpa: DATA + n * 640, len: 640, write }], false, n));
                }
                driver::notify(rig, number as u16);
            }
            rig.advance(us(what));
        }
    });
}
