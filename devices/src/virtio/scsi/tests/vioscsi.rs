//! How vioscsi of virtio-win starts, and what Windows's storage port and disk class ask first (facts of its public source):
//! the miniport reads the configuration, sets up control, event and request queues with a message each, keeps eight buffers
//! in the event queue, and addresses units flat (`lun[2]` is 0). Storport asks every target for its units, each unit for
//! what it is and for its pages 00, 80 and 83; the disk class driver then for capacity, write protection and cache. A
//! command that takes too long has its unit reset, by a function that the miniport polls for.

use super::super::super::driver::pci::MESSAGE;
use super::super::super::pci::spec::common;
use super::*;

fn flat(target: u8, lun: u8) -> [u8; 8] {
    [1, target, 0, lun, 0, 0, 0, 0]
}

fn start(rig: &mut Rig) -> Started {
    driver::map(rig);
    let offered = driver::offered(rig);
    let wanted = ring::VERSION_1 | ring::INDIRECT_DESC | feature::HOTPLUG | feature::CHANGE;
    assert_eq!(offered & wanted, wanted);
    assert_eq!(offered & 9, 0, "no commands both ways, no protection information");
    driver::negotiate(rig, wanted);
    driver::use_messages(rig, 4);
    driver::set(rig, common::CONFIG_MSIX_VECTOR, Size::B2, 0);
    assert_eq!(driver::get(rig, common::NUM_QUEUES, Size::B2), 3);
    let queue = |base| DriverQueue::new(rig.ram().clone(), base, 16, wanted);
    let queues = [queue(CONTROL_QUEUE), queue(EVENT_QUEUE), queue(REQUEST_QUEUE)];
    for (number, queue) in (0..).zip(&queues) {
        driver::enable(rig, number, queue.place(), number + 1);
    }
    let [control, mut event, request] = queues;
    driver::ready(rig);
    for id in 0..8 {
        assert!(event.offer(&[Buffer { gpa: EVENTS + id * 16, len: 16, write: true }], false, id));
    }
    driver::notify(rig, queue::EVENT);
    let (cdb_size, sense_size) = (CDB_SIZE as usize, SENSE_SIZE as usize);
    Started { control, event, request, cdb_size, sense_size, next: 0 }
}

#[test]
fn windows_finds_a_disk() {
    scenario(|rig| {
        let (_, store) = with_units(rig, pci_options());
        let mut host = start(rig);
        let report = [op::REPORT_LUNS, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0];
        let there: Vec<u8> =
            (0..=8).filter(|&t| host.run_at(rig, flat(t, 0), &report, &[], 16).response == 0).collect();
        assert_eq!(there, [DISK.target, CD.target]);
        let disk = flat(DISK.target, 0);
        let data = host.run_at(rig, disk, &[op::INQUIRY, 0, 0, 0, 36, 0], &[], 36).data;
        assert_eq!((data[0], data.len()), (0, 36));
        assert_eq!(
            host.run_at(rig, flat(DISK.target, 1), &[op::INQUIRY, 0, 0, 0, 36, 0], &[], 36).data[0],
            0x7f
        );
        for page in [0x00, 0x80, 0x83] {
            let data = host.run_at(rig, disk, &[op::INQUIRY, 1, page, 0, 255, 0], &[], 255).data;
            assert_eq!((data[1], usize::from(data[3]) + 4), (page, data.len()));
        }
        // The first command that is not told of the reset is the second.
        assert_eq!(host.run_at(rig, disk, &[0; 6], &[], 0), check(0, sense::RESET));
        assert_eq!(host.run_at(rig, disk, &[0; 6], &[], 0), good(0, &[]));
        let capacity = host.run_at(rig, disk, &[op::READ_CAPACITY, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[], 8);
        assert_eq!(capacity, good(0, &[0, 0, 1, 255, 0, 0, 2, 0]));
        let all = host.run_at(rig, disk, &[op::MODE_SENSE_6, 0, 0x3f, 0, 192, 0], &[], 192);
        assert_eq!(all.data[2] & 0x80, 0, "it can be written");
        let cache = host.run_at(rig, disk, &[op::MODE_SENSE_6, 8, 8, 0, 192, 0], &[], 192);
        assert_eq!((cache.data[4], cache.data[6]), (8, 4));
        rig.take_messages();
        assert_eq!(host.run_at(rig, disk, &WRITE, &[0x44; 1024], 0), good(0, &[]));
        assert_eq!(rig.take_messages(), [(0xfee0_0000, MESSAGE + 3)]);
        let flush = [op::SYNCHRONIZE_CACHE_10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(host.run_at(rig, disk, &flush, &[], 0), good(0, &[]));
        assert_eq!(store.contents()[9 * 512..11 * 512], [0x44; 1024]);
        // A command takes too long.
        host.send(rig, (disk, 99, 1), &READ, &[], 1024);
        assert_eq!(host.manage(rig, tmf::LOGICAL_UNIT_RESET, disk, 0), Some(response::OK));
        assert_eq!(host.back(rig), Some((1, failed(response::RESET))));
        assert_eq!(host.run_at(rig, disk, &[0; 6], &[], 0), check(0, sense::RESET));
        assert_eq!(host.run_at(rig, disk, &READ, &[], 1024), good(0, &contents()[3 * 512..5 * 512]));
    });
}
