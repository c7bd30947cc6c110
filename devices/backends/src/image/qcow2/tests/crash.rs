//! Every death: the file of each prefix of what was written, with any of the writes since the last sync left out, whole
//! or sector by sector. Each must open, hold what was flushed, and be whole.

use super::recorder::{Event, apply, punch};
use super::*;

const SECTOR: usize = 512;

/// A sector that holds `tag`; 0 is zeros.
fn sector(number: usize, tag: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    if tag != 0 {
        bytes.chunks_exact_mut(8).for_each(|word| word.copy_from_slice(&tag.to_le_bytes()));
        bytes[8..16].copy_from_slice(&(number as u64).to_le_bytes());
    }
    bytes
}

/// What a guest may find in each sector: the values that it was given since the last that is durable.
#[derive(Clone)]
struct Promise {
    sectors: Vec<Versions>,
    flushes: Vec<(usize, Vec<usize>)>,
}

#[derive(Clone)]
struct Versions {
    /// Values in order; the first is the last that is durable.
    tags: Vec<u64>,
    /// How many went before them.
    dropped: usize,
    /// How many, from the very first on, are done.
    ended: usize,
}

impl Promise {
    fn new(tags: &[u64]) -> Promise {
        let one = |tag: &u64| Versions { tags: vec![*tag], dropped: 0, ended: 1 };
        Promise { sectors: tags.iter().map(one).collect(), flushes: Vec::new() }
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Begin { first, count, tag } => {
                self.sectors[*first..first + count].iter_mut().for_each(|s| s.tags.push(*tag));
            }
            Event::End { first, count, tag } => {
                for sector in &mut self.sectors[*first..first + count] {
                    // A discard may have left it as it was.
                    if sector.tags.last() != Some(tag) {
                        sector.tags.push(*tag);
                    }
                    sector.ended = sector.dropped + sector.tags.len();
                }
            }
            Event::Flush(who) => {
                self.flushes.push((*who, self.sectors.iter().map(|sector| sector.ended).collect()));
            }
            Event::Flushed(who) => {
                let at = self.flushes.iter().position(|flush| flush.0 == *who).unwrap();
                let (_, ended) = self.flushes.swap_remove(at);
                for (sector, ended) in self.sectors.iter_mut().zip(ended) {
                    let gone = (ended - 1).saturating_sub(sector.dropped);
                    sector.tags.drain(..gone);
                    sector.dropped += gone;
                }
            }
            Event::Write(..) | Event::Punch(..) | Event::Sync => {}
        }
    }

    /// Looks at a disk. The values that it holds.
    fn check(&self, disk: &[u8], what: &str) -> Vec<u64> {
        let mut tags = Vec::new();
        for (number, (versions, found)) in self.sectors.iter().zip(disk.chunks_exact(SECTOR)).enumerate() {
            let tag = versions.tags.iter().find(|tag| sector(number, **tag) == *found);
            let Some(tag) = tag else {
                panic!("{what}: sector {number} holds {:x?}, not one of {:x?}", &found[..16], versions.tags)
            };
            tags.push(*tag);
        }
        tags
    }
}

/// How a run goes.
#[derive(Clone, Copy)]
struct Plan {
    layout: Layout,
    sectors: usize,
    operations: usize,
    workers: usize,
    limits: Limits,
    seed: u64,
}

/// A guest's work, noted in the file's log. Each worker has sectors of its own, that share clusters with others'.
fn work(image: &Qcow2, file: &Recorder, plan: &Plan, who: usize, seed: u64) {
    let mut random = Random::new(seed * 64 + who as u64);
    let own = plan.sectors / plan.workers;
    let from = who * own;
    let cluster = (1usize << plan.layout.cluster_bits) / SECTOR;
    for step in 0..plan.operations {
        let first = from + random.below(own as u64) as usize;
        let most = (from + own - first).min(3 * cluster + 5);
        let count = 1 + random.below(most as u64) as usize;
        match random.below(12) {
            0 | 1 => {
                file.note(Event::Flush(who));
                image.flush().unwrap();
                file.note(Event::Flushed(who));
            }
            2 | 3 => {
                let count = (count * 3).min(from + own - first);
                file.note(Event::Begin { first, count, tag: 0 });
                image.discard((first * SECTOR) as u64, (count * SECTOR) as u64).unwrap();
                let now = read(image, (first * SECTOR) as u64, count * SECTOR);
                for (index, bytes) in now.chunks_exact(SECTOR).enumerate() {
                    let tag = u64::from_le_bytes(bytes[..8].try_into().unwrap());
                    file.note(Event::End { first: first + index, count: 1, tag });
                }
            }
            _ => {
                let tag = (seed & 0xffff) << 40 | ((who + 1) << 32 | (step + 1)) as u64;
                let data: Vec<u8> = (first..first + count).flat_map(|n| sector(n, tag)).collect();
                file.note(Event::Begin { first, count, tag });
                write(image, (first * SECTOR) as u64, &data).unwrap();
                file.note(Event::End { first, count, tag });
            }
        }
    }
}

/// One life on a file: the events of it.
fn live(file: &Arc<Recorder>, plan: &Plan, seed: u64) -> Vec<Event> {
    let image = opened(file, plan.limits).unwrap();
    file.start();
    std::thread::scope(|scope| {
        for who in 0..plan.workers {
            let image = &image;
            scope.spawn(move || work(image, file, plan, who, seed));
        }
    });
    if seed & 1 == 0 {
        drop(image);
        file.log()
    } else {
        let log = file.log();
        drop(image);
        log
    }
}

/// A file after death: what was durable, and of the rest what the dice say.
fn remains(durable: &[u8], pending: &[&Event], random: &mut Random) -> Vec<u8> {
    let mut bytes = durable.to_vec();
    // All, none, a few, most; whole writes, or sector by sector.
    let kept = [256, 0, 20, 128, 236][random.below(5) as usize];
    let torn = random.below(2) == 0;
    for event in pending {
        match event {
            Event::Write(at, data) if torn => {
                let mut at = *at;
                let mut data = &data[..];
                while !data.is_empty() {
                    let now = (SECTOR - at as usize % SECTOR).min(data.len());
                    if random.below(256) < kept {
                        apply(&mut bytes, at, &data[..now]);
                    }
                    (at, data) = (at + now as u64, &data[now..]);
                }
            }
            _ if random.below(256) >= kept => {}
            Event::Write(at, data) => apply(&mut bytes, *at, data),
            Event::Punch(at, len) => punch(&mut bytes, *at, *len),
            _ => {}
        }
    }
    bytes
}

/// Judges one state; the values that its sectors hold.
fn judge(
    bytes: Vec<u8>,
    promise: &Promise,
    plan: &Plan,
    qemu: bool,
    what: &str,
) -> (Arc<Recorder>, Vec<u64>) {
    if qemu && let Some(Err(said)) = qemu_objects(&bytes) {
        panic!("{what}: qemu-img check: {said}");
    }
    let file = Recorder::of(bytes);
    let found = verdict(&*file).unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
    assert!(whole(&found), "{what}: {found:?}");
    let image = opened(&file, plan.limits).unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
    let disk = read(&image, 0, plan.sectors * SECTOR);
    let tags = promise.check(&disk, what);
    drop(image);
    (file, tags)
}

/// Runs a guest and kills it in `states` ways. Every so often the file lives on, to be killed again.
fn kill(file: &Arc<Recorder>, tags: &[u64], plan: &Plan, states: usize, life: u64) -> usize {
    let mut durable = file.bytes();
    let seed = plan.seed * 8 + life;
    let events = live(file, plan, seed);
    let mut promise = Promise::new(tags);
    let mut random = Random::new(seed);
    let mut pending = Vec::new();
    let mut judged = 0;
    let writes =
        events.iter().filter(|e| matches!(e, Event::Write(..) | Event::Punch(..) | Event::Sync)).count();
    let mut seen = 0;
    for (at, event) in events.iter().enumerate() {
        if matches!(event, Event::Write(..) | Event::Punch(..) | Event::Sync) {
            seen += 1;
            while judged < states * seen / writes {
                let what = format!("seed {} life {life} event {at} state {judged}", plan.seed);
                let bytes = remains(&durable, &pending, &mut random);
                let (file, tags) = judge(bytes, &promise, plan, judged % 64 == 9, &what);
                judged += 1;
                if life < 2 && judged % 100 == 50 {
                    judged += kill(&file, &tags, plan, 20, life + 1);
                }
            }
        }
        match event {
            Event::Sync => {
                for event in pending.drain(..) {
                    match event {
                        Event::Write(at, data) => apply(&mut durable, *at, data),
                        Event::Punch(at, len) => punch(&mut durable, *at, *len),
                        _ => {}
                    }
                }
            }
            Event::Write(..) | Event::Punch(..) => pending.push(event),
            other => promise.note(other),
        }
    }
    judged
}

/// Shapes that reach all there is: one L2 table or many, refcount blocks and tables that run full.
fn plans(seed: u64) -> Vec<Plan> {
    let base = Plan { layout: layout(9, 4), sectors: 1024, operations: 60, workers: 1, limits: TINY, seed };
    vec![
        base,
        Plan { layout: layout(9, 6), sectors: 4096 + 513, operations: 150, ..base },
        Plan { layout: layout(9, 0), sectors: 2048, ..base },
        Plan { layout: layout(12, 4), sectors: 2048, ..base },
        Plan { layout: layout(12, 1), sectors: 1000, workers: 3, ..base },
        Plan {
            layout: layout(9, 5),
            sectors: 900,
            workers: 4,
            limits: Limits { l2: 16, refcounts: 2 },
            ..base
        },
        Plan { layout: Layout { version: 2, ..layout(10, 4) }, sectors: 1500, workers: 2, ..base },
        Plan { layout: layout(16, 4), sectors: 2048, operations: 40, ..base },
    ]
}

fn run(seeds: std::ops::Range<u64>, states: usize) -> usize {
    let mut judged = 0;
    for plan in seeds.flat_map(plans) {
        let file = made((plan.sectors * SECTOR) as u64, plan.layout);
        judged += kill(&file, &vec![0; plan.sectors], &plan, states, 0);
    }
    judged
}

#[test]
fn nothing_flushed_is_lost_and_nothing_is_damaged_whenever_it_dies() {
    let judged = run(0..1, 250);
    assert!(judged >= 2000, "{judged}");
}

#[test]
#[ignore = "soak: a hundred thousand deaths"]
fn soak_nothing_flushed_is_lost_and_nothing_is_damaged_whenever_it_dies() {
    let judged = run(1..51, 250);
    assert!(judged >= 100_000, "{judged}");
}
