//! The geometry that a disk claims: as QEMU guesses it, so that partition tables made there fit here.

use serde::{Deserialize, Serialize};

/// Cylinders, heads, sectors per track.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// 1 to 16383 (65535 as set by INITIALIZE DEVICE PARAMETERS).
    pub cylinders: u16,
    /// 1 to 16.
    pub heads: u8,
    /// 1 to 63 (255 as set by INITIALIZE DEVICE PARAMETERS).
    pub sectors: u8,
}

/// How the BIOS makes a geometry with more than 16 heads of it (CMOS byte 0x39).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Translation {
    /// As it is.
    None = 0,
    /// By LBA.
    Lba = 1,
    /// By shifting.
    Large = 2,
    /// By shifting, revised: 15 heads in the place of 16.
    Rechs = 3,
}

/// Largest number of sectors that geometry can reach, words 1 to 6 of IDENTIFY.
const FULL: Geometry = Geometry { cylinders: 16383, heads: 16, sectors: 63 };

impl Geometry {
    /// Guesses from the size in sectors and the first sector, which may hold a partition table.
    pub fn guess(total: u64, first: &[u8]) -> (Geometry, Translation) {
        let physical = Geometry::of_size(total);
        let Some(logical) = from_partitions(total, first) else { return (physical, physical.translation()) };
        let Some(heads) = u8::try_from(logical.heads).ok().filter(|&heads| heads <= 16) else {
            // A translated geometry made the table: by LBA, unless shifting gives the same.
            let small = u32::from(physical.cylinders) * u32::from(physical.heads) <= 131_072;
            return (physical, if small { Translation::Large } else { Translation::Lba });
        };
        let Ok(cylinders) = u16::try_from(logical.cylinders) else {
            return (physical, physical.translation());
        };
        (Geometry { cylinders, heads, sectors: logical.sectors }, Translation::None)
    }

    /// 16 heads, 63 sectors, as many cylinders as it takes.
    pub fn of_size(total: u64) -> Geometry {
        let cylinders = (total / (16 * 63)).clamp(2, u64::from(FULL.cylinders));
        Geometry { cylinders: cylinders as u16, ..FULL }
    }

    /// The translation that QEMU chooses for it: none where the BIOS's ten bits of cylinder are enough, else
    /// by LBA. By shifting only where a partition table shows that it was made so.
    pub fn translation(self) -> Translation {
        if self.cylinders <= 1024 && self.sectors <= 63 { Translation::None } else { Translation::Lba }
    }

    /// Sectors that it reaches.
    pub fn total(self) -> u32 {
        u32::from(self.cylinders) * u32::from(self.heads) * u32::from(self.sectors)
    }
}

struct Logical {
    cylinders: u64,
    heads: u16,
    sectors: u8,
}

/// The end of the first partition that has one lies on the last head and sector of a cylinder.
fn from_partitions(total: u64, first: &[u8]) -> Option<Logical> {
    if first.get(510..512)? != [0x55, 0xaa] {
        return None;
    }
    first.get(446..510)?.chunks_exact(16).find_map(|entry| {
        let size = u32::from_le_bytes([entry[12], entry[13], entry[14], entry[15]]);
        let (heads, sectors) = (u16::from(entry[5]) + 1, entry[6] & 63);
        if size == 0 || entry[5] == 0 || sectors == 0 {
            return None;
        }
        let cylinders = total / (u64::from(heads) * u64::from(sectors));
        (1..=16383).contains(&cylinders).then_some(Logical { cylinders, heads, sectors })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_give_the_usual_geometry() {
        assert_eq!(Geometry::guess(1008 * 100, &[]).0, Geometry { cylinders: 100, heads: 16, sectors: 63 });
        assert_eq!(Geometry::guess(1, &[]).0.cylinders, 2);
        assert_eq!(Geometry::guess(u64::MAX, &[]), (FULL, Translation::Lba));
        for (cylinders, translation) in [
            (1024, Translation::None),
            (1025, Translation::Lba),
            (2000, Translation::Lba),
            (8192, Translation::Lba),
            (8193, Translation::Lba),
        ] {
            assert_eq!(Geometry::guess(1008 * cylinders, &[]).1, translation, "{cylinders}");
        }
    }

    #[test]
    fn a_partition_table_tells_how_it_was_made() {
        let mut first = [0; 512];
        first[510..].copy_from_slice(&[0x55, 0xaa]);
        first[446 + 5] = 3;
        first[446 + 6] = 17;
        first[446 + 12] = 100;
        let found = Geometry::guess(4 * 17 * 306, &first);
        assert_eq!(found, (Geometry { cylinders: 306, heads: 4, sectors: 17 }, Translation::None));
        first[446 + 5] = 254;
        first[446 + 6] = 63;
        assert_eq!(
            Geometry::guess(255 * 63 * 500, &first),
            (Geometry::of_size(255 * 63 * 500), Translation::Large)
        );
        // 256 heads are a table's, too, though no BIOS has them.
        first[446 + 5] = 255;
        assert_eq!(Geometry::guess(1008 * 900, &first), (Geometry::of_size(1008 * 900), Translation::Large));
        assert_eq!(Geometry::guess(1008 * 9000, &first).1, Translation::Lba);
    }
}
