//! Guests that mean harm.

use super::*;
use devices_core::rig::{FuzzRange, Random, fuzz};
use devices_core::{Space, Wake};

/// A card whose rings and frames are noise.
fn noisy(seed: u64) -> (Rig, (Arc<TestNet>, Waker)) {
    let mut rig = Rig::new();
    let mut random = Random::new(seed);
    let noise: Vec<u8> = (0..0x2_0000).map(|_| (random.draw() & random.draw()) as u8).collect();
    rig.poke(TX_RING, &noise);
    let mut card = card(&mut rig);
    card.start_tx();
    card.write(reg::TDLEN, 0x1000);
    card.write(reg::RDBAL, RX_RING as u32);
    card.write(reg::RDLEN, 0x1000);
    card.write(reg::RDT, 0xff);
    card.write(reg::RCTL, rctl::EN | rctl::UPE | rctl::MPE | rctl::BAM | rctl::LPE);
    let parts = (card.net.clone(), card.waker.clone());
    (rig, parts)
}

const REGISTERS: [(u64, u64); 6] = [
    (MEMORY, 0x200),
    (MEMORY + 0x400, 0x20),
    (MEMORY + 0x2800, 0x30),
    (MEMORY + 0x3800, 0x30),
    (MEMORY + 0x5000, 0x900),
    (MEMORY, 0x2_0000),
];

#[test]
fn a_loaded_card_is_like_another() {
    let mut places: Vec<FuzzRange> =
        REGISTERS.iter().map(|&(first, len)| FuzzRange::Memory(first, len)).collect();
    places.push(FuzzRange::Ports(PORTS, 64));
    places.push(FuzzRange::Config(SLOT, 0));
    let build = || noisy(7);
    fuzz(build, 11, &places, |(rig, (net, waker)), what| match what {
        0..64 => {
            net.give(&frame(if what & 1 == 0 { MAC } else { BROADCAST }, what as usize * 40));
            waker.wake(Wake::Backend(0));
        }
        64 => net.set_full(true),
        65..70 => {
            net.set_full(false);
            waker.wake(Wake::Backend(0));
        }
        70..80 => {
            rig.mmio_write(MEMORY + u64::from(reg::TDT), Size::B4, what * 3);
        }
        80..90 => {
            rig.config_write(SLOT, 0, 0x10, Size::B4, MEMORY as u32);
            rig.config_write(SLOT, 0, 0x04, Size::B2, 7);
        }
        _ => {}
    });
}

#[test]
fn a_hostile_guest() {
    let (mut rig, _) = noisy(3);
    let windows: Vec<_> = REGISTERS.iter().map(|&(first, len)| (Space::Mmio, first, len)).collect();
    rig.batter(&windows, 5, 20_000);
}

#[test]
fn random_descriptors() {
    for seed in 0..300 {
        let (mut rig, (net, waker)) = noisy(seed);
        let mut random = Random::new(seed);
        for turn in 0..4 {
            rig.mmio_write(MEMORY + u64::from(reg::TDT), Size::B4, random.below(256));
            net.give(&frame(MAC, random.below(17_000) as usize));
            waker.wake(Wake::Backend(0));
            net.set_full(turn == 1);
            rig.advance(1 << 17);
            rig.save_load();
        }
    }
}

#[test]
fn rings_outside_of_memory_do_no_harm() {
    let mut rig = Rig::new();
    let mut card = card(&mut rig);
    card.start_tx();
    card.start_rx(4, 0);
    for base in [0xfff0_0000_u32, MEMORY as u32, 0x1f_fff0] {
        for high in [0, 0xffff_ffff] {
            for (low, len, tail) in [(reg::TDBAL, reg::TDLEN, reg::TDT), (reg::RDBAL, reg::RDLEN, reg::RDT)] {
                card.write(low, base);
                card.write(low + 4, high);
                for bytes in [0, 128, 0xf_ff80] {
                    card.write(len, bytes);
                    for at in [0, 3, 7, 8, 0xffff] {
                        card.write(tail, at);
                        card.arrives(&frame(MAC, 1500));
                    }
                }
            }
        }
    }
    while card.net.sent().is_some() {}
}
