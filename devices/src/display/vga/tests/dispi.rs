use devices_core::Size;
use devices_core::rig::{Rig, scenario};
use vm_memory::{Bytes, MemoryRegionAddress};

use super::modes::{self, set};
use super::*;

const MIB: u64 = 1 << 20;
const BAR2: u64 = 0xf100_0000;

fn put(rig: &mut Rig, index: u16, value: u16) {
    rig.outw(0x1ce, index);
    rig.outw(0x1cf, value);
}
fn get(rig: &mut Rig, index: u16) -> u16 {
    rig.outw(0x1ce, index);
    rig.inw(0x1cf)
}
fn mode(rig: &mut Rig, width: u16, height: u16, bpp: u16, flags: u16) {
    rig.outb(0x3c2, 1);
    rig.inb(0x3da);
    rig.outb(0x3c0, 0x20);
    put(rig, 4, 0);
    put(rig, 1, width);
    put(rig, 2, height);
    put(rig, 3, bpp);
    put(rig, 4, 0x41 | flags);
}
fn map(rig: &mut Rig) {
    rig.config_write(2, 0, 0x10, Size::B4, 0xf000_0000);
    rig.config_write(2, 0, 0x18, Size::B4, BAR2 as u32);
    rig.config_write(2, 0, 4, Size::B2, 2);
}
fn poke(block: &RamBlock, at: u64, bytes: &[u8]) {
    block.write_slice(bytes, MemoryRegionAddress(at)).unwrap();
}

#[test]
fn the_function_is_qemus() {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let (block, rom) = (new_block(0, 16 * MIB).unwrap(), new_block(0, 1 << 16).unwrap());
    let mut vga = Vga::new(&wiring, block);
    vga.pci().unwrap().rom(1 << 16, rom);
    rig.attach_pci(vga, &wiring, 2, 0);
    let config = |rig: &mut Rig, reg| rig.config_read(2, 0, reg, Size::B4);
    assert_eq!(config(&mut rig, 0), 0x1111_1234);
    assert_eq!(config(&mut rig, 8), 0x0300_0002);
    assert_eq!(config(&mut rig, 0x2c), 0x1100_1af4);
    assert_eq!(config(&mut rig, 0x3c) >> 8, 0);
    for (reg, sized) in [(0x10, 0xff00_0008), (0x14, 0), (0x18, 0xffff_f000), (0x30, 0xffff_0001)] {
        rig.config_write(2, 0, reg, Size::B4, 0xffff_ffff);
        assert_eq!(config(&mut rig, reg), sized, "{reg:#x}");
    }
    map(&mut rig);
    rig.config_write(2, 0, 0x30, Size::B4, 0xf200_0001);
    let mappings = rig.take_mappings();
    let last = |gpa| mappings.iter().rfind(|m| m.gpa == gpa).map(|m| (m.len, m.write.is_some()));
    assert_eq!(last(0xf000_0000), Some((16 * MIB, true)));
    assert_eq!(last(0xf200_0000), Some((1 << 16, false)));
}

#[test]
fn registers_know_their_limits() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(get(rig, 0), 0xb0c5);
        put(rig, 0, 0xb0c2);
        put(rig, 0, 0x1234);
        assert_eq!(get(rig, 0), 0xb0c2);
        assert_eq!(get(rig, 10), 16);
        assert_eq!(get(rig, 11), 0);
        put(rig, 4, 2);
        assert_eq!([1, 2, 3].map(|index| get(rig, index)), [16000, 12000, 32]);
        mode(rig, 801, 600, 17, 0);
        assert_eq!([1, 2, 3, 6].map(|index| get(rig, index)), [800, 600, 8, 800]);
        assert_eq!(get(rig, 7), 1310);
        // Width and height that the memory does not hold.
        mode(rig, 1024, 768, 32, 0);
        assert_eq!([1, 2, 6, 7].map(|index| get(rig, index)), [1024, 256, 1024, 256]);
        put(rig, 9, 1);
        assert_eq!(get(rig, 9), 0);
        mode(rig, 0xffff, 0xffff, 32, 0);
        assert_eq!([1, 2].map(|index| get(rig, index)), [16000, 16]);
        mode(rig, 0, 0, 4, 0);
        assert_eq!([1, 2].map(|index| get(rig, index)), [8, 1]);
        // The data port at 0x1d0, and both in one access.
        rig.outl(0x1ce, 0x0140_0001);
        assert_eq!(rig.inw(0x1d0), 0x140);
        assert_eq!(rig.inb(0x1cf), 0xff);
    });
}

#[test]
fn a_large_mode_is_the_framebuffer() {
    let mut rig = Rig::new();
    let (vga, block) = attach_with(&mut rig, 4 * MIB);
    poke(&block, 1024 * 4, &[9; 8]);
    mode(&mut rig, 1024, 768, 32, 0);
    assert!(vga.lock().screen().pixels().iter().all(|&byte| byte == 0), "turning on clears");
    poke(&block, 0, &[1, 2, 3, 0]);
    poke(&block, (767 * 1024 + 1023) * 4, &[4, 5, 6, 0xff]);
    let picture = vga.lock().screen();
    assert_eq!((picture.width(), picture.height()), (1024, 768));
    assert_eq!(pixel(&picture, 0, 0), [3, 2, 1]);
    assert_eq!(pixel(&picture, 1023, 767), [6, 5, 4]);
    rig.save_load();
    assert_eq!(vga.lock().screen(), picture);
    put(&mut rig, 4, 0);
    mode(&mut rig, 1024, 768, 32, 0x80);
    assert_eq!(vga.lock().screen(), picture, "unless told not to");
    let mut node = Node::default();
    vga.lock().inspect(&mut node);
    assert!(node.values().any(|value| value == ("mode", "DISPI 1024x768x32")));
}

#[test]
fn every_depth_has_its_pixels() {
    scenario(|rig| {
        let (vga, block) = attach_with(rig, MIB);
        modes::colour(rig, 0xfe, [63, 0, 31]);
        let cases: [(u16, &[u8], [u8; 3]); 5] = [
            (8, &[0xfe], [255, 0, 125]),
            (15, &[0x1f, 0x7c], [255, 0, 255]),
            (16, &[0xe0, 0x07], [0, 255, 0]),
            (24, &[1, 2, 3], [3, 2, 1]),
            (32, &[1, 2, 3, 0], [3, 2, 1]),
        ];
        for (bpp, bytes, colour) in cases {
            mode(rig, 64, 32, bpp, 0);
            poke(&block, (64 * 31 + 63) * bytes.len() as u64, bytes);
            let picture = vga.lock().screen();
            assert_eq!((picture.width(), picture.height()), (64, 32));
            assert_eq!(pixel(&picture, 63, 31), colour, "{bpp}");
            assert_eq!(pixel(&picture, 62, 31), [0; 3]);
        }
    });
}

#[test]
fn four_bits_are_planar() {
    scenario(|rig| {
        let vga = attach(rig);
        set(rig, &modes::PLANAR);
        modes::colour(rig, 0x3f, [63, 63, 63]);
        mode(rig, 800, 600, 4, 0);
        rig.mmio_write(0xa_0000 + 599 * 100 + 99, Size::B1, 0x05);
        let picture = vga.lock().screen();
        assert_eq!((picture.width(), picture.height()), (800, 600));
        assert_eq!(shape(&picture, 792, 599, 8), ".....#.#");
        assert_eq!(shape(&picture, 792, 598, 8), "........");
    });
}

#[test]
fn offsets_and_a_wider_line_pan() {
    scenario(|rig| {
        let (vga, block) = attach_with(rig, MIB);
        mode(rig, 64, 32, 32, 0);
        put(rig, 6, 128);
        assert_eq!(get(rig, 7), 2048);
        put(rig, 8, 3);
        put(rig, 9, 2);
        poke(&block, (128 * 2 + 3) * 4, &[0, 0, 7, 0]);
        poke(&block, (128 * 3 + 3) * 4, &[0, 0, 8, 0]);
        let picture = vga.lock().screen();
        assert_eq!(pixel(&picture, 0, 0), [7, 0, 0]);
        assert_eq!(pixel(&picture, 0, 1), [8, 0, 0]);
        // Offsets are limits of what the memory holds.
        put(rig, 9, 2020);
        assert_eq!((get(rig, 8), get(rig, 9)), (3, 0));
    });
}

#[test]
fn banks_and_the_framebuffer_are_one_memory() {
    scenario(|rig| {
        let (_, block) = attach_with(rig, MIB);
        set(rig, &modes::PLANAR);
        modes::sequencer(rig, 2, 1);
        modes::graphics(rig, 8, 0);
        mode(rig, 640, 400, 8, 0);
        put(rig, 5, 3);
        rig.mmio_write(0xa_0102, Size::B8, 0x8877_6655_4433_2211);
        let there: u64 = block.read_obj(MemoryRegionAddress(0x3_0102)).unwrap();
        assert_eq!(there, 0x8877_6655_4433_2211);
        assert_eq!(rig.mmio_read(0xa_0102, Size::B4), 0x4433_2211);
        // Banks wrap at the memory's size.
        put(rig, 5, 0x13);
        assert_eq!(get(rig, 5), 3);
    });
}

#[test]
fn bar_2_has_the_registers_once_more() {
    scenario(|rig| {
        let vga = attach(rig);
        map(rig);
        rig.mmio_write(BAR2 + 0x402, Size::B1, 1);
        assert_eq!(rig.inb(0x3cc), 1);
        rig.mmio_write(BAR2 + 0x404, Size::B2, 0x0f02);
        rig.outb(0x3c4, 2);
        assert_eq!(rig.inb(0x3c5), 0x0f);
        assert_eq!(rig.mmio_read(BAR2 + 0x405, Size::B1), 0x0f);
        rig.mmio_write(BAR2 + 0x400, Size::B1, 0x20);
        rig.mmio_write(BAR2 + 0x502, Size::B2, 640);
        rig.mmio_write(BAR2 + 0x504, Size::B2, 400);
        rig.mmio_write(BAR2 + 0x506, Size::B2, 16);
        rig.mmio_write(BAR2 + 0x508, Size::B2, 0x41);
        assert_eq!(get(rig, 1), 640);
        assert_eq!(rig.mmio_read(BAR2 + 0x500, Size::B4), 0x0280_b0c5);
        assert_eq!(rig.mmio_read(BAR2 + 0x600, Size::B4), 8);
        assert_eq!(rig.mmio_read(BAR2 + 0x604, Size::B4), 0x1e1e_1e1e);
        rig.mmio_write(0xa_0000, Size::B2, 0x00f8);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), [0, 28, 198]);
        rig.mmio_write(BAR2 + 0x604, Size::B4, 0xbebe_bebe);
        assert_eq!(pixel(&vga.lock().screen(), 0, 0), [255, 0, 0]);
        assert_eq!(rig.mmio_read(BAR2 + 0x604, Size::B4), 0xbebe_bebe);
        assert_eq!(rig.mmio_read(BAR2 + 0x700, Size::B4), 0);
    });
}

#[test]
fn an_adapter_without_extension_registers_has_one_byte_order() {
    scenario(|rig| {
        let (wiring, block) = (rig.wiring(), new_block(0, VRAM_MIN).unwrap());
        rig.attach_pci(Vga::new(&wiring, block).without_extension(), &wiring, 2, 0);
        map(rig);
        assert_eq!(rig.config_read(2, 0, 8, Size::B1), 0, "the revision");
        for register in [0x600, 0x604] {
            assert_eq!(rig.mmio_read(BAR2 + register, Size::B4), 0xffff_ffff);
        }
        rig.mmio_write(BAR2 + 0x604, Size::B4, 0xbebe_bebe);
        assert_eq!(rig.mmio_read(BAR2 + 0x604, Size::B4), 0xffff_ffff);
        assert_eq!(rig.mmio_read(BAR2 + 0x500, Size::B2), 0xb0c5);
    });
}

#[test]
fn the_monitor_prefers_1280_by_800() {
    let mut rig = Rig::new();
    attach(&mut rig);
    map(&mut rig);
    let edid: Vec<u8> = (0..0x100).map(|at| rig.mmio_read(BAR2 + at, Size::B1) as u8).collect();
    assert_eq!(edid[..8], [0, 255, 255, 255, 255, 255, 255, 0]);
    assert_eq!(edid[..128].iter().fold(0u8, |sum, &byte| sum.wrapping_add(byte)), 0);
    let wide = |low: usize, high: usize| u32::from(edid[low]) | u32::from(edid[high] & 0xf0) << 4;
    assert_eq!((wide(56, 58), wide(59, 61)), (1280, 800));
    assert_eq!(edid[126], 0, "no extension");
    assert!(edid[128..].iter().all(|&byte| byte == 0));
}

#[test]
fn a_secondary_one_has_bars_alone() {
    scenario(|rig| {
        let block = new_block(0, VRAM_MIN).unwrap();
        let wiring = rig.wiring();
        let vga = Vga::secondary("second", &wiring, block).with_edid(Vec::new());
        let vga = rig.attach_pci(vga, &wiring, 2, 0);
        map(rig);
        assert_eq!(rig.config_read(2, 0, 8, Size::B4) >> 8, 0x03_8000);
        // Nobody answers at the ports and in the window.
        assert_eq!((rig.inb(0x3cc), rig.inw(0x1ce), rig.mmio_read(0xa_0000, Size::B1)), (0xff, 0xffff, 0xff));
        assert_eq!(rig.mmio_read(BAR2, Size::B4), 0, "no monitor");
        assert!(!crate::display::vga::Adapter::is_active(&*vga.lock()));
        for (register, value) in [(0x502, 640), (0x504, 400), (0x506, 16), (0x508, 0x41)] {
            rig.mmio_write(BAR2 + register, Size::B2, value);
        }
        assert!(crate::display::vga::Adapter::is_active(&*vga.lock()));
        assert_eq!(vga.lock().screen().width(), 640);
        // Linux's driver unblanks through the VGA's registers in BAR 2.
        rig.mmio_write(BAR2 + 0x400, Size::B1, 0x20);
        assert_eq!(rig.mmio_read(BAR2 + 0x500, Size::B2), 0xb0c5);
    });
}

#[test]
fn memory_that_somebody_else_saves_is_left_alone() {
    let whole = |elsewhere: bool| {
        let mut rig = Rig::new();
        let block = new_block(0, VRAM_MIN).unwrap();
        let wiring = rig.wiring();
        let vga = Vga::new(&wiring, block.clone());
        let vga = if elsewhere { vga.memory_saved_elsewhere() } else { vga };
        rig.attach_pci(vga, &wiring, 2, 0);
        (rig, block)
    };
    let byte = |block: &RamBlock| block.read_obj::<u8>(MemoryRegionAddress(0x5000)).unwrap();
    let (mut rig, block) = whole(true);
    poke(&block, 0x5000, &[0x77]);
    mode(&mut rig, 640, 480, 32, 1 << 7);
    let without = rig.bus().save().unwrap().remove(0).1;
    assert!(without.body.len() < 8192, "{} bytes", without.body.len());
    // The pages come first, by another way.
    let (mut other, block) = whole(true);
    poke(&block, 0x5000, &[0x77]);
    other.bus().load("vga", &without).unwrap().unwrap();
    assert_eq!((byte(&block), get(&mut other, 1)), (0x77, 640));
    // A state from a machine that saves it all brings its memory along, and only such a one can be had there.
    let (rig, block) = whole(false);
    poke(&block, 0x5000, &[0x33]);
    let with = rig.bus().save().unwrap().remove(0).1;
    assert!(rig.bus().load("vga", &without).unwrap().is_err());
    let (other, block) = whole(true);
    other.bus().load("vga", &with).unwrap().unwrap();
    assert_eq!(byte(&block), 0x33);
}
