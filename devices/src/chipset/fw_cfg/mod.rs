//! QEMU's firmware configuration device: how firmware learns what the machine is.
//!
//! Specification: QEMU documentation, "QEMU Firmware Configuration (fw_cfg) Device". A selector and a data
//! register share ports 0x510 and 0x511; a DMA interface is at 0x514.
//!
//! Left out: the memory-mapped variant. A DMA read gives at most 1 MiB of zeros
//! past an item's end.

mod items;
pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use devices_core::dma::Dma;
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

use items::Entry;
pub use items::{Changes, Item, ItemError, Latest, Place};

/// Regions of the device.
const REGIONS: [Region; 2] =
    [Region::pio("data", spec::BASE, 2).widest(2), Region::pio("dma", spec::DMA_BASE, 8).widest(4)];
const DATA: usize = 0;

/// The device.
pub struct FwCfg {
    entries: BTreeMap<u16, Entry>,
    /// Key of the chosen item; none after one that does not exist.
    selected: Option<u16>,
    /// Nothing of it has been read since it was chosen or loaded.
    unread: bool,
    /// Next byte in it; stops at its end.
    offset: u32,
    /// The half-written DMA address.
    dma_address: u64,
    regions: [Region; 2],
    dma: Dma,
}

/// A DMA request as the guest has it in memory: 16 bytes, big-endian.
struct Command {
    control: u32,
    length: u32,
    address: u64,
}

impl FwCfg {
    /// A device with these items. Files get their keys in the order in which they come.
    pub fn new(items: Vec<Item>, dma: Dma) -> Result<FwCfg, ItemError> {
        Ok(FwCfg {
            entries: items::entries(items)?,
            selected: Some(spec::KEY_SIGNATURE),
            unread: true,
            offset: 0,
            dma_address: 0,
            regions: REGIONS,
            dma,
        })
    }

    /// Gives a replaceable file other content, and the size that it has then. Where there
    /// is no such file nothing happens.
    pub fn replace(&mut self, name: &str, data: Vec<u8>) {
        let called =
            |(_, entry): &(&u16, &mut Entry)| entry.replaceable && entry.name.as_deref() == Some(name);
        let Some((&key, entry)) = self.entries.iter_mut().find(called) else { return };
        let Ok(size) = u32::try_from(data.len()) else { return };
        entry.data = data;
        if let Some(directory) = self.entries.get_mut(&spec::KEY_DIRECTORY) {
            items::resize(&mut directory.data, key, size);
        }
    }

    /// What a file has in it now, which the guest may have written.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        let entry = self.entries.values().find(|entry| entry.name.as_deref() == Some(name))?;
        Some(&entry.data)
    }

    fn select(&mut self, key: u16) {
        let key = key & (spec::KEY_MASK | spec::KEY_ARCH);
        self.selected = Some(key).filter(|key| self.entries.contains_key(key));
        self.unread = true;
        self.offset = 0;
    }

    /// Brings the chosen item up to date, before it is read.
    fn refresh(&mut self) {
        if !std::mem::take(&mut self.unread) {
            return;
        }
        let entry = self.selected.and_then(|key| self.entries.get_mut(&key));
        if let Some(Entry { data, latest: Some(latest), .. }) = entry {
            (latest.0)(data);
        }
    }

    /// What is left of the chosen item.
    fn rest(&self) -> &[u8] {
        let entry = self.selected.and_then(|key| self.entries.get(&key));
        entry.and_then(|entry| entry.data.get(self.offset as usize..)).unwrap_or(&[])
    }

    fn move_on(&mut self, bytes: usize) {
        // Items are shorter than 4 GiB, and nobody moves past their end.
        self.offset = self.offset.saturating_add(bytes as u32);
    }

    /// Fills `out` from the item, with zeros past its end.
    fn take(&mut self, out: &mut [u8]) {
        self.refresh();
        let rest = self.rest();
        let len = rest.len().min(out.len());
        let (now, beyond) = out.split_at_mut(len);
        now.copy_from_slice(&rest[..len]);
        beyond.fill(0);
        self.move_on(len);
    }

    /// Carries out the DMA request at guest-physical `at` and notes the outcome in it.
    fn run(&mut self, at: u64) {
        let mut bytes = [0; 16];
        let outcome = match self.dma.read(at, &mut bytes) {
            Ok(()) => self.command(&Command::parse(bytes)),
            Err(_) => spec::DMA_ERROR,
        };
        // Where there is no RAM nobody waits for the outcome.
        let _ = self.dma.write(at, &outcome.to_be_bytes());
    }

    /// The control word that tells the outcome: zero, or the error bit.
    fn command(&mut self, command: &Command) -> u32 {
        let &Command { control, length, address } = command;
        if control & spec::DMA_SELECT != 0 {
            self.select((control >> 16) as u16);
        }
        let done = if control & spec::DMA_READ != 0 {
            self.dma_read(address, length)
        } else if control & spec::DMA_WRITE != 0 {
            self.dma_write(address, length)
        } else {
            if control & spec::DMA_SKIP != 0 {
                let skipped = self.rest().len().min(length as usize);
                self.move_on(skipped);
            }
            Some(())
        };
        if done.is_some() { 0 } else { spec::DMA_ERROR }
    }

    fn dma_read(&mut self, address: u64, length: u32) -> Option<()> {
        self.refresh();
        let rest = self.rest();
        let len = rest.len().min(length as usize);
        self.dma.write(address, &rest[..len]).ok()?;
        self.move_on(len);
        let mut padding = length - len as u32;
        let mut at = address.checked_add(len as u64)?;
        if padding > spec::DMA_PADDING_MAX {
            return None;
        }
        let zeros = [0; 4096];
        while padding > 0 {
            let now = padding.min(zeros.len() as u32);
            self.dma.write(at, &zeros[..now as usize]).ok()?;
            at = at.checked_add(now.into())?;
            padding -= now;
        }
        Some(())
    }

    fn dma_write(&mut self, address: u64, length: u32) -> Option<()> {
        let entry = self.selected.and_then(|key| self.entries.get_mut(&key))?;
        entry.initial.as_ref()?;
        let rest = entry.data.get_mut(self.offset as usize..)?;
        let len = rest.len().min(length as usize);
        self.dma.read(address, &mut rest[..len]).ok()?;
        self.move_on(len);
        // What lies past the end cannot be written.
        (len == length as usize).then_some(())
    }
}

impl Command {
    fn parse(bytes: [u8; 16]) -> Command {
        let whole = u128::from_be_bytes(bytes);
        Command { control: (whole >> 96) as u32, length: (whole >> 64) as u32, address: whole as u64 }
    }
}

impl Device for FwCfg {
    fn name(&self) -> &str {
        "fw_cfg"
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        match (at.region, data.len()) {
            // Either port reads the next byte; wider reads are nobody's.
            (DATA, 1) => self.take(data),
            (DATA, _) => return Io::Unclaimed,
            _ => {
                for (byte, signature) in
                    data.iter_mut().zip(spec::DMA_SIGNATURE.iter().skip(at.offset as usize))
                {
                    *byte = *signature;
                }
            }
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        match (at.region, at.offset, data) {
            // The byte-wide data register has not been writable since QEMU 2.4.
            (DATA, 0, &[low, high]) => self.select(u16::from_le_bytes([low, high])),
            (DATA, ..) => {}
            (_, 0, &[a, b, c, d]) => self.dma_address = u64::from(u32::from_be_bytes([a, b, c, d])) << 32,
            (_, 4, &[a, b, c, d]) => {
                let address = self.dma_address | u64::from(u32::from_be_bytes([a, b, c, d]));
                self.dma_address = 0;
                self.run(address);
            }
            _ => {}
        }
        Io::Done
    }

    fn read_run(&mut self, at: At, size: usize, out: &mut [u8]) -> usize {
        if at.region != DATA || size != 1 {
            return 0;
        }
        self.take(out);
        out.len()
    }

    fn reset(&mut self) {
        self.select(spec::KEY_SIGNATURE);
        self.dma_address = 0;
        for entry in self.entries.values_mut() {
            if let Some(initial) = &entry.initial {
                entry.data.clone_from(initial);
            }
        }
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        match self.selected {
            Some(key) => node.hex("selected", key),
            None => node.value("selected", "nothing"),
        };
        node.value("offset", self.offset);
        node.value("items", self.entries.len());
    }
}
