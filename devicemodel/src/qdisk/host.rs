//! Xen and xenstore as the back end core knows them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::xen::blkback::{Channel, GrantCopy, GrantError, GrantOps, Local, Mapping, Store, StoreError};
use hypervisor_xen::abi::GrantRef;
use hypervisor_xen::evtchn::EventChannels;
use hypervisor_xen::gntdev::{self, GrantMapping, GrantTable};
use hypervisor_xen::kernel::Events;
use hypervisor_xen::xenstore::{self, XenStore};
use vm_memory::VolatileSlice;

fn grant_error(error: impl ToString) -> GrantError {
    GrantError(error.to_string())
}

/// The event channels of all disks, by our port.
pub(super) struct Ports {
    pub(super) events: EventChannels,
    bound: Mutex<BTreeMap<u32, u32>>,
}

impl Ports {
    pub(super) fn open() -> std::io::Result<Ports> {
        Ok(Ports { events: EventChannels::open()?, bound: Mutex::default() })
    }

    fn bound(&self) -> MutexGuard<'_, BTreeMap<u32, u32>> {
        self.bound.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose a port is.
    pub(super) fn device(&self, port: u32) -> Option<u32> {
        self.bound().get(&port).copied()
    }
}

/// A bound port.
struct Bell {
    ports: Arc<Ports>,
    port: u32,
}

impl Channel for Bell {
    fn notify(&self) {
        if let Err(error) = self.ports.events.notify(self.port) {
            tracing::debug!("PV disk: a frontend's event channel: {error}");
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ports.bound().remove(&self.port);
        if let Err(error) = self.ports.events.unbind(self.port) {
            tracing::debug!("PV disk: closing an event channel: {error}");
        }
    }
}

struct Mapped(GrantMapping);

impl Mapping for Mapped {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.slice()
    }
}

/// What Xen does for one disk.
pub(super) struct Frontend {
    pub(super) domid: u16,
    pub(super) device: u32,
    pub(super) ports: Arc<Ports>,
    pub(super) grants: GrantTable,
}

impl GrantOps for Frontend {
    fn map(&self, references: &[u32], writable: bool) -> Result<Box<dyn Mapping>, GrantError> {
        let domid = u32::from(self.domid);
        let grants: Vec<GrantRef> =
            references.iter().map(|&reference| GrantRef { domid, reference }).collect();
        let mapping = self.grants.map(&grants, writable).map_err(grant_error)?;
        Ok(Box::new(Mapped(mapping)))
    }

    fn copy(&self, copies: &mut [GrantCopy<'_>]) -> Result<(), GrantError> {
        let mut copies: Vec<gntdev::Copy<'_>> = copies
            .iter_mut()
            .map(|copy| gntdev::Copy {
                local: match &mut copy.local {
                    Local::Into(bytes) => gntdev::Local::Into(bytes),
                    Local::From(bytes) => gntdev::Local::From(bytes),
                },
                domid: self.domid,
                reference: copy.reference,
                offset: copy.offset,
            })
            .collect();
        let results = self.grants.copy(&mut copies).map_err(grant_error)?;
        results.into_iter().collect::<Result<(), _>>().map_err(grant_error)
    }

    fn bind(&self, port: u32) -> Result<Box<dyn Channel>, GrantError> {
        let port = self.ports.events.bind(self.domid, port).map_err(grant_error)?;
        self.ports.bound().insert(port, self.device);
        Ok(Box::new(Bell { ports: self.ports.clone(), port }))
    }
}

/// xenstore, with the watches of one disk.
pub(super) struct Nodes {
    pub(super) store: XenStore,
    /// What [`XenStore::next_event`] calls them by.
    pub(super) token: String,
}

fn store_error(error: xenstore::StoreError) -> StoreError {
    StoreError(error.to_string())
}

impl Store for Nodes {
    fn find(&self, path: &str) -> Result<Option<String>, StoreError> {
        self.store.find(path).map_err(store_error)
    }
    fn write(&self, path: &str, value: &str) -> Result<(), StoreError> {
        self.store.write(path, value).map_err(store_error)
    }
    fn watch(&self, path: &str) -> Result<(), StoreError> {
        self.store.watch(path, &self.token).map_err(store_error)
    }
    fn unwatch(&self, path: &str) -> Result<(), StoreError> {
        self.store.unwatch(path, &self.token).map_err(store_error)
    }
}
