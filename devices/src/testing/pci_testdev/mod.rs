//! QEMU's PCI test device: a function with a memory and a port BAR that count what is written to them.
//!
//! Specification: QEMU's `docs/specs/pci-testdev`. A test program writes the number of a test into a BAR's
//! header, reads there where to write what, and sees how often that arrived. Also the smallest device to try
//! hot-plug with.
//!
//! Left out: BAR 2 (`membar=`); `eventfd` tests count like the others, since nothing else can be told.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError};

/// One BAR: the test under way.
#[derive(Default)]
struct Bar {
    test: Option<u8>,
    count: u32,
}

/// The test device.
pub struct PciTestdev {
    name: String,
    pci: PciConfig,
    /// Memory, ports.
    bars: [Bar; 2],
    regions: [Region; 2],
}

impl PciTestdev {
    /// A device of that name.
    pub fn new(name: &str) -> PciTestdev {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: 0,
            class: 0x00_ff_00,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(0, BarKind::Mem32 { prefetch: false }, spec::MEMORY_LEN, Window::Region(0));
        pci.bar(1, BarKind::Io, spec::PORTS_LEN, Window::Region(1));
        PciTestdev {
            name: name.to_owned(),
            pci,
            bars: Default::default(),
            regions: [
                Region::floating("memory", Space::Mmio, spec::MEMORY_LEN),
                Region::floating("ports", Space::Pio, spec::PORTS_LEN),
            ],
        }
    }

    /// Where a test of a BAR writes: the second half, a byte each; QEMU numbers those of both BARs in one row.
    fn target(region: usize, test: u8) -> u32 {
        let (half, first) = if region == 0 { (spec::MEMORY_LEN / 2, 0) } else { (spec::PORTS_LEN / 2, 3) };
        half as u32 + first + u32::from(test)
    }

    /// The header as it reads now: zeros without a test.
    fn header(&self, region: usize) -> [u8; spec::HEADER_LEN] {
        let mut header = [0; spec::HEADER_LEN];
        let bar = &self.bars[region & 1];
        let Some((number, &(name, matches))) =
            bar.test.and_then(|test| Some((test, spec::TESTS.get(usize::from(test))?)))
        else {
            return header;
        };
        header[0] = number;
        header[spec::WIDTH] = 1;
        header[spec::OFFSET..][..4].copy_from_slice(&Self::target(region, number).to_le_bytes());
        header[spec::DATA] = if matches { spec::MATCH } else { spec::ANY };
        header[spec::COUNT..][..4].copy_from_slice(&bar.count.to_le_bytes());
        let name = [if region == 0 { "mmio-" } else { "portio-" }, name].concat();
        header[spec::NAME..][..name.len()].copy_from_slice(name.as_bytes());
        header
    }
}

impl Device for PciTestdev {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }
    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let header = self.header(at.region);
        for (byte, offset) in data.iter_mut().zip(at.offset as usize..) {
            *byte = header.get(offset).copied().unwrap_or(0);
        }
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let &[value, ..] = data else { return Io::Done };
        let bar = &mut self.bars[at.region & 1];
        if at.offset == spec::TEST {
            let there = usize::from(value) < spec::TESTS.len();
            *bar = Bar { test: there.then_some(value), count: 0 };
            return Io::Done;
        }
        let Some(test) = bar.test else { return Io::Done };
        let matches = spec::TESTS.get(usize::from(test)).is_some_and(|(_, matches)| *matches);
        let hit = at.offset == u64::from(Self::target(at.region, test)) && data.len() == 1;
        if hit && (!matches || value == spec::MATCH) {
            bar.count = bar.count.wrapping_add(1);
        }
        Io::Done
    }
    fn reset(&mut self) {
        self.pci.reset();
        self.bars = Default::default();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        for (bar, name) in self.bars.iter().zip(["memory", "ports"]) {
            match bar.test {
                Some(test) => node.value(name, format_args!("test {test}, {} writes", bar.count)),
                None => node.value(name, "no test"),
            };
        }
    }
}
