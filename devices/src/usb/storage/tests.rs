//! The device by its packets, with no controller: what Linux's usb-storage and Windows's usbstor send, the thirteen cases,
//! wrappers that are none, a reset in the middle. Every packet is also saved and loaded before.
//!
//! Linux: Get Max LUN, INQUIRY of 36 bytes, TEST UNIT READY (which fails once with a unit attention, then REQUEST SENSE),
//! READ CAPACITY, MODE SENSE of page 3f of 192 bytes, READ(10), WRITE(10). Windows: the same with INQUIRY of 36 and then
//! of pages 0 and 80, READ FORMAT CAPACITIES, MODE SENSE of 192 bytes, READ CAPACITY. Both: after a status that is none,
//! reset recovery (5.3.4): Bulk-Only Mass Storage Reset, and Clear Feature for both endpoints.

use std::sync::Arc;

use devices_core::block::MemoryStore;
use devices_core::rig::{Random, Rig, ms};

use super::*;
use crate::storage::scsi::tests::{contents, disk_of, memory};
use crate::usb::{Function, Pid};

struct Desk {
    rig: Rig,
    store: Arc<MemoryStore>,
    function: Function,
    restless: bool,
    backend: Arc<dyn devices_core::block::BlockBackend>,
}

fn device(rig: &Rig, backend: &Arc<dyn devices_core::block::BlockBackend>) -> Function {
    let storage = Storage::new(disk_of(backend.clone()), 512, "S1", rig.wiring().waker());
    Function::new(Box::new(storage), Speed::High)
}

impl Desk {
    fn new(restless: bool) -> Desk {
        let rig = Rig::new();
        let (store, backend) = memory(&rig, contents(), false);
        let function = device(&rig, &backend);
        let mut desk = Desk { rig, store, function, restless, backend };
        assert_eq!(desk.control([0, 9, 1, 0, 0, 0, 0, 0]), Some(vec![]));
        desk
    }

    /// A packet, with a save and a load before it.
    fn packet(&mut self, pid: Pid, endpoint: u8, data: &mut [u8]) -> Answer {
        if self.restless {
            let state = self.function.save().unwrap();
            self.function = device(&self.rig, &self.backend);
            self.function.load(state).unwrap();
        }
        self.function.packet(pid, endpoint, data, 0)
    }

    fn control(&mut self, setup: [u8; 8]) -> Option<Vec<u8>> {
        let mut bytes = setup;
        self.packet(Pid::Setup, 0, &mut bytes);
        if setup[0] & 0x80 == 0 {
            return (self.packet(Pid::In, 0, &mut []) == Answer::Done(0)).then(Vec::new);
        }
        let mut room = [0; 64];
        match self.packet(Pid::In, 0, &mut room) {
            Answer::Done(len) => Some(room[..len].to_vec()),
            _ => None,
        }
    }

    fn cbw(&mut self, len: u32, inward: bool, cdb: &[u8]) -> Answer {
        let mut cbw = [CBW_SIGNATURE, 0x1234_5678, len].map(u32::to_le_bytes).concat();
        cbw.extend([u8::from(inward) << 7, 0, cdb.len() as u8]);
        cbw.extend(cdb);
        cbw.resize(CBW_LEN, 0);
        self.packet(Pid::Out, spec::OUT, &mut cbw)
    }

    /// Takes a packet, when the medium is ready for it.
    fn take(&mut self, len: usize) -> Result<Vec<u8>, Answer> {
        let mut room = vec![0xee; len];
        for _ in 0..100 {
            match self.packet(Pid::In, spec::IN, &mut room) {
                Answer::Done(got) => return Ok(room[..got].to_vec()),
                Answer::Nak => {
                    self.rig.advance(ms(1));
                    self.function.device().woken();
                }
                answer => return Err(answer),
            }
        }
        panic!("the device never answers");
    }

    fn give(&mut self, data: &[u8]) -> Answer {
        self.packet(Pid::Out, spec::OUT, &mut data.to_vec())
    }

    /// Status and residue.
    fn csw(&mut self) -> (u8, u32) {
        let csw = self.take(CSW_LEN).unwrap();
        assert_eq!(csw.len(), CSW_LEN);
        assert_eq!(csw[..8], [CSW_SIGNATURE, 0x1234_5678].map(u32::to_le_bytes).concat());
        (csw[12], u32::from_le_bytes(csw[8..12].try_into().unwrap()))
    }

    fn ask(&mut self, len: u32, cdb: &[u8]) -> (Vec<u8>, (u8, u32)) {
        assert_eq!(self.cbw(len, true, cdb), Answer::Done(CBW_LEN));
        let mut data = Vec::new();
        while data.len() < len as usize {
            data.extend(self.take(512.min(len as usize - data.len())).unwrap());
        }
        let end = self.csw();
        (data, end)
    }

    fn tell(&mut self, data: &[u8], cdb: &[u8]) -> (u8, u32) {
        assert_eq!(self.cbw(data.len() as u32, false, cdb), Answer::Done(CBW_LEN));
        for packet in data.chunks(512) {
            assert_eq!(self.give(packet), Answer::Done(packet.len()));
        }
        self.csw()
    }

    /// Reset recovery.
    fn recover(&mut self) {
        for setup in [[0x21, 0xff, 0, 0, 0, 0, 0, 0], [2, 1, 0, 0, 0x81, 0, 0, 0], [2, 1, 0, 0, 2, 0, 0, 0]] {
            assert_eq!(self.control(setup), Some(vec![]));
        }
    }

    /// The unit attention of power-on has been told.
    fn ready(&mut self) {
        assert_eq!(self.cbw(0, false, &[0; 6]), Answer::Done(CBW_LEN));
        assert_eq!(self.csw(), (status::FAILED, 0));
        let (sense, end) = self.ask(18, &[3, 0, 0, 0, 18, 0]);
        assert_eq!((sense[2], sense[12], end), (6, 0x29, (0, 0)));
        assert_eq!(self.cbw(0, false, &[0; 6]), Answer::Done(CBW_LEN));
        assert_eq!(self.csw(), (status::PASSED, 0));
    }
}

/// A script twice, the second time saved and loaded before each packet.
fn both(script: impl Fn(&mut Desk)) {
    for restless in [false, true] {
        script(&mut Desk::new(restless));
    }
}

const fn read10(lba: u8, blocks: u16) -> [u8; 10] {
    let [high, low] = blocks.to_be_bytes();
    [0x28, 0, 0, 0, 0, lba, 0, high, low, 0]
}
const fn write10(lba: u8, blocks: u8) -> [u8; 10] {
    [0x2a, 0, 0, 0, 0, lba, 0, 0, blocks, 0]
}

#[test]
fn as_drivers_do() {
    both(|desk| {
        assert_eq!(desk.control([0xa1, 0xfe, 0, 0, 0, 0, 1, 0]), Some(vec![0]));
        let (inquiry, end) = desk.ask(36, &[0x12, 0, 0, 0, 36, 0]);
        assert_eq!((&inquiry[8..16], end), (&b"QEMU    "[..], (0, 0)));
        desk.ready();
        let (capacity, end) = desk.ask(8, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!((capacity, end), (vec![0, 0, 1, 0xff, 0, 0, 2, 0], (0, 0)));
        let (mode, (status, residue)) = desk.ask(192, &[0x1a, 0, 0x3f, 0, 192, 0]);
        let len = usize::from(mode[0]) + 1;
        assert_eq!((status, residue as usize), (0, 192 - len));
        assert!(mode[len..].iter().all(|byte| *byte == 0), "zeros behind it");
        let (formats, (status, _)) = desk.ask(252, &[0x23, 0, 0, 0, 0, 0, 0, 0, 252, 0]);
        assert_eq!((status, formats.len()), (status::FAILED, 252), "a disk has no such command");
        let (data, end) = desk.ask(8 * 512, &read10(5, 8));
        assert_eq!((data, end), (contents()[5 * 512..13 * 512].to_vec(), (0, 0)));
        let new: Vec<u8> = (0..4 * 512u32).map(|at| (at * 7) as u8).collect();
        assert_eq!(desk.tell(&new, &write10(20, 4)), (0, 0));
        assert_eq!(desk.store.contents()[20 * 512..24 * 512], new);
    });
}

/// Cases by their numbers (6.7); the three first have no data from the host's side.
#[test]
fn the_thirteen_cases() {
    both(|desk| {
        desk.ready();
        let no_data = |desk: &mut Desk, inward, cdb: &[u8]| {
            desk.cbw(0, inward, cdb);
            desk.csw()
        };
        assert_eq!(no_data(desk, false, &[0; 6]), (status::PASSED, 0), "1: Hn = Dn");
        assert_eq!(no_data(desk, true, &read10(0, 1)), (status::PHASE, 0), "2: Hn < Di");
        assert_eq!(no_data(desk, false, &write10(0, 1)), (status::PHASE, 0), "3: Hn < Do");
        let (data, end) = desk.ask(600, &[0; 6]);
        assert_eq!((data, end), (vec![0; 600], (status::PASSED, 600)), "4: Hi > Dn");
        let (data, end) = desk.ask(1024, &read10(3, 1));
        assert_eq!((&data[..512], end), (&[3; 512][..], (status::PASSED, 512)), "5: Hi > Di");
        let (data, end) = desk.ask(512, &read10(3, 1));
        assert_eq!((data, end), (vec![3; 512], (status::PASSED, 0)), "6: Hi = Di");
        assert_eq!(desk.ask(512, &read10(3, 2)).1.0, status::PHASE, "7: Hi < Di");
        assert_eq!(desk.ask(512, &write10(3, 1)).1, (status::PHASE, 512), "8: Hi <> Do");
        assert_eq!(desk.tell(&[9; 600], &[0; 6]), (status::PASSED, 600), "9: Ho > Dn");
        assert_eq!(desk.tell(&[9; 512], &read10(3, 1)), (status::PHASE, 512), "10: Ho <> Di");
        assert_eq!(desk.tell(&[9; 1024], &write10(3, 1)), (status::PASSED, 512), "11: Ho > Do");
        assert_eq!(desk.tell(&[8; 512], &write10(4, 1)), (status::PASSED, 0), "12: Ho = Do");
        assert_eq!(desk.tell(&[7; 512], &write10(4, 2)), (status::PHASE, 512), "13: Ho < Do");
        let bytes = desk.store.contents();
        assert_eq!((bytes[3 * 512], bytes[4 * 512], bytes[5 * 512]), (9, 8, 5));
    });
}

#[test]
fn wrappers_that_are_none_halt_the_device() {
    both(|desk| {
        desk.ready();
        let mut good = [CBW_SIGNATURE, 1, 0].map(u32::to_le_bytes).concat();
        good.extend([0, 0, 6]);
        good.resize(CBW_LEN, 0);
        let with = |at: usize, byte: u8| {
            let mut cbw = good.clone();
            cbw[at] = byte;
            cbw
        };
        let bad = [
            vec![],
            good[..30].to_vec(),
            [&good[..], &[0]].concat(),
            vec![0x55; 512],
            with(0, 0),
            with(13, 1),
            with(14, 0),
            with(14, 17),
        ];
        for cbw in bad {
            assert_eq!(desk.give(&cbw), Answer::Stall);
            // It stays so, whatever the host clears, until it is reset.
            assert_eq!(desk.control([2, 1, 0, 0, 2, 0, 0, 0]), Some(vec![]));
            assert_eq!(desk.give(&good), Answer::Stall);
            assert_eq!(desk.take(13), Err(Answer::Stall));
            assert_eq!(desk.control([0x82, 0, 0, 0, 0x81, 0, 2, 0]), Some(vec![1, 0]), "halted");
            desk.recover();
            assert_eq!(desk.cbw(0, false, &[0; 6]), Answer::Done(CBW_LEN));
            assert_eq!(desk.csw(), (status::PASSED, 0));
        }
        // More data than was announced; a command before the status is taken; too little room for the status.
        desk.cbw(512, false, &write10(0, 1));
        assert_eq!(desk.give(&[1; 513]), Answer::Stall);
        desk.recover();
        desk.cbw(0, false, &[0; 6]);
        assert_eq!(desk.cbw(0, false, &[0; 6]), Answer::Stall);
        desk.recover();
        desk.cbw(0, false, &[0; 6]);
        assert_eq!(desk.take(12), Err(Answer::Babble));
        desk.recover();
        // A command for more than the device has memory for.
        desk.cbw(0xffff_fe00, true, &read10(0, 0xffff));
        assert_eq!(desk.take(512).unwrap(), [0; 512]);
        desk.recover();
        assert_eq!(desk.ask(512, &read10(7, 1)), (vec![7; 512], (0, 0)));
    });
}

#[test]
fn a_reset_in_the_middle() {
    both(|desk| {
        desk.ready();
        // The medium works for it, data has been taken in part, data has been given in part.
        desk.cbw(4096, true, &read10(0, 8));
        desk.recover();
        desk.cbw(4096, true, &read10(0, 8));
        assert_eq!(desk.take(512).unwrap(), [0; 512]);
        desk.recover();
        desk.cbw(4096, false, &write10(100, 8));
        desk.give(&[0xaa; 512]);
        desk.recover();
        assert_eq!(desk.store.contents()[100 * 512], 100, "nothing was written");
        desk.cbw(512, false, &write10(100, 1));
        desk.give(&[0xaa; 512]);
        desk.function.reset();
        assert_eq!(desk.control([0, 9, 1, 0, 0, 0, 0, 0]), Some(vec![]));
        desk.rig.advance(ms(50));
        desk.function.device().woken();
        assert!(desk.function.drained());
        desk.ready();
        assert_eq!(desk.ask(512, &read10(7, 1)), (vec![7; 512], (0, 0)));
    });
}

#[test]
fn descriptors_tell_the_speed() {
    let mut rig = Rig::new();
    let (_, backend) = memory(&rig, contents(), false);
    for (speed, len, packet) in [(Speed::Full, 32, 64), (Speed::High, 32, 512), (Speed::Super, 44, 1024)] {
        let storage = Storage::new(disk_of(backend.clone()), 512, "S1", rig.wiring().waker());
        let function = Function::new(Box::new(storage), speed);
        assert_eq!(function.packet_len(0x81), packet);
        let configuration = Storage::description(&{
            let mut storage = Storage::new(disk_of(backend.clone()), 512, "S1", rig.wiring().waker());
            storage.attach(speed);
            storage
        })
        .configuration();
        assert_eq!(configuration.len(), len);
    }
    rig.advance(1);
}

#[test]
fn packets_of_noise() {
    let mut desk = Desk::new(false);
    let mut random = Random::new(11);
    for _ in 0..20_000 {
        match random.below(8) {
            0 => {
                let mut cdb = [0u8; 16];
                cdb.iter_mut().for_each(|byte| *byte = random.draw() as u8 & random.draw() as u8);
                cdb[0] = [0, 3, 0x12, 0x1a, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x41, 0x55, 0xa0]
                    [random.below(12) as usize];
                desk.cbw(random.below(3000) as u32, random.below(2) == 0, &cdb);
            }
            1 | 2 => {
                let data = vec![random.draw() as u8; random.below(600) as usize];
                desk.give(&data);
            }
            3..=5 => {
                let mut room = vec![0; random.below(600) as usize];
                desk.packet(Pid::In, spec::IN, &mut room);
            }
            6 => {
                desk.rig.advance(random.below(1_000_000));
                desk.function.device().woken();
            }
            _ if random.below(20) == 0 => desk.recover(),
            _ => {
                desk.restless = random.below(4) == 0;
            }
        }
    }
    desk.restless = false;
    desk.recover();
    let (data, (status, _)) = desk.ask(8, &[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(status == 1 || data[6] == 2);
}
