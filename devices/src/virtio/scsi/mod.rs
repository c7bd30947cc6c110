//! Virtio SCSI host (Virtio 1.3, 5.6). What it does with the commands is the [SCSI core's](crate::storage::scsi).
//!
//! A command goes from its queue to its unit and comes back when the unit has ended it; a task management function is
//! answered when no byte moves any more for what it ended, since the driver then uses that memory for something else.
//!
//! As QEMU's: a request without its head or without room for the response breaks the device; a command with data both ways
//! fails; one that asks for more data than it brings memory for is an overrun; there is no ACA; no asynchronous
//! notifications.
//!
//! Left out: protection information, priorities and task attributes, events about parameters, since the size of a medium
//! does not change while it is there.

mod control;
pub mod model;
mod request;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::block::Tray;
use devices_core::model::Model;
use devices_core::wiring::Waker;
use devices_core::{DeviceCell, Node, StateError, Wake};

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::pci::VirtioPci;
use super::queue::{Broken, Chain, len, write_at};
use super::spec::device_id;
use crate::storage::scsi::{Address, LUN_MAX, NoPlace, ScsiBus, ScsiHost, Taken, UnitOptions};
use control::Waiting;
use request::Context;
use spec::{config, event, feature, queue};

/// Most commands that are worked on at once; the rest waits in the queues.
const IN_FLIGHT: usize = 256;
/// Most functions that wait for what they ended.
const WAITING: usize = 64;
/// Most chains whose memory is kept for the next.
const SPARE: usize = 32;

/// What a host is made with.
pub struct Options {
    /// Queues with commands.
    pub queues: u16,
    /// Elements of each, a power of two.
    pub queue_size: u16,
    /// Most sectors that a command moves, as it says.
    pub max_sectors: u32,
    /// Most commands with one unit, as it says.
    pub cmd_per_lun: u32,
    /// The guest can hear of units that come and go.
    pub hotplug: bool,
    /// And of parameters that change.
    pub param_change: bool,
    /// What it is an instance of.
    pub model: &'static Model,
}

/// The host.
pub struct Scsi {
    options: Options,
    bus: ScsiBus<Context>,
    /// Task management functions that wait for what they ended.
    waiting: Vec<Waiting>,
    /// Bytes of a command and of sense data, as the driver wants them.
    cdb_size: u32,
    sense_size: u32,
    /// The driver had no buffer for an event.
    missed: bool,
    /// Requests were left in queues.
    full: bool,
    /// Nothing new is started.
    quiet: bool,
    spare: Vec<Chain>,
}

impl Scsi {
    /// A host with no units, whose media wake it so.
    pub fn new(options: Options, waker: Waker) -> Scsi {
        Scsi {
            options,
            bus: ScsiBus::new(waker),
            waiting: Vec::new(),
            cdb_size: spec::CDB_SIZE,
            sense_size: spec::SENSE_SIZE,
            missed: false,
            full: false,
            quiet: false,
            spare: Vec::new(),
        }
    }

    /// Puts a unit there, of which a driver that runs hears. Gives its tray, if it has one.
    ///
    /// # Errors
    /// There is one already.
    pub fn plug(
        &mut self,
        common: &mut Common,
        address: Address,
        unit: UnitOptions,
    ) -> Result<Option<Tray>, Taken> {
        let tray = self.bus.plug(address, unit)?;
        self.came_or_went(common, address, event::RESCAN);
        Ok(tray)
    }

    /// Takes a unit away, of which a driver that runs hears. False: there is none.
    pub fn unplug(&mut self, common: &mut Common, address: Address) -> bool {
        let there = self.bus.unplug(address);
        if there {
            self.came_or_went(common, address, event::REMOVED);
            self.deliver(common);
        }
        there
    }

    fn came_or_went(&mut self, common: &mut Common, address: Address, reason: u32) {
        if common.is_set_up() && common.has(feature::HOTPLUG) {
            self.bus.units_changed(address);
            let Address { target, lun } = address;
            let [high, low] = if lun < 256 { lun } else { 0x4000 | lun }.to_be_bytes();
            self.tell(common, event::TRANSPORT_RESET, [1, target, high, low, 0, 0, 0, 0], reason);
        }
    }

    /// Tells the driver of an event, if it has a buffer for it.
    fn tell(&mut self, common: &mut Common, kind: u32, lun: [u8; 8], reason: u32) {
        let mut chain = Chain::default();
        if !common.pop(queue::EVENT, &mut chain) {
            self.missed = true;
            return;
        }
        if len(&chain.writable) < event::LEN as u64 {
            return common.fail(Broken("a buffer for SCSI events is too short"));
        }
        let missed = if std::mem::take(&mut self.missed) { event::MISSED } else { 0 };
        let bytes = [&(kind | missed).to_le_bytes()[..], &lun, &reason.to_le_bytes()].concat();
        let written = write_at(common.dma(), &chain.writable, 0, &bytes).unwrap_or(0);
        common.push(queue::EVENT, &chain, written as u32);
    }

    /// Takes what a queue has, as far as there is room.
    fn serve(&mut self, common: &mut Common, number: u16) {
        if self.quiet {
            return;
        }
        loop {
            common.disable_notification(number);
            loop {
                if self.is_full(number) {
                    self.full = true;
                    return;
                }
                let mut chain = self.spare.pop().unwrap_or_default();
                if !common.pop(number, &mut chain) {
                    self.keep(chain);
                    break;
                }
                match number {
                    queue::CONTROL => self.control(common, chain),
                    _ => self.begin(common, number, chain),
                }
                self.deliver(common);
            }
            if !common.enable_notification(number) {
                return;
            }
        }
    }

    fn is_full(&self, number: u16) -> bool {
        match number {
            queue::CONTROL => self.waiting.len() >= WAITING,
            _ => self.bus.in_flight() >= IN_FLIGHT,
        }
    }

    fn keep(&mut self, chain: Chain) {
        if self.spare.len() < SPARE {
            self.spare.push(chain);
        }
    }

    /// What the media have answered, and what may go on for that.
    fn completions(&mut self, common: &mut Common) {
        self.bus.completions(common.dma());
        self.deliver(common);
        if std::mem::take(&mut self.full) {
            (0..common.queues()).filter(|&number| number != queue::EVENT).for_each(|n| self.serve(common, n));
        }
    }

    /// Gives back what has ended: commands, then the functions that ended them.
    fn deliver(&mut self, common: &mut Common) {
        while let Some((context, outcome)) = self.bus.take_ended() {
            self.end(common, context, outcome);
        }
        self.answer_waiting(common);
    }
}

impl ScsiHost for DeviceCell<VirtioPci<Scsi>> {
    fn plug(
        &self,
        target: Option<u8>,
        lun: Option<u16>,
        unit: UnitOptions,
    ) -> Result<(Address, Option<Tray>), NoPlace> {
        self.lock().with(|scsi, common| {
            let address = scsi.bus.choose(target, lun).ok_or(Taken)?;
            Ok((address, scsi.plug(common, address, unit)?))
        })
    }

    fn unplug(&self, at: Address) {
        self.lock().with(|scsi, common| scsi.unplug(common, at));
    }

    fn has_left(&self, at: Address) -> bool {
        let (left, still) = self.lock().with(|scsi, _| (scsi.bus.take_left(), scsi.bus.is_leaving(at)));
        drop(left);
        !still
    }
}

impl VirtioDevice for Scsi {
    type State = state::State;

    const KIND: &'static str = "virtio-scsi";

    fn model(&self) -> Option<&'static Model> {
        Some(self.options.model)
    }

    fn identity(&self) -> Identity {
        Identity { id: device_id::SCSI, transitional: Some(0x1004), class: 0x01_00_00 }
    }

    fn features(&self) -> u64 {
        let when = |on: bool, bits| if on { bits } else { 0 };
        when(self.options.hotplug, feature::HOTPLUG) | when(self.options.param_change, feature::CHANGE)
    }

    fn queue_sizes(&self) -> Vec<u16> {
        vec![self.options.queue_size; usize::from(queue::REQUEST + self.options.queues)]
    }

    fn config_len(&self) -> usize {
        config::LEN
    }

    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        let Options { queues, queue_size, max_sectors, cmd_per_lun, .. } = self.options;
        let mut bytes = [0; config::LEN];
        for (at, value) in [
            (config::NUM_QUEUES, queues.into()),
            (config::SEG_MAX, u32::from(queue_size) - 2),
            (config::MAX_SECTORS, max_sectors),
            (config::CMD_PER_LUN, cmd_per_lun),
            (config::EVENT_INFO_SIZE, event::LEN as u32),
            (config::SENSE_SIZE, self.sense_size),
            (config::CDB_SIZE, self.cdb_size),
            // No channel but 0, and above it the highest target.
            (config::MAX_CHANNEL, u32::from(u8::MAX) << 16),
            (config::MAX_LUN, LUN_MAX.into()),
        ] {
            bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        for (to, from) in data.iter_mut().zip(bytes.iter().skip(offset)) {
            *to = *from;
        }
    }

    fn write_config(&mut self, common: &mut Common, offset: usize, data: &[u8]) {
        let changed = |at: usize, now: u32| {
            let mut bytes = now.to_le_bytes();
            for (byte, at) in bytes.iter_mut().zip(at..) {
                *byte = at.checked_sub(offset).and_then(|at| data.get(at)).copied().unwrap_or(*byte);
            }
            u32::from_le_bytes(bytes)
        };
        let sense_size = changed(config::SENSE_SIZE, self.sense_size);
        let cdb_size = changed(config::CDB_SIZE, self.cdb_size);
        if sense_size > spec::SENSE_SIZE_MAX || cdb_size > spec::CDB_SIZE_MAX {
            return common.fail(Broken("commands or sense data of that size are not possible"));
        }
        (self.sense_size, self.cdb_size) = (sense_size, cdb_size);
    }

    fn notified(&mut self, common: &mut Common, number: u16) {
        match number {
            queue::EVENT if self.missed => self.tell(common, event::NO_EVENT, [0; 8], 0),
            queue::EVENT => {}
            _ => self.serve(common, number),
        }
    }

    fn wake(&mut self, common: &mut Common, why: Wake) {
        if matches!(why, Wake::Backend(_)) {
            self.completions(common);
        }
    }

    fn reset(&mut self) {
        self.bus.reset();
        self.waiting.clear();
        (self.cdb_size, self.sense_size) = (spec::CDB_SIZE, spec::SENSE_SIZE);
        (self.missed, self.full, self.quiet) = (false, false, false);
    }

    fn reset_queue(&mut self, common: &mut Common, number: u16) {
        self.bus.forget(|context| context.queue == number);
        if number == queue::CONTROL {
            self.waiting.clear();
        }
        self.completions(common);
    }

    fn drained(&self) -> bool {
        self.bus.drained()
    }

    fn stop(&mut self, common: &mut Common) {
        self.bus.hasten();
        self.completions(common);
    }

    fn is_idle(&self) -> bool {
        self.bus.idle()
    }

    fn quiesce(&mut self, common: &mut Common) -> bool {
        self.quiet = true;
        self.completions(common);
        self.is_idle()
    }

    fn resume(&mut self, common: &mut Common) {
        self.quiet = false;
        self.completions(common);
    }

    fn save(&self) -> state::State {
        state::save(self)
    }

    fn load(&mut self, common: &mut Common, state: state::State) -> Result<(), StateError> {
        state::load(self, common, state)
    }

    fn inspect(&self, node: &mut Node) {
        node.value("command bytes", self.cdb_size).value("sense bytes", self.sense_size);
        node.value("waiting functions", self.waiting.len()).value("events missed", self.missed);
        self.bus.inspect(node.child("bus"));
    }
}
