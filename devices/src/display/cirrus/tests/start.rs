//! How the chip's drivers begin.
//!
//! SeaBIOS's VGA BIOS (`clext.c`): is it a Cirrus? SR6 is written 0x92 and reads 0x12. Memory: SR0F. A mode: SR6 0x12, then
//! SR0, 1, 2, 3, 4, SR7 (0x11 for 8 bits, 0x17 for 15 and 16, 0x15 for 24), VCLK numerators SR0B-0E, the pointer off by SR12
//! and 13, SR17 0x20, VCLK denominators SR1B-1E; GR0-8 with GR5 0x40 and GR6 5, GR9-0B zero; CR11 unlocked, CR0-18, CR1A,
//! CR1B 0x22, CR1D; the pixel mask zero, four reads of it, the hidden DAC register (0, 0xe1, 0xf0, 0xe5), the mask 0xff;
//! attribute mode bit 0. Then it clears the memory through bank 0 in steps of 16 KiB (GR0B bit 5, GR9).
//!
//! Linux's `cirrus` DRM driver: everything through BAR 1, whose first bytes are ports 0x3c0 on: SEQ at 4, GFX at 0xe, CRT at
//! 0x14, the hidden DAC register at 6. It locks nothing, writes CR11 0x20 to unlock, CR0-18 of the mode, SR7 by depth (0x11,
//! 0x17, 0x15, 0x19), HDR (0, 0xc1, 0xc5, 0xc5), GR5 0x40, GR6 1 and CR13 with CR1B bit 4 the pitch, CR0C, 0D, 1B and 1D the
//! start.

use devices_core::Size;
use devices_core::rig::{Rig, scenario};
use vm_memory::{Bytes, MemoryRegionAddress};

use super::*;

/// 640x480 at 8 bits, as the BIOS sets it.
const SEQ_640X480: &[(u8, u8)] = &[
    (0, 3),
    (1, 0x21),
    (2, 0x0f),
    (3, 0),
    (4, 0x0e),
    (7, 0x11),
    (0x0b, 0x58),
    (0x0c, 0x58),
    (0x0d, 0x58),
    (0x0e, 0x58),
    (0x12, 4),
    (0x13, 0),
    (0x17, 0x20),
    (0x1b, 0x33),
    (0x1c, 0x33),
    (0x1d, 0x33),
    (0x1e, 0x33),
];
const GFX: &[(u8, u8)] = &[
    (0, 0),
    (1, 0),
    (2, 0),
    (3, 0),
    (4, 0),
    (5, 0x40),
    (6, 5),
    (7, 0x0f),
    (8, 0xff),
    (9, 0),
    (0x0a, 0),
    (0x0b, 0),
];
const CRTC_640X480: &[(u8, u8)] = &[
    (0x11, 0x2c),
    (0, 0x5f),
    (1, 0x4f),
    (2, 0x4f),
    (3, 0x80),
    (4, 0x52),
    (5, 0x1e),
    (6, 0x0b),
    (7, 0x3e),
    (9, 0x40),
    (0x0c, 0),
    (0x0d, 0),
    (0x10, 0xea),
    (0x12, 0xdf),
    (0x13, 0x50),
    (0x14, 0x40),
    (0x15, 0xdf),
    (0x16, 0x0b),
    (0x17, 0xc3),
    (0x18, 0xff),
    (0x1a, 0),
    (0x1b, 0x22),
    (0x1d, 0),
];

/// A mode of the BIOS's: 640x480 with other pixels.
pub fn bios_mode(rig: &mut Rig, mode: u8, hidden: u8, pitch: u8) {
    seq_write(rig, 6, 0x12);
    SEQ_640X480.iter().for_each(|&(index, value)| seq_write(rig, index, value));
    seq_write(rig, 7, mode);
    GFX.iter().for_each(|&(index, value)| gfx_write(rig, index, value));
    CRTC_640X480.iter().for_each(|&(index, value)| crtc_write(rig, index, value));
    crtc_write(rig, 0x13, pitch);
    rig.outb(0x3c6, 0);
    hidden_dac(rig, hidden);
    rig.outb(0x3c6, 0xff);
    display_on(rig);
}

#[test]
fn the_bios_finds_it_and_sets_modes() {
    scenario(|rig| {
        let (cirrus, block) = attach(rig);
        seq_write(rig, 6, 0x92);
        assert_eq!(indexed(rig, 0x3c4, 6), 0x12);
        let dram = indexed(rig, 0x3c4, 0x0f);
        assert_eq!((dram >> 3 & 3, dram & 0x80), (3, 0x80));
        bios_mode(rig, 0x11, 0, 0x50);
        rig.outb(0x3c8, 5);
        [63, 0, 21].iter().for_each(|&shade| rig.outb(0x3c9, shade));
        // Bank 4 of 16 KiB, byte 0x100.
        gfx_write(rig, 0x0b, 0x20);
        gfx_write(rig, 9, 4);
        rig.mmio_write(0xa_0100, Size::B1, 5);
        let at = 0x1_0100;
        let picture = cirrus.lock().screen();
        assert_eq!((picture.width(), picture.height()), (640, 480));
        assert_eq!(pixel(&picture, at % 640, at / 640), [255, 0, 85]);
        for (mode, hidden, pitch, bytes, shown) in [
            (0x17, 0xe1, 0xa0, &[0x1f, 0xf8][..], [255, 0, 255]),
            (0x17, 0xf0, 0xa0, &[0x1f, 0x7c], [255, 0, 255]),
            (0x15, 0xe5, 0xf0, &[1, 2, 3], [3, 2, 1]),
        ] {
            bios_mode(rig, mode, hidden, pitch);
            let start = usize::from(pitch) * 8 * 7 + bytes.len() * 9;
            block.write_slice(bytes, MemoryRegionAddress(start as u64)).unwrap();
            assert_eq!(pixel(&cirrus.lock().screen(), 9, 7), shown, "{mode:#x} {hidden:#x}");
        }
        // Back to text: SR7 0 and the VGA's own registers.
        seq_write(rig, 7, 0);
        gfx_write(rig, 6, 0x0e);
        assert!(cirrus.lock().text().is_some());
    });
}

#[test]
fn linux_drm_uses_bar_1_alone() {
    scenario(|rig| {
        let (cirrus, block) = attach(rig);
        let write = |rig: &mut Rig, port: u64, index: u8, value: u8| {
            rig.mmio_write(BAR1 + port, Size::B1, index.into());
            rig.mmio_write(BAR1 + port + 1, Size::B1, value.into());
        };
        write(rig, 0x14, 0x11, 0x20);
        CRTC_640X480.iter().skip(1).for_each(|&(index, value)| write(rig, 0x14, index, value));
        write(rig, 4, 1, 1);
        write(rig, 4, 7, 0x19);
        for _ in 0..4 {
            rig.mmio_read(BAR1 + 6, Size::B1);
        }
        rig.mmio_write(BAR1 + 6, Size::B1, 0xc5);
        write(rig, 0x0e, 5, 0x40);
        write(rig, 0x0e, 6, 1);
        // 2560 bytes a line: 320 in units of 8, bit 8 in CR1B; the picture begins at 1 MiB and 16 bytes.
        write(rig, 0x14, 0x13, 0x40);
        write(rig, 0x14, 0x0c, 0x00);
        write(rig, 0x14, 0x0d, 0x04);
        write(rig, 0x14, 0x1b, 0x32 | 0x08);
        write(rig, 0x14, 0x1d, 0x00);
        rig.mmio_read(BAR1 + 0x1a, Size::B1);
        rig.mmio_write(BAR1, Size::B1, 0x20);
        let at = (2 << 20) / 4 * 4;
        let start = cirrus.lock().packed().unwrap().start;
        assert_eq!(start, at / 2 + 16);
        block.write_slice(&[7, 8, 9, 0], MemoryRegionAddress((start + 2560 * 2 + 12) as u64)).unwrap();
        assert_eq!(pixel(&cirrus.lock().screen(), 3, 2), [9, 8, 7]);
    });
}

#[test]
fn the_pointer_lies_over_the_picture() {
    scenario(|rig| {
        let (cirrus, block) = attach(rig);
        bios_mode(rig, 0x11, 0, 0x50);
        // Its colours are 0 and 15 of a palette behind the DAC's ports.
        seq_write(rig, 0x12, 0x02);
        rig.outb(0x3c8, 0);
        [63, 0, 0].iter().for_each(|&shade| rig.outb(0x3c9, shade));
        rig.outb(0x3c8, 15);
        [0, 63, 0].iter().for_each(|&shade| rig.outb(0x3c9, shade));
        rig.outb(0x3c7, 15);
        assert_eq!([0; 3].map(|_| rig.inb(0x3c9)), [0, 63, 0]);
        // Pattern 2 of 32 by 32: planes of 128 bytes. Line 1: seen through, inverted, colour 0, colour 15.
        let pattern = (4 << 20) - (16 << 10) + 2 * 256;
        block.write_obj(0b0101_0000u8, MemoryRegionAddress(pattern + 4)).unwrap();
        block.write_obj(0b0011_0000u8, MemoryRegionAddress(pattern + 128 + 4)).unwrap();
        seq_write(rig, 0x13, 2);
        seq_write(rig, 0x12, 0x01);
        // At 101, 53: the low three bits are in the index.
        seq_write(rig, 0x10 | 5 << 5, 101 >> 3);
        seq_write(rig, 0x11 | 5 << 5, 53 >> 3);
        let picture = cirrus.lock().screen();
        let line = [100, 101, 102, 103, 104].map(|x| pixel(&picture, x, 54));
        assert_eq!(line, [[0; 3], [0; 3], [255; 3], [255, 0, 0], [0, 255, 0]]);
        // A large one: each line has 8 bytes of the first plane and 8 of the second.
        block.write_obj(0x01u8, MemoryRegionAddress(pattern - 512 + 1024 + 7)).unwrap();
        seq_write(rig, 0x13, 4);
        seq_write(rig, 0x12, 0x05);
        assert_eq!(pixel(&cirrus.lock().screen(), 101 + 63, 53), [255; 3]);
    });
}
