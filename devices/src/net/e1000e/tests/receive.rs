//! The receiver: formats of descriptors, splitting, tags, checksums, queues by hash.

use super::super::spec::{mrqc, stat};
use super::*;
use devices_core::rig::scenario;

/// VLAN 0x123, and the frame in it.
fn tagged(frame: &[u8]) -> Vec<u8> {
    [&frame[..12], &[0x81, 0, 0x21, 0x23], &frame[12..]].concat()
}

#[test]
fn legacy_descriptors() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::IMS, Cause::RXT0.bits());
        card.arrives(&frame(MAC, 100));
        assert_eq!(card.net.left(), 1, "the receiver is off");
        card.start_rx(2, 0);
        assert_eq!((card.net.left(), card.read(reg::RDH)), (0, 1));
        assert!(card.irq());
        assert_eq!(card.buffer(0, 0, 100), frame(MAC, 100));
        let d = card.rig.peek(RX_RING + 8, 8);
        assert_eq!((d[0], d[1], d[4], d[5]), (100, 0, 3, 0));
        let mut wrong = tcp(7, 100);
        wrong[60] ^= 1;
        card.arrives(&wrong);
        let d = card.rig.peek(RX_RING + 24, 8);
        assert_eq!((d[4], d[5]), (0x63, 0x20), "IP is right, TCP is not");
        card.arrives(&frame(MAC, 100));
        assert_eq!(card.net.left(), 1, "it waits for room");
    });
}

#[test]
fn extended_descriptors() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::RFCTL, rfctl::EXTEN);
        let control = card.read(reg::CTRL);
        card.write(reg::CTRL, control | ctrl::VME);
        card.start_rx(RING - 1, rctl::LPE);
        let packet = tcp(7, 100);
        card.arrives(&tagged(&packet));
        let (mrq, second, status, len, tag) = card.extended(0, 0);
        assert_eq!((mrq, second as u16, len, tag), (0, 0x1234, 154, 0x2123), "with IP's identification");
        let looked = rxd::IPCS | rxd::TCPCS | rxd::IPIDV | rxd::ACK | 2 << rxd::TYPE_SHIFT;
        assert_eq!(status, rxd::DD | rxd::EOP | rxd::VP | looked);
        assert_eq!(card.buffer(0, 0, 154), packet);
        // A tag that is left on hides nothing.
        card.write(reg::CTRL, control);
        card.arrives(&tagged(&packet));
        let (_, _, status, len, _) = card.extended(0, 1);
        assert_eq!((status, len), (rxd::DD | rxd::EOP | looked, 158));
        let long = frame(MAC, 5000);
        card.arrives(&long);
        let parts: Vec<_> = (2..5).map(|n| (card.extended(0, n).3, card.extended(0, n).2 & 3)).collect();
        assert_eq!(parts, [(2048, 1), (2048, 1), (904, 3)]);
        assert_eq!(card.rig.peek(BUFFERS + 2 * 2048, 5000), long);
        // Buffers of a flexible size.
        card.write(reg::RCTL, rctl::EN | rctl::LPE | rctl::SECRC | 3 << rctl::FLXBUF_SHIFT);
        card.arrives(&frame(MAC, 3000));
        assert_eq!(card.extended(0, 5).3, 3000);
    });
}

#[test]
fn a_descriptor_without_a_buffer_takes_nothing() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::RFCTL, rfctl::EXTEN);
        card.start_rx(0, 0);
        card.rx_descriptor(0, 0, &[0, 0]);
        card.write(reg::RDT, 4);
        card.arrives(&frame(MAC, 100));
        assert_eq!((card.extended(0, 0).3, card.extended(0, 0).2), (0, rxd::DD));
        assert_eq!((card.extended(0, 1).3, card.extended(0, 1).2 & 3), (100, 3));
        assert_eq!(card.buffer(0, 1, 100), frame(MAC, 100));
    });
}

/// Buffers of split descriptors: 256 bytes, then twice 1 KiB.
fn start_split(card: &mut Card<'_>) {
    card.write(reg::RFCTL, rfctl::EXTEN);
    card.write(reg::PSRCTL, 0x0001_0102);
    card.write(reg::RDLEN, RING * 32);
    for number in 0..RING {
        let at = BUFFERS + u64::from(number) * 0x1000;
        card.rx_descriptor(0, number, &[at, at + 0x400, at + 0x800, !0]);
    }
    card.write(reg::RDBAL, RX_RING as u32);
    card.write(reg::RDT, 2 * RING - 2);
    card.write(reg::RCTL, rctl::EN | rctl::SECRC | rctl::LPE | rctl::DTYP_SPLIT);
}

/// A split descriptor that was written back: status, header, lengths.
fn split(card: &Card<'_>, number: u32) -> (u32, u16, [u16; 4]) {
    let d = card.rig.peek(RX_RING + u64::from(number) * 32, 32);
    let word = |at: usize| u16::from_le_bytes([d[at], d[at + 1]]);
    let status = u32::from(word(8)) | u32::from(word(10)) << 16;
    (status, word(16), [word(12), word(18), word(20), word(22)])
}

#[test]
fn packets_are_split() {
    scenario(|rig| {
        let mut card = card(rig);
        start_split(&mut card);
        let packet = tcp(7, 1500);
        card.arrives(&packet);
        assert_eq!(card.read(reg::RDH), 2, "twice as long");
        let (status, header, lens) = split(&card, 0);
        assert_eq!((status & 3, header, lens), (3, rxd::HDRSP | 54, [54, 1024, 476, 0]));
        assert_eq!(card.rig.peek(BUFFERS, 54), packet[..54]);
        assert_eq!(card.rig.peek(BUFFERS + 0x400, 1024), packet[54..1078]);
        assert_eq!(card.rig.peek(BUFFERS + 0x800, 476), packet[1078..]);
        // Over two descriptors the header's buffer of the second stays empty.
        card.arrives(&tcp(7, 3000));
        assert_eq!(split(&card, 1).2, [54, 1024, 1024, 0]);
        assert_eq!((split(&card, 2).0 & 3, split(&card, 2).2), (3, [0, 952, 0, 0]));
        // What has no header fills one buffer after the other.
        card.arrives(&frame(MAC, 500));
        let (_, header, lens) = split(&card, 3);
        assert_eq!((header, lens), (0, [256, 244, 0, 0]));
    });
}

#[test]
fn a_frame_without_room_is_lost() {
    scenario(|rig| {
        let mut card = card(rig);
        start_split(&mut card);
        card.write(reg::RDT, 2);
        card.arrives(&tcp(7, 3000));
        assert_eq!(card.causes() & Cause::RXO, Cause::RXO);
        assert_eq!((card.read(reg::RDH), card.read(stat::MPC), card.read(stat::MPC)), (0, 1, 0));
        card.write(reg::PSRCTL, 0);
        card.arrives(&frame(MAC, 64));
        assert_eq!((card.read(reg::RDH), card.read(stat::RNBC)), (0, 2), "buffers of no bytes");
    });
}

/// The key of Microsoft's "Verifying the RSS Hash Calculation".
const KEY: [u32; 10] = [
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

#[test]
fn the_hash_chooses_the_queue() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::RFCTL, rfctl::EXTEN);
        card.write(reg::RXCSUM, rxcsum::PCSD);
        card.write(reg::MRQC, mrqc::RSS | mrqc::TCP_V4);
        for (word, number) in KEY.into_iter().zip(0..) {
            card.write(reg::RSSRK + 4 * number, word);
        }
        for word in 0..32 {
            card.write(reg::RETA + 4 * word, 0x8000_8000);
        }
        card.start_ring(1, RING - 1);
        card.start_rx(RING - 1, 0);
        let (mut seen, mut counts) = ([false; 2], [0u32; 2]);
        for port in 0..5 {
            card.arrives(&tcp(port, 10));
            let heads = [card.read(reg::RDH), card.read(reg::RDBAL1 + 0x10)];
            let queue = u32::from(heads[1] > counts[1]);
            let (mrq, hash, ..) = card.extended(queue, counts[queue as usize]);
            assert_eq!(mrq, 1 | queue << 8);
            assert_eq!(hash & 1, queue, "every other entry is of queue 1");
            seen[queue as usize] = true;
            counts = heads;
        }
        assert_eq!((counts.iter().sum::<u32>(), seen), (5, [true; 2]));
        card.arrives(&frame(MAC, 64));
        assert_eq!(card.extended(0, counts[0]).0, 0, "without a hash it is queue 0");
        // Without PCSD there is no hash.
        card.write(reg::RXCSUM, 0);
        card.arrives(&tcp(1, 10));
        assert_eq!(card.read(reg::RDH), counts[0] + 2);
    });
}

#[test]
fn loopback_comes_back() {
    scenario(|rig| {
        let mut card = card(rig);
        card.set_phy(0, 0x4140);
        card.start_tx(0);
        card.start_rx(4, 0);
        card.net.give(&frame(MAC, 70));
        card.send(0, &frame(MAC, 80), 0);
        assert_eq!((card.buffer(0, 0, 80), card.net.sent()), (frame(MAC, 80), None));
        assert_eq!(card.net.left(), 1, "nothing comes from outside");
    });
}

#[test]
fn vlans_are_filtered() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(RING - 1, rctl::VFE);
        card.arrives(&tagged(&frame(MAC, 100)));
        assert_eq!(card.read(reg::RDH), 0);
        card.write(reg::VFTA + (0x123 >> 5) * 4, 1 << (0x123 & 31));
        card.arrives(&tagged(&frame(MAC, 100)));
        card.arrives(&frame(BROADCAST, 100));
        assert_eq!(card.read(reg::RDH), 2);
        let filter = card.slot.lock().rx_filter();
        assert_eq!((filter.main_mac, filter.vlan_table), (MAC, vec![0x123]));
    });
}
