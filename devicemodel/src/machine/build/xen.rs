//! What a guest of Xen finds beside the PC.

use std::sync::Arc;

use devices::xen::platform::{Host, Platform, Unplug};
use devices::xen::pvdevice::PvDevice;
use devices_core::Ticket;

use super::super::BuildError;
use super::Board;
use crate::power::{Notice, Notifier};

/// The parts, and the hypervisor's side of them.
#[derive(Clone)]
pub struct XenParts {
    /// The platform device is there, in slot 2.
    pub platform_device: bool,
    /// Device id of the PV device, if there is one.
    pub pv_device: Option<u16>,
    /// Makes guest memory 0xc0000-0xfffff read only, or writable again.
    pub lock_roms: Arc<dyn Fn(bool) + Send + Sync>,
}

/// What the platform device asks for, on its way to the event loop.
struct Requests {
    notifier: Notifier,
    lock_roms: Arc<dyn Fn(bool) + Send + Sync>,
}

impl Host for Requests {
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

pub(super) fn platform(
    board: &Board<'_>,
    parts: &XenParts,
    slots: &mut impl Iterator<Item = u8>,
    notifier: &Notifier,
) -> Result<(), BuildError> {
    if let (true, Some(slot)) = (parts.platform_device, slots.next()) {
        let requests = Requests { notifier: notifier.clone(), lock_roms: parts.lock_roms.clone() };
        let wiring = board.wiring();
        board.attach_pci(Platform::new(Arc::new(requests), &wiring), &wiring, slot, 0)?;
    }
    Ok(())
}

pub(super) fn pv_device(
    board: &Board<'_>,
    parts: &XenParts,
    slots: &mut impl Iterator<Item = u8>,
) -> Result<(), BuildError> {
    if let (Some(id), Some(slot)) = (parts.pv_device, slots.next()) {
        board.attach_pci(PvDevice::new(id), &board.wiring(), slot, 0)?;
    }
    Ok(())
}
