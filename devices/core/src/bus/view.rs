//! One vCPU's view of the bus.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hypervisor::memory;
use ioreq::{Data, Dir, Request, Sbdf, Target};

use super::map::{Map, Range};
use super::{Bus, Shared};
use crate::device::{At, Deferred, Device, DeviceCell, Io, Space};

/// Ports of PCI configuration mechanism 1 (PCI Local Bus Specification 3.0, section 3.2.2.3.2).
const CONFIG_ADDRESS: u64 = 0xcf8;
const CONFIG_DATA: u64 = 0xcfc;
const CONFIG_ENABLE: u32 = 1 << 31;

/// Most items of one string request that are carried out in one go.
const RUN_BYTES: usize = 4096;

/// Carries out accesses. Not shared: one for each vCPU.
pub struct View {
    shared: Arc<Shared>,
    map: Arc<Map>,
    generation: u64,
    last: Option<Hit>,
    /// Late answers to writes of the request in hand.
    late: Vec<Deferred>,
}

/// The window that answered last and the part of it that was visible.
struct Hit {
    range: Arc<Range>,
    first: u64,
    last: u64,
}

impl View {
    pub(super) fn new(shared: Arc<Shared>) -> View {
        let map = shared.map.load_full();
        View { generation: 0, last: None, map, shared, late: Vec::new() }
    }

    /// Carries out one request; returns what a read gave, zero-extended (all ones from nobody), and zero
    /// for writes and string requests.
    pub fn request(&mut self, request: &Request) -> u64 {
        let value = self.begin(request);
        self.settle();
        value
    }

    /// Carries out one request, and leaves late answers to its writes to [`settle`](View::settle), or to
    /// nobody: then the next request forgets them.
    pub fn begin(&mut self, request: &Request) -> u64 {
        self.late.clear();
        self.carry_out(request)
    }

    /// Waits for late answers to the writes of the last request.
    pub fn settle(&mut self) {
        for late in self.late.drain(..) {
            late.wait(&self.shared.over);
        }
    }

    fn carry_out(&mut self, request: &Request) -> u64 {
        let (space, address) = match request.target {
            Target::Pio(port) => (Space::Pio, u64::from(port)),
            Target::Mmio(address) => (Space::Mmio, address),
            Target::PciConfig { sbdf, reg } => return self.config_request(request, sbdf, reg),
            // These concern whoever caches mappings of guest memory; the bus has none.
            Target::TimeOffset | Target::Invalidate => return 0,
        };
        let size = request.size.bytes();
        match (request.data, request.dir) {
            (Data::Value(_), Dir::Read) => {
                let mut data = [0xff; 8];
                for index in 0..request.count.max(1) {
                    data = [0xff; 8];
                    self.read(space, place(request, index, address), &mut data[..size]);
                }
                u64::from_le_bytes(data) & request.size.mask()
            }
            // `rep stos` is one value for a row of addresses.
            (Data::Value(value), Dir::Write) => {
                for index in 0..request.count.max(1) {
                    self.put(space, place(request, index, address), &value.to_le_bytes()[..size]);
                }
                0
            }
            (Data::Guest(buffer), _) => {
                self.string(request, space, address, buffer);
                0
            }
        }
    }

    /// Reads `data.len()` (1, 2, 4 or 8) bytes. `data` must be filled with ones.
    pub fn read(&mut self, space: Space, address: u64, data: &mut [u8]) {
        if let Some((range, at, run)) = self.locate(space, address, data.len()) {
            if run == data.len() && run <= range.widest {
                let io = range.slot.serve().read(at, data);
                return self.finish_read(io, &range, data);
            }
            let (now, later) = data.split_at_mut(cut(run, range.widest, data.len()));
            let io = range.slot.serve().read(at, now);
            self.finish_read(io, &range, now);
            if !later.is_empty() {
                self.read_pieces(space, address.wrapping_add(now.len() as u64), later);
            }
            return;
        }
        if space == Space::Pio {
            self.read_config_port(address, data);
        }
    }

    /// Writes `data` (1, 2, 4 or 8 bytes).
    pub fn write(&mut self, space: Space, address: u64, data: &[u8]) {
        self.put(space, address, data);
        self.settle();
    }

    fn put(&mut self, space: Space, address: u64, data: &[u8]) {
        if space == Space::Pio && address == CONFIG_ADDRESS && data.len() == 4 {
            let value = u32::from_le_bytes([data[0], data[1], data[2], data[3]]);
            // The reserved bits are not kept, as on the 82441FX.
            self.shared.config_address.store(value & 0x80ff_ffff, Ordering::Release);
            return;
        }
        if let Some((range, at, run)) = self.locate(space, address, data.len()) {
            let (now, later) = data.split_at(cut(run, range.widest, data.len()));
            let io = range.slot.serve().write(at, now);
            self.finish_write(io, &range);
            if !later.is_empty() {
                self.write_pieces(space, address.wrapping_add(now.len() as u64), later);
            }
            return;
        }
        if space == Space::Pio {
            self.write_config_port(address, data);
        }
    }

    /// The rest of an access that was cut: in pieces of a power of two.
    fn read_pieces(&mut self, space: Space, address: u64, mut data: &mut [u8]) {
        let mut address = wrap(space, address);
        while !data.is_empty() {
            let (now, later) = data.split_at_mut(1 << data.len().ilog2());
            self.read(space, address, now);
            address = wrap(space, address.wrapping_add(now.len() as u64));
            data = later;
        }
    }

    fn write_pieces(&mut self, space: Space, address: u64, mut data: &[u8]) {
        let mut address = wrap(space, address);
        while !data.is_empty() {
            let (now, later) = data.split_at(1 << data.len().ilog2());
            self.put(space, address, now);
            address = wrap(space, address.wrapping_add(now.len() as u64));
            data = later;
        }
    }

    /// The window at `address`, where in the device that is, and how many of `len` bytes from there on
    /// are its.
    fn locate(&mut self, space: Space, address: u64, len: usize) -> Option<(Arc<Range>, At, usize)> {
        let generation = self.shared.generation.load(Ordering::Acquire);
        if generation != self.generation {
            self.map = self.shared.map.load_full();
            self.generation = generation;
            self.last = None;
        }
        // What is cached of a port window may end before the window does: the whole access must lie in it.
        let end = address.saturating_add(len as u64 - 1);
        let hit = match &self.last {
            Some(hit) if hit.range.space == space && hit.first <= address && end <= hit.last => hit,
            _ => {
                let (range, first, last) = self.map.find(space, address)?;
                self.last.insert(Hit { range: range.clone(), first, last })
            }
        };
        let run = (hit.last - address).saturating_add(1).min(len as u64) as usize;
        let at = At { region: hit.range.region, offset: address - hit.range.start };
        Some((hit.range.clone(), at, run))
    }

    /// A string request: `rep ins`, `rep outs`, or `rep movs` to or from MMIO.
    fn string(&mut self, request: &Request, space: Space, address: u64, buffer: u64) {
        let size = request.size.bytes();
        let items = request.count as usize;
        let mut done = 0;
        while space == Space::Pio && !request.descending && done < items {
            let run = (items - done).min(RUN_BYTES / size);
            let from = buffer.wrapping_add((done * size) as u64);
            let moved = self.run(request, address, from, run * size) / size;
            if moved == 0 {
                break;
            }
            done += moved;
        }
        self.items(request, space, done as u32);
    }

    /// A run of items that the device takes in one go; the bytes done.
    fn run(&mut self, request: &Request, address: u64, buffer: u64, len: usize) -> usize {
        let size = request.size.bytes();
        let mut data = [0; RUN_BYTES];
        let Some(data) = data.get_mut(..len) else { return 0 };
        let Some((range, at, run)) = self.locate(Space::Pio, address, size) else { return 0 };
        if run < size {
            return 0;
        }
        match request.dir {
            Dir::Read => {
                let done = range.slot.serve().read_run(at, size, data).min(len);
                // What does not lie in RAM is dropped.
                let _ = memory::write(&self.shared.ram, buffer, &data[..done]);
                done
            }
            Dir::Write => {
                data.fill(0xff);
                let _ = memory::read(&self.shared.ram, buffer, data);
                range.slot.serve().write_run(at, size, data).min(len)
            }
        }
    }

    /// Item by item, from item `done` on.
    fn items(&mut self, request: &Request, space: Space, done: u32) {
        for index in done..request.count {
            let item = request.item(index);
            let Data::Guest(gpa) = item.data else { return };
            let at = match item.target {
                Target::Mmio(address) => address,
                Target::Pio(port) => port.into(),
                _ => return,
            };
            let mut data = [0xff; 8];
            let data = &mut data[..request.size.bytes()];
            // What does not lie in RAM reads as all ones and is dropped when written.
            match request.dir {
                Dir::Read => {
                    self.read(space, at, data);
                    let _ = memory::write(&self.shared.ram, gpa, data);
                }
                Dir::Write => {
                    let _ = memory::read(&self.shared.ram, gpa, data);
                    self.put(space, at, data);
                }
            }
        }
    }

    fn read_config_port(&mut self, address: u64, data: &mut [u8]) {
        if address == CONFIG_ADDRESS && data.len() == 4 {
            let latch = self.shared.config_address.load(Ordering::Acquire);
            data.copy_from_slice(&(latch & !3).to_le_bytes());
        } else if let Some((sbdf, reg)) = self.config_target(address, data.len()) {
            self.config_read(sbdf, reg, data);
        }
    }

    fn write_config_port(&mut self, address: u64, data: &[u8]) {
        if let Some((sbdf, reg)) = self.config_target(address, data.len()) {
            self.config_write(sbdf, reg, data);
        }
    }

    fn config_target(&self, address: u64, len: usize) -> Option<(Sbdf, u16)> {
        let latch = self.shared.config_address.load(Ordering::Acquire);
        let inside = address >= CONFIG_DATA && address + len as u64 <= CONFIG_DATA + 4;
        // On the 82441FX bits 1:0 are zero and the port alone tells the byte. Software that sets them reads
        // at 0xcfc what it wants of the double word, which works with QEMU.
        let reg = (latch & 0xff) as u16 | (address & 3) as u16;
        (inside && latch & CONFIG_ENABLE != 0).then_some((Sbdf(latch >> 8 & 0xffff), reg))
    }

    fn config_request(&mut self, request: &Request, sbdf: Sbdf, reg: u16) -> u64 {
        let size = request.size.bytes();
        match (request.dir, request.data) {
            (Dir::Read, _) => {
                let mut data = [0xff; 8];
                self.config_read(sbdf, reg, &mut data[..size]);
                u64::from_le_bytes(data) & request.size.mask()
            }
            (Dir::Write, Data::Value(value)) => {
                self.config_write(sbdf, reg, &value.to_le_bytes()[..size]);
                0
            }
            (Dir::Write, Data::Guest(_)) => 0,
        }
    }

    /// With the device's lock free again.
    fn finish_write(&mut self, io: Io, range: &Range) {
        match io {
            Io::Done | Io::Unclaimed => {}
            Io::Moved => self.remap(&range.slot),
            Io::Defer(deferred) => self.late.push(deferred),
        }
    }

    fn remap(&self, slot: &Arc<DeviceCell<dyn Device>>) {
        Bus::from_shared(self.shared.clone()).remap(slot);
    }

    /// With the device's lock free again.
    fn finish_read(&self, io: Io, range: &Range, data: &mut [u8]) {
        match io {
            Io::Done => {}
            Io::Moved => self.remap(&range.slot),
            Io::Unclaimed => data.fill(0xff),
            Io::Defer(deferred) => {
                let value = deferred.wait(&self.shared.over).to_le_bytes();
                let len = data.len().min(8);
                data[..len].copy_from_slice(&value[..len]);
            }
        }
    }

    fn function(&mut self, sbdf: Sbdf) -> Option<Arc<DeviceCell<dyn Device>>> {
        self.shared.map.load().function(sbdf).cloned()
    }

    fn config_read(&mut self, sbdf: Sbdf, reg: u16, data: &mut [u8]) {
        if let Some(slot) = self.function(sbdf) {
            slot.serve().config_read(reg, data);
        }
    }

    fn config_write(&mut self, sbdf: Sbdf, reg: u16, data: &[u8]) {
        let Some(slot) = self.function(sbdf) else { return };
        let moved = {
            let mut device = slot.serve();
            let moved = device.config_write(reg, data);
            self.late.append(&mut device.config_written());
            moved
        };
        if moved {
            self.remap(&slot);
        }
    }
}

/// How many bytes of an access go in the first piece: inside the window, no wider than the device takes,
/// and a power of two.
fn cut(run: usize, widest: usize, len: usize) -> usize {
    let most = run.min(widest).min(len).max(1);
    1 << most.ilog2()
}

/// Where item `index` of a request without a buffer goes: an MMIO address moves, a port does not.
fn place(request: &Request, index: u32, address: u64) -> u64 {
    match request.item(index).target {
        Target::Mmio(address) => address,
        _ => address,
    }
}

fn wrap(space: Space, address: u64) -> u64 {
    if space == Space::Pio { address & 0xffff } else { address }
}
