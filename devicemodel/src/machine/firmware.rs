//! What the firmware is and what it is told.

use std::path::Path;

use devices::chipset::fw_cfg::Item;
use firmware::locate::{self, Firmware};
use firmware::{DirectKernel, FwCfgKey, MachineFacts};
use hypervisor::{Hypervisor, Mapping, RamBlock, memory::PAGE};
use vm_memory::{Bytes, MemoryRegionAddress};

use super::BuildError;
use crate::config::{DiskConfig, DiskKind, GuestConfig, SerialConfig};

/// Where RAM below 4 GiB may end at most, and where it ends when there is more: QEMU's i440FX splits like
/// this, and so do the tables.
const BELOW_4G_MOST: u64 = 0xe000_0000;
const BELOW_4G_SPLIT: u64 = 0xc000_0000;

/// RAM below and above 4 GiB for so many bytes.
pub(crate) fn split_ram(bytes: u64) -> (u64, u64) {
    if bytes >= BELOW_4G_MOST { (BELOW_4G_SPLIT, bytes - BELOW_4G_SPLIT) } else { (bytes, 0) }
}

/// Puts a ROM image into a block of whole pages, at its end: firmware ends at 4 GiB.
pub(super) fn rom_block(name: &str, image: &[u8], len: u64) -> Result<RamBlock, BuildError> {
    let block = hypervisor::memory::new_block(0, len)?;
    let at = len - image.len() as u64;
    let written = block.write_slice(image, MemoryRegionAddress(at));
    written.map_err(|error| BuildError::Inconsistent(format!("{name}: {error}")))?;
    Ok(block)
}

/// Loads the firmware and maps it below 4 GiB.
pub(super) fn load(hypervisor: &dyn Hypervisor, explicit: Option<&Path>) -> Result<RamBlock, BuildError> {
    let image = match locate::bios(explicit) {
        Ok(Firmware { image, .. }) => image,
        // Only a processor runs it.
        Err(_) if explicit.is_none() && hypervisor.capabilities().still => vec![0xff; 128 << 10],
        Err(error) => return Err(error.into()),
    };
    let len = (image.len() as u64).next_multiple_of(PAGE).max(128 << 10);
    let block = rom_block("bios", &image, len)?;
    hypervisor.map(Mapping::rom((1 << 32) - len, len, &block, 0))?;
    Ok(block)
}

/// The facts of a machine whose processors answer so to CPUID.
fn facts(config: &GuestConfig, processor_id: u64) -> MachineFacts {
    let (below, above) = split_ram(config.memory_mib << 20);
    let mut facts = MachineFacts::new(below, above, config.vcpus);
    facts.processor_id = processor_id;
    facts.uuid = config.uuid;
    facts.pvpanic = true;
    // No slot can be unplugged yet, so none is offered.
    facts.pci_hotplug = false;
    for (present, port) in facts.serial.iter_mut().zip(0..4) {
        *present = config.serial.get(port).is_some_and(|serial| *serial != SerialConfig::None);
    }
    facts.boot_order = boot_order(config);
    facts
}

/// Boot devices by the names that SeaBIOS knows, in the order that the letters give.
fn boot_order(config: &GuestConfig) -> Vec<String> {
    let of_kind = |kind: DiskKind| {
        let mut disks: Vec<&DiskConfig> = config.disks.iter().filter(|disk| disk.kind == kind).collect();
        disks.sort_by_key(|disk| disk.slot);
        disks.into_iter().filter_map(|disk| disk.slot)
    };
    let mut order = Vec::new();
    for letter in config.boot.chars() {
        let kind = match letter {
            'c' => DiskKind::Disk,
            'd' => DiskKind::Cdrom,
            _ => continue,
        };
        order.extend(of_kind(kind).map(|slot| firmware::boot_order::ide(slot / 2, slot % 2)));
    }
    order
}

fn read(path: &Path) -> Result<Vec<u8>, BuildError> {
    std::fs::read(path).map_err(|source| BuildError::File { path: path.to_owned(), source })
}

fn kernel(config: &GuestConfig) -> Result<Option<DirectKernel>, BuildError> {
    let Some(path) = &config.kernel else { return Ok(None) };
    let image = read(path)?;
    let initrd = config.initrd.as_deref().map(read).transpose()?.unwrap_or_default();
    let (below, _) = split_ram(config.memory_mib << 20);
    let kernel = DirectKernel::new(&image, initrd, &config.cmdline, below);
    kernel.map(Some).map_err(|source| BuildError::Kernel { path: path.clone(), source })
}

/// What the firmware reads from the configuration device.
pub(super) fn items(config: &GuestConfig, processor_id: u64) -> Result<Vec<Item>, BuildError> {
    let kernel = kernel(config)?;
    let items = firmware::fw_cfg_items(&facts(config, processor_id), kernel.as_ref());
    Ok(items.into_iter().map(convert).collect())
}

fn convert(item: firmware::Item) -> Item {
    match item.key {
        FwCfgKey::Numeric(key) => Item::key(key, item.bytes),
        FwCfgKey::File(name) => Item::file(name, item.bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ram_splits_around_the_hole_as_on_qemus_pc() {
        assert_eq!(split_ram(256 << 20), (256 << 20, 0));
        assert_eq!(split_ram(3584 << 20), (3 << 30, 512 << 20));
        assert_eq!(split_ram(6 << 30), (3 << 30, 3 << 30));
    }

    #[test]
    fn disks_are_named_in_boot_order() {
        let mut config = GuestConfig { boot: "dc".into(), ..GuestConfig::default() };
        config.disks = vec![DiskConfig::new("a"), DiskConfig::cdrom("b")];
        config.check().unwrap();
        let order = boot_order(&config);
        assert_eq!(order, [firmware::boot_order::ide(1, 0), firmware::boot_order::ide(0, 0)]);
    }
}
