//! Intel HD Audio: the controllers of the ICH6 and the ICH9, and codecs on their link.
//!
//! Specification: Intel's "High Definition Audio Specification", revision 1.0a. Ids, what PCI shows of it and the codecs
//! are QEMU's. `rings` has the commands, `stream` the DMA engines, [`codec`] what is behind the link.
//!
//! **Time.** A stream goes over the link at the rate of its format by guest time, whether a codec listens or not, and its
//! position follows from the time when it is read. A timer wakes the controller at the end of each buffer, and at least
//! every 10 ms; nothing does while no stream runs.
//!
//! Where it differs from QEMU it follows the specification: a stream's reset bit stays set until it is cleared, a stream
//! that was stopped goes on where it stood, the FIFO of one that runs is ready, positions are written by the number of
//! the descriptor, codecs are found when the controller leaves its reset and not before, and while it is in reset only
//! GCTL, WAKEEN and STATESTS are written. A stream does not wait until the driver has seen its last interrupt.
//!
//! Left out: bidirectional streams (GCAP has none), unsolicited responses, striping, other sizes of the rings.

mod bus;
pub mod codec;
pub mod model;
mod registers;
mod rings;
pub mod spec;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use devices_core::audio::Format;
use devices_core::dma::Dma;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, MsiShape, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::{GuestRam, MsiTarget, Timer};

use super::{Pace, fetch};
pub use bus::HdaBus;
use codec::{Codec, Way};
use registers::Registers;
use rings::Rings;
use spec::{REGISTERS_LEN, STREAMS, ctl, gctl, icis, int, reg, sd, sts};
use stream::{Stream, base, is_output};

/// What the controllers differ in.
#[derive(Debug)]
pub struct Variant {
    /// Its model.
    pub model: &'static Model,
    /// PCI device id.
    pub device: u16,
    /// PCI revision.
    pub revision: u8,
}

/// How it interrupts by messages.
#[derive(Clone)]
pub struct Messages {
    /// Where the capability is.
    pub at: u16,
    /// Where messages go.
    pub target: Arc<dyn MsiTarget>,
}

/// A controller.
pub struct Hda {
    name: String,
    variant: &'static Variant,
    pci: PciConfig,
    regions: [Region; 1],
    dma: Dma,
    wiring: Wiring,
    timer: Timer,
    registers: Registers,
    streams: [Stream; STREAMS],
    rings: Rings,
    /// When the wall clock stood at 0.
    wall: u64,
    /// Causes of interrupts that the guest has been told of.
    raised: u32,
    codecs: BTreeMap<u8, Codec>,
}

impl Hda {
    /// A controller on that interrupt pin; without `messages` it has no MSI.
    pub fn new(
        name: &str,
        variant: &'static Variant,
        ram: GuestRam,
        line: IrqLine,
        messages: Option<Messages>,
        wiring: &Wiring,
    ) -> Hda {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: variant.device,
            revision: variant.revision,
            class: spec::CLASS,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(0, BarKind::Mem32 { prefetch: false }, spec::BAR_LEN, Window::Region(0));
        pci.connect(1, line);
        pci.set(spec::config::HDCTL, &[1]);
        if let Some(Messages { at, target }) = messages {
            pci.msi(at, MsiShape { vectors: 1, wide: true, maskable: false }, target);
        }
        let dma = Dma::gated(ram, pci.master());
        Hda {
            name: name.to_owned(),
            variant,
            pci,
            regions: [Region::floating("registers", Space::Mmio, spec::BAR_LEN)],
            dma,
            wiring: wiring.clone(),
            timer: wiring.timer(0),
            registers: Registers::new(),
            streams: Default::default(),
            rings: Rings::default(),
            wall: wiring.now(),
            raised: 0,
            codecs: BTreeMap::new(),
        }
    }

    fn in_reset(&self) -> bool {
        self.registers.u32(reg::GCTL) & gctl::CRST == 0
    }

    /// CRST is cleared: all but what has power of its own is as it was at first.
    fn enter_reset(&mut self) {
        let kept = self.registers.u32(reg::WAKEEN);
        self.registers.reset(0, REGISTERS_LEN);
        self.registers.set_u32(reg::WAKEEN, kept);
        self.streams.iter_mut().for_each(|stream| *stream = Stream::default());
        self.rings = Rings::default();
        self.codecs.values_mut().for_each(Codec::reset);
    }

    /// CRST is set: the codecs tell that they are there.
    fn leave_reset(&mut self) {
        let found = self.codecs.keys().fold(0, |all, codec| all | 1u16 << codec);
        self.registers.set_u16(reg::STATESTS, self.registers.u16(reg::STATESTS) | found);
        self.wall = self.wiring.now();
    }

    /// 24 MHz.
    fn wall_clock(&self) -> u32 {
        (u128::from(self.wiring.now().saturating_sub(self.wall)) * 24 / 1000) as u32
    }

    /// What is due by now goes over the link.
    fn catch_up(&mut self) {
        let now = self.wiring.now();
        for number in 0..STREAMS {
            let Some((link, format)) = self.streams[number].moving else { continue };
            let mut bytes = self.streams[number].due(now);
            if bytes.is_empty() {
                continue;
            }
            let (stream, registers, dma) = (&mut self.streams[number], &mut self.registers, &self.dma);
            if is_output(number) {
                let read = |at, piece: &mut [u8]| fetch(dma, at, piece);
                let len = stream.carry(number, registers, dma, &mut bytes, read);
                self.codecs.values_mut().for_each(|codec| codec.play(link, format, &bytes[..len]));
            } else {
                // The first that has the stream speaks.
                let _ = self.codecs.values_mut().any(|codec| codec.record(link, format, &mut bytes));
                let write = |at, piece: &mut [u8]| dma.write(at, piece).is_ok();
                stream.carry(number, registers, dma, &mut bytes, write);
            }
            self.tell_position(number);
        }
    }

    /// Writes a stream's position where the driver wants it.
    fn tell_position(&self, stream: usize) {
        let place = self.registers.u64(reg::DPLBASE);
        if place as u32 & spec::POSITIONS != 0 {
            let position = self.registers.u32(base(stream) + sd::LPIB);
            let at = (place & !0x7f).checked_add(8 * stream as u64);
            // Nobody reads it where no RAM is.
            let _ = at.map(|at| self.dma.write(at, &position.to_le_bytes()));
        }
    }

    /// Streams, the interrupt and the timer as they are to be now.
    fn settle(&mut self) {
        for number in 0..STREAMS {
            let wanted = stream::wanted(&self.registers, number);
            let was = self.streams[number].moving;
            if wanted != was {
                self.turn(number, was);
            }
        }
        self.interrupt();
        self.arm();
    }

    /// A stream starts, stops, or goes on as another one.
    fn turn(&mut self, number: usize, was: Option<(u8, Format)>) {
        if let Some((link, _)) = was {
            let way = if is_output(number) { Way::Out } else { Way::In };
            self.codecs.values_mut().for_each(|codec| codec.stopped(way, link));
        }
        let stream = &mut self.streams[number];
        stream.pace = Pace::start(self.wiring.now());
        if was.is_none() {
            stream.fetch(number, &mut self.registers, &self.dma);
        }
        // A list that cannot be read has stopped it.
        stream.moving = stream::wanted(&self.registers, number);
        let at = base(number) + sd::STS;
        let ready = if stream.moving.is_some() { sts::FIFORDY } else { 0 };
        self.registers.set(at, &[self.registers.u8(at) & !sts::FIFORDY | ready]);
    }

    /// What there is to tell.
    fn causes(&self) -> u32 {
        let byte = |at| self.registers.u8(at);
        let responses =
            byte(reg::RIRBSTS) & byte(reg::RIRBCTL) & (spec::rirb::INTERRUPT | spec::rirb::OVERRUN);
        let commands = byte(reg::CORBSTS) & byte(reg::CORBCTL) & spec::CORB_ERROR;
        let codecs = self.registers.u16(reg::STATESTS) & self.registers.u16(reg::WAKEEN);
        let controller = responses != 0 || commands != 0 || codecs != 0;
        stream::interrupts(&self.registers) | if controller { int::CONTROLLER } else { 0 }
    }

    fn interrupt(&mut self) {
        let (causes, control) = (self.causes(), self.registers.u32(reg::INTCTL));
        let enabled = causes & control;
        self.registers.set_u32(reg::INTSTS, causes | if enabled != 0 { int::GLOBAL } else { 0 });
        let raised = if control & int::GLOBAL != 0 { enabled } else { 0 };
        self.pci.set_intx(raised != 0);
        // A message for each cause that comes, also while the driver is at another.
        if raised & !self.raised != 0 {
            self.pci.message(0);
        }
        self.raised = raised;
    }

    fn arm(&mut self) {
        let alarms = self.streams.iter().enumerate();
        match alarms.filter_map(|(number, stream)| stream.alarm(number, &self.registers)).min() {
            Some(at) => self.timer.arm(at),
            None => self.timer.cancel(),
        }
    }

    fn read_byte(&self, at: usize) -> u8 {
        let at = match at.checked_sub(reg::ALIAS) {
            None => at,
            Some(at) if (reg::WALCLK..reg::WALCLK + 4).contains(&at) => at,
            Some(at) if at >= reg::STREAM && (sd::LPIB..sd::CBL).contains(&(at % reg::STREAM_LEN)) => at,
            Some(_) => return 0,
        };
        match at.checked_sub(reg::WALCLK) {
            Some(byte @ 0..4) => self.wall_clock().to_le_bytes()[byte],
            _ => self.registers.u8(at),
        }
    }

    fn write_bytes(&mut self, first: usize, data: &[u8]) {
        let before = self.registers.u32(reg::GCTL);
        for (at, byte) in (first..).zip(data) {
            let always = (reg::GCTL..reg::GCTL + 4).contains(&at) || (reg::WAKEEN..reg::GSTS).contains(&at);
            if always || !self.in_reset() {
                self.registers.write(at, *byte);
            }
        }
        let end = first + data.len();
        let touched = |at: usize, len: usize| first < at + len && at < end;
        if touched(reg::GCTL, 4) {
            match (before & gctl::CRST != 0, !self.in_reset()) {
                (true, false) => self.enter_reset(),
                (false, true) => self.leave_reset(),
                _ => {}
            }
            let flushes =
                data.get(reg::GCTL.wrapping_sub(first)).is_some_and(|byte| *byte & gctl::FCNTRL as u8 != 0);
            if flushes && !self.in_reset() {
                self.registers.set(reg::GSTS, &[spec::FSTS]);
            }
        }
        if touched(reg::CORBRP, 2) && self.registers.u16(reg::CORBRP) & spec::POINTER_RESET != 0 {
            self.registers.set_u16(reg::CORBRP, spec::POINTER_RESET);
        }
        if touched(reg::RIRBWP, 2) && self.registers.u16(reg::RIRBWP) & spec::POINTER_RESET != 0 {
            self.registers.set_u16(reg::RIRBWP, 0);
            self.rings.responses = 0;
        }
        for number in 0..STREAMS {
            if touched(base(number), 1) && self.registers.u8(base(number)) & ctl::SRST != 0 {
                self.reset_stream(number);
            }
        }
        if touched(reg::ICIS, 1) && self.registers.u8(reg::ICIS) & icis::BUSY != 0 {
            self.immediate();
        }
        if touched(reg::CORBWP, 6) {
            self.run_corb();
        }
    }

    /// Its registers are as at first, but for the bit that says so.
    fn reset_stream(&mut self, number: usize) {
        self.registers.reset(base(number), reg::STREAM_LEN);
        self.registers.set(base(number) + sd::CTL, &[ctl::SRST]);
        let stream = &mut self.streams[number];
        *stream = Stream { moving: stream.moving, ..Stream::default() };
    }
}

impl Device for Hda {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(self.variant.model)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        self.catch_up();
        self.settle();
        for (byte, at) in data.iter_mut().zip(at.offset as usize..) {
            *byte = self.read_byte(at);
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.catch_up();
        self.write_bytes(at.offset as usize, data);
        self.settle();
        Io::Done
    }

    fn wake(&mut self, _why: Wake) {
        self.catch_up();
        self.settle();
    }

    fn reset(&mut self) {
        self.pci.reset();
        self.enter_reset();
        self.registers.set_u32(reg::WAKEEN, 0);
        self.settle();
        self.wall = self.wiring.now();
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
        let (causes, control) = (self.causes(), self.registers.u32(reg::INTCTL));
        self.raised = if control & int::GLOBAL != 0 { causes & control } else { 0 };
        self.interrupt();
        self.arm();
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        node.hex("control", self.registers.u32(reg::GCTL)).hex("interrupts", self.registers.u32(reg::INTSTS));
        for (number, stream) in self.streams.iter().enumerate() {
            let Some((link, format)) = stream.moving else { continue };
            let child = node.child(&format!("stream {number}"));
            child.value("number", link).value("rate", format.rate()).value("channels", format.channels());
            child.value("position", self.registers.u32(base(number) + sd::LPIB));
            child.value("descriptor", stream.index);
        }
        for (number, codec) in &self.codecs {
            codec.inspect(node.child(&format!("codec {number}")));
        }
    }
}
