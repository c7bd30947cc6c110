//! Drivers that lie.

use super::*;
use crate::virtio::gpu::spec::ENTRIES_MAX;

/// Commands of noise that look like commands, all at once.
pub(super) fn throw(rig: &mut Rig, seed: u64) {
    driver::map(rig);
    driver::negotiate(rig, ring::VERSION_1 | feature::EDID);
    let kinds = [0x101, 0x106, 0x103, 0x105, 0x104, 0x107, 0x102, 0x100, 0x10a, 0x300, 0x301];
    for (number, base) in (0..).zip(QUEUES) {
        rig.poke(base, &[0; 0x3000]);
        let mut queue = DriverQueue::new(rig.ram().clone(), base, 16, ring::VERSION_1);
        driver::enable(rig, number, queue.place(), seed as u16);
        for n in 0..8u64 {
            let at = |k: u64| (seed * 31 + n * 7 + k * 5) % 13;
            let kind = kinds[(n + seed) as usize % kinds.len()] + 0x200 * u32::from(number == 1 && n > 6);
            let mut words: Vec<u32> = (0..14).map(|k| at(k) as u32).collect();
            if kind == 0x106 {
                words[..6].copy_from_slice(&[at(0) as u32, 1, 0x8_0000 + at(1) as u32, 0, 4000, 0]);
            }
            if kind == 0x101 {
                words[..4].copy_from_slice(&[at(0) as u32, 1 + at(1) as u32 % 4, at(2) as u32 * 9, 64]);
            }
            let gpa = COMMAND + u64::from(number) * 0x2000 + n * 128;
            rig.poke(gpa, &bytes(kind, &words));
            let command = Buffer { gpa, len: 24 + at(9) as u32 * 8, write: false };
            let answer = Buffer { gpa: ANSWER + n * 2048, len: 1 + at(8) as u32 * 100, write: true };
            queue.offer(&[command, answer], false, n);
        }
    }
    driver::ready(rig);
    (0..2).for_each(|queue| driver::notify(rig, queue));
}

#[test]
fn sizes_and_ids_that_cannot_be() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        let create = command::RESOURCE_CREATE_2D;
        for (words, error) in [
            ([0, 1, 4, 4], response::ERR_INVALID_RESOURCE_ID),
            ([1, 0, 4, 4], response::ERR_INVALID_PARAMETER),
            ([1, 5, 4, 4], response::ERR_INVALID_PARAMETER),
            ([1, 1, 0, 4], response::ERR_INVALID_PARAMETER),
            ([1, 1, 4, 0], response::ERR_INVALID_PARAMETER),
            ([1, 1, 16385, 1], response::ERR_INVALID_PARAMETER),
            ([1, 1, 0x8000_0000, 0x8000_0000], response::ERR_OUT_OF_MEMORY),
            ([1, 1, u32::MAX, u32::MAX], response::ERR_OUT_OF_MEMORY),
            ([1, 1, 512, 512], response::ERR_OUT_OF_MEMORY),
        ] {
            assert_eq!(gpu.run(rig, create, &words), error, "{words:?}");
        }
        gpu.done(rig, create, &[1, 1, 4, 4]);
        assert_eq!(gpu.run(rig, create, &[1, 1, 4, 4]), response::ERR_INVALID_RESOURCE_ID, "twice");
        for kind in
            [command::RESOURCE_UNREF, command::RESOURCE_DETACH_BACKING, command::RESOURCE_ATTACH_BACKING]
        {
            assert_eq!(gpu.run(rig, kind, &[9, 0]), response::ERR_INVALID_RESOURCE_ID, "{kind:#x}");
        }
        assert_eq!(gpu.run(rig, command::RESOURCE_DETACH_BACKING, &[1, 0]), response::ERR_UNSPEC);
        assert_eq!(
            gpu.run(rig, command::TRANSFER_TO_HOST_2D, &[0, 0, 1, 1, 0, 0, 1, 0]),
            response::ERR_UNSPEC,
            "no backing"
        );
        let scanout = |id: u32, head: u32, [x, y, w, h]: [u32; 4]| [x, y, w, h, head, id];
        assert_eq!(gpu.run(rig, command::SET_SCANOUT, &scanout(1, 0, [0, 0, 4, 4])), response::ERR_UNSPEC);
        gpu.done(rig, command::RESOURCE_ATTACH_BACKING, &[1, 1, PIXELS as u32, 0, 64, 0]);
        for (id, head, rect, error) in [
            (1, 2, [0, 0, 4, 4], response::ERR_INVALID_SCANOUT_ID),
            (0, u32::MAX, [0, 0, 4, 4], response::ERR_INVALID_SCANOUT_ID),
            (2, 0, [0, 0, 4, 4], response::ERR_INVALID_RESOURCE_ID),
            (1, 0, [0, 0, 5, 4], response::ERR_INVALID_PARAMETER),
            (1, 0, [1, 0, 4, 4], response::ERR_INVALID_PARAMETER),
            (1, 0, [0, 0, 0, 4], response::ERR_INVALID_PARAMETER),
            (1, 0, [u32::MAX, 0, 2, 4], response::ERR_INVALID_PARAMETER),
            (1, 0, [0, u32::MAX, 4, u32::MAX], response::ERR_INVALID_PARAMETER),
        ] {
            assert_eq!(
                gpu.run(rig, command::SET_SCANOUT, &scanout(id, head, rect)),
                error,
                "{id} {head} {rect:?}"
            );
        }
    });
}

#[test]
fn transfers_and_flushes_outside() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        gpu.resource(rig, 1, 2, (8, 8));
        for ([x, y, w, h], offset) in [
            ([0, 0, 9, 1], 0u64),
            ([0, 8, 1, 1], 0),
            ([u32::MAX, 0, 2, 1], 0),
            ([0, 1, 1, u32::MAX], 0),
            ([0, 0, 8, 8], 256),
            ([0, 0, 8, 8], u64::MAX),
        ] {
            let (low, high) = (offset as u32, (offset >> 32) as u32);
            let answer = gpu.run(rig, command::TRANSFER_TO_HOST_2D, &[x, y, w, h, low, high, 1, 0]);
            assert_eq!(answer, response::ERR_INVALID_PARAMETER, "{x} {y} {w} {h} {offset:#x}");
            if offset == 0 {
                let answer = gpu.run(rig, command::RESOURCE_FLUSH, &[x, y, w, h, 1, 0]);
                assert_eq!(answer, response::ERR_INVALID_PARAMETER, "{x} {y} {w} {h}");
            }
        }
        // Nothing, at an edge.
        gpu.transfer(rig, 1, [8, 8, 0, 0], 0);
        gpu.done(rig, command::RESOURCE_UNREF, &[1, 0]);
        let flush = gpu.run(rig, command::RESOURCE_FLUSH, &[0, 0, 1, 1, 1, 0]);
        assert_eq!(flush, response::ERR_INVALID_RESOURCE_ID, "it is gone");
    });
}

#[test]
fn backing_that_is_none() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        gpu.done(rig, command::RESOURCE_CREATE_2D, &[1, 2, 8, 8]);
        let attach = command::RESOURCE_ATTACH_BACKING;
        for entries in [
            // Beyond RAM, across its end, nothing at all, addresses that wrap.
            &[0xf000_0000, 0, 4096, 0][..],
            &[0x1f_f000, 0, 0x2000, 0],
            &[PIXELS as u32, 0, 0, 0],
            &[0xffff_f000, 0xffff_ffff, 0x2000, 0],
            &[PIXELS as u32, 0, 4096, 0, 0, 1, 1, 0],
        ] {
            let words = [&[1, entries.len() as u32 / 4][..], entries].concat();
            assert_eq!(gpu.run(rig, attach, &words), response::ERR_UNSPEC, "{entries:x?}");
        }
        // More entries than there are, and than there may be.
        for count in [2, ENTRIES_MAX, ENTRIES_MAX + 1, u32::MAX] {
            let words = [1, count, PIXELS as u32, 0, 4096, 0];
            assert_eq!(gpu.run(rig, attach, &words), response::ERR_UNSPEC, "{count}");
        }
        // None at all is done, and nothing.
        gpu.done(rig, attach, &[1, 0]);
        gpu.done(rig, attach, &[1, 1, PIXELS as u32, 0, 4096, 0]);
        let twice = gpu.run(rig, attach, &[1, 1, PIXELS as u32, 0, 4096, 0]);
        assert_eq!(twice, response::ERR_UNSPEC);
        // The same page again and again is a backing like any other.
        gpu.done(rig, command::RESOURCE_DETACH_BACKING, &[1, 0]);
        let entries = [PIXELS as u32, 0, 16, 0].repeat(16);
        gpu.done(rig, attach, &[&[1, 16][..], &entries].concat());
        gpu.transfer(rig, 1, [0, 0, 8, 8], 0);
    });
}

#[test]
fn commands_that_are_too_short() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        gpu.resource(rig, 1, 2, (8, 8));
        for (kind, len) in [
            (command::RESOURCE_CREATE_2D, 40),
            (command::RESOURCE_UNREF, 32),
            (command::SET_SCANOUT, 48),
            (command::RESOURCE_FLUSH, 48),
            (command::TRANSFER_TO_HOST_2D, 56),
            (command::RESOURCE_ATTACH_BACKING, 32),
            (command::RESOURCE_DETACH_BACKING, 32),
            (command::GET_EDID, 32),
            (command::GET_DISPLAY_INFO, 24),
        ] {
            let whole = bytes(kind, &[0; 12]);
            for short in [1, 23, len - 1] {
                let answer = gpu.raw(rig, &whole[..short], 2048);
                assert_eq!(
                    (answer.len(), word(&answer, 0)),
                    (HEADER, response::ERR_UNSPEC),
                    "{kind:#x} {short}"
                );
            }
        }
        // Answers without room are cut; what is too long is done.
        assert_eq!(gpu.raw(rig, &bytes(command::GET_DISPLAY_INFO, &[0; 100]), 7).len(), 7);
        assert_eq!(
            word(&gpu.raw(rig, &bytes(command::RESOURCE_UNREF, &[1; 1000]), 24), 0),
            response::OK_NODATA
        );
        // A command without an answer, an answer without a command.
        rig.poke(COMMAND, &bytes(command::RESOURCE_CREATE_2D, &[7, 1, 2, 2]));
        assert!(gpu.queues[0].offer(&[Buffer { gpa: COMMAND, len: 40, write: false }], false, 1));
        assert!(gpu.queues[0].offer(&[Buffer { gpa: ANSWER, len: 24, write: true }], false, 2));
        driver::notify(rig, queue::CONTROL);
        assert_eq!([gpu.queues[0].used(), gpu.queues[0].used()], [Some((1, 0)), Some((2, 24))]);
        assert_eq!(
            gpu.run(rig, command::RESOURCE_CREATE_2D, &[7, 1, 2, 2]),
            response::ERR_INVALID_RESOURCE_ID
        );
        // The cursor queue's.
        for (kind, len) in [(command::UPDATE_CURSOR, 55), (command::MOVE_CURSOR, 1), (0x100, 56)] {
            rig.poke(COMMAND, &bytes(kind, &[0; 8]));
            assert!(gpu.queues[1].offer(&[Buffer { gpa: COMMAND, len, write: false }], false, 0));
            driver::notify(rig, queue::CURSOR);
            assert_eq!(gpu.queues[1].used(), Some((0, 0)));
        }
        gpu.cursor(rig, command::UPDATE_CURSOR, &[2, 0, 0, 0, 1, 0, 0, 0]);
        gpu.cursor(rig, command::UPDATE_CURSOR, &[0, 0, 0, 0, 99, 0, 0, 0]);
    });
}

#[test]
fn no_more_memory_than_there_may_be() {
    let mut rig = Rig::new();
    let mut gpu = Started::new(&mut rig);
    // Resources of one pixel, with as much backing as they can have.
    rig.poke(0x10_0000, &bytes(command::RESOURCE_ATTACH_BACKING, &[0, 0]));
    let entries: Vec<u8> = [PIXELS as u32, 0, 4, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    rig.poke(0x10_0020, &entries.repeat(ENTRIES_MAX as usize));
    let mut last = response::OK_NODATA;
    for id in 1..10_000 {
        last = gpu.run(&mut rig, command::RESOURCE_CREATE_2D, &[id, 1, 1, 1]);
        if last != response::OK_NODATA {
            break;
        }
        rig.poke(0x10_0018, &[id.to_le_bytes(), ENTRIES_MAX.to_le_bytes()].concat());
        let command = Buffer { gpa: 0x10_0000, len: 32 + ENTRIES_MAX * 16, write: false };
        assert!(gpu.queues[0].offer(&[command, Buffer { gpa: ANSWER, len: 24, write: true }], false, 0));
        driver::notify(&mut rig, queue::CONTROL);
        assert!(gpu.queues[0].used().is_some());
    }
    assert_eq!(last, response::ERR_OUT_OF_MEMORY);
    gpu.cell.lock().with(|device, _| {
        let held: u64 = device.resources.values().map(Resource::cost).sum();
        assert_eq!(device.hostmem, held);
        assert!(held <= device.options.max_hostmem && device.resources.len() < 5000);
    });
}

#[test]
fn a_reset_in_the_midst_of_commands() {
    let mut rig = Rig::new();
    let mut gpu = Started::with(&mut rig, Options { max_hostmem: 64 << 20, ..options() });
    // A transfer that takes all that one call does, and commands behind it.
    gpu.done(&mut rig, command::RESOURCE_CREATE_2D, &[1, 2, 4096, 1100]);
    gpu.done(&mut rig, command::RESOURCE_ATTACH_BACKING, &[1, 1, PIXELS as u32, 0, 4096, 0]);
    rig.poke(COMMAND, &bytes(command::TRANSFER_TO_HOST_2D, &[0, 0, 4096, 1100, 0, 0, 1, 0]));
    rig.poke(COMMAND + 64, &bytes(command::RESOURCE_CREATE_2D, &[2, 2, 16, 16]));
    for (n, len) in [(0, 56), (1, 40)] {
        let command = Buffer { gpa: COMMAND + n * 64, len, write: false };
        assert!(gpu.queues[0].offer(&[command, Buffer { gpa: ANSWER, len: 24, write: true }], false, n));
    }
    driver::notify(&mut rig, queue::CONTROL);
    assert_eq!((gpu.queues[0].used(), gpu.queues[0].used()), (Some((0, 24)), None), "the second waits");
    driver::set_status(&mut rig, 0);
    gpu.cell.lock().with(|device, _| assert_eq!(device.goes_on, None));
    rig.advance(1_000_000);
    assert_eq!(gpu.queues[0].used(), None);
    gpu.cell.lock().with(|device, _| assert_eq!(device.resources.len(), 0));
}
