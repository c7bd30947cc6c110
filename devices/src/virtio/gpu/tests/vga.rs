//! The GPU that is a VGA too.

use hypervisor::memory::new_block;

use super::super::vga::{VgaEye, VirtioVga};
use super::*;
use crate::display::vga::Vga;

/// Where the firmware puts the BARs, and the structures that are elsewhere than usual.
const VRAM: u64 = 0xd000_0000;
const BAR: u64 = 0xe020_0000;
const COMMON: u64 = BAR + 0x1000;

struct Both {
    cell: Arc<DeviceCell<VirtioVga>>,
    eye: VgaEye,
    control: DriverQueue,
}

fn attach(rig: &mut Rig) -> (Arc<DeviceCell<VirtioVga>>, VgaEye) {
    let wiring = rig.wiring();
    let handles =
        Handles { name: "gpu", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let how = PciOptions { legacy: true, modern: true, vectors: 3, features: USUAL_FEATURES };
    let vga = Vga::new(&wiring, new_block(0, 1 << 20).unwrap());
    let options = Options { class: 0x03_00_00, model: &model::VGA, outputs: 1, ..options() };
    let device = VirtioVga::new(vga, Gpu::new(options, &wiring), how, handles);
    let cell = rig.attach_pci(device, &wiring, SLOT, 0);
    for (reg, value) in [(0x10, VRAM), (0x18, BAR), (0x1c, 0), (0x20, BAR + 0x10_0000)] {
        rig.config_write(SLOT, 0, reg, Size::B4, value as u32);
    }
    rig.config_write(SLOT, 0, 4, Size::B2, 7);
    let eye = VgaEye::new(&cell);
    (cell, eye)
}

/// A driver of the GPU, where the capabilities say.
fn start(rig: &mut Rig) -> Both {
    let (cell, eye) = attach(rig);
    let set = |rig: &mut Rig, at: u64, size: Size, value: u64| rig.mmio_write(COMMON + at, size, value);
    for value in [0, 1, 3] {
        set(rig, 0x14, Size::B1, value);
    }
    for half in [0, 1] {
        set(rig, 8, Size::B4, half);
        set(rig, 0xc, Size::B4, half);
    }
    set(rig, 0x14, Size::B1, 0xb);
    let control = DriverQueue::new(rig.ram().clone(), QUEUES[0], 16, ring::VERSION_1);
    let place = control.place();
    set(rig, 0x18, Size::B2, place.size.into());
    for (register, address) in [(0x20, place.descriptors), (0x28, place.driver), (0x30, place.device)] {
        set(rig, register, Size::B4, address);
    }
    set(rig, 0x1c, Size::B2, 1);
    set(rig, 0x14, Size::B1, 0xf);
    assert_eq!(rig.mmio_read(COMMON + 0x14, Size::B1), 0xf);
    Both { cell, eye, control }
}

impl Both {
    fn run(&mut self, rig: &mut Rig, kind: u32, words: &[u32]) -> u32 {
        let bytes = bytes(kind, words);
        rig.poke(COMMAND, &bytes);
        let command = Buffer { gpa: COMMAND, len: bytes.len() as u32, write: false };
        assert!(self.control.offer(&[command, Buffer { gpa: ANSWER, len: 24, write: true }], false, 0));
        rig.mmio_write(BAR + 0x3000, Size::B2, 0);
        assert_eq!(self.control.used(), Some((0, 24)));
        word(&rig.peek(ANSWER, 4), 0)
    }
}

#[test]
fn it_is_where_qemu_has_it() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x1050_1af4);
        assert_eq!(rig.config_read(SLOT, 0, 8, Size::B4), 0x0300_0001);
        let structures = [(0x40, 1), (0x50, 3), (0x60, 4), (0x70, 2)].map(|(cap, kind)| {
            assert_eq!(rig.config_read(SLOT, 0, cap + 3, Size::B2), 2 << 8 | kind, "BAR 2");
            (rig.config_read(SLOT, 0, cap + 8, Size::B4), rig.config_read(SLOT, 0, cap + 12, Size::B4))
        });
        assert_eq!(structures, [(0x1000, 0x800), (0x1800, 0x800), (0x2000, 0x1000), (0x3000, 0x1000)]);
        // MSI-X in BAR 4.
        assert_eq!(rig.config_read(SLOT, 0, 0x9c, Size::B4) & 7, 4);
        // DISPI at the ports, and its registers in BAR 2; no EDID there.
        rig.outw(0x1ce, 0);
        assert_eq!((rig.inw(0x1d0), rig.mmio_read(BAR + 0x500, Size::B2)), (0xb0c5, 0xb0c5));
        assert_eq!((rig.mmio_read(BAR, Size::B4), rig.mmio_read(BAR + 0xa00, Size::B4)), (0, 0));
        assert_eq!(rig.mmio_read(BAR + 0x2008, Size::B4), 1, "heads");
    });
}

#[test]
fn a_picture_of_the_gpu_s_is_seen_until_its_reset() {
    scenario(|rig| {
        let mut both = start(rig);
        for (index, value) in [(1, 32), (2, 16), (3, 32), (4, 0x41)] {
            rig.outw(0x1ce, index);
            rig.outw(0x1d0, value);
        }
        rig.outb(0x3c0, 0x20);
        assert_eq!(both.eye.frame().size(), (32, 16), "the VGA's");
        assert_eq!(both.run(rig, command::RESOURCE_CREATE_2D, &[1, 2, 8, 4]), response::OK_NODATA);
        let attach = [1, 1, PIXELS as u32, 0, 128, 0];
        assert_eq!(both.run(rig, command::RESOURCE_ATTACH_BACKING, &attach), response::OK_NODATA);
        pattern(rig, (8, 4));
        let transfer = [0, 0, 8, 4, 0, 0, 1, 0];
        assert_eq!(both.run(rig, command::TRANSFER_TO_HOST_2D, &transfer), response::OK_NODATA);
        both.eye.look();
        assert_eq!(both.run(rig, command::SET_SCANOUT, &[0, 0, 8, 4, 0, 1]), response::OK_NODATA);
        let (frame, rows) = both.eye.look();
        assert_eq!((frame.size(), rows, line(&*frame, 3)[5]), ((8, 4), (0..4).into(), [5, 3, 7]));
        assert_eq!(both.eye.head(0).unwrap().size(), (8, 4));
        // A screen that is off is the GPU's still.
        assert_eq!(both.run(rig, command::SET_SCANOUT, &[0; 6]), response::OK_NODATA);
        assert_eq!(both.eye.frame().size(), (640, 480));
        rig.mmio_write(COMMON + 0x14, Size::B1, 0);
        let (frame, rows) = both.eye.look();
        assert_eq!((frame.size(), rows), ((32, 16), (0..16).into()));
        assert_eq!(both.cell.lock().name(), "gpu");
    });
}

/// Windows's driver has its pictures in BAR 0.
#[test]
fn backing_may_be_in_video_memory() {
    scenario(|rig| {
        let mut both = start(rig);
        assert_eq!(both.run(rig, command::RESOURCE_CREATE_2D, &[1, 2, 8, 4]), response::OK_NODATA);
        let attach = |at: u64, len: u32| [1, 1, at as u32, 0, len, 0];
        for (at, len) in [(VRAM + 0xf_ffff, 2), (VRAM - 1, 4), (VRAM + (1 << 20), 4)] {
            let answer = both.run(rig, command::RESOURCE_ATTACH_BACKING, &attach(at, len));
            assert_eq!(answer, response::ERR_UNSPEC, "{at:#x}");
        }
        let last = VRAM + (1 << 20) - 128;
        assert_eq!(both.run(rig, command::RESOURCE_ATTACH_BACKING, &attach(last, 128)), response::OK_NODATA);
        // The last bytes of the window, as the firmware reaches them: bank 15 of 64 KiB.
        for (index, value) in [(1, 32), (2, 16), (3, 8), (4, 0x41), (5, 15)] {
            rig.outw(0x1ce, index);
            rig.outw(0x1d0, value);
        }
        rig.mmio_write(0xa_fffc, Size::B4, 0x0001_0203);
        assert_eq!(
            both.run(rig, command::TRANSFER_TO_HOST_2D, &[0, 0, 8, 4, 0, 0, 1, 0]),
            response::OK_NODATA
        );
        assert_eq!(both.run(rig, command::SET_SCANOUT, &[0, 0, 8, 4, 0, 1]), response::OK_NODATA);
        assert_eq!(line(&*both.eye.frame(), 3)[7], [1, 2, 3]);
    });
}

#[test]
fn fuzzed_with_its_vga() {
    let build = || {
        let mut rig = Rig::new();
        let cell = attach(&mut rig);
        (rig, cell)
    };
    let places = [
        FuzzRange::Memory(BAR, 0x3010),
        FuzzRange::Memory(0xa_0000, 0x2_0000),
        FuzzRange::Ports(0x1ce, 4),
        FuzzRange::Ports(0x3c0, 0x20),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(build, 12, &places, |(_, (_, eye)), what| {
        if what < 4 {
            eye.look();
        }
    });
}
