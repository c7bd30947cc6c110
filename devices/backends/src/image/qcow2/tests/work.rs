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
    /// Bytes of the disk from one cluster's worth of sectors to the next; 0: they lie in a row.
    pub(super) spread: u64,
    /// Its first writer named the clusters of every other row and died before it counted them.
    pub(super) uncounted: bool,
    pub(super) seed: u64,
}

/// What the sectors of a base hold.
fn base_tags(sectors: usize) -> Vec<u64> {
    // Not the last one, which is not whole.
    (0..sectors).map(|n| if n % 7 < 4 && n + 1 < sectors { 0xba5e << 40 | n as u64 + 1 } else { 0 }).collect()
}

impl Plan {
    fn size(&self) -> u64 {
        self.place(self.sectors - 1) + SECTOR as u64
    }

    /// Where a sector lies on the disk.
    fn place(&self, sector: usize) -> u64 {
        let row = (sector / self.cluster()) as u64;
        match self.spread {
            0 => (sector * SECTOR) as u64,
            spread => row * spread + (sector % self.cluster() * SECTOR) as u64,
        }
    }

    /// Sectors cut where they do not lie in a row: the first of each piece, how many, and where.
    fn pieces(&self, first: usize, count: usize) -> impl Iterator<Item = (usize, usize, u64)> {
        let (mut next, end) = (first, first + count);
        std::iter::from_fn(move || {
            let row_end = if self.spread == 0 { end } else { (next / self.cluster() + 1) * self.cluster() };
            let piece = (next, row_end.min(end) - next, self.place(next));
            next += piece.1;
            (piece.1 > 0).then_some(piece)
        })
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
            Kind::Alone if self.uncounted => self.make_uncounted(),
            Kind::Alone => (made(self.size(), self.layout), vec![0; self.sectors]),
            Kind::AboveRaw(_) | Kind::AboveQcow2(_) => {
                (made(self.size(), self.layout), base_tags(self.sectors))
            }
        }
    }

    /// A disk with something in each row, of which every other one's cluster counts as free.
    fn make_uncounted(&self) -> (Arc<Recorder>, Vec<u64>) {
        let file = made(self.size(), self.layout);
        let image = opened(&file, TINY).unwrap();
        let mut tags = vec![0; self.sectors];
        for number in (0..self.sectors).step_by(self.cluster()) {
            tags[number] = 0xdead << 40 | number as u64 + 1;
            write(&image, self.place(number), &sector(number, tags[number])).unwrap();
        }
        drop(image);
        let geometry = Geometry { cluster_bits: self.layout.cluster_bits, refcount_order: 4 };
        uncount(&file, (0..self.sectors).step_by(2 * self.cluster()).map(|n| geometry.index(self.place(n))));
        (file, tags)
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
pub(super) fn look(image: &Layer, plan: &Plan, first: usize, count: usize) -> Vec<u8> {
    let mut bytes = vec![0xcc; count * SECTOR];
    for (from, count, at) in plan.pieces(first, count) {
        let start = (from - first) * SECTOR;
        image.read(&mut Target::Bytes(&mut bytes[start..start + count * SECTOR]), at).unwrap();
    }
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
        let note = |event| {
            if wild {
            } else {
                (self.note)(event)
            }
        };
        note(Event::Begin { first, count, tag });
        for (first, count, at) in self.plan.pieces(first, count) {
            let data: Vec<u8> = (first..first + count).flat_map(|n| sector(n, tag)).collect();
            self.image.write(&Source::Bytes(&data), at).unwrap();
        }
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
        let before = look(self.image, self.plan, first, count);
        for (_, count, at) in self.plan.pieces(first, count) {
            self.image.discard(at, (count * SECTOR) as u64).unwrap();
        }
        let now = look(self.image, self.plan, first, count);
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
            3 => drop(look(self.image, self.plan, first, count)),
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

/// Makes the host clusters of guest clusters count as free, though entries name them.
pub(super) fn uncount(file: &Arc<Recorder>, clusters: impl Iterator<Item = u64>) {
    let header = header::read(&**file, true).unwrap();
    let mut state = State::load(&**file, &header, TINY, true).unwrap();
    for cluster in clusters {
        let slot = state.slot(cluster).unwrap().unwrap();
        let entry = state.page(file, slot).unwrap().entry(slot.index);
        state.set_refcount(file, header.geometry.index(entry & spec::OFFSET), 0).unwrap();
    }
    state.refcounts.write_changed(&|page| file.write(&page.data, page.at)).unwrap();
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
