//! Parallel flash memory with the Intel command set, QEMU's `cfi.pflash01`: what a PC's firmware lies in, and where UEFI
//! keeps its variables.
//!
//! Specifications: Intel StrataFlash Memory (J3), datasheet 290667; JEDEC JESD68.01 (CFI). As on QEMU's PC a chip is 8
//! bits wide, has erase blocks of 4 KiB and no identity.
//!
//! Hardware: programming clears bits and never sets them. QEMU's chip takes any value, and erases at the first of the two
//! writes; so does this one: OVMF was written for that. Lock bits and suspension are left out.
//!
//! Reads of the contents are reads of memory, which code runs from; as long as a command is on, they come here. What is
//! programmed is in the image before the guest can know that it is done: reading the status or going back to the contents
//! waits for it. Chips know no power failure; a flush follows by itself.

pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use devices_core::block::{
    BlockBackend, BlockOp, Completion, CompletionQueue, ErrorPolicy, InFlight, Payload, Requests,
};
use devices_core::bus::Mapper;
use devices_core::device::{Ticket, deferred};
use devices_core::events::Watch;
use devices_core::model::Model;
use devices_core::{At, Device, Io, Node, Region, Saved, StateError, Wake};
use hypervisor::{Mapping, RamBlock};
use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, MemoryRegionAddress};

use spec::{BLOCK, command, status};

/// What wakes it.
pub const IMAGE: u32 = 0;

/// The largest chip: QEMU's limit for all of a PC's firmware.
pub const MOST: u64 = 8 << 20;

/// What a chip is made of.
pub struct Options {
    /// One of [`model::NAMES`].
    pub name: &'static str,
    /// Guest-physical address of its first byte.
    pub base: u64,
    /// Its contents: as long as the image, whole erase blocks, at most [`MOST`].
    pub block: RamBlock,
    /// Where they come from.
    pub image: Arc<dyn BlockBackend>,
    /// Who maps them.
    pub mapper: Arc<dyn Mapper>,
    /// Answers of the image, which wake it by [`IMAGE`].
    pub done: CompletionQueue,
}

/// The command that is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Command {
    /// Its code, one of [`spec::command`].
    code: u8,
    /// Which write of it comes next; 0: it has had all.
    cycle: u8,
    status: u8,
    /// Programs that a buffer still takes, less one.
    left: u8,
}

/// What a buffer is to be written to, and what is to be there.
struct Buffer {
    /// Offset of its first byte.
    start: u64,
    bytes: [u8; spec::BUFFER],
}

impl Command {
    /// At power-on.
    const RESET: Command = Command { code: command::ARRAY, cycle: 0, status: status::READY, left: 0 };
}

/// One chip.
pub struct Flash {
    name: &'static str,
    regions: [Region; 1],
    base: u64,
    block: RamBlock,
    mapper: Arc<dyn Mapper>,
    image: Arc<dyn BlockBackend>,
    requests: Requests,
    command: Command,
    /// While a buffer is filled and until it is confirmed.
    buffer: Option<Box<Buffer>>,
    /// Reads are reads of memory.
    mapped: bool,
    /// Erase blocks that differ from the image.
    dirty: BTreeSet<usize>,
    /// One of them on its way into it.
    writing: Option<(InFlight, usize)>,
    /// Those that the host did not take. They are tried again with what is programmed next.
    failed: BTreeSet<usize>,
    /// Something was written since the last flush.
    unflushed: bool,
    flushing: Option<InFlight>,
    /// Accesses that wait until all is written, at most one a vCPU, and how many bytes of the status they read.
    waiting: Vec<(Ticket, usize)>,
}

impl Flash {
    /// A chip, which is mapped at once.
    pub fn new(options: Options) -> Flash {
        let Options { name, base, block, image, mapper, done } = options;
        let flash = Flash {
            name,
            regions: [Region::mmio("flash", base, block.size() as u64)],
            base,
            block,
            mapper,
            image,
            requests: Requests::new(done),
            command: Command::RESET,
            buffer: None,
            mapped: true,
            dirty: BTreeSet::new(),
            writing: None,
            failed: BTreeSet::new(),
            unflushed: false,
            flushing: None,
            waiting: Vec::new(),
        };
        flash.map();
        flash
    }

    /// Has errors of the image told.
    #[must_use]
    pub fn watched(self, watch: Watch) -> Flash {
        self.requests.on_errors(ErrorPolicy::REPORT, watch);
        self
    }

    fn size(&self) -> u64 {
        self.block.size() as u64
    }

    fn map(&self) {
        self.mapper.map(match self.mapped {
            true => Mapping::rom(self.base, self.size(), &self.block, 0),
            false => Mapping::none(self.base, self.size()),
        });
    }

    /// Reads are reads of memory from now on, or come here.
    fn set_mapped(&mut self, mapped: bool) {
        if self.mapped != mapped {
            self.mapped = mapped;
            self.map();
        }
    }

    fn contents(&self, offset: u64, data: &mut [u8]) {
        // The bus keeps accesses within the region, which is the block.
        let _ = self.block.read_slice(data, MemoryRegionAddress(offset));
    }

    /// Changes contents, unless the image takes no writes: `error` is raised then.
    fn change(&mut self, offset: u64, data: &[u8], error: u8) {
        if self.image.info().read_only {
            self.command.status |= error;
        } else if self.block.write_slice(data, MemoryRegionAddress(offset)).is_ok() {
            let last = offset as usize + data.len().saturating_sub(1);
            self.dirty.extend(offset as usize / BLOCK..=last / BLOCK);
            self.dirty.append(&mut self.failed);
            self.write_on();
        }
        self.command.status |= status::READY;
    }

    /// Sends the next block to the image, or the flush behind them.
    fn write_on(&mut self) {
        if self.writing.is_some() {
            return;
        }
        while let Some(number) = self.dirty.pop_first() {
            let mut bytes = vec![0; BLOCK];
            let offset = (number * BLOCK) as u64;
            self.contents(offset, &mut bytes);
            let payload = Payload::Buffer(bytes);
            match self.requests.submit(&self.image, BlockOp::Write, offset, payload) {
                Some(flight) => {
                    self.writing = Some((flight, number));
                    return;
                }
                None => self.fail(number),
            }
        }
        if self.unflushed && self.flushing.is_none() {
            self.unflushed = false;
            self.flushing = self.requests.submit(&self.image, BlockOp::Flush, 0, Payload::None);
        }
        self.answer();
    }

    /// The host did not take a block. It is in no log: the guest can have it happen as often as it likes.
    fn fail(&mut self, number: usize) {
        self.failed.insert(number);
        self.command.status |= status::PROGRAM_ERROR;
    }

    /// Ends the accesses that wait.
    fn answer(&mut self) {
        for (ticket, len) in std::mem::take(&mut self.waiting) {
            let mut data = [0; 8];
            self.read_status(&mut data[..len]);
            ticket.complete(u64::from_le_bytes(data));
        }
    }

    fn read_status(&self, data: &mut [u8]) {
        // Two chips of 16 bits answer an access of 32, on QEMU's chip of 8 too.
        data.fill(0);
        data.iter_mut().step_by(2).for_each(|byte| *byte = self.command.status);
    }

    fn completed(&mut self, answer: &Completion) {
        if self.flushing.as_ref().is_some_and(|flight| flight.is(answer)) {
            // An error has been told to whoever watches.
            self.flushing = None;
            self.write_on();
            return;
        }
        let Some((_, number)) = self.writing.take_if(|(flight, _)| flight.is(answer)) else { return };
        match answer.result {
            Ok(()) => self.unflushed = true,
            Err(_) => self.fail(number),
        }
        self.write_on();
    }

    fn completions(&mut self) {
        while let Some(answer) = self.requests.next() {
            self.completed(&answer);
        }
    }

    /// Whether all that was programmed is in the image, or was tried in vain.
    fn settled(&mut self) -> bool {
        while let Some((flight, _)) = &self.writing {
            // Where work is done at once, its answer need not come later.
            if !self.requests.hasten(flight) {
                return false;
            }
            self.completions();
        }
        true
    }

    /// An access that reads so many bytes of the status ends when all is written.
    fn later(&mut self, len: usize) -> Io {
        let (ticket, later) = deferred();
        self.waiting.push((ticket, len));
        Io::Defer(later)
    }

    /// A buffer begins, which is written around `offset`.
    fn begin_buffer(&mut self, offset: u64) {
        let start = offset - offset % spec::BUFFER as u64;
        let mut bytes = [0; spec::BUFFER];
        self.contents(start, &mut bytes);
        self.buffer = Some(Box::new(Buffer { start, bytes }));
    }

    /// Something goes into the buffer, if it is for there.
    fn fill_buffer(&mut self, offset: u64, data: &[u8]) {
        let there = self.buffer.as_deref_mut().and_then(|Buffer { start, bytes }| {
            let at = usize::try_from(offset.checked_sub(*start)?).ok()?;
            bytes.get_mut(at..at + data.len())
        });
        match there {
            Some(there) => there.copy_from_slice(data),
            None => self.command.status |= status::PROGRAM_ERROR,
        }
        self.command.status |= status::READY;
    }

    /// Back to the contents.
    fn array(&mut self) -> Io {
        self.buffer = None;
        (self.command.code, self.command.cycle) = (command::ARRAY, 0);
        self.set_mapped(true);
        if self.settled() { Io::Done } else { self.later(0) }
    }

    /// The first write of a command.
    fn begin(&mut self, offset: u64, code: u8) -> Io {
        let mut cycle = 1;
        match code {
            command::ERASE => {
                let start = offset - offset % BLOCK as u64;
                self.change(start, &[0xff; BLOCK], status::ERASE_ERROR);
            }
            command::WRITE_BUFFER => self.command.status |= status::READY,
            command::PROGRAM | command::PROGRAM_ALTERNATE | command::LOCK | command::QUERY => {}
            command::READ_STATUS | command::READ_ID => cycle = 0,
            command::CLEAR_STATUS => {
                self.command.status = 0;
                return self.array();
            }
            // Those that mean it, and those that it does not know.
            _ => return self.array(),
        }
        (self.command.code, self.command.cycle) = (code, cycle);
        self.set_mapped(false);
        Io::Done
    }

    /// The last write of a command: its status is read next.
    fn end(&mut self) -> Io {
        self.command.cycle = 0;
        self.command.status |= status::READY;
        Io::Done
    }

    /// Another write of the command that is on.
    fn go_on(&mut self, offset: u64, data: &[u8]) -> Io {
        let first = data.first().copied().unwrap_or_default();
        match (self.command.code, self.command.cycle) {
            (command::PROGRAM | command::PROGRAM_ALTERNATE, 1) => {
                self.change(offset, data, status::PROGRAM_ERROR);
                self.end()
            }
            (command::ERASE, 1) if first == command::CONFIRM => self.end(),
            (command::LOCK, 1) if matches!(first, command::CONFIRM | command::LOCK_BLOCK) => self.end(),
            (command::QUERY, 1) if first != command::READ_ARRAY => Io::Done,
            (command::WRITE_BUFFER, 1) => {
                self.begin_buffer(offset);
                (self.command.left, self.command.cycle) = (first, 2);
                Io::Done
            }
            (command::WRITE_BUFFER, 2) => {
                self.fill_buffer(offset, data);
                match self.command.left.checked_sub(1) {
                    Some(left) => self.command.left = left,
                    None => self.command.cycle = 3,
                }
                Io::Done
            }
            (command::WRITE_BUFFER, 3) if first == command::CONFIRM => {
                if let Some(buffer) = self.buffer.take() {
                    self.change(buffer.start, &buffer.bytes, status::PROGRAM_ERROR);
                }
                self.end()
            }
            _ => self.array(),
        }
    }
}

impl Device for Flash {
    fn name(&self) -> &str {
        self.name
    }
    fn model(&self) -> Option<&'static Model> {
        Some(&model::MODEL)
    }
    fn regions(&self) -> &[Region] {
        &self.regions
    }

    fn read(&mut self, at: At, data: &mut [u8]) -> Io {
        match self.command.code {
            command::ARRAY => self.contents(at.offset, data),
            // No identity.
            command::READ_ID => data.fill(0),
            command::QUERY => {
                data.fill(0);
                data[0] = spec::query(at.offset & 0xff, self.size());
            }
            _ => {
                if !self.settled() {
                    return self.later(data.len());
                }
                self.read_status(data);
            }
        }
        Io::Done
    }

    fn write(&mut self, at: At, data: &[u8]) -> Io {
        match self.command.cycle {
            0 => self.begin(at.offset, data.first().copied().unwrap_or_default()),
            _ => self.go_on(at.offset, data),
        }
    }

    fn wake(&mut self, _why: Wake) {
        self.completions();
    }

    fn reset(&mut self) {
        self.command = Command::RESET;
        self.buffer = None;
        self.set_mapped(true);
    }

    fn drained(&self) -> bool {
        self.requests.idle()
    }

    fn quiesce(&mut self) -> bool {
        self.completions();
        self.requests.idle()
    }

    fn resume(&mut self) {
        // What a saved state has that the image has not.
        self.dirty.append(&mut self.failed);
        self.write_on();
    }

    fn save(&mut self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }

    fn inspect(&self, node: &mut Node) {
        node.hex("base", self.base);
        node.hex("size", self.size());
        node.hex("command", self.command.code);
        node.value("cycle", self.command.cycle);
        node.hex("status", self.command.status);
        node.value("not written", self.dirty.len() + self.failed.len() + usize::from(self.writing.is_some()));
    }
}
