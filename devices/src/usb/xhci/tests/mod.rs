//! A driver's side of the controller, and what the others have in common.

mod hostile;
mod hub;
mod rings;
mod start;
mod storage;

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::rig::Rig;
use ioreq::Size;

use super::model::VARIANTS;
use super::spec::{CONTEXT, DOORBELLS, INTERRUPTERS, OPERATIONAL, PORTS, code, control, trb};
use super::{Layout, Ports, Xhci};
use crate::input::{Motion, Pointer};
use crate::usb::hid::{Hid, Kind};
use crate::usb::{Setup, UsbHost};

const SLOT: u8 = 4;
const BAR: u64 = 0xfeb0_0000;
const IRQ: u32 = 11;

/// In RAM: arrays of contexts, input contexts, the command ring, the event ring and its table, transfer rings, data.
const DCBAA: u64 = 0x1000;
const INPUT: u64 = 0x2000;
const COMMANDS: u64 = 0x3000;
const EVENTS: u64 = 0x4000;
const TABLE: u64 = 0x5000;
const OUTPUT: u64 = 0x6000;
const CONTROL: u64 = 0x8000;
const INTERRUPT: u64 = 0x9000;
const DATA: u64 = 0x1_0000;
/// TRBs of each ring; the last of a transfer or command ring is a link.
const RING: u64 = 64;

/// An event, with its type and completion code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    kind: u8,
    code: u8,
    parameter: u64,
    length: u32,
    endpoint: u8,
    slot: u8,
}

/// A ring that the driver fills.
struct Fill {
    base: u64,
    at: Cell<u64>,
    cycle: Cell<bool>,
}

impl Fill {
    fn new(base: u64) -> Fill {
        Fill { base, at: Cell::new(0), cycle: Cell::new(true) }
    }

    /// Puts a TRB there and gives its place.
    fn put(&self, rig: &Rig, parameter: u64, status: u32, control: u32) -> u64 {
        if self.at.get() == RING - 1 {
            let link = u32::from(trb::LINK) << 10 | control::TOGGLE | u32::from(self.cycle.get());
            write_trb(rig, self.base + (RING - 1) * 16, self.base, 0, link);
            self.at.set(0);
            self.cycle.set(!self.cycle.get());
        }
        let at = self.base + self.at.get() * 16;
        write_trb(rig, at, parameter, status, control | u32::from(self.cycle.get()));
        self.at.set(self.at.get() + 1);
        at
    }
}

fn write_trb(rig: &Rig, at: u64, parameter: u64, status: u32, control: u32) {
    let word = u128::from(parameter) | u128::from(status) << 64 | u128::from(control) << 96;
    rig.poke(at, &word.to_le_bytes());
}

/// What a driver knows.
struct Driver {
    ports: Ports,
    commands: Fill,
    control: Fill,
    interrupt: Fill,
    event: Cell<(u64, bool)>,
    /// Events that came and were not waited for.
    others: RefCell<Vec<Seen>>,
}

fn word(rig: &mut Rig, at: u64) -> u32 {
    rig.mmio_read(BAR + at, Size::B4) as u32
}
fn put(rig: &mut Rig, at: u64, value: u32) {
    rig.mmio_write(BAR + at, Size::B4, value.into());
}
fn op(at: u64) -> u64 {
    OPERATIONAL + at
}
fn portsc(port: u64) -> u64 {
    PORTS + 16 * (port - 1)
}
fn poke(rig: &Rig, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rig.poke(at, &bytes);
}
fn peek(rig: &Rig, at: u64) -> u32 {
    u32::from_le_bytes(rig.peek(at, 4).try_into().unwrap())
}

/// A controller with its registers mapped as the firmware leaves it.
fn attach(rig: &mut Rig) -> Ports {
    let wiring = rig.wiring();
    let line = rig.irqs().line(IRQ);
    let memory = (rig.ram().clone(), rig.recorder() as _);
    let xhci = Xhci::new("xhci", &VARIANTS[0], Layout::default(), memory, line, &wiring);
    let cell: Arc<DeviceCell<Xhci>> = rig.attach_pci(xhci, &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, 0, 0x04, Size::B2, 6);
    Ports::new(cell, "0000:00:04.0".into(), wiring.waker())
}

fn plug(ports: &Ports, kind: Kind) -> u64 {
    let port = ports.free_port(None).unwrap();
    ports.plug(port, Box::new(Hid::new(kind, &format!("{}-{port}", ports.path())))).unwrap();
    port
}

/// Sets the controller up and starts it; interrupts by the pin.
fn run(rig: &mut Rig, ports: Ports) -> Driver {
    put(rig, op(0), 2);
    assert_eq!(word(rig, op(0)) & 2, 0, "the reset is over");
    assert_eq!(word(rig, op(4)) & 0x801, 1, "it stands and is ready");
    put(rig, op(0x38), 8);
    for at in [DCBAA, COMMANDS, EVENTS, CONTROL, INTERRUPT] {
        rig.poke(at, &[0; 0x1000]);
    }
    put(rig, op(0x30), DCBAA as u32);
    put(rig, op(0x34), 0);
    put(rig, op(0x18), COMMANDS as u32 | 1);
    put(rig, op(0x1c), 0);
    poke(rig, TABLE, &[EVENTS as u32, 0, RING as u32, 0]);
    put(rig, INTERRUPTERS + 8, 1);
    put(rig, INTERRUPTERS + 0x18, EVENTS as u32);
    put(rig, INTERRUPTERS + 0x1c, 0);
    put(rig, INTERRUPTERS + 0x10, TABLE as u32);
    put(rig, INTERRUPTERS + 0x14, 0);
    put(rig, INTERRUPTERS, 3);
    put(rig, op(0), 5);
    assert_eq!(word(rig, op(4)) & 1, 0, "it runs");
    Driver {
        ports,
        commands: Fill::new(COMMANDS),
        control: Fill::new(CONTROL),
        interrupt: Fill::new(INTERRUPT),
        event: Cell::new((0, true)),
        others: RefCell::default(),
    }
}

impl Driver {
    /// The next event, if there is one; the driver says that it has read it.
    fn next(&self, rig: &mut Rig) -> Option<Seen> {
        let (index, cycle) = self.event.get();
        let at = EVENTS + index * 16;
        let word = u128::from_le_bytes(rig.peek(at, 16).try_into().unwrap());
        let (status, control) = ((word >> 64) as u32, (word >> 96) as u32);
        if (control & 1 != 0) != cycle {
            return None;
        }
        let next = (index + 1) % RING;
        self.event.set((next, cycle ^ (next == 0)));
        put(rig, INTERRUPTERS + 0x18, (EVENTS + next * 16) as u32 | 8);
        put(rig, INTERRUPTERS + 0x1c, 0);
        Some(Seen {
            kind: (control >> 10 & 0x3f) as u8,
            code: (status >> 24) as u8,
            parameter: word as u64,
            length: status & 0xff_ffff,
            endpoint: (control >> 16 & 0x1f) as u8,
            slot: (control >> 24) as u8,
        })
    }

    fn all(&self, rig: &mut Rig) -> Vec<Seen> {
        std::iter::from_fn(|| self.next(rig)).collect()
    }

    /// The event that tells of that TRB; others are kept.
    fn of(&self, rig: &mut Rig, at: u64) -> Option<Seen> {
        while let Some(seen) = self.next(rig) {
            if seen.parameter == at {
                return Some(seen);
            }
            self.others.borrow_mut().push(seen);
        }
        None
    }

    /// A command; how it ended, and for which slot.
    fn command(&self, rig: &mut Rig, kind: u8, parameter: u64, bits: u32) -> (u8, u8) {
        let at = self.commands.put(rig, parameter, 0, u32::from(kind) << 10 | bits);
        put(rig, DOORBELLS, 0);
        let seen = self.of(rig, at).expect("a command ends");
        assert_eq!(seen.kind, trb::COMMAND_COMPLETION);
        (seen.code, seen.slot)
    }

    fn slot_command(&self, rig: &mut Rig, kind: u8, slot: u8, parameter: u64) -> u8 {
        self.command(rig, kind, parameter, u32::from(slot) << 24).0
    }

    fn endpoint_command(&self, rig: &mut Rig, kind: u8, (slot, endpoint): (u8, u8), parameter: u64) -> u8 {
        self.command(rig, kind, parameter, u32::from(slot) << 24 | u32::from(endpoint) << 16).0
    }

    /// Resets a port and gives its device a slot and an address.
    fn address(&self, rig: &mut Rig, port: u64, speed: u32, packet: u32) -> u8 {
        put(rig, portsc(port), 0x210);
        assert_eq!(word(rig, portsc(port)) & 0x3fff, 0x203 | speed << 10, "enabled, with its speed");
        self.enter(rig, (port, 0), speed, packet).unwrap()
    }

    /// Gives the device on a port, or at the end of a route from there, a slot and an address. Err: the completion code.
    fn enter(&self, rig: &mut Rig, (port, route): (u64, u32), speed: u32, packet: u32) -> Result<u8, u8> {
        let (code, slot) = self.command(rig, trb::ENABLE_SLOT, 0, 0);
        assert_eq!(code, code::SUCCESS);
        let output = OUTPUT + 0x400 * u64::from(slot - 1);
        rig.poke(output, &[0; 0x400]);
        poke(rig, DCBAA + 8 * u64::from(slot), &[output as u32, 0]);
        poke(rig, INPUT, &[0, 3, 0, 0, 0, 0, 0, 0]);
        poke(rig, INPUT + CONTEXT, &[1 << 27 | speed << 20 | route, (port as u32) << 16, 0, 0]);
        let base = self.control.base + self.control.at.get() * 16 | u64::from(self.control.cycle.get());
        poke(rig, INPUT + 2 * CONTEXT, &[0, 3 << 1 | 4 << 3 | packet << 16, base as u32, 0, 8]);
        match self.slot_command(rig, trb::ADDRESS_DEVICE, slot, INPUT) {
            code::SUCCESS => {
                assert_eq!(peek(rig, output + 12), 2 << 27 | u32::from(slot), "addressed");
                Ok(slot)
            }
            code => {
                assert_eq!(self.slot_command(rig, trb::DISABLE_SLOT, slot, 0), code::SUCCESS);
                Err(code)
            }
        }
    }

    /// A request by the control endpoint. Err: the completion code.
    fn request(&self, rig: &mut Rig, slot: u8, setup: Setup, data: &[u8]) -> Result<Vec<u8>, u8> {
        let len = u32::from(setup.length);
        let kind = |kind: u8| u32::from(kind) << 10;
        let trt = if len == 0 { 0 } else { 2 + u32::from(setup.is_in()) };
        let bits = kind(trb::SETUP) | control::IMMEDIATE | trt << 16;
        self.control.put(rig, u64::from_le_bytes(setup.bytes()), 8, bits);
        let inward = if setup.is_in() { control::IN } else { 0 };
        let mut data_at = 0;
        if len > 0 {
            rig.poke(DATA, &vec![0xee; len as usize]);
            rig.poke(DATA, data);
            let bits = kind(trb::DATA) | control::SHORT | inward;
            data_at = self.control.put(rig, DATA, len, bits);
        }
        let back = if len > 0 && setup.is_in() { 0 } else { control::IN };
        let end = self.control.put(rig, 0, 0, kind(trb::STATUS) | control::INTERRUPT | back);
        put(rig, DOORBELLS + 4 * u64::from(slot), 1);
        let mut got = len;
        while let Some(seen) = self.next(rig) {
            match seen.parameter {
                at if at == data_at && seen.code == code::SHORT => got = len - seen.length,
                at if at == end && seen.code == code::SUCCESS => {
                    return Ok(if setup.is_in() { rig.peek(DATA, got as usize) } else { Vec::new() });
                }
                _ if seen.kind == trb::TRANSFER => {
                    assert_eq!((seen.slot, seen.endpoint), (slot, 1));
                    return Err(seen.code);
                }
                _ => self.others.borrow_mut().push(seen),
            }
        }
        panic!("the request does not end");
    }

    /// After a stall: the control endpoint goes on behind the request.
    fn recover(&self, rig: &mut Rig, slot: u8) {
        let place = (slot, 1);
        assert_eq!(self.endpoint_command(rig, trb::RESET_ENDPOINT, place, 0), code::SUCCESS);
        let to = self.control.base + self.control.at.get() * 16 | u64::from(self.control.cycle.get());
        assert_eq!(self.endpoint_command(rig, trb::SET_DEQUEUE, place, to), code::SUCCESS);
    }

    /// The interrupt endpoint comes, and the device is configured.
    fn configure(&self, rig: &mut Rig, slot: u8) {
        poke(rig, INPUT, &[0, 1 | 1 << 3, 0, 0, 0, 0, 0, 0]);
        let own = rig.peek(OUTPUT + 0x400 * u64::from(slot - 1), 32);
        rig.poke(INPUT + CONTEXT, &own);
        let entries = peek(rig, INPUT + CONTEXT) & !(0x1f << 27) | 3 << 27;
        poke(rig, INPUT + CONTEXT, &[entries]);
        let base = self.interrupt.base as u32 | 1;
        poke(rig, INPUT + 4 * CONTEXT, &[3 << 16, 3 << 1 | 7 << 3 | 8 << 16, base, 0, 8]);
        assert_eq!(self.slot_command(rig, trb::CONFIGURE_ENDPOINT, slot, INPUT), code::SUCCESS);
        assert_eq!(self.request(rig, slot, get(0, 9, 1, 0), &[]), Ok(vec![]));
    }

    /// Asks the interrupt endpoint for a report, and gives the TRB's place.
    fn ask(&self, rig: &mut Rig, slot: u8) -> u64 {
        self.ask_for(rig, slot, 8)
    }

    /// The same for so many bytes.
    fn ask_for(&self, rig: &mut Rig, slot: u8, len: u32) -> u64 {
        let bits = u32::from(trb::NORMAL) << 10 | control::INTERRUPT | control::SHORT;
        let at = self.interrupt.put(rig, DATA + 0x800, len, bits);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        at
    }

    /// The report that was asked for, if it has come.
    fn answer(&self, rig: &mut Rig, at: u64) -> Option<Vec<u8>> {
        let seen = self.of(rig, at)?;
        assert!(matches!(seen.code, code::SUCCESS | code::SHORT), "{seen:?}");
        Some(rig.peek(DATA + 0x800, 8 - seen.length as usize))
    }
}

fn get(kind: u8, request: u8, value: u16, length: u16) -> Setup {
    Setup { kind, request, value, index: 0, length }
}

/// A tablet with an address, configured; the driver, its port and its slot.
fn tablet(rig: &mut Rig) -> (Driver, u64, u8) {
    let ports = attach(rig);
    let port = plug(&ports, Kind::Tablet);
    let driver = run(rig, ports);
    let slot = driver.address(rig, 4 + port, 3, 64);
    driver.configure(rig, slot);
    (driver, port, slot)
}

fn point(ports: &Ports, port: u64, x: u16, y: u16, buttons: u8) {
    let motion = Motion::To { x: Some(x), y: Some(y) };
    ports.with(port, &mut |device| device.input().unwrap().point(Pointer { motion, wheel: 0, buttons }));
}
