//! A host controller, as those see it who put devices on its ports.

use devices_core::Waker;
use devices_core::model::{Default as Usually, Kind, Property};
use thiserror::Error;

use super::UsbDevice;

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
}
