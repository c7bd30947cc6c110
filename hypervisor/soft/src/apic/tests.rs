//! The chip by itself.

use super::spec::*;
use super::*;

fn on() -> Apic {
    let mut apic = Apic::new(0);
    apic.write(SVR, 0x1ff, 0);
    apic
}

#[test]
fn the_higher_vector_comes_first_and_blocks_the_lower() {
    let mut apic = on();
    apic.accept(0x31, false);
    apic.accept(0x52, true);
    assert_eq!(apic.acknowledge(), Some(0x52));
    assert_eq!(apic.pending(), None);
    assert_eq!(apic.write(EOI, 0, 0), Effect::End(Some(0x52)));
    assert_eq!(apic.acknowledge(), Some(0x31));
    assert_eq!(apic.write(EOI, 0, 0), Effect::End(None));
    assert_eq!(apic.write(EOI, 0, 0), Effect::None);
}

#[test]
fn task_priority_holds_back_its_class() {
    let mut apic = on();
    apic.write(TPR, 0x50, 0);
    apic.accept(0x5f, false);
    assert_eq!(apic.pending(), None);
    apic.accept(0x60, false);
    assert_eq!(apic.pending(), Some(0x60));
    apic.write(TPR, 0x40, 0);
    apic.acknowledge();
    assert_eq!(apic.read(PPR, 0), Some(0x60));
}

#[test]
fn a_periodic_timer_keeps_its_phase() {
    let mut apic = on();
    apic.write(LVT_TIMER, 0x2_0040, 0);
    apic.write(DIVIDE, 3, 0); // by 16
    apic.write(INITIAL, 1000, 100);
    assert_eq!(apic.due(), Some(16_100));
    assert_eq!(apic.read(CURRENT, 8_100), Some(500));
    assert!(apic.expire(16_300));
    assert_eq!(apic.due(), Some(32_100));
    assert_eq!(apic.pending(), Some(0x40));
    // Three periods slept through are one interrupt.
    assert!(apic.expire(32_100 + 40_000));
    assert_eq!(apic.due(), Some(80_100));
}

#[test]
fn one_shot_and_deadline_fire_once() {
    let mut apic = on();
    apic.write(LVT_TIMER, 0x41, 0);
    apic.write(DIVIDE, 0xb, 0);
    apic.write(INITIAL, 50, 0);
    assert!(!apic.expire(49));
    assert!(apic.expire(50));
    assert_eq!(apic.due(), None);
    assert_eq!(apic.read(CURRENT, 60), Some(0));
    apic.write(LVT_TIMER, 0x4_0042, 60);
    apic.set_deadline(1100, 1000, 60);
    assert_eq!(apic.due(), Some(100));
    assert!(apic.expire(100));
    assert_eq!(apic.deadline(100), 0);
    // One that is past is pending at once.
    apic.write(LVT_TIMER, 0x4_0055, 100);
    apic.set_deadline(1099, 1000, 100);
    assert_eq!((apic.pending(), apic.deadline(100), apic.due()), (Some(0x55), 0, None));
}

/// A timer that divides by 1, with vector 0x41 and `mode` bits, counting from 1000 since 0.
fn counting(mode: u64) -> Apic {
    let mut apic = on();
    apic.write(LVT_TIMER, 0x41 | mode, 0);
    apic.write(DIVIDE, 0xb, 0);
    apic.write(INITIAL, 1000, 0);
    apic
}

#[test]
fn a_one_shot_count_stays_at_zero() {
    let mut apic = counting(0x1_0000);
    assert_eq!(apic.read(CURRENT, 600), Some(400));
    assert_eq!(apic.read(CURRENT, 1600), Some(0), "however late it is looked at");
    assert_eq!(apic.pending(), None, "it was masked when it was due");
    apic.write(LVT_TIMER, 0x41, 1700);
    assert_eq!((apic.due(), apic.pending()), (None, None));
    // Unmasked it is pending by the time that it reads as zero.
    let mut apic = counting(0);
    assert_eq!((apic.read(CURRENT, 1600), apic.pending()), (Some(0), Some(0x41)));
}

#[test]
fn a_change_between_one_shot_and_periodic_leaves_the_count() {
    let mut apic = counting(0);
    apic.write(LVT_TIMER, 0x2_0041, 300);
    assert_eq!((apic.due(), apic.read(CURRENT, 400)), (Some(1000), Some(600)));
    assert!(apic.expire(1000));
    apic.write(LVT_TIMER, 0x41, 1100);
    assert_eq!(apic.read(CURRENT, 1200), Some(800), "the period that began goes on to its end");
    // A count that has ended is not begun again.
    let mut apic = counting(0);
    assert!(apic.expire(1000));
    apic.write(LVT_TIMER, 0x2_0041, 1100);
    assert_eq!((apic.due(), apic.read(CURRENT, 1500)), (None, Some(0)));
    // Deadlines and back: disarmed.
    let mut apic = counting(0x2_0000);
    apic.write(LVT_TIMER, 0x4_0041, 300);
    apic.write(LVT_TIMER, 0x2_0041, 400);
    assert_eq!(apic.due(), None);
}

#[test]
fn a_masked_timer_wakes_nobody_and_a_fast_one_seldom() {
    let mut apic = counting(0x3_0000);
    assert_eq!(apic.due(), None);
    assert_eq!(apic.read(CURRENT, 12_300), Some(700), "it counts");
    apic.write(LVT_TIMER, 0x2_0041, 12_300);
    let due = apic.due().unwrap();
    assert!(apic.pending().is_none() && due > 12_300);
    assert!(apic.expire(due));
    assert!(apic.due().unwrap() >= due + 9_000, "10 us between two, less what it was late");
    // Masked while it was due, before anybody looked: it had fired.
    let mut apic = counting(0x2_0000);
    apic.write(LVT_TIMER, 0x3_0041, 1500);
    assert_eq!((apic.pending(), apic.due()), (Some(0x41), None));
}

#[test]
fn x2apic_registers_refuse_reserved_bits() {
    let mut apic = on();
    assert!(apic.set_base(apic.base() | base::X2APIC));
    let refused = [
        (SELF_IPI, 0x140),
        (TPR, 0x100),
        (EOI, 1),
        (SVR, 0x1_01ff),
        (ESR, 1),
        (ICR, 0x10_0040),
        (ICR, 0x2040),
        (LVT_TIMER, 0x8_0040),
        (LVT_ERROR, 0x8_00fe),
        (DIVIDE, 4),
        (INITIAL, 1 << 32),
    ];
    for (reg, v) in refused {
        assert_eq!(apic.write(reg, v, 0), Effect::Illegal, "{reg:#x} {v:#x}");
    }
    assert_eq!(apic.pending(), None);
    for (reg, v) in [(SELF_IPI, 0x40), (SVR, 0x1ff), (ESR, 0), (ICR, 5 << 32 | 0xc_4841), (DIVIDE, 0xb)] {
        assert_ne!(apic.write(reg, v, 0), Effect::Illegal, "{reg:#x} {v:#x}");
    }
    assert_eq!(apic.pending(), Some(0x40));
}

#[test]
fn destinations() {
    let message = |dest, logical| Message { dest, logical, mode: 0, vector: 0x40, level: false };
    let mut apic = Apic::new(3);
    assert!(apic.matches(&message(3, false)) && apic.matches(&message(0xff, false)));
    assert!(!apic.matches(&message(2, false)));
    apic.write(LDR, 0x0400_0000, 0);
    assert!(apic.matches(&message(0x0c, true)) && !apic.matches(&message(0x03, true)));
    apic.write(DFR, 0x0fff_ffff, 0);
    apic.write(LDR, 0x2100_0000, 0);
    assert!(apic.matches(&message(0x23, true)) && !apic.matches(&message(0x13, true)));
    assert!(apic.set_base(apic.base() | base::X2APIC));
    assert_eq!(apic.read(LDR, 0), Some(8));
    assert!(apic.matches(&message(8, true)) && !apic.matches(&message(1 << 16 | 8, true)));
    // Back to xAPIC only through off.
    assert!(!apic.set_base(apic.base() & !base::X2APIC));
}

#[test]
fn state_survives() {
    let mut apic = on();
    apic.accept(0x77, true);
    apic.write(LVT_TIMER, 0x2_0040, 0);
    apic.write(INITIAL, 5, 0);
    let state = State::from(apic.clone());
    let again = State::from(Apic::from(state.clone()));
    assert_eq!(state, again);
    assert_eq!(state.irr[3], 1 << 23);
}
