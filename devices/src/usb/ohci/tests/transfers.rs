//! Endpoints, TDs and the done queue.

use devices_core::rig::scenario;

use super::*;
use crate::storage::scsi::tests::{contents, disk_of, memory};
use crate::usb::storage::Storage;

const GOOD: u32 = code::GOOD;

#[test]
fn requests_are_answered() {
    scenario(|rig| {
        tablet(rig);
        assert_eq!(request(rig, 2, get(0x80, 6, 0x100, 18), &[]).unwrap().len(), 18);
        assert_eq!(request(rig, 2, get(0x80, 6, 0x100, 64), &[]).unwrap().len(), 18, "short");
        assert_eq!(request(rig, 2, get(0x80, 6, 0x200, 255), &[]).unwrap().len(), 34);
        assert_eq!(request(rig, 2, get(0x80, 8, 0, 1), &[]).unwrap(), [1]);
        // One that is none stalls, and halts the endpoint until the driver goes on.
        assert_eq!(request(rig, 2, get(0xc0, 0x77, 0, 8), &[]), Err(code::STALL));
        assert_eq!(request(rig, 2, get(0x80, 8, 0, 1), &[]).unwrap(), [1]);
        // The list is empty, which the controller has seen.
        rig.advance(ms(2));
        assert_eq!(read(rig, reg::COMMAND_STATUS), 0);
    });
}

#[test]
fn a_td_says_how_it_ended() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        ask(rig, 2);
        rig.advance(ms(20));
        assert_eq!((ended(rig, INTERRUPT_TD), word(rig, INTERRUPT_ED + 8)), (0xf, INTERRUPT_TD as u32));
        point(&ports, port, 1, 2, 0);
        rig.advance(ms(1));
        // Six bytes of eight; the toggle was 0, and is 1 now, in the endpoint too.
        let flags = td::ROUNDING | td::OWN_TOGGLE | td::TOGGLE;
        assert_eq!((word(rig, INTERRUPT_TD), word(rig, INTERRUPT_TD + 4)), (flags, REPORT as u32 + 6));
        assert_eq!(word(rig, INTERRUPT_ED + 8), INTERRUPT_TAIL as u32 | ed::CARRY);
        assert_eq!(read(rig, reg::DONE_HEAD), 0, "it is in memory");
        assert_eq!((take_done(rig), word(rig, INTERRUPT_TD + 8)), (INTERRUPT_TD as u32, 0));
        // The next one: the toggle is the endpoint's.
        ask(rig, 2);
        poke(rig, INTERRUPT_ED + 8, &[INTERRUPT_TD as u32 | ed::CARRY]);
        point(&ports, port, 3, 4, 0);
        rig.advance(ms(2));
        assert_eq!(word(rig, INTERRUPT_TD), td::ROUNDING | td::OWN_TOGGLE);
        assert_eq!(word(rig, INTERRUPT_ED + 8), INTERRUPT_TAIL as u32);
        take_done(rig);
        // Without R a short packet is an error.
        ask(rig, 2);
        poke(rig, INTERRUPT_TD, &[NOT_ACCESSED]);
        point(&ports, port, 5, 6, 0);
        rig.advance(ms(2));
        assert_eq!(ended(rig, INTERRUPT_TD), code::UNDERRUN);
        assert_eq!(word(rig, INTERRUPT_ED + 8) & 1, ed::HALTED);
        take_done(rig);
        // More than there is room for.
        ask(rig, 2);
        poke(rig, INTERRUPT_TD + 12, &[REPORT as u32 + 3]);
        point(&ports, port, 7, 8, 0);
        rig.advance(ms(2));
        assert_eq!(ended(rig, INTERRUPT_TD), code::OVERRUN);
    });
}

#[test]
fn nobody_answers_three_times() {
    scenario(|rig| {
        tablet(rig);
        ask(rig, 9);
        for errors in 1..=2 {
            rig.advance(ms(1));
            assert_eq!(word(rig, INTERRUPT_TD) & td::ERRORS, errors * td::ERROR);
            assert_eq!(word(rig, INTERRUPT_ED + 8), INTERRUPT_TD as u32, "it is tried again");
        }
        rig.advance(ms(1));
        assert_eq!((ended(rig, INTERRUPT_TD), word(rig, INTERRUPT_ED + 8) & 1), (code::SILENCE, 1));
        take_done(rig);
    });
}

#[test]
fn the_done_queue_waits_as_tds_say() {
    scenario(|rig| {
        tablet(rig);
        for delay in [0u32, 1, 3, 6] {
            let setup = get(0x80, 8, 0, 1);
            queue(rig, 2, &[(direction::SETUP, setup.bytes().to_vec())]);
            poke(rig, TDS, &[NOT_ACCESSED | 2 << 24 | delay << td::DELAY_SHIFT]);
            rig.advance(ms(1));
            assert_eq!(ended(rig, TDS), GOOD);
            for _ in 0..delay {
                assert_eq!(read(rig, reg::INTERRUPT_STATUS) & 2, 0, "{delay}");
                assert_eq!(read(rig, reg::DONE_HEAD), TDS as u32);
                rig.advance(ms(1));
            }
            assert_eq!(read(rig, reg::INTERRUPT_STATUS) & 2, 2, "{delay}");
            assert_eq!(word(rig, HCCA + 0x84) & !1, TDS as u32);
            write(rig, reg::INTERRUPT_STATUS, 2);
        }
        // Never; then with the next one that wants it.
        for (delay, expected) in [(7u32, 0), (0, TDS as u32)] {
            queue(rig, 2, &[(direction::SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
            poke(rig, TDS, &[NOT_ACCESSED | 2 << 24 | delay << td::DELAY_SHIFT]);
            poke(rig, HCCA + 0x84, &[0]);
            rig.advance(ms(20));
            assert_eq!(word(rig, HCCA + 0x84) & !1, expected);
        }
    });
}

#[test]
fn the_driver_takes_one_done_queue_at_a_time() {
    scenario(|rig| {
        tablet(rig);
        let setup = || [(direction::SETUP, get(0x80, 8, 0, 1).bytes().to_vec())];
        queue(rig, 2, &setup());
        rig.advance(ms(2));
        assert_eq!(word(rig, HCCA + 0x84) & !1, TDS as u32);
        poke(rig, HCCA + 0x84, &[0]);
        queue(rig, 2, &setup());
        rig.advance(ms(20));
        assert_eq!((word(rig, HCCA + 0x84), read(rig, reg::DONE_HEAD)), (0, TDS as u32), "it was not taken");
        write(rig, reg::INTERRUPT_STATUS, 2);
        rig.advance(ms(1));
        assert_eq!((word(rig, HCCA + 0x84) & !1, read(rig, reg::DONE_HEAD)), (TDS as u32, 0));
        // The lowest bit says that there is something else.
        write(rig, reg::INTERRUPT_STATUS, 0xff);
        write(rig, port_reg(2), 2);
        queue(rig, 2, &setup());
        rig.advance(ms(2));
        assert_eq!(word(rig, HCCA + 0x84), TDS as u32 | 1);
    });
}

#[test]
fn what_is_skipped_or_not_enabled_waits() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        point(&ports, port, 1, 2, 0);
        ask(rig, 2);
        let flags = word(rig, INTERRUPT_ED);
        poke(rig, INTERRUPT_ED, &[flags | ed::SKIP]);
        rig.advance(ms(20));
        assert_eq!(answer(rig), None);
        poke(rig, INTERRUPT_ED, &[flags]);
        write(rig, reg::CONTROL, RUN & !4);
        rig.advance(ms(20));
        assert_eq!(answer(rig), None, "PLE");
        write(rig, reg::CONTROL, RUN);
        rig.advance(ms(1));
        assert!(answer(rig).is_some());
        write(rig, reg::CONTROL, RUN & !0x10);
        queue(rig, 2, &[(direction::SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
        rig.advance(ms(20));
        assert_eq!((ended(rig, TDS), read(rig, reg::COMMAND_STATUS)), (0xf, 2), "CLE");
        write(rig, reg::CONTROL, RUN);
        rig.advance(ms(1));
        assert_eq!(ended(rig, TDS), GOOD);
        // A port that sleeps lets nothing through, and one that is not enabled.
        write(rig, port_reg(port), 4);
        queue(rig, 2, &[(direction::SETUP, get(0x80, 8, 0, 1).bytes().to_vec())]);
        rig.advance(ms(4));
        assert_eq!(ended(rig, TDS), code::SILENCE);
    });
}

#[test]
fn endpoints_follow_each_other() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        ask(rig, 2);
        // Before it one that is empty, one that is halted, and one whose device says no.
        for (n, words) in [
            [endpoint(2, 1, 2, 8), 0x7000, 0x7000, 0x6010],
            [endpoint(2, 1, 2, 8), 0x7000, 0x7010 | ed::HALTED, 0x6020],
            [endpoint(2, 1, 2, 8), 0x7000, 0x7010, INTERRUPT_ED as u32],
        ]
        .iter()
        .enumerate()
        {
            poke(rig, 0x6000 + 0x10 * n as u64, words);
        }
        poke(rig, 0x7010, &[NOT_ACCESSED | td::ROUNDING, 0x7100, 0x7000, 0x7107]);
        poke(rig, HCCA, &[0x6000; 32]);
        rig.advance(ms(5));
        point(&ports, port, 1, 2, 0);
        rig.advance(ms(1));
        assert_eq!((ended(rig, 0x7010), answer(rig)), (GOOD, None));
        point(&ports, port, 3, 4, 0);
        rig.advance(ms(1));
        assert_eq!(answer(rig), Some(vec![0, 3, 0, 4, 0, 0]));
    });
}

/// A TD of the bulk list, from or to [`BUFFERS`] or some place behind it; its code.
fn bulk(rig: &mut Rig, number: u8, way: u32, (at, len): (u64, u32)) -> u32 {
    poke(rig, TDS, &[NOT_ACCESSED | td::ROUNDING, at as u32, TAIL as u32, at as u32 + len - 1]);
    let carry = word(rig, BULK_ED + 8) & ed::CARRY;
    poke(rig, BULK_ED, &[endpoint(3, number, way, 64), TAIL as u32, TDS as u32 | carry, 0]);
    write(rig, reg::COMMAND_STATUS, 4);
    for _ in 0..200 {
        rig.advance(ms(1));
        if word(rig, BULK_ED + 8) & !0xf == TAIL as u32 {
            take_done(rig);
            return ended(rig, TDS);
        }
    }
    panic!("the transfer never ends");
}

#[test]
fn a_disk_is_read_and_written() {
    scenario(|rig| {
        let ports = attach(rig);
        let (store, backend) = memory(rig, contents(), false);
        ports.plug(1, Box::new(Storage::new(disk_of(backend), 512, "S1", ports.waker()))).unwrap();
        run(rig);
        configure(rig, 1, 3);
        let command = |rig: &mut Rig, cdb: &[u8], data: (u64, u32), way: u32| {
            let mut cbw = [0x4342_5355, 7, data.1].map(u32::to_le_bytes).concat();
            cbw.extend([if way == direction::IN { 0x80 } else { 0 }, 0, cdb.len() as u8]);
            cbw.extend(cdb);
            cbw.resize(31, 0);
            rig.poke(BUFFERS, &cbw);
            assert_eq!(bulk(rig, 2, direction::OUT, (BUFFERS, 31)), GOOD);
            for at in (0..data.1).step_by(4096) {
                let number = if way == direction::IN { 1 } else { 2 };
                assert_eq!(bulk(rig, number, way, (data.0 + u64::from(at), 4096.min(data.1 - at))), GOOD);
            }
            assert_eq!(bulk(rig, 1, direction::IN, (BUFFERS + 0x100, 13)), GOOD);
            rig.peek(BUFFERS + 0x10c, 1)[0]
        };
        assert_eq!(command(rig, &[0; 6], (0, 0), direction::OUT), 1, "unit attention");
        assert_eq!(command(rig, &[0; 6], (0, 0), direction::OUT), 0);
        // Across pages that lie apart only where a TD says so: here each begins in the middle of one.
        let at = 0x2_0800;
        assert_eq!(command(rig, &[0x28, 0, 0, 0, 0, 3, 0, 0, 24, 0], (at, 24 * 512), direction::IN), 0);
        assert_eq!(rig.peek(at, 24 * 512), contents()[3 * 512..27 * 512]);
        rig.poke(at, &[0x77; 1024]);
        assert_eq!(command(rig, &[0x2a, 0, 0, 0, 0, 1, 0, 0, 2, 0], (at, 1024), direction::OUT), 0);
        assert_eq!(store.contents()[512..1536], [0x77; 1024]);
    });
}
