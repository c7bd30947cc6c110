//! The device on PCI, by the requests of its drivers.

mod viostor;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::Duration;

use devices_core::Size;
use devices_core::block::{BlockOp, BlockRequest, BlockStore, Completion, Inline, MemoryStore, Recall};
use devices_core::pci::reg;
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario, us};

use super::super::driver::pci::{self as driver, MEMORY, PORTS, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::spec::{DEVICE, common};
use super::super::pci::{Handles, Options as PciOptions, USUAL_FEATURES, VirtioPci};
use super::super::spec::{feature as ring, status as device_status};
use super::spec::{request as kind, status};
use super::*;

/// Where the tests put a queue, and the parts of a request.
pub const QUEUE: u64 = 0x4_0000;
const HEAD: u64 = 0x2_0000;
const STATUS: u64 = 0x2_8000;
pub const DATA: u64 = 0x3_0000;

const SECTORS: usize = 160;

/// The usual way of the device to present itself.
pub fn options() -> PciOptions {
    PciOptions { legacy: true, modern: true, vectors: 2, features: USUAL_FEATURES }
}

fn contents() -> Vec<u8> {
    (0..SECTORS * 512).map(|at| (at / 512) as u8).collect()
}

fn blk_options(backend: Arc<dyn BlockBackend>) -> Options {
    Options {
        backend,
        geometry: Geometry { cylinders: 2, heads: 16, sectors: 63 },
        serial: "a serial number of 20".into(),
        queues: 1,
        queue_size: 256,
        config_wce: true,
        discard: true,
        write_zeroes: true,
        physical_block: None,
        model: &model::MODEL,
    }
}

fn attach_to(rig: &mut Rig, options: PciOptions, blk: Options) {
    let wiring = rig.wiring();
    let done = CompletionQueue::new(wiring.waker(), MEDIUM);
    let handles =
        Handles { name: "disk", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let card = VirtioPci::new(Blk::new(blk, rig.ram().clone(), done), options, handles);
    rig.attach_pci(card, &wiring, SLOT, 0);
}

/// A disk in a rig.
pub fn with_options(rig: &mut Rig, options: PciOptions) -> Arc<MemoryStore> {
    let store = Arc::new(MemoryStore::new(contents(), false));
    let backend = Arc::new(Inline::new(store.clone(), rig.wiring()));
    attach_to(rig, options, blk_options(backend));
    store
}

/// A rig with a disk.
pub fn attach(options: PciOptions) -> (Rig, Arc<MemoryStore>) {
    let mut rig = Rig::new();
    let store = with_options(&mut rig, options);
    (rig, store)
}

/// Offers a request with `len` bytes of data, whose id is its sector.
pub fn request(rig: &Rig, queue: &mut DriverQueue, kind: u32, sector: u64, len: u32) {
    let at = HEAD + sector % 64 * 16;
    rig.poke(at, &kind.to_le_bytes());
    rig.poke(at + 4, &[0; 4]);
    rig.poke(at + 8, &sector.to_le_bytes());
    let write = !matches!(kind & 0xff, kind::OUT | kind::DISCARD | kind::WRITE_ZEROES);
    let mut buffers = vec![Buffer { gpa: at, len: 16, write: false }];
    if len > 0 {
        buffers.push(Buffer { gpa: DATA, len, write });
    }
    buffers.push(Buffer { gpa: STATUS, len: 1, write: true });
    assert!(queue.offer(&buffers, sector.is_multiple_of(2), sector));
}

/// A disk whose driver is set up.
struct Started {
    queue: DriverQueue,
}

impl Started {
    fn new(rig: &mut Rig, features: u64) -> Started {
        driver::map(rig);
        let features = features | ring::VERSION_1 | ring::INDIRECT_DESC;
        let queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, features);
        driver::start(rig, features, queue.place(), false);
        Started { queue }
    }

    /// Has a request done; its status.
    fn run(&mut self, rig: &mut Rig, kind: u32, sector: u64, len: u32) -> u8 {
        rig.poke(STATUS, &[0xee]);
        request(rig, &mut self.queue, kind, sector, len);
        driver::notify(rig, 0);
        rig.advance(us(300));
        assert_eq!(self.queue.used().map(|(id, _)| id), Some(sector));
        rig.peek(STATUS, 1)[0]
    }

    /// A discard or a write of zeroes.
    fn range(&mut self, rig: &mut Rig, kind: u32, (sector, sectors, flags): (u64, u32, u32)) -> u8 {
        rig.poke(DATA, &sector.to_le_bytes());
        rig.poke(DATA + 8, &sectors.to_le_bytes());
        rig.poke(DATA + 12, &flags.to_le_bytes());
        self.run(rig, kind, 0, 16)
    }
}

#[test]
fn data_goes_both_ways() {
    scenario(|rig| {
        let store = with_options(rig, options());
        let mut disk = Started::new(rig, feature::FLUSH);
        rig.poke(DATA, &[0x77; 1024]);
        assert_eq!(disk.run(rig, kind::OUT, 3, 1024), status::OK);
        assert_eq!(store.contents()[3 * 512..5 * 512], [0x77; 1024]);
        assert_eq!(store.contents()[5 * 512], 5);
        assert_eq!(disk.run(rig, kind::IN, 2, 1536), status::OK);
        assert_eq!(rig.peek(DATA, 1536), [vec![2; 512], vec![0x77; 1024]].concat());
        assert_eq!(disk.run(rig, kind::FLUSH, 0, 0), status::OK);
        assert_eq!(disk.run(rig, kind::GET_ID, 0, 20), status::OK);
        assert_eq!(rig.peek(DATA, 20), b"a serial number of 2");
        // Beyond the end, crooked, unknown, on a host that fails.
        for (kind, sector, len) in [
            (kind::IN, SECTORS as u64, 512),
            (kind::OUT, SECTORS as u64 - 1, 1024),
            (kind::IN, u64::MAX, 512),
            (kind::IN, 0, 100),
        ] {
            assert_eq!(disk.run(rig, kind, sector, len), status::IOERR, "{sector} {len}");
        }
        assert_eq!(disk.run(rig, 2, 0, 512), status::UNSUPP);
        assert_eq!(disk.run(rig, kind::IN | kind::BARRIER, 1, 512), status::OK);
        store.set_broken(true);
        assert_eq!(disk.run(rig, kind::IN, 1, 512), status::IOERR);
    });
}

#[test]
fn space_is_given_back_and_zeroed() {
    scenario(|rig| {
        let store = with_options(rig, options());
        let mut disk = Started::new(rig, feature::DISCARD | feature::WRITE_ZEROES);
        assert_eq!(disk.range(rig, kind::DISCARD, (10, 2, 0)), status::OK);
        assert_eq!(disk.range(rig, kind::WRITE_ZEROES, (20, 3, 1)), status::OK);
        let zero = |sector: usize| store.contents()[sector * 512..][..512] == [0; 512];
        assert_eq!(
            [9, 10, 11, 12, 19, 20, 22, 23].map(zero),
            [false, true, true, false, false, true, true, false]
        );
        assert_eq!(disk.range(rig, kind::DISCARD, (10, 2, 1)), status::UNSUPP);
        // All of it but the ends, which is more than is written at once.
        assert_eq!(disk.range(rig, kind::WRITE_ZEROES, (1, SECTORS as u32 - 2, 0)), status::OK);
        assert_eq!([0, 1, SECTORS - 2, SECTORS - 1].map(zero), [true, true, true, false]);
        assert_eq!(disk.range(rig, kind::WRITE_ZEROES, (0, 1, 2)), status::UNSUPP);
        assert_eq!(disk.range(rig, kind::DISCARD, (159, 2, 0)), status::IOERR);
        assert_eq!(disk.range(rig, kind::WRITE_ZEROES, (0, u32::MAX, 0)), status::IOERR);
        assert_eq!(disk.range(rig, kind::DISCARD, (u64::MAX, u32::MAX, 0)), status::IOERR);
    });
    // Who has not accepted it, cannot.
    let (mut rig, _) = attach(options());
    let mut disk = Started::new(&mut rig, 0);
    assert_eq!(disk.range(&mut rig, kind::DISCARD, (10, 2, 0)), status::UNSUPP);
}

/// Counts flushes.
struct Flushes(MemoryStore, AtomicUsize);

impl BlockStore for Flushes {
    fn info(&self) -> BlockInfo {
        self.0.info()
    }
    fn run(
        &self,
        op: BlockOp,
        offset: u64,
        payload: &mut devices_core::block::Payload,
    ) -> Result<(), devices_core::block::BlockError> {
        self.1.fetch_add((op == BlockOp::Flush).into(), Ordering::Relaxed);
        self.0.run(op, offset, payload)
    }
}

#[test]
fn what_a_driver_that_cannot_flush_has_written_is_safe() {
    let started = |features: u64| {
        let mut rig = Rig::new();
        let store = Arc::new(Flushes(MemoryStore::new(contents(), false), AtomicUsize::new(0)));
        let backend = Arc::new(Inline::new(store.clone(), rig.wiring()));
        attach_to(&mut rig, options(), blk_options(backend));
        let disk = Started::new(&mut rig, features);
        (rig, store, disk)
    };
    let (mut rig, store, mut disk) = started(0);
    assert_eq!(disk.run(&mut rig, kind::OUT, 1, 512), status::OK);
    assert_eq!(store.1.load(Ordering::Relaxed), 1);
    assert_eq!(disk.run(&mut rig, kind::IN, 1, 512), status::OK);
    assert_eq!(store.1.load(Ordering::Relaxed), 1, "a read changes nothing");
    let (mut rig, store, mut disk) = started(feature::FLUSH);
    assert_eq!(disk.run(&mut rig, kind::OUT, 1, 512), status::OK);
    assert_eq!(store.1.load(Ordering::Relaxed), 0);
    // The driver turns the cache off.
    let (mut rig, store, mut disk) = started(feature::FLUSH | feature::CONFIG_WCE);
    let at = MEMORY + DEVICE.offset + config::WRITEBACK as u64;
    assert_eq!(rig.mmio_read(at, Size::B1), 1);
    rig.mmio_write(at, Size::B1, 0);
    assert_eq!(rig.mmio_read(at, Size::B1), 0);
    assert_eq!(disk.run(&mut rig, kind::OUT, 1, 512), status::OK);
    assert_eq!(store.1.load(Ordering::Relaxed), 1);
}

#[test]
fn requests_that_no_driver_makes_break_the_device() {
    for buffers in [
        vec![Buffer { gpa: HEAD, len: 15, write: false }, Buffer { gpa: STATUS, len: 1, write: true }],
        vec![Buffer { gpa: HEAD, len: 16, write: false }],
        vec![Buffer { gpa: STATUS, len: 1, write: true }],
    ] {
        let (mut rig, store) = attach(options());
        let mut disk = Started::new(&mut rig, 0);
        assert!(disk.queue.offer(&buffers, false, 0));
        driver::notify(&mut rig, 0);
        let status = driver::status(&mut rig);
        assert_eq!(status & device_status::NEEDS_RESET, device_status::NEEDS_RESET, "{buffers:?}");
        assert_eq!(store.contents(), contents());
    }
}

#[test]
fn many_requests_are_done_and_none_is_forgotten() {
    scenario(|rig| {
        with_options(rig, options());
        driver::map(rig);
        let features = ring::VERSION_1 | ring::INDIRECT_DESC | ring::EVENT_IDX;
        // More than are worked on at once.
        let place = super::super::queue::Place {
            size: 256,
            descriptors: QUEUE,
            driver: QUEUE + 0x1000,
            device: QUEUE + 0x2000,
        };
        let mut queue = DriverQueue::at(rig.ram().clone(), place, 0x10_0000, features);
        driver::start(rig, features, queue.place(), false);
        for sector in (0..400).step_by(2) {
            request(rig, &mut queue, kind::FLUSH, sector, 0);
        }
        driver::notify(rig, 0);
        rig.advance(us(1000));
        let mut done: Vec<u64> = std::iter::from_fn(|| queue.used()).map(|(id, _)| id).collect();
        done.sort_unstable();
        assert_eq!(done, (0..400).step_by(2).collect::<Vec<_>>());
    });
}

/// A medium that does what it has when it is told to, on another thread.
#[derive(Default)]
struct Held(Mutex<Vec<BlockRequest>>);

impl BlockBackend for Held {
    fn info(&self) -> BlockInfo {
        BlockInfo { size: 1 << 20, read_only: false, physical_block: 512, discard: true }
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        self.0.lock().unwrap().push(request);
        Ok(())
    }
    fn recall(&self, _: &CompletionQueue, _: u64, _: Recall) -> Option<Completion> {
        None
    }
    fn idle(&self) -> bool {
        self.0.lock().unwrap().is_empty()
    }
}

impl Held {
    fn finish(&self) {
        for request in std::mem::take(&mut *self.0.lock().unwrap()) {
            let BlockRequest { token, mut payload, done, .. } = request;
            payload.fill(&[0x99; 512]).unwrap();
            done.deliver(Completion::new(token, payload, Ok(())));
        }
    }
}

/// Resets, in each way that there is: the write is answered when the old request has moved its last byte, and the driver
/// hears nothing of it.
#[test]
fn a_reset_waits_for_what_is_in_flight() {
    type Way = fn(&mut Rig);
    let ways: [Way; 4] = [
        |rig| driver::set_status(rig, 0),
        |rig| driver::set(rig, common::QUEUE_RESET, Size::B2, 1),
        |rig| rig.config_write(SLOT, 0, reg::COMMAND, Size::B2, 3),
        |rig| rig.outb(PORTS + 0x12, 0),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let mut rig = Rig::new();
        let held = Arc::<Held>::default();
        attach_to(&mut rig, options(), blk_options(held.clone()));
        let mut disk = Started::new(&mut rig, ring::RING_RESET);
        request(&rig, &mut disk.queue, kind::IN, 1, 512);
        driver::notify(&mut rig, 0);
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
        assert_eq!(disk.queue.used(), None, "way {number}");
    }
}

#[test]
fn a_read_only_disk_takes_no_writes() {
    let mut rig = Rig::new();
    let store = Arc::new(MemoryStore::new(contents(), true));
    let backend = Arc::new(Inline::new(store.clone(), rig.wiring()));
    attach_to(&mut rig, options(), blk_options(backend));
    let mut disk = Started::new(&mut rig, feature::RO | feature::DISCARD | feature::WRITE_ZEROES);
    let offered = driver::offered(&mut rig);
    assert_eq!(offered & (feature::RO | feature::DISCARD | feature::WRITE_ZEROES), feature::RO);
    assert_eq!(disk.run(&mut rig, kind::OUT, 1, 512), status::IOERR);
    assert_eq!(disk.run(&mut rig, kind::IN, 1, 512), status::OK);
    assert_eq!(store.contents(), contents());
}

/// A hostile guest, with rings that are now and then sound.
#[test]
fn fuzzed_from_all_sides() {
    for (seed, features) in [(1, USUAL_FEATURES), (2, USUAL_FEATURES | ring::RING_PACKED)] {
        let build = || {
            let mut rig = Rig::new();
            with_options(&mut rig, PciOptions { features, ..options() });
            driver::map(&mut rig);
            rig
        };
        let places = [
            FuzzRange::Ports(PORTS, 0x40),
            FuzzRange::Memory(MEMORY, 0x40),
            FuzzRange::Memory(MEMORY, 0x40),
            FuzzRange::Memory(MEMORY + 0x1000, 0x2010),
            FuzzRange::Memory(driver::MSIX, 0x40),
            FuzzRange::Config(SLOT, 0),
        ];
        fuzz(build, seed, &places, |rig, what| match what {
            0..4 => {
                // Start anew, with a few requests.
                driver::map(rig);
                let features = ring::VERSION_1 | features & (ring::RING_PACKED | ring::INDIRECT_DESC);
                driver::negotiate(rig, features);
                let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, features);
                driver::enable(rig, 0, queue.place(), (what & 1) as u16);
                driver::ready(rig);
                for sector in 0..3 {
                    request(rig, &mut queue, (what as u32) % 2, sector + what * 40, 512);
                }
                if what == 3 {
                    queue.offer_endless();
                }
                driver::notify(rig, 0);
            }
            4..10 => rig.poke(QUEUE + what * 8, &[what as u8; 9]),
            _ => {}
        });
    }
}
