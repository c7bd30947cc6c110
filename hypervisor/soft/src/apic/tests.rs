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
    assert_eq!(apic.deadline(), 0);
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
