//! The UHCI controller with a tablet and a keyboard that answer: transfers are truly in flight in the guest's queues while
//! it is reset, saved, loaded, devices come and go and have something to say.

use std::sync::Arc;

use devices::input::keys::Key;
use devices::input::{Motion, Pointer};
use devices::usb::UsbHost;
use devices::usb::hid::{Hid, Kind};
use devices::usb::uhci::model::VARIANTS;
use devices::usb::uhci::{Ports, Uhci};
use devices_core::pci::QEMU_SUBSYSTEM;
use devices_core::rig::Rig;
use devices_core::{DeviceCell, Size};

use super::devices::ports;
use crate::script::{self, Between, Window};

const SLOT: u8 = 1;
const PORTS: u32 = 0xc040;
/// Where scripts put words: the frame list of 1024 entries, then queues, TDs and data.
const LIST: u64 = 0x1_0000;
const QUEUE: u64 = LIST + 0x1000;
const TDS: u64 = LIST + 0x2000;
const DATA: u64 = LIST + 0x3000;

pub(super) const WINDOWS: [Window; 2] = [ports(PORTS as u64, 0x20), ports(PORTS as u64, 4)];

/// As the firmware leaves it.
pub(super) fn enable(rig: &mut Rig) {
    rig.config_write(SLOT, 2, 0x20, Size::B4, PORTS);
    rig.config_write(SLOT, 2, 4, Size::B2, 5);
}

fn plug(host: &Ports, kind: Kind) {
    if let Ok(port) = host.free_port(None) {
        let device = Hid::new(kind, "0000:00:01.2-1");
        host.plug(port, Box::new(device)).expect("the port is free");
    }
}

fn between(host: &Ports, rig: &mut Rig, between: Between) {
    match between {
        Between::Save => rig.save_load(),
        Between::Reset => rig.reset(),
        Between::Host(0) => enable(rig),
        Between::Host(1) => drop(host.unplug(1)),
        Between::Host(2) => drop(host.unplug(2)),
        Between::Host(3) => plug(host, Kind::Tablet),
        Between::Host(4) => plug(host, Kind::Mouse),
        Between::Host(5) => plug(host, Kind::Keyboard),
        Between::Host(number) => {
            for port in [1, 2] {
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

/// The controller, whose every frame leads to the queue.
pub(super) fn attach(rig: &mut Rig) -> Ports {
    let wiring = rig.wiring();
    let line = rig.irqs().line(11);
    let uhci = Uhci::new("uhci", &VARIANTS[0], QEMU_SUBSYSTEM, rig.ram().clone(), line, &wiring);
    let cell: Arc<DeviceCell<Uhci>> = rig.attach_pci(uhci, &wiring, SLOT, 2);
    enable(rig);
    let entries: Vec<u8> = (0..1024).flat_map(|_| (QUEUE as u32 | 2).to_le_bytes()).collect();
    rig.poke(LIST, &entries);
    Ports::new(cell, "0000:00:01.2".into(), wiring.waker())
}

/// A script (see `script`), with what happens in between.
pub fn run(bytes: &[u8]) -> u64 {
    let mut rig = Rig::new();
    let host = attach(&mut rig);
    plug(&host, Kind::Tablet);
    plug(&host, Kind::Keyboard);
    let seen = script::play(&mut rig, &WINDOWS, bytes, &mut |rig, what| between(&host, rig, what));
    rig.save_load();
    let raised = rig.take_edges().iter().any(|(_, level)| *level);
    u64::from(seen.count_ones()) | u64::from(raised) << 8
}

/// Two words at a place of the script's.
fn poke(at: u64, low: u64, high: u64) -> Vec<u8> {
    let offset = (at - LIST).to_le_bytes();
    [&[13, offset[0], offset[1]][..], &(low | high << 32).to_le_bytes()].concat()
}

/// A word to a register.
fn write(register: u8, value: u16) -> Vec<u8> {
    let [low, high] = value.to_le_bytes();
    vec![0, 0, register, 1, low, high]
}

/// 2^n nanoseconds.
pub(super) fn wait(n: u8) -> Vec<u8> {
    vec![12, n]
}

/// Active, with three attempts.
const ACTIVE: u64 = 0x1880_0000;

/// The schedule runs, and both ports are enabled.
pub(super) fn start() -> Vec<u8> {
    let base = [0, 0, 8, 2].into_iter().chain((LIST as u32).to_le_bytes()).collect();
    [base, write(0, 0xc1), write(4, 15), write(0x10, 0x200), write(0x10, 4), write(0x12, 4)].concat()
}

/// A request of up to eight bytes to that address, for the queue to do.
pub(super) fn request(address: u64, setup: [u8; 8]) -> Vec<u8> {
    let is_in = setup[0] & 0x80 != 0;
    let to = |token: u32| u64::from(token) | address << 8;
    let (data, status) = if is_in { (0x69, 0xe1) } else { (0xe1, 0x69) };
    let setup = u64::from_le_bytes(setup);
    let mut script = poke(DATA, setup & 0xffff_ffff, setup >> 32);
    let tds = [(to(0x2d) | 7 << 21, DATA), (to(data) | 7 << 21, DATA + 64), (to(status) | 0x7ff << 21, 0)];
    for (n, (token, buffer)) in (0u64..).zip(tds) {
        let at = TDS + n * 16;
        let next = if n == 2 { 1 } else { at + 16 };
        script.extend(poke(at, next, ACTIVE));
        script.extend(poke(at + 8, token, buffer));
    }
    script.extend(poke(QUEUE, 1, TDS));
    script
}

/// A report of the endpoint of the device at that address.
pub(super) fn report(address: u64) -> Vec<u8> {
    let token = 0x69 | address << 8 | 1 << 15 | 7 << 21;
    [poke(TDS, 1, ACTIVE | 0x2100_0000), poke(TDS + 8, token, DATA + 128), poke(QUEUE, 1, TDS)].concat()
}

/// The driver's start, a request of each kind and reports, with something in the middle of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    let requests: [[u8; 8]; 7] = [
        [0x80, 6, 0, 1, 0, 0, 18, 0],
        [0x80, 6, 0, 2, 0, 0, 0xff, 0],
        [0x81, 6, 0, 0x22, 0, 0, 74, 0],
        [0, 9, 1, 0, 0, 0, 0, 0],
        [0x21, 9, 0, 2, 0, 0, 1, 0],
        [0x21, 10, 0, 1, 0, 0, 0, 0],
        [0, 5, 3, 0, 0, 0, 0, 0],
    ];
    for setup in requests {
        for middle in [vec![14], vec![0xff], vec![0x1f], vec![0x8f], wait(24)] {
            // A report comes from the endpoint that is there once the device is configured.
            let parts = [start(), request(0, setup), wait(21), middle, wait(23), report(0)];
            seeds.push([parts.concat(), vec![0x9f], wait(24), vec![6, 0, 2, 1]].concat());
        }
    }
    seeds
}
