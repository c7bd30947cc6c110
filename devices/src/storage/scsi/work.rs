//! What the medium does for a command, piece by piece.

use devices_core::block::{BlockError, BlockOp, Completion, InFlight, Payload, Segment};
use devices_core::dma::Dma;
use serde::{Deserialize, Serialize};

use super::cd::raw_frames;
use super::spec::{FRAME, Sense, sense};

/// Most bytes of a piece that goes through memory of our own.
pub(super) const PIECE: u64 = 64 << 10;
/// Frames of a raw piece.
const RAW_PIECE: u32 = 32;

/// What the medium is to do. Offsets and lengths are bytes, whole sectors. Part of the saved state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    /// To the guest's memory.
    Read { at: u64, len: u64 },
    /// Frames with header and error correction, likewise.
    ReadRaw { lba: u32, left: u32 },
    /// From the guest's memory.
    Write { at: u64, len: u64, settle: bool },
    /// What was written is to be safe.
    Flush,
    /// Ranges whose contents do not matter any more, the next one last.
    Discard { ranges: Vec<(u64, u64)> },
    /// One block, over and over.
    Same {
        at: u64,
        left: u64,
        #[serde(with = "serde_bytes")]
        block: Vec<u8>,
        settle: bool,
    },
    /// The guest's memory is to be what the medium has.
    Compare { at: u64, left: u64 },
}

/// A command in flight.
pub(super) struct Job {
    pub(super) work: Work,
    /// Guest memory that it moves, or is compared.
    pub(super) data: Vec<Segment>,
    /// Bytes that have been moved.
    pub(super) moved: u64,
    pub(super) flight: Option<InFlight>,
}

/// What comes of a piece.
pub(super) enum Step {
    /// There is more for the medium.
    More(Job),
    /// All is done, or it failed.
    Over(Job, Result<(), Sense>),
}

/// The part of these segments from `from` on, of `len` bytes or as many as there are.
pub(super) fn part(segments: &[Segment], from: u64, len: u64) -> Vec<Segment> {
    let (mut skip, mut left) = (from, len);
    let mut part = Vec::new();
    for segment in segments {
        let skipped = skip.min(segment.len.into());
        skip -= skipped;
        let now = (u64::from(segment.len) - skipped).min(left);
        left -= now;
        if now > 0 {
            part.push(Segment { gpa: segment.gpa + skipped, len: now as u32 });
        }
    }
    part
}

impl Job {
    pub(super) fn waits_for(&self, answer: &Completion) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.is(answer))
    }

    /// What is asked of the medium now.
    pub(super) fn request(&self, dma: &Dma) -> (BlockOp, u64, Payload) {
        let guest = |len: u64| Payload::Guest(dma.ram().clone(), part(&self.data, 0, len));
        let buffer = |len: u64| Payload::Buffer(vec![0; len as usize]);
        match &self.work {
            Work::Read { at, len } => (BlockOp::Read, *at, guest(*len)),
            Work::ReadRaw { lba, left } => {
                let frames = (*left).min(RAW_PIECE);
                (BlockOp::Read, u64::from(*lba) * FRAME, buffer(u64::from(frames) * FRAME))
            }
            Work::Write { at, len, .. } => (BlockOp::Write, *at, guest(*len)),
            Work::Flush => (BlockOp::Flush, 0, Payload::None),
            Work::Discard { ranges } => {
                let (at, len) = ranges.last().copied().unwrap_or_default();
                (BlockOp::Discard(len), at, Payload::None)
            }
            Work::Same { at, left, block, .. } => {
                let blocks = same_piece(*left, block) / block.len().max(1) as u64;
                (BlockOp::Write, *at, Payload::Buffer(block.repeat(blocks as usize)))
            }
            Work::Compare { at, left } => (BlockOp::Read, *at, buffer((*left).min(PIECE))),
        }
    }

    /// Whether it changes what is on the medium.
    pub(super) fn writes(&self) -> bool {
        !matches!(self.work, Work::Read { .. } | Work::ReadRaw { .. } | Work::Compare { .. })
    }

    /// A piece is done.
    pub(super) fn advance(mut self, dma: &Dma, result: Result<(), BlockError>, buffer: &[u8]) -> Step {
        self.flight = None;
        if let Err(error) = result {
            let sense = self.fault(error);
            return Step::Over(self, Err(sense));
        }
        match &mut self.work {
            Work::Read { len, .. } => self.moved += *len,
            Work::Write { len, settle, .. } => {
                self.moved += *len;
                if *settle {
                    self.work = Work::Flush;
                    return Step::More(self);
                }
            }
            Work::Flush => {}
            Work::Discard { ranges } => {
                ranges.pop();
                if !ranges.is_empty() {
                    return Step::More(self);
                }
            }
            Work::ReadRaw { .. } => return self.raw(dma, buffer),
            Work::Same { at, left, block, settle } => {
                let now = same_piece(*left, block);
                *at += now;
                *left -= now;
                if *left > 0 {
                    return Step::More(self);
                }
                if *settle {
                    self.work = Work::Flush;
                    return Step::More(self);
                }
            }
            Work::Compare { .. } => return self.compare(dma, buffer),
        }
        Step::Over(self, Ok(()))
    }

    fn raw(mut self, dma: &Dma, buffer: &[u8]) -> Step {
        let Work::ReadRaw { lba, left } = &mut self.work else { return Step::Over(self, Ok(())) };
        let frames = raw_frames(*lba, buffer);
        let now = (*left).min(RAW_PIECE);
        *lba += now;
        *left -= now;
        let more = *left > 0;
        let room = part(&self.data, self.moved, frames.len() as u64);
        self.moved += frames.len() as u64;
        if Payload::Guest(dma.ram().clone(), room).fill(&frames).is_err() {
            return Step::Over(self, Err(sense::UNRECOVERED_READ));
        }
        if more { Step::More(self) } else { Step::Over(self, Ok(())) }
    }

    fn compare(mut self, dma: &Dma, buffer: &[u8]) -> Step {
        let Work::Compare { at, left } = &mut self.work else { return Step::Over(self, Ok(())) };
        let now = buffer.len() as u64;
        *at += now;
        *left = left.saturating_sub(now);
        let more = *left > 0 && now > 0;
        let mut sent = vec![0; buffer.len()];
        let from = Payload::Guest(dma.ram().clone(), part(&self.data, self.moved, now));
        self.moved += now;
        if from.copy_to(&mut sent).is_err() || sent != buffer {
            return Step::Over(self, Err(sense::DIFFERENT));
        }
        if more { Step::More(self) } else { Step::Over(self, Ok(())) }
    }

    /// What the guest is told of an error of the host's.
    fn fault(&self, error: BlockError) -> Sense {
        match error {
            BlockError::OutOfRange => sense::RANGE,
            BlockError::ReadOnly => sense::WRITE_PROTECTED,
            BlockError::NoSpace => sense::NO_SPACE,
            BlockError::Io | BlockError::Cancelled | BlockError::Gone if self.writes() => sense::WRITE_ERROR,
            BlockError::Io | BlockError::Cancelled | BlockError::Gone => sense::UNRECOVERED_READ,
        }
    }
}

/// Bytes of the next piece of a block that is written over and over.
fn same_piece(left: u64, block: &[u8]) -> u64 {
    let block = block.len().max(1) as u64;
    (PIECE / block).max(1).saturating_mul(block).min(left)
}
