//! What a saved guest may have of this host.
//!
//! The file of a saved guest names images, a kernel, files and sockets for its serial ports. Whoever made the file chose
//! those names, and opening a serial port's file destroys what is in it. So names come from the command line, or the
//! person has seen them and trusts them (`--trust-paths`), or has given them to this very guest before, and the file is as
//! it was saved ([`ledger`](crate::ledger)).

use std::fmt;
use std::path::{Path, PathBuf};

use devices_core::model::Value;

use crate::config::{
    AudioDriver, AudiodevConfig, BackEndConfig, ConfigError, DeviceSpec, DiskBus, DiskConfig, DiskKind,
    GuestConfig, NetdevConfig, SerialConfig,
};
use crate::ledger::Known;

/// Something of this host that a guest's configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// What it is to the guest, for people.
    pub what: String,
    /// The file, socket, folder or network.
    pub at: String,
    /// It is not only read.
    pub written: bool,
}

impl Reach {
    fn new(what: impl Into<String>, at: &Path, written: bool) -> Reach {
        Reach { what: what.into(), at: at.to_string_lossy().into_owned(), written }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, shown(self.at.as_ref()))
    }
}

/// What a configuration names of this host.
pub fn reaches(config: &GuestConfig) -> Vec<Reach> {
    let mut named = Vec::new();
    // Nothing is given in the place of anything: no fault can come of it.
    let _ = replace(&mut config.clone(), &Given::default(), &mut named);
    named
}

/// What the person gives, in the place of what the file names.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// Hard disks: for the place that they name, or in the order of the places.
    pub disks: Vec<DiskConfig>,
    /// CDs, in the order of the drives that have one.
    pub cds: Vec<PathBuf>,
    /// The kernel that was booted.
    pub kernel: Option<PathBuf>,
    /// Its initial RAM disk.
    pub initrd: Option<PathBuf>,
    /// The firmware; None within: what is found.
    pub firmware: Option<Option<PathBuf>>,
    /// Serial ports, from COM1 on.
    pub serial: Vec<SerialConfig>,
    /// Networks, in the order of the back ends.
    pub nets: Vec<String>,
    /// Processes that serve devices, by their ids.
    pub back_ends: Vec<BackEndConfig>,
    /// Where sound goes, by their ids.
    pub audiodevs: Vec<AudiodevConfig>,
    /// What the file names is right.
    pub trust: bool,
    /// What this guest was given before.
    pub known: Known,
}

impl Given {
    /// A guest that has all that was given, and what a saved one may have of the host without being given it: networks
    /// of its own, pseudo-terminals, the local time.
    pub fn host_side(&self) -> Result<GuestConfig, ConfigError> {
        let netdev = |kind: &str| NetdevConfig { id: "given".into(), kind: kind.into(), options: Vec::new() };
        let lead = |to: &String| {
            let mut led = netdev("user");
            led.lead(to).map(|()| led)
        };
        let led = self.nets.iter().map(lead).collect::<Result<Vec<_>, _>>()?;
        Ok(GuestConfig {
            disks: self.disks.iter().cloned().chain(self.cds.iter().map(DiskConfig::cdrom)).collect(),
            kernel: self.kernel.clone(),
            initrd: self.initrd.clone(),
            firmware: self.firmware.clone().flatten(),
            serial: self.serial.iter().cloned().chain([SerialConfig::Pty]).collect(),
            netdevs: [netdev("user")].into_iter().chain(led).collect(),
            back_ends: self.back_ends.clone(),
            audiodevs: self.audiodevs.clone(),
            localtime: true,
            ..GuestConfig::default()
        })
    }
}

/// The guest to build from a file's configuration, which has been checked: nothing of the host is in it that the
/// person did not give, or trust.
pub fn settle(saved: GuestConfig, given: &Given) -> Result<GuestConfig, ConfigError> {
    let mut config = saved;
    let mut named = Vec::new();
    replace(&mut config, given, &mut named)?;
    named.retain(|reach| !given.known.has(reach));
    if given.trust {
        return Ok(config);
    }
    if named.is_empty() {
        go_on_writing(&mut config, given);
        return Ok(config);
    }
    let text = "the saved guest names files of this host, which are not opened unasked:";
    let end = "give others (--disk, --cdrom, --kernel, --initrd, --firmware, --serial, --net, --chardev), or --trust-paths if they \
               are right";
    let lines: Vec<String> = named.iter().map(Reach::to_string).collect();
    Err(ConfigError::Invalid(format!("{text}\n  {}\n{end}", lines.join("\n  "))))
}

/// Lines that nobody has spoken of now go on in their files: what the guest said before its save stays.
fn go_on_writing(config: &mut GuestConfig, given: &Given) {
    let ports = config.serial.iter_mut().skip(given.serial.len());
    for line in ports.chain(config.chardevs.iter_mut().map(|chardev| &mut chardev.line)) {
        if let SerialConfig::File(path) = line {
            *line = SerialConfig::Append(std::mem::take(path));
        }
    }
}

/// Puts what was given in the place of what `config` names; `named` gets what it names and nobody gave.
fn replace(config: &mut GuestConfig, given: &Given, named: &mut Vec<Reach>) -> Result<(), ConfigError> {
    media(config, given, DiskKind::Disk, named)?;
    media(config, given, DiskKind::Cdrom, named)?;
    let mut file = |what: &str, at: &mut Option<PathBuf>, given: &Option<PathBuf>| match (&at, given) {
        (None, Some(_)) => Err(ConfigError::Invalid(format!("the saved guest has no {what}"))),
        (Some(path), None) => {
            named.push(Reach::new(what, path, false));
            Ok(())
        }
        (_, given) => {
            *at = given.clone();
            Ok(())
        }
    };
    file("kernel", &mut config.kernel, &given.kernel)?;
    file("initial RAM disk", &mut config.initrd, &given.initrd)?;
    match &given.firmware {
        Some(firmware) => config.firmware = firmware.clone(),
        None => file("firmware", &mut config.firmware, &None)?,
    }
    lines(config, &given.serial, named)?;
    networks(config, &given.nets, named)?;
    back_ends(config, &given.back_ends, named)?;
    sounds(config, given)?;
    let rom = |device: &DeviceSpec| match device.properties.get("romfile") {
        Some(Value::Text(name)) if !name.is_empty() => {
            let what = format!("option ROM of {}", shown(device.model.as_ref()));
            Some(Reach::new(what, name.as_ref(), false))
        }
        _ => None,
    };
    named.extend(config.devices.iter().filter_map(rom));
    Ok(())
}

/// A path for people: nothing in it can move the cursor or hide.
fn shown(path: &Path) -> String {
    path.to_string_lossy().chars().flat_map(char::escape_debug).collect()
}

/// Puts the images that were given into the drives that had one.
fn media(
    config: &mut GuestConfig,
    given: &Given,
    kind: DiskKind,
    named: &mut Vec<Reach>,
) -> Result<(), ConfigError> {
    let mut images: Vec<DiskConfig> = match kind {
        DiskKind::Disk => given.disks.clone(),
        DiskKind::Cdrom => given.cds.iter().map(DiskConfig::cdrom).collect(),
    };
    let mut drives: Vec<&mut DiskConfig> =
        config.disks.iter_mut().filter(|disk| disk.kind == kind && disk.path.is_some()).collect();
    drives.sort_by_key(|disk| (disk.bus, disk.slot));
    let name = if kind == DiskKind::Disk { "disk" } else { "CD" };
    for drive in drives {
        let same = |image: &DiskConfig| image.bus == drive.bus && image.slot == drive.slot;
        let own = images.iter().position(|image| image.slot.is_some() && same(image));
        let free = || images.iter().position(|image| image.slot.is_none());
        match own.or_else(free) {
            Some(at) => {
                let image = images.remove(at);
                // How the guest knows it stays as it is, and what it was not to write too.
                *drive = DiskConfig {
                    id: drive.id.take(),
                    bus: drive.bus,
                    slot: drive.slot,
                    readonly: image.readonly || drive.readonly,
                    ..image
                };
            }
            None => {
                let place = drive.slot.unwrap_or(0);
                let place = match drive.bus {
                    DiskBus::Ide => format!("at IDE place {place}"),
                    DiskBus::Virtio | DiskBus::Scsi | DiskBus::Flash => drive.place_name(),
                };
                let write = if drive.readonly { "read only" } else { "written" };
                let path = drive.path.as_deref().unwrap_or(Path::new(""));
                named.push(Reach::new(format!("{name} {place}, {write}"), path, !drive.readonly));
            }
        }
    }
    match images.first() {
        None => Ok(()),
        Some(_) => {
            Err(ConfigError::Invalid(format!("the saved guest has no {name} where one more was given")))
        }
    }
}

/// Leads the serial ports where the person wants them. Which ports there are is the guest's.
fn lines(
    config: &mut GuestConfig,
    given: &[SerialConfig],
    named: &mut Vec<Reach>,
) -> Result<(), ConfigError> {
    for (index, to) in given.iter().enumerate() {
        let port = config.serial.get_mut(index).filter(|port| **port != SerialConfig::None);
        match (port, to) {
            (Some(port), SerialConfig::None) => *port = SerialConfig::Null,
            (Some(port), to) => *port = to.clone(),
            (None, SerialConfig::None) => {}
            (None, _) => {
                return Err(ConfigError::Invalid(format!("the saved guest has no serial port {index}")));
            }
        }
    }
    let ports = config.serial.iter().enumerate().skip(given.len());
    named.extend(ports.filter_map(|(index, port)| reached(&format!("serial port {index}"), port)));
    let others = config.chardevs.iter();
    named.extend(
        others.filter_map(|chardev| reached(&format!("line {}", shown(chardev.id.as_ref())), &chardev.line)),
    );
    Ok(())
}

/// Leads sound where the person wants it. What nobody gives is silent: a guest need not be heard to go on.
fn sounds(config: &mut GuestConfig, given: &Given) -> Result<(), ConfigError> {
    let known = |new: &&AudiodevConfig| config.audiodevs.iter().any(|old| old.id == new.id);
    if let Some(other) = given.audiodevs.iter().find(|new| !known(new)) {
        return Err(ConfigError::Invalid(format!("the saved guest has no audiodev '{}'", other.id)));
    }
    for old in &mut config.audiodevs {
        match given.audiodevs.iter().find(|new| new.id == old.id) {
            Some(new) => old.driver = new.driver.clone(),
            None if given.trust => {}
            None => old.driver = AudioDriver::None,
        }
    }
    Ok(())
}

/// What a line opens by its name.
fn reached(what: &str, line: &SerialConfig) -> Option<Reach> {
    let reach = |how: &str, path: &Path| Some(Reach::new(format!("{what}, {how}"), path, true));
    match line {
        SerialConfig::File(path) => reach("written anew", path),
        SerialConfig::Append(path) => reach("written to its end", path),
        SerialConfig::Unix(path) | SerialConfig::Connect(path) => reach("a socket", path),
        SerialConfig::None | SerialConfig::Null | SerialConfig::Stdio | SerialConfig::Pty => None,
    }
}

/// Leads the cables of network cards where the person wants them.
fn networks(config: &mut GuestConfig, given: &[String], named: &mut Vec<Reach>) -> Result<(), ConfigError> {
    if given.len() > config.netdevs.len() {
        return Err(ConfigError::Invalid("the saved guest has no network where one more was given".into()));
    }
    for (netdev, to) in config.netdevs.iter_mut().zip(given) {
        netdev.lead(to)?;
    }
    let reached = config.netdevs.iter().skip(given.len());
    let line = |netdev: &NetdevConfig| {
        let what = format!("network {}", shown(netdev.id.as_ref()));
        Some(Reach::new(what, netdev.reaches()?.as_ref(), true))
    };
    named.extend(reached.filter_map(line));
    Ok(())
}

/// Leads devices to the processes that are to serve them.
fn back_ends(
    config: &mut GuestConfig,
    given: &[BackEndConfig],
    named: &mut Vec<Reach>,
) -> Result<(), ConfigError> {
    for other in given {
        let found = config.back_ends.iter_mut().find(|back_end| back_end.id == other.id);
        let missing = || ConfigError::Invalid(format!("the saved guest has no chardev '{}'", other.id));
        found.ok_or_else(missing)?.clone_from(other);
    }
    let left = config.back_ends.iter().filter(|back_end| given.iter().all(|other| other.id != back_end.id));
    named.extend(left.map(|BackEndConfig { id, place, .. }| {
        Reach::new(format!("chardev {}", shown(id.as_ref())), place.to_string().as_ref(), true)
    }));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DiskFormat;

    fn saved() -> GuestConfig {
        let mut config = GuestConfig {
            disks: vec![
                DiskConfig { format: Some(DiskFormat::Qcow2), ..DiskConfig::new("/a.qcow2") },
                DiskConfig::new("/b.img"),
                DiskConfig::cdrom("/c.iso"),
            ],
            kernel: Some("/vmlinuz".into()),
            firmware: Some("/rom\x1b[2J".into()),
            serial: vec![SerialConfig::File("/etc/passwd".into()), SerialConfig::None, SerialConfig::Stdio],
            ..GuestConfig::default()
        };
        config.check().unwrap();
        config
    }

    #[test]
    fn what_a_file_names_is_shown_and_not_opened_unasked() {
        let error = settle(saved(), &Given::default()).unwrap_err().to_string();
        let lines: Vec<&str> = error.lines().collect();
        assert_eq!(
            lines[1..7],
            [
                "  disk at IDE place 0, written: /a.qcow2",
                "  disk at IDE place 1, written: /b.img",
                "  CD at IDE place 2, read only: /c.iso",
                "  kernel: /vmlinuz",
                "  firmware: /rom\\u{1b}[2J",
                "  serial port 0, written anew: /etc/passwd",
            ]
        );
        assert!(lines[7].contains("--trust-paths"));
        assert_eq!(settle(saved(), &Given { trust: true, ..Given::default() }), Ok(saved()));
        let nothing = GuestConfig { serial: vec![SerialConfig::Stdio], ..GuestConfig::default() };
        assert_eq!(settle(nothing.clone(), &Given::default()), Ok(nothing));
    }

    #[test]
    fn processes_that_serve_devices_are_named_too() {
        let socket = |path: &str| crate::qemu::back_end(&format!("socket,id=c,path={path}")).unwrap();
        let config = GuestConfig { back_ends: vec![socket("/old")], ..GuestConfig::default() };
        let error = settle(config.clone(), &Given::default()).unwrap_err().to_string();
        assert!(error.contains("\n  chardev c: /old\n"), "{error}");
        let given = Given { back_ends: vec![socket("/new")], ..Given::default() };
        assert_eq!(settle(config, &given).unwrap().back_ends, [socket("/new")]);
        let error = settle(GuestConfig::default(), &given).unwrap_err().to_string();
        assert_eq!(error, "the saved guest has no chardev 'c'");
    }

    #[test]
    fn the_command_line_names_all_of_it() {
        let given = Given {
            disks: vec![DiskConfig::parse("/y,unit=1").unwrap(), DiskConfig::parse("/x").unwrap()],
            cds: vec!["/z".into()],
            kernel: Some("/k".into()),
            firmware: Some(None),
            serial: vec![SerialConfig::None],
            ..Given::default()
        };
        let config = settle(saved(), &given).unwrap();
        let paths: Vec<_> = config.disks.iter().map(|disk| disk.path.clone().unwrap()).collect();
        assert_eq!(paths, ["/x", "/y", "/z"].map(PathBuf::from));
        assert_eq!(config.disks[0].format, None, "the format is given, or it is raw");
        assert_eq!(
            config.disks.iter().map(|disk| disk.slot).collect::<Vec<_>>(),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!((config.kernel, config.firmware), (Some("/k".into()), None));
        assert_eq!(config.serial, [SerialConfig::Null, SerialConfig::None, SerialConfig::Stdio]);
        // What is left out is still asked for.
        let less = Given { kernel: None, ..given.clone() };
        assert!(settle(saved(), &less).unwrap_err().to_string().contains("\n  kernel: /vmlinuz\n"));
        let more = Given { initrd: Some("/i".into()), ..given.clone() };
        assert!(settle(saved(), &more).unwrap_err().to_string().contains("no initial RAM disk"));
        let more = Given { cds: vec!["/z".into(), "/zz".into()], ..given.clone() };
        assert!(settle(saved(), &more).unwrap_err().to_string().contains("no CD where"));
        let more = Given { serial: vec![SerialConfig::Null, SerialConfig::Pty], ..given };
        assert!(settle(saved(), &more).unwrap_err().to_string().contains("no serial port 1"));
    }
}
