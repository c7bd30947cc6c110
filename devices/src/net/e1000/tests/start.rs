//! How drivers bring the card up.
//!
//! Linux's e1000: all interrupts masked, RCTL and TCTL off, CTRL.RST by IOADDR and IODATA (a memory write cannot be
//! acknowledged during a reset), management's ARP off, ICR read. The EEPROM is asked for, selected, and all words are
//! clocked out for the checksum; the address comes from words 0 to 2. PBA, VFTA, RA, MTA, SLU; the PHY is found by its
//! id, reset, told what to advertise and to negotiate. Both rings, then RCTL.EN before the tail, IMS, and a
//! link change that the driver makes itself by ICS.
//!
//! Intel's shared code (FreeBSD's em, the PRO/1000 drivers of Windows): the reset by memory, EERD where it is allowed,
//! statistics read to clear them, transmitter first, then RCTL.EN, RDH and RDT last; interrupts by IMS 0x9d.

use super::super::spec::{eecd, eerd, stat};
use super::*;
use devices_core::rig::{ms, scenario};

/// A word by the wires, as drivers of Microwire parts read it.
fn clock_out(card: &mut Card<'_>, word: u32) -> u16 {
    let mut wires = card.read(reg::EECD) & !(eecd::DI | eecd::SK) | eecd::CS;
    card.write(reg::EECD, wires);
    for bit in (0..9).rev().map(|at| (0b110 << 6 | word) >> at & 1) {
        wires = wires & !eecd::DI | if bit != 0 { eecd::DI } else { 0 };
        for edge in [0, eecd::SK, 0] {
            card.write(reg::EECD, wires | edge);
        }
    }
    let mut value = 0;
    for _ in 0..16 {
        card.write(reg::EECD, wires | eecd::SK);
        value = value << 1 | u16::from(card.read(reg::EECD) & eecd::DO != 0);
        card.write(reg::EECD, wires);
    }
    for edge in [0, eecd::SK, eecd::CS, eecd::CS | eecd::SK, 0] {
        card.write(reg::EECD, wires & !(eecd::CS | eecd::DI) | edge);
    }
    value
}

/// The address as the words have it.
const WORDS: [u16; 3] = [0x5452, 0x1200, 0x5634];

fn carries_frames(card: &mut Card<'_>) {
    let out = frame([2; 6], 100);
    card.send(&out, 0);
    assert_eq!(card.net.sent(), Some(out));
    let back = frame(MAC, 90);
    card.arrives(&back);
    assert_eq!(card.buffer(0, 90), back);
    assert!(card.irq());
    assert!(card.causes().contains(Cause::TXDW | Cause::RXT0));
    assert!(!card.irq());
}

#[test]
fn as_linux_does_it() {
    scenario(|rig| {
        let mut card = card(rig);
        assert_eq!(card.rig.config_read(SLOT, 0, 0, Size::B4), 0x100e_8086);
        assert_eq!(card.rig.config_read(SLOT, 0, 8, Size::B4), 0x0200_0003);
        assert_eq!(card.rig.config_read(SLOT, 0, 0x2c, Size::B4), 0x1100_1af4);
        card.write(reg::IMC, !0);
        card.write(reg::RCTL, 0);
        card.write(reg::TCTL, tctl::PSP);
        let control = card.read(reg::CTRL);
        card.write(reg::FCTTV, 7);
        card.rig.outl(PORTS, reg::CTRL);
        card.rig.outl(PORTS + 4, control | ctrl::RST);
        card.rig.advance(ms(5));
        assert_eq!((card.read(reg::FCTTV), card.read(reg::CTRL) & ctrl::RST), (0, 0), "it was reset");
        let manc = card.read(reg::MANC);
        card.write(reg::MANC, manc & !(1 << 13));
        assert_eq!(card.read(reg::MANC), 0x0022_0300);
        card.write(reg::IMC, !0);
        card.read(reg::ICR);

        card.write(reg::EECD, 1 << 6);
        assert_ne!(card.read(reg::EECD) & eecd::GNT, 0);
        let words: Vec<u16> = (0..64).map(|word| clock_out(&mut card, word)).collect();
        assert_eq!(words.iter().fold(0u16, |sum, word| sum.wrapping_add(*word)), 0xbaba);
        assert_eq!(words[..3], WORDS);
        card.write(reg::EECD, 0);

        card.write(reg::PBA, 0x30);
        for word in 0..128 {
            card.write(reg::VFTA + 4 * word, 0);
            card.write(reg::MTA + 4 * word, 0);
        }
        assert_eq!(card.read(reg::RA), u32::from_le_bytes([0x52, 0x54, 0, 0x12]));
        assert_eq!(card.read(reg::RA + 4), 0x8000_5634);
        card.write(reg::CTRL, control | ctrl::SLU);
        assert_eq!((card.phy(2), card.phy(3)), (0x0141, 0x0c20));
        let specific = card.phy(16);
        card.set_phy(16, specific | 0x60);
        let extended = card.phy(20);
        card.set_phy(20, extended | 0x70);
        let command = card.phy(0);
        card.set_phy(0, command | 0x8000);
        card.set_phy(4, 0x0de1);
        card.set_phy(9, 0x0200);
        card.set_phy(0, command | 0x1200);
        assert_eq!(card.read(reg::STATUS) & status::LU, 0);

        card.start_tx();
        card.write(reg::TIDV, 0);
        card.start_rx(0, 0);
        card.write(reg::RDT, RING - 1);
        card.write(reg::IMS, 0x9d);
        card.write(reg::ICS, Cause::LSC.bits());
        assert!(card.irq());
        assert_eq!(card.causes() & Cause::LSC, Cause::LSC);
        card.rig.advance(ms(499));
        assert!(!card.irq());
        card.rig.advance(ms(2));
        assert!(card.irq(), "negotiation is over");
        assert_eq!(card.causes(), Cause::LSC);
        assert_ne!(card.read(reg::STATUS) & status::LU, 0);
        assert_eq!(card.phy(1) & 0x24, 0x24);
        carries_frames(&mut card);
    });
}

#[test]
fn as_intels_shared_code_does_it() {
    scenario(|rig| {
        let mut card = card(rig);
        card.write(reg::IMC, !0);
        card.write(reg::RCTL, 0);
        card.write(reg::TCTL, tctl::PSP);
        let control = card.read(reg::CTRL);
        card.write(reg::CTRL, control | ctrl::RST);
        card.rig.advance(ms(5));
        card.read(reg::ICR);
        for (number, word) in (0..).zip(WORDS) {
            card.write(reg::EERD, number << eerd::ADDRESS_SHIFT | eerd::START);
            let read = card.read(reg::EERD);
            assert_eq!((read & eerd::DONE, read >> eerd::DATA_SHIFT), (eerd::DONE, word.into()));
        }
        let control = card.read(reg::CTRL);
        card.write(reg::CTRL, control | ctrl::PHY_RST);
        card.write(reg::CTRL, control & !ctrl::PHY_RST | ctrl::SLU | ctrl::FD);
        for at in (reg::STATISTICS..=reg::STATISTICS_END).step_by(4) {
            card.read(at);
        }
        card.start_tx();
        card.write(reg::RCTL, rctl::EN | rctl::BAM | rctl::SECRC);
        card.start_rx(RING - 1, 0);
        card.write(reg::IMS, 0x9d);
        carries_frames(&mut card);
        assert_eq!([stat::GPTC, stat::GPRC].map(|at| card.read(at)), [1, 1]);
    });
}

#[test]
fn the_other_cards_have_ids_of_their_own() {
    for (which, id, phy) in [(1, 0x1008_8086, 0x0c30), (2, 0x100f_8086, 0x0c20)] {
        scenario(|rig| {
            let mut card = attach(rig, which, Options::default());
            assert_eq!(card.rig.config_read(SLOT, 0, 0, Size::B4), id);
            assert_eq!(card.phy(3), phy);
            card.write(reg::EERD, 11 << eerd::ADDRESS_SHIFT | eerd::START);
            assert_eq!(card.read(reg::EERD) >> 16, id >> 16);
        });
    }
}
