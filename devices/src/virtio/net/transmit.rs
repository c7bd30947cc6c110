//! Frames of the driver's.

use devices_core::net::{MAX_FRAME, Offload};

use super::super::common::Common;
use super::super::queue::{Broken, Chain, len, read_at};
use super::spec::queue;
use super::{Net, offload};

impl Net {
    /// Sends what the driver has in a queue, so many frames at most. False: there is more.
    pub(super) fn transmit(&mut self, common: &mut Common, pair: u16, most: usize) -> bool {
        let queue = queue::tx(pair);
        // One that the driver has taken out of use goes on to be emptied.
        let by = if pair < self.in_use { pair } else { 0 };
        if let Some((chain, frame, left)) = self.pairs[usize::from(pair)].held.take() {
            if self.link && !self.backend.send_by(by, &frame, left) {
                self.pairs[usize::from(pair)].held = Some((chain, frame, left));
                return true;
            }
            common.push(queue, &chain, 0);
            self.spare = frame;
        }
        for _ in 0..most {
            let mut chain = std::mem::take(&mut self.chain);
            if !common.pop(queue, &mut chain) {
                self.chain = chain;
                if common.enable_notification(queue) {
                    continue;
                }
                return true;
            }
            common.disable_notification(queue);
            let mut frame = std::mem::take(&mut self.spare);
            let Some(left) = self.fetch(common, &chain, &mut frame) else { return true };
            // With the cable out it goes nowhere.
            if self.link && !frame.is_empty() && !self.backend.send_by(by, &frame, left) {
                self.pairs[usize::from(pair)].held = Some((chain, frame, left));
                return true;
            }
            common.push(queue, &chain, 0);
            (self.chain, self.spare) = (chain, frame);
        }
        false
    }

    /// The frame of a chain, empty where it is none, and what is left to be done to it. None: the driver has broken the
    /// device.
    fn fetch(&self, common: &mut Common, chain: &Chain, frame: &mut Vec<u8>) -> Option<Offload> {
        let header = Net::header(common) as u64;
        let all = len(&chain.readable);
        frame.clear();
        if all < header || !chain.writable.is_empty() {
            common.fail(Broken("a frame to send has no header"));
            return None;
        }
        if all - header > MAX_FRAME as u64 {
            return Some(Offload::default());
        }
        let mut head = [0; Offload::LEN];
        frame.resize((all - header) as usize, 0);
        let read = read_at(common.dma(), &chain.readable, 0, &mut head)
            .and_then(|_| read_at(common.dma(), &chain.readable, header, frame));
        let left = read.and_then(|_| offload::left(offload::to_host(common), head, frame.len()));
        if left.is_none() {
            frame.clear();
        }
        Some(left.unwrap_or_default())
    }
}
