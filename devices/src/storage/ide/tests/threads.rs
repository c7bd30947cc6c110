//! Random accesses with requests truly in flight: threads of the host work while the guest goes on.

use std::collections::VecDeque;
use std::sync::Condvar;
use std::sync::atomic::{AtomicU64, Ordering};

use devices_core::block::{
    BlockError, BlockInfo, BlockRequest, BlockStore, Completion, CompletionQueue, Recall,
};
use devices_core::{Device, DeviceCell};

use super::fuzz::{Random, step};
use super::*;

/// Two threads, each now and then slow.
struct Threads {
    store: Arc<MemoryStore>,
    state: Mutex<State>,
    changed: Condvar,
    random: AtomicU64,
}

#[derive(Default)]
struct State {
    queue: VecDeque<BlockRequest>,
    running: usize,
    end: bool,
}

/// Lets the others go first for a while.
fn dawdle(turns: u64) {
    (0..turns).for_each(|_| std::thread::yield_now());
}

impl Threads {
    fn serve(&self) {
        let mut state = self.state.lock().unwrap();
        loop {
            let Some(request) = state.queue.pop_front() else {
                if state.end {
                    return;
                }
                state = self.changed.wait(state).unwrap();
                continue;
            };
            state.running += 1;
            drop(state);
            let random = self.random.fetch_add(0x9e37_79b9, Ordering::Relaxed).wrapping_mul(0x2545_f491) >> 7;
            if random.is_multiple_of(4) {
                dawdle(random / 4 % 400);
            }
            let BlockRequest { token, op, offset, mut payload, done } = request;
            let result = devices_core::block::check(&self.store.info(), op, offset, &payload)
                .and_then(|()| self.store.run(op, offset, &mut payload));
            state = self.state.lock().unwrap();
            state.running -= 1;
            drop(state);
            done.deliver(Completion::new(token, payload, result));
            state = self.state.lock().unwrap();
        }
    }
}

impl BlockBackend for Threads {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        self.state.lock().unwrap().queue.push_back(request);
        self.changed.notify_one();
        Ok(())
    }
    fn recall(&self, done: &CompletionQueue, token: u64, what: Recall) -> Option<Completion> {
        let queue = &mut self.state.lock().unwrap().queue;
        let at = queue.iter().position(|request| request.token == token && request.done.is(done))?;
        let BlockRequest { token, payload, .. } = queue.remove(at).filter(|_| what == Recall::Request)?;
        Some(Completion::new(token, payload, Err(BlockError::Cancelled)))
    }
    fn idle(&self) -> bool {
        let state = self.state.lock().unwrap();
        state.queue.is_empty() && state.running == 0
    }
}

/// Lets the threads end with the test.
struct Served(Arc<Threads>);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.state.lock().unwrap().end = true;
        self.0.changed.notify_all();
    }
}

fn slot(m: &Machine) -> Arc<DeviceCell<dyn Device>> {
    m.rig.bus().slots().remove(0).1
}

/// Has both channels reset and waits for the end of that as a driver does.
fn reset(m: &mut Machine) {
    for base in [0x1f0u16, 0x170] {
        m.rig.outb(base + 0x206, 4);
        m.rig.outb(base + 0x206, 0);
    }
    while m.rig.inb(0x3f6) & BSY != 0 || m.rig.inb(0x376) & BSY != 0 {
        std::thread::yield_now();
    }
}

/// Random accesses in rounds. After each something that ends all commands, and then not a byte may move.
fn run(seed: u64, rounds: u32) {
    let served: Mutex<Vec<Served>> = Mutex::default();
    let mut m = Machine::with(false, |_, store| {
        let (state, changed, random) = (Mutex::default(), Condvar::new(), AtomicU64::new(seed));
        let threads = Arc::new(Threads { store, state, changed, random });
        for _ in 0..2 {
            let threads = threads.clone();
            std::thread::spawn(move || threads.serve());
        }
        served.lock().unwrap().push(Served(threads.clone()));
        threads
    });
    let mut random = Random(seed);
    for _ in 0..rounds {
        for _ in 0..random.next(60) {
            step(&mut m, &mut random);
        }
        match random.next(3) {
            0 => {
                m.rig.reset();
                while !slot(&m).lock().drained() {
                    std::thread::yield_now();
                }
            }
            1 => {
                // Another life of the same controller: what was in flight is sent anew, and not past itself.
                let saved = m.rig.bus().save().unwrap().remove(0).1;
                m.rig.reset();
                m.rig.bus().load("ide", &saved).unwrap().unwrap();
                m.rig.bus().remap_all();
                reset(&mut m);
            }
            _ => reset(&mut m),
        }
        m.rig.poke(0x2_0000, &[0xaa; 0x2_0000]);
        let contents = m.disk.contents();
        dawdle(random.next(600));
        assert!(m.rig.peek(0x2_0000, 0x2_0000).iter().all(|&byte| byte == 0xaa), "an old read came late");
        assert!(m.disk.contents() == contents, "an old write came late");
        m.rig.config_write(1, 1, pci_reg::BAR0 + 16, Size::B4, BM.into());
        m.rig.config_write(1, 1, pci_reg::COMMAND, Size::B2, 5);
    }
    while !slot(&m).lock().quiesce() {
        std::thread::yield_now();
    }
}

#[test]
fn after_a_reset_nothing_old_moves() {
    (1..=4).for_each(|seed| run(seed, 30));
}

#[test]
#[ignore = "soak: minutes of random accesses with threads of the host"]
fn soak_requests_in_flight() {
    (100..400).for_each(|seed| run(seed, 300));
}
