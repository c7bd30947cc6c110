//! What the firmware is and what it is told.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use devices::chipset::fw_cfg::Item;
use firmware::locate::{self, Firmware};
use firmware::{DirectKernel, FwCfgKey, MachineInfo};
use hypervisor::{Hypervisor, Mapping, RamBlock, memory::PAGE};
use vm_memory::{Bytes, MemoryRegionAddress};

use super::{BuildError, Preopened};
use crate::config::{ConfigError, GuestConfig};

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

/// The machine, whose processors answer so to CPUID.
fn machine_info(config: &GuestConfig, processor_id: u64) -> MachineInfo {
    let (below, above) = split_ram(config.memory_mib << 20);
    let mut info = MachineInfo::new(below, above, config.vcpus);
    info.processor_id = processor_id;
    info.uuid = config.uuid;
    info.generation = config.generation_id();
    info.pvpanic = true;
    info.pci_hotplug = true;
    info.serial = config.serial_ports();
    info.acpi = config.features.acpi;
    info.hpet = config.features.hpet;
    info.graphics = config.features.graphics;
    let boot = &config.boot_options;
    info.boot_menu = boot.menu;
    info.splash_ms = boot.splash_ms;
    info.reboot_ms = boot.reboot_ms;
    info
}

/// Largest picture that is shown at the start: what SeaBIOS has room for.
const SPLASH_MOST: u64 = 16 << 20;

/// The picture that the firmware shows, under the name by which it knows its form.
fn splash(ahead: &Preopened, path: &Path) -> Result<firmware::Item, BuildError> {
    let file = |source| BuildError::File { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    ahead.file(path).map_err(file)?.take(SPLASH_MOST + 1).read_to_end(&mut bytes).map_err(file)?;
    let wrong = |why: &str| ConfigError::Invalid(format!("splash: {}: {why}", path.display()));
    if bytes.len() as u64 > SPLASH_MOST {
        return Err(wrong("the picture is larger than 16 MiB").into());
    }
    // A BMP's bits a pixel.
    let bits = bytes.get(28..30).map(|bits| u16::from(bits[0]) | u16::from(bits[1]) << 8);
    match bytes.get(..2) {
        Some([0xff, 0xd8]) => Ok(firmware::Item::file("bootsplash.jpg", bytes)),
        Some(b"BM") if bits == Some(24) => Ok(firmware::Item::file("bootsplash.bmp", bytes)),
        _ => Err(wrong("expected a JPEG picture, or a BMP of 24 bits").into()),
    }
}

fn read(ahead: &Preopened, path: &Path) -> Result<Vec<u8>, BuildError> {
    let mut bytes = Vec::new();
    let read = ahead.file(path).and_then(|mut file| file.read_to_end(&mut bytes));
    read.map_err(|source| BuildError::File { path: path.to_owned(), source })?;
    Ok(bytes)
}

fn kernel(config: &GuestConfig, ahead: &Preopened) -> Result<Option<DirectKernel>, BuildError> {
    let Some(path) = &config.kernel else { return Ok(None) };
    let image = read(ahead, path)?;
    let initrd = config.initrd.as_deref().map(|path| read(ahead, path)).transpose()?.unwrap_or_default();
    let (below, _) = split_ram(config.memory_mib << 20);
    let kernel = DirectKernel::new(&image, initrd, &config.cmdline, below);
    kernel.map(Some).map_err(|source| BuildError::Kernel { path: path.clone(), source })
}

/// What the firmware reads from the configuration device.
pub(super) fn items(
    config: &GuestConfig,
    ahead: &Preopened,
    processor_id: u64,
    pm_base: &Arc<AtomicU16>,
) -> Result<Vec<Item>, BuildError> {
    let kernel = kernel(config, ahead)?;
    let mut items = firmware::fw_cfg_items(&machine_info(config, processor_id), kernel.as_ref());
    items.extend(config.boot_options.splash.as_deref().map(|path| splash(ahead, path)).transpose()?);
    Ok(items.into_iter().map(|item| convert(item, pm_base)).collect())
}

fn convert(item: firmware::Item, pm_base: &Arc<AtomicU16>) -> Item {
    let made = match item.key {
        FwCfgKey::Numeric(key) => Item::key(key, item.bytes),
        FwCfgKey::File(name) => Item::file(name, item.bytes),
    };
    let made = if item.writable { made.writable() } else { made };
    let (ports, base) = (item.pm_ports, pm_base.clone());
    if ports.is_empty() { made } else { made.latest(move |data| put_ports(data, &ports, &base)) }
}

/// Puts the power management block's ports into the tables, wherever the firmware has put the block.
fn put_ports(data: &mut [u8], ports: &[(u32, u16)], base: &AtomicU16) {
    let base = base.load(Ordering::Relaxed);
    for &(at, port) in ports.iter().filter(|_| base != 0) {
        if let Some(field) = data.get_mut(at as usize..at as usize + 4) {
            field.copy_from_slice(&u32::from(base.wrapping_add(port)).to_le_bytes());
        }
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
    fn a_splash_is_known_by_what_it_begins_with() {
        let folder = tempfile::tempdir().unwrap();
        let name = |bytes: &[u8]| {
            let path = folder.path().join("s");
            std::fs::write(&path, bytes).unwrap();
            splash(&Preopened::default(), &path).map(|item| item.key)
        };
        let file = |name: &str| FwCfgKey::File(name.into());
        let mut bmp = b"BM".to_vec();
        bmp.resize(54, 0);
        assert!(name(&bmp).is_err(), "no bits a pixel");
        bmp[28] = 24;
        assert_eq!(name(&bmp).unwrap(), file("bootsplash.bmp"));
        assert_eq!(name(&[0xff, 0xd8, 0xff]).unwrap(), file("bootsplash.jpg"));
        assert!(name(b"").is_err());
        assert!(splash(&Preopened::default(), Path::new("/nonexistent")).is_err());
    }
}
