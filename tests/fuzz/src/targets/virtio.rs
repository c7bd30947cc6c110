//! Small virtio devices, side by side: entropy source, memory balloon, console, tablet, GPU, sockets.

use std::sync::Arc;

use devices::virtio::balloon::{self, VirtioBalloon};
use devices::virtio::gpu::{self, Gpu};
use devices::virtio::input::{self, Input};
use devices::virtio::pci::{Handles, Options, USUAL_FEATURES, VirtioPci};
use devices::virtio::rng::{self, Rng};
use devices::virtio::serial::{self, PortConfig, Serial};
use devices::virtio::spec::feature;
use devices::virtio::vsock::{self, Vsock};
use devices_core::Size;
use devices_core::chardev::CharBackend;
use devices_core::entropy::Foretold;
use devices_core::events::{DeviceEvent, Observer};
use devices_core::rig::Rig;
use devices_core::vsock::{Header, VsockBackend};

use super::devices::{memory, ports};
use crate::script::{self, Window};

/// Slot, ports and memory of each.
const RNG: (u8, u32, u32) = (4, 0xc000, 0xe010_0000);
const BALLOON: (u8, u32, u32) = (5, 0xc100, 0xe020_0000);
const CONSOLE: (u8, u32, u32) = (6, 0xc200, 0xe030_0000);
const TABLET: (u8, u32, u32) = (7, 0xc300, 0xe040_0000);
const GPU: (u8, u32, u32) = (8, 0xc400, 0xe050_0000);
const VSOCK: (u8, u32, u32) = (9, 0xc500, 0xe060_0000);

/// Takes some of what it is given, and has always something to say.
struct Talker;

impl CharBackend for Talker {
    fn write(&self, data: &[u8]) -> usize {
        data.len().min(100)
    }
    fn read(&self, data: &mut [u8]) -> usize {
        let len = data.len().min(300);
        data[..len].fill(b'x');
        len
    }
}

/// Takes what a packet says of itself for its mood, and has always something to say, some of which is no packet.
#[derive(Default)]
struct Mouth(std::sync::atomic::AtomicU64);

impl VsockBackend for Mouth {
    fn send(&self, packet: &[u8]) -> bool {
        assert!(Header::split(packet).is_some(), "the device gives what is no packet");
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed) % 5 != 4
    }
    fn receive(&self, packet: &mut Vec<u8>) -> bool {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let payload = [0, 7, 1, 300][number as usize % 4];
        let lies = u32::from(number % 7 == 6);
        packet.clear();
        packet.extend(Header { len: payload as u32 + lies, ..Header::default() }.bytes());
        packet.resize(Header::LEN + payload, b'v');
        !number.is_multiple_of(3)
    }
    fn reset(&self) {}
}

struct Nobody;

impl Observer for Nobody {
    fn observe(&self, _event: DeviceEvent) {}
}

/// All, as the firmware leaves them.
pub fn rig() -> Rig {
    let mut rig = Rig::new();
    let how = |vectors| {
        let features = USUAL_FEATURES | feature::RING_PACKED;
        Options { legacy: true, modern: true, vectors, features }
    };
    let handles = |rig: &Rig, name| {
        let (ram, msi) = (rig.ram().clone(), rig.recorder());
        Handles { name, ram, inta: rig.irqs().line(11), msi }
    };
    let wiring = rig.wiring();
    let device = Rng::new(&rng::model::MODEL, &wiring, Arc::new(Foretold));
    rig.attach_pci(VirtioPci::new(device, how(2), handles(&rig, "rng")), &wiring, RNG.0, 0);
    let wiring = rig.wiring();
    let all = balloon::Options { deflate_on_oom: true, reporting: true, poison: true };
    let device = VirtioBalloon::new(&balloon::model::MODEL, all, &wiring, rig.ram(), Arc::new(Nobody));
    rig.attach_pci(VirtioPci::new(device, how(5), handles(&rig, "balloon")), &wiring, BALLOON.0, 0);
    let wiring = rig.wiring();
    let options = serial::Options {
        max_ports: 3,
        emergency_write: true,
        size: true,
        class: 0x0780,
        model: &serial::model::MODEL,
    };
    let mut device = VirtioPci::new(Serial::new(options, &wiring), how(2), handles(&rig, "console"));
    for (number, console) in [(0, true), (1, false)] {
        let backend: Option<Arc<dyn CharBackend>> = Some(Arc::new(Talker));
        let port = PortConfig { number, console, name: format!("port{number}"), backend };
        device.plug(port).expect("it is free");
    }
    rig.attach_pci(device, &wiring, CONSOLE.0, 0);
    let wiring = rig.wiring();
    let options = input::Options {
        kind: input::Kind::Tablet,
        serial: Some("fuzz".into()),
        wheel_axis: true,
        model: &input::model::TABLET,
    };
    let device = VirtioPci::new(Input::new(options), how(2), handles(&rig, "tablet"));
    rig.attach_pci(device, &wiring, TABLET.0, 0);
    let wiring = rig.wiring();
    let options = gpu::Options {
        outputs: 3,
        edid: true,
        size: (1280, 800),
        max_hostmem: 1 << 20,
        class: 0x03_80_00,
        model: &gpu::model::MODEL,
    };
    let device = VirtioPci::new(Gpu::new(options, &wiring), how(3), handles(&rig, "gpu"));
    rig.attach_pci(device, &wiring, GPU.0, 0);
    let wiring = rig.wiring();
    let device = Vsock::new(&vsock::model::MODEL, 3, &wiring, Arc::<Mouth>::default());
    rig.attach_pci(VirtioPci::new(device, how(3), handles(&rig, "vsock")), &wiring, VSOCK.0, 0);
    for (slot, ports, memory) in [RNG, BALLOON, CONSOLE, TABLET, GPU, VSOCK] {
        rig.config_write(slot, 0, 0x10, Size::B4, ports);
        rig.config_write(slot, 0, 0x20, Size::B4, memory);
        rig.config_write(slot, 0, 4, Size::B2, 7);
    }
    rig
}

const WINDOWS: [Window; 20] = [
    memory(RNG.2 as u64, 0x40),
    memory(RNG.2 as u64 + 0x3000, 4),
    ports(RNG.1 as u64, 0x20),
    memory(BALLOON.2 as u64, 0x40),
    memory(BALLOON.2 as u64 + 0x3000, 16),
    memory(BALLOON.2 as u64 + 0x2000, 16),
    memory(BALLOON.2 as u64 + 0x1000, 4),
    ports(BALLOON.1 as u64, 0x28),
    memory(CONSOLE.2 as u64, 0x40),
    memory(CONSOLE.2 as u64 + 0x3000, 32),
    memory(CONSOLE.2 as u64 + 0x2000, 12),
    memory(TABLET.2 as u64, 0x40),
    memory(TABLET.2 as u64 + 0x3000, 8),
    memory(TABLET.2 as u64 + 0x2000, 16),
    memory(GPU.2 as u64, 0x40),
    memory(GPU.2 as u64 + 0x3000, 8),
    memory(GPU.2 as u64 + 0x2000, 16),
    memory(VSOCK.2 as u64, 0x40),
    memory(VSOCK.2 as u64 + 0x3000, 12),
    memory(VSOCK.2 as u64 + 0x2000, 8),
];

/// A guest's accesses.
pub fn run(bytes: &[u8]) -> u64 {
    script::run(&mut rig(), &WINDOWS, bytes)
}

/// Where the script puts what it pokes.
const PLACE: u64 = 0x1_0000;

/// Each device started as a driver does it, with requests in its queues, and the queues rung.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    for (window, queues, length) in [(0, 1, 64), (3, 4, 640), (8, 4, 64), (11, 2, 8), (17, 3, 64)] {
        for (features, high) in [(0, 1), (0x3e, 1), (0x2000_0012, 1)] {
            let mut script = start(window, queues, features, high);
            for queue in 0..queues {
                script.extend(requests(queue, length));
            }
            script.extend((0..queues).flat_map(|queue| write(window + 1, queue * 4, 1, queue.into())));
            script.extend([12, 25, 14, 12, 30]);
            if window == 3 {
                // What is in the balloon, and poison; then all again.
                script.extend([write(5, 4, 2, 7), write(5, 12, 2, 9), write(4, 12, 1, 3)].concat());
            }
            seeds.push(script);
        }
    }
    let (gpu, both) = (14, [0, 4].map(|queue| write(15, queue, 1, queue.into())).concat());
    for all in [PICTURE, POINTER] {
        seeds.push([start(gpu, 2, 2, 1), commands(all), both.clone(), vec![12, 25, 14, 12, 30]].concat());
    }
    seeds
}

/// Commands of a GPU: type, and what stands behind the header.
type Commands = [(u64, [u64; 8]); 4];
/// A resource, its backing, a copy, what is shown.
const PICTURE: Commands = [
    (0x101, [1, 2, 16, 16, 0, 0, 0, 0]),
    (0x106, [1, 1, 0x1_0000, 0, 0x1000, 0, 0, 0]),
    (0x105, [0, 0, 16, 16, 0, 0, 1, 0]),
    (0x103, [0, 0, 16, 16, 0, 1, 0, 0]),
];
/// A pointer, and the end of its resource.
const POINTER: Commands = [
    (0x101, [2, 1, 64, 64, 0, 0, 0, 0]),
    (0x300, [0, 5, 5, 0, 2, 0, 0, 0]),
    (0x10a, [0, 0, 0, 0, 0, 0, 0, 0]),
    (0x102, [2, 0, 0, 0, 0, 0, 0, 0]),
];

/// Four commands, each with room for an answer, in both queues.
fn commands(all: Commands) -> Vec<u8> {
    let place = |n: u64| 0xd000 + n * 0x400;
    let command = |(n, (kind, words)): (u64, (u64, [u64; 8]))| {
        let pairs = words.as_chunks::<2>().0.iter().zip((24..).step_by(8));
        let body: Vec<u8> =
            pairs.flat_map(|([low, high], at)| poke(place(n) + at, low | high << 32)).collect();
        [poke(place(n), kind), body].concat()
    };
    let descriptors = |base: u64, n: u64| {
        let at = base + n * 32;
        let command = [poke(at, PLACE + place(n)), poke(at + 8, 64 | 1 << 32 | (2 * n + 1) << 48)];
        let answer = [poke(at + 16, PLACE + place(n) + 0x200), poke(at + 24, 0x200 | 2 << 32)];
        [command, answer].concat().concat()
    };
    let ring = |base: u64| {
        let all: Vec<u8> = (0..4).flat_map(|n| descriptors(base, n)).collect();
        [all, poke(base + 0x1000, 4 << 16 | 2 << 48), poke(base + 0x1008, 4 | 6 << 16)].concat()
    };
    let all: Vec<u8> = (0..).zip(all).flat_map(command).collect();
    [all, ring(0), ring(0x3000)].concat()
}

pub(super) fn write(window: u8, offset: u8, size: u8, value: u32) -> Vec<u8> {
    [&[0, window, offset, size][..], &value.to_le_bytes()[..1 << size]].concat()
}

pub(super) fn poke(at: u64, value: u64) -> Vec<u8> {
    [&[13][..], &(at as u16).to_le_bytes(), &value.to_le_bytes()].concat()
}

/// Features and queues of eight, 0x3000 bytes apart.
pub(super) fn start(window: u8, queues: u8, low: u32, high: u32) -> Vec<u8> {
    let set = |register: u8, size: u8, value: u32| write(window, register, size, value);
    let halves = [(0, low), (1, high)].map(|(half, bits)| [set(8, 2, half), set(0xc, 2, bits)].concat());
    let queue = |number: u8| {
        let at = PLACE as u32 + u32::from(number) * 0x3000;
        let places = [(0x20, at), (0x28, at + 0x1000), (0x30, at + 0x2000)];
        let places = places.map(|(register, at)| set(register, 2, at)).concat();
        [set(0x16, 1, number.into()), set(0x18, 1, 8), places, set(0x1c, 1, 1)].concat()
    };
    let all: Vec<u8> = (0..queues).flat_map(queue).collect();
    [set(0x14, 0, 0), set(0x14, 0, 3), halves.concat(), set(0x14, 0, 0xb), all, set(0x14, 0, 0xf)].concat()
}

/// Four buffers of one descriptor each, the first and the third of which are the device's to fill.
fn requests(queue: u8, length: u64) -> Vec<u8> {
    let base = u64::from(queue) * 0x3000;
    let descriptor = |number: u64| {
        let (at, to) = (base + number * 16, PLACE + 0xd000 + number * 0x400);
        let flags = if number.is_multiple_of(2) { 2 } else { 0 };
        [poke(at, to), poke(at + 8, length | flags << 32)].concat()
    };
    let pages = (0..8).flat_map(|n| poke(0xd400 + n * 8, 0x0120_0000_0110 + n));
    let ring = [poke(base + 0x1000, 4 << 16 | 1 << 48), poke(base + 0x1008, 2 | 3 << 16)].concat();
    (0..4).flat_map(descriptor).chain(pages).chain(ring).collect()
}
