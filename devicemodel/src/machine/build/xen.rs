//! What PV drivers ask of the platform device.

use std::sync::Arc;

use devices::xen::platform::{PlatformOps, Unplug};
use devices_core::Ticket;
use hypervisor::Hypervisor;

use crate::notices::{Notice, Notifier};

/// What the platform device asks for, on its way to the event loop and to the hypervisor.
struct Requests {
    notifier: Notifier,
    hypervisor: Arc<dyn Hypervisor>,
}

impl PlatformOps for Requests {
    fn unplug(&self, what: Unplug, done: Ticket) {
        self.notifier.notify(Notice::Unplug(what, done));
    }
    fn lock_roms(&self, locked: bool) {
        if let Err(error) = self.hypervisor.lock_roms(locked) {
            tracing::warn!("{error}");
        }
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
pub(in crate::machine) fn requests(
    hypervisor: &Arc<dyn Hypervisor>,
    notifier: &Notifier,
) -> Arc<dyn PlatformOps> {
    Arc::new(Requests { notifier: notifier.clone(), hypervisor: hypervisor.clone() })
}
