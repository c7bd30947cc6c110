//! The hub and what is behind it, with no controller.

use super::super::hid::{Hid, Kind};
use super::super::{Pid, UsbInput};
use super::*;
use crate::input::{Motion, Pointer};

const MOVE: Pointer = Pointer { motion: Motion::To { x: Some(5), y: Some(6) }, wheel: 0, buttons: 1 };

/// A hub that is configured, at address 1.
fn hub(ports: u8, switched: bool) -> Function {
    let mut function = Function::new(Box::new(Hub::new(ports, switched, "S")), Speed::Full);
    assert_eq!(tell(&mut function, 0, 5, 1, 0), Ok(()));
    assert_eq!(tell(&mut function, 0, 9, 1, 0), Ok(()));
    function
}

fn inner(function: &mut Function) -> &mut Hub {
    function.device().as_hub_mut().unwrap()
}
fn put(function: &mut Function, path: u64, device: Box<dyn UsbDevice>) -> Result<(), PlugError> {
    inner(function).plug(path, device)
}
fn tablet() -> Box<dyn UsbDevice> {
    Box::new(Hid::new(Kind::Tablet, "x-1"))
}

/// A request without data.
fn tell(function: &mut Function, kind: u8, request: u8, value: u16, index: u16) -> Result<(), Answer> {
    let setup = Setup { kind, request, value, index, length: 0 };
    function.packet(Pid::Setup, 0, &mut setup.bytes(), 0);
    match function.packet(Pid::In, 0, &mut [], 0) {
        Answer::Done(0) => Ok(()),
        other => Err(other),
    }
}
/// A request that asks.
fn ask(function: &mut Function, kind: u8, request: u8, index: u16, length: u16) -> Option<Vec<u8>> {
    let setup = Setup { kind, request, value: 0, index, length };
    function.packet(Pid::Setup, 0, &mut setup.bytes(), 0);
    let mut reply = Vec::new();
    loop {
        let mut room = [0; 8];
        let Answer::Done(got) = function.packet(Pid::In, 0, &mut room, 0) else { return None };
        reply.extend(&room[..got]);
        if got < 8 {
            return Some(reply);
        }
    }
}
/// Status and change of a port.
fn port(function: &mut Function, number: u16) -> (u16, u16) {
    let bytes = ask(function, 0xa3, 0, number, 4).unwrap();
    (u16::from_le_bytes([bytes[0], bytes[1]]), u16::from_le_bytes([bytes[2], bytes[3]]))
}
fn set(function: &mut Function, number: u16, feature: u16) -> Result<(), Answer> {
    tell(function, 0x23, 3, feature, number)
}
fn clear(function: &mut Function, number: u16, feature: u16) -> Result<(), Answer> {
    tell(function, 0x23, 1, feature, number)
}
/// The bitmap of changes.
fn changes(function: &mut Function) -> Option<Vec<u8>> {
    let mut room = [0; 2];
    match function.packet(Pid::In, 1, &mut room, 0) {
        Answer::Done(got) => Some(room[..got].to_vec()),
        Answer::Nak => None,
        other => panic!("{other:?}"),
    }
}
/// A port is reset, its device has that address and is configured.
fn configure(function: &mut Function, number: u16, address: u8) {
    set(function, number, feature::RESET).unwrap();
    for change in [16, 20] {
        clear(function, number, change).unwrap();
    }
    let device = function.find(0).expect("it is at no address yet");
    assert_eq!(tell(device, 0, 5, address.into(), 0), Ok(()));
    assert_eq!(tell(device, 0, 9, 1, 0), Ok(()));
}
fn point(function: &mut Function, path: u64) {
    let act = |input: Option<&mut dyn UsbInput>| input.unwrap().point(MOVE);
    inner(function).with(path, &mut |function| act(function.device().input()));
}

#[test]
fn descriptors_are_qemus() {
    let mut function = hub(8, false);
    let expected = [10, 0x29, 8, 0x0a, 0, 1, 0, 0, 0, 0xff];
    assert_eq!(ask(&mut function, 0xa0, 6, 0, 64).unwrap(), expected);
    assert_eq!(ask(&mut function, 0xa0, 6, 0, 7).unwrap(), expected[..7]);
    let mut switched = hub(3, true);
    assert_eq!(ask(&mut switched, 0xa0, 6, 0, 64).unwrap(), [9, 0x29, 3, 9, 0, 1, 0, 0, 0xff]);
    let description = spec::description("S");
    assert_eq!(description.device()[2..8], [0x10, 1, 9, 0, 0, 8]);
    assert_eq!(description.configuration()[7], 0xe0, "self-powered, and it wakes");
    assert_eq!(description.configuration()[18..], [7, 5, 0x81, 3, 2, 0, 0xff]);
}

#[test]
fn a_port_tells_what_changes() {
    let mut function = hub(8, false);
    assert_eq!((port(&mut function, 1), changes(&mut function)), ((0x100, 0), None));
    put(&mut function, 2, tablet()).unwrap();
    assert_eq!((port(&mut function, 2), changes(&mut function)), ((0x101, 1), Some(vec![4, 0])));
    let mut byte = [0];
    assert_eq!((function.packet(Pid::In, 1, &mut byte, 0), byte), (Answer::Done(1), [4]), "FreeBSD");
    clear(&mut function, 2, 16).unwrap();
    assert_eq!(changes(&mut function), None);
    set(&mut function, 2, feature::RESET).unwrap();
    assert_eq!((port(&mut function, 2), changes(&mut function)), ((0x103, 0x10), Some(vec![4, 0])));
    clear(&mut function, 2, 20).unwrap();
    set(&mut function, 2, feature::SUSPEND).unwrap();
    assert_eq!((port(&mut function, 2), function.find(0).is_none()), ((0x107, 0), true));
    clear(&mut function, 2, feature::SUSPEND).unwrap();
    assert_eq!((port(&mut function, 2), function.find(0).is_some()), ((0x103, 4), true));
    clear(&mut function, 2, feature::ENABLE).unwrap();
    assert_eq!((port(&mut function, 2), function.find(0).is_none()), ((0x101, 4), true));
    assert_eq!(inner(&mut function).unplug(2).unwrap().title(), "QEMU HID Tablet");
    assert_eq!(port(&mut function, 2), (0x100, 5));
    assert!(inner(&mut function).unplug(2).is_none());
    // A reset of the hub: all begins anew.
    put(&mut function, 8, tablet()).unwrap();
    function.reset();
    assert_eq!((port(&mut function, 2), port(&mut function, 8)), ((0x100, 0), (0x101, 1)));
}

#[test]
fn the_power_of_a_port_is_switched() {
    let mut function = hub(2, true);
    put(&mut function, 1, tablet()).unwrap();
    assert_eq!((port(&mut function, 1), changes(&mut function)), ((0, 0), None));
    set(&mut function, 1, feature::RESET).unwrap();
    assert_eq!(port(&mut function, 1), (0, 0), "there is no power");
    set(&mut function, 1, feature::POWER).unwrap();
    assert_eq!((port(&mut function, 1), changes(&mut function)), ((0x101, 1), Some(vec![2])));
    configure(&mut function, 1, 9);
    assert!(function.find(9).is_some());
    clear(&mut function, 1, feature::POWER).unwrap();
    assert_eq!((port(&mut function, 1), function.find(9).is_none()), ((0, 0), true));
    set(&mut function, 1, feature::POWER).unwrap();
    configure(&mut function, 1, 10);
    // Where there are no switches nothing happens, as with QEMU.
    let mut fixed = hub(2, false);
    assert_eq!(set(&mut fixed, 1, feature::POWER), Ok(()));
    assert_eq!((clear(&mut fixed, 1, feature::POWER), port(&mut fixed, 1)), (Ok(()), (0x100, 0)));
}

#[test]
fn requests_that_are_none_are_refused() {
    let mut function = hub(4, false);
    for number in [0, 5, 0x101, 0xffff] {
        assert!(ask(&mut function, 0xa3, 0, number, 4).is_none());
        assert_eq!(set(&mut function, number, feature::RESET), Err(Answer::Stall));
        assert_eq!(clear(&mut function, number, 16), Err(Answer::Stall));
    }
    for feature in [0, 1, 3, 9, 16, 21, 0xffff] {
        assert_eq!(set(&mut function, 1, feature), Err(Answer::Stall), "{feature}");
    }
    for feature in [0, 3, 9, 15, 21, 22, 0xffff] {
        assert_eq!(clear(&mut function, 1, feature), Err(Answer::Stall), "{feature}");
    }
    for request in [1, 3] {
        assert_eq!(tell(&mut function, 0x20, request, 1, 0), Ok(()));
        assert_eq!(tell(&mut function, 0x20, request, 2, 0), Err(Answer::Stall));
    }
    assert_eq!(ask(&mut function, 0xa0, 0, 0, 4).unwrap(), [0; 4]);
    assert_eq!(function.packet(Pid::Out, 1, &mut [1], 0), Answer::Stall);
}

#[test]
fn hubs_stand_one_behind_the_other() {
    let mut function = hub(2, false);
    assert_eq!(inner(&mut function).free_ports(), [1, 2]);
    put(&mut function, 2, Box::new(Hub::new(2, false, "T"))).unwrap();
    put(&mut function, 0x202, tablet()).unwrap();
    assert_eq!(inner(&mut function).free_ports(), [1, 0x102]);
    for (path, why) in [(2, "taken"), (0x202, "taken"), (0x1_0202, "no hub"), (3, "none"), (0x101, "nobody")]
    {
        assert!(matches!(put(&mut function, path, tablet()), Err(PlugError::NotFound(_))), "{why}");
    }
    configure(&mut function, 2, 7);
    let second = function.find(7).unwrap();
    configure(second, 2, 8);
    assert_eq!(function.find(8).unwrap().device().title(), "QEMU HID Tablet");
    assert_eq!(function.route(0x22).unwrap().address(), 8);
    assert_eq!(function.route(2).unwrap().address(), 7);
    assert!(function.route(0x21).is_none() && function.route(0x222).is_none());
    assert_eq!(function.said(0), 0);
    point(&mut function, 0x202);
    assert_eq!((function.said(0), function.speaks_after(0)), (1, None));
    // What is behind it goes with it, and cannot be reached any more.
    let mut gone = inner(&mut function).unplug(2).unwrap();
    assert_eq!(gone.as_hub_mut().unwrap().unplug(2).unwrap().title(), "QEMU HID Tablet");
    assert!(function.find(8).is_none());
}

#[test]
fn one_that_sleeps_wakes_its_port_if_it_may() {
    for may in [false, true] {
        let mut function = hub(4, false);
        put(&mut function, 3, tablet()).unwrap();
        configure(&mut function, 3, 5);
        let request = if may { 3 } else { 1 };
        assert_eq!(tell(function.find(5).unwrap(), 0, request, 1, 0), Ok(()));
        set(&mut function, 3, feature::SUSPEND).unwrap();
        point(&mut function, 3);
        let expected = if may { (0x103, 4) } else { (0x107, 0) };
        assert_eq!((port(&mut function, 3), function.wakes(0)), (expected, may));
        // The hub tells of the change, and wakes the host for it if it may.
        assert_eq!(changes(&mut function).is_some(), may);
    }
}

#[test]
fn states_that_are_none_are_refused() {
    let mut function = hub(2, false);
    put(&mut function, 1, tablet()).unwrap();
    configure(&mut function, 1, 5);
    let state = function.save().unwrap();
    let mut same = hub(2, false);
    put(&mut same, 1, tablet()).unwrap();
    same.load(state.clone()).unwrap();
    assert_eq!(format!("{:?}", same.save().unwrap()), format!("{state:?}"));
    assert_eq!(same.find(5).unwrap().device().title(), "QEMU HID Tablet");
    assert!(hub(2, false).load(state.clone()).is_err(), "nobody is there");
    let mut other = hub(3, false);
    put(&mut other, 1, tablet()).unwrap();
    assert!(other.load(state.clone()).is_err(), "another number of ports");
    let mut elsewhere = hub(2, false);
    put(&mut elsewhere, 2, tablet()).unwrap();
    assert!(elsewhere.load(state).is_err(), "another port");
}
