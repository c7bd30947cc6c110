//! Updates of the screen (RFC 6143, 7.6.1).

use devices_core::picture::{Frame, Pointer};

use super::{Abilities, OUTPUT, Session};
use crate::vnc::encode::header;
use crate::vnc::format::PixelFormat;
use crate::vnc::spec::{desktop_size, encoding, fence, server};
use crate::vnc::tiles::{Rect, Seen, Tiles, size};

/// A rectangle that has no pixels, with what follows its header.
struct Pseudo {
    rect: Rect,
    encoding: i32,
    body: Vec<u8>,
}

/// What there is to be told.
#[derive(Clone, Copy)]
pub struct News<'a> {
    /// What the screen shows.
    pub frame: &'a dyn Frame,
    /// The guest has a pointer that takes positions.
    pub absolute: bool,
    /// Lights of its keyboard.
    pub lights: u8,
    /// What the screen is called.
    pub name: &'a str,
}

impl Session {
    /// Says what is no part of an update, between two of them.
    pub fn interject(&mut self) {
        if !self.is_up() || !self.update.is_empty() {
            return;
        }
        if std::mem::take(&mut self.untold.fence) {
            // One of ours says that we know them; the answer means nothing to us.
            self.fences.insert(0, (fence::REQUEST, Vec::new()));
        }
        for (flags, content) in self.fences.drain(..) {
            self.out.extend([server::FENCE, 0, 0, 0]);
            self.out.extend(flags.to_be_bytes());
            self.out.push(content.len() as u8);
            self.out.extend(content);
        }
        if std::mem::take(&mut self.untold.end_of_continuous) {
            self.out.push(server::END_OF_CONTINUOUS_UPDATES);
        }
    }

    /// What the client wants to see, asked for or not.
    fn wanted(&self) -> Option<Rect> {
        match (self.request, self.continuous) {
            (Some(request), Some(continuous)) => Some(request.around(continuous)),
            (request, continuous) => request.or(continuous),
        }
    }

    /// Whether the client waits for an update and has got all that was there before.
    pub fn waits_for_update(&self) -> bool {
        self.is_up() && self.wanted().is_some() && self.update.is_empty() && self.output().is_empty()
    }

    /// Parts of the picture have changed.
    pub fn damage(&mut self, tiles: &Tiles) {
        self.dirty.add(tiles);
    }

    /// Starts an update if the client waits for one and there is something to tell.
    pub fn begin_update(&mut self, news: News<'_>) -> bool {
        let Some(request) = self.wanted().filter(|_| self.waits_for_update()) else { return false };
        self.settle();
        let now = size_of(news.frame);
        let resized = now != self.size && self.follow(now);
        let mut pseudo = self.pseudo(resized, news.absolute);
        self.point(news, &mut pseudo);
        self.announce(news, &mut pseudo);
        // After a change of size the client asks anew.
        self.update = if resized { Vec::new() } else { self.dirty.take(request) };
        let count = pseudo.len() + self.update.len();
        if count == 0 {
            return false;
        }
        self.update.reverse();
        self.request = None;
        // `take` gives some 10000 rectangles at most.
        self.out.extend([server::UPDATE, 0]);
        self.out.extend((count as u16).to_be_bytes());
        for Pseudo { rect, encoding, body } in pseudo {
            header(&mut self.out, rect, encoding);
            self.out.extend(body);
        }
        true
    }

    /// What the client asked for since the last update takes effect: it cannot know where in an update it
    /// would.
    fn settle(&mut self) {
        if let Some(format) = self.format.take() {
            self.encoder.set_format(&format);
        }
        self.encoder.set_encoding(self.abilities.encoding.unwrap_or_default(), self.abilities.packing);
        if std::mem::take(&mut self.untold.colours) {
            self.out.extend([server::COLOUR_MAP, 0, 0, 0, 1, 0]);
            self.out.extend(PixelFormat::table().flatten().flat_map(u16::to_be_bytes));
        }
    }

    /// Takes a new size, if the client can.
    fn follow(&mut self, now: (u16, u16)) -> bool {
        if !self.abilities.desktop_size && !self.abilities.extended_desktop_size {
            return false;
        }
        self.size = now;
        self.dirty = Tiles::none(now.0, now.1);
        self.damage_all();
        true
    }

    fn pseudo(&mut self, resized: bool, absolute: bool) -> Vec<Pseudo> {
        let (width, height) = self.size;
        let mut list = Vec::new();
        if std::mem::take(&mut self.untold.extended_key) {
            list.push(Pseudo { rect: Rect::default(), encoding: encoding::EXTENDED_KEY, body: Vec::new() });
        }
        if self.abilities.pointer_change && self.told.absolute != Some(absolute) {
            self.told.absolute = Some(absolute);
            self.at = None;
            let rect = Rect { x: u16::from(absolute), y: 0, width, height };
            list.push(Pseudo { rect, encoding: encoding::POINTER_CHANGE, body: Vec::new() });
        }
        let untold = self.untold.size.take();
        if self.abilities.extended_desktop_size {
            let of_server = (desktop_size::BY_SERVER, desktop_size::DONE);
            if let Some((x, y)) = untold.or(resized.then_some(of_server)) {
                let rect = Rect { x, y, width, height };
                list.push(Pseudo {
                    rect,
                    encoding: encoding::EXTENDED_DESKTOP_SIZE,
                    body: screens(self.size),
                });
            }
        } else if resized {
            let rect = Rect { x: 0, y: 0, width, height };
            list.push(Pseudo { rect, encoding: encoding::DESKTOP_SIZE, body: Vec::new() });
        }
        list
    }

    /// The pointer: the client shows it, or it is drawn into its picture.
    fn point(&mut self, news: News<'_>, list: &mut Vec<Pseudo>) {
        let Abilities { cursor, cursor_with_alpha: alpha, .. } = self.abilities;
        let pointer = news.frame.pointer();
        let shows = news.absolute && (cursor || alpha);
        let drawn = pointer.clone().filter(|_| !shows);
        if drawn != self.drawn {
            let before = std::mem::replace(&mut self.drawn, drawn);
            let places: Vec<Rect> = [&before, &self.drawn].into_iter().flatten().map(place).collect();
            places.into_iter().for_each(|place| self.dirty.set_rect(place));
        }
        let shape = pointer.filter(|_| shows).map(|pointer| pointer.shape);
        let known = match &self.told.shape {
            // Its own pointer is as good as none of ours.
            None => shape.is_none(),
            Some(told) => *told == shape,
        };
        if known || !(cursor || alpha) {
            return;
        }
        let encoding = if alpha { encoding::CURSOR_WITH_ALPHA } else { encoding::CURSOR };
        let (rect, body) = match &shape {
            Some(shape) => {
                let ((x, y), (width, height)) = (shape.hot, shape.size);
                (Rect { x, y, width, height }, self.encoder.shape(shape, alpha))
            }
            None if alpha => (Rect::default(), encoding::RAW.to_be_bytes().to_vec()),
            None => (Rect::default(), Vec::new()),
        };
        self.told.shape = Some(shape);
        list.push(Pseudo { rect, encoding, body });
    }

    /// Lights, the screen's name, and that there is sound.
    fn announce(&mut self, news: News<'_>, list: &mut Vec<Pseudo>) {
        if self.abilities.led_state && self.told.lights != Some(news.lights) {
            self.told.lights = Some(news.lights);
            let rect = Rect { x: 0, y: 0, width: 1, height: 1 };
            list.push(Pseudo { rect, encoding: encoding::LED_STATE, body: vec![news.lights] });
        }
        if self.abilities.desktop_name && self.told.name != news.name {
            self.told.name = news.name.to_owned();
            let mut body = (news.name.len() as u32).to_be_bytes().to_vec();
            body.extend(news.name.as_bytes());
            list.push(Pseudo { rect: Rect::default(), encoding: encoding::DESKTOP_NAME, body });
        }
        if std::mem::take(&mut self.untold.audio) {
            list.push(Pseudo { rect: Rect::default(), encoding: encoding::AUDIO, body: Vec::new() });
        }
    }

    /// Whether there is more of an update, and room for it.
    pub fn can_encode(&self) -> bool {
        !self.update.is_empty() && self.output().len() < OUTPUT
    }

    /// Encodes the next rectangle of the update.
    pub fn encode(&mut self, frame: &dyn Frame, seen: &mut Seen) {
        if self.can_encode()
            && let Some(rect) = self.update.pop()
        {
            self.encoder.rect(&mut self.out, frame, rect, seen, self.drawn.as_ref());
        }
    }
}

/// A screen of no pixels at all would confuse clients.
pub fn size_of(frame: &dyn Frame) -> (u16, u16) {
    let (width, height) = size(frame);
    (width.max(1), height.max(1))
}

/// Where a pointer is on a screen; what is beyond the left and upper edge is cut off.
fn place(pointer: &Pointer) -> Rect {
    let part = |at: i32, len: u16| {
        let end = at.saturating_add(len.into()).clamp(0, 0xffff);
        let from = at.clamp(0, 0xffff);
        (from as u16, (end - from).max(0) as u16)
    };
    let ((x, width), (y, height)) =
        (part(pointer.at.0, pointer.shape.size.0), part(pointer.at.1, pointer.shape.size.1));
    Rect { x, y, width, height }
}

/// One screen, number 0, as large as the framebuffer.
fn screens((width, height): (u16, u16)) -> Vec<u8> {
    let mut body = vec![1, 0, 0, 0];
    body.extend(0u32.to_be_bytes());
    for value in [0, 0, width, height] {
        body.extend(value.to_be_bytes());
    }
    body.extend(0u32.to_be_bytes());
    body
}
