//! Both layouts against drivers that behave, and drivers that do not.

use std::sync::atomic::{AtomicUsize, Ordering};

use devices_core::block::Segment;
use devices_core::dma::Dma;
use devices_core::rig::Random;
use hypervisor::memory::new_ram;
use vm_memory::{Bytes, GuestAddress};

use super::super::driver::{Buffer, DriverQueue};
use super::super::spec::{descriptor, feature};
use super::*;

const BASE: u64 = 0x1000;
const SIZE: u16 = 8;
const MODERN: u64 = feature::VERSION_1 | feature::INDIRECT_DESC;

fn dma() -> Dma {
    Dma::always(new_ram(1 << 20, 0).unwrap())
}

fn layouts() -> [u64; 4] {
    let packed = MODERN | feature::RING_PACKED;
    [MODERN, MODERN | feature::EVENT_IDX, packed, packed | feature::EVENT_IDX]
}

fn pair(features: u64) -> (Dma, DriverQueue, Queue) {
    let dma = dma();
    let driver = DriverQueue::new(dma.ram().clone(), BASE, SIZE, features);
    let queue = Queue::new(driver.place(), features).unwrap();
    (dma, driver, queue)
}

fn read(gpa: u64, len: u32) -> Buffer {
    Buffer { gpa, len, write: false }
}
fn write(gpa: u64, len: u32) -> Buffer {
    Buffer { gpa, len, write: true }
}

#[test]
fn requests_come_and_go_in_any_order() {
    for features in layouts() {
        let (dma, mut driver, mut queue) = pair(features);
        let mut random = Random::new(features);
        let mut chain = Chain::default();
        let (mut taken, mut sent): (Vec<(u64, Chain)>, u64) = (Vec::new(), 0);
        for _ in 0..2000 {
            // As many as there is room for, some of them in a table elsewhere.
            let id = sent;
            let buffers = [read(0x2_0000 + id % 64 * 16, 16), write(0x3_0000, 1 + (id % 100) as u32)];
            if driver.offer(&buffers, random.below(2) == 0, id) {
                sent += 1;
            }
            while random.below(3) > 0 && queue.pop(&dma, &mut chain).unwrap() {
                let number = sent - driver.waiting() as u64 - taken.len() as u64;
                let [Segment { gpa, len: 16 }] = chain.readable[..] else { panic!("{chain:?}") };
                let id = driver.id_of(gpa, number);
                assert_eq!(len(&chain.writable), 1 + id % 100, "{features:x}");
                taken.push((id, chain.clone()));
                driver.took();
            }
            if random.below(2) == 0 && !taken.is_empty() {
                let (id, chain) = taken.swap_remove(random.below(taken.len() as u64) as usize);
                queue.push(&dma, &chain, id as u32).unwrap();
                assert_eq!(driver.used(), Some((id, id as u32)), "{features:x}");
            }
            // It goes on from its saved form.
            if random.below(16) == 0 {
                queue = Queue::load(driver.place(), features, queue.save(), queue.taken()).unwrap();
            }
        }
        assert!(sent > 300, "{sent}");
        assert_eq!(driver.used(), None);
    }
}

#[test]
fn requests_are_given_back_in_their_order_where_that_was_agreed_on() {
    for features in layouts().map(|features| features | feature::IN_ORDER) {
        let (dma, mut driver, mut queue) = pair(features);
        let mut random = Random::new(features);
        let mut chain = Chain::default();
        // Those that the device has, by id; what was given back so far.
        let (mut taken, mut sent, mut back): (Vec<(u64, Chain)>, u64, u64) = (Vec::new(), 0, 0);
        driver.want_interrupts(true);
        for _ in 0..4000 {
            let buffers = [read(0x2_0000 + sent % 64 * 16, 16), write(0x3_0000, 100)];
            if driver.offer(&buffers, random.below(2) == 0, sent) {
                sent += 1;
            }
            while random.below(3) > 0 && queue.pop(&dma, &mut chain).unwrap() {
                let id = driver.id_of(chain.readable[0].gpa, 0);
                taken.push((id, chain.clone()));
                driver.took();
            }
            if random.below(2) == 0 && !taken.is_empty() {
                // One, or two at once.
                let mut some = || taken.swap_remove(random.below(taken.len() as u64) as usize);
                let mut done = vec![some()];
                if done[0].0.is_multiple_of(5) && !taken.is_empty() {
                    done.push(taken.swap_remove(0));
                }
                let all: Vec<_> = done.into_iter().map(|(id, chain)| (chain, id as u32)).collect();
                match &all[..] {
                    [(chain, written)] => queue.push(&dma, chain, *written).unwrap(),
                    all => queue.push_all(&dma, all).unwrap(),
                }
                let before = back;
                while let Some((id, written)) = driver.used() {
                    assert_eq!((id, u64::from(written)), (back, back), "{features:x}");
                    back += 1;
                }
                let oldest = taken.iter().map(|(id, _)| *id).min();
                assert_eq!(
                    back,
                    oldest.unwrap_or(sent - driver.waiting() as u64),
                    "nothing waits that need not"
                );
                assert_eq!(queue.wants_interrupt(&dma).unwrap(), back > before, "{features:x}");
                driver.want_interrupts(true);
            }
            if random.below(8) == 0 {
                let state = (queue.save(), queue.taken());
                queue = Queue::load(driver.place(), features, state.0, state.1).unwrap();
            }
        }
        assert!(back > 300, "{back}");
    }
}

#[test]
fn an_order_that_none_can_be_in_is_not_loaded() {
    for layout in [MODERN, MODERN | feature::RING_PACKED] {
        let features = layout | feature::IN_ORDER;
        let (dma, mut driver, mut queue) = pair(features);
        let mut chain = Chain::default();
        for id in 0..3 {
            driver.offer(&[read(0x2_0000 + id * 16, 16)], false, id);
            assert!(queue.pop(&dma, &mut chain).unwrap());
        }
        queue.push(&dma, &chain, 0).unwrap();
        let taken = queue.taken();
        assert_eq!((taken.len(), driver.used()), (3, None));
        let load = |features, taken: Vec<Taken>| Queue::load(driver.place(), features, queue.save(), taken);
        assert!(load(features, taken.clone()).is_ok());
        assert!(load(layout, taken.clone()).is_err(), "nobody agreed on it");
        assert!(load(features, taken.repeat(3)).is_err(), "more than the queue has room for");
        assert!(load(features, taken[2..].to_vec()).is_err(), "it was done, and nothing was before it");
    }
}

#[test]
fn a_driver_that_uses_an_element_twice_breaks_a_queue_in_order() {
    let features = MODERN | feature::IN_ORDER;
    let (dma, mut driver, mut queue) = pair(features);
    let mut chain = Chain::default();
    driver.offer(&[read(0x2_0000, 16)], false, 0);
    assert!(queue.pop(&dma, &mut chain).unwrap());
    let mut broken = None;
    for index in 2..=2 * SIZE + 2 {
        dma.ram().write_slice(&index.to_le_bytes(), GuestAddress(driver.place().driver + 2)).unwrap();
        broken = queue.pop(&dma, &mut chain).err();
        if broken.is_some() {
            assert_eq!(index, SIZE + 1);
            break;
        }
    }
    assert!(broken.is_some(), "it takes them without an end");
}

#[test]
fn interrupts_and_notifications_come_where_they_are_wanted() {
    for features in layouts() {
        let (dma, mut driver, mut queue) = pair(features);
        let mut chain = Chain::default();
        assert!(!queue.wants_interrupt(&dma).unwrap(), "nothing was given back");
        let mut serve = |driver: &mut DriverQueue, queue: &mut Queue| {
            driver.offer(&[write(0x3_0000, 4)], false, 0);
            assert!(queue.pop(&dma, &mut chain).unwrap());
            driver.took();
            queue.push(&dma, &chain, 4).unwrap();
            let wanted = queue.wants_interrupt(&dma).unwrap();
            driver.used().unwrap();
            wanted
        };
        driver.want_interrupts(true);
        assert!(serve(&mut driver, &mut queue));
        driver.want_interrupts(false);
        assert!(!serve(&mut driver, &mut queue), "{features:x}");
        if features & feature::EVENT_IDX != 0 {
            // After two more, over the end of the ring too.
            for _ in 0..20 {
                driver.want_interrupt_after(2);
                assert!(!serve(&mut driver, &mut queue), "{features:x}");
                assert!(serve(&mut driver, &mut queue), "{features:x}");
            }
        }
        queue.disable_notification(&dma).unwrap();
        if features & feature::EVENT_IDX == 0 || features & feature::RING_PACKED != 0 {
            assert!(!driver.is_to_notify());
        }
        assert!(!queue.enable_notification(&dma).unwrap());
        assert!(driver.is_to_notify());
        driver.offer(&[write(0x3_0000, 4)], false, 0);
        assert!(queue.enable_notification(&dma).unwrap(), "what came meanwhile is not forgotten");
    }
}

#[test]
fn what_no_driver_may_write_breaks_the_queue() {
    for features in [MODERN, MODERN | feature::RING_PACKED] {
        let broken = |what: &dyn Fn(&mut DriverQueue)| {
            let (dma, mut driver, mut queue) = pair(features);
            what(&mut driver);
            let mut chain = Chain::default();
            (0..=SIZE).find_map(|_| queue.pop(&dma, &mut chain).err()).map(|Broken(why)| why)
        };
        let offer = |buffers: &'static [(u64, u32, bool)]| {
            move |driver: &mut DriverQueue| {
                let buffers: Vec<Buffer> =
                    buffers.iter().map(|&(gpa, len, write)| Buffer { gpa, len, write }).collect();
                assert!(driver.offer(&buffers, false, 0));
            }
        };
        assert_eq!(broken(&offer(&[(0x3_0000, 4, false)])), None);
        assert_eq!(broken(&offer(&[(0x3_0000, 0, false)])), Some("a buffer has no bytes"));
        assert_eq!(broken(&offer(&[(1 << 20, 1, false)])), Some("a buffer is not in RAM"));
        assert_eq!(broken(&offer(&[(u64::MAX, 2, true)])), Some("a buffer is not in RAM"));
        assert_eq!(broken(&offer(&[(0xf_ffff, 2, true)])), Some("a buffer is not in RAM"));
        let order = broken(&offer(&[(0x3_0000, 4, true), (0x3_0000, 4, false)]));
        assert_eq!(order, Some("a buffer to read follows one to write"));
        let endless = broken(&|driver| driver.offer_endless());
        assert_eq!(endless, Some("a chain of descriptors has no end"), "{features:x}");
        for (flags, len) in [(descriptor::INDIRECT, 16), (0, 24), (0, 0)] {
            let table = broken(&|driver| driver.offer_table(0x5000, len, flags));
            assert!(table.is_some(), "{features:x} {flags} {len}");
        }
        let far = broken(&|driver| driver.offer_table(u64::MAX - 15, 32, 0));
        assert!(far.is_some(), "{features:x}");
    }
    // Split alone: an index that runs away, and a ring that is not there.
    let (dma, driver, mut queue) = pair(MODERN);
    dma.ram().write_obj(SIZE + 1, GuestAddress(driver.place().driver + 2)).unwrap();
    let mut chain = Chain::default();
    queue.pop(&dma, &mut chain).unwrap_err();
    for (features, layout) in [(MODERN, "split"), (MODERN | feature::RING_PACKED, "packed")] {
        let place = Place { size: SIZE, descriptors: 1 << 30, driver: 1 << 30, device: 1 << 30 };
        let mut queue = Queue::new(place, features).unwrap();
        queue.pop(&dma, &mut chain).unwrap_err();
        queue.push(&dma, &chain, 0).unwrap_err();
        assert!(queue.enable_notification(&dma).is_err(), "{layout}");
        let odd = Place { descriptors: 8, ..place };
        assert!(Queue::new(odd, features).is_err(), "{layout}");
    }
}

#[test]
fn a_table_is_bounded_whatever_it_says() {
    // 65,535 descriptors that are all the same: more buffers than a chain may have.
    for features in [MODERN, MODERN | feature::RING_PACKED] {
        let dma = Dma::always(new_ram(4 << 20, 0).unwrap());
        let mut driver = DriverQueue::new(dma.ram().clone(), BASE, SIZE, features);
        let mut queue = Queue::new(driver.place(), features).unwrap();
        let mut raw = [0; 16];
        raw[..8].copy_from_slice(&0x3_0000u64.to_le_bytes());
        raw[8] = 1;
        for at in 0..0xffff_u64 {
            // A packed table goes on by itself.
            if features & feature::RING_PACKED == 0 {
                raw[12] = descriptor::NEXT as u8;
                raw[14..].copy_from_slice(&(at as u16).wrapping_add(1).to_le_bytes());
            }
            dma.write((1 << 20) + at * 16, &raw).unwrap();
        }
        driver.offer_table(1 << 20, 0xffff * 16, 0);
        let mut chain = Chain::default();
        assert_eq!(queue.pop(&dma, &mut chain), Err(Broken("a chain has too many buffers")));
        assert!(chain.readable.capacity() <= 4096);
    }
}

#[test]
fn buffers_are_cut_as_drivers_of_before_version_1_cut_them() {
    let dma = dma();
    dma.write(0x2000, &(0..64).collect::<Vec<u8>>()).unwrap();
    let segment = |gpa, len| Segment { gpa, len };
    let mut buffers = vec![segment(0x2000, 3), segment(0x2010, 8), segment(0x2020, 20)];
    let mut head = [0; 16];
    assert!(take(&dma, &mut buffers, &mut head));
    assert_eq!(head, [0, 1, 2, 16, 17, 18, 19, 20, 21, 22, 23, 32, 33, 34, 35, 36]);
    assert_eq!(buffers, [segment(0x2025, 15)]);
    assert!(!take(&dma, &mut buffers, &mut head), "15 bytes are left");
    assert_eq!(take_last(&mut buffers), Some(0x2033));
    let mut one = vec![segment(0x2000, 4), segment(0x3000, 1)];
    assert_eq!(take_last(&mut one), Some(0x3000));
    assert_eq!(one, [segment(0x2000, 4)]);
    assert_eq!(write_at(&dma, &[segment(0x4000, 2), segment(0x5000, 4)], 1, &[7; 9]), Some(5));
    let mut back = [0; 8];
    assert_eq!(read_at(&dma, &[segment(0x4000, 2), segment(0x5000, 4)], 0, &mut back), Some(6));
    assert_eq!(back, [0, 7, 7, 7, 7, 7, 0, 0]);
    assert_eq!(write_at(&dma, &[segment(1 << 30, 2)], 0, &[7]), None);
}

/// A driver on another vCPU lost frames that were spread over buffers: it saw the first of them before the others.
#[test]
fn what_belongs_together_is_given_back_at_once() {
    const ROUNDS: usize = 3000;
    for features in layouts() {
        let (dma, mut driver, mut queue) = pair(features);
        let (offered, seen) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 1..=ROUNDS {
                    for n in 0..3 {
                        assert!(driver.offer(&[write(0x3_0000 + n * 64, 64)], false, n));
                    }
                    offered.store(round, Ordering::Release);
                    let first = std::iter::from_fn(|| Some(driver.used())).flatten().next();
                    let all = [first, driver.used(), driver.used()].map(|one| one.map(|(id, _)| id));
                    seen.store(
                        if all == [Some(0), Some(1), Some(2)] { round } else { usize::MAX },
                        Ordering::Release,
                    );
                    assert_eq!(all, [Some(0), Some(1), Some(2)], "{features:#x}, round {round}");
                }
            });
            for round in 1..=ROUNDS {
                while offered.load(Ordering::Acquire) < round {
                    std::hint::spin_loop();
                }
                let all = [(); 3].map(|()| {
                    let mut chain = Chain::default();
                    assert!(queue.pop(&dma, &mut chain).unwrap());
                    (chain, 64)
                });
                queue.push_all(&dma, &all).unwrap();
                while seen.load(Ordering::Acquire) < round {
                    std::hint::spin_loop();
                }
                if seen.load(Ordering::Acquire) == usize::MAX {
                    return;
                }
            }
        });
    }
}
