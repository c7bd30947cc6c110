use devices_core::Size;
use devices_core::picture::DisplayAdapter;
use devices_core::rig::{Rig, scenario};

use super::modes::{self, attribute_write, colour, crtc, graphics, sequencer, set};
use super::*;

const RED: [u8; 3] = [255, 0, 0];
const GREEN: [u8; 3] = [0, 255, 0];
const BLUE: [u8; 3] = [0, 0, 255];
const BLACK: [u8; 3] = [0, 0, 0];

/// Red, green, blue at some DAC entries.
fn colours(rig: &mut Rig, red: u8, green: u8, blue: u8) {
    colour(rig, red, [63, 0, 0]);
    colour(rig, green, [0, 63, 0]);
    colour(rig, blue, [0, 0, 63]);
}

fn put(rig: &mut Rig, address: u64, bytes: &[u8]) {
    for (at, &byte) in (address..).zip(bytes) {
        rig.mmio_write(at, Size::B1, byte.into());
    }
}

/// Loads a character of a font as a BIOS does, through plane 2 at 0xa0000.
fn glyph(rig: &mut Rig, font: u64, character: u8, lines: &[u8]) {
    sequencer(rig, 2, 4);
    sequencer(rig, 4, 7);
    graphics(rig, 4, 2);
    graphics(rig, 5, 0);
    graphics(rig, 6, 4);
    put(rig, 0xa_0000 + font + u64::from(character) * 32, lines);
    sequencer(rig, 2, 3);
    sequencer(rig, 4, 2);
    graphics(rig, 4, 0);
    graphics(rig, 5, 0x10);
    graphics(rig, 6, 0x0e);
}

#[test]
fn text_is_drawn_with_the_loaded_font() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::TEXT);
        colours(rig, 7, 0x39, 2);
        glyph(rig, 0, b'A', &[0x18, 0x81]);
        glyph(rig, 0, 0xc4, &[0xff]);
        crtc(rig, 0x0a, 0x20);
        // Grey on black, bright blue (green here) on black, and on 2 (blue here).
        put(rig, 0xb_8000, &[b'A', 7, b'A', 9, 0xc4, 7, b'A', 0x27]);
        put(rig, 0xb_8000 + 24 * 160, b"\xc9\x07\xbb\x07");
        let picture = vga.lock().screen();
        assert_eq!((picture.width(), picture.height()), (720, 400));
        assert_eq!(shape(&picture, 0, 0, 28), "...##.......##....#########B".replace('B', "#"));
        assert_eq!(shape(&picture, 0, 1, 9), "#......#.");
        assert_eq!(pixel(&picture, 3, 0), RED);
        assert_eq!(pixel(&picture, 12, 0), GREEN);
        assert_eq!(pixel(&picture, 27, 0), BLUE);
        assert_eq!(pixel(&picture, 30, 0), RED);
        let text = vga.lock().text().unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 25);
        assert_eq!((lines[0], lines[1], lines[24]), ("AA─A", "", "╔╗"));
    });
}

#[test]
fn attribute_bit_3_chooses_the_second_font() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::TEXT);
        colours(rig, 7, 0x3f, 2);
        glyph(rig, 0, b'x', &[0xf0]);
        glyph(rig, 0x2000, b'x', &[0x0f]);
        crtc(rig, 0x0a, 0x20);
        put(rig, 0xb_8000, &[b'x', 0x07, b'x', 0x0f]);
        let shown = |vga: &DeviceCell<Vga>| shape(&vga.lock().screen(), 0, 0, 18);
        assert_eq!(shown(&vga), "####.....####.....");
        // Map A (bit 3 set) at 8 KiB: value 4, whose bits are 5 and 3:2.
        sequencer(rig, 3, 0x20);
        assert_eq!(shown(&vga), "####.........####.");
        sequencer(rig, 3, 0x10);
        assert_eq!(shown(&vga), "....####.####.....");
    });
}

#[test]
fn the_cursor_is_where_the_crtc_has_it() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::TEXT);
        colours(rig, 7, 1, 2);
        put(rig, 0xb_8000 + 162, b" \x07");
        crtc(rig, 0x0f, 81);
        let shown = |vga: &DeviceCell<Vga>, y: u32| shape(&vga.lock().screen(), 8, 16 + y, 11);
        assert_eq!(shown(&vga, 12), ".".repeat(11));
        assert_eq!(shown(&vga, 13), ".#########.");
        assert_eq!(shown(&vga, 14), ".#########.");
        assert_eq!(shown(&vga, 15), ".".repeat(11));
        crtc(rig, 0x0a, 0x2d);
        assert_eq!(shown(&vga, 13), ".".repeat(11));
    });
}

#[test]
fn blink_gives_up_a_background_bit() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::TEXT);
        colours(rig, 0x3a, 2, 1);
        crtc(rig, 0x0a, 0x20);
        put(rig, 0xb_8000, &[b' ', 0xa0]);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), GREEN);
        attribute_write(rig, 0x10, 0x04);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), RED);
    });
}

#[test]
fn monochrome_text_underlines_and_has_its_own_ports() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::MONO);
        colour(rig, 8, [63, 0, 0]);
        rig.outw(0x3b4, 0x200a);
        put(rig, 0xb_0000, &[b' ', 0x01, b' ', 0x07]);
        let picture = vga.lock().screen();
        assert_eq!(shape(&picture, 0, 15, 12), "#########...");
        assert_eq!(shape(&picture, 0, 14, 12), "............");
        assert_eq!(vga.lock().text().unwrap().lines().count(), 25);
        assert_eq!(rig.inb(0x3d5), 0xff);
        assert_eq!(rig.inb(0x3b5), 0x20);
        rig.outb(0x3c2, 0x67);
        assert_eq!((rig.inb(0x3b5), rig.inb(0x3d5)), (0xff, 0x20));
    });
}

#[test]
fn forty_columns_are_twice_as_wide() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::TEXT_40);
        colours(rig, 7, 1, 2);
        glyph(rig, 0, b'I', &[0x80]);
        crtc(rig, 0x0a, 0x20);
        put(rig, 0xb_8000, &[b'a', 7, b'I', 7]);
        let picture = vga.lock().screen();
        assert_eq!((picture.width(), picture.height()), (720, 400));
        assert_eq!(shape(&picture, 17, 0, 4), ".##.");
        assert_eq!(vga.lock().text().unwrap().lines().next(), Some("aI"));
    });
}

#[test]
fn text_scrolls_by_start_address_and_by_lines_and_dots() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::TEXT);
        colours(rig, 7, 1, 2);
        glyph(rig, 0, b'I', &[0x80, 0x40]);
        crtc(rig, 0x0a, 0x20);
        put(rig, 0xb_8000 + 160, &[b'I', 7]);
        crtc(rig, 0x0d, 80);
        assert_eq!(shape(&vga.lock().screen(), 0, 0, 4), "#...");
        assert_eq!(vga.lock().text().unwrap().lines().next(), Some("I"));
        crtc(rig, 0x08, 1);
        assert_eq!(shape(&vga.lock().screen(), 0, 0, 4), ".#..");
        attribute_write(rig, 0x13, 0);
        assert_eq!(shape(&vga.lock().screen(), 0, 0, 4), "#...");
        crtc(rig, 0x08, 0);
        crtc(rig, 0x0d, 79);
        assert_eq!(shape(&vga.lock().screen(), 0, 0, 10), "........#.");
    });
}

#[test]
fn a_split_screen_starts_again_at_address_zero() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::PLANAR);
        colours(rig, 0x3f, 7, 2);
        put(rig, 0xa_0000, &[0xf0]);
        put(rig, 0xa_0000 + 80 * 3, &[0x0f]);
        crtc(rig, 0x0d, 240);
        // Line compare 99.
        crtc(rig, 0x18, 99);
        crtc(rig, 0x07, 0x2e);
        crtc(rig, 0x09, 0x00);
        let picture = vga.lock().screen();
        assert_eq!(shape(&picture, 0, 0, 8), "....####");
        assert_eq!(shape(&picture, 0, 99, 8), "........");
        assert_eq!(shape(&picture, 0, 100, 8), "####....");
        assert_eq!(shape(&picture, 0, 103, 8), "....####");
        // Panning, above the split only if so wanted.
        attribute_write(rig, 0x13, 2);
        assert_eq!(shape(&vga.lock().screen(), 0, 100, 8), "##......");
        attribute_write(rig, 0x10, 0x21);
        let picture = vga.lock().screen();
        assert_eq!(shape(&picture, 0, 100, 8), "####....");
        assert_eq!(shape(&picture, 0, 0, 8), "..####..");
    });
}

#[test]
fn bytes_are_dac_values_and_chain_4_is_linear() {
    scenario(|rig| {
        let (vga, block) = attach_with(rig, VRAM_MIN);
        set(rig, &modes::BYTES);
        colours(rig, 200, 201, 202);
        put(rig, 0xa_0000 + 320 + 1, &[200, 201, 202]);
        rig.mmio_write(0xa_0000 + 199 * 320 + 316, Size::B4, 0xca00_00c8);
        let picture = vga.lock().screen();
        assert_eq!((picture.width(), picture.height()), (640, 400));
        for y in [2, 3] {
            assert_eq!(shape(&picture, 0, y, 10), "..######..");
            assert_eq!([2, 3, 4].map(|x| pixel(&picture, x, y)), [RED, RED, GREEN]);
        }
        assert_eq!(pixel(&picture, 2, 4), BLACK);
        assert_eq!(pixel(&picture, 639, 399), BLUE);
        assert_eq!(pixel(&picture, 632, 399), RED);
        use vm_memory::{Bytes, MemoryRegionAddress};
        assert_eq!(block.read_obj::<u8>(MemoryRegionAddress(321)).unwrap(), 200);
        assert_eq!(rig.mmio_read(0xa_0000 + 322, Size::B2), 0xcac9);
        assert!(vga.lock().text().is_none());
    });
}

#[test]
fn mode_x_has_four_pages_of_planes() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::BYTES);
        sequencer(rig, 4, 6);
        crtc(rig, 0x14, 0);
        crtc(rig, 0x17, 0xe3);
        colours(rig, 1, 2, 3);
        sequencer(rig, 2, 0b0110);
        put(rig, 0xa_4000, &[1]);
        sequencer(rig, 2, 0b1000);
        put(rig, 0xa_4000, &[3]);
        crtc(rig, 0x0c, 0x40);
        let picture = vga.lock().screen();
        let row = [0, 2, 4, 6, 8].map(|x| pixel(&picture, x, 0));
        assert_eq!(row, [BLACK, RED, RED, BLUE, BLACK]);
        // Panning is by half dots in 256 colours.
        attribute_write(rig, 0x13, 2);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), RED);
    });
}

#[test]
fn cga_pixels_have_two_bits_and_lines_two_banks() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::CGA);
        colours(rig, 0x13, 0x15, 0x17);
        put(rig, 0xb_8000, &[0b00_01_10_11, 0b01_00_00_00]);
        put(rig, 0xb_a000, &[0b11_00_00_00]);
        put(rig, 0xb_8000 + 80, &[0b10_00_00_00]);
        let picture = vga.lock().screen();
        assert_eq!((picture.width(), picture.height()), (640, 400));
        for y in [0, 1] {
            let row = [0, 2, 4, 6, 8].map(|x| pixel(&picture, x, y));
            assert_eq!(row, [BLACK, RED, GREEN, BLUE, RED]);
        }
        assert_eq!(pixel(&picture, 1, 2), BLUE);
        assert_eq!(pixel(&picture, 1, 4), GREEN);
        assert!(vga.lock().screen() == picture);
    });
}

#[test]
fn cga_with_two_colours_is_a_plane() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::CGA_2);
        colour(rig, 0x17, [63, 63, 63]);
        put(rig, 0xb_8000, &[0xa1]);
        put(rig, 0xb_a000, &[0x1a]);
        let picture = vga.lock().screen();
        assert_eq!((picture.width(), picture.height()), (640, 400));
        assert_eq!(shape(&picture, 0, 1, 8), "#.#....#");
        assert_eq!(shape(&picture, 0, 2, 8), "...##.#.");
    });
}

#[test]
fn a_screen_that_is_off_is_black() {
    scenario(|rig| {
        let vga = attach(rig);
        let picture = vga.lock().screen();
        assert_eq!((picture.width(), picture.height()), (640, 400));
        set(rig, &modes::BYTES);
        colour(rig, 0, [63, 63, 63]);
        assert_eq!(pixel(&vga.lock().screen(), 5, 5), [255; 3]);
        sequencer(rig, 1, 0x21);
        assert_eq!(pixel(&vga.lock().screen(), 5, 5), BLACK);
        sequencer(rig, 1, 0x01);
        rig.inb(0x3da);
        rig.outb(0x3c0, 0);
        let picture = vga.lock().screen();
        assert_eq!((picture.width(), picture.height()), (640, 400));
        assert!(picture.pixels().iter().all(|&byte| byte == 0));
        assert_eq!(vga.lock().text(), None);
    });
}

#[test]
fn the_palette_goes_through_the_colour_select_register() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::PLANAR);
        colours(rig, 0x3f, 0xff, 0x5f);
        put(rig, 0xa_0000, &[0x80]);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), RED);
        attribute_write(rig, 0x14, 0x0c);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), GREEN);
        attribute_write(rig, 0x14, 0x05);
        attribute_write(rig, 0x10, 0x81);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), BLUE);
        // A plane that is not shown.
        attribute_write(rig, 0x10, 0x01);
        attribute_write(rig, 0x14, 0);
        attribute_write(rig, 0x12, 0x0d);
        colours(rig, 0x3d, 1, 2);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), RED);
    });
}

#[test]
fn changes_are_told_once() {
    let mut rig = Rig::new();
    let (vga, block) = attach_with(&mut rig, VRAM_MIN);
    let eye = Eye::new(&vga);
    let changed = || !eye.look().1.is_empty();
    assert!(changed());
    assert!(!changed());
    set(&mut rig, &modes::TEXT);
    assert!(changed());
    rig.inb(0x3da);
    rig.mmio_read(0xb_8000, Size::B1);
    assert!(!changed());
    put(&mut rig, 0xb_8000, b"x");
    assert!(changed());
    // Two pages that the guest writes directly.
    use vm_memory::{Bytes, MemoryRegionAddress};
    block.write_slice(&[1; 8192], MemoryRegionAddress(0x8000)).unwrap();
    assert!(changed());
    assert!(!changed());
    rig.save_load();
    assert!(changed());
}

#[test]
fn a_look_tells_the_lines_that_were_written() {
    use devices_core::picture::DirtyRows;
    use vm_memory::{Bytes, MemoryRegionAddress};
    let mut rig = Rig::new();
    let (vga, block) = attach_with(&mut rig, VRAM_MIN);
    let eye = Eye::new(&vga);
    rig.outb(0x3c0, 0x20);
    // 512 by 200 pixels of 32 bits: two lines in a page, from the third page on.
    for (index, value) in [(1, 512), (2, 200), (3, 32), (4, 0x41), (9, 4)] {
        rig.outw(0x1ce, index);
        rig.outw(0x1d0, value);
    }
    assert_eq!(eye.look().1, DirtyRows::from(0..200));
    assert!(eye.look().1.is_empty());
    for (at, lines) in [(0x1fff, 0..0), (0x2000, 0..2), (0x2000 + 2048 * 199, 198..200)] {
        block.write_obj(0x7f_u8, MemoryRegionAddress(at)).unwrap();
        assert_eq!(eye.look().1, DirtyRows::from(lines), "{at:#x}");
    }
    let last = MemoryRegionAddress(0x2000 + 2048 * 200);
    block.write_obj(1_u8, last).unwrap();
    block.write_slice(&[1; 4096], MemoryRegionAddress(0x2000 + 2048 * 100)).unwrap();
    block.write_slice(&[1; 2], MemoryRegionAddress(0x2000 + 2048 * 102 - 1)).unwrap();
    assert_eq!(eye.look().1, DirtyRows::from(100..104));
    // Parts of lines are what the whole is.
    let (frame, whole) = (eye.frame(), vga.lock().screen());
    for (x, y, len) in [(0, 0, 512), (509, 199, 9), (3, 101, 40), (512, 0, 1), (0, 200, 5)] {
        let mut out = vec![[9; 3]; len];
        frame.line(x, y, &mut out);
        let mut same = vec![[9; 3]; len];
        devices_core::picture::Frame::line(&whole, x, y, &mut same);
        assert_eq!(out, same, "{len} pixels at {x},{y}");
    }
}

#[test]
fn the_largest_picture_is_not_copied() {
    let mut rig = Rig::new();
    let (vga, _) = attach_with(&mut rig, VRAM_MIN);
    rig.outb(0x3c0, 0x20);
    for (index, value) in [(1, 16000), (2, 12000), (3, 4), (4, 0x41)] {
        rig.outw(0x1ce, index);
        rig.outw(0x1d0, value);
    }
    let eye = Eye::new(&vga);
    eye.look();
    let frame = eye.frame();
    // A vCPU may hold the device for ever: pixels are read without its lock.
    let held = vga.lock();
    // Two pixels of four bits to a byte of the memory at most.
    let (width, height) = frame.size();
    assert_eq!((width, height), (16000, 131));
    let mut pixel = [[9; 3]];
    frame.line(width - 1, height - 1, &mut pixel);
    assert_eq!(pixel, [[0; 3]]);
    drop(held);
    // Its registers are those of the moment.
    rig.outw(0x1ce, 4);
    rig.outw(0x1d0, 0);
    assert_eq!(frame.size(), (width, height));
}
