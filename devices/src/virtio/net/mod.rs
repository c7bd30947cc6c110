//! Virtio network card (Virtio 1.3, 5.1), with one pair of queues and a control queue.
//!
//! Frames are pulled: the backend is asked for one only while the driver has given a buffer for it. One that the backend
//! has no room for waits in the card, and with it what comes after.
//!
//! Checksums and the cutting up of packets are left to the other side where the backend knows how: as QEMU's, the card
//! offers neither with another. A frame that fits no buffer of a driver that cannot spread it is lost.
//!
//! Left out: segments of UDP, several pairs of queues, RSS and hash reports, standby.

mod control;
mod filter;
pub mod model;
mod offload;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use devices_core::events::{DeviceEvent, Observer};
use devices_core::model::Model;
use devices_core::net::{MAX_FRAME, NetBackend, Nic, Offload, Offloads, RxFilter};
use devices_core::{Node, StateError, Timer, Wake, Wiring};

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::pci::VirtioPci;
use super::queue::{Broken, Chain, len, read_at, write_at};
use super::spec::{device_id, feature as ring};
use crate::board::NicConfig;
use filter::Filter;
use spec::{CONTROL_SIZE, HEADER, LEGACY_HEADER, NUM_BUFFERS, config, feature, queue, status};

/// The number by which the backend wakes the card.
pub const CABLE: u32 = 0;
/// Wakes the card to go on with frames that one call left.
const GO_ON: u32 = 0;
/// Most frames that one call moves in one direction.
const BURST: usize = 64;

/// How a card is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Elements of the queues for frames.
    pub rx_size: u16,
    /// Likewise.
    pub tx_size: u16,
    /// Features that are offered beside the address.
    pub features: u64,
    /// What the configuration says of the MTU; none: nothing.
    pub mtu: Option<u16>,
    /// What it is an instance of.
    pub model: &'static Model,
}

/// The card.
pub struct Net {
    options: Options,
    backend: Arc<dyn NetBackend>,
    wiring: Wiring,
    go_on: Timer,
    /// When it goes on, as is saved.
    goes_on: Option<u64>,
    /// The address that it was made with, and what the driver made of it.
    mac: [u8; 6],
    address: [u8; 6],
    link: bool,
    /// The driver is to announce itself.
    announce: bool,
    filter: Filter,
    /// Who hears that it has changed, and whether that was told since somebody looked.
    observer: Option<Arc<dyn Observer>>,
    told: AtomicBool,
    /// What the backend may leave to the driver.
    allowed: Offloads,
    /// Buffers that were taken for the next frame, which is `frame` if there is one.
    buffers: VecDeque<Chain>,
    frame: Option<(Vec<u8>, Offload)>,
    /// A frame that the backend had no room for.
    held: Option<(Chain, Vec<u8>, Offload)>,
    /// Buffers of one frame that are given back; empty between calls.
    filled: Vec<(Chain, u32)>,
    /// Memory for the next.
    spare: Vec<u8>,
    chain: Chain,
    /// Nothing is moved: the guest is being saved.
    quiet: bool,
    /// It came out of a file, and others are to know where it is now.
    loaded: bool,
}

impl Net {
    /// A card on that cable.
    pub fn new(options: Options, wiring: &Wiring, cable: NicConfig) -> Net {
        let NicConfig { backend, mac } = cable;
        let features = offload::features(backend.offloads(), options.features);
        let options = Options { features, ..options };
        Net {
            options,
            backend,
            wiring: wiring.clone(),
            go_on: wiring.timer(GO_ON),
            goes_on: None,
            mac,
            address: mac,
            link: true,
            announce: false,
            filter: Filter::default(),
            observer: None,
            told: AtomicBool::new(false),
            allowed: Offloads::NONE,
            buffers: VecDeque::new(),
            frame: None,
            held: None,
            filled: Vec::new(),
            spare: Vec::new(),
            chain: Chain::default(),
            quiet: false,
            loaded: false,
        }
    }

    /// The same with somebody who hears what it has to tell.
    pub fn observed(self, observer: Arc<dyn Observer>) -> Net {
        Net { observer: Some(observer), ..self }
    }

    /// The driver has changed what is let in. Once is enough until somebody looks.
    fn filter_changed(&self) {
        if let Some(observer) = &self.observer
            && !self.told.swap(true, Ordering::Relaxed)
        {
            observer.observe(DeviceEvent::FilterChanged);
        }
    }

    fn header(common: &Common) -> usize {
        let whole = common.has(feature::MRG_RXBUF) || common.has(ring::VERSION_1);
        if whole { HEADER } else { LEGACY_HEADER }
    }

    /// Goes on in both directions as far as one call may.
    fn pump(&mut self, common: &mut Common) {
        if self.quiet {
            return;
        }
        let (sent_all, received_all) = (self.transmit(common), self.receive(common));
        if !sent_all || !received_all {
            self.set_go_on(Some(self.wiring.now()));
        }
    }

    fn set_go_on(&mut self, deadline: Option<u64>) {
        if self.goes_on == deadline {
            return;
        }
        self.goes_on = deadline;
        match deadline {
            Some(deadline) => self.go_on.arm(deadline),
            None => self.go_on.cancel(),
        }
    }

    /// From now on the backend may leave so much to the driver.
    fn set_allowed(&mut self, allowed: Offloads) {
        if std::mem::replace(&mut self.allowed, allowed) != allowed {
            self.backend.set_offloads(allowed);
        }
    }

    /// Sends what the driver has. False: there is more.
    fn transmit(&mut self, common: &mut Common) -> bool {
        if let Some((chain, frame, left)) = self.held.take() {
            if self.link && !self.backend.send_with(&frame, left) {
                self.held = Some((chain, frame, left));
                return true;
            }
            common.push(queue::TX, &chain, 0);
            self.spare = frame;
        }
        for _ in 0..BURST {
            let mut chain = std::mem::take(&mut self.chain);
            if !common.pop(queue::TX, &mut chain) {
                self.chain = chain;
                if common.enable_notification(queue::TX) {
                    continue;
                }
                return true;
            }
            common.disable_notification(queue::TX);
            let mut frame = std::mem::take(&mut self.spare);
            let Some(left) = self.fetch(common, &chain, &mut frame) else { return true };
            // With the cable out it goes nowhere.
            if self.link && !frame.is_empty() && !self.backend.send_with(&frame, left) {
                self.held = Some((chain, frame, left));
                return true;
            }
            common.push(queue::TX, &chain, 0);
            (self.chain, self.spare) = (chain, frame);
        }
        false
    }

    /// The frame of a chain, empty where it is none, and what is left to be done to it. None: the driver has broken the
    /// device.
    fn fetch(&self, common: &mut Common, chain: &Chain, frame: &mut Vec<u8>) -> Option<Offload> {
        let header = Net::header(common) as u64;
        let all = len(&chain.readable);
        frame.clear();
        if all < header || !chain.writable.is_empty() {
            common.fail(Broken("a frame to send has no header"));
            return None;
        }
        if all - header > MAX_FRAME as u64 {
            return Some(Offload::default());
        }
        let mut head = [0; Offload::LEN];
        frame.resize((all - header) as usize, 0);
        let read = read_at(common.dma(), &chain.readable, 0, &mut head)
            .and_then(|_| read_at(common.dma(), &chain.readable, header, frame));
        let left = read.and_then(|_| offload::left(offload::to_host(common), head, frame.len()));
        if left.is_none() {
            frame.clear();
        }
        Some(left.unwrap_or_default())
    }

    /// Takes frames of the backend's as long as the driver has room. False: there may be more.
    fn receive(&mut self, common: &mut Common) -> bool {
        for _ in 0..BURST {
            if !self.link || !common.is_running() || !self.has_buffer(common) {
                return true;
            }
            let (frame, left) = match self.frame.take() {
                Some(frame) => frame,
                None => {
                    let mut frame = std::mem::take(&mut self.spare);
                    let Some(left) = self.backend.receive_with(&mut frame) else {
                        self.spare = frame;
                        return true;
                    };
                    (frame, left)
                }
            };
            // One that is left with more than the driver takes comes from before it said so.
            let fits =
                frame.len() <= MAX_FRAME && self.allowed.allow(left) && offload::to_guest(common).allow(left);
            if !fits || !self.filter.lets_in(&frame, self.address) {
                self.spare = frame;
                continue;
            }
            if !self.gather(common, frame.len()) {
                self.frame = Some((frame, left));
                return true;
            }
            self.deliver(common, &frame, left);
            self.spare = frame;
        }
        false
    }

    /// One more buffer of the driver's; false: there is none now.
    fn take_buffer(&mut self, common: &mut Common) -> bool {
        let mut chain = std::mem::take(&mut self.chain);
        while !common.pop(queue::RX, &mut chain) {
            if !common.enable_notification(queue::RX) {
                self.chain = chain;
                return false;
            }
        }
        // As long as there are some, the driver need not say that there are more.
        common.disable_notification(queue::RX);
        self.buffers.push_back(chain);
        true
    }

    fn has_buffer(&mut self, common: &mut Common) -> bool {
        !self.buffers.is_empty() || self.take_buffer(common)
    }

    /// Has buffers for a frame, if the driver can have it spread over several. False: there are too few now.
    fn gather(&mut self, common: &mut Common, frame: usize) -> bool {
        if !common.has(feature::MRG_RXBUF) {
            return true;
        }
        let needed = (Net::header(common) + frame) as u64;
        let mut room: u64 = self.buffers.iter().map(|buffer| len(&buffer.writable)).sum();
        while room < needed {
            if !self.take_buffer(common) {
                return false;
            }
            room += self.buffers.back().map_or(0, |buffer| len(&buffer.writable));
        }
        true
    }

    /// Puts a frame into buffers.
    fn deliver(&mut self, common: &mut Common, frame: &[u8], left: Offload) {
        let header = Net::header(common);
        let needed = (header + frame.len()) as u64;
        let room = |buffer: &Chain| len(&buffer.writable);
        let (mut all, mut count) = (0, 0);
        let most = if common.has(feature::MRG_RXBUF) { usize::MAX } else { 1 };
        for buffer in self.buffers.iter().take(most) {
            if all >= needed {
                break;
            }
            (all, count) = (all + room(buffer), count + 1);
        }
        let mut head = [0; HEADER];
        head[..Offload::LEN].copy_from_slice(&left.bytes());
        head[NUM_BUFFERS..].copy_from_slice(&(count as u16).to_le_bytes());
        if all < needed || self.buffers.front().is_none_or(|first| room(first) < header as u64) {
            // It fits none that the driver has; the buffer is for the next.
            return;
        }
        let mut rest = frame;
        let mut filled = std::mem::take(&mut self.filled);
        for (number, buffer) in self.buffers.drain(..count).enumerate() {
            let from = if number == 0 { header as u64 } else { 0 };
            if number == 0 {
                write_at(common.dma(), &buffer.writable, 0, &head[..header]);
            }
            let now = ((room(&buffer) - from) as usize).min(rest.len());
            write_at(common.dma(), &buffer.writable, from, &rest[..now]);
            rest = &rest[now..];
            filled.push((buffer, from as u32 + now as u32));
        }
        // A driver that looks meanwhile must find all the buffers that the header tells of (5.1.6.4.1).
        common.push_all(queue::RX, &filled);
        self.chain = filled.drain(..).next().map_or_else(Chain::default, |(buffer, _)| buffer);
        self.filled = filled;
    }

    fn status(&self) -> u16 {
        let when = |on: bool, bit| if on { bit } else { 0 };
        when(self.link, status::LINK_UP) | when(self.announce, status::ANNOUNCE)
    }
}

impl VirtioDevice for Net {
    type State = state::State;

    const KIND: &'static str = "virtio-net";

    fn model(&self) -> Option<&'static Model> {
        Some(self.options.model)
    }

    fn identity(&self) -> Identity {
        Identity { id: device_id::NET, transitional: Some(0x1000), class: 0x02_00_00 }
    }

    fn features(&self) -> u64 {
        let mtu = if self.options.mtu.is_some() { feature::MTU } else { 0 };
        feature::MAC | self.options.features | mtu
    }

    fn queue_sizes(&self) -> Vec<u16> {
        let mut sizes = vec![self.options.rx_size, self.options.tx_size];
        if self.options.features & feature::CTRL_VQ != 0 {
            sizes.push(CONTROL_SIZE);
        }
        sizes
    }

    fn config_len(&self) -> usize {
        config::LEN
    }

    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        let mut bytes = [0; config::LEN];
        bytes[config::MAC..config::STATUS].copy_from_slice(&self.address);
        bytes[config::STATUS..config::MAX_VIRTQUEUE_PAIRS].copy_from_slice(&self.status().to_le_bytes());
        bytes[config::MAX_VIRTQUEUE_PAIRS..config::MTU].copy_from_slice(&1u16.to_le_bytes());
        bytes[config::MTU..].copy_from_slice(&self.options.mtu.unwrap_or(0).to_le_bytes());
        for (to, from) in data.iter_mut().zip(bytes.iter().skip(offset)) {
            *to = *from;
        }
    }

    fn write_config(&mut self, common: &mut Common, offset: usize, data: &[u8]) {
        // Legacy drivers set the address so (5.1.4, "Legacy Interface").
        if common.has(ring::VERSION_1) || common.has(feature::CTRL_MAC_ADDR) {
            return;
        }
        for (to, from) in self.address.iter_mut().skip(offset).zip(data) {
            *to = *from;
        }
    }

    fn ready(&mut self, common: &mut Common) {
        self.set_allowed(offload::to_guest(common));
        if common.has(feature::CTRL_VLAN) {
            self.filter.only_told_vlans();
        }
    }

    fn notified(&mut self, common: &mut Common, queue: u16) {
        if queue == queue::CONTROL {
            return self.control(common);
        }
        self.pump(common);
    }

    fn wake(&mut self, common: &mut Common, why: Wake) {
        match why {
            Wake::Timer(GO_ON) if self.goes_on.is_some_and(|deadline| deadline <= self.wiring.now()) => {
                self.set_go_on(None);
                self.pump(common);
            }
            Wake::Backend(CABLE) => self.pump(common),
            _ => {}
        }
    }

    fn reset(&mut self) {
        self.set_go_on(None);
        self.address = self.mac;
        self.announce = false;
        self.filter = Filter::default();
        self.set_allowed(Offloads::NONE);
        self.buffers.clear();
        (self.frame, self.held) = (None, None);
        (self.quiet, self.loaded) = (false, false);
    }

    fn reset_queue(&mut self, _common: &mut Common, queue: u16) {
        match queue {
            queue::RX => self.buffers.clear(),
            queue::TX => self.held = None,
            _ => {}
        }
    }

    fn quiesce(&mut self, _common: &mut Common) -> bool {
        self.quiet = true;
        true
    }

    fn resume(&mut self, common: &mut Common) {
        self.quiet = false;
        if std::mem::take(&mut self.loaded) && common.has(feature::GUEST_ANNOUNCE | feature::CTRL_VQ) {
            self.announce = true;
            common.change_config();
        }
        self.pump(common);
    }

    fn save(&self) -> state::State {
        state::save(self)
    }

    fn load(&mut self, common: &mut Common, state: state::State) -> Result<(), StateError> {
        state::load(self, common, state)
    }

    fn inspect(&self, node: &mut Node) {
        node.value("mac", devices_core::net::format_mac(self.address)).value("link", self.link);
        node.value("buffers", self.buffers.len()).value("frame waits", self.frame.is_some());
        node.value("frame held", self.held.is_some());
        let Offloads { checksum, tso4, tso6, ecn } = self.allowed;
        node.value("left to the driver", format_args!("checksum {checksum}, TSO {tso4} {tso6}, ECN {ecn}"));
    }
}

impl Nic for VirtioPci<Net> {
    fn mac(&self) -> [u8; 6] {
        self.device().mac
    }
    fn link(&self) -> bool {
        self.device().link
    }
    fn set_link(&mut self, up: bool) {
        self.with(|card, common| {
            if card.link != up {
                card.link = up;
                common.change_config();
                card.pump(common);
            }
        });
    }
    fn rx_filter(&self) -> RxFilter {
        self.device().told.store(false, Ordering::Relaxed);
        self.device().filter.shown(self.device().address)
    }
}
