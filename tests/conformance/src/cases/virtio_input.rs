//! Virtio input: a tablet. Virtual I/O Device, version 1.3 (V); the numbers of evdev are Linux's (`input-event-codes.h`).

use super::virtio_blk::driver::*;
use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "virtio-input",
    about: "Virtio input: a tablet",
    setup: Setup { disks: &[], args: &["-device", "virtio-tablet-pci,addr=3,serial=conformance"] },
    cases: &[
        case("identity", "V 4.1.2, 5.8.1", identity),
        case("it is not transitional", "V 4.1.2.3", modern),
        case("queues that there are", "V 5.8.2", queues),
        case("it has no features of its own", "V 5.8.3", offered),
        case("nothing is selected at the start", "V 5.8.4", unselected),
        case("the name", "V 5.8.4, ID_NAME", name),
        case("the serial number", "V 5.8.4, ID_SERIAL", serial),
        case("bus, vendor, product, version", "V 5.8.4, ID_DEVIDS", ids),
        case("properties", "V 5.8.4, PROP_BITS", properties),
        case("keys", "V 5.8.4, EV_BITS", keys),
        case("movements", "V 5.8.4, EV_BITS", movements),
        case("places", "V 5.8.4, EV_BITS", places),
        case("kinds of events that it has not", "V 5.8.4, EV_BITS", no_events),
        case("ranges of the axes", "V 5.8.4, ABS_INFO", ranges),
        case("what nobody knows", "V 5.8.4", unknown),
        case("answers cannot be written", "V 5.8.4", unwritten),
        case("a selection in two writes", "V 5.8.5", in_two),
        case("a reset forgets the selection", "V 2.1.2", reset),
        case("what the driver says is given back", "V 5.8.6.2", status_queue),
        case("buffers for events wait", "V 5.8.6.1", events_wait),
    ],
};

const ID_NAME: u8 = 1;
const ID_SERIAL: u8 = 2;
const ID_DEVIDS: u8 = 3;
const PROP_BITS: u8 = 0x10;
const EV_BITS: u8 = 0x11;
const ABS_INFO: u8 = 0x12;

/// Asks for something: the bytes of the answer.
fn ask(bench: &mut Bench<'_>, select: u8, which: u8) -> Vec<u8> {
    bench.write(DEVICE, Size::B1, select.into());
    bench.write(DEVICE + 1, Size::B1, which.into());
    answer(bench)
}

fn answer(bench: &mut Bench<'_>) -> Vec<u8> {
    let size = bench.read(DEVICE + 2, Size::B1);
    (0..size).map(|at| bench.read(DEVICE + 8 + at, Size::B1) as u8).collect()
}

/// The events whose bits are set.
fn bits(answer: &[u8]) -> Vec<u16> {
    (0..answer.len() as u16 * 8).filter(|code| answer[usize::from(code / 8)] >> (code % 8) & 1 != 0).collect()
}

fn codes(bench: &mut Bench<'_>, what: &str, kind: u8, expected: &[u16]) {
    let answer = ask(bench, EV_BITS, kind);
    let found = bits(&answer);
    bench.check_that(what, found == expected, format!("{found:x?}"));
}

fn started(bench: &mut Bench<'_>) {
    negotiate(bench, VERSION_1);
    for (queue, at) in [(0, RING), (1, RING + 0x4000)] {
        bench.poke(at, &[0; 0x3000]);
        enable(bench, queue, at);
    }
    set_status(bench, 0xf);
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1052_1af4u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.note("class", class >> 8);
    let revision = bench.config(SLOT, 0, 8, Size::B1);
    bench.check("revision", revision, 1u8);
}

fn modern(bench: &mut Bench<'_>) {
    let ports = bench.config(SLOT, 0, 0x10, Size::B4);
    bench.check("no ports", ports, 0u8);
    on(bench);
    let offered = features(bench, 0);
    bench.check_bits("VERSION_1", offered, VERSION_1, VERSION_1);
}

fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let count = get(bench, 0x12, Size::B2);
    bench.check("queues: events, status", count, 2u8);
    for queue in 0..3 {
        set(bench, 0x16, Size::B2, queue);
        let size = get(bench, 0x18, Size::B2);
        bench.note(format!("elements of queue {queue}"), size);
    }
}

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    bench.check("bits of the device type", offered & 0xff_ffff, 0u8);
}

fn unselected(bench: &mut Bench<'_>) {
    on(bench);
    let head = bench.readl(DEVICE);
    bench.check("select, which, size", head & 0xff_ffff, 0u8);
}

fn name(bench: &mut Bench<'_>) {
    on(bench);
    let answer = ask(bench, ID_NAME, 0);
    bench.check_bytes("name", &answer, b"QEMU Virtio Tablet\0");
    let other = ask(bench, ID_NAME, 1);
    bench.check("there is one", other.len() as u64, 0u8);
}

fn serial(bench: &mut Bench<'_>) {
    on(bench);
    let answer = ask(bench, ID_SERIAL, 0);
    bench.check_bytes("serial number", &answer, b"conformance");
}

fn ids(bench: &mut Bench<'_>) {
    on(bench);
    let answer = ask(bench, ID_DEVIDS, 0);
    bench.check_bytes("bus, vendor, product, version", &answer, &[6, 0, 0x27, 6, 3, 0, 2, 0]);
}

fn properties(bench: &mut Bench<'_>) {
    on(bench);
    let answer = ask(bench, PROP_BITS, 0);
    bench.check("there are none", answer.len() as u64, 0u8);
}

fn keys(bench: &mut Bench<'_>) {
    on(bench);
    let answer = ask(bench, EV_BITS, 1);
    let found = bits(&answer);
    for (name, code) in [("left", 0x110), ("right", 0x111), ("middle", 0x112)] {
        bench.check_that(format!("the {name} button"), found.contains(&code), format!("{found:x?}"));
    }
    bench.note_bytes("all keys", &answer);
}

fn movements(bench: &mut Bench<'_>) {
    on(bench);
    codes(bench, "the wheel", 2, &[8]);
}

fn places(bench: &mut Bench<'_>) {
    on(bench);
    codes(bench, "x and y", 3, &[0, 1]);
}

fn no_events(bench: &mut Bench<'_>) {
    on(bench);
    for kind in [4, 5, 0x11, 0x12, 0x14, 0x15, 0x1f, 0xff] {
        codes(bench, &format!("of type {kind:#x}"), kind, &[]);
    }
}

fn ranges(bench: &mut Bench<'_>) {
    on(bench);
    for axis in [0, 1] {
        let answer = ask(bench, ABS_INFO, axis);
        let mut expected = [0; 20];
        expected[4..6].copy_from_slice(&[0xff, 0x7f]);
        bench.check_bytes(format!("axis {axis}"), &answer, &expected);
    }
    let none = ask(bench, ABS_INFO, 2);
    bench.check("another axis", none.len() as u64, 0u8);
}

fn unknown(bench: &mut Bench<'_>) {
    on(bench);
    for select in [0, 4, 0x0f, 0x13, 0x80, 0xff] {
        let answer = ask(bench, select, 0);
        bench.check(format!("selection {select:#x}"), answer.len() as u64, 0u8);
    }
}

fn unwritten(bench: &mut Bench<'_>) {
    on(bench);
    let before = ask(bench, ID_DEVIDS, 0);
    bench.write(DEVICE + 2, Size::B1, 1);
    bench.writel(DEVICE + 8, 0xffff_ffff);
    let after = answer(bench);
    bench.check_bytes("the answer", &after, &before);
}

fn in_two(bench: &mut Bench<'_>) {
    on(bench);
    let wheel = ask(bench, EV_BITS, 2);
    // The other half alone is another question.
    bench.write(DEVICE + 1, Size::B1, 3);
    let places = answer(bench);
    bench.check_that("another answer", wheel != places, format!("{places:x?}"));
    bench.write(DEVICE, Size::B1, ID_NAME.into());
    let none = answer(bench);
    bench.check("a name of that number", none.len() as u64, 0u8);
}

fn reset(bench: &mut Bench<'_>) {
    on(bench);
    ask(bench, ID_NAME, 0);
    set_status(bench, 0);
    let head = bench.readl(DEVICE);
    bench.note("select, which, size", head & 0xff_ffff);
}

fn status_queue(bench: &mut Bench<'_>) {
    started(bench);
    let ring = RING + 0x4000;
    // A light, which a tablet does not have.
    bench.poke(DATA, &[0x11, 0, 0, 0, 1, 0, 0, 0]);
    chain(bench, ring, &[(DATA, 8, false)]);
    available(bench, ring, 0);
    bench.write(NOTIFY + 4, Size::B2, 1);
    let (index, _, written) = wait_used(bench, ring, 1);
    bench.check("it is given back", index, 1u8);
    bench.check("nothing was written", written, 0u8);
}

fn events_wait(bench: &mut Bench<'_>) {
    started(bench);
    chain(bench, RING, &[(DATA, 8, true)]);
    available(bench, RING, 0);
    bench.write(NOTIFY, Size::B2, 0);
    bench.wait(10_000_000);
    let (index, ..) = used(bench, RING);
    bench.check("nothing has happened", index, 0u8);
}
