//! What no driver does, and what a hostile one does.

use devices_core::Device;
use devices_core::rig::{FuzzRange, fuzz, us};

use super::super::super::driver::pci::{MSIX, PORTS};
use super::*;

#[test]
fn messages_of_every_length_are_taken() {
    scenario(|rig| {
        let mut driver = Started::new(rig, 0);
        for len in 1..=32 {
            let mut bytes = message(1, event::PORT_READY, 1);
            bytes.resize(len, 0xff);
            driver.send(rig, queue::CONTROL_TX, &bytes);
            assert!(driver.sent(queue::CONTROL_TX), "{len} bytes");
            let told = std::iter::from_fn(|| driver.told(rig)).count();
            assert_eq!(told, if len < MESSAGE { 0 } else { 2 }, "{len} bytes");
        }
        // A buffer for the device to write is no message.
        driver.give(rig, queue::CONTROL_TX, 64);
        assert_eq!(driver.filled(rig, queue::CONTROL_TX), Some(Vec::new()));
    });
}

#[test]
fn ports_and_events_that_are_not_there_mean_nothing() {
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, 0);
    for port in [2, 3, 4, 31, 0xffff, 0x1_0000, 0x8000_0001, u32::MAX] {
        for event in 0..16 {
            if event != event::DEVICE_READY {
                driver.say(&mut rig, port, event, 1);
                driver.say(&mut rig, port, event, 0);
            }
        }
    }
    for event in [event::DEVICE_ADD, event::DEVICE_REMOVE, event::CONSOLE_PORT, event::RESIZE, 8, 0xffff] {
        driver.say(&mut rig, 1, event, 1);
    }
    driver.say(&mut rig, 1, event::DEVICE_READY, 0);
    driver.say(&mut rig, 1, event::PORT_READY, 0);
    assert_eq!(driver.told(&mut rig), None);
    assert_eq!(*driver.ends.heard.0.lock().unwrap(), []);
}

#[test]
fn a_huge_request_is_put_out_piece_by_piece() {
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, 0);
    // The same megabyte fifteen times.
    let buffers = [Buffer { gpa: 0x10_0000, len: 0x10_0000, write: false }; 15];
    assert!(driver.queues[5].offer(&buffers, true, 0));
    driver::notify(&mut rig, queue::tx(1));
    let first = driver.line(1).output().len();
    assert!(first < 1 << 20, "one call put out {first} bytes");
    assert!(!driver.sent(queue::tx(1)));
    let mut all = first;
    for _ in 0..200 {
        rig.advance(us(1));
        all += driver.line(1).output().len();
    }
    assert_eq!(all, 15 << 20);
    assert!(driver.sent(queue::tx(1)));
}

#[test]
fn input_without_end_leaves_the_device_free() {
    struct Endless;
    impl CharBackend for Endless {
        fn write(&self, data: &[u8]) -> usize {
            data.len()
        }
        fn read(&self, data: &mut [u8]) -> usize {
            data.len()
        }
    }
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, 0);
    drop(driver.ends.cell.lock().unplug(1));
    let endless =
        PortConfig { number: 1, console: false, name: String::new(), backend: Some(Arc::new(Endless)) };
    driver.ends.cell.lock().plug(endless).unwrap();
    driver.open(&mut rig, 1);
    // Requests to which nothing can be written.
    for _ in 0..4 {
        assert!(driver.queues[4].offer(&[Buffer { gpa: SENT, len: 9, write: false }], false, 0));
    }
    for _ in 0..2 {
        assert!(driver.queues[4].offer(&[Buffer { gpa: 0x8_0000, len: 0x8_0000, write: true }], false, 1));
    }
    driver::notify(&mut rig, queue::rx(1));
    let used: Vec<(u64, u32)> = std::iter::from_fn(|| driver.queues[4].used()).collect();
    assert_eq!(used, [(0, 0), (0, 0), (0, 0), (0, 0), (1, 4096), (1, 4096)]);
    let device = driver.ends.cell.lock();
    assert!(device.device().ports.iter().all(|port| port.input.len() <= port::PIECE));
}

#[test]
fn what_no_driver_may_make_needs_a_reset() {
    for queue in [queue::tx(1), queue::CONTROL_TX, queue::rx(1)] {
        let mut rig = Rig::new();
        let mut driver = Started::new(&mut rig, 0);
        driver.open(&mut rig, 1);
        driver.line(1).set(|state| state.input.extend(b"x"));
        driver.queues[usize::from(queue)].offer_endless();
        driver::notify(&mut rig, queue);
        let status = driver::status(&mut rig);
        assert_eq!(status & device_status::NEEDS_RESET, device_status::NEEDS_RESET, "queue {queue}");
        driver.wake(1);
        driver::set_status(&mut rig, 0);
        assert_eq!(driver::status(&mut rig), 0);
    }
}

#[test]
fn a_saved_state_that_cannot_be_is_refused() {
    let mut rig = Rig::new();
    let mut driver = Started::new(&mut rig, 0);
    driver.line(1).set(|state| state.room = Some(1));
    driver.send(&mut rig, queue::tx(1), b"xyz");
    let saved = driver.ends.cell.lock().save().unwrap();
    let mut other = Rig::new();
    let ends = attach(&mut other);
    ends.cell.lock().load(&saved).unwrap();
    drop(ends.cell.lock().unplug(1));
    assert!(ends.cell.lock().load(&saved).is_err(), "the port is not there");
    let line = Arc::<Line>::default();
    ends.cell.lock().plug(port(1, true, "", &line)).unwrap();
    assert!(ends.cell.lock().load(&saved).is_err(), "it is a console here");
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        let ends = attach(&mut rig);
        (rig, ends)
    };
    let places = [
        FuzzRange::Ports(PORTS, 0x40),
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x1000, 0x2040),
        FuzzRange::Memory(MSIX, 0x40),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(build, 5, &places, |(rig, ends), what| match what {
        0..8 => {
            driver::map(rig);
            let packed = if what % 2 == 0 { ring::RING_PACKED } else { 0 };
            let multi = if what < 6 { feature::MULTIPORT } else { 0 };
            let features = ring::VERSION_1 | packed | multi;
            driver::negotiate(rig, features);
            for number in 0..6u64 {
                let base = QUEUES + number * 0x1_0000;
                let mut queue = DriverQueue::new(rig.ram().clone(), base, 16, features);
                driver::enable(rig, number as u16, queue.place(), what as u16);
                for n in 0..4 {
                    let write = number % 2 == 0;
                    let event = if n % 2 == 0 { event::PORT_OPEN } else { event::PORT_READY };
                    let gpa = SENT + number * 0x1000 + n * 256;
                    rig.poke(gpa, &message(n as u32 / 2, event, 1));
                    queue.offer(
                        &[Buffer { gpa, len: 8 + 20 * n as u32 * (number as u32 & 4), write }],
                        false,
                        n,
                    );
                }
            }
            driver::ready(rig);
            (0..6).for_each(|queue| driver::notify(rig, queue));
        }
        8..20 => {
            let line = what as usize % 2;
            ends.lines[line].set(|state| state.input.extend(vec![what as u8; 30 * what as usize]));
            ends.wiring.waker().wake(Wake::Backend(line as u32));
        }
        20..30 => {
            let line = &ends.lines[what as usize % 2];
            line.set(|state| {
                state.room = (what % 4 < 2).then_some(what as usize);
                state.gone = what % 5 == 0;
                state.output.clear();
            });
            ends.wiring.waker().wake(Wake::Backend(what as u32 % 2));
        }
        30..34 => rig.advance(ms(400)),
        34..40 => rig.poke(QUEUES + (what - 34) * 0x1_0000, &[what as u8; 24]),
        _ => {}
    });
}
