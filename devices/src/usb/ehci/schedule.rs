//! The walk over both lists (4.6, 4.8).
//!
//! All of it is the guest's memory: each structure is read once, checked, and followed for so many steps. A frame follows
//! at most [`STEPS`] links, the asynchronous list has at most [`QUEUES`] queue heads, and a call has a budget for all of it.

use super::spec::{Command, FRAME, FRAME_MASK, FRAMES, MICROFRAME, Status, endpoint, link};
use super::transfers::{Budget, Queue};
use super::{Ehci, QUIET};

/// Most links of a frame.
const STEPS: u32 = 256;
/// Most queue heads of the asynchronous list.
const QUEUES: usize = 256;

/// Walks what is due.
pub(super) fn walk(ehci: &mut Ehci, now: u64) {
    let mut budget = Budget::new(now);
    // Entries of this call in whose frames nothing happened: the same again would be the same.
    let mut quiet = Vec::new();
    let mut happened = false;
    while ehci.runs() && ehci.due <= now {
        let late = (now - ehci.due) / FRAME;
        if budget.is_spent() || !ehci.is_on(Command::PERIODIC) {
            // Nobody can tell which of them a slow controller would have made.
            pass(ehci, late + 1);
            break;
        }
        // Of what has passed since anybody looked, the whole list counts once.
        if let Some(more) = late.checked_sub(u64::from(FRAMES) - 1).filter(|more| *more > 0) {
            pass(ehci, more);
        }
        if frame(ehci, &mut budget, &mut quiet) {
            quiet.clear();
            happened = true;
        } else {
            ehci.idle = (ehci.idle + 1).min(QUIET);
        }
        if ehci.runs() {
            pass(ehci, 1);
        }
    }
    if ehci.is_on(Command::ASYNC) && ehci.due_async <= now {
        if async_list(ehci, &mut budget) {
            happened = true;
        } else {
            ehci.idle = (ehci.idle + 1).min(QUIET);
        }
        ehci.due_async = now.saturating_add(MICROFRAME);
    }
    // What follows is at full speed from now on, whenever it was that it happened.
    if happened || budget.is_spent() {
        ehci.idle = 0;
    }
    let raised = budget.raised;
    ehci.raise(raised, now);
}

fn pass(ehci: &mut Ehci, frames: u64) {
    let before = u64::from(ehci.frame % FRAMES);
    if before + frames >= u64::from(FRAMES) {
        ehci.registers.status |= Status::ROLLOVER;
    }
    ehci.frame = (u64::from(ehci.frame) + frames) as u16 & FRAME_MASK;
    ehci.due = ehci.due.saturating_add(frames.saturating_mul(FRAME));
}

/// Walks one frame of the periodic list. Whether something happened.
fn frame(ehci: &mut Ehci, budget: &mut Budget, quiet: &mut Vec<u32>) -> bool {
    if !ehci.dma.enabled() {
        return false;
    }
    let at = ehci.registers.periodic.wrapping_add(4 * u32::from(ehci.frame % FRAMES));
    let Some([entry]) = ehci.words(at) else { return true };
    if quiet.contains(&entry) {
        return false;
    }
    let (mut next, mut happened) = (entry, false);
    for _ in 0..STEPS {
        if next & link::TERMINATE != 0 || !budget.step() {
            break;
        }
        let at = next & link::ADDRESS;
        if next & link::KIND != link::QUEUE {
            // No device has an isochronous endpoint, and no hub is of high speed.
            let Some([following]) = ehci.words(at) else { return true };
            next = following;
            continue;
        }
        let Some(mut queue) = Queue::read(ehci, at) else { return true };
        // A queue head of the other list is none of this one's.
        if let packets @ 1.. = queue.packets() {
            happened |= queue.run(ehci, budget, packets);
        }
        if !ehci.runs() {
            return true;
        }
        next = queue.link;
    }
    if !happened && quiet.len() < usize::from(FRAMES) {
        quiet.push(entry);
    }
    happened
}

/// Walks the asynchronous list once. Whether something happened.
fn async_list(ehci: &mut Ehci, budget: &mut Budget) -> bool {
    if !ehci.dma.enabled() {
        return false;
    }
    let mut at = ehci.registers.next;
    let mut seen = Vec::new();
    let (mut happened, mut head) = (false, None);
    while !seen.contains(&at) && seen.len() < QUEUES && budget.step() {
        seen.push(at);
        let Some(mut queue) = Queue::read(ehci, at) else { return true };
        if queue.is_head() {
            head = Some(at);
        }
        // A queue head of the other list is none of this one's.
        if queue.packets() == 0 {
            happened |= queue.run(ehci, budget, u32::MAX);
        }
        if !ehci.runs() {
            return true;
        }
        if queue.link & (link::TERMINATE | link::KIND) != link::QUEUE {
            break;
        }
        at = queue.link & link::ADDRESS;
    }
    // It goes on where a driver takes nothing out: what it does take out is not kept here, and the doorbell says so.
    ehci.registers.next = head.unwrap_or(at);
    ehci.registers.status.set(Status::RECLAMATION, happened);
    if ehci.registers.command.contains(Command::DOORBELL) {
        ehci.registers.command -= Command::DOORBELL;
        budget.raised |= Status::ADVANCE;
        happened = true;
    }
    happened
}

impl Ehci {
    /// Words of memory; none: the controller has stopped.
    pub(super) fn words<const N: usize>(&mut self, at: u32) -> Option<[u32; N]> {
        let mut bytes = [[0; 4]; N];
        if self.dma.read(at.into(), bytes.as_flattened_mut()).is_err() {
            self.fail();
            return None;
        }
        Some(bytes.map(u32::from_le_bytes))
    }

    /// Writes words; false: the controller has stopped.
    pub(super) fn put_words<const N: usize>(&mut self, at: u32, words: [u32; N]) -> bool {
        let put = self.dma.write(at.into(), words.map(u32::to_le_bytes).as_flattened()).is_ok();
        if !put {
            self.fail();
        }
        put
    }

    /// Memory could not be reached: the controller stops (2.3.2, host system error).
    pub(super) fn fail(&mut self) {
        self.registers.index = self.index();
        self.registers.command -= Command::RUN;
        self.registers.status |= Status::SYSTEM_ERROR;
    }
}

/// Whether an endpoint is asked in some microframes of a frame, and how often in it: nothing for the asynchronous list.
pub(super) fn packets(capabilities: u32) -> u32 {
    let starts = (capabilities & endpoint::START_MASK).count_ones();
    starts * (capabilities >> endpoint::MULT_SHIFT).max(1)
}
