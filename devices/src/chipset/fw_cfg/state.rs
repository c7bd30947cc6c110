//! Saved state of the firmware configuration device. What never changes is not in it: the machine that loads
//! has built the same items.

use std::collections::BTreeMap;

use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::FwCfg;
use super::items::Entry;

const KIND: &str = "fw_cfg";
const VERSION: u16 = 1;

#[derive(Serialize, Deserialize)]
struct State {
    #[serde(deserialize_with = "Option::deserialize")]
    selected: Option<u16>,
    offset: u32,
    dma_address: u64,
    /// Contents of the items that the guest may write, by key, but for files, whose keys are as many as stand before them.
    written: BTreeMap<u16, ByteBuf>,
    /// Contents of the files that the guest may write, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, ByteBuf>,
    /// Contents of the files that the machine gives anew, by name. Without: as the machine that loads has built them.
    #[serde(default)]
    replaced: BTreeMap<String, ByteBuf>,
}

/// Longest file that the machine gives anew: a saved file must not make it grow.
const REPLACED_MOST: usize = 64 << 10;

pub(super) fn save(device: &FwCfg) -> Result<Saved, StateError> {
    let FwCfg { entries, selected, unread: _, offset, dma_address, regions: _, dma: _ } = device;
    let written = entries.iter().filter(|(_, entry)| entry.initial.is_some() && entry.name.is_none());
    let files = entries.values().filter_map(|entry| {
        entry.initial.as_ref()?;
        Some((entry.name.clone()?, ByteBuf::from(entry.data.clone())))
    });
    let replaced = entries.values().filter_map(|entry| {
        let name = entry.name.clone().filter(|_| entry.replaceable)?;
        Some((name, ByteBuf::from(entry.data.clone())))
    });
    let state = State {
        selected: *selected,
        offset: *offset,
        dma_address: *dma_address,
        written: written.map(|(&key, entry)| (key, ByteBuf::from(entry.data.clone()))).collect(),
        files: files.collect(),
        replaced: replaced.collect(),
    };
    Saved::encode(KIND, VERSION, &state)
}

/// Gives a writable item its saved content.
fn write(entry: Option<&mut Entry>, data: ByteBuf) -> Result<(), StateError> {
    let entry = entry.filter(|entry| entry.initial.is_some());
    let entry = entry.ok_or_else(|| StateError::Invalid("there is no such writable item".into()))?;
    valid(entry.data.len() == data.len(), "a writable item has another length")?;
    entry.data = data.into_vec();
    Ok(())
}

pub(super) fn load(device: &mut FwCfg, saved: &Saved) -> Result<(), StateError> {
    let State { selected, offset, dma_address, written, files, replaced } = saved.decode(KIND, VERSION)?;
    for (key, data) in written {
        write(device.entries.get_mut(&key), data)?;
    }
    for (name, data) in files {
        write(device.entries.values_mut().find(|entry| entry.name.as_ref() == Some(&name)), data)?;
    }
    for (name, data) in replaced {
        let called = |entry: &Entry| entry.replaceable && entry.name.as_ref() == Some(&name);
        let there = device.entries.values().any(called);
        valid(there, "there is no such file to replace")?;
        valid(data.len() <= REPLACED_MOST, "a replaced file is too long")?;
        device.replace(&name, data.into_vec());
    }
    device.selected = selected.filter(|key| device.entries.contains_key(key));
    device.unread = true;
    device.offset = offset;
    device.dma_address = dma_address;
    Ok(())
}
