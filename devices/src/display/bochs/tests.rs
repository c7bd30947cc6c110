use devices_core::picture::DisplayAdapter;
use devices_core::rig::{Rig, scenario};
use devices_core::{Size, Space};
use hypervisor::RamBlock;
use hypervisor::memory::new_block;
use vm_memory::{Bytes, MemoryRegionAddress};

use super::spec::{BIG, BYTE_ORDER, DISPI, EXTENSION};
use super::{BochsDisplay, VRAM_MIN};
use crate::display::edid::Monitor;
use crate::display::vga::Eye;

const LFB: u64 = 0xe000_0000;
const MMIO: u64 = 0xe800_0000;

type Screen = Eye<BochsDisplay, BochsDisplay>;

fn rig() -> (Rig, Screen, RamBlock) {
    let mut rig = Rig::new();
    let (screen, vram) = attach(&mut rig);
    (rig, screen, vram)
}

fn attach(rig: &mut Rig) -> (Screen, RamBlock) {
    let vram = new_block(0, VRAM_MIN).unwrap();
    let edid = Monitor { name: "Ailurus", preferred: (5120, 2160) }.edid();
    let wiring = rig.wiring();
    let display = BochsDisplay::new("display", vram.clone(), edid);
    let cell = rig.attach_pci(display, &wiring, 3, 0);
    (Eye::new(&cell), vram)
}

fn place(rig: &mut Rig) {
    rig.config_write(3, 0, 0x10, Size::B4, LFB as u32);
    rig.config_write(3, 0, 0x18, Size::B4, MMIO as u32);
    rig.config_write(3, 0, 4, Size::B2, 2);
}

fn dispi(rig: &mut Rig, index: u64, value: u16) {
    rig.mmio_write(MMIO + DISPI.start + 2 * index, Size::B2, value.into());
}

/// A mode, as Linux's bochs-drm sets one: off, all registers, on.
fn mode(rig: &mut Rig, (width, height, bpp): (u16, u16, u16)) {
    for (index, value) in [(4, 0), (3, bpp), (1, width), (2, height), (5, 0), (6, width), (8, 0), (9, 0)] {
        dispi(rig, index, value);
    }
    dispi(rig, 4, 0x41);
}

#[test]
fn a_driver_sets_a_mode_and_draws() {
    let (mut rig, eye, vram) = rig();
    place(&mut rig);
    assert_eq!(rig.config_read(3, 0, 0, Size::B4), 0x1111_1234);
    assert_eq!(rig.config_read(3, 0, 8, Size::B4) >> 8, 0x03_8000);
    assert_eq!(rig.mmio_read(MMIO + DISPI.start, Size::B2), 0xb0c5);
    assert_eq!(rig.mmio_read(MMIO + DISPI.start + 20, Size::B2), VRAM_MIN >> 16);
    assert!(!eye.is_active());
    mode(&mut rig, (640, 480, 32));
    vram.write_slice(&[0x56, 0x34, 0x12, 0], MemoryRegionAddress(4 * (640 * 7 + 9))).unwrap();
    assert!(eye.is_active());
    let mut row = vec![[0; 3]; 640];
    let frame = eye.frame();
    assert_eq!(frame.size(), (640, 480));
    frame.line(0, 7, &mut row);
    assert_eq!((row[9], row[10]), ([0x12, 0x34, 0x56], [0; 3]));
    // Pixels with the high byte first.
    rig.mmio_write(MMIO + BYTE_ORDER, Size::B4, BIG.into());
    eye.frame().line(0, 7, &mut row);
    assert_eq!(row[9], [0x34, 0x12, 0x00]);
    assert_eq!(rig.mmio_read(MMIO + EXTENSION, Size::B4), 8);
}

#[test]
fn a_scenario_is_the_same_when_saved_at_every_step() {
    scenario(|rig| {
        let (screen, vram) = attach(rig);
        place(rig);
        mode(rig, (800, 600, 16));
        vram.write_obj(0x77u8, MemoryRegionAddress(5000)).unwrap();
        rig.mmio_write(MMIO + BYTE_ORDER, Size::B4, BIG.into());
        let words: Vec<_> = (0..11).map(|n| rig.mmio_read(MMIO + DISPI.start + 2 * n, Size::B2)).collect();
        assert_eq!(words, [0xb0c5, 800, 600, 16, 0x41, 0, 800, 0, 0, 0, 0x40]);
        assert_eq!(rig.mmio_read(MMIO + BYTE_ORDER, Size::B4), u64::from(BIG));
        assert_eq!(screen.frame().size(), (800, 600));
        assert_eq!(vram.read_obj::<u8>(MemoryRegionAddress(5000)).unwrap(), 0x77);
    });
}

/// Registers hold anything; what the memory does not have is not shown (CVE-2014-7815 and its kind).
#[test]
fn a_mode_beyond_the_memory_is_black() {
    let (mut rig, eye, _) = rig();
    place(&mut rig);
    for (wrong, further) in [
        ((0xffff, 0xffff, 32), (9, 0)),
        ((1024, 1025, 32), (9, 0)),
        ((640, 480, 32), (9, 0xffff)),
        ((640, 480, 32), (6, 0xffff)),
        ((63, 480, 32), (9, 0)),
        ((640, 0, 32), (9, 0)),
        ((640, 480, 24), (9, 0)),
        ((640, 480, 8), (9, 0)),
    ] {
        mode(&mut rig, wrong);
        dispi(&mut rig, further.0, further.1);
        let frame = eye.frame();
        let (width, _) = frame.size();
        let mut row = vec![[1; 3]; width as usize];
        frame.line(0, 0, &mut row);
        assert!(!eye.is_active() && row.iter().all(|pixel| *pixel == [0; 3]), "{wrong:?} {further:?}");
    }
    // To the last byte.
    mode(&mut rig, (1024, 1024, 32));
    assert!(eye.is_active());
}

#[test]
fn a_wide_monitor_is_told_in_two_blocks() {
    let (mut rig, _, _) = rig();
    place(&mut rig);
    let bytes: Vec<u8> = (0..0x400).map(|at| rig.mmio_read(MMIO + at, Size::B1) as u8).collect();
    assert_eq!((bytes[0], bytes[1], bytes[126], bytes[128]), (0, 255, 1, 0x70));
    assert!(bytes[256..].iter().all(|byte| *byte == 0xff), "nothing");
}

#[test]
fn a_reset_leaves_the_memory() {
    let (mut rig, eye, vram) = rig();
    place(&mut rig);
    mode(&mut rig, (640, 480, 32));
    vram.write_obj(7u8, MemoryRegionAddress(9)).unwrap();
    rig.reset();
    assert!(!eye.is_active());
    assert_eq!(vram.read_obj::<u8>(MemoryRegionAddress(9)).unwrap(), 7);
}

#[test]
fn a_hostile_guest_breaks_nothing() {
    let (mut rig, _, _) = rig();
    place(&mut rig);
    rig.batter(&[(Space::Mmio, MMIO, 0x1000)], 0xb0c5, 5_000);
}
