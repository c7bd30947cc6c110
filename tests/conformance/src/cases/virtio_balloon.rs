//! Virtio memory balloon. Virtual I/O Device, version 1.3 (V); where it is silent, QEMU's device is compared with ours.

use super::virtio_blk::driver::*;
use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "virtio-balloon",
    about: "Virtio memory balloon",
    setup: Setup {
        disks: &[],
        args: &["-device", "virtio-balloon-pci,addr=3,deflate-on-oom=on,free-page-reporting=on"],
    },
    cases: &[
        case("identity", "V 4.1.2, 5.5.1", identity),
        case("queues that there are", "V 5.5.2", queues),
        case("features", "V 5.5.3", offered),
        case("configuration at the start", "V 5.5.4", config),
        case("the driver says how many pages it has given", "V 5.5.6, actual", actual),
        case("what the host wants cannot be written", "V 5.5.4", wanted),
        case("poison", "V 5.5.6.5, poison_val", poison),
        case("configuration by bytes", "V 2.5", bytes),
        case("pages go in", "V 5.5.6.1", inflate),
        case("pages come out", "V 5.5.6.1", deflate),
        case("pages that are not there", "V 5.5.6.1", not_there),
        case("half a page number", "no document: QEMU's", half),
        case("a request of several buffers", "V 2.7.4.2", scattered),
        case("statistics stay with the device", "V 5.5.6.3", statistics),
        case("pages that are free", "V 5.5.6.7", reported),
        case("a reset", "V 2.1.2", reset),
        case("a legacy driver", "V 5.5.4.1, 4.1.4.10", legacy),
    ],
};

const STATS_VQ: u64 = 1 << 1;
const DEFLATE_ON_OOM: u64 = 1 << 2;
const PAGE_POISON: u64 = 1 << 4;
const REPORTING: u64 = 1 << 5;

/// Pages that go in and out: nothing of the cases' lies there.
const PAGES: u32 = 0x180;

fn ring(queue: u16) -> u64 {
    0x13_0000 + u64::from(queue) * 0x4000
}

fn started(bench: &mut Bench<'_>, features: u64) {
    negotiate(bench, features | VERSION_1);
    for queue in 0..4 {
        bench.poke(ring(queue), &[0; 0x3000]);
        enable(bench, queue, ring(queue));
    }
    set_status(bench, 0xf);
}

/// Makes a request of a queue, as its request of that number.
fn offer(bench: &mut Bench<'_>, queue: u16, number: u16, buffers: &[Buffer]) {
    chain(bench, ring(queue), buffers);
    available(bench, ring(queue), number);
    bench.write(NOTIFY + u64::from(queue) * 4, Size::B2, queue.into());
}

/// The same, and waits until it is given back.
fn serve(bench: &mut Bench<'_>, queue: u16, number: u16, buffers: &[Buffer]) {
    offer(bench, queue, number, buffers);
    let (index, _, written) = wait_used(bench, ring(queue), number + 1);
    bench.check(format!("request {number} of queue {queue} is given back"), index, number + 1);
    bench.check("nothing was written", written, 0u8);
}

/// Page numbers as they are sent.
fn numbers(bench: &mut Bench<'_>, pages: &[u32]) -> Buffer {
    let bytes: Vec<u8> = pages.iter().flat_map(|page| page.to_le_bytes()).collect();
    bench.poke(DATA, &bytes);
    (DATA, bytes.len() as u32, false)
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1002_1af4u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class", class >> 8, 0x00_ff_00u32);
    let subsystem = bench.config(SLOT, 0, 0x2c, Size::B4);
    bench.check("the subsystem is the type", subsystem >> 16, 5u32);
    let pin = bench.config(SLOT, 0, 0x3d, Size::B1);
    bench.note("interrupt pin", pin);
}

fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let count = get(bench, 0x12, Size::B2);
    bench.check("queues: in, out, statistics, free pages", count, 4u8);
    for queue in 0..5 {
        set(bench, 0x16, Size::B2, queue);
        let size = get(bench, 0x18, Size::B2);
        bench.note(format!("elements of queue {queue}"), size);
    }
}

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    let all = STATS_VQ | DEFLATE_ON_OOM | REPORTING;
    bench.check_bits("statistics, out of memory, free pages", offered, all, all);
    bench.note("bits of the device type", offered & 0xff_ffff);
}

fn config(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at) in [("pages wanted", 0), ("pages given", 4), ("poison", 12)] {
        let value = bench.readl(DEVICE + at);
        bench.check(name, value, 0u8);
    }
    let hint = bench.readl(DEVICE + 8);
    bench.note("hints of free pages", hint);
    let beyond = bench.readl(DEVICE + 16);
    bench.note("beyond", beyond);
}

fn actual(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    for pages in [5, 0x1234, 0] {
        bench.writel(DEVICE + 4, pages);
        let value = bench.readl(DEVICE + 4);
        bench.check("it is kept", value, pages);
    }
}

fn wanted(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    bench.writel(DEVICE, 0x1000);
    let value = bench.readl(DEVICE);
    bench.check("nothing is wanted", value, 0u8);
}

fn poison(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ | PAGE_POISON);
    bench.writel(DEVICE + 12, 0xaaaa_aaaa);
    let value = bench.readl(DEVICE + 12);
    bench.check("it is kept", value, 0xaaaa_aaaau32);
    started(bench, STATS_VQ);
    let value = bench.readl(DEVICE + 12);
    bench.check("a reset forgets it", value, 0u8);
}

fn bytes(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    bench.writel(DEVICE + 4, 0x0403_0201);
    for at in 0..4 {
        let byte = bench.read(DEVICE + 4 + at, Size::B1);
        bench.check(format!("byte {at}"), byte, at + 1);
    }
    let half = bench.read(DEVICE + 6, Size::B2);
    bench.check("the upper half", half, 0x0403u16);
}

fn inflate(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    let pages = numbers(bench, &[PAGES, PAGES + 1, PAGES + 5]);
    serve(bench, 0, 0, &[pages]);
    let isr = bench.read(ISR, Size::B1);
    bench.check("a queue has something", isr, 1u8);
}

fn deflate(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    let pages = numbers(bench, &[PAGES, PAGES + 1]);
    serve(bench, 0, 0, &[pages]);
    serve(bench, 1, 0, &[pages]);
    bench.poke(u64::from(PAGES) * 4096, &[0x77; 16]);
    let data = bench.peek(u64::from(PAGES) * 4096, 16);
    bench.check_bytes("it is memory again", &data, &[0x77; 16]);
}

fn not_there(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    let pages = numbers(bench, &[u32::MAX, 0xfee0_0000 >> 12, 0x8000_0000, PAGES]);
    serve(bench, 0, 0, &[pages]);
    serve(bench, 1, 0, &[pages]);
}

fn half(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    numbers(bench, &[PAGES, PAGES + 1]);
    serve(bench, 0, 0, &[(DATA, 6, false)]);
    serve(bench, 0, 1, &[(DATA, 1, false)]);
}

fn scattered(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    numbers(bench, &[PAGES, PAGES + 1, PAGES + 2]);
    serve(bench, 0, 0, &[(DATA, 2, false), (DATA + 2, 7, false), (DATA + 9, 3, false)]);
}

fn statistics(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    let one = [&4u16.to_le_bytes()[..], &1000u64.to_le_bytes()].concat();
    bench.poke(DATA, &one);
    offer(bench, 2, 0, &[(DATA, 10, false)]);
    bench.wait(10_000_000);
    let (index, ..) = used(bench, ring(2));
    bench.check("nobody has asked: it is not given back", index, 0u8);
}

fn reported(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ | REPORTING);
    let at = u64::from(PAGES) * 4096;
    bench.poke(at, &[0x55; 16]);
    offer(bench, 3, 0, &[(at, 4096, true)]);
    let (index, ..) = wait_used(bench, ring(3), 1);
    bench.check("it is given back", index, 1u8);
    bench.poke(at, &[0x66; 16]);
    let data = bench.peek(at, 16);
    bench.check_bytes("it is memory still", &data, &[0x66; 16]);
}

fn reset(bench: &mut Bench<'_>) {
    started(bench, STATS_VQ);
    let pages = numbers(bench, &[PAGES]);
    serve(bench, 0, 0, &[pages]);
    started(bench, STATS_VQ);
    serve(bench, 0, 0, &[pages]);
    let wanted = bench.readl(DEVICE);
    bench.check("pages wanted", wanted, 0u8);
}

fn legacy(bench: &mut Bench<'_>) {
    on(bench);
    for status in [0, 1, 3] {
        bench.outb(IO + 18, status);
    }
    bench.outl(IO + 4, 0);
    let size = bench.inw(IO + 12);
    bench.check("elements of what goes in", size, 128u8);
    bench.poke(RING, &[0; 0x3000]);
    bench.outl(IO + 8, (RING / 4096) as u32);
    bench.outb(IO + 18, 7);
    let pages = numbers(bench, &[PAGES]);
    chain(bench, RING, &[pages]);
    // Descriptors, available ring and used ring of 128 elements.
    let (avail, device) = (RING + 128 * 16, RING + 0x1000);
    bench.poke(avail, &[0, 0, 1, 0, 0, 0]);
    bench.outw(IO + 16, 0);
    let index = wait_first(bench, device)[2];
    bench.check("it is given back", index, 1u8);
    // The configuration follows the legacy registers.
    bench.outl(IO + 20 + 4, 7);
    let value = bench.inl(IO + 20 + 4);
    bench.check("pages given", value, 7u8);
}
