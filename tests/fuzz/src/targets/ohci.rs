//! The OHCI controller with a tablet and a disk that answer: transfers are truly in flight in the guest's lists, and with
//! the medium, while it is reset, saved, loaded, devices come and go and have something to say.

use std::sync::Arc;

use devices::input::{Motion, Pointer};
use devices::usb::UsbHost;
use devices::usb::hid::{Hid, Kind};
use devices::usb::ohci::{Ohci, Ports};
use devices_core::rig::Rig;
use devices_core::{DeviceCell, Size, Space};

use super::xhci::disk;
use crate::script::{self, Between, Window};

const SLOT: u8 = 3;
const BAR: u64 = 0xfeb0_0000;
/// Where scripts put words: HCCA, endpoints of the three lists, TDs, data.
const HCCA: u64 = 0x1_0000;
const CONTROL: u64 = HCCA + 0x100;
const BULK: u64 = HCCA + 0x110;
const INTERRUPT: u64 = HCCA + 0x120;
const TDS: u64 = HCCA + 0x200;
const TAIL: u64 = HCCA + 0x2f0;
const DATA: u64 = HCCA + 0x1000;

const WINDOWS: [Window; 3] =
    [(Space::Mmio, BAR, 0x70), (Space::Mmio, BAR, 0x18), (Space::Mmio, BAR + 0x50, 0x14)];

/// As the firmware leaves it.
fn enable(rig: &mut Rig) {
    rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, 0, 4, Size::B2, 6);
}

fn plug(rig: &Rig, host: &Ports, port: u64) {
    if host.free_port(Some(port)).is_err() {
        return;
    }
    let done = match port {
        1 => host.plug(port, Box::new(Hid::new(Kind::Tablet, "x-1"))),
        2 => host.plug(port, Box::new(disk(rig, host))),
        _ => host.plug(port, Box::new(Hid::new(Kind::Keyboard, "x-3"))),
    };
    done.expect("the port is free");
}

fn between(host: &Ports, rig: &mut Rig, between: Between) {
    match between {
        Between::Save => rig.save_load(),
        Between::Reset => rig.reset(),
        Between::Host(0) => enable(rig),
        Between::Host(port @ 1..=3) => drop(host.unplug(port.into())),
        Between::Host(port @ 4..=6) => plug(rig, host, u64::from(port) - 3),
        Between::Host(7) => start(rig),
        Between::Host(number) => host.with(1, &mut |device| {
            let Some(input) = device.input() else { return };
            let motion = Motion::To { x: Some(u16::from(number) * 999), y: None };
            input.point(Pointer { motion, wheel: 0, buttons: number & 7 });
        }),
    }
}

fn words(rig: &Rig, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rig.poke(at, &bytes);
}

/// All lists run, and ports are enabled.
fn start(rig: &mut Rig) {
    enable(rig);
    words(rig, HCCA, &[INTERRUPT as u32; 32]);
    for at in [CONTROL, BULK, INTERRUPT] {
        words(rig, at, &[1 << 14, 0, 0, 0]);
    }
    for (at, value) in [
        (8, 1),
        (0x18, HCCA as u32),
        (0x20, CONTROL as u32),
        (0x28, BULK as u32),
        (0x10, 0x8000_007f),
        (4, 0xbc),
        (0x54, 0x10),
        (0x58, 0x10),
    ] {
        rig.mmio_write(BAR + at, Size::B4, value.into());
    }
}

/// A script (see `script`), with what happens in between.
pub fn run(bytes: &[u8]) -> u64 {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let ohci = Ohci::new("ohci", 3, rig.ram().clone(), rig.irqs().line(11), &wiring);
    let cell: Arc<DeviceCell<Ohci>> = rig.attach_pci(ohci, &wiring, SLOT, 0);
    let host = Ports::new(cell, "0000:00:03.0".into(), wiring.waker());
    (1..=2).for_each(|port| plug(&rig, &host, port));
    start(&mut rig);
    let seen = script::play(&mut rig, &WINDOWS, bytes, &mut |rig, what| between(&host, rig, what));
    between(&host, &mut rig, Between::Save);
    let raised = rig.take_edges().iter().any(|(_, level)| *level);
    u64::from(seen.count_ones()) | u64::from(raised) << 8
}

/// Two words at a place of the script's.
fn poke(at: u64, low: u64, high: u64) -> Vec<u8> {
    let offset = (at - HCCA).to_le_bytes();
    [&[13, offset[0], offset[1]][..], &(low | high << 32).to_le_bytes()].concat()
}
/// A register is written.
fn write(at: u8, value: u32) -> Vec<u8> {
    [&[0, 0, at, 2][..], &value.to_le_bytes()].concat()
}
/// 2^n nanoseconds.
fn wait(n: u8) -> Vec<u8> {
    vec![12, n]
}
/// A TD: what it is, and its bytes.
fn td(n: u64, last: bool, flags: u64, (at, len): (u64, u64)) -> Vec<u8> {
    let place = TDS + n * 16;
    let next = if last { TAIL } else { place + 16 };
    let end = if len == 0 { 0 } else { at + len - 1 };
    let first = if len == 0 { 0 } else { at };
    [poke(place, 0xf000_0000 | flags, first), poke(place + 8, next, end)].concat()
}
fn endpoint(at: u64, flags: u64, n: u64) -> Vec<u8> {
    [poke(at, flags, TAIL), poke(at + 8, TDS + n * 16, 0)].concat()
}

/// Requests, reports, commands of a disk and isochronous TDs, with something in the middle of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    let request = |address: u64, setup: [u8; 8]| {
        let inward = setup[0] & 0x80 != 0;
        let len = u64::from(setup[6]);
        let (data, back) = if inward { (2 << 19, 1 << 19) } else { (1 << 19, 2 << 19) };
        let setup = u64::from_le_bytes(setup);
        [
            poke(DATA, setup & 0xffff_ffff, setup >> 32),
            td(0, false, 2 << 24, (DATA, 8)),
            td(1, false, 3 << 24 | data | 1 << 18, (DATA + 64, len)),
            td(2, true, 3 << 24 | back, (0, 0)),
            endpoint(CONTROL, address | 8 << 16, 0),
            write(8, 2),
        ]
        .concat()
    };
    let report = |address: u64| {
        let flags = address | 1 << 7 | 2 << 11 | 8 << 16;
        [td(4, true, 1 << 18, (DATA + 128, 8)), endpoint(INTERRUPT, flags, 4)].concat()
    };
    let stream = || {
        let flags = 1 << 7 | 2 << 11 | 1 << 15 | 8 << 16;
        [td(6, true, 1 << 24 | 4, (DATA, 64)), poke(TDS + 112, 0xe008_e000, 0), endpoint(INTERRUPT, flags, 6)]
            .concat()
    };
    let bulk = |number: u64, way: u64, at: u64, len: u64| {
        let flags = number << 7 | way << 11 | 64 << 16;
        [td(5, true, 1 << 18, (at, len)), endpoint(BULK, flags, 5), write(8, 4), wait(22)].concat()
    };
    // A command block wrapper of 31 bytes, with the command from byte 15 on.
    let read = || {
        [
            poke(DATA, 0x4342_5355, 1),
            poke(DATA + 8, 1024, 1 << 7 | 10 << 16 | 0x28 << 24),
            poke(DATA + 16, 0, 2 << 24),
            bulk(2, 1, DATA, 31),
            bulk(1, 2, DATA + 0x800, 1024),
            bulk(1, 2, DATA + 0x80, 13),
        ]
        .concat()
    };
    // The disk alone is at address 0 when the tablet has one.
    let addressed = || {
        [request(0, [0, 5, 3, 0, 0, 0, 0, 0]), wait(22), request(0, [0, 9, 1, 0, 0, 0, 0, 0]), wait(22)]
            .concat()
    };
    for middle in [vec![14], vec![0xff], vec![0x1f], vec![0x2f], vec![0x4f], vec![0x8f], wait(24)] {
        for last in [report(3), stream(), read(), request(3, [0x80, 6, 0, 2, 0, 0, 64, 0])] {
            let parts =
                [addressed(), last.clone(), wait(20), middle.clone(), wait(22), last, vec![0x9f], wait(24)];
            seeds.push(parts.concat());
        }
    }
    seeds
}
