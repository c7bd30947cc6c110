//! Virtio entropy device (Virtio 1.3, 5.4): one queue of buffers that it fills with random bytes.
//!
//! It fills at most [`MOST`] bytes of a request, and says how many those were. QEMU's limits of a period (`max-bytes`,
//! `period`) are taken and not kept: the host's numbers do not run out.

pub mod model;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::entropy::Entropy;
use devices_core::model::Model;
use devices_core::{Node, StateError, Timer, Wake, Wiring};
use serde::{Deserialize, Serialize};

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::queue::{Chain, len, write_at};
use super::spec::device_id;

/// Elements of the queue.
const QUEUE_SIZE: u16 = 8;
/// Most bytes that one request gets.
pub const MOST: u64 = 64 << 10;
/// Most requests of one call.
const BURST: usize = 16;
/// Wakes the device to go on with requests that one call left.
const GO_ON: u32 = 0;

/// The device.
pub struct Rng {
    model: &'static Model,
    source: Arc<dyn Entropy>,
    wiring: Wiring,
    go_on: Timer,
    goes_on: Option<u64>,
    /// Bytes that it has given.
    given: u64,
    chain: Chain,
    quiet: bool,
}

/// Saved form of the device.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct State {
    given: u64,
    /// When it goes on, in nanoseconds of guest time.
    #[serde(deserialize_with = "Option::deserialize")]
    goes_on: Option<u64>,
}

impl Rng {
    /// A device that gives the numbers of `source`.
    pub fn new(model: &'static Model, wiring: &Wiring, source: Arc<dyn Entropy>) -> Rng {
        let (wiring, go_on) = (wiring.clone(), wiring.timer(GO_ON));
        Rng { model, source, wiring, go_on, goes_on: None, given: 0, chain: Chain::default(), quiet: false }
    }

    fn serve(&mut self, common: &mut Common) {
        if self.quiet {
            return;
        }
        let mut chain = std::mem::take(&mut self.chain);
        let mut data = Vec::new();
        for _ in 0..BURST {
            if !common.pop(0, &mut chain) {
                if common.enable_notification(0) {
                    continue;
                }
                self.chain = chain;
                return;
            }
            data.resize(len(&chain.writable).min(MOST) as usize, 0);
            self.source.fill(self.given, &mut data);
            let written = write_at(common.dma(), &chain.writable, 0, &data).unwrap_or(0);
            self.given = self.given.wrapping_add(written as u64);
            common.push(0, &chain, written as u32);
        }
        self.chain = chain;
        self.set_go_on(Some(self.wiring.now()));
    }

    fn set_go_on(&mut self, deadline: Option<u64>) {
        self.goes_on = deadline;
        match deadline {
            Some(deadline) => self.go_on.arm(deadline),
            None => self.go_on.cancel(),
        }
    }
}

impl VirtioDevice for Rng {
    type State = State;

    const KIND: &'static str = "virtio-rng";

    fn model(&self) -> Option<&'static Model> {
        Some(self.model)
    }
    fn identity(&self) -> Identity {
        Identity { id: device_id::ENTROPY, transitional: Some(0x1005), class: 0x00_ff_00 }
    }
    fn features(&self) -> u64 {
        0
    }
    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE]
    }
    fn config_len(&self) -> usize {
        0
    }
    fn read_config(&self, _common: &Common, _offset: usize, _data: &mut [u8]) {}

    fn notified(&mut self, common: &mut Common, _queue: u16) {
        self.serve(common);
    }
    fn wake(&mut self, common: &mut Common, why: Wake) {
        let due = self.goes_on.is_some_and(|deadline| deadline <= self.wiring.now());
        if why == Wake::Timer(GO_ON) && due {
            self.set_go_on(None);
            self.serve(common);
        }
    }
    fn reset(&mut self) {
        self.set_go_on(None);
        self.quiet = false;
    }
    fn quiesce(&mut self, _common: &mut Common) -> bool {
        self.quiet = true;
        true
    }
    fn resume(&mut self, _common: &mut Common) {
        self.quiet = false;
    }

    fn save(&self) -> State {
        let Rng { model: _, source: _, wiring: _, go_on: _, goes_on, given, chain: _, quiet: _ } = self;
        State { given: *given, goes_on: *goes_on }
    }
    fn load(&mut self, _common: &mut Common, state: State) -> Result<(), StateError> {
        let State { given, goes_on } = state;
        self.given = given;
        self.set_go_on(goes_on);
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        node.value("bytes given", self.given);
    }
}
