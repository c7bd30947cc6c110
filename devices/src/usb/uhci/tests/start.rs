//! How drivers start the controller.
//!
//! **Linux** (`pci-quirks.c`, `uhci-pci.c`, `uhci-hcd.c`, `uhci-hub.c`): reads LEGSUP, USBCMD and USBINTR; anything set is a
//! reason to reset: LEGSUP = 0x8f00, USBCMD.HCRESET, USBCMD read, USBINTR = 0, USBCMD = 0. Ports are counted from 0x10 on
//! until one whose bit 7 is clear or that reads all ones. Then SOFMOD = 64 (a byte), FRBASEADD (32 bits), FRNUM (16 bits),
//! LEGSUP = 0x2000, USBCMD = RS, CF and MAXP, USBINTR = 15. A port: PR set and cleared after 50 ms, then PED set and both
//! changes cleared. Every frame of the list leads over interrupt queues to one last TD, which is inactive and leads to
//! itself; its IOC bit asks to be told of the end of a frame, which ends the unlinking of a queue.
//!
//! **Windows** (`usbuhci`, by ReactOS's driver of that name): reads LEGSUP, USBINTR = 0, USBCMD without RS, GRESET and CF,
//! waits for HCHalted, clears all of USBSTS; LEGSUP = 0 if firmware's traps were on. SOFMOD is read, USBCMD = GRESET for
//! 20 ms, 0, MAXP, SOFMOD written back as a byte. FRBASEADD (32 bits), USBCMD with RS, both ports read and written back
//! without change and suspend bits, USBINTR last. Frames lead to a tree of queues in 32 branches; frame 0 to an inactive TD
//! with IOC, from which the driver counts wraps of FRNUM.

use devices_core::rig::scenario;

use super::*;

#[test]
fn as_linux_does() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        let legsup = rig.config_read(SLOT, FUNCTION, 0xc0, Size::B2);
        assert_eq!(legsup & !(0x5040 | 0x8f00), 0x2000, "the firmware has it: it is reset");
        rig.config_write(SLOT, FUNCTION, 0xc0, Size::B2, 0x8f00);
        write(rig, reg::USBCMD, 2);
        assert_eq!(read(rig, reg::USBCMD) & 2, 0);
        write(rig, reg::USBINTR, 0);
        write(rig, reg::USBCMD, 0);
        let count = (0..8)
            .take_while(|n| {
                let status = read(rig, 0x10 + 2 * n);
                status & 0x80 != 0 && status != 0xffff
            })
            .count();
        assert_eq!(count, 2);
        rig.outb(BAR + 0xc, 64);
        rig.outl(BAR + 8, LIST as u32);
        write(rig, reg::FRNUM, 0);
        rig.config_write(SLOT, FUNCTION, 0xc0, Size::B2, 0x2000);
        assert_eq!(rig.config_read(SLOT, FUNCTION, 0xc0, Size::B2), 0x2000);
        run(rig);
        // The last TD leads to itself.
        let last = 0x2400;
        poke(rig, last, &[last as u32, 0, token(pid::IN, 0, 0, 0), 0]);
        poke(rig, QH, &[0x2500 | QUEUE]);
        poke(rig, 0x2500, &[TERMINATE, last as u32]);
        configure(rig, port, 2);
        ask(rig, 2);
        rig.advance(ms(500));
        poke(rig, last + 4, &[td::INTERRUPT]);
        rig.advance(ms(64));
        assert!(rig.irq(IRQ), "told of the end of a frame");
        poke(rig, last + 4, &[0]);
        write(rig, reg::USBSTS, 1);
        rig.advance(ms(2));
        assert!(!rig.irq(IRQ));
        point(&ports, port, 10, 20, 0);
        rig.advance(ms(8));
        assert_eq!(answer(rig), Some(vec![0, 10, 0, 20, 0, 0]));
    });
}

#[test]
fn as_windows_does() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        assert_eq!(rig.config_read(SLOT, FUNCTION, 0xc0, Size::B2) & 0xbf, 0, "no traps");
        write(rig, reg::USBINTR, 0);
        let command = read(rig, reg::USBCMD) & !0x45;
        write(rig, reg::USBCMD, command);
        let status = read(rig, reg::USBSTS);
        assert_eq!(status & 0x20, 0x20);
        write(rig, reg::USBSTS, status | 0x3f);
        let sof = rig.inb(BAR + 0xc);
        for command in [4, 0, 0x80] {
            write(rig, reg::USBCMD, command);
            rig.advance(ms(20));
        }
        rig.outb(BAR + 0xc, sof);
        // Thirty-two branches, and the inactive TD in frame 0.
        for n in 0..1024u64 {
            poke(rig, LIST + 4 * n, &[(0x4000 + n % 32 * 16) as u32 | QUEUE]);
        }
        for n in 0..32u64 {
            let element = if n % 8 == 0 { INT_TD as u32 } else { TERMINATE };
            poke(rig, 0x4000 + n * 16, &[QH as u32 | QUEUE, element]);
        }
        poke(rig, 0x5000, &[0x4000 | QUEUE, td::INTERRUPT, token(pid::IN, 0, 0, 0), 0]);
        poke(rig, QH, &[TERMINATE, TERMINATE]);
        poke(rig, INT_TD, &[TERMINATE, 0, 0, 0]);
        rig.outl(BAR + 8, LIST as u32);
        let command = read(rig, reg::USBCMD);
        write(rig, reg::USBCMD, command | 1);
        for at in [0x10, 0x12] {
            let status = read(rig, at);
            write(rig, at, status & !0x1002);
        }
        poke(rig, LIST, &[0x5000]);
        write(rig, reg::USBINTR, 0xf);
        configure(rig, port, 1);
        rig.advance(ms(1024));
        assert!(rig.irq(IRQ), "frame 0");
        write(rig, reg::USBSTS, 0x1f);
        let control = ACTIVE | td::INTERRUPT | td::SHORT;
        poke(rig, INT_TD, &[TERMINATE, control, token(pid::IN, 1, 1, 8), INT_BUFFER as u32]);
        rig.advance(ms(70));
        point(&ports, port, 0x7fff, 1, 2);
        rig.advance(ms(32));
        assert_eq!(answer(rig), Some(vec![2, 0xff, 0x7f, 1, 0, 0]));
    });
}
