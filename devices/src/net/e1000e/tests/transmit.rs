//! The transmitter: two queues, offloads, a backend that is full.

use super::super::spec::{TARC_ENABLE, ivar, stat};
use super::*;
use crate::net::offload::{Checked, check};
use devices_core::rig::scenario;
use devices_core::{Device, Wake};

fn context(card: &Card<'_>, queue: u32, number: u32, cut: Option<(u32, u32)>) {
    let (payload, segment, bits) = match cut {
        Some((payload, segment)) => (payload, segment, txd::TSE),
        None => (0, 0, 0),
    };
    let setup = 14u64 | 24 << 8 | 33 << 16 | 34 << 32 | 50 << 40;
    let command = payload | txd::DEXT | txd::TCP | txd::IP | bits;
    card.descriptor(queue, number, setup, command, 54 << 8 | segment << 16);
}

fn data(card: &Card<'_>, queue: u32, number: u32, len: usize, bits: u32) {
    let command = len as u32 | txd::DEXT | txd::DATA | txd::EOP | txd::RS | bits;
    card.descriptor(queue, number, DATA, command, u32::from(txd::IXSM | txd::TXSM) << 8);
}

/// A packet as drivers leave it to the card: TCP's checksum is the pseudo header's, with or without the length.
fn unfinished(payload: usize, with_length: bool) -> Vec<u8> {
    use crate::net::offload::{fold, sum};
    let mut packet = tcp(1000, payload);
    let length = if with_length { 20 + payload as u64 } else { 0 };
    let pseudo = fold(sum(&[10, 0, 2, 15, 10, 0, 2, 2]) + 6 + length);
    packet[50..52].copy_from_slice(&pseudo.to_be_bytes());
    packet[24..26].fill(0);
    packet
}

#[test]
fn both_queues_send_with_contexts_of_their_own() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx(0);
        card.start_tx(1);
        let packet = unfinished(2500, false);
        card.rig.poke(DATA, &packet);
        context(&card, 0, 0, Some((2500, 1000)));
        data(&card, 0, 1, packet.len(), txd::TSE);
        context(&card, 1, 0, Some((2500, 2000)));
        data(&card, 1, 1, packet.len(), txd::TSE);
        card.write(reg::TDT, 2);
        card.write(reg::TDBAL1 + 0x18, 2);
        let mut lens = Vec::new();
        while let Some(segment) = card.net.sent() {
            assert_eq!(check(&segment), Checked { ip: Some(true), transport: Some(true) });
            lens.push(segment.len() - 54);
        }
        assert_eq!(lens, [1000, 1000, 500, 2000, 500]);
        assert_eq!((card.read(reg::TDH), card.read(reg::TDBAL1 + 0x10), card.read(stat::TSCTC)), (2, 2, 2));
        assert_eq!(card.causes(), Cause::TXDW | Cause::TXQE);
        let whole = unfinished(77, true);
        card.rig.poke(DATA, &whole);
        context(&card, 1, 2, None);
        data(&card, 1, 3, whole.len(), 0);
        card.write(reg::TDBAL1 + 0x18, 4);
        assert_eq!(card.net.sent(), Some(tcp(1000, 77)));
    });
}

#[test]
fn a_queue_that_is_off_waits() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx(1);
        card.write(reg::TARC1, 3);
        card.send(1, &frame([2; 6], 100), 0);
        assert_eq!(card.net.sent(), None);
        card.write(reg::TARC1, 3 | TARC_ENABLE);
        assert_eq!(card.net.sent(), Some(frame([2; 6], 100)));
    });
}

#[test]
fn a_full_backend_holds_each_queue_up() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx(0);
        card.start_tx(1);
        card.net.set_full(true);
        card.send(0, &frame([2; 6], 100), 0);
        card.send(1, &frame([4; 6], 200), 0);
        assert_eq!((card.read(reg::TDH), card.read(reg::TDBAL1 + 0x10)), (0, 0));
        card.rig.poke(DATA, &[0; 200]);
        card.net.set_full(false);
        card.waker.wake(Wake::Backend(0));
        assert_eq!([card.net.sent(), card.net.sent()], [Some(frame([2; 6], 100)), Some(frame([4; 6], 200))]);
        assert_eq!((card.read(reg::TDH), card.read(reg::TDBAL1 + 0x10)), (1, 1));
    });
}

#[test]
fn a_new_ring_forgets_what_was_under_way() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx(1);
        card.net.set_full(true);
        card.send(1, &frame([2; 6], 100), 0);
        card.start_tx(1);
        card.net.set_full(false);
        card.send(1, &frame([4; 6], 200), 0);
        assert_eq!([card.net.sent(), card.net.sent()], [Some(frame([4; 6], 200)), None]);
    });
}

#[test]
fn every_write_back_is_told_when_ivar_says_so() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_tx(0);
        card.rig.poke(DATA, &frame([2; 6], 100));
        card.descriptor(0, 0, DATA, 100 | txd::EOP, 0);
        card.write(reg::TDT, 1);
        assert_eq!(card.causes(), Cause::TXQE, "nobody asked");
        card.write(reg::IVAR, ivar::EVERY);
        card.descriptor(0, 1, DATA, 100 | txd::EOP, 0);
        card.write(reg::TDT, 2);
        assert_eq!(card.causes(), Cause::TXQE | Cause::TXDW);
        assert_eq!(card.rig.peek(TX_RING + 12, 1)[0] & 1, 0);
        assert_eq!(card.rig.peek(TX_RING + 28, 1)[0] & 1, 1);
    });
}

#[test]
fn a_quiet_card_moves_nothing() {
    let mut rig = Rig::new();
    let mut card = card(&mut rig);
    card.start_tx(0);
    assert!(card.slot.lock().quiesce());
    card.send(0, &frame([2; 6], 100), 0);
    assert_eq!(card.net.sent(), None);
    card.slot.lock().resume();
    assert_eq!(card.net.sent(), Some(frame([2; 6], 100)));
}
