//! A guest that owns the shared pages and writes whatever it likes there, while we answer.

use hypervisor::RamBlock;
use hypervisor::memory::DirtyLog;

use super::*;
use crate::fake::SERVER;

/// Steps of the test that always runs.
const STEPS: u64 = 100_000;
/// Steps of the long one.
const SOAK: u64 = 10_000_000;

/// A small generator of numbers (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
    fn of<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// A request that is plausible in most of its fields.
fn request(random: &mut Random) -> Ioreq {
    let noise = random.next();
    Ioreq {
        addr: random.of(&[0x60, 0xcf8, 0x1f0, 0xa_0000, 0xf200_0000, 8 << 32 | 4, u64::MAX, noise]),
        data: random.of(&[0, 0x1000, 0x3f_ffff, 4 * MIB - 1, 0xa_0000, 1 << 32, u64::MAX, noise]),
        count: random.of(&[0, 1, 2, 511, 4096, u32::MAX, noise as u32]),
        size: random.of(&[1, 2, 4, 8, 0, noise as u32]),
        flags: noise as u8,
        kind: random.of(&[0, 0, 1, 1, 2, 7, 8, noise as u8]),
    }
}

/// One thing that a hostile guest does.
fn step(guest: &Guest, vram: &RamBlock, random: &mut Random) {
    let noise = random.next();
    match random.below(100) {
        // A request, over whatever is in the slot.
        0..40 => {
            let vcpu = random.below(2) as usize;
            guest.fake.send(vcpu, request(random));
            // Mostly what follows comes after it was seen; now and then it races.
            if noise >> 62 != 0 {
                guest.fake.settle(vcpu);
            }
        }
        40..60 => {
            guest.fake.answer(random.below(2) as usize);
        }
        60..75 => {
            guest.fake.buffer(noise & 0xf_ffff, noise >> 32 & 3, noise as u32);
        }
        // Any word of either page; often the pointers or the first slots.
        75..85 => {
            let word = random.of(&[0, 0, 1, 512, 513, 514, 515, 516, noise % 1024]) as usize;
            let value = random.of(&[0, u64::MAX, 1 << 32, 512 << 32, 0xffff_fff0, noise, noise]);
            guest.fake.word(word).store(value, Ordering::Relaxed);
        }
        85..90 => guest.fake.raise(random.of(&[RING_PORT, VCPU_PORT, VCPU_PORT + 1])),
        // Balloons out and in.
        90..93 => guest.fake.take(noise % 1000..noise % 1000 + 20),
        93..96 => {
            let first = noise % 1000;
            if !guest.fake.state().p2m.contains_key(&first) {
                guest.fake.give(first..first + 1);
            }
        }
        96..98 => {
            guest.xen.pause();
            guest.xen.resume();
        }
        98 => {
            let start = noise % 0x1000;
            let claims = Claims { memory: vec![start..=start + noise % 64], ..Claims::default() };
            guest.xen.claim(&claims).unwrap();
        }
        _ => drop((***vram).bitmap().fetch_dirty(DirtyLog::Display)),
    }
}

fn hostile(steps: u64) {
    let guest = Guest::running(2);
    let vram = guest.xen.add_ram(VRAM, MIB).unwrap();
    guest.xen.map(Mapping::ram(0xf000_0000, MIB, &vram, 0)).unwrap();
    guest.xen.log_dirty(true).unwrap();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for n in 0..steps {
        step(&guest, &vram, &mut random);
        if n % 1024 == 0 {
            guest.devices.log().clear();
            guest.fake.forget();
        }
    }
    // The steps were not just written over each other: many were seen.
    let answered = guest.fake.notified(VCPU_PORT) + guest.fake.notified(VCPU_PORT + 1);
    assert!(answered > steps / 10, "{answered} requests were answered");
    // After all of it an honest request is answered, and only our own domain was ever touched.
    for word in 0..1024 {
        guest.fake.word(word).store(0, Ordering::Relaxed);
    }
    guest.xen.pause();
    guest.xen.resume();
    for vcpu in 0..2 {
        guest.fake.answer(vcpu);
        assert_eq!(guest.fake.ask(vcpu, IN), 0x1111_1111_1111_1111 * (vcpu as u64 + 1));
    }
    // No pin was forgotten: everything can go.
    guest.fake.ask(0, Ioreq { kind: 8, flags: 0, ..IN });
    assert_eq!(guest.xen.foreign_mapped(), 0);
    for op in guest.fake.ops::<MapIoRange>() {
        assert_eq!(op.id, SERVER);
    }
    guest.end().unwrap();
}

#[test]
fn a_hostile_guest_does_no_harm() {
    hostile(STEPS);
}

#[test]
#[ignore = "soak: ten million steps of a hostile guest of Xen"]
fn a_hostile_guest_does_no_harm_for_long() {
    hostile(SOAK);
}
