//! Saved state of the firmware configuration device. What is only read is not in it: the machine that
//! loads has built the same items.

use std::collections::BTreeMap;

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::FwCfg;

const KIND: &str = "fw_cfg";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(deserialize_with = "Option::deserialize")]
    selected: Option<u16>,
    offset: u32,
    dma_address: u64,
    /// Contents of the items that the guest may write, by key.
    written: BTreeMap<u16, ByteBuf>,
}

pub(super) fn save(device: &FwCfg) -> Result<Saved, StateError> {
    let FwCfg { entries, selected, offset, dma_address, regions: _, dma: _ } = device;
    let written = entries.iter().filter(|(_, entry)| entry.initial.is_some());
    let state = State {
        selected: *selected,
        offset: *offset,
        dma_address: *dma_address,
        written: written.map(|(&key, entry)| (key, ByteBuf::from(entry.data.clone()))).collect(),
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(device: &mut FwCfg, saved: &Saved) -> Result<(), StateError> {
    let State { selected, offset, dma_address, written } = saved.decode(KIND, VERSION)?;
    for (key, data) in written {
        let entry = device.entries.get_mut(&key).filter(|entry| entry.initial.is_some());
        let entry =
            entry.ok_or_else(|| StateError::Invalid(format!("there is no writable item {key:#x}")))?;
        valid(entry.data.len() == data.len(), "a writable item has another length")?;
        entry.data = data.into_vec();
    }
    device.selected = selected.filter(|key| device.entries.contains_key(key));
    device.offset = offset;
    device.dma_address = dma_address;
    Ok(())
}
