//! How drivers start, as scenarios.

use super::*;

/// virtio-win's vioser: it asks for its queues before it accepts features, has a vector for the control queues and one
/// for all ports, gives eight buffers for control messages, says that it is there only after DRIVER_OK, makes a device of
/// each port that it hears of, says of each that it has it, and opens a port when an application does. It closes all and
/// resets when the computer goes to sleep, and begins again.
#[test]
fn vioser() {
    scenario(|rig| {
        let ends = attach(rig);
        let mut driver = Started { queues: Vec::new(), ends, given: 0 };
        for _ in 0..2 {
            driver.given = 0;
            driver::set_status(rig, 0);
            driver::set_status(rig, device_status::ACKNOWLEDGE);
            driver::set_status(rig, device_status::ACKNOWLEDGE | device_status::DRIVER);
            let offered = driver::offered(rig);
            assert_ne!(offered & feature::MULTIPORT, 0);
            let at = MEMORY + DEVICE.offset + config::MAX_NR_PORTS as u64;
            let ports = rig.mmio_read(at, Size::B4) as u32;
            assert_eq!(ports, 4);
            let features = offered & (ring::VERSION_1 | feature::MULTIPORT | ring::INDIRECT_DESC);
            for half in 0..2u64 {
                driver::set(rig, 8, Size::B4, half);
                driver::set(rig, 12, Size::B4, features >> (32 * half) & 0xffff_ffff);
            }
            let agreed = device_status::ACKNOWLEDGE | device_status::DRIVER | device_status::FEATURES_OK;
            driver::set_status(rig, agreed);
            assert_eq!(driver::status(rig), agreed);
            driver::use_messages(rig, 2);
            let sizes: Vec<u64> = (0..2 + 2 * ports)
                .map(|queue| {
                    driver::set(rig, 0x16, Size::B2, queue.into());
                    driver::get(rig, 0x18, Size::B2)
                })
                .collect();
            assert_eq!(sizes, [128, 128, 32, 32, 128, 128, 128, 128, 128, 128]);
            driver.queues = (0..6u64)
                .map(|number| {
                    let base = QUEUES + number * 0x1_0000;
                    rig.poke(base, &[0; 0x4000]);
                    let queue = DriverQueue::new(rig.ram().clone(), base, 32, features);
                    let vector = if number == 2 || number == 3 { 0 } else { 1 };
                    driver::enable(rig, number as u16, queue.place(), vector);
                    queue
                })
                .collect();
            driver::ready(rig);
            for _ in 0..8 {
                driver.give(rig, queue::CONTROL_RX, 256);
            }
            driver.say(rig, u32::MAX, event::DEVICE_READY, 1);
            for port in 0..2 {
                assert_eq!(driver.told(rig), Some(message(port, event::DEVICE_ADD, 1)));
                // It gives the port buffers, and then says that it has it.
                driver.give(rig, queue::rx(port), 4096);
                driver.say(rig, port, event::PORT_READY, 1);
            }
            let events: Vec<u16> = std::iter::from_fn(|| driver.told(rig))
                .map(|message| u16::from_le_bytes([message[4], message[5]]))
                .collect();
            let expected = [event::CONSOLE_PORT, event::PORT_OPEN, event::PORT_NAME, event::PORT_OPEN];
            assert_eq!(events, expected);
            driver.open(rig, 1);
            driver.come(1, b"guest-sync");
            assert_eq!(driver.filled(rig, queue::rx(1)), Some(b"guest-sync".to_vec()));
            driver.send(rig, queue::tx(1), b"{\"return\": 1}");
            assert!(driver.sent(queue::tx(1)));
            assert_eq!(driver.line(1).output(), b"{\"return\": 1}");
            driver.say(rig, 1, event::PORT_OPEN, 0);
        }
    });
}

/// SeaBIOS, GRUB and old kernels: port 0 alone, by ports.
#[test]
fn a_legacy_driver_with_one_queue() {
    scenario(|rig| {
        let ends = attach(rig);
        let place = driver::start_legacy(rig, 0, (QUEUES / 4096) as u32);
        let mut queue = DriverQueue::at(rig.ram().clone(), place, QUEUES + 0x8000, 0);
        assert!(queue.offer(&[Buffer { gpa: GOT, len: 100, write: true }], false, 5));
        rig.outw(super::super::super::driver::pci::PORTS + 16, 0);
        ends.lines[0].set(|state| state.input.extend(b"key"));
        ends.wiring.waker().wake(Wake::Backend(0));
        assert_eq!(queue.used(), Some((5, 3)));
        assert_eq!(rig.peek(GOT, 3), b"key");
    });
}
