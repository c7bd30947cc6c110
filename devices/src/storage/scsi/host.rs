//! A controller, as those see it who put units on its bus.

use devices_core::block::Tray;
use thiserror::Error;

use super::{Address, Taken, UnitOptions};

/// Why a unit has no place. In QEMU's words.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum NoPlace {
    /// That one is another's.
    #[error(transparent)]
    Taken(#[from] Taken),
    /// The bus has no such target.
    #[error("bad scsi device id: {0}")]
    Target(u8),
    /// A target has no such unit.
    #[error("bad scsi device lun: {0}")]
    Lun(u16),
    /// Each target has that unit already.
    #[error("no free target")]
    NoTarget,
    /// The target has all units.
    #[error("no free lun")]
    NoLun,
}

/// A controller with a bus for units.
pub trait ScsiHost: Send + Sync {
    /// Puts a unit there, or at the first place that is free as far as nobody says, and tells the guest. Gives its place, and
    /// its tray if it has one.
    ///
    /// # Errors
    /// There is one already, the bus has no such place, or none is left.
    fn plug(
        &self,
        target: Option<u8>,
        lun: Option<u16>,
        unit: UnitOptions,
    ) -> Result<(Address, Option<Tray>), NoPlace>;
    /// Takes a unit away and tells the guest.
    fn unplug(&self, at: Address);
    /// Then: whether no byte moves any more for what it had begun. It is gone when it says so.
    fn has_left(&self, at: Address) -> bool;
}
