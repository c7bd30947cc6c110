//! The EHCI controller with a companion, and a tablet, a keyboard and a disk that answer: transfers are truly in flight in
//! the guest's queues, and with the medium, while ports change their owners, the machine is reset, saved and loaded, and
//! devices come and go and have something to say.

use std::sync::Arc;

use devices::input::keys::Key;
use devices::input::{Motion, Pointer};
use devices::usb::UsbHost;
use devices::usb::ehci::{Ehci, Ports, model};
use devices::usb::hid::{Hid, Kind};
use devices::usb::uhci::{self, Uhci};
use devices_core::pci::QEMU_SUBSYSTEM;
use devices_core::rig::Rig;
use devices_core::{DeviceCell, Size, Space};

use super::devices::ports;
use super::xhci::disk;
use crate::script::{self, Between, Window};

const SLOT: u8 = 3;
const BAR: u64 = 0xfeb0_0000;
const IO: u32 = 0xc040;
/// Operational registers, and the ports'.
const OPERATIONAL: u64 = BAR + 0x20;
const PORTSC: u64 = OPERATIONAL + 0x44;
/// Where scripts put words: the frame list, queue heads, qTDs, data.
const LIST: u64 = 0x1_0000;
const HEAD: u64 = LIST + 0x1000;
const QUEUE: u64 = HEAD + 0x80;
const PERIODIC: u64 = HEAD + 0x100;
const TDS: u64 = LIST + 0x2000;
const DATA: u64 = LIST + 0x3000;
/// Ports of the companion begin at the third.
const FIRST: u64 = 2;

const WINDOWS: [Window; 4] = [
    (Space::Mmio, BAR, 0x100),
    (Space::Mmio, OPERATIONAL, 0x20),
    (Space::Mmio, PORTSC, 0x18),
    ports(IO as u64, 0x20),
];

/// As the firmware leaves both.
fn enable(rig: &mut Rig) {
    rig.config_write(SLOT, 3, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, 3, 4, Size::B2, 6);
    rig.config_write(SLOT, 0, 0x20, Size::B4, IO);
    rig.config_write(SLOT, 0, 4, Size::B2, 5);
}

fn plug(rig: &Rig, host: &Ports, what: u8) {
    let Ok(port) = host.free_port(None) else { return };
    let hid = |kind| Hid::new(kind, "0000:00:1d.7-1");
    let put = match what {
        0 => host.plug(port, Box::new(hid(Kind::Tablet))),
        1 => host.plug(port, Box::new(hid(Kind::Keyboard))),
        2 => host.plug(port, Box::new(disk(rig, host))),
        // A port without a companion refuses it.
        _ => host.plug(port, Box::new(hid(Kind::Mouse).slow())),
    };
    drop(put);
}

fn between(host: &Ports, rig: &mut Rig, between: Between) {
    match between {
        Between::Save => rig.save_load(),
        Between::Reset => rig.reset(),
        Between::Host(0) => enable(rig),
        Between::Host(port @ 1..=3) => {
            let gone = host.unplug(port.into());
            drop(gone);
        }
        Between::Host(what @ 4..=7) => plug(rig, host, what - 4),
        Between::Host(number) => {
            for port in 1..=4 {
                host.with(port, &mut |device| {
                    let Some(input) = device.input() else { return };
                    let (x, buttons) = (u16::from(number) * 999, number & 7);
                    let motion = match number % 2 {
                        0 => Motion::To { x: Some(x), y: None },
                        _ => Motion::By { dx: i32::from(number) - 10, dy: 300 },
                    };
                    input.point(Pointer { motion, wheel: 0, buttons });
                    if let Some(key) = Key::all().nth(usize::from(number) / 2 * 20) {
                        input.key(key, number % 2 == 0);
                    }
                });
            }
        }
    }
}

fn words(rig: &Rig, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rig.poke(at, &bytes);
}

/// A script (see `script`), with what happens in between.
pub fn run(bytes: &[u8]) -> u64 {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let (ram, line) = (rig.ram().clone(), rig.irqs().line(11));
    let ehci = Ehci::new("ehci", &model::VARIANTS[1], ram.clone(), line, &wiring);
    let cell: Arc<DeviceCell<Ehci>> = rig.attach_pci(ehci, &wiring, SLOT, 3);
    let host = Ports::new(cell, "0000:00:1d.7".into(), wiring.waker());
    let (wiring, line) = (rig.wiring(), rig.irqs().line(10));
    let uhci = Uhci::new("uhci", &uhci::model::VARIANTS[2], QEMU_SUBSYSTEM, ram, line, &wiring);
    let uhci = uhci.at(&host, FIRST).expect("there is no other companion");
    rig.attach_pci(uhci, &wiring, SLOT, 0);
    for what in [2, 0, 1, 3] {
        plug(&rig, &host, what);
    }
    enable(&mut rig);
    words(&rig, LIST, &[PERIODIC as u32 | 2; 1024]);
    words(&rig, HEAD, &[QUEUE as u32 | 2, 1 << 15, 0, 0, 1, 1, 0x40]);
    words(&rig, QUEUE, &[HEAD as u32 | 2, 2 << 12 | 1 << 14 | 64 << 16, 1 << 30, 0, 1, 1, 0]);
    words(&rig, PERIODIC, &[1, 1 << 8 | 2 << 12 | 1 << 14 | 8 << 16, 1 | 1 << 30, 0, 1, 1, 0]);
    let seen = script::play(&mut rig, &WINDOWS, bytes, &mut |rig, what| between(&host, rig, what));
    between(&host, &mut rig, Between::Save);
    let raised = rig.take_edges().iter().any(|(_, level)| *level);
    u64::from(seen.count_ones()) | u64::from(raised) << 8
}

/// Two words at a place of the script's.
fn poke(at: u64, low: u64, high: u64) -> Vec<u8> {
    let offset = (at - LIST).to_le_bytes();
    [&[13, offset[0], offset[1]][..], &(low | high << 32).to_le_bytes()].concat()
}

/// A word to a register of a window.
fn write(window: u8, register: u8, value: u32) -> Vec<u8> {
    [&[0, window, register, 2][..], &value.to_le_bytes()].concat()
}

/// 2^n nanoseconds.
fn wait(n: u8) -> Vec<u8> {
    vec![12, n]
}

/// The driver's start, a request of each kind, reports and a command of a disk, with something in the middle of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    let start = || {
        let lists = [write(1, 0x14, LIST as u32), write(1, 0x18, HEAD as u32)].concat();
        let runs = [write(1, 8, 0x3f), write(1, 0, 0x1_0031), write(0, 0x60, 1)].concat();
        let port = [write(2, 0, 0x1100), wait(25), write(2, 0, 0x1000)].concat();
        [lists, runs, port].concat()
    };
    let requests: [[u8; 8]; 6] = [
        [0x80, 6, 0, 1, 0, 0, 18, 0],
        [0x80, 6, 0, 2, 0, 0, 0xff, 0],
        [0, 9, 1, 0, 0, 0, 0, 0],
        [0x21, 0xff, 0, 0, 0, 0, 0, 0],
        [0, 5, 3, 0, 0, 0, 0, 0],
        [2, 1, 0, 0, 0x81, 0, 0, 0],
    ];
    for setup in requests {
        for middle in [vec![14], vec![15], vec![0x1f], vec![0x8f], write(2, 8, 0x3000), wait(24)] {
            let (active, is_in) = (0xc80u64, setup[0] & 0x80 != 0);
            let (data, status) = if is_in { (1u64 << 8, 0u64) } else { (0, 1 << 8) };
            let mut script = start();
            let setup = u64::from_le_bytes(setup);
            script.extend(poke(DATA, setup & 0xffff_ffff, setup >> 32));
            let tokens = [
                (2 << 8 | 8 << 16, DATA),
                (data | 18 << 16 | 1 << 31, DATA + 64),
                (status | 1 << 15 | 1 << 31, 0),
            ];
            for (n, (token, buffer)) in (0u64..).zip(tokens) {
                let next = if n == 2 { 1 } else { TDS + (n + 1) * 32 };
                script.extend(poke(TDS + n * 32, next, 1));
                script.extend(poke(TDS + n * 32 + 8, active | token, buffer));
            }
            script.extend(poke(QUEUE + 16, TDS, 1));
            script.extend(poke(QUEUE + 24, 0, 0));
            script.extend(wait(21));
            script.extend(middle);
            script.extend(wait(23));
            // The wrapper of a READ(10), for the disk's endpoint.
            script.extend(poke(DATA, 0x4342_5355, 1));
            script.extend(poke(DATA + 8, 512, 0x280a_0080));
            script.extend(poke(QUEUE, HEAD | 2, 2 << 8 | 2 << 12 | 1 << 14 | 512 << 16));
            script.extend(poke(TDS, 1, 1));
            script.extend(poke(TDS + 8, active | 31 << 16 | 1 << 15, DATA));
            script.extend(poke(QUEUE + 16, TDS, 1));
            script.extend(poke(QUEUE + 24, 0, 0));
            script.extend(poke(PERIODIC + 16, TDS, 1));
            script.extend([0x9f]);
            script.extend(wait(24));
            script.extend([6, 1, 4, 2]);
            seeds.push(script);
        }
    }
    seeds
}
