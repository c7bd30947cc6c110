//! The VM generation id of a guest that goes on from a saved state.

use devices_core::dma::Dma;
use firmware::acpi::generation::{ADDR_FILE, in_memory};

use super::Machine;

impl Machine {
    /// Gives the guest the number that it has now, where the firmware has put it, and tells it. To be done before it goes
    /// on from a saved state; one whose firmware has not run yet finds it by itself.
    pub(crate) fn tell_generation(&self) {
        let Some(id) = self.config().generation_id() else { return };
        let written = self.fw_cfg.as_ref().and_then(|fw_cfg| {
            let fw_cfg = fw_cfg.lock();
            fw_cfg.file(ADDR_FILE).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
        });
        let Some(address) = written.filter(|address| *address != 0) else { return };
        if let Err(error) = Dma::always(self.hypervisor().memory()).write(address, &in_memory(&id)) {
            // The firmware's doing, or somebody's who was there.
            tracing::warn!("the VM generation id cannot be where the firmware says: {error}");
            return;
        }
        self.pm.iter().for_each(|pm| pm.lock().generation_changed());
    }
}
