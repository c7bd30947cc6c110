//! Saved state of the debug console: the line that has begun.

use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::Debugcon;

const KIND: &str = "debugcon";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(with = "serde_bytes")]
    line: Vec<u8>,
}

pub(super) fn save(device: &Debugcon) -> Result<Saved, StateError> {
    let Debugcon { lines, regions: _, sink: _ } = device;
    Saved::encode(KIND, VERSION, &State { line: lines.begun().to_vec() })
}

pub(super) fn load(device: &mut Debugcon, saved: &Saved) -> Result<(), StateError> {
    let State { line } = saved.decode(KIND, VERSION)?;
    device.lines.load(line)
}
