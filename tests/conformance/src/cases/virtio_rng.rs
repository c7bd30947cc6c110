//! Virtio entropy source. Virtual I/O Device, version 1.3 (V).

use super::virtio_blk::driver::*;
use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "virtio-rng",
    about: "Virtio entropy source",
    setup: Setup { disks: &[], args: &["-device", "virtio-rng-pci,addr=3,packed=on"] },
    cases: &[
        case("identity", "V 4.1.2, 5.4.1", identity),
        case("its queue", "V 5.4.2", queues),
        case("it has no features of its own", "V 5.4.3", offered),
        case("it has no configuration", "V 5.4.4", config),
        case("a buffer is filled", "V 5.4.6", filled),
        case("two buffers hold different numbers", "V 5.4.6", different),
        case("a buffer of one byte", "V 5.4.6", one),
        case("a request of several buffers", "V 5.4.6.1", several),
        case("a table of descriptors", "V 2.7.5.3", indirect),
        case("a packed queue", "V 2.8", packed),
        case("nothing is filled before the driver is set up", "V 3.1.1", before),
        case("a buffer that is not to be written", "V 5.4.6.1", readable),
        case("memory beyond the buffer stays", "V 2.7.4", beyond),
        case("a legacy driver", "V 4.1.4.10", legacy),
        case("after a reset it begins anew", "V 2.1.2", again),
        case("an interrupt by the pin", "V 4.1.5.3", pin),
    ],
};

/// Has the request at descriptor 0 served, as the queue's request of that number: bytes that were written.
fn serve(bench: &mut Bench<'_>, number: u16, buffers: &[Buffer]) -> u32 {
    chain(bench, RING, buffers);
    available(bench, RING, number);
    bench.write(NOTIFY, Size::B2, 0);
    let (index, _, written) = wait_used(bench, RING, number + 1);
    bench.check(format!("request {number} is given back"), index, number + 1);
    written
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1005_1af4u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class", class >> 8, 0x00_ff_00u32);
    let subsystem = bench.config(SLOT, 0, 0x2c, Size::B4);
    bench.check("the subsystem is the type", subsystem >> 16, 4u32);
    let vectors = bench.config(SLOT, 0, 0x9a, Size::B2);
    bench.note("MSI-X control", vectors);
}

fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let count = get(bench, 0x12, Size::B2);
    bench.check("queues", count, 1u8);
    let size = get(bench, 0x18, Size::B2);
    bench.note("elements", size);
}

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    bench.check("bits of the device type", offered & 0xff_ffff, 0u8);
}

fn config(bench: &mut Bench<'_>) {
    on(bench);
    for at in [0, 4, 0x10] {
        let word = bench.readl(DEVICE + at);
        bench.note(format!("at {at}"), word);
    }
}

fn filled(bench: &mut Bench<'_>) {
    start(bench, 0);
    bench.poke(DATA, &[0; 64]);
    let written = serve(bench, 0, &[(DATA, 64, true)]);
    bench.check("bytes", written, 64u8);
    let data = bench.peek(DATA, 64);
    let different = data.iter().filter(|byte| **byte != data[0]).count();
    bench.check_that("they are not all the same", different > 16, different);
}

fn different(bench: &mut Bench<'_>) {
    start(bench, 0);
    serve(bench, 0, &[(DATA, 16, true)]);
    let first = bench.peek(DATA, 16);
    serve(bench, 1, &[(DATA, 16, true)]);
    let second = bench.peek(DATA, 16);
    bench.check_that("the second is another", first != second, "the same");
}

fn one(bench: &mut Bench<'_>) {
    start(bench, 0);
    let written = serve(bench, 0, &[(DATA, 1, true)]);
    bench.check("bytes", written, 1u8);
}

fn several(bench: &mut Bench<'_>) {
    start(bench, 0);
    bench.poke(DATA, &[0; 0x400]);
    let written = serve(bench, 0, &[(DATA, 32, true), (DATA + 0x100, 32, true), (DATA + 0x200, 32, true)]);
    bench.check("bytes", written, 96u8);
    for at in [0, 0x100, 0x200] {
        let data = bench.peek(DATA + at, 32);
        let set = data.iter().filter(|byte| **byte != 0).count();
        bench.check_that(format!("the buffer at {at:#x} is filled"), set > 16, set);
    }
}

fn indirect(bench: &mut Bench<'_>) {
    start(bench, INDIRECT);
    bench.poke(DATA, &[0; 64]);
    chain(bench, TABLE, &[(DATA, 8, true), (DATA + 32, 8, true)]);
    let whole = [&TABLE.to_le_bytes()[..], &32u32.to_le_bytes(), &4u16.to_le_bytes(), &[0; 2]].concat();
    bench.poke(RING, &whole);
    available(bench, RING, 0);
    bench.write(NOTIFY, Size::B2, 0);
    let (index, _, written) = wait_used(bench, RING, 1);
    bench.check("it is given back", index, 1u8);
    bench.check("bytes", written, 16u8);
}

fn packed(bench: &mut Bench<'_>) {
    start(bench, PACKED);
    // A buffer to be written, with id 5, in the first round.
    let bytes =
        [&DATA.to_le_bytes()[..], &32u32.to_le_bytes(), &5u16.to_le_bytes(), &0x82u16.to_le_bytes()].concat();
    bench.poke(RING, &bytes);
    bench.write(NOTIFY, Size::B2, 0);
    let used = wait_packed(bench, RING);
    bench.check_bits("used", u16::from_le_bytes([used[14], used[15]]), 0x8080u16, 0x8080u16);
    bench.check("the buffer's id", used[12], 5u8);
    bench.check("bytes", used[8], 32u8);
}

fn before(bench: &mut Bench<'_>) {
    negotiate(bench, VERSION_1);
    bench.poke(RING, &[0; 0x3000]);
    enable(bench, 0, RING);
    chain(bench, RING, &[(DATA, 16, true)]);
    available(bench, RING, 0);
    bench.write(NOTIFY, Size::B2, 0);
    bench.wait(10_000_000);
    let (index, ..) = used(bench, RING);
    bench.check("nothing is given back", index, 0u8);
    set_status(bench, 0xf);
    bench.write(NOTIFY, Size::B2, 0);
    let (index, ..) = wait_used(bench, RING, 1);
    bench.check("then it is", index, 1u8);
}

fn readable(bench: &mut Bench<'_>) {
    start(bench, 0);
    bench.poke(DATA, &[0x5a; 16]);
    chain(bench, RING, &[(DATA, 16, false)]);
    available(bench, RING, 0);
    bench.write(NOTIFY, Size::B2, 0);
    bench.wait(10_000_000);
    let data = bench.peek(DATA, 16);
    bench.check_bytes("it stays", &data, &[0x5a; 16]);
}

fn beyond(bench: &mut Bench<'_>) {
    start(bench, 0);
    bench.poke(DATA, &[0x5a; 64]);
    serve(bench, 0, &[(DATA + 16, 16, true)]);
    let (front, back) = (bench.peek(DATA, 16), bench.peek(DATA + 32, 32));
    bench.check_bytes("before it", &front, &[0x5a; 16]);
    bench.check_bytes("behind it", &back, &[0x5a; 32]);
}

fn legacy(bench: &mut Bench<'_>) {
    on(bench);
    for status in [0, 1, 3] {
        bench.outb(IO + 18, status);
    }
    bench.outl(IO + 4, 0);
    let size = bench.inw(IO + 12);
    bench.note("elements", size);
    bench.poke(RING, &[0; 0x3000]);
    bench.outl(IO + 8, (RING / 4096) as u32);
    bench.outb(IO + 18, 7);
    chain(bench, RING, &[(DATA, 8, true)]);
    let avail = RING + u64::from(size) * 16;
    let device = (avail + 6 + u64::from(size) * 2).next_multiple_of(4096);
    bench.poke(avail, &[0, 0, 1, 0, 0, 0]);
    bench.outw(IO + 16, 0);
    let used = wait_first(bench, device);
    bench.check("it is given back", used[2], 1u8);
    bench.check("bytes", used[8], 8u8);
}

fn again(bench: &mut Bench<'_>) {
    for _ in 0..2 {
        start(bench, 0);
        let written = serve(bench, 0, &[(DATA, 16, true)]);
        bench.check("bytes", written, 16u8);
    }
}

fn pin(bench: &mut Bench<'_>) {
    start(bench, 0);
    serve(bench, 0, &[(DATA, 16, true)]);
    let isr = bench.read(ISR, Size::B1);
    bench.check("a queue has something", isr, 1u8);
    let isr = bench.read(ISR, Size::B1);
    bench.check("it is read once", isr, 0u8);
}
