//! Frames, and the walk over the lists of endpoints (4.2, 4.4, 6.4).
//!
//! All of it is the guest's memory: each structure is read once, checked, and followed for so many steps. A list has at
//! most [`ENDPOINTS`] endpoints, which have [`TURN`] TDs in a frame at most; a frame moves at most [`BYTES`] bytes and a
//! call follows at most [`STEPS`] links.

use super::Ohci;
use super::spec::{ADDRESS, CommandStatus, Control, Interrupt, ed, hcca, td};
use super::transfers::{Endpoint, Then};

/// Most endpoints of a list.
const ENDPOINTS: u32 = 256;
/// Most TDs of an endpoint in a frame.
const TURN: u32 = 64;
/// Most bytes of a frame: more than a bus has, so that a disk takes no longer than it must.
const BYTES: usize = 64 << 10;
/// Most links of one call; frames that are left then are passed over.
const STEPS: u32 = 16 << 10;
/// So many frames that nobody looked at are walked.
const LATE: u64 = 1024;

/// What a call may still do.
pub(super) struct Budget {
    pub(super) now: u64,
    steps: u32,
    /// Of this frame.
    pub(super) bytes: usize,
}

impl Budget {
    /// Whether one more link may be followed.
    pub(super) fn step(&mut self) -> bool {
        let may = self.steps > 0;
        self.steps = self.steps.saturating_sub(1);
        may
    }
}

/// What was found in a list.
#[derive(Clone, Copy, Default)]
struct Found {
    /// There is a TD.
    active: bool,
    /// One has come on.
    happened: bool,
}

/// Walks the frames that are due.
pub(super) fn walk(ohci: &mut Ohci, now: u64) {
    let mut budget = Budget { now, steps: STEPS, bytes: BYTES };
    // Lists of this call in which nothing happened: the same again would be the same.
    let mut quiet = Vec::new();
    let mut happened = false;
    while let Some(late) = ohci.frames.late(now).filter(|_| ohci.runs()) {
        if budget.steps == 0 || late > LATE || !ohci.is_listed() {
            // Nobody can tell which of them a slow controller would have made.
            ohci.pass(late);
            break;
        }
        budget.bytes = BYTES;
        if frame(ohci, &mut budget, &mut quiet) {
            quiet.clear();
            happened = true;
        } else {
            ohci.frames.nothing();
        }
        if ohci.runs() {
            ohci.pass(1);
        }
    }
    // What follows is at full speed from now on, whenever it was that it happened.
    if happened {
        ohci.frames.hurry();
    }
}

/// Walks one frame. Whether something happened.
fn frame(ohci: &mut Ohci, budget: &mut Budget, quiet: &mut Vec<u32>) -> bool {
    if !ohci.dma.enabled() {
        return false;
    }
    let mut happened = false;
    if ohci.registers.control.contains(Control::PERIODIC) {
        let number = u32::from(ohci.registers.number % hcca::HEADS);
        let Some([head]) = ohci.words(ohci.registers.hcca.wrapping_add(4 * number)) else { return true };
        happened |= list(ohci, budget, quiet, head & ADDRESS).happened;
    }
    for (enabled, filled) in
        [(Control::CONTROL, CommandStatus::CONTROL_FILLED), (Control::BULK, CommandStatus::BULK_FILLED)]
    {
        let is_bulk = enabled == Control::BULK;
        let registers = &ohci.registers;
        if ohci.stopped || !registers.control.contains(enabled) || !registers.status.contains(filled) {
            continue;
        }
        let head = if is_bulk { registers.bulk_head } else { registers.control_head };
        // Unless a TD is found the list is empty (5.2.7.2), and none has a current endpoint between frames.
        let found = list(ohci, budget, quiet, head);
        ohci.registers.status.set(filled, found.active);
        match is_bulk {
            true => ohci.registers.bulk_current = 0,
            false => ohci.registers.control_current = 0,
        }
        happened |= found.happened || !found.active;
    }
    happened || ohci.stopped
}

/// Walks a list of endpoints.
fn list(ohci: &mut Ohci, budget: &mut Budget, quiet: &mut Vec<u32>, head: u32) -> Found {
    if quiet.contains(&head) {
        return Found { active: true, happened: false };
    }
    let (mut at, mut found) = (head, Found::default());
    for _ in 0..ENDPOINTS {
        if at == 0 || !budget.step() {
            break;
        }
        let Some(words) = ohci.words(at) else { break };
        let mut endpoint = Endpoint::of(words);
        if endpoint.is_isochronous() && !ohci.registers.control.contains(Control::ISOCHRONOUS) {
            // There is nothing but such endpoints behind it.
            break;
        }
        let here = turn(ohci, budget, &mut endpoint);
        (found.active, found.happened) = (found.active | here.active, found.happened | here.happened);
        if endpoint.head != words[2] {
            ohci.put_words(at.wrapping_add(8), [endpoint.head]);
        }
        if ohci.stopped {
            break;
        }
        at = endpoint.next & ADDRESS;
    }
    if !found.happened {
        quiet.push(head);
    }
    found
}

/// An endpoint's TDs, until one waits.
fn turn(ohci: &mut Ohci, budget: &mut Budget, endpoint: &mut Endpoint) -> Found {
    let mut found = Found::default();
    for _ in 0..TURN {
        if endpoint.flags & ed::SKIP != 0 || endpoint.head & ed::HALTED != 0 || endpoint.is_empty() {
            break;
        }
        found.active = true;
        if budget.bytes == 0 || !budget.step() {
            // There is more to do in the next frame.
            found.happened = true;
            break;
        }
        match endpoint.transfer(ohci, budget) {
            Then::Goes => found.happened = true,
            Then::Waits => break,
            Then::Moved => {
                found.happened = true;
                break;
            }
        }
        if ohci.stopped {
            break;
        }
    }
    found
}

impl Ohci {
    /// So many frames are over: the number, HCCA and what the driver hears of it (4.4.1, 6.4.4).
    pub(super) fn pass(&mut self, frames: u64) {
        self.frames.pass(frames);
        let before = self.registers.number;
        let number = (u64::from(before) + frames) as u16;
        (self.registers.number, self.registers.toggle) = (number, self.registers.interval >> 31 != 0);
        if frames >= 0x8000 || (before ^ number) & 0x8000 != 0 {
            self.registers.interrupt |= Interrupt::OVERFLOW;
        }
        let at = self.registers.hcca.wrapping_add(hcca::FRAME);
        let done = self.take_done(frames);
        // HccaPad1 is 0 then.
        self.registers.interrupt |= Interrupt::FRAME;
        match done {
            _ if !self.dma.enabled() => {}
            Some(done) => {
                self.put_words(at, [number.into(), done]);
            }
            None => {
                self.put_words(at, [number.into()]);
            }
        }
    }

    /// The done queue, if it is to be in memory before so many frames have passed.
    fn take_done(&mut self, frames: u64) -> Option<u32> {
        let left = self.done.count;
        if self.done.head == 0 || left == td::NEVER || !self.dma.enabled() {
            return None;
        }
        if frames <= u64::from(left) {
            self.done.count = left - frames as u8;
            return None;
        }
        self.done.count = 0;
        // The driver has not taken the one before.
        if self.registers.interrupt.contains(Interrupt::DONE) {
            return None;
        }
        let others = self.registers.interrupt.intersects(self.registers.enable);
        let head = self.done.head | u32::from(others);
        self.done = super::Done::NONE;
        self.registers.interrupt |= Interrupt::DONE;
        Some(head)
    }

    /// Words of memory; none: the controller has stopped.
    pub(super) fn words<const N: usize>(&mut self, at: u32) -> Option<[u32; N]> {
        let mut bytes = [[0; 4]; N];
        if self.dma.read(at.into(), bytes.as_flattened_mut()).is_err() {
            self.die();
            return None;
        }
        Some(bytes.map(u32::from_le_bytes))
    }

    /// Writes words; false: the controller has stopped.
    pub(super) fn put_words<const N: usize>(&mut self, at: u32, words: [u32; N]) -> bool {
        let put = self.dma.write(at.into(), words.map(u32::to_le_bytes).as_flattened()).is_ok();
        if !put {
            self.die();
        }
        put
    }
}
