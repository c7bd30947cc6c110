//! Another process that serves a virtio device's requests (vhost-user), as the device sees it.
//!
//! The back end has queues of its own, which no guest sees: the device takes requests from the driver's queues and gives
//! them to it one by one, and gives back what it has used. So the driver may have queues of any layout, the device knows
//! what is in flight at any instant, and whatever the back end writes into the guest's RAM is
//! [marked](mark_written) before the driver hears of it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use hypervisor::GuestRam;
use vm_memory::bitmap::Bitmap;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::block::Segment;

/// What a device needs of its back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Queues.
    pub queues: u16,
    /// Elements of each, a power of two.
    pub queue_size: u16,
    /// Bytes of configuration that the back end has; 0: the device has all itself.
    pub config: usize,
    /// Features of the device type that the device knows.
    pub features: u64,
    /// The back end's state is part of the guest's: it cannot be replaced by another that knows nothing.
    pub stateful: bool,
}

/// A request that the back end has carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// In which queue.
    pub queue: u16,
    /// Which one it was: [`VhostUser::submit`] has told.
    pub token: u16,
    /// Bytes that it wrote, at most as many as there was room for.
    pub written: u32,
}

/// What became of a request that was to be submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// The back end has it, under this number, which is free again when it is [used](Used).
    Token(u16),
    /// There is no room, or no back end, now.
    Full,
    /// It has more buffers than a queue has elements: there never is room.
    TooLong,
}

/// Why the back end is to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The driver has reset the device: nothing that is in flight matters any more.
    Reset,
    /// Nothing may move for now. What was carried out is still to be had.
    Pause,
    /// Likewise, and the back end's state is to be saved.
    Save,
}

/// A back end. Nothing here blocks: a thread of the back end's talks to the other process, and wakes the device
/// ([`crate::Wake::Backend`]) when requests were used, when there is room or a back end where there was none, when the
/// configuration has changed, and when it has stopped. It holds none of its own locks then.
pub trait VhostUser: Send + Sync {
    /// Features of the device type that the back end has.
    fn features(&self) -> u64;

    /// It is to begin, for a driver that has accepted these features. Nothing happens if it has begun.
    fn start(&self, features: u64);

    /// Which back end, or which begin of its, it is: when the number changes, nothing of what was submitted before is in
    /// flight any more. What was not used is submitted anew. 0: there was none yet.
    fn incarnation(&self) -> u64;

    /// Whether a back end is there.
    fn is_connected(&self) -> bool;

    /// Gives that incarnation a request. It sees it at once, and hears of it by [`kick`](VhostUser::kick).
    fn submit(&self, incarnation: u64, queue: u16, readable: &[Segment], writable: &[Segment]) -> Submitted;

    /// There are new requests in that queue.
    fn kick(&self, queue: u16);

    /// The next request that was carried out.
    fn used(&self) -> Option<Used>;

    /// It is to stop: see [`is_stopped`](VhostUser::is_stopped).
    fn stop(&self, why: Stop);

    /// Whether no byte moves any more: it has stopped, or is not there.
    fn is_stopped(&self) -> bool;

    /// Reads its configuration; `data` has zeros in it, which is what lies beyond the end.
    fn read_config(&self, offset: usize, data: &mut [u8]);

    /// Writes it.
    fn write_config(&self, offset: usize, data: &[u8]);

    /// Whether the configuration has changed since this was last asked.
    fn take_config_change(&self) -> bool;

    /// Its state, since it has stopped to be [saved](Stop::Save); none: it has none that matters. An error is a sentence.
    fn saved(&self) -> Result<Option<Vec<u8>>, String>;

    /// Before it begins: it goes on from that state.
    fn restore(&self, state: Vec<u8>);

    /// What it is, for people.
    fn describe(&self) -> String;
}

/// Marks what another process has written into the guest's RAM: for the dirty logs, and for a CPU that keeps decoded code
/// of these pages.
pub fn mark_written(ram: &GuestRam, segments: &[Segment]) {
    for segment in segments {
        let (mut at, end) = (segment.gpa, segment.gpa.saturating_add(segment.len.into()));
        while at < end {
            let Some((region, offset)) = ram.to_region_addr(GuestAddress(at)) else { break };
            let now = (end - at).min(region.len() - offset.0);
            region.mark_dirty(offset.0 as usize, now as usize);
            at += now;
        }
    }
}

/// A back end for tests: carries out all that it is given when it hears of it, and writes nothing; or holds it back.
#[derive(Debug, Default)]
pub struct TestBackEnd(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    features: u64,
    config: Vec<u8>,
    changed: bool,
    running: bool,
    incarnation: u64,
    gone: bool,
    holds: bool,
    /// What was submitted: queue, token, what it writes.
    given: Vec<(u16, u16, Vec<Segment>)>,
    used: Vec<Used>,
    state: Option<Vec<u8>>,
}

impl TestBackEnd {
    /// With these features and this configuration.
    pub fn new(features: u64, config: &[u8]) -> TestBackEnd {
        TestBackEnd(Mutex::new(Kept { features, config: config.to_vec(), ..Kept::default() }))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It holds back what it is given, or not.
    pub fn hold(&self, holds: bool) {
        self.kept().holds = holds;
    }

    /// What it holds: the queue of each, and what it is to write.
    pub fn held(&self) -> Vec<(u16, Vec<Segment>)> {
        self.kept().given.iter().map(|(queue, _, writable)| (*queue, writable.clone())).collect()
    }

    /// Carries out the one of these at that place. The device is to be woken.
    pub fn finish(&self, at: usize, written: u32) {
        let mut kept = self.kept();
        let (queue, token, _) = kept.given.remove(at);
        kept.used.push(Used { queue, token, written });
    }

    /// It goes, with all that it holds. The device is to be woken.
    pub fn go(&self) {
        let mut kept = self.kept();
        kept.gone = true;
        kept.given.clear();
    }

    /// Another comes. The device is to be woken.
    pub fn come(&self) {
        let mut kept = self.kept();
        kept.gone = false;
        if kept.running {
            kept.incarnation += 1;
        }
    }

    /// Its state, from which it goes on, or which it has.
    pub fn state(&self) -> Option<Vec<u8>> {
        self.kept().state.clone()
    }

    /// It has that state.
    pub fn set_state(&self, state: &[u8]) {
        self.kept().state = Some(state.to_vec());
    }

    /// Its configuration is another. The device is to be woken.
    pub fn set_config(&self, config: &[u8]) {
        let mut kept = self.kept();
        kept.config = config.to_vec();
        kept.changed = true;
    }
}

impl VhostUser for TestBackEnd {
    fn features(&self) -> u64 {
        self.kept().features
    }
    fn start(&self, _features: u64) {
        let mut kept = self.kept();
        if !kept.running {
            kept.running = true;
            kept.given.clear();
            kept.used.clear();
            if !kept.gone {
                kept.incarnation += 1;
            }
        }
    }
    fn incarnation(&self) -> u64 {
        self.kept().incarnation
    }
    fn is_connected(&self) -> bool {
        !self.kept().gone
    }
    fn submit(&self, incarnation: u64, queue: u16, _: &[Segment], writable: &[Segment]) -> Submitted {
        let mut kept = self.kept();
        if !kept.running || kept.gone || kept.incarnation != incarnation {
            return Submitted::Full;
        }
        let is_taken = |token: &u16| {
            kept.given.iter().any(|(at, other, _)| (*at, *other) == (queue, *token))
                || kept.used.iter().any(|used| (used.queue, used.token) == (queue, *token))
        };
        let Some(token) = (0..8).find(|token| !is_taken(token)) else { return Submitted::Full };
        kept.given.push((queue, token, writable.to_vec()));
        Submitted::Token(token)
    }
    fn kick(&self, _queue: u16) {
        let mut kept = self.kept();
        if !kept.holds {
            let given = std::mem::take(&mut kept.given);
            let used = given.into_iter().map(|(queue, token, _)| Used { queue, token, written: 0 });
            kept.used.extend(used);
        }
    }
    fn used(&self) -> Option<Used> {
        let mut kept = self.kept();
        if kept.used.is_empty() { None } else { Some(kept.used.remove(0)) }
    }
    fn stop(&self, why: Stop) {
        let mut kept = self.kept();
        kept.running = false;
        if why == Stop::Reset {
            kept.given.clear();
            kept.used.clear();
        }
    }
    fn is_stopped(&self) -> bool {
        !self.kept().running
    }
    fn read_config(&self, offset: usize, data: &mut [u8]) {
        for (to, from) in data.iter_mut().zip(self.kept().config.iter().skip(offset)) {
            *to = *from;
        }
    }
    fn write_config(&self, offset: usize, data: &[u8]) {
        for (to, from) in self.kept().config.iter_mut().skip(offset).zip(data) {
            *to = *from;
        }
    }
    fn take_config_change(&self) -> bool {
        std::mem::take(&mut self.kept().changed)
    }
    fn saved(&self) -> Result<Option<Vec<u8>>, String> {
        let kept = self.kept();
        if kept.gone { Err("its back end has gone".into()) } else { Ok(kept.state.clone()) }
    }
    fn restore(&self, state: Vec<u8>) {
        self.kept().state = Some(state);
    }
    fn describe(&self) -> String {
        "a test's".into()
    }
}
