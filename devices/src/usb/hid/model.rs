//! The devices as QEMU names them.

use std::sync::Arc;

use devices_core::DeviceCell;
use devices_core::model::{
    BusType, Category, Default as Usually, Kind as Of, Model, Plug, Properties, Property, PropertyError,
};

use super::super::plugged::Place;
use super::super::{PORT, SERIAL, UsbDevice, UsbHost};
use super::{Hid, Kind};
use crate::board::{ChildHandles, MadeChild, MakeError};
use crate::input::keys::Key;
use crate::input::{InputSink, Pointer, Role};

const DISPLAY: Property =
    Property { name: "display", kind: Of::Text, default: Usually::None, help: "taken for QEMU's sake" };
const HEAD: Property =
    Property { name: "head", kind: Of::Uint(32), default: Usually::Uint(0), help: "taken for QEMU's sake" };
const VERSION: Property = Property {
    name: "usb_version",
    kind: Of::Uint(32),
    default: Usually::Uint(2),
    help: "2: at high speed where the controller can; 1: at full speed",
};

const DEVICE: Model = Model {
    parent: "usb-hid",
    bus: BusType::Usb,
    category: Category::Input,
    plug: Plug::Hot,
    several: true,
    properties: &[PORT, SERIAL, DISPLAY, HEAD, VERSION],
    check,
    ..Model::PART
};
/// A tablet.
pub static TABLET: Model = Model { name: "usb-tablet", desc: "USB tablet", ..DEVICE };
/// A mouse.
pub static MOUSE: Model =
    Model { name: "usb-mouse", desc: "USB mouse", properties: &[PORT, SERIAL, VERSION], ..DEVICE };
/// A keyboard.
pub static KEYBOARD: Model =
    Model { name: "usb-kbd", desc: "USB keyboard", properties: &[PORT, SERIAL, DISPLAY, VERSION], ..DEVICE };

fn check(properties: &Properties) -> Result<(), PropertyError> {
    match properties.uint(VERSION.name) {
        Some(0 | 3..) => Err(properties.invalid(VERSION.name, "it is 1 or 2")),
        _ => Ok(()),
    }
}

/// Makes one.
pub fn make(properties: &Properties, parts: ChildHandles<'_>) -> Result<MadeChild, MakeError> {
    let place = Place::of(properties, &parts)?;
    let (kind, role) = match properties.model().name {
        name if name == TABLET.name => (Kind::Tablet, Role::Tablet),
        name if name == MOUSE.name => (Kind::Mouse, Role::Mouse),
        _ => (Kind::Keyboard, Role::Keyboard),
    };
    let device = Hid::new(kind, &place.name());
    let device = match properties.text(SERIAL.name) {
        Some(serial) => device.with_serial(serial),
        None => device,
    };
    let device = if properties.uint(VERSION.name) == Some(1) { device.slow() } else { device };
    let sink = Sink { host: place.host.clone(), port: place.port, role, title: device.title() };
    let sink: Arc<DeviceCell<dyn InputSink>> = Arc::new(DeviceCell::new(sink));
    place.put(Box::new(device), Some(sink))
}

/// The device, as those have it who press and point.
struct Sink {
    host: Arc<dyn UsbHost>,
    port: u64,
    role: Role,
    title: &'static str,
}

impl InputSink for Sink {
    fn title(&self) -> &'static str {
        self.title
    }
    fn role(&self) -> Role {
        self.role
    }
    fn is_active(&self) -> bool {
        let mut active = false;
        self.host.with(self.port, &mut |device| {
            active = device.input().is_some_and(|input| input.is_active());
        });
        active
    }
    fn key(&mut self, key: Key, down: bool) {
        self.host.with(self.port, &mut |device| {
            device.input().into_iter().for_each(|input| input.key(key, down));
        });
    }
    fn lights(&self) -> u8 {
        let mut lights = 0;
        self.host.with(self.port, &mut |device| {
            lights = device.input().map_or(0, |input| input.lights());
        });
        lights
    }
    fn point(&mut self, pointer: Pointer) {
        self.host.with(self.port, &mut |device| {
            device.input().into_iter().for_each(|input| input.point(pointer));
        });
    }
}
