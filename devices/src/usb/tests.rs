//! The standard requests and the control pipe, with no controller.

use super::hid::{Hid, Kind};
use super::*;

fn tablet() -> Function {
    Function::new(Box::new(Hid::new(Kind::Tablet, "x-1")), Speed::Full)
}

fn setup(function: &mut Function, setup: Setup) -> Answer {
    function.packet(Pid::Setup, 0, &mut setup.bytes(), 0)
}

fn ask(kind: u8, request: u8, value: u16, length: u16) -> Setup {
    Setup { kind, request, value, index: 0, length }
}

#[test]
fn an_address_counts_from_the_end_of_its_request() {
    let mut function = tablet();
    assert_eq!(setup(&mut function, ask(0, 5, 17, 0)), Answer::Done(8));
    assert_eq!(function.address(), 0);
    assert_eq!(function.packet(Pid::In, 0, &mut [], 0), Answer::Done(0));
    assert_eq!(function.address(), 17);
    setup(&mut function, ask(0, 5, 128, 0));
    assert_eq!(function.packet(Pid::In, 0, &mut [], 0), Answer::Stall);
    function.reset();
    assert_eq!(function.address(), 0);
}

#[test]
fn replies_end_with_a_short_packet() {
    let mut function = tablet();
    let mut room = [0; 64];
    setup(&mut function, ask(0x80, 6, 0x100, 64));
    let sent: Vec<Answer> = (0..4).map(|_| function.packet(Pid::In, 0, &mut room, 0)).collect();
    assert_eq!(sent, [8, 8, 2, 0].map(Answer::Done));
    assert_eq!(function.packet(Pid::Out, 0, &mut [], 0), Answer::Done(0));
    assert_eq!(function.packet(Pid::In, 0, &mut room, 0), Answer::Stall, "nothing was asked");
    // Less room than a packet.
    setup(&mut function, ask(0x80, 6, 0x100, 64));
    assert_eq!(function.packet(Pid::In, 0, &mut room[..4], 0), Answer::Babble);
}

#[test]
fn data_beyond_what_was_announced_is_refused() {
    let mut function = tablet();
    setup(&mut function, ask(0x21, 9, 0x200, 10));
    assert_eq!(function.packet(Pid::Out, 0, &mut [1; 8], 0), Answer::Done(8));
    assert_eq!(function.packet(Pid::Out, 0, &mut [1; 8], 0), Answer::Stall);
    assert_eq!(function.packet(Pid::Out, 0, &mut [1; 2], 0), Answer::Stall, "until the next request");
    setup(&mut function, ask(0x21, 9, 0x200, 0xffff));
    assert_eq!(function.packet(Pid::Out, 0, &mut [1; 8], 0), Answer::Stall);
}

#[test]
fn an_endpoint_needs_a_configuration() {
    let mut function = tablet();
    let mut room = [0; 8];
    assert_eq!(function.packet(Pid::In, 1, &mut room, 0), Answer::Stall);
    setup(&mut function, ask(0, 9, 1, 0));
    function.packet(Pid::In, 0, &mut [], 0);
    assert_eq!(function.packet(Pid::In, 1, &mut room, 0), Answer::Nak);
    assert_eq!(function.packet(Pid::Out, 1, &mut room, 0), Answer::Stall);
    assert_eq!(function.packet(Pid::Setup, 1, &mut room, 0), Answer::Stall);
}

#[test]
fn every_request_is_survived() {
    let mut function = tablet();
    for bytes in 0..=u16::MAX {
        let [kind, request] = bytes.to_le_bytes();
        for (value, length) in [(0, 0), (0x2200, 8), (1, 1), (0x81, 300)] {
            let index = [0, 0x81, 0xffff][usize::from(bytes) % 3];
            setup(&mut function, Setup { kind, request, value, index, length });
            let mut room = [0; 64];
            function.packet(Pid::Out, 0, &mut room[..usize::from(length).min(8)], 0);
            function.packet(Pid::In, 0, &mut room, 0);
        }
    }
    let state = function.save().unwrap();
    let mut other = tablet();
    other.load(state.clone()).unwrap();
    assert_eq!(format!("{:?}", other.save().unwrap()), format!("{state:?}"));
    let mut mouse = Function::new(Box::new(Hid::new(Kind::Mouse, "x-1")), Speed::Full);
    assert!(mouse.load(state).is_err(), "of another device");
}
