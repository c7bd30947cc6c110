//! What the controllers do alike: the link, the way of frames between rings and the backend, the timer.
//!
//! [`Mac`] has the parts, which are the same in both. A card has one, and says by [`Controller`] what it does in its
//! own way.

use std::sync::Arc;

use devices_core::dma::Dma;
use devices_core::net::{MAX_FRAME, MIN_FRAME, NetBackend, RxFilter};
use devices_core::{Node, Wake, Wiring};
use hypervisor::Timer;

use super::phy::{NEGOTIATION, Phy, Wish};
use super::registers::Registers;
use super::ring::{Batch, Ring};
use super::spec::{Cause, mdic, rctl, reg, stat, status, tctl, txd};
use super::tx::Tx;
use super::{filter, rx, stats};
use crate::board::NicConfig;

/// The only timer's number.
const TIMER: u32 = 0;
/// When work that was too much for one call goes on, in nanoseconds.
const TURN: u64 = 50_000;
/// Most frames that one call receives; then others have their turn.
const RECEIVED: u32 = 64;
/// Likewise, most descriptors and frames of a queue that it sends.
const TRANSMITTED: u32 = 128;

/// The MAC: registers, rings, and what leads to the backend.
pub struct Mac {
    pub dma: Dma,
    pub backend: Arc<dyn NetBackend>,
    pub wiring: Wiring,
    /// The address that the card was made with.
    pub address: [u8; 6],
    pub registers: Registers,
    /// IOADDR.
    pub io_address: u32,
    /// Each queue's transmitter.
    pub tx: Box<[Tx]>,
    /// A frame that is being received; empty between calls.
    pub(super) frame: Vec<u8>,
    /// The cable is in.
    pub cable: bool,
    /// When negotiation is over.
    pub negotiated: Option<u64>,
    /// When work goes on that was too much for one call.
    pub turn: Option<u64>,
    pub(super) timer: Timer,
    /// When the timer fires; no later than it has to.
    pub(super) armed: Option<u64>,
    /// Between [`quiesce`](devices_core::Device::quiesce) and [`resume`](devices_core::Device::resume).
    pub quiet: bool,
}

impl Mac {
    /// One with so many queues for sending.
    pub fn new(cable: NicConfig, dma: Dma, registers: Registers, queues: usize, wiring: &Wiring) -> Mac {
        let NicConfig { backend, mac } = cable;
        Mac {
            dma,
            backend,
            wiring: wiring.clone(),
            address: mac,
            registers,
            io_address: 0,
            tx: (0..queues).map(|_| Tx::new()).collect(),
            frame: Vec::with_capacity(MAX_FRAME),
            cable: true,
            negotiated: None,
            turn: None,
            timer: wiring.timer(TIMER),
            armed: None,
            quiet: false,
        }
    }

    pub fn link_bit(&mut self, up: bool) {
        let value = self.registers.get(reg::STATUS) & !status::LU;
        self.registers.set(reg::STATUS, value | if up { status::LU } else { 0 });
    }

    /// CTRL.RST: what is under way is no more. The registers are the card's to reset, before.
    pub fn reset(&mut self) {
        self.tx.iter_mut().for_each(Tx::reset);
        self.turn = None;
        if self.cable && self.negotiated.is_none() {
            self.link_bit(true);
        }
    }

    /// The receiver is on and its frames have a way into memory.
    pub fn receives(&self) -> bool {
        self.registers.get(reg::RCTL) & rctl::EN != 0 && !self.quiet && self.dma.enabled()
    }

    /// What could not be done in this call goes on soon.
    fn go_on(&mut self) {
        self.turn = Some(self.wiring.now().saturating_add(TURN));
    }

    /// The timer fires then, or before: then the clock is looked at and it is armed anew. That is cheaper than moving
    /// it with every frame.
    fn arm(&mut self, interrupt: Option<u64>) {
        let next = [interrupt, self.negotiated, self.turn].into_iter().flatten().min();
        if let Some(next) = next.filter(|next| self.armed.is_none_or(|armed| *next < armed)) {
            self.armed = Some(next);
            self.timer.arm(next);
        }
    }
}

/// The value of a register as an access to it, or to its upper bytes, reads it.
pub fn read_lanes(value: u32, offset: u64, data: &mut [u8]) {
    let lanes = value >> (8 * (offset as u32 & 3));
    for (byte, value) in data.iter_mut().zip(lanes.to_le_bytes()) {
        *byte = value;
    }
}

/// What an access writes into a register. They take 32 bits, whichever of them it means.
pub fn written_word(data: &[u8]) -> u32 {
    data.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte))
}

/// A card, as what both do alike needs it.
pub trait Controller {
    fn mac(&self) -> &Mac;
    fn mac_mut(&mut self) -> &mut Mac;
    fn phy(&self) -> &Phy;
    fn phy_mut(&mut self) -> &mut Phy;
    /// Something happened.
    fn cause(&mut self, cause: Cause);
    /// After every call: interrupts and the timer as they are to be.
    fn settle(&mut self);
    /// When the guest is to be interrupted without anybody's call.
    fn interrupt_deadline(&self) -> Option<u64>;
    /// Negotiation takes its time.
    fn negotiates(&self) -> bool {
        true
    }
    /// The receiver is on, with a descriptor for a frame.
    fn can_receive(&self) -> bool;
    /// Puts a frame that is let in into memory; and its VLAN tag, if that was taken out of it.
    fn store(&mut self, frame: &[u8], tag: Option<u16>);
    /// A queue sends, as far as its own registers go.
    fn sends(&self, _queue: usize) -> bool {
        true
    }
    /// Whether a transmit descriptor with that command is written back.
    fn writes_back(&self, command: u32) -> bool;
    /// One was written back: told now, or when the delay timers say.
    fn tell_transmitted(&mut self, queue: usize, command: u32);

    // The link.

    fn link_down(&mut self) {
        self.mac_mut().link_bit(false);
        self.phy_mut().link_down();
    }

    /// What a write of MDIC asked for, and what it answers.
    fn mdic_written(&mut self, value: u32, (answer, wish): (u32, Wish)) {
        self.mac_mut().registers.set(reg::MDIC, answer);
        if wish == Wish::Negotiate && self.negotiates() {
            self.negotiate();
        }
        if value & mdic::INTERRUPT != 0 {
            self.cause(Cause::MDAC);
        }
    }

    /// Negotiation begins: there is no link till it is over.
    fn negotiate(&mut self) {
        self.link_down();
        let mac = self.mac_mut();
        mac.negotiated = Some(mac.wiring.now().saturating_add(NEGOTIATION));
    }

    /// Negotiation is over, if there was somebody to negotiate with.
    fn negotiation_ends(&mut self) {
        let mac = self.mac_mut();
        mac.negotiated = None;
        if mac.cable {
            mac.link_bit(true);
            self.phy_mut().complete();
            self.cause(Cause::LSC);
            self.receive();
        }
    }

    /// What [`Nic::set_link`](devices_core::net::Nic::set_link) does.
    fn plug_cable(&mut self, up: bool) {
        if self.mac().cable == up {
            return;
        }
        self.mac_mut().cable = up;
        let before = self.mac().registers.get(reg::STATUS);
        if !up {
            self.link_down();
        } else if self.negotiates() && self.phy().negotiates() && !self.phy().negotiated() {
            self.negotiate();
        } else {
            self.phy_mut().link_up();
            self.mac_mut().link_bit(true);
        }
        if self.mac().registers.get(reg::STATUS) != before {
            self.cause(Cause::LSC);
        }
        self.kick();
        self.settle();
    }

    /// What is sent comes back: by the PHY or by the controller.
    fn loops(&self) -> bool {
        self.phy().loops() || self.mac().registers.get(reg::RCTL) & rctl::LBM != 0
    }

    // The lifecycle.

    /// Whatever can go on goes on.
    fn kick(&mut self) {
        self.transmit();
        self.receive();
    }

    /// When there is something to do next a timer fires.
    fn arm(&mut self) {
        let interrupt = self.interrupt_deadline();
        self.mac_mut().arm(interrupt);
    }

    /// What [`Device::wake`](devices_core::Device::wake) does.
    fn woken(&mut self, why: Wake) {
        match why {
            Wake::Backend(_) => self.kick(),
            Wake::Timer(_) => {
                let mac = self.mac_mut();
                // It fires once for each time that it is armed.
                mac.armed = None;
                let now = mac.wiring.now();
                let due = |at: Option<u64>| at.is_some_and(|at| at <= now);
                let (negotiated, turn) = (due(mac.negotiated), due(mac.turn));
                if negotiated {
                    self.negotiation_ends();
                }
                if turn {
                    self.mac_mut().turn = None;
                    self.kick();
                }
            }
        }
        self.settle();
    }

    /// The rest of [`Device::reset`](devices_core::Device::reset), when the controller itself has been reset.
    fn power_on(&mut self) {
        if !self.mac().cable {
            self.link_down();
        }
        let mac = self.mac_mut();
        mac.io_address = 0;
        mac.quiet = false;
        mac.armed = None;
        mac.timer.cancel();
    }

    /// What [`Device::resume`](devices_core::Device::resume) does.
    fn go_on_again(&mut self) {
        self.mac_mut().quiet = false;
        self.kick();
        self.settle();
    }

    /// What both show of themselves, after what each has of its own.
    fn describe(&self, node: &mut Node) {
        let mac = self.mac();
        let waits = mac.tx.iter().any(|tx| tx.ready);
        node.value("tx", if waits { "waits for the backend" } else { "idle" });
        let phy: Vec<String> = self.phy().registers.iter().map(|value| format!("{value:04x}")).collect();
        node.value("phy", phy.join(" "));
        let counters = node.child("counters");
        let named = [
            ("received", stat::GPRC),
            ("transmitted", stat::GPTC),
            ("missed", stat::MPC),
            ("too_long", stat::ROC),
        ];
        for (name, offset) in named {
            counters.value(name, mac.registers.get(offset));
        }
    }

    /// What [`Nic::rx_filter`](devices_core::net::Nic::rx_filter) says.
    fn filter(&self) -> RxFilter {
        filter::describe(&self.mac().registers)
    }

    // The receiver.

    /// Fetches frames while there are some and room for them.
    fn receive(&mut self) {
        let linked = self.mac().registers.get(reg::STATUS) & status::LU != 0 && !self.loops();
        let mut budget = RECEIVED;
        while linked && self.can_receive() {
            if budget == 0 {
                return self.mac_mut().go_on();
            }
            budget -= 1;
            let mac = self.mac_mut();
            let mut frame = std::mem::take(&mut mac.frame);
            if !mac.backend.receive(&mut frame) {
                mac.frame = frame;
                return;
            }
            self.deliver(frame);
        }
    }

    /// What the transmitter sends comes back.
    fn loop_back(&mut self, sent: &[u8]) {
        let mac = self.mac_mut();
        if mac.registers.get(reg::RCTL) & rctl::EN != 0 {
            let mut frame = std::mem::take(&mut mac.frame);
            frame.clear();
            frame.extend_from_slice(sent);
            self.deliver(frame);
        }
    }

    /// A frame has come in. Gives its memory back.
    fn deliver(&mut self, mut frame: Vec<u8>) {
        if frame.len() < MIN_FRAME {
            frame.resize(MIN_FRAME, 0);
        }
        let registers = &mut self.mac_mut().registers;
        if rx::fits(registers, &frame) && filter::accepts(registers, &frame) {
            let tag = rx::stripped_tag(registers, &frame);
            match tag {
                Some(_) => {
                    frame.copy_within(0..12, 4);
                    self.store(&frame[4..], tag);
                }
                None => self.store(&frame, None),
            }
        }
        self.mac_mut().frame = frame;
    }

    // The transmitter.

    /// Sends what there is in all queues, as long as the backend takes it.
    fn transmit(&mut self) {
        (0..self.mac().tx.len()).for_each(|queue| self.transmit_queue(queue));
    }

    fn can_transmit(&self, queue: usize) -> bool {
        let (mac, ring) = (self.mac(), Ring::tx(queue));
        let count = ring.count(&mac.registers);
        // A tail beyond the ring would never be met.
        let sound = ring.head(&mac.registers) < count && ring.tail(&mac.registers) < count;
        let on = mac.registers.get(reg::TCTL) & tctl::EN != 0 && self.sends(queue);
        sound && on && mac.dma.enabled() && !mac.quiet
    }

    fn transmit_queue(&mut self, queue: usize) {
        let ring = Ring::tx(queue);
        let mut batch = Batch::new();
        let mut worked = false;
        for budget in (0..TRANSMITTED).rev() {
            if self.mac().quiet || self.mac().tx[queue].ready && !self.emit(queue) {
                break;
            }
            if !self.can_transmit(queue) {
                break;
            }
            let Mac { tx, registers, dma, .. } = self.mac_mut();
            if tx[queue].current.is_none() {
                let Some(descriptor) = batch.next(ring, registers, dma) else { break };
                tx[queue].begin(&descriptor);
            }
            worked = true;
            if tx[queue].gather(dma, registers) {
                self.complete(queue);
            }
            if budget == 0 {
                self.mac_mut().go_on();
            }
        }
        if worked && ring.head(&self.mac().registers) == ring.tail(&self.mac().registers) {
            self.cause(Cause::TXQE);
        }
    }

    /// Sends the finished frame. False: the backend does not take it now.
    fn emit(&mut self, queue: usize) -> bool {
        let loops = self.loops();
        let mac = self.mac_mut();
        let buffer = std::mem::take(&mut mac.tx[queue].buffer);
        let frame = &buffer[mac.tx[queue].finished()];
        // With no cable it goes nowhere.
        let sent = loops || !mac.cable || mac.backend.send(frame);
        if loops {
            self.loop_back(frame);
        }
        let mac = self.mac_mut();
        if sent {
            stats::transmitted(&mut mac.registers, frame);
        }
        mac.tx[queue].buffer = buffer;
        if sent && mac.tx[queue].sent() {
            self.complete(queue);
        }
        sent
    }

    /// The current descriptor is used up.
    fn complete(&mut self, queue: usize) {
        let Some(current) = self.mac_mut().tx[queue].complete() else { return };
        let ring = Ring::tx(queue);
        if self.writes_back(current.command) {
            let mac = self.mac();
            let upper = (current.upper | txd::DD) & !txd::TROUBLE;
            let address = ring.address(&mac.registers, ring.head(&mac.registers));
            let _ = mac.dma.write(address.wrapping_add(12), &upper.to_le_bytes());
            self.tell_transmitted(queue, current.command);
        }
        ring.advance(&mut self.mac_mut().registers, 1);
    }
}
