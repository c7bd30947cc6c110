//! The firmware configuration device: QEMU's documentation, "QEMU Firmware Configuration (fw_cfg) Device". What it
//! holds is each machine's own; how it is fetched is not.

use crate::bench::Bench;
use crate::case::{Case, Group, Setup, case};
use crate::machine::{Op, RAM_MIB, Size};

pub(super) const GROUP: Group = Group {
    device: "fw_cfg",
    about: "firmware configuration device",
    setup: Setup { disks: &[], args: &[] },
    cases: CASES,
};

const REGISTERS: &str = "fw_cfg, hardware interface: selector and data registers";
const DMA: &str = "fw_cfg, guest-side DMA interface";

const CASES: &[Case] = &[
    case("signature", "fw_cfg, signature (key 0x0000)", signature),
    case("features", "fw_cfg, revision / feature bitmap (key 0x0001)", features),
    case("selecting begins anew", REGISTERS, begins_anew),
    case("beyond the end are zeros", REGISTERS, beyond),
    case("a key that is not there", REGISTERS, no_key),
    case("the data port cannot be written", "fw_cfg, data register: write-only until 2.4", write_data),
    case("data by string input", REGISTERS, string),
    case("size of RAM", "fw_cfg, selector key 0x0003", ram_size),
    case("number of processors", "fw_cfg, selector key 0x0005", processors),
    case("file directory", "fw_cfg, file directory (key 0x0019)", directory),
    case("names of files", "fw_cfg, struct FWCfgFile", names),
    case("files are as long as the directory says", "fw_cfg, struct FWCfgFile: size", lengths),
    case("signature of the DMA register", "fw_cfg, DMA address register", dma_signature),
    case("DMA: select and read", DMA, dma_read),
    case("DMA: read on", DMA, dma_read_on),
    case("DMA: skip", DMA, dma_skip),
    case("DMA: beyond the end are zeros", DMA, dma_beyond),
    case("DMA: a key that is not there", DMA, dma_no_key),
    case("DMA: a read of nothing", DMA, dma_nothing),
    case("DMA: no operation", DMA, dma_no_operation),
    case("DMA: select for the data port", DMA, dma_select),
    case("DMA: writing what is read-only", DMA, dma_write),
    case("DMA: to where no RAM is", DMA, dma_no_ram),
    case("DMA: the upper half of the address is used once", DMA, dma_upper_half),
    case("DMA: a whole file is what the data port gives", DMA, dma_file),
    case("reset", REGISTERS, reset),
];

const SELECTOR: u16 = 0x510;
const DATA: u16 = 0x511;
const ADDRESS: u16 = 0x514;

const SIGNATURE: u16 = 0;
const FEATURES: u16 = 1;
const DIRECTORY: u16 = 0x19;
/// No item is here: a file's key beyond all files.
const NO_KEY: u16 = 0x3abc;

const ERROR: u32 = 1;
const READ: u32 = 2;
const SKIP: u32 = 4;
const SELECT: u32 = 8;
const WRITE: u32 = 16;

/// Where a DMA request lies, and its data.
const REQUEST: u64 = 0x10_0000;
const BUFFER: u64 = 0x11_0000;

fn select(bench: &mut Bench<'_>, key: u16) {
    bench.outw(SELECTOR, key);
}

/// Bytes from the data port.
fn bytes(bench: &mut Bench<'_>, count: usize) -> Vec<u8> {
    let answers = bench.perform(&vec![Op::In(DATA, Size::B1); count]);
    answers.into_iter().map(|byte| byte as u8).collect()
}

fn item(bench: &mut Bench<'_>, key: u16, count: usize) -> Vec<u8> {
    select(bench, key);
    bytes(bench, count)
}

/// A file of the directory.
struct File {
    size: u32,
    key: u16,
    reserved: u16,
    name: Vec<u8>,
}

/// At most so many files are looked at.
const FILES: u32 = 64;

fn files(bench: &mut Bench<'_>) -> Vec<File> {
    let count = item(bench, DIRECTORY, 4);
    let count = u32::from_be_bytes([count[0], count[1], count[2], count[3]]).min(FILES);
    let mut files = Vec::new();
    for _ in 0..count {
        let entry = bytes(bench, 64);
        files.push(File {
            size: u32::from_be_bytes([entry[0], entry[1], entry[2], entry[3]]),
            key: u16::from_be_bytes([entry[4], entry[5]]),
            reserved: u16::from_be_bytes([entry[6], entry[7]]),
            name: entry[8..].to_vec(),
        });
    }
    files
}

/// Carries out a DMA request; its control word afterwards.
fn dma(bench: &mut Bench<'_>, control: u32, length: u32, address: u64) -> u32 {
    let mut request = control.to_be_bytes().to_vec();
    request.extend(length.to_be_bytes());
    request.extend(address.to_be_bytes());
    bench.poke(REQUEST, &request);
    bench.outl(ADDRESS + 4, (REQUEST as u32).swap_bytes());
    let mut control = u32::MAX;
    // All bits but the error's are clear once it is done.
    for _ in 0..100 {
        let word = bench.peek(REQUEST, 4);
        control = u32::from_be_bytes([word[0], word[1], word[2], word[3]]);
        if control & !ERROR == 0 {
            break;
        }
        bench.wait(100_000);
    }
    control
}

fn selecting(key: u16) -> u32 {
    u32::from(key) << 16 | SELECT
}

fn signature(bench: &mut Bench<'_>) {
    let got = item(bench, SIGNATURE, 4);
    bench.check_bytes("bytes", &got, b"QEMU");
}

fn features(bench: &mut Bench<'_>) {
    let got = item(bench, FEATURES, 4);
    let bits = u32::from_le_bytes([got[0], got[1], got[2], got[3]]);
    bench.check_bits("bit 0: the registers", bits, 1u32, 1u32);
    bench.check_bits("bit 1: DMA", bits, 2u32, 2u32);
    bench.check_bits("others", bits, !3u32, 0u32);
}

fn begins_anew(bench: &mut Bench<'_>) {
    select(bench, SIGNATURE);
    let got = bytes(bench, 2);
    bench.check_bytes("first half", &got, b"QE");
    let got = bytes(bench, 1);
    bench.check_bytes("it goes on", &got, b"M");
    let got = item(bench, SIGNATURE, 4);
    bench.check_bytes("selected anew", &got, b"QEMU");
}

fn beyond(bench: &mut Bench<'_>) {
    let got = item(bench, SIGNATURE, 12);
    bench.check_bytes("signature and eight more", &got, b"QEMU\0\0\0\0\0\0\0\0");
}

fn no_key(bench: &mut Bench<'_>) {
    let got = item(bench, NO_KEY, 8);
    bench.check_bytes("zeros", &got, &[0; 8]);
    let got = item(bench, SIGNATURE, 4);
    bench.check_bytes("the signature after it", &got, b"QEMU");
}

fn write_data(bench: &mut Bench<'_>) {
    select(bench, SIGNATURE);
    for byte in *b"ABCD" {
        bench.outb(DATA, byte);
    }
    let got = item(bench, SIGNATURE, 4);
    bench.check_bytes("the signature is kept", &got, b"QEMU");
}

fn string(bench: &mut Bench<'_>) {
    select(bench, SIGNATURE);
    bench.perform(&[Op::InString(DATA, Size::B1, 6, BUFFER)]);
    let got = bench.peek(BUFFER, 6);
    bench.check_bytes("bytes", &got, b"QEMU\0\0");
}

fn ram_size(bench: &mut Bench<'_>) {
    let got = item(bench, 3, 8);
    bench.check_bytes("bytes of RAM, little-endian", &got, &(RAM_MIB << 20).to_le_bytes());
}

fn processors(bench: &mut Bench<'_>) {
    let got = item(bench, 5, 2);
    bench.check_bytes("one, little-endian", &got, &[1, 0]);
}

fn directory(bench: &mut Bench<'_>) {
    let count = item(bench, DIRECTORY, 4);
    let count = u32::from_be_bytes([count[0], count[1], count[2], count[3]]);
    bench.check_range("files, big-endian", count.into(), 1, FILES.into());
    let files = files(bench);
    for (index, file) in files.iter().enumerate() {
        let fine = (0x20..0x4000).contains(&file.key) && file.reserved == 0;
        if !fine {
            bench.check_that(format!("file {index}: key and reserved bytes"), fine, file.key);
        }
    }
    let mut keys: Vec<u16> = files.iter().map(|file| file.key).collect();
    keys.sort_unstable();
    keys.dedup();
    bench.check_that("each has a key of its own", keys.len() == files.len(), format!("{keys:x?}"));
    let beyond = bytes(bench, 4);
    bench.check_bytes("zeros after the last one", &beyond, &[0; 4]);
}

fn names(bench: &mut Bench<'_>) {
    let files = files(bench);
    let mut found: Vec<Vec<u8>> = Vec::new();
    for file in &files {
        let len = file.name.iter().position(|byte| *byte == 0).unwrap_or(file.name.len());
        let (name, rest) = file.name.split_at(len);
        let fine = !name.is_empty() && !rest.is_empty() && name.iter().all(u8::is_ascii_graphic);
        if !fine {
            bench.check_that("a name is printable and ends with a zero", fine, format!("{name:02x?}"));
        }
        found.push(name.to_vec());
    }
    bench.check_that("there are files", !found.is_empty(), "none");
    for name in ["etc/e820", "etc/acpi/tables", "etc/table-loader", "etc/smbios/smbios-tables"] {
        bench.note(format!("{name} is there"), found.iter().any(|found| found == name.as_bytes()));
    }
    found.sort_unstable();
    let all = found.len();
    found.dedup();
    bench.check_that("no name is there twice", found.len() == all, format!("{} of {all}", found.len()));
}

fn lengths(bench: &mut Bench<'_>) {
    let files = files(bench);
    let small: Vec<&File> = files.iter().filter(|file| file.size <= 0x2_0000).collect();
    bench.check_that("there are small files", !small.is_empty(), "none");
    for file in small {
        // What lies beyond its end is zero, whatever was in RAM.
        bench.poke(BUFFER + u64::from(file.size), &[0xee; 8]);
        let outcome = dma(bench, selecting(file.key) | READ, file.size + 4, BUFFER);
        let after = bench.peek(BUFFER + u64::from(file.size), 8);
        let fine = outcome == 0 && after == [0, 0, 0, 0, 0xee, 0xee, 0xee, 0xee];
        if !fine {
            bench.check_that(format!("key {:#x}", file.key), fine, format!("{outcome:#x} {after:02x?}"));
        }
    }
}

fn dma_signature(bench: &mut Bench<'_>) {
    let high = bench.inl(ADDRESS);
    bench.check("first half, big-endian", high.swap_bytes(), 0x5145_4d55u32);
    let low = bench.inl(ADDRESS + 4);
    bench.check("second half, big-endian", low.swap_bytes(), 0x2043_4647u32);
}

fn dma_read(bench: &mut Bench<'_>) {
    bench.poke(BUFFER, &[0xee; 8]);
    let outcome = dma(bench, selecting(SIGNATURE) | READ, 4, BUFFER);
    bench.check("control", outcome, 0u32);
    let got = bench.peek(BUFFER, 8);
    bench.check_bytes("data", &got, b"QEMU\xee\xee\xee\xee");
    let request = bench.peek(REQUEST + 4, 4);
    bench.note_bytes("length in the request", &request);
}

fn dma_read_on(bench: &mut Bench<'_>) {
    dma(bench, selecting(SIGNATURE) | READ, 1, BUFFER);
    let outcome = dma(bench, READ, 2, BUFFER + 1);
    bench.check("control", outcome, 0u32);
    let got = bench.peek(BUFFER, 3);
    bench.check_bytes("data", &got, b"QEM");
    let got = bytes(bench, 1);
    bench.check_bytes("the data port goes on there", &got, b"U");
}

fn dma_skip(bench: &mut Bench<'_>) {
    let outcome = dma(bench, selecting(SIGNATURE) | SKIP, 2, 0);
    bench.check("control", outcome, 0u32);
    let got = bytes(bench, 2);
    bench.check_bytes("the rest", &got, b"MU");
    let outcome = dma(bench, selecting(SIGNATURE) | SKIP, 100, 0);
    bench.check("control, beyond the end", outcome, 0u32);
    let got = bytes(bench, 2);
    bench.check_bytes("nothing is left", &got, &[0, 0]);
}

fn dma_beyond(bench: &mut Bench<'_>) {
    bench.poke(BUFFER, &[0xee; 16]);
    let outcome = dma(bench, selecting(SIGNATURE) | READ, 12, BUFFER);
    bench.check("control", outcome, 0u32);
    let got = bench.peek(BUFFER, 16);
    bench.check_bytes("data", &got, b"QEMU\0\0\0\0\0\0\0\0\xee\xee\xee\xee");
}

fn dma_no_key(bench: &mut Bench<'_>) {
    bench.poke(BUFFER, &[0xee; 8]);
    let outcome = dma(bench, selecting(NO_KEY) | READ, 4, BUFFER);
    bench.check("control", outcome, 0u32);
    let got = bench.peek(BUFFER, 8);
    bench.check_bytes("zeros", &got, &[0, 0, 0, 0, 0xee, 0xee, 0xee, 0xee]);
}

fn dma_nothing(bench: &mut Bench<'_>) {
    bench.poke(BUFFER, &[0xee; 4]);
    let outcome = dma(bench, selecting(SIGNATURE) | READ, 0, BUFFER);
    bench.check("control", outcome, 0u32);
    let got = bench.peek(BUFFER, 4);
    bench.check_bytes("nothing is moved", &got, &[0xee; 4]);
    let got = bytes(bench, 4);
    bench.check_bytes("the item is selected", &got, b"QEMU");
}

fn dma_no_operation(bench: &mut Bench<'_>) {
    select(bench, SIGNATURE);
    bytes(bench, 1);
    let outcome = dma(bench, 0, 4, BUFFER);
    bench.check("control", outcome, 0u32);
    let got = bytes(bench, 1);
    bench.check_bytes("the place is kept", &got, b"E");
}

fn dma_select(bench: &mut Bench<'_>) {
    select(bench, FEATURES);
    let outcome = dma(bench, selecting(SIGNATURE), 0, 0);
    bench.check("control", outcome, 0u32);
    let got = bytes(bench, 4);
    bench.check_bytes("data port", &got, b"QEMU");
}

fn dma_write(bench: &mut Bench<'_>) {
    bench.poke(BUFFER, b"ABCD");
    let outcome = dma(bench, selecting(SIGNATURE) | WRITE, 4, BUFFER);
    bench.check("control: an error", outcome, ERROR);
    let got = item(bench, SIGNATURE, 4);
    bench.check_bytes("the signature is kept", &got, b"QEMU");
}

fn dma_no_ram(bench: &mut Bench<'_>) {
    let outcome = dma(bench, selecting(SIGNATURE) | READ, 4, 0xd000_0000);
    bench.note("control", outcome);
    let outcome = dma(bench, selecting(SIGNATURE) | READ, 4, BUFFER);
    bench.check("the next one: control", outcome, 0u32);
    let got = bench.peek(BUFFER, 4);
    bench.check_bytes("the next one: data", &got, b"QEMU");
}

fn dma_upper_half(bench: &mut Bench<'_>) {
    bench.outl(ADDRESS, 0);
    let outcome = dma(bench, selecting(SIGNATURE) | READ, 4, BUFFER);
    bench.check("upper half zero: control", outcome, 0u32);
    // A request beyond all RAM, of which nothing comes back; the half is used up by it.
    bench.perform(&[
        Op::Out(ADDRESS, Size::B4, 0x100u32.swap_bytes()),
        Op::Out(ADDRESS + 4, Size::B4, (REQUEST as u32).swap_bytes()),
    ]);
    bench.poke(BUFFER, &[0; 4]);
    let outcome = dma(bench, selecting(SIGNATURE) | READ, 4, BUFFER);
    bench.check("afterwards: control", outcome, 0u32);
    let got = bench.peek(BUFFER, 4);
    bench.check_bytes("afterwards: data", &got, b"QEMU");
}

fn dma_file(bench: &mut Bench<'_>) {
    let files = files(bench);
    let file = files.iter().find(|file| (1..=4096).contains(&file.size));
    bench.check_that("there is a small file", file.is_some(), "none");
    let Some(file) = file else { return };
    let size = file.size.min(256) as usize;
    let by_port = item(bench, file.key, size);
    let outcome = dma(bench, selecting(file.key) | READ, size as u32, BUFFER);
    bench.check("control", outcome, 0u32);
    let by_dma = bench.peek(BUFFER, size);
    bench.check_that("the same", by_dma == by_port, format!("{by_dma:02x?}"));
}

fn reset(bench: &mut Bench<'_>) {
    select(bench, FEATURES);
    bytes(bench, 1);
    bench.outl(ADDRESS, 0x100u32.swap_bytes());
    bench.reset();
    let got = bytes(bench, 4);
    bench.note_bytes("what is selected", &got);
    let outcome = dma(bench, selecting(SIGNATURE) | READ, 4, BUFFER);
    bench.check("DMA: control", outcome, 0u32);
    let got = bench.peek(BUFFER, 4);
    bench.check_bytes("DMA: data", &got, b"QEMU");
}
