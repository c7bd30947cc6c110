//! What is done about a request that the host could not do.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{BlockError, BlockOp, BlockRequest, Completion, CompletionQueue, Payload};
use crate::events::{DeviceEvent, Watch};

/// QEMU's words of `werror` and `rerror`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnError {
    /// The guest is told.
    #[default]
    Report,
    /// The guest is told that it was done.
    Ignore,
    /// The guest is stopped, and the request is done again when it goes on.
    Stop,
    /// Stopped if the host has no space left, and told otherwise.
    Enospc,
}

impl OnError {
    /// QEMU's word.
    pub fn name(self) -> &'static str {
        match self {
            OnError::Report => "report",
            OnError::Ignore => "ignore",
            OnError::Stop => "stop",
            OnError::Enospc => "enospc",
        }
    }
}

impl FromStr for OnError {
    type Err = ();
    fn from_str(word: &str) -> Result<OnError, ()> {
        let all = [OnError::Report, OnError::Ignore, OnError::Stop, OnError::Enospc];
        all.into_iter().find(|how| how.name() == word).ok_or(())
    }
}

/// What is done about errors of one drive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorPolicy {
    /// Of reads.
    pub read: OnError,
    /// Of all else.
    pub write: OnError,
}

impl ErrorPolicy {
    /// The guest is told of every error.
    pub const REPORT: ErrorPolicy = ErrorPolicy { read: OnError::Report, write: OnError::Report };

    fn action(&self, op: BlockOp, error: BlockError) -> ErrorAction {
        let how = if op == BlockOp::Read { self.read } else { self.write };
        match (how, error) {
            (OnError::Report, _) => ErrorAction::Report,
            (OnError::Ignore, _) => ErrorAction::Ignore,
            (OnError::Stop, _) | (OnError::Enospc, BlockError::NoSpace) => ErrorAction::Stop,
            (OnError::Enospc, _) => ErrorAction::Report,
        }
    }
}

impl Default for ErrorPolicy {
    /// As QEMU has it: a disk for which there is no space left on the host stops the guest.
    fn default() -> ErrorPolicy {
        ErrorPolicy { write: OnError::Enospc, ..ErrorPolicy::REPORT }
    }
}

/// What was done about one error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorAction {
    /// The guest was told.
    Report,
    /// It was told that all is well.
    Ignore,
    /// It is to be stopped: the request waits.
    Stop,
}

/// Requests that wait for a guest that was stopped for them to go on.
pub trait Retry: Send + Sync {
    /// Sends them again. From any thread, with no device's lock held.
    fn retry(&self);
    /// Whether there is any still.
    fn waits(&self) -> bool;
}

/// A request that failed and can be sent again. Two are never the same.
pub struct Again(Box<BlockRequest>);

impl Again {
    pub(super) fn into_request(self) -> BlockRequest {
        *self.0
    }
}

impl PartialEq for Again {
    fn eq(&self, _: &Again) -> bool {
        false
    }
}

impl fmt::Debug for Again {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{:?} at {:#x}", self.0.op, self.0.offset)
    }
}

impl BlockRequest {
    /// The answer to it, and where it goes. One that is the host's fault can be done again.
    pub fn completed(self, result: Result<(), BlockError>) -> (CompletionQueue, Completion) {
        if let Err(BlockError::Io | BlockError::NoSpace) = result {
            let (done, token) = (self.done.clone(), self.token);
            let again = Some(Again(Box::new(self)));
            return (done, Completion { token, result, buffer: Vec::new(), again });
        }
        (self.done, Completion::new(self.token, self.payload, result))
    }
}

impl Completion {
    /// The same for who does not send it again.
    pub fn at_last(mut self) -> Completion {
        if let Some(Again(request)) = self.again.take()
            && let Payload::Buffer(buffer) = request.payload
        {
            self.buffer = buffer;
        }
        self
    }
}

/// A drive's policy, and who is told.
#[derive(Clone)]
pub(super) struct Errors {
    pub(super) policy: ErrorPolicy,
    pub(super) watch: Watch,
}

impl Default for Errors {
    fn default() -> Errors {
        Errors { policy: ErrorPolicy::REPORT, watch: Watch::default() }
    }
}

/// What comes of an answer.
pub(super) enum Judged {
    /// The controller gets it.
    Answer(Completion),
    /// It is to be sent again when the guest goes on.
    Wait(BlockRequest),
}

impl Errors {
    /// What comes of the answer to a request of that kind. `requests` are the drive's.
    pub(super) fn judge<R: Retry + 'static>(
        &self,
        op: BlockOp,
        mut answer: Completion,
        requests: &Arc<R>,
    ) -> Judged {
        let error = match answer.result {
            Err(error @ (BlockError::Io | BlockError::NoSpace)) => error,
            // The guest's own fault, or none, or nothing that could get better.
            _ => return Judged::Answer(answer),
        };
        let mut action = self.policy.action(op, error);
        let mut again = None;
        if action == ErrorAction::Stop {
            // Where runs are recorded, or nobody could stop the guest, it is told after all.
            again = answer.again.take_if(|_| self.watch.stops(requests.clone()));
            if again.is_none() {
                action = ErrorAction::Report;
            }
        }
        self.watch.tell(|drive| DeviceEvent::BlockError {
            drive,
            write: op != BlockOp::Read,
            no_space: error == BlockError::NoSpace,
            action,
        });
        if let Some(again) = again {
            return Judged::Wait(again.into_request());
        }
        if action == ErrorAction::Ignore {
            answer.result = Ok(());
        }
        Judged::Answer(answer.at_last())
    }
}
