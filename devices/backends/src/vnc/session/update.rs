//! Updates of the screen (RFC 6143, 7.6.1).

use devices_core::picture::Frame;

use super::{OUTPUT, Session};
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

    /// Starts an update if the client waits for one and there is something to tell. `absolute` is the kind
    /// of pointer that the guest has.
    pub fn begin_update(&mut self, frame: &dyn Frame, absolute: bool) -> bool {
        let Some(request) = self.wanted().filter(|_| self.waits_for_update()) else { return false };
        self.settle();
        let now = size_of(frame);
        let resized = now != self.size && self.follow(now);
        let pseudo = self.pseudo(resized, absolute);
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
        if self.abilities.pointer_change && self.pointer_told != Some(absolute) {
            self.pointer_told = Some(absolute);
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

    /// Whether there is more of an update, and room for it.
    pub fn can_encode(&self) -> bool {
        !self.update.is_empty() && self.output().len() < OUTPUT
    }

    /// Encodes the next rectangle of the update.
    pub fn encode(&mut self, frame: &dyn Frame, seen: &mut Seen) {
        if self.can_encode()
            && let Some(rect) = self.update.pop()
        {
            self.encoder.rect(&mut self.out, frame, rect, seen);
        }
    }
}

/// A screen of no pixels at all would confuse clients.
pub fn size_of(frame: &dyn Frame) -> (u16, u16) {
    let (width, height) = size(frame);
    (width.max(1), height.max(1))
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
