//! A saved file read: first looked through, if it can be, then into a machine.

use std::collections::{BTreeSet, VecDeque};
use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use devices_core::StateError;
use devices_core::bus::Bus;
use hypervisor::memory::PAGE;
use hypervisor::{Hypervisor, SavedPart};
use vm_memory::{Bytes, GuestAddress};

use super::bounds::{Bounds, HEADER_MOST};
use super::{CHUNK, Header, MACHINE, MachineState, RamChunk, SaveError, part_error};
use crate::config::GuestConfig;
use crate::machine::split_ram;
use crate::stream::{Reader, Record, StreamError};

/// A saved file that is open and whose header has been read.
pub struct SavedGuest {
    file: PathBuf,
    reader: Reader<BufReader<File>>,
    bounds: Bounds,
    /// Records that were read ahead.
    ahead: VecDeque<Record>,
    /// Bytes of bodies that are held, and the most that were.
    held: (usize, usize),
    /// What the machine must be built from. It says what is asked of the host too: see
    /// [`restore`](crate::restore).
    pub config: GuestConfig,
}

/// Opens a saved file and reads its header. What it may hold is what a guest of the configuration `of` has; if that is
/// not known, of the file's own.
pub fn open(file: &Path, of: Option<&GuestConfig>) -> Result<SavedGuest, SaveError> {
    let from = File::open(file).map_err(|error| at(file)(error.into()))?;
    open_file(from, file, of)
}

fn at(file: &Path) -> impl Fn(StreamError) -> SaveError {
    let file = file.to_owned();
    move |source| match source {
        StreamError::Refused { part, why } => SaveError::Part { file: file.clone(), part, why },
        source => SaveError::Stream { file: file.clone(), source },
    }
}

/// The same with a file that is open already; `file` is its name in messages.
pub fn open_file(from: File, file: &Path, of: Option<&GuestConfig>) -> Result<SavedGuest, SaveError> {
    let mut reader = Reader::new(BufReader::with_capacity(1 << 20, from)).map_err(at(file))?;
    let first = reader.next_within(&mut |path, _, len| match path {
        "header" if len <= HEADER_MOST => Ok(()),
        "header" => Err("it is too long".into()),
        _ => Err("the header comes before it".into()),
    });
    let missing = || part_error(file, "header", "it is missing");
    let Record { saved, .. } = match first {
        Err(StreamError::Refused { part, .. }) if part != "header" => return Err(missing()),
        first => first.map_err(at(file))?.ok_or_else(missing)?,
    };
    let mut header: Header = saved.decode(MACHINE, 0).map_err(|error| part_error(file, "header", error))?;
    header.config.check().map_err(|error| part_error(file, "header", error))?;
    let config = header.config;
    let bounds = Bounds::of(of.unwrap_or(&config));
    Ok(SavedGuest { file: file.to_owned(), reader, bounds, ahead: VecDeque::new(), held: (0, 0), config })
}

impl SavedGuest {
    /// Reads the whole file and looks at all that can be seen without a machine: checksums, the order of the
    /// parts and their sizes, where the RAM lies. Then the file is at its header again. Nothing is held but a
    /// record at a time. The configuration has been checked.
    pub fn check(mut self) -> Result<SavedGuest, SaveError> {
        let failed = |error: std::io::Error| at(&self.file)(error.into());
        if !self.reader.get_ref().get_ref().metadata().map_err(failed)?.is_file() {
            let text = "it is no file: what is restored is read twice, and checked whole the first time";
            return Err(failed(std::io::Error::other(text)));
        }
        let ram = split_ram(self.config.memory_mib << 20);
        let mut next = 0;
        let mut machine = false;
        while let Some(Record { path, saved }) = self.next_record()? {
            let bad = |error: &dyn std::fmt::Display| part_error(&self.file, &path, error);
            if path == "ram" {
                let chunk: RamChunk = saved.decode("ram", 0).map_err(|error| bad(&error))?;
                let end = chunk.end_within(ram, next);
                next = end.ok_or_else(|| bad(&"it does not fit the guest's RAM"))?;
            } else if path == "machine" {
                saved.decode::<MachineState>("machine", 0).map_err(|error| bad(&error))?;
                machine = true;
            }
            self.give_back(saved.body.len());
        }
        if !machine {
            return Err(part_error(&self.file, "machine", "it is missing"));
        }
        let mut file = self.reader.into_inner().into_inner();
        file.rewind().map_err(|error| at(&self.file)(error.into()))?;
        let again = open_file(file, &self.file, None)?;
        if again.config != self.config {
            return Err(part_error(&self.file, "header", "somebody writes to the file"));
        }
        Ok(SavedGuest { held: self.held, ..again })
    }

    /// The most bytes of states and RAM that were held at a time so far.
    pub fn held_at_most(&self) -> usize {
        self.held.1
    }

    /// Loads everything into a machine that was built from [`config`](SavedGuest::config), is reset and
    /// paused. On an error the machine must be thrown away.
    pub fn load(mut self, hypervisor: &dyn Hypervisor, bus: &Bus) -> Result<(), SaveError> {
        let mut missing: BTreeSet<String> = bus.slots().into_iter().map(|(name, _)| name).collect();
        let mut own = Some(Vec::new());
        let mut machine = None;
        let load_own = |own: Option<Vec<SavedPart>>, file: &Path| {
            let own = own.unwrap_or_default();
            hypervisor.load(&own).map_err(|error| part_error(file, "cpu", error))
        };
        while let Some(Record { path, saved }) = self.next_record()? {
            let bad = |error: StateError| part_error(&self.file, &path, error);
            let held = saved.body.len();
            if path == "ram" {
                load_chunk(hypervisor, &saved.decode("ram", 0).map_err(bad)?)
                    .ok_or_else(|| part_error(&self.file, &path, "it does not fit the guest's RAM"))?;
            } else if path == "machine" {
                let state: MachineState = saved.decode("machine", 0).map_err(bad)?;
                // Guest time first: devices arm their timers by it.
                hypervisor.clock().set(state.clock);
                machine = Some(state);
            } else if let Some(name) = path.strip_prefix("device/") {
                if !missing.remove(name) {
                    return Err(part_error(&self.file, &path, "this machine has no such device"));
                }
                // The processors before the first device: what a device hears from outside while it is loaded
                // may interrupt, and what a processor's interrupt controller knew before its load is lost.
                if own.is_some() {
                    load_own(own.take(), &self.file)?;
                }
                bus.load(name, &saved).unwrap_or(Ok(())).map_err(bad)?;
            } else {
                let late = || part_error(&self.file, &path, "it comes behind a device");
                let part = SavedPart { path: path.clone(), version: saved.version, body: saved.body };
                own.as_mut().ok_or_else(late)?.push(part);
                continue;
            }
            self.give_back(held);
        }
        if let Some(name) = missing.first() {
            return Err(part_error(&self.file, &format!("device/{name}"), "it is missing"));
        }
        let machine = machine.ok_or_else(|| part_error(&self.file, "machine", "it is missing"))?;
        if own.is_some() {
            load_own(own, &self.file)?;
        }
        bus.set_config_address(machine.config_address);
        bus.remap_all();
        Ok(())
    }

    /// The hypervisor's own parts, for one that needs them to be built. They come before the devices, and are few.
    pub fn own_parts(&mut self) -> Result<Vec<SavedPart>, SaveError> {
        let mut own = Vec::new();
        let mut ahead = VecDeque::new();
        while let Some(record) = self.next_record()? {
            let Record { path, saved } = &record;
            if saved.kind == "hypervisor" {
                own.push(SavedPart { path: path.clone(), version: saved.version, body: saved.body.clone() });
            }
            let last = path.starts_with("device/") || path == "ram";
            ahead.push_back(record);
            if last {
                break;
            }
        }
        self.ahead = ahead;
        Ok(own)
    }

    fn next_record(&mut self) -> Result<Option<Record>, SaveError> {
        if let Some(record) = self.ahead.pop_front() {
            return Ok(Some(record));
        }
        let bounds = &mut self.bounds;
        let record = self.reader.next_within(&mut |path, kind, len| bounds.admit(path, kind, len));
        let record = record.map_err(at(&self.file))?;
        self.held.0 += record.as_ref().map_or(0, |record| record.saved.body.len());
        self.held.1 = self.held.1.max(self.held.0);
        Ok(record)
    }

    fn give_back(&mut self, len: usize) {
        self.held.0 = self.held.0.saturating_sub(len);
    }
}

impl RamChunk {
    /// Where it ends, if it begins at `from` or later, lies in RAM of so many bytes below and above 4 GiB, and has
    /// the pages that it says.
    fn end_within(&self, (below, above): (u64, u64), from: u64) -> Option<u64> {
        let RamChunk { gpa, present, data } = self;
        let pages: u32 = present.iter().map(|byte| byte.count_ones()).sum();
        let last = present.iter().rposition(|byte| *byte != 0)?;
        let len = (last as u64 * 8 + 8 - u64::from(present.get(last)?.leading_zeros())) * PAGE;
        let whole = u64::from(pages) * PAGE == data.len() as u64;
        let end =
            gpa.checked_add(len).filter(|_| whole && len <= CHUNK && *gpa >= from && gpa % PAGE == 0)?;
        let high = 1 << 32;
        let fits = end <= below || (*gpa >= high && end <= high + above);
        fits.then_some(end)
    }
}

fn load_chunk(hypervisor: &dyn Hypervisor, chunk: &RamChunk) -> Option<()> {
    let RamChunk { gpa, present, data } = chunk;
    let ram = hypervisor.memory();
    let mut pages = data.as_slice();
    for index in 0..present.len() * 8 {
        if present[index / 8] & (1 << (index % 8)) == 0 {
            continue;
        }
        let mut page = [0; PAGE as usize];
        pages.read_exact(&mut page).ok()?;
        let at = gpa.checked_add(index as u64 * PAGE)?;
        ram.write_slice(&page, GuestAddress(at)).ok()?;
    }
    pages.is_empty().then_some(())
}
