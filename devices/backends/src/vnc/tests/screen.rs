//! Pictures: encodings, formats, changes, sizes.

use super::client::{DEFAULT, Format};
use super::*;

const RAW: i32 = 0;
const RRE: i32 = 2;
const HEXTILE: i32 = 5;
const ZLIB: i32 = 6;
const TIGHT: i32 = 7;
const ZRLE: i32 = 16;
const TIGHT_PNG: i32 = -260;
const EXACT: [i32; 7] = [RAW, RRE, HEXTILE, ZLIB, TIGHT, ZRLE, TIGHT_PNG];
const DESKTOP_SIZE: i32 = -223;
const EXTENDED_DESKTOP_SIZE: i32 = -308;

fn formats() -> Vec<Format> {
    let mut formats = vec![DEFAULT];
    for big in [false, true] {
        formats.extend([
            Format { bits: 8, big, max: [7, 7, 3], shift: [0, 3, 6] },
            Format { bits: 8, big, max: [3, 3, 3], shift: [4, 2, 0] },
            Format { bits: 16, big, max: [31, 63, 31], shift: [11, 5, 0] },
            Format { bits: 16, big, max: [31, 31, 31], shift: [0, 5, 10] },
            Format { bits: 16, big, max: [15, 15, 15], shift: [12, 8, 4] },
            Format { bits: 32, big, max: [255; 3], shift: [0, 8, 16] },
            Format { bits: 32, big, max: [255; 3], shift: [24, 16, 8] },
            Format { bits: 32, big, max: [1023; 3], shift: [20, 10, 0] },
            Format { bits: 32, big, max: [255, 127, 1], shift: [9, 17, 3] },
        ]);
    }
    formats
}

#[test]
fn every_encoding_in_every_format() {
    let sizes = [(200, 100), (333, 197), (1, 1), (17, 65)];
    for (width, height) in sizes {
        let setup = Setup::with("", picture(width, height));
        for encoding in EXACT {
            let mut client = setup.client();
            client.set_encodings(&[99, encoding]);
            for format in formats() {
                client.set_format(format);
                client.ask(false);
                let rects = client.update();
                assert!(rects.iter().all(|rect| rect.4 == encoding));
                client.assert_shows(&setup.screen.now());
            }
        }
    }
}

#[test]
fn a_large_picture_comes_in_bounded_rectangles() {
    let setup = Setup::with("", picture(1920, 1080));
    for encoding in EXACT {
        let mut client = setup.client();
        client.set_encodings(&[encoding, -247]);
        client.ask(false);
        let rects = client.update();
        assert!(rects.len() > 10);
        client.assert_shows(&setup.screen.now());
    }
}

/// A slope of colours without end, and beside it one colour, two and some.
fn mixed() -> Picture {
    let mut picture = Picture::new(512, 256);
    for y in 0..256u32 {
        for (x, pixel) in picture.row_mut(y).as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = match (x / 128, y / 64) {
                (0 | 1, _) => [x as u8, y as u8, ((x as u32 + y) / 4) as u8],
                (2, _) => [9, 8, 7],
                (_, 0) => [if x % 3 == 0 { 200 } else { 0 }; 3],
                _ => [(x % 7 * 30) as u8, (y % 5 * 40) as u8, 0],
            };
        }
    }
    picture
}

#[test]
fn tight_takes_the_way_that_suits_a_rectangle() {
    let setup = Setup::with("", mixed());
    // Asked for by parts, each of one kind.
    let parts = [[0, 0, 256, 256], [256, 0, 128, 256], [384, 0, 128, 64], [384, 64, 128, 192]];
    for (encodings, kinds, tolerance) in [
        (&[TIGHT][..], [1, 0, 0, 2, 1], 0.0),
        (&[TIGHT, -23, -250], [1, 1, 0, 2, 0], 12.0),
        (&[TIGHT_PNG], [1, 0, 3, 0, 0], 0.0),
        (&[TIGHT_PNG, -23], [1, 1, 2, 0, 0], 12.0),
    ] {
        let mut client = setup.client();
        client.tolerance = tolerance;
        client.set_encodings(encodings);
        for part in parts {
            client.ask_for(false, part);
            client.update();
        }
        client.assert_shows(&setup.screen.now());
        assert_eq!(client.kinds, kinds, "{encodings:?}");
    }
    // A worse quality is one, and a table of colours has no photographs.
    let mut client = setup.client();
    client.tolerance = 60.0;
    client.set_encodings(&[TIGHT, -32]);
    for part in parts {
        client.ask_for(false, part);
        client.update();
    }
    client.assert_shows(&setup.screen.now());
    assert_eq!(client.kinds[1], 1);
    client.tolerance = 0.0;
    client.set_format(Format { bits: 8, big: false, max: [7, 7, 3], shift: [0, 3, 6] });
    client.kinds = [0; 5];
    client.ask(false);
    client.update();
    client.assert_shows(&setup.screen.now());
    assert_eq!(client.kinds[1], 0);
}

#[test]
fn a_table_of_colours_is_told_before_its_pixels() {
    let setup = Setup::new();
    let mut client = setup.client();
    let mut message = [0; 20];
    message[4] = 8;
    client.send(&message);
    client.format = Format { bits: 8, big: false, max: [7, 7, 3], shift: [5, 2, 0] };
    client.ask(false);
    client.update();
    assert_eq!((client.table.len(), client.table[255], client.table[3]), (256, [0xffff; 3], [0, 0, 0xffff]));
    client.assert_shows(&setup.screen.now());
}

#[test]
fn the_client_chooses_the_encoding_and_may_change_it_often() {
    let setup = Setup::new();
    let mut client = setup.client();
    let lists: [&[i32]; 9] = [
        &[HEXTILE, RAW],
        &[ZRLE],
        &[TIGHT],
        &[RAW, ZRLE],
        &[ZLIB, TIGHT],
        &[ZRLE, HEXTILE],
        &[TIGHT, ZLIB],
        &[-1],
        &[],
    ];
    for encodings in lists {
        client.set_encodings(encodings);
        client.ask(false);
        let expected = encodings.first().copied().filter(|&first| first >= 0).unwrap_or(RAW);
        assert!(client.update().iter().all(|rect| rect.4 == expected), "{encodings:?}");
        client.assert_shows(&setup.screen.now());
    }
}

#[test]
fn only_what_changed_is_sent() {
    let setup = Setup::with("", picture(640, 480));
    let mut client = setup.client();
    client.ask(false);
    client.update();
    client.ask(true);
    setup.screen.edit(|picture| picture.row_mut(100)[300 * 3] ^= 0xff);
    assert_eq!(client.update(), [(288, 96, 16, 16, RAW)]);
    client.assert_shows(&setup.screen.now());
    // Nobody asked; then somebody does.
    setup.screen.edit(|picture| picture.row_mut(0).fill(1));
    setup.screen.edit(|picture| picture.row_mut(479).fill(2));
    client.ask(true);
    assert_eq!(client.update(), [(0, 0, 640, 16, RAW), (0, 464, 640, 16, RAW)]);
    client.assert_shows(&setup.screen.now());
    // Only a part is asked for; the rest comes later.
    setup.screen.edit(|picture| (0..480).for_each(|y| picture.row_mut(y).fill(3)));
    client.ask_for(true, [600, 400, 1, 1]);
    assert_eq!(client.update(), [(592, 400, 16, 16, RAW)]);
    client.ask(true);
    client.update();
    client.assert_shows(&setup.screen.now());
}

#[test]
fn each_client_gets_what_it_has_not_got() {
    let setup = Setup::with("", picture(640, 480));
    let mut clients: Vec<_> = (0..5).map(|_| setup.client()).collect();
    for client in &mut clients {
        client.ask(false);
        client.update();
    }
    for round in 1..=20 {
        setup.screen.edit(|picture| picture.row_mut(round * 23 % 480).fill(round as u8));
        for (at, client) in clients.iter_mut().enumerate() {
            if (round as usize).is_multiple_of(at + 1) || round == 20 {
                client.ask(true);
                client.update();
                client.assert_shows(&setup.screen.now());
            }
        }
    }
}

#[test]
fn a_new_size_is_told_to_those_who_understand() {
    let setup = Setup::with("", picture(200, 100));
    let mut plain = setup.client();
    let mut simple = setup.client();
    let mut extended = setup.client();
    simple.set_encodings(&[RAW, DESKTOP_SIZE]);
    extended.set_encodings(&[ZRLE, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE]);
    for client in [&mut plain, &mut simple] {
        client.ask(false);
        client.update();
        client.assert_shows(&setup.screen.now());
        client.ask(true);
    }
    extended.ask(false);
    let rects = extended.update();
    assert_eq!(rects[0], (0, 0, 200, 100, EXTENDED_DESKTOP_SIZE), "that it is understood");
    extended.assert_shows(&setup.screen.now());
    extended.ask(true);

    setup.screen.show(picture(320, 60));
    assert_eq!(simple.update(), [(0, 0, 320, 60, DESKTOP_SIZE)]);
    assert_eq!(extended.update(), [(0, 0, 320, 60, EXTENDED_DESKTOP_SIZE)]);
    for client in [&mut simple, &mut extended] {
        client.ask(false);
        client.update();
        client.assert_shows(&setup.screen.now());
    }
    // The one that does not understand sees what fits, and black.
    plain.update();
    assert_eq!((plain.width, plain.height), (200, 100));
    let now = setup.screen.now();
    let shown = |x: usize, y: usize| {
        let at = (y * 320 + x) * 3;
        let colour = &now.pixels()[at..at + 3];
        u32::from_be_bytes([0, colour[0], colour[1], colour[2]])
    };
    for (x, y) in [(0, 0), (199, 0), (150, 59), (3, 42)] {
        assert_eq!(plain.pixels[y * 200 + x], shown(x, y));
    }
    assert!(plain.pixels[60 * 200..].iter().all(|&pixel| pixel == 0));
}

#[test]
fn a_size_that_a_client_wants_is_refused() {
    let setup = Setup::new();
    let mut client = setup.client();
    client.set_encodings(&[EXTENDED_DESKTOP_SIZE]);
    client.ask(false);
    client.update();
    let mut wish = vec![251, 0, 4, 0, 3, 0, 1, 0];
    wish.extend([0; 16]);
    client.send(&wish);
    client.ask(true);
    assert_eq!(client.update(), [(1, 1, 200, 100, EXTENDED_DESKTOP_SIZE)]);
}

#[test]
fn sizes_that_change_all_the_time_lose_nobody() {
    let setup = Setup::with("", picture(640, 480));
    let mut client = setup.client();
    client.set_encodings(&[ZRLE, DESKTOP_SIZE]);
    client.ask(false);
    for round in 1..60 {
        let side = 1 + round * 37 % 700;
        setup.screen.show(picture(side, 701 - side));
        client.update();
        client.ask(round % 2 == 0);
    }
    // The last one arrives, as soon as it is asked for.
    until(|| {
        client.update();
        client.ask(false);
        client.width == setup.screen.now().width() as usize && {
            client.update();
            client.ask(false);
            true
        }
    });
    client.assert_shows(&setup.screen.now());
}

#[test]
fn nobody_looks_while_nobody_asks() {
    let setup = Setup::with("", picture(640, 480));
    let count = || setup.screen.asked.load(Ordering::SeqCst);
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(count(), 0);
    let mut client = setup.client();
    client.ask(false);
    client.update();
    let before = count();
    std::thread::sleep(Duration::from_millis(200));
    assert!(count() <= before + 1, "no update is asked for");
    // A second of changes: at most 30 updates, and about so many.
    let start = Instant::now();
    let mut updates = 0;
    while start.elapsed() < Duration::from_secs(1) {
        updates += 1;
        setup.screen.edit(|picture| picture.row_mut(updates % 480).fill(updates as u8));
        client.ask(false);
        client.update();
    }
    assert!(updates <= 40, "{updates} updates in a second");
    // A still screen is looked at ever less often.
    client.ask(true);
    std::thread::sleep(Duration::from_millis(1000));
    let before = count();
    std::thread::sleep(Duration::from_millis(1000));
    assert!(count() - before <= 7, "{} looks at a still screen", count() - before);
    drop(client);
    until(|| setup.vnc.info().clients.is_empty());
    let before = count();
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!(count(), before);
}

#[test]
fn a_fence_comes_back_between_updates() {
    let setup = Setup::new();
    let mut client = setup.client();
    client.set_encodings(&[0, -312]);
    // Ours says that there are fences.
    assert_eq!(client.take::<9>(), [248, 0, 0, 0, 0x80, 0, 0, 0, 0]);
    client.send(&[248, 0, 0, 0, 0xff, 0, 0, 3, 2, 7, 9]);
    assert_eq!(client.take::<11>(), [248, 0, 0, 0, 0, 0, 0, 1, 2, 7, 9]);
    // An answer, and one with an update before and after it.
    client.send(&[248, 0, 0, 0, 0, 0, 0, 0, 0]);
    client.ask(false);
    client.update();
    client.send(&[248, 0, 0, 0, 0x80, 0, 0, 1, 0]);
    assert_eq!(client.take::<9>(), [248, 0, 0, 0, 0, 0, 0, 1, 0]);
    client.assert_shows(&setup.screen.now());
}

#[test]
fn updates_come_without_being_asked_for() {
    let setup = Setup::new();
    let mut client = setup.client();
    client.set_encodings(&[0, -313]);
    // It can be done.
    assert_eq!(client.u8(), 150);
    client.send(&[150, 1, 0, 0, 0, 0, 0, 200, 0, 100]);
    client.update();
    client.assert_shows(&setup.screen.now());
    for shade in 1..4 {
        setup.screen.edit(|picture| picture.row_mut(50)[..30].fill(shade * 50));
        client.update();
        client.assert_shows(&setup.screen.now());
    }
    client.send(&[150, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(client.u8(), 150);
    setup.screen.edit(|picture| picture.row_mut(51)[..30].fill(9));
    // Only when it is asked for again.
    client.ask(true);
    client.update();
    client.assert_shows(&setup.screen.now());
}
