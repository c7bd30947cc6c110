//! Virtio network card (Virtio 1.3, 5.1), with as many pairs of queues as its backend has, and a control queue.
//!
//! Frames are pulled: the backend is asked for one only while the driver has given a buffer for it. One that the backend
//! has no room for waits in the card, and with it what comes after in its queue.
//!
//! Each queue of the backend's has its pair: which frame comes by which is the backend's to say, unless the driver spreads
//! them by hashes (RSS). Then a frame waits for a buffer of the pair that it is for, and with it what comes after by its
//! queue of the backend's; a pair whose queue the driver has stopped holds nobody up. The control queue is the
//! last one, and its number depends on whether the driver knows of several pairs (5.1.2): before it has said that, there
//! are all of them, as in QEMU.
//!
//! Checksums and the cutting up of packets are left to the other side where the backend knows how: as QEMU's, the card
//! offers neither with another. A frame that fits no buffer of a driver that cannot spread it is lost.
//!
//! Left out: segments of UDP, standby.

mod control;
mod filter;
pub mod model;
mod offload;
mod receive;
mod rss;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;
mod transmit;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use devices_core::events::{DeviceEvent, Observer};
use devices_core::model::Model;
use devices_core::net::{NetBackend, Nic, Offload, Offloads, RxFilter};
use devices_core::{Node, StateError, Timer, Wake, Wiring};

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::pci::VirtioPci;
use super::queue::Chain;
use super::spec::{device_id, feature as ring};
use crate::board::NicConfig;
use filter::Filter;
use rss::Hashing;
use spec::{
    CONTROL_SIZE, HASH_HEADER, HEADER, LEGACY_HEADER, PAIRS, config, feature, hash_type, rss as limits,
    status,
};

/// The number by which the backend wakes the card.
pub const CABLE: u32 = 0;
/// Wakes the card to go on with frames that one call left.
const GO_ON: u32 = 0;
/// Most frames that one call moves in one direction, of all pairs; and of each, where there are many.
const BURST: usize = 64;
const SHARE: usize = 4;

/// Features of a driver that knows of several pairs (5.1.2).
const SEVERAL: u64 = feature::MQ | feature::RSS;
/// Features of a card that knows of hashes.
const HASHES: u64 = feature::RSS | feature::HASH_REPORT;

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

/// A pair of queues.
#[derive(Default)]
struct Pair {
    /// Buffers that were taken for the next frame, which is `frame` if there is one.
    buffers: VecDeque<Chain>,
    frame: Option<(Vec<u8>, Offload)>,
    /// A frame that the backend had no room for.
    held: Option<(Chain, Vec<u8>, Offload)>,
}

/// What a queue is for.
enum Use {
    Receive(u16),
    Transmit(u16),
    Control,
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
    pairs: Vec<Pair>,
    /// How many of them are in use.
    in_use: u16,
    /// What the driver has said of hashes.
    hashing: Option<Hashing>,
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
        let pairs = if features & SEVERAL != 0 { backend.queues().clamp(1, PAIRS) } else { 1 };
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
            pairs: std::iter::repeat_with(Pair::default).take(pairs.into()).collect(),
            in_use: 1,
            hashing: None,
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
        match common.has(feature::HASH_REPORT) {
            true => HASH_HEADER,
            false if whole => HEADER,
            false => LEGACY_HEADER,
        }
    }

    /// What a queue is for, of those that there are now.
    fn purpose(&self, common: &Common, queue: u16) -> Use {
        let control = self.options.features & feature::CTRL_VQ != 0;
        match queue {
            last if control && last + 1 == common.queues() => Use::Control,
            even if even % 2 == 0 => Use::Receive(even / 2),
            odd => Use::Transmit(odd / 2),
        }
    }

    /// Has so many pairs used from now on. False: there are not so many.
    fn use_pairs(&mut self, pairs: u16) -> bool {
        let there_are = (1..=self.pairs.len()).contains(&usize::from(pairs));
        if there_are && std::mem::replace(&mut self.in_use, pairs) != pairs {
            self.backend.set_queues(pairs);
            // What is for no pair in use is lost, as is what waits in the backend (5.1.6.5.6).
            self.pairs[usize::from(pairs)..].iter_mut().for_each(|pair| pair.frame = None);
        }
        there_are
    }

    /// Goes on in both directions as far as one call may.
    fn pump(&mut self, common: &mut Common) {
        self.pump_pairs(common, 0..common.queues() / 2);
    }

    /// The same of some pairs.
    fn pump_pairs(&mut self, common: &mut Common, pairs: Range<u16>) {
        if self.quiet {
            return;
        }
        let share = (BURST / pairs.len().max(1)).max(SHARE);
        let mut all = true;
        for pair in pairs.clone() {
            all &= self.transmit(common, pair, share);
        }
        for pair in pairs.start..pairs.end.min(self.in_use) {
            all &= self.receive(common, pair, share);
        }
        if !all {
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
        self.queue_sizes_with(SEVERAL)
    }

    fn queue_sizes_with(&self, features: u64) -> Vec<u16> {
        let pairs = if features & SEVERAL != 0 { self.pairs.len() } else { 1 };
        let mut sizes = [self.options.rx_size, self.options.tx_size].repeat(pairs);
        if self.options.features & feature::CTRL_VQ != 0 {
            sizes.push(CONTROL_SIZE);
        }
        sizes
    }

    fn config_len(&self) -> usize {
        if self.options.features & HASHES != 0 { config::LEN_WITH_HASHES } else { config::LEN }
    }

    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        let mut bytes = [0; config::LEN_WITH_HASHES];
        bytes[config::MAC..config::STATUS].copy_from_slice(&self.address);
        bytes[config::STATUS..config::MAX_VIRTQUEUE_PAIRS].copy_from_slice(&self.status().to_le_bytes());
        let pairs = self.pairs.len() as u16;
        bytes[config::MAX_VIRTQUEUE_PAIRS..config::MTU].copy_from_slice(&pairs.to_le_bytes());
        bytes[config::MTU..config::SPEED].copy_from_slice(&self.options.mtu.unwrap_or(0).to_le_bytes());
        bytes[config::SPEED..config::RSS_MAX_KEY_SIZE].fill(0xff);
        bytes[config::RSS_MAX_KEY_SIZE] = limits::KEY;
        // One that only reports hashes has no table.
        let table = if self.options.features & feature::RSS != 0 { limits::TABLE } else { 1 };
        bytes[config::RSS_MAX_TABLE_LENGTH..config::SUPPORTED_HASH_TYPES]
            .copy_from_slice(&table.to_le_bytes());
        bytes[config::SUPPORTED_HASH_TYPES..].copy_from_slice(&hash_type::ALL.to_le_bytes());
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
        match self.purpose(common, queue) {
            Use::Control => {
                if self.control(common, queue) {
                    // The backend may have told of frames for a pair that was not in use.
                    self.pump(common);
                }
            }
            // What is for it may come by any queue of the backend's.
            Use::Receive(_) if self.hashing.as_ref().is_some_and(Hashing::spreads) => self.pump(common),
            Use::Receive(pair) | Use::Transmit(pair) => self.pump_pairs(common, pair..pair + 1),
        }
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
        self.pairs.iter_mut().for_each(|pair| *pair = Pair::default());
        self.use_pairs(1);
        self.hashing = None;
        (self.quiet, self.loaded) = (false, false);
    }

    fn reset_queue(&mut self, common: &mut Common, queue: u16) {
        match self.purpose(common, queue) {
            Use::Receive(pair) => self.pairs[usize::from(pair)].buffers.clear(),
            Use::Transmit(pair) => self.pairs[usize::from(pair)].held = None,
            Use::Control => {}
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
        for (number, pair) in self.pairs.iter().enumerate() {
            let node = if number == 0 { &mut *node } else { node.child(&format!("pair {number}")) };
            node.value("buffers", pair.buffers.len()).value("frame waits", pair.frame.is_some());
            node.value("frame held", pair.held.is_some());
        }
        if self.pairs.len() > 1 {
            node.value("pairs in use", self.in_use);
        }
        if let Some(hashing) = &self.hashing {
            node.value("hashes", format_args!("{hashing:x?}"));
        }
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
