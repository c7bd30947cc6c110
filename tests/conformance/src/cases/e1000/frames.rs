//! Frames, which come back from the PHY.

use super::*;

/// Where cases have rings and buffers.
const TX_RING: u64 = 0x11_0000;
const RX_RING: u64 = 0x12_0000;
const BUFFERS: u64 = 0x13_0000;
const DATA: u64 = 0x15_0000;
/// Descriptors of a ring, bytes of a buffer.
const RING: u64 = 16;
const BUFFER: u64 = 2048;

/// Bits of a transmit descriptor's second word.
const EOP: u32 = 1 << 24;
const IFCS: u32 = 1 << 25;
const TSE: u32 = 1 << 26;
const RS: u32 = 1 << 27;
const DEXT: u32 = 1 << 29;
const VLE: u32 = 1 << 30;
const WHOLE: u32 = EOP | IFCS | RS;

/// RCTL: on, frames to all, no check sequences.
const RECEIVE: u32 = 1 << 1 | 1 << 15 | 1 << 26;

/// A frame of so many bytes for a station.
fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut frame = [&to[..], &[2, 0, 0, 0, 0, 1, 0x88, 0xb5]].concat();
    frame.extend((frame.len()..len).map(|at| (at * 7 + at / 251) as u8));
    frame
}

/// Both rings, the transmitter, and the PHY in loopback; the receiver with RCTL as given and so many buffers.
fn start(bench: &mut Bench<'_>, receive: u32, buffers: u32) {
    on(bench);
    set_phy(bench, 0, 0x4140);
    for number in 0..RING {
        let buffer = BUFFERS + number * BUFFER;
        let descriptor = [&buffer.to_le_bytes()[..], &[0; 8]].concat();
        bench.poke(RX_RING + number * 16, &descriptor);
        bench.poke(buffer, &[0xcc; BUFFER as usize]);
    }
    for (ring, at) in [(RDBAL, RX_RING), (TDBAL, TX_RING)] {
        set(bench, ring, at as u32);
        set(bench, ring + 8, RING as u32 * 16);
        set(bench, ring + 0x10, 0);
        set(bench, ring + 0x18, 0);
    }
    set(bench, TCTL, 1 << 1 | 1 << 3);
    set(bench, RDBAL + 0x18, buffers);
    control(bench, receive);
}

/// Writes RCTL. QEMU's card receives nothing for a second then.
fn control(bench: &mut Bench<'_>, receive: u32) {
    set(bench, RCTL, receive);
    bench.wait(1_100_000_000);
    get(bench, ICR);
}

fn descriptor(bench: &mut Bench<'_>, number: u64, address: u64, command: u32, upper: u32) {
    let bytes = [&address.to_le_bytes()[..], &command.to_le_bytes(), &upper.to_le_bytes()].concat();
    bench.poke(TX_RING + number * 16, &bytes);
}

fn tail(bench: &mut Bench<'_>, tail: u32) {
    set(bench, TDBAL + 0x18, tail);
}

/// Sends a frame by the next descriptor.
fn send(bench: &mut Bench<'_>, frame: &[u8], command: u32, upper: u32) {
    bench.poke(DATA, frame);
    let next = get(bench, TDBAL + 0x18);
    descriptor(bench, next.into(), DATA, frame.len() as u32 | WHOLE | command, upper);
    tail(bench, (next + 1) % RING as u32);
}

/// A received frame: its descriptor's second half, and so many bytes of the buffer.
fn received(bench: &mut Bench<'_>, number: u64, len: usize) -> (Vec<u8>, Vec<u8>) {
    (bench.peek(RX_RING + number * 16 + 8, 8), bench.peek(BUFFERS + number * BUFFER, len))
}

fn came(bench: &mut Bench<'_>, what: &str, number: u64, want: &[u8]) {
    let (descriptor, got) = received(bench, number, want.len());
    let len = u16::from_le_bytes([descriptor[0], descriptor[1]]);
    bench.check(format!("{what}: length"), len, want.len() as u64);
    bench.check_bits(format!("{what}: done, whole"), descriptor[4], 3u8, 3u8);
    bench.check_bytes(format!("{what}: bytes"), &got, want);
}

fn head(bench: &mut Bench<'_>) -> u32 {
    get(bench, RDBAL + 0x10)
}

pub(in crate::cases) fn legacy(bench: &mut Bench<'_>) {
    start(bench, RECEIVE, 15);
    let whole = frame(MAC, 300);
    send(bench, &whole, 0, 0);
    came(bench, "one descriptor", 0, &whole);
    let done = bench.peek(TX_RING + 12, 1)[0];
    bench.check("written back", done, 1u8);
    let causes = get(bench, ICR);
    bench.check_bits("TXDW, TXQE, RXT0", causes, 0x83u32, 0x83u32);
    for (number, at, len) in [(1, 0, 10), (2, 10, 100), (3, 110, 190)] {
        let bits = if number == 3 { WHOLE } else { IFCS };
        descriptor(bench, number, DATA + at, len | bits, 0);
    }
    tail(bench, 3);
    let got = head(bench);
    bench.check("no frame without an end", got, 1u32);
    tail(bench, 4);
    came(bench, "three descriptors", 1, &whole);
    let got = bench.peek(TX_RING + 2 * 16 + 12, 1)[0];
    bench.check("written back only when asked", got, 0u8);
    send(bench, &frame(MAC, 20), 0, 0);
    let mut short = frame(MAC, 20);
    short.resize(60, 0);
    came(bench, "a short one is filled up", 2, &short);
    // Around the ring.
    for number in 0..14u32 {
        set(bench, RDBAL + 0x18, (number + 2) % RING as u32);
        send(bench, &frame(MAC, 100 + number as usize), 0, 0);
    }
    came(bench, "around the ring", 0, &frame(MAC, 113));
    let got = get(bench, TDBAL + 0x10);
    bench.check("TDH", got, 3u32);
}

/// A sum of big-endian words, folded.
fn sum(data: &[u8]) -> u32 {
    let words = data.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    sum
}

/// A TCP packet over IPv4 to the station: no IP checksum, in TCP's place the pseudo header's sum without a length.
fn tcp(payload: usize) -> Vec<u8> {
    let mut packet = [&MAC[..], &[2; 6], &[8, 0, 0x45, 0]].concat();
    packet.extend(((40 + payload) as u16).to_be_bytes());
    packet.extend([0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
    packet.extend([0x30, 0x39, 0, 80, 0x11, 0x22, 0x33, 0x44, 1, 2, 3, 4, 0x50, 0x19, 0xff, 0xff]);
    packet.extend((sum(&[10, 0, 2, 15, 10, 0, 2, 2, 0, 6]) as u16).to_be_bytes());
    packet.extend([0, 0]);
    packet.extend((0..payload).map(|at| (at % 253) as u8));
    packet
}

/// The same as a card makes it of the whole: segment `number` with that payload.
fn segment(whole: &[u8], number: u16, from: usize, len: usize, last: bool) -> Vec<u8> {
    let mut packet = [&whole[..54], &whole[54 + from..][..len]].concat();
    packet[16..18].copy_from_slice(&((40 + len) as u16).to_be_bytes());
    packet[18..20].copy_from_slice(&(0x1234 + number).to_be_bytes());
    packet[38..42].copy_from_slice(&(0x1122_3344 + from as u32).to_be_bytes());
    if !last {
        packet[47] &= !9;
    }
    packet[24..26].fill(0);
    let ip = !(sum(&packet[14..34]) as u16);
    packet[24..26].copy_from_slice(&ip.to_be_bytes());
    packet[50..52].fill(0);
    let pseudo = [&packet[26..34], &[0, 6], &((20 + len) as u16).to_be_bytes()].concat();
    let all = sum(&[&pseudo[..], &packet[34..]].concat());
    packet[50..52].copy_from_slice(&(!(all as u16)).to_be_bytes());
    packet
}

fn context(bench: &mut Bench<'_>, number: u64, payload: u32, segment: u32) {
    let setup = 14u64 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40;
    let tse = if segment > 0 { TSE } else { 0 };
    descriptor(bench, number, setup, payload | DEXT | 3 << 24 | RS | tse, 54 << 8 | segment << 16);
}

fn data(bench: &mut Bench<'_>, number: u64, at: u64, len: usize, bits: u32) {
    descriptor(bench, number, at, len as u32 | DEXT | 1 << 20 | IFCS | bits, 3 << 8);
}

pub(in crate::cases) fn checksums(bench: &mut Bench<'_>) {
    start(bench, RECEIVE, 15);
    let mut packet = tcp(77);
    let with_length = sum(&[&packet[50..52], &[0, 97]].concat()) as u16;
    packet[50..52].copy_from_slice(&with_length.to_be_bytes());
    bench.poke(DATA, &packet);
    context(bench, 0, 0, 0);
    data(bench, 1, DATA, 54, 0);
    data(bench, 2, DATA + 54, 77, EOP | RS);
    tail(bench, 3);
    came(bench, "IP and TCP", 0, &segment(&packet, 0, 0, 77, true));
    let done = bench.peek(TX_RING + 12, 1)[0];
    bench.check_bits("the context is written back", done, 1u8, 1u8);
    // Only the IP checksum.
    descriptor(bench, 3, DATA, packet.len() as u32 | DEXT | 1 << 20 | WHOLE, 1 << 8);
    tail(bench, 4);
    let (_, got) = received(bench, 1, 131);
    bench.check_bytes("TCP is left alone", &got[50..52], &packet[50..52]);
    // Legacy: from byte 30 to the end, at byte 20.
    send(bench, &frame(MAC, 64), 20 << 16 | 1 << 26, 30 << 8);
    let (_, got) = received(bench, 2, 64);
    let want = !(sum(&frame(MAC, 64)[30..]) as u16);
    bench.check_bytes("legacy IC", &got[20..22], &want.to_be_bytes());
}

pub(in crate::cases) fn segmentation(bench: &mut Bench<'_>) {
    start(bench, RECEIVE, 15);
    let packet = tcp(2500);
    bench.poke(DATA, &packet);
    context(bench, 0, 2500, 1000);
    data(bench, 1, DATA, 54, TSE);
    data(bench, 2, DATA + 54, 1500, TSE);
    data(bench, 3, DATA + 1554, 1000, TSE | EOP | RS);
    tail(bench, 4);
    for (number, len) in [(0u16, 1000), (1, 1000), (2, 500)] {
        let want = segment(&packet, number, usize::from(number) * 1000, len, number == 2);
        came(bench, &format!("segment {number}"), number.into(), &want);
    }
    let got = head(bench);
    bench.check("no other", got, 3u32);
    let got = get(bench, 0x40f8);
    bench.check("TSCTC", got, 1u32);
    // A multiple of the segments' size.
    context(bench, 4, 2000, 1000);
    data(bench, 5, DATA, 2054, TSE | EOP | RS);
    tail(bench, 6);
    let got = head(bench);
    bench.check("no empty segment follows", got, 5u32);
}

pub(in crate::cases) fn vlan(bench: &mut Bench<'_>) {
    start(bench, RECEIVE, 15);
    let plain = frame(MAC, 100);
    let tagged = [&plain[..12], &[0x81, 0, 0x21, 0x23], &plain[12..]].concat();
    send(bench, &plain, VLE, 0x2123 << 16);
    came(bench, "not in VLAN mode", 0, &plain);
    let before = get(bench, CTRL);
    set(bench, CTRL, before | 1 << 30);
    send(bench, &plain, VLE, 0x2123 << 16);
    came(bench, "put on and taken off", 1, &plain);
    let (descriptor, _) = received(bench, 1, 0);
    bench.check_bits("VP", descriptor[4], 8u8, 8u8);
    bench.check_bytes("the tag", &descriptor[6..8], &[0x23, 0x21]);
    send(bench, &tagged, 0, 0);
    came(bench, "one that software put on", 2, &plain);
    set(bench, CTRL, before);
    send(bench, &tagged, 0, 0);
    came(bench, "left on", 3, &tagged);
    let (descriptor, _) = received(bench, 3, 0);
    bench.check_bits("no VP", descriptor[4], 8u8, 0u8);
}

pub(in crate::cases) fn vlan_filter(bench: &mut Bench<'_>) {
    start(bench, RECEIVE | 1 << 18, 15);
    let plain = frame(MAC, 100);
    let tagged = [&plain[..12], &[0x81, 0, 0x61, 0x23], &plain[12..]].concat();
    send(bench, &tagged, 0, 0);
    let got = head(bench);
    bench.check("not in the table", got, 0u32);
    send(bench, &plain, 0, 0);
    let got = head(bench);
    bench.check("without a tag", got, 1u32);
    set(bench, VFTA + (0x123 >> 5) * 4, 1 << (0x123 & 31));
    send(bench, &tagged, 0, 0);
    let got = head(bench);
    bench.check("in the table", got, 2u32);
}

pub(in crate::cases) fn long(bench: &mut Bench<'_>) {
    start(bench, RECEIVE, 15);
    let long = frame(MAC, 5000);
    send(bench, &long, 0, 0);
    let got = [head(bench), get(bench, 0x40ac)];
    bench.check("too long", got[0], 0u32);
    bench.check("ROC", got[1], 1u32);
    control(bench, RECEIVE | 1 << 5);
    send(bench, &long, 0, 0);
    let got = head(bench);
    bench.check("three buffers", got, 3u32);
    let got = bench.peek(BUFFERS, 5000);
    bench.check_that("all bytes", got == long, "others");
    for (number, len, status) in [(0, 2048u16, 1u8), (1, 2048, 1), (2, 904, 3)] {
        let (descriptor, _) = received(bench, number, 0);
        bench.check(format!("length {number}"), u16::from_le_bytes([descriptor[0], descriptor[1]]), len);
        bench.check_bits(format!("status {number}"), descriptor[4], 3u8, status);
    }
    // Buffers of 512 bytes, and the check sequence has room.
    control(bench, RECEIVE & !(1 << 26) | 2 << 16);
    send(bench, &frame(MAC, 600), 0, 0);
    let (descriptor, _) = received(bench, 4, 0);
    bench.check("with the check sequence", u16::from_le_bytes([descriptor[0], descriptor[1]]), 92u16);
}

pub(in crate::cases) fn filter(bench: &mut Bench<'_>) {
    let group = [1, 0, 0x5e, 0x7f, 0xff, 0xfa];
    let other = [2, 3, 4, 5, 6, 7];
    let all = [0xff; 6];
    let comes = |bench: &mut Bench<'_>, what: &str, to: [u8; 6], want: bool| {
        let before = head(bench);
        set(bench, RDBAL + 0x18, (before + 8) % RING as u32);
        send(bench, &frame(to, 64), 0, 0);
        let got = head(bench) != before;
        bench.check(what, got, want);
    };
    start(bench, 1 << 1 | 1 << 26, 15);
    comes(bench, "to the station", MAC, true);
    comes(bench, "to another", other, false);
    comes(bench, "to a group", group, false);
    comes(bench, "to all", all, false);
    let hash = (0xfaff_u64 >> 4) & 0xfff;
    set(bench, MTA + (hash >> 5) * 4, 1 << (hash & 31));
    comes(bench, "to a group in the table", group, true);
    set(bench, RA + 8, 0x0504_0302);
    set(bench, RA + 12, 0x8000_0706);
    comes(bench, "to a second address", other, true);
    set(bench, RA + 12, 0x0000_0706);
    set(bench, MTA + (hash >> 5) * 4, 0);
    control(bench, 1 << 1 | 1 << 26 | 1 << 3 | 1 << 4 | 1 << 15);
    comes(bench, "UPE", other, true);
    comes(bench, "MPE", group, true);
    comes(bench, "BAM", all, true);
}

pub(in crate::cases) fn statistics(bench: &mut Bench<'_>) {
    start(bench, RECEIVE | 1 << 4, 15);
    for at in (0x4000..0x4100).step_by(4) {
        get(bench, at);
    }
    for (to, len) in [(MAC, 60), ([0xff; 6], 61), ([1, 0, 0x5e, 0, 0, 1], 1000)] {
        send(bench, &frame(to, len), 0, 0);
    }
    for (name, at, want) in [
        ("GPRC", 0x4074, 3u32),
        ("TPR", 0x40d0, 3),
        ("BPRC", 0x4078, 1),
        ("MPRC", 0x407c, 1),
        ("PRC64", 0x405c, 1),
        ("PRC127", 0x4060, 1),
        ("PRC1023", 0x406c, 1),
        ("GPTC", 0x4080, 3),
        ("TPT", 0x40d4, 3),
        ("BPTC", 0x40f4, 1),
        ("MPTC", 0x40f0, 1),
        ("PTC64", 0x40d8, 1),
        ("PTC1023", 0x40e8, 1),
    ] {
        let got = [get(bench, at), get(bench, at)];
        bench.check(name, got[0], want);
        bench.check(format!("{name} again"), got[1], 0u32);
    }
    for (name, low) in [("GORC", 0x4088), ("GOTC", 0x4090), ("TOR", 0x40c0), ("TOT", 0x40c8)] {
        let got = [get(bench, low), get(bench, low + 4), get(bench, low)];
        bench.check(format!("{name} low"), got[0], 60 + 61 + 1000 + 12u32);
        bench.check(format!("{name} high"), got[1], 0u32);
        bench.check(format!("{name} low again"), got[2], 0u32);
    }
}

pub(in crate::cases) fn overrun(bench: &mut Bench<'_>) {
    start(bench, RECEIVE | 1 << 5, 1);
    send(bench, &frame(MAC, 5000), 0, 0);
    let got = get(bench, ICR);
    bench.check_bits("RXO", got, 0x40u32, 0x40u32);
    let got = [get(bench, 0x40a0), get(bench, 0x4010)];
    bench.check("RNBC", got[0], 1u32);
    bench.check("MPC", got[1], 1u32);
    let again = [get(bench, 0x40a0), get(bench, 0x4010)];
    bench.check("RNBC again", again[0], 0u32);
    bench.check("MPC again", again[1], 0u32);
    send(bench, &frame(MAC, 64), 0, 0);
    came(bench, "a short one has room", 0, &frame(MAC, 64));
    get(bench, ICR);
    send(bench, &frame(MAC, 64), 0, 0);
    let got = get(bench, ICR);
    bench.check_bits("none is left: RXO", got, 0x40u32, 0x40u32);
}

pub(in crate::cases) fn received_checksums(bench: &mut Bench<'_>) {
    start(bench, RECEIVE, 15);
    let good = segment(&tcp(100), 0, 0, 100, true);
    let mut bad = good.clone();
    bad[100] ^= 1;
    send(bench, &good, 0, 0);
    let (descriptor, _) = received(bench, 0, 0);
    bench.note("nobody looks: status", descriptor[4]);
    set(bench, RXCSUM, 0x300);
    send(bench, &good, 0, 0);
    send(bench, &bad, 0, 0);
    for (what, number, errors) in [("right", 1, 0u8), ("wrong", 2, 0x20)] {
        let (descriptor, _) = received(bench, number, 0);
        bench.check_bits(format!("{what}: looked at"), descriptor[4], 0x64u8, 0x60u8);
        bench.check_bits(format!("{what}: errors"), descriptor[5], 0x60u8, errors);
    }
}
