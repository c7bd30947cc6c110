use devices_core::Space;
use devices_core::dma::Dma;
use devices_core::rig::{Rig, scenario};

use super::*;
use crate::chipset::dma8237::Dma8237;

#[test]
fn the_last_code_is_kept_and_ones_are_read() {
    scenario(|rig| {
        let wiring = rig.wiring();
        let slot = rig.attach(Post::default(), &wiring);
        // The DMA controller's page registers lie around it.
        let wiring = rig.wiring();
        rig.attach(Dma8237::new(Dma::always(rig.ram().clone())), &wiring);
        rig.outb(0x80, 0x31);
        rig.outb(0xf0, 0x77);
        assert_eq!((rig.inb(0x80), rig.inb(0xf0)), (0xff, 0xff));
        assert_eq!(slot.lock().code(), 0x31);
        rig.outb(0x81, 5);
        assert_eq!((rig.inb(0x81), slot.lock().code()), (5, 0x31));
        rig.reset();
        assert_eq!(slot.lock().code(), 0);
    });
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    rig.attach(Post::default(), &wiring);
    rig.batter(&[(Space::Pio, 0x7e, 4), (Space::Pio, 0xee, 4)], 2, 10_000);
}
