//! Registers and ports.

use devices_core::rig::scenario;

use super::*;
use crate::usb::hub::Hub;

#[test]
fn identity() {
    let mut rig = Rig::new();
    attach(&mut rig);
    assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x003f_106b);
    assert_eq!(rig.config_read(SLOT, 0, 8, Size::B4), 0x0c03_1000);
    assert_eq!(rig.config_read(SLOT, 0, 0x3d, Size::B1), 1);
}

#[test]
fn after_a_reset() {
    scenario(|rig| {
        attach(rig);
        write(rig, reg::CONTROL, 0x2bf);
        for at in (reg::INTERRUPT_ENABLE..=reg::LS_THRESHOLD).step_by(4) {
            write(rig, at, 0xffff_fff0);
        }
        let kept = [
            (reg::HCCA, 0xffff_ff00),
            (reg::PERIOD_CURRENT, 0),
            (reg::CONTROL_HEAD, 0xffff_fff0),
            (reg::CONTROL_CURRENT, 0xffff_fff0),
            (reg::BULK_HEAD, 0xffff_fff0),
            (reg::BULK_CURRENT, 0xffff_fff0),
            (reg::DONE_HEAD, 0),
            (reg::FM_INTERVAL, 0xffff_3ff0),
            (reg::PERIODIC_START, 0xfff0),
            (reg::LS_THRESHOLD, 0xfff0),
        ];
        for (at, value) in kept {
            assert_eq!(read(rig, at), value, "{at:#x}");
        }
        write(rig, reg::COMMAND_STATUS, 1);
        let reset = [
            (reg::CONTROL, 0xc0),
            (reg::COMMAND_STATUS, 0),
            (reg::INTERRUPT_STATUS, 0),
            (reg::INTERRUPT_ENABLE, 0),
            (reg::HCCA, 0),
            (reg::CONTROL_HEAD, 0),
            (reg::BULK_HEAD, 0),
            (reg::FM_INTERVAL, 0x2778_2edf),
            (reg::FM_REMAINING, 0),
            (reg::FM_NUMBER, 0),
            (reg::PERIODIC_START, 0),
            (reg::LS_THRESHOLD, 0x628),
            (reg::RH_DESCRIPTOR_A, 0x203),
            (reg::RH_DESCRIPTOR_B, 0),
            (reg::RH_STATUS, 0),
            (0x60, 0xffff_ffff),
            (0xfc, 0xffff_ffff),
        ];
        for (at, value) in reset {
            assert_eq!(read(rig, at), value, "{at:#x}");
        }
        // Of a word only its beginning is a register.
        assert_eq!(rig.mmio_read(BAR + 1, Size::B1), 0xff);
        assert_eq!(rig.mmio_read(BAR + 0x44, Size::B2), 0x628);
        rig.mmio_write(BAR + 0x45, Size::B1, 0);
        assert_eq!(read(rig, reg::LS_THRESHOLD), 0x628);
    });
}

#[test]
fn interrupts_are_enabled_by_ones() {
    scenario(|rig| {
        attach(rig);
        write(rig, reg::INTERRUPT_ENABLE, 0x8000_0004);
        write(rig, reg::INTERRUPT_ENABLE, 0x20);
        assert_eq!(read(rig, reg::INTERRUPT_DISABLE), 0x8000_0024);
        write(rig, reg::INTERRUPT_DISABLE, 4);
        assert_eq!(read(rig, reg::INTERRUPT_ENABLE), 0x8000_0020);
        run(rig);
        rig.advance(ms(2));
        assert_eq!((read(rig, reg::INTERRUPT_STATUS), rig.irq(IRQ)), (4, false));
        write(rig, reg::INTERRUPT_ENABLE, 4);
        assert!(rig.irq(IRQ));
        write(rig, reg::INTERRUPT_DISABLE, 1 << 31);
        assert!(!rig.irq(IRQ));
    });
}

#[test]
fn frames_are_counted() {
    scenario(|rig| {
        attach(rig);
        run(rig);
        let before = read(rig, reg::FM_NUMBER);
        rig.advance(ms(40));
        assert_eq!(read(rig, reg::FM_NUMBER), before + 40);
        assert_eq!(word(rig, HCCA + 0x80), before + 40);
        rig.advance(250_000);
        let left = read(rig, reg::FM_REMAINING);
        assert_eq!(left, 0x2edf - 3000);
        write(rig, reg::FM_INTERVAL, 0xa778_2edf);
        rig.advance(ms(1));
        assert_eq!(read(rig, reg::FM_REMAINING) >> 31, 1, "FRT follows FIT");
        // Bit 15 changes, which interrupts though nobody looks.
        write(rig, reg::INTERRUPT_STATUS, 0x64);
        write(rig, reg::CONTROL, 0x80);
        rig.advance(ms(0x8000 - u64::from(before) - 43));
        assert!(!rig.irq(IRQ));
        rig.advance(ms(2));
        assert!(rig.irq(IRQ));
        assert_eq!(read(rig, reg::INTERRUPT_STATUS) & 0x20, 0x20);
        // Nothing is counted while the bus sleeps.
        write(rig, reg::CONTROL, 0xc0);
        let number = read(rig, reg::FM_NUMBER);
        rig.advance(ms(10));
        assert_eq!((read(rig, reg::FM_NUMBER), read(rig, reg::INTERRUPT_STATUS) & 4), (number, 0));
    });
}

#[test]
fn a_port_tells_who_comes_and_goes() {
    scenario(|rig| {
        let ports = attach(rig);
        run(rig);
        assert_eq!(read(rig, port_reg(1)), 0x100);
        let port = plug(&ports, Kind::Tablet);
        assert_eq!((port, read(rig, port_reg(1)), rig.irq(IRQ)), (1, 0x1_0101, true));
        enable(rig, 1);
        write(rig, port_reg(1), 1);
        assert_eq!(read(rig, port_reg(1)), 0x101, "disabled");
        write(rig, port_reg(1), 2);
        assert_eq!(read(rig, port_reg(1)), 0x103, "enabled");
        write(rig, port_reg(1), 4);
        assert_eq!(read(rig, port_reg(1)), 0x107, "asleep");
        write(rig, port_reg(1), 8);
        assert_eq!(read(rig, port_reg(1)), 0x4_0103, "awake");
        // There is no power to switch.
        write(rig, port_reg(1), 0x200);
        write(rig, reg::RH_STATUS, 1);
        assert_eq!(read(rig, port_reg(1)), 0x4_0103);
        ports.unplug(1);
        assert_eq!(read(rig, port_reg(1)), 0x7_0100);
        write(rig, port_reg(1), 0x1f_0000);
        // Who is told to do something to nobody hears that nobody is there.
        for value in [2, 4, 0x10] {
            write(rig, port_reg(1), value);
            assert_eq!(read(rig, port_reg(1)), 0x1_0100, "{value}");
            write(rig, port_reg(1), 0x1f_0000);
        }
        write(rig, reg::RH_STATUS, 1 << 15);
        assert_eq!(read(rig, reg::RH_STATUS), 1 << 15);
        write(rig, reg::RH_STATUS, 1 << 31);
        assert_eq!(read(rig, reg::RH_STATUS), 0);
        assert_eq!(read(rig, reg::PORTS + 12), 0xffff_ffff, "there are three");
        assert_eq!(ports.free_ports(), [1, 2, 3]);
    });
}

#[test]
fn a_reset_of_the_bus_disconnects() {
    scenario(|rig| {
        let (_, port) = tablet(rig);
        write(rig, reg::RH_STATUS, 1 << 15);
        write(rig, reg::CONTROL, 0);
        assert_eq!((read(rig, port_reg(port)), read(rig, reg::RH_STATUS)), (0x1_0101, 0));
        run(rig);
        configure(rig, port, 4);
        // A reset of the controller alone does not: the root hub stays.
        write(rig, reg::COMMAND_STATUS, 1);
        assert_eq!(read(rig, port_reg(port)), 0x103);
        run(rig);
        assert_eq!(request(rig, 4, get(0x80, 8, 0, 1), &[]).unwrap(), [1]);
    });
}

#[test]
fn a_device_wakes_the_bus_if_it_may() {
    for may in [false, true] {
        scenario(|rig| {
            let (ports, port) = tablet(rig);
            assert_eq!(request(rig, 2, get(0, if may { 3 } else { 1 }, 1, 0), &[]), Ok(vec![]));
            // The port alone.
            write(rig, port_reg(port), 4);
            write(rig, reg::INTERRUPT_STATUS, 0xff);
            point(&ports, port, 1, 1, 1);
            assert_eq!(read(rig, port_reg(port)), if may { 0x4_0103 } else { 0x107 });
            assert_eq!(read(rig, reg::INTERRUPT_STATUS) & 0x48, if may { 0x40 } else { 0 });
            assert_eq!(rig.irq(IRQ), may);
        });
        scenario(|rig| {
            let (ports, port) = tablet(rig);
            assert_eq!(request(rig, 2, get(0, if may { 3 } else { 1 }, 1, 0), &[]), Ok(vec![]));
            // The whole bus: it resumes by itself, and the driver goes on with that.
            write(rig, reg::CONTROL, 0x6c0);
            write(rig, reg::INTERRUPT_STATUS, 0xff);
            point(&ports, port, 1, 1, 1);
            assert_eq!(read(rig, reg::CONTROL), if may { 0x640 } else { 0x6c0 });
            assert_eq!(
                (read(rig, reg::INTERRUPT_STATUS), rig.irq(IRQ)),
                if may { (8, true) } else { (0, false) }
            );
            // Somebody who comes is heard in any case.
            plug(&ports, Kind::Mouse);
            assert_eq!(read(rig, reg::INTERRUPT_STATUS) & 0x40, 0x40);
        });
    }
}

#[test]
fn what_is_plugged_has_full_speed() {
    let mut rig = Rig::new();
    let ports = attach(&mut rig);
    plug(&ports, Kind::Keyboard);
    ports.plug(2, Box::new(Hub::new(8, false, "S"))).unwrap();
    assert_eq!([1, 2].map(|port| ports.speed(port)), [Some(crate::usb::Speed::Full); 2]);
    let refused = ports.plug(2, Box::new(Hid::new(Kind::Mouse, "x"))).unwrap_err().to_string();
    assert_eq!(refused, "usb port 2 not found (in use?)");
    assert_eq!(ports.free_port(None), Ok(3));
}
