//! The bus of ports, and the models of what hangs on it.

use std::sync::Arc;

use devices_core::model::{
    BusType, CHARDEV, Category, Default as Usually, Kind, Model, Plug, Properties, Property,
};
use devices_core::{DeviceCell, Waker};

use super::super::pci::VirtioPci;
use super::{PortConfig, Serial};
use crate::board::{Child, ChildHandles, MadeChild, MakeError, OfferedBus};

/// The ports of a device.
#[derive(Clone)]
pub struct SerialBus {
    device: Arc<DeviceCell<VirtioPci<Serial>>>,
    waker: Waker,
}

impl SerialBus {
    /// The ports of that device, which is woken so.
    pub fn new(device: Arc<DeviceCell<VirtioPci<Serial>>>, waker: Waker) -> SerialBus {
        SerialBus { device, waker }
    }
}

const NR: Property = Property {
    name: "nr",
    kind: Kind::Uint(32),
    default: Usually::None,
    help: "number of the port; the first that is free if nobody says",
};
const NAME: Property = Property {
    name: "name",
    kind: Kind::Text,
    default: Usually::None,
    help: "what the driver calls it: org.qemu.guest_agent.0",
};

const PORT: Model = Model {
    parent: "virtio-serial-port",
    bus: BusType::VirtioSerial,
    category: Category::Input,
    properties: &[CHARDEV, NR, NAME],
    plug: Plug::Hot,
    several: true,
    ..Model::PART
};
/// A console, which Linux calls hvc0 and so on.
pub static CONSOLE: Model = Model { name: "virtconsole", desc: "a console on a virtio console", ..PORT };
/// A line.
pub static SERIAL_PORT: Model = Model { name: "virtserialport", desc: "a port of a virtio console", ..PORT };

/// Makes a port.
pub fn make(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let OfferedBus::VirtioSerial(bus) = parts.bus else {
        return Err(MakeError::Other("it hangs on a virtio console".into()));
    };
    let console = properties.model().name == CONSOLE.name;
    // QEMU's number for any.
    let asked = properties.uint(NR.name).and_then(|nr| u32::try_from(nr).ok()).filter(|nr| *nr != u32::MAX);
    let number = bus.device.lock().number_for(asked, console).map_err(MakeError::Other)?;
    let backend = parts.board.chardev(properties, bus.waker.clone(), number)?;
    let name = properties.text(NAME.name).unwrap_or_default().to_owned();
    let config = PortConfig { number, console, name, backend };
    bus.device.lock().plug(config).map_err(MakeError::Other)?;
    Ok(MadeChild {
        place: vec![(NR.name, number.into())],
        child: Box::new(Plugged { bus: bus.clone(), number }),
        tray: None,
        input: None,
        bus: None,
    })
}

/// A port that is plugged.
struct Plugged {
    bus: SerialBus,
    number: u32,
}

impl Child for Plugged {
    fn unplug(&self) {
        let gone = self.bus.device.lock().unplug(self.number);
        drop(gone);
    }
}
