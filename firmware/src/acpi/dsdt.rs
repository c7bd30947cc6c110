//! DSDT and the processors' SSDT: the machine in AML.

use acpi_tables::Aml;
use acpi_tables::aml::{
    Acquire, AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Equal, Field,
    FieldAccessType, FieldEntry, FieldLockRule, FieldUpdateRule, IO, If, LessThan, Local, Memory32Fixed,
    Method, MethodCall, Mutex, Name, Notify, OpRegion, OpRegionSpace, Or, Package, PackageBuilder, Path,
    Release, ResourceTemplate, Return, Scope, ShiftLeft, Store, ZERO,
};
use acpi_tables::sdt::Sdt;

use super::terms::{IsaDma, IsaIrq, LinkIrqs, Processor, Raw};
use super::{
    GPE0_BASE, HPET_BASE, PCI_HOTPLUG_BASE, PCI_HOTPLUG_LENGTH, SLP_TYP_S3, SLP_TYP_S4, SLP_TYP_S5,
    pirq_link, table,
};
use crate::info::MachineInfo;

const LINKS: [&str; 4] = ["LNKA", "LNKB", "LNKC", "LNKD"];
/// Fields of the PIIX3's route control registers, config space 0x60 to 0x63.
const ROUTES: [&str; 4] = ["PRQ0", "PRQ1", "PRQ2", "PRQ3"];
/// What a PIRQ may be routed to.
const LINK_IRQS: &[u32] = &[5, 10, 11];
/// A route register's bit that says "not routed".
const ROUTE_OFF: u8 = 0x80;
const SCI: &[u32] = &[9];
const SLOTS: std::ops::Range<u8> = 0..32;
/// Present, enabled, shown, working; and the same but disabled.
const STA_ON: u8 = 0x0f;
const LINK_ON: u8 = 0x0b;
const LINK_OFF: u8 = 0x09;
const FOREVER: u16 = 0xffff;

pub(super) fn path(name: &str) -> Path {
    Path::new(name)
}

fn eisa(id: &str) -> Name {
    Name::new(path("_HID"), &EISAName::new(id))
}

pub(super) fn name(key: &str, value: &dyn Aml) -> Name {
    Name::new(path(key), value)
}

fn field(region: &str, access: FieldAccessType, entries: &[(&str, usize)]) -> Field {
    let entries = entries
        .iter()
        .map(|(name, bits)| match <[u8; 4]>::try_from(name.as_bytes()) {
            Ok(name) => FieldEntry::Named(name, *bits),
            Err(_) => FieldEntry::Reserved(*bits),
        })
        .collect();
    Field::new(path(region), access, FieldLockRule::NoLock, FieldUpdateRule::WriteAsZeroes, entries)
}

/// The machine's own table. Revision 1: its integers are 32 bits wide, as QEMU's.
pub fn dsdt(info: &MachineInfo) -> Sdt {
    let mut aml = Raw::default();
    root_bus(&mut aml, info);
    isa_bridge(&mut aml, info);
    links(&mut aml);
    routing(&mut aml);
    if info.hpet {
        hpet(&mut aml);
    }
    if info.pci_hotplug {
        hotplug(&mut aml);
    }
    events(&mut aml, info);
    sleep_states(&mut aml, info);
    let mut dsdt = table(b"DSDT", 1);
    dsdt.append_slice(&aml.0);
    dsdt
}

/// The processors, \_SB.C000 and on, with APIC ids equal to their ACPI ids.
pub fn processors(info: &MachineInfo) -> Sdt {
    let mut children = Raw::default();
    for id in 0..info.vcpus.min(MachineInfo::MAX_VCPUS) {
        let digits = format!("C{id:03X}").into_bytes();
        if let Ok(name) = digits.try_into() {
            children.push(&Processor(name, id as u8));
        }
    }
    let mut ssdt = table(b"SSDT", 1);
    let mut aml = Raw::default();
    aml.push(&Scope::new(path("\\_SB_"), vec![&children]));
    ssdt.append_slice(&aml.0);
    ssdt
}

/// \_SB.PCI0: the root bus and its windows.
fn root_bus(aml: &mut Raw, info: &MachineInfo) {
    let mut windows = Raw::default();
    windows.push(&AddressSpace::<u16>::new_bus_number(0, 0xff));
    windows.push(&IO::new(0xcf8, 0xcf8, 1, 8));
    for (first, last) in port_windows(info) {
        windows.push(&AddressSpace::<u16>::new_io(first, last, None));
    }
    let cacheable = AddressSpaceCacheable::Cacheable;
    windows.push(&AddressSpace::<u32>::new_memory(cacheable, true, 0xa_0000, 0xb_ffff, None));
    let first = info.ram_below_4g.min(MachineInfo::PCI_HOLE_END - 1) as u32;
    let last = (MachineInfo::PCI_HOLE_END - 1) as u32;
    let plain = AddressSpaceCacheable::NotCacheable;
    windows.push(&AddressSpace::<u32>::new_memory(plain, true, first, last, None));
    if let Some((first, last)) = info.pci_hole_64 {
        windows.push(&AddressSpace::<u64>::new_memory(cacheable, true, first, last, None));
    }
    aml.push(&Scope::new(
        path("\\_SB_"),
        vec![&Device::new(
            path("PCI0"),
            vec![
                &eisa("PNP0A03"),
                &name("_ADR", &ZERO),
                &name("_UID", &ZERO),
                &name("_CRS", &ResourceTemplate::new(vec![&windows])),
            ],
        )],
    ));
}

/// I/O ports that PCI devices may have: all but the configuration ports and the ACPI registers above 0xae00.
fn port_windows(info: &MachineInfo) -> Vec<(u16, u16)> {
    let mut taken = vec![(0xcf8, 0xcff)];
    if info.pci_hotplug {
        taken.push((PCI_HOTPLUG_BASE, PCI_HOTPLUG_BASE + PCI_HOTPLUG_LENGTH - 1));
    }
    taken.push((GPE0_BASE, GPE0_BASE + 3));
    let mut windows = Vec::new();
    let mut from = 0;
    for (first, last) in taken {
        windows.push((from, first - 1));
        from = last + 1;
    }
    windows.push((from, 0xffff));
    windows
}

/// \_SB.PCI0.ISA: the PIIX3 with what lies behind it.
fn isa_bridge(aml: &mut Raw, info: &MachineInfo) {
    let mut devices = Raw::default();
    let region = OpRegion::new(path("P40C"), OpRegionSpace::PCIConfig, &0x60u8, &4u8);
    devices.push(&region);
    isa(&mut devices, "RTC_", "PNP0B00", 0, &[(0x70, 8)], Some(8), None);
    isa(&mut devices, "KBD_", "PNP0303", 0, &[(0x60, 1), (0x64, 1)], Some(1), None);
    isa(&mut devices, "MOU_", "PNP0F13", 0, &[], Some(12), None);
    if info.floppy {
        isa(&mut devices, "FDC0", "PNP0700", 0, &[(0x3f2, 4), (0x3f7, 1)], Some(6), Some(2));
    }
    if info.parallel {
        isa(&mut devices, "LPT1", "PNP0400", 1, &[(0x378, 8)], Some(7), None);
    }
    let uarts = [("COM1", 0x3f8, 4), ("COM2", 0x2f8, 3), ("COM3", 0x3e8, 4), ("COM4", 0x2e8, 3)];
    for (index, (label, base, irq)) in uarts.into_iter().enumerate() {
        if info.serial.get(index).is_some_and(|there| *there) {
            isa(&mut devices, label, "PNP0501", index as u8 + 1, &[(base, 8)], Some(irq), None);
        }
    }
    aml.push(&Scope::new(
        path("\\_SB_.PCI0"),
        vec![&Device::new(path("ISA_"), vec![&name("_ADR", &0x0001_0000u32), &devices])],
    ));
    firmware_devices(aml, info);
}

/// One ISA device: id, unit, ports as (first, count), interrupt, DMA channel.
fn isa(
    aml: &mut Raw,
    label: &str,
    id: &str,
    unit: u8,
    ports: &[(u16, u8)],
    irq: Option<u8>,
    dma: Option<u8>,
) {
    let mut resources = Raw::default();
    for (first, count) in ports {
        resources.push(&IO::new(*first, *first, 1, *count));
    }
    if let Some(irq) = irq {
        resources.push(&IsaIrq(irq));
    }
    if let Some(channel) = dma {
        resources.push(&IsaDma(channel));
    }
    aml.push(&Device::new(
        path(label),
        vec![
            &eisa(id),
            &name("_UID", &unit),
            &name("_STA", &STA_ON),
            &name("_CRS", &ResourceTemplate::new(vec![&resources])),
        ],
    ));
}

/// Devices that only a virtual machine has: fw_cfg, pvpanic, and the holder of the GPE block's ports.
fn firmware_devices(aml: &mut Raw, info: &MachineInfo) {
    let mut children = Raw::default();
    children.push(&Device::new(
        path("FWCF"),
        vec![
            &name("_HID", &"QEMU0002"),
            &name("_STA", &0x0bu8),
            &name("_CRS", &ResourceTemplate::new(vec![&IO::new(0x510, 0x510, 1, 12)])),
        ],
    ));
    children.push(&Device::new(
        path("GPE0"),
        vec![
            &eisa("PNP0A06"),
            &name("_UID", &"GPE0 resources"),
            &name("_STA", &0x0bu8),
            &name("_CRS", &ResourceTemplate::new(vec![&IO::new(GPE0_BASE, GPE0_BASE, 1, 4)])),
        ],
    ));
    if info.pvpanic {
        children.push(&Device::new(
            path("PEVT"),
            vec![
                &name("_HID", &"QEMU0001"),
                &name("_STA", &STA_ON),
                &name("_CRS", &ResourceTemplate::new(vec![&IO::new(0x505, 0x505, 1, 1)])),
                &OpRegion::new(path("PEOR"), OpRegionSpace::SystemIO, &0x505u16, &1u8),
                &field("PEOR", FieldAccessType::Byte, &[("PEPT", 8)]),
                &Method::new(path("RDPT"), 0, false, vec![&Return::new(&path("PEPT"))]),
                &Method::new(path("WRPT"), 1, false, vec![&Store::new(&path("PEPT"), &Arg(0))]),
            ],
        ));
    }
    aml.push(&Scope::new(path("\\_SB_.PCI0"), vec![&children]));
}

/// LNKA to LNKD, the PIIX3's routers, and LNKS, the fixed line of the SCI.
fn links(aml: &mut Raw) {
    let mut children = Raw::default();
    let routes = ROUTES.map(|name| (name, 8));
    children.push(&field("PCI0.ISA_.P40C", FieldAccessType::Byte, &routes));
    // A link's status and its current interrupt, from the route register's value.
    children.push(&Method::new(
        path("IQST"),
        1,
        false,
        vec![
            &If::new(&And::new(&ZERO, &ROUTE_OFF, &Arg(0)), vec![&Return::new(&LINK_OFF)]),
            &Return::new(&LINK_ON),
        ],
    ));
    children.push(&Method::new(
        path("IQCR"),
        1,
        true,
        vec![
            &name("PRR0", &ResourceTemplate::new(vec![&LinkIrqs(&[0])])),
            &CreateDWordField::new(&path("PRRI"), &path("PRR0"), &5u8),
            &If::new(&LessThan::new(&Arg(0), &ROUTE_OFF), vec![&Store::new(&path("PRRI"), &Arg(0))]),
            &Return::new(&path("PRR0")),
        ],
    ));
    for (unit, (link, route)) in LINKS.into_iter().zip(ROUTES).enumerate() {
        router(&mut children, link, unit as u8, route);
    }
    let nothing: Vec<&dyn Aml> = Vec::new();
    children.push(&Device::new(
        path("LNKS"),
        vec![
            &eisa("PNP0C0F"),
            &name("_UID", &(LINKS.len() as u8)),
            &name("_PRS", &ResourceTemplate::new(vec![&LinkIrqs(SCI)])),
            &Method::new(path("_STA"), 0, false, vec![&Return::new(&LINK_ON)]),
            &Method::new(path("_DIS"), 0, false, nothing.clone()),
            &Method::new(path("_CRS"), 0, false, vec![&Return::new(&path("_PRS"))]),
            &Method::new(path("_SRS"), 1, false, nothing),
        ],
    ));
    aml.push(&Scope::new(path("\\_SB_"), vec![&children]));
}

fn router(aml: &mut Raw, link: &str, unit: u8, route: &str) {
    let call = |method: &str| -> Raw {
        let mut term = Raw::default();
        term.push(&Return::new(&MethodCall::new(path(method), vec![&path(route)])));
        term
    };
    aml.push(&Device::new(
        path(link),
        vec![
            &eisa("PNP0C0F"),
            &name("_UID", &unit),
            &name("_PRS", &ResourceTemplate::new(vec![&LinkIrqs(LINK_IRQS)])),
            &Method::new(path("_STA"), 0, false, vec![&call("IQST")]),
            &Method::new(path("_DIS"), 0, false, vec![&Or::new(&path(route), &path(route), &ROUTE_OFF)]),
            &Method::new(path("_CRS"), 0, false, vec![&call("IQCR")]),
            &Method::new(
                path("_SRS"),
                1,
                false,
                vec![
                    &CreateDWordField::new(&path("PRRI"), &Arg(0), &5u8),
                    &Store::new(&path(route), &path("PRRI")),
                ],
            ),
        ],
    ));
}

/// \_SB.PCI0._PRT: four pins of 32 slots. Slot 1 pin A belongs to the power management function, wired to the SCI.
fn routing(aml: &mut Raw) {
    let mut entries = PackageBuilder::new();
    for slot in SLOTS {
        for pin in 0..4u8 {
            let link = match (slot, pin) {
                (1, 0) => "LNKS",
                _ => LINKS[usize::from(pirq_link(slot, pin))],
            };
            let address = (u32::from(slot) << 16) | 0xffff;
            entries.add_element(&Package::new(vec![&address, &pin, &path(link), &ZERO]));
        }
    }
    aml.push(&Scope::new(path("\\_SB_.PCI0"), vec![&name("_PRT", &entries)]));
}

fn hpet(aml: &mut Raw) {
    aml.push(&Scope::new(
        path("\\_SB_"),
        vec![&Device::new(
            path("HPET"),
            vec![
                &eisa("PNP0103"),
                &name("_UID", &ZERO),
                &name("_STA", &STA_ON),
                &name(
                    "_CRS",
                    &ResourceTemplate::new(vec![&Memory32Fixed::new(false, HPET_BASE as u32, 0x400)]),
                ),
            ],
        )],
    ));
}

/// PCI hotplug: the registers at 0xae00, a device object for every slot but 0, eject, and the notifier.
fn hotplug(aml: &mut Raw) {
    let mut children = Raw::default();
    children.push(&Device::new(
        path("PHPR"),
        vec![
            &eisa("PNP0A06"),
            &name("_UID", &"PCI Hotplug resources"),
            &name("_STA", &0x0bu8),
            &name(
                "_CRS",
                &ResourceTemplate::new(vec![&IO::new(
                    PCI_HOTPLUG_BASE,
                    PCI_HOTPLUG_BASE,
                    1,
                    PCI_HOTPLUG_LENGTH as u8,
                )]),
            ),
        ],
    ));
    for (region, offset, length) in [("PCST", 0u16, 8u8), ("SEJ_", 8, 4), ("BNMR", 16, 4)] {
        let base = PCI_HOTPLUG_BASE + offset;
        children.push(&OpRegion::new(path(region), OpRegionSpace::SystemIO, &base, &length));
    }
    let dword = FieldAccessType::DWord;
    children.push(&field("PCST", dword, &[("PCIU", 32), ("PCID", 32)]));
    children.push(&field("SEJ_", dword, &[("B0EJ", 32)]));
    children.push(&field("BNMR", dword, &[("BNUM", 32)]));
    children.push(&Mutex::new(path("BLCK"), 0));
    // Eject: select the bus, write the slot's bit.
    children.push(&Method::new(
        path("PCEJ"),
        2,
        false,
        vec![
            &Acquire::new(path("BLCK"), FOREVER),
            &Store::new(&path("BNUM"), &Arg(0)),
            &ShiftLeft::new(&path("B0EJ"), &1u8, &Arg(1)),
            &Release::new(path("BLCK")),
            &Return::new(&ZERO),
        ],
    ));
    let mut notes = Raw::default();
    for slot in SLOTS.skip(1) {
        hotplug_slot(&mut children, &mut notes, slot);
    }
    // Tell the slots of mask Arg0 what happened: Arg1 is 1 (look again) or 3 (eject is asked for).
    children.push(&Method::new(path("DVNT"), 2, false, vec![&notes]));
    children.push(&Method::new(
        path("PCNT"),
        0,
        false,
        vec![
            &Store::new(&path("BNUM"), &ZERO),
            &MethodCall::new(path("DVNT"), vec![&path("PCIU"), &1u8]),
            &MethodCall::new(path("DVNT"), vec![&path("PCID"), &3u8]),
        ],
    ));
    aml.push(&Scope::new(path("\\_SB_.PCI0"), vec![&children]));
}

fn hotplug_slot(children: &mut Raw, notes: &mut Raw, slot: u8) {
    let label = format!("S{:02X}_", slot << 3);
    // Slot 1 is the PIIX: its ISA function has its own device object, and it cannot be taken out.
    if slot == 1 {
        return;
    }
    let address = u32::from(slot) << 16;
    children.push(&Device::new(
        path(&label),
        vec![
            &name("_SUN", &slot),
            &name("_ADR", &address),
            &Method::new(
                path("_EJ0"),
                1,
                false,
                vec![&MethodCall::new(path("PCEJ"), vec![&ZERO, &path("_SUN")])],
            ),
        ],
    ));
    notes.push(&And::new(&Local(0), &Arg(0), &(1u32 << slot)));
    let bit = 1u32 << slot;
    notes.push(&If::new(&Equal::new(&Local(0), &bit), vec![&Notify::new(&path(&label), &Arg(1))]));
}

/// \_GPE: event 1 is PCI hotplug.
fn events(aml: &mut Raw, info: &MachineInfo) {
    let mut methods = Raw::default();
    if info.pci_hotplug {
        methods.push(&Method::new(
            path("_E01"),
            0,
            false,
            vec![
                &Acquire::new(path("\\_SB_.PCI0.BLCK"), FOREVER),
                &MethodCall::new(path("\\_SB_.PCI0.PCNT"), vec![]),
                &Release::new(path("\\_SB_.PCI0.BLCK")),
            ],
        ));
    }
    aml.push(&Scope::new(path("\\_GPE"), vec![&name("_HID", &"ACPI0006"), &methods]));
}

/// \_S3 to \_S5: the sleep types for PM1a and PM1b.
fn sleep_states(aml: &mut Raw, info: &MachineInfo) {
    let states =
        [("\\_S3_", SLP_TYP_S3, info.s3), ("\\_S4_", SLP_TYP_S4, info.s4), ("\\_S5_", SLP_TYP_S5, true)];
    for (label, kind, _) in states.into_iter().filter(|(_, _, works)| *works) {
        aml.push(&name(label, &Package::new(vec![&kind, &kind, &ZERO, &ZERO])));
    }
}
