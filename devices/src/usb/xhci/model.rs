//! The controllers as QEMU names them.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{
    BusType, Category, Default as Usually, Kind, Model, Plug, Properties, Property, PropertyError,
};

use super::{Layout, Ports, Variant, Xhci};
use crate::board::{DeviceHandles, MadeDevice, MakeError, OfferedBus};

const fn number(name: &'static str, default: u64, help: &'static str) -> Property {
    Property { name, kind: Kind::Uint(32), default: Usually::Uint(default), help }
}
const SUPERS: Property = number("p3", 4, "ports for SuperSpeed, 1 to 15");
const OTHERS: Property = number("p2", 4, "ports for slower devices, 1 to 15");
const SLOTS: Property = number("slots", 64, "devices that can have an address, 1 to 64");
const INTERRUPTERS: Property = number("intrs", 16, "interrupters: a power of two, up to 16");

/// QEMU's own.
pub static QEMU: Model = Model {
    name: "qemu-xhci",
    desc: "USB 3 controller",
    offers: &[BusType::Usb],
    category: Category::Bridge,
    properties: &[OTHERS, SUPERS],
    plug: Plug::Hot,
    several: true,
    check,
    ..Model::PCI_PART
};
/// NEC's.
pub static NEC: Model = Model {
    name: "nec-usb-xhci",
    desc: "USB 3 controller (NEC µPD720200)",
    properties: &[OTHERS, SUPERS, SLOTS, INTERRUPTERS],
    ..QEMU
};

/// What each is.
pub static VARIANTS: [Variant; 2] = [
    Variant { model: &QEMU, ids: (0x1b36, 0x000d, 1), msi: false, nec: false },
    Variant { model: &NEC, ids: (0x1033, 0x0194, 3), msi: true, nec: true },
];

fn check(properties: &Properties) -> Result<(), PropertyError> {
    for (of, most) in [(&OTHERS, 15), (&SUPERS, 15), (&SLOTS, 64), (&INTERRUPTERS, 16)] {
        if properties.uint(of.name).is_some_and(|value| !(1..=most).contains(&value)) {
            return Err(properties.invalid(of.name, format!("it is 1 to {most}")));
        }
    }
    if properties.uint(INTERRUPTERS.name).is_some_and(|count| !count.is_power_of_two()) {
        return Err(properties.invalid(INTERRUPTERS.name, "it is a power of two"));
    }
    Ok(())
}

/// Makes one.
pub fn make(properties: &Properties, parts: DeviceHandles<'_>) -> Result<MadeDevice, MakeError> {
    let name = properties.model().name;
    let variant = VARIANTS.iter().find(|variant| variant.model.name == name).unwrap_or(&VARIANTS[0]);
    let usual = Layout::default();
    let count = |of: &Property, usual: u8| {
        properties.uint(of.name).and_then(|count| u8::try_from(count).ok()).unwrap_or(usual)
    };
    let layout = Layout {
        supers: count(&SUPERS, usual.supers),
        others: count(&OTHERS, usual.others),
        slots: count(&SLOTS, usual.slots),
        interrupters: count(&INTERRUPTERS, usual.interrupters),
    };
    let [inta, ..] = parts.intx;
    let memory = (parts.board.ram(), parts.board.msi());
    let xhci = Xhci::new(parts.name, variant, layout, memory, inta, parts.wiring);
    let cell = Arc::new(DeviceCell::new(xhci));
    let path = super::super::path(properties);
    let bus = OfferedBus::Usb(Arc::new(Ports::new(cell.clone(), path, parts.wiring.waker())));
    Ok(MadeDevice { bus: Some(bus), ..MadeDevice::at(cell) })
}
