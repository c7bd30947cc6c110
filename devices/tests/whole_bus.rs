//! A hostile guest on a whole machine: ten million accesses at random over every port, the memory that
//! devices answer and their configuration space. Nothing may panic, block or grow.
//!
//! `AILURUS_STEPS` asks for more, `AILURUS_SEED` for a run that was seen.

use std::sync::Arc;

use devices::board::{ChildHandles, DeviceContext, DeviceHandles, MakeError, NicConfig, OfferedBus};
use devices::chipset::debugcon::Debugcon;
use devices::chipset::dma8237::Dma8237;
use devices::chipset::fw_cfg::{FwCfg, Item};
use devices::chipset::i440fx::I440fx;
use devices::chipset::piix3::{Piix3, PirqRouter};
use devices::chipset::piix4_pm::{Options, Piix4Pm};
use devices::chipset::port92::Port92;
use devices::chipset::post::Post;
use devices::chipset::pvpanic::Pvpanic;
use devices::input::i8042::{I8042, Wires};
use devices::interrupt::IsaInterrupts;
use devices::interrupt::ioapic::Ioapic;
use devices::interrupt::pic::Pic;
use devices::models;
use devices::serial::uart16550::{PORTS, Serial};
use devices::storage::drive::DriveImage;
use devices::storage::ide::{DriveConfig, Geometry, Ide, Labels};
use devices::timer::hpet::{Hpet, legacy, legacy::Legacy};
use devices::timer::pit::Pit;
use devices::timer::rtc::Rtc;
use devices::xen::platform::{PlatformOps, Unplug};
use devices_core::audio::{AudioBackend, TestAudio};
use devices_core::block::{BlockBackend, Inline, MemoryStore};
use devices_core::chardev::{CharBackend, Null};
use devices_core::dma::Dma;
use devices_core::entropy::{Entropy, Foretold};
use devices_core::events::{DeviceEvent, Observer};
use devices_core::irq::{IrqBank, IrqLine};
use devices_core::model::{BusType, Kind, Model, Properties, Value};
use devices_core::net::TestNet;
use devices_core::pci::BarKind;
use devices_core::power::Power;
use devices_core::rig::{Random, Recorder, Rig};
use devices_core::vhost_user::{Needs, TestBackEnd, VhostUser};
use devices_core::vsock::{TestVsock, VsockBackend};
use devices_core::{Dir, Sbdf, Size, Ticket, Waker, Wiring};
use hypervisor::{GuestRam, MsiTarget, RamBlock};
use ioreq::{Data, Request, Target};

/// Where the machine has something in memory space, beside BARs, and where it may be told to have it.
const MEMORY: [(u64, u64); 4] =
    [(0xa_0000, 0x2_0000), (0xfec0_0000, 0x1000), (0xfed0_0000, 0x400), (0, 1 << 40)];

/// Ports where there is most to break, beside BARs and all the others.
const PORTS_OF_NOTE: [(u16, u16); 15] = [
    (0x00, 0x20),
    (0x20, 2),
    (0x40, 0x32),
    (0x80, 0x13),
    (0xa0, 2),
    (0xc0, 0x20),
    (0x170, 8),
    (0x1ce, 0x2a),
    (0x3b0, 0x50),
    (0x510, 12),
    (0xc000, 0x20),
    (0x600, 0x40),
    (0xe0, 12),
    (0x2000, 24),
    (0x5e0, 0x20),
];

fn disk(rig: &Rig) -> Arc<dyn BlockBackend> {
    let store = MemoryStore::new(vec![0x5a; 1 << 20], false);
    Arc::new(Inline::new(Arc::new(store), rig.wiring()))
}

/// Hears what PV drivers ask for, and does nothing.
struct Nobody;

impl PlatformOps for Nobody {
    fn unplug(&self, _what: Unplug, _done: Ticket) {}
    fn lock_roms(&self, _locked: bool) {}
    fn drivers(&self, _product: u16, build: u32) -> bool {
        build.is_multiple_of(2)
    }
    fn log(&self, line: &str) {
        assert!(line.len() <= 4 * 512);
    }
}

impl Observer for Nobody {
    fn observe(&self, _: DeviceEvent) {}
}

/// What a device of the list asks of this machine.
struct Context {
    ram: GuestRam,
    recorder: Arc<Recorder>,
    disk: Arc<dyn BlockBackend>,
    isa: IrqBank,
    /// The guest is one of Xen's with PV drivers.
    platform: bool,
}

impl DeviceContext for Context {
    fn ram(&self) -> GuestRam {
        self.ram.clone()
    }
    fn isa_irq(&self, pin: u32) -> IrqLine {
        self.isa.line(pin)
    }
    fn msi(&self) -> Arc<dyn MsiTarget> {
        self.recorder.clone()
    }
    fn power(&self) -> Arc<dyn Power> {
        self.recorder.clone()
    }
    fn add_ram(&self, _name: &str, len: u64) -> Result<RamBlock, MakeError> {
        Ok(hypervisor::memory::new_block(0, len)?)
    }
    fn network(&self, _: &Properties, _: &Wiring, _: u32) -> Result<NicConfig, MakeError> {
        Ok(NicConfig { backend: Arc::<TestNet>::default(), mac: [2, 0, 0, 0, 0, 1] })
    }
    fn drive(&self, _: &Properties) -> Result<DriveImage, MakeError> {
        let (geometry, translation) = Geometry::guess(self.disk.info().size / 512, &[]);
        Ok(DriveImage { backend: self.disk.clone(), geometry, translation })
    }
    fn chardev(&self, _: &Properties, _: Waker, _: u32) -> Result<Option<Arc<dyn CharBackend>>, MakeError> {
        Ok(Some(Arc::new(Null)))
    }
    fn medium(&self, _: &Properties) -> Result<Option<Arc<dyn BlockBackend>>, MakeError> {
        Ok(Some(self.disk.clone()))
    }
    fn entropy(&self, _: &str) -> Arc<dyn Entropy> {
        Arc::new(Foretold)
    }
    fn observer(&self, _: &str) -> Arc<dyn Observer> {
        Arc::new(Nobody)
    }
    fn vhost_user(
        &self,
        _: &Properties,
        _: &Wiring,
        _: u32,
        needs: Needs,
    ) -> Result<Arc<dyn VhostUser>, MakeError> {
        Ok(Arc::new(TestBackEnd::new(needs.features, &vec![0; needs.config])))
    }
    fn vsock(&self, _: &Properties, _: &Wiring, _: u32) -> Result<Arc<dyn VsockBackend>, MakeError> {
        Ok(Arc::<TestVsock>::default())
    }
    fn audio(&self, _: &Properties, _: &str) -> Result<Arc<dyn AudioBackend>, MakeError> {
        Ok(Arc::<TestAudio>::default())
    }
    fn vcpus(&self) -> u32 {
        2
    }
    fn saves_device_memory(&self) -> bool {
        false
    }
    fn xen_platform(&self) -> Option<Arc<dyn PlatformOps>> {
        self.platform.then(|| -> Arc<dyn PlatformOps> { Arc::new(Nobody) })
    }
}

/// A machine, and where the BARs of its functions are.
struct Pc {
    rig: Rig,
    ports: Vec<(u16, u16)>,
    memory: Vec<(u64, u64)>,
}

/// A model's defaults; where it takes them not, since somebody must choose, its numbers are 1.
fn usual(model: &'static Model) -> Properties {
    let mut properties = Properties::new(model);
    for (name, value) in [("tag", Value::Text("share".into())), ("virtio-id", Value::Uint(4))] {
        if model.property(name).is_some() {
            properties.put(name, value).unwrap();
        }
    }
    // Where no other device is.
    if let Some((_, port)) =
        [("isa-serial", 0x5e0), ("isa-debugcon", 0x5f0)].iter().find(|(of, _)| *of == model.name)
    {
        properties.put("iobase", Value::Uint(*port)).unwrap();
    }
    if (model.check)(&properties).is_err() {
        for property in model.properties.iter().filter(|property| matches!(property.kind, Kind::Uint(_))) {
            properties.put(property.name, Value::Uint(1)).unwrap();
        }
    }
    properties
}

/// The first three UHCIs of the ICH9 are companions of its first EHCI; the others are alone.
fn master_of<'a>(
    model: &Model,
    properties: &mut Properties,
    buses: &'a [(&Model, OfferedBus)],
) -> Option<&'a OfferedBus> {
    let number = model.name.strip_prefix("ich9-usb-uhci")?.parse::<u64>().ok()?;
    let (_, master) = buses.iter().find(|(of, _)| number <= 3 && of.name == "ich9-usb-ehci1")?;
    properties.put("firstport", Value::Uint(2 * (number - 1))).unwrap();
    Some(master)
}

/// One device of every model that can be asked for, in slots from 2 on, and then as their further functions, with its BARs mapped as the firmware does.
fn add_models(pc: &mut Pc, isa: &IrqBank) {
    let Pc { rig, ports, memory } = pc;
    let context = |platform| Context {
        ram: rig.ram().clone(),
        recorder: rig.recorder(),
        disk: disk(rig),
        isa: isa.clone(),
        platform,
    };
    // A network card of a guest of Xen's holds its interrupt back when it was loaded, and is not as it was.
    let (on_xen, context) = (context(true), context(false));
    let (mut slot, mut function, mut port, mut address) = (2, 0, 0xc100, 0xe000_0000);
    let mut buses = Vec::new();
    for model in models::all() {
        let Some(make) = models::maker(model) else { continue };
        // Its ports are the VGA's, which is there.
        if model.name == "virtio-vga" {
            continue;
        }
        let wiring = rig.wiring();
        let line = 10 + u32::from(slot % 2);
        let mut properties = usual(model);
        let master = master_of(model, &mut properties, &buses);
        let handles = DeviceHandles {
            name: model.name,
            wiring: &wiring,
            intx: [0; 4].map(|_| isa.line(line)),
            master,
            board: if model.name.starts_with("xen") { &on_xen } else { &context },
        };
        let made = make(&properties, handles).unwrap();
        buses.extend(made.bus.map(|bus| (model, bus)));
        let sbdf = (model.bus == BusType::Pci).then(|| Sbdf::bus0(slot, function));
        rig.bus().attach_slot(made.slot.clone(), &wiring, sbdf).unwrap();
        let bars: Vec<_> = made.slot.lock().pci().map(|config| config.bars().collect()).unwrap_or_default();
        for (index, kind, size, _) in bars {
            let reg = 0x10 + 4 * u16::from(index);
            if kind == BarKind::Io {
                port = u64::from(port).next_multiple_of(size) as u16;
                rig.config_write(slot, function, reg, Size::B4, port.into());
                ports.push((port, size as u16));
                port += size as u16;
            } else if index < 6 {
                address = u64::from(address).next_multiple_of(size) as u32;
                rig.config_write(slot, function, reg, Size::B4, address);
                memory.push((address.into(), size));
                address += size as u32;
            }
        }
        if sbdf.is_some() {
            rig.config_write(slot, function, 4, Size::B2, 7);
            (slot, function) = if slot < 31 { (slot + 1, function) } else { (2, function + 1) };
        }
    }
    // One of each that hangs on such a bus, on every one.
    for (at, (of, bus)) in buses.iter().enumerate() {
        let offers = of.offers;
        let mut fitting: Vec<_> = models::all().filter(|model| offers.contains(&model.bus)).collect();
        let mut behind = Vec::new();
        if offers.contains(&BusType::Usb) {
            // A controller has two ports; each begins with another device. All are behind a hub, where one can be.
            fitting.retain(|model| !["usb-hub", "usb-uas"].contains(&model.name));
            behind = fitting.clone();
            let turn = at % fitting.len();
            fitting.rotate_left(turn);
            fitting.truncate(1);
        }
        let make = |model: &'static Model, properties: &Properties, bus: &OfferedBus| {
            let make = models::child_maker(model).unwrap();
            make(properties, ChildHandles { id: None, bus, board: &context })
        };
        let child = |model: &'static Model, properties: &Properties| make(model, properties, bus).is_ok();
        for model in fitting {
            assert!(child(model, &usual(model)), "{}", model.name);
        }
        let fast =
            offers.contains(&BusType::Usb) && ["ehci", "xhci"].iter().any(|fast| of.name.contains(fast));
        if fast {
            // Units on the bus of a device that has no speed of the others.
            let uas = models::find("usb-uas").unwrap();
            let units = make(uas, &usual(uas), bus).unwrap().bus.unwrap();
            for (name, lun) in [("scsi-hd", 0), ("scsi-cd", 1)] {
                let unit = models::find(name).unwrap();
                let mut properties = usual(unit);
                properties.put("lun", Value::Uint(lun)).unwrap();
                properties.put("scsi-id", Value::Uint(0)).unwrap();
                assert!(make(unit, &properties, &units).is_ok(), "{name}");
            }
        }
        let hub = models::find("usb-hub").unwrap();
        if !behind.is_empty() && child(hub, &usual(hub)) {
            // It has the first port that was free.
            let at = if fast { 3 } else { 2 };
            for (model, port) in behind.into_iter().zip(1u64..) {
                let mut properties = usual(model);
                properties.put("port", Value::Uint(port << 8 | at)).unwrap();
                assert!(child(model, &properties), "{}", model.name);
            }
        }
    }
}

/// QEMU's `pc-i440fx`, as the program builds it, with all that can be put into it.
fn machine() -> Pc {
    let mut rig = Rig::with_ram(2 << 20);
    let power = rig.recorder();
    let pic = Pic::new(Arc::new(|_| ()));
    let ioapic = Ioapic::new(rig.recorder());
    let gsis = IsaInterrupts::new(pic.handle(), Some(ioapic.handle()));
    let isa = IrqBank::new(24, Arc::new(gsis));
    let wiring = rig.wiring();
    rig.attach(pic, &wiring);
    rig.attach(ioapic, &wiring);
    rig.attach_pci(I440fx::new(2 << 20, None), &wiring, 0, 0);
    let router = Arc::new(PirqRouter::new(isa.clone()));
    rig.attach_pci(Piix3::new(router, power.clone()), &wiring, 1, 0);

    let wiring = rig.wiring();
    let hard = DriveConfig::Disk {
        backend: disk(&rig),
        geometry: Geometry::of_size(2048),
        labels: Labels::default(),
    };
    let cd = DriveConfig::Cd { medium: Some(disk(&rig)), labels: Labels::default() };
    let irqs = [isa.line(14), isa.line(15)];
    let ide = Ide::new(&wiring, rig.ram().clone(), irqs, [Some(hard), None, Some(cd), None]);
    rig.attach_pci(ide, &wiring, 1, 1);
    let wiring = rig.wiring();
    let pm = Piix4Pm::new(Options::default(), isa.line(9), power.clone(), Arc::new(|_| ()), &wiring);
    rig.attach_pci(pm, &wiring, 1, 3);
    rig.attach(Post::default(), &rig.wiring());

    let legacy = Legacy::new(&isa);
    let inputs = legacy.inputs();
    let wiring = rig.wiring();
    rig.attach(Hpet::new(&wiring, isa.clone(), legacy), &wiring);
    let wiring = rig.wiring();
    rig.attach(Pit::new(&wiring, inputs.line(legacy::PIT)), &wiring);
    let wiring = rig.wiring();
    rig.attach(Rtc::new(&wiring, inputs.line(legacy::RTC), 0), &wiring);
    let (keyboard, mouse) = (isa.line(1), isa.line(12));
    let wires = Wires { keyboard, mouse, a20: Arc::new(|_| ()), power: power.clone() };
    let wiring = rig.wiring();
    rig.attach(I8042::new(wires), &wiring);
    rig.attach(Port92::new(rig.irqs().line(200), power.clone()), &wiring);
    rig.attach(Pvpanic::new(power), &wiring);
    rig.attach(Dma8237::new(Dma::always(rig.ram().clone())), &wiring);
    let items = vec![Item::key(5, [1, 2, 3, 4]), Item::file("etc/e820", vec![7; 5000])];
    rig.attach(FwCfg::new(items, Dma::always(rig.ram().clone())).unwrap(), &wiring);
    rig.attach(Debugcon::new(Box::new(|_| ())), &wiring);
    for (index, (_, irq)) in PORTS.iter().enumerate() {
        let wiring = rig.wiring();
        rig.attach(Serial::new(index, isa.line(*irq), Arc::new(Null), &wiring), &wiring);
    }
    let mut pc = Pc { rig, ports: PORTS_OF_NOTE.to_vec(), memory: MEMORY.to_vec() };
    add_models(&mut pc, &isa);
    pc
}

fn one_of<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.below(of.len() as u64) as usize]
}

fn target(pc: &Pc, random: &mut Random) -> Target {
    match random.below(8) {
        0 | 1 => Target::Pio(random.draw() as u16),
        2 | 3 => {
            let (first, len) = one_of(random, &pc.ports);
            Target::Pio(first + random.below(len.into()) as u16)
        }
        4 | 5 => {
            let (first, len) = one_of(random, &pc.memory);
            Target::Mmio(first + random.below(len))
        }
        6 => Target::PciConfig {
            sbdf: Sbdf::bus0(random.below(16) as u8, random.below(4) as u8),
            reg: random.below(256) as u16,
        },
        _ => Target::PciConfig { sbdf: Sbdf(random.draw() as u32), reg: random.draw() as u16 },
    }
}

fn request(pc: &Pc, random: &mut Random) -> Request {
    let dir = if random.below(3) == 0 { Dir::Read } else { Dir::Write };
    let size = [Size::B1, Size::B2, Size::B4, Size::B8][random.below(4) as usize];
    let string = random.below(64) == 0;
    let data = match dir {
        _ if string => Data::Guest(random.below(4 << 20)),
        Dir::Read => Data::Value(0),
        Dir::Write => Data::Value(random.draw() & size.mask()),
    };
    let count = if string { 1 + random.below(600) as u32 } else { 1 };
    Request { vcpu: 0, target: target(pc, random), dir, size, data, count, descending: random.below(8) == 0 }
}

/// Resident memory of this process in KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn from_environment(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn ten_million_random_accesses_do_no_harm() {
    let steps = from_environment("AILURUS_STEPS").unwrap_or(10_000_000);
    let seed = from_environment("AILURUS_SEED").unwrap_or(2026);
    println!("AILURUS_SEED={seed} AILURUS_STEPS={steps}");
    let mut random = Random::new(seed);
    let mut pc = machine();
    let mut settled = 0;
    for step in 0..steps {
        let request = request(&pc, &mut random);
        let rig = &mut pc.rig;
        rig.request(&request);
        if random.below(32) == 0 {
            let scale = random.below(21);
            rig.advance(random.below(1 << scale));
        }
        if step % 50_000 == 0 {
            rig.save_load();
        }
        if step % 1_000_000 == 999_999 {
            rig.reset();
        }
        if step % 4096 == 0 {
            // The rig's own logs are not the devices' memory.
            rig.take_edges();
            rig.take_messages();
            rig.take_mappings();
            rig.take_power();
        }
        if step == steps / 10 {
            settled = resident();
        }
    }
    let grown = resident().saturating_sub(settled);
    assert!(grown < 32 << 10, "{grown} KiB grew while {steps} accesses were made");
}

/// Whatever lies in the registers. Six timers of the board have a floor of ten microseconds each.
#[test]
fn nothing_that_a_guest_leaves_behind_keeps_the_host_awake() {
    const MOST: u64 = 700;
    let mut random = Random::new(7);
    let mut pc = machine();
    let mut most = 0;
    for step in 0..400_000 {
        let request = request(&pc, &mut random);
        pc.rig.request(&request);
        if step % 400 == 0 {
            // What was begun is done with first.
            pc.rig.advance(1_000_000);
            most = most.max(pc.rig.wakes(1_000_000));
            assert!(most <= MOST, "{most} in a millisecond");
        }
        if step % 20_000 == 0 {
            pc.rig.reset();
        }
    }
    assert!(most > 0);
    println!("{most} in a millisecond at most");
}
