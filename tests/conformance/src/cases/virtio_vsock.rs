//! Virtio sockets, as far as a guest's side shows them. Virtual I/O Device, version 1.3 (V). QEMU has no such device in its
//! own process.

use super::virtio_blk::driver::*;
use crate::bench::Bench;
use crate::case::{Group, Setup, case};
use crate::machine::Size;

pub(super) const GROUP: Group = Group {
    device: "virtio-vsock",
    about: "Virtio sockets",
    setup: Setup {
        disks: &[],
        args: &["-device", "virtio-vsock-pci,addr=3,guest-cid=66051,socket=@folder@/vsock,packed=on"],
    },
    cases: &[
        case("identity", "V 4.1.2, 5.10.1", identity),
        case("queues", "V 5.10.2", queues),
        case("it has streams", "V 5.10.3", offered),
        case("the guest's address", "V 5.10.4", address),
        case("where nobody listens a connection is refused", "V 5.10.6.6", refused),
        case("several are refused in their order", "V 5.10.6.6", in_order),
        case("a type that nobody knows", "V 5.10.6.4.1", kinds),
        case("a connection that is not there", "V 5.10.6.6", not_there),
        case("a refusal is not answered", "V 5.10.6.6", unanswered),
        case("a packet from another guest", "V 5.10.6.4", another),
        case("a packet to another guest", "V 5.10.6.4", elsewhere),
        case("a packet that is cut short", "V 5.10.6", cut),
        case("a packet that says that it is longer", "V 5.10.6", longer),
        case("a packet in pieces", "V 2.7.4.2", pieces),
        case("a packet in a table", "V 2.7.5.3", table),
        case("a refusal waits for a buffer", "V 5.10.6.1", waits),
        case("a buffer that is too small", "V 5.10.6.1", small),
        case("buffers for events wait", "V 5.10.6.7", events),
        case("packed queues", "V 2.8", packed),
        case("nothing is sent before the driver is set up", "V 3.1.1", before),
        case("after a reset it begins anew", "V 2.1.2", again),
        case("an interrupt by the pin", "V 4.1.5.3", pin),
    ],
};

/// The rings of the queues, and what the driver gets.
const TX: u64 = RING + 0x4000;
const EVENT: u64 = RING + 0x8000;
const GOT: u64 = DATA + 0x1000;

const CID: u64 = 66_051;
const HOST: u64 = 2;
const STREAM: u16 = 1;
const REQUEST: u16 = 1;
const RST: u16 = 3;
const RW: u16 = 5;

/// What a packet says of itself.
#[derive(Clone, Copy)]
struct Packet {
    from: u64,
    to: u64,
    ports: (u32, u32),
    len: u32,
    kind: u16,
    op: u16,
}

const ASKS: Packet = Packet { from: CID, to: HOST, ports: (1025, 52), len: 0, kind: STREAM, op: REQUEST };

fn bytes(packet: Packet) -> Vec<u8> {
    let Packet { from, to, ports, len, kind, op } = packet;
    let cids = [from.to_le_bytes(), to.to_le_bytes()].concat();
    let numbers = [ports.0, ports.1, len].map(u32::to_le_bytes).concat();
    let what = [kind.to_le_bytes(), op.to_le_bytes()].concat();
    let credit = [0u32, 1 << 16, 0].map(u32::to_le_bytes).concat();
    [cids, numbers, what, credit].concat()
}

/// A driver that is set up, with a buffer for what comes.
fn begin(bench: &mut Bench<'_>, features: u64) {
    negotiate(bench, features | VERSION_1);
    for (queue, at) in [(0, RING), (1, TX), (2, EVENT)] {
        bench.poke(at, &[0; 0x3000]);
        enable(bench, queue, at);
    }
    set_status(bench, 0xf);
}

/// Gives the device a buffer, as the receive queue's request of that number.
fn give(bench: &mut Bench<'_>, number: u16, len: u32) {
    bench.poke(GOT, &[0x5a; 64]);
    chain(bench, RING, &[(GOT, len, true)]);
    available(bench, RING, number);
    bench.write(NOTIFY, Size::B2, 0);
}

/// Sends what is at DATA in these buffers, as the send queue's request of that number; it is given back.
fn send(bench: &mut Bench<'_>, number: u16, buffers: &[(u64, u32, bool)]) {
    chain(bench, TX, buffers);
    available(bench, TX, number);
    bench.write(NOTIFY + 4, Size::B2, 1);
    let (index, _, written) = wait_used(bench, TX, number + 1);
    bench.check(format!("packet {number} is given back"), index, number + 1);
    bench.check(format!("bytes written into packet {number}"), written, 0u8);
}

fn say(bench: &mut Bench<'_>, number: u16, packet: Packet) {
    bench.poke(DATA, &bytes(packet));
    send(bench, number, &[(DATA, 44, false)]);
}

/// The refusal that has come as that request, of a packet.
fn refusal(bench: &mut Bench<'_>, number: u16, of: Packet) {
    let (index, _, written) = wait_used(bench, RING, number + 1);
    bench.check(format!("answer {number}"), index, number + 1);
    bench.check(format!("bytes of answer {number}"), written, 44u8);
    let got = bench.peek(GOT, 32);
    let ports = (of.ports.1, of.ports.0);
    let wanted = bytes(Packet { from: of.to, to: of.from, ports, len: 0, op: RST, ..of });
    bench.check_bytes(format!("answer {number} is the refusal"), &got, &wanted[..32]);
}

/// Nothing has come but so many answers.
fn silent(bench: &mut Bench<'_>, answers: u16) {
    bench.wait(20_000_000);
    let (index, ..) = used(bench, RING);
    bench.check("nothing more comes", index, answers);
}

fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1053_1af4u32);
    let class = bench.config(SLOT, 0, 8, Size::B4);
    bench.note("class", class >> 8);
    bench.check("revision", class & 0xff, 1u8);
}

fn queues(bench: &mut Bench<'_>) {
    on(bench);
    let count = get(bench, 0x12, Size::B2);
    bench.check("queues", count, 3u8);
    for queue in 0..3u64 {
        set(bench, 0x16, Size::B2, queue);
        let size = get(bench, 0x18, Size::B2);
        bench.note(format!("elements of queue {queue}"), size);
    }
}

fn offered(bench: &mut Bench<'_>) {
    on(bench);
    let offered = features(bench, 0);
    bench.check("bits of the device type", offered & 0xff_ffff, 1u8);
    bench.check_bits("version 1", offered >> 32, 1u8, 1u8);
}

fn address(bench: &mut Bench<'_>) {
    on(bench);
    let low = bench.readl(DEVICE);
    bench.check("low half", low, 66_051u32);
    let high = bench.readl(DEVICE + 4);
    bench.check("high half", high, 0u8);
    bench.write(DEVICE, Size::B4, 9);
    let low = bench.readl(DEVICE);
    bench.check("it cannot be written", low, 66_051u32);
}

fn refused(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 64);
    say(bench, 0, ASKS);
    refusal(bench, 0, ASKS);
    let behind = bench.peek(GOT + 44, 20);
    bench.check_bytes("what lies behind it stays", &behind, &[0x5a; 20]);
}

fn in_order(bench: &mut Bench<'_>) {
    begin(bench, 0);
    for number in 0..6 {
        let packet = Packet { ports: (1025 + u32::from(number), 52), ..ASKS };
        give(bench, number, 64);
        say(bench, number, packet);
        refusal(bench, number, packet);
    }
}

fn kinds(bench: &mut Bench<'_>) {
    begin(bench, 0);
    for (number, kind) in [(0, 0), (1, 2), (2, 3), (3, 0xffff)] {
        let packet = Packet { kind, ..ASKS };
        give(bench, number, 64);
        say(bench, number, packet);
        refusal(bench, number, packet);
    }
}

fn not_there(bench: &mut Bench<'_>) {
    begin(bench, 0);
    for (number, op) in [(0, 2), (1, 4), (2, RW), (3, 6), (4, 7), (5, 0), (6, 8)] {
        let packet = Packet { op, ..ASKS };
        give(bench, number, 64);
        say(bench, number, packet);
        refusal(bench, number, packet);
    }
}

fn unanswered(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 64);
    say(bench, 0, Packet { op: RST, ..ASKS });
    say(bench, 1, Packet { op: RST, kind: 9, ..ASKS });
    silent(bench, 0);
}

fn another(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 64);
    for (number, from) in [(0, CID + 1), (1, HOST), (2, CID | 1 << 32)] {
        say(bench, number, Packet { from, ..ASKS });
    }
    silent(bench, 0);
}

fn elsewhere(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 64);
    for (number, to) in [(0, CID), (1, 1), (2, HOST | 1 << 32)] {
        say(bench, number, Packet { to, ..ASKS });
    }
    silent(bench, 0);
}

fn cut(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 64);
    bench.poke(DATA, &bytes(ASKS));
    send(bench, 0, &[(DATA, 43, false)]);
    send(bench, 1, &[(DATA, 1, false)]);
    silent(bench, 0);
    send(bench, 2, &[(DATA, 44, false)]);
    refusal(bench, 0, ASKS);
}

fn longer(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 64);
    for (number, len) in [(0, 1), (1, 0x1_0001), (2, u32::MAX)] {
        say(bench, number, Packet { len, op: RW, ..ASKS });
    }
    silent(bench, 0);
}

fn pieces(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 64);
    let packet = Packet { len: 6, op: RW, ..ASKS };
    bench.poke(DATA, &[&bytes(packet)[..], b"abcdef"].concat());
    send(bench, 0, &[(DATA, 9, false), (DATA + 9, 35, false), (DATA + 44, 2, false), (DATA + 46, 4, false)]);
    refusal(bench, 0, packet);
}

fn table(bench: &mut Bench<'_>) {
    begin(bench, INDIRECT);
    give(bench, 0, 64);
    bench.poke(DATA, &bytes(ASKS));
    chain(bench, TABLE, &[(DATA, 40, false), (DATA + 40, 4, false)]);
    let whole = [&TABLE.to_le_bytes()[..], &32u32.to_le_bytes(), &4u16.to_le_bytes(), &[0; 2]].concat();
    bench.poke(TX, &whole);
    available(bench, TX, 0);
    bench.write(NOTIFY + 4, Size::B2, 1);
    refusal(bench, 0, ASKS);
}

fn waits(bench: &mut Bench<'_>) {
    begin(bench, 0);
    say(bench, 0, ASKS);
    silent(bench, 0);
    give(bench, 0, 64);
    refusal(bench, 0, ASKS);
}

fn small(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 43);
    say(bench, 0, ASKS);
    let (_, _, written) = wait_used(bench, RING, 1);
    bench.check("nothing is written there", written, 0u8);
    let data = bench.peek(GOT, 43);
    bench.check_bytes("it stays", &data, &[0x5a; 43]);
    give(bench, 1, 44);
    refusal(bench, 1, ASKS);
}

fn events(bench: &mut Bench<'_>) {
    begin(bench, 0);
    chain(bench, EVENT, &[(GOT, 4, true)]);
    available(bench, EVENT, 0);
    bench.write(NOTIFY + 8, Size::B2, 2);
    bench.wait(20_000_000);
    let (index, ..) = used(bench, EVENT);
    bench.check("there is none", index, 0u8);
}

fn packed(bench: &mut Bench<'_>) {
    begin(bench, PACKED);
    bench.poke(DATA, &bytes(ASKS));
    for (ring, queue, at, len, flags) in [(RING, 0, GOT, 64u32, 0x82u16), (TX, 1, DATA, 44, 0x80)] {
        let id = 5u16.to_le_bytes();
        bench.poke(ring, &[&at.to_le_bytes()[..], &len.to_le_bytes(), &id, &flags.to_le_bytes()].concat());
        bench.write(NOTIFY + queue * 4, Size::B2, queue);
    }
    let used = wait_packed(bench, RING);
    bench.check_bits("used", u16::from_le_bytes([used[14], used[15]]), 0x8080u16, 0x8080u16);
    bench.check("bytes", used[8], 44u8);
    let got = bench.peek(GOT + 30, 2);
    bench.check("it is refused", u16::from_le_bytes([got[0], got[1]]), RST);
}

fn before(bench: &mut Bench<'_>) {
    negotiate(bench, VERSION_1);
    for (queue, at) in [(0, RING), (1, TX)] {
        bench.poke(at, &[0; 0x3000]);
        enable(bench, queue, at);
    }
    give(bench, 0, 64);
    bench.poke(DATA, &bytes(ASKS));
    chain(bench, TX, &[(DATA, 44, false)]);
    available(bench, TX, 0);
    bench.write(NOTIFY + 4, Size::B2, 1);
    bench.wait(20_000_000);
    let (index, ..) = used(bench, TX);
    bench.check("nothing is taken", index, 0u8);
    set_status(bench, 0xf);
    bench.write(NOTIFY + 4, Size::B2, 1);
    refusal(bench, 0, ASKS);
}

fn again(bench: &mut Bench<'_>) {
    // What is to be said to the first driver is not said to the second.
    begin(bench, 0);
    say(bench, 0, ASKS);
    bench.wait(20_000_000);
    begin(bench, 0);
    give(bench, 0, 64);
    silent(bench, 0);
    say(bench, 0, Packet { ports: (7, 8), ..ASKS });
    refusal(bench, 0, Packet { ports: (7, 8), ..ASKS });
}

fn pin(bench: &mut Bench<'_>) {
    begin(bench, 0);
    give(bench, 0, 64);
    say(bench, 0, ASKS);
    wait_used(bench, RING, 1);
    let isr = bench.read(ISR, Size::B1);
    bench.check("a queue has something", isr, 1u8);
    let isr = bench.read(ISR, Size::B1);
    bench.check("it is read once", isr, 0u8);
}
