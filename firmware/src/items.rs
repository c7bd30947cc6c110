//! All items that a machine's firmware configuration device holds, as QEMU's PC machine gives them.

use crate::info::{Item, MachineInfo};
use crate::kernel::DirectKernel;
use crate::{acpi, smbios};

/// Fixed selectors (QEMU `docs/specs/fw_cfg.rst`; those from 0x8000 are the PC's own).
mod selector {
    pub const SIGNATURE: u16 = 0x00;
    pub const ID: u16 = 0x01;
    pub const UUID: u16 = 0x02;
    pub const RAM_SIZE: u16 = 0x03;
    pub const NOGRAPHIC: u16 = 0x04;
    pub const NB_CPUS: u16 = 0x05;
    pub const NUMA: u16 = 0x0d;
    pub const BOOT_MENU: u16 = 0x0e;
    pub const MAX_CPUS: u16 = 0x0f;
    pub const IRQ0_OVERRIDE: u16 = 0x8002;
    pub const HPET: u16 = 0x8004;
}

/// The traditional interface and the DMA interface.
const ID_TRADITIONAL_AND_DMA: u32 = 0b11;

const E820_RAM: u32 = 1;
const FOUR_GIB: u64 = 1 << 32;

/// Everything that the firmware reads of this machine. The file directory (selector 0x19) is the device's own work.
///
/// A key that is not among the items reads as zeros, which for the old-style ACPI and SMBIOS keys (0x8000, 0x8001) and
/// the old reservation table (0x8003) means "none": this machine gives files instead.
pub fn fw_cfg_items(info: &MachineInfo, kernel: Option<&DirectKernel>) -> Vec<Item> {
    let mut items = numeric(info);
    items.push(Item::file("etc/e820", e820(info)));
    // ms; -1: after a failed boot wait for ever instead of resetting.
    let fail_wait = info.reboot_ms.map_or(u32::MAX, u32::from);
    items.push(Item::file("etc/boot-fail-wait", fail_wait.to_le_bytes()));
    items.extend(info.splash_ms.map(|ms| Item::file("etc/boot-menu-wait", ms.to_le_bytes())));
    if info.acpi {
        items.push(Item::file("etc/system-states", system_states(info)));
        items.extend(acpi::items(info));
    }
    items.extend(smbios::items(info));
    items.extend(kernel.map(DirectKernel::items).into_iter().flatten());
    items
}

fn numeric(info: &MachineInfo) -> Vec<Item> {
    let cpus = info.vcpus.min(MachineInfo::MAX_VCPUS) as u16;
    let most = info.max_vcpus.max(info.vcpus).min(MachineInfo::MAX_VCPUS) as u16;
    let memory = info.ram_below_4g.saturating_add(info.ram_above_4g);
    // No NUMA: zero nodes, then one word a vCPU.
    let numa = vec![0u8; 8 * (1 + usize::from(most))];
    vec![
        Item::numeric(selector::SIGNATURE, *b"QEMU"),
        Item::numeric(selector::ID, ID_TRADITIONAL_AND_DMA.to_le_bytes()),
        Item::numeric(selector::UUID, info.uuid),
        Item::numeric(selector::RAM_SIZE, memory.to_le_bytes()),
        Item::numeric(selector::NOGRAPHIC, u16::from(!info.graphics).to_le_bytes()),
        Item::numeric(selector::NB_CPUS, cpus.to_le_bytes()),
        Item::numeric(selector::NUMA, numa),
        Item::numeric(selector::BOOT_MENU, u16::from(info.boot_menu).to_le_bytes()),
        Item::numeric(selector::MAX_CPUS, most.to_le_bytes()),
        Item::numeric(selector::IRQ0_OVERRIDE, 1u32.to_le_bytes()),
        Item::numeric(selector::HPET, hpet(info)),
    ]
}

/// The table of HPETs: a count and eight entries of 15 bytes {id u32, address u64, smallest tick u16, protection u8}.
fn hpet(info: &MachineInfo) -> Vec<u8> {
    let mut bytes = vec![0u8; 1 + 8 * 15];
    if info.hpet {
        bytes[0] = 1;
        bytes[1..5].copy_from_slice(&acpi::HPET_ID.to_le_bytes());
        bytes[5..13].copy_from_slice(&acpi::HPET_BASE.to_le_bytes());
    }
    bytes
}

/// RAM as the BIOS is to report it: entries {address u64, length u64, type u32}.
fn e820(info: &MachineInfo) -> Vec<u8> {
    let ranges = [(0, info.ram_below_4g), (FOUR_GIB, info.ram_above_4g)];
    let mut bytes = Vec::new();
    for (address, length) in ranges.into_iter().filter(|(_, length)| *length > 0) {
        bytes.extend_from_slice(&u64::to_le_bytes(address));
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&E820_RAM.to_le_bytes());
    }
    bytes
}

/// One byte a sleep state: bit 7 says that it works, the rest is its SLP_TYP.
fn system_states(info: &MachineInfo) -> [u8; 6] {
    const WORKS: u8 = 0x80;
    let works = |yes: bool| if yes { WORKS } else { 0 };
    [
        WORKS,
        0,
        0,
        works(info.s3) | acpi::SLP_TYP_S3,
        works(info.s4) | acpi::SLP_TYP_S4,
        WORKS | acpi::SLP_TYP_S5,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FwCfgKey;
    use std::collections::HashSet;

    fn find<'a>(items: &'a [Item], key: &FwCfgKey) -> &'a [u8] {
        &items.iter().find(|item| item.key == *key).unwrap().bytes
    }

    #[test]
    fn boot_options_have_their_forms() {
        let file = |name: &str| FwCfgKey::File(name.into());
        let mut info = MachineInfo::new(64 << 20, 0, 1);
        let plain = fw_cfg_items(&info, None);
        assert_eq!(find(&plain, &file("etc/boot-fail-wait")), [0xff; 4]);
        assert!(plain.iter().all(|item| item.key != file("etc/boot-menu-wait")));
        (info.splash_ms, info.reboot_ms) = (Some(0x1234), Some(5000));
        info.acpi = false;
        let items = fw_cfg_items(&info, None);
        assert_eq!(find(&items, &file("etc/boot-menu-wait")), [0x34, 0x12]);
        assert_eq!(find(&items, &file("etc/boot-fail-wait")), 5000_u32.to_le_bytes());
        let acpi = ["etc/acpi/tables", "etc/acpi/rsdp", "etc/table-loader", "etc/system-states"];
        assert!(items.iter().all(|item| acpi.iter().all(|name| item.key != file(name))));
    }

    #[test]
    fn the_items_say_what_the_machine_is() {
        let mut info = MachineInfo::new(0xc000_0000, 3 << 30, 4);
        info.max_vcpus = 8;
        let items = fw_cfg_items(&info, None);
        let keys: HashSet<_> = items.iter().map(|item| &item.key).collect();
        assert_eq!(keys.len(), items.len(), "a key twice");
        assert_eq!(find(&items, &FwCfgKey::Numeric(0)), b"QEMU");
        assert_eq!(find(&items, &FwCfgKey::Numeric(3)), (6u64 << 30).to_le_bytes());
        assert_eq!(find(&items, &FwCfgKey::Numeric(5)), [4, 0]);
        assert_eq!(find(&items, &FwCfgKey::Numeric(0x0f)), [8, 0]);
        let e820 = find(&items, &FwCfgKey::File("etc/e820".into()));
        assert_eq!(e820.len(), 40);
        assert_eq!(&e820[20..28], (1u64 << 32).to_le_bytes());
        for item in &items {
            if let FwCfgKey::File(name) = &item.key {
                assert!(name.len() < 56);
            }
        }
    }

    #[test]
    fn a_machine_without_high_memory_has_one_range() {
        let info = MachineInfo::new(256 << 20, 0, 1);
        assert_eq!(e820(&info).len(), 20);
        assert_eq!(system_states(&info), [0x80, 0, 0, 1, 2, 0x80]);
    }
}
