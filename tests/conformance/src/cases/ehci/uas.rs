//! `usb-uas` on EHCI's first port, with a disk as unit 0 and a CD drive as unit 3: USB Attached SCSI (T10 2095-D revision 4,
//! U), SCSI Primary Commands - 4 (P); Universal Serial Bus Specification, 2.0 (S).

use super::driver::*;
use crate::bench::Bench;
use crate::case::{Disk, Group, Setup, case};

pub(in crate::cases) const GROUP: Group = Group {
    device: "usb-uas",
    about: "USB Attached SCSI on EHCI, with a disk and a CD drive",
    setup: Setup {
        disks: &[Disk::Loose { sectors: 2048 }],
        args: &[
            "-device",
            "usb-ehci,id=e,addr=3",
            "-device",
            "usb-uas,id=u,bus=e.0,port=1,serial=S1",
            "-device",
            "scsi-hd,bus=u.0,scsi-id=0,lun=0,drive=loose",
            "-device",
            "scsi-cd,bus=u.0,scsi-id=0,lun=3",
        ],
    },
    cases: &[
        case("descriptors", "U 5.2; S 9.6", descriptors),
        case("the unit attention of power-on", "U 5.4.3; P 5.14", attention),
        case("a command without data", "U 6.2.4", nothing),
        case("INQUIRY", "U 5.4.3, 6.2.6", inquiry),
        case("units are told", "P 6.33", luns),
        case("a unit that is not there", "P 6.4.2", absent),
        case("a disk is read", "U 5.4.3", read),
        case("a disk is written", "U 5.4.3, 6.2.7", written),
        case("an answer in whole packets", "S 5.8.3", whole),
        case("a command that fails", "U 6.2.4", failed),
        case("a command of no unit's level", "U 6.2.2", level),
        case("a longer command", "U 6.2.2", longer),
        case("two commands in flight", "U 5.4.3", flight),
        case("a tag twice", "U 5.3", overlapped),
        case("ABORT TASK", "U 6.2.3, 7.2", abort),
        case("LOGICAL UNIT RESET", "U 6.2.3, 7.6", lun_reset),
        case("functions that are none", "U 6.2.5", functions),
        case("a function for a unit that is not there", "U 6.2.5", incorrect),
        case("an information unit that is none", "U 6.2.1; S 8.4.5", none),
        case("data that nobody means", "S 8.4.5", unmeant),
    ],
};

const ADDRESS: u32 = 6;
/// Where data is, and status.
const BUFFER: u64 = DATA + 0x1000;
const STATUS: u64 = DATA + 0x100;

fn note(bench: &mut Bench<'_>, what: &str, setup: [u8; 8]) {
    let reply = request(bench, ADDRESS, setup);
    bench.check_that(format!("{what}: it is answered"), reply.is_some(), "it is not");
    bench.note_bytes(what, &reply.unwrap_or_default());
}

/// The device has its address and is configured.
fn attach(bench: &mut Bench<'_>) {
    start(bench);
    enable(bench, 1);
    request(bench, 0, [0, 5, ADDRESS as u8, 0, 0, 0, 0, 0]);
    request(bench, ADDRESS, [0, 9, 1, 0, 0, 0, 0, 0]);
}

/// The same, and both units have told their attention.
fn ready(bench: &mut Bench<'_>) {
    attach(bench);
    for lun in [0, 3] {
        command(bench, 1, lun, &[0; 6]);
        status(bench);
    }
}

/// A transfer by a pipe: its token, in which what is left of the length is.
fn pipe(bench: &mut Bench<'_>, number: u32, place: u64, len: u32) -> u32 {
    words(bench, QUEUE + 4, &[endpoint(ADDRESS, number, 512)]);
    let pid = if matches!(number, 2 | 3) { IN } else { OUT };
    let token = ACTIVE | 3 << 10 | pid | len << 16;
    let page = |n: u64| ((place & !0xfff) + n * 0x1000) as u32;
    words(bench, TDS, &[1, 1, token, place as u32, page(1), page(2), page(3), page(4)]);
    go(bench, QUEUE);
    ended(bench, 0)
}

/// COMMAND.
fn command(bench: &mut Bench<'_>, tag: u8, lun: u8, cdb: &[u8]) -> u32 {
    let mut unit = vec![1, 0, 0, tag, 0, 0, 0, 0, 0, lun, 0, 0, 0, 0, 0, 0];
    unit.extend(cdb);
    unit.resize(32, 0);
    bench.poke(DATA, &unit);
    pipe(bench, 1, DATA, 32)
}

/// TASK MANAGEMENT.
fn manage(bench: &mut Bench<'_>, tag: u8, lun: u8, function: u8, managed: u8) {
    bench.poke(DATA, &[5, 0, 0, tag, function, 0, 0, managed, 0, lun, 0, 0, 0, 0, 0, 0]);
    pipe(bench, 1, DATA, 16);
}

/// The next information unit; none comes: nothing.
fn status(bench: &mut Bench<'_>) -> Vec<u8> {
    let token = pipe(bench, 2, STATUS, 256);
    let len = 256 - (token >> 16 & 0x7fff).min(256);
    if token & 0xfe == 0 { bench.peek(STATUS, len as usize) } else { Vec::new() }
}

/// The next one is to be this.
fn told(bench: &mut Bench<'_>, what: &str, expected: &[u8]) {
    let found = status(bench);
    bench.check_bytes(what, &found, expected);
}

/// The next one is a command's end: its status, and key and code of its sense data.
fn sense(bench: &mut Bench<'_>, what: &str, tag: u8, expected: (u8, u8, u8)) {
    let found = status(bench);
    bench.check_bytes(
        format!("{what}: the end of a command"),
        found.get(..4).unwrap_or_default(),
        &[3, 0, 0, tag],
    );
    let byte = |at: usize| found.get(at).copied().unwrap_or_default();
    let (status, key, code) = expected;
    bench.check(format!("{what}: status"), byte(6), status);
    bench.check(format!("{what}: sense key"), byte(18) & 0xf, key);
    bench.check(format!("{what}: additional sense code"), byte(28), code);
}

/// A command whose data comes: what came.
fn ask(bench: &mut Bench<'_>, lun: u8, cdb: &[u8], len: u32) -> Vec<u8> {
    command(bench, 9, lun, cdb);
    told(bench, "READ READY", &[6, 0, 0, 9]);
    let token = pipe(bench, 3, BUFFER, len);
    bench.check_bits("the data comes", token, 0xfe_u32, 0_u32);
    let data = bench.peek(BUFFER, (len - (token >> 16 & 0x7fff).min(len)) as usize);
    sense(bench, "then", 9, (0, 0, 0));
    data
}

fn descriptors(bench: &mut Bench<'_>) {
    attach(bench);
    note(bench, "device", [0x80, 6, 0, 1, 0, 0, 18, 0]);
    note(bench, "configuration", [0x80, 6, 0, 2, 0, 0, 0xff, 0]);
    for index in [1, 2, 3, 4] {
        note(bench, &format!("string {index}"), [0x80, 6, index, 3, 9, 4, 0xff, 0]);
    }
    let refused = request(bench, ADDRESS, [0xa1, 0xfe, 0, 0, 0, 0, 1, 0]);
    bench.check_that("the class has no request", refused.is_none(), "it is answered");
}

fn attention(bench: &mut Bench<'_>) {
    attach(bench);
    command(bench, 1, 0, &[0; 6]);
    let found = status(bench);
    bench.check("bytes", found.len() as u32, 34u8);
    bench.check_bytes(
        "head",
        found.get(..16).unwrap_or_default(),
        &[3, 0, 0, 1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 18],
    );
    bench.check_bytes(
        "sense data",
        found.get(16..).unwrap_or_default(),
        &[0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 0, 0, 0, 0, 0],
    );
    command(bench, 2, 0, &[0; 6]);
    sense(bench, "once", 2, (0, 0, 0));
}

fn nothing(bench: &mut Bench<'_>) {
    ready(bench);
    let token = command(bench, 0x77, 0, &[0; 6]);
    bench.check_bits("it is taken whole", token, 0x7fff_00fe_u32, 0_u32);
    told(bench, "SENSE", &[3, 0, 0, 0x77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
}

fn inquiry(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, 0, &[0x12, 0, 0, 0, 36, 0], 36);
    bench.note_bytes("of the disk", &data);
    let data = ask(bench, 3, &[0x12, 0, 0, 0, 36, 0], 36);
    bench.note_bytes("of the CD drive", &data);
    let data = ask(bench, 0, &[0x12, 0, 0, 0, 36, 0], 255);
    bench.check("with more room, bytes", data.len() as u32, 36u8);
}

fn luns(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, 0, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0], 0x1000);
    bench.check_bytes(
        "REPORT LUNS",
        &data,
        &[0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0],
    );
}

fn absent(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, 5, &[0x12, 0, 0, 0, 36, 0], 36);
    bench.check("INQUIRY: nothing can be there", data.first().copied().unwrap_or_default(), 0x7fu8);
    command(bench, 2, 5, &[0; 6]);
    sense(bench, "TEST UNIT READY", 2, (2, 5, 0x25));
}

fn read(bench: &mut Bench<'_>) {
    ready(bench);
    let data = ask(bench, 0, &[0x28, 0, 0, 0, 0, 3, 0, 0, 24, 0], 24 * 512);
    let expected: Vec<u8> = (3 * 512..27 * 512).map(crate::case::Disk::byte).collect();
    bench.check_bytes("data", &data, &expected);
    let data = ask(bench, 0, &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32);
    bench.check_bytes(
        "READ CAPACITY (16)",
        data.get(..12).unwrap_or_default(),
        &[0, 0, 0, 0, 0, 0, 7, 0xff, 0, 0, 2, 0],
    );
}

fn written(bench: &mut Bench<'_>) {
    ready(bench);
    command(bench, 4, 0, &[0x2a, 0, 0, 0, 0, 9, 0, 0, 2, 0]);
    told(bench, "WRITE READY", &[7, 0, 0, 4]);
    bench.poke(BUFFER, &[0xa5; 1024]);
    let token = pipe(bench, 4, BUFFER, 1024);
    bench.check_bits("the data is taken", token, 0x7fff_00fe_u32, 0_u32);
    sense(bench, "then", 4, (0, 0, 0));
    bench.poke(BUFFER, &[0; 1024]);
    let data = ask(bench, 0, &[0x28, 0, 0, 0, 0, 9, 0, 0, 2, 0], 1024);
    bench.check_bytes("what is read then", &data, &[0xa5; 1024]);
    command(bench, 5, 0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    sense(bench, "the cache", 5, (0, 0, 0));
}

fn whole(bench: &mut Bench<'_>) {
    ready(bench);
    command(bench, 4, 0, &[0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0]);
    told(bench, "READ READY", &[6, 0, 0, 4]);
    let token = pipe(bench, 3, BUFFER, 2048);
    bench.check("of 2048 bytes are left", token >> 16 & 0x7fff, 1536u16);
    bench.check_bits("it is over", token, 0xfe_u32, 0_u32);
    sense(bench, "then", 4, (0, 0, 0));
}

fn failed(bench: &mut Bench<'_>) {
    ready(bench);
    command(bench, 4, 0, &[0x28, 0, 0, 0x10, 0, 0, 0, 0, 1, 0]);
    sense(bench, "beyond the end", 4, (2, 5, 0x21));
    command(bench, 5, 0, &[0xc7; 6]);
    sense(bench, "no command", 5, (2, 5, 0x20));
    command(bench, 6, 3, &[0; 6]);
    sense(bench, "no medium", 6, (2, 2, 0x3a));
}

fn level(bench: &mut Bench<'_>) {
    ready(bench);
    bench.poke(
        DATA,
        &[1, 0, 0, 4, 0, 0, 0, 0, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    pipe(bench, 1, DATA, 32);
    sense(bench, "flat space addressing", 4, (2, 5, 0x25));
}

fn longer(bench: &mut Bench<'_>) {
    ready(bench);
    let mut unit = [0; 48];
    (unit[0], unit[3], unit[6]) = (1, 4, 16);
    bench.poke(DATA, &unit);
    pipe(bench, 1, DATA, 48);
    sense(bench, "of 32 bytes", 4, (2, 5, 0x26));
}

fn flight(bench: &mut Bench<'_>) {
    ready(bench);
    command(bench, 4, 0, &[0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0]);
    told(bench, "READ READY", &[6, 0, 0, 4]);
    command(bench, 5, 0, &[0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0]);
    command(bench, 6, 0, &[0; 6]);
    sense(bench, "what has no data goes by", 6, (0, 0, 0));
    pipe(bench, 3, BUFFER, 512);
    let mut first = [status(bench), status(bench)];
    first.sort();
    let [end, ready] = first;
    bench.check_bytes("the end of the first", &end, &[3, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bench.check_bytes("READ READY of the second", &ready, &[6, 0, 0, 5]);
    pipe(bench, 3, BUFFER, 512);
    let data = bench.peek(BUFFER, 512);
    let expected: Vec<u8> = (9 * 512..10 * 512).map(crate::case::Disk::byte).collect();
    bench.check_bytes("data of the second", &data, &expected);
    sense(bench, "then", 5, (0, 0, 0));
}

fn overlapped(bench: &mut Bench<'_>) {
    ready(bench);
    command(bench, 4, 0, &[0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0]);
    told(bench, "WRITE READY", &[7, 0, 0, 4]);
    command(bench, 4, 0, &[0; 6]);
    sense(bench, "the second", 4, (2, 0xb, 0x4e));
    manage(bench, 4, 0, 1, 7);
    told(bench, "a function", &[4, 0, 0, 4, 0, 0, 0, 10]);
    pipe(bench, 4, BUFFER, 512);
    sense(bench, "the first goes on", 4, (0, 0, 0));
}

fn abort(bench: &mut Bench<'_>) {
    ready(bench);
    command(bench, 4, 0, &[0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0]);
    told(bench, "WRITE READY", &[7, 0, 0, 4]);
    manage(bench, 5, 0, 1, 4);
    told(bench, "it is complete", &[4, 0, 0, 5, 0, 0, 0, 0]);
    manage(bench, 6, 0, 1, 4);
    told(bench, "of one that is not there, too", &[4, 0, 0, 6, 0, 0, 0, 0]);
    command(bench, 4, 0, &[0; 6]);
    sense(bench, "the tag is free", 4, (0, 0, 0));
    let data = ask(bench, 0, &[0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0], 512);
    let expected: Vec<u8> = (9 * 512..10 * 512).map(crate::case::Disk::byte).collect();
    bench.check_bytes("nothing was written", &data, &expected);
}

fn lun_reset(bench: &mut Bench<'_>) {
    ready(bench);
    command(bench, 4, 0, &[0x2a, 0, 0, 0, 0, 9, 0, 0, 1, 0]);
    told(bench, "WRITE READY", &[7, 0, 0, 4]);
    manage(bench, 5, 0, 8, 0);
    told(bench, "it is complete", &[4, 0, 0, 5, 0, 0, 0, 0]);
    command(bench, 4, 0, &[0; 6]);
    sense(bench, "the next is told", 4, (2, 6, 0x29));
    command(bench, 5, 3, &[0; 6]);
    sense(bench, "another unit is not", 5, (2, 2, 0x3a));
}

fn functions(bench: &mut Bench<'_>) {
    ready(bench);
    for function in [0, 0x3f, 0x40, 0x82] {
        manage(bench, 5, 0, function, 0);
        told(bench, &format!("function {function:#x}"), &[4, 0, 0, 5, 0, 0, 0, 4]);
    }
}

fn incorrect(bench: &mut Bench<'_>) {
    ready(bench);
    manage(bench, 5, 9, 8, 0);
    told(bench, "incorrect LUN", &[4, 0, 0, 5, 0, 0, 0, 9]);
}

/// The endpoint of a pipe is halted, until that is cleared.
fn halted(bench: &mut Bench<'_>, at: u8, token: u32) {
    bench.check_bits("halted", token, 0xf8_u32, HALTED);
    request(bench, ADDRESS, [2, 1, 0, 0, at, 0, 0, 0]);
    command(bench, 7, 0, &[0; 6]);
    sense(bench, "the next command", 7, (0, 0, 0));
}

fn none(bench: &mut Bench<'_>) {
    ready(bench);
    bench.poke(DATA, &[2; 32]);
    let token = pipe(bench, 1, DATA, 32);
    halted(bench, 1, token);
}

fn unmeant(bench: &mut Bench<'_>) {
    ready(bench);
    let token = pipe(bench, 3, BUFFER, 512);
    halted(bench, 0x83, token);
    let token = pipe(bench, 4, BUFFER, 512);
    halted(bench, 4, token);
}
