//! Saved state.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::super::Pace;
use super::Ac97;
use super::codec::Codec;
use super::master::{self, Master};
use super::spec::{ENTRIES, nam};

const KIND: &str = "AC97";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    codec: Vec<u8>,
    boxes: Vec<BoxState>,
    control: u32,
    status: u32,
    semaphore: bool,
}

#[derive(Serialize, Deserialize)]
struct BoxState {
    bdbar: u32,
    civ: u8,
    lvi: u8,
    sr: u16,
    picb: u16,
    piv: u8,
    cr: u8,
    address: u32,
    ioc: bool,
    pace: Pace,
}

pub(super) fn save(card: &Ac97) -> Result<Saved, StateError> {
    let Ac97 {
        name: _,
        pci,
        regions: _,
        dma: _,
        wiring: _,
        timer: _,
        backend: _,
        codec,
        boxes,
        control,
        status,
        semaphore,
    } = card;
    let one = |one: &Master| {
        // What moves follows from the rest.
        let Master { bdbar, civ, lvi, sr, picb, piv, cr, address, ioc, pace, moving: _ } = *one;
        BoxState { bdbar, civ, lvi, sr, picb, piv, cr, address, ioc, pace }
    };
    let state = State {
        pci: pci.save(),
        codec: codec.0.to_vec(),
        boxes: boxes.iter().map(one).collect(),
        control: *control,
        status: *status,
        semaphore: *semaphore,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(card: &mut Ac97, saved: &Saved) -> Result<(), StateError> {
    let State { pci, codec, boxes, control, status, semaphore } = saved.decode(KIND, VERSION)?;
    card.pci.load(&pci)?;
    let codec = codec.try_into().map_err(|_| StateError::Invalid("another number of registers".into()))?;
    let codec = Codec(codec);
    let rates = (nam::FRONT_RATE..=nam::MICROPHONE_RATE).step_by(2);
    valid(
        rates.map(|at| codec.get(at)).all(|rate| (4000..=48_000).contains(&rate)),
        "there is no such rate",
    )?;
    valid(boxes.len() == card.boxes.len(), "another number of boxes")?;
    for (number, state) in boxes.into_iter().enumerate() {
        let BoxState { bdbar, civ, lvi, sr, picb, piv, cr, address, ioc, pace } = state;
        valid([civ, lvi, piv].iter().all(|index| *index < ENTRIES), "a list has 32 entries")?;
        let one = Master { bdbar, civ, lvi, sr, picb, piv, cr, address, ioc, pace, moving: None };
        let moving = master::format(number, codec.rate(number)).filter(|_| one.runs());
        card.boxes[number] = Master { moving, ..one };
    }
    card.codec = codec;
    (card.control, card.status, card.semaphore) = (control, status, semaphore);
    Ok(())
}
