//! How the balloon driver of virtio-win works (facts of its public source): with no messages, so that its interrupts are told
//! by the interrupt status; it gives the statistics' buffer, all of whose tags are unknown yet, and notifies before it says
//! that it is there. A thread of its looks at the target after each interrupt, fills a page with numbers of pages, waits
//! for the buffer to come back, and says how many there are. When the computer is switched off it takes all of them out,
//! says so, takes back that it is there, and resets. An older one, which knows legacy registers alone, sets up queues and
//! gives statistics before it accepts any features.

use super::super::super::driver::windows;
use super::super::super::pci::spec::{ISR, legacy};
use super::super::super::queue::Place;
use super::super::super::spec::status;
use super::*;

const STATISTICS: u64 = 0x3_0000;

/// What the driver does when it is interrupted: the interrupt status, and how many pages are wanted more.
fn interrupted(rig: &mut Rig, has: u32) -> (u64, i64) {
    let isr = rig.mmio_read(MEMORY + ISR.offset, Size::B1);
    (isr, rig.mmio_read(CONFIG, Size::B4) as i64 - i64::from(has))
}

/// Ten tags, none of which is known, and their buffer.
fn no_statistics(rig: &Rig) -> Buffer {
    rig.poke(STATISTICS, &[0xff; 10 * STAT_LEN]);
    Buffer { gpa: STATISTICS, len: 10 * STAT_LEN as u32, write: false }
}

/// Pages go in or out by the queue of that number, and the host has seen them.
fn tell(rig: &mut Rig, queue: &mut DriverQueue, number: u16, pages: &[u32]) {
    assert!(queue.offer(&[numbers(rig, pages)], false, 9));
    driver::notify(rig, number);
    assert_eq!(rig.mmio_read(MEMORY + ISR.offset, Size::B1), 1);
    assert_eq!(queue.used(), Some((9, 0)));
}

#[test]
fn it_is_filled_and_emptied() {
    scenario(|rig| {
        let (cell, _) = attach(rig, Options::default());
        windows::initialize(rig);
        let features = windows::agree(rig, common::VERSION_1 | common::ANY_LAYOUT | feature::STATS_VQ);
        assert_ne!(features & feature::STATS_VQ, 0);
        let all = [0, 1, 2].map(|number| (128, QUEUES[number], None));
        let mut queues = windows::find_queues(rig, features, &all);
        let buffer = no_statistics(rig);
        assert!(queues[2].offer(&[buffer], false, 1));
        driver::notify(rig, queue::STATS);
        assert_eq!(queues[2].used(), None);
        windows::ready(rig);
        queues.iter().for_each(|queue| queue.want_interrupts(true));
        assert_eq!(interrupted(rig, 0), (0, 0));

        cell.lock().set_target((2 << 20) - 40 * PAGE);
        assert_eq!(interrupted(rig, 0), (3, 40), "a change of the configuration is told by both bits");
        fill(rig, 0x100..0x130);
        let pages: Vec<u32> = (0x100..0x128).collect();
        tell(rig, &mut queues[0], queue::INFLATE, &pages);
        assert_eq!(gone(rig, 0x100..0x130).len(), 40);
        rig.mmio_write(CONFIG + 4, Size::B4, 40);
        assert_eq!(cell.lock().actual(), (2 << 20) - 40 * PAGE);
        // The host asks for statistics, and a service of Windows's answers: memory that is free.
        cell.lock().set_polling(1);
        rig.advance(SECOND);
        assert_eq!(interrupted(rig, 40), (1, 0));
        assert_eq!(queues[2].used(), Some((1, 0)));
        rig.poke(STATISTICS, &[&[4, 0][..], &(123u64 << 20).to_le_bytes()].concat());
        assert!(queues[2].offer(&[buffer], false, 2));
        driver::notify(rig, queue::STATS);
        assert_eq!(cell.lock().statistics().values[4], Some(123 << 20));
        assert_eq!(cell.lock().statistics().values[5], None, "the other tags are unknown still");

        cell.lock().set_target(2 << 20);
        assert_eq!(interrupted(rig, 40), (3, -40));
        tell(rig, &mut queues[1], queue::DEFLATE, &pages);
        rig.mmio_write(CONFIG + 4, Size::B4, 0);
        assert_eq!(cell.lock().actual(), 2 << 20);
        driver::set_status(rig, status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
        windows::shut_down(rig, 3);
    });
}

#[test]
fn an_older_one() {
    scenario(|rig| {
        let (cell, _) = attach(rig, Options::default());
        let port = |register: u64| PORTS + register as u16;
        for value in [0, status::ACKNOWLEDGE, status::ACKNOWLEDGE | status::DRIVER] {
            rig.outb(port(legacy::DEVICE_STATUS), value);
        }
        let mut queues: Vec<DriverQueue> = (0..3u16)
            .map(|number| {
                rig.outw(port(legacy::QUEUE_SELECT), number);
                let size = rig.inw(port(legacy::QUEUE_SIZE));
                assert_eq!((size, rig.inl(port(legacy::QUEUE_ADDRESS))), (128, 0));
                let at = 0x10_0000 + u64::from(number) * 0x2_0000;
                rig.outl(port(legacy::QUEUE_ADDRESS), (at / 4096) as u32);
                let driver = at + 128 * 16;
                let place = Place { size, descriptors: at, driver, device: at + 0x1000 };
                DriverQueue::at(rig.ram().clone(), place, at + 0x4000, 0)
            })
            .collect();
        assert_ne!(u64::from(rig.inl(port(legacy::DEVICE_FEATURES))) & feature::STATS_VQ, 0);
        let buffer = no_statistics(rig);
        assert!(queues[2].offer(&[buffer], false, 1));
        rig.outw(port(legacy::QUEUE_NOTIFY), 2);
        rig.outl(port(legacy::DRIVER_FEATURES), feature::STATS_VQ as u32);
        rig.outb(port(legacy::DEVICE_STATUS), 7);
        assert_eq!(queues[2].used(), None, "it stays with the device");
        cell.lock().set_target((2 << 20) - 2 * PAGE);
        assert_eq!(rig.inb(port(legacy::ISR_STATUS)), 3);
        assert_eq!(rig.inl(port(legacy::CONFIG)), 2, "the registers are as without messages");
        fill(rig, 0x1a0..0x1a4);
        assert!(queues[0].offer(&[numbers(rig, &[0x1a0, 0x1a3])], false, 5));
        rig.outw(port(legacy::QUEUE_NOTIFY), 0);
        assert_eq!((queues[0].used(), rig.inb(port(legacy::ISR_STATUS))), (Some((5, 0)), 1));
        assert_eq!(gone(rig, 0x1a0..0x1a4), [0x1a0, 0x1a3]);
        // It takes back that it is there, then its queues, of which the first is a reset.
        rig.outb(port(legacy::DEVICE_STATUS), 3);
        rig.outw(port(legacy::QUEUE_SELECT), 1);
        rig.outl(port(legacy::QUEUE_ADDRESS), 0);
        assert_eq!(rig.inb(port(legacy::DEVICE_STATUS)), 0);
        assert_eq!(cell.lock().actual(), 2 << 20);
    });
}
