//! SMBIOS 2.8 structures (DMTF DSP0134), as two files: the anchor and the table.
//!
//! The firmware places both and corrects the anchor's address and checksums. Type 0 (BIOS) is given only when there
//! are strings for it; otherwise the firmware adds its own, as on QEMU.

use crate::info::{Item, MachineInfo};

/// The 31-byte entry point.
pub const ANCHOR_FILE: &str = "etc/smbios/smbios-anchor";
/// The structures.
pub const TABLES_FILE: &str = "etc/smbios/smbios-tables";

/// The largest memory device, as QEMU splits memory into modules.
const MODULE_BYTES: u64 = 16 << 30;
const NO_HANDLE: u16 = 0xfffe;
const NO_CACHE: u16 = 0xffff;
const FOUR_GIB: u64 = 1 << 32;

/// Handles of the structures; several of a kind count up from theirs.
mod handle {
    pub const BIOS: u16 = 0x000;
    pub const SYSTEM: u16 = 0x100;
    pub const CHASSIS: u16 = 0x300;
    pub const PROCESSOR: u16 = 0x400;
    pub const MEMORY_ARRAY: u16 = 0x1000;
    pub const MEMORY_DEVICE: u16 = 0x1100;
    pub const MAPPED_ADDRESS: u16 = 0x1300;
    pub const BOOT: u16 = 0x2000;
    pub const END: u16 = 0x7f00;
}

/// One structure under construction: its formatted part and its strings.
struct Structure {
    bytes: Vec<u8>,
    strings: Vec<String>,
}

impl Structure {
    fn new(kind: u8, handle: u16) -> Self {
        let mut bytes = vec![kind, 0];
        bytes.extend_from_slice(&handle.to_le_bytes());
        Self { bytes, strings: Vec::new() }
    }

    fn u8(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    fn u16(&mut self, value: u16) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u32(&mut self, value: u32) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    fn u64(&mut self, value: u64) -> &mut Self {
        self.bytes.extend_from_slice(&value.to_le_bytes());
        self
    }

    /// A string's number; 0 for an empty one. Zero bytes would end the string set, so they are left out.
    fn text(&mut self, text: &str) -> &mut Self {
        let text = text.replace('\0', "");
        if text.is_empty() {
            return self.u8(0);
        }
        self.strings.push(text);
        let number = self.strings.len() as u8;
        self.u8(number)
    }
}

/// The structures and what the anchor says of them.
#[derive(Default)]
struct Table {
    bytes: Vec<u8>,
    count: u16,
    largest: u16,
}

impl Table {
    fn add(&mut self, structure: &mut Structure) {
        let from = self.bytes.len();
        structure.bytes[1] = structure.bytes.len() as u8;
        self.bytes.extend_from_slice(&structure.bytes);
        for text in &structure.strings {
            self.bytes.extend_from_slice(text.as_bytes());
            self.bytes.push(0);
        }
        if structure.strings.is_empty() {
            self.bytes.push(0);
        }
        self.bytes.push(0);
        self.count += 1;
        self.largest = self.largest.max((self.bytes.len() - from) as u16);
    }
}

/// The two items.
pub fn items(info: &MachineInfo) -> Vec<Item> {
    let mut table = Table::default();
    bios(&mut table, info);
    system(&mut table, info);
    chassis(&mut table, info);
    for index in 0..info.vcpus.min(MachineInfo::MAX_VCPUS) as u16 {
        processor(&mut table, info, index);
    }
    memory(&mut table, info);
    table.add(Structure::new(32, handle::BOOT).u32(0).u16(0).u8(0)); // six reserved bytes; no error
    table.add(&mut Structure::new(127, handle::END));
    vec![Item::file(ANCHOR_FILE, anchor(&table)), Item::file(TABLES_FILE, table.bytes)]
}

fn bios(table: &mut Table, info: &MachineInfo) {
    let Some([vendor, version, date]) = &info.smbios.bios else {
        return;
    };
    const NOT_SUPPORTED: u64 = 1 << 3;
    const VIRTUAL_MACHINE: u8 = 1 << 4;
    table.add(
        Structure::new(0, handle::BIOS)
            .text(vendor)
            .text(version)
            .u16(0xe800)
            .text(date)
            .u8(0) // 64 KiB
            .u64(NOT_SUPPORTED)
            .u8(0)
            .u8(VIRTUAL_MACHINE)
            .u8(0) // release 0.0
            .u8(0)
            .u8(0xff) // no embedded controller
            .u8(0xff),
    );
}

fn system(table: &mut Table, info: &MachineInfo) {
    const POWER_SWITCH: u8 = 6;
    let strings = &info.smbios;
    let mut system = Structure::new(1, handle::SYSTEM);
    system.text(&strings.manufacturer).text(&strings.product).text(&strings.version).text(&strings.serial);
    // Since SMBIOS 2.6 the first three fields of the UUID are little-endian.
    let mut uuid = info.uuid;
    uuid[0..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    system.bytes.extend_from_slice(&uuid);
    system.u8(POWER_SWITCH).u8(0).text(&strings.family);
    table.add(&mut system);
}

fn chassis(table: &mut Table, info: &MachineInfo) {
    const OTHER: u8 = 1;
    const SAFE: u8 = 3;
    const SECURITY_UNKNOWN: u8 = 2;
    table.add(
        Structure::new(3, handle::CHASSIS)
            .text(&info.smbios.manufacturer)
            .u8(OTHER)
            .text(&info.smbios.version)
            .u8(0)
            .u8(0)
            .u8(SAFE)
            .u8(SAFE)
            .u8(SAFE)
            .u8(SECURITY_UNKNOWN)
            .u32(0)
            .u8(0)
            .u8(0)
            .u8(0)
            .u8(0)
            .u8(0),
    );
}

/// One socket a vCPU, one core, one thread.
fn processor(table: &mut Table, info: &MachineInfo, index: u16) {
    const CENTRAL_PROCESSOR: u8 = 3;
    const OTHER: u8 = 1;
    const POPULATED_AND_ENABLED: u8 = 0x41;
    const UNKNOWN_CHARACTERISTICS: u16 = 1 << 1;
    const MEGAHERTZ: u16 = 2000;
    table.add(
        Structure::new(4, handle::PROCESSOR + index)
            .text(&format!("CPU {index}"))
            .u8(CENTRAL_PROCESSOR)
            .u8(OTHER)
            .text(&info.smbios.manufacturer)
            .u64(info.processor_id)
            .text(&info.smbios.version)
            .u8(0)
            .u16(0)
            .u16(MEGAHERTZ)
            .u16(MEGAHERTZ)
            .u8(POPULATED_AND_ENABLED)
            .u8(OTHER)
            .u16(NO_CACHE)
            .u16(NO_CACHE)
            .u16(NO_CACHE)
            .u8(0)
            .u8(0)
            .u8(0)
            .u8(1)
            .u8(1)
            .u8(1)
            .u16(UNKNOWN_CHARACTERISTICS)
            .u16(OTHER.into()),
    );
}

/// The memory array (type 16), its modules (17) and where memory is mapped (19).
fn memory(table: &mut Table, info: &MachineInfo) {
    const SYSTEM_BOARD: u8 = 1;
    const SYSTEM_MEMORY: u8 = 3;
    const MULTI_BIT_ECC: u8 = 6;
    /// "Look into the extended field" for capacities in KiB.
    const EXTENDED_CAPACITY: u32 = 0x8000_0000;
    let total = info.ram_below_4g.saturating_add(info.ram_above_4g);
    let modules = total.div_ceil(MODULE_BYTES).min(0xff) as u16;
    let kib = u32::try_from(total >> 10).unwrap_or(EXTENDED_CAPACITY);
    table.add(
        Structure::new(16, handle::MEMORY_ARRAY)
            .u8(SYSTEM_BOARD)
            .u8(SYSTEM_MEMORY)
            .u8(MULTI_BIT_ECC)
            .u32(kib.min(EXTENDED_CAPACITY))
            .u16(NO_HANDLE)
            .u16(modules)
            .u64(if kib < EXTENDED_CAPACITY { 0 } else { total }),
    );
    for index in 0..modules {
        let rest = total - u64::from(index) * MODULE_BYTES;
        module(table, info, index, rest.min(MODULE_BYTES));
    }
    let ranges = [(0, info.ram_below_4g), (FOUR_GIB, info.ram_above_4g)];
    for (index, (first, length)) in ranges.into_iter().filter(|(_, length)| *length > 0).enumerate() {
        mapped(table, handle::MAPPED_ADDRESS + index as u16, first, length);
    }
}

fn module(table: &mut Table, info: &MachineInfo, index: u16, bytes: u64) {
    const DIMM: u8 = 9;
    const RAM: u8 = 7;
    const OTHER: u16 = 1 << 1;
    const UNKNOWN_WIDTH: u16 = 0xffff;
    table.add(
        Structure::new(17, handle::MEMORY_DEVICE + index)
            .u16(handle::MEMORY_ARRAY)
            .u16(NO_HANDLE)
            .u16(UNKNOWN_WIDTH)
            .u16(UNKNOWN_WIDTH)
            .u16((bytes >> 20) as u16) // MiB: at most 16384 by MODULE_BYTES
            .u8(DIMM)
            .u8(0)
            .text(&format!("DIMM {index}"))
            .u8(0)
            .u8(RAM)
            .u16(OTHER)
            .u16(0)
            .text(&info.smbios.manufacturer)
            .u8(0)
            .u8(0)
            .u8(0)
            .u8(0)
            .u32(0)
            .u16(0)
            .u16(0)
            .u16(0)
            .u16(0),
    );
}

fn mapped(table: &mut Table, handle: u16, first: u64, length: u64) {
    const EXTENDED: u32 = 0xffff_ffff;
    let last = first + length - 1;
    let (start, end) = (first >> 10, last >> 10);
    let mut structure = Structure::new(19, handle);
    match (u32::try_from(start), u32::try_from(end)) {
        (Ok(start), Ok(end)) if end != EXTENDED => structure.u32(start).u32(end),
        _ => structure.u32(EXTENDED).u32(EXTENDED),
    };
    let extended = structure.bytes.ends_with(&EXTENDED.to_le_bytes());
    structure.u16(handle::MEMORY_ARRAY).u8(1);
    if extended {
        structure.u64(first).u64(last);
    } else {
        structure.u64(0).u64(0);
    }
    table.add(&mut structure);
}

/// The entry point of version 2.1: the table's address and the checksums are the firmware's to fill in.
fn anchor(table: &Table) -> Vec<u8> {
    const LENGTH: u8 = 0x1f;
    let mut bytes = b"_SM_".to_vec();
    bytes.extend_from_slice(&[0, LENGTH, 2, 8]);
    bytes.extend_from_slice(&table.largest.to_le_bytes());
    bytes.extend_from_slice(&[0; 6]); // entry point revision, formatted area
    bytes.extend_from_slice(b"_DMI_\0");
    bytes.extend_from_slice(&(table.bytes.len() as u16).to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&table.count.to_le_bytes());
    bytes.push(0x28);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Walks the table as an operating system does: (type, formatted part, strings).
    fn walk(bytes: &[u8]) -> Vec<(u8, Vec<u8>, Vec<String>)> {
        let mut found = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let length = usize::from(bytes[at + 1]);
            let formatted = bytes[at..at + length].to_vec();
            at += length;
            let mut strings = Vec::new();
            loop {
                let end = at + bytes[at..].iter().position(|byte| *byte == 0).unwrap();
                if end > at {
                    strings.push(String::from_utf8(bytes[at..end].to_vec()).unwrap());
                }
                at = end + 1;
                if bytes[at] == 0 {
                    at += 1;
                    break;
                }
            }
            found.push((formatted[0], formatted, strings));
        }
        found
    }

    fn made(info: &MachineInfo) -> (Vec<u8>, Vec<u8>) {
        let mut items = items(info).into_iter();
        (items.next().unwrap().bytes, items.next().unwrap().bytes)
    }

    #[test]
    fn every_structure_has_the_length_of_version_2_8() {
        let mut info = MachineInfo::new(0xc000_0000, 37 << 30, 3);
        info.smbios.bios = Some(["Ailurus".into(), "1".into(), "01/01/2026".into()]);
        let (anchor, table) = made(&info);
        let structures = walk(&table);
        let kinds: Vec<u8> = structures.iter().map(|(kind, ..)| *kind).collect();
        assert_eq!(kinds, [0, 1, 3, 4, 4, 4, 16, 17, 17, 17, 19, 19, 32, 127]);
        for (kind, formatted, _) in &structures {
            let wanted = match kind {
                0 => 24,
                1 => 27,
                3 => 22,
                4 => 42,
                16 => 23,
                17 => 40,
                19 => 31,
                32 => 11,
                _ => 4,
            };
            assert_eq!(formatted.len(), wanted, "type {kind}");
        }
        let mut handles: Vec<_> = structures.iter().map(|(_, f, _)| [f[2], f[3]]).collect();
        handles.sort_unstable();
        handles.dedup();
        assert_eq!(handles.len(), structures.len());
        assert_eq!(anchor.len(), 31);
        assert_eq!(u16::from_le_bytes([anchor[22], anchor[23]]) as usize, table.len());
        assert_eq!(u16::from_le_bytes([anchor[28], anchor[29]]) as usize, structures.len());
    }

    #[test]
    fn memory_is_told_in_modules_and_ranges() {
        let (_, table) = made(&MachineInfo::new(0xc000_0000, 29 << 30, 1));
        let structures = walk(&table);
        let sizes: Vec<u16> = structures
            .iter()
            .filter(|(kind, ..)| *kind == 17)
            .map(|(_, f, _)| u16::from_le_bytes([f[12], f[13]]))
            .collect();
        assert_eq!(sizes, [16384, 16384]);
        let ranges: Vec<(u32, u32)> = structures
            .iter()
            .filter(|(kind, ..)| *kind == 19)
            .map(|(_, f, _)| {
                let word = |at: usize| u32::from_le_bytes(f[at..at + 4].try_into().unwrap());
                (word(4), word(8))
            })
            .collect();
        assert_eq!(ranges, [(0, 0x2f_ffff), (0x40_0000, 0x20f_ffff)]);
    }

    /// DSP0134, section 7.5.3: of an x86 processor CPUID's EAX and then EDX.
    #[test]
    fn every_processor_has_the_id_of_cpuid() {
        let mut info = MachineInfo::new(1 << 28, 0, 2);
        info.processor_id = 0x078b_fbff_0006_0fb1;
        let (_, table) = made(&info);
        let structures = walk(&table);
        let ids: Vec<&[u8]> =
            structures.iter().filter(|(kind, ..)| *kind == 4).map(|(_, f, _)| &f[8..16]).collect();
        assert_eq!(ids, [[0xb1, 0x0f, 0x06, 0x00, 0xff, 0xfb, 0x8b, 0x07]; 2]);
    }

    #[test]
    fn the_system_has_its_uuid_and_strings() {
        let mut info = MachineInfo::new(1 << 28, 0, 1);
        info.uuid = *b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
        info.smbios.serial = "a\0b".into();
        let (_, table) = made(&info);
        let (_, formatted, strings) = &walk(&table)[0];
        assert_eq!(&formatted[8..16], b"\x33\x22\x11\x00\x55\x44\x77\x66");
        assert_eq!(strings[usize::from(formatted[7]) - 1], "ab");
        assert_eq!(formatted[26], 0, "no family, no string");
    }
}
