//! One client's conversation: bytes in, events and bytes out. No socket, no clock.

mod handshake;
mod sound;
mod update;

use std::sync::Arc;

use devices_core::picture::{Pointer, PointerShape};

use super::encode::{Encoder, Encoding, Packing};
use super::format::PixelFormat;
use super::spec::{self, client, encoding};
use super::tiles::{Rect, Tiles};
use super::{Input, Keystroke, Motion, PointerEvent};
use handshake::Phase;
pub use sound::Sound;
pub use update::{News, size_of};

/// Most keys that are released for a client that is gone.
const HELD: usize = 64;
/// Most fences that wait to be answered; a client that waits for no answer is none.
const FENCES: usize = 64;
/// Most bytes that wait to be sent before the next rectangle is encoded.
const OUTPUT: usize = 1 << 16;

/// The connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hangup;

/// What a session needs of the server while it takes input.
pub struct Host<'a> {
    /// Where keys and pointer go.
    pub input: &'a dyn Input,
    /// Whether the guest can be told of another size of its monitor.
    pub resizes: bool,
    /// Whether there is sound to be heard.
    pub has_sound: bool,
    /// Whether a password is needed.
    pub needs_password: bool,
    /// Whether the stream must be encrypted, and is not.
    pub needs_tls: bool,
    /// The password, once there is one.
    pub password: Option<&'a [u8]>,
}

/// What a client says it understands.
#[derive(Clone, Copy, Debug, Default)]
struct Abilities {
    encoding: Option<Encoding>,
    packing: Packing,
    desktop_size: bool,
    extended_desktop_size: bool,
    desktop_name: bool,
    pointer_change: bool,
    cursor: bool,
    cursor_with_alpha: bool,
    led_state: bool,
    fence: bool,
    continuous_updates: bool,
}

/// What is left of a message that is longer than its head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// Bytes that mean nothing to us.
    Skip(u32),
    /// Numbers of encodings.
    Encodings(u16),
}

/// What a client was told last, as far as it can be told; none: nothing yet.
#[derive(Debug, Default)]
struct Told {
    /// The kind of pointer that the guest has.
    absolute: Option<bool>,
    /// What the pointer looks like that the client shows, if it shows one.
    shape: Option<Option<Arc<PointerShape>>>,
    lights: Option<u8>,
    name: String,
}

/// What the client has not been told yet.
#[derive(Clone, Copy, Debug, Default)]
struct Untold {
    /// The colours of the table.
    colours: bool,
    /// That we understand the extended key event.
    extended_key: bool,
    /// That there is sound.
    audio: bool,
    /// That we understand fences.
    fence: bool,
    /// That updates come no more without being asked for, which also says that they can.
    end_of_continuous: bool,
    /// The size, in the extended form: who asked, and the answer.
    size: Option<(u16, u16)>,
}

/// One client's conversation.
pub struct Session {
    phase: Phase,
    /// The client was told that it is alone.
    exclusive: bool,
    /// The beginning of a message.
    input: Vec<u8>,
    rest: Rest,
    /// Messages, and pieces of long ones, that may still be taken before [`Session::allow`].
    allowed: u32,
    out: Vec<u8>,
    sent: usize,
    abilities: Abilities,
    format: Option<PixelFormat>,
    encoder: Encoder,
    untold: Untold,
    told: Told,
    /// The pointer that is drawn into its picture.
    drawn: Option<Pointer>,
    /// The size that it wants the guest's monitor to have.
    resize: Option<(u16, u16)>,
    sound: Sound,
    /// The screen's size as the client knows it.
    size: (u16, u16),
    /// What the client has not got.
    dirty: Tiles,
    /// What the client asks for.
    request: Option<Rect>,
    /// What it asks for without asking each time.
    continuous: Option<Rect>,
    /// Fences that are to be answered: flags and content.
    fences: Vec<(u32, Vec<u8>)>,
    /// What is left of an update, last first.
    update: Vec<Rect>,
    held: Vec<Keystroke>,
    buttons: u8,
    at: Option<(u16, u16)>,
}

impl Session {
    /// A conversation at its beginning: we speak first.
    pub fn new() -> Session {
        Session {
            phase: Phase::Version,
            exclusive: false,
            input: Vec::new(),
            rest: Rest::Skip(0),
            allowed: 0,
            out: spec::VERSION.to_vec(),
            sent: 0,
            abilities: Abilities::default(),
            format: None,
            encoder: Encoder::new(),
            untold: Untold::default(),
            told: Told::default(),
            drawn: None,
            resize: None,
            sound: Sound::default(),
            size: (1, 1),
            dirty: Tiles::default(),
            request: None,
            continuous: None,
            fences: Vec::new(),
            update: Vec::new(),
            held: Vec::new(),
            buttons: 0,
            at: None,
        }
    }

    /// Lets it take so many messages from now on.
    pub fn allow(&mut self, messages: u32) {
        self.allowed = messages;
    }

    /// Whether it has taken all the messages it may.
    pub fn exhausted(&self) -> bool {
        self.allowed == 0
    }

    /// Whether bytes may be fed.
    pub fn wants_input(&self) -> bool {
        self.allowed > 0 && !matches!(self.phase, Phase::Picture { .. } | Phase::Tls { .. } | Phase::Closing)
    }

    /// What is to be sent.
    pub fn output(&self) -> &[u8] {
        self.out.get(self.sent..).unwrap_or_default()
    }

    /// So much of it has been.
    pub fn sent(&mut self, len: usize) {
        self.sent += len;
        if self.sent >= self.out.len() {
            self.sent = 0;
            self.out.clear();
            self.out.shrink_to(OUTPUT);
        }
    }

    /// Takes what the client sent. What must wait, for [`allow`](Session::allow) or for the rest of a
    /// message, is kept: `data` and some 20 bytes at most.
    pub fn feed(&mut self, data: &[u8], host: &Host<'_>) -> Result<(), Hangup> {
        let mut input = std::mem::take(&mut self.input);
        input.extend(data);
        let mut done = 0;
        while self.wants_input() {
            let rest = input.get(done..).unwrap_or_default();
            match self.step(rest, host)? {
                0 => break,
                used => done += used,
            }
        }
        self.input = input.get(done..).unwrap_or_default().to_vec();
        Ok(())
    }

    /// Takes one message, or a piece of a long one. Gives the bytes that were used; none if there are too
    /// few.
    fn step(&mut self, data: &[u8], host: &Host<'_>) -> Result<usize, Hangup> {
        if self.phase != Phase::Normal {
            return self.shake(data, host);
        }
        let used = match self.rest {
            Rest::Skip(0) | Rest::Encodings(0) => self.message(data, host)?,
            Rest::Skip(left) => {
                let now = data.len().min(left as usize);
                self.rest = Rest::Skip(left - now as u32);
                now
            }
            Rest::Encodings(left) => {
                let Some(&number) = data.first_chunk::<4>() else { return Ok(0) };
                self.rest = Rest::Encodings(left - 1);
                self.add_encoding(i32::from_be_bytes(number), host);
                number.len()
            }
        };
        if used > 0 {
            self.allowed = self.allowed.saturating_sub(1);
        }
        Ok(used)
    }

    fn message(&mut self, data: &[u8], host: &Host<'_>) -> Result<usize, Hangup> {
        let Some(&kind) = data.first() else { return Ok(0) };
        Ok(match (kind, data) {
            (client::SET_PIXEL_FORMAT, [_, _, _, _, rest @ ..]) => {
                let Some(&raw) = rest.first_chunk::<16>() else { return Ok(0) };
                let format = PixelFormat::parse(raw).ok_or(Hangup)?;
                self.untold.colours = !format.true_colour;
                self.format = Some(format);
                20
            }
            (client::SET_ENCODINGS, &[_, _, a, b, ..]) => {
                // These cannot be taken back: an answer to what was said before may be on its way.
                let Abilities { fence, continuous_updates, .. } = self.abilities;
                self.abilities = Abilities { fence, continuous_updates, ..Abilities::default() };
                self.rest = Rest::Encodings(u16::from_be_bytes([a, b]));
                4
            }
            (client::UPDATE_REQUEST, &[_, incremental, x0, x1, y0, y1, w0, w1, h0, h1, ..]) => {
                let [x, y, width, height] = [[x0, x1], [y0, y1], [w0, w1], [h0, h1]].map(u16::from_be_bytes);
                self.ask(Rect { x, y, width, height }, incremental != 0);
                10
            }
            (client::KEY, &[_, down, _, _, a, b, c, d, ..]) => {
                let keysym = u32::from_be_bytes([a, b, c, d]);
                self.key(Keystroke { keysym, scancode: None }, down != 0, host.input);
                8
            }
            (client::POINTER, &[_, buttons, x0, x1, y0, y1, ..]) => {
                self.pointer(buttons, [[x0, x1], [y0, y1]].map(u16::from_be_bytes), host.input);
                6
            }
            (client::CUT_TEXT, &[_, _, _, _, a, b, c, d, ..]) => {
                let len = u32::from_be_bytes([a, b, c, d]);
                if len > spec::CUT_TEXT_MAX {
                    return Err(Hangup);
                }
                self.rest = Rest::Skip(len);
                8
            }
            (client::CONTINUOUS_UPDATES, _) if !self.abilities.continuous_updates => return Err(Hangup),
            (client::CONTINUOUS_UPDATES, &[_, on, x0, x1, y0, y1, w0, w1, h0, h1, ..]) => {
                let [x, y, width, height] = [[x0, x1], [y0, y1], [w0, w1], [h0, h1]].map(u16::from_be_bytes);
                self.continuous = (on != 0).then_some(Rect { x, y, width, height });
                self.untold.end_of_continuous |= on == 0;
                10
            }
            (client::FENCE, _) if !self.abilities.fence => return Err(Hangup),
            (client::FENCE, &[_, _, _, _, a, b, c, d, len, ref rest @ ..]) => {
                let len = usize::from(len);
                if len > spec::fence::LONGEST || self.fences.len() >= FENCES {
                    return Err(Hangup);
                }
                let Some(content) = rest.get(..len) else { return Ok(0) };
                let flags = u32::from_be_bytes([a, b, c, d]);
                // What came before it has been done; of what comes after it nothing is promised.
                let known = spec::fence::BLOCK_BEFORE;
                if flags & spec::fence::REQUEST != 0 {
                    self.fences.push((flags & known, content.to_vec()));
                }
                9 + len
            }
            (client::SET_DESKTOP_SIZE, &[_, _, w0, w1, h0, h1, screens, _, ..]) => {
                self.rest = Rest::Skip(u32::from(screens) * 16);
                let size = (u16::from_be_bytes([w0, w1]), u16::from_be_bytes([h0, h1]));
                self.untold.size = Some((spec::desktop_size::BY_CLIENT, self.set_size(size, screens, host)));
                8
            }
            (client::QEMU, &[_, client::QEMU_AUDIO, a, b, ref rest @ ..]) if host.has_sound => {
                self.sound.message(u16::from_be_bytes([a, b]), rest)?
            }
            (client::QEMU, &[_, client::QEMU_AUDIO, ..]) if host.has_sound => 0,
            (client::QEMU, &[_, kind, ..]) if kind != client::QEMU_KEY => return Err(Hangup),
            (client::QEMU, &[_, _, down0, down1, s0, s1, s2, s3, c0, c1, c2, c3, ..]) => {
                let keysym = u32::from_be_bytes([s0, s1, s2, s3]);
                let scancode = scancode(u32::from_be_bytes([c0, c1, c2, c3]));
                self.key(Keystroke { keysym, scancode }, down0 | down1 != 0, host.input);
                12
            }
            (
                client::SET_PIXEL_FORMAT
                | client::SET_ENCODINGS
                | client::UPDATE_REQUEST
                | client::KEY
                | client::POINTER
                | client::CUT_TEXT
                | client::CONTINUOUS_UPDATES
                | client::FENCE
                | client::SET_DESKTOP_SIZE
                | client::QEMU,
                _,
            ) => 0,
            // Where the next message begins cannot be known.
            _ => return Err(Hangup),
        })
    }

    /// The client wants another size; what it is answered.
    fn set_size(&mut self, (width, height): (u16, u16), screens: u8, host: &Host<'_>) -> u16 {
        let sides = 1..=spec::desktop_size::SIDE_MAX;
        if !host.resizes {
            return spec::desktop_size::PROHIBITED;
        }
        // There is one monitor, as large as all of it.
        if screens != 1 || !sides.contains(&width) || !sides.contains(&height) {
            return spec::desktop_size::INVALID_LAYOUT;
        }
        self.resize = Some((width, height));
        spec::desktop_size::FORWARDED
    }

    /// The size that the client wants since this was last asked.
    pub fn take_resize(&mut self) -> Option<(u16, u16)> {
        self.resize.take()
    }

    /// What it hears.
    pub fn sound(&mut self) -> &mut Sound {
        &mut self.sound
    }

    fn add_encoding(&mut self, number: i32, host: &Host<'_>) {
        match number {
            encoding::DESKTOP_SIZE => self.abilities.desktop_size = true,
            encoding::EXTENDED_DESKTOP_SIZE => {
                self.abilities.extended_desktop_size = true;
                let told = (spec::desktop_size::BY_SERVER, spec::desktop_size::DONE);
                self.untold.size.get_or_insert(told);
            }
            encoding::POINTER_CHANGE => {
                self.abilities.pointer_change = true;
                self.told.absolute = None;
            }
            encoding::CURSOR => self.abilities.cursor = true,
            encoding::CURSOR_WITH_ALPHA => self.abilities.cursor_with_alpha = true,
            encoding::LED_STATE => {
                self.abilities.led_state = true;
                self.told.lights = None;
            }
            encoding::DESKTOP_NAME => self.abilities.desktop_name = true,
            encoding::AUDIO => self.untold.audio = host.has_sound,
            encoding::FENCE => {
                self.untold.fence |= !self.abilities.fence;
                self.abilities.fence = true;
            }
            encoding::CONTINUOUS_UPDATES => {
                self.untold.end_of_continuous |= !self.abilities.continuous_updates;
                self.abilities.continuous_updates = true;
            }
            encoding::EXTENDED_KEY => self.untold.extended_key = true,
            _ if encoding::QUALITY.contains(&number) => {
                self.abilities.packing.quality = Some((number - encoding::QUALITY.start()) as u8);
            }
            _ if encoding::LEVEL.contains(&number) => {
                self.abilities.packing.level = Some((number - encoding::LEVEL.start()) as u8);
            }
            // The first is the one that the client likes best.
            _ if self.abilities.encoding.is_none() => {
                self.abilities.encoding = Encoding::by_number(number);
            }
            _ => {}
        }
    }

    fn ask(&mut self, rect: Rect, incremental: bool) {
        if !incremental {
            self.dirty.set_rect(rect);
        }
        self.request = Some(self.request.map_or(rect, |before| before.around(rect)));
    }

    fn key(&mut self, key: Keystroke, down: bool, input: &dyn Input) {
        self.held.retain(|held| *held != key);
        if down {
            if self.held.len() >= HELD {
                self.held.remove(0);
            }
            self.held.push(key);
        }
        input.key(key, down);
    }

    fn pointer(&mut self, buttons: u8, [x, y]: [u16; 2], input: &dyn Input) {
        let pressed = buttons & !self.buttons;
        self.buttons = buttons;
        let deltas = self.abilities.pointer_change && self.told.absolute == Some(false);
        let motion = if input.absolute() {
            let (width, height) = self.size;
            Motion::To {
                x: x.min(width.saturating_sub(1)),
                y: y.min(height.saturating_sub(1)),
                width,
                height,
            }
        } else if deltas {
            Motion::By { dx: i32::from(x) - spec::STILL, dy: i32::from(y) - spec::STILL }
        } else {
            let (from_x, from_y) = self.at.unwrap_or((x, y));
            Motion::By { dx: i32::from(x) - i32::from(from_x), dy: i32::from(y) - i32::from(from_y) }
        };
        // Positions and movements do not continue each other.
        self.at = (!deltas).then_some((x, y));
        let step = |bit: u8| i32::from(pressed & bit != 0);
        input.pointer(PointerEvent {
            motion,
            wheel: step(0x10) - step(0x08),
            buttons: held_buttons(buttons),
        });
    }

    /// Releases what the client holds: it is gone.
    pub fn release(&mut self, input: &dyn Input) {
        for key in std::mem::take(&mut self.held) {
            input.key(key, false);
        }
        if held_buttons(self.buttons) != 0 {
            let motion = match input.absolute() {
                true => {
                    let ((x, y), (width, height)) = (self.at.unwrap_or_default(), self.size);
                    Motion::To { x: x.min(width - 1), y: y.min(height - 1), width, height }
                }
                false => Motion::By { dx: 0, dy: 0 },
            };
            input.pointer(PointerEvent { motion, wheel: 0, buttons: 0 });
        }
    }
}

/// The protocol has left, middle and right in bits 0 to 2.
fn held_buttons(buttons: u8) -> u8 {
    buttons & 1 | buttons >> 1 & 2 | buttons << 1 & 4
}

/// A key's code of set 1; some clients leave the prefix before it.
fn scancode(code: u32) -> Option<u8> {
    match code {
        1..=0xff => Some(code as u8),
        0xe000..=0xe0ff => Some(code as u8 | 0x80),
        _ => None,
    }
}
