//! A hub on the controller, and what is behind it.
//!
//! **Linux** (`hub.c`, `xhci.c`): the hub is configured as any device; then its slot is said to be a hub's by a Configure
//! Endpoint command that adds no endpoint: the context's Hub bit and number of ports. Status change endpoint and port
//! requests are as on every controller. The device behind it has a slot whose context names the root port, the route and
//! the speed; Address Device finds it there.
//!
//! **Windows** (`usbhub3`, `usbxhci`) does the same in this order, the hub's slot by Configure Endpoint together with the
//! status change endpoint (xHCI 4.6.6, 4.3.3; by the specification, there is no public source).

use devices_core::rig::scenario;

use super::*;
use crate::usb::hub::Hub;

/// Rings for another slot; what is given back are those of before.
fn rings(driver: &mut Driver, base: u64) -> (Fill, Fill) {
    let (control, interrupt) = (Fill::new(base), Fill::new(base + 0x1000));
    (std::mem::replace(&mut driver.control, control), std::mem::replace(&mut driver.interrupt, interrupt))
}

fn tell(rig: &mut Rig, driver: &Driver, hub: u8, request: u8, feature: u16, port: u16) {
    let setup = Setup { kind: 0x23, request, value: feature, index: port, length: 0 };
    assert_eq!(driver.request(rig, hub, setup, &[]), Ok(vec![]));
}
fn status(rig: &mut Rig, driver: &Driver, hub: u8, port: u16) -> Vec<u8> {
    let setup = Setup { kind: 0xa3, request: 0, value: 0, index: port, length: 4 };
    driver.request(rig, hub, setup, &[]).unwrap()
}

/// What the status change endpoint says to who asks for its two bytes there.
fn changes(rig: &mut Rig, driver: &Driver, at: u64) -> Option<Vec<u8>> {
    let seen = driver.of(rig, at)?;
    assert_eq!((seen.code, seen.length), (code::SUCCESS, 0));
    Some(rig.peek(DATA + 0x800, 2))
}

/// A hub on the first socket, configured; its slot.
fn hub(rig: &mut Rig) -> (Driver, u8) {
    let ports = attach(rig);
    ports.plug(1, Box::new(Hub::new(8, false, "314159"))).unwrap();
    let driver = run(rig, ports);
    let slot = driver.address(rig, 5, 1, 8);
    driver.configure(rig, slot);
    // It is a hub, with eight ports.
    poke(rig, INPUT, &[0, 1, 0, 0, 0, 0, 0, 0]);
    let own = rig.peek(OUTPUT, 32);
    rig.poke(INPUT + CONTEXT, &own);
    let [head, place] = [0, 4].map(|at| peek(rig, INPUT + CONTEXT + at));
    poke(rig, INPUT + CONTEXT, &[head | 1 << 26, place | 8 << 24]);
    assert_eq!(driver.slot_command(rig, trb::CONFIGURE_ENDPOINT, slot, INPUT), code::SUCCESS);
    (driver, slot)
}

#[test]
fn a_tablet_behind_a_hub() {
    scenario(|rig| {
        let (mut driver, hub) = hub(rig);
        let change = driver.ask_for(rig, hub, 2);
        assert_eq!((changes(rig, &driver, change), rig.next_deadline()), (None, None), "nobody is woken");
        driver.ports.plug(0x201, Box::new(Hid::new(Kind::Tablet, "x-1.2"))).unwrap();
        assert_eq!(changes(rig, &driver, change), Some(vec![4, 0]));
        assert_eq!(status(rig, &driver, hub, 2), [1, 1, 1, 0]);
        tell(rig, &driver, hub, 1, 16, 2);
        tell(rig, &driver, hub, 3, 4, 2);
        assert_eq!(status(rig, &driver, hub, 2), [3, 1, 0x10, 0]);
        tell(rig, &driver, hub, 1, 20, 2);
        let change = driver.ask_for(rig, hub, 2);

        let of_hub = rings(&mut driver, 0xa000);
        // Nobody is on the third port, and nothing is behind a tablet.
        assert_eq!(driver.enter(rig, (5, 3), 1, 8), Err(code::TRANSACTION));
        assert_eq!(driver.enter(rig, (5, 0x12), 1, 8), Err(code::TRANSACTION));
        assert_eq!(driver.enter(rig, (6, 2), 1, 8), Err(code::TRANSACTION));
        let slot = driver.enter(rig, (5, 2), 1, 8).unwrap();
        assert_eq!(peek(rig, OUTPUT + 0x400 * u64::from(slot - 1)) & 0xf_ffff, 2);
        assert_eq!(driver.enter(rig, (5, 2), 1, 8), Err(code::TRB), "it has a slot");
        driver.configure(rig, slot);
        let report = driver.ask(rig, slot);
        assert_eq!((driver.answer(rig, report), rig.next_deadline()), (None, None), "nobody is woken");
        point(&driver.ports, 0x201, 5, 6, 1);
        assert_eq!(driver.answer(rig, report), Some(vec![1, 5, 0, 6, 0, 0]));

        // It goes while it is asked: that fails, and the hub tells of it.
        let report = driver.ask(rig, slot);
        assert_eq!(driver.ports.unplug(0x201).unwrap().title(), "QEMU HID Tablet");
        let seen = driver.all(rig);
        let of = |at: u64| seen.iter().find(|seen| seen.parameter == at).map(|seen| seen.code);
        assert_eq!((of(report), of(change)), (Some(code::TRANSACTION), Some(code::SUCCESS)));
        (driver.control, driver.interrupt) = of_hub;
        assert_eq!(status(rig, &driver, hub, 2), [0, 1, 1, 0]);
    });
}

#[test]
fn a_hub_behind_a_hub() {
    scenario(|rig| {
        let (mut driver, first) = hub(rig);
        driver.ports.plug(0x801, Box::new(Hub::new(8, false, "314159"))).unwrap();
        driver.ports.plug(0x7_0801, Box::new(Hid::new(Kind::Mouse, "x-1.8.7"))).unwrap();
        tell(rig, &driver, first, 3, 4, 8);
        rings(&mut driver, 0xa000);
        let second = driver.enter(rig, (5, 8), 1, 8).unwrap();
        driver.configure(rig, second);
        tell(rig, &driver, second, 3, 4, 7);
        rings(&mut driver, 0xc000);
        let slot = driver.enter(rig, (5, 0x78), 1, 8).unwrap();
        let device = driver.request(rig, slot, get(0x80, 6, 0x100, 18), &[]).unwrap();
        assert_eq!(device[8..12], [0x27, 6, 1, 0]);
        // Whoever resets the port of the first hub has cut off all that is behind.
        let of_first = Setup { kind: 0x23, request: 1, value: 1, index: 8, length: 0 };
        driver.ports.with(1, &mut |device| assert!(device.request(of_first, &mut Vec::new(), 0)));
        assert_eq!(driver.request(rig, slot, get(0x80, 8, 0, 1), &[]), Err(code::TRANSACTION));
    });
}
