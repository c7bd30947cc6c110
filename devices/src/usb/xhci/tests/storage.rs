//! A disk on the controller: commands by bulk endpoints, while the medium takes its time and the guest is saved.

use devices_core::rig::{ms, scenario};

use super::*;
use crate::storage::scsi::tests::{contents, disk_of, memory};
use crate::usb::storage::Storage;

/// Ring of the endpoint to the device (DCI 4); that from it has the interrupt endpoint's.
const BULK_OUT: u64 = 0xa000;

struct Disk {
    driver: Driver,
    out: Fill,
    slot: u8,
    store: Arc<devices_core::block::MemoryStore>,
}

impl Disk {
    /// A disk at SuperSpeed, configured, whose unit attention was told.
    fn new(rig: &mut Rig) -> Disk {
        let ports = attach(rig);
        let (store, backend) = memory(rig, contents(), false);
        let storage = Storage::new(disk_of(backend), 512, "S1", ports.waker());
        ports.plug(1, Box::new(storage)).unwrap();
        let driver = run(rig, ports);
        rig.poke(BULK_OUT, &[0; 0x1000]);
        let slot = driver.address(rig, 1, 4, 512);
        assert_eq!(driver.request(rig, slot, get(0x80, 6, 0xf00, 22), &[]).unwrap().len(), 22);
        poke(rig, INPUT, &[0, 1 | 3 << 3, 0, 0, 0, 0, 0, 0]);
        poke(rig, INPUT + CONTEXT, &[4 << 27 | 4 << 20, 1 << 16, 0, 0]);
        poke(rig, INPUT + 4 * CONTEXT, &[0, 3 << 1 | 6 << 3 | 1024 << 16, INTERRUPT as u32 | 1, 0, 0]);
        poke(rig, INPUT + 5 * CONTEXT, &[0, 3 << 1 | 2 << 3 | 1024 << 16, BULK_OUT as u32 | 1, 0, 0]);
        assert_eq!(driver.slot_command(rig, trb::CONFIGURE_ENDPOINT, slot, INPUT), code::SUCCESS);
        assert_eq!(driver.request(rig, slot, get(0, 9, 1, 0), &[]), Ok(vec![]));
        let disk = Disk { driver, out: Fill::new(BULK_OUT), slot, store };
        assert_eq!(disk.command(rig, &[0; 6], 0, false), 1, "unit attention");
        assert_eq!(disk.command(rig, &[0; 6], 0, false), 0);
        disk
    }

    fn ring(&self, rig: &mut Rig, endpoint: u32) {
        put(rig, DOORBELLS + 4 * u64::from(self.slot), endpoint);
    }

    /// Waits for a TRB's event.
    fn wait(&self, rig: &mut Rig, at: u64) -> Seen {
        for _ in 0..100 {
            if let Some(seen) = self.driver.of(rig, at) {
                return seen;
            }
            rig.advance(ms(1));
        }
        panic!("the transfer never ends");
    }

    /// A command with so much data at [`DATA`], in pages that lie apart; its status.
    fn command(&self, rig: &mut Rig, cdb: &[u8], len: u32, inward: bool) -> u8 {
        let mut cbw = [0x4342_5355, 7, len].map(u32::to_le_bytes).concat();
        cbw.extend([u8::from(inward) << 7, 0, cdb.len() as u8]);
        cbw.extend(cdb);
        cbw.resize(31, 0);
        rig.poke(DATA - 0x100, &cbw);
        let normal = u32::from(trb::NORMAL) << 10;
        let last = normal | control::INTERRUPT | control::SHORT;
        let at = self.out.put(rig, DATA - 0x100, 31, last);
        self.ring(rig, 4);
        assert_eq!(self.wait(rig, at).code, code::SUCCESS);
        if len > 0 {
            let (fill, endpoint) = if inward { (&self.driver.interrupt, 3) } else { (&self.out, 4) };
            let parts = len.div_ceil(4096);
            let mut at = 0;
            for part in 0..parts {
                let bytes = 4096.min(len - part * 4096);
                let chain = if part + 1 < parts { control::CHAIN } else { control::INTERRUPT };
                at = fill.put(rig, DATA + 0x2000 * u64::from(part), bytes, normal | chain | control::SHORT);
            }
            self.ring(rig, endpoint);
            assert_eq!(self.wait(rig, at).code, code::SUCCESS);
        }
        let at = self.driver.interrupt.put(rig, DATA - 0x80, 13, last);
        self.ring(rig, 3);
        assert_eq!(self.wait(rig, at).code, code::SUCCESS);
        let csw = rig.peek(DATA - 0x80, 13);
        assert_eq!(csw[..8], [0x5342_5355u32, 7].map(u32::to_le_bytes).concat());
        csw[12]
    }
}

#[test]
fn a_disk_is_read_and_written() {
    scenario(|rig| {
        let disk = Disk::new(rig);
        assert_eq!(disk.command(rig, &[0x28, 0, 0, 0, 0, 3, 0, 0, 40, 0], 40 * 512, true), 0);
        let read: Vec<u8> = (0..5).flat_map(|part| rig.peek(DATA + 0x2000 * part, 4096)).collect();
        assert_eq!(read, contents()[3 * 512..43 * 512]);
        for part in 0..5u64 {
            rig.poke(DATA + 0x2000 * part, &[part as u8 + 1; 4096]);
        }
        assert_eq!(disk.command(rig, &[0x2a, 0, 0, 0, 0, 3, 0, 0, 40, 0], 40 * 512, false), 0);
        let written = disk.store.contents();
        assert!((0..5).all(|part| written[3 * 512 + part * 4096] == part as u8 + 1));
        assert_eq!(disk.command(rig, &[0x28, 0, 0, 0, 2, 0, 0, 0, 1, 0], 512, true), 1, "beyond the end");
    });
}

#[test]
fn it_stalls_and_recovers() {
    scenario(|rig| {
        let disk = Disk::new(rig);
        let normal = u32::from(trb::NORMAL) << 10 | control::INTERRUPT;
        let at = disk.out.put(rig, DATA, 30, normal);
        disk.ring(rig, 4);
        assert_eq!(disk.wait(rig, at).code, code::STALL);
        let place = (disk.slot, 4);
        assert_eq!(disk.driver.endpoint_command(rig, trb::RESET_ENDPOINT, place, 0), code::SUCCESS);
        let to = BULK_OUT + disk.out.at.get() * 16 | u64::from(disk.out.cycle.get());
        assert_eq!(disk.driver.endpoint_command(rig, trb::SET_DEQUEUE, place, to), code::SUCCESS);
        for setup in [
            Setup { kind: 0x21, request: 0xff, value: 0, index: 0, length: 0 },
            Setup { kind: 2, request: 1, value: 0, index: 0x81, length: 0 },
            Setup { kind: 2, request: 1, value: 0, index: 2, length: 0 },
        ] {
            assert_eq!(disk.driver.request(rig, disk.slot, setup, &[]), Ok(vec![]));
        }
        assert_eq!(disk.command(rig, &[0; 6], 0, false), 0);
    });
}

#[test]
fn it_goes_in_the_middle_of_a_command() {
    scenario(|rig| {
        let disk = Disk::new(rig);
        let mut cbw = [0x4342_5355, 7, 4096].map(u32::to_le_bytes).concat();
        cbw.extend([0x80, 0, 10, 0x28, 0, 0, 0, 0, 3, 0, 0, 8, 0]);
        cbw.resize(31, 0);
        rig.poke(DATA - 0x100, &cbw);
        let normal = u32::from(trb::NORMAL) << 10 | control::INTERRUPT;
        let at = disk.out.put(rig, DATA - 0x100, 31, normal);
        disk.ring(rig, 4);
        assert_eq!(disk.wait(rig, at).code, code::SUCCESS);
        let at = disk.driver.interrupt.put(rig, DATA, 4096, normal);
        disk.ring(rig, 3);
        let mut device = disk.driver.ports.unplug(1).unwrap();
        assert_eq!(disk.driver.of(rig, at).unwrap().code, code::TRANSACTION);
        rig.advance(ms(50));
        device.woken();
        device.reset();
        device.woken();
        assert!(device.drained());
    });
}
