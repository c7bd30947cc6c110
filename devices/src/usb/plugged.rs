//! A device as the machine has it: made, put on its port, and taken away.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::DeviceCell;
use devices_core::model::{Properties, usb_port_text};

use super::{PORT, PlugError, SERIAL, Speed, UsbDevice, UsbHost};
use crate::board::{Child, ChildHandles, MadeChild, MakeError, OfferedBus};
use crate::input::InputSink;

/// Where a device that is being made will be.
pub(super) struct Place<'a> {
    pub host: &'a Arc<dyn UsbHost>,
    pub port: u64,
}

fn refused(error: PlugError) -> MakeError {
    MakeError::Other(error.to_string())
}

impl<'a> Place<'a> {
    /// The place of a device with these properties.
    pub fn of(properties: &Properties, parts: &ChildHandles<'a>) -> Result<Place<'a>, MakeError> {
        let OfferedBus::Usb(host) = parts.bus else {
            return Err(MakeError::Other("it hangs on USB".into()));
        };
        let port = host.free_port(properties.uint(PORT.name)).map_err(refused)?;
        Ok(Place { host, port })
    }

    /// As serial numbers tell it: `0000:00:01.2-2.1`.
    pub fn name(&self) -> String {
        format!("{}-{}", self.host.path(), usb_port_text(self.port))
    }

    /// The serial number that is set, or one of QEMU's, which begins so.
    pub fn serial(&self, properties: &Properties, beginning: &str) -> String {
        match properties.text(SERIAL.name) {
            Some(serial) => serial.to_owned(),
            None => format!("{beginning}-{}", self.name()),
        }
    }

    /// Puts it there. `input`: it as a keyboard or a pointer.
    pub fn put(
        self,
        device: Box<dyn UsbDevice>,
        input: Option<Arc<DeviceCell<dyn InputSink>>>,
    ) -> Result<MadeChild, MakeError> {
        let Place { host, port } = self;
        host.plug(port, device).map_err(refused)?;
        Ok(self.made(Device::There, input))
    }

    /// Keeps its port for it, until it is attached.
    pub fn hold(self, device: Box<dyn UsbDevice>) -> MadeChild {
        self.host.hold(self.port, true);
        self.made(Device::Waits(device), None)
    }

    fn made(self, device: Device, input: Option<Arc<DeviceCell<dyn InputSink>>>) -> MadeChild {
        let Place { host, port } = self;
        let child = Plugged { host: host.clone(), port, device: Mutex::new(device), _input: input.clone() };
        MadeChild { place: vec![(PORT.name, port)], child: Box::new(child), tray: None, input, bus: None }
    }
}

/// Where a device is.
enum Device {
    /// It waits for its port, which is kept for it.
    Waits(Box<dyn UsbDevice>),
    /// On its port.
    There,
    /// It was taken away, and may not be quiet yet.
    Gone(Option<Box<dyn UsbDevice>>),
}

/// A device as the machine has it.
struct Plugged {
    host: Arc<dyn UsbHost>,
    port: u64,
    device: Mutex<Device>,
    /// Who presses and points has it as long as it is there.
    _input: Option<Arc<DeviceCell<dyn InputSink>>>,
}

impl Plugged {
    fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Child for Plugged {
    fn unplug(&self) {
        let mut device = self.device();
        *device = match std::mem::replace(&mut *device, Device::Gone(None)) {
            Device::Waits(device) => {
                self.host.hold(self.port, false);
                Device::Gone(Some(device))
            }
            Device::There => Device::Gone(self.host.unplug(self.port)),
            gone @ Device::Gone(_) => gone,
        };
    }

    fn attach(&self) -> Result<(), MakeError> {
        let mut device = self.device();
        if let Device::Waits(waits) = std::mem::replace(&mut *device, Device::There) {
            self.host.hold(self.port, false);
            if let Err(error) = self.host.plug(self.port, waits) {
                *device = Device::Gone(None);
                return Err(refused(error));
            }
        }
        Ok(())
    }

    fn drained(&self) -> bool {
        let Device::Gone(Some(device)) = &mut *self.device() else { return true };
        // Its controller does not know it any more, so nobody else takes its answers.
        device.woken();
        device.drained()
    }

    fn usb_speed(&self) -> Option<Speed> {
        self.host.speed(self.port)
    }
}
