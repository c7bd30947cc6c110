//! The transport, with a block device on it.

use devices_core::Size;
use devices_core::pci::reg;
use devices_core::rig::{Rig, scenario, us};

use super::super::blk::tests::{DATA, QUEUE, attach, options, request, with_options};
use super::super::driver::DriverQueue;
use super::super::driver::pci::{self as driver, MEMORY, PORTS, SLOT};
use super::super::spec::{feature, isr, status};
use super::spec::{self, common, legacy};
use super::*;

fn capabilities(rig: &mut Rig) -> Vec<(u16, u8, u8)> {
    let mut all = Vec::new();
    let mut at = rig.config_read(SLOT, 0, reg::CAPABILITIES, Size::B1) as u16;
    while at != 0 {
        let id = rig.config_read(SLOT, 0, at, Size::B1) as u8;
        let cfg_type = rig.config_read(SLOT, 0, at + 3, Size::B1) as u8;
        all.push((at, id, cfg_type));
        at = rig.config_read(SLOT, 0, at + 1, Size::B1) as u16;
    }
    all
}

fn bar_len(rig: &mut Rig, index: usize) -> u32 {
    let at = reg::BAR0 + 4 * index as u16;
    rig.config_write(SLOT, 0, at, Size::B4, u32::MAX);
    let mask = rig.config_read(SLOT, 0, at, Size::B4);
    (!(mask & !0xf)).wrapping_add(1)
}

#[test]
fn ids_bars_and_capabilities_are_qemus() {
    let word = |rig: &mut Rig, at| rig.config_read(SLOT, 0, at, Size::B2);
    let (mut rig, ..) = attach(options());
    let ids = [reg::VENDOR, reg::DEVICE, reg::SUBSYSTEM_VENDOR, reg::SUBSYSTEM].map(|at| word(&mut rig, at));
    assert_eq!(ids, [0x1af4, 0x1001, 0x1af4, 2]);
    assert_eq!(rig.config_read(SLOT, 0, reg::REVISION, Size::B4), 0x01_00_00_00);
    assert_eq!([0, 1, 4].map(|bar| bar_len(&mut rig, bar)), [128, 4096, 0x4000]);
    // As lspci shows a guest of QEMU's.
    let all = capabilities(&mut rig);
    let vendor = |at, cfg_type| (at, spec::CAP_VENDOR, cfg_type);
    assert_eq!(all[0].0, 0x98);
    assert_eq!(
        all[1..],
        [vendor(0x84, 5), vendor(0x70, 2), vendor(0x60, 4), vendor(0x50, 3), vendor(0x40, 1)]
    );

    let (mut rig, ..) = attach(Options { legacy: false, ..options() });
    let ids = [reg::DEVICE, reg::SUBSYSTEM].map(|at| word(&mut rig, at));
    assert_eq!(ids, [0x1042, 0x1100]);
    assert_eq!(rig.config_read(SLOT, 0, reg::REVISION, Size::B1), 1);
    assert_eq!(bar_len(&mut rig, 0), 0, "no ports");

    let (mut rig, ..) = attach(Options { modern: false, ..options() });
    assert_eq!(capabilities(&mut rig).len(), 1);
    assert_eq!(bar_len(&mut rig, 4), 0);
    let (mut rig, ..) = attach(Options { modern: false, vectors: 0, ..options() });
    assert_eq!(capabilities(&mut rig), []);
    assert_eq!(bar_len(&mut rig, 1), 0);
}

#[test]
fn a_driver_may_want_its_requests_back_in_order_and_say_how_far_it_has_come() {
    for layout in [0, feature::RING_PACKED] {
        scenario(|rig| {
            let more = feature::RING_PACKED | feature::IN_ORDER | feature::NOTIFICATION_DATA;
            with_options(rig, Options { features: USUAL_FEATURES | more, ..options() });
            driver::map(rig);
            assert_eq!(driver::offered(rig) & more, more);
            let features =
                more & !feature::RING_PACKED | layout | feature::INDIRECT_DESC | feature::VERSION_1;
            let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, features);
            driver::start(rig, features, queue.place(), false);
            for round in 0..20u64 {
                let sectors = round * 3..round * 3 + 3;
                sectors.clone().for_each(|sector| request(rig, &mut queue, 0, sector, 512));
                // The queue's number, and what it comes to.
                rig.mmio_write(MEMORY + spec::NOTIFY.offset, Size::B4, (round * 3 + 3) << 16);
                rig.advance(us(400));
                for sector in sectors {
                    assert_eq!(queue.used(), Some((sector, 513)), "{layout:x}");
                }
            }
        });
    }
}

#[test]
fn a_modern_driver_starts_and_hears_by_messages() {
    for features in [0, feature::EVENT_IDX, feature::RING_PACKED, feature::RING_PACKED | feature::EVENT_IDX] {
        scenario(|rig| {
            let features = features | feature::INDIRECT_DESC | feature::VERSION_1;
            with_options(rig, Options { features: USUAL_FEATURES | feature::RING_PACKED, ..options() });
            driver::map(rig);
            let offered = driver::offered(rig);
            assert_eq!(offered & features, features);
            assert_eq!(offered & (feature::NOTIFY_ON_EMPTY | feature::ANY_LAYOUT), 0);
            let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, features);
            driver::start(rig, features, queue.place(), true);
            for sector in 0..40 {
                request(rig, &mut queue, 0, sector, 512);
                driver::notify(rig, 0);
                assert_eq!(queue.used(), None);
                rig.advance(us(200));
                assert_eq!(queue.used(), Some((sector, 513)));
                assert_eq!(rig.peek(DATA, 1), [sector as u8]);
                queue.want_interrupts(true);
                assert_eq!(rig.take_messages().pop(), Some((0xfee0_0000, driver::MESSAGE + 1)), "{sector}");
            }
            assert!(!rig.irq(11));
        });
    }
}

#[test]
fn a_legacy_driver_starts_and_hears_by_the_pin() {
    scenario(|rig| {
        with_options(rig, options());
        driver::map(rig);
        // Bus mastering is off, as an old Linux leaves it.
        rig.config_write(SLOT, 0, reg::COMMAND, Size::B2, 3);
        let place = driver::start_legacy(rig, u32::MAX, (QUEUE / 4096) as u32);
        assert_eq!(place.size, 256);
        let features = u64::from(rig.inl(PORTS + legacy::DRIVER_FEATURES as u16));
        assert_eq!(features & feature::ANY_LAYOUT, feature::ANY_LAYOUT);
        let mut queue = DriverQueue::at(rig.ram().clone(), place, 0x10_0000, features);
        queue.want_interrupts(true);
        for sector in 0..3 {
            request(rig, &mut queue, 0, sector, 512);
            rig.outw(PORTS + legacy::QUEUE_NOTIFY as u16, 0);
            assert!(!rig.irq(11));
            rig.advance(us(200));
            assert_eq!(queue.used(), Some((sector, 513)));
            queue.want_interrupts(true);
            assert!(rig.irq(11));
            assert_eq!(rig.inb(PORTS + legacy::ISR_STATUS as u16), isr::QUEUE);
            assert!(!rig.irq(11), "it was acknowledged");
        }
        // The configuration: the capacity.
        assert_eq!(rig.inl(PORTS + legacy::CONFIG as u16), 160);
        // Page 0 is a reset.
        rig.outl(PORTS + legacy::QUEUE_ADDRESS as u16, 0);
        assert_eq!(rig.inb(PORTS + legacy::DEVICE_STATUS as u16), 0);
    });
}

#[test]
fn the_handshake_is_by_the_letter() {
    let (mut rig, ..) = attach(Options { features: USUAL_FEATURES | feature::RING_PACKED, ..options() });
    let rig = &mut rig;
    driver::map(rig);
    // What was never offered is not accepted.
    driver::negotiate(rig, u64::MAX);
    driver::set(rig, common::DRIVER_FEATURE_SELECT, Size::B4, 0);
    let low = driver::get(rig, common::DRIVER_FEATURE, Size::B4);
    driver::set(rig, common::DRIVER_FEATURE_SELECT, Size::B4, 1);
    let high = driver::get(rig, common::DRIVER_FEATURE, Size::B4);
    assert_eq!(low | high << 32, driver::offered(rig));
    // And nothing changes once it is agreed.
    driver::set(rig, common::DRIVER_FEATURE, Size::B4, 0);
    assert_eq!(driver::get(rig, common::DRIVER_FEATURE, Size::B4), high);
    // Packed queues are for drivers of version 1.
    assert_eq!(driver::negotiate(rig, feature::RING_PACKED) & status::FEATURES_OK, 0);
    assert_ne!(driver::negotiate(rig, feature::VERSION_1) & status::FEATURES_OK, 0);
    // No such queue, no such vector.
    driver::set(rig, common::QUEUE_SELECT, Size::B2, 7);
    assert_eq!(driver::get(rig, common::QUEUE_SIZE, Size::B2), 0);
    driver::set(rig, common::QUEUE_ENABLE, Size::B2, 1);
    assert_eq!(driver::get(rig, common::QUEUE_ENABLE, Size::B2), 0);
    driver::set(rig, common::CONFIG_MSIX_VECTOR, Size::B2, 2);
    assert_eq!(driver::get(rig, common::CONFIG_MSIX_VECTOR, Size::B2), 0xffff);
    driver::set(rig, common::QUEUE_SELECT, Size::B2, 0);
    driver::set(rig, common::QUEUE_SIZE, Size::B2, 0x8000);
    assert_eq!(driver::get(rig, common::QUEUE_SIZE, Size::B2), 256, "no more than there is");
}

#[test]
fn a_fault_of_the_drivers_needs_a_reset_and_says_so() {
    scenario(|rig| {
        with_options(rig, options());
        driver::map(rig);
        let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
        driver::start(rig, 0, queue.place(), true);
        queue.offer_endless();
        driver::notify(rig, 0);
        assert_eq!(driver::status(rig) & status::NEEDS_RESET, status::NEEDS_RESET);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, driver::MESSAGE)], "the configuration's vector");
        // Writing the status does not help, and nothing moves.
        driver::ready(rig);
        driver::notify(rig, 0);
        assert_eq!(driver::status(rig) & status::NEEDS_RESET, status::NEEDS_RESET);
        // A reset does.
        let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE + 0x1_0000, 16, feature::VERSION_1);
        driver::start(rig, 0, queue.place(), false);
        request(rig, &mut queue, 0, 5, 512);
        driver::notify(rig, 0);
        rig.advance(us(200));
        assert_eq!(queue.used(), Some((5, 513)));
    });
}

#[test]
fn structures_are_reached_by_configuration_space() {
    scenario(|rig| {
        with_options(rig, options());
        driver::map(rig);
        let (_, cap) = spec::PCI_CFG;
        let window = |rig: &mut Rig, offset: u64, length: u32| {
            rig.config_write(SLOT, 0, cap + 4, Size::B1, spec::BAR_MODERN as u32);
            rig.config_write(SLOT, 0, cap + 8, Size::B4, offset as u32);
            rig.config_write(SLOT, 0, cap + 12, Size::B4, length);
        };
        window(rig, spec::DEVICE.offset, 4);
        assert_eq!(rig.config_read(SLOT, 0, cap + 16, Size::B4), 160, "the capacity");
        window(rig, common::DEVICE_STATUS, 1);
        rig.config_write(SLOT, 0, cap + 16, Size::B1, 3);
        assert_eq!(driver::status(rig), 3);
        // What is not there, or crooked, is nothing.
        for (offset, length) in [(spec::MODERN_LEN, 4), (u64::from(u32::MAX), 4), (2, 4), (0, 3), (0, 0)] {
            window(rig, offset, length);
            rig.config_write(SLOT, 0, cap + 16, Size::B4, 0);
        }
        assert_eq!(driver::status(rig), 3);
    });
}

#[test]
fn one_queue_is_reset_and_used_anew() {
    scenario(|rig| {
        with_options(rig, options());
        driver::map(rig);
        let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
        driver::start(rig, feature::RING_RESET, queue.place(), false);
        request(rig, &mut queue, 0, 1, 512);
        driver::notify(rig, 0);
        driver::set(rig, common::QUEUE_RESET, Size::B2, 1);
        assert_eq!(driver::get(rig, common::QUEUE_RESET, Size::B2), 0);
        assert_eq!(driver::get(rig, common::QUEUE_ENABLE, Size::B2), 0);
        rig.advance(us(200));
        assert_eq!(queue.used(), None, "what was in flight is gone");
        let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE + 0x1_0000, 16, feature::VERSION_1);
        driver::enable(rig, 0, queue.place(), spec::NO_VECTOR);
        request(rig, &mut queue, 0, 7, 512);
        driver::notify(rig, 0);
        rig.advance(us(200));
        assert_eq!(queue.used(), Some((7, 513)));
    });
}

#[test]
fn requests_wait_while_bus_mastering_is_off() {
    let (mut rig, ..) = attach(options());
    let rig = &mut rig;
    driver::map(rig);
    let mut queue = DriverQueue::new(rig.ram().clone(), QUEUE, 16, feature::VERSION_1);
    driver::start(rig, 0, queue.place(), false);
    rig.config_write(SLOT, 0, reg::COMMAND, Size::B2, 3);
    request(rig, &mut queue, 0, 1, 512);
    driver::notify(rig, 0);
    rig.advance(us(200));
    assert_eq!(queue.used(), None);
    assert_eq!(driver::status(rig) & status::NEEDS_RESET, 0, "that is no fault");
    rig.config_write(SLOT, 0, reg::COMMAND, Size::B2, 7);
    rig.advance(us(200));
    assert_eq!(queue.used(), Some((1, 513)));
    // Legacy and modern registers are one device.
    assert_eq!(rig.inb(PORTS + legacy::DEVICE_STATUS as u16), rig.mmio_read(MEMORY + 0x14, Size::B1) as u8);
}
