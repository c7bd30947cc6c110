//! The host: its configuration, how commands travel, task management.

use super::driver::{DATA, DEVICE, HEAD, NOTIFY, RING, SLOT, STATUS, VERSION_1};
use super::driver::{available, chain, enable, negotiate, on, set_status, wait_used};
use crate::bench::Bench;
use crate::machine::Size;

/// The control queue, and the event queue.
const CONTROL: u64 = RING + 0x4000;
const EVENT: u64 = RING + 0x8000;
const CONTROL_REQUEST: u64 = HEAD + 0x800;
const CONTROL_RESPONSE: u64 = STATUS + 0x800;

pub(super) const DISK: [u8; 8] = [1, 1, 0x40, 0, 0, 0, 0, 0];

/// What a command has come back with.
pub(super) struct Back {
    pub response: u8,
    pub status: u8,
    /// Sense key, additional code and qualifier.
    pub sense: [u8; 3],
    pub sense_len: u32,
    pub residual: u32,
    pub written: u32,
}

/// A host whose driver is set up, and the number of its next command.
pub(super) struct Host {
    next: u16,
    control: u16,
    pub cdb_size: usize,
    pub sense_size: usize,
}

impl Host {
    pub fn start(bench: &mut Bench<'_>) -> Host {
        negotiate(bench, VERSION_1);
        bench.poke(RING, &[0; 0xc000]);
        for (queue, ring) in [(0, CONTROL), (1, EVENT), (2, RING)] {
            enable(bench, queue, ring);
        }
        set_status(bench, 0xf);
        Host { next: 0, control: 0, cdb_size: 32, sense_size: 96 }
    }

    /// With the disk's reset told.
    pub fn ready(bench: &mut Bench<'_>) -> Host {
        let mut host = Host::start(bench);
        host.run(bench, DISK, &[0; 6], 0, 0);
        host
    }

    /// Has a command carried out, with the first `out` bytes at [`DATA`] for the unit and room for `room` there.
    pub fn run(&mut self, bench: &mut Bench<'_>, lun: [u8; 8], cdb: &[u8], out: u32, room: u32) -> Back {
        let mut head = [&lun[..], &u64::from(self.next).to_le_bytes(), &[0; 3], cdb].concat();
        head.resize(19 + self.cdb_size, 0);
        bench.poke(HEAD, &head);
        let response = 12 + self.sense_size;
        bench.poke(STATUS, &vec![0xee; response]);
        let mut buffers = vec![(HEAD, head.len() as u32, false)];
        if out > 0 {
            buffers.push((DATA, out, false));
        }
        buffers.push((STATUS, response as u32, true));
        if room > 0 {
            buffers.push((DATA, room, true));
        }
        chain(bench, RING, &buffers);
        available(bench, RING, self.next);
        bench.write(NOTIFY + 8, Size::B2, 2);
        self.next += 1;
        // What is to be safe takes a host that is busy a while.
        let mut found = wait_used(bench, RING, self.next);
        for _ in 0..20 {
            if found.0 != self.next {
                found = wait_used(bench, RING, self.next);
            }
        }
        let (index, _, written) = found;
        bench.check(format!("command {:02x} is given back", cdb[0]), index, self.next);
        let back = bench.peek(STATUS, response);
        let word = |at: usize| u32::from_le_bytes([back[at], back[at + 1], back[at + 2], back[at + 3]]);
        let sense_len = word(0);
        let sense = if sense_len >= 14 && back.len() >= 26 { [back[14], back[24], back[25]] } else { [0; 3] };
        Back { response: back[11], status: back[10], sense, sense_len, residual: word(4), written }
    }

    /// A command that reads; its data.
    pub fn read(&mut self, bench: &mut Bench<'_>, cdb: &[u8], room: u32) -> Vec<u8> {
        let back = self.run(bench, DISK, cdb, 0, room);
        bench.check(format!("response to {:02x}", cdb[0]), back.response, 0u8);
        bench.check(format!("status of {:02x}", cdb[0]), back.status, 0u8);
        bench.peek(DATA, room as usize)
    }

    /// A command that ends well and has no data for the driver.
    pub fn does(&mut self, bench: &mut Bench<'_>, cdb: &[u8], out: u32) {
        let back = self.run(bench, DISK, cdb, out, 0);
        bench.check(format!("response to {:02x}", cdb[0]), back.response, 0u8);
        bench.check(format!("status of {:02x}", cdb[0]), back.status, 0u8);
    }

    /// One that fails with that sense.
    pub fn fails(&mut self, bench: &mut Bench<'_>, cdb: &[u8], (out, room): (u32, u32), sense: [u8; 3]) {
        let back = self.run(bench, DISK, cdb, out, room);
        bench.check(format!("response to {:02x}", cdb[0]), back.response, 0u8);
        bench.check(format!("status of {:02x}", cdb[0]), back.status, 2u8);
        bench.check_bytes(format!("sense of {:02x}", cdb[0]), &back.sense, &sense);
    }

    /// A request of the control queue: its response of so many bytes.
    pub fn ask(&mut self, bench: &mut Bench<'_>, request: &[u8], room: u32) -> Vec<u8> {
        bench.poke(CONTROL_REQUEST, request);
        bench.poke(CONTROL_RESPONSE, &[0xee; 8]);
        let buffers = [(CONTROL_REQUEST, request.len() as u32, false), (CONTROL_RESPONSE, room, true)];
        chain(bench, CONTROL, &buffers);
        available(bench, CONTROL, self.control);
        bench.write(NOTIFY, Size::B2, 0);
        self.control += 1;
        let (index, ..) = wait_used(bench, CONTROL, self.control);
        bench.check("the function is given back", index, self.control);
        bench.peek(CONTROL_RESPONSE, room as usize)
    }

    fn manage(&mut self, bench: &mut Bench<'_>, function: u32, lun: [u8; 8]) -> u8 {
        let request = [&[0; 4][..], &function.to_le_bytes(), &lun, &77u64.to_le_bytes()].concat();
        self.ask(bench, &request, 1)[0]
    }
}

pub(super) fn identity(bench: &mut Bench<'_>) {
    let id = bench.config(SLOT, 0, 0, Size::B4);
    bench.check("vendor and device", id, 0x1004_1af4u32);
    let class = bench.config(SLOT, 0, 0xa, Size::B2);
    bench.check("class", class, 0x0100u16);
    let subsystem = bench.config(SLOT, 0, 0x2e, Size::B2);
    bench.check("subsystem", subsystem, 8u8);
}

pub(super) fn features(bench: &mut Bench<'_>) {
    on(bench);
    let offered = super::driver::features(bench, 0);
    bench.check("of the device", (offered & 0xff_ffff) as u32, 6u8);
}

pub(super) fn config(bench: &mut Bench<'_>) {
    on(bench);
    for (name, at, value) in [
        ("queues", 0, 1),
        ("most buffers", 4, 254),
        ("most sectors", 8, 0xffff),
        ("commands with a unit", 12, 128),
        ("bytes of an event", 16, 16),
        ("bytes of sense data", 20, 96),
        ("bytes of a command", 24, 32),
        ("highest channel and target", 28, 255 << 16),
        ("highest unit", 32, 16383u32),
    ] {
        let found = bench.readl(DEVICE + at);
        bench.check(name, found, value);
    }
}

pub(super) fn lengths(bench: &mut Bench<'_>) {
    let mut host = Host::start(bench);
    bench.write(DEVICE + 24, Size::B4, 16);
    bench.write(DEVICE + 20, Size::B4, 18);
    let (cdb, sense) = (bench.readl(DEVICE + 24), bench.readl(DEVICE + 20));
    bench.check("bytes of a command", cdb, 16u8);
    bench.check("bytes of sense data", sense, 18u8);
    (host.cdb_size, host.sense_size) = (16, 18);
    host.fails(bench, &[0; 6], (0, 0), [6, 0x29, 0]);
    host.does(bench, &[0; 6], 0);
    set_status(bench, 0);
    let (cdb, sense) = (bench.readl(DEVICE + 24), bench.readl(DEVICE + 20));
    bench.check("of a command, after a reset", cdb, 32u8);
    bench.check("of sense data, after a reset", sense, 96u8);
}

pub(super) fn command(bench: &mut Bench<'_>) {
    let mut host = Host::start(bench);
    let back = host.run(bench, DISK, &[0; 6], 0, 0);
    bench.check("response", back.response, 0u8);
    bench.check("status", back.status, 2u8);
    bench.check("bytes of sense data", back.sense_len, 18u8);
    bench.check_bytes("power on", &back.sense, &[6, 0x29, 0]);
    let back = host.run(bench, DISK, &[0; 6], 0, 0);
    bench.check("status, told once", back.status, 0u8);
    bench.check("no sense data", back.sense_len, 0u8);
    bench.check("no residue", back.residual, 0u8);
}

pub(super) fn residual(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let back = host.run(bench, DISK, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 0, 8);
    bench.check("of a whole answer", back.residual, 0u8);
    bench.check("bytes written", back.written, 116u8);
    let back = host.run(bench, DISK, &[0x28, 0, 0, 0, 0, 64, 0, 0, 1, 0], 0, 512);
    bench.check("of a command that failed", back.residual, 512u16);
    let back = host.run(bench, DISK, &[3, 0, 0, 0, 252, 0], 0, 252);
    bench.check("of a short answer", back.residual, 252 - 18u8);
}

pub(super) fn overrun(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    for (what, cdb, out, room) in [
        ("a read", [0x28, 0, 0, 0, 0, 0, 0, 0, 2, 0], 0, 512),
        ("a write", [0x2a, 0, 0, 0, 0, 0, 0, 0, 2, 0], 512, 0),
        ("a read with data to write", [0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512, 0),
        ("an allocation length", [0x5a, 0, 8, 0, 0, 0, 0, 1, 0, 0], 0, 255),
    ] {
        let back = host.run(bench, DISK, &cdb, out, room);
        bench.check(what, back.response, 1u8);
    }
}

pub(super) fn both_ways(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let back = host.run(bench, DISK, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1, 0], 512, 512);
    bench.check("response", back.response, 9u8);
}

pub(super) fn bad_target(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    for lun in [[1, 2, 0x40, 0, 0, 0, 0, 0], [0, 1, 0x40, 0, 0, 0, 0, 0], [1, 1, 0x80, 0, 0, 0, 0, 0]] {
        let back = host.run(bench, lun, &[0; 6], 0, 0);
        bench.check(format!("response for {:02x?}", &lun[..4]), back.response, 3u8);
    }
}

pub(super) fn no_unit(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    let nobody = [1, 1, 0x40, 9, 0, 0, 0, 0];
    let back = host.run(bench, nobody, &[0; 6], 0, 0);
    bench.check("response", back.response, 0u8);
    bench.check("status", back.status, 2u8);
    bench.check_bytes("sense", &back.sense, &[5, 0x25, 0]);
    let back = host.run(bench, nobody, &[0x12, 0, 0, 0, 36, 0], 0, 36);
    bench.check("status of INQUIRY", back.status, 0u8);
    let kind = bench.peek(DATA, 1)[0];
    bench.check("peripheral qualifier and type", kind, 0x7fu8);
}

pub(super) fn addressing(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    for lun in [DISK, [1, 1, 0, 0, 0, 0, 0, 0]] {
        let back = host.run(bench, lun, &[0; 6], 0, 0);
        bench.check(format!("response for {:02x?}", &lun[..4]), back.response, 0u8);
        bench.check(format!("status for {:02x?}", &lun[..4]), back.status, 0u8);
    }
}

pub(super) fn functions(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    for (name, function) in [
        ("ABORT TASK", 0),
        ("ABORT TASK SET", 1),
        ("CLEAR TASK SET", 3),
        ("LOGICAL UNIT RESET", 5),
        ("QUERY TASK", 6),
        ("QUERY TASK SET", 7),
    ] {
        let response = host.manage(bench, function, DISK);
        bench.check(name, response, 0u8);
        let response = host.manage(bench, function, [1, 1, 0x40, 9, 0, 0, 0, 0]);
        bench.check(format!("{name} of no unit"), response, 12u8);
        let response = host.manage(bench, function, [1, 9, 0x40, 0, 0, 0, 0, 0]);
        bench.check(format!("{name} of no target"), response, 3u8);
    }
    let response = host.manage(bench, 2, DISK);
    bench.check("CLEAR ACA", response, 11u8);
    let response = host.manage(bench, 4, DISK);
    bench.check("I_T NEXUS RESET", response, 0u8);
}

pub(super) fn unit_reset(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    host.does(bench, &[0; 6], 0);
    for (name, function) in [("LOGICAL UNIT RESET", 5), ("I_T NEXUS RESET", 4)] {
        let response = host.manage(bench, function, DISK);
        bench.check(name, response, 0u8);
        host.fails(bench, &[0; 6], (0, 0), [6, 0x29, 0]);
        host.does(bench, &[0; 6], 0);
    }
}

pub(super) fn notifications(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    for (name, kind) in [("query", 1u32), ("subscription", 2)] {
        let request = [&kind.to_le_bytes()[..], &DISK, &[0xff; 4]].concat();
        let response = host.ask(bench, &request, 5);
        bench.check_bytes(name, &response, &[0; 5]);
    }
}

pub(super) fn reset(bench: &mut Bench<'_>) {
    let mut host = Host::ready(bench);
    host.does(bench, &[0; 6], 0);
    let mut host = Host::start(bench);
    host.fails(bench, &[0; 6], (0, 0), [6, 0x29, 0]);
}
