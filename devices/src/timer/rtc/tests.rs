use std::sync::{Arc, Mutex};

use devices_core::events::{DeviceEvent, Observer};
use devices_core::rig::{Rig, ms, scenario, us};
use devices_core::{DeviceCell, Space};

use super::Rtc;
use super::date::Date;
use super::firmware::{Boot, CmosInfo, Floppy};
use crate::storage::geometry::{Geometry, Translation};

/// Saturday, 29 February 2020, 23:59:50.
const LEAP: i64 = 1_583_020_790;

fn attach(rig: &mut Rig, seconds: i64) -> Arc<DeviceCell<Rtc>> {
    let wiring = rig.wiring();
    let rtc = Rtc::new(&wiring, rig.irqs().line(8), seconds);
    rig.attach(rtc, &wiring)
}

fn get(rig: &mut Rig, index: u8) -> u8 {
    rig.outb(0x70, index);
    rig.inb(0x71)
}

fn put(rig: &mut Rig, index: u8, value: u8) {
    rig.outb(0x70, index);
    rig.outb(0x71, value);
}

/// Century, year, month, day, weekday, hours, minutes, seconds.
fn time(rig: &mut Rig) -> [u8; 8] {
    [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| get(rig, index))
}

#[test]
fn the_calendar_goes_both_ways() {
    for day in -200_000i64..200_000 {
        let seconds = day * 86_400 + (day * 7919).rem_euclid(86_400);
        let date = Date::from_seconds(seconds);
        assert_eq!(date.to_seconds(), seconds, "{date:?}");
        assert!((1..=12).contains(&date.month) && (1..=31).contains(&date.day));
    }
    let date = Date::from_seconds(LEAP);
    assert_eq!((date.year, date.month, date.day, date.weekday), (2020, 2, 29, 7));
    assert_eq!((date.hour, date.minute, date.second), (23, 59, 50));
}

#[test]
fn time_goes_on_in_decimal_and_binary_by_24_and_12_hours() {
    scenario(|rig| {
        attach(rig, LEAP);
        assert_eq!(time(rig), [0x20, 0x20, 0x02, 0x29, 7, 0x23, 0x59, 0x50]);
        rig.advance(ms(10_000));
        assert_eq!(time(rig), [0x20, 0x20, 0x03, 0x01, 1, 0, 0, 0]);
        assert_eq!(get(rig, 0x37), 0x20);
        put(rig, 0x0b, 0x04);
        assert_eq!(time(rig), [20, 20, 3, 1, 1, 12, 0, 0], "midnight is 12");
        rig.advance(ms(13 * 3_600_000));
        assert_eq!(get(rig, 4), 0x81);
        put(rig, 0x0b, 0);
        assert_eq!(get(rig, 4), 0x81);
        assert_eq!(rig.inb(0x70), 0xff, "the index is write only");
        assert_eq!(get(rig, 0x0d), 0x80);
    });
}

#[test]
fn the_guest_sets_the_time() {
    scenario(|rig| {
        attach(rig, LEAP);
        rig.advance(ms(400));
        put(rig, 0x0b, 0x82);
        for (index, value) in [(0, 0x58), (2, 0x59), (4, 0x23), (7, 0x31), (8, 0x12), (9, 0x99), (0x32, 0x19)]
        {
            put(rig, index, value);
        }
        rig.advance(ms(5000));
        assert_eq!(get(rig, 0), 0x58, "it stands");
        assert_eq!(get(rig, 0x0c) & 0x30, 0, "and has no updates");
        put(rig, 0x0b, 0x02);
        rig.advance(ms(2000));
        assert_eq!(time(rig), [0x20, 0, 1, 1, 7, 0, 0, 0]);
        put(rig, 0, 0x30);
        assert_eq!(get(rig, 0), 0x30, "without SET, too");
        put(rig, 0, 0xff);
        put(rig, 8, 0xff);
    });
}

#[test]
fn a_released_divider_updates_after_half_a_second() {
    scenario(|rig| {
        attach(rig, LEAP);
        put(rig, 0x0a, 0x76);
        rig.advance(ms(3300));
        assert_eq!(get(rig, 0), 0x50);
        put(rig, 0x0a, 0x26);
        rig.advance(ms(499));
        assert_eq!(get(rig, 0), 0x50);
        rig.advance(ms(1));
        assert_eq!(get(rig, 0), 0x51);
    });
}

#[test]
fn uip_announces_the_update() {
    scenario(|rig| {
        attach(rig, LEAP);
        rig.advance(us(999_755));
        assert_eq!(get(rig, 0x0a), 0x26);
        rig.advance(us(1));
        assert_eq!(get(rig, 0x0a), 0xa6);
        rig.advance(us(244));
        assert_eq!(get(rig, 0x0a), 0x26);
        assert_eq!(get(rig, 0), 0x51);
    });
}

#[test]
fn update_ended_interrupts_every_second() {
    scenario(|rig| {
        attach(rig, LEAP);
        put(rig, 0x0b, 0x12);
        rig.advance(ms(999));
        assert!(!rig.irq(8));
        rig.advance(ms(1));
        assert!(rig.irq(8));
        assert_eq!(get(rig, 0x0c) & 0xb0, 0x90);
        assert!(!rig.irq(8));
        assert_eq!(get(rig, 0x0c), 0);
        rig.advance(ms(1000));
        assert!(rig.irq(8));
        put(rig, 0x0b, 0x02);
        assert!(!rig.irq(8), "disabled");
        assert_eq!(get(rig, 0x0c) & 0xb0, 0x10, "the flag stands");
    });
}

#[test]
fn periodic_interrupts_at_the_rate() {
    scenario(|rig| {
        attach(rig, LEAP);
        put(rig, 0x0b, 0x42);
        let mut count = 0;
        for _ in 0..500 {
            rig.advance(ms(1));
            if rig.irq(8) {
                assert_eq!(get(rig, 0x0c) & 0xc0, 0xc0);
                count += 1;
            }
        }
        assert!((490..=500).contains(&count), "{count} at 1024 Hz, looked at each millisecond");
        put(rig, 0x0a, 0x2f);
        get(rig, 0x0c);
        rig.advance(ms(499));
        assert!(!rig.irq(8) || rig.now() / ms(500) > 1);
        rig.advance(ms(2));
        assert!(rig.irq(8), "2 Hz");
        put(rig, 0x0a, 0x20);
        get(rig, 0x0c);
        rig.advance(ms(2000));
        assert!(!rig.irq(8), "rate 0 is none");
    });
}

#[test]
fn alarms_match_their_registers() {
    scenario(|rig| {
        attach(rig, LEAP);
        for (index, value) in [(1, 0x05), (3, 0x00), (5, 0x00), (0x0b, 0x22)] {
            put(rig, index, value);
        }
        rig.advance(ms(14_999));
        assert!(!rig.irq(8));
        rig.advance(ms(1));
        assert!(rig.irq(8), "midnight and five seconds");
        assert_eq!(get(rig, 0x0c) & 0xa0, 0xa0);
        rig.advance(ms(3_600_000));
        assert!(!rig.irq(8));
        put(rig, 5, 0xff);
        put(rig, 3, 0xc0);
        rig.advance(ms(59_000));
        assert!(!rig.irq(8));
        rig.advance(ms(1000));
        assert!(rig.irq(8), "every minute");
        put(rig, 1, 0x75);
        get(rig, 0x0c);
        rig.advance(ms(3_600_000));
        assert!(!rig.irq(8), "no such second");
    });
}

#[test]
fn reset_ends_interrupts_and_keeps_time_and_ram() {
    let mut rig = Rig::new();
    attach(&mut rig, LEAP);
    put(&mut rig, 0x40, 0x5a);
    put(&mut rig, 0x0b, 0x12);
    rig.advance(ms(1500));
    assert!(rig.irq(8));
    rig.reset();
    assert!(!rig.irq(8));
    assert_eq!((get(&mut rig, 0), get(&mut rig, 0x40), get(&mut rig, 0x0b)), (0x51, 0x5a, 0x02));
}

#[test]
fn firmware_finds_its_keys() {
    let mut rig = Rig::new();
    let slot = attach(&mut rig, LEAP);
    let disk = (Geometry { cylinders: 1040, heads: 16, sectors: 63 }, Translation::Lba);
    let info = CmosInfo {
        below_4g: 0xc000_0000,
        above_4g: 0x1_4000_0000,
        vcpus: 4,
        boot: [Boot::Cd, Boot::Disk, Boot::None],
        boot_any_floppy: true,
        floppies: [Floppy::M1_44, Floppy::None],
        disks: [Some(disk), None, Some(disk), None],
    };
    info.fill(&mut slot.lock());
    let mut bytes = |indices: &[u8]| -> Vec<u8> { indices.iter().map(|&i| get(&mut rig, i)).collect() };
    assert_eq!(bytes(&[0x15, 0x16, 0x17, 0x18, 0x30, 0x31]), [0x80, 2, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(bytes(&[0x34, 0x35, 0x5b, 0x5c, 0x5d]), [0x00, 0xbf, 0x00, 0x40, 0x01]);
    assert_eq!(bytes(&[0x38, 0x3d, 0x10, 0x14, 0x5f]), [0x01, 0x23, 0x40, 0x07, 3]);
    assert_eq!(bytes(&[0x12, 0x19, 0x1a, 0x39]), [0xf0, 47, 0, 0x11]);
    let table: Vec<u8> = (0x1b..0x24).collect();
    assert_eq!(bytes(&table), [0x10, 4, 16, 0xff, 0xff, 0xc8, 0x10, 4, 63]);
}

#[test]
fn a_hostile_guest() {
    let mut rig = Rig::new();
    attach(&mut rig, LEAP);
    rig.batter(&[(Space::Pio, 0x70, 2)], 3, 50_000);
    // Index and data apart seldom hit the clock: aim.
    let mut random = devices_core::rig::Random::new(5);
    for step in 0..50_000 {
        put(&mut rig, random.below(14) as u8, random.draw() as u8);
        get(&mut rig, random.below(14) as u8);
        rig.advance(random.below(1 << (step % 36)));
        if step % 100 == 0 {
            rig.save_load();
        }
    }
}

/// Writes down what the guest set the clock to.
#[derive(Default)]
struct Heard(Mutex<Vec<i64>>);

impl Observer for Heard {
    fn observe(&self, event: DeviceEvent) {
        if let DeviceEvent::ClockSet { seconds } = event {
            self.0.lock().unwrap().push(seconds);
        }
    }
}

#[test]
fn whoever_watches_hears_when_the_guest_sets_the_time() {
    scenario(|rig| {
        let heard = Arc::new(Heard::default());
        let wiring = rig.wiring();
        let rtc = Rtc::new(&wiring, rig.irqs().line(8), LEAP).observed(heard.clone());
        let rtc = rig.attach(rtc, &wiring);
        rig.advance(ms(2000));
        time(rig);
        put(rig, 0x40, 7);
        put(rig, 1, 0x30);
        put(rig, 0x0a, 0x26);
        assert_eq!(*heard.0.lock().unwrap(), [], "no register of the time was written");
        // As a driver does: stop, write all, go on.
        put(rig, 0x0b, 0x82);
        put(rig, 4, 0x20);
        put(rig, 2, 0x00);
        assert_eq!(rtc.lock().seconds(), LEAP - 9 - 59 * 60 - 3 * 3600 + 11);
        assert_eq!(*heard.0.lock().unwrap(), []);
        put(rig, 0x0b, 0x02);
        let set = LEAP - 59 * 60 - 3 * 3600 + 2;
        assert_eq!(*heard.0.lock().unwrap(), [set]);
        // In passing, as DOS did.
        put(rig, 2, 0x01);
        assert_eq!(*heard.0.lock().unwrap(), [set, set + 60]);
        rig.advance(ms(5000));
        assert_eq!(rtc.lock().seconds(), set + 65);
    });
}

#[test]
fn the_first_update_after_a_divider_reset_is_announced_eight_periods_before() {
    scenario(|rig| {
        attach(rig, LEAP);
        put(rig, 0x0a, 0x76);
        put(rig, 0x0a, 0x26);
        rig.advance(ms(500) - 244_140 - 1);
        assert_eq!((get(rig, 0x0a), get(rig, 0)), (0x26, 0x50));
        rig.advance(1);
        assert_eq!(get(rig, 0x0a), 0xa6);
        rig.advance(244_140);
        assert_eq!((get(rig, 0x0a), get(rig, 0)), (0x26, 0x51));
    });
}

#[test]
fn the_divider_goes_on_while_the_time_is_set() {
    scenario(|rig| {
        attach(rig, LEAP);
        put(rig, 0x0a, 0x76);
        put(rig, 0x0b, 0x82);
        rig.advance(ms(3300));
        put(rig, 0x0a, 0x26);
        rig.advance(ms(300));
        put(rig, 0x0b, 0x02);
        rig.advance(ms(199));
        assert_eq!(get(rig, 0), 0x50);
        rig.advance(ms(1));
        assert_eq!(get(rig, 0), 0x51);
    });
}

#[test]
fn no_rate_wakes_the_host_more_often_than_8192_times_a_second() {
    for a in 0..=0x7f {
        let mut rig = Rig::new();
        attach(&mut rig, LEAP);
        put(&mut rig, 0x0a, a);
        put(&mut rig, 0x0b, 0x70);
        let mut wakes = 0;
        for _ in 0..100 {
            // Each interrupt is seen at once.
            get(&mut rig, 0x0c);
            wakes += rig.wakes(us(123));
        }
        assert!(wakes <= 102, "{a:#x}: {wakes} in 12 milliseconds");
    }
}
