//! A hypervisor for tests: one domain in a memory file, with Xen's answers to what we ask.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fs::File;
use std::io;
use std::ops::RangeInclusive;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Weak};
use std::time::Duration;

use zerocopy::{FromBytes, IntoBytes};

use crate::abi::dm::*;
use crate::abi::{PAGE, Param};
use crate::kernel::{Events, Kernel};
use crate::pages::Pages;

/// The domain's number.
pub const DOMID: u16 = 5;
/// The ioreq server's number.
pub const SERVER: u16 = 3;
/// Xen's end of the ring's channel.
pub const RING_PORT: u32 = 100;
/// Xen's end of vCPU 0's channel; the others follow.
pub const VCPU_PORT: u32 = 200;

/// What a synchronous request of the guest looks like in its slot.
#[derive(Clone, Copy, Debug)]
pub struct Ioreq {
    pub addr: u64,
    pub data: u64,
    pub count: u32,
    pub size: u32,
    /// Direction (0x20 reads), pointer (0x10), descending (0x40).
    pub flags: u8,
    pub kind: u8,
}

/// State that tests look at and set.
#[derive(Default)]
pub struct State {
    /// Which page of the memory file is at which frame.
    pub p2m: BTreeMap<u64, u64>,
    next: u64,
    /// Every operation, with its second buffer.
    pub ops: Vec<(DmOp, Vec<u8>)>,
    /// Operations that fail, with which error.
    pub fail: HashMap<u32, i32>,
    /// What the server claims.
    pub ranges: Vec<(u32, RangeInclusive<u64>)>,
    pub enabled: bool,
    /// Pages of the tracked range that the guest wrote to, from its first on; None: no log yet.
    pub vram_dirty: Option<Vec<usize>>,
    pub params: HashMap<u32, u64>,
    pub restricted: Option<u16>,
    /// Calls of map_foreign and fill_foreign.
    pub mapped: usize,
    pub filled: usize,
    bound: HashMap<u32, (Arc<Channels>, u32)>,
    /// Notifications at Xen's end, by port.
    pub notified: HashMap<u32, u64>,
}

pub struct FakeXen {
    memory: File,
    shared: File,
    view: Pages,
    state: Mutex<State>,
    changed: Condvar,
    me: Weak<FakeXen>,
}

fn memory_file(len: u64) -> File {
    // SAFETY: a new file with a constant name.
    let fd = unsafe { libc::memfd_create(c"fake".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: the descriptor is new and nobody else's.
    let file = unsafe { File::from_raw_fd(fd) };
    file.set_len(len).unwrap();
    file
}

fn errno(number: i32) -> io::Error {
    io::Error::from_raw_os_error(number)
}

impl FakeXen {
    /// A domain with pages at frames 0 to `pages`.
    pub fn new(pages: u64) -> Arc<FakeXen> {
        let shared = memory_file(2 * PAGE as u64);
        let view = Pages::of_file(shared.as_raw_fd(), 2 * PAGE, 0, true).unwrap();
        let fake = Arc::new_cyclic(|me| FakeXen {
            memory: memory_file(1 << 32),
            shared,
            view,
            state: Mutex::default(),
            changed: Condvar::new(),
            me: me.clone(),
        });
        fake.give(0..pages);
        fake
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Gives the domain fresh pages.
    pub fn give(&self, gfns: std::ops::Range<u64>) {
        let mut state = self.state();
        for gfn in gfns {
            let mfn = state.next;
            state.next += 1;
            state.p2m.insert(gfn, mfn);
        }
    }

    /// Takes pages from the domain.
    pub fn take(&self, gfns: std::ops::Range<u64>) {
        let mut state = self.state();
        state.p2m.retain(|gfn, _| !gfns.contains(gfn));
    }

    fn place(&self, gpa: u64) -> u64 {
        self.state().p2m[&(gpa / PAGE as u64)] * PAGE as u64 + gpa % PAGE as u64
    }

    /// The guest writes to its memory, within a page.
    pub fn poke(&self, gpa: u64, bytes: &[u8]) {
        self.memory.write_all_at(bytes, self.place(gpa)).unwrap();
    }

    /// What the guest sees at an address.
    pub fn peek(&self, gpa: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.memory.read_exact_at(&mut bytes, self.place(gpa)).unwrap();
        bytes
    }

    /// Operations of one kind so far.
    pub fn ops<P: Payload>(&self) -> Vec<P> {
        self.state().ops.iter().filter_map(|(op, _)| op.payload()).collect()
    }

    /// Calls of map_foreign and of fill_foreign.
    pub fn calls(&self) -> (usize, usize) {
        let state = self.state();
        (state.mapped, state.filled)
    }

    /// Forgets the operations so far.
    pub fn forget(&self) {
        self.state().ops.clear();
    }

    /// Whether an access of the guest would reach us.
    pub fn claims(&self, kind: u32, range: RangeInclusive<u64>) -> bool {
        let state = self.state();
        range.clone().all(|at| state.ranges.iter().any(|(k, r)| *k == kind && r.contains(&at)))
    }

    /// One word of the pages that we share, as Xen or a hostile guest reaches it: 0 to 511 is the ring.
    pub fn word(&self, index: usize) -> &AtomicU64 {
        assert!(index < 1024);
        // SAFETY: the word lies in the two pages, which live as long as the borrow and are only atomics.
        unsafe { self.view.addr().cast::<AtomicU64>().add(index).as_ref() }
    }

    fn slot<T>(&self, vcpu: usize, offset: usize) -> &T {
        assert!(vcpu < 128 && offset + size_of::<T>() <= 32);
        // SAFETY: as above; `T` is an atomic at its own alignment.
        unsafe { self.view.addr().add(PAGE + 32 * vcpu + offset).cast::<T>().as_ref() }
    }

    /// Xen sends a request of a vCPU and raises its event.
    pub fn send(&self, vcpu: usize, request: Ioreq) {
        self.put(vcpu, request);
        self.raise(VCPU_PORT + vcpu as u32);
    }

    /// Puts a request of a vCPU into its slot.
    pub fn put(&self, vcpu: usize, request: Ioreq) {
        self.slot::<AtomicU64>(vcpu, 0).store(request.addr, Ordering::Relaxed);
        self.slot::<AtomicU64>(vcpu, 8).store(request.data, Ordering::Relaxed);
        self.slot::<AtomicU32>(vcpu, 16).store(request.count, Ordering::Relaxed);
        self.slot::<AtomicU32>(vcpu, 20).store(request.size, Ordering::Relaxed);
        self.slot::<AtomicU8>(vcpu, 31).store(request.kind, Ordering::Relaxed);
        self.slot::<AtomicU8>(vcpu, 30).store(request.flags & 0x70 | 1, Ordering::Release);
    }

    /// The answer, if it is there; the slot is free again then.
    pub fn answer(&self, vcpu: usize) -> Option<u64> {
        let control = self.slot::<AtomicU8>(vcpu, 30);
        (control.load(Ordering::Acquire) & 15 == 3).then(|| {
            control.store(0, Ordering::Release);
            self.slot::<AtomicU64>(vcpu, 8).load(Ordering::Relaxed)
        })
    }

    /// Waits a little until a vCPU's slot holds nothing that we would have to look at.
    pub fn settle(&self, vcpu: usize) {
        let control = self.slot::<AtomicU8>(vcpu, 30);
        for _ in 0..1000 {
            if !matches!(control.load(Ordering::Acquire) & 15, 1 | 2) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&self, vcpu: usize, request: Ioreq) -> u64 {
        self.send(vcpu, request);
        self.wait_answer(vcpu)
    }

    /// Waits for the answer to what was sent.
    pub fn wait_answer(&self, vcpu: usize) -> u64 {
        let mut state = self.state();
        for _ in 0..1000 {
            if let Some(answer) = self.answer(vcpu) {
                return answer;
            }
            let waited = self.changed.wait_timeout(state, Duration::from_millis(10));
            state = waited.unwrap().0;
        }
        panic!("vCPU {vcpu} got no answer");
    }

    /// Xen puts a buffered write of at most four bytes into the ring. False if it is full.
    pub fn buffer(&self, addr: u64, log2: u64, value: u32) -> bool {
        let pointers = self.word(0).load(Ordering::Acquire);
        let (read, write) = (pointers as u32, (pointers >> 32) as u32);
        if write.wrapping_sub(read) >= 511 {
            return false;
        }
        let slot = 1 | log2 << 10 | addr << 12 | u64::from(value) << 32;
        self.word(1 + (write % 511) as usize).store(slot, Ordering::Release);
        self.word(0).fetch_add(1 << 32, Ordering::AcqRel);
        self.raise(RING_PORT);
        true
    }

    /// Xen raises an event of ours.
    pub fn raise(&self, port: u32) {
        let bound = self.state().bound.get(&port).cloned();
        if let Some((channels, local)) = bound {
            channels.raise(local);
        }
    }

    /// How often Xen's end of a channel was notified.
    pub fn notified(&self, port: u32) -> u64 {
        self.state().notified.get(&port).copied().unwrap_or(0)
    }

    fn place_foreign(&self, addr: NonNull<u8>, gfns: &[u64], errors: &mut [i32]) {
        for (n, (gfn, error)) in gfns.iter().zip(errors).enumerate() {
            let mfn = self.state().p2m.get(gfn).copied();
            *error = if mfn.is_some() { 0 } else { -libc::EINVAL };
            let prot = if mfn.is_some() { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_NONE };
            let offset = (mfn.unwrap_or(0) * PAGE as u64) as libc::off_t;
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            let fd = self.memory.as_raw_fd();
            // SAFETY: the trait's callers own the pages. A hole is mapped without access, so that touching it
            // ends the test.
            let done =
                unsafe { libc::mmap(addr.add(n * PAGE).as_ptr().cast(), PAGE, prot, flags, fd, offset) };
            assert_ne!(done, libc::MAP_FAILED);
        }
    }
}

impl State {
    fn claim(&mut self, kind: u32, range: RangeInclusive<u64>) -> io::Result<()> {
        let overlaps = |r: &RangeInclusive<u64>| r.start() <= range.end() && range.start() <= r.end();
        if range.start() > range.end() {
            return Err(errno(libc::EINVAL));
        }
        if self.ranges.iter().any(|(k, r)| *k == kind && overlaps(r)) {
            return Err(errno(libc::EEXIST));
        }
        if self.ranges.iter().filter(|(k, _)| *k == kind).count() >= 256 {
            return Err(errno(libc::ENOSPC));
        }
        self.ranges.push((kind, range));
        // Xen joins neighbours.
        let of_kind = self.ranges.iter().filter(|(k, _)| *k == kind).map(|(_, r)| r.clone()).collect();
        let joined = hypervisor::claims::join(of_kind);
        self.ranges.retain(|(k, _)| *k != kind);
        self.ranges.extend(joined.into_iter().map(|range| (kind, range)));
        Ok(())
    }

    fn release(&mut self, kind: u32, range: RangeInclusive<u64>) -> io::Result<()> {
        let holds = |r: &RangeInclusive<u64>| r.contains(range.start()) && r.contains(range.end());
        let at = self.ranges.iter().position(|(k, r)| *k == kind && holds(r));
        let (_, whole) = self.ranges.remove(at.ok_or_else(|| errno(libc::ENOENT))?);
        if whole.start() < range.start() {
            self.ranges.push((kind, *whole.start()..=range.start() - 1));
        }
        if whole.end() > range.end() {
            self.ranges.push((kind, range.end() + 1..=*whole.end()));
        }
        Ok(())
    }

    fn relocate(&mut self, op: RelocateMemory) {
        for page in 0..u64::from(op.pages) {
            if let Some(mfn) = self.p2m.remove(&(op.from + page)) {
                self.p2m.insert(op.to + page, mfn);
            }
        }
    }
}

impl Kernel for FakeXen {
    fn dm_op(&self, domid: u16, op: &mut DmOp, mut extra: Option<&mut [u8]>) -> io::Result<()> {
        assert!(extra.as_ref().is_none_or(|extra| extra.len() <= PAGE), "the kernel's limit");
        assert_eq!(domid, DOMID);
        let mut state = self.state();
        state.ops.push((*op, extra.as_deref().unwrap_or_default().to_vec()));
        if let Some(number) = state.fail.get(&op.op) {
            return Err(errno(*number));
        }
        if let Some(asked) = op.payload::<CreateIoreqServer>() {
            *op = DmOp::new(CreateIoreqServer { id: SERVER, ..asked });
        } else if let Some(asked) = op.payload::<GetIoreqServerInfo>() {
            *op = DmOp::new(GetIoreqServerInfo { bufioreq_port: RING_PORT, ..asked });
        } else if let Some(asked) = op.payload::<SetIoreqServerState>() {
            state.enabled = asked.enabled != 0;
            for vcpu in 0..128 {
                self.slot::<AtomicU32>(vcpu, 24).store(VCPU_PORT + vcpu as u32, Ordering::Relaxed);
            }
        } else if let Some(asked) = op.payload::<MapIoRange>() {
            state.claim(asked.kind, asked.start..=asked.end)?;
        } else if let Some(asked) = op.payload::<UnmapIoRange>() {
            state.release(asked.kind, asked.start..=asked.end)?;
        } else if let Some(asked) = op.payload::<RelocateMemory>() {
            state.relocate(asked);
        } else if let Some(asked) = op.payload::<TrackDirtyVram>()
            && asked.pages > 0
        {
            let dirty = state.vram_dirty.replace(Vec::new()).ok_or_else(|| errno(libc::ENODATA))?;
            let bitmap = extra.as_mut().unwrap();
            bitmap.fill(0);
            dirty.into_iter().for_each(|page| bitmap[page / 8] |= 1 << (page % 8));
        }
        Ok(())
    }

    fn map_ioreq_server(&self, domid: u16, server: u16) -> io::Result<Pages> {
        assert_eq!((domid, server), (DOMID, SERVER));
        Pages::of_file(self.shared.as_raw_fd(), 2 * PAGE, 0, true)
    }

    unsafe fn map_foreign(
        &self,
        domid: u16,
        addr: NonNull<u8>,
        gfns: &[u64],
        errors: &mut [i32],
    ) -> io::Result<()> {
        assert_eq!(domid, DOMID);
        self.state().mapped += 1;
        // As the kernel's: first nothing is there, which a touch does not survive, then the pages come.
        let (len, flags) = (gfns.len() * PAGE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED);
        // SAFETY: the trait's callers own the pages, and nobody touches them now.
        let empty = unsafe { libc::mmap(addr.as_ptr().cast(), len, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(empty, libc::MAP_FAILED);
        self.place_foreign(addr, gfns, errors);
        Ok(())
    }

    unsafe fn fill_foreign(
        &self,
        _domid: u16,
        addr: NonNull<u8>,
        gfns: &[u64],
        errors: &mut [i32],
    ) -> io::Result<()> {
        self.state().filled += 1;
        self.place_foreign(addr, gfns, errors);
        Ok(())
    }

    fn populate(&self, _domid: u16, first_gfn: u64, pages: u64) -> io::Result<()> {
        if self.state().restricted.is_some() {
            return Err(errno(libc::EPERM));
        }
        self.give(first_gfn..first_gfn + pages);
        Ok(())
    }

    fn get_param(&self, _domid: u16, param: Param) -> io::Result<u64> {
        Ok(self.state().params.get(&(param as u32)).copied().unwrap_or(0))
    }

    fn set_param(&self, _domid: u16, param: Param, value: u64) -> io::Result<()> {
        let mut state = self.state();
        if state.restricted.is_some() {
            return Err(errno(libc::EPERM));
        }
        state.params.insert(param as u32, value);
        Ok(())
    }

    fn events(&self) -> io::Result<Box<dyn Events>> {
        Ok(Box::new(FakeEvents { channels: Arc::default(), fake: self.me.clone() }))
    }

    fn restrict(&self, domid: u16) -> io::Result<()> {
        self.state().restricted = Some(domid);
        Ok(())
    }
}

/// One set of channels.
#[derive(Default)]
pub struct Channels {
    state: Mutex<ChannelState>,
    changed: Condvar,
}

#[derive(Default)]
struct ChannelState {
    /// Our ports: Xen's end, whether an event waits, whether it is masked.
    ports: BTreeMap<u32, (u32, bool, bool)>,
    ready: VecDeque<u32>,
    woken: bool,
}

impl Channels {
    fn state(&self) -> MutexGuard<'_, ChannelState> {
        self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn raise(&self, port: u32) {
        let mut state = self.state();
        let Some((_, waits, masked)) = state.ports.get_mut(&port) else { return };
        let deliver = !*waits && !*masked;
        *waits = true;
        if deliver {
            state.ready.push_back(port);
            self.changed.notify_all();
        }
    }
}

struct FakeEvents {
    channels: Arc<Channels>,
    fake: Weak<FakeXen>,
}

impl Events for FakeEvents {
    fn bind(&self, domid: u16, remote_port: u32) -> io::Result<u32> {
        assert_eq!(domid, DOMID);
        let local = 30 + remote_port;
        self.channels.state().ports.insert(local, (remote_port, false, false));
        self.fake
            .upgrade()
            .expect("the domain lives")
            .state()
            .bound
            .insert(remote_port, (self.channels.clone(), local));
        Ok(local)
    }

    fn unbind(&self, port: u32) -> io::Result<()> {
        self.channels.state().ports.remove(&port);
        Ok(())
    }

    fn notify(&self, port: u32) -> io::Result<()> {
        let remote = self.channels.state().ports.get(&port).map(|(remote, ..)| *remote);
        let remote = remote.ok_or_else(|| errno(libc::ENOTCONN))?;
        let fake = self.fake.upgrade().expect("the domain lives");
        *fake.state().notified.entry(remote).or_default() += 1;
        fake.changed.notify_all();
        Ok(())
    }

    fn wait(&self, ports: &mut [u32], block: bool) -> io::Result<usize> {
        let mut state = self.channels.state();
        while block && state.ready.is_empty() && !state.woken {
            state = self.channels.changed.wait(state).unwrap();
        }
        state.woken = false;
        let mut count = 0;
        for place in ports {
            let Some(port) = state.ready.pop_front() else { break };
            if let Some((_, waits, masked)) = state.ports.get_mut(&port) {
                (*waits, *masked) = (false, true);
                *place = port;
                count += 1;
            }
        }
        Ok(count)
    }

    fn unmask(&self, ports: &[u32]) -> io::Result<()> {
        let mut state = self.channels.state();
        for port in ports {
            let Some((_, waits, masked)) = state.ports.get_mut(port) else { continue };
            *masked = false;
            if *waits {
                state.ready.push_back(*port);
            }
        }
        Ok(())
    }

    fn wake(&self) {
        self.channels.state().woken = true;
        self.channels.changed.notify_all();
    }

    fn restrict(&self, _domid: u16) -> io::Result<()> {
        Ok(())
    }
}

/// Extents of every modified_memory operation so far.
pub fn extents(fake: &FakeXen) -> Vec<(u64, u32)> {
    let state = fake.state();
    let told = state.ops.iter().filter(|(op, _)| op.op == ModifiedMemory::OP);
    let mut all = Vec::new();
    for (op, extra) in told {
        let count = op.payload::<ModifiedMemory>().unwrap().extents as usize;
        assert_eq!(extra.len(), count * size_of::<Extent>());
        for bytes in extra.chunks(size_of::<Extent>()) {
            let extent = Extent::read_from_bytes(bytes).unwrap();
            assert_eq!(extent.as_bytes(), bytes);
            all.push((extent.first_pfn, extent.pages));
        }
    }
    all
}
