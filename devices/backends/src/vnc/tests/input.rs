//! Keys and pointers.

use super::*;
use crate::vnc::Motion;

fn key(keysym: u32, scancode: Option<u8>, down: bool) -> Event {
    Event::Key(Keystroke { keysym, scancode }, down)
}

fn pointer(motion: Motion, wheel: i32, buttons: u8) -> Event {
    Event::Pointer(PointerEvent { motion, wheel, buttons })
}

fn send_key(client: &mut Client, keysym: u32, down: bool) {
    let [a, b, c, d] = keysym.to_be_bytes();
    client.send(&[4, u8::from(down), 0, 0, a, b, c, d]);
}

fn send_pointer(client: &mut Client, buttons: u8, x: u16, y: u16) {
    let ([a, b], [c, d]) = (x.to_be_bytes(), y.to_be_bytes());
    client.send(&[5, buttons, a, b, c, d]);
}

#[test]
fn keys_arrive_with_what_the_client_knows_of_them() {
    let setup = Setup::new();
    let mut client = setup.client();
    send_key(&mut client, 0x61, true);
    send_key(&mut client, 0x61, false);
    client.set_encodings(&[-258]);
    client.ask(false);
    assert_eq!(client.update()[0], (0, 0, 0, 0, -258), "that the extended event is understood");
    client.send(&[255, 0, 0, 1, 0, 0, 0xff, 0x51, 0, 0, 0, 0xcb]);
    client.send(&[255, 0, 0, 0, 0, 0, 0xff, 0x51, 0, 0, 0xe0, 0x4b]);
    client.send(&[255, 0, 0, 1, 0, 0, 0, 0x61, 0, 1, 0, 0]);
    let expected = [
        key(0x61, None, true),
        key(0x61, None, false),
        key(0xff51, Some(0xcb), true),
        key(0xff51, Some(0xcb), false),
        key(0x61, None, true),
    ];
    assert_eq!(setup.events(5), expected);
}

#[test]
fn what_is_held_is_released_with_its_client() {
    let setup = Setup::new();
    let mut client = setup.client();
    for keysym in [0xffe3, 0xffe9, 0xffff] {
        send_key(&mut client, keysym, true);
    }
    send_key(&mut client, 0xffff, false);
    send_pointer(&mut client, 1, 5, 6);
    setup.events(5);
    drop(client);
    let still = Motion::By { dx: 0, dy: 0 };
    assert_eq!(setup.events(3), [key(0xffe3, None, false), key(0xffe9, None, false), pointer(still, 0, 0)]);
}

#[test]
fn a_client_that_holds_all_keys_there_are_is_bounded() {
    let setup = Setup::new();
    let mut client = setup.client();
    for keysym in 0..2000 {
        send_key(&mut client, keysym, true);
    }
    setup.events(2000);
    drop(client);
    until(|| setup.vnc.info().clients.is_empty());
    assert_eq!(setup.events(64).len(), 64);
}

#[test]
fn a_mouse_gets_movements() {
    let setup = Setup::new();
    let mut client = setup.client();
    send_pointer(&mut client, 0, 100, 50);
    send_pointer(&mut client, 4, 90, 60);
    send_pointer(&mut client, 2, 90, 60);
    let by = |dx, dy| Motion::By { dx, dy };
    assert_eq!(
        setup.events(3),
        [pointer(by(0, 0), 0, 0), pointer(by(-10, 10), 0, 2), pointer(by(0, 0), 0, 4)]
    );
    // The client is told that movements are wanted, and sends them.
    client.set_encodings(&[-257]);
    client.ask(false);
    assert_eq!(client.update()[0], (0, 0, 200, 100, -257));
    send_pointer(&mut client, 1, 0x7fff - 300, 0x7fff + 2);
    assert_eq!(setup.events(1), [pointer(by(-300, 2), 0, 1)]);
    // The guest starts to use a tablet.
    setup.input.absolute.store(true, Ordering::SeqCst);
    client.ask(true);
    assert_eq!(client.update(), [(1, 0, 200, 100, -257)]);
    send_pointer(&mut client, 1, 20, 99);
    let to = |x, y| Motion::To { x, y, width: 200, height: 100 };
    assert_eq!(setup.events(1), [pointer(to(20, 99), 0, 1)]);
    send_pointer(&mut client, 0, 60_000, 60_000);
    assert_eq!(setup.events(1), [pointer(to(199, 99), 0, 0)]);
}

#[test]
fn the_wheel_turns_once_for_each_press() {
    let setup = Setup::new();
    let mut client = setup.client();
    for buttons in [0x08, 0x08, 0, 0x10, 0x01] {
        send_pointer(&mut client, buttons, 7, 7);
    }
    let still = Motion::By { dx: 0, dy: 0 };
    let expected =
        [(-1, 0), (0, 0), (0, 0), (1, 0), (0, 1)].map(|(wheel, buttons)| pointer(still, wheel, buttons));
    assert_eq!(setup.events(5), expected);
}
