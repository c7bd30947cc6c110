//! A driver's side of the controller, and what the others have in common.

mod companion;
mod hostile;
mod idle;
mod isochronous;
mod registers;
mod start;
mod transfers;

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::rig::{Rig, ms};
use ioreq::Size;

use super::spec::{code, direction, ed, hcca, reg, td};
use super::{Ohci, Ports};
use crate::input::{Motion, Pointer};
use crate::usb::hid::{Hid, Kind};
use crate::usb::{Setup, UsbHost};

const SLOT: u8 = 5;
const BAR: u64 = 0xfeb0_0000;
const IRQ: u32 = 11;
/// In RAM: HCCA, endpoints of the three lists, TDs and their buffers.
const HCCA: u64 = 0x1000;
const CONTROL_ED: u64 = 0x2000;
const BULK_ED: u64 = 0x2010;
const INTERRUPT_ED: u64 = 0x2020;
const TDS: u64 = 0x3000;
/// The TD that ends the control list's, that of the interrupt endpoint, and its end.
const TAIL: u64 = 0x3800;
const INTERRUPT_TD: u64 = 0x3900;
const INTERRUPT_TAIL: u64 = 0x3910;
const BUFFERS: u64 = 0x8000;
const REPORT: u64 = 0xa000;

/// Operational, with all lists.
const RUN: u32 = 0x80 | 0x3c;
const NOT_ACCESSED: u32 = 0xf << td::CODE_SHIFT;

fn attach(rig: &mut Rig) -> Ports {
    let wiring = rig.wiring();
    let line = rig.irqs().line(IRQ);
    let ohci = Ohci::new("pci-ohci", 3, rig.ram().clone(), line, &wiring);
    let cell: Arc<DeviceCell<Ohci>> = rig.attach_pci(ohci, &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, 0, 0x04, Size::B2, 6);
    Ports::new(cell, "0000:00:05.0".into(), wiring.waker())
}

fn plug(ports: &Ports, kind: Kind) -> u64 {
    let port = ports.free_port(None).unwrap();
    ports.plug(port, Box::new(Hid::new(kind, &format!("{}-{port}", ports.path())))).unwrap();
    port
}

fn read(rig: &mut Rig, at: u64) -> u32 {
    rig.mmio_read(BAR + at, Size::B4) as u32
}
fn write(rig: &mut Rig, at: u64, value: u32) {
    rig.mmio_write(BAR + at, Size::B4, value.into());
}
fn port_reg(port: u64) -> u64 {
    reg::PORTS + 4 * (port - 1)
}
fn poke(rig: &Rig, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rig.poke(at, &bytes);
}
fn word(rig: &Rig, at: u64) -> u32 {
    u32::from_le_bytes(rig.peek(at, 4).try_into().unwrap())
}
/// How a TD ended.
fn ended(rig: &Rig, at: u64) -> u32 {
    word(rig, at) >> td::CODE_SHIFT
}

/// The lists are empty, and the controller runs, with interrupts for all but the beginning of frames.
fn run(rig: &mut Rig) {
    rig.poke(HCCA, &[0; 0x100]);
    for at in [CONTROL_ED, BULK_ED, INTERRUPT_ED] {
        poke(rig, at, &[ed::SKIP, 0, 0, 0]);
    }
    for n in 0..32 {
        poke(rig, HCCA + 4 * n, &[INTERRUPT_ED as u32]);
    }
    write(rig, reg::HCCA, HCCA as u32);
    write(rig, reg::CONTROL_HEAD, CONTROL_ED as u32);
    write(rig, reg::BULK_HEAD, BULK_ED as u32);
    write(rig, reg::INTERRUPT_STATUS, 0x7fff_ffff);
    write(rig, reg::INTERRUPT_ENABLE, 0x8000_007b);
    write(rig, reg::CONTROL, RUN);
}

/// A port with a device is reset, and enabled by that.
fn enable(rig: &mut Rig, port: u64) {
    let at = port_reg(port);
    assert_eq!(read(rig, at) & 1, 1, "nobody is there");
    write(rig, at, 0x10);
    rig.advance(ms(10));
    assert_eq!(read(rig, at) & 0x10_0013, 0x10_0003);
    write(rig, at, 0x1f_0000);
    assert_eq!(read(rig, at), 0x103);
    write(rig, reg::INTERRUPT_STATUS, 0x40);
}

fn endpoint(address: u8, number: u8, way: u32, longest: u32) -> u32 {
    u32::from(address)
        | u32::from(number) << ed::ENDPOINT_SHIFT
        | way << ed::DIRECTION_SHIFT
        | longest << ed::PACKET_SHIFT
}

/// Puts TDs of (direction, data) into the control list.
fn queue(rig: &mut Rig, address: u8, tds: &[(u32, Vec<u8>)]) {
    for (n, (way, data)) in (0u64..).zip(tds) {
        let at = TDS + n * 0x10;
        let next = if n + 1 == tds.len() as u64 { TAIL } else { at + 0x10 };
        let buffer = (BUFFERS + n * 0x400) as u32;
        let (first, last) = if data.is_empty() { (0, 0) } else { (buffer, buffer + data.len() as u32 - 1) };
        if !data.is_empty() {
            rig.poke(buffer.into(), data);
        }
        let rounding = if *way == direction::IN { td::ROUNDING } else { 0 };
        // A request begins with toggle 0, its data and its end with 1.
        let toggle = if *way == direction::SETUP { 2 } else { 3 } << 24;
        let flags = NOT_ACCESSED | toggle | rounding | way << td::DIRECTION_SHIFT;
        poke(rig, at, &[flags, first, next as u32, last]);
    }
    poke(rig, CONTROL_ED, &[endpoint(address, 0, 0, 8), TAIL as u32, TDS as u32, 0]);
    write(rig, reg::COMMAND_STATUS, 2);
}

/// Runs a request by the control list as a driver does. Err: the code of the TD that failed.
fn request(rig: &mut Rig, address: u8, setup: Setup, data: &[u8]) -> Result<Vec<u8>, u32> {
    let mut tds = vec![(direction::SETUP, setup.bytes().to_vec())];
    let len = if setup.is_in() { usize::from(setup.length) } else { data.len() };
    if len > 0 {
        tds.push(match setup.is_in() {
            true => (direction::IN, vec![0; len]),
            false => (direction::OUT, data.to_vec()),
        });
    }
    let back = if setup.is_in() && len > 0 { direction::OUT } else { direction::IN };
    tds.push((back, Vec::new()));
    queue(rig, address, &tds);
    let last = tds.len() as u64 - 1;
    for _ in 0..200 {
        rig.advance(ms(1));
        let head = word(rig, CONTROL_ED + 8);
        if head & ed::HALTED != 0 {
            take_done(rig);
            let code = (0..=last).map(|n| ended(rig, TDS + n * 0x10)).find(|code| ![0, 0xf].contains(code));
            return Err(code.expect("a TD has failed"));
        }
        if head & !0xf == TAIL as u32 {
            take_done(rig);
            let end = match word(rig, TDS + 0x14) {
                0 => len,
                at => (at - BUFFERS as u32 - 0x400) as usize,
            };
            let data = if setup.is_in() && len > 0 { rig.peek(BUFFERS + 0x400, end) } else { Vec::new() };
            return Ok(data);
        }
    }
    panic!("the request takes for ever");
}

/// What is done is in HCCA within eight frames; the driver takes it.
fn take_done(rig: &mut Rig) -> u32 {
    for _ in 0..9 {
        if read(rig, reg::INTERRUPT_STATUS) & 2 != 0 {
            let head = word(rig, HCCA + u64::from(hcca::DONE));
            poke(rig, HCCA + u64::from(hcca::DONE), &[0]);
            write(rig, reg::INTERRUPT_STATUS, 2);
            return head;
        }
        rig.advance(ms(1));
    }
    panic!("nothing is done");
}

fn get(kind: u8, request: u8, value: u16, length: u16) -> Setup {
    Setup { kind, request, value, index: 0, length }
}

/// A device on its port has an address and is configured.
fn configure(rig: &mut Rig, port: u64, address: u8) {
    enable(rig, port);
    assert_eq!(request(rig, 0, get(0, 5, address.into(), 0), &[]), Ok(vec![]));
    assert_eq!(request(rig, address, get(0, 9, 1, 0), &[]), Ok(vec![]));
}

/// The interrupt endpoint asks for a report.
fn ask(rig: &Rig, address: u8) {
    let last = REPORT as u32 + 7;
    poke(rig, INTERRUPT_TD, &[NOT_ACCESSED | td::ROUNDING, REPORT as u32, INTERRUPT_TAIL as u32, last]);
    let flags = endpoint(address, 1, direction::IN, 8);
    poke(rig, INTERRUPT_ED, &[flags, INTERRUPT_TAIL as u32, INTERRUPT_TD as u32, 0]);
}

/// The report, if it has come.
fn answer(rig: &Rig) -> Option<Vec<u8>> {
    if ended(rig, INTERRUPT_TD) != code::GOOD {
        return None;
    }
    let len = match word(rig, INTERRUPT_TD + 4) {
        0 => 8,
        at => at as usize - REPORT as usize,
    };
    Some(rig.peek(REPORT, len))
}

/// A tablet with an address, configured.
fn tablet(rig: &mut Rig) -> (Ports, u64) {
    let ports = attach(rig);
    let port = plug(&ports, Kind::Tablet);
    run(rig);
    configure(rig, port, 2);
    (ports, port)
}

fn point(ports: &Ports, port: u64, x: u16, y: u16, buttons: u8) {
    let motion = Motion::To { x: Some(x), y: Some(y) };
    ports.with(port, &mut |device| device.input().unwrap().point(Pointer { motion, wheel: 0, buttons }));
}
