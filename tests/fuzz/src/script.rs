//! Bytes as a guest's accesses to the devices on a rig.

use devices_core::rig::Rig;
use devices_core::{Dir, Sbdf, Size, Space};
use ioreq::{Data, Request, Target};

/// A range of ports or memory where there is something.
pub type Window = (Space, u64, u64);

/// Most accesses of one script.
const STEPS: usize = 2000;
/// RAM that a script can reach; the rig's.
const RAM: u64 = 2 << 20;
/// Where requests by string and descriptors lie: a script's addresses meet there.
const BUFFER: u64 = 0x1_0000;

struct Bytes<'a>(&'a [u8]);

impl Bytes<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }
    fn number(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |number, n| number | u64::from(self.next()) << (8 * n))
    }
    fn size(&mut self) -> Size {
        [Size::B1, Size::B2, Size::B4, Size::B8][usize::from(self.next() & 3)]
    }
    fn target(&mut self, windows: &[Window]) -> Target {
        let which = self.next();
        let (space, first, len) = windows[usize::from(which) % windows.len()];
        let offset = if len > 256 { self.number(3) } else { self.number(1) };
        let address = first + offset % len;
        match space {
            Space::Pio => Target::Pio(address as u16),
            Space::Mmio => Target::Mmio(address),
        }
    }
}

/// What happens to the devices between a guest's accesses.
pub enum Between {
    /// A save and a load.
    Save,
    /// A reset of the machine.
    Reset,
    /// Something of the host's, by its number: below 15.
    Host(u8),
}

/// Runs a script; what stands for what it saw. Every so often the devices are saved and loaded, which the rig checks.
pub fn run(rig: &mut Rig, windows: &[Window], script: &[u8]) -> u64 {
    let seen = play(rig, windows, script, &mut |rig, between| match between {
        Between::Save => rig.save_load(),
        Between::Reset => rig.reset(),
        Between::Host(_) => {}
    });
    rig.save_load();
    // Few enough to tell apart what is new: interrupts, messages, power, and a digest of what was read.
    let edges: u64 =
        rig.take_edges().iter().fold(0, |all, (pin, level)| all | 1 << (pin % 32 * 2 + u32::from(*level)));
    let rest = rig.take_messages().len().min(3) as u64 | (rig.take_power().len().min(3) as u64) << 2;
    edges ^ rest << 48 ^ (seen.count_ones() as u64) << 56
}

/// Runs a script whose owner says what is to be done between accesses. Digests what was read.
pub fn play(
    rig: &mut Rig,
    windows: &[Window],
    script: &[u8],
    between: &mut dyn FnMut(&mut Rig, Between),
) -> u64 {
    let mut script = Bytes(script);
    let (mut steps, mut seen) = (0, 0u64);
    while !script.0.is_empty() && steps < STEPS {
        steps += 1;
        seen = seen.rotate_left(1) ^ step(rig, windows, &mut script, between);
    }
    seen
}

fn step(
    rig: &mut Rig,
    windows: &[Window],
    script: &mut Bytes<'_>,
    between: &mut dyn FnMut(&mut Rig, Between),
) -> u64 {
    let what = script.next();
    match what & 15 {
        0..=5 => {
            let (target, size) = (script.target(windows), script.size());
            let value = script.number(size.bytes());
            rig.request(&Request::write(0, target, size, value))
        }
        6..=8 => {
            let (target, size) = (script.target(windows), script.size());
            rig.request(&Request::read(0, target, size)) & 0xff
        }
        9 => {
            let (target, size) = (script.target(windows), script.size());
            let dir = if what & 16 == 0 { Dir::Read } else { Dir::Write };
            let count = script.number(2) as u32 % 600 + 1;
            let data = Data::Guest(BUFFER + script.number(2));
            rig.request(&Request { vcpu: 0, target, dir, size, data, count, descending: what & 32 != 0 })
        }
        10 | 11 => {
            let place = script.next();
            let sbdf = Sbdf::bus0(place >> 3 & 3, place & 3);
            let (reg, size) = (script.next().into(), script.size());
            let target = Target::PciConfig { sbdf, reg };
            if what & 16 == 0 {
                let value = script.number(size.bytes());
                rig.request(&Request::write(0, target, size, value))
            } else {
                rig.request(&Request::read(0, target, size)) & 0xff
            }
        }
        12 => {
            rig.advance(1 << (script.next() % 31));
            0
        }
        13 => {
            let at = (BUFFER + script.number(2)) % (RAM - 8);
            let bytes = script.number(8).to_le_bytes();
            rig.poke(at, &bytes);
            0
        }
        14 => {
            between(rig, Between::Save);
            0
        }
        _ => {
            between(rig, if what >> 4 == 15 { Between::Reset } else { Between::Host(what >> 4) });
            0
        }
    }
}
