//! A host controller, as those see it who put devices on its ports.

use std::sync::Arc;

use devices_core::model::{Default as Usually, Kind, Property};
use devices_core::{DeviceCell, Waker};
use hypervisor::Timer;
use thiserror::Error;

use super::socket::Socket;
use super::{Speed, UsbDevice};

/// The port of a device.
pub const PORT: Property = Property {
    name: "port",
    kind: Kind::Uint(32),
    default: Usually::None,
    help: "port of the controller, from 1; the first that is free if nobody says",
};

/// Why a device has no port. In QEMU's words.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum PlugError {
    /// That one is not free, or is none.
    #[error("usb port {0} not found (in use?)")]
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

/// A controller with ports.
pub trait UsbHost: Send + Sync {
    /// Where the controller is, which serial numbers of devices tell: `0000:00:01.2`.
    fn path(&self) -> String;
    /// Wakes the controller when a device on it has news: [`UsbDevice::woken`].
    fn waker(&self) -> Waker;
    /// The port that is asked for, or the first that is free; from 1.
    ///
    /// # Errors
    /// It is not free, or none is.
    fn free_port(&self, asked: Option<u64>) -> Result<u8, PlugError>;
    /// Puts a device there and tells the guest.
    ///
    /// # Errors
    /// It is not free, or no port there is as slow or fast as the device.
    fn plug(&self, port: u8, device: Box<dyn UsbDevice>) -> Result<(), PlugError>;
    /// Takes a device away and tells the guest. To be kept until it is [drained](UsbDevice::drained), and dropped with no
    /// lock held.
    fn unplug(&self, port: u8) -> Option<Box<dyn UsbDevice>>;
    /// Does something with the device, and hears what it has to say then.
    fn with(&self, port: u8, act: &mut dyn FnMut(&mut dyn UsbDevice));
    /// How fast the device on a port is now.
    fn speed(&self, port: u8) -> Option<Speed>;
    /// Sockets for a companion, which serves them at the speeds that this controller does not have, from port `first` on
    /// (from 0). `timer` wakes the companion when there is something to see.
    ///
    /// # Errors
    /// The controller takes no companions, or not there.
    fn companion(&self, first: u64, count: u8, timer: Timer) -> Result<Vec<Socket>, PlugError>;
}

/// What a controller does for those who put devices on its ports: [`UsbHost`], under its lock.
pub trait RootHub: Send {
    /// The port that is asked for, or the first that is free.
    fn free_port(&self, asked: Option<u64>) -> Result<u8, PlugError>;
    /// Puts a device there.
    fn plug(&mut self, port: u8, device: Box<dyn UsbDevice>) -> Result<(), PlugError>;
    /// Takes a device away.
    fn unplug(&mut self, port: u8) -> Option<Box<dyn UsbDevice>>;
    /// Does something with the device.
    fn with(&mut self, port: u8, act: &mut dyn FnMut(&mut dyn UsbDevice));
    /// How fast the device there is.
    fn speed(&mut self, port: u8) -> Option<Speed>;
    /// Sockets for a companion.
    fn companion(&mut self, _first: u64, _count: u8, _timer: Timer) -> Result<Vec<Socket>, PlugError> {
        Err(PlugError::NoMaster)
    }
}

/// The port that is asked for, or the first that is free of so many.
pub(super) fn choose(asked: Option<u64>, ports: u8, free: impl Fn(u8) -> bool) -> Result<u8, PlugError> {
    match asked {
        Some(asked) => {
            let there = u8::try_from(asked).ok().filter(|port| (1..=ports).contains(port) && free(*port));
            there.ok_or(PlugError::NotFound(asked))
        }
        None => (1..=ports).find(|port| free(*port)).ok_or(PlugError::Full),
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
}

impl<C> Ports<C> {
    /// The ports of the controller that is there, which `waker` wakes.
    pub fn new(cell: Arc<DeviceCell<C>>, path: String, waker: Waker) -> Ports<C> {
        Ports { cell, path, waker }
    }
}

impl<C: RootHub> UsbHost for Ports<C> {
    fn path(&self) -> String {
        self.path.clone()
    }
    fn waker(&self) -> Waker {
        self.waker.clone()
    }
    fn free_port(&self, asked: Option<u64>) -> Result<u8, PlugError> {
        self.cell.lock().free_port(asked)
    }
    fn plug(&self, port: u8, device: Box<dyn UsbDevice>) -> Result<(), PlugError> {
        self.cell.lock().plug(port, device)
    }
    fn unplug(&self, port: u8) -> Option<Box<dyn UsbDevice>> {
        self.cell.lock().unplug(port)
    }
    fn with(&self, port: u8, act: &mut dyn FnMut(&mut dyn UsbDevice)) {
        self.cell.lock().with(port, act);
    }
    fn speed(&self, port: u8) -> Option<Speed> {
        self.cell.lock().speed(port)
    }
    fn companion(&self, first: u64, count: u8, timer: Timer) -> Result<Vec<Socket>, PlugError> {
        self.cell.lock().companion(first, count, timer)
    }
}
