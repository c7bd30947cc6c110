//! A host controller, as those see it who put devices on its ports.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::model::{Default as Usually, Kind, Property, usb_port_text};
use devices_core::{DeviceCell, Waker};
use hypervisor::Timer;
use thiserror::Error;

use super::hub::Hub;
use super::socket::Socket;
use super::{Function, Speed, UsbDevice};

/// The port of a device.
pub const PORT: Property = Property {
    name: "port",
    kind: Kind::UsbPort,
    default: Usually::None,
    help: "port of the controller, from 1, or behind hubs, as 2.1; the first that is free if nobody says",
};

/// Whether a device whose units come after it is on its port. One that is plugged waits until it is told to be.
pub const ATTACHED: Property = Property {
    name: "attached",
    kind: Kind::Bool,
    default: Usually::Bool(true),
    help: "it is on its port; one that comes while the guest runs is when qom-set says so",
};

/// The serial number of a device that has no other than that of its place.
pub const SERIAL: Property = Property {
    name: "serial",
    kind: Kind::Text,
    default: Usually::None,
    help: "its serial number; one that tells its place if nobody says",
};

/// Of a controller that may be a companion: its master.
pub(super) const MASTER_BUS: Property = Property {
    name: "masterbus",
    kind: Kind::Text,
    default: Usually::None,
    help: "bus of the EHCI whose companion it is; it has a bus of its own if nobody says",
};
/// The same: where its ports are.
pub(super) const FIRST_PORT: Property = Property {
    name: "firstport",
    kind: Kind::Uint(32),
    default: Usually::Uint(0),
    help: "of that bus the first port that is its own, from 0",
};

/// Why a device has no port. In QEMU's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlugError {
    /// That one is not free, or is none.
    #[error("usb port {port} not found (in use?)", port = usb_port_text(*.0))]
    NotFound(u64),
    /// None is free.
    #[error("tried to attach usb device to a bus with no free ports")]
    Full,
    /// The controller has no speed of the device's.
    #[error("speed mismatch trying to attach usb device \"{0}\": the port has none of its speeds")]
    Speed(&'static str),
    /// The controller takes no companions.
    #[error("the bus of masterbus takes no companion controllers")]
    NoMaster,
    /// It takes none at these ports.
    #[error("ports {0} to {1} of masterbus are not free for a companion controller")]
    NoCompanion(u64, u64),
}

/// The port of the controller, or of a hub, that a path begins with, and the rest of it; 0: it ends there.
pub(super) fn first(path: u64) -> (u8, u64) {
    (path as u8, path >> 8)
}

/// A controller with ports. A port is named by its path, the [property](PORT)'s number: that of the controller is in the
/// lowest byte, and those of the hubs behind it in the bytes above.
pub trait UsbHost: Send + Sync {
    /// Where the controller is, which serial numbers of devices tell: `0000:00:01.2`.
    fn path(&self) -> String;
    /// Wakes the controller when a device on it has news: [`UsbDevice::woken`].
    fn waker(&self) -> Waker;
    /// The ports that are free, its own first.
    fn free_ports(&self) -> Vec<u64>;
    /// The port that is asked for, or the first that is free.
    ///
    /// # Errors
    /// It is not free, or none is.
    fn free_port(&self, asked: Option<u64>) -> Result<u64, PlugError> {
        let free = self.free_ports();
        match asked {
            Some(asked) => free.into_iter().find(|port| *port == asked).ok_or(PlugError::NotFound(asked)),
            None => free.into_iter().next().ok_or(PlugError::Full),
        }
    }
    /// Keeps a free port for a device that is not on it yet, or does so no more.
    fn hold(&self, port: u64, held: bool);
    /// Puts a device there and tells the guest.
    ///
    /// # Errors
    /// It is not free, or no port there is as slow or fast as the device.
    fn plug(&self, port: u64, device: Box<dyn UsbDevice>) -> Result<(), PlugError>;
    /// Takes a device away, with what is behind it, and tells the guest. To be kept until it is
    /// [drained](UsbDevice::drained), and dropped with no lock held.
    fn unplug(&self, port: u64) -> Option<Box<dyn UsbDevice>>;
    /// Does something with the device, and hears what it has to say then.
    fn with(&self, port: u64, act: &mut dyn FnMut(&mut dyn UsbDevice));
    /// How fast the device on a port is now.
    fn speed(&self, port: u64) -> Option<Speed>;
    /// Sockets for a companion, which serves them at the speeds that this controller does not have, from port `first` on
    /// (from 0). `timer` wakes the companion when there is something to see.
    ///
    /// # Errors
    /// The controller takes no companions, or not there.
    fn companion(&self, first: u64, count: u8, timer: Timer) -> Result<Vec<Socket>, PlugError>;
}

/// What a controller does for those who put devices on its own ports, which count from 1: [`UsbHost`], under its lock.
pub trait RootHub: Send {
    /// How many there are.
    fn ports(&self) -> u8;
    /// Whether there is such a port, and nobody on it.
    fn is_free(&self, port: u8) -> bool;
    /// Puts a device there.
    fn plug(&mut self, port: u8, device: Box<dyn UsbDevice>) -> Result<(), PlugError>;
    /// Takes a device away.
    fn unplug(&mut self, port: u8) -> Option<Box<dyn UsbDevice>>;
    /// Does something with the device, and hears what it, or who is behind it, has to say then.
    fn with(&mut self, port: u8, act: &mut dyn FnMut(&mut Function));
    /// Sockets for a companion.
    fn companion(&mut self, _first: u64, _count: u8, _timer: Timer) -> Result<Vec<Socket>, PlugError> {
        Err(PlugError::NoMaster)
    }
}

/// The fastest of a device's speeds that a port has.
pub(super) fn fastest(device: &dyn UsbDevice, has: impl Fn(Speed) -> bool) -> Option<Speed> {
    device.speeds().iter().rev().copied().find(|speed| has(*speed))
}

/// A controller, for those who put devices on its ports.
pub struct Ports<C> {
    cell: Arc<DeviceCell<C>>,
    path: String,
    waker: Waker,
    /// Ports that are kept for devices which are not on them yet.
    held: Mutex<BTreeSet<u64>>,
}

impl<C> Ports<C> {
    /// The ports of the controller that is there, which `waker` wakes.
    pub fn new(cell: Arc<DeviceCell<C>>, path: String, waker: Waker) -> Ports<C> {
        Ports { cell, path, waker, held: Mutex::default() }
    }
}

impl<C: RootHub> Ports<C> {
    fn held(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something with the hub on a port of the controller.
    fn hub<R>(&self, port: u8, act: impl FnOnce(&mut Hub) -> R) -> Option<R> {
        let (mut act, mut done) = (Some(act), None);
        self.cell.lock().with(port, &mut |function| {
            done = function.device().as_hub_mut().zip(act.take()).map(|(hub, act)| act(hub));
        });
        done
    }

    fn function(&self, path: u64, act: &mut dyn FnMut(&mut Function)) {
        match first(path) {
            (port, 0) => self.cell.lock().with(port, act),
            (port, rest) => drop(self.hub(port, |hub| hub.with(rest, act))),
        }
    }
}

impl<C: RootHub> UsbHost for Ports<C> {
    fn path(&self) -> String {
        self.path.clone()
    }
    fn waker(&self) -> Waker {
        self.waker.clone()
    }
    fn free_ports(&self) -> Vec<u64> {
        let (ports, mut free) = {
            let root = self.cell.lock();
            let ports = 1..=root.ports();
            let free = ports.clone().filter(|port| root.is_free(*port)).map(u64::from);
            (ports, free.collect::<Vec<u64>>())
        };
        for port in ports {
            let behind = self.hub(port, |hub| hub.free_ports()).unwrap_or_default();
            free.extend(behind.into_iter().map(|path| path << 8 | u64::from(port)));
        }
        let held = self.held();
        free.retain(|port| !held.contains(port));
        free
    }
    fn hold(&self, port: u64, held: bool) {
        match held {
            true => drop(self.held().insert(port)),
            false => drop(self.held().remove(&port)),
        }
    }
    fn plug(&self, path: u64, device: Box<dyn UsbDevice>) -> Result<(), PlugError> {
        match first(path) {
            (port, 0) => self.cell.lock().plug(port, device),
            (port, rest) => match self.hub(port, |hub| hub.plug(rest, device)) {
                None | Some(Err(PlugError::NotFound(_))) => Err(PlugError::NotFound(path)),
                Some(done) => done,
            },
        }
    }
    fn unplug(&self, path: u64) -> Option<Box<dyn UsbDevice>> {
        match first(path) {
            (port, 0) => self.cell.lock().unplug(port),
            (port, rest) => self.hub(port, |hub| hub.unplug(rest))?,
        }
    }
    fn with(&self, path: u64, act: &mut dyn FnMut(&mut dyn UsbDevice)) {
        self.function(path, &mut |function| act(function.device()));
    }
    fn speed(&self, path: u64) -> Option<Speed> {
        let mut speed = None;
        self.function(path, &mut |function| speed = Some(function.speed()));
        speed
    }
    fn companion(&self, first: u64, count: u8, timer: Timer) -> Result<Vec<Socket>, PlugError> {
        self.cell.lock().companion(first, count, timer)
    }
}
