//! The device model of a Xen domain, as libxl starts it.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::power::{Power, PowerEvent};
use hypervisor_xen::xenstore::{StoreError, XenStore};
use hypervisor_xen::{Placements, ShutdownReason, Xen, XenConfig};
use thiserror::Error;

use crate::config::{Action, GuestConfig};
use crate::machine::{Machine, MachineHandles};
use crate::notices::{Notice, Notifier};
use crate::qdisk::{PvDisks, QdiskError};
use crate::qemu::XenOptions;
use crate::sandbox;
use crate::saved::{SaveError, SavedGuest};

/// Where RAM below 4 GiB ends at most (`HVM_BELOW_4G_RAM_END` of Xen's builder).
const BELOW_4G: u64 = 0xf000_0000;

/// What we are the backend of, where libxl looks for it; it asks for `qusb` alone and QEMU has the others too.
const BACKENDS: [&str; 1] = ["vkbd"];

/// Why a domain cannot be served.
#[derive(Debug, Error)]
pub enum DomainError {
    /// Xen refused.
    #[error("{0}")]
    Xen(#[from] hypervisor::Error),
    /// xenstore refused.
    #[error("xenstore: {0}")]
    Store(String),
    /// The file that the guest is saved in.
    #[error("-incoming {name}: {source}")]
    Incoming {
        /// Its name, or the number that it was given with.
        name: PathBuf,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
    /// The PV disks.
    #[error("{0}")]
    Disks(#[from] QdiskError),
    /// The saved guest to continue.
    #[error("{0}")]
    Save(#[from] SaveError),
}

/// A domain that is served. Clones are handles.
#[derive(Clone)]
pub(crate) struct Domain {
    xen: Arc<Xen>,
    /// Closed when the process gives up its rights.
    store: Arc<Mutex<Option<XenStore>>>,
    options: XenOptions,
}

impl Domain {
    /// Takes over the domain's requests. Nothing of the guest is changed but that.
    pub(crate) fn open(options: XenOptions, guest: &GuestConfig) -> Result<Domain, DomainError> {
        let store = XenStore::open().map_err(|error| DomainError::Store(error.to_string()))?;
        let bytes = guest.memory_mib << 20;
        let ram_below = bytes.min(options.max_ram_below_4g.unwrap_or(BELOW_4G).min(BELOW_4G));
        let xen = Xen::new(XenConfig {
            domid: options.domid,
            ram_below,
            ram_above: bytes - ram_below,
            vcpus: guest.max_vcpus.unwrap_or(guest.vcpus),
            threads: None,
        })?;
        Ok(Domain { xen: Arc::new(xen), store: Arc::new(Mutex::new(Some(store))), options })
    }

    /// Gives the domain the memory that its display will have, while that can be done.
    pub(crate) fn reserve(&self, guest: &GuestConfig) -> Result<(), DomainError> {
        match guest.device_memory() {
            0 => Ok(()),
            bytes => Ok(self.xen.reserve(bytes)?),
        }
    }

    /// The domain was restored, and has the memory of its display where the saved guest says.
    pub(crate) fn restored(&self, saved: &mut SavedGuest) -> Result<(), DomainError> {
        self.xen.restored(Placements::of(&saved.own_parts()?)?);
        Ok(())
    }

    /// What its machine stands on.
    pub(crate) fn handles(&self, notifier: Notifier) -> MachineHandles {
        let power = Switch { xen: self.xen.clone(), notifier: notifier.clone() };
        MachineHandles { power: Arc::new(power), ..MachineHandles::new(self.xen.clone(), notifier) }
    }

    /// Has another process serve the domain's PV disks, if this one is to give up xenstore.
    pub(crate) fn disks_apart(&self, rights: &sandbox::Options) -> Result<Option<PvDisks>, DomainError> {
        Ok(self.options.restrict.then(|| PvDisks::apart(self.options.domid, rights)).transpose()?)
    }

    /// Has the machine serve the domain's PV disks, or know who does.
    pub(crate) fn serve_disks(
        &self,
        machine: &mut Machine,
        apart: Option<PvDisks>,
    ) -> Result<(), DomainError> {
        match apart {
            Some(disks) => machine.have_pv_disks(disks),
            None => machine.serve_pv_disks(self.options.domid)?,
        }
        Ok(())
    }

    /// Answers the toolstack for the PV keyboards that it gives every guest, as QEMU does: there is somebody. A
    /// frontend finds nothing to connect to, and the guest uses the emulated keyboard.
    pub(crate) fn accept_keyboards(&self) -> Result<(), DomainError> {
        let store = self.store();
        let Some(store) = &*store else { return Ok(()) };
        let home = format!("backend/vkbd/{}", self.options.domid);
        let failed = |error: StoreError| DomainError::Store(error.to_string());
        // The folder is not there when there are none.
        for keyboard in store.directory(&home).unwrap_or_default() {
            let node = |key: &str| format!("{home}/{keyboard}/{key}");
            if store.find(&node("state")).map_err(failed)?.as_deref() == Some("1") {
                store.write(&node("hotplug-status"), "connected").map_err(failed)?;
                // InitWait (Xen's `io/xenbus.h`).
                store.write(&node("state"), "2").map_err(failed)?;
            }
        }
        Ok(())
    }

    fn store(&self) -> MutexGuard<'_, Option<XenStore>> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives up all rights over other domains, if that was asked for. Everything is open.
    pub(crate) fn restrict(&self) -> Result<(), DomainError> {
        if self.options.restrict {
            self.store().take();
            self.xen.restrict()?;
        }
        Ok(())
    }

    /// Tells libxl that requests are answered. A restricted process is asked by QMP instead.
    pub(crate) fn announce(&self) -> Result<(), DomainError> {
        let store = self.store();
        let Some(store) = &*store else { return Ok(()) };
        let write = |path: String, value: &str| {
            store.write(&path, value).map_err(|error| DomainError::Store(error.to_string()))
        };
        let home = format!("device-model/{}", self.options.domid);
        for backend in BACKENDS {
            write(format!("{home}/backends/{backend}"), "")?;
        }
        write(format!("{home}/state"), "running")
    }
}

/// A domain's end is Xen's to carry out: its owner builds it anew, or not. The vCPU that asked never goes on,
/// because Xen hears of it before its request is answered.
struct Switch {
    xen: Arc<Xen>,
    notifier: Notifier,
}

impl Power for Switch {
    fn request(&self, event: PowerEvent) {
        let done = match event {
            PowerEvent::PowerOff | PowerEvent::Exit(_) => self.xen.shut_down(ShutdownReason::PowerOff),
            PowerEvent::Reset => self.xen.shut_down(ShutdownReason::Reboot),
            PowerEvent::Panicked => self.xen.shut_down(ShutdownReason::Crash),
            PowerEvent::Suspend => self.xen.set_asleep(true),
            // What a watchdog means is asked for again by that event.
            PowerEvent::CrashLoaded | PowerEvent::Watchdog => Ok(()),
        };
        if let Err(error) = done {
            tracing::error!("{error}");
        }
        self.notifier.notify(Notice::Power(event));
    }
}

/// What a guest's end means here: the process waits for its owner to end it.
pub(crate) fn stay(guest: &mut GuestConfig) {
    guest.on_poweroff = Action::Preserve;
    guest.on_reboot = Action::Preserve;
    guest.on_crash = Action::Preserve;
}
