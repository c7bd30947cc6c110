//! Virtio devices whose requests another process serves (vhost-user; Virtio 1.3, 5, for the types).
//!
//! The transport and the queues are ours: requests are taken from the driver's queues and handed to the
//! [back end](VhostUser), and what it has carried out is given back. So the driver may be of any kind, and at any instant it
//! is known what is in flight: when a back end goes and another comes, it is given to that one, in its order; when the
//! guest is saved, too.
//!
//! One that keeps a state which the guest relies on (virtiofsd: inodes, open files) cannot be followed by another that
//! knows nothing of it: what was in flight fails, as does what comes before the next is there. What a guest has mounted
//! of it fails from then on, too, until it is mounted anew. It is saved with its state, if it gives that, and else not.

pub mod kinds;
pub mod model;
mod state;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use devices_core::model::Model;
use devices_core::vhost_user::{Needs, Stop, Submitted, VhostUser, mark_written};
use devices_core::{Node, StateError, Wake};
use hypervisor::GuestRam;

use super::common::Common;
use super::device::{Identity, VirtioDevice};
use super::queue::{Broken, Chain};
use kinds::{Config, Kind};

/// The number by which the back end wakes the device.
pub const BACK_END: u32 = 0;

/// Most chains whose memory is kept for the next.
const SPARE: usize = 32;

/// What a device is made with.
pub struct Options {
    /// Its type.
    pub kind: Kind,
    /// What it is an instance of.
    pub model: &'static Model,
    /// Queues, all of which the driver sees.
    pub queues: u16,
    /// Elements of each, a power of two.
    pub queue_size: u16,
    /// Features that it does not offer, whatever the back end has.
    pub without: u64,
    /// What stands in the configuration where the back end does not have it: place and bytes.
    pub config: (usize, Vec<u8>),
}

impl Options {
    /// What it needs of its back end.
    pub fn needs(&self) -> Needs {
        Needs {
            queues: self.queues - self.kind.own_queues,
            queue_size: self.queue_size,
            config: self.kind.config.of_back_end(),
            features: self.kind.features & !self.without,
            stateful: self.kind.stateful(),
        }
    }
}

/// A request that the back end has.
struct Sent {
    /// In which turn it was taken from its queue.
    turn: u64,
    chain: Chain,
}

/// What is in flight of one queue.
#[derive(Default)]
struct Flight {
    /// By the back end's number.
    sent: Vec<Option<Sent>>,
    /// What the back end has not taken yet, in its order.
    again: VecDeque<Sent>,
    /// What was carried out, and the driver does not know of.
    done: VecDeque<(Chain, u32)>,
}

impl Flight {
    /// All that is not carried out is to be sent anew, in the order in which it was taken.
    fn renew(&mut self) {
        let mut all: Vec<Sent> = self.sent.iter_mut().filter_map(Option::take).collect();
        all.extend(self.again.drain(..));
        all.sort_by_key(|sent| sent.turn);
        self.again = all.into();
    }

    fn clear(&mut self) {
        *self = Flight::default();
    }

    /// Whether something is with the back end that it has to answer. Buffers for what may come are not.
    fn awaits_answers(&self) -> bool {
        self.sent.iter().flatten().any(|sent| !sent.chain.readable.is_empty())
    }

    fn len(&self) -> usize {
        self.sent.iter().flatten().count() + self.again.len() + self.done.len()
    }
}

/// The device.
pub struct Device {
    options: Options,
    ram: GuestRam,
    back_end: Arc<dyn VhostUser>,
    /// The back end to which `sent` was sent.
    incarnation: u64,
    flights: Vec<Flight>,
    turn: u64,
    /// It was told to begin.
    started: bool,
    /// It stands until it has stopped, and then begins anew.
    restarts: bool,
    /// The back end has gone since it last began.
    lost: bool,
    /// Nothing new is started.
    quiet: bool,
    /// It was told to stop for a save.
    saving: bool,
    spare: Vec<Chain>,
}

impl Device {
    /// A device for a guest of that memory.
    pub fn new(options: Options, ram: GuestRam, back_end: Arc<dyn VhostUser>) -> Device {
        let flights = (0..options.needs().queues).map(|_| Flight::default()).collect();
        Device {
            options,
            ram,
            back_end,
            incarnation: 0,
            flights,
            turn: 0,
            started: false,
            restarts: false,
            lost: false,
            quiet: false,
            saving: false,
            spare: Vec::new(),
        }
    }

    fn in_flight(&self) -> usize {
        self.flights.iter().map(Flight::len).sum()
    }

    /// Has the back end begin, if the driver is there.
    fn start(&mut self, common: &Common) {
        if !self.started && !self.quiet && common.is_running() {
            self.started = true;
            self.back_end.start(common.features());
        }
    }

    /// Whether requests fail for want of a back end that knows them.
    fn fails(&self) -> bool {
        self.options.kind.stateful() && !self.back_end.is_connected()
    }

    /// What the back end says of itself.
    fn follow(&mut self, common: &mut Common) {
        self.lost |= !self.back_end.is_connected();
        if self.back_end.incarnation() != self.incarnation {
            self.incarnation = self.back_end.incarnation();
            self.flights.iter_mut().for_each(Flight::renew);
            let lost = std::mem::take(&mut self.lost);
            if lost && self.options.kind.stateful() {
                self.fail(common);
            }
            if lost {
                self.announce(common);
            }
        } else if self.fails() {
            self.flights.iter_mut().for_each(Flight::renew);
            self.fail(common);
        }
    }

    /// What was in flight comes to nothing. Buffers for what may come stay.
    fn fail(&mut self, common: &Common) {
        let answer = self.options.kind.failure;
        for flight in &mut self.flights {
            let (failed, kept) = flight.again.drain(..).partition(|sent| !sent.chain.readable.is_empty());
            flight.again = kept;
            let failed: VecDeque<Sent> = failed;
            flight.done.extend(failed.into_iter().map(|Sent { chain, .. }| {
                let written = answer.map_or(0, |answer| answer(common.dma(), &chain));
                (chain, written)
            }));
        }
    }

    /// Tells the driver that what it had with the back end is gone, if the type has a word for it.
    fn announce(&mut self, common: &mut Common) {
        let Some((queue, event)) = self.options.kind.lost_event else { return };
        let mut chain = self.spare.pop().unwrap_or_default();
        if common.pop(queue, &mut chain) {
            let written = super::queue::write_at(common.dma(), &chain.writable, 0, event).unwrap_or(0);
            common.push(queue, &chain, written as u32);
        }
        self.keep(chain);
    }

    /// Takes what the back end has carried out, and gives it back as far as the driver takes it. Whether there was any.
    fn harvest(&mut self, common: &mut Common) -> bool {
        let mut any = false;
        while let Some(used) = self.back_end.used() {
            let flight = self.flights.get_mut(usize::from(used.queue));
            let Some(flight) = flight else { continue };
            let sent = flight.sent.get_mut(usize::from(used.token)).and_then(Option::take);
            if let Some(Sent { chain, .. }) = sent {
                // All of it: how much it says that it wrote is only what it says.
                mark_written(&self.ram, &chain.writable);
                flight.done.push_back((chain, used.written));
                any = true;
            }
        }
        for queue in 0..self.flights.len() {
            while common.is_running() {
                let Some((chain, written)) = self.flights[queue].done.pop_front() else { break };
                common.push(queue as u16, &chain, written);
                self.keep(chain);
            }
        }
        any
    }

    fn keep(&mut self, chain: Chain) {
        if self.spare.len() < SPARE {
            self.spare.push(chain);
        }
    }

    /// Gives the back end what a queue has, as far as it takes it.
    fn serve(&mut self, common: &mut Common, queue: u16) {
        let mut any = false;
        if usize::from(queue) < self.flights.len() && !self.quiet {
            while self.give_all(common, queue, &mut any) && common.enable_notification(queue) {}
        }
        if any {
            self.back_end.kick(queue);
        }
    }

    /// Likewise, once. False: there is no more room.
    fn give_all(&mut self, common: &mut Common, queue: u16, any: &mut bool) -> bool {
        common.disable_notification(queue);
        loop {
            let Some(sent) = self.next(common, queue) else { return true };
            let Sent { chain, .. } = &sent;
            let given = self.back_end.submit(self.incarnation, queue, &chain.readable, &chain.writable);
            let Some(flight) = self.flights.get_mut(usize::from(queue)) else { return false };
            match given {
                Submitted::Token(token) => {
                    let token = usize::from(token);
                    if flight.sent.len() <= token {
                        flight.sent.resize_with(token + 1, || None);
                    }
                    flight.sent[token] = Some(sent);
                    *any = true;
                }
                Submitted::Full => {
                    flight.again.push_front(sent);
                    if self.fails() {
                        self.fail(common);
                        self.harvest(common);
                        continue;
                    }
                    return false;
                }
                Submitted::TooLong => {
                    common.fail(Broken("a request has more buffers than its queue has places"));
                    return false;
                }
            }
        }
    }

    /// The request that is to be given next.
    fn next(&mut self, common: &mut Common, queue: u16) -> Option<Sent> {
        let again = self.flights.get_mut(usize::from(queue))?.again.pop_front();
        if again.is_some() {
            return again;
        }
        let mut chain = self.spare.pop().unwrap_or_default();
        if !common.pop(queue, &mut chain) {
            self.keep(chain);
            return None;
        }
        self.turn += 1;
        Some(Sent { turn: self.turn, chain })
    }

    /// It has news, or there may be some.
    fn turn(&mut self, common: &mut Common) {
        self.follow(common);
        self.harvest(common);
        if std::mem::take(&mut self.restarts) {
            self.restarts = !self.back_end.is_stopped();
            self.started = self.restarts;
        }
        if self.in_flight() > 0 {
            self.start(common);
        }
        (0..self.flights.len() as u16).for_each(|queue| self.serve(common, queue));
    }

    /// It is to stand, and what is in flight to be given to it anew when it begins.
    fn pause(&mut self, why: Stop) {
        self.back_end.stop(why);
        self.started = false;
    }
}

impl VirtioDevice for Device {
    type State = state::State;

    const KIND: &'static str = "vhost-user";

    fn model(&self) -> Option<&'static Model> {
        Some(self.options.model)
    }
    fn identity(&self) -> Identity {
        self.options.kind.identity
    }
    fn features(&self) -> u64 {
        let Options { kind, without, .. } = &self.options;
        (self.back_end.features() & kind.features | kind.own_features) & !without
    }
    fn queue_sizes(&self) -> Vec<u16> {
        vec![self.options.queue_size; usize::from(self.options.queues)]
    }
    fn config_len(&self) -> usize {
        self.options.kind.config.len()
    }
    fn read_config(&self, _common: &Common, offset: usize, data: &mut [u8]) {
        self.back_end.read_config(offset, data);
        let (place, own) = &self.options.config;
        for (at, byte) in (*place..).zip(own) {
            if let Some(to) = at.checked_sub(offset).and_then(|at| data.get_mut(at)) {
                *to = *byte;
            }
        }
    }
    fn write_config(&mut self, common: &mut Common, offset: usize, data: &[u8]) {
        let Config::BackEnd { writable, needs, .. } = &self.options.kind.config else { return };
        let inside = writable.start <= offset && offset.saturating_add(data.len()) <= writable.end;
        if inside && common.has(*needs) {
            self.back_end.write_config(offset, data);
        }
    }

    fn ready(&mut self, common: &mut Common) {
        self.start(common);
    }
    fn notified(&mut self, common: &mut Common, queue: u16) {
        self.start(common);
        self.follow(common);
        self.serve(common, queue);
        // It may be quick, and what it has done already needs no interrupt of its own.
        if self.harvest(common) {
            self.serve(common, queue);
        }
    }
    fn wake(&mut self, common: &mut Common, why: Wake) {
        if why != Wake::Backend(BACK_END) {
            return;
        }
        if self.back_end.take_config_change() {
            common.change_config();
        }
        self.turn(common);
    }
    fn reset(&mut self) {
        self.flights.iter_mut().for_each(Flight::clear);
        self.pause(Stop::Reset);
        (self.restarts, self.lost, self.quiet, self.saving) = (false, false, false, false);
    }
    fn reset_queue(&mut self, common: &mut Common, queue: u16) {
        // There is no word for one queue: all stand, and the others go on.
        if let Some(flight) = self.flights.get_mut(usize::from(queue)) {
            flight.clear();
            if self.started {
                self.pause(Stop::Pause);
                self.restarts = true;
                self.turn(common);
            }
        }
    }
    fn drained(&self) -> bool {
        self.started || self.back_end.is_stopped()
    }
    fn stop(&mut self, _common: &mut Common) {
        self.pause(Stop::Pause);
    }
    fn is_idle(&self) -> bool {
        self.started || self.back_end.is_stopped()
    }
    fn quiesce(&mut self, common: &mut Common) -> bool {
        self.quiet = true;
        self.follow(common);
        self.harvest(common);
        // What nobody is there to answer is kept, and given to whoever comes.
        let awaits = self.flights.iter().any(Flight::awaits_answers);
        if !self.saving && awaits && self.back_end.is_connected() {
            return false;
        }
        if !self.saving {
            self.saving = true;
            self.pause(Stop::Save);
        }
        if !self.back_end.is_stopped() {
            return false;
        }
        self.harvest(common);
        true
    }
    fn resume(&mut self, common: &mut Common) {
        (self.quiet, self.saving) = (false, false);
        self.turn(common);
    }

    fn can_be_saved(&self) -> Result<(), StateError> {
        match self.back_end.saved() {
            Err(why) if self.options.kind.stateful() => Err(StateError::Invalid(why)),
            _ => Ok(()),
        }
    }
    fn save(&self) -> state::State {
        state::save(self)
    }
    fn load(&mut self, common: &mut Common, state: state::State) -> Result<(), StateError> {
        state::load(self, common, state)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("back end", self.back_end.describe()).value("incarnation", self.incarnation);
        for (queue, flight) in self.flights.iter().enumerate() {
            let Flight { sent, again, done } = flight;
            let sent = sent.iter().flatten().count();
            let child = node.child(&format!("flight {queue}"));
            child.value("sent", sent).value("to be sent", again.len()).value("carried out", done.len());
        }
    }
}
