//! Saved state. A request in flight is saved as it is, and sent anew on load.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Chain, ChainState, len};
use super::super::spec::QUEUE_SIZE_MAX;
use super::{Device, Flight, Sent};

/// Saved form of the device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    /// By queue of the back end's.
    flights: Vec<Vec<RequestState>>,
    /// The back end's own state.
    #[serde(with = "serde_bytes")]
    back_end: Option<Vec<u8>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct RequestState {
    chain: ChainState,
    /// It was carried out, and so many bytes written.
    #[serde(deserialize_with = "Option::deserialize")]
    written: Option<u32>,
}

pub(super) fn save(device: &Device) -> State {
    let Device {
        options: _,
        ram: _,
        back_end,
        // Another process has another, and begins by itself.
        incarnation: _,
        flights,
        turn: _,
        started: _,
        restarts: _,
        lost: _,
        // Who saves says so again.
        quiet: _,
        saving: _,
        spare: _,
    } = device;
    let requests = |flight: &Flight| {
        let Flight { sent, again, done } = flight;
        let mut open: Vec<&Sent> = sent.iter().flatten().chain(again).collect();
        open.sort_by_key(|sent| sent.turn);
        let done =
            done.iter().map(|(chain, written)| RequestState { chain: chain.save(), written: Some(*written) });
        let open = open.iter().map(|sent| RequestState { chain: sent.chain.save(), written: None });
        done.chain(open).collect()
    };
    State { flights: flights.iter().map(requests).collect(), back_end: back_end.saved().ok().flatten() }
}

pub(super) fn load(device: &mut Device, common: &Common, state: State) -> Result<(), StateError> {
    let State { flights, back_end } = state;
    valid(flights.len() == device.flights.len(), "the device has another number of queues")?;
    valid(back_end.is_none() || device.options.kind.stateful(), "the device has no state of a back end's")?;
    for (queue, requests) in (0..).zip(flights) {
        valid(requests.len() <= usize::from(QUEUE_SIZE_MAX) + 1, "there are too many requests in flight")?;
        for RequestState { chain, written } in requests {
            let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
            valid(common.could_be_of(queue, &chain), "a request is of no queue")?;
            let most = len(&chain.writable);
            valid(
                written.is_none_or(|bytes| u64::from(bytes) <= most),
                "more was written than there is room",
            )?;
            device.turn += 1;
            let turn = device.turn;
            let flight = &mut device.flights[usize::from(queue)];
            match written {
                Some(written) => flight.done.push_back((chain, written)),
                None => flight.again.push_back(Sent { turn, chain }),
            }
        }
    }
    if let Some(state) = back_end {
        device.back_end.restore(state);
    }
    Ok(())
}
