//! The device on PCI, by what its drivers do.

mod start;

use devices_core::rig::{FuzzRange, Rig, fuzz, ms, scenario};
use devices_core::vsock::{HOST_CID, TestVsock, kind, op};
use devices_core::{Device, DeviceCell, Size};

use super::super::driver::pci::{self as driver, MEMORY, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::spec::{DEVICE, NO_VECTOR};
use super::super::pci::{Handles, Options as PciOptions, USUAL_FEATURES, VirtioPci};
use super::super::spec::feature as ring;
use super::*;

const CID: u64 = 0x1_0203;
/// Where the driver has its queues, one behind the other.
const QUEUES: u64 = 0x10_0000;
/// What it sends, and what it gets.
const SENT: u64 = 0x2_0000;
const GOT: u64 = 0x8_0000;

/// The device, and both of its ends.
struct Ends {
    cell: Arc<DeviceCell<VirtioPci<Vsock>>>,
    host: Arc<TestVsock>,
    wiring: Wiring,
}

fn attach(rig: &mut Rig) -> Ends {
    let (wiring, host) = (rig.wiring(), Arc::<TestVsock>::default());
    let handles =
        Handles { name: "vsock", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let features = USUAL_FEATURES | ring::RING_PACKED;
    let how = PciOptions { legacy: true, modern: true, vectors: 3, features };
    let vsock = Vsock::new(&model::MODEL, CID, &wiring, host.clone());
    let cell = rig.attach_pci(VirtioPci::new(vsock, how, handles), &wiring, SLOT, 0);
    driver::map(rig);
    Ends { cell, host, wiring }
}

/// A driver that is set up.
struct Started {
    queues: Vec<DriverQueue>,
    ends: Ends,
    given: u64,
}

impl Started {
    fn new(rig: &mut Rig, features: u64) -> Started {
        let ends = attach(rig);
        let features = features | ring::VERSION_1 | ring::INDIRECT_DESC;
        driver::negotiate(rig, features);
        let at = |number: u64| DriverQueue::new(rig.ram().clone(), QUEUES + number * 0x1_0000, 16, features);
        let queues: Vec<DriverQueue> = (0..3).map(at).collect();
        for (number, queue) in queues.iter().enumerate() {
            driver::enable(rig, number as u16, queue.place(), NO_VECTOR);
        }
        driver::ready(rig);
        Started { queues, ends, given: 0 }
    }

    /// Gives the device a buffer.
    fn give(&mut self, rig: &mut Rig, queue: u16, len: u32) {
        let gpa = GOT + self.given % 32 * 0x1000;
        self.given += 1;
        assert!(self.queues[usize::from(queue)].offer(&[Buffer { gpa, len, write: true }], false, gpa));
        driver::notify(rig, queue);
    }

    /// The next buffer that the device has filled.
    fn filled(&mut self, rig: &Rig, queue: u16) -> Option<Vec<u8>> {
        let (gpa, len) = self.queues[usize::from(queue)].used()?;
        Some(rig.peek(gpa, len as usize))
    }

    /// Sends bytes in buffers of these lengths.
    fn send(&mut self, rig: &mut Rig, bytes: &[u8], buffers: &[u32]) {
        rig.poke(SENT, bytes);
        let mut at = SENT;
        let buffers: Vec<_> = buffers
            .iter()
            .map(|&len| {
                at += u64::from(len);
                Buffer { gpa: at - u64::from(len), len, write: false }
            })
            .collect();
        assert!(self.queues[usize::from(queue::TX)].offer(&buffers, false, 0));
        driver::notify(rig, queue::TX);
    }

    /// Whether a packet that was sent has come back.
    fn sent(&mut self) -> bool {
        self.queues[usize::from(queue::TX)].used() == Some((0, 0))
    }

    fn come(&self, header: Header, payload: &[u8]) {
        self.ends.host.give(header, payload);
        self.ends.wiring.waker().wake(Wake::Backend(0));
    }
}

fn packet(op: u16, payload: &[u8]) -> Vec<u8> {
    let header = Header {
        src_cid: CID,
        dst_cid: HOST_CID,
        src_port: 1025,
        dst_port: 52,
        len: payload.len() as u32,
        kind: kind::STREAM,
        op,
        ..Header::default()
    };
    [&header.bytes()[..], payload].concat()
}

fn of_host(op: u16) -> Header {
    Header { src_cid: HOST_CID, dst_cid: CID, kind: kind::STREAM, op, ..Header::default() }
}

#[test]
fn it_says_what_the_guest_is_called() {
    scenario(|rig| {
        attach(rig);
        let at = MEMORY + DEVICE.offset;
        assert_eq!(rig.mmio_read(at, Size::B4), 0x1_0203);
        assert_eq!(rig.mmio_read(at + 4, Size::B4), 0);
        rig.mmio_write(at, Size::B4, 9);
        assert_eq!(rig.mmio_read(at, Size::B4), 0x1_0203, "it cannot be written");
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x1053_1af4);
        assert_eq!(rig.config_read(SLOT, 0, 8, Size::B4), 0x0780_0001);
        assert_eq!(driver::offered(rig) & 0xff_ffff, feature::STREAM);
    });
}

#[test]
fn packets_go_both_ways() {
    for features in [0, ring::EVENT_IDX, ring::RING_PACKED] {
        scenario(|rig| {
            let mut started = Started::new(rig, features);
            // In one buffer, and cut inside of the header.
            for buffers in [&[48][..], &[44, 4], &[10, 20, 16, 2]] {
                let bytes = packet(op::RW, b"1234");
                started.send(rig, &bytes, buffers);
                assert!(started.sent());
                assert_eq!(started.ends.host.sent(), Some(bytes));
            }
            started.give(rig, queue::RX, 100);
            started.come(of_host(op::RW), b"answer");
            let got = started.filled(rig, queue::RX).unwrap();
            assert_eq!(Header::split(&got), Some((Header { len: 6, ..of_host(op::RW) }, &b"answer"[..])));
        });
    }
}

#[test]
fn what_is_no_packet_goes_nowhere() {
    scenario(|rig| {
        let mut started = Started::new(rig, 0);
        let long = Header { len: MAX_PAYLOAD as u32 + 1, ..Header::default() }.bytes();
        let lying = Header { len: 5, ..Header::default() }.bytes();
        for (bytes, buffers) in
            [(&[0; 43][..], &[43][..]), (&lying, &[44, 4]), (&long, &[44, 0x1_0001]), (&[0xff; 44], &[44])]
        {
            started.send(rig, bytes, buffers);
            assert!(started.sent());
        }
        // Bytes beyond those that it says are not looked at.
        started.send(rig, &[&packet(op::RW, b"12")[..], b"345"].concat(), &[49]);
        assert!(started.sent());
        assert_eq!(started.ends.host.sent(), Some(packet(op::RW, b"12")));
        assert_eq!(started.ends.host.sent(), None);
        // Nor has a buffer to be written anything to say.
        started.queues[1].offer(&[Buffer { gpa: SENT, len: 64, write: true }], false, 0);
        driver::notify(rig, queue::TX);
        assert!(started.sent());
        assert_eq!(started.ends.host.sent(), None);
    });
}

#[test]
fn a_packet_waits_until_the_host_takes_it() {
    scenario(|rig| {
        let mut started = Started::new(rig, 0);
        started.ends.host.set_full(true);
        started.send(rig, &packet(op::REQUEST, b""), &[44]);
        assert!(!started.sent() && started.ends.host.sent().is_none());
        // The host's program is another way.
        started.give(rig, queue::RX, 100);
        started.come(of_host(op::RST), b"");
        assert_eq!(started.filled(rig, queue::RX).map(|got| got.len()), Some(44));
        assert!(!started.sent());
        started.ends.host.set_full(false);
        started.ends.wiring.waker().wake(Wake::Backend(0));
        assert!(started.sent());
        assert_eq!(started.ends.host.sent(), Some(packet(op::REQUEST, b"")));
        assert_eq!(started.ends.host.sent(), None, "once");
    });
}

#[test]
fn bytes_are_cut_to_the_drivers_buffers() {
    let mut rig = Rig::new();
    let mut started = Started::new(&mut rig, 0);
    for len in [50, 20, 44, 47, 100] {
        started.give(&mut rig, queue::RX, len);
    }
    started.come(of_host(op::RW), b"0123456789");
    started.come(of_host(op::CREDIT_UPDATE), b"");
    let got: Vec<_> = std::iter::from_fn(|| started.filled(&rig, queue::RX)).collect();
    let parts: Vec<_> = got.iter().map(|got| Header::split(got).map(|(_, payload)| payload)).collect();
    // Too small for a header, and for one byte.
    assert_eq!(parts, [Some(&b"012345"[..]), None, None, Some(b"678"), Some(b"9")]);
    assert_eq!(started.ends.host.left(), 0, "the next waits in the device");
    started.give(&mut rig, queue::RX, 44);
    assert_eq!(started.filled(&rig, queue::RX).map(|got| got.len()), Some(44));
}

#[test]
fn a_driver_that_goes_on_elsewhere_hears_that_connections_are_gone() {
    let mut rig = Rig::new();
    let mut started = Started::new(&mut rig, 0);
    started.give(&mut rig, queue::EVENT, 4);
    assert_eq!(started.filled(&rig, queue::EVENT), None);
    // A packet on its way is of a connection that is gone.
    started.come(of_host(op::RW), b"old");
    let resets = started.ends.host.resets();
    rig.save_load();
    assert_eq!(started.ends.host.resets(), resets + 2, "by the reset of the machine, and by the load");
    started.ends.cell.lock().resume();
    assert_eq!(started.filled(&rig, queue::EVENT), Some(vec![0; 4]));
    started.give(&mut rig, queue::RX, 100);
    assert_eq!(started.filled(&rig, queue::RX), None);
    // It hears of each time, also if it has no buffer then.
    rig.save_load();
    rig.save_load();
    started.ends.cell.lock().resume();
    started.give(&mut rig, queue::EVENT, 4);
    assert_eq!(started.filled(&rig, queue::EVENT), Some(vec![0; 4]));
    started.give(&mut rig, queue::EVENT, 4);
    assert_eq!(started.filled(&rig, queue::EVENT), None);
    // One that is not set up has nothing to hear.
    driver::set_status(&mut rig, 0);
    rig.save_load();
    started.ends.cell.lock().resume();
    driver::negotiate(&mut rig, ring::VERSION_1);
    let events = DriverQueue::new(rig.ram().clone(), QUEUES, 16, ring::VERSION_1);
    driver::enable(&mut rig, queue::EVENT, events.place(), NO_VECTOR);
    driver::ready(&mut rig);
    started.queues[2] = events;
    started.give(&mut rig, queue::EVENT, 4);
    assert_eq!(started.filled(&rig, queue::EVENT), None);
}

#[test]
fn a_reset_gives_up_what_waits() {
    scenario(|rig| {
        let mut started = Started::new(rig, 0);
        started.ends.host.set_full(true);
        started.send(rig, &packet(op::REQUEST, b""), &[44]);
        let before = started.ends.host.resets();
        driver::set_status(rig, 0);
        assert!(started.ends.host.resets() > before);
        started.ends.host.set_full(false);
        started.ends.wiring.waker().wake(Wake::Backend(0));
        assert_eq!((started.sent(), started.ends.host.sent()), (false, None));
    });
}

#[test]
fn nothing_moves_while_the_guest_is_saved() {
    let mut rig = Rig::new();
    let mut started = Started::new(&mut rig, 0);
    started.give(&mut rig, queue::RX, 100);
    assert!(started.ends.cell.lock().quiesce());
    started.come(of_host(op::RST), b"");
    started.send(&mut rig, &packet(op::REQUEST, b""), &[44]);
    assert_eq!((started.filled(&rig, queue::RX), started.sent()), (None, false));
    started.ends.cell.lock().resume();
    assert_eq!(started.filled(&rig, queue::RX).map(|got| got.len()), Some(44));
    assert!(started.sent());
}

#[test]
fn a_call_does_so_much_and_the_rest_soon() {
    let mut rig = Rig::new();
    let mut started = Started::new(&mut rig, 0);
    for _ in 0..16 {
        started.give(&mut rig, queue::RX, 50);
    }
    // Sixteen buffers of six bytes; the rest of it waits for more, however often they come.
    started.come(of_host(op::RW), &[7; 6 * 200]);
    let mut got = 0;
    while got < 200 {
        let now = std::iter::from_fn(|| started.filled(&rig, queue::RX)).count();
        assert!(now > 0, "after {got}");
        (0..now).for_each(|_| started.give(&mut rig, queue::RX, 50));
        got += now;
        rig.advance(ms(1));
    }
    assert_eq!(got, 200);
}

#[test]
fn hostile_accesses_change_nothing_that_a_load_does_not() {
    let places = [
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x2000, 16),
        FuzzRange::Memory(MEMORY + 0x3000, 8),
        FuzzRange::Config(SLOT, 0),
    ];
    let build = || {
        let mut rig = Rig::new();
        let started = Started::new(&mut rig, 0);
        (rig, started)
    };
    fuzz(build, 59, &places, |(rig, started), what| {
        if what < 4 && started.queues[1].offer(&[Buffer { gpa: SENT, len: 60, write: false }], false, 0) {
            rig.poke(SENT, &packet(op::RW, &[1; 16]));
        }
        started.ends.host.set_full(what % 8 == 5);
        started.queues[1].used();
    });
}
