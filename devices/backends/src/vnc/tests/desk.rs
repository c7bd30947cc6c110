//! What is not the picture: the pointer, lights, the name, sizes that viewers want, sound, who may come in.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use devices_core::audio::{AudioBackend, Tone};
use devices_core::picture::PointerShape;

use super::*;
use crate::vnc::VncError;

const CURSOR: i32 = -239;
const POINTER_CHANGE: i32 = -257;
const AUDIO: i32 = -259;
const LED_STATE: i32 = -261;
const DESKTOP_NAME: i32 = -307;
const EXTENDED_DESKTOP_SIZE: i32 = -308;
const CURSOR_WITH_ALPHA: i32 = -314;

/// An arrow of 9 by 3 pixels: half transparent, opaque, and not there at all.
fn pointer(x: i32, y: i32) -> Pointer {
    let mut pixels = vec![[0; 4]; 27];
    (pixels[0], pixels[8], pixels[26]) = ([100, 50, 0, 200], [1, 2, 3, 255], [9, 9, 9, 30]);
    Pointer { shape: Arc::new(PointerShape { size: (9, 3), hot: (2, 1), pixels }), at: (x, y) }
}

/// Updates until one has something of that encoding.
fn until_update(client: &mut Client, encoding: i32) -> Vec<super::client::Header> {
    loop {
        client.ask(true);
        let update = client.update();
        if update.iter().any(|rect| rect.4 == encoding) {
            return update;
        }
    }
}

#[test]
fn a_client_shows_the_pointer_itself_or_it_is_in_its_picture() {
    let setup = Setup::new();
    setup.input.absolute.store(true, Ordering::SeqCst);
    setup.screen.point(Some(pointer(20, 30)));
    let mut plain = setup.client();
    plain.ask(false);
    plain.update();
    plain.assert_shows(&setup.screen.pointed());
    let mut able = setup.client();
    able.set_encodings(&[0, CURSOR, CURSOR_WITH_ALPHA]);
    able.ask(false);
    let update = able.update();
    assert_eq!(update[0], (2, 1, 9, 3, CURSOR_WITH_ALPHA));
    assert_eq!(able.cursor.take(), Some(((2, 1), (9, 3), pointer(0, 0).shape.pixels.clone())));
    able.assert_shows(&setup.screen.now());
    // It moves: partly beyond the edge. Who shows it hears nothing of that.
    for (x, y) in [(-5, 98), (198, -1), (50, 50)] {
        setup.screen.point(Some(pointer(x, y)));
        plain.ask(true);
        plain.update();
        plain.assert_shows(&setup.screen.pointed());
    }
    able.ask(true);
    setup.screen.edit(|picture| picture.row_mut(3)[..3].fill(7));
    let update = able.update();
    assert!(update.iter().all(|rect| rect.4 == 0), "{update:?}");
    able.assert_shows(&setup.screen.now());
    // The picture changes below it.
    plain.ask(true);
    plain.update();
    setup.screen.edit(|picture| picture.row_mut(51).fill(99));
    plain.ask(true);
    plain.update();
    plain.assert_shows(&setup.screen.pointed());
    // The guest hides it.
    setup.screen.point(None);
    assert_eq!(until_update(&mut able, CURSOR_WITH_ALPHA)[0], (0, 0, 0, 0, CURSOR_WITH_ALPHA));
    plain.ask(true);
    plain.update();
    plain.assert_shows(&setup.screen.now());
}

#[test]
fn a_pointer_without_opacity_has_a_mask() {
    let setup = Setup::new();
    setup.input.absolute.store(true, Ordering::SeqCst);
    setup.screen.point(Some(pointer(20, 30)));
    let mut client = setup.client();
    client.set_encodings(&[CURSOR]);
    client.ask(false);
    client.update();
    let (hot, size, pixels) = client.cursor.take().unwrap();
    let mut expected = vec![[0; 4]; 27];
    // The colour of its own, which was multiplied by the opacity.
    (expected[0], expected[8]) = ([127, 63, 0, 255], [1, 2, 3, 255]);
    assert_eq!((hot, size, pixels), ((2, 1), (9, 3), expected));
    client.assert_shows(&setup.screen.now());
}

#[test]
fn with_a_mouse_the_pointer_is_in_every_picture() {
    let setup = Setup::new();
    setup.screen.point(Some(pointer(20, 30)));
    let mut client = setup.client();
    client.set_encodings(&[0, CURSOR, POINTER_CHANGE]);
    client.ask(false);
    assert_eq!(client.update()[0].4, POINTER_CHANGE);
    assert_eq!(client.cursor, None);
    client.assert_shows(&setup.screen.pointed());
    // The guest starts to use a tablet, and a mouse again.
    setup.input.absolute.store(true, Ordering::SeqCst);
    until_update(&mut client, CURSOR);
    assert_eq!(client.cursor.as_ref().map(|cursor| cursor.1), Some((9, 3)));
    client.assert_shows(&setup.screen.now());
    setup.input.absolute.store(false, Ordering::SeqCst);
    until_update(&mut client, CURSOR);
    assert_eq!(client.cursor, Some(((0, 0), (0, 0), Vec::new())));
    client.assert_shows(&setup.screen.pointed());
}

#[test]
fn lights_and_names_are_told_when_they_change() {
    let setup = Setup::new();
    setup.input.lights.store(2, Ordering::SeqCst);
    let mut client = setup.client();
    client.set_encodings(&[LED_STATE, DESKTOP_NAME]);
    client.ask(false);
    assert_eq!(client.update()[0], (0, 0, 1, 1, LED_STATE));
    assert_eq!((client.lights, client.name.as_str()), (Some(2), "guest"));
    setup.input.lights.store(5, Ordering::SeqCst);
    client.ask(true);
    assert_eq!(client.update(), [(0, 0, 1, 1, LED_STATE)]);
    assert_eq!(client.lights, Some(5));
    setup.vnc.set_name("guest [Stopped]");
    client.ask(true);
    assert_eq!(client.update(), [(0, 0, 0, 0, DESKTOP_NAME)]);
    assert_eq!(client.name, "guest [Stopped]");
    assert_eq!(setup.client().name, "guest [Stopped]");
}

fn ask_size(client: &mut Client, (width, height): (u16, u16), screens: u8) -> (u16, u16) {
    let [[a, b], [c, d]] = [width, height].map(u16::to_be_bytes);
    client.send(&[251, 0, a, b, c, d, screens, 0]);
    client.send(&vec![0; usize::from(screens) * 16]);
    let update = until_update(client, EXTENDED_DESKTOP_SIZE);
    let (x, y, ..) = update.iter().find(|rect| rect.4 == EXTENDED_DESKTOP_SIZE).unwrap();
    (*x, *y)
}

#[test]
fn the_guest_hears_of_the_size_that_a_window_has() {
    let setup = Setup::new();
    let mut client = setup.client();
    client.set_encodings(&[EXTENDED_DESKTOP_SIZE]);
    client.ask(false);
    client.update();
    assert_eq!(ask_size(&mut client, (800, 600), 1), (1, 1), "this one's size is its own");
    assert!(setup.screen.resized.lock().unwrap().is_empty());
    setup.screen.resizes.store(true, Ordering::SeqCst);
    assert_eq!(ask_size(&mut client, (800, 600), 1), (1, 4), "passed on");
    assert_eq!(ask_size(&mut client, (800, 600), 2), (1, 3), "two screens");
    assert_eq!(ask_size(&mut client, (0, 600), 1), (1, 3));
    assert_eq!(ask_size(&mut client, (800, 16385), 1), (1, 3));
    assert_eq!(ask_size(&mut client, (800, 600), 255), (1, 3));
    assert_eq!(*setup.screen.resized.lock().unwrap(), [(800, 600)]);
    // The guest follows.
    setup.screen.show(picture(800, 600));
    client.ask(true);
    assert_eq!(client.update(), [(0, 0, 800, 600, EXTENDED_DESKTOP_SIZE)]);
}

/// The next message of sound: what it is, and its frames.
fn sound(client: &mut Client) -> (u16, Vec<u8>) {
    assert_eq!(client.take::<2>(), [255, 1]);
    let what = client.u16();
    let len = if what == 2 { client.u32() as usize } else { 0 };
    (what, client.take_vec(len))
}

#[test]
fn a_client_hears_what_is_played_in_its_format() {
    let setup = Setup::new();
    let mut client = setup.client();
    client.set_encodings(&[0, AUDIO]);
    client.ask(false);
    assert_eq!(client.update()[0], (0, 0, 0, 0, AUDIO));
    client.send(&[255, 1, 0, 0]);
    // When this is answered, the server knows that somebody listens.
    client.ask(false);
    client.update();
    let card = setup.sound.card();
    let tone = Tone::plain(Frames::new(44_100, 2, Sample::S16).unwrap());
    let frames: Vec<u8> = (0..400u32).map(|at| (at * 7) as u8).collect();
    card.play(0, tone, &frames);
    assert_eq!([sound(&mut client), sound(&mut client)], [(1, vec![]), (2, frames.clone())]);
    card.play(0, tone, &frames);
    assert_eq!(sound(&mut client), (2, frames.clone()));
    card.stop(0);
    assert_eq!(sound(&mut client), (0, vec![]));
    // A byte of one channel, at half the rate.
    client.send(&[255, 1, 0, 2, 0, 1, 0, 0, 0x56, 0x22]);
    client.ask(false);
    client.update();
    card.play(0, tone, &[0, 0x40, 0, 0].repeat(1000));
    card.stop(0);
    assert_eq!(sound(&mut client), (1, vec![]));
    let (what, heard) = sound(&mut client);
    assert_eq!((what, heard.len() / 10), (2, 50));
    assert!(heard.iter().all(|sample| *sample == 0xa0), "the mean of both channels");
    assert_eq!(sound(&mut client), (0, vec![]));
    // Nothing more comes to who has had enough, or never asked.
    client.send(&[255, 1, 0, 1]);
    let mut other = setup.client();
    for client in [&mut client, &mut other] {
        client.ask(false);
        client.update();
        card.play(0, tone, &frames);
        client.ask(false);
        client.update();
    }
}

#[test]
fn formats_that_cannot_be_end_the_connection() {
    let setup = Setup::new();
    for (sample, channels, rate) in
        [(3, 2, 48_001u32), (3, 3, 44_100), (3, 0, 44_100), (3, 2, 0), (6, 2, 44_100), (2, 2, 44_100)]
    {
        let mut client = setup.client();
        let [a, b, c, d] = rate.to_be_bytes();
        client.send(&[255, 1, 0, 2, sample, channels, a, b, c, d]);
        assert!(client.closed(), "{sample} {channels} {rate}");
    }
    let mut client = setup.client();
    client.send(&[255, 1, 0, 3]);
    assert!(client.closed());
}

#[test]
fn who_does_not_read_costs_no_more_than_half_a_second_of_sound() {
    let mixer = Mixer::new(Frames::new(8000, 1, Sample::U8).unwrap(), Box::new(Nowhere));
    let ear = mixer.listen(Frames::new(8000, 1, Sample::U8).unwrap(), Box::new(|| {})).unwrap();
    let card = mixer.card();
    let tone = Tone::plain(Frames::new(8000, 1, Sample::U8).unwrap());
    for second in 0..20 {
        card.play(0, tone, &[second; 8000]);
    }
    assert_eq!(ear.take(), (vec![19; 4000], false));
    card.stop(0);
    assert_eq!(ear.take(), (Vec::new(), true));
    // There is a bound for those who listen, and who has gone leaves room.
    let more = || mixer.listen(Frames::new(8000, 1, Sample::U8).unwrap(), Box::new(|| {}));
    let all: Vec<_> = std::iter::from_fn(more).collect();
    assert_eq!(all.len(), 255);
    drop(all);
    assert!(more().is_some());
}

#[test]
fn a_password_expires() {
    let setup = Setup::with(",password=on", picture(20, 10));
    setup.vnc.set_password(Some("secret")).unwrap();
    let enters = || setup.dial().shake(b"RFB 003.008\n", Some("secret")).is_ok();
    assert!(enters());
    setup.vnc.expire_password(Some(1));
    assert!(!enters());
    setup.vnc.set_password(Some("secret")).unwrap();
    assert!(!enters(), "when it expires does not change with it");
    setup.vnc.expire_password(Some(u64::MAX));
    assert!(enters());
    setup.vnc.expire_password(None);
    assert!(enters());
}

#[test]
fn who_is_longest_in_the_handshake_goes_first() {
    let setup = Setup::with(",connections=2", picture(20, 10));
    let mut seen = setup.client();
    let mut shaking: Vec<Client> = (0..2).map(|_| setup.dial()).collect();
    // Both are there, since both hear of the version.
    shaking.iter_mut().for_each(|client| assert_eq!(client.take::<12>(), *b"RFB 003.008\n"));
    let mut third = setup.dial();
    third.take::<12>();
    assert!(shaking[0].closed());
    seen.ask(false);
    seen.update();
    shaking[1].send(b"RFB 003.008\n");
    assert_eq!(shaking[1].take::<2>(), [1, 1]);
}

#[test]
fn a_viewer_that_listens_is_called() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("viewer");
    let spec = format!("unix:{},reverse=on", path.display());
    let parse = |spec: &str| match spec.parse() {
        Ok(VncSpec::Server(options)) => options,
        other => panic!("{other:?}"),
    };
    assert!(matches!(Listener::bind(parse(&spec)), Err(VncError::Dial { .. })), "nobody listens");
    let viewer = UnixListener::bind(&path).unwrap();
    let setup = Setup::at(&spec, picture(200, 100), dir);
    let mut client = Client::over(viewer.accept().unwrap().0);
    client.shake(b"RFB 003.008\n", None).unwrap();
    client.init(true);
    client.ask(false);
    client.update();
    client.assert_shows(&setup.screen.now());
    let viewer = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = viewer.local_addr().unwrap().port();
    let listener = Listener::bind(parse(&format!("127.0.0.1:{port},reverse=on"))).unwrap();
    assert_eq!((listener.address().service.as_str(), listener.display()), (port.to_string().as_str(), None));
    assert!(viewer.accept().is_ok());
}
