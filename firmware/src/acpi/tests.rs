//! The linker script run as the firmware runs it, and the tables read as an operating system reads them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::linker::{ADD_CHECKSUM, ADD_POINTER, ALLOCATE, COMMAND_BYTES, NAME_BYTES, WRITE_POINTER};
use super::*;
use crate::FwCfgKey;

/// Guest memory with the files where a firmware might put them.
struct Memory {
    bytes: Vec<u8>,
    files: HashMap<String, (usize, usize)>,
    /// Addresses that the firmware wrote into files.
    written: HashMap<String, u64>,
}

const HIGH: usize = 0x30_0000;
const BIOS_SEGMENT: usize = 0xf_0000;

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn text(bytes: &[u8]) -> String {
    assert_eq!(bytes.len(), NAME_BYTES);
    let end = bytes.iter().position(|byte| *byte == 0).unwrap();
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte))
}

impl Memory {
    /// Runs the script over the items.
    fn load(items: &[Item]) -> Self {
        let content: HashMap<String, &[u8]> = items
            .iter()
            .map(|item| match &item.key {
                FwCfgKey::File(name) => (name.clone(), &item.bytes[..]),
                FwCfgKey::Numeric(_) => panic!("ACPI has files only"),
            })
            .collect();
        let mut memory = Self { bytes: vec![0; 4 << 20], files: HashMap::new(), written: HashMap::new() };
        let script = content[LOADER_FILE];
        assert_eq!(script.len() % COMMAND_BYTES, 0);
        let mut free = HIGH + 0x40;
        for command in script.chunks(COMMAND_BYTES) {
            let file = text(&command[4..4 + NAME_BYTES]);
            match word(command, 0) {
                ALLOCATE => {
                    let align = word(command, 60) as usize;
                    let at = match command[64] {
                        1 => free.next_multiple_of(align),
                        2 => (BIOS_SEGMENT + 0x123).next_multiple_of(align),
                        zone => panic!("zone {zone}"),
                    };
                    let bytes = content[&file];
                    memory.bytes[at..at + bytes.len()].copy_from_slice(bytes);
                    memory.files.insert(file, (at, bytes.len()));
                    free = free.max(at + bytes.len());
                }
                ADD_POINTER => {
                    let (base, length) = memory.files[&file];
                    let (source, _) = memory.files[&text(&command[60..60 + NAME_BYTES])];
                    let (offset, size) = (word(command, 116) as usize, usize::from(command[120]));
                    assert!(offset + size <= length);
                    let field = &mut memory.bytes[base + offset..base + offset + size];
                    let mut value = [0; 8];
                    value[..size].copy_from_slice(field);
                    let value = (u64::from_le_bytes(value) + source as u64).to_le_bytes();
                    field.copy_from_slice(&value[..size]);
                }
                ADD_CHECKSUM => {
                    let (base, length) = memory.files[&file];
                    let at = |index: usize| word(command, 60 + 4 * index) as usize;
                    assert!(at(0) < length && at(1) + at(2) <= length);
                    let total = sum(&memory.bytes[base + at(1)..base + at(1) + at(2)]);
                    let byte = &mut memory.bytes[base + at(0)];
                    *byte = byte.wrapping_sub(total);
                }
                WRITE_POINTER => {
                    let (source, _) = memory.files[&text(&command[60..60 + NAME_BYTES])];
                    assert_eq!((word(command, 116), command[124]), (0, 8));
                    let address = (source + word(command, 120) as usize) as u64;
                    memory.written.insert(file, address);
                }
                number => panic!("command {number}"),
            }
        }
        memory
    }

    /// The table at an address, checked.
    fn table(&self, at: usize) -> (&[u8], String) {
        let length = word(&self.bytes, at + 4) as usize;
        let bytes = &self.bytes[at..at + length];
        let signature = String::from_utf8(bytes[..4].to_vec()).unwrap();
        if signature != "FACS" {
            assert_eq!(sum(bytes), 0, "{signature}");
            assert_eq!(&bytes[10..16], b"BOCHS ");
        }
        (bytes, signature)
    }

    /// All tables, by signature, from the root pointer through the XSDT; the RSDT must list the same.
    fn tables(&self) -> HashMap<String, &[u8]> {
        let (at, length) = self.files[RSDP_FILE];
        assert_eq!(at % 16, 0, "the root pointer is searched at multiples of 16");
        let rsdp = &self.bytes[at..at + length];
        assert_eq!(&rsdp[..8], b"RSD PTR ");
        assert_eq!((sum(&rsdp[..20]), sum(rsdp)), (0, 0));
        let (rsdt, _) = self.table(word(rsdp, 16) as usize);
        let (xsdt, _) = self.table(word(rsdp, 24) as usize);
        let short: Vec<usize> = rsdt[36..].chunks(4).map(|entry| word(entry, 0) as usize).collect();
        let long: Vec<usize> = xsdt[36..].chunks(8).map(|entry| word(entry, 0) as usize).collect();
        assert_eq!(short, long);
        let mut tables = HashMap::new();
        for at in long {
            let (bytes, signature) = self.table(at);
            // The processors' is the first of the two.
            let key = if tables.contains_key(&signature) { format!("{signature}2") } else { signature };
            tables.insert(key, bytes);
        }
        let fadt = tables["FACP"];
        for (pointer, wanted) in [(36, "FACS"), (40, "DSDT"), (132, "FACS"), (140, "DSDT")] {
            let (bytes, signature) = self.table(word(fadt, pointer) as usize);
            assert_eq!(signature, wanted);
            tables.insert(signature, bytes);
        }
        let facs = word(fadt, 36);
        assert_eq!(facs % 64, 0, "the FACS is aligned to 64 bytes");
        tables
    }
}

fn machine() -> MachineInfo {
    let mut info = MachineInfo::new(0xc000_0000, 3 << 30, 2);
    info.max_vcpus = 4;
    info.serial = [true; 4];
    info.floppy = true;
    info.parallel = true;
    info.pvpanic = true;
    info.s3 = true;
    info.s4 = true;
    info.pci_hole_64 = Some((7 << 30, (39 << 30) - 1));
    info
}

#[test]
fn the_script_makes_pointers_and_checksums_right() {
    for info in [machine(), MachineInfo::new(64 << 20, 0, 1), MachineInfo::new(1 << 30, 0, 255)] {
        let memory = Memory::load(&items(&info));
        let tables = memory.tables();
        let mut names: Vec<_> = tables.keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["APIC", "DSDT", "FACP", "FACS", "HPET", "SSDT", "WAET"]);
    }
}

#[test]
fn the_fadt_names_the_ports_of_the_pc() {
    let memory = Memory::load(&items(&machine()));
    let tables = memory.tables();
    let fadt = tables["FACP"];
    assert_eq!((fadt.len(), fadt[8]), (244, 3));
    assert_eq!(fadt[46], 9, "SCI");
    assert_eq!((word(fadt, 48), fadt[52], fadt[53]), (0xb2, 0xf1, 0xf0));
    assert_eq!([56, 64, 76, 80].map(|at| word(fadt, at)), [0x600, 0x604, 0x608, 0xafe0]);
    assert_eq!(fadt[116..129], [1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0, 0x0f]);
    // X_PM1a_EVT, X_PM1a_CNT, X_PM_TMR, X_GPE0: space, width, offset, access, address.
    assert_eq!(fadt[148..156], [1, 32, 0, 2, 0x00, 0x06, 0, 0]);
    assert_eq!(fadt[172..180], [1, 16, 0, 2, 0x04, 0x06, 0, 0]);
    assert_eq!(fadt[208..216], [1, 32, 0, 3, 0x08, 0x06, 0, 0]);
    assert_eq!(fadt[220..228], [1, 32, 0, 1, 0xe0, 0xaf, 0, 0]);
}

#[test]
fn the_ports_of_power_management_can_be_moved() {
    let items = items(&machine());
    let tables = items.iter().find(|item| !item.pm_ports.is_empty()).unwrap();
    let there: Vec<u32> = tables
        .pm_ports
        .iter()
        .map(|(at, port)| word(&tables.bytes, *at as usize) - u32::from(*port))
        .collect();
    assert_eq!(there, [u32::from(PM_BASE); 6]);
}

#[test]
fn the_madt_lists_processors_and_overrides() {
    let memory = Memory::load(&items(&machine()));
    let tables = memory.tables();
    let mut entries = &tables["APIC"][44..];
    let mut processors = Vec::new();
    let mut overrides = Vec::new();
    while let [kind, length, ..] = entries {
        let entry = &entries[..usize::from(*length)];
        match kind {
            0 => processors.push((entry[3], entry[4])),
            1 => assert_eq!(word(entry, 4), 0xfec0_0000),
            2 => overrides.push((entry[3], entry[4], entry[8])),
            4 => assert_eq!(entry[2..], [0xff, 0, 0, 1]),
            _ => panic!("entry {kind}"),
        }
        entries = &entries[usize::from(*length)..];
    }
    assert_eq!(processors, [(0, 1), (1, 1), (2, 0), (3, 0)]);
    assert_eq!(overrides, [(0, 2, 0), (5, 5, 0xd), (9, 9, 0xd), (10, 10, 0xd), (11, 11, 0xd)]);
}

/// Where Debian's `acpica-tools` put the compiler, or where `cargo xtask fetch acpica` unpacked it.
fn iasl() -> Option<PathBuf> {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("../build/root/usr/bin/iasl");
    ["/usr/bin/iasl".into(), unpacked].into_iter().find(|path: &PathBuf| path.is_file())
}

/// ACPICA's own reader takes every table apart, and its compiler takes what it wrote back without a complaint.
#[test]
fn acpica_reads_the_tables() {
    let Some(iasl) = iasl() else {
        eprintln!("skipped: no iasl (`cargo xtask fetch acpica` brings it)");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&str]| {
        let output =
            std::process::Command::new(&iasl).args(arguments).current_dir(folder.path()).output().unwrap();
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "iasl {arguments:?}: {said}");
        said
    };
    let generation = MachineInfo { generation: Some([7; 16]), ..machine() };
    for info in [machine(), MachineInfo::new(64 << 20, 0, 1), generation] {
        let memory = Memory::load(&items(&info));
        for (signature, bytes) in memory.tables() {
            std::fs::write(folder.path().join(format!("{signature}.aml")), bytes).unwrap();
        }
        for name in ["FACP", "APIC", "HPET", "WAET", "FACS"] {
            let said = run(&["-d", &format!("{name}.aml")]);
            assert!(!said.contains("Invalid") && !said.contains("Error"), "{said}");
        }
        run(&["-e", "SSDT.aml", "-d", "DSDT.aml"]);
        let source = std::fs::read_to_string(folder.path().join("DSDT.dsl")).unwrap();
        for term in ["Device (LNKD)", "Name (_PRT, Package (0x80)", "Method (_E01", "_S5, Package (0x04)"] {
            assert!(source.contains(term), "{term}");
        }
        run(&["-d", "SSDT.aml"]);
        let second = info.generation.map(|_| "SSDT2.dsl");
        if second.is_some() {
            let said = run(&["-d", "SSDT2.aml"]);
            assert!(!said.contains("Error"), "{said}");
        }
        for name in ["DSDT.dsl", "SSDT.dsl"].into_iter().chain(second) {
            // 3073: PCI0 has both _HID and _ADR, as QEMU's has. 3168: old systems know Processor() only. 6035: QEMUVGID
            // does not end in digits; it is QEMU's, and drivers look for VM_Gen_Counter.
            let said = run(&["-vw", "3073", "-vw", "3168", "-vw", "6035", name]);
            assert!(said.contains(" 0 Errors, 0 Warnings"), "{said}");
        }
    }
}

#[test]
fn guest_and_device_model_find_the_generation_id() {
    let id: [u8; 16] = std::array::from_fn(|n| n as u8);
    let memory = Memory::load(&items(&MachineInfo { generation: Some(id), ..machine() }));
    let (page, length) = memory.files[generation::GUID_FILE];
    assert_eq!((page % 4096, length), (0, 4096));
    let at = memory.written[generation::ADDR_FILE] as usize;
    assert_eq!(at, page + 40);
    assert_eq!(memory.bytes[at..at + 16], [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]);
    // ADDR, the package's length, two elements, a number of four bytes, zero.
    let tables = memory.tables();
    let table = tables["SSDT2"];
    let addr = table.windows(4).position(|name| name == b"ADDR").unwrap();
    let package = &table[addr + 4..];
    assert_eq!((package[0], package[2], package[3], package[8]), (0x12, 2, 0x0c, 0));
    assert_eq!(word(package, 4) as usize, at);
}

#[test]
fn pins_are_wired_as_in_the_pc() {
    // Slot 1 pin A is PIRQA, slot 2 pin A PIRQB, slot 3 pin A PIRQC, slot 1 pin D PIRQD.
    assert_eq!(pirq_link(1, 0), 0);
    assert_eq!(pirq_link(2, 0), 1);
    assert_eq!(pirq_link(3, 0), 2);
    assert_eq!(pirq_link(1, 3), 3);
    assert_eq!(pirq_link(0, 0), 3);
}
