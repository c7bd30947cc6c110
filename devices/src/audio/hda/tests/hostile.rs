//! Lists that loop, lie and lead nowhere, and noise.

use devices_core::rig::{FuzzRange, fuzz};

use super::super::spec::sd;
use super::super::stream::Stream;
use super::*;

/// Starts the first output stream on a list of one descriptor, and says what came of it.
fn play(rig: &mut Rig, address: u64, len: u64) -> (u32, u32) {
    set_up(rig, OUT, BUFFER, 1, 64);
    rig.poke(LIST + (OUT - IN) * 2, [address, len].map(u64::to_le_bytes).as_flattened());
    w8(rig, OUT, 2);
    rig.advance(ms(100));
    (r8(rig, OUT as usize) & 2, r8(rig, OUT as usize + 3) & 0x1c)
}

#[test]
fn buffers_that_are_no_ram_are_errors_of_the_fifo() {
    let mut rig = Rig::new();
    let audio = attach(&mut rig, Kind::Output);
    begin(&mut rig);
    route(&mut rig, 2);
    for address in [BAR, 0xffff_ffff_ffff_fff0, 0x8000_0000] {
        assert_eq!(play(&mut rig, address, 64), (2, 8), "{address:#x}");
        assert!(audio.played().iter().all(|byte| *byte == 0), "silence");
    }
}

#[test]
fn a_list_that_is_no_ram_stops_the_stream() {
    let mut rig = Rig::new();
    attach(&mut rig, Kind::Output);
    begin(&mut rig);
    set_up(&mut rig, OUT, BUFFER, 1, 64);
    w32(&mut rig, OUT + 0x1c, 0xffff_ffff);
    w8(&mut rig, OUT, 0x12);
    w32(&mut rig, reg::INTCTL as u64, 0x8000_0010);
    assert_eq!((r8(&mut rig, OUT as usize), r8(&mut rig, OUT as usize + 3)), (0x10, 0x10));
    assert!(rig.irq(IRQ));
    assert_eq!(rig.next_deadline(), None);
}

#[test]
fn a_list_without_bytes_goes_round_and_ends() {
    let mut rig = Rig::new();
    let audio = attach(&mut rig, Kind::Output);
    begin(&mut rig);
    route(&mut rig, 2);
    assert_eq!(play(&mut rig, BUFFER, 1 << 32), (2, 4), "it tells of buffers that are through");
    assert_eq!(audio.played(), []);
    // A byte a buffer: no more than so many descriptors at a time.
    play(&mut rig, BUFFER, 1);
    let before = rig.now();
    rig.advance(ms(1000));
    assert_eq!(rig.now(), before + ms(1000));
}

/// Sixteen channels of 32 bits at 192 kHz, which nobody saw to for a minute.
#[test]
fn a_long_time_is_no_long_work() {
    let format = super::super::spec::format(0x184f);
    let mut stream = Stream { moving: Some(1).zip(format), ..Stream::default() };
    assert_eq!(stream.due(ms(60_000)).len(), 64 << 10);
    assert_eq!(stream.due(ms(60_000)).len(), 0, "the rest is forgotten");
    assert_eq!(stream.due(ms(60_001)).len(), 192 * 64);
}

/// A board that can do most of what a guest can ask for.
fn board() -> Rig {
    let mut rig = Rig::new();
    attach(&mut rig, Kind::Duplex);
    begin(&mut rig);
    route(&mut rig, 2);
    route(&mut rig, 4);
    set_up(&mut rig, OUT, BUFFER, 4, 0x400);
    set_up(&mut rig, IN, HEARD, 4, 0x400);
    for stream in [OUT, IN] {
        w8(&mut rig, stream, 0x1e);
    }
    w32(&mut rig, reg::INTCTL as u64, 0xc000_00ff);
    w32(&mut rig, reg::DPLBASE as u64, POSITIONS | 1);
    rig
}

#[test]
fn noise() {
    let places = [
        FuzzRange::Memory(BAR, 0x180),
        FuzzRange::Memory(BAR + 0x40, 0x30),
        FuzzRange::Memory(BAR + 0x80, 0x20),
        FuzzRange::Memory(BAR + 0x100, 0x20),
        FuzzRange::Memory(BAR + 0x2000, 0x180),
        FuzzRange::Config(SLOT, 0),
    ];
    fuzz(board, 1, &places, |rig, what| {
        // Lists become short again: going round long ones of nothing would be all that is tested.
        if what < 16 {
            w8(rig, IN + what % 8 * 0x20 + sd::LVI as u64, what);
        }
    });
}

/// Rings and lists in memory that is noise, too.
#[test]
#[ignore = "all: a minute of random accesses"]
fn noise_in_memory() {
    let places = [FuzzRange::Memory(BAR, 0x180), FuzzRange::Memory(BAR + 0x100, 0x20)];
    fuzz(board, 3, &places, |rig, what| {
        let at = 0x1000 + what * 0x40;
        rig.poke(at, &[what as u8 | 1; 24]);
    });
}
