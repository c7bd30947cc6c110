//! Saved state.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::{Gate, I6300esb, Stage, spec};

const KIND: &str = "i6300esb";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    /// First stage, second.
    preload: [u32; 2],
    /// Values of the sequence that have been written.
    unlocked: u8,
    second_stage: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    deadline: Option<u64>,
    barked: bool,
}

pub(super) fn save(device: &I6300esb) -> Result<Saved, StateError> {
    let I6300esb {
        name: _,
        pci,
        regions: _,
        wiring: _,
        timer: _,
        power: _,
        preload,
        gate,
        stage,
        deadline,
        barked,
    } = device;
    let state = State {
        pci: pci.save(),
        preload: *preload,
        unlocked: match gate {
            Gate::Shut => 0,
            Gate::Half => 1,
            Gate::Open => 2,
        },
        second_stage: *stage == Stage::Second,
        deadline: *deadline,
        barked: *barked,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(device: &mut I6300esb, saved: &Saved) -> Result<(), StateError> {
    let State { pci, preload, unlocked, second_stage, deadline, barked } = saved.decode(KIND, VERSION)?;
    valid(preload.iter().all(|value| value & !spec::PRELOAD == 0), "a preload value has 20 bits")?;
    let gate = match unlocked {
        0 => Gate::Shut,
        1 => Gate::Half,
        2 => Gate::Open,
        _ => return valid(false, "the sequence has two values"),
    };
    let latest = device.wiring.now().saturating_add(spec::LONGEST);
    valid(deadline.is_none_or(|deadline| deadline <= latest), "a stage ends later than the longest")?;
    device.pci.load(&pci)?;
    device.preload = preload;
    device.gate = gate;
    device.stage = if second_stage { Stage::Second } else { Stage::First };
    device.barked = barked;
    device.set_deadline(deadline);
    Ok(())
}
