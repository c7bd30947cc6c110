//! A hostile guest that also watches: two boards made alike, one of which is saved and loaded now and then.

use ioreq::{Request, Sbdf, Size, Target};

use super::{Random, Rig};
use crate::state::Saved;

/// Where a fuzzed device is.
#[derive(Clone, Copy, Debug)]
pub enum FuzzRange {
    /// Ports: first, how many.
    Ports(u16, u16),
    /// Memory: first byte, how many.
    Memory(u64, u64),
    /// The configuration space of this device and function of bus 0.
    Config(u8, u8),
}

/// A rig with whatever else a test needs.
pub trait Board {
    /// The rig.
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

/// How many accesses [`fuzz`] makes.
const STEPS: u32 = 100_000;
/// How many damaged states it loads.
const DAMAGED: u32 = 1000;

/// 100 000 random accesses with time going on, to two boards that `build` makes alike: to one of them with
/// a save and a load now and then. A guest must not see the difference, in what it reads, in the interrupt
/// wires 0 to 15 or in messages. `also` is called for both before each access with a number below 256: what
/// goes on outside of the guest. In the end damaged states are loaded, which must do no harm.
/// Returns the undisturbed board.
///
/// # Panics
///
/// When the guest sees a difference.
pub fn fuzz<B: Board>(
    build: impl Fn() -> B,
    seed: u64,
    places: &[FuzzRange],
    mut also: impl FnMut(&mut B, u64),
) -> B {
    let (mut plain, mut moved) = (build(), build());
    let mut random = Random::new(seed);
    for step in 0..STEPS {
        let what = random.below(256);
        let request = request(&mut random, places);
        let scale = 18 + random.below(13);
        let time = if what < 32 { random.below(1 << scale) } else { 0 };
        let seen = [&mut plain, &mut moved].map(|board| {
            also(board, what);
            look(board.rig(), &request, time)
        });
        assert!(seen[0] == seen[1], "step {step}: {request:x?} tells a loaded board from another: {seen:x?}");
        if step % 97 == 0 {
            moved.rig().save_load();
        }
    }
    damage(&build, &mut random, &plain.rig().bus().save().expect("every device saves"), places);
    plain
}

/// Makes a request and says what a guest sees of the world then. Empties the logs.
fn look(rig: &mut Rig, request: &Request, time: u64) -> (u64, u32, Vec<(u64, u32)>) {
    let value = rig.request(request);
    rig.advance(time);
    rig.take_edges();
    rig.take_mappings();
    rig.take_power();
    let levels = (0..16).fold(0, |levels, irq| levels | u32::from(rig.irq(irq)) << irq);
    (value, levels, rig.take_messages())
}

/// Loads states with a few bytes changed, cut short or grown. What loads must go on without a panic.
fn damage<B: Board>(
    build: &impl Fn() -> B,
    random: &mut Random,
    whole: &[(String, Saved)],
    places: &[FuzzRange],
) {
    for _ in 0..DAMAGED {
        let mut board = build();
        let rig = board.rig();
        for (name, saved) in whole {
            // Most are refused, and what was half loaded must not panic either.
            let _ = rig.bus().load(name, &damaged(saved, random));
        }
        rig.bus().remap_all();
        for _ in 0..30 {
            rig.request(&request(random, places));
            let scale = 1 + random.below(34);
            rig.advance(random.below(1 << scale));
        }
        rig.reset();
    }
}

fn damaged(saved: &Saved, random: &mut Random) -> Saved {
    let mut saved = saved.clone();
    for _ in 0..=random.below(3) {
        let at = random.below(saved.body.len().max(1) as u64) as usize;
        if let Some(byte) = saved.body.get_mut(at) {
            *byte = random.draw() as u8;
        }
    }
    if random.below(8) == 0 {
        saved.body.resize(random.below(saved.body.len() as u64 + 9) as usize, 0);
    }
    saved
}

fn request(random: &mut Random, places: &[FuzzRange]) -> Request {
    let size = [Size::B1, Size::B2, Size::B4][random.below(3) as usize];
    let target = match places[random.below(places.len() as u64) as usize] {
        FuzzRange::Ports(first, count) => Target::Pio(first.wrapping_add(random.below(count.into()) as u16)),
        FuzzRange::Memory(first, count) => Target::Mmio(first.wrapping_add(random.below(count))),
        FuzzRange::Config(device, function) => {
            Target::PciConfig { sbdf: Sbdf::bus0(device, function), reg: random.below(256) as u16 }
        }
    };
    if random.below(3) == 0 {
        return Request::read(0, target, size);
    }
    let value = (random.draw() ^ random.draw() << 32) >> random.below(64);
    Request::write(0, target, size, value & size.mask())
}
