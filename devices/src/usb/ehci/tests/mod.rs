//! A driver's side of the controller, and what the others have in common.

mod companion;
mod hostile;
mod idle;
mod registers;
mod start;
mod storage;
mod transfers;

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::rig::{Rig, ms, us};
use ioreq::Size;

use super::model::VARIANTS;
use super::spec::{MICROFRAME, cap, reg, token as td};
use super::{Ehci, Ports};
use crate::input::{Motion, Pointer};
use crate::usb::hid::{Hid, Kind};
use crate::usb::{Setup, UsbHost};

const SLOT: u8 = 0x1d;
const FUNCTION: u8 = 7;
const BAR: u64 = 0xfeb0_0000;
const IRQ: u32 = 11;

/// In RAM: the frame list, queue heads, qTDs of 32 bytes, buffers of a page.
const LIST: u64 = 0x1000;
const HEAD: u64 = 0x2000;
const CONTROL: u64 = 0x2080;
const BULK_IN: u64 = 0x2100;
const BULK_OUT: u64 = 0x2180;
const INT: u64 = 0x2200;
const INT_TD: u64 = 0x2300;
const INT_BUFFER: u64 = 0x2400;
const TDS: u64 = 0x3000;
const BUFFERS: u64 = 0x1_0000;

const TERMINATE: u32 = 1;
const QUEUE: u32 = 2;
/// PIDs of a token.
const OUT: u32 = 0;
const IN: u32 = 1 << 8;
const SETUP: u32 = 2 << 8;
/// Active, with three attempts.
const ACTIVE: u32 = td::ACTIVE | td::ERRORS;

/// USBCMD: run, periodic and asynchronous schedule.
const RUN: u32 = 1;
const PERIODIC: u32 = 1 << 4;
const ASYNC: u32 = 1 << 5;
const DOORBELL: u32 = 1 << 6;
/// A microframe between interrupts.
const THRESHOLD: u32 = 1 << 16;

/// A controller with its registers mapped as the firmware leaves it.
fn attach(rig: &mut Rig) -> Ports {
    let wiring = rig.wiring();
    let line = rig.irqs().line(IRQ);
    let ehci = Ehci::new("ehci", &VARIANTS[1], rig.ram().clone(), line, &wiring);
    let cell: Arc<DeviceCell<Ehci>> = rig.attach_pci(ehci, &wiring, SLOT, FUNCTION);
    rig.config_write(SLOT, FUNCTION, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, FUNCTION, 0x04, Size::B2, 6);
    Ports::new(cell, "0000:00:1d.7".into(), wiring.waker())
}

fn plug(ports: &Ports, kind: Kind) -> u64 {
    let port = ports.free_port(None).unwrap();
    ports.plug(port, Box::new(Hid::new(kind, &format!("{}-{port}", ports.path())))).unwrap();
    port
}

fn read(rig: &mut Rig, at: u64) -> u32 {
    rig.mmio_read(BAR + cap::LEN + at, Size::B4) as u32
}
fn write(rig: &mut Rig, at: u64, value: u32) {
    rig.mmio_write(BAR + cap::LEN + at, Size::B4, value.into());
}
fn portsc(port: u64) -> u64 {
    reg::PORTSC + 4 * (port - 1)
}
fn poke(rig: &Rig, at: u64, words: &[u32]) {
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    rig.poke(at, &bytes);
}
fn word(rig: &Rig, at: u64) -> u32 {
    u32::from_le_bytes(rig.peek(at, 4).try_into().unwrap())
}

/// A queue head with nothing to do, which leads to `next`. The toggle is each qTD's.
fn queue_head(rig: &Rig, at: u64, next: u64, (address, endpoint, packet): (u8, u8, u32), capabilities: u32) {
    let endpoint = u32::from(address) | u32::from(endpoint) << 8 | 2 << 12 | 1 << 14 | packet << 16;
    let head = if at == HEAD { 1 << 15 } else { 0 };
    let idle = if at == HEAD { td::HALTED } else { 0 };
    let words = [next as u32 | QUEUE, endpoint | head, capabilities | 1 << 30, 0, TERMINATE, TERMINATE, idle];
    poke(rig, at, &words);
    poke(rig, at + 28, &[0; 5]);
}

/// Both lists as a driver has them: a head with the queue of the control pipe behind it, an interrupt queue in each frame.
fn lists(rig: &Rig) {
    poke(rig, LIST, &[INT as u32 | QUEUE; 1024]);
    queue_head(rig, HEAD, CONTROL, (0, 0, 64), 0);
    queue_head(rig, CONTROL, HEAD, (0, 0, 64), 0);
    queue_head(rig, INT, 0, (0, 1, 8), 1);
    poke(rig, INT, &[TERMINATE]);
}

/// The controller is reset and runs.
fn run(rig: &mut Rig) {
    write(rig, reg::USBCMD, 2);
    lists(rig);
    write(rig, reg::PERIODICLISTBASE, LIST as u32);
    write(rig, reg::ASYNCLISTADDR, HEAD as u32);
    write(rig, reg::USBINTR, 0x37);
    write(rig, reg::USBCMD, RUN | PERIODIC | ASYNC | THRESHOLD);
    write(rig, reg::CONFIGFLAG, 1);
}

/// A port with a device is reset, and then enabled.
fn enable(rig: &mut Rig, port: u64) {
    let at = portsc(port);
    assert_eq!(read(rig, at) & 1, 1, "nobody is there");
    write(rig, at, 0x1100);
    rig.advance(ms(50));
    write(rig, at, 0x1000);
    let enabled = read(rig, at) & 4;
    write(rig, at, 0x1002 | enabled);
    assert_eq!(read(rig, at), 0x1005);
}

fn length(len: usize) -> u32 {
    (len as u32) << 16
}

/// Puts a chain of transfers (token, data) at [`TDS`], each with a page of [`BUFFERS`].
fn chain(rig: &Rig, tds: &[(u32, Vec<u8>)]) {
    for (n, (token, data)) in (0u64..).zip(tds) {
        let next = if n + 1 == tds.len() as u64 { TERMINATE } else { (TDS + (n + 1) * 32) as u32 };
        let buffer = BUFFERS + n * 0x1000;
        rig.poke(buffer, data);
        let token = ACTIVE | token | length(data.len());
        poke(rig, TDS + n * 32, &[next, TERMINATE, token, buffer as u32, 0, 0, 0, 0]);
    }
}

/// A queue begins with the chain.
fn go(rig: &Rig, queue: u64) {
    poke(rig, queue + 16, &[TDS as u32, TERMINATE, 0]);
}

fn token(rig: &Rig, n: u64) -> u32 {
    word(rig, TDS + n * 32 + 8)
}
fn left(rig: &Rig, n: u64) -> usize {
    (token(rig, n) >> 16 & 0x7fff) as usize
}

/// The control pipe is that of a device.
fn aim(rig: &Rig, address: u8) {
    poke(rig, CONTROL + 4, &[u32::from(address) | 2 << 12 | 1 << 14 | 64 << 16]);
}

/// Runs a request by the control queue as a driver does. Err: the token of the qTD that failed.
fn request(rig: &mut Rig, address: u8, setup: Setup, data: &[u8]) -> Result<Vec<u8>, u32> {
    aim(rig, address);
    let toggle = td::TOGGLE;
    let len = if setup.is_in() { usize::from(setup.length) } else { data.len() };
    let mut tds = vec![(SETUP, setup.bytes().to_vec())];
    if len > 0 {
        tds.push(match setup.is_in() {
            true => (IN | toggle, vec![0; len]),
            false => (OUT | toggle, data.to_vec()),
        });
    }
    let back = if setup.is_in() && len > 0 { OUT } else { IN };
    tds.push((back | toggle | td::INTERRUPT, Vec::new()));
    chain(rig, &tds);
    // A short reply leads to the end of the request.
    let last = tds.len() as u64 - 1;
    poke(rig, TDS + 32 + 4, &[(TDS + last * 32) as u32]);
    go(rig, CONTROL);
    for _ in 0..100 {
        rig.advance(ms(1));
        let failed = (0..=last).map(|n| token(rig, n)).find(|token| token & td::HALTED != 0);
        if failed.is_some() || token(rig, last) & td::ACTIVE == 0 {
            write(rig, reg::USBSTS, 0x3f);
            poke(rig, CONTROL + 16, &[TERMINATE, TERMINATE, 0]);
            let reply = || rig.peek(BUFFERS + 0x1000, len - left(rig, 1));
            return failed.map_or_else(|| Ok(if setup.is_in() { reply() } else { Vec::new() }), Err);
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
    poke(rig, INT + 4, &[u32::from(address) | 1 << 8 | 2 << 12 | 1 << 14 | 8 << 16]);
}

/// A tablet at address 2, configured.
fn tablet(rig: &mut Rig) -> (Ports, u64) {
    let ports = attach(rig);
    let port = plug(&ports, Kind::Tablet);
    run(rig);
    configure(rig, port, 2);
    (ports, port)
}

/// The interrupt queue asks for a report.
fn ask(rig: &Rig) {
    poke(rig, INT_TD, &[TERMINATE, TERMINATE, ACTIVE | IN | td::INTERRUPT | length(8), INT_BUFFER as u32]);
    poke(rig, INT_TD + 16, &[0; 4]);
    poke(rig, INT + 16, &[INT_TD as u32, TERMINATE, 0]);
}

/// The report, if it has come.
fn answer(rig: &Rig) -> Option<Vec<u8>> {
    let token = word(rig, INT_TD + 8);
    (token & td::ACTIVE == 0).then(|| rig.peek(INT_BUFFER, 8 - (token >> 16 & 0x7fff) as usize))
}

fn point(ports: &Ports, port: u64, x: u16, y: u16, buttons: u8) {
    let motion = Motion::To { x: Some(x), y: Some(y) };
    ports.with(port, &mut |device| device.input().unwrap().point(Pointer { motion, wheel: 0, buttons }));
}
