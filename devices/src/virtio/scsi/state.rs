//! Saved state.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Chain, ChainState};
use super::control::Waiting;
use super::request::{Context, ContextState};
use super::spec::{CDB_SIZE_MAX, SENSE_SIZE_MAX, queue};
use super::{Scsi, WAITING};
use crate::storage::scsi::BusState;

/// Saved form of the host.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    cdb_size: u32,
    sense_size: u32,
    missed: bool,
    full: bool,
    waiting: Vec<WaitingState>,
    bus: BusState<ContextState>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct WaitingState {
    chain: ChainState,
    target: u8,
    #[serde(deserialize_with = "Option::deserialize")]
    lun: Option<u16>,
}

pub(super) fn save(scsi: &Scsi) -> State {
    let Scsi {
        options: _,
        bus,
        waiting,
        cdb_size,
        sense_size,
        missed,
        full,
        // Who saves says so again.
        quiet: _,
        spare: _,
    } = scsi;
    let context = |context: &Context| {
        let Context { queue, chain, data, inward } = context;
        ContextState { queue: *queue, chain: chain.save(), data: *data, inward: *inward }
    };
    let function = |waiting: &Waiting| {
        let Waiting { chain, target, lun } = waiting;
        WaitingState { chain: chain.save(), target: *target, lun: *lun }
    };
    State {
        cdb_size: *cdb_size,
        sense_size: *sense_size,
        missed: *missed,
        full: *full,
        waiting: waiting.iter().map(function).collect(),
        bus: bus.save(context),
    }
}

pub(super) fn load(scsi: &mut Scsi, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { cdb_size, sense_size, missed, full, waiting, bus } = state;
    valid(cdb_size <= CDB_SIZE_MAX && sense_size <= SENSE_SIZE_MAX, "commands are too long")?;
    valid(waiting.len() <= WAITING, "too many functions wait")?;
    (scsi.cdb_size, scsi.sense_size) = (cdb_size, sense_size);
    (scsi.missed, scsi.full) = (missed, full);
    let chain_of = |queue: u16, chain: ChainState| {
        let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
        valid(common.could_be_of(queue, &chain), "a request is of no queue")?;
        Ok(chain)
    };
    for WaitingState { chain, target, lun } in waiting {
        scsi.waiting.push(Waiting { chain: chain_of(queue::CONTROL, chain)?, target, lun });
    }
    scsi.bus.load(common.dma(), bus, |ContextState { queue, chain, data, inward }| {
        valid(queue >= queue::REQUEST, "a command is of no queue")?;
        let chain = chain_of(queue, chain)?;
        // A response and its sense data.
        let longest = u64::from(SENSE_SIZE_MAX) + super::spec::RESPONSE as u64;
        valid(super::super::queue::len(&chain.writable) <= longest, "a response is too long")?;
        Ok(Context { queue, chain, data, inward })
    })
}
