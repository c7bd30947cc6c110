//! A machine at rest, for a thread that may wait: what it takes to get there and to write the machine down.

use std::sync::Arc;
use std::time::Duration;

use backends::image::{ImageError, Images};
use devices_core::bus::Bus;
use hypervisor::Hypervisor;

use super::{LendError, Machine};
use crate::config::GuestConfig;
use crate::notices::{Notice, Notifier};
use crate::qdisk::PvDisks;
use crate::saved::{self, Parts, SaveError};

/// Handles to a machine whose vCPUs stand still.
pub(crate) struct PausedMachine {
    config: GuestConfig,
    hypervisor: Arc<dyn Hypervisor>,
    bus: Bus,
    images: Images,
    pv_disks: Option<Arc<PvDisks>>,
    notifier: Notifier,
    /// A disk whose image was taken away.
    gone: Option<String>,
}

impl Machine {
    /// Handles for another thread.
    pub(crate) fn rest(&self) -> PausedMachine {
        PausedMachine {
            config: GuestConfig {
                disks: self.disk_configs(),
                devices: self.plugged.specs(),
                netdevs: self.networks.configs(),
                chardevs: self.chardevs.configs(),
                ..self.config.clone()
            },
            hypervisor: self.hypervisor.clone(),
            bus: self.bus.clone(),
            images: self.images.clone(),
            pv_disks: self.pv_disks.clone(),
            notifier: self.notifier.clone(),
            gone: self.gone_disk(),
        }
    }
}

impl PausedMachine {
    /// Waits until nothing is in flight in any disk or other device. [`Machine::unquiesce`] lets them go on.
    pub(crate) fn quiesce(&self, patience: Duration, give_up: &dyn Fn() -> bool) -> Result<(), SaveError> {
        if let Some(disk) = &self.gone {
            return Err(SaveError::Gone(disk.clone()));
        }
        if let Some(Err(error)) = self.pv_disks.as_ref().map(|disks| disks.settle()) {
            tracing::error!("{error}");
            return Err(SaveError::Busy("a PV disk".to_owned()));
        }
        saved::quiesce_within(&self.bus, patience, give_up)
    }
    /// What is cached of the disks' images is on the disk: a saved guest goes on with them as they are now. The
    /// machine is quiet.
    pub(crate) fn flush_images(&self) -> Result<(), ImageError> {
        self.images.flush()
    }
    /// Lets another process have the disks' images, with all that was written. The machine is quiet.
    pub(crate) fn lend_images(&self) -> Result<(), LendError> {
        self.images.lend()?;
        if let Some(Err(error)) = self.pv_disks.as_ref().map(|disks| disks.lend()) {
            self.images.take()?;
            return Err(error.into());
        }
        Ok(())
    }
    /// Takes them back; waits a little for whoever has one.
    pub(crate) fn take_images(&self) -> Result<(), LendError> {
        self.images.take()?;
        Ok(self.pv_disks.as_ref().map_or(Ok(()), |disks| disks.take())?)
    }
    /// What is written down.
    pub(crate) fn parts(&self) -> Parts<'_> {
        Parts { config: &self.config, hypervisor: &*self.hypervisor, bus: &self.bus }
    }
    /// Has the event loop come round.
    pub(crate) fn remind(&self) {
        self.notifier.notify(Notice::Device);
    }
}
