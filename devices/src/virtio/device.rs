//! A virtio device without its transport.

use devices_core::model::Model;
use devices_core::{Node, StateError, Wake};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::common::Common;

/// What a device type is to transports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Number of the type (Virtio 1.3, 5).
    pub id: u16,
    /// PCI device id of a transitional device; none: the type came with version 1.
    pub transitional: Option<u16>,
    /// PCI class, subclass and programming interface: `0xCCSSPP`.
    pub class: u32,
}

/// A device. It sees its driver through [`Common`]: queues by number, and the features that were accepted. Whoever has it
/// tells the driver, after each call, of what was given back.
pub trait VirtioDevice: Send {
    /// What of it is saved.
    type State: Serialize + DeserializeOwned;

    /// What the saved state is called.
    const KIND: &'static str;

    /// What it is an instance of.
    fn model(&self) -> Option<&'static Model>;
    /// Its type.
    fn identity(&self) -> Identity;
    /// Features that it has beside those of transport and queues.
    fn features(&self) -> u64;
    /// Most elements of each queue.
    fn queue_sizes(&self) -> Vec<u16>;
    /// The same once the driver has accepted such features: without some there are fewer queues.
    fn queue_sizes_with(&self, _features: u64) -> Vec<u16> {
        self.queue_sizes()
    }
    /// Bytes of its configuration.
    fn config_len(&self) -> usize;
    /// Reads a part of the configuration that lies inside; `data` has zeros in it.
    fn read_config(&self, common: &Common, offset: usize, data: &mut [u8]);
    /// Writes it. What cannot be written stays.
    fn write_config(&mut self, _common: &mut Common, _offset: usize, _data: &[u8]) {}

    /// The driver is set up.
    fn ready(&mut self, _common: &mut Common) {}
    /// There may be something in a queue.
    fn notified(&mut self, common: &mut Common, queue: u16);
    /// A timer fired or a backend has news.
    fn wake(&mut self, _common: &mut Common, _why: Wake) {}
    /// The driver has reset it: what is in flight is given up. See [`drained`](VirtioDevice::drained).
    fn reset(&mut self);
    /// The driver has reset one queue, likewise.
    fn reset_queue(&mut self, _common: &mut Common, _queue: u16) {}
    /// Whether no byte moves any more for what was given up.
    fn drained(&self) -> bool {
        true
    }
    /// Bus mastering is off: what is done, and only waits for its instant, ends now. See [`is_idle`](VirtioDevice::is_idle).
    fn stop(&mut self, _common: &mut Common) {}
    /// Whether nothing at all is in flight.
    fn is_idle(&self) -> bool {
        true
    }
    /// Before a save: starts nothing new, and says whether nothing is in flight.
    fn quiesce(&mut self, _common: &mut Common) -> bool {
        true
    }
    /// After a save or a load: goes on.
    fn resume(&mut self, _common: &mut Common) {}

    /// Whether it can be saved now; an error says why not.
    fn can_be_saved(&self) -> Result<(), StateError> {
        Ok(())
    }
    /// Its state, at any instant between two calls.
    fn save(&self) -> Self::State;
    /// Takes over a saved state. The device was reset, `common` has been loaded.
    fn load(&mut self, common: &mut Common, state: Self::State) -> Result<(), StateError>;
    /// For people.
    fn inspect(&self, node: &mut Node);
}
