//! From requests in rings to work on the medium, and back.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use devices_core::Node;
use devices_core::block::{
    BlockBackend, BlockError, BlockInfo, BlockOp, BlockRequest, Completion, CompletionQueue, Payload, check,
};

use super::pages::{DataPages, Way};
use super::request::{Request, Segment, Want};
use super::ring::{Broken, Ring};
use super::spec::{self, DISCARD_SECURE, PAGE, SEGMENT_LEN, status};
use super::{Channel, GrantError, GrantOps, Medium, MediumError};

/// Most bytes of data in flight; one request may go beyond.
const IN_FLIGHT: usize = 16 << 20;
/// Most bytes of buffers that are kept for the next requests. With a new one for each, sequential transfers took about
/// twice the instructions in the lab's dom0.
pub(super) const SPARE: usize = 1 << 20;
/// Shorter ones are the allocator's to keep.
pub(super) const SPARE_FROM: usize = 16 << 10;
/// Most requests that are taken of a ring at once.
const AT_ONCE: usize = 64;

/// One ring.
pub struct Queue {
    pub ring: Ring,
    pub pages: DataPages,
    pub channel: Box<dyn Channel>,
    /// A request that waits until there is less in flight.
    held: Option<Request>,
    /// The frontend wrote nonsense; nothing more is taken from there.
    broken: bool,
}

impl Queue {
    pub fn new(ring: Ring, pages: DataPages, channel: Box<dyn Channel>) -> Queue {
        Queue { ring, pages, channel, held: None, broken: false }
    }

    fn next(&mut self) -> Result<Option<Request>, Broken> {
        let mut raw = [0; spec::X86_64.entry];
        if let Some(request) = self.held.take() {
            return Ok(Some(request));
        }
        let layout = *self.ring.layout();
        Ok(self.ring.take(&mut raw)?.then(|| Request::parse(&layout, &raw[..layout.entry])))
    }
}

/// Buffers between two requests.
#[derive(Default)]
pub(super) struct Spare {
    buffers: Vec<Vec<u8>>,
    pub(super) bytes: usize,
}

impl Spare {
    /// A buffer, with whatever its last request left in it.
    pub(super) fn take(&mut self, len: usize) -> Vec<u8> {
        let fits = self.buffers.iter().rposition(|buffer| buffer.capacity() >= len);
        let mut buffer = fits.map_or_else(Vec::new, |at| self.buffers.swap_remove(at));
        self.bytes -= buffer.capacity();
        buffer.resize(len, 0);
        buffer
    }

    pub(super) fn put(&mut self, buffer: Vec<u8>) {
        let bytes = self.bytes + buffer.capacity();
        if buffer.capacity() >= SPARE_FROM && bytes <= SPARE {
            self.bytes = bytes;
            self.buffers.push(buffer);
        }
    }
}

/// A request that the medium works on.
struct Job {
    /// Which ring wants the answer; none: it is closed.
    queue: Option<usize>,
    id: u64,
    op: u8,
    /// What is to be done with the answer.
    then: Then,
    /// Bytes of data that it stands for.
    bytes: usize,
}

enum Then {
    Answer,
    /// The data goes to the frontend.
    Fill(Vec<Segment>),
    /// Then data is written.
    Write(Vec<Segment>, u64),
}

/// The rings of one disk and what is in flight for them.
pub struct Engine {
    medium: Box<dyn Medium>,
    /// The medium, once it has been opened.
    backend: Option<Arc<dyn BlockBackend>>,
    info: BlockInfo,
    done: CompletionQueue,
    queues: Vec<Queue>,
    jobs: HashMap<u64, Job>,
    /// What the backend had no room for. All of them are jobs.
    refused: VecDeque<BlockRequest>,
    bytes: usize,
    spare: Spare,
    token: u64,
    paused: bool,
}

impl Engine {
    pub fn new(medium: Box<dyn Medium>, read_only: bool, done: CompletionQueue) -> Engine {
        let mut info = medium.info();
        info.read_only |= read_only;
        Engine {
            medium,
            backend: None,
            info,
            done,
            queues: Vec::new(),
            jobs: HashMap::new(),
            refused: VecDeque::new(),
            bytes: 0,
            spare: Spare::default(),
            token: 0,
            paused: false,
        }
    }

    /// What the medium is now.
    pub fn info(&mut self) -> BlockInfo {
        let BlockInfo { size, .. } = self.medium.info();
        self.info.size = size;
        self.info
    }

    /// Whether nothing is in flight.
    pub fn idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Opens the medium for rings to come.
    pub fn open_medium(&mut self) -> Result<(), MediumError> {
        self.backend = Some(self.medium.open()?);
        Ok(())
    }

    /// Serves these rings from now on.
    pub fn open(&mut self, queues: Vec<Queue>) {
        self.queues = queues;
    }

    /// Lets go of all rings. What is in flight is done, and answered to nobody.
    pub fn close(&mut self) {
        self.queues.clear();
        self.spare = Spare::default();
        self.jobs.values_mut().for_each(|job| job.queue = None);
        for request in std::mem::take(&mut self.refused) {
            self.forget(request.token);
        }
    }

    /// Takes no more requests, or takes them again.
    pub fn pause(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        node.value("in flight", self.jobs.len()).value("bytes in flight", self.bytes);
        node.value("refused", self.refused.len()).value("paused", self.paused);
        for (at, queue) in self.queues.iter().enumerate() {
            let Queue { ring, pages, held, broken, .. } = queue;
            let (held, mapped) = (held.is_some(), pages.mapped());
            let line =
                format_args!("{}, {mapped} pages mapped, held {held}, broken {broken}", ring.summary());
            node.value(&format!("ring {at}"), line);
        }
    }

    #[cfg(test)]
    pub fn queues(&self) -> &[Queue] {
        &self.queues
    }

    /// Handles answers, then requests. True: there is more to do at once.
    pub fn work(&mut self, host: &dyn GrantOps) -> bool {
        while let Some(completion) = self.done.pop() {
            self.complete(completion, host);
        }
        self.retry(host);
        let mut more = false;
        for at in 0..self.queues.len() {
            more |= self.serve(at, host);
        }
        for queue in &mut self.queues {
            if queue.ring.show() {
                queue.channel.notify();
            }
        }
        more
    }

    /// Gives the backend what it had no room for.
    fn retry(&mut self, host: &dyn GrantOps) {
        while let Some(request) = self.refused.pop_front() {
            if !self.submit(request, host) {
                return;
            }
        }
    }

    /// Takes requests of a ring. True: there are more.
    fn serve(&mut self, at: usize, host: &dyn GrantOps) -> bool {
        for _ in 0..AT_ONCE {
            let Some(queue) = self.queues.get_mut(at) else { return false };
            if self.paused || queue.broken || !self.refused.is_empty() {
                return false;
            }
            match queue.next() {
                Ok(Some(request)) => {
                    if !self.start(at, request, host) {
                        return false;
                    }
                }
                Ok(None) if queue.ring.rest() => {}
                Ok(None) => return false,
                Err(Broken) => {
                    tracing::warn!(queue = at, "a PV disk's ring has more requests than it has room for");
                    queue.broken = true;
                    return false;
                }
            }
        }
        true
    }

    /// Starts a request. False: it must wait, for what is in flight.
    fn start(&mut self, at: usize, request: Request, host: &dyn GrantOps) -> bool {
        let want = match self.resolve(at, &request.want, host) {
            Some(want) => want,
            None => {
                self.answer(at, request.id, request.op, status::ERROR);
                return true;
            }
        };
        let bytes = match &want {
            Want::Read(segments) | Want::Write(segments) | Want::Flush(segments) => sum(segments),
            _ => 0,
        };
        if self.bytes > 0 && self.bytes + bytes > IN_FLIGHT {
            if let Some(queue) = self.queues.get_mut(at) {
                queue.held = Some(Request { want, ..request });
            }
            return false;
        }
        let job = |then| Job { queue: Some(at), id: request.id, op: request.op, then, bytes };
        match want {
            Want::Read(segments) => {
                let payload = Payload::Buffer(self.spare.take(bytes));
                self.begin(job(Then::Fill(segments)), BlockOp::Read, request.offset, payload, host);
            }
            Want::Write(segments) => match self.fetch(at, &segments, host) {
                Ok(payload) => self.begin(job(Then::Answer), BlockOp::Write, request.offset, payload, host),
                Err(_) => self.answer(at, request.id, request.op, status::ERROR),
            },
            Want::Flush(segments) => {
                let then = match segments.is_empty() {
                    true => Then::Answer,
                    false => Then::Write(segments, request.offset),
                };
                self.begin(job(then), BlockOp::Flush, 0, Payload::None, host);
            }
            Want::Discard { len, flags } if flags & DISCARD_SECURE == 0 && self.info.discard => {
                self.begin(job(Then::Answer), BlockOp::Discard(len), request.offset, Payload::None, host);
            }
            Want::Discard { .. } | Want::Unknown => {
                self.answer(at, request.id, request.op, status::UNSUPPORTED);
            }
            Want::Malformed | Want::Indirect { .. } => {
                self.answer(at, request.id, request.op, status::ERROR);
            }
        }
        true
    }

    /// Fetches segments that are in pages of their own. None: there are no such pages, or what is in them
    /// makes no sense.
    fn resolve(&mut self, at: usize, want: &Want, host: &dyn GrantOps) -> Option<Want> {
        let Want::Indirect { write, count, pages } = want else { return Some(want.clone()) };
        let mut raw = vec![0; count * SEGMENT_LEN];
        let lens = raw.chunks(PAGE).map(|part| part.len() as u16);
        let page = |(reference, len): (&u32, u16)| Segment { reference: *reference, offset: 0, len };
        let segments: Vec<_> = pages.iter().zip(lens).map(page).collect();
        let queue = self.queues.get_mut(at).filter(|_| sum(&segments) == raw.len())?;
        queue.pages.transfer(host, &segments, &mut raw, Way::FromGuest).ok()?;
        let segments = Segment::parse_all(&raw, *count)?;
        Some(if *write { Want::Write(segments) } else { Want::Read(segments) })
    }

    fn fetch(&mut self, at: usize, segments: &[Segment], host: &dyn GrantOps) -> Result<Payload, GrantError> {
        let mut buffer = self.spare.take(sum(segments));
        let queue = self.queues.get_mut(at).ok_or_else(|| GrantError("the ring is closed".to_owned()))?;
        queue.pages.transfer(host, segments, &mut buffer, Way::FromGuest)?;
        Ok(Payload::Buffer(buffer))
    }

    fn begin(&mut self, job: Job, op: BlockOp, offset: u64, payload: Payload, host: &dyn GrantOps) {
        self.token += 1;
        let token = self.token;
        self.bytes += job.bytes;
        self.jobs.insert(token, job);
        self.submit(BlockRequest { token, op, offset, payload, done: self.done.clone() }, host);
    }

    /// Gives the backend a request of a job. False: it has no room, and the request waits.
    fn submit(&mut self, request: BlockRequest, host: &dyn GrantOps) -> bool {
        let token = request.token;
        let checked = check(&self.info, request.op, request.offset, &request.payload);
        let failed = match checked {
            Err(error) => error,
            Ok(()) => match self.backend.as_ref().map(|backend| backend.submit(request)) {
                Some(Ok(())) => return true,
                // An answer will come and make room.
                Some(Err(request)) if self.jobs.len() > self.refused.len() + 1 => {
                    self.refused.push_front(request);
                    return false;
                }
                Some(Err(_)) | None => BlockError::Io,
            },
        };
        self.complete(Completion::new(token, Payload::None, Err(failed)), host);
        true
    }

    fn forget(&mut self, token: u64) -> Option<Job> {
        let job = self.jobs.remove(&token)?;
        self.bytes = self.bytes.saturating_sub(job.bytes);
        Some(job)
    }

    fn complete(&mut self, completion: Completion, host: &dyn GrantOps) {
        let Completion { token, result, mut buffer, .. } = completion.at_last();
        let Some(job) = self.forget(token) else { return };
        let Some(at) = job.queue else { return };
        let result = match (result, job.then) {
            (Ok(()), Then::Fill(segments)) => {
                let Some(queue) = self.queues.get_mut(at) else { return };
                queue.pages.transfer(host, &segments, &mut buffer, Way::ToGuest).is_ok()
            }
            (Ok(()), Then::Write(segments, offset)) => match self.fetch(at, &segments, host) {
                Ok(payload) => {
                    let job = Job { then: Then::Answer, ..job };
                    return self.begin(job, BlockOp::Write, offset, payload, host);
                }
                Err(_) => false,
            },
            (result, _) => result.is_ok(),
        };
        self.spare.put(buffer);
        self.answer(at, job.id, job.op, if result { status::OKAY } else { status::ERROR });
    }

    fn answer(&mut self, at: usize, id: u64, op: u8, status: i16) {
        if let Some(queue) = self.queues.get_mut(at) {
            queue.ring.put(id, op, status);
        }
    }
}

fn sum(segments: &[Segment]) -> usize {
    segments.iter().map(|segment| usize::from(segment.len)).sum()
}
