//! C+ mode: rings of descriptors.

use super::*;

const TX_RING: u64 = 0x10_0000;
const RX_RING: u64 = 0x10_1000;
const TX_BUFFERS: u64 = 0x20_0000;
const RX_BUFFERS: u64 = 0x30_0000;
const COUNT: u64 = 4;

const OWN: u32 = 1 << 31;
const EOR: u32 = 1 << 30;
const FS: u32 = 1 << 29;
const LS: u32 = 1 << 28;
const LGSEN: u32 = 1 << 27;
const IPCS: u32 = 1 << 18;
const UDPCS: u32 = 1 << 17;
const TCPCS: u32 = 1 << 16;
/// Rx: to this station.
const PAM: u32 = 1 << 25;

const TDU: u16 = 0x80;

const RX_CHECKSUM: u16 = 0x20;
const RX_VLAN: u16 = 0x40;

fn put(bench: &mut Bench<'_>, ring: u64, index: u64, words: [u32; 4]) {
    bench.poke(ring + 16 * index, &words.map(u32::to_le_bytes).concat());
}

fn get(bench: &mut Bench<'_>, ring: u64, index: u64) -> [u32; 2] {
    let bytes = bench.peek(ring + 16 * index, 8);
    let (words, _) = bytes.as_chunks::<4>();
    [u32::from_le_bytes(words[0]), u32::from_le_bytes(words[1])]
}

/// A card in loopback with four Rx descriptors of so many bytes.
fn start(bench: &mut Bench<'_>, size: u32, features: u16) {
    on(bench);
    set8(bench, reg::CR, RST);
    bench.poll(PORTS + reg::CR, 10, |cr| cr & RST == 0);
    for index in 0..COUNT {
        rx(bench, index, size);
        put(bench, TX_RING, index, [end(index), 0, 0, 0]);
    }
    set16(bench, reg::CPCR, 3 | features);
    for (at, ring) in [(reg::TSAD, TX_RING), (reg::TSAD + 8, 0), (reg::RDSAR, RX_RING)] {
        set32(bench, at + 4, 0);
        set32(bench, at, ring as u32);
    }
    set8(bench, reg::CR, RE | TE);
    set32(bench, reg::RCR, RCR | APM);
    set32(bench, reg::TCR, LOOPBACK);
}

fn end(index: u64) -> u32 {
    if index + 1 == COUNT { EOR } else { 0 }
}

/// Gives the card an Rx descriptor.
fn rx(bench: &mut Bench<'_>, index: u64, size: u32) {
    let address = RX_BUFFERS + 0x1000 * index;
    bench.poke(address, &[0xe5; 0x1000]);
    put(bench, RX_RING, index, [OWN | end(index) | size, 0, address as u32, 0]);
}

/// Puts a packet into descriptors from `index` on and has it sent.
fn send(bench: &mut Bench<'_>, index: u64, pieces: &[&[u8]], flags: u32, vlan: u32) {
    let last = pieces.len() - 1;
    for (number, piece) in pieces.iter().enumerate() {
        let at = (index + number as u64) % COUNT;
        let address = TX_BUFFERS + 0x1_0000 * at;
        bench.poke(address, piece);
        let ends = if number == 0 { FS } else { 0 } | if number == last { LS } else { 0 };
        let command = OWN | end(at) | ends | flags | piece.len() as u32;
        put(bench, TX_RING, at, [command, vlan, address as u32, 0]);
    }
    set8(bench, reg::TPPOLL, 0x40);
    bench.wait(1_000_000);
}

/// What the card put into an Rx descriptor: its words, and as many bytes as it says.
fn taken(bench: &mut Bench<'_>, index: u64) -> ([u32; 2], Vec<u8>) {
    let words = get(bench, RX_RING, index);
    let len = if words[0] & OWN == 0 { words[0] & 0x1fff } else { 0 };
    (words, bench.peek(RX_BUFFERS + 0x1000 * index, len.min(0x1000) as usize))
}

fn with_fcs(frame: &[u8]) -> Vec<u8> {
    [frame, &fcs(frame)].concat()
}

pub(super) fn packet(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    route(bench);
    set16(bench, reg::IMR, 0xffff);
    let sent = frame(MAC, 301);
    send(bench, 0, &[&sent], 0, 0);
    let isr = get16(bench, reg::ISR);
    bench.check_bits("ISR: sent and received, no error", isr, !TDU, ROK | TOK);
    bench.check_bits("ISR: no Tx descriptor is left", isr, TDU, TDU);
    let line = bench.irq(IRQ);
    bench.check("interrupt", line, true);
    let [command, _] = get(bench, TX_RING, 0);
    bench.check_bits("Tx: the driver's again", command, OWN, 0u32);
    bench.check_bits("Tx: no error", command, 0x02f0_0000u32, 0u32);
    let ([command, vlan], bytes) = taken(bench, 0);
    bench.check_bits("Rx: the driver's, first and last", command, OWN | EOR | FS | LS, FS | LS);
    bench.check_bits("Rx: to this station", command, 7u32 << 24, PAM);
    bench.check_bits("Rx: length with check sequence", command, 0x1fffu32, 305u32);
    bench.check_bits("Rx: no tag", vlan, 1u32 << 16, 0u32);
    bench.check_bytes("packet", &bytes, &with_fcs(&sent));
    let untouched = get(bench, RX_RING, 1);
    bench.check("the next one is the card's", untouched[0], OWN | 1536);
}

pub(super) fn pieces(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    let sent = frame(MAC, 500);
    send(bench, 0, &[&sent[..14], &sent[14..100], &sent[100..]], 0, 0);
    for index in 0..3 {
        let [command, _] = get(bench, TX_RING, index);
        bench.check_bits(format!("Tx {index}"), command, OWN, 0u32);
    }
    let (_, bytes) = taken(bench, 0);
    bench.check_bytes("packet", &bytes, &with_fcs(&sent));
}

pub(super) fn end_of_ring(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    for number in 0..9u64 {
        let sent = frame(MAC, 64 + number as usize);
        send(bench, number % COUNT, &[&sent], 0, 0);
        let ([command, _], bytes) = taken(bench, number % COUNT);
        bench.check_bits(format!("EOR stays, {number}"), command, OWN | EOR, end(number % COUNT));
        bench.check_bytes(format!("packet {number}"), &bytes, &with_fcs(&sent));
        rx(bench, number % COUNT, 1536);
    }
}

pub(super) fn no_room(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    put(bench, RX_RING, 0, [0, 0, 0, 0]);
    send(bench, 0, &[&frame(MAC, 100)], 0, 0);
    let isr = events(bench);
    bench.check_bits("ISR: RDU, and nothing came", isr, RXOVW | ROK, RXOVW);
    let mpc = get32(bench, reg::MPC);
    bench.check("MPC", mpc, 1u32);
    rx(bench, 0, 1536);
    send(bench, 1, &[&frame(MAC, 100)], 0, 0);
    let isr = events(bench);
    bench.check_bits("with one it goes on", isr, RXOVW | ROK, ROK);
}

pub(super) fn spread(bench: &mut Bench<'_>) {
    start(bench, 256, 0);
    let sent = frame(MAC, 600);
    send(bench, 0, &[&sent], 0, 0);
    let words = [0, 1, 2].map(|index| get(bench, RX_RING, index)[0]);
    bench.check_bits("first", words[0], OWN | FS | LS, FS);
    bench.check_bits("middle", words[1], OWN | FS | LS, 0u32);
    bench.check_bits("last", words[2], OWN | FS | LS, LS);
    bench.check_bits("length", words[2], 0x1fffu32, 604u32);
    let bytes: Vec<u8> = [(0, 256), (1, 256), (2, 92)]
        .into_iter()
        .flat_map(|(index, len)| bench.peek(RX_BUFFERS + 0x1000 * index, len))
        .collect();
    bench.check_bytes("packet", &bytes, &with_fcs(&sent));
}

/// The Internet checksum (RFC 1071); 0 over what carries a right one.
fn checksum(data: &[u8]) -> u16 {
    let words = data.chunks(2).map(|word| u32::from(word[0]) << 8 | u32::from(*word.get(1).unwrap_or(&0)));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

/// An IPv4 packet with no checksum set.
fn ip(protocol: u8, transport: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut frame = [MAC, OTHER].concat();
    let total = (20 + transport.len() + payload.len()) as u16;
    frame.extend([8, 0, 0x45, 0]);
    frame.extend(total.to_be_bytes());
    frame.extend([0x12, 0x34, 0x40, 0, 64, protocol, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
    frame.extend(transport);
    frame.extend(payload);
    frame
}

const TCP: [u8; 20] = [0x30, 0x39, 0, 80, 0xff, 0xff, 0xff, 0, 0, 0, 0, 9, 0x50, 0x19, 0x20, 0, 0, 0, 0, 0];

fn udp(payload: &[u8]) -> Vec<u8> {
    let len = (8 + payload.len()) as u16;
    ip(17, &[&[0x30, 0x39, 0, 53][..], &len.to_be_bytes(), &[0, 0]].concat(), payload)
}

/// The packet with both checksums.
fn right(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let sum = checksum(&frame[14..34]);
    frame[24..26].copy_from_slice(&sum.to_be_bytes());
    let len = (frame.len() - 34) as u16;
    let pseudo = [&frame[26..34], &[0, frame[23]], &len.to_be_bytes(), &frame[34..]].concat();
    let at = if frame[23] == 6 { 50 } else { 40 };
    let sum = checksum(&pseudo);
    frame[at..at + 2].copy_from_slice(&sum.to_be_bytes());
    frame
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 256) as u8).collect()
}

pub(super) fn checksums(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    for (index, (what, packet, flags)) in (0..).zip([
        ("TCP", ip(6, &TCP, &payload(501)), IPCS | TCPCS),
        ("UDP", udp(&payload(333)), IPCS | UDPCS),
        ("TCP of an even length", ip(6, &TCP, &payload(100)), IPCS | TCPCS),
    ]) {
        send(bench, index, &[&packet], flags, 0);
        let (_, bytes) = taken(bench, index);
        bench.check_bytes(what, &bytes, &with_fcs(&right(&packet)));
    }
    let plain = ip(6, &TCP, &payload(100));
    send(bench, 3, &[&plain], 0, 0);
    let (_, bytes) = taken(bench, 3);
    bench.check_bytes("not unless asked", &bytes, &with_fcs(&plain));
}

pub(super) fn judged(bench: &mut Bench<'_>) {
    start(bench, 1536, RX_CHECKSUM);
    let tcp = right(&ip(6, &TCP, &payload(80)));
    let udp = right(&udp(&payload(80)));
    let mut bent = tcp.clone();
    bent[70] ^= 0x10;
    for (index, (what, packet, want)) in (0..).zip([
        ("TCP", tcp, 1u32 << 16),
        ("UDP", udp, 2 << 16),
        ("TCP, wrong", bent, 1 << 16 | 1 << 13),
        ("no IP", frame(MAC, 100), 0),
    ]) {
        send(bench, index, &[&packet], 0, 0);
        let ([command, _], _) = taken(bench, index);
        bench.check_bits(what, command, 0x0003_e000u32, want);
    }
}

pub(super) fn segments(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    let data = payload(2500);
    send(bench, 0, &[&ip(6, &TCP, &data)], LGSEN | 1000 << 16, 0);
    for (number, part) in data.chunks(1000).enumerate() {
        let mut segment = ip(6, &TCP, part);
        segment[18..20].copy_from_slice(&(0x1234 + number as u16).to_be_bytes());
        let sequence = 0xffff_ff00u32.wrapping_add(1000 * number as u32);
        segment[38..42].copy_from_slice(&sequence.to_be_bytes());
        if number < 2 {
            segment[47] = 0x10;
        }
        let (_, bytes) = taken(bench, number as u64);
        bench.check_bytes(format!("segment {number}"), &bytes, &with_fcs(&right(&segment)));
    }
    let [command, _] = get(bench, RX_RING, 3);
    bench.check_bits("no more", command, OWN, OWN);
}

pub(super) fn tags(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    let plain = frame(MAC, 100);
    let tagged = [&plain[..12], &[0x81, 0, 0x20, 0x05], &plain[12..]].concat();
    send(bench, 0, &[&plain], 0, 1 << 17 | 0x0520);
    let ([_, vlan], bytes) = taken(bench, 0);
    let (packet, check) = bytes.split_at(bytes.len().saturating_sub(4));
    bench.check_bytes("put in", packet, &tagged);
    bench.check_bytes("put in: check sequence", check, &fcs(&tagged));
    bench.check_bits("left in", vlan, 1u32 << 16, 0u32);
    set16(bench, reg::CPCR, 3 | RX_VLAN);
    send(bench, 1, &[&tagged], 0, 0);
    let ([command, vlan], bytes) = taken(bench, 1);
    bench.check_bits("taken off: the tag", vlan, 0x1_ffffu32, 0x1_0520u32);
    bench.check_bits("taken off: length", command, 0x1fffu32, 104u32);
    bench.check_bytes("taken off: packet", bytes.get(..100).unwrap_or_default(), &plain);
}

pub(super) fn tally(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    for index in 0..3 {
        send(bench, index, &[&frame(MAC, 100)], 0, 0);
    }
    send(bench, 3, &[&frame(OTHER, 100)], 0, 0);
    let place = TX_BUFFERS + 0x8_0000;
    bench.poke(place, &[0xe5; 72]);
    set32(bench, reg::TSD + 4, 0);
    set32(bench, reg::TSD, place as u32 | 8);
    bench.poll(PORTS + reg::TSD, 10, |command| command & 8 == 0);
    let command = get32(bench, reg::TSD);
    bench.check("done", command, place as u32);
    let dump = bench.peek(place, 72);
    let number =
        |at: usize, len: usize| dump[at..at + len].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
    for (what, at, len, want) in [
        ("TxOk", 0, 8, 4u64),
        ("RxOk", 8, 8, 3),
        ("TxER", 16, 8, 0),
        ("MissPkt", 28, 2, 0),
        ("FAE", 30, 2, 0),
        ("Tx1Col", 32, 4, 0),
        ("TxMCol", 36, 4, 0),
        ("RxOkPhy", 40, 8, 3),
        ("RxOkBrd", 48, 8, 0),
        ("RxOkMul", 56, 4, 0),
        ("TxAbt", 60, 2, 0),
        ("TxUndrn", 62, 2, 0),
    ] {
        bench.check(what, number(at, len), want);
    }
    bench.note("RxER", number(24, 4));
    bench.check_bytes("64 bytes", &dump[64..], &[0xe5; 8]);
}

pub(super) fn software(bench: &mut Bench<'_>) {
    start(bench, 1536, 0);
    set8(bench, reg::TPPOLL, 1);
    let isr = events(bench);
    bench.check("ISR: SWInt", isr, 0x100u16);
}
