use std::sync::Arc;

use devices_core::audio::TestAudio;
use devices_core::irq::{IrqBank, IrqSink};
use devices_core::rig::{Rig, ms, scenario, us};
use devices_core::{Device, DeviceCell, Size, Space};

use super::Pit;
use super::spec::HERTZ;
use crate::interrupt::IsaInterrupts;
use crate::interrupt::ioapic::Ioapic;
use crate::interrupt::pic::{Pic, PicHandle};
use crate::timer::hpet::legacy::{self, Legacy};
use crate::timer::nanoseconds;

fn attach(rig: &mut Rig) -> Arc<DeviceCell<Pit>> {
    let wiring = rig.wiring();
    let pit = Pit::new(&wiring, rig.irqs().line(0));
    let slot = rig.attach(pit, &wiring);
    rig.take_edges();
    slot
}

fn program(rig: &mut Rig, counter: u16, control: u8, count: u16) {
    rig.outb(0x43, (counter as u8) << 6 | 0x30 | control);
    rig.outb(0x40 + counter, count as u8);
    rig.outb(0x40 + counter, (count >> 8) as u8);
}

/// Moves to the first instant of the input clock's tick `tick`.
fn to_tick(rig: &mut Rig, tick: u64) {
    let at = nanoseconds(tick, HERTZ);
    rig.advance(at - rig.now());
}

fn rises(rig: &Rig) -> usize {
    rig.take_edges().into_iter().filter(|&(pin, level)| pin == 0 && level).count()
}

fn counted(rig: &mut Rig, counter: u16) -> u16 {
    rig.outb(0x43, (counter as u8) << 6);
    u16::from_le_bytes([rig.inb(0x40 + counter), rig.inb(0x40 + counter)])
}

#[test]
fn rate_generator_interrupts_once_a_period_without_drift() {
    scenario(|rig| {
        attach(rig);
        program(rig, 0, 4, 11932);
        rig.take_edges();
        let mut edges = 0;
        for _ in 0..100 {
            rig.advance(ms(10));
            edges += rises(rig);
        }
        assert_eq!(edges, HERTZ as usize / 11932);
    });
}

#[test]
fn the_rise_comes_at_its_tick() {
    scenario(|rig| {
        attach(rig);
        program(rig, 0, 4, 1000);
        rig.take_edges();
        // Written in tick 0, loaded by the clock after.
        to_tick(rig, 1000);
        assert_eq!(rises(rig), 0);
        to_tick(rig, 1001);
        assert_eq!(rises(rig), 1);
        to_tick(rig, 4000);
        assert_eq!(rises(rig), 2);
        to_tick(rig, 4001);
        assert_eq!(rises(rig), 1);
    });
}

#[test]
fn square_wave_is_high_for_the_longer_half() {
    scenario(|rig| {
        attach(rig);
        program(rig, 0, 6, 9);
        rig.advance(ms(1));
        program(rig, 0, 6, 1001);
        let start = rig.now() * HERTZ / 1_000_000_000 + 1;
        to_tick(rig, start + 500);
        assert!(rig.irq(0));
        to_tick(rig, start + 501);
        assert!(!rig.irq(0));
        to_tick(rig, start + 1000);
        assert!(!rig.irq(0));
        to_tick(rig, start + 1001);
        assert!(rig.irq(0));
    });
}

#[test]
fn one_shot_counts_to_zero_and_a_new_count_starts_it_again() {
    scenario(|rig| {
        attach(rig);
        program(rig, 0, 0, 100);
        assert!(!rig.irq(0));
        to_tick(rig, 100);
        assert!(!rig.irq(0));
        assert_eq!(counted(rig, 0), 1);
        to_tick(rig, 101);
        assert!(rig.irq(0));
        to_tick(rig, 103);
        assert_eq!(counted(rig, 0), 0xfffe, "it counts on");
        rig.outb(0x40, 50);
        assert!(!rig.irq(0), "the first byte lowers OUT");
        rig.advance(ms(60));
        assert!(!rig.irq(0), "and stops the count");
        rig.outb(0x40, 0);
        rig.advance(us(50));
        assert!(rig.irq(0));
    });
}

#[test]
fn software_strobe_interrupts_once() {
    scenario(|rig| {
        attach(rig);
        program(rig, 0, 8, 200);
        rig.take_edges();
        to_tick(rig, 201);
        assert_eq!(rises(rig), 0);
        to_tick(rig, 202);
        assert_eq!(rises(rig), 1);
        rig.advance(ms(200));
        assert_eq!(rises(rig), 0);
        rig.outb(0x40, 10);
        rig.outb(0x40, 0);
        rig.advance(ms(1));
        assert_eq!(rises(rig), 1);
    });
}

#[test]
fn counter_2_is_gated_and_watched_through_port_61() {
    scenario(|rig| {
        attach(rig);
        assert_eq!(rig.inb(0x61) & 0xcf, 0);
        rig.outb(0x61, 0x01);
        program(rig, 2, 0, 1000);
        assert_eq!(rig.inb(0x61) & 0xef, 0x01);
        to_tick(rig, 501);
        rig.outb(0x61, 0x02);
        assert_eq!(counted(rig, 2), 500);
        rig.advance(ms(5));
        assert_eq!(counted(rig, 2), 500, "held by its gate");
        assert_eq!(rig.inb(0x61) & 0xef, 0x02);
        rig.outb(0x61, 0x01);
        rig.advance(us(500));
        assert_eq!(rig.inb(0x61) & 0x20, 0x20);
        assert!(!rig.irq(2));
    });
}

#[test]
fn triggered_modes_wait_for_the_gate() {
    for (mode, done) in [(2, true), (10, true)] {
        scenario(|rig| {
            attach(rig);
            program(rig, 2, mode, 1000);
            rig.advance(ms(5));
            rig.outb(0x43, 0xe8);
            assert_eq!(rig.inb(0x42), 0xf0 | mode, "OUT high, null count");
            rig.outb(0x61, 1);
            rig.advance(us(100));
            let out = rig.inb(0x61) & 0x20 != 0;
            assert_eq!(out, mode == 10);
            rig.outb(0x61, 0);
            rig.outb(0x61, 1);
            rig.advance(us(800));
            assert_eq!(rig.inb(0x61) & 0x20 != 0, mode == 10, "triggered anew");
            rig.advance(us(200));
            assert_eq!(rig.inb(0x61) & 0x20 != 0, done);
        });
    }
}

#[test]
fn hardware_strobe_is_low_for_one_tick() {
    scenario(|rig| {
        attach(rig);
        program(rig, 2, 10, 100);
        rig.outb(0x61, 1);
        for (tick, out) in [(100, true), (101, false), (102, true)] {
            to_tick(rig, tick);
            assert_eq!(rig.inb(0x61) & 0x20 != 0, out, "{tick}");
        }
    });
}

#[test]
fn a_low_gate_ends_square_waves_high() {
    scenario(|rig| {
        attach(rig);
        rig.outb(0x61, 1);
        program(rig, 2, 6, 100);
        to_tick(rig, 60);
        assert_eq!(rig.inb(0x61) & 0x20, 0);
        rig.outb(0x61, 0);
        assert_eq!(rig.inb(0x61) & 0x20, 0x20);
        rig.outb(0x61, 1);
        let start = rig.now() * HERTZ / 1_000_000_000 + 1;
        to_tick(rig, start + 49);
        assert_eq!(rig.inb(0x61) & 0x20, 0x20);
        to_tick(rig, start + 50);
        assert_eq!(rig.inb(0x61) & 0x20, 0);
    });
}

#[test]
fn a_new_rate_begins_with_the_next_period() {
    scenario(|rig| {
        attach(rig);
        program(rig, 0, 4, 1000);
        rig.outb(0x43, 0xe2);
        assert_eq!(rig.inb(0x40), 0xb4);
        rig.outb(0x40, 100);
        rig.outb(0x40, 0);
        rig.outb(0x43, 0xe2);
        assert_eq!(rig.inb(0x40), 0xf4, "null count");
        to_tick(rig, 1000);
        rig.take_edges();
        to_tick(rig, 1001);
        assert_eq!(rises(rig), 1);
        to_tick(rig, 1101);
        assert_eq!(rises(rig), 1);
        assert_eq!(counted(rig, 0), 100);
    });
}

#[test]
fn counts_are_latched_whole_and_read_by_halves() {
    scenario(|rig| {
        attach(rig);
        program(rig, 0, 4, 0x1234);
        to_tick(rig, 1 + 0x34);
        rig.outb(0x43, 0xc2);
        rig.advance(ms(1));
        rig.outb(0x43, 0x00);
        assert_eq!(rig.inb(0x40), 0xb4, "status first");
        assert_eq!((rig.inb(0x40), rig.inb(0x40)), (0x00, 0x12));
        rig.outb(0x43, 0x24);
        rig.outb(0x40, 0x80);
        assert_eq!(rig.inb(0x40), 0x80, "high byte only");
        rig.outb(0x43, 0x14);
        rig.outb(0x40, 0x55);
        assert_eq!((rig.inb(0x40), rig.inb(0x40)), (0x55, 0x55), "low byte only");
        assert_eq!(rig.inb(0x43), 0);
    });
}

#[test]
fn decimal_counts() {
    scenario(|rig| {
        attach(rig);
        program(rig, 0, 5, 0x1000);
        to_tick(rig, 2);
        assert_eq!(counted(rig, 0), 0x0999);
        program(rig, 0, 1, 0);
        let start = rig.now() * HERTZ / 1_000_000_000 + 1;
        to_tick(rig, start + 1);
        assert_eq!(counted(rig, 0), 0x9999, "zero is ten thousand");
        to_tick(rig, start + 10_000);
        assert!(rig.irq(0));
    });
}

#[test]
fn the_refresh_bit_toggles() {
    let mut rig = Rig::new();
    attach(&mut rig);
    let mut changes = 0;
    let mut last = 0;
    for _ in 0..1000 {
        rig.advance(us(1));
        let bit = rig.inb(0x61) & 0x10;
        changes += usize::from(bit != last);
        last = bit;
    }
    assert_eq!(changes, 66);
}

#[test]
fn a_late_host_gives_one_interrupt_and_no_shift() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig);
    program(&mut rig, 0, 4, 1000);
    rig.take_edges();
    slot.lock().wake(devices_core::Wake::Timer(0));
    assert_eq!(rises(&rig), 0, "woken too early");
    program(&mut rig, 0, 4, 2);
    rig.take_edges();
    rig.advance(ms(1));
    assert!((90..=101).contains(&rises(&rig)), "the fastest rate is bounded");
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    attach(&mut rig);
    rig.batter(&[(Space::Pio, 0x40, 4), (Space::Pio, 0x61, 1)], 1, 100_000);
}

#[test]
fn nothing_is_pending_before_somebody_sets_it_up() {
    scenario(|rig| {
        attach(rig);
        rig.advance(ms(300));
        assert!(!rig.irq(0));
        assert_eq!(rises(rig), 0);
        // It counts already, as in QEMU, and another counter is another matter.
        assert_ne!(counted(rig, 0), counted(rig, 2));
        program(rig, 2, 6, 100);
        rig.advance(ms(300));
        assert_eq!((rig.irq(0), rises(rig)), (false, 0));
        program(rig, 0, 4, 11932);
        rig.advance(ms(15));
        assert!(rises(rig) > 0);
        rig.reset();
        assert!(!rig.irq(0));
    });
}

/// The wire on which the rig shows INTR.
const INTR: u32 = 200;

/// The timer behind both interrupt controllers, initialized and all masked, as a PC has them.
fn on_a_board(rig: &mut Rig) -> PicHandle {
    let recorder = rig.recorder();
    let pic = Pic::new(Arc::new(move |level| recorder.set(INTR, level)));
    let ioapic = Ioapic::new(rig.recorder());
    let handle = pic.handle();
    let wires = IrqBank::new(24, Arc::new(IsaInterrupts::new(handle.clone(), Some(ioapic.handle()))));
    let wiring = rig.wiring();
    rig.attach(pic, &wiring);
    let wiring = rig.wiring();
    rig.attach(ioapic, &wiring);
    let wiring = rig.wiring();
    let line = Legacy::new(&wires).inputs().line(legacy::PIT);
    rig.attach(Pit::new(&wiring, line), &wiring);
    for (port, value) in [(0x20, 0x11), (0x21, 0x08), (0x21, 0x04), (0x21, 0x01), (0x21, 0xff)] {
        rig.outb(port, value);
    }
    handle
}

/// The IOAPIC's entry for the timer.
fn route(rig: &mut Rig, entry: u32) {
    rig.mmio_write(0xfec0_0000, Size::B4, 0x14);
    rig.mmio_write(0xfec0_0010, Size::B4, entry.into());
}

/// Whether nothing is waited for, when what a load looks at has been looked at.
fn sleeps(rig: &mut Rig) -> bool {
    rig.advance(1);
    rig.next_deadline().is_none()
}

#[test]
fn nobody_wakes_for_edges_that_are_lost() {
    scenario(|rig| {
        let pic = on_a_board(rig);
        // As firmware leaves it.
        program(rig, 0, 6, 0);
        rig.advance(ms(60));
        assert_eq!(rig.inb(0x20), 1, "the first edge is latched");
        assert!(sleeps(rig));
        rig.advance(ms(1000));
        assert!(sleeps(rig));
        assert!(!rig.irq(INTR));
        // What was latched comes at once, the next when it is due: periods are counted from the first one.
        rig.outb(0x21, 0xfe);
        assert!(rig.irq(INTR));
        rig.advance(1);
        assert_eq!(pic.acknowledge(), 0x08);
        rig.outb(0x20, 0x20);
        let period = nanoseconds(0x1_0000, HERTZ);
        let next = rig.now().next_multiple_of(period) - rig.now();
        rig.advance(next - us(5));
        assert!(!rig.irq(INTR), "nothing is made up for");
        rig.advance(us(10));
        assert!(rig.irq(INTR));
        assert_eq!(pic.acknowledge(), 0x08);
        rig.outb(0x20, 0x20);
        rig.advance(period);
        assert!(rig.irq(INTR));
    });
}

#[test]
fn a_pin_of_the_ioapic_that_is_unmasked_has_its_edges_again() {
    scenario(|rig| {
        on_a_board(rig);
        program(rig, 0, 4, 11932);
        rig.advance(ms(100));
        assert!(sleeps(rig));
        assert!(rig.take_messages().is_empty());
        route(rig, 0x30);
        rig.advance(ms(100));
        assert_eq!(rig.take_messages().len(), 10);
        route(rig, 0x1_0030);
        rig.advance(ms(100));
        assert!(rig.take_messages().is_empty());
        assert!(sleeps(rig));
        // A new count while it is masked.
        program(rig, 0, 4, 1193);
        rig.advance(ms(5));
        assert!(sleeps(rig));
        route(rig, 0x30);
        rig.advance(ms(10));
        assert_eq!(rig.take_messages().len(), 10);
        rig.reset();
        rig.advance(ms(100));
        assert!(sleeps(rig));
    });
}

/// A board whose speaker is heard.
fn with_speaker(rig: &mut Rig) -> Arc<TestAudio> {
    let (wiring, audio) = (rig.wiring(), Arc::<TestAudio>::default());
    let pit = Pit::new(&wiring, rig.irqs().line(0)).with_speaker(audio.clone());
    rig.attach(pit, &wiring);
    audio
}

/// How often samples rise above silence.
fn waves(samples: &[u8]) -> usize {
    samples.windows(2).filter(|pair| pair[0] < 0x80 && pair[1] >= 0x80).count()
}

#[test]
fn the_speaker_sounds_while_port_61_lets_it() {
    scenario(|rig| {
        let audio = with_speaker(rig);
        // 1000 Hz, by the firmware's way.
        program(rig, 2, 6, 1193);
        rig.advance(ms(50));
        assert!(audio.played().is_empty(), "nobody has turned it on");
        let port = rig.inb(0x61);
        rig.outb(0x61, port | 3);
        rig.advance(ms(100));
        rig.outb(0x61, port & !3);
        let samples = audio.played();
        assert!((99..=101).contains(&waves(&samples)), "{} waves", waves(&samples));
        assert!(samples.len().abs_diff(3200) <= 1, "{} samples", samples.len());
        assert!(samples.iter().all(|sample| (0x60..=0xa0).contains(sample)));
        // It is silent then, and costs nothing.
        rig.advance(ms(100));
        assert!(waves(&audio.played()) <= 1);
        assert!(audio.stops() > 0);
        // Two more tones, the second while the first sounds.
        rig.outb(0x61, 3);
        rig.advance(ms(50));
        program(rig, 2, 6, 2386);
        rig.advance(ms(50));
        rig.outb(0x61, 0);
        let count = waves(&audio.played());
        assert!((73..=77).contains(&count), "{count} waves");
    });
}

#[test]
fn the_speaker_follows_its_bit_alone() {
    scenario(|rig| {
        let audio = with_speaker(rig);
        // The counter's output is high, and a program moves the cone itself.
        program(rig, 2, 6, 0);
        for turn in 0..40 {
            rig.outb(0x61, if turn % 2 == 0 { 2 } else { 0 });
            rig.advance(us(500));
        }
        let samples = audio.played();
        assert!((19..=20).contains(&waves(&samples)), "{} waves", waves(&samples));
        rig.advance(ms(60));
        assert!(audio.stops() > 0 && audio.played().len() < 1600);
    });
}

#[test]
fn a_speaker_that_was_not_listened_to_for_long_plays_a_bounded_time() {
    let mut rig = Rig::new();
    let audio = with_speaker(&mut rig);
    // A tone that nobody hears is none.
    program(&mut rig, 2, 6, 2);
    rig.outb(0x61, 3);
    rig.advance(ms(10_000));
    rig.outb(0x61, 0);
    let samples = audio.played();
    assert!(samples.len() <= 320_100 && waves(&samples[100..]) * 10 < samples.len(), "{}", waves(&samples));
    // A reset ends it.
    rig.outb(0x61, 3);
    rig.reset();
    assert_eq!(audio.stops(), 1);
}

#[test]
fn no_count_wakes_the_host_more_often_than_every_ten_microseconds() {
    for mode in 0..8 {
        for bcd in [0, 1] {
            for count in (0..40).chain([0xffff]) {
                let mut rig = Rig::new();
                attach(&mut rig);
                program(&mut rig, 0, mode << 1 | bcd, count);
                let wakes = rig.wakes(ms(1));
                assert!(wakes <= 101, "mode {mode}, count {count}: {wakes} in a millisecond");
            }
        }
    }
}
