//! The machine: a hypervisor, a bus and the devices on it, and what a person can do with them.

mod build;
mod disks;
mod firmware;
mod interrupts;
mod serial;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use backends::chardev::{self, CharError};
use backends::image::ImageError;
use devices::chipset::piix4_pm::Piix4Pm;
use devices::display::Picture;
use devices::display::vga::Vga;
use devices::input::i8042::I8042;
use devices::input::keys::Key;
use devices::interrupt::ioapic::IoapicHandle;
use devices::interrupt::pic::PicHandle;
use devices_core::bus::Bus;
use devices_core::{Node, Slot};
use hypervisor::Hypervisor;
use thiserror::Error;

use crate::config::{ConfigError, GuestConfig};
use crate::monitor::protocol::QmpError;
use crate::power::{Notice, Notifier};
pub use build::Host;
use disks::CdDrive;
use interrupts::Dispatcher;

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

/// A machine. Built paused; see [`Machine::start`].
pub struct Machine {
    config: GuestConfig,
    hypervisor: Arc<dyn Hypervisor>,
    bus: Bus,
    pic: PicHandle,
    ioapic: IoapicHandle,
    pm: Arc<Slot<Piix4Pm>>,
    keyboard: Arc<Slot<I8042>>,
    vga: Arc<Slot<Vga>>,
    cds: Vec<CdDrive>,
    announcements: Vec<String>,
    notifier: Notifier,
    thread: Option<JoinHandle<()>>,
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
    /// Lines that a person must see, such as the paths of pseudo-terminals.
    pub fn announcements(&self) -> &[String] {
        &self.announcements
    }

    /// Starts the vCPU threads; the vCPUs stand still until [`resume`](Machine::resume).
    pub fn start(&mut self) -> std::io::Result<()> {
        let hypervisor = self.hypervisor.clone();
        let (bus, pic, ioapic) = (self.bus.clone(), self.pic.clone(), self.ioapic.clone());
        let notifier = self.notifier.clone();
        let run = move || {
            let events = notifier.clone();
            let ended = hypervisor.run(
                &mut |_vcpu| Box::new(Dispatcher::new(bus.view(), pic.clone(), ioapic.clone())),
                Arc::new(move |event| events.notify(Notice::Cpu(event))),
            );
            if let Err(error) = ended {
                tracing::error!("the vCPUs cannot run: {error}");
                notifier.notify(Notice::Quit);
            }
        };
        self.thread = Some(std::thread::Builder::new().name("hypervisor".into()).spawn(run)?);
        Ok(())
    }

    /// Stops the vCPUs and guest time, and waits until they stand.
    pub fn pause(&self) {
        self.hypervisor.pause();
    }
    /// Lets them go on.
    pub fn resume(&self) {
        self.hypervisor.resume();
    }
    /// Power-on state of everything but RAM. Paused.
    pub fn reset(&self) {
        self.bus.reset();
        self.hypervisor.reset();
    }
    /// Ends the vCPU threads and lets the disks finish.
    pub fn shut_down(&mut self) {
        self.hypervisor.pause();
        self.hypervisor.stop();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("a vCPU thread ended by a fault of ours");
        }
        if let Err(error) = crate::saved::quiesce(&self.bus) {
            tracing::error!("at the end: {error}");
        }
        chardev::flush_all();
    }

    /// Presses the power button.
    pub fn press_power_button(&self) {
        self.pm.lock().press_power_button();
    }
    /// The screen now.
    pub fn screen(&self) -> Picture {
        self.vga.lock().screen()
    }
    /// Whether there is a key of that name (QKeyCode).
    pub fn knows_key(&self, name: &str) -> bool {
        Key::by_name(name).is_some()
    }
    /// Presses or releases a key.
    pub fn key(&self, name: &str, down: bool) {
        if let Some(key) = Key::by_name(name) {
            self.keyboard.lock().key(key, down);
        }
    }

    /// Everything as a tree.
    pub fn inspect(&self) -> Node {
        let mut tree = Node::default();
        tree.value("name", &self.config.name);
        tree.value("time", format_args!("{:.3} s", self.hypervisor.clock().now() as f64 / 1e9));
        self.hypervisor.inspect(&mut tree);
        let devices = tree.child("device");
        for (name, slot) in self.bus.slots() {
            slot.lock().inspect(devices.child(&name));
        }
        tree
    }

    fn cd(&self, device: &str) -> Result<&CdDrive, QmpError> {
        let found =
            self.cds.iter().find(|cd| cd.name == device || (device == "cdrom" && self.cds.len() == 1));
        found.ok_or_else(|| QmpError::device_not_found(device))
    }
    /// Takes the medium out of a CD drive.
    pub fn eject(&self, device: &str, force: bool) -> Result<(), QmpError> {
        self.cd(device)?.medium.eject(force).map_err(|error| QmpError::generic(error.to_string()))
    }
    /// Puts a medium into a CD drive.
    pub fn change_medium(&self, device: &str, file: &Path) -> Result<(), QmpError> {
        let drive = self.cd(device)?;
        let backend = drive.open(file).map_err(|error| QmpError::generic(error.to_string()))?;
        drive.medium.insert(backend, false).map_err(|error| QmpError::generic(error.to_string()))
    }
}
