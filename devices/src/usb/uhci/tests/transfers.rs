//! Transfers by queues and TDs.

use devices_core::rig::scenario;

use super::*;

#[test]
fn descriptors_of_a_tablet_are_qemus() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        run(rig);
        enable(rig, port);
        let device = request(rig, 0, get(0x80, 6, 0x100, 64), &[]).unwrap();
        assert_eq!(device, [18, 1, 0, 2, 0, 0, 0, 8, 0x27, 6, 1, 0, 0, 0, 1, 3, 10, 1]);
        assert_eq!(request(rig, 0, get(0x80, 6, 0x100, 8), &[]).unwrap(), device[..8]);
        assert_eq!(request(rig, 0, get(0, 5, 9, 0), &[]), Ok(vec![]));
        let whole = request(rig, 9, get(0x80, 6, 0x200, 255), &[]).unwrap();
        assert_eq!((whole.len(), &whole[..9]), (34, &[9, 2, 34, 0, 1, 1, 7, 0xa0, 50][..]));
        assert_eq!(whole[9..18], [9, 4, 0, 0, 1, 3, 0, 0, 0]);
        assert_eq!(whole[18..27], [9, 0x21, 1, 0, 0, 1, 0x22, 74, 0]);
        assert_eq!(whole[27..], [7, 5, 0x81, 3, 8, 0, 10]);
        let report = Setup { kind: 0x81, request: 6, value: 0x2200, index: 0, length: 74 };
        assert_eq!(request(rig, 9, report, &[]).unwrap().len(), 74);
        let text = |rig: &mut Rig, index: u16| {
            let bytes = request(rig, 9, get(0x80, 6, 0x300 | index, 255), &[]).unwrap();
            let units: Vec<u16> = bytes[2..].chunks(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
            assert_eq!(usize::from(bytes[0]), bytes.len());
            String::from_utf16(&units).unwrap()
        };
        assert_eq!([text(rig, 1), text(rig, 3), text(rig, 7)], ["QEMU", "QEMU USB Tablet", "HID Tablet"]);
        assert_eq!(text(rig, 10), "28754-0000:00:01.2-1");
        assert_eq!(request(rig, 9, get(0x80, 6, 0x300, 4), &[]).unwrap(), [4, 3, 9, 4]);
        // A device of full speed alone has no other's descriptor.
        assert!(request(rig, 9, get(0x80, 6, 0x600, 10), &[]).is_err());
        assert_eq!(request(rig, 9, get(0x80, 8, 0, 1), &[]).unwrap(), [0]);
        assert_eq!(request(rig, 9, get(0, 9, 1, 0), &[]), Ok(vec![]));
        assert_eq!(request(rig, 9, get(0x80, 8, 0, 1), &[]).unwrap(), [1]);
        assert!(request(rig, 9, get(0, 9, 2, 0), &[]).is_err(), "there is one configuration");
    });
}

#[test]
fn a_tablet_reports_places_and_buttons() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        run(rig);
        configure(rig, port, 2);
        ask(rig, 2);
        rig.advance(ms(3));
        assert_eq!(answer(rig), None);
        assert_ne!(word(rig, INT_TD + 4) & td::NAK, 0);
        point(&ports, port, 0x1234, 0x7fff, 1);
        assert!(!rig.irq(IRQ));
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![1, 0x34, 0x12, 0xff, 0x7f, 0]));
        // Short of eight bytes, with the interrupt for both.
        assert!(rig.irq(IRQ));
        assert_eq!(read(rig, reg::USBSTS), 1);
        write(rig, reg::USBINTR, 0);
        assert!(!rig.irq(IRQ));
        write(rig, reg::USBINTR, 8);
        assert!(rig.irq(IRQ), "short");
        write(rig, reg::USBINTR, 4);
        assert!(rig.irq(IRQ), "complete");
        write(rig, reg::USBSTS, 1);
        assert!(!rig.irq(IRQ));
        assert_eq!(word(rig, INT_QH + 4), INT_TD as u32, "a queue stands at what came short");
    });
}

#[test]
fn a_mouse_and_a_keyboard_beside_each_other() {
    scenario(|rig| {
        let ports = attach(rig);
        let (mouse, keyboard) = (plug(&ports, Kind::Mouse), plug(&ports, Kind::Keyboard));
        run(rig);
        configure(rig, mouse, 1);
        configure(rig, keyboard, 2);
        let motion = Motion::By { dx: 200, dy: -3 };
        let pointer = Pointer { motion, wheel: 1, buttons: 4 };
        ports.with(mouse, &mut |device| device.input().unwrap().point(pointer));
        for expected in [[4, 127, 0xfd, 0xff], [4, 73, 0, 0]] {
            ask(rig, 1);
            rig.advance(ms(1));
            assert_eq!(answer(rig), Some(expected.to_vec()));
        }
        let key = |name: &str, down: bool| {
            let key = crate::input::keys::Key::by_name(name).unwrap();
            ports.with(keyboard, &mut |device| device.input().unwrap().key(key, down));
        };
        key("shift", true);
        key("a", true);
        key("a", true);
        key("a", false);
        key("shift", false);
        for (modifiers, first) in [(2, 0), (2, 4), (2, 0), (0, 0)] {
            ask(rig, 2);
            rig.advance(ms(1));
            assert_eq!(answer(rig), Some(vec![modifiers, 0, first, 0, 0, 0, 0, 0]));
        }
        ask(rig, 2);
        rig.advance(ms(1));
        assert_eq!(answer(rig), None);
        // Lights, by a request with data.
        let lights = Setup { kind: 0x21, request: 9, value: 0x200, index: 0, length: 1 };
        assert_eq!(request(rig, 2, lights, &[3]), Ok(vec![]));
        let tree = rig.bus().slots().into_iter().find(|(name, _)| name == "piix3-usb-uhci").unwrap();
        let mut node = devices_core::Node::default();
        tree.1.lock().inspect(&mut node);
        assert!(format!("{node:?}").contains("lights"), "{node:?}");
    });
}

#[test]
fn an_idle_rate_repeats_the_report() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        run(rig);
        configure(rig, port, 2);
        // 100 units of 4 ms.
        let idle = Setup { kind: 0x21, request: 10, value: 100 << 8, index: 0, length: 0 };
        assert_eq!(request(rig, 2, idle, &[]), Ok(vec![]));
        assert_eq!(request(rig, 2, get(0xa1, 2, 0, 1), &[]), Ok(vec![100]));
        let from = rig.now();
        ask(rig, 2);
        rig.advance(ms(380));
        assert_eq!(answer(rig), None);
        rig.advance(ms(20));
        assert_eq!(answer(rig), Some(vec![0; 6]), "{} ms", (rig.now() - from) / ms(1));
    });
}

#[test]
fn nobody_answers_three_times() {
    scenario(|rig| {
        attach(rig);
        run(rig);
        queue(rig, 5, &[(pid::IN, vec![0; 8])]);
        for left in [2, 1] {
            rig.advance(ms(1));
            let control = word(rig, TDS + 4);
            assert_eq!((control >> 27 & 3, control & td::ACTIVE), (left, td::ACTIVE));
            assert_ne!(control & td::TIMEOUT, 0);
        }
        assert!(!rig.irq(IRQ));
        rig.advance(ms(1));
        assert_eq!(word(rig, TDS + 4) & !0x7ff, td::TIMEOUT | td::STALLED);
        assert_eq!((read(rig, reg::USBSTS), rig.irq(IRQ)), (2, true));
        write(rig, reg::USBSTS, 2);
        assert!(!rig.irq(IRQ));
        // Without a count it goes on for ever.
        poke(rig, TDS + 4, &[td::ACTIVE]);
        rig.advance(ms(500));
        assert_eq!(word(rig, TDS + 4), td::ACTIVE | td::TIMEOUT);
    });
}

#[test]
fn stall_and_babble_end_a_td() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        run(rig);
        configure(rig, port, 2);
        let unknown = request(rig, 2, get(0xc0, 0x77, 0, 4), &[]).unwrap_err();
        assert_eq!(unknown & (td::STALLED | td::ACTIVE | td::BABBLE | td::TIMEOUT), td::STALLED);
        // The next request works again.
        assert_eq!(request(rig, 2, get(0x80, 8, 0, 1), &[]).unwrap(), [1]);
        // An endpoint that is not there.
        poke(rig, INT_TD, &[TERMINATE, ACTIVE, token(pid::IN, 2, 3, 8), INT_BUFFER as u32]);
        poke(rig, INT_QH + 4, &[INT_TD as u32]);
        rig.advance(ms(1));
        assert_eq!(word(rig, INT_TD + 4) & (td::STALLED | td::ACTIVE), td::STALLED);
        // One that was halted, and is not any more.
        let halt = |request: u8| Setup { kind: 2, request, value: 0, index: 0x81, length: 0 };
        let status = Setup { kind: 0x82, request: 0, value: 0, index: 0x81, length: 2 };
        assert_eq!(request(rig, 2, halt(3), &[]), Ok(vec![]));
        assert_eq!(request(rig, 2, status, &[]), Ok(vec![1, 0]));
        ask(rig, 2);
        rig.advance(ms(1));
        assert_ne!(word(rig, INT_TD + 4) & td::STALLED, 0);
        assert_eq!(request(rig, 2, halt(1), &[]), Ok(vec![]));
        assert_eq!(request(rig, 2, status, &[]), Ok(vec![0, 0]));
        // Six bytes do not go into four, nor beside the buffer.
        poke(rig, INT_BUFFER, &[0xeeee_eeee; 2]);
        poke(rig, INT_TD, &[TERMINATE, ACTIVE, token(pid::IN, 2, 1, 4), INT_BUFFER as u32]);
        poke(rig, INT_QH + 4, &[INT_TD as u32]);
        point(&ports, port, 1, 1, 1);
        rig.advance(ms(1));
        let bits = td::STALLED | td::BABBLE | td::ACTIVE;
        assert_eq!(word(rig, INT_TD + 4) & bits, td::STALLED | td::BABBLE);
        assert_eq!(rig.peek(INT_BUFFER, 8), [0xee; 8]);
    });
}

#[test]
fn an_inactive_td_still_interrupts() {
    scenario(|rig| {
        attach(rig);
        run(rig);
        poke(rig, INT_TD, &[TERMINATE, td::INTERRUPT, token(pid::IN, 0, 0, 0), 0]);
        poke(rig, INT_QH + 4, &[INT_TD as u32]);
        rig.advance(ms(1));
        assert_eq!((read(rig, reg::USBSTS), rig.irq(IRQ)), (1, true));
        write(rig, reg::USBSTS, 1);
        assert!(!rig.irq(IRQ));
        rig.advance(ms(1));
        assert!(rig.irq(IRQ), "at the end of each frame");
    });
}

#[test]
fn breadth_first_does_one_td_a_frame() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        run(rig);
        enable(rig, port);
        let setup = get(0x80, 6, 0x100, 8).bytes().to_vec();
        queue(rig, 0, &[(pid::SETUP, setup), (pid::IN, vec![0; 8]), (pid::OUT, vec![])]);
        for n in 0..3 {
            let next = word(rig, TDS + n * 0x20) & !4;
            poke(rig, TDS + n * 0x20, &[next]);
        }
        for n in 0..3u64 {
            rig.advance(ms(1));
            let done = (0..3).filter(|n| word(rig, TDS + n * 0x20 + 4) & td::ACTIVE == 0).count();
            assert_eq!(done as u64, n + 1);
        }
        // The same with the queue in a circle (bandwidth reclamation): all in one frame.
        let setup = get(0x80, 6, 0x100, 8).bytes().to_vec();
        queue(rig, 0, &[(pid::SETUP, setup), (pid::IN, vec![0; 8]), (pid::OUT, vec![])]);
        (0..3).for_each(|n| poke(rig, TDS + n * 0x20, &[word(rig, TDS + n * 0x20) & !4]));
        poke(rig, QH, &[QH as u32 | QUEUE]);
        rig.advance(ms(1));
        assert_eq!((0..3).filter(|n| word(rig, TDS + n * 0x20 + 4) & td::ACTIVE == 0).count(), 3);
    });
}

#[test]
fn frames_stand_without_bus_mastering() {
    scenario(|rig| {
        let ports = attach(rig);
        let port = plug(&ports, Kind::Tablet);
        run(rig);
        configure(rig, port, 2);
        point(&ports, port, 1, 2, 0);
        ask(rig, 2);
        rig.config_write(SLOT, FUNCTION, 4, Size::B2, 1);
        let from = read(rig, reg::FRNUM);
        rig.advance(ms(20));
        assert_eq!((answer(rig), read(rig, reg::FRNUM)), (None, from + 20));
        rig.config_write(SLOT, FUNCTION, 4, Size::B2, 5);
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![0, 1, 0, 2, 0, 0]));
    });
}
