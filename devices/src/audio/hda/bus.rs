//! The link, as those see it who put codecs on it.

use std::sync::Arc;

use devices_core::DeviceCell;

use super::Hda;
use super::codec::Codec;

/// Addresses on the link.
const ADDRESSES: u8 = 15;

/// The link of a controller.
#[derive(Clone)]
pub struct HdaBus {
    controller: Arc<DeviceCell<Hda>>,
    name: String,
}

impl HdaBus {
    /// That of the controller of that name.
    pub fn new(controller: Arc<DeviceCell<Hda>>, name: &str) -> HdaBus {
        HdaBus { controller, name: name.to_owned() }
    }

    /// What a codec there is called.
    pub fn name_of(&self, address: u8) -> String {
        format!("{}/{address}", self.name)
    }

    /// The address that is asked for, or the one behind the last; none: it is taken, or there is none.
    pub fn address(&self, asked: Option<u64>) -> Option<u8> {
        let controller = self.controller.lock();
        let next = controller.codecs.keys().last().map_or(0, |last| last + 1);
        let address = asked.map_or(Some(next), |asked| u8::try_from(asked).ok())?;
        (address < ADDRESSES && !controller.codecs.contains_key(&address)).then_some(address)
    }

    /// Puts a codec there. It is heard of when the controller leaves its reset.
    pub fn plug(&self, address: u8, codec: Codec) {
        self.controller.lock().codecs.insert(address, codec);
    }

    /// Takes it away.
    pub fn unplug(&self, address: u8) {
        self.controller.lock().codecs.remove(&address);
    }
}
