//! Commands, from their chains to their ends.

use devices_core::block::Segment;
use serde::{Deserialize, Serialize};

use super::super::common::Common;
use super::super::queue::{Broken, Chain, ChainState, len, split_off, take, write_at};
use super::Scsi;
use super::spec::{HEAD, RESPONSE, response};
use crate::storage::scsi::{Address, Cdb, Command, End, Outcome};

/// What it takes to answer a command. Its data has gone to the unit: what is left to write in the chain is the response.
pub(super) struct Context {
    pub(super) queue: u16,
    pub(super) chain: Chain,
    /// Bytes of memory that the command brought for its data.
    pub(super) data: u64,
    /// The device writes them.
    pub(super) inward: bool,
}

/// Saved form.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ContextState {
    pub(super) queue: u16,
    pub(super) chain: ChainState,
    pub(super) data: u64,
    pub(super) inward: bool,
}

/// The unit that a driver means (5.6.6.1): flat or peripheral addressing of the unit below its target. None: nothing can be
/// there.
pub(super) fn address(lun: &[u8]) -> Option<Address> {
    let [1, target, high, low, ..] = *lun else { return None };
    let lun = u16::from_be_bytes([high, low]);
    (high == 0 || high >> 6 == 1).then_some(Address { target, lun: lun & 0x3fff })
}

impl Scsi {
    /// Looks at a command of a queue and begins it.
    pub(super) fn begin(&mut self, common: &mut Common, queue: u16, mut chain: Chain) {
        let mut request = vec![0; HEAD + self.cdb_size as usize];
        if !take(common.dma(), &mut chain.readable, &mut request) {
            return common.fail(Broken("a SCSI command has no head"));
        }
        let room = RESPONSE as u64 + u64::from(self.sense_size);
        if len(&chain.writable) < room {
            return common.fail(Broken("a SCSI command has no room for its response"));
        }
        let response = split_off(&mut chain.writable, room);
        let data_in = std::mem::replace(&mut chain.writable, response);
        let data_out: Vec<Segment> = std::mem::take(&mut chain.readable);
        let (inward, outward) = (len(&data_in), len(&data_out));
        let context = Context { queue, chain, data: inward + outward, inward: inward > 0 };
        if inward > 0 && outward > 0 {
            return self.respond(common, context, response::FAILURE, None);
        }
        let (head, cdb) = request.split_at(HEAD);
        let Some(address) = address(head).filter(|address| self.bus.has_target(address.target)) else {
            return self.respond(common, context, response::BAD_TARGET, None);
        };
        let mut tag = [0; 8];
        tag.copy_from_slice(&head[8..16]);
        let (tag, len) = (u64::from_le_bytes(tag), cdb.len());
        let command = Command { tag, cdb: Cdb::new(cdb), len, data_in, data_out };
        self.bus.start(common.dma(), address, command, context);
    }

    /// A command has ended.
    pub(super) fn end(&mut self, common: &mut Common, context: Context, outcome: Outcome) {
        match outcome {
            Outcome::Ended(end) => self.respond(common, context, response::OK, Some(&end)),
            Outcome::Aborted => self.respond(common, context, response::ABORTED, None),
            Outcome::Reset => self.respond(common, context, response::RESET, None),
            Outcome::Overrun => self.respond(common, context, response::OVERRUN, None),
        }
    }

    /// Gives a command back (5.6.6.1).
    fn respond(&mut self, common: &mut Common, context: Context, code: u8, end: Option<&End>) {
        let Context { queue, chain, data, inward } = context;
        let room = len(&chain.writable);
        let mut bytes = vec![0; room as usize];
        let moved = end.map_or(0, |end| end.moved.min(data));
        if let (Some(End { status, sense, .. }), Some((head, rest))) =
            (end, bytes.split_at_mut_checked(RESPONSE))
        {
            let sense_len = sense.len().min(rest.len());
            rest[..sense_len].copy_from_slice(&sense[..sense_len]);
            head[..4].copy_from_slice(&(sense_len as u32).to_le_bytes());
            let residual = u32::try_from(data - moved).unwrap_or(u32::MAX);
            head[4..8].copy_from_slice(&residual.to_le_bytes());
            head[10] = *status;
        }
        if let Some(place) = bytes.get_mut(RESPONSE - 1) {
            *place = code;
        }
        // Where it was RAM when the command came, and no longer is, nobody reads it.
        let _ = write_at(common.dma(), &chain.writable, 0, &bytes);
        let written = room + if inward { moved } else { 0 };
        common.push(queue, &chain, u32::try_from(written).unwrap_or(u32::MAX));
        self.keep(chain);
    }
}
