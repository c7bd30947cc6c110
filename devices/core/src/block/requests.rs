//! What a controller has in flight.
//!
//! A request that its controller forgets (the command was reset, the drive unplugged, the machine restarted)
//! must not move a byte once the guest has been told that it is over: a late read would land in a page that is
//! used again, a late write on top of a newer one. So a controller holds an [`InFlight`] for each request, and
//! dropping it gives the request up: it is taken back if it has not been begun, and otherwise the controller
//! can ask when the last such orphan has [`drained`](Requests::drained). Until then nothing new is sent to the
//! medium. No controller can forget that, and none can send past it.
//!
//! A request that the host could not do is judged here too, by the drive's [policy](Requests::on_errors): the controller
//! of one for which the guest is to be stopped hears nothing, and its request is sent again when the guest goes on.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::errors::{Errors, Judged};
use super::{
    BlockBackend, BlockError, BlockOp, BlockRequest, Completion, CompletionQueue, ErrorPolicy, Payload,
    Recall, Retry, lock,
};
use crate::events::Watch;

/// Most requests that wait for orphans; a drive has one at a time.
const HELD: usize = 64;

/// The requests of one drive. Guest memory of requests and their media are kept until they are answered.
pub struct Requests(Arc<Shared>);

/// One request in flight. Dropped before its answer came, it is given up.
pub struct InFlight {
    token: u64,
    of: Arc<Shared>,
}

struct Shared {
    queue: CompletionQueue,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    token: u64,
    /// Waited for: sent, held, stopped or answered.
    live: Vec<Sent>,
    /// Given up, and still running.
    orphans: Vec<Sent>,
    /// To be sent when the last orphan is gone.
    held: VecDeque<BlockRequest>,
    /// To be sent again when the guest goes on.
    stopped: VecDeque<BlockRequest>,
    /// Answers that did not come through the queue.
    answers: VecDeque<Completion>,
    errors: Errors,
}

/// A request as its backend was given it.
struct Sent {
    token: u64,
    op: BlockOp,
    to: Arc<dyn BlockBackend>,
}

fn remove(from: &mut Vec<Sent>, token: u64) -> Option<Sent> {
    let at = from.iter().position(|sent| sent.token == token)?;
    Some(from.swap_remove(at))
}

impl Requests {
    /// Nothing in flight. Answers come through `queue`, which is for nobody else.
    pub fn new(queue: CompletionQueue) -> Requests {
        Requests(Arc::new(Shared { queue, inner: Mutex::default() }))
    }

    /// What is done about what the host cannot do, and who is told of it. Nobody has been, and the guest is told of
    /// everything, as long as this was not called.
    pub fn on_errors(&self, policy: ErrorPolicy, watch: Watch) {
        lock(&self.0.inner).errors = Errors { policy, watch };
    }

    /// Sends a request, or has it wait for those that were given up. None: the backend takes no more.
    pub fn submit(
        &self,
        to: &Arc<dyn BlockBackend>,
        op: BlockOp,
        offset: u64,
        payload: Payload,
    ) -> Option<InFlight> {
        let inner = &mut *lock(&self.0.inner);
        inner.token += 1;
        let token = inner.token;
        let request = BlockRequest { token, op, offset, payload, done: self.0.queue.clone() };
        if !inner.orphans.is_empty() {
            if inner.held.len() >= HELD {
                return None;
            }
            inner.held.push_back(request);
        } else if to.submit(request).is_err() {
            return None;
        }
        inner.live.push(Sent { token, op, to: to.clone() });
        Some(InFlight { token, of: self.0.clone() })
    }

    /// The next answer that is waited for. To be called until there is none when the controller is woken.
    pub fn next(&self) -> Option<Completion> {
        let inner = &mut *lock(&self.0.inner);
        loop {
            let answer = inner.answers.pop_front().or_else(|| self.0.queue.pop())?;
            if let Some(sent) = remove(&mut inner.live, answer.token) {
                match inner.errors.judge(sent.op, answer, &self.0) {
                    Judged::Answer(answer) => return Some(answer),
                    Judged::Wait(request) => {
                        inner.stopped.push_back(request);
                        inner.live.push(sent);
                        continue;
                    }
                }
            }
            if remove(&mut inner.orphans, answer.token).is_some() && inner.orphans.is_empty() {
                inner.release();
            }
        }
    }

    /// Has the answer of a request that is done, and only waits for its instant, come at once:
    /// [`next`](Requests::next) gives it. False: the request runs.
    pub fn hasten(&self, flight: &InFlight) -> bool {
        let inner = &mut *lock(&self.0.inner);
        let Some(Sent { token, to, .. }) = inner.live.iter().find(|sent| sent.token == flight.token) else {
            return false;
        };
        let answer = to.recall(&self.0.queue, *token, Recall::Answer);
        let come = answer.is_some();
        inner.answers.extend(answer);
        come
    }

    /// Whether no byte moves any more for a request that was given up. It changes by
    /// [`next`](Requests::next).
    pub fn drained(&self) -> bool {
        lock(&self.0.inner).orphans.is_empty()
    }

    /// Whether there is no request at all: none that is waited for, and none that was given up.
    pub fn idle(&self) -> bool {
        let inner = lock(&self.0.inner);
        inner.live.is_empty() && inner.orphans.is_empty()
    }
}

impl Inner {
    /// How many are here, and not with a backend.
    fn waiting(&self) -> usize {
        self.held.len() + self.stopped.len() + self.answers.len()
    }

    /// Nothing old moves any more: what waited for that is sent.
    fn release(&mut self) {
        for request in std::mem::take(&mut self.held) {
            let token = request.token;
            let Some(Sent { to, .. }) = self.live.iter().find(|sent| sent.token == token) else { continue };
            if let Err(BlockRequest { payload, .. }) = to.submit(request) {
                self.answers.push_back(Completion::new(token, payload, Err(BlockError::Io)));
            }
        }
    }
}

impl Retry for Shared {
    fn retry(&self) {
        let mut refused = Vec::new();
        {
            let inner = &mut *lock(&self.inner);
            for request in std::mem::take(&mut inner.stopped) {
                let token = request.token;
                let Some(Sent { to, .. }) = inner.live.iter().find(|sent| sent.token == token) else {
                    continue;
                };
                if let Err(request) = to.submit(request) {
                    refused.push(Completion::new(token, request.payload, Err(BlockError::Io)));
                }
            }
        }
        // The controller asks at once.
        for answer in refused {
            self.queue.deliver(answer);
        }
    }

    fn waits(&self) -> bool {
        !lock(&self.inner).stopped.is_empty()
    }
}

impl InFlight {
    /// Whether that is its answer.
    pub fn is(&self, answer: &Completion) -> bool {
        self.token == answer.token
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "request {}", self.token)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let InFlight { token, ref of } = *self;
        let inner = &mut *lock(&of.inner);
        let Some(sent) = remove(&mut inner.live, token) else { return };
        let waiting = inner.waiting();
        inner.held.retain(|request| request.token != token);
        inner.stopped.retain(|request| request.token != token);
        inner.answers.retain(|answer| answer.token != token);
        let here = inner.waiting() < waiting;
        if !here && sent.to.recall(&of.queue, token, Recall::Request).is_none() {
            inner.orphans.push(sent);
        }
    }
}
