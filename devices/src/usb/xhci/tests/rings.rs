//! Registers, rings and states that drivers seldom see.

use devices_core::rig::{ms, scenario};

use super::*;

#[test]
fn registers_are_qemus() {
    scenario(|rig| {
        attach(rig);
        let all = [
            (0x00, 0x0100_0040),
            (0x04, 0x0800_1040),
            (0x08, 0xf),
            (0x0c, 0),
            (0x10, 0x0008_0001),
            (0x14, 0x2000),
            (0x18, 0x1000),
            (0x20, 0x0200_0402),
            (0x24, 0x2042_5355),
            (0x28, 0x405),
            (0x30, 0x0300_0002),
            (0x34, 0x2042_5355),
            (0x38, 0x401),
            (0x40, 0),
            (0x44, 1),
            (0x48, 1),
            (0x440, 0x2a0),
            (0x1024, 4000),
        ];
        for (at, expected) in all {
            assert_eq!(word(rig, at), expected, "{at:#x}");
        }
        assert_eq!(rig.mmio_read(BAR + 2, Size::B2), 0x100);
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x000d_1b36);
        assert_eq!(rig.config_read(SLOT, 0, 8, Size::B4), 0x0c03_3001);
        assert_eq!(rig.config_read(SLOT, 0, 0x60, Size::B1), 0x30);
        // MFINDEX counts while it runs.
        assert_eq!(word(rig, 0x1000), 0);
        put(rig, op(0), 1);
        rig.advance(ms(10));
        assert_eq!(word(rig, 0x1000), 80);
    });
}

#[test]
fn commands_have_their_states() {
    scenario(|rig| {
        let (driver, _, slot) = tablet(rig);
        let none = driver.slot_command(rig, trb::DISABLE_SLOT, 9, 0);
        assert_eq!(none, code::SLOT);
        assert_eq!(driver.endpoint_command(rig, trb::STOP_ENDPOINT, (slot, 4), 0), code::ENDPOINT);
        assert_eq!(driver.endpoint_command(rig, trb::STOP_ENDPOINT, (slot, 0), 0), code::TRB);
        assert_eq!(driver.endpoint_command(rig, trb::RESET_ENDPOINT, (slot, 3), 0), code::CONTEXT_STATE);
        assert_eq!(driver.endpoint_command(rig, trb::SET_DEQUEUE, (slot, 3), 0), code::CONTEXT_STATE);
        assert_eq!(driver.endpoint_command(rig, trb::STOP_ENDPOINT, (slot, 3), 0), code::SUCCESS);
        assert_eq!(driver.endpoint_command(rig, trb::STOP_ENDPOINT, (slot, 3), 0), code::CONTEXT_STATE);
        assert_eq!(driver.slot_command(rig, trb::ADDRESS_DEVICE, slot, INPUT), code::CONTEXT_STATE);
        assert_eq!(driver.command(rig, trb::NO_OP_COMMAND, 0, 0).0, code::SUCCESS);
        assert_eq!(driver.command(rig, trb::NEC_FIRMWARE, 0, 0).0, code::TRB);
        assert_eq!(driver.command(rig, 0, 0, 0).0, code::TRB);
        // CONFIG allows eight slots.
        let codes: Vec<u8> = (0..8).map(|_| driver.command(rig, trb::ENABLE_SLOT, 0, 0).0).collect();
        assert_eq!(codes, [1, 1, 1, 1, 1, 1, 1, code::NO_SLOTS]);
        // A second slot for the same port, or for one that is not there.
        poke(rig, INPUT, &[0, 3]);
        for (port, expected) in [(5, code::TRB), (6, code::TRANSACTION), (99, code::TRANSACTION)] {
            poke(rig, INPUT + CONTEXT, &[1 << 27, port << 16]);
            assert_eq!(driver.slot_command(rig, trb::ADDRESS_DEVICE, slot + 1, INPUT), expected, "{port}");
        }
    });
}

#[test]
fn the_command_ring_stops() {
    scenario(|rig| {
        let (driver, ..) = tablet(rig);
        assert_eq!(word(rig, op(0x18)), 8, "running");
        put(rig, op(0x18), 2);
        put(rig, op(0x1c), 0);
        let seen = driver.all(rig);
        assert_eq!(seen.last().unwrap().code, code::RING_STOPPED);
        assert_eq!(word(rig, op(0x18)), 0);
        assert_eq!(driver.command(rig, trb::NO_OP_COMMAND, 0, 0).0, code::SUCCESS, "it goes on where it was");
    });
}

#[test]
fn a_full_event_ring_loses_nothing() {
    scenario(|rig| {
        let (driver, ..) = tablet(rig);
        driver.all(rig);
        // Ten times as many commands as there is room for events, while nobody reads.
        let no_op = u32::from(trb::NO_OP_COMMAND) << 10;
        let mut places = Vec::new();
        let mut seen = Vec::new();
        for round in 0..20 {
            for _ in 0..32 {
                places.push(driver.commands.put(rig, 0, 0, no_op));
            }
            put(rig, DOORBELLS, 0);
            rig.advance(ms(1));
            if round % 2 == 1 {
                seen.extend(driver.all(rig));
                rig.advance(ms(1));
                seen.extend(driver.all(rig));
            }
        }
        let told: Vec<u64> = seen.iter().map(|seen| seen.parameter).collect();
        assert_eq!(told, places);
    });
}

#[test]
fn a_td_of_parts_is_one() {
    scenario(|rig| {
        let (driver, port, slot) = tablet(rig);
        let normal = u32::from(trb::NORMAL) << 10;
        let chain = normal | control::CHAIN | control::SHORT;
        // It is not all there: nothing happens.
        let first = driver.interrupt.put(rig, DATA + 0x800, 4, chain);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        point(&driver.ports, port, 0x1122, 0x3344, 2);
        assert_eq!(driver.all(rig), []);
        let second = driver.interrupt.put(rig, DATA + 0x900, 4, normal | control::INTERRUPT | control::SHORT);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        let seen = driver.all(rig);
        assert_eq!(seen.len(), 1);
        assert_eq!((seen[0].parameter, seen[0].code, seen[0].length), (second, code::SHORT, 2));
        assert_ne!(first, second);
        let report = [rig.peek(DATA + 0x800, 4), rig.peek(DATA + 0x900, 2)].concat();
        assert_eq!(report, [2, 0x22, 0x11, 0x44, 0x33, 0]);
        // A TD of nothing, and an event with no data before it.
        let no_op = driver.interrupt.put(rig, 0, 0, u32::from(trb::NO_OP) << 10 | control::INTERRUPT);
        driver.interrupt.put(rig, 77, 0, u32::from(trb::EVENT_DATA) << 10 | control::INTERRUPT);
        put(rig, DOORBELLS + 4 * u64::from(slot), 3);
        let seen: Vec<(u64, u8)> = driver.all(rig).iter().map(|seen| (seen.parameter, seen.code)).collect();
        assert_eq!(seen, [(no_op, 1), (77, 1)]);
    });
}
