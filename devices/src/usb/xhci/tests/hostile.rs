//! What a hostile guest does.
//!
//! Kinds of faults that controllers of others have had, in words: lengths of requests that lie (CVE-2020-14364), data that
//! is no memory (CVE-2020-25723), rings of links alone (CVE-2014-5263's neighbours, CVE-2020-25084: a TD without end),
//! an event ring of no size or with its pointer elsewhere, contexts that point at registers, a slot for a port that is not
//! there, a doorbell of an endpoint that is not there, a device that goes in the middle.

use devices_core::rig::{FuzzRange, Random, fuzz, ms};
use devices_core::{Space, rig::scenario};

use super::*;

/// After what a hostile guest has done, a driver starts the controller anew.
fn still_works(rig: &mut Rig, ports: Ports) {
    let driver = run(rig, ports);
    let slot = driver.address(rig, 5, 3, 64);
    assert_eq!(driver.request(rig, slot, get(0x80, 8, 0, 1), &[]), Ok(vec![0]));
}

#[test]
fn circles_end() {
    scenario(|rig| {
        let (driver, port, slot) = tablet(rig);
        let link = u32::from(trb::LINK) << 10 | 1;
        // A link to itself on a transfer ring, then on the command ring.
        write_trb(rig, 0x7000, 0x7000, 0, link);
        let place = (slot, 3);
        driver.endpoint_command(rig, trb::STOP_ENDPOINT, place, 0);
        assert_eq!(driver.endpoint_command(rig, trb::SET_DEQUEUE, place, 0x7001), code::SUCCESS);
        point(&driver.ports, port, 1, 1, 1);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        assert_eq!(driver.all(rig).last().unwrap().code, code::TRB);
        assert_eq!(peek(rig, OUTPUT + 3 * CONTEXT) & 7, 4, "the endpoint is in error");
        // A TD that never ends: the ring is full of its parts.
        let normal = u32::from(trb::NORMAL) << 10 | control::CHAIN | 1;
        (0..8).for_each(|n| write_trb(rig, 0x7000 + 16 * n, DATA, 0x1_0000, normal));
        write_trb(rig, 0x7080, 0x7000, 0, link);
        assert_eq!(driver.endpoint_command(rig, trb::SET_DEQUEUE, place, 0x7001), code::SUCCESS);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        assert_eq!(driver.all(rig).last().unwrap().code, code::TRB);
        // No-ops in a circle, and commands: each call has its bound, and a timer goes on.
        let no_op = u32::from(trb::NO_OP) << 10 | 1;
        (0..8).for_each(|n| write_trb(rig, 0x7000 + 16 * n, 0, 0, no_op));
        assert_eq!(driver.endpoint_command(rig, trb::SET_DEQUEUE, place, 0x7001), code::SUCCESS);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        assert!(rig.next_deadline().is_some());
        rig.advance(ms(1));
        put(rig, op(0), 0);
        assert_eq!(rig.next_deadline(), None);
        write_trb(rig, 0x7000, 0x7000, 0, link);
        put(rig, op(0x18), 0x7001);
        put(rig, op(0x1c), 0);
        put(rig, op(0), 1);
        put(rig, DOORBELLS, 0);
        assert_eq!(word(rig, op(4)) & 0x1001, 0x1001, "an error of the controller");
        still_works(rig, driver.ports);
    });
}

#[test]
fn what_is_no_memory_is_an_error() {
    scenario(|rig| {
        let (driver, port, slot) = tablet(rig);
        let bits = u32::from(trb::NORMAL) << 10 | control::INTERRUPT;
        for (nowhere, x) in [(BAR, 1), (0xffff_ffff_ffff_fffc, 2), (0x1f_fffc, 3)] {
            point(&driver.ports, port, x, 1, 0);
            let at = driver.interrupt.put(rig, nowhere, 8, bits);
            put(rig, DOORBELLS + 4 * u64::from(slot), 3);
            let seen = driver.of(rig, at).unwrap();
            assert_eq!(seen.code, code::DATA_BUFFER, "{nowhere:#x}");
            assert_eq!(driver.endpoint_command(rig, trb::RESET_ENDPOINT, (slot, 3), 0), code::SUCCESS);
            let to = INTERRUPT + driver.interrupt.at.get() * 16 | 1;
            assert_eq!(driver.endpoint_command(rig, trb::SET_DEQUEUE, (slot, 3), to), code::SUCCESS);
        }
        let inputs = [BAR, 0x000f_ffff_ffff_fff0, 0xffff_ffff_ffff_fff0];
        for input in inputs {
            let code = driver.slot_command(rig, trb::CONFIGURE_ENDPOINT, slot, input);
            assert_eq!(code, code::PARAMETER, "{input:#x}");
        }
        // Contexts of the output at registers.
        let (_, other) = driver.command(rig, trb::ENABLE_SLOT, 0, 0);
        plug(&driver.ports, Kind::Mouse);
        put(rig, portsc(6), 0x210);
        poke(rig, DCBAA + 8 * u64::from(other), &[BAR as u32, 0]);
        poke(rig, INPUT, &[0, 3]);
        poke(rig, INPUT + CONTEXT, &[1 << 27, 6 << 16]);
        poke(rig, INPUT + 2 * CONTEXT, &[0, 4 << 3]);
        assert_eq!(driver.slot_command(rig, trb::ADDRESS_DEVICE, other, INPUT), code::PARAMETER);
        // An event ring that is none.
        for (at, size) in [(BAR, 64u32), (EVENTS, 8), (EVENTS, 0xffff)] {
            poke(rig, TABLE, &[at as u32, 0, size, 0]);
            put(rig, INTERRUPTERS + 0x10, TABLE as u32);
            put(rig, INTERRUPTERS + 0x14, 0);
            put(rig, DOORBELLS, 0);
        }
        still_works(rig, driver.ports);
    });
}

#[test]
fn lengths_of_requests_lie() {
    scenario(|rig| {
        let (driver, _, slot) = tablet(rig);
        let report = |length| Setup { kind: 0x21, request: 9, value: 0x200, index: 0, length };
        assert!(driver.request(rig, slot, report(4097), &[1; 8]).is_err());
        driver.recover(rig, slot);
        // More is sent than was announced.
        let kind = |kind: u8| u32::from(kind) << 10;
        let setup = u64::from_le_bytes(report(4).bytes());
        driver.control.put(rig, setup, 8, kind(trb::SETUP) | control::IMMEDIATE | 2 << 16);
        let data = driver.control.put(rig, DATA, 0x1_0000, kind(trb::DATA));
        driver.control.put(rig, 0, 0, kind(trb::STATUS) | control::IN | control::INTERRUPT);
        put(rig, DOORBELLS + 4 * u64::from(slot), 1);
        assert_eq!(driver.of(rig, data).unwrap().code, code::STALL);
        driver.recover(rig, slot);
        // A setup stage of another length, or with its data elsewhere; stages on the wrong endpoint.
        for (len, bits) in [(7, control::IMMEDIATE), (8, 0)] {
            driver.control.put(rig, setup, len, kind(trb::SETUP) | bits);
            put(rig, DOORBELLS + 4 * u64::from(slot), 1);
            assert_eq!(driver.all(rig).last().unwrap().code, code::TRB);
            let to =
                driver.control.base + driver.control.at.get() * 16 | u64::from(driver.control.cycle.get());
            assert_eq!(driver.endpoint_command(rig, trb::SET_DEQUEUE, (slot, 1), to), code::SUCCESS);
        }
        driver.interrupt.put(rig, setup, 8, kind(trb::SETUP) | control::IMMEDIATE);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        assert_eq!(driver.all(rig).last().unwrap().code, code::TRB);
        // Doorbells of what is not there.
        for (slot, endpoint) in [(slot, 0), (slot, 31), (slot, 255), (60, 1)] {
            put(rig, DOORBELLS + 4 * u64::from(slot), endpoint);
        }
        assert_eq!(driver.request(rig, slot, get(0x80, 8, 0, 1), &[]), Ok(vec![1]));
        still_works(rig, driver.ports);
    });
}

/// Noise in contexts and on rings, with two devices to talk to.
#[test]
fn rings_of_noise() {
    let mut rig = Rig::new();
    let (driver, port, slot) = tablet(&mut rig);
    plug(&driver.ports, Kind::Keyboard);
    let mut random = Random::new(5);
    for round in 0..4000u32 {
        for n in 0..RING {
            let kind = random.below(26) as u32;
            let parameter = match random.below(4) {
                0 => random.draw(),
                1 => INPUT,
                2 => COMMANDS + random.below(RING) * 16,
                _ => DATA + random.below(0x1000),
            };
            let slot = u32::from(slot) + random.below(2) as u32;
            let bits = kind << 10 | random.below(0x400) as u32 | slot << 24 | (random.below(5) as u32) << 16;
            write_trb(&rig, COMMANDS + n * 16, parameter, random.below(0x2_0000) as u32, bits);
        }
        let words: Vec<u32> = (0..64).map(|_| random.draw() as u32 & random.draw() as u32).collect();
        poke(&rig, INPUT, &words);
        if round % 3 == 0 {
            poke(&rig, INPUT, &[0, 1 + random.below(4) as u32 * 2]);
        }
        put(&mut rig, DOORBELLS, 0);
        put(&mut rig, DOORBELLS + 4 * random.below(4), random.below(5) as u32);
        point(&driver.ports, port, round as u16, 5, round as u8);
        rig.advance(random.below(100_000));
        match round % 16 {
            0 => rig.save_load(),
            1 => put(&mut rig, INTERRUPTERS + 0x18, (EVENTS + random.below(RING) * 16) as u32 | 8),
            2 => put(&mut rig, op(0), 5),
            3 => put(&mut rig, op(0x18), (COMMANDS + random.below(4) * 64) as u32 | 1),
            4 => put(&mut rig, portsc(5), 0x210),
            _ => {}
        }
        if word(&mut rig, op(4)) & 0x1000 != 0 {
            put(&mut rig, op(0), 2);
            put(&mut rig, op(0x38), 8);
            put(&mut rig, op(0x30), DCBAA as u32);
            put(&mut rig, op(0x18), COMMANDS as u32 | 1);
            put(&mut rig, INTERRUPTERS + 8, 1);
            put(&mut rig, INTERRUPTERS + 0x18, EVENTS as u32);
            poke(&rig, TABLE, &[EVENTS as u32, 0, RING as u32, 0]);
            put(&mut rig, INTERRUPTERS + 0x10, TABLE as u32);
            put(&mut rig, INTERRUPTERS + 0x14, 0);
            put(&mut rig, op(0), 5);
        }
    }
    still_works(&mut rig, driver.ports);
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        let (driver, _, slot) = tablet(&mut rig);
        plug(&driver.ports, Kind::Keyboard);
        driver.ask(&mut rig, slot);
        (rig, driver)
    };
    let places = [
        FuzzRange::Memory(BAR + OPERATIONAL, 0x40),
        FuzzRange::Memory(BAR + PORTS, 0x80),
        FuzzRange::Memory(BAR + INTERRUPTERS, 0x40),
        FuzzRange::Memory(BAR + DOORBELLS, 0x10),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(build, 7, &places, |(rig, driver), what| match what {
        0..4 => {
            rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
            rig.config_write(SLOT, 0, 0x04, Size::B2, 6);
            put(rig, op(0), 5);
        }
        4..12 => point(&driver.ports, 1, what as u16, 3, what as u8),
        12..16 => {
            let key = crate::input::keys::Key::all().nth(what as usize * 3).unwrap();
            driver.ports.with(2, &mut |device| device.input().unwrap().key(key, what % 2 == 0));
        }
        16..20 => {
            driver.ask(rig, 1);
        }
        20..24 => {
            let kind = [trb::NO_OP_COMMAND, trb::STOP_ENDPOINT, trb::ENABLE_SLOT, trb::RESET_DEVICE];
            let bits = u32::from(kind[what as usize - 20]) << 10 | 1 << 24 | 3 << 16;
            driver.commands.put(rig, 0, 0, bits);
            put(rig, DOORBELLS, 0);
        }
        24..28 => put(rig, portsc(5), 0x210),
        _ => {}
    });
}

#[test]
fn battered() {
    let mut rig = Rig::new();
    tablet(&mut rig);
    rig.batter(&[(Space::Mmio, BAR, 0x4000)], 1, 20_000);
}
