//! Refcounts, and the clusters that are given out and taken back.
//!
//! A page of refcounts may be written at any time: counts go up before anything names a cluster, and down only
//! when the entry that named it is durably gone. So whatever of them a crash leaves is at most too high.

use std::io;

use super::cache::{Cache, Page};
use super::header::Geometry;
use super::mapping::State;
use super::spec::*;
use crate::image::host::HostFile;

/// Clusters that were given out: in a row, each with a refcount of 1.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    pub(super) first: u64,
    pub(super) count: u64,
    /// Never in use before: what is not written reads as zeros.
    pub(super) virgin: bool,
}

/// A refcount in a page of them. Counts of fewer than 8 bits lie in a byte from its low end up.
fn get(data: &[u8], order: u32, index: usize) -> u64 {
    if order < 3 {
        let bit = index << order;
        let byte = data.get(bit / 8).copied().unwrap_or(0);
        return u64::from(byte) >> (bit % 8) & ((1 << (1 << order)) - 1);
    }
    let len = 1 << (order - 3);
    let bytes = data.get(index * len..(index + 1) * len).unwrap_or(&[]);
    bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Changes a refcount, which fits.
pub(super) fn put(data: &mut [u8], order: u32, index: usize, value: u64) {
    if order < 3 {
        let bit = index << order;
        if let Some(byte) = data.get_mut(bit / 8) {
            let mask = ((1u16 << (1 << order)) - 1) as u8;
            *byte = *byte & !(mask << (bit % 8)) | (value as u8 & mask) << (bit % 8);
        }
        return;
    }
    let len = 1 << (order - 3);
    if let Some(bytes) = data.get_mut(index * len..(index + 1) * len) {
        bytes.copy_from_slice(&value.to_be_bytes()[8 - len..]);
    }
}

/// Where a cluster's refcount is: the page's first byte, and the index in it. None where no block counts it.
fn place(geometry: Geometry, reftable: &[u64], cluster: u64) -> Option<(u64, usize)> {
    let block = reftable.get(usize::try_from(cluster >> geometry.block_bits()).ok()?)? & REFTABLE_OFFSET;
    if block == 0 {
        return None;
    }
    let index = cluster & ((1 << geometry.block_bits()) - 1);
    let per_page = geometry.page() * 8 >> geometry.refcount_order;
    Some((block + index / per_page * geometry.page(), (index % per_page) as usize))
}

fn page<'c>(
    cache: &'c mut Cache,
    file: &dyn HostFile,
    geometry: Geometry,
    at: u64,
) -> io::Result<&'c mut Page> {
    let load = || {
        let mut data = vec![0; geometry.page() as usize];
        file.read(&mut data, at).map(|()| data)
    };
    cache.get(at, 0, load, Some(&|page| file.write(&page.data, page.at)))
}

impl State {
    /// How many entries name a cluster.
    pub(super) fn refcount(&mut self, file: &dyn HostFile, cluster: u64) -> io::Result<u64> {
        let geometry = self.geometry;
        match place(geometry, &self.reftable, cluster) {
            None => Ok(0),
            Some((at, index)) => {
                let page = page(&mut self.refcounts, file, geometry, at)?;
                Ok(get(&page.data, geometry.refcount_order, index))
            }
        }
    }

    /// Changes a refcount. A block counts the cluster.
    pub(super) fn set_refcount(&mut self, file: &dyn HostFile, cluster: u64, count: u64) -> io::Result<()> {
        let geometry = self.geometry;
        let lost = || io::Error::other("a cluster that no refcount block counts");
        let (at, index) = place(geometry, &self.reftable, cluster).ok_or_else(lost)?;
        page(&mut self.refcounts, file, geometry, at)?;
        let page = self.refcounts.alter(at).ok_or_else(lost)?;
        put(&mut page.data, geometry.refcount_order, index, count);
        Ok(())
    }

    /// Gives out clusters in a row, up to `most` and at least one. None: the refcount table must grow first.
    pub(super) fn allocate(&mut self, file: &dyn HostFile, most: u64) -> io::Result<Option<Run>> {
        let Some(first) = self.first_free(file)? else { return Ok(None) };
        let block_end = ((first >> self.geometry.block_bits()) + 1) << self.geometry.block_bits();
        let end = first.saturating_add(most.max(1)).min(block_end).min(self.limit);
        let mut next = first;
        while next < end && !self.metadata.contains(&next) && self.refcount(file, next)? == 0 {
            next += 1;
        }
        for cluster in first..next {
            self.set_refcount(file, cluster, 1)?;
        }
        let virgin = first >= self.high;
        self.hint = next;
        self.high = self.high.max(next);
        Ok(Some(Run { first, count: next - first, virgin }))
    }

    /// The first cluster that nobody uses. Makes the refcount block that counts it. Ends, for there are no more
    /// refcounts than the file holds: two entries of the refcount table never name one block.
    fn first_free(&mut self, file: &dyn HostFile) -> io::Result<Option<u64>> {
        let geometry = self.geometry;
        let mut cluster = self.hint;
        loop {
            if cluster >= self.limit {
                return Err(io::ErrorKind::StorageFull.into());
            }
            if cluster >> geometry.block_bits() >= self.reftable.len() as u64 {
                self.hint = cluster;
                return Ok(None);
            }
            if self.metadata.contains(&cluster) {
                cluster += 1;
                continue;
            }
            let Some((at, index)) = place(geometry, &self.reftable, cluster) else {
                self.new_block(file, cluster)?;
                cluster += 1;
                continue;
            };
            let data = &page(&mut self.refcounts, file, geometry, at)?.data;
            let count = data.len() * 8 >> geometry.refcount_order;
            match (index..count).find(|index| get(data, geometry.refcount_order, *index) == 0) {
                Some(free) if free == index => return Ok(Some(cluster)),
                Some(free) => cluster += (free - index) as u64,
                None => cluster += (count - index) as u64,
            }
        }
    }

    /// Makes `cluster`, which no block counts, the block that counts it.
    fn new_block(&mut self, file: &dyn HostFile, cluster: u64) -> io::Result<()> {
        let geometry = self.geometry;
        self.place_block(file, cluster >> geometry.block_bits(), cluster)?;
        self.set_refcount(file, cluster, 1)
    }

    /// Makes `cluster` the empty block of that index of the refcount table.
    fn place_block(&mut self, file: &dyn HostFile, index: u64, cluster: u64) -> io::Result<()> {
        let geometry = self.geometry;
        let at = geometry.at(cluster);
        self.high = self.high.max(cluster + 1);
        file.write(&vec![0; geometry.cluster() as usize], at)?;
        self.refcounts.forget(at, geometry.cluster());
        let index = index as usize;
        *self.reftable.get_mut(index).ok_or(io::ErrorKind::StorageFull)? = at;
        self.reftable_dirty.insert(index / ENTRIES_PER_SECTOR);
        self.metadata.insert(cluster);
        Ok(())
    }

    /// Sets a refcount while nobody knows which clusters are free: a block that there is not is made at the end.
    pub(super) fn force_refcount(&mut self, file: &dyn HostFile, cluster: u64, count: u64) -> io::Result<()> {
        let mut uncounted = Vec::new();
        let mut missing = cluster;
        while place(self.geometry, &self.reftable, missing).is_none() {
            let block = self.high;
            self.place_block(file, missing >> self.geometry.block_bits(), block)?;
            // The block wants a count too, by itself or by one more.
            uncounted.push(block);
            missing = block;
        }
        for block in uncounted {
            self.set_refcount(file, block, 1)?;
        }
        self.set_refcount(file, cluster, count)
    }

    /// One entry fewer names a cluster, durably. Whether it is free now.
    pub(super) fn release(&mut self, file: &dyn HostFile, cluster: u64) -> io::Result<bool> {
        match self.refcount(file, cluster)? {
            0 => {
                tracing::warn!(
                    cluster,
                    "a cluster whose refcount was too low: qemu-img check -r all mends it"
                );
                Ok(false)
            }
            count => {
                self.set_refcount(file, cluster, count - 1)?;
                if count == 1 {
                    self.hint = self.hint.min(cluster);
                }
                Ok(count == 1)
            }
        }
    }

    /// Takes back clusters that were given out and that nothing names.
    pub(super) fn give_back(&mut self, file: &dyn HostFile, run: Run) {
        for cluster in run.first..run.first + run.count {
            // A cluster that cannot be taken back is lost to the file, no more.
            if let Err(error) = self.release(file, cluster) {
                tracing::warn!(%error, cluster, "a cluster is lost");
            }
        }
    }

    /// Makes the refcount table longer, durably. Nothing else is committed meanwhile. Its new place, which the
    /// header names when this is done, lies with the blocks that count it beyond all that is counted.
    pub(super) fn grow_reftable(&mut self, file: &dyn HostFile) -> io::Result<()> {
        let geometry = self.geometry;
        let covered = (self.reftable.len() as u64) << geometry.block_bits();
        if self.hint < covered {
            return Ok(());
        }
        let first = covered.max(self.high);
        let first_block = first >> geometry.block_bits();
        // Half as long again, and long enough to count itself.
        let mut blocks = 1;
        let table = loop {
            let entries = (first_block + blocks + 1).max(self.reftable.len() as u64 * 3 / 2);
            let table = geometry.clusters(entries * 8);
            let last = first + blocks + table - 1;
            if last >> geometry.block_bits() < first_block + blocks {
                break table;
            }
            blocks += 1;
        };
        let end = first + blocks + table;
        if table * geometry.cluster() > REFTABLE_BYTES || end > self.limit {
            return Err(io::ErrorKind::StorageFull.into());
        }
        // Whatever comes of it, there are bytes now.
        self.high = end;
        let entries = (table * geometry.cluster() / 8) as usize;
        let mut longer = self.reftable.clone();
        longer.resize(entries, 0);
        for block in 0..blocks {
            let index = first_block + block;
            let mut data = vec![0; geometry.cluster() as usize];
            let start = index << geometry.block_bits();
            for cluster in first.max(start)..end.min(start + (1 << geometry.block_bits())) {
                put(&mut data, geometry.refcount_order, (cluster - start) as usize, 1);
            }
            let at = geometry.at(first + block);
            file.write(&data, at)?;
            self.refcounts.forget(at, geometry.cluster());
            longer[index as usize] = at;
        }
        self.refcounts.write_changed(&|page| file.write(&page.data, page.at))?;
        let bytes: Vec<u8> = longer.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        file.write(&bytes, geometry.at(first + blocks))?;
        self.synced(file)?;
        let mut place = geometry.at(first + blocks).to_be_bytes().to_vec();
        place.extend((table as u32).to_be_bytes());
        file.write(&place, field::REFCOUNT_TABLE_OFFSET as u64)?;
        self.synced(file)?;
        let old = geometry.index(self.reftable_at);
        let old = old..old + geometry.clusters(self.reftable.len() as u64 * 8);
        self.reftable = longer;
        self.reftable_dirty.clear();
        self.reftable_at = geometry.at(first + blocks);
        self.metadata.extend(first..end);
        for cluster in old {
            self.metadata.remove(&cluster);
            self.release(file, cluster)?;
        }
        Ok(())
    }

    /// Syncs. If that fails nobody knows what is on the disk, and asking again would not tell: nothing more is
    /// committed.
    fn synced(&mut self, file: &dyn HostFile) -> io::Result<()> {
        file.sync().inspect_err(|_| self.broken = true)
    }
}

/// Table entries of 8 bytes that are written at once.
pub(super) const ENTRIES_PER_SECTOR: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refcounts_of_every_width_lie_where_the_specification_says() {
        for order in 0..=6 {
            let max = u64::MAX >> (64 - (1u32 << order));
            let mut data = vec![0; 64];
            put(&mut data, order, 1, max);
            put(&mut data, order, 3, 1);
            assert_eq!([0, 1, 2, 3, 4].map(|at| get(&data, order, at)), [0, max, 0, 1, 0], "{order}");
            put(&mut data, order, 1, 0);
            assert_eq!([1, 3].map(|at| get(&data, order, at)), [0, 1], "{order}");
        }
        let mut data = vec![0; 8];
        put(&mut data, 0, 1, 1);
        put(&mut data, 4, 1, 0x1234);
        assert_eq!(data, [2, 0, 0x12, 0x34, 0, 0, 0, 0]);
        assert_eq!(get(&data, 0, 9999), 0);
    }
}
