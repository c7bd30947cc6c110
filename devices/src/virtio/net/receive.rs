//! Frames to the driver.

use devices_core::net::{MAX_FRAME, Offload};

use super::super::common::Common;
use super::super::queue::{Chain, len, write_at};
use super::rss::{Found, Hashing};
use super::spec::{HASH_HEADER, HASH_REPORT, HASH_VALUE, NUM_BUFFERS, feature, queue};
use super::{Net, offload};

impl Net {
    /// Takes frames of a queue of the backend's as long as the driver has room, so many at most. False: there may be more.
    pub(super) fn receive(&mut self, common: &mut Common, pair: u16, most: usize) -> bool {
        let spreads = self.hashing.as_ref().is_some_and(Hashing::spreads);
        for _ in 0..most {
            if !self.link || !common.is_running() || !spreads && !self.has_buffer(common, pair) {
                return true;
            }
            let (frame, left) = match self.pairs[usize::from(pair)].frame.take() {
                Some(frame) => frame,
                None => {
                    let mut frame = std::mem::take(&mut self.spare);
                    let Some(left) = self.backend.receive_by(pair, &mut frame) else {
                        self.spare = frame;
                        return true;
                    };
                    (frame, left)
                }
            };
            // One that is left with more than the driver takes comes from before it said so.
            let fits =
                frame.len() <= MAX_FRAME && self.allowed.allow(left) && offload::to_guest(common).allow(left);
            if !fits || !self.filter.lets_in(&frame, self.address) {
                self.spare = frame;
                continue;
            }
            let found = self.hashing.as_ref().map(|hashing| hashing.look_at(&frame)).unwrap_or_default();
            let to = match &self.hashing {
                Some(hashing) if spreads => hashing.pair(found, self.in_use),
                _ => pair,
            };
            if spreads && !common.is_enabled(queue::rx(to)) {
                self.spare = frame;
                continue;
            }
            if !self.has_buffer(common, to) || !self.gather(common, to, frame.len()) {
                self.pairs[usize::from(pair)].frame = Some((frame, left));
                return true;
            }
            self.deliver(common, to, &frame, (left, found));
            self.spare = frame;
        }
        false
    }

    /// One more buffer of the driver's; false: there is none now.
    fn take_buffer(&mut self, common: &mut Common, pair: u16) -> bool {
        let queue = queue::rx(pair);
        let mut chain = std::mem::take(&mut self.chain);
        while !common.pop(queue, &mut chain) {
            if !common.enable_notification(queue) {
                self.chain = chain;
                return false;
            }
        }
        // As long as there are some, the driver need not say that there are more.
        common.disable_notification(queue);
        self.pairs[usize::from(pair)].buffers.push_back(chain);
        true
    }

    fn has_buffer(&mut self, common: &mut Common, pair: u16) -> bool {
        !self.pairs[usize::from(pair)].buffers.is_empty() || self.take_buffer(common, pair)
    }

    /// Has buffers for a frame, if the driver can have it spread over several. False: there are too few now.
    fn gather(&mut self, common: &mut Common, pair: u16, frame: usize) -> bool {
        if !common.has(feature::MRG_RXBUF) {
            return true;
        }
        let needed = (Net::header(common) + frame) as u64;
        let buffers = &self.pairs[usize::from(pair)].buffers;
        let mut room: u64 = buffers.iter().map(|buffer| len(&buffer.writable)).sum();
        while room < needed {
            if !self.take_buffer(common, pair) {
                return false;
            }
            room += self.pairs[usize::from(pair)].buffers.back().map_or(0, |buffer| len(&buffer.writable));
        }
        true
    }

    /// Puts a frame into buffers.
    fn deliver(&mut self, common: &mut Common, pair: u16, frame: &[u8], (left, found): (Offload, Found)) {
        let buffers = &mut self.pairs[usize::from(pair)].buffers;
        let header = Net::header(common);
        let needed = (header + frame.len()) as u64;
        let room = |buffer: &Chain| len(&buffer.writable);
        let (mut all, mut count) = (0, 0);
        let most = if common.has(feature::MRG_RXBUF) { usize::MAX } else { 1 };
        for buffer in buffers.iter().take(most) {
            if all >= needed {
                break;
            }
            (all, count) = (all + room(buffer), count + 1);
        }
        let mut head = [0; HASH_HEADER];
        head[..Offload::LEN].copy_from_slice(&left.bytes());
        head[NUM_BUFFERS..HASH_VALUE].copy_from_slice(&(count as u16).to_le_bytes());
        head[HASH_VALUE..HASH_REPORT].copy_from_slice(&found.hash.to_le_bytes());
        head[HASH_REPORT..HASH_REPORT + 2].copy_from_slice(&found.report.to_le_bytes());
        if all < needed || buffers.front().is_none_or(|first| room(first) < header as u64) {
            // It fits none that the driver has; the buffer is for the next.
            return;
        }
        let mut rest = frame;
        let mut filled = std::mem::take(&mut self.filled);
        for (number, buffer) in buffers.drain(..count).enumerate() {
            let from = if number == 0 { header as u64 } else { 0 };
            if number == 0 {
                write_at(common.dma(), &buffer.writable, 0, &head[..header]);
            }
            let now = ((room(&buffer) - from) as usize).min(rest.len());
            write_at(common.dma(), &buffer.writable, from, &rest[..now]);
            rest = &rest[now..];
            filled.push((buffer, from as u32 + now as u32));
        }
        // A driver that looks meanwhile must find all the buffers that the header tells of (5.1.6.4.1).
        common.push_all(queue::rx(pair), &filled);
        self.chain = filled.drain(..).next().map_or_else(Chain::default, |(buffer, _)| buffer);
        self.filled = filled;
    }
}
