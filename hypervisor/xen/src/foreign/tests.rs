//! Guest memory against a domain that gives pages away.

use hypervisor::memory::{Region, new_block, pin, ram_of, read, slices, write};

use super::*;
use crate::fake::{DOMID, FakeXen, extents};
use hypervisor::GuestRam;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, Permissions, VolatileMemory};

const MIB: u64 = 1 << 20;

struct Guest {
    block: RamBlock,
    fake: Arc<FakeXen>,
    ram: GuestRam,
    foreign: Arc<ForeignRam>,
    dirty: Arc<DirtyReport>,
}

fn guest(mib: u64) -> Guest {
    let fake = FakeXen::new(mib * 256);
    let domain = Arc::new(Domain::new(fake.clone(), DOMID));
    let dirty = Arc::new(DirtyReport::new(domain.clone()));
    let block = new_block(0, mib * MIB).unwrap();
    let foreign = Arc::new(ForeignRam::new(domain, dirty.clone(), block.clone()).unwrap());
    let ram = ram_of(vec![Region::foreign(block.clone(), foreign.clone())]).unwrap();
    Guest { block, fake, ram, foreign, dirty }
}

fn word(ram: &GuestRam, gpa: u64) -> Option<u32> {
    let mut bytes = [0; 4];
    read(ram, gpa, &mut bytes).then(|| u32::from_le_bytes(bytes))
}

#[test]
fn pages_are_mapped_when_first_used_and_shared_with_the_guest() {
    let g = guest(3);
    assert_eq!(g.foreign.mapped(), 0);
    g.fake.poke(MIB + 0x123, b"from the guest");
    let mut bytes = [0; 14];
    assert!(read(&g.ram, MIB + 0x123, &mut bytes));
    assert_eq!(&bytes, b"from the guest");
    assert_eq!((g.foreign.mapped(), g.fake.state().mapped), (1, 1));
    // Over the border of two buckets.
    assert!(write(&g.ram, 2 * MIB - 16, &[7; 32]));
    assert_eq!(g.fake.peek(2 * MIB - 16, 16), [7; 16]);
    assert_eq!(g.fake.peek(2 * MIB, 16), [7; 16]);
    assert_eq!(g.foreign.mapped(), 2);
    assert!(!write(&g.ram, 3 * MIB - 1, &[0; 2]));
}

#[test]
fn invalidation_drops_what_is_idle_and_keeps_what_is_pinned() {
    let g = guest(4);
    assert!(write(&g.ram, 0, &1u32.to_le_bytes()));
    assert!(write(&g.ram, MIB, &2u32.to_le_bytes()));
    assert!(write(&g.ram, 3 * MIB, &3u32.to_le_bytes()));
    let held = pin(&g.ram, MIB, 4).unwrap();
    g.foreign.invalidate();
    assert_eq!(g.foreign.mapped(), 1);
    // What was pinned still reaches the guest; what was not reads as zeros and holds no page.
    let block = g.block.as_ptr();
    // SAFETY: inside the block, whose pages are all mapped; nobody else uses it now.
    let at = |offset: u64| unsafe { block.add(offset as usize).cast::<u32>().read_volatile() };
    assert_eq!((at(0), at(MIB), at(3 * MIB)), (0, 2, 0));
    drop(held);
    assert_eq!((g.foreign.mapped(), at(MIB)), (0, 0));
    // The next use maps anew, and sees another page if the guest has another one there.
    g.fake.take(0..1);
    g.fake.give(0..1);
    assert_eq!(word(&g.ram, 0), Some(0));
    assert_eq!(word(&g.ram, MIB), Some(2));
}

#[test]
fn holes_are_errors_until_there_are_pages() {
    let g = guest(2);
    g.fake.take(0xa0..0xc0);
    g.fake.take(0x100..0x200);
    assert!(write(&g.ram, 0x9_ffff, &1u8.to_le_bytes()));
    assert!(!read(&g.ram, 0xa_0000, &mut [0]));
    assert!(!write(&g.ram, 0x9_f000, &[0; 0x2_2000]));
    assert!(pin(&g.ram, 0xb_f000, 0x1001).is_none());
    assert!(write(&g.ram, 0xc_0000, &1u8.to_le_bytes()));
    assert!(!read(&g.ram, MIB, &mut [0]), "a bucket with no page at all");
    assert_eq!(g.foreign.mapped(), 1, "is not kept");
    // Ballooned back in: the bucket stays, only its holes are filled, one or all.
    let mapped = g.fake.state().mapped;
    g.fake.give(0xa0..0xa1);
    assert!(write(&g.ram, 0xa_0000, &2u8.to_le_bytes()));
    assert!(!read(&g.ram, 0xa_1000, &mut [0]));
    g.fake.give(0xa1..0xc0);
    assert!(write(&g.ram, 0xa_0000, &[3; 0x2_0000]));
    assert_eq!(g.fake.peek(0xb_ffff, 1), [3]);
    let filled = g.fake.calls().1;
    assert!(write(&g.ram, 0xa_0000, &[4; 0x2_0000]));
    assert_eq!(g.fake.calls(), (mapped, filled), "it is whole now");
    g.fake.give(0x100..0x200);
    assert!(write(&g.ram, MIB, &1u8.to_le_bytes()));
}

#[test]
fn a_pin_of_an_invalidated_bucket_waits_for_the_others_but_not_for_ever() {
    let g = guest(1);
    let held = pin(&g.ram, 0, 8).unwrap();
    g.foreign.invalidate();
    g.fake.take(1..2);
    g.fake.give(1..2);
    g.fake.poke(0x1000, &[9]);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| word(&g.ram, 0x1000));
        std::thread::sleep(Duration::from_millis(2));
        drop(held);
        assert_eq!(reader.join().unwrap(), Some(9), "the page that the guest has there now");
    });
    let _held = pin(&g.ram, 0, 8).unwrap();
    g.foreign.invalidate();
    let begun = Instant::now();
    assert!(pin(&g.ram, 0, 8).is_some());
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn writes_are_told_in_batches_while_a_migration_runs() {
    let g = guest(2);
    assert!(write(&g.ram, 0x5000, &1u8.to_le_bytes()));
    g.dirty.set(true);
    for page in [5u64, 5, 6, 7, 40] {
        assert!(write(&g.ram, page * PAGE, &1u8.to_le_bytes()));
    }
    assert!(read(&g.ram, 0x9000, &mut [0]));
    assert!(extents(&g.fake).is_empty(), "not yet");
    g.dirty.set_at_once(true);
    assert_eq!(extents(&g.fake), [(5, 3), (40, 1)]);
    assert!(write(&g.ram, 0x1_0fff, &[0; 0x2001]));
    assert_eq!(extents(&g.fake)[2..], [(0x10, 3)]);
    g.dirty.set_at_once(false);
    g.fake.forget();
    for page in 0..200u64 {
        assert!(write(&g.ram, page * 2 * PAGE, &1u8.to_le_bytes()));
    }
    assert_eq!(extents(&g.fake).len(), 192, "batches of 64");
    g.dirty.set(false);
    assert_eq!(extents(&g.fake).len(), 200);
    assert!(write(&g.ram, 0, &1u8.to_le_bytes()));
    assert_eq!(extents(&g.fake).len(), 200);
}

/// Threads that use memory and check it, while all of it is invalidated again and again.
#[test]
fn memory_is_right_while_it_comes_and_goes() {
    let g = guest(4);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3u64)
            .map(|worker| {
                let ram = &g.ram;
                scope.spawn(move || {
                    for turn in 0..3000u64 {
                        let at = (turn * 7919 % 1000) * PAGE + worker * 64;
                        let value = (turn << 8 | worker) as u32;
                        let pinned = pin(ram, at, 8).unwrap();
                        assert!(write(ram, at, &value.to_le_bytes()));
                        assert_eq!(word(ram, at), Some(value));
                        drop(pinned);
                        assert_eq!(word(ram, at), Some(value));
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            g.foreign.invalidate();
            std::thread::sleep(Duration::from_micros(300));
        }
    });
    g.foreign.invalidate();
    assert_eq!(g.foreign.mapped(), 0);
}

/// Slices that are used without a pin of their own, while all of memory comes, goes and changes: in the
/// kernel, pages that are being mapped have nothing behind them, and touching them was the end.
#[test]
fn slices_are_right_while_memory_comes_and_goes() {
    const TURNS: u64 = 400;
    let g = guest(2);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3u64)
            .map(|worker| {
                let ram = &g.ram;
                scope.spawn(move || {
                    for turn in 0..TURNS {
                        let at = GuestAddress((turn * 7919 % 448) * PAGE + worker * 64);
                        let value = turn << 8 | worker;
                        let slice = ram.get_slice(at, 64).unwrap();
                        for place in 0..8 {
                            slice.get_ref(place * 8).unwrap().store(value);
                            std::thread::yield_now();
                        }
                        let parts = slice.split_at(32).unwrap();
                        drop(slice);
                        for place in 0..4 {
                            assert_eq!(parts.0.get_ref::<u64>(place * 8).unwrap().load(), value);
                            assert_eq!(parts.1.get_ref::<u64>(place * 8).unwrap().load(), value);
                        }
                    }
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            // The guest balloons pages out and in that nobody uses, in buckets that are in use.
            g.fake.take(0x1f0..0x200);
            g.foreign.invalidate();
            std::thread::yield_now();
            g.fake.give(0x1f0..0x200);
        }
    });
    g.foreign.invalidate();
    assert_eq!(g.foreign.mapped(), 0, "no slice, no pin");
}

/// A queue takes the buffers of a chain one by one, and a guest changes its memory between them. What was taken stays
/// as it is, and the next buffer of the same pages does not wait for the first, which it would in vain.
#[test]
fn the_slices_of_a_chain_stay_and_do_not_wait_for_each_other() {
    let g = guest(2);
    g.fake.poke(0, b"before");
    let take = |at: u64, len| slices(&g.ram, GuestAddress(at), len, Permissions::ReadWrite).next().unwrap();
    let mut chain = vec![take(0, 6).unwrap()];
    for page in 1..200u64 {
        g.foreign.invalidate();
        chain.push(take(page * PAGE, 64).unwrap());
    }
    assert_eq!((g.foreign.mapped(), g.foreign.waited()), (1, 0));
    let mut bytes = [0; 6];
    chain[0].read_slice(&mut bytes, 0).unwrap();
    assert_eq!(&bytes, b"before");
    chain[150].write_slice(b"answer", 0).unwrap();
    assert_eq!(g.fake.peek(150 * PAGE, 6), b"answer");
    drop(chain);
    assert_eq!(g.foreign.mapped(), 0, "the last slice lets go of them");
    g.fake.take(0x1f0..0x200);
    assert!(take(0x1f_0000, 8).is_err(), "a page that the guest has given away");
    assert!(take(2 * MIB, 1).is_err());
}
