//! Registers and ports, with no transfers.

use devices_core::rig::scenario;

use super::*;

#[test]
fn it_is_what_qemus_is() {
    let mut rig = Rig::new();
    attach(&mut rig);
    let config = |rig: &mut Rig, at| rig.config_read(SLOT, FUNCTION, at, Size::B4);
    assert_eq!(config(&mut rig, 0), 0x293a_8086);
    assert_eq!(config(&mut rig, 8), 0x0c03_2003);
    assert_eq!(config(&mut rig, 0x60) & 0xffff, 0x2020);
    assert_eq!(config(&mut rig, 0x3c) >> 8 & 0xff, 4, "INTD");
    let capability = |rig: &mut Rig, at| rig.mmio_read(BAR + at, Size::B4) as u32;
    assert_eq!([0, 4, 8].map(|at| capability(&mut rig, at)), [0x0100_0020, 6, 0x6880]);
    assert_eq!(rig.mmio_read(BAR, Size::B1), 0x20);
    assert_eq!(rig.mmio_read(BAR + 2, Size::B2), 0x100);
}

#[test]
fn registers_after_a_reset() {
    scenario(|rig| {
        attach(rig);
        for round in 0..2 {
            assert_eq!(read(rig, reg::USBCMD), 0x8_0000, "{round}");
            assert_eq!(read(rig, reg::USBSTS), 0x1000);
            for at in [reg::USBINTR, reg::FRINDEX, reg::CTRLDSSEGMENT, reg::CONFIGFLAG] {
                assert_eq!(read(rig, at), 0, "{at:#x}");
            }
            assert_eq!((1..=6).map(|port| read(rig, portsc(port))).collect::<Vec<_>>(), [0x1000; 6]);
            assert_eq!(read(rig, portsc(7)), 0);
            // What is no register of a byte is written by its byte all the same.
            rig.mmio_write(BAR + cap::LEN + reg::ASYNCLISTADDR + 1, Size::B1, 0x12);
            assert_eq!(read(rig, reg::ASYNCLISTADDR), 0x1200);
            for (at, kept) in [
                (reg::USBINTR, 0x3f),
                (reg::PERIODICLISTBASE, 0xffff_f000),
                (reg::ASYNCLISTADDR, 0xffff_ffe0),
                (reg::FRINDEX, 0x3fff),
                (reg::CTRLDSSEGMENT, 0),
                (reg::CONFIGFLAG, 1),
            ] {
                write(rig, at, 0xffff_ffff);
                assert_eq!(read(rig, at), kept, "{at:#x}");
            }
            write(rig, reg::USBCMD, 2);
        }
    });
}

#[test]
fn microframes_are_counted() {
    scenario(|rig| {
        attach(rig);
        write(rig, reg::FRINDEX, 0x3ffd);
        write(rig, reg::USBCMD, RUN);
        assert_eq!(read(rig, reg::USBSTS) & 0x1000, 0);
        rig.advance(MICROFRAME * 2);
        assert_eq!(read(rig, reg::FRINDEX), 0x3fff);
        assert_eq!(read(rig, reg::USBSTS) & 8, 0);
        rig.advance(MICROFRAME);
        assert_eq!(read(rig, reg::FRINDEX), 0);
        assert_eq!(read(rig, reg::USBSTS) & 8, 8, "the frame list begins anew");
        write(rig, reg::USBSTS, 8);
        rig.advance(ms(1023));
        assert_eq!((read(rig, reg::FRINDEX), read(rig, reg::USBSTS) & 8), (1023 * 8, 0));
        write(rig, reg::USBINTR, 8);
        rig.advance(ms(1));
        assert!(rig.irq(IRQ), "with no register read in between");
        write(rig, reg::FRINDEX, 0);
        assert_eq!(read(rig, reg::FRINDEX), 0x2000, "it cannot be set while it runs");
        write(rig, reg::USBCMD, 0);
        rig.advance(ms(50));
        assert_eq!((read(rig, reg::FRINDEX), read(rig, reg::USBSTS) & 0x1000), (0x2000, 0x1000));
    });
}

#[test]
fn a_port_is_reset_and_enabled() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        write(rig, reg::USBINTR, 4);
        assert!(rig.irq(IRQ), "somebody has come");
        write(rig, reg::USBSTS, 4);
        assert!(!rig.irq(IRQ));
        assert_eq!(read(rig, portsc(port)), 0x1803, "connected, J");
        write(rig, portsc(port), 0x1006);
        assert_eq!(read(rig, portsc(port)), 0x1801, "software cannot enable it");
        write(rig, portsc(port), 0x1100);
        assert_eq!(read(rig, portsc(port)), 0x1101);
        rig.advance(ms(50));
        write(rig, portsc(port), 0x1000);
        assert_eq!(read(rig, portsc(port)), 0x1005, "enabled, at high speed");
        // Nobody is there: nothing is enabled.
        write(rig, portsc(3), 0x1100);
        write(rig, portsc(3), 0x1000);
        assert_eq!(read(rig, portsc(3)), 0x1000);
        write(rig, portsc(port), 0x1000);
        assert_eq!(read(rig, portsc(port)), 0x1801, "software disables it");
        ports.unplug(port);
        assert!(rig.irq(IRQ));
        assert_eq!(read(rig, portsc(port)), 0x1002);
    });
}

#[test]
fn a_port_sleeps_and_is_woken() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        write(rig, portsc(port), 0x1084);
        assert_eq!(read(rig, portsc(port)), 0x1085);
        point(&ports, port, 1, 2, 0);
        rig.advance(ms(20));
        assert_eq!(read(rig, portsc(port)), 0x1085, "it may not wake anybody");
        // By the host.
        write(rig, portsc(port), 0x10c4);
        assert_eq!(read(rig, portsc(port)), 0x10c5);
        rig.advance(ms(20));
        write(rig, portsc(port), 0x1084);
        assert_eq!(read(rig, portsc(port)) & 0xc0, 0);
        ask(rig);
        rig.advance(ms(20));
        assert!(answer(rig).is_some(), "what it had to say");
        // By the device.
        assert_eq!(request(rig, 2, get(0, 3, 1, 0), &[]), Ok(vec![]));
        write(rig, portsc(port), 0x1084);
        write(rig, reg::USBSTS, 0x3f);
        point(&ports, port, 3, 4, 0);
        assert_eq!(read(rig, portsc(port)), 0x10c5);
        assert!(rig.irq(IRQ));
        write(rig, portsc(port), 0x1004);
        ask(rig);
        rig.advance(ms(8));
        assert_eq!(answer(rig), Some(vec![0, 3, 0, 4, 0, 0]));
    });
}

#[test]
fn what_is_for_full_speed_alone_needs_a_companion() {
    let mut rig = Rig::new();
    let ports = attach(&mut rig);
    let slow = Hid::new(Kind::Mouse, "x").slow();
    let refused = ports.plug(1, Box::new(slow)).unwrap_err().to_string();
    assert!(refused.contains("speed mismatch trying to attach usb device \"QEMU HID Mouse\""), "{refused}");
    assert_eq!(ports.free_port(Some(7)).unwrap_err().to_string(), "usb port 7 not found (in use?)");
    (1..=6).for_each(|port| assert_eq!(plug(&ports, Kind::Mouse), port));
    assert!(ports.free_port(None).is_err());
}

#[test]
fn a_state_that_makes_no_sense_is_refused() {
    let mut rig = Rig::new();
    let (ports, port) = tablet(&mut rig);
    let saved = rig.bus().save().unwrap();
    ports.unplug(port);
    rig.reset();
    let (name, state) = &saved[0];
    let error = rig.bus().load(name, state).unwrap().unwrap_err().to_string();
    assert!(error.contains("another port has a device"), "{error}");
}
