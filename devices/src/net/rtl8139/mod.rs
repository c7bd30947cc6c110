//! Realtek RTL8139C+: 100 Mbit/s Ethernet on PCI (Realtek's datasheets of the RTL8139C(L)+ and the RTL8139D(L);
//! QEMU's `rtl8139` where they are silent).
//!
//! The card has two faces. As an RTL8139C it copies what comes into one ring of bytes and sends out of four
//! buffers; in C+ mode both ways go over rings of descriptors, with checksums, VLAN tags and segmentation done by
//! the card. `registers` is what the guest sees, `tx` and `rx` move packets, `phy` is the link, `spec` has the
//! names.
//!
//! The backend holds what comes in until the card takes it: while the receiver is off or the link is down packets
//! are thrown away, as QEMU does; while the guest has no room the card holds one, says so by RXOVW once, and leaves
//! the rest where they are. So nothing is lost for want of room, and MPC counts only what could never fit.
//!
//! Kept as the datasheet has it where QEMU differs: a software reset (CR) leaves station address, hash table,
//! CONFIG registers and PHY as they are; a write of RCR leaves the Rx ring's pointers; AAP lets in what is to one
//! station, and groups only by AM; C+ mode judges checksums of what it receives, and spreads a packet over
//! descriptors. A descriptor or buffer that is not RAM is a master abort, SERR.
//!
//! Left out: the boot ROM, power management and wake-on-LAN, early interrupts and thresholds, collisions and whatever
//! else goes wrong on a wire, the C+ ring of high priority, MTPS (stored).

mod filter;
pub mod model;
mod phy;
mod registers;
mod rx;
mod spec;
mod state;
#[cfg(test)]
mod tests;
mod tx;

use std::sync::Arc;

use devices_core::dma::{Dma, DmaError};
use devices_core::irq::IrqLine;
use devices_core::model::Model;
use devices_core::net::{NetBackend, Nic, RxFilter};
use devices_core::pci::{BarKind, Identity, PciConfig, QEMU_SUBSYSTEM, Window, reg as pci_reg};
use devices_core::{At, Device, Io, Node, Region, Saved, Space, StateError, Timer, Wake, Wiring};
use hypervisor::GuestRam;

use super::eeprom93::{Eeprom93c46, WORDS};
use super::held_interrupt::HeldInterrupt;
use crate::board::NicConfig;
use phy::Phy;
use registers::Registers;
use rx::{Receiver, Scratch};
use spec::int;
use tx::{Spare, Transmitter};

/// The number by which the backend wakes the card.
pub const CABLE: u32 = 0;

/// TimerInt's timer.
const TIMER_INT: u32 = 0;
/// Wakes the card to go on with packets that one call left.
const TIMER_GO_ON: u32 = 1;
/// Ends the time in which the interrupt is held.
const TIMER_HELD: u32 = 2;

/// Most packets that one call moves in one direction.
const BURST: usize = 64;

/// A timer and what it is armed for, which is saved.
struct Alarm {
    timer: Timer,
    deadline: Option<u64>,
}

impl Alarm {
    fn new(wiring: &Wiring, number: u32) -> Alarm {
        Alarm { timer: wiring.timer(number), deadline: None }
    }
    fn set(&mut self, deadline: Option<u64>) {
        if self.deadline == deadline {
            return;
        }
        self.deadline = deadline;
        match deadline {
            Some(deadline) => self.timer.arm(deadline),
            None => self.timer.cancel(),
        }
    }
    /// Whether its time has come; if so it is off.
    fn due(&mut self, now: u64) -> bool {
        let due = self.deadline.is_some_and(|deadline| deadline <= now);
        if due {
            self.set(None);
        }
        due
    }
}

/// What the card has counted: the datasheet's tally counters, and bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Counters {
    tx_ok: u64,
    rx_ok: u64,
    tx_errors: u64,
    /// Let in by no filter, or without a place that would do.
    rx_errors: u32,
    missed: u16,
    rx_station: u64,
    rx_broadcast: u64,
    rx_multicast: u32,
    tx_aborted: u16,
    tx_bytes: u64,
    rx_bytes: u64,
    /// Thrown away while the receiver was off or the link down.
    dropped: u64,
}

/// The card.
pub struct Rtl8139 {
    name: String,
    pci: PciConfig,
    dma: Dma,
    backend: Arc<dyn NetBackend>,
    wiring: Wiring,
    /// The address that it was made with.
    mac: [u8; 6],
    registers: Registers,
    phy: Phy,
    eeprom: Eeprom93c46,
    tx: Transmitter,
    rx: Receiver,
    scratch: Scratch,
    spare: Spare,
    counters: Counters,
    timer_int: Alarm,
    go_on: Alarm,
    /// Nothing is moved: the guest is being saved.
    quiet: bool,
    held: HeldInterrupt,
    regions: [Region; 2],
}

/// What QEMU's EEPROM holds: the id of its layout, the PCI ids, the station address.
fn eeprom(mac: [u8; 6]) -> [u16; WORDS] {
    let mut words = [0; WORDS];
    words[..3].copy_from_slice(&[0x8129, spec::VENDOR, spec::DEVICE]);
    for (word, pair) in words[7..].iter_mut().zip(mac.chunks(2)) {
        *word = u16::from_le_bytes([pair[0], pair[1]]);
    }
    words
}

impl Rtl8139 {
    /// A card on that cable, with its interrupt pin.
    pub fn new(name: &str, wiring: &Wiring, ram: GuestRam, inta: IrqLine, cable: NicConfig) -> Rtl8139 {
        let mut pci = PciConfig::new(Identity {
            vendor: spec::VENDOR,
            device: spec::DEVICE,
            revision: spec::REVISION,
            class: 0x02_00_00,
            subsystem: QEMU_SUBSYSTEM,
        });
        pci.bar(0, BarKind::Io, spec::REGISTERS_LEN, Window::Region(0));
        pci.bar(1, BarKind::Mem32 { prefetch: false }, spec::REGISTERS_LEN, Window::Region(1));
        // QEMU's has this pointer, and no list: the status register denies it.
        pci.set(pci_reg::CAPABILITIES, &[0xdc]);
        pci.connect(1, inta);
        let dma = Dma::gated(ram, pci.master());
        let NicConfig { backend, mac } = cable;
        let mut card = Rtl8139 {
            name: name.to_owned(),
            pci,
            dma,
            backend,
            wiring: wiring.clone(),
            mac,
            registers: Registers::default(),
            phy: Phy::default(),
            eeprom: Eeprom93c46::new(eeprom(mac)),
            tx: Transmitter::default(),
            rx: Receiver::default(),
            scratch: Scratch::default(),
            spare: Spare::default(),
            counters: Counters::default(),
            timer_int: Alarm::new(wiring, TIMER_INT),
            go_on: Alarm::new(wiring, TIMER_GO_ON),
            quiet: false,
            held: HeldInterrupt::new(wiring, TIMER_HELD),
            regions: [
                Region::floating("ports", Space::Pio, spec::REGISTERS_LEN),
                Region::floating("memory", Space::Mmio, spec::REGISTERS_LEN),
            ],
        };
        card.load_eeprom();
        card
    }

    /// Whether the guest's drivers may be suspended when it is saved.
    pub fn suspends(&mut self, suspends: bool) {
        self.held.applies(suspends);
    }

    /// The registers as the EEPROM has them.
    fn load_eeprom(&mut self) {
        let words = [7, 8, 9].map(|at| self.eeprom.word(at).to_le_bytes());
        self.registers = Registers { mar: self.registers.mar, ..Registers::default() };
        for (pair, word) in self.registers.idr.chunks_mut(2).zip(words) {
            pair.copy_from_slice(&word);
        }
        self.soft_reset();
    }

    /// CR.RST: transmitter, receiver, their pointers, interrupts and counters.
    fn soft_reset(&mut self) {
        self.registers.soft_reset();
        self.tx = Transmitter::default();
        self.rx = Receiver::default();
        self.counters = Counters::default();
        self.arm_timer();
        self.update_irq();
    }

    fn raise(&mut self, bits: u16) {
        self.registers.isr |= bits;
        self.update_irq();
    }

    fn update_irq(&mut self) {
        self.pci.set_intx(self.registers.isr & self.registers.imr & int::ALL != 0);
    }

    /// A transfer that the bus did not carry: a master abort, unless bus mastering is only off.
    fn bus_error(&mut self, error: DmaError) {
        if let DmaError::NotRam(_) = error {
            self.raise(int::SERR);
        }
    }

    /// Goes on in both directions as far as one call may.
    fn pump(&mut self) {
        if self.quiet {
            return;
        }
        let (sent_all, received_all) = (self.transmit(), self.receive());
        if !sent_all || !received_all {
            let now = self.wiring.now();
            self.go_on.set(Some(self.go_on.deadline.map_or(now, |deadline| deadline.min(now))));
        }
    }

    /// TCTR.
    fn ticks(&self) -> u32 {
        (self.wiring.now().saturating_sub(self.registers.timer_base) / spec::TICK) as u32
    }

    /// Arms the timer for when TCTR next comes to TimerInt; 0 is never.
    fn arm_timer(&mut self) {
        const ROUND: u64 = spec::TICK << 32;
        let Registers { timer_base, timer_int, .. } = self.registers;
        if timer_int == 0 {
            return self.timer_int.set(None);
        }
        let now = self.wiring.now();
        let round_began = now - now.saturating_sub(timer_base) % ROUND;
        let deadline = round_began.saturating_add(u64::from(timer_int) * spec::TICK);
        let passed = deadline <= now;
        self.timer_int.set(Some(if passed { deadline.saturating_add(ROUND) } else { deadline }));
    }

    /// Writes the tally counters to memory (datasheet, section "Dump Tally Counter").
    fn dump_counters(&mut self, address: u64) {
        let Counters { tx_ok, rx_ok, tx_errors, rx_errors, missed, .. } = self.counters;
        let Counters { rx_station, rx_broadcast, rx_multicast, tx_aborted, .. } = self.counters;
        let mut dump = Vec::with_capacity(64);
        for counter in [tx_ok, rx_ok, tx_errors] {
            dump.extend(counter.to_le_bytes());
        }
        dump.extend(rx_errors.to_le_bytes());
        dump.extend(missed.to_le_bytes());
        // Alignment errors, single and multiple collisions: there are none.
        dump.extend([0; 2 + 4 + 4]);
        dump.extend(rx_station.to_le_bytes());
        dump.extend(rx_broadcast.to_le_bytes());
        dump.extend(rx_multicast.to_le_bytes());
        dump.extend(tx_aborted.to_le_bytes());
        dump.extend([0; 2]);
        if let Err(error) = self.dma.write(address, &dump) {
            self.bus_error(error);
        }
    }
}

impl Nic for Rtl8139 {
    fn mac(&self) -> [u8; 6] {
        self.mac
    }
    fn link(&self) -> bool {
        self.phy.link
    }
    fn set_link(&mut self, up: bool) {
        if self.phy.link != up {
            self.phy.link = up;
            self.raise(int::LINK);
            self.pump();
        }
    }
    fn rx_filter(&self) -> RxFilter {
        self.registers.rx_filter()
    }
}

impl Device for Rtl8139 {
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
        self.read_registers(at.offset as u8, data);
        self.held.release(&mut self.pci);
        Io::Done
    }
    fn write(&mut self, at: At, data: &[u8]) -> Io {
        self.write_registers(at.offset as u8, data);
        self.held.release(&mut self.pci);
        Io::Done
    }
    fn wake(&mut self, why: Wake) {
        let now = self.wiring.now();
        match why {
            Wake::Timer(TIMER_INT) if self.timer_int.due(now) => {
                self.raise(int::TIMEOUT);
                self.arm_timer();
            }
            Wake::Timer(TIMER_GO_ON) if self.go_on.due(now) => self.pump(),
            Wake::Timer(TIMER_HELD) => self.held.release(&mut self.pci),
            Wake::Backend(_) => self.pump(),
            Wake::Timer(_) => {}
        }
    }
    fn reset(&mut self) {
        self.pci.reset();
        self.registers = Registers::default();
        self.phy = Phy { link: self.phy.link, ..Phy::default() };
        self.go_on.set(None);
        self.load_eeprom();
    }
    fn quiesce(&mut self) -> bool {
        self.quiet = true;
        self.held.hold(&mut self.pci);
        true
    }
    fn resume(&mut self) {
        self.quiet = false;
        self.held.resumed(self.wiring.now());
        self.pump();
    }
    fn pci(&mut self) -> Option<&mut PciConfig> {
        Some(&mut self.pci)
    }
    fn config_write(&mut self, reg: u16, data: &[u8]) -> bool {
        let was_master = self.dma.enabled();
        let moved = self.pci.write(reg, data);
        if !was_master && self.dma.enabled() {
            self.pump();
        }
        moved
    }
    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)?;
        self.held.hold(&mut self.pci);
        Ok(())
    }
    fn inspect(&self, node: &mut Node) {
        self.registers.inspect(node);
        self.phy.inspect(node);
        self.tx.inspect(node);
        self.rx.inspect(node);
        let Counters { tx_ok, tx_bytes, tx_errors, rx_ok, rx_bytes, rx_errors, missed, dropped, .. } =
            self.counters;
        node.value("sent", format_args!("{tx_ok} packets, {tx_bytes} bytes, {tx_errors} errors"));
        node.value(
            "received",
            format_args!("{rx_ok} packets, {rx_bytes} bytes, {rx_errors} errors, {missed} missed"),
        );
        node.value("dropped", dropped).hex("TCTR", self.ticks());
        self.pci.inspect(node.child("pci"));
    }
}
