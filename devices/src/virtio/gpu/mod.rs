//! Virtio GPU (Virtio 1.3, 5.7) in two dimensions: the driver makes resources, tells where their pixels are in its
//! memory, has parts of them copied, and says which part of which one a head shows. `command` has the commands, `heads`
//! what is seen.
//!
//! All resources and what is known of their backing take at most `max_hostmem`. A picture that somebody is just looking
//! at is there until he has seen it, though its resource is gone.
//!
//! Left out: 3D (`virgl`), blobs, contexts and UUIDs of resources, which are not offered. No side of a resource has more
//! than 16384 pixels. A pointer is drawn into the picture. What QEMU does beyond the letter is done, too: a head shows no
//! resource without backing, and of a transfer is copied what the backing has.

mod backing;
mod command;
mod heads;
mod image;
pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;
pub mod vga;

use std::collections::BTreeMap;
use std::sync::Arc;

use devices_core::model::Model;
use devices_core::picture::DisplayAdapter;
use devices_core::{Node, StateError, Timer, Wake, Wiring};
use hypervisor::RamBlock;

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::queue::Chain;
use super::spec::device_id;
use backing::{Backing, VideoMemory};
use heads::{Eye, Heads};
use image::Image;
use spec::{EVENT_DISPLAY, QUEUE_SIZES, SCANOUTS_MAX, config, feature, queue};
pub use state::State;

/// Most requests of one call.
const BURST: usize = 16;
/// Bytes of transfers after which a call takes no further request.
const WORK: u64 = 16 << 20;
/// Number of the timer by which it goes on with requests that one call left.
const GO_ON: u32 = 0;

/// What a resource takes beside pixels and backing.
const RESOURCE_COST: u64 = 256;

/// How a device is made.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Heads, from 1 to 16.
    pub outputs: usize,
    /// The driver can ask for monitors' EDIDs.
    pub edid: bool,
    /// What a monitor likes best, in pixels; each from 1 to 16384.
    pub size: (u32, u32),
    /// Most bytes of all resources.
    pub max_hostmem: u64,
    /// PCI class.
    pub class: u32,
    /// What it is an instance of.
    pub model: &'static Model,
}

/// A resource.
struct Resource {
    image: Arc<Image>,
    backing: Option<Backing>,
}

impl Resource {
    /// Bytes that it takes.
    fn cost(&self) -> u64 {
        let backing = self.backing.as_ref().map_or(0, |backing| Backing::cost(backing.entries()));
        Image::bytes(self.image.size()) + backing + RESOURCE_COST
    }
}

/// The device.
pub struct Gpu {
    options: Options,
    wiring: Wiring,
    go_on: Timer,
    goes_on: Option<u64>,
    resources: BTreeMap<u32, Resource>,
    /// Bytes that they take.
    hostmem: u64,
    heads: Arc<Heads>,
    /// Of a VGA, in which backing may be, too.
    video: Option<VideoMemory>,
    /// What has happened and the driver has not heard.
    events: u32,
    /// Bytes that were copied in this call.
    work: u64,
    chain: Chain,
    quiet: bool,
}

impl Gpu {
    /// A device with a monitor at its first head.
    pub fn new(options: Options, wiring: &Wiring) -> Gpu {
        assert!((1..=SCANOUTS_MAX).contains(&options.outputs), "a GPU has 1 to 16 heads");
        Gpu {
            options,
            wiring: wiring.clone(),
            go_on: wiring.timer(GO_ON),
            goes_on: None,
            resources: BTreeMap::new(),
            hostmem: 0,
            heads: Arc::new(Heads::new(options.outputs, options.size)),
            video: None,
            events: 0,
            work: 0,
            chain: Chain::default(),
            quiet: false,
        }
    }

    /// The same, beside a VGA with that memory.
    fn with_video_memory(self, block: RamBlock) -> Gpu {
        Gpu { video: Some(VideoMemory { at: 0, block }), ..self }
    }

    /// The guest has put the VGA's memory there; 0: nowhere.
    fn place_video_memory(&mut self, at: u64) {
        self.video.iter_mut().for_each(|video| video.at = at);
    }

    /// A way to look at its heads.
    pub fn display(&self) -> Arc<dyn DisplayAdapter> {
        Arc::new(Eye(self.heads.clone()))
    }

    /// The first head's monitor has another size now.
    fn resize(&mut self, common: &mut Common, size: (u32, u32)) {
        let has = |head: &heads::Head| head.connected && head.wanted == size;
        if !self.heads.lock().first().is_some_and(has) {
            self.connect(common, 0, size);
        }
    }

    /// A monitor of that size, each side from 1 to 16384, is connected to a head. The driver hears of it, and asks.
    pub fn connect(&mut self, common: &mut Common, head: usize, wanted: (u32, u32)) {
        let bound = |side: u32| side.clamp(1, image::SIDE_MAX);
        if let Some(head) = self.heads.lock().get_mut(head) {
            (head.connected, head.wanted) = (true, (bound(wanted.0), bound(wanted.1)));
            self.events |= EVENT_DISPLAY;
            common.change_config();
        }
    }

    /// Takes a queue's requests. False: there may be more.
    fn serve(&mut self, common: &mut Common, number: u16) -> bool {
        let mut chain = std::mem::take(&mut self.chain);
        let mut done = false;
        for _ in 0..BURST {
            if self.work > WORK {
                break;
            }
            if !common.pop(number, &mut chain) {
                if common.enable_notification(number) {
                    continue;
                }
                done = true;
                break;
            }
            let written = match number {
                queue::CURSOR => self.point(common, &chain),
                _ => self.control(common, &chain),
            };
            common.push(number, &chain, written);
        }
        self.chain = chain;
        done
    }

    fn serve_all(&mut self, common: &mut Common, queues: &[u16]) {
        if self.quiet {
            return;
        }
        self.work = 0;
        let mut done = true;
        for number in queues {
            done &= self.serve(common, *number);
        }
        if !done {
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

    /// Whether so many bytes more may be taken.
    fn has_room(&self, more: u64) -> bool {
        self.hostmem.saturating_add(more) <= self.options.max_hostmem
    }

    fn config(&self) -> [u8; config::LEN] {
        let mut all = [0; config::LEN];
        all[config::EVENTS_READ..][..4].copy_from_slice(&self.events.to_le_bytes());
        all[config::NUM_SCANOUTS..][..4].copy_from_slice(&(self.options.outputs as u32).to_le_bytes());
        all
    }

    /// No resources; the heads show nothing.
    fn clear(&mut self) {
        self.resources.clear();
        self.hostmem = 0;
        self.heads.set_used(false);
        for head in self.heads.lock().iter_mut() {
            head.show(None);
            head.point(heads::Cursor::default());
        }
    }
}

impl VirtioDevice for Gpu {
    type State = State;

    const KIND: &'static str = "virtio-gpu";

    fn model(&self) -> Option<&'static Model> {
        Some(self.options.model)
    }
    fn identity(&self) -> Identity {
        Identity { id: device_id::GPU, transitional: None, class: self.options.class }
    }
    fn features(&self) -> u64 {
        if self.options.edid { feature::EDID } else { 0 }
    }
    fn queue_sizes(&self) -> Vec<u16> {
        QUEUE_SIZES.to_vec()
    }
    fn config_len(&self) -> usize {
        config::LEN
    }
    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        let all = self.config();
        data.iter_mut().zip(all.iter().skip(offset)).for_each(|(to, from)| *to = *from);
    }
    fn write_config(&mut self, _common: &mut Common, offset: usize, data: &[u8]) {
        let mut heard = [0; 4];
        for (at, byte) in (offset..).zip(data) {
            if let Some(to) = at.checked_sub(config::EVENTS_CLEAR).and_then(|at| heard.get_mut(at)) {
                *to = *byte;
            }
        }
        self.events &= !u32::from_le_bytes(heard);
    }

    fn notified(&mut self, common: &mut Common, number: u16) {
        self.serve_all(common, &[number]);
    }
    fn wake(&mut self, common: &mut Common, why: Wake) {
        let is_due = self.goes_on.is_some_and(|deadline| deadline <= self.wiring.now());
        if why == Wake::Timer(GO_ON) && is_due {
            self.set_go_on(None);
            self.serve_all(common, &[queue::CONTROL, queue::CURSOR]);
        }
    }
    fn reset(&mut self) {
        self.set_go_on(None);
        self.quiet = false;
        // What the host has changed stays so, and to be told.
        self.clear();
    }
    fn quiesce(&mut self, _common: &mut Common) -> bool {
        self.quiet = true;
        true
    }
    fn resume(&mut self, _common: &mut Common) {
        self.quiet = false;
    }

    fn save(&self) -> State {
        state::save(self)
    }
    fn load(&mut self, common: &mut Common, state: State) -> Result<(), StateError> {
        state::load(self, common, state)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("memory", format_args!("{} of {}", self.hostmem, self.options.max_hostmem));
        node.value("resources", self.resources.len()).hex("events", self.events);
        for (number, head) in self.heads.lock().iter().enumerate() {
            let child = node.child(&format!("head {number}"));
            let (width, height) = head.wanted;
            child.value("monitor", head.connected).value("wanted", format_args!("{width}x{height}"));
            if let Some(scanout) = head.scanout() {
                let heads::Rect { x, y, width, height } = scanout.rect;
                child.value("resource", scanout.resource);
                child.value("part", format_args!("{width}x{height}+{x}+{y}"));
            }
        }
    }
}
