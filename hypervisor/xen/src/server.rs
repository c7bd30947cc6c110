//! The ioreq server: the pages that Xen shares with us, and the threads that answer.
//!
//! vCPU n is served by thread n mod N, each with event channels of its own, so that vCPUs that talk to
//! different devices do not wait for each other. The ring of buffered writes belongs to thread 0; whoever
//! answers a request carries the ring out first, for its writes came before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use hypervisor::{Dispatch, GuestRam};
use ioreq::page::{Page, SLOTS};
use ioreq::ring::{Discipline, Drained, Ring};
use ioreq::{Request, Target};

use crate::abi::dm::*;
use crate::domain::Domain;
use crate::error::CallError;
use crate::foreign::ForeignRam;
use crate::kernel::Events;
use crate::pages::Pages;
use crate::rom::Roms;

/// Most events that are taken at once.
const EVENTS: usize = 64;
/// Turns of the ring at a pause: more than it holds means that somebody else writes its pointers.
const LAST_TURNS: usize = 4;

/// One thread's part.
struct Worker {
    events: Box<dyn Events>,
    /// vCPUs and their ports on our side.
    vcpus: Vec<(u32, u32)>,
    /// The ring's port on our side, if it is this thread's.
    ring: Option<u32>,
}

#[derive(Default)]
struct Running {
    paused: bool,
    stopped: bool,
    /// Threads that are not parked.
    active: usize,
}

/// The server.
pub struct Server {
    domain: Arc<Domain>,
    id: u16,
    pages: Pages,
    workers: Vec<Worker>,
    /// Carries out buffered writes, while threads run.
    ring: Mutex<Option<Box<dyn Dispatch>>>,
    running: Mutex<Running>,
    changed: Condvar,
    /// Somebody must look at `running`.
    attention: AtomicBool,
    /// Guest memory that is mapped in pieces.
    foreign: Vec<Arc<ForeignRam>>,
    ram: GuestRam,
    roms: Arc<Roms>,
}

/// What the threads need beside the pages.
pub struct Surroundings {
    /// Regions that an invalidation concerns.
    pub foreign: Vec<Arc<ForeignRam>>,
    /// All of them.
    pub ram: GuestRam,
    /// ROMs that we answer.
    pub roms: Arc<Roms>,
}

impl Server {
    /// Makes a server, enables it and connects to its event channels. Threads start with
    /// [`run`](Server::run), paused.
    pub fn new(
        domain: Arc<Domain>,
        vcpus: u32,
        threads: u32,
        surroundings: Surroundings,
    ) -> Result<Server, CallError> {
        let create = CreateIoreqServer { handle_bufioreq: BUFIOREQ_ATOMIC, ..Default::default() };
        let id = domain.op(create)?.id;
        match Server::connect(&domain, id, vcpus, threads) {
            Ok((pages, workers)) => {
                let Surroundings { foreign, ram, roms } = surroundings;
                let running = Running { paused: true, ..Running::default() };
                Ok(Server {
                    domain,
                    id,
                    pages,
                    workers,
                    ring: Mutex::default(),
                    running: Mutex::new(running),
                    changed: Condvar::new(),
                    attention: AtomicBool::new(true),
                    foreign,
                    ram,
                    roms,
                })
            }
            Err(error) => {
                // The first failure is the one to tell.
                let _ = domain.op(DestroyIoreqServer { id, pad: 0 });
                Err(error)
            }
        }
    }

    fn connect(
        domain: &Domain,
        id: u16,
        vcpus: u32,
        threads: u32,
    ) -> Result<(Pages, Vec<Worker>), CallError> {
        let kernel = domain.kernel();
        let pages = kernel.map_ioreq_server(domain.id(), id);
        let what = format!(" (ioreq server {id})");
        let pages = pages.map_err(|e| domain.failed("IOCTL_PRIVCMD_MMAP_RESOURCE", what, e))?;
        let info = GetIoreqServerInfo { id, flags: NO_GFNS, ..Default::default() };
        let ring_port = domain.op(info)?.bufioreq_port;
        // The slots' ports are there only now.
        domain.op(SetIoreqServerState { id, enabled: 1, pad: 0 })?;
        let open = |_| kernel.events().map_err(|error| CallError::new("open of event channels", error));
        let events: Vec<Box<dyn Events>> = (0..threads).map(open).collect::<Result<_, _>>()?;
        let mut workers: Vec<Worker> =
            events.into_iter().map(|events| Worker { events, vcpus: Vec::new(), ring: None }).collect();
        let bind = |worker: &Worker, port: u32| {
            let bound = worker.events.bind(domain.id(), port);
            bound.map_err(|e| domain.failed("IOCTL_EVTCHN_BIND_INTERDOMAIN", format!(" (port {port})"), e))
        };
        let slots = slots(&pages);
        for vcpu in 0..vcpus {
            let (at, slot) = ((vcpu % threads) as usize, &slots.slots[vcpu as usize]);
            let Some(worker) = workers.get_mut(at) else { break };
            let port = bind(worker, slot.port())?;
            worker.vcpus.push((vcpu, port));
        }
        if let Some(worker) = workers.first_mut() {
            worker.ring = Some(bind(worker, ring_port)?);
        }
        Ok((pages, workers))
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.workers.len()
    }

    fn ring_page(&self) -> &Ring {
        // SAFETY: the first page is mapped for as long as the server lives; the ring is a page of atomics, so
        // that whatever others write there meanwhile is a value.
        unsafe { self.pages.addr().cast::<Ring>().as_ref() }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Changes what the threads shall do, and has them look.
    fn tell(&self, change: impl FnOnce(&mut Running)) {
        let mut running = self.running();
        change(&mut running);
        // Under the lock: a resume that comes now must not be undone.
        self.attention.store(true, Ordering::Release);
        drop(running);
        self.workers.iter().for_each(|worker| worker.events.wake());
        self.changed.notify_all();
    }

    /// The threads park when they have answered what they are at.
    pub fn suspend(&self) {
        self.tell(|running| running.paused = true);
    }

    /// Waits until every thread is parked. Not from one of them.
    pub fn wait_parked(&self) {
        let mut running = self.running();
        while running.active > 0 && running.paused && !running.stopped {
            running = self.changed.wait(running).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// The same in bounded time: false, if one is not.
    pub fn wait_parked_within(&self, patience: Duration) -> bool {
        let moves = |running: &mut Running| running.active > 0 && running.paused && !running.stopped;
        let waited = self.changed.wait_timeout_while(self.running(), patience, moves);
        let (mut running, _) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
        !moves(&mut running)
    }

    /// Waits until the threads have been told to stop, and have.
    fn wait_ended(&self) {
        let mut running = self.running();
        while running.active > 0 || !running.stopped {
            running = self.changed.wait(running).unwrap_or_else(|poisoned| poisoned.into_inner());
        }
    }

    /// The threads go on, beginning with whatever came meanwhile.
    pub fn resume(&self) {
        let mut running = self.running();
        running.paused = false;
        self.attention.store(running.stopped, Ordering::Release);
        self.changed.notify_all();
    }

    /// The threads end.
    pub fn stop(&self) {
        self.tell(|running| running.stopped = true);
    }

    /// Whether Xen asks us at all. Accesses while it does not read as all ones and go nowhere.
    pub fn enable(&self, enabled: bool) -> Result<(), CallError> {
        let op = SetIoreqServerState { id: self.id, enabled: enabled.into(), pad: 0 };
        self.domain.op(op).map(|_| ())
    }

    /// Gives up binding to other domains.
    pub fn restrict(&self) -> Result<(), CallError> {
        let id = self.domain.id();
        self.workers.iter().try_for_each(|worker| {
            let done = worker.events.restrict(id);
            done.map_err(|e| self.domain.failed("IOCTL_EVTCHN_RESTRICT_DOMID", String::new(), e))
        })
    }

    /// Carries out what is left in the ring, while the threads are parked and the server is disabled.
    pub fn empty_ring(&self) {
        for _ in 0..LAST_TURNS {
            if self.drain() != Drained::More {
                return;
            }
        }
    }

    /// Runs the threads until [`stop`](Server::stop). `beside` is run on a further one, until `end` ends it.
    pub fn run(
        &self,
        dispatch: &mut dyn FnMut(u32) -> Box<dyn Dispatch>,
        beside: impl FnOnce() + Send,
        end: impl Fn(),
    ) -> std::io::Result<()> {
        *self.ring() = Some(dispatch(0));
        let dispatchers: Vec<Vec<Box<dyn Dispatch>>> = self
            .workers
            .iter()
            .map(|worker| worker.vcpus.iter().map(|(vcpu, _)| dispatch(*vcpu)).collect())
            .collect();
        self.running().active += self.workers.len();
        let result = std::thread::scope(|scope| {
            scope.spawn(beside);
            // However this ends.
            let _end = Finally(|| {
                self.wait_ended();
                end();
            });
            for (n, (worker, dispatchers)) in self.workers.iter().zip(dispatchers).enumerate() {
                let thread = std::thread::Builder::new().name(format!("ioreq-{n}"));
                let spawned = thread.spawn_scoped(scope, move || self.work(worker, dispatchers));
                if let Err(error) = spawned {
                    self.running().active -= self.workers.len() - n;
                    self.stop();
                    return Err(error);
                }
            }
            Ok(())
        });
        *self.ring() = None;
        result
    }

    fn ring(&self) -> MutexGuard<'_, Option<Box<dyn Dispatch>>> {
        self.ring.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Waits while the machine is paused; false when it is over.
    fn park(&self) -> bool {
        let mut running = self.running();
        while running.paused && !running.stopped {
            running.active -= 1;
            self.changed.notify_all();
            running = self.changed.wait(running).unwrap_or_else(|poisoned| poisoned.into_inner());
            running.active += 1;
        }
        !running.stopped
    }

    fn work(&self, worker: &Worker, mut dispatchers: Vec<Box<dyn Dispatch>>) {
        let _leave = Leave(self);
        let mut ports = [0; EVENTS];
        while self.park() {
            // What came while nobody looked: its events may have been taken already.
            for (n, (vcpu, port)) in worker.vcpus.iter().enumerate() {
                self.answer(worker, *vcpu, *port, &mut *dispatchers[n]);
            }
            let mut more = worker.ring.is_some();
            while !self.attention.load(Ordering::Acquire) {
                let got = match worker.events.wait(&mut ports, !more) {
                    Ok(got) => got.min(EVENTS),
                    Err(error) => {
                        self.domain.complain(&CallError::new("read of event channels", error));
                        return self.stop();
                    }
                };
                for port in &ports[..got] {
                    more |= worker.ring == Some(*port);
                    if let Some(n) = worker.vcpus.iter().position(|(_, own)| own == port) {
                        self.answer(worker, worker.vcpus[n].0, *port, &mut *dispatchers[n]);
                    }
                }
                if more {
                    more = self.drain() == Drained::More;
                }
                if let Err(error) = worker.events.unmask(&ports[..got]) {
                    self.domain.complain(&CallError::new("write of event channels", error));
                }
            }
        }
    }

    /// Answers a vCPU, if it asks.
    fn answer(&self, worker: &Worker, vcpu: u32, port: u32, dispatch: &mut dyn Dispatch) {
        let Some(slot) = slots(&self.pages).slots.get(vcpu as usize) else { return };
        let Some(taken) = slot.take(vcpu) else { return };
        if !self.ring_page().is_empty() {
            // One turn is a whole ring, so all that came before this request.
            self.drain();
        }
        let value = match &taken.request {
            Ok(request) => self.carry_out(request, dispatch),
            Err(error) => {
                self.domain.complain(&CallError::new("ioreq", std::io::Error::other(error.to_string())));
                u64::MAX
            }
        };
        slot.complete(&taken, value);
        if let Err(error) = worker.events.notify(port) {
            let failed = self.domain.failed("IOCTL_EVTCHN_NOTIFY", format!(" (port {port})"), error);
            self.domain.complain(&failed);
        }
    }

    fn carry_out(&self, request: &Request, dispatch: &mut dyn Dispatch) -> u64 {
        if request.target == Target::Invalidate {
            self.foreign.iter().for_each(|foreign| foreign.invalidate());
            return 0;
        }
        match self.roms.serve(request, &self.ram) {
            Some(value) => value,
            None => dispatch.request(request),
        }
    }

    /// One turn of the ring.
    fn drain(&self) -> Drained {
        let mut ring = self.ring();
        let Some(dispatch) = ring.as_mut() else { return Drained::Empty };
        let drained = self.ring_page().drain(Discipline::Atomic, |request| {
            dispatch.request(request);
        });
        if drained == Drained::Broken {
            let what = "the ring's pointers are impossible";
            self.domain.complain(&CallError::new("ioreq", std::io::Error::other(what)));
        }
        drained
    }
}

fn slots(pages: &Pages) -> &Page {
    const { assert!(size_of::<Page>() == crate::abi::PAGE && SLOTS == 128) };
    // SAFETY: two pages are mapped for as long as the borrow; the second is a page of atomics, as the ring.
    unsafe { pages.addr().add(crate::abi::PAGE).cast::<Page>().as_ref() }
}

impl Drop for Server {
    /// Nobody asks any more; who still waits is let go with all ones, or would wait for ever.
    fn drop(&mut self) {
        let disabled = self.enable(false);
        for worker in &self.workers {
            for (vcpu, port) in &worker.vcpus {
                let Some(slot) = slots(&self.pages).slots.get(*vcpu as usize) else { continue };
                let Some(taken) = slot.take(*vcpu) else { continue };
                slot.complete(&taken, u64::MAX);
                // The domain may be gone with its channels.
                let _ = worker.events.notify(*port);
            }
        }
        let destroyed = self.domain.op(DestroyIoreqServer { id: self.id, pad: 0 });
        if let Err(error) = disabled.and(destroyed.map(|_| ())) {
            tracing::debug!("{error}");
        }
    }
}

/// Calls a function at the end.
struct Finally<F: Fn()>(F);

impl<F: Fn()> Drop for Finally<F> {
    fn drop(&mut self) {
        self.0();
    }
}

/// Leaves the count of threads right however a thread ends. One that ends by a fault of ours takes the domain
/// with it: its vCPUs would wait for ever.
struct Leave<'a>(&'a Server);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let reason = ShutdownReason::Crash as u32;
            if let Err(error) = self.0.domain.op(RemoteShutdown { reason }) {
                tracing::error!("{error}");
            }
            self.0.stop();
        }
        self.0.running().active -= 1;
        self.0.changed.notify_all();
    }
}
