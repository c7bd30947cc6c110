//! A PV disk's frontend and what lies in xenstore: rings, grants and nodes that say anything.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::xen::blkback::{
    Blkback, Channel, Config, GrantCopy, GrantError, GrantOps, Life, Local, Mapping, Store, StoreError,
};
use devices_core::Waker;
use devices_core::block::{
    BlockBackend, BlockInfo, BlockRequest, BlockStore, Completion, CompletionQueue, MemoryStore,
};
use vm_memory::{Bytes, MmapRegion, VolatileMemory, VolatileSlice};

use super::outcome;

const OURS: &str = "/b";
const THEIRS: &str = "/f";
const PAGE: usize = 4096;
/// Pages that the guest grants, and the reference of the first one.
const PAGES: usize = 64;
const FIRST: u32 = 8;
/// Steps of one input.
const STEPS: usize = 600;
/// Bytes of data that may be in flight: 16 MiB, and a request beyond.
const IN_FLIGHT: u64 = 17 << 20;
/// Pages that may be mapped: sixteen rings of sixteen, and grants that stand.
const MAPPED: usize = 16 * 16 + 1056;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The guest's memory.
#[derive(Clone)]
struct Guest {
    memory: Arc<MmapRegion>,
    mapped: Arc<AtomicUsize>,
    /// Xen refuses everything.
    refuses: Arc<AtomicBool>,
}

impl Guest {
    fn place(&self, reference: u32) -> Result<usize, GrantError> {
        let page = reference.checked_sub(FIRST).map(|page| page as usize).filter(|&page| page < PAGES);
        let page = page.filter(|_| !self.refuses.load(Ordering::Relaxed));
        page.map(|page| page * PAGE).ok_or_else(|| GrantError("bad grant".into()))
    }

    fn poke(&self, at: usize, bytes: &[u8]) {
        let at = at % (PAGES * PAGE);
        let len = bytes.len().min(PAGES * PAGE - at);
        let slice = self.memory.get_slice(at, len).expect("it lies in the memory");
        slice.copy_from(&bytes[..len]);
    }

    fn word(&self, at: usize) -> u32 {
        let slice = self.memory.as_volatile_slice();
        slice.load(at % (PAGES * PAGE) & !3, Ordering::Relaxed).unwrap_or(0)
    }
}

struct Mapped(Guest, usize, usize);

impl Mapping for Mapped {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.memory.get_slice(self.1, self.2).expect("it was there when it was mapped")
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        self.0.mapped.fetch_sub(self.2 / PAGE, Ordering::Relaxed);
    }
}

struct Bell;

impl Channel for Bell {
    fn notify(&self) {}
}

impl GrantOps for Guest {
    fn map(&self, references: &[u32], _writable: bool) -> Result<Box<dyn Mapping>, GrantError> {
        let places: Result<Vec<_>, _> = references.iter().map(|&reference| self.place(reference)).collect();
        let places = places?;
        let first = *places.first().ok_or_else(|| GrantError("nothing".into()))?;
        // This host's pages lie one after another as they are.
        if places.iter().enumerate().any(|(at, &place)| place != first + at * PAGE) {
            return Err(GrantError("scattered".into()));
        }
        self.mapped.fetch_add(places.len(), Ordering::Relaxed);
        Ok(Box::new(Mapped(self.clone(), first, places.len() * PAGE)))
    }

    fn copy(&self, copies: &mut [GrantCopy<'_>]) -> Result<(), GrantError> {
        assert!((1..=256).contains(&copies.len()), "{} copies at once", copies.len());
        for GrantCopy { local, reference, offset } in copies {
            let place = self.place(*reference)?;
            let page = self.memory.get_slice(place, PAGE).expect("a page of the guest's");
            match local {
                Local::Into(bytes) => page.read_slice(bytes, usize::from(*offset)),
                Local::From(bytes) => page.write_slice(bytes, usize::from(*offset)),
            }
            .expect("a copy stays in its page");
        }
        Ok(())
    }

    fn bind(&self, port: u32) -> Result<Box<dyn Channel>, GrantError> {
        match port {
            0 => Err(GrantError("no port".into())),
            _ => Ok(Box::new(Bell)),
        }
    }
}

/// Xenstore, which may refuse.
#[derive(Clone, Default)]
struct Nodes {
    nodes: Arc<Mutex<BTreeMap<String, String>>>,
    watches: Arc<Mutex<Vec<String>>>,
    refuses: Arc<AtomicBool>,
}

impl Nodes {
    fn set(&self, path: String, value: String) {
        lock(&self.nodes).insert(path, value);
    }
    fn remove(&self, path: &str) {
        let below = format!("{path}/");
        lock(&self.nodes).retain(|node, _| node != path && !node.starts_with(&below));
    }
    fn answers(&self) -> Result<(), StoreError> {
        match self.refuses.load(Ordering::Relaxed) {
            true => Err(StoreError("no".into())),
            false => Ok(()),
        }
    }
}

impl Store for Nodes {
    fn find(&self, path: &str) -> Result<Option<String>, StoreError> {
        self.answers()?;
        Ok(lock(&self.nodes).get(path).cloned())
    }
    fn write(&self, path: &str, value: &str) -> Result<(), StoreError> {
        self.answers()?;
        self.set(path.into(), value.into());
        Ok(())
    }
    fn watch(&self, path: &str) -> Result<(), StoreError> {
        self.answers()?;
        lock(&self.watches).push(path.into());
        Ok(())
    }
    fn unwatch(&self, path: &str) -> Result<(), StoreError> {
        lock(&self.watches).retain(|watched| watched != path);
        Ok(())
    }
}

/// A medium that works when it is told to.
struct Slow {
    store: MemoryStore,
    waiting: Mutex<VecDeque<BlockRequest>>,
    depth: AtomicUsize,
}

impl Slow {
    /// Does so many requests, the last first if `backwards`.
    fn run(&self, count: usize, backwards: bool) {
        for _ in 0..count {
            let next =
                if backwards { lock(&self.waiting).pop_back() } else { lock(&self.waiting).pop_front() };
            let Some(request) = next else { return };
            let BlockRequest { token, op, offset, mut payload, done } = request;
            let result = self.store.run(op, offset, &mut payload);
            done.deliver(Completion::new(token, payload, result));
        }
    }
}

impl BlockBackend for Slow {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let mut waiting = lock(&self.waiting);
        if waiting.len() >= self.depth.load(Ordering::Relaxed) {
            return Err(request);
        }
        waiting.push_back(request);
        Ok(())
    }
    fn idle(&self) -> bool {
        lock(&self.waiting).is_empty()
    }
}

/// Nodes of the frontend's that the back end reads.
const KEYS: [&str; 16] = [
    "state",
    "ring-ref",
    "event-channel",
    "protocol",
    "ring-page-order",
    "multi-queue-num-queues",
    "feature-persistent",
    "ring-ref0",
    "ring-ref1",
    "queue-0/ring-ref",
    "queue-0/event-channel",
    "queue-1/ring-ref",
    "queue-1/event-channel",
    "queue-0/ring-ref0",
    "queue-1/ring-ref0",
    "queue-0/ring-ref1",
];
const TEXTS: [&str; 12] = [
    "x86_64-abi",
    "x86_32-abi",
    "",
    " 4",
    "-1",
    "4294967295",
    "4294967296",
    "0x4",
    "\u{7f}",
    "8",
    "nine",
    "99999999999999999999999",
];

struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn next(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }
    fn number(&mut self, bytes: usize) -> u64 {
        (0..bytes).fold(0, |number, n| number | u64::from(self.next()) << (8 * n))
    }
    fn take(&mut self, len: usize) -> &[u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The disk and all around it.
struct Setup {
    guest: Guest,
    nodes: Nodes,
    medium: Arc<Slow>,
    disk: Blkback,
    /// Entries' bytes and where a request's number lies, by the word size that the frontend says it has.
    wide: bool,
    produced: u32,
}

impl Setup {
    fn new(kind: u8) -> Setup {
        let memory = Arc::new(MmapRegion::new(PAGES * PAGE).expect("the host has 256 KiB"));
        let guest = Guest { memory, mapped: Arc::default(), refuses: Arc::default() };
        let nodes = Nodes::default();
        for (path, value) in [("/b/state", "1"), ("/b/online", "1"), ("/f/state", "1")] {
            nodes.set(path.into(), value.into());
        }
        let store = MemoryStore::new(vec![0x5a; 128 << 10], kind & 8 != 0);
        let medium = Arc::new(Slow { store, waiting: Mutex::default(), depth: AtomicUsize::new(usize::MAX) });
        let config = Config {
            backend: OURS.into(),
            frontend: THEIRS.into(),
            domid: 8,
            device: 51712,
            cdrom: kind & 1 != 0,
            removable: kind & 1 != 0,
            read_only: kind & 2 != 0,
            discard: kind & 4 == 0,
            queues: 2 + u32::from(kind >> 4) % 3,
            persistent: kind & 0x80 == 0,
        };
        let open: Arc<dyn BlockBackend> = medium.clone();
        let done = CompletionQueue::new(Waker::default(), 0);
        let disk =
            Blkback::new(config, Box::new(open), done, Box::new(guest.clone()), Box::new(nodes.clone()));
        let disk = disk.expect("xenstore takes the first nodes");
        Setup { guest, nodes, medium, disk, wide: true, produced: 0 }
    }

    fn theirs(&self, key: &str, value: impl ToString) {
        self.nodes.set(format!("{THEIRS}/{key}"), value.to_string());
    }

    /// A frontend with one ring in the first page says that it is ready.
    fn connect(&mut self, wide: bool) -> Life {
        self.wide = wide;
        self.theirs("state", 6);
        self.disk.changed();
        self.medium.run(usize::MAX, false);
        self.disk.work();
        self.theirs("state", 1);
        self.disk.changed();
        self.guest.poke(0, &[0; 64]);
        self.produced = 0;
        self.theirs("protocol", if wide { "x86_64-abi" } else { "x86_32-abi" });
        self.theirs("ring-ref", FIRST);
        self.theirs("event-channel", 5);
        self.theirs("state", 3);
        self.disk.changed()
    }

    /// Puts a request into the ring of the first page: what it says comes from the input.
    fn put(&mut self, bytes: &mut Input<'_>) {
        let mut raw = vec![0; if self.wide { 112 } else { 108 }];
        let fields = if self.wide { 8 } else { 4 };
        (raw[0], raw[1]) = (bytes.next() % 8, bytes.next() % 16);
        raw[fields] = bytes.next();
        raw[fields + 8..fields + 10].copy_from_slice(&(bytes.number(2) as u16 % 300).to_le_bytes());
        let segments = fields + 16;
        for at in 0..usize::from(raw[1]).min(11) {
            let place = segments + 8 * at;
            let Some(segment) = raw.get_mut(place..place + 8) else { break };
            segment[..4].copy_from_slice(&(FIRST + u32::from(bytes.next()) % 70).to_le_bytes());
            let sectors = bytes.next();
            (segment[4], segment[5]) = (sectors & 15, sectors >> 4);
        }
        if raw[0] == 6 {
            // By pages of segments: the operation, how many, the grants.
            (raw[1], raw[2], raw[3]) = (raw[1] & 1, bytes.next(), bytes.next() & 1);
            for page in 0..4 {
                let place = segments + 4 + 4 * page;
                raw[place..place + 4].copy_from_slice(&(FIRST + u32::from(bytes.next()) % 70).to_le_bytes());
            }
        }
        let entries = (PAGE - 64) / raw.len();
        let size = 1 << entries.ilog2();
        self.guest.poke(64 + (self.produced % size) as usize * raw.len(), &raw);
        self.produced = self.produced.wrapping_add(1);
        self.guest.poke(0, &self.produced.to_le_bytes());
    }

    fn step(&mut self, bytes: &mut Input<'_>) -> Life {
        let what = bytes.next();
        let value = what >> 4;
        match what & 15 {
            0 => return self.connect(value & 1 == 0),
            1 => {
                let key = KEYS[usize::from(value)];
                match bytes.next() {
                    text @ 0xe0.. => self.theirs(key, TEXTS[usize::from(text) % TEXTS.len()]),
                    number => self.theirs(key, number),
                }
            }
            2 => self.theirs("state", value),
            3 if value < 8 => self.nodes.set(format!("{OURS}/state"), value.to_string()),
            3 => self.nodes.set(format!("{OURS}/online"), (value & 1).to_string()),
            4 | 5 => self.put(bytes),
            6 => {
                let len = usize::from(value) * 4 + 4;
                let at = bytes.number(3) as usize;
                let data = bytes.take(len).to_vec();
                self.guest.poke(at, &data);
            }
            7 => {
                // An index of the ring, near what it was or anything.
                let at = usize::from(value & 3) * 4;
                let by = bytes.next() as i8 as u32;
                let word =
                    if value & 8 == 0 { self.guest.word(at).wrapping_add(by) } else { by.rotate_right(8) };
                self.guest.poke(at, &word.to_le_bytes());
                if at == 0 {
                    self.produced = word;
                }
            }
            8 => self.medium.run(usize::from(value) + 1, false),
            9 => self.medium.run(usize::from(value) + 1, true),
            10 => self
                .medium
                .depth
                .store(if value == 15 { usize::MAX } else { value.into() }, Ordering::Relaxed),
            11 => {
                self.disk.pause(value & 1 != 0);
                self.medium.store.set_broken(value & 2 != 0);
            }
            12 => {
                self.guest.refuses.store(value & 1 != 0, Ordering::Relaxed);
                self.nodes.refuses.store(value & 2 != 0, Ordering::Relaxed);
            }
            13 if value == 0 => self.nodes.remove(OURS),
            13 if value == 1 => self.nodes.remove(THEIRS),
            13 => self.nodes.remove(&format!("{THEIRS}/{}", KEYS[usize::from(value)])),
            14 => drop(self.disk.resized()),
            _ => return self.disk.changed(),
        }
        self.disk.work()
    }
}

/// The first byte: what disk it is. Then steps: what the frontend, the toolstack, Xen and the medium do.
pub fn run(input: &[u8]) -> u64 {
    let mut bytes = Input(input);
    let mut setup = Setup::new(bytes.next());
    let mut states = 0u64;
    for _ in 0..STEPS {
        if bytes.0.is_empty() {
            break;
        }
        let life = setup.step(&mut bytes);
        let waiting: u64 = lock(&setup.medium.waiting).iter().map(|request| request.payload.len()).sum();
        assert!(waiting <= IN_FLIGHT, "{waiting} bytes in flight");
        assert!(setup.guest.mapped.load(Ordering::Relaxed) <= MAPPED, "pages beyond the bound are mapped");
        let ours =
            lock(&setup.nodes.nodes).get("/b/state").and_then(|state| state.parse().ok()).unwrap_or(0u8);
        states |= 1 << (ours & 7) | 1 << (8 + life as u64);
        if life == Life::Gone {
            break;
        }
    }
    let answered = setup.guest.word(8).min(40);
    let Setup { guest, nodes, medium, disk, .. } = setup;
    let mut node = devices_core::Node::default();
    disk.inspect(&mut node);
    drop(disk);
    // What is in flight may outlive the disk; nothing of the guest does.
    assert_eq!(guest.mapped.load(Ordering::Relaxed), 0, "pages stay mapped");
    assert!(lock(&nodes.watches).is_empty(), "watches stay");
    medium.run(usize::MAX, false);
    outcome((states, answered, node.children().count()), "")
}

pub fn seeds() -> Vec<Vec<u8>> {
    // A read, a write, a flush, a discard, and by pages of segments, each one sector of the guest's page 20.
    let requests: [&[u8]; 6] = [
        &[4, 0, 1, 1, 0, 0, 20, 0x30],
        &[4, 1, 2, 2, 1, 0, 21, 0x70, 22, 0x10],
        &[4, 3, 0, 3, 0, 0],
        &[4, 5, 1, 4, 8, 0, 0, 0],
        &[4, 6, 0, 5, 0, 0, 3, 0, 30, 31, 0, 0],
        &[4, 2, 0, 6, 0, 0],
    ];
    // Segments in page 30: one sector each of pages 8 to 10.
    let pages: Vec<u8> = std::iter::once(0x66)
        .chain([0, 0xe0, 1])
        .chain([8u8, 9, 10].iter().flat_map(|page| [*page, 0, 0, 0, 0, 0, 0, 0]))
        .collect();
    let mut seeds = Vec::new();
    for kind in [0, 0x81, 0x24, 0x4a] {
        for wide in [0, 0x10] {
            let mut seed = vec![kind, wide, 15];
            seed.extend(&pages);
            for request in requests {
                seed.extend(request);
                seed.extend([0x48, 0x27]);
            }
            // Closing, and another life.
            seed.extend([0x52, 15, 0x62, 15, 0x12, 15, wide, 0xf8, 15, 0x13, 3]);
            seeds.push(seed);
        }
    }
    // Two queues, a ring of several pages, and nonsense in the nodes.
    seeds.push(vec![0x10, 0x51, 2, 0x91, 8, 0xa1, 1, 0xb1, 9, 0xc1, 2, 0x32, 15, 15, 0x48]);
    seeds.push(vec![0, 0x41, 1, 0x71, 8, 0x81, 9, 0x21, 3, 0x32, 15, 15, 0x31, 0xe4, 0x12, 15, 0x32, 15]);
    // Removed by the toolstack while something is in flight.
    seeds.push([&[0, 0, 15][..], requests[0], &[0x83, 0x53, 15, 0x48, 15, 0x62, 15, 15]].concat());
    seeds
}
