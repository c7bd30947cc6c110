//! ATAPI CD drive: the PACKET protocol (ATA/ATAPI-6, sections 8.23 and 9.8). What is in the packets is
//! [any CD drive's](super::scsi::cd). It claims to be QEMU's, with QEMU's names.
//!
//! Left out: overlapped commands.

mod commands;

use devices_core::block::{BlockOp, Payload, Segment};
use serde::{Deserialize, Serialize};

use super::ide::spec::{PACKET_DMA, PACKET_OVERLAP, Reason, Status, reg};
use super::ide::{Drive, IdeBus, READY, Work};
use super::scsi::Cdb;
use super::scsi::cd::{Cd, raw_frames};
use super::scsi::spec::{FRAME, RAW_FRAME, Sense, sense};
use commands::Reply;

/// Most frames fetched at once for a transfer by PIO: enough for one DRQ block of any size.
const WINDOW: u64 = 36;

/// A packet's data on its way to the host. Part of the saved state.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// First frame of the medium; none: `data` is all there is.
    #[serde(deserialize_with = "Option::deserialize")]
    pub lba: Option<u32>,
    /// Frames with header and error correction.
    pub raw: bool,
    /// What has been fetched.
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
    /// Where in the whole the first byte of `data` is.
    pub start: u64,
    /// Bytes handed to the host.
    pub at: u64,
    /// Bytes of the whole.
    pub total: u64,
    /// Most bytes of a DRQ block.
    pub limit: u32,
    /// By DMA.
    pub dma: bool,
    /// The engine runs.
    pub running: bool,
    /// Where in memory, then.
    pub segments: Vec<Segment>,
}

impl Transfer {
    pub(super) fn wants_dma(&self) -> bool {
        self.dma && !self.running
    }

    fn frame(&self) -> u64 {
        if self.raw { RAW_FRAME } else { FRAME }
    }

    /// What the next request to the medium is: first frame of the whole, frames.
    fn next_frames(&self) -> (u64, u64) {
        let first = self.at / self.frame();
        let end = self.total.div_ceil(self.frame());
        (first, end.saturating_sub(first).min(WINDOW))
    }

    /// The bytes of the next DRQ block, if they are all there.
    fn block(&self) -> Option<Vec<u8>> {
        let left = self.total - self.at;
        let len = if left > u64::from(self.limit) { u64::from(self.limit & !1) } else { left };
        let from = self.at.checked_sub(self.start)? as usize;
        self.data.get(from..from.checked_add(len as usize)?).map(<[u8]>::to_vec)
    }
}

/// Cuts segments off after `len` bytes.
fn truncate(segments: &mut Vec<Segment>, len: u64) {
    let mut left = len;
    segments.retain_mut(|segment| {
        segment.len = u64::from(segment.len).min(left) as u32;
        left -= u64::from(segment.len);
        segment.len > 0
    });
}

impl Drive {
    fn cd(&mut self) -> Option<&mut Cd> {
        if let super::ide::Kind::Cd(cd) = &mut self.kind { Some(cd) } else { None }
    }

    /// The monitor did something to the tray.
    pub(super) fn medium_changed(&mut self) {
        if let Some(cd) = self.cd() {
            cd.take_changes();
        }
    }

    fn reason(&mut self, reason: Reason) {
        let count = self.task.get(reg::COUNT, false) & !7;
        self.task.put(reg::COUNT, count | reason.bits());
    }

    /// PACKET: asks for the packet, without an interrupt.
    pub(super) fn packet_command(&mut self, host: &mut IdeBus) {
        if self.task.get(reg::ERROR, false) & PACKET_OVERLAP != 0 {
            return self.abort(host);
        }
        self.work = Work::Packet;
        self.reason(Reason::COD);
        self.ask(12);
    }

    /// The packet is there.
    pub(super) fn packet(&mut self, host: &mut IdeBus) {
        let packet = Cdb::new(&self.pio.buffer);
        self.pio = Default::default();
        let bytes = [self.task.get(reg::LBA_MID, false), self.task.get(reg::LBA_HIGH, false)];
        let limit = u32::from(u16::from_le_bytes(bytes).min(0xfffe));
        let dma = self.task.get(reg::ERROR, false) & PACKET_DMA != 0;
        let super::ide::Kind::Cd(cd) = &mut self.kind else { return };
        let reply = commands::execute(cd, &packet, &self.labels);
        let transfer = match reply {
            Reply::Done => return self.packet_done(host),
            Reply::Check(sense) => return self.packet_failed(host, sense),
            Reply::Attention => {
                let sense = cd.state.sense;
                return self.packet_failed(host, sense);
            }
            Reply::Parameters(len) => return self.take_parameters(host, len, limit, dma),
            Reply::Data(data) => Transfer { total: data.len() as u64, data, ..Transfer::default() },
            Reply::Read { lba, frames, raw } => {
                let mut transfer = Transfer { lba: Some(lba), raw, ..Transfer::default() };
                transfer.total = u64::from(frames) * transfer.frame();
                transfer
            }
        };
        if transfer.total == 0 {
            return self.packet_done(host);
        }
        let transfer = Transfer { limit, dma, ..transfer };
        if dma {
            return self.await_dma(host, Work::Transfer(transfer));
        }
        if limit < 2 {
            return self.abort(host);
        }
        self.work = Work::Transfer(transfer);
        self.transfer_next(host);
    }

    /// MODE SELECT: the parameters are taken and change nothing.
    fn take_parameters(&mut self, host: &mut IdeBus, len: u16, limit: u32, dma: bool) {
        // By DMA they stay where they are.
        if len == 0 || dma {
            return self.packet_done(host);
        }
        if u32::from(len) > limit {
            return self.abort(host);
        }
        self.work = Work::Ignore;
        self.reason(Reason::empty());
        self.ask(len.into());
        host.raise();
    }

    /// A packet command ended well.
    pub(super) fn packet_done(&mut self, host: &mut IdeBus) {
        self.halt();
        self.error = 0;
        self.reason(Reason::IO | Reason::COD);
        self.done(host);
    }

    fn packet_failed(&mut self, host: &mut IdeBus, sense: Sense) {
        self.halt();
        if let Some(cd) = self.cd() {
            cd.state.sense = sense;
        }
        self.error = sense.key << 4;
        self.status = Status::DRDY | Status::ERR;
        self.reason(Reason::IO | Reason::COD);
        host.raise();
    }

    /// By PIO: shows the next DRQ block, fetches it, or ends.
    pub(super) fn transfer_next(&mut self, host: &mut IdeBus) {
        let Work::Transfer(transfer) = &mut self.work else { return };
        if transfer.at >= transfer.total {
            return self.packet_done(host);
        }
        let Some(mut block) = transfer.block() else {
            if transfer.lba.is_some() {
                return self.submit(host);
            }
            return self.packet_done(host);
        };
        transfer.at += block.len() as u64;
        let [low, high, ..] = (block.len() as u32).to_le_bytes();
        self.task.put(reg::LBA_MID, low);
        self.task.put(reg::LBA_HIGH, high);
        if block.len() % 2 == 1 {
            block.push(0);
        }
        self.reason(Reason::IO);
        self.give(block);
        host.raise();
    }

    /// By DMA: the engine runs. What the table has no room for is not transferred.
    pub(super) fn start_transfer_dma(&mut self, host: &mut IdeBus) {
        let Work::Transfer(transfer) = &mut self.work else { return };
        let Ok(table) = host.bm.table(&host.dma, transfer.total) else { return self.dma_failed(host) };
        transfer.total = match transfer.lba {
            Some(_) => table.len / transfer.frame() * transfer.frame(),
            None => table.len,
        };
        transfer.segments = table.segments;
        truncate(&mut transfer.segments, transfer.total);
        transfer.running = true;
        if transfer.total == 0 || transfer.lba.is_none() {
            return self.scatter(host);
        }
        self.submit(host);
    }

    /// Puts what has been fetched into memory and goes on.
    fn scatter(&mut self, host: &mut IdeBus) {
        let Work::Transfer(transfer) = &mut self.work else { return };
        let mut payload = Payload::Guest(host.dma.ram().clone(), transfer.segments.clone());
        if !host.dma.enabled() || payload.fill(&transfer.data).is_err() {
            return self.dma_failed(host);
        }
        let done = transfer.data.len() as u64;
        transfer.at += done;
        // What is left of the memory is for what comes.
        let mut skip = done;
        transfer.segments.retain_mut(|segment| {
            let now = u64::from(segment.len).min(skip);
            skip -= now;
            segment.gpa += now;
            segment.len -= now as u32;
            segment.len > 0
        });
        transfer.start = transfer.at;
        transfer.data.clear();
        if transfer.at < transfer.total && transfer.lba.is_some() {
            return self.submit(host);
        }
        host.bm.finish(false);
        self.packet_done(host);
    }

    /// Fetches frames from the medium: by DMA straight into memory, all at once.
    pub(super) fn submit_transfer(&mut self, host: &mut IdeBus) {
        let Work::Transfer(transfer) = &self.work else { return };
        let (first, frames) = transfer.next_frames();
        let payload = if transfer.dma && !transfer.raw {
            Payload::Guest(host.dma.ram().clone(), transfer.segments.clone())
        } else {
            Payload::Buffer(vec![0; (frames * FRAME) as usize])
        };
        let lba = u64::from(transfer.lba.unwrap_or(0)) + first;
        self.status = if transfer.dma { READY | Status::DRQ } else { READY | Status::BSY };
        let medium = self.cd().and_then(|cd| cd.medium.clone());
        self.pending = medium.and_then(|to| self.requests.submit(&to, BlockOp::Read, lba * FRAME, payload));
        if self.pending.is_none() {
            self.transfer_failed(host);
        }
    }

    /// Frames have come.
    pub(super) fn transfer_arrived(&mut self, host: &mut IdeBus, buffer: Vec<u8>) {
        let Work::Transfer(transfer) = &mut self.work else { return };
        if transfer.dma && !transfer.raw {
            host.bm.finish(false);
            return self.packet_done(host);
        }
        let (first, _) = transfer.next_frames();
        transfer.start = first * transfer.frame();
        let lba = (u64::from(transfer.lba.unwrap_or(0)) + first) as u32;
        transfer.data = if transfer.raw { raw_frames(lba, &buffer) } else { buffer };
        if transfer.dma { self.scatter(host) } else { self.transfer_next(host) }
    }

    /// The medium could not be read, or has gone.
    pub(super) fn transfer_failed(&mut self, host: &mut IdeBus) {
        if matches!(&self.work, Work::Transfer(transfer) if transfer.dma) {
            host.bm.finish(false);
        }
        self.packet_failed(host, sense::UNRECOVERED_READ);
    }
}
