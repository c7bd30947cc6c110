//! Saved state.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Chain, ChainState};
use super::Input;
use super::spec::{QUEUE_SIZE, queue};

/// Saved form of the device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    asked: (u8, u8),
    buffers: Vec<ChainState>,
    buttons: u8,
    lights: u8,
}

pub(super) fn save(input: &Input) -> State {
    // Whether there is a driver is in the device status.
    let Input { options: _, answers: _, asked, active: _, buffers, buttons, lights } = input;
    let buffers = buffers.iter().map(Chain::save).collect();
    State { asked: *asked, buffers, buttons: *buttons, lights: *lights }
}

pub(super) fn load(input: &mut Input, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { asked, buffers, buttons, lights } = state;
    valid(buffers.len() <= QUEUE_SIZE.into(), "the device has too many buffers")?;
    let chain = |chain: ChainState| {
        let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
        valid(common.could_be_of(queue::EVENT, &chain), "a buffer is of no queue")?;
        Ok::<_, StateError>(chain)
    };
    input.buffers = buffers.into_iter().map(chain).collect::<Result<_, _>>()?;
    (input.asked, input.buttons, input.lights) = (asked, buttons, lights);
    Ok(())
}
