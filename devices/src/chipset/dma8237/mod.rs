//! The PC's two 8237A DMA controllers and their page registers.
//!
//! After "8237A High Performance Programmable DMA Controller" (Intel 231466) and the 82371SB data sheet.
//! A device on the ISA bus takes a [`DmaChannel`] and moves blocks with it. Not here: memory to memory
//! transfers, rotating priority, and the cascade's part in channels 0 to 3 (masking channel 4 does not
//! stop them, as in QEMU); the high page registers at 0x480, which the PIIX3 does not have.

pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard};

use devices_core::dma::Dma;
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError};

use spec::*;
use state::{Channel, Chips, Controller};

const KIND: &str = "i8237";
const REGIONS: [Region; 3] =
    [Region::pio("low", LOW, 16), Region::pio("high", HIGH, 32), Region::pio("pages", PAGES, 16)];

impl Controller {
    fn read(&mut self, register: u64) -> u8 {
        match register {
            0..=7 => {
                let high = self.high;
                self.high = !high;
                let Some(channel) = self.channels.get((register / 2) as usize) else { return 0 };
                let value = if register & 1 == 0 { channel.address } else { channel.count };
                value.to_le_bytes()[usize::from(high)]
            }
            STATUS_COMMAND => {
                let status = self.status;
                self.status &= 0xf0;
                status
            }
            MASK_ALL => self.mask,
            _ => 0,
        }
    }

    fn write(&mut self, register: u64, value: u8) {
        let channel = usize::from(value & 3);
        match register {
            0..=7 => self.write_channel(register, value),
            STATUS_COMMAND => self.command = value,
            REQUEST => self.request(channel, value & SET != 0),
            MASK_ONE if value & SET != 0 => self.mask |= 1 << channel,
            MASK_ONE => self.mask &= !(1 << channel),
            MODE => {
                if let Some(channel) = self.channels.get_mut(channel) {
                    channel.mode = value & !3;
                }
            }
            CLEAR_POINTER => self.high = false,
            CLEAR => {
                let channels = std::mem::take(&mut self.channels);
                *self = Controller { channels, ..Controller::default() };
            }
            CLEAR_MASK => self.mask = 0,
            _ => self.mask = value & 0x0f,
        }
    }

    /// A byte of an address or count goes to the base and to the current register.
    fn write_channel(&mut self, register: u64, value: u8) {
        let shift = if self.high { 8 } else { 0 };
        self.high = !self.high;
        let Some(channel) = self.channels.get_mut((register / 2) as usize) else { return };
        let (base, current) = if register & 1 == 0 {
            (&mut channel.base_address, &mut channel.address)
        } else {
            (&mut channel.base_count, &mut channel.count)
        };
        *base = *base & !(0xff << shift) | u16::from(value) << shift;
        *current = *base;
    }

    fn request(&mut self, channel: usize, on: bool) {
        let bit = 0x10 << channel;
        self.status = if on { self.status | bit } else { self.status & !bit };
    }
}

impl Channel {
    fn is(&self, mode: u8) -> bool {
        self.mode & mode != 0
    }

    /// Passes over `units` transfers, at most those that are left; true at the end of the count.
    fn pass(&mut self, units: u32) -> bool {
        let step = units as u16;
        self.address =
            if self.is(DOWN) { self.address.wrapping_sub(step) } else { self.address.wrapping_add(step) };
        let ended = units > u32::from(self.count);
        self.count = self.count.wrapping_sub(step);
        if ended && self.is(AUTO) {
            (self.address, self.count) = (self.base_address, self.base_count);
        }
        ended
    }
}

/// What one call moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Bytes, fewer than offered when the channel stands or its count ended.
    pub bytes: usize,
    /// Terminal count: the count ended with the last of them.
    pub terminal: bool,
}

/// Data on its way between a device and memory.
enum Data<'a> {
    ToMemory(&'a [u8]),
    FromMemory(&'a mut [u8]),
}

impl Data<'_> {
    fn len(&self) -> usize {
        match self {
            Data::ToMemory(data) => data.len(),
            Data::FromMemory(data) => data.len(),
        }
    }

    /// Moves bytes `at..at + len` to or from memory. What is not RAM reads as ones and takes nothing.
    fn carry(&mut self, dma: &Dma, gpa: u64, at: usize, len: usize) {
        match self {
            Data::ToMemory(data) => {
                let _ = data.get(at..at + len).map(|data| dma.write(gpa, data));
            }
            Data::FromMemory(data) => {
                if let Some(data) = data.get_mut(at..at + len) {
                    data.fill(0xff);
                    let _ = dma.read(gpa, data);
                }
            }
        }
    }
}

/// One channel for one device. Clones are handles to the same.
#[derive(Clone)]
pub struct DmaChannel {
    shared: Arc<Shared>,
    number: usize,
}

struct Shared {
    chips: Mutex<Chips>,
    dma: Dma,
}

impl Shared {
    fn chips(&self) -> MutexGuard<'_, Chips> {
        self.chips.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl Chips {
    /// The controller of a channel, and its number there.
    fn controller(&mut self, channel: usize) -> (&mut Controller, usize) {
        (if channel < 4 { &mut self.low } else { &mut self.high }, channel & 3)
    }
}

impl DmaChannel {
    /// Whether the guest lets the channel work.
    pub fn ready(&self) -> bool {
        let mut chips = self.shared.chips();
        let (controller, channel) = chips.controller(self.number);
        controller.mask >> channel & 1 == 0 && controller.command & COMMAND_OFF == 0
    }

    /// The device's request line (DREQ), which the status register shows.
    pub fn request(&self, on: bool) {
        let mut chips = self.shared.chips();
        let (controller, channel) = chips.controller(self.number);
        controller.request(channel, on);
    }

    /// Gives bytes of the device to memory. Moves nothing while the channel stands or is set for the
    /// other direction; a channel that verifies counts and drops them.
    pub fn to_memory(&self, data: &[u8]) -> Moved {
        self.transfer(Data::ToMemory(data), TO_MEMORY)
    }

    /// Takes bytes of memory for the device, likewise; a channel that verifies leaves `data` as it is.
    pub fn from_memory(&self, data: &mut [u8]) -> Moved {
        self.transfer(Data::FromMemory(data), FROM_MEMORY)
    }

    fn transfer(&self, mut data: Data, kind: u8) -> Moved {
        if !self.ready() {
            return Moved::default();
        }
        let mut chips = self.shared.chips();
        let page = PAGE_OF.get(self.number).and_then(|&page| chips.pages.get(page)).copied().unwrap_or(0);
        let wide = self.number >= 4;
        let (controller, number) = chips.controller(self.number);
        let Some(channel) = controller.channels.get_mut(number) else { return Moved::default() };
        let verify = channel.mode & MODE_TYPE == VERIFY;
        if !verify && channel.mode & MODE_TYPE != kind {
            return Moved::default();
        }
        let unit = if wide { 2 } else { 1 };
        let units = (data.len() / unit).min(usize::from(channel.count) + 1);
        let mut moved = Moved::default();
        while moved.bytes < units * unit {
            // Addresses wrap inside the page; downwards each unit goes by itself.
            let room = if channel.is(DOWN) { 1 } else { 0x1_0000 - usize::from(channel.address) };
            let now = room.min(units - moved.bytes / unit);
            let address = u64::from(channel.address);
            let gpa = if wide {
                u64::from(page & 0xfe) << 16 | address << 1
            } else {
                u64::from(page) << 16 | address
            };
            if !verify {
                data.carry(&self.shared.dma, gpa, moved.bytes, now * unit);
            }
            moved.bytes += now * unit;
            moved.terminal = channel.pass(now as u32);
        }
        if moved.terminal {
            let auto = channel.is(AUTO);
            controller.status |= 1 << number;
            if !auto {
                controller.mask |= 1 << number;
            }
        }
        moved
    }
}

/// The controllers on the bus.
pub struct Dma8237(Arc<Shared>);

impl Dma8237 {
    /// Controllers that reach guest memory through `dma` (which no bus master bit gates).
    pub fn new(dma: Dma) -> Dma8237 {
        Dma8237(Arc::new(Shared { chips: Mutex::default(), dma }))
    }

    /// Channel `number`, 0 to 7, for a device; 5 to 7 move words. None for 4, the cascade, and beyond.
    pub fn channel(&self, number: usize) -> Option<DmaChannel> {
        let shared = self.0.clone();
        (number < 8 && number != 4).then_some(DmaChannel { shared, number })
    }
}

impl Device for Dma8237 {
    fn name(&self) -> &str {
        "dma"
    }

    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }

    fn regions(&self) -> &[Region] {
        &REGIONS
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        let mut chips = self.0.chips();
        let value = match at.region {
            0 => chips.low.read(at.offset),
            1 => chips.high.read(at.offset >> 1),
            _ => chips.pages.get(at.offset as usize).copied().unwrap_or(0xff),
        };
        data.fill(value);
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        let Some(&value) = data.first() else { return Io::Done };
        let mut chips = self.0.chips();
        match at.region {
            0 => chips.low.write(at.offset, value),
            1 => chips.high.write(at.offset >> 1, value),
            _ => {
                if let Some(page) = chips.pages.get_mut(at.offset as usize) {
                    *page = value;
                }
            }
        }
        Io::Done
    }

    fn reset(&mut self) {
        *self.0.chips() = Chips::default();
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        Saved::encode(KIND, 1, &*self.0.chips())
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        let mut chips: Chips = saved.decode(KIND, 1)?;
        for controller in [&mut chips.low, &mut chips.high] {
            controller.mask &= 0x0f;
        }
        *self.0.chips() = chips;
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        let mut chips = self.0.chips();
        for (number, page) in PAGE_OF.into_iter().enumerate() {
            let page = chips.pages.get(page).copied().unwrap_or(0);
            let (controller, channel) = chips.controller(number);
            let masked = controller.mask >> channel & 1 != 0;
            let Some(channel) = controller.channels.get(channel) else { continue };
            let node = node.child(&format!("channel{number}"));
            node.value("masked", masked).hex("mode", channel.mode).hex("page", page);
            node.hex("address", channel.address).hex("count", channel.count);
        }
    }
}
