//! How drivers start the controller.
//!
//! **Linux** (`pci-quirks.c`, `ehci-pci.c`, `ehci-hcd.c`, `ehci-hub.c`): EECP from HCCPARAMS, USBLEGSUP there: where the
//! firmware has the controller, its own semaphore is set; USBLEGCTLSTS = 0. CAPLENGTH, USBSTS; a controller that runs is
//! halted. USBINTR = 0, HCSPARAMS, HCCPARAMS, USBCMD with HCRESET, until that is clear. PERIODICLISTBASE, ASYNCLISTADDR (a
//! queue head with H that is halted and leads to itself), USBCMD = RS and a threshold of one microframe, CONFIGFLAG = 1,
//! USBCMD read, USBINTR = 0x37. A port: PORTSC, where its line says low speed it is the companion's; else PR with PE cleared,
//! cleared after 50 ms, read until it is clear; without PE the port is the companion's. The first request puts a queue head
//! behind the head and ASE on; a queue is taken out with the doorbell, and an empty list is put off. New transfers of a
//! queue are put over a qTD that was not active (the dummy).
//!
//! **Windows** (`usbehci`, by ReactOS's driver of that name): CAPLENGTH by a byte, FLADJ read; USBCMD with HCRESET, until
//! that is clear; HCSPARAMS; PERIODICLISTBASE = 0 and ASYNCLISTADDR = 0; then the lists: 64 static queue heads, which are
//! halted, in a tree that all frames lead to, and a head of the asynchronous list; both registers again. USBCMD with a
//! threshold of one microframe; CONFIGFLAG = 1; USBINTR = 0 and, when interrupts are on, 0x3b: with the frame list's rollover
//! and no port change; USBCMD with RS. Then the lists are put on, each by reading USBCMD and writing it back.
//!
//! **SeaBIOS** (`usb-ehci.c`): HCSPARAMS and HCCPARAMS; USBCMD with HCRESET, until that is clear; USBINTR = 0; all frames lead to
//! one queue head without a microframe mask that is halted; PERIODICLISTBASE, ASYNCLISTADDR, USBCMD with ASE, PSE and RS,
//! CONFIGFLAG = 1. A port: until it is connected; by its line low speed, or a reset of 50 ms that leaves it disabled, is the
//! companion's. No interrupts: the tokens of its transfers are read over and over. Before a pipe is freed, the doorbell is
//! rung and IAA waited for.

use devices_core::rig::scenario;

use super::*;

fn capability(rig: &mut Rig, at: u64) -> u32 {
    rig.mmio_read(BAR + at, Size::B4) as u32
}

fn reset(rig: &mut Rig) {
    let command = read(rig, reg::USBCMD);
    write(rig, reg::USBCMD, command | 2);
    assert_eq!(read(rig, reg::USBCMD) & 2, 0);
}

#[test]
fn as_linux_does() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        let eecp = (capability(rig, 8) >> 8 & 0xff) as u16;
        assert_eq!(rig.config_read(SLOT, FUNCTION, eecp, Size::B4), 1, "legacy support, nobody's");
        rig.config_write(SLOT, FUNCTION, eecp + 3, Size::B1, 1);
        assert_eq!(rig.config_read(SLOT, FUNCTION, eecp, Size::B4), 0x0100_0001);
        rig.config_write(SLOT, FUNCTION, eecp + 4, Size::B4, 0);
        assert_eq!(read(rig, reg::USBSTS) & 0x1000, 0x1000);
        write(rig, reg::USBINTR, 0);
        assert_eq!(capability(rig, 4) & 0xf, 6);
        reset(rig);
        lists(rig);
        poke(rig, HEAD, &[HEAD as u32 | QUEUE]);
        poke(rig, LIST, &[TERMINATE; 1024]);
        write(rig, reg::PERIODICLISTBASE, LIST as u32);
        write(rig, reg::ASYNCLISTADDR, HEAD as u32);
        write(rig, reg::USBCMD, RUN | THRESHOLD);
        write(rig, reg::CONFIGFLAG, 1);
        read(rig, reg::USBCMD);
        rig.advance(ms(5));
        write(rig, reg::USBINTR, 0x37);
        assert!(rig.irq(IRQ), "a port has changed");
        write(rig, reg::USBSTS, 4);
        let status = read(rig, portsc(port));
        assert_ne!(status & 0xc00, 0x400, "not of low speed");
        write(rig, portsc(port), status & !0x2a & !4 | 0x100);
        rig.advance(ms(50));
        let status = read(rig, portsc(port)) & !0x2a;
        write(rig, portsc(port), status & !0x100);
        assert_eq!(read(rig, portsc(port)) & 0x104, 4);
        // The first request.
        poke(rig, HEAD, &[CONTROL as u32 | QUEUE]);
        write(rig, reg::USBCMD, RUN | ASYNC | THRESHOLD);
        while read(rig, reg::USBSTS) & 0x8000 == 0 {
            rig.advance(ms(1));
        }
        assert_eq!(request(rig, 0, get(0x80, 6, 0x100, 64), &[]).unwrap().len(), 18);
        assert_eq!(request(rig, 0, get(0, 5, 2, 0), &[]), Ok(vec![]));
        assert_eq!(request(rig, 2, get(0, 9, 1, 0), &[]), Ok(vec![]));
        // A queue is taken out, and the list put off.
        poke(rig, HEAD, &[HEAD as u32 | QUEUE]);
        write(rig, reg::USBCMD, RUN | ASYNC | THRESHOLD | DOORBELL);
        rig.advance(ms(1));
        assert!(rig.irq(IRQ));
        write(rig, reg::USBSTS, 0x20);
        write(rig, reg::USBCMD, RUN | THRESHOLD);
        assert_eq!(read(rig, reg::USBSTS) & 0x8000, 0);
        // The tablet's queue comes into the frame list, and that on.
        poke(rig, INT + 4, &[2 | 1 << 8 | 2 << 12 | 8 << 16, 1 | 1 << 30]);
        for n in 0..1024 {
            poke(rig, LIST + 4 * n, &[INT as u32 | QUEUE]);
        }
        write(rig, reg::USBCMD, RUN | PERIODIC | THRESHOLD);
        assert_eq!(read(rig, reg::USBSTS) & 0x4000, 0x4000);
        ask(rig);
        rig.advance(ms(500));
        point(&ports, port, 10, 20, 0);
        rig.advance(ms(1));
        assert!(rig.irq(IRQ));
        assert_eq!(answer(rig), Some(vec![0, 10, 0, 20, 0, 0]));
    });
}

#[test]
fn as_windows_does() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        assert_eq!(rig.mmio_read(BAR, Size::B1), 0x20);
        assert_eq!(rig.config_read(SLOT, FUNCTION, 0x61, Size::B1), 0x20);
        reset(rig);
        write(rig, reg::PERIODICLISTBASE, 0);
        write(rig, reg::ASYNCLISTADDR, 0);
        lists(rig);
        // The tree: 32 leaves, which lead to one root over halted heads.
        for n in 0..32u64 {
            let at = 0x8000 + n * 0x80;
            queue_head(rig, at, 0x9000, (0, 0, 64), 0xff);
            poke(rig, at + 24, &[td::HALTED]);
        }
        queue_head(rig, 0x9000, INT, (0, 0, 64), 0xff);
        poke(rig, 0x9000 + 24, &[td::HALTED]);
        for n in 0..1024u64 {
            poke(rig, LIST + 4 * n, &[(0x8000 + n % 32 * 0x80) as u32 | QUEUE]);
        }
        write(rig, reg::PERIODICLISTBASE, LIST as u32);
        write(rig, reg::ASYNCLISTADDR, HEAD as u32);
        let command = read(rig, reg::USBCMD) & 0xff;
        write(rig, reg::USBCMD, command | THRESHOLD);
        write(rig, reg::CONFIGFLAG, 1);
        write(rig, reg::USBINTR, 0);
        for bit in [RUN, ASYNC, PERIODIC] {
            let command = read(rig, reg::USBCMD);
            write(rig, reg::USBCMD, command | bit);
        }
        write(rig, reg::USBINTR, 0x3b);
        assert!(!rig.irq(IRQ), "changes of ports are asked for, not told of");
        configure(rig, port, 1);
        write(rig, reg::USBSTS, 0x3f);
        rig.advance(ms(1024));
        assert!(rig.irq(IRQ), "the frame list begins anew");
        assert_eq!(read(rig, reg::USBSTS) & 0x3f, 8);
        write(rig, reg::USBSTS, 8);
        ask(rig);
        point(&ports, port, 0x7fff, 1, 2);
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![2, 0xff, 0x7f, 1, 0, 0]));
    });
}

#[test]
fn as_seabios_does() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Keyboard);
        assert_eq!((capability(rig, 4) & 0xf, capability(rig, 8) & 1), (6, 0));
        reset(rig);
        write(rig, reg::USBINTR, 0);
        lists(rig);
        queue_head(rig, INT, 0, (0, 0, 0), 0);
        poke(rig, INT, &[TERMINATE]);
        poke(rig, INT + 24, &[td::HALTED]);
        write(rig, reg::PERIODICLISTBASE, LIST as u32);
        write(rig, reg::ASYNCLISTADDR, HEAD as u32);
        let command = read(rig, reg::USBCMD);
        write(rig, reg::USBCMD, command | RUN | PERIODIC | ASYNC);
        write(rig, reg::CONFIGFLAG, 1);
        configure(rig, port, 1);
        // Boot protocol, and a report now and then.
        assert_eq!(request(rig, 1, get(0x21, 11, 0, 0), &[]), Ok(vec![]));
        assert_eq!(request(rig, 1, get(0x21, 10, 0, 0), &[]), Ok(vec![]));
        let command = read(rig, reg::USBCMD);
        write(rig, reg::USBCMD, command | DOORBELL);
        let mut waited = 0;
        while read(rig, reg::USBSTS) & 0x20 == 0 {
            rig.advance(us(100));
            waited += 1;
        }
        write(rig, reg::USBSTS, 0x20);
        assert!(waited < 10);
        assert!(!rig.irq(IRQ), "it has no interrupts");
    });
}
