//! Virtio network card, with no cable. Virtual I/O Device, version 1.3 (V); where it is silent, QEMU's card is compared with
//! ours.

pub(super) mod hashes;
pub(super) mod pairs;

use super::virtio_blk::driver::*;
use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "virtio-net",
    about: "Virtio network card",
    setup: Setup {
        disks: &[],
        args: &["-device", "virtio-net-pci,addr=3,mac=52:54:00:12:34:56,host_mtu=1400,rombar=0,packed=on"],
    },
    cases: &[
        case("identity", "V 4.1.2, 5.1.1", identity),
        case("queues that there are", "V 5.1.2", queues),
        case("features", "V 5.1.3", offered),
        case("nothing is left to a card without a cable", "no document: QEMU's", offloads),
        case("configuration", "V 5.1.4", config),
        case("the address in parts", "V 2.5", parts),
        case("a modern driver cannot write the address", "V 5.1.4", address_stays),
        case("a legacy driver writes the address", "V 5.1.4, Legacy Interface", legacy_address),
        case("a frame goes out", "V 5.1.6.2", sent),
        case("a frame in several buffers", "V 5.1.6.2", scattered),
        case("a frame of a packed queue", "V 2.8, 5.1.6.2", packed),
        case("a frame of a legacy driver", "V 5.1.6, Legacy Interface", legacy),
        case("a header and nothing behind it", "V 5.1.6.2", empty),
        case("buffers for frames wait", "V 5.1.6.3", waiting),
        case("kinds of frames", "V 5.1.6.5.1", kinds),
        case("a kind that is not known", "V 5.1.6.5.1", no_kind),
        case("tables of addresses", "V 5.1.6.5.2", tables),
        case("tables that are cut short", "V 5.1.6.5.2", short_tables),
        case("another address", "V 5.1.6.5.2", set_address),
        case("VLANs", "V 5.1.6.5.3", vlans),
        case("an announcement that nobody has asked for", "V 5.1.6.5.4", announce),
        case("a class that is not known", "V 5.1.6.5", no_class),
        case("commands that were not agreed on", "V 5.1.6.5", not_agreed),
        case("a command in pieces", "V 2.7.4.2", pieces),
        case("a frame without a header", "V 5.1.6.2, NEEDS_RESET", no_header),
        case("a reset brings the address back", "V 2.1.2", reset),
    ],
};

const MRG_RXBUF: u64 = 1 << 15;
const STATUS_FIELD: u64 = 1 << 16;
const CTRL_VQ: u64 = 1 << 17;
const CTRL_RX: u64 = 1 << 18;
const CTRL_VLAN: u64 = 1 << 19;
const CTRL_RX_EXTRA: u64 = 1 << 20;
const ANNOUNCE: u64 = 1 << 21;
const CTRL_MAC: u64 = 1 << 23;
const COMMANDS: u64 = CTRL_VQ | CTRL_RX | CTRL_VLAN | CTRL_RX_EXTRA | ANNOUNCE | CTRL_MAC;

const RX: u16 = 0;
const TX: u16 = 1;
const CONTROL: u16 = 2;

const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];

fn ring(queue: u16) -> u64 {
    0x13_0000 + u64::from(queue) * 0x4000
}

fn started(bench: &mut Bench<'_>, features: u64) {
    negotiate(bench, features | VERSION_1);
    for queue in [RX, TX, CONTROL] {
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

fn serve(bench: &mut Bench<'_>, queue: u16, number: u16, buffers: &[Buffer]) -> u32 {
    offer(bench, queue, number, buffers);
    let (index, _, written) = wait_used(bench, ring(queue), number + 1);
    bench.check(format!("request {number} of queue {queue} is given back"), index, number + 1);
    written
}

/// Has a command carried out: its answer.
fn command(bench: &mut Bench<'_>, number: u16, class: u8, command: u8, data: &[u8]) -> u8 {
    bench.poke(HEAD, &[&[class, command][..], data].concat());
    bench.poke(STATUS, &[0xee]);
    let written = serve(bench, CONTROL, number, &[(HEAD, 2 + data.len() as u32, false), (STATUS, 1, true)]);
    bench.check("bytes written", written, 1u8);
    bench.peek(STATUS, 1)[0]
}

fn address(bench: &mut Bench<'_>) -> Vec<u8> {
    (0..6).map(|at| bench.read(DEVICE + at, Size::B1) as u8).collect()
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1000_1af4u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.check("class", class >> 8, 0x02_00_00u32);
    let subsystem = bench.config(SLOT, 0, 0x2c, Size::B4);
    bench.check("the subsystem is the type", subsystem >> 16, 1u32);
    let vectors = bench.config(SLOT, 0, 0x9a, Size::B2);
    bench.note("MSI-X control", vectors);
}

fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let count = get(bench, 0x12, Size::B2);
    bench.check("queues: in, out, commands", count, 3u8);
    for queue in 0..4 {
        set(bench, 0x16, Size::B2, queue);
        let size = get(bench, 0x18, Size::B2);
        bench.note(format!("elements of queue {queue}"), size);
    }
}

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    let all = 1 << 3 | 1 << 5 | MRG_RXBUF | STATUS_FIELD | COMMANDS;
    bench.check_bits("MTU, MAC, buffers, status, commands", offered, all, all);
}

fn offloads(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    bench.check("checksums and segments", offered & 0x7f83, 0u8);
}

fn config(bench: &mut Bench<'_>) {
    on(bench);
    let address = address(bench);
    bench.check_bytes("address", &address, &MAC);
    let status = bench.read(DEVICE + 6, Size::B2);
    bench.check("the link is up", status, 1u8);
    let pairs = bench.read(DEVICE + 8, Size::B2);
    bench.check("pairs of queues", pairs, 1u8);
    let mtu = bench.read(DEVICE + 10, Size::B2);
    bench.check("MTU", mtu, 1400u16);
}

fn parts(bench: &mut Bench<'_>) {
    on(bench);
    let words: Vec<u64> = (0..3).map(|at| bench.read(DEVICE + at * 2, Size::B2)).collect();
    for (at, (word, wanted)) in words.into_iter().zip([0x5452u16, 0x1200, 0x5634]).enumerate() {
        bench.check(format!("word {at}"), word, wanted);
    }
    let long = bench.readl(DEVICE);
    bench.check("four bytes", long, 0x1200_5452u32);
}

fn address_stays(bench: &mut Bench<'_>) {
    started(bench, CTRL_VQ);
    bench.write(DEVICE + 5, Size::B1, 0x99);
    let address = address(bench);
    bench.check_bytes("address", &address, &MAC);
}

fn legacy_start(bench: &mut Bench<'_>) {
    on(bench);
    for status in [0, 1, 3] {
        bench.outb(IO + 18, status);
    }
    bench.outl(IO + 4, 0);
}

fn legacy_address(bench: &mut Bench<'_>) {
    legacy_start(bench);
    bench.outb(IO + 20 + 5, 0x99);
    let last = bench.inb(IO + 20 + 5);
    bench.check("its last byte", last, 0x99u8);
    bench.outb(IO + 18, 0);
    let last = bench.inb(IO + 20 + 5);
    bench.check("after a reset", last, 0x56u8);
}

/// A header of twelve bytes, and a frame of sixty.
fn frame(bench: &mut Bench<'_>) {
    bench.poke(DATA, &[0; 12]);
    bench.poke(DATA + 12, &[&[0xff; 6][..], &MAC, &[0x88, 0xb5], &[0; 46]].concat());
}

fn sent(bench: &mut Bench<'_>) {
    started(bench, 0);
    frame(bench);
    let written = serve(bench, TX, 0, &[(DATA, 72, false)]);
    bench.check("nothing was written", written, 0u8);
    let isr = bench.read(ISR, Size::B1);
    bench.check("a queue has something", isr, 1u8);
}

fn scattered(bench: &mut Bench<'_>) {
    started(bench, 0);
    frame(bench);
    serve(bench, TX, 0, &[(DATA, 5, false), (DATA + 5, 8, false), (DATA + 13, 59, false)]);
}

fn packed(bench: &mut Bench<'_>) {
    negotiate(bench, VERSION_1 | PACKED);
    for queue in [RX, TX, CONTROL] {
        bench.poke(ring(queue), &[0; 0x3000]);
        enable(bench, queue, ring(queue));
    }
    set_status(bench, 0xf);
    frame(bench);
    let bytes =
        [&DATA.to_le_bytes()[..], &72u32.to_le_bytes(), &5u16.to_le_bytes(), &0x80u16.to_le_bytes()].concat();
    bench.poke(ring(TX), &bytes);
    bench.write(NOTIFY + 4, Size::B2, TX.into());
    let used = wait_packed(bench, ring(TX));
    bench.check_bits("used", u16::from_le_bytes([used[14], used[15]]), 0x8080u16, 0x8080u16);
    bench.check("the buffer's id", used[12], 5u8);
}

fn legacy(bench: &mut Bench<'_>) {
    legacy_start(bench);
    bench.outw(IO + 14, TX);
    let size = bench.inw(IO + 12);
    bench.check("elements of the queue", size, 256u16);
    bench.poke(RING, &[0; 0x4000]);
    bench.outl(IO + 8, (RING / 4096) as u32);
    bench.outb(IO + 18, 7);
    // The header is two bytes shorter.
    frame(bench);
    chain(bench, RING, &[(DATA + 2, 70, false)]);
    let (avail, device) = (RING + 4096, RING + 8192);
    bench.poke(avail, &[0, 0, 1, 0, 0, 0]);
    bench.outw(IO + 16, TX);
    let index = wait_first(bench, device)[2];
    bench.check("it is given back", index, 1u8);
}

fn empty(bench: &mut Bench<'_>) {
    started(bench, 0);
    frame(bench);
    serve(bench, TX, 0, &[(DATA, 12, false)]);
    let status = status(bench);
    bench.check("no fault", status, 0xfu8);
}

fn waiting(bench: &mut Bench<'_>) {
    started(bench, MRG_RXBUF);
    offer(bench, RX, 0, &[(DATA, 2048, true)]);
    bench.wait(10_000_000);
    let (index, ..) = used(bench, ring(RX));
    bench.check("nothing has come", index, 0u8);
}

fn kinds(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    for (number, kind) in (0..6).enumerate() {
        let on = command(bench, 2 * number as u16, 0, kind, &[1]);
        bench.check(format!("kind {kind} on"), on, 0u8);
        let off = command(bench, 2 * number as u16 + 1, 0, kind, &[0]);
        bench.check(format!("kind {kind} off"), off, 0u8);
    }
}

fn no_kind(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    for (number, kind) in [6, 0x7f, 0xff].into_iter().enumerate() {
        let answer = command(bench, number as u16, 0, kind, &[1]);
        bench.check(format!("kind {kind:#x}"), answer, 1u8);
    }
    let answer = command(bench, 3, 0, 0, &[]);
    bench.check("neither on nor off", answer, 1u8);
}

/// A table of so many addresses.
fn table(count: u32) -> Vec<u8> {
    let addresses = (0..count).flat_map(|number| [1, 0, 0, 0, (number >> 8) as u8, number as u8]);
    count.to_le_bytes().into_iter().chain(addresses).collect()
}

fn tables(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    for (number, (stations, groups)) in
        [(0, 0), (1, 2), (64, 0), (65, 0), (60, 10), (100, 100)].into_iter().enumerate()
    {
        let answer = command(bench, number as u16, 1, 0, &[table(stations), table(groups)].concat());
        bench.check(format!("{stations} stations, {groups} groups"), answer, 0u8);
    }
}

fn short_tables(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    let both = [table(1), table(2)].concat();
    for (number, len) in [0, 3, 4, 9, 10, 13, 14, both.len() - 1].into_iter().enumerate() {
        let answer = command(bench, number as u16, 1, 0, &both[..len]);
        bench.check(format!("{len} bytes"), answer, 1u8);
    }
    let answer = command(bench, 8, 1, 0, &[0xff; 8]);
    bench.check("more than can be", answer, 1u8);
}

fn set_address(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    let other = [2, 0, 0, 0, 0, 9];
    let answer = command(bench, 0, 1, 1, &other);
    bench.check("it is taken", answer, 0u8);
    let now = address(bench);
    bench.check_bytes("address", &now, &other);
    for (number, len) in [(1, 5), (2, 7)] {
        let answer = command(bench, number, 1, 1, &[3; 7][..len]);
        bench.check(format!("of {len} bytes"), answer, 1u8);
    }
    let now = address(bench);
    bench.check_bytes("it stays", &now, &other);
}

fn vlans(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    for (number, (what, vlan, wanted)) in
        [(0, 1u16, 0u8), (0, 4095, 0), (1, 1, 0), (1, 77, 0), (0, 4096, 1), (0, 0xffff, 1), (2, 1, 1)]
            .into_iter()
            .enumerate()
    {
        let answer = command(bench, number as u16, 2, what, &vlan.to_le_bytes());
        bench.check(format!("command {what}, VLAN {vlan}"), answer, wanted);
    }
    let answer = command(bench, 7, 2, 0, &[1]);
    bench.check("half a number", answer, 1u8);
}

fn announce(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    let answer = command(bench, 0, 3, 0, &[]);
    bench.check("it is an error", answer, 1u8);
}

fn no_class(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    for (number, class) in [4, 6, 7, 0x80, 0xff].into_iter().enumerate() {
        let answer = command(bench, number as u16, class, 0, &[1, 0]);
        bench.check(format!("class {class:#x}"), answer, 1u8);
    }
}

fn not_agreed(bench: &mut Bench<'_>) {
    started(bench, CTRL_VQ);
    let answer = command(bench, 0, 1, 1, &[2, 0, 0, 0, 0, 9]);
    bench.note("an address", answer);
    let answer = command(bench, 1, 3, 0, &[]);
    bench.check("an announcement", answer, 1u8);
}

fn pieces(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    bench.poke(HEAD, &[0, 0, 1]);
    bench.poke(STATUS, &[0xee]);
    serve(
        bench,
        CONTROL,
        0,
        &[(HEAD, 1, false), (HEAD + 1, 1, false), (HEAD + 2, 1, false), (STATUS, 1, true)],
    );
    let answer = bench.peek(STATUS, 1)[0];
    bench.check("it is carried out", answer, 0u8);
}

fn no_header(bench: &mut Bench<'_>) {
    started(bench, 0);
    frame(bench);
    offer(bench, TX, 0, &[(DATA, 11, false)]);
    bench.wait(10_000_000);
    let status = status(bench);
    bench.check_bits("the device needs a reset", status, 0x40u8, 0x40u8);
}

fn reset(bench: &mut Bench<'_>) {
    started(bench, COMMANDS);
    command(bench, 0, 1, 1, &[2, 0, 0, 0, 0, 9]);
    set_status(bench, 0);
    let address = address(bench);
    bench.check_bytes("address", &address, &MAC);
}
