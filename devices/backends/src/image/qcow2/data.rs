//! The guest's reads, writes and discards.

use std::io;
use std::sync::PoisonError;

use super::Qcow2;
use super::mapping::{Mapping, State, corrupt};
use super::refcount::Run;
use super::spec::*;
use crate::image::memory::{Source, Target};

/// How often one piece may ask for a longer refcount table: growing it makes it half as long again.
const GROWTHS: u32 = 8;

/// What a piece of a read finds.
enum Found {
    Zeros,
    Base,
    Data(u64),
    Compressed(u64, u64),
}

/// What became of a piece of a write.
enum Progress {
    Done(u64),
    /// The refcount table must be longer first.
    Grow,
}

/// A row of guest clusters that get host clusters.
struct Fill {
    cluster: u64,
    run: Run,
    /// What the first and the last were before.
    before: (Mapping, Mapping),
}

impl Qcow2 {
    /// Fills `target` from `offset` on.
    pub(in crate::image) fn read(&self, target: &mut Target<'_>, offset: u64) -> io::Result<()> {
        self.returned()?;
        let total = target.len() as u64;
        let mut done = 0;
        while done < total {
            let _user = self.users.read().unwrap_or_else(PoisonError::into_inner);
            let at = offset + done;
            let (found, len) = self.find(at, total - done)?;
            let (skip, size) = (done as usize, len as usize);
            match found {
                Found::Zeros => target.zero(skip, size)?,
                Found::Data(place) => target.load(&*self.file, place, skip, size)?,
                Found::Base => match &self.base {
                    Some(base) => base.read_piece(target, at, skip, size)?,
                    None => target.zero(skip, size)?,
                },
                Found::Compressed(place, bytes) => {
                    let within = at % self.header.geometry.cluster();
                    let cluster = self.inflate(place, bytes)?;
                    target.put(skip, &cluster[within as usize..within as usize + size])?;
                }
            }
            done += len;
        }
        Ok(())
    }

    /// What is at `at`, and how far the same goes on.
    fn find(&self, at: u64, most: u64) -> io::Result<(Found, u64)> {
        let geometry = self.header.geometry;
        let file = &*self.file;
        let mut state = self.state();
        let first = geometry.index(at);
        let within = at - geometry.at(first);
        let Some(slot) = state.slot(first)? else {
            let table_end = ((first >> geometry.l2_bits()) + 1) << geometry.l2_bits();
            return Ok((Found::Base, most.min(geometry.at(table_end) - at)));
        };
        let entry = state.page(file, slot)?.entry(slot.index);
        let start = state.decode(entry)?;
        let clusters = geometry.clusters(within + most).min(state.to_page_end(first));
        let mut count = 1;
        while count < clusters {
            let next = state.page(file, slot)?.entry(slot.index + count as usize);
            let follows = match (start, state.decode(next)) {
                (Mapping::Data { at, .. }, Ok(Mapping::Data { at: next, .. })) => {
                    next == at + geometry.at(count)
                }
                (Mapping::Zero(_), Ok(Mapping::Zero(_))) => true,
                (Mapping::Unallocated, Ok(Mapping::Unallocated)) => true,
                _ => false,
            };
            if !follows {
                break;
            }
            count += 1;
        }
        let found = match start {
            Mapping::Unallocated => Found::Base,
            Mapping::Zero(_) => Found::Zeros,
            Mapping::Data { at, .. } => {
                state.no_metadata(geometry.index(at), count)?;
                Found::Data(at + within)
            }
            Mapping::Compressed { at, len } => Found::Compressed(at, len),
        };
        Ok((found, most.min(geometry.at(count) - within)))
    }

    /// Writes `source` from `offset` on.
    pub(in crate::image) fn write(&self, source: &Source<'_>, offset: u64) -> io::Result<()> {
        let total = source.len() as u64;
        let mut done = 0;
        let mut growths = 0;
        while done < total {
            self.before_change()?;
            match self.write_piece(source, offset + done, done as usize)? {
                Progress::Done(len) => (done, growths) = (done + len, 0),
                Progress::Grow if growths < GROWTHS => {
                    growths += 1;
                    self.grow()?;
                }
                Progress::Grow => return Err(io::ErrorKind::StorageFull.into()),
            }
        }
        Ok(())
    }

    fn grow(&self) -> io::Result<()> {
        let _one = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        self.state().grow_reftable(&*self.file)
    }

    /// Writes what follows from `skip` on to `at`, as far as it goes in one piece.
    fn write_piece(&self, source: &Source<'_>, at: u64, skip: usize) -> io::Result<Progress> {
        let _user = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let geometry = self.header.geometry;
        let file = &*self.file;
        let most = (source.len() - skip) as u64;
        let first = geometry.index(at);
        let within = at - geometry.at(first);
        let mut state = self.state();
        let clusters = geometry.clusters(within + most).min(state.to_page_end(first));
        while state.is_busy(first, first + 1) {
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some((place, count)) = self.in_place(&mut state, first, clusters)? {
            drop(state);
            let len = most.min(geometry.at(count) - within);
            source.store(file, place + within, skip, len as usize)?;
            return Ok(Progress::Done(len));
        }
        let Some(fill) = self.start_fill(&mut state, first, clusters)? else { return Ok(Progress::Grow) };
        drop(state);
        let len = most.min(geometry.at(fill.run.count) - within);
        let written = self.fill(&fill, source, skip, within, len);
        let mut state = self.state();
        let linked = written.and_then(|()| state.link(file, first, fill.run.first, fill.run.count));
        if linked.is_err() {
            state.give_back(file, fill.run);
        }
        state.busy.retain(|busy| busy.0 != first);
        drop(state);
        self.settled.notify_all();
        linked.map(|()| Progress::Done(len))
    }

    /// Host clusters in a row that are written in place: the first byte, and how many.
    fn in_place(&self, state: &mut State, first: u64, clusters: u64) -> io::Result<Option<(u64, u64)>> {
        let geometry = self.header.geometry;
        let Some(slot) = state.slot(first)? else { return Ok(None) };
        if state.l1[slot.table] & OFLAG_COPIED == 0 {
            return Ok(None);
        }
        let entry = state.page(&*self.file, slot)?.entry(slot.index);
        let Mapping::Data { at, own: true } = state.decode(entry)? else { return Ok(None) };
        state.no_metadata(geometry.index(at), 1)?;
        match state.refcount(&*self.file, geometry.index(at))? {
            0 => return Err(corrupt("an L2 entry names a cluster that counts as free")),
            1 => {}
            // Another entry may name it, whatever the flag says.
            _ => return Ok(None),
        }
        let mut count = 1;
        while count < clusters {
            let next = state.page(&*self.file, slot)?.entry(slot.index + count as usize);
            let cluster = geometry.index(at) + count;
            let follows = next == geometry.at(cluster) | OFLAG_COPIED && cluster < state.high;
            if !follows
                || state.refcount(&*self.file, cluster)? != 1
                || state.no_metadata(cluster, 1).is_err()
            {
                break;
            }
            count += 1;
        }
        Ok(Some((at, count)))
    }

    /// Gives host clusters to guest clusters from `first` on, whose L2 entries lie in one page. None: the refcount
    /// table must grow first.
    fn start_fill(&self, state: &mut State, first: u64, clusters: u64) -> io::Result<Option<Fill>> {
        let file = &*self.file;
        let Some(slot) = state.own_table(file, first)? else { return Ok(None) };
        let mapping = |state: &mut State, index: u64| {
            let entry = state.page(file, slot)?.entry(slot.index + index as usize);
            state.decode(entry)
        };
        let before = mapping(state, 0)?;
        let mut count = 1;
        let mut last = before;
        while count < clusters && !state.is_busy(first + count, first + count + 1) {
            match mapping(state, count)? {
                Mapping::Data { own: true, .. } => break,
                other => last = other,
            }
            count += 1;
        }
        let Some(run) = state.allocate(file, count)? else { return Ok(None) };
        if run.count < count {
            last = mapping(state, run.count - 1)?;
        }
        state.busy.push((first, first + run.count));
        Ok(Some(Fill { cluster: first, run, before: (before, last) }))
    }

    /// Writes the data of new clusters: `len` bytes from `within` the first on, and around them what was there.
    fn fill(&self, fill: &Fill, source: &Source<'_>, skip: usize, within: u64, len: u64) -> io::Result<()> {
        let geometry = self.header.geometry;
        let start = geometry.at(fill.run.first);
        source.store(&*self.file, start + within, skip, len as usize)?;
        let end = within + len;
        let whole = geometry.at(fill.run.count);
        self.surround(fill, fill.before.0, 0, within)?;
        self.surround(fill, fill.before.1, end, whole)
    }

    /// Writes the bytes of new clusters that the guest does not: from `from` to before `to`, in one cluster.
    fn surround(&self, fill: &Fill, before: Mapping, from: u64, to: u64) -> io::Result<()> {
        if from == to {
            return Ok(());
        }
        let geometry = self.header.geometry;
        let mut data = vec![0; (to - from) as usize];
        // All zeros need not be written where never anything was.
        let mut zeros = false;
        match (before, &self.base) {
            (Mapping::Data { at, .. }, _) => self.file.read(&mut data, at + from % geometry.cluster())?,
            (Mapping::Compressed { at, len }, _) => {
                let cluster = self.inflate(at, len)?;
                let within = (from % geometry.cluster()) as usize;
                data = cluster[within..within + data.len()].to_vec();
            }
            (Mapping::Unallocated, Some(base)) => {
                let at = geometry.at(fill.cluster) + from;
                // The last cluster may reach beyond the disk.
                let inside = (self.size().saturating_sub(at) as usize).min(data.len());
                base.read_piece(&mut Target::Bytes(&mut data[..inside]), at, 0, inside)?;
            }
            (Mapping::Unallocated | Mapping::Zero(_), _) => zeros = true,
        }
        if zeros && fill.run.virgin {
            return Ok(());
        }
        self.file.write(&data, geometry.at(fill.run.first) + from)
    }

    /// Gives the space of whole clusters back; they read as zeros then. The rest stays as it is.
    pub(in crate::image) fn discard(&self, offset: u64, len: u64) -> io::Result<()> {
        let geometry = self.header.geometry;
        let end = offset.saturating_add(len).min(self.size());
        let last = if end == self.size() { geometry.clusters(end) } else { geometry.index(end) };
        let mut next = geometry.clusters(offset);
        let mut growths = 0;
        while next < last {
            self.before_change()?;
            match self.discard_piece(next, last - next)? {
                Progress::Done(count) => (next, growths) = (next + count, 0),
                Progress::Grow if growths < GROWTHS => {
                    growths += 1;
                    self.grow()?;
                }
                Progress::Grow => return Err(io::ErrorKind::StorageFull.into()),
            }
        }
        Ok(())
    }

    fn discard_piece(&self, first: u64, most: u64) -> io::Result<Progress> {
        let geometry = self.header.geometry;
        let file = &*self.file;
        let mut state = self.state();
        if state.slot(first)?.is_none() {
            let table_end = ((first >> geometry.l2_bits()) + 1) << geometry.l2_bits();
            return Ok(Progress::Done(most.min(table_end - first)));
        }
        let count = most.min(state.to_page_end(first));
        while state.is_busy(first, first + count) {
            state = self.settled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.own_table(file, first)?.is_none() {
            return Ok(Progress::Grow);
        }
        // What lies below must not show again.
        let gone = if self.base.is_some() { OFLAG_ZERO } else { 0 };
        state.relink(file, first, count, |_| gone)?;
        Ok(Progress::Done(count))
    }
}
