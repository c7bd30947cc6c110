//! Guests at work on an image, and the kinds of images that they work on.

use std::sync::Barrier;

use super::promise::{SECTOR, sector};
use super::recorder::Event;
use super::*;

/// What the disk is made of.
#[derive(Clone)]
pub(super) enum Kind {
    /// A qcow2 file alone.
    Alone,
    /// One above a raw file, as a snapshot is. The file ends in the middle of a sector.
    AboveRaw(Arc<Recorder>),
    /// One above another qcow2 file.
    AboveQcow2(Arc<Recorder>),
    /// A raw file, which ends in the middle of a sector.
    Raw,
}

/// How a run goes.
#[derive(Clone)]
pub(super) struct Plan {
    pub(super) kind: Kind,
    pub(super) layout: Layout,
    pub(super) sectors: usize,
    pub(super) operations: usize,
    pub(super) workers: usize,
    pub(super) limits: Limits,
    /// Sectors in a row that one worker has; the next are the next worker's. 0: each has one row of them.
    pub(super) grain: usize,
    /// So many sectors at the start are everybody's, and nothing is promised of them.
    pub(super) wild: usize,
    /// Clusters that are free in what the refcount table covers when a life begins.
    pub(super) room: Option<u64>,
    pub(super) seed: u64,
}

/// What the sectors of a base hold.
fn base_tags(sectors: usize) -> Vec<u64> {
    // Not the last one, which is not whole.
    (0..sectors).map(|n| if n % 7 < 4 && n + 1 < sectors { 0xba5e << 40 | n as u64 + 1 } else { 0 }).collect()
}

impl Plan {
    fn size(&self) -> u64 {
        (self.sectors * SECTOR) as u64
    }

    /// Above such a file.
    pub(super) fn above_raw(self) -> Plan {
        let mut bytes: Vec<u8> =
            base_tags(self.sectors).iter().enumerate().flat_map(|(n, tag)| sector(n, *tag)).collect();
        bytes.truncate(bytes.len() - 300);
        Plan { kind: Kind::AboveRaw(Recorder::of(bytes)), ..self }
    }

    /// Above such an image.
    pub(super) fn above_qcow2(self) -> Plan {
        let base = made(self.size(), layout(12, 4));
        let image = opened(&base, TINY).unwrap();
        for (number, tag) in base_tags(self.sectors).iter().enumerate().filter(|(_, tag)| **tag != 0) {
            write(&image, (number * SECTOR) as u64, &sector(number, *tag)).unwrap();
        }
        drop(image);
        Plan { kind: Kind::AboveQcow2(base), ..self }
    }

    /// An empty disk, and what its sectors hold.
    pub(super) fn make(&self) -> (Arc<Recorder>, Vec<u64>) {
        match self.kind {
            Kind::Raw => (Recorder::of(vec![0; self.size() as usize - 300]), vec![0; self.sectors]),
            Kind::Alone => (made(self.size(), self.layout), vec![0; self.sectors]),
            Kind::AboveRaw(_) | Kind::AboveQcow2(_) => {
                (made(self.size(), self.layout), base_tags(self.sectors))
            }
        }
    }

    /// Opens a file of this plan.
    pub(super) fn open(&self, file: &Arc<Recorder>) -> Result<Layer, Refusal> {
        let base = match &self.kind {
            Kind::Raw => return Ok(Layer::Raw(Box::new(file.clone()))),
            Kind::Alone => None,
            Kind::AboveRaw(base) => Some(Layer::Raw(Box::new(base.clone()))),
            Kind::AboveQcow2(base) => {
                Some(Layer::Qcow2(Box::new(Qcow2::open(Box::new(base.clone()), false)?)))
            }
        };
        Ok(Layer::Qcow2(Box::new(opened_above(file, self.limits, base.map(Box::new))?)))
    }

    fn cluster(&self) -> usize {
        (1 << self.layout.cluster_bits) / SECTOR
    }
}

/// Reads sectors; each is one that somebody wrote there whole, or zeros.
pub(super) fn look(image: &Layer, first: usize, count: usize) -> Vec<u8> {
    let mut bytes = vec![0xcc; count * SECTOR];
    image.read(&mut Target::Bytes(&mut bytes), (first * SECTOR) as u64).unwrap();
    for (number, bytes) in (first..).zip(bytes.chunks_exact(SECTOR)) {
        let tag = u64::from_le_bytes(bytes[..8].try_into().unwrap());
        assert!(*bytes == sector(number, tag), "sector {number} holds {:x?}", &bytes[..24]);
    }
    bytes
}

/// A worker.
struct Worker<'a> {
    image: &'a Layer,
    note: &'a (dyn Fn(Event) + Sync),
    plan: &'a Plan,
    who: usize,
    seed: u64,
}

impl Worker<'_> {
    fn flush(&self) {
        (self.note)(Event::Flush(self.who));
        self.image.flush().unwrap();
        (self.note)(Event::Flushed(self.who));
    }

    fn put(&self, first: usize, count: usize, step: usize, wild: bool) {
        let tag = (self.seed & 0xffff) << 40 | ((self.who + 1) << 32 | (step + 1)) as u64;
        let data: Vec<u8> = (first..first + count).flat_map(|n| sector(n, tag)).collect();
        let note = |event| {
            if wild {
            } else {
                (self.note)(event)
            }
        };
        note(Event::Begin { first, count, tag });
        self.image.write(&Source::Bytes(&data), (first * SECTOR) as u64).unwrap();
        note(Event::End { first, count, tag });
    }

    fn discard(&self, first: usize, count: usize, wild: bool) {
        let note = |event| {
            if wild {
            } else {
                (self.note)(event)
            }
        };
        note(Event::Begin { first, count, tag: 0 });
        let before = look(self.image, first, count);
        self.image.discard((first * SECTOR) as u64, (count * SECTOR) as u64).unwrap();
        let now = look(self.image, first, count);
        for (index, (bytes, before)) in now.chunks_exact(SECTOR).zip(before.chunks_exact(SECTOR)).enumerate()
        {
            assert!(wild || bytes == before || bytes == [0; SECTOR], "what lies below shows again");
            let tag = u64::from_le_bytes(bytes[..8].try_into().unwrap());
            note(Event::End { first: first + index, count: 1, tag });
        }
    }

    /// Something with what is everybody's.
    fn run_wild(&self, random: &mut Random, step: usize) {
        let first = random.below(self.plan.wild as u64) as usize;
        let count = 1 + random.below((self.plan.wild - first).min(2 * self.plan.cluster()) as u64) as usize;
        match random.below(6) {
            0 | 1 => self.discard(first, count, true),
            2 => self.flush(),
            3 => drop(look(self.image, first, count)),
            _ => self.put(first, count, step, true),
        }
    }

    /// Each worker has one row of sectors, whose first and last clusters are others' too.
    fn run_own(&self, random: &mut Random, step: usize) {
        let own = (self.plan.sectors - self.plan.wild) / self.plan.workers;
        let from = self.plan.wild + self.who * own;
        let first = from + random.below(own as u64) as usize;
        let most = (from + own - first).min(3 * self.plan.cluster() + 5);
        let count = 1 + random.below(most as u64) as usize;
        match random.below(12) {
            0 | 1 => self.flush(),
            2 | 3 => self.discard(first, (count * 3).min(from + own - first), false),
            _ => self.put(first, count, step, false),
        }
    }

    /// All are in the same clusters at the same time, each in sectors of its own. Now and then one gives them all back.
    fn run_together(&self, together: &mut Random, random: &mut Random, step: usize) {
        let Plan { grain, workers, wild, sectors, .. } = *self.plan;
        let row = grain * workers;
        let rows = (sectors - wild) / row;
        let at = wild + together.below(rows as u64) as usize * row;
        let (discards, one) = (together.below(4) == 0, together.below(workers as u64) as usize);
        if discards {
            if one == self.who {
                let count = (4 * row).min(wild + rows * row - at);
                self.discard(at, count, false);
            }
        } else if random.below(5) == 0 {
            self.flush();
        } else {
            let count = 1 + random.below(grain as u64) as usize;
            self.put(at + self.who * grain, count, step, false);
        }
    }
}

/// A worker's work, each piece of it noted.
pub(super) fn work(
    image: &Layer,
    note: &(dyn Fn(Event) + Sync),
    plan: &Plan,
    who: usize,
    seed: u64,
    all: &Barrier,
) {
    let mut random = Random::new(seed * 64 + who as u64);
    let mut together = Random::new(seed * 64 + 63);
    let worker = Worker { image, note, plan, who, seed };
    for step in 0..plan.operations {
        if plan.grain > 0 {
            all.wait();
        }
        if plan.wild > 0 && random.below(2) == 0 {
            worker.run_wild(&mut random, step);
        }
        match plan.grain {
            0 => worker.run_own(&mut random, step),
            _ => worker.run_together(&mut together, &mut random, step),
        }
    }
}

/// Fills the file with clusters that nothing names, until only so many are left before the refcount table must grow.
pub(super) fn fill(file: &Arc<Recorder>, room: u64) {
    let header = header::read(&**file, true).unwrap();
    let mut state = State::load(&**file, &header, TINY, true).unwrap();
    let geometry = header.geometry;
    let covered = (state.reftable.len() as u64) << geometry.block_bits();
    while state.hint + room < covered {
        let most = covered - room - state.hint;
        state.allocate(file, most).unwrap();
    }
    state.refcounts.write_changed(&|page| file.write(&page.data, page.at)).unwrap();
    let table: Vec<u8> = state.reftable.iter().flat_map(|entry| entry.to_be_bytes()).collect();
    file.write(&table, state.reftable_at).unwrap();
    file.write(&[0], geometry.at(state.high) - 1).unwrap();
}
