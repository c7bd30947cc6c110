//! Configuration space of a PCI function: type 0 header, BARs, capabilities, INTx and messages (PCI Local
//! Bus Specification 3.0, chapter 6).

pub mod bus;
pub mod class;
mod msi;
mod msix;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hypervisor::RamBlock;
use hypervisor::inspect::Node;
use hypervisor::memory::PAGE;
use serde::{Deserialize, Serialize};

use crate::irq::IrqLine;
use crate::state::{Saved, StateError, valid};
use msi::Msi;
pub use msi::MsiShape;
pub use msix::MsixShape;
use msix::{Msix, MsixState};

/// Header registers (offsets in bytes).
pub mod reg {
    /// Vendor id, 16 bits.
    pub const VENDOR: u16 = 0x00;
    /// Device id, 16 bits.
    pub const DEVICE: u16 = 0x02;
    /// Command, 16 bits.
    pub const COMMAND: u16 = 0x04;
    /// Status, 16 bits.
    pub const STATUS: u16 = 0x06;
    /// Revision id.
    pub const REVISION: u16 = 0x08;
    /// Programming interface, subclass, class: 24 bits.
    pub const CLASS: u16 = 0x09;
    /// Cache line size: storage for firmware.
    pub const CACHE_LINE: u16 = 0x0c;
    /// Header type; bit 7: several functions.
    pub const HEADER_TYPE: u16 = 0x0e;
    /// First base address register.
    pub const BAR0: u16 = 0x10;
    /// Subsystem vendor id, 16 bits.
    pub const SUBSYSTEM_VENDOR: u16 = 0x2c;
    /// Subsystem id, 16 bits.
    pub const SUBSYSTEM: u16 = 0x2e;
    /// Expansion ROM base.
    pub const ROM: u16 = 0x30;
    /// First capability.
    pub const CAPABILITIES: u16 = 0x34;
    /// Interrupt line: storage for firmware.
    pub const INTERRUPT_LINE: u16 = 0x3c;
    /// Interrupt pin: 1 is INTA.
    pub const INTERRUPT_PIN: u16 = 0x3d;
}

/// Command register bits.
pub mod command {
    /// I/O space decode.
    pub const IO: u16 = 1 << 0;
    /// Memory space decode.
    pub const MEMORY: u16 = 1 << 1;
    /// Bus master.
    pub const MASTER: u16 = 1 << 2;
    /// SERR# enable.
    pub const SERR: u16 = 1 << 8;
    /// INTx disable.
    pub const INTX_DISABLE: u16 = 1 << 10;
}

/// Status register bit: INTx pending.
const STATUS_INTX: u8 = 1 << 3;
/// Status bits (high byte) cleared by writing ones.
const STATUS_W1C: u8 = 0xf9;

/// Who a function is. PCI ids as QEMU's machine has them; the subsystem defaults to 1af4:1100.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    /// Vendor id.
    pub vendor: u16,
    /// Device id.
    pub device: u16,
    /// Revision id.
    pub revision: u8,
    /// Class, subclass and programming interface: `0xCCSSPP`.
    pub class: u32,
    /// Subsystem vendor and id; zeros where the hardware has none.
    pub subsystem: (u16, u16),
}

/// The subsystem ids of QEMU's devices, which Windows installations bind to.
pub const QEMU_SUBSYSTEM: (u16, u16) = (0x1af4, 0x1100);

/// What a BAR decodes.
#[derive(Clone, Debug)]
pub enum Window {
    /// A region of the device, by index.
    Region(usize),
    /// Host memory that the guest reaches directly.
    Ram(RamBlock),
    /// Host memory that the guest reads directly; writes are dropped.
    Rom(RamBlock),
}

/// A window at its place.
#[derive(Clone, Debug)]
pub struct Placement {
    /// What.
    pub window: Window,
    /// First port or guest-physical address.
    pub address: u64,
}

/// What the ROM's base address register counts as.
const ROM_BAR: u8 = 6;

/// Kind of a base address register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BarKind {
    /// I/O ports.
    Io,
    /// 32-bit memory.
    Mem32 {
        /// Reads have no side effects.
        prefetch: bool,
    },
    /// 64-bit memory; takes the next BAR too.
    Mem64 {
        /// Reads have no side effects.
        prefetch: bool,
    },
}

struct Bar {
    kind: BarKind,
    len: u64,
    window: Window,
}

/// A function's configuration space: 256 bytes, which of them the guest may write, and the BARs.
pub struct PciConfig {
    bytes: [u8; 256],
    writable: [u8; 256],
    clearable: [u8; 256],
    initial: [u8; 256],
    bars: [Option<Bar>; 6],
    rom: Option<Bar>,
    master: Arc<AtomicBool>,
    line: IrqLine,
    intx: bool,
    /// [`PciConfig::hold_intx`].
    held: bool,
    msi: Option<Msi>,
    msix: Option<Msix>,
}

/// Saved form of a [`PciConfig`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PciState {
    #[serde(with = "serde_bytes")]
    bytes: Vec<u8>,
    intx: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    msix: Option<MsixState>,
}

/// Saved form of a function that has no state beside its configuration space.
#[derive(Serialize, Deserialize)]
struct Alone {
    pci: PciState,
}

impl PciConfig {
    /// The header of `identity`, with the command register's usual bits writable.
    pub fn new(identity: Identity) -> PciConfig {
        let mut config = PciConfig {
            bytes: [0; 256],
            writable: [0; 256],
            clearable: [0; 256],
            initial: [0; 256],
            bars: Default::default(),
            rom: None,
            master: Arc::default(),
            line: IrqLine::unconnected(),
            intx: false,
            held: false,
            msi: None,
            msix: None,
        };
        config.set_u16(reg::VENDOR, identity.vendor);
        config.set_u16(reg::DEVICE, identity.device);
        config.set(reg::REVISION, &[identity.revision]);
        config.set(reg::CLASS, &identity.class.to_le_bytes()[..3]);
        config.set_u16(reg::SUBSYSTEM_VENDOR, identity.subsystem.0);
        config.set_u16(reg::SUBSYSTEM, identity.subsystem.1);
        let commands =
            command::IO | command::MEMORY | command::MASTER | command::SERR | command::INTX_DISABLE;
        config.allow(reg::COMMAND, &commands.to_le_bytes());
        config.allow(reg::CACHE_LINE, &[0xff]);
        config.allow(reg::INTERRUPT_LINE, &[0xff]);
        config.clearable[reg::STATUS as usize + 1] = STATUS_W1C;
        config
    }

    /// Sets bytes and makes them what a reset brings back.
    pub fn set(&mut self, at: u16, bytes: &[u8]) {
        for (at, &byte) in (usize::from(at)..256).zip(bytes) {
            self.bytes[at] = byte;
            self.initial[at] = byte;
        }
    }
    /// A little-endian 16-bit value, likewise.
    pub fn set_u16(&mut self, at: u16, value: u16) {
        self.set(at, &value.to_le_bytes());
    }
    /// Lets the guest write the bits of `mask`.
    pub fn allow(&mut self, at: u16, mask: &[u8]) {
        for (at, &mask) in (usize::from(at)..256).zip(mask) {
            self.writable[at] = mask;
        }
    }
    /// Lets the guest clear bits of `mask` by writing ones.
    pub fn allow_clear(&mut self, at: u16, mask: &[u8]) {
        for (at, &mask) in (usize::from(at)..256).zip(mask) {
            self.clearable[at] = mask;
        }
    }
    /// Makes this the first of several functions of its device.
    pub fn multifunction(&mut self) {
        self.set(reg::HEADER_TYPE, &[0x80]);
    }
    /// INTx on `pin` (1 is INTA) over `line`.
    pub fn connect(&mut self, pin: u8, line: IrqLine) {
        self.set(reg::INTERRUPT_PIN, &[pin]);
        self.line = line;
    }
    /// Base address register `index` (0-5) of `len` bytes, a power of two.
    pub fn bar(&mut self, index: usize, kind: BarKind, len: u64, window: Window) {
        let smallest = if kind == BarKind::Io { 4 } else { 16 };
        assert!(len.is_power_of_two() && len >= smallest, "a BAR's length is a power of two");
        let at = reg::BAR0 + 4 * index as u16;
        let flags = match kind {
            BarKind::Io => 1,
            BarKind::Mem32 { prefetch } => u8::from(prefetch) << 3,
            BarKind::Mem64 { prefetch } => 4 | u8::from(prefetch) << 3,
        };
        let mask = !(len - 1);
        self.set(at, &[flags]);
        match kind {
            BarKind::Mem64 { .. } => self.allow(at, &mask.to_le_bytes()),
            _ => self.allow(at, &(mask as u32).to_le_bytes()),
        }
        self.bars[index] = Some(Bar { kind, len, window });
    }
    /// Expansion ROM of `len` bytes, a power of two of at least 2 KiB.
    pub fn rom(&mut self, len: u64, rom: RamBlock) {
        assert!(len.is_power_of_two() && len >= 2048, "a ROM's length is a power of two");
        let mask = (!(len as u32 - 1) & !0x7fe) | 1;
        self.allow(reg::ROM, &mask.to_le_bytes());
        self.rom = Some(Bar { kind: BarKind::Mem32 { prefetch: false }, len, window: Window::Rom(rom) });
    }
    /// The bus master bit, for [`crate::dma::Dma::gated`].
    pub fn master(&self) -> Arc<AtomicBool> {
        self.master.clone()
    }

    /// A byte as it stands.
    pub fn u8(&self, at: u16) -> u8 {
        self.bytes.get(usize::from(at)).copied().unwrap_or(0xff)
    }
    /// A little-endian 16-bit value as it stands.
    pub fn u16(&self, at: u16) -> u16 {
        u16::from_le_bytes([self.u8(at), self.u8(at.wrapping_add(1))])
    }
    /// A little-endian 32-bit value as it stands.
    pub fn u32(&self, at: u16) -> u32 {
        u32::from(self.u16(at)) | u32::from(self.u16(at.wrapping_add(2))) << 16
    }
    /// Changes a byte as the hardware does, without touching what a reset brings back.
    pub fn poke(&mut self, at: u16, value: u8) {
        if let Some(byte) = self.bytes.get_mut(usize::from(at)) {
            *byte = value;
        }
    }
    /// The command register.
    pub fn command(&self) -> u16 {
        self.u16(reg::COMMAND)
    }

    /// A guest read. Beyond the 256 bytes: all ones.
    pub fn read(&self, at: u16, data: &mut [u8]) {
        for (at, byte) in (usize::from(at)..256).zip(data) {
            *byte = self.bytes[at];
        }
    }

    /// A guest write; true if [`placements`](PciConfig::placements) may have changed.
    pub fn write(&mut self, at: u16, data: &[u8]) -> bool {
        let at = usize::from(at);
        for (at, &value) in (at..256).zip(data) {
            let (writable, clearable) = (self.writable[at], self.clearable[at]);
            let kept = self.bytes[at] & !writable & !(clearable & value);
            self.bytes[at] = kept | (value & writable);
        }
        let touches =
            |first: u16, len: usize| at < usize::from(first) + len && usize::from(first) < at + data.len();
        self.follow_msi();
        self.follow_msix();
        self.follow_command();
        touches(reg::COMMAND, 2) || touches(reg::BAR0, 24) || touches(reg::ROM, 4)
    }

    fn follow_command(&mut self) {
        let command = self.command();
        self.master.store(command & command::MASTER != 0, Ordering::Release);
        let silent = command & command::INTX_DISABLE != 0 || self.messages_enabled() || self.held;
        self.line.set(self.intx && !silent);
    }

    /// Keeps the line low whatever INTx is, or no longer. No part of the saved state, and no reset changes it: only who
    /// calls this does.
    pub fn hold_intx(&mut self, held: bool) {
        self.held = held;
        self.follow_command();
    }

    /// Drives INTx: the status bit, and the line unless it is disabled or messages are used instead.
    pub fn set_intx(&mut self, level: bool) {
        self.intx = level;
        let status = &mut self.bytes[reg::STATUS as usize];
        *status = (*status & !STATUS_INTX) | if level { STATUS_INTX } else { 0 };
        self.follow_command();
    }

    /// Back to the initial bytes; BARs decode nothing.
    pub fn reset(&mut self) {
        self.bytes = self.initial;
        if let Some(msix) = &mut self.msix {
            msix.reset();
        }
        self.set_intx(false);
    }

    /// Where the BARs are now: only those that are enabled and have a usable address.
    pub fn placements(&self) -> Vec<Placement> {
        self.windows()
            .filter_map(|(_, bar, address)| Some((bar, address?)))
            .map(|(bar, address)| Placement { window: bar.window.clone(), address })
            .collect()
    }

    /// What BARs there are: number (6 is the ROM), kind, bytes, and where they are now, if they are enabled
    /// and have a usable address.
    pub fn bars(&self) -> impl Iterator<Item = (u8, BarKind, u64, Option<u64>)> {
        self.windows().map(|(index, bar, address)| (index, bar.kind, bar.len, address))
    }

    fn windows(&self) -> impl Iterator<Item = (u8, &Bar, Option<u64>)> {
        let command = self.command();
        let bars = self.bars.iter().zip(0..).filter_map(|(bar, index)| Some((index, bar.as_ref()?)));
        let bars = bars.map(move |(index, bar)| {
            let at = reg::BAR0 + 4 * u16::from(index);
            let raw = u64::from(self.u32(at));
            let (enabled, address, limit) = match bar.kind {
                BarKind::Io => (command::IO, raw & !3, 0xffff),
                BarKind::Mem32 { .. } => (command::MEMORY, raw & !15, 0xffff_ffff),
                BarKind::Mem64 { .. } => {
                    (command::MEMORY, (raw | u64::from(self.u32(at + 4)) << 32) & !15, (1 << 52) - 1)
                }
            };
            (index, bar, Self::usable(bar, command & enabled != 0, address, limit))
        });
        let rom = self.rom.as_ref().map(|rom| {
            let raw = self.u32(reg::ROM);
            let enabled = command & command::MEMORY != 0 && raw & 1 != 0;
            (ROM_BAR, rom, Self::usable(rom, enabled, u64::from(raw & !0x7ff), 0xffff_ffff))
        });
        bars.chain(rom)
    }

    /// The address, if the BAR answers there.
    fn usable(bar: &Bar, enabled: bool, address: u64, limit: u64) -> Option<u64> {
        let last = address.checked_add(bar.len - 1);
        // Address 0 is an unassigned BAR; the top of the space is a BAR that is being sized.
        let usable = address != 0 && last.is_some_and(|last| last < limit);
        let whole_pages = matches!(bar.window, Window::Region(_)) || address.is_multiple_of(PAGE);
        (enabled && usable && whole_pages).then_some(address)
    }

    /// For the device's saved state.
    pub fn save(&self) -> PciState {
        let msix = self.msix.as_ref().map(Msix::save);
        PciState { bytes: self.bytes.to_vec(), intx: self.intx, msix }
    }

    /// Takes over a saved configuration. It must be of the same function. No message is sent.
    pub fn load(&mut self, state: &PciState) -> Result<(), StateError> {
        let PciState { bytes, intx, msix } = state;
        valid(bytes.len() == 256, "a configuration space has 256 bytes")?;
        valid(bytes[..4] == self.initial[..4], "the PCI ids differ")?;
        self.bytes.copy_from_slice(bytes);
        match (&mut self.msix, msix) {
            (Some(msix), Some(state)) => msix.load(state)?,
            // An older build saved it, which had no MSI-X here.
            (Some(msix), None) => msix.reset(),
            (None, state) => valid(state.is_none(), "the function has no MSI-X")?,
        }
        self.set_intx(*intx);
        Ok(())
    }

    /// The whole saved state of a function that has none beside its configuration space.
    pub fn save_alone(&self, kind: &'static str, version: u16) -> Result<Saved, StateError> {
        Saved::encode(kind, version, &Alone { pci: self.save() })
    }

    /// Takes over what [`save_alone`](PciConfig::save_alone) gave.
    pub fn load_alone(&mut self, saved: &Saved, kind: &'static str, known: u16) -> Result<(), StateError> {
        let Alone { pci } = saved.decode(kind, known)?;
        self.load(&pci)
    }

    /// Adds what a person wants to know of the function.
    pub fn inspect(&self, node: &mut Node) {
        node.value("id", format_args!("{:04x}:{:04x}", self.u16(reg::VENDOR), self.u16(reg::DEVICE)));
        node.hex("command", self.command()).hex("status", self.u16(reg::STATUS));
        for (index, bar) in self.bars.iter().enumerate() {
            let Some(Bar { kind, len, .. }) = bar else { continue };
            let raw = self.u32(reg::BAR0 + 4 * index as u16);
            node.value(&format!("bar {index}"), format_args!("{raw:#x}, {len:#x} bytes, {kind:?}"));
        }
        if let Some(Bar { len, .. }) = self.rom {
            node.value("rom", format_args!("{:#x}, {len:#x} bytes", self.u32(reg::ROM)));
        }
        node.value("intx", self.intx).value("line", self.line.level());
        if self.msi.is_some() {
            self.inspect_msi(node.child("msi"));
        }
        if self.msix.is_some() {
            self.inspect_msix(node.child("msix"));
        }
    }
}
