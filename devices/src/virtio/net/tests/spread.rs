//! RSS, and hashes that are reported.

use super::super::spec::{HASH_CONFIG, RSS_CONFIG, hash_report, hash_type};
use super::pairs::Several;
use super::*;

const PAIRS: u16 = 4;
const FEATURES: u64 =
    feature::MQ | feature::CTRL_VQ | feature::MRG_RXBUF | feature::RSS | feature::HASH_REPORT;
const HEADER_WITH_HASH: usize = 20;

/// The key and packets of Microsoft's "Verifying the RSS Hash Calculation".
const KEY: [u8; 40] = [
    0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67, 0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0,
    0xca, 0x2b, 0xcb, 0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30, 0xf2, 0x0c, 0x6a, 0x42,
    0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa,
];
const FROM_6: u128 = 0x3ffe_2501_0200_1fff_0000_0000_0000_0007;
const TO_6: u128 = 0x3ffe_2501_0200_0003_0000_0000_0000_0001;
const PORTS_OF_IT: [u8; 4] = [0x0a, 0xea, 0x06, 0xe6];

/// A packet over IPv4 of that protocol, a fragment or not.
fn v4(protocol: u8, flags: u16) -> Vec<u8> {
    let mut frame = [&MAC[..], &[9; 6], &[8, 0, 0x45, 0, 0, 40, 0, 1]].concat();
    frame.extend(flags.to_be_bytes());
    frame.extend([64, protocol, 0, 0, 66, 9, 149, 187, 161, 142, 100, 80]);
    frame.extend(PORTS_OF_IT);
    frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    frame
}

/// Likewise over IPv6, behind headers, with the protocol of the first.
fn v6(first: u8, headers: &[u8], addresses: [u128; 2]) -> Vec<u8> {
    let mut frame = [&MAC[..], &[9; 6], &[0x86, 0xdd, 0x60, 0, 0, 0, 0, 20 + headers.len() as u8]].concat();
    frame.extend([first, 64]);
    addresses.iter().for_each(|address| frame.extend(address.to_be_bytes()));
    frame.extend(headers);
    frame.extend(PORTS_OF_IT);
    frame.extend([0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
    frame
}

/// RSS_CONFIG.
fn config(types: u32, table: &[u16], unclassified: u16, pairs: u16, key: &[u8]) -> Vec<u8> {
    let words = |words: &[u16]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
    let head = words(&[(table.len() as u16).wrapping_sub(1), unclassified]);
    [&types.to_le_bytes()[..], &head, &words(table), &words(&[pairs]), &[key.len() as u8], key].concat()
}

/// HASH_CONFIG.
fn report(types: u32, key: &[u8]) -> Vec<u8> {
    [&types.to_le_bytes()[..], &[0; 8], &[key.len() as u8], key].concat()
}

fn started(rig: &mut Rig, features: u64) -> Several {
    Several::of(rig, ALL | FEATURES, features)
}

/// The hash of the header and its kind.
fn seen(filled: &[u8]) -> (u32, u16) {
    let word = |at: usize| u16::from_le_bytes([filled[at], filled[at + 1]]);
    assert_eq!(word(18), 0, "padding");
    (u32::from(word(12)) | u32::from(word(14)) << 16, word(16))
}

#[test]
fn hashes_are_reported() {
    // A home address, and a routing header of type 2: those are what is meant by the packet.
    let home = [&[43, 2, 1, 2, 0, 0, 0xc9, 16][..], &FROM_6.to_be_bytes()].concat();
    let route = [&[6, 2, 2, 1, 0, 0, 0, 0][..], &TO_6.to_be_bytes()].concat();
    let mobile = v6(60, &[home, route].concat(), [1, 2]);
    let straight = v6(6, &[], [FROM_6, TO_6]);
    let (four, six) = (hash_type::TCPV4 | hash_type::IPV4, hash_type::TCPV6 | hash_type::IPV6);
    let ex = hash_type::TCP_EX | hash_type::UDP_EX | hash_type::IP_EX;
    let cases = [
        (v4(6, 0), four, 0x51cc_c178, hash_report::TCPV4),
        (v4(6, 0), hash_type::IPV4, 0x323e_8fc2, hash_report::IPV4),
        (v4(6, 0x2000), four, 0x323e_8fc2, hash_report::IPV4),
        (v4(17, 0), hash_type::UDPV4, 0x51cc_c178, hash_report::UDPV4),
        (v4(17, 0), hash_type::TCPV4, 0, hash_report::NONE),
        (v4(6, 0), six | ex, 0, hash_report::NONE),
        (straight.clone(), six, 0x4020_7d3d, hash_report::TCPV6),
        (straight.clone(), hash_type::IPV6, 0x2cc1_8cd5, hash_report::IPV6),
        (straight, six | ex, 0x4020_7d3d, hash_report::TCPV6_EX),
        (mobile.clone(), ex, 0x4020_7d3d, hash_report::TCPV6_EX),
        (mobile, hash_type::IP_EX, 0x2cc1_8cd5, hash_report::IPV6_EX),
        (v6(17, &[], [FROM_6, TO_6]), hash_type::UDPV6, 0x4020_7d3d, hash_report::UDPV6),
        (v6(17, &[], [FROM_6, TO_6]), hash_type::UDP_EX, 0x4020_7d3d, hash_report::UDPV6_EX),
        (frame(MAC, 60), 0x1ff, 0, hash_report::NONE),
    ];
    scenario(|rig| {
        let mut card = started(rig, FEATURES & !feature::RSS);
        for (frame, types, hash, kind) in &cases {
            assert_eq!(card.command(rig, HASH_CONFIG, &report(*types, &KEY)), ack::OK);
            card.give(rig, 0);
            card.come(0, frame);
            let got = card.filled(rig, 0).unwrap();
            assert_eq!(seen(&got), (*hash, *kind), "{types:#x} {frame:02x?}");
            assert_eq!(got[HEADER_WITH_HASH..], frame[..]);
        }
        // No key and no kinds: there are no hashes.
        assert_eq!(card.command(rig, HASH_CONFIG, &report(0, &[])), ack::OK);
        card.give(rig, 0);
        card.come(0, &v4(6, 0));
        assert_eq!(seen(&card.filled(rig, 0).unwrap()), (0, hash_report::NONE));
    });
}

#[test]
fn frames_go_where_their_hashes_say() {
    scenario(|rig| {
        let mut card = started(rig, FEATURES);
        // The hashes are 0x51ccc178 and 0x323e8fc2: entries 0 and 2 of eight.
        let table = [3, 9, 2, 0, 0, 0, 0, 0];
        let types = hash_type::TCPV4 | hash_type::IPV4;
        assert_eq!(card.command(rig, RSS_CONFIG, &config(types, &table, 1, PAIRS, &KEY)), ack::OK);
        assert_eq!(card.backend.in_use(), PAIRS);
        (0..PAIRS).for_each(|pair| card.give(rig, pair));
        for (by, frame, to) in [(0, v4(6, 0), 3), (3, v4(1, 0), 2), (2, frame(MAC, 60), 1)] {
            card.come(by, &frame);
            let got = card.filled(rig, to).unwrap();
            assert_eq!(got[HEADER_WITH_HASH..], frame[..]);
            card.give(rig, to);
        }
        // Entries of pairs that are not in use are folded.
        assert_eq!(card.command(rig, RSS_CONFIG, &config(types, &table, 3, 2, &KEY)), ack::OK);
        card.come(0, &v4(6, 0));
        assert!(card.filled(rig, 1).is_some(), "3 of 2");
        card.give(rig, 1);
        card.come(1, &frame(MAC, 60));
        assert!(card.filled(rig, 1).is_some(), "3 of 2");
        // The number of pairs alone ends it.
        assert_eq!(card.set_pairs(rig, 2), ack::OK);
        card.come(0, &v4(6, 0));
        assert!(card.filled(rig, 0).is_some());
    });
}

#[test]
fn a_frame_waits_for_the_pair_that_it_is_for() {
    scenario(|rig| {
        let mut card = started(rig, FEATURES | ring::RING_RESET);
        let types = hash_type::TCPV4;
        assert_eq!(card.command(rig, RSS_CONFIG, &config(types, &[2], 0, PAIRS, &KEY)), ack::OK);
        card.give(rig, 0);
        card.come(1, &v4(6, 0));
        assert_eq!(card.filled(rig, 2), None);
        // Others go on, by other queues of the backend's.
        card.come(0, &frame(MAC, 60));
        assert!(card.filled(rig, 0).is_some());
        card.give(rig, 2);
        assert_eq!(card.filled(rig, 2).unwrap()[HEADER_WITH_HASH..], v4(6, 0));
        // One that waits goes elsewhere when the driver says so.
        card.come(1, &v4(6, 0));
        card.give(rig, 3);
        assert_eq!(card.filled(rig, 3), None);
        assert_eq!(card.command(rig, RSS_CONFIG, &config(types, &[3], 0, PAIRS, &KEY)), ack::OK);
        assert_eq!(card.filled(rig, 3).unwrap()[HEADER_WITH_HASH..], v4(6, 0));
        // A queue that the driver has stopped takes nothing, and holds nobody up.
        use super::super::super::pci::spec::common;
        driver::set(rig, common::QUEUE_SELECT, Size::B2, queue::rx(3).into());
        driver::set(rig, common::QUEUE_RESET, Size::B2, 1);
        card.come(1, &v4(6, 0));
        card.give(rig, 0);
        card.come(1, &frame(MAC, 60));
        assert_eq!(card.filled(rig, 0).unwrap()[HEADER_WITH_HASH..], frame(MAC, 60));
    });
}

#[test]
fn what_makes_no_sense_is_refused_and_ends_what_was() {
    let good = config(hash_type::TCPV4, &[3; 128], 0, PAIRS, &KEY);
    let mut wrong = vec![
        config(hash_type::TCPV4, &[1; 3], 0, PAIRS, &KEY),
        config(hash_type::TCPV4, &[], 0, PAIRS, &KEY),
        config(hash_type::TCPV4, &[1; 256], 0, PAIRS, &KEY),
        config(hash_type::TCPV4, &[1], PAIRS, PAIRS, &KEY),
        config(hash_type::TCPV4, &[1], 0, 0, &KEY),
        config(hash_type::TCPV4, &[1], 0, PAIRS + 1, &KEY),
        config(hash_type::TCPV4, &[1], 0, PAIRS, &[7; 41]),
        config(hash_type::TCPV4, &[1], 0, PAIRS, &[]),
    ];
    wrong.extend([0, 3, 7, 9, 263, 264, 266, 267, good.len() - 1].map(|len| good[..len].to_vec()));
    scenario(|rig| {
        let mut card = started(rig, FEATURES);
        for wrong in &wrong {
            assert_eq!(card.command(rig, RSS_CONFIG, &good), ack::OK);
            assert_eq!(card.command(rig, RSS_CONFIG, wrong), ack::ERR, "{wrong:02x?}");
            assert_eq!(card.backend.in_use(), PAIRS, "as before");
            card.give(rig, 1);
            card.come(1, &v4(6, 0));
            assert_eq!(seen(&card.filled(rig, 1).unwrap()), (0, 0), "no hash, and no other pair");
        }
        for wrong in [&[][..], &[1; 12], &report(1, &[]), &report(1, &[7; 41]), &report(1, &KEY)[..52]] {
            assert_eq!(card.command(rig, HASH_CONFIG, wrong), ack::ERR, "{wrong:02x?}");
        }
        // Kinds that nobody knows are not there; a short key has zeros behind it.
        assert_eq!(card.command(rig, RSS_CONFIG, &config(!0x1ff, &[1], 2, PAIRS, &[1])), ack::OK);
        card.give(rig, 2);
        card.come(0, &v4(6, 0));
        assert_eq!(seen(&card.filled(rig, 2).unwrap()), (0, 0));
    });
    // What was not agreed on is no command.
    let mut rig = Rig::new();
    let mut card = started(&mut rig, feature::MQ | feature::CTRL_VQ);
    assert_eq!(card.command(&mut rig, RSS_CONFIG, &good), ack::ERR);
    assert_eq!(card.command(&mut rig, HASH_CONFIG, &report(1, &KEY)), ack::ERR);
}

#[test]
fn limits_are_in_the_configuration() {
    let mut rig = Rig::new();
    attach_to(&mut rig, TestNet::with_queues(PAIRS), ALL | FEATURES);
    let at = |offset: usize| MEMORY + DEVICE.offset + offset as u64;
    use super::super::spec::config;
    assert_eq!(rig.mmio_read(at(config::RSS_MAX_KEY_SIZE), Size::B1), 40);
    assert_eq!(rig.mmio_read(at(config::RSS_MAX_TABLE_LENGTH), Size::B2), 128);
    assert_eq!(rig.mmio_read(at(config::SUPPORTED_HASH_TYPES), Size::B4), 0x1ff);
    // A backend that leaves nothing to the card gives no header to put a hash in, in QEMU.
    let of = |backend| offload::features(backend, FEATURES) & feature::HASH_REPORT;
    assert_eq!((of(Offloads::NONE), of(Offloads::ALL)), (0, feature::HASH_REPORT));
    // RSS alone makes several pairs, too.
    let mut rig = Rig::new();
    attach_to(&mut rig, TestNet::with_queues(PAIRS), feature::CTRL_VQ | feature::RSS);
    assert_eq!(rig.mmio_read(at(config::MAX_VIRTQUEUE_PAIRS), Size::B2), u64::from(PAIRS));
}

#[test]
fn frames_that_go_have_the_longer_header_too() {
    scenario(|rig| {
        let mut card = started(rig, FEATURES);
        let out = frame([9; 6], 60);
        rig.poke(SENT, &[0; HEADER_WITH_HASH]);
        rig.poke(SENT + HEADER_WITH_HASH as u64, &out);
        card.offer(rig, queue::tx(0), &[Buffer { gpa: SENT, len: 80, write: false }]);
        assert_eq!(card.backend.sent(), Some(out));
    });
    let mut rig = Rig::new();
    let mut card = started(&mut rig, FEATURES);
    card.offer(&mut rig, queue::tx(0), &[Buffer { gpa: SENT, len: 19, write: false }]);
    assert_ne!(driver::status(&mut rig) & device_status::NEEDS_RESET, 0, "a header is cut short");
}
