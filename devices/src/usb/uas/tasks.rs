//! Commands on their way through the SCSI core, and the functions that manage them.

use devices_core::block::Segment;

use super::arena::{self, Arena};
use super::spec::{CDB, FUNCTION, LUN, MANAGED, function, response, sense};
use super::{MOST, Pipe, TASKS, Uas};
use crate::storage::scsi::spec::{Sense, sense as scsi, status};
use crate::storage::scsi::{Address, Cdb, Command, End, Expected, Outcome};

/// Bytes of a block of who has none.
const BLOCK: u64 = 512;

/// Where a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It waits for data of the host's.
    Gather,
    /// It is with the core.
    Busy,
    /// There is data for the host.
    Send,
    /// It was given up, and is still with the core.
    Doomed,
}

/// A command that has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Task {
    /// What the core calls it: answers of those that were given up are nobody's.
    pub turn: u32,
    pub tag: u16,
    pub lun: u8,
    pub cdb: [u8; 16],
    pub stage: Stage,
    /// Memory for its data.
    pub place: Segment,
    /// Bytes that go over in this stage, and how many have.
    pub len: u32,
    pub at: u32,
    /// How it ended.
    pub status: u8,
    pub sense: Vec<u8>,
}

/// A function that is answered when no byte moves any more for what it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Managed {
    pub tag: u16,
    pub lun: u8,
    /// None: all commands of the unit.
    pub turn: Option<u32>,
}

fn address(lun: u8) -> Address {
    Address { target: 0, lun: lun.into() }
}

/// The unit that eight bytes mean; none: one of a level that is not there.
fn unit(bytes: &[u8]) -> Option<u8> {
    match bytes {
        [0, lun, ..] => Some(*lun),
        _ => None,
    }
}

impl Uas {
    fn refuse(&mut self, tag: u16, sense: Sense) {
        self.tell_sense(tag, status::CHECK_CONDITION, &sense.fixed());
    }

    /// A COMMAND IU, which is whole. False: there is no room for it now.
    pub(super) fn command(&mut self, tag: u16, data: &[u8]) -> bool {
        let refused = match unit(&data[LUN..]) {
            _ if data[super::spec::ADDITIONAL] != 0 => Some(sense::ADDITIONAL),
            _ if self.tasks.iter().any(|task| task.tag == tag) => Some(sense::OVERLAPPED),
            Some(_) if self.host.units().bus.has_target(0) => None,
            _ => Some(scsi::NO_UNIT),
        };
        if let Some(sense) = refused {
            self.refuse(tag, sense);
            return true;
        }
        let lun = data[LUN + 1];
        let mut cdb = [0; 16];
        cdb.copy_from_slice(&data[CDB..CDB + 16]);
        let block = self.host.units().bus.block(address(lun)).unwrap_or(BLOCK);
        let (stage, len) = match Cdb::new(&cdb).expected(block) {
            Expected::Out(len) if len > 0 => (Stage::Gather, len),
            Expected::In(len) | Expected::Out(len) => (Stage::Busy, len),
            Expected::Nothing => (Stage::Busy, 0),
        };
        if len > MOST {
            self.refuse(tag, scsi::FIELD);
            return true;
        }
        let len = len as u32;
        if self.arena.is_none() {
            self.arena = Arena::new();
        }
        let taken = self.tasks.iter().map(|task| task.place);
        let place = Some(TASKS).filter(|most| self.tasks.len() < *most && self.arena.is_some());
        let Some(place) = place.and_then(|_| arena::place(taken, len)) else { return false };
        self.turn = self.turn.wrapping_add(1);
        let (turn, sense) = (self.turn, Vec::new());
        self.tasks.push(Task { turn, tag, lun, cdb, stage, place, len, at: 0, status: 0, sense });
        if stage == Stage::Busy {
            self.start(turn);
        }
        true
    }

    fn task(&mut self, turn: u32) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.turn == turn)
    }

    /// Hands a command to the core.
    pub(super) fn start(&mut self, turn: u32) {
        let Some(task) = self.tasks.iter_mut().find(|task| task.turn == turn) else { return };
        let Some(arena) = &self.arena else { return };
        task.stage = Stage::Busy;
        let segment = || vec![task.place];
        let command = Command {
            tag: turn.into(),
            cdb: Cdb::new(&task.cdb),
            len: task.cdb.len(),
            data_in: segment(),
            data_out: segment(),
        };
        self.host.units().bus.start(arena.dma(), address(task.lun), command, turn);
    }

    /// What has ended, and what may go on for that.
    pub(super) fn go_on(&mut self) {
        loop {
            let ended = self.host.units().bus.take_ended();
            let Some((turn, outcome)) = ended else { break };
            self.ended(turn, outcome);
        }
        let over = |managed: &mut Managed| {
            let means =
                |task: &Task| task.lun == managed.lun && managed.turn.is_none_or(|turn| turn == task.turn);
            !self.tasks.iter().any(|task| task.stage == Stage::Doomed && means(task))
        };
        let over: Vec<Managed> = self.managed.extract_if(.., over).collect();
        for Managed { tag, .. } in over {
            self.respond(tag, response::COMPLETE);
        }
        self.give_pipes();
    }

    fn ended(&mut self, turn: u32, outcome: Outcome) {
        let Some(task) = self.task(turn) else { return };
        if task.stage == Stage::Doomed {
            self.tasks.retain(|task| task.turn != turn);
            return;
        }
        let inward = !matches!(Cdb::new(&task.cdb).expected(BLOCK), Expected::Out(_));
        let check = |sense: Sense| (status::CHECK_CONDITION, sense.fixed(), 0);
        let (status, sense, moved) = match outcome {
            Outcome::Ended(End { status, sense, moved }) => (status, sense, moved),
            Outcome::Overrun => check(scsi::FIELD),
            // Its unit was taken away.
            Outcome::Aborted | Outcome::Reset => check(scsi::NO_UNIT),
        };
        (task.status, task.sense) = (status, sense);
        let moved = moved.min(task.place.len.into()) as u32;
        if inward && moved > 0 {
            (task.stage, task.len, task.at) = (Stage::Send, moved, 0);
        } else {
            self.finish(turn);
        }
    }

    /// A command is over, and its host hears how.
    pub(super) fn finish(&mut self, turn: u32) {
        let Some(at) = self.tasks.iter().position(|task| task.turn == turn) else { return };
        let Task { tag, status, sense, .. } = self.tasks.remove(at);
        self.release(turn);
        self.tell_sense(tag, status, &sense);
    }

    /// A command has a data pipe no more.
    fn release(&mut self, turn: u32) {
        for pipe in [&mut self.data_in, &mut self.data_out] {
            if pipe.task == Some(turn) {
                *pipe = Pipe { task: None, rest: true };
            }
        }
    }

    /// Gives up the commands that are meant.
    fn doom(&mut self, means: impl Fn(&Task) -> bool) {
        let doomed: Vec<(u32, u16)> =
            self.tasks.iter().filter(|task| means(task)).map(|task| (task.turn, task.tag)).collect();
        for (turn, tag) in doomed {
            self.release(turn);
            // Nobody is to move data for it.
            self.status.retain(|status| status.tag != tag || !status.is_ready());
            if let Some(task) = self.task(turn).filter(|task| task.stage == Stage::Busy) {
                task.stage = Stage::Doomed;
            }
            self.tasks.retain(|task| task.turn != turn || task.stage == Stage::Doomed);
        }
    }

    /// A TASK MANAGEMENT IU, which is whole.
    pub(super) fn manage(&mut self, tag: u16, data: &[u8]) {
        if self.tasks.iter().any(|task| task.tag == tag) {
            return self.respond(tag, response::OVERLAPPED);
        }
        let lun = unit(&data[LUN..]).filter(|lun| self.host.units().bus.has_unit(address(*lun)));
        let Some(lun) = lun else { return self.respond(tag, response::INCORRECT_LUN) };
        let turn = match data[FUNCTION] {
            function::ABORT_TASK => {
                let managed = u16::from_be_bytes([data[MANAGED], data[MANAGED + 1]]);
                let is = |task: &&Task| task.lun == lun && task.tag == managed;
                let Some(turn) = self.tasks.iter().find(is).map(|task| task.turn) else {
                    return self.respond(tag, response::COMPLETE);
                };
                self.doom(|task| task.turn == turn);
                self.host.units().bus.abort(address(lun), Some(turn.into()));
                Some(turn)
            }
            function::LUN_RESET => {
                self.doom(|task| task.lun == lun);
                self.host.units().bus.reset_units(|at| at == address(lun));
                None
            }
            _ => return self.respond(tag, response::NOT_SUPPORTED),
        };
        self.managed.push(Managed { tag, lun, turn });
    }
}
