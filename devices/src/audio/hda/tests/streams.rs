//! Streams in time, in lists and in formats.

use devices_core::audio::{Sample, UNITY};
use devices_core::rig::scenario;

use super::*;

#[test]
fn the_position_follows_guest_time() {
    scenario(|rig| {
        let audio = attach(rig, Kind::Output);
        begin(rig);
        route(rig, 2);
        set_up(rig, OUT, BUFFER, 2, 19_200);
        rig.poke(BUFFER, &counted(0, 9600));
        w8(rig, OUT, 2);
        let mut frames = 0;
        for step in 1..200u64 {
            rig.advance(step * 7919);
            frames = (1..=step).map(|step| step * 7919).sum::<u64>() * 48 / 1_000_000;
            assert_eq!(u64::from(r32(rig, OUT as usize + 4)), frames * 4 % 38_400, "step {step}");
        }
        assert_eq!(r32(rig, 0x2104), r32(rig, 0x104), "its alias");
        let played = audio.played();
        let expected: Vec<u8> = counted(0, 9600).into_iter().cycle().take(frames as usize * 4).collect();
        assert!(played == expected);
    });
}

#[test]
fn a_stream_that_was_stopped_goes_on_where_it_stood() {
    scenario(|rig| {
        let audio = attach(rig, Kind::Output);
        begin(rig);
        route(rig, 2);
        set_up(rig, OUT, BUFFER, 4, 1920);
        rig.poke(BUFFER, &counted(0, 1920));
        w8(rig, OUT, 2);
        rig.advance(ms(15));
        w8(rig, OUT, 0);
        assert!(audio.stops() > 0);
        let at = r32(rig, OUT as usize + 4);
        assert_eq!(at, 720 * 4);
        rig.advance(ms(500));
        w8(rig, OUT, 2);
        rig.advance(ms(15));
        assert_eq!(r32(rig, OUT as usize + 4), 1440 * 4);
        assert!(audio.played() == counted(0, 1440));
        w8(rig, OUT, 1);
        assert_eq!(r8(rig, OUT as usize), 1, "until it is cleared");
        assert_eq!([4, 8, 0x18].map(|at| r32(rig, OUT as usize + at)), [0; 3]);
        w8(rig, OUT, 0);
        assert_eq!(r8(rig, OUT as usize), 0);
    });
}

#[test]
fn streams_start_together() {
    scenario(|rig| {
        let audio = attach(rig, Kind::Duplex);
        begin(rig);
        route(rig, 2);
        route(rig, 4);
        w32(rig, reg::SSYNC as u64, 0xff);
        set_up(rig, OUT, BUFFER, 2, 1920);
        set_up(rig, IN, HEARD, 2, 1920);
        audio.give(&counted(3, 960));
        w8(rig, OUT, 2);
        rig.advance(ms(5));
        w8(rig, IN, 2);
        rig.advance(ms(5));
        assert_eq!([OUT, IN].map(|at| r32(rig, at as usize + 4)), [0; 2]);
        w32(rig, reg::SSYNC as u64, 0);
        rig.advance(ms(5));
        assert_eq!([OUT, IN].map(|at| r32(rig, at as usize + 4)), [960; 2]);
        assert_eq!(rig.peek(HEARD, 960), counted(3, 240));
    });
}

#[test]
fn loudness_and_pins_are_heard() {
    scenario(|rig| {
        let audio = attach(rig, Kind::Output);
        begin(rig);
        route(rig, 2);
        set_up(rig, OUT, BUFFER, 2, 1920);
        w8(rig, OUT, 2);
        ask(rig, 2, 0x3_a04a - 20);
        ask(rig, 2, 0x3_90ca);
        rig.advance(ms(1));
        r32(rig, OUT as usize + 4);
        assert_eq!(audio.tone().unwrap().gain, [UNITY / 10, 0]);
        audio.played();
        ask(rig, 3, 0x7_0700);
        rig.advance(ms(15));
        assert_eq!(audio.played(), [], "the pin is off");
        ask(rig, 3, 0x7_0740);
        ask(rig, 2, 0x7_0620);
        rig.advance(ms(15));
        assert_eq!(audio.played(), [], "another stream");
    });
}

#[test]
fn formats_are_those_of_the_link() {
    let frames = |bits| {
        super::super::spec::format(bits).map(|format| (format.rate(), format.channels(), format.sample()))
    };
    assert_eq!(frames(0x0011), Some((48_000, 2, Sample::S16)));
    assert_eq!(frames(0x4011), Some((44_100, 2, Sample::S16)));
    assert_eq!(frames(0x4111), Some((22_050, 2, Sample::S16)));
    assert_eq!(frames(0x0811), Some((96_000, 2, Sample::S16)));
    assert_eq!(frames(0x1831), Some((192_000, 2, Sample::S32)));
    assert_eq!(frames(0x0500), Some((8000, 1, Sample::S8)));
    for none in [0x8011, 0x2011, 0x0051, 0x0071] {
        assert_eq!(frames(none), None, "{none:#x}");
    }
}
