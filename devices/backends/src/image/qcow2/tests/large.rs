//! Images with more tables than are read to open them.

use std::sync::Weak;
use std::sync::atomic::AtomicU64;

use super::recorder::Call;
use super::work::uncount;
use super::*;

/// Bytes of the disk that one L2 table maps, in clusters of 4 KiB.
const REACH: u64 = 2 << 20;
/// Tables, over 4 MiB of them.
const TABLES: u64 = 1100;

fn at(table: u64) -> u64 {
    table * REACH
}

fn fill(table: u64) -> Vec<u8> {
    (table as u16 + 1).to_le_bytes().repeat(2048)
}

/// A disk with one cluster of data in the reach of each table.
fn large() -> Arc<Recorder> {
    let file = made(TABLES * REACH, layout(12, 4));
    let image = Qcow2::open(Box::new(file.clone()), true).unwrap();
    (0..TABLES).for_each(|table| write(&image, at(table), &fill(table)).unwrap());
    drop(image);
    file
}

#[test]
fn clusters_that_a_dead_writer_did_not_count_are_never_given_out_again() {
    let file = large();
    uncount(&file, (0..TABLES).step_by(3).map(|table| at(table) >> 12));
    let image = Qcow2::open(Box::new(file.clone()), true).unwrap();
    let before = file.transfers();
    assert!(read(&image, at(7), 4096) == fill(7));
    assert!(file.transfers() - before < 5, "reading looks at no more than it needs");
    (0..TABLES).for_each(|table| write(&image, at(table) + 8192, &[0xee; 4096]).unwrap());
    for table in 0..TABLES {
        assert!(read(&image, at(table), 4096) == fill(table), "{table}");
    }
    drop(image);
    assert_eq!(verdict(&*file).unwrap(), Verdict::default());
}

/// One whose writer died: it is marked, does not count every third cluster, and lost one.
fn dirty() -> Arc<Recorder> {
    let file = large();
    uncount(&file, (0..TABLES).step_by(3).map(|table| at(table) >> 12));
    let header = header::read(&*file, true).unwrap();
    let mut state = State::load(&*file, &header, TINY, true).unwrap();
    state.allocate(&*file, 1).unwrap();
    state.refcounts.write_changed(&|page| file.write(&page.data, page.at)).unwrap();
    file.write(&1u64.to_be_bytes(), spec::field::INCOMPATIBLE_FEATURES as u64).unwrap();
    file
}

fn is_dirty(file: &Recorder) -> bool {
    header::read(file, true).unwrap().incompatible & spec::INCOMPAT_DIRTY != 0
}

#[test]
fn a_large_image_that_was_left_dirty_is_repaired_before_its_first_change_and_not_to_open_it() {
    let file = dirty();
    let before = file.transfers();
    let image = Qcow2::open(Box::new(file.clone()), true).unwrap();
    assert!(read(&image, at(7), 4096) == fill(7));
    assert!(file.transfers() - before < 10, "{} transfers", file.transfers() - before);
    assert!(is_dirty(&file));
    write(&image, at(8), &fill(8)).unwrap();
    assert!(!is_dirty(&file));
    for table in 0..TABLES {
        assert!(read(&image, at(table), 4096) == fill(table), "{table}");
    }
    drop(image);
    assert_eq!(verdict(&*file).unwrap(), Verdict::default());
}

#[test]
fn a_repair_ends_when_nobody_waits_for_it_and_the_next_life_begins_it_again() {
    let file = dirty();
    let image = Arc::new(Qcow2::open(Box::new(file.clone()), true).unwrap());
    // In the middle of looking at the tables, and of writing what was found.
    for calls in [200, 1500] {
        let (served, left): (Weak<Qcow2>, _) = (Arc::downgrade(&image), AtomicU64::new(calls));
        image.given_up.store(false, Ordering::Relaxed);
        file.before(move |call| {
            assert_ne!(call, Call::Sync, "it is not repaired to the end");
            if left.fetch_sub(1, Ordering::Relaxed) == 1 {
                served.upgrade().unwrap().give_up();
            }
        });
        let before = file.transfers();
        assert!(write(&image, at(8), &fill(8)).is_err());
        assert!(file.transfers() - before < calls + 5);
        assert!(write(&image, at(9), &fill(9)).is_err());
        assert!(image.discard(at(9), 4096).is_err());
        assert!(file.transfers() - before < calls + 5, "nor is it begun again");
        assert!(read(&image, at(7), 4096) == fill(7));
    }
    file.before(|_| {});
    drop(image);
    assert!(is_dirty(&file));
    let image = Qcow2::open(Box::new(file.clone()), true).unwrap();
    write(&image, at(8), &fill(8)).unwrap();
    for table in 0..TABLES {
        assert!(read(&image, at(table), 4096) == fill(table), "{table}");
    }
    drop(image);
    assert_eq!(verdict(&*file).unwrap(), Verdict::default());
}

#[test]
fn a_large_image_in_which_a_cluster_is_used_twice_is_read_and_not_written() {
    let file = large();
    let header = header::read(&*file, true).unwrap();
    let mut state = State::load(&*file, &header, TINY, true).unwrap();
    let slot = state.slot(at(5) >> 12).unwrap().unwrap();
    let entry = state.page(&*file, slot).unwrap().entry(slot.index);
    file.write(&entry.to_be_bytes(), slot.page + 8).unwrap();
    let image = Qcow2::open(Box::new(file.clone()), true).unwrap();
    let before = file.bytes();
    for offset in [at(5) + 4096, at(9), at(10) + 8192] {
        assert!(write(&image, offset, &[9; 512]).is_err());
        assert!(image.discard(offset, 4096).is_err());
    }
    assert!(read(&image, at(5), 4096) == fill(5));
    drop(image);
    assert!(file.bytes() == before, "nothing was written");
}

#[test]
fn an_image_that_would_take_for_ever_to_be_looked_at_is_only_read() {
    let file = made(1 << 20, layout(9, 4));
    // As long as a sparse file may be.
    let file = || Box::new(Endless(file.clone()));
    let refusal = Qcow2::open(file(), true).err().unwrap();
    assert!(matches!(&refusal, Refusal::Unsupported(what) if what.contains("cluster_size")), "{refusal:?}");
    assert!(Qcow2::open(file(), false).is_ok());
}

struct Endless(Arc<Recorder>);

impl HostFile for Endless {
    fn read(&self, data: &mut [u8], at: u64) -> io::Result<()> {
        self.0.read(data, at)
    }
    fn write(&self, data: &[u8], at: u64) -> io::Result<()> {
        self.0.write(data, at)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn len(&self) -> io::Result<u64> {
        Ok(1 << 60)
    }
    fn grows(&self) -> bool {
        true
    }
    fn punch(&self, at: u64, len: u64) -> io::Result<()> {
        self.0.punch(at, len)
    }
}
