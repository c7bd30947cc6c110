//! Saved state of the controller. A request in flight is saved as what it does and sent anew on load.

use devices_core::dma::Dma;
use devices_core::pci::PciState;
use devices_core::state::valid;
use devices_core::{Saved, StateError};
use serde::{Deserialize, Serialize};

use super::Ide;
use super::busmaster::BusMaster;
use super::channel::{Channel, IdeBus};
use super::drive::{Disk, Drive, Kind, Pio, TaskFile, Work};
use super::smart::Smart;
use super::spec::{BmCommand, BmStatus, Control, MULTIPLE, SECTOR, Status};
use crate::storage::atapi::Transfer;
use crate::storage::geometry::Geometry;
use crate::storage::scsi::cd::CdState;

const KIND: &str = "piix3-ide";
const VERSION: u16 = 1;

/// Most bytes of a data block or of fetched frames.
const BLOCK: usize = 128 << 10;
/// Most sectors of a command.
const SECTORS: u32 = 0x1_0000;

#[derive(Serialize, Deserialize)]
struct IdeState {
    pci: PciState,
    channels: Vec<ChannelState>,
}

#[derive(Serialize, Deserialize)]
struct ChannelState {
    control: u8,
    irq: bool,
    bm_command: u8,
    bm_status: u8,
    bm_table: u32,
    drives: Vec<DriveState>,
}

#[derive(Serialize, Deserialize)]
struct DriveState {
    task: TaskFile,
    status: u8,
    error: u8,
    pio: Pio,
    work: Work,
    in_flight: bool,
    #[serde(deserialize_with = "Option::deserialize")]
    mode: Option<u8>,
    kind: KindState,
}

#[derive(Serialize, Deserialize)]
enum KindState {
    Absent,
    Disk(DiskState),
    Cd {
        state: CdState,
        present: bool,
    },
    /// A disk was there, and the guest had it unplugged.
    Unplugged,
}

#[derive(Serialize, Deserialize)]
struct DiskState {
    sectors: u64,
    native: Geometry,
    geometry: Geometry,
    multiple: u8,
    write_cache: bool,
    smart: Smart,
}

pub(super) fn save(ide: &Ide) -> Result<Saved, StateError> {
    let Ide { config, channels } = ide;
    let state = IdeState { pci: config.save(), channels: channels.iter().map(save_channel).collect() };
    Saved::encode(KIND, VERSION, &state)
}

fn save_channel(channel: &Channel) -> ChannelState {
    // Who waits is of this process, and so is what it waits for.
    let Channel { drives, host, stopping: _ } = channel;
    let IdeBus { bm, dma: _, control, irq } = host;
    let BusMaster { command, status, table } = *bm;
    ChannelState {
        control: control.bits(),
        irq: irq.level(),
        bm_command: command.bits(),
        bm_status: status.bits(),
        bm_table: table,
        drives: drives.iter().map(save_drive).collect(),
    }
}

fn save_drive(drive: &Drive) -> DriveState {
    // What was given up is of this process too: a drive that waits for it is ready in another.
    let Drive { kind, unplugged, labels: _, task, status, error, pio, work, requests: _, pending, mode } =
        drive;
    let kind = match kind {
        Kind::Absent if *unplugged => KindState::Unplugged,
        Kind::Absent => KindState::Absent,
        Kind::Disk(disk) => {
            let Disk { backend: _, native, geometry, multiple, write_cache, smart } = **disk;
            let sectors = disk.sectors();
            KindState::Disk(DiskState { sectors, native, geometry, multiple, write_cache, smart })
        }
        Kind::Cd(cd) => KindState::Cd { state: cd.state, present: cd.medium.is_some() },
    };
    DriveState {
        task: *task,
        status: status.bits(),
        error: *error,
        pio: pio.clone(),
        work: work.clone(),
        in_flight: pending.is_some(),
        mode: *mode,
        kind,
    }
}

pub(super) fn load(ide: &mut Ide, saved: &Saved) -> Result<(), StateError> {
    let IdeState { pci, channels } = saved.decode(KIND, VERSION)?;
    let states: [ChannelState; 2] =
        channels.try_into().map_err(|_| StateError::Invalid("the controller has two channels".to_owned()))?;
    ide.config.load(&pci)?;
    for (channel, state) in ide.channels.iter_mut().zip(states) {
        load_channel(channel, state)?;
    }
    Ok(())
}

fn load_channel(channel: &mut Channel, state: ChannelState) -> Result<(), StateError> {
    let ChannelState { control, irq, bm_command, bm_status, bm_table, drives } = state;
    valid(drives.len() == 2, "a channel has two drives")?;
    let host = &mut channel.host;
    host.control = Control::from_bits_truncate(control);
    host.irq.set(irq);
    host.bm = BusMaster {
        command: BmCommand::from_bits_truncate(bm_command),
        status: BmStatus::from_bits_truncate(bm_status),
        table: bm_table & !3,
    };
    for (drive, state) in channel.drives.iter_mut().zip(drives) {
        load_drive(drive, &mut channel.host, state)?;
    }
    channel.settle();
    Ok(())
}

fn load_drive(drive: &mut Drive, host: &mut IdeBus, state: DriveState) -> Result<(), StateError> {
    let DriveState { task, status, error, pio, work, in_flight, mode, kind } = state;
    load_kind(drive, kind)?;
    valid(pio.at <= pio.buffer.len() && pio.buffer.len() <= BLOCK, "a data block is too long")?;
    check_work(drive, host, &work)?;
    drive.task = task;
    drive.error = error;
    drive.pio = pio;
    drive.work = work;
    drive.mode = mode;
    if in_flight {
        valid(drive.needs_medium(), "a request in flight that nothing asked for")?;
        drive.submit(host);
    }
    drive.status = Status::from_bits_truncate(status);
    Ok(())
}

fn load_kind(drive: &mut Drive, state: KindState) -> Result<(), StateError> {
    match (&mut drive.kind, state) {
        (Kind::Absent, KindState::Absent) => Ok(()),
        // The configuration that the machine was built from may still name it.
        (Kind::Absent | Kind::Disk(_), KindState::Unplugged) => {
            drive.unplug();
            Ok(())
        }
        (Kind::Cd(cd), KindState::Cd { state, present }) => {
            cd.restore(state, present);
            Ok(())
        }
        (Kind::Disk(disk), KindState::Disk(state)) => {
            let DiskState { sectors, native, geometry, multiple, write_cache, smart } = state;
            valid(sectors == disk.sectors(), "the disk had another size")?;
            valid(multiple <= MULTIPLE, "more sectors in a block than the disk has")?;
            for geometry in [native, geometry] {
                let some = geometry.cylinders > 0 && geometry.heads > 0 && geometry.sectors > 0;
                valid(some && geometry.heads <= 16, "a geometry without a sector")?;
            }
            **disk = Disk { backend: disk.backend.clone(), native, geometry, multiple, write_cache, smart };
            Ok(())
        }
        _ => valid(false, "another kind of drive was there"),
    }
}

/// Work that a hostile file made up must not reach beyond the disk or the memory, nor grow without bound.
fn check_work(drive: &Drive, host: &IdeBus, work: &Work) -> Result<(), StateError> {
    let total = drive.disk().map_or(0, Disk::sectors);
    let on_disk = |lba: u64, count: u64| lba.checked_add(count).is_some_and(|end| end <= total);
    let segments = match work {
        Work::Read { lba, left, block } | Work::Write { lba, left, block } => {
            valid(on_disk(*lba, (*left).into()) && *left <= SECTORS, "a command beyond the disk")?;
            return valid((1..=u32::from(MULTIPLE)).contains(block), "a data block of no such size");
        }
        Work::Dma { lba, count, segments, .. } => {
            valid(on_disk(*lba, (*count).into()) && *count <= SECTORS, "a command beyond the disk")?;
            let len: u64 = segments.iter().map(|segment| u64::from(segment.len)).sum();
            let whole = segments.is_empty() || len == u64::from(*count) * SECTOR as u64;
            valid(whole, "a transfer of another length than its command's")?;
            segments
        }
        Work::Trim { ranges } => {
            let all = ranges.iter().all(|&(lba, count)| on_disk(lba, count));
            return valid(all && !ranges.is_empty(), "a range beyond the disk");
        }
        Work::TrimList { count } => return valid(*count <= SECTORS, "a list of ranges is too long"),
        Work::Transfer(transfer) => {
            let Transfer { data, start, at, total, segments, .. } = transfer;
            valid(data.len() <= BLOCK && at <= total && *total <= 1 << 44, "a transfer is too long")?;
            valid(start.checked_add(data.len() as u64).is_some(), "a transfer is too long")?;
            segments
        }
        Work::Idle | Work::Answer | Work::Flush | Work::Packet | Work::Ignore => return Ok(()),
        Work::HardReset | Work::SoftReset | Work::Diagnostic | Work::DeviceReset => return Ok(()),
    };
    // The guest may have taken the bus from the controller since the transfer began.
    let ram = Dma::always(host.dma.ram().clone());
    let memory = segments.iter().all(|s| ram.validate(s.gpa, s.len.into()).is_ok());
    valid(memory, "a transfer to where there is no memory")
}

impl Drive {
    /// Whether its work is the medium's to do.
    fn needs_medium(&self) -> bool {
        match &self.work {
            Work::Read { .. } | Work::Write { .. } | Work::Flush | Work::Trim { .. } => self.disk().is_some(),
            Work::Dma { segments, .. } => self.disk().is_some() && !segments.is_empty(),
            Work::Transfer(transfer) => self.is_cd() && transfer.lba.is_some(),
            _ => false,
        }
    }
}
