//! What a hostile guest does.
//!
//! Kinds of faults that controllers and devices of others have had, in words: a wLength beyond the buffer for a request's
//! data, and data beyond wLength (CVE-2020-14364); packets whose buffer is no memory (CVE-2020-25723); lists that lead to
//! themselves (CVE-2020-25625, CVE-2021-20257 of a network card); lengths and PIDs that are reserved; a request that begins
//! in the middle of another; a device that goes in the middle of one.

use devices_core::rig::{FuzzRange, Random, fuzz};
use devices_core::{Space, rig::scenario};

use super::*;

/// After what a hostile guest has done, a driver starts the controller anew.
fn still_works(rig: &mut Rig, port: u64) {
    write(rig, reg::USBCMD, 2);
    run(rig);
    configure(rig, port, 4);
    assert_eq!(request(rig, 4, get(0x80, 8, 0, 1), &[]).unwrap(), [1]);
}

fn tablet(rig: &mut Rig) -> (Ports, u64) {
    let ports = attach(rig);
    let port = plug(&ports, Kind::Tablet);
    run(rig);
    configure(rig, port, 2);
    (ports, port)
}

/// Words at their addresses.
type Memory<'a> = &'a [(u64, [u32; 4])];

#[test]
fn circles_end() {
    scenario(|rig| {
        let (_, port) = tablet(rig);
        let done = ACTIVE & !td::ACTIVE;
        let circles: [(&str, u32, Memory<'_>); 5] = [
            ("a TD that leads to itself", 0x6000, &[(0x6000, [0x6000, done, 0x69, 0])]),
            ("two queue heads", 0x6000 | QUEUE, &[(0x6000, [0x6010 | QUEUE, 1, 0x6000 | QUEUE, 1])]),
            ("a queue head as its own element", 0x6000 | QUEUE, &[(0x6000, [0x6000 | QUEUE; 4])]),
            (
                "a queue and its TD",
                0x6000 | QUEUE,
                &[(0x6000, [0x6000 | QUEUE, 0x6020, 0, 0]), (0x6020, [0x6000 | QUEUE | 4, done, 0x69, 0])],
            ),
            ("a TD that leads to the frame list", 0x6000, &[(0x6000, [LIST as u32, done, 0x69, 0])]),
        ];
        for (what, entry, memory) in circles {
            memory.iter().for_each(|(at, words)| poke(rig, *at, words));
            poke(rig, LIST, &[entry; 1024]);
            let from = read(rig, reg::FRNUM);
            rig.advance(ms(200));
            let halted = read(rig, reg::USBSTS) & 0x20 != 0;
            assert!(halted || read(rig, reg::FRNUM) == (from + 200) & 0x7ff, "{what}");
        }
        still_works(rig, port);
    });
}

#[test]
fn a_walk_has_its_bound() {
    let mut rig = Rig::new();
    tablet(&mut rig);
    // 64 Ki different queue heads in a chain, none of which ever ends.
    for n in 0..0x4000u64 {
        poke(&rig, 0x10_0000 + n * 16, &[(0x10_0000 + (n + 1) as u32 * 16) | QUEUE, TERMINATE]);
    }
    poke(&rig, LIST, &[0x10_0000 | QUEUE; 1024]);
    rig.advance(ms(100));
    let from = read(&mut rig, reg::FRNUM);
    rig.advance(ms(100));
    assert_eq!(read(&mut rig, reg::FRNUM), (from + 100) & 0x7ff);
}

#[test]
fn what_is_no_memory_stops_the_controller() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        let nowhere = 0xfee0_0000u32;
        let stop: [&dyn Fn(&mut Rig); 5] = [
            &|rig| rig.outl(BAR + 8, nowhere),
            &|rig| poke(rig, LIST, &[nowhere; 1024]),
            &|rig| poke(rig, LIST, &[nowhere | QUEUE; 1024]),
            &|rig| {
                poke(rig, 0x6000, &[TERMINATE, ACTIVE, token(pid::OUT, 2, 0, 8), nowhere]);
                poke(rig, LIST, &[0x6000; 1024]);
            },
            &|rig| {
                point(&ports, port, 1, 1, 1);
                poke(rig, 0x6000, &[TERMINATE, ACTIVE, token(pid::IN, 2, 1, 8), 0xffff_fffc]);
                poke(rig, LIST, &[0x6000; 1024]);
            },
        ];
        for (n, stop) in stop.iter().enumerate() {
            stop(rig);
            rig.advance(ms(70));
            assert_eq!((read(rig, reg::USBSTS), rig.irq(IRQ)), (0x28, true), "{n}");
            assert_eq!(read(rig, reg::USBCMD) & 1, 0);
            write(rig, reg::USBSTS, 8);
            assert!(!rig.irq(IRQ));
            still_works(rig, port);
            // The tablet is at its old address.
            assert_eq!(request(rig, 4, get(0, 5, 2, 0), &[]), Ok(vec![]));
        }
    });
}

#[test]
fn what_is_reserved_is_a_process_error() {
    scenario(|rig| {
        let (_, port) = tablet(rig);
        for token in [0x69 | 2 << 8 | 0x500 << 21, 0x69 | 2 << 8 | 0x7fe << 21, 0xc3 | 2 << 8, 0] {
            poke(rig, 0x6000, &[TERMINATE, ACTIVE, token, 0x7000]);
            poke(rig, LIST, &[0x6000; 1024]);
            rig.advance(ms(70));
            assert_eq!((read(rig, reg::USBSTS), rig.irq(IRQ)), (0x30, true), "{token:#x}");
            write(rig, reg::USBSTS, 0x10);
            still_works(rig, port);
        }
    });
}

#[test]
fn lengths_of_requests_lie() {
    scenario(|rig| {
        let (_, port) = tablet(rig);
        let report = |length| Setup { kind: 0x21, request: 9, value: 0x200, index: 0, length };
        // More is announced than any device takes.
        for length in [4097, 0xffff] {
            assert!(request(rig, 2, report(length), &[1; 8]).is_err());
        }
        // More is sent than was announced, and less.
        assert!(request(rig, 2, report(4), &[1; 8]).is_err());
        assert!(request(rig, 2, report(64), &[1; 8]).is_err());
        // More is asked for than there is.
        let reply = request(rig, 2, get(0x80, 6, 0x100, 256), &[]).unwrap();
        assert_eq!(reply.len(), 18);
        // A setup packet of another length is none, and one to another endpoint is refused.
        queue(rig, 2, &[(pid::SETUP, vec![0x80; 7])]);
        rig.advance(ms(4));
        assert_ne!(word(rig, TDS + 4) & td::STALLED, 0);
        // A request in the middle of another: the first is over.
        queue(
            rig,
            2,
            &[
                (pid::SETUP, get(0x80, 6, 0x100, 18).bytes().to_vec()),
                (pid::IN, vec![0; 8]),
                (pid::SETUP, get(0x80, 8, 0, 1).bytes().to_vec()),
                (pid::IN, vec![0; 8]),
            ],
        );
        rig.advance(ms(70));
        assert_eq!((got(rig, 1), got(rig, 3)), (8, 1));
        still_works(rig, port);
    });
}

#[test]
fn a_device_goes_in_the_middle() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        queue(rig, 2, &[(pid::SETUP, get(0x80, 6, 0x100, 18).bytes().to_vec())]);
        rig.advance(ms(70));
        ask(rig, 2);
        ports.unplug(port);
        queue(rig, 2, &[(pid::IN, vec![0; 8])]);
        rig.advance(ms(10));
        assert_ne!(word(rig, TDS + 4) & td::TIMEOUT, 0);
        assert_ne!(word(rig, INT_TD + 4) & td::TIMEOUT, 0);
        ports.with(port, &mut |_| panic!("nobody is there"));
        assert_eq!(plug(&ports, Kind::Tablet), port);
        still_works(rig, port);
    });
}

/// Noise in the frame list, in queues and TDs, with two devices to talk to.
#[test]
fn lists_of_noise() {
    let mut rig = Rig::new();
    let (ports, port) = tablet(&mut rig);
    let other = plug(&ports, Kind::Keyboard);
    configure(&mut rig, other, 3);
    let mut random = Random::new(3);
    for round in 0..3000 {
        let word = |random: &mut Random| match random.below(6) {
            0 => random.draw() as u32,
            1 => TERMINATE,
            2 => 0x1_0000 + (random.below(64) as u32 * 16) | random.below(8) as u32,
            3 => ACTIVE | random.draw() as u32,
            4 => token(
                [pid::IN, pid::OUT, pid::SETUP][random.below(3) as usize],
                2 + random.below(2) as u8,
                random.below(2) as u8,
                random.below(20) as usize,
            ),
            _ => 0x2_0000 + random.below(0x1000) as u32,
        };
        let words: Vec<u32> = (0..256).map(|_| word(&mut random)).collect();
        poke(&rig, 0x1_0000, &words);
        let entries: Vec<u32> = (0..1024).map(|n| 0x1_0000 + n % 64 * 16 | n & 2).collect();
        poke(&rig, LIST, &entries);
        rig.outl(BAR + 8, LIST as u32);
        write(&mut rig, reg::USBCMD, 1);
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
        ask(&rig, 2);
        (rig, ports)
    };
    let places = [FuzzRange::Ports(BAR, 0x20), FuzzRange::Config(SLOT, FUNCTION)];
    fuzz(build, 7, &places, |(rig, ports), what| match what {
        0..4 => {
            rig.config_write(SLOT, FUNCTION, 0x20, Size::B4, BAR.into());
            rig.config_write(SLOT, FUNCTION, 0x04, Size::B2, 5);
            rig.outl(BAR + 8, LIST as u32);
            write(rig, reg::USBCMD, 1);
        }
        4..12 => point(ports, 1, what as u16, 3, what as u8),
        12..16 => {
            let key = crate::input::keys::Key::all().nth(what as usize * 3).unwrap();
            ports.with(2, &mut |device| device.input().unwrap().key(key, what % 2 == 0));
        }
        16..20 => ask(rig, 2),
        20..24 => {
            let setup = Setup::parse([0x80, what as u8 - 14, 0, 1, 0, 0, 18, 0]);
            queue(rig, 2, &[(pid::SETUP, setup.bytes().to_vec()), (pid::IN, vec![0; 8])]);
        }
        24..28 => write(rig, 0x10, 5),
        _ => {}
    });
}

#[test]
fn battered() {
    let mut rig = Rig::new();
    tablet(&mut rig);
    rig.batter(&[(Space::Pio, BAR.into(), 0x20)], 1, 20_000);
}
