//! Virtio block device (Virtio 1.3, 5.2).
//!
//! Requests go from the queues to the medium as they come, many at a time, and are given back as they end. What a driver
//! that knows no flush has written is safe when it hears so (5.2.6.2).
//!
//! As QEMU's: a request without its head or without room for the status breaks the device; one that reaches beyond the
//! end fails; the serial number has 20 bytes; a discard or a write of zeroes has one range.
//!
//! Left out: secure erase, lifetime, zones, SCSI commands of legacy drivers, priorities, sectors of other than 512 bytes.

pub mod model;
mod request;
pub mod spec;
mod state;
#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use devices_core::block::{BlockBackend, BlockInfo, Completion, CompletionQueue, Requests, SECTOR};
use devices_core::model::Model;
use devices_core::{Node, StateError, Wake};
use hypervisor::GuestRam;

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::queue::Chain;
use super::spec::device_id;
use crate::storage::geometry::Geometry;
use request::Job;
use spec::{config, feature};

/// The number by which the medium wakes the device.
pub const MEDIUM: u32 = 0;

/// Most requests that are worked on at once; the rest waits in the queues.
const IN_FLIGHT: usize = 128;
/// Most chains whose memory is kept for the next.
const SPARE: usize = 32;

/// What a device is made with.
pub struct Options {
    /// Where the data is.
    pub backend: Arc<dyn BlockBackend>,
    /// Cylinders, heads and sectors that it claims.
    pub geometry: Geometry,
    /// Up to 20 bytes.
    pub serial: String,
    /// Queues.
    pub queues: u16,
    /// Elements of each, a power of two.
    pub queue_size: u16,
    /// The driver can turn the write cache off.
    pub config_wce: bool,
    /// It can discard.
    pub discard: bool,
    /// It can write zeroes.
    pub write_zeroes: bool,
    /// Bytes of a physical sector; none: the medium's.
    pub physical_block: Option<u32>,
    /// What it is an instance of.
    pub model: &'static Model,
}

/// The device.
pub struct Blk {
    options: Options,
    info: BlockInfo,
    ram: GuestRam,
    requests: Requests,
    /// What is worked on, a few of which may wait for the medium to take them.
    jobs: Vec<Job>,
    /// Which of them the medium did not take.
    refused: VecDeque<Job>,
    /// There is a write cache: what the driver has not flushed may be lost.
    write_cache: bool,
    /// Requests were left in queues.
    full: bool,
    /// Nothing new is started.
    quiet: bool,
    spare: Vec<Chain>,
}

impl Blk {
    /// A device for a guest of that memory, whose medium answers through `done`.
    pub fn new(options: Options, ram: GuestRam, done: CompletionQueue) -> Blk {
        let info = options.backend.info();
        Blk {
            options,
            info,
            ram,
            requests: Requests::new(done),
            jobs: Vec::new(),
            refused: VecDeque::new(),
            write_cache: true,
            full: false,
            quiet: false,
            spare: Vec::new(),
        }
    }

    fn in_flight(&self) -> usize {
        self.jobs.len() + self.refused.len()
    }

    /// Takes what a queue has, as far as there is room.
    fn serve(&mut self, common: &mut Common, queue: u16) {
        if self.quiet {
            return;
        }
        loop {
            common.disable_notification(queue);
            loop {
                if self.in_flight() >= IN_FLIGHT {
                    self.full = true;
                    return;
                }
                let mut chain = self.spare.pop().unwrap_or_default();
                if !common.pop(queue, &mut chain) {
                    self.keep(chain);
                    break;
                }
                self.begin(common, queue, chain);
            }
            if !common.enable_notification(queue) {
                return;
            }
        }
    }

    fn keep(&mut self, chain: Chain) {
        if self.spare.len() < SPARE {
            self.spare.push(chain);
        }
    }

    /// What the medium has answered, and what may go on for that.
    fn completions(&mut self, common: &mut Common) {
        while let Some(answer) = self.requests.next() {
            self.answered(common, answer);
        }
        while let Some(job) = self.refused.pop_front() {
            if !self.submit(job) {
                break;
            }
        }
        if std::mem::take(&mut self.full) {
            (0..common.queues()).for_each(|queue| self.serve(common, queue));
        }
    }

    fn answered(&mut self, common: &mut Common, answer: Completion) {
        let Some(at) = self.jobs.iter().position(|job| job.waits_for(&answer)) else { return };
        let job = self.jobs.swap_remove(at);
        self.advance(common, job, answer.result);
    }
}

impl VirtioDevice for Blk {
    type State = state::State;

    const KIND: &'static str = "virtio-blk";

    fn model(&self) -> Option<&'static Model> {
        Some(self.options.model)
    }

    fn identity(&self) -> Identity {
        Identity { id: device_id::BLOCK, transitional: Some(0x1001), class: 0x01_00_00 }
    }

    fn features(&self) -> u64 {
        let Options { queues, config_wce, discard, write_zeroes, .. } = self.options;
        let when = |on: bool, bits| if on { bits } else { 0 };
        let changes = !self.info.read_only;
        feature::SEG_MAX
            | feature::GEOMETRY
            | feature::BLK_SIZE
            | feature::FLUSH
            | feature::TOPOLOGY
            | when(self.info.read_only, feature::RO)
            | when(config_wce, feature::CONFIG_WCE)
            | when(queues > 1, feature::MQ)
            | when(discard && changes && self.info.discard, feature::DISCARD)
            | when(write_zeroes && changes, feature::WRITE_ZEROES)
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![self.options.queue_size; usize::from(self.options.queues)]
    }

    fn config_len(&self) -> usize {
        config::LEN
    }

    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        let Geometry { cylinders, heads, sectors } = self.options.geometry;
        let mut bytes = [0; config::LEN];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(config::CAPACITY, &(self.info.size / SECTOR).to_le_bytes());
        put(config::SEG_MAX, &u32::from(self.options.queue_size - 2).to_le_bytes());
        put(config::GEOMETRY, &cylinders.to_le_bytes());
        put(config::GEOMETRY + 2, &[heads, sectors]);
        put(config::BLK_SIZE, &(SECTOR as u32).to_le_bytes());
        let physical = self.options.physical_block.unwrap_or(self.info.physical_block);
        let physical = (u64::from(physical) / SECTOR).max(1);
        put(config::PHYSICAL_BLOCK_EXP, &[physical.ilog2() as u8]);
        put(config::WRITEBACK, &[self.write_cache.into()]);
        put(config::NUM_QUEUES, &self.options.queues.to_le_bytes());
        put(config::MAX_DISCARD_SECTORS, &spec::DISCARD_SECTORS.to_le_bytes());
        put(config::MAX_DISCARD_SEG, &1u32.to_le_bytes());
        put(config::DISCARD_SECTOR_ALIGNMENT, &1u32.to_le_bytes());
        put(config::MAX_WRITE_ZEROES_SECTORS, &spec::ZERO_SECTORS.to_le_bytes());
        put(config::MAX_WRITE_ZEROES_SEG, &1u32.to_le_bytes());
        put(config::WRITE_ZEROES_MAY_UNMAP, &[1]);
        for (to, from) in data.iter_mut().zip(bytes.iter().skip(offset)) {
            *to = *from;
        }
    }

    fn write_config(&mut self, common: &mut Common, offset: usize, data: &[u8]) {
        let at = config::WRITEBACK.checked_sub(offset).and_then(|at| data.get(at));
        if let Some(writeback) = at.filter(|_| common.has(feature::CONFIG_WCE)) {
            self.write_cache = writeback & 1 != 0;
        }
    }

    fn ready(&mut self, common: &mut Common) {
        // Who cannot flush has no cache, unless it has said what it wants (QEMU).
        if !common.has(feature::CONFIG_WCE) {
            self.write_cache = common.has(feature::FLUSH);
        }
    }

    fn notified(&mut self, common: &mut Common, queue: u16) {
        self.serve(common, queue);
    }

    fn wake(&mut self, common: &mut Common, why: Wake) {
        if why == Wake::Backend(MEDIUM) {
            self.completions(common);
        }
    }

    fn reset(&mut self) {
        self.jobs.clear();
        self.refused.clear();
        (self.write_cache, self.full, self.quiet) = (true, false, false);
        // What was given up and has ended: nobody waits for it.
        while self.requests.next().is_some() {}
    }

    fn reset_queue(&mut self, common: &mut Common, queue: u16) {
        self.jobs.retain(|job| job.queue != queue);
        self.refused.retain(|job| job.queue != queue);
        self.completions(common);
    }

    fn drained(&self) -> bool {
        self.requests.drained()
    }

    fn stop(&mut self, common: &mut Common) {
        self.refused.clear();
        for job in &self.jobs {
            job.flight.iter().for_each(|flight| {
                self.requests.hasten(flight);
            });
        }
        self.completions(common);
    }

    fn is_idle(&self) -> bool {
        self.requests.idle() && self.refused.is_empty()
    }

    fn quiesce(&mut self, common: &mut Common) -> bool {
        self.quiet = true;
        self.completions(common);
        self.is_idle()
    }

    fn resume(&mut self, _common: &mut Common) {
        self.quiet = false;
    }

    fn save(&self) -> state::State {
        state::save(self)
    }

    fn load(&mut self, common: &mut Common, state: state::State) -> Result<(), StateError> {
        state::load(self, common, state)
    }

    fn inspect(&self, node: &mut Node) {
        let Blk { options, info, jobs, refused, write_cache, .. } = self;
        node.value("sectors", info.size / SECTOR).value("read only", info.read_only);
        node.value("serial", &options.serial).value("write cache", write_cache);
        node.value("in flight", jobs.len()).value("refused", refused.len());
        node.value("drained", self.requests.drained());
    }
}
