//! A frontend that does what it likes.

use std::sync::atomic::Ordering;

use devices_core::rig::Random;
use vm_memory::Bytes;

use super::super::spec::{X86_32, X86_64, op, ring};
use super::super::*;
use super::fake::{FIRST, Front, OURS, Setup, THEIRS, config, segment_bytes};

#[test]
fn a_ring_with_more_requests_than_room_is_left_alone() {
    for produced in [33, 1 << 31, u32::MAX] {
        let mut setup = Setup::new(config());
        let mut front = setup.connect();
        front.set_word(ring::REQ_PROD, produced);
        for _ in 0..10 {
            setup.disk.work();
        }
        assert_eq!((front.responses().len(), setup.disk.idle()), (0, true));
        // It may start again.
        setup.front(6);
        setup.front(1);
        setup.connect();
    }
}

#[test]
fn a_frontend_as_fast_as_we_are() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    let raw = front.raw(77, 0, 0, 0);
    for _ in 0..100 {
        (0..front.size).for_each(|_| front.put(&raw));
        setup.disk.work();
        assert_eq!(front.responses().len(), front.size as usize);
    }
}

/// Comes up as it should, with one ring, for the time being.
fn begin(setup: &mut Setup, random: &mut Random) -> Front {
    setup.store.remove(THEIRS);
    setup.front(6);
    setup.run();
    setup.front(1);
    let layout = if random.below(3) == 0 { X86_32 } else { X86_64 };
    setup.set_theirs("protocol", if layout == X86_32 { "x86_32-abi" } else { "x86_64-abi" });
    let front = setup.ring(layout, FIRST + random.below(4) as u32, 0);
    setup.set_theirs("ring-ref", front.first);
    setup.set_theirs("event-channel", 5);
    setup.set_theirs("feature-persistent", random.below(2));
    setup.front(3);
    assert_eq!(setup.state(), "4");
    front
}

/// Something like a request: as a rule one that can be done, with a field or two that are anything.
fn request(front: &Front, random: &mut Random) -> Vec<u8> {
    let ops = [op::READ, op::WRITE, op::FLUSH, op::DISCARD, op::INDIRECT, op::INDIRECT, 2];
    let kind = ops[random.below(ops.len() as u64) as usize];
    let sector = match random.below(40) {
        0 => random.draw(),
        1 => !(random.draw() >> random.below(48)),
        _ => random.below(2100),
    };
    let mut raw = front.raw(kind, random.below(4) as u8, random.draw(), sector);
    for chunk in raw[front.layout.segments..].as_chunks_mut::<8>().0 {
        *chunk = segment(random);
    }
    if kind == op::INDIRECT {
        raw[2..4].copy_from_slice(&(random.below(260) as u16).to_le_bytes());
        let page = FIRST + random.below(20) as u32;
        raw[front.layout.indirect_refs..][..4].copy_from_slice(&page.to_le_bytes());
    }
    if random.below(10) == 0 {
        let at = random.below(raw.len() as u64) as usize;
        raw[at] = random.draw() as u8;
    }
    raw
}

/// A segment, once in a while one that is none.
fn segment(random: &mut Random) -> [u8; 8] {
    let (wild, long) = (random.below(50) == 0, random.below(50) == 0);
    let reference = FIRST + random.below(if wild { 1 << 31 } else { 4096 }) as u32;
    let last = random.below(if long { 256 } else { 8 }) as u8;
    segment_bytes((reference, random.below(u64::from(last) + 1) as u8, last))
}

/// Something in xenstore that the next connection is made of.
fn scribble(setup: &mut Setup, random: &mut Random) {
    let keys = [
        ("ring-ref", 40),
        ("ring-page-order", 6),
        ("event-channel", 4),
        ("multi-queue-num-queues", 6),
        ("feature-persistent", 3),
        ("ring-ref0", 40),
        ("ring-ref1", 40),
        ("queue-0/ring-ref", 40),
        ("queue-1/ring-ref", 40),
        ("queue-0/event-channel", 4),
        ("queue-1/event-channel", 4),
    ];
    let (key, bound) = keys[random.below(keys.len() as u64) as usize];
    match random.below(3) {
        0 => setup.store.remove(&format!("{THEIRS}/{key}")),
        _ => setup.set_theirs(key, random.below(bound)),
    }
    if random.below(5) == 0 {
        setup.set_theirs("protocol", ["x86_64-abi", "x86_32-abi", "x"][random.below(3) as usize]);
    }
}

/// One thing that a frontend, or the toolstack, may do.
fn step(setup: &mut Setup, front: &mut Front, random: &mut Random) {
    let page = FIRST + random.below(20) as u32;
    match random.below(32) {
        // Noise where data and segments are, and once in a while in the ring.
        0..4 if page != front.first || random.below(20) == 0 => {
            let bytes: Vec<u8> = (0..random.below(64)).map(|_| random.draw() as u8).collect();
            setup.guest.page(page).write_slice(&bytes, random.below(4000) as usize).unwrap();
        }
        4..16 => {
            let raw = request(front, random);
            front.put(&raw);
        }
        // Answers are taken; or the frontend does as if.
        16..20 => front.consumed = front.word(ring::RSP_PROD),
        20 => front.set_word(ring::RSP_EVENT, random.draw() as u32),
        21 if random.below(20) == 0 => {
            front.produced = front.produced.wrapping_add(random.draw() as u32);
            front.set_word(ring::REQ_PROD, front.produced);
        }
        22 if page != front.first => {
            let segments: Vec<u8> = (0..256).flat_map(|_| segment(random)).collect();
            setup.guest.page(page).write_slice(&segments, 0).unwrap();
        }
        23 => scribble(setup, random),
        24 if random.below(10) == 0 => {
            setup.set_theirs("state", [0, 1, 2, 3, 4, 5, 6, 99][random.below(8) as usize]);
        }
        25 if random.below(5) == 0 => *front = begin(setup, random),
        26..31 => {
            setup.medium.run(random.below(40) as usize);
        }
        _ => {
            let depth = if random.below(4) == 0 { random.below(6) as usize } else { usize::MAX };
            setup.medium.depth.store(depth, Ordering::SeqCst);
            if random.below(60) == 0 {
                setup.store.set(format!("{OURS}/state"), 5);
            }
        }
    }
    // A frontend that asks for more than there is room for loses its ring; mostly it does not.
    if front.produced.wrapping_sub(front.consumed) >= front.size {
        front.consumed = front.word(ring::RSP_PROD);
        if random.below(200) > 0 && front.produced.wrapping_sub(front.consumed) >= front.size {
            setup.medium.run(usize::MAX);
            setup.disk.work();
            front.consumed = front.word(ring::RSP_PROD);
        }
    }
}

#[test]
fn a_frontend_that_does_what_it_likes() {
    likes(200_000);
}

#[test]
#[ignore = "soak: ten million steps of a hostile frontend of a PV disk"]
fn a_frontend_that_does_what_it_likes_for_long() {
    likes(10_000_000);
}

fn likes(steps: u32) {
    let mut random = Random::new(2026);
    let mut setup = Setup::new(config());
    let mut front = begin(&mut setup, &mut random);
    let (mut connected, mut worked) = (0u32, 0);
    for _ in 0..steps {
        step(&mut setup, &mut front, &mut random);
        // Calls come whenever the owner thinks that something may have happened.
        let life = match random.below(3) {
            0 => setup.disk.changed(),
            _ => setup.disk.work(),
        };
        assert_ne!(life, Life::Gone, "it stays online");
        connected += u32::from(setup.state() == "4");
        worked += setup.medium.run(random.below(2) as usize);
        let waiting = setup.medium.waiting.lock().unwrap();
        let bytes: u64 = waiting.iter().map(|request| request.payload.len()).sum();
        assert!(bytes <= 17 << 20, "{bytes} bytes in flight");
        assert!(waiting.len() <= 16 * 512);
    }
    assert!(connected > steps / 4, "the frontend was connected in {connected} of {steps} steps");
    assert!(worked > steps as usize / 50, "{worked} requests came as far as the medium");
    // When all of it is over the disk serves an honest frontend.
    setup.medium.depth.store(usize::MAX, Ordering::SeqCst);
    begin(&mut setup, &mut random);
    setup.store.remove(THEIRS);
    setup.front(6);
    setup.run();
    setup.front(1);
    let mut front = setup.connect();
    front.put(&front.transfer(op::READ, 1, 0, &[(FIRST + 1, 0, 0)]));
    setup.run();
    assert_eq!(front.responses().len(), 1);
    drop(setup.disk);
    assert_eq!(setup.guest.mapped.load(Ordering::SeqCst), 0);
}
