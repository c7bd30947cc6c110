//! USB Attached SCSI by its packets: information units, data and status in any order, while the media take their time, units
//! come and go, and the device is reset, saved and loaded. Bytes are pairs: what is sent or asked for, and a number.

use std::sync::Arc;

use devices::storage::geometry::Geometry;
use devices::storage::scsi::{Address, Labels, Medium, ScsiHost, UnitOptions};
use devices::usb::uas::spec::{COMMAND_LEN, TASK_LEN, iu, pipe};
use devices::usb::uas::{Host, Uas};
use devices::usb::{Answer, Function, Pid, Speed};
use devices_core::block::{BlockBackend, Inline, MemoryStore};
use devices_core::rig::Rig;

use super::outcome;

/// Sectors of the disk.
const SECTORS: usize = 64;
/// Most packets of a script.
const STEPS: usize = 2000;
/// What the high halves of a script's bytes are alike in.
const KINDS: [u8; 16] = [0, 0, 0, 0, 0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6, 6];
/// What is asked of the units, by number: without data, with data of each way, none at all.
const COMMANDS: [&[u8]; 16] = [
    &[0; 6],
    &[0x28, 0, 0, 0, 0, 3, 0, 0, 1, 0],
    &[0x28, 0, 0, 0, 0, 0, 0, 0, 40, 0],
    &[0x2a, 0, 0, 0, 0, 3, 0, 0, 1, 0],
    &[0x2a, 0, 0, 0, 0, 0, 0, 0, 40, 0],
    &[0x12, 0, 0, 0, 36, 0],
    &[0x12, 1, 0x83, 0xff, 0xff, 0],
    &[0xa0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0, 0],
    &[0x1a, 0, 0x3f, 0, 192, 0],
    &[0x15, 0x10, 0, 0, 24, 0],
    &[0x41, 0, 0, 0, 0, 8, 0, 0, 32, 0],
    &[0x2f, 2, 0, 0, 0, 8, 0, 0, 4, 0],
    &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    &[0x28, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0],
    &[0x03, 0, 0, 0, 18, 0],
    &[0xc7; 16],
];

struct Life {
    rig: Rig,
    backend: Arc<dyn BlockBackend>,
    function: Function,
    host: Host,
    units: Vec<u16>,
}

fn unit(backend: &Arc<dyn BlockBackend>) -> UnitOptions {
    let medium = Medium::Disk {
        backend: backend.clone(),
        geometry: Geometry::of_size(SECTORS as u64),
        block: 512,
        physical_block: None,
        discard_granularity: 4096,
        rotation_rate: 0,
        removable: false,
        fua: true,
    };
    UnitOptions::new(medium, Labels::default())
}

fn device(rig: &Rig, backend: &Arc<dyn BlockBackend>, units: &[u16]) -> (Function, Host) {
    let uas = Uas::new("S", rig.wiring().waker());
    let host = uas.host();
    for lun in units {
        host.plug(Some(0), Some(*lun), unit(backend)).expect("the place is free");
    }
    (Function::new(Box::new(uas), Speed::High), host)
}

impl Life {
    fn new() -> Life {
        let rig = Rig::new();
        let store = Arc::new(MemoryStore::new(vec![7; SECTORS * 512], false));
        let backend: Arc<dyn BlockBackend> = Arc::new(Inline::new(store, rig.wiring()));
        let units = vec![0, 2];
        let (function, host) = device(&rig, &backend, &units);
        let mut life = Life { rig, backend, function, host, units };
        life.configure();
        life
    }

    fn configure(&mut self) {
        self.function.packet(Pid::Setup, 0, &mut [0, 9, 1, 0, 0, 0, 0, 0], 0);
        self.function.packet(Pid::In, 0, &mut [], 0);
    }

    fn save(&mut self) {
        let state = self.function.save().expect("it saves at any instant");
        (self.function, self.host) = device(&self.rig, &self.backend, &self.units);
        self.function.load(state).expect("it loads what it saved");
    }

    fn unplug(&mut self, lun: u16) {
        self.units.retain(|unit| *unit != lun);
        let at = Address { target: 0, lun };
        self.host.unplug(at);
        for _ in 0..1000 {
            if self.host.has_left(at) {
                return;
            }
            self.work(1_000_000);
        }
        panic!("a unit does not leave");
    }

    fn work(&mut self, time: u64) {
        self.rig.advance(time);
        self.function.device().woken();
    }

    fn out(&mut self, endpoint: u8, data: &[u8]) -> Answer {
        self.function.packet(Pid::Out, endpoint, &mut data.to_vec(), 0)
    }

    fn step(&mut self, what: u8, number: u8) -> u64 {
        let tag = number & 7;
        let unit = |id: u8, len: usize| {
            let mut unit = vec![0; len];
            (unit[0], unit[3], unit[9]) = (id, tag, [0, 0, 2, 1][usize::from(number >> 6)]);
            unit
        };
        let answer = match what >> 4 {
            0..=4 => {
                let mut command = unit(iu::COMMAND, COMMAND_LEN);
                let cdb = COMMANDS[usize::from(what & 15)];
                command[16..16 + cdb.len()].copy_from_slice(cdb);
                self.out(pipe::COMMAND, &command)
            }
            5 => {
                let mut function = unit(iu::TASK, TASK_LEN);
                (function[4], function[7]) = ([1, 1, 8, what][usize::from(what & 3)], number >> 3 & 7);
                self.out(pipe::COMMAND, &function)
            }
            6 => self.out(pipe::COMMAND, &vec![what & 7; number.into()]),
            7 | 8 => self.out(pipe::DATA_OUT, &vec![number; 64 << (what & 7)]),
            9 | 10 => self.function.packet(Pid::In, pipe::DATA_IN, &mut vec![0; 64 << (what & 7)], 0),
            11 | 12 => {
                self.function.packet(Pid::In, pipe::STATUS, &mut [0; 512][..usize::from(number) * 2], 0)
            }
            13 => {
                self.work(1 << (number & 31));
                Answer::Nak
            }
            14 => {
                // Halts are cleared.
                let endpoint = [1, 0x82, 0x83, 4][usize::from(number & 3)];
                self.function.packet(Pid::Setup, 0, &mut [2, 1, 0, 0, endpoint, 0, 0, 0], 0);
                self.function.packet(Pid::In, 0, &mut [], 0)
            }
            _ => {
                self.host_does(what & 15, number);
                Answer::Nak
            }
        };
        match answer {
            Answer::Done(_) => 1,
            Answer::Nak => 2,
            _ => 3,
        }
    }

    fn host_does(&mut self, what: u8, number: u8) {
        let lun = u16::from(number & 3);
        match what {
            0..=4 => self.save(),
            5 => {
                self.function.reset();
                self.configure();
            }
            6 if self.host.plug(Some(0), Some(lun), unit(&self.backend)).is_ok() => self.units.push(lun),
            7 if self.units.contains(&lun) => self.unplug(lun),
            8 => {
                let quiet = (0..1000).any(|_| {
                    self.work(1_000_000);
                    self.function.device().quiesce()
                });
                assert!(quiet, "a command is never answered");
            }
            _ => {}
        }
    }
}

/// A script.
pub fn run(bytes: &[u8]) -> u64 {
    let mut life = Life::new();
    let mut seen = Vec::new();
    for pair in bytes.chunks_exact(2).take(STEPS) {
        let answer = life.step(pair[0], pair[1]);
        // What was answered to what is news, how often is none.
        let now = (KINDS[usize::from(pair[0] >> 4)], answer);
        if !seen.contains(&now) {
            seen.push(now);
        }
    }
    life.save();
    seen.sort_unstable();
    outcome(seen, "")
}

/// Each command with its data and its end, and something in the middle.
pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    let clear = [0x00, 0, 0xd0, 22, 0xb0, 64, 0x00, 0x80, 0xd0, 22, 0xb0, 64];
    for command in 0..16 {
        for middle in [[0xf0, 0], [0xf5, 0], [0xf7, 0], [0x50, 0x08], [0x52, 9], [0xd0, 30], [0xf8, 0]] {
            let mut seed = clear.to_vec();
            seed.extend([command, 1, 0xd0, 20]);
            seed.extend(middle);
            seed.extend([0xd0, 22, 0xb0, 64, 0x7f, 1, 0x9f, 1, 0xf0, 0, 0x7f, 1, 0x9f, 1]);
            seed.extend(middle);
            seed.extend([0xd0, 22, 0xb0, 64, 0x01, 2, 0x03, 3, 0x05, 4, 0xd0, 22]);
            seed.extend([0xb0, 64, 0xb0, 64, 0x93, 0, 0x73, 0, 0xd0, 22, 0xb0, 64, 0xb0, 64]);
            seeds.push(seed);
        }
    }
    seeds
}
