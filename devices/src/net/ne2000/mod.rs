//! NE2000 on PCI: Realtek's RTL8029, a DP8390 with packet memory of its own (QEMU's `ne2k_pci`).
//!
//! Documents: National's DP8390D data sheet; Realtek's RTL8029AS specification. A packet goes through the card's
//! memory: the driver moves it by a data port ("remote DMA"), the card between memory and wire ("local DMA"). The
//! received ones lie in a ring of pages of 256 bytes, each behind a header of four.
//!
//! Where it differs from QEMU: the station's address is that of PAR, not of the PROM; a stop is shown by RST; a packet
//! that the host does not take yet is still being sent, and TXP shows it.
//!
//! Left out: the send command (remote DMA of a received packet by itself), collisions, tallies and the FIFO, received
//! packets while the card is in loopback, the EEPROM behind page 3.

pub mod model;
mod registers;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::net::{Accepts, MAX_FRAME, MIN_FRAME, NetBackend, Nic, RxFilter, format_mac};
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Wake, Wiring};
use hypervisor::Timer;

use super::held_interrupt::HeldInterrupt;
use crate::board::NicConfig;
use registers::Registers;
use spec::{Command, Interrupts, MEMORY, MEMORY_LEN, PROM_LEN};

/// Bytes of a page.
const PAGE: usize = 256;
/// Bytes of a received packet's header.
const HEADER: usize = 4;
/// The check sequence, which counts as part of a received packet.
const FCS: usize = 4;
/// The longest packet that is received.
const LONGEST: usize = 1518;
/// The longest that is sent: six pages, which is where drivers put one.
const LONGEST_SENT: usize = 1536;
/// Most packets that come in one after the other. Linux's driver reads nine for an interrupt, then takes PRX back and
/// does not look whether there are more: on its wire of 10 Mbit/s there never are.
const BURST: u32 = 8;
/// Most packets of one call, wanted or not; then others have their turn.
const BUDGET: u32 = 64;
/// After so many nanoseconds.
const TURN: u64 = 50_000;
/// The timer of that.
const TIMER_TURN: u32 = 0;
/// The one that ends the time in which the interrupt is held.
const TIMER_HELD: u32 = 1;

/// The card.
pub struct Ne2000 {
    name: String,
    pci: PciConfig,
    regions: [Region; 1],
    backend: Arc<dyn NetBackend>,
    wiring: Wiring,
    mac: [u8; 6],
    registers: Registers,
    /// The packet memory.
    memory: Box<[u8]>,
    cable: bool,
    /// When packets go on to be looked at that were too many for one call.
    turn: Option<u64>,
    timer: Timer,
    /// Between [`Device::quiesce`] and [`Device::resume`].
    quiet: bool,
    held: HeldInterrupt,
    /// A packet on its way; empty between calls.
    frame: Vec<u8>,
}

impl Ne2000 {
    /// A card with that cable and address.
    pub fn new(name: &str, cable: NicConfig, line: IrqLine, wiring: &Wiring) -> Ne2000 {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: 0,
            class: 0x02_00_00,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(0, BarKind::Io, spec::PORTS_LEN, Window::Region(0));
        pci.connect(1, line);
        let NicConfig { backend, mac } = cable;
        Ne2000 {
            name: name.to_owned(),
            pci,
            regions: [Region::floating("ports", Space::Pio, spec::PORTS_LEN)],
            backend,
            wiring: wiring.clone(),
            mac,
            registers: Registers::default(),
            memory: vec![0; MEMORY_LEN].into(),
            cable: true,
            turn: None,
            timer: wiring.timer(TIMER_TURN),
            quiet: false,
            held: HeldInterrupt::new(wiring, TIMER_HELD),
            frame: Vec::with_capacity(MAX_FRAME),
        }
    }

    /// Whether the guest's drivers may be suspended when it is saved.
    pub fn suspends(&mut self, suspends: bool) {
        self.held.applies(suspends);
    }

    /// A byte of the PROM: each of its first 16 twice, so that words hold one; the address, and `W` for 16 bits.
    fn prom(&self, at: usize) -> u8 {
        match at / 2 {
            byte @ 0..6 => self.mac[byte],
            14 | 15 => 0x57,
            _ => 0,
        }
    }

    /// A byte of the card's memory.
    fn peek(&self, address: u16) -> u8 {
        if usize::from(address) < PROM_LEN {
            return self.prom(address.into());
        }
        let at = usize::from(address.wrapping_sub(MEMORY));
        self.memory.get(at).copied().unwrap_or(0xff)
    }

    /// Changes one; the PROM stays.
    fn poke(&mut self, address: u16, value: u8) {
        if let Some(byte) = self.memory.get_mut(usize::from(address.wrapping_sub(MEMORY))) {
            *byte = value;
        }
    }

    /// The data port is read.
    fn data_read(&mut self, out: &mut [u8]) {
        let words = self.registers.dcr & spec::DCR_WTS != 0;
        if out.len() == 1 && words {
            // The upper half of the word is lost.
            out[0] = self.peek(self.registers.remote());
            self.registers.advance(2);
            return;
        }
        for byte in out {
            *byte = self.peek(self.registers.remote());
            self.registers.advance(1);
        }
    }

    /// It is written.
    fn data_write(&mut self, data: &[u8]) {
        let words = self.registers.dcr & spec::DCR_WTS != 0;
        if let (&[low], true) = (data, words) {
            for byte in [low, 0] {
                self.poke(self.registers.remote(), byte);
                self.registers.advance(1);
            }
            return;
        }
        for &byte in data {
            self.poke(self.registers.remote(), byte);
            self.registers.advance(1);
        }
    }

    fn read_byte(&mut self, offset: u64) -> u8 {
        match offset {
            0..0x10 => self.registers.read(offset),
            spec::RESET_FIRST..=spec::RESET => {
                self.registers.stop();
                0xff
            }
            _ => 0xff,
        }
    }

    fn write_byte(&mut self, offset: u64, value: u8) {
        match offset {
            0..0x10 => self.registers.write(offset, value),
            spec::RESET_FIRST..=spec::RESET => self.registers.stop(),
            _ => {}
        }
    }

    /// Sends the packet that the card has been told to.
    fn transmit(&mut self) {
        if self.quiet || !self.registers.cr.contains(Command::TXP) {
            return;
        }
        let len = usize::from(self.registers.tbcr);
        let from = u16::from(self.registers.tpsr) << 8;
        let looped = self.registers.tcr & spec::TCR_LB != 0;
        // In loopback, or with no cable, it goes nowhere; nor does what is no Ethernet packet.
        let carried = !looped && self.cable && len <= LONGEST_SENT;
        let mut frame = std::mem::take(&mut self.frame);
        frame.clear();
        if carried {
            frame.extend((0..len).map(|at| self.peek(from.wrapping_add(at as u16))));
        }
        let sent = !carried || self.backend.send(&frame);
        self.frame = frame;
        if sent {
            self.registers.sent();
        }
    }

    /// BNRY as a page of the ring; none: no driver has put it there yet. Linux and others keep it one page before the
    /// packet that they read next and do not go round: before the ring's first page it is PSTART - 1.
    fn boundary(&self) -> Option<u8> {
        let Registers { pstart, pstop, bnry, .. } = self.registers;
        if bnry.wrapping_add(1) == pstart {
            return pstop.checked_sub(1);
        }
        (pstart..pstop).contains(&bnry).then_some(bnry)
    }

    /// Bytes of the ring that the card may fill.
    fn room(&self) -> usize {
        let Registers { pstart, pstop, curr, .. } = self.registers;
        let ring = usize::from(pstop.saturating_sub(pstart)) * PAGE;
        let Some(bnry) = self.boundary().filter(|_| (pstart..pstop).contains(&curr)) else { return 0 };
        let behind = (usize::from(curr) * PAGE + ring - usize::from(bnry) * PAGE) % ring.max(1);
        ring - behind
    }

    fn listens(&self) -> bool {
        let Registers { cr, rcr, tcr, .. } = self.registers;
        let listens = rcr & spec::rcr::MON == 0 && tcr & spec::TCR_LB == 0;
        !cr.contains(Command::STP) && listens && self.cable && !self.quiet
    }

    /// Whether the longest packet fits.
    fn has_room(&self) -> bool {
        self.room() > LONGEST + HEADER + FCS + PAGE
    }

    /// The driver has taken all packets out of the ring.
    fn is_empty(&self) -> bool {
        let Registers { pstart, pstop, curr, bnry, .. } = self.registers;
        let behind = if bnry.saturating_add(1) >= pstop { pstart } else { bnry + 1 };
        curr == behind || curr == bnry
    }

    /// Whether the driver knows nothing of packets in the ring, or has taken all. One that comes between a driver's
    /// last look at the ring and its taking PRX back would wait there for the next.
    fn is_rested(&self) -> bool {
        let Registers { isr, imr, .. } = self.registers;
        !isr.contains(Interrupts::PRX) || !imr.contains(Interrupts::PRX) && self.is_empty()
    }

    /// A driver that takes PRX back and leaves packets is told again by the next one that comes, on hardware by OVW if
    /// there is no room. Here that one waits outside, so PRX tells of those that are left.
    fn remind(&mut self) {
        if self.listens() && self.boundary().is_some() && !self.has_room() && !self.is_empty() {
            self.registers.isr |= Interrupts::PRX;
        }
    }

    /// Fetches packets while there are some and room for them.
    fn receive(&mut self) {
        if !self.is_rested() {
            return;
        }
        let mut burst = 0;
        for _ in 0..BUDGET {
            if burst == BURST || !self.listens() {
                return;
            }
            if !self.has_room() {
                return self.remind();
            }
            let mut frame = std::mem::take(&mut self.frame);
            let came = self.backend.receive(&mut frame);
            if came {
                if frame.len() < MIN_FRAME {
                    frame.resize(MIN_FRAME, 0);
                }
                burst += u32::from(self.deliver(&frame));
            }
            self.frame = frame;
            if !came {
                return;
            }
        }
        self.go_on();
    }

    /// Packets for others were too many for one call.
    fn go_on(&mut self) {
        let turn = self.wiring.now().saturating_add(TURN);
        self.turn = Some(turn);
        self.timer.arm(turn);
    }

    /// Puts a packet into the ring, if it is wanted.
    fn deliver(&mut self, frame: &[u8]) -> bool {
        let Some(group) = frame.first_chunk().and_then(|to| self.registers.lets_in(*to)) else {
            return false;
        };
        if frame.len() > LONGEST {
            return false;
        }
        let Registers { pstart, pstop, curr, .. } = self.registers;
        let whole = frame.len() + FCS;
        let pages = (whole + HEADER).div_ceil(PAGE) as u16;
        let ring = u16::from(pstop - pstart);
        let next = pstart + ((u16::from(curr - pstart) + pages) % ring) as u8;
        let status = spec::RSR_PRX | if group { spec::RSR_PHY } else { 0 };
        let [low, high] = (whole as u16).to_le_bytes();
        let (start, end) = (u16::from(pstart) << 8, u16::from(pstop) << 8);
        let mut at = u16::from(curr) << 8;
        for &byte in [status, next, low, high].iter().chain(frame).chain(&[0; FCS]) {
            self.poke(at, byte);
            at = if at + 1 == end { start } else { at + 1 };
        }
        self.registers.received(status, next);
        true
    }

    /// Whatever can go on goes on.
    fn kick(&mut self) {
        self.transmit();
        self.receive();
        self.settle();
    }

    /// The driver has touched the card: the pin is as it is to be.
    fn touched(&mut self) {
        self.settle();
        self.held.release(&mut self.pci);
    }

    /// The pin is as it is to be.
    fn settle(&mut self) {
        let level = self.registers.asks();
        if level != self.pin() {
            self.pci.set_intx(level);
        }
    }

    /// What the pin was told last.
    fn pin(&self) -> bool {
        self.pci.u16(devices_core::pci::reg::STATUS) & 1 << 3 != 0
    }
}

/// Whether an access is to the data port.
fn is_data(offset: u64) -> bool {
    (spec::DATA..=spec::DATA_END).contains(&offset)
}

impl Device for Ne2000 {
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
        if is_data(at.offset) {
            self.data_read(data);
        } else {
            for (byte, offset) in data.iter_mut().zip(at.offset..) {
                *byte = self.read_byte(offset);
            }
        }
        self.touched();
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        if is_data(at.offset) {
            self.data_write(data);
            self.touched();
        } else {
            for (&byte, offset) in data.iter().zip(at.offset..) {
                self.write_byte(offset, byte);
            }
            self.kick();
            self.touched();
        }
        Io::Done
    }
    fn read_run(&mut self, at: At, size: usize, out: &mut [u8]) -> usize {
        if !is_data(at.offset) {
            return 0;
        }
        let len = out.len() / size * size;
        out[..len].chunks_mut(size).for_each(|item| self.data_read(item));
        self.touched();
        len
    }
    fn write_run(&mut self, at: At, size: usize, data: &[u8]) -> usize {
        if !is_data(at.offset) {
            return 0;
        }
        let len = data.len() / size * size;
        data[..len].chunks(size).for_each(|item| self.data_write(item));
        self.touched();
        len
    }
    fn wake(&mut self, why: Wake) {
        if why == Wake::Timer(TIMER_HELD) {
            return self.held.release(&mut self.pci);
        }
        if let (Wake::Timer(_), Some(turn)) = (why, self.turn) {
            if turn > self.wiring.now() {
                return;
            }
            self.turn = None;
        }
        self.kick();
    }
    fn reset(&mut self) {
        self.pci.reset();
        self.registers = Registers::default();
        self.turn = None;
        self.timer.cancel();
        self.quiet = false;
    }
    fn quiesce(&mut self) -> bool {
        self.quiet = true;
        self.held.hold(&mut self.pci);
        true
    }
    fn resume(&mut self) {
        self.quiet = false;
        self.held.resumed(self.wiring.now());
        self.kick();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)?;
        if let Some(turn) = self.turn {
            self.timer.arm(turn);
        }
        self.held.hold(&mut self.pci);
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        node.value("mac", format_mac(self.mac)).value("cable", if self.cable { "in" } else { "out" });
        self.registers.inspect(node);
        node.value("room", self.room());
    }
}

impl Nic for Ne2000 {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }
    fn link(&self) -> bool {
        self.cable
    }
    fn set_link(&mut self, up: bool) {
        // Nothing of the card shows it.
        self.cable = up;
        self.kick();
    }
    fn rx_filter(&self) -> RxFilter {
        let Registers { rcr, mar, par, .. } = self.registers;
        let on = |bit: u8| rcr & bit != 0;
        let groups = if on(spec::rcr::PRO) || on(spec::rcr::AM) && mar == [0xff; 8] {
            Accepts::All
        } else if on(spec::rcr::AM) && mar != [0; 8] {
            Accepts::Normal
        } else {
            Accepts::None
        };
        RxFilter {
            promiscuous: on(spec::rcr::PRO),
            unicast: if on(spec::rcr::PRO) { Accepts::All } else { Accepts::Normal },
            multicast: groups,
            broadcast: on(spec::rcr::AB) || on(spec::rcr::PRO),
            vlan: Accepts::All,
            main_mac: par,
            unicast_table: Vec::new(),
            multicast_table: Vec::new(),
            vlan_table: Vec::new(),
        }
    }
}
