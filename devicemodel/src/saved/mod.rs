//! A whole guest to and from a saved file: which records there are and in what order.
//!
//! | path | what |
//! |---|---|
//! | `header` | machine id (as the kind), build, configuration |
//! | `machine` | guest time, the PCI configuration latch |
//! | `cpu/N`, ... | the hypervisor's own parts |
//! | `device/NAME` | each device |
//! | `ram` | a MiB each, pages of zeros left out |

mod bounds;
mod load;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use backends::image::ImageError;
use devices_core::bus::Bus;
use devices_core::{Saved, StateError};
use hypervisor::memory::PAGE;
use hypervisor::{Hypervisor, Laggards, SavedPart};
use serde::{Deserialize, Serialize};
use thiserror::Error;
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryRegion};

use crate::config::GuestConfig;
use crate::stream::{StreamError, Writer};
use crate::whole_file::WholeFile;

pub(crate) use bounds::Bounds;
pub use load::{SavedGuest, open, open_file};

/// The machine whose state this build saves and loads.
const MACHINE: &str = "pc-1";
/// RAM bytes of a record.
const CHUNK: u64 = 1 << 20;
/// How long devices have to finish what they began.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// The same when the process was asked to end. What the guest has flushed is safe already.
pub(crate) const PATIENCE_AT_THE_END: Duration = Duration::from_secs(1);

/// Why a guest was not saved or restored.
#[derive(Debug, Error)]
pub enum SaveError {
    /// The file itself.
    #[error("{file}: {source}")]
    Stream {
        /// The file.
        file: PathBuf,
        /// What is wrong.
        #[source]
        source: StreamError,
    },
    /// A part's state.
    #[error("{file}: state of {part}: {why}")]
    Part {
        /// The file.
        file: PathBuf,
        /// The part.
        part: String,
        /// What is wrong.
        why: String,
    },
    /// A disk's image could not be brought to rest beside it.
    #[error("{0}")]
    Image(#[from] ImageError),
    /// Who runs the guest did not stop it.
    #[error("{0}")]
    Runs(#[from] Laggards),
    /// The process was asked to end meanwhile.
    #[error("given up: the process was asked to end")]
    GivenUp,
    /// A device does not come to rest.
    #[error("{0} did not finish what it was doing")]
    Busy(String),
    /// The image of a disk was taken away (`drive_del`): the guest could not be made again as it is.
    #[error("disk {0} was taken away from the guest, which cannot be saved without it")]
    Gone(String),
}

#[derive(Serialize, Deserialize)]
struct Header {
    build: String,
    config: GuestConfig,
}

#[derive(Serialize, Deserialize)]
struct MachineState {
    clock: u64,
    config_address: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct RamChunk {
    gpa: u64,
    /// A bit a page, first page lowest: whether it is in `data`.
    #[serde(with = "serde_bytes")]
    present: Vec<u8>,
    #[serde(with = "serde_bytes")]
    data: Vec<u8>,
}

/// Everything that makes up a running machine's state.
pub struct Parts<'a> {
    /// What it was built from.
    pub config: &'a GuestConfig,
    /// Who runs it; paused.
    pub hypervisor: &'a dyn Hypervisor,
    /// Its devices.
    pub bus: &'a Bus,
}

fn part_error(file: &Path, part: &str, why: impl ToString) -> SaveError {
    SaveError::Part { file: file.to_owned(), part: part.to_owned(), why: why.to_string() }
}

/// Waits until no device has anything in flight. The vCPUs are paused.
pub fn quiesce(bus: &Bus) -> Result<(), SaveError> {
    quiesce_within(bus, PATIENCE, &|| false)
}

/// The same within so long, and only as long as nobody wants it to be given up.
pub(crate) fn quiesce_within(
    bus: &Bus,
    patience: Duration,
    give_up: &dyn Fn() -> bool,
) -> Result<(), SaveError> {
    let begun = Instant::now();
    for (name, slot) in bus.slots() {
        while !slot.lock().quiesce() {
            if give_up() {
                return Err(SaveError::GivenUp);
            }
            if begun.elapsed() > patience {
                return Err(SaveError::Busy(name));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
    Ok(())
}

/// Lets the devices go on after a save or a load.
pub fn unquiesce(bus: &Bus) {
    for (_, slot) in bus.slots() {
        slot.lock().resume();
    }
}

/// Begins the file of a guest that is to be saved.
pub fn create(file: &Path) -> Result<WholeFile, SaveError> {
    WholeFile::create(file)
        .map_err(|error| SaveError::Stream { file: file.to_owned(), source: StreamError::from(error) })
}

/// Saves a paused, quiet machine. The file appears under its name only when it is whole and on the disk. `progress`
/// hears how far it is (bytes done, of so many), and says whether to go on.
pub fn save(
    parts: &Parts<'_>,
    whole: WholeFile,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), SaveError> {
    let file = &whole.name().to_owned();
    let at_file = |source: StreamError| SaveError::Stream { file: file.to_owned(), source };
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 20, whole.file())).map_err(at_file)?;
    write_machine(parts, file, &mut writer)?;
    write_ram(&parts.hypervisor.memory(), file, &mut writer, progress)?;
    let written = writer.finish().map_err(at_file)?;
    written.into_inner().map_err(|error| at_file(error.into_error().into()))?;
    whole.commit().map_err(|error| at_file(error.into()))
}

/// Writes everything but RAM, for a host that saves the guest's RAM itself. `name` is for messages.
pub fn save_devices(parts: &Parts<'_>, to: File, name: &Path) -> Result<(), SaveError> {
    let at_file = |source: StreamError| SaveError::Stream { file: name.to_owned(), source };
    let mut writer = Writer::new(BufWriter::with_capacity(1 << 18, to)).map_err(at_file)?;
    write_machine(parts, name, &mut writer)?;
    let written = writer.finish().map_err(at_file)?;
    written.into_inner().map(|_| ()).map_err(|error| at_file(error.into_error().into()))
}

/// Everything but RAM.
fn write_machine(parts: &Parts<'_>, file: &Path, writer: &mut Writer<impl Write>) -> Result<(), SaveError> {
    let at_file = |source: StreamError| SaveError::Stream { file: file.to_owned(), source };
    let mut record = |path: &str, saved: Result<Saved, StateError>| {
        let saved = saved.map_err(|error| part_error(file, path, error))?;
        writer.record(path, &saved).map_err(at_file)
    };
    let header = Header { build: env!("CARGO_PKG_VERSION").into(), config: parts.config.clone() };
    record("header", Saved::encode(MACHINE, 0, &header))?;
    let state =
        MachineState { clock: parts.hypervisor.clock().now(), config_address: parts.bus.config_address() };
    record("machine", Saved::encode("machine", 0, &state))?;
    let own = parts.hypervisor.save().map_err(|error| part_error(file, "cpu", error))?;
    for SavedPart { path, version, body } in own {
        record(&path, Ok(Saved { kind: "hypervisor".into(), version, body }))?;
    }
    for (name, slot) in parts.bus.slots() {
        record(&format!("device/{name}"), slot.lock().save())?;
    }
    Ok(())
}

/// RAM, pages of zeros left out.
fn write_ram(
    ram: &hypervisor::GuestRam,
    file: &Path,
    writer: &mut Writer<impl Write>,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), SaveError> {
    let total = ram.iter().map(|region| region.len()).sum();
    let mut done = 0;
    for region in ram.iter() {
        let mut offset = 0;
        while offset < region.len() {
            let len = CHUNK.min(region.len() - offset);
            if !region.is_untouched(offset, len)
                && let Some(chunk) = read_chunk(ram, region.start_addr().0 + offset, len)
            {
                let saved = Saved::encode("ram", 0, &chunk);
                let saved = saved.map_err(|error| part_error(file, "ram", error))?;
                let written = writer.record("ram", &saved);
                written.map_err(|source| SaveError::Stream { file: file.to_owned(), source })?;
            }
            offset += len;
            done += len;
            if !progress(done, total) {
                return Err(SaveError::GivenUp);
            }
        }
    }
    Ok(())
}

/// A piece of RAM without its zero pages; None if it is all zeros.
fn read_chunk(ram: &hypervisor::GuestRam, gpa: u64, len: u64) -> Option<RamChunk> {
    let pages = (len / PAGE) as usize;
    let mut present = vec![0; pages.div_ceil(8)];
    let mut data = Vec::new();
    let mut page = vec![0; PAGE as usize];
    for index in 0..pages {
        let at = GuestAddress(gpa + index as u64 * PAGE);
        if ram.read_slice(&mut page, at).is_ok() && page.iter().any(|byte| *byte != 0) {
            present[index / 8] |= 1 << (index % 8);
            data.extend_from_slice(&page);
        }
    }
    (!data.is_empty()).then_some(RamChunk { gpa, present, data })
}
