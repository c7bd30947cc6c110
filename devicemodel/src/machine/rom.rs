//! Option ROMs: firmware of devices, which the guest's firmware finds in the ROM BAR and runs (PCI Firmware Specification
//! 3.0, chapter 5).

use devices_core::model::{Category, Properties};
use firmware::locate::{self, Firmware, LocateError};
use hypervisor::RamBlock;

use super::BuildError;
use super::firmware::rom_block;

/// Smallest ROM BAR.
const SMALLEST: u64 = 64 << 10;

/// Which file is in the option ROM of a device.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RomFile {
    name: String,
    /// Somebody named it: it is taken as it is.
    is_named: bool,
    /// There is no device without it: somebody named it, or nothing is seen on the screen before a driver runs.
    pub is_needed: bool,
}

impl RomFile {
    /// Reads it.
    pub fn read(&self) -> Result<Firmware, LocateError> {
        if self.is_named { locate::named_option_rom(&self.name) } else { locate::option_rom(&self.name) }
    }
}

/// The file for a device with these properties; none if it has no option ROM.
pub(super) fn file_of(properties: &Properties) -> Option<RomFile> {
    let model = properties.model();
    let usual = model.rom.filter(|_| properties.uint("rombar") != Some(0))?;
    let named = properties.text("romfile");
    let name = Some(named.unwrap_or(usual)).filter(|name| !name.is_empty())?.to_owned();
    let is_named = named.is_some();
    Some(RomFile { name, is_named, is_needed: is_named || model.category == Category::Display })
}

/// An option ROM that was read.
pub(super) struct OptionRom {
    /// Its file.
    pub file: RomFile,
    /// What is in the file.
    pub image: Vec<u8>,
}

impl OptionRom {
    /// It as memory of a ROM BAR: a power of two of bytes, at least 64 KiB. The ROM of one network card serves its kin,
    /// under their ids, which firmware compares; a file that somebody named is left as it is.
    pub fn block(mut self, vendor: u16, device: u16) -> Result<RamBlock, BuildError> {
        if !self.file.is_named {
            put_ids(&mut self.image, vendor, device);
        }
        let len = (self.image.len() as u64).next_power_of_two().max(SMALLEST);
        self.image.resize(len as usize, 0xff);
        rom_block(&self.file.name, &self.image, len)
    }
}

/// Where the header has the offset of the PCI data structure.
const PCI_DATA: usize = 0x18;
/// A byte of the header that is the maker's own, and takes up what the sum of all must be zero for.
const BALANCE: usize = 6;

/// Puts ids into the PCI data structure, if there is one. The sum of the bytes stays.
fn put_ids(image: &mut [u8], vendor: u16, device: u16) {
    let Some(&[low, high]) = image.get(PCI_DATA..PCI_DATA + 2) else { return };
    let at = usize::from(u16::from_le_bytes([low, high]));
    let Some(data) = image.get_mut(at..at + 8).filter(|data| data.starts_with(b"PCIR")) else { return };
    let sum = |bytes: &[u8]| bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    let before = sum(data);
    data[4..6].copy_from_slice(&vendor.to_le_bytes());
    data[6..8].copy_from_slice(&device.to_le_bytes());
    let more = sum(data).wrapping_sub(before);
    image[BALANCE] = image[BALANCE].wrapping_sub(more);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DeviceSpec;

    fn file(device: &str) -> Option<RomFile> {
        file_of(&DeviceSpec::parse(device).unwrap().properties().unwrap())
    }

    #[test]
    fn properties_say_which_file_it_is() {
        let named =
            |name: &str, is_named, is_needed| Some(RomFile { name: name.into(), is_named, is_needed });
        assert_eq!(file("e1000"), named("pxe-e1000.rom", false, false));
        assert_eq!(file("e1000-82545em"), named("pxe-e1000.rom", false, false));
        assert_eq!(file("rtl8139,rombar=1"), named("pxe-rtl8139.rom", false, false));
        assert_eq!(file("ne2k_pci"), named("pxe-ne2k_pci.rom", false, false));
        assert_eq!(file("rtl8139,romfile=/a.rom"), named("/a.rom", true, true));
        assert_eq!(file("VGA"), named("vgabios-stdvga.bin", false, true));
        for none in ["e1000,romfile=", "e1000,rombar=0", "VGA,romfile=", "pci-testdev"] {
            assert_eq!(file(none), None, "{none}");
        }
    }

    #[test]
    fn a_rom_gets_the_ids_of_the_card_and_adds_up() {
        let mut image = vec![0; 512];
        image[..3].copy_from_slice(&[0x55, 0xaa, 1]);
        image[PCI_DATA] = 0x1c;
        image[0x1c..0x24].copy_from_slice(b"PCIR\x86\x80\x0e\x10");
        let sum = |image: &[u8]| image.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
        image[BALANCE] = 0u8.wrapping_sub(sum(&image));
        put_ids(&mut image, 0x8086, 0x1008);
        assert_eq!(&image[0x1c..0x24], b"PCIR\x86\x80\x08\x10");
        assert_eq!(sum(&image), 0);
        // One whose pointer leads nowhere, and the shortest.
        image[PCI_DATA..PCI_DATA + 2].copy_from_slice(&[0xfc, 0x01]);
        put_ids(&mut image, 1, 2);
        put_ids(&mut [0x55, 0xaa, 0], 1, 2);
        assert_eq!(&image[0x1c..0x24], b"PCIR\x86\x80\x08\x10");
    }
}
