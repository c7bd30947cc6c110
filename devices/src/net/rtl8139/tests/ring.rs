//! The card as an RTL8139C: one Rx ring, four Tx buffers.

use super::*;

const RING: u64 = 0x1_0000;
const BUFFER: u64 = 0x8_0000;
/// Burst without limit, no threshold; an 8 KiB ring.
const RCR: u32 = 0xe700 | rcr::APM | rcr::AB | rcr::AM;

/// Linux's 8139too, as its sources have it. Finding the card: version from TCR, CONFIG1 and CONFIG4 unlocked and set,
/// software reset, address by EEPROM. Opening it: reset; unlock; address into IDR as two words; ring's address;
/// receiver and transmitter on; only then RCR and TCR; CONFIG3; lock; the four buffers' addresses; MPC; hash table
/// and RCR once more; early interrupts off; receiver and transmitter are on; IMR.
fn linux(rig: &mut Rig) -> Card {
    let card = Card::master(rig);
    assert_eq!(read32(rig, reg::TCR) & 0x7cc0_0000, 0x7480_0000);
    for (register, bits) in [(reg::CONFIG1, 1), (reg::CONFIG4, 0)] {
        let value = read8(rig, register);
        write8(rig, reg::CFG9346, 0xc0);
        write8(rig, register, value | bits);
        write8(rig, reg::CFG9346, 0);
    }
    write8(rig, reg::CR, cr::RST);
    assert_eq!(read8(rig, reg::CR) & cr::RST, 0);
    write8(rig, reg::CFG9346, 0xc0);
    write32(rig, reg::IDR, u32::from_le_bytes([MAC[0], MAC[1], MAC[2], MAC[3]]));
    write32(rig, reg::IDR + 4, u16::from_le_bytes([MAC[4], MAC[5]]).into());
    write32(rig, reg::RBSTART, RING as u32);
    write8(rig, reg::CR, cr::RE | cr::TE);
    write32(rig, reg::RCR, RCR & !0xf);
    write32(rig, reg::TCR, 0x0300_0680);
    let config3 = read8(rig, reg::CONFIG3);
    write8(rig, reg::CONFIG3, config3 & !(1 << 5));
    write8(rig, reg::CFG9346, 0);
    for buffer in 0..4 {
        write32(rig, reg::TSAD + 4 * buffer, BUFFER as u32 + 0x800 * u32::from(buffer));
    }
    write32(rig, reg::MPC, 0);
    write32(rig, reg::RCR, RCR);
    write32(rig, reg::MAR, 0);
    write32(rig, reg::MAR + 4, 0x8000_0000);
    let early = read16(rig, reg::MULINT);
    write16(rig, reg::MULINT, early & 0xf000);
    let on = read8(rig, reg::CR);
    assert_eq!(on & (cr::RE | cr::TE), cr::RE | cr::TE);
    write16(rig, reg::IMR, 0xc07f);
    card
}

/// What a driver does with its Rx ring.
struct Reader {
    at: usize,
    len: usize,
}

impl Reader {
    fn new() -> Reader {
        Reader { at: 0, len: 8192 }
    }

    /// The next packet of a ring without WRAP, and the flags of its header; the check sequence must be right.
    fn next(&mut self, rig: &mut Rig) -> Option<(u32, Vec<u8>)> {
        if read8(rig, reg::CR) & cr::BUFE != 0 {
            return None;
        }
        let ring = rig.peek(RING, self.len).repeat(2);
        let head = u32::from_le_bytes(*ring[self.at..].first_chunk().unwrap());
        let (flags, len) = (head & 0xffff, (head >> 16) as usize);
        let linear = ring[self.at + 4..][..len].to_vec();
        self.at = (self.at + len + 4 + 3) & !3;
        self.at %= self.len;
        write16(rig, reg::CAPR, (self.at as u16).wrapping_sub(16));
        let (frame, check) = linear.split_at(len - 4);
        assert_eq!(check, fcs(frame));
        Some((flags, frame.to_vec()))
    }
}

#[test]
fn linux_sends_and_receives() {
    scenario(|rig| {
        let card = linux(rig);
        let mut reader = Reader::new();
        for round in 0..6u8 {
            let out = frame(OTHER, 60 + usize::from(round) * 200);
            let buffer = round % 4;
            rig.poke(BUFFER + 0x800 * u64::from(buffer), &out);
            write32(rig, reg::TSD + 4 * buffer, 0x0003_0000 | out.len() as u32);
            assert_eq!(card.cable.sent().as_deref(), Some(&out[..]));
            assert!(rig.irq(IRQ));
            assert_eq!(interrupts(rig), int::TOK);
            let status = read32(rig, reg::TSD + 4 * buffer);
            assert_eq!(status & 0xffff, tsd::TOK | tsd::OWN | out.len() as u32);

            let come = frame(MAC, 1514 - usize::from(round));
            card.comes(&come);
            assert_eq!(interrupts(rig), int::ROK);
            assert_eq!(reader.next(rig), Some((header::ROK | header::PAM, come)));
            assert_eq!(reader.next(rig), None);
        }
        assert_eq!(read16(rig, reg::TSAD_SUMMARY), 0xf00f);
    });
}

/// ReactOS's driver, in the place of NDIS drivers whose sources are not public: CONFIG1 written while locked; reset
/// and wait; address from IDR byte by byte; ring's address; receiver and transmitter on; RCR with no filter, TCR;
/// IMR; media status; then the packet filter by RCR alone, while the receiver runs.
#[test]
fn an_ndis_driver_starts() {
    scenario(|rig| {
        let card = Card::master(rig);
        write8(rig, reg::CONFIG1, 0);
        assert_eq!(read8(rig, reg::CONFIG1), 0x0c);
        write8(rig, reg::CR, cr::RST);
        assert_eq!(read8(rig, reg::CR) & cr::RST, 0);
        assert_eq!((0..6).map(|at| read8(rig, at)).collect::<Vec<_>>(), MAC);
        write32(rig, reg::RBSTART, RING as u32);
        write8(rig, reg::CR, cr::RE | cr::TE);
        write32(rig, reg::RCR, 0x0700);
        write32(rig, reg::TCR, 0x0700);
        write16(rig, reg::IMR, int::ROK | int::TOK | int::RXOVW | int::LINK);
        assert_eq!(read8(rig, reg::MSR) & 0x0c, 0, "link, 100 Mbit/s");
        card.comes(&frame(MAC, 100));
        assert!(!rig.irq(IRQ), "no filter lets it in");
        write32(rig, reg::RCR, 0x0700 | rcr::APM | rcr::AB);
        let mut reader = Reader::new();
        card.comes(&frame(MAC, 100));
        assert_eq!(interrupts(rig), int::ROK);
        assert_eq!(reader.next(rig).unwrap().1, frame(MAC, 100));
        // A filter that changes meanwhile moves no pointer.
        card.comes(&frame(MAC, 300));
        write32(rig, reg::RCR, 0x0700 | rcr::APM | rcr::AB | rcr::AAP);
        card.comes(&frame(OTHER, 200));
        assert_eq!(reader.next(rig).unwrap(), (header::ROK | header::PAM, frame(MAC, 300)));
        assert_eq!(reader.next(rig).unwrap(), (header::ROK, frame(OTHER, 200)));
        assert_eq!(reader.next(rig), None);
    });
}

#[test]
fn a_packet_at_the_rings_end_goes_on_at_its_beginning_or_behind() {
    for wrap in [0, rcr::WRAP] {
        scenario(|rig| {
            let card = linux(rig);
            write32(rig, reg::RCR, RCR | wrap);
            let mut reader = Reader::new();
            // 5 packets of 1508 bytes in the ring leave 652.
            for _ in 0..5 {
                card.comes(&frame(MAC, 1500));
                assert_eq!(reader.next(rig).unwrap().1, frame(MAC, 1500));
            }
            rig.poke(RING + 8192, &[0xee; 2048]);
            card.comes(&frame(MAC, 1500));
            let at = reader.at;
            assert_eq!(at, 5 * 1508);
            let expected = frame(MAC, 1500);
            let ring = rig.peek(RING, 8192 + 2048);
            let split = 8192 - at - 4;
            assert_eq!(ring[at + 4..8192], expected[..split]);
            let rest = if wrap == 0 { &ring[..] } else { &ring[8192..] };
            assert_eq!(rest[..1500 - split], expected[split..]);
            assert_eq!(ring[8192 + 1504], 0xee, "and no further");
            if wrap == 0 {
                assert_eq!(ring[8192..], [0xee; 2048]);
            }
            assert_eq!(read16(rig, reg::CBR), (6 * 1508) % 8192);
        });
    }
}

#[test]
fn what_has_no_room_waits() {
    scenario(|rig| {
        let card = linux(rig);
        let mut reader = Reader::new();
        for number in 0..20 {
            card.comes(&frame(MAC, 1000 + number));
        }
        let seen = interrupts(rig);
        assert_eq!(seen, int::ROK | int::RXOVW);
        assert_eq!(read32(rig, reg::MPC), 0, "nothing is lost");
        // 8 fit, one is the card's, the rest the backend's.
        assert_eq!(card.cable.left(), 11);
        for number in 0..20 {
            assert_eq!(reader.next(rig).unwrap().1, frame(MAC, 1000 + number));
        }
        assert_eq!(reader.next(rig), None);
        assert_eq!(card.cable.left(), 0);
    });
}

#[test]
fn one_call_moves_only_so_much_and_goes_on_by_itself() {
    scenario(|rig| {
        let card = linux(rig);
        write32(rig, reg::RCR, RCR | 3 << 11);
        let mut reader = Reader { at: 0, len: 65_536 };
        for number in 0..150 {
            card.cable.give(&frame(MAC, 60 + number));
        }
        card.wake();
        assert_eq!(card.cable.left(), 150 - BURST);
        rig.advance(1);
        rig.advance(1);
        assert_eq!(card.cable.left(), 0);
        for number in 0..150 {
            assert_eq!(reader.next(rig).unwrap().1, frame(MAC, 60 + number));
        }
    });
}

#[test]
fn filters_let_in_what_they_say() {
    scenario(|rig| {
        let card = linux(rig);
        let mut reader = Reader::new();
        // 224.0.0.1's bit of the hash table is 31.
        let group = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x01];
        let unlisted = [0x01, 0x00, 0x5e, 0x00, 0x00, 0x02];
        write32(rig, reg::MAR, 1 << 31);
        write32(rig, reg::MAR + 4, 0);
        let all = [MAC, OTHER, group, unlisted, ALL];
        for (bits, lets_in) in [
            (0, &[][..]),
            (rcr::APM, &[(MAC, header::PAM)]),
            (rcr::AAP, &[(MAC, header::PAM), (OTHER, 0)]),
            (rcr::AM, &[(group, header::MAR)]),
            (rcr::AB, &[(ALL, header::BAR)]),
        ] {
            write32(rig, reg::RCR, 0xe700 | bits);
            all.iter().for_each(|to| card.comes(&frame(*to, 64)));
            for (to, flags) in lets_in {
                assert_eq!(reader.next(rig), Some((header::ROK | flags, frame(*to, 64))), "{bits:#x}");
            }
            assert_eq!(reader.next(rig), None, "{bits:#x}");
        }
        let filter = card.slot.lock().rx_filter();
        assert!(filter.broadcast && !filter.promiscuous);
        assert_eq!(filter.main_mac, MAC);
    });
}

#[test]
fn short_packets_are_filled_up_and_long_ones_missed() {
    scenario(|rig| {
        let card = linux(rig);
        let mut reader = Reader::new();
        let mut filled = frame(MAC, 20);
        card.comes(&filled);
        filled.resize(60, 0);
        assert_eq!(reader.next(rig).unwrap().1, filled);
        card.comes(&frame(MAC, 2044));
        assert_eq!(reader.next(rig).unwrap().1, frame(MAC, 2044));
        for len in [2045, 8200, 65_553] {
            card.comes(&frame(MAC, len));
        }
        card.comes(&[]);
        assert_eq!(reader.next(rig), None);
        assert_eq!(read32(rig, reg::MPC), 3);
        write32(rig, reg::MPC, 5);
        assert_eq!(read32(rig, reg::MPC), 0);
        let out = frame(OTHER, 20);
        rig.poke(BUFFER, &out);
        write32(rig, reg::TSD, 20);
        assert_eq!(card.cable.sent().map(|sent| sent.len()), Some(60));
    });
}

#[test]
fn what_comes_while_the_receiver_is_off_is_gone() {
    scenario(|rig| {
        let card = linux(rig);
        write8(rig, reg::CR, cr::TE);
        card.comes(&frame(MAC, 60));
        assert_eq!(card.cable.left(), 0);
        write8(rig, reg::CR, cr::TE | cr::RE);
        assert_eq!(Reader::new().next(rig), None);
        // While it may not use memory, packets wait.
        rig.config_write(SLOT, 0, 4, Size::B2, 3);
        card.comes(&frame(MAC, 61));
        assert_eq!(card.cable.left(), 1);
        rig.config_write(SLOT, 0, 4, Size::B2, 7);
        assert_eq!(Reader::new().next(rig).unwrap().1, frame(MAC, 61));
        // With no link nothing comes and nothing goes.
        card.slot.lock().set_link(false);
        card.comes(&frame(MAC, 62));
        write32(rig, reg::TSD, 60);
        assert_eq!((card.cable.left(), card.cable.sent()), (0, None));
        assert_ne!(read32(rig, reg::TSD) & tsd::TOK, 0);
    });
}

#[test]
fn in_loopback_it_hears_itself() {
    scenario(|rig| {
        let card = linux(rig);
        write32(rig, reg::TCR, 0x0300_0680 | tcr::LOOPBACK);
        rig.poke(BUFFER, &frame(MAC, 200));
        write32(rig, reg::TSD, 200);
        assert_eq!(interrupts(rig), int::TOK | int::ROK);
        assert_eq!(Reader::new().next(rig).unwrap().1, frame(MAC, 200));
        assert_eq!(card.cable.sent(), None);
    });
}

#[test]
fn a_backend_without_room_holds_the_buffer() {
    scenario(|rig| {
        let card = linux(rig);
        card.cable.set_full(true);
        for buffer in 0..4u8 {
            rig.poke(BUFFER + 0x800 * u64::from(buffer), &frame(OTHER, 100 + usize::from(buffer)));
            write32(rig, reg::TSD + 4 * buffer, 100 + u32::from(buffer));
        }
        assert_eq!(interrupts(rig), 0);
        assert_eq!(read16(rig, reg::TSAD_SUMMARY), 0);
        // What was read is not read again; what was not, is.
        rig.poke(BUFFER, &[0; 60]);
        card.cable.set_full(false);
        card.wake();
        for len in 100..104 {
            assert_eq!(card.cable.sent().as_deref(), Some(&frame(OTHER, len)[..]));
        }
        assert_eq!(interrupts(rig), int::TOK);
        assert_eq!(read16(rig, reg::TSAD_SUMMARY), 0xf00f);
        // A reset forgets what waits.
        card.cable.set_full(true);
        write32(rig, reg::TSD, 100);
        write8(rig, reg::CR, cr::RST);
        card.cable.set_full(false);
        card.wake();
        assert_eq!(card.cable.sent(), None);
    });
}

#[test]
fn a_saved_guest_moves_nothing() {
    scenario(|rig| {
        let card = linux(rig);
        assert!(card.slot.lock().quiesce());
        card.comes(&frame(MAC, 100));
        assert_eq!(card.cable.left(), 1);
        card.slot.lock().resume();
        assert_eq!(Reader::new().next(rig).unwrap().1, frame(MAC, 100));
    });
}

#[test]
fn memory_that_is_not_there_is_a_bus_error() {
    scenario(|rig| {
        let card = linux(rig);
        write32(rig, reg::TSAD, 0xf000_0000);
        write32(rig, reg::TSD, 100);
        assert_eq!(interrupts(rig), int::SERR | int::TER);
        assert_eq!(read32(rig, reg::TSD) & (tsd::OWN | tsd::TABT), tsd::OWN | tsd::TABT);
        write32(rig, reg::RBSTART, 0xffff_fff0);
        card.comes(&frame(MAC, 100));
        assert_eq!(interrupts(rig), int::SERR);
        assert_eq!(read32(rig, reg::MPC), 1);
        // And it goes on.
        write32(rig, reg::RBSTART, RING as u32);
        card.comes(&frame(MAC, 100));
        assert_eq!(Reader::new().next(rig).unwrap().1, frame(MAC, 100));
    });
}
