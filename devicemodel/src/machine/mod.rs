//! The machine: a hypervisor, a bus and the devices on it, and what a person can do with them.

mod ahead;
mod audio;
mod back_ends;
mod balloon;
mod boot;
mod build;
mod chardevs;
mod counted;
mod disks;
mod firmware;
mod flash;
mod generation;
mod info;
mod inputs;
mod interrupts;
mod media;
mod network;
mod plug;
mod recording;
mod rest;
mod rom;
mod screens;
mod serial;
mod vsock;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use backends::audio::Mixer;
use backends::chardev::{self, CharError};
use backends::image::{ImageError, Images};
use backends::net::NetError;
use devices::chipset::fw_cfg::FwCfg;
use devices::chipset::piix4_pm::Piix4Pm;
use devices::display::Picture;
use devices::input::i8042::I8042;
use devices::input::keys::Key;
use devices::storage::ide::{Ide, Unplugged};
use devices::timer::rtc::Rtc;
use devices::xen::platform::Unplug;
use devices_core::bus::Bus;
use devices_core::irq::IrqBank;
use devices_core::picture::{DisplayAdapter, Frame};
use devices_core::power::{Power, PowerEvent};
use devices_core::{DeviceCell, Node, Ticket};
use hypervisor::debug::Debug;
use hypervisor::{Hypervisor, Laggards, Pin};
use thiserror::Error;

use crate::config::{ConfigError, GuestConfig};
use crate::monitor::protocol::QmpError;
use crate::notices::{Notice, Notifier};
use crate::qdisk::{PvDisks, QdiskError};
use crate::run::ending::Ending;
use crate::saved;
use crate::trace::Border;
use crate::trace::record::HostEvent;
use crate::vnc::Console;
pub use ahead::Preopened;
pub use build::MachineHandles;
pub(crate) use chardevs::prepare_line;
use disks::CdDrive;
pub(crate) use firmware::split_ram;
pub use inputs::Inputs;
use interrupts::{Controllers, Dispatcher};
pub(crate) use media::open as open_source;
pub(crate) use network::open_dump;
pub use recording::recorded;
pub(crate) use rest::PausedMachine;
pub use serial::Terminal;

/// Why a machine was not built.
#[derive(Debug, Error)]
pub enum BuildError {
    /// The configuration, where only opening the files shows it.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A disk image.
    #[error("{0}")]
    Image(#[from] ImageError),
    /// A file that the configuration names.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: PathBuf,
        /// What the host said.
        #[source]
        source: std::io::Error,
    },
    /// A serial port's other end.
    #[error("serial port {index}: {source}")]
    Serial {
        /// 0 is COM1.
        index: usize,
        /// What is wrong with it.
        #[source]
        source: CharError,
    },
    /// The other end of a line that a device names.
    #[error("chardev {id}: {source}")]
    Chardev {
        /// Which.
        id: String,
        /// What is wrong with it.
        #[source]
        source: CharError,
    },
    /// The host's end of a network.
    #[error("netdev {id}: {source}")]
    Network {
        /// Its name.
        id: String,
        /// What is wrong with it.
        #[source]
        source: NetError,
    },
    /// The firmware.
    #[error("{0}")]
    Firmware(#[from] ::firmware::locate::LocateError),
    /// The kernel to boot directly.
    #[error("{path}: {source}")]
    Kernel {
        /// The kernel.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ::firmware::kernel::KernelError,
    },
    /// The hypervisor.
    #[error("{0}")]
    Hypervisor(#[from] hypervisor::Error),
    /// The machine's own description is contradictory.
    #[error("the machine cannot be put together: {0}")]
    Inconsistent(String),
}

impl BuildError {
    /// Whether the person asked for something that cannot be, and it did not just go wrong.
    pub fn is_configuration(&self) -> bool {
        !matches!(self, BuildError::Hypervisor(_) | BuildError::Inconsistent(_))
    }
}

/// Why images were not lent or taken back.
#[derive(Debug, Error)]
pub(crate) enum LendError {
    #[error("{0}")]
    Image(#[from] ImageError),
    #[error("{0}")]
    PvDisks(#[from] QdiskError),
}

/// A machine. Built paused; see [`Machine::start`].
pub struct Machine {
    config: GuestConfig,
    hypervisor: Arc<dyn Hypervisor>,
    bus: Bus,
    controllers: Option<Controllers>,
    isa: IrqBank,
    /// None in a machine without ACPI.
    pm: Option<Arc<DeviceCell<Piix4Pm>>>,
    /// None where the guest's firmware has nothing to ask.
    fw_cfg: Option<Arc<DeviceCell<FwCfg>>>,
    ide: Arc<DeviceCell<Ide>>,
    keyboard: Arc<DeviceCell<I8042>>,
    /// Keyboards and pointers that were put in.
    others: inputs::Others,
    /// What can be looked at.
    display: Option<Arc<screens::Screens>>,
    /// The PCI bus, and what was put on it beside the PC's own parts.
    plugged: plug::Plugged,
    networks: Arc<network::Networks>,
    chardevs: chardevs::Chardevs,
    sounds: audio::Sounds,
    cds: Mutex<Vec<Arc<CdDrive>>>,
    /// Images that the monitor's clients have opened.
    nodes: media::Nodes,
    rtc: Clock,
    /// Who hears of power-off and reset.
    power: Arc<dyn Power>,
    /// The same, with nobody between who takes down what devices ask for.
    switch: Arc<dyn Power>,
    /// Slots that the guest has ejected.
    ejected: Arc<plug::Ejected>,
    /// Disks that were unplugged and are being flushed; the vCPU waits for the ticket.
    leaving: Mutex<Vec<(Vec<Unplugged>, Ticket)>>,
    /// vCPUs by index: the id that each was plugged with, empty for those of the start.
    cpus: Mutex<BTreeMap<u32, String>>,
    blocks: Arc<disks::Blocks>,
    /// The images that this process has open.
    images: Images,
    /// PV disks, under Xen.
    pv_disks: Option<Arc<PvDisks>>,
    terminals: Vec<Terminal>,
    notifier: Notifier,
    /// The vCPUs are to go on as soon as nothing moves any more for what a reset cut off.
    waiting: AtomicBool,
    thread: Option<JoinHandle<()>>,
    border: Border,
}

/// The real-time clock, and what it would show by itself.
pub(crate) struct Clock {
    /// None where the hypervisor has it.
    clock: Option<Arc<DeviceCell<Rtc>>>,
    /// What it showed at the start, in seconds since 1970.
    start: i64,
    /// How far that was ahead of the host's time.
    ahead: i64,
}

impl Machine {
    /// What it was built from.
    pub fn config(&self) -> &GuestConfig {
        &self.config
    }
    /// Who runs it.
    pub fn hypervisor(&self) -> &dyn Hypervisor {
        &*self.hypervisor
    }
    /// Its devices.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }
    /// The ISA wires: 16, or 24 where the IOAPIC is ours.
    pub fn isa(&self) -> &IrqBank {
        &self.isa
    }
    /// An interrupt acknowledge cycle: the vector of the 8259 pair, where it is ours.
    pub fn acknowledge(&self) -> Option<u8> {
        self.controllers.as_ref().map(|own| own.pic.acknowledge())
    }
    /// Where the serial ports lead.
    pub fn terminals(&self) -> &[Terminal] {
        &self.terminals
    }

    /// Starts the vCPU threads; the vCPUs stand still until [`resume`](Machine::resume).
    pub fn start(&mut self) -> std::io::Result<()> {
        let hypervisor = self.hypervisor.clone();
        let (bus, controllers) = (self.bus.clone(), self.controllers.clone());
        let notifier = self.notifier.clone();
        let clock = self.config.clock;
        let run = move || {
            let events = notifier.clone();
            let ended = hypervisor.run(
                &mut |_vcpu| Box::new(Dispatcher::new(bus.view(), controllers.clone(), clock)),
                Arc::new(move |event| events.notify(Notice::Cpu(event))),
            );
            if let Err(error) = ended {
                tracing::error!("the vCPUs cannot run: {error}");
            }
            // It also ends by itself, when a domain is gone.
            notifier.notify(Notice::Quit);
        };
        self.thread = Some(std::thread::Builder::new().name("hypervisor".into()).spawn(run)?);
        Ok(())
    }

    /// Serves the PV disks of the Xen domain too. An image that a disk has open is shared.
    pub(crate) fn serve_pv_disks(&mut self, domid: u16) -> Result<(), QdiskError> {
        let blocks = self.blocks.clone();
        let shared = Box::new(move |path: &Path| blocks.image_of(path));
        self.pv_disks = Some(Arc::new(PvDisks::here(domid, shared, self.images.clone())?));
        Ok(())
    }

    /// The PV disks of the Xen domain are served already.
    pub(crate) fn have_pv_disks(&mut self, disks: PvDisks) {
        self.pv_disks = Some(Arc::new(disks));
    }

    /// Stops the vCPUs and guest time, and waits until they stand. Disks finish what they have begun.
    pub fn pause(&self) {
        self.waiting.store(false, Ordering::Release);
        self.hypervisor.pause();
        self.networks.pause();
        if let Some(disks) = &self.pv_disks {
            disks.pause();
        }
    }
    /// The same in bounded time; an error names the vCPUs that do not stand still yet. May be called again.
    pub(crate) fn pause_within(&self, patience: Duration) -> Result<(), Laggards> {
        self.waiting.store(false, Ordering::Release);
        self.hypervisor.pause_within(patience)?;
        self.networks.pause();
        if let Some(disks) = &self.pv_disks {
            disks.pause();
        }
        Ok(())
    }
    /// Lets them go on. After a reset they do as soon as what was in flight before is over, which
    /// [`settle`](Machine::settle) sees to: the guest must not find its memory or its disks changed by that.
    pub fn resume(&self) {
        if !self.bus.drained() {
            if !self.waiting.swap(true, Ordering::AcqRel) {
                self.remind();
            }
            return;
        }
        self.waiting.store(false, Ordering::Release);
        if let Some(disks) = &self.pv_disks {
            disks.resume();
        }
        self.hypervisor.resume();
        self.networks.resume();
    }
    /// Power-on state of everything but RAM. Paused.
    pub fn reset(&self) {
        self.border.host(|| HostEvent::Reset, || self.bus.reset());
        self.renew_boot_order();
        self.hypervisor.reset();
    }
    /// Ends the vCPU threads and lets the disks finish.
    pub fn shut_down(&mut self) {
        self.shut_down_in_stages(saved::PATIENCE, &|_| ());
    }
    /// The same, with somebody who watches that it comes to an end.
    pub(crate) fn shut_down_watched(&mut self, end: &Ending, asked_for: bool) {
        let patience = if asked_for { saved::PATIENCE_AT_THE_END } else { saved::PATIENCE };
        self.shut_down_in_stages(patience, &|stage| end.stage(stage));
    }
    fn shut_down_in_stages(&mut self, patience: Duration, stage: &dyn Fn(&'static str)) {
        stage("a vCPU");
        // It may be waiting for a host that hangs.
        self.bus.let_go();
        self.hypervisor.pause();
        self.hypervisor.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a vCPU thread ended by a fault of ours");
        }
        stage("a PV disk");
        self.pv_disks = None;
        stage("a network");
        self.networks.shut_down();
        stage("a disk");
        if let Err(error) = saved::quiesce_within(&self.bus, patience, &|| false) {
            tracing::error!("at the end: {error}");
        }
        stage("sound");
        self.sounds.end();
        stage("a serial port");
        chardev::flush_all();
        stage("the recording");
        self.end_recording();
    }

    /// Presses the power button.
    pub fn press_power_button(&self) {
        let press = || self.pm.iter().for_each(|pm| pm.lock().press_power_button());
        self.border.host(|| HostEvent::PowerButton, press);
    }
    /// Asks for a power-off or reset in the guest's place, as a device does: the owner of a domain hears of it, too.
    pub(crate) fn request_power(&self, event: PowerEvent) {
        self.switch.request(event);
    }
    /// Gives every vCPU an NMI (LINT1).
    pub(crate) fn inject_nmi(&self) -> Result<(), QmpError> {
        if self.hypervisor.capabilities().stopped_by_others {
            return Err(QmpError::generic("the vCPUs are Xen's: xl trigger DOMAIN nmi"));
        }
        let pins = self.hypervisor.irq();
        pins.set(Pin::Nmi, true);
        pins.set(Pin::Nmi, false);
        Ok(())
    }
    /// The screen now; none without a display adapter.
    pub fn frame(&self) -> Option<Box<dyn Frame>> {
        self.display.as_ref().map(|display| display.frame())
    }
    /// A head of the display adapter of that id.
    pub(crate) fn head(&self, device: &str, head: u32) -> Result<Box<dyn Frame>, QmpError> {
        let found = self.display.as_ref().and_then(|display| display.head(device, head));
        let is_there = || self.plugged.spec(|_, spec| spec.id.as_deref() == Some(device)).is_some();
        found.ok_or_else(|| match is_there() {
            true => {
                QmpError::generic(format!("Device '{device}' (head {head}) is not bound to a QemuConsole"))
            }
            false => QmpError::device_not_found(device),
        })
    }
    /// A copy of it.
    pub fn screen(&self) -> Option<Picture> {
        self.frame().map(|frame| Picture::of(&*frame))
    }
    /// Takes emulated devices away; `done` is completed by [`settle`](Machine::settle) when their data is safe.
    pub fn unplug(&self, what: Unplug, done: Ticket) {
        let media = if what.contains(Unplug::DISKS) {
            self.ide.lock().unplug_disks(false)
        } else if what.contains(Unplug::AUX_DISKS) {
            self.ide.lock().unplug_disks(true)
        } else {
            Vec::new()
        };
        if what.contains(Unplug::NICS) {
            self.unplug_cards();
        }
        self.leaving().push((media, done));
    }
    /// Lets go of unplugged disks whose data is safe, and lets the vCPUs go on that waited for the end of what a
    /// reset cut off. True while there is more of that: ask again soon.
    pub fn settle(&self) -> bool {
        if self.waiting.load(Ordering::Acquire) {
            self.resume();
        }
        let mut leaving = self.leaving();
        for (media, done) in std::mem::take(&mut *leaving) {
            let media: Vec<Unplugged> =
                media.into_iter().filter_map(|mut medium| (!medium.settled()).then_some(medium)).collect();
            if media.is_empty() {
                done.complete(0);
            } else {
                leaving.push((media, done));
            }
        }
        !leaving.is_empty() || self.plugged.is_leaving() || self.waiting.load(Ordering::Acquire)
    }
    /// The guest wakes from suspend to RAM.
    pub fn wake_up(&self) -> Result<(), hypervisor::Error> {
        self.border.host(|| HostEvent::WakeUp, || self.pm.iter().for_each(|pm| pm.lock().wake_up()));
        self.hypervisor.wake_up()
    }
    fn leaving(&self) -> std::sync::MutexGuard<'_, Vec<(Vec<Unplugged>, Ticket)>> {
        self.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
    /// Whether there is a key of that name (QKeyCode).
    pub fn knows_key(&self, name: &str) -> bool {
        Key::by_name(name).is_some()
    }
    /// Presses or releases a key.
    pub fn key(&self, name: &str, down: bool) {
        if let Some(key) = Key::by_name(name) {
            self.console().press(key, down);
        }
    }

    /// Lets the devices go on after a save or a load.
    pub fn unquiesce(&self) {
        self.border.host(|| HostEvent::Resume, || crate::saved::unquiesce(&self.bus));
    }

    /// Moves the mouse and its wheel; `buttons` are those held now (see [`I8042::mouse`]).
    pub fn mouse(&self, dx: i32, dy: i32, dz: i32, buttons: u8) {
        self.console().mouse(dx, dy, dz, buttons);
    }
    /// Puts the tablet at a place, of 0 to 0x7fff in each axis that is given.
    pub fn tablet(&self, x: Option<u16>, y: Option<u16>, dz: i32, buttons: u8) {
        self.console().tablet(x, y, dz, buttons);
    }
    /// Keyboards and pointers.
    pub(crate) fn inputs(&self) -> Inputs {
        Inputs::new(self.keyboard.clone(), self.others.clone())
    }
    /// What is seen of the paused guest.
    pub(crate) fn debug(&self) -> Option<&dyn Debug> {
        self.hypervisor.debug()
    }
    /// Has the event loop come round.
    pub(crate) fn remind(&self) {
        self.notifier.notify(Notice::Device);
    }
    /// For who has it come round from elsewhere.
    pub(crate) fn notifier(&self) -> Notifier {
        self.notifier.clone()
    }

    /// The sound of that place, or of the devices that name none, for those who listen.
    pub(crate) fn sound(&self, audiodev: Option<&str>) -> Option<Mixer> {
        self.sounds.mixer(audiodev)
    }

    /// Screen, keyboard and mouse for a viewer.
    pub fn console(&self) -> Console {
        let display = self.display.clone().map(|display| display as Arc<dyn DisplayAdapter>);
        Console::new(display, self.inputs(), self.border.clone())
    }

    /// Everything as a tree.
    pub fn inspect(&self) -> Node {
        let mut tree = Node::default();
        tree.value("name", &self.config.name);
        tree.value("time", format_args!("{:.3} s", self.hypervisor.clock().now() as f64 / 1e9));
        self.hypervisor.inspect(&mut tree);
        if let Some(disks) = &self.pv_disks {
            disks.inspect(tree.child("pv-disk"));
        }
        let devices = tree.child("device");
        for (name, slot) in self.bus.slots() {
            let node = devices.child(&name);
            node.value("accesses", slot.accesses());
            let mut device = slot.lock();
            device.inspect(node);
            if let Some(config) = device.pci() {
                config.inspect(node.child("pci"));
            }
        }
        tree
    }
}
