//! The host on PCI, by what its drivers ask of it.

mod hostile;
mod vioscsi;

use std::sync::Arc;

use devices_core::block::MemoryStore;
use devices_core::rig::{Rig, scenario, us};
use devices_core::{DeviceCell, Size};

use super::super::driver::pci::{self as driver, MEMORY, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::spec::DEVICE;
use super::super::pci::{Handles, Options as PciOptions, USUAL_FEATURES, VirtioPci};
use super::super::spec::{feature as ring, status as device_status};
use super::spec::{CDB_SIZE, HEAD, RESPONSE, SENSE_SIZE, control, response, tmf};
use super::*;
use crate::storage::scsi::spec::{Sense, op, sense, status};
use crate::storage::scsi::tests::{CD, DISK, Held, cd_of, contents, disc, disk_of, memory};

type Card = Arc<DeviceCell<VirtioPci<Scsi>>>;

/// Where the tests put queues, and the parts of requests.
const CONTROL_QUEUE: u64 = 0x4_0000;
const EVENT_QUEUE: u64 = 0x6_0000;
const REQUEST_QUEUE: u64 = 0x8_0000;
const REQUEST: u64 = 0x2_0000;
const ANSWER: u64 = 0x2_1000;
const EVENTS: u64 = 0x2_2000;
const DATA: u64 = 0x3_0000;

fn pci_options() -> PciOptions {
    PciOptions { legacy: true, modern: true, vectors: 4, features: USUAL_FEATURES }
}

fn attach(rig: &mut Rig, pci: PciOptions) -> Card {
    let wiring = rig.wiring();
    let options = Options {
        queues: 1,
        queue_size: 256,
        max_sectors: 0xffff,
        cmd_per_lun: 128,
        hotplug: true,
        param_change: true,
        model: &model::MODEL,
    };
    let scsi = Scsi::new(options, wiring.waker());
    let handles =
        Handles { name: "scsi", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    rig.attach_pci(VirtioPci::new(scsi, pci, handles), &wiring, SLOT, 0)
}

/// With a disk and a CD drive.
fn with_units(rig: &mut Rig, pci: PciOptions) -> (Card, Arc<MemoryStore>) {
    let card = attach(rig, pci);
    let (store, backend) = memory(rig, contents(), false);
    let (_, medium) = memory(rig, disc(), true);
    card.lock().with(|scsi, common| {
        scsi.plug(common, DISK, disk_of(backend)).unwrap();
        scsi.plug(common, CD, cd_of(Some(medium))).unwrap();
    });
    (card, store)
}

fn lun(Address { target, lun }: Address) -> [u8; 8] {
    let [high, low] = (0x4000 | lun).to_be_bytes();
    [1, target, high, low, 0, 0, 0, 0]
}

/// What a command has come back with.
#[derive(Debug, PartialEq, Eq)]
struct Back {
    response: u8,
    status: u8,
    residual: u32,
    sense: Sense,
    data: Vec<u8>,
}

/// A driver that is set up.
struct Started {
    control: DriverQueue,
    event: DriverQueue,
    request: DriverQueue,
    cdb_size: usize,
    sense_size: usize,
    next: u64,
}

impl Started {
    fn new(rig: &mut Rig, features: u64) -> Started {
        driver::map(rig);
        let features = features | ring::VERSION_1 | ring::INDIRECT_DESC;
        assert_eq!(driver::negotiate(rig, features) & device_status::FEATURES_OK, device_status::FEATURES_OK);
        let queue = |base| {
            rig.poke(base, &[0; 0x4000]);
            DriverQueue::new(rig.ram().clone(), base, 16, features)
        };
        let queues = [queue(CONTROL_QUEUE), queue(EVENT_QUEUE), queue(REQUEST_QUEUE)];
        for (number, queue) in (0..).zip(&queues) {
            driver::enable(rig, number, queue.place(), 0xffff);
        }
        driver::ready(rig);
        let [control, event, request] = queues;
        let (cdb_size, sense_size) = (CDB_SIZE as usize, SENSE_SIZE as usize);
        Started { control, event, request, cdb_size, sense_size, next: 0 }
    }

    /// Sends a command, whose name is `tag`; its place among those in flight is `at`.
    fn send(
        &mut self,
        rig: &mut Rig,
        (lun, tag, at): ([u8; 8], u64, u64),
        cdb: &[u8],
        out: &[u8],
        room: u32,
    ) {
        let mut head = [&lun[..], &tag.to_le_bytes(), &[0; 3], cdb].concat();
        head.resize(HEAD + self.cdb_size, 0);
        let (request, answer, data) = (REQUEST + at * 0x100, ANSWER + at * 0x100, DATA + at * 0x1000);
        rig.poke(request, &head);
        rig.poke(answer, &vec![0xee; RESPONSE + self.sense_size]);
        let mut buffers = vec![Buffer { gpa: request, len: head.len() as u32, write: false }];
        if !out.is_empty() {
            rig.poke(data, out);
            buffers.push(Buffer { gpa: data, len: out.len() as u32, write: false });
        }
        buffers.push(Buffer { gpa: answer, len: (RESPONSE + self.sense_size) as u32, write: true });
        if room > 0 {
            buffers.push(Buffer { gpa: data, len: room, write: true });
        }
        self.next += 1;
        assert!(self.request.offer(&buffers, self.next.is_multiple_of(2), at));
        driver::notify(rig, queue::REQUEST);
    }

    /// The command that has come back, and what with.
    fn back(&mut self, rig: &Rig) -> Option<(u64, Back)> {
        let (at, written) = self.request.used()?;
        let head = rig.peek(ANSWER + at * 0x100, RESPONSE + self.sense_size);
        let word = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().unwrap());
        let sense = match (word(0), head[RESPONSE]) {
            (0, _) => Sense::default(),
            (18, 0x70) => Sense::new(head[RESPONSE + 2], head[RESPONSE + 12], head[RESPONSE + 13]),
            other => panic!("{other:?}"),
        };
        let data = rig.peek(DATA + at * 0x1000, (written as usize).saturating_sub(head.len()));
        let back = Back { response: head[11], status: head[10], residual: word(4), sense, data };
        Some((at, back))
    }

    fn run_at(&mut self, rig: &mut Rig, lun: [u8; 8], cdb: &[u8], out: &[u8], room: u32) -> Back {
        self.send(rig, (lun, 7, 0), cdb, out, room);
        rig.advance(us(400));
        let (0, back) = self.back(rig).expect("the command has ended") else { panic!("another") };
        back
    }

    fn run(&mut self, rig: &mut Rig, at: Address, cdb: &[u8], out: &[u8], room: u32) -> Back {
        self.run_at(rig, lun(at), cdb, out, room)
    }

    /// A task management function; its response, if it has one by now.
    fn manage(&mut self, rig: &mut Rig, function: u32, lun: [u8; 8], tag: u64) -> Option<u8> {
        let request =
            [&control::TMF.to_le_bytes()[..], &function.to_le_bytes(), &lun, &tag.to_le_bytes()].concat();
        self.ask(rig, &request, 1).map(|answer| answer[0])
    }

    fn ask(&mut self, rig: &mut Rig, request: &[u8], room: u32) -> Option<Vec<u8>> {
        let (question, answer) = (REQUEST + 0xf00, ANSWER + 0xf00);
        rig.poke(question, request);
        rig.poke(answer, &[0xee; 8]);
        let asks = Buffer { gpa: question, len: request.len() as u32, write: false };
        let answers = Buffer { gpa: answer, len: room, write: true };
        assert!(self.control.offer(&[asks, answers], false, 0));
        driver::notify(rig, queue::CONTROL);
        self.answered(rig)
    }

    fn answered(&mut self, rig: &Rig) -> Option<Vec<u8>> {
        let (_, written) = self.control.used()?;
        Some(rig.peek(ANSWER + 0xf00, written as usize))
    }

    /// Gives the device a buffer for an event.
    fn expect_event(&mut self, rig: &mut Rig) {
        assert!(self.event.offer(&[Buffer { gpa: EVENTS, len: 16, write: true }], false, 0));
        driver::notify(rig, queue::EVENT);
    }

    /// The event that has come: what, where, why.
    fn event(&mut self, rig: &Rig) -> Option<(u32, [u8; 8], u32)> {
        let (_, written) = self.event.used()?;
        assert_eq!(written, 16);
        let bytes = rig.peek(EVENTS, 16);
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        Some((word(0), bytes[4..12].try_into().unwrap(), word(12)))
    }
}

const READ: [u8; 10] = [op::READ_10, 0, 0, 0, 0, 3, 0, 0, 2, 0];
const WRITE: [u8; 10] = [op::WRITE_10, 0, 0, 0, 0, 9, 0, 0, 2, 0];

fn good(residual: u32, data: &[u8]) -> Back {
    Back {
        response: response::OK,
        status: status::GOOD,
        residual,
        sense: Sense::default(),
        data: data.to_vec(),
    }
}
fn check(residual: u32, sense: Sense) -> Back {
    Back { response: response::OK, status: status::CHECK_CONDITION, residual, sense, data: Vec::new() }
}
fn failed(response: u8) -> Back {
    Back { response, status: 0, residual: 0, sense: Sense::default(), data: Vec::new() }
}

#[test]
fn commands_reach_their_units() {
    scenario(|rig| {
        let (_, store) = with_units(rig, pci_options());
        let mut host = Started::new(rig, feature::HOTPLUG);
        assert_eq!(host.run(rig, DISK, &[0; 6], &[], 0), check(0, sense::RESET));
        assert_eq!(host.run(rig, CD, &[0; 6], &[], 0), check(0, sense::RESET));
        assert_eq!(host.run(rig, DISK, &READ, &[], 1024), good(0, &contents()[3 * 512..5 * 512]));
        assert_eq!(host.run(rig, DISK, &WRITE, &[0x77; 1024], 0), good(0, &[]));
        assert_eq!(store.contents()[9 * 512..11 * 512], [0x77; 1024]);
        let frame = [op::READ_10, 0, 0, 0, 0, 3, 0, 0, 1, 0];
        assert_eq!(host.run(rig, CD, &frame, &[], 2048), good(0, &disc()[3 * 2048..4 * 2048]));
        // What was not moved of the memory is the residue.
        let back = host.run(rig, DISK, &[op::INQUIRY, 0, 0, 0, 255, 0], &[], 300);
        assert_eq!((back.residual, back.data.len()), (300 - 36, 36));
        assert_eq!(host.run(rig, DISK, &READ, &[], 2048).residual, 1024);
        assert_eq!(host.run(rig, DISK, &WRITE, &[0x77; 2048], 0).residual, 1024);
        let beyond = [op::READ_10, 0, 0, 0, 2, 0, 0, 0, 1, 0];
        assert_eq!(host.run(rig, DISK, &beyond, &[], 512), check(512, sense::RANGE));
        assert!(rig.irq(11), "without messages it is the pin");
    });
}

/// Flat and peripheral addressing; targets and units that are not there.
#[test]
fn units_are_found_by_their_addresses() {
    scenario(|rig| {
        let card = attach(rig, pci_options());
        let (_, backend) = memory(rig, contents(), false);
        let far = Address { target: 255, lun: 0x1234 };
        card.lock().with(|scsi, common| scsi.plug(common, far, disk_of(backend)).unwrap());
        let mut host = Started::new(rig, 0);
        assert_eq!(host.run(rig, far, &[0; 6], &[], 0), check(0, sense::RESET));
        assert_eq!(host.run(rig, far, &[0; 6], &[], 0), good(0, &[]));
        let near = Address { lun: 0x34, ..far };
        assert_eq!(host.run(rig, near, &[0; 6], &[], 0), check(0, sense::NO_UNIT));
        for lun in [
            [1, 254, 0x40, 0, 0, 0, 0, 0],
            [0, 255, 0x52, 0x34, 0, 0, 0, 0],
            [2, 255, 0x52, 0x34, 0, 0, 0, 0],
            [1, 255, 0x12, 0x34, 0, 0, 0, 0],
            [1, 255, 0x80, 0x34, 0, 0, 0, 0],
            [0xc1, 1, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(host.run_at(rig, lun, &[0; 6], &[], 0), failed(response::BAD_TARGET), "{lun:02x?}");
        }
        let luns = host.run(rig, far, &[op::REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], &[], 32);
        assert_eq!(luns.data[16..20], [0x52, 0x34, 0, 0]);
    });
}

/// What a command asks for and what it brings are two things.
#[test]
fn a_command_that_brings_too_little_memory_is_an_overrun() {
    scenario(|rig| {
        let (_, store) = with_units(rig, pci_options());
        let mut host = Started::new(rig, 0);
        host.run(rig, DISK, &[0; 6], &[], 0);
        let all = [op::READ_16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0];
        assert_eq!(host.run(rig, DISK, &all, &[], 512), failed(response::OVERRUN));
        assert_eq!(host.run(rig, DISK, &READ, &[], 1023), failed(response::OVERRUN));
        assert_eq!(host.run(rig, DISK, &READ, &[1; 1024], 0), failed(response::OVERRUN), "the wrong way");
        assert_eq!(host.run(rig, DISK, &WRITE, &[1; 1023], 0), failed(response::OVERRUN));
        assert_eq!(host.run(rig, DISK, &WRITE, &[], 1024), failed(response::OVERRUN));
        assert_eq!(host.run(rig, DISK, &WRITE, &[1; 1024], 1024), failed(response::FAILURE), "both ways");
        let select = [op::MODE_SELECT_10, 0x10, 0, 0, 0, 0, 0, 0xff, 0xff, 0];
        assert_eq!(host.run(rig, DISK, &select, &[0; 24], 0), failed(response::OVERRUN));
        assert_eq!(store.contents(), contents());
        assert_eq!(host.run(rig, DISK, &[0; 6], &[], 0), good(0, &[]));
    });
}

#[test]
fn the_driver_says_how_long_commands_and_sense_data_are() {
    scenario(|rig| {
        with_units(rig, pci_options());
        let mut host = Started::new(rig, 0);
        let at = |field: usize| MEMORY + DEVICE.offset + field as u64;
        let whole: Vec<u64> = (0..9).map(|n| rig.mmio_read(at(n * 4), Size::B4)).collect();
        assert_eq!(whole, [1, 254, 0xffff, 128, 16, 96, 32, 255 << 16, 16383]);
        rig.mmio_write(at(config::CDB_SIZE), Size::B4, 16);
        rig.mmio_write(at(config::SENSE_SIZE), Size::B4, 18);
        rig.mmio_write(at(config::MAX_SECTORS), Size::B4, 1);
        assert_eq!(rig.mmio_read(at(config::CDB_SIZE), Size::B4), 16);
        assert_eq!(rig.mmio_read(at(config::MAX_SECTORS), Size::B4), 0xffff);
        (host.cdb_size, host.sense_size) = (16, 18);
        assert_eq!(host.run(rig, DISK, &[0; 6], &[], 0), check(0, sense::RESET));
        assert_eq!(host.run(rig, DISK, &READ, &[], 1024), good(0, &contents()[3 * 512..5 * 512]));
        // Shorter than a command of ten bytes.
        rig.mmio_write(at(config::CDB_SIZE), Size::B4, 6);
        host.cdb_size = 6;
        assert_eq!(host.run(rig, DISK, &READ[..6], &[], 1024), check(1024, sense::OPCODE));
        // No room for sense data at all.
        rig.mmio_write(at(config::SENSE_SIZE), Size::B4, 0);
        host.sense_size = 0;
        rig.mmio_write(at(config::CDB_SIZE), Size::B4, 16);
        host.cdb_size = 16;
        let beyond = [op::READ_10, 0, 0, 0, 2, 0, 0, 0, 1, 0];
        host.send(rig, (lun(DISK), 7, 0), &beyond, &[], 512);
        assert_eq!(rig.peek(ANSWER, 12), [0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0]);
        assert!(host.request.used().is_some());
        rig.mmio_write(at(config::CDB_SIZE), Size::B4, 256);
        assert_eq!(driver::status(rig) & device_status::NEEDS_RESET, device_status::NEEDS_RESET);
        driver::set_status(rig, 0);
        assert_eq!(rig.mmio_read(at(config::CDB_SIZE), Size::B4), 32, "as it comes");
    });
}

#[test]
fn functions_are_done_for_units_that_are_there() {
    scenario(|rig| {
        with_units(rig, pci_options());
        let mut host = Started::new(rig, 0);
        let nobody = lun(Address { lun: 4, ..DISK });
        let nowhere = lun(Address { target: 77, lun: 0 });
        for function in [
            tmf::ABORT_TASK,
            tmf::ABORT_TASK_SET,
            tmf::CLEAR_TASK_SET,
            tmf::LOGICAL_UNIT_RESET,
            tmf::QUERY_TASK,
            tmf::QUERY_TASK_SET,
        ] {
            assert_eq!(host.manage(rig, function, lun(DISK), 7), Some(response::OK), "{function}");
            assert_eq!(host.manage(rig, function, nobody, 7), Some(response::INCORRECT_LUN));
            assert_eq!(host.manage(rig, function, nowhere, 7), Some(response::BAD_TARGET));
        }
        for function in [2, 8, u32::MAX] {
            assert_eq!(host.manage(rig, function, lun(DISK), 7), Some(response::FUNCTION_REJECTED));
        }
        host.run(rig, DISK, &[0; 6], &[], 0);
        assert_eq!(host.manage(rig, tmf::I_T_NEXUS_RESET, nobody, 0), Some(response::OK));
        assert_eq!(host.run(rig, DISK, &[0; 6], &[], 0), check(0, sense::RESET));
        for kind in [control::QUERY, control::SUBSCRIBE] {
            let request = [&kind.to_le_bytes()[..], &lun(DISK), &[0xff; 4]].concat();
            assert_eq!(host.ask(rig, &request, 5), Some(vec![0, 0, 0, 0, response::OK]));
        }
        assert_eq!(host.ask(rig, &[9, 0, 0, 0], 4), Some(vec![]), "nobody knows that");
        // While a command is with the medium.
        host.send(rig, (lun(DISK), 0x1122_3344_5566, 0), &READ, &[], 1024);
        for (function, tag, found) in [
            (tmf::QUERY_TASK, 0x1122_3344_5566, response::FUNCTION_SUCCEEDED),
            (tmf::QUERY_TASK, 0x5566, response::OK),
            (tmf::QUERY_TASK_SET, 0, response::FUNCTION_SUCCEEDED),
            (tmf::ABORT_TASK, 0x1122_3344_5566, response::OK),
            (tmf::QUERY_TASK_SET, 0, response::OK),
        ] {
            assert_eq!(host.manage(rig, function, lun(DISK), tag), Some(found), "{function}");
        }
        assert_eq!(host.back(rig), Some((0, failed(response::ABORTED))));
        rig.advance(us(500));
        assert_eq!(host.back(rig), None, "it has ended once");
        for (function, ends) in
            [(tmf::LOGICAL_UNIT_RESET, response::RESET), (tmf::ABORT_TASK_SET, response::ABORTED)]
        {
            host.send(rig, (lun(DISK), 1, 1), &READ, &[], 1024);
            assert_eq!(host.manage(rig, function, lun(DISK), 0), Some(response::OK));
            assert_eq!(host.back(rig), Some((1, failed(ends))));
            host.run(rig, DISK, &[0; 6], &[], 0);
        }
    });
}

/// A function is answered when its commands move no byte any more, and these have come back before.
#[test]
fn a_function_waits_for_what_it_ended() {
    for (function, ends) in [
        (tmf::ABORT_TASK, response::ABORTED),
        (tmf::LOGICAL_UNIT_RESET, response::RESET),
        (tmf::I_T_NEXUS_RESET, response::RESET),
    ] {
        let mut rig = Rig::new();
        let card = attach(&mut rig, pci_options());
        let held = Arc::<Held>::default();
        card.lock().with(|scsi, common| scsi.plug(common, DISK, disk_of(held.clone())).unwrap());
        let mut host = Started::new(&mut rig, 0);
        host.run(&mut rig, DISK, &[0; 6], &[], 0);
        host.send(&mut rig, (lun(DISK), 5, 0), &READ, &[], 1024);
        assert_eq!(host.manage(&mut rig, function, lun(DISK), 5), None);
        assert_eq!(host.back(&rig), None);
        held.finish();
        assert_eq!(rig.peek(DATA, 1), [0x99]);
        assert_eq!(host.back(&rig), Some((0, failed(ends))));
        assert_eq!(host.answered(&rig), Some(vec![response::OK]));
        rig.poke(DATA, &[0]);
        held.finish();
        assert_eq!(rig.peek(DATA, 1), [0], "function {function}: it moves no byte from now on");
    }
}

#[test]
fn units_that_come_and_go_are_told_of() {
    let mut rig = Rig::new();
    let (card, _) = with_units(&mut rig, pci_options());
    let mut host = Started::new(&mut rig, feature::HOTPLUG);
    host.run(&mut rig, DISK, &[0; 6], &[], 0);
    let new = Address { target: DISK.target, lun: 300 };
    let (_, backend) = memory(&rig, contents(), false);
    host.expect_event(&mut rig);
    let plug = |backend| card.lock().with(|scsi, common| scsi.plug(common, new, disk_of(backend)).map(drop));
    assert_eq!(plug(backend.clone()), Ok(()));
    let named = [1, DISK.target, 0x41, 0x2c, 0, 0, 0, 0];
    assert_eq!(host.event(&rig), Some((event::TRANSPORT_RESET, named, event::RESCAN)));
    assert_eq!(plug(backend.clone()), Err(Taken));
    assert_eq!(host.run(&mut rig, DISK, &[0; 6], &[], 0), check(0, sense::UNITS_CHANGED));
    assert_eq!(host.run(&mut rig, new, &[0; 6], &[], 0), check(0, sense::RESET));
    assert_eq!(host.run(&mut rig, new, &READ, &[], 1024).status, status::GOOD);
    host.expect_event(&mut rig);
    host.send(&mut rig, (lun(new), 1, 0), &READ, &[], 1024);
    assert!(card.lock().with(|scsi, common| scsi.unplug(common, new)));
    assert_eq!(host.event(&rig), Some((event::TRANSPORT_RESET, named, event::REMOVED)));
    assert_eq!(host.back(&rig), Some((0, failed(response::ABORTED))));
    assert_eq!(host.run(&mut rig, new, &READ, &[], 1024).sense, sense::NO_UNIT);
    // Nobody waits for these: the next says that some were lost.
    assert_eq!(plug(backend), Ok(()));
    assert!(card.lock().with(|scsi, common| scsi.unplug(common, new)));
    rig.save_load();
    host.expect_event(&mut rig);
    assert_eq!(host.event(&rig), Some((event::NO_EVENT | event::MISSED, [0; 8], 0)));
    host.expect_event(&mut rig);
    assert_eq!(host.event(&rig), None, "once");
}

#[test]
fn many_commands_are_done_and_none_is_forgotten() {
    scenario(|rig| {
        with_units(rig, pci_options());
        driver::map(rig);
        let features = ring::VERSION_1 | ring::INDIRECT_DESC | ring::EVENT_IDX;
        driver::negotiate(rig, features);
        // More than are worked on at once, in a queue that has room for them.
        let place = super::super::queue::Place {
            size: 256,
            descriptors: REQUEST_QUEUE,
            driver: REQUEST_QUEUE + 0x1000,
            device: REQUEST_QUEUE + 0x2000,
        };
        let mut requests = DriverQueue::at(rig.ram().clone(), place, 0x10_0000, features);
        driver::enable(rig, queue::REQUEST, place, 0xffff);
        driver::ready(rig);
        let head = [&lun(DISK)[..], &[0; 11], &[op::SYNCHRONIZE_CACHE_10], &[0; 31]].concat();
        rig.poke(REQUEST, &head);
        for id in 0..200 {
            let asks = Buffer { gpa: REQUEST, len: head.len() as u32, write: false };
            let answers = Buffer { gpa: ANSWER, len: 108, write: true };
            assert!(requests.offer(&[asks, answers], true, id));
        }
        driver::notify(rig, queue::REQUEST);
        rig.advance(us(1000));
        let mut done: Vec<u64> = std::iter::from_fn(|| requests.used()).map(|(id, _)| id).collect();
        done.sort_unstable();
        assert_eq!(done, (0..200).collect::<Vec<_>>());
    });
}
