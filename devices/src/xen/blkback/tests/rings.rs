//! Requests of every kind through rings of every kind.

use std::sync::atomic::Ordering;

use super::super::engine::{SPARE, SPARE_FROM, Spare};
use super::super::spec::{PAGE, X86_32, X86_64, op, ring, status};
use super::super::*;
use super::fake::{FIRST, Front, Setup, config, segment_bytes};

/// The first page that is not a ring's.
const DATA: u32 = FIRST + 100;

#[test]
fn data_goes_both_ways() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    setup.guest.fill(DATA, 0xaa);
    setup.guest.fill(DATA + 1, 0xbb);
    // Sectors 2 and 3 of a page, then a whole page.
    front.put(&front.transfer(op::WRITE, 7, 100, &[(DATA, 2, 3), (DATA + 1, 0, 7)]));
    front.put(&front.transfer(op::READ, 8, 99, &[(DATA + 2, 7, 7), (DATA + 3, 0, 1)]));
    setup.run();
    assert_eq!(front.responses(), [(7, op::WRITE, status::OKAY), (8, op::READ, status::OKAY)]);
    let disk = setup.medium.store.contents();
    assert_eq!(disk[99 * 512], 99);
    assert_eq!(disk[100 * 512..102 * 512], [0xaa; 1024]);
    assert_eq!(disk[102 * 512..110 * 512], [0xbb; PAGE]);
    assert_eq!(disk[110 * 512], 110);
    assert_eq!(setup.guest.bytes(DATA + 2, 0, PAGE), [vec![0; 7 * 512], vec![99; 512]].concat());
    assert_eq!(setup.guest.bytes(DATA + 3, 0, PAGE), [vec![0xaa; 1024], vec![0; 6 * 512]].concat());
}

#[test]
fn a_buffer_that_serves_again_brings_nothing_along() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    let pages = |first: u32| [0, 1, 2, 3, 4].map(|at| (first + at, 0, 7));
    (DATA..DATA + 5).for_each(|page| setup.guest.fill(page, 0xaa));
    front.put(&front.transfer(op::WRITE, 1, 0, &pages(DATA)));
    setup.run();
    // The second one is shorter than the buffer that it gets.
    front.put(&front.transfer(op::READ, 2, 200, &pages(DATA)));
    setup.run();
    front.put(&front.transfer(op::READ, 3, 300, &pages(DATA + 10)[..4]));
    setup.run();
    assert_eq!(front.responses(), [(1, op::WRITE, 0), (2, op::READ, 0), (3, op::READ, 0)]);
    let disk = setup.medium.store.contents();
    let read = |first: u32, count: u32| -> Vec<u8> {
        (0..count).flat_map(|at| setup.guest.bytes(first + at, 0, PAGE)).collect()
    };
    assert_eq!(read(DATA, 5), disk[200 * 512..240 * 512]);
    assert_eq!(read(DATA + 10, 4), disk[300 * 512..332 * 512]);
}

#[test]
fn buffers_are_kept_for_later_within_bounds() {
    let mut spare = Spare::default();
    for _ in 0..2 {
        let taken: Vec<Vec<u8>> = (0..100).map(|_| spare.take(SPARE_FROM)).collect();
        assert_eq!(spare.bytes, 0);
        taken.into_iter().for_each(|buffer| spare.put(buffer));
        assert_eq!(spare.bytes, SPARE);
    }
    let buffer = spare.take(2 * SPARE);
    assert_eq!((buffer.len(), spare.bytes), (2 * SPARE, SPARE), "none is long enough");
    spare.put(buffer);
    spare.put(vec![0; SPARE_FROM - 1]);
    assert_eq!(spare.bytes, SPARE);
    assert_eq!(spare.take(SPARE_FROM / 2).len(), SPARE_FROM / 2);
    assert_eq!(spare.bytes, SPARE - SPARE_FROM);
}

#[test]
fn each_word_size_has_its_own_layout() {
    for (protocol, layout) in [("x86_64-abi", X86_64), ("x86_32-abi", X86_32)] {
        let mut setup = Setup::new(config());
        let mut front = setup.ring(layout, FIRST, 0);
        setup.set_theirs("protocol", protocol);
        setup.set_theirs("ring-ref", FIRST);
        setup.set_theirs("event-channel", 5);
        setup.front(3);
        setup.guest.fill(DATA, 0x11);
        let number = 0xfedc_ba98_7654_3210;
        front.put(&front.transfer(op::WRITE, number, 5, &[(DATA, 0, 0)]));
        let mut discard = front.raw(op::DISCARD, 0, 2, 20);
        discard[layout.discard_sectors..][..8].copy_from_slice(&3u64.to_le_bytes());
        front.put(&discard);
        front.put(&indirect(&front, op::READ, 3, 5, 9, DATA + 1));
        let segments: Vec<u8> = (0..9).flat_map(|at| segment_bytes((DATA + 2 + at, 0, 0))).collect();
        write(&setup, DATA + 1, &segments);
        setup.run();
        let expected = [(number, op::WRITE, 0), (2, op::DISCARD, 0), (3, op::READ, 0)]
            .map(|(id, op, status)| (id, op, status));
        assert_eq!(front.responses(), expected, "{protocol}");
        let disk = setup.medium.store.contents();
        assert_eq!(disk[5 * 512..6 * 512], [0x11; 512]);
        assert_eq!((disk[19 * 512], disk[23 * 512]), (19, 23));
        assert_eq!(disk[20 * 512..23 * 512], [0; 3 * 512]);
        assert_eq!(setup.guest.bytes(DATA + 2, 0, 512), [0x11; 512]);
        assert_eq!(setup.guest.bytes(DATA + 10, 0, 512), [13; 512]);
    }
}

fn write(setup: &Setup, page: u32, bytes: &[u8]) {
    vm_memory::Bytes::write_slice(&setup.guest.page(page), bytes, 0).unwrap();
}

/// A request whose segments are in one page.
fn indirect(front: &Front, inner: u8, id: u64, sector: u64, count: u16, page: u32) -> Vec<u8> {
    let mut raw = front.raw(op::INDIRECT, inner, id, sector);
    raw[2..4].copy_from_slice(&count.to_le_bytes());
    raw[front.layout.indirect_refs..][..4].copy_from_slice(&page.to_le_bytes());
    raw
}

#[test]
fn a_megabyte_in_one_request() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    let segments: Vec<u8> = (0..255).flat_map(|at| segment_bytes((DATA + 1 + at, 0, 7))).collect();
    write(&setup, DATA, &segments);
    (0..255).for_each(|page| setup.guest.fill(DATA + 1 + page, page as u8));
    front.put(&indirect(&front, op::WRITE, 1, 0, 255, DATA));
    setup.run();
    assert_eq!(front.responses(), [(1, op::WRITE, status::OKAY)]);
    let disk = setup.medium.store.contents();
    assert!(disk.chunks(PAGE).take(255).enumerate().all(|(at, page)| page == [at as u8; PAGE]));
}

#[test]
fn rings_of_every_order() {
    for (layout, sizes) in [(X86_64, [32, 64, 128, 256, 512]), (X86_32, [32, 64, 128, 256, 512])] {
        for (order, size) in (0..).zip(sizes) {
            let mut setup = Setup::new(config());
            let mut front = setup.ring(layout, FIRST, order);
            assert_eq!(front.size, size);
            if layout == X86_32 {
                setup.set_theirs("protocol", "x86_32-abi");
            }
            setup.set_theirs("ring-page-order", order);
            (0..1 << order).for_each(|page: u32| setup.set_theirs(&format!("ring-ref{page}"), FIRST + page));
            setup.set_theirs("event-channel", 5);
            setup.front(3);
            // Twice around, as full as it gets.
            for round in 0..2 {
                for id in 0..size {
                    front.put(&front.transfer(op::READ, u64::from(id), u64::from(id), &[(DATA + id, 0, 0)]));
                }
                setup.run();
                let responses = front.responses();
                assert_eq!(responses.len(), size as usize, "round {round} of order {order}");
                assert!(responses.iter().all(|response| response.2 == status::OKAY));
                assert!((0..size).all(|id| setup.guest.bytes(DATA + id, 0, 512) == [id as u8; 512]));
            }
        }
    }
}

#[test]
fn several_rings_at_once() {
    let mut setup = Setup::new(config());
    setup.set_theirs("multi-queue-num-queues", 3);
    let mut fronts: Vec<_> = (0..3).map(|at| setup.ring(X86_64, FIRST + at, 0)).collect();
    for at in 0..3 {
        setup.set_theirs(&format!("queue-{at}/ring-ref"), FIRST + at);
        setup.set_theirs(&format!("queue-{at}/event-channel"), 5 + at);
    }
    setup.front(3);
    for (at, front) in (0..).zip(&mut fronts) {
        front.put(&front.transfer(op::READ, at, at, &[(DATA + at as u32, 0, 0)]));
    }
    setup.run();
    for (at, front) in (0..).zip(&mut fronts) {
        assert_eq!(front.responses(), [(at, op::READ, status::OKAY)]);
        assert_eq!(setup.guest.bytes(DATA + at as u32, 0, 512), [at as u8; 512]);
    }
    assert_eq!(setup.guest.notified.load(Ordering::SeqCst), 3);
}

#[test]
fn grants_that_stand_are_mapped_once() {
    let mut setup = Setup::new(config());
    setup.set_theirs("feature-persistent", 1);
    let mut front = setup.connect();
    let copied = || setup.guest.copied.load(Ordering::SeqCst);
    let mapped = || setup.guest.mapped.load(Ordering::SeqCst);
    for round in 0..10 {
        setup.guest.fill(DATA, round);
        front.put(&front.transfer(op::WRITE, 1, 50, &[(DATA, 0, 7)]));
        front.put(&front.transfer(op::READ, 2, 50, &[(DATA + 1, 0, 7)]));
        while setup.disk.work() == Life::Busy || setup.medium.run(9) > 0 {}
        assert!(front.responses().iter().all(|response| response.2 == status::OKAY));
        assert_eq!(setup.guest.bytes(DATA + 1, 0, PAGE), [round; PAGE]);
    }
    assert_eq!((copied(), mapped()), (0, 3), "the ring and two pages");
    // Beyond the bound pages are copied.
    for page in 0..1500 {
        front.put(&front.transfer(op::READ, 3, 0, &[(DATA + page, 0, 0)]));
        while setup.disk.work() == Life::Busy || setup.medium.run(9) > 0 {}
        assert_eq!(front.responses(), [(3, op::READ, status::OKAY)]);
    }
    assert_eq!(setup.disk.engine.queues()[0].pages.mapped(), 1056);
    assert_eq!((copied(), mapped()), (1500 - 1056, 1057));
    setup.front(6);
    assert_eq!(setup.guest.mapped.load(Ordering::SeqCst), 0, "all are given back");
}

#[test]
fn a_flush_comes_before_its_data() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    front.put(&front.transfer(op::FLUSH, 1, 0, &[]));
    setup.guest.fill(DATA, 0x77);
    front.put(&front.transfer(op::FLUSH, 2, 40, &[(DATA, 0, 0)]));
    setup.disk.work();
    assert_eq!(setup.medium.run(2), 2, "two flushes");
    assert_eq!(setup.medium.store.contents()[40 * 512], 40);
    setup.disk.work();
    assert_eq!(front.responses(), [(1, op::FLUSH, status::OKAY)]);
    setup.run();
    assert_eq!(front.responses(), [(2, op::FLUSH, status::OKAY)]);
    assert_eq!(setup.medium.store.contents()[40 * 512..41 * 512], [0x77; 512]);
}

#[test]
fn what_cannot_be_done_is_answered() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    let sectors = (1 << 20) / 512;
    let error = status::ERROR;
    let mut secure = front.raw(op::DISCARD, 1, 9, 0);
    secure[front.layout.discard_sectors..][..8].copy_from_slice(&1u64.to_le_bytes());
    let mut endless = front.raw(op::DISCARD, 0, 10, 1);
    endless[front.layout.discard_sectors..][..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let cases = [
        (front.transfer(op::READ, 1, sectors, &[(DATA, 0, 0)]), error),
        (front.transfer(op::WRITE, 2, u64::MAX, &[(DATA, 0, 0)]), error),
        (front.transfer(op::READ, 3, u64::MAX / 512, &[(DATA, 0, 0)]), error),
        (front.transfer(op::READ, 4, 0, &[(DATA, 3, 2)]), error),
        (front.transfer(op::READ, 5, 0, &[(DATA, 0, 8)]), error),
        (front.transfer(op::READ, 6, 0, &[]), error),
        (front.transfer(op::WRITE, 7, 0, &[(3, 0, 0)]), error),
        (front.raw(op::READ, 12, 8, 0), error),
        (secure, status::UNSUPPORTED),
        (endless, error),
        (front.raw(2, 0, 11, 0), status::UNSUPPORTED),
        (front.raw(200, 0, 12, 0), status::UNSUPPORTED),
        (indirect(&front, op::READ, 13, 0, 0, DATA), error),
        (indirect(&front, op::READ, 14, 0, 257, DATA), error),
        (indirect(&front, op::FLUSH, 15, 0, 1, DATA), error),
        (indirect(&front, op::INDIRECT, 16, 0, 1, DATA), error),
        (indirect(&front, op::WRITE, 17, 0, 1, 2), error),
        (front.transfer(op::READ, 18, 0, &[(u32::MAX, 0, 7)]), error),
    ];
    for (raw, _) in &cases {
        front.put(raw);
    }
    let before = setup.medium.store.contents();
    setup.run();
    let mut responses = front.responses();
    responses.sort();
    let op = |raw: &[u8]| if raw[0] == op::INDIRECT { raw[1] } else { raw[0] };
    let expected: Vec<_> = (1..).zip(&cases).map(|(id, (raw, status))| (id, op(raw), *status)).collect();
    assert_eq!(responses, expected);
    assert!(setup.medium.store.contents() == before);
    setup.medium.store.set_broken(true);
    front.put(&front.transfer(op::READ, 20, 0, &[(DATA, 0, 0)]));
    setup.run();
    assert_eq!(front.responses(), [(20, op::READ, error)]);
}

#[test]
fn a_read_only_disk_takes_no_writes() {
    let mut setup = Setup::new(Config { read_only: true, ..config() });
    let mut front = setup.connect();
    front.put(&front.transfer(op::WRITE, 1, 0, &[(DATA, 0, 0)]));
    front.put(&front.raw(op::DISCARD, 0, 2, 0));
    front.put(&front.transfer(op::READ, 3, 0, &[(DATA, 0, 0)]));
    setup.run();
    let statuses: Vec<_> = front.responses().iter().map(|response| response.2).collect();
    assert_eq!(statuses, [status::ERROR, status::ERROR, status::OKAY]);
}

#[test]
fn events_come_only_when_they_are_wanted() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    let notified = || setup.guest.notified.load(Ordering::SeqCst);
    // The frontend wants to hear of the third response.
    front.set_word(ring::RSP_EVENT, 3);
    for id in 0..4 {
        front.put(&front.transfer(op::READ, id, 0, &[(DATA, 0, 0)]));
    }
    setup.disk.work();
    assert_eq!(front.word(ring::REQ_EVENT), 5, "we want to hear of the next request");
    for expected in [0, 0, 1, 1] {
        setup.medium.run(1);
        setup.disk.work();
        assert_eq!(notified(), expected);
    }
    assert_eq!(front.responses().len(), 4);
}

#[test]
fn a_medium_that_is_full_of_work_is_given_the_rest_later() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    setup.medium.depth.store(3, Ordering::SeqCst);
    for id in 0..32 {
        front.put(&front.transfer(op::READ, id, id, &[(DATA + id as u32, 0, 0)]));
    }
    setup.run();
    let responses = front.responses();
    assert_eq!(responses.len(), 32);
    assert!(responses.iter().all(|response| response.2 == status::OKAY));
    // One that takes nothing at all is an error, not a hang.
    setup.medium.depth.store(0, Ordering::SeqCst);
    front.put(&front.transfer(op::READ, 1, 0, &[(DATA, 0, 0)]));
    setup.run();
    assert_eq!(front.responses(), [(1, op::READ, status::ERROR)]);
}

#[test]
fn data_in_flight_is_bounded() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    let segments: Vec<u8> = (0..256).flat_map(|_| segment_bytes((DATA + 1, 0, 7))).collect();
    write(&setup, DATA, &segments);
    for id in 0..32 {
        front.put(&indirect(&front, op::READ, id, 0, 256, DATA));
    }
    assert_eq!(setup.disk.work(), Life::Waits);
    assert_eq!(setup.medium.waiting.lock().unwrap().len(), 16, "a megabyte each");
    setup.run();
    assert_eq!(front.responses().len(), 32);
}

#[test]
fn what_the_frontend_changes_afterwards_does_not_matter() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    setup.guest.fill(DATA, 1);
    front.put(&front.transfer(op::WRITE, 5, 10, &[(DATA, 0, 0)]));
    setup.disk.work();
    // The request is taken: ring and page are the frontend's again.
    setup.guest.fill(DATA, 2);
    front.produced -= 1;
    front.put(&front.transfer(op::WRITE, 6, 11, &[(DATA, 0, 7)]));
    setup.run();
    assert_eq!(front.responses(), [(5, op::WRITE, status::OKAY)]);
    let disk = setup.medium.store.contents();
    assert_eq!((disk[10 * 512], disk[11 * 512]), (1, 11));
}

#[test]
fn answers_wake_whoever_owns_the_disk() {
    let (sender, woken) = std::sync::mpsc::channel();
    let waker = devices_core::Waker::calling(move |why| sender.send(why).unwrap());
    let mut setup = Setup::with(config(), waker);
    let mut front = setup.connect();
    front.put(&front.transfer(op::READ, 1, 0, &[(DATA, 0, 0)]));
    setup.disk.work();
    assert!(woken.try_recv().is_err());
    setup.medium.run(1);
    assert_eq!(woken.try_recv(), Ok(devices_core::Wake::Backend(0)));
}

#[test]
fn a_pause_leaves_requests_in_their_ring() {
    let mut setup = Setup::new(config());
    let mut front = setup.connect();
    front.put(&front.transfer(op::READ, 1, 0, &[(DATA, 0, 0)]));
    setup.disk.work();
    setup.disk.pause(true);
    front.put(&front.transfer(op::READ, 2, 0, &[(DATA, 0, 0)]));
    assert_eq!((setup.disk.work(), setup.disk.idle()), (Life::Waits, false));
    setup.run();
    assert_eq!((front.responses(), setup.disk.idle()), (vec![(1, op::READ, status::OKAY)], true));
    let mut node = devices_core::Node::default();
    setup.disk.inspect(&mut node);
    let text = node.to_string();
    assert!(text.contains("32 entries, 1 requests of 2 (event at 2), 1 responses, 1 shown"), "{text}");
    setup.disk.pause(false);
    setup.run();
    assert_eq!(front.responses(), [(2, op::READ, status::OKAY)]);
}
