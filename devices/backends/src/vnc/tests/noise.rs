//! Pictures that compress badly, in every encoding.

use super::client::{DEFAULT, Format};
use super::*;

/// A picture of noise in the bits of `mask`, on every `sparse`th pixel or so.
fn noise(width: u32, height: u32, mask: u32, sparse: u32, seed: u64) -> Picture {
    let mut random = seed | 1;
    let mut draw = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 32) as u32
    };
    let mut picture = Picture::new(width, height);
    for y in 0..height {
        for pixel in picture.row_mut(y).as_chunks_mut::<3>().0 {
            let [red, green, blue, _] = (draw() & mask).to_le_bytes();
            if draw() % sparse == 0 {
                *pixel = [red, green, blue];
            }
        }
    }
    picture
}

#[test]
fn noise_arrives_whole_in_every_encoding() {
    let masks = [0x00ff_ffff, 0x003f_3f00, 0x0000_00ff, 0x0001_0101, 0];
    let setup = Setup::with("", picture(1, 1));
    let mut clients: Vec<_> = [0, 5, 16].map(|encoding| (encoding, setup.client())).into();
    for (_, client) in &mut clients {
        client.ask(false);
        client.update();
    }
    for (round, (mask, sparse)) in masks.into_iter().flat_map(|mask| [(mask, 1), (mask, 5)]).enumerate() {
        let size = [(640, 96), (333, 197), (64, 1024), (257, 130)][round % 4];
        setup.screen.show(noise(size.0, size.1, mask, sparse, round as u64 * 77 + 1));
        for (encoding, client) in &mut clients {
            client.set_encodings(&[*encoding, -223]);
            client.set_format(match round % 3 {
                0 => DEFAULT,
                1 => Format { bits: 16, big: true, max: [31, 63, 31], shift: [11, 5, 0] },
                _ => Format { bits: 32, big: false, max: [1023; 3], shift: [20, 10, 0] },
            });
            client.ask(true);
            until(|| {
                client.update();
                client.ask(false);
                (client.width, client.height) == (size.0 as usize, size.1 as usize)
            });
            assert!(client.update().iter().all(|rect| rect.4 == *encoding));
            client.assert_shows(&setup.screen.now());
        }
    }
}

#[test]
fn a_large_rectangle_of_noise_can_be_inflated_at_once() {
    let setup = Setup::with("", noise(640, 480, 0x00ff_ffff, 1, 4));
    let mut client = setup.client();
    client.set_encodings(&[16]);
    for _ in 0..2 {
        client.ask(false);
        client.update();
        client.assert_shows(&setup.screen.now());
    }
}
