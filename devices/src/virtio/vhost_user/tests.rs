//! Devices on PCI whose back end is a test's.

use devices_core::model::Model;
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};
use devices_core::vhost_user::TestBackEnd;
use devices_core::{Device as _, Size};

use super::super::driver::pci::{self as driver, MEMORY, PORTS, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::spec::common;
use super::super::pci::{Handles, Options as How, USUAL_FEATURES, VirtioPci, spec};
use super::super::spec::{feature, status};
use super::*;

const QUEUE: u64 = 0x4_0000;
const DATA: u64 = 0x2_0000;

type Slot = Arc<devices_core::DeviceCell<VirtioPci<Device>>>;

fn options(kind: Kind, model: &'static Model) -> Options {
    Options { kind, model, queues: 2, queue_size: 16, without: 0, config: (0, Vec::new()) }
}

fn attach_as(rig: &mut Rig, options: Options, back: &Arc<TestBackEnd>) -> Slot {
    let wiring = rig.wiring();
    let handles =
        Handles { name: "disk", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let features = USUAL_FEATURES | feature::RING_PACKED;
    let how = How { legacy: true, modern: true, vectors: 3, features };
    let device = Device::new(options, rig.ram().clone(), back.clone());
    let slot = rig.attach_pci(VirtioPci::new(device, how, handles), &wiring, SLOT, 0);
    driver::map(rig);
    slot
}

/// A disk, whose back end has features of another type too.
fn disk(rig: &mut Rig) -> (Slot, Arc<TestBackEnd>) {
    let back = Arc::new(TestBackEnd::new(1 << 9 | 1 << 11 | 1 << 20, &[7; 60]));
    let config = (34, vec![2, 0]);
    (attach_as(rig, Options { config, ..options(kinds::BLK, &model::BLK) }, &back), back)
}

fn wake(slot: &Slot) {
    slot.lock().wake(Wake::Backend(BACK_END));
}

fn writes(gpa: u64, len: u32) -> Buffer {
    Buffer { gpa, len, write: true }
}
fn reads(gpa: u64, len: u32) -> Buffer {
    Buffer { gpa, len, write: false }
}

fn requests_come_back(features: u64) {
    scenario(|rig| {
        let (slot, back) = disk(rig);
        let offered = driver::offered(rig);
        assert_eq!(offered & 0xff_ffff, 1 << 9 | 1 << 11);
        let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, features | feature::VERSION_1);
        driver::start(rig, features, queue.place(), true);
        rig.take_messages();
        assert!(queue.offer(&[reads(DATA, 16), writes(DATA + 0x1000, 600)], true, 1));
        driver::notify(rig, 0);
        // It was quick.
        assert_eq!(queue.used(), Some((1, 0)));
        assert_eq!(rig.take_messages(), [(0xfee0_0000, driver::MESSAGE + 1)]);
        back.hold(true);
        for id in 2..12 {
            assert!(queue.offer(&[reads(DATA, 16), writes(DATA + 0x1000, 600)], true, id));
        }
        driver::notify(rig, 0);
        // Eight it takes at a time; the others wait their turn.
        assert_eq!((back.held().len(), queue.used()), (8, None));
        back.finish(3, 600);
        wake(&slot);
        assert_eq!((back.held().len(), queue.used()), (8, Some((5, 600))));
        assert_eq!(rig.take_messages().len(), 1);
        for _ in 0..9 {
            back.finish(0, 1);
            wake(&slot);
        }
        let came: Vec<u64> = std::iter::from_fn(|| queue.used()).map(|(id, _)| id).collect();
        assert_eq!(came, [2, 3, 4, 6, 7, 8, 9, 10, 11]);
    });
}

#[test]
fn requests_come_back_as_they_are_carried_out() {
    requests_come_back(feature::INDIRECT_DESC);
}

#[test]
fn requests_come_back_to_a_driver_with_packed_queues() {
    requests_come_back(feature::INDIRECT_DESC | feature::RING_PACKED);
}

#[test]
fn a_legacy_driver_is_served() {
    let mut rig = Rig::new();
    let (_slot, _back) = disk(&mut rig);
    let place = driver::start_legacy(&mut rig, 0, 0x40);
    let mut queue = DriverQueue::at(rig.ram().clone(), place, 0x5_0000, 0);
    assert!(queue.offer(&[reads(DATA, 16), writes(DATA + 0x1000, 1)], false, 1));
    rig.outw(PORTS + super::super::pci::spec::legacy::QUEUE_NOTIFY as u16, 0);
    assert_eq!(queue.used(), Some((1, 0)));
}

#[test]
fn what_another_process_has_written_is_marked() {
    use hypervisor::memory::DirtyLog;
    use vm_memory::{GuestAddress, GuestMemoryBackend};
    let mut rig = Rig::new();
    let (_slot, _back) = disk(&mut rig);
    let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
    driver::start(&mut rig, 0, queue.place(), false);
    let dirty = |rig: &Rig| {
        let region = rig.ram().find_region(GuestAddress(0)).unwrap().clone();
        region.track().fetch_dirty(DirtyLog::Migration)
    };
    assert!(queue.offer(&[reads(DATA, 16), writes(0x10_0ff0, 0x1020)], false, 1));
    dirty(&rig);
    driver::notify(&mut rig, 0);
    let pages = dirty(&rig);
    assert!([0x100, 0x101, 0x102].iter().all(|page| pages.contains(page)), "{pages:?}");
    assert!(!pages.contains(&(DATA as usize >> 12)), "what it reads is as it was");
}

#[test]
fn another_back_end_gets_all_that_is_in_flight_in_its_order() {
    scenario(|rig| {
        let (slot, back) = disk(rig);
        let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
        driver::start(rig, 0, queue.place(), false);
        back.hold(true);
        for id in 1..5 {
            assert!(queue.offer(&[reads(DATA, 16), writes(DATA + id * 0x100, 1)], false, id));
        }
        driver::notify(rig, 0);
        back.finish(1, 1);
        back.go();
        wake(&slot);
        // What it had carried out counts, and while nobody is there all wait.
        assert_eq!(queue.used(), Some((2, 1)));
        assert!(queue.offer(&[reads(DATA, 16), writes(DATA + 0x500, 1)], false, 5));
        driver::notify(rig, 0);
        assert_eq!((back.held().len(), queue.used()), (0, None));
        back.come();
        wake(&slot);
        let held: Vec<u64> = back.held().iter().map(|(_, writable)| writable[0].gpa).collect();
        assert_eq!(held, [1, 3, 4, 5].map(|id| DATA + id * 0x100));
        (0..4).for_each(|_| back.finish(0, 1));
        wake(&slot);
        assert_eq!([1, 3, 4, 5].map(|id| queue.used() == Some((id, 1))), [true; 4]);
    });
}

#[test]
fn a_reset_waits_until_the_back_end_has_stopped() {
    let mut rig = Rig::new();
    let (slot, back) = disk(&mut rig);
    let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
    driver::start(&mut rig, feature::RING_RESET, queue.place(), false);
    back.hold(true);
    assert!(queue.offer(&[reads(DATA, 16), writes(DATA + 0x100, 1)], false, 1));
    driver::notify(&mut rig, 0);
    assert!(!back.is_stopped());
    driver::set_status(&mut rig, 0);
    assert!(back.is_stopped() && back.held().is_empty());
    // One queue likewise; what is in flight of others goes on.
    driver::start(&mut rig, feature::RING_RESET, queue.place(), false);
    let mut other = DriverQueue::new(rig.ram().clone(), QUEUE + 0x1_0000, 16, feature::VERSION_1);
    driver::enable(&mut rig, 1, other.place(), spec::NO_VECTOR);
    assert!(other.offer(&[reads(DATA, 16), writes(DATA + 0x700, 1)], false, 9));
    driver::notify(&mut rig, 0);
    driver::notify(&mut rig, 1);
    assert_eq!(back.held().len(), 2);
    driver::set(&mut rig, common::QUEUE_SELECT, Size::B2, 0);
    driver::set(&mut rig, common::QUEUE_RESET, Size::B2, 1);
    assert_eq!(driver::get(&mut rig, common::QUEUE_RESET, Size::B2), 0);
    wake(&slot);
    let held: Vec<_> = back.held().iter().map(|(queue, writable)| (*queue, writable[0].gpa)).collect();
    assert_eq!(held, [(1, DATA + 0x700)]);
    back.finish(0, 1);
    wake(&slot);
    assert_eq!((queue.used(), other.used()), (None, Some((9, 1))));
}

#[test]
fn the_configuration_is_the_back_ends_but_for_the_number_of_queues() {
    let mut rig = Rig::new();
    let (slot, back) = disk(&mut rig);
    let read = |rig: &mut Rig, offset| rig.mmio_read(MEMORY + spec::DEVICE.offset + offset, Size::B2);
    assert_eq!((read(&mut rig, 0), read(&mut rig, 34), read(&mut rig, 36)), (0x0707, 2, 0x0707));
    let write = |rig: &mut Rig, offset| rig.mmio_write(MEMORY + spec::DEVICE.offset + offset, Size::B1, 1);
    write(&mut rig, 32);
    assert_eq!(read(&mut rig, 32), 0x0707, "the driver has not said that it would");
    let queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
    driver::start(&mut rig, 1 << 11, queue.place(), true);
    write(&mut rig, 32);
    write(&mut rig, 33);
    assert_eq!(read(&mut rig, 32), 0x0701);
    rig.take_messages();
    let generation = driver::get(&mut rig, common::CONFIG_GENERATION, Size::B1);
    back.set_config(&[9; 60]);
    wake(&slot);
    assert_eq!(rig.take_messages(), [(0xfee0_0000, driver::MESSAGE)]);
    assert_ne!(driver::get(&mut rig, common::CONFIG_GENERATION, Size::B1), generation);
    assert_eq!(read(&mut rig, 0), 0x0909);
}

/// A request of FUSE's: its length, what it wants, which one it is.
fn fuse(rig: &mut Rig, unique: u64) {
    let request = [40u32.to_le_bytes(), 3u32.to_le_bytes()].concat();
    rig.poke(DATA, &[request.as_slice(), &unique.to_le_bytes()].concat());
}

#[test]
fn a_file_system_whose_back_end_goes_says_so() {
    let mut rig = Rig::new();
    let back = Arc::new(TestBackEnd::new(0, &[]));
    let slot = attach_as(&mut rig, options(kinds::FS, &model::FS), &back);
    let rig = &mut rig;
    let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
    driver::start(rig, 0, queue.place(), false);
    back.hold(true);
    fuse(rig, 0x1234);
    assert!(queue.offer(&[reads(DATA, 40), writes(DATA + 0x100, 16), writes(DATA + 0x200, 64)], false, 1));
    // One that is not answered.
    assert!(queue.offer(&[reads(DATA, 40)], false, 2));
    driver::notify(rig, 0);
    back.go();
    wake(&slot);
    assert_eq!([queue.used(), queue.used()], [Some((1, 16)), Some((2, 0))]);
    let expected = [16, 0, 0, 0, 0xfb, 0xff, 0xff, 0xff, 0x34, 0x12, 0, 0, 0, 0, 0, 0];
    assert_eq!(rig.peek(DATA + 0x100, 16), expected);
    // So does what comes meanwhile.
    assert!(queue.offer(&[reads(DATA, 40), writes(DATA + 0x300, 16)], false, 3));
    driver::notify(rig, 0);
    assert_eq!((queue.used(), rig.peek(DATA + 0x300, 16)), (Some((3, 16)), expected.to_vec()));
    assert!(slot.lock().save().is_err(), "nor can it be saved");
    back.come();
    wake(&slot);
    assert!(queue.offer(&[reads(DATA, 40), writes(DATA + 0x300, 16)], false, 4));
    driver::notify(rig, 0);
    assert_eq!(back.held().len(), 1);
}

#[test]
fn a_file_system_is_saved_with_its_back_ends_state_when_it_has_answered_all() {
    let mut rig = Rig::new();
    let back = Arc::new(TestBackEnd::new(0, &[]));
    let slot = attach_as(&mut rig, options(kinds::FS, &model::FS), &back);
    let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
    driver::start(&mut rig, 0, queue.place(), false);
    back.hold(true);
    back.set_state(b"inodes");
    assert!(queue.offer(&[reads(DATA, 40), writes(DATA + 0x100, 16)], false, 1));
    // A buffer for what may come, which nobody waits for.
    assert!(queue.offer(&[writes(DATA + 0x200, 16)], false, 2));
    driver::notify(&mut rig, 0);
    assert!(!slot.lock().quiesce());
    back.finish(0, 16);
    wake(&slot);
    assert!(slot.lock().quiesce() && back.is_stopped());
    let saved = slot.lock().save().unwrap();
    slot.lock().resume();
    assert_eq!(back.held().len(), 1);
    let mut other = Rig::new();
    let fresh = Arc::new(TestBackEnd::new(0, &[]));
    let slot = attach_as(&mut other, options(kinds::FS, &model::FS), &fresh);
    let memory = rig.peek(QUEUE, 0x1_0000);
    other.poke(QUEUE, &memory);
    fresh.hold(true);
    slot.lock().load(&saved).unwrap();
    slot.lock().resume();
    assert_eq!(fresh.state().as_deref(), Some(b"inodes".as_slice()));
    assert_eq!(fresh.held()[0].1[0].gpa, DATA + 0x200);
}

#[test]
fn sockets_hear_that_their_connections_are_gone() {
    let mut rig = Rig::new();
    let back = Arc::new(TestBackEnd::new(0, &[3; 8]));
    let slot = attach_as(&mut rig, Options { queues: 3, ..options(kinds::VSOCK, &model::VSOCK) }, &back);
    let rig = &mut rig;
    let receive = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
    let mut events = DriverQueue::new(rig.ram().clone(), QUEUE + 0x1_0000, 16, feature::VERSION_1);
    driver::start(rig, 0, receive.place(), false);
    driver::enable(rig, 2, events.place(), spec::NO_VECTOR);
    rig.poke(DATA, &[0xff; 8]);
    assert!(events.offer(&[writes(DATA, 8)], false, 1));
    driver::notify(rig, 2);
    assert_eq!((events.used(), back.held().len()), (None, 0), "that queue is the device's own");
    back.go();
    wake(&slot);
    back.come();
    wake(&slot);
    assert_eq!(events.used(), Some((1, 4)));
    assert_eq!(rig.peek(DATA, 8), [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
}

#[test]
fn bus_mastering_off_stops_the_back_end() {
    let mut rig = Rig::new();
    let (slot, back) = disk(&mut rig);
    let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
    driver::start(&mut rig, 0, queue.place(), false);
    back.hold(true);
    assert!(queue.offer(&[reads(DATA, 16), writes(DATA + 0x100, 1)], false, 1));
    assert!(queue.offer(&[reads(DATA, 16), writes(DATA + 0x200, 1)], false, 2));
    driver::notify(&mut rig, 0);
    back.finish(0, 1);
    rig.config_write(SLOT, 0, devices_core::pci::reg::COMMAND, Size::B2, 3);
    assert!(back.is_stopped());
    wake(&slot);
    assert_eq!((queue.used(), driver::status(&mut rig) & status::NEEDS_RESET), (None, 0));
    rig.config_write(SLOT, 0, devices_core::pci::reg::COMMAND, Size::B2, 7);
    // What was carried out is told now, and the rest goes on.
    assert_eq!(queue.used(), Some((1, 1)));
    assert_eq!(back.held().len(), 1);
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        disk(&mut rig);
        rig
    };
    let places = [
        FuzzRange::Ports(PORTS, 0x40),
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x1000, 0x2010),
    ];
    fuzz(build, 11, &places, |rig, what| {
        if what < 4 {
            driver::map(rig);
            driver::negotiate(rig, feature::VERSION_1);
            let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
            driver::enable(rig, what as u16 & 1, queue.place(), what as u16);
            for n in 0..8 {
                assert!(queue.offer(&[writes(DATA + n * 64, 64)], n % 2 == 0, n));
            }
            driver::ready(rig);
            driver::notify(rig, what as u16 & 1);
        }
    });
}
