//! The values of single options.

use std::path::PathBuf;

use backends::image::{NULL_SIZE, is_null, null_path};
use backends::vnc::{CONNECTIONS, FIRST_PORT, Options, Place, Share, connections, policy, websocket_port};
use chrono::{NaiveDate, NaiveDateTime};
use devices::input::layouts::Layout;

use super::Refusal;
use super::config::{
    DeviceArg, Drive, Global, Incoming, Interface, MachineArg, MachineKind, Smp, Vga, VncArg,
};
use super::drivers::{Driver, driver};
use super::keyval::{Fields, is_identifier, number};
use crate::config::{CacheMode, DiskKind};
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
    machine.max_ram_below_4g = fields.size("max-ram-below-4g", 1)?.or(machine.max_ram_below_4g);
    machine.suppress_vmdesc |= fields.flag("suppress-vmdesc")?.unwrap_or(false);
    machine.features.acpi = fields.flag("acpi")?.unwrap_or(machine.features.acpi);
    machine.features.hpet = fields.flag("hpet")?.unwrap_or(machine.features.hpet);
    machine.features.graphics = fields.flag("graphics")?.unwrap_or(machine.features.graphics);
    machine.usb = fields.flag("usb")?.unwrap_or(machine.usb);
    machine.memory_backend = fields.take("memory-backend").or(machine.memory_backend.take());
    for (key, chip) in ["pflash0", "pflash1"].into_iter().zip(&mut machine.pflash) {
        *chip = fields.take(key).or(chip.take());
    }
    machine.speaker = fields.take("pcspk-audiodev").or(machine.speaker.take());
    machine_parts(&mut fields)?;
    // How the host keeps the guest's memory, and what only KVM has; the chipset of `pc` has no SATA.
    fields.ignore(&["dump-guest-core", "mem-merge", "kernel-irqchip", "sata"]);
    fields.end()
}

/// Parts that are always there, and parts that never are.
fn machine_parts(fields: &mut Fields) -> Result<(), Refusal> {
    for key in ["pit", "i8042", "smbus"] {
        fields.only(key, &["on"], "a PC without it")?;
    }
    fields.only("vmport", &["off", "auto"], "VMware's port")?;
    fields.only("smm", &["off", "auto"], "system management mode")?;
    fields.only("nvdimm", &["off"], "NVDIMMs")?;
    fields.only("igd-passthru", &["off"], "PCI passthrough")?;
    fields.only("memory-encryption", &[], "encrypted guests")
}

fn accel_name(name: &str) -> Result<String, Refusal> {
    match name {
        "xen" | "kvm" | "tcg" | "qtest" => Ok(name.into()),
        _ => Err(Refusal::bad(format!("invalid accelerator {name} (use -accel help to list them)"))),
    }
}

pub(super) fn accel(value: &str) -> Result<String, Refusal> {
    let mut fields = Fields::parse(value, Some("accel"));
    let name = accel_name(&fields.required("accel")?)?;
    match name.as_str() {
        "tcg" => {
            // How fast QEMU's engine is, not what it does.
            fields.ignore(&["thread", "tb-size", "split-wx", "one-insn-per-tb"]);
        }
        "kvm" => fields.ignore(&["kernel-irqchip", "dirty-ring-size", "notify-vmexit"]),
        "xen" => fields.only("igd-passthru", &["off"], "PCI passthrough")?,
        _ => {}
    }
    fields.end()?;
    Ok(name)
}

pub(super) fn name(value: &str) -> Result<String, Refusal> {
    let mut fields = Fields::with_path(value, Some("guest"), &["guest", "process", "debug-threads"]);
    let name = fields.required("guest")?;
    fields.only("process", &[], "another name of the process")?;
    // Threads have names anyway.
    fields.flag("debug-threads")?;
    fields.end()?;
    Ok(name)
}

/// `-usbdevice`: a device by its short name.
pub(super) fn usb_device(value: &str) -> Result<String, Refusal> {
    match value {
        "tablet" | "mouse" | "keyboard" => Ok(value.into()),
        _ => Err(Refusal::not_built(format!("{value} (USB)"))),
    }
}

/// `-overcommit`: how the host is to keep the guest's memory and CPUs.
pub(super) fn overcommit(value: &str) -> Result<(), Refusal> {
    let mut fields = Fields::parse(value, None);
    fields.only("mem-lock", &["off"], "locked memory")?;
    fields.only("cpu-pm", &["off"], "the guest's power states on the host's CPUs")?;
    fields.end()
}

/// `-msg`: every message has the time.
pub(super) fn msg(value: &str) -> Result<(), Refusal> {
    let mut fields = Fields::parse(value, None);
    fields.only("timestamp", &["on"], "messages without the time")?;
    fields.only("guest-name", &["off"], "the guest's name before messages")?;
    fields.end()
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

/// Seconds since 1970, and whether the clock shows local time.
pub(super) fn rtc(value: &str) -> Result<(Option<u64>, bool), Refusal> {
    let mut fields = Fields::parse(value, None);
    let base = fields.take("base").unwrap_or_else(|| "utc".into());
    fields.only("clock", &["host", "vm"], "a clock of its own")?;
    fields.only("driftfix", &["none"], "making up for lost interrupts")?;
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
    "read-zeroes",
    "file.read-zeroes",
    "file.size",
    "file.latency-ns",
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
        Some("virtio") => Interface::Virtio,
        Some("none") => Interface::None,
        Some("pflash") => Interface::Pflash,
        Some(other @ ("scsi" | "floppy" | "sd" | "mtd" | "xen")) => {
            return Err(Refusal::not_built(format!("if={other}")));
        }
        Some(other) => return Err(Refusal::bad(format!("if={other}: expected ide, virtio, pflash or none"))),
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
    let (mut format, mut driver) = (fields.take("format"), fields.take("driver"));
    let mut file = fields.take("file").filter(|file| !file.is_empty()).map(PathBuf::from);
    if let Some(null) = driver.as_deref().and_then(null_path) {
        null_options(&mut fields, "")?;
        if file.is_some() {
            return Err(Refusal::bad(format!("driver={} has no file=", driver.unwrap_or_default())));
        }
        (file, driver) = (Some(null), None);
    } else if file.as_deref().is_some_and(is_null) {
        null_options(&mut fields, "file.")?;
        // Zeros are in no format.
        format = format.or(Some("raw".into()));
    }
    let id = fields.take("id");
    if id.as_deref().is_some_and(|id| !is_identifier(id)) {
        return Err(Refusal::bad("Parameter 'id' expects an identifier"));
    }
    let drive = Drive {
        interface,
        index: fields.number("index")?.or(by_unit.then_some(place)),
        id,
        file,
        format: format.or(driver),
        kind,
        readonly: fields.flag("readonly")?.or(fields.flag("read-only")?).unwrap_or(false),
        snapshot: fields.flag("snapshot")?.unwrap_or(false),
        cache: cache(&mut fields)?,
        device: ["serial", "rerror", "werror"]
            .into_iter()
            .filter_map(|name| Some((name, fields.take(name)?)))
            .collect(),
    };
    // Hints about how the host does it.
    one_of(&mut fields, "aio", &["threads", "native", "io_uring"])?;
    one_of(&mut fields, "discard", &["ignore", "off", "unmap", "on"])?;
    one_of(&mut fields, "detect-zeroes", &["off", "on", "unmap"])?;
    fields.ignore(&["auto-read-only", "file.locking"]);
    fields.only("copy-on-read", &["off"], "copying what is read from a backing file")?;
    fields.only("node-name", &[], "names of nodes; -blockdev gives them")?;
    fields.end()?;
    Ok(drive)
}

/// Takes what is said of an image that lies in no file: it reads as zeros whether or not that was asked for.
pub(super) fn null_options(fields: &mut Fields, prefix: &str) -> Result<(), Refusal> {
    fields.flag(&format!("{prefix}read-zeroes"))?;
    let size = NULL_SIZE.to_string();
    for (key, only) in [("size", size.as_str()), ("latency-ns", "0")] {
        fields.only(&format!("{prefix}{key}"), &[only], "another size or a delay of null-co")?;
    }
    Ok(())
}

/// Takes a field whose words all come to the same here.
fn one_of(fields: &mut Fields, key: &str, words: &[&str]) -> Result<(), Refusal> {
    match fields.take(key) {
        Some(word) if !words.contains(&word.as_str()) => {
            Err(Refusal::bad(format!("{key}={word}: expected {}", words.join(", "))))
        }
        _ => Ok(()),
    }
}

/// `cache=`, or the three switches that it stands for.
pub(super) fn cache(fields: &mut Fields) -> Result<CacheMode, Refusal> {
    let mode = fields.take("cache");
    let (direct, no_flush, writeback) = match mode.as_deref() {
        None | Some("writeback") => (false, false, true),
        Some("none") => (true, false, true),
        Some("writethrough") => (false, false, false),
        Some("directsync") => (true, false, false),
        Some("unsafe") => (false, true, true),
        Some(other) => {
            let words = "writeback, none, writethrough, directsync or unsafe";
            return Err(Refusal::bad(format!("cache={other}: expected {words}")));
        }
    };
    let direct = fields.flag("cache.direct")?.unwrap_or(direct);
    let no_flush = fields.flag("cache.no-flush")?.unwrap_or(no_flush);
    let writeback = fields.flag("cache.writeback")?.unwrap_or(writeback);
    match (direct, no_flush, writeback) {
        (false, false, true) => Ok(CacheMode::Writeback),
        (true, false, true) => Ok(CacheMode::None),
        (false, false, false) => Ok(CacheMode::Writethrough),
        (false, true, true) => Ok(CacheMode::Unsafe),
        (true, false, false) => {
            Err(Refusal::not_built("cache=directsync (every write on the disk, past the page cache)"))
        }
        (_, true, _) => Err(Refusal::not_built("cache.no-flush=on beside another cache than writeback")),
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
        device: Vec::new(),
    })
}

pub(super) fn hard_disk(place: u8, value: &str) -> Result<Drive, Refusal> {
    plain_drive(value, DiskKind::Disk, place)
}

pub(super) fn cdrom(value: &str) -> Result<Drive, Refusal> {
    plain_drive(value, DiskKind::Cdrom, 2)
}

/// `-pflash`: the next chip.
pub(super) fn pflash(value: &str) -> Result<Drive, Refusal> {
    let drive = plain_drive(value, DiskKind::Disk, 0)?;
    Ok(Drive { interface: Interface::Pflash, index: None, ..drive })
}

pub(super) fn device(value: &str) -> Result<DeviceArg, Refusal> {
    let mut props = Fields::of_option(value, "driver")?;
    let name = props.required("driver")?;
    match driver(&name) {
        None => Err(Refusal::bad(format!("'{name}' is not a valid device model name"))),
        Some(Driver::NotBuilt(what)) => Err(Refusal::not_built(format!("{name} ({what})"))),
        Some(Driver::Built(model)) => {
            Ok(DeviceArg { driver: model.name.into(), id: props.take("id"), props })
        }
    }
}

pub(super) fn vga(value: &str) -> Result<Vga, Refusal> {
    match value {
        "none" => Ok(Vga::None),
        "std" => Ok(Vga::Std),
        "cirrus" => Ok(Vga::Cirrus),
        "virtio" => Ok(Vga::Virtio),
        "vmware" | "qxl" | "tcx" | "cg3" | "xenfb" => {
            Err(Refusal::not_built(format!("{value} (display adapter)")))
        }
        _ => Err(Refusal::bad("expected std, cirrus, virtio or none")),
    }
}

pub(super) fn display(value: &str) -> Result<(), Refusal> {
    let mut fields = Fields::parse(value, Some("type"));
    match fields.required("type")?.as_str() {
        "none" => fields.end(),
        other => Err(Refusal::not_built(format!("{other} (window)"))),
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
    for key in ["sasl", "acl", "password-secret"] {
        if fields.take(key).is_some_and(|value| value != "off") {
            return Err(Refusal::not_built(format!("{key}=")));
        }
    }
    let tls_creds = fields.take("tls-creds");
    fields.only("tls-authz", &[], "a list of certificates that are let in")?;
    // How pictures are packed, and how fast keys come.
    fields.ignore(&["lossy", "non-adaptive", "key-delay-ms", "id"]);
    fields.only("power-control", &["off"], "power control by clients")?;
    fields.only("ipv4", &["on"], "one family of addresses alone")?;
    fields.only("ipv6", &["on"], "one family of addresses alone")?;
    let reverse = fields.flag("reverse")?.unwrap_or(false);
    let place = vnc_place(&address, fields.number("to")?, reverse)?;
    let read = |value: Option<String>| value.map(|value| websocket_port(&value)).transpose();
    let options = Options {
        password: fields.flag("password")?.unwrap_or(false),
        share: fields
            .take("share")
            .map_or(Ok(Share::default()), |value| policy(&value))
            .map_err(Refusal::bad)?,
        websocket: read(fields.take("websocket")).map_err(Refusal::bad)?.flatten(),
        connections: fields
            .take("connections")
            .map_or(Ok(CONNECTIONS), |value| connections(&value))
            .map_err(Refusal::bad)?,
        reverse,
        audiodev: fields.take("audiodev"),
        ..Options::at(place)
    };
    fields.end()?;
    options.check().map_err(Refusal::bad)?;
    Ok(Some(VncArg { options, tls_creds }))
}

/// Where the clients of `-vnc` connect; or, with `reverse=on`, the viewer that listens, by its port.
fn vnc_place(address: &str, to: Option<u16>, reverse: bool) -> Result<Place, Refusal> {
    if let Some(socket) = address.strip_prefix("unix:") {
        return Ok(Place::Unix(path(socket)?));
    }
    let wrong = || Refusal::bad(format!("{address}: expected HOST:DISPLAY, unix:PATH or none"));
    let (host, display) = address.rsplit_once(':').ok_or_else(wrong)?;
    // Brackets keep the colons of an IPv6 address apart.
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let most = if reverse { u16::MAX } else { u16::MAX - FIRST_PORT };
    let display = display.parse::<u16>().ok().filter(|display| *display <= most).ok_or_else(wrong)?;
    let to = to.map_or(display, |to| to.max(display));
    Ok(Place::Tcp { host: bare.into(), display, to })
}

/// Only whether instructions are counted; how long each takes is fixed.
pub(super) fn icount(value: &str) -> Result<(), Refusal> {
    let mut fields = Fields::parse(value, Some("shift"));
    if let Some(shift) = fields.take("shift").filter(|shift| shift != "auto") {
        number::<u8>("shift", &shift)?;
    }
    for key in ["rr", "rrfile", "rrsnapshot"] {
        fields.only(key, &[], "QEMU's record and replay; --record-io")?;
    }
    fields.only("align", &["off"], "keeping to the host's time")?;
    fields.flag("sleep")?;
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
    if self::driver(&driver).is_none() {
        return Err(Refusal::not_built(format!("{driver}.{property} (a property of a fixed device)")));
    }
    Ok(Global { driver, property, value })
}

/// The number of a file that was given to us: the first three have a meaning of their own.
pub(super) fn inherited(fd: i32) -> Result<i32, Refusal> {
    if fd > 2 { Ok(fd) } else { Err(Refusal::bad(format!("fd {fd} is none that can be given to us"))) }
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
    fields.only("exit-with-parent", &["off"], "ending with the parent")?;
    // How the host gets the memory back.
    fields.flag("async-teardown")?;
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
