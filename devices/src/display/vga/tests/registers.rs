use devices_core::rig::{Rig, ms, scenario};
use devices_core::{Saved, Size, Space};

use super::modes::{self, crtc, set};
use super::*;

#[test]
fn indexed_registers_hold_what_they_have() {
    scenario(|rig| {
        attach(rig);
        rig.outb(0x3c2, 0xff);
        assert_eq!(rig.inb(0x3cc), 0xef);
        for (port, index, value) in [(0x3c4, 1, 0x3d), (0x3c4, 4, 0x0e), (0x3ce, 5, 0x7b), (0x3ce, 8, 0xff)] {
            rig.outb(port, index);
            rig.outb(port + 1, 0xff);
            assert_eq!((rig.inb(port), rig.inb(port + 1)), (index, value));
        }
        rig.outb(0x3da, 0xff);
        assert_eq!(rig.inb(0x3ca), 0x10);
        crtc(rig, 0x40, 0xaa);
        assert_eq!(rig.inb(0x3d5), 0);
    });
}

#[test]
fn the_attribute_port_takes_index_and_data_in_turn() {
    scenario(|rig| {
        attach(rig);
        rig.outb(0x3c2, 1);
        rig.inb(0x3da);
        rig.outb(0x3c0, 0x31);
        assert_eq!(rig.inb(0x3c0), 0);
        rig.outb(0x3c0, 0x77);
        assert_eq!(rig.inb(0x3c0), 0x31);
        assert_eq!(rig.inb(0x3c1), 0x77);
        rig.outb(0x3c0, 0x12);
        rig.inb(0x3da);
        rig.outb(0x3c0, 0x03);
        rig.outb(0x3c0, 0xff);
        assert_eq!(rig.inb(0x3c1), 0x3f);
    });
}

#[test]
fn the_crtc_protects_its_first_registers() {
    scenario(|rig| {
        attach(rig);
        set(rig, &modes::TEXT);
        for index in 0..8 {
            crtc(rig, index, 0x10);
        }
        rig.outb(0x3d4, 0);
        assert_eq!(rig.inb(0x3d5), 0x5f);
        rig.outb(0x3d4, 7);
        assert_eq!(rig.inb(0x3d5), 0x1f);
        crtc(rig, 7, 0);
        assert_eq!(rig.inb(0x3d5), 0x0f);
        crtc(rig, 0x11, 0);
        crtc(rig, 0, 0x10);
        assert_eq!(rig.inb(0x3d5), 0x10);
    });
}

#[test]
fn the_dac_counts_through_its_colours() {
    scenario(|rig| {
        attach(rig);
        rig.outb(0x3c8, 0xff);
        for value in 1..=6 {
            rig.outb(0x3c9, value);
        }
        assert_eq!((rig.inb(0x3c7), rig.inb(0x3c8)), (0, 1));
        rig.outb(0x3c7, 0xff);
        assert_eq!(rig.inb(0x3c7), 3);
        let read: Vec<u8> = (0..6).map(|_| rig.inb(0x3c9)).collect();
        assert_eq!(read, [1, 2, 3, 4, 5, 6]);
        // A colour takes effect with its third byte.
        rig.outb(0x3c8, 0);
        rig.outb(0x3c9, 40);
        rig.outb(0x3c9, 41);
        rig.outb(0x3c7, 0);
        assert_eq!(rig.inb(0x3c9), 4);
        assert_eq!(rig.inb(0x3c6), 0xff);
    });
}

#[test]
fn the_pixel_mask_and_eight_bits_show() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::BYTES);
        modes::colour(rig, 0x05, [0x20, 0x3f, 0xff]);
        rig.mmio_write(0xa_0000, Size::B1, 0xf5);
        rig.outb(0x3c6, 0x0f);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), [0x82, 0xff, 0xff]);
        rig.outw(0x1ce, 4);
        rig.outw(0x1cf, 0x20);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), [0x20, 0x3f, 0xff]);
    });
}

#[test]
fn retrace_follows_guest_time() {
    scenario(|rig| {
        attach(rig);
        set(rig, &modes::TEXT);
        let mut seen = [0u32; 2];
        let mut frames = 0;
        let mut last = 0;
        // 70 Hz: 7 frames in 100 ms, with 2 of 449 lines in retrace.
        let step = 20_000;
        for _ in 0..ms(100) / step {
            rig.advance(step);
            let status = rig.inb(0x3da);
            seen[0] += u32::from(status & 1 == 0);
            seen[1] += u32::from(status & 8 != 0);
            frames += u32::from(status & !last & 8 != 0);
            last = status;
            assert!(status & 8 == 0 || status & 1 != 0);
        }
        assert_eq!(frames, 7);
        assert!((18..28).contains(&seen[1]), "{seen:?}");
        // 80 of 100 characters, 400 of 449 lines.
        assert!((3300..3800).contains(&seen[0]), "{seen:?}");
    });
}

#[test]
fn a_wait_for_retrace_ends_in_any_mode() {
    let mut rig = Rig::new();
    attach(&mut rig);
    rig.outb(0x3c2, 1);
    for value in [0x00, 0x7f, 0xff] {
        (0..0x19).for_each(|index| crtc(&mut rig, index, value & 0x7f));
        let mut seen = [false; 4];
        for _ in 0..200_000 {
            rig.advance(300);
            let status = rig.inb(0x3da);
            seen[usize::from(status & 8 != 0)] = true;
            seen[2 + usize::from(status & 1 != 0)] = true;
        }
        assert_eq!(seen, [true; 4], "{value:#x}");
    }
}

#[test]
fn state_of_another_memory_size_or_with_stray_pages_is_refused() {
    let mut rig = Rig::new();
    let vga = attach(&mut rig);
    rig.mmio_write(0xa_0000, Size::B4, 0x0102_0304);
    let saved = vga.lock().save().unwrap();
    assert!(saved.body.len() < 16 << 10);
    let other = attach_with(&mut Rig::new(), 2 * VRAM_MIN).0;
    assert!(other.lock().load(&saved).unwrap_err().to_string().contains("size"));
    for cut in 0..saved.body.len() {
        let short = Saved { body: saved.body[..cut].to_vec(), ..saved.clone() };
        assert!(vga.lock().load(&short).is_err());
    }
}

#[test]
fn battered() {
    let mut rig = Rig::new();
    let vga = attach(&mut rig);
    rig.config_write(2, 0, 0x18, Size::B4, 0xf100_0000);
    rig.config_write(2, 0, 4, Size::B2, 2);
    let windows = [
        (Space::Pio, 0x3b0, 0x30),
        (Space::Pio, 0x3c0, 0x10),
        (Space::Pio, 0x1ce, 4),
        (Space::Mmio, 0xa_0000, 0x2_0000),
        (Space::Mmio, 0xf100_0400, 0x220),
    ];
    for seed in 0..200 {
        rig.batter(&windows, seed, 500);
        // Whatever the rest says, let the screen be on.
        rig.outb(0x3c2, 1);
        rig.inb(0x3da);
        rig.outb(0x3c0, 0x20);
        let picture = vga.lock().screen();
        assert!(picture.pixels().len() <= 8192 * 1024 * 3);
        vga.lock().text();
        vga.lock().inspect(&mut Node::default());
        if seed % 8 == 7 {
            rig.reset();
            rig.config_write(2, 0, 0x18, Size::B4, 0xf100_0000);
            rig.config_write(2, 0, 4, Size::B2, 2);
        }
    }
}
