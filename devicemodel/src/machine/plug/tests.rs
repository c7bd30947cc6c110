//! Where devices come to be.

use std::collections::BTreeMap;

use devices_core::model::Value;
use hypervisor::Still;

use super::*;
use crate::config::GuestConfig;
use crate::machine::{Ahead, Machine, Setting};
use crate::power::notices;
use crate::trace::Border;

fn spec(model: &str, id: Option<&str>, properties: &[(&str, u64)]) -> DeviceSpec {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Value::Uint(*value)));
    DeviceSpec { model: model.into(), id: id.map(str::to_owned), properties: properties.collect() }
}

fn built(devices: Vec<DeviceSpec>) -> Result<Machine, BuildError> {
    let config = GuestConfig { memory_mib: 2, devices, ..GuestConfig::default() };
    let (notifier, _) = notices().unwrap();
    let setting = Setting {
        hypervisor: Arc::new(Still::new(1, 2 << 20, 0).unwrap()),
        power: Arc::new(notifier.clone()),
        notifier,
        debugcon: None,
        xen: Some(XenParts { lock_roms: Arc::new(|_| ()) }),
        taps: None,
        border: Border::Open,
        ahead: Ahead::default(),
    };
    Machine::build(config, setting)
}

/// Slot, vendor and id of each function but the board's own.
fn functions(machine: &Machine) -> BTreeMap<u8, (u16, String)> {
    let added = machine.pci().into_iter().filter(|function| function.slot > 1);
    added.map(|function| (function.slot, (function.vendor, function.id))).collect()
}

#[test]
fn what_names_no_place_gets_the_lowest_slot_around_what_does() {
    let machine = built(vec![
        spec("xen-platform", None, &[]),
        spec("VGA", Some("screen"), &[("vgamem_mb", 1)]),
        spec("xen-pvdevice", None, &[("device-id", 1), ("addr", 3 << 3)]),
    ])
    .unwrap();
    let found = functions(&machine);
    assert_eq!(found[&2].0, 0x5853);
    assert_eq!(found[&3].0, 0x5853, "the place that was named");
    assert_eq!(found[&4], (0x1234, "screen".into()));
    // Saved with the guest, so that they stay when another device comes.
    let places: Vec<_> = machine.config().devices.iter().map(|device| device.devfn().unwrap()).collect();
    assert_eq!(places, [2 << 3, 4 << 3, 3 << 3]);
}

#[test]
fn two_at_one_place_or_with_one_name_are_refused() {
    let refusal = |devices| {
        let built = built(devices);
        built.err().map(|error| error.to_string()).unwrap_or_default()
    };
    let on_the_bridge = refusal(vec![spec("VGA", None, &[("addr", 1 << 3)])]);
    assert_eq!(on_the_bridge, "device VGA: PCI: slot 1 function 0 not available for VGA, in use by PIIX3");
    let mut config = GuestConfig::default();
    let mut refused = |devices| {
        config.devices = devices;
        config.check().unwrap_err().to_string()
    };
    assert_eq!(refused(vec![spec("VGA", None, &[]), spec("VGA", None, &[])]), "there can be only one VGA");
    let twice = vec![spec("VGA", Some("a"), &[]), spec("xen-platform", Some("a"), &[])];
    assert_eq!(refused(twice), "Duplicate device ID 'a'");
    assert_eq!(refused(vec![spec("PIIX3", None, &[])]), "'PIIX3' is not a valid device model name");
    assert!(refused(vec![spec("VGA", None, &[("vgamem_mb", 3)])]).contains("a power of two"));
    assert!(refused(vec![spec("VGA", None, &[("vgamem_mb", 1 << 40)])]).contains("expects uint32"));
}

#[test]
fn guests_of_builds_without_a_list_keep_their_display() {
    let old = |vga: serde_json::Value| {
        let mut saved = serde_json::to_value(GuestConfig::default()).unwrap();
        let fields = saved.as_object_mut().unwrap();
        fields.remove("devices");
        fields.insert("vga".into(), vga);
        let mut config: GuestConfig = serde_json::from_value(saved).unwrap();
        config.check().unwrap();
        config.devices
    };
    assert_eq!(old("None".into()), []);
    assert_eq!(old(serde_json::json!({ "Std": { "mib": 32 } })), [DeviceSpec::vga(32)]);
}
