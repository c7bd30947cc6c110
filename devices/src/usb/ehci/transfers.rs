//! Queue heads and their transfers, qTDs (3.5, 3.6, 4.10).
//!
//! A queue head has a copy of the qTD that it works at, its overlay, with how far it came. It is read, gone on with, and
//! written back.

use super::super::{Answer, Function, Pid, Setup};
use super::Ehci;
use super::schedule;
use super::spec::{PAGE, PAGES, Status, TRANSFER_MOST, endpoint, link, token};

/// Most links, transfers and bytes of one call.
const STEPS: u32 = 16 << 10;
const TRANSFERS: u32 = 4096;
const BYTES: usize = 4 << 20;
/// Most transfers of a queue in one walk: the others have their turn, too.
const TURN: u32 = 256;

/// What a call may still do, and what it has done.
pub(super) struct Budget {
    now: u64,
    steps: u32,
    transfers: u32,
    bytes: usize,
    /// Interrupts that come of it.
    pub(super) raised: Status,
}

impl Budget {
    pub(super) fn new(now: u64) -> Budget {
        Budget { now, steps: STEPS, transfers: TRANSFERS, bytes: BYTES, raised: Status::empty() }
    }

    pub(super) fn is_spent(&self) -> bool {
        self.steps == 0 || self.transfers == 0 || self.bytes == 0
    }

    /// Whether one more link may be followed.
    pub(super) fn step(&mut self) -> bool {
        let may = !self.is_spent();
        self.steps = self.steps.saturating_sub(1);
        may
    }
}

/// A qTD, or the overlay, whose words are the same.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Transfer {
    next: u32,
    alternate: u32,
    token: u32,
    buffers: [u32; PAGES],
}

/// A queue head.
pub(super) struct Queue {
    at: u32,
    /// Of the list.
    pub(super) link: u32,
    endpoint: u32,
    capabilities: u32,
    current: u32,
    overlay: Transfer,
}

/// What a packet left of a transfer.
enum Then {
    /// There is more of it.
    Goes,
    /// It is over.
    Ends,
    /// It goes on in another walk.
    Waits,
}

impl Transfer {
    fn of([next, alternate, token, buffers @ ..]: [u32; 8]) -> Transfer {
        Transfer { next, alternate, token, buffers }
    }
    fn words(&self) -> [u32; 8] {
        let Transfer { next, alternate, token, buffers: [b0, b1, b2, b3, b4] } = *self;
        [next, alternate, token, b0, b1, b2, b3, b4]
    }

    fn has(&self, bit: u32) -> bool {
        self.token & bit != 0
    }
    fn left(&self) -> u32 {
        self.token >> token::LENGTH_SHIFT & token::LENGTH
    }

    /// The parts of memory of its next bytes: address and length. None: they lie beyond its pages.
    fn parts(&self, len: usize) -> Option<Vec<(u64, usize)>> {
        let mut page = (self.token >> token::PAGE_SHIFT & 7) as usize;
        let mut offset = (self.buffers[0] % PAGE) as usize;
        let (mut parts, mut left) = (Vec::new(), len);
        while left > 0 {
            let part = left.min(PAGE as usize - offset);
            let base = self.buffers.get(page)? & !(PAGE - 1);
            parts.push((u64::from(base) + offset as u64, part));
            (page, offset, left) = (page + 1, 0, left - part);
        }
        Some(parts)
    }

    /// So many bytes of it are moved.
    fn advance(&mut self, len: u32) {
        let offset = self.buffers[0] % PAGE + len;
        let page = (self.token >> token::PAGE_SHIFT & 7) + offset / PAGE;
        self.buffers[0] = self.buffers[0] & !(PAGE - 1) | offset % PAGE;
        self.token &= !(7 << token::PAGE_SHIFT | token::LENGTH << token::LENGTH_SHIFT);
        self.token |= (page & 7) << token::PAGE_SHIFT;
    }
}

impl Queue {
    /// None: it is no memory, and the controller has stopped.
    pub(super) fn read(ehci: &mut Ehci, at: u32) -> Option<Queue> {
        let [link, endpoint, capabilities, current, overlay @ ..] = ehci.words::<12>(at)?;
        Some(Queue { at, link, endpoint, capabilities, current, overlay: Transfer::of(overlay) })
    }

    /// Whether it is the head of the reclamation list.
    pub(super) fn is_head(&self) -> bool {
        self.endpoint & endpoint::HEAD != 0
    }
    /// How many packets it may have in a frame of the periodic list; 0: it is none of that.
    pub(super) fn packets(&self) -> u32 {
        schedule::packets(self.capabilities)
    }

    fn packet(&self) -> u32 {
        self.endpoint >> endpoint::PACKET_SHIFT & endpoint::PACKET
    }

    /// Goes on with its transfers, up to so many packets. Whether something happened.
    pub(super) fn run(&mut self, ehci: &mut Ehci, budget: &mut Budget, mut packets: u32) -> bool {
        let before = (self.current, self.overlay);
        let mut happened = false;
        for _ in 0..TURN {
            if self.overlay.has(token::HALTED) || packets == 0 || budget.is_spent() {
                break;
            }
            if !self.overlay.has(token::ACTIVE) && !self.fetch(ehci) {
                break;
            }
            budget.transfers -= 1;
            happened = true;
            match self.go_on(ehci, budget, &mut packets) {
                Then::Ends => self.retire(ehci, budget),
                Then::Goes | Then::Waits => {
                    happened = (self.current, self.overlay) != before;
                    break;
                }
            }
            if !ehci.runs() {
                return true;
            }
        }
        if (self.current, self.overlay) != before {
            let [next, alternate, token, b0, b1, b2, b3, b4] = self.overlay.words();
            let words = [self.current, next, alternate, token, b0, b1, b2, b3, b4];
            ehci.put_words(self.at.wrapping_add(12), words);
        }
        happened
    }

    /// The next transfer comes into the overlay (4.10.2). False: there is none that is to be done.
    fn fetch(&mut self, ehci: &mut Ehci) -> bool {
        let short = self.overlay.left() != 0 && self.overlay.alternate & link::TERMINATE == 0;
        let next = if short { self.overlay.alternate } else { self.overlay.next };
        if next & link::TERMINATE != 0 {
            return false;
        }
        let Some(words) = ehci.words(next & link::ADDRESS) else { return false };
        let mut transfer = Transfer::of(words);
        if !transfer.has(token::ACTIVE) {
            return false;
        }
        if self.endpoint & endpoint::TOGGLE_CONTROL == 0 {
            transfer.token = transfer.token & !token::TOGGLE | self.overlay.token & token::TOGGLE;
        }
        (self.current, self.overlay) = (next & link::ADDRESS, transfer);
        true
    }

    /// The transfer is over: it says so, and is left (4.10.4).
    fn retire(&mut self, ehci: &mut Ehci, budget: &mut Budget) {
        self.overlay.token &= !token::ACTIVE;
        ehci.put_words(self.current.wrapping_add(8), [self.overlay.token]);
        let failed = self.overlay.has(token::HALTED);
        let inward = self.overlay.token >> token::PID_SHIFT & 3 == 1;
        let short = inward && !failed && self.overlay.left() != 0;
        if self.overlay.has(token::INTERRUPT) || short {
            budget.raised |= Status::INTERRUPT;
        }
        if failed {
            budget.raised |= Status::ERROR;
        }
    }

    /// It cannot go on.
    fn halt(&mut self, why: u32) -> Then {
        self.overlay.token |= token::HALTED | why;
        Then::Ends
    }

    /// Moves packets of the transfer in the overlay.
    fn go_on(&mut self, ehci: &mut Ehci, budget: &mut Budget, packets: &mut u32) -> Then {
        let pid = match self.overlay.token >> token::PID_SHIFT & 3 {
            0 => Pid::Out,
            1 => Pid::In,
            2 if self.overlay.left() == Setup::LEN as u32 => Pid::Setup,
            _ => return self.halt(0),
        };
        if self.packet() == 0 || self.overlay.left() > TRANSFER_MOST {
            return self.halt(0);
        }
        loop {
            match self.one(ehci, budget, pid, packets) {
                Then::Goes if *packets > 0 && budget.bytes > 0 => {}
                Then::Goes => return Then::Waits,
                then => return then,
            }
        }
    }

    /// Moves one packet, or as many as the device takes at once.
    fn one(&mut self, ehci: &mut Ehci, budget: &mut Budget, pid: Pid, packets: &mut u32) -> Then {
        let left = self.overlay.left() as usize;
        let longest = self.packet() as usize;
        let number = (self.endpoint >> endpoint::NUMBER_SHIFT & 0xf) as u8;
        let inward = if pid == Pid::In { 0x80 } else { 0 };
        let piece = self.function(ehci, |function| function.piece(number | inward)).unwrap_or(longest);
        // A device that takes many packets at once is asked for whole ones.
        let most = if piece > longest { piece / longest * longest } else { longest };
        let len = left.min(most).min(longest.saturating_mul(*packets as usize));
        let Some(parts) = self.overlay.parts(len) else { return self.halt(token::BUFFER) };
        let mut data = vec![0; len];
        if pid != Pid::In && !copy(ehci, &parts, &mut data, false) {
            return Then::Waits;
        }
        let now = budget.now;
        let answer = self.function(ehci, |function| function.packet(pid, number, &mut data, now));
        let got = match answer.unwrap_or(Answer::Silence) {
            Answer::Done(got) => got.min(len),
            Answer::Nak => return Then::Waits,
            Answer::Stall => return self.halt(0),
            Answer::Babble => return self.halt(token::BABBLE),
            Answer::Silence => return self.unanswered(),
        };
        if pid == Pid::In && !copy(ehci, &parts, &mut data[..got], true) {
            return Then::Waits;
        }
        let moved = got.div_ceil(longest).max(1) as u32;
        *packets = packets.saturating_sub(moved);
        budget.bytes = budget.bytes.saturating_sub(got.max(64));
        self.overlay.advance(got as u32);
        let left = (left - got) as u32;
        self.overlay.token |= left << token::LENGTH_SHIFT;
        self.overlay.token ^= (moved & 1) << 31;
        self.overlay.token &= !token::PING;
        if left == 0 || got < len { Then::Ends } else { Then::Goes }
    }

    /// Three attempts, or as many as the driver says; 0: for ever (3.5.3, CERR).
    fn unanswered(&mut self) -> Then {
        self.overlay.token |= token::TRANSACTION;
        match self.overlay.token & token::ERRORS {
            0 => Then::Waits,
            token::ERROR => {
                self.overlay.token &= !token::ERRORS;
                self.halt(0)
            }
            _ => {
                self.overlay.token -= token::ERROR;
                Then::Waits
            }
        }
    }

    /// Does something with the device that it is for, if packets reach it.
    fn function<R>(&self, ehci: &Ehci, act: impl FnOnce(&mut Function) -> R) -> Option<R> {
        if self.endpoint & endpoint::SPEED != endpoint::HIGH {
            return None;
        }
        let address = (self.endpoint & endpoint::ADDRESS) as u8;
        let mut act = Some(act);
        ehci.ports.iter().filter(|port| port.is_open()).find_map(|port| {
            port.socket.with(|function| {
                if function.address() == address { act.take().map(|act| act(function)) } else { None }
            })?
        })
    }
}

/// Copies between memory and data. False: that is no memory, and the controller has stopped.
fn copy(ehci: &mut Ehci, parts: &[(u64, usize)], data: &mut [u8], to_guest: bool) -> bool {
    let mut rest = data;
    for (at, len) in parts {
        let (part, others) = rest.split_at_mut((*len).min(rest.len()));
        let copied = match to_guest {
            true => ehci.dma.write(*at, part).is_ok(),
            false => ehci.dma.read(*at, part).is_ok(),
        };
        if !copied {
            ehci.fail();
            return false;
        }
        rest = others;
    }
    true
}
