//! The controller as companion of an EHCI, and a hub on it.

use devices_core::rig::scenario;

use super::*;
use crate::usb::Speed;
use crate::usb::ehci::{self, Ehci};
use crate::usb::hub::Hub;

const EHCI: u64 = 0xfeb1_0000;

/// An EHCI, whose second to fourth port are the controller's too.
fn both(rig: &mut Rig) -> ehci::Ports {
    let wiring = rig.wiring();
    let ehci = Ehci::new("ehci", &ehci::model::VARIANTS[0], rig.ram().clone(), rig.irqs().line(10), &wiring);
    let cell: Arc<DeviceCell<Ehci>> = rig.attach_pci(ehci, &wiring, SLOT, 1);
    let ports = ehci::Ports::new(cell, "0000:00:05.1".into(), wiring.waker());
    let (wiring, line) = (rig.wiring(), rig.irqs().line(IRQ));
    let ohci = Ohci::new("pci-ohci", 3, rig.ram().clone(), line, &wiring).at(&ports, 1).unwrap();
    rig.attach_pci(ohci, &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, 0, 0x04, Size::B2, 6);
    rig.config_write(SLOT, 1, 0x10, Size::B4, EHCI as u32);
    rig.config_write(SLOT, 1, 0x04, Size::B2, 6);
    ports
}

#[test]
fn devices_change_hands() {
    scenario(|rig| {
        let ports = both(rig);
        ports.plug(3, Box::new(Hid::new(Kind::Tablet, "x-3"))).unwrap();
        run(rig);
        assert_eq!((read(rig, port_reg(2)), ports.speed(3)), (0x1_0101, Some(Speed::Full)));
        configure(rig, 2, 2);
        ask(rig, 2);
        rig.advance(ms(300));
        let motion = Motion::To { x: Some(1), y: Some(2) };
        let mut moved = |device: &mut dyn crate::usb::UsbDevice| {
            device.input().unwrap().point(Pointer { motion, wheel: 0, buttons: 0 });
        };
        ports.with(3, &mut moved);
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![0, 1, 0, 2, 0, 0]));
        // The EHCI is configured: it is that one's, at high speed. Then not any more.
        rig.mmio_write(EHCI + 0x60, Size::B4, 1);
        assert_eq!((read(rig, port_reg(2)), ports.speed(3)), (0x3_0100, Some(Speed::High)));
        rig.mmio_write(EHCI + 0x60, Size::B4, 0);
        assert_eq!((read(rig, port_reg(2)) & 0x1_0103, ports.speed(3)), (0x1_0101, Some(Speed::Full)));
        ports.unplug(3).unwrap();
        assert_eq!(read(rig, port_reg(2)) & 1, 0);
    });
}

#[test]
fn a_hub_leads_on() {
    scenario(|rig| {
        let ports = attach(rig);
        ports.plug(2, Box::new(Hub::new(4, true, "S"))).unwrap();
        ports.plug(0x402, Box::new(Hid::new(Kind::Mouse, "x-2.4"))).unwrap();
        run(rig);
        configure(rig, 2, 2);
        // The port has power, is reset, and has told all.
        for feature in [8, 4] {
            let set = Setup { kind: 0x23, request: 3, value: feature, index: 4, length: 0 };
            assert_eq!(request(rig, 2, set, &[]), Ok(vec![]));
        }
        ask(rig, 2);
        poke(rig, INTERRUPT_TD + 12, &[REPORT as u32 + 1]);
        rig.advance(ms(2));
        assert_eq!(rig.peek(REPORT, 1), [0x10]);
        take_done(rig);
        poke(rig, INTERRUPT_ED, &[ed::SKIP]);
        assert_eq!(request(rig, 0, get(0, 5, 3, 0), &[]), Ok(vec![]));
        assert_eq!(request(rig, 3, get(0x80, 6, 0x100, 18), &[]).unwrap()[8..12], [0x27, 6, 1, 0]);
    });
}
