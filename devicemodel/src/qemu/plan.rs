//! From QEMU's words to ours.

use std::path::PathBuf;

use devices::display::cirrus;
use devices::storage::ide::model as ide;
use devices::virtio::gpu;
use devices::xen;
use devices_core::model::{Properties, Value};

use super::boot::Panic;
use super::config::{
    BlockSource, Blockdev, Chardev, ChardevTarget, DeviceArg, Drive, Global, Incoming, Interface,
    MachineKind, QemuConfig, SocketAt, Vga, VncArg,
};
use super::drivers::{Driver, driver};
use super::network::{NicArg, OnBoard};
use super::options::NO_CPU;
use super::{QemuError, Refusal, TlsFiles, UserObject, blockdev, lines, network, objects, values};
use crate::config::{
    BackEndConfig, ClockMode, ConfigError, DeviceSpec, DiskBus, DiskConfig, DiskFormat, DiskKind,
    GuestConfig, HypervisorChoice, SerialConfig,
};
use crate::monitor::info::{NewDrive, Source};
use crate::qtest::server::{LogTo, QtestSocket};
use crate::sandbox;

/// A socket on which QMP is spoken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MonitorSocket {
    /// The line's name in `query-chardev`.
    pub label: String,
    /// Where it is.
    pub at: SocketAt,
}

/// The host side of a guest, whoever runs its vCPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostOptions {
    /// Where QMP is spoken.
    pub monitors: Vec<MonitorSocket>,
    /// The VNC server.
    pub vnc: Option<VncArg>,
    /// What it proves itself with, if its clients are to encrypt.
    pub vnc_tls: Option<TlsFiles>,
    /// Keyboard layout of VNC clients.
    pub keymap: Option<String>,
    /// The saved guest to continue.
    pub incoming: Option<Incoming>,
    /// What the process gives up once everything is open.
    pub sandbox: sandbox::Options,
    /// The vCPUs wait for the monitor's `cont`.
    pub paused: bool,
    /// Gets the process id.
    pub pidfile: Option<PathBuf>,
    /// Gets what firmware says on port 0x402.
    pub debugcon: Option<PathBuf>,
    /// The exit status says that the guest panicked.
    pub panic_fails: bool,
    /// Images that no device of the command line has, for those that are plugged later.
    pub images: Vec<LooseImage>,
    /// What was taken and changes nothing, each a sentence for the person.
    pub notes: Vec<String>,
    /// Secrets, random numbers and memory that the monitor knows.
    pub objects: Vec<UserObject>,
}

/// An image that waits for a device: a `-drive` with `if=none`, or a `-blockdev`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LooseImage {
    /// The drive's id, or the node's name.
    pub name: String,
    /// It is a drive, which goes with the device that gets it, and no node.
    pub drive: bool,
    /// Where it is; a drive may be empty.
    pub path: Option<PathBuf>,
    /// Its format: raw if nobody said.
    pub format: DiskFormat,
    /// The guest may not write.
    pub readonly: bool,
}

impl LooseImage {
    /// QEMU's name of its format.
    pub fn format_name(&self) -> &'static str {
        match self.format {
            DiskFormat::Raw => "raw",
            DiskFormat::Qcow2 => "qcow2",
        }
    }

    /// The drive that waits for a device.
    pub(crate) fn into_drive(self) -> NewDrive {
        let format = self.format_name().to_owned();
        let image = self.path.map(|path| (format, Source::Path(path)));
        NewDrive { name: self.name, image, readonly: self.readonly }
    }
}

/// What only a Xen domain has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct XenOptions {
    /// The domain.
    pub domid: u16,
    /// RAM ends there below 4 GiB and goes on above; none: where it always does (0xf0000000).
    pub max_ram_below_4g: Option<u64>,
    /// Give up all rights over other domains once everything is open.
    pub restrict: bool,
}

/// A guest to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// What it is made of; checked.
    pub guest: GuestConfig,
    /// Who runs its vCPUs.
    pub hypervisor: HypervisorChoice,
    /// Its host side.
    pub host: HostOptions,
    /// With [`HypervisorChoice::Xen`].
    pub xen: Option<XenOptions>,
    /// Nobody runs its vCPUs, and this is who drives it.
    pub qtest: Option<QtestOptions>,
}

/// Who drives a machine that has no CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QtestOptions {
    /// Where the client is; none: only the monitor drives it.
    pub place: Option<QtestSocket>,
    /// Where what is said is written down.
    pub log: LogTo,
}

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// The list of options.
    Help,
    /// The version.
    Version,
    /// A list of what can be asked for.
    Listing(String),
    /// No guest: answer questions on these monitors, and let this client drive what is not there.
    Probe(Vec<MonitorSocket>, Option<QtestOptions>, Vec<UserObject>),
    /// A guest.
    Guest(Box<Plan>),
}

fn bad(option: impl Into<String>, why: impl Into<String>) -> QemuError {
    QemuError::Bad { option: option.into(), why: why.into() }
}

impl Refusal {
    /// As an error about an option.
    fn at(self, option: String) -> QemuError {
        match self {
            Refusal::Bad(why) => bad(option, why),
            Refusal::NotBuilt(what) => QemuError::NotBuilt(vec![format!("{option} {what}")]),
        }
    }
}

impl Task {
    /// What `config` asks for; an error if any of it cannot be done.
    pub fn new(mut config: QemuConfig) -> Result<Task, QemuError> {
        if config.help {
            return Ok(Task::Help);
        }
        if config.version {
            return Ok(Task::Version);
        }
        if let Some(text) = config.listing {
            return Ok(Task::Listing(text));
        }
        objects::settle(&mut config).map_err(|(option, refusal)| refusal.at(option))?;
        let mut not_built = std::mem::take(&mut config.not_built);
        not_built.extend(idle_chardevs(&config));
        if !not_built.is_empty() {
            return Err(QemuError::NotBuilt(not_built));
        }
        let monitors = monitors(&config)?;
        let qtest = qtest(&config)?;
        if config.machine.kind == MachineKind::None {
            return Ok(Task::Probe(monitors, qtest, config.objects));
        }
        let (hypervisor, xen) = hypervisor(&config)?;
        let mut plan = Plan { guest: guest(&config), hypervisor, host: host(&config, monitors)?, xen, qtest };
        let mut drives = Drives::new(&config)?;
        drives.own = plan.guest.devices.iter().map(|device| device.model.clone()).collect();
        let OnBoard { cards, netdevs } = OnBoard::of(&config).map_err(|refusal| refusal.at("-nic".into()))?;
        plan.guest.devices.extend(cards);
        plan.guest.netdevs = config.netdevs.iter().cloned().chain(netdevs).collect();
        plan.guest.dumps.clone_from(&config.dumps);
        plan.guest.netdevs.iter_mut().for_each(|netdev| network::complete(netdev, &config.chardevs));
        if config.machine.usb {
            plan.guest.add_usb();
        }
        for word in &config.usb_devices {
            plan.guest.add_usb_device(word).map_err(|error| bad("-usbdevice", error.to_string()))?;
        }
        for device in &config.devices {
            device_of(device, &config.globals)
                .and_then(|device| plan.device(device, &mut drives))
                .map_err(|refusal| refusal.at(format!("-device {}", device.driver)))?;
        }
        drives.flash(&config.machine.pflash).map_err(|refusal| refusal.at("-machine pflash".into()))?;
        drives.leave(&mut plan.host)?;
        plan.guest.audiodevs.clone_from(&config.audiodevs);
        plan.guest.speaker.clone_from(&config.machine.speaker);
        for (card, audiodev) in &config.sound_cards {
            let added = plan.guest.add_card_of_sound(card, audiodev.as_deref());
            added.map_err(|error| bad("-audio", error.to_string()))?;
        }
        plan.chardevs(&config)?;
        plan.guest.disks = drives.disks;
        plan.guest.back_ends = back_ends(&config, &plan.guest.devices)?;
        // As with QEMU, who names one drive as a device names all.
        if !config.nodefaults && plan.guest.devices.iter().all(|device| !device.is_drive()) {
            plan.guest.empty_cd();
        }
        plan.guest.devices.extend(drives.labelled);
        plan.cpu(&config)?;
        let check =
            |guest: &mut GuestConfig| guest.check().map_err(|error| bad("this guest", error.to_string()));
        check(&mut plan.guest)?;
        // Now every drive is there of which they can speak.
        plan.globals(&config)?;
        check(&mut plan.guest)?;
        Ok(Task::Guest(Box::new(plan)))
    }
}

impl Plan {
    /// Keeps the lines that devices name.
    fn chardevs(&mut self, config: &QemuConfig) -> Result<(), QemuError> {
        for chardev in &config.chardevs {
            if !self.guest.devices.iter().any(|device| device.chardev() == Some(&chardev.id)) {
                continue;
            }
            let line = lines::of_device(chardev).map_err(|refusal| refusal.at("-chardev".into()))?;
            self.guest.chardevs.push(line);
        }
        Ok(())
    }
}

/// Lines that lead somewhere, but that nothing here uses: libxl's channels, for one.
fn idle_chardevs(config: &QemuConfig) -> Vec<String> {
    let backends = config.nics.cards.iter().filter_map(NicArg::own).chain(&config.nics.on_hub);
    let options = backends.map(|backend| &backend.options);
    let options: Vec<_> = options.chain(config.netdevs.iter().map(|netdev| &netdev.options)).collect();
    let network = |id: &str| options.iter().any(|options| network::chardev(options) == Some(id));
    let device = |id: &str| config.devices.iter().any(|device| device.props.get("chardev") == Some(id));
    let used = |id: &str| config.monitors.iter().any(|mon| mon.chardev == id) || network(id) || device(id);
    let serial = |line: &SerialConfig| match (line, &config.qtest) {
        (SerialConfig::Unix(path), Some(QtestSocket::Listen(other))) if path == other => true,
        (SerialConfig::Connect(path), Some(QtestSocket::Connect(other))) if path == other => true,
        (SerialConfig::Stdio, Some(QtestSocket::Stdio)) => true,
        _ => config.serials.contains(line),
    };
    let idle = config.chardevs.iter().filter(|chardev| match &chardev.target {
        ChardevTarget::Serial(SerialConfig::Null) => false,
        ChardevTarget::Serial(line) => !used(&chardev.id) && !serial(line),
        ChardevTarget::Fd(_) => !used(&chardev.id),
    });
    idle.map(|chardev| {
        format!(
            "-chardev id={} (a line that is neither monitor, serial port, network nor a device's)",
            chardev.id
        )
    })
    .collect()
}

/// The character devices that devices name.
fn back_ends(config: &QemuConfig, devices: &[DeviceSpec]) -> Result<Vec<BackEndConfig>, QemuError> {
    let named = |chardev: &&Chardev| devices.iter().any(|device| device.back_end() == Some(&chardev.id));
    let all = config.chardevs.iter().filter(named);
    let back_end =
        |chardev: &Chardev| lines::back_end(chardev).map_err(|refusal| refusal.at("-chardev".into()));
    all.map(back_end).collect()
}

fn monitors(config: &QemuConfig) -> Result<Vec<MonitorSocket>, QemuError> {
    let mut sockets = Vec::new();
    for mon in &config.monitors {
        let option = || format!("-mon chardev={}", mon.chardev);
        let found = config.chardevs.iter().find(|chardev| chardev.id == mon.chardev);
        let found = found.ok_or_else(|| bad(option(), "there is no such chardev"))?;
        lines::once(found).map_err(|refusal| refusal.at(option()))?;
        let at = match &found.target {
            ChardevTarget::Fd(fd) => SocketAt::Fd(*fd),
            ChardevTarget::Serial(SerialConfig::Unix(path)) => SocketAt::Path(path.clone()),
            ChardevTarget::Serial(SerialConfig::Connect(path)) => SocketAt::Peer(path.clone()),
            ChardevTarget::Serial(_) => {
                return Err(QemuError::NotBuilt(vec![format!("{} (a monitor not on a socket)", option())]));
            }
        };
        sockets.push(MonitorSocket { label: mon.chardev.clone(), at });
    }
    Ok(sockets)
}

fn qtest(config: &QemuConfig) -> Result<Option<QtestOptions>, QemuError> {
    let asked = config.machine.accels.iter().any(|name| name == "qtest");
    match (asked, &config.qtest) {
        (false, None) => Ok(None),
        (false, Some(_)) => {
            Err(QemuError::NotBuilt(vec!["-qtest (beside CPUs that run; give -accel qtest)".into()]))
        }
        (true, place) => Ok(Some(QtestOptions {
            place: place.clone(),
            log: config.qtest_log.clone().unwrap_or(LogTo::Stderr),
        })),
    }
}

fn hypervisor(config: &QemuConfig) -> Result<(HypervisorChoice, Option<XenOptions>), QemuError> {
    let machine = &config.machine;
    let by_name = |name: &str| match name {
        "xen" => HypervisorChoice::Xen,
        "kvm" => HypervisorChoice::Kvm,
        _ => HypervisorChoice::Soft,
    };
    let choice = match machine.accels.as_slice() {
        [] if machine.kind == MachineKind::XenFv => HypervisorChoice::Xen,
        [] => HypervisorChoice::Auto,
        [one] => by_name(one),
        // QEMU takes the first that works; so do we when we choose.
        _ => HypervisorChoice::Auto,
    };
    match (choice, config.xen_domid) {
        (HypervisorChoice::Xen, Some(domid)) => {
            let xen = XenOptions {
                domid,
                max_ram_below_4g: machine.max_ram_below_4g,
                restrict: config.xen_restrict,
            };
            Ok((choice, Some(xen)))
        }
        (HypervisorChoice::Xen, None) => {
            Err(bad("-xen-domid", "it is missing: which domain is to be served?"))
        }
        (_, Some(_)) => Err(bad("-xen-domid", "it needs -machine xenfv or -machine pc,accel=xen")),
        (_, None) if machine.kind == MachineKind::XenFv => Err(bad("-machine xenfv", "it needs accel=xen")),
        (_, None) if config.xen_restrict => Err(bad("-xen-domid-restrict", "it needs -xen-domid")),
        (_, None) => Ok((choice, None)),
    }
}

/// The certificates that an option names.
fn vnc_tls(config: &QemuConfig) -> Result<Option<TlsFiles>, QemuError> {
    let Some(id) = config.vnc.as_ref().and_then(|vnc| vnc.tls_creds.as_ref()) else { return Ok(None) };
    let files = config.tls.iter().find(|files| files.id == *id);
    files.cloned().map(Some).ok_or_else(|| bad("-vnc", format!("No TLS credentials with id '{id}'")))
}

/// Whether there is the place whose sound VNC's clients are to hear.
fn check_vnc_sound(config: &QemuConfig) -> Result<(), QemuError> {
    let asked = config.vnc.as_ref().and_then(|vnc| vnc.options.audiodev.as_ref());
    match asked.filter(|id| !config.audiodevs.iter().any(|audiodev| audiodev.id == **id)) {
        Some(id) => Err(bad("-vnc", format!("audiodev '{id}' not found"))),
        None => Ok(()),
    }
}

fn host(config: &QemuConfig, monitors: Vec<MonitorSocket>) -> Result<HostOptions, QemuError> {
    check_vnc_sound(config)?;
    Ok(HostOptions {
        monitors,
        vnc: config.vnc.clone(),
        vnc_tls: vnc_tls(config)?,
        keymap: config.keymap.clone(),
        incoming: config.incoming.clone(),
        sandbox: config.sandbox.clone(),
        paused: config.stopped,
        pidfile: config.pidfile.clone(),
        debugcon: config.debugcon.clone(),
        panic_fails: config.ends.panic == Panic::ExitFailure,
        images: Vec::new(),
        objects: config.objects.clone(),
        notes: config.notes.clone(),
    })
}

/// The clock's RAM has room for three letters, and QEMU's order may name more.
fn three(letters: &str) -> String {
    letters.chars().take(3).collect()
}

/// Everything of the guest but its devices.
fn guest(config: &QemuConfig) -> GuestConfig {
    let mut guest = GuestConfig::default();
    let smp = config.smp;
    if let Some(name) = &config.name {
        guest.name = name.clone();
    }
    guest.uuid = config.uuid.unwrap_or(guest.uuid);
    // QEMU's default.
    guest.memory_mib = config.memory_mib.unwrap_or(128);
    guest.vcpus = smp.map_or(1, |smp| smp.cpus);
    guest.max_vcpus = smp.map(|smp| smp.maxcpus);
    guest.boot = three(config.boot.as_deref().unwrap_or("cad"));
    guest.boot_options = config.boot_options.clone();
    guest.boot_options.once = guest.boot_options.once.as_deref().map(three);
    guest.features = config.machine.features.clone();
    guest.kernel = config.kernel.clone();
    guest.initrd = config.initrd.clone();
    guest.cmdline = config.append.clone().unwrap_or_default();
    guest.firmware = config.bios.clone();
    guest.rtc_base = config.rtc_base;
    guest.localtime = config.localtime;
    guest.clock = if config.icount { ClockMode::Icount } else { ClockMode::Host };
    guest.serial = config.serials.clone();
    if guest.serial.is_empty() && config.nographic && !config.nodefaults {
        guest.serial.push(SerialConfig::Stdio);
    }
    guest.devices.clear();
    if config.machine.kind == MachineKind::XenFv {
        guest.devices.push(DeviceSpec::new(None, &Properties::new(&xen::platform::model::MODEL)));
    }
    match config.vga.unwrap_or(if config.nodefaults { Vga::None } else { Vga::Std }) {
        Vga::None => {}
        Vga::Std => guest.devices.push(DeviceSpec::vga(16)),
        Vga::Cirrus => guest.devices.push(DeviceSpec::new(None, &Properties::new(&cirrus::model::MODEL))),
        Vga::Virtio => guest.devices.push(DeviceSpec::new(None, &Properties::new(&gpu::model::VGA))),
    }
    guest.on_poweroff = config.ends.on_poweroff();
    guest.on_reboot = config.ends.on_reboot();
    guest.on_crash = config.ends.on_crash();
    guest.on_watchdog = config.ends.watchdog;
    guest
}

impl GuestConfig {
    /// Puts an empty CD drive where QEMU has one, unless the place is taken.
    fn empty_cd(&mut self) {
        if self.disks.iter().filter(|disk| disk.bus == DiskBus::Ide).count() < 4
            && self.disks.iter().all(|disk| disk.ide_place() != Some(2))
        {
            let drive = DiskConfig { path: None, slot: Some(2), ..DiskConfig::cdrom("") };
            self.disks.push(drive);
        }
    }
}

/// What `-device` says, with what `-global` says of the model.
fn device_of(arg: &DeviceArg, globals: &[Global]) -> Result<DeviceSpec, Refusal> {
    let DeviceArg { driver: name, id, props } = arg.clone();
    let Some(Driver::Built(model)) = driver(&name) else {
        return Err(Refusal::bad(format!("'{name}' is not a valid device model name")));
    };
    let mut properties = Properties::new(model);
    for global in globals.iter().filter(|global| model.is_called(&global.driver)) {
        set(&mut properties, &global.property, &global.value)?;
    }
    DeviceSpec::of(properties, id, props).map_err(|error| Refusal::bad(error.to_string()))
}

fn set(properties: &mut Properties, name: &str, value: &str) -> Result<(), Refusal> {
    properties.parse(name, value).map_err(|error| Refusal::bad(error.to_string()))
}

/// Drives on their way into the guest.
struct Drives {
    disks: Vec<DiskConfig>,
    /// Drives that wait for a device which names them.
    loose: Vec<Drive>,
    nodes: Vec<Blockdev>,
    snapshot: bool,
    /// Models of which the machine has one by itself, as long as no `-device` says how that is to be.
    own: Vec<String>,
    /// Drives that `-drive` makes and says more of.
    labelled: Vec<DeviceSpec>,
}

/// The device of a drive that says something of it.
fn labelled(disk: &DiskConfig, drive: &Drive) -> Result<Option<DeviceSpec>, Refusal> {
    if drive.device.is_empty() {
        return Ok(None);
    }
    let mut device = DeviceSpec::of_disk(disk);
    device.properties.insert("drive".to_owned(), Value::Text(disk.name()));
    label(&mut device, drive)?;
    Ok(Some(device))
}

/// Sets on a device what its drive says of it and the device does not.
fn label(device: &mut DeviceSpec, drive: &Drive) -> Result<(), Refusal> {
    let refused = |error: ConfigError| Refusal::bad(error.to_string());
    for (name, value) in &drive.device {
        device.properties.entry((*name).to_owned()).or_insert_with(|| Value::Text(value.clone()));
    }
    device.properties().map_err(refused)?;
    Ok(())
}

impl Drives {
    fn new(config: &QemuConfig) -> Result<Drives, QemuError> {
        let (nodes, snapshot) = (config.blockdevs.clone(), config.snapshot);
        let (own, labels) = (Vec::new(), Vec::new());
        let mut drives =
            Drives { disks: Vec::new(), loose: Vec::new(), nodes, snapshot, own, labelled: labels };
        for drive in &config.drives {
            if drive.interface == Interface::None {
                drives.loose.push(drive.clone());
                continue;
            }
            let option = || format!("-drive {}", drive.file.as_deref().unwrap_or("".as_ref()).display());
            let bus = match drive.interface {
                Interface::Virtio => Some(DiskBus::Virtio),
                Interface::Pflash => Some(DiskBus::Flash),
                Interface::Ide | Interface::None => None,
            };
            if let Some(bus) = bus {
                let disk = disk(drive, DiskKind::Disk, snapshot).map_err(|refusal| refusal.at(option()))?;
                let disk = DiskConfig { bus, slot: drive.index, ..disk };
                let device = labelled(&disk, drive).map_err(|refusal| refusal.at(option()))?;
                drives.labelled.extend(device);
                drives.disks.push(disk);
                continue;
            }
            let taken = |index: u8| drives.disks.iter().any(|disk| disk.ide_place() == Some(index));
            let index = drive.index.or_else(|| (0..4).find(|index| !taken(*index)));
            let index = index.filter(|index| *index < 4);
            let index =
                index.ok_or_else(|| bad(option(), "the IDE controller has places for four drives"))?;
            let disk = disk(drive, drive.kind, drives.snapshot).map_err(|refusal| refusal.at(option()))?;
            let disk = DiskConfig { slot: Some(index), ..disk };
            let device = labelled(&disk, drive).map_err(|refusal| refusal.at(option()))?;
            drives.labelled.extend(device);
            drives.disks.push(disk);
        }
        Ok(drives)
    }

    /// The image of that name, which no device has taken yet.
    fn take(&mut self, name: &str) -> Result<Drive, Refusal> {
        let at = self.loose.iter().position(|drive| drive.id.as_deref() == Some(name));
        match at {
            Some(at) => Ok(self.loose.remove(at)),
            None if self.nodes.iter().any(|node| node.name == *name) => blockdev::drive(&self.nodes, name),
            None => Err(Refusal::bad(format!("there is no drive '{name}'"))),
        }
    }

    /// Puts the images that the machine's `pflash0` and `pflash1` name into its chips of flash memory.
    fn flash(&mut self, chips: &[Option<String>]) -> Result<(), Refusal> {
        for (slot, name) in chips.iter().enumerate() {
            let Some(name) = name else { continue };
            let drive = self.take(name)?;
            let disk = disk(&drive, DiskKind::Disk, self.snapshot)?;
            self.disks.push(DiskConfig { bus: DiskBus::Flash, slot: Some(slot as u8), ..disk });
        }
        Ok(())
    }

    /// Takes the image that a drive names into the guest.
    fn plug(&mut self, device: &mut DeviceSpec) -> Result<(), Refusal> {
        let Some(Value::Text(name)) = device.properties.get("drive") else { return Ok(()) };
        let drive = self.take(name)?;
        label(device, &drive)?;
        let kind = device.kind();
        self.disks.push(disk(&drive, kind, self.snapshot)?);
        Ok(())
    }

    /// Leaves what no device has taken for those that come later. What we cannot open, nobody has asked for yet.
    fn leave(&self, host: &mut HostOptions) -> Result<(), QemuError> {
        let is_under =
            |name: &str| self.nodes.iter().any(|node| node.source == BlockSource::Node(name.to_owned()));
        let is_taken = |name: &str| self.disks.iter().any(|disk| disk.id.as_deref() == Some(name));
        let nodes = self.nodes.iter().filter(|node| !is_under(&node.name) && !is_taken(&node.name));
        let nodes = nodes.map(|node| (&node.name, false, blockdev::drive(&self.nodes, &node.name)));
        let drives =
            self.loose.iter().filter_map(|drive| Some((drive.id.as_ref()?, true, Ok(drive.clone()))));
        for (name, is_drive, found) in drives.chain(nodes) {
            match found.and_then(|drive| loose_image(name, &drive, is_drive, self.snapshot)) {
                Ok(image) => host.images.push(image),
                Err(Refusal::NotBuilt(what)) => {
                    host.notes.push(format!("{name} is left out, as this is not built: {what}"));
                }
                Err(refusal) => return Err(refusal.at(format!("image {name}"))),
            }
        }
        Ok(())
    }
}

/// The image of a drive or a node that no device has.
fn loose_image(name: &str, drive: &Drive, is_drive: bool, snapshot: bool) -> Result<LooseImage, Refusal> {
    let kind = if drive.file.is_some() { DiskKind::Disk } else { DiskKind::Cdrom };
    let disk = disk(drive, kind, snapshot)?;
    if disk.snapshot && disk.path.is_some() {
        // Its writes were to go elsewhere.
        return Err(Refusal::not_built("snapshot=on of a drive that no -device has"));
    }
    let (path, format) = (disk.path, disk.format.unwrap_or_default());
    Ok(LooseImage { name: name.to_owned(), drive: is_drive, path, format, readonly: disk.readonly })
}

/// The drive of `drive_add`, which waits for a device.
pub(crate) fn added_drive(options: &str) -> Result<LooseImage, QemuError> {
    let added = || {
        let drive = values::drive(options)?;
        if drive.interface != Interface::None {
            return Err(Refusal::bad("a drive that is added has if=none: its device comes with device_add"));
        }
        let name = drive.id.clone().ok_or_else(|| Refusal::bad("a drive that is added has an id="))?;
        loose_image(&name, &drive, true, false)
    };
    added().map_err(|refusal: Refusal| refusal.at(format!("drive_add {options}")))
}

fn disk(drive: &Drive, kind: DiskKind, snapshot: bool) -> Result<DiskConfig, Refusal> {
    if drive.file.is_none() && kind == DiskKind::Disk {
        return Err(Refusal::bad("a disk needs file="));
    }
    let format = match drive.format.as_deref() {
        None => None,
        Some("raw" | "host_device" | "host_cdrom" | "file") => Some(DiskFormat::Raw),
        Some("qcow2") => Some(DiskFormat::Qcow2),
        Some(other @ ("qcow" | "qed" | "vpc" | "vhdx" | "vmdk" | "vdi" | "quorum" | "replication")) => {
            return Err(Refusal::not_built(format!("format={other}")));
        }
        Some(other) => return Err(Refusal::bad(format!("format={other}: expected raw or qcow2"))),
    };
    Ok(DiskConfig {
        path: drive.file.clone(),
        id: drive.id.clone(),
        format,
        kind,
        bus: DiskBus::Ide,
        slot: None,
        readonly: drive.readonly || kind == DiskKind::Cdrom,
        snapshot: drive.snapshot || snapshot,
        cache: drive.cache,
    })
}

impl Plan {
    /// What the vCPUs are, where they are ours.
    fn cpu(&mut self, config: &QemuConfig) -> Result<(), QemuError> {
        let Some(cpu) = &config.cpu else { return Ok(()) };
        if self.xen.is_some() || self.qtest.is_some() {
            self.host.notes.push(NO_CPU.into());
            return Ok(());
        }
        self.guest.cpu = Some(cpu.clone());
        let (_, warnings) = self.guest.cpu_model().map_err(|why| bad(format!("-cpu {cpu}"), why))?;
        self.host.notes.extend(warnings.into_iter().map(|warning| format!("warning: {warning}")));
        Ok(())
    }

    /// Properties of devices that no `-device` makes.
    fn globals(&mut self, config: &QemuConfig) -> Result<(), QemuError> {
        let is_drive = |global: &Global| [ide::DISK.name, ide::CD.name].contains(&global.driver.as_str());
        let named = |global: &&Global| {
            !is_drive(global) && config.devices.iter().any(|device| device.driver == global.driver)
        };
        for global in config.globals.iter().filter(|global| !named(global)) {
            let name = format!("-global {}.{}", global.driver, global.property);
            match global.driver.as_str() {
                driver if self.guest.devices.iter().any(|device| device.model == driver) => {
                    self.global(global).map_err(|refusal| refusal.at(name))?;
                }
                _ => self
                    .host
                    .notes
                    .push(format!("{name}: taken, and changes nothing: there is no such device")),
            }
        }
        Ok(())
    }

    /// Sets a property of devices that the machine has by itself, and of drives where nobody else said anything.
    fn global(&mut self, global: &Global) -> Result<(), Refusal> {
        for device in self.guest.devices.iter_mut().filter(|device| device.model == global.driver) {
            if device.is_drive() && device.properties.contains_key(&global.property) {
                continue;
            }
            let mut properties = device.properties().map_err(|error| Refusal::bad(error.to_string()))?;
            set(&mut properties, &global.property, &global.value)?;
            (properties.model().check)(&properties).map_err(|error| Refusal::bad(error.to_string()))?;
            *device = DeviceSpec { bus: device.bus.take(), ..DeviceSpec::new(device.id.take(), &properties) };
        }
        Ok(())
    }

    /// A device of the guest's list.
    fn device(&mut self, mut spec: DeviceSpec, drives: &mut Drives) -> Result<(), Refusal> {
        if spec.has_image() {
            drives.plug(&mut spec)?;
        }
        if spec.model.starts_with("xen-") && self.xen.is_none() {
            return Err(Refusal::bad("it needs a Xen domain"));
        }
        let own = &mut drives.own;
        // What the machine has by itself is there already: what is said of it counts.
        let said_of = own.iter().position(|name| spec.is_instead_of(name));
        let there = self.guest.devices.iter_mut().find(|other| spec.is_instead_of(&other.model));
        match (said_of, there) {
            (Some(at), Some(there)) => {
                own.swap_remove(at);
                *there = spec;
            }
            _ => self.guest.devices.push(spec),
        }
        Ok(())
    }
}
