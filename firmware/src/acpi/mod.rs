//! ACPI tables of the PC (i440FX, PIIX3 and PIIX4), and the script that the firmware relocates them with.
//!
//! Specification: ACPI 6.5. The numbers are QEMU's for its machine `pc`: PM registers at 0x600, GPE0 at 0xafe0, PCI
//! hotplug at 0xae00, SCI on IRQ 9. Unlike QEMU's, the FADT is of revision 3, so that it can name the reset register
//! 0xcf9, and there is an XSDT beside the RSDT. Left out: CPU and memory hotplug, SRAT and SLIT (no NUMA), TPM.

mod dsdt;
mod fixed;
pub mod generation;
mod linker;
mod terms;
#[cfg(test)]
mod tests;

use acpi_tables::sdt::Sdt;

use crate::info::{Item, MachineInfo};

pub use linker::{Script, Zone};

/// All tables but the RSDP.
pub const TABLES_FILE: &str = "etc/acpi/tables";
/// The root pointer, which lies in the BIOS segment.
pub const RSDP_FILE: &str = "etc/acpi/rsdp";
/// The linker script.
pub const LOADER_FILE: &str = "etc/table-loader";

/// PM register block: event 0x600, control 0x604, timer 0x608. SeaBIOS programs the PIIX4 to this address; the
/// ports of who does otherwise are put into the tables when they are read ([`Item::pm_ports`]).
pub const PM_BASE: u16 = 0x600;
/// General-purpose event block 0: two bytes of status, two of enable.
pub const GPE0_BASE: u16 = 0xafe0;
/// PCI hotplug registers.
pub const PCI_HOTPLUG_BASE: u16 = 0xae00;
/// Length of the PCI hotplug registers.
pub const PCI_HOTPLUG_LENGTH: u16 = 0x18;
/// Address of the HPET.
pub const HPET_BASE: u64 = 0xfed0_0000;
/// The HPET's capabilities, low half: Intel, 32-bit legacy-capable, three timers, revision 1.
pub const HPET_ID: u32 = 0x8086_a201;
/// Sleep type of S3 in PM1_CNT.
pub const SLP_TYP_S3: u8 = 1;
/// Sleep type of S4.
pub const SLP_TYP_S4: u8 = 2;
/// Sleep type of S5, soft off.
pub const SLP_TYP_S5: u8 = 0;

/// The PIRQ link (0 to 3, LNKA to LNKD) of a PCI slot's interrupt pin (0 to 3, INTA to INTD), as the PIIX3 is wired in
/// QEMU's PC: slot 1 pin A is link A.
pub const fn pirq_link(slot: u8, pin: u8) -> u8 {
    slot.wrapping_add(pin).wrapping_sub(1) & 3
}

const OEM: [u8; 6] = *b"BOCHS ";
const OEM_TABLE: [u8; 8] = *b"BXPC    ";
const CREATOR: [u8; 8] = *b"BXPC\x01\0\0\0";
const CHECKSUM_OFFSET: usize = 9;
const HEADER_BYTES: u32 = 36;

/// A table with its header, named as QEMU names its tables.
fn table(signature: &[u8; 4], revision: u8) -> Sdt {
    let mut table = Sdt::new(*signature, HEADER_BYTES, revision, OEM, OEM_TABLE, 1);
    table.write_bytes(28, &CREATOR);
    table
}

/// Tables laid one after the other in one file, with the script that makes their pointers and checksums right.
#[derive(Default)]
struct Tables {
    bytes: Vec<u8>,
    script: Script,
}

impl Tables {
    /// Appends a table whose checksum covers it all. Returns its offset in the file.
    fn add(&mut self, table: &[u8]) -> u32 {
        let at = self.add_plain(table, 8);
        if let Some(sum) = self.bytes.get_mut(at as usize + CHECKSUM_OFFSET) {
            *sum = 0;
        }
        self.script.add_checksum(TABLES_FILE, at + CHECKSUM_OFFSET as u32, at, table.len() as u32);
        at
    }

    /// Appends bytes as they are, at a multiple of `align`.
    fn add_plain(&mut self, bytes: &[u8], align: usize) -> u32 {
        self.bytes.resize(self.bytes.len().next_multiple_of(align), 0);
        let at = self.bytes.len() as u32;
        self.bytes.extend_from_slice(bytes);
        at
    }

    /// The number at `offset` is an offset in this file; the firmware makes it an address. To be called before the
    /// checksum of its table, so the pointers of a table are announced before [`Tables::add`].
    fn pointer(&mut self, offset: u32, size: u8) {
        self.script.add_pointer(TABLES_FILE, offset, size, TABLES_FILE);
    }

    /// Where the next table will lie.
    fn next(&self) -> u32 {
        self.bytes.len().next_multiple_of(8) as u32
    }
}

/// The items: tables, root pointer, linker script; and those of a VM generation id.
pub fn items(info: &MachineInfo) -> Vec<Item> {
    let mut tables = Tables::default();
    tables.script.allocate(RSDP_FILE, 16, Zone::FSegment);
    tables.script.allocate(TABLES_FILE, 64, Zone::High);

    let facs = tables.add_plain(&fixed::facs(), 64);
    let dsdt = tables.add(dsdt::dsdt(info).as_slice());
    let fadt = fixed::fadt(info, facs, dsdt);
    let at = tables.next();
    for (offset, size) in fixed::FADT_POINTERS {
        tables.pointer(at + offset, size);
    }
    let fadt = tables.add(fadt.as_slice());
    let pm_ports = fixed::FADT_PM.map(|(offset, port)| (fadt + offset, port)).to_vec();
    let mut listed = vec![fadt];
    listed.push(tables.add(dsdt::processors(info).as_slice()));
    listed.push(tables.add(fixed::madt(info).as_slice()));
    if info.hpet {
        listed.push(tables.add(fixed::hpet().as_slice()));
    }
    listed.push(tables.add(fixed::waet().as_slice()));
    if info.generation.is_some() {
        tables.script.allocate(generation::GUID_FILE, generation::PAGE, Zone::High);
        let (ssdt, address) = generation::ssdt();
        let at = tables.next();
        tables.script.add_pointer(TABLES_FILE, at + address, 4, generation::GUID_FILE);
        listed.push(tables.add(ssdt.as_slice()));
        tables.script.write_pointer(generation::ADDR_FILE, 8, generation::GUID_FILE, generation::OFFSET);
    }

    let rsdt = list(&mut tables, b"RSDT", &listed, 4);
    let xsdt = list(&mut tables, b"XSDT", &listed, 8);
    let rsdp = rsdp(&mut tables.script, rsdt, xsdt);
    let mut items = vec![
        Item { pm_ports, ..Item::file(TABLES_FILE, tables.bytes) },
        Item::file(RSDP_FILE, rsdp),
        Item::file(LOADER_FILE, tables.script.finish()),
    ];
    items.extend(info.generation.iter().flat_map(generation::items));
    items
}

/// RSDT (entries of 4 bytes) or XSDT (8 bytes).
fn list(tables: &mut Tables, signature: &[u8; 4], listed: &[u32], size: u8) -> u32 {
    let mut root = table(signature, 1);
    let at = tables.next();
    for offset in listed {
        tables.pointer(at + root.len() as u32, size);
        if size == 4 {
            root.append(*offset);
        } else {
            root.append(u64::from(*offset));
        }
    }
    tables.add(root.as_slice())
}

/// The root pointer of revision 2: the first checksum covers its first 20 bytes, the second all 36.
fn rsdp(script: &mut Script, rsdt: u32, xsdt: u32) -> Vec<u8> {
    const FIRST_PART: u32 = 20;
    const WHOLE: u32 = 36;
    let mut bytes = Vec::with_capacity(WHOLE as usize);
    bytes.extend_from_slice(b"RSD PTR ");
    bytes.push(0); // checksum
    bytes.extend_from_slice(&OEM);
    bytes.push(2); // revision
    bytes.extend_from_slice(&rsdt.to_le_bytes());
    bytes.extend_from_slice(&WHOLE.to_le_bytes());
    bytes.extend_from_slice(&u64::from(xsdt).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]); // extended checksum, reserved
    script.add_pointer(RSDP_FILE, 16, 4, TABLES_FILE);
    script.add_pointer(RSDP_FILE, 24, 8, TABLES_FILE);
    script.add_checksum(RSDP_FILE, 8, 0, FIRST_PART);
    script.add_checksum(RSDP_FILE, 32, 0, WHOLE);
    bytes
}
