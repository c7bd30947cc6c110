//! Saved state. A packet on its way to the driver is of a connection that does not live on, and is not in it.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Chain, ChainState};
use super::Vsock;
use super::spec::queue;

/// Saved form of the device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    cid: u64,
    #[serde(deserialize_with = "Option::deserialize")]
    held: Option<ChainState>,
    #[serde(deserialize_with = "Option::deserialize")]
    goes_on: Option<u64>,
}

pub(super) fn save(vsock: &Vsock) -> State {
    let Vsock {
        model: _,
        cid,
        backend: _,
        wiring: _,
        go_on: _,
        goes_on,
        held,
        incoming: _,
        given: _,
        // Whoever goes on from a saved state is told.
        tell_reset: _,
        outgoing: _,
        quiet: _,
    } = vsock;
    State { cid: *cid, held: held.as_ref().map(Chain::save), goes_on: *goes_on }
}

pub(super) fn load(vsock: &mut Vsock, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { cid, held, goes_on } = state;
    valid(cid == vsock.cid, "the guest has another CID")?;
    let held = held.map(|chain| {
        let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
        let sound = !chain.readable.is_empty() && common.could_be_of(queue::TX, &chain);
        valid(sound, "a packet is of no queue")?;
        Ok::<_, StateError>(chain)
    });
    vsock.held = held.transpose()?;
    vsock.incoming.clear();
    vsock.set_go_on(goes_on);
    Ok(())
}
