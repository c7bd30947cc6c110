//! What a guest of Xen finds beside the PC.

use std::sync::Arc;

use devices::xen::platform::{PlatformOps, Unplug};
use devices_core::Ticket;

use crate::power::{Notice, Notifier};

/// What only the hypervisor can do.
#[derive(Clone)]
pub struct XenParts {
    /// Makes guest memory 0xc0000-0xfffff read only, or writable again.
    pub lock_roms: Arc<dyn Fn(bool) + Send + Sync>,
}

/// What the platform device asks for, on its way to the event loop.
struct Requests {
    notifier: Notifier,
    lock_roms: Arc<dyn Fn(bool) + Send + Sync>,
}

impl PlatformOps for Requests {
    fn unplug(&self, what: Unplug, done: Ticket) {
        self.notifier.notify(Notice::Unplug(what, done));
    }
    fn lock_roms(&self, locked: bool) {
        (self.lock_roms)(locked);
    }
    fn drivers(&self, product: u16, build: u32) -> bool {
        tracing::info!(product, build, "PV drivers");
        true
    }
    fn log(&self, line: &str) {
        tracing::info!("the guest's drivers say: {line}");
    }
}

/// Who carries out what PV drivers ask for.
pub(in crate::machine) fn requests(parts: &XenParts, notifier: &Notifier) -> Arc<dyn PlatformOps> {
    Arc::new(Requests { notifier: notifier.clone(), lock_roms: parts.lock_roms.clone() })
}
