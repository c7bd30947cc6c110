//! Formats of receive descriptors, and queues, with frames that come back from the PHY.

use super::*;

/// Where cases have rings and buffers; those of queue 1 are higher.
const TX_RING: u64 = 0x11_0000;
const RX_RING: u64 = 0x12_0000;
const BUFFERS: u64 = 0x13_0000;
const DATA: u64 = 0x15_0000;
const QUEUE: u64 = 0x1000;
const RING: u64 = 16;

/// Both receive rings, the transmitter, and the PHY in loopback. `words`: of each descriptor.
fn start(bench: &mut Bench<'_>, receive: u32, words: u64) {
    on(bench);
    set_phy(bench, 0, 0x4140);
    for queue in [0, 1] {
        for number in 0..RING / (words / 2) {
            let first = BUFFERS + queue * 0x1_0000 + number * 0x1000;
            let buffers: Vec<u8> = (0..words).flat_map(|word| (first + word * 0x400).to_le_bytes()).collect();
            bench.poke(RX_RING + queue * QUEUE + number * words * 8, &buffers);
        }
        let ring = RDBAL + 0x100 * queue;
        set(bench, ring, (RX_RING + queue * QUEUE) as u32);
        set(bench, ring + 8, RING as u32 * 16);
        set(bench, ring + 0x10, 0);
        set(bench, ring + 0x18, RING as u32 - (words / 2) as u32);
    }
    set(bench, TDBAL, TX_RING as u32);
    set(bench, TDBAL + 8, RING as u32 * 16);
    set(bench, 0x0400, 1 << 1 | 1 << 3);
    set(bench, RCTL, receive | 1 << 1 | 1 << 26);
    bench.wait(1_100_000_000);
}

fn send(bench: &mut Bench<'_>, frame: &[u8]) {
    bench.poke(DATA, frame);
    let next = get(bench, TDBAL + 0x18);
    let command = frame.len() as u32 | 1 << 24 | 1 << 25 | 1 << 27;
    let bytes = [&DATA.to_le_bytes()[..], &command.to_le_bytes(), &[0; 4]].concat();
    bench.poke(TX_RING + u64::from(next) * 16, &bytes);
    set(bench, TDBAL + 0x18, (next + 1) % RING as u32);
}

/// Sums of big-endian words, folded and turned over.
fn checksum(data: &[u8]) -> [u8; 2] {
    let words = data.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

/// A TCP packet over IPv4 to the station with right checksums, from that port.
fn tcp(port: u16, payload: usize) -> Vec<u8> {
    let mut packet = [&MAC[..], &[2; 6], &[8, 0, 0x45, 0]].concat();
    packet.extend(((40 + payload) as u16).to_be_bytes());
    packet.extend([0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 2, 10, 0, 2, 15]);
    packet.extend(port.to_be_bytes());
    packet.extend([0, 80, 0x11, 0x22, 0x33, 0x44, 1, 2, 3, 4, 0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    packet.extend((0..payload).map(|at| (at % 253) as u8));
    let ip = checksum(&packet[14..34]);
    packet[24..26].copy_from_slice(&ip);
    let pseudo = [&packet[26..34], &[0, 6], &((20 + payload) as u16).to_be_bytes()].concat();
    let sum = checksum(&[&pseudo[..], &packet[34..]].concat());
    packet[50..52].copy_from_slice(&sum);
    packet
}

/// A descriptor that was written back, as 32-bit words.
fn written(bench: &mut Bench<'_>, at: u64, words: usize) -> Vec<u32> {
    let bytes = bench.peek(at, 4 * words);
    bytes.chunks(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]])).collect()
}

pub(super) fn extended(bench: &mut Bench<'_>) {
    set_up(bench, 0, 2);
    let packet = tcp(1000, 100);
    send(bench, &packet);
    let d = written(bench, RX_RING, 4);
    bench.check("MRQ", d[0], 0u32);
    bench.check("identification", d[1] & 0xffff, 0x1234u32);
    bench.check_bits("done, whole, checksums looked at", d[2], 0x7000_0063u32, 0x0000_0063u32);
    bench.check_bits("an acknowledgement, TCP over IPv4", d[2], 0x000f_8200u32, 0x0002_8200u32);
    bench.check("length", d[3], 154u32);
    let got = bench.peek(BUFFERS, 154);
    bench.check_bytes("bytes", &got, &packet);
    let mut wrong = packet;
    wrong[24] ^= 1;
    wrong[100] ^= 1;
    send(bench, &wrong);
    let d = written(bench, RX_RING + 16, 4);
    bench.check_bits("wrong checksums", d[2], 0x6000_0003u32, 0x6000_0003u32);
    let plain = [&MAC[..], &[2; 6], &[0x88, 0xb5], &[7; 60]].concat();
    send(bench, &plain);
    let d = written(bench, RX_RING + 32, 4);
    bench.check_bits("no IP packet", d[2], 0x600f_0203u32, 0x0000_0003u32);
}

fn set_up(bench: &mut Bench<'_>, receive: u32, words: u64) {
    on(bench);
    set(bench, RFCTL, 0x8000);
    start(bench, receive, words);
}

pub(super) fn split(bench: &mut Bench<'_>) {
    on(bench);
    // 256 bytes, then 1 KiB, 1 KiB, nothing.
    set(bench, PSRCTL, 0x0001_0102);
    set_up(bench, 1 << 10 | 1 << 5, 4);
    let packet = tcp(1000, 1400);
    send(bench, &packet);
    let d = written(bench, RX_RING, 6);
    bench.check_bits("done, whole", d[2], 3u32, 3u32);
    bench.check("header and its length", d[4] & 0xffff, 0x8000u32 | 54);
    bench.check("buffer 0", d[3] & 0xffff, 54u32);
    bench.check("buffer 1", d[4] >> 16, 1024u32);
    bench.check("buffer 2", d[5] & 0xffff, 376u32);
    let got = bench.peek(BUFFERS, 54);
    bench.check_bytes("header", &got, &packet[..54]);
    let got = bench.peek(BUFFERS + 0x400, 1024);
    bench.check_that("data", got == packet[54..1078], "others");
    let got = get(bench, RDBAL + 0x10);
    bench.check("RDH counts 16 bytes", got, 2u32);
}

pub(super) fn hash(bench: &mut Bench<'_>) {
    on(bench);
    set(bench, RXCSUM, 1 << 13);
    set(bench, MRQC, 1 << 16 | 1);
    // The key of Microsoft's "Verifying the RSS Hash Calculation".
    let key: [u32; 10] = [
        0xda56_5a6d,
        0xc20e_5b25,
        0x3d25_6741,
        0xb08f_a343,
        0xcb2b_cad0,
        0xb430_7bae,
        0xa32d_cb77,
        0x0cf2_3080,
        0x3bb7_426a,
        0xfa01_acbe,
    ];
    for (at, word) in (RSSRK..).step_by(4).zip(key) {
        set(bench, at, word);
    }
    for at in (RETA..RETA + 128).step_by(4) {
        set(bench, at, 0x8000_8000);
    }
    set_up(bench, 0, 2);
    let mut packet = tcp(2794, 10);
    packet[26..34].copy_from_slice(&[66, 9, 149, 187, 161, 142, 100, 80]);
    packet[36..38].copy_from_slice(&1766u16.to_be_bytes());
    send(bench, &packet);
    // An even hash.
    let d = written(bench, RX_RING, 4);
    bench.check("hash", d[1], 0x51cc_c178u32);
    bench.check("its type, queue 0", d[0], 1u32);
    let mut heads = [get(bench, RDBAL + 0x10), get(bench, RDBAL + 0x110)];
    for port in 0..8 {
        send(bench, &tcp(port, 10));
        let now = [get(bench, RDBAL + 0x10), get(bench, RDBAL + 0x110)];
        let queue = usize::from(now[1] != heads[1]);
        let at = RX_RING + queue as u64 * QUEUE + u64::from(heads[queue]) * 16;
        let d = written(bench, at, 2);
        bench.check(format!("queue of port {port}"), queue as u64, d[1] & 1);
        bench.check(format!("type, queue of port {port}"), d[0], 1 | (queue as u32) << 8);
        heads = now;
    }
}
