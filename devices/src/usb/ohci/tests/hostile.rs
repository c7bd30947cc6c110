//! What a hostile guest does.
//!
//! Kinds of faults that this controller of others has had, in words: a frame that begins after an error has stopped the
//! controller (CVE-2017-6505, lists that lead to themselves; CVE-2016-8576 and 2016-4037 of its kin); isochronous packets
//! whose offsets lie (CVE-2013-4534's kind, CVE-2020-25624); a buffer that ends before it begins; a done queue that is
//! written though there is nothing in it; a packet length of 0 (an endless loop); a request to an endpoint that has none
//! (CVE-2024-3567's kind); devices that go while they are asked.

use devices_core::Space;
use devices_core::rig::{FuzzRange, Random, fuzz, scenario};

use super::*;

/// After what a hostile guest has done, a driver starts the controller anew.
fn still_works(rig: &mut Rig, port: u64) {
    write(rig, reg::COMMAND_STATUS, 1);
    run(rig);
    configure(rig, port, 4);
    assert_eq!(request(rig, 4, get(0x80, 8, 0, 1), &[]).unwrap(), [1]);
    assert_eq!(request(rig, 4, get(0, 5, 2, 0), &[]), Ok(vec![]));
}

/// An endpoint or a TD, and where it lies.
type Words = (u64, [u32; 4]);

#[test]
fn circles_end() {
    scenario(|rig| {
        let (_, port) = tablet(rig);
        let setup = NOT_ACCESSED | 2 << 24;
        poke(rig, 0x7100, &[0x0100_0680, 0x0012_0000]);
        let circles: [(&str, &[Words]); 4] = [
            ("an endpoint that leads to itself", &[(0x6000, [endpoint(2, 1, 2, 8), 0x7000, 0x7000, 0x6000])]),
            (
                "two endpoints whose devices say no",
                &[
                    (0x6000, [endpoint(2, 1, 2, 8), 0x7000, 0x7010, 0x6010]),
                    (0x6010, [endpoint(2, 1, 2, 8), 0x7000, 0x7010, 0x6000]),
                    (0x7010, [NOT_ACCESSED, 0x7200, 0x7000, 0x7207]),
                ],
            ),
            (
                "a TD that leads to itself",
                &[
                    (0x6000, [endpoint(2, 0, 0, 8), 0x7000, 0x7010, 0]),
                    (0x7010, [setup, 0x7100, 0x7010, 0x7107]),
                ],
            ),
            (
                "two TDs",
                &[
                    (0x6000, [endpoint(2, 0, 0, 8), 0x7000, 0x7010, 0x6000]),
                    (0x7010, [setup, 0x7100, 0x7020, 0x7107]),
                    (0x7020, [setup, 0x7100, 0x7010, 0x7107]),
                ],
            ),
        ];
        for (what, memory) in circles {
            memory.iter().for_each(|(at, words)| poke(rig, *at, words));
            poke(rig, HCCA, &[0x6000; 32]);
            write(rig, reg::CONTROL_HEAD, 0x6000);
            write(rig, reg::BULK_HEAD, 0x6000);
            write(rig, reg::COMMAND_STATUS, 6);
            let from = read(rig, reg::FM_NUMBER);
            rig.advance(ms(100));
            assert_eq!(read(rig, reg::FM_NUMBER), from + 100, "{what}");
            still_works(rig, port);
        }
    });
}

#[test]
fn a_walk_has_its_bound() {
    let mut rig = Rig::new();
    tablet(&mut rig);
    // 16 Ki different endpoints in a chain, none of which ever ends.
    for n in 0..0x4000u32 {
        let at = 0x10_0000 + n * 16;
        poke(&rig, at.into(), &[endpoint(2, 1, 2, 8), 0, 0, at + 16]);
    }
    poke(&rig, HCCA, &[0x10_0000; 32]);
    rig.advance(ms(100));
    let from = read(&mut rig, reg::FM_NUMBER);
    rig.advance(ms(100));
    assert_eq!(read(&mut rig, reg::FM_NUMBER), from + 100);
}

#[test]
fn what_is_no_memory_stops_the_controller() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        let nowhere = 0xfee0_0000u32;
        let at = |rig: &mut Rig, flags: u32, words: [u32; 4]| {
            poke(rig, 0x7010, &words);
            poke(rig, INTERRUPT_ED, &[flags, 0x7000, 0x7010, 0]);
        };
        let asks = endpoint(2, 1, direction::IN, 8);
        let stop: [&dyn Fn(&mut Rig); 9] = [
            &|rig| write(rig, reg::HCCA, nowhere),
            &|rig| poke(rig, HCCA, &[nowhere; 32]),
            &|rig| poke(rig, INTERRUPT_ED, &[asks, 0x7000, nowhere, 0]),
            &|rig| poke(rig, INTERRUPT_ED, &[asks, 0x7000, 0, 0]),
            &|rig| {
                point(&ports, port, 1, 1, 1);
                at(rig, asks, [NOT_ACCESSED | td::ROUNDING, nowhere, 0x7000, nowhere + 7]);
            },
            &|rig| at(rig, endpoint(2, 0, direction::OUT, 8), [NOT_ACCESSED, nowhere, 0x7000, nowhere + 7]),
            // A buffer that ends before it begins, a packet of no length, a request to another endpoint.
            &|rig| at(rig, asks, [NOT_ACCESSED, 0x7107, 0x7000, 0x7100]),
            &|rig| at(rig, endpoint(2, 1, direction::IN, 0), [NOT_ACCESSED, 0x7100, 0x7000, 0x7107]),
            &|rig| at(rig, endpoint(2, 1, 0, 8), [NOT_ACCESSED, 0x7100, 0x7000, 0x7107]),
        ];
        for (n, stop) in stop.iter().enumerate() {
            stop(rig);
            rig.advance(ms(70));
            assert_eq!((read(rig, reg::INTERRUPT_STATUS) & 0x10, rig.irq(IRQ)), (0x10, true), "{n}");
            assert_eq!(rig.config_read(SLOT, 0, 6, Size::B2) & 0x8000, 0x8000);
            rig.config_write(SLOT, 0, 6, Size::B2, 0x8000);
            let number = read(rig, reg::FM_NUMBER);
            rig.advance(ms(10));
            assert_eq!((read(rig, reg::FM_NUMBER), rig.next_deadline()), (number, None), "no frame passes");
            still_works(rig, port);
        }
    });
}

#[test]
fn without_bus_mastering_nothing_moves() {
    scenario(|rig| {
        let (_, port) = tablet(rig);
        ask(rig, 2);
        let memory = rig.peek(HCCA, 0x100);
        rig.config_write(SLOT, 0, 4, Size::B2, 2);
        let memory_then = rig.peek(HCCA, 0x100);
        assert_eq!(memory[..0x80], memory_then[..0x80]);
        rig.advance(ms(200));
        assert_eq!(rig.peek(HCCA, 0x100), memory_then);
        assert_eq!(read(rig, reg::INTERRUPT_STATUS) & 0x10, 0);
        rig.config_write(SLOT, 0, 4, Size::B2, 6);
        still_works(rig, port);
    });
}

#[test]
fn a_device_goes_while_it_is_asked() {
    scenario(|rig| {
        let (ports, port) = tablet(rig);
        ask(rig, 2);
        rig.advance(ms(10));
        ports.unplug(port);
        rig.advance(ms(10));
        assert_eq!((ended(rig, INTERRUPT_TD), word(rig, INTERRUPT_ED + 8) & 1), (code::SILENCE, 1));
        assert_eq!(read(rig, port_reg(port)), 0x3_0100);
    });
}

/// Noise in lists, endpoints and TDs, with two devices to talk to.
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
            1 => 0,
            2 | 3 => 0x1_0000 + (random.below(64) as u32 * 16) | random.below(4) as u32,
            4 => {
                endpoint(2 + random.below(2) as u8, random.below(2) as u8, random.below(3) as u32, 8)
                    | (random.below(8) as u32 / 7) << 15
            }
            _ => 0x2_0000 + random.below(0x1000) as u32,
        };
        let words: Vec<u32> = (0..256).map(|_| word(&mut random)).collect();
        poke(&rig, 0x1_0000, &words);
        let heads: Vec<u32> = (0..32).map(|n| 0x1_0000 + n * 16).collect();
        poke(&rig, HCCA, &heads);
        write(&mut rig, reg::COMMAND_STATUS, 1);
        write(&mut rig, reg::HCCA, HCCA as u32);
        write(&mut rig, reg::CONTROL_HEAD, 0x1_0000);
        write(&mut rig, reg::BULK_HEAD, 0x1_0100);
        write(&mut rig, reg::CONTROL, RUN);
        write(&mut rig, reg::COMMAND_STATUS, 6);
        point(&ports, port, random.draw() as u16, 5, round as u8);
        rig.advance(ms(random.below(20)));
        if round % 50 == 0 {
            rig.save_load();
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
    let places = [FuzzRange::Memory(BAR, 0x70), FuzzRange::Config(SLOT, 0)];
    fuzz(build, 7, &places, |(rig, ports), what| match what {
        0..4 => {
            rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
            rig.config_write(SLOT, 0, 0x04, Size::B2, 6);
            write(rig, reg::HCCA, HCCA as u32);
            write(rig, reg::CONTROL_HEAD, CONTROL_ED as u32);
            write(rig, reg::CONTROL, RUN);
        }
        4..12 => point(ports, 1, what as u16, 3, what as u8),
        12..16 => {
            let key = crate::input::keys::Key::all().nth(what as usize * 3).unwrap();
            ports.with(2, &mut |device| device.input().unwrap().key(key, what % 2 == 0));
        }
        16..20 => ask(rig, 2),
        20..24 => {
            let setup = Setup::parse([0x80, what as u8 - 14, 0, 1, 0, 0, 18, 0]);
            queue(rig, 2, &[(direction::SETUP, setup.bytes().to_vec()), (direction::IN, vec![0; 8])]);
        }
        24..28 => write(rig, port_reg(1), 2),
        _ => {}
    });
}

#[test]
fn battered() {
    let mut rig = Rig::new();
    tablet(&mut rig);
    rig.batter(&[(Space::Mmio, BAR, 0x100)], 1, 20_000);
}
