//! A disk's commands (SBC-3).

use std::sync::Arc;

use devices_core::Node;
use devices_core::block::{BlockBackend, BlockInfo};

use super::Cdb;
use super::inquiry::{SAME_BLOCKS, UNMAP_BYTES, UNMAP_RANGES};
use super::mode::{Header, Page};
use super::spec::{READ_CAPACITY_16, Sense, op, sense};
use super::unit::{Medium, Reply};
use super::work::Work;
use crate::storage::geometry::Geometry;

/// Mode pages, and bits in them.
const RECOVERY: u8 = 0x01;
const RIGID: u8 = 0x04;
const FLEXIBLE: u8 = 0x05;
const CACHING: u8 = 0x08;
const CONTROL: u8 = 0x0a;
const WCE: u8 = 4;
const D_SENSE: u8 = 4;

/// A disk's own part.
pub(super) struct Disk {
    backend: Arc<dyn BlockBackend>,
    info: BlockInfo,
    geometry: Geometry,
    block: u32,
    physical_block: u32,
    granularity: u32,
    rotation_rate: u16,
    removable: bool,
    fua: bool,
    pub(super) state: DiskState,
}

/// What a guest can change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct DiskState {
    /// There is a write cache: what the guest has not flushed may be lost.
    pub(super) write_cache: bool,
    /// Sense data has descriptors.
    pub(super) descriptor_sense: bool,
}

impl Default for DiskState {
    fn default() -> DiskState {
        DiskState { write_cache: true, descriptor_sense: false }
    }
}

impl Disk {
    /// The disk of [`Medium::Disk`].
    pub(super) fn new(medium: Medium) -> Disk {
        let Medium::Disk {
            backend,
            geometry,
            block,
            physical_block,
            discard_granularity,
            rotation_rate,
            removable,
            fua,
        } = medium
        else {
            unreachable!("a CD drive is no disk")
        };
        let info = backend.info();
        Disk {
            backend,
            info,
            geometry,
            block,
            physical_block: physical_block.unwrap_or(info.physical_block).max(block),
            granularity: discard_granularity,
            rotation_rate,
            removable,
            fua,
            state: DiskState::default(),
        }
    }

    pub(super) fn backend(&self) -> &Arc<dyn BlockBackend> {
        &self.backend
    }
    pub(super) fn block(&self) -> u64 {
        self.block.into()
    }
    pub(super) fn read_only(&self) -> bool {
        self.info.read_only
    }
    pub(super) fn removable(&self) -> bool {
        self.removable
    }
    pub(super) fn granularity(&self) -> u32 {
        self.granularity
    }
    pub(super) fn rotation_rate(&self) -> u16 {
        self.rotation_rate
    }
    pub(super) fn can_discard(&self) -> bool {
        self.info.discard && self.granularity != 0 && !self.info.read_only
    }
    pub(super) fn descriptor_sense(&self) -> bool {
        self.state.descriptor_sense
    }
    pub(super) fn blocks(&self) -> u64 {
        self.info.size / self.block()
    }
    pub(super) fn reset(&mut self) {
        self.state = DiskState::default();
    }

    /// Carries out a command that only disks have.
    pub(super) fn execute(&mut self, cdb: &Cdb, list: &[u8]) -> Reply {
        match cdb.op() {
            op::TEST_UNIT_READY | op::START_STOP | op::PREVENT_REMOVAL => Reply::Done,
            op::READ_CAPACITY => self.read_capacity(cdb),
            op::SERVICE_ACTION_IN_16 if cdb.byte(1) & 0x1f == READ_CAPACITY_16 => self.read_capacity_16(cdb),
            op::SERVICE_ACTION_IN_16 => Reply::Check(sense::FIELD),
            op::SEEK if u64::from(cdb.be32(2)) < self.blocks() => Reply::Done,
            op::SEEK => Reply::Check(sense::RANGE),
            op::SYNCHRONIZE_CACHE_10 | op::SYNCHRONIZE_CACHE_16 => Reply::Medium(Work::Flush),
            op::READ_6
            | op::READ_10
            | op::READ_12
            | op::READ_16
            | op::WRITE_6
            | op::WRITE_10
            | op::WRITE_12
            | op::WRITE_16
            | op::WRITE_VERIFY_10
            | op::WRITE_VERIFY_12
            | op::WRITE_VERIFY_16
            | op::VERIFY_10
            | op::VERIFY_12
            | op::VERIFY_16 => self.transfer(cdb).map_or_else(Reply::Check, |work| self.begin(work)),
            op::WRITE_SAME_10 | op::WRITE_SAME_16 => {
                self.write_same(cdb, list).map_or_else(Reply::Check, |work| self.begin(work))
            }
            op::UNMAP => self.unmap(cdb, list).map_or_else(Reply::Check, |work| self.begin(work)),
            _ => Reply::Check(sense::OPCODE),
        }
    }

    /// What has nothing to do is done.
    fn begin(&self, work: Work) -> Reply {
        match &work {
            Work::Read { len: 0, .. } | Work::Write { len: 0, .. } | Work::Compare { left: 0, .. } => {
                Reply::Done
            }
            Work::Discard { ranges } if ranges.is_empty() => Reply::Done,
            _ => Reply::Medium(work),
        }
    }

    /// Offset and length in bytes of blocks that there are.
    fn range(&self, lba: u64, blocks: u64) -> Result<(u64, u64), Sense> {
        let fits = lba.checked_add(blocks).is_some_and(|end| end <= self.blocks());
        if fits { Ok((lba * self.block(), blocks * self.block())) } else { Err(sense::RANGE) }
    }

    fn transfer(&self, cdb: &Cdb) -> Result<Work, Sense> {
        let code = cdb.op();
        let six = matches!(code, op::READ_6 | op::WRITE_6);
        // Protection information, which there is none of.
        if !six && cdb.byte(1) & 0xe0 != 0 {
            return Err(sense::FIELD);
        }
        let (lba, blocks) = cdb.blocks();
        match code {
            op::READ_6 | op::READ_10 | op::READ_12 | op::READ_16 => {
                self.range(lba, blocks).map(|(at, len)| Work::Read { at, len })
            }
            op::VERIFY_10 | op::VERIFY_12 | op::VERIFY_16 => {
                let (at, left) = self.range(lba, blocks)?;
                match cdb.compares() {
                    0 => Ok(Work::Compare { at, left: 0 }),
                    1 => Ok(Work::Compare { at, left }),
                    _ => Err(sense::FIELD),
                }
            }
            _ => {
                let (at, len) = self.writable(lba, blocks)?;
                let verifies =
                    matches!(code, op::WRITE_VERIFY_10 | op::WRITE_VERIFY_12 | op::WRITE_VERIFY_16);
                let forced = !six && !verifies && cdb.byte(1) & 8 != 0;
                Ok(Work::Write { at, len, settle: forced || verifies || !self.state.write_cache })
            }
        }
    }

    fn writable(&self, lba: u64, blocks: u64) -> Result<(u64, u64), Sense> {
        if self.info.read_only { Err(sense::WRITE_PROTECTED) } else { self.range(lba, blocks) }
    }

    /// What was unmapped need not read as zeros here: what is to be zeros is written so, with UNMAP or without.
    fn write_same(&self, cdb: &Cdb, list: &[u8]) -> Result<Work, Sense> {
        let (lba, blocks) = cdb.blocks();
        // Protection information, an anchor, and what SBC-2 had for the block's own address.
        if cdb.byte(1) & 0xf6 != 0 || blocks == 0 || blocks > SAME_BLOCKS {
            return Err(sense::FIELD);
        }
        let (at, left) = self.writable(lba, blocks)?;
        let block = if cdb.brings_no_block() { vec![0; self.block as usize] } else { list.to_vec() };
        if block.len() as u64 != self.block() {
            return Err(sense::FIELD);
        }
        Ok(Work::Same { at, left, block, settle: !self.state.write_cache })
    }

    fn unmap(&self, cdb: &Cdb, list: &[u8]) -> Result<Work, Sense> {
        if self.info.read_only {
            return Err(sense::WRITE_PROTECTED);
        }
        if !self.can_discard() {
            return Err(sense::OPCODE);
        }
        // An anchor.
        if cdb.byte(1) & 1 != 0 {
            return Err(sense::FIELD);
        }
        if list.is_empty() {
            return Ok(Work::Discard { ranges: Vec::new() });
        }
        let head = list.get(..8).ok_or(sense::LIST_LENGTH)?;
        let all = usize::from(u16::from_be_bytes([head[0], head[1]]));
        let len = usize::from(u16::from_be_bytes([head[2], head[3]]));
        if all < len + 6 || list.len() < len + 8 || !len.is_multiple_of(16) {
            return Err(sense::LIST_LENGTH);
        }
        if len / 16 > UNMAP_RANGES {
            return Err(sense::PARAMETER);
        }
        let mut ranges = Vec::new();
        for range in list[8..8 + len].chunks_exact(16) {
            let range = Cdb::new(range);
            let (at, len) = self.range(range.be64(0), range.be32(8).into())?;
            if len > UNMAP_BYTES {
                return Err(sense::PARAMETER);
            }
            if len > 0 {
                ranges.push((at, len));
            }
        }
        ranges.reverse();
        Ok(Work::Discard { ranges })
    }

    fn read_capacity(&self, cdb: &Cdb) -> Reply {
        // PMI, which is no more.
        if cdb.byte(8) & 1 == 0 && cdb.be32(2) != 0 {
            return Reply::Check(sense::FIELD);
        }
        let last = u32::try_from(self.blocks().saturating_sub(1)).unwrap_or(u32::MAX);
        Reply::Data([last.to_be_bytes(), self.block.to_be_bytes()].concat())
    }

    fn read_capacity_16(&self, cdb: &Cdb) -> Reply {
        let mut data = self.blocks().saturating_sub(1).to_be_bytes().to_vec();
        data.extend(self.block.to_be_bytes());
        data.extend([0, (self.physical_block / self.block).max(1).ilog2() as u8]);
        data.extend([u8::from(self.can_discard()) << 7, 0]);
        data.resize(32, 0);
        data.truncate(cdb.be32(10) as usize);
        Reply::Data(data)
    }

    /// What mode parameters begin with.
    pub(super) fn header(&self) -> Header {
        let device = u8::from(self.info.read_only) << 7 | u8::from(self.fua) << 4;
        let mut block = [0; 8];
        // Three bytes of it: what does not fit is said to be none, as in QEMU.
        let blocks = Some(self.blocks()).filter(|&blocks| blocks <= 0xff_ffff).unwrap_or(0);
        block[..4].copy_from_slice(&(blocks as u32).to_be_bytes());
        block[4..].copy_from_slice(&self.block.to_be_bytes());
        Header { medium: 0, device, block: Some(block) }
    }

    /// Error recovery, geometry of rigid and of flexible disks, caching, control.
    pub(super) fn pages(&self) -> Vec<Page> {
        let DiskState { write_cache, descriptor_sense } = self.state;
        let bit = |on: bool, bit: u8| if on { bit } else { 0 };
        let mut recovery = vec![0; 10];
        // Blocks are reassigned by themselves.
        recovery[0] = 0x80;
        let mut caching = vec![0; 18];
        caching[0] = bit(write_cache, WCE);
        let mut control = vec![0; 10];
        control[0] = bit(descriptor_sense, D_SENSE);
        vec![
            Page::fixed(RECOVERY, recovery),
            Page::fixed(RIGID, self.rigid()),
            Page::fixed(FLEXIBLE, self.flexible()),
            Page { code: CACHING, values: caching, changeable: vec![WCE] },
            Page { code: CONTROL, values: control, changeable: vec![D_SENSE] },
        ]
    }

    fn cylinders(&self) -> [u8; 3] {
        let [high, low] = self.geometry.cylinders.to_be_bytes();
        [0, high, low]
    }

    fn rigid(&self) -> Vec<u8> {
        let mut page = vec![0; 22];
        page[..3].copy_from_slice(&self.cylinders());
        page[3] = self.geometry.heads;
        // Write precompensation and reduced current begin behind the end.
        page[4..7].copy_from_slice(&self.cylinders());
        page[7..10].copy_from_slice(&self.cylinders());
        // Steps of 200 ns, landing zone -1, 5400 rotations a minute.
        page[10..12].copy_from_slice(&200u16.to_be_bytes());
        page[12..15].fill(0xff);
        page[18..20].copy_from_slice(&5400u16.to_be_bytes());
        page
    }

    fn flexible(&self) -> Vec<u8> {
        let Geometry { heads, sectors, .. } = self.geometry;
        let mut page = vec![0; 30];
        // 5000 kbit/s.
        page[..2].copy_from_slice(&5000u16.to_be_bytes());
        page[2..4].copy_from_slice(&[heads, sectors]);
        page[4..6].copy_from_slice(&(self.block as u16).to_be_bytes());
        page[6..8].copy_from_slice(&self.cylinders()[1..]);
        page[8..10].copy_from_slice(&self.cylinders()[1..]);
        page[10..12].copy_from_slice(&self.cylinders()[1..]);
        // Step rate, step width and settle time of QEMU's disk, and its motor's delays.
        page[13] = 1;
        page[14] = 1;
        page[16] = 1;
        page[17] = 1;
        page[18] = 1;
        page[26..28].copy_from_slice(&5400u16.to_be_bytes());
        page
    }

    /// Takes over what MODE SELECT wants, which was checked.
    pub(super) fn set_pages(&mut self, pages: &[(u8, Vec<u8>)]) -> Reply {
        let had_cache = self.state.write_cache;
        for (code, values) in pages {
            let first = values.first().copied().unwrap_or(0);
            match *code {
                CACHING => self.state.write_cache = first & WCE != 0,
                CONTROL => self.state.descriptor_sense = first & D_SENSE != 0,
                _ => {}
            }
        }
        // What is in a cache that is turned off is safe afterwards.
        if had_cache && !self.state.write_cache { Reply::Medium(Work::Flush) } else { Reply::Done }
    }

    pub(super) fn inspect(&self, node: &mut Node) {
        node.value("kind", "disk").value("blocks", self.blocks()).value("block", self.block);
        node.value("read only", self.info.read_only).value("write cache", self.state.write_cache);
    }
}
