//! AC'97: the audio controller of the 82801AA (ICH) and a codec behind it.
//!
//! Specification: the ICH's datasheet (Intel 290655, chapter 13) and Intel's "Audio Codec '97", revision 2.3. The codec has
//! the ids and registers of QEMU's, SigmaTel's STAC9700 with variable rates.
//!
//! **Time.** A box moves samples at the rate of its converter by guest time, and PICB follows from the time when it is
//! read. A timer wakes the controller at the end of each buffer and at least every 10 ms, and not at all while no box
//! runs.
//!
//! Where it differs from QEMU it follows the datasheets: a box that pauses goes on in its buffer, the microphone has one
//! channel, gains are in decibels, interrupts are of their enables. As with QEMU, the codec is ready at any time.
//!
//! Left out: more than two channels, other sources than PCM in the mixer, the modem, wake-up by the link, silence behind
//! the last buffer (BUP), which is silence in any case.

mod codec;
mod master;
pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::audio::{AudioBackend, Tone};
use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, Timer};

use super::{Pace, fetch};
use codec::Codec;
use master::Master;
use spec::{BOX_LEN, BOXES, CAS, GLOB_CNT, GLOB_STA, OUT, bm, cr, sr, sta};

/// Region of the mixer.
const MIXER: usize = 0;

/// The controller, with its codec.
pub struct Ac97 {
    name: String,
    pci: PciConfig,
    regions: [Region; 2],
    dma: Dma,
    wiring: Wiring,
    timer: Timer,
    backend: Arc<dyn AudioBackend>,
    codec: Codec,
    boxes: [Master; BOXES],
    control: u32,
    /// What of GLOB_STA is kept.
    status: u32,
    /// Somebody is at the codec.
    semaphore: bool,
}

impl Ac97 {
    /// A card on that interrupt pin, whose sound goes there.
    pub fn new(
        name: &str,
        ram: GuestRam,
        line: IrqLine,
        backend: Arc<dyn AudioBackend>,
        wiring: &Wiring,
    ) -> Ac97 {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: spec::REVISION,
            class: spec::CLASS,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(0, BarKind::Io, spec::MIXER_LEN, Window::Region(0));
        pci.bar(1, BarKind::Io, spec::MASTER_LEN, Window::Region(1));
        pci.connect(1, line);
        let dma = Dma::gated(ram, pci.master());
        Ac97 {
            name: name.to_owned(),
            pci,
            regions: [
                Region::floating("mixer", Space::Pio, spec::MIXER_LEN).widest(2),
                Region::floating("bus master", Space::Pio, spec::MASTER_LEN),
            ],
            dma,
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            backend,
            codec: Codec::new(),
            boxes: [Master::new(); BOXES],
            control: 0,
            status: 0,
            semaphore: false,
        }
    }

    /// What is due by now goes over the link.
    fn catch_up(&mut self) {
        let now = self.wiring.now();
        for number in 0..BOXES {
            let Some(format) = self.boxes[number].moving else { continue };
            let mut bytes = self.boxes[number].due(now);
            if bytes.is_empty() {
                continue;
            }
            let tone = Tone { format, gain: self.codec.gain(number) };
            let dma = &self.dma;
            if number == OUT {
                let read = |at, piece: &mut [u8]| fetch(dma, at, piece);
                let len = self.boxes[number].carry(dma, &mut bytes, read);
                self.backend.play(number as u32, tone, &bytes[..len]);
            } else {
                self.backend.record(number as u32, tone, &mut bytes);
                let write = |at, piece: &mut [u8]| dma.write(at, piece).is_ok();
                self.boxes[number].carry(dma, &mut bytes, write);
            }
        }
    }

    /// Boxes, the interrupt and the timer as they are to be now.
    fn settle(&mut self) {
        for number in 0..BOXES {
            let runs = self.boxes[number].runs();
            let wanted = master::format(number, self.codec.rate(number)).filter(|_| runs);
            let one = &mut self.boxes[number];
            if one.moving != wanted {
                if wanted.is_none() {
                    self.backend.stop(number as u32);
                }
                one.moving = wanted;
                one.pace = Pace::start(self.wiring.now());
            }
        }
        self.pci.set_intx(self.boxes.iter().any(Master::interrupts));
        match self.boxes.iter().filter_map(Master::alarm).min() {
            Some(at) => self.timer.arm(at),
            None => self.timer.cancel(),
        }
    }

    fn global_status(&self) -> u32 {
        let said = self.boxes.iter().zip(sta::INTERRUPTS).filter(|(one, _)| one.interrupts());
        said.fold(self.status | sta::READY, |all, (_, bit)| all | bit)
    }

    fn read_byte(&mut self, at: u64) -> u8 {
        let byte = |word: u32, first: u64| word.to_le_bytes()[(at - first) as usize];
        match at {
            GLOB_CNT..GLOB_STA => byte(self.control, GLOB_CNT),
            GLOB_STA..CAS => byte(self.global_status(), GLOB_STA),
            // It is had by who reads a zero.
            CAS => std::mem::replace(&mut self.semaphore, true).into(),
            _ => {
                let Some(one) = self.boxes.get((at / BOX_LEN) as usize) else { return 0xff };
                let [sr_low, sr_high] = one.sr.to_le_bytes();
                let [left_low, left_high] = one.picb.to_le_bytes();
                match at % BOX_LEN {
                    at @ bm::BDBAR..bm::CIV => one.bdbar.to_le_bytes()[at as usize],
                    bm::CIV => one.civ,
                    bm::LVI => one.lvi,
                    bm::SR => sr_low,
                    0x7 => sr_high,
                    bm::PICB => left_low,
                    0x9 => left_high,
                    bm::PIV => one.piv,
                    bm::CR => one.cr,
                    _ => 0xff,
                }
            }
        }
    }

    fn write_byte(&mut self, at: u64, value: u8) {
        let dma = &self.dma;
        match at {
            GLOB_CNT..GLOB_STA => {
                let shift = 8 * (at - GLOB_CNT);
                let new = self.control & !(0xff << shift) | u32::from(value) << shift;
                self.control = new & spec::CONTROL & !spec::WARM;
            }
            GLOB_STA..CAS => {
                let word = u32::from(value) << (8 * (at - GLOB_STA));
                let lane = 0xff << (8 * (at - GLOB_STA)) & sta::STORED;
                self.status = (self.status & !lane | word & lane) & !(word & sta::CLEARED);
            }
            _ => {
                let Some(one) = self.boxes.get_mut((at / BOX_LEN) as usize) else { return };
                match at % BOX_LEN {
                    at @ bm::BDBAR..=0x3 => {
                        let mut bytes = one.bdbar.to_le_bytes();
                        bytes[at as usize] = value;
                        one.bdbar = u32::from_le_bytes(bytes) & !7;
                    }
                    bm::LVI => {
                        one.lvi = value % spec::ENTRIES;
                        // One that has come to its end goes on.
                        if one.cr & cr::RPBM != 0 && one.sr & sr::CELV != 0 {
                            one.start(dma);
                        }
                    }
                    bm::SR => one.sr &= !(u16::from(value) & sr::CLEARED),
                    bm::CR if value & cr::RR != 0 => one.reset(),
                    bm::CR => {
                        let starts = value & !one.cr & cr::RPBM != 0;
                        one.cr = value & cr::ALL;
                        if starts {
                            one.start(dma);
                        } else if value & cr::RPBM == 0 {
                            one.sr |= sr::DCH;
                        }
                    }
                    _ => {}
                }
            }
        }
    }
}

impl Device for Ac97 {
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
        if at.region == MIXER {
            self.semaphore = false;
            // Registers are words, and nothing else is read.
            if let [low, high] = data {
                [*low, *high] = self.codec.get(at.offset).to_le_bytes();
            }
            return Io::Done;
        }
        for (byte, at) in data.iter_mut().zip(at.offset..) {
            *byte = self.read_byte(at);
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.catch_up();
        if at.region == MIXER {
            self.semaphore = false;
            if let [low, high] = *data {
                self.codec.write(at.offset, u16::from_le_bytes([low, high]));
            }
        } else {
            data.iter().zip(at.offset..).for_each(|(byte, at)| self.write_byte(at, *byte));
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
        self.codec = Codec::new();
        self.boxes.iter_mut().for_each(|one| *one = Master { moving: one.moving, ..Master::new() });
        (self.control, self.status, self.semaphore) = (0, 0, false);
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
        node.hex("control", self.control).hex("status", self.global_status());
        for (name, one) in ["PCM in", "PCM out", "microphone"].iter().zip(&self.boxes) {
            let child = node.child(name);
            child.hex("control", one.cr).hex("status", one.sr).value("left", one.picb);
            child.value("current", one.civ).value("last valid", one.lvi);
        }
    }
}
