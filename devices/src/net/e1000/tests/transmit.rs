//! The transmitter: frames byte by byte.

use super::super::spec::stat;
use super::*;
use crate::net::offload::{Checked, check, fold, sum};
use devices_core::Device;
use devices_core::rig::{scenario, us};

/// A TCP packet over IPv4 with so much payload: its IP checksum is zero, TCP's is the pseudo header's without a length,
/// as drivers leave them to the card.
fn tcp(payload: usize) -> Vec<u8> {
    let mut packet = [&[2; 6][..], &MAC, &[8, 0]].concat();
    let total = (40 + payload) as u16;
    packet.extend([0x45, 0]);
    packet.extend(total.to_be_bytes());
    packet.extend([0x12, 0x34, 0x40, 0, 64, 6, 0, 0, 10, 0, 2, 15, 10, 0, 2, 2]);
    packet.extend([0x30, 0x39, 0, 80, 0x11, 0x22, 0x33, 0x44, 1, 2, 3, 4, 0x50, 0x19, 0xff, 0xff]);
    let pseudo = fold(sum(&[10, 0, 2, 15, 10, 0, 2, 2]) + 6);
    packet.extend(pseudo.to_be_bytes());
    packet.extend([0, 0]);
    packet.extend((0..payload).map(|at| (at % 253) as u8));
    packet
}

/// A context for such packets: (payload, segment size), zeros for none.
fn context(card: &Card<'_>, number: u32, cut: Option<(u32, u32)>) {
    let (payload, segment, bits) = match cut {
        Some((payload, segment)) => (payload, segment, txd::TSE),
        None => (0, 0, 0),
    };
    let setup = 14u64 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40;
    let command = payload | txd::DEXT | txd::TCP | txd::IP | txd::RS | bits;
    card.descriptor(number, setup, command, 54 << 8 | segment << 16);
}

/// A data descriptor.
fn data(card: &Card<'_>, number: u32, at: u64, len: usize, bits: u32) {
    let command = len as u32 | txd::DEXT | txd::DATA | bits;
    card.descriptor(number, at, command, u32::from(txd::IXSM | txd::TXSM) << 8);
}

fn done(card: &Card<'_>, number: u32) -> bool {
    card.rig.peek(TX_RING + u64::from(number) * 16 + 12, 1)[0] & 1 != 0
}

#[test]
fn a_frame_of_several_descriptors_is_one() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx();
        let whole = frame([2; 6], 300);
        card.rig.poke(DATA, &whole);
        for (number, at, len) in [(0, 0, 10), (1, 10, 100), (2, 110, 0), (3, 110, 190)] {
            let bits = if number == 3 { txd::EOP | txd::RS } else { 0 };
            card.descriptor(number, DATA + at, len | bits, 0);
        }
        card.write(reg::TDT, 3);
        assert_eq!(card.net.sent(), None);
        assert_eq!(card.read(reg::TDH), 3);
        card.write(reg::TDT, 4);
        assert_eq!(card.net.sent(), Some(whole));
        assert_eq!((0..4).map(|n| done(&card, n)).collect::<Vec<_>>(), [false, false, false, true]);
        assert_eq!(card.causes(), Cause::TXDW | Cause::TXQE);
        // Around the end of the ring.
        for turn in 0..20 {
            let next = frame([4; 6], 60 + turn);
            card.send(&next, 0);
            assert_eq!(card.net.sent(), Some(next));
        }
        assert_eq!(card.read(reg::TDH), 24 % RING);
    });
}

#[test]
fn short_frames_are_filled_up() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx();
        card.send(&[0xee; 200], 0);
        card.net.sent();
        card.send(&frame([2; 6], 20), 0);
        let sent = card.net.sent().unwrap();
        assert_eq!(sent.len(), 60);
        assert_eq!(sent[20..], [0; 40], "nothing of an older frame");
        card.write(reg::TCTL, tctl::EN);
        card.send(&frame([2; 6], 20), 0);
        assert_eq!(card.net.sent().unwrap().len(), 20);
    });
}

#[test]
fn checksums_are_inserted() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx();
        let packet = tcp(77);
        card.rig.poke(DATA, &packet);
        // The pseudo header's sum has the length, where nothing is cut.
        let length = fold(u64::from(u16::from_be_bytes([packet[50], packet[51]])) + 97);
        card.rig.poke(DATA + 50, &length.to_be_bytes());
        context(&card, 0, None);
        data(&card, 1, DATA, 54, 0);
        data(&card, 2, DATA + 54, 77, txd::EOP | txd::RS);
        card.write(reg::TDT, 3);
        let sent = card.net.sent().unwrap();
        assert_eq!(check(&sent), Checked { ip: Some(true), transport: Some(true) });
        let but = |frame: &[u8]| [&frame[..24], &frame[26..50], &frame[52..]].concat();
        assert_eq!(but(&sent), but(&packet), "nothing else was touched");
        assert!(done(&card, 0) && done(&card, 2) && !done(&card, 1));

        // Legacy: from a byte to the end.
        card.rig.poke(DATA, &[1; 64]);
        card.descriptor(3, DATA, 64 | 20 << 16 | txd::EOP | txd::IC, 30 << 8);
        card.write(reg::TDT, 4);
        let sent = card.net.sent().unwrap();
        assert_eq!(sent[20..22], (!fold(17 * 0x0101)).to_be_bytes());
    });
}

#[test]
fn a_packet_is_cut_into_segments() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx();
        let packet = tcp(2500);
        card.rig.poke(DATA, &packet);
        context(&card, 0, Some((2500, 1000)));
        data(&card, 1, DATA, 54, txd::TSE);
        data(&card, 2, DATA + 54, 1500, txd::TSE);
        data(&card, 3, DATA + 1554, 1000, txd::TSE | txd::EOP | txd::RS);
        card.write(reg::TDT, 4);
        for (number, len) in [(0u16, 1000usize), (1, 1000), (2, 500)] {
            let sent = card.net.sent().unwrap();
            let from = usize::from(number) * 1000;
            assert_eq!(sent[54..], packet[54 + from..][..len]);
            assert_eq!(sent[16..18], ((40 + len) as u16).to_be_bytes());
            assert_eq!(sent[18..20], (0x1234 + number).to_be_bytes());
            assert_eq!(sent[38..42], (0x1122_3344 + from as u32).to_be_bytes());
            assert_eq!(sent[47], if number == 2 { 0x19 } else { 0x10 });
            assert_eq!(check(&sent), Checked { ip: Some(true), transport: Some(true) });
        }
        assert_eq!(card.net.sent(), None);
        let counted = [stat::GPTC, stat::TSCTC, stat::GOTCL].map(|at| card.read(at));
        assert_eq!(counted, [3, 1, 2500 + 3 * 58]);

        // As long as its segments exactly: no empty one follows.
        context(&card, 4, Some((2000, 1000)));
        data(&card, 5, DATA, 2054, txd::TSE | txd::EOP | txd::RS);
        card.write(reg::TDT, 6);
        let lens: Vec<usize> = std::iter::from_fn(|| card.net.sent()).map(|sent| sent.len()).collect();
        assert_eq!(lens, [1054, 1054]);
    });
}

#[test]
fn a_tag_is_put_on() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx();
        let plain = frame([2; 6], 100);
        card.rig.poke(DATA, &plain);
        for (number, control) in [(0, 0), (1, ctrl::VME)] {
            card.write(reg::CTRL, ctrl::INITIAL | control);
            card.descriptor(number, DATA, 100 | txd::EOP | txd::RS | txd::VLE, 0x2123 << 16);
            card.write(reg::TDT, number + 1);
        }
        assert_eq!(card.net.sent().as_ref(), Some(&plain), "not in VLAN mode");
        let tagged = [&plain[..12], &[0x81, 0, 0x21, 0x23], &plain[12..]].concat();
        assert_eq!(card.net.sent(), Some(tagged));
    });
}

#[test]
fn a_full_backend_stops_the_ring_and_loses_nothing() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx();
        card.write(reg::IMS, Cause::TXDW.bits());
        let packet = tcp(3000);
        card.rig.poke(DATA, &packet);
        card.net.set_full(true);
        context(&card, 0, Some((3000, 1000)));
        data(&card, 1, DATA, 3054, txd::TSE | txd::EOP | txd::RS);
        card.descriptor(2, DATA, 100 | txd::EOP | txd::RS, 0);
        card.write(reg::TDT, 3);
        assert_eq!((card.read(reg::TDH), card.net.sent()), (1, None));
        card.waker.wake(devices_core::Wake::Backend(0));
        assert_eq!(card.read(reg::TDH), 1);
        card.net.set_full(false);
        card.waker.wake(devices_core::Wake::Backend(0));
        let lens: Vec<usize> = std::iter::from_fn(|| card.net.sent()).map(|sent| sent.len()).collect();
        assert_eq!(lens, [1054, 1054, 1054, 100]);
        assert_eq!(card.read(reg::TDH), 3);
        assert!(card.irq());
        // A reset forgets what waits.
        card.net.set_full(true);
        card.send(&frame([2; 6], 70), 0);
        card.write(reg::CTRL, ctrl::RST);
        card.net.set_full(false);
        card.waker.wake(devices_core::Wake::Backend(0));
        assert_eq!(card.net.sent(), None);
    });
}

#[test]
fn nothing_leaves_without_bus_mastering() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx();
        card.rig.config_write(SLOT, 0, 4, Size::B2, 3);
        card.send(&frame([2; 6], 70), 0);
        assert_eq!((card.net.sent(), card.read(reg::TDH)), (None, 0));
        card.rig.config_write(SLOT, 0, 4, Size::B2, 7);
        assert_eq!(card.net.sent(), Some(frame([2; 6], 70)));
    });
}

#[test]
fn nothing_moves_while_the_guest_is_saved() {
    let mut rig = Rig::new();
    let mut card = card(&mut rig);
    card.start_tx();
    card.start_rx(4, 0);
    card.net.set_full(true);
    card.send(&frame([2; 6], 70), 0);
    assert!(card.slot.lock().quiesce());
    card.net.set_full(false);
    card.arrives(&frame(MAC, 70));
    assert_eq!((card.net.sent(), card.net.left()), (None, 1));
    card.slot.lock().resume();
    assert_eq!((card.net.sent(), card.net.left()), (Some(frame([2; 6], 70)), 0));
}

#[test]
fn a_long_ring_is_worked_off_in_turns() {
    scenario(|rig| {
        let mut card = card(rig);
        const MANY: u32 = 248;
        for number in 0..MANY {
            card.descriptor(number, DATA, 60 | txd::EOP, 0);
        }
        card.start_tx();
        card.write(reg::TDLEN, 256 * 16);
        card.write(reg::TDT, MANY);
        let first = std::iter::from_fn(|| card.net.sent()).count();
        assert!((1..MANY as usize).contains(&first), "{first} in one call");
        card.rig.advance(us(200));
        let rest = std::iter::from_fn(|| card.net.sent()).count();
        assert_eq!(first + rest, MANY as usize);
    });
}
