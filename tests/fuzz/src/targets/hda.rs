//! The HD Audio controller with a codec: streams truly move in the guest's buffers, both ways, while it is reset, saved and
//! loaded, and its lists and rings change under it.

use std::sync::Arc;

use devices::audio::hda::codec::{Codec, Kind};
use devices::audio::hda::model::VARIANTS;
use devices::audio::hda::{Hda, HdaBus, Messages};
use devices_core::audio::TestAudio;
use devices_core::rig::Rig;
use devices_core::{DeviceCell, Size};

use super::devices::memory;
use crate::script::{self, Between, Window};

const SLOT: u8 = 4;
const BAR: u64 = 0xf000_0000;
/// Where scripts put words: the rings, then lists of buffers, then buffers.
const CORB: u64 = 0x1_0000;
const RIRB: u64 = CORB + 0x800;
const LIST: u64 = CORB + 0x1000;
const BUFFER: u64 = CORB + 0x4000;

const WINDOWS: [Window; 4] =
    [memory(BAR, 0x80), memory(BAR + 0x80, 0x20), memory(BAR + 0x100, 0x20), memory(BAR + 0x2000, 0x180)];

/// As the firmware leaves it.
fn enable(rig: &mut Rig) {
    rig.config_write(SLOT, 0, 0x10, Size::B4, BAR as u32);
    rig.config_write(SLOT, 0, 4, Size::B2, 6);
}

fn between(rig: &mut Rig, between: Between) {
    match between {
        Between::Save => rig.save_load(),
        Between::Reset => rig.reset(),
        Between::Host(0) => enable(rig),
        Between::Host(1) => rig.config_write(SLOT, 0, 4, Size::B2, 2),
        Between::Host(number) => rig.advance(1 << (2 * number)),
    }
}

/// A script (see `script`), with what happens in between.
pub fn run(bytes: &[u8]) -> u64 {
    let mut rig = Rig::new();
    let wiring = rig.wiring();
    let messages = Messages { at: 0x60, target: rig.recorder() };
    let line = rig.irqs().line(11);
    let hda = Hda::new("intel-hda", &VARIANTS[0], rig.ram().clone(), line, Some(messages), &wiring);
    let cell: Arc<DeviceCell<Hda>> = rig.attach_pci(hda, &wiring, SLOT, 0);
    let audio = Arc::<TestAudio>::default();
    audio.give(&[0x55; 4096]);
    HdaBus::new(cell, "intel-hda").plug(0, Codec::new(Kind::Duplex, true, audio.clone()));
    enable(&mut rig);
    let seen = script::play(&mut rig, &WINDOWS, bytes, &mut between);
    rig.save_load();
    let raised = rig.take_edges().iter().any(|(_, level)| *level);
    let played = audio.played().len().checked_ilog2().map_or(0, |bits| bits + 1);
    u64::from(seen.count_ones()) | u64::from(raised) << 8 | u64::from(played) << 9
}

/// Two words at a place of the script's.
fn poke(at: u64, low: u64, high: u64) -> Vec<u8> {
    let offset = (at - CORB).to_le_bytes();
    [&[13, offset[0], offset[1]][..], &(low | high << 32).to_le_bytes()].concat()
}

/// A word of four bytes to a register of a window.
fn write(window: u8, register: u8, value: u64) -> Vec<u8> {
    [&[0, window, register, 2][..], &(value as u32).to_le_bytes()].concat()
}

/// A codec is asked, and a stream of each direction moves, with something in the middle of each.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = super::devices::script_seeds();
    let verbs = [0x000f_0000u64, 0x0022_0011, 0x0027_0610, 0x0042_0011, 0x0047_0610, 0x0023_b04a];
    for middle in [vec![14], vec![0xff], vec![0x1f], vec![0x2f], vec![12, 24]] {
        for (window, base) in [(1u8, 0u64), (2, 0x40)] {
            let mut script = [write(0, 8, 1), write(0, 0x40, CORB), write(0, 0x50, RIRB)].concat();
            script.extend(write(0, 0x58, 1 << 16));
            script.extend(write(0, 0x5c, 3));
            script.extend(write(0, 0x20, 0xc000_00ff));
            for (n, pair) in (0u64..).zip(verbs.chunks(2)) {
                script.extend(poke(CORB + 8 + 8 * n, pair[0], pair[1]));
            }
            script.extend(write(0, 0x4c, 2));
            script.extend(write(0, 0x48, 7));
            for n in 0..4u64 {
                script.extend(poke(LIST + base + 16 * n, BUFFER + 0x100 * n, 0));
                script.extend(poke(LIST + base + 16 * n + 8, 0x100, n & 1));
            }
            for (register, value) in [(8, 0x400), (0xc, 3), (0x10, 0x11 << 16), (0x18, LIST + base)] {
                script.extend(write(window, register, value));
            }
            script.extend(write(0, 0x70, (CORB + 0x900) | 1));
            script.extend(write(window, 0, 0x10_001e));
            script.extend([12, 21]);
            script.extend(&middle);
            script.extend([12, 25]);
            seeds.push(script);
        }
    }
    seeds
}
