//! Transfer rings (4.9.1, 4.10, 4.11).
//!
//! A TD is read whole, up to [`TD_MOST`] TRBs, and its data moved in pieces. A device that has no answer yet leaves the
//! endpoint waiting: no timer asks again, the device's own event does. What of a TD was moved already is kept in the
//! endpoint, and the TRBs are read anew when it goes on. A call moves a bounded number of TRBs and bytes, and a timer
//! goes on from there.

use super::super::{Answer, Pid, Setup};
use super::Xhci;
use super::events::Event;
use super::ring::{Broken, Trb};
use super::slots::EndpointState;
use super::spec::{code, control, trb};

/// Most TRBs of a TD. With pages that lie apart that is 16 MiB.
const TD_MOST: usize = 4096;
/// Most TRBs and bytes of a call.
const TRBS: usize = 4 * TD_MOST;
const BYTES: usize = 4 << 20;

/// What a call may still do.
pub(super) struct Budget {
    trbs: usize,
    bytes: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget { trbs: TRBS, bytes: BYTES }
    }
}

/// How a TD ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// It was done, as far as the device had something to say.
    Done,
    /// With an error; the endpoint is halted.
    Failed,
    /// Not yet.
    Waits,
    /// Not in this call.
    Later,
}

/// Where the endpoint is.
#[derive(Clone, Copy)]
struct Place {
    slot: u8,
    endpoint: u8,
    port: u8,
    route: u32,
}

impl Xhci {
    /// A doorbell of a slot.
    pub(super) fn ring_endpoint(&mut self, slot: u8, endpoint: u8) {
        if !self.runs() {
            return;
        }
        let Some(of) = self.endpoint(slot, endpoint) else { return };
        match of.state {
            EndpointState::Halted | EndpointState::Error => return,
            EndpointState::Stopped => self.set_state(slot, endpoint, EndpointState::Running),
            EndpointState::Running => {}
        }
        if let Some(of) = self.endpoint(slot, endpoint) {
            of.waiting = true;
        }
        self.serve(&mut Budget::default());
    }

    /// Goes on with all endpoints that wait.
    pub(super) fn serve(&mut self, budget: &mut Budget) {
        if !self.runs() || self.quiet {
            return;
        }
        // What goes over by one endpoint may be what another has waited for: status after data, data after a command.
        loop {
            let mut done = false;
            for (slot, endpoint) in self.waiting() {
                done |= self.transfer(slot, endpoint, budget);
            }
            if !done {
                return;
            }
        }
    }

    /// Endpoints that wait, with their slots.
    fn waiting(&self) -> Vec<(u8, u8)> {
        let slots = self.slots.iter().zip(1u8..).filter_map(|(slot, number)| Some((slot.as_ref()?, number)));
        let endpoints =
            slots.flat_map(|(slot, number)| slot.endpoints.iter().map(move |(at, of)| (number, *at, of)));
        endpoints.filter(|(.., of)| of.waiting).map(|(slot, at, _)| (slot, at)).collect()
    }

    /// Does TDs of an endpoint until there is none, the device has no answer, or there is no room for events. Whether one
    /// was done.
    fn transfer(&mut self, slot: u8, endpoint: u8, budget: &mut Budget) -> bool {
        let mut done = false;
        while self.transfer_next(slot, endpoint, budget) {
            done = true;
        }
        done
    }

    /// Does the next TD of an endpoint. False: there is none, or it is not over.
    fn transfer_next(&mut self, slot: u8, endpoint: u8, budget: &mut Budget) -> bool {
        let Some(of) = self.slot(slot) else { return false };
        let place = Place { slot, endpoint, port: of.port, route: of.route };
        let runs = of.endpoints.get(&endpoint).is_some_and(|at| at.state == EndpointState::Running);
        if !runs || !self.runs() {
            return false;
        }
        let Some(at) = self.endpoint(slot, endpoint) else { return false };
        at.waiting = true;
        let mut ring = at.ring;
        if budget.trbs == 0 || budget.bytes == 0 {
            self.more = true;
            return false;
        }
        let mut td = Vec::new();
        match self.gather(&mut ring, &mut td) {
            Ok(true) => {}
            // Whoever rings the doorbell again has put more there.
            Ok(false) => {
                if let Some(at) = self.endpoint(slot, endpoint) {
                    at.waiting = false;
                }
                return false;
            }
            Err(code) => {
                let at = td.last().map_or(ring.at, |trb: &Trb| trb.at);
                self.halt(place, Event::new(trb::TRANSFER, code, at), 0);
                return false;
            }
        }
        budget.trbs = budget.trbs.saturating_sub(td.len());
        if td.iter().any(|trb| self.is_full(trb.interrupter())) {
            return false;
        }
        let end = self.run(place, &td, budget);
        if end == End::Done {
            if let Some(at) = self.endpoint(slot, endpoint) {
                at.ring = ring;
                at.forget();
            }
            self.tell_endpoint(slot, endpoint);
        }
        self.more |= end == End::Later;
        end == End::Done
    }

    /// Reads a TD. False: it is not all there.
    fn gather(&mut self, ring: &mut super::ring::Ring, td: &mut Vec<Trb>) -> Result<bool, u8> {
        loop {
            match ring.next(&self.dma) {
                Ok(Some(trb)) => td.push(trb),
                Ok(None) => return Ok(false),
                Err(Broken::Memory | Broken::Links) => return Err(code::TRB),
            }
            match td.last() {
                Some(last) if !last.has(control::CHAIN) => return Ok(true),
                _ if td.len() >= TD_MOST => return Err(code::TRB),
                _ => {}
            }
        }
    }

    /// Does a TD, or goes on with it.
    fn run(&mut self, place: Place, td: &[Trb], budget: &mut Budget) -> End {
        let Some(first) = td.iter().find(|trb| trb.kind() != trb::EVENT_DATA) else {
            return self.report(place, td, 0, code::SUCCESS);
        };
        let is_control = place.endpoint == 1;
        let (pid, empty) = match (first.kind(), is_control) {
            (trb::SETUP, true) => return self.setup(place, td, first),
            (trb::DATA, true) => (if first.has(control::IN) { Pid::In } else { Pid::Out }, false),
            (trb::STATUS, true) => (if first.has(control::IN) { Pid::In } else { Pid::Out }, true),
            (trb::NORMAL | trb::ISOCH, false) => {
                (if place.endpoint % 2 == 1 { Pid::In } else { Pid::Out }, false)
            }
            (trb::NO_OP, _) => return self.report(place, td, 0, code::SUCCESS),
            _ => return self.failed(place, td, 0, code::TRB),
        };
        let others = td.iter().all(|trb| {
            let kind = trb.kind();
            kind == trb::EVENT_DATA || kind == first.kind() || !empty && kind == trb::NORMAL
        });
        if !others {
            return self.failed(place, td, 0, code::TRB);
        }
        self.data(place, td, pid, budget)
    }

    fn setup(&mut self, place: Place, td: &[Trb], first: &Trb) -> End {
        if first.len() != Setup::LEN as u32 || !first.has(control::IMMEDIATE) {
            return self.failed(place, td, 0, code::TRB);
        }
        let mut bytes = first.parameter.to_le_bytes();
        match self.packet(place, Pid::Setup, &mut bytes) {
            Answer::Done(_) => self.report(place, td, Setup::LEN as u64, code::SUCCESS),
            _ => self.failed(place, td, 0, code::TRANSACTION),
        }
    }

    fn packet(&mut self, place: Place, pid: Pid, data: &mut [u8]) -> Answer {
        let now = self.wiring.now();
        match self.routed(place.port, place.route) {
            Some(function) => function.packet(pid, place.endpoint / 2, data, now),
            None => Answer::Silence,
        }
    }

    /// Bytes that the device is asked for at once.
    fn piece(&mut self, place: Place) -> usize {
        let address = place.endpoint / 2 | (place.endpoint & 1) << 7;
        let piece = self.routed(place.port, place.route).map(|function| function.piece(address & 0x8f));
        piece.unwrap_or(8)
    }

    /// Moves data of a TD.
    fn data(&mut self, place: Place, td: &[Trb], pid: Pid, budget: &mut Budget) -> End {
        let total: u64 = td.iter().filter(|trb| is_data(trb)).map(|trb| u64::from(trb.len())).sum();
        let piece = self.piece(place);
        let mut done = self.endpoint(place.slot, place.endpoint).map_or(0, |at| at.done).min(total);
        let mut room = vec![0; piece.min(total as usize)];
        loop {
            if budget.bytes == 0 {
                return End::Later;
            }
            let now = (total - done).min(piece as u64) as usize;
            budget.bytes = budget.bytes.saturating_sub(now.max(64));
            let room = &mut room[..now];
            if pid == Pid::Out && !self.copy(td, done, room, false) {
                return self.failed(place, td, done, code::DATA_BUFFER);
            }
            if let Some(at) = self.endpoint(place.slot, place.endpoint) {
                at.asked = true;
            }
            let got = match self.packet(place, pid, room) {
                Answer::Done(got) => got.min(now),
                Answer::Nak => return End::Waits,
                Answer::Stall => return self.failed(place, td, done, code::STALL),
                Answer::Babble => return self.failed(place, td, done, code::BABBLE),
                Answer::Silence => return self.failed(place, td, done, code::TRANSACTION),
            };
            if pid == Pid::In && !self.copy(td, done, &mut room[..got], true) {
                return self.failed(place, td, done, code::DATA_BUFFER);
            }
            done += got as u64;
            if let Some(at) = self.endpoint(place.slot, place.endpoint) {
                at.done = done;
            }
            if got < now || done == total {
                return self.report(place, td, done, code::SUCCESS);
            }
        }
    }

    /// Moves bytes between a TD's memory and `data`, from an offset in it on. False: that is no memory.
    fn copy(&self, td: &[Trb], from: u64, data: &mut [u8], to_guest: bool) -> bool {
        let (mut skip, mut at) = (from, 0);
        for trb in td.iter().filter(|trb| is_data(trb)) {
            let len = u64::from(trb.len());
            if skip >= len {
                skip -= len;
                continue;
            }
            let part = ((len - skip) as usize).min(data.len() - at);
            let bytes = &mut data[at..at + part];
            let copied = match (to_guest, trb.has(control::IMMEDIATE)) {
                (true, false) => self.dma.write(trb.parameter.wrapping_add(skip), bytes).is_ok(),
                (false, false) => self.dma.read(trb.parameter.wrapping_add(skip), bytes).is_ok(),
                (true, true) => false,
                (false, true) => {
                    let own = trb.parameter.to_le_bytes();
                    let own = own.get(skip as usize..).and_then(|own| own.get(..part));
                    own.map(|own| bytes.copy_from_slice(own)).is_some()
                }
            };
            if !copied {
                return false;
            }
            (at, skip) = (at + part, 0);
            if at == data.len() {
                break;
            }
        }
        true
    }

    /// Tells of a TD that is over, with so many bytes moved.
    fn report(&mut self, place: Place, td: &[Trb], done: u64, mut code: u8) -> End {
        let (mut left, mut since, mut told_short) = (done, 0u64, false);
        for trb in td {
            if trb.kind() == trb::EVENT_DATA {
                if trb.has(control::INTERRUPT) {
                    let event = Event::new(trb::TRANSFER, code, trb.parameter).length(since as u32);
                    self.tell_transfer(place, trb, event, control::EVENT_DATA);
                }
                since = 0;
                continue;
            }
            let len = if is_data(trb) { u64::from(trb.len()) } else { 0 };
            let moved = left.min(len);
            (left, since) = (left - moved, since + moved);
            if moved < len {
                code = code::SHORT;
            }
            let short = code == code::SHORT;
            let wanted = trb.has(control::INTERRUPT) || short && trb.has(control::SHORT);
            if wanted && !told_short {
                told_short = short;
                let event = Event::new(trb::TRANSFER, code, trb.at).length((len - moved) as u32);
                self.tell_transfer(place, trb, event, 0);
            }
        }
        End::Done
    }

    fn tell_transfer(&mut self, place: Place, trb: &Trb, event: Event, flags: u32) {
        let event = event.of(place.slot, place.endpoint);
        self.tell(trb.interrupter(), Event { control: event.control | flags, ..event });
    }

    /// A TD fails at the TRB where so many bytes end, and halts the endpoint.
    fn failed(&mut self, place: Place, td: &[Trb], done: u64, code: u8) -> End {
        let (at, rest, interrupter) = reached(td, done);
        self.halt(place, Event::new(trb::TRANSFER, code, at).length(rest), interrupter);
        End::Failed
    }

    fn halt(&mut self, place: Place, event: Event, interrupter: u16) {
        let Place { slot, endpoint, .. } = place;
        let state = match (event.status >> 24) as u8 {
            code::TRB => EndpointState::Error,
            _ => EndpointState::Halted,
        };
        if let Some(at) = self.endpoint(slot, endpoint) {
            at.forget();
        }
        self.set_state(slot, endpoint, state);
        self.tell(interrupter, event.of(slot, endpoint));
    }

    /// An endpoint is stopped. If it is in the middle of a TD, the driver hears how far it came (4.6.9).
    pub(super) fn stop_transfer(&mut self, slot: u8, number: u8) {
        let Some(at) = self.endpoint(slot, number).filter(|at| at.asked) else { return };
        let (mut ring, done) = (at.ring, at.done);
        let mut td = Vec::new();
        if self.gather(&mut ring, &mut td) == Ok(true) {
            let (at, rest, interrupter) = reached(&td, done);
            let event = Event::new(trb::TRANSFER, code::STOPPED, at).length(rest).of(slot, number);
            self.tell(interrupter, event);
        }
    }
}

fn is_data(trb: &Trb) -> bool {
    matches!(trb.kind(), trb::NORMAL | trb::DATA | trb::ISOCH)
}

/// The TRB where so many bytes of a TD end, what is left of it, and its interrupter.
fn reached(td: &[Trb], done: u64) -> (u64, u32, u16) {
    let mut left = done;
    let mut last = (0, 0, 0);
    for trb in td.iter().filter(|trb| trb.kind() != trb::EVENT_DATA) {
        let len = if is_data(trb) { u64::from(trb.len()) } else { 0 };
        last = (trb.at, (len - left.min(len)) as u32, trb.interrupter());
        if left < len {
            break;
        }
        left -= len;
    }
    last
}
