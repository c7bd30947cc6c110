//! Drivers that do what no driver may, and resets in the middle of a command.

use std::sync::mpsc;
use std::time::Duration;

use devices_core::pci::reg;
use devices_core::rig::{FuzzRange, fuzz};

use super::super::super::driver::pci::PORTS;
use super::super::super::pci::spec::common;
use super::*;

fn broken(rig: &mut Rig) -> bool {
    driver::status(rig) & device_status::NEEDS_RESET != 0
}

#[test]
fn requests_that_no_driver_makes_break_the_device() {
    let buffer = |gpa, len, write| Buffer { gpa, len, write };
    let (head, room) = ((HEAD + CDB_SIZE as usize) as u32, RESPONSE as u32 + SENSE_SIZE);
    let commands: [(u16, Vec<Buffer>); 8] = [
        (queue::REQUEST, vec![buffer(REQUEST, head - 1, false), buffer(ANSWER, room, true)]),
        (queue::REQUEST, vec![buffer(REQUEST, head, false), buffer(ANSWER, room - 1, true)]),
        (queue::REQUEST, vec![buffer(REQUEST, head, false)]),
        (queue::REQUEST, vec![buffer(ANSWER, room, true)]),
        (queue::CONTROL, vec![buffer(REQUEST, 3, false), buffer(ANSWER, 1, true)]),
        (queue::CONTROL, vec![buffer(REQUEST, 23, false), buffer(ANSWER, 1, true)]),
        (queue::CONTROL, vec![buffer(REQUEST, 24, false)]),
        (queue::CONTROL, vec![buffer(DATA, 16, false), buffer(ANSWER, 4, true)]),
    ];
    for (number, buffers) in commands {
        let mut rig = Rig::new();
        let (_, store) = with_units(&mut rig, pci_options());
        let mut host = Started::new(&mut rig, 0);
        rig.poke(DATA, &control::QUERY.to_le_bytes());
        let queue = if number == queue::CONTROL { &mut host.control } else { &mut host.request };
        assert!(queue.offer(&buffers, false, 0));
        driver::notify(&mut rig, number);
        assert!(broken(&mut rig), "{buffers:?}");
        assert_eq!(store.contents(), contents());
    }
    // A buffer that an event does not fit into.
    let mut rig = Rig::new();
    let (card, _) = with_units(&mut rig, pci_options());
    let mut host = Started::new(&mut rig, feature::HOTPLUG);
    assert!(host.event.offer(&[buffer(EVENTS, 15, true)], false, 0));
    driver::notify(&mut rig, queue::EVENT);
    assert!(!broken(&mut rig));
    card.lock().with(|scsi, common| assert!(scsi.unplug(common, CD)));
    assert!(broken(&mut rig));
}

/// Resets, in each way that there is: the write is answered when the old command has moved its last byte, and the driver
/// hears nothing of it.
#[test]
fn a_reset_waits_for_what_is_in_flight() {
    type Way = fn(&mut Rig);
    let ways: [Way; 4] = [
        |rig| driver::set_status(rig, 0),
        |rig| {
            driver::set(rig, common::QUEUE_SELECT, Size::B2, queue::REQUEST.into());
            driver::set(rig, common::QUEUE_RESET, Size::B2, 1);
        },
        |rig| rig.config_write(SLOT, 0, reg::COMMAND, Size::B2, 3),
        |rig| rig.outb(PORTS + 0x12, 0),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let mut rig = Rig::new();
        let card = attach(&mut rig, pci_options());
        let held = Arc::<Held>::default();
        card.lock().with(|scsi, common| scsi.plug(common, DISK, disk_of(held.clone())).unwrap());
        let mut host = Started::new(&mut rig, ring::RING_RESET);
        host.run(&mut rig, DISK, &[0; 6], &[], 0);
        host.send(&mut rig, (lun(DISK), 1, 0), &READ, &[], 1024);
        let (said, hears) = mpsc::channel();
        let medium = held.clone();
        let finisher = std::thread::spawn(move || {
            let early = hears.recv_timeout(Duration::from_millis(50)).is_ok();
            medium.finish();
            early
        });
        way(&mut rig);
        assert_eq!(rig.peek(DATA, 1), [0x99], "way {number}: it moves no byte from now on");
        let _ = said.send(());
        assert!(!finisher.join().unwrap(), "way {number} did not wait");
        rig.poke(DATA, &[0]);
        held.finish();
        assert_eq!(rig.peek(DATA, 1), [0]);
        assert_eq!(host.back(&rig), None, "way {number}");
    }
}

/// A function that waits when the device is reset is answered by nobody, least of all into the next driver's memory.
#[test]
fn a_reset_forgets_functions_that_wait() {
    let mut rig = Rig::new();
    let card = attach(&mut rig, pci_options());
    let held = Arc::<Held>::default();
    card.lock().with(|scsi, common| scsi.plug(common, DISK, disk_of(held.clone())).unwrap());
    let mut host = Started::new(&mut rig, ring::RING_RESET);
    host.run(&mut rig, DISK, &[0; 6], &[], 0);
    host.send(&mut rig, (lun(DISK), 1, 0), &READ, &[], 1024);
    assert_eq!(host.manage(&mut rig, tmf::ABORT_TASK, lun(DISK), 1), None);
    let (said, hears) = mpsc::channel::<()>();
    let medium = held.clone();
    let finisher = std::thread::spawn(move || {
        let _ = hears.recv_timeout(Duration::from_millis(50));
        medium.finish();
    });
    driver::set_status(&mut rig, 0);
    drop(said);
    finisher.join().unwrap();
    rig.poke(ANSWER, &[0xee; 0x1000]);
    let mut host = Started::new(&mut rig, 0);
    assert_eq!(host.run(&mut rig, DISK, &[0; 6], &[], 0), check(0, sense::RESET));
    assert_eq!(rig.peek(ANSWER + 0xf00, 8), [0xee; 8]);
    assert_eq!(host.answered(&rig), None);
}

/// Many functions for a command that does not end: they wait in the queue beyond what is worked on.
#[test]
fn functions_without_end_wait_their_turn() {
    let mut rig = Rig::new();
    let card = attach(&mut rig, pci_options());
    let held = Arc::<Held>::default();
    card.lock().with(|scsi, common| scsi.plug(common, DISK, disk_of(held.clone())).unwrap());
    let features = ring::VERSION_1 | ring::INDIRECT_DESC | ring::RING_RESET;
    let mut host = Started::new(&mut rig, features);
    host.run(&mut rig, DISK, &[0; 6], &[], 0);
    host.send(&mut rig, (lun(DISK), 1, 0), &READ, &[], 1024);
    let place = super::super::super::queue::Place {
        size: 128,
        descriptors: 0x14_0000,
        driver: 0x14_1000,
        device: 0x14_2000,
    };
    let mut control = DriverQueue::at(rig.ram().clone(), place, 0x15_0000, features);
    driver::set(&mut rig, common::QUEUE_SELECT, Size::B2, queue::CONTROL.into());
    driver::set(&mut rig, common::QUEUE_RESET, Size::B2, 1);
    driver::enable(&mut rig, queue::CONTROL, place, 0xffff);
    let reset = [&[0; 4][..], &tmf::LOGICAL_UNIT_RESET.to_le_bytes(), &lun(DISK), &[0; 8]].concat();
    rig.poke(REQUEST + 0xf00, &reset);
    for id in 0..128 {
        let asks = Buffer { gpa: REQUEST + 0xf00, len: 24, write: false };
        let answers = Buffer { gpa: ANSWER + 0xf00, len: 1, write: true };
        assert!(control.offer(&[asks, answers], true, id));
    }
    driver::notify(&mut rig, queue::CONTROL);
    assert_eq!(control.used(), None);
    held.finish();
    assert_eq!(std::iter::from_fn(|| control.used()).count(), 128);
}

/// A hostile guest, with rings that are now and then sound, and disks that work meanwhile.
#[test]
fn fuzzed_from_all_sides() {
    for (seed, features) in [(1, USUAL_FEATURES), (2, USUAL_FEATURES | ring::RING_PACKED)] {
        let build = || {
            let mut rig = Rig::new();
            with_units(&mut rig, PciOptions { features, ..pci_options() });
            driver::map(&mut rig);
            rig
        };
        let places = [
            FuzzRange::Ports(PORTS, 0x40),
            FuzzRange::Memory(MEMORY, 0x40),
            FuzzRange::Memory(MEMORY + 0x1000, 0x2018),
            FuzzRange::Memory(MEMORY + DEVICE.offset, 0x24),
            FuzzRange::Memory(driver::MSIX, 0x40),
            FuzzRange::Config(SLOT, 0),
        ];
        fuzz(build, seed, &places, |rig, what| match what {
            0..6 => {
                driver::map(rig);
                let features = ring::VERSION_1 | features & (ring::RING_PACKED | ring::INDIRECT_DESC);
                driver::negotiate(rig, features | feature::HOTPLUG);
                let queue = |base| DriverQueue::new(rig.ram().clone(), base, 16, features);
                let queues = [queue(CONTROL_QUEUE), queue(EVENT_QUEUE), queue(REQUEST_QUEUE)];
                for (number, queue) in (0..).zip(&queues) {
                    driver::enable(rig, number, queue.place(), 0xffff);
                }
                driver::ready(rig);
                let [control, event, request] = queues;
                let (cdb_size, sense_size) = (CDB_SIZE as usize, SENSE_SIZE as usize);
                let mut host = Started { control, event, request, cdb_size, sense_size, next: 0 };
                for (at, cdb) in [[0; 10], READ, WRITE, READ].into_iter().enumerate() {
                    let (out, room) = if cdb == WRITE { (1024, 0) } else { (0, 1024) };
                    host.send(rig, (lun(DISK), at as u64, at as u64), &cdb, &vec![at as u8; out], room);
                }
                match what {
                    0 => drop(host.manage(rig, tmf::LOGICAL_UNIT_RESET, lun(DISK), 0)),
                    1 => drop(host.manage(rig, tmf::ABORT_TASK, lun(DISK), 1)),
                    2 => host.request.offer_endless(),
                    _ => {}
                }
            }
            6..12 => rig.poke(REQUEST_QUEUE + what * 8, &[what as u8; 9]),
            _ => {}
        });
    }
}
