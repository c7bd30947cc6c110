//! A hub on a UHCI controller, with a tablet and a second hub behind it, and a keyboard behind that: requests of the class
//! and packets that are routed, while what is behind comes and goes and has something to say, ports are reset, suspended
//! and without power, and the machine is reset, saved and loaded.

use devices::input::keys::Key;
use devices::input::{Motion, Pointer};
use devices::usb::hid::{Hid, Kind};
use devices::usb::hub::Hub;
use devices::usb::uhci::Ports;
use devices::usb::{UsbDevice, UsbHost};
use devices_core::rig::Rig;

use super::uhci::{WINDOWS, attach, enable, report, request, start, wait};
use crate::script::{self, Between};

/// The hub, the second one, and what is behind both.
const PATHS: [u64; 4] = [1, 0x201, 0x101, 0x3_0201];

fn device(path: u64) -> Box<dyn UsbDevice> {
    match path {
        0x101 => Box::new(Hid::new(Kind::Tablet, "x-1.1")),
        0x3_0201 => Box::new(Hid::new(Kind::Keyboard, "x-1.2.3")),
        1 => Box::new(Hub::new(8, false, "S")),
        _ => Box::new(Hub::new(3, true, "S")),
    }
}

fn plug(host: &Ports, path: u64) {
    if host.free_port(Some(path)).is_ok() {
        host.plug(path, device(path)).expect("the port is free");
    }
}

fn between(host: &Ports, rig: &mut Rig, between: Between) {
    match between {
        Between::Save => rig.save_load(),
        Between::Reset => rig.reset(),
        Between::Host(0) => enable(rig),
        Between::Host(number @ 1..=4) => drop(host.unplug(PATHS[usize::from(number) - 1])),
        Between::Host(number @ 5..=8) => plug(host, PATHS[usize::from(number) - 5]),
        Between::Host(number) => {
            for path in PATHS {
                host.with(path, &mut |device| {
                    let Some(input) = device.input() else { return };
                    let motion = Motion::To { x: Some(u16::from(number) * 999), y: None };
                    input.point(Pointer { motion, wheel: 0, buttons: number & 7 });
                    if let Some(key) = Key::all().nth(usize::from(number) * 20) {
                        input.key(key, number % 2 == 0);
                    }
                });
            }
        }
    }
}

/// A script (see `script`), with what happens in between.
pub fn run(bytes: &[u8]) -> u64 {
    let mut rig = Rig::new();
    let host = attach(&mut rig);
    PATHS.into_iter().for_each(|path| plug(&host, path));
    let seen = script::play(&mut rig, &WINDOWS, bytes, &mut |rig, what| between(&host, rig, what));
    rig.save_load();
    let raised = rig.take_edges().iter().any(|(_, level)| *level);
    u64::from(seen.count_ones()) | u64::from(raised) << 8
}

/// Both hubs have addresses, and what is behind them too; something happens in the middle.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    let now = |address: u64, setup: [u8; 8]| [request(address, setup), wait(22)].concat();
    let address = |address: u8| now(0, [0, 5, address, 0, 0, 0, 0, 0]);
    let configure = |address: u64| now(address, [0, 9, 1, 0, 0, 0, 0, 0]);
    let port =
        |hub: u64, request: u8, feature: u8, port: u8| now(hub, [0x23, request, feature, 0, port, 0, 0, 0]);
    let whole = [
        [start(), address(1), configure(1), port(1, 3, 4, 1), address(2), configure(2)].concat(),
        [port(1, 3, 4, 2), address(3), configure(3), port(3, 3, 8, 3), port(3, 3, 4, 3)].concat(),
        [address(4), configure(4)].concat(),
    ]
    .concat();
    let asks = [
        now(1, [0xa0, 6, 0, 0x29, 0, 0, 8, 0]),
        now(3, [0xa3, 0, 0, 0, 3, 0, 4, 0]),
        port(1, 3, 2, 1),
        port(1, 1, 1, 2),
        port(3, 1, 8, 3),
        [report(1), wait(22)].concat(),
        [report(4), wait(22)].concat(),
    ];
    for ask in asks {
        for middle in [vec![14], vec![0xff], vec![0x1f], vec![0x2f], vec![0x3f], vec![0x9f], wait(24)] {
            let parts = [whole.clone(), middle, ask.clone(), report(3), wait(22), report(2), wait(24)];
            seeds.push(parts.concat());
        }
    }
    seeds
}
