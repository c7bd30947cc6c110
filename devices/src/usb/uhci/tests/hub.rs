//! A hub on the controller, as drivers use it.
//!
//! **Linux** (`hub.c`): the hub's descriptor (bmRequestType 0xa0, wValue 0x2900), first with room for the longest there is;
//! status of the device and of the hub; PORT_POWER for each port, and twice the time that the descriptor tells to wait, at
//! least 100 ms. The status of each port is read, changes that are there are cleared, and the status change endpoint is
//! asked from then on. A port with a change: its status, C_PORT_CONNECTION cleared, 100 ms in which the connection must not
//! change; PORT_RESET, the status after 10 ms and until RESET is clear, C_PORT_RESET cleared; 10 ms; then the device at
//! address 0.
//!
//! **Windows** (`usbhub`, by ReactOS's driver of that name): the hub's descriptor with wValue 0 as well, PORT_POWER for each
//! port, a wait by the descriptor; then the status change endpoint is asked, and nothing is read until it answers. A reset
//! is over when the endpoint tells so: PORT_RESET, the change, status, C_PORT_RESET cleared.

use devices_core::rig::scenario;

use super::*;
use crate::usb::frames::TICK;
use crate::usb::hub::Hub;

/// A request of the hub's at its address: port `index`.
fn tell(rig: &mut Rig, hub: u8, request: u8, feature: u16, index: u16) {
    let setup = Setup { kind: 0x23, request: request_of(request), value: feature, index, length: 0 };
    assert_eq!(super::request(rig, hub, setup, &[]), Ok(vec![]));
}
fn request_of(set: u8) -> u8 {
    if set != 0 { 3 } else { 1 }
}
fn status(rig: &mut Rig, hub: u8, index: u16) -> [u8; 4] {
    let setup = Setup { kind: 0xa3, request: 0, value: 0, index, length: 4 };
    super::request(rig, hub, setup, &[]).unwrap().try_into().unwrap()
}

/// A hub on the first port, at that address, with what is behind it.
fn hub(rig: &mut Rig, address: u8) -> Ports {
    let ports = attach(rig);
    ports.plug(1, Box::new(Hub::new(8, false, "314159"))).unwrap();
    run(rig);
    configure(rig, 1, address);
    ports
}

/// The status change endpoint, or that of a device's reports, is asked until it answers.
fn wait(rig: &mut Rig, address: u8, len: usize) -> Vec<u8> {
    let control = ACTIVE | td::INTERRUPT | td::SHORT;
    poke(rig, INT_TD, &[TERMINATE, control, token(pid::IN, address, 1, len), INT_BUFFER as u32]);
    poke(rig, INT_QH + 4, &[INT_TD as u32]);
    for _ in 0..100 {
        rig.advance(ms(1));
        if let Some(answer) = answer(rig) {
            return answer;
        }
    }
    panic!("it does not answer");
}

#[test]
fn as_linux_does() {
    scenario(|rig| {
        let ports = hub(rig, 2);
        ports.plug(0x301, Box::new(Hid::new(Kind::Tablet, "x-1.3"))).unwrap();
        let descriptor = Setup { kind: 0xa0, request: 6, value: 0x2900, index: 0, length: 15 };
        let descriptor = request(rig, 2, descriptor, &[]).unwrap();
        assert_eq!(descriptor, [10, 0x29, 8, 0x0a, 0, 1, 0, 0, 0, 0xff]);
        assert_eq!(request(rig, 2, get(0x80, 0, 0, 2), &[]).unwrap(), [1, 0], "self-powered");
        assert_eq!(request(rig, 2, get(0xa0, 0, 0, 4), &[]).unwrap(), [0; 4]);
        (1..=8).for_each(|port| tell(rig, 2, 1, 8, port));
        rig.advance(ms(100));
        for port in 1..=8 {
            let expected = if port == 3 { [1, 1, 1, 0] } else { [0, 1, 0, 0] };
            assert_eq!(status(rig, 2, port), expected, "{port}");
        }
        tell(rig, 2, 0, 16, 3);
        assert_eq!(status(rig, 2, 3), [1, 1, 0, 0]);
        rig.advance(ms(100));
        tell(rig, 2, 1, 4, 3);
        rig.advance(ms(10));
        assert_eq!(status(rig, 2, 3), [3, 1, 0x10, 0]);
        tell(rig, 2, 0, 20, 3);
        rig.advance(ms(10));
        assert_eq!(request(rig, 0, get(0, 5, 3, 0), &[]), Ok(vec![]));
        let device = request(rig, 3, get(0x80, 6, 0x100, 18), &[]).unwrap();
        assert_eq!(device[8..12], [0x27, 6, 1, 0]);
        assert_eq!(request(rig, 3, get(0, 9, 1, 0), &[]), Ok(vec![]));
        // What it has to say comes by.
        point(&ports, 0x301, 7, 8, 1);
        assert_eq!(wait(rig, 3, 8), [1, 7, 0, 8, 0, 0]);
        // It goes, and the hub tells so.
        assert_eq!(ports.unplug(0x301).unwrap().title(), "QEMU HID Tablet");
        assert_eq!(wait(rig, 2, 2), [8, 0]);
        assert_eq!(status(rig, 2, 3), [0, 1, 1, 0]);
        tell(rig, 2, 0, 16, 3);
        assert!(request(rig, 3, get(0x80, 8, 0, 1), &[]).is_err(), "nobody is there");
    });
}

#[test]
fn as_windows_does() {
    scenario(|rig| {
        let ports = hub(rig, 1);
        let descriptor = Setup { kind: 0xa0, request: 6, value: 0, index: 0, length: 71 };
        assert_eq!(request(rig, 1, descriptor, &[]).unwrap().len(), 10);
        (1..=8).for_each(|port| tell(rig, 1, 1, 8, port));
        rig.advance(ms(2));
        // A second hub comes to the first, and a keyboard to that.
        ports.plug(0x801, Box::new(Hub::new(4, false, "314159"))).unwrap();
        assert_eq!(wait(rig, 1, 2), [0, 1]);
        assert_eq!(status(rig, 1, 8), [1, 1, 1, 0]);
        tell(rig, 1, 0, 16, 8);
        tell(rig, 1, 1, 4, 8);
        assert_eq!(wait(rig, 1, 2), [0, 1]);
        assert_eq!(status(rig, 1, 8), [3, 1, 0x10, 0]);
        tell(rig, 1, 0, 20, 8);
        assert_eq!(request(rig, 0, get(0, 5, 2, 0), &[]), Ok(vec![]));
        assert_eq!(request(rig, 2, get(0, 9, 1, 0), &[]), Ok(vec![]));
        ports.plug(0x2_0801, Box::new(Hid::new(Kind::Keyboard, "x-1.8.2"))).unwrap();
        assert_eq!(wait(rig, 2, 1), [4]);
        tell(rig, 2, 0, 16, 2);
        tell(rig, 2, 1, 4, 2);
        assert_eq!(wait(rig, 2, 1), [4]);
        tell(rig, 2, 0, 20, 2);
        assert_eq!(request(rig, 0, get(0, 5, 3, 0), &[]), Ok(vec![]));
        assert_eq!(request(rig, 3, get(0, 9, 1, 0), &[]), Ok(vec![]));
        let key = crate::input::keys::Key::by_name("a").unwrap();
        ports.with(0x2_0801, &mut |device| device.input().unwrap().key(key, true));
        assert_eq!(wait(rig, 3, 8), [0, 0, 4, 0, 0, 0, 0, 0]);
        // The first hub goes, with all that is behind it.
        ports.unplug(1).unwrap();
        assert_eq!(ports.speed(0x801), None);
        for address in 1..=3 {
            assert!(request(rig, address, get(0x80, 8, 0, 1), &[]).is_err());
        }
    });
}

#[test]
fn a_tablet_behind_a_hub_wakes_nobody() {
    scenario(|rig| {
        let ports = hub(rig, 2);
        ports.plug(0x101, Box::new(Hid::new(Kind::Tablet, "x-1.1"))).unwrap();
        tell(rig, 2, 1, 4, 1);
        for change in [16, 20] {
            tell(rig, 2, 0, change, 1);
        }
        assert_eq!(request(rig, 0, get(0, 5, 3, 0), &[]), Ok(vec![]));
        assert_eq!(request(rig, 3, get(0, 9, 1, 0), &[]), Ok(vec![]));
        // Both endpoints are asked; neither has anything to say.
        let (hub, tablet) = (0x6000, 0x6020);
        poke(rig, hub, &[tablet as u32, ACTIVE, token(pid::IN, 2, 1, 2), INT_BUFFER as u32]);
        poke(rig, tablet, &[TERMINATE, ACTIVE, token(pid::IN, 3, 1, 8), INT_BUFFER as u32 + 16]);
        poke(rig, LIST, &[hub as u32; 1024]);
        rig.advance(ms(200));
        let count = idle::wakeups(rig, 10_000);
        let expected = (10_000 / TICK) as u32;
        assert!((expected - 1..=expected + 1).contains(&count), "{count} in ten seconds");
        point(&ports, 0x101, 3, 4, 0);
        rig.advance(ms(1));
        assert_eq!(word(rig, tablet + 4) & td::ACTIVE, 0);
        ports.plug(0x201, Box::new(Hid::new(Kind::Mouse, "x-1.2"))).unwrap();
        rig.advance(ms(1));
        assert_eq!(word(rig, hub + 4) & td::ACTIVE, 0);
    });
}

#[test]
fn a_device_behind_a_sleeping_hub_wakes_the_bus() {
    for may in [false, true] {
        scenario(|rig| {
            let ports = hub(rig, 2);
            ports.plug(0x101, Box::new(Hid::new(Kind::Keyboard, "x-1.1"))).unwrap();
            tell(rig, 2, 1, 4, 1);
            for change in [16, 20] {
                tell(rig, 2, 0, change, 1);
            }
            assert_eq!(request(rig, 0, get(0, 5, 3, 0), &[]), Ok(vec![]));
            assert_eq!(request(rig, 3, get(0, 9, 1, 0), &[]), Ok(vec![]));
            assert_eq!(request(rig, 3, get(0, if may { 3 } else { 1 }, 1, 0), &[]), Ok(vec![]));
            write(rig, port_reg(1), 0x1004);
            let key = crate::input::keys::Key::by_name("a").unwrap();
            ports.with(0x101, &mut |device| device.input().unwrap().key(key, true));
            assert_eq!(read(rig, port_reg(1)) & 0x1040, if may { 0x1040 } else { 0x1000 });
        });
    }
}
