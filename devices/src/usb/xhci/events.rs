//! Event rings and interrupts (4.9.4, 4.17).
//!
//! An event for which the driver has left no room waits here, and commands and transfers of that interrupter wait with it:
//! what was done is always told.

use std::collections::VecDeque;

use super::Xhci;
use super::ring::TRB_LEN;
use super::spec::{BUSY, Command, ENABLE, MODERATION, PENDING, Status, control, trb};

/// Most events that wait for room. A TD has fewer TRBs, and nothing is begun while one waits.
pub(super) const WAITING: usize = 8192;
/// TRBs that a segment may have (6.5).
const SEGMENT: std::ops::RangeInclusive<u32> = 16..=4096;

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) parameter: u64,
    pub(super) status: u32,
    /// Without the cycle bit.
    pub(super) control: u32,
}

impl Event {
    /// Of that type, with a completion code.
    pub(super) fn new(kind: u8, code: u8, parameter: u64) -> Event {
        Event { parameter, status: u32::from(code) << 24, control: u32::from(kind) << 10 }
    }
    /// The same with the lower bits of the status.
    pub(super) fn length(self, length: u32) -> Event {
        Event { status: self.status | length & 0xff_ffff, ..self }
    }
    /// The same of a slot and an endpoint.
    pub(super) fn of(self, slot: u8, endpoint: u8) -> Event {
        let place = u32::from(slot) << 24 | u32::from(endpoint) << 16;
        Event { control: self.control | place, ..self }
    }
}

/// An interrupter.
#[derive(Clone, Debug, Default)]
pub(super) struct Interrupter {
    pub(super) iman: u32,
    pub(super) imod: u32,
    pub(super) erstsz: u32,
    pub(super) erstba: u64,
    pub(super) erdp: u64,
    /// The only segment: where, how many TRBs (0: there is none), the next one's number, and its cycle bit.
    pub(super) segment: u64,
    pub(super) size: u32,
    pub(super) index: u32,
    pub(super) cycle: bool,
    pub(super) waiting: VecDeque<Event>,
}

impl Interrupter {
    pub(super) fn new() -> Interrupter {
        Interrupter { imod: MODERATION, ..Interrupter::default() }
    }

    /// Number of the TRB that the driver is at; none: its pointer is nowhere on the ring.
    fn dequeue(&self) -> Option<u32> {
        let index = (self.erdp & !0xf).checked_sub(self.segment)? / TRB_LEN;
        u32::try_from(index).ok().filter(|index| *index < self.size)
    }

    fn is_empty(&self) -> bool {
        self.dequeue().is_none_or(|dequeue| dequeue == self.index)
    }
}

impl Xhci {
    /// ERSTBA was written: the ring begins anew.
    pub(super) fn begin_events(&mut self, number: usize) {
        let Some(interrupter) = self.interrupters.get_mut(number) else { return };
        (interrupter.size, interrupter.index, interrupter.cycle) = (0, 0, true);
        interrupter.waiting.clear();
        if interrupter.erstsz == 0 || interrupter.erstba == 0 {
            return;
        }
        let mut entry = [0; 16];
        let read = self.dma.read(interrupter.erstba, &mut entry);
        let word = u128::from_le_bytes(entry);
        let size = (word >> 64) as u32 & 0xffff;
        if read.is_err() || !SEGMENT.contains(&size) {
            return self.fail();
        }
        (interrupter.segment, interrupter.size) = (word as u64 & !0x3f, size);
    }

    /// Whether events wait for room there, so that nothing is to be begun which makes more.
    pub(super) fn is_full(&self, number: u16) -> bool {
        self.interrupters.get(usize::from(number)).is_some_and(|interrupter| !interrupter.waiting.is_empty())
    }

    /// Tells the driver. An interrupter that is not there is the first.
    pub(super) fn tell(&mut self, number: u16, event: Event) {
        let number = usize::from(number);
        let number = if number < self.interrupters.len() { number } else { 0 };
        let interrupter = &mut self.interrupters[number];
        if interrupter.size == 0 {
            return;
        }
        if interrupter.waiting.len() < WAITING {
            interrupter.waiting.push_back(event);
        }
        self.flush(number);
    }

    /// Writes events as far as there is room.
    fn flush(&mut self, number: usize) {
        let mut wrote = false;
        loop {
            let interrupter = &mut self.interrupters[number];
            let Some(event) = interrupter.waiting.front().copied() else { break };
            let next = if interrupter.index + 1 == interrupter.size { 0 } else { interrupter.index + 1 };
            let Some(dequeue) = interrupter.dequeue() else { return self.fail() };
            if next == dequeue {
                break;
            }
            interrupter.waiting.pop_front();
            let at = interrupter.segment.wrapping_add(u64::from(interrupter.index) * TRB_LEN);
            let control = event.control & !control::CYCLE | u32::from(interrupter.cycle);
            interrupter.index = next;
            interrupter.cycle ^= next == 0;
            let body = u128::from(event.parameter) | u128::from(event.status) << 64;
            // The cycle bit comes last: a vCPU may look meanwhile.
            let body = self.dma.write(at, &body.to_le_bytes()[..12]);
            if body.and(self.dma.write(at.wrapping_add(12), &control.to_le_bytes())).is_err() {
                return self.fail();
            }
            wrote = true;
        }
        if wrote {
            self.raise(number);
        }
    }

    /// There is something on the ring; said once until the driver has been there.
    fn raise(&mut self, number: usize) {
        let interrupter = &mut self.interrupters[number];
        if interrupter.erdp & BUSY != 0 {
            return;
        }
        interrupter.erdp |= BUSY;
        interrupter.iman |= PENDING;
        self.status |= Status::EVENT;
        self.settle_interrupt(number);
    }

    /// The interrupt as it is to be now. A message takes the pending bit with it (5.5.2.1).
    pub(super) fn settle_interrupt(&mut self, number: usize) {
        let Some(interrupter) = self.interrupters.get_mut(number) else { return };
        let both = PENDING | ENABLE;
        let level = interrupter.iman & both == both && self.command.contains(Command::INTERRUPTS);
        if self.pci.messages_enabled() {
            if level {
                interrupter.iman &= !PENDING;
                self.pci.message(number as u16);
            }
            self.pci.set_intx(false);
        } else if number == 0 {
            self.pci.set_intx(level);
        }
    }

    /// The driver has read events up to there.
    pub(super) fn dequeued(&mut self, number: usize, low: u32) {
        let Some(interrupter) = self.interrupters.get_mut(number) else { return };
        let busy = interrupter.erdp & BUSY & !u64::from(low);
        interrupter.erdp = interrupter.erdp & !0xffff_ffff | u64::from(low & !0xf) | low as u64 & 7 | busy;
        if interrupter.size == 0 {
            return;
        }
        self.flush(number);
        let interrupter = &self.interrupters[number];
        if interrupter.erdp & BUSY == 0 && !interrupter.is_empty() {
            self.raise(number);
        }
    }

    /// MFINDEX has wrapped.
    pub(super) fn tell_wrap(&mut self) {
        self.tell(0, Event::new(trb::WRAP, super::spec::code::SUCCESS, 0));
    }
}
