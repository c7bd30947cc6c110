//! The device on PCI.

mod viorng;

use devices_core::entropy::Foretold;
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario, us};

use super::super::driver::pci::{self as driver, MEMORY, PORTS, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::{Handles, Options, USUAL_FEATURES, VirtioPci};
use super::super::spec::feature;
use super::*;

const QUEUE: u64 = 0x4_0000;
const DATA: u64 = 0x2_0000;

fn attach(rig: &mut Rig) {
    let wiring = rig.wiring();
    let handles =
        Handles { name: "rng", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let how = Options { legacy: true, modern: true, vectors: 2, features: USUAL_FEATURES };
    let rng = Rng::new(&model::MODEL, &wiring, Arc::new(Foretold));
    rig.attach_pci(VirtioPci::new(rng, how, handles), &wiring, SLOT, 0);
    driver::map(rig);
}

fn expected(position: u64, len: usize) -> Vec<u8> {
    let mut data = vec![0; len];
    Foretold.fill(position, &mut data);
    data
}

#[test]
fn buffers_are_filled() {
    scenario(|rig| {
        attach(rig);
        let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 8, feature::VERSION_1);
        driver::start(rig, 0, queue.place(), false);
        let two =
            [Buffer { gpa: DATA, len: 10, write: true }, Buffer { gpa: DATA + 100, len: 22, write: true }];
        assert!(queue.offer(&two, false, 1));
        driver::notify(rig, 0);
        assert_eq!(queue.used(), Some((1, 32)));
        assert_eq!([rig.peek(DATA, 10), rig.peek(DATA + 100, 22)].concat(), expected(0, 32));
        // It goes on where it was, after a save too; what it only reads gets nothing.
        assert!(queue.offer(&[Buffer { gpa: DATA, len: 8, write: true }], false, 2));
        assert!(queue.offer(&[Buffer { gpa: DATA + 64, len: 8, write: false }], false, 3));
        driver::notify(rig, 0);
        assert_eq!(queue.used(), Some((2, 8)));
        assert_eq!(queue.used(), Some((3, 0)));
        assert_eq!(rig.peek(DATA, 8), expected(32, 8));
    });
}

#[test]
fn a_request_gets_no_more_than_it_may() {
    let mut rig = Rig::new();
    attach(&mut rig);
    let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 8, feature::VERSION_1);
    driver::start(&mut rig, 0, queue.place(), false);
    assert!(queue.offer(&[Buffer { gpa: 0x10_0000, len: 1 << 20, write: true }], false, 1));
    driver::notify(&mut rig, 0);
    assert_eq!(queue.used(), Some((1, MOST as u32)));
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        attach(&mut rig);
        rig
    };
    let places = [
        FuzzRange::Ports(PORTS, 0x20),
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x1000, 0x2010),
    ];
    fuzz(build, 9, &places, |rig, what| {
        if what < 4 {
            driver::map(rig);
            driver::negotiate(rig, feature::VERSION_1);
            let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 8, feature::VERSION_1);
            driver::enable(rig, 0, queue.place(), what as u16);
            for n in 0..8 {
                assert!(queue.offer(&[Buffer { gpa: DATA + n * 64, len: 64, write: true }], false, n));
            }
            driver::ready(rig);
            driver::notify(rig, 0);
            rig.advance(us(what));
        }
    });
}
