//! One domain, and the operations on it.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::abi::dm::{DmOp, Payload};
use crate::error::CallError;
use crate::kernel::Kernel;

/// A domain that we are the device model of.
pub struct Domain {
    kernel: Arc<dyn Kernel>,
    id: u16,
    gone: AtomicBool,
}

impl Domain {
    /// The domain of that number.
    pub fn new(kernel: Arc<dyn Kernel>, id: u16) -> Domain {
        Domain { kernel, id, gone: AtomicBool::new(false) }
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

    /// Notes what a failed call tells about the domain, and puts the call's words together.
    pub fn failed(&self, call: &'static str, what: String, source: std::io::Error) -> CallError {
        if source.raw_os_error() == Some(libc::ESRCH) {
            self.gone.store(true, Ordering::Release);
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
