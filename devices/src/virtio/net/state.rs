//! Saved state.

use devices_core::StateError;
use devices_core::net::MAX_FRAME;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::common::Common;
use super::super::queue::{Chain, ChainState};
use super::Net;
use super::filter::Filter;
use super::spec::queue;

/// Saved form of the card.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    address: [u8; 6],
    link: bool,
    announce: bool,
    filter: Filter,
    buffers: Vec<ChainState>,
    #[serde(deserialize_with = "Option::deserialize")]
    frame: Option<ByteBuf>,
    #[serde(deserialize_with = "Option::deserialize")]
    held: Option<(ChainState, ByteBuf)>,
    #[serde(deserialize_with = "Option::deserialize")]
    goes_on: Option<u64>,
}

pub(super) fn save(card: &Net) -> State {
    let Net {
        options: _,
        backend: _,
        wiring: _,
        go_on: _,
        goes_on,
        mac: _,
        address,
        link,
        announce,
        filter,
        buffers,
        frame,
        held,
        spare: _,
        chain: _,
        quiet: _,
        loaded: _,
    } = card;
    State {
        address: *address,
        link: *link,
        announce: *announce,
        filter: filter.clone(),
        buffers: buffers.iter().map(Chain::save).collect(),
        frame: frame.clone().map(ByteBuf::from),
        held: held.as_ref().map(|(chain, frame)| (chain.save(), ByteBuf::from(frame.clone()))),
        goes_on: *goes_on,
    }
}

pub(super) fn load(card: &mut Net, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { address, link, announce, filter, buffers, frame, held, goes_on } = state;
    valid(filter.is_sound(), "the filter is none that the card can have")?;
    valid(buffers.len() <= card.options.rx_size.into(), "the card has too many buffers")?;
    let frames = frame.iter().chain(held.iter().map(|(_, frame)| frame));
    valid(frames.clone().all(|frame| frame.len() <= MAX_FRAME), "a frame is too long")?;
    let chain = |number: u16, chain: ChainState| {
        let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
        valid(common.could_be_of(number, &chain), "a request is of no queue")?;
        Ok::<_, StateError>(chain)
    };
    card.buffers = buffers.into_iter().map(|one| chain(queue::RX, one)).collect::<Result<_, _>>()?;
    card.held = held.map(|(one, frame)| Ok((chain(queue::TX, one)?, frame.into_vec()))).transpose()?;
    card.frame = frame.map(ByteBuf::into_vec);
    (card.address, card.link, card.announce, card.filter) = (address, link, announce, filter);
    card.loaded = true;
    card.set_go_on(goes_on);
    Ok(())
}
