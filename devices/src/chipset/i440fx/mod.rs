//! Intel 82441FX (i440FX) PMC: the host bridge at 00:00.0.
//!
//! Datasheet: Intel 440FX PCIset, 82441FX PCI and Memory Controller, order 290549. What a guest can tell:
//! the PCI header, the PAM registers that put RAM under the firmware and option ROMs, and the SMRAM
//! register's open bit. Everything else from 0x40 on is storage, as in QEMU.
//!
//! Left out: DRAM timing and row boundaries, the AGP-less ordering registers, system management mode
//! (there is none in the machine, so the close and lock bits are storage).

pub mod model;
mod spec;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::bus::Mapper;
use devices_core::model::Model;
use devices_core::pci::{Identity, PciConfig, QEMU_SUBSYSTEM};
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};
use hypervisor::memory::PAGE;
use hypervisor::{Backing, Mapping, RamBlock};

use spec::SEGMENTS;

const KIND: &str = "i440fx";
const VERSION: u16 = 1;

/// The memory that the bridge switches between 0xa0000 and 1 MiB.
pub struct Shadow {
    /// RAM from address 0, at least 1 MiB.
    pub ram: RamBlock,
    /// The firmware image. Its last 128 KiB are visible below 1 MiB.
    pub firmware: Option<RamBlock>,
    /// Who carries it out.
    pub mapper: Arc<dyn Mapper>,
}

/// What has been mapped.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Applied {
    /// The PAM nibble of each segment.
    pam: [u8; SEGMENTS],
    /// RAM in place of the VGA window.
    smram: bool,
}

/// The host bridge.
pub struct I440fx {
    pci: PciConfig,
    shadow: Option<Shadow>,
    applied: Option<Applied>,
}

impl I440fx {
    /// The bridge of a machine with `ram_bytes` of RAM. With `shadow` it maps all of 0xa0000-0xfffff at
    /// once and whenever its registers say so: the machine has mapped RAM before. Without (Xen: the
    /// hypervisor's own memory map is RAM there) the registers are storage.
    pub fn new(ram_bytes: u64, shadow: Option<Shadow>) -> I440fx {
        let mut pci = PciConfig::new(Identity {
            vendor: 0x8086,
            device: 0x1237,
            revision: 2,
            class: 0x06_00_00,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.allow(0x40, &[0xff; 0xc0]);
        pci.set(spec::RAM_SIZE, &[(ram_bytes >> 23).min(0xff) as u8]);
        pci.set(spec::SMRAM, &[spec::SMRAM_RESET]);
        let mut bridge = I440fx { pci, shadow, applied: None };
        bridge.apply();
        bridge
    }

    fn wanted(&self) -> Applied {
        let pam = std::array::from_fn(|index| {
            let (_, _, register, shift) = spec::segment(index);
            self.pci.u8(register) >> shift & (spec::PAM_READ | spec::PAM_WRITE)
        });
        Applied { pam, smram: self.pci.u8(spec::SMRAM) & spec::SMRAM_OPEN != 0 }
    }

    /// Maps what the registers ask for and is not there yet.
    fn apply(&mut self) {
        let wanted = self.wanted();
        let Some(shadow) = &self.shadow else { return };
        let before = self.applied.replace(wanted);
        if before.is_none_or(|before| before.smram != wanted.smram) {
            let (address, len) = spec::VGA;
            shadow.mapper.map(match wanted.smram {
                true => Mapping::ram(address, len, &shadow.ram, address),
                false => Mapping::none(address, len),
            });
        }
        for (index, &pam) in wanted.pam.iter().enumerate() {
            if before.is_none_or(|before| before.pam[index] != pam) {
                shadow.map_segment(index, pam);
            }
        }
    }
}

impl Shadow {
    fn map_segment(&self, index: usize, pam: u8) {
        let (gpa, len, _, _) = spec::segment(index);
        let ram = Backing { block: self.ram.clone(), offset: gpa };
        let read = if pam & spec::PAM_READ != 0 { Some(ram.clone()) } else { self.firmware_at(gpa) };
        let write = (pam & spec::PAM_WRITE != 0).then_some(ram);
        self.mapper.map(Mapping { gpa, len, read, write });
    }

    /// The firmware's image at an address below 1 MiB, if it reaches there. Whole segments only.
    fn firmware_at(&self, gpa: u64) -> Option<Backing> {
        let block = self.firmware.as_ref()?;
        let size = block.size() as u64;
        let from_end = spec::SHADOW_END - gpa;
        let visible = from_end <= size.min(spec::FIRMWARE_WINDOW) && size.is_multiple_of(PAGE);
        visible.then(|| Backing { block: block.clone(), offset: size - from_end })
    }
}

impl Device for I440fx {
    fn name(&self) -> &str {
        "i440fx"
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
    fn reset(&mut self) {
        self.pci.reset();
        self.apply();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        let moved = self.pci.write(reg, data);
        self.apply();
        moved
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        // What is mapped where follows from the registers.
        let I440fx { pci, shadow: _, applied: _ } = self;
        pci.save_alone(KIND, VERSION)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        self.pci.load_alone(saved, KIND, VERSION)?;
        self.apply();
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        for index in 0..SEGMENTS {
            let (address, _, register, shift) = spec::segment(index);
            let pam = self.pci.u8(register) >> shift;
            let side = |bit, other| if pam & bit != 0 { "RAM" } else { other };
            let (read, write) = (side(spec::PAM_READ, "ROM"), side(spec::PAM_WRITE, "nothing"));
            node.value(&format!("{address:#x}"), format_args!("reads {read}, writes {write}"));
        }
        node.hex("smram", self.pci.u8(spec::SMRAM));
    }
}
