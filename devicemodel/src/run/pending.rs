//! What a command began and the host has not finished: a guest that is stopped, reset or saved.
//!
//! A vCPU stands still when the access that it makes is over, a device when its disk has answered, and neither need
//! come about. So nobody waits for that in the event loop: there is at most one piece of work, the loop looks after it
//! in each turn, and whoever asked is answered when it is over. What needs a call of the host that may hang is done by
//! a thread. What may be waited for is bounded by [`Runner::patience`]; who wants the process to end gives it up.

use std::fs::File;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;

use super::Runner;
use crate::machine::PausedMachine;
use crate::monitor::events as qmp;
use crate::monitor::info::Source;
use crate::monitor::protocol::QmpError;
use crate::monitor::run_state::RunState;
use crate::monitor::{Begun, Job, busy};
use crate::notices::Notice;
use crate::saved::{self, SaveError};
use crate::whole_file::{Abandoner, WholeFile};

/// How long the loop itself waits for vCPUs that stop: they take microseconds, unless the host hangs.
pub(super) const AT_ONCE: Duration = Duration::from_millis(20);
/// How often vCPUs that wait for the host are looked at.
const LOOK: Duration = Duration::from_millis(2);
/// How often it is told how far a save is.
const TELL: Duration = Duration::from_millis(50);
/// How long the end waits for a thread that was told to give up.
pub(super) const LAST: Duration = Duration::from_secs(1);

/// What is done as soon as the vCPUs stand still.
pub(super) enum Then {
    /// The guest waits for `cont`.
    Stop(Job),
    /// The guest waits for `cont` in that state.
    Wait(RunState),
    /// Power-on state, and on; for that reason.
    Reset(&'static str),
    /// The whole guest is written down.
    Save(Job, WholeFile),
}

impl Then {
    fn job(&self) -> Option<Job> {
        match self {
            Then::Stop(job) | Then::Save(job, _) => Some(*job),
            Then::Reset(_) | Then::Wait(_) => None,
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Then::Stop(_) | Then::Wait(_) => "stopped",
            Then::Reset(_) => "reset",
            Then::Save(..) => "saved",
        }
    }
}

/// Work under way.
pub(super) enum PendingOp {
    /// The vCPUs are on their way.
    Stops {
        then: Then,
        /// How long they have.
        until: Instant,
        /// When they are looked at again.
        next: Instant,
        /// That they do not come to stand still has been said.
        told: bool,
    },
    /// A thread is at it.
    Threaded(Threaded),
}

/// What a thread does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Save,
    Devices,
    Cont,
}

/// A thread's work.
pub(super) struct Threaded {
    job: Job,
    kind: Kind,
    shared: Arc<Shared>,
    abandoner: Option<Abandoner>,
    /// How much of a save has been told.
    told: u64,
}

/// What a thread and the loop both see.
#[derive(Default)]
pub(super) struct Shared {
    inner: Mutex<Inner>,
    over: Condvar,
    given_up: AtomicBool,
}

#[derive(Default)]
struct Inner {
    /// Where to, as long as nothing is written there.
    target: Option<WholeFile>,
    /// Since when the host writes what it has cached, which is bounded by nothing.
    flushing: Option<Instant>,
    /// Bytes that are written, of so many.
    progress: (u64, u64),
    result: Option<Result<(), String>>,
}

impl Shared {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_up(&self) {
        self.given_up.store(true, Ordering::Release);
    }

    fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Acquire)
    }

    /// The result, as soon as there is one.
    fn wait(&self, patience: Duration) -> Option<Result<(), String>> {
        let open = |inner: &mut Inner| inner.result.is_none();
        let waited = self.over.wait_timeout_while(self.inner(), patience, open);
        waited.unwrap_or_else(PoisonError::into_inner).0.result.take()
    }
}

/// Says that the thread has ended, even if it does by a fault of ours.
struct End<'a>(&'a Shared, &'a PausedMachine);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.inner().result.get_or_insert(Err("a fault of ours, which the log tells".into()));
        self.0.over.notify_all();
        self.1.remind();
    }
}

/// Writes a whole guest down.
fn save(rest: &PausedMachine, shared: &Shared, patience: Duration) -> Result<(), SaveError> {
    rest.quiesce(patience, &|| shared.is_given_up())?;
    shared.inner().flushing = Some(Instant::now());
    rest.remind();
    rest.flush_images()?;
    // Nobody may have waited for that.
    let whole = shared.inner().target.take().ok_or(SaveError::GivenUp)?;
    let mut told = Instant::now();
    saved::save(&rest.parts(), whole, &mut |done, total| {
        shared.inner().progress = (done, total);
        if told.elapsed() > TELL {
            told = Instant::now();
            rest.remind();
        }
        !shared.is_given_up()
    })
}

/// Writes the devices down; from then on the guest may be elsewhere.
fn save_devices(rest: &PausedMachine, shared: &Shared, patience: Duration, to: File) -> Result<(), String> {
    let quiet = rest.quiesce(patience, &|| shared.is_given_up());
    let name = Path::new("the state of the devices");
    let saved = quiet.and_then(|()| saved::save_devices(&rest.parts(), to, name));
    saved.map_err(|error| error.to_string())?;
    rest.lend_images().map_err(|error| error.to_string())
}

/// The file, if it is one: at a pipe all would wait for its reader.
fn plain_file(file: File, path: &Path) -> Result<File, QmpError> {
    let failed = |why: String| QmpError::generic(format!("{}: {why}", path.display()));
    let kind = file.metadata().map_err(|error| failed(error.to_string()))?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        return Err(failed("it is a pipe or a socket, not a file".into()));
    }
    Ok(file)
}

pub(super) fn given_up() -> QmpError {
    QmpError::generic(SaveError::GivenUp.to_string())
}

impl Runner {
    /// A number for work that begins.
    pub(super) fn job(&mut self) -> Job {
        self.jobs += 1;
        Job(self.jobs)
    }

    /// How far work is that has just begun.
    pub(super) fn begun(&mut self, job: Job) -> Result<Begun, QmpError> {
        match self.answers.iter().position(|(other, _)| *other == job) {
            Some(at) => self.answers.remove(at).1.map(|()| Begun::Done),
            None => Ok(Begun::Later(job)),
        }
    }

    /// What is being done to the guest, if there is work: what it is about must not change meanwhile.
    pub(super) fn work_word(&self) -> Option<&'static str> {
        Some(match self.work.as_ref()? {
            PendingOp::Stops { then, .. } => then.word(),
            PendingOp::Threaded(Threaded { kind: Kind::Cont, .. }) => "continued",
            PendingOp::Threaded(_) => "saved",
        })
    }

    /// Whether the whole guest is being saved.
    pub(super) fn is_saving(&self) -> bool {
        matches!(
            &self.work,
            Some(
                PendingOp::Stops { then: Then::Save(..), .. }
                    | PendingOp::Threaded(Threaded { kind: Kind::Save, .. })
            )
        )
    }

    pub(super) fn begin_stop(&mut self) -> Result<Begun, QmpError> {
        self.work_word().map_or(Ok(()), |word| Err(busy(word)))?;
        let job = self.job();
        self.when_stopped(Then::Stop(job));
        self.begun(job)
    }

    pub(super) fn begin_save(&mut self, file: &Path) -> Result<Begun, QmpError> {
        self.disks_do_not_wait()?;
        if self.lost.as_ref().is_some_and(|lost| lost.inner().result.is_none()) {
            return Err(QmpError::generic("an earlier save still waits for a disk"));
        }
        self.lost = None;
        let handed = WholeFile::handed(file);
        let path = file.to_owned();
        let create = move || {
            let whole = handed.map_or_else(|| saved::create(&path), Ok);
            whole.map_err(|error| QmpError::generic(error.to_string()))
        };
        self.elsewhere(file, create, |runner, job, whole| {
            runner.when_stopped(Then::Save(job, whole));
            None
        })
    }

    /// What a disk could not do is not in what is saved: it is done first.
    fn disks_do_not_wait(&self) -> Result<(), QmpError> {
        if self.notices.disks_wait() {
            let why = "the guest was stopped since the host cannot read or write a disk: mend that, and 'cont' first";
            return Err(QmpError::generic(why));
        }
        Ok(())
    }

    /// Stops a guest that waits for a disk.
    pub(super) fn stop_for_disks(&mut self) {
        if self.state == RunState::Running && self.work.is_none() && self.notices.disks_wait() {
            self.when_stopped(Then::Wait(RunState::IoError));
        }
    }

    /// Saves the devices of a guest that stands still already.
    pub(super) fn begin_save_devices(&mut self, to: Source) -> Result<Begun, QmpError> {
        self.disks_do_not_wait()?;
        let path = match to {
            Source::File(file, path) => {
                let file = plain_file(file.into(), &path)?;
                let job = self.job();
                self.thread_of_devices(job, file);
                return self.begun(job);
            }
            Source::Path(path) => path,
        };
        let open = {
            let path = path.clone();
            move || {
                let mut options = File::options();
                // Nobody may be at the other end of a pipe.
                options.write(true).create(true).truncate(true).custom_flags(libc::O_NONBLOCK);
                let failed = |error| QmpError::generic(format!("{}: {error}", path.display()));
                plain_file(options.open(&path).map_err(failed)?, &path)
            }
        };
        self.elsewhere(&path, open, |runner, job, file| {
            if runner.state == RunState::Running {
                return Some(Err(QmpError::generic("the guest runs: stop it first")));
            }
            runner.thread_of_devices(job, file);
            None
        })
    }

    fn thread_of_devices(&mut self, job: Job, file: File) {
        let patience = self.patience;
        self.lent = true;
        self.thread(job, Kind::Devices, None, move |rest, shared| save_devices(rest, shared, patience, file));
    }

    /// Takes the images back that another process had, and goes on.
    pub(super) fn begin_cont(&mut self) -> Result<Begun, QmpError> {
        let job = self.job();
        let take = |rest: &PausedMachine, _: &Shared| rest.take_images().map_err(|error| error.to_string());
        self.thread(job, Kind::Cont, None, take);
        self.begun(job)
    }

    /// Stops the vCPUs, and goes on when they stand.
    pub(super) fn when_stopped(&mut self, then: Then) {
        match self.machine.pause_within(AT_ONCE) {
            Ok(()) => self.stopped(then),
            Err(_) => {
                let now = Instant::now();
                let (until, next) = (now + self.patience, now + LOOK);
                self.work = Some(PendingOp::Stops { then, until, next, told: false });
            }
        }
    }

    /// Stops the vCPUs of a guest that is at its end, whenever they stand.
    pub(super) fn halt(&mut self) {
        if let Err(laggards) = self.machine.pause_within(AT_ONCE) {
            tracing::warn!("{laggards}");
        }
    }

    fn stopped(&mut self, then: Then) {
        match then {
            Then::Stop(job) => {
                self.state = RunState::Paused;
                self.events.push((&qmp::STOP, serde_json::Value::Null));
                self.answers.push((job, Ok(())));
            }
            Then::Wait(state) => {
                self.state = state;
                self.events.push((&qmp::STOP, serde_json::Value::Null));
            }
            Then::Reset(reason) => self.power_on(reason),
            Then::Save(job, whole) => {
                let patience = self.patience;
                let body = move |rest: &PausedMachine, shared: &Shared| {
                    save(rest, shared, patience).map_err(|error| error.to_string())
                };
                self.thread(job, Kind::Save, Some(whole), body);
            }
        }
    }

    fn thread(
        &mut self,
        job: Job,
        kind: Kind,
        target: Option<WholeFile>,
        body: impl FnOnce(&PausedMachine, &Shared) -> Result<(), String> + Send + 'static,
    ) {
        // The vCPUs stand: what they ejected last is not in the machine that is written down.
        self.take_ejected();
        let abandoner = target.as_ref().map(WholeFile::abandoner);
        let inner = Inner { target, ..Inner::default() };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), ..Shared::default() });
        let (theirs, rest) = (shared.clone(), self.machine.rest());
        let run = move || {
            let end = End(&theirs, &rest);
            let result = body(&rest, &theirs);
            theirs.inner().result = Some(result);
            drop(end);
        };
        let threaded = Threaded { job, kind, shared, abandoner, told: 0 };
        match std::thread::Builder::new().name("save".into()).spawn(run) {
            Ok(_) => self.work = Some(PendingOp::Threaded(threaded)),
            Err(error) => self.conclude(threaded, Err(error.to_string())),
        }
    }

    /// When [`advance`](Runner::advance) has something to look at, without being woken for it.
    pub(super) fn work_due(&self) -> Option<Instant> {
        match self.work.as_ref()? {
            PendingOp::Stops { next, .. } => Some(*next),
            PendingOp::Threaded(threaded) => {
                let inner = threaded.shared.inner();
                inner.target.as_ref().and(inner.flushing).map(|since| since + self.patience)
            }
        }
    }

    /// Looks after what is under way.
    pub(super) fn advance(&mut self) {
        match self.work.take() {
            None => return self.attend_elsewhere(),
            Some(PendingOp::Stops { then, until, told, .. }) => match self
                .machine
                .pause_within(Duration::ZERO)
            {
                Ok(()) => self.stopped(then),
                Err(laggards) if Instant::now() > until && !told => self.lags(then, &laggards.to_string()),
                Err(_) => {
                    let next = Instant::now() + LOOK;
                    self.work = Some(PendingOp::Stops { then, until, next, told });
                }
            },
            Some(PendingOp::Threaded(threaded)) => self.attend(threaded),
        }
        if self.work.is_none() {
            for notice in std::mem::take(&mut self.held_back) {
                self.notice(notice);
            }
            self.attend_elsewhere();
        }
    }

    /// The vCPUs do not stand still in time.
    fn lags(&mut self, then: Then, why: &str) {
        tracing::error!("{why}");
        match then.job() {
            Some(job) => {
                drop(then);
                self.answers.push((job, Err(QmpError::generic(why))));
                if self.state == RunState::Running {
                    self.machine.resume();
                }
            }
            // Nothing else can be done with the guest.
            None => {
                let now = Instant::now();
                self.work = Some(PendingOp::Stops { then, until: now, next: now + LOOK, told: true });
            }
        }
    }

    /// Looks how far a thread is.
    fn attend(&mut self, mut threaded: Threaded) {
        let mut inner = threaded.shared.inner();
        let (done, total) = inner.progress;
        let result = inner.result.take();
        let late = result.is_none()
            && inner.target.is_some()
            && inner.flushing.is_some_and(|since| since.elapsed() > self.patience);
        // The thread may still have its handle: what was not written is gone before that is answered.
        let unwritten = if result.is_some() || late { inner.target.take() } else { None };
        drop(inner);
        drop(unwritten);
        if done > threaded.told {
            threaded.told = done;
            self.events.push((&qmp::SAVE_PROGRESS, json!({ "transferred": done, "total": total })));
        }
        match result {
            Some(result) => self.conclude(threaded, result),
            None if late => {
                // It may go on in the end: there is nothing left for it to write to.
                self.lost = Some(threaded.shared.clone());
                self.conclude(threaded, Err("the host did not write what it has cached of a disk".into()));
            }
            None => self.work = Some(PendingOp::Threaded(threaded)),
        }
    }

    fn conclude(&mut self, threaded: Threaded, result: Result<(), String>) {
        let Threaded { job, kind, .. } = threaded;
        let mut result = result.map_err(QmpError::generic);
        match kind {
            Kind::Save => {
                self.machine.unquiesce();
                if self.state == RunState::Running {
                    if result.is_ok() {
                        // As with migration: the guest goes on in one place only, and its owner says where.
                        self.state = RunState::Paused;
                    } else if self.ending.is_none() {
                        self.machine.resume();
                    }
                }
            }
            Kind::Devices => self.machine.unquiesce(),
            Kind::Cont => {
                if result.is_ok() {
                    self.lent = false;
                    result = self.go_on();
                }
            }
        }
        self.answers.push((job, result));
    }

    /// Ends what is under way: the process ends.
    pub(super) fn abandon(&mut self) {
        self.abandon_elsewhere();
        match self.work.take() {
            None => {}
            Some(PendingOp::Stops { then, .. }) => {
                if let Some(job) = then.job() {
                    self.answers.push((job, Err(given_up())));
                }
            }
            Some(PendingOp::Threaded(threaded)) => {
                threaded.shared.give_up();
                let result = threaded.shared.wait(LAST);
                let unwritten = threaded.shared.inner().target.take();
                drop(unwritten);
                match result {
                    Some(result) => self.conclude(threaded, result),
                    None => {
                        threaded.abandoner.iter().for_each(Abandoner::abandon);
                        self.answers.push((threaded.job, Err(given_up())));
                    }
                }
            }
        }
    }

    /// Notices that change the guest wait while somebody is at it. There are few: the vCPUs stand still, or are about
    /// to. One that waits for its disks to be unplugged is let go on, or it would never stand.
    pub(super) fn hear_of(&mut self, notice: Notice) {
        let waits = matches!(notice, Notice::Power(_) | Notice::Cpu(_));
        if waits && self.work.is_some() {
            self.held_back.push(notice);
        } else {
            self.notice(notice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_devices_state_goes_to_a_file_and_nowhere_that_a_reader_is_waited_for() {
        let (_read, write) = rustix::pipe::pipe().unwrap();
        let error = plain_file(write.into(), Path::new("/dev/fdset/1")).unwrap_err();
        assert_eq!(error.desc, "/dev/fdset/1: it is a pipe or a socket, not a file");
        plain_file(File::open("/dev/null").unwrap(), Path::new("/dev/null")).unwrap();
    }
}
