//! Where devices are attached, and the hypervisor as they know it.

use std::sync::Arc;

use devices_core::bus::{Bus, Mapper};
use devices_core::irq::IrqSink;
use devices_core::power::Power;
use devices_core::{Device, DeviceCell, Sbdf, Wiring};
use hypervisor::{Claims, Hypervisor, IrqTarget, Mapping, Pin};

use super::super::audio::Sounds;
use super::super::chardevs::Chardevs;
use super::super::disks::DriveImages;
use super::super::inputs::Others;
use super::super::network::Networks;
use super::super::{BuildError, Preopened};
use crate::config::{DumpConfig, GuestConfig, NetdevConfig};
use crate::notices::Notifier;
use crate::trace::Border;

/// Memory windows of PCI devices, and who answers what.
pub(super) struct Windows(pub Arc<dyn Hypervisor>);

impl Mapper for Windows {
    fn map(&self, mapping: Mapping) {
        if let Err(error) = self.0.map(mapping) {
            tracing::error!("a window cannot be mapped: {error}");
        }
    }
    fn claim(&self, claims: &Claims) {
        if let Err(error) = self.0.claim(claims) {
            tracing::error!("a window cannot be claimed: {error}");
        }
    }
}

/// One pin of the processor as an interrupt sink.
pub(super) struct PinSink(pub Arc<dyn IrqTarget>, pub Pin);

impl IrqSink for PinSink {
    fn set(&self, _pin: u32, level: bool) {
        self.0.set(self.1, level);
    }
}

/// What is needed to attach devices.
pub(in crate::machine) struct Board<'a> {
    pub bus: &'a Bus,
    pub hypervisor: &'a Arc<dyn Hypervisor>,
    pub config: &'a GuestConfig,
    pub power: &'a Arc<dyn Power>,
    pub border: &'a Border,
    pub networks: &'a Networks,
    pub chardevs: &'a Chardevs,
    pub sounds: &'a Sounds,
    pub others: &'a Others,
    pub images: &'a DriveImages,
    pub ahead: &'a Preopened,
    pub notifier: &'a Notifier,
}

impl Board<'_> {
    pub fn wiring(&self) -> Wiring {
        self.border.wiring(&**self.hypervisor)
    }

    /// Has what passes networks written down; not in a replay, where nothing does.
    pub fn add_dumps(&self, dumps: &[DumpConfig]) -> Result<(), BuildError> {
        if self.border.replays() {
            return Ok(());
        }
        dumps.iter().try_for_each(|dump| self.networks.add_dump(dump, self.ahead.dump(dump)?))
    }

    /// Starts the back ends of all networks. A replay has none.
    pub fn add_netdevs(&self, netdevs: &[NetdevConfig]) -> Result<(), BuildError> {
        let opened = |netdev| match self.border.replays() {
            true => Ok::<_, BuildError>(None),
            false => self.ahead.network(netdev).map(Some),
        };
        let on_ports: Vec<&str> = netdevs.iter().filter_map(NetdevConfig::on_port).collect();
        for netdev in netdevs.iter().filter(|netdev| !on_ports.contains(&netdev.id.as_str())) {
            let prepared = opened(netdev)?;
            let other = netdevs.iter().find(|other| Some(other.id.as_str()) == netdev.on_port());
            let started = match other {
                None => self.networks.add(netdev.clone(), prepared),
                Some(other) => {
                    let both = prepared.zip(opened(other)?);
                    self.networks.add_on_port(netdev.clone(), other.clone(), both)
                }
            };
            started.map_err(|source| BuildError::Network { id: netdev.id.clone(), source })?;
        }
        Ok(())
    }

    pub fn attach<D: Device + 'static>(
        &self,
        device: D,
        wiring: &Wiring,
    ) -> Result<Arc<DeviceCell<D>>, BuildError> {
        self.attach_at(device, wiring, None)
    }

    pub fn attach_pci<D: Device + 'static>(
        &self,
        device: D,
        wiring: &Wiring,
        slot: u8,
        function: u8,
    ) -> Result<Arc<DeviceCell<D>>, BuildError> {
        self.attach_at(device, wiring, Some(Sbdf::bus0(slot, function)))
    }

    fn attach_at<D: Device + 'static>(
        &self,
        device: D,
        wiring: &Wiring,
        sbdf: Option<Sbdf>,
    ) -> Result<Arc<DeviceCell<D>>, BuildError> {
        let attached = self.bus.attach(device, wiring, sbdf);
        attached.map_err(|error| BuildError::Inconsistent(error.to_string()))
    }
}
