//! PCI sound cards on a rig: AC'97 and ES1370. Their channels truly move in the guest's buffers, both ways, while they are
//! reset, saved and loaded, and their lists change under them.

use std::sync::Arc;

use devices::audio::ac97::Ac97;
use devices::audio::es1370::Es1370;
use devices_core::Size;
use devices_core::audio::TestAudio;
use devices_core::rig::Rig;

use super::devices::ports;
use crate::script::{self, Between, Window};

const SLOT: u8 = 4;
const AT: u64 = 0xc000;
/// A second BAR.
const OTHER: u64 = 0xc400;
/// Where scripts put words.
const BUFFER: u64 = 0x1_0000;

/// As the firmware leaves it.
fn enable(rig: &mut Rig) {
    rig.config_write(SLOT, 0, 0x10, Size::B4, AT as u32);
    rig.config_write(SLOT, 0, 0x14, Size::B4, OTHER as u32);
    rig.config_write(SLOT, 0, 4, Size::B2, 5);
}

fn between(rig: &mut Rig, between: Between) {
    match between {
        Between::Save => rig.save_load(),
        Between::Reset => rig.reset(),
        Between::Host(0) => enable(rig),
        Between::Host(1) => rig.config_write(SLOT, 0, 4, Size::B2, 1),
        Between::Host(number) => rig.advance(1 << (2 * number)),
    }
}

fn play(rig: &mut Rig, audio: &TestAudio, windows: &[Window], bytes: &[u8]) -> u64 {
    audio.give(&[0x55; 4096]);
    enable(rig);
    let seen = script::play(rig, windows, bytes, &mut between);
    rig.save_load();
    let raised = rig.take_edges().iter().any(|(_, level)| *level);
    let played = audio.played().len().checked_ilog2().map_or(0, |bits| bits + 1);
    u64::from(seen.count_ones()) | u64::from(raised) << 8 | u64::from(played) << 9
}

/// A script (see `script`) for the AC'97 controller and its codec.
pub fn ac97(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 4] =
        [ports(AT, 0x80), ports(OTHER, 0x10), ports(OTHER + 0x10, 0x10), ports(OTHER + 0x20, 0x20)];
    let mut rig = Rig::new();
    let (wiring, audio) = (rig.wiring(), Arc::<TestAudio>::default());
    let line = rig.irqs().line(11);
    let card = Ac97::new("AC97", rig.ram().clone(), line, audio.clone(), &wiring);
    rig.attach_pci(card, &wiring, SLOT, 0);
    play(&mut rig, &audio, &WINDOWS, bytes)
}

/// A script for the ES1370.
pub fn es1370(bytes: &[u8]) -> u64 {
    const WINDOWS: [Window; 3] = [ports(AT, 0x14), ports(AT + 0x20, 0x20), ports(AT, 0x100)];
    let mut rig = Rig::new();
    let (wiring, audio) = (rig.wiring(), Arc::<TestAudio>::default());
    let line = rig.irqs().line(11);
    let card = Es1370::new("ES1370", rig.ram().clone(), line, audio.clone(), &wiring);
    rig.attach_pci(card, &wiring, SLOT, 0);
    play(&mut rig, &audio, &WINDOWS, bytes)
}

/// A word of four bytes to a register of a window.
fn write(window: u8, register: u8, value: u32) -> Vec<u8> {
    [&[0, window, register, 2][..], &value.to_le_bytes()].concat()
}

/// What happens while they move.
const MIDDLES: [&[u8]; 5] = [&[14], &[0xff], &[0x1f], &[0x2f], &[12, 24]];

/// A list of buffers, and a box of each direction that goes through it.
pub fn ac97_seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    for middle in MIDDLES {
        for window in [1u8, 2, 3] {
            let mut script = Vec::new();
            for n in 0..8u64 {
                let words = BUFFER + 0x1000 + 0x100 * n | (0x8000_0040u64 + n) << 32;
                let offset = (8 * n).to_le_bytes();
                script.extend([&[13, offset[0], offset[1]][..], &words.to_le_bytes()].concat());
            }
            script.extend(write(window, 0, BUFFER as u32));
            script.extend(write(window, 4, 0x1f00));
            script.extend(write(window, 8, 0x1d00_0000));
            script.extend([12, 22]);
            script.extend(middle);
            script.extend([12, 25]);
            seeds.push(script);
        }
    }
    seeds
}

/// A ring and a period for each channel, which move.
pub fn es1370_seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    for middle in MIDDLES {
        for (page, at, count) in [(0xcu32, 0x10u8, 4u8), (0xc, 0x18, 8), (0xd, 0x10, 12)] {
            let mut script = write(0, 0xc, page);
            script.extend(write(1, at, BUFFER as u32));
            script.extend(write(1, at + 4, 0x3f));
            script.extend(write(1, count, 0xf));
            script.extend(write(1, 0, 0x73f));
            script.extend(write(0, 0, 0x00ae_0070));
            script.extend([12, 22]);
            script.extend(middle);
            script.extend([12, 25]);
            seeds.push(script);
        }
    }
    seeds
}
