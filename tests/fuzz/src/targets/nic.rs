//! Network cards with frames in flight: a guest writes registers, rings and buffers at random, and meanwhile frames
//! come in, the backend is full and free again, the cable comes and goes, and the card is saved, reset, and moved into
//! another life.

use std::sync::Arc;

use devices::board::NicConfig;
use devices::net::e1000::{E1000, Options, model::VARIANTS};
use devices::net::e1000e::{self, E1000e};
use devices::net::rtl8139::Rtl8139;
use devices::virtio::net as virtio_net;
use devices::virtio::pci::{self, VirtioPci};
use devices::virtio::spec::feature;
use devices_core::net::{MAX_FRAME, Nic, Offload, TestNet};
use devices_core::rig::Rig;
use devices_core::{DeviceCell, Size, Space, Wake, Waker, Wiring};

use super::outcome;
use crate::script::{self, Between, Window};

const REGISTERS: u64 = 0xe000_0000;
/// MSI-X.
const TABLE: u64 = 0xe010_0000;
const PORTS: u64 = 0xc000;
const SLOT: u8 = 1;
const MAC: [u8; 6] = [0x52, 0x54, 0, 0x12, 0x34, 0x56];
/// Guest memory that scripts use most.
const PLACE: u64 = 0x1_0000;
const REACH: usize = 0x1_0000;

type Attach = fn(&mut Rig, u8, NicConfig, &Wiring) -> Arc<DeviceCell<dyn Nic>>;

/// A model under test.
struct Model {
    windows: &'static [Window],
    /// Puts one of its cards, of some kind, into a rig.
    attach: Attach,
    /// Its base address registers, and where they are.
    bars: &'static [(u16, u64)],
    /// Queues of its backend.
    queues: u16,
}

static E1000_MODEL: Model = Model {
    windows: &[
        (Space::Mmio, REGISTERS + 0x100, 4),
        (Space::Mmio, REGISTERS + 0x2800, 0x40),
        (Space::Mmio, REGISTERS + 0x3800, 0x40),
        (Space::Mmio, REGISTERS + 0x400, 4),
        (Space::Mmio, REGISTERS + 0xc0, 0x20),
        (Space::Mmio, REGISTERS, 0x40),
        (Space::Mmio, REGISTERS + 0x5000, 0x900),
        (Space::Mmio, REGISTERS, 0x2_0000),
        (Space::Pio, PORTS, 64),
    ],
    attach: |rig, which, cable, wiring| {
        let (ram, line) = (rig.ram().clone(), rig.irqs().line(11));
        let variant = &VARIANTS[usize::from(which) % VARIANTS.len()];
        let options = Options { mitigation: which & 0x80 == 0, ..Options::default() };
        let card = E1000::new("nic", variant, options, cable, ram, line, wiring);
        rig.attach_pci(card, wiring, SLOT, 0)
    },
    bars: &[(0x10, REGISTERS), (0x14, PORTS)],
    queues: 1,
};

static E1000E_MODEL: Model = Model {
    windows: &[
        (Space::Mmio, REGISTERS + 0x100, 4),
        (Space::Mmio, REGISTERS + 0x2800, 0x40),
        (Space::Mmio, REGISTERS + 0x3800, 0x40),
        (Space::Mmio, REGISTERS + 0x400, 4),
        (Space::Mmio, REGISTERS + 0xc0, 0x40),
        (Space::Mmio, REGISTERS, 0x40),
        (Space::Mmio, REGISTERS + 0x5000, 0x20),
        (Space::Mmio, REGISTERS + 0x5818, 4),
        (Space::Mmio, REGISTERS + 0x5c00, 0x100),
        (Space::Mmio, REGISTERS + 0x2900, 0x40),
        (Space::Mmio, REGISTERS + 0x3900, 0x40),
        (Space::Mmio, TABLE, 0x60),
        (Space::Mmio, REGISTERS, 0x2_0000),
        (Space::Pio, PORTS, 32),
    ],
    attach: |rig, which, cable, wiring| {
        let (ram, line, msi) = (rig.ram().clone(), rig.irqs().line(11), rig.recorder());
        let options = e1000e::Options { init_vet: which & 0x80 == 0, ..e1000e::Options::default() };
        let slot =
            rig.attach_pci(E1000e::new("nic", options, cable, ram, line, msi, wiring), wiring, SLOT, 0);
        // By MSI-X, by MSI, or by the pin.
        match which & 3 {
            0 => rig.config_write(SLOT, 0, 0xa2, Size::B2, 0x8000),
            1 => rig.config_write(SLOT, 0, 0xd2, Size::B2, 1),
            _ => {}
        }
        slot
    },
    bars: &[(0x10, REGISTERS), (0x18, PORTS), (0x1c, TABLE)],
    queues: 1,
};

static RTL8139_MODEL: Model = Model {
    windows: &[
        (Space::Pio, PORTS + 0x10, 0x30),
        (Space::Pio, PORTS + 0x37, 1),
        (Space::Mmio, REGISTERS + 0x38, 0x10),
        (Space::Pio, PORTS + 0xd8, 0x18),
        (Space::Pio, PORTS + 0x48, 0x14),
        (Space::Mmio, REGISTERS, 256),
        (Space::Pio, PORTS, 256),
    ],
    attach: |rig, _, cable, wiring| {
        let (ram, line) = (rig.ram().clone(), rig.irqs().line(11));
        rig.attach_pci(Rtl8139::new("nic", wiring, ram, line, cable), wiring, SLOT, 0)
    },
    bars: &[(0x10, PORTS), (0x14, REGISTERS)],
    queues: 1,
};

static VIRTIO_NET_MODEL: Model = Model {
    windows: &[
        (Space::Mmio, REGISTERS, 0x40),
        (Space::Mmio, REGISTERS + 0x3000, 28),
        (Space::Mmio, REGISTERS + 0x2000, 16),
        (Space::Mmio, REGISTERS + 0x1000, 4),
        (Space::Pio, PORTS, 0x40),
        (Space::Mmio, TABLE, 0x40),
        (Space::Mmio, REGISTERS, 0x4000),
    ],
    attach: |rig, which, cable, wiring| {
        let (ram, inta, msi) = (rig.ram().clone(), rig.irqs().line(11), rig.recorder());
        let card = virtio_net::Net::new(
            virtio_net::Options {
                rx_size: 256,
                tx_size: 256,
                features: 0x00be_bb87 | if which & 0x40 != 0 { 1 << 22 } else { 0 },
                mtu: None,
                model: &virtio_net::model::MODEL,
            },
            wiring,
            cable,
        );
        let features = pci::USUAL_FEATURES | feature::RING_PACKED;
        let how = pci::Options { legacy: true, modern: true, vectors: 4, features };
        let handles = pci::Handles { name: "nic", ram, inta, msi };
        let slot = rig.attach_pci(VirtioPci::new(card, how, handles), wiring, SLOT, 0);
        if which & 0x80 != 0 {
            rig.config_write(SLOT, 0, 0x9a, Size::B2, 0x8000);
        }
        slot
    },
    bars: &[(0x10, PORTS), (0x14, TABLE), (0x20, REGISTERS)],
    queues: 3,
};

/// A card in a rig.
struct Life {
    model: &'static Model,
    slot: Arc<DeviceCell<dyn Nic>>,
    net: Arc<TestNet>,
    waker: Waker,
}

fn attach(rig: &mut Rig, model: &'static Model, which: u8, net: Arc<TestNet>) -> Life {
    let wiring = rig.wiring();
    let cable = NicConfig { backend: net.clone(), mac: MAC };
    let slot = (model.attach)(rig, which, cable, &wiring);
    let life = Life { model, slot, net, waker: wiring.waker() };
    life.enable(rig);
    life
}

impl Life {
    fn enable(&self, rig: &mut Rig) {
        for &(bar, address) in self.model.bars {
            rig.config_write(SLOT, 0, bar, Size::B4, address as u32);
        }
        rig.config_write(SLOT, 0, 4, Size::B2, 7);
    }

    fn arrives(&self, len: usize) {
        let mut frame = vec![0x5a; len];
        for (to, from) in frame.iter_mut().zip(MAC) {
            *to = from;
        }
        // By each that is in use, in turns.
        self.net.give_by(len as u16 / 8 % self.net.in_use(), &frame, Offload::default());
        self.waker.wake(Wake::Backend(0));
    }

    /// What the card sent is no longer than a frame that its buffer can hold, with a tag.
    fn look_at_sent(&self) -> u64 {
        let mut sent = 0;
        while let Some(frame) = self.net.sent() {
            assert!(!frame.is_empty() && frame.len() <= MAX_FRAME + 0xff + 4, "{} bytes", frame.len());
            sent += 1;
        }
        sent
    }

    /// A card that was reset moves nothing.
    fn reset(&self, rig: &mut Rig) {
        rig.reset();
        self.look_at_sent();
        let memory = vec![0xaa; REACH];
        rig.poke(PLACE, &memory);
        self.enable(rig);
        self.arrives(100);
        rig.advance(1 << 20);
        assert!(rig.peek(PLACE, REACH) == memory, "it writes into memory after a reset");
        assert!(self.net.sent().is_none(), "it sends after a reset");
    }

    fn migrate(&mut self, rig: &mut Rig, which: u8) {
        assert!(self.slot.lock().quiesce());
        let saved = rig.bus().save().expect("it saves").remove(0).1;
        let memory = rig.peek(0, 2 << 20);
        let mut other = Rig::new();
        // Guest time goes on from where it was.
        other.advance(rig.now());
        let life = attach(&mut other, self.model, which, self.net.clone());
        other.poke(0, &memory);
        other.bus().load("nic", &saved).expect("it is there").expect("it loads what another saved");
        other.bus().remap_all();
        life.slot.lock().resume();
        *self = life;
        *rig = other;
    }

    fn between(&mut self, rig: &mut Rig, which: u8, between: Between) {
        match between {
            Between::Save => rig.save_load(),
            Between::Reset => self.reset(rig),
            Between::Host(0) => self.arrives(64),
            Between::Host(1) => self.arrives(1518),
            Between::Host(2) => self.arrives(16_000),
            Between::Host(3) => self.net.set_full(true),
            Between::Host(4) => {
                self.net.set_full(false);
                self.waker.wake(Wake::Backend(0));
            }
            Between::Host(5) => self.slot.lock().set_link(false),
            Between::Host(6) => self.slot.lock().set_link(true),
            Between::Host(7) => self.migrate(rig, which),
            Between::Host(8) => {
                self.slot.lock().quiesce();
                self.waker.wake(Wake::Backend(0));
                self.slot.lock().resume();
            }
            Between::Host(_) => self.waker.wake(Wake::Timer(0)),
        }
    }
}

/// A card alone, for its saved state.
pub fn e1000_rig() -> Rig {
    let mut rig = Rig::new();
    attach(&mut rig, &E1000_MODEL, 0, Arc::default());
    rig
}

/// Likewise.
pub fn e1000e_rig() -> Rig {
    let mut rig = Rig::new();
    attach(&mut rig, &E1000E_MODEL, 0, Arc::default());
    rig
}

/// Likewise.
pub fn rtl8139_rig() -> Rig {
    let mut rig = Rig::new();
    attach(&mut rig, &RTL8139_MODEL, 0, Arc::default());
    rig
}

/// Likewise.
pub fn virtio_net_rig() -> Rig {
    let mut rig = Rig::new();
    attach(&mut rig, &VIRTIO_NET_MODEL, 0, Arc::default());
    rig
}

/// The first byte: which card; the rest: a script (see `script`), with what happens in between.
pub fn e1000(bytes: &[u8]) -> u64 {
    run(&E1000_MODEL, bytes)
}

/// The same: the first byte says how it interrupts.
pub fn e1000e(bytes: &[u8]) -> u64 {
    run(&E1000E_MODEL, bytes)
}

/// The same, of which the first byte says nothing.
pub fn rtl8139(bytes: &[u8]) -> u64 {
    run(&RTL8139_MODEL, bytes)
}

/// The same, of which the first byte's highest bit says whether it interrupts by messages, and the next whether it can have
/// several pairs of queues.
pub fn virtio_net(bytes: &[u8]) -> u64 {
    run(&VIRTIO_NET_MODEL, bytes)
}

fn run(model: &'static Model, bytes: &[u8]) -> u64 {
    let Some((&which, script)) = bytes.split_first() else { return 0 };
    let mut rig = Rig::new();
    let mut life = attach(&mut rig, model, which, Arc::new(TestNet::with_queues(model.queues)));
    let (mut kinds, mut sent) = (0u64, 0);
    script::play(&mut rig, model.windows, script, &mut |rig, between| {
        kinds |= match between {
            Between::Save => 1,
            Between::Reset => 2,
            Between::Host(number) => 4 << number,
        };
        sent += life.look_at_sent();
        life.between(rig, which, between);
    });
    rig.save_load();
    sent += life.look_at_sent();
    let edges = rig.take_edges().len().min(7);
    life.reset(&mut rig);
    outcome((kinds, edges, sent.min(9), life.net.left().min(9)), "")
}

pub fn e1000_seeds() -> Vec<Vec<u8>> {
    let write =
        |window: u8, offset: u8, value: u32| [&[0, window, offset, 2][..], &value.to_le_bytes()].concat();
    let poke = |at: u16, value: u64| [&[13][..], &at.to_le_bytes(), &value.to_le_bytes()].concat();
    let between = |number: u8| vec![number << 4 | 15];
    // The transmitter: a ring of 8 at the place, data behind it.
    let transmit = [write(2, 0, PLACE as u32), write(2, 8, 128), write(3, 0, 10)].concat();
    // The receiver: a ring of 8 at 0x400, buffers at 0x1000 and on.
    let receive: Vec<u8> = (0..8u16)
        .flat_map(|n| poke(0x400 + n * 16, PLACE + 0x1000 + u64::from(n) * 2048))
        .chain([write(1, 0, PLACE as u32 + 0x400), write(1, 8, 128), write(1, 0x18, 7)].concat())
        .collect();
    let on = |bits: u32| write(0, 0, 2 | bits);
    let frame = poke(0x4000, 0x5634_1200_5452);
    // EOP, IFCS, RS; extended data with its checksums; a context for segments of 100 bytes.
    let legacy = [poke(0, PLACE + 0x4000), poke(8, 0x0b00_0000 | 200)].concat();
    let context = [poke(0, 0x3222_0021_180e), poke(8, 0x0064_3600 << 32 | 0x2700_0000 | 900)].concat();
    let data = [poke(16, PLACE + 0x4000), poke(24, 0x0300 << 32 | 0x2f10_0000 | 954)].concat();
    let go = |tail: u32| write(2, 0x18, tail);
    let mut seeds = Vec::new();
    for event in 0..10 {
        for sends in [[&legacy[..], &go(1)].concat(), [&context[..], &data, &go(2)].concat()] {
            for extra in [vec![], between(3), between(5)] {
                let mut script = vec![event];
                script.extend([&transmit[..], &receive, &on(0x8038), &frame, &extra].concat());
                script.extend(
                    [&sends[..], &between(event), &[14], &between(4), &[12, 20], &between(6)].concat(),
                );
                script.extend([&[12, 30][..], &between(1), &[6, 4, 0, 2]].concat());
                seeds.push(script);
            }
        }
        // What is sent comes back.
        let lbm = [&transmit[..], &receive, &on(0x8040 | 0x38), &frame, &context, &data, &go(2)].concat();
        seeds.push(
            [&[event | 0x80][..], &lbm, &between(event), &write(1, 0x18, 3), &go(1), &[15 | 0xf0]].concat(),
        );
        let timers =
            [write(4, 4, 200), write(1, 0x20, 30), write(2, 0x20, 30), write(4, 0x10, u32::MAX)].concat();
        seeds.push(
            [
                &[event][..],
                &timers,
                &receive,
                &on(0x8038),
                &between(0),
                &between(event),
                &[12, 14, 14, 12, 20],
            ]
            .concat(),
        );
    }
    seeds
}

/// What the other one's are, with each format of descriptors, and vectors; the windows are in the same order.
pub fn e1000e_seeds() -> Vec<Vec<u8>> {
    let write =
        |window: u8, offset: u8, value: u32| [&[0, window, offset, 2][..], &value.to_le_bytes()].concat();
    let unmasked = [write(4, 0x10, u32::MAX), write(4, 0x24, 0x800d_cba8)].concat();
    let extended = write(6, 8, 0x8000);
    // By hash, with every other entry for queue 1, whose ring lies over that of queue 0.
    let table = (0..32).flat_map(|word| write(8, word * 4, 0x8000_8000));
    let ring = [write(9, 0, PLACE as u32 + 0x400), write(9, 8, 128), write(9, 0x18, 7)].concat();
    let hash: Vec<u8> =
        [write(6, 0, 0x2000), write(7, 0, 0x001f_0001), ring].concat().into_iter().chain(table).collect();
    let before = [vec![], unmasked.clone(), [&extended[..], &unmasked].concat(), [extended, hash].concat()];
    let seeds = e1000_seeds();
    let with = |(number, seed): (usize, &Vec<u8>)| {
        let (first, rest) = seed.split_first().expect("a seed has a first byte");
        [&[*first][..], &before[number % before.len()], rest].concat()
    };
    seeds.iter().enumerate().map(with).collect()
}

pub fn rtl8139_seeds() -> Vec<Vec<u8>> {
    let write8 = |window: u8, offset: u8, value: u8| vec![0, window, offset, 0, value];
    let write =
        |window: u8, offset: u8, value: u32| [&[0, window, offset, 2][..], &value.to_le_bytes()].concat();
    let poke = |at: u16, value: u64| [&[13][..], &at.to_le_bytes(), &value.to_le_bytes()].concat();
    let between = |number: u8| vec![number << 4 | 15];
    let on = |tcr: u32, rcr: u32| [write8(1, 0, 0x0c), write(2, 0xc, rcr), write(2, 8, tcr)].concat();
    // A packet to the card itself, at the place's 0x4000.
    let frame = poke(0x4000, 0x5634_1200_5452);
    // The Rx ring at 0x2000; two buffers sent.
    let ring = [write(0, 0x20, PLACE as u32 + 0x2000), write(0, 0x10, PLACE as u32 + 0x4000)].concat();
    let sends = [write(0, 0, 200), write(0, 4, 1500), write(0, 8, 60)].concat();
    // C+ rings at 0 and 0x400: one packet of two pieces, one to be cut, one with checksums and a tag.
    let descriptor = |at: u16, words: u64| [poke(at, words), poke(at + 8, PLACE + 0x4000)].concat();
    let rings: Vec<u8> = [
        descriptor(0, 0xa000_0040),
        descriptor(16, 0x9000_0100),
        descriptor(32, 0xb864_0400),
        descriptor(48, 0x0002_0520_f007_0080),
    ]
    .into_iter()
    .chain((0..6).map(|n| descriptor(0x400 + n * 16, 0x8000_0200 | u64::from(n == 5) << 30)))
    .flatten()
    .collect();
    let addresses = [
        write(3, 8, 0x006b),
        write(0, 0x10, PLACE as u32),
        write(0, 0x14, 0),
        write(3, 0xc, PLACE as u32 + 0x400),
        write(3, 0x10, 0),
    ]
    .concat();
    let header = poke(0x400c, 0x0045_0008_b588).into_iter().chain(poke(0x4014, 0x0640_0000_0000));
    let cplus = [&rings[..], &addresses, &header.collect::<Vec<u8>>()].concat();
    let poll = write8(3, 1, 0x40);
    let mut seeds = Vec::new();
    for event in 0..10 {
        for (tcr, rcr) in [(0x0300_0600, 0xe70f), (0x0306_0600, 0xe78f)] {
            for (before, go) in [(&ring, &sends), (&cplus, &poll)] {
                for extra in [vec![], between(3), between(5)] {
                    let mut script = vec![event];
                    script.extend([&before[..], &on(tcr, rcr), &frame, &extra, go].concat());
                    script.extend([&between(event), &[14][..], &between(4), &[12, 20], &between(6)].concat());
                    script.extend(
                        [&between(1), &write(2, 4, 0xffff_ffff)[..], &write(2, 0, 0x100), go].concat(),
                    );
                    seeds.push(script);
                }
            }
        }
        // The timer, the counters' dump, a reset of the card's own in the middle.
        let timer = [write(4, 0xc, 1000), write(2, 4, 0xffff)].concat();
        let dump = [&addresses[..], &write(0, 0, PLACE as u32 + 0x3000 | 8)].concat();
        seeds.push(
            [&[event][..], &timer, &[12, 20], &dump, &between(event), &write8(1, 0, 0x1c), &between(0)]
                .concat(),
        );
    }
    seeds
}

pub fn virtio_net_seeds() -> Vec<Vec<u8>> {
    let write = |window: u8, offset: u8, size: u8, value: u32| {
        let bytes = value.to_le_bytes();
        [&[0, window, offset, size][..], &bytes[..1 << size]].concat()
    };
    let poke = |at: u16, value: u64| [&[13][..], &at.to_le_bytes(), &value.to_le_bytes()].concat();
    let between = |number: u8| vec![number << 4 | 15];
    let status = |value: u32| write(0, 0x14, 0, value);
    // Three queues of eight, 0x3000 bytes apart: frames to the card, of the card, commands.
    let queue = |number: u32| {
        let at = PLACE as u32 + number * 0x3000;
        let places = [(0x20, at), (0x28, at + 0x1000), (0x30, at + 0x2000)];
        let places = places.map(|(register, at)| write(0, register, 2, at)).concat();
        [write(0, 0x16, 1, number), write(0, 0x18, 1, 8), places, write(0, 0x1c, 1, 1)].concat()
    };
    let start = |low: u32, high: u32| {
        let features = [(0, low), (1, high)]
            .map(|(half, bits)| [write(0, 8, 2, half), write(0, 0xc, 2, bits)].concat())
            .concat();
        let queues = [0, 1, 2].map(queue).concat();
        [status(0), status(3), features, status(0xb), queues, status(0xf)].concat()
    };
    // A descriptor: where, its bytes, its flags, which comes next; packed: its id is 5.
    let split = |at: u16, to: u64, len: u64, flags: u64, next: u64| {
        [poke(at, PLACE + to), poke(at + 8, len | flags << 32 | next << 48)].concat()
    };
    let packed = |at: u16, to: u64, len: u64, flags: u64| {
        [poke(at, PLACE + to), poke(at + 8, len | 5 << 32 | (flags | 0x80) << 48)].concat()
    };
    let buffers = |packed_ring: bool| {
        if packed_ring {
            let rx = (0..4).flat_map(|n| packed(n * 16, 0xa000 + u64::from(n) * 512, 512, 2));
            let tx = packed(0x3000, 0xd000, 112, 0);
            let command = [packed(0x6000, 0xe000, 3, 1), packed(0x6010, 0xe800, 1, 2)].concat();
            return rx.chain(tx).chain(command).collect::<Vec<u8>>();
        }
        let rx = (0..4).flat_map(|n| split(n * 16, 0xa000 + u64::from(n) * 512, 512, 2, 0));
        let tx = split(0x3000, 0xd000, 112, 0, 0);
        let command = [split(0x6000, 0xe000, 3, 1, 1), split(0x6010, 0xe800, 1, 2, 0)].concat();
        // Flags, index and the first elements of the available rings.
        let rings = [poke(0x1000, 4 << 16 | 1 << 48), poke(0x1008, 2 | 3 << 16), poke(0x4000, 1 << 16)];
        let rings = [&rings.concat()[..], &poke(0x7000, 1 << 16)].concat();
        rx.chain(tx).chain(command).chain(rings).collect()
    };
    let kick = [0, 1, 2].map(|queue: u8| write(1, queue * 4, 1, queue.into())).concat();
    let mut seeds = Vec::new();
    for event in 0..10 {
        for (low, high) in
            [(0x00be_bb87, 1), (0x00be_8000, 1), (0x20be_8000, 1), (0, 1), (0x00be_8000, 5), (0x20be_8000, 5)]
        {
            let before = [start(low, high), buffers(high & 4 != 0)].concat();
            // The command: everything to stations, on.
            let command = poke(0xe000, 0x01_0200);
            let after = [between(0), between(event), vec![14], between(4), vec![12, 20], between(1)].concat();
            let which = event | if low == 0 { 0x80 } else { 0 };
            seeds.push([&[which][..], &before, &command, &between(3), &kick, &after, &kick].concat());
        }
        // By its ports: features, the second queue's page, started, notified, and reset by page 0.
        let ports = [
            write(4, 0x12, 0, 3),
            write(4, 4, 2, 0),
            write(4, 0xe, 1, 1),
            write(4, 8, 2, PLACE as u32 >> 12),
            write(4, 0x12, 0, 7),
            split(0, 0xd000, 112, 0, 0),
            poke(0x1000, 1 << 16),
            write(4, 0x10, 1, 1),
            between(event),
            write(4, 8, 2, 0),
        ];
        seeds.push([&[event][..], &ports.concat(), &between(0)].concat());
        seeds.extend((1..4).map(|pairs| virtio_net_pairs(event, pairs)));
    }
    seeds
}

/// Three pairs of queues of eight, 0x400 bytes apart, of which so many are taken into use and then one.
fn virtio_net_pairs(event: u8, pairs: u64) -> Vec<u8> {
    let write = |window: u8, offset: u8, size: u8, value: u32| {
        let bytes = value.to_le_bytes();
        [&[0, window, offset, size][..], &bytes[..1 << size]].concat()
    };
    let poke = |at: u16, value: u64| [&[13][..], &at.to_le_bytes(), &value.to_le_bytes()].concat();
    let between = |number: u8| vec![number << 4 | 15];
    let status = |value: u32| write(0, 0x14, 0, value);
    let features = [(0, 0x00fe_8000), (1, 1)];
    let features = features.map(|(half, bits)| [write(0, 8, 2, half), write(0, 0xc, 2, bits)].concat());
    let queue = |number: u32| {
        let at = PLACE as u32 + number * 0x400;
        let places = [(0x20, at), (0x28, at + 0x100), (0x30, at + 0x200)];
        let places = places.map(|(register, at)| write(0, register, 2, at)).concat();
        [write(0, 0x16, 1, number), write(0, 0x18, 1, 8), places, write(0, 0x1c, 1, 1)].concat()
    };
    let queues = [0, 1, 2, 3, 4, 5, 6].map(queue).concat();
    let start = [status(0), status(3), features.concat(), status(0xb), queues, status(0xf)].concat();
    let split = |at: u16, to: u64, len: u64, flags: u64, next: u64| {
        [poke(at, PLACE + to), poke(at + 8, len | flags << 32 | next << 48)].concat()
    };
    let ring = |queue: u16, first: u64, index: u64| poke(queue * 0x400 + 0x100, index << 16 | first << 32);
    let frames = [0u16, 1, 2].map(|pair| {
        let (rx, tx) = (2 * pair, 2 * pair + 1);
        let buffer = split(rx * 0x400, 0xa000 + u64::from(pair) * 0x800, 2000, 2, 0);
        [buffer, ring(rx, 0, 1), split(tx * 0x400, 0xd000, 112, 0, 0), ring(tx, 0, 1)].concat()
    });
    let command = |at: u16, pairs: u64, first: u16, index: u64| {
        let place = 6 * 0x400 + first * 16;
        let parts = split(place, at.into(), 4, 1, u64::from(first) + 1);
        let answer = split(place + 16, 0xe800, 1, 2, 0);
        let elements = poke(6 * 0x400 + 0x100, index << 16 | 2 << 48);
        [poke(at, 4 | pairs << 16), parts, answer, elements, write(1, 24, 1, 6)].concat()
    };
    let kick = [0, 1, 2, 3, 4, 5].map(|queue: u8| write(1, queue * 4, 1, queue.into())).concat();
    let script = [start, frames.concat(), command(0xe000, pairs, 0, 1), kick.clone()].concat();
    let after = [between(0), between(1), between(2), between(event), between(4)].concat();
    [&[event | 0x40][..], &script, &after, &kick, &command(0xe100, 1, 2, 2), &between(1), &kick].concat()
}
