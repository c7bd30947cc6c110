use devices_core::Size;
use devices_core::rig::{Rig, scenario};

use super::modes::{self, graphics, sequencer, set};
use super::*;

const AT: u64 = 0xa_1234;

/// The four planes' bytes at [`AT`], read in read mode 0.
fn planes(rig: &mut Rig) -> [u64; 4] {
    [0, 1, 2, 3].map(|plane| {
        graphics(rig, 4, plane);
        rig.mmio_read(AT, Size::B1)
    })
}

fn write(rig: &mut Rig, value: u64) {
    rig.mmio_write(AT, Size::B1, value);
}

/// Mode 12h with known bytes in the planes at [`AT`].
fn prepared(rig: &mut Rig) {
    attach(rig);
    set(rig, &modes::PLANAR);
    for (plane, value) in [0x11, 0x22, 0x44, 0x88].into_iter().enumerate() {
        sequencer(rig, 2, 1 << plane);
        write(rig, value);
    }
    sequencer(rig, 2, 0x0f);
    assert_eq!(planes(rig), [0x11, 0x22, 0x44, 0x88]);
}

#[test]
fn write_mode_0_rotates_sets_combines_and_masks() {
    scenario(|rig| {
        prepared(rig);
        graphics(rig, 8, 0x0f);
        write(rig, 0xff);
        assert_eq!(planes(rig), [0x1f, 0x2f, 0x4f, 0x8f]);
        graphics(rig, 8, 0xff);
        graphics(rig, 3, 0x04);
        write(rig, 0x3a);
        assert_eq!(planes(rig), [0xa3; 4]);
        // Set/reset: plane 0 ones, plane 1 zeros, 2 and 3 from the CPU.
        graphics(rig, 3, 0x00);
        graphics(rig, 0, 0x01);
        graphics(rig, 1, 0x03);
        write(rig, 0x5a);
        assert_eq!(planes(rig), [0xff, 0x00, 0x5a, 0x5a]);
        graphics(rig, 1, 0x00);
        for (operation, expected) in [(0x08, [0x0f, 0, 0x0a, 0x0a]), (0x10, [0x0f, 0x0f, 0x0f, 0x0f])] {
            graphics(rig, 3, operation);
            write(rig, 0x0f);
            assert_eq!(planes(rig), expected);
        }
        graphics(rig, 3, 0x18);
        write(rig, 0xff);
        assert_eq!(planes(rig), [0xf0; 4]);
        // The map mask protects planes.
        sequencer(rig, 2, 0x05);
        graphics(rig, 3, 0);
        write(rig, 0);
        assert_eq!(planes(rig), [0, 0xf0, 0, 0xf0]);
    });
}

#[test]
fn write_mode_1_copies_the_latches() {
    scenario(|rig| {
        prepared(rig);
        rig.mmio_read(AT, Size::B1);
        graphics(rig, 5, 1);
        rig.mmio_write(AT + 1, Size::B1, 0);
        assert_eq!(rig.mmio_read(AT + 1, Size::B1), 0x88);
        graphics(rig, 4, 1);
        assert_eq!(rig.mmio_read(AT + 1, Size::B1), 0x22);
    });
}

#[test]
fn write_mode_2_writes_a_colour() {
    scenario(|rig| {
        prepared(rig);
        graphics(rig, 5, 2);
        graphics(rig, 8, 0xf0);
        write(rig, 0x09);
        assert_eq!(planes(rig), [0xf1, 0x02, 0x04, 0xf8]);
    });
}

#[test]
fn write_mode_3_writes_set_reset_where_the_cpu_says() {
    scenario(|rig| {
        prepared(rig);
        graphics(rig, 5, 3);
        graphics(rig, 0, 0x06);
        graphics(rig, 8, 0x3c);
        graphics(rig, 3, 1);
        write(rig, 0x1e);
        // Bits 0x0f & 0x3c = 0x0c.
        assert_eq!(planes(rig), [0x11, 0x2e, 0x4c, 0x80]);
    });
}

#[test]
fn read_mode_1_compares_colours() {
    scenario(|rig| {
        prepared(rig);
        graphics(rig, 5, 8);
        graphics(rig, 2, 0x01);
        assert_eq!(rig.mmio_read(AT, Size::B1), 0x11);
        graphics(rig, 2, 0x04);
        assert_eq!(rig.mmio_read(AT, Size::B1), 0x44);
        // Planes that do not count.
        graphics(rig, 2, 0x00);
        graphics(rig, 7, 0x03);
        assert_eq!(rig.mmio_read(AT, Size::B1), 0xcc);
        graphics(rig, 7, 0x00);
        assert_eq!(rig.mmio_read(AT, Size::B1), 0xff);
    });
}

#[test]
fn the_memory_map_moves_the_window() {
    scenario(|rig| {
        attach(rig);
        set(rig, &modes::TEXT);
        // Text: 32 KiB at 0xb8000; characters even, attributes odd.
        rig.mmio_write(0xb_8000, Size::B4, 0x4443_4241);
        assert_eq!(rig.mmio_read(0xb_8000, Size::B4), 0x4443_4241);
        for hole in [0xa_0000, 0xb_0000, 0xb_7fff] {
            assert_eq!(rig.mmio_read(hole, Size::B1), 0xff);
        }
        graphics(rig, 6, 0x0a);
        assert_eq!(rig.mmio_read(0xb_0000, Size::B4), 0x4443_4241);
        assert_eq!(rig.mmio_read(0xb_8000, Size::B4), 0xffff_ffff);
        graphics(rig, 6, 0x02);
        assert_eq!(rig.mmio_read(0xa_0000, Size::B4), 0x4443_4241);
        // The planes beneath: two cells.
        graphics(rig, 6, 0x04);
        graphics(rig, 5, 0);
        sequencer(rig, 4, 6);
        assert_eq!(rig.mmio_read(0xa_0000, Size::B2), 0x4341);
        graphics(rig, 4, 1);
        assert_eq!(rig.mmio_read(0xa_0000, Size::B2), 0x4442);
        assert_eq!(rig.mmio_read(0xb_0000, Size::B1), 0xff);
    });
}
