//! Saved state.

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::{Ib700, spec};

const KIND: &str = "ib700";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(deserialize_with = "Option::deserialize")]
    deadline: Option<u64>,
}

pub(super) fn save(device: &Ib700) -> Result<Saved, StateError> {
    let Ib700 { name: _, regions: _, wiring: _, timer: _, power: _, deadline } = device;
    Saved::encode(KIND, VERSION, &State { deadline: *deadline })
}

pub(super) fn load(device: &mut Ib700, saved: &Saved) -> Result<(), StateError> {
    let State { deadline } = saved.decode(KIND, VERSION)?;
    let latest = device.wiring.now().saturating_add(spec::timeout(0));
    valid(deadline.is_none_or(|deadline| deadline <= latest), "it barks later than its longest time")?;
    device.set_deadline(deadline);
    Ok(())
}
