//! A machine whose vCPUs never run: for the qtest protocol, for replay and for tests that want a whole machine. Guest
//! time stands until [`NoCpu::advance`] moves it; memory is accessed through [`NoCpu::read`] and [`NoCpu::write`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use vm_memory::{Bytes, GuestMemoryRegion, MemoryRegionAddress};

use crate::{
    Backing, Capabilities, Claims, Clock, Dispatch, Error, Event, GuestRam, Hypervisor, IrqTarget,
    ManualClock, Mapping, MsiTarget, Pin, RamBlock, SavedPart, TimerQueue, inspect, memory,
};

/// The hypervisor of such a machine. All of the PC's parts are the device model's, unless it stands in for another
/// hypervisor.
pub struct NoCpu {
    vcpus: u32,
    capabilities: Capabilities,
    ram: GuestRam,
    space: Arc<Space>,
    clock: Arc<ManualClock>,
    timers: TimerQueue,
    pins: Arc<Pins>,
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// What the device model drives into a processor that is not there.
#[derive(Debug, Default)]
struct Pins {
    intr: AtomicBool,
    nmi: AtomicBool,
    a20: AtomicBool,
}

/// The guest-physical space: mappings by their first byte, apart from each other.
struct Space {
    mappings: Mutex<BTreeMap<u64, Mapping>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The part of a mapping from byte `skip` on, `len` bytes long.
fn part(mapping: &Mapping, skip: u64, len: u64) -> Mapping {
    let moved = |backing: &Backing| Backing { block: backing.block.clone(), offset: backing.offset + skip };
    let (read, write) = (mapping.read.as_ref().map(moved), mapping.write.as_ref().map(moved));
    Mapping { gpa: mapping.gpa + skip, len, read, write }
}

impl Space {
    /// Puts a mapping over what was there.
    fn map(&self, mapping: Mapping) {
        let mut all = lock(&self.mappings);
        let end = mapping.gpa + mapping.len;
        let under: Vec<u64> = all
            .range(..end)
            .filter(|(start, old)| *start + old.len > mapping.gpa)
            .map(|(at, _)| *at)
            .collect();
        for at in under {
            let Some(old) = all.remove(&at) else { continue };
            if old.gpa < mapping.gpa {
                all.insert(old.gpa, part(&old, 0, mapping.gpa - old.gpa));
            }
            let old_end = old.gpa + old.len;
            if old_end > end {
                all.insert(end, part(&old, end - old.gpa, old_end - end));
            }
        }
        if mapping.read.is_some() || mapping.write.is_some() {
            all.insert(mapping.gpa, mapping);
        }
    }

    /// Where the byte at `gpa` is for this direction (none: at a device), and how many of `len` bytes are
    /// likewise.
    fn find(&self, gpa: u64, len: u64, write: bool) -> (Option<(RamBlock, u64)>, u64) {
        let all = lock(&self.mappings);
        if let Some((start, mapping)) = all.range(..=gpa).next_back()
            && gpa - start < mapping.len
        {
            let skip = gpa - start;
            let backing = if write { &mapping.write } else { &mapping.read };
            let at = backing.as_ref().map(|backing| (backing.block.clone(), backing.offset + skip));
            return (at, (mapping.len - skip).min(len));
        }
        let next = gpa.checked_add(1).and_then(|from| all.range(from..).next());
        (None, next.map_or(len, |(start, _)| (start - gpa).min(len)))
    }
}

impl IrqTarget for Pins {
    fn set(&self, pin: Pin, level: bool) {
        match pin {
            Pin::Intr => self.intr.store(level, Ordering::Release),
            Pin::Nmi => self.nmi.store(level, Ordering::Release),
            Pin::A20 => self.a20.store(level, Ordering::Release),
            // Those of a hypervisor that has the controllers.
            Pin::Isa(_) | Pin::Intx { .. } => {}
        }
    }
}

/// A message that is not for a local APIC is an ordinary write (PCI 3.0, 6.8): tests have them sent to RAM.
struct Messages(Arc<Space>);

impl MsiTarget for Messages {
    fn signal(&self, address: u64, data: u32) {
        if let (Some((block, offset)), 4) = self.0.find(address, 4, true) {
            // Inside the block: the mapping was checked.
            let _ = block.write_slice(&data.to_le_bytes(), MemoryRegionAddress(offset));
        }
    }
}

impl NoCpu {
    /// A machine at power-on: `ram_below` bytes of RAM from 0, `ram_above` from 4 GiB.
    pub fn new(vcpus: u32, ram_below: u64, ram_above: u64) -> Result<NoCpu, Error> {
        let mut blocks = vec![memory::new_block(0, ram_below)?];
        if ram_above > 0 {
            blocks.push(memory::new_block(1 << 32, ram_above)?);
        }
        let space = Arc::new(Space { mappings: Mutex::default() });
        for block in &blocks {
            let mapping = Mapping::ram(block.start_addr().0, block.len(), block, 0);
            mapping.check()?;
            space.map(mapping);
        }
        let ram = memory::ram_of(blocks.into_iter().map(memory::Region::host).collect())?;
        Ok(NoCpu {
            vcpus,
            capabilities: Capabilities { still: true, ..Capabilities::default() },
            ram,
            space,
            clock: Arc::default(),
            timers: TimerQueue::new(),
            pins: Arc::default(),
            stopped: Mutex::new(false),
            changed: Condvar::new(),
        })
    }

    /// In the place of a hypervisor with such capabilities.
    pub fn in_place_of(self, capabilities: Capabilities) -> NoCpu {
        NoCpu { capabilities: Capabilities { still: true, ..capabilities }, ..self }
    }

    /// Reads guest-physical memory. What is at a device is asked for in runs: (address, bytes, all ones before).
    pub fn read(&self, gpa: u64, data: &mut [u8], mut device: impl FnMut(u64, &mut [u8])) {
        let (mut at, mut rest) = (gpa, data);
        while !rest.is_empty() {
            let (found, run) = self.space.find(at, rest.len() as u64, false);
            let (now, later) = rest.split_at_mut(run as usize);
            match found {
                // Inside the block: the mapping was checked.
                Some((block, offset)) => drop(block.read_slice(now, MemoryRegionAddress(offset))),
                None => {
                    now.fill(0xff);
                    device(at, now);
                }
            }
            at = at.wrapping_add(run);
            rest = later;
        }
    }

    /// Writes guest-physical memory, likewise.
    pub fn write(&self, gpa: u64, data: &[u8], mut device: impl FnMut(u64, &[u8])) {
        let (mut at, mut rest) = (gpa, data);
        while !rest.is_empty() {
            let (found, run) = self.space.find(at, rest.len() as u64, true);
            let (now, later) = rest.split_at(run as usize);
            match found {
                Some((block, offset)) => drop(block.write_slice(now, MemoryRegionAddress(offset))),
                None => device(at, now),
            }
            at = at.wrapping_add(run);
            rest = later;
        }
    }

    /// Moves guest time on to `end` (nanoseconds), firing every timer at its own instant, but stops early once the
    /// host's clock has come to `until`: a guest may have armed more timers than anybody can wait for. True when
    /// the end was reached.
    pub fn advance(&self, end: u64, until: Instant) -> bool {
        while let Some(deadline) = self.timers.next_deadline().filter(|deadline| *deadline <= end) {
            self.clock.set(deadline.max(self.clock.now()));
            self.timers.fire(self.clock.now());
            if Instant::now() >= until {
                return false;
            }
        }
        self.clock.set(end.max(self.clock.now()));
        true
    }

    /// Level of the INTR pin.
    pub fn intr(&self) -> bool {
        self.pins.intr.load(Ordering::Acquire)
    }
}

impl Hypervisor for NoCpu {
    fn capabilities(&self) -> Capabilities {
        self.capabilities
    }
    fn vcpus(&self) -> u32 {
        self.vcpus
    }
    fn memory(&self) -> GuestRam {
        self.ram.clone()
    }
    fn irq(&self) -> Arc<dyn IrqTarget> {
        self.pins.clone()
    }
    fn msi(&self) -> Arc<dyn MsiTarget> {
        Arc::new(Messages(self.space.clone()))
    }
    fn clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }
    fn timers(&self) -> TimerQueue {
        self.timers.clone()
    }
    fn add_ram(&self, _name: &str, len: u64) -> Result<RamBlock, Error> {
        memory::new_block(0, len)
    }
    fn map(&self, mapping: Mapping) -> Result<(), Error> {
        mapping.check()?;
        self.space.map(mapping);
        Ok(())
    }
    fn claim(&self, _claims: &Claims) -> Result<(), Error> {
        Ok(())
    }
    /// Waits for [`stop`](Hypervisor::stop).
    fn run(
        &self,
        _dispatch: &mut dyn FnMut(u32) -> Box<dyn Dispatch>,
        _events: Arc<dyn Fn(Event) + Send + Sync>,
    ) -> Result<(), Error> {
        let mut stopped = lock(&self.stopped);
        while !*stopped {
            stopped = self.changed.wait(stopped).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
    fn suspend(&self) {}
    fn pause(&self) {}
    fn resume(&self) {}
    fn reset(&self) {}
    fn stop(&self) {
        *lock(&self.stopped) = true;
        self.changed.notify_all();
    }
    fn save(&self) -> Result<Vec<SavedPart>, Error> {
        Ok(Vec::new())
    }
    fn load(&self, parts: &[SavedPart]) -> Result<(), Error> {
        if parts.is_empty() { Ok(()) } else { Err(Error::State("this machine has no CPU to load".into())) }
    }
    fn inspect(&self, node: &mut inspect::Node) {
        let pins = node.child("pins");
        pins.value("intr", self.intr());
        pins.value("nmi", self.pins.nmi.load(Ordering::Acquire));
        pins.value("a20", self.pins.a20.load(Ordering::Acquire));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::PAGE;
    use std::time::Duration;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn windows_are_laid_over_ram_and_taken_away_again() {
        let still = NoCpu::new(1, 16 * PAGE, 0).unwrap();
        let rom = memory::new_block(0, 2 * PAGE).unwrap();
        rom.write_slice(&[7; 2 * PAGE as usize], MemoryRegionAddress(0)).unwrap();
        still.map(Mapping::rom(4 * PAGE, 2 * PAGE, &rom, 0)).unwrap();
        still.map(Mapping::none(8 * PAGE, PAGE)).unwrap();

        let mut asked = Vec::new();
        still.write(4 * PAGE - 2, &[1; 4], |at, data| asked.push((at, data.len())));
        assert_eq!(asked, [(4 * PAGE, 2)], "a ROM is not written");
        let mut data = [0; 4];
        still.read(4 * PAGE - 2, &mut data, |_, _| panic!("a ROM is read"));
        assert_eq!(data, [1, 1, 7, 7]);
        still.read(9 * PAGE - 2, &mut data, |at, data| {
            assert_eq!(at, 9 * PAGE - 2);
            data.fill(9);
        });
        assert_eq!(data, [9, 9, 0, 0]);
        still.map(Mapping::none(5 * PAGE, PAGE)).unwrap();
        still.read(5 * PAGE - 2, &mut data, |_, _| {});
        assert_eq!(data, [7, 7, 0xff, 0xff]);
        still.read(u64::MAX - 1, &mut data, |_, _| {});
        assert!(still.map(Mapping::rom(1, PAGE, &rom, 0)).is_err());
    }

    #[test]
    fn time_stops_at_every_timer() {
        let still = Arc::new(NoCpu::new(1, PAGE, 0).unwrap());
        let (seen, clock) = (Arc::new(Mutex::new(Vec::new())), still.clock());
        let (log, now) = (seen.clone(), clock.clone());
        let mut timer = still.timers().timer(move || lock(&log).push(now.now()));
        timer.arm(500);
        assert!(still.advance(400, soon()));
        assert!(still.advance(1000, soon()));
        assert_eq!((lock(&seen).as_slice(), clock.now()), ([500].as_slice(), 1000));
        timer.arm(1500);
        assert!(!still.advance(2000, Instant::now()), "the host's time was up");
        assert!(still.advance(2000, Instant::now()));
    }

    #[test]
    fn messages_to_ram_are_writes() {
        let still = NoCpu::new(1, PAGE, 0).unwrap();
        still.msi().signal(0x100, 0x1234);
        still.msi().signal(0xfee0_0000, 0x5678);
        let mut data = [0; 4];
        still.read(0x100, &mut data, |_, _| {});
        assert_eq!(u32::from_le_bytes(data), 0x1234);
    }
}
