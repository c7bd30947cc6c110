//! Threads that work on a disk, so that no vCPU waits for the host.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use devices_core::block::{
    BlockBackend, BlockError, BlockInfo, BlockOp, BlockRequest, BlockStore, Completion, CompletionQueue,
    Payload, Recall,
};
use hypervisor::thread_role;

/// Threads of a disk. A controller with one request at a time keeps one busy.
const THREADS: usize = 4;
/// Most requests in flight.
const DEPTH: usize = 256;

/// How long who drops a pool waits for threads that have nothing to do but to tell of an answer.
const TELLING: Duration = Duration::from_millis(20);

/// How long the process still waits, for all its pools together, until what is dropped is closed. In
/// nanoseconds.
static PATIENCE: AtomicU64 = AtomicU64::new(2_000_000_000);

thread_local! {
    /// This is a thread of a pool.
    static SERVES: Cell<bool> = const { Cell::new(false) };
}

/// A store with threads. Dropping it has them finish what was submitted, flush what was written and close the
/// store. Who drops it waits for that if something may get lost, and only so long as the process has
/// [patience](Pool::set_patience): a host that hangs holds up nobody. Where nothing runs and all is flushed
/// the store is closed at once.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

struct Shared {
    store: Arc<dyn BlockStore>,
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Something was written since the last flush.
    dirty: AtomicBool,
}

#[derive(Default)]
struct Inner {
    queue: VecDeque<BlockRequest>,
    running: usize,
    waiting: usize,
    closing: bool,
}

/// The last one lets go of the store before it ends.
#[derive(Default)]
struct Threads {
    count: Mutex<Count>,
    /// A thread has ended, or begins to tell.
    changed: Condvar,
}

#[derive(Default)]
struct Count {
    /// Those that have not ended.
    all: usize,
    /// Those of them that are telling a controller of an answer. They may wait for it, and it for the pool's end.
    telling: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn serve(self: &Arc<Shared>, threads: &Arc<Threads>) {
        while let Some(mut request) = self.next() {
            thread_role::at(thread_role::Role::Disk);
            grow(self, threads);
            let result = self.run(request.op, request.offset, &mut request.payload);
            let (done, completion) = request.completed(result);
            // Idle is said before the controller knows: it may ask at once.
            lock(&self.inner).running -= 1;
            lock(&threads.count).telling += 1;
            threads.changed.notify_all();
            done.deliver(completion);
            lock(&threads.count).telling -= 1;
        }
    }

    fn next(&self) -> Option<BlockRequest> {
        let mut inner = lock(&self.inner);
        loop {
            if let Some(request) = inner.queue.pop_front() {
                inner.running += 1;
                return Some(request);
            }
            if inner.closing {
                return None;
            }
            inner.waiting += 1;
            inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
            inner.waiting -= 1;
        }
    }

    fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
        match op {
            BlockOp::Read => self.store.run(op, offset, payload),
            BlockOp::Write | BlockOp::Discard(_) => {
                self.dirty.store(true, Ordering::SeqCst);
                self.store.run(op, offset, payload)
            }
            BlockOp::Flush => {
                // What is written from now on needs another.
                let dirty = self.dirty.swap(false, Ordering::SeqCst);
                let result = self.store.run(op, offset, payload);
                if result.is_err() && dirty {
                    self.dirty.store(true, Ordering::SeqCst);
                }
                result
            }
        }
    }

    /// What the guest wrote survives us even if it did not flush.
    fn last_flush(&self) {
        if self.dirty.load(Ordering::SeqCst)
            && let Err(error) = self.run(BlockOp::Flush, 0, &mut Payload::None)
        {
            tracing::warn!(%error, "last flush of a disk");
        }
    }
}

/// Sees to it that a thread waits for the next request, if there may be more. Who submits a request starts none: a
/// vCPU's thread may not.
fn grow(shared: &Arc<Shared>, threads: &Arc<Threads>) {
    let mut count = lock(&threads.count);
    let enough = {
        let inner = lock(&shared.inner);
        inner.waiting > 0 || inner.closing || count.all >= THREADS
    };
    if enough {
        return;
    }
    let (shared, threads, inherited) = (shared.clone(), threads.clone(), thread_role::inherited());
    let run = move || {
        inherited.take();
        thread(shared, &threads);
    };
    match std::thread::Builder::new().name("disk".to_owned()).spawn(run) {
        Ok(_) => count.all += 1,
        Err(error) => tracing::warn!(%error, "no thread for a disk"),
    }
}

/// A thread from its start to its end.
fn thread(shared: Arc<Shared>, threads: &Arc<Threads>) {
    SERVES.set(true);
    shared.serve(threads);
    // The last one out: nobody else works on the store any more.
    let mut count = lock(&threads.count);
    if count.all == 1 {
        drop(count);
        shared.last_flush();
        count = lock(&threads.count);
    }
    drop(shared);
    count.all -= 1;
    threads.changed.notify_all();
}

impl Pool {
    /// Serves a store, with one thread at first; more start as they are needed.
    pub fn new(store: Arc<dyn BlockStore>) -> Arc<Pool> {
        let shared =
            Shared { store, inner: Mutex::default(), changed: Condvar::new(), dirty: AtomicBool::new(false) };
        let pool = Pool { shared: Arc::new(shared), threads: Arc::default() };
        grow(&pool.shared, &pool.threads);
        Arc::new(pool)
    }

    /// How long this process waits at most, for all pools that it will drop together, until they are closed:
    /// two seconds, if nothing else is said.
    pub fn set_patience(patience: Duration) {
        let nanoseconds = u64::try_from(patience.as_nanos()).unwrap_or(u64::MAX);
        PATIENCE.store(nanoseconds, Ordering::SeqCst);
    }
}

impl BlockBackend for Pool {
    fn info(&self) -> BlockInfo {
        self.shared.store.info()
    }

    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        if lock(&self.threads.count).all == 0 {
            return Err(request);
        }
        let mut inner = lock(&self.shared.inner);
        if inner.queue.len() + inner.running >= DEPTH {
            return Err(request);
        }
        inner.queue.push_back(request);
        drop(inner);
        self.shared.changed.notify_one();
        Ok(())
    }

    fn recall(&self, done: &CompletionQueue, token: u64, what: Recall) -> Option<Completion> {
        if what != Recall::Request {
            return None;
        }
        let queue = &mut lock(&self.shared.inner).queue;
        let at = queue.iter().position(|request| request.token == token && request.done.is(done))?;
        let BlockRequest { token, payload, .. } = queue.remove(at)?;
        Some(Completion::new(token, payload, Err(BlockError::Cancelled)))
    }

    fn idle(&self) -> bool {
        let inner = lock(&self.shared.inner);
        inner.queue.is_empty() && inner.running == 0
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let busy = {
            let mut inner = lock(&self.shared.inner);
            inner.closing = true;
            inner.running > 0 || !inner.queue.is_empty()
        };
        self.shared.changed.notify_all();
        // What only reads loses nothing, and a thread of a pool would wait for itself: the last handle may go
        // with a request that it has just finished.
        let reads = busy && self.shared.store.info().read_only;
        if reads || SERVES.get() {
            return;
        }
        let begun = Instant::now();
        let end = begun + Duration::from_nanos(PATIENCE.load(Ordering::SeqCst));
        let mut count = lock(&self.threads.count);
        while count.all > 0 {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                tracing::error!("a disk was not closed in time: what was not flushed may be lost");
                self.shared.store.give_up();
                break;
            }
            // Nothing is left to do but to tell, perhaps a controller that is just letting go of its last handle
            // and is locked meanwhile: the thread closes the store when it was told.
            let tells = count.all == count.telling && !self.shared.dirty.load(Ordering::SeqCst);
            let wait = if tells { left.min(TELLING) } else { left };
            let waited = self.threads.changed.wait_timeout(count, wait);
            let (now, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if tells && timeout.timed_out() {
                return;
            }
            count = now;
        }
        let waited = u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let less = |left: u64| Some(left.saturating_sub(waited));
        // It cannot fail: there is always a new value.
        let _ = PATIENCE.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
    }
}

#[cfg(test)]
mod tests {
    use devices_core::Waker;
    use devices_core::block::{ErrorPolicy, MemoryStore, Requests, Retry};
    use devices_core::events::{DeviceEvent, Observer, Watch};

    use super::*;

    /// A store whose work waits for a gate to be opened.
    struct Gated {
        store: MemoryStore,
        open: Mutex<bool>,
        opened: Condvar,
        flushes: AtomicU64,
        given_up: AtomicBool,
    }

    impl Gated {
        fn new(open: bool, read_only: bool) -> Arc<Gated> {
            let store = MemoryStore::new(vec![0; 8192], read_only);
            let (opened, flushes, given_up) = Default::default();
            Arc::new(Gated { store, open: Mutex::new(open), opened, flushes, given_up })
        }
        fn open(&self) {
            *lock(&self.open) = true;
            self.opened.notify_all();
        }
    }

    impl BlockStore for Gated {
        fn info(&self) -> BlockInfo {
            self.store.info()
        }
        fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
            let mut open = lock(&self.open);
            while !*open {
                open = self.opened.wait(open).unwrap();
            }
            drop(open);
            if op == BlockOp::Flush {
                self.flushes.fetch_add(1, Ordering::SeqCst);
            }
            self.store.run(op, offset, payload)
        }
        fn give_up(&self) {
            self.given_up.store(true, Ordering::SeqCst);
        }
    }

    fn write(byte: u8) -> Payload {
        Payload::Buffer(vec![byte; 512])
    }

    fn requests() -> Requests {
        Requests::new(CompletionQueue::new(Waker::default(), 0))
    }

    /// Waits until it is so.
    fn until(mut so: impl FnMut() -> bool) {
        while !so() {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn what_was_given_up_ends_before_anything_new_begins() {
        let store = Gated::new(false, false);
        let pool = Pool::new(store.clone());
        let disk: Arc<dyn BlockBackend> = pool.clone();
        let requests = requests();
        let send = |offset, byte| requests.submit(&disk, BlockOp::Write, offset, write(byte)).unwrap();
        let running: Vec<_> = (0..THREADS as u64).map(|at| send(512 * at, 1)).collect();
        until(|| lock(&pool.shared.inner).running == THREADS);
        let queued: Vec<_> = (0..4).map(|at| send(4096 + 512 * at, 1)).collect();
        drop(queued);
        assert!(requests.drained(), "they were not begun");
        drop(running);
        assert!(!requests.drained());
        let newer = send(0, 2);
        assert!(lock(&pool.shared.inner).queue.is_empty(), "it is not sent past the old write");
        store.open();
        let mut answer = None;
        until(|| {
            answer = requests.next();
            answer.is_some()
        });
        assert!(answer.is_some_and(|answer| newer.is(&answer) && answer.result.is_ok()));
        assert!(requests.drained() && requests.idle());
        let contents = store.store.contents();
        assert_eq!([contents[0], contents[512], contents[4096]], [2, 1, 0]);
    }

    /// A store on a host that is full until it is not.
    struct Full(MemoryStore, AtomicBool);

    impl BlockStore for Full {
        fn info(&self) -> BlockInfo {
            self.0.info()
        }
        fn run(&self, op: BlockOp, offset: u64, payload: &mut Payload) -> Result<(), BlockError> {
            let full = op == BlockOp::Write && self.1.load(Ordering::SeqCst);
            if full { Err(BlockError::NoSpace) } else { self.0.run(op, offset, payload) }
        }
    }

    /// Keeps what is to be sent again.
    #[derive(Default)]
    struct Stops(Mutex<Vec<Arc<dyn Retry>>>);

    impl Observer for Stops {
        fn observe(&self, _: DeviceEvent) {}
        fn stops(&self, requests: Arc<dyn Retry>) -> bool {
            lock(&self.0).push(requests);
            true
        }
    }

    #[test]
    fn what_a_full_host_could_not_write_is_written_when_there_is_room() {
        let store = Arc::new(Full(MemoryStore::new(vec![0; 8192], false), AtomicBool::new(true)));
        let disk: Arc<dyn BlockBackend> = Pool::new(store.clone());
        let (requests, stops) = (requests(), Arc::<Stops>::default());
        requests.on_errors(ErrorPolicy::default(), Watch::new(0, stops.clone()));
        let flights: Vec<_> = (0..8)
            .map(|at| requests.submit(&disk, BlockOp::Write, 512 * at, write(1 + at as u8)).unwrap())
            .collect();
        until(|| {
            assert_eq!(requests.next(), None);
            lock(&stops.0).len() == flights.len()
        });
        assert!(disk.idle() && !requests.idle());
        let retry = lock(&stops.0).pop().unwrap();
        store.1.store(false, Ordering::SeqCst);
        retry.retry();
        let mut answered = 0;
        until(|| {
            let answer = requests.next();
            assert!(answer.as_ref().is_none_or(|answer| answer.result.is_ok()));
            answered += usize::from(answer.is_some());
            answered == flights.len()
        });
        let contents = store.0.contents();
        assert!((0..8).all(|at| contents[512 * at..][..512] == [1 + at as u8; 512]));
        assert!(requests.idle() && !retry.waits());
    }

    #[test]
    fn a_host_that_hangs_holds_nobody_up_for_long() {
        let begun = Instant::now();
        let reading = Gated::new(false, true);
        let pool = Pool::new(reading.clone());
        let requests = requests();
        let disc: Arc<dyn BlockBackend> = pool.clone();
        let read = requests.submit(&disc, BlockOp::Read, 0, write(0));
        until(|| lock(&pool.shared.inner).running == 1);
        drop((read, disc, requests, pool));
        // The other one may have something to lose: that is worth the wait, once.
        Pool::set_patience(Duration::from_millis(300));
        for _ in 0..10 {
            let store = Gated::new(false, false);
            let pool = Pool::new(store.clone());
            let done = CompletionQueue::new(Waker::default(), 0);
            let request = BlockRequest { token: 1, op: BlockOp::Write, offset: 0, payload: write(1), done };
            assert!(pool.submit(request).is_ok());
            drop(pool);
            assert!(store.given_up.load(Ordering::SeqCst), "what can end early is told");
        }
        assert_eq!(PATIENCE.load(Ordering::SeqCst), 0, "the process has waited enough");
        assert!(begun.elapsed() < Duration::from_secs(60), "ten patiences, or no end at all");
    }

    /// A drive's tray was emptied under a read: whoever takes its answer, with the controller locked, drops the last
    /// handle, while the thread that worked wants to tell the controller.
    #[test]
    fn a_thread_that_tells_holds_nobody_up() {
        Pool::set_patience(Duration::from_secs(10));
        let controller = Arc::new(Mutex::new(()));
        let waker = Waker::calling({
            let controller = controller.clone();
            move |_| drop(lock(&controller))
        });
        let store = Gated::new(true, true);
        let pool = Pool::new(store.clone());
        let locked = lock(&controller);
        let done = CompletionQueue::new(waker, 0);
        let request =
            BlockRequest { token: 1, op: BlockOp::Read, offset: 0, payload: write(1), done: done.clone() };
        assert!(pool.submit(request).is_ok());
        until(|| done.pop().is_some());
        drop(pool);
        assert_ne!(PATIENCE.load(Ordering::SeqCst), 0, "it waited for what waited for it");
        drop(locked);
        until(|| Arc::strong_count(&store) == 1);
    }

    #[test]
    fn a_pool_is_closed_when_it_is_dropped_and_flushes_what_was_written() {
        Pool::set_patience(Duration::from_secs(60));
        for (op, flushes) in [(BlockOp::Write, 1), (BlockOp::Read, 0), (BlockOp::Flush, 1)] {
            let store = Gated::new(true, false);
            let pool = Pool::new(store.clone());
            let done = CompletionQueue::new(Waker::default(), 0);
            let request = BlockRequest { token: 1, op, offset: 0, payload: write(1), done: done.clone() };
            assert!(pool.submit(request).is_ok());
            until(|| done.pop().is_some());
            drop(pool);
            assert_eq!(store.flushes.load(Ordering::SeqCst), flushes, "{op:?}");
            assert_eq!(Arc::strong_count(&store), 1, "nobody has it any more");
        }
    }
}
