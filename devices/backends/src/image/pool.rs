//! Threads that work on a disk, so that no vCPU waits for the host.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use devices_core::block::{BlockBackend, BlockInfo, BlockOp, BlockRequest, BlockStore, Completion, Payload};

/// Threads of a disk. A controller with one request at a time keeps one busy.
const THREADS: usize = 4;
/// Most requests in flight.
const DEPTH: usize = 256;

/// A store with threads. Dropping it finishes what was submitted.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    store: Arc<dyn BlockStore>,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    queue: VecDeque<BlockRequest>,
    running: usize,
    waiting: usize,
    closing: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve(&self) {
        while let Some(request) = self.next() {
            let BlockRequest { token, op, offset, mut payload, done } = request;
            let result = self.store.run(op, offset, &mut payload);
            let completion = Completion::new(token, payload, result);
            // Idle is said before the controller knows: it may ask at once.
            self.state().running -= 1;
            done.deliver(completion);
        }
    }

    fn next(&self) -> Option<BlockRequest> {
        let mut state = self.state();
        loop {
            if let Some(request) = state.queue.pop_front() {
                state.running += 1;
                return Some(request);
            }
            if state.closing {
                return None;
            }
            state.waiting += 1;
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.waiting -= 1;
        }
    }
}

impl Pool {
    /// Serves a store. Threads start as they are needed.
    pub fn new(store: Arc<dyn BlockStore>) -> Arc<Pool> {
        let shared = Arc::new(Shared { store, state: Mutex::default(), changed: Condvar::new() });
        Arc::new(Pool { shared, threads: Mutex::default() })
    }

    /// One more thread, if all are busy and there may be more. False: there is none at all.
    fn grow(&self) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.len() < THREADS {
            let shared = self.shared.clone();
            let started = std::thread::Builder::new().name("disk".to_owned()).spawn(move || shared.serve());
            match started {
                Ok(thread) => threads.push(thread),
                Err(error) => tracing::warn!(%error, "no thread for a disk"),
            }
        }
        !threads.is_empty()
    }
}

impl BlockBackend for Pool {
    fn info(&self) -> BlockInfo {
        self.shared.store.info()
    }

    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let idle = {
            let state = self.shared.state();
            if state.queue.len() + state.running >= DEPTH {
                return Err(request);
            }
            state.waiting > state.queue.len()
        };
        if !idle && !self.grow() {
            return Err(request);
        }
        self.shared.state().queue.push_back(request);
        self.shared.changed.notify_one();
        Ok(())
    }

    fn idle(&self) -> bool {
        let state = self.shared.state();
        state.queue.is_empty() && state.running == 0
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.shared.state().closing = true;
        self.shared.changed.notify_all();
        let threads = std::mem::take(self.threads.get_mut().unwrap_or_else(PoisonError::into_inner));
        let here = std::thread::current().id();
        for thread in threads {
            // The last handle may go with a request that a thread of ours has just finished.
            if thread.thread().id() != here {
                // A thread of ours does not panic: work on an image is guarded.
                let _ = thread.join();
            }
        }
        // What the guest wrote survives us even if it did not flush.
        if !self.shared.store.info().read_only
            && let Err(error) = self.shared.store.run(BlockOp::Flush, 0, &mut Payload::None)
        {
            tracing::warn!(%error, "last flush of a disk");
        }
    }
}
