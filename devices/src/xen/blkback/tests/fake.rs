//! A frontend, the Xen beneath it, and a medium that works when it is told to.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use devices_core::Waker;
use devices_core::block::{
    BlockBackend, BlockInfo, BlockRequest, BlockStore, Completion, CompletionQueue, MemoryStore,
};
use vm_memory::{Bytes, MmapRegion, VolatileMemory, VolatileSlice};

use super::super::spec::{Layout, PAGE, X86_64, ring};
use super::super::*;

pub const OURS: &str = "/local/domain/0/backend/qdisk/8/51712";
pub const THEIRS: &str = "/local/domain/8/device/vbd/51712";

/// Pages that a guest can grant.
pub const PAGES: usize = 4096;
/// The reference of the first one.
pub const FIRST: u32 = 8;

/// The guest's memory, and what Xen counts.
#[derive(Clone)]
pub struct Guest {
    pub memory: Arc<MmapRegion>,
    pub notified: Arc<AtomicUsize>,
    pub mapped: Arc<AtomicUsize>,
    pub copied: Arc<AtomicUsize>,
}

impl Guest {
    pub fn new() -> Guest {
        Guest {
            memory: Arc::new(MmapRegion::new(PAGES * PAGE).unwrap()),
            notified: Arc::default(),
            mapped: Arc::default(),
            copied: Arc::default(),
        }
    }

    /// Where a grant's page lies.
    fn place(reference: u32) -> Result<usize, GrantError> {
        let page = reference.checked_sub(FIRST).map(|page| page as usize).filter(|&page| page < PAGES);
        page.map(|page| page * PAGE).ok_or_else(|| GrantError("bad grant".to_owned()))
    }

    pub fn page(&self, reference: u32) -> VolatileSlice<'_> {
        self.memory.get_slice(Guest::place(reference).unwrap(), PAGE).unwrap()
    }

    pub fn fill(&self, reference: u32, byte: u8) {
        self.page(reference).write_slice(&[byte; PAGE], 0).unwrap();
    }

    pub fn bytes(&self, reference: u32, offset: usize, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.page(reference).read_slice(&mut bytes, offset).unwrap();
        bytes
    }
}

struct FakeMapping(Guest, usize, usize);

impl Mapping for FakeMapping {
    fn slice(&self) -> VolatileSlice<'_> {
        self.0.memory.get_slice(self.1, self.2).unwrap()
    }
}

impl Drop for FakeMapping {
    fn drop(&mut self) {
        self.0.mapped.fetch_sub(self.2 / PAGE, Ordering::SeqCst);
    }
}

struct Bell(Arc<AtomicUsize>);

impl Channel for Bell {
    fn notify(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl GrantOps for Guest {
    fn map(&self, references: &[u32], _writable: bool) -> Result<Box<dyn Mapping>, GrantError> {
        let places: Result<Vec<_>, _> = references.iter().map(|&reference| Guest::place(reference)).collect();
        let places = places?;
        let first = *places.first().ok_or_else(|| GrantError("nothing".to_owned()))?;
        // This host's pages lie one after another as they are.
        if places.iter().enumerate().any(|(at, &place)| place != first + at * PAGE) {
            return Err(GrantError("scattered".to_owned()));
        }
        self.mapped.fetch_add(places.len(), Ordering::SeqCst);
        Ok(Box::new(FakeMapping(self.clone(), first, places.len() * PAGE)))
    }

    fn copy(&self, copies: &mut [GrantCopy<'_>]) -> Result<(), GrantError> {
        assert!((1..=256).contains(&copies.len()));
        self.copied.fetch_add(copies.len(), Ordering::SeqCst);
        for GrantCopy { local, reference, offset } in copies {
            let offset = usize::from(*offset);
            let place = Guest::place(*reference)?;
            let page = self.memory.get_slice(place, PAGE).unwrap();
            match local {
                Local::Into(bytes) => page.read_slice(bytes, offset),
                Local::From(bytes) => page.write_slice(bytes, offset),
            }
            .expect("a copy stays in its page");
        }
        Ok(())
    }

    fn bind(&self, port: u32) -> Result<Box<dyn Channel>, GrantError> {
        if port == 0 {
            return Err(GrantError("no port".to_owned()));
        }
        Ok(Box::new(Bell(self.notified.clone())))
    }
}

/// Xenstore, with what the back end wrote, in order.
#[derive(Clone, Default)]
pub struct FakeStore {
    pub nodes: Arc<Mutex<BTreeMap<String, String>>>,
    pub written: Arc<Mutex<Vec<(String, String)>>>,
    pub watches: Arc<Mutex<Vec<String>>>,
}

impl FakeStore {
    /// Removes a node with all below it.
    pub fn remove(&self, path: &str) {
        let below = format!("{path}/");
        self.nodes.lock().unwrap().retain(|node, _| node != path && !node.starts_with(&below));
    }
    pub fn set(&self, path: String, value: impl ToString) {
        self.nodes.lock().unwrap().insert(path, value.to_string());
    }

    pub fn get(&self, path: &str) -> Option<String> {
        self.nodes.lock().unwrap().get(path).cloned()
    }
}

impl Store for FakeStore {
    fn find(&self, path: &str) -> Result<Option<String>, StoreError> {
        Ok(self.get(path))
    }
    fn write(&self, path: &str, value: &str) -> Result<(), StoreError> {
        self.written.lock().unwrap().push((path.to_owned(), value.to_owned()));
        self.set(path.to_owned(), value);
        Ok(())
    }
    fn watch(&self, path: &str) -> Result<(), StoreError> {
        self.watches.lock().unwrap().push(path.to_owned());
        Ok(())
    }
    fn unwatch(&self, path: &str) -> Result<(), StoreError> {
        self.watches.lock().unwrap().retain(|watched| watched != path);
        Ok(())
    }
}

/// A medium that works when it is told to.
pub struct Slow {
    pub store: MemoryStore,
    pub waiting: Mutex<VecDeque<BlockRequest>>,
    pub depth: AtomicUsize,
}

impl Slow {
    /// Does so many requests. How many there were.
    pub fn run(&self, count: usize) -> usize {
        for done in 0..count {
            let Some(request) = self.waiting.lock().unwrap().pop_front() else { return done };
            let BlockRequest { token, op, offset, mut payload, done } = request;
            let result = self.store.run(op, offset, &mut payload);
            done.deliver(Completion::new(token, payload, result));
        }
        count
    }
}

impl BlockBackend for Slow {
    fn info(&self) -> BlockInfo {
        self.store.info()
    }
    fn submit(&self, request: BlockRequest) -> Result<(), BlockRequest> {
        let mut waiting = self.waiting.lock().unwrap();
        if waiting.len() >= self.depth.load(Ordering::SeqCst) {
            return Err(request);
        }
        waiting.push_back(request);
        Ok(())
    }
    fn idle(&self) -> bool {
        self.waiting.lock().unwrap().is_empty()
    }
}

/// The medium as long as nobody else has it.
struct Drive {
    medium: Arc<Slow>,
    taken: Arc<AtomicBool>,
}

impl Medium for Drive {
    fn info(&self) -> BlockInfo {
        self.medium.info()
    }
    fn open(&self) -> Result<Arc<dyn BlockBackend>, MediumError> {
        match self.taken.load(Ordering::SeqCst) {
            true => Err(MediumError("somebody else has it".to_owned())),
            false => Ok(self.medium.clone()),
        }
    }
}

/// A ring as a frontend sees it.
pub struct Front {
    pub guest: Guest,
    pub layout: Layout,
    /// The grant of its first page.
    pub first: u32,
    pub size: u32,
    pub produced: u32,
    pub consumed: u32,
}

impl Front {
    fn ring(&self) -> VolatileSlice<'_> {
        let len = ring::ENTRIES + self.size as usize * self.layout.entry;
        self.guest.memory.get_slice((self.first - FIRST) as usize * PAGE, len).unwrap()
    }

    pub fn word(&self, at: usize) -> u32 {
        self.ring().load(at, Ordering::SeqCst).unwrap()
    }

    pub fn set_word(&self, at: usize, value: u32) {
        self.ring().store(value, at, Ordering::SeqCst).unwrap();
    }

    fn entry(&self, index: u32) -> usize {
        ring::ENTRIES + (index % self.size) as usize * self.layout.entry
    }

    /// Puts a request; the back end sees it at once.
    pub fn put(&mut self, raw: &[u8]) {
        self.ring().write_slice(&raw[..self.layout.entry], self.entry(self.produced)).unwrap();
        self.produced = self.produced.wrapping_add(1);
        self.set_word(ring::REQ_PROD, self.produced);
    }

    /// A request of that kind.
    pub fn raw(&self, op: u8, second: u8, id: u64, sector: u64) -> Vec<u8> {
        let mut raw = vec![0xee; 112];
        (raw[0], raw[1]) = (op, second);
        raw[self.layout.id..][..8].copy_from_slice(&id.to_le_bytes());
        raw[self.layout.sector..][..8].copy_from_slice(&sector.to_le_bytes());
        raw
    }

    /// A request with its segments: grant, first and last sector.
    pub fn transfer(&self, op: u8, id: u64, sector: u64, segments: &[(u32, u8, u8)]) -> Vec<u8> {
        let mut raw = self.raw(op, segments.len() as u8, id, sector);
        for (at, segment) in segments.iter().enumerate() {
            raw[self.layout.segments + at * 8..][..8].copy_from_slice(&segment_bytes(*segment));
        }
        raw
    }

    /// The responses that came: number, operation, status.
    pub fn responses(&mut self) -> Vec<(u64, u8, i16)> {
        let produced = self.word(ring::RSP_PROD);
        let mut all = Vec::new();
        while self.consumed != produced {
            let mut raw = vec![0; self.layout.response];
            self.ring().read_slice(&mut raw, self.entry(self.consumed)).unwrap();
            assert_eq!((raw[9], &raw[12..]), (0, &[0; 4][..raw.len() - 12]), "nothing of ours leaks");
            let id = u64::from_le_bytes(*raw.first_chunk().unwrap());
            all.push((id, raw[8], i16::from_le_bytes([raw[10], raw[11]])));
            self.consumed = self.consumed.wrapping_add(1);
        }
        self.set_word(ring::RSP_EVENT, self.consumed.wrapping_add(1));
        all
    }
}

pub fn segment_bytes((reference, first, last): (u32, u8, u8)) -> [u8; 8] {
    let [a, b, c, d] = reference.to_le_bytes();
    [a, b, c, d, first, last, 0xee, 0xee]
}

/// A back end and all around it.
pub struct Setup {
    pub guest: Guest,
    pub store: FakeStore,
    pub medium: Arc<Slow>,
    /// Somebody else has the medium.
    pub taken: Arc<AtomicBool>,
    pub disk: Blkback,
}

pub fn config() -> Config {
    Config {
        backend: OURS.to_owned(),
        frontend: THEIRS.to_owned(),
        domid: 8,
        device: 51712,
        cdrom: false,
        removable: false,
        read_only: false,
        discard: true,
        queues: 4,
        persistent: true,
    }
}

impl Setup {
    pub fn new(config: Config) -> Setup {
        Setup::with(config, Waker::default())
    }

    pub fn with(config: Config, waker: Waker) -> Setup {
        let guest = Guest::new();
        let store = FakeStore::default();
        // What libxl leaves.
        store.set(format!("{OURS}/state"), 1);
        store.set(format!("{OURS}/online"), 1);
        store.set(format!("{THEIRS}/state"), 1);
        let contents = (0..1 << 20).map(|at: u32| (at / 512) as u8).collect();
        let medium = Arc::new(Slow {
            store: MemoryStore::new(contents, false),
            waiting: Mutex::default(),
            depth: AtomicUsize::new(usize::MAX),
        });
        let done = CompletionQueue::new(waker, 0);
        let (host, nodes) = (Box::new(guest.clone()), Box::new(store.clone()));
        let taken = Arc::<AtomicBool>::default();
        let drive = Box::new(Drive { medium: medium.clone(), taken: taken.clone() });
        let disk = Blkback::new(config, drive, done, host, nodes).unwrap();
        Setup { guest, store, medium, taken, disk }
    }

    pub fn state(&self) -> String {
        self.store.get(&format!("{OURS}/state")).unwrap_or_default()
    }

    pub fn set_theirs(&self, key: &str, value: impl ToString) {
        self.store.set(format!("{THEIRS}/{key}"), value);
    }

    /// The frontend's state changes.
    pub fn front(&mut self, state: u32) -> Life {
        self.set_theirs("state", state);
        self.disk.changed()
    }

    /// A ring in the pages from `first` on.
    pub fn ring(&self, layout: Layout, first: u32, order: u32) -> Front {
        let entries = ((PAGE << order) - ring::ENTRIES) / layout.entry;
        let front = Front {
            guest: self.guest.clone(),
            layout,
            first,
            size: 1 << entries.ilog2(),
            produced: 0,
            consumed: 0,
        };
        self.guest.fill(first, 0);
        front.set_word(ring::REQ_EVENT, 1);
        front.set_word(ring::RSP_EVENT, 1);
        front
    }

    /// A frontend with one ring of one page, connected.
    pub fn connect(&mut self) -> Front {
        let front = self.ring(X86_64, FIRST, 0);
        self.set_theirs("ring-ref", FIRST);
        self.set_theirs("event-channel", 5);
        assert_eq!(self.front(3), Life::Busy);
        assert_eq!((self.state().as_str(), self.disk.work()), ("4", Life::Waits));
        front
    }

    /// Works until nothing is left to do.
    pub fn run(&mut self) {
        while self.disk.work() == Life::Busy || self.medium.run(usize::MAX) > 0 {}
    }
}
