//! The one list of device models.

use devices_core::model::Model;

use crate::board::Make;
use crate::{chipset, display, input, interrupt, net, serial, storage, testing, timer, xen};

/// Every model that is built.
pub static ALL: &[&Model] = &[
    &chipset::i440fx::model::MODEL,
    &chipset::piix3::model::MODEL,
    &chipset::piix4_pm::model::MODEL,
    &chipset::dma8237::model::MODEL,
    &chipset::port92::model::MODEL,
    &chipset::fw_cfg::model::MODEL,
    &chipset::debugcon::model::MODEL,
    &chipset::pvpanic::model::MODEL,
    &interrupt::pic::model::MODEL,
    &interrupt::ioapic::model::MODEL,
    &timer::pit::model::MODEL,
    &timer::hpet::model::MODEL,
    &timer::rtc::model::MODEL,
    &input::i8042::model::MODEL,
    &serial::uart16550::model::MODEL,
    &storage::ide::model::MODEL,
    &storage::ide::model::DISK,
    &storage::ide::model::CD,
    &display::vga::model::MODEL,
    &net::e1000::model::MODEL,
    &net::e1000::model::MODEL_82544GC,
    &net::e1000::model::MODEL_82545EM,
    &net::e1000e::model::MODEL,
    &net::ne2000::model::MODEL,
    &net::rtl8139::model::MODEL,
    &testing::pci_testdev::model::MODEL,
    &xen::platform::model::MODEL,
    &xen::pvdevice::model::MODEL,
];

/// A model by its name or by another that `-device` takes.
pub fn find(name: &str) -> Option<&'static Model> {
    ALL.iter().copied().find(|model| model.is_called(name))
}

/// How devices are made that are no part of every PC.
static MAKERS: &[(&Model, Make)] = &[
    (&display::vga::model::MODEL, display::vga::model::make),
    (&net::e1000::model::MODEL, net::e1000::model::make),
    (&net::e1000::model::MODEL_82544GC, net::e1000::model::make),
    (&net::e1000::model::MODEL_82545EM, net::e1000::model::make),
    (&net::e1000e::model::MODEL, net::e1000e::model::make),
    (&net::ne2000::model::MODEL, net::ne2000::model::make),
    (&net::rtl8139::model::MODEL, net::rtl8139::model::make),
    (&testing::pci_testdev::model::MODEL, testing::pci_testdev::model::make),
    (&xen::platform::model::MODEL, xen::platform::model::make),
    (&xen::pvdevice::model::MODEL, xen::pvdevice::model::make),
];

/// How a device of a model is made; none: it is a part of every PC, or of another device.
pub fn maker(model: &Model) -> Option<Make> {
    MAKERS.iter().find(|(of, _)| of.name == model.name).map(|(_, make)| *make)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_properties_are_said_once() {
        let mut names: Vec<&str> =
            ALL.iter().flat_map(|model| model.aliases.iter().chain([&model.name])).copied().collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all);
        for model in ALL {
            assert!(!model.desc.is_empty(), "{}", model.name);
            let properties = model.all_properties();
            let twice = properties.windows(2).find(|pair| pair[0].name == pair[1].name);
            assert!(twice.is_none(), "{}: {twice:?}", model.name);
        }
    }
}
