//! C+ mode: rings of descriptors.

use super::super::spec::{cpcr, descriptor as d, tppoll};
use super::*;

const TX_RING: u64 = 0x1_0000;
const RX_RING: u64 = 0x1_1000;
const TX_BUFFERS: u64 = 0x4_0000;
const RX_BUFFERS: u64 = 0x8_0000;
const COUNT: u64 = 8;
const RX_BUFFER: u32 = 1536;

/// Linux's 8139cp, as its sources have it: reset; unlock; address into IDR; CPCR with both engines; ring of high
/// priority nowhere, Rx ring, Tx ring; receiver and transmitter on; threshold; RCR, hash table; TCR; CONFIG1, 3 and 5;
/// early interrupts off; lock; IMR.
fn linux(rig: &mut Rig, features: u16) -> Card {
    let card = Card::master(rig);
    write8(rig, reg::CR, cr::RST);
    assert_eq!(read8(rig, reg::CR) & cr::RST, 0);
    for index in 0..COUNT {
        let end = if index + 1 == COUNT { d::EOR } else { 0 };
        put(rig, RX_RING, index, [d::OWN | end | RX_BUFFER, 0, (RX_BUFFERS + index * 0x800) as u32, 0]);
        put(rig, TX_RING, index, [end, 0, 0, 0]);
    }
    write8(rig, reg::CFG9346, 0xc0);
    write32(rig, reg::IDR, u32::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3]]));
    write32(rig, reg::IDR + 4, u16::from_le_bytes([MAC[4], MAC[5]]).into());
    write16(rig, reg::CPCR, cpcr::TX | cpcr::RX | 0x08 | features);
    write32(rig, reg::TSAD + 8, 0);
    write32(rig, reg::TSAD + 12, 0);
    write32(rig, reg::RDSAR, RX_RING as u32);
    write32(rig, reg::RDSAR + 4, 0);
    write32(rig, reg::TSAD, TX_RING as u32);
    write32(rig, reg::TSAD + 4, 0);
    write8(rig, reg::CR, cr::RE | cr::TE);
    write8(rig, reg::MTPS, 6);
    write32(rig, reg::RCR, 0xe700 | rcr::APM | rcr::AB | rcr::AM);
    write32(rig, reg::MAR, 0);
    write32(rig, reg::MAR + 4, 0);
    write32(rig, reg::TCR, 0x0300_0600);
    for (register, value) in [(reg::CONFIG1, 0x21), (reg::CONFIG3, 0x40), (reg::CONFIG5, 0)] {
        write8(rig, register, value);
    }
    write16(rig, reg::MULINT, 0);
    write8(rig, reg::CFG9346, 0);
    write16(rig, reg::IMR, 0x80ff);
    card
}

fn put(rig: &Rig, ring: u64, index: u64, words: [u32; 4]) {
    rig.poke(ring + 16 * index, &words.map(u32::to_le_bytes).concat());
}

fn get(rig: &Rig, ring: u64, index: u64) -> [u32; 4] {
    let bytes = rig.peek(ring + 16 * index, 16);
    [0, 4, 8, 12].map(|at| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap()))
}

/// Gives the card a packet in pieces, from that descriptor on; the first one last.
fn send(rig: &mut Rig, index: u64, pieces: &[&[u8]], flags: u32, vlan: u32) {
    let last = pieces.len() as u64 - 1;
    for number in (0..=last).rev() {
        let at = (index + number) % COUNT;
        let piece = pieces[number as usize];
        let address = TX_BUFFERS + at * 0x1_0000 / 2;
        rig.poke(address, piece);
        let ends = if number == 0 { d::FS } else { 0 }
            | if number == last { d::LS } else { 0 }
            | if at + 1 == COUNT { d::EOR } else { 0 };
        put(rig, TX_RING, at, [d::OWN | ends | flags | piece.len() as u32, vlan, address as u32, 0]);
    }
    write8(rig, reg::TPPOLL, tppoll::NORMAL);
}

/// The packet of a descriptor that the card has given back, and its two words.
fn taken(rig: &Rig, index: u64) -> Option<(u32, u32, Vec<u8>)> {
    let [command, vlan, address, _] = get(rig, RX_RING, index % COUNT);
    let len = (command & d::RX_SIZE) as usize;
    (command & d::OWN == 0).then(|| (command, vlan, rig.peek(address.into(), len)))
}

/// The Internet checksum, word by word; 0 over what carries its own.
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

/// Whether both checksums are right.
fn right(frame: &[u8]) -> bool {
    let packet = &frame[14..14 + usize::from(u16::from_be_bytes([frame[16], frame[17]]))];
    let len = (packet.len() - 20) as u16;
    let pseudo = [&packet[12..20], &[0, packet[9]], &len.to_be_bytes(), &packet[20..]].concat();
    checksum(&packet[..20]) == 0 && checksum(&pseudo) == 0
}

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 + at / 256) as u8).collect()
}

#[test]
fn linux_sends_and_receives() {
    scenario(|rig| {
        let card = linux(rig, 0);
        for round in 0..20 {
            let out = frame(OTHER, 100 + round as usize);
            let (head, tail) = out.split_at(14);
            send(rig, round * 2, &[head, tail], 0, 0);
            assert_eq!(card.cable.sent().as_deref(), Some(&out[..]));
            assert_eq!(interrupts(rig), int::TOK | int::TDU);
            for index in [round * 2, round * 2 + 1] {
                assert_eq!(get(rig, TX_RING, index % COUNT)[0] & d::OWN, 0);
            }
            assert_eq!(taken(rig, round), None);
            let come = frame(MAC, 1000 + round as usize);
            card.comes(&come);
            assert!(rig.irq(IRQ));
            assert_eq!(interrupts(rig), int::ROK);
            let (command, _, bytes) = taken(rig, round).unwrap();
            let end = if round % COUNT + 1 == COUNT { d::EOR } else { 0 };
            assert_eq!(command & !d::RX_SIZE, d::FS | d::LS | d::PAM | end);
            assert_eq!(bytes, [&come[..], &fcs(&come)].concat());
            let address = RX_BUFFERS + round % COUNT * 0x800;
            put(rig, RX_RING, round % COUNT, [d::OWN | end | RX_BUFFER, 0, address as u32, 0]);
        }
        assert_eq!(card.cable.sent(), None);
    });
}

#[test]
fn checksums_are_made() {
    scenario(|rig| {
        let card = linux(rig, 0);
        let packets = [
            (ip(6, &TCP, &payload(501)), d::IPCS | d::TCPCS),
            (udp(&payload(33)), d::IPCS | d::UDPCS),
            (ip(6, &TCP, &[]), d::IPCS | d::TCPCS),
        ];
        for (index, (packet, flags)) in (0..).zip(&packets) {
            assert!(!right(packet));
            send(rig, index, &[packet], *flags, 0);
            let sent = card.cable.sent().unwrap();
            assert!(right(&sent), "{index}: {sent:x?}");
            assert_eq!(sent.len(), packet.len().max(60));
        }
        // A UDP checksum that comes out as zero is sent as ones.
        let mut zero = udp(&[0, 0]);
        let len = zero.len();
        let pseudo = [&zero[26..34], &[0, 17], &zero[38..40], &zero[34..]].concat();
        zero[len - 2..].copy_from_slice(&checksum(&pseudo).to_be_bytes());
        send(rig, 3, &[&zero], d::UDPCS, 0);
        assert_eq!(card.cable.sent().unwrap()[40..42], [0xff, 0xff]);
        // Nobody asked; or there is nothing of the kind.
        send(rig, 4, &[&packets[0].0], 0, 0);
        assert_eq!(card.cable.sent().as_ref(), Some(&packets[0].0));
        let strange = frame(OTHER, 70);
        send(rig, 5, &[&strange], d::IPCS | d::TCPCS, 0);
        assert_eq!(card.cable.sent(), Some(strange));
    });
}

#[test]
fn large_packets_are_cut_into_segments() {
    scenario(|rig| {
        let card = linux(rig, 0);
        let data = payload(5000);
        let packet = ip(6, &TCP, &data);
        let (head, tail) = packet.split_at(54);
        send(rig, 0, &[head, tail], d::LGSEN | 1460 << d::MSS_SHIFT, 0);
        let mut whole = Vec::new();
        for number in 0..4u16 {
            let sent = card.cable.sent().unwrap();
            let part = data.len().min(1460 * (usize::from(number) + 1)) - whole.len();
            assert!(right(&sent), "{number}");
            assert_eq!(sent.len(), 54 + part);
            assert_eq!(sent[18..20], (0x1234 + number).to_be_bytes());
            assert_eq!(sent[38..42], 0xffff_ff00u32.wrapping_add(whole.len() as u32).to_be_bytes());
            assert_eq!(sent[47], if number == 3 { 0x19 } else { 0x10 }, "FIN and PSH");
            whole.extend(&sent[54..]);
        }
        assert_eq!((card.cable.sent(), whole), (None, data));
        assert_eq!(interrupts(rig), int::TOK | int::TDU);
        // With no room in the middle, it goes on where it was.
        card.cable.set_full(true);
        send(rig, 2, &[&packet], d::LGSEN | 1000 << d::MSS_SHIFT, 0);
        assert_ne!(get(rig, TX_RING, 2)[0] & d::OWN, 0);
        card.cable.set_full(false);
        card.wake();
        assert_eq!(std::iter::from_fn(|| card.cable.sent()).count(), 5);
        assert_eq!(get(rig, TX_RING, 2)[0] & d::OWN, 0);
    });
}

#[test]
fn segments_that_nobody_makes_are_errors() {
    scenario(|rig| {
        let card = linux(rig, 0);
        let tcp = ip(6, &TCP, &payload(100));
        interrupts(rig);
        for (index, (packet, mss)) in
            (0..).zip([(&tcp, 0), (&tcp, 47), (&udp(&payload(100)), 1460), (&tcp[..40].to_vec(), 1460)])
        {
            send(rig, index, &[packet], d::LGSEN | mss << d::MSS_SHIFT, 0);
            assert_eq!(interrupts(rig), int::TER | int::TDU);
            assert_eq!(get(rig, TX_RING, index)[0] & (d::OWN | d::TES), d::TES);
        }
        assert_eq!(card.cable.sent(), None);
    });
}

#[test]
fn tags_are_put_in_and_taken_off() {
    scenario(|rig| {
        let card = linux(rig, cpcr::RX_VLAN);
        let plain = frame(MAC, 100);
        let tagged = [&plain[..12], &[0x81, 0, 0x20, 0x05], &plain[12..]].concat();
        send(rig, 0, &[&plain], 0, d::TAGC | 0x0520);
        assert_eq!(card.cable.sent().as_ref(), Some(&tagged));
        card.comes(&tagged);
        let (command, vlan, bytes) = taken(rig, 0).unwrap();
        assert_eq!((command & d::RX_SIZE, vlan), (104, d::TAVA | 0x0520));
        assert_eq!(bytes[..100], plain);
        card.comes(&plain);
        assert_eq!(taken(rig, 1).unwrap().1, 0);
        write16(rig, reg::CPCR, cpcr::TX | cpcr::RX);
        card.comes(&tagged);
        let (_, vlan, bytes) = taken(rig, 2).unwrap();
        assert_eq!((vlan, &bytes[..104]), (0, &tagged[..]));
    });
}

#[test]
fn checksums_of_what_comes_are_judged() {
    scenario(|rig| {
        let card = linux(rig, cpcr::RX_CHECKSUM);
        // Let the card itself make right ones.
        let mut made = |packet: Vec<u8>, flags, index| {
            send(rig, index, &[&packet], d::IPCS | flags, 0);
            card.cable.sent().unwrap()
        };
        let tcp = made(ip(6, &TCP, &payload(80)), d::TCPCS, 0);
        let udp = made(udp(&payload(80)), d::UDPCS, 1);
        let bent = |frame: &[u8], at: usize| {
            let mut frame = frame.to_vec();
            frame[at] ^= 0x10;
            frame
        };
        let tagged = [&tcp[..12], &[0x81, 0, 0, 5], &tcp[12..]].concat();
        for (index, (packet, found)) in (0..).zip([
            (tcp.clone(), d::TCP),
            (bent(&tcp, 60), d::TCP | d::TCPF),
            (udp.clone(), d::UDP),
            (bent(&udp, 60), d::UDP | d::UDPF),
            (bent(&tcp, 22), d::TCP | d::IPF),
            (tagged, d::TCP),
            (frame(MAC, 90), 0),
            (ip(1, &[8, 0], &payload(90)), d::IP | d::IPF),
        ]) {
            card.comes(&packet);
            let (command, ..) = taken(rig, index).unwrap();
            let bits = d::IP | d::IPF | d::UDPF | d::TCPF;
            assert_eq!(command & bits, found, "{index}: {command:#x}");
        }
    });
}

#[test]
fn a_packet_is_spread_over_descriptors_and_waits_for_them() {
    scenario(|rig| {
        let card = linux(rig, 0);
        let come = frame(MAC, 4000);
        card.comes(&come);
        let parts = [0, 1, 2].map(|index| taken(rig, index).unwrap().0);
        assert_eq!(parts.map(|part| part & (d::FS | d::LS)), [d::FS, 0, d::LS]);
        assert!(parts.iter().all(|part| part & d::RX_SIZE == 4004));
        let pieces = [(0, 1536), (0x800, 1536), (0x1000, 932)];
        let bytes = pieces.map(|(at, len)| rig.peek(RX_BUFFERS + at, len)).concat();
        assert_eq!(bytes, [&come[..], &fcs(&come)].concat());
        interrupts(rig);

        // Five are left: two more of that kind do not fit.
        card.comes(&come);
        card.comes(&frame(MAC, 4001));
        card.comes(&frame(MAC, 100));
        assert_eq!(interrupts(rig), int::ROK | int::RXOVW);
        assert_eq!((taken(rig, 6), card.cable.left()), (None, 1));
        for index in 0..4 {
            put(rig, RX_RING, index, [d::OWN | 1536, 0, (RX_BUFFERS + index * 0x800) as u32, 0]);
        }
        // The driver looks whether there is anything else.
        assert_eq!(read16(rig, reg::ISR), int::ROK);
        assert_eq!(taken(rig, 6).unwrap().0 & d::RX_SIZE, 4005);
        assert_eq!(taken(rig, 1).unwrap().0 & d::RX_SIZE, 104);
        assert_eq!(read32(rig, reg::MPC), 0);
    });
}

#[test]
fn a_ring_that_is_too_small_for_a_packet_misses_it() {
    scenario(|rig| {
        let card = linux(rig, 0);
        for index in 0..2 {
            put(rig, RX_RING, index, [d::OWN | 40 | if index == 1 { d::EOR } else { 0 }, 0, 0x8_0000, 0]);
        }
        card.comes(&frame(MAC, 100));
        assert_eq!((interrupts(rig), read32(rig, reg::MPC)), (int::RXOVW, 1));
        put(rig, RX_RING, 0, [d::OWN | 200, 0, 0x8_0000, 0]);
        card.comes(&frame(MAC, 100));
        assert_eq!(interrupts(rig), int::ROK);
    });
}

#[test]
fn counters_are_dumped() {
    scenario(|rig| {
        let card = linux(rig, 0);
        write32(rig, reg::MAR, u32::MAX);
        for to in [MAC, MAC, ALL, [1, 0, 0x5e, 0, 0, 1], OTHER] {
            card.comes(&frame(to, 100));
        }
        send(rig, 0, &[&frame(OTHER, 100)], 0, 0);
        rig.poke(0x2_0000, &[0xee; 72]);
        write32(rig, reg::TSD + 4, 0);
        write32(rig, reg::TSD, 0x2_0000 | 8);
        assert_eq!(read32(rig, reg::TSD), 0x2_0000, "done");
        let dump = rig.peek(0x2_0000, 72);
        let long = |at: usize| u64::from_le_bytes(*dump[at..].first_chunk().unwrap());
        let short = |at: usize| u32::from_le_bytes(*dump[at..].first_chunk().unwrap());
        assert_eq!((long(0), long(8), long(16)), (1, 4, 0), "sent, received, errors");
        assert_eq!(short(24), 1, "let in by no filter");
        assert_eq!((long(40), long(48), short(56)), (2, 1, 1), "station, broadcast, multicast");
        assert_eq!(dump[64..], [0xee; 8]);
    });
}

#[test]
fn in_loopback_it_hears_itself() {
    scenario(|rig| {
        let card = linux(rig, 0);
        write32(rig, reg::TCR, 0x0300_0600 | tcr::LOOPBACK);
        send(rig, 0, &[&frame(MAC, 200)], 0, 0);
        assert_eq!(interrupts(rig), int::ROK | int::TOK | int::TDU);
        assert_eq!(taken(rig, 0).unwrap().2[..200], frame(MAC, 200));
        assert_eq!(card.cable.sent(), None);
        write8(rig, reg::TPPOLL, tppoll::SW);
        assert_eq!(interrupts(rig), int::SW);
    });
}

#[test]
fn a_chain_without_end_is_given_back() {
    scenario(|rig| {
        let card = linux(rig, 0);
        for index in 0..COUNT {
            let end = if index + 1 == COUNT { d::EOR } else { 0 };
            put(rig, TX_RING, index, [d::OWN | end | 0xffff, 0, 0, 0]);
        }
        write8(rig, reg::TPPOLL, tppoll::NORMAL);
        assert_eq!(card.cable.sent(), None);
        assert_ne!(interrupts(rig) & int::TER, 0);
        assert_eq!(get(rig, TX_RING, 0)[0] & (d::OWN | d::TES), d::TES);
        // A ring that is not memory.
        write32(rig, reg::TSAD + 4, 0xffff_ffff);
        write32(rig, reg::TSAD, 0xffff_ff00);
        write8(rig, reg::TPPOLL, tppoll::NORMAL);
        assert_eq!(interrupts(rig), int::SERR);
    });
}

/// Linux suspends 8139cp before Xen moves the guest: IMR is cleared, CR written as it is; a poll that was under way sets
/// IMR again. Nothing is to interrupt it until it resumes, which begins with a reset; it acknowledges and handles nothing.
#[test]
fn a_guest_that_is_moved_is_not_interrupted_before_its_driver_resumes() {
    let moved = |rig: &mut Rig| {
        let card = linux(rig, 0);
        card.slot.lock().suspends(true);
        write16(rig, reg::IMR, 0);
        let on = read8(rig, reg::CR);
        write8(rig, reg::CR, on);
        write16(rig, reg::IMR, 0x80ff);
        card.comes(&frame(MAC, 100));
        assert!(rig.irq(IRQ));
        assert!(card.slot.lock().quiesce());
        assert!(!rig.irq(IRQ), "when the interrupt controller's state is saved");
        rig.save_load();
        card.slot.lock().resume();
        card.comes(&frame(MAC, 101));
        // What Linux does without the driver.
        let command = rig.config_read(SLOT, 0, 4, Size::B4);
        rig.config_write(SLOT, 0, 4, Size::B2, command);
        assert!(!rig.irq(IRQ));
        card
    };
    // The driver resumes.
    let mut rig = Rig::new();
    let card = moved(&mut rig);
    write8(&mut rig, reg::CR, cr::RST);
    assert!(!rig.irq(IRQ), "what was pending is gone");
    write8(&mut rig, reg::CR, cr::RE | cr::TE);
    write16(&mut rig, reg::IMR, 0x80ff);
    put(&rig, RX_RING, 0, [d::OWN | RX_BUFFER, 0, RX_BUFFERS as u32, 0]);
    write16(&mut rig, reg::CPCR, cpcr::TX | cpcr::RX);
    write32(&mut rig, reg::RCR, 0xe700 | rcr::APM);
    card.comes(&frame(MAC, 102));
    assert!(rig.irq(IRQ));
    // A driver that was not suspended looks, or waits.
    let mut rig = Rig::new();
    moved(&mut rig);
    assert_eq!(read16(&mut rig, reg::ISR), int::ROK);
    assert!(rig.irq(IRQ));
    let mut rig = Rig::new();
    moved(&mut rig);
    rig.advance(1_999_999_999);
    assert!(!rig.irq(IRQ));
    rig.advance(1);
    assert!(rig.irq(IRQ));
    assert_eq!(interrupts(&mut rig), int::ROK);
}

#[test]
fn where_no_driver_is_suspended_a_load_shows_the_interrupt() {
    let mut rig = Rig::new();
    let card = linux(&mut rig, 0);
    card.comes(&frame(MAC, 100));
    assert!(card.slot.lock().quiesce());
    assert!(rig.irq(IRQ));
    rig.save_load();
    assert!(rig.irq(IRQ));
    card.slot.lock().resume();
    assert_eq!(interrupts(&mut rig), int::ROK);
}
