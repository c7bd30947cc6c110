//! The machine: threads that run the vCPUs, and the [`Hypervisor`] interface.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use hypervisor::debug::Debug;
use hypervisor::inspect::Node;
use hypervisor::{
    Capabilities, Claims, Clock, Dispatch, Doorbell, DoorbellAddress, Doorbells, Error, Event, EventFd,
    GuestRam, HostClock, Hypervisor, IrqTarget, Keeper, Laggards, Mapping, MsiTarget, RamBlock, SavedPart,
    TimerQueue, Waker, memory,
};
use vm_memory::{GuestMemoryBackend, GuestMemoryRegion};

use crate::cpu::{Cpu, IP};
use crate::exec::Leave;
use crate::machine::{CountClock, Shared, attention};
use crate::model::{CpuModel, SavedModel};
use crate::observe::Observed;
use crate::state::{self, SavedMore};
use crate::tier2::Tier2;

/// Where guest time comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ClockKind {
    /// It follows the host's monotonic clock.
    #[default]
    Host,
    /// One nanosecond an instruction: a run repeats exactly.
    Icount,
}

/// Who runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tier {
    /// The interpreter alone.
    One,
    /// Every block is translated at its first run; an error where the host cannot.
    Two,
    /// Blocks that run often are translated, where the host can.
    #[default]
    Auto,
}

impl Tier {
    /// Runs of a block before it is translated, with [`Tier::Auto`]: what a translation costs is gained back by then.
    const OFTEN: u32 = 64;

    fn second(self) -> Result<Option<Tier2>, Error> {
        match self {
            Tier::One => Ok(None),
            Tier::Two => Tier2::new(1)
                .map(Some)
                .map_err(|error| Error::Unsupported(format!("code cannot be translated here: {error}"))),
            Tier::Auto => Ok(Tier2::new(Tier::OFTEN)
                .inspect_err(|error| tracing::info!("the guest's code is interpreted: {error}"))
                .ok()),
        }
    }
}

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct SoftConfig {
    /// Number of vCPUs, 1 to 64.
    pub vcpus: u32,
    /// Bytes of RAM from 0 on.
    pub ram_below: u64,
    /// Bytes of RAM from 4 GiB on; may be 0.
    pub ram_above: u64,
    /// Guest time.
    pub clock: ClockKind,
    /// Who runs its code; nothing that the guest could tell.
    pub tier: Tier,
    /// What the vCPUs are.
    pub cpu: CpuModel,
}

/// Most vCPUs.
pub const MAX_VCPUS: u32 = 64;
/// Stack of a vCPU's thread: operations that cannot jump to the next one call it. Only what is touched is used.
pub(crate) const STACK: usize = 64 << 20;
/// Longest turn of a vCPU with instruction counting, in instructions.
const TURN: u64 = 50_000;
/// Instructions that a vCPU runs before it lets go of the machine's timers, which it kept while it was halted.
const GRACE: u64 = 1 << 15;

/// Where the model of the vCPUs is saved.
const MODEL: &str = "cpu/model";

/// Where it is saved what a vCPU has beyond the first processor's state.
fn more(n: usize) -> String {
    format!("cpu/{n}/more")
}

/// The key of RDRAND's numbers: one that nobody knows, but a fixed one where a run must repeat exactly.
fn random_key(clock: ClockKind) -> u128 {
    let mut key = [0; 16];
    if clock == ClockKind::Host {
        // SAFETY: it writes at most as many bytes as there are.
        let got = unsafe { libc::getrandom(key.as_mut_ptr().cast(), key.len(), 0) };
        debug_assert_eq!(got, 16, "the kernel has random bytes");
    }
    u128::from_le_bytes(key)
}

type Events = Arc<dyn Fn(Event) + Send + Sync>;

#[derive(Default)]
struct Running {
    /// Nobody may run.
    paused: bool,
    /// Everybody ends.
    stopped: bool,
    /// Threads that are not parked, a bit each, by the vCPU that they run (the first, if they run all).
    active: u64,
    /// What a thread died of.
    died: Option<String>,
}

/// The software hypervisor.
pub struct Soft {
    pub(crate) shared: Arc<Shared>,
    pub(crate) cpus: Vec<Mutex<Box<Cpu>>>,
    model: Mutex<Arc<CpuModel>>,
    running: Mutex<Running>,
    changed: Condvar,
    doorbells: Arc<Doorbells>,
    pub(crate) observed: Mutex<Option<Observed>>,
}

/// The bits of threads `first` to `end`, which is not one of them, in [`Running::active`].
fn threads_from(first: usize, end: usize) -> u64 {
    (first..end).fold(0, |bits, thread| bits | 1 << thread)
}

/// Lets the vCPUs know when a dirty log of a block is taken, and when code is written that they translated.
pub(crate) fn watch(shared: &Arc<Shared>, block: &RamBlock) {
    let region: &vm_memory::MmapRegion<hypervisor::PageTrack> = block;
    let tell = |bits| {
        let weak = Arc::downgrade(shared);
        move || {
            if let Some(shared) = weak.upgrade() {
                shared.tell_all(bits);
            }
        }
    };
    region.bitmap().on_take(tell(attention::DIRTY));
    region.bitmap().on_code_written(tell(attention::WRITTEN));
}

/// A part that not every guest has.
fn read_part<T: serde::de::DeserializeOwned>(parts: &[SavedPart], path: &str) -> Result<Option<T>, Error> {
    let Some(part) = parts.iter().find(|p| p.path == path) else { return Ok(None) };
    if part.version != 1 {
        return Err(Error::State(format!("{path} has version {}", part.version)));
    }
    rmp_serde::from_slice(&part.body).map(Some).map_err(|e| Error::State(format!("{path}: {e}")))
}

impl Soft {
    /// A machine at power-on, paused, its RAM mapped.
    pub fn new(config: SoftConfig) -> Result<Soft, Error> {
        if config.vcpus == 0 || config.vcpus > MAX_VCPUS {
            return Err(Error::Unsupported(format!("soft has 1 to {MAX_VCPUS} vCPUs, not {}", config.vcpus)));
        }
        let ram = memory::new_shared_ram(config.ram_below, config.ram_above)?;
        let (clock, counter): (Arc<dyn Clock>, _) = match config.clock {
            ClockKind::Host => (Arc::new(HostClock::new()), None),
            ClockKind::Icount => {
                let counter = Arc::new(CountClock::default());
                (counter.clone(), Some(counter))
            }
        };
        let shared = Arc::new(Shared::new(config.vcpus, ram.clone(), clock, counter));
        for region in ram.iter() {
            let block = region.block();
            watch(&shared, block);
            shared.physical.map(&Mapping::ram(block.start_addr().0, block.len(), block, 0))?;
        }
        for n in 0..config.vcpus {
            let weak = Arc::downgrade(&shared);
            let fire = move || {
                if let Some(shared) = weak.upgrade() {
                    shared.timer_fired(n);
                }
            };
            shared.unit(n).timer = Some(shared.timers.timer(fire));
        }
        let model = Arc::new(config.cpu);
        let key = random_key(config.clock);
        let vcpu = |n| {
            let mut cpu = Cpu::new(n, shared.clone());
            cpu.random.key = key;
            cpu.set_model(model.clone());
            cpu.set_tier2(config.tier.second()?);
            cpu.power_on();
            Ok(Mutex::new(cpu))
        };
        let cpus = (0..config.vcpus).map(vcpu).collect::<Result<_, Error>>()?;
        let running = Running { paused: true, ..Running::default() };
        shared.tell_all(attention::PAUSE);
        Ok(Soft {
            shared,
            cpus,
            model: Mutex::new(model),
            running: Mutex::new(running),
            changed: Condvar::new(),
            doorbells: Arc::default(),
            observed: Mutex::default(),
        })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(|p| p.into_inner())
    }
    fn model(&self) -> MutexGuard<'_, Arc<CpuModel>> {
        self.model.lock().unwrap_or_else(|p| p.into_inner())
    }
    /// A vCPU, once it stands still.
    pub(crate) fn cpu(&self, n: usize) -> MutexGuard<'_, Box<Cpu>> {
        self.cpus[n].lock().unwrap_or_else(|p| p.into_inner())
    }

    /// Waits while the machine is paused; false when it is over.
    fn park(&self, thread: usize) -> bool {
        let mut running = self.running();
        while running.paused && !running.stopped {
            running.active &= !(1 << thread);
            self.changed.notify_all();
            running = self.changed.wait(running).unwrap_or_else(|p| p.into_inner());
            running.active |= 1 << thread;
        }
        !running.stopped
    }

    /// INIT and start-up messages.
    fn startup(&self, cpu: &mut Cpu) {
        let word = &self.shared.vcpus[cpu.id as usize].attention;
        word.fetch_and(!attention::INIT, Ordering::AcqRel);
        let mut unit = self.shared.unit(cpu.id);
        if std::mem::take(&mut unit.init) {
            unit.apic.init();
            unit.nmi = false;
            unit.arm();
            drop(unit);
            cpu.init();
            unit = self.shared.unit(cpu.id);
        }
        let startup = unit.startup.take();
        drop(unit);
        if let Some(vector) = startup.filter(|_| cpu.wait_startup) {
            cpu.start_at(vector);
        }
    }

    /// One vCPU with the host's clock.
    fn thread(&self, n: usize, events: &Events) {
        let shared = Arc::downgrade(&self.shared);
        let wake: Waker = Arc::new(move || {
            if let Some(shared) = shared.upgrade() {
                shared.tell(n as u32, attention::TIMERS);
            }
        });
        while self.park(n) {
            let mut cpu = self.cpu(n);
            let mut keeper = None;
            loop {
                // A guest that a timer woke mostly halts again soon, and has armed the next one then.
                cpu.icount_limit = match keeper {
                    Some(_) => cpu.icount.saturating_add(GRACE),
                    None => u64::MAX,
                };
                let leave = if cpu.wait_startup { Leave::Halted } else { cpu.run() };
                let word = &self.shared.vcpus[n].attention;
                match leave {
                    Leave::Shutdown if !cpu.reported => {
                        cpu.reported = true;
                        events(Event::TripleFault { vcpu: n as u32 });
                    }
                    Leave::Halted | Leave::Shutdown => self.halt(n, &mut keeper, &wake),
                    Leave::Count => keeper = None,
                    Leave::Attention => {}
                }
                let bits = word.load(Ordering::Acquire);
                if bits & (attention::PAUSE | attention::STOP) != 0 {
                    break;
                }
                if bits & attention::INIT != 0 {
                    self.startup(&mut cpu);
                }
                if cpu.wait_startup || cpu.shutdown {
                    cpu.asleep();
                }
            }
        }
    }

    /// Sleeps until a vCPU has attention, and keeps the machine's timers meanwhile if no other vCPU does.
    fn halt(&self, n: usize, keeper: &mut Option<Keeper>, wake: &Waker) {
        let Shared { vcpus, timers, clock, .. } = &*self.shared;
        let vcpu = &vcpus[n];
        if keeper.is_none() {
            *keeper = timers.keep(wake);
        }
        while let Some(kept) = keeper {
            let now = clock.now();
            kept.fire(now);
            if vcpu.attention.fetch_and(!attention::TIMERS, Ordering::AcqRel) & !attention::TIMERS != 0 {
                return;
            }
            match kept.sleep() {
                Some(until) => vcpu.wait_for(Duration::from_nanos(until.saturating_sub(now))),
                None => *keeper = None,
            }
            if let Some(kept) = keeper {
                kept.awake();
            }
        }
        vcpu.wait();
        vcpu.attention.fetch_and(!attention::TIMERS, Ordering::AcqRel);
    }

    /// All vCPUs in turn, time by instructions.
    fn count(&self, counter: &CountClock, events: &Events) {
        while self.park(0) {
            let mut cpus: Vec<_> = (0..self.cpus.len()).map(|n| self.cpu(n)).collect();
            while !self.any_has(attention::PAUSE | attention::STOP) {
                self.round(&mut cpus, counter, events);
            }
        }
    }

    /// Runs a thread of the machine to its end. One that panics ends the machine: nobody waits for what is no more.
    fn guarded(&self, thread: Option<usize>, what: &str, body: impl FnOnce()) {
        let ended = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
        let mut running = self.running();
        running.active &= !thread.map_or(0, |thread| 1 << thread);
        if let Err(payload) = &ended {
            let said = payload.downcast_ref::<&str>().map(|s| s.to_string());
            let said = said.or_else(|| payload.downcast_ref::<String>().cloned()).unwrap_or_default();
            running.died.get_or_insert(format!("{what} has died: {said}"));
        }
        self.changed.notify_all();
        drop(running);
        if ended.is_err() {
            self.stop();
        }
    }

    fn any_has(&self, bits: u32) -> bool {
        self.shared.vcpus.iter().any(|v| v.attention.load(Ordering::Acquire) & bits != 0)
    }

    fn round(&self, cpus: &mut [MutexGuard<'_, Box<Cpu>>], counter: &CountClock, events: &Events) {
        let now = counter.now();
        let mut idle = true;
        let deadline = self.shared.timers.next_deadline();
        let mut end = (now + TURN).min(deadline.unwrap_or(u64::MAX)).max(now + 1);
        for (n, cpu) in cpus.iter_mut().enumerate() {
            let word = &self.shared.vcpus[n].attention;
            let bits = word.load(Ordering::Acquire);
            if bits & attention::INIT != 0 {
                self.startup(cpu);
            }
            let asleep = cpu.wait_startup || cpu.shutdown || cpu.halted && bits == 0;
            if cpu.now() < now {
                cpu.time_offset = now.wrapping_sub(cpu.icount);
            }
            if asleep {
                if cpu.wait_startup || cpu.shutdown {
                    cpu.asleep();
                }
                continue;
            }
            idle = false;
            if cpu.now() >= end {
                continue;
            }
            counter.set(cpu.now());
            let last = end.wrapping_sub(cpu.time_offset);
            let leave = self.run_turn(cpu, last);
            if leave == Leave::Shutdown && !cpu.reported {
                cpu.reported = true;
                events(Event::TripleFault { vcpu: n as u32 });
            }
            // A timer that was armed meanwhile ends the round early, and so does a pause.
            if let Some(deadline) = self.shared.timers.next_deadline() {
                end = end.min(deadline.max(now));
            }
            if leave == Leave::Attention && self.any_has(attention::PAUSE | attention::STOP) {
                end = end.min(cpu.now());
                break;
            }
        }
        if idle {
            match deadline {
                // Everybody waits: time jumps.
                Some(deadline) => end = deadline.max(now),
                None => {
                    counter.set(now);
                    return self.shared.wait_any();
                }
            }
        } else if let [cpu] = cpus {
            end = if cpu.halted { end } else { cpu.now().max(now) };
        }
        counter.set(end);
        self.shared.timers.fire(end);
    }
}

impl Hypervisor for Soft {
    fn capabilities(&self) -> Capabilities {
        Capabilities { processor_id: self.model().processor_id(), ..Capabilities::default() }
    }
    fn vcpus(&self) -> u32 {
        self.cpus.len() as u32
    }
    /// Every access that is not memory reaches the dispatcher anyway.
    fn claim(&self, _claims: &Claims) -> Result<(), Error> {
        Ok(())
    }
    fn memory(&self) -> GuestRam {
        self.shared.ram.clone()
    }
    fn irq(&self) -> Arc<dyn IrqTarget> {
        self.shared.clone()
    }
    fn msi(&self) -> Arc<dyn MsiTarget> {
        self.shared.clone()
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.shared.clock.clone()
    }
    fn timers(&self) -> TimerQueue {
        self.shared.timers.clone()
    }
    fn add_ram(&self, _name: &str, len: u64) -> Result<RamBlock, Error> {
        let block = memory::new_block(0, len)?;
        watch(&self.shared, &block);
        Ok(block)
    }
    fn map(&self, mapping: Mapping) -> Result<(), Error> {
        self.shared.physical.map(&mapping)?;
        self.shared.tell_all(attention::FLUSH);
        Ok(())
    }
    fn doorbell(&self, address: DoorbellAddress, fd: EventFd) -> Result<Doorbell, Error> {
        self.doorbells.add(address, fd)
    }
    fn run(&self, dispatch: &mut dyn FnMut(u32) -> Box<dyn Dispatch>, events: Events) -> Result<(), Error> {
        let one = self.shared.counter.is_some();
        for n in 0..self.cpus.len() {
            self.cpu(n).dispatch = Some(self.doorbells.before(dispatch(n as u32)));
        }
        self.running().active |= if one { 1 } else { threads_from(0, self.cpus.len()) };
        std::thread::scope(|scope| {
            let thread = |n: usize| std::thread::Builder::new().name(format!("vcpu-{n}")).stack_size(STACK);
            if let Some(counter) = self.shared.counter.clone() {
                let events = events.clone();
                let body =
                    move || self.guarded(Some(0), "the vCPUs' thread", || self.count(&counter, &events));
                return thread(0).spawn_scoped(scope, body).map(|_| ());
            }
            let serve = || self.shared.timers.serve(&*self.shared.clock);
            scope.spawn(move || self.guarded(None, "the timers' thread", serve));
            for n in 0..self.cpus.len() {
                let events = events.clone();
                let body =
                    move || self.guarded(Some(n), &format!("vCPU {n}'s thread"), || self.thread(n, &events));
                let spawned = thread(n).spawn_scoped(scope, body);
                if let Err(source) = spawned {
                    self.running().active &= !threads_from(n, self.cpus.len());
                    self.stop();
                    return Err(source);
                }
            }
            Ok(())
        })
        .map_err(|source| Error::Host { what: "cannot start a vCPU's thread", source })?;
        for n in 0..self.cpus.len() {
            self.cpu(n).dispatch = None;
        }
        match self.running().died.take() {
            Some(died) => {
                Err(Error::Host { what: "a thread of the machine", source: std::io::Error::other(died) })
            }
            None => Ok(()),
        }
    }
    fn suspend(&self) {
        self.running().paused = true;
        self.shared.clock.stop();
        self.shared.tell_all(attention::PAUSE);
    }
    fn pause(&self) {
        self.suspend();
        let mut running = self.running();
        while running.active > 0 && running.paused && !running.stopped {
            running = self.changed.wait(running).unwrap_or_else(|p| p.into_inner());
        }
    }
    fn pause_within(&self, patience: Duration) -> Result<(), Laggards> {
        self.suspend();
        let moves = |running: &mut Running| running.active > 0 && running.paused && !running.stopped;
        let waited = self.changed.wait_timeout_while(self.running(), patience, moves);
        let (mut running, _) = waited.unwrap_or_else(|p| p.into_inner());
        if !moves(&mut running) {
            return Ok(());
        }
        if self.shared.counter.is_some() {
            return Err(Laggards(vec!["the thread of the vCPUs".into()]));
        }
        let moving = (0..self.cpus.len()).filter(|n| running.active & 1 << n != 0);
        Err(Laggards(moving.map(|n| format!("vCPU {n}")).collect()))
    }
    fn resume(&self) {
        let mut running = self.running();
        running.paused = false;
        self.shared.untell_all(attention::PAUSE);
        self.shared.clock.start();
        self.changed.notify_all();
        drop(running);
        self.shared.timers.kick();
        // Sleepers look again at what they were told while the bit was set.
        self.shared.tell_all(attention::IRQ);
    }
    fn reset(&self) {
        self.shared.set_a20(true);
        for n in 0..self.cpus.len() {
            let mut cpu = self.cpu(n);
            let mut unit = self.shared.unit(n as u32);
            unit.apic = crate::apic::Apic::new(n as u32);
            (unit.nmi, unit.extint, unit.init, unit.startup) = (false, false, false, None);
            unit.arm();
            drop(unit);
            cpu.power_on();
        }
    }
    fn stop(&self) {
        self.running().stopped = true;
        self.shared.tell_all(attention::STOP);
        self.shared.timers.close();
        self.changed.notify_all();
    }
    fn save(&self) -> Result<Vec<SavedPart>, Error> {
        let vcpu = |n: usize| {
            let cpu = self.cpu(n);
            let body = state::save(&cpu, &self.shared.unit(n as u32))?;
            Ok(SavedPart { path: format!("cpu/{n}"), version: 1, body })
        };
        let mut parts = (0..self.cpus.len()).map(vcpu).collect::<Result<Vec<_>, Error>>()?;
        let model = self.model().clone();
        // Guests of the default model are saved as they were before there was a choice.
        if *model != CpuModel::default() {
            let body = rmp_serde::to_vec_named(&SavedModel::from(&*model));
            let body = body.map_err(|e| Error::State(e.to_string()))?;
            parts.push(SavedPart { path: MODEL.into(), version: 1, body });
            for n in 0..self.cpus.len() {
                let body = rmp_serde::to_vec_named(&SavedMore::of(&self.cpu(n)));
                let body = body.map_err(|e| Error::State(e.to_string()))?;
                parts.push(SavedPart { path: more(n), version: 1, body });
            }
        }
        Ok(parts)
    }
    fn load(&self, parts: &[SavedPart]) -> Result<(), Error> {
        let bad = |what: String| Error::State(what);
        let mut states = Vec::new();
        for n in 0..self.cpus.len() {
            let path = format!("cpu/{n}");
            let part = parts.iter().find(|p| p.path == path).ok_or_else(|| bad(format!("no {path}")))?;
            if part.version != 1 {
                return Err(bad(format!("{path} has version {}", part.version)));
            }
            states.push(state::parse(&part.body)?);
        }
        let model: Option<SavedModel> = read_part(parts, MODEL)?;
        let mut rest = Vec::new();
        if model.is_some() {
            for n in 0..self.cpus.len() {
                let path = more(n);
                let more: Option<SavedMore> = read_part(parts, &path)?;
                rest.push(more.ok_or_else(|| bad(format!("no {path}")))?);
            }
        }
        let known = states.len() + usize::from(model.is_some()) + rest.len();
        let all = parts.iter().filter(|p| p.path.starts_with("cpu/")).count();
        if all != known {
            return Err(bad(format!("{all} parts of vCPUs saved, {known} here")));
        }
        let model = model.map_or_else(|| Ok(CpuModel::default()), SavedModel::model);
        let model = Arc::new(model.map_err(|e| bad(format!("{MODEL}: {e}")))?);
        let mut rest = rest.into_iter();
        *self.model() = model.clone();
        for (n, saved) in states.into_iter().enumerate() {
            let mut cpu = self.cpu(n);
            let mut unit = self.shared.unit(n as u32);
            saved.apply_unit(&mut unit);
            drop(unit);
            cpu.set_model(model.clone());
            saved.apply(&mut cpu);
            if let Some(more) = rest.next() {
                more.apply(&mut cpu);
            }
        }
        Ok(())
    }
    fn debug(&self) -> Option<&dyn Debug> {
        Some(self)
    }
    fn inspect(&self, node: &mut Node) {
        for n in 0..self.cpus.len() {
            let child = node.child(&format!("cpu{n}"));
            // A running vCPU keeps its registers to itself.
            match self.cpus[n].try_lock() {
                Ok(cpu) => {
                    child.hex("rip", cpu.gpr[IP]);
                    for (name, r) in state::NAMES.iter().zip(cpu.gpr) {
                        child.hex(name, r);
                    }
                    child.hex("rflags", cpu.eflags());
                    child.hex("cr0", cpu.cr0).hex("cr2", cpu.cr2).hex("cr3", cpu.cr3).hex("cr4", cpu.cr4);
                    child.hex("efer", cpu.msr.efer);
                    child.value("instructions", cpu.icount).value("halted", cpu.halted);
                    child.value("blocks", cpu.blocks.len());
                    if let Some(tier2) = &cpu.tier2 {
                        tier2.inspect(child.child("tier2"));
                    }
                }
                Err(_) => {
                    child.value("state", "running");
                }
            }
        }
    }
}
