//! The device by its packets, with no controller: what Linux's uas and Windows's uaspstor send, commands that overtake each
//! other, information units that lie, functions and units in the middle. Every packet is also saved and loaded before.
//!
//! Linux: a status request for each command, its COMMAND IU, and for one with data, after READ READY or WRITE READY,
//! another status request and the data; INQUIRY of 36 bytes, REPORT LUNS, TEST UNIT READY, READ CAPACITY (16), MODE SENSE,
//! pages of INQUIRY. ABORT TASK and LOGICAL UNIT RESET came from kernels before 3.17. Windows: the same commands; it
//! keeps several in flight from the start.

use std::sync::Arc;

use devices_core::block::MemoryStore;
use devices_core::rig::{Random, Rig, ms};

use super::spec::{CDB, function};
use super::*;
use crate::storage::scsi::Address;
use crate::storage::scsi::tests::{cd_of, contents, disc, disk_of, memory};
use crate::storage::scsi::{NoPlace, ScsiHost, UnitOptions};
use crate::usb::{Function, Pid};

struct Desk {
    rig: Rig,
    store: Arc<MemoryStore>,
    function: Function,
    host: Host,
    restless: bool,
    units: Vec<(u16, UnitOptions)>,
}

fn device(rig: &Rig, units: &[(u16, UnitOptions)]) -> (Function, Host) {
    let uas = Uas::new("S1", rig.wiring().waker());
    let host = uas.host();
    for (lun, unit) in units {
        host.plug(Some(0), Some(*lun), unit.clone()).unwrap();
    }
    (Function::new(Box::new(uas), Speed::High), host)
}

impl Desk {
    /// A disk, and a CD drive as unit 7.
    fn new(restless: bool) -> Desk {
        let rig = Rig::new();
        let (store, backend) = memory(&rig, contents(), false);
        let (_, medium) = memory(&rig, disc(), true);
        let units = vec![(0, disk_of(backend)), (7, cd_of(Some(medium)))];
        let (function, host) = device(&rig, &units);
        let mut desk = Desk { rig, store, function, host, restless: false, units };
        desk.configure();
        for lun in [0, 7] {
            assert_eq!(desk.simple(1, lun, &[0; 6]), (2, Some((6, 0x29))), "power on");
        }
        desk.restless = restless;
        desk
    }

    fn configure(&mut self) {
        assert_eq!(self.packet(Pid::Setup, 0, &mut [0, 9, 1, 0, 0, 0, 0, 0]), Answer::Done(8));
        assert_eq!(self.packet(Pid::In, 0, &mut []), Answer::Done(0));
    }

    /// A packet, with a save and a load before it.
    fn packet(&mut self, pid: Pid, endpoint: u8, data: &mut [u8]) -> Answer {
        if self.restless {
            self.save_load();
        }
        self.function.packet(pid, endpoint, data, 0)
    }

    fn save_load(&mut self) {
        let state = self.function.save().unwrap();
        (self.function, self.host) = device(&self.rig, &self.units);
        self.function.load(state).unwrap();
    }

    fn command(&mut self, tag: u16, lun: u8, cdb: &[u8]) -> Answer {
        let [high, low] = tag.to_be_bytes();
        let mut iu = vec![iu::COMMAND, 0, high, low, 0, 0, 0, 0, 0, lun, 0, 0, 0, 0, 0, 0];
        iu.extend(cdb);
        iu.resize(spec::COMMAND_LEN, 0);
        self.packet(Pid::Out, pipe::COMMAND, &mut iu)
    }
    fn manage(&mut self, tag: u16, lun: u8, function: u8, managed: u16) -> Answer {
        let ([high, low], [of, task]) = (tag.to_be_bytes(), managed.to_be_bytes());
        let mut iu = [iu::TASK, 0, high, low, function, 0, of, task, 0, lun, 0, 0, 0, 0, 0, 0];
        self.packet(Pid::Out, pipe::COMMAND, &mut iu)
    }

    /// Lets the media work.
    fn work(&mut self) {
        self.rig.advance(ms(1));
        self.function.device().woken();
    }

    /// The next information unit, when there is one.
    fn status(&mut self) -> Vec<u8> {
        let mut room = [0; 512];
        for _ in 0..100 {
            match self.packet(Pid::In, pipe::STATUS, &mut room) {
                Answer::Done(len) => return room[..len].to_vec(),
                Answer::Nak => self.work(),
                answer => panic!("{answer:?}"),
            }
        }
        panic!("the device never tells");
    }
    fn silent(&mut self) {
        for _ in 0..5 {
            assert_eq!(self.packet(Pid::In, pipe::STATUS, &mut [0; 512]), Answer::Nak);
            self.work();
        }
    }
    fn ready(&mut self, id: u8, tag: u16) {
        let [high, low] = tag.to_be_bytes();
        assert_eq!(self.status(), [id, 0, high, low]);
    }
    /// Status of a command, with sense key and code if there are any.
    fn sense(&mut self, tag: u16) -> (u8, Option<(u8, u8)>) {
        let unit = self.status();
        assert_eq!((unit[0], u16::from_be_bytes([unit[2], unit[3]])), (iu::SENSE, tag), "{unit:x?}");
        let sense = &unit[16..];
        assert_eq!(sense.len(), usize::from(u16::from_be_bytes([unit[14], unit[15]])));
        (unit[6], (!sense.is_empty()).then(|| (sense[2], sense[12])))
    }
    fn response(&mut self, tag: u16) -> u8 {
        let unit = self.status();
        assert_eq!((unit.len(), unit[0], u16::from_be_bytes([unit[2], unit[3]])), (8, iu::RESPONSE, tag));
        unit[7]
    }

    fn take(&mut self, room: usize) -> Result<Vec<u8>, Answer> {
        let mut data = vec![0xee; room];
        match self.packet(Pid::In, pipe::DATA_IN, &mut data) {
            Answer::Done(len) => Ok(data[..len].to_vec()),
            answer => Err(answer),
        }
    }
    fn give(&mut self, data: &[u8]) -> Answer {
        self.packet(Pid::Out, pipe::DATA_OUT, &mut data.to_vec())
    }

    /// A command without data.
    fn simple(&mut self, tag: u16, lun: u8, cdb: &[u8]) -> (u8, Option<(u8, u8)>) {
        assert_eq!(self.command(tag, lun, cdb), Answer::Done(32));
        self.sense(tag)
    }
    /// A command with data for the host, which has so much room: in packets, until a short one.
    fn ask(&mut self, tag: u16, lun: u8, cdb: &[u8], room: usize) -> Vec<u8> {
        assert_eq!(self.command(tag, lun, cdb), Answer::Done(32));
        self.ready(iu::READ_READY, tag);
        let data = self.all(room);
        assert_eq!(self.sense(tag), (0, None));
        data
    }
    fn all(&mut self, room: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < room {
            let part = 512.min(room - data.len());
            let got = self.take(part).unwrap();
            let over = got.len() < part;
            data.extend(got);
            if over {
                break;
            }
        }
        data
    }
    fn tell(&mut self, tag: u16, cdb: &[u8], data: &[u8]) -> (u8, Option<(u8, u8)>) {
        assert_eq!(self.command(tag, 0, cdb), Answer::Done(32));
        self.ready(iu::WRITE_READY, tag);
        for packet in data.chunks(512) {
            assert_eq!(self.give(packet), Answer::Done(packet.len()));
        }
        self.sense(tag)
    }
}

/// A script twice, the second time saved and loaded before each packet.
fn both(script: impl Fn(&mut Desk)) {
    for restless in [false, true] {
        script(&mut Desk::new(restless));
    }
}

const fn read10(lba: u8, blocks: u8) -> [u8; 10] {
    [0x28, 0, 0, 0, 0, lba, 0, 0, blocks, 0]
}
const fn write10(lba: u8, blocks: u8) -> [u8; 10] {
    [0x2a, 0, 0, 0, 0, lba, 0, 0, blocks, 0]
}
const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 36, 0];

#[test]
fn as_drivers_do() {
    both(|desk| {
        let inquiry = desk.ask(1, 0, &INQUIRY, 36);
        assert_eq!((inquiry.len(), &inquiry[8..16]), (36, &b"QEMU    "[..]));
        assert_eq!(desk.ask(2, 7, &INQUIRY, 36)[0], 5, "a CD drive");
        let luns = desk.ask(3, 0, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0], 4096);
        assert_eq!(luns[..4], [0, 0, 0, 16]);
        assert_eq!(luns[8..], [0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0]);
        assert_eq!(desk.simple(4, 0, &[0; 6]), (0, None));
        let capacity = desk.ask(5, 0, &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32);
        assert_eq!(capacity[..12], [0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 2, 0]);
        let mode = desk.ask(6, 0, &[0x1a, 0, 8, 0, 192, 0], 192);
        assert!(mode.len() < 192, "a short packet ends it");
        assert_eq!(desk.ask(7, 0, &read10(5, 8), 4096), contents()[5 * 512..13 * 512]);
        let new: Vec<u8> = (0..4 * 512u32).map(|at| (at * 7) as u8).collect();
        assert_eq!(desk.tell(8, &write10(20, 4), &new), (0, None));
        assert_eq!(desk.store.contents()[20 * 512..24 * 512], new);
        assert_eq!(desk.simple(9, 0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]), (0, None), "the cache");
        assert_eq!(desk.simple(10, 0, &[0xc7; 10]), (2, Some((5, 0x20))), "a command that is none");
        assert_eq!(desk.simple(11, 0, &read10(0, 0)), (0, None), "no block has no data");
        assert_eq!(desk.ask(12, 7, &[0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0], 2048), disc()[3 * 2048..4 * 2048]);
        // Beyond the end there is no data to be ready for.
        assert_eq!(desk.simple(13, 0, &[0x28, 0, 0, 1, 0, 0, 0, 0, 1, 0]), (2, Some((5, 0x21))));
    });
}

/// Several at once: a data pipe is one command's at a time, and what has no data goes by.
#[test]
fn commands_in_flight() {
    both(|desk| {
        for (tag, lba) in [(20, 1), (21, 2), (22, 3)] {
            desk.command(tag, 0, &read10(lba, 1));
        }
        desk.command(23, 0, &write10(9, 1));
        desk.command(24, 0, &write10(10, 1));
        desk.command(25, 0, &[0; 6]);
        let mut first = [desk.status(), desk.status(), desk.status()];
        first.sort();
        assert_eq!(first[0][..4], [iu::SENSE, 0, 0, 25]);
        let read = u16::from(first[1][3]);
        assert_eq!(first[1..], [vec![iu::READ_READY, 0, 0, read as u8], vec![iu::WRITE_READY, 0, 0, 23]]);
        desk.silent();
        let mut seen = vec![read];
        for _ in 0..3 {
            let tag = *seen.last().unwrap();
            assert_eq!(desk.take(512).unwrap(), [tag as u8 - 19; 512]);
            assert_eq!(desk.sense(tag), (0, None));
            if seen.len() < 3 {
                let ready = desk.status();
                assert_eq!(ready[0], iu::READ_READY);
                seen.push(ready[3].into());
            }
        }
        seen.sort_unstable();
        assert_eq!(seen, [20, 21, 22]);
        assert_eq!(desk.give(&[0x55; 512]), Answer::Done(512));
        assert_eq!(desk.sense(23), (0, None));
        desk.ready(iu::WRITE_READY, 24);
        assert_eq!(desk.give(&[0x66; 512]), Answer::Done(512));
        assert_eq!(desk.sense(24), (0, None));
        let bytes = desk.store.contents();
        assert_eq!((bytes[9 * 512], bytes[10 * 512], bytes[11 * 512]), (0x55, 0x66, 11));
        desk.silent();
    });
}

/// What the host means to move is not what its command tells.
#[test]
fn lengths_that_differ() {
    both(|desk| {
        // Whole packets, less than the command wanted: an empty one says that it was all.
        desk.command(1, 0, &[0x1a, 0, 0x3f, 0, 0xff, 0]);
        desk.ready(iu::READ_READY, 1);
        let len = desk.all(1024).len();
        assert!(len < 255 && desk.sense(1) == (0, None), "{len}");
        // The host asks for more than was to come.
        desk.command(2, 0, &read10(3, 1));
        desk.ready(iu::READ_READY, 2);
        assert_eq!(desk.take(512).unwrap(), [3; 512]);
        assert_eq!(desk.take(512).unwrap(), []);
        assert_eq!(desk.sense(2), (0, None));
        // For less, at first; or in odd parts.
        desk.command(3, 0, &read10(3, 1));
        desk.ready(iu::READ_READY, 3);
        let parts = [13, 400, 99].map(|len| desk.take(len).unwrap().len());
        assert_eq!((parts, desk.sense(3)), ([13, 400, 99], (0, None)));
        // It sends more than was needed, during and after.
        desk.command(4, 0, &write10(30, 1));
        desk.ready(iu::WRITE_READY, 4);
        assert_eq!(desk.give(&[0x31; 700]), Answer::Done(700));
        assert_eq!(desk.give(&[0x32; 512]), Answer::Done(512));
        assert_eq!(desk.sense(4), (0, None));
        assert_eq!(desk.give(&[0x33; 512]), Answer::Done(512));
        // And in odd parts.
        desk.command(5, 0, &write10(32, 1));
        desk.ready(iu::WRITE_READY, 5);
        for len in [0, 500, 12] {
            assert_eq!(desk.give(&vec![0x41; len]), Answer::Done(len));
        }
        assert_eq!(desk.sense(5), (0, None));
        let bytes = desk.store.contents();
        assert_eq!([30, 31, 32, 33].map(|lba| bytes[lba * 512 + 511]), [0x31, 31, 0x41, 33]);
        // Too little room for an information unit.
        desk.command(6, 0, &[0; 6]);
        assert_eq!(desk.packet(Pid::In, pipe::STATUS, &mut [0; 15]), Answer::Babble);
        assert_eq!(desk.sense(6), (0, None));
    });
}

/// An answer of whole packets, shorter than it could be, is followed by an empty packet.
#[test]
fn whole_packets_are_ended() {
    both(|desk| {
        // 63 units: with the list's header 512 bytes.
        let disk = desk.units[0].1.clone();
        for lun in (1..64).filter(|lun| *lun != 7).take(61) {
            desk.units.push((lun, disk.clone()));
            desk.host.plug(Some(0), Some(lun), disk.clone()).unwrap();
        }
        assert_eq!(desk.command(1, 0, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0]), Answer::Done(32));
        desk.ready(iu::READ_READY, 1);
        assert_eq!(desk.take(512).unwrap().len(), 512);
        desk.silent();
        assert_eq!(desk.take(512).unwrap(), []);
        assert_eq!(desk.sense(1), (0, None));
    });
}

#[test]
fn units_that_lie() {
    both(|desk| {
        let clear = |desk: &mut Desk, endpoint: u8| {
            desk.packet(Pid::Setup, 0, &mut [2, 1, 0, 0, endpoint, 0, 0, 0]);
            assert_eq!(desk.packet(Pid::In, 0, &mut []), Answer::Done(0));
        };
        for bad in [vec![], vec![1, 0, 0], vec![0; 32], vec![2, 0, 0, 1], vec![0xff; 700]] {
            assert_eq!(desk.packet(Pid::Out, pipe::COMMAND, &mut bad.clone()), Answer::Stall);
            assert_eq!(desk.command(1, 0, &[0; 6]), Answer::Stall, "halted");
            clear(desk, pipe::COMMAND);
        }
        // Nothing is in flight.
        assert_eq!(desk.take(512), Err(Answer::Stall));
        clear(desk, 0x80 | pipe::DATA_IN);
        assert_eq!(desk.give(&[0; 512]), Answer::Stall);
        clear(desk, pipe::DATA_OUT);
        // Too short to be what they say.
        for (id, len) in [(iu::COMMAND, 31), (iu::TASK, 15), (iu::COMMAND, 4)] {
            let mut unit = vec![0; len];
            (unit[0], unit[3]) = (id, 9);
            assert_eq!(desk.packet(Pid::Out, pipe::COMMAND, &mut unit), Answer::Done(len));
            assert_eq!(desk.response(9), response::INVALID);
        }
        // A command of more than 16 bytes; a unit of another level, one that is not there, no unit of that target.
        let mut long = vec![0; 48];
        (long[0], long[3], long[spec::ADDITIONAL]) = (iu::COMMAND, 2, 4 << 2);
        assert_eq!(desk.packet(Pid::Out, pipe::COMMAND, &mut long), Answer::Done(48));
        assert_eq!(desk.sense(2), (2, Some((5, 0x26))));
        let mut deep = vec![0; 32];
        (deep[0], deep[3], deep[spec::LUN]) = (iu::COMMAND, 3, 0x40);
        desk.packet(Pid::Out, pipe::COMMAND, &mut deep);
        assert_eq!(desk.sense(3), (2, Some((5, 0x25))));
        assert_eq!(desk.simple(4, 3, &[0; 6]), (2, Some((5, 0x25))));
        assert_eq!(desk.ask(4, 3, &INQUIRY, 36)[0], 0x7f, "but its target answers");
        // More data than there is memory for.
        assert_eq!(desk.simple(5, 0, &[0x28, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0]), (2, Some((5, 0x24))));
        // A tag twice.
        desk.command(6, 0, &write10(3, 1));
        desk.ready(iu::WRITE_READY, 6);
        assert_eq!(desk.simple(6, 0, &[0; 6]), (2, Some((0xb, 0x4e))));
        desk.manage(6, 0, function::ABORT_TASK, 6);
        assert_eq!(desk.response(6), response::OVERLAPPED);
        assert_eq!(desk.give(&[1; 512]), Answer::Done(512));
        assert_eq!(desk.sense(6), (0, None));
        // The other way on each pipe, and a setup.
        for (pid, endpoint) in [(Pid::In, 1), (Pid::In, 4), (Pid::Out, 2), (Pid::Out, 3), (Pid::Setup, 1)] {
            assert_eq!(desk.packet(pid, endpoint, &mut [0; 8]), Answer::Stall);
        }
    });
}

#[test]
fn functions() {
    both(|desk| {
        desk.manage(1, 5, function::LUN_RESET, 0);
        assert_eq!(desk.response(1), response::INCORRECT_LUN);
        for function in [0, 2, 4, 0x10, 0x40, 0x80, 0x81, 0x82, 0xff] {
            desk.manage(1, 0, function, 0);
            assert_eq!(desk.response(1), response::NOT_SUPPORTED);
        }
        desk.manage(1, 0, function::ABORT_TASK, 77);
        assert_eq!(desk.response(1), response::COMPLETE, "there is none");
        // One that waits for its data, with the pipe, and one behind it: that one is next.
        desk.command(10, 0, &write10(40, 1));
        desk.command(11, 0, &write10(41, 1));
        desk.ready(iu::WRITE_READY, 10);
        desk.manage(12, 0, function::ABORT_TASK, 10);
        let mut next = [desk.status(), desk.status()];
        next.sort();
        assert_eq!(next, [vec![iu::RESPONSE, 0, 0, 12, 0, 0, 0, 0], vec![iu::WRITE_READY, 0, 0, 11]]);
        assert_eq!(desk.give(&[0x77; 512]), Answer::Done(512));
        assert_eq!(desk.sense(11), (0, None));
        assert_eq!((desk.store.contents()[40 * 512], desk.store.contents()[41 * 512]), (40, 0x77));
        // One whose READ READY was not taken: it is not told any more.
        desk.command(13, 0, &INQUIRY);
        desk.manage(14, 0, function::ABORT_TASK, 13);
        assert_eq!(desk.response(14), response::COMPLETE);
        // With the medium; another unit's goes on.
        desk.command(15, 0, &read10(1, 8));
        desk.command(16, 7, &INQUIRY);
        desk.ready(iu::READ_READY, 16);
        desk.manage(17, 0, function::LUN_RESET, 0);
        assert_eq!(desk.response(17), response::COMPLETE);
        assert_eq!(desk.all(36).len(), 36);
        assert_eq!(desk.sense(16), (0, None));
        desk.silent();
        assert_eq!(desk.simple(18, 0, &[0; 6]), (2, Some((6, 0x29))), "told of its reset");
        assert_eq!(desk.simple(18, 7, &[0; 6]), (0, None));
        // A command that was given up with the medium has its tag until its end was told.
        desk.command(19, 0, &read10(1, 8));
        desk.manage(20, 0, function::ABORT_TASK, 19);
        assert_eq!(desk.response(20), response::COMPLETE);
        assert_eq!(desk.ask(19, 0, &read10(7, 1), 512), [7; 512]);
    });
}

#[test]
fn a_host_that_takes_no_status_is_held_up() {
    both(|desk| {
        let mut taken = 0u16;
        while desk.command(1000 + taken, 0, &[0; 6]) == Answer::Done(32) {
            taken += 1;
            desk.restless &= taken < 4;
        }
        assert_eq!(usize::from(taken), STATUS);
        assert_eq!(desk.manage(1, 0, 0xff, 0), Answer::Nak);
        for tag in 0..taken {
            assert_eq!(desk.sense(1000 + tag), (0, None));
        }
        // Commands that wait for data: by their number, and by their data.
        for (blocks, most) in [(1, TASKS), (255, 128)] {
            let mut taken = 0;
            while desk.command(taken, 0, &write10(0, blocks)) == Answer::Done(32) {
                taken += 1;
            }
            assert!(usize::from(taken) <= most && taken > 60, "{taken}");
            desk.manage(999, 0, function::LUN_RESET, 0);
            assert_eq!(desk.response(999), response::COMPLETE);
            assert_eq!(desk.simple(1, 0, &[0; 6]).0, 2);
        }
        assert_eq!(desk.ask(1, 0, &read10(7, 1), 512), [7; 512]);
    });
}

#[test]
fn a_reset_in_the_middle() {
    both(|desk| {
        desk.command(1, 0, &write10(50, 1));
        desk.command(2, 0, &read10(50, 8));
        desk.manage(3, 0, function::ABORT_TASK, 2);
        desk.function.reset();
        desk.rig.advance(ms(50));
        desk.function.device().woken();
        assert!(desk.function.drained());
        desk.configure();
        desk.silent();
        assert_eq!(desk.simple(1, 0, &[0; 6]), (2, Some((6, 0x29))));
        assert_eq!(desk.ask(2, 0, &read10(50, 1), 512), [50; 512]);
    });
}

#[test]
fn units_come_and_go() {
    both(|desk| {
        let disk = desk.units[0].1.clone();
        let plug = |desk: &Desk, target, lun| desk.host.plug(target, lun, disk.clone()).map(|(at, _)| at.lun);
        assert_eq!(plug(desk, Some(1), None), Err(NoPlace::Target(1)));
        assert_eq!(plug(desk, None, Some(256)), Err(NoPlace::Lun(256)));
        assert_eq!(plug(desk, None, Some(7)), Err(NoPlace::NoTarget));
        assert_eq!(plug(desk, None, None), Err(NoPlace::NoTarget), "unit 0 is there");
        assert!(plug(desk, Some(0), Some(7)).unwrap_err().to_string().contains("a unit already"));
        desk.units.push((1, disk.clone()));
        assert_eq!(plug(desk, Some(0), None), Ok(1));
        assert_eq!(desk.simple(1, 0, &[0; 6]), (2, Some((6, 0x3f))), "others are there");
        assert_eq!(desk.simple(2, 1, &[0; 6]), (2, Some((6, 0x29))));
        // Its command ends with it, and so does one that waits for data.
        desk.command(3, 1, &read10(3, 8));
        desk.command(4, 1, &write10(3, 1));
        let at = Address { target: 0, lun: 1 };
        desk.host.unplug(at);
        desk.units.pop();
        desk.function.device().woken();
        while !desk.host.has_left(at) {
            desk.work();
        }
        desk.ready(iu::WRITE_READY, 4);
        assert_eq!(desk.sense(3), (2, Some((5, 0x25))));
        assert_eq!(desk.give(&[0; 512]), Answer::Done(512));
        assert_eq!(desk.sense(4), (2, Some((5, 0x25))));
        assert_eq!(desk.simple(5, 1, &[0; 6]), (2, Some((5, 0x25))));
        assert_eq!(desk.simple(6, 7, &[0; 6]), (2, Some((6, 0x3f))));
    });
}

#[test]
fn a_device_without_units() {
    let rig = Rig::new();
    let (mut function, host) = device(&rig, &[]);
    function.packet(Pid::Setup, 0, &mut [0, 9, 1, 0, 0, 0, 0, 0], 0);
    function.packet(Pid::In, 0, &mut [], 0);
    let mut command = [0; 32];
    (command[0], command[CDB]) = (iu::COMMAND, 0x12);
    assert_eq!(function.packet(Pid::Out, pipe::COMMAND, &mut command, 0), Answer::Done(32));
    let mut room = [0; 64];
    assert_eq!(function.packet(Pid::In, pipe::STATUS, &mut room, 0), Answer::Done(34));
    assert_eq!((room[6], room[16 + 2], room[16 + 12]), (2, 5, 0x25));
    assert!(
        function.device().quiesce() && function.drained() && host.has_left(Address { target: 0, lun: 0 })
    );
}

#[test]
fn damaged_states_are_refused_or_harmless() {
    let mut desk = Desk::new(false);
    desk.command(1, 0, &read10(1, 8));
    desk.command(2, 0, &write10(1, 1));
    desk.ready(iu::WRITE_READY, 2);
    desk.command(3, 0, &INQUIRY);
    let whole = desk.function.device().save().unwrap();
    let mut random = Random::new(5);
    for _ in 0..3000 {
        let mut state = whole.clone();
        let at = random.below(state.body.len() as u64) as usize;
        state.body[at] = random.draw() as u8;
        let (mut function, _host) = device(&desk.rig, &desk.units);
        if function.device().load(&state).is_ok() {
            for endpoint in [pipe::STATUS, pipe::DATA_IN] {
                let _ = function.device().transfer_in(endpoint, &mut [0; 512], 0);
            }
            let _ = function.device().transfer_out(pipe::DATA_OUT, &[0; 512], 0);
            function.device().woken();
        }
    }
}

#[test]
fn packets_of_noise() {
    let mut desk = Desk::new(false);
    let mut random = Random::new(11);
    for _ in 0..20_000 {
        match random.below(9) {
            0 | 1 => {
                let mut cdb = [0u8; 16];
                cdb.iter_mut().for_each(|byte| *byte = random.draw() as u8 & random.draw() as u8);
                cdb[0] = [0, 3, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x55, 0xa0]
                    [random.below(12) as usize];
                let lun = [0, 0, 7, 3][random.below(4) as usize];
                desk.command(random.below(40) as u16, lun, &cdb);
            }
            2 => {
                let function = [1, 1, 8, 2][random.below(4) as usize];
                desk.manage(random.below(40) as u16, 0, function, random.below(40) as u16);
            }
            3 => {
                desk.give(&vec![random.draw() as u8; random.below(1500) as usize]);
            }
            4 => {
                let _ = desk.take(random.below(1500) as usize);
            }
            5 | 6 => {
                desk.packet(Pid::In, pipe::STATUS, &mut vec![0; random.below(600) as usize]);
            }
            7 => {
                desk.rig.advance(random.below(1_000_000));
                desk.function.device().woken();
            }
            _ if random.below(40) == 0 => {
                desk.function.reset();
                desk.configure();
            }
            _ => {
                desk.restless = random.below(4) == 0;
            }
        }
    }
    desk.restless = false;
    desk.function.reset();
    desk.configure();
    desk.simple(1, 0, &[0; 6]);
    assert_eq!(desk.ask(1, 0, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8)[6], 2);
}
