//! The VM generation id: sixteen bytes in guest memory that are others when the guest goes on from a saved state.
//!
//! Specification: Microsoft, "Virtual Machine Generation ID", and QEMU's `docs/specs/vmgenid`: the firmware puts a page of
//! ours somewhere, tells the guest by the device `VGEN` where the id is in it, and tells us by a file that it writes, so
//! that we can change it; general-purpose event 5 says that we did.

use acpi_tables::aml::{Device, Method, Notify, Package, Scope, ZERO};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};

use super::dsdt::{name, path};
use super::table;
use super::terms::Raw;
use crate::info::Item;

/// The page with the id.
pub const GUID_FILE: &str = "etc/vmgenid_guid";
/// Where the firmware writes the id's address: eight bytes, little-endian; zeros until then.
pub const ADDR_FILE: &str = "etc/vmgenid_addr";
/// Bytes of the page, and what its address is a multiple of.
pub const PAGE: u32 = 4096;
/// Where in it the id is: behind the header of a table that OVMF's search for tables must not take it for.
pub const OFFSET: u32 = 40;

/// What a guest's driver is told with event 5: the device has changed.
const CHANGED: u8 = 0x80;
/// Present, enabled, shown, working.
const STA_ON: u8 = 0x0f;

/// A number of four bytes, whatever its value, so that the firmware can add an address to it.
struct DWord(u32);

impl Aml for DWord {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        const DWORD_PREFIX: u8 = 0x0c;
        sink.byte(DWORD_PREFIX);
        sink.dword(self.0);
    }
}

/// The device's table, and where in it is the number that the page's address is to be added to.
pub(super) fn ssdt() -> (Sdt, u32) {
    let mut aml = Raw::default();
    let device = path("\\_SB_.VGEN");
    let changed = Notify::new(&device, &CHANGED);
    aml.push(&Scope::new(path("\\_GPE"), vec![&Method::new(path("_E05"), 0, false, vec![&changed])]));
    let mut terms = Raw::default();
    terms.push(&name("_HID", &"QEMUVGID"));
    terms.push(&name("_CID", &"VM_Gen_Counter"));
    terms.push(&name("_DDN", &"VM_Gen_Counter"));
    terms.push(&name("_STA", &STA_ON));
    // Lower half, upper half. The last term of the table.
    terms.push(&name("ADDR", &Package::new(vec![&DWord(OFFSET), &ZERO])));
    aml.push(&Scope::new(path("\\_SB_"), vec![&Device::new(path("VGEN"), vec![&terms])]));
    let mut ssdt = table(b"SSDT", 1);
    ssdt.append_slice(&aml.0);
    let (number, upper) = (4, 1);
    let at = ssdt.as_slice().len() as u32 - upper - number;
    (ssdt, at)
}

/// The id as the guest has it: the first three fields of the text form are little-endian numbers.
pub fn in_memory(id: &[u8; 16]) -> [u8; 16] {
    let mut bytes = *id;
    [0..4, 4..6, 6..8].into_iter().for_each(|field| bytes[field].reverse());
    bytes
}

/// The page, and the file that the firmware writes.
pub(super) fn items(id: &[u8; 16]) -> [Item; 2] {
    let mut page = vec![0; PAGE as usize];
    page[OFFSET as usize..][..16].copy_from_slice(&in_memory(id));
    [Item::file(GUID_FILE, page), Item { writable: true, ..Item::file(ADDR_FILE, [0; 8]) }]
}
