//! The VM generation id: a number that tells a guest that it goes on from a saved state, or is a copy of another, so that
//! what must not be done twice is not: Windows's domain controllers take new transaction numbers, Linux new seeds.
//!
//! Specification: Microsoft, "Virtual Machine Generation ID"; QEMU's `docs/specs/vmgenid`. The number lies in guest memory,
//! where the firmware has put it ([`fw_cfg`](super::fw_cfg)); the machine changes it there, and tells the guest by ACPI.
//! The device itself has no registers, and no state.

pub mod model;

use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

const KIND: &str = "vmgenid";
const VERSION: u16 = 1;

/// The device.
pub struct Vmgenid {
    name: String,
}

impl Vmgenid {
    /// One of that name.
    pub fn new(name: &str) -> Vmgenid {
        Vmgenid { name: name.to_owned() }
    }
}

impl Device for Vmgenid {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &[]
    }
    fn read(&mut self, _at: At, _data: &mut [u8]) -> Io {
        Io::Unclaimed
    }
    fn write(&mut self, _at: At, _data: &[u8]) -> Io {
        Io::Unclaimed
    }
    fn reset(&mut self) {}
    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode(KIND, VERSION, &())
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        saved.decode(KIND, VERSION)
    }
    fn inspect(&self, _node: &mut Node) {}
}
