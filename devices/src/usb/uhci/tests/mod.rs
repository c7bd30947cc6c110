//! A driver's side of the controller, and what the others have in common.

mod hostile;
mod hub;
mod idle;
mod registers;
mod start;
mod transfers;

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::pci::QEMU_SUBSYSTEM;
use devices_core::rig::{Rig, ms};
use ioreq::Size;

use super::model::VARIANTS;
use super::spec::{control as td, pid, reg};
use super::{Ports, Uhci};
use crate::input::{Motion, Pointer};
use crate::usb::hid::{Hid, Kind};
use crate::usb::{Setup, UsbHost};

const SLOT: u8 = 1;
const FUNCTION: u8 = 2;
const BAR: u16 = 0xc040;
const IRQ: u32 = 11;
/// The frame list, a queue head, its TDs and their buffers, the interrupt queue's.
const LIST: u64 = 0x1000;
const QH: u64 = 0x2000;
const TDS: u64 = 0x3000;
const BUFFERS: u64 = 0x8000;
const INT_QH: u64 = 0x2100;
const INT_TD: u64 = 0x2200;
const INT_BUFFER: u64 = 0x2300;

const TERMINATE: u32 = 1;
const QUEUE: u32 = 2;
/// Active, with three attempts.
const ACTIVE: u32 = td::ACTIVE | td::ERRORS;

/// A controller with its ports as the firmware leaves it.
fn attach(rig: &mut Rig) -> Ports {
    let wiring = rig.wiring();
    let line = rig.irqs().line(IRQ);
    let uhci = Uhci::new("piix3-usb-uhci", &VARIANTS[0], QEMU_SUBSYSTEM, rig.ram().clone(), line, &wiring);
    let cell: Arc<DeviceCell<Uhci>> = rig.attach_pci(uhci, &wiring, SLOT, FUNCTION);
    rig.config_write(SLOT, FUNCTION, 0x20, Size::B4, BAR.into());
    rig.config_write(SLOT, FUNCTION, 0x04, Size::B2, 5);
    Ports::new(cell, "0000:00:01.2".into(), wiring.waker())
}

fn plug(ports: &Ports, kind: Kind) -> u64 {
    let port = ports.free_port(None).unwrap();
    ports.plug(port, Box::new(Hid::new(kind, &format!("{}-{port}", ports.path())))).unwrap();
    port
}

fn read(rig: &mut Rig, at: u64) -> u16 {
    rig.inw(BAR + at as u16)
}
fn write(rig: &mut Rig, at: u64, value: u16) {
    rig.outw(BAR + at as u16, value);
}
fn port_reg(port: u64) -> u64 {
    reg::PORTSC + 2 * (port - 1)
}

fn poke(rig: &Rig, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rig.poke(at, &bytes);
}
fn word(rig: &Rig, at: u64) -> u32 {
    u32::from_le_bytes(rig.peek(at, 4).try_into().unwrap())
}

fn token(pid: u32, address: u8, endpoint: u8, len: usize) -> u32 {
    let most = (len as u32).wrapping_sub(1) & 0x7ff;
    pid | u32::from(address) << 8 | u32::from(endpoint) << 15 | most << 21
}

/// Every frame leads to the interrupt queue, which leads to the control queue; both are empty. The schedule runs.
fn run(rig: &mut Rig) {
    let entries: Vec<u32> = vec![INT_QH as u32 | QUEUE; 1024];
    poke(rig, LIST, &entries);
    poke(rig, INT_QH, &[QH as u32 | QUEUE, TERMINATE]);
    poke(rig, QH, &[TERMINATE, TERMINATE]);
    rig.outl(BAR + reg::FRBASEADD as u16, LIST as u32);
    write(rig, reg::USBINTR, 0xf);
    write(rig, reg::USBCMD, 0xc1);
}

/// A port with a device is reset and enabled.
fn enable(rig: &mut Rig, port: u64) {
    let at = port_reg(port);
    assert_eq!(read(rig, at) & 1, 1, "nobody is there");
    write(rig, at, 0x200);
    rig.advance(ms(50));
    write(rig, at, 0);
    write(rig, at, 0x0e);
    assert_eq!(read(rig, at), 0x85);
}

/// Puts a chain of TDs of (pid, data) into the control queue, depth first.
fn queue(rig: &mut Rig, address: u8, tds: &[(u32, Vec<u8>)]) {
    for (n, (pid, data)) in (0u64..).zip(tds) {
        let at = TDS + n * 0x20;
        let next = if n + 1 == tds.len() as u64 { TERMINATE } else { (at + 0x20) as u32 | 4 };
        let buffer = BUFFERS + n * 0x40;
        if !data.is_empty() {
            rig.poke(buffer, data);
        }
        let short = if *pid == pid::IN && n + 1 < tds.len() as u64 { td::SHORT } else { 0 };
        let words = [next, ACTIVE | short, token(*pid, address, 0, data.len()), buffer as u32];
        poke(rig, at, &words);
    }
    poke(rig, QH + 4, &[TDS as u32]);
}

fn got(rig: &Rig, n: u64) -> usize {
    (word(rig, TDS + n * 0x20 + 4).wrapping_add(1) & 0x7ff) as usize
}

/// Runs a request by the control queue as a driver does. Err: the status of the TD that failed.
fn request(rig: &mut Rig, address: u8, setup: Setup, data: &[u8]) -> Result<Vec<u8>, u32> {
    let mut tds = vec![(pid::SETUP, setup.bytes().to_vec())];
    let len = if setup.is_in() { usize::from(setup.length) } else { data.len() };
    for at in (0..len).step_by(8) {
        let part = 8.min(len - at);
        tds.push(match setup.is_in() {
            true => (pid::IN, vec![0; part]),
            false => (pid::OUT, data[at..at + part].to_vec()),
        });
    }
    let status = if setup.is_in() && len > 0 { pid::OUT } else { pid::IN };
    tds.push((status, Vec::new()));
    queue(rig, address, &tds);
    let mut reply = Vec::new();
    let last = tds.len() as u64 - 1;
    for _ in 0..200 {
        rig.advance(ms(1));
        let failed =
            (0..=last).map(|n| word(rig, TDS + n * 0x20 + 4)).find(|control| control & td::STALLED != 0);
        if let Some(control) = failed {
            write(rig, reg::USBSTS, 0x3f);
            return Err(control);
        }
        let element = u64::from(word(rig, QH + 4) & !0xf);
        let (at, control) = (element.saturating_sub(TDS) / 0x20, word(rig, element + 4));
        if element >= TDS && control & td::ACTIVE == 0 && at < last {
            // It came short: the driver goes on with the end of the request.
            poke(rig, QH + 4, &[(TDS + last * 0x20) as u32]);
        }
        if word(rig, TDS + last * 0x20 + 4) & td::ACTIVE == 0 {
            for n in (1..last).filter(|n| setup.is_in() && word(rig, TDS + n * 0x20 + 4) & td::ACTIVE == 0) {
                reply.extend(rig.peek(BUFFERS + n * 0x40, got(rig, n)));
            }
            write(rig, reg::USBSTS, 0x3f);
            return Ok(reply);
        }
    }
    panic!("the request takes for ever");
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

/// The interrupt queue asks for a report.
fn ask(rig: &Rig, address: u8) {
    let control = ACTIVE | td::INTERRUPT | td::SHORT;
    poke(rig, INT_TD, &[TERMINATE, control, token(pid::IN, address, 1, 8), INT_BUFFER as u32]);
    poke(rig, INT_QH + 4, &[INT_TD as u32]);
}

/// The report, if it has come.
fn answer(rig: &Rig) -> Option<Vec<u8>> {
    let control = word(rig, INT_TD + 4);
    let len = (control.wrapping_add(1) & 0x7ff) as usize;
    (control & td::ACTIVE == 0).then(|| rig.peek(INT_BUFFER, len))
}

fn point(ports: &Ports, port: u64, x: u16, y: u16, buttons: u8) {
    let motion = Motion::To { x: Some(x), y: Some(y) };
    ports.with(port, &mut |device| device.input().unwrap().point(Pointer { motion, wheel: 0, buttons }));
}
