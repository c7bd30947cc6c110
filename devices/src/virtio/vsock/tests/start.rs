//! How Linux starts (its public source): it reads the CID, sets up all three queues, says that it is there, fills the
//! receive queue with buffers that are cut behind the header, gives eight buffers for events, and connects.

use super::super::super::driver::pci::MESSAGE;
use super::super::super::pci::spec::common;
use super::*;

#[test]
fn linux() {
    scenario(|rig| {
        let ends = attach(rig);
        let features = ring::VERSION_1 | ring::EVENT_IDX | ring::INDIRECT_DESC;
        driver::negotiate(rig, features);
        let at = MEMORY + DEVICE.offset;
        let cid = rig.mmio_read(at, Size::B4) | rig.mmio_read(at + 4, Size::B4) << 32;
        assert_eq!(cid, CID);
        driver::use_messages(rig, 3);
        driver::set(rig, common::CONFIG_MSIX_VECTOR, Size::B2, 0);
        assert_eq!(driver::get(rig, common::NUM_QUEUES, Size::B2), 3);
        let mut queues = Vec::new();
        for number in 0..3u16 {
            driver::set(rig, common::QUEUE_SELECT, Size::B2, number.into());
            assert_eq!(driver::get(rig, common::QUEUE_SIZE, Size::B2), 128);
            let queue =
                DriverQueue::new(rig.ram().clone(), QUEUES + u64::from(number) * 0x1_0000, 16, features);
            // A vector for what has something for the driver often, and one for the rest.
            driver::enable(rig, number, queue.place(), if number == 2 { 2 } else { 1 });
            queues.push(queue);
        }
        driver::ready(rig);
        let mut driver = Started { queues, ends, given: 0 };
        for at in 0..8 {
            let header = Buffer { gpa: GOT + at * 0x2000, len: 44, write: true };
            let data = Buffer { gpa: header.gpa + 0x1000, len: 4096, write: true };
            assert!(driver.queues[0].offer(&[header, data], false, at));
        }
        driver::notify(rig, queue::RX);
        driver.queues[0].want_interrupts(true);
        driver.queues[1].want_interrupts(true);
        driver.send(rig, &packet(op::REQUEST, b""), &[44]);
        assert!(driver.sent());
        assert_eq!(rig.take_messages(), [(0xfee0_0000, MESSAGE + 1)]);
        assert_eq!(driver.ends.host.sent(), Some(packet(op::REQUEST, b"")));
        driver.come(of_host(op::RESPONSE), b"");
        assert_eq!(driver.queues[0].used(), Some((0, 44)));
        driver.come(of_host(op::RW), &[5; 5000]);
        // Two of its buffers.
        assert_eq!(driver.queues[0].used(), Some((1, 44 + 4096)));
        assert_eq!(driver.queues[0].used(), Some((2, 44 + 904)));
        assert_eq!(rig.peek(GOT + 2 * 0x2000 + 0x1000, 904), [5; 904]);
    });
}
