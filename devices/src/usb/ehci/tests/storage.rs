//! A disk at high speed: commands by bulk queues, while the medium takes its time and the guest is saved.

use devices_core::block::MemoryStore;
use devices_core::rig::scenario;

use super::*;
use crate::storage::scsi::tests::{contents, disk_of, memory};
use crate::usb::storage::Storage;

const CBW: u64 = 0x4000;
const CSW: u64 = 0x4100;
const DATA: u64 = 0x2_0000;

struct Disk {
    ports: Ports,
    store: Arc<MemoryStore>,
}

impl Disk {
    /// A disk, configured, whose unit attention was told.
    fn new(rig: &mut Rig) -> Disk {
        let ports = attach(rig);
        let (store, backend) = memory(rig, contents(), false);
        ports.plug(1, Box::new(Storage::new(disk_of(backend), 512, "S1", ports.waker()))).unwrap();
        run(rig);
        configure(rig, 1, 3);
        let configuration = request(rig, 3, get(0x80, 6, 0x200, 255), &[]).unwrap();
        assert_eq!(configuration[22..24], [0, 2], "packets of 512 bytes");
        queue_head(rig, BULK_IN, BULK_OUT, (3, 1, 512), 0);
        queue_head(rig, BULK_OUT, HEAD, (3, 2, 512), 0);
        poke(rig, CONTROL, &[BULK_IN as u32 | QUEUE]);
        let disk = Disk { ports, store };
        assert_eq!(disk.command(rig, &[0; 6], 0, false), 1, "unit attention");
        assert_eq!(disk.command(rig, &[0; 6], 0, false), 0);
        disk
    }

    /// Puts a transfer of so many pages at most into a queue, and waits for it: its token.
    fn transfer(&self, rig: &mut Rig, queue: u64, pid: u32, at: u64, len: u32) -> u32 {
        let td = if queue == BULK_IN { TDS } else { TDS + 0x100 };
        let pages = (1..5).map(|page| (at as u32 & !0xfff) + page * 0x1000);
        let token = ACTIVE | pid | len << 16 | super::td::INTERRUPT;
        let words: Vec<u32> = [TERMINATE, TERMINATE, token, at as u32].into_iter().chain(pages).collect();
        poke(rig, td, &words);
        poke(rig, queue + 16, &[td as u32, TERMINATE, 0]);
        for _ in 0..200 {
            let token = word(rig, td + 8);
            if token & super::td::ACTIVE == 0 {
                write(rig, reg::USBSTS, 0x3f);
                return token;
            }
            rig.advance(ms(1));
        }
        panic!("the transfer never ends");
    }

    fn wrapper(rig: &Rig, cdb: &[u8], len: u32, inward: bool) {
        let mut cbw = [0x4342_5355, 7, len].map(u32::to_le_bytes).concat();
        cbw.extend([u8::from(inward) << 7, 0, cdb.len() as u8]);
        cbw.extend(cdb);
        cbw.resize(31, 0);
        rig.poke(CBW, &cbw);
    }

    /// A command with so much data at [`DATA`]; its status.
    fn command(&self, rig: &mut Rig, cdb: &[u8], len: u32, inward: bool) -> u8 {
        Disk::wrapper(rig, cdb, len, inward);
        assert_eq!(self.transfer(rig, BULK_OUT, OUT, CBW, 31) & 0x7fff_00ff, 0);
        for at in (0..len).step_by(20480) {
            let part = 20480.min(len - at);
            let (queue, pid) = if inward { (BULK_IN, IN) } else { (BULK_OUT, OUT) };
            assert_eq!(self.transfer(rig, queue, pid, DATA + u64::from(at), part) & 0x7fff_00ff, 0);
        }
        assert_eq!(self.transfer(rig, BULK_IN, IN, CSW, 13) & 0x7fff_00ff, 0);
        let csw = rig.peek(CSW, 13);
        assert_eq!(csw[..8], [0x5342_5355u32, 7].map(u32::to_le_bytes).concat());
        csw[12]
    }
}

#[test]
fn a_disk_is_read_and_written() {
    scenario(|rig| {
        let disk = Disk::new(rig);
        // 60 sectors: a transfer of five pages, and half of another.
        assert_eq!(disk.command(rig, &[0x28, 0, 0, 0, 0, 3, 0, 0, 60, 0], 60 * 512, true), 0);
        assert_eq!(rig.peek(DATA, 60 * 512), disk.store.contents()[3 * 512..63 * 512]);
        let noise: Vec<u8> = (0..40 * 512u32).map(|n| (n * 7 >> 3) as u8).collect();
        rig.poke(DATA, &noise);
        assert_eq!(disk.command(rig, &[0x2a, 0, 0, 0, 0, 5, 0, 0, 40, 0], 40 * 512, false), 0);
        assert_eq!(disk.store.contents()[5 * 512..45 * 512], noise);
        assert_eq!(disk.command(rig, &[0x28, 0, 0, 0, 2, 0, 0, 0, 1, 0], 512, true), 1, "beyond the end");
        // A buffer that does not begin at a page.
        Disk::wrapper(rig, &[0x28, 0, 0, 0, 0, 5, 0, 0, 40, 0], 40 * 512, true);
        disk.transfer(rig, BULK_OUT, OUT, CBW, 31);
        assert_eq!(disk.transfer(rig, BULK_IN, IN, DATA + 0x1234, 16384) & 0x7fff_00ff, 0);
        assert_eq!(rig.peek(DATA + 0x1234, 16384), noise[..16384]);
    });
}

#[test]
fn more_is_asked_for_than_there_is() {
    scenario(|rig| {
        let disk = Disk::new(rig);
        Disk::wrapper(rig, &[0x12, 0, 0, 0, 36, 0], 36, true);
        disk.transfer(rig, BULK_OUT, OUT, CBW, 31);
        let token = disk.transfer(rig, BULK_IN, IN, DATA, 1024);
        assert_eq!(token >> 16 & 0x7fff, 1024 - 36, "a short packet ends it");
        assert_eq!(disk.transfer(rig, BULK_IN, IN, CSW, 13) & 0x7fff_00ff, 0);
    });
}

#[test]
fn it_stalls_and_recovers() {
    scenario(|rig| {
        let disk = Disk::new(rig);
        let token = disk.transfer(rig, BULK_OUT, OUT, CBW, 30);
        assert_eq!(token & 0xff, td::HALTED);
        for setup in [
            Setup { kind: 0x21, request: 0xff, value: 0, index: 0, length: 0 },
            Setup { kind: 2, request: 1, value: 0, index: 0x81, length: 0 },
            Setup { kind: 2, request: 1, value: 0, index: 2, length: 0 },
        ] {
            assert_eq!(request(rig, 3, setup, &[]), Ok(vec![]));
        }
        assert_eq!(disk.command(rig, &[0; 6], 0, false), 0);
    });
}

#[test]
fn it_goes_in_the_middle_of_a_command() {
    scenario(|rig| {
        let disk = Disk::new(rig);
        Disk::wrapper(rig, &[0x28, 0, 0, 0, 0, 3, 0, 0, 8, 0], 4096, true);
        disk.transfer(rig, BULK_OUT, OUT, CBW, 31);
        let mut device = disk.ports.unplug(1).unwrap();
        let token = disk.transfer(rig, BULK_IN, IN, DATA, 4096);
        assert_eq!(token & 0xff, td::HALTED | td::TRANSACTION);
        device.reset();
        rig.advance(ms(50));
        device.woken();
        assert!(device.drained());
        assert_eq!(read(rig, portsc(1)) & 7, 2);
    });
}
