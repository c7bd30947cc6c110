//! National Semiconductor 16550A: the PC's serial ports, on the ISA bus, and QEMU's `pci-serial`.
//!
//! Datasheet: PC16550D Universal Asynchronous Receiver/Transmitter with FIFOs (June 1995). As in QEMU the
//! line takes a byte at once, whatever the baud rate, and the interrupt does not need OUT2; the character
//! timeout runs by the baud rate. Input is fetched from the host only when there is room, so none is lost.
//!
//! Left out: break (the bit is kept, the line does not know of it), parity and framing errors (a host
//! stream has none), changes of the modem lines from outside, DMA mode (a register bit).

mod chip;
mod fifo;
pub mod model;
mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::chardev::CharBackend;
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Timer, Wake, Wiring};

use chip::Chip;
pub use spec::PORTS;

/// Timer numbers.
const TIMEOUT: u32 = 0;
const RETRY: u32 = 1;

/// How often a line that took nothing is tried again, in nanoseconds, should its backend not say so.
const RETRY_EVERY: u64 = 10_000_000;

/// Where the chip is, and so its interrupt.
enum Place {
    Isa(IrqLine),
    Pci(Box<PciConfig>),
}

impl Place {
    fn interrupt(&mut self, level: bool) {
        match self {
            Place::Isa(irq) => irq.set(level),
            Place::Pci(config) => config.set_intx(level),
        }
    }
}

/// The handles of the device.
struct Parts {
    place: Place,
    backend: Arc<dyn CharBackend>,
    timeout: Timer,
    retry: Timer,
    wiring: Wiring,
}

/// A serial port.
pub struct Serial {
    name: String,
    chip: Chip,
    /// When the line is tried again, while it takes nothing.
    retry_at: Option<u64>,
    /// The backend may have input. It says when there is some after there was none.
    input: bool,
    regions: [Region; 1],
    parts: Parts,
}

impl Serial {
    /// Port `index` of [`PORTS`] (0 is COM1; 3 is the last). `irq` leads to the ISA interrupt given
    /// there. `backend` wakes the device through the wiring's waker.
    pub fn new(index: usize, irq: IrqLine, backend: Arc<dyn CharBackend>, wiring: &Wiring) -> Serial {
        let (port, _) = PORTS[index];
        Serial::at(&format!("serial{index}"), port, irq, backend, wiring)
    }

    /// A port of that name whose registers are at `port`.
    pub fn at(name: &str, port: u16, irq: IrqLine, backend: Arc<dyn CharBackend>, wiring: &Wiring) -> Serial {
        Serial::placed(name, Place::Isa(irq), Region::pio("registers", port, 8), backend, wiring)
    }

    /// A function of the PCI bus (QEMU's `pci-serial`); `interface` is how it says that it is driven: 2 as a 16550.
    pub fn on_pci(
        name: &str,
        interface: u8,
        intx: IrqLine,
        backend: Arc<dyn CharBackend>,
        wiring: &Wiring,
    ) -> Serial {
        let mut config = PciConfig::new(Identity {
            vendor: spec::PCI_VENDOR,
            device: spec::PCI_DEVICE,
            revision: 1,
            class: spec::PCI_CLASS << 8 | u32::from(interface),
            subsystem: QEMU_SUBSYSTEM,
        });
        config.bar(0, BarKind::Io, 8, Window::Region(0));
        config.connect(1, intx);
        let registers = Region::floating("registers", Space::Pio, 8);
        Serial::placed(name, Place::Pci(Box::new(config)), registers, backend, wiring)
    }

    fn placed(
        name: &str,
        place: Place,
        registers: Region,
        backend: Arc<dyn CharBackend>,
        wiring: &Wiring,
    ) -> Serial {
        let (timeout, retry) = (wiring.timer(TIMEOUT), wiring.timer(RETRY));
        Serial {
            name: name.to_owned(),
            chip: Chip::new(),
            retry_at: None,
            input: true,
            regions: [registers],
            parts: Parts { place, backend, timeout, retry, wiring: wiring.clone() },
        }
    }

    /// Moves bytes both ways as far as they go.
    fn pump(&mut self) {
        let now = self.parts.wiring.now();
        self.chip.elapse(now);
        // The interrupt must be seen to go and come again when a byte is written and sent at once.
        self.parts.place.interrupt(self.chip.interrupts());
        self.send(now);
        self.fetch(now);
        self.follow();
    }

    fn send(&mut self, now: u64) {
        while let Some(byte) = self.chip.outgoing(now) {
            if self.parts.backend.write(&[byte]) == 0 {
                self.retry_at = Some(now.saturating_add(RETRY_EVERY));
                return;
            }
            self.chip.sent();
        }
        self.retry_at = None;
    }

    fn fetch(&mut self, now: u64) {
        let mut bytes = [0; spec::FIFO];
        let room = self.chip.room().min(bytes.len());
        if self.input && room > 0 {
            let got = self.parts.backend.read(&mut bytes[..room]).min(room);
            self.input = got > 0;
            bytes[..got].iter().for_each(|&byte| self.chip.receive(byte, now));
        }
    }

    /// Brings the interrupt line and the timers where the registers want them.
    fn follow(&mut self) {
        let parts = &mut self.parts;
        parts.place.interrupt(self.chip.interrupts());
        for (timer, at) in [(&mut parts.timeout, self.chip.timeout_at), (&mut parts.retry, self.retry_at)] {
            match at {
                Some(at) => timer.arm(at),
                None => timer.cancel(),
            }
        }
    }
}

impl Device for Serial {
    fn name(&self) -> &str {
        &self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(match self.parts.place {
            Place::Isa(_) => &model::MODEL,
            Place::Pci(_) => &model::PCI,
        })
    }

    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn pci(&mut self) -> Option<&mut PciConfig> {
        match &mut self.parts.place {
            Place::Isa(_) => None,
            Place::Pci(config) => Some(config),
        }
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        if at.offset == spec::reg::DATA {
            data.fill(self.chip.read(at.offset, self.parts.wiring.now()));
            self.pump();
        } else {
            // The status registers are polled a lot: nothing is asked of clock and line for them.
            data.fill(self.chip.read(at.offset, 0));
            self.parts.place.interrupt(self.chip.interrupts());
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if let Some(&value) = data.first() {
            self.chip.write(at.offset, value);
            self.pump();
        }
        Io::Done
    }

    fn wake(&mut self, why: Wake) {
        self.input |= matches!(why, Wake::Backend(_));
        self.pump();
    }

    fn reset(&mut self) {
        self.chip = Chip::new();
        self.retry_at = None;
        self.input = true;
        if let Place::Pci(config) = &mut self.parts.place {
            config.reset();
        }
        self.follow();
    }

    fn resume(&mut self) {
        self.input = true;
        self.pump();
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        // What came in since the port was built is for the guest that is loaded.
        let early: Vec<u8> = std::iter::from_fn(|| self.chip.receive.pop()).collect();
        state::load(self, saved)?;
        let now = self.parts.wiring.now();
        for byte in early.into_iter().take(self.chip.room()) {
            self.chip.receive(byte, now);
        }
        self.follow();
        Ok(())
    }

    fn inspect(&self, node: &mut Node) {
        let chip = &self.chip;
        node.value("divisor", chip.divisor).hex("line control", chip.line_control);
        node.hex("modem control", chip.modem_control).hex("modem status", chip.modem_status);
        node.hex("line status", chip.line_status()).hex("interrupt enable", chip.enable);
        node.hex("identification", chip.identification()).hex("fifo control", chip.fifo_control);
        node.value("received", chip.receive.len()).value("to send", chip.transmit.len());
        node.value("line blocked", self.retry_at.is_some()).value("irq", self.chip.interrupts());
    }
}
