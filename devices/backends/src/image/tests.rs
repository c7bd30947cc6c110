//! Images on real files.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use super::host::DiskFile;
use super::*;
use devices_core::block::{
    BlockBackend, BlockError, BlockOp, BlockRequest, BlockStore, CompletionQueue, Payload, Segment,
};
use devices_core::rig::Rig;
use devices_core::{At, Device, Io, Region, Saved, StateError, Wake};

const SIZE: u64 = 1 << 20;

fn pattern(len: u64, salt: u8) -> Vec<u8> {
    (0..len).map(|at| (at / 512) as u8 ^ (at % 253) as u8 ^ salt).collect()
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }
    fn file(&self, name: &str, contents: &[u8]) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::File::create(&path).unwrap().write_all(contents).unwrap();
        path
    }
    fn raw(&self) -> PathBuf {
        self.file("disk.raw", &pattern(SIZE, 0))
    }
    fn qcow2(&self) -> PathBuf {
        let path = self.0.path().join("disk.qcow2");
        let file = std::fs::File::create_new(&path).unwrap();
        let file = DiskFile::new(file, false, false).unwrap();
        qcow2::create(&file, SIZE, qcow2::Layout::default()).unwrap();
        path
    }
}

fn read(store: &dyn BlockStore, offset: u64, len: usize) -> Vec<u8> {
    let mut payload = Payload::Buffer(vec![0xcc; len]);
    store.run(BlockOp::Read, offset, &mut payload).unwrap();
    let Payload::Buffer(buffer) = payload else { unreachable!() };
    buffer
}

fn write(store: &dyn BlockStore, offset: u64, data: &[u8]) -> Result<(), BlockError> {
    store.run(BlockOp::Write, offset, &mut Payload::Buffer(data.to_vec()))
}

fn open(path: &Path, format: Format) -> Image {
    Image::open(&ImageOptions::new(path, format)).unwrap()
}

/// What a person is told.
fn refusal_of<T>(result: Result<T, ImageError>) -> String {
    result.err().expect("it is refused").to_string()
}

fn refusal(options: &ImageOptions) -> String {
    let error = Image::open(options).err().expect("it is refused").to_string();
    let name = options.path.file_name().unwrap().to_str().unwrap();
    assert!(error.contains(name) && !error.contains('\n'), "{error}");
    error
}

#[test]
fn both_formats_keep_what_is_written() {
    let folder = Folder::new();
    for (path, format) in [(folder.raw(), Format::Raw), (folder.qcow2(), Format::Qcow2)] {
        let image = open(&path, format);
        assert_eq!(image.info().size, SIZE);
        write(&image, 0x1_0200, &pattern(0x1_0000, 9)).unwrap();
        assert_eq!(read(&image, 0x1_0200, 0x1_0000), pattern(0x1_0000, 9));
        image.run(BlockOp::Flush, 0, &mut Payload::None).unwrap();
        drop(image);
        let image = open(&path, format);
        assert_eq!(read(&image, 0x1_0200, 0x1_0000), pattern(0x1_0000, 9), "{format}");
        assert_eq!(write(&image, SIZE - 512, &[0; 1024]), Err(BlockError::OutOfRange));
        image.run(BlockOp::Discard(0x2_0000), 0x1_0000, &mut Payload::None).unwrap();
        assert_eq!(read(&image, 0x1_0200, 512), [0; 512]);
    }
}

#[test]
fn an_open_file_needs_no_name() {
    let folder = Folder::new();
    for (path, format) in [(folder.raw(), Format::Raw), (folder.qcow2(), Format::Qcow2)] {
        write(&open(&path, format), 512, b"medium").unwrap();
        let file = std::fs::File::open(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let options = ImageOptions { format, ..ImageOptions::cd("a medium") };
        let image = Image::from_file(file, &options).unwrap();
        assert_eq!((read(&image, 512, 6), image.info().size), (b"medium".to_vec(), SIZE), "{format}");
        assert!(write(&image, 0, b"x").is_err());
    }
    let folder = std::fs::File::open(folder.0.path()).unwrap();
    let error = Image::from_file(folder, &ImageOptions::cd("a medium")).err().unwrap().to_string();
    assert!(error.contains("a medium"), "{error}");
}

#[test]
fn data_goes_straight_to_scattered_guest_memory() {
    let folder = Folder::new();
    let rig = Rig::new();
    for (path, format) in [(folder.raw(), Format::Raw), (folder.qcow2(), Format::Qcow2)] {
        let image = open(&path, format);
        write(&image, 0, &pattern(SIZE, 3)).unwrap();
        // More segments than one system call takes, odd ones among them.
        let segments: Vec<Segment> = (0..1200)
            .map(|n| Segment { gpa: 0x1000 + n * 1000, len: if n % 2 == 0 { 100 } else { 412 } })
            .collect();
        let mut payload = Payload::Guest(rig.ram().clone(), segments.clone());
        image.run(BlockOp::Read, 4096, &mut payload).unwrap();
        let mut memory = Vec::new();
        for segment in &segments {
            memory.extend(rig.peek(segment.gpa, segment.len as usize));
        }
        assert!(memory == pattern(SIZE, 3)[4096..][..memory.len()]);
        image.run(BlockOp::Write, 512, &mut payload).unwrap();
        assert!(read(&image, 512, memory.len()) == memory);
        let hole = vec![Segment { gpa: 1 << 40, len: 512 }];
        let mut payload = Payload::Guest(rig.ram().clone(), hole);
        assert_eq!(image.run(BlockOp::Read, 0, &mut payload), Err(BlockError::Io));
    }
}

#[test]
fn every_cache_mode_reads_back() {
    let folder = Folder::new();
    let path = folder.raw();
    for cache in [Cache::Writeback, Cache::None, Cache::Writethrough, Cache::Unsafe] {
        let options = ImageOptions { cache, ..ImageOptions::new(&path, Format::Raw) };
        let image = match Image::open(&options) {
            Err(ImageError::NoDirect(_)) => continue,
            image => image.unwrap(),
        };
        // Neither the buffer nor the offset suits O_DIRECT.
        write(&image, 512, &pattern(1536, cache as u8)).unwrap();
        assert_eq!(read(&image, 512, 1536), pattern(1536, cache as u8));
        image.run(BlockOp::Flush, 0, &mut Payload::None).unwrap();
    }
}

#[test]
fn a_snapshot_leaves_the_file_alone() {
    let folder = Folder::new();
    let qcow2 = folder.qcow2();
    write(&open(&qcow2, Format::Qcow2), 0, &pattern(SIZE, 0)).unwrap();
    for (path, format) in [(folder.raw(), Format::Raw), (qcow2, Format::Qcow2)] {
        let before = std::fs::read(&path).unwrap();
        let options = ImageOptions { snapshot: true, ..ImageOptions::new(&path, format) };
        let image = Image::open(&options).unwrap();
        assert_eq!(image.info().size, SIZE);
        assert!(!image.info().read_only);
        assert!(read(&image, 0, SIZE as usize) == pattern(SIZE, 0));
        write(&image, 1024, &[0x5a; 4096]).unwrap();
        write(&image, SIZE - 512, &[0x5b; 512]).unwrap();
        let mut expected = pattern(SIZE, 0);
        expected[1024..5120].fill(0x5a);
        expected[SIZE as usize - 512..].fill(0x5b);
        assert!(read(&image, 0, SIZE as usize) == expected, "{format}");
        image.run(BlockOp::Flush, 0, &mut Payload::None).unwrap();
        drop(image);
        assert!(std::fs::read(&path).unwrap() == before, "{format}");
    }
}

#[test]
fn a_raw_file_of_odd_length_is_padded_to_whole_sectors() {
    let folder = Folder::new();
    for cache in [Cache::Writeback, Cache::None] {
        let path = folder.file("odd.raw", &pattern(1300, 0));
        let options = ImageOptions { cache, ..ImageOptions::new(&path, Format::Raw) };
        let image = match Image::open(&options) {
            Err(ImageError::NoDirect(_)) => continue,
            image => image.unwrap(),
        };
        assert_eq!((image.info().size, Image::peek(&options).unwrap().size), (1536, 1536));
        let mut padded = pattern(1300, 0);
        padded.resize(1536, 0);
        assert_eq!(read(&image, 0, 1536), padded);
        assert_eq!(write(&image, 1536, &[0; 512]), Err(BlockError::OutOfRange));
        write(&image, 512, &[7; 512]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1300, "nothing wrote beyond");
        write(&image, 1024, &[9; 512]).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), 1536);
    }
}

#[test]
fn two_writers_refuse_and_two_readers_do_not() {
    let folder = Folder::new();
    let path = folder.raw();
    let writer = open(&path, Format::Raw);
    let again = ImageOptions::new(&path, Format::Raw);
    assert!(refusal(&again).contains("in use by another process"));
    assert!(refusal(&ImageOptions::cd(&path)).contains("in use by another process"));
    drop(writer);
    let readers =
        [Image::open(&ImageOptions::cd(&path)).unwrap(), Image::open(&ImageOptions::cd(&path)).unwrap()];
    assert!(refusal(&again).contains("in use by another process"));
    assert_eq!(write(&readers[0], 0, &[0; 512]), Err(BlockError::ReadOnly));
    drop(readers);
    open(&path, Format::Raw);
}

#[test]
fn what_is_no_image_is_refused_in_one_sentence() {
    let folder = Folder::new();
    let raw = |path: &Path| ImageOptions::new(path, Format::Raw);
    let qcow2 = |path: &Path| ImageOptions::new(path, Format::Qcow2);
    assert!(refusal(&raw(&folder.0.path().join("none"))).contains("does not exist"));
    assert!(refusal(&raw(folder.0.path())).contains("not a file"));
    assert!(refusal(&raw(&folder.file("empty", &[]))).contains("cut short"));
    assert!(refusal(&qcow2(&folder.file("text", &[b'x'; 600]))).contains("not a qcow2 file"));
    let whole = std::fs::read(folder.qcow2()).unwrap();
    assert!(refusal(&qcow2(&folder.file("cut", &whole[..1000]))).contains("cut short"));
    for (at, bytes, what) in [
        (7, &[9][..], "version 9"),
        (23, &[63], "cluster size"),
        (24, &[0xff; 8], "size of the disk"),
        (36, &[0x7f, 0xff, 0xff, 0xff], "L1 table"),
        (56, &[0xff; 4], "refcount table"),
        (40, &[0, 0xff, 0, 0, 0, 0, 0, 0], "cut short"),
        (14, &[1], "backing file"),
        (35, &[1], "encrypted"),
        (79, &[2], "corrupt"),
        (79, &[4], "external data file"),
        (79, &[8], "compression type"),
        (79, &[0x10], "subclusters"),
        (79, &[0x40], "incompatible feature 6"),
        (99, &[7], "refcount width"),
        (63, &[1], "internal snapshots"),
    ] {
        let mut hostile = whole.clone();
        hostile[at..at + bytes.len()].copy_from_slice(bytes);
        let error = refusal(&qcow2(&folder.file("hostile", &hostile)));
        assert!(error.contains(what), "{what}: {error}");
    }
    let mut hostile = whole.clone();
    let table = u64::from_be_bytes(whole[48..56].try_into().unwrap()) as usize;
    hostile[table..table + 8].fill(0);
    let error = refusal(&qcow2(&folder.file("uncounted", &hostile)));
    assert!(error.contains("does not cover the header"), "{error}");
}

#[test]
fn damaged_qcow2_metadata_never_panics() {
    let folder = Folder::new();
    let path = folder.qcow2();
    write(&open(&path, Format::Qcow2), 0, &pattern(SIZE, 0)).unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut seed = 12345u64;
    for _ in 0..300 {
        let mut hostile = whole.clone();
        for _ in 0..4 {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let tables = [0, 0x1_0000, 0x2_0000, 0x3_0000, 0x4_0000][(seed >> 20) as usize % 5];
            let at = tables + (seed >> 33) as usize % 112;
            hostile[at % whole.len()] = (seed >> 50) as u8;
        }
        let path = folder.file("hostile.qcow2", &hostile);
        let Ok(image) = Image::open(&ImageOptions::new(&path, Format::Qcow2)) else { continue };
        let mut payload = Payload::Buffer(vec![0; 4096]);
        let _ = image.run(BlockOp::Read, 0x1_0000, &mut payload);
        let _ = image.run(BlockOp::Write, 0x2_0000, &mut payload);
        let _ = image.run(BlockOp::Flush, 0, &mut payload);
        drop(guarded(|| {
            drop(image);
            Ok(())
        }));
    }
}

/// A device that passes on when it was woken.
struct Woken(mpsc::Sender<u32>);

impl Device for Woken {
    fn name(&self) -> &str {
        "woken"
    }
    fn regions(&self) -> &[Region] {
        &[]
    }
    fn read(&mut self, _at: At, _data: &mut [u8]) -> Io {
        Io::Unclaimed
    }
    fn write(&mut self, _at: At, _data: &[u8]) -> Io {
        Io::Unclaimed
    }
    fn wake(&mut self, why: Wake) {
        if let Wake::Backend(number) = why {
            self.0.send(number).unwrap();
        }
    }
    fn reset(&mut self) {}
    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode("woken", 1, &())
    }
    fn load(&mut self, _saved: &Saved) -> Result<(), StateError> {
        Ok(())
    }
    fn inspect(&self, _node: &mut devices_core::Node) {}
}

#[test]
fn threads_answer_all_that_they_took_and_wake() {
    let folder = Folder::new();
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let (send, woken) = mpsc::channel();
    rig.attach(Woken(send), &wiring);
    let pool = Images::default().serve(open(&folder.raw(), Format::Raw));
    let queue = CompletionQueue::new(wiring.waker(), 5);
    for token in 0..200u64 {
        let payload = Payload::Buffer(vec![0; 512]);
        let request =
            BlockRequest { token, op: BlockOp::Read, offset: token * 512, payload, done: queue.clone() };
        assert!(pool.submit(request).is_ok());
    }
    let mut seen = [false; 200];
    for _ in 0..200 {
        assert_eq!(woken.recv_timeout(Duration::from_secs(20)).unwrap(), 5);
        let answer = queue.pop().expect("woken for an answer");
        assert_eq!(answer.result, Ok(()));
        let at = answer.token as usize;
        assert_eq!(answer.buffer, pattern(SIZE, 0)[at * 512..][..512]);
        assert!(!std::mem::replace(&mut seen[at], true));
    }
    assert!(pool.idle());
    let info = pool.info();
    assert_eq!((info.size, info.read_only), (SIZE, false));
}

#[test]
fn an_image_is_lent_with_all_that_was_written() {
    let folder = Folder::new();
    for (path, format) in [(folder.raw(), Format::Raw), (folder.qcow2(), Format::Qcow2)] {
        let ours = open(&path, format);
        write(&ours, 0x2_0000, &pattern(0x1_0000, 3)).unwrap();
        assert!(refusal(&ImageOptions::new(&path, format)).contains("in use"));
        ours.lend().unwrap();
        let theirs = open(&path, format);
        assert_eq!(read(&theirs, 0x2_0000, 0x1_0000), pattern(0x1_0000, 3));
        assert!(matches!(ours.claim.take(), Err(ImageError::Locked(_))));
        drop(theirs);
        ours.claim.take().unwrap();
        assert!(refusal(&ImageOptions::new(&path, format)).contains("in use"));
    }
}

#[test]
fn all_images_of_a_guest_are_lent_or_none() {
    let folder = Folder::new();
    let (raw, qcow2) = (folder.raw(), folder.qcow2());
    let images = Images::default();
    let pools = [images.serve(open(&raw, Format::Raw)), images.serve(open(&qcow2, Format::Qcow2))];
    images.lend().unwrap();
    let theirs = open(&raw, Format::Raw);
    assert!(refusal_of(images.take()).contains("in use"));
    drop(theirs);
    images.take().unwrap();
    // Whoever lends nothing has nothing to take: another guest's images are not these.
    Images::default().take().unwrap();
    assert!(refusal(&ImageOptions::new(&raw, Format::Raw)).contains("in use"));
    drop(pools);
    open(&qcow2, Format::Qcow2);
}

#[test]
fn a_look_at_an_image_needs_no_lock() {
    let folder = Folder::new();
    for (path, format) in [(folder.raw(), Format::Raw), (folder.qcow2(), Format::Qcow2)] {
        let options = ImageOptions::new(&path, format);
        let ours = Image::open(&options).unwrap();
        assert_eq!(Image::peek(&options).unwrap(), ours.info());
        let read_only = ImageOptions { read_only: true, ..options };
        assert!(Image::peek(&read_only).unwrap().read_only);
    }
    let missing = ImageOptions::new(folder.0.path().join("none"), Format::Raw);
    assert!(matches!(Image::peek(&missing), Err(ImageError::Missing(_))));
}
