//! Requests, answers and trays.

use super::inline::INLINE_DEPTH;
use super::medium::CHANGES;
use super::*;
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
    assert_eq!(done.pop(), Some(Completion { token: 1, result: Ok(()), buffer: vec![1; 512] }));
    assert_eq!(done.pop(), None);
    rig.advance(INLINE_LATENCY / 2);
    let late = done.pop().unwrap();
    assert_eq!((late.token, late.result), (2, Err(BlockError::OutOfRange)));
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
