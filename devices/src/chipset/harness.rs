//! What the tests of chipset and serial devices share.

use devices_core::rig::Rig;
use devices_core::{Saved, Sbdf, Size};
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

/// A rig with whatever else a test needs.
pub trait Board {
    fn rig(&mut self) -> &mut Rig;
}

impl Board for Rig {
    fn rig(&mut self) -> &mut Rig {
        self
    }
}

impl<T> Board for (Rig, T) {
    fn rig(&mut self) -> &mut Rig {
        &mut self.0
    }
}

/// 100 000 random accesses with time going on, to two boards that are made alike: to one of them with a
/// save and a load now and then. A guest must not see the difference, in what it reads or in the interrupt
/// wires. `also` is called before each access with a number below 256. In the end damaged states are loaded.
/// Returns the undisturbed board.
pub fn fuzz<B: Board>(
    build: impl Fn() -> B,
    seed: u64,
    places: &[Place],
    mut also: impl FnMut(&mut B, u64),
) -> B {
    let (mut plain, mut moved) = (build(), build());
    let mut random = Random::new(seed);
    for step in 0..100_000u32 {
        let what = random.below(256);
        let request = request(&mut random, places);
        let time = if what < 32 { random.next() >> (34 + random.below(30)) } else { 0 };
        let seen = [&mut plain, &mut moved].map(|board| {
            also(board, what);
            let rig = board.rig();
            let value = rig.request(&request);
            rig.advance(time);
            (value, (0..16).fold(0, |levels, irq| levels | u32::from(rig.irq(irq)) << irq))
        });
        assert_eq!(seen[0], seen[1], "step {step}: {request:x?} tells a loaded board from another");
        if step % 97 == 0 {
            moved.rig().save_load();
        }
        for rig in [plain.rig(), moved.rig()] {
            rig.take_edges();
            rig.take_mappings();
            rig.take_power();
        }
    }
    damage(&build, &mut random, &plain.rig().bus().save().expect("every device saves"), places);
    plain
}

/// Loads states with a few bytes changed, cut short or grown. What loads must go on without a panic.
fn damage<B: Board>(
    build: &impl Fn() -> B,
    random: &mut Random,
    whole: &[(String, Saved)],
    places: &[Place],
) {
    for _ in 0..1000 {
        let mut board = build();
        let rig = board.rig();
        for (name, saved) in whole {
            let mut saved = saved.clone();
            for _ in 0..=random.below(3) {
                let at = random.below(saved.body.len() as u64) as usize;
                saved.body[at] = random.next() as u8;
            }
            if random.below(8) == 0 {
                saved.body.resize(random.below(saved.body.len() as u64 + 9) as usize, 0);
            }
            // Most are refused, and what was half loaded must not panic either.
            let _ = rig.bus().load(name, &saved);
        }
        rig.bus().remap_all();
        for _ in 0..30 {
            rig.request(&request(random, places));
            rig.advance(random.next() >> 30);
        }
        rig.reset();
    }
}

fn request(random: &mut Random, places: &[Place]) -> Request {
    let size = [Size::B1, Size::B2, Size::B4][random.below(3) as usize];
    let target = match places[random.below(places.len() as u64) as usize] {
        Place::Ports(first, count) => Target::Pio(first.wrapping_add(random.below(count.into()) as u16)),
        Place::Config(device, function) => {
            Target::PciConfig { sbdf: Sbdf::bus0(device, function), reg: random.below(256) as u16 }
        }
    };
    if random.below(3) == 0 {
        return Request::read(0, target, size);
    }
    let value = random.next() >> random.below(64);
    Request::write(0, target, size, value & size.mask())
}
