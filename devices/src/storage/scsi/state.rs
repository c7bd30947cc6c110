//! Saved state. A command in flight is saved as what it does, and sent anew on load.

use devices_core::StateError;
use devices_core::block::{SECTOR, Segment};
use devices_core::dma::Dma;
use devices_core::state::valid;
use serde::{Deserialize, Serialize};

use super::bus::{Address, Dying, ScsiBus, Task};
use super::cd::CdState;
use super::disk::DiskState;
use super::inquiry::{SAME_BLOCKS, UNMAP_RANGES};
use super::spec::{FRAME, RAW_FRAME, Sense};
use super::unit::{Kind, Unit, is_attention};
use super::work::{Job, Work};

/// Most commands in flight on a bus.
pub const TASKS: usize = 1024;
/// Most unit attentions of a unit.
const ATTENTIONS: usize = 8;

/// Saved form of a bus; `S` is that of what its controller needs to answer a command.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BusState<S> {
    units: Vec<UnitState>,
    tasks: Vec<TaskState<S>>,
    dying: Vec<DyingState<S>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct UnitState {
    address: Address,
    attentions: Vec<Sense>,
    kind: KindState,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum KindState {
    Disk { blocks: u64, block: u64, state: DiskState },
    Cd { state: CdState, present: bool },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct TaskState<S> {
    address: Address,
    tag: u64,
    work: Work,
    data: Vec<Segment>,
    moved: u64,
    context: S,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DyingState<S> {
    address: Address,
    reset: bool,
    context: S,
}

fn save_unit(address: Address, unit: &Unit) -> UnitState {
    let Unit { kind, labels: _, requests: _, attentions } = unit;
    let kind = match kind {
        Kind::Disk(disk) => KindState::Disk { blocks: disk.blocks(), block: disk.block(), state: disk.state },
        Kind::Cd(cd) => KindState::Cd { state: cd.state, present: cd.medium.is_some() },
    };
    UnitState { address, attentions: attentions.clone(), kind }
}

fn load_unit(unit: &mut Unit, attentions: Vec<Sense>, state: KindState) -> Result<(), StateError> {
    valid(attentions.len() <= ATTENTIONS, "a unit has too much to tell")?;
    valid(attentions.iter().all(|&sense| is_attention(sense)), "a unit attention is none")?;
    unit.attentions = attentions;
    match (&mut unit.kind, state) {
        (Kind::Disk(disk), KindState::Disk { blocks, block, state }) => {
            valid(blocks == disk.blocks() && block == disk.block(), "the disk has another size")?;
            disk.state = state;
        }
        (Kind::Cd(cd), KindState::Cd { state, present }) => {
            cd.restore(state, present);
            // One that came since is told of as any other.
            unit.medium_changed();
        }
        _ => return valid(false, "a unit was of another kind"),
    }
    Ok(())
}

impl<T> ScsiBus<T> {
    /// Its saved form, at any instant when everything that ended was taken.
    pub fn save<S>(&self, context: impl Fn(&T) -> S) -> BusState<S> {
        let task = |task: &Task<T>| {
            let Job { work, data, moved, flight: _ } = &task.job;
            TaskState {
                address: task.address,
                tag: task.tag,
                work: work.clone(),
                data: data.clone(),
                moved: *moved,
                context: context(&task.context),
            }
        };
        let dying = |dying: &Dying<T>| {
            let Dying { address, reset, context: of } = dying;
            DyingState { address: *address, reset: *reset, context: context(of) }
        };
        BusState {
            units: self.units.iter().map(|(&address, slot)| save_unit(address, &slot.unit)).collect(),
            tasks: self.tasks.iter().chain(&self.refused).map(task).collect(),
            dying: self.dying.iter().map(dying).collect(),
        }
    }

    /// Takes over a saved form. The bus was reset, and has the units of then.
    ///
    /// # Errors
    /// The units are others, or it could not have come to be.
    pub fn load<S>(
        &mut self,
        dma: &Dma,
        state: BusState<S>,
        context: impl Fn(S) -> Result<T, StateError>,
    ) -> Result<(), StateError> {
        let BusState { units, tasks, dying } = state;
        valid(units.len() == self.units.len(), "there are other units")?;
        valid(tasks.len() + dying.len() <= TASKS, "there are too many commands in flight")?;
        for UnitState { address, attentions, kind } in units {
            let slot = self.units.get_mut(&address);
            let slot = slot.ok_or_else(|| StateError::Invalid("a unit is not there".to_owned()))?;
            load_unit(&mut slot.unit, attentions, kind)?;
        }
        // The guest may have taken the bus from the controller since.
        let ram = Dma::always(dma.ram().clone());
        for TaskState { address, tag, work, data, moved, context: of } in tasks {
            let unit = self.units.get(&address).map(|slot| &slot.unit);
            valid(unit.is_some_and(|unit| unit.could_do(&work, &data, moved)), "a command reaches too far")?;
            let memory = data.iter().all(|s| ram.validate(s.gpa, s.len.into()).is_ok());
            valid(memory, "a command moves what is no memory")?;
            let job = Job { work, data, moved, flight: None };
            self.send_again(dma, Task { address, tag, job, context: context(of)? });
        }
        for DyingState { address, reset, context: of } in dying {
            self.dying.push(Dying { address, reset, context: context(of)? });
        }
        Ok(())
    }

    /// What has no medium any more fails when the guest goes on.
    fn send_again(&mut self, dma: &Dma, task: Task<T>) {
        let ready = self.units.get(&task.address).is_some_and(|slot| slot.unit.backend().is_some());
        if ready {
            self.send(dma, task, false);
        } else {
            self.refused.push_back(task);
        }
    }
}

impl Unit {
    /// Whether a command of its could have come so far.
    fn could_do(&self, work: &Work, data: &[Segment], moved: u64) -> bool {
        let memory: u64 = data.iter().map(|segment| u64::from(segment.len)).sum();
        let (size, writable, block) = match &self.kind {
            Kind::Disk(disk) => (disk.blocks() * disk.block(), !disk.read_only(), disk.block()),
            Kind::Cd(_) => (u64::from(u32::MAX) * FRAME, false, FRAME),
        };
        let range = |at: u64, len: u64| {
            let whole = at.is_multiple_of(SECTOR) && len.is_multiple_of(SECTOR);
            whole && at.checked_add(len).is_some_and(|end| end <= size)
        };
        match work {
            Work::Read { at, len } => range(*at, *len) && *len <= memory,
            Work::Write { at, len, .. } => writable && range(*at, *len) && *len <= memory,
            Work::ReadRaw { lba, left } => {
                let frames = lba.checked_add(*left).is_some();
                let room = moved.checked_add(u64::from(*left) * RAW_FRAME).is_some_and(|end| end <= memory);
                matches!(self.kind, Kind::Cd(_)) && frames && room && *left > 0
            }
            Work::Flush => true,
            Work::Discard { ranges } => {
                let all = ranges.iter().all(|&(at, len)| range(at, len));
                writable && all && !ranges.is_empty() && ranges.len() <= UNMAP_RANGES
            }
            Work::Same { at, left, block: bytes, .. } => {
                let whole = left.is_multiple_of(block) && *left > 0 && *left <= SAME_BLOCKS * block;
                writable && whole && range(*at, *left) && bytes.len() as u64 == block
            }
            Work::Compare { at, left } => {
                range(*at, *left) && *left > 0 && moved.checked_add(*left).is_some_and(|end| end <= memory)
            }
        }
    }
}
