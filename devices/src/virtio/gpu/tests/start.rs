//! How drivers start.
//!
//! Linux (virtio_gpu): features EDID and INDIRECT_DESC; both queues with a message each; the number of heads; driver
//! ready; then EDIDs of all heads and the monitors in one go; for the console a resource in the preferred mode, its
//! backing page by page, the whole picture copied, shown and flushed, later the lines that were written, with a fence
//! each. A change of monitors: events are read, EDIDs and monitors asked for again, the event cleared.
//!
//! Windows (viogpudo of virtio-win; facts of its public source): INDIRECT_DESC, and no EDID accepted; message 0 for
//! configuration changes, 1 for commands, 2 for pointers; number of heads and capability sets read before it is ready;
//! the EDID is asked for all the same, then the monitors; for a mode: resource, backing, shown, copied, flushed. A change
//! of mode: backing detached, resource ended, the next one made. A pointer is a resource of 64 by 64. At its end, or for
//! a blue screen on a VGA: backing detached, resource ended, head 0 off, reset.

use super::super::super::driver::pci::MESSAGE;
use super::super::super::pci::spec::common;
use super::*;

fn start(rig: &mut Rig, features: u64) -> Started {
    let cell = attach_with(rig, Options { outputs: 1, ..options() });
    assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x1050_1af4);
    assert_eq!(rig.config_read(SLOT, 0, 8, Size::B4), 0x0380_0001);
    let accepted = ring::VERSION_1 | features;
    assert_eq!(driver::offered(rig) & accepted, accepted);
    assert_ne!(driver::negotiate(rig, accepted) & 8, 0);
    driver::use_messages(rig, 3);
    driver::set(rig, common::CONFIG_MSIX_VECTOR, Size::B2, 0);
    assert_eq!(driver::get(rig, common::NUM_QUEUES, Size::B2), 2);
    let queues = QUEUES.map(|at| DriverQueue::new(rig.ram().clone(), at, 16, accepted));
    for (number, queue) in (0..).zip(&queues) {
        driver::enable(rig, number, queue.place(), number + 1);
    }
    let word = |rig: &mut Rig, at: u64| rig.mmio_read(MEMORY + DEVICE.offset + at, Size::B4);
    assert_eq!((word(rig, 8), word(rig, 12)), (1, 0), "heads, capability sets");
    driver::ready(rig);
    let eye = cell.lock().device().display();
    Started { eye, cell, queues }
}

/// The messages since this was last asked, as vectors.
fn vectors(rig: &Rig) -> Vec<u32> {
    rig.take_messages().into_iter().map(|(_, data)| data - MESSAGE).collect()
}

#[test]
fn linux_shows_its_console() {
    scenario(|rig| {
        let mut gpu = start(rig, ring::INDIRECT_DESC | feature::EDID);
        assert_eq!(word(&gpu.raw(rig, &bytes(command::GET_EDID, &[0, 0]), 1056), 0), response::OK_EDID);
        let info = gpu.raw(rig, &bytes(command::GET_DISPLAY_INFO, &[]), 408);
        assert_eq!((word(&info, HEADER + 8), word(&info, HEADER + 12)), (1280, 800));
        // A smaller one than preferred, as its memory is that of a test.
        let (width, height) = (128, 64);
        gpu.done(rig, command::RESOURCE_CREATE_2D, &[1, 2, width, height]);
        let pages = (0..8u32).flat_map(|page| [PIXELS as u32 + (7 - page) * 0x1000, 0, 0x1000, 0]);
        let words: Vec<u32> = [1, 8].into_iter().chain(pages).collect();
        gpu.done(rig, command::RESOURCE_ATTACH_BACKING, &words);
        gpu.transfer(rig, 1, [0, 0, width, height], 0);
        gpu.show(rig, 0, 1, [0, 0, width, height]);
        gpu.flush(rig, 1, [0, 0, width, height]);
        gpu.eye.look();
        // Lines 16 to 31 are written: two pages.
        rig.poke(PIXELS + 5 * 0x1000, &[0xaa; 0x1000]);
        gpu.transfer(rig, 1, [0, 16, width, 8], 16 * width * 4);
        gpu.flush(rig, 1, [0, 16, width, 8]);
        assert_eq!(
            (gpu.line(0, 15)[0], gpu.line(0, 16)[127], gpu.line(0, 24)[0]),
            ([0; 3], [0xaa; 3], [0; 3])
        );
        let rows = gpu.eye.look().1;
        assert!(rows == (16..24).into() || rows == (0..64).into(), "{rows:?}");
        vectors(rig);
        gpu.cell.lock().with(|device, common| device.connect(common, 0, (1024, 768)));
        assert_eq!(vectors(rig), [0]);
        assert_eq!(events(rig), 1);
        let info = gpu.raw(rig, &bytes(command::GET_DISPLAY_INFO, &[]), 408);
        assert_eq!(vectors(rig), [1]);
        assert_eq!((word(&info, HEADER + 8), word(&info, HEADER + 12)), (1024, 768));
        rig.mmio_write(MEMORY + DEVICE.offset + 4, Size::B4, 1);
        assert_eq!(events(rig), 0);
    });
}

#[test]
fn windows_changes_its_mode() {
    scenario(|rig| {
        let mut gpu = start(rig, ring::INDIRECT_DESC);
        let edid = gpu.raw(rig, &bytes(command::GET_EDID, &[0, 0]), 1056);
        assert_eq!((word(&edid, 0), edid[HEADER + 8 + 126]), (response::OK_EDID, 0));
        let info = gpu.raw(rig, &bytes(command::GET_DISPLAY_INFO, &[]), 408);
        assert_eq!(word(&info, HEADER + 16), 1, "there is a monitor");
        for (id, size) in [(1, (128, 64)), (2, (64, 32))] {
            gpu.resource(rig, id, 2, size);
            gpu.show(rig, 0, id, [0, 0, size.0, size.1]);
            pattern(rig, size);
            gpu.transfer(rig, id, [0, 0, size.0, size.1], 0);
            gpu.flush(rig, id, [0, 0, size.0, size.1]);
            assert_eq!((gpu.eye.frame().size(), gpu.line(0, 31)[63]), (size, [63, 31, 7]));
            gpu.done(rig, command::RESOURCE_DETACH_BACKING, &[id, 0]);
            // It is seen as it was until it ends.
            assert_eq!(gpu.line(0, 31)[63], [63, 31, 7]);
            gpu.done(rig, command::RESOURCE_UNREF, &[id, 0]);
        }
        vectors(rig);
        gpu.resource(rig, 3, 1, (64, 64));
        gpu.transfer(rig, 3, [0, 0, 64, 64], 0);
        gpu.cursor(rig, command::UPDATE_CURSOR, &[0, 10, 10, 0, 3, 0, 0, 0]);
        gpu.cursor(rig, command::MOVE_CURSOR, &[0, 11, 12, 0, 3, 0, 0, 0]);
        assert_eq!(vectors(rig), [1, 1, 1, 2, 2]);
        gpu.done(rig, command::SET_SCANOUT, &[0; 6]);
        driver::set_status(rig, 0);
        assert!(!gpu.eye.is_active());
    });
}
