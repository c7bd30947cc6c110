//! A device as the machine has it: made, put on its port, and taken away.

use std::sync::{Arc, Mutex, PoisonError};

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
        let child = Plugged { host: host.clone(), port, gone: Mutex::default(), _input: input.clone() };
        Ok(MadeChild { place: vec![(PORT.name, port)], child: Box::new(child), tray: None, input, bus: None })
    }
}

/// A device on its port, or taken away from it and not quiet yet.
struct Plugged {
    host: Arc<dyn UsbHost>,
    port: u64,
    gone: Mutex<Option<Box<dyn UsbDevice>>>,
    /// Who presses and points has it as long as it is there.
    _input: Option<Arc<DeviceCell<dyn InputSink>>>,
}

impl Child for Plugged {
    fn unplug(&self) {
        let device = self.host.unplug(self.port);
        *self.gone.lock().unwrap_or_else(PoisonError::into_inner) = device;
    }

    fn drained(&self) -> bool {
        let mut gone = self.gone.lock().unwrap_or_else(PoisonError::into_inner);
        // Its controller does not know it any more, so nobody else takes its answers.
        gone.iter_mut().for_each(|device| device.woken());
        gone.as_ref().is_none_or(|device| device.drained())
    }

    fn usb_speed(&self) -> Option<Speed> {
        self.host.speed(self.port)
    }
}
