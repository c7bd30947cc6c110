//! The units of a controller, and the commands that are with them.

use std::collections::{BTreeMap, VecDeque};

use devices_core::Node;
use devices_core::block::{Completion, CompletionQueue, Payload, Segment, Tray};
use devices_core::dma::Dma;
use devices_core::wiring::Waker;
use serde::{Deserialize, Serialize};

use super::inquiry::{standard, vital};
use super::spec::{Sense, op, sense, status};
use super::unit::{Reply, Sent, Unit, UnitOptions, request_sense};
use super::work::{Job, Step, Work, part};
use super::{Cdb, Expected};

/// Where a unit is on its bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Address {
    /// Target.
    pub target: u8,
    /// Logical unit of it, up to 16383.
    pub lun: u16,
}

/// A command as it comes.
pub struct Command {
    /// What its sender calls it.
    pub tag: u64,
    /// The command.
    pub cdb: Cdb,
    /// Bytes of it that its sender has given.
    pub len: usize,
    /// Guest memory for data to the sender.
    pub data_in: Vec<Segment>,
    /// Guest memory with data of the sender's.
    pub data_out: Vec<Segment>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Status.
    pub status: u8,
    /// Sense data, if there is any.
    pub sense: Vec<u8>,
    /// Bytes of data that were moved.
    pub moved: u64,
}

/// What became of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The unit has carried it out, or refused it.
    Ended(End),
    /// It was aborted.
    Aborted,
    /// Its unit was reset.
    Reset,
    /// It asks for more data than there is memory for.
    Overrun,
}

/// Highest unit of a target.
pub const LUN_MAX: u16 = 16383;

pub(super) struct Task<T> {
    pub(super) address: Address,
    pub(super) tag: u64,
    pub(super) job: Job,
    pub(super) context: T,
}

/// A command that was given up, and whose memory may not be the guest's again yet.
pub(super) struct Dying<T> {
    pub(super) address: Address,
    pub(super) reset: bool,
    pub(super) context: T,
}

pub(super) struct Slot {
    /// By which its medium and its tray wake the controller.
    number: u32,
    pub(super) unit: Unit,
}

/// The units of a controller. `T` is what the controller needs to answer a command.
pub struct ScsiBus<T> {
    waker: Waker,
    pub(super) units: BTreeMap<Address, Slot>,
    /// Units that were unplugged while their media worked for them.
    leaving: Vec<(Address, Slot)>,
    /// With the media.
    pub(super) tasks: Vec<Task<T>>,
    /// The media take no more: what waits for that.
    pub(super) refused: VecDeque<Task<T>>,
    pub(super) dying: Vec<Dying<T>>,
    /// What the controller has not taken back.
    ended: VecDeque<(T, Outcome)>,
}

impl<T> ScsiBus<T> {
    /// A bus with nothing on it, of a controller that is woken so.
    pub fn new(waker: Waker) -> ScsiBus<T> {
        ScsiBus {
            waker,
            units: BTreeMap::new(),
            leaving: Vec::new(),
            tasks: Vec::new(),
            refused: VecDeque::new(),
            dying: Vec::new(),
            ended: VecDeque::new(),
        }
    }

    /// Puts a unit there. Gives its tray, if it has one. The controller is woken by numbers from 0 on, one a unit, and then
    /// calls [`completions`](ScsiBus::completions).
    ///
    /// # Errors
    /// There is one already.
    pub fn plug(&mut self, address: Address, options: UnitOptions) -> Result<Option<Tray>, Taken> {
        if self.units.contains_key(&address) {
            return Err(Taken);
        }
        let slots = || self.units.values().chain(self.leaving.iter().map(|(_, slot)| slot));
        let number = (0..).find(|number| slots().all(|slot| slot.number != *number)).unwrap_or(u32::MAX);
        let done = CompletionQueue::new(self.waker.clone(), number);
        let unit = Unit::new(options, done, Tray::new(self.waker.clone(), number));
        let tray = unit.tray();
        self.units.insert(address, Slot { number, unit });
        Ok(tray)
    }

    /// Takes a unit away; its commands are aborted. False: there is none.
    pub fn unplug(&mut self, address: Address) -> bool {
        let Some(slot) = self.units.remove(&address) else { return false };
        self.leaving.push((address, slot));
        self.kill(false, |at, _| at == address);
        true
    }

    /// Units that were unplugged and whose media are quiet. To be dropped without the controller's lock: closing a medium
    /// waits for its threads, which may be waiting for the controller.
    #[must_use]
    pub fn take_left(&mut self) -> Vec<Unit> {
        let left = self.leaving.extract_if(.., |(_, slot)| slot.unit.requests.drained());
        left.map(|(_, slot)| slot.unit).collect()
    }

    /// Whether a unit that was at that address has not left.
    pub fn is_leaving(&self, at: Address) -> bool {
        self.leaving.iter().any(|(address, _)| *address == at)
    }

    /// The first place that is free where a target, a unit or both are said: unit 0 of a target before its others.
    pub fn choose(&self, target: Option<u8>, lun: Option<u16>) -> Option<Address> {
        let free = |address: &Address| !self.units.contains_key(address);
        match (target, lun) {
            (Some(target), None) => (0..=LUN_MAX).map(|lun| Address { target, lun }).find(free),
            (Some(target), Some(lun)) => Some(Address { target, lun }),
            (None, lun) => {
                let lun = lun.unwrap_or(0);
                (0..=u8::MAX).map(|target| Address { target, lun }).find(free)
            }
        }
    }

    /// The other units of a target are to tell that one has come or gone.
    pub fn units_changed(&mut self, at: Address) {
        for (address, slot) in &mut self.units {
            if address.target == at.target && address.lun != at.lun {
                slot.unit.attend(sense::UNITS_CHANGED);
            }
        }
    }

    /// Whether a target has a unit.
    pub fn has_target(&self, target: u8) -> bool {
        self.units.keys().any(|address| address.target == target)
    }

    /// Whether there is a unit.
    pub fn has_unit(&self, address: Address) -> bool {
        self.units.contains_key(&address)
    }

    /// Bytes of a unit's block, if it is there.
    pub fn block(&self, address: Address) -> Option<u64> {
        self.units.get(&address).map(|slot| slot.unit.block())
    }

    /// Commands that have not ended.
    pub fn in_flight(&self) -> usize {
        self.tasks.len() + self.refused.len() + self.dying.len()
    }

    /// Whether there is a command for a unit, of that name or of any.
    pub fn has_task(&self, address: Address, tag: Option<u64>) -> bool {
        let wanted = |task: &Task<T>| task.address == address && tag.is_none_or(|tag| tag == task.tag);
        self.tasks.iter().chain(&self.refused).any(wanted)
    }

    /// Begins a command for a target that has a unit.
    pub fn start(&mut self, dma: &Dma, address: Address, command: Command, context: T) {
        let cdb = command.cdb;
        let Some(slot) = self.units.get_mut(&address) else {
            let reply = self.execute_for_target(address, &command);
            return self.reply(dma, address, (reply, 0), command, context);
        };
        let mut sent = 0;
        let reply = if cdb.length().is_none_or(|len| command.len < len) {
            Reply::Check(sense::OPCODE)
        } else if !fits(&command, slot.unit.block()) {
            return self.ended.push_back((context, Outcome::Overrun));
        } else if cdb.op() == op::REPORT_LUNS {
            slot.unit.told(sense::UNITS_CHANGED);
            self.report_luns(address.target, &cdb)
        } else {
            match parameters(dma, &command, slot.unit.block()) {
                Some(list) => {
                    sent = list.len() as u64;
                    slot.unit.execute(&cdb, &list)
                }
                None => Reply::Check(sense::LIST_LENGTH),
            }
        };
        self.reply(dma, address, (reply, sent), command, context);
    }

    /// What a target answers for a unit that is not there (SPC-4, 4.5.11, 6.4.2).
    fn execute_for_target(&self, address: Address, command: &Command) -> Reply {
        let cdb = &command.cdb;
        // There could be a unit 0, and there is none; there is no other.
        let kind = if address.lun == 0 { 0x3f } else { 0x7f };
        let mut data = match cdb.op() {
            op::REPORT_LUNS => return self.report_luns(address.target, cdb),
            op::REQUEST_SENSE => return Reply::Data(request_sense(cdb, sense::NO_UNIT)),
            op::INQUIRY if cdb.byte(1) & 1 != 0 && cdb.byte(2) == 0 => vital(kind, 0, &[0]),
            op::INQUIRY if cdb.byte(1) & 3 == 0 && cdb.byte(2) == 0 => {
                standard(kind, false, ("QEMU", "QEMU TARGET", "2.5+"))
            }
            op::INQUIRY => return Reply::Check(sense::FIELD),
            _ => return Reply::Check(sense::NO_UNIT),
        };
        data.truncate(cdb.be16(3).into());
        Reply::Data(data)
    }

    /// The units of a target; unit 0 answers this, so it is one (SPC-4, 6.33).
    fn report_luns(&self, target: u8, cdb: &Cdb) -> Reply {
        let most = cdb.be32(6) as usize;
        if most < 16 || cdb.byte(2) > 2 {
            return Reply::Check(sense::FIELD);
        }
        let mut luns: Vec<u16> = Vec::new();
        // Those that are well known are none.
        if cdb.byte(2) != 1 {
            luns.push(0);
            let all = self.units.keys().filter(|address| address.target == target && address.lun != 0);
            luns.extend(all.map(|address| address.lun));
        }
        let mut data = (luns.len() as u32 * 8).to_be_bytes().to_vec();
        data.extend([0; 4]);
        for lun in luns {
            let lun = if lun < 256 { lun } else { 0x4000 | lun };
            data.extend((u64::from(lun) << 48).to_be_bytes());
        }
        data.truncate(most);
        Reply::Data(data)
    }

    /// Answers a command, or has the medium do its part; so many bytes of parameters were read.
    fn reply(
        &mut self,
        dma: &Dma,
        address: Address,
        (reply, sent): (Reply, u64),
        command: Command,
        context: T,
    ) {
        let Command { tag, data_in, data_out, .. } = command;
        let end = match reply {
            Reply::Done => End { status: status::GOOD, sense: Vec::new(), moved: sent },
            Reply::Check(sense) => self.check(address, sense, 0),
            Reply::Data(data) => {
                let moved = data.len() as u64;
                let room = part(&data_in, 0, moved);
                let moved = moved.min(total(&room));
                match Payload::Guest(dma.ram().clone(), room).fill(&data) {
                    Ok(()) if dma.enabled() => End { status: status::GOOD, sense: Vec::new(), moved },
                    _ => self.check(address, sense::FIELD, 0),
                }
            }
            Reply::Medium(work) => {
                let reads = matches!(work, Work::Read { .. } | Work::ReadRaw { .. });
                let data = if reads { data_in } else { data_out };
                let job = Job { work, data, moved: sent, flight: None };
                self.send(dma, Task { address, tag, job, context }, false);
                return;
            }
        };
        self.ended.push_back((context, Outcome::Ended(end)));
    }

    fn check(&self, address: Address, sense: Sense, moved: u64) -> End {
        let slot = self.units.get(&address);
        let sense = slot.map_or_else(|| sense.fixed(), |slot| slot.unit.sense_data(sense));
        End { status: status::CHECK_CONDITION, sense, moved }
    }

    /// Sends a task to its medium. False: that takes no more, and the task waits, the `first` to be sent or the last.
    pub(super) fn send(&mut self, dma: &Dma, mut task: Task<T>, first: bool) -> bool {
        let sent = match self.units.get(&task.address) {
            Some(slot) => slot.unit.send(dma, &mut task.job),
            None => Sent::NoMedium,
        };
        match sent {
            Sent::Taken => self.tasks.push(task),
            Sent::Refused if first => self.refused.push_front(task),
            Sent::Refused => self.refused.push_back(task),
            Sent::NoMedium => {
                let end = self.check(task.address, sense::NO_MEDIUM, 0);
                self.ended.push_back((task.context, Outcome::Ended(end)));
            }
        }
        sent != Sent::Refused
    }

    /// What the media have answered, and what may go on for that. Nothing does unless the guest lets the controller have its
    /// memory.
    pub fn completions(&mut self, dma: &Dma) {
        let addresses: Vec<Address> = self.units.keys().copied().collect();
        for address in addresses {
            while let Some(answer) = self.next_answer(address) {
                self.answered(dma, address, answer);
            }
        }
        for (_, slot) in &self.leaving {
            while slot.unit.requests.next().is_some() {}
        }
        while let Some(task) = self.refused.pop_front() {
            if !dma.enabled() || !self.send(dma, task, true) {
                break;
            }
        }
        self.bury();
    }

    fn next_answer(&mut self, address: Address) -> Option<Completion> {
        let unit = &mut self.units.get_mut(&address)?.unit;
        unit.tray_changed();
        unit.requests.next()
    }

    fn answered(&mut self, dma: &Dma, address: Address, answer: Completion) {
        let of = |task: &Task<T>| task.address == address && task.job.waits_for(&answer);
        let Some(at) = self.tasks.iter().position(of) else { return };
        let Task { address, tag, job, context } = self.tasks.swap_remove(at);
        match job.advance(dma, answer.result, &answer.buffer) {
            Step::More(job) if dma.enabled() => {
                self.send(dma, Task { address, tag, job, context }, false);
            }
            Step::More(_) => self.ended.push_back((context, Outcome::Aborted)),
            Step::Over(job, Ok(())) => {
                let end = End { status: status::GOOD, sense: Vec::new(), moved: job.moved };
                self.ended.push_back((context, Outcome::Ended(end)));
            }
            Step::Over(job, Err(sense)) => {
                let end = self.check(address, sense, job.moved);
                self.ended.push_back((context, Outcome::Ended(end)));
            }
        }
    }

    /// The next command that has ended, for the controller: until there is none, after each call that may end one.
    pub fn take_ended(&mut self) -> Option<(T, Outcome)> {
        self.ended.pop_front()
    }

    /// Gives commands up. They have ended when no byte moves for them any more.
    fn kill(&mut self, reset: bool, which: impl Fn(Address, u64) -> bool) {
        let doomed = |task: &mut Task<T>| which(task.address, task.tag);
        let tasks: Vec<Task<T>> = self.tasks.extract_if(.., doomed).collect();
        let (refused, rest) = std::mem::take(&mut self.refused)
            .into_iter()
            .partition::<VecDeque<_>, _>(|task| which(task.address, task.tag));
        self.refused = rest;
        let dying = |Task { address, context, .. }: Task<T>| Dying { address, reset, context };
        self.dying.extend(tasks.into_iter().chain(refused).map(dying));
        self.bury();
    }

    /// Ends what was given up and moves no byte any more.
    fn bury(&mut self) {
        let (over, rest): (Vec<_>, _) = std::mem::take(&mut self.dying).into_iter().partition(|dying| {
            let of = dying.address;
            self.is_drained(|address| address == of)
        });
        self.dying = rest;
        for Dying { reset, context, .. } in over {
            self.ended.push_back((context, if reset { Outcome::Reset } else { Outcome::Aborted }));
        }
    }

    /// Whether no byte moves any more for commands to such units that were given up.
    pub fn is_drained(&self, which: impl Fn(Address) -> bool) -> bool {
        let leaving = self.leaving.iter().map(|(address, slot)| (address, slot));
        self.units.iter().chain(leaving).all(|(at, slot)| !which(*at) || slot.unit.requests.drained())
    }

    /// Aborts the commands to a unit, or the one of that name.
    pub fn abort(&mut self, address: Address, tag: Option<u64>) {
        self.kill(false, |at, name| at == address && tag.is_none_or(|tag| tag == name));
    }

    /// Resets units: their commands are over, and the next one is told so.
    pub fn reset_units(&mut self, which: impl Fn(Address) -> bool) {
        self.kill(true, |address, _| which(address));
        self.units.iter_mut().filter(|(address, _)| which(**address)).for_each(|(_, slot)| slot.unit.reset());
    }

    /// The controller is reset: commands are forgotten, units are as after power-on. See [`drained`](ScsiBus::drained).
    pub fn reset(&mut self) {
        self.forget(|_| true);
        for slot in self.units.values_mut() {
            slot.unit.reset();
            // What was given up and has ended: nobody waits for it.
            while slot.unit.requests.next().is_some() {}
        }
        self.ended.clear();
    }

    /// Forgets commands without an answer.
    pub fn forget(&mut self, which: impl Fn(&T) -> bool) {
        self.tasks.retain(|task| !which(&task.context));
        self.refused.retain(|task| !which(&task.context));
        self.dying.retain(|dying| !which(&dying.context));
        self.ended.retain(|(context, _)| !which(context));
    }

    fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.units.values().chain(self.leaving.iter().map(|(_, slot)| slot))
    }

    /// Whether no byte moves any more for what was given up.
    pub fn drained(&self) -> bool {
        self.slots().all(|slot| slot.unit.requests.drained())
    }

    /// Whether nothing at all is in flight.
    pub fn idle(&self) -> bool {
        self.refused.is_empty() && self.slots().all(|slot| slot.unit.requests.idle())
    }

    /// Has what is done, and only waits for its instant, end now. What has not been begun ends too.
    pub fn hasten(&mut self) {
        for task in std::mem::take(&mut self.refused) {
            self.ended.push_back((task.context, Outcome::Aborted));
        }
        for task in &self.tasks {
            if let (Some(slot), Some(flight)) = (self.units.get(&task.address), &task.job.flight) {
                slot.unit.requests.hasten(flight);
            }
        }
    }

    /// For people.
    pub fn inspect(&self, node: &mut Node) {
        node.value("in flight", self.tasks.len()).value("refused", self.refused.len());
        node.value("given up", self.dying.len()).value("leaving", self.leaving.len());
        for (Address { target, lun }, slot) in &self.units {
            slot.unit.inspect(node.child(&format!("unit {target}:{lun}")));
        }
    }
}

/// There is a unit at that address already.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("there is a unit already")]
pub struct Taken;

fn total(segments: &[Segment]) -> u64 {
    segments.iter().map(|segment| u64::from(segment.len)).sum()
}

/// Whether there is memory for the data that a command asks for.
fn fits(command: &Command, block: u64) -> bool {
    match command.cdb.expected(block) {
        Expected::Nothing => true,
        Expected::In(len) => len <= total(&command.data_in),
        Expected::Out(len) => len <= total(&command.data_out),
    }
}

/// The parameters of a command that has any.
fn parameters(dma: &Dma, command: &Command, block: u64) -> Option<Vec<u8>> {
    let has = matches!(
        command.cdb.op(),
        op::MODE_SELECT_6 | op::MODE_SELECT_10 | op::UNMAP | op::WRITE_SAME_10 | op::WRITE_SAME_16
    );
    let (true, Expected::Out(len)) = (has, command.cdb.expected(block)) else { return Some(Vec::new()) };
    let mut list = vec![0; len as usize];
    let from = Payload::Guest(dma.ram().clone(), part(&command.data_out, 0, len));
    (dma.enabled() && from.copy_to(&mut list).is_ok()).then_some(list)
}
