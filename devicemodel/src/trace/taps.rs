//! What stands between the devices of a recorded machine and everything else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use devices_core::Waker;
use devices_core::block::{
    BlockBackend, BlockInfo, BlockOp, BlockRequest, Completion, CompletionQueue, Payload, Recall,
};
use devices_core::port::Port;
use devices_core::power::{Power, PowerEvent};
use hypervisor::memory::DmaObserver;
use hypervisor::{Clock, Dispatch, GuestRam, IrqTarget, MsiTarget, Pin};
use ioreq::{Data, Dir, Request, Target};

use super::record::{Effect, Entry, MediumInfo, Submit};
use super::recorder::Recorder;

/// Guest time as the devices see it.
pub(super) struct Time(pub Arc<Recorder>, pub Arc<dyn Clock>);

impl Clock for Time {
    fn now(&self) -> u64 {
        self.0.now()
    }
    fn stop(&self) {
        self.1.stop();
    }
    fn start(&self) {
        self.1.start();
    }
    fn set(&self, now: u64) {
        self.1.set(now);
    }
}

/// The processors' pins.
pub(super) struct Pins(pub Arc<Recorder>, pub Arc<dyn IrqTarget>);

impl IrqTarget for Pins {
    fn set(&self, pin: Pin, level: bool) {
        self.0.note(&Effect::Pin(pin, level));
        self.1.set(pin, level);
    }
    fn route(&self, link: u8, irq: Option<u8>) {
        self.0.note(&Effect::Route(link, irq));
        self.1.route(link, irq);
    }
}

/// Message-signalled interrupts.
pub(super) struct Messages(pub Arc<Recorder>, pub Arc<dyn MsiTarget>);

impl MsiTarget for Messages {
    fn signal(&self, address: u64, data: u32) {
        self.0.note(&Effect::Message(address, data));
        self.1.signal(address, data);
    }
}

/// Guest memory as devices reach it.
pub(super) struct Memory(pub Arc<Recorder>);

impl DmaObserver for Memory {
    fn read(&self, gpa: u64, data: &mut [u8], done: bool) -> bool {
        if self.0.inside() {
            self.0.note(&Effect::Read(gpa, done, data.to_vec()));
        }
        done
    }
    fn write(&self, gpa: u64, data: &[u8], done: bool) -> bool {
        if self.0.inside() {
            self.0.note(&Effect::Write(gpa, done, data.len() as u64, crc32fast::hash(data)));
        }
        done
    }
}

/// The power switch.
pub(super) struct Switch(pub Arc<Recorder>, pub Arc<dyn Power>);

impl Power for Switch {
    fn request(&self, event: PowerEvent) {
        self.0.note(&Effect::Power(event));
        self.1.request(event);
    }
}

/// What one vCPU talks to.
pub(super) struct Vcpu {
    pub recorder: Arc<Recorder>,
    pub number: u32,
    pub inner: Box<dyn Dispatch>,
}

impl Dispatch for Vcpu {
    fn request(&mut self, request: &Request) -> u64 {
        let Vcpu { recorder, inner, .. } = self;
        if matches!(request.target, Target::TimeOffset | Target::Invalidate) {
            return inner.request(request);
        }
        let entry = recorder.entry(&Entry::Request(*request));
        let value = inner.begin(request);
        if request.dir == Dir::Read && matches!(request.data, Data::Value(_)) {
            recorder.note(&Effect::Answer(value));
        }
        // What the vCPU waits for reaches the devices by another way.
        drop(entry);
        inner.settle();
        value
    }
    fn acknowledge(&mut self) -> u8 {
        let Vcpu { recorder, number, inner } = self;
        let _entry = recorder.entry(&Entry::Acknowledge { vcpu: *number });
        let vector = inner.acknowledge();
        recorder.note(&Effect::Answer(vector.into()));
        vector
    }
    fn end_of_interrupt(&mut self, vector: u8) {
        let Vcpu { recorder, number, inner } = self;
        let _entry = recorder.entry(&Entry::EndOfInterrupt { vcpu: *number, vector });
        inner.end_of_interrupt(vector);
    }
}

/// The way of one device to its back end.
pub(super) struct Call {
    pub recorder: Arc<Recorder>,
    pub port: String,
}

impl Port for Call {
    fn call(&self, call: Vec<u8>, host: &mut dyn FnMut() -> Vec<u8>) -> Vec<u8> {
        let answer = host();
        self.recorder.note(&Effect::Call(self.port.clone(), call, answer.clone()));
        answer
    }
}

/// A request under way: what its controller knows it by.
struct Waiting {
    op: BlockOp,
    token: u64,
    done: CompletionQueue,
}

#[derive(Default)]
struct Flight {
    next: u64,
    waiting: HashMap<u64, Waiting>,
}

/// The way back of a medium's answers.
struct Answers {
    recorder: Arc<Recorder>,
    number: u32,
    flight: Mutex<Flight>,
    queue: CompletionQueue,
}

impl Answers {
    fn flight(&self) -> MutexGuard<'_, Flight> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes an answer on to its controller.
    fn answered(&self) {
        // A recording has one answer to each request.
        let Some(mut completion) = self.queue.pop().map(Completion::at_last) else { return };
        let request = completion.token;
        let Some(op) = self.flight().waiting.get(&request).map(|waiting| waiting.op) else { return };
        let entry = Entry::Completion {
            medium: self.number,
            request,
            result: completion.result,
            // What was written comes back as it went.
            data: if op == BlockOp::Read { completion.buffer.clone() } else { Vec::new() },
        };
        // It can be asked for until the devices hear of it.
        let _entry = self.recorder.entry(&entry);
        let Some(Waiting { token, done, .. }) = self.flight().waiting.remove(&request) else { return };
        completion.token = token;
        done.deliver(completion);
    }
}

/// A medium that is closed. Its last answers still find their way.
struct ClosedMedium {
    _medium: Arc<dyn BlockBackend>,
    _answers: Arc<Answers>,
}

/// A medium.
pub(super) struct RecordedMedium {
    answers: Arc<Answers>,
    /// Guest memory without the observer: what the medium moves is not the devices' doing.
    ram: GuestRam,
    inner: Arc<dyn BlockBackend>,
}

impl RecordedMedium {
    pub(super) fn new(
        recorder: Arc<Recorder>,
        ram: GuestRam,
        info: MediumInfo,
        inner: Arc<dyn BlockBackend>,
    ) -> Arc<RecordedMedium> {
        let number = recorder.medium(info);
        let answers = Arc::new_cyclic(|this: &Weak<Answers>| {
            let this = this.clone();
            let waker = Waker::calling(move |_| {
                if let Some(answers) = this.upgrade() {
                    answers.answered();
                }
            });
            let queue = CompletionQueue::new(waker, 0);
            Answers { recorder, number, flight: Mutex::default(), queue }
        });
        Arc::new(RecordedMedium { answers, ram, inner })
    }
}

/// What there is to say of a request.
pub(crate) fn submitted(medium: u32, request: &BlockRequest) -> Submit {
    let (segments, buffer) = match &request.payload {
        Payload::None => (Vec::new(), (0, 0)),
        Payload::Guest(_, segments) => (segments.clone(), (0, 0)),
        Payload::Buffer(buffer) => {
            let sum = if request.op == BlockOp::Write { crc32fast::hash(buffer) } else { 0 };
            (Vec::new(), (buffer.len() as u64, sum))
        }
    };
    Submit { medium, op: request.op, offset: request.offset, segments, buffer, taken: true }
}

impl BlockBackend for RecordedMedium {
    fn info(&self) -> BlockInfo {
        self.inner.info()
    }

    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let Answers { recorder, number, queue, .. } = &*self.answers;
        // Somebody beside the devices: who flushes a medium that was taken away.
        if !recorder.inside() && !recorder.before() {
            return self.inner.submit(request);
        }
        let mut submit = submitted(*number, &request);
        let BlockRequest { token, op, offset, payload, done } = request;
        let (payload, tapped) = match payload {
            Payload::Guest(ram, segments) => (Payload::Guest(self.ram.clone(), segments), Some(ram)),
            payload => (payload, None),
        };
        let request = {
            let mut flight = self.answers.flight();
            let request = flight.next;
            flight.next += 1;
            flight.waiting.insert(request, Waiting { op, token, done: done.clone() });
            request
        };
        let passed = BlockRequest { token: request, op, offset, payload, done: queue.clone() };
        let result = self.inner.submit(passed).map_err(|refused| {
            self.answers.flight().waiting.remove(&request);
            let payload = match (refused.payload, tapped) {
                (Payload::Guest(_, segments), Some(ram)) => Payload::Guest(ram, segments),
                (payload, _) => payload,
            };
            BlockRequest { token, op, offset, payload, done }
        });
        submit.taken = result.is_ok();
        recorder.note(&Effect::Submit(submit));
        result
    }

    fn recall(&self, done: &CompletionQueue, token: u64, what: Recall) -> Option<Completion> {
        let Answers { recorder, number, queue, .. } = &*self.answers;
        let mut flight = self.answers.flight();
        let theirs = |(_, it): &(&u64, &Waiting)| it.token == token && it.done.is(done);
        let request = *flight.waiting.iter().find(theirs)?.0;
        let answer = self.inner.recall(queue, request, what).map(Completion::at_last);
        let op = flight.waiting.get(&request).map(|waiting| waiting.op);
        if answer.is_some() {
            flight.waiting.remove(&request);
        }
        drop(flight);
        let told = answer.as_ref().map(|answer| {
            let read = op == Some(BlockOp::Read);
            (answer.result, if read { answer.buffer.clone() } else { Vec::new() })
        });
        recorder.note(&Effect::Recall(*number, request, what == Recall::Request, told));
        answer.map(|answer| Completion { token, ..answer })
    }

    fn idle(&self) -> bool {
        self.inner.idle()
    }
}

impl Drop for RecordedMedium {
    fn drop(&mut self) {
        let grave = ClosedMedium { _medium: self.inner.clone(), _answers: self.answers.clone() };
        self.answers.recorder.bury(Box::new(grave));
    }
}
