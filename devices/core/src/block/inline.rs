//! Work done at once, with answers at exact guest times.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use hypervisor::Timer;

use super::{
    BlockBackend, BlockInfo, BlockRequest, BlockStore, Completion, CompletionQueue, Recall, check, lock,
};
use crate::wiring::Wiring;

/// Guest time between an [`Inline`] request and its answer, in nanoseconds.
pub const INLINE_LATENCY: u64 = 100_000;

/// Most requests that [`Inline`] has waiting.
pub(super) const INLINE_DEPTH: usize = 256;

/// Turns a store into a backend whose answers come at exact guest times.
pub struct Inline {
    store: Arc<dyn BlockStore>,
    wiring: Wiring,
    waiting: Arc<Mutex<Waiting>>,
}

#[derive(Default)]
struct Waiting {
    answers: VecDeque<(u64, CompletionQueue, Completion)>,
    timer: Option<Timer>,
}

impl Inline {
    /// Answers come [`INLINE_LATENCY`] later by the clock of `wiring`, which is not the controller's own.
    pub fn new(store: Arc<dyn BlockStore>, wiring: Wiring) -> Inline {
        let waiting: Arc<Mutex<Waiting>> = Arc::default();
        let of = Arc::downgrade(&waiting);
        let clock = wiring.clone();
        let timer = wiring.callback(move || {
            if let Some(waiting) = of.upgrade() {
                deliver_due(&waiting, clock.now());
            }
        });
        lock(&waiting).timer = Some(timer);
        Inline { store, wiring, waiting }
    }
}

fn deliver_due(waiting: &Mutex<Waiting>, now: u64) {
    loop {
        let mut queue = lock(waiting);
        let next = queue.answers.front().map(|answer| answer.0);
        match next {
            Some(at) if at <= now => {}
            Some(at) => {
                if let Some(timer) = &mut queue.timer {
                    timer.arm(at);
                }
                return;
            }
            None => return,
        }
        let Some((_, to, completion)) = queue.answers.pop_front() else { return };
        drop(queue);
        to.deliver(completion);
    }
}

impl BlockBackend for Inline {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }

    fn submit(&self, mut request: BlockRequest) -> Result<(), BlockRequest> {
        let mut waiting = lock(&self.waiting);
        if waiting.answers.len() >= INLINE_DEPTH {
            return Err(request);
        }
        let BlockRequest { op, offset, ref mut payload, .. } = request;
        let result =
            check(&self.store.info(), op, offset, payload).and_then(|()| self.store.run(op, offset, payload));
        let (done, completion) = request.completed(result);
        let at = self.wiring.now().saturating_add(INLINE_LATENCY);
        waiting.answers.push_back((at, done, completion));
        let first = waiting.answers.front().map_or(at, |answer| answer.0);
        if let Some(timer) = &mut waiting.timer {
            timer.arm(first);
        }
        Ok(())
    }

    fn recall(&self, done: &CompletionQueue, token: u64, _what: Recall) -> Option<Completion> {
        let answers = &mut lock(&self.waiting).answers;
        let at = answers.iter().position(|(_, to, answer)| answer.token == token && to.is(done))?;
        answers.remove(at).map(|(_, _, answer)| answer)
    }

    fn idle(&self) -> bool {
        true
    }
}
