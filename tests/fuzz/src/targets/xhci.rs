//! The xHCI controller with a tablet and a disk that answer: transfers are truly in flight on the guest's rings, and with
//! the medium, while it is reset, saved, loaded, devices come and go and have something to say.

use std::sync::Arc;

use devices::input::{Motion, Pointer};
use devices::storage::ide::Geometry;
use devices::storage::scsi::{Labels, Medium, UnitOptions};
use devices::usb::UsbHost;
use devices::usb::hid::{Hid, Kind};
use devices::usb::storage::Storage;
use devices::usb::xhci::model::VARIANTS;
use devices::usb::xhci::spec::{CONTEXT, DOORBELLS, INTERRUPTERS, OPERATIONAL, PORTS, trb};
use devices::usb::xhci::{Layout, Ports, Xhci};
use devices_core::block::{BlockBackend, Inline, MemoryStore};
use devices_core::rig::Rig;
use devices_core::{DeviceCell, Size, Space};

use crate::script::{self, Between, Window};

const SLOT: u8 = 4;
const BAR: u64 = 0xfeb0_0000;
/// Where scripts put words: contexts, rings, data.
const DCBAA: u64 = 0x1_0000;
const INPUT: u64 = 0x1_1000;
const COMMANDS: u64 = 0x1_2000;
const EVENTS: u64 = 0x1_3000;
const TABLE: u64 = 0x1_4000;
const OUTPUT: u64 = 0x1_5000;
const CONTROL: u64 = 0x1_7000;
const INTERRUPT: u64 = 0x1_8000;
const BULK_IN: u64 = 0x1_9000;
const BULK_OUT: u64 = 0x1_a000;
const DATA: u64 = 0x1_b000;
/// Ports of the tablet, at high speed, and of the disk, at SuperSpeed.
const TABLET: u32 = 5;
const DISK: u32 = 2;

const WINDOWS: [Window; 4] = [
    (Space::Mmio, BAR, 0x4000),
    (Space::Mmio, BAR + OPERATIONAL, 0x40),
    (Space::Mmio, BAR + PORTS, 0x80),
    (Space::Mmio, BAR + DOORBELLS, 0x10),
];

fn put(rig: &mut Rig, at: u64, value: u32) {
    rig.mmio_write(BAR + at, Size::B4, value.into());
}
fn words(rig: &Rig, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rig.poke(at, &bytes);
}

/// As the firmware leaves it.
fn enable(rig: &mut Rig) {
    rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, 0, 4, Size::B2, 6);
}

/// The controller runs, and both devices have slots with endpoints.
fn start(rig: &mut Rig) {
    enable(rig);
    let op = |at: u64| OPERATIONAL + at;
    put(rig, op(0x38), 8);
    put(rig, op(0x30), DCBAA as u32);
    put(rig, op(0x18), COMMANDS as u32 | 1);
    words(rig, TABLE, &[EVENTS as u32, 0, 64, 0]);
    for (at, value) in [(8, 1), (0x18, EVENTS as u32), (0x10, TABLE as u32), (0x14, 0), (0, 3)] {
        put(rig, INTERRUPTERS + at, value);
    }
    put(rig, op(0), 5);
    let mut at = COMMANDS;
    let mut command = |rig: &Rig, kind: u8, slot: u32, input: u64| {
        words(rig, at, &[input as u32, 0, 0, u32::from(kind) << 10 | slot << 24 | 1]);
        at += 16;
    };
    for (slot, port, speed) in [(1u32, TABLET, 3), (2, DISK, 4)] {
        put(rig, PORTS + 16 * u64::from(port - 1), 0x210);
        words(rig, DCBAA + 8 * u64::from(slot), &[OUTPUT as u32 + 0x400 * slot]);
        let input = INPUT + 0x800 * u64::from(slot - 1);
        words(rig, input, &[0, 3]);
        words(rig, input + CONTEXT, &[1 << 27 | speed << 20, port << 16]);
        let ring = CONTROL as u32 + 0x800 * (slot - 1) | 1;
        words(rig, input + 2 * CONTEXT, &[0, 3 << 1 | 4 << 3 | 64 << 16, ring]);
        command(rig, trb::ENABLE_SLOT, 0, 0);
        command(rig, trb::ADDRESS_DEVICE, slot, input);
        let configure = input + 0x400;
        words(rig, configure, &[0, if slot == 1 { 1 | 1 << 3 } else { 1 | 3 << 3 }]);
        words(rig, configure + CONTEXT, &[4 << 27 | speed << 20, port << 16]);
        let (kind, ring) = if slot == 1 { (7, INTERRUPT) } else { (6, BULK_IN) };
        words(rig, configure + 4 * CONTEXT, &[0, 3 << 1 | kind << 3 | 8 << 16, ring as u32 | 1]);
        words(rig, configure + 5 * CONTEXT, &[0, 3 << 1 | 2 << 3 | 512 << 16, BULK_OUT as u32 | 1]);
        command(rig, trb::CONFIGURE_ENDPOINT, slot, configure);
        // SET_CONFIGURATION.
        let control = CONTROL + 0x800 * u64::from(slot - 1);
        words(rig, control, &[0x0001_0900, 0, 8, u32::from(trb::SETUP) << 10 | 0x41]);
        words(rig, control + 16, &[0, 0, 0, u32::from(trb::STATUS) << 10 | 0x1_0021]);
    }
    for doorbell in [(0, 0), (4, 1), (8, 1)] {
        put(rig, DOORBELLS + doorbell.0, doorbell.1);
    }
}

/// A disk on such a controller.
pub(super) fn disk(rig: &Rig, host: &dyn UsbHost) -> Storage {
    let store = Arc::new(MemoryStore::new(vec![0x5a; 128 << 10], false));
    let backend: Arc<dyn BlockBackend> = Arc::new(Inline::new(store, rig.wiring()));
    let medium = Medium::Disk {
        backend,
        geometry: Geometry::of_size(256),
        block: 512,
        physical_block: None,
        discard_granularity: 4096,
        rotation_rate: 0,
        removable: true,
        fua: false,
    };
    let unit = UnitOptions::new(medium, Labels::default());
    Storage::new(unit, 512, "S", host.waker())
}

fn between(host: &Ports, rig: &mut Rig, between: Between) {
    match between {
        Between::Save => rig.save_load(),
        Between::Reset => rig.reset(),
        Between::Host(0) => enable(rig),
        Between::Host(1) => drop(host.unplug(1)),
        Between::Host(2) => drop(host.unplug(2)),
        Between::Host(3) if host.free_port(Some(1)).is_ok() => {
            host.plug(1, Box::new(Hid::new(Kind::Tablet, "x-1"))).expect("the port is free");
        }
        Between::Host(4) if host.free_port(Some(2)).is_ok() => {
            let disk = disk(rig, host);
            host.plug(2, Box::new(disk)).expect("the port is free");
        }
        Between::Host(5) => start(rig),
        Between::Host(number) => host.with(1, &mut |device| {
            let Some(input) = device.input() else { return };
            let motion = Motion::To { x: Some(u16::from(number) * 999), y: None };
            input.point(Pointer { motion, wheel: 0, buttons: number & 7 });
        }),
    }
}

/// A script (see `script`), with what happens in between.
pub fn run(bytes: &[u8]) -> u64 {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let memory = (rig.ram().clone(), rig.recorder() as _);
    let line = rig.irqs().line(11);
    let xhci = Xhci::new("xhci", &VARIANTS[0], Layout::default(), memory, line, &wiring);
    let cell: Arc<DeviceCell<Xhci>> = rig.attach_pci(xhci, &wiring, SLOT, 0);
    let host = Ports::new(cell, "0000:00:04.0".into(), wiring.waker());
    between(&host, &mut rig, Between::Host(3));
    between(&host, &mut rig, Between::Host(4));
    start(&mut rig);
    let seen = script::play(&mut rig, &WINDOWS, bytes, &mut |rig, what| between(&host, rig, what));
    rig.save_load();
    let raised = rig.take_edges().iter().any(|(_, level)| *level);
    u64::from(seen.count_ones()) | u64::from(raised) << 8
}

/// Two words at a place of the script's.
fn poke(at: u64, low: u64, high: u64) -> Vec<u8> {
    let offset = (at - DCBAA).to_le_bytes();
    [&[13, offset[0], offset[1]][..], &(low | high << 32).to_le_bytes()].concat()
}

/// A TRB.
fn trb_at(at: u64, parameter: u64, status: u64, control: u64) -> Vec<u8> {
    [poke(at, parameter & 0xffff_ffff, parameter >> 32), poke(at + 8, status, control | 1)].concat()
}

/// A register is written.
fn write(at: u64, value: u32) -> Vec<u8> {
    let [low, middle, high, ..] = at.to_le_bytes();
    [&[0, 0, low, middle, high, 2][..], &value.to_le_bytes()].concat()
}

/// Transfers and commands of each kind, with something in the middle of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    let normal = u64::from(trb::NORMAL) << 10 | 0x24;
    let doorbell = |slot: u64, endpoint: u32| write(DOORBELLS + 4 * slot, endpoint);
    let report = || [trb_at(INTERRUPT, DATA, 8, normal), doorbell(1, 3)].concat();
    // A command block wrapper of 31 bytes, with the command from byte 15 on.
    let wrapper = |inward: u64, op: u64, blocks: u64| {
        let len = blocks * 512;
        [
            poke(DATA, 0x4342_5355, 1),
            poke(DATA + 8, len, inward << 7 | 10 << 16 | op << 24),
            poke(DATA + 16, 0, blocks << 24),
            trb_at(BULK_OUT, DATA, 31, normal),
            doorbell(2, 4),
        ]
        .concat()
    };
    let read = || {
        let data = trb_at(BULK_IN, DATA + 0x1000, 2048, normal | 0x10);
        let more = trb_at(BULK_IN + 16, DATA + 0x2000, 2048, normal);
        let status = trb_at(BULK_IN + 32, DATA + 0x800, 13, normal);
        [wrapper(1, 0x28, 8), data, more, status, doorbell(2, 3)].concat()
    };
    let written = || {
        let data = trb_at(BULK_OUT + 16, DATA, 1024, normal);
        let status = trb_at(BULK_IN, DATA + 0x800, 13, normal);
        [wrapper(0, 0x2a, 2), data, doorbell(2, 4), status, doorbell(2, 3)].concat()
    };
    let command = |kind: u8, slot: u64, endpoint: u64| {
        let bits = u64::from(kind) << 10 | slot << 24 | endpoint << 16;
        [trb_at(COMMANDS + 6 * 16, INPUT + 0x400, 0, bits), doorbell(0, 0)].concat()
    };
    let endings = [
        vec![14],
        vec![0xff],
        vec![0x1f],
        vec![0x2f],
        vec![0x8f],
        vec![12, 22],
        command(trb::STOP_ENDPOINT, 2, 3),
        command(trb::DISABLE_SLOT, 2, 0),
        command(trb::RESET_DEVICE, 1, 0),
        command(trb::CONFIGURE_ENDPOINT, 1, 0),
        write(PORTS + 16, 0x210),
        write(OPERATIONAL, 0),
    ];
    for ending in endings {
        for first in [report(), read(), written()] {
            let mut script = first;
            script.extend(&ending);
            script.extend([12, 24]);
            script.extend(write(INTERRUPTERS + 0x18, EVENTS as u32 + 0x108));
            script.extend(read());
            script.extend([12, 24, 6, 0, 2, 1]);
            seeds.push(script);
        }
    }
    seeds
}
