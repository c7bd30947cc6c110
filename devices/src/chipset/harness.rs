//! What the tests of chipset and serial devices share.

use devices_core::rig::Rig;
use devices_core::{Sbdf, Size};
use ioreq::{Request, Target};

/// Runs a scenario twice: undisturbed, and with a save and a load at every `then`.
pub fn scenario(run: impl Fn(&dyn Fn(&mut Rig))) {
    run(&|_| {});
    run(&|rig| rig.save_load());
}

/// A small generator of the xorshift family; the same sequence for the same seed.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }
}

/// Where a fuzzed device is.
#[derive(Clone, Copy)]
pub enum Place {
    /// Ports from here, so many.
    Ports(u16, u16),
    /// The configuration space of this function.
    Config(u8, u8),
}

/// 100 000 random accesses with time going on, and a save and a load now and then. `also` is called
/// before each with a number below 256.
pub fn fuzz(rig: &mut Rig, seed: u64, places: &[Place], mut also: impl FnMut(&mut Rig, u64)) {
    let mut random = Random::new(seed);
    for step in 0..100_000u32 {
        let what = random.below(256);
        also(rig, what);
        let size = [Size::B1, Size::B2, Size::B4][random.below(3) as usize];
        let target = match places[random.below(places.len() as u64) as usize] {
            Place::Ports(first, count) => Target::Pio(first.wrapping_add(random.below(count.into()) as u16)),
            Place::Config(device, function) => {
                Target::PciConfig { sbdf: Sbdf::bus0(device, function), reg: random.below(256) as u16 }
            }
        };
        if random.below(3) == 0 {
            rig.request(&Request::read(0, target, size));
        } else {
            let value = random.next() >> random.below(64);
            rig.request(&Request::write(0, target, size, value & size.mask()));
        }
        if what < 32 {
            let most = 1 << random.below(30);
            rig.advance(random.below(most));
        }
        if step % 997 == 0 {
            rig.save_load();
            rig.take_edges();
            rig.take_mappings();
            rig.take_power();
        }
    }
}
