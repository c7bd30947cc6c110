//! Stands where the host was: compares what the devices do with what was recorded, and answers what was answered.

use std::collections::HashMap;
use std::fs::File;
use std::io::BufReader;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::block::{
    BlockBackend, BlockError, BlockInfo, BlockOp, BlockRequest, Completion, CompletionQueue, Payload, Recall,
};
use devices_core::port::Port;
use devices_core::power::{Power, PowerEvent};
use devices_core::{Gate, Wake};
use hypervisor::memory::DmaObserver;
use hypervisor::{IrqTarget, MsiTarget, Pin};

use super::tape::{Position, Stop, Tape};
use crate::trace::record::{Effect, Entry, MediumInfo, Record};
use crate::trace::{Opened, submitted};

/// The devices did something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unequal {
    pub(super) position: Position,
    pub(super) recorded: Option<Effect>,
    pub(super) now: Option<Effect>,
}

/// What the devices' doings end with.
#[derive(Debug)]
pub(super) enum Verdict {
    Stopped(Stop),
    Unequal(Unequal),
}

/// A request that waits for its recorded answer.
struct Waiting {
    token: u64,
    read: bool,
    payload: Payload,
    done: CompletionQueue,
}

#[derive(Default)]
struct Inner {
    /// None while the machine is built and loaded.
    tape: Option<Tape<BufReader<File>>>,
    verdict: Option<Verdict>,
    /// Media that will be asked for, the next one first.
    media: std::collections::VecDeque<MediumInfo>,
    opened: u32,
    /// Requests by medium and number.
    waiting: HashMap<(u32, u64), Waiting>,
}

/// Plays one recording.
#[derive(Default)]
pub struct Player(Mutex<Inner>);

impl Player {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A medium that the machine will have.
    pub(super) fn expect(&self, info: MediumInfo) {
        self.inner().media.push_back(info);
    }

    /// From now on the devices are compared.
    pub(super) fn begin(&self, tape: Tape<BufReader<File>>) {
        self.inner().tape = Some(tape);
    }

    /// What reaches the devices next, if it goes on.
    pub(super) fn next(&self) -> Option<(u64, Entry)> {
        let mut inner = self.inner();
        if inner.verdict.is_some() {
            return None;
        }
        let tape = inner.tape.as_mut()?;
        let verdict = match tape.next() {
            Ok(Record::Entry(at, entry)) => return Some((at, entry)),
            Ok(Record::Effect(effect)) => {
                let position = tape.position();
                Verdict::Unequal(Unequal { position, recorded: Some(effect), now: None })
            }
            Err(stop) => Verdict::Stopped(stop),
        };
        inner.verdict = Some(verdict);
        None
    }

    /// Why it does not go on, and how many records there were.
    pub(super) fn verdict(&self) -> (Option<Verdict>, u64) {
        let mut inner = self.inner();
        let records = inner.tape.as_ref().map_or(0, Tape::records);
        (inner.verdict.take(), records)
    }

    /// The recording makes no sense at this place.
    pub(super) fn damaged(&self, why: &str) {
        self.inner().verdict.get_or_insert(Verdict::Stopped(Stop::Damaged(why.to_owned())));
    }

    /// A device does something; what was recorded, if it is the same.
    pub(super) fn does(&self, now: Effect) -> Option<Effect> {
        let mut inner = self.inner();
        if inner.verdict.is_some() {
            return None;
        }
        let tape = inner.tape.as_mut()?;
        let unequal = |position, recorded, now| Verdict::Unequal(Unequal { position, recorded, now });
        let verdict = match tape.next() {
            Ok(Record::Effect(recorded)) if now.agrees(&recorded) => return Some(recorded),
            Ok(Record::Effect(recorded)) => unequal(tape.position(), Some(recorded), Some(now)),
            Ok(Record::Entry(..)) | Err(Stop::End) => unequal(tape.position(), None, Some(now)),
            Err(stop) => Verdict::Stopped(stop),
        };
        inner.verdict = Some(verdict);
        None
    }

    /// The next medium.
    pub(crate) fn medium(self: &Arc<Player>) -> Opened {
        let mut inner = self.inner();
        let nothing = MediumInfo {
            size: 0,
            read_only: true,
            physical_block: 512,
            discard: false,
            first_sector: Vec::new(),
        };
        // Without a description there was no medium, which the header is checked for.
        let info = inner.media.pop_front().unwrap_or(nothing);
        let number = inner.opened;
        inner.opened += 1;
        drop(inner);
        let MediumInfo { size, read_only, physical_block, discard, first_sector } = info;
        let info = BlockInfo { size, read_only, physical_block, discard };
        let medium = ReplayedMedium { player: self.clone(), number, info, next: Mutex::new(0) };
        Opened { backend: Arc::new(medium), first_sector }
    }

    /// The way of a device to its back end.
    pub(crate) fn port(self: &Arc<Player>, name: &str) -> Arc<dyn Port> {
        Arc::new(Call(self.clone(), name.to_owned()))
    }

    /// A medium answers.
    pub(super) fn complete(&self, medium: u32, request: u64, result: Result<(), BlockError>, data: Vec<u8>) {
        let waiting = self.inner().waiting.remove(&(medium, request));
        let Some(Waiting { token, read, payload, done }) = waiting else {
            return self.damaged("a medium answers what it was not asked");
        };
        let payload = match payload {
            Payload::Buffer(own) if read => {
                if own.len() != data.len() {
                    return self.damaged("a medium gives more or less than it was asked for");
                }
                Payload::Buffer(data)
            }
            other => other,
        };
        done.deliver(Completion::new(token, payload, result));
    }
}

impl Gate for Player {
    fn wake(&self, _device: &str, _why: Wake, wake: &mut dyn FnMut()) {
        wake();
    }
    fn armed(&self, timer: u32, deadline: Option<u64>) {
        self.does(Effect::Arm(timer, deadline));
    }
}

impl IrqTarget for Player {
    fn set(&self, pin: Pin, level: bool) {
        self.does(Effect::Pin(pin, level));
    }
    fn route(&self, link: u8, irq: Option<u8>) {
        self.does(Effect::Route(link, irq));
    }
}

impl MsiTarget for Player {
    fn signal(&self, address: u64, data: u32) {
        self.does(Effect::Message(address, data));
    }
}

impl Power for Player {
    fn request(&self, event: PowerEvent) {
        self.does(Effect::Power(event));
    }
}

impl DmaObserver for Player {
    fn read(&self, gpa: u64, data: &mut [u8], done: bool) -> bool {
        match self.does(Effect::Read(gpa, done, data.to_vec())) {
            Some(Effect::Read(_, done, found)) => {
                data.iter_mut().zip(found).for_each(|(byte, found)| *byte = found);
                done
            }
            _ => done,
        }
    }
    fn write(&self, gpa: u64, data: &[u8], done: bool) -> bool {
        match self.does(Effect::Write(gpa, done, data.len() as u64, crc32fast::hash(data))) {
            Some(Effect::Write(_, done, ..)) => done,
            _ => done,
        }
    }
}

struct Call(Arc<Player>, String);

impl Port for Call {
    fn call(&self, call: Vec<u8>, _: &mut dyn FnMut() -> Vec<u8>) -> Vec<u8> {
        match self.0.does(Effect::Call(self.1.clone(), call, Vec::new())) {
            Some(Effect::Call(.., answer)) => answer,
            _ => Vec::new(),
        }
    }
}

struct ReplayedMedium {
    player: Arc<Player>,
    number: u32,
    info: BlockInfo,
    next: Mutex<u64>,
}

impl BlockBackend for ReplayedMedium {
    fn info(&self) -> BlockInfo {
        self.info
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let number = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next += 1;
            *next - 1
        };
        let recorded = self.player.does(Effect::Submit(submitted(self.number, &request)));
        if matches!(recorded, Some(Effect::Submit(submit)) if !submit.taken) {
            return Err(request);
        }
        let BlockRequest { token, op, payload, done, .. } = request;
        let waiting = Waiting { token, read: op == BlockOp::Read, payload, done };
        self.player.inner().waiting.insert((self.number, number), waiting);
        Ok(())
    }
    fn recall(&self, done: &CompletionQueue, token: u64, what: Recall) -> Option<Completion> {
        let number = {
            let inner = self.player.inner();
            let theirs = |((medium, _), it): &(&(u32, u64), &Waiting)| {
                *medium == self.number && it.token == token && it.done.is(done)
            };
            inner.waiting.iter().find(theirs)?.0.1
        };
        let effect = Effect::Recall(self.number, number, what == Recall::Request, None);
        let Some(Effect::Recall(.., Some((result, data)))) = self.player.does(effect) else { return None };
        let Waiting { read, payload, .. } = self.player.inner().waiting.remove(&(self.number, number))?;
        let payload = match payload {
            Payload::Buffer(own) if read && own.len() == data.len() => Payload::Buffer(data),
            other => other,
        };
        Some(Completion::new(token, payload, result))
    }
    fn idle(&self) -> bool {
        !self.player.inner().waiting.keys().any(|(medium, _)| *medium == self.number)
    }
}
