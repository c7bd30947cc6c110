//! Timers by guest time: one queue a machine, the same for devices and for local APICs.
//!
//! The queue only orders; it does not run by itself. With a host clock a thread serves it
//! ([`TimerQueue::serve`]), but while a halted vCPU waits for the deadlines in its place ([`Keeper`]); with instruction
//! counting the vCPU loop asks for [`next_deadline`](TimerQueue::next_deadline) and calls [`fire`](TimerQueue::fire) when
//! it is reached, so that a run repeats exactly. Timers of one instant fire in the order in which they were armed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

use crate::Clock;

type Callback = Arc<dyn Fn() + Send + Sync>;
/// Wakes who sleeps as the [`Keeper`] of a queue.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// How long the serving thread sleeps while somebody else keeps the queue, in nanoseconds.
const WATCH: u64 = 1_000_000_000;
/// A keeper that is so late with a deadline, in nanoseconds, is one no more.
const LATE: u64 = 10_000_000;

/// A machine's timers. Clones are handles to the same queue.
#[derive(Clone, Default)]
pub struct TimerQueue {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
    /// Earliest deadline plus one; zero when there is none. Read without the lock by vCPU loops.
    next: AtomicU64,
}

#[derive(Default)]
struct Inner {
    /// Armed timers by (deadline, order of arming).
    armed: BTreeMap<(u64, u64), Callback>,
    sequence: u64,
    closed: bool,
    /// Until which deadline the thread that serves the queue sleeps, for ever: `u64::MAX`; None: it does not sleep, or
    /// has been woken. Nobody wakes it for what is later: who arms a timer mostly has just been woken by another, and
    /// arms and cancels some before it waits again.
    sleeps_until: Option<u64>,
    /// Who waits for the deadlines in that thread's place.
    kept: Option<Kept>,
    /// Keepers that there have been.
    keepers: u64,
}

struct Kept {
    keeper: u64,
    wake: Waker,
    /// Until which deadline it sleeps, as of the serving thread.
    sleeps_until: Option<u64>,
}

impl Inner {
    fn next(&self) -> Option<u64> {
        self.armed.keys().next().map(|(deadline, _)| *deadline)
    }
    fn kept_by(&mut self, keeper: u64) -> Option<&mut Kept> {
        self.kept.as_mut().filter(|kept| kept.keeper == keeper)
    }
    /// Whether the deadlines are looked after by somebody else. One who is late is asked no more.
    fn is_kept(&mut self, now: u64) -> bool {
        if self.next().is_some_and(|next| next.saturating_add(LATE) <= now) {
            self.kept = None;
        }
        self.kept.is_some()
    }
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
    /// Tells the earliest deadline, and who sleeps past it.
    fn publish(&self, mut inner: MutexGuard<'_, Inner>) {
        let next = inner.next();
        self.next.store(next.map_or(0, |deadline| deadline.saturating_add(1)), Ordering::Release);
        let oversleeps = |until: &mut Option<u64>| {
            let oversleeps = next.zip(*until).is_some_and(|(next, until)| next < until);
            oversleeps && until.take().is_some()
        };
        // Who is woken wants the lock first.
        match &mut inner.kept {
            Some(kept) => {
                if oversleeps(&mut kept.sleeps_until) {
                    let wake = kept.wake.clone();
                    drop(inner);
                    wake();
                }
            }
            None => {
                if oversleeps(&mut inner.sleeps_until) {
                    drop(inner);
                    self.changed.notify_all();
                }
            }
        }
    }
}

impl TimerQueue {
    /// An empty queue.
    pub fn new() -> TimerQueue {
        TimerQueue::default()
    }

    /// A timer that calls `callback` each time it fires. The callback runs with no lock of the queue
    /// held and may arm or cancel any timer.
    pub fn timer(&self, callback: impl Fn() + Send + Sync + 'static) -> Timer {
        Timer { queue: Arc::downgrade(&self.shared), callback: Arc::new(callback), key: None, told: None }
    }

    /// The earliest deadline in nanoseconds of guest time. Takes no lock.
    pub fn next_deadline(&self) -> Option<u64> {
        self.shared.next.load(Ordering::Acquire).checked_sub(1)
    }

    /// Fires everything due at `now`. Timers armed by a callback for an instant that is already past
    /// fire at the next call, so this always ends.
    pub fn fire(&self, now: u64) {
        let due: Vec<Callback> = {
            let mut inner = self.shared.inner();
            let later = inner.armed.split_off(&(now.saturating_add(1), 0));
            let due = std::mem::replace(&mut inner.armed, later);
            self.shared.publish(inner);
            due.into_values().collect()
        };
        for callback in due {
            callback();
        }
    }

    /// Serves the queue on this thread until [`close`](TimerQueue::close): sleeps until the earliest
    /// deadline by `clock` and fires. Sleeps without limit when nothing is armed.
    pub fn serve(&self, clock: &dyn Clock) {
        loop {
            let now = clock.now();
            crate::thread_role::at(crate::thread_role::Role::Vcpu);
            let kept = self.shared.inner().is_kept(now);
            if !kept {
                self.fire(now);
            }
            let mut inner = self.shared.inner();
            if inner.closed {
                return;
            }
            let until = match inner.kept {
                // Looked at with the lock held, which whoever starts it takes after that.
                _ if clock.is_stopped() => u64::MAX,
                Some(_) => now.saturating_add(WATCH),
                None => inner.next().unwrap_or(u64::MAX),
            };
            let wait = until.saturating_sub(now);
            if wait == 0 {
                continue;
            }
            inner.sleeps_until = Some(until);
            // A wait ends early for an earlier deadline; a stopped clock is looked at again when its owner calls `kick`.
            let changed = &self.shared.changed;
            let woken = match until {
                u64::MAX => changed.wait(inner).ok(),
                _ => changed.wait_timeout(inner, Duration::from_nanos(wait)).map(|(inner, _)| inner).ok(),
            };
            if let Some(mut inner) = woken {
                inner.sleeps_until = None;
            }
        }
    }

    /// From now on the caller waits for the deadlines in the place of the thread that serves the queue: one that sleeps
    /// anyway until something comes, and is mostly what the timers wake. `wake` ends its sleep when a timer is armed for
    /// an earlier instant than it sleeps to; it is called with no lock of the queue held. None if somebody does so
    /// already.
    pub fn keep(&self, wake: &Waker) -> Option<Keeper> {
        let mut inner = self.shared.inner();
        if inner.kept.is_some() {
            return None;
        }
        inner.keepers += 1;
        let keeper = inner.keepers;
        inner.kept = Some(Kept { keeper, wake: wake.clone(), sleeps_until: None });
        Some(Keeper { queue: self.clone(), keeper })
    }

    /// Makes [`serve`](TimerQueue::serve) look at the clock again, after it was stopped, started or set.
    pub fn kick(&self) {
        let _state = self.shared.inner();
        self.shared.changed.notify_all();
    }

    /// Makes [`serve`](TimerQueue::serve) return, now and ever after.
    pub fn close(&self) {
        self.shared.inner().closed = true;
        self.shared.changed.notify_all();
    }
}

/// Who waits for a queue's deadlines in the place of the thread that serves it, until this is dropped.
///
/// It may do other things for a moment without telling anybody, what the timers woke it for and what arms the next ones:
/// an idle guest's timer then wakes one thread and not two. Who stays away for longer gives it up; one that is late by
/// 10 ms is not asked any more when the serving thread looks (every second).
pub struct Keeper {
    queue: TimerQueue,
    keeper: u64,
}

impl Keeper {
    /// Fires what is due.
    pub fn fire(&self, now: u64) {
        if self.queue.next_deadline().is_some_and(|next| next <= now) {
            self.queue.fire(now);
        }
    }
    /// The instant to sleep to, of which whoever arms an earlier timer is told: the earliest deadline, for ever:
    /// `u64::MAX`. None: somebody else looks after the deadlines by now.
    pub fn sleep(&self) -> Option<u64> {
        let mut inner = self.queue.shared.inner();
        let until = inner.next().unwrap_or(u64::MAX);
        inner.kept_by(self.keeper)?.sleeps_until = Some(until);
        Some(until)
    }
    /// It is awake and need not be woken.
    pub fn awake(&self) {
        if let Some(kept) = self.queue.shared.inner().kept_by(self.keeper) {
            kept.sleeps_until = None;
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let shared = &self.queue.shared;
        let mut inner = shared.inner();
        if inner.kept_by(self.keeper).is_some() {
            inner.kept = None;
            shared.publish(inner);
        }
    }
}

/// Hears of a timer's deadlines: None when it is cancelled.
type Told = Box<dyn Fn(Option<u64>) + Send + Sync>;

/// One timer. Dropping it cancels it.
pub struct Timer {
    queue: Weak<Shared>,
    callback: Callback,
    key: Option<(u64, u64)>,
    told: Option<Told>,
}

impl Timer {
    /// The same timer, whose deadlines `told` hears of, for a recording.
    pub fn told(mut self, told: impl Fn(Option<u64>) + Send + Sync + 'static) -> Timer {
        self.told = Some(Box::new(told));
        self
    }

    /// Fires once at `deadline` (nanoseconds of guest time), or as soon as the queue is served if that
    /// is past. Replaces an earlier deadline.
    pub fn arm(&mut self, deadline: u64) {
        if let Some(told) = &self.told {
            told(Some(deadline));
        }
        let Some(shared) = self.queue.upgrade() else { return };
        let mut inner = shared.inner();
        if let Some(key) = self.key.take() {
            inner.armed.remove(&key);
        }
        inner.sequence += 1;
        let key = (deadline, inner.sequence);
        inner.armed.insert(key, self.callback.clone());
        self.key = Some(key);
        shared.publish(inner);
    }

    /// Does not fire any more. A callback that has already begun on another thread still ends.
    pub fn cancel(&mut self) {
        if let Some(told) = &self.told {
            told(None);
        }
        let Some(key) = self.key.take() else { return };
        let Some(shared) = self.queue.upgrade() else { return };
        let mut inner = shared.inner();
        if inner.armed.remove(&key).is_some() {
            shared.publish(inner);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::HostClock;

    type Log = Arc<Mutex<Vec<u32>>>;

    fn recorder() -> (Log, impl Fn(u32) -> Box<dyn Fn() + Send + Sync>) {
        let log = Arc::new(Mutex::new(Vec::new()));
        let to = log.clone();
        (log, move |n| {
            let to = to.clone();
            Box::new(move || to.lock().unwrap().push(n))
        })
    }

    #[test]
    fn fires_in_order_of_deadline_then_of_arming() {
        let queue = TimerQueue::new();
        let (log, note) = recorder();
        let mut timers: Vec<Timer> = (0..4).map(|n| queue.timer(note(n))).collect();
        timers[0].arm(50);
        timers[1].arm(20);
        timers[2].arm(20);
        timers[3].arm(20);
        timers[3].cancel();
        assert_eq!(queue.next_deadline(), Some(20));
        queue.fire(19);
        assert!(log.lock().unwrap().is_empty());
        queue.fire(20);
        assert_eq!(*log.lock().unwrap(), [1, 2]);
        timers[1].arm(60);
        queue.fire(60);
        assert_eq!(*log.lock().unwrap(), [1, 2, 0, 1]);
        assert_eq!(queue.next_deadline(), None);
    }

    #[test]
    fn a_dropped_timer_is_silent() {
        let queue = TimerQueue::new();
        let (log, note) = recorder();
        let mut timer = queue.timer(note(1));
        timer.arm(1);
        drop(timer);
        queue.fire(10);
        assert!(log.lock().unwrap().is_empty());
        assert_eq!(queue.next_deadline(), None);
    }

    #[test]
    fn a_thread_serves_by_the_clock() {
        let queue = TimerQueue::new();
        let clock = Arc::new(HostClock::new());
        let (send, receive) = std::sync::mpsc::channel();
        let server = serving(&queue, &clock);
        let now = clock.clone();
        let mut timer = queue.timer(move || send.send(now.now()).unwrap());
        clock.start();
        timer.arm(3_000_000);
        let fired = receive.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(fired >= 3_000_000);
        queue.close();
        server.join().unwrap();
    }

    /// A thread that serves the queue.
    fn serving(queue: &TimerQueue, clock: &Arc<HostClock>) -> std::thread::JoinHandle<()> {
        let (on, at) = (queue.clone(), clock.clone());
        std::thread::spawn(move || on.serve(&*at))
    }

    /// Until when the serving thread sleeps, when it does.
    fn sleeps_until(queue: &TimerQueue) -> u64 {
        loop {
            if let Some(until) = queue.shared.inner().sleeps_until {
                return until;
            }
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_keeper_is_woken_and_not_the_thread_until_it_gives_up() {
        let queue = TimerQueue::new();
        let clock = Arc::new(HostClock::new());
        clock.start();
        let server = serving(&queue, &clock);
        let woken = Arc::new(AtomicU64::new(0));
        let count = woken.clone();
        let wake: Waker = Arc::new(move || {
            count.fetch_add(1, Ordering::Relaxed);
        });
        let (log, note) = recorder();
        let mut timers: Vec<Timer> = (0..3).map(|n| queue.timer(note(n))).collect();
        const HOUR: u64 = 3_600_000_000_000;
        assert_eq!(sleeps_until(&queue), u64::MAX);
        let keeper = queue.keep(&wake).unwrap();
        assert!(queue.keep(&wake).is_none(), "one is enough");
        timers[0].arm(5 * HOUR);
        assert_eq!(queue.shared.inner().sleeps_until, Some(u64::MAX), "the thread sleeps on");
        assert_eq!((keeper.sleep(), woken.load(Ordering::Relaxed)), (Some(5 * HOUR), 0));
        timers[1].arm(6 * HOUR);
        assert_eq!(woken.load(Ordering::Relaxed), 0, "for what is later");
        timers[1].arm(4 * HOUR);
        timers[2].arm(3 * HOUR);
        assert_eq!(woken.load(Ordering::Relaxed), 1, "once for two");
        keeper.awake();
        keeper.fire(3 * HOUR);
        assert_eq!(*log.lock().unwrap(), [2]);
        drop(keeper);
        assert_eq!(sleeps_until(&queue), 4 * HOUR, "the thread has it again");
        queue.close();
        server.join().unwrap();
    }

    #[test]
    fn a_keeper_that_stays_away_is_one_no_more() {
        let queue = TimerQueue::new();
        let wake: Waker = Arc::new(|| ());
        let keeper = queue.keep(&wake).unwrap();
        let clock = Arc::new(HostClock::new());
        clock.start();
        let (send, receive) = std::sync::mpsc::channel();
        let mut timer = queue.timer(move || send.send(()).unwrap());
        timer.arm(1_000_000);
        let server = serving(&queue, &clock);
        receive.recv_timeout(Duration::from_secs(20)).unwrap();
        assert_eq!(keeper.sleep(), None);
        drop(keeper);
        assert!(queue.keep(&wake).is_some());
        queue.close();
        server.join().unwrap();
    }

    #[test]
    fn nobody_looks_at_a_clock_that_stands() {
        let queue = TimerQueue::new();
        let clock = Arc::new(HostClock::new());
        let (send, receive) = std::sync::mpsc::channel();
        let mut timer = queue.timer(move || send.send(()).unwrap());
        // A moment away: it would be looked for again and again.
        timer.arm(1_000);
        let server = serving(&queue, &clock);
        assert_eq!(sleeps_until(&queue), u64::MAX);
        assert!(receive.try_recv().is_err());
        clock.start();
        queue.kick();
        receive.recv_timeout(Duration::from_secs(20)).unwrap();
        clock.stop();
        queue.close();
        server.join().unwrap();
    }

    #[test]
    fn nobody_is_woken_for_what_is_later() {
        let queue = TimerQueue::new();
        let clock = Arc::new(HostClock::new());
        clock.start();
        let server = serving(&queue, &clock);
        let mut timers: Vec<Timer> = (0..3).map(|_| queue.timer(|| ())).collect();
        assert_eq!(sleeps_until(&queue), u64::MAX);
        const HOUR: u64 = 3_600_000_000_000;
        timers[0].arm(5 * HOUR);
        assert_eq!(sleeps_until(&queue), 5 * HOUR);
        timers[1].arm(7 * HOUR);
        timers[0].arm(9 * HOUR);
        timers[1].cancel();
        assert_eq!(queue.shared.inner().sleeps_until, Some(5 * HOUR), "it sleeps on");
        assert_eq!(queue.next_deadline(), Some(9 * HOUR));
        timers[2].arm(4 * HOUR);
        assert_eq!(sleeps_until(&queue), 4 * HOUR);
        queue.close();
        server.join().unwrap();
    }
}
