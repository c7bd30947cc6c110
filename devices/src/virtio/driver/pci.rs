//! How a driver finds a device on PCI and starts it, in the order in which Linux and SeaBIOS do.

use devices_core::Size;
use devices_core::pci::reg;
use devices_core::rig::Rig;

use super::super::pci::spec::{self, common, legacy};
use super::super::queue::Place;
use super::super::spec::{feature, status};

/// The slot of the device under test, and where the test puts its BARs.
pub const SLOT: u8 = 4;
pub const PORTS: u16 = 0xc000;
pub const MSIX: u64 = 0xe000_0000;
pub const MEMORY: u64 = 0xe010_0000;
/// The data of the message of vector 0; the next have the next.
pub const MESSAGE: u32 = 0x4040;

/// Maps the BARs and turns the device on.
pub fn map(rig: &mut Rig) {
    let bar = |index: usize| reg::BAR0 + 4 * index as u16;
    rig.config_write(SLOT, 0, bar(spec::BAR_LEGACY), Size::B4, PORTS.into());
    rig.config_write(SLOT, 0, bar(spec::BAR_MSIX), Size::B4, MSIX as u32);
    rig.config_write(SLOT, 0, bar(spec::BAR_MODERN), Size::B4, MEMORY as u32);
    rig.config_write(SLOT, 0, bar(spec::BAR_MODERN + 1), Size::B4, 0);
    rig.config_write(SLOT, 0, reg::COMMAND, Size::B2, 7);
}

/// Turns MSI-X on, with a message for each vector.
pub fn use_messages(rig: &mut Rig, vectors: u16) {
    for vector in 0..u64::from(vectors) {
        rig.mmio_write(MSIX + vector * 16, Size::B4, 0xfee0_0000);
        rig.mmio_write(MSIX + vector * 16 + 8, Size::B4, u64::from(MESSAGE) + vector);
        rig.mmio_write(MSIX + vector * 16 + 12, Size::B4, 0);
    }
    rig.config_write(SLOT, 0, spec::MSIX_CAP + 2, Size::B2, 0x8000);
}

fn at(register: u64) -> u64 {
    MEMORY + spec::COMMON.offset + register
}

pub fn get(rig: &mut Rig, register: u64, size: Size) -> u64 {
    rig.mmio_read(at(register), size)
}
pub fn set(rig: &mut Rig, register: u64, size: Size, value: u64) {
    rig.mmio_write(at(register), size, value);
}

pub fn status(rig: &mut Rig) -> u8 {
    get(rig, common::DEVICE_STATUS, Size::B1) as u8
}
pub fn set_status(rig: &mut Rig, value: u8) {
    set(rig, common::DEVICE_STATUS, Size::B1, value.into());
}

/// What the device offers.
pub fn offered(rig: &mut Rig) -> u64 {
    (0..2).fold(0, |all, half| {
        set(rig, common::DEVICE_FEATURE_SELECT, Size::B4, half);
        all | get(rig, common::DEVICE_FEATURE, Size::B4) << (32 * half)
    })
}

/// Resets the device and accepts features; the status that comes of it.
pub fn negotiate(rig: &mut Rig, features: u64) -> u8 {
    set_status(rig, 0);
    set_status(rig, status::ACKNOWLEDGE);
    set_status(rig, status::ACKNOWLEDGE | status::DRIVER);
    for half in 0..2 {
        set(rig, common::DRIVER_FEATURE_SELECT, Size::B4, half);
        set(rig, common::DRIVER_FEATURE, Size::B4, features >> (32 * half) & 0xffff_ffff);
    }
    set_status(rig, status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK);
    status(rig)
}

/// Puts a queue somewhere and enables it.
pub fn enable(rig: &mut Rig, queue: u16, place: Place, vector: u16) {
    set(rig, common::QUEUE_SELECT, Size::B2, queue.into());
    set(rig, common::QUEUE_SIZE, Size::B2, place.size.into());
    set(rig, common::QUEUE_MSIX_VECTOR, Size::B2, vector.into());
    for (register, address) in [
        (common::QUEUE_DESC, place.descriptors),
        (common::QUEUE_DRIVER, place.driver),
        (common::QUEUE_DEVICE, place.device),
    ] {
        set(rig, register, Size::B4, address & 0xffff_ffff);
        set(rig, register + 4, Size::B4, address >> 32);
    }
    set(rig, common::QUEUE_ENABLE, Size::B2, 1);
}

/// The driver is set up.
pub fn ready(rig: &mut Rig) {
    let set_up = status::ACKNOWLEDGE | status::DRIVER | status::FEATURES_OK | status::DRIVER_OK;
    set_status(rig, set_up);
}

pub fn notify(rig: &mut Rig, queue: u16) {
    let place = u64::from(queue) * u64::from(spec::NOTIFY_MULTIPLIER);
    rig.mmio_write(MEMORY + spec::NOTIFY.offset + place, Size::B2, queue.into());
}

/// A legacy driver's start with one queue, as SeaBIOS does it; the queue's areas.
pub fn start_legacy(rig: &mut Rig, features: u32, page: u32) -> Place {
    rig.outb(PORTS + legacy::DEVICE_STATUS as u16, 0);
    rig.outb(PORTS + legacy::DEVICE_STATUS as u16, status::ACKNOWLEDGE);
    rig.outb(PORTS + legacy::DEVICE_STATUS as u16, status::ACKNOWLEDGE | status::DRIVER);
    let offered = rig.inl(PORTS + legacy::DEVICE_FEATURES as u16);
    rig.outl(PORTS + legacy::DRIVER_FEATURES as u16, offered & features);
    rig.outw(PORTS + legacy::QUEUE_SELECT as u16, 0);
    let size = rig.inw(PORTS + legacy::QUEUE_SIZE as u16);
    assert_eq!(rig.inl(PORTS + legacy::QUEUE_ADDRESS as u16), 0, "nobody has set it up");
    rig.outl(PORTS + legacy::QUEUE_ADDRESS as u16, page);
    rig.outb(PORTS + legacy::DEVICE_STATUS as u16, status::ACKNOWLEDGE | status::DRIVER | status::DRIVER_OK);
    let descriptors = u64::from(page) * 4096;
    let driver = descriptors + u64::from(size) * 16;
    let device = (driver + 6 + u64::from(size) * 2).next_multiple_of(4096);
    Place { size, descriptors, driver, device }
}

/// A modern driver's start with one queue of that place, which uses messages or not.
pub fn start(rig: &mut Rig, features: u64, place: Place, messages: bool) {
    let accepted = features | feature::VERSION_1;
    let got = negotiate(rig, accepted);
    assert_eq!(got & status::FEATURES_OK, status::FEATURES_OK);
    if messages {
        use_messages(rig, 2);
        set(rig, common::CONFIG_MSIX_VECTOR, Size::B2, 0);
    }
    enable(rig, 0, place, if messages { 1 } else { spec::NO_VECTOR });
    ready(rig);
}
