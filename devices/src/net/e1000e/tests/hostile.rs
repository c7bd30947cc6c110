//! Guests that mean harm.

use super::super::spec::mrqc;
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
    card.start_msix();
    card.write(reg::IVAR, 0x800d_cba8);
    card.write(reg::IMS, !0);
    if seed & 1 != 0 {
        card.rig.config_write(SLOT, 0, MSIX_AT + 2, Size::B2, 0);
    }
    for queue in 0..2 {
        card.start_tx(queue);
        card.write(reg::TDLEN + 0x100 * queue, 0x1000);
        let ring = reg::RDBAL + 0x100 * queue;
        card.write(ring, RX_RING as u32 + 0x1000 * queue);
        card.write(ring + 8, 0x1000);
        card.write(ring + 0x18, 0xff);
    }
    let split = if seed & 2 != 0 { rctl::DTYP_SPLIT } else { 0 };
    card.write(reg::RFCTL, if seed & 4 != 0 { rfctl::EXTEN } else { 0 });
    card.write(reg::RXCSUM, rxcsum::PCSD);
    card.write(reg::MRQC, mrqc::RSS | 0x1f_0000);
    card.write(reg::RETA, 0x8000_8000);
    card.write(reg::RCTL, rctl::EN | rctl::UPE | rctl::MPE | rctl::BAM | rctl::LPE | split);
    let parts = (card.net.clone(), card.waker.clone());
    (rig, parts)
}

const REGISTERS: [(u64, u64); 8] = [
    (MEMORY, 0x200),
    (MEMORY + 0xc0, 0x40),
    (MEMORY + 0x2800, 0x230),
    (MEMORY + 0x3800, 0x230),
    (MEMORY + 0x5000, 0x900),
    (MEMORY, 0x2_0000),
    (TABLE, 0x60),
    (TABLE, 0x4000),
];

#[test]
fn a_loaded_card_is_like_another() {
    let mut places: Vec<FuzzRange> =
        REGISTERS.iter().map(|&(first, len)| FuzzRange::Memory(first, len)).collect();
    places.push(FuzzRange::Ports(PORTS, 32));
    places.push(FuzzRange::Config(SLOT, 0));
    let build = || noisy(6);
    fuzz(build, 11, &places, |(rig, (net, waker)), what| match what {
        0..64 => {
            let to = if what & 1 == 0 { MAC } else { BROADCAST };
            let frame =
                if what & 2 == 0 { tcp(what as u16, what as usize) } else { frame(to, what as usize * 40) };
            net.give(&frame);
            waker.wake(Wake::Backend(0));
        }
        64 => net.set_full(true),
        65..70 => {
            net.set_full(false);
            waker.wake(Wake::Backend(0));
        }
        70..80 => {
            let queue = 0x100 * (what & 1);
            rig.mmio_write(MEMORY + u64::from(reg::TDT) + queue, Size::B4, what * 3);
        }
        80..90 => place(rig),
        _ => {}
    });
}

#[test]
fn a_hostile_guest() {
    let (mut rig, _) = noisy(4);
    let windows: Vec<_> = REGISTERS.iter().map(|&(first, len)| (Space::Mmio, first, len)).collect();
    rig.batter(&windows, 5, 20_000);
}

#[test]
fn random_descriptors() {
    for seed in 0..160 {
        let (mut rig, (net, waker)) = noisy(seed);
        let mut random = Random::new(seed);
        for turn in 0..4 {
            let queue = 0x100 * random.below(2);
            rig.mmio_write(MEMORY + u64::from(reg::TDT) + queue, Size::B4, random.below(256));
            net.give(&frame(MAC, random.below(17_000) as usize));
            net.give(&tcp(random.draw() as u16, random.below(3000) as usize));
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
    card.start_tx(0);
    card.start_rx(4, 0);
    for (extended, split) in [(0, 0), (rfctl::EXTEN, 0), (rfctl::EXTEN, rctl::DTYP_SPLIT)] {
        card.write(reg::RFCTL, extended);
        card.write(reg::RCTL, rctl::EN | rctl::BAM | split);
        for base in [0xfff0_0000_u32, MEMORY as u32, 0x1f_fff0] {
            for (low, len, tail) in [(reg::TDBAL, reg::TDLEN, reg::TDT), (reg::RDBAL, reg::RDLEN, reg::RDT)] {
                card.write(low, base);
                card.write(low + 4, 0xffff_ffff * (base & 1));
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
