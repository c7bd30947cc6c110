//! Registers and ports.

use devices_core::rig::scenario;

use super::*;

#[test]
fn the_function_is_the_piix3s() {
    scenario(|rig| {
        attach(rig);
        let config = |rig: &mut Rig, at, size| rig.config_read(SLOT, FUNCTION, at, size);
        assert_eq!(config(rig, 0, Size::B4), 0x7020_8086);
        assert_eq!(config(rig, 8, Size::B4), 0x0c03_0001);
        assert_eq!(config(rig, 0x2c, Size::B4), 0x1100_1af4);
        assert_eq!(config(rig, 0x3d, Size::B1), 4, "INTD");
        assert_eq!(config(rig, 0x60, Size::B1), 0x10);
        assert_eq!(config(rig, 0xc0, Size::B2), 0x2000);
        rig.config_write(SLOT, FUNCTION, 0xc0, Size::B2, 0xffff);
        assert_eq!(config(rig, 0xc0, Size::B2), 0x20bf);
        rig.config_write(SLOT, FUNCTION, 0x20, Size::B4, u32::MAX);
        assert_eq!(config(rig, 0x20, Size::B4), 0xffff_ffe1);
    });
}

#[test]
fn registers_after_a_reset() {
    scenario(|rig| {
        attach(rig);
        for again in [false, true] {
            assert_eq!(read(rig, reg::USBCMD), 0);
            assert_eq!(read(rig, reg::USBSTS), 0x20);
            assert_eq!(read(rig, reg::USBINTR), 0);
            assert_eq!(read(rig, reg::FRNUM), 0);
            assert_eq!(rig.inl(BAR + 8), 0);
            assert_eq!(rig.inb(BAR + 0xc), 64);
            assert_eq!([read(rig, 0x10), read(rig, 0x12)], [0x80; 2]);
            assert_eq!([read(rig, 0x14), read(rig, 0x1e)], [0xff7f; 2], "there are two ports");
            assert_eq!(rig.inl(BAR + 0x10), 0x0080_0080);
            if !again {
                run(rig);
                rig.outb(BAR + 0xc, 0x41);
                assert_eq!(rig.inb(BAR + 0xc), 0x41);
                rig.advance(ms(7));
                write(rig, reg::USBCMD, 2);
            }
        }
    });
}

#[test]
fn bits_that_are_none_are_not_kept() {
    scenario(|rig| {
        attach(rig);
        write(rig, reg::USBINTR, 0xffff);
        assert_eq!(read(rig, reg::USBINTR), 0xf);
        write(rig, reg::FRNUM, 0xffff);
        assert_eq!(read(rig, reg::FRNUM), 0x7ff);
        rig.outl(BAR + 8, 0xffff_ffff);
        assert_eq!(rig.inl(BAR + 8), 0xffff_f000);
        write(rig, reg::USBCMD, 0xf8);
        assert_eq!(read(rig, reg::USBCMD), 0xf8);
        write(rig, reg::USBSTS, 0x3f);
        assert_eq!(read(rig, reg::USBSTS), 0x20, "halted is no cause");
        write(rig, 0x10, 4);
        assert_eq!(read(rig, 0x10), 0x80, "nobody is there to be enabled");
    });
}

#[test]
fn frames_are_counted_by_guest_time() {
    scenario(|rig| {
        attach(rig);
        write(rig, reg::FRNUM, 0x7fe);
        run(rig);
        assert_eq!(read(rig, reg::USBSTS) & 0x20, 0);
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push(read(rig, reg::FRNUM));
            rig.advance(ms(1));
        }
        assert_eq!(seen, [0x7fe, 0x7ff, 0, 1]);
        write(rig, reg::FRNUM, 5);
        assert_eq!(read(rig, reg::FRNUM), 2, "it runs");
        // Also when frames are not walked one by one.
        rig.advance(ms(1030));
        assert_eq!(read(rig, reg::FRNUM), 1032);
        rig.advance(ms(10_000_000));
        assert_eq!(read(rig, reg::FRNUM), ((1032 + 10_000_000) % 2048) as u16);
        write(rig, reg::USBCMD, 0);
        let stood = read(rig, reg::FRNUM);
        rig.advance(ms(9));
        assert_eq!((read(rig, reg::FRNUM), read(rig, reg::USBSTS)), (stood, 0x20));
        assert_eq!(rig.next_deadline(), None);
    });
}

#[test]
fn ports_show_who_comes_and_goes() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        assert_eq!((port, read(rig, 0x10)), (1, 0x83));
        write(rig, 0x10, 2);
        assert_eq!(read(rig, 0x10), 0x81);
        enable(rig, port);
        assert_eq!(ports.free_port(None), Ok(2));
        assert_eq!(ports.free_port(Some(1)).unwrap_err().to_string(), "usb port 1 not found (in use?)");
        assert_eq!(ports.free_port(Some(3)).unwrap_err().to_string(), "usb port 3 not found (in use?)");
        assert!(ports.free_port(Some(0)).is_err() && ports.free_port(Some(u64::MAX)).is_err());
        plug(&ports, Kind::Keyboard);
        assert!(ports.free_port(None).unwrap_err().to_string().contains("no free ports"));
        ports.unplug(port);
        assert_eq!(read(rig, 0x10), 0x8a, "it has gone, and the port was enabled");
        write(rig, 0x10, 0xa);
        assert_eq!(read(rig, 0x10), 0x80);
        ports.unplug(2);
        ports.unplug(7);
    });
}

#[test]
fn a_suspended_bus_is_woken() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        run(rig);
        configure(rig, port, 3);
        let wake = |rig: &mut Rig, on: u8| {
            let kind = if on == 3 { 0 } else { 1 };
            request(rig, 3, get(0, on, 1, 0), &[]).map(|_| kind)
        };
        assert_eq!(wake(rig, 3), Ok(0), "remote wakeup");
        assert_eq!(request(rig, 3, get(0x80, 0, 0, 2), &[]), Ok(vec![2, 0]));
        // The driver suspends port and bus.
        write(rig, 0x10, 0x1004);
        write(rig, reg::USBCMD, 0);
        write(rig, reg::USBCMD, 8);
        rig.take_edges();
        point(&ports, port, 5, 6, 0);
        assert_eq!(read(rig, 0x10), 0x10c5 & !0x40 | 0x40);
        assert_eq!((read(rig, reg::USBSTS), read(rig, reg::USBCMD)), (0x24, 0x18));
        assert!(rig.irq(IRQ));
        write(rig, reg::USBSTS, 4);
        assert!(!rig.irq(IRQ));
        write(rig, 0x10, 4);
        write(rig, reg::USBCMD, 0xc1);
        ask(rig, 3);
        rig.advance(ms(2));
        assert_eq!(answer(rig), Some(vec![0, 5, 0, 6, 0, 0]));
        // Without the feature nobody is woken.
        assert_eq!(wake(rig, 1), Ok(1));
        write(rig, 0x10, 0x1004);
        point(&ports, port, 7, 8, 0);
        assert_eq!(read(rig, 0x10), 0x1085);
        // A device that comes wakes a suspended bus.
        write(rig, reg::USBCMD, 0);
        write(rig, reg::USBCMD, 8);
        plug(&ports, Kind::Mouse);
        assert_eq!((read(rig, reg::USBSTS) & 4, rig.irq(IRQ)), (4, true));
    });
}
