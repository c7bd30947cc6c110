//! What SeaBIOS reads from the clock's RAM, in the layout that QEMU's `pc` has.

use super::Rtc;
use crate::storage::geometry::{Geometry, Translation};

/// A floppy drive by what the BIOS calls it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Floppy {
    /// No drive.
    #[default]
    None = 0,
    /// 1.2 MB, 5.25 inches.
    M1_2 = 2,
    /// 1.44 MB, 3.5 inches.
    M1_44 = 4,
    /// 2.88 MB, 3.5 inches.
    M2_88 = 5,
}

/// What to boot from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Boot {
    /// Nothing (more).
    #[default]
    None = 0,
    /// First floppy.
    Floppy = 1,
    /// First hard disk.
    Disk = 2,
    /// CD.
    Cd = 3,
    /// Network.
    Network = 4,
}

/// The machine as its firmware has to know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CmosInfo {
    /// Bytes of RAM from 0.
    pub below_4g: u64,
    /// Bytes of RAM from 4 GiB.
    pub above_4g: u64,
    /// Number of processors, 1 to 256.
    pub vcpus: u32,
    /// Boot order.
    pub boot: [Boot; 3],
    /// Boot from floppies without the 0xaa55 mark, too.
    pub boot_any_floppy: bool,
    /// Floppy drives.
    pub floppies: [Floppy; 2],
    /// IDE disks and how the BIOS presents them: primary master and slave, secondary master and slave.
    pub disks: [Option<(Geometry, Translation)>; 4],
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;

impl CmosInfo {
    /// The bytes, by index.
    pub fn bytes(&self) -> Vec<(u8, u8)> {
        let mut bytes = Vec::new();
        self.memory(&mut bytes);
        bytes.push((0x5f, self.vcpus.clamp(1, 256).wrapping_sub(1) as u8));
        let [first, second, third] = self.boot.map(|boot| boot as u8);
        bytes.push((0x3d, second << 4 | first));
        bytes.push((0x38, third << 4 | u8::from(self.boot_any_floppy)));
        self.floppies(&mut bytes);
        self.disks(&mut bytes);
        bytes
    }

    fn memory(&self, bytes: &mut Vec<(u8, u8)>) {
        let mut word = |indices: &[(u8, u8)], value: u64| {
            let value = value.min(0xffff);
            for &(low, high) in indices {
                bytes.extend([(low, value as u8), (high, (value >> 8) as u8)]);
            }
        };
        word(&[(0x15, 0x16)], (self.below_4g / KIB).min(640));
        word(&[(0x17, 0x18), (0x30, 0x31)], self.below_4g.saturating_sub(MIB) / KIB);
        word(&[(0x34, 0x35)], self.below_4g.saturating_sub(16 * MIB) / (64 * KIB));
        let above = self.above_4g / (64 * KIB);
        bytes.extend([(0x5b, above as u8), (0x5c, (above >> 8) as u8), (0x5d, (above >> 16) as u8)]);
    }

    fn floppies(&self, bytes: &mut Vec<(u8, u8)>) {
        let [first, second] = self.floppies.map(|floppy| floppy as u8);
        bytes.push((0x10, first << 4 | second));
        let count = self.floppies.iter().filter(|&&floppy| floppy != Floppy::None).count();
        // Equipment: FPU, mouse, and the floppies.
        let drives = [0, 0x01, 0x41].get(count).copied().unwrap_or(0);
        bytes.push((0x14, 0x06 | drives));
    }

    fn disks(&self, bytes: &mut Vec<(u8, u8)>) {
        let mut types = 0;
        for (disk, geometry) in self.disks.iter().take(2).enumerate() {
            let Some((Geometry { cylinders, heads, sectors }, _)) = *geometry else { continue };
            // Type 15: the real type, 47 ("user defined"), stands in an extension byte.
            types |= 0xf0 >> (4 * disk);
            let (extension, first) = if disk == 0 { (0x19, 0x1b) } else { (0x1a, 0x24) };
            bytes.push((extension, 47));
            let [low, high] = cylinders.to_le_bytes();
            let control = 0xc0 | u8::from(heads > 8) << 3;
            let table = [low, high, heads, 0xff, 0xff, control, low, high, sectors];
            bytes.extend((first..).zip(table));
        }
        bytes.push((0x12, types));
        let translation = self.disks.iter().enumerate().fold(0, |all, (disk, geometry)| {
            all | geometry.map_or(0, |(_, translation)| (translation as u8) << (2 * disk))
        });
        bytes.push((0x39, translation));
    }

    /// Puts them into the clock's RAM.
    pub fn fill(&self, rtc: &mut Rtc) {
        for (index, value) in self.bytes() {
            rtc.set(index, value);
        }
    }
}
