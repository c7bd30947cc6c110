//! Orders in which drivers start the controller and what is on it, in words.
//!
//! Linux's xhci_hcd: halts, resets, waits for CNR; writes CONFIG, the command ring, DCBAAP; the event ring's table, size and
//! pointer, IMAN; then R/S with INTE, and polls its ports. A device: port reset (PRC), Enable Slot, Address Device, the
//! first eight bytes of the descriptor, the whole, the configuration; Configure Endpoint before SET_CONFIGURATION; URBs
//! with IOC and ISP. A stall: Reset Endpoint, Set TR Dequeue Pointer. Before a suspension: Stop Endpoint, PLS U3.
//!
//! Windows's usbxhci (public traces): the same registers with DNCTRL, and EWE; Address Device with BSR first, the
//! descriptor's eight bytes at the default address, a second reset of the port with Reset Device, Address Device; an Event
//! Data TRB with a cookie at the end of each transfer; MSI-X.

use devices_core::rig::{ms, scenario};

use super::*;

#[test]
fn as_linux_does() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        let driver = run(rig, ports);
        assert_eq!(word(rig, portsc(5)) & 0x2_0001, 0x2_0001, "somebody came");
        put(rig, portsc(5), 0x2_0200);
        assert_eq!(word(rig, portsc(5)), 0x2e1 | 3 << 10, "polling, powered, high speed");
        let slot = driver.address(rig, 5, 3, 64);
        let changes = driver.others.take();
        assert!(changes.iter().any(|seen| (seen.kind, seen.parameter) == (trb::PORT_STATUS, 5 << 24)));
        put(rig, portsc(5), 0x20_0200);
        assert_eq!(driver.request(rig, slot, get(0x80, 6, 0x100, 8), &[]).unwrap()[7], 64);
        let device = driver.request(rig, slot, get(0x80, 6, 0x100, 18), &[]).unwrap();
        assert_eq!(device[8..12], [0x27, 6, 1, 0]);
        let whole = driver.request(rig, slot, get(0x80, 6, 0x200, 255), &[]).unwrap();
        assert_eq!((whole.len(), whole[33]), (34, 4), "every 2^3 microframes");
        driver.configure(rig, slot);
        assert_eq!(driver.request(rig, slot, get(0x80, 6, 0x600, 10), &[]), Err(code::STALL));
        assert_eq!(peek(rig, OUTPUT + CONTEXT) & 7, 2, "halted");
        driver.recover(rig, slot);
        let at = driver.ask(rig, slot);
        assert_eq!(driver.answer(rig, at), None, "nothing to say yet");
        put(rig, INTERRUPTERS, 3);
        assert!(!rig.irq(IRQ));
        point(&driver.ports, port, 10, 20, 1);
        put(rig, op(4), 8);
        assert!(rig.irq(IRQ), "there is an event");
        put(rig, INTERRUPTERS, 3);
        assert!(!rig.irq(IRQ));
        assert_eq!(driver.answer(rig, at), Some(vec![1, 10, 0, 20, 0, 0]));
    });
}

#[test]
fn a_suspended_tablet_wakes_its_port() {
    scenario(|rig| {
        let (driver, port, slot) = tablet(rig);
        let at = driver.ask(rig, slot);
        assert_eq!(driver.request(rig, slot, get(0, 3, 1, 0), &[]), Ok(vec![]));
        let stopped = driver.endpoint_command(rig, trb::STOP_ENDPOINT, (slot, 3), 0);
        assert_eq!(stopped, code::SUCCESS);
        let told = driver.others.take().into_iter().find(|seen| seen.parameter == at).unwrap();
        assert_eq!((told.code, told.length, told.endpoint), (code::STOPPED, 8, 3));
        put(rig, portsc(5), 0x1_0200 | 3 << 5);
        assert_eq!(word(rig, portsc(5)) >> 5 & 0xf, 3);
        put(rig, portsc(5), 0x7e_0200);
        point(&driver.ports, port, 7, 8, 0);
        let changed = driver.all(rig);
        assert!(changed.iter().any(|seen| seen.kind == trb::PORT_STATUS), "{changed:?}");
        assert_eq!(word(rig, portsc(5)) >> 5 & 0xf, 15, "it resumes");
        put(rig, portsc(5), 0x1_0200);
        assert_eq!(word(rig, portsc(5)) >> 5 & 0xf, 0);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        assert_eq!(driver.answer(rig, at), Some(vec![0, 7, 0, 8, 0, 0]));
    });
}

#[test]
fn as_windows_does() {
    scenario(|rig| {
        // MSI-X, each vector to its own place.
        let ports = attach(rig);
        let port = plug(&ports, Kind::Keyboard);
        let driver = run(rig, ports);
        for vector in 0..16 {
            for (at, value) in [(0, 0xfee0_0000u32), (4, 0), (8, 0x50 + vector as u32), (12, 0)] {
                put(rig, 0x3000 + 16 * vector + at, value);
            }
        }
        rig.config_write(SLOT, 0, 0x92, Size::B2, 0x8000);
        put(rig, op(0x14), 2);
        put(rig, op(0), 0x405);
        // The first address is none.
        put(rig, portsc(5), 0x210);
        let (_, slot) = driver.command(rig, trb::ENABLE_SLOT, 0, 0);
        poke(rig, DCBAA + 8 * u64::from(slot), &[OUTPUT as u32, 0]);
        poke(rig, INPUT, &[0, 3, 0, 0, 0, 0, 0, 0]);
        poke(rig, INPUT + CONTEXT, &[1 << 27 | 3 << 20, 5 << 16, 0, 0]);
        poke(rig, INPUT + 2 * CONTEXT, &[0, 3 << 1 | 4 << 3 | 64 << 16, CONTROL as u32 | 1, 0, 8]);
        let blocked = u32::from(slot) << 24 | control::BLOCK;
        assert_eq!(driver.command(rig, trb::ADDRESS_DEVICE, INPUT, blocked).0, code::SUCCESS);
        assert_eq!(peek(rig, OUTPUT + 12), 1 << 27, "default, at address 0");
        assert_eq!(driver.request(rig, slot, get(0x80, 6, 0x100, 8), &[]).unwrap()[7], 64);
        put(rig, portsc(5), 0x210);
        assert_eq!(driver.slot_command(rig, trb::RESET_DEVICE, slot, 0), code::CONTEXT_STATE);
        let next = (CONTROL + driver.control.at.get() * 16) as u32 | 1;
        poke(rig, INPUT + 2 * CONTEXT, &[0, 3 << 1 | 4 << 3 | 64 << 16, next, 0, 8]);
        assert_eq!(driver.slot_command(rig, trb::ADDRESS_DEVICE, slot, INPUT), code::SUCCESS);
        driver.configure(rig, slot);
        rig.take_messages();
        // A cookie at the end of what is asked.
        let normal = u32::from(trb::NORMAL) << 10 | control::CHAIN | control::TOGGLE;
        driver.interrupt.put(rig, DATA, 8, normal);
        let cookie = u32::from(trb::EVENT_DATA) << 10 | control::INTERRUPT;
        driver.interrupt.put(rig, 0x1234_5678_9abc_def0, 0, cookie);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        let key = crate::input::keys::Key::by_name("a").unwrap();
        driver.ports.with(port, &mut |device| device.input().unwrap().key(key, true));
        let seen = driver.of(rig, 0x1234_5678_9abc_def0).unwrap();
        assert_eq!((seen.code, seen.length), (code::SUCCESS, 8));
        assert_eq!(rig.peek(DATA, 8), [0, 0, 4, 0, 0, 0, 0, 0]);
        assert_eq!(rig.take_messages(), [(0xfee0_0000, 0x50)]);
        // And every two seconds MFINDEX wraps.
        rig.advance(ms(2049));
        assert!(driver.all(rig).iter().any(|seen| seen.kind == trb::WRAP));
        assert!(!rig.irq(IRQ), "messages alone");
    });
}

#[test]
fn an_idle_tablet_wakes_nobody() {
    scenario(|rig| {
        let (driver, port, slot) = tablet(rig);
        let at = driver.ask(rig, slot);
        assert_eq!(rig.next_deadline(), None, "no timer at all");
        point(&driver.ports, port, 3, 4, 0);
        assert_eq!(driver.answer(rig, at), Some(vec![0, 3, 0, 4, 0, 0]), "at once");
        assert_eq!(rig.next_deadline(), None);
        // But one that is told to repeat itself does.
        let idle = Setup { kind: 0x21, request: 10, value: 5 << 8, index: 0, length: 0 };
        assert_eq!(driver.request(rig, slot, idle, &[]), Ok(vec![]));
        let at = driver.ask(rig, slot);
        rig.advance(ms(19));
        assert_eq!(driver.answer(rig, at), None);
        rig.advance(ms(2));
        assert_eq!(driver.answer(rig, at), Some(vec![0, 3, 0, 4, 0, 0]));
        assert_eq!(rig.next_deadline(), None, "nobody asks");
    });
}

#[test]
fn devices_come_and_go() {
    scenario(|rig| {
        let (driver, port, slot) = tablet(rig);
        let at = driver.ask(rig, slot);
        put(rig, portsc(5), 0x7e_0200);
        assert!(driver.ports.unplug(port).is_some());
        let seen = driver.of(rig, at).unwrap();
        assert_eq!(seen.code, code::TRANSACTION, "what was asked fails");
        assert_eq!(word(rig, portsc(5)), 0x2_02a0, "gone, with a change");
        assert_eq!(driver.slot_command(rig, trb::DISABLE_SLOT, slot, 0), code::SUCCESS);
        put(rig, portsc(5), 0x7e_0200);
        assert_eq!(plug(&driver.ports, Kind::Mouse), port);
        assert_eq!(word(rig, portsc(5)) & 0x2_0001, 0x2_0001);
        let slot = driver.address(rig, 5, 3, 64);
        assert_eq!(driver.request(rig, slot, get(0x80, 6, 0x100, 18), &[]).unwrap().len(), 18);
    });
}
