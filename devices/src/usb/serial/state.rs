//! Saved state: what is on its way.

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{INPUT, OUTPUT, Serial};

const KIND: &str = "usb-serial";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    input: ByteBuf,
    output: ByteBuf,
    latency: u8,
}

pub(super) fn save(device: &Serial) -> Result<Saved, StateError> {
    let Serial { description: _, line: _, input, output, latency } = device;
    let input = ByteBuf::from(input.iter().copied().collect::<Vec<u8>>());
    Saved::encode(KIND, VERSION, &State { input, output: ByteBuf::from(output.clone()), latency: *latency })
}

pub(super) fn load(device: &mut Serial, saved: &Saved) -> Result<(), StateError> {
    let State { input, output, latency } = saved.decode(KIND, VERSION)?;
    valid(input.len() <= INPUT && output.len() <= OUTPUT, "there is too much on its way")?;
    device.input = input.into_vec().into();
    (device.output, device.latency) = (output.into_vec(), latency);
    Ok(())
}
