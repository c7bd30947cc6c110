//! Counting who names each cluster, to find and to mend refcounts that a dead writer left wrong.

use std::cell::Cell;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::header::{Header, Refusal};
use super::mapping::{Mapping, State};
use super::spec::*;
use crate::image::host::HostFile;

/// Clusters that are counted at once, two bytes for each: 4 TiB of clusters of 64 KiB.
const WINDOW: u64 = 64 << 20;
/// Windows that are counted at most.
const WINDOWS: u64 = 16;
/// Bytes of L2 tables that are read at most, all of them for each window: 32 TiB of disk in clusters of 64 KiB.
const READ: u64 = 32 << 30;
/// Clusters of a file that is looked at to open it.
const AT_ONCE: u64 = 4 << 20;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Clusters whose refcount is under the entries that name them: they may be given out again.
    pub(super) low: u64,
    /// Those of them that nobody writes in place: no writer names a new cluster so.
    pub(super) uncertain: u64,
    /// Clusters whose refcount is over: they are lost to the file.
    pub(super) leaked: u64,
    /// Clusters that are written in place though more than one entry names them.
    pub(super) shared: u64,
    /// Entries that point nowhere.
    pub(super) astray: u64,
    /// Entries whose COPIED flag says another thing than the refcount.
    pub(super) flags: u64,
}

/// How long tables are looked at in silence.
const SILENCE: Duration = Duration::from_secs(2);
/// Tables, or thousands of refcounts, from one look at the clock to the next.
const STRIDE: u64 = 64;

/// How far looking at all tables is, for the log; and the end of it, when nobody waits for it any more.
pub(super) struct Progress<'a> {
    given_up: &'a AtomicBool,
    steps: Cell<u64>,
    tables: Cell<u64>,
    /// Tables that there are. They are read once or more.
    of: Cell<u64>,
    tell: Cell<Instant>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(given_up: &'a AtomicBool) -> Progress<'a> {
        let tell = Cell::new(Instant::now() + SILENCE);
        Progress { given_up, steps: Cell::new(0), tables: Cell::new(0), of: Cell::new(0), tell }
    }

    /// One more table is read.
    fn table(&self) -> Result<(), Refusal> {
        self.tables.set(self.tables.get() + 1);
        self.step()
    }

    /// A cluster's refcount is compared.
    fn refcount(&self, cluster: u64) -> Result<(), Refusal> {
        if cluster.is_multiple_of(1024) { self.step() } else { Ok(()) }
    }

    fn step(&self) -> Result<(), Refusal> {
        if self.given_up.load(Ordering::Relaxed) {
            return Err(Refusal::Io(given_up()));
        }
        self.steps.set(self.steps.get() + 1);
        if self.steps.get().is_multiple_of(STRIDE) && Instant::now() >= self.tell.get() {
            let (read, of) = (self.tables.get(), self.of.get());
            tracing::info!(read, of, "the tables of a disk image are looked at before its first change");
            // Ever more rarely.
            self.tell.set(Instant::now() + 5 * SILENCE);
        }
        Ok(())
    }
}

/// Of an image whose user is gone.
pub(super) fn given_up() -> io::Error {
    io::Error::other("its tables were not looked at to the end: the disk was closed")
}

/// Bits of a count: who names the cluster.
const COUNT: u16 = (1 << 15) - 1;
/// An entry that lets it be written in place, or metadata.
const OWNED: u16 = 1 << 15;

/// Calls `visit` with the cluster that each entry names, and whether the entry lets it be written in place; with
/// None for one that points nowhere.
fn walk(
    file: &dyn HostFile,
    header: &Header,
    state: &State,
    progress: &Progress<'_>,
    visit: &mut dyn FnMut(Option<u64>, bool, u64),
) -> Result<(), Refusal> {
    let geometry = header.geometry;
    let l1 = geometry.index(state.l1_at);
    let reftable = geometry.index(state.reftable_at);
    visit(Some(0), true, OFLAG_COPIED);
    (l1..l1 + geometry.clusters(header.l1_entries * 8)).for_each(|c| visit(Some(c), true, OFLAG_COPIED));
    let table = geometry.clusters(state.reftable.len() as u64 * 8);
    (reftable..reftable + table).for_each(|c| visit(Some(c), true, OFLAG_COPIED));
    for entry in state.reftable.iter().filter(|entry| **entry != 0) {
        visit(Some(geometry.index(*entry)), true, OFLAG_COPIED);
    }
    let mut bytes = vec![0; geometry.cluster() as usize];
    for entry in state.l1.iter().filter(|entry| **entry & OFFSET != 0) {
        let at = entry & OFFSET;
        visit(Some(geometry.index(at)), entry & OFLAG_COPIED != 0, *entry);
        file.read(&mut bytes, at)?;
        progress.table()?;
        for entry in bytes.chunks_exact(8).map(|entry| be64(entry, 0)).filter(|entry| *entry != 0) {
            match state.decode(entry) {
                Err(_) => visit(None, false, entry),
                Ok(Mapping::Unallocated | Mapping::Zero(None)) => {}
                Ok(Mapping::Data { at, .. } | Mapping::Zero(Some(at))) => {
                    visit(Some(geometry.index(at)), entry & OFLAG_COPIED != 0, entry);
                }
                Ok(Mapping::Compressed { at, len }) => {
                    for cluster in geometry.index(at)..=geometry.index(at + len - 1) {
                        visit(Some(cluster), false, entry);
                    }
                }
            }
        }
    }
    Ok(())
}

/// Counts the references of a window of clusters.
fn count(
    file: &dyn HostFile,
    header: &Header,
    state: &State,
    progress: &Progress<'_>,
    first: u64,
    astray: &mut u64,
) -> Result<Vec<u16>, Refusal> {
    let len = state.high.saturating_sub(first).min(WINDOW) as usize;
    let mut counts = vec![0u16; len];
    walk(file, header, state, progress, &mut |cluster, owned, _| match cluster {
        None => *astray += 1,
        Some(cluster) => {
            if let Some(count) = cluster.checked_sub(first).and_then(|index| counts.get_mut(index as usize)) {
                *count = (*count & OWNED) | (*count & COUNT).saturating_add(1).min(COUNT);
                *count |= if owned { OWNED } else { 0 };
            }
        }
    })?;
    Ok(counts)
}

/// Looks at every cluster of the file.
pub(super) fn judge(
    file: &dyn HostFile,
    header: &Header,
    state: &mut State,
    progress: &Progress<'_>,
) -> Result<Verdict, Refusal> {
    let mut verdict = Verdict::default();
    for first in (0..state.high).step_by(WINDOW as usize) {
        let mut astray = 0;
        let counts = count(file, header, state, progress, first, &mut astray)?;
        verdict.astray = astray;
        for (cluster, count) in (first..).zip(counts) {
            progress.refcount(cluster)?;
            let refcount = state.refcount(file, cluster)?;
            let references = u64::from(count & COUNT);
            verdict.low += u64::from(refcount < references);
            verdict.uncertain += u64::from(refcount < references && count & OWNED == 0);
            verdict.leaked += u64::from(refcount > references);
            verdict.shared += u64::from(references > 1 && count & OWNED != 0);
        }
    }
    Ok(verdict)
}

/// Makes refcounts what they should be: those that are too low, and if `all` those that are too high.
fn repair(
    file: &dyn HostFile,
    header: &Header,
    state: &mut State,
    progress: &Progress<'_>,
    all: bool,
) -> Result<(), Refusal> {
    let end = state.high;
    for first in (0..end).step_by(WINDOW as usize) {
        let counts = count(file, header, state, progress, first, &mut 0)?;
        for (cluster, count) in (first..end).zip(counts) {
            progress.refcount(cluster)?;
            let references = u64::from(count & COUNT);
            let refcount = state.refcount(file, cluster)?;
            // Blocks that were made meanwhile lie beyond the end.
            if refcount < references || (all && refcount > references) {
                state.force_refcount(file, cluster, references)?;
            }
        }
    }
    state.refcounts.write_changed(&|page| file.write(&page.data, page.at))?;
    file.sync()?;
    if !state.reftable_dirty.is_empty() {
        let bytes: Vec<u8> = state.reftable.iter().flat_map(|entry| entry.to_be_bytes()).collect();
        file.write(&bytes, state.reftable_at)?;
        state.reftable_dirty.clear();
        file.sync()?;
    }
    Ok(())
}

/// Repairs an image that its last writer left unclean, before it is written, if that is safe: no cluster may be used
/// for two things. One that has more bytes of L2 tables than `at_once`, or very many clusters, is left for later,
/// however it was left. Whether it was looked at: another state that was loaded before is old then.
pub(super) fn mend(
    file: &dyn HostFile,
    header: &Header,
    state: &mut State,
    progress: &Progress<'_>,
    at_once: Option<u64>,
) -> Result<bool, Refusal> {
    let refused =
        |why: &str| Err(Refusal::Unsupported(format!("{why}; repair it first (qemu-img check -r all)")));
    let dirty = header.incompatible & INCOMPAT_DIRTY != 0;
    let tables = state.l1.iter().filter(|entry| **entry & OFFSET != 0).count() as u64;
    progress.of.set(tables);
    let bytes = tables * header.geometry.cluster();
    let windows = state.high.div_ceil(WINDOW);
    if windows > WINDOWS || bytes.saturating_mul(windows) > READ {
        let why = "has too many clusters to be looked at before it is written";
        return Err(Refusal::Unsupported(format!(
            "{why}; larger ones help (qemu-img convert -o cluster_size=2M)"
        )));
    }
    if at_once.is_some_and(|most| bytes > most || state.high > AT_ONCE) {
        return Ok(false);
    }
    let verdict = judge(file, header, state, progress)?;
    // What an entry beyond the end names would be another's when the file has grown.
    if verdict.shared + verdict.astray > 0 {
        return refused("has damaged metadata");
    }
    if !dirty && verdict.low == 0 {
        return Ok(true);
    }
    // A writer that names clusters before it counts them leaves just these uncounted. A damaged entry names one that is
    // not its own, and what it named before is lost.
    if !dirty && verdict.leaked + verdict.uncertain > 0 {
        return refused("has damaged metadata");
    }
    // Bitmaps that a later reader may still want are not counted here.
    repair(file, header, state, progress, dirty && header.autoclear == 0)?;
    tracing::warn!(
        low = verdict.low,
        leaked = verdict.leaked,
        "a disk image was not closed properly; repaired"
    );
    if dirty {
        let features = header.incompatible & !INCOMPAT_DIRTY;
        file.write(&features.to_be_bytes(), field::INCOMPATIBLE_FEATURES as u64)?;
        file.sync()?;
    }
    Ok(true)
}

/// Counts the COPIED flags that say another thing than the refcounts, too.
#[cfg(test)]
pub(super) fn judge_whole(
    file: &dyn HostFile,
    header: &Header,
    state: &mut State,
) -> Result<Verdict, Refusal> {
    let never = AtomicBool::new(false);
    let progress = Progress::new(&never);
    let mut verdict = judge(file, header, state, &progress)?;
    let mut named = Vec::new();
    walk(file, header, state, &progress, &mut |cluster, _, entry| named.push((cluster, entry)))?;
    for (cluster, entry) in named {
        if let Some(cluster) = cluster
            && entry & OFLAG_COMPRESSED == 0
        {
            let own = state.refcount(file, cluster)? == 1;
            verdict.flags += u64::from(own != (entry & OFLAG_COPIED != 0));
        }
    }
    Ok(verdict)
}
