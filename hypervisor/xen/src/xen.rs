//! The machine: one domain's device model as a [`Hypervisor`].

use std::sync::Arc;
use std::time::Duration;

use hypervisor::inspect::Node;
use hypervisor::memory::{self, PAGE, Region};
use hypervisor::{
    Capabilities, Claims, Clock, Dispatch, Doorbell, DoorbellAddress, Doorbells, Error, Event, EventFd,
    GuestRam, HostClock, Hypervisor, IrqTarget, Laggards, Mapping, MsiTarget, RamBlock, SavedPart,
    TimerQueue,
};

use crate::abi::Param;
use crate::abi::dm::{MEM_RAM_RO, MEM_RAM_RW, RemoteShutdown, SetMemType, ShutdownReason};
use crate::claims::Claimed;
use crate::dirty::DirtyReport;
use crate::domain::Domain;
use crate::error::{CallError, Named};
use crate::foreign::ForeignRam;
use crate::irq::Irqs;
use crate::kernel::Kernel;
use crate::privcmd::Linux;
use crate::rom::Roms;
use crate::server::{Server, Surroundings};
use crate::video::{Placements, Video};

/// The block of [`Hypervisor::add_ram`] that is the guest's own memory. All others are ROMs: the domain has
/// no pages for them, and they are served from here.
pub const VRAM: &str = "vram";
/// Most vCPUs: slots of the page.
pub const MAX_VCPUS: u32 = ioreq::page::SLOTS as u32;
/// Most threads that are started unless asked for: devices are shared, so more seldom help, and each costs
/// memory while the guest is idle.
const MAX_THREADS: u32 = 4;
/// First frame that SeaBIOS's shadowed ROMs are in, and how many.
const ROM_FRAMES: (u64, u32) = (0xc0, 0x40);
/// Where RAM goes on above the PCI hole.
const FOUR_GIB: u64 = 1 << 32;

/// What a machine is made of.
#[derive(Clone, Debug)]
pub struct XenConfig {
    /// The domain.
    pub domid: u16,
    /// Number of vCPUs, those that are not online yet too: 1 to 128.
    pub vcpus: u32,
    /// Threads that answer; None for one a vCPU, at most four.
    pub threads: Option<u32>,
    /// Bytes of RAM from 0 on, video memory not counted.
    pub ram_below: u64,
    /// Bytes of RAM from 4 GiB on; may be 0.
    pub ram_above: u64,
}

/// A Xen domain whose device model we are.
pub struct Xen {
    domain: Arc<Domain>,
    server: Arc<Server>,
    vcpus: u32,
    ram: GuestRam,
    foreign: Vec<Arc<ForeignRam>>,
    dirty: Arc<DirtyReport>,
    video: Video,
    roms: Arc<Roms>,
    claimed: Claimed,
    irqs: Arc<Irqs>,
    clock: Arc<HostClock>,
    timers: TimerQueue,
    doorbells: Arc<Doorbells>,
}

/// The domain's memory: one region below the PCI hole, one above 4 GiB.
fn regions(
    config: &XenConfig,
    domain: &Arc<Domain>,
    dirty: &Arc<DirtyReport>,
) -> Result<(GuestRam, Vec<Arc<ForeignRam>>), Error> {
    let (mut regions, mut all) = (Vec::new(), Vec::new());
    for (start, len) in [(0, config.ram_below), (FOUR_GIB, config.ram_above)] {
        if len == 0 {
            continue;
        }
        let block = memory::new_block(start, len)?;
        let foreign = Arc::new(ForeignRam::new(domain.clone(), dirty.clone(), block.clone())?);
        regions.push(Region::foreign(block, foreign.clone()));
        all.push(foreign);
    }
    Ok((memory::ram_of(regions)?, all))
}

impl Xen {
    /// Becomes a device model of a domain of this host's. The ioreq server exists when it returns, and takes
    /// requests; they are answered from [`run`](Hypervisor::run) and the first resume on.
    pub fn new(config: XenConfig) -> Result<Xen, Error> {
        let kernel = Linux::open().named("open of privcmd")?;
        Xen::over(Arc::new(kernel), config)
    }

    /// The same over any kernel.
    pub fn over(kernel: Arc<dyn Kernel>, config: XenConfig) -> Result<Xen, Error> {
        if config.vcpus == 0 || config.vcpus > MAX_VCPUS {
            return Err(Error::Unsupported(format!("Xen has 1 to {MAX_VCPUS} vCPUs, not {}", config.vcpus)));
        }
        let free = FOUR_GIB.checked_add(config.ram_above).map(|end| end.div_ceil(PAGE));
        let bad = Error::Range { start: FOUR_GIB, len: config.ram_above, why: "wraps around" };
        let free = free.ok_or(bad)?;
        let domain = Arc::new(Domain::new(kernel, config.domid));
        let dirty = Arc::new(DirtyReport::new(domain.clone()));
        let (ram, foreign) = regions(&config, &domain, &dirty)?;
        let roms = Arc::new(Roms::default());
        let threads = config.threads.unwrap_or(MAX_THREADS).clamp(1, config.vcpus);
        let surroundings = Surroundings { foreign: foreign.clone(), ram: ram.clone(), roms: roms.clone() };
        let server = Arc::new(Server::new(domain.clone(), config.vcpus, threads, surroundings)?);
        let weak = Arc::downgrade(&server);
        domain.on_gone(move || {
            if let Some(server) = weak.upgrade() {
                server.stop();
            }
        });
        Ok(Xen {
            video: Video::new(domain.clone(), dirty.clone(), free),
            claimed: Claimed::new(domain.clone(), server.id()),
            irqs: Arc::new(Irqs::new(domain.clone())),
            clock: Arc::new(HostClock::new()),
            timers: TimerQueue::new(),
            doorbells: Arc::default(),
            vcpus: config.vcpus,
            domain,
            server,
            ram,
            foreign,
            dirty,
            roms,
        })
    }

    /// Gives the domain the pages of blocks of guest memory of so many bytes, which are added later, perhaps after
    /// [`restrict`](Xen::restrict). Not for a domain that was restored.
    pub fn reserve(&self, len: u64) -> Result<(), Error> {
        Ok(self.video.reserve(len)?)
    }

    /// The domain was restored, with its blocks of guest memory there ([`Placements::of`] its saved parts). Before
    /// they are added.
    pub fn restored(&self, placements: Placements) {
        self.video.restored(placements);
    }

    /// Ends or restarts the domain. When a device's handler calls it, the vCPU does not run past the access.
    pub fn shut_down(&self, reason: ShutdownReason) -> Result<(), Error> {
        self.domain.op(RemoteShutdown { reason: reason as u32 })?;
        Ok(())
    }

    /// Puts the domain to sleep (ACPI S3), or wakes it. Not after [`restrict`](Xen::restrict).
    pub fn set_asleep(&self, asleep: bool) -> Result<(), Error> {
        let (param, value) = (Param::AcpiSState, if asleep { 3 } else { 0 });
        let done = self.domain.kernel().set_param(self.domain.id(), param, value);
        let what = format!(" ({param:?} = {value})");
        Ok(done.map_err(|error| self.domain.failed("HVMOP_set_param", what, error))?)
    }

    /// Whether the domain sleeps (ACPI S3). Not after [`restrict`](Xen::restrict).
    pub fn is_asleep(&self) -> Result<bool, Error> {
        let value = self.domain.kernel().get_param(self.domain.id(), Param::AcpiSState);
        let value = value.map_err(|error| self.domain.failed("HVMOP_get_param", String::new(), error))?;
        Ok(value == 3)
    }

    /// Gives up every power beyond this domain, for ever: no hypercalls, no other domain's pages or events.
    /// After it no block can be added that is neither [reserved](Xen::reserve) nor [restored](Xen::restored), and sleep
    /// cannot be set.
    pub fn restrict(&self) -> Result<(), Error> {
        self.server.restrict()?;
        let done = self.domain.kernel().restrict(self.domain.id());
        Ok(done.map_err(|error| self.domain.failed("IOCTL_PRIVCMD_RESTRICT", String::new(), error))?)
    }

    /// The pages of a mapping, if it is of guest memory that we gave the domain.
    fn map_video(&self, mapping: &Mapping) -> Option<Result<(), Error>> {
        let read = mapping.read.as_ref()?;
        let write = mapping.write.as_ref()?;
        let whole = read.offset == 0 && mapping.len == read.block.size() as u64;
        if !whole || !Arc::ptr_eq(&read.block, &write.block) || write.offset != 0 {
            return None;
        }
        let placed = self.video.show(&read.block, mapping.gpa / PAGE)?;
        Some(placed.map_err(Error::from))
    }

    fn map_roms(&self, mapping: &Mapping) -> Result<(), Error> {
        if self.roms.map(mapping) {
            let roms = self.roms.ranges();
            self.video.make_room(&roms)?;
            self.claimed.set_roms(roms)?;
        }
        Ok(())
    }

    /// Number of buckets of RAM that are mapped now.
    pub(crate) fn foreign_mapped(&self) -> usize {
        self.foreign.iter().map(|foreign| foreign.mapped()).sum()
    }

    fn gone(&self) -> Error {
        let source = std::io::Error::from_raw_os_error(libc::ESRCH);
        CallError::with("domain", self.domain.id().to_string(), source).into()
    }
}

impl Hypervisor for Xen {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            pic: true,
            ioapic: true,
            pit: true,
            rtc: true,
            hpet: true,
            pm_timer: true,
            firmware: true,
            acpi_tables: true,
            pvhvm: true,
            saves_vram: true,
            stopped_by_others: true,
            still: false,
            // The tables that would tell it are not ours.
            processor_id: 0,
        }
    }
    fn vcpus(&self) -> u32 {
        self.vcpus
    }
    fn memory(&self) -> GuestRam {
        self.ram.clone()
    }
    fn irq(&self) -> Arc<dyn IrqTarget> {
        self.irqs.clone()
    }
    fn msi(&self) -> Arc<dyn MsiTarget> {
        self.irqs.clone()
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
    fn timers(&self) -> TimerQueue {
        self.timers.clone()
    }
    /// [`VRAM`] becomes guest memory, parked; it is seen at the place where it is mapped as a whole. Any other
    /// block is ours alone and can be mapped as a ROM.
    fn add_ram(&self, name: &str, len: u64) -> Result<RamBlock, Error> {
        match name {
            VRAM => self.video.add(name, len),
            _ => memory::new_block(0, len),
        }
    }
    fn map(&self, mapping: Mapping) -> Result<(), Error> {
        mapping.check()?;
        if mapping.write.is_some() {
            let what = || {
                let Mapping { gpa, len, .. } = mapping;
                Error::Unsupported(format!(
                    "memory at {gpa:#x}+{len:#x}: only whole video memory can be put there"
                ))
            };
            return self.map_video(&mapping).unwrap_or_else(|| Err(what()));
        }
        if mapping.read.is_none() && self.video.hide(mapping.gpa / PAGE) {
            self.video.make_room(&self.claimed.memory())?;
        }
        self.map_roms(&mapping)
    }
    fn claim(&self, claims: &Claims) -> Result<(), Error> {
        self.video.make_room(&claims.memory)?;
        Ok(self.claimed.claim(claims)?)
    }
    /// An error when the domain went away.
    /// Xen sends the write as any other: the thread that has it signals.
    fn doorbell(&self, address: DoorbellAddress, fd: EventFd) -> Result<Doorbell, Error> {
        self.doorbells.add(address, fd)
    }
    fn run(
        &self,
        dispatch: &mut dyn FnMut(u32) -> Box<dyn Dispatch>,
        _events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<(), Error> {
        if self.domain.is_gone() {
            return Err(self.gone());
        }
        let mut ringing = |vcpu| self.doorbells.before(dispatch(vcpu));
        let ended = self.server.run(&mut ringing, || self.timers.serve(&*self.clock), || self.timers.close());
        ended.map_err(|source| Error::Host { what: "cannot start an ioreq thread", source })?;
        if self.domain.is_gone() { Err(self.gone()) } else { Ok(()) }
    }
    /// The processors are Xen's: they stand at their next access to a device. An access whose handler calls
    /// this is answered all the same, for a domain that ends waits for it.
    fn suspend(&self) {
        self.server.suspend();
        self.clock.stop();
    }
    /// Requests that wait in their slots stay there until the resume. Xen is told not to send more, and
    /// answers accesses itself meanwhile, with all ones: whoever pauses us has paused the domain before.
    fn pause(&self) {
        self.suspend();
        self.server.wait_parked();
        self.dirty.set_at_once(true);
        if !self.domain.is_gone()
            && let Err(error) = self.server.enable(false)
        {
            self.domain.complain(&error);
        }
        self.server.empty_ring();
    }
    fn pause_within(&self, patience: Duration) -> Result<(), Laggards> {
        self.suspend();
        if !self.server.wait_parked_within(patience) {
            return Err(Laggards(vec!["a vCPU".into()]));
        }
        self.pause();
        Ok(())
    }
    fn resume(&self) {
        self.dirty.set_at_once(false);
        if let Err(error) = self.server.enable(true) {
            self.domain.complain(&error);
        }
        self.clock.start();
        self.server.resume();
        self.timers.kick();
    }
    /// Nothing to do: a domain that restarts is a new domain, with a new device model.
    fn reset(&self) {}
    fn stop(&self) {
        self.server.stop();
    }
    fn lock_roms(&self, locked: bool) -> Result<(), Error> {
        let kind = if locked { MEM_RAM_RO } else { MEM_RAM_RW };
        let (first_pfn, pages) = ROM_FRAMES;
        self.domain.op(SetMemType { pages, kind, pad: 0, first_pfn })?;
        Ok(())
    }
    fn log_dirty(&self, on: bool) -> Result<(), Error> {
        self.dirty.set(on);
        Ok(())
    }
    fn wake_up(&self) -> Result<(), Error> {
        self.set_asleep(false)
    }
    /// Where video memory is. Its pages, and the processors, are in Xen's own save.
    fn save(&self) -> Result<Vec<SavedPart>, Error> {
        self.dirty.flush();
        Ok(vec![self.video.save()?])
    }
    fn load(&self, parts: &[SavedPart]) -> Result<(), Error> {
        self.video.check(parts)
    }
    fn inspect(&self, node: &mut Node) {
        let node = node.child("xen");
        node.value("domain", self.domain.id()).value("ioreq server", self.server.id());
        node.value("threads", self.server.threads());
        node.value("mapped buckets of RAM", self.foreign_mapped());
        let waited: usize = self.foreign.iter().map(|foreign| foreign.waited()).sum();
        node.value("waits for pages in use", waited);
        node.value("dirty log", self.dirty.is_on());
        let [ports, memory, functions] = self.claimed.counts();
        node.value("claims", format_args!("{ports} of ports, {memory} of memory, {functions} of functions"));
        for (name, gfn, pages) in self.video.blocks() {
            node.value(&name, format_args!("{pages} pages at {:#x}", gfn.saturating_mul(PAGE)));
        }
    }
}
