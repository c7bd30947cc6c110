//! Where devices come to be.

mod disks;
mod usb;

use std::collections::BTreeMap;

use devices_core::model::Value;
use devices_core::rig::Random;
use devices_core::{Device as _, Space};
use hypervisor::{Capabilities, NoCpu};

use super::*;
use crate::config::{GuestConfig, NetdevConfig};
use crate::machine::{Machine, MachineHandles};
use crate::notices::notices;

fn spec(model: &str, id: Option<&str>, properties: &[(&str, u64)]) -> DeviceSpec {
    let properties = properties.iter().map(|(name, value)| ((*name).to_owned(), Value::Uint(*value)));
    DeviceSpec { model: model.into(), id: id.map(str::to_owned), bus: None, properties: properties.collect() }
}

fn built(devices: Vec<DeviceSpec>) -> Result<Machine, BuildError> {
    let pvhvm = devices.iter().any(|device| device.model.starts_with("xen-"));
    built_on(Capabilities { pvhvm, ..Capabilities::default() }, devices)
}

fn built_on(capabilities: Capabilities, devices: Vec<DeviceSpec>) -> Result<Machine, BuildError> {
    built_of(capabilities, GuestConfig { memory_mib: 2, devices, ..GuestConfig::default() })
}

fn built_of(capabilities: Capabilities, config: GuestConfig) -> Result<Machine, BuildError> {
    let (notifier, _) = notices().unwrap();
    let still = NoCpu::new(1, 2 << 20, 0).unwrap().in_place_of(capabilities);
    let handles = MachineHandles::new(Arc::new(still), notifier);
    Machine::build(config, handles)
}

/// Slot, vendor and id of each function but the board's own.
fn functions(machine: &Machine) -> BTreeMap<u8, (u16, String)> {
    let added = machine.pci().into_iter().filter(|function| function.slot > 1);
    added.map(|function| (function.slot, (function.vendor, function.id))).collect()
}

#[test]
fn what_is_xens_is_asked_part_by_part() {
    let platform = || vec![spec("xen-platform", None, &[])];
    let pvhvm = Capabilities { pvhvm: true, ..Capabilities::default() };
    assert_eq!(built_on(pvhvm, platform()).unwrap().info().kind, "xenfv-4.2");
    // `-machine pc,accel=xen`, as libxl has it for `xen_platform_pci=0`.
    assert_eq!(built_on(pvhvm, Vec::new()).unwrap().info().kind, "pc-i440fx-7.2");
    let refused = built_on(Capabilities::default(), platform()).err().unwrap().to_string();
    assert!(refused.contains("it needs a Xen domain"), "{refused}");
    let has = |capabilities, part: &str| {
        let machine = built_on(capabilities, Vec::new()).unwrap();
        machine.bus().slots().iter().any(|(name, _)| name == part)
    };
    assert!(has(pvhvm, "pvpanic"));
    assert!(!has(Capabilities { acpi_tables: true, ..pvhvm }, "pvpanic"));
}

#[test]
fn each_clock_is_ours_where_the_hypervisor_has_none() {
    let there = |capabilities| {
        let machine = built_on(capabilities, Vec::new()).unwrap();
        let names: Vec<String> = machine.bus().slots().into_iter().map(|(name, _)| name).collect();
        ["pit", "rtc", "hpet", "cmos"].map(|part| names.iter().any(|name| name == part))
    };
    let none = Capabilities::default();
    assert_eq!(there(none), [true, true, true, false]);
    // As KVM with its own interrupt controllers and timer.
    assert_eq!(there(Capabilities { pit: true, ..none }), [false, true, true, false]);
    assert_eq!(there(Capabilities { hpet: true, ..none }), [true, true, false, false]);
    assert_eq!(there(Capabilities { rtc: true, ..none }), [true, false, true, true]);
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
fn a_display_is_seen_by_its_id() {
    let gpu = |id: &str, heads| spec("virtio-gpu-pci", Some(id), &[("max_outputs", heads)]);
    let machine = built(vec![
        spec("VGA", Some("screen"), &[("vgamem_mb", 1)]),
        gpu("g", 2),
        gpu("h", 1),
        spec("pci-testdev", Some("t"), &[]),
    ])
    .unwrap();
    // No guest has set a mode on the others.
    assert_eq!(machine.frame().unwrap().size(), machine.head("screen", 0).unwrap().size());
    assert_eq!(machine.head("g", 1).unwrap().size(), (640, 480));
    let refused = |device: &str, head| machine.head(device, head).err().unwrap().desc;
    assert_eq!(refused("h", 1), "Device 'h' (head 1) is not bound to a QemuConsole");
    assert_eq!(refused("t", 0), "Device 't' (head 0) is not bound to a QemuConsole");
    assert_eq!(refused("x", 0), "Device 'x' not found");
    let both = built(vec![spec("virtio-vga", Some("v"), &[("max_outputs", 2)])]).unwrap();
    assert_eq!(both.frame().unwrap().size(), machine.frame().unwrap().size(), "a VGA's");
    assert_eq!(both.head("v", 1).unwrap().size(), (640, 480));
    let only = built(vec![gpu("g", 1)]).unwrap();
    assert_eq!(only.frame().unwrap().size(), (640, 480));
    assert!(built(Vec::new()).unwrap().frame().is_none());
    for (property, value) in [("max_outputs", 0), ("max_outputs", 17), ("xres", 0), ("yres", 16385)] {
        let error = built(vec![spec("virtio-gpu-pci", None, &[(property, value)])]).err().unwrap();
        assert!(error.to_string().contains("are possible"), "{property}={value}: {error}");
    }
    let mut blob = spec("virtio-gpu-pci", None, &[("max_hostmem", (512 << 20) + 1)]);
    assert!(built(vec![blob.clone()]).err().unwrap().to_string().contains("at most"));
    blob.properties = BTreeMap::from([("blob".into(), Value::Bool(true))]);
    assert!(built(vec![blob]).err().unwrap().to_string().contains("'virtio-gpu-pci.blob': it is not built"));
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

/// A guest's read and write of a double word of the hot-plug registers.
fn hotplug(machine: &Machine, register: u64, write: Option<u32>) -> u32 {
    let mut view = machine.bus().view();
    let mut data = [0xff; 4];
    match write {
        Some(value) => view.write(Space::Pio, 0xae00 + register, &value.to_le_bytes()),
        None => view.read(Space::Pio, 0xae00 + register, &mut data),
    }
    u32::from_le_bytes(data)
}

#[test]
fn a_device_comes_and_goes_while_the_guest_runs() {
    let machine = built(vec![spec("VGA", None, &[("vgamem_mb", 1)])]).unwrap();
    let testdev = || spec("pci-testdev", Some("t"), &[]);
    assert_eq!(hotplug(&machine, 0xc, None), 0, "nothing can be taken out");
    machine.add_device(testdev()).unwrap();
    assert_eq!(functions(&machine)[&3], (0x1b36, "t".into()));
    assert_eq!((hotplug(&machine, 0, None), hotplug(&machine, 0xc, None)), (1 << 3, 1 << 3));
    assert_eq!(hotplug(&machine, 0, None), 0, "told once");
    assert_eq!(machine.add_device(testdev()).unwrap_err().to_string(), "Duplicate device ID 't'");

    // The guest decides when it goes.
    machine.request_unplug("t").unwrap().unwrap();
    assert_eq!(hotplug(&machine, 4, None), 1 << 3);
    assert!(machine.take_ejected().is_empty());
    hotplug(&machine, 8, Some(1 << 3));
    let gone = machine.take_ejected();
    assert_eq!(gone, [(Some("t".into()), "/machine/peripheral/t".into())]);
    assert!(machine.take_ejected().is_empty());
    assert!(!functions(&machine).contains_key(&3));
    assert_eq!(hotplug(&machine, 0xc, None), 0);
    assert!(machine.request_unplug("t").is_none());
    // Place and name are free again.
    machine.add_device(testdev()).unwrap();
    assert_eq!(functions(&machine)[&3].1, "t");
    // A reset ejects what was asked to go.
    machine.request_unplug("/machine/peripheral/t").unwrap().unwrap();
    machine.reset();
    assert_eq!(machine.take_ejected().len(), 1);
}

#[test]
fn a_slot_is_told_of_when_its_function_0_comes_and_goes_whole() {
    let machine = built(Vec::new()).unwrap();
    let at = |function: u64, id| spec("pci-testdev", Some(id), &[("addr", 7 << 3 | function)]);
    machine.add_device(at(1, "b")).unwrap();
    assert_eq!(hotplug(&machine, 0, None), 0);
    machine.add_device(at(0, "a")).unwrap();
    assert_eq!(hotplug(&machine, 0, None), 1 << 7);
    let late = machine.add_device(at(2, "c")).unwrap_err().to_string();
    assert!(late.contains("function 0 already occupied by pci-testdev,id=a"), "{late}");
    machine.request_unplug("b").unwrap().unwrap();
    hotplug(&machine, 8, Some(1 << 7));
    let mut gone: Vec<_> = machine.take_ejected().into_iter().map(|(id, _)| id.unwrap()).collect();
    gone.sort();
    assert_eq!(gone, ["a", "b"]);
}

#[test]
fn what_cannot_come_or_go_says_so_in_qemus_words() {
    let machine = built(vec![spec("VGA", Some("screen"), &[])]).unwrap();
    let refusal = |spec| machine.add_device(spec).unwrap_err().to_string();
    assert_eq!(refusal(spec("VGA", Some("x"), &[])), "Device 'VGA' does not support hotplugging");
    assert_eq!(refusal(spec("ide-cd", Some("x"), &[])), "Bus 'ide.0' does not support hotplugging");
    let taken = refusal(spec("pci-testdev", Some("x"), &[("addr", 1 << 3)]));
    assert!(taken.starts_with("PCI: slot 1 function 0 not available"), "{taken}");
    let asked = machine.request_unplug("screen").unwrap();
    assert_eq!(asked.unwrap_err().to_string(), "Device 'VGA' does not support hotplugging");
    // A guest that ejects what it was not asked for, or what is not there, again and again.
    for slot in 0..32 {
        hotplug(&machine, 8, Some(1 << slot));
    }
    assert!(machine.take_ejected().is_empty());
    assert_eq!(functions(&machine)[&2].1, "screen");
    for _ in 0..40 {
        // Slots are bounded, and so are devices.
        let _ = machine.add_device(spec("pci-testdev", None, &[]));
    }
    let full = refusal(spec("pci-testdev", Some("x"), &[]));
    assert_eq!(full, "PCI: no slot/function available for pci-testdev,id=x, all in use or reserved");
}

/// So many bytes of an item of the configuration device, as the firmware reads them.
fn item(machine: &Machine, key: u16, count: u32) -> Vec<u8> {
    let mut view = machine.bus().view();
    view.write(Space::Pio, 0x510, &key.to_le_bytes());
    let next = |_| {
        let mut byte = [0];
        view.read(Space::Pio, 0x511, &mut byte);
        byte[0]
    };
    (0..count).map(next).collect()
}

/// A file of the configuration device.
fn file(machine: &Machine, name: &str) -> Vec<u8> {
    let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    let count = number(&item(machine, 0x19, 4));
    let directory = item(machine, 0x19, 4 + 64 * count);
    let is_it = |entry: &&[u8]| entry[8..].split(|byte| *byte == 0).next() == Some(name.as_bytes());
    let entry = directory[4..].chunks(64).find(is_it).unwrap();
    item(machine, number(&entry[4..6]) as u16, number(&entry[..4]))
}

#[test]
fn the_firmware_is_told_where_cards_with_a_bootindex_are() {
    let order = |machine: &Machine| String::from_utf8(file(machine, "bootorder")).unwrap();
    let card = |model, turn| spec(model, None, &[("bootindex", turn)]);
    let machine = built(vec![card("e1000", 3), card("rtl8139", 1)]).unwrap();
    let first = "/pci@i0cf8/ethernet@3/ethernet-phy@0\n/pci@i0cf8/ethernet@2/ethernet-phy@0\0";
    assert_eq!(order(&machine), first);
    let twice = machine.add_device(card("ne2k_pci", 3)).unwrap_err().to_string();
    assert_eq!(twice, "The bootindex 3 has already been used");

    // A card that comes later is booted from after the next reset; a guest that is saved before it reads on what it read.
    machine.add_device(card("ne2k_pci", 0)).unwrap();
    assert_eq!(order(&machine), first);
    let fw_cfg = |machine: &Machine| machine.fw_cfg.clone().unwrap();
    let saved = fw_cfg(&machine).lock().save().unwrap();
    let restored = built(machine.plugged.specs()).unwrap();
    fw_cfg(&restored).lock().load(&saved).unwrap();
    assert_eq!(order(&restored), first);
    for machine in [machine, restored] {
        machine.reset();
        assert_eq!(order(&machine), format!("/pci@i0cf8/ethernet@4/ethernet-phy@0\n{first}"));
    }
}

/// A reset ejects what the guest was asked to let go; it is taken out after that.
#[test]
fn what_leaves_with_a_reset_is_not_booted_from() {
    let card = |id, turn| spec("e1000", Some(id), &[("bootindex", turn)]);
    let machine = built(vec![card("a", 1), card("b", 2)]).unwrap();
    machine.request_unplug("a").unwrap().unwrap();
    machine.reset();
    let order = String::from_utf8(file(&machine, "bootorder")).unwrap();
    assert_eq!(order, "/pci@i0cf8/ethernet@3/ethernet-phy@0\0");
    assert_eq!(machine.take_ejected()[0].0.as_deref(), Some("a"));
}

#[test]
fn a_bootindex_can_change_until_the_next_start() {
    let order = |machine: &Machine| String::from_utf8(file(machine, "bootorder")).unwrap();
    let card =
        |id, turn: Option<u64>| spec("e1000", Some(id), turn.map(|turn| ("bootindex", turn)).as_slice());
    let machine = built(vec![card("a", Some(1)), card("b", None)]).unwrap();
    let turn = |id: &str| {
        let path = format!("/machine/peripheral/{id}");
        let device = machine.devices().into_iter().find(|device| device.path == path).unwrap();
        device.properties.into_iter().find(|(name, ..)| *name == "bootindex").unwrap().2.as_i64()
    };
    assert_eq!([turn("a"), turn("b")], [Some(1), Some(-1)]);
    let set = |id: &str, to: Value| {
        machine.set_bootindex(&format!("/machine/peripheral/{id}"), to).map_err(|error| error.to_string())
    };
    assert_eq!(set("b", Value::Uint(1)), Err("The bootindex 1 has already been used".into()));
    assert_eq!(set("b", Value::Bool(true)), Err("device e1000: Parameter 'bootindex' expects int32".into()));
    assert_eq!([turn("a"), turn("b")], [Some(1), Some(-1)]);
    set("b", Value::Uint(0)).unwrap();
    set("a", Value::Text("-1".into())).unwrap();
    assert_eq!([turn("a"), turn("b")], [Some(-1), Some(0)]);
    // The firmware that runs has read the old order.
    assert_eq!(order(&machine), "/pci@i0cf8/ethernet@2/ethernet-phy@0\0");
    machine.reset();
    assert_eq!(order(&machine), "/pci@i0cf8/ethernet@3/ethernet-phy@0\0");
    // Saved with the guest.
    let specs = machine.plugged.specs();
    assert_eq!(specs.iter().filter_map(|spec| spec.properties.get("bootindex")).count(), 1);
}

/// Functions by slot, devices, networks, and the slots that the guest may eject.
type Seen = (BTreeMap<u8, (u16, String)>, Vec<DeviceSpec>, Vec<String>, u32);

/// What a guest and a client can see of a machine's devices and networks.
fn seen(machine: &Machine) -> Seen {
    let netdevs = machine.netdevs().into_iter().map(|netdev| netdev.id).collect();
    (functions(machine), machine.plugged.specs(), netdevs, hotplug(machine, 0xc, None))
}

/// The machine in another process: saved, built from what was saved, and loaded.
fn moved(machine: &Machine) -> Machine {
    machine.pause();
    let (rest, name) = (machine.rest(), std::path::Path::new("a guest"));
    rest.quiesce(std::time::Duration::from_secs(30), &|| false).unwrap();
    let mut file = tempfile::tempfile().unwrap();
    crate::saved::save_devices(&rest.parts(), file.try_clone().unwrap(), name).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    let saved = crate::saved::open_file(file, name, None).unwrap();
    let loaded = built_of(Capabilities::default(), saved.config.clone()).unwrap();
    saved.load(loaded.hypervisor(), loaded.bus()).unwrap();
    loaded
}

/// One thing that a client or the guest does; what is refused is refused with words.
fn anything(machine: &Machine, random: &mut Random) {
    let mut below = |bound| random.below(bound);
    let netdev = format!("n{}", below(4));
    let device = format!("d{}", below(6));
    match below(9) {
        0 => {
            let options = vec![("hubid".to_owned(), below(3).to_string())];
            let config = NetdevConfig { id: netdev, kind: "hubport".into(), options };
            let _ = machine.add_netdev(config, &mut BTreeMap::new());
        }
        1 => drop(machine.remove_netdev(&netdev)),
        2..5 => {
            let models = ["e1000", "e1000e", "rtl8139", "ne2k_pci", "pci-testdev"];
            let model = models[below(5) as usize];
            let place = if below(3) == 0 { vec![("addr", below(32) << 3 | below(3))] } else { Vec::new() };
            let mut spec = spec(model, Some(&device), &place);
            if model != "pci-testdev" {
                spec.properties.insert("netdev".into(), Value::Text(netdev));
            }
            let _ = machine.add_device(spec);
        }
        5 => drop(machine.request_unplug(&device)),
        6 => {
            // The guest ejects, asked or not.
            hotplug(machine, 8, Some(1 << below(32)));
        }
        7 => {
            let function = 0x8000_0000 | (below(0x100) << 8) as u32 | (below(16) << 2) as u32;
            let mut view = machine.bus().view();
            view.write(Space::Pio, 0xcf8, &function.to_le_bytes());
            view.write(Space::Pio, 0xcfc, &(below(1 << 32) as u32).to_le_bytes());
        }
        _ => {
            hotplug(machine, below(4) * 4, None);
        }
    }
    machine.take_ejected();
}

#[test]
fn whatever_comes_and_goes_is_as_it_was_after_a_save_and_load() {
    for seed in 0..24 {
        let mut random = Random::new(seed);
        let mut machine = built(vec![spec("VGA", None, &[("vgamem_mb", 1)])]).unwrap();
        for step in 1..=60 {
            anything(&machine, &mut random);
            if step % 12 == 0 {
                let before = seen(&machine);
                machine = moved(&machine);
                assert_eq!(seen(&machine), before, "seed {seed}, step {step}");
            }
        }
    }
}
