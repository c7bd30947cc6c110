//! The device on PCI: pictures, pointers, monitors, saved states.

mod hostile;
mod start;
mod vga;

use std::sync::Arc;

use devices_core::picture::{DirtyRows, DisplayAdapter, Frame};
use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};
use devices_core::{Device, DeviceCell, Size};

use super::super::driver::pci::{self as driver, MEMORY, SLOT};
use super::super::driver::{Buffer, DriverQueue};
use super::super::pci::spec::{DEVICE, NO_VECTOR};
use super::super::pci::{Handles, Options as PciOptions, USUAL_FEATURES, VirtioPci};
use super::super::spec::feature as ring;
use super::heads::Window;
use super::spec::{HEADER, command, config, feature, queue, response};
use super::*;

const QUEUES: [u64; 2] = [0x4_0000, 0x5_0000];
const COMMAND: u64 = 0x1_0000;
const ANSWER: u64 = 0x1_8000;
/// Where the tests have pixels.
const PIXELS: u64 = 0x8_0000;

type Cell = Arc<DeviceCell<VirtioPci<Gpu>>>;

fn options() -> Options {
    Options {
        outputs: 2,
        edid: true,
        size: (1280, 800),
        max_hostmem: 1 << 20,
        class: 0x03_80_00,
        model: &model::MODEL,
    }
}

fn attach_with(rig: &mut Rig, options: Options) -> Cell {
    let wiring = rig.wiring();
    let handles =
        Handles { name: "gpu", ram: rig.ram().clone(), inta: rig.irqs().line(11), msi: rig.recorder() };
    let how = PciOptions { legacy: true, modern: true, vectors: 3, features: USUAL_FEATURES };
    let gpu = Gpu::new(options, &wiring);
    let cell = rig.attach_pci(VirtioPci::new(gpu, how, handles), &wiring, SLOT, 0);
    driver::map(rig);
    cell
}

/// A device whose driver is set up.
struct Started {
    eye: Arc<dyn DisplayAdapter>,
    cell: Cell,
    queues: [DriverQueue; 2],
}

impl Started {
    fn new(rig: &mut Rig) -> Started {
        Started::with(rig, options())
    }

    fn with(rig: &mut Rig, options: Options) -> Started {
        let cell = attach_with(rig, options);
        let accepted = ring::VERSION_1 | feature::EDID;
        driver::negotiate(rig, accepted);
        let queues = QUEUES.map(|at| DriverQueue::new(rig.ram().clone(), at, 16, accepted));
        for (number, queue) in (0..).zip(&queues) {
            driver::enable(rig, number, queue.place(), NO_VECTOR);
        }
        driver::ready(rig);
        let eye = cell.lock().device().display();
        Started { eye, cell, queues }
    }

    /// A command of these bytes; type of the answer, and what follows its header.
    fn raw(&mut self, rig: &mut Rig, bytes: &[u8], room: u32) -> Vec<u8> {
        rig.poke(COMMAND, bytes);
        rig.poke(ANSWER, &vec![0xee; room as usize]);
        let buffers = [
            Buffer { gpa: COMMAND, len: bytes.len() as u32, write: false },
            Buffer { gpa: ANSWER, len: room, write: true },
        ];
        assert!(self.queues[0].offer(&buffers, false, 0));
        driver::notify(rig, queue::CONTROL);
        let (_, len) = self.queues[0].used().expect("it answers at once");
        rig.peek(ANSWER, len as usize)
    }

    /// A command of these words behind its header: the type of the answer.
    fn run(&mut self, rig: &mut Rig, kind: u32, words: &[u32]) -> u32 {
        word(&self.raw(rig, &bytes(kind, words), 2048), 0)
    }

    /// The same, which is to be done.
    fn done(&mut self, rig: &mut Rig, kind: u32, words: &[u32]) {
        assert_eq!(self.run(rig, kind, words), response::OK_NODATA, "{kind:#x} {words:?}");
    }

    /// Makes a resource with backing in one piece.
    fn resource(&mut self, rig: &mut Rig, id: u32, format: u32, (width, height): (u32, u32)) {
        self.done(rig, command::RESOURCE_CREATE_2D, &[id, format, width, height]);
        let len = width * height * 4;
        self.done(rig, command::RESOURCE_ATTACH_BACKING, &[id, 1, PIXELS as u32, 0, len, 0]);
    }

    fn transfer(&mut self, rig: &mut Rig, id: u32, [x, y, width, height]: [u32; 4], offset: u32) {
        self.done(rig, command::TRANSFER_TO_HOST_2D, &[x, y, width, height, offset, 0, id, 0]);
    }

    fn flush(&mut self, rig: &mut Rig, id: u32, [x, y, width, height]: [u32; 4]) {
        self.done(rig, command::RESOURCE_FLUSH, &[x, y, width, height, id, 0]);
    }

    fn show(&mut self, rig: &mut Rig, head: u32, id: u32, [x, y, width, height]: [u32; 4]) {
        self.done(rig, command::SET_SCANOUT, &[x, y, width, height, head, id]);
    }

    fn cursor(&mut self, rig: &mut Rig, kind: u32, words: &[u32]) {
        let bytes = bytes(kind, words);
        rig.poke(COMMAND, &bytes);
        let buffer = Buffer { gpa: COMMAND, len: bytes.len() as u32, write: false };
        assert!(self.queues[1].offer(&[buffer], false, 0));
        driver::notify(rig, queue::CURSOR);
        assert_eq!(self.queues[1].used(), Some((0, 0)));
    }

    /// A line of what a head shows.
    fn line(&self, head: u32, y: u32) -> Vec<[u8; 3]> {
        line(&*self.eye.head(head).unwrap(), y)
    }
}

fn line(frame: &dyn Frame, y: u32) -> Vec<[u8; 3]> {
    let mut out = vec![[9; 3]; frame.size().0 as usize];
    frame.line(0, y, &mut out);
    out
}

fn bytes(kind: u32, words: &[u32]) -> Vec<u8> {
    let header = [kind, 0, 0, 0, 0, 0];
    header.iter().chain(words).flat_map(|word| word.to_le_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// Pixels of `B8G8R8X8`: red tells the column, green the line.
fn pattern(rig: &Rig, (width, height): (u32, u32)) {
    let pixels = (0..height).flat_map(|y| (0..width).flat_map(move |x| [7, y as u8, x as u8, 0]));
    rig.poke(PIXELS, &pixels.collect::<Vec<u8>>());
}

#[test]
fn a_picture_comes_from_guest_memory() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        assert!(!gpu.eye.is_active());
        assert_eq!(gpu.eye.frame().size(), (640, 480));
        gpu.resource(rig, 5, 2, (20, 10));
        pattern(rig, (20, 10));
        gpu.transfer(rig, 5, [0, 0, 20, 10], 0);
        gpu.show(rig, 0, 5, [2, 3, 16, 6]);
        assert!(gpu.eye.is_active());
        assert_eq!(gpu.eye.frame().size(), (16, 6));
        let expected: Vec<[u8; 3]> = (2..18).map(|x| [x, 4, 7]).collect();
        assert_eq!(gpu.line(0, 1), expected);
        // A part, which lies in the backing where it lies in the picture; and one from elsewhere.
        rig.poke(PIXELS + (4 * 20 + 3) * 4, &[1, 2, 3, 4]);
        gpu.transfer(rig, 5, [3, 4, 1, 1], (4 * 20 + 3) * 4);
        assert_eq!(gpu.line(0, 1)[..2], [[2, 4, 7], [3, 2, 1]]);
        gpu.transfer(rig, 5, [3, 4, 2, 2], 0);
        assert_eq!(gpu.line(0, 2)[..3], [[2, 5, 7], [0, 1, 7], [1, 1, 7]]);
        gpu.show(rig, 0, 0, [0; 4]);
        assert!(!gpu.eye.is_active());
    });
}

#[test]
fn backing_in_pieces_is_one_range() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        gpu.done(rig, command::RESOURCE_CREATE_2D, &[1, 2, 4, 2]);
        // Pieces of 4, 12 and 16 bytes, the last one first in memory.
        let at = PIXELS as u32;
        let entries = [at + 0x100, 0, 4, 0, at + 0x200, 0, 12, 0, at, 0, 16, 0];
        gpu.done(rig, command::RESOURCE_ATTACH_BACKING, &[&[1, 3][..], &entries].concat());
        rig.poke(PIXELS + 0x100, &[1; 4]);
        rig.poke(PIXELS + 0x200, &[2; 12]);
        rig.poke(PIXELS, &[3; 16]);
        gpu.transfer(rig, 1, [0, 0, 4, 2], 0);
        gpu.show(rig, 0, 1, [0, 0, 4, 2]);
        assert_eq!(gpu.line(0, 0), [[1; 3], [2; 3], [2; 3], [2; 3]]);
        assert_eq!(gpu.line(0, 1), [[3; 3]; 4]);
        // What the backing lacks stays.
        gpu.transfer(rig, 1, [0, 0, 4, 2], 12);
        assert_eq!((gpu.line(0, 0), gpu.line(0, 1)), (vec![[2; 3], [3; 3], [3; 3], [3; 3]], vec![[3; 3]; 4]));
    });
}

#[test]
fn what_was_flushed_is_looked_at_again() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        gpu.resource(rig, 1, 2, (16, 100));
        gpu.show(rig, 0, 1, [0, 20, 16, 60]);
        assert_eq!(gpu.eye.look().1, DirtyRows::from(0..60), "a new mode");
        gpu.flush(rig, 1, [0, 0, 16, 20]);
        gpu.flush(rig, 1, [0, 80, 16, 20]);
        // A rig that saves and loads in between sees all as changed.
        let first = gpu.eye.look().1;
        assert!(first.is_empty() || first == DirtyRows::from(0..60), "{first:?}");
    });
    let mut rig = Rig::new();
    let mut gpu = Started::new(&mut rig);
    gpu.resource(&mut rig, 1, 2, (16, 100));
    gpu.show(&mut rig, 0, 1, [0, 20, 16, 60]);
    gpu.eye.look();
    gpu.flush(&mut rig, 1, [0, 10, 3, 12]);
    gpu.flush(&mut rig, 1, [5, 50, 3, 100 - 50]);
    gpu.flush(&mut rig, 1, [0, 90, 16, 10]);
    assert_eq!(gpu.eye.look().1.ranges(), [0..2, 30..60]);
    assert!(gpu.eye.look().1.is_empty());
    // The other head's are its own.
    gpu.show(&mut rig, 1, 1, [0, 0, 16, 100]);
    assert!(gpu.eye.look().1.is_empty());
}

#[test]
fn who_looks_keeps_the_picture_and_holds_nobody_up() {
    let mut rig = Rig::new();
    let mut gpu = Started::new(&mut rig);
    gpu.resource(&mut rig, 1, 2, (20, 10));
    pattern(&rig, (20, 10));
    gpu.transfer(&mut rig, 1, [0, 0, 20, 10], 0);
    gpu.show(&mut rig, 0, 1, [0, 0, 20, 10]);
    let held = gpu.cell.lock();
    let frame = gpu.eye.frame();
    let (again, _) = gpu.eye.look();
    drop(held);
    gpu.done(&mut rig, command::RESOURCE_UNREF, &[1, 0]);
    assert_eq!(line(&*frame, 3)[19], [19, 3, 7]);
    assert_eq!(line(&*again, 9)[0], [0, 9, 7]);
    assert_eq!(gpu.eye.frame().size(), (640, 480));
}

#[test]
fn a_pointer_is_on_the_picture() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        gpu.resource(rig, 1, 2, (100, 80));
        gpu.show(rig, 0, 1, [0, 0, 100, 80]);
        gpu.resource(rig, 2, 1, (64, 64));
        rig.poke(PIXELS, &[[10, 20, 30, 255]; 64 * 64].concat());
        gpu.transfer(rig, 2, [0, 0, 64, 64], 0);
        gpu.cursor(rig, command::UPDATE_CURSOR, &[0, 90, 2, 0, 2, 5, 5, 0]);
        assert_eq!(
            (gpu.line(0, 1)[90], gpu.line(0, 2)[89..91].to_vec()),
            ([0; 3], vec![[0; 3], [30, 20, 10]])
        );
        // Who can show it by itself sees what is below it.
        let frame = gpu.eye.frame();
        let pointer = frame.pointer().unwrap();
        assert_eq!((pointer.at, pointer.shape.hot, pointer.shape.size), ((90, 2), (5, 5), (64, 64)));
        assert_eq!(pointer.shape.pixels[64 * 64 - 1], [30, 20, 10, 255]);
        let mut below = [[1; 3]; 100];
        frame.line_below(0, 2, &mut below);
        assert_eq!(below, [[0; 3]; 100]);
        // It keeps its shape without its resource, and goes beyond the edge.
        gpu.done(rig, command::RESOURCE_UNREF, &[2, 0]);
        gpu.cursor(rig, command::MOVE_CURSOR, &[0, (-60i32) as u32, (-63i32) as u32, 0, 0, 0, 0, 0]);
        assert_eq!((gpu.line(0, 0)[3..5].to_vec(), gpu.line(0, 1)[0]), (vec![[30, 20, 10], [0; 3]], [0; 3]));
        // One of another size is none, and so is no resource.
        gpu.cursor(rig, command::UPDATE_CURSOR, &[0, 0, 0, 0, 1, 0, 0, 0]);
        assert_eq!(gpu.line(0, 0)[0], [0; 3]);
        assert!(gpu.eye.frame().pointer().is_none());
    });
}

#[test]
fn a_window_of_another_size_is_a_monitor_of_another_size() {
    scenario(|rig| {
        let gpu = Started::new(rig);
        let window = Window::new(&gpu.cell);
        assert!(window.resizes());
        window.resize((1280, 800));
        assert_eq!(events(rig), 0, "it has that size");
        window.resize((1024, 768));
        assert_eq!(events(rig), 1);
        rig.mmio_write(MEMORY + DEVICE.offset + 4, Size::B4, 1);
        window.resize((u32::MAX, 0));
        assert_eq!((events(rig), gpu.cell.lock().device().heads.lock()[0].wanted), (1, (16384, 1)));
    });
}

fn events(rig: &mut Rig) -> u64 {
    rig.mmio_read(MEMORY + DEVICE.offset + config::EVENTS_READ as u64, Size::B4)
}

#[test]
fn monitors_are_told_and_change() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        let info = gpu.raw(rig, &bytes(command::GET_DISPLAY_INFO, &[]), 2048);
        assert_eq!((info.len(), word(&info, 0)), (HEADER + 16 * 24, response::OK_DISPLAY_INFO));
        let head = |info: &[u8], number: usize| -> Vec<u32> {
            (0..6).map(|field| word(info, HEADER + number * 24 + field * 4)).collect()
        };
        assert_eq!(head(&info, 0), [0, 0, 1280, 800, 1, 0]);
        assert_eq!((1..16).map(|n| head(&info, n)).find(|head| *head != [0; 6]), None);
        let slot = rig.bus().slots().into_iter().find(|(name, _)| name == "gpu").unwrap().1;
        assert!(slot.lock().pci().is_some());
        gpu.cell.lock().with(|device, common| device.connect(common, 1, (1920, 1080)));
        assert!(rig.irq(11));
        assert_eq!(events(rig), 1);
        // Only what is cleared goes.
        rig.mmio_write(MEMORY + DEVICE.offset + 4, Size::B4, 2);
        assert_eq!(events(rig), 1);
        rig.mmio_write(MEMORY + DEVICE.offset + 4, Size::B4, 1);
        assert_eq!(events(rig), 0);
        let info = gpu.raw(rig, &bytes(command::GET_DISPLAY_INFO, &[]), 2048);
        assert_eq!((head(&info, 0)[2], head(&info, 1)), (1280, vec![0, 0, 1920, 1080, 1, 0]));
        let edid = gpu.raw(rig, &bytes(command::GET_EDID, &[1, 0]), 2048);
        assert_eq!((edid.len(), word(&edid, 0), word(&edid, HEADER)), (1056, response::OK_EDID, 128));
        assert_eq!(edid[HEADER + 8 + 54 + 2], (1920 & 0xff) as u8);
        assert_eq!(gpu.run(rig, command::GET_EDID, &[2, 0]), response::ERR_INVALID_PARAMETER);
    });
}

#[test]
fn what_is_not_offered_is_not_known() {
    let mut rig = Rig::new();
    let mut gpu = Started::with(&mut rig, Options { edid: false, ..options() });
    assert_eq!(driver::offered(&mut rig) & 0x1f, 0);
    for kind in [0, 0xff, command::GET_EDID, 0x108, 0x109, 0x10b, 0x200, command::UPDATE_CURSOR, u32::MAX] {
        assert_eq!(gpu.run(&mut rig, kind, &[0; 16]), response::ERR_UNSPEC, "{kind:#x}");
    }
}

#[test]
fn a_fence_comes_back_with_its_answer() {
    scenario(|rig| {
        let mut gpu = Started::new(rig);
        for (kind, expected) in
            [(command::GET_DISPLAY_INFO, response::OK_DISPLAY_INFO), (0x999, response::ERR_UNSPEC)]
        {
            let words = [kind, 1, 0x1234_5678, 0x9abc_def0, 77, 0];
            let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
            let answer = gpu.raw(rig, &bytes, 2048);
            let head: Vec<u32> = (0..6).map(|at| word(&answer, at * 4)).collect();
            assert_eq!(head, [expected, 1, 0x1234_5678, 0x9abc_def0, 77, 0]);
            let without = [&words[..1], &[2], &words[2..]].concat();
            let bytes: Vec<u8> = without.iter().flat_map(|word| word.to_le_bytes()).collect();
            let answer = gpu.raw(rig, &bytes, 2048);
            assert_eq!((word(&answer, 4), word(&answer, 8)), (0, 0));
        }
    });
}

#[test]
fn each_format_is_shown_in_its_colours() {
    let mut rig = Rig::new();
    let mut gpu = Started::new(&mut rig);
    rig.poke(PIXELS, &[1, 2, 3, 4].repeat(16));
    let formats = [1, 2, 3, 4, 67, 68, 121, 134];
    let colours = formats.map(|format| {
        gpu.resource(&mut rig, format, format, (4, 4));
        gpu.transfer(&mut rig, format, [0, 0, 4, 4], 0);
        gpu.show(&mut rig, 0, format, [0, 0, 4, 4]);
        gpu.line(0, 2)[3]
    });
    let (bgr, rgb) = ([3, 2, 1], [1, 2, 3]);
    assert_eq!(colours, [bgr, bgr, [2, 3, 4], [2, 3, 4], rgb, [4, 3, 2], [4, 3, 2], rgb]);
}

#[test]
fn a_reset_frees_all() {
    let mut rig = Rig::new();
    let mut gpu = Started::new(&mut rig);
    gpu.resource(&mut rig, 1, 2, (16, 16));
    gpu.show(&mut rig, 0, 1, [0, 0, 16, 16]);
    driver::set_status(&mut rig, 0);
    assert!(!gpu.eye.is_active());
    gpu.cell.lock().with(|device, _| assert_eq!((device.hostmem, device.resources.len()), (0, 0)));
}

#[test]
fn a_saved_one_shows_the_same() {
    let mut rig = Rig::new();
    let mut gpu = Started::new(&mut rig);
    gpu.resource(&mut rig, 3, 2, (20, 10));
    pattern(&rig, (20, 10));
    gpu.transfer(&mut rig, 3, [0, 0, 20, 10], 0);
    gpu.show(&mut rig, 1, 3, [1, 1, 18, 8]);
    gpu.resource(&mut rig, 4, 1, (64, 64));
    gpu.transfer(&mut rig, 4, [0, 0, 20, 10], 0);
    gpu.cursor(&mut rig, command::UPDATE_CURSOR, &[1, 9, 9, 0, 4, 0, 0, 0]);
    let before = (gpu.line(1, 7), gpu.cell.lock().with(|device, _| device.hostmem));
    let saved = gpu.cell.lock().save().unwrap();
    gpu.cell.lock().reset();
    assert_eq!(gpu.eye.head(1).unwrap().size(), (640, 480));
    gpu.cell.lock().load(&saved).unwrap();
    assert_eq!((gpu.line(1, 7), gpu.cell.lock().with(|device, _| device.hostmem)), before);
    // One that has less memory does not take it.
    let mut rig = Rig::new();
    let small = attach_with(&mut rig, Options { max_hostmem: 1000, ..options() });
    assert!(small.lock().load(&saved).is_err());
    let one = attach_with(&mut Rig::new(), Options { outputs: 1, ..options() });
    assert!(one.lock().load(&saved).is_err());
}

#[test]
fn many_commands_are_done_in_their_order() {
    let mut rig = Rig::new();
    let mut gpu = Started::new(&mut rig);
    gpu.resource(&mut rig, 1, 2, (4, 4));
    // More than one call takes, and the last of them says what is seen.
    let mut queue = DriverQueue::new(rig.ram().clone(), QUEUES[0], 64, ring::VERSION_1);
    driver::set_status(&mut rig, 0);
    driver::negotiate(&mut rig, ring::VERSION_1);
    rig.poke(QUEUES[0], &[0; 0x4000]);
    driver::enable(&mut rig, 0, queue.place(), NO_VECTOR);
    driver::ready(&mut rig);
    for n in 0..20u64 {
        let id = n as u32 + 1;
        rig.poke(COMMAND + n * 64, &bytes(command::RESOURCE_CREATE_2D, &[id, 2, 4, 4]));
        let command = Buffer { gpa: COMMAND + n * 64, len: 40, write: false };
        let answer = Buffer { gpa: ANSWER + n * 64, len: 24, write: true };
        assert!(queue.offer(&[command, answer], false, n));
    }
    driver::notify(&mut rig, 0);
    rig.advance(1);
    let done: Vec<u64> = std::iter::from_fn(|| queue.used()).map(|(id, _)| id).collect();
    assert_eq!(done, (0..20).collect::<Vec<u64>>());
}

#[test]
fn fuzzed_from_all_sides() {
    let build = || {
        let mut rig = Rig::new();
        let cell = attach_with(&mut rig, options());
        (rig, cell)
    };
    let places = [
        FuzzRange::Memory(MEMORY, 0x40),
        FuzzRange::Memory(MEMORY + 0x1000, 0x2010),
        FuzzRange::Memory(driver::MSIX, 0x40),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(build, 11, &places, |(rig, cell), what| match what {
        0..20 => hostile::throw(rig, what),
        20..24 => rig.poke(QUEUES[what as usize & 1] + (what - 20) * 0x800, &[what as u8; 24]),
        24..30 => cell.lock().with(|device, common| {
            device.connect(common, what as usize % 3, (what as u32 * 100, u32::MAX));
        }),
        30..34 => drop(cell.lock().device().display().look()),
        _ => {}
    });
}
