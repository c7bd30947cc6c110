//! A drive: its task file, its data port, and what it is in the midst of.

use std::sync::Arc;

use devices_core::block::{
    BlockBackend, BlockError, BlockOp, Completion, InFlight, Payload, Requests, Segment,
};
use serde::{Deserialize, Serialize};

use super::channel::IdeBus;
use super::labels::Labels;
use super::smart::Smart;
use super::spec::{self, Fault, SECTOR, Status, reg};
use crate::storage::atapi::Transfer;
use crate::storage::geometry::Geometry;
use crate::storage::scsi::cd::Cd;

/// A hard disk's own part.
pub struct Disk {
    /// Its medium.
    pub backend: Arc<dyn BlockBackend>,
    /// Geometry in words 1 to 6 of IDENTIFY.
    pub native: Geometry,
    /// Geometry as set by INITIALIZE DEVICE PARAMETERS.
    pub geometry: Geometry,
    /// Sectors of a data block of READ/WRITE MULTIPLE; 0: the commands abort.
    pub multiple: u8,
    /// Whether a write is done before it is safe.
    pub write_cache: bool,
    /// Its health.
    pub smart: Smart,
}

impl Disk {
    /// Sectors on the medium.
    pub fn sectors(&self) -> u64 {
        self.backend.info().size / SECTOR as u64
    }
}

/// What a drive is.
pub enum Kind {
    /// No drive there.
    Absent,
    /// A hard disk.
    Disk(Box<Disk>),
    /// A CD drive.
    Cd(Box<Cd>),
}

/// Registers that software writes: each with what it held before, for 48-bit commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskFile {
    /// Features, count, low, mid, high: now and before.
    registers: [[u8; 2]; 5],
    /// Device register.
    pub device: u8,
}

impl TaskFile {
    /// Writes the register at an offset of the command block (1 to 5).
    pub fn write(&mut self, offset: u64, value: u8) {
        if let Some(register) = self.slot(offset) {
            *register = [value, register[0]];
        }
    }
    /// The register at an offset (1 to 5), or what it held before.
    pub fn get(&self, offset: u64, before: bool) -> u8 {
        let index = offset.wrapping_sub(1) as usize;
        self.registers.get(index).map_or(0, |register| register[usize::from(before)])
    }
    /// Changes what the register reads as.
    pub fn put(&mut self, offset: u64, value: u8) {
        if let Some(register) = self.slot(offset) {
            register[0] = value;
        }
    }
    /// Changes the value before.
    pub fn put_before(&mut self, offset: u64, value: u8) {
        if let Some(register) = self.slot(offset) {
            register[1] = value;
        }
    }
    fn slot(&mut self, offset: u64) -> Option<&mut [u8; 2]> {
        self.registers.get_mut(offset.wrapping_sub(1) as usize)
    }
}

/// The data port: one DRQ block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pio {
    /// The block.
    #[serde(with = "serde_bytes")]
    pub buffer: Vec<u8>,
    /// Bytes moved.
    pub at: usize,
    /// Direction.
    pub to_host: bool,
}

/// What a drive is in the midst of. Part of the saved state: variants and fields are only ever added.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Work {
    /// Nothing.
    #[default]
    Idle,
    /// The host fetches an answer.
    Answer,
    /// READ by PIO: `left` sectors from `lba` are not with the host yet.
    Read {
        /// First of them.
        lba: u64,
        /// How many.
        left: u32,
        /// Sectors of a data block.
        block: u32,
    },
    /// WRITE by PIO: likewise not on the medium yet.
    Write {
        /// First of them.
        lba: u64,
        /// How many.
        left: u32,
        /// Sectors of a data block.
        block: u32,
    },
    /// READ or WRITE DMA.
    Dma {
        /// First sector.
        lba: u64,
        /// Sectors.
        count: u32,
        /// Direction.
        write: bool,
        /// Once the engine runs: where in memory.
        segments: Vec<Segment>,
        /// The table was longer.
        longer: bool,
    },
    /// FLUSH, or the end of a write without cache.
    Flush,
    /// DATA SET MANAGEMENT: waits for its list.
    TrimList {
        /// Sectors of list.
        count: u32,
    },
    /// Discards ranges of (lba, sectors), the last first.
    Trim {
        /// Ranges left.
        ranges: Vec<(u64, u64)>,
    },
    /// PACKET: the host sends the packet.
    Packet,
    /// Parameters that the host sends are ignored.
    Ignore,
    /// A packet's data goes to the host.
    Transfer(Transfer),
    /// Power-on or a reset line: ready once what was in flight is over.
    HardReset,
    /// The same after SRST.
    SoftReset,
    /// EXECUTE DEVICE DIAGNOSTIC, the same.
    Diagnostic,
    /// DEVICE RESET, the same.
    DeviceReset,
}

/// One drive.
pub struct Drive {
    pub(in crate::storage) kind: Kind,
    /// It is absent because the guest had its disk unplugged.
    pub(super) unplugged: bool,
    /// What it says of itself.
    pub(in crate::storage) labels: Labels,
    pub(in crate::storage) task: TaskFile,
    pub(in crate::storage) status: Status,
    pub(in crate::storage) error: u8,
    pub(in crate::storage) pio: Pio,
    pub(in crate::storage) work: Work,
    pub(in crate::storage) requests: Requests,
    /// The request in flight that is waited for.
    pub(in crate::storage) pending: Option<InFlight>,
    /// Transfer mode set by SET FEATURES.
    pub(in crate::storage) mode: Option<u8>,
}

/// Ready, with nothing else to say.
pub const READY: Status = Status::DRDY.union(Status::DSC);

impl Drive {
    pub(super) fn new(kind: Kind, labels: Labels, requests: Requests) -> Drive {
        let mut drive = Drive {
            kind,
            unplugged: false,
            labels,
            task: TaskFile::default(),
            status: READY,
            error: 0,
            pio: Pio::default(),
            work: Work::Idle,
            requests,
            pending: None,
            mode: None,
        };
        drive.reset();
        drive
    }

    pub(super) fn present(&self) -> bool {
        !matches!(self.kind, Kind::Absent)
    }

    pub(super) fn is_cd(&self) -> bool {
        matches!(self.kind, Kind::Cd(_))
    }

    pub(super) fn disk(&self) -> Option<&Disk> {
        if let Kind::Disk(disk) = &self.kind { Some(disk) } else { None }
    }

    pub(super) fn disk_mut(&mut self) -> Option<&mut Disk> {
        if let Kind::Disk(disk) = &mut self.kind { Some(disk) } else { None }
    }

    /// Gives up whatever is under way, also the request in flight. What of it runs moves bytes until
    /// the drive's requests have drained.
    pub(in crate::storage) fn halt(&mut self) {
        self.pending = None;
        self.work = Work::Idle;
        self.pio = Pio::default();
    }

    /// As after a reset line or power-on.
    pub(super) fn reset(&mut self) {
        self.halt();
        self.status = READY;
        self.error = 0;
        self.task = TaskFile::default();
        self.signature();
        match &mut self.kind {
            Kind::Absent => {}
            Kind::Disk(disk) => disk.reset(),
            Kind::Cd(cd) => cd.reset(),
        }
    }

    /// If something old is still in flight, the drive is busy with that until it is over.
    pub(super) fn after_old_requests(&mut self, work: Work) {
        if !self.requests.drained() {
            self.status = Status::BSY | Status::DSC;
            self.work = work;
        }
    }

    /// Leaves in the registers what kind of drive it is.
    pub(super) fn signature(&mut self) {
        let [count, low, mid, high] = match self.kind {
            Kind::Cd(_) => spec::SIGNATURE_ATAPI,
            Kind::Disk(_) => spec::SIGNATURE_ATA,
            Kind::Absent => [1, 1, 0xff, 0xff],
        };
        self.task.device &= !0x0f;
        self.task.put(reg::COUNT, count);
        self.task.put(reg::LBA_LOW, low);
        self.task.put(reg::LBA_MID, mid);
        self.task.put(reg::LBA_HIGH, high);
    }

    /// EXECUTE DEVICE DIAGNOSTIC, which a software reset does too: passed.
    pub(super) fn diagnose(&mut self) {
        self.signature();
        self.status = if self.is_cd() { Status::empty() } else { READY };
        self.error = 1;
    }

    /// A command is over, with no data for the host left.
    pub(in crate::storage) fn done(&mut self, host: &mut IdeBus) {
        self.work = Work::Idle;
        self.status = READY;
        host.raise();
    }

    /// A command is over, with an error.
    pub(in crate::storage) fn fail(&mut self, host: &mut IdeBus, fault: Fault) {
        self.halt();
        self.status = Status::DRDY | Status::ERR;
        self.error = fault.bits();
        host.raise();
    }

    /// A command is not supported, or not so.
    pub(in crate::storage) fn abort(&mut self, host: &mut IdeBus) {
        self.fail(host, Fault::ABRT);
    }

    /// Shows the host a DRQ block to read.
    pub(in crate::storage) fn give(&mut self, buffer: Vec<u8>) {
        self.pio = Pio { buffer, at: 0, to_host: true };
        self.status = READY | Status::DRQ;
    }

    /// Asks the host for a DRQ block of `len` bytes.
    pub(in crate::storage) fn ask(&mut self, len: usize) {
        self.pio = Pio { buffer: vec![0; len], at: 0, to_host: false };
        self.status = READY | Status::DRQ;
    }

    /// An answer of one DRQ block, with an interrupt.
    pub(super) fn answer(&mut self, host: &mut IdeBus, data: Vec<u8>) {
        self.work = Work::Answer;
        self.give(data);
        host.raise();
    }

    /// Bytes that an access of `len` bytes in items of `size` moves: whole items, or the end of a block
    /// that is shorter than one.
    fn movable(&self, to_host: bool, size: usize, len: usize) -> usize {
        if !self.status.contains(Status::DRQ) || self.pio.to_host != to_host || len < size {
            return 0;
        }
        let left = self.pio.buffer.len().saturating_sub(self.pio.at);
        if left < size { left } else { left.min(len) / size * size }
    }

    /// Reads items of `size` bytes from the data port; the bytes done, whole items.
    pub(super) fn read_data(&mut self, host: &mut IdeBus, size: usize, out: &mut [u8]) -> usize {
        let len = self.movable(true, size, out.len());
        let Some(data) = self.pio.buffer.get(self.pio.at..self.pio.at + len) else { return 0 };
        let whole = len.next_multiple_of(size);
        out[..len].copy_from_slice(data);
        out[len..whole].fill(0);
        self.moved(host, len);
        whole
    }

    /// Writes items to the data port; the bytes done, whole items.
    pub(super) fn write_data(&mut self, host: &mut IdeBus, size: usize, data: &[u8]) -> usize {
        let len = self.movable(false, size, data.len());
        let Some(room) = self.pio.buffer.get_mut(self.pio.at..self.pio.at + len) else { return 0 };
        room.copy_from_slice(&data[..len]);
        self.moved(host, len);
        len.next_multiple_of(size)
    }

    fn moved(&mut self, host: &mut IdeBus, len: usize) {
        self.pio.at += len;
        if len > 0 && self.pio.at >= self.pio.buffer.len() {
            self.status.remove(Status::DRQ);
            self.block_through(host);
        }
    }

    /// The host has moved a whole DRQ block.
    fn block_through(&mut self, host: &mut IdeBus) {
        match &mut self.work {
            Work::Read { left: 0, .. } | Work::Answer => {
                self.work = Work::Idle;
                self.pio = Pio::default();
            }
            Work::Read { .. } | Work::Write { .. } => self.submit(host),
            Work::Packet => self.packet(host),
            Work::Ignore => self.packet_done(host),
            Work::Transfer(_) => self.transfer_next(host),
            // None of them has a data block.
            _ => {}
        }
    }

    /// Whether it waits for the bus master.
    pub(super) fn wants_dma(&self) -> bool {
        match &self.work {
            Work::Dma { segments, .. } => segments.is_empty(),
            Work::TrimList { .. } => true,
            Work::Transfer(transfer) => transfer.wants_dma(),
            _ => false,
        }
    }

    /// Whether the bus master works, or is to work, for it.
    pub(super) fn works_by_dma(&self) -> bool {
        match &self.work {
            Work::Transfer(transfer) => transfer.dma,
            work => self.wants_dma() || matches!(work, Work::Dma { .. }),
        }
    }

    /// The drive is ready for DMA: goes on if the engine is running.
    pub(in crate::storage) fn await_dma(&mut self, host: &mut IdeBus, work: Work) {
        self.work = work;
        self.status = READY | Status::DRQ;
        if host.bm.active() {
            self.start_dma(host);
        }
    }

    /// The engine runs.
    pub(super) fn start_dma(&mut self, host: &mut IdeBus) {
        match self.work {
            Work::Dma { count, .. } => self.start_disk_dma(host, count),
            Work::TrimList { count } => self.fetch_trim_list(host, count),
            Work::Transfer(_) => self.start_transfer_dma(host),
            _ => {}
        }
    }

    /// Has the answer of a transfer come at once, if only that is missing.
    pub(super) fn hasten_dma(&self) -> bool {
        self.works_by_dma() && self.pending.as_ref().is_some_and(|pending| self.requests.hasten(pending))
    }

    /// Memory could not be reached: the engine has stopped and the command ends.
    pub(in crate::storage) fn dma_failed(&mut self, host: &mut IdeBus) {
        host.bm.fail();
        self.abort(host);
    }

    /// Sends the request that the work in hand needs, also anew after a load.
    pub(in crate::storage) fn submit(&mut self, host: &mut IdeBus) {
        let bytes = |sectors: u32| sectors as usize * SECTOR;
        let request = match &self.work {
            Work::Read { lba, left, block } => {
                self.status = READY | Status::BSY;
                Some((BlockOp::Read, *lba, Payload::Buffer(vec![0; bytes(*left.min(block))])))
            }
            Work::Write { lba, .. } => {
                self.status = READY | Status::BSY;
                Some((BlockOp::Write, *lba, Payload::Buffer(self.pio.buffer.clone())))
            }
            Work::Dma { lba, write, segments, .. } => {
                let op = if *write { BlockOp::Write } else { BlockOp::Read };
                Some((op, *lba, Payload::Guest(host.dma.ram().clone(), segments.clone())))
            }
            Work::Flush => {
                self.status = READY | Status::BSY;
                Some((BlockOp::Flush, 0, Payload::None))
            }
            Work::Trim { ranges } => {
                self.status = READY | Status::BSY;
                ranges
                    .last()
                    .map(|&(lba, count)| (BlockOp::Discard(count * SECTOR as u64), lba, Payload::None))
            }
            Work::Transfer(_) => return self.submit_transfer(host),
            _ => None,
        };
        let Some((op, lba, payload)) = request else { return };
        let backend = self.disk().map(|disk| disk.backend.clone());
        self.pending = backend.and_then(|to| self.requests.submit(&to, op, lba * SECTOR as u64, payload));
        if self.pending.is_none() {
            self.abort(host);
        }
    }

    /// An answer came.
    pub(super) fn complete(&mut self, host: &mut IdeBus, completion: Completion) {
        self.pending = None;
        match completion.result {
            Ok(()) if self.is_cd() => self.transfer_arrived(host, completion.buffer),
            Ok(()) => self.disk_done(host, completion.buffer),
            Err(_) if self.is_cd() => self.transfer_failed(host),
            Err(error) => self.disk_failed(host, error),
        }
    }

    fn disk_failed(&mut self, host: &mut IdeBus, error: BlockError) {
        let (lba, reading) = match self.work {
            Work::Read { lba, .. } => (Some(lba), true),
            Work::Write { lba, .. } => (Some(lba), false),
            Work::Dma { lba, write, .. } => (Some(lba), !write),
            _ => (None, false),
        };
        if let Some(lba) = lba {
            self.set_address(lba);
        }
        if matches!(self.work, Work::Dma { .. }) {
            host.bm.finish(false);
        }
        let fault = match error {
            BlockError::OutOfRange => Fault::IDNF,
            BlockError::Io | BlockError::Gone if reading => Fault::UNC,
            _ => Fault::ABRT,
        };
        self.fail(host, fault);
    }
}
