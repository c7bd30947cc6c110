//! How drivers of virtio-win find a device that is not transitional, or its modern face, and start it (facts of the public
//! source of its library): the device is reset until it reads as that; features are read, and written with FEATURES_OK,
//! before queues are looked for; of each queue the size and the place of its notification are read, its areas are
//! written in halves, and its vector, which is read back; when all are there they are enabled, one after the other. On the
//! way out the device is reset, and then loses the vectors.

use devices_core::Size;
use devices_core::rig::Rig;

use super::super::pci::spec::{NO_VECTOR, common};
use super::super::spec::status;
use super::DriverQueue;
use super::pci::{get, offered, set, set_status, status};

/// Elements that the tests use of each queue; Windows uses all.
const SIZE: u16 = 32;

/// The device is reset, and seen.
pub fn initialize(rig: &mut Rig) {
    set_status(rig, 0);
    assert_eq!(status(rig), 0);
    set_status(rig, status::ACKNOWLEDGE);
    set_status(rig, status::ACKNOWLEDGE | status::DRIVER);
}

/// Accepts of these features what is offered.
pub fn agree(rig: &mut Rig, features: u64) -> u64 {
    let features = offered(rig) & features;
    for half in 0..2 {
        set(rig, common::DRIVER_FEATURE_SELECT, Size::B4, half);
        set(rig, common::DRIVER_FEATURE, Size::B4, features >> (32 * half) & 0xffff_ffff);
    }
    let before = status(rig);
    set_status(rig, before | status::FEATURES_OK);
    assert_ne!(status(rig) & status::FEATURES_OK, 0);
    features
}

/// Sets up queues: how many elements each has to have, where it is put, and its vector. The configuration has the first
/// vector, if there are any.
pub fn find_queues(rig: &mut Rig, features: u64, queues: &[(u16, u64, Option<u16>)]) -> Vec<DriverQueue> {
    if queues.iter().any(|(.., vector)| vector.is_some()) {
        set(rig, common::CONFIG_MSIX_VECTOR, Size::B2, 0);
        assert_eq!(get(rig, common::CONFIG_MSIX_VECTOR, Size::B2), 0);
    }
    let mut all = Vec::new();
    for (number, &(size, base, vector)) in (0..).zip(queues) {
        assert!(get(rig, common::NUM_QUEUES, Size::B2) > number);
        set(rig, common::QUEUE_SELECT, Size::B2, number);
        assert_eq!(get(rig, common::QUEUE_SIZE, Size::B2), u64::from(size));
        assert_eq!(get(rig, common::QUEUE_NOTIFY_OFF, Size::B2), number);
        rig.poke(base, &[0; 0x4000]);
        let queue = DriverQueue::new(rig.ram().clone(), base, SIZE.min(size), features);
        let place = queue.place();
        set(rig, common::QUEUE_SIZE, Size::B2, place.size.into());
        for (register, address) in [
            (common::QUEUE_DESC, place.descriptors),
            (common::QUEUE_DRIVER, place.driver),
            (common::QUEUE_DEVICE, place.device),
        ] {
            set(rig, register, Size::B4, address & 0xffff_ffff);
            set(rig, register + 4, Size::B4, address >> 32);
        }
        if let Some(vector) = vector {
            set(rig, common::QUEUE_MSIX_VECTOR, Size::B2, vector.into());
            assert_eq!(get(rig, common::QUEUE_MSIX_VECTOR, Size::B2), u64::from(vector));
        }
        all.push(queue);
    }
    for number in 0..queues.len() as u64 {
        set(rig, common::QUEUE_SELECT, Size::B2, number);
        set(rig, common::QUEUE_ENABLE, Size::B2, 1);
    }
    all
}

/// The driver is there.
pub fn ready(rig: &mut Rig) {
    let before = status(rig);
    set_status(rig, before | status::DRIVER_OK);
}

/// It goes.
pub fn shut_down(rig: &mut Rig, queues: u64) {
    set_status(rig, 0);
    assert_eq!(status(rig), 0);
    for number in 0..queues {
        set(rig, common::QUEUE_SELECT, Size::B2, number);
        set(rig, common::QUEUE_MSIX_VECTOR, Size::B2, NO_VECTOR.into());
    }
}
