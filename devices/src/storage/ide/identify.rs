//! The 256 words of IDENTIFY DEVICE and IDENTIFY PACKET DEVICE (ATA/ATAPI-6, sections 8.15 and 8.16). Names
//! and numbers are those of QEMU's drives, to which installed systems bind.

use super::drive::{Disk, Drive};
use super::labels::Labels;
use super::spec::{MULTIPLE, SECTOR};

/// The model of CD drives.
pub(in crate::storage) const DVD_ROM: &str = "QEMU DVD-ROM";

struct Words([u16; 256]);

impl Words {
    fn set(&mut self, first: usize, values: &[u16]) {
        for (word, &value) in self.0.iter_mut().skip(first).zip(values) {
            *word = value;
        }
    }

    /// Text: two characters a word, the first in the high byte, padded with blanks.
    fn text(&mut self, first: usize, words: usize, text: &str) {
        let mut bytes = text.bytes().chain(std::iter::repeat(b' '));
        for word in self.0.iter_mut().skip(first).take(words) {
            let pair = [bytes.next().unwrap_or(b' '), bytes.next().unwrap_or(b' ')];
            *word = u16::from_be_bytes(pair);
        }
    }

    fn names(&mut self, labels: &Labels, model: &str) {
        self.text(10, 10, labels.serial());
        self.set(20, &[3, 512, 4]);
        self.text(23, 4, labels.version());
        self.text(27, 20, labels.model(model));
    }

    /// The world wide name and the bits that say that there is one.
    fn world_wide_name(&mut self, wwn: u64) {
        if wwn != 0 {
            self.0[84] |= 1 << 8;
            self.0[87] |= 1 << 8;
            self.set(108, &[(wwn >> 48) as u16, (wwn >> 32) as u16, (wwn >> 16) as u16, wwn as u16]);
        }
    }

    fn bytes(self) -> Vec<u8> {
        self.0.iter().flat_map(|word| word.to_le_bytes()).collect()
    }
}

/// Transfer modes: words 62, 63 and 88 with the mode that SET FEATURES chose marked. Nothing is chosen at
/// power-on but Ultra DMA 5.
fn modes(words: &mut Words, mode: Option<u8>) {
    let (mut single, mut multi, mut ultra) = (0x07u16, 0x07u16, 0x3fu16);
    match mode {
        None => ultra |= 1 << 13,
        Some(mode) => {
            let bit = 1u16 << (8 + (mode & 7));
            match mode >> 3 {
                2 => single |= bit,
                4 => multi |= bit,
                8 => ultra |= bit,
                _ => {}
            }
        }
    }
    words.set(62, &[single, multi]);
    words.set(88, &[ultra]);
}

fn low_high(value: u32) -> [u16; 2] {
    [value as u16, (value >> 16) as u16]
}

/// A disk's 512 bytes.
pub fn disk(drive: &Drive, disk: &Disk) -> Vec<u8> {
    let mut words = Words([0; 256]);
    let total = disk.sectors();
    let info = disk.backend.info();
    let (native, current) = (disk.native, disk.geometry);
    let heads = u16::from(native.heads);
    let sectors = u16::from(native.sectors);
    words.set(0, &[0x0040, native.cylinders, 0, heads, (SECTOR as u16) * sectors, SECTOR as u16, sectors]);
    words.names(&drive.labels, "QEMU HARDDISK");
    // Multiple, 32-bit data port, DMA and LBA, IORDY.
    words.set(47, &[0x8000 | u16::from(MULTIPLE), 1, 1 << 11 | 1 << 9 | 1 << 8]);
    words.set(51, &[0x200, 0x200, 7]);
    words.set(54, &[current.cylinders, current.heads.into(), current.sectors.into()]);
    words.set(57, &low_high(current.total()));
    if disk.multiple > 0 {
        words.set(59, &[0x100 | u16::from(disk.multiple)]);
    }
    words.set(60, &low_high(total.min(0x0fff_ffff) as u32));
    modes(&mut words, drive.mode);
    words.set(64, &[3, 120, 120, 120, 120]);
    if info.discard && drive.labels.trim {
        words.set(69, &[1 << 14]);
        words.set(169, &[1]);
    }
    let cache = u16::from(disk.write_cache) << 5;
    let smart = u16::from(disk.smart.enabled);
    words.set(80, &[0xf0, 0x16]);
    words.set(82, &[1 << 14 | 1 << 5 | 1, 1 << 14 | 1 << 13 | 1 << 12 | 1 << 10, 1 << 14]);
    words.set(85, &[1 << 14 | cache | smart, 1 << 13 | 1 << 12 | 1 << 10, 1 << 14]);
    words.set(93, &[0x6001]);
    words.set(100, &[total as u16, (total >> 16) as u16, (total >> 32) as u16, (total >> 48) as u16]);
    let physical = drive.labels.physical_block.unwrap_or(info.physical_block);
    let ratio = (u64::from(physical) / SECTOR as u64).max(1).ilog2() as u16;
    words.set(106, &[0x6000 | ratio & 15]);
    words.world_wide_name(drive.labels.wwn);
    words.bytes()
}

/// A CD drive's 512 bytes.
pub fn cd(drive: &Drive) -> Vec<u8> {
    let mut words = Words([0; 256]);
    // ATAPI, CD-ROM, removable, DRQ within 50 us, 12-byte packets.
    words.set(0, &[2 << 14 | 5 << 8 | 1 << 7 | 2 << 5]);
    words.names(&drive.labels, DVD_ROM);
    words.set(48, &[1, 1 << 9 | 1 << 8]);
    words.set(53, &[7]);
    modes(&mut words, drive.mode);
    words.set(64, &[3, 0xb4, 0xb4, 0x12c, 0xb4]);
    words.set(71, &[30, 30]);
    words.set(80, &[0x1e]);
    words.world_wide_name(drive.labels.wwn);
    words.bytes()
}
