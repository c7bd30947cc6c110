use devices_core::Space;
use devices_core::rig::{Rig, ms, scenario};

use super::*;
use crate::timer::rtc::firmware::{Boot, CmosInfo};

/// Saturday, 29 February 2020.
const DAY: i64 = 1_583_020_790;

fn attach(rig: &mut Rig) -> std::sync::Arc<devices_core::DeviceCell<Cmos>> {
    let wiring = rig.wiring();
    rig.attach(Cmos::new(DAY), &wiring)
}

fn get(rig: &mut Rig, index: u8) -> u8 {
    rig.outb(0x70, index);
    rig.inb(0x71)
}

fn put(rig: &mut Rig, index: u8, value: u8) {
    rig.outb(0x70, index);
    rig.outb(0x71, value);
}

#[test]
fn only_the_ram_answers() {
    scenario(|rig| {
        attach(rig);
        for index in 0..=0x0d {
            put(rig, index, 0x55);
            assert_eq!(get(rig, index), 0xff, "{index:#x} is the clock's");
        }
        for index in 0x0e..=0x7f {
            put(rig, index, index ^ 0xa5);
        }
        for index in (0x0e..=0x7f).filter(|&index| index != 0x32) {
            assert_eq!(get(rig, index | 0x80), index ^ 0xa5, "bit 7 masks NMI");
        }
        assert_eq!(get(rig, 0x32), 0x37 ^ 0xa5, "0x37 is the same register");
        assert_eq!(rig.inb(0x70), 0xff);
        // Nothing goes on by itself.
        rig.advance(ms(5000));
        assert!(rig.take_edges().is_empty());
        rig.reset();
        assert_eq!(get(rig, 0x40), 0x40 ^ 0xa5, "a battery keeps it");
    });
}

#[test]
fn firmware_finds_its_keys() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig);
    let info = CmosInfo {
        below_4g: 512 << 20,
        vcpus: 2,
        boot: [Boot::Cd, Boot::Disk, Boot::None],
        ..CmosInfo::default()
    };
    info.bytes().into_iter().for_each(|(index, value)| slot.lock().set(index, value));
    assert_eq!((get(&mut rig, 0x3d), get(&mut rig, 0x5f)), (0x23, 1));
    assert_eq!((get(&mut rig, 0x34), get(&mut rig, 0x35)), (0, 0x1f));
    assert_eq!(get(&mut rig, 0x32), 0x20);
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    attach(&mut rig);
    rig.batter(&[(Space::Pio, 0x70, 2)], 4, 50_000);
}
