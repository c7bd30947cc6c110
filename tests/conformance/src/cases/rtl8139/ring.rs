//! The card as an RTL8139C: one Rx ring, four Tx buffers.

use super::*;

const RING: u64 = 0x10_0000;
const BUFFER: u64 = 0x20_0000;
/// No case sends this.
const FILL: u8 = 0xe5;

fn start(bench: &mut Bench<'_>, rcr: u32) {
    on(bench);
    bench.poke(RING, &[FILL; 8192 + 4096]);
    set8(bench, reg::CR, RST);
    bench.poll(PORTS + reg::CR, 10, |cr| cr & RST == 0);
    set32(bench, reg::RBSTART, RING as u32);
    set8(bench, reg::CR, RE | TE);
    set32(bench, reg::RCR, RCR | rcr);
    set32(bench, reg::TCR, LOOPBACK);
    for buffer in 0..4 {
        set32(bench, reg::TSAD + 4 * buffer, BUFFER as u32 + 0x1000 * u32::from(buffer));
    }
}

/// Sends a frame from that buffer and waits for the card to be done with it.
fn send(bench: &mut Bench<'_>, buffer: u16, frame: &[u8]) -> u32 {
    bench.poke(BUFFER + 0x1000 * u64::from(buffer), frame);
    set32(bench, reg::TSD + 4 * buffer, frame.len() as u32);
    bench.poll(PORTS + reg::TSD + 4 * buffer + 1, 10, |status| status & 0x20 != 0);
    get32(bench, reg::TSD + 4 * buffer)
}

/// The status of the header at `at` of the ring, and the packet with its check sequence.
fn packet(bench: &mut Bench<'_>, at: u64) -> (u16, Vec<u8>) {
    let head = bench.peek(RING + at, 4);
    let len = usize::from(u16::from_le_bytes([head[2], head[3]])).min(4096);
    (u16::from_le_bytes([head[0], head[1]]), bench.peek(RING + at + 4, len))
}

fn with_fcs(frame: &[u8]) -> Vec<u8> {
    [frame, &fcs(frame)].concat()
}

pub(super) fn loopback(bench: &mut Bench<'_>) {
    start(bench, APM);
    route(bench);
    set16(bench, reg::IMR, 0xffff);
    let sent = frame(MAC, 201);
    let status = send(bench, 0, &sent);
    bench.check_bits("TSD: size, OWN, TOK", status, 0xffffu16, 0xa000u16 | 201);
    bench.check_bits("TSD: no error", status, 0xf000_0000u32, 0u32);
    let line = bench.irq(IRQ);
    bench.check("interrupt", line, true);
    let isr = events(bench);
    bench.check("ISR", isr, ROK | TOK);
    let line = bench.irq(IRQ);
    bench.check("acknowledged", line, false);
    let cr = get8(bench, reg::CR);
    bench.check_bits("CR: not empty", cr, BUFE, 0u8);
    let (flags, bytes) = packet(bench, 0);
    bench.check("header: ROK, to this station", flags, 0x4001u16);
    bench.check_bytes("packet", &bytes, &with_fcs(&sent));
    let cbr = get16(bench, reg::CBR);
    bench.check("CBR: the next double word", cbr, 212u16);
    set16(bench, reg::CAPR, 212 - 16);
    let cr = get8(bench, reg::CR);
    bench.check_bits("CR: empty when read", cr, BUFE, BUFE);
    let capr = get16(bench, reg::CAPR);
    bench.check("CAPR reads back", capr, 212u16 - 16);
}

pub(super) fn buffers(bench: &mut Bench<'_>) {
    start(bench, APM);
    let mut at = 0;
    for number in 0..6u16 {
        let sent = frame(MAC, 60 + usize::from(number) * 4);
        let status = send(bench, number % 4, &sent);
        bench.check_bits(format!("TSD, {number}"), status, 0xe000u16, 0xa000u16);
        let (_, bytes) = packet(bench, at);
        bench.check_bytes(format!("packet {number}"), &bytes, &with_fcs(&sent));
        at += sent.len() as u64 + 8;
    }
    let summary = get16(bench, reg::TSAD_SUMMARY);
    bench.check("TSAD: TOK and OWN of all", summary, 0xf00fu16);
}

pub(super) fn filters(bench: &mut Bench<'_>) {
    on(bench);
    let all = [0xff; 6];
    // The six high bits of the CRC of 01:00:5e:00:00:01 are 31.
    let listed = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x01];
    let unlisted = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x02];
    set32(bench, reg::MAR, 1 << 31);
    set32(bench, reg::MAR + 4, 0);
    let addresses =
        [("own", MAC), ("other", OTHER), ("listed group", listed), ("other group", unlisted), ("all", all)];
    for (filter, rcr, wanted) in [
        ("none", 0, [0u16; 5]),
        ("APM", APM, [0x4001, 0, 0, 0, 0]),
        ("AAP", AAP, [0x4001, 0x0001, 0, 0, 0]),
        ("AM", AM, [0, 0, 0x8001, 0, 0]),
        ("AB", AB, [0, 0, 0, 0, 0x2001]),
    ] {
        for ((name, address), want) in addresses.into_iter().zip(wanted) {
            start(bench, rcr);
            bench.poke(RING, &[0; 4]);
            send(bench, 0, &frame(address, 64));
            let (flags, _) = packet(bench, 0);
            bench.check(format!("{filter}: {name}"), flags, want);
        }
    }
}

pub(super) fn off(bench: &mut Bench<'_>) {
    start(bench, APM);
    set8(bench, reg::CR, TE);
    let status = send(bench, 0, &frame(MAC, 100));
    bench.check_bits("sent", status, 0xe000u16, 0xa000u16);
    let isr = events(bench);
    bench.check("ISR", isr, TOK);
    let head = bench.peek(RING, 4);
    bench.check_bytes("nothing is there", &head, &[FILL; 4]);
}

pub(super) fn tx_off(bench: &mut Bench<'_>) {
    start(bench, APM);
    set8(bench, reg::CR, RE);
    bench.poke(BUFFER, &frame(MAC, 100));
    set32(bench, reg::TSD, 100);
    let status = get32(bench, reg::TSD);
    bench.check_bits("still the card's", status, 0xe000u16, 0u16);
    let isr = get16(bench, reg::ISR);
    bench.check("ISR", isr, 0u16);
}

pub(super) fn not_master(bench: &mut Bench<'_>) {
    start(bench, APM);
    bench.set_config(SLOT, 0, 4, Size::B2, 3);
    bench.poke(BUFFER, &frame(MAC, 100));
    set32(bench, reg::TSD, 100);
    let head = bench.peek(RING, 4);
    bench.check_bytes("nothing is there", &head, &[FILL; 4]);
    let status = get32(bench, reg::TSD);
    bench.check_bits("the buffer is not done", status, 0x8000u16, 0u16);
}

/// Fills the ring up to 652 bytes before its end, all of it read.
fn near_the_end(bench: &mut Bench<'_>) {
    for number in 0..5u16 {
        send(bench, number % 4, &frame(MAC, 1500));
        set16(bench, reg::CAPR, ((number + 1) * 1508).wrapping_sub(16));
    }
    events(bench);
}

pub(super) fn end(bench: &mut Bench<'_>) {
    start(bench, APM);
    near_the_end(bench);
    bench.poke(RING, &[FILL; 1024]);
    let sent = frame(MAC, 1500);
    send(bench, 1, &sent);
    let whole = with_fcs(&sent);
    let split = 652 - 4;
    let got = bench.peek(RING + 5 * 1508 + 4, split);
    bench.check_bytes("up to the end", &got, &whole[..split]);
    let got = bench.peek(RING, whole.len() - split);
    bench.check_bytes("from the beginning", &got, &whole[split..]);
    let behind = bench.peek(RING + 8192, 64);
    bench.check_bytes("nothing behind", &behind, &[FILL; 64]);
    let cbr = get16(bench, reg::CBR);
    bench.check("CBR", cbr, 6u16 * 1508 - 8192);
}

pub(super) fn behind(bench: &mut Bench<'_>) {
    start(bench, APM | 0x80);
    near_the_end(bench);
    bench.poke(RING, &[FILL; 1024]);
    let sent = frame(MAC, 1500);
    send(bench, 1, &sent);
    let got = bench.peek(RING + 5 * 1508 + 4, 1504);
    bench.check_bytes("in one piece", &got, &with_fcs(&sent));
    let first = bench.peek(RING, 64);
    bench.check_bytes("nothing at the beginning", &first, &[FILL; 64]);
    let cbr = get16(bench, reg::CBR);
    bench.check("CBR", cbr, 6u16 * 1508 - 8192);
}

pub(super) fn full(bench: &mut Bench<'_>) {
    start(bench, APM);
    // QEMU lets a packet overflow only if that is let out.
    set16(bench, reg::IMR, RXOVW);
    let mut seen = 0;
    for number in 0..6u16 {
        send(bench, number % 4, &frame(MAC, 1500));
        seen = events(bench);
        let want = if number < 5 { ROK | TOK } else { RXOVW | TOK };
        bench.check(format!("ISR, {number}"), seen, want);
    }
    bench.check_bits("the last one overflows", seen, RXOVW, RXOVW);
    let mpc = get32(bench, reg::MPC);
    bench.check("MPC", mpc, 1u32);
    set32(bench, reg::MPC, 0);
    let mpc = get32(bench, reg::MPC);
    bench.check("MPC is cleared by a write", mpc, 0u32);
    let cbr = get16(bench, reg::CBR);
    bench.check("CBR stays", cbr, 5u16 * 1508);
    set16(bench, reg::CAPR, 1508 - 16);
    send(bench, 2, &frame(MAC, 1000));
    let isr = events(bench);
    bench.check("with room it goes on", isr, ROK | TOK);
}

pub(super) fn rcr_meanwhile(bench: &mut Bench<'_>) {
    start(bench, APM);
    send(bench, 0, &frame(MAC, 100));
    set16(bench, reg::CAPR, 108 - 16);
    send(bench, 1, &frame(MAC, 200));
    set32(bench, reg::RCR, RCR | APM | AB);
    let cr = get8(bench, reg::CR);
    bench.check_bits("the packet is still there", cr, BUFE, 0u8);
    let pointers = [get16(bench, reg::CAPR), get16(bench, reg::CBR)];
    bench.check("CAPR", pointers[0], 108u16 - 16);
    bench.check("CBR", pointers[1], 108u16 + 208);
}

pub(super) fn capr(bench: &mut Bench<'_>) {
    start(bench, APM);
    for value in [0u16, 0x1000, 0x1ff0, 0x3000, 0xffff] {
        set16(bench, reg::CAPR, value);
        let got = get16(bench, reg::CAPR);
        bench.note(format!("{value:#x}"), got);
    }
}
