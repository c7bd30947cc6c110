//! The schedule: frame list, queue heads and transfer descriptors (3.1 to 3.4).
//!
//! All of it is the guest's memory: each structure is read once, checked, and followed for so many steps. A frame moves at
//! most [`BYTES`] bytes and follows at most [`STEPS`] links; a call follows at most [`CALL_STEPS`]. A queue head that was
//! seen in the frame is gone through again only if something was done in between, as bandwidth reclamation wants it.

use super::super::{Answer, Function, Pid};
use super::Uhci;
use super::spec::{Command, FRAME_MASK, FRAMES, Status, TD_MOST, control, link, pid};

/// Most bytes of a frame.
const BYTES: usize = 1280;
/// Most links of a frame.
const STEPS: u32 = 1024;
/// Most queue heads of a frame.
const QUEUES: usize = 128;
/// Most links of one call; frames that are left then are skipped.
const CALL_STEPS: u32 = 16 * STEPS;

/// A queue head on the way.
#[derive(Clone, Copy)]
struct Queue {
    at: u32,
    next: u32,
}

/// A transfer descriptor, as it was read.
#[derive(Clone, Copy)]
struct Td {
    at: u32,
    control: u32,
    token: u32,
    buffer: u32,
}

/// What is next after a TD.
enum Then {
    /// It is done: what follows it.
    Advance,
    /// It, or what follows it, is not to be done now.
    Leave,
    /// Nothing in this frame.
    Stop,
}

/// One frame.
struct Walk<'a> {
    uhci: &'a mut Uhci,
    now: u64,
    steps: &'a mut u32,
    bytes: usize,
    /// Something was done.
    happened: bool,
    /// A TD asks for an interrupt, came short, failed.
    complete: bool,
    short: bool,
    failed: bool,
}

/// Walks the frames that are due.
pub(super) fn walk(uhci: &mut Uhci, now: u64) {
    let mut steps = CALL_STEPS;
    // Entries of this call in whose frames nothing happened: the same again would be the same.
    let mut quiet = Vec::new();
    let mut happened = false;
    while let Some(late) = uhci.frames.late(now).filter(|_| uhci.runs()) {
        if steps == 0 || late > u64::from(FRAMES) {
            // Nobody can tell which of them a slow controller would have made.
            pass(uhci, late);
            break;
        }
        if frame(uhci, now, &mut steps, &mut quiet) {
            quiet.clear();
            happened = true;
        } else {
            uhci.frames.nothing();
        }
        if uhci.runs() {
            pass(uhci, 1);
        }
    }
    // What follows is at full speed from now on, whenever it was that it happened.
    if happened {
        uhci.frames.hurry();
    }
}

fn pass(uhci: &mut Uhci, frames: u64) {
    uhci.frame = (u64::from(uhci.frame) + frames) as u16 & FRAME_MASK;
    uhci.frames.pass(frames);
}

/// Walks one frame. Whether something happened.
fn frame(uhci: &mut Uhci, now: u64, steps: &mut u32, quiet: &mut Vec<u32>) -> bool {
    if !uhci.dma.enabled() || uhci.registers.command.contains(Command::GLOBAL_SUSPEND) {
        return false;
    }
    let at = uhci.registers.base.wrapping_add(4 * u32::from(uhci.frame % FRAMES));
    let mut walk =
        Walk { uhci, now, steps, bytes: 0, happened: false, complete: false, short: false, failed: false };
    let Some([entry]) = walk.words(at) else { return true };
    if quiet.contains(&entry) {
        return false;
    }
    walk.follow(entry);
    let happened = walk.end();
    if !happened && quiet.len() < QUEUES {
        quiet.push(entry);
    }
    happened
}

impl Walk<'_> {
    /// Follows links from there.
    fn follow(&mut self, entry: u32) {
        let mut next = entry;
        let mut queue: Option<Queue> = None;
        let mut seen: Vec<u32> = Vec::new();
        let mut done = false;
        for _ in 0..STEPS {
            if next & link::TERMINATE != 0 || *self.steps == 0 {
                return;
            }
            *self.steps -= 1;
            let at = next & link::ADDRESS;
            if next & link::QUEUE != 0 {
                if seen.contains(&at) {
                    if !std::mem::take(&mut done) {
                        return;
                    }
                    seen.clear();
                }
                if seen.len() == QUEUES {
                    return;
                }
                seen.push(at);
                let Some([head, element]) = self.words(at) else { return };
                (next, queue) = match element & link::TERMINATE {
                    0 => (element, Some(Queue { at, next: head })),
                    _ => (head, None),
                };
                continue;
            }
            let Some([following, control, token, buffer]) = self.words(at) else { return };
            let td = Td { at, control, token, buffer };
            next = match (self.transfer(td), queue) {
                (Then::Stop, _) => return,
                (Then::Leave | Then::Advance, None) => following,
                (Then::Leave, Some(Queue { next, .. })) => {
                    queue = None;
                    next
                }
                (Then::Advance, Some(Queue { at, next })) => {
                    done = true;
                    if !self.put(at.wrapping_add(4), following) {
                        return;
                    }
                    let deeper = following & (link::DEPTH | link::TERMINATE) == link::DEPTH;
                    queue = queue.filter(|_| deeper);
                    if deeper { following } else { next }
                }
            };
        }
    }

    /// Does a TD, if it is to be done.
    fn transfer(&mut self, td: Td) -> Then {
        if td.control & control::ACTIVE == 0 {
            // The controller looks at the bit also where nothing is to be done; drivers make use of it to be told of the
            // end of a frame.
            self.complete |= td.control & control::INTERRUPT != 0;
            return Then::Leave;
        }
        let length = match td.token >> 21 {
            0x7ff => 0,
            most if most < TD_MOST as u32 => most as usize + 1,
            _ => return self.fail(Status::PROCESS_ERROR),
        };
        let pid = match td.token & 0xff {
            pid::IN => Pid::In,
            pid::OUT => Pid::Out,
            pid::SETUP => Pid::Setup,
            _ => return self.fail(Status::PROCESS_ERROR),
        };
        if self.bytes != 0 && self.bytes + length > BYTES {
            return Then::Stop;
        }
        let mut room = [0; TD_MOST];
        let data = &mut room[..length];
        if pid != Pid::In && self.uhci.dma.read(td.buffer.into(), data).is_err() {
            return self.fail(Status::SYSTEM_ERROR);
        }
        let answer = self.packet(td.token, pid, data);
        if let (Pid::In, Answer::Done(got)) = (pid, answer)
            && self.uhci.dma.write(td.buffer.into(), &data[..got.min(length)]).is_err()
        {
            return self.fail(Status::SYSTEM_ERROR);
        }
        self.answered(td, pid, length, answer)
    }

    /// Sends the packet to whom it is for.
    fn packet(&mut self, token: u32, pid: Pid, data: &mut [u8]) -> Answer {
        let (address, endpoint) = ((token >> 8 & 0x7f) as u8, (token >> 15 & 0xf) as u8);
        let now = self.now;
        let mut ports = self.uhci.ports.iter().filter(|port| port.is_open());
        let answer = ports.find_map(|port| {
            let sent = |function: &mut Function| function.packet(pid, endpoint, data, now);
            port.socket.with(|function| function.find(address).map(sent))?
        });
        answer.unwrap_or(Answer::Silence)
    }

    /// Writes back what came of it.
    fn answered(&mut self, td: Td, pid: Pid, length: usize, answer: Answer) -> Then {
        let once = td.control & control::ISOCHRONOUS != 0;
        let failed = |control: u32, bits: u32| (control & !control::ACTIVE | bits, true);
        let (word, ended) = match answer {
            Answer::Done(got) => {
                let status = control::LENGTH | control::ACTIVE | control::NAK;
                (td.control & !status | (got as u32).wrapping_sub(1) & control::LENGTH, false)
            }
            Answer::Nak if once => (td.control & !control::ACTIVE | control::NAK, false),
            Answer::Nak => (td.control | control::NAK, false),
            Answer::Stall => failed(td.control, control::STALLED),
            Answer::Babble => failed(td.control, control::BABBLE | control::STALLED),
            // Three attempts, or as many as the driver says; 0: for ever.
            Answer::Silence => match td.control & control::ERRORS {
                _ if once => failed(td.control, control::TIMEOUT),
                0 => (td.control | control::TIMEOUT, false),
                control::ERROR => failed(td.control & !control::ERRORS, control::TIMEOUT | control::STALLED),
                _ => ((td.control | control::TIMEOUT) - control::ERROR, false),
            },
        };
        if word != td.control && !self.put(td.at.wrapping_add(4), word) {
            return Then::Stop;
        }
        self.happened |= (word ^ td.control) & !(control::NAK | control::TIMEOUT) != 0;
        self.failed |= ended;
        let interrupts = word & control::ACTIVE == 0 && word & control::INTERRUPT != 0;
        self.complete |= interrupts;
        match answer {
            Answer::Done(got) => {
                self.bytes += length;
                if pid == Pid::In && got < length && word & control::SHORT != 0 {
                    self.short = true;
                    return Then::Leave;
                }
                Then::Advance
            }
            Answer::Babble => Then::Stop,
            _ if once => Then::Advance,
            _ => Then::Leave,
        }
    }

    /// The frame is over. Whether something happened in it.
    fn end(self) -> bool {
        let registers = &mut self.uhci.registers;
        let before = (registers.status, registers.complete, registers.short);
        registers.complete |= self.complete;
        registers.short |= self.short;
        registers.status.set(
            Status::INTERRUPT,
            registers.status.contains(Status::INTERRUPT) || self.complete || self.short,
        );
        registers.status.set(Status::ERROR, registers.status.contains(Status::ERROR) || self.failed);
        self.happened || before != (registers.status, registers.complete, registers.short)
    }

    /// The controller stops with an error.
    fn fail(&mut self, error: Status) -> Then {
        self.uhci.registers.status |= error | Status::HALTED;
        self.uhci.registers.command &= !Command::RUN;
        self.happened = true;
        Then::Stop
    }

    /// Words of memory; none: the controller has stopped.
    fn words<const N: usize>(&mut self, at: u32) -> Option<[u32; N]> {
        let mut bytes = [[0; 4]; N];
        if self.uhci.dma.read(at.into(), bytes.as_flattened_mut()).is_err() {
            self.fail(Status::SYSTEM_ERROR);
            return None;
        }
        Some(bytes.map(u32::from_le_bytes))
    }

    /// Writes a word; false: the controller has stopped.
    fn put(&mut self, at: u32, word: u32) -> bool {
        let put = self.uhci.dma.write(at.into(), &word.to_le_bytes()).is_ok();
        if !put {
            self.fail(Status::SYSTEM_ERROR);
        }
        put
    }
}
