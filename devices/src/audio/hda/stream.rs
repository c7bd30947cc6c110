//! Streams: what each is doing, and the buffers that it goes through.

use devices_core::audio::Format;
use devices_core::dma::Dma;
use serde::{Deserialize, Serialize};

use super::super::Pace;
use super::super::pace::MOST;
use super::registers::Registers;
use super::spec::{self, DESCRIPTOR_LEN, INPUTS, STREAMS, ctl, reg, sd, sts};

/// Most descriptors of one call.
const MOST_DESCRIPTORS: usize = 256;

/// A buffer of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Buffer {
    pub address: u64,
    pub len: u32,
    /// An interrupt when it has been gone through.
    pub ioc: bool,
}

/// A stream's engine, beside its registers.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Stream {
    pub pace: Pace,
    /// Descriptor of the buffer that it is in.
    pub index: u8,
    /// The buffer, as it was read.
    pub buffer: Option<Buffer>,
    /// Bytes of it that have gone over.
    pub offset: u32,
    /// Its number on the link and its frames, while it moves.
    pub moving: Option<(u8, Format)>,
}

/// First register of a stream.
pub(super) const fn base(stream: usize) -> usize {
    reg::STREAM + stream * reg::STREAM_LEN
}

/// Whether it goes to the codecs.
pub(super) const fn is_output(stream: usize) -> bool {
    stream >= INPUTS
}

/// Number and frames of a stream that is to move by its registers.
pub(super) fn wanted(registers: &Registers, stream: usize) -> Option<(u8, Format)> {
    let base = base(stream);
    let runs = registers.u8(base + sd::CTL) & (ctl::SRST | ctl::RUN) == ctl::RUN;
    let waits = registers.u8(reg::SSYNC) >> stream & 1 != 0;
    let number = registers.u8(base + sd::CTL_HIGH) >> 4;
    let format = spec::format(registers.u16(base + sd::FMT))?;
    (runs && !waits).then_some((number, format))
}

impl Stream {
    /// Reads the descriptor of the buffer that it is in. One that cannot be read stops it.
    pub fn fetch(&mut self, stream: usize, registers: &mut Registers, dma: &Dma) {
        let base = base(stream);
        let list = registers.u64(base + sd::BDPL);
        let mut descriptor = [0; DESCRIPTOR_LEN as usize];
        let at = list.checked_add(u64::from(self.index) * DESCRIPTOR_LEN);
        self.buffer = at.and_then(|at| dma.read(at, &mut descriptor).ok()).map(|()| {
            let [address, rest] = [0, 8].map(|at| {
                descriptor[at..at + 8].iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
            });
            Buffer { address, len: rest as u32, ioc: (rest >> 32) as u32 & spec::IOC != 0 }
        });
        if self.buffer.is_none() {
            let control = registers.u8(base + sd::CTL) & !ctl::RUN;
            registers.set(base + sd::CTL, &[control]);
            note(registers, base, sts::DESE);
        }
    }

    /// Frames that are to go over now, as bytes of silence. None are when it stands.
    pub fn due(&mut self, now: u64) -> Vec<u8> {
        let Some((_, format)) = self.moving else { return Vec::new() };
        self.pace.frames(now, format)
    }

    /// Goes on through the list, moving each piece of `bytes` by `carry`, which says whether memory was there. How much
    /// went over, which is less where the list has no buffers.
    pub fn carry(
        &mut self,
        stream: usize,
        registers: &mut Registers,
        dma: &Dma,
        bytes: &mut [u8],
        carry: impl Fn(u64, &mut [u8]) -> bool,
    ) -> usize {
        let (base, mut at, mut descriptors, mut empty) = (base(stream), 0, 0, 0);
        // Once around a list without a byte is enough.
        while at < bytes.len()
            && descriptors < MOST_DESCRIPTORS
            && empty <= usize::from(registers.u8(base + sd::LVI))
        {
            if self.buffer.is_none() {
                self.fetch(stream, registers, dma);
            }
            let Some(buffer) = self.buffer else { break };
            let left = buffer.len.saturating_sub(self.offset) as usize;
            let part = left.min(bytes.len() - at);
            let piece = &mut bytes[at..at + part];
            let address = buffer.address.checked_add(self.offset.into());
            if part > 0 && !address.is_some_and(|address| carry(address, piece)) {
                note(registers, base, sts::FIFOE);
            }
            at += part;
            empty = if part == 0 { empty + 1 } else { 0 };
            self.offset = self.offset.saturating_add(part as u32);
            pass(registers, base, part as u64);
            if self.offset >= buffer.len {
                if buffer.ioc {
                    note(registers, base, sts::BCIS);
                }
                self.next(stream, registers, dma);
                descriptors += 1;
            }
        }
        at
    }

    /// The next buffer of the list, or the first one again.
    fn next(&mut self, stream: usize, registers: &mut Registers, dma: &Dma) {
        let last = registers.u8(base(stream) + sd::LVI);
        self.index = if self.index >= last { 0 } else { self.index + 1 };
        self.offset = 0;
        self.fetch(stream, registers, dma);
    }

    /// When it is to be seen to though nobody asks: at the end of its buffer, and often enough that what the driver
    /// writes behind it is not missed.
    pub fn alarm(&self, stream: usize, registers: &Registers) -> Option<u64> {
        let (_, format) = self.moving?;
        let frames = |bytes: u64| bytes.div_ceil(format.frame() as u64);
        let ring = registers.u32(base(stream) + sd::CBL);
        let least = u64::from(format.rate() / 1000);
        let tick =
            u64::from(format.rate() / 100).min(frames(MOST as u64 / 2)).min(frames(u64::from(ring) / 4));
        let left = self.buffer.map(|buffer| frames(buffer.len.saturating_sub(self.offset).into()));
        Some(self.pace.when(left.unwrap_or(tick).min(tick).max(least), format.rate()))
    }
}

/// Something happened to a stream.
fn note(registers: &mut Registers, base: usize, event: u8) {
    let status = registers.u8(base + sd::STS) | event;
    registers.set(base + sd::STS, &[status]);
}

/// The position in the cyclic buffer goes on.
fn pass(registers: &mut Registers, base: usize, bytes: u64) {
    let (position, ring) = (u64::from(registers.u32(base + sd::LPIB)) + bytes, registers.u32(base + sd::CBL));
    let position = if ring == 0 { position } else { position % u64::from(ring) };
    registers.set_u32(base + sd::LPIB, position as u32);
}

/// Streams that have something to say which they may say.
pub(super) fn interrupts(registers: &Registers) -> u32 {
    let speaks = |stream: &usize| {
        let base = base(*stream);
        // Each event has its enable in the bit where it is.
        registers.u8(base + sd::STS) & registers.u8(base + sd::CTL) & sts::EVENTS != 0
    };
    (0..STREAMS).filter(speaks).fold(0, |all, stream| all | 1 << stream)
}
