//! Drives devices with no hypervisor: a bus, a little RAM, a clock that the test moves, and a log of
//! interrupt levels. Unit tests, fuzzing, replay and benches all use it.

mod fuzz;

use std::sync::{Arc, Mutex, MutexGuard};

use hypervisor::{Claims, Clock, GuestRam, ManualClock, Mapping, MsiTarget, TimerQueue, memory};
use ioreq::{Data, Dir, Request, Sbdf, Size, Target};
use vm_memory::{Bytes, GuestAddress};

use crate::bus::{Bus, Mapper, View};
use crate::device::{Device, DeviceCell, Space};
use crate::irq::{IrqBank, IrqSink};
use crate::power::{Power, PowerEvent};
use crate::state::Saved;
use crate::wiring::Wiring;
pub use fuzz::{Board, FuzzRange, fuzz};

/// One millisecond of guest time in nanoseconds, times `n`.
pub const fn ms(n: u64) -> u64 {
    n * 1_000_000
}

/// One microsecond of guest time in nanoseconds, times `n`.
pub const fn us(n: u64) -> u64 {
    n * 1_000
}

/// What the rig saw, shared with the handles that it gave out.
#[derive(Debug, Default)]
pub struct Recorder {
    levels: Mutex<Vec<bool>>,
    edges: Mutex<Vec<(u32, bool)>>,
    messages: Mutex<Vec<(u64, u32)>>,
    power: Mutex<Vec<PowerEvent>>,
    mappings: Mutex<Vec<Mapping>>,
    claims: Mutex<Claims>,
}

/// Most entries that a log keeps: a fuzzed device must not grow the rig.
const LOG: usize = 1 << 16;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn note<T>(log: &Mutex<Vec<T>>, entry: T) {
    let mut log = lock(log);
    if log.len() < LOG {
        log.push(entry);
    }
}

impl IrqSink for Recorder {
    fn set(&self, pin: u32, level: bool) {
        let mut levels = lock(&self.levels);
        if let Some(wire) = levels.get_mut(pin as usize) {
            *wire = level;
        }
        drop(levels);
        note(&self.edges, (pin, level));
    }
}

impl MsiTarget for Recorder {
    fn signal(&self, address: u64, data: u32) {
        note(&self.messages, (address, data));
    }
}

impl Power for Recorder {
    fn request(&self, event: PowerEvent) {
        note(&self.power, event);
    }
}

impl Mapper for Recorder {
    fn map(&self, mapping: Mapping) {
        note(&self.mappings, mapping);
    }
    fn claim(&self, claims: &Claims) {
        *lock(&self.claims) = claims.clone();
    }
}

/// The rig. Interrupt pins are 0 to 255.
pub struct Rig {
    bus: Bus,
    view: View,
    ram: GuestRam,
    clock: Arc<ManualClock>,
    timers: TimerQueue,
    irqs: IrqBank,
    recorder: Arc<Recorder>,
    restless: bool,
}

/// Runs a test twice on fresh rigs: as it stands, and with a [`Rig::save_load`] before every access and
/// every step of time. `script` asserts what the guest sees, so both runs must look the same to it.
pub fn scenario(script: impl Fn(&mut Rig)) {
    for restless in [false, true] {
        let mut rig = Rig::new();
        rig.restless = restless;
        script(&mut rig);
    }
}

/// A small random number generator (xorshift64*): a seed gives the same run everywhere.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Starts at `seed`.
    pub fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    /// The next number.
    pub fn draw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
    /// A number below `bound`, which is not zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.draw() % bound
    }
}

impl Default for Rig {
    fn default() -> Rig {
        Rig::new()
    }
}

impl Rig {
    /// 2 MiB of RAM, time zero, no devices.
    pub fn new() -> Rig {
        Rig::with_ram(2 << 20)
    }

    /// With `bytes` of RAM, whole pages.
    pub fn with_ram(bytes: u64) -> Rig {
        let ram = memory::new_shared_ram(bytes, 0).expect("a test's RAM fits the host");
        let recorder = Arc::new(Recorder::default());
        lock(&recorder.levels).resize(256, false);
        let bus = Bus::new(ram.clone(), recorder.clone());
        let view = bus.view();
        let irqs = IrqBank::new(256, recorder.clone());
        let clock = Arc::new(ManualClock::default());
        Rig { bus, view, ram, clock, timers: TimerQueue::new(), irqs, recorder, restless: false }
    }

    /// Wiring for one device.
    pub fn wiring(&self) -> Wiring {
        Wiring::new(self.clock.clone(), self.timers.clone())
    }
    /// The wires whose levels [`irq`](Rig::irq) shows.
    pub fn irqs(&self) -> &IrqBank {
        &self.irqs
    }
    /// The rig's log, which is also its MSI target, power switch, interrupt sink and memory mapper.
    pub fn recorder(&self) -> Arc<Recorder> {
        self.recorder.clone()
    }
    /// RAM, from address 0.
    pub fn ram(&self) -> &GuestRam {
        &self.ram
    }
    /// The bus.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Attaches a device that was built with `wiring`; see [`Bus::attach`].
    pub fn attach<D: Device + 'static>(&mut self, device: D, wiring: &Wiring) -> Arc<DeviceCell<D>> {
        self.bus.attach(device, wiring, None).expect("a test attaches each device once")
    }
    /// Attaches a PCI function at `device.function` of bus 0.
    pub fn attach_pci<D: Device + 'static>(
        &mut self,
        it: D,
        wiring: &Wiring,
        device: u8,
        function: u8,
    ) -> Arc<DeviceCell<D>> {
        let sbdf = Sbdf::bus0(device, function);
        self.bus.attach(it, wiring, Some(sbdf)).expect("a test attaches each device once")
    }

    fn get(&mut self, target: Target, size: Size) -> u64 {
        self.request(&Request::read(0, target, size))
    }
    fn put(&mut self, target: Target, size: Size, value: u64) {
        self.request(&Request::write(0, target, size, value));
    }

    /// Reads a byte from a port.
    pub fn inb(&mut self, port: u16) -> u8 {
        self.get(Target::Pio(port), Size::B1) as u8
    }
    /// Reads two bytes.
    pub fn inw(&mut self, port: u16) -> u16 {
        self.get(Target::Pio(port), Size::B2) as u16
    }
    /// Reads four bytes.
    pub fn inl(&mut self, port: u16) -> u32 {
        self.get(Target::Pio(port), Size::B4) as u32
    }
    /// Writes a byte to a port.
    pub fn outb(&mut self, port: u16, value: u8) {
        self.put(Target::Pio(port), Size::B1, value.into());
    }
    /// Writes two bytes.
    pub fn outw(&mut self, port: u16, value: u16) {
        self.put(Target::Pio(port), Size::B2, value.into());
    }
    /// Writes four bytes.
    pub fn outl(&mut self, port: u16, value: u32) {
        self.put(Target::Pio(port), Size::B4, value.into());
    }
    /// Reads memory space (devices only: RAM is [`ram`](Rig::ram)).
    pub fn mmio_read(&mut self, address: u64, size: Size) -> u64 {
        self.get(Target::Mmio(address), size)
    }
    /// Writes memory space.
    pub fn mmio_write(&mut self, address: u64, size: Size, value: u64) {
        self.put(Target::Mmio(address), size, value);
    }
    /// Reads a function's configuration space on bus 0.
    pub fn config_read(&mut self, device: u8, function: u8, reg: u16, size: Size) -> u32 {
        self.get(Target::PciConfig { sbdf: Sbdf::bus0(device, function), reg }, size) as u32
    }
    /// Writes it.
    pub fn config_write(&mut self, device: u8, function: u8, reg: u16, size: Size, value: u32) {
        self.put(Target::PciConfig { sbdf: Sbdf::bus0(device, function), reg }, size, value.into());
    }
    /// `rep ins` or `rep outs` of `count` items between a port and RAM at `gpa`.
    pub fn string(&mut self, dir: Dir, port: u16, size: Size, count: u32, gpa: u64) {
        let target = Target::Pio(port);
        let data = Data::Guest(gpa);
        self.request(&Request { vcpu: 0, target, dir, size, data, count, descending: false });
    }
    /// Any request at all.
    pub fn request(&mut self, request: &Request) -> u64 {
        if self.restless {
            self.save_load();
        }
        self.view.request(request)
    }

    /// Puts bytes into RAM.
    pub fn poke(&self, gpa: u64, data: &[u8]) {
        self.ram.write_slice(data, GuestAddress(gpa)).expect("the test's address is RAM");
    }
    /// Bytes of RAM.
    pub fn peek(&self, gpa: u64, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.ram.read_slice(&mut data, GuestAddress(gpa)).expect("the test's address is RAM");
        data
    }

    /// Guest time in nanoseconds.
    pub fn now(&self) -> u64 {
        self.clock.now()
    }
    /// When the next timer fires, if one is armed.
    pub fn next_deadline(&self) -> Option<u64> {
        self.timers.next_deadline()
    }
    /// Moves guest time as [`advance`](Rig::advance) does; how often the host's thread of the timers would have woken.
    pub fn wakes(&mut self, nanoseconds: u64) -> u64 {
        if self.restless {
            self.save_load();
        }
        let end = self.now().saturating_add(nanoseconds);
        let mut wakes = 0;
        while let Some(deadline) = self.timers.next_deadline().filter(|&deadline| deadline <= end) {
            self.clock.set(deadline.max(self.now()));
            self.timers.fire(self.now());
            wakes += 1;
        }
        self.clock.set(end);
        wakes
    }
    /// Moves guest time, firing every timer on the way at its own instant.
    pub fn advance(&mut self, nanoseconds: u64) {
        self.wakes(nanoseconds);
    }

    /// Level of an interrupt wire.
    pub fn irq(&self, pin: u32) -> bool {
        lock(&self.recorder.levels).get(pin as usize).copied().unwrap_or(false)
    }
    /// Changes of interrupt wires since last asked: (pin, level).
    pub fn take_edges(&self) -> Vec<(u32, bool)> {
        std::mem::take(&mut lock(&self.recorder.edges))
    }
    /// MSI messages since last asked: (address, data).
    pub fn take_messages(&self) -> Vec<(u64, u32)> {
        std::mem::take(&mut lock(&self.recorder.messages))
    }
    /// Power requests since last asked.
    pub fn take_power(&self) -> Vec<PowerEvent> {
        std::mem::take(&mut lock(&self.recorder.power))
    }
    /// What the devices claim now.
    pub fn claims(&self) -> Claims {
        lock(&self.recorder.claims).clone()
    }
    /// Memory mappings since last asked.
    pub fn take_mappings(&self) -> Vec<Mapping> {
        std::mem::take(&mut lock(&self.recorder.mappings))
    }

    /// Resets every device.
    pub fn reset(&mut self) {
        self.bus.reset();
    }

    /// Saves every device, resets it and loads it again. A scenario that does this at any step must go on
    /// as if nothing had happened; interrupt lines are back at their levels without a test seeing edges.
    pub fn save_load(&mut self) {
        let saved: Vec<(String, Saved)> = self.bus.save().expect("every device saves at any instant");
        let address = self.bus.config_address();
        let edges = lock(&self.recorder.edges).len();
        self.bus.reset();
        for (name, saved) in &saved {
            let loaded = self.bus.load(name, saved).expect("the device is still there");
            loaded.unwrap_or_else(|e| panic!("{name} does not load what it saved: {e}"));
        }
        self.bus.set_config_address(address);
        self.bus.remap_all();
        lock(&self.recorder.edges).truncate(edges);
        let again = self.bus.save().expect("every device saves after a load");
        for ((name, before), (_, after)) in saved.iter().zip(&again) {
            assert!(before == after, "{name} does not save what it loaded: {before:?} became {after:?}");
        }
    }

    /// A hostile guest: `steps` random accesses to `windows` (space, first, length), with time passing
    /// and now and then a save and load. The devices must only survive.
    pub fn batter(&mut self, windows: &[(Space, u64, u64)], seed: u64, steps: u32) {
        let mut random = Random::new(seed);
        for step in 0..steps {
            if step % 509 == 0 {
                self.save_load();
            }
            if random.below(8) == 0 {
                let scale = random.below(31);
                self.advance(random.below(1 << scale));
            }
            let Some(&(space, first, len)) = windows.get(random.below(windows.len() as u64) as usize) else {
                return;
            };
            let address = first + random.below(len);
            let target = match space {
                Space::Pio => Target::Pio(address as u16),
                Space::Mmio => Target::Mmio(address),
            };
            let size = [Size::B1, Size::B1, Size::B2, Size::B4, Size::B8][random.below(5) as usize];
            let value = random.draw() ^ random.draw() << 32;
            match random.below(3) {
                0 => drop(self.get(target, size)),
                _ => self.put(target, size, value),
            }
        }
    }
}
