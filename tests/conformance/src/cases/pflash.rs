//! Flash memory: Intel StrataFlash Memory (J3), datasheet 290667 (I); JEDEC JESD68.01 (C); what OVMF's driver relies on
//! (O).

use crate::agent::layout::IMAGE;
use crate::bench::Bench;
use crate::case::{Disk, Group, Setup, case};
use crate::machine::Size;

const SECTORS: u32 = 128;
const BYTES: u64 = SECTORS as u64 * 512;
const BASE: u64 = (1 << 32) - IMAGE as u64 - BYTES;
const READY: u8 = 0x80;

pub(super) const GROUP: Group = Group {
    device: "cfi.pflash01",
    about: "flash memory with the Intel command set",
    setup: Setup { disks: &[Disk::Flash { sectors: SECTORS }], args: &[] },
    cases: &[
        case("the contents in every width", "I, read array", contents),
        case("how a flash is known", "O, QemuFlashDetected", detected),
        case("a byte is programmed", "I, byte program", program),
        case("words are programmed", "I, word program", words),
        case("a block is erased", "I, block erase", erase),
        case("an erasure that is not confirmed", "I, block erase", unconfirmed),
        case("a buffer is programmed", "I, write to buffer", buffer),
        case("a buffer that is not confirmed", "I, write to buffer", aborted),
        case("the status in every width", "I, read status", widths),
        case("the table", "C, query structure", query),
        case("the identity", "I, read identifier codes", identity),
        case("blocks are locked and unlocked", "I, block lock-bits", locks),
        case("commands that are none", "I, command definitions", unknown),
        case("reset", "I, reset", reset),
    ],
};

fn put(bench: &mut Bench<'_>, at: u64, value: u8) {
    bench.write(BASE + at, Size::B1, value.into());
}

fn get(bench: &mut Bench<'_>, at: u64) -> u8 {
    bench.read(BASE + at, Size::B1) as u8
}

/// Bytes of the contents.
fn array(bench: &mut Bench<'_>, at: u64, len: u64) -> Vec<u8> {
    put(bench, at, 0xff);
    (at..at + len).map(|at| get(bench, at)).collect()
}

/// What the contents are at first.
fn pattern(at: u64, len: u64) -> Vec<u8> {
    (at..at + len).map(Disk::byte).collect()
}

fn contents(bench: &mut Bench<'_>) {
    for at in [0, 0x1000, BYTES - 16] {
        let bytes = array(bench, at, 16);
        bench.check_bytes("bytes", &bytes, &pattern(at, 16));
    }
    let word = bench.read(BASE + 0x104, Size::B2);
    bench.check("a word", word, 0x41u64);
    let double = bench.read(BASE + 0x2104, Size::B4);
    bench.check("a double word", double, 0x841u64);
}

fn detected(bench: &mut Bench<'_>) {
    let before = get(bench, 0x104);
    bench.check("before", before, 0x41u8);
    put(bench, 0x104, 0x50);
    let cleared = get(bench, 0x104);
    bench.check("after the status was cleared", cleared, 0x41u8);
    put(bench, 0x104, 0x70);
    let status = get(bench, 0x104);
    bench.check("the status", status, 0u8);
    put(bench, 0x104, 0xff);
    let after = get(bench, 0x104);
    bench.check("the contents again", after, 0x41u8);
}

fn program(bench: &mut Bench<'_>) {
    for (command, at, value) in [(0x10, 0x1001, 0x5a), (0x40, 0x1002, 0xa5)] {
        put(bench, at, command);
        put(bench, at, value);
        let status = get(bench, at);
        bench.check(format!("status after {command:#x}"), status, READY);
    }
    let bytes = array(bench, 0x1000, 4);
    bench.check_bytes("the contents", &bytes, &[0, 0x5a, 0xa5, 0]);
    // Bits are set, too.
    put(bench, 0x1001, 0x10);
    put(bench, 0x1001, 0xff);
    let bytes = array(bench, 0x1001, 1);
    bench.check_bytes("without an erasure", &bytes, &[0xff]);
}

fn words(bench: &mut Bench<'_>) {
    put(bench, 0x2000, 0x40);
    bench.write(BASE + 0x2000, Size::B2, 0x1234);
    put(bench, 0x2004, 0x40);
    bench.write(BASE + 0x2004, Size::B4, 0x8765_4321);
    let bytes = array(bench, 0x2000, 8);
    bench.check_bytes("the contents", &bytes, &[0x34, 0x12, 0, 0, 0x21, 0x43, 0x65, 0x87]);
}

fn erase(bench: &mut Bench<'_>) {
    put(bench, 0x3123, 0x20);
    put(bench, 0x3123, 0xd0);
    let status = get(bench, 0x3000);
    bench.check("the status", status, READY);
    for at in [0x3000, 0x3ff8] {
        let bytes = array(bench, at, 8);
        bench.check_bytes("the block", &bytes, &[0xff; 8]);
    }
    for at in [0x2ff8, 0x4000] {
        let bytes = array(bench, at, 8);
        bench.check_bytes("its neighbour", &bytes, &pattern(at, 8));
    }
}

fn unconfirmed(bench: &mut Bench<'_>) {
    put(bench, 0x3000, 0x20);
    let status = get(bench, 0x3000);
    bench.check("the status", status, READY);
    put(bench, 0x3000, 0x12);
    let bytes: Vec<u8> = (0..4).map(|at| get(bench, 0x3000 + at)).collect();
    bench.check_bytes("erased, and the contents are read", &bytes, &[0xff; 4]);
}

/// Begins a buffer of three bytes.
fn begin(bench: &mut Bench<'_>) {
    put(bench, 0x5000, 0xe8);
    let status = get(bench, 0x5000);
    bench.check("the status", status, READY);
    put(bench, 0x5000, 2);
    (0..3).for_each(|at| put(bench, 0x5000 + at, 0x71 + at as u8));
}

fn buffer(bench: &mut Bench<'_>) {
    begin(bench);
    put(bench, 0x5000, 0xd0);
    let status = get(bench, 0x5000);
    bench.check("the status in the end", status, READY);
    let bytes = array(bench, 0x5000, 4);
    bench.check_bytes("the contents", &bytes, &[0x71, 0x72, 0x73, 0]);
}

fn aborted(bench: &mut Bench<'_>) {
    begin(bench);
    put(bench, 0x5000, 0x33);
    let bytes: Vec<u8> = (0..4).map(|at| get(bench, 0x5000 + at)).collect();
    bench.check_bytes("the contents are read", &bytes, &pattern(0x5000, 4));
}

fn widths(bench: &mut Bench<'_>) {
    put(bench, 0, 0x70);
    for (size, value) in [(Size::B1, 0x80u64), (Size::B2, 0x80), (Size::B4, 0x80_0080)] {
        let status = bench.read(BASE + 0x100, size);
        bench.check(format!("{size:?}"), status, value);
    }
}

fn query(bench: &mut Bench<'_>) {
    put(bench, 0x55, 0x98);
    let table: Vec<u8> = (0x10..0x31).map(|at| get(bench, at)).collect();
    let expected = [
        b'Q', b'R', b'Y', 1, 0, 0x31, 0, 0, 0, 0, 0, 0x45, 0x55, 0, 0, 7, 7, 10, 0, 4, 4, 4, 0, 16, 2, 0, 8,
        0, 1, 15, 0, 16, 0,
    ];
    bench.check_bytes("the standard part", &table, &expected);
    let own: Vec<u8> = (0x31..0x40).map(|at| get(bench, at)).collect();
    bench.check_bytes("Intel's part", &own, b"PRI10\0\0\0\0\0\0\0\0\0\x01");
    let elsewhere = [0, 0x80, 0x110].map(|at| get(bench, at));
    bench.check_bytes("elsewhere", &elsewhere, &[0, 0, b'Q']);
    put(bench, 0, 0x90);
    let still = get(bench, 0x10);
    bench.check("another command", still, b'Q');
    let bytes = array(bench, 0x1000, 4);
    bench.check_bytes("the contents", &bytes, &pattern(0x1000, 4));
}

fn identity(bench: &mut Bench<'_>) {
    put(bench, 0, 0x90);
    for at in 0..3 {
        let code = get(bench, at);
        bench.check(format!("code {at}"), code, 0u8);
    }
    put(bench, 0, 0x70);
    let status = get(bench, 0);
    bench.check("the status", status, READY);
}

fn locks(bench: &mut Bench<'_>) {
    for (confirm, what) in [(0x01, "locked"), (0xd0, "unlocked")] {
        put(bench, 0, 0x60);
        put(bench, 0, confirm);
        let status = get(bench, 0);
        bench.check(what, status, READY);
    }
    put(bench, 0x104, 0x60);
    put(bench, 0x104, 0x55);
    let contents = get(bench, 0x104);
    bench.check("neither", contents, 0x41u8);
}

fn unknown(bench: &mut Bench<'_>) {
    for command in [0x00, 0x77, 0xb0, 0xf0, 0xd0] {
        put(bench, 0x104, 0x70);
        put(bench, 0x104, command);
        let contents = get(bench, 0x104);
        bench.check(format!("{command:#x}"), contents, 0x41u8);
    }
}

fn reset(bench: &mut Bench<'_>) {
    put(bench, 0x104, 0x50);
    put(bench, 0x104, 0x10);
    bench.reset();
    let contents = get(bench, 0x104);
    bench.check("the contents", contents, 0x41u8);
    put(bench, 0x104, 0x70);
    let status = get(bench, 0x104);
    bench.check("the status", status, READY);
}
