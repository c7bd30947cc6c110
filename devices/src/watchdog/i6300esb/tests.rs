//! What Linux's `i6300esb` does, and what nobody should.

use devices_core::rig::{FuzzRange, Rig, fuzz, scenario};
use devices_core::{Size, Space};

use super::*;

const SLOT: u8 = 4;
const AT: u64 = 0xe000_0000;
const RELOAD: u64 = AT + spec::RELOAD;
const MS: u64 = 1_000_000;

fn attach(rig: &mut Rig) {
    let wiring = rig.wiring();
    rig.attach_pci(I6300esb::new("watchdog", &wiring, rig.recorder()), &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, AT as u32);
    rig.config_write(SLOT, 0, 0x04, Size::B2, 2);
}

fn unlock(rig: &mut Rig) {
    rig.mmio_write(RELOAD, Size::B2, 0x80);
    rig.mmio_write(RELOAD, Size::B2, 0x86);
}

fn preload(rig: &mut Rig, first: u64, second: u64) {
    for (at, counts) in [(AT, first), (AT + 4, second)] {
        unlock(rig);
        rig.mmio_write(at, Size::B4, counts);
    }
}

fn keep_alive(rig: &mut Rig) {
    unlock(rig);
    rig.mmio_write(RELOAD, Size::B2, 0x100);
}

fn barked(rig: &mut Rig) -> bool {
    let power = rig.take_power();
    assert!(power.iter().all(|event| *event == PowerEvent::Watchdog) && power.len() < 2, "{power:?}");
    !power.is_empty()
}

/// A stage of so many counts at the 1 ms scale, rounded to the nanosecond before its end.
fn stage(counts: u64) -> u64 {
    counts * 32768 * 1000 / 33
}

#[test]
fn linux_starts_it_feeds_it_and_stops_it() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x25ab_8086);
        // No interrupt, the output enabled, 1 ms a tick.
        rig.config_write(SLOT, 0, 0x60, Size::B2, 3);
        assert_eq!(rig.config_read(SLOT, 0, 0x68, Size::B1), 0, "not locked");
        rig.config_write(SLOT, 0, 0x68, Size::B1, 0);
        unlock(rig);
        assert_eq!(rig.mmio_read(RELOAD, Size::B2), 0, "it has not barked");
        unlock(rig);
        rig.mmio_write(RELOAD, Size::B2, 0x200 | 0x100);
        // A heartbeat of 4 s: two stages of half of it.
        preload(rig, 4 << 9, 4 << 9);
        keep_alive(rig);
        rig.config_write(SLOT, 0, 0x68, Size::B1, 2);
        for _ in 0..5 {
            rig.advance(3000 * MS);
            keep_alive(rig);
        }
        rig.config_write(SLOT, 0, 0x68, Size::B1, 0);
        rig.advance(10_000 * MS);
        assert!(!barked(rig));
        assert_eq!(rig.config_read(SLOT, 0, 0x68, Size::B1), 0);
    });
}

#[test]
fn a_guest_that_hangs_is_reset_and_sees_why() {
    scenario(|rig| {
        attach(rig);
        preload(rig, 100, 200);
        rig.config_write(SLOT, 0, 0x68, Size::B1, 3);
        rig.advance(stage(100) + stage(200) - 1);
        assert!(!barked(rig));
        rig.advance(2);
        assert!(barked(rig));
        assert_eq!(rig.mmio_read(RELOAD, Size::B2), 0x1200);
        assert_eq!(rig.config_read(SLOT, 0, 0x68, Size::B1), 0, "it is as after power-on");
        rig.reset();
        attach_again(rig);
        assert_eq!(rig.mmio_read(RELOAD, Size::B2), 0x1200, "a reset keeps it");
        unlock(rig);
        rig.mmio_write(RELOAD, Size::B2, 0x200);
        assert_eq!(rig.mmio_read(RELOAD, Size::B2), 0);
        rig.advance(2000 * 1000 * MS);
        assert!(!barked(rig), "once");
    });
}

fn attach_again(rig: &mut Rig) {
    rig.config_write(SLOT, 0, 0x10, Size::B4, AT as u32);
    rig.config_write(SLOT, 0, 0x04, Size::B2, 2);
}

#[test]
fn a_write_needs_the_sequence_each_time() {
    scenario(|rig| {
        attach(rig);
        preload(rig, 10, 10);
        // Without, in another order, and behind another write that took it.
        rig.mmio_write(AT, Size::B4, 1000);
        rig.mmio_write(RELOAD, Size::B2, 0x86);
        rig.mmio_write(RELOAD, Size::B2, 0x80);
        rig.mmio_write(AT, Size::B4, 1000);
        unlock(rig);
        rig.mmio_write(AT + 8, Size::B4, 0);
        rig.mmio_write(AT, Size::B4, 1000);
        rig.config_write(SLOT, 0, 0x68, Size::B1, 2);
        rig.advance(stage(20) + 1);
        assert!(barked(rig));
    });
}

#[test]
fn a_locked_one_runs_until_the_machine_is_reset() {
    scenario(|rig| {
        attach(rig);
        preload(rig, 10, 10);
        rig.config_write(SLOT, 0, 0x68, Size::B1, 3);
        rig.config_write(SLOT, 0, 0x68, Size::B1, 0);
        rig.config_write(SLOT, 0, 0x68, Size::B4, 0);
        assert_eq!(rig.config_read(SLOT, 0, 0x68, Size::B1), 3);
        rig.reset();
        rig.advance(1000 * MS);
        assert!(!barked(rig));
        assert_eq!(rig.config_read(SLOT, 0, 0x68, Size::B1), 0);
    });
}

#[test]
fn without_an_output_it_stops_or_goes_round() {
    scenario(|rig| {
        attach(rig);
        // 1 us a tick.
        rig.config_write(SLOT, 0, 0x60, Size::B2, 0x27);
        preload(rig, 1000, 1000);
        rig.config_write(SLOT, 0, 0x68, Size::B1, 2);
        rig.advance(10 * MS);
        assert_eq!(rig.next_deadline(), None, "it stopped");
        rig.config_write(SLOT, 0, 0x68, Size::B1, 0);
        rig.config_write(SLOT, 0, 0x68, Size::B1, 6);
        rig.advance(10 * MS);
        assert!(rig.next_deadline().is_some(), "it goes round");
        assert!(!barked(rig));
        // The output comes back: the next end of a second stage is its last.
        rig.config_write(SLOT, 0, 0x60, Size::B2, 7);
        rig.advance(2 * MS);
        assert!(barked(rig));
    });
}

#[test]
fn the_shortest_stages_do_not_starve_the_host() {
    let mut rig = Rig::new();
    attach(&mut rig);
    rig.config_write(SLOT, 0, 0x60, Size::B2, 0x27);
    preload(&mut rig, 0, 0);
    rig.config_write(SLOT, 0, 0x68, Size::B1, 6);
    assert!(rig.wakes(MS) <= MS / SHORTEST);
}

#[test]
fn states_that_cannot_be_are_refused() {
    let rig = Rig::new();
    let mut device = I6300esb::new("watchdog", &rig.wiring(), rig.recorder());
    for (change, fits) in [
        ((|_| {}) as fn(&mut I6300esb), true),
        (|device| device.set_deadline(Some(spec::LONGEST)), true),
        (|device| device.set_deadline(Some(spec::LONGEST + 1)), false),
        (|device| device.preload[1] = 1 << 20, false),
    ] {
        change(&mut device);
        let saved = device.save().unwrap();
        assert_eq!(device.load(&saved).is_ok(), fits);
        device.reset();
    }
}

#[test]
fn fuzzed() {
    let board = || {
        let mut rig = Rig::new();
        attach(&mut rig);
        rig
    };
    fuzz(board, 11, &[FuzzRange::Memory(AT, 16), FuzzRange::Config(SLOT, 0)], |_, _| {});
    board().batter(&[(Space::Mmio, AT, 16)], 3, 20_000);
}
