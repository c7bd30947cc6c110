//! Every death: the file of each prefix of what was written, with any of the writes since the last sync left out, whole
//! or sector by sector. Each must open, hold what was flushed, and be whole.

use std::sync::Barrier;

use super::promise::{Promise, SECTOR, sector};
use super::recorder::{Event, apply, punch};
use super::work::{Kind, Plan, fill, look, work};
use super::*;

/// One life on a file: the events of it.
fn live(file: &Arc<Recorder>, plan: &Plan, seed: u64) -> Vec<Event> {
    let image = plan.open(file).unwrap();
    file.start();
    if plan.workers > 1 {
        file.dawdle();
    }
    let all = Barrier::new(plan.workers);
    std::thread::scope(|scope| {
        for who in 0..plan.workers {
            let (image, all) = (&image, &all);
            scope.spawn(move || work(image, &|event| file.note(event), plan, who, seed, all));
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

/// Nothing of a raw file changes but what the guest writes: for one worker.
fn nothing_else_changes(events: &[Event]) {
    let mut within = 0..0;
    for event in events {
        let (at, len) = match event {
            Event::Begin { first, count, .. } => {
                within = (first * SECTOR) as u64..((first + count) * SECTOR) as u64;
                continue;
            }
            Event::Write(at, data) => (*at, data.len() as u64),
            Event::Punch(at, len) => (*at, *len),
            _ => continue,
        };
        assert!(
            within.start <= at && at + len <= within.end,
            "{len} bytes at {at:#x} are not in {within:x?}"
        );
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
    let raw = matches!(plan.kind, Kind::Raw);
    if qemu
        && !raw
        && !plan.uncounted
        && let Some(Err(said)) = qemu_objects(&bytes)
    {
        panic!("{what}: qemu-img check: {said}");
    }
    let file = Recorder::of(bytes);
    if !raw {
        let found = verdict(&*file).unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
        let repairable =
            plan.uncounted && found.uncertain == 0 && whole(&Verdict { low: 0, flags: 0, ..found.clone() });
        assert!(whole(&found) || repairable, "{what}: {found:?}");
    }
    let image = plan.open(&file).unwrap_or_else(|refusal| panic!("{what}: {refusal:?}"));
    let tags = promise.check(&look(&image, plan, 0, plan.sectors), plan.wild, what);
    if plan.uncounted {
        // The first change has the clusters counted before it takes one.
        image.write(&Source::Bytes(&sector(0, tags[0])), 0).unwrap();
        image.flush().unwrap();
        assert_eq!(promise.check(&look(&image, plan, 0, plan.sectors), plan.wild, what), tags, "{what}");
        let found = verdict(&*file).unwrap();
        assert!(whole(&found), "{what}: {found:?}");
        let theirs = if qemu { qemu_objects(&file.bytes()) } else { None };
        assert_eq!(theirs.unwrap_or(Ok(())), Ok(()), "{what}");
    }
    drop(image);
    (file, tags)
}

/// How many states are judged before each event: so many in all, spread over the writes, and more where the refcount
/// table moves.
fn schedule(events: &[Event], states: usize) -> Vec<usize> {
    let written = |event: &Event| matches!(event, Event::Write(..) | Event::Punch(..) | Event::Sync);
    let writes = events.iter().filter(|event| written(event)).count();
    let (mut seen, mut given) = (0, 0);
    let mut due: Vec<usize> = events
        .iter()
        .map(|event| {
            seen += usize::from(written(event));
            let now = states * seen / writes - given;
            given += now;
            now
        })
        .collect();
    for at in moves(events) {
        let from = at.saturating_sub(12);
        due.iter_mut().skip(from).take(20).for_each(|due| *due += 2);
    }
    due
}

/// Where the header's pointer to the refcount table is written.
fn moves(events: &[Event]) -> impl Iterator<Item = usize> {
    let pointer = spec::field::REFCOUNT_TABLE_OFFSET as u64;
    events.iter().enumerate().filter_map(move |(at, event)| match event {
        Event::Write(place, data) if *place == pointer && data.len() == 12 => Some(at),
        _ => None,
    })
}

/// What was seen.
#[derive(Default)]
struct Seen {
    states: usize,
    moves: usize,
}

/// Runs a guest and kills it in `states` ways. Every so often the file lives on, to be killed again.
fn kill(file: &Arc<Recorder>, tags: &[u64], plan: &Plan, states: usize, life: u64, seen: &mut Seen) {
    if let Some(room) = plan.room {
        fill(file, room);
    }
    let mut durable = file.bytes();
    let seed = plan.seed * 8 + life;
    let events = live(file, plan, seed);
    if matches!(plan.kind, Kind::Raw) && plan.workers == 1 {
        nothing_else_changes(&events);
    }
    seen.moves += moves(&events).count();
    let mut promise = Promise::new(tags);
    let mut random = Random::new(seed);
    let mut pending = Vec::new();
    let mut judged = 0;
    for ((at, event), due) in events.iter().enumerate().zip(schedule(&events, states)) {
        for _ in 0..due {
            let what = format!("seed {} life {life} event {at} state {judged}", plan.seed);
            let bytes = remains(&durable, &pending, &mut random);
            let (file, tags) = judge(bytes, &promise, plan, judged % 64 == 9, &what);
            judged += 1;
            if life < 2 && judged % 100 == 50 {
                kill(&file, &tags, plan, 20, life + 1, seen);
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
    seen.states += judged;
}

/// Shapes that reach all there is.
fn plans(seed: u64) -> Vec<Plan> {
    let base = Plan {
        kind: Kind::Alone,
        layout: layout(9, 4),
        sectors: 1024,
        operations: 60,
        workers: 1,
        limits: TINY,
        grain: 0,
        wild: 0,
        room: None,
        spread: 0,
        uncounted: false,
        seed,
    };
    let mut plans = vec![
        // One L2 table or many, refcount blocks that run full.
        base.clone(),
        Plan { layout: layout(9, 6), sectors: 4096 + 513, operations: 150, ..base.clone() },
        Plan { layout: layout(9, 0), sectors: 2048, ..base.clone() },
        Plan { layout: layout(12, 4), sectors: 2048, ..base.clone() },
        Plan { layout: layout(12, 1), sectors: 1000, workers: 3, ..base.clone() },
        Plan {
            layout: layout(9, 5),
            sectors: 900,
            workers: 4,
            limits: Limits { l2: 16, refcounts: 2, ..TINY },
            ..base.clone()
        },
        Plan { layout: Layout { version: 2, ..layout(10, 4) }, sectors: 1500, workers: 2, ..base.clone() },
        Plan { layout: layout(16, 4), sectors: 2048, operations: 40, ..base.clone() },
        // What lies below shows through.
        Plan { layout: layout(12, 4), sectors: 1003, ..base.clone() }.above_raw(),
        Plan { layout: layout(10, 4), sectors: 1003, workers: 3, ..base.clone() }.above_qcow2(),
        Plan { kind: Kind::Raw, sectors: 1003, ..base.clone() },
        Plan { kind: Kind::Raw, sectors: 1003, workers: 3, ..base.clone() },
    ];
    plans.extend(growing(&base));
    plans.extend(large(&base));
    plans.extend(colliding(&base));
    plans
}

/// The refcount table grows in each life.
fn growing(base: &Plan) -> Vec<Plan> {
    let growing = Plan { layout: layout(9, 6), sectors: 600, room: Some(80), ..base.clone() };
    let limits = Limits { l2: 16, refcounts: 16, ..TINY };
    vec![
        Plan { room: Some(0), ..growing.clone() },
        Plan { workers: 3, wild: 32, ..growing.clone() },
        Plan { limits, ..growing.clone() },
        growing,
    ]
}

/// Disks with an L2 table for each cluster that is written, looked at when they are first changed.
fn large(base: &Plan) -> Vec<Plan> {
    let large =
        Plan { layout: layout(12, 4), sectors: 192 * 8, spread: 16 << 20, limits: LATE, ..base.clone() };
    vec![
        large.clone(),
        Plan { uncounted: true, workers: 3, ..large.clone() },
        Plan { uncounted: true, operations: 20, ..large },
    ]
}

/// Workers meet in clusters and L2 tables.
fn colliding(base: &Plan) -> Vec<Plan> {
    let meeting = Plan { layout: layout(12, 4), sectors: 640, workers: 4, grain: 2, ..base.clone() };
    vec![
        meeting.clone(),
        Plan { wild: 64, limits: Limits { l2: 16, refcounts: 4, ..TINY }, ..meeting.clone() },
        // Not at the same pace: some find clusters that others give back and use again meanwhile.
        Plan { grain: 0, wild: 64, operations: 150, ..meeting.clone() },
        Plan { grain: 0, wild: 32, operations: 150, layout: layout(9, 4), ..meeting.clone() },
        Plan { layout: layout(16, 4), sectors: 1024, wild: 256, grain: 1, ..meeting.clone() },
        Plan { room: Some(60), layout: layout(9, 6), wild: 32, grain: 1, sectors: 544, ..meeting.clone() },
        Plan { wild: 64, ..meeting }.above_qcow2(),
    ]
}

fn run(plans: impl Iterator<Item = Plan>, states: usize) -> Seen {
    let mut seen = Seen::default();
    for plan in plans {
        let (file, tags) = plan.make();
        kill(&file, &tags, &plan, states, 0, &mut seen);
    }
    seen
}

#[test]
fn nothing_flushed_is_lost_and_nothing_is_damaged_whenever_it_dies() {
    let seen = run(plans(0).into_iter(), 60);
    println!("{} states, {} moves of a refcount table", seen.states, seen.moves);
    assert!(seen.states >= 2000 && seen.moves >= 4, "{} {}", seen.states, seen.moves);
}

#[test]
#[ignore = "soak: a hundred thousand deaths"]
fn soak_nothing_flushed_is_lost_and_nothing_is_damaged_whenever_it_dies() {
    let seen = run((1..51).flat_map(plans), 100);
    println!("{} states, {} moves of a refcount table", seen.states, seen.moves);
    assert!(seen.states >= 100_000, "{}", seen.states);
}
