//! How drivers start the card and play; lists that lie, and noise.
//!
//! **Linux** (`intel8x0.c`, `ac97_codec.c`): GLOB_STA is read and written back, GLOB_CNT written without and with the bit
//! that ends the cold reset; GLOB_STA is read until the codec is ready; each box's CR = RR, polled until it reads clear.
//! CAS is read before the codec is used. The codec's RESET is written, its ids and EXTENDED_ID read, VRA set and read
//! back, rates written and read back. Before it plays: BDBAR, 32 entries that go round the ring, LVI = 31, CIV = 0,
//! SR = 1Ch, then CR = RPBM, LVBIE and IOCE. At an interrupt GLOB_STA is read, SR read, LVI moved on by the buffers that
//! are through, SR cleared, GLOB_STA written with the box's bit. The position is CIV and PICB, read until CIV is the same
//! twice.
//!
//! **Windows** (ICH driver of Windows XP; the order by ReactOS's and Microsoft's published `ac97` sample): GLOB_CNT = 2,
//! GLOB_STA polled, RESET of the codec, every mixer register written and read back to see which there are, VRA tried at
//! 44100; a box is paused by clearing RPBM, and goes on in its buffer when it is set.

use std::sync::Arc;

use devices_core::audio::{TestAudio, UNITY};
use devices_core::rig::{FuzzRange, Rig, fuzz, ms, scenario};
use ioreq::Size;

use super::Ac97;

const SLOT: u8 = 5;
const NAM: u16 = 0xc000;
const NABM: u16 = 0xc400;
const IRQ: u32 = 10;
const LIST: u32 = 0x2000;
const BUFFER: u32 = 0x1_0000;
const OUT: u16 = NABM + 0x10;

fn attach(rig: &mut Rig) -> Arc<TestAudio> {
    let wiring = rig.wiring();
    let audio = Arc::<TestAudio>::default();
    let line = rig.irqs().line(IRQ);
    let card = Ac97::new("AC97", rig.ram().clone(), line, audio.clone(), &wiring);
    rig.attach_pci(card, &wiring, SLOT, 0);
    rig.config_write(SLOT, 0, 0x10, Size::B4, NAM.into());
    rig.config_write(SLOT, 0, 0x14, Size::B4, NABM.into());
    rig.config_write(SLOT, 0, 0x04, Size::B2, 5);
    audio
}

/// The mixer is loud, and the first entries of a list go round a ring of equal buffers that interrupt.
fn set_up(rig: &mut Rig, at: u16, buffers: u32, bytes: u32) {
    rig.outw(NAM + 0x02, 0);
    rig.outw(NAM + 0x18, 0x0808);
    for n in 0..32u32 {
        let words = [BUFFER + n % buffers * bytes, bytes / 2 | 1 << 31];
        rig.poke((LIST + 8 * n).into(), words.map(u32::to_le_bytes).as_flattened());
    }
    rig.outb(at + 0xb, 2);
    rig.outl(at, LIST);
}

fn counted(first: u32, count: u32) -> Vec<u8> {
    (first..first + count).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn as_linux_does() {
    scenario(|rig| {
        let audio = attach(rig);
        assert_eq!(rig.config_read(SLOT, 0, 0, Size::B4), 0x2415_8086);
        assert_eq!(rig.config_read(SLOT, 0, 8, Size::B4), 0x0401_0001);
        let status = rig.inl(NABM + 0x30);
        rig.outl(NABM + 0x30, status & 0x8c01);
        rig.outl(NABM + 0x2c, 0);
        rig.advance(ms(1));
        rig.outl(NABM + 0x2c, 2);
        assert_eq!(rig.inl(NABM + 0x2c), 2);
        assert_eq!(rig.inl(NABM + 0x30) & 0x100, 0x100, "the codec is ready");
        for number in 0..3 {
            rig.outb(NABM + 0x10 * number + 0xb, 2);
            assert_eq!(rig.inb(NABM + 0x10 * number + 0xb), 0);
        }
        assert_eq!([rig.inb(NABM + 0x34), rig.inb(NABM + 0x34)], [0, 1], "the semaphore is taken");
        rig.outw(NAM, 0);
        assert_eq!(rig.inb(NABM + 0x34), 0, "and given back");
        assert_eq!([0x7c, 0x7e, 0x28].map(|at| rig.inw(NAM + at)), [0x8384, 0x7600, 0x0809]);
        rig.outw(NAM + 0x2a, 1);
        rig.outw(NAM + 0x2c, 44_100);
        assert_eq!(rig.inw(NAM + 0x2c), 44_100);
        rig.outw(NAM + 0x2c, 48_000);
        set_up(rig, OUT, 4, 1920);
        rig.poke(BUFFER.into(), &counted(0, 1920));
        rig.outb(OUT + 5, 2);
        rig.outw(OUT + 6, 0x1c);
        rig.outb(OUT + 0xb, 0x15);
        for turn in 1..=8u8 {
            rig.advance(ms(10));
            assert!(rig.irq(IRQ), "buffer {turn}");
            assert_eq!(rig.inl(NABM + 0x30) & 0xe0, 0x40);
            assert_eq!(rig.inw(OUT + 6), 8);
            assert_eq!([rig.inb(OUT + 4), rig.inb(OUT + 0xa)], [turn, turn + 1]);
            assert_eq!(rig.inw(OUT + 8), 960, "samples");
            rig.outb(OUT + 5, turn + 2);
            rig.outw(OUT + 6, 0x1c);
            assert!(!rig.irq(IRQ));
        }
        rig.outb(OUT + 0xb, 0);
        assert_eq!(rig.inw(OUT + 6), 1, "it is halted");
        assert!(audio.played() == counted(0, 1920).repeat(2));
        assert_eq!(audio.tone().unwrap().gain, [UNITY; 2]);
        assert_eq!(rig.next_deadline(), None);
    });
}

#[test]
fn as_windows_does() {
    scenario(|rig| {
        let audio = attach(rig);
        rig.outl(NABM + 0x2c, 2);
        rig.outw(NAM, 0);
        assert_eq!([0x02, 0x18].map(|at| rig.inw(NAM + at)), [0x8000, 0x8808]);
        rig.outw(NAM + 0x2a, 1);
        rig.outw(NAM + 0x2c, 44_100);
        set_up(rig, OUT, 4, 1764);
        rig.poke(BUFFER.into(), &counted(0, 1764));
        rig.outb(OUT + 5, 31);
        rig.outb(OUT + 0xb, 0x11);
        rig.advance(ms(15));
        rig.outb(OUT + 0xb, 0x10);
        let left = (rig.inb(OUT + 4), rig.inw(OUT + 8));
        assert_eq!(left, (1, 442), "of 882 samples of the second buffer");
        rig.advance(ms(100));
        rig.outb(OUT + 0xb, 0x11);
        rig.advance(ms(5) + 20_000);
        assert_eq!(rig.inb(OUT + 4), 2);
        let played = audio.played();
        assert!(played.len() >= 2 * 1764 && played[..3528] == counted(0, 882));
        // What is heard.
        let input = NABM;
        set_up(rig, input, 4, 1920);
        audio.give(&counted(9, 480));
        rig.outb(input + 5, 31);
        rig.outb(input + 0xb, 0x11);
        rig.advance(ms(10));
        assert_eq!(rig.inl(NABM + 0x30) & 0x20, 0x20);
        assert_eq!(rig.peek(BUFFER.into(), 1920), counted(9, 480));
    });
}

#[test]
fn the_last_valid_buffer_halts_it() {
    scenario(|rig| {
        attach(rig);
        set_up(rig, OUT, 2, 1920);
        rig.outb(OUT + 5, 1);
        rig.outb(OUT + 0xb, 0x1d);
        rig.advance(ms(30));
        assert_eq!(rig.inw(OUT + 6), 0xf, "both buffers, the last, halted");
        assert_eq!([rig.inb(OUT + 4), rig.inw(OUT + 8) as u8], [1, 0]);
        rig.outw(OUT + 6, 0x1c);
        assert_eq!(rig.inw(OUT + 6), 3);
        rig.outb(OUT + 5, 2);
        assert_eq!(rig.inw(OUT + 6), 0, "there is one more");
        rig.advance(ms(10));
        assert_eq!(rig.inw(OUT + 6), 0xf);
        assert!(rig.irq(IRQ));
    });
}

#[test]
fn loudness_is_that_of_both_registers() {
    let mut rig = Rig::new();
    let audio = attach(&mut rig);
    set_up(&mut rig, OUT, 2, 1920);
    rig.outb(OUT + 5, 31);
    rig.outb(OUT + 0xb, 1);
    for (master, pcm, gain) in [
        (0, 0x0808, [UNITY; 2]),
        (0, 0, [UNITY; 2]),
        (0x0400, 0x0808, [UNITY / 2 + 78, UNITY]),
        (0x8000, 0x0808, [0; 2]),
        (0, 0x8808, [0; 2]),
    ] {
        rig.outw(NAM + 0x02, master);
        rig.outw(NAM + 0x18, pcm);
        rig.advance(ms(15));
        rig.inb(OUT + 4);
        let [left, right] = audio.tone().unwrap().gain;
        assert!(
            left.abs_diff(gain[0]) < 100 && right.abs_diff(gain[1]) < 100,
            "{master:x} {pcm:x}: {left} {right}"
        );
    }
}

#[test]
fn lists_that_lie_are_bounded() {
    let mut rig = Rig::new();
    let audio = attach(&mut rig);
    // No samples; no RAM; a list that is no RAM.
    for (list, address, samples, status) in
        [(LIST, BUFFER, 0, 0u16), (LIST, 0xf000_0000, 16, 0x10), (0xffff_fff8, BUFFER, 16, 0x10)]
    {
        set_up(&mut rig, OUT, 1, 64);
        for n in 0..32 {
            let words = [address, samples];
            rig.poke((LIST + 8 * n).into(), words.map(u32::to_le_bytes).as_flattened());
        }
        rig.outl(OUT, list);
        // At the latest the last valid one ends it.
        rig.outb(OUT + 5, 31);
        rig.outb(OUT + 0xb, 1);
        rig.advance(ms(50));
        assert_eq!(rig.inw(OUT + 6) & 0x10, status, "{list:x} {address:x}");
        assert!(audio.played().iter().all(|byte| *byte == 0));
    }
}

#[test]
fn noise() {
    let board = || {
        let mut rig = Rig::new();
        attach(&mut rig);
        for at in [NABM, OUT, NABM + 0x20] {
            set_up(&mut rig, at, 4, 0x200);
            rig.outb(at + 5, 31);
            rig.outb(at + 0xb, 0x1d);
        }
        rig
    };
    let places = [
        FuzzRange::Ports(NAM, 0x80),
        FuzzRange::Ports(NABM, 0x40),
        FuzzRange::Ports(OUT, 0x10),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(board, 1, &places, |_, _| ());
}
