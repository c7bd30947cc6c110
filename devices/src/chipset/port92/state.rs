//! Saved state of port 0x92.

use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::Port92;

const KIND: &str = "port92";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    value: u8,
}

pub(super) fn save(device: &Port92) -> Result<Saved, StateError> {
    let Port92 { value, regions: _, a20: _, power: _ } = device;
    Saved::encode(KIND, VERSION, &State { value: *value })
}

pub(super) fn load(device: &mut Port92, saved: &Saved) -> Result<(), StateError> {
    let State { value } = saved.decode(KIND, VERSION)?;
    device.value = value;
    device.follow();
    Ok(())
}
