//! Requests, answers and trays.

use super::inline::INLINE_DEPTH;
use super::medium::CHANGES;
use super::*;
use crate::events::{DeviceEvent, Observer, Watch};
use crate::rig::Rig;
use crate::wiring::Waker;

fn request(token: u64, op: BlockOp, offset: u64, payload: Payload, done: &CompletionQueue) -> BlockRequest {
    BlockRequest { token, op, offset, payload, done: done.clone() }
}

fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new((0..4096).map(|at| (at / 512) as u8).collect(), false))
}

#[test]
fn inline_answers_come_in_order_each_at_its_own_instant() {
    let mut rig = Rig::new();
    let inline = Inline::new(store(), rig.wiring());
    let done = CompletionQueue::new(Waker::default(), 0);
    let buffer = || Payload::Buffer(vec![0; 512]);
    assert!(inline.submit(request(1, BlockOp::Read, 512, buffer(), &done)).is_ok());
    rig.advance(INLINE_LATENCY / 2);
    assert!(inline.submit(request(2, BlockOp::Read, 4096, buffer(), &done)).is_ok());
    assert_eq!(done.pop(), None, "never from within");
    rig.advance(INLINE_LATENCY / 2 - 1);
    assert_eq!(done.pop(), None);
    rig.advance(1);
    assert_eq!(done.pop(), Some(Completion::new(1, Payload::Buffer(vec![1; 512]), Ok(()))));
    assert_eq!(done.pop(), None);
    rig.advance(INLINE_LATENCY / 2);
    let late = done.pop().unwrap();
    assert_eq!((late.token, late.result), (2, Err(BlockError::OutOfRange)));
}

/// Writes down what it is told, and sees to it that requests are sent again.
#[derive(Default)]
struct Heard {
    events: Mutex<Vec<DeviceEvent>>,
    retries: Mutex<Vec<Arc<dyn Retry>>>,
    nobody_stops: bool,
}

impl Observer for Heard {
    fn observe(&self, event: DeviceEvent) {
        lock(&self.events).push(event);
    }
    fn stops(&self, requests: Arc<dyn Retry>) -> bool {
        lock(&self.retries).push(requests);
        !self.nobody_stops
    }
}

/// One request to a store that is broken: what comes of it, and what was told of it.
fn failed(
    policy: ErrorPolicy,
    op: BlockOp,
    heard: &Arc<Heard>,
) -> (Option<Result<(), BlockError>>, Vec<ErrorAction>) {
    let mut rig = Rig::new();
    let store = store();
    let disk: Arc<dyn BlockBackend> = Arc::new(Inline::new(store.clone(), rig.wiring()));
    let requests = Requests::new(CompletionQueue::new(Waker::default(), 0));
    requests.on_errors(policy, Watch::new(3, heard.clone()));
    store.set_broken(true);
    let flight = requests.submit(&disk, op, 0, Payload::Buffer(vec![7; 512])).unwrap();
    rig.advance(INLINE_LATENCY);
    let answer = requests.next();
    assert!(answer.as_ref().is_none_or(|answer| flight.is(answer) && answer.buffer == [7; 512]));
    let action = |event| match event {
        DeviceEvent::BlockError { drive: 3, write, no_space: false, action }
            if write == (op != BlockOp::Read) =>
        {
            action
        }
        other => panic!("{other:?}"),
    };
    let told = std::mem::take(&mut *lock(&heard.events)).into_iter().map(action).collect();
    (answer.map(|answer| answer.result), told)
}

#[test]
fn errors_are_told_hidden_or_waited_for() {
    let heard = Arc::<Heard>::default();
    let told = (Some(Err(BlockError::Io)), vec![ErrorAction::Report]);
    let usual = ErrorPolicy::default();
    assert_eq!(failed(usual, BlockOp::Read, &heard), told);
    assert_eq!(failed(usual, BlockOp::Write, &heard), told, "that is no lack of space");
    let hidden = ErrorPolicy { read: OnError::Ignore, write: OnError::Stop };
    assert_eq!(failed(hidden, BlockOp::Read, &heard), (Some(Ok(())), vec![ErrorAction::Ignore]));
    assert_eq!(failed(hidden, BlockOp::Write, &heard), (None, vec![ErrorAction::Stop]));
    assert_eq!(failed(hidden, BlockOp::Flush, &heard), (None, vec![ErrorAction::Stop]));
    let nobody = Arc::new(Heard { nobody_stops: true, ..Heard::default() });
    assert_eq!(failed(hidden, BlockOp::Write, &nobody), told, "a guest that is not stopped hears of it");
    for word in ["report", "ignore", "stop", "enospc"] {
        assert_eq!(word.parse().map(OnError::name), Ok(word));
    }
}

#[test]
fn what_waits_is_sent_again_and_what_was_given_up_is_not() {
    let mut rig = Rig::new();
    let store = store();
    let disk: Arc<dyn BlockBackend> = Arc::new(Inline::new(store.clone(), rig.wiring()));
    let requests = Requests::new(CompletionQueue::new(Waker::default(), 0));
    let heard = Arc::<Heard>::default();
    let stop = ErrorPolicy { read: OnError::Stop, write: OnError::Stop };
    requests.on_errors(stop, Watch::new(0, heard.clone()));
    store.set_broken(true);
    let write = |offset, byte| {
        requests.submit(&disk, BlockOp::Write, offset, Payload::Buffer(vec![byte; 512])).unwrap()
    };
    let [first, second, third] = [(0, 0xa0), (512, 0xa1), (1024, 0xa2)].map(|(at, byte)| write(at, byte));
    rig.advance(INLINE_LATENCY);
    assert_eq!(requests.next(), None);
    assert!(!requests.idle() && requests.drained());
    let retry = lock(&heard.retries).pop().unwrap();
    drop(second);
    assert!(requests.drained(), "nothing of it runs");
    store.set_broken(false);
    retry.retry();
    assert!(!retry.waits());
    rig.advance(INLINE_LATENCY);
    for flight in [&first, &third] {
        assert!(requests.next().is_some_and(|answer| flight.is(&answer) && answer.result.is_ok()));
    }
    assert!(requests.next().is_none() && requests.idle());
    let contents = store.contents();
    assert_eq!([contents[0], contents[512], contents[1024]], [0xa0, 1, 0xa2]);
    // One that runs while it is given up is not kept, however it ends.
    store.set_broken(true);
    let late = write(0, 0xb0);
    rig.advance(INLINE_LATENCY);
    drop(late);
    assert_eq!(requests.next(), None);
    assert!(requests.idle() && !retry.waits());
}

#[test]
fn inline_has_so_many_waiting_and_no_more() {
    let mut rig = Rig::new();
    let inline = Inline::new(store(), rig.wiring());
    let done = CompletionQueue::new(Waker::default(), 0);
    let flush = |token| request(token, BlockOp::Flush, 0, Payload::None, &done);
    for token in 0..INLINE_DEPTH as u64 {
        assert!(inline.submit(flush(token)).is_ok());
    }
    assert!(inline.submit(flush(999)).is_err_and(|refused| refused.token == 999));
    rig.advance(INLINE_LATENCY);
    assert_eq!(std::iter::from_fn(|| done.pop()).count(), INLINE_DEPTH);
    assert!(inline.submit(flush(1000)).is_ok());
}

#[test]
fn guest_memory_is_filled_and_read_piece_by_piece() {
    let rig = Rig::new();
    let segments = vec![Segment { gpa: 0x100, len: 3 }, Segment { gpa: 0x200, len: 509 }];
    let mut payload = Payload::Guest(rig.ram().clone(), segments);
    let store = store();
    store.run(BlockOp::Read, 1024, &mut payload).unwrap();
    assert_eq!([rig.peek(0x100, 4), rig.peek(0x200, 4)], [vec![2, 2, 2, 0], vec![2; 4]]);
    rig.poke(0x102, &[9]);
    store.run(BlockOp::Write, 0, &mut payload).unwrap();
    assert_eq!(store.contents()[..5], [2, 2, 9, 2, 2]);
    let mut hole = Payload::Guest(rig.ram().clone(), vec![Segment { gpa: 1 << 40, len: 512 }]);
    assert_eq!(store.run(BlockOp::Read, 0, &mut hole), Err(BlockError::Io));
}

#[test]
fn a_medium_refuses_what_it_is_not_for() {
    let info = BlockInfo { size: 4096, read_only: true, physical_block: 512, discard: false };
    let check = |op, offset| check(&info, op, offset, &Payload::Buffer(vec![0; 512]));
    assert_eq!(check(BlockOp::Read, 3584), Ok(()));
    assert_eq!(check(BlockOp::Read, 3585), Err(BlockError::OutOfRange));
    assert_eq!(check(BlockOp::Read, u64::MAX), Err(BlockError::OutOfRange));
    assert_eq!(check(BlockOp::Write, 0), Err(BlockError::ReadOnly));
    assert_eq!(check(BlockOp::Discard(1), 0), Err(BlockError::ReadOnly));
    assert_eq!(check(BlockOp::Flush, 0), Ok(()));
}

#[test]
fn a_locked_tray_tells_its_drive_that_somebody_knocked() {
    let rig = Rig::new();
    let tray = Tray::new(Waker::default(), 2);
    tray.set_locked(true);
    assert_eq!(tray.eject(false), Err(Locked));
    assert_eq!(tray.eject(true), Ok(()));
    let inline: Arc<dyn BlockBackend> = Arc::new(Inline::new(store(), rig.wiring()));
    for _ in 0..100 {
        assert_eq!(tray.insert(inline.clone(), false), Err(Locked));
    }
    assert_eq!(std::iter::from_fn(|| tray.take()).count(), CHANGES);
}
