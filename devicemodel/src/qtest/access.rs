//! Ports and memory, as a vCPU would access them.

use std::sync::Arc;

use devices_core::bus::{Bus, View};
use devices_core::device::Space;
use hypervisor::{Hypervisor, NoCpu};
use ioreq::{Dir, Request, Size, Target};

/// A processor's way to a machine that has none.
pub struct Access {
    still: Arc<NoCpu>,
    view: View,
}

/// How many bytes of a run the next access to a device takes: a power of two, aligned, at most 8.
fn piece(address: u64, len: usize) -> usize {
    let aligned = 1 << address.trailing_zeros().min(3);
    aligned.min(1 << len.ilog2().min(3))
}

impl Access {
    /// The way to the devices on `bus` and to the memory of `still`.
    pub fn new(still: Arc<NoCpu>, bus: &Bus) -> Access {
        Access { still, view: bus.view() }
    }

    /// Who has the memory and the time.
    pub fn still(&self) -> &Arc<NoCpu> {
        &self.still
    }

    /// Reads a port.
    pub fn input(&mut self, port: u16, size: Size) -> u32 {
        self.view.request(&Request::read(0, Target::Pio(port), size)) as u32
    }
    /// Writes a port.
    pub fn output(&mut self, port: u16, size: Size, value: u32) {
        self.view.request(&Request::write(0, Target::Pio(port), size, value.into()));
    }
    /// `rep ins` or `rep outs`: `count` items between a port and RAM, upwards.
    pub fn string(&mut self, dir: Dir, port: u16, size: Size, count: u32, gpa: u64) {
        let data = ioreq::Data::Guest(gpa);
        let target = Target::Pio(port);
        self.view.request(&Request { vcpu: 0, target, dir, size, data, count, descending: false });
    }

    /// Reads memory space in one access where it is a device's.
    pub fn load(&mut self, gpa: u64, size: Size) -> u64 {
        let mut data = [0; 8];
        let view = &mut self.view;
        // A run may be shorter than the access: RAM ends inside it.
        self.still.read(gpa, &mut data[..size.bytes()], |at, run| match run.len() {
            1 | 2 | 4 | 8 => view.read(Space::Mmio, at, run),
            _ => in_pieces(at, run, |at, run| view.read(Space::Mmio, at, run)),
        });
        u64::from_le_bytes(data)
    }
    /// Writes memory space in one access where it is a device's.
    pub fn store(&mut self, gpa: u64, size: Size, value: u64) {
        let view = &mut self.view;
        self.still.write(gpa, &value.to_le_bytes()[..size.bytes()], |at, run| match run.len() {
            1 | 2 | 4 | 8 => view.write(Space::Mmio, at, run),
            _ => write_in_pieces(at, run, |at, run| view.write(Space::Mmio, at, run)),
        });
    }

    /// Reads any number of bytes of memory space, from devices in aligned pieces.
    pub fn read(&mut self, gpa: u64, data: &mut [u8]) {
        let view = &mut self.view;
        self.still.read(gpa, data, |at, run| {
            in_pieces(at, run, |at, run| view.read(Space::Mmio, at, run));
        });
    }
    /// Writes any number of bytes of memory space.
    pub fn write(&mut self, gpa: u64, data: &[u8]) {
        let view = &mut self.view;
        self.still.write(gpa, data, |at, run| {
            write_in_pieces(at, run, |at, run| view.write(Space::Mmio, at, run));
        });
    }

    /// Guest time in nanoseconds.
    pub fn now(&self) -> u64 {
        self.still.clock().now()
    }
}

fn in_pieces(mut at: u64, mut run: &mut [u8], mut each: impl FnMut(u64, &mut [u8])) {
    while !run.is_empty() {
        let (now, later) = run.split_at_mut(piece(at, run.len()));
        each(at, now);
        at = at.wrapping_add(now.len() as u64);
        run = later;
    }
}

fn write_in_pieces(mut at: u64, mut run: &[u8], mut each: impl FnMut(u64, &[u8])) {
    while !run.is_empty() {
        let (now, later) = run.split_at(piece(at, run.len()));
        each(at, now);
        at = at.wrapping_add(now.len() as u64);
        run = later;
    }
}
