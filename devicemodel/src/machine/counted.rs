//! The image in a drive as the drive has it: its requests are counted, and it can be taken away.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use devices_core::Wiring;
use devices_core::block::{
    BlockBackend, BlockError, BlockInfo, BlockOp, BlockRequest, BlockStore, Completion, CompletionQueue,
    Inline, Payload, Recall,
};

use crate::monitor::info::BlockStats;

/// How often it is looked whether an image that was taken away has ended its work.
const LOOK: Duration = Duration::from_millis(10);

/// What went through a drive.
#[derive(Debug, Default)]
pub(super) struct Counters {
    reads: AtomicU64,
    read_bytes: AtomicU64,
    writes: AtomicU64,
    written_bytes: AtomicU64,
    flushes: AtomicU64,
}

impl Counters {
    pub(super) fn stats(&self) -> BlockStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BlockStats {
            rd_bytes: of(&self.read_bytes),
            wr_bytes: of(&self.written_bytes),
            rd_operations: of(&self.reads),
            wr_operations: of(&self.writes),
            flush_operations: of(&self.flushes),
        }
    }

    fn count(&self, op: BlockOp, len: u64) {
        let add = |counter: &AtomicU64, by| counter.fetch_add(by, Ordering::Relaxed);
        match op {
            BlockOp::Read => {
                add(&self.reads, 1);
                add(&self.read_bytes, len);
            }
            BlockOp::Write => {
                add(&self.writes, 1);
                add(&self.written_bytes, len);
            }
            BlockOp::Flush => {
                add(&self.flushes, 1);
            }
            BlockOp::Discard(_) => {}
        }
    }
}

/// An image whose requests are counted.
pub(super) struct Counted {
    image: RwLock<Images>,
    counters: Arc<Counters>,
}

/// What answers.
struct Images {
    now: Arc<dyn BlockBackend>,
    /// What was taken away while it worked, until it has ended that.
    before: Option<Weak<dyn BlockBackend>>,
}

impl Images {
    fn before(&self) -> Option<Arc<dyn BlockBackend>> {
        self.before.as_ref()?.upgrade()
    }
}

/// An image that was taken away.
struct Gone(BlockInfo);

impl BlockStore for Gone {
    fn info(&self) -> BlockInfo {
        self.0
    }
    fn run(&self, _: BlockOp, _: u64, _: &mut Payload) -> Result<(), BlockError> {
        Err(BlockError::Gone)
    }
}

impl Counted {
    pub(super) fn new(image: Arc<dyn BlockBackend>, counters: Arc<Counters>) -> Counted {
        Counted { image: RwLock::new(Images { now: image, before: None }), counters }
    }

    fn now(&self) -> Arc<dyn BlockBackend> {
        self.image.read().unwrap_or_else(PoisonError::into_inner).now.clone()
    }

    /// The image is closed: at once if nothing is in flight there, otherwise by a thread when that has ended. Every request
    /// from now on fails, by timers of `wiring`; the medium looks as large as before.
    pub(super) fn take_away(&self, wiring: &Wiring) {
        let gone = Arc::new(Gone(self.info()));
        let gone: Arc<dyn BlockBackend> = Arc::new(Inline::new(gone, wiring.clone()));
        let mut images = self.image.write().unwrap_or_else(PoisonError::into_inner);
        let image = std::mem::replace(&mut images.now, gone);
        images.before = Some(Arc::downgrade(&image));
        // Closing may wait for the host: no vCPU is to wait for that.
        drop(images);
        if image.idle() {
            return;
        }
        let close = move || {
            while !image.idle() {
                std::thread::sleep(LOOK);
            }
        };
        // Without a thread it is closed here, which waits for what is in flight within the pool's patience.
        if let Err(error) = std::thread::Builder::new().name("disk".into()).spawn(close) {
            tracing::warn!(%error, "a disk that was taken away is closed with its work in flight");
        }
    }
}

impl BlockBackend for Counted {
    fn info(&self) -> BlockInfo {
        self.now().info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let (op, len) = (request.op, request.payload.len());
        self.image.read().unwrap_or_else(PoisonError::into_inner).now.submit(request)?;
        self.counters.count(op, len);
        Ok(())
    }
    fn recall(&self, done: &CompletionQueue, token: u64, what: Recall) -> Option<Completion> {
        let images = self.image.read().unwrap_or_else(PoisonError::into_inner);
        let before = || images.before()?.recall(done, token, what);
        images.now.recall(done, token, what).or_else(before)
    }
    fn idle(&self) -> bool {
        let images = self.image.read().unwrap_or_else(PoisonError::into_inner);
        images.now.idle() && images.before().is_none_or(|image| image.idle())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;
    use std::time::Instant;

    use devices_core::block::{MemoryStore, SECTOR};
    use devices_core::rig::Rig;

    use super::*;

    /// A medium that is busy as long as it is told to be, and answers nothing.
    struct Slow(Arc<AtomicBool>);

    impl BlockBackend for Slow {
        fn info(&self) -> BlockInfo {
            MemoryStore::new(vec![0; 4096], false).info()
        }
        fn submit(&self, _: BlockRequest) -> Result<(), BlockRequest> {
            Ok(())
        }
        fn idle(&self) -> bool {
            !self.0.load(Ordering::Acquire)
        }
    }

    fn read(token: u64, done: &CompletionQueue) -> BlockRequest {
        let payload = Payload::Buffer(vec![1; SECTOR as usize]);
        BlockRequest { token, op: BlockOp::Read, offset: 0, payload, done: done.clone() }
    }

    #[test]
    fn what_was_taken_away_fails_and_is_closed_when_it_has_ended_its_work() {
        let mut rig = Rig::new();
        let (busy, counters) = (Arc::new(AtomicBool::new(true)), Arc::new(Counters::default()));
        let medium: Arc<dyn BlockBackend> = Arc::new(Slow(busy.clone()));
        let open = Arc::downgrade(&medium);
        let counted = Counted::new(medium, counters.clone());
        let done = CompletionQueue::new(rig.wiring().waker(), 0);
        counted.submit(read(1, &done)).ok().unwrap();
        counted.take_away(&rig.wiring());
        assert!(!counted.idle(), "the first request is not over");
        assert_eq!(counted.info().size, 4096);
        counted.submit(read(2, &done)).ok().unwrap();
        assert!(open.upgrade().is_some());
        rig.advance(devices_core::block::INLINE_LATENCY);
        let answer = done.pop().unwrap();
        assert_eq!((answer.token, answer.result), (2, Err(BlockError::Gone)));
        assert!(open.upgrade().is_some(), "it is closed with its work in flight");
        busy.store(false, Ordering::Release);
        assert!(counted.idle());
        let until = Instant::now() + Duration::from_secs(60);
        while open.upgrade().is_some() {
            assert!(Instant::now() < until, "nobody closes it");
            std::thread::sleep(LOOK);
        }
        assert_eq!(counters.stats().rd_operations, 2);
    }
}
