//! Saved state.

use devices_core::StateError;
use devices_core::net::{MAX_FRAME, Offload, Offloads};
use devices_core::state::valid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::common::Common;
use super::super::queue::{Chain, ChainState};
use super::filter::Filter;
use super::spec::queue;
use super::{Net, offload};

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
    /// What the backend may leave to the driver, in bits; and what is left of both frames.
    #[serde(default)]
    allowed: u8,
    #[serde(default)]
    left: [[u8; Offload::LEN]; 2],
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
        observer: _,
        told: _,
        allowed,
        buffers,
        frame,
        held,
        filled: _,
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
        frame: frame.as_ref().map(|(frame, _)| ByteBuf::from(frame.clone())),
        held: held.as_ref().map(|(chain, frame, _)| (chain.save(), ByteBuf::from(frame.clone()))),
        goes_on: *goes_on,
        allowed: allowed.bits(),
        left: [frame.as_ref().map(|(_, left)| *left), held.as_ref().map(|(_, _, left)| *left)]
            .map(|left| left.unwrap_or_default().bytes()),
    }
}

pub(super) fn load(card: &mut Net, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { address, link, announce, filter, buffers, frame, held, goes_on, allowed, left } = state;
    let (allowed, [of_frame, of_held]) = (Offloads::of_bits(allowed), left.map(Offload::of_bytes));
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
    let held = held.map(|(one, frame)| {
        let frame = frame.into_vec();
        // As if the driver had said it just now.
        let left = offload::left(offload::to_host(common), of_held.bytes(), frame.len());
        Ok::<_, StateError>((chain(queue::TX, one)?, frame, left.unwrap_or_default()))
    });
    card.held = held.transpose()?;
    card.frame = frame.map(|frame| (frame.into_vec(), of_frame));
    card.set_allowed(allowed);
    (card.address, card.link, card.announce, card.filter) = (address, link, announce, filter);
    card.loaded = true;
    card.set_go_on(goes_on);
    Ok(())
}
