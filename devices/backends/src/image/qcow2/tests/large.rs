//! Images with more tables than are read to open them.

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
