//! A device, as the core and controllers see it.

use devices_core::{Node, Saved, StateError};

use super::descriptors::Description;
use super::hub::Hub;
use super::{Answer, Setup, Speed};
use crate::input::keys::Key;
use crate::input::{Pointer, Role};

/// A device: its class and what it does. Times are guest time in nanoseconds.
pub trait UsbDevice: Send {
    /// What people call it.
    fn title(&self) -> &'static str;
    /// How fast it can be, the slowest first.
    fn speeds(&self) -> &'static [Speed] {
        &[Speed::Full]
    }
    /// It is on a port, at one of its speeds: its description is of that speed from now on.
    fn attach(&mut self, _speed: Speed) {}
    /// What it is.
    fn description(&self) -> &Description;
    /// The bus was reset, or power came on.
    fn reset(&mut self);
    /// It is configured now, or not any more.
    fn configured(&mut self, _is: bool) {}
    /// A request that is not a standard one, or asks for a descriptor of its class. `data` is what the host sent, or is
    /// to be what it gets. False: there is no such request.
    fn request(&mut self, setup: Setup, data: &mut Vec<u8>, now: u64) -> bool;
    /// The host asks an endpoint for data; more than `room` is babble.
    fn transfer_in(&mut self, endpoint: u8, room: &mut [u8], now: u64) -> Answer;
    /// The host sends an endpoint data.
    fn transfer_out(&mut self, _endpoint: u8, _data: &[u8], _now: u64) -> Answer {
        Answer::Stall
    }
    /// When it has something to say, as far as it knows: `now` or earlier, if it has.
    fn speaks_at(&self) -> Option<u64>;
    /// The controller was woken: the host's side may have news.
    fn woken(&mut self) {}
    /// Before a save, repeatedly: whether nothing of the host's is in flight.
    fn quiesce(&mut self) -> bool {
        true
    }
    /// After a reset, or when it was taken away: whether no byte moves any more for what was begun before.
    fn drained(&self) -> bool {
        true
    }
    /// It as a keyboard or a pointer.
    fn input(&mut self) -> Option<&mut dyn UsbInput> {
        None
    }
    /// It as a hub.
    fn as_hub(&self) -> Option<&Hub> {
        None
    }
    /// The same, to be changed.
    fn as_hub_mut(&mut self) -> Option<&mut Hub> {
        None
    }
    /// Its own state.
    fn save(&self) -> Result<Saved, StateError>;
    /// Takes it over, after a reset.
    fn load(&mut self, saved: &Saved) -> Result<(), StateError>;
    /// What helps a person.
    fn inspect(&self, node: &mut Node);
}

/// A device that is a keyboard or a pointer.
pub trait UsbInput {
    /// What it is for.
    fn role(&self) -> Role;
    /// Whether the guest listens to it.
    fn is_active(&self) -> bool;
    /// A key goes down or up.
    fn key(&mut self, key: Key, down: bool);
    /// Lights that are on, as [`InputSink::lights`](crate::input::InputSink::lights) has them.
    fn lights(&self) -> u8;
    /// A pointer moves, or its buttons do.
    fn point(&mut self, pointer: Pointer);
}
