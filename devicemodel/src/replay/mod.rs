//! Feeds a recording to the devices again, with no CPU, and stops where they do something else. See
//! [`crate::trace`] for what a recording is and what a replay needs beside it.

mod player;
mod tape;

use std::fmt;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use devices::storage::pflash;
use devices_core::bus::AnyDevice;
use devices_core::{Space, StateError, Wake};
use hypervisor::{Clock, Dispatch, NoCpu};
use ioreq::{Data, Dir, Request, Sbdf, Target};
use thiserror::Error;

use crate::config::{ConfigError, DiskBus};
use crate::machine::{BuildError, Machine, MachineHandles, split_ram};
use crate::notices::notices;

use crate::saved::Bounds;
use crate::stream::{Reader, Record as Part, StreamError};
use crate::trace::header::{Header, Identity, MACHINE, MAGIC, MachineState};
use crate::trace::record::{Effect, Entry, HostEvent, MediumInfo, Time};
use crate::trace::{Border, Watched};
pub use player::Player;
use player::{Unequal, Verdict};
use tape::{Position, Stop, Tape};

/// Most RAM of a machine that is replayed: what is known of each page takes room, though the pages do not.
const MEMORY_MOST: u64 = 64 << 10;

/// Why a recording was not replayed.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The file.
    #[error("{file}: {source}")]
    File {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: StreamError,
    },
    /// What the file says.
    #[error("{file}: {part}: {why}")]
    Part {
        /// Which file.
        file: PathBuf,
        /// Which part of it.
        part: String,
        /// What is wrong.
        why: String,
    },
    /// The machine that it was made of.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// It cannot be built again.
    #[error("{0}")]
    Build(#[from] BuildError),
    /// A file beside the recording is missing or another one.
    #[error("{0}")]
    Changed(String),
    /// The host.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Records that were replayed.
    pub records: u64,
    /// Guest time at the end, in nanoseconds.
    pub time: u64,
    /// How.
    pub outcome: Outcome,
}

/// How a replay ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The devices did what was recorded, to the end.
    Equal,
    /// Likewise, to where the file is cut short.
    Cut,
    /// Likewise, to where the file is damaged.
    Damaged(String),
    /// They did something else.
    Differs(Box<Difference>),
}

/// Where and how devices differ from what was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Where in the file.
    pub position: Position,
    /// Guest time in nanoseconds.
    pub time: u64,
    /// Device and register, or who else was concerned.
    pub place: String,
    /// What had reached it.
    pub entry: String,
    /// What the device did in the recording.
    pub recorded: Option<Effect>,
    /// What it does now.
    pub now: Option<Effect>,
}

impl fmt::Display for Difference {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Difference { position, time, place, entry, recorded, now } = self;
        let said = |effect: &Option<Effect>| effect.as_ref().map_or("nothing".into(), ToString::to_string);
        let Position { record, piece, byte } = position;
        writeln!(to, "{place}: {entry}")?;
        writeln!(to, "  recorded: {}", said(recorded))?;
        writeln!(to, "  now:      {}", said(now))?;
        writeln!(to, "  guest time {}", Time(*time))?;
        write!(to, "  record {record}, byte {byte} of the piece at {piece:#x} in the file")
    }
}

/// Replays a recording.
pub fn replay(file: &Path) -> Result<Report, ReplayError> {
    let recording = Recording::open(file)?;
    let player = Arc::new(Player::default());
    let machine = recording.build(&player)?;
    let clock = machine.hypervisor().clock();
    let begin = recording.load(&machine, &player, &*clock)?;
    Ok(run(&machine, &player, &*clock, begin))
}

/// A recording whose header has been read.
struct Recording {
    file: PathBuf,
    reader: Reader<BufReader<File>>,
    header: Header,
}

impl Recording {
    fn open(file: &Path) -> Result<Recording, ReplayError> {
        let failed = |source: StreamError| ReplayError::File { file: file.to_owned(), source };
        let from = File::open(file).map_err(|error| failed(error.into()))?;
        let from = BufReader::with_capacity(1 << 18, from);
        let mut reader = Reader::with_magic(from, MAGIC, "a recording").map_err(failed)?;
        let first = reader.next_record().map_err(failed)?;
        let part = |why: String| ReplayError::Part { file: file.to_owned(), part: "header".into(), why };
        let saved = first.filter(|first| first.path == "header").map(|first| first.saved);
        let saved = saved.ok_or_else(|| part("it is missing".into()))?;
        let mut header: Header = saved.decode(MACHINE, 0).map_err(|error| part(error.to_string()))?;
        header.config.check()?;
        check(&header).map_err(part)?;
        // The guest has read it already; what there is here will do for the rest.
        header.config.firmware = None;
        Ok(Recording { file: file.to_owned(), reader, header })
    }

    /// The machine, with the player where its host was.
    fn build(&self, player: &Arc<Player>) -> Result<Machine, ReplayError> {
        let Header { config, capabilities, debugcon, files, media, .. } = &self.header;
        // What devices give the guest of these is compared, too; this is the better sentence.
        if let Some(changed) = files.iter().find_map(Identity::changed) {
            return Err(ReplayError::Changed(changed));
        }
        media.iter().cloned().for_each(|info| player.expect(info));
        let (below, above) = split_ram(config.memory_mib << 20);
        let still = NoCpu::new(config.vcpus, below, above).map_err(BuildError::from)?;
        let still = still.in_place_of(*capabilities);
        let hypervisor = Watched::replayed(still, player).map_err(BuildError::from)?;
        // Nobody hears of what it asks for: the recording says what came of it.
        let (notifier, _) = notices()?;
        let handles = MachineHandles {
            power: player.clone(),
            debugcon: debugcon.then(|| "/dev/null".into()),
            border: Border::Replayed(player.clone()),
            ..MachineHandles::new(Arc::new(hypervisor), notifier)
        };
        Ok(Machine::build(config.clone(), handles)?)
    }

    /// Brings the devices to where the recording begins, and gives the guest time of that.
    fn load(mut self, machine: &Machine, player: &Player, clock: &dyn Clock) -> Result<u64, ReplayError> {
        let mut state = None;
        let mut left = machine.bus().slots().len();
        let mut bounds = Bounds::of(&self.header.config);
        while left > 0 {
            let record = self.reader.next_within(&mut |path, kind, len| bounds.admit(path, kind, len));
            let record = record.map_err(|source| ReplayError::File { file: self.file.clone(), source })?;
            let part = |part: &str, why: String| ReplayError::Part {
                file: self.file.clone(),
                part: part.to_owned(),
                why,
            };
            let Some(Part { path, saved }) = record else {
                return Err(part("device", "states of devices are missing".into()));
            };
            let bad = |error: StateError| part(&path, error.to_string());
            if path == "machine" {
                let loaded: MachineState = saved.decode("machine", 0).map_err(bad)?;
                // Guest time first: devices arm their timers by it.
                clock.set(loaded.clock);
                state = Some(loaded);
                continue;
            }
            let loaded = path.strip_prefix("device/").and_then(|name| machine.bus().load(name, &saved));
            loaded.ok_or_else(|| part(&path, "this machine has no such device".into()))?.map_err(bad)?;
            left -= 1;
        }
        let state = state.ok_or_else(|| ReplayError::Part {
            file: self.file.clone(),
            part: "machine".into(),
            why: "it is missing".into(),
        })?;
        machine.bus().set_config_address(state.config_address);
        machine.bus().remap_all();
        player.begin(Tape::new(self.reader, state.clock));
        Ok(state.clock)
    }
}

/// What a header says must be possible, whoever wrote it.
fn check(header: &Header) -> Result<(), String> {
    let Header { config, files, media, .. } = header;
    if config.memory_mib > MEMORY_MOST {
        return Err(format!("a guest of more than {MEMORY_MOST} MiB is not replayed"));
    }
    let known = |path: &PathBuf| files.iter().any(|file| file.path == *path);
    if ![&config.kernel, &config.initrd].into_iter().flatten().all(known) {
        return Err("a kernel that is not described".into());
    }
    if media.len() != config.disks.iter().filter(|disk| disk.path.is_some()).count() {
        return Err("the media are not those of the drives".into());
    }
    // Opened one after the other, in the order of the drives.
    let flash = config.disks.iter().filter(|disk| disk.path.is_some()).map(|disk| disk.bus == DiskBus::Flash);
    if media.iter().zip(flash).all(|(info, flash)| possible(info, flash)) {
        Ok(())
    } else {
        Err("there is no such medium".into())
    }
}

/// Whether there can be such a medium.
fn possible(info: &MediumInfo, flash: bool) -> bool {
    let MediumInfo { size, physical_block, first_sector, .. } = info;
    size.is_multiple_of(512)
        && *size < 1 << 50
        && physical_block.is_power_of_two()
        && match flash {
            // Its contents are mapped, whole erase blocks of them.
            true => {
                (1..=pflash::MOST).contains(size)
                    && size.is_multiple_of(pflash::spec::BLOCK as u64)
                    && first_sector.len() as u64 == *size
            }
            false => first_sector.len() <= 512,
        }
}

/// Carries out all that is recorded, as long as the devices agree.
fn run(machine: &Machine, player: &Arc<Player>, clock: &dyn Clock, begin: u64) -> Report {
    let slots = machine.bus().slots();
    let mut vcpu = machine.dispatcher();
    let mut last = None;
    while let Some((at, entry)) = player.next() {
        clock.set(at);
        carry_out(machine, player, &slots, &mut *vcpu, &entry);
        last = Some((at, entry));
    }
    let time = last.as_ref().map_or(begin, |(at, _)| *at);
    let (verdict, records) = player.verdict();
    let outcome = match verdict {
        None | Some(Verdict::Stopped(Stop::End)) => Outcome::Equal,
        Some(Verdict::Stopped(Stop::Cut)) => Outcome::Cut,
        Some(Verdict::Stopped(Stop::Damaged(why))) => Outcome::Damaged(why),
        Some(Verdict::Unequal(Unequal { position, recorded, now })) => {
            let (place, entry) = match last {
                None => ("the machine".into(), "nothing yet".into()),
                Some((_, entry)) => (place(machine, &slots, &entry), describe(&entry)),
            };
            Outcome::Differs(Box::new(Difference { position, time, place, entry, recorded, now }))
        }
    };
    Report { records, time, outcome }
}

fn carry_out(
    machine: &Machine,
    player: &Arc<Player>,
    slots: &[(String, AnyDevice)],
    vcpu: &mut dyn Dispatch,
    entry: &Entry,
) {
    match entry {
        Entry::Request(request) => {
            // What its vCPU waited for is recorded too, and comes later.
            let value = vcpu.begin(request);
            if request.dir == Dir::Read && matches!(request.data, Data::Value(_)) {
                player.does(Effect::Answer(value));
            }
        }
        Entry::Acknowledge { .. } => {
            let vector = vcpu.acknowledge();
            player.does(Effect::Answer(vector.into()));
        }
        Entry::EndOfInterrupt { vector, .. } => vcpu.end_of_interrupt(*vector),
        Entry::Wake { device, why } => match slots.get(*device as usize) {
            Some((_, slot)) => slot.lock().wake(*why),
            None => player.damaged("it names a device that is not there"),
        },
        Entry::Completion { medium, request, result, data } => {
            player.complete(*medium, *request, *result, data.clone());
        }
        Entry::Host(host) => {
            if let HostEvent::Place(_, Some(info)) = host {
                if !possible(info, false) {
                    return player.damaged("it has a medium that cannot be");
                }
                player.expect(info.clone());
            }
            machine.replay(host);
        }
    }
}

/// Device and register that an entry concerns.
fn place(machine: &Machine, slots: &[(String, AnyDevice)], entry: &Entry) -> String {
    match entry {
        Entry::Request(request) => register(machine, request.target),
        Entry::Acknowledge { .. } => "the 8259 pair".into(),
        Entry::EndOfInterrupt { .. } => "the IOAPIC".into(),
        Entry::Wake { device, .. } => {
            slots.get(*device as usize).map_or("?".into(), |(name, _)| name.clone())
        }
        Entry::Completion { medium, .. } => format!("the drive of medium {medium}"),
        Entry::Host(_) => "the machine".into(),
    }
}

fn register(machine: &Machine, target: Target) -> String {
    let bus = machine.bus();
    let (space, address) = match target {
        Target::Pio(port) => (Space::Pio, u64::from(port)),
        Target::Mmio(address) => (Space::Mmio, address),
        Target::PciConfig { sbdf, reg } => return config_register(machine, sbdf, reg),
        Target::TimeOffset | Target::Invalidate => return "no device".into(),
    };
    if let Some((device, region, offset)) = bus.answerer(space, address) {
        return format!("{device}, region '{region}' at {offset:#x}");
    }
    // Configuration mechanism 1.
    let latch = bus.config_address();
    match (space, address) {
        (Space::Pio, 0xcfc..=0xcff) => {
            let reg = (latch & 0xfc) as u16 | (address & 3) as u16;
            config_register(machine, Sbdf(latch >> 8 & 0xffff), reg)
        }
        (Space::Pio, 0xcf8..=0xcfb) => "the PCI configuration address".into(),
        _ => "no device".into(),
    }
}

fn config_register(machine: &Machine, sbdf: Sbdf, reg: u16) -> String {
    let functions = machine.bus().functions();
    let name = functions.into_iter().find(|function| function.0 == sbdf).map(|function| function.1);
    let name = name.unwrap_or_else(|| "no device".into());
    format!("{name}, configuration register {reg:#x} of {sbdf:?}")
}

/// What had happened, for people.
fn describe(entry: &Entry) -> String {
    match entry {
        Entry::Request(request) => access(request),
        Entry::Acknowledge { vcpu } => format!("vCPU {vcpu} acknowledges an interrupt"),
        Entry::EndOfInterrupt { vcpu, vector } => format!("vCPU {vcpu} ends interrupt {vector:#x}"),
        Entry::Wake { why: Wake::Timer(number), .. } => format!("timer {number} fires"),
        Entry::Wake { why: Wake::Backend(number), .. } => format!("host side {number} has news"),
        Entry::Completion { request, result, .. } => format!("request {request} ends with {result:?}"),
        Entry::Host(host) => format!("{host:?}"),
    }
}

fn access(request: &Request) -> String {
    let Request { vcpu, target, dir, size, data, count, .. } = request;
    let verb = if *dir == Dir::Read { "reads" } else { "writes" };
    let place = match target {
        Target::Pio(port) => format!("port {port:#x}"),
        Target::Mmio(address) => format!("address {address:#x}"),
        other => format!("{other:x?}"),
    };
    let bytes = size.bytes();
    match (data, dir) {
        (Data::Guest(gpa), _) => {
            format!("vCPU {vcpu} {verb} {count} times {bytes} bytes, {place}, buffer {gpa:#x}")
        }
        (Data::Value(_), Dir::Read) => format!("vCPU {vcpu} {verb} {bytes} bytes of {place}"),
        (Data::Value(value), Dir::Write) => {
            format!("vCPU {vcpu} {verb} {value:#x}, {bytes} bytes, to {place}")
        }
    }
}
