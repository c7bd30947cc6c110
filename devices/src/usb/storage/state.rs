//! Saved state: a command in any phase, with the data that it has.

use devices_core::dma::Dma;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::spec::CDB_LEN;
use super::{Buffer, Current, MOST, Phase, Storage};
use crate::storage::scsi::BusState;

const KIND: &str = "usb-storage";
const VERSION: u16 = 0;
/// Most bytes of sense data.
const SENSE: usize = 252;

#[derive(Serialize, Deserialize)]
struct State {
    bus: BusState<u32>,
    phase: PhaseState,
    #[serde(deserialize_with = "Option::deserialize")]
    current: Option<CurrentState>,
    /// What is in the buffer while there is a command.
    data: ByteBuf,
    sense: ByteBuf,
    turn: u32,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum PhaseState {
    Command,
    DataOut,
    DataIn,
    Status,
    Broken,
}

#[derive(Serialize, Deserialize)]
struct CurrentState {
    tag: u32,
    len: u64,
    at: u64,
    cdb: [u8; CDB_LEN],
    cdb_len: u8,
    need: u64,
    busy: bool,
    status: u8,
    moved: u64,
}

pub(super) fn save(storage: &Storage) -> Result<Saved, StateError> {
    let Storage { description: _, serial: _, bus, block: _, phase, current, buffer, sense, turn } = storage;
    let mut data = vec![0; buffer.as_ref().filter(|_| current.is_some()).map_or(0, |of| of.len as usize)];
    if let Some(buffer) = buffer {
        // The buffer is memory of our own.
        let _ = buffer.dma.read(0, &mut data);
    }
    // Zeros at the end are there in any new buffer.
    let used = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    data.truncate(used);
    let phase = match phase {
        Phase::Command => PhaseState::Command,
        Phase::DataOut => PhaseState::DataOut,
        Phase::DataIn => PhaseState::DataIn,
        Phase::Status => PhaseState::Status,
        Phase::Broken => PhaseState::Broken,
    };
    let current = current.as_ref().map(|current| {
        let Current { tag, len, at, cdb, cdb_len, need, busy, status, moved } = current.clone();
        CurrentState { tag, len, at, cdb, cdb_len, need, busy, status, moved }
    });
    let (data, sense) = (ByteBuf::from(data), ByteBuf::from(sense.clone()));
    let state = State { bus: bus.save(|turn| *turn), phase, current, data, sense, turn: *turn };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(storage: &mut Storage, saved: &Saved) -> Result<(), StateError> {
    let State { bus, phase, current, data, sense, turn } = saved.decode(KIND, VERSION)?;
    valid(sense.len() <= SENSE, "there is too much sense data")?;
    valid(data.len() as u64 <= MOST, "there is too much data")?;
    storage.phase = match phase {
        PhaseState::Command => Phase::Command,
        PhaseState::DataOut => Phase::DataOut,
        PhaseState::DataIn => Phase::DataIn,
        PhaseState::Status => Phase::Status,
        PhaseState::Broken => Phase::Broken,
    };
    let mut most = data.len() as u64;
    storage.current = match current {
        Some(CurrentState { tag, len, at, cdb, cdb_len, need, busy, status, moved }) => {
            let fits = at <= len && moved <= len && need <= len.min(MOST) && len <= u64::from(u32::MAX);
            valid(fits && usize::from(cdb_len) <= CDB_LEN, "a command has more data than it can")?;
            valid(moved <= MOST, "a command has moved too much")?;
            most = most.max(need).max(moved).max(wanted(storage, &cdb));
            Some(Current { tag, len, at, cdb, cdb_len, need, busy, status, moved })
        }
        None => None,
    };
    let buffer = Buffer::new(most.min(MOST));
    let buffer = buffer.ok_or_else(|| StateError::Invalid("there is no memory for its data".into()))?;
    let dma: Dma = buffer.dma.clone();
    valid(dma.write(0, &data).is_ok(), "there is too much data")?;
    storage.buffer = Some(buffer);
    (storage.sense, storage.turn) = (sense.into_vec(), turn);
    storage.bus.load(&dma, bus, Ok)
}

/// Bytes that a command's answer has room for.
fn wanted(storage: &Storage, cdb: &[u8; CDB_LEN]) -> u64 {
    use crate::storage::scsi::{Cdb, Expected};
    match Cdb::new(cdb).expected(storage.block) {
        Expected::In(len) | Expected::Out(len) => len,
        Expected::Nothing => 0,
    }
}
