//! What a guest is made of: the one description that command lines and xl.cfg files are turned into.

mod audio;
mod back_end;
pub(crate) mod bus;
mod chardev;
mod device;
mod disk;
mod drive;
mod features;
mod generation;
mod isa;
mod network;
mod path;
mod usb;
mod vsock;

use std::path::PathBuf;

use ::firmware::locate;
use devices::serial::uart16550::PORTS;
use devices_core::uuid;
use hypervisor_soft::CpuModel;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use audio::{AudioDriver, AudiodevConfig};
pub use back_end::{BackEndConfig, BackEndPlace};
pub use chardev::ChardevConfig;
pub use device::{DeviceSpec, OldVga};
pub(crate) use device::{bus_of, check as check_devices};
pub use disk::{CacheMode, DiskBus, DiskConfig, DiskFormat, DiskKind};
pub use features::{BootOptions, Features};
pub(crate) use network::{Card, MOST_OF_A_FRAME, USUAL_CARD, check as check_networks, check_dumps};
pub use network::{DumpConfig, NetdevConfig};

/// A configuration that cannot be run. Each is one sentence for the person who wrote it.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ConfigError {
    /// A value that is not one of those known.
    #[error("{what}: '{found}' is not known; expected {expected}")]
    Value {
        /// Option or key.
        what: String,
        /// What was given.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// Values that do not go together or are out of range.
    #[error("{0}")]
    Invalid(String),
}

impl ConfigError {
    /// Shorthand for [`ConfigError::Value`].
    pub fn value(what: &str, found: &str, expected: &str) -> ConfigError {
        ConfigError::Value { what: what.into(), found: found.into(), expected: expected.into() }
    }
}

/// Where a serial port goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SerialConfig {
    /// The port is not there.
    None,
    /// The port is there and leads nowhere.
    Null,
    /// Standard input and output; a terminal is put in raw mode.
    Stdio,
    /// A new pseudo-terminal, whose path is printed.
    Pty,
    /// Output to a file, written anew; no input.
    File(PathBuf),
    /// Output behind what a file has; no input.
    Append(PathBuf),
    /// A unix socket that we listen on.
    Unix(PathBuf),
    /// A unix socket that somebody else listens on.
    Connect(PathBuf),
}

impl SerialConfig {
    /// Reads `stdio`, `pty`, `file:PATH`, `unix:PATH`, `none`.
    pub fn parse(text: &str) -> Result<SerialConfig, ConfigError> {
        let path = |rest: &str| if rest.is_empty() { None } else { Some(PathBuf::from(rest)) };
        let parsed = match text.split_once(':') {
            None if text == "none" => Some(SerialConfig::None),
            None if text == "null" => Some(SerialConfig::Null),
            None if text == "stdio" => Some(SerialConfig::Stdio),
            None if text == "pty" => Some(SerialConfig::Pty),
            Some(("file", rest)) => path(rest).map(SerialConfig::File),
            Some(("unix", rest)) => path(rest).map(SerialConfig::Unix),
            _ => None,
        };
        parsed.ok_or_else(|| ConfigError::value("serial", text, "stdio, pty, file:PATH, unix:PATH or none"))
    }
}

/// How guest time runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum ClockMode {
    /// Follows the host.
    #[default]
    Host,
    /// Counts instructions: a run repeats exactly.
    Icount,
}

/// How the CPU of our own runs the guest's code. The guest cannot tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum CpuTier {
    /// It is interpreted.
    #[value(name = "1")]
    One,
    /// All of it is translated to the host's; an error where the host does not allow that.
    #[value(name = "2")]
    Two,
    /// What runs often is translated, where the host allows it.
    #[default]
    Auto,
}

/// Who runs the vCPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
pub enum HypervisorChoice {
    /// The best that works here.
    #[default]
    Auto,
    /// Our own CPU.
    Soft,
    /// /dev/kvm; not built yet.
    Kvm,
    /// A Xen domain, which xl makes: see install-xen.
    Xen,
}

/// What to do when the guest ends in some way (xl.cfg's `on_poweroff` and friends).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Action {
    /// The program ends.
    Destroy,
    /// The machine starts again.
    Restart,
    /// The machine stands still for a look at it.
    Preserve,
    /// Nothing: the guest goes on. Only a crash can be taken so.
    Ignore,
}

impl Action {
    /// Reads xl.cfg's words.
    pub fn parse(key: &str, text: &str) -> Result<Action, ConfigError> {
        match text {
            "destroy" => Ok(Action::Destroy),
            "restart" | "rename-restart" | "soft-reset" => Ok(Action::Restart),
            "preserve" => Ok(Action::Preserve),
            _ => Err(ConfigError::value(key, text, "destroy, restart or preserve")),
        }
    }
}

/// What is done when a watchdog's time is over (QEMU's `-action watchdog=`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WatchdogAction {
    /// The guest is reset, as if it had done so itself.
    #[default]
    Reset,
    /// The power button is pressed.
    Shutdown,
    /// It is switched off, whatever a power-off does otherwise.
    Poweroff,
    /// It stands still until `cont`.
    Pause,
    /// The log says so.
    Debug,
    /// Nothing but the event.
    None,
    /// Every vCPU gets an NMI.
    InjectNmi,
}

impl WatchdogAction {
    /// All.
    pub const ALL: [WatchdogAction; 7] = [
        WatchdogAction::Reset,
        WatchdogAction::Shutdown,
        WatchdogAction::Poweroff,
        WatchdogAction::Pause,
        WatchdogAction::Debug,
        WatchdogAction::None,
        WatchdogAction::InjectNmi,
    ];

    /// QEMU's word.
    pub fn name(self) -> &'static str {
        match self {
            WatchdogAction::Reset => "reset",
            WatchdogAction::Shutdown => "shutdown",
            WatchdogAction::Poweroff => "poweroff",
            WatchdogAction::Pause => "pause",
            WatchdogAction::Debug => "debug",
            WatchdogAction::None => "none",
            WatchdogAction::InjectNmi => "inject-nmi",
        }
    }

    /// QEMU's words, for people.
    pub fn words() -> String {
        WatchdogAction::ALL.map(WatchdogAction::name).join(", ")
    }

    /// By QEMU's word.
    pub fn find(name: &str) -> Option<WatchdogAction> {
        WatchdogAction::ALL.into_iter().find(|action| action.name() == name)
    }

    fn is_usual(&self) -> bool {
        *self == WatchdogAction::Reset
    }
}

/// A guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestConfig {
    /// For people and SMBIOS.
    pub name: String,
    /// RFC 4122 bytes, in the order of the text form.
    pub uuid: [u8; 16],
    /// What a `vmgenid` shows that was given no number, in the order of the text form; chosen anew when the guest starts or
    /// is restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<[u8; 16]>,
    /// RAM in MiB.
    pub memory_mib: u64,
    /// Number of vCPUs at the start.
    pub vcpus: u32,
    /// Number of vCPUs that there can be, where vCPUs can be added; none: no more than at the start.
    #[serde(default)]
    pub max_vcpus: Option<u32>,
    /// Disks and CD drives.
    pub disks: Vec<DiskConfig>,
    /// BIOS boot order: letters of `a` (floppy), `c` (disk), `d` (CD), `n` (network).
    pub boot: String,
    /// What else the firmware is told about booting.
    #[serde(default)]
    pub boot_options: BootOptions,
    /// Parts of the PC that there are.
    #[serde(default)]
    pub features: Features,
    /// A kernel to boot directly.
    #[serde(default, with = "path")]
    pub kernel: Option<PathBuf>,
    /// Its initial RAM disk.
    #[serde(default, with = "path")]
    pub initrd: Option<PathBuf>,
    /// Its command line.
    pub cmdline: String,
    /// A firmware image instead of the SeaBIOS that is found.
    #[serde(default, with = "path")]
    pub firmware: Option<PathBuf>,
    /// How guest time runs.
    pub clock: ClockMode,
    /// What the vCPUs are, in the words of QEMU's `-cpu`; the usual one if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// COM1 to COM4.
    pub serial: Vec<SerialConfig>,
    /// Devices that are no part of every PC, in the order in which those with no address get one.
    #[serde(default = "usual_devices")]
    pub devices: Vec<DeviceSpec>,
    /// Where the cables of network cards lead.
    #[serde(default)]
    pub netdevs: Vec<NetdevConfig>,
    /// Lines that devices name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chardevs: Vec<ChardevConfig>,
    /// Where sound goes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiodevs: Vec<AudiodevConfig>,
    /// Which of these hears the PC's speaker; none: nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speaker: Option<String>,
    /// Processes that serve devices.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub back_ends: Vec<BackEndConfig>,
    /// Files that get what passes some of them.
    #[serde(skip)]
    pub dumps: Vec<DumpConfig>,
    /// The number of the note that says what the guest was given of the host: see [`ledger`](crate::ledger).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noted: Option<String>,
    /// What builds that had no such list wrote in its place. Nobody else has it.
    #[doc(hidden)]
    #[serde(default, rename = "vga", skip_serializing)]
    pub old_vga: Option<OldVga>,
    /// The real-time clock shows local time, not UTC.
    pub localtime: bool,
    /// Seconds since 1970 that the real-time clock starts with; the host's time if not given.
    pub rtc_base: Option<u64>,
    /// What a power-off does.
    pub on_poweroff: Action,
    /// What a reset does.
    pub on_reboot: Action,
    /// What a crash does.
    pub on_crash: Action,
    /// What a watchdog does whose time is over.
    #[serde(default, skip_serializing_if = "WatchdogAction::is_usual")]
    pub on_watchdog: WatchdogAction,
}

impl Default for GuestConfig {
    fn default() -> GuestConfig {
        GuestConfig {
            name: "guest".into(),
            uuid: [0; 16],
            generation: None,
            memory_mib: 256,
            vcpus: 1,
            max_vcpus: None,
            disks: Vec::new(),
            boot: "cd".into(),
            boot_options: BootOptions::default(),
            features: Features::default(),
            kernel: None,
            initrd: None,
            cmdline: String::new(),
            firmware: None,
            clock: ClockMode::Host,
            cpu: None,
            serial: vec![SerialConfig::None],
            devices: usual_devices(),
            netdevs: Vec::new(),
            chardevs: Vec::new(),
            audiodevs: Vec::new(),
            speaker: None,
            back_ends: Vec::new(),
            dumps: Vec::new(),
            noted: None,
            old_vga: None,
            localtime: false,
            rtc_base: None,
            on_poweroff: Action::Destroy,
            on_reboot: Action::Restart,
            on_crash: Action::Destroy,
            on_watchdog: WatchdogAction::Reset,
        }
    }
}

/// Most vCPUs of a guest: those that Xen gives an HVM guest. Another hypervisor may have fewer.
pub const MAX_VCPUS: u32 = hypervisor_xen::MAX_VCPUS;
/// Most RAM of a guest in MiB (1 TiB): the CPU announces 40 address bits.
pub const MAX_MEMORY_MIB: u64 = 1 << 20;

impl GuestConfig {
    /// Checks what can be checked without touching a file, and gives every disk its place.
    pub fn check(&mut self) -> Result<(), ConfigError> {
        let invalid = |text: String| Err(ConfigError::Invalid(text));
        if self.memory_mib == 0 {
            return invalid("a guest needs memory: give at least 1 MiB".into());
        }
        if self.memory_mib > MAX_MEMORY_MIB {
            return invalid(format!(
                "memory: {} MiB is more than the {MAX_MEMORY_MIB} MiB that a guest can have",
                self.memory_mib
            ));
        }
        if self.vcpus == 0 || self.vcpus > MAX_VCPUS {
            return invalid(format!("vcpus: {} is not between 1 and {MAX_VCPUS}", self.vcpus));
        }
        if self.max_vcpus.is_some_and(|most| most < self.vcpus || most > MAX_VCPUS) {
            return invalid(format!("maxvcpus is not between {} and {MAX_VCPUS}", self.vcpus));
        }
        if self.kernel.is_none() && self.initrd.is_some() {
            return invalid("an initial RAM disk needs a kernel: give --kernel too".into());
        }
        if self.kernel.is_none() && !self.cmdline.is_empty() {
            return invalid("a kernel command line needs a kernel: give --kernel too".into());
        }
        if self.firmware.is_some() && self.disks.iter().any(|disk| disk.bus == DiskBus::Flash) {
            return invalid(
                "the firmware lies in flash memory (pflash) or in a ROM, and both were given".into(),
            );
        }
        self.cpu_model().map_err(|why| ConfigError::Invalid(format!("cpu: {why}")))?;
        check_order("boot", &self.boot)?;
        if let Some(once) = &self.boot_options.once {
            check_order("boot once", once)?;
        }
        if let Some(vga) = self.old_vga.take() {
            self.devices = vga.devices();
        }
        // What every machine has may be asked for, too.
        self.devices.retain(|device| !device.is_always_there());
        device::check(&self.devices)?;
        chardev::check(&self.chardevs, &self.devices)?;
        network::check(&self.netdevs, &self.devices)?;
        audio::check(&self.audiodevs, &self.devices)?;
        audio::check_speaker(&self.audiodevs, self.speaker.as_deref())?;
        back_end::check(&self.back_ends, &self.devices)?;
        network::check_dumps(&self.dumps, &self.netdevs)?;
        if self.serial.len() > 4 {
            return invalid("a PC has four serial ports".into());
        }
        let lines = self.serial.iter().chain(self.chardevs.iter().map(|chardev| &chardev.line));
        if lines.filter(|line| **line == SerialConfig::Stdio).count() > 1 {
            return invalid("only one serial port or console can be on standard input and output".into());
        }
        drive::settle(&mut self.disks, &mut self.devices)?;
        usb::settle(&mut self.devices)?;
        isa::settle(&self.serial, &mut self.devices)?;
        bus::settle(&mut self.devices)
    }
}

impl GuestConfig {
    /// The model of the vCPUs, and what of it cannot be had.
    pub fn cpu_model(&self) -> Result<(CpuModel, Vec<String>), String> {
        self.cpu.as_deref().map_or_else(|| Ok((CpuModel::default(), Vec::new())), CpuModel::parse)
    }

    /// Which of the PC's four serial ports there are.
    pub fn serial_ports(&self) -> [bool; PORTS.len()] {
        isa::serial_ports(&self.serial, &self.devices)
    }

    /// Bytes of memory that devices bring into the guest.
    pub fn device_memory(&self) -> u64 {
        self.devices.iter().map(DeviceSpec::memory).sum()
    }

    /// Most bytes of their own that devices are saved with, beside their registers.
    pub(crate) fn saved_memory(&self) -> u64 {
        self.device_memory() + self.devices.iter().map(DeviceSpec::pictures).sum::<u64>()
    }
}

/// The firmware image that is meant by `bios` (none: the SeaBIOS that is found), `ovmf` or a path.
pub fn firmware_of(words: &str) -> Result<Option<PathBuf>, ConfigError> {
    match words {
        "bios" => Ok(None),
        "ovmf" => locate::ovmf().map(Some).map_err(|error| ConfigError::Invalid(error.to_string())),
        path => Ok(Some(path.into())),
    }
}

/// What a guest has when nobody says anything else.
fn usual_devices() -> Vec<DeviceSpec> {
    vec![DeviceSpec::vga(16)]
}

/// Whether these letters are a boot order.
fn check_order(what: &str, order: &str) -> Result<(), ConfigError> {
    if let Some(letter) = order.chars().find(|c| !"acdn".contains(*c)) {
        let expected = "letters of a (floppy), c (disk), d (CD), n (network)";
        return Err(ConfigError::value(what, &letter.to_string(), expected));
    }
    if order.len() > 3 {
        return Err(ConfigError::Invalid(format!("{what}: '{order}' has more than three letters")));
    }
    Ok(())
}

/// Reads a UUID in its text form.
pub fn parse_uuid(text: &str) -> Result<[u8; 16], ConfigError> {
    let wanted = "32 hexadecimal digits, as in 6b3e0fa2-0c0f-4b0e-8d43-0f2a3c4d5e6f";
    uuid::parse(text).ok_or_else(|| ConfigError::value("uuid", text, wanted))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_ports_are_read_as_qemu_writes_them() {
        assert_eq!(SerialConfig::parse("stdio"), Ok(SerialConfig::Stdio));
        assert_eq!(SerialConfig::parse("unix:/tmp/s"), Ok(SerialConfig::Unix("/tmp/s".into())));
        let error = SerialConfig::parse("file:").unwrap_err().to_string();
        assert_eq!(error, "serial: 'file:' is not known; expected stdio, pty, file:PATH, unix:PATH or none");
    }

    #[test]
    fn impossible_guests_are_refused_with_a_sentence() {
        let bad = |change: fn(&mut GuestConfig)| {
            let mut config = GuestConfig::default();
            change(&mut config);
            config.check().unwrap_err().to_string()
        };
        assert!(bad(|c| c.memory_mib = 0).contains("at least 1 MiB"));
        assert!(bad(|c| c.vcpus = 0).contains("between 1 and"));
        assert!(bad(|c| c.boot = "x".into()).contains("boot: 'x'"));
        assert!(bad(|c| c.initrd = Some("i".into())).contains("--kernel"));
        assert!(bad(|c| c.serial = vec![SerialConfig::Stdio, SerialConfig::Stdio]).contains("only one"));
        assert!(bad(|c| c.disks = vec![DiskConfig::new("a"); 5]).contains("four"));
        assert_eq!(GuestConfig::default().check(), Ok(()));
    }
}
