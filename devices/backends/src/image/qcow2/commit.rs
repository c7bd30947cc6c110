//! Writing metadata back, in order.

use std::collections::HashSet;
use std::io;
use std::sync::PoisonError;

use super::Qcow2;
use super::cache::Copy;
use super::mapping::State;
use super::refcount::ENTRIES_PER_SECTOR;

/// Runs of freed clusters that may wait for a commit.
pub(super) const FREED: usize = 4096;

/// Of an image that takes no more.
pub(super) fn broken() -> io::Error {
    io::Error::other("an earlier sync failed, so the image takes no more writes")
}

/// What one commit writes: the tables as they were when it began. Whatever they name then has its data written.
#[derive(Default)]
struct Plan {
    refcounts: Vec<Copy>,
    reftable: Vec<(u64, Vec<u8>)>,
    fresh_l2: Vec<Copy>,
    l2: Vec<Copy>,
    l1: Vec<(u64, Vec<u8>)>,
    fresh: HashSet<usize>,
    freed: Vec<(u64, u64)>,
    careful: bool,
}

/// Takes the changed sectors of a table of 8-byte entries.
fn sectors(dirty: &mut std::collections::BTreeSet<usize>, table: &[u64], at: u64) -> Vec<(u64, Vec<u8>)> {
    let sector = |number: usize| {
        let first = number * ENTRIES_PER_SECTOR;
        let entries = table.iter().skip(first).take(ENTRIES_PER_SECTOR);
        (at + first as u64 * 8, entries.flat_map(|entry| entry.to_be_bytes()).collect())
    };
    std::mem::take(dirty).into_iter().map(sector).collect()
}

impl State {
    fn plan(&mut self) -> Plan {
        let careful = self.careful;
        let fresh = std::mem::take(&mut self.fresh);
        let is_fresh = |page: &Copy| !careful && fresh.contains(&page.table);
        let (fresh_l2, l2) = self.l2.take_changed().into_iter().partition(is_fresh);
        Plan {
            refcounts: self.refcounts.take_changed(),
            reftable: sectors(&mut self.reftable_dirty, &self.reftable, self.reftable_at),
            fresh_l2,
            l2,
            l1: sectors(&mut self.l1_dirty, &self.l1, self.l1_at),
            fresh,
            freed: std::mem::take(&mut self.freed),
            careful,
        }
    }

    /// A plan is carried out, or has to be made again.
    fn planned(&mut self, plan: &mut Plan, done: bool) {
        for page in &plan.refcounts {
            self.refcounts.saved(page.at, done);
        }
        for page in plan.l2.iter().chain(&plan.fresh_l2) {
            self.l2.saved(page.at, done);
        }
        self.careful = !done && (plan.careful || !plan.l1.is_empty());
        if done {
            return;
        }
        let number = |sector: &(u64, Vec<u8>), at: u64| (sector.0 - at) as usize / 8 / ENTRIES_PER_SECTOR;
        self.reftable_dirty.extend(plan.reftable.iter().map(|sector| number(sector, self.reftable_at)));
        self.l1_dirty.extend(plan.l1.iter().map(|sector| number(sector, self.l1_at)));
        self.fresh.extend(plan.fresh.drain());
        self.freed.append(&mut plan.freed);
    }
}

impl Qcow2 {
    /// Makes all that was written before durable.
    pub(in crate::image) fn flush(&self) -> io::Result<()> {
        self.returned()?;
        self.commit(true)
    }

    /// Makes all durable, and leaves no cluster behind that nothing names.
    pub(super) fn settle(&self) -> io::Result<()> {
        self.returned()?;
        self.commit(true)?;
        // A commit that is under way may be writing an older copy of a page.
        let _one = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state();
        state.refcounts.write_changed(&|page| self.file.write(&page.data, page.at))
    }

    fn sync(&self) -> io::Result<()> {
        // Nobody knows then what is on the disk, and asking again would not tell.
        self.file.sync().inspect_err(|_| self.state().broken = true)
    }

    /// One commit. `always`: syncs even if no metadata has changed.
    pub(super) fn commit(&self, always: bool) -> io::Result<()> {
        let _one = self.commit.lock().unwrap_or_else(PoisonError::into_inner);
        let mut plan = {
            let mut state = self.state();
            if state.broken {
                return Err(broken());
            }
            state.plan()
        };
        let result = self.carry_out(&plan, always);
        let freed = {
            let mut state = self.state();
            state.planned(&mut plan, result.is_ok());
            result.map(|()| plan.freed)?
        };
        self.give_back(&freed)
    }

    fn carry_out(&self, plan: &Plan, always: bool) -> io::Result<()> {
        let write_all =
            |pages: &[Copy]| pages.iter().try_for_each(|page| self.file.write(&page.data, page.at));
        let write_sectors =
            |sectors: &[(u64, Vec<u8>)]| sectors.iter().try_for_each(|(at, data)| self.file.write(data, *at));
        write_all(&plan.refcounts)?;
        write_all(&plan.fresh_l2)?;
        if !plan.reftable.is_empty() {
            self.sync()?;
            write_sectors(&plan.reftable)?;
        }
        let names = !plan.l2.is_empty() || !plan.l1.is_empty();
        if names || always || !plan.reftable.is_empty() {
            self.sync()?;
        }
        if names {
            write_all(&plan.l2)?;
            if plan.careful && !plan.l1.is_empty() {
                self.sync()?;
            }
            write_sectors(&plan.l1)?;
            self.sync()?;
        }
        Ok(())
    }

    /// Gives back clusters that no durable entry names. The commit lock is held: nobody else does.
    fn give_back(&self, freed: &[(u64, u64)]) -> io::Result<()> {
        if freed.is_empty() {
            return Ok(());
        }
        // Whoever found one of them in the tables is done with it after this.
        drop(self.users.write().unwrap_or_else(PoisonError::into_inner));
        let file = &*self.file;
        let clusters = || freed.iter().flat_map(|(first, count)| *first..first + count);
        let mut empty: Vec<(u64, u64)> = Vec::new();
        {
            let mut state = self.state();
            for cluster in clusters() {
                if state.refcount(file, cluster)? == 1 {
                    match empty.last_mut() {
                        Some(last) if last.0 + last.1 == cluster => last.1 += 1,
                        _ => empty.push((cluster, 1)),
                    }
                }
            }
        }
        let geometry = self.header.geometry;
        for (first, count) in empty {
            file.punch(geometry.at(first), geometry.at(count))?;
        }
        let mut state = self.state();
        for cluster in clusters() {
            state.metadata.remove(&cluster);
            state.release(file, cluster)?;
        }
        // They may be written at any time; now, for whoever dies before the next commit.
        state.refcounts.write_changed(&|page| file.write(&page.data, page.at))
    }
}
