//! Virtio socket device (Virtio 1.3, 5.10): streams between programs of the guest's and of the host's, by port numbers.
//!
//! The device carries packets between its queues and the [back end](VsockBackend), which knows of connections. A packet
//! that the back end has no room for stays in its queue, and those behind it. One whose bytes find no room in one of the
//! driver's buffers comes in several, as streams may.
//!
//! Connections are the host's, and are not saved: a guest that goes on from a saved state is told that they are gone
//! (`TRANSPORT_RESET`), which resets its sockets. QEMU's devices of this type are the kernel's and another process's;
//! this one has their ids, queues and vectors.
//!
//! Left out: SEQPACKET, since there is nothing at the host's end that keeps records, as Firecracker and Cloud Hypervisor
//! have it; drivers of before version 1, for which the type has no number of its own.

pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::model::Model;
use devices_core::vsock::{Header, MAX_PAYLOAD, VsockBackend};
use devices_core::{Node, StateError, Timer, Wake, Wiring};

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::queue::{Chain, len, read_at, write_at};
use super::spec::{device_id, status};
use spec::{CONFIG_LEN, QUEUE_SIZE, event, feature, queue};

/// Most packets of one call, each way.
const BURST: usize = 64;
/// Wakes the device to go on with what one call left.
const GO_ON: u32 = 0;

/// The device.
pub struct Vsock {
    model: &'static Model,
    /// The guest's CID.
    cid: u64,
    backend: Arc<dyn VsockBackend>,
    wiring: Wiring,
    go_on: Timer,
    goes_on: Option<u64>,
    /// A request of the driver's whose packet the back end has not taken.
    held: Option<Chain>,
    /// The packet that goes to the driver next; empty: there is none.
    incoming: Vec<u8>,
    /// Bytes of it, without its header, that the driver has.
    given: usize,
    /// The driver is to hear that connections are gone.
    tell_reset: bool,
    /// A packet of the driver's, while it is looked at.
    outgoing: Vec<u8>,
    quiet: bool,
}

/// Whether there may be more to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moved {
    All,
    More,
}

impl Vsock {
    /// A device of a guest with that CID.
    pub fn new(model: &'static Model, cid: u64, wiring: &Wiring, backend: Arc<dyn VsockBackend>) -> Vsock {
        Vsock {
            model,
            cid,
            backend,
            wiring: wiring.clone(),
            go_on: wiring.timer(GO_ON),
            goes_on: None,
            held: None,
            incoming: Vec::new(),
            given: 0,
            tell_reset: false,
            outgoing: Vec::new(),
            quiet: false,
        }
    }

    /// Gives the back end what the driver sends.
    fn transmit(&mut self, common: &mut Common) -> Moved {
        for _ in 0..BURST {
            if !common.is_running() {
                return Moved::All;
            }
            let mut chain = self.held.take().unwrap_or_default();
            if chain.readable.is_empty() && !common.pop(queue::TX, &mut chain) {
                if common.enable_notification(queue::TX) {
                    continue;
                }
                return Moved::All;
            }
            // What is no packet is given back like one.
            if self.read_packet(common, &chain) && !self.backend.send(&self.outgoing) {
                self.held = Some(chain);
                return Moved::All;
            }
            common.push(queue::TX, &chain, 0);
        }
        Moved::More
    }

    /// Reads a packet of the driver's, its header once. False: it is none.
    fn read_packet(&mut self, common: &Common, chain: &Chain) -> bool {
        let mut header = [0; Header::LEN];
        if read_at(common.dma(), &chain.readable, 0, &mut header) != Some(Header::LEN) {
            return false;
        }
        let payload = Header::of_bytes(&header).len as usize;
        if payload > MAX_PAYLOAD || len(&chain.readable) < (Header::LEN + payload) as u64 {
            return false;
        }
        self.outgoing.clear();
        self.outgoing.extend_from_slice(&header);
        self.outgoing.resize(Header::LEN + payload, 0);
        let to = &mut self.outgoing[Header::LEN..];
        read_at(common.dma(), &chain.readable, Header::LEN as u64, to) == Some(payload)
    }

    /// Gives the driver what the back end has.
    fn receive(&mut self, common: &mut Common) -> Moved {
        for _ in 0..BURST {
            if !common.is_set_up() || !common.is_running() || !self.fetch() {
                return Moved::All;
            }
            let mut chain = Chain::default();
            if !common.pop(queue::RX, &mut chain) {
                if common.enable_notification(queue::RX) {
                    continue;
                }
                return Moved::All;
            }
            let written = self.deliver(common, &chain);
            common.push(queue::RX, &chain, written as u32);
        }
        Moved::More
    }

    /// Sees that there is a packet for the driver. False: there is none.
    fn fetch(&mut self) -> bool {
        if self.incoming.is_empty() {
            self.given = 0;
            let some = self.backend.receive(&mut self.incoming);
            if !some || Header::split(&self.incoming).is_none() {
                self.incoming.clear();
            }
            return some && !self.incoming.is_empty();
        }
        true
    }

    /// Puts what fits of the packet into a buffer of the driver's; bytes that were written. A buffer that is too small for
    /// anything gets nothing.
    fn deliver(&mut self, common: &Common, chain: &Chain) -> usize {
        let Some((header, payload)) = Header::split(&self.incoming) else { return 0 };
        let left = &payload[self.given.min(payload.len())..];
        let room = len(&chain.writable).saturating_sub(Header::LEN as u64);
        let now = left.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if len(&chain.writable) < Header::LEN as u64 || now == 0 && !left.is_empty() {
            return 0;
        }
        let header = Header { len: now as u32, ..header }.bytes();
        let whole = write_at(common.dma(), &chain.writable, 0, &header) == Some(Header::LEN)
            && write_at(common.dma(), &chain.writable, Header::LEN as u64, &left[..now]) == Some(now);
        if now == left.len() {
            self.incoming.clear();
        } else {
            self.given += now;
        }
        if whole { Header::LEN + now } else { 0 }
    }

    /// Tells the driver that connections are gone, when it has a buffer for that.
    fn tell(&mut self, common: &mut Common) {
        let mut chain = Chain::default();
        while self.tell_reset && common.is_set_up() {
            if common.pop(queue::EVENT, &mut chain) {
                let event = event::TRANSPORT_RESET.to_le_bytes();
                let written = write_at(common.dma(), &chain.writable, 0, &event).unwrap_or(0);
                common.push(queue::EVENT, &chain, written as u32);
                self.tell_reset = false;
            } else if !common.enable_notification(queue::EVENT) {
                return;
            }
        }
    }

    fn pump(&mut self, common: &mut Common) {
        // Before anything of new connections.
        self.tell(common);
        let moved = [self.receive(common), self.transmit(common)];
        if moved.contains(&Moved::More) {
            self.note(Moved::More);
        }
    }

    /// What is left is done soon.
    fn note(&mut self, moved: Moved) {
        if moved == Moved::More && self.goes_on.is_none() {
            self.set_go_on(Some(self.wiring.now()));
        }
    }

    fn set_go_on(&mut self, deadline: Option<u64>) {
        self.goes_on = deadline;
        match deadline {
            Some(deadline) => self.go_on.arm(deadline),
            None => self.go_on.cancel(),
        }
    }
}

impl VirtioDevice for Vsock {
    type State = state::State;

    const KIND: &'static str = "virtio-vsock";

    fn model(&self) -> Option<&'static Model> {
        Some(self.model)
    }
    fn identity(&self) -> Identity {
        Identity { id: device_id::VSOCK, transitional: None, class: 0x07_80_00 }
    }
    fn features(&self) -> u64 {
        feature::STREAM
    }
    fn queue_sizes(&self) -> Vec<u16> {
        vec![QUEUE_SIZE; 3]
    }
    fn config_len(&self) -> usize {
        CONFIG_LEN
    }
    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        let cid = self.cid.to_le_bytes();
        data.iter_mut().zip(cid.iter().skip(offset)).for_each(|(to, from)| *to = *from);
    }

    fn notified(&mut self, common: &mut Common, queue: u16) {
        let moved = match queue {
            queue::RX => self.receive(common),
            queue::TX => self.transmit(common),
            _ => {
                self.tell(common);
                Moved::All
            }
        };
        self.note(moved);
    }
    fn wake(&mut self, common: &mut Common, why: Wake) {
        match why {
            _ if self.quiet => {}
            Wake::Timer(GO_ON) if self.goes_on.is_some_and(|deadline| deadline <= self.wiring.now()) => {
                self.set_go_on(None);
                self.pump(common);
            }
            Wake::Backend(_) => self.pump(common),
            _ => {}
        }
    }
    fn reset(&mut self) {
        self.set_go_on(None);
        self.held = None;
        self.incoming.clear();
        (self.tell_reset, self.quiet) = (false, false);
        self.backend.reset();
    }
    fn reset_queue(&mut self, _common: &mut Common, queue: u16) {
        if queue == queue::TX {
            self.held = None;
        }
    }
    fn quiesce(&mut self, _common: &mut Common) -> bool {
        self.quiet = true;
        true
    }
    fn resume(&mut self, common: &mut Common) {
        self.quiet = false;
        self.pump(common);
    }

    fn save(&self) -> state::State {
        state::save(self)
    }
    fn load(&mut self, common: &mut Common, state: state::State) -> Result<(), StateError> {
        state::load(self, common, state)?;
        self.tell_reset = common.status() & status::DRIVER_OK != 0;
        self.backend.reset();
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        node.value("guest CID", self.cid).value("packet held", self.held.is_some());
        node.value("bytes for the driver", self.incoming.len().saturating_sub(self.given));
        node.value("tells of a reset", self.tell_reset);
    }
}
