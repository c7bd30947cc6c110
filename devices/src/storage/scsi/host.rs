//! A controller, as those see it who put units on its bus.

use devices_core::block::Tray;

use super::{Address, Taken, UnitOptions};

/// A controller with a bus for units.
pub trait ScsiHost: Send + Sync {
    /// Puts a unit there, or at the first place that is free as far as nobody says, and tells the guest. Gives its place, and
    /// its tray if it has one.
    ///
    /// # Errors
    /// There is one already, or no place is left.
    fn plug(
        &self,
        target: Option<u8>,
        lun: Option<u16>,
        unit: UnitOptions,
    ) -> Result<(Address, Option<Tray>), Taken>;
    /// Takes a unit away and tells the guest.
    fn unplug(&self, at: Address);
    /// Then: whether no byte moves any more for what it had begun. It is gone when it says so.
    fn has_left(&self, at: Address) -> bool;
}
