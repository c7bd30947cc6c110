//! A socket that two controllers have: EHCI, and the companion that serves it at the speeds that EHCI does not have
//! ("Enhanced Host Controller Interface Specification for Universal Serial Bus", 1.0, 4.2).
//!
//! One of them has the device at a time, as port ownership says. The controllers never call each other: what the companion
//! is to see is noted here, under a lock that is taken last, and a timer of the companion's is armed. A controller that
//! has no companion, and one that is none, have their sockets alone.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices_core::StateError;
use devices_core::state::valid;
use hypervisor::Timer;
use serde::{Deserialize, Serialize};

use super::bus::fastest;
use super::{Function, FunctionState, Speed, UsbDevice};

/// Who has the device of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The controller whose bus it is.
    Master,
    /// Its companion.
    Companion,
}

/// The timer by which a companion is told, which all its sockets have.
type Alarm = Arc<Mutex<Timer>>;

/// The socket.
struct Wire {
    function: Option<Function>,
    owner: Side,
    /// A companion, and how it is told that there is something to see.
    companion: Option<Alarm>,
    /// For the companion: somebody has come or gone.
    changed: bool,
    /// For the companion: the device may have something to say.
    news: bool,
}

/// A side of a socket.
pub struct Socket {
    wire: Arc<Mutex<Wire>>,
    side: Side,
}

/// Saved form of a socket, which its master keeps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SocketState {
    companion: bool,
    changed: bool,
    news: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    device: Option<FunctionState>,
}

/// Whether a side has a speed.
fn has(side: Side, speed: Speed) -> bool {
    match side {
        Side::Master => speed == Speed::High,
        Side::Companion => speed <= Speed::Full,
    }
}

impl Wire {
    /// The device is at the speed that its owner has. One that the owner has no speed of is seen, at its slowest.
    fn renew(&mut self, owner: Side) {
        self.owner = owner;
        let Some(function) = self.function.take() else { return };
        let device = function.into_device();
        let speed = fastest(&*device, |speed| has(owner, speed));
        let speed = speed.or(device.speeds().first().copied()).unwrap_or(Speed::Full);
        self.function = Some(Function::new(device, speed));
    }

    fn tell(&mut self, now: u64) {
        if let Some(timer) = &self.companion {
            timer.lock().unwrap_or_else(PoisonError::into_inner).arm(now);
        }
    }
}

impl Socket {
    /// One with nobody in it.
    pub(super) fn new(side: Side) -> Socket {
        let wire = Wire { function: None, owner: side, companion: None, changed: false, news: false };
        Socket { wire: Arc::new(Mutex::new(wire)), side }
    }

    /// The sides of a companion that has so many of a master's sockets, where nobody has them yet. `timer` wakes it.
    pub(super) fn companions(sockets: &[&Socket], timer: Timer) -> Option<Vec<Socket>> {
        if sockets.iter().any(|socket| socket.is_shared()) {
            return None;
        }
        let timer = Arc::new(Mutex::new(timer));
        let share = |socket: &&Socket| {
            socket.wire().companion = Some(timer.clone());
            Socket { wire: socket.wire.clone(), side: Side::Companion }
        };
        Some(sockets.iter().map(share).collect())
    }

    fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it has two sides.
    pub(super) fn is_shared(&self) -> bool {
        self.wire().companion.is_some()
    }
    /// Who has the device.
    pub(super) fn owner(&self) -> Side {
        self.wire().owner
    }
    /// Whether nobody is there, for either side.
    pub(super) fn is_free(&self) -> bool {
        self.wire().function.is_none()
    }
    /// The speed at which a device would be here: the fastest that either side has.
    pub(super) fn speed_for(&self, device: &dyn UsbDevice) -> Option<Speed> {
        let shared = self.is_shared();
        let own = fastest(device, |speed| has(self.side, speed));
        own.or_else(|| fastest(device, |speed| shared && has(Side::Companion, speed)))
    }

    /// Does something with the device, if this side has it.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Function) -> R) -> Option<R> {
        let mut wire = self.wire();
        if wire.owner != self.side {
            return None;
        }
        wire.function.as_mut().map(act)
    }
    /// Does something with the device, whoever has it.
    pub(super) fn with_any<R>(&self, act: impl FnOnce(&mut Function) -> R) -> Option<R> {
        self.wire().function.as_mut().map(act)
    }

    /// Puts a device there, which its owner is to see from `now` on.
    pub(super) fn put(&self, device: Box<dyn UsbDevice>, now: u64) {
        let mut wire = self.wire();
        wire.function = Some(Function::new(device, Speed::Full));
        let owner = wire.owner;
        wire.renew(owner);
        self.seen(&mut wire, now);
    }
    /// Takes it away.
    pub(super) fn take(&self, now: u64) -> Option<Box<dyn UsbDevice>> {
        let mut wire = self.wire();
        let function = wire.function.take()?;
        self.seen(&mut wire, now);
        Some(function.into_device())
    }

    fn seen(&self, wire: &mut Wire, now: u64) {
        if wire.owner != self.side {
            wire.changed = true;
            wire.tell(now);
        }
    }

    /// The device goes from one side to the other, as one that has just come. The master calls it.
    pub(super) fn give(&self, owner: Side, now: u64) {
        let mut wire = self.wire();
        if wire.owner == owner {
            return;
        }
        let had = wire.function.is_some();
        wire.renew(owner);
        if had {
            wire.changed = true;
            wire.tell(now);
        }
    }

    /// The device of the companion may have something to say.
    pub(super) fn tell_companion(&self, now: u64) {
        let mut wire = self.wire();
        if wire.owner == Side::Companion && wire.function.is_some() {
            wire.news = true;
            wire.tell(now);
        }
    }

    /// What the companion is to see: whether somebody has come or gone since it last asked, and whether there is news.
    pub(super) fn take_notes(&self) -> (bool, bool) {
        let mut wire = self.wire();
        (std::mem::take(&mut wire.changed), std::mem::take(&mut wire.news))
    }

    /// After a reset of the master: who has the device then.
    pub(super) fn reset(&self, owner: Side) {
        let mut wire = self.wire();
        if wire.owner != owner {
            wire.renew(owner);
            wire.changed = wire.function.is_some();
        } else if owner == self.side {
            wire.function.iter_mut().for_each(Function::reset);
        }
    }

    /// Its state. The master calls it.
    pub(super) fn save(&self) -> Result<SocketState, StateError> {
        let wire = self.wire();
        let Wire { function, owner, companion: _, changed, news } = &*wire;
        let device = function.as_ref().map(Function::save).transpose()?;
        Ok(SocketState { companion: *owner == Side::Companion, changed: *changed, news: *news, device })
    }

    /// Takes it over.
    pub(super) fn load(&self, state: SocketState, now: u64) -> Result<(), StateError> {
        let SocketState { companion, changed, news, device } = state;
        let mut wire = self.wire();
        valid(!companion || wire.companion.is_some(), "a port has a companion")?;
        let owner = if companion { Side::Companion } else { Side::Master };
        if wire.owner != owner {
            wire.renew(owner);
        }
        match (&mut wire.function, device) {
            (Some(function), Some(state)) => function.load(state)?,
            (None, None) => {}
            _ => return Err(StateError::Invalid("another port has a device".into())),
        }
        (wire.changed, wire.news) = (changed, news);
        // It knows by then when its device has something to say.
        if companion {
            wire.tell(now);
        }
        Ok(())
    }
}
