use devices_core::rig::{Random, Rig, ms, scenario, us};
use devices_core::{Size, Space};

use super::Hpet;
use super::legacy::{self, Legacy};
use crate::timer::pit::Pit;
use crate::timer::rtc::Rtc;

const BASE: u64 = 0xfed0_0000;

fn attach(rig: &mut Rig) {
    let legacy = Legacy::new(rig.irqs());
    let wiring = rig.wiring();
    let hpet = Hpet::new(&wiring, rig.irqs().clone(), legacy.clone());
    rig.attach(hpet, &wiring);
    let inputs = legacy.inputs();
    let wiring = rig.wiring();
    rig.attach(Pit::new(&wiring, inputs.line(legacy::PIT)), &wiring);
    let wiring = rig.wiring();
    rig.attach(Rtc::new(&wiring, inputs.line(legacy::RTC), 0), &wiring);
    rig.take_edges();
}

fn get(rig: &mut Rig, offset: u64) -> u64 {
    rig.mmio_read(BASE + offset, Size::B8)
}

fn put(rig: &mut Rig, offset: u64, value: u64) {
    rig.mmio_write(BASE + offset, Size::B8, value);
}

fn rises(rig: &Rig, pin: u32) -> usize {
    rig.take_edges().into_iter().filter(|&(wire, level)| wire == pin && level).count()
}

#[test]
fn capabilities() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(get(rig, 0), 0x0098_9680_8086_a201);
        assert_eq!(rig.mmio_read(BASE + 4, Size::B4), 10_000_000);
        assert_eq!(get(rig, 0x100), 0x4_0000_0030);
        assert_eq!(get(rig, 0x148), u64::MAX);
        put(rig, 0x100, u64::MAX);
        assert_eq!(get(rig, 0x100), 0x4_0000_3f7e);
        assert_eq!(get(rig, 0x108), 0xffff_ffff, "32 bits now");
        assert_eq!(get(rig, 0x160), 0, "no fourth timer");
    });
}

#[test]
fn the_counter_counts_tens_of_nanoseconds_while_it_runs() {
    scenario(|rig| {
        attach(rig);
        rig.advance(ms(1));
        assert_eq!(get(rig, 0xf0), 0);
        put(rig, 0xf0, 0xffff_fff0);
        put(rig, 0x10, 1);
        rig.advance(us(1));
        assert_eq!(get(rig, 0xf0), 0x1_0000_0054);
        assert_eq!(rig.mmio_read(BASE + 0xf4, Size::B4), 1);
        put(rig, 0xf0, 7);
        assert_eq!(get(rig, 0xf0), 0x1_0000_0054, "not written while it runs");
        put(rig, 0x10, 0);
        rig.advance(ms(1));
        assert_eq!(get(rig, 0xf0), 0x1_0000_0054);
        rig.mmio_write(BASE + 0xf4, Size::B4, 5);
        assert_eq!(get(rig, 0xf0), 0x5_0000_0054);
    });
}

/// It woke the host 250 times a second for nothing.
#[test]
fn a_timer_whose_interrupt_is_off_wakes_nobody_and_goes_on() {
    let mut rig = Rig::new();
    let legacy = Legacy::new(rig.irqs());
    let wiring = rig.wiring();
    rig.attach(Hpet::new(&wiring, rig.irqs().clone(), legacy), &wiring);
    put(&mut rig, 0x10, 1);
    // Timer 0 every 10 us by edge, timer 1 once by level.
    put(&mut rig, 0x100, 0x48);
    put(&mut rig, 0x108, 1000);
    put(&mut rig, 0x120, 0x2);
    put(&mut rig, 0x128, 1500);
    assert_eq!(rig.next_deadline(), None);
    rig.advance(us(35));
    assert_eq!(get(&mut rig, 0x108), 4000, "the next match");
    assert_eq!(get(&mut rig, 0x20), 2, "the level's status");
    // From then on it interrupts, at the next match and not for those before.
    rig.take_edges();
    put(&mut rig, 0x100, 0xc | 2 << 9);
    assert_eq!(rig.next_deadline(), Some(us(40)));
    assert_eq!(rises(&rig, 2), 0);
    rig.advance(us(10));
    assert_eq!(rises(&rig, 2), 1);
}

#[test]
fn one_shot_by_edge() {
    scenario(|rig| {
        attach(rig);
        put(rig, 0x10, 1);
        put(rig, 0x140, 0x404);
        put(rig, 0x148, 1000);
        rig.take_edges();
        rig.advance(9_999);
        assert_eq!(rises(rig, 2), 0);
        rig.advance(1);
        assert_eq!(rises(rig, 2), 1);
        assert!(!rig.irq(2));
        rig.advance(ms(100));
        assert_eq!(rises(rig, 2), 0);
        put(rig, 0x148, 1000);
        rig.advance(1);
        assert_eq!(rises(rig, 2), 1, "in the past: at once");
    });
}

#[test]
fn a_narrow_comparator_matches_every_wrap() {
    scenario(|rig| {
        attach(rig);
        put(rig, 0x10, 1);
        put(rig, 0x140, 0x504);
        put(rig, 0x148, 100);
        rig.take_edges();
        rig.advance(us(1));
        assert_eq!(rises(rig, 2), 1);
        let wrap = 10 << 32;
        rig.advance(wrap - 1);
        assert_eq!(rises(rig, 2), 0);
        rig.advance(1);
        assert_eq!(rises(rig, 2), 1);
    });
}

#[test]
fn periodic_by_level() {
    scenario(|rig| {
        attach(rig);
        put(rig, 0x10, 1);
        put(rig, 0x140, 0x44e);
        put(rig, 0x148, 500_000);
        put(rig, 0x148, 100_000);
        rig.advance(ms(5) - 1);
        assert!(!rig.irq(2));
        rig.advance(1);
        assert!(rig.irq(2));
        assert_eq!((get(rig, 0x20), get(rig, 0x148)), (4, 600_000));
        put(rig, 0x20, 4);
        assert!(!rig.irq(2));
        rig.advance(ms(1));
        assert!(rig.irq(2), "the period was set apart");
        put(rig, 0x140, 0x44a);
        assert!(!rig.irq(2), "disabled");
        assert_eq!(get(rig, 0x20), 4);
        put(rig, 0x140, 0x44e);
        assert!(rig.irq(2));
        put(rig, 0x10, 0);
        assert!(!rig.irq(2));
    });
}

#[test]
fn legacy_replacement_takes_irq_0_and_8() {
    scenario(|rig| {
        attach(rig);
        rig.outb(0x43, 0x34);
        rig.outb(0x40, 0xa9);
        rig.outb(0x40, 0x04);
        rig.take_edges();
        rig.advance(ms(10));
        assert_eq!(rises(rig, 0), 10);
        put(rig, 0x10, 3);
        put(rig, 0x100, 0x4c);
        put(rig, 0x108, 1_000_000);
        put(rig, 0x108, 500_000);
        put(rig, 0x120, 0x04);
        put(rig, 0x128, 100);
        rig.take_edges();
        rig.advance(ms(1));
        assert_eq!(rises(rig, 8), 1);
        rig.advance(ms(29));
        assert_eq!(rises(rig, 0), 5, "the 8254 is cut off");
        put(rig, 0x10, 0);
        rig.take_edges();
        rig.advance(ms(10));
        assert!(matches!(rises(rig, 0), 9..=10), "and back");
    });
}

#[test]
fn the_clock_is_cut_off_too() {
    scenario(|rig| {
        attach(rig);
        rig.outb(0x70, 0x0b);
        rig.outb(0x71, 0x12);
        put(rig, 0x10, 2);
        rig.advance(ms(1500));
        assert!(!rig.irq(8));
        put(rig, 0x10, 0);
        assert!(rig.irq(8));
    });
}

#[test]
fn a_tiny_period_is_bounded() {
    let mut rig = Rig::new();
    attach(&mut rig);
    put(&mut rig, 0x10, 1);
    put(&mut rig, 0x140, 0x44c);
    put(&mut rig, 0x148, 1);
    rig.take_edges();
    rig.advance(ms(1));
    assert!((90..=101).contains(&rises(&rig, 2)));
}

#[test]
fn reset_stops_all() {
    let mut rig = Rig::new();
    attach(&mut rig);
    put(&mut rig, 0x10, 3);
    put(&mut rig, 0x140, 0x406);
    put(&mut rig, 0x148, 10);
    rig.advance(us(1));
    assert!(rig.irq(2));
    rig.reset();
    assert!(!rig.irq(2));
    assert_eq!((get(&mut rig, 0x10), get(&mut rig, 0xf0), get(&mut rig, 0x20)), (0, 0, 0));
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    attach(&mut rig);
    rig.batter(&[(Space::Mmio, BASE, 0x180), (Space::Pio, 0x40, 4)], 1, 50_000);
    let mut random = Random::new(2);
    for step in 0..50_000 {
        let offset = [0x10, 0x20, 0xf0, 0x100, 0x108, 0x120, 0x128, 0x140, 0x148][random.below(9) as usize];
        let shift = random.below(60);
        put(&mut rig, offset, random.draw() >> shift | random.below(2) << 63);
        rig.advance(random.below(1 << (step % 22)));
        if step % 100 == 0 {
            rig.save_load();
        }
    }
}

#[test]
fn no_period_wakes_the_host_more_often_than_every_ten_microseconds() {
    for wide in [0, 0x100] {
        for period in [0, 1, 2, 7, 99, 999, 1000, 0xffff_ffff, u64::MAX] {
            let mut rig = Rig::new();
            attach(&mut rig);
            for timer in [0x100, 0x120, 0x140] {
                // By edge and, from then on, by level; accumulators as well as comparators.
                put(&mut rig, timer, 0x4c | wide | 2 << 9);
                put(&mut rig, timer + 8, period);
                put(&mut rig, timer, 0x4e | wide | 2 << 9);
                put(&mut rig, timer + 8, period);
            }
            put(&mut rig, 0x10, 1);
            let wakes = rig.wakes(ms(1));
            assert!(wakes <= 3 * 101, "{period}: {wakes} in a millisecond");
        }
    }
}
