//! How a driver starts the card, plays and hears; registers that lie, and noise.
//!
//! **Linux** (`ens1370.c`): CONTROL is written with the codec enabled, SERIAL 0, MEM_PAGE 0Dh and the phantom frame's two
//! registers 0. Each of the codec's registers is written by 10h. To play on DAC2 ("front"): CONTROL without DAC2_EN, MEM_PAGE
//! 0Ch, its frame and size (longwords less one), SERIAL's mode, end and start increments, its count (samples of a period less
//! one), CONTROL's clock divisor; then DAC2_EN. At an interrupt STATUS is read; SERIAL is written without the enable of the
//! channel that interrupts, and with it again. The position is the upper half of the size, in longwords.

use std::sync::Arc;

use devices_core::audio::{Format, Sample, TestAudio};
use devices_core::rig::{FuzzRange, Rig, fuzz, ms, scenario};
use ioreq::Size;

use super::Es1370;

const SLOT: u8 = 5;
const AT: u16 = 0xc000;
const IRQ: u32 = 10;
const BUFFER: u32 = 0x1_0000;
const CONTROL: u16 = AT;
const STATUS: u16 = AT + 4;
const PAGE: u16 = AT + 0xc;
const SERIAL: u16 = AT + 0x20;

fn attach(rig: &mut Rig) -> Arc<TestAudio> {
    let wiring = rig.wiring();
    let audio = Arc::<TestAudio>::default();
    let line = rig.irqs().line(IRQ);
    let card = Es1370::new("ES1370", rig.ram().clone(), line, audio.clone(), &wiring);
    rig.attach_pci(card, &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, AT.into());
    rig.config_write(SLOT, 0, 0x04, Size::B2, 5);
    audio
}

fn counted(first: u32, count: u32) -> Vec<u8> {
    (first..first + count).flat_map(u32::to_le_bytes).collect()
}

/// A channel's ring and period.
fn set_up(rig: &mut Rig, number: u16, longwords: u32, samples: u32) {
    let (page, at) = [(0xc, 0x30), (0xc, 0x38), (0xd, 0x30)][usize::from(number)];
    rig.outl(PAGE, page);
    rig.outl(AT + at, BUFFER);
    rig.outl(AT + at + 4, longwords - 1);
    rig.outl(AT + 0x24 + 4 * number, samples - 1);
}

/// Where a channel is, in longwords.
fn position(rig: &mut Rig, number: u16) -> u32 {
    let (page, at) = [(0xc, 0x34), (0xc, 0x3c), (0xd, 0x34)][usize::from(number)];
    rig.outl(PAGE, page);
    rig.inl(AT + at) >> 16
}

/// The divisor of a rate.
const fn divisor(rate: u32) -> u32 {
    (1_411_200 / rate - 2) << 16
}

#[test]
fn as_linux_does() {
    scenario(|rig| {
        let audio = attach(rig);
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x5000_1274);
        assert_eq!(rig.config_read(SLOT, 0, 8, Size::B4), 0x0401_0000);
        assert_eq!(rig.config_read(SLOT, 0, 0x2c, Size::B4), 0x4c4c_4942);
        assert_eq!([rig.inl(CONTROL), rig.inl(STATUS)], [1, 0x60]);
        let control = 2 | divisor(44_100);
        rig.outl(CONTROL, control);
        rig.outl(SERIAL, 0);
        rig.outl(PAGE, 0xd);
        rig.outl(AT + 0x38, 0);
        rig.outl(AT + 0x3c, 0);
        for register in 0..0x19 {
            assert_eq!(rig.inl(STATUS) & 0x700, 0, "the codec is ready");
            rig.outw(AT + 0x10, register << 8 | 0x86);
        }
        // Four periods of ten milliseconds, two channels of 16 bits.
        set_up(rig, 1, 1764, 441);
        rig.poke(BUFFER.into(), &counted(0, 1764));
        let serial = 3 << 2 | 2 << 19 | 1 << 9;
        rig.outl(SERIAL, serial);
        rig.outl(CONTROL, control | 0x20);
        for turn in 1..=8 {
            rig.advance(ms(10));
            assert!(rig.irq(IRQ), "period {turn}");
            assert_eq!(rig.inl(STATUS), 0x8000_0062);
            assert_eq!(position(rig, 1), turn % 4 * 441);
            rig.outl(SERIAL, serial & !(1 << 9));
            rig.outl(SERIAL, serial);
            assert_eq!((rig.irq(IRQ), rig.inl(STATUS)), (false, 0x60));
        }
        rig.advance(ms(5));
        assert_eq!(rig.inl(AT + 0x28), 220 << 16 | 440, "220.5 of 441 samples have gone");
        rig.outl(CONTROL, control);
        assert_eq!(rig.next_deadline(), None);
        assert!(audio.played()[..4 * 3528] == counted(0, 1764).repeat(2));
        let format = Format::new(44_100, 2, Sample::S16).unwrap();
        assert_eq!(audio.tone().unwrap().format, format);
        assert!(audio.stops() > 0);
    });
}

#[test]
fn every_channel_has_its_rate_and_mode() {
    scenario(|rig| {
        let audio = attach(rig);
        // DAC1 by its four rates.
        for (select, rate) in [(0, 5512), (1, 11_025), (2, 22_050), (3, 44_100)] {
            for mode in 0..4 {
                rig.outl(SERIAL, mode);
                rig.outl(CONTROL, 0x40 | select << 12);
                rig.advance(ms(5));
                rig.outl(CONTROL, 0);
                let sample = if mode & 2 != 0 { Sample::S16 } else { Sample::U8 };
                let expected = Format::new(rate, 1 + (mode & 1) as u8, sample).unwrap();
                assert_eq!(audio.tone().unwrap().format, expected);
            }
        }
        // What is heard, by the clock's divisor; bytes of one channel fill longwords.
        set_up(rig, 2, 20, 80);
        rig.outl(SERIAL, 1 << 10);
        audio.give(&counted(7, 25));
        rig.outl(CONTROL, divisor(8000) | 0x10);
        rig.advance(ms(10));
        assert_eq!(rig.inl(STATUS), 0x8000_0061);
        assert_eq!((rig.peek(BUFFER.into(), 80), position(rig, 2)), (counted(7, 20), 0));
        rig.advance(ms(1));
        assert_eq!((position(rig, 2), rig.peek(BUFFER.into(), 8)), (2, counted(27, 2)));
        rig.outl(SERIAL, 0);
        assert_eq!(rig.inl(STATUS), 0x60);
    });
}

#[test]
fn a_channel_pauses_and_stops_at_the_end_of_its_count() {
    scenario(|rig| {
        let audio = attach(rig);
        set_up(rig, 0, 441, 441);
        rig.poke(BUFFER.into(), &counted(0, 441));
        // Two channels of 16 bits; it stops, and interrupts.
        let serial = 3 | 1 << 13 | 1 << 8;
        rig.outl(SERIAL, serial);
        let control = 0x40 | 3 << 12;
        rig.outl(CONTROL, control);
        rig.advance(ms(5));
        rig.outl(SERIAL, serial | 1 << 11);
        let paused = position(rig, 0);
        assert_eq!(paused, 220);
        rig.advance(ms(100));
        assert_eq!(position(rig, 0), paused);
        rig.outl(SERIAL, serial);
        rig.advance(ms(20));
        assert_eq!((rig.inl(STATUS), position(rig, 0)), (0x8000_0064, 0));
        assert_eq!(rig.inl(AT + 0x24), 440 << 16 | 440);
        assert!(audio.played() == counted(0, 441), "once");
        assert_eq!(rig.next_deadline(), None);
        // It goes again when it is enabled again.
        rig.outl(CONTROL, 0);
        rig.outl(CONTROL, control);
        rig.advance(ms(10));
        assert!(audio.played() == counted(0, 441));
    });
}

#[test]
fn registers_are_written_in_parts() {
    let mut rig = Rig::new();
    attach(&mut rig);
    rig.outl(PAGE, 0xfffc);
    assert_eq!(rig.inl(PAGE), 0xc);
    rig.outl(AT + 0x30, 0xffff_ffff);
    rig.outb(AT + 0x31, 0x12);
    rig.outw(AT + 0x32, 0x3456);
    assert_eq!((rig.inl(AT + 0x30), rig.inb(AT + 0x32)), (0x3456_12fc, 0x56));
    // A page without registers of ours, and what there is none of.
    rig.outl(PAGE, 3);
    rig.outl(AT + 0x30, 5);
    assert_eq!([rig.inl(AT + 0x30), rig.inl(AT + 0x08), rig.inl(AT + 0x80)], [0, 0, u32::MAX]);
    // All of it is as it was after a reset.
    rig.reset();
    rig.config_write(SLOT, 0, 0x10, Size::B4, AT.into());
    rig.config_write(SLOT, 0, 0x04, Size::B2, 5);
    assert_eq!([rig.inl(CONTROL), rig.inl(STATUS), rig.inl(PAGE), rig.inl(SERIAL)], [1, 0x60, 0, 0]);
}

#[test]
fn rings_that_lie_are_bounded() {
    let mut rig = Rig::new();
    let audio = attach(&mut rig);
    // A period of one sample; a ring where no RAM is, at the end of all addresses; a position beyond its ring.
    for (frame, size, count) in
        [(BUFFER, 0, 0), (0xffff_fffc, 0xffff, 0), (0xf000_0000, 7, 0xffff), (BUFFER, 0xffff_0001, 3)]
    {
        rig.outl(PAGE, 0xc);
        rig.outl(AT + 0x38, frame);
        rig.outl(AT + 0x3c, size);
        rig.outl(AT + 0x28, count);
        rig.outl(SERIAL, 1 << 9);
        // The fastest clock that there is.
        rig.outl(CONTROL, 0x20);
        rig.advance(ms(20));
        assert!(position(&mut rig, 1) <= size & 0xffff, "{frame:x}");
        rig.advance(ms(100_000));
        rig.outl(CONTROL, 0);
        assert!(!audio.played().is_empty());
    }
}

#[test]
fn noise() {
    let board = || {
        let mut rig = Rig::new();
        attach(&mut rig);
        for number in 0..3 {
            set_up(&mut rig, number, 64, 16);
        }
        rig.outl(SERIAL, 0x73f);
        rig.outl(CONTROL, divisor(8000) | 0x70);
        rig
    };
    fuzz(board, 1, &[FuzzRange::Ports(AT, 0x40), FuzzRange::Config(SLOT, 0)], |_, _| ());
}
