//! Ensoniq's AudioPCI, ES1370: two channels out, one in, behind them an AK4531 codec.
//!
//! Specification: Ensoniq's "AudioPCI ES1370" (registers as Linux's `ens1370.c` names them), and QEMU's for what a guest
//! finds at power-on.
//!
//! **Time.** A channel moves samples at its rate by guest time; its position follows from the time when it is read. A
//! timer wakes the card at the end of each period and at least every 10 ms, and not at all while no channel runs.
//!
//! Left out: the UART, the joystick, and the codec's mixer, which takes what is written and changes nothing: as with
//! QEMU, all is as loud as it is. The codec is ready at any time.

mod channel;
pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::audio::{AudioBackend, Tone};
use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, Timer};

use super::fetch;
use channel::Channel;
use spec::{ADC, BITS, CHANNELS};

/// The card.
pub struct Es1370 {
    name: String,
    pci: PciConfig,
    regions: [Region; 1],
    dma: Dma,
    wiring: Wiring,
    timer: Timer,
    backend: Arc<dyn AudioBackend>,
    control: u32,
    serial: u32,
    page: u8,
    /// What was last written to the codec.
    codec: u16,
    channels: [Channel; CHANNELS],
}

impl Es1370 {
    /// A card on that interrupt pin, whose sound goes there.
    pub fn new(
        name: &str,
        ram: GuestRam,
        line: IrqLine,
        backend: Arc<dyn AudioBackend>,
        wiring: &Wiring,
    ) -> Es1370 {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: 0,
            class: spec::CLASS,
            subsystem: spec::SUBSYSTEM,
        });
        pci.bar(0, BarKind::Io, spec::LEN, Window::Region(0));
        pci.connect(1, line);
        pci.set(spec::MIN_GNT, &spec::LATENCIES);
        let dma = Dma::gated(ram, pci.master());
        Es1370 {
            name: name.to_owned(),
            pci,
            regions: [Region::floating("registers", Space::Pio, spec::LEN)],
            dma,
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            backend,
            control: spec::CONTROL_RESET,
            serial: 0,
            page: 0,
            codec: 0,
            channels: [Channel::default(); CHANNELS],
        }
    }

    /// What is due by now goes over the link.
    fn catch_up(&mut self) {
        let now = self.wiring.now();
        for (number, channel) in self.channels.iter_mut().enumerate() {
            let Some(format) = channel.moving else { continue };
            let mut bytes = channel.pace.frames(now, format);
            if bytes.is_empty() {
                continue;
            }
            let (tone, dma) = (Tone::plain(format), &self.dma);
            if number == ADC {
                self.backend.record(number as u32, tone, &mut bytes);
                // Where no RAM is, nobody hears it.
                let write = |at, piece: &mut [u8]| {
                    let _ = dma.write(at, piece);
                };
                channel.carry(&BITS[number], self.serial, &mut bytes, write);
            } else {
                let read = |at, piece: &mut [u8]| {
                    fetch(dma, at, piece);
                };
                let len = channel.carry(&BITS[number], self.serial, &mut bytes, read);
                self.backend.play(number as u32, tone, &bytes[..len]);
            }
        }
    }

    /// Channels, the interrupt and the timer as they are to be now.
    fn settle(&mut self) {
        let now = self.wiring.now();
        for (number, channel) in self.channels.iter_mut().enumerate() {
            if self.control & BITS[number].enable == 0 {
                channel.stopped = false;
            }
            channel.pending &= self.serial & BITS[number].interrupt != 0;
            let wanted = channel.wanted(number, self.control, self.serial);
            if channel.moving != wanted {
                if wanted.is_none() {
                    self.backend.stop(number as u32);
                }
                channel.turn(wanted, now);
            }
        }
        self.pci.set_intx(self.channels.iter().any(|channel| channel.pending));
        match self.channels.iter().filter_map(Channel::alarm).min() {
            Some(at) => self.timer.arm(at),
            None => self.timer.cancel(),
        }
    }

    fn status(&self) -> u32 {
        let pending = self.channels.iter().zip(&BITS).filter(|(channel, _)| channel.pending);
        let pending = pending.fold(0, |all, (_, bits)| all | bits.pending);
        spec::VC | pending | if pending != 0 { spec::INTR } else { 0 }
    }

    /// The channel whose frame registers are there, and whether it is its size that is meant.
    fn paged(&self, at: u64) -> Option<(usize, bool)> {
        let size = at & 4 != 0;
        match (self.page, at & 8) {
            (spec::PAGE_DAC, half) => Some((usize::from(half != 0), size)),
            (spec::PAGE_ADC, 0) => Some((ADC, size)),
            _ => None,
        }
    }

    /// A register of four bytes.
    fn get(&self, at: u64) -> u32 {
        let pair = |high: u16, low: u16| u32::from(high) << 16 | u32::from(low);
        match at {
            spec::CONTROL => self.control,
            spec::STATUS => self.status(),
            spec::UART => 0,
            spec::MEM_PAGE => self.page.into(),
            spec::CODEC => self.codec.into(),
            spec::SERIAL => self.serial,
            spec::COUNT..spec::PAGED => {
                let channel = &self.channels[((at - spec::COUNT) / 4) as usize];
                pair(channel.left, channel.count)
            }
            spec::PAGED..spec::PAGED_END => match self.paged(at) {
                Some((number, false)) => self.channels[number].frame,
                Some((number, true)) => pair(self.channels[number].position, self.channels[number].size),
                None => 0,
            },
            _ => u32::MAX,
        }
    }

    /// Bytes of a register are written, those of the mask.
    fn set(&mut self, at: u64, value: u32, mask: u32) {
        let value = self.get(at) & !mask | value & mask;
        match at {
            spec::CONTROL => self.control = value,
            spec::SERIAL => self.serial = value,
            spec::MEM_PAGE => self.page = value as u8 & 0xf,
            spec::CODEC => self.codec = value as u16,
            spec::COUNT..spec::PAGED => {
                let channel = &mut self.channels[((at - spec::COUNT) / 4) as usize];
                (channel.count, channel.left) = (value as u16, value as u16);
            }
            spec::PAGED..spec::PAGED_END => {
                let Some((number, size)) = self.paged(at) else { return };
                let channel = &mut self.channels[number];
                if size {
                    (channel.size, channel.position) = (value as u16, (value >> 16) as u16);
                    channel.leftover = 0;
                } else {
                    channel.frame = value & !3;
                }
            }
            _ => {}
        }
    }
}

impl Device for Es1370 {
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
        self.catch_up();
        self.settle();
        for (byte, at) in data.iter_mut().zip(at.offset..) {
            *byte = self.get(at & !3).to_le_bytes()[(at & 3) as usize];
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.catch_up();
        // Bytes of one register come together.
        let (mut offset, mut rest) = (at.offset, data);
        while !rest.is_empty() {
            let shift = offset & 3;
            let (now, later) = rest.split_at(rest.len().min(4 - shift as usize));
            let (value, mask) = now.iter().zip(shift..).fold((0, 0), |(value, mask), (byte, lane)| {
                (value | u32::from(*byte) << (8 * lane), mask | 0xff << (8 * lane))
            });
            self.set(offset & !3, value, mask);
            (offset, rest) = (offset + now.len() as u64, later);
        }
        self.settle();
        Io::Done
    }

    fn wake(&mut self, _why: Wake) {
        self.catch_up();
        self.settle();
    }

    fn reset(&mut self) {
        self.pci.reset();
        let idle =
            |channel: &mut Channel| *channel = Channel { moving: channel.moving, ..Channel::default() };
        self.channels.iter_mut().for_each(idle);
        (self.control, self.serial, self.page, self.codec) = (spec::CONTROL_RESET, 0, 0, 0);
        self.settle();
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }

    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        // What is due is of the bus master bit as it was.
        self.catch_up();
        let moved = self.pci.write(reg, data);
        self.settle();
        moved
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }

    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)?;
        self.settle();
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        node.hex("control", self.control).hex("serial", self.serial).hex("status", self.status());
        for (name, channel) in ["DAC1", "DAC2", "ADC"].iter().zip(&self.channels) {
            let child = node.child(name);
            child.hex("frame", channel.frame).value("position", channel.position).value("size", channel.size);
            child.value("left", channel.left).value("count", channel.count);
        }
    }
}
