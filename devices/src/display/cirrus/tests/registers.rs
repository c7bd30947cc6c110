use devices_core::Size;
use devices_core::rig::{Rig, scenario};
use vm_memory::{Bytes, MemoryRegionAddress};

use super::*;

fn byte(block: &RamBlock, at: u64) -> u8 {
    block.read_obj(MemoryRegionAddress(at)).unwrap()
}

#[test]
fn the_key_unlocks_and_the_chip_tells_what_it_is() {
    scenario(|rig| {
        attach(rig);
        seq_write(rig, 6, 0x00);
        assert_eq!(indexed(rig, 0x3c4, 6), 0x0f);
        // The BIOS writes 0x92, whose upper bits are not looked at.
        seq_write(rig, 6, 0x92);
        assert_eq!(indexed(rig, 0x3c4, 6), 0x12);
        assert_eq!(indexed(rig, 0x3d4, 0x27), 0xb8);
        // 4 MiB: two banks of 2 MiB, 64 bits.
        assert_eq!(indexed(rig, 0x3c4, 0x0f), 0x98);
        assert_eq!(indexed(rig, 0x3c4, 0x15), 0x04);
        // The bus is PCI, whatever is written.
        seq_write(rig, 0x17, 0xff);
        assert_eq!(indexed(rig, 0x3c4, 0x17), 0xe7);
        assert_eq!(rig.config_read(2, 0, 0, Size::B4), 0x00b8_1013);
        assert_eq!(rig.config_read(2, 0, 8, Size::B4), 0x0300_0000);
    });
}

#[test]
fn the_hidden_register_is_behind_four_reads() {
    scenario(|rig| {
        attach(rig);
        hidden_dac(rig, 0xe5);
        let reads: Vec<u8> = (0..5).map(|_| rig.inb(0x3c6)).collect();
        assert_eq!(reads, [0xff, 0xff, 0xff, 0xff, 0xe5]);
        // Another port of the DAC begins the count anew; then the port is the pixel mask.
        for _ in 0..4 {
            rig.inb(0x3c6);
        }
        rig.inb(0x3c8);
        rig.outb(0x3c6, 0x0f);
        let reads: Vec<u8> = (0..5).map(|_| rig.inb(0x3c6)).collect();
        assert_eq!(reads, [0x0f, 0x0f, 0x0f, 0x0f, 0xe5]);
    });
}

#[test]
fn index_registers_hold_all_their_bits_and_the_attribute_port_tells_its_state() {
    scenario(|rig| {
        attach(rig);
        rig.outb(0x3c4, 0xf0);
        rig.outb(0x3ce, 0x3f);
        assert_eq!((rig.inb(0x3c4), rig.inb(0x3ce), rig.inb(0x3cf)), (0xf0, 0x3f, 0xff));
        rig.inb(0x3da);
        assert_eq!(indexed(rig, 0x3d4, 0x24), 0);
        rig.outb(0x3c0, 0x33);
        assert_eq!(indexed(rig, 0x3d4, 0x24), 0x80);
        assert_eq!(indexed(rig, 0x3d4, 0x26), 0x33);
        // All 8 bits of the colours that the VGA has 4 of.
        gfx_write(rig, 0, 0xa5);
        gfx_write(rig, 1, 0x5a);
        assert_eq!((indexed(rig, 0x3ce, 0), indexed(rig, 0x3ce, 1)), (0xa5, 0x5a));
    });
}

#[test]
fn banks_reach_all_of_the_memory() {
    scenario(|rig| {
        let (_, block) = attach(rig);
        seq_write(rig, 7, 1);
        // One bank of 64 KiB that counts 4 KiB, then two of 32 KiB that count 16.
        gfx_write(rig, 9, 3);
        rig.mmio_write(0xa_0005, Size::B1, 0x11);
        rig.mmio_write(0xa_9005, Size::B1, 0x22);
        assert_eq!((byte(&block, 0x3005), byte(&block, 0xc005)), (0x11, 0x22));
        gfx_write(rig, 0x0b, 0x21);
        gfx_write(rig, 9, 1);
        gfx_write(rig, 0x0a, 0xff);
        rig.mmio_write(0xa_0000, Size::B1, 0x33);
        rig.mmio_write(0xa_8000, Size::B1, 0x44);
        assert_eq!((byte(&block, 0x4000), byte(&block, 0x3f_c000)), (0x33, 0x44));
        assert_eq!(rig.mmio_read(0xa_8000, Size::B1), 0x44);
        // The upper bank has 16 KiB before the end of the memory.
        rig.mmio_write(0xa_c000, Size::B1, 0x55);
        assert_eq!((rig.mmio_read(0xa_c000, Size::B1), byte(&block, 0)), (0xff, 0));
        // Nothing but registers is behind the first 64 KiB.
        assert_eq!(rig.mmio_read(0xb_0000, Size::B1), 0xff);
    });
}

#[test]
fn write_modes_4_and_5_draw_eight_pixels() {
    scenario(|rig| {
        let (_, block) = attach(rig);
        seq_write(rig, 7, 1);
        gfx_write(rig, 1, 0xf1);
        gfx_write(rig, 0, 0xb0);
        gfx_write(rig, 0x0b, 0x06);
        gfx_write(rig, 5, 5);
        // Addresses count 8 bytes.
        rig.mmio_write(0xa_0002, Size::B1, 0b1010_0001);
        let drawn: Vec<u8> = (16..24).map(|at| byte(&block, at)).collect();
        assert_eq!(drawn, [0xf1, 0xb0, 0xf1, 0xb0, 0xb0, 0xb0, 0xb0, 0xf1]);
        // Mode 4 leaves the background, and 16-bit pixels have high bytes of colours.
        gfx_write(rig, 5, 4);
        gfx_write(rig, 0x11, 0xf2);
        gfx_write(rig, 0x0b, 0x14);
        rig.mmio_write(BAR0 + 1, Size::B1, 0x40);
        let drawn: Vec<u8> = (16..20).map(|at| byte(&block, at)).collect();
        assert_eq!(drawn, [0xf1, 0xb0, 0xf1, 0xf2]);
    });
}

#[test]
fn the_linear_memory_is_mapped_while_it_is_plain() {
    let mut rig = Rig::new();
    let (_, block) = attach(&mut rig);
    let mapped =
        |rig: &mut Rig| rig.take_mappings().last().map(|mapping| (mapping.gpa, mapping.write.is_some()));
    assert_eq!(mapped(&mut rig), Some((BAR0, true)));
    // The blitter's registers at its end.
    seq_write(&mut rig, 0x17, 0x44);
    assert_eq!(mapped(&mut rig), Some((BAR0, false)));
    rig.mmio_write(BAR0 + 0x3f_ff08, Size::B2, 0x0123);
    assert_eq!(indexed(&mut rig, 0x3ce, 0x20), 0x23);
    assert_eq!(indexed(&mut rig, 0x3ce, 0x21), 0x01);
    rig.mmio_write(BAR0 + 0x1000, Size::B4, 0x0403_0201);
    assert_eq!(byte(&block, 0x1003), 4);
    seq_write(&mut rig, 0x17, 0x04);
    assert_eq!(mapped(&mut rig), Some((BAR0, true)));
    rig.mmio_write(0xb_8009, Size::B1, 0x05);
    assert_eq!(rig.mmio_read(BAR1 + 0x108, Size::B2), 0x0523);
    // The apertures behind it swap the bytes of words and double words.
    rig.mmio_write(BAR0 + 0x40_2000, Size::B2, 0x1234);
    rig.mmio_write(BAR0 + 0x80_2004, Size::B4, 0x1234_5678);
    assert_eq!([byte(&block, 0x2000), byte(&block, 0x2004)], [0x12, 0x12]);
    assert_eq!(rig.mmio_read(BAR0 + 0xc0_0000, Size::B1), 0xff);
    rig.reset();
    assert_eq!(mapped(&mut rig), Some((BAR0, false)));
}

#[test]
fn bar_1_is_the_registers_once_more() {
    scenario(|rig| {
        attach(rig);
        rig.mmio_write(BAR1 + 4, Size::B1, 6);
        rig.mmio_write(BAR1 + 5, Size::B1, 0x12);
        assert_eq!(indexed(rig, 0x3c4, 6), 0x12);
        rig.mmio_write(BAR1 + 0x104, Size::B4, 0x4433_2211);
        assert_eq!([1, 0x11, 0x13, 0x15].map(|index| indexed(rig, 0x3ce, index)), [0x11, 0x22, 0x33, 0x44]);
        assert_eq!(rig.mmio_read(BAR1 + 0x80, Size::B1), 0);
        assert_eq!(rig.mmio_read(BAR1 + 0x900, Size::B1), 0xff);
    });
}

#[test]
fn battered() {
    let mut rig = Rig::new();
    let (cirrus, _) = attach(&mut rig);
    let windows = [
        (Space::Pio, 0x3b0, 0x30),
        (Space::Pio, 0x3c4, 2),
        (Space::Pio, 0x3ce, 2),
        (Space::Mmio, 0xa_0000, 0x2_0000),
        (Space::Mmio, BAR0, 0x200_0000),
        (Space::Mmio, BAR1, 0x200),
    ];
    for seed in 0..24 {
        rig.batter(&windows, seed, 400);
        rig.outb(0x3c2, 1);
        display_on(&mut rig);
        let picture = cirrus.lock().screen();
        assert!(picture.pixels().len() <= 8192 * 2048 * 3);
        cirrus.lock().inspect(&mut Node::default());
        if seed % 4 == 3 {
            rig.reset();
            decode(&mut rig);
        }
    }
}
