//! Saved state.

use devices_core::StateError;
use devices_core::balloon::{STATISTICS, Statistics};
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Chain, ChainState};
use super::VirtioBalloon;
use super::spec::queue;

/// Saved form of the device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    target: u32,
    actual: u32,
    poison: u32,
    /// By tag; more than are known are none of ours.
    statistics: Vec<Option<u64>>,
    /// When the guest told them, in nanoseconds of guest time.
    #[serde(deserialize_with = "Option::deserialize")]
    told: Option<u64>,
    polling: u32,
    /// When the guest is asked next, in nanoseconds of guest time.
    #[serde(deserialize_with = "Option::deserialize")]
    asks: Option<u64>,
    /// The buffer in which it answers, while it has not been asked.
    #[serde(deserialize_with = "Option::deserialize")]
    answer: Option<ChainState>,
    /// When it goes on, likewise.
    #[serde(deserialize_with = "Option::deserialize")]
    goes_on: Option<u64>,
}

pub(super) fn save(balloon: &VirtioBalloon) -> State {
    let VirtioBalloon {
        model: _,
        options: _,
        ram: _,
        observer: _,
        wiring: _,
        ask: _,
        go_on: _,
        target,
        actual,
        poison,
        statistics,
        polling,
        asks,
        answer,
        goes_on,
        chain: _,
        quiet: _,
    } = balloon;
    State {
        target: *target,
        actual: *actual,
        poison: *poison,
        statistics: statistics.values.to_vec(),
        told: statistics.told,
        polling: *polling,
        asks: *asks,
        answer: answer.as_ref().map(Chain::save),
        goes_on: *goes_on,
    }
}

pub(super) fn load(balloon: &mut VirtioBalloon, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { target, actual, poison, statistics, told, polling, asks, answer, goes_on } = state;
    valid(target <= balloon.pages(), "the balloon is to be larger than the guest")?;
    valid(statistics.len() <= STATISTICS.len(), "there are too many statistics")?;
    let mut all = Statistics { told, ..Statistics::default() };
    all.values.iter_mut().zip(statistics).for_each(|(to, from)| *to = from);
    let answer = answer.map(|chain| {
        let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
        valid(common.could_be_of(queue::STATS, &chain), "a request is of no queue")?;
        Ok::<_, StateError>(chain)
    });
    balloon.answer = answer.transpose()?;
    (balloon.target, balloon.actual, balloon.poison) = (target, actual, poison);
    (balloon.statistics, balloon.polling) = (all, polling);
    balloon.set_asks(asks);
    balloon.set_go_on(goes_on);
    Ok(())
}
