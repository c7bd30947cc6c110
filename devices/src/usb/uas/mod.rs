//! USB Attached SCSI: commands in any number for several units, as QEMU's `usb-uas`.
//!
//! Specification: "Information technology - USB Attached SCSI (UAS)", T10 2095-D revision 4; commands are those of
//! [`scsi`](crate::storage::scsi), whose units hang on the device's own bus. The core moves data between media and memory of
//! the device's, of at most 16 MiB; packets move it between that and the guest. While a command is with its
//! medium the pipes have no answer, and the controller is woken when they have.
//!
//! At high speed there are no streams: one command at a time has each data pipe, which READ READY and WRITE READY tell
//! (5.4.3). A COMMAND IU does not say how much data the host means to move, so its command tells: what a unit sends less
//! than that, in whole packets, is ended by an empty one.
//!
//! As QEMU's: units from 0 to 255 of one target; ABORT TASK and LOGICAL UNIT RESET alone; commands of 16 bytes at most. A
//! command with a tag that another has fails, and that one goes on.
//!
//! Left out: task attributes and priorities (as in QEMU).

mod arena;
mod host;
pub mod model;
pub mod spec;
mod state;
mod tasks;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use devices_core::{Node, Saved, StateError, Waker};

use super::descriptors::Description;
use super::{Answer, Setup, Speed, UsbDevice};
use arena::Arena;
pub use host::Host;
use spec::{iu, pipe, response};
use tasks::{Managed, Stage, Task};

/// Most commands that have not ended.
const TASKS: usize = 64;
/// Most information units that wait for the host.
const STATUS: usize = 2 * TASKS;
/// Most bytes that a command moves. Drivers ask for one MiB at most.
const MOST: u64 = 4 << 20;

/// An information unit for the host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Status {
    tag: u16,
    bytes: Vec<u8>,
}

impl Status {
    /// Whether it tells that a data pipe is a command's.
    fn is_ready(&self) -> bool {
        matches!(self.bytes[..], [iu::READ_READY | iu::WRITE_READY, ..])
    }
}

/// A data pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pipe {
    /// The command that has it, by its turn.
    task: Option<u32>,
    /// The last one has ended, but the host may mean to move more for it.
    rest: bool,
}

/// A device.
pub struct Uas {
    description: Description,
    serial: String,
    host: Host,
    arena: Option<Arena>,
    /// Commands that have not ended, the first one first.
    tasks: Vec<Task>,
    /// Functions that wait for what they ended.
    managed: Vec<Managed>,
    status: VecDeque<Status>,
    data_in: Pipe,
    data_out: Pipe,
    /// What the next command is called.
    turn: u32,
}

impl Uas {
    /// A device with no units, on a controller that is woken so.
    pub fn new(serial: &str, waker: Waker) -> Uas {
        Uas {
            description: spec::description(Speed::High, serial),
            serial: serial.to_owned(),
            host: Host::new(waker),
            arena: None,
            tasks: Vec::new(),
            managed: Vec::new(),
            status: VecDeque::new(),
            data_in: Pipe::default(),
            data_out: Pipe::default(),
            turn: 0,
        }
    }

    /// Its bus, for those who put units on it.
    pub fn host(&self) -> Host {
        self.host.clone()
    }

    /// Says something by the status pipe.
    fn tell(&mut self, id: u8, tag: u16, rest: &[u8]) {
        let [high, low] = tag.to_be_bytes();
        let bytes = [&[id, 0, high, low], rest].concat();
        self.status.push_back(Status { tag, bytes });
    }
    /// RESPONSE.
    fn respond(&mut self, tag: u16, code: u8) {
        self.tell(iu::RESPONSE, tag, &[0, 0, 0, code]);
    }
    /// SENSE.
    fn tell_sense(&mut self, tag: u16, status: u8, sense: &[u8]) {
        let [high, low] = (sense.len() as u16).to_be_bytes();
        let head = [0, 0, status, 0, 0, 0, 0, 0, 0, 0, high, low];
        self.tell(iu::SENSE, tag, &[&head, sense].concat());
    }

    /// The data pipes go to the commands that wait for them longest.
    fn give_pipes(&mut self) {
        for (stage, id) in [(Stage::Send, iu::READ_READY), (Stage::Gather, iu::WRITE_READY)] {
            let pipe = if id == iu::READ_READY { &mut self.data_in } else { &mut self.data_out };
            if pipe.task.is_some() {
                continue;
            }
            let Some(Task { turn, tag, .. }) = self.tasks.iter().find(|task| task.stage == stage) else {
                continue;
            };
            let tag = *tag;
            *pipe = Pipe { task: Some(*turn), rest: false };
            self.tell(id, tag, &[]);
        }
    }

    /// An information unit of the host's (6.2).
    fn take_unit(&mut self, data: &[u8]) -> Answer {
        let [id, _, high, low, ..] = *data else { return Answer::Stall };
        if self.status.len() + self.managed.len() >= STATUS {
            return Answer::Nak;
        }
        let tag = u16::from_be_bytes([high, low]);
        let taken = match id {
            iu::COMMAND if data.len() >= spec::COMMAND_LEN => self.command(tag, data),
            iu::TASK if data.len() >= spec::TASK_LEN => {
                self.manage(tag, data);
                true
            }
            iu::COMMAND | iu::TASK => {
                self.respond(tag, response::INVALID);
                true
            }
            _ => return Answer::Stall,
        };
        self.go_on();
        if taken { Answer::Done(data.len()) } else { Answer::Nak }
    }

    fn give_status(&mut self, room: &mut [u8]) -> Answer {
        let Some(Status { bytes, .. }) = self.status.front() else { return Answer::Nak };
        let Some(room) = room.get_mut(..bytes.len()) else { return Answer::Babble };
        room.copy_from_slice(bytes);
        self.status.pop_front();
        Answer::Done(room.len())
    }

    fn give_data(&mut self, room: &mut [u8]) -> Answer {
        let Pipe { task: Some(turn), .. } = self.data_in else {
            return if self.data_in.rest { Answer::Done(0) } else { Answer::Stall };
        };
        let packet = u32::from(spec::PACKET);
        let Some(task) = self.tasks.iter_mut().find(|task| task.turn == turn) else { return Answer::Stall };
        let len = (task.len - task.at).min(room.len() as u32);
        let part = &mut room[..len as usize];
        if let Some(arena) = &self.arena {
            // Its place is there.
            let _ = arena.dma().read(task.place.gpa + u64::from(task.at), part);
        }
        task.at += len;
        let full = len as usize == room.len();
        // Whole packets do not show that there are no more.
        let empty_follows = full && task.len < task.place.len && task.len.is_multiple_of(packet) && len > 0;
        if task.at == task.len && !empty_follows {
            self.finish(turn);
            self.go_on();
        }
        Answer::Done(len as usize)
    }

    fn take_data(&mut self, data: &[u8]) -> Answer {
        let Pipe { task: Some(turn), .. } = self.data_out else {
            return if self.data_out.rest { Answer::Done(data.len()) } else { Answer::Stall };
        };
        let Some(task) = self.tasks.iter_mut().find(|task| task.turn == turn) else { return Answer::Stall };
        if task.stage == Stage::Gather {
            let len = (task.len - task.at).min(data.len() as u32);
            if let Some(arena) = &self.arena {
                let _ = arena.dma().write(task.place.gpa + u64::from(task.at), &data[..len as usize]);
            }
            task.at += len;
            if task.at == task.len {
                self.start(turn);
                self.go_on();
            }
        }
        // What its command has no use for is dropped.
        Answer::Done(data.len())
    }
}

impl UsbDevice for Uas {
    fn title(&self) -> &'static str {
        "USB Attached SCSI HBA"
    }
    fn speeds(&self) -> &'static [Speed] {
        &[Speed::High]
    }
    fn attach(&mut self, speed: Speed) {
        self.description = spec::description(speed, &self.serial);
    }
    fn description(&self) -> &Description {
        &self.description
    }

    /// Commands are given up. Memory that may still be filled for them is another's no more.
    fn reset(&mut self) {
        self.arena = None;
        self.tasks.clear();
        self.managed.clear();
        self.status.clear();
        (self.data_in, self.data_out) = (Pipe::default(), Pipe::default());
        let mut units = self.host.units();
        units.live = false;
        units.bus.reset();
    }

    fn configured(&mut self, is: bool) {
        self.host.units().live = is;
    }

    /// The class has none.
    fn request(&mut self, _setup: Setup, _data: &mut Vec<u8>, _now: u64) -> bool {
        false
    }

    fn transfer_in(&mut self, endpoint: u8, room: &mut [u8], _now: u64) -> Answer {
        match endpoint {
            pipe::STATUS => self.give_status(room),
            pipe::DATA_IN => self.give_data(room),
            _ => Answer::Stall,
        }
    }

    fn transfer_out(&mut self, endpoint: u8, data: &[u8], _now: u64) -> Answer {
        match endpoint {
            pipe::COMMAND => self.take_unit(data),
            pipe::DATA_OUT => self.take_data(data),
            _ => Answer::Stall,
        }
    }

    fn speaks_at(&self) -> Option<u64> {
        None
    }

    fn woken(&mut self) {
        let empty = if self.arena.is_none() { Arena::empty() } else { None };
        // Without memory there is no command, but what was given up may have ended, or a tray been opened.
        if let Some(arena) = self.arena.as_ref().or(empty.as_ref()) {
            self.host.units().bus.completions(arena.dma());
        }
        self.go_on();
    }
    fn quiesce(&mut self) -> bool {
        self.woken();
        self.host.units().bus.idle()
    }
    fn drained(&self) -> bool {
        self.host.units().bus.drained()
    }

    fn save(&self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("to be told", self.status.len()).value("functions", self.managed.len());
        for Task { turn, tag, lun, cdb, stage, at, len, .. } in &self.tasks {
            let child = node.child(&format!("command {turn}"));
            child.hex("tag", *tag).value("unit", lun).hex("code", cdb[0]);
            child.value("stage", format_args!("{stage:?}")).value("moved", at).value("bytes", len);
        }
        self.host.units().bus.inspect(node);
    }
}
