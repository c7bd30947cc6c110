//! Mass storage: a disk behind the Bulk-Only Transport, as QEMU's `usb-storage`.
//!
//! Specification: "Universal Serial Bus Mass Storage Class, Bulk-Only Transport", revision 1.0; commands are those of
//! [`scsi`](crate::storage::scsi). The core moves data between the medium and a buffer of the device, of at most
//! [`MOST`] bytes and there only while a guest uses the disk; packets move it between buffer and guest. While a command is
//! with the medium the device has no answer, and wakes its controller when it has.
//!
//! Where host and device mean different data (the thirteen cases, 6.7), the device pads what it sends with zeros, drops
//! what it has no use for, and says in the status how much was left (as QEMU's), or that the phases do not fit. Endpoints
//! are halted only by a command block wrapper that is none, until the host resets the device (6.6.1).
//!
//! Left out: several units, CD drives.

pub mod model;
pub mod spec;
mod state;
#[cfg(test)]
mod tests;

use devices_core::block::Segment;
use devices_core::dma::Dma;
use devices_core::{Node, Saved, StateError, Waker};
use hypervisor::memory::{self, Region};

use super::descriptors::Description;
use super::{Answer, Setup, Speed, UsbDevice};
use crate::storage::scsi::{Address, Cdb, Command, End, Expected, Outcome, ScsiBus, UnitOptions};
use spec::{CBW_LEN, CBW_SIGNATURE, CDB_LEN, CSW_LEN, CSW_SIGNATURE, request, status};

/// Most bytes that a command moves. Drivers ask for one MiB at most.
pub const MOST: u64 = 4 << 20;

/// The only unit.
const UNIT: Address = Address { target: 0, lun: 0 };

/// REQUEST SENSE, which is answered here: the host has no other way to sense data.
const REQUEST_SENSE: u8 = 3;
/// Sense data of a command that asks for too much: invalid field in CDB.
const TOO_MUCH: [u8; 18] = [0x70, 0, 5, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x24, 0, 0, 0, 0, 0];

/// What the host is to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Send a command.
    Command,
    /// Send its data.
    DataOut,
    /// Take its data.
    DataIn,
    /// Take its status.
    Status,
    /// Reset the device: what it sent was no command.
    Broken,
}

/// A command that came, until its status is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Current {
    tag: u32,
    /// dCBWDataTransferLength, and how much of it went over.
    len: u64,
    at: u64,
    cdb: [u8; CDB_LEN],
    cdb_len: u8,
    /// Data of the host's that is needed before it begins.
    need: u64,
    /// It is with the core, or still to begin.
    busy: bool,
    /// bCSWStatus, and bytes that were of use.
    status: u8,
    moved: u64,
}

/// Memory for a command's data.
struct Buffer {
    dma: Dma,
    len: u64,
}

impl Buffer {
    fn new(len: u64) -> Option<Buffer> {
        let len = len.next_multiple_of(memory::PAGE).max(memory::PAGE);
        let block = memory::new_block(0, len).ok()?;
        let ram = memory::ram_of(vec![Region::host(block)]).ok()?;
        Some(Buffer { dma: Dma::always(ram), len })
    }
}

/// A device.
pub struct Storage {
    description: Description,
    serial: String,
    bus: ScsiBus<u32>,
    block: u64,
    phase: Phase,
    current: Option<Current>,
    buffer: Option<Buffer>,
    /// Of the command that failed last.
    sense: Vec<u8>,
    /// Which command it is: answers of those that were given up are nobody's.
    turn: u32,
}

impl Storage {
    /// A device with that unit, of blocks of so many bytes, on a controller that is woken so.
    pub fn new(unit: UnitOptions, block: u32, serial: &str, waker: Waker) -> Storage {
        let mut bus = ScsiBus::new(waker);
        // The bus is empty, so the place is free, and a disk has no tray.
        let _ = bus.plug(UNIT, unit);
        Storage {
            description: spec::description(Speed::Full, serial),
            serial: serial.to_owned(),
            bus,
            block: block.into(),
            phase: Phase::Command,
            current: None,
            buffer: None,
            sense: Vec::new(),
            turn: 0,
        }
    }

    /// Commands are given up; the buffer may still be filled for one, so another takes its place.
    fn forget(&mut self) {
        (self.phase, self.current, self.buffer) = (Phase::Command, None, None);
        self.sense.clear();
        self.turn = self.turn.wrapping_add(1);
    }

    /// The buffer, with room for so much.
    fn room(&mut self, len: u64) -> Option<&Buffer> {
        if len > MOST {
            return None;
        }
        if self.buffer.as_ref().is_none_or(|buffer| buffer.len < len) {
            self.buffer = Buffer::new(len);
        }
        self.buffer.as_ref()
    }

    /// A command block wrapper (6.2). False: it is none, or makes no sense.
    fn wrapper(&mut self, data: &[u8]) -> bool {
        let Ok(cbw) = <[u8; CBW_LEN]>::try_from(data) else { return false };
        let word = |at: usize| u32::from_le_bytes([cbw[at], cbw[at + 1], cbw[at + 2], cbw[at + 3]]);
        let (lun, cdb_len) = (cbw[13] & 0xf, cbw[14] & 0x1f);
        if word(0) != CBW_SIGNATURE || lun != 0 || !(1..=CDB_LEN as u8).contains(&cdb_len) {
            return false;
        }
        let mut cdb = [0; CDB_LEN];
        cdb[..usize::from(cdb_len)].copy_from_slice(&cbw[15..15 + usize::from(cdb_len)]);
        let len = u64::from(word(8));
        let current = Current { tag: word(4), len, cdb, cdb_len, busy: true, ..Current::default() };
        let inward = cbw[12] & 0x80 != 0;
        self.phase = match (len, inward) {
            (0, _) => Phase::Status,
            (_, true) => Phase::DataIn,
            (_, false) => Phase::DataOut,
        };
        self.turn = self.turn.wrapping_add(1);
        self.current = Some(current);
        self.begin(len, inward);
        true
    }

    /// What comes of a command that has just come, by what host and device mean to move (6.7).
    fn begin(&mut self, len: u64, inward: bool) {
        let Some(current) = &mut self.current else { return };
        let expected = Cdb::new(&current.cdb).expected(self.block);
        match expected {
            Expected::In(wanted) if wanted > 0 && !inward => self.end(status::PHASE, 0),
            Expected::Out(wanted) if wanted > 0 && (inward || wanted > len) => self.end(status::PHASE, 0),
            Expected::Out(wanted) if wanted > 0 => {
                current.need = wanted;
                if self.room(wanted).is_none() {
                    self.refuse();
                }
            }
            Expected::In(wanted) if self.room(wanted).is_none() => self.refuse(),
            Expected::In(wanted) => self.start(wanted),
            Expected::Nothing | Expected::Out(_) => self.start(0),
        }
    }

    fn refuse(&mut self) {
        self.sense = TOO_MUCH.to_vec();
        self.end(status::FAILED, 0);
    }

    /// Hands the command to the core, with memory for so much data.
    fn start(&mut self, len: u64) {
        let Some(current) = &self.current else { return };
        let sense = std::mem::take(&mut self.sense);
        let (cdb, cdb_len) = (current.cdb, current.cdb_len);
        let Some(dma) = self.room(len).map(|buffer| buffer.dma.clone()) else { return self.refuse() };
        if cdb[0] == REQUEST_SENSE && !sense.is_empty() {
            let sense = &sense[..sense.len().min(cdb[4].into())];
            // The buffer is memory of our own.
            let _ = dma.write(0, sense);
            return self.end(status::PASSED, sense.len() as u64);
        }
        let segment = || vec![Segment { gpa: 0, len: len as u32 }];
        let command = Command {
            tag: self.turn.into(),
            cdb: Cdb::new(&cdb[..usize::from(cdb_len)]),
            len: cdb_len.into(),
            data_in: segment(),
            data_out: segment(),
        };
        self.bus.start(&dma, UNIT, command, self.turn);
        self.take_ended();
    }

    /// A command is over; what data phase is left only goes by.
    fn end(&mut self, status: u8, moved: u64) {
        let Some(current) = &mut self.current else { return };
        current.busy = false;
        // More than the host wants to have is none of the device's to send (case 7).
        let fits = moved <= current.len;
        (current.status, current.moved) = if fits { (status, moved) } else { (status::PHASE, current.len) };
    }

    fn take_ended(&mut self) {
        while let Some((turn, outcome)) = self.bus.take_ended() {
            if turn != self.turn {
                continue;
            }
            match outcome {
                Outcome::Ended(End { status: 0, moved, .. }) => self.end(status::PASSED, moved),
                Outcome::Ended(End { sense, moved, .. }) => {
                    self.sense = sense;
                    self.end(status::FAILED, moved);
                }
                Outcome::Overrun => self.end(status::PHASE, 0),
                Outcome::Aborted | Outcome::Reset => self.end(status::FAILED, 0),
            }
        }
    }

    /// Data of the host's.
    fn take_data(&mut self, data: &[u8]) -> Answer {
        let Some(current) = &mut self.current else { return Answer::Stall };
        if data.len() as u64 > current.len - current.at {
            self.phase = Phase::Broken;
            return Answer::Stall;
        }
        let (at, need, busy) = (current.at, current.need, current.busy);
        current.at += data.len() as u64;
        let over = current.at == current.len;
        let begins = busy && at < need && current.at >= need;
        if let (true, Some(buffer)) = (busy && at < need, &self.buffer) {
            let part = ((need - at) as usize).min(data.len());
            // It was made with room for all that is needed.
            let _ = buffer.dma.write(at, &data[..part]);
        }
        if begins {
            self.start(need);
        }
        if over {
            self.phase = Phase::Status;
        }
        Answer::Done(data.len())
    }

    /// Data for the host, and zeros behind it.
    fn give_data(&mut self, room: &mut [u8]) -> Answer {
        let Some(current) = &mut self.current else { return Answer::Stall };
        if current.busy {
            return Answer::Nak;
        }
        let len = (current.len - current.at).min(room.len() as u64) as usize;
        let room = &mut room[..len];
        room.fill(0);
        let there = (current.moved.saturating_sub(current.at) as usize).min(len);
        if let Some(buffer) = &self.buffer {
            let _ = buffer.dma.read(current.at, &mut room[..there]);
        }
        current.at += len as u64;
        if current.at == current.len {
            self.phase = Phase::Status;
        }
        Answer::Done(len)
    }

    fn give_status(&mut self, room: &mut [u8]) -> Answer {
        let Some(current) = &self.current else { return Answer::Stall };
        if current.busy {
            return Answer::Nak;
        }
        let Some(room) = room.get_mut(..CSW_LEN) else { return Answer::Babble };
        let residue = (current.len - current.moved.min(current.len)) as u32;
        room[..4].copy_from_slice(&CSW_SIGNATURE.to_le_bytes());
        room[4..8].copy_from_slice(&current.tag.to_le_bytes());
        room[8..12].copy_from_slice(&residue.to_le_bytes());
        room[12] = current.status;
        (self.phase, self.current) = (Phase::Command, None);
        Answer::Done(CSW_LEN)
    }
}

impl UsbDevice for Storage {
    fn title(&self) -> &'static str {
        "QEMU USB MSD"
    }
    fn speeds(&self) -> &'static [Speed] {
        &[Speed::Full, Speed::High, Speed::Super]
    }
    fn attach(&mut self, speed: Speed) {
        self.description = spec::description(speed, &self.serial);
    }
    fn description(&self) -> &Description {
        &self.description
    }

    fn reset(&mut self) {
        self.forget();
        self.bus.reset();
    }

    fn request(&mut self, setup: Setup, data: &mut Vec<u8>, _now: u64) -> bool {
        match u16::from_be_bytes([setup.kind, setup.request]) {
            request::MAX_LUN => data.push(0),
            request::RESET => {
                self.forget();
                self.bus.abort(UNIT, None);
                self.take_ended();
            }
            _ => return false,
        }
        true
    }

    fn transfer_in(&mut self, _endpoint: u8, room: &mut [u8], _now: u64) -> Answer {
        match self.phase {
            Phase::DataIn => self.give_data(room),
            Phase::Status => self.give_status(room),
            Phase::Command | Phase::DataOut => Answer::Nak,
            Phase::Broken => Answer::Stall,
        }
    }

    fn transfer_out(&mut self, _endpoint: u8, data: &[u8], _now: u64) -> Answer {
        if self.phase == Phase::DataOut {
            return self.take_data(data);
        }
        if self.phase == Phase::Command && self.wrapper(data) {
            return Answer::Done(data.len());
        }
        self.phase = Phase::Broken;
        Answer::Stall
    }

    fn speaks_at(&self) -> Option<u64> {
        None
    }

    fn woken(&mut self) {
        let dma = self.buffer.as_ref().map(|buffer| buffer.dma.clone());
        // Without a buffer there is no command, but what was given up may have ended.
        if let Some(dma) = dma.or_else(|| Buffer::new(0).map(|buffer| buffer.dma)) {
            self.bus.completions(&dma);
        }
        self.take_ended();
    }
    fn quiesce(&mut self) -> bool {
        self.woken();
        self.bus.idle()
    }
    fn drained(&self) -> bool {
        self.bus.drained()
    }

    fn save(&self) -> Result<Saved, StateError> {
        state::save(self)
    }
    fn load(&mut self, saved: &Saved) -> Result<(), StateError> {
        state::load(self, saved)
    }
    fn inspect(&self, node: &mut Node) {
        node.value("phase", format_args!("{:?}", self.phase));
        if let Some(Current { len, at, cdb, busy, .. }) = &self.current {
            node.hex("command", cdb[0]).value("bytes", len).value("moved", at).value("busy", busy);
        }
        self.bus.inspect(node);
    }
}
