#![forbid(unsafe_code)]
//! What every device is made of.
//!
//! A [`Device`] is an ordinary struct: synchronous, with no locks and no waiting inside, testable with no
//! hypervisor (see [`rig::Rig`]). It answers accesses to its [`Region`]s by offset and never knows where
//! they are mapped: the [`bus::Bus`] owns that. Whatever else it needs comes through its constructor as a
//! handle: interrupt lines ([`irq::IrqLine`]), guest memory ([`dma::Dma`]), timers and guest time
//! ([`wiring::Wiring`]), the machine's power switch ([`power::Power`]), whoever watches
//! ([`events::Observer`]).
//!
//! **Lock order**: bus map, device, interrupt router and chips, backend queue. A device never calls the bus
//! or another device.

pub mod audio;
pub mod balloon;
pub mod block;
pub mod bus;
pub mod chardev;
pub mod device;
pub mod dma;
pub mod entropy;
pub mod events;
pub mod irq;
pub mod model;
pub mod net;
pub mod pci;
pub mod picture;
pub mod port;
pub mod power;
pub mod rig;
pub mod state;
pub mod uuid;
pub mod vhost_user;
pub mod vsock;
pub mod wiring;

pub use device::{At, Deferred, Device, DeviceCell, Io, Region, Space, Ticket, Wake, deferred};
pub use hypervisor::inspect::Node;
pub use hypervisor::{Clock, HostClock, Timer, TimerQueue};
pub use ioreq::{Dir, Sbdf, Size};
pub use state::{Saved, StateError};
pub use wiring::{Gate, Waker, Wiring};
