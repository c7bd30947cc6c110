//! Guests that mean harm.

use devices_core::Space;
use devices_core::rig::{FuzzRange, Random, fuzz};

use super::super::spec::{cpcr, descriptor as d, tppoll};
use super::*;

const PLACES: [FuzzRange; 3] =
    [FuzzRange::Ports(PORTS, 256), FuzzRange::Memory(MEMORY, 256), FuzzRange::Config(SLOT, 0)];

fn board() -> (Rig, Card) {
    let mut rig = Rig::new();
    let card = Card::master(&mut rig);
    (rig, card)
}

#[test]
fn a_loaded_card_is_as_it_was() {
    let mut number = 0usize;
    fuzz(board, 8139, &PLACES, |(rig, card), what| {
        // The same for both boards.
        let step = number / 2;
        number += 1;
        match what {
            200..220 => card.comes(&frame(if what & 1 == 0 { MAC } else { ALL }, 60 + step % 1500)),
            220..224 => card.cable.set_full(what & 1 == 0),
            224 => card.slot.lock().set_link(step & 1 == 0),
            225 => card.wake(),
            // It would be off most of the time.
            226..240 => {
                rig.config_write(SLOT, 0, 0x10, Size::B4, PORTS.into());
                rig.config_write(SLOT, 0, 0x14, Size::B4, MEMORY as u32);
                rig.config_write(SLOT, 0, 4, Size::B2, 7);
                write8(rig, reg::CR, cr::RE | cr::TE);
                write32(rig, reg::RBSTART, 0x1_0000);
            }
            _ => {}
        }
    });
}

#[test]
fn a_hostile_guest() {
    let (mut rig, _card) = board();
    rig.batter(&[(Space::Mmio, MEMORY, 256), (Space::Pio, PORTS.into(), 256)], 1, 20_000);
}

/// Descriptors, buffers and rings at random, of which most make sense.
#[test]
fn random_descriptors() {
    let mut random = Random::new(7);
    for _ in 0..40 {
        let (mut rig, card) = board();
        let rig = &mut rig;
        let ring = [0x1_0000, 0x1f_ff00, 0x1f_f000, 0xfff0_0000][random.below(4) as usize];
        write16(rig, reg::CPCR, cpcr::TX | cpcr::RX | random.below(128) as u16);
        write32(rig, reg::TSAD, ring);
        write32(rig, reg::RDSAR, ring + 0x80 * random.below(3) as u32);
        write8(rig, reg::CR, cr::RE | cr::TE);
        write32(rig, reg::RCR, random.draw() as u32 | rcr::APM | rcr::AB);
        write32(rig, reg::TCR, random.draw() as u32);
        for _ in 0..200 {
            let command = random.draw() as u32 | if random.below(4) == 0 { 0 } else { d::OWN };
            let command = command & if random.below(2) == 0 { !0 } else { !0xf000 };
            let address = if random.below(8) == 0 { random.draw() } else { random.below(1 << 21) };
            let words = [command, random.draw() as u32, address as u32, (address >> 32) as u32];
            rig.poke(0x1_0000 + 16 * random.below(128), &words.map(u32::to_le_bytes).concat());
            match random.below(8) {
                0 => card.comes(&frame(MAC, random.below(9000) as usize)),
                1 => card.cable.set_full(random.below(2) == 0),
                2 => rig.save_load(),
                3 => rig.advance(1000),
                4 => write16(rig, reg::ISR, 0xffff),
                _ => write8(rig, reg::TPPOLL, tppoll::NORMAL),
            }
        }
    }
}
