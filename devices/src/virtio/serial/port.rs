//! A port: what goes out and comes in by it.

use std::sync::Arc;

use devices_core::chardev::CharBackend;

use super::super::common::Common;
use super::super::queue::{Chain, len, read_at, write_at};
use super::spec::queue;

/// Bytes that are moved at a time, and most that wait in a port for a buffer.
pub(super) const PIECE: usize = 4096;
/// Most bytes that one call moves in one direction.
const BYTES: usize = 256 << 10;
/// Most requests of one queue that one call takes.
const BURST: usize = 256;
/// How long a console waits for a line that takes nothing, in nanoseconds of guest time.
pub(super) const PATIENCE: u64 = 1_000_000_000;

/// What is at the host's end of a port, and what the driver is told of it.
pub struct PortConfig {
    /// Its number.
    pub number: u32,
    /// It is a console (`virtconsole`), which is always open at the host's end.
    pub console: bool,
    /// What the driver calls it by; empty: it has none.
    pub name: String,
    /// The host's end, which wakes the device with the port's number; none: nowhere.
    pub backend: Option<Arc<dyn CharBackend>>,
}

/// How far a call got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    /// As far as there is something to do.
    All,
    /// There is more.
    More,
}

/// A port.
pub(super) struct Port {
    pub(super) config: PortConfig,
    /// The driver has it open.
    pub(super) guest_open: bool,
    /// Somebody is at the host's end, as the driver was told.
    pub(super) host_open: bool,
    /// A request of which so many bytes have gone out.
    pub(super) output: Option<(Chain, u64)>,
    /// What came in, and had no buffer left.
    pub(super) input: Vec<u8>,
    /// Until when a console waits for the line.
    pub(super) patience: Option<u64>,
    /// It has waited so long: until the line takes everything again, what it does not take is lost.
    pub(super) lossy: bool,
    /// Columns and rows of a console.
    pub(super) size: (u16, u16),
}

impl Port {
    pub(super) fn new(config: PortConfig) -> Port {
        Port {
            guest_open: false,
            host_open: config.console,
            config,
            output: None,
            input: Vec::new(),
            patience: None,
            lossy: false,
            size: (0, 0),
        }
    }

    /// What is at the host's end now. The driver is not told: it has not heard of the port.
    pub(super) fn refresh(&mut self) {
        (self.host_open, self.size) = (self.is_connected(), self.seen_size());
    }

    /// Whether somebody is at the host's end now.
    pub(super) fn is_connected(&self) -> bool {
        self.config.console || self.config.backend.as_ref().is_some_and(|backend| backend.connected())
    }

    /// The size of the console, as the host's end has it now.
    pub(super) fn seen_size(&self) -> (u16, u16) {
        let backend = self.config.backend.as_ref().filter(|_| self.config.console);
        backend.and_then(|backend| backend.size()).unwrap_or_default()
    }

    /// The driver has reset the device. What the host has sent, and nobody has read, is for the next driver.
    pub(super) fn reset(&mut self) {
        self.output = None;
        (self.patience, self.lossy) = (None, false);
    }

    /// Gives requests back as they are.
    pub(super) fn discard(&mut self, common: &mut Common) -> Moved {
        let queue = queue::tx(self.config.number);
        (self.patience, self.lossy) = (None, false);
        if let Some((chain, _)) = self.output.take() {
            common.push(queue, &chain, 0);
        }
        discard(common, queue)
    }

    /// Puts out what the driver has, at that instant of guest time.
    pub(super) fn transmit(&mut self, common: &mut Common, now: u64) -> Moved {
        if !self.host_open || self.config.backend.is_none() {
            return self.discard(common);
        }
        let queue = queue::tx(self.config.number);
        let mut left = BYTES;
        for _ in 0..BURST {
            let (chain, mut from) = match self.output.take() {
                Some(output) => output,
                None => {
                    let mut chain = Chain::default();
                    if !common.pop(queue, &mut chain) {
                        if common.enable_notification(queue) {
                            continue;
                        }
                        return Moved::All;
                    }
                    (chain, 0)
                }
            };
            let all = self.put(common, &chain, &mut from, &mut left, now);
            if from < len(&chain.readable) {
                self.output = Some((chain, from));
                return all;
            }
            common.push(queue, &chain, 0);
        }
        Moved::More
    }

    /// Puts out one request from `from` on, as far as it goes.
    fn put(&mut self, common: &Common, chain: &Chain, from: &mut u64, left: &mut usize, now: u64) -> Moved {
        let Some(backend) = self.config.backend.clone() else { return Moved::All };
        let end = len(&chain.readable);
        let mut piece = [0; PIECE];
        while *from < end {
            if *left == 0 {
                return Moved::More;
            }
            let most = PIECE.min(*left);
            let Some(bytes) = read_at(common.dma(), &chain.readable, *from, &mut piece[..most]) else {
                // It is no RAM any more, or the bus was taken away: what was there is lost.
                *from = end;
                return Moved::All;
            };
            let taken = backend.write(&piece[..bytes]).min(bytes);
            *left -= bytes;
            *from += taken as u64;
            if taken == bytes {
                (self.patience, self.lossy) = (None, false);
            } else if !self.config.console {
                return Moved::All;
            } else if self.lossy {
                *from += (bytes - taken) as u64;
            } else {
                // A kernel's console waits for us with its locks held.
                self.patience = self.patience.or(now.checked_add(PATIENCE));
                return Moved::All;
            }
        }
        Moved::All
    }

    /// Gives the driver what has come in, as far as it has buffers.
    pub(super) fn receive(&mut self, common: &mut Common) -> Moved {
        let Some(backend) = self.config.backend.clone().filter(|_| self.guest_open) else {
            return Moved::All;
        };
        let queue = queue::rx(self.config.number);
        let mut left = BYTES;
        for _ in 0..BURST {
            // It says whether there is a buffer, too.
            if !common.enable_notification(queue) {
                return Moved::All;
            }
            if self.input.is_empty() {
                let mut piece = [0; PIECE];
                let bytes = backend.read(&mut piece).min(PIECE);
                if bytes == 0 {
                    return Moved::All;
                }
                self.input.extend_from_slice(&piece[..bytes]);
            }
            let mut chain = Chain::default();
            if !common.pop(queue, &mut chain) {
                return Moved::All;
            }
            let written = write_at(common.dma(), &chain.writable, 0, &self.input).unwrap_or(0);
            self.input.drain(..written);
            common.push(queue, &chain, written as u32);
            left = left.saturating_sub(written);
            if left == 0 {
                break;
            }
        }
        Moved::More
    }
}

/// Gives the requests of a queue back as they are.
pub(super) fn discard(common: &mut Common, queue: u16) -> Moved {
    let mut chain = Chain::default();
    for _ in 0..BURST {
        if common.pop(queue, &mut chain) {
            common.push(queue, &chain, 0);
        } else if !common.enable_notification(queue) {
            return Moved::All;
        }
    }
    Moved::More
}
