//! Saved state.

use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::{Bar, PciTestdev, spec};

const KIND: &str = "pci-testdev";
const VERSION: u16 = 0;

#[derive(Serialize, Deserialize)]
struct State {
    pci: PciState,
    /// Memory, ports.
    bars: [BarState; 2],
}

#[derive(Serialize, Deserialize)]
struct BarState {
    #[serde(deserialize_with = "Option::deserialize")]
    test: Option<u8>,
    count: u32,
}

pub(super) fn save(device: &PciTestdev) -> Result<Saved, StateError> {
    let PciTestdev { name: _, pci, bars, regions: _ } = device;
    let bars = [&bars[0], &bars[1]].map(|Bar { test, count }| BarState { test: *test, count: *count });
    Saved::encode(KIND, VERSION, &State { pci: pci.save(), bars })
}

pub(super) fn load(device: &mut PciTestdev, saved: &Saved) -> Result<(), StateError> {
    let State { pci, bars } = saved.decode(KIND, VERSION)?;
    for BarState { test, .. } in &bars {
        valid(test.is_none_or(|test| usize::from(test) < spec::TESTS.len()), "there is no such test")?;
    }
    device.pci.load(&pci)?;
    device.bars = bars.map(|BarState { test, count }| Bar { test, count });
    Ok(())
}
