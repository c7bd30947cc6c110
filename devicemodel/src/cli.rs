//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use devices::display::vga;

use crate::config::{
    AudiodevConfig, BackEndConfig, Card, ClockMode, ConfigError, CpuTier, DeviceSpec, DiskConfig,
    GuestConfig, HypervisorChoice, SerialConfig, USUAL_CARD, WatchdogAction, firmware_of,
};
use crate::display::Display;
use crate::ledger::Known;
use crate::lockstep::Lockstep;
use crate::qemu::{self, keyval::Fields};
use crate::restore::Given;
use crate::sandbox::User;
use crate::xlcfg;

/// Runs x86 guests on emulated PC devices: on a CPU of its own, or on Xen, started by its toolstack in the
/// place of QEMU (`ailurus install-xen`).
///
/// `ailurus run --memory 512 --cdrom debian.iso --serial stdio` boots a CD with the guest's first serial
/// port on this terminal (Ctrl-A x ends). `ailurus run guest.cfg` takes a guest from an xl.cfg(5) file.
#[derive(Debug, Parser)]
#[command(name = "ailurus", version, max_term_width = 100)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Boot a guest and run it until it ends.
    ///
    /// Exit status: 0 the guest powered off, 1 a failure of ours, 2 bad usage or configuration, 3 the guest
    /// crashed, 4 the time was up.
    Run(Box<RunArgs>),
    /// Save a running guest to a file; its process ends then, unless told otherwise.
    Save(SaveArgs),
    /// Continue a saved guest in a new process.
    ///
    /// The whole file is checked before anything else is opened. What it names of this host (images, a kernel,
    /// serial ports' files and sockets) is opened if you gave it to this guest before, and saved the guest here with
    /// `ailurus save`. Otherwise give it here, or --trust-paths. Without either it is shown, and the status is 2.
    Restore(Box<RestoreArgs>),
    /// Give a recording (`run --record-io`) to the devices again, and stop where they do something else.
    ///
    /// No CPU runs, so it takes a fraction of the time. Beside the file it needs what --kernel and --initrd
    /// named, and a firmware, but no disk image. Exit status: 0 the devices did what was recorded, 1 they did
    /// not (device, register, both values and the place in the file are printed), or the file is damaged.
    Replay(ReplayArgs),
    /// Write the guest's screen to a PNG file.
    Screenshot(ScreenshotArgs),
    /// Print the machine as a tree, while it runs.
    Inspect(InspectArgs),
    /// Stop the guest's CPUs and its time.
    Pause(MonitorArgs),
    /// Let a paused guest go on.
    Resume(MonitorArgs),
    /// Press the reset button.
    Reset(MonitorArgs),
    /// Press the power button (ACPI).
    Powerdown(MonitorArgs),
    /// End the guest's process at once.
    Quit(MonitorArgs),
    /// Press keys together, by QEMU's names: `ailurus send-key --monitor unix:m ctrl-alt-delete`.
    SendKey(SendKeyArgs),
    /// List the device models that a guest can have; with a name, what can be set on one.
    Devices(DevicesArgs),
    /// Put this program where a Xen toolstack finds it, in the place of QEMU.
    ///
    /// Says what it would do; --apply does it.
    InstallXen(InstallXenArgs),
    /// Serve a Xen domain's PV disks for the device model at standard input, which starts this itself.
    #[command(hide = true)]
    PvDisks(PvDisksArgs),
    /// Open the images of a Xen domain's PV disks for who serves them, at standard input.
    #[command(hide = true)]
    PvOpener(DomainArgs),
}

/// What a guest is made of.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// An xl.cfg(5) file; options on the command line change what it says.
    pub guest: Option<PathBuf>,
    /// Who runs the guest's CPUs.
    #[arg(long, value_enum, default_value_t)]
    pub hypervisor: HypervisorChoice,
    /// Name of the guest.
    #[arg(long)]
    pub name: Option<String>,
    /// RAM in MiB [default: 256].
    #[arg(long, short = 'm', value_name = "MiB")]
    pub memory: Option<u64>,
    /// Number of CPUs [default: 1].
    #[arg(long, value_name = "N")]
    pub vcpus: Option<u32>,
    /// A disk; may be given several times. A comma in the path is written twice. With `bus=pflash` it is flash memory instead:
    /// the first has firmware (OVMF's code), the second what that keeps (its variables).
    #[arg(
        long,
        value_name = "PATH[,id=NAME][,format=raw|qcow2][,bus=ide|virtio|scsi|pflash][,unit=N][,readonly][,snapshot][,cache=MODE]"
    )]
    pub disk: Vec<String>,
    /// A CD; may be given several times.
    #[arg(long, value_name = "PATH")]
    pub cdrom: Vec<PathBuf>,
    /// Where the cable of a network card leads; may be given several times, each is a card of its own. `user` needs no
    /// rights: the guest is 10.0.2.15, this host 10.0.2.2; `none`: no network cards [default: user].
    #[arg(long, value_name = "user[,hostfwd=tcp::PORT-:PORT]|tap:NAME|stream:PATH|vhost-user:PATH|none")]
    pub net: Vec<String>,
    /// What the card is; the first is that of the first --net.
    #[arg(long, value_name = "MODEL[,mac=MAC][,KEY=VALUE...]")]
    pub nic: Vec<String>,
    /// Another device, in QEMU's words: see `ailurus devices`.
    #[arg(long, value_name = "MODEL[,id=ID][,KEY=VALUE...]")]
    pub device: Vec<String>,
    /// A virtio memory balloon: the guest tells of pages that are free, and the host takes them; the monitor's `balloon`
    /// says how much the guest is to keep.
    #[arg(long)]
    pub balloon: bool,
    /// A virtio console (hvc0 in Linux); may be given several times. On a terminal Ctrl-A x ends the guest.
    #[arg(long, value_name = "stdio|pty|file:PATH|unix:PATH|null", num_args = 0..=1, require_equals = true,
        default_missing_value = "stdio")]
    pub console: Vec<String>,
    /// A line that a --device names (`chardev=ID`), in QEMU's words; or the socket of the process that serves a
    /// `vhost-user-` device. One that has gone is looked for again with `reconnect-ms`: the process then has the right to
    /// connect to Unix sockets. Or it comes by itself, with `server=on`.
    #[arg(long, value_name = "TYPE,id=ID[,KEY=VALUE...]")]
    pub chardev: Vec<String>,
    /// Share a folder with the guest, by virtiofsd, which ends with it: `mount -t virtiofs TAG /mnt` in Linux. May be given
    /// several times.
    #[arg(long, value_name = "DIR=TAG")]
    pub share: Vec<String>,
    /// Sockets between the guest and programs of the host's (virtio-vsock), as in Cloud Hypervisor. The guest connects to
    /// port P of CID 2, and that is the Unix socket PATH_P; a program connects to PATH, writes `CONNECT P` and a newline,
    /// and reads `OK` and a number when the guest has accepted. The guest then reaches whatever program of this host
    /// listens on such a socket.
    #[arg(long, value_name = "cid=N,socket=PATH")]
    pub vsock: Vec<String>,
    /// Boot order: letters of c (disk), d (CD), n (network) [default: cd].
    #[arg(long, value_name = "ORDER")]
    pub boot: Option<String>,
    /// A Linux kernel (bzImage) to boot directly.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Its initial RAM disk.
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Its command line.
    #[arg(long, value_name = "TEXT")]
    pub append: Option<String>,
    /// `bios`: the SeaBIOS that is found; `ovmf`: the UEFI that is found, which forgets its variables when the guest ends; or
    /// the path of a firmware image.
    #[arg(long, value_name = "bios|ovmf|PATH")]
    pub firmware: Option<String>,
    /// How guest time runs; `icount` makes a run repeat exactly.
    #[arg(long, value_enum)]
    pub clock: Option<ClockMode>,
    /// What the vCPUs are, as QEMU's -cpu: a model's name (`help` lists them), then +FEATURE and -FEATURE.
    #[arg(long, value_name = "MODEL[,+F][,-F]")]
    pub cpu: Option<String>,
    /// What the real-time clock shows first: utc, localtime, or seconds since 1970.
    #[arg(long, value_name = "utc|localtime|SECONDS")]
    pub rtc: Option<String>,
    /// What is done when a watchdog's time is over (--device i6300esb): reset, shutdown, poweroff, pause, debug, none,
    /// inject-nmi [default: reset].
    #[arg(long, value_name = "ACTION")]
    pub watchdog_action: Option<String>,
    /// Only say whether the guest could be made: nothing is opened but its configuration.
    #[arg(long)]
    pub check: bool,
    /// Host side of this process.
    #[command(flatten)]
    pub host: HostArgs,
}

/// The host side, the same for a new and a restored guest.
#[derive(Debug, Args)]
pub struct HostArgs {
    /// Where a serial port goes; the first is COM1, up to four.
    #[arg(long, value_name = "stdio|pty|file:PATH|unix:PATH|none")]
    pub serial: Vec<String>,
    /// Who sees the screen: VNC viewers (on this machine alone, if no place is given), or the first viewer that there is,
    /// which is started, or a page in a browser (on this machine alone, if no host is given), whose address is said.
    /// `ailurus screenshot` always shows it.
    #[arg(
        long,
        value_name = "none|vnc[=HOST:N|unix:PATH][,OPTION...]|viewer|web[=[HOST:]PORT]",
        default_value = "none"
    )]
    pub display: Display,
    /// Where the sound of a card goes that names it (`audiodev=ID`), or of all cards: nowhere, or to a WAV file. What was
    /// saved goes on in silence if it is not given.
    #[arg(
        long,
        value_name = "none,id=ID|wav,id=ID,path=PATH[,out.frequency=N][,out.channels=N][,out.format=F]"
    )]
    pub audiodev: Vec<String>,
    /// The PC's speaker is heard there. What was saved keeps its own.
    #[arg(long, value_name = "ID")]
    pub speaker: Option<String>,
    /// A socket for QMP, the machine protocol, and for the other subcommands.
    #[arg(long, value_name = "unix:PATH")]
    pub monitor: Option<String>,
    /// End with status 4 after so many seconds.
    #[arg(long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// How long a save or a pause waits for a processor or a disk that does not answer, and a command for a file,
    /// before it is given up.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub patience: u64,
    /// How our own CPU runs the guest's code. `ailurus inspect` shows by vCPU how many blocks were translated, how often
    /// they were entered from the interpreter and linked, and how many were dropped since the guest wrote to their page.
    #[arg(long, value_enum, default_value_t)]
    pub cpu_tier: CpuTier,
    /// Record every access, DMA and interrupt to a file, for `ailurus replay`.
    #[arg(long, value_name = "FILE")]
    pub record_io: Option<PathBuf>,
    /// Write what the guest is at chosen instants to a file, for `cargo xtask lockstep`; with `--clock icount`.
    #[arg(long, hide = true, value_name = "file=PATH,every=N")]
    pub lockstep: Option<Lockstep>,
    /// Whether the process gives up what the guest does not need: files other than those named here, and most system
    /// calls. Files that are named later go to it as `ailurus save` and `screenshot` hand them over, or lie in the
    /// folder of the monitor's socket, if that is the guest's own.
    #[arg(long, value_enum, default_value_t)]
    pub sandbox: Sandbox,
    /// Write what the firmware says on its debug port (0x402) to a file.
    #[arg(long, value_name = "FILE")]
    pub debugcon: Option<PathBuf>,
}

/// Whether a guest's process confines itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Sandbox {
    /// It does.
    #[default]
    On,
    /// It keeps what it was started with.
    Off,
}

/// Device models.
#[derive(Debug, Args)]
pub struct DevicesArgs {
    /// A model by its name: its properties are listed.
    pub model: Option<String>,
    /// The parts that every PC has, too.
    #[arg(long, short = 'a', conflicts_with = "model")]
    pub all: bool,
}

/// A guest's monitor.
#[derive(Debug, Args)]
pub struct MonitorArgs {
    /// The socket that `ailurus run --monitor` made.
    #[arg(long, value_name = "unix:PATH")]
    pub monitor: String,
}

/// Save.
#[derive(Debug, Args)]
pub struct SaveArgs {
    /// Which guest.
    #[command(flatten)]
    pub monitor: MonitorArgs,
    /// The file; one that is there is replaced when the save has succeeded. A device, a pipe and a folder are
    /// refused; /dev/null takes everything.
    pub file: PathBuf,
    /// Let the guest run on.
    #[arg(long, short = 'c', conflicts_with = "paused")]
    pub keep_running: bool,
    /// Leave the guest paused.
    #[arg(long, short = 'p')]
    pub paused: bool,
}

/// Restore.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The file that `ailurus save` wrote.
    pub file: PathBuf,
    /// What the file names of this host is right: open it.
    #[arg(long)]
    pub trust_paths: bool,
    /// A disk, in the place of the one that the file names; may be given several times, in the order of the places.
    #[arg(long, value_name = "PATH[,format=raw|qcow2][,unit=N][,readonly][,snapshot][,cache=MODE]")]
    pub disk: Vec<String>,
    /// Likewise a CD.
    #[arg(long, value_name = "PATH")]
    pub cdrom: Vec<PathBuf>,
    /// Likewise the kernel that was booted directly.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Likewise its initial RAM disk.
    #[arg(long, value_name = "FILE")]
    pub initrd: Option<PathBuf>,
    /// Likewise the networks, in their order.
    #[arg(long, value_name = "user[,hostfwd=tcp::PORT-:PORT]|tap:NAME|stream:PATH|vhost-user:PATH")]
    pub net: Vec<String>,
    /// Likewise processes that serve devices, by their ids.
    #[arg(long, value_name = "socket,id=ID,path=PATH[,server=on][,reconnect-ms=N]")]
    pub chardev: Vec<String>,
    /// Likewise the firmware.
    #[arg(long, value_name = "bios|ovmf|PATH")]
    pub firmware: Option<String>,
    /// Leave the guest paused until `ailurus resume`.
    #[arg(long, short = 'p')]
    pub paused: bool,
    /// Host side of this process.
    #[command(flatten)]
    pub host: HostArgs,
}

/// Replay.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The file that `--record-io` wrote.
    pub file: PathBuf,
}

/// Screenshot.
#[derive(Debug, Args)]
pub struct ScreenshotArgs {
    /// Which guest.
    #[command(flatten)]
    pub monitor: MonitorArgs,
    /// The PNG file.
    pub file: PathBuf,
}

/// Inspect.
#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Which guest.
    #[command(flatten)]
    pub monitor: MonitorArgs,
    /// Only this part of the tree, e.g. `device/ide` or `cpu/0`.
    pub node: Option<String>,
}

/// Keys.
#[derive(Debug, Args)]
pub struct SendKeyArgs {
    /// Which guest.
    #[command(flatten)]
    pub monitor: MonitorArgs,
    /// Keys pressed together, joined by dashes; several are pressed one after the other.
    #[arg(required = true)]
    pub keys: Vec<String>,
}

/// Installation under Xen.
#[derive(Debug, Args)]
pub struct InstallXenArgs {
    /// Do it.
    #[arg(long)]
    pub apply: bool,
    /// Root of the system to change [default: /, if that is a Xen host].
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// A guest's xl.cfg file: that guest gets its device_model_override; may be given several times.
    #[arg(long, value_name = "FILE")]
    pub guest: Vec<PathBuf>,
    /// All guests: take the place of the device model that the toolstack starts by itself.
    #[arg(long, conflicts_with = "undo")]
    pub all: bool,
    /// Everything as it was, apart from guests whose files are not given; the program stays while /etc/xen names it.
    #[arg(long)]
    pub undo: bool,
}

/// A domain.
#[derive(Debug, Args)]
pub struct DomainArgs {
    /// Its number.
    pub domid: u16,
}

/// A domain's PV disks, and what their process gives up.
#[derive(Debug, Args)]
pub struct PvDisksArgs {
    /// The domain's number.
    pub domid: u16,
    /// The process's root folder.
    #[arg(long)]
    pub chroot: Option<PathBuf>,
    /// Who it becomes: `UID:GID`, or a name.
    #[arg(long)]
    pub runas: Option<User>,
}

/// The path of `unix:PATH`.
pub fn unix_path(text: &str) -> Result<PathBuf, ConfigError> {
    let path = text.strip_prefix("unix:").filter(|path| !path.is_empty());
    path.map(PathBuf::from).ok_or_else(|| ConfigError::value("monitor", text, "unix:PATH"))
}

impl HostArgs {
    /// The places of sound that were asked for.
    pub fn audiodevs(&self) -> Result<Vec<AudiodevConfig>, ConfigError> {
        self.audiodev.iter().map(|text| AudiodevConfig::read(text)).collect()
    }
    /// The serial ports that were asked for.
    pub fn serial(&self) -> Result<Vec<SerialConfig>, ConfigError> {
        self.serial.iter().map(|text| SerialConfig::parse(text)).collect()
    }
}

/// What `--chardev` says.
fn back_ends(texts: &[String]) -> Result<Vec<BackEndConfig>, ConfigError> {
    texts.iter().map(|text| qemu::back_end(text)).collect()
}

impl RestoreArgs {
    /// What is given in the place of what the file names.
    pub fn given(&self) -> Result<Given, ConfigError> {
        Ok(Given {
            disks: self.disk.iter().map(|text| DiskConfig::parse(text)).collect::<Result<_, _>>()?,
            cds: self.cdrom.clone(),
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            firmware: self.firmware.as_deref().map(firmware_of).transpose()?,
            serial: self.host.serial()?,
            nets: self.net.clone(),
            back_ends: back_ends(&self.chardev)?,
            audiodevs: self.host.audiodevs()?,
            trust: self.trust_paths,
            known: Known::default(),
        })
    }
}

impl RunArgs {
    /// The guest that the file and the options describe, checked, and warnings about what means nothing.
    pub fn config(&self) -> Result<(GuestConfig, Vec<String>), ConfigError> {
        let mut config = GuestConfig::default();
        let mut warnings = Vec::new();
        if let Some(file) = &self.guest {
            let at_file = |why: String| ConfigError::Invalid(format!("{}: {why}", file.display()));
            // Not all of them are UTF-8.
            let text = std::fs::read(file).map_err(|error| at_file(error.to_string()))?;
            let entries = xlcfg::parse(&text).map_err(|error| at_file(error.to_string()))?;
            let found = xlcfg::apply(&entries, &mut config).map_err(|error| at_file(error.to_string()))?;
            warnings = found.into_iter().map(|warning| format!("{}: {warning}", file.display())).collect();
        }
        self.options(&mut config)?;
        // xl takes a file with a command line for no kernel; a person who gives one here is told.
        if config.kernel.is_none() && self.append.is_none() && !config.cmdline.is_empty() {
            warnings.push(format!("without a kernel its command line '{}' means nothing", config.cmdline));
            config.cmdline.clear();
        }
        config.check()?;
        // It was checked.
        warnings.extend(config.cpu_model().map(|(_, warnings)| warnings).unwrap_or_default());
        Ok((config, warnings))
    }

    /// A card for each `--net` and `--nic`, beyond those that a file has; one where nobody says anything.
    fn networks(&self, config: &mut GuestConfig) -> Result<(), ConfigError> {
        if self.net.iter().any(|to| to == "none") {
            if self.net.len() > 1 || !self.nic.is_empty() {
                return Err(ConfigError::Invalid("--net none goes with no other --net and no --nic".into()));
            }
            config.remove_cards();
            return Ok(());
        }
        let nobody = self.guest.is_none() && self.net.is_empty() && self.nic.is_empty();
        let least = if nobody { 1 } else { self.net.len().max(self.nic.len()) };
        if !self.nic.is_empty() {
            // Cards that are named take the place of a file's.
            config.remove_cards();
        }
        for index in config.netdevs.len()..least {
            let mut card = Card { model: USUAL_CARD.into(), ..Card::default() };
            if let Some(text) = self.nic.get(index) {
                let mut fields = Fields::parse(text, Some("model"));
                card.model = fields.take("model").unwrap_or(card.model);
                card.id = fields.take("id");
                card.properties = fields.rest();
            }
            config.add_card(&card)?;
        }
        for (netdev, to) in config.netdevs.iter_mut().zip(&self.net) {
            netdev.lead(to)?;
        }
        Ok(())
    }

    fn options(&self, config: &mut GuestConfig) -> Result<(), ConfigError> {
        fn replace<T: Clone>(at: &mut T, with: &Option<T>) {
            if let Some(value) = with {
                *at = value.clone();
            }
        }
        replace(&mut config.name, &self.name);
        replace(&mut config.memory_mib, &self.memory);
        replace(&mut config.vcpus, &self.vcpus);
        replace(&mut config.boot, &self.boot);
        replace(&mut config.cmdline, &self.append);
        replace(&mut config.clock, &self.clock);
        config.cpu = self.cpu.clone().or(config.cpu.take());
        config.kernel = self.kernel.clone().or(config.kernel.take());
        config.initrd = self.initrd.clone().or(config.initrd.take());
        if let Some(words) = &self.firmware {
            config.firmware = firmware_of(words)?;
        }
        for disk in &self.disk {
            config.disks.push(DiskConfig::parse(disk)?);
        }
        config.disks.extend(self.cdrom.iter().map(DiskConfig::cdrom));
        // A CD that is given with no disk beside it is there to be booted from.
        if self.boot.is_none() && self.guest.is_none() && self.disk.is_empty() && !self.cdrom.is_empty() {
            config.boot = "dc".into();
        }
        let serial = self.host.serial()?;
        if !serial.is_empty() {
            config.serial = serial;
        }
        config.audiodevs.extend(self.host.audiodevs()?);
        if self.host.speaker.is_some() {
            config.speaker.clone_from(&self.host.speaker);
        }
        self.networks(config)?;
        // Another VGA is there instead of the usual one, or the file's.
        let mut usual = config.devices.clone();
        usual.retain(|device| device.is_instead_of(vga::model::MODEL.name));
        for device in &self.device {
            let device = DeviceSpec::parse(device)?;
            config.devices.retain(|other| !usual.contains(other) || !device.is_instead_of(&other.model));
            config.devices.push(device);
        }
        for share in &self.share {
            config.add_share(share)?;
        }
        for vsock in &self.vsock {
            config.add_vsock(vsock)?;
        }
        for text in &self.chardev {
            let why = |why| ConfigError::Invalid(format!("chardev {text}: {why}"));
            let served = |id: &str| config.devices.iter().any(|device| device.back_end() == Some(id));
            if let Some(back_end) = qemu::back_end(text).ok().filter(|back_end| served(&back_end.id)) {
                config.back_ends.push(back_end);
                continue;
            }
            config.chardevs.push(qemu::device_line(text).map_err(why)?);
        }
        if self.balloon {
            config.devices.push(DeviceSpec::parse("virtio-balloon-pci,free-page-reporting=on")?);
        }
        for text in &self.console {
            config.add_console(SerialConfig::parse(text)?)?;
        }
        if let Some(action) = &self.watchdog_action {
            let wrong = || ConfigError::value("watchdog-action", action, &WatchdogAction::words());
            config.on_watchdog = WatchdogAction::find(action).ok_or_else(wrong)?;
        }
        match self.rtc.as_deref() {
            None | Some("utc") => {}
            Some("localtime") => config.localtime = true,
            Some(text) => {
                let wrong = || ConfigError::value("rtc", text, "utc, localtime or seconds since 1970");
                config.rtc_base = Some(text.parse().map_err(|_| wrong())?);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn run(args: &[&str]) -> Result<(GuestConfig, Vec<String>), ConfigError> {
        let all = ["ailurus", "run"].iter().chain(args);
        match Cli::try_parse_from(all).unwrap().command {
            Command::Run(run) => run.config(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn what_the_program_starts_itself_is_known_and_not_shown() {
        let cli = ["ailurus", crate::qdisk::SUBCOMMAND, "5", "--runas", "7:8", "--chroot", "/x"];
        let Command::PvDisks(disks) = Cli::try_parse_from(cli).unwrap().command else { panic!() };
        assert_eq!(disks.runas, Some(User::Ids { uid: 7, gid: 8 }));
        assert_eq!((disks.domid, disks.chroot), (5, Some("/x".into())));
        let cli = Cli::try_parse_from(["ailurus", crate::qdisk::opener::SUBCOMMAND, "5"]).unwrap();
        assert!(matches!(cli.command, Command::PvOpener(DomainArgs { domid: 5 })));
        assert!(!Cli::command().render_long_help().to_string().contains(crate::qdisk::opener::SUBCOMMAND));
        assert!(!Cli::command().render_long_help().to_string().contains(crate::qdisk::SUBCOMMAND));
    }

    #[test]
    fn options_make_a_guest() {
        let (config, warnings) =
            run(&["--memory", "512", "--vcpus", "2", "--cdrom", "a.iso", "--serial", "stdio"]).unwrap();
        assert_eq!((config.memory_mib, config.vcpus, config.boot.as_str()), (512, 2, "dc"));
        assert_eq!(config.disks[0].slot, Some(2));
        assert_eq!(config.serial, [SerialConfig::Stdio]);
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_display_that_is_asked_for_is_instead_of_the_files() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("guest.cfg");
        std::fs::write(&file, "name='x'").unwrap();
        let displays = |args: &[&str]| {
            let (config, _) = run(args).unwrap();
            let is_display = |device: &&DeviceSpec| device.is_instead_of(vga::model::MODEL.name);
            let names: Vec<_> =
                config.devices.iter().filter(is_display).map(|device| device.model.clone()).collect();
            names.join(" ")
        };
        let file = file.to_str().unwrap();
        assert_eq!(displays(&[]), "VGA");
        assert_eq!(displays(&[file]), "cirrus-vga");
        assert_eq!(displays(&[file, "--device", "VGA"]), "VGA");
        assert_eq!(displays(&[file, "--device", "virtio-vga"]), "virtio-vga");
        assert_eq!(displays(&["--device", "cirrus-vga"]), "cirrus-vga");
        run(&["--device", "VGA", "--device", "cirrus-vga"]).unwrap_err();
    }

    #[test]
    fn a_guest_has_one_card_unless_told() {
        let cards = |args: &[&str]| {
            let (config, _) = run(args).unwrap();
            let is_card = |device: &&DeviceSpec| device.netdev().is_some();
            let models: Vec<_> =
                config.devices.iter().filter(is_card).map(|card| card.model.clone()).collect();
            let kinds: Vec<_> = config.netdevs.iter().map(|netdev| netdev.kind.clone()).collect();
            (models.join(" "), kinds.join(" "))
        };
        let pair = |models: &str, kinds: &str| (models.to_owned(), kinds.to_owned());
        assert_eq!(cards(&[]), pair("e1000", "user"));
        assert_eq!(cards(&["--net", "none"]), pair("", ""));
        assert_eq!(cards(&["--net", "tap:t0", "--net", "user"]), pair("e1000 e1000", "tap user"));
        assert_eq!(cards(&["--nic", "e1000-82545em,mac=00:16:3e:00:00:01"]), pair("e1000-82545em", "user"));
        for wrong in [["--net", "none", "--net", "user"], ["--nic", "x", "--net", "user"]] {
            run(&wrong).unwrap_err();
        }
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("g.cfg");
        std::fs::write(&file, "name='a'\nmemory=64\n").unwrap();
        assert_eq!(cards(&[file.to_str().unwrap()]), pair("", ""), "xl gives a guest the cards of its file");
        std::fs::write(&file, "name='a'\nmemory=64\nvif=['model=e1000','model=e1000']\n").unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(cards(&[file, "--net", "stream:/s"]), pair("e1000 e1000", "stream user"));
        assert_eq!(cards(&[file, "--net", "none"]), pair("", ""));
    }

    #[test]
    fn options_change_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("g.cfg");
        std::fs::write(&file, "name='a'\nmemory=64\nvif=['model=e1000']\nvkb_device=1\n").unwrap();
        let file = file.to_str().unwrap();
        let (config, warnings) = run(&[file, "--memory", "128"]).unwrap();
        assert_eq!((config.name.as_str(), config.memory_mib), ("a", 128));
        assert!(warnings[0].ends_with("g.cfg: line 4: 'vkb_device' means nothing here yet and is ignored"));
        std::fs::write(file, "name=a\n").unwrap();
        let error = run(&[file]).unwrap_err().to_string();
        assert!(
            error.ends_with(
                "line 1, column 6: expected a string in quotes, a number or a list in brackets, found 'a'"
            ),
            "{error}"
        );
        assert!(run(&["/nonexistent.cfg"]).unwrap_err().to_string().contains("/nonexistent.cfg"));
    }
}
