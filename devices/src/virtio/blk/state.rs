//! Saved state. A request in flight is saved as what it does, and sent anew on load.

use devices_core::StateError;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Chain, ChainState, len};
use super::request::{Job, Work};
use super::spec::ZERO_SECTORS;
use super::{Blk, IN_FLIGHT};

/// Saved form of the device.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    sectors: u64,
    write_cache: bool,
    full: bool,
    jobs: Vec<JobState>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct JobState {
    queue: u16,
    chain: ChainState,
    work: Work,
    status: u64,
    written: u32,
}

pub(super) fn save(blk: &Blk) -> State {
    let Blk {
        options: _,
        info,
        ram: _,
        requests: _,
        jobs,
        refused,
        write_cache,
        full,
        // Who saves says so again.
        quiet: _,
        spare: _,
    } = blk;
    let job = |job: &Job| {
        let Job { queue, chain, work, status, written, flight: _ } = job;
        JobState { queue: *queue, chain: chain.save(), work: *work, status: *status, written: *written }
    };
    State {
        sectors: info.size / devices_core::block::SECTOR,
        write_cache: *write_cache,
        full: *full,
        jobs: jobs.iter().chain(refused).map(job).collect(),
    }
}

pub(super) fn load(blk: &mut Blk, common: &mut Common, state: State) -> Result<(), StateError> {
    let State { sectors, write_cache, full, jobs } = state;
    valid(sectors == blk.info.size / devices_core::block::SECTOR, "the disk has another size")?;
    valid(jobs.len() <= IN_FLIGHT, "there are too many requests in flight")?;
    blk.write_cache = write_cache;
    blk.full = full;
    for JobState { queue, chain, work, status, written } in jobs {
        let chain = Chain::load(chain, common.dma()).map_err(|e| StateError::Invalid(e.to_string()))?;
        valid(common.could_be_of(queue, &chain), "a request is of no queue")?;
        let fits = match work {
            Work::Read(sector) => blk.transfer(sector, len(&chain.writable)).is_ok(),
            Work::Write(sector) => !blk.info.read_only && blk.transfer(sector, len(&chain.readable)).is_ok(),
            Work::Settle | Work::Flush => true,
            Work::Discard(sector, sectors) => blk.transfer(sector, u64::from(sectors) * 512).is_ok(),
            Work::Zero(sector, sectors) => {
                sectors <= ZERO_SECTORS && blk.transfer(sector, u64::from(sectors) * 512).is_ok()
            }
        };
        valid(fits, "a request reaches beyond the disk")?;
        blk.submit(Job { queue, chain, work, status, written, flight: None });
    }
    Ok(())
}
