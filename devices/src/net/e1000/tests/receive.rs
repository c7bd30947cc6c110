//! The receiver.

use super::super::spec::{rxcsum, stat};
use super::*;
use devices_core::rig::{scenario, us};

#[test]
fn frames_wait_for_room() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::IMS, Cause::RXT0.bits());
        for number in 0..5 {
            card.arrives(&frame(MAC, 100 + number));
        }
        assert_eq!(card.net.left(), 5, "the receiver is off");
        card.start_rx(3, 0);
        assert_eq!((card.net.left(), card.read(reg::RDH)), (2, 3));
        for number in 0..3 {
            assert_eq!(card.buffer(number, 100 + number as usize), frame(MAC, 100 + number as usize));
            let (len, _, status, _) = card.received(number);
            assert_eq!((len, status), (100 + number as u16, rxd::DD | rxd::EOP | rxd::IXSM));
        }
        assert!(card.irq());
        card.causes();
        assert!(!card.irq());
        card.write(reg::RDT, 6);
        assert_eq!((card.net.left(), card.read(reg::RDH)), (0, 5));
        assert!(card.irq());
        // Around the end of the ring, one at a time.
        for turn in 0..20u32 {
            card.write(reg::RDT, (6 + turn) % RING);
            card.arrives(&frame(MAC, 80 + turn as usize));
            let at = (5 + turn) % RING;
            assert_eq!(card.buffer(at, 80 + turn as usize), frame(MAC, 80 + turn as usize));
        }
    });
}

#[test]
fn short_frames_are_filled_up_and_the_check_sequence_has_room() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(4, 0);
        card.arrives(&frame(MAC, 30));
        assert_eq!(card.received(0).0, 60);
        assert_eq!(card.buffer(0, 60)[30..], [0; 30]);
        card.write(reg::RCTL, rctl::EN);
        card.arrives(&frame(MAC, 100));
        assert_eq!(card.received(1).0, 104);
    });
}

#[test]
fn a_frame_with_a_tag_is_no_long_one() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(RING - 1, 0);
        card.arrives(&frame(MAC, 1518));
        assert_eq!((card.received(0).0, card.read(stat::ROC)), (1518, 0));
    });
}

#[test]
fn long_frames_take_several_buffers() {
    scenario(|rig| {
        let mut card = card(rig);
        let long = frame(MAC, 5000);
        card.start_rx(7, 0);
        card.arrives(&long);
        assert_eq!((card.read(reg::RDH), card.read(stat::ROC)), (0, 1), "too long, and dropped");
        card.arrives(&frame(MAC, 1519));
        assert_eq!((card.read(reg::RDH), card.read(stat::ROC)), (0, 1), "longer than one with a VLAN tag");
        card.write(reg::RCTL, rctl::EN | rctl::SECRC | rctl::LPE);
        card.arrives(&long);
        assert_eq!(card.read(reg::RDH), 3);
        let lens: Vec<_> = (0..3).map(|n| (card.received(n).0, card.received(n).2 & 3)).collect();
        assert_eq!(lens, [(2048, 1), (2048, 1), (904, 3)]);
        assert_eq!(card.rig.peek(BUFFERS, 5000), long);
        // Buffers of 256 bytes: there are not enough.
        card.write(reg::RCTL, rctl::EN | rctl::SECRC | rctl::LPE | 3 << rctl::BSIZE_SHIFT);
        card.causes();
        card.arrives(&long);
        assert_eq!(card.causes() & Cause::RXO, Cause::RXO);
        assert_eq!((card.read(stat::RNBC), card.read(stat::MPC)), (1, 1));
        // And of 16384.
        card.write(reg::RCTL, rctl::EN | rctl::SECRC | rctl::LPE | rctl::BSEX | 1 << rctl::BSIZE_SHIFT);
        card.arrives(&long);
        assert_eq!((card.received(3).0, card.received(3).2 & 3), (5000, 3));
    });
}

#[test]
fn a_descriptor_without_a_buffer_is_skipped() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(0, 0);
        card.rx_descriptor(0, 0);
        card.write(reg::RDT, 4);
        card.arrives(&frame(MAC, 100));
        assert_eq!((card.received(0).0, card.received(0).2), (0, rxd::DD));
        assert_eq!((card.received(1).0, card.received(1).2 & 3), (100, 3));
    });
}

#[test]
fn only_what_is_wanted_comes_in() {
    scenario(|rig| {
        let mut card = card(rig);
        let group = [1, 0, 0x5e, 0x7f, 0xff, 0xfa];
        let other = [2, 3, 4, 5, 6, 7];
        card.start_rx(RING - 1, 0);
        let comes = |card: &mut Card<'_>, to: [u8; 6], control: u32| {
            card.write(reg::RCTL, rctl::EN | control);
            let before = card.read(reg::RDH);
            card.write(reg::RDT, (before + RING - 1) % RING);
            card.arrives(&frame(to, 64));
            card.read(reg::RDH) != before
        };
        assert!(comes(&mut card, MAC, 0));
        assert!(!comes(&mut card, BROADCAST, 0) && comes(&mut card, BROADCAST, rctl::BAM));
        assert!(!comes(&mut card, group, 0) && comes(&mut card, group, rctl::MPE));
        assert!(!comes(&mut card, other, 0) && comes(&mut card, other, rctl::UPE));
        // 12 bits of the last two bytes, from bit 4, 3, 2 or 0 on.
        for (which, shift) in [(0, 4), (1, 3), (2, 2), (3, 0)] {
            let hash = (0xfaff_u32 >> shift) & 0xfff;
            let at = reg::MTA + (hash >> 5) * 4;
            card.write(at, 1 << (hash & 31));
            assert!(comes(&mut card, group, which << rctl::MO_SHIFT), "{which}");
            let single = [2, 0, 0x5e, 0x7f, 0xff, 0xfa];
            assert!(!comes(&mut card, single, which << rctl::MO_SHIFT), "the table is of groups");
            card.write(at, 0);
            assert!(!comes(&mut card, group, which << rctl::MO_SHIFT));
        }
        // A second station.
        card.write(reg::RA + 8, 0x0504_0302);
        card.write(reg::RA + 12, 0x0000_0706);
        assert!(!comes(&mut card, other, 0));
        card.write(reg::RA + 12, 0x8000_0706);
        assert!(comes(&mut card, other, 0));
        let filter = card.slot.lock().rx_filter();
        assert_eq!((filter.main_mac, filter.unicast_table), (MAC, vec![other]));
    });
}

#[test]
fn tags_are_filtered_and_taken_off() {
    scenario(|rig| {
        let mut card = card(rig);
        let plain = frame(MAC, 100);
        let tagged = [&plain[..12], &[0x81, 0, 0x61, 0x23], &plain[12..]].concat();
        card.start_rx(RING - 1, rctl::VFE);
        card.arrives(&tagged);
        assert_eq!(card.read(reg::RDH), 0, "its VLAN is not in the table");
        card.write(reg::VFTA + (0x123 >> 5) * 4, 1 << (0x123 & 31));
        assert_eq!(card.slot.lock().rx_filter().vlan_table, [0x123]);
        card.arrives(&tagged);
        assert_eq!(card.buffer(0, 104), tagged);
        card.write(reg::CTRL, ctrl::INITIAL | ctrl::VME);
        card.arrives(&tagged);
        assert_eq!(card.buffer(1, 100), plain);
        let (len, _, status, tag) = card.received(1);
        assert_eq!((len, status & rxd::VP, tag), (100, rxd::VP, 0x6123));
        card.arrives(&plain);
        assert_eq!((card.received(2).2 & rxd::VP, card.received(2).3), (0, 0));
        card.write(reg::RCTL, rctl::EN | rctl::VFE | rctl::CFIEN | rctl::CFI);
        card.arrives(&tagged);
        assert_eq!(card.read(reg::RDH), 3, "another form indicator");
    });
}

#[test]
fn checksums_are_looked_at() {
    scenario(|rig| {
        let mut card = card(rig);
        let mut packet = [&MAC[..], &[2; 6], &[8, 0, 0x45, 0, 0, 32, 0, 0, 0x40, 0, 64, 17]].concat();
        // UDP of 4 bytes; both checksums by hand.
        packet.extend([0x22, 0xbd, 10, 0, 2, 2, 10, 0, 2, 15, 0, 7, 0, 9, 0, 12, 0xe3, 0xaf, 1, 2, 3, 4]);
        packet.resize(60, 0);
        let mut wrong = packet.clone();
        wrong[45] ^= 1;
        card.start_rx(RING - 1, 0);
        card.arrives(&packet);
        assert_eq!(card.received(0).2 & (rxd::IXSM | rxd::IPCS | rxd::TCPCS), rxd::IXSM);
        card.write(reg::RXCSUM, rxcsum::IPOFLD | rxcsum::TUOFLD | 14);
        card.arrives(&packet);
        card.arrives(&wrong);
        let both = rxd::IPCS | rxd::TCPCS;
        let looked = rxd::IXSM | both | rxd::TCPE | rxd::IPE;
        assert_eq!([1, 2].map(|n| card.received(n).2 & looked), [both, both | rxd::TCPE]);
        // Whatever is in the frame from byte 14 on.
        assert_eq!(card.received(2).1, !crate::net::offload::fold(crate::net::offload::sum(&wrong[14..])));
        card.arrives(&frame(MAC, 60));
        assert_eq!(card.received(3).2 & (rxd::IXSM | both), 0, "neither IP nor UDP");
    });
}

#[test]
fn few_descriptors_are_told() {
    scenario(|rig| {
        let mut card = card(rig);
        card.start_rx(6, 1 << rctl::RDMTS_SHIFT);
        for (left, few) in [(5, false), (4, false), (3, false), (2, true)] {
            card.arrives(&frame(MAC, 64));
            assert_eq!(card.causes().contains(Cause::RXDMT0), few, "{left}");
        }
    });
}

#[test]
fn what_is_sent_comes_back_in_loopback() {
    for by_phy in [false, true] {
        scenario(|rig| {
            let mut card = card(rig);
            card.start_tx();
            card.start_rx(2, if by_phy { 0 } else { rctl::LBM });
            if by_phy {
                card.set_phy(0, 0x4140);
            }
            card.net.give(&frame(MAC, 99));
            for number in 0..3 {
                card.send(&frame(MAC, 70 + number), 0);
            }
            assert_eq!((card.buffer(0, 70), card.buffer(1, 71)), (frame(MAC, 70), frame(MAC, 71)));
            assert_eq!((card.net.sent(), card.net.left()), (None, 1));
            assert_eq!(card.read(stat::MPC), 1, "there was no room for the third");
            assert!(card.causes().contains(Cause::RXO | Cause::RXT0 | Cause::TXDW));
        });
    }
}

#[test]
fn a_flood_has_its_turns() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::RDBAL, RX_RING as u32);
        card.write(reg::RDLEN, 256 * 16);
        card.write(reg::RDT, 255);
        for number in 0..256 {
            card.rx_descriptor(number, DATA);
        }
        for _ in 0..200 {
            card.net.give(&frame(MAC, 64));
        }
        card.write(reg::RCTL, rctl::EN);
        let left = card.net.left();
        assert!((1..200).contains(&left), "{left}");
        card.rig.advance(us(500));
        assert_eq!((card.net.left(), card.read(reg::RDH)), (0, 200));
    });
}
