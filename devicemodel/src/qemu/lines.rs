//! Options about lines: character devices, monitors, serial ports.

use std::path::PathBuf;

use super::Refusal;
use super::config::{Chardev, ChardevTarget, Mon};
use super::keyval::Fields;
use super::values::{inherited, path};
use crate::config::{BackEndConfig, BackEndPlace, ChardevConfig, SerialConfig};
use crate::qtest::server::{LogTo, QtestSocket};

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
    "delay",
    "nodelay",
    "reconnect",
    "reconnect-ms",
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
    fields.only("mux", &["off"], "several users of one line")?;
    // It says how a log file is opened.
    fields.ignore(&["logappend"]);
    let line = match backend.as_str() {
        "null" => SerialConfig::Null,
        "pty" => SerialConfig::Pty,
        "stdio" => SerialConfig::Stdio,
        "file" => {
            let append = fields.flag("append")? == Some(true);
            let path = path(&fields.required("path")?)?;
            if append { SerialConfig::Append(path) } else { SerialConfig::File(path) }
        }
        "socket" => return socket(id, fields),
        "spicevmc" | "spiceport" | "vc" | "pipe" | "udp" | "serial" | "tty" | "parallel" | "parport"
        | "ringbuf" | "memory" | "msmouse" | "braille" | "testdev" | "wctablet" | "console" | "dbus" => {
            return Err(Refusal::not_built(format!("{backend},id={id}")));
        }
        _ => return Err(Refusal::bad(format!("there is no character device '{backend}'"))),
    };
    if line == SerialConfig::Stdio {
        fields.only("signal", &["off"], "signals by the guest's terminal")?;
    }
    fields.end()?;
    Ok(Chardev { id, target: ChardevTarget::Serial(line), reconnect: 0, reconnect_ms: 0 })
}

/// A socket that we listen on, with nobody waiting for the first client, or that we connect to.
fn socket(id: String, mut fields: Fields) -> Result<Chardev, Refusal> {
    if fields.get("host").or(fields.get("port")).is_some() {
        return Err(Refusal::not_built(format!("socket,id={id},port= (TCP)")));
    }
    let server = fields.flag("server")?.unwrap_or(false);
    let fd = fields.number::<i32>("fd")?;
    let file = fields.take("path");
    let reconnect = fields.number("reconnect")?;
    let reconnect_ms = fields.number("reconnect-ms")?;
    if reconnect.is_some() && reconnect_ms.is_some() {
        return Err(Refusal::bad("'reconnect' and 'reconnect-ms' are mutually exclusive"));
    }
    let (reconnect, reconnect_ms) = (reconnect.unwrap_or(0), reconnect_ms.unwrap_or(0));
    client_options(&mut fields)?;
    fields.end()?;
    if server && (reconnect > 0 || reconnect_ms > 0) {
        return Err(Refusal::bad("'reconnect' option is incompatible with socket in server mode"));
    }
    let target = match (fd, file) {
        (Some(fd), None) if server => ChardevTarget::Fd(inherited(fd)?),
        (Some(_), None) => {
            return Err(Refusal::not_built(format!(
                "socket,id={id},fd= without server=on (a given connection)"
            )));
        }
        (None, Some(file)) if server => ChardevTarget::Serial(SerialConfig::Unix(path(&file)?)),
        (None, Some(file)) => ChardevTarget::Serial(SerialConfig::Connect(path(&file)?)),
        _ => return Err(Refusal::bad("a socket has one of path= and fd=")),
    };
    Ok(Chardev { id, target, reconnect, reconnect_ms })
}

/// As the process that serves a device.
pub(super) fn back_end(chardev: &Chardev) -> Result<BackEndConfig, Refusal> {
    let place = match &chardev.target {
        ChardevTarget::Serial(SerialConfig::Connect(path)) => BackEndPlace::Connect(path.clone()),
        ChardevTarget::Serial(SerialConfig::Unix(path)) => BackEndPlace::Listen(path.clone()),
        ChardevTarget::Fd(fd) => BackEndPlace::Fd(*fd),
        ChardevTarget::Serial(_) => {
            return Err(Refusal::bad(format!("chardev '{}' is no unix socket", chardev.id)));
        }
    };
    let reconnect_ms = u64::from(chardev.reconnect) * 1000 + chardev.reconnect_ms;
    Ok(BackEndConfig { id: chardev.id.clone(), place, reconnect_ms })
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
    fields.only("pretty", &["off"], "answers of several lines")?;
    fields.end()?;
    Ok(Mon { chardev })
}

/// A line and a monitor on it.
pub(super) fn qmp(value: &str, index: usize) -> Result<(Chardev, Mon), Refusal> {
    let socket = value.strip_prefix("unix:").ok_or_else(|| Refusal::not_built(value))?;
    let id = format!("compat_monitor{index}");
    let target = ChardevTarget::Serial(unix(socket)?);
    let chardev = Chardev { id: id.clone(), target, reconnect: 0, reconnect_ms: 0 };
    Ok((chardev, Mon { chardev: id }))
}

/// The line as a device has it.
pub(super) fn of_device(chardev: &Chardev) -> Result<ChardevConfig, Refusal> {
    once(chardev)?;
    match &chardev.target {
        ChardevTarget::Serial(line) => Ok(ChardevConfig { id: chardev.id.clone(), line: line.clone() }),
        ChardevTarget::Fd(_) => {
            Err(Refusal::not_built(format!("{},fd= (a device's line on a given fd)", chardev.id)))
        }
    }
}

/// Only networks and devices that other processes serve connect again.
pub(super) fn once(chardev: &Chardev) -> Result<(), Refusal> {
    match (chardev.reconnect, chardev.reconnect_ms) {
        (0, 0) => Ok(()),
        (0, time) => Err(Refusal::not_built(format!("reconnect-ms={time} (connecting again)"))),
        (seconds, _) => Err(Refusal::not_built(format!("reconnect={seconds} (connecting again)"))),
    }
}

/// What a socket's server and client may be told: that nobody waits for a client, and no connection is tried again.
/// That holds where nothing is said, too.
fn client_options(fields: &mut Fields) -> Result<(), Refusal> {
    fields.only("wait", &["off"], "a start that waits for a client")?;
    fields.only("reconnect", &["0"], "connecting again")?;
    // About TCP.
    fields.ignore(&["delay", "nodelay"]);
    Ok(())
}

/// The keys that follow the path of `unix:`.
const UNIX_KEYS: &[&str] = &["server", "wait", "delay", "nodelay", "reconnect"];

/// What follows `unix:`.
fn unix(value: &str) -> Result<SerialConfig, Refusal> {
    let mut fields = Fields::with_path(value, Some("path"), UNIX_KEYS);
    let file = fields.required("path")?;
    let server = fields.flag("server")?.unwrap_or(false);
    client_options(&mut fields)?;
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
            let found = chardevs.iter().find(|chardev| chardev.id == id);
            let found = found.ok_or_else(|| Refusal::bad(format!("there is no chardev '{id}'")))?;
            once(found)?;
            match &found.target {
                ChardevTarget::Serial(line) => Ok(line.clone()),
                ChardevTarget::Fd(_) => Err(Refusal::not_built(format!("chardev:{id} (on a given fd)"))),
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
pub(super) fn qtest(value: &str, chardevs: &[Chardev]) -> Result<QtestSocket, Refusal> {
    let line = match value.split_once(':') {
        _ if value == "stdio" => SerialConfig::Stdio,
        Some(("unix", socket)) => unix(socket)?,
        Some(("chardev", _)) => serial(value, chardevs)?,
        _ => return Err(Refusal::bad("expected unix:PATH, chardev:ID or stdio")),
    };
    match line {
        SerialConfig::Stdio => Ok(QtestSocket::Stdio),
        SerialConfig::Unix(path) => Ok(QtestSocket::Listen(path)),
        SerialConfig::Connect(path) => Ok(QtestSocket::Connect(path)),
        _ => Err(Refusal::not_built(format!("{value} (neither a socket nor standard input)"))),
    }
}

pub(super) fn qtest_log(value: &str) -> Result<LogTo, Refusal> {
    if value == "none" { Ok(LogTo::Nothing) } else { Ok(LogTo::File(path(value)?)) }
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
