//! The engine on a file in memory that remembers every write, and what a guest may find after any death.

mod crash;
mod hostile;
mod kill;
mod large;
mod locks;
mod promise;
mod recorder;
mod work;

use std::sync::Arc;

use super::check::{Verdict, judge_whole};
use super::header::{Geometry, Header};
use super::mapping::{Limits, State};
use super::*;
use crate::image::memory::{Source, Target};
use recorder::Recorder;

/// Numbers that look random and come again.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub(super) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    /// Below `end`.
    pub(super) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }
}

/// Caches so small that pages come and go.
const TINY: Limits = Limits { l2: 4, refcounts: 3, looked_at: u64::MAX };
/// The same of an image whose tables are looked at when it is first changed.
const LATE: Limits = Limits { looked_at: 0, ..TINY };

fn layout(cluster_bits: u32, refcount_order: u32) -> Layout {
    Layout { version: 3, cluster_bits, refcount_order }
}

fn made(size: u64, layout: Layout) -> Arc<Recorder> {
    let file = Arc::new(Recorder::default());
    create(&*file, size, layout).unwrap();
    file
}

fn opened(file: &Arc<Recorder>, limits: Limits) -> Result<Qcow2, Refusal> {
    opened_above(file, limits, None)
}

fn opened_above(file: &Arc<Recorder>, limits: Limits, base: Option<Box<Layer>>) -> Result<Qcow2, Refusal> {
    let header = header::read(&**file, true)?;
    Qcow2::with(Box::new(file.clone()), header, limits, true, base)
}

fn read(image: &Qcow2, at: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0xcc; len];
    image.read(&mut Target::Bytes(&mut bytes), at).unwrap();
    bytes
}

fn write(image: &Qcow2, at: u64, bytes: &[u8]) -> io::Result<()> {
    image.write(&Source::Bytes(bytes), at)
}

/// What our checker finds in a file as it is.
fn verdict(file: &dyn HostFile) -> Result<Verdict, Refusal> {
    let header: Header = header::read(file, true)?;
    let mut state = State::load(file, &header, Limits::of(&header), true)?;
    judge_whole(file, &header, &mut state)
}

/// Leaks are allowed, nothing else.
fn whole(verdict: &Verdict) -> bool {
    *verdict == Verdict { leaked: verdict.leaked, ..Verdict::default() }
}

/// What qemu-img has against a file, but for leaks. None where there is no qemu-img.
fn qemu_objects(bytes: &[u8]) -> Option<Result<(), String>> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let mut check = std::process::Command::new("qemu-img");
    let ended = check.args(["check", "-f", "qcow2"]).arg(file.path()).output().ok()?;
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    match ended.status.code() {
        Some(0 | 3) => Some(Ok(())),
        Some(1 | 2) => Some(Err(said)),
        other => panic!("qemu-img check: {other:?} {said}"),
    }
}

#[test]
fn an_image_of_every_shape_keeps_what_is_written() {
    for cluster_bits in [9, 10, 12, 16, 18] {
        for refcount_order in [0, 1, 3, 4, 6] {
            let size = (3 << cluster_bits.min(12)) * 100 + (2 << cluster_bits) + 512;
            let file = made(size, layout(cluster_bits, refcount_order));
            let mut model = vec![0; size as usize];
            let mut random = Random::new(u64::from(cluster_bits * 8 + refcount_order));
            for life in 0..3u8 {
                let image = opened(&file, TINY).unwrap();
                for round in 0..40 {
                    let at = random.below(size / 512) * 512;
                    let len = (random.below(5 << cluster_bits.min(14)) / 512 * 512 + 512).min(size - at);
                    let range = at as usize..(at + len) as usize;
                    if random.below(5) == 0 {
                        image.discard(at, len).unwrap();
                        let now = read(&image, at, len as usize);
                        let zeroed = |(now, old): (&u8, &u8)| now == old || *now == 0;
                        assert!(now.iter().zip(&model[range.clone()]).all(zeroed));
                        model[range].copy_from_slice(&now);
                    } else {
                        let value = life << 6 | round + 1;
                        write(&image, at, &vec![value; len as usize]).unwrap();
                        model[range].fill(value);
                    }
                }
                assert!(read(&image, 0, size as usize) == model, "{cluster_bits} {refcount_order}");
                drop(image);
                let found = verdict(&*file).unwrap();
                assert_eq!(found, Verdict::default(), "{cluster_bits} {refcount_order}");
            }
            if cluster_bits < 16 {
                assert_eq!(qemu_objects(&file.bytes()).unwrap_or(Ok(())), Ok(()));
            }
        }
    }
}

#[test]
fn a_flush_syncs_no_more_than_it_must() {
    let file = made(1 << 20, Layout::default());
    let image = opened(&file, Limits { l2: 8, refcounts: 8, ..TINY }).unwrap();
    let syncs = |work: &dyn Fn()| {
        let before = file.syncs();
        work();
        file.syncs() - before
    };
    let written = || write(&image, 0, &[1; 4096]).unwrap();
    assert_eq!(syncs(&written), 0, "a write waits for nothing");
    assert_eq!(syncs(&|| image.flush().unwrap()), 2, "new metadata");
    assert_eq!(syncs(&written), 0);
    assert_eq!(syncs(&|| image.flush().unwrap()), 1, "data alone");
    assert_eq!(syncs(&|| write(&image, 0x4_0000, &[2; 512]).unwrap()), 0);
    assert_eq!(syncs(&|| image.flush().unwrap()), 2, "one more cluster");
}

#[test]
fn a_failed_sync_is_the_last() {
    let file = made(1 << 20, Layout::default());
    let image = opened(&file, TINY).unwrap();
    write(&image, 0, &[1; 512]).unwrap();
    file.fail_sync(true);
    assert!(image.flush().is_err());
    file.fail_sync(false);
    assert!(image.flush().is_err(), "the host has forgotten what it could not write");
    assert!(write(&image, 512, &[1; 512]).is_err());
    assert_eq!(read(&image, 0, 512), [1; 512]);
}

#[test]
fn a_full_host_costs_nothing_but_the_write() {
    let file = made(4 << 20, layout(12, 4));
    let image = opened(&file, TINY).unwrap();
    let mut random = Random::new(5);
    let mut model = vec![0u8; 4 << 20];
    for round in 0..400 {
        file.fail_writes(random.below(3) == 0);
        let at = random.below(1000) * 4096 + 512;
        let value = round as u8 | 1;
        match write(&image, at, &[value; 2048]) {
            Ok(()) => model[at as usize..][..2048].fill(value),
            // Of a write that failed any part may be there.
            Err(_) => {
                file.fail_writes(false);
                let now = read(&image, at, 2048);
                model[at as usize..][..2048].copy_from_slice(&now);
            }
        }
        if random.below(20) == 0 {
            let _ = image.flush();
        }
    }
    file.fail_writes(false);
    assert!(read(&image, 0, model.len()) == model);
    image.flush().unwrap();
    drop(image);
    let image = opened(&file, TINY).unwrap();
    assert!(read(&image, 0, model.len()) == model);
    assert!(whole(&verdict(&*file).unwrap()));
}
