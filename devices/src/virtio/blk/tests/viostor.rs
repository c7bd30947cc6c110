//! How viostor of virtio-win starts, and what Windows asks of it (facts of its public source): before it agrees on anything
//! it reads the disk's size and shape; it takes one queue, unless there is one for each processor, with a message for
//! each and one for changes, and has its requests in tables of descriptors. The serial number is asked for in a buffer of
//! twenty bytes, a flush is a head and a status, a trim the same with ranges between; all that it cannot carry out
//! itself it answers without the device. Without messages it takes the interrupt status for a request that is done if it
//! is 1, for another size of the disk if it is 3, and for somebody else's if it is anything else. When the computer wakes
//! up it resets the device, and does all of that again.

use super::super::super::driver::pci::MESSAGE;
use super::super::super::driver::windows;
use super::super::super::pci::spec::ISR;
use super::*;

const WANTED: u64 = ring::VERSION_1
    | ring::ANY_LAYOUT
    | ring::EVENT_IDX
    | ring::INDIRECT_DESC
    | feature::FLUSH
    | feature::RO
    | feature::SEG_MAX
    | feature::BLK_SIZE
    | feature::GEOMETRY
    | feature::MQ
    | feature::DISCARD
    | feature::WRITE_ZEROES;

/// What it reads of the configuration: sectors, segments of a request, cylinders, bytes of a sector.
fn shape(rig: &mut Rig) -> (u64, u64, u64, u64) {
    let at = |field: usize| MEMORY + DEVICE.offset + field as u64;
    let low = rig.mmio_read(at(config::CAPACITY), Size::B4);
    let sectors = low | rig.mmio_read(at(config::CAPACITY) + 4, Size::B4) << 32;
    let segments = rig.mmio_read(at(config::SEG_MAX), Size::B4);
    let cylinders = rig.mmio_read(at(config::GEOMETRY), Size::B2);
    (sectors, segments, cylinders, rig.mmio_read(at(config::BLK_SIZE), Size::B4))
}

/// A driver that is there.
struct Viostor {
    queue: DriverQueue,
    messages: bool,
}

impl Viostor {
    fn start(rig: &mut Rig, messages: bool) -> Viostor {
        windows::initialize(rig);
        assert_eq!(shape(rig), (SECTORS as u64, 254, 2, 512));
        let features = windows::agree(rig, WANTED);
        let needed = feature::FLUSH | feature::DISCARD | ring::INDIRECT_DESC | ring::VERSION_1;
        assert_eq!(features & needed, needed);
        assert_eq!(features & feature::RO, 0);
        let vector = messages.then_some(1);
        let queue = windows::find_queues(rig, features, &[(256, QUEUE, vector)]).remove(0);
        windows::ready(rig);
        queue.want_interrupts(true);
        Viostor { queue, messages }
    }

    /// Has a request done, in a table, and hears of it.
    fn run(&mut self, rig: &mut Rig, kind: u32, sector: u64, data: &[(u64, u32, bool)]) -> u8 {
        rig.poke(HEAD, &[&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat());
        rig.poke(STATUS, &[0xee]);
        let mut buffers = vec![Buffer { gpa: HEAD, len: 16, write: false }];
        buffers.extend(data.iter().map(|&(gpa, len, write)| Buffer { gpa, len, write }));
        buffers.push(Buffer { gpa: STATUS, len: 1, write: true });
        self.queue.want_interrupt_after(1);
        assert!(self.queue.offer(&buffers, true, sector));
        driver::notify(rig, 0);
        rig.advance(us(300));
        if self.messages {
            assert_eq!(rig.take_messages(), [(0xfee0_0000, MESSAGE + 1)]);
        } else {
            assert_eq!(rig.mmio_read(MEMORY + ISR.offset, Size::B1), 1);
            assert_eq!(rig.mmio_read(MEMORY + ISR.offset, Size::B1), 0, "nobody's");
        }
        assert_eq!(self.queue.used().map(|(id, _)| id), Some(sector));
        rig.peek(STATUS, 1)[0]
    }
}

/// What Windows does with a disk that it has found.
fn use_it(rig: &mut Rig, store: &MemoryStore, disk: &mut Viostor) {
    assert_eq!(disk.run(rig, kind::GET_ID, 0, &[(DATA, 20, true)]), status::OK);
    assert_eq!(rig.peek(DATA, 20), b"a serial number of 2");
    // The first sector, the last ones in two pieces, and some that are written.
    assert_eq!(disk.run(rig, kind::IN, 0, &[(DATA, 512, true)]), status::OK);
    assert_eq!(rig.peek(DATA, 512), [0; 512]);
    let pieces = [(DATA, 1024, true), (DATA + 0x1000, 512, true)];
    assert_eq!(disk.run(rig, kind::IN, SECTORS as u64 - 3, &pieces), status::OK);
    assert_eq!(rig.peek(DATA + 0x1000, 512), [SECTORS as u8 - 1; 512]);
    rig.poke(DATA, &[0x99; 1024]);
    assert_eq!(disk.run(rig, kind::OUT, 7, &[(DATA, 512, false), (DATA + 512, 512, false)]), status::OK);
    assert_eq!(disk.run(rig, kind::FLUSH, 0, &[]), status::OK);
    assert_eq!(store.contents()[7 * 512..9 * 512], [0x99; 1024]);
    // Two ranges are trimmed by one request, if the device takes two.
    let range =
        |sector: u64, sectors: u32| [&sector.to_le_bytes()[..], &sectors.to_le_bytes(), &[0; 4]].concat();
    rig.poke(DATA, &range(16, 8));
    assert_eq!(disk.run(rig, kind::DISCARD, 0, &[(DATA, 16, false)]), status::OK);
}

#[test]
fn a_disk_with_messages() {
    scenario(|rig| {
        let store = with_options(rig, options());
        driver::map(rig);
        driver::use_messages(rig, 2);
        for _ in 0..2 {
            let mut disk = Viostor::start(rig, true);
            use_it(rig, &store, &mut disk);
            windows::shut_down(rig, 1);
        }
    });
}

#[test]
fn a_disk_without() {
    scenario(|rig| {
        let store = with_options(rig, options());
        driver::map(rig);
        let mut disk = Viostor::start(rig, false);
        use_it(rig, &store, &mut disk);
        // Asleep, and awake.
        windows::shut_down(rig, 1);
        let mut disk = Viostor::start(rig, false);
        use_it(rig, &store, &mut disk);
    });
}
