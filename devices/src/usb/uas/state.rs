//! Saved state: commands at any stage, with the data that they have.

use devices_core::block::Segment;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::arena::{self, Arena};
use super::tasks::{Managed, Stage, Task};
use super::{MOST, Pipe, STATUS, Status, TASKS, Uas};
use crate::storage::scsi::BusState;

const KIND: &str = "usb-uas";
const VERSION: u16 = 0;
/// Most bytes of sense data, and of an information unit for the host.
const SENSE: usize = 252;
const UNIT: usize = 16 + SENSE;

#[derive(Serialize, Deserialize)]
struct State {
    bus: BusState<u32>,
    live: bool,
    tasks: Vec<TaskState>,
    managed: Vec<ManagedState>,
    status: Vec<(u16, ByteBuf)>,
    data_in: PipeState,
    data_out: PipeState,
    turn: u32,
}

#[derive(Serialize, Deserialize)]
struct TaskState {
    turn: u32,
    tag: u16,
    lun: u8,
    cdb: [u8; 16],
    stage: StageState,
    place: Segment,
    len: u32,
    at: u32,
    status: u8,
    sense: ByteBuf,
    /// What is in its memory, up to zeros at the end.
    data: ByteBuf,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
enum StageState {
    Gather,
    Busy,
    Send,
    Doomed,
}

#[derive(Serialize, Deserialize)]
struct ManagedState {
    tag: u16,
    lun: u8,
    #[serde(deserialize_with = "Option::deserialize")]
    turn: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct PipeState {
    #[serde(deserialize_with = "Option::deserialize")]
    task: Option<u32>,
    rest: bool,
}

fn save_task(task: &Task, arena: Option<&Arena>) -> TaskState {
    let Task { turn, tag, lun, cdb, stage, place, len, at, status, sense } = task;
    let mut data = vec![0; place.len as usize];
    if let Some(arena) = arena {
        // Its place is there.
        let _ = arena.dma().read(place.gpa, &mut data);
    }
    // Zeros at the end are there in any new memory.
    let used = data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    data.truncate(used);
    let stage = match stage {
        Stage::Gather => StageState::Gather,
        Stage::Busy => StageState::Busy,
        Stage::Send => StageState::Send,
        Stage::Doomed => StageState::Doomed,
    };
    TaskState {
        turn: *turn,
        tag: *tag,
        lun: *lun,
        cdb: *cdb,
        stage,
        place: *place,
        len: *len,
        at: *at,
        status: *status,
        sense: ByteBuf::from(sense.clone()),
        data: ByteBuf::from(data),
    }
}

fn load_task(state: TaskState, arena: &Arena) -> Result<Task, StateError> {
    let TaskState { turn, tag, lun, cdb, stage, place, len, at, status, sense, data } = state;
    let Segment { gpa, len: room } = place;
    let there = gpa.checked_add(room.into()).is_some_and(|end| end <= arena::LEN);
    valid(there && u64::from(room) <= MOST, "a command's data has no place")?;
    valid(at <= len && len <= room && data.len() <= room as usize, "a command has too much data")?;
    valid(sense.len() <= SENSE, "there is too much sense data")?;
    valid(arena.dma().write(gpa, &data).is_ok(), "a command's data has no place")?;
    let stage = match stage {
        StageState::Gather => Stage::Gather,
        StageState::Busy => Stage::Busy,
        StageState::Send => Stage::Send,
        StageState::Doomed => Stage::Doomed,
    };
    Ok(Task { turn, tag, lun, cdb, stage, place, len, at, status, sense: sense.into_vec() })
}

pub(super) fn save(uas: &Uas) -> Result<Saved, StateError> {
    let Uas { description: _, serial: _, host, arena, tasks, managed, status, data_in, data_out, turn } = uas;
    let units = host.units();
    let managed =
        managed.iter().map(|Managed { tag, lun, turn }| ManagedState { tag: *tag, lun: *lun, turn: *turn });
    let unit = |Status { tag, bytes }: &Status| (*tag, ByteBuf::from(bytes.clone()));
    let pipe = |Pipe { task, rest }: &Pipe| PipeState { task: *task, rest: *rest };
    let state = State {
        bus: units.bus.save(|turn| *turn),
        live: units.live,
        tasks: tasks.iter().map(|task| save_task(task, arena.as_ref())).collect(),
        managed: managed.collect(),
        status: status.iter().map(unit).collect(),
        data_in: pipe(data_in),
        data_out: pipe(data_out),
        turn: *turn,
    };
    Saved::encode(KIND, VERSION, &state)
}

pub(super) fn load(uas: &mut Uas, saved: &Saved) -> Result<(), StateError> {
    let State { bus, live, tasks, managed, status, data_in, data_out, turn } = saved.decode(KIND, VERSION)?;
    valid(tasks.len() <= TASKS, "there are too many commands")?;
    // A command that ends tells more.
    let told = status.len() + managed.len();
    valid(told <= STATUS + 3 * TASKS, "too much is to be told")?;
    valid(status.iter().all(|(_, bytes)| (4..=UNIT).contains(&bytes.len())), "an information unit is none")?;
    let arena = Arena::new();
    let arena = arena.ok_or_else(|| StateError::Invalid("there is no memory for its data".into()))?;
    uas.tasks = tasks.into_iter().map(|task| load_task(task, &arena)).collect::<Result<_, _>>()?;
    let of_turn = |turn: u32| uas.tasks.iter().filter(|task| task.turn == turn).count();
    valid(uas.tasks.iter().all(|task| of_turn(task.turn) == 1), "two commands are the same")?;
    let has = |pipe: &PipeState, stages: [Stage; 2]| {
        let of = |task: &&Task| Some(task.turn) == pipe.task && stages.contains(&task.stage);
        pipe.task.is_none() || uas.tasks.iter().any(|task| of(&task))
    };
    let fits = has(&data_in, [Stage::Send; 2]) && has(&data_out, [Stage::Gather, Stage::Busy]);
    valid(fits, "a command has a data pipe that moves none for it")?;
    let pipe = |PipeState { task, rest }: PipeState| Pipe { task, rest };
    (uas.data_in, uas.data_out) = (pipe(data_in), pipe(data_out));
    uas.managed =
        managed.into_iter().map(|ManagedState { tag, lun, turn }| Managed { tag, lun, turn }).collect();
    uas.status = status.into_iter().map(|(tag, bytes)| Status { tag, bytes: bytes.into_vec() }).collect();
    uas.turn = turn;
    let dma = arena.dma().clone();
    uas.arena = Some(arena);
    let mut units = uas.host.units();
    units.live = live;
    units.bus.load(&dma, bus, Ok)
}
