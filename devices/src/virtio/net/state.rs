//! Saved state.

use devices_core::StateError;
use devices_core::net::{MAX_FRAME, Offload, Offloads};
use devices_core::state::valid;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::super::common::Common;
use super::super::queue::{Chain, ChainState};
use super::filter::Filter;
use super::rss::Hashing;
use super::spec::{feature, queue};
use super::{Net, Pair, offload};

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
    /// Of several pairs: those beside the first, whose are the fields above, and how many are in use beside it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    others: Vec<PairState>,
    #[serde(default, skip_serializing_if = "is_zero")]
    others_in_use: u16,
    /// What the driver has said of hashes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hashing: Option<Hashing>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct PairState {
    buffers: Vec<ChainState>,
    #[serde(deserialize_with = "Option::deserialize")]
    frame: Option<ByteBuf>,
    #[serde(deserialize_with = "Option::deserialize")]
    held: Option<(ChainState, ByteBuf)>,
    left: [[u8; Offload::LEN]; 2],
}

fn is_zero(number: &u16) -> bool {
    *number == 0
}

impl PairState {
    fn of(pair: &Pair) -> PairState {
        let Pair { buffers, frame, held } = pair;
        PairState {
            buffers: buffers.iter().map(Chain::save).collect(),
            frame: frame.as_ref().map(|(frame, _)| ByteBuf::from(frame.clone())),
            held: held.as_ref().map(|(chain, frame, _)| (chain.save(), ByteBuf::from(frame.clone()))),
            left: [frame.as_ref().map(|(_, left)| *left), held.as_ref().map(|(_, _, left)| *left)]
                .map(|left| left.unwrap_or_default().bytes()),
        }
    }

    /// It as the pair of that number, of a card whose queues are loaded.
    fn load(self, common: &Common, number: u16, most: u16) -> Result<Pair, StateError> {
        let PairState { buffers, frame, held, left } = self;
        let [of_frame, of_held] = left.map(Offload::of_bytes);
        valid(buffers.len() <= most.into(), "the card has too many buffers")?;
        let frames = frame.iter().chain(held.iter().map(|(_, frame)| frame));
        valid(frames.clone().all(|frame| frame.len() <= MAX_FRAME), "a frame is too long")?;
        let chain = |number: u16, chain: ChainState| {
            let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
            valid(common.could_be_of(number, &chain), "a request is of no queue")?;
            Ok::<_, StateError>(chain)
        };
        let buffers = buffers.into_iter().map(|one| chain(queue::rx(number), one));
        let held = held.map(|(one, frame)| {
            let frame = frame.into_vec();
            // As if the driver had said it just now.
            let left = offload::left(offload::to_host(common), of_held.bytes(), frame.len());
            Ok::<_, StateError>((chain(queue::tx(number), one)?, frame, left.unwrap_or_default()))
        });
        Ok(Pair {
            buffers: buffers.collect::<Result<_, _>>()?,
            frame: frame.map(|frame| (frame.into_vec(), of_frame)),
            held: held.transpose()?,
        })
    }
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
        pairs,
        in_use,
        hashing,
        filled: _,
        spare: _,
        chain: _,
        quiet: _,
        loaded: _,
    } = card;
    let mut pairs = pairs.iter().map(PairState::of);
    let PairState { buffers, frame, held, left } = pairs.next().unwrap_or_default();
    State {
        address: *address,
        link: *link,
        announce: *announce,
        filter: filter.clone(),
        buffers,
        frame,
        held,
        goes_on: *goes_on,
        allowed: allowed.bits(),
        left,
        others: pairs.collect(),
        others_in_use: in_use - 1,
        hashing: hashing.clone(),
    }
}

pub(super) fn load(card: &mut Net, common: &mut Common, state: State) -> Result<(), StateError> {
    let State {
        address,
        link,
        announce,
        filter,
        buffers,
        frame,
        held,
        goes_on,
        allowed,
        left,
        others,
        others_in_use,
        hashing,
    } = state;
    let agreed = common.has(feature::RSS) || common.has(feature::HASH_REPORT);
    valid(
        hashing.as_ref().is_none_or(|it| agreed && it.is_sound()),
        "the hashes are none that the card can have",
    )?;
    valid(filter.is_sound(), "the filter is none that the card can have")?;
    valid(others.len() + 1 == card.pairs.len(), "the card has another number of pairs of queues")?;
    valid(usize::from(others_in_use) < card.pairs.len(), "more pairs are in use than there are")?;
    let pairs = [PairState { buffers, frame, held, left }].into_iter().chain(others);
    let pairs = (0..).zip(pairs).map(|(number, pair)| {
        valid(
            number <= others_in_use || pair.frame.is_none(),
            "a frame waits for a pair that is not in use",
        )?;
        pair.load(common, number, card.options.rx_size)
    });
    card.pairs = pairs.collect::<Result<_, _>>()?;
    card.use_pairs(others_in_use + 1);
    card.hashing = hashing;
    card.set_allowed(Offloads::of_bits(allowed));
    (card.address, card.link, card.announce, card.filter) = (address, link, announce, filter);
    card.loaded = true;
    card.set_go_on(goes_on);
    Ok(())
}
