//! Calls of the host that a command needs and that may hang: a file of a dead server is opened by a thread.
//!
//! The loop waits for a moment, as most files are there at once. After that the command is answered when the thread is
//! done, or given up when [`Runner::patience`] is: what the thread brings in the end is closed by it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError, sync_channel};
use std::time::Instant;

use backends::image::{Protocol, is_null};

use super::Runner;
use super::pending::{AT_ONCE, LAST, given_up};
use crate::machine::open_source;
use crate::monitor::info::Source;
use crate::monitor::protocol::QmpError;
use crate::monitor::{Begun, Job};
use crate::notices::{Notice, Notifier};

/// Most threads that wait for the host.
const MOST: usize = 16;
/// What is read of an image before the loop reads of it.
const START: usize = 64 << 10;

/// What the loop does with what a thread has brought. None: the command is not over with that.
type Then = Box<dyn FnOnce(&mut Runner, Job) -> Option<Result<(), QmpError>> + Send>;

/// A thread that is waited for.
pub(super) struct Elsewhere {
    job: Job,
    what: String,
    until: Instant,
    done: Receiver<Result<Then, QmpError>>,
}

/// Has the loop come round, even if the thread ends by a fault of ours.
struct Remind(Notifier, #[expect(dead_code, reason = "counts the threads")] Arc<()>);

impl Drop for Remind {
    fn drop(&mut self) {
        self.0.notify(Notice::Device);
    }
}

fn fault() -> QmpError {
    QmpError::generic("a fault of ours, which the log tells")
}

impl Runner {
    /// Has a thread do `work`, which is about the file `what`, and does the rest when that is done.
    pub(super) fn elsewhere<T: Send + 'static>(
        &mut self,
        what: &Path,
        work: impl FnOnce() -> Result<T, QmpError> + Send + 'static,
        then: impl FnOnce(&mut Runner, Job, T) -> Option<Result<(), QmpError>> + Send + 'static,
    ) -> Result<Begun, QmpError> {
        if Arc::strong_count(&self.threads) > MOST {
            return Err(QmpError::generic("the host does not answer: too many files wait for it"));
        }
        let remind = Remind(self.machine.notifier(), self.threads.clone());
        let (say, done) = sync_channel(1);
        let run = move || {
            let result = work().map(|value| {
                let then: Then = Box::new(move |runner, job| then(runner, job, value));
                then
            });
            // What nobody waits for any more is closed here.
            let _ = say.send(result);
            drop(remind);
        };
        let started = std::thread::Builder::new().name("file".into()).spawn(run);
        started.map_err(|error| QmpError::generic(error.to_string()))?;
        let job = self.job();
        match done.recv_timeout(AT_ONCE) {
            Ok(result) => match result?(self, job) {
                Some(result) => result.map(|()| Begun::Done),
                None => self.begun(job),
            },
            Err(RecvTimeoutError::Disconnected) => Err(fault()),
            Err(RecvTimeoutError::Timeout) => {
                let (what, until) = (what.display().to_string(), Instant::now() + self.patience);
                self.elsewhere.push(Elsewhere { job, what, until, done });
                Ok(Begun::Later(job))
            }
        }
    }

    /// The same of a command that takes an image by its name: it goes on with a file that is open and whose start has
    /// been read.
    pub(super) fn with_file(
        &mut self,
        source: Source,
        write: bool,
        then: impl FnOnce(&mut Runner, Source) -> Result<(), QmpError> + Send + 'static,
    ) -> Result<Begun, QmpError> {
        let path = match &source {
            Source::Path(path) if !is_null(path) => path,
            _ => return then(self, source).map(|()| Begun::Done),
        };
        let open = move |source| match open_source(source, write)? {
            (Protocol::File(file), path) => {
                // What it is, whoever goes on with it finds out.
                let _ = read_start(&file);
                Ok(Source::File(file.into(), path))
            }
            (Protocol::Null, path) => Ok(Source::Path(path)),
        };
        self.elsewhere(&path.clone(), move || open(source), |runner, _, source| Some(then(runner, source)))
    }

    /// When [`attend_elsewhere`](Runner::attend_elsewhere) has something to give up.
    pub(super) fn elsewhere_due(&self) -> Option<Instant> {
        self.elsewhere.iter().map(|waits| waits.until).min().filter(|_| self.work.is_none())
    }

    /// Looks which threads are done. What they bring may change the guest, and so waits while somebody else does.
    pub(super) fn attend_elsewhere(&mut self) {
        let mut at = 0;
        while self.work.is_none()
            && let Some(waits) = self.elsewhere.get(at)
        {
            let result = match waits.done.try_recv() {
                Err(TryRecvError::Empty) if waits.until > Instant::now() => {
                    at += 1;
                    continue;
                }
                Err(TryRecvError::Empty) => Err(QmpError::generic(format!(
                    "Could not open '{}': the host does not answer",
                    waits.what
                ))),
                Err(TryRecvError::Disconnected) => Err(fault()),
                Ok(result) => result,
            };
            let job = self.elsewhere.remove(at).job;
            match result {
                Ok(then) => {
                    let over = then(self, job).map(|result| (job, result));
                    self.answers.extend(over);
                }
                Err(error) => self.answers.push((job, Err(error))),
            }
        }
    }

    /// The process ends. Who writes a file has a moment to finish it.
    pub(super) fn abandon_elsewhere(&mut self) {
        let until = Instant::now() + LAST;
        for waits in self.elsewhere.drain(..) {
            let _ = waits.done.recv_timeout(until.saturating_duration_since(Instant::now()));
            self.answers.push((waits.job, Err(given_up())));
        }
    }
}

fn read_start(file: &File) -> std::io::Result<()> {
    if file.metadata()?.is_file() {
        file.read_at(&mut vec![0; START], 0)?;
    }
    Ok(())
}
