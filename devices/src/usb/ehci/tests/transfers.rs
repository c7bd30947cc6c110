//! Transfers: control, interrupt, chains, short packets, errors, interrupts and their threshold.

use devices_core::rig::scenario;

use super::*;

#[test]
fn a_request_and_its_reply() {
    scenario(|rig| {
        tablet(rig);
        let device = request(rig, 2, get(0x80, 6, 0x100, 18), &[]).unwrap();
        assert_eq!((device.len(), &device[..8]), (18, &[18, 1, 0, 2, 0, 0, 0, 64][..]));
        let configuration = request(rig, 2, get(0x80, 6, 0x200, 255), &[]).unwrap();
        assert_eq!(configuration.len(), 34, "short: by the alternate pointer to the end");
        assert_eq!(configuration[33], 4, "interval at high speed");
        // A page's end in the middle of a packet.
        chain(rig, &[(SETUP, get(0x80, 6, 0x200, 34).bytes().to_vec()), (IN | td::TOGGLE, vec![0; 34])]);
        poke(rig, TDS + 32 + 12, &[BUFFERS as u32 + 0x1ff0, BUFFERS as u32 + 0x5000]);
        go(rig, CONTROL);
        rig.advance(ms(2));
        let parts = [rig.peek(BUFFERS + 0x1ff0, 16), rig.peek(BUFFERS + 0x5000, 18)].concat();
        assert_eq!(parts, configuration);
        assert_eq!((token(rig, 1) >> 12 & 7, left(rig, 1)), (1, 0), "the second page");
    });
}

#[test]
fn the_overlay_tells_where_the_queue_is() {
    scenario(|rig| {
        tablet(rig);
        aim(rig, 2);
        chain(rig, &[(SETUP, get(0x80, 8, 0, 1).bytes().to_vec()), (IN | td::TOGGLE, vec![0; 1])]);
        go(rig, CONTROL);
        rig.advance(ms(1));
        assert_eq!(word(rig, CONTROL + 12), (TDS + 32) as u32, "current");
        assert_eq!(word(rig, CONTROL + 16), TERMINATE, "next");
        assert_eq!(word(rig, CONTROL + 24) & 0xff, 0);
        assert_eq!(word(rig, CONTROL + 24) >> 31, 0, "the toggle has turned");
        // The dummy's way: the driver goes on behind the last.
        chain(rig, &[(OUT | td::TOGGLE | td::INTERRUPT, vec![])]);
        poke(rig, CONTROL + 16, &[TDS as u32]);
        rig.advance(ms(70));
        assert_eq!(token(rig, 0) & td::ACTIVE, 0);
        assert!(rig.irq(IRQ));
    });
}

#[test]
fn toggles_are_the_queues_where_it_says_so() {
    scenario(|rig| {
        tablet(rig);
        poke(rig, CONTROL + 4, &[2 | 2 << 12 | 64 << 16]);
        chain(rig, &[(SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
        poke(rig, CONTROL + 16, &[TDS as u32, TERMINATE, td::TOGGLE]);
        rig.advance(ms(1));
        assert_eq!(token(rig, 0) >> 31, 0, "1 from the overlay, and turned");
        assert_eq!(token(rig, 0) & 0xff, 0);
    });
}

#[test]
fn a_report_comes_when_there_is_one() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        ask(rig);
        rig.advance(ms(300));
        assert_eq!(answer(rig), None);
        assert_eq!(word(rig, INT + 24) & 0xff, td::ACTIVE, "it is in the overlay");
        point(&ports, port, 0x123, 0x456, 1);
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![1, 0x23, 1, 0x56, 4, 0]));
        assert!(rig.irq(IRQ));
        assert_eq!(read(rig, reg::USBSTS) & 0x3f, 1);
    });
}

#[test]
fn an_interrupt_queue_has_its_microframes() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        // One packet of a frame: two reports take two.
        ask(rig);
        poke(rig, INT_TD, &[TDS as u32]);
        chain(rig, &[(IN, vec![0; 8])]);
        point(&ports, port, 1, 1, 1);
        point(&ports, port, 1, 1, 0);
        rig.advance(ms(1));
        assert_eq!((answer(rig).is_some(), token(rig, 0) & td::ACTIVE), (true, td::ACTIVE));
        rig.advance(ms(1));
        assert_eq!(token(rig, 0) & td::ACTIVE, 0);
        // A queue of the asynchronous list that is in the frame list is passed over.
        poke(rig, INT + 8, &[0]);
        ask(rig);
        point(&ports, port, 1, 1, 1);
        rig.advance(ms(20));
        assert_eq!(answer(rig), None);
    });
}

#[test]
fn a_stall_halts_the_queue() {
    scenario(|rig| {
        tablet(rig);
        let token = request(rig, 2, get(0xc0, 0x77, 0, 8), &[]).unwrap_err();
        assert_eq!(token & (td::HALTED | td::ACTIVE | td::TRANSACTION | td::BABBLE), td::HALTED);
        chain(rig, &[(SETUP, get(0xc0, 0x77, 0, 8).bytes().to_vec()), (IN, vec![0; 8])]);
        go(rig, CONTROL);
        rig.advance(ms(5));
        assert_eq!(read(rig, reg::USBSTS) & 3, 2, "USBERRINT");
        assert_eq!(word(rig, CONTROL + 24) & td::HALTED, td::HALTED);
        assert!(rig.irq(IRQ));
        write(rig, reg::USBSTS, 2);
        assert_eq!(request(rig, 2, get(0x80, 8, 0, 1), &[]), Ok(vec![1]));
    });
}

#[test]
fn nobody_answers() {
    scenario(|rig| {
        tablet(rig);
        let token = request(rig, 77, get(0x80, 8, 0, 1), &[]).unwrap_err();
        assert_eq!(token & 0xcff, td::HALTED | td::TRANSACTION | SETUP & 0xff, "three attempts");
        // With no bound it is tried for ever, and others have their turn.
        aim(rig, 77);
        chain(rig, &[(SETUP, vec![0; 8])]);
        poke(rig, TDS + 8, &[td::ACTIVE | SETUP | length(8)]);
        go(rig, CONTROL);
        rig.advance(ms(50));
        assert_eq!(word(rig, CONTROL + 24) & 0xff, td::ACTIVE | td::TRANSACTION);
        assert_eq!(read(rig, reg::USBSTS) & 0x1001, 0);
        // A queue of full speed is for a hub, which there is none of.
        poke(rig, CONTROL + 4, &[2 | 1 << 14 | 64 << 16]);
        chain(rig, &[(SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
        go(rig, CONTROL);
        write(rig, reg::USBSTS, 0x3f);
        rig.advance(ms(5));
        assert_eq!(super::token(rig, 0) & td::HALTED, td::HALTED);
    });
}

#[test]
fn a_device_that_sends_too_much() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        ask(rig);
        poke(rig, INT + 4, &[2 | 1 << 8 | 2 << 12 | 1 << 14 | 4 << 16]);
        point(&ports, port, 1, 1, 0);
        rig.advance(ms(5));
        assert_eq!(word(rig, INT_TD + 8) & 0xff, td::HALTED | td::BABBLE);
        assert_eq!(read(rig, reg::USBSTS) & 3, 3, "it asked for an interrupt, too");
    });
}

#[test]
fn the_doorbell_is_answered() {
    scenario(|rig| {
        tablet(rig);
        let command = read(rig, reg::USBCMD);
        write(rig, reg::USBCMD, command | DOORBELL);
        assert_eq!(read(rig, reg::USBCMD) & DOORBELL, DOORBELL);
        rig.advance(us(250));
        assert_eq!(read(rig, reg::USBSTS) & 0x20, 0x20);
        assert!(rig.irq(IRQ));
        assert_eq!(read(rig, reg::USBCMD), command);
        write(rig, reg::USBSTS, 0x20);
        // A queue that was taken out of the list may be anything from then on.
        poke(rig, HEAD, &[HEAD as u32 | QUEUE]);
        write(rig, reg::USBCMD, command | DOORBELL);
        rig.advance(us(250));
        assert_eq!(read(rig, reg::USBSTS) & 0x20, 0x20);
        rig.poke(CONTROL, &[0xff; 48]);
        rig.advance(ms(10));
        assert_eq!(read(rig, reg::USBSTS) & 0x1010, 0);
        assert_eq!(read(rig, reg::ASYNCLISTADDR), HEAD as u32);
        // With the list off it waits.
        write(rig, reg::USBCMD, RUN | DOORBELL);
        rig.advance(ms(10));
        assert_eq!(read(rig, reg::USBCMD) & DOORBELL, DOORBELL);
    });
}

#[test]
fn interrupts_wait_for_their_threshold() {
    scenario(|rig| {
        tablet(rig);
        write(rig, reg::USBCMD, RUN | ASYNC | 0x40 << 16);
        rig.advance(ms(8) - rig.now() % ms(8));
        aim(rig, 2);
        chain(rig, &[(SETUP | td::INTERRUPT, get(0x80, 8, 0, 1).bytes().to_vec())]);
        go(rig, CONTROL);
        write(rig, reg::USBSTS, 0x3f);
        rig.advance(ms(7));
        assert_eq!((token(rig, 0) & td::ACTIVE, rig.irq(IRQ)), (0, false));
        rig.advance(ms(1));
        assert!(rig.irq(IRQ), "64 microframes");
    });
}

#[test]
fn status_follows_the_schedules() {
    scenario(|rig| {
        tablet(rig);
        assert_eq!(read(rig, reg::USBSTS) & 0xd000, 0xc000);
        write(rig, reg::USBCMD, RUN | ASYNC);
        assert_eq!(read(rig, reg::USBSTS) & 0xd000, 0x8000);
        write(rig, reg::USBCMD, RUN);
        assert_eq!(read(rig, reg::USBSTS) & 0xd000, 0);
        write(rig, reg::USBCMD, PERIODIC | ASYNC);
        assert_eq!(read(rig, reg::USBSTS) & 0xd000, 0x1000);
    });
}

#[test]
fn nothing_moves_without_bus_mastering() {
    scenario(|rig| {
        tablet(rig);
        rig.config_write(SLOT, FUNCTION, 4, Size::B2, 2);
        aim(rig, 2);
        chain(rig, &[(SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
        go(rig, CONTROL);
        rig.advance(ms(10));
        assert_eq!(token(rig, 0) & td::ACTIVE, td::ACTIVE);
        rig.config_write(SLOT, FUNCTION, 4, Size::B2, 6);
        rig.advance(ms(1));
        assert_eq!(token(rig, 0) & td::ACTIVE, 0);
    });
}
