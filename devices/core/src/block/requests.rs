//! What a controller has in flight.
//!
//! A request that its controller forgets (the command was reset, the drive unplugged, the machine restarted)
//! must not move a byte once the guest has been told that it is over: a late read would land in a page that is
//! used again, a late write on top of a newer one. So a controller holds an [`InFlight`] for each request, and
//! dropping it gives the request up: it is taken back if it has not been begun, and otherwise the controller
//! can ask when the last such orphan has [`drained`](Requests::drained). Until then nothing new is sent to the
//! medium. No controller can forget that, and none can send past it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex};

use super::{
    BlockBackend, BlockError, BlockOp, BlockRequest, Completion, CompletionQueue, Payload, Recall, lock,
};

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
    /// Waited for: sent, held or answered.
    live: Vec<(u64, Arc<dyn BlockBackend>)>,
    /// Given up, and still running.
    orphans: Vec<(u64, Arc<dyn BlockBackend>)>,
    /// To be sent when the last orphan is gone.
    held: VecDeque<BlockRequest>,
    /// Answers that did not come through the queue.
    answers: VecDeque<Completion>,
}

fn remove(from: &mut Vec<(u64, Arc<dyn BlockBackend>)>, token: u64) -> Option<Arc<dyn BlockBackend>> {
    let at = from.iter().position(|(other, _)| *other == token)?;
    Some(from.swap_remove(at).1)
}

impl Requests {
    /// Nothing in flight. Answers come through `queue`, which is for nobody else.
    pub fn new(queue: CompletionQueue) -> Requests {
        Requests(Arc::new(Shared { queue, inner: Mutex::default() }))
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
        inner.live.push((token, to.clone()));
        Some(InFlight { token, of: self.0.clone() })
    }

    /// The next answer that is waited for. To be called until there is none when the controller is woken.
    pub fn next(&self) -> Option<Completion> {
        let inner = &mut *lock(&self.0.inner);
        loop {
            let answer = inner.answers.pop_front().or_else(|| self.0.queue.pop())?;
            if remove(&mut inner.live, answer.token).is_some() {
                return Some(answer);
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
        let Some((token, backend)) = inner.live.iter().find(|(token, _)| *token == flight.token) else {
            return false;
        };
        let answer = backend.recall(&self.0.queue, *token, Recall::Answer);
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
    /// Nothing old moves any more: what waited for that is sent.
    fn release(&mut self) {
        for request in std::mem::take(&mut self.held) {
            let token = request.token;
            let Some((_, to)) = self.live.iter().find(|(other, _)| *other == token) else { continue };
            if let Err(BlockRequest { payload, .. }) = to.submit(request) {
                self.answers.push_back(Completion::new(token, payload, Err(BlockError::Io)));
            }
        }
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
        let Some(backend) = remove(&mut inner.live, token) else { return };
        let sent = inner.held.len();
        inner.held.retain(|request| request.token != token);
        let answers = inner.answers.len();
        inner.answers.retain(|answer| answer.token != token);
        let here = inner.held.len() < sent || inner.answers.len() < answers;
        if !here && backend.recall(&of.queue, token, Recall::Request).is_none() {
            inner.orphans.push((token, backend));
        }
    }
}
