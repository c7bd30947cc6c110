//! L1 and L2 tables: which host cluster holds a guest's cluster.

use std::collections::{BTreeSet, HashSet};
use std::io;

use super::cache::{Cache, Page};
use super::header::{Geometry, Header, Refusal};
use super::refcount::ENTRIES_PER_SECTOR;
use super::spec::*;
use crate::image::host::HostFile;

/// Most bytes of L2 tables in memory: enough for 64 GiB of disk in clusters of 64 KiB.
const L2_CACHE: u64 = 8 << 20;
/// Most bytes of refcount blocks in memory.
const REFCOUNT_CACHE: u64 = 1 << 20;
/// An image that is opened to be written is looked at whole by then, if its L2 tables have so many bytes together;
/// one with more when it is first changed.
const LOOKED_AT: u64 = 4 << 20;

/// How much metadata is held in memory, and looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Pages of L2 tables.
    pub(super) l2: usize,
    /// Pages of refcount blocks.
    pub(super) refcounts: usize,
    /// Bytes of L2 tables that are read to open the image.
    pub(super) looked_at: u64,
}

impl Limits {
    /// What a disk of such a header needs, within bounds.
    pub(super) fn of(header: &Header) -> Limits {
        let page = header.geometry.page();
        let entries = header.geometry.clusters(header.size);
        // With room to spare: where all tables fit no commit is ever for want of room.
        let all = (entries * 8).div_ceil(page);
        let pages = (all + all / 2 + 8).min(L2_CACHE / page);
        let refcounts = (REFCOUNT_CACHE / page) as usize;
        Limits { l2: pages as usize, refcounts, looked_at: LOOKED_AT }
    }
}

/// The metadata as it will be on the disk.
pub(super) struct State {
    pub(super) version: u32,
    pub(super) geometry: Geometry,
    pub(super) l1: Vec<u64>,
    pub(super) l1_at: u64,
    /// Sectors of the L1 table that are to be written.
    pub(super) l1_dirty: BTreeSet<usize>,
    /// L1 entries that no L1 table on the disk holds yet: their L2 tables may be written at any time.
    pub(super) fresh: HashSet<usize>,
    pub(super) l2: Cache,
    pub(super) reftable: Vec<u64>,
    pub(super) reftable_at: u64,
    pub(super) reftable_dirty: BTreeSet<usize>,
    pub(super) refcounts: Cache,
    /// Clusters of metadata, the header's among them.
    pub(super) metadata: BTreeSet<u64>,
    /// No cluster below it is free.
    pub(super) hint: u64,
    /// No cluster from it on was ever written.
    pub(super) high: u64,
    /// The host file cannot have a cluster from it on.
    pub(super) limit: u64,
    /// Guest clusters that are being given a host cluster, first and end.
    pub(super) busy: Vec<(u64, u64)>,
    /// Host clusters that no entry in memory names any more, first and count.
    pub(super) freed: Vec<(u64, u64)>,
    /// A sync failed: what is on the disk is not known.
    pub(super) broken: bool,
    /// A commit failed half-way: an L1 entry may be on the disk though it counts as fresh.
    pub(super) careful: bool,
}

/// What an L2 entry says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mapping {
    /// Zeros, or what the layer below has.
    Unallocated,
    /// Zeros; a cluster may be kept for it.
    Zero(Option<u64>),
    /// A host cluster's first byte; `own`: no other entry names it.
    Data {
        /// First byte.
        at: u64,
        /// Written in place.
        own: bool,
    },
    /// A compressed cluster: first byte and most that it takes.
    Compressed {
        /// First byte.
        at: u64,
        /// Bytes.
        len: u64,
    },
}

/// An error of the image, for the log.
pub(super) fn corrupt(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: qemu-img check shows more"))
}

/// Where an L2 entry lies.
#[derive(Clone, Copy)]
pub(super) struct Slot {
    /// Its page's first byte in the file.
    pub(super) page: u64,
    /// L1 index.
    pub(super) table: usize,
    /// Index in the page.
    pub(super) index: usize,
}

impl State {
    /// Reads the tables. For a writable image also those of the refcounts, each pointer checked.
    pub(super) fn load(
        file: &dyn HostFile,
        header: &Header,
        limits: Limits,
        writable: bool,
    ) -> Result<State, Refusal> {
        let geometry = header.geometry;
        let len = file.len()?;
        let limit = if file.grows() { geometry.host_limit() } else { geometry.index(len) };
        let mut state = State {
            version: header.version,
            geometry,
            l1: table(file, header.l1_at, header.l1_entries)?,
            l1_at: header.l1_at,
            l1_dirty: BTreeSet::new(),
            fresh: HashSet::new(),
            l2: Cache::new(limits.l2),
            reftable: Vec::new(),
            reftable_at: header.reftable_at,
            reftable_dirty: BTreeSet::new(),
            refcounts: Cache::new(limits.refcounts),
            metadata: BTreeSet::new(),
            hint: 0,
            high: geometry.clusters(len),
            limit,
            busy: Vec::new(),
            freed: Vec::new(),
            broken: false,
            careful: false,
        };
        if writable {
            let entries = header.reftable_clusters * geometry.cluster() / 8;
            state.reftable = table(file, header.reftable_at, entries)?;
            state.note_metadata(header)?;
        } else {
            state.note_tables(header);
        }
        Ok(state)
    }

    /// Notes where the tables lie that a reader needs. A damaged entry is found when it is used.
    fn note_tables(&mut self, header: &Header) {
        let geometry = self.geometry;
        let first = geometry.index(header.l1_at);
        let l2 =
            self.l1.iter().map(|entry| geometry.index(entry & OFFSET)).filter(|cluster| *cluster < self.high);
        let l1 = first..first + geometry.clusters(header.l1_entries * 8);
        self.metadata = std::iter::once(0).chain(l1).chain(l2).collect();
    }

    /// Notes where all metadata lies. No two pieces may lie in one cluster.
    fn note_metadata(&mut self, header: &Header) -> Result<(), Refusal> {
        let geometry = self.geometry;
        let damaged =
            |what: &str| Refusal::Unsupported(format!("has {what}; repair it first (qemu-img check -r all)"));
        self.metadata.insert(0);
        let tables = [
            (header.l1_at, header.l1_entries * 8),
            (header.reftable_at, header.reftable_clusters * geometry.cluster()),
        ];
        for (at, bytes) in tables {
            let first = geometry.index(at);
            for cluster in first..first + geometry.clusters(bytes) {
                if !self.metadata.insert(cluster) {
                    return Err(damaged("tables that overlap"));
                }
            }
        }
        if self.l1.iter().any(|entry| !sane_l1(*entry)) {
            return Err(damaged("an entry of its L1 table that is damaged"));
        }
        let blocks = self.reftable.iter().map(|entry| (*entry, "refcount table"));
        let l2 = self.l1.iter().map(|entry| (entry & OFFSET, "L1 table"));
        for (at, name) in blocks.chain(l2).filter(|(at, _)| *at != 0) {
            if !at.is_multiple_of(geometry.cluster()) || geometry.index(at) >= self.high {
                return Err(damaged(&format!("an entry of its {name} that points nowhere")));
            }
            if !self.metadata.insert(geometry.index(at)) {
                return Err(damaged(&format!("an entry of its {name} that points to other metadata")));
            }
        }
        if self.reftable.first().is_none_or(|first| *first == 0) {
            return Err(Refusal::Damaged("its refcount table does not cover the header itself"));
        }
        Ok(())
    }

    /// Where a guest cluster's entry is. None: there is no L2 table.
    pub(super) fn slot(&self, cluster: u64) -> io::Result<Option<Slot>> {
        let geometry = self.geometry;
        let table = usize::try_from(cluster >> geometry.l2_bits()).unwrap_or(usize::MAX);
        let entry = self.l1.get(table).ok_or_else(|| corrupt("the L1 table is too short"))?;
        let at = entry & OFFSET;
        if !sane_l1(*entry) {
            return Err(corrupt("an L1 entry is damaged"));
        }
        if at == 0 {
            return Ok(None);
        }
        if !at.is_multiple_of(geometry.cluster()) || geometry.index(at) >= self.high {
            return Err(corrupt("an L1 entry points nowhere"));
        }
        let byte = (cluster & ((1 << geometry.l2_bits()) - 1)) * 8;
        let page = at + byte / geometry.page() * geometry.page();
        Ok(Some(Slot { page, table, index: (byte % geometry.page() / 8) as usize }))
    }

    /// Guest clusters up to the end of the page of L2 entries that `cluster` is in.
    pub(super) fn to_page_end(&self, cluster: u64) -> u64 {
        let per_page = self.geometry.page() / 8;
        per_page - cluster % per_page
    }

    /// The page of a slot.
    pub(super) fn page(&mut self, file: &dyn HostFile, slot: Slot) -> io::Result<&mut Page> {
        let size = self.geometry.page() as usize;
        let load = || {
            let mut data = vec![0; size];
            file.read(&mut data, slot.page).map(|()| data)
        };
        self.l2.get(slot.page, slot.table, load, None)
    }

    /// What an entry means. One that no writer makes is refused: whatever it was, it is not the guest's data.
    pub(super) fn decode(&self, entry: u64) -> io::Result<Mapping> {
        let geometry = self.geometry;
        let zero = entry & OFLAG_ZERO != 0;
        let damaged = match entry & OFLAG_COMPRESSED != 0 {
            // Many may share its sectors: it is never written in place.
            true => entry & OFLAG_COPIED != 0,
            false => {
                entry & L2_RESERVED != 0
                    || (zero && self.version < 3)
                    || (entry & OFLAG_COPIED != 0 && entry & OFFSET == 0)
            }
        };
        if damaged {
            return Err(corrupt("an L2 entry is damaged"));
        }
        if entry & OFLAG_COMPRESSED != 0 {
            // The offset has 62 - (cluster_bits - 8) bits; above it is the count of further sectors.
            let bits = 62 - (geometry.cluster_bits - 8);
            let at = entry & ((1 << bits) - 1);
            let sectors = (entry & (OFLAG_COMPRESSED - 1)) >> bits;
            let len = (sectors + 1) * 512 - at % 512;
            if geometry.index(at) >= self.high {
                return Err(corrupt("an L2 entry points nowhere"));
            }
            return Ok(Mapping::Compressed { at, len });
        }
        let at = entry & OFFSET;
        if at != 0 && (!at.is_multiple_of(geometry.cluster()) || geometry.index(at) >= self.high) {
            return Err(corrupt("an L2 entry points nowhere"));
        }
        Ok(match at {
            _ if zero => Mapping::Zero((at != 0).then_some(at)),
            0 => Mapping::Unallocated,
            at => Mapping::Data { at, own: entry & OFLAG_COPIED != 0 },
        })
    }

    /// Makes sure that a guest cluster's L2 table may be changed. None: the refcount table must grow first.
    pub(super) fn own_table(&mut self, file: &dyn HostFile, cluster: u64) -> io::Result<Option<Slot>> {
        let table = (cluster >> self.geometry.l2_bits()) as usize;
        let slot = self.slot(cluster)?;
        let entry = self.l1[table];
        if let (Some(slot), true) = (slot, entry & OFLAG_COPIED != 0) {
            return Ok(Some(slot));
        }
        let size = self.geometry.cluster();
        let mut data = vec![0; size as usize];
        let old = entry & OFFSET;
        if old != 0 {
            file.read(&mut data, old)?;
        }
        let Some(run) = self.allocate(file, 1)? else { return Ok(None) };
        let at = self.geometry.at(run.first);
        if let Err(error) = file.write(&data, at) {
            self.give_back(file, run);
            return Err(error);
        }
        self.l2.forget(at, size);
        self.l1[table] = at | OFLAG_COPIED;
        self.l1_dirty.insert(table / ENTRIES_PER_SECTOR);
        self.fresh.insert(table);
        self.metadata.insert(run.first);
        if old != 0 {
            self.freed.push((self.geometry.index(old), 1));
        }
        self.slot(cluster)
    }

    /// Lets entries of one page name host clusters in a row. The old ones are given back after the next commit.
    pub(super) fn link(
        &mut self,
        file: &dyn HostFile,
        cluster: u64,
        first: u64,
        count: u64,
    ) -> io::Result<()> {
        let geometry = self.geometry;
        self.relink(file, cluster, count, |index| geometry.at(first + index) | OFLAG_COPIED)
    }

    /// Changes entries of one page, whose table may be changed.
    pub(super) fn relink(
        &mut self,
        file: &dyn HostFile,
        cluster: u64,
        count: u64,
        entry: impl Fn(u64) -> u64,
    ) -> io::Result<()> {
        let lost = || io::Error::other("an L2 table that was lost");
        let slot = self.slot(cluster)?.ok_or_else(lost)?;
        let page = self.page(file, slot)?;
        let old: Vec<u64> = (0..count as usize).map(|index| page.entry(slot.index + index)).collect();
        if old.iter().enumerate().all(|(index, old)| *old == entry(index as u64)) {
            return Ok(());
        }
        let freed = old.iter().map(|entry| self.named(*entry)).collect::<io::Result<Vec<_>>>()?;
        let page = self.l2.alter(slot.page).ok_or_else(lost)?;
        for index in 0..count {
            page.set_entry(slot.index + index as usize, entry(index));
        }
        for (first, count) in freed.into_iter().filter(|(_, count)| *count > 0) {
            match self.freed.last_mut() {
                Some(last) if last.0 + last.1 == first => last.1 += count,
                _ => self.freed.push((first, count)),
            }
        }
        Ok(())
    }

    /// Host clusters that an entry names, first and count. One that names metadata is an error: giving that back
    /// would let it be written over.
    fn named(&self, entry: u64) -> io::Result<(u64, u64)> {
        let geometry = self.geometry;
        let (first, count) = match self.decode(entry)? {
            Mapping::Unallocated | Mapping::Zero(None) => return Ok((0, 0)),
            Mapping::Zero(Some(at)) | Mapping::Data { at, .. } => (geometry.index(at), 1),
            Mapping::Compressed { at, len } => {
                let first = geometry.index(at);
                (first, geometry.index(at + len - 1) + 1 - first)
            }
        };
        self.no_metadata(first, count)?;
        Ok((first, count))
    }

    /// Refuses clusters that hold metadata.
    pub(super) fn no_metadata(&self, first: u64, count: u64) -> io::Result<()> {
        match self.metadata.range(first..first + count).next() {
            None => Ok(()),
            Some(_) => Err(corrupt("an L2 entry points to metadata")),
        }
    }

    /// Whether a guest cluster from `first` to before `end` is being given a host cluster.
    pub(super) fn is_busy(&self, first: u64, end: u64) -> bool {
        self.busy.iter().any(|busy| busy.0 < end && first < busy.1)
    }
}

/// Whether an L1 entry has no bit that a writer leaves out.
fn sane_l1(entry: u64) -> bool {
    entry & L1_RESERVED == 0 && (entry & OFLAG_COPIED == 0 || entry & OFFSET != 0)
}

/// A table of 8-byte entries.
fn table(file: &dyn HostFile, at: u64, entries: u64) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0; entries as usize * 8];
    file.read(&mut bytes, at)?;
    Ok(bytes.chunks_exact(8).map(|entry| be64(entry, 0)).collect())
}
