//! Task management, and questions about notifications (Virtio 1.3, 5.6.6.2).

use super::super::common::Common;
use super::super::queue::{Broken, Chain, len, take, write_at};
use super::Scsi;
use super::request::address;
use super::spec::{NOTIFICATION, TMF, control, queue, response, tmf};
use crate::storage::scsi::Address;

/// A function that is answered when no byte moves any more for what it ended.
pub(super) struct Waiting {
    pub(super) chain: Chain,
    pub(super) target: u8,
    /// None: all of the target.
    pub(super) lun: Option<u16>,
}

impl Waiting {
    fn means(&self, address: Address) -> bool {
        address.target == self.target && self.lun.is_none_or(|lun| lun == address.lun)
    }
}

fn le32(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

impl Scsi {
    /// Looks at a request of the control queue.
    pub(super) fn control(&mut self, common: &mut Common, mut chain: Chain) {
        let mut kind = [0; 4];
        if !take(common.dma(), &mut chain.readable, &mut kind) {
            return common.fail(Broken("a SCSI control request has no type"));
        }
        let (asks, answers) = match u32::from_le_bytes(kind) {
            control::TMF => (TMF - kind.len(), 1),
            control::QUERY | control::SUBSCRIBE => (NOTIFICATION - kind.len(), 5),
            // Nobody knows how its response looks.
            _ => return self.answer(common, chain, &[]),
        };
        let mut request = vec![0; asks];
        if !take(common.dma(), &mut chain.readable, &mut request) {
            return common.fail(Broken("a SCSI control request is too short"));
        }
        if len(&chain.writable) < answers {
            return common.fail(Broken("a SCSI control request has no room for its response"));
        }
        match u32::from_le_bytes(kind) {
            control::TMF => self.manage(common, chain, &request),
            // There are no notifications.
            _ => self.answer(common, chain, &[0, 0, 0, 0, response::OK]),
        }
    }

    fn answer(&mut self, common: &mut Common, chain: Chain, bytes: &[u8]) {
        let written = write_at(common.dma(), &chain.writable, 0, bytes).unwrap_or(0);
        common.push(queue::CONTROL, &chain, written as u32);
        self.keep(chain);
    }

    fn manage(&mut self, common: &mut Common, chain: Chain, request: &[u8]) {
        let function = le32(request, 0);
        let lun = &request[4..12];
        if function == tmf::I_T_NEXUS_RESET {
            let target = lun[1];
            self.bus.reset_units(|address| address.target == target);
            return self.wait(common, Waiting { chain, target, lun: None });
        }
        let tag = u64::from(le32(request, 12)) | u64::from(le32(request, 16)) << 32;
        let Some(address) = address(lun).filter(|address| self.bus.has_target(address.target)) else {
            return self.answer(common, chain, &[response::BAD_TARGET]);
        };
        if !self.bus.has_unit(address) {
            return self.answer(common, chain, &[response::INCORRECT_LUN]);
        }
        match function {
            tmf::ABORT_TASK => self.bus.abort(address, Some(tag)),
            tmf::ABORT_TASK_SET | tmf::CLEAR_TASK_SET => self.bus.abort(address, None),
            tmf::LOGICAL_UNIT_RESET => self.bus.reset_units(|at| at == address),
            tmf::QUERY_TASK | tmf::QUERY_TASK_SET => {
                let tag = Some(tag).filter(|_| function == tmf::QUERY_TASK);
                let found = self.bus.has_task(address, tag);
                let answer = if found { response::FUNCTION_SUCCEEDED } else { response::OK };
                return self.answer(common, chain, &[answer]);
            }
            // There is no ACA.
            _ => return self.answer(common, chain, &[response::FUNCTION_REJECTED]),
        }
        self.wait(common, Waiting { chain, target: address.target, lun: Some(address.lun) });
    }

    fn wait(&mut self, common: &mut Common, waiting: Waiting) {
        self.waiting.push(waiting);
        self.deliver(common);
    }

    /// Answers functions whose work is over.
    pub(super) fn answer_waiting(&mut self, common: &mut Common) {
        let bus = &self.bus;
        let over: Vec<Waiting> =
            self.waiting.extract_if(.., |waiting| bus.is_drained(|address| waiting.means(address))).collect();
        for Waiting { chain, .. } in over {
            self.answer(common, chain, &[response::OK]);
        }
    }
}
