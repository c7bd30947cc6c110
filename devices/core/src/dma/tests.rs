//! A virtqueue, driven over a device's memory as it is, against guests that behave and guests that do not.

use std::io::{Read, Write};
use std::sync::Mutex;

use hypervisor::memory::{DirtyLog, DmaObserver, Foreign, PAGE, new_block, ram_of};
use virtio_queue::{Queue, QueueT, Reader, Writer};
use vm_memory::{Bytes, Le32};

use super::*;

const TABLE: u64 = 0x1000;
const AVAIL: u64 = 0x2000;
const USED: u64 = 0x3000;
const INDIRECT: u64 = 0x4010;
const HEADER: u64 = 0x8004;
const DATA: u64 = 0x9ff0;
/// A PC's memory ends here, and goes on at 1 MiB.
const HOLE: u64 = 0xa_0000;
const SIZE: u16 = 8;

const NEXT: u16 = 1;
const WRITE: u16 = 2;
const TABLE_ELSEWHERE: u16 = 4;

fn regions() -> Vec<Region> {
    let block = |start, len| Region::host(new_block(start, len).unwrap());
    vec![block(0, HOLE), block(1 << 20, 16 * PAGE), block((1 << 20) + 16 * PAGE, 16 * PAGE)]
}

/// The driver's side, which needs no leave.
struct Guest(GuestRam);

impl Guest {
    fn descriptor(&self, at: u64, (address, len, flags, next): (u64, u32, u16, u16)) {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&address.to_le_bytes());
        bytes[8..12].copy_from_slice(&len.to_le_bytes());
        bytes[12..14].copy_from_slice(&flags.to_le_bytes());
        bytes[14..].copy_from_slice(&next.to_le_bytes());
        self.0.write_slice(&bytes, GuestAddress(at)).unwrap();
    }

    /// Makes the chain from descriptor 0 on available.
    fn offer(&self) {
        let index: u16 = self.0.read_obj(GuestAddress(AVAIL + 2)).unwrap();
        let entry = AVAIL + 4 + u64::from(index % SIZE) * 2;
        self.0.write_obj(0u16, GuestAddress(entry)).unwrap();
        self.0.write_obj(index.wrapping_add(1), GuestAddress(AVAIL + 2)).unwrap();
    }

    /// Offers a request as virtio-blk's drivers make them: an indirect table of a header to read, data to write over
    /// the border of two pages, and a status.
    fn request(&self) {
        self.descriptor(TABLE, (INDIRECT, 48, TABLE_ELSEWHERE, 0));
        self.descriptor(INDIRECT, (HEADER, 8, NEXT, 1));
        self.descriptor(INDIRECT + 16, (DATA, 32, NEXT | WRITE, 2));
        self.descriptor(INDIRECT + 32, (DATA + 0x3000, 1, WRITE, 0));
        self.0.write_slice(b"question", GuestAddress(HEADER)).unwrap();
        self.offer();
    }

    /// Offers one buffer to be written.
    fn buffer(&self, at: u64, len: u32) {
        self.descriptor(TABLE, (at, len, WRITE, 0));
        self.offer();
    }

    fn used(&self) -> u16 {
        self.0.load(GuestAddress(USED + 2), Ordering::Acquire).unwrap()
    }

    fn bytes<const N: usize>(&self, at: u64) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.read_slice(&mut bytes, GuestAddress(at)).unwrap();
        bytes
    }

    /// The pages below the hole that were written since this was last asked.
    fn written(&self) -> Vec<usize> {
        let track = self.0.find_region(GuestAddress(0)).unwrap().track();
        track.fetch_dirty(DirtyLog::Migration)
    }
}

fn queue() -> Queue {
    let mut queue = Queue::new(SIZE).unwrap();
    queue.try_set_desc_table_address(GuestAddress(TABLE)).unwrap();
    queue.try_set_avail_ring_address(GuestAddress(AVAIL)).unwrap();
    queue.try_set_used_ring_address(GuestAddress(USED)).unwrap();
    queue.set_ready(true);
    queue
}

/// What a device does with a [request](Guest::request).
fn serve(queue: &mut Queue, dma: &Dma) {
    let chain = queue.pop_descriptor_chain(dma).unwrap();
    let head = chain.head_index();
    let mut question = [0; 8];
    Reader::new(dma, chain.clone()).unwrap().read_exact(&mut question).unwrap();
    assert_eq!(&question, b"question");
    let mut writer = Writer::new(dma, chain).unwrap();
    assert_eq!(writer.available_bytes(), 33);
    writer.write_all(&[0x5a; 32]).unwrap();
    writer.write_all(&[1]).unwrap();
    queue.add_used(dma, head, 33).unwrap();
}

fn gated(ram: &GuestRam, on: bool) -> (Dma, Arc<AtomicBool>) {
    let master = Arc::new(AtomicBool::new(on));
    (Dma::gated(ram.clone(), master.clone()), master)
}

#[test]
fn a_virtqueue_runs_on_it_and_its_writes_are_logged() {
    let guest = Guest(ram_of(regions()).unwrap());
    let (dma, _) = gated(&guest.0, true);
    let mut queue = queue();
    assert!(queue.is_valid(&dma));
    for turn in 1..=20 {
        guest.request();
        guest.written();
        serve(&mut queue, &dma);
        assert_eq!(guest.used(), turn);
        assert_eq!(guest.written(), [3, 9, 10, 12], "the used ring and what was written, and no more");
    }
    assert_eq!(guest.bytes(DATA), [0x5a; 32]);
    assert_eq!(guest.bytes(DATA + 0x3000), [1, 0]);
    assert!(queue.pop_descriptor_chain(&dma).is_none());
    // One that outlives the call.
    guest.request();
    let dma = Arc::new(dma);
    let chain = queue.pop_descriptor_chain(dma.clone()).unwrap();
    let lens: Vec<u32> = std::thread::spawn(move || chain.map(|one| one.len()).collect()).join().unwrap();
    assert_eq!(lens, [8, 32, 1]);
}

#[test]
fn all_is_refused_while_bus_mastering_is_off() {
    let guest = Guest(ram_of(regions()).unwrap());
    let (dma, master) = gated(&guest.0, true);
    let mut queue = queue();
    guest.request();
    let chain = queue.pop_descriptor_chain(&dma).unwrap();
    guest.request();
    guest.written();
    master.store(false, Ordering::Release);

    assert!(!queue.is_valid(&dma));
    assert!(queue.pop_descriptor_chain(&dma).is_none());
    assert!(queue.avail_idx(&dma, Ordering::Acquire).is_err());
    assert!(queue.add_used(&dma, 0, 0).is_err());
    assert!(queue.enable_notification(&dma).is_err());
    assert_eq!(chain.clone().count(), 0);
    let (at, access) = (GuestAddress(HEADER), Permissions::ReadWrite);
    assert!(dma.get_slices(at, 8, access).is_err() && !dma.check_range(at, 8, access));
    assert!(dma.read_obj::<Le32>(at).is_err() && dma.write_obj(1u8, at).is_err());
    assert!(dma.load::<u16>(at, Ordering::Acquire).is_err());
    assert!(dma.store(1u16, at, Ordering::Release).is_err());
    assert_eq!(dma.read(HEADER, &mut [0]), Err(DmaError::NotMaster));
    assert_eq!(dma.write(HEADER, &[0]), Err(DmaError::NotMaster));
    assert!(dma.physical_memory().is_none(), "no way around");
    assert!(guest.written().is_empty());

    master.store(true, Ordering::Release);
    assert_eq!(chain.count(), 3);
    serve(&mut queue, &dma);
    assert_eq!(guest.used(), 1);
}

#[test]
fn what_is_no_ram_is_an_error_wherever_it_begins_and_ends() {
    let guest = Guest(ram_of(regions()).unwrap());
    let dma = Dma::always(guest.0.clone());
    let end = (1 << 20) + 32 * PAGE;
    for (at, len) in
        [(HOLE, 1), (HOLE - 16, 32), (0xf_fff0, 32), (end - 1, 2), (1 << 40, 8), (u64::MAX - 4, 8)]
    {
        let mut queue = queue();
        guest.0.write_obj(0u32, GuestAddress(AVAIL)).unwrap();
        guest.buffer(at, len);
        let chain = queue.pop_descriptor_chain(&dma).unwrap();
        assert!(Writer::new(&dma, chain.clone()).is_err(), "{at:#x}");
        let address = GuestAddress(at);
        assert!(!dma.check_range(address, len as usize, Permissions::Write), "{at:#x}");
        assert!(dma.write_slice(&vec![1; len as usize], address).is_err(), "{at:#x}");
        assert!(dma.read_slice(&mut vec![1; len as usize], address).is_err(), "{at:#x}");
        assert!(dma.write(at, &vec![1; len as usize]).is_err(), "{at:#x}");
        let mut found = dma.get_slices(address, len as usize, Permissions::Read).unwrap();
        assert!(found.by_ref().any(|slice| slice.is_err()) && found.next().is_none(), "{at:#x}");
    }
    // Where one region follows another there is no hole.
    let border = (1 << 20) + 16 * PAGE - 16;
    let lens = dma.get_slices(GuestAddress(border), 32, Permissions::Read).unwrap();
    assert_eq!(lens.map(|slice| slice.unwrap().len()).collect::<Vec<_>>(), [16, 16]);
    // A ring that is no RAM, whose driver says that it is.
    let mut queue = queue();
    queue.try_set_used_ring_address(GuestAddress(HOLE - 8)).unwrap();
    assert!(!queue.is_valid(&dma));
    guest.request();
    assert!(queue.add_used(&dma, 1, 1).is_err());
}

/// What an observer has heard: an address, and what was there; writes of nothing ask whether there is RAM.
#[derive(Default)]
struct Heard {
    reads: Mutex<Vec<(u64, Vec<u8>)>>,
    writes: Mutex<Vec<(u64, Vec<u8>)>>,
    /// Reads are answered with these, the first first.
    answers: Mutex<std::collections::VecDeque<Vec<u8>>>,
}

impl DmaObserver for Heard {
    fn read(&self, gpa: u64, data: &mut [u8], done: bool) -> bool {
        if let Some(answer) = self.answers.lock().unwrap().pop_front() {
            data.copy_from_slice(&answer);
        }
        self.reads.lock().unwrap().push((gpa, data.to_vec()));
        done
    }
    fn write(&self, gpa: u64, data: &[u8], done: bool) -> bool {
        if !data.is_empty() {
            self.writes.lock().unwrap().push((gpa, data.to_vec()));
        }
        done
    }
}

fn observed_by(observer: &Arc<Heard>) -> GuestRam {
    ram_of(regions().into_iter().map(|region| region.observed_by(observer.clone())).collect()).unwrap()
}

#[test]
fn a_recorder_hears_of_all_that_a_queue_moves_and_a_replay_answers() {
    let observer = Arc::new(Heard::default());
    let guest = Guest(observed_by(&observer));
    let dma = Dma::always(guest.0.clone());
    guest.request();
    guest.written();
    serve(&mut queue(), &dma);
    assert_eq!(guest.used(), 1);
    assert_eq!(guest.bytes(DATA), [0x5a; 32]);
    assert_eq!(guest.written(), [3, 9, 10, 12]);
    let writes: Vec<u8> = [0u32.to_le_bytes(), 33u32.to_le_bytes()].concat();
    let all = [
        (DATA, vec![0x5a; 32]),
        (DATA + 0x3000, vec![1]),
        (USED + 4, writes),
        (USED + 2, 1u16.to_le_bytes().to_vec()),
    ];
    assert_eq!(*observer.writes.lock().unwrap(), all);
    let reads = std::mem::take(&mut *observer.reads.lock().unwrap());
    assert!(reads.contains(&(AVAIL + 2, vec![1, 0])) && reads.contains(&(HEADER, b"question".to_vec())));

    // The same again, in an empty machine, from what was heard.
    let player = Arc::new(Heard::default());
    player.answers.lock().unwrap().extend(reads.iter().map(|(_, data)| data.clone()));
    let empty = observed_by(&player);
    serve(&mut queue(), &Dma::always(empty));
    assert_eq!(*player.writes.lock().unwrap(), all);
    assert_eq!(*player.reads.lock().unwrap(), reads);
}

/// A guest that changes what a device has read already is not what a recording has.
#[test]
fn a_slice_that_is_heard_is_what_was_heard() {
    let observer = Arc::new(Heard::default());
    let guest = Guest(observed_by(&observer));
    let dma = Dma::always(guest.0.clone());
    guest.0.write_slice(b"first", GuestAddress(HEADER + 1)).unwrap();
    let slice =
        |access| dma.get_slices(GuestAddress(HEADER + 1), 5, access).unwrap().next().unwrap().unwrap();
    let taken = slice(Permissions::Read);
    guest.0.write_slice(b"later", GuestAddress(HEADER + 1)).unwrap();
    let mut bytes = [0; 5];
    taken.read_slice(&mut bytes, 0).unwrap();
    assert_eq!((&bytes, guest.bytes(HEADER + 1)), (b"first", *b"later"));
    // Parts of one, that outlive it.
    let taken = slice(Permissions::ReadWrite);
    let part = taken.offset(1).unwrap().subslice(1, 2).unwrap();
    drop(taken);
    part.write_slice(b"--", 0).unwrap();
    assert_eq!(guest.bytes(HEADER + 1), *b"la--r");
    assert_eq!(*observer.writes.lock().unwrap(), [(HEADER + 3, b"--".to_vec())]);
    // What a driver aligns can be stored at once.
    for at in [0, 2, 6] {
        dma.store(7u16, GuestAddress(HEADER + at), Ordering::Release).unwrap();
        assert_eq!(dma.load::<u16>(GuestAddress(HEADER + at), Ordering::Acquire).unwrap(), 7);
    }
}

#[test]
fn a_guest_does_not_choose_how_much_is_copied() {
    let observer: Arc<Heard> = Arc::default();
    let large = Region::host(new_block(0, 32 << 20).unwrap());
    let guest = ram_of(vec![large.observed_by(observer)]).unwrap();
    let dma = Dma::always(guest);
    let first = |len| dma.get_slices(GuestAddress(0), len, Permissions::Write).unwrap().next().unwrap();
    assert!(first(16 << 20).is_ok());
    assert!(first((16 << 20) + 1).is_err());
}

/// Another domain's memory, whose second page is ballooned out.
#[derive(Default)]
struct Ballooned(Mutex<usize>);

impl Foreign for Ballooned {
    fn pin(&self, offset: u64, len: u64, _patient: bool) -> bool {
        let there = offset >= 2 * PAGE || offset + len <= PAGE;
        *self.0.lock().unwrap() += usize::from(there);
        there
    }
    fn pin_again(&self, _offset: u64, _len: u64) {
        *self.0.lock().unwrap() += 1;
    }
    fn unpin(&self, _offset: u64, _len: u64) {
        *self.0.lock().unwrap() -= 1;
    }
}

#[test]
fn another_domains_pages_stay_while_a_slice_lives() {
    for observer in [None, Some(Arc::new(Heard::default()))] {
        let domain = Arc::new(Ballooned::default());
        let region = Region::foreign(new_block(0, 16 * PAGE).unwrap(), domain.clone());
        let region = if let Some(observer) = observer { region.observed_by(observer) } else { region };
        let dma = Dma::always(ram_of(vec![region]).unwrap());
        let pins = || *domain.0.lock().unwrap();
        let slice =
            |at, len| dma.get_slices(GuestAddress(at), len, Permissions::ReadWrite).unwrap().next().unwrap();
        let taken = slice(2 * PAGE, 64).unwrap();
        assert!(pins() > 0);
        let (head, tail) = taken.split_at(8).unwrap();
        drop(taken);
        drop(head);
        assert!(pins() > 0);
        tail.write_slice(b"late", 8).unwrap();
        drop(tail);
        assert_eq!(pins(), 0);
        assert_eq!(dma.read_obj::<u32>(GuestAddress(2 * PAGE + 16)).unwrap(), u32::from_le_bytes(*b"late"));
        assert!(slice(PAGE - 4, 8).is_err(), "a page that the guest has given away");
        assert!(dma.check_range(GuestAddress(PAGE), 8, Permissions::Read), "is found out when it is used");
        assert_eq!(pins(), 0);
    }
}
