use devices_core::rig::{Rig, scenario};
use devices_core::{Size, Space};

use super::*;

const AT: u32 = 0xf100_0000;

fn attach(rig: &mut Rig) {
    let wiring = rig.wiring();
    rig.attach_pci(PvDevice::new(XENSERVER), &wiring, 5, 0);
}

#[test]
fn the_ids_are_what_drivers_look_for() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(rig.config_read(5, 0, 0, Size::B4), 0xc000_5853);
        assert_eq!(rig.config_read(5, 0, 8, Size::B4), 0x0880_0001);
        assert_eq!(rig.config_read(5, 0, 0x2c, Size::B4), 0xc000_5853);
        assert_eq!(rig.config_read(5, 0, 0x3d, Size::B1), 1);
        assert_eq!(rig.config_read(5, 0, 0x10, Size::B4), 0, "there is no BAR 0");
    });
}

#[test]
fn its_memory_is_ones_where_the_bar_says() {
    scenario(|rig| {
        attach(rig);
        rig.config_write(5, 0, 0x14, Size::B4, !0);
        assert_eq!(rig.config_read(5, 0, 0x14, Size::B4), 0xffc0_0008);
        rig.config_write(5, 0, 0x14, Size::B4, AT);
        rig.config_write(5, 0, 4, Size::B2, 2);
        let placed = rig.bus().slots()[0].1.lock().placements();
        assert_eq!(placed.iter().map(|p| p.address).collect::<Vec<_>>(), [u64::from(AT)]);
        rig.mmio_write(AT.into(), Size::B4, 0);
        assert_eq!(rig.mmio_read(AT.into(), Size::B4), 0xffff_ffff);
        assert!(rig.take_mappings().is_empty(), "it is no RAM");
        rig.reset();
        assert_eq!(rig.config_read(5, 0, 0x14, Size::B4), 8);
    });
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    attach(&mut rig);
    rig.config_write(5, 0, 0x14, Size::B4, AT);
    rig.config_write(5, 0, 4, Size::B2, 2);
    rig.batter(&[(Space::Mmio, AT.into(), 4 << 20), (Space::Pio, 0xcf8, 8)], 1, 20_000);
}
