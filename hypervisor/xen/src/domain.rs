//! One domain, and the operations on it.

use std::fmt::Debug;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use crate::abi::dm::{DmOp, Payload};
use crate::error::CallError;
use crate::kernel::Kernel;

/// A domain that we are the device model of.
pub struct Domain {
    kernel: Arc<dyn Kernel>,
    id: u16,
    gone: AtomicBool,
    on_gone: OnceLock<Box<dyn Fn() + Send + Sync>>,
    complaints: AtomicU32,
}

/// Most failures that are logged: a dying domain makes every call fail.
const MOST_COMPLAINTS: u32 = 50;

impl Domain {
    /// The domain of that number.
    pub fn new(kernel: Arc<dyn Kernel>, id: u16) -> Domain {
        Domain {
            kernel,
            id,
            gone: AtomicBool::new(false),
            on_gone: OnceLock::new(),
            complaints: AtomicU32::new(0),
        }
    }

    /// Its number.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The way to it.
    pub fn kernel(&self) -> &dyn Kernel {
        &*self.kernel
    }

    /// Whether Xen said that there is no such domain any more.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// Whom to tell, once, that the domain is gone. Called from the thread that noticed.
    pub fn on_gone(&self, tell: impl Fn() + Send + Sync + 'static) {
        // There is one owner.
        let _ = self.on_gone.set(Box::new(tell));
    }

    fn lose(&self) {
        if !self.gone.swap(true, Ordering::AcqRel)
            && let Some(tell) = self.on_gone.get()
        {
            tell();
        }
    }

    /// Logs a failure that nobody takes as a result; not without end.
    pub fn complain(&self, error: &CallError) {
        match self.complaints.fetch_add(1, Ordering::Relaxed) {
            n if n < MOST_COMPLAINTS => tracing::error!("{error}"),
            MOST_COMPLAINTS => tracing::error!("further failed calls are not logged"),
            _ => {
                self.complaints.store(MOST_COMPLAINTS + 1, Ordering::Relaxed);
            }
        }
    }

    /// Notes what a failed call tells about the domain, and puts the call's words together.
    pub fn failed(&self, call: &'static str, what: String, source: std::io::Error) -> CallError {
        if source.raw_os_error() == Some(libc::ESRCH) {
            self.lose();
        }
        CallError::with(call, format!("of domain {}{what}", self.id), source)
    }

    /// Makes an operation; gives back what Xen left of its payload.
    pub fn op<P: Payload + Debug>(&self, payload: P) -> Result<P, CallError> {
        self.operate(payload, None)
    }

    /// The same with a second buffer, at most a page.
    pub fn op_with<P: Payload + Debug>(&self, payload: P, extra: &mut [u8]) -> Result<P, CallError> {
        self.operate(payload, Some(extra))
    }

    fn operate<P: Payload + Debug>(&self, payload: P, extra: Option<&mut [u8]>) -> Result<P, CallError> {
        let mut op = DmOp::new(payload);
        match self.kernel.dm_op(self.id, &mut op, extra) {
            Ok(()) => Ok(op.payload().unwrap_or(payload)),
            Err(source) => Err(self.failed(P::NAME, format!(" ({payload:x?})"), source)),
        }
    }
}
