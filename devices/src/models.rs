//! The one list of device models.

mod not_built;

use devices_core::model::{BusType, Model, Plug};

use crate::board::{Make, MakeChild};
use crate::virtio::vhost_user::model as vhost_user;
use crate::{
    audio, chipset, display, input, interrupt, net, serial, storage, testing, timer, usb, virtio, watchdog,
    xen,
};

/// A model, and who makes its devices.
struct Listed(&'static Model, Maker);

/// Who makes the devices of a model.
enum Maker {
    /// The machine, which has it always.
    Machine,
    /// The machine, which has it always; to ask for it changes nothing.
    Always,
    /// The controller that it hangs on, or the board.
    Controller,
    /// A function, for whoever asks for one.
    Of(Make),
    /// A function that hands it to the device whose bus it hangs on.
    On(MakeChild),
}

/// Every model that is built.
static ALL: &[Listed] = &[
    Listed(&chipset::i440fx::model::MODEL, Maker::Machine),
    Listed(&chipset::piix3::model::MODEL, Maker::Machine),
    Listed(&chipset::piix4_pm::model::MODEL, Maker::Machine),
    Listed(&chipset::dma8237::model::MODEL, Maker::Machine),
    Listed(&chipset::port92::model::MODEL, Maker::Machine),
    Listed(&chipset::fw_cfg::model::MODEL, Maker::Machine),
    Listed(&chipset::debugcon::model::MODEL, Maker::Of(chipset::debugcon::model::make)),
    Listed(&chipset::pvpanic::model::MODEL, Maker::Always),
    Listed(&chipset::pvpanic_pci::model::MODEL, Maker::Of(chipset::pvpanic_pci::model::make)),
    Listed(&chipset::vmgenid::model::MODEL, Maker::Of(chipset::vmgenid::model::make)),
    Listed(&interrupt::pic::model::MODEL, Maker::Machine),
    Listed(&interrupt::ioapic::model::MODEL, Maker::Machine),
    Listed(&timer::pit::model::MODEL, Maker::Machine),
    Listed(&timer::hpet::model::MODEL, Maker::Machine),
    Listed(&timer::rtc::model::MODEL, Maker::Machine),
    Listed(&input::i8042::model::MODEL, Maker::Machine),
    Listed(&serial::uart16550::model::MODEL, Maker::Of(serial::uart16550::model::make)),
    Listed(&serial::uart16550::model::PCI, Maker::Of(serial::uart16550::model::make_pci)),
    Listed(&storage::ide::model::MODEL, Maker::Machine),
    Listed(&storage::ide::model::DISK, Maker::Controller),
    Listed(&storage::ide::model::CD, Maker::Controller),
    Listed(&storage::pflash::model::MODEL, Maker::Controller),
    Listed(&storage::scsi::model::DISK, Maker::On(storage::scsi::model::make_disk)),
    Listed(&storage::scsi::model::CD, Maker::On(storage::scsi::model::make_cd)),
    Listed(&audio::ac97::model::MODEL, Maker::Of(audio::ac97::model::make)),
    Listed(&audio::es1370::model::MODEL, Maker::Of(audio::es1370::model::make)),
    Listed(&audio::hda::model::ICH6, Maker::Of(audio::hda::model::make)),
    Listed(&audio::hda::model::ICH9, Maker::Of(audio::hda::model::make)),
    Listed(&audio::hda::model::OUTPUT, Maker::On(audio::hda::model::make_codec)),
    Listed(&audio::hda::model::DUPLEX, Maker::On(audio::hda::model::make_codec)),
    Listed(&audio::hda::model::MICRO, Maker::On(audio::hda::model::make_codec)),
    Listed(&display::bochs::model::MODEL, Maker::Of(display::bochs::model::make)),
    Listed(&display::cirrus::model::MODEL, Maker::Of(display::cirrus::model::make)),
    Listed(&display::vga::model::MODEL, Maker::Of(display::vga::model::make)),
    Listed(&display::vga::model::SECONDARY, Maker::Of(display::vga::model::make)),
    Listed(&net::e1000::model::MODEL, Maker::Of(net::e1000::model::make)),
    Listed(&net::e1000::model::MODEL_82544GC, Maker::Of(net::e1000::model::make)),
    Listed(&net::e1000::model::MODEL_82545EM, Maker::Of(net::e1000::model::make)),
    Listed(&net::e1000e::model::MODEL, Maker::Of(net::e1000e::model::make)),
    Listed(&net::ne2000::model::MODEL, Maker::Of(net::ne2000::model::make)),
    Listed(&net::rtl8139::model::MODEL, Maker::Of(net::rtl8139::model::make)),
    Listed(&testing::isa_debug_exit::model::MODEL, Maker::Of(testing::isa_debug_exit::model::make)),
    Listed(&testing::pc_testdev::model::MODEL, Maker::Of(testing::pc_testdev::model::make)),
    Listed(&testing::pci_testdev::model::MODEL, Maker::Of(testing::pci_testdev::model::make)),
    Listed(&usb::ehci::model::USB_EHCI, Maker::Of(usb::ehci::model::make)),
    Listed(&usb::ehci::model::ICH9_1, Maker::Of(usb::ehci::model::make)),
    Listed(&usb::ehci::model::ICH9_2, Maker::Of(usb::ehci::model::make)),
    Listed(&usb::ohci::model::MODEL, Maker::Of(usb::ohci::model::make)),
    Listed(&usb::uhci::model::PIIX3, Maker::Of(usb::uhci::model::make)),
    Listed(&usb::uhci::model::PIIX4, Maker::Of(usb::uhci::model::make)),
    Listed(&usb::uhci::model::ICH9_1, Maker::Of(usb::uhci::model::make)),
    Listed(&usb::uhci::model::ICH9_2, Maker::Of(usb::uhci::model::make)),
    Listed(&usb::uhci::model::ICH9_3, Maker::Of(usb::uhci::model::make)),
    Listed(&usb::uhci::model::ICH9_4, Maker::Of(usb::uhci::model::make)),
    Listed(&usb::uhci::model::ICH9_5, Maker::Of(usb::uhci::model::make)),
    Listed(&usb::uhci::model::ICH9_6, Maker::Of(usb::uhci::model::make)),
    Listed(&usb::xhci::model::QEMU, Maker::Of(usb::xhci::model::make)),
    Listed(&usb::xhci::model::NEC, Maker::Of(usb::xhci::model::make)),
    Listed(&usb::hid::model::TABLET, Maker::On(usb::hid::model::make)),
    Listed(&usb::hid::model::MOUSE, Maker::On(usb::hid::model::make)),
    Listed(&usb::hid::model::KEYBOARD, Maker::On(usb::hid::model::make)),
    Listed(&usb::hub::model::MODEL, Maker::On(usb::hub::model::make)),
    Listed(&usb::serial::model::MODEL, Maker::On(usb::serial::model::make)),
    Listed(&usb::storage::model::MODEL, Maker::On(usb::storage::model::make)),
    Listed(&usb::uas::model::MODEL, Maker::On(usb::uas::model::make)),
    Listed(&virtio::balloon::model::MODEL, Maker::Of(virtio::balloon::model::make)),
    Listed(&virtio::balloon::model::TRANSITIONAL, Maker::Of(virtio::balloon::model::make)),
    Listed(&virtio::balloon::model::NON_TRANSITIONAL, Maker::Of(virtio::balloon::model::make)),
    Listed(&virtio::blk::model::MODEL, Maker::Of(virtio::blk::model::make)),
    Listed(&virtio::blk::model::TRANSITIONAL, Maker::Of(virtio::blk::model::make)),
    Listed(&virtio::blk::model::NON_TRANSITIONAL, Maker::Of(virtio::blk::model::make)),
    Listed(&virtio::gpu::model::MODEL, Maker::Of(virtio::gpu::model::make)),
    Listed(&virtio::gpu::model::VGA, Maker::Of(virtio::gpu::model::make_vga)),
    Listed(&virtio::input::model::KEYBOARD, Maker::Of(virtio::input::model::make)),
    Listed(&virtio::input::model::MOUSE, Maker::Of(virtio::input::model::make)),
    Listed(&virtio::input::model::TABLET, Maker::Of(virtio::input::model::make)),
    Listed(&virtio::net::model::MODEL, Maker::Of(virtio::net::model::make)),
    Listed(&virtio::net::model::TRANSITIONAL, Maker::Of(virtio::net::model::make)),
    Listed(&virtio::net::model::NON_TRANSITIONAL, Maker::Of(virtio::net::model::make)),
    Listed(&virtio::rng::model::MODEL, Maker::Of(virtio::rng::model::make)),
    Listed(&virtio::rng::model::TRANSITIONAL, Maker::Of(virtio::rng::model::make)),
    Listed(&virtio::rng::model::NON_TRANSITIONAL, Maker::Of(virtio::rng::model::make)),
    Listed(&virtio::scsi::model::MODEL, Maker::Of(virtio::scsi::model::make)),
    Listed(&virtio::scsi::model::TRANSITIONAL, Maker::Of(virtio::scsi::model::make)),
    Listed(&virtio::scsi::model::NON_TRANSITIONAL, Maker::Of(virtio::scsi::model::make)),
    Listed(&virtio::serial::model::MODEL, Maker::Of(virtio::serial::model::make)),
    Listed(&virtio::serial::model::TRANSITIONAL, Maker::Of(virtio::serial::model::make)),
    Listed(&virtio::serial::model::NON_TRANSITIONAL, Maker::Of(virtio::serial::model::make)),
    Listed(&virtio::serial::CONSOLE, Maker::On(virtio::serial::make_port)),
    Listed(&virtio::serial::SERIAL_PORT, Maker::On(virtio::serial::make_port)),
    Listed(&virtio::vsock::model::MODEL, Maker::Of(virtio::vsock::model::make)),
    Listed(&vhost_user::BLK, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::BLK_TRANSITIONAL, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::BLK_NON_TRANSITIONAL, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::FS, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::SCSI, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::SCSI_TRANSITIONAL, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::SCSI_NON_TRANSITIONAL, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::RNG, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::RNG_TRANSITIONAL, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::RNG_NON_TRANSITIONAL, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::VSOCK, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::VSOCK_NON_TRANSITIONAL, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::GPIO, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::I2C, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::SOUND, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::SCMI, Maker::Of(vhost_user::make)),
    Listed(&vhost_user::ANY, Maker::Of(vhost_user::make)),
    Listed(&watchdog::i6300esb::model::MODEL, Maker::Of(watchdog::i6300esb::model::make)),
    Listed(&watchdog::ib700::model::MODEL, Maker::Of(watchdog::ib700::model::make)),
    Listed(&xen::platform::model::MODEL, Maker::Of(xen::platform::model::make)),
    Listed(&xen::pvdevice::model::MODEL, Maker::Of(xen::pvdevice::model::make)),
];

/// What can be asked for has a maker, and what has one can be asked for: otherwise this does not compile.
const _: () = {
    let mut at = 0;
    while at < ALL.len() {
        let Listed(model, maker) = &ALL[at];
        let fits = match maker {
            Maker::Machine => matches!(model.plug, Plug::Fixed),
            Maker::Always => matches!(model.plug, Plug::Cold),
            Maker::Controller => {
                matches!((model.bus, model.plug), (BusType::Ide | BusType::System, Plug::Cold))
            }
            Maker::Of(_) => !model.bus.is_of_device() && matches!(model.plug, Plug::Cold | Plug::Hot),
            Maker::On(_) => model.bus.is_of_device() && matches!(model.plug, Plug::Cold | Plug::Hot),
        };
        assert!(fits, "a model's plug and its maker say different things");
        at += 1;
    }
};

/// Every model that is built.
pub fn all() -> impl Iterator<Item = &'static Model> {
    ALL.iter().map(|Listed(model, _)| *model)
}

/// A model by its name or by another that `-device` takes.
pub fn find(name: &str) -> Option<&'static Model> {
    all().find(|model| model.is_called(name))
}

/// What a model of QEMU's is that a guest cannot have yet; none: QEMU has no such model that a person can add, or it is
/// built.
pub fn not_built(name: &str) -> Option<&'static str> {
    not_built::NOT_BUILT.iter().find(|(_, names)| names.contains(&name)).map(|(what, _)| *what)
}

/// Whether a machine has one of that model, asked for or not.
pub fn is_always_there(model: &Model) -> bool {
    ALL.iter().any(|Listed(of, maker)| of.name == model.name && matches!(maker, Maker::Always))
}

/// How a device of a model is made; none: it is a part of every PC, or of another device.
pub fn maker(model: &Model) -> Option<Make> {
    match ALL.iter().find(|Listed(of, _)| of.name == model.name) {
        Some(Listed(_, Maker::Of(make))) => Some(*make),
        _ => None,
    }
}

/// How a device of a model is handed to its controller; none: it does not hang on another device's bus.
pub fn child_maker(model: &Model) -> Option<MakeChild> {
    match ALL.iter().find(|Listed(of, _)| of.name == model.name) {
        Some(Listed(_, Maker::On(make))) => Some(*make),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever builds a model takes its name off that list.
    #[test]
    fn what_is_not_built_is_not_built() {
        let mut names: Vec<&str> =
            not_built::NOT_BUILT.iter().flat_map(|(_, names)| names.iter()).copied().collect();
        let had = names.iter().find(|name| find(name).is_some_and(|model| model.plug != Plug::Fixed));
        assert_eq!(had, None);
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count, "said twice");
    }

    #[test]
    fn names_and_properties_are_said_once() {
        let mut names: Vec<&str> =
            all().flat_map(|model| model.aliases.iter().chain([&model.name])).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        for model in all() {
            assert!(!model.desc.is_empty(), "{}", model.name);
            let properties = model.all_properties();
            let twice = properties.windows(2).find(|pair| pair[0].name == pair[1].name);
            assert!(twice.is_none(), "{}: {twice:?}", model.name);
        }
    }
}
