//! Endpoints and their transfer descriptors (4.2, 4.3).
//!
//! A TD is done as far as the device has something to say: packet by packet, or as many at once as the device takes. How
//! far it came is written back, and the TD goes into the done queue when it is over.

use super::super::{Answer, Function, Pid};
use super::Ohci;
use super::schedule::Budget;
use super::spec::{ADDRESS, PAGE, code, direction, ed, td};

/// An endpoint descriptor.
pub(super) struct Endpoint {
    pub(super) flags: u32,
    tail: u32,
    pub(super) head: u32,
    pub(super) next: u32,
}

/// What came of a TD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// It is over, and the next one is at the head.
    Goes,
    /// Nothing.
    Waits,
    /// It came on, or has an error more.
    Moved,
}

/// A general TD.
struct Td {
    at: u32,
    flags: u32,
    /// CBP; 0: there is nothing (more) to move.
    buffer: u32,
    next: u32,
    /// BE: the last byte.
    end: u32,
}

/// Parts of memory: address and length.
type Parts = [(u32, usize); 2];

/// The memory from one byte to another, both among it, on a page or on two that lie apart.
fn parts(first: u32, last: u32, len: usize) -> Parts {
    let on_first = len.min((PAGE - first % PAGE) as usize);
    [(first, on_first), (last & !(PAGE - 1), len - on_first)]
}

/// Bytes between them. None: it ends before it begins.
fn length(first: u32, last: u32) -> Option<usize> {
    let (begin, end) = (first % PAGE, last % PAGE);
    let same = first / PAGE == last / PAGE;
    let len = if same { (end + 1).checked_sub(begin)? } else { PAGE + 1 + end - begin };
    Some(len as usize)
}

impl Td {
    /// Bytes that are left. None: that is no buffer.
    fn left(&self) -> Option<usize> {
        if self.buffer == 0 || self.end == 0 { Some(0) } else { length(self.buffer, self.end) }
    }
    /// So many of them are moved.
    fn advance(&mut self, len: usize) {
        let left = self.left().unwrap_or(0);
        let at = self.buffer % PAGE + len as u32;
        self.buffer = if len >= left {
            0
        } else if at >= PAGE {
            (self.end & !(PAGE - 1)) + at % PAGE
        } else {
            self.buffer + len as u32
        };
    }
    fn delay(&self) -> u8 {
        (self.flags >> td::DELAY_SHIFT & 7) as u8
    }
    fn set_code(&mut self, code: u32) {
        self.flags = self.flags & !(0xf << td::CODE_SHIFT) | code << td::CODE_SHIFT;
    }
    fn words(&self) -> [u32; 4] {
        [self.flags, self.buffer, self.next, self.end]
    }
}

impl Endpoint {
    pub(super) fn of([flags, tail, head, next]: [u32; 4]) -> Endpoint {
        Endpoint { flags, tail, head, next }
    }
    pub(super) fn is_isochronous(&self) -> bool {
        self.flags & ed::ISOCHRONOUS != 0
    }
    /// Whether it has no TD.
    pub(super) fn is_empty(&self) -> bool {
        self.head & ADDRESS == self.tail & ADDRESS
    }
    fn number(&self) -> u8 {
        (self.flags >> ed::ENDPOINT_SHIFT & 0xf) as u8
    }
    fn longest(&self) -> usize {
        (self.flags >> ed::PACKET_SHIFT & ed::PACKET) as usize
    }

    /// Does something with its device, if packets reach it.
    fn function<R>(&self, ohci: &Ohci, act: impl FnOnce(&mut Function) -> R) -> Option<R> {
        let address = (self.flags & ed::FUNCTION) as u8;
        let mut act = Some(act);
        ohci.ports.iter().filter(|port| port.is_open()).find_map(|port| {
            port.socket.with(|function| {
                let found = function.find(address)?;
                act.take().map(|act| act(found))
            })?
        })
    }

    /// Its first TD goes into the done queue, and the next one comes.
    fn retire(&mut self, ohci: &mut Ohci, at: u32, next: u32, delay: u8) {
        self.head = self.head & !ADDRESS | next & ADDRESS;
        ohci.done.head = at;
        ohci.done.count = ohci.done.count.min(delay);
    }

    /// Does its first TD, or goes on with it.
    pub(super) fn transfer(&mut self, ohci: &mut Ohci, budget: &mut Budget) -> Then {
        let at = self.head & ADDRESS;
        if at == 0 {
            ohci.die();
            return Then::Waits;
        }
        if self.is_isochronous() {
            return self.isochronous(ohci, budget, at);
        }
        let Some([flags, buffer, next, end]) = ohci.words(at) else { return Then::Waits };
        let mut td = Td { at, flags, buffer, next, end };
        let way = match self.flags >> ed::DIRECTION_SHIFT & 3 {
            way @ (direction::OUT | direction::IN) => way,
            _ => flags >> td::DIRECTION_SHIFT & 3,
        };
        let pid = match way {
            direction::SETUP if self.number() == 0 => Pid::Setup,
            direction::OUT => Pid::Out,
            direction::IN => Pid::In,
            direction::SETUP => {
                ohci.die();
                return Then::Waits;
            }
            _ => return Then::Waits,
        };
        match td.left() {
            Some(0) => {}
            Some(_) if self.longest() > 0 => {}
            _ => {
                ohci.die();
                return Then::Waits;
            }
        }
        self.packets(ohci, budget, &mut td, pid)
    }

    /// Packets of a TD.
    fn packets(&mut self, ohci: &mut Ohci, budget: &mut Budget, td: &mut Td, pid: Pid) -> Then {
        let mut moved = false;
        loop {
            let left = td.left().unwrap_or(0);
            let chunk = self.chunk(ohci, pid).min(left);
            let mut data = vec![0; chunk];
            let places = parts(td.buffer, td.end, chunk);
            if pid != Pid::In && !copy(ohci, places, &mut data, false) {
                return Then::Waits;
            }
            let (number, now) = (self.number(), budget.now);
            let answer = self.function(ohci, |function| function.packet(pid, number, &mut data, now));
            let got = match answer.unwrap_or(Answer::Silence) {
                Answer::Done(got) if pid == Pid::In => got.min(chunk),
                Answer::Done(_) => chunk,
                Answer::Nak if !moved => return Then::Waits,
                Answer::Nak => return self.leave(ohci, td),
                Answer::Stall => return self.fail(ohci, td, code::STALL),
                Answer::Babble => return self.fail(ohci, td, code::OVERRUN),
                Answer::Silence => return self.unanswered(ohci, td),
            };
            if pid == Pid::In && !copy(ohci, places, &mut data[..got], true) {
                return Then::Waits;
            }
            budget.bytes = budget.bytes.saturating_sub(got.max(64));
            td.advance(got);
            self.toggle(td, got);
            moved = true;
            let short = got < chunk;
            if short && td.flags & td::ROUNDING == 0 {
                return self.fail(ohci, td, code::UNDERRUN);
            }
            if short || got == left {
                return self.end(ohci, td);
            }
            if budget.bytes == 0 {
                return self.leave(ohci, td);
            }
        }
    }

    /// Bytes that the device is given, or asked for, at once: a packet, or whole ones where it takes many.
    fn chunk(&self, ohci: &Ohci, pid: Pid) -> usize {
        let longest = self.longest().max(1);
        let address = self.number() | if pid == Pid::In { 0x80 } else { 0 };
        let piece = self.function(ohci, |function| function.piece(address)).unwrap_or(longest);
        if piece > longest { piece / longest * longest } else { longest }
    }

    /// The toggle is the TD's from its first packet on, and changes with each (4.3.1.3.4).
    fn toggle(&self, td: &mut Td, got: usize) {
        let own = td.flags & td::OWN_TOGGLE != 0;
        let was = if own { td.flags & td::TOGGLE != 0 } else { self.head & ed::CARRY != 0 };
        let odd = got.div_ceil(self.longest().max(1)).max(1) % 2 == 1;
        td.flags = td.flags & !(td::TOGGLE | td::ERRORS) | td::OWN_TOGGLE;
        if was != odd {
            td.flags |= td::TOGGLE;
        }
    }

    /// It goes on in another frame.
    fn leave(&self, ohci: &mut Ohci, td: &mut Td) -> Then {
        td.set_code(code::GOOD);
        ohci.put_words(td.at, td.words());
        Then::Moved
    }

    /// It has done what was to be done.
    fn end(&mut self, ohci: &mut Ohci, td: &mut Td) -> Then {
        self.head &= !ed::CARRY;
        if td.flags & td::TOGGLE != 0 {
            self.head |= ed::CARRY;
        }
        let delay = td.delay();
        self.over(ohci, td, code::GOOD, delay)
    }

    /// It failed: the endpoint is halted, and the driver hears of it at once (6.4.4).
    fn fail(&mut self, ohci: &mut Ohci, td: &mut Td, code: u32) -> Then {
        self.head |= ed::HALTED;
        self.over(ohci, td, code, 0)
    }

    fn over(&mut self, ohci: &mut Ohci, td: &mut Td, code: u32, delay: u8) -> Then {
        td.set_code(code);
        let next = std::mem::replace(&mut td.next, ohci.done.head);
        if !ohci.put_words(td.at, td.words()) {
            return Then::Waits;
        }
        self.retire(ohci, td.at, next, delay);
        Then::Goes
    }

    /// Nobody answers: the third time it is an error (4.3.1.3.6).
    fn unanswered(&mut self, ohci: &mut Ohci, td: &mut Td) -> Then {
        let errors = (td.flags & td::ERRORS) / td::ERROR;
        if errors >= 2 {
            td.flags |= td::ERRORS;
            return self.fail(ohci, td, code::SILENCE);
        }
        td.flags += td::ERROR;
        td.set_code(code::SILENCE);
        ohci.put_words(td.at, td.words());
        Then::Moved
    }

    /// Does the packet of this frame of an isochronous TD (4.3.2).
    fn isochronous(&mut self, ohci: &mut Ohci, budget: &mut Budget, at: u32) -> Then {
        let Some([flags, page, next, end, mut offsets @ ..]) = ohci.words::<8>(at) else {
            return Then::Waits;
        };
        let count = (flags >> td::COUNT_SHIFT & 7) as i16;
        let first = (flags & td::FIRST_FRAME) as u16;
        let turn = ohci.registers.number.wrapping_sub(first).cast_signed();
        if turn < 0 {
            // Its frame comes: until then each is walked.
            return Then::Moved;
        }
        let mut outcome = code::OVERRUN;
        if turn <= count {
            let offset = |turn: usize| offsets[turn / 2] >> (turn % 2 * 16) & 0xffff;
            let turn = turn as usize;
            let last = if turn < count as usize { Some(offset(turn + 1)) } else { None };
            let status = self.isochronous_packet(ohci, budget, (page, end), offset(turn), last);
            let Some(status) = status else { return Then::Waits };
            let word = &mut offsets[turn / 2];
            *word = *word & !(0xffff << (turn % 2 * 16)) | status << (turn % 2 * 16);
            if turn < count as usize {
                ohci.put_words(at.wrapping_add(16), offsets);
                return Then::Moved;
            }
            outcome = code::GOOD;
        }
        let flags = flags & !(0xf << td::CODE_SHIFT) | outcome << td::CODE_SHIFT;
        let [o0, o1, o2, o3] = offsets;
        if !ohci.put_words(at, [flags, page, ohci.done.head, end, o0, o1, o2, o3]) {
            return Then::Waits;
        }
        self.retire(ohci, at, next, (flags >> td::DELAY_SHIFT & 7) as u8);
        // One packet of an endpoint goes in a frame; a TD that is too late has had none.
        if outcome == code::GOOD { Then::Moved } else { Then::Goes }
    }

    /// One packet of such a TD; its PacketStatusWord. None: it is not done.
    fn isochronous_packet(
        &self,
        ohci: &mut Ohci,
        budget: &mut Budget,
        (page, end): (u32, u32),
        offset: u32,
        next: Option<u32>,
    ) -> Option<u32> {
        let untouched = |offset: u32| offset >> 12 & code::NOT_ACCESSED == code::NOT_ACCESSED;
        if !untouched(offset) || next.is_some_and(|next| !untouched(next) || next < offset) {
            return None;
        }
        // Bit 12 says on which of the two pages it is.
        let place = |offset: u32| {
            let page = if offset & PAGE == 0 { page } else { end };
            page & !(PAGE - 1) | offset & (PAGE - 1)
        };
        let (first, last) = (place(offset), next.map_or(end, |next| place(next.wrapping_sub(1))));
        let empty = next == Some(offset);
        let len = if empty { 0 } else { length(first, last)? };
        let pid = match self.flags >> ed::DIRECTION_SHIFT & 3 {
            direction::OUT => Pid::Out,
            direction::IN => Pid::In,
            _ => return None,
        };
        let mut data = vec![0; len];
        let places = parts(first, last, len);
        if pid == Pid::Out && !copy(ohci, places, &mut data, false) {
            return None;
        }
        budget.bytes = budget.bytes.saturating_sub(len.max(64));
        let (number, now) = (self.number(), budget.now);
        let address = number | if pid == Pid::In { 0x80 } else { 0 };
        let answer = self.function(ohci, |function| match function.is_isochronous(address) {
            true => function.packet(pid, number, &mut data, now),
            // That is no such endpoint.
            false => Answer::Stall,
        });
        let status = |code: u32, len: usize| Some(code << 12 | len as u32 & 0xfff);
        match answer.unwrap_or(Answer::Silence) {
            Answer::Done(got) if pid == Pid::In => {
                let got = got.min(len);
                if !copy(ohci, places, &mut data[..got], true) {
                    return None;
                }
                status(if got < len { code::UNDERRUN } else { code::GOOD }, got)
            }
            Answer::Done(_) => status(code::GOOD, 0),
            Answer::Nak | Answer::Stall => status(code::STALL, 0),
            Answer::Babble => status(code::OVERRUN, len),
            Answer::Silence => status(code::SILENCE, 0),
        }
    }
}

/// Copies between memory and data. False: that is no memory, and the controller has stopped.
fn copy(ohci: &mut Ohci, parts: Parts, data: &mut [u8], to_guest: bool) -> bool {
    let mut rest = data;
    for (at, len) in parts {
        let (part, others) = rest.split_at_mut(len.min(rest.len()));
        let copied = match to_guest {
            _ if part.is_empty() => true,
            true => ohci.dma.write(at.into(), part).is_ok(),
            false => ohci.dma.read(at.into(), part).is_ok(),
        };
        if !copied {
            ohci.die();
            return false;
        }
        rest = others;
    }
    true
}
