//! The device's bus, for those who put units on it. It is a lock of its own, which is taken last: units are there before
//! the device is on its port.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::block::Tray;
use devices_core::{Wake, Waker};

use super::spec::LUN_MAX;
use crate::storage::scsi::{Address, NoPlace, ScsiBus, ScsiHost, UnitOptions};

/// The units.
pub(super) struct Units {
    pub bus: ScsiBus<u32>,
    /// The guest uses the device: it is told of units that come and go.
    pub live: bool,
}

/// The units, and how their controller is woken.
#[derive(Clone)]
pub struct Host {
    units: Arc<Mutex<Units>>,
    waker: Waker,
}

impl Host {
    pub(super) fn new(waker: Waker) -> Host {
        let units = Units { bus: ScsiBus::new(waker.clone()), live: false };
        Host { units: Arc::new(Mutex::new(units)), waker }
    }

    pub(super) fn units(&self) -> MutexGuard<'_, Units> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Units {
    /// The place that is asked for, or the first that is free, as QEMU's buses find it.
    fn choose(&self, target: Option<u8>, lun: Option<u16>) -> Result<Address, NoPlace> {
        match (target, lun) {
            (Some(target @ 1..), _) => return Err(NoPlace::Target(target)),
            (_, Some(lun)) if lun > LUN_MAX => return Err(NoPlace::Lun(lun)),
            _ => {}
        }
        let free = |lun: &u16| !self.bus.has_unit(Address { target: 0, lun: *lun });
        let lun = match (target, lun) {
            (Some(_), None) => (0..=LUN_MAX).find(free).ok_or(NoPlace::NoLun)?,
            (None, lun) => Some(lun.unwrap_or(0)).filter(free).ok_or(NoPlace::NoTarget)?,
            (Some(_), Some(lun)) => lun,
        };
        Ok(Address { target: 0, lun })
    }

    fn changed(&mut self, at: Address) {
        if self.live {
            self.bus.units_changed(at);
        }
    }
}

impl ScsiHost for Host {
    fn plug(
        &self,
        target: Option<u8>,
        lun: Option<u16>,
        unit: UnitOptions,
    ) -> Result<(Address, Option<Tray>), NoPlace> {
        let mut units = self.units();
        let at = units.choose(target, lun)?;
        let tray = units.bus.plug(at, unit)?;
        units.changed(at);
        Ok((at, tray))
    }

    fn unplug(&self, at: Address) {
        let mut units = self.units();
        units.bus.unplug(at);
        units.changed(at);
        drop(units);
        // What was with the unit has ended.
        self.waker.wake(Wake::Backend(0));
    }

    fn has_left(&self, at: Address) -> bool {
        let (left, still) = {
            let mut units = self.units();
            (units.bus.take_left(), units.bus.is_leaving(at))
        };
        drop(left);
        !still
    }
}
