//! What the configuration answers (Virtio 1.3, 5.8.4), as QEMU's devices do.

use super::keys;
use super::spec::{AXIS_MAX, BUTTONS, GEARS, IDS, LIGHTS, axis, config, ev, select};
use super::{Kind, Options};

/// An answer.
pub(super) struct Answer {
    /// What was asked for, and which of it.
    of: (u8, u8),
    size: u8,
    bytes: Vec<u8>,
}

impl Answer {
    fn new(of: (u8, u8), bytes: Vec<u8>) -> Answer {
        Answer { of, size: bytes.len() as u8, bytes }
    }

    /// A bit for each event of a type.
    fn bits(kind: u16, codes: impl IntoIterator<Item = u16>) -> Answer {
        let mut bytes = Vec::new();
        for code in codes {
            let at = usize::from(code / 8);
            bytes.resize(bytes.len().max(at + 1), 0);
            bytes[at] |= 1 << (code % 8);
        }
        Answer::new((select::EV_BITS, kind as u8), bytes)
    }
}

/// Most bytes of a serial number.
const SERIAL: usize = 128;

/// All answers of a device.
pub(super) fn of(options: &Options) -> Vec<Answer> {
    let name = [options.kind.name().as_bytes(), &[0]].concat();
    let wheel = options.wheel_axis;
    let (product, version) = match options.kind {
        Kind::Keyboard => (1, 1),
        Kind::Mouse => (2, if wheel { 2 } else { 1 }),
        Kind::Tablet => (3, if wheel { 2 } else { 1 }),
    };
    let ids = [IDS.0, IDS.1, product, version].map(u16::to_le_bytes).concat();
    let mut all = vec![Answer::new((select::ID_NAME, 0), name), Answer::new((select::ID_DEVIDS, 0), ids)];
    let wheels = || wheel.then_some(axis::WHEEL);
    match options.kind {
        Kind::Keyboard => {
            // That they repeat is said by its being there.
            all.push(Answer::new((select::EV_BITS, ev::REP as u8), vec![0]));
            all.push(Answer::bits(ev::LED, 0..LIGHTS));
            all.push(Answer::bits(ev::KEY, keys::codes()));
        }
        Kind::Mouse => all.push(Answer::bits(ev::REL, [axis::X, axis::Y].into_iter().chain(wheels()))),
        Kind::Tablet => {
            all.push(Answer::bits(ev::ABS, [axis::X, axis::Y]));
            all.extend(wheels().map(|wheel| Answer::bits(ev::REL, [wheel])));
            for axis in [axis::X, axis::Y] {
                // From 0 to there, with no noise and no flat part.
                let range = [0, AXIS_MAX.into(), 0, 0, 0].map(u32::to_le_bytes).concat();
                all.push(Answer::new((select::ABS_INFO, axis as u8), range));
            }
        }
    }
    if options.kind != Kind::Keyboard {
        all.push(Answer::bits(ev::KEY, BUTTONS.into_iter().chain(GEARS)));
    }
    if let Some(serial) = &options.serial {
        let bytes = serial.bytes().take(SERIAL).collect();
        all.push(Answer::new((select::ID_SERIAL, 0), bytes));
    }
    all
}

/// Bytes of the configuration: those of the longest answer and what stands before it.
pub(super) fn config_len(answers: &[Answer]) -> usize {
    config::ANSWER + answers.iter().map(|answer| answer.bytes.len()).max().unwrap_or(0)
}

/// The configuration as the driver reads it; all zeros where there is no answer.
pub(super) fn configuration(answers: &[Answer], of: (u8, u8)) -> Vec<u8> {
    let mut all = vec![0; config_len(answers)];
    if let Some(answer) = answers.iter().find(|answer| answer.of == of) {
        (all[config::SELECT], all[config::SUBSEL]) = of;
        all[config::SIZE] = answer.size;
        all[config::ANSWER..config::ANSWER + answer.bytes.len()].copy_from_slice(&answer.bytes);
    }
    all
}
