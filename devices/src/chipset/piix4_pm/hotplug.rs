//! QEMU's hotplug blocks: PCI slots of bus 0, and processors.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use devices_core::StateError;
use devices_core::state::valid;

use super::spec;

/// The block's registers.
pub(super) struct Hotplug {
    up: u32,
    down: u32,
    select: u32,
    /// Slots that can be ejected: what the machine says, not state.
    pub removable: u32,
    cpus: [u8; spec::CPU_HOTPLUG_LEN],
    /// Whether reading `up` clears it.
    clear_on_read: bool,
}

/// Saved form.
#[derive(Serialize, Deserialize)]
pub(super) struct HotplugState {
    up: u32,
    down: u32,
    select: u32,
    cpus: ByteBuf,
}

impl Hotplug {
    pub fn new(clear_on_read: bool) -> Hotplug {
        let cpus = [0; spec::CPU_HOTPLUG_LEN];
        Hotplug { up: 0, down: 0, select: 0, removable: 0, cpus, clear_on_read }
    }

    /// Processors stay. Gives the slots that were to be ejected.
    pub fn reset(&mut self) -> impl Iterator<Item = u8> + use<> {
        let leaving = self.down & self.removable;
        (self.up, self.down, self.select) = (0, 0, 0);
        (0..32).filter(move |slot| leaving >> slot & 1 != 0)
    }

    /// A doubleword of the PCI block. There is one bus.
    pub fn read_pci(&mut self, offset: u64) -> u32 {
        match offset {
            spec::PCI_SELECT => self.select,
            _ if self.select != 0 => 0,
            spec::PCI_UP if self.clear_on_read => std::mem::take(&mut self.up),
            spec::PCI_UP => self.up,
            spec::PCI_DOWN => self.down,
            spec::PCI_REMOVABLE => self.removable,
            _ => 0,
        }
    }

    /// Writes one; the slot to eject, if that is what was asked.
    pub fn write_pci(&mut self, offset: u64, value: u32) -> Option<u8> {
        match offset {
            spec::PCI_SELECT => self.select = value,
            spec::PCI_EJECT if self.select == 0 && value != 0 => {
                // One slot at a time, the lowest.
                let slot = value.trailing_zeros();
                self.up &= !(1 << slot);
                self.down &= !(1 << slot);
                return (self.removable >> slot & 1 != 0).then_some(slot as u8);
            }
            _ => {}
        }
        None
    }

    pub fn plug(&mut self, slot: u8) {
        self.up |= 1 << (slot & 31);
    }

    pub fn request_unplug(&mut self, slot: u8) {
        self.down |= 1 << (slot & 31);
    }

    pub fn cpus(&self, offset: u64) -> u8 {
        self.cpus.get(offset as usize).copied().unwrap_or(0)
    }

    /// True if the processor was not there.
    pub fn add_cpu(&mut self, apic_id: u8) -> bool {
        let (at, bit) = (usize::from(apic_id / 8), 1 << (apic_id & 7));
        let Some(byte) = self.cpus.get_mut(at) else { return false };
        let new = *byte & bit == 0;
        *byte |= bit;
        new
    }

    pub fn save(&self) -> HotplugState {
        let Hotplug { up, down, select, removable: _, cpus, clear_on_read: _ } = self;
        HotplugState { up: *up, down: *down, select: *select, cpus: ByteBuf::from(*cpus) }
    }

    pub fn load(&mut self, state: HotplugState) -> Result<(), StateError> {
        let HotplugState { up, down, select, cpus } = state;
        valid(cpus.len() == self.cpus.len(), "the processor bitmap has another length")?;
        self.cpus.copy_from_slice(&cpus);
        (self.up, self.down, self.select) = (up, down, select);
        Ok(())
    }
}
