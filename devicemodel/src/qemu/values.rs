//! The values of single options.

use std::path::PathBuf;

use chrono::{NaiveDate, NaiveDateTime};
use devices::input::layouts::Layout;

use super::Refusal;
use super::config::{
    Chardev, ChardevTarget, DeviceArg, Drive, Global, Incoming, Interface, MachineArg, MachineKind, Mon,
    Netdev, Smp, VncArg, VncListen,
};
use super::drivers::{Role, role};
use super::keyval::{Fields, number};
use crate::config::{CacheMode, DiskKind, SerialConfig};
use crate::qtest::server::{LogTo, Place};
use crate::sandbox::{self, User};

/// Greatest domain id: those from 0x7ff0 on have other meanings (Xen `public/xen.h`, DOMID_FIRST_RESERVED).
const DOMID_MAX: u16 = 0x7fef;

pub(super) fn path(value: &str) -> Result<PathBuf, Refusal> {
    if value.is_empty() { Err(Refusal::bad("a path is missing")) } else { Ok(value.into()) }
}

pub(super) fn machine(machine: &mut MachineArg, value: &str) -> Result<(), Refusal> {
    let mut fields = Fields::parse(value, Some("type"));
    if let Some(kind) = fields.take("type") {
        machine.kind = match kind.as_str() {
            "none" => MachineKind::None,
            "pc" => MachineKind::Pc,
            "xenfv" => MachineKind::XenFv,
            "xenpv" => return Err(Refusal::not_built("xenpv (back ends for PV guests)")),
            "xenpvh" => return Err(Refusal::not_built("xenpvh (virtio for PVH guests)")),
            "q35" => return Err(Refusal::not_built("q35 (ICH9 chipset)")),
            name if name.starts_with("xenfv-") => MachineKind::XenFv,
            name if name.starts_with("pc-i440fx-") => MachineKind::Pc,
            name if name.starts_with("pc-q35-") => {
                return Err(Refusal::not_built(format!("{name} (ICH9 chipset)")));
            }
            name => {
                return Err(Refusal::bad(format!(
                    "unsupported machine type '{name}' (use -machine help to list supported machines)"
                )));
            }
        };
    }
    if let Some(accel) = fields.take("accel") {
        machine.accels = accel.split(':').map(accel_name).collect::<Result<_, _>>()?;
    }
    if fields.flag("igd-passthru")? == Some(true) {
        return Err(Refusal::not_built("igd-passthru=on (PCI passthrough)"));
    }
    if fields.flag("usb")? == Some(true) {
        return Err(Refusal::not_built("usb=on (USB)"));
    }
    machine.max_ram_below_4g = fields.size("max-ram-below-4g", 1)?.or(machine.max_ram_below_4g);
    machine.suppress_vmdesc |= fields.flag("suppress-vmdesc")?.unwrap_or(false);
    // What these say is so, or is the hypervisor's matter.
    fields.ignore(&["vmport", "hpet", "acpi", "smm", "pit", "sata", "smbus", "i8042", "graphics", "nvdimm"]);
    fields.ignore(&["dump-guest-core", "mem-merge", "kernel-irqchip", "memory-encryption", "usb"]);
    fields.end()
}

fn accel_name(name: &str) -> Result<String, Refusal> {
    match name {
        "xen" | "kvm" | "tcg" | "qtest" => Ok(name.into()),
        _ => Err(Refusal::bad(format!("invalid accelerator {name} (use -accel help to list them)"))),
    }
}

pub(super) fn accel(value: &str) -> Result<String, Refusal> {
    // What follows tunes QEMU's own engines.
    accel_name(value.split(',').next().unwrap_or(""))
}

pub(super) fn name(value: &str) -> Result<String, Refusal> {
    Fields::with_path(value, Some("guest"), &["guest", "process", "debug-threads"]).required("guest")
}

/// In MiB.
pub(super) fn memory(value: &str) -> Result<u64, Refusal> {
    let mut fields = Fields::parse(value, Some("size"));
    let size = fields.size("size", 1 << 20)?.ok_or_else(|| Refusal::bad("size= is missing"))?;
    let slots = fields.number::<u32>("slots")?.unwrap_or(0);
    let most = fields.size("maxmem", 1 << 20)?.unwrap_or(size);
    fields.end()?;
    if slots > 0 && most > size {
        return Err(Refusal::not_built("maxmem= (memory hot plug)"));
    }
    if size % (1 << 20) != 0 {
        return Err(Refusal::bad("memory is given in whole MiB"));
    }
    Ok(size >> 20)
}

pub(super) fn smp(value: &str) -> Result<Smp, Refusal> {
    let mut fields = Fields::parse(value, Some("cpus"));
    let cpus = fields.number::<u32>("cpus")?;
    let maxcpus = fields.number::<u32>("maxcpus")?;
    let mut shape = 1_u32;
    for key in ["sockets", "dies", "clusters", "cores", "threads"] {
        let factor = fields.number::<u32>(key)?.unwrap_or(1);
        shape = shape.checked_mul(factor).ok_or_else(|| Refusal::bad("too many CPUs"))?;
    }
    fields.end()?;
    let cpus = cpus.or(maxcpus).unwrap_or(shape);
    let maxcpus = maxcpus.unwrap_or(cpus.max(shape));
    if cpus == 0 || cpus > maxcpus {
        return Err(Refusal::bad(format!("{cpus} CPUs of at most {maxcpus} cannot be")));
    }
    Ok(Smp { cpus, maxcpus })
}

pub(super) fn boot(value: &str) -> Result<Option<String>, Refusal> {
    let mut fields = Fields::parse(value, Some("order"));
    let order = fields.take("order");
    if fields.take("once").is_some() {
        return Err(Refusal::not_built("once= (another order the first time)"));
    }
    // The firmware's own menu and looks.
    fields.ignore(&["menu", "strict", "splash", "splash-time", "reboot-timeout"]);
    fields.end()?;
    Ok(order)
}

/// Seconds since 1970, and whether the clock shows local time.
pub(super) fn rtc(value: &str) -> Result<(Option<u64>, bool), Refusal> {
    let mut fields = Fields::parse(value, None);
    let base = fields.take("base").unwrap_or_else(|| "utc".into());
    fields.ignore(&["clock", "driftfix"]);
    fields.end()?;
    match base.as_str() {
        "utc" => return Ok((None, false)),
        "localtime" => return Ok((None, true)),
        _ => {}
    }
    let instant = NaiveDateTime::parse_from_str(&base, "%Y-%m-%dT%H:%M:%S").ok();
    let day = || NaiveDate::parse_from_str(&base, "%Y-%m-%d").ok()?.and_hms_opt(0, 0, 0);
    let seconds = instant.or_else(day).and_then(|at| u64::try_from(at.and_utc().timestamp()).ok());
    let wrong =
        || Refusal::bad(format!("base={base}: expected utc, localtime or a date as 2026-01-31T12:00:00"));
    Ok((Some(seconds.ok_or_else(wrong)?), false))
}

/// The keys of `-drive`: where one of them follows a comma, a path has ended.
const DRIVE_KEYS: &[&str] = &[
    "file",
    "if",
    "index",
    "id",
    "media",
    "format",
    "driver",
    "readonly",
    "read-only",
    "snapshot",
    "cache",
    "cache.direct",
    "cache.writeback",
    "cache.no-flush",
    "aio",
    "bus",
    "unit",
    "discard",
    "detect-zeroes",
    "werror",
    "rerror",
    "copy-on-read",
    "node-name",
    "serial",
    "auto-read-only",
    "file.locking",
];

pub(super) fn drive(value: &str) -> Result<Drive, Refusal> {
    let mut fields = Fields::with_path(value, None, DRIVE_KEYS);
    let interface = match fields.take("if").as_deref() {
        None | Some("ide") => Interface::Ide,
        Some("none") => Interface::None,
        Some(other @ ("scsi" | "virtio" | "floppy" | "pflash" | "sd" | "mtd" | "xen")) => {
            return Err(Refusal::not_built(format!("if={other}")));
        }
        Some(other) => return Err(Refusal::bad(format!("if={other}: expected ide or none"))),
    };
    let bus = fields.number::<u8>("bus")?;
    let unit = fields.number::<u8>("unit")?;
    let by_unit = (bus, unit) != (None, None);
    let place = bus.unwrap_or(0).saturating_mul(2).saturating_add(unit.unwrap_or(0));
    let kind = match fields.take("media").as_deref() {
        None | Some("disk") => DiskKind::Disk,
        Some("cdrom") => DiskKind::Cdrom,
        Some(other) => return Err(Refusal::bad(format!("media={other}: expected disk or cdrom"))),
    };
    let (format, driver) = (fields.take("format"), fields.take("driver"));
    let drive = Drive {
        interface,
        index: fields.number("index")?.or(by_unit.then_some(place)),
        id: fields.take("id"),
        file: fields.take("file").filter(|file| !file.is_empty()).map(PathBuf::from),
        format: format.or(driver),
        kind,
        readonly: fields.flag("readonly")?.or(fields.flag("read-only")?).unwrap_or(false),
        snapshot: fields.flag("snapshot")?.unwrap_or(false),
        cache: cache(&mut fields)?,
    };
    // Hints about how the host does it, and names that nothing here refers to.
    fields.ignore(&["aio", "discard", "detect-zeroes", "werror", "rerror", "copy-on-read", "node-name"]);
    fields.ignore(&["auto-read-only", "file.locking"]);
    if fields.take("serial").is_some() {
        return Err(Refusal::not_built("serial="));
    }
    fields.end()?;
    Ok(drive)
}

fn cache(fields: &mut Fields) -> Result<CacheMode, Refusal> {
    let mode = fields.take("cache");
    let direct = fields.flag("cache.direct")?.unwrap_or(false);
    let no_flush = fields.flag("cache.no-flush")?.unwrap_or(false);
    let writeback = fields.flag("cache.writeback")?.unwrap_or(true);
    match mode {
        Some(mode) => CacheMode::parse(&mode).map_err(|error| Refusal::bad(error.to_string())),
        None if no_flush => Ok(CacheMode::Unsafe),
        None if !writeback => Ok(CacheMode::Writethrough),
        None if direct => Ok(CacheMode::None),
        None => Ok(CacheMode::Writeback),
    }
}

fn plain_drive(file: &str, kind: DiskKind, index: u8) -> Result<Drive, Refusal> {
    Ok(Drive {
        interface: Interface::Ide,
        index: Some(index),
        id: None,
        file: Some(path(file)?),
        format: None,
        kind,
        readonly: false,
        snapshot: false,
        cache: CacheMode::Writeback,
    })
}

pub(super) fn hard_disk(place: u8, value: &str) -> Result<Drive, Refusal> {
    plain_drive(value, DiskKind::Disk, place)
}

pub(super) fn cdrom(value: &str) -> Result<Drive, Refusal> {
    plain_drive(value, DiskKind::Cdrom, 2)
}

pub(super) fn device(value: &str) -> Result<DeviceArg, Refusal> {
    let mut props = Fields::parse(value, Some("driver"));
    let driver = props.required("driver")?;
    match role(&driver) {
        None => Err(Refusal::bad(format!("'{driver}' is not a valid device model name"))),
        Some(Role::NotBuilt(what)) => Err(Refusal::not_built(format!("{driver} ({what})"))),
        Some(_) => Ok(DeviceArg { driver, id: props.take("id"), props }),
    }
}

pub(super) fn netdev(value: &str) -> Result<Netdev, Refusal> {
    let mut fields = Fields::parse(value, Some("type"));
    let kind = fields.required("type")?;
    let id = fields.required("id")?;
    match kind.as_str() {
        "tap" => {
            let script =
                |fields: &mut Fields, key| fields.take(key).is_none_or(|s| s == "no" || s.is_empty());
            if !(script(&mut fields, "script") & script(&mut fields, "downscript")) {
                return Err(Refusal::not_built("script= (scripts of our own; the toolstack runs them)"));
            }
            let netdev = Netdev::Tap { id, ifname: fields.take("ifname"), bridge: fields.take("br") };
            fields.ignore(&["vhost", "queues", "sndbuf"]);
            fields.end()?;
            Ok(netdev)
        }
        "user" => {
            fields.end()?;
            Ok(Netdev::User { id })
        }
        other => Err(Refusal::not_built(other)),
    }
}

pub(super) fn net(value: &str) -> Result<(), Refusal> {
    if value == "none" { Ok(()) } else { Err(Refusal::not_built(format!("{value} (network card)"))) }
}

pub(super) fn vga(value: &str) -> Result<bool, Refusal> {
    match value {
        "none" => Ok(false),
        "std" => Ok(true),
        "cirrus" | "vmware" | "qxl" | "virtio" | "tcx" | "cg3" | "xenfb" => {
            Err(Refusal::not_built(format!("{value} (display adapter)")))
        }
        _ => Err(Refusal::bad("expected std or none")),
    }
}

pub(super) fn display(value: &str) -> Result<(), Refusal> {
    match value.split(',').next() {
        Some("none") => Ok(()),
        other => Err(Refusal::not_built(format!("{} (window)", other.unwrap_or("")))),
    }
}

/// The name of a keyboard layout.
pub(super) fn keymap(value: &str) -> Result<String, Refusal> {
    if Layout::names().any(|name| name == value) {
        return Ok(value.into());
    }
    let all = Layout::names().collect::<Vec<_>>().join(", ");
    Err(Refusal::bad(format!("could not read keymap file: '{value}': the layouts are {all}")))
}

/// The keys of `-vnc`.
const VNC_KEYS: &[&str] = &[
    "vnc",
    "to",
    "password",
    "password-secret",
    "websocket",
    "reverse",
    "tls-creds",
    "tls-authz",
    "sasl",
    "sasl-authz",
    "acl",
    "lossy",
    "non-adaptive",
    "share",
    "key-delay-ms",
    "connections",
    "audiodev",
    "power-control",
    "ipv4",
    "ipv6",
    "id",
    "display",
    "head",
];

pub(super) fn vnc(value: &str) -> Result<Option<VncArg>, Refusal> {
    if value == "none" {
        return Ok(None);
    }
    let mut fields = Fields::with_path(value, Some("vnc"), VNC_KEYS);
    let address = fields.required("vnc")?;
    for key in ["websocket", "reverse", "tls-creds", "sasl", "acl", "password-secret", "audiodev"] {
        if fields.take(key).is_some_and(|value| value != "off") {
            return Err(Refusal::not_built(format!("{key}=")));
        }
    }
    let to = fields.number("to")?;
    let password = fields.flag("password")?.unwrap_or(false);
    fields.ignore(&["lossy", "non-adaptive", "share", "key-delay-ms", "connections", "power-control"]);
    fields.ignore(&["ipv4", "ipv6", "id"]);
    fields.end()?;
    if let Some(socket) = address.strip_prefix("unix:") {
        return Ok(Some(VncArg { listen: VncListen::Unix(path(socket)?), to, password }));
    }
    let wrong = || Refusal::bad(format!("{address}: expected HOST:DISPLAY, unix:PATH or none"));
    let (host, display) = address.rsplit_once(':').ok_or_else(wrong)?;
    // Brackets keep the colons of an IPv6 address apart.
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let display =
        display.parse::<u16>().ok().filter(|display| *display <= u16::MAX - 5900).ok_or_else(wrong)?;
    Ok(Some(VncArg { listen: VncListen::Tcp { host: bare.into(), display }, to, password }))
}

/// The keys of `-chardev`.
const CHARDEV_KEYS: &[&str] = &[
    "backend",
    "id",
    "path",
    "fd",
    "host",
    "port",
    "server",
    "wait",
    "logfile",
    "logappend",
    "mux",
    "append",
    "name",
    "signal",
    "nodelay",
    "reconnect",
    "telnet",
    "to",
    "ipv4",
    "ipv6",
    "abstract",
    "tight",
    "input-path",
];

pub(super) fn chardev(value: &str) -> Result<Chardev, Refusal> {
    let mut fields = Fields::with_path(value, Some("backend"), CHARDEV_KEYS);
    let backend = fields.required("backend")?;
    let id = fields.required("id")?;
    if fields.take("logfile").is_some() {
        return Err(Refusal::not_built("logfile="));
    }
    let line = match backend.as_str() {
        "null" => SerialConfig::Null,
        "pty" => SerialConfig::Pty,
        "stdio" => SerialConfig::Stdio,
        "file" => SerialConfig::File(path(&fields.required("path")?)?),
        "socket" => return socket(id, fields),
        "spicevmc" | "spiceport" | "vc" | "pipe" | "udp" | "serial" | "tty" | "parallel" | "parport"
        | "ringbuf" | "memory" | "msmouse" | "braille" | "testdev" | "wctablet" | "console" | "dbus" => {
            return Err(Refusal::not_built(format!("{backend},id={id}")));
        }
        _ => return Err(Refusal::bad(format!("there is no character device '{backend}'"))),
    };
    fields.ignore(&["mux", "append", "signal", "logappend"]);
    fields.end()?;
    Ok(Chardev { id, target: ChardevTarget::Line(line) })
}

/// A socket that we listen on, with nobody waiting for the first client, or that we connect to.
fn socket(id: String, mut fields: Fields) -> Result<Chardev, Refusal> {
    if fields.get("host").or(fields.get("port")).is_some() {
        return Err(Refusal::not_built(format!("socket,id={id},port= (TCP)")));
    }
    let server = fields.flag("server")?.unwrap_or(false);
    let fd = fields.number::<i32>("fd")?;
    let file = fields.take("path");
    // Nothing here waits for a client, whatever is asked.
    fields.ignore(&["wait", "reconnect", "nodelay", "mux", "logappend"]);
    fields.end()?;
    let target = match (fd, file) {
        (Some(fd), None) if server => ChardevTarget::Fd(inherited(fd)?),
        (Some(_), None) => {
            return Err(Refusal::not_built(format!(
                "socket,id={id},fd= without server=on (a given connection)"
            )));
        }
        (None, Some(file)) if server => ChardevTarget::Line(SerialConfig::Unix(path(&file)?)),
        (None, Some(file)) => ChardevTarget::Line(SerialConfig::Connect(path(&file)?)),
        _ => return Err(Refusal::bad("a socket has one of path= and fd=")),
    };
    Ok(Chardev { id, target })
}

/// The number of a file that was given to us: the first three have a meaning of their own.
fn inherited(fd: i32) -> Result<i32, Refusal> {
    if fd > 2 { Ok(fd) } else { Err(Refusal::bad(format!("fd {fd} is none that can be given to us"))) }
}

pub(super) fn mon(value: &str) -> Result<Mon, Refusal> {
    let mut fields = Fields::parse(value, Some("chardev"));
    let chardev = fields.required("chardev")?;
    match fields.take("mode").as_deref() {
        Some("control") => {}
        None | Some("readline") => {
            return Err(Refusal::not_built(format!("{chardev} (the monitor for people)")));
        }
        Some(other) => return Err(Refusal::bad(format!("mode={other}: expected control"))),
    }
    fields.ignore(&["pretty"]);
    fields.end()?;
    Ok(Mon { chardev })
}

/// A line and a monitor on it.
pub(super) fn qmp(value: &str, index: usize) -> Result<(Chardev, Mon), Refusal> {
    let socket = value.strip_prefix("unix:").ok_or_else(|| Refusal::not_built(value))?;
    let id = format!("compat_monitor{index}");
    let chardev = Chardev { id: id.clone(), target: ChardevTarget::Line(unix(socket)?) };
    Ok((chardev, Mon { chardev: id }))
}

/// What follows `unix:`.
fn unix(value: &str) -> Result<SerialConfig, Refusal> {
    let mut fields = Fields::with_path(value, Some("path"), &["server", "wait", "nowait", "reconnect"]);
    let file = fields.required("path")?;
    let server = fields.flag("server")?.unwrap_or(false);
    fields.ignore(&["wait", "reconnect"]);
    fields.end()?;
    let file = path(&file)?;
    Ok(if server { SerialConfig::Unix(file) } else { SerialConfig::Connect(file) })
}

pub(super) fn serial(value: &str, chardevs: &[Chardev]) -> Result<SerialConfig, Refusal> {
    let (kind, rest) = value.split_once(':').unwrap_or((value, ""));
    match (kind, rest) {
        ("none", "") => Ok(SerialConfig::None),
        ("null", "") => Ok(SerialConfig::Null),
        ("pty", "") => Ok(SerialConfig::Pty),
        ("stdio", "") | ("mon", "stdio") => Ok(SerialConfig::Stdio),
        ("file", file) => Ok(SerialConfig::File(path(file)?)),
        ("unix", socket) => unix(socket),
        ("chardev", id) => {
            match chardevs.iter().find(|chardev| chardev.id == id).map(|found| &found.target) {
                Some(ChardevTarget::Line(line)) => Ok(line.clone()),
                Some(ChardevTarget::Fd(_)) => {
                    Err(Refusal::not_built(format!("chardev:{id} (on a given fd)")))
                }
                None => Err(Refusal::bad(format!("there is no chardev '{id}'"))),
            }
        }
        ("tcp" | "telnet" | "udp" | "pipe" | "vc" | "mon" | "msmouse" | "braille" | "con", _) => {
            Err(Refusal::not_built(value))
        }
        _ if value.starts_with("/dev/") => Err(Refusal::not_built(format!("{value} (a device of the host)"))),
        _ => Err(Refusal::bad("expected pty, stdio, file:PATH, unix:PATH, null or none")),
    }
}

/// Where a machine with no CPU is driven from.
pub(super) fn qtest(value: &str, chardevs: &[Chardev]) -> Result<Place, Refusal> {
    let line = match value.split_once(':') {
        _ if value == "stdio" => SerialConfig::Stdio,
        Some(("unix", socket)) => unix(socket)?,
        Some(("chardev", _)) => serial(value, chardevs)?,
        _ => return Err(Refusal::bad("expected unix:PATH, chardev:ID or stdio")),
    };
    match line {
        SerialConfig::Stdio => Ok(Place::Stdio),
        SerialConfig::Unix(path) => Ok(Place::Listen(path)),
        SerialConfig::Connect(path) => Ok(Place::Connect(path)),
        _ => Err(Refusal::not_built(format!("{value} (neither a socket nor standard input)"))),
    }
}

pub(super) fn qtest_log(value: &str) -> Result<LogTo, Refusal> {
    if value == "none" { Ok(LogTo::Nothing) } else { Ok(LogTo::File(path(value)?)) }
}

/// Only whether instructions are counted; how long each takes is fixed.
pub(super) fn icount(value: &str) -> Result<(), Refusal> {
    let mut fields = Fields::parse(value, Some("shift"));
    if let Some(shift) = fields.take("shift").filter(|shift| shift != "auto") {
        number::<u8>("shift", &shift)?;
    }
    for key in ["rr", "rrfile", "rrsnapshot"] {
        if fields.take(key).is_some() {
            return Err(Refusal::not_built(format!("{key}= (QEMU's record and replay; --record-io)")));
        }
    }
    fields.ignore(&["sleep", "align"]);
    fields.end()
}

/// `MODEL.KEY=VALUE`, or the long form.
pub(super) fn global(value: &str) -> Result<Global, Refusal> {
    let wrong = || Refusal::bad("expected MODEL.KEY=VALUE");
    let mut fields = Fields::parse(value, None);
    let (driver, property, value) = match fields.take("driver") {
        Some(driver) => (driver, fields.required("property")?, fields.required("value")?),
        None => {
            let (name, value) = value.split_once('=').ok_or_else(wrong)?;
            // The model's name may have dots in it.
            let (driver, property) = name.rsplit_once('.').ok_or_else(wrong)?;
            (driver.into(), property.into(), value.into())
        }
    };
    if role(&driver).is_none() {
        return Err(Refusal::not_built(format!("{driver}.{property} (a property of a fixed device)")));
    }
    Ok(Global { driver, property, value })
}

/// A line that we do not have: only its absence can be asked for.
pub(super) fn no_line(value: &str, what: &str) -> Result<(), Refusal> {
    match value {
        "none" | "null" | "/dev/null" => Ok(()),
        _ => Err(Refusal::not_built(format!("{value} ({what})"))),
    }
}

pub(super) fn debugcon(value: &str) -> Result<PathBuf, Refusal> {
    let file = value.strip_prefix("file:").ok_or_else(|| Refusal::not_built(value))?;
    path(file)
}

pub(super) fn incoming(value: &str) -> Result<Incoming, Refusal> {
    match value.split_once(':') {
        Some(("fd", fd)) => Ok(Incoming::Fd(inherited(number("fd", fd)?)?)),
        Some(("file", file)) => Ok(Incoming::File(path(file)?)),
        Some(("tcp" | "unix" | "exec" | "rdma" | "vsock", _)) => Err(Refusal::not_built(value)),
        None if value == "defer" => Err(Refusal::not_built(value)),
        _ => Err(Refusal::bad("expected fd:N or file:PATH")),
    }
}

pub(super) fn user(value: &str) -> Result<User, Refusal> {
    match value.split_once(':') {
        None if value.is_empty() => Err(Refusal::bad("a user is missing")),
        None => Ok(User::Name(value.into())),
        Some((uid, gid)) => Ok(User::Ids { uid: number("uid", uid)?, gid: number("gid", gid)? }),
    }
}

pub(super) fn run_with(sandbox: &mut sandbox::Options, value: &str) -> Result<(), Refusal> {
    let mut fields =
        Fields::with_path(value, None, &["chroot", "user", "async-teardown", "exit-with-parent"]);
    if let Some(folder) = fields.take("chroot") {
        sandbox.chroot = Some(path(&folder)?);
    }
    if let Some(name) = fields.take("user") {
        sandbox.user = Some(user(&name)?);
    }
    fields.ignore(&["async-teardown", "exit-with-parent"]);
    fields.end()
}

/// Whether the process is confined. What it may do then is one set: QEMU's keys choose among more.
pub(super) fn sandbox(value: &str) -> Result<bool, Refusal> {
    let mut fields = Fields::parse(value, Some("enable"));
    let on = fields.flag("enable")?.unwrap_or(true);
    fields.ignore(&["obsolete", "elevateprivileges", "spawn", "resourcecontrol"]);
    fields.end()?;
    Ok(on)
}

pub(super) fn domid(value: &str) -> Result<u16, Refusal> {
    number::<u16>("domid", value)
        .ok()
        .filter(|domid| *domid <= DOMID_MAX)
        .ok_or_else(|| Refusal::bad(format!("expected a domain id from 0 to {DOMID_MAX}")))
}
