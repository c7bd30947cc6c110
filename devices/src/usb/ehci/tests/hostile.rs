//! What a hostile guest does.
//!
//! Kinds of faults that controllers of others have had, in words: lists of qTDs and queue heads that lead to themselves
//! (CVE-2020-25625, CVE-2015-8558, CVE-2017-9330); packets whose memory cannot be mapped (CVE-2020-25084, CVE-2020-25723); data of a
//! packet that another still uses, when a device goes or the queue is changed (CVE-2021-3682, CVE-2016-4037); lengths
//! beyond the pages and pages that there are none of; PIDs that are reserved; a frame list at the end of memory or at
//! registers.

use devices_core::Space;
use devices_core::rig::{FuzzRange, Random, fuzz, scenario};

use super::*;

/// After what a hostile guest has done, a driver starts the controller anew.
fn still_works(rig: &mut Rig, port: u64) {
    run(rig);
    configure(rig, port, 4);
    assert_eq!(request(rig, 4, get(0x80, 8, 0, 1), &[]).unwrap(), [1]);
}

#[test]
fn circles_end() {
    scenario(|rig| {
        let (_, port) = tablet(rig);
        let circles: [&dyn Fn(&Rig); 6] = [
            &|rig| poke(rig, INT, &[INT as u32 | QUEUE]),
            &|rig| poke(rig, LIST, &[LIST as u32; 1024]),
            // A list with no head, and one that does not come back to its begin.
            &|rig| poke(rig, HEAD + 4, &[0]),
            &|rig| poke(rig, CONTROL, &[CONTROL as u32 | QUEUE]),
            // A qTD that leads to itself.
            &|rig| {
                chain(rig, &[(IN, vec![])]);
                poke(rig, TDS, &[TDS as u32, TDS as u32]);
                go(rig, CONTROL);
            },
            // A qTD whose data are itself, so that it is active for ever.
            &|rig| {
                aim(rig, 2);
                let setup = [0, 0, 0, 0, 0, 0, 0, 0];
                chain(rig, &[(OUT, vec![]), (SETUP, setup.to_vec())]);
                poke(rig, TDS, &[TDS as u32, TDS as u32, ACTIVE | OUT, TDS as u32]);
                poke(rig, CONTROL + 12, &[TDS as u32, TDS as u32, TDS as u32, ACTIVE | OUT]);
            },
        ];
        for (n, circle) in circles.iter().enumerate() {
            circle(rig);
            let from = read(rig, reg::FRINDEX);
            rig.advance(ms(200));
            let halted = read(rig, reg::USBSTS) & 0x1000 != 0;
            assert!(halted || read(rig, reg::FRINDEX) == (from + 1600) & 0x3fff, "{n}");
            still_works(rig, port);
            assert_eq!(request(rig, 4, get(0, 5, 2, 0), &[]), Ok(vec![]));
        }
    });
}

#[test]
fn a_walk_has_its_bound() {
    let mut rig = Rig::new();
    tablet(&mut rig);
    // 16 Ki queue heads in a chain, none of which ever ends, in both lists.
    for n in 0..0x4000u64 {
        queue_head(&rig, 0x10_0000 + n * 0x40, 0x10_0000 + (n + 1) * 0x40, (2, 1, 8), (n % 2) as u32);
    }
    poke(&rig, LIST, &[0x10_0000 | QUEUE; 1024]);
    poke(&rig, HEAD, &[0x10_0000 | QUEUE]);
    let from = read(&mut rig, reg::FRINDEX);
    rig.advance(ms(100));
    assert_eq!(read(&mut rig, reg::FRINDEX), (from + 800) & 0x3fff);
    // A queue of qTDs that fill memory has its turns.
    lists(&rig);
    aim(&rig, 2);
    for n in 0..0x4000u64 {
        poke(
            &rig,
            0x10_0000 + n * 0x20,
            &[0x10_0000 + (n as u32 + 1) * 0x20, TERMINATE, ACTIVE | SETUP | length(8)],
        );
    }
    poke(&rig, CONTROL + 16, &[0x10_0000, TERMINATE, 0]);
    write(&mut rig, reg::USBSTS, 0x3f);
    rig.advance(us(300));
    assert_eq!(word(&rig, 0x10_0008) & td::ACTIVE, 0);
    assert_eq!(word(&rig, 0x10_0000 + 0x3fff * 0x20 + 8) & td::ACTIVE, td::ACTIVE);
}

#[test]
fn what_is_no_memory_stops_the_controller() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        let nowhere = 0xfeb0_0000u32;
        let stop: [&dyn Fn(&mut Rig); 7] = [
            &|rig| write(rig, reg::PERIODICLISTBASE, nowhere),
            &|rig| write(rig, reg::ASYNCLISTADDR, nowhere),
            &|rig| poke(rig, LIST, &[nowhere; 1024]),
            &|rig| poke(rig, LIST, &[nowhere | QUEUE; 1024]),
            &|rig| poke(rig, CONTROL + 16, &[nowhere]),
            &|rig| {
                aim(rig, 2);
                chain(rig, &[(SETUP, vec![0; 8])]);
                poke(rig, TDS + 12, &[0xffff_fffc, 0xffff_f000]);
                go(rig, CONTROL);
            },
            &|rig| {
                point(&ports, port, 1, 1, 1);
                ask(rig);
                poke(rig, INT + 4, &[2 | 1 << 8 | 2 << 12 | 1 << 14 | 8 << 16]);
                poke(rig, INT_TD + 12, &[nowhere]);
            },
        ];
        for (n, stop) in stop.iter().enumerate() {
            stop(rig);
            rig.advance(ms(70));
            assert_eq!((read(rig, reg::USBSTS) & 0xf010, rig.irq(IRQ)), (0x1010, true), "{n}");
            assert_eq!(read(rig, reg::USBCMD) & 1, 0);
            write(rig, reg::USBSTS, 0x3f);
            assert!(!rig.irq(IRQ));
            still_works(rig, port);
            assert_eq!(request(rig, 4, get(0, 5, 2, 0), &[]), Ok(vec![]));
        }
    });
}

#[test]
fn what_makes_no_sense_halts_its_queue() {
    scenario(|rig| {
        let (_, port) = tablet(rig);
        for (what, token, bits) in [
            ("a reserved PID", 3 << 8 | 8 << 16, 0),
            ("a setup packet of another length", SETUP | 7 << 16, 0),
            ("more than five pages", IN | 0x5001 << 16, 0),
            ("a page that there is none of", OUT | 8 << 16 | 5 << 12, td::BUFFER),
            ("pages that do not suffice", OUT | 0x2000 << 16 | 4 << 12, td::BUFFER),
        ] {
            aim(rig, 2);
            poke(rig, TDS, &[TERMINATE, TERMINATE, ACTIVE | token, BUFFERS as u32 + 0xf00, 0, 0, 0, 0]);
            poke(rig, CONTROL + 4, &[2 | 2 << 12 | 1 << 14 | 0x7ff << 16]);
            go(rig, CONTROL);
            rig.advance(ms(70));
            assert_eq!(word(rig, TDS + 8) & 0xff, td::HALTED | bits, "{what}");
            assert_eq!(read(rig, reg::USBSTS) & 0x1012, 2, "{what}");
            write(rig, reg::USBSTS, 0x3f);
        }
        // A packet length of nothing.
        chain(rig, &[(SETUP, vec![0; 8])]);
        poke(rig, CONTROL + 4, &[2 | 2 << 12 | 1 << 14]);
        go(rig, CONTROL);
        rig.advance(ms(70));
        assert_eq!(token(rig, 0) & 0xff, td::HALTED);
        still_works(rig, port);
    });
}

#[test]
fn what_a_device_is_asked_for_changes_under_it() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        // The queue waits; then its overlay leads elsewhere, is another device's, has no room.
        for overlay in [[0xffff_ffff; 8], [0; 8], [TERMINATE; 8]] {
            ask(rig);
            rig.advance(ms(2));
            poke(rig, INT + 16, &overlay);
            point(&ports, port, 1, 2, 0);
            rig.advance(ms(5));
            write(rig, reg::USBSTS, 0x3f);
            run(rig);
        }
        // It goes while it is asked, and another comes in its place.
        configure(rig, port, 2);
        ask(rig);
        rig.advance(ms(2));
        ports.unplug(port);
        assert_eq!(plug(&ports, Kind::Mouse), port);
        rig.advance(ms(100));
        assert_eq!(word(rig, INT_TD + 8) & 0xff, td::HALTED | td::TRANSACTION);
        still_works(rig, port);
    });
}

/// Noise in both lists, in queues and qTDs, with two devices to talk to.
#[test]
fn lists_of_noise() {
    let mut rig = Rig::new();
    let (ports, port) = tablet(&mut rig);
    let other = plug(&ports, Kind::Keyboard);
    configure(&mut rig, other, 3);
    let mut random = Random::new(3);
    for round in 0..3000 {
        let word = |random: &mut Random| match random.below(7) {
            0 => random.draw() as u32,
            1 => TERMINATE,
            2 => 0x4_0000 + (random.below(64) as u32 * 32) | random.below(4) as u32 * 2,
            3 => ACTIVE | random.draw() as u32,
            4 => ACTIVE | [IN, OUT, SETUP][random.below(3) as usize] | length(random.below(70) as usize),
            5 => 2 + random.below(2) as u32 | (random.below(2) as u32) << 8 | 2 << 12 | 8 << 16,
            _ => 0x5_0000 + random.below(0x1000) as u32,
        };
        let words: Vec<u32> = (0..512).map(|_| word(&mut random)).collect();
        poke(&rig, 0x4_0000, &words);
        let entries: Vec<u32> = (0..1024).map(|n| 0x4_0000 + n % 64 * 32 | n & 6).collect();
        poke(&rig, LIST, &entries);
        write(&mut rig, reg::PERIODICLISTBASE, LIST as u32);
        write(&mut rig, reg::ASYNCLISTADDR, 0x4_0000 + random.below(64) as u32 * 32);
        write(&mut rig, reg::USBCMD, RUN | PERIODIC | ASYNC | (random.below(2) as u32) << 6);
        point(&ports, port, random.draw() as u16, 5, round as u8);
        rig.advance(ms(random.below(20)));
        if round % 50 == 0 {
            rig.save_load();
            write(&mut rig, reg::USBSTS, 0x3f);
        }
    }
    still_works(&mut rig, port);
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        let (ports, _) = tablet(&mut rig);
        let other = plug(&ports, Kind::Keyboard);
        configure(&mut rig, other, 3);
        ask(&rig);
        (rig, ports)
    };
    let places = [FuzzRange::Memory(BAR, 0x80), FuzzRange::Config(SLOT, FUNCTION)];
    fuzz(build, 7, &places, |(rig, ports), what| match what {
        0..4 => {
            rig.config_write(SLOT, FUNCTION, 0x10, Size::B4, BAR as u32);
            rig.config_write(SLOT, FUNCTION, 0x04, Size::B2, 6);
            write(rig, reg::PERIODICLISTBASE, LIST as u32);
            write(rig, reg::ASYNCLISTADDR, HEAD as u32);
            write(rig, reg::USBCMD, RUN | PERIODIC | ASYNC);
        }
        4..12 => point(ports, 1, what as u16, 3, what as u8),
        12..16 => {
            let key = crate::input::keys::Key::all().nth(what as usize * 3).unwrap();
            ports.with(2, &mut |device| device.input().unwrap().key(key, what % 2 == 0));
        }
        16..20 => ask(rig),
        20..24 => {
            let setup = Setup::parse([0x80, what as u8 - 14, 0, 1, 0, 0, 18, 0]);
            chain(rig, &[(SETUP, setup.bytes().to_vec()), (IN, vec![0; 18])]);
            go(rig, CONTROL);
        }
        24..26 => write(rig, portsc(1), 0x1100),
        26..28 => write(rig, portsc(1), 0x1000),
        _ => {}
    });
}

#[test]
fn battered() {
    let mut rig = Rig::new();
    tablet(&mut rig);
    rig.batter(&[(Space::Mmio, BAR, 0x80)], 1, 20_000);
}
