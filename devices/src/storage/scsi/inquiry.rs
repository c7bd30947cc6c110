//! INQUIRY: what a unit says of itself (SPC-4, 6.4, 7.8; SBC-3, 6.6), in QEMU's words.

use super::Cdb;
use super::disk::Disk;
use super::spec::{Sense, device_type, sense};
use super::unit::{Kind, Unit};
use crate::storage::ide::padded;

/// Most bytes of a designator.
const DESIGNATOR: usize = 240;
/// Most bytes of one UNMAP, and most ranges.
pub(super) const UNMAP_BYTES: u64 = 1 << 30;
/// Likewise.
pub(super) const UNMAP_RANGES: usize = 255;
/// Most blocks of one WRITE SAME.
pub(super) const SAME_BLOCKS: u64 = 0xffff;
/// Most bytes of one transfer.
const TRANSFER_BYTES: u64 = 0x7fff_fe00;

/// The first 36 bytes of a unit of that type, or of that qualifier and type.
pub(super) fn standard(kind: u8, removable: bool, names: (&str, &str, &str)) -> Vec<u8> {
    let (vendor, product, version) = names;
    // SPC-3; the list of units is hierarchical, the format is that of SCSI-2 and later; command queues.
    let mut data = vec![kind, u8::from(removable) << 7, 5, 0x12, 31, 0, 0, 0x12];
    data.extend(padded(vendor, 8));
    data.extend(padded(product, 16));
    data.extend(padded(version, 4));
    data
}

/// A page of vital product data.
pub(super) fn vital(kind: u8, page: u8, body: &[u8]) -> Vec<u8> {
    let [high, low] = (body.len() as u16).to_be_bytes();
    [&[kind, page, high, low], body].concat()
}

impl Unit {
    /// The answer to INQUIRY.
    pub(super) fn inquiry(&self, cdb: &Cdb) -> Result<Vec<u8>, Sense> {
        let kind = self.device_type();
        let (vital_data, page) = (cdb.byte(1) & 1 != 0, cdb.byte(2));
        // CMDDT is no more; a page is one of vital product data.
        if cdb.byte(1) & 2 != 0 || !vital_data && page != 0 {
            return Err(sense::FIELD);
        }
        let labels = &self.labels;
        let mut data = if !vital_data {
            let product = match self.kind {
                Kind::Disk(_) => "QEMU HARDDISK",
                Kind::Cd(_) => "QEMU CD-ROM",
            };
            let product = labels.product.as_deref().unwrap_or(product);
            let names = (labels.vendor.as_deref().unwrap_or("QEMU"), product, labels.version());
            standard(kind, self.removable(), names)
        } else {
            vital(kind, page, &self.vital(page).ok_or(sense::FIELD)?)
        };
        data.truncate(cdb.be16(3).into());
        Ok(data)
    }

    fn vital(&self, page: u8) -> Option<Vec<u8>> {
        match (page, &self.kind) {
            (0x00, _) => Some((0..=0xff).filter(|&page| self.has_vital(page)).collect()),
            (0x80, _) => self.labels.serial.as_ref().map(|serial| serial.clone().into_bytes()),
            (0x83, _) => Some(self.identification()),
            (0xb0, Kind::Disk(disk)) => Some(disk.limits()),
            (0xb1, Kind::Disk(disk)) => Some(disk.characteristics()),
            (0xb2, Kind::Disk(disk)) => Some(disk.provisioning()),
            _ => None,
        }
    }

    fn has_vital(&self, page: u8) -> bool {
        match page {
            0x00 | 0x83 => true,
            0x80 => self.labels.serial.is_some(),
            0xb0..=0xb2 => self.device_type() == device_type::DISK,
            _ => false,
        }
    }

    /// Designators: the name in ASCII, the world wide name.
    fn identification(&self) -> Vec<u8> {
        let mut all = Vec::new();
        if let Some(name) = self.labels.device_id.as_ref().or(self.labels.serial.as_ref()) {
            let name: Vec<u8> = name.bytes().take(DESIGNATOR).collect();
            all.extend([2, 0, 0, name.len() as u8]);
            all.extend(name);
        }
        if self.labels.wwn != 0 {
            all.extend([1, 3, 0, 8]);
            all.extend(self.labels.wwn.to_be_bytes());
        }
        all
    }
}

impl Disk {
    /// Block limits.
    fn limits(&self) -> Vec<u8> {
        let mut page = [0; 0x3c];
        let blocks = |bytes: u64| u32::try_from(bytes / self.block()).unwrap_or(u32::MAX).to_be_bytes();
        // WRITE SAME of no blocks is not one of all.
        page[0] = 1;
        page[4..8].copy_from_slice(&blocks(TRANSFER_BYTES));
        if self.can_discard() {
            page[16..20].copy_from_slice(&blocks(UNMAP_BYTES));
            page[20..24].copy_from_slice(&(UNMAP_RANGES as u32).to_be_bytes());
            page[24..28].copy_from_slice(&blocks(self.granularity().into()));
        }
        page[32..40].copy_from_slice(&SAME_BLOCKS.to_be_bytes());
        page.to_vec()
    }

    /// Block device characteristics.
    fn characteristics(&self) -> Vec<u8> {
        let mut page = [0; 0x3c];
        page[..2].copy_from_slice(&self.rotation_rate().to_be_bytes());
        page.to_vec()
    }

    /// Logical block provisioning: thin, by UNMAP, where the medium can give space back.
    fn provisioning(&self) -> Vec<u8> {
        if self.can_discard() { vec![0, 0xe0, 2, 0] } else { vec![0, 0, 0, 0] }
    }
}
