//! Requests, from their chains to their ends.

use devices_core::block::{BlockError, BlockOp, Completion, InFlight, Payload, SECTOR};
use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Broken, Chain, len, take, take_last, write_at};
use super::Blk;
use super::spec::{
    DISCARD_SECTORS, HEAD, ID_BYTES, RANGE, RANGE_UNMAP, ZERO_PIECE, ZERO_SECTORS, feature, request, status,
};

/// What the medium is to do for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Work {
    /// Data to the driver, from a sector on.
    Read(u64),
    /// Data of the driver's.
    Write(u64),
    /// What was written is to be safe, for a driver that knows no flush.
    Settle,
    /// Flush.
    Flush,
    /// First sector and how many.
    Discard(u64, u32),
    /// Likewise.
    Zero(u64, u32),
}

/// A request in flight.
pub(super) struct Job {
    pub(super) queue: u16,
    /// Its head and its status are taken off.
    pub(super) chain: Chain,
    pub(super) work: Work,
    /// Where the status goes.
    pub(super) status: u64,
    /// What the driver is told that was written.
    pub(super) written: u32,
    pub(super) flight: Option<InFlight>,
}

impl Job {
    pub(super) fn waits_for(&self, answer: &Completion) -> bool {
        self.flight.as_ref().is_some_and(|flight| flight.is(answer))
    }
}

/// What a driver asks for.
struct Head {
    kind: u32,
    sector: u64,
}

/// A range to discard or to zero.
struct Range {
    sector: u64,
    sectors: u32,
    flags: u32,
}

impl Blk {
    /// Looks at a request of a queue and begins it.
    pub(super) fn begin(&mut self, common: &mut Common, queue: u16, mut chain: Chain) {
        let written = u32::try_from(len(&chain.writable)).unwrap_or(u32::MAX);
        let mut head = [0; HEAD];
        if !take(common.dma(), &mut chain.readable, &mut head) {
            return common.fail(Broken("a block request has no head"));
        }
        let Some(status) = take_last(&mut chain.writable) else {
            return common.fail(Broken("a block request has no status"));
        };
        let [k0, k1, k2, k3, _, _, _, _, sector @ ..] = head;
        let head = Head { kind: u32::from_le_bytes([k0, k1, k2, k3]), sector: u64::from_le_bytes(sector) };
        match self.work(common, &head, &mut chain) {
            Ok(work) => {
                self.submit(Job { queue, chain, work, status, written, flight: None });
            }
            Err(end) => self.end(common, queue, chain, (status, end), written),
        }
    }

    /// What is to be done for a request, or its status where that is known.
    fn work(&self, common: &Common, head: &Head, chain: &mut Chain) -> Result<Work, u8> {
        let Head { kind, sector } = *head;
        match kind & !request::BARRIER {
            request::IN => self.transfer(sector, len(&chain.writable)).map(|()| Work::Read(sector)),
            request::OUT if self.info.read_only => Err(status::IOERR),
            request::OUT => self.transfer(sector, len(&chain.readable)).map(|()| Work::Write(sector)),
            request::FLUSH => Ok(Work::Flush),
            request::GET_ID => Err(self.identify(common, chain)),
            request::DISCARD if common.has(feature::DISCARD) => {
                let Range { sector, sectors, flags } = self.range(common, chain, DISCARD_SECTORS)?;
                // A discard keeps nothing anyway (5.2.6.2).
                if flags == 0 { Ok(Work::Discard(sector, sectors)) } else { Err(status::UNSUPP) }
            }
            request::WRITE_ZEROES if common.has(feature::WRITE_ZEROES) => {
                let Range { sector, sectors, flags } = self.range(common, chain, ZERO_SECTORS)?;
                let known = flags & !RANGE_UNMAP == 0;
                if known { Ok(Work::Zero(sector, sectors)) } else { Err(status::UNSUPP) }
            }
            _ => Err(status::UNSUPP),
        }
    }

    /// Whether so many bytes from a sector on can be moved.
    pub(super) fn transfer(&self, sector: u64, bytes: u64) -> Result<(), u8> {
        let sectors = self.info.size / SECTOR;
        let fits = bytes.is_multiple_of(SECTOR) && sector <= sectors && bytes / SECTOR <= sectors - sector;
        if fits { Ok(()) } else { Err(status::IOERR) }
    }

    fn identify(&self, common: &Common, chain: &Chain) -> u8 {
        let mut id = [0; ID_BYTES];
        for (to, from) in id.iter_mut().zip(self.options.serial.bytes()) {
            *to = from;
        }
        match write_at(common.dma(), &chain.writable, 0, &id) {
            Some(_) => status::OK,
            None => status::IOERR,
        }
    }

    /// The one range of a discard or a write of zeroes.
    fn range(&self, common: &Common, chain: &mut Chain, most: u32) -> Result<Range, u8> {
        let mut raw = [0; RANGE];
        if self.info.read_only || len(&chain.readable) != RANGE as u64 {
            return Err(status::IOERR);
        }
        if !take(common.dma(), &mut chain.readable, &mut raw) {
            return Err(status::IOERR);
        }
        let [sector @ .., s0, s1, s2, s3, f0, f1, f2, f3] = raw;
        let range = Range {
            sector: u64::from_le_bytes(sector),
            sectors: u32::from_le_bytes([s0, s1, s2, s3]),
            flags: u32::from_le_bytes([f0, f1, f2, f3]),
        };
        if range.sectors > most {
            return Err(status::IOERR);
        }
        self.transfer(range.sector, u64::from(range.sectors) * SECTOR)?;
        Ok(range)
    }

    /// Sends what a job needs now to the medium. False: that takes no more, and the job waits.
    pub(super) fn submit(&mut self, mut job: Job) -> bool {
        let guest = |segments: &Vec<_>| Payload::Guest(self.ram.clone(), segments.clone());
        let (op, sector, payload) = match job.work {
            Work::Read(sector) => (BlockOp::Read, sector, guest(&job.chain.writable)),
            Work::Write(sector) => (BlockOp::Write, sector, guest(&job.chain.readable)),
            Work::Settle | Work::Flush => (BlockOp::Flush, 0, Payload::None),
            Work::Discard(sector, sectors) => {
                (BlockOp::Discard(u64::from(sectors) * SECTOR), sector, Payload::None)
            }
            Work::Zero(sector, sectors) => {
                let zeroes = vec![0; sectors.min(ZERO_PIECE) as usize * SECTOR as usize];
                (BlockOp::Write, sector, Payload::Buffer(zeroes))
            }
        };
        job.flight = self.requests.submit(&self.options.backend, op, sector * SECTOR, payload);
        let taken = job.flight.is_some();
        if taken {
            self.jobs.push(job);
        } else {
            self.refused.push_front(job);
        }
        taken
    }

    /// The medium has done its part of a job.
    pub(super) fn advance(&mut self, common: &mut Common, job: Job, result: Result<(), BlockError>) {
        let Job { queue, chain, work, status: at, written, flight: _ } = job;
        if let (Ok(()), Work::Zero(sector, sectors)) = (result, work)
            && sectors > ZERO_PIECE
            && common.is_running()
        {
            let work = Work::Zero(sector + u64::from(ZERO_PIECE), sectors - ZERO_PIECE);
            self.submit(Job { queue, chain, work, status: at, written, flight: None });
            return;
        }
        let changes = matches!(work, Work::Write(_) | Work::Zero(..) | Work::Discard(..));
        if result.is_ok() && changes && !self.write_cache && common.is_running() {
            self.submit(Job { queue, chain, work: Work::Settle, status: at, written, flight: None });
            return;
        }
        let end = if result.is_ok() { status::OK } else { status::IOERR };
        self.end(common, queue, chain, (at, end), written);
    }

    /// Gives a request back.
    fn end(&mut self, common: &mut Common, queue: u16, chain: Chain, end: (u64, u8), written: u32) {
        let (at, status) = end;
        // Where it was RAM when the request came, and no longer is, nobody reads it.
        let _ = common.dma().write(at, &[status]);
        common.push(queue, &chain, written);
        self.keep(chain);
    }
}
