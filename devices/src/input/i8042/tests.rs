use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use devices_core::power::PowerEvent;
use devices_core::rig::{Random, Rig, scenario};
use devices_core::{DeviceCell, Space};

use super::{I8042, Wires};
use crate::input::keys::Key;

fn attach(rig: &mut Rig) -> Arc<DeviceCell<I8042>> {
    attach_with(rig, Arc::new(|_| {}))
}

fn attach_with(rig: &mut Rig, a20: super::A20) -> Arc<DeviceCell<I8042>> {
    let (keyboard, mouse) = (rig.irqs().line(1), rig.irqs().line(12));
    let device = I8042::new(Wires { keyboard, mouse, a20, power: rig.recorder() });
    let wiring = rig.wiring();
    rig.attach(device, &wiring)
}

/// All that waits at the data port.
fn drain(rig: &mut Rig) -> Vec<u8> {
    let mut bytes = Vec::new();
    while rig.inb(0x64) & 1 != 0 {
        bytes.push(rig.inb(0x60));
        assert!(bytes.len() < 100, "it ends");
    }
    bytes
}

fn press(slot: &DeviceCell<I8042>, name: &str, down: bool) {
    slot.lock().key(Key::by_name(name).unwrap(), down);
}

/// A command to the controller, with its parameter.
fn command(rig: &mut Rig, command: u8, parameter: u8) {
    rig.outb(0x64, command);
    rig.outb(0x60, parameter);
}

fn keyboard(rig: &mut Rig, bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|&byte| {
            rig.outb(0x60, byte);
            drain(rig)
        })
        .collect()
}

fn mouse(rig: &mut Rig, bytes: &[u8]) -> Vec<u8> {
    bytes
        .iter()
        .flat_map(|&byte| {
            command(rig, 0xd4, byte);
            drain(rig)
        })
        .collect()
}

#[test]
fn as_firmware_begins() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(rig.inb(0x64), 0x18);
        rig.outb(0x64, 0xaa);
        assert_eq!(rig.inb(0x64), 0x1d);
        assert_eq!(drain(rig), [0x55]);
        for (test, answer) in [(0xab, 0), (0xa9, 0), (0xc0, 0x80), (0xd0, 0xcf), (0x20, 0x03)] {
            rig.outb(0x64, test);
            assert_eq!(drain(rig), [answer], "{test:#x}");
        }
        command(rig, 0x60, 0x61);
        rig.outb(0x64, 0x20);
        assert_eq!(drain(rig), [0x61]);
        assert_eq!(keyboard(rig, &[0xff]), [0xfa, 0xaa]);
        assert_eq!(rig.inb(0x64), 0x14, "the last write was data");
        assert_eq!(rig.inb(0x60), 0xaa, "the port shows the last byte");
    });
}

#[test]
fn keys_come_in_each_scan_code_set() {
    for (set, expect) in [
        (1u8, vec![0x1e, 0x9e, 0xe0, 0x48, 0xe0, 0xc8, 0x41]),
        (2, vec![0x1c, 0xf0, 0x1c, 0xe0, 0x75, 0xe0, 0xf0, 0x75, 0x83]),
        (3, vec![0x1c, 0xf0, 0x1c, 0x63, 0xf0, 0x63, 0x37]),
    ] {
        scenario(|rig| {
            let slot = attach(rig);
            assert_eq!(keyboard(rig, &[0xf0, set, 0xf0, 0]), [0xfa, 0xfa, 0xfa, 0xfa, set]);
            let mut bytes = Vec::new();
            for (name, down) in [("a", true), ("a", false), ("up", true), ("up", false), ("f7", true)] {
                press(&slot, name, down);
                bytes.extend(drain(rig));
            }
            assert_eq!(bytes, expect);
        });
    }
}

#[test]
fn the_controller_translates_to_set_1() {
    scenario(|rig| {
        let slot = attach(rig);
        command(rig, 0x60, 0x43);
        for (name, down, expect) in [
            ("a", true, &[0x1e][..]),
            ("a", false, &[0x9e]),
            ("delete", true, &[0xe0, 0x53]),
            ("delete", false, &[0xe0, 0xd3]),
            ("pause", true, &[0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]),
            ("pause", false, &[]),
            ("print", true, &[0xe0, 0x2a, 0xe0, 0x37]),
            ("print", false, &[0xe0, 0xb7, 0xe0, 0xaa]),
            ("alt", true, &[0x38]),
            ("print", true, &[0x54]),
            ("print", false, &[0xd4]),
            ("alt", false, &[0xb8]),
            ("ctrl", true, &[0x1d]),
            ("pause", true, &[0xe0, 0x46, 0xe0, 0xc6]),
            ("less", true, &[0x56]),
            ("f11", true, &[0x57]),
            ("f12", true, &[0x58]),
        ] {
            press(&slot, name, down);
            assert_eq!(drain(rig), expect, "{name} {down}");
        }
        assert_eq!(keyboard(rig, &[0xf2]), [0xfa, 0xab, 0x41], "answers are translated, too");
    });
}

#[test]
fn no_two_keys_send_the_same() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig);
    let mut seen = std::collections::HashMap::new();
    for key in Key::all() {
        slot.lock().key(key, true);
        let made = drain(&mut rig);
        assert!(!made.is_empty(), "{}", key.name());
        slot.lock().key(key, false);
        drain(&mut rig);
        if let Some(other) = seen.insert(made, key.name()) {
            assert!(
                ["compose", "menu", "kp_multiply", "asterisk", "audiomute"].contains(&key.name()),
                "{other}"
            );
        }
    }
    assert!(Key::by_name("no_such_key").is_none());
}

#[test]
fn each_byte_is_an_edge_of_its_line() {
    scenario(|rig| {
        let slot = attach(rig);
        press(&slot, "right", true);
        assert!(rig.irq(1) && !rig.irq(12));
        rig.take_edges();
        assert_eq!(rig.inb(0x60), 0xe0);
        assert_eq!(rig.take_edges(), [(1, false), (1, true)]);
        assert_eq!(rig.inb(0x60), 0x74);
        assert!(!rig.irq(1));
        command(rig, 0x60, 0x02);
        press(&slot, "right", false);
        assert!(!rig.irq(1), "disabled");
        assert_eq!(rig.inb(0x64) & 1, 1);
        command(rig, 0x60, 0x03);
        assert!(rig.irq(1));
    });
}

#[test]
fn a_stopped_keyboard_keeps_its_keys() {
    scenario(|rig| {
        let slot = attach(rig);
        rig.outb(0x64, 0xad);
        press(&slot, "a", true);
        assert_eq!(rig.inb(0x64) & 1, 0);
        rig.outb(0x64, 0x20);
        assert_eq!(drain(rig), [0x13], "the controller itself answers");
        rig.outb(0x64, 0xae);
        assert_eq!(drain(rig), [0x1c]);
    });
}

#[test]
fn the_keyboard_queue_is_bounded_and_drops_whole_keys() {
    scenario(|rig| {
        let slot = attach(rig);
        rig.outb(0x64, 0xad);
        for _ in 0..20 {
            press(&slot, "left", false);
        }
        rig.outb(0x64, 0xae);
        let bytes = drain(rig);
        assert_eq!(bytes, [0xe0, 0xf0, 0x6b].repeat(5));
    });
}

#[test]
fn keyboard_commands() {
    scenario(|rig| {
        let slot = attach(rig);
        assert_eq!(keyboard(rig, &[0xee]), [0xee]);
        assert_eq!(keyboard(rig, &[0xf2]), [0xfa, 0xab, 0x83]);
        assert_eq!(keyboard(rig, &[0xed, 0x05]), [0xfa, 0xfa]);
        assert_eq!(slot.lock().leds(), 5);
        assert_eq!(keyboard(rig, &[0xf3, 0x7f]), [0xfa, 0xfa]);
        assert_eq!(keyboard(rig, &[0xed, 0xee]), [0xfa, 0xee], "a command instead of the parameter");
        assert_eq!(keyboard(rig, &[0xfe]), [0xee], "once more");
        assert_eq!(keyboard(rig, &[0x12]), [0xfe]);
        assert_eq!(keyboard(rig, &[0xfb, 0x1c, 0x1b, 0xf8]), [0xfa; 4]);
        assert_eq!(keyboard(rig, &[0xf0, 9]), [0xfa, 0xfe]);
        assert_eq!(keyboard(rig, &[0xf5]), [0xfa]);
        press(&slot, "a", true);
        assert!(drain(rig).is_empty());
        assert_eq!(keyboard(rig, &[0xf4]), [0xfa]);
        press(&slot, "a", true);
        assert_eq!(drain(rig), [0x1c]);
        assert_eq!(keyboard(rig, &[0xf6]), [0xfa]);
    });
}

#[test]
fn echo_commands_fill_the_data_port() {
    scenario(|rig| {
        attach(rig);
        command(rig, 0xd2, 0x5a);
        assert!(rig.irq(1));
        assert_eq!(drain(rig), [0x5a]);
        command(rig, 0xd3, 0xa5);
        assert!(rig.irq(12) && !rig.irq(1));
        assert_eq!(rig.inb(0x64) & 0x21, 0x21);
        rig.outb(0x64, 0xd0);
        assert_eq!(drain(rig), [0xa5, 0xef]);
    });
}

#[test]
fn output_port_drives_a20_and_reset() {
    let a20 = Arc::new(AtomicU32::new(9));
    let mut rig = Rig::new();
    let seen = a20.clone();
    attach_with(&mut rig, Arc::new(move |level| seen.store(level.into(), Ordering::Relaxed)));
    let a20 = || a20.load(Ordering::Relaxed);
    assert_eq!(a20(), 1, "open from power-on");
    rig.outb(0x64, 0xd0);
    assert_eq!(rig.inb(0x60), 0xcf, "lines of both ports are idle");
    command(&mut rig, 0xd1, 0x01);
    assert_eq!(a20(), 0);
    rig.save_load();
    assert_eq!(a20(), 0);
    rig.outb(0x64, 0xdf);
    assert_eq!(a20(), 1);
    rig.outb(0x64, 0xdd);
    assert_eq!(a20(), 0);
    rig.outb(0x64, 0xff);
    assert!(rig.take_power().is_empty());
    rig.outb(0x64, 0xfe);
    assert_eq!(rig.take_power(), [PowerEvent::Reset]);
    command(&mut rig, 0xd1, 0x02);
    assert_eq!(rig.take_power(), [PowerEvent::Reset]);
    rig.reset();
    assert_eq!(a20(), 1);
}

#[test]
fn the_mouse_identifies_itself_and_streams() {
    scenario(|rig| {
        let slot = attach(rig);
        assert_eq!(mouse(rig, &[0xff]), [0xfa, 0xaa, 0x00]);
        slot.lock().mouse(5, 5, 0, 0);
        assert!(drain(rig).is_empty(), "not enabled");
        assert_eq!(mouse(rig, &[0xf2, 0xf4]), [0xfa, 0, 0xfa]);
        slot.lock().mouse(5, -3, 7, 1);
        assert!(rig.irq(12) && !rig.irq(1));
        assert_eq!(rig.inb(0x64) & 0x21, 0x21);
        assert_eq!(drain(rig), [0x09, 5, 3]);
        slot.lock().mouse(-5, 3, 0, 6);
        assert_eq!(drain(rig), [0x3e, 0xfb, 0xfd]);
        slot.lock().mouse(0, 0, 0, 6);
        assert!(drain(rig).is_empty(), "nothing new");
        slot.lock().mouse(300, 0, 0, 0);
        assert_eq!(drain(rig), [0x08, 127, 0, 0x08, 127, 0, 0x08, 46, 0]);
        assert_eq!(mouse(rig, &[0xe9]), [0xfa, 0x20, 2, 100]);
    });
}

#[test]
fn knocks_unlock_wheel_and_buttons() {
    scenario(|rig| {
        let slot = attach(rig);
        mouse(rig, &[0xf3, 200, 0xf3, 100, 0xf3, 80, 0xf4]);
        assert_eq!(mouse(rig, &[0xf2]), [0xfa, 3]);
        slot.lock().mouse(1, 0, -2, 0);
        assert_eq!(drain(rig), [0x08, 1, 0, 0xfe]);
        mouse(rig, &[0xf3, 200, 0xf3, 200, 0xf3, 80]);
        assert_eq!(mouse(rig, &[0xf2]), [0xfa, 4]);
        slot.lock().mouse(0, 0, -1, 0x1a);
        assert_eq!(drain(rig), [0x0a, 0, 0, 0x3f]);
        mouse(rig, &[0xff]);
        assert_eq!(mouse(rig, &[0xf2]), [0xfa, 0]);
    });
}

#[test]
fn remote_wrap_and_scaling() {
    scenario(|rig| {
        let slot = attach(rig);
        mouse(rig, &[0xf0, 0xe8, 3, 0xe7]);
        slot.lock().mouse(2, 0, 0, 4);
        assert!(drain(rig).is_empty());
        assert_eq!(mouse(rig, &[0xeb]), [0xfa, 0x0c, 2, 0], "polled packets are not scaled");
        assert_eq!(mouse(rig, &[0xe9]), [0xfa, 0x52, 3, 100]);
        mouse(rig, &[0xea, 0xf4]);
        slot.lock().mouse(4, 20, 0, 0);
        assert_eq!(drain(rig), [0x28, 6, 0xd8]);
        assert_eq!(mouse(rig, &[0xee, 0xf4, 0x12, 0xec]), [0xfa, 0xf4, 0x12, 0xfa]);
        assert_eq!(mouse(rig, &[0xe6, 0x77]), [0xfa, 0xfe]);
        assert_eq!(mouse(rig, &[0xf5]), [0xfa]);
    });
}

#[test]
fn the_mouse_queue_is_bounded_and_loses_no_movement() {
    scenario(|rig| {
        let slot = attach(rig);
        mouse(rig, &[0xf4]);
        rig.outb(0x64, 0xa7);
        for _ in 0..100 {
            slot.lock().mouse(10, 0, 0, 0);
        }
        rig.outb(0x64, 0xa8);
        let mut sum = 0;
        for packet in drain(rig).chunks(3) {
            sum += u32::from(packet[1]);
        }
        assert_eq!(sum, 1000);
    });
}

#[test]
fn keyboard_goes_before_mouse() {
    scenario(|rig| {
        let slot = attach(rig);
        mouse(rig, &[0xf4]);
        rig.outb(0x64, 0xad);
        rig.outb(0x64, 0xa7);
        slot.lock().mouse(1, 0, 0, 0);
        press(&slot, "a", true);
        command(rig, 0x60, 0x03);
        assert_eq!(drain(rig), [0x1c, 0x08, 1, 0]);
    });
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig);
    let mut random = Random::new(9);
    let keys: Vec<Key> = Key::all().collect();
    for seed in 0..1000 {
        rig.batter(&[(Space::Pio, 0x60, 1), (Space::Pio, 0x64, 1)], seed, 100);
        for _ in 0..10 {
            slot.lock().key(keys[random.below(keys.len() as u64) as usize], random.below(2) == 0);
            let [x, y, z] = [(); 3].map(|()| random.draw() as i32);
            slot.lock().mouse(x, y, z, random.draw() as u8);
        }
    }
}
