//! A UHCI as companion: who has a device, and how it comes and goes.

use devices_core::pci::QEMU_SUBSYSTEM;
use devices_core::rig::scenario;

use super::*;
use crate::usb::Speed;
use crate::usb::hub::Hub;
use crate::usb::storage::Storage;
use crate::usb::uhci::{Uhci, model::VARIANTS as UHCI};

const IO: u16 = 0xc040;
const UHCI_IRQ: u32 = 10;

/// The controller with a companion for its third and fourth port.
fn both(rig: &mut Rig) -> Ports {
    let ports = attach(rig);
    let wiring = rig.wiring();
    let line = rig.irqs().line(UHCI_IRQ);
    let uhci = Uhci::new("uhci", &UHCI[3], QEMU_SUBSYSTEM, rig.ram().clone(), line, &wiring);
    rig.attach_pci(uhci.at(&ports, 2).unwrap(), &wiring, SLOT, 1);
    rig.config_write(SLOT, 1, 0x20, Size::B4, IO.into());
    rig.config_write(SLOT, 1, 4, Size::B2, 5);
    ports
}

fn tablet_at(ports: &Ports, port: u64, slow: bool) {
    let tablet = Hid::new(Kind::Tablet, "x");
    ports.plug(port, Box::new(if slow { tablet.slow() } else { tablet })).unwrap();
}

fn own(rig: &mut Rig, port: u64) -> u16 {
    rig.inw(IO + 0x10 + 2 * (port as u16 - 3))
}

#[test]
fn ports_lead_to_the_companion_until_they_are_claimed() {
    scenario(|rig| {
        let ports = both(rig);
        assert_eq!(rig.mmio_read(BAR + 4, Size::B4), 0x1206, "one companion, of two ports");
        tablet_at(&ports, 3, false);
        assert_eq!((read(rig, portsc(3)), own(rig, 3)), (0x3000, 0x83));
        assert_eq!(ports.speed(3), Some(Speed::Full));
        tablet_at(&ports, 1, false);
        assert_eq!(read(rig, portsc(1)), 0x1803, "a port with no companion is the controller's");
        run(rig);
        assert_eq!((read(rig, portsc(3)), own(rig, 3)), (0x1803, 0x82));
        assert_eq!(ports.speed(3), Some(Speed::High));
        configure(rig, 3, 2);
        rig.outw(IO + 0x10, 2);
        // Given away again.
        write(rig, portsc(3), 0x3000);
        assert_eq!((read(rig, portsc(3)), own(rig, 3)), (0x3002, 0x83));
        write(rig, reg::CONFIGFLAG, 0);
        assert_eq!(own(rig, 3), 0x83);
        write(rig, reg::CONFIGFLAG, 1);
        assert_eq!((read(rig, portsc(3)) & 0x3001, own(rig, 3) & 1), (0x1001, 0));
        write(rig, reg::USBCMD, 2);
        assert_eq!((read(rig, portsc(3)), own(rig, 3)), (0x3000, 0x83), "as after power-on");
    });
}

#[test]
fn a_slow_device_is_handed_over_and_gives_its_port_back() {
    scenario(|rig| {
        let ports = both(rig);
        run(rig);
        tablet_at(&ports, 4, true);
        assert_eq!(read(rig, portsc(4)), 0x1803);
        write(rig, portsc(4), 0x1100);
        rig.advance(ms(50));
        write(rig, portsc(4), 0x1000);
        assert_eq!(read(rig, portsc(4)), 0x1803, "not enabled: not of high speed");
        write(rig, portsc(4), 0x3002);
        assert_eq!((read(rig, portsc(4)), own(rig, 4)), (0x3002, 0x83));
        assert_eq!(ports.free_port(Some(4)).unwrap_err().to_string(), "usb port 4 not found (in use?)");
        ports.unplug(4).unwrap();
        assert_eq!((read(rig, portsc(4)) & 0x3001, own(rig, 4)), (0x1000, 0x82));
        // The next is the controller's to look at.
        tablet_at(&ports, 4, false);
        assert_eq!(read(rig, portsc(4)) & 0x3003, 0x1003);
    });
}

#[test]
fn a_tablet_behind_a_companion() {
    scenario(|rig| {
        let ports = both(rig);
        tablet_at(&ports, 3, false);
        // A frame list of UHCI's with one queue, by which a driver says SET_CONFIGURATION, and asks for a report then.
        poke(rig, 0x5000, &[0x6000 | 2; 1024]);
        let active = 0x1880_0000u32;
        let tds = |rig: &Rig, tds: &[(u32, u64)]| {
            for (n, (token, buffer)) in (0u32..).zip(tds) {
                let next = if n as usize + 1 == tds.len() { 1 } else { 0x6100 + 32 * (n + 1) | 4 };
                let words = [next, active | 1 << 24, *token, *buffer as u32];
                poke(rig, 0x6100 + 32 * u64::from(n), &words);
            }
            poke(rig, 0x6000, &[1, 0x6100]);
        };
        rig.outl(IO + 8, 0x5000);
        rig.outw(IO + 4, 0xf);
        rig.outw(IO, 0xc1);
        rig.outw(IO + 0x10, 0x200);
        rig.outw(IO + 0x10, 0);
        rig.outw(IO + 0x10, 0xe);
        rig.poke(0x7000, &get(0, 9, 1, 0).bytes());
        tds(rig, &[(0x2d | 7 << 21, 0x7000), (0x69 | 0x7ff << 21, 0)]);
        rig.advance(ms(70));
        assert_eq!(word(rig, 0x6000 + 4) & 1, 1, "done");
        assert!(rig.irq(UHCI_IRQ));
        rig.outw(IO + 2, 1);
        tds(rig, &[(0x69 | 1 << 15 | 7 << 21, 0x7100)]);
        rig.advance(ms(1000));
        assert!(!rig.irq(UHCI_IRQ));
        point(&ports, 3, 0x123, 0x456, 1);
        rig.advance(ms(2));
        assert!(rig.irq(UHCI_IRQ), "in the next frame");
        assert_eq!(rig.peek(0x7100, 6), [1, 0x23, 1, 0x56, 4, 0]);
        rig.outw(IO + 2, 1);
        // It sleeps, with leave to wake the host.
        rig.poke(0x7000, &get(0, 3, 1, 0).bytes());
        tds(rig, &[(0x2d | 7 << 21, 0x7000), (0x69 | 0x7ff << 21, 0)]);
        rig.advance(ms(70));
        rig.outw(IO + 2, 0x1f);
        rig.outw(IO, 0xc8);
        point(&ports, 3, 1, 1, 0);
        rig.advance(us(1));
        assert!(rig.irq(UHCI_IRQ), "it resumes");
        assert_eq!(rig.inw(IO + 2) & 4, 4);
    });
}

#[test]
fn a_disk_behind_a_companion_has_its_answers() {
    use crate::storage::scsi::tests::{contents, disk_of, memory};
    scenario(|rig| {
        let ports = both(rig);
        let (_store, backend) = memory(rig, contents(), false);
        ports.plug(3, Box::new(Storage::new(disk_of(backend), 512, "S1", ports.waker()))).unwrap();
        rig.outl(IO + 8, 0x5000);
        poke(rig, 0x5000, &[0x6000 | 2; 1024]);
        poke(rig, 0x6000, &[1, 1]);
        rig.outw(IO, 0xc1);
        rig.outw(IO + 0x10, 0x200);
        rig.outw(IO + 0x10, 0);
        rig.outw(IO + 0x10, 0xe);
        let step = |rig: &mut Rig, token: u32, buffer: u32| {
            poke(rig, 0x6100, &[1, 0x1880_0000, token, buffer]);
            poke(rig, 0x6004, &[0x6100]);
            rig.advance(ms(200));
            assert_eq!(word(rig, 0x6104) >> 16 & 0xff, 0, "{token:#x}");
        };
        rig.poke(0x7000, &get(0, 9, 1, 0).bytes());
        step(rig, 0x2d | 7 << 21, 0x7000);
        step(rig, 0x69 | 0x7ff << 21, 0);
        let mut cbw = [0x4342_5355u32, 7, 36].map(u32::to_le_bytes).concat();
        cbw.extend([0x80, 0, 6, 0x12, 0, 0, 0, 36, 0]);
        cbw.resize(31, 0);
        rig.poke(0x7000, &cbw);
        step(rig, 0xe1 | 2 << 15 | 30 << 21, 0x7000);
        step(rig, 0x69 | 1 << 15 | 63 << 21, 0x7100);
        assert_eq!(&rig.peek(0x7108, 4), b"QEMU");
        step(rig, 0x69 | 1 << 15 | 63 << 21, 0x7200);
        assert_eq!(rig.peek(0x7200, 4), 0x5342_5355u32.to_le_bytes());
        assert_eq!(ports.unplug(3).unwrap().title(), "QEMU USB MSD");
    });
}

#[test]
fn companions_that_do_not_fit_are_refused() {
    let mut rig = Rig::new();
    let ports = both(&mut rig);
    let wiring = rig.wiring();
    for (first, fits) in [(2, false), (1, false), (3, false), (5, false), (u64::MAX, false), (0, true)] {
        let line = rig.irqs().line(UHCI_IRQ);
        let uhci = Uhci::new("other", &UHCI[4], QEMU_SUBSYSTEM, rig.ram().clone(), line, &wiring);
        assert_eq!(uhci.at(&ports, first).is_ok(), fits, "{first}");
    }
}

#[test]
fn a_hub_is_the_companions() {
    scenario(|rig| {
        let ports = both(rig);
        let hub = || Box::new(Hub::new(4, false, "314159"));
        let refused = ports.plug(1, hub()).unwrap_err().to_string();
        assert!(refused.contains("speed mismatch"), "{refused}");
        ports.plug(4, hub()).unwrap();
        tablet_at(&ports, 0x204, false);
        assert_eq!((own(rig, 4), ports.speed(0x204)), (0x83, Some(Speed::Full)));
        write(rig, reg::CONFIGFLAG, 1);
        assert_eq!((read(rig, portsc(4)) & 1, own(rig, 4) & 1), (1, 0), "until the controller gives it away");
        write(rig, portsc(4), 0x3002);
        assert_eq!((own(rig, 4), ports.speed(0x204)), (0x83, Some(Speed::Full)));
        assert_eq!(ports.unplug(4).unwrap().title(), "QEMU USB Hub");
        assert_eq!((ports.speed(0x204), ports.free_port(Some(4))), (None, Ok(4)));
    });
}
