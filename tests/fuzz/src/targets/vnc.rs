//! A viewer, from its first byte to its last, while the screen changes under it, a pointer moves over it and sound is
//! played.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use backends::vnc::{Conversation, Input, Keystroke, Motion, News, PointerEvent};
use devices_core::picture::{Frame, Picture, Pointer, PointerShape};

use super::outcome;

/// More than a full buffer (64 KiB), a rectangle's raw pixels (256 KiB), a pointer's and a second of sound never waits.
const MOST: usize = (64 + 256 + 16 + 20 + 384) << 10;
/// Turns of one conversation.
const TURNS: usize = 200;
const PASSWORD: &str = "secret";

/// A guest's keyboard and pointer: counts, and checks that places are on the screen.
struct Guest {
    absolute: bool,
    events: AtomicU64,
}

impl Input for Guest {
    fn key(&self, _key: Keystroke, down: bool) {
        self.events.fetch_add(1 + u64::from(down), Ordering::Relaxed);
    }
    fn absolute(&self) -> bool {
        self.absolute
    }
    fn pointer(&self, event: PointerEvent) {
        if let Motion::To { x, y, width, height } = event.motion {
            assert!(x < width && y < height, "a pointer beyond the screen");
        }
        assert!(event.buttons < 8, "a button that no mouse has");
        self.events.fetch_add(4, Ordering::Relaxed);
    }
}

/// The screen with a pointer over it.
struct Pointed<'a>(&'a Picture, Option<Pointer>);

impl Frame for Pointed<'_> {
    fn size(&self) -> (u32, u32) {
        self.0.size()
    }
    fn line(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        self.0.line(x, y, out);
        self.1.iter().for_each(|pointer| pointer.draw(x, y, out));
    }
    fn pointer(&self) -> Option<Pointer> {
        self.1.clone()
    }
    fn line_below(&self, x: u32, y: u32, out: &mut [[u8; 3]]) {
        self.0.line(x, y, out);
    }
}

/// A pointer at a place and of a kind that an input chooses.
fn pointer(choice: u8) -> Option<Pointer> {
    let (size, at) = (u16::from(choice >> 2 & 3) * 20 + 4, i32::from(choice) * 5 - 100);
    let pixels = vec![[choice, choice / 2, 7, choice]; usize::from(size) * usize::from(size)];
    let shape = Arc::new(PointerShape { size: (size, size), hot: (size / 2, 0), pixels });
    (choice & 3 != 0).then_some(Pointer { shape, at: (at, at / 3) })
}

/// The screen: sizes that an input chooses among, lines that it paints.
fn screen(choice: u8) -> Picture {
    let (width, height) = [(64, 48), (1, 1), (333, 17), (16, 300), (720, 40)][usize::from(choice) % 5];
    Picture::new(width, height)
}

fn paint(picture: &mut Picture, value: u8) {
    let line = u32::from(value) % picture.height();
    for (at, byte) in picture.row_mut(line).iter_mut().enumerate() {
        *byte = byte.wrapping_mul(31).wrapping_add(at as u8 ^ value);
    }
}

/// The first byte: bit 0 a password is needed, bit 1 the pointer is absolute, bit 7 it must be encrypted (which is not
/// done), between them the screen. Then pieces,
/// whose first byte's upper bits say what they are: bytes of the client (so many), a turn (after which so much of
/// the output is read), a change of the screen, or the right answer to a challenge.
pub fn run(bytes: &[u8]) -> u64 {
    let Some((&first, mut rest)) = bytes.split_first() else { return 0 };
    let password = (first & 1 != 0).then_some(PASSWORD);
    let guest = Guest { absolute: first & 2 != 0, events: AtomicU64::new(0) };
    let mut picture = screen(first >> 2 & 31);
    let mut talk = if first & 0x80 != 0 { Conversation::encrypted() } else { Conversation::default() };
    let (mut read, mut open) = (0usize, true);
    let mut kinds = 0u64;
    let mut last = [0; 16];
    for _ in 0..TURNS {
        let Some((&piece, tail)) = rest.split_first() else { break };
        rest = tail;
        let value = piece & 0x3f;
        match piece >> 6 {
            0 => {
                let (data, tail) = rest.split_at(rest.len().min(usize::from(value) + 1));
                rest = tail;
                open = talk.feed(data, &guest, password);
            }
            1 => {
                let frame = Pointed(&picture, pointer(value << 2 | first & 3));
                let name = if value & 1 == 0 { "guest" } else { "guest [Stopped]" };
                talk.turn(News { frame: &frame, absolute: guest.absolute, lights: value & 7, name });
                if let Some((width, height)) = talk.take_resize() {
                    assert!(width > 0 && height > 0, "a screen of nothing");
                }
                if let Some(format) = talk.hears() {
                    assert!(format.rate() <= 48_000 && format.channels() <= 2, "{format:?}");
                    talk.play(&vec![value; format.frame() * (format.rate() as usize / 16)], value & 8 != 0);
                }
                let out = talk.output();
                assert!(out.len() <= MOST, "{} bytes wait", out.len());
                if let Some(challenge) = out.last_chunk() {
                    last = *challenge;
                }
                kinds |= 1 << (usize::BITS - out.len().leading_zeros());
                let len = if value < 32 { out.len() } else { out.len() / (usize::from(value) - 30) };
                read += len;
                talk.sent(len);
            }
            2 if value == 0 => picture = screen(piece ^ rest.first().copied().unwrap_or_default()),
            2 => paint(&mut picture, value),
            _ => open = talk.feed(&Conversation::answer(PASSWORD, last), &guest, password),
        }
        if !open {
            break;
        }
    }
    talk.end(&guest);
    let events = guest.events.load(Ordering::Relaxed).min(8);
    outcome((kinds, open, events, read.checked_ilog2()), "")
}

/// A client's bytes as pieces, with a turn after each message.
fn pieces(first: u8, messages: &[&[u8]]) -> Vec<u8> {
    let mut seed = vec![first];
    for message in messages {
        for part in message.chunks(64) {
            seed.push(part.len() as u8 - 1);
            seed.extend_from_slice(part);
        }
        seed.extend([0x40, 0x81 + seed.len() as u8 % 62, 0x40]);
    }
    seed
}

pub fn seeds() -> Vec<Vec<u8>> {
    let ask: &[u8] = &[3, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let again: &[u8] = &[3, 1, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    let encodings =
        |number: u8| [2, 0, 0, 3, 0, 0, 0, number, 0xff, 0xff, 0xff, 0x21, 0xff, 0xff, 0xfe, 0xcc];
    let format: &[u8] = &[0, 0, 0, 0, 16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0, 0, 0, 0];
    let table: &[u8] = &[0, 0, 0, 0, 8, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let input: &[u8] = &[4, 1, 0, 0, 0, 0, 0, 0x61, 5, 1, 0, 9, 0, 9, 5, 0, 0xff, 0xff, 0xff, 0xff];
    let extended: &[u8] = &[255, 0, 0, 1, 0, 0, 0, 0x61, 0, 0, 0, 0x1e, 6, 0, 0, 0, 0, 0, 0, 2, 65, 66];
    let more: &[u8] = &[2, 0, 0, 2, 0xff, 0xff, 0xfe, 0xc8, 0xff, 0xff, 0xfe, 0xc7];
    let fence: &[u8] = &[248, 0, 0, 0, 0x80, 0, 0, 7, 2, 8, 9, 150, 1, 0, 0, 0, 0, 0, 0xff, 0, 0xff];
    let size: &[u8] = &[251, 0, 4, 0, 3, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 3, 0, 0, 0, 0, 0];
    let desk: &[u8] = &[
        2, 0, 0, 6, 0xff, 0xff, 0xff, 0x11, 0xff, 0xff, 0xfe, 0xc6, 0xff, 0xff, 0xfe, 0xfd, 0xff, 0xff, 0xfe,
        0xfb, 0xff, 0xff, 0xfe, 0xcd, 0xff, 0xff, 0xfe, 0xff,
    ];
    let sound: &[u8] = &[255, 1, 0, 2, 3, 2, 0, 0, 0xac, 0x44, 255, 1, 0, 0];
    let silence: &[u8] = &[255, 1, 0, 1];
    let mut seeds = Vec::new();
    for (first, encoding) in [(0, 0), (4, 5), (10, 16), (12, 16), (18, 5), (0, 2), (4, 6), (10, 7), (12, 7)] {
        let encodings = encodings(encoding);
        let messages: [&[u8]; 22] = [
            b"RFB 003.008\n",
            &[1],
            &[1],
            &encodings,
            ask,
            input,
            again,
            format,
            again,
            extended,
            table,
            ask,
            size,
            again,
            more,
            fence,
            fence,
            desk,
            again,
            sound,
            ask,
            silence,
        ];
        seeds.push(pieces(first, &messages));
    }
    seeds.push(pieces(0, &[b"RFB 003.003\n", &[1], ask, again]));
    seeds.push(pieces(0, &[b"RFB 003.007\n", &[1], &[0], ask]));
    // VeNCrypt: its version, a type, and what follows when all is encrypted.
    seeds.push(pieces(0x80, &[b"RFB 003.008\n", &[19], &[0, 2], &[0, 0, 1, 4], &[1], desk, ask]));
    let plain: &[u8] = b"\0\0\0\x02\0\0\0\x06mesecret";
    seeds.push(pieces(0x81, &[b"RFB 003.008\n", &[19], &[0, 2], &[0, 0, 1, 6], plain, &[1], ask]));
    seeds.push(pieces(0x81, &[b"RFB 003.008\n", &[19], &[0, 1]]));
    // With a password: the third piece is the answer.
    let mut known = pieces(1, &[b"RFB 003.008\n", &[2]]);
    known.extend([0xc0, 0x40]);
    known.extend(pieces(1, &[&[1], ask]).into_iter().skip(1));
    seeds.push(known);
    seeds.push(pieces(1, &[b"RFB 003.008\n", &[2], &[0; 16], ask]));
    seeds
}
