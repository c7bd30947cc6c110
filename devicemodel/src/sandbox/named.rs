//! What a guest's process may still open by name when it confines itself: what its command line names.
//!
//! A file that it names is that file. Where it names a file that is to be made (serial output, a recording) or a
//! socket, more is needed, because a name is made and removed in its folder:
//!
//! * the monitor's folder can be written, so that a client can name a picture or a saved guest there. That is not
//!   so for a folder that is not the guest's alone: `/`, the user's home, and what everybody may write;
//! * a recording's folder too, whatever it is, since the recording takes its name when it is whole;
//! * in the folder of a serial port's socket, and of the socket of a guest's sockets, sockets can be made, and nothing removed: the socket stays behind;
//! * serial output and the firmware's debug port are made before, empty.
//!
//! Anything else that a client names later must come as an open file (`add-fd`), as `ailurus save` and
//! `ailurus screenshot` do it.

use std::fs::OpenOptions;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use backends::image::is_null;
use backends::net::{Address, NetSpec, StreamSpec};
use devices_core::model::Value;

use super::paths::Files;
use crate::config::{AudioDriver, BackEndPlace, DeviceSpec, GuestConfig, NetdevConfig, SerialConfig};

/// What the host's side of the command line names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// The monitor's socket, bound already.
    pub monitor: Option<PathBuf>,
    /// Gets what firmware says.
    pub debugcon: Option<PathBuf>,
    /// Gets a recording.
    pub record: Option<PathBuf>,
}

impl Named {
    /// All that may be opened, for a guest of that configuration. Makes the files that are to be written and are not
    /// there, and removes sockets that nobody serves any more.
    pub(super) fn files(&self, config: &GuestConfig) -> Files {
        let mut files = Files::default();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let monitor = self.monitor.as_deref().map(folder);
        files.folders.extend(monitor.filter(|folder| is_own(folder, home.as_deref())));
        files.folders.extend(self.record.as_deref().map(folder));
        files.read.extend([&config.kernel, &config.initrd].into_iter().flatten().cloned());
        files.read.extend(config.firmware.clone());
        // Option ROMs too, whatever the firmware is.
        files.read.extend(firmware::locate::search_list());
        let roms = config.devices.iter().filter_map(|device| device.properties.get("romfile"));
        files.read.extend(roms.filter_map(|value| match value {
            Value::Text(name) if !name.is_empty() => Some(PathBuf::from(name)),
            _ => None,
        }));
        for disk in &config.disks {
            let read = disk.readonly || disk.snapshot;
            let to = if read { &mut files.read } else { &mut files.write };
            to.extend(disk.path.clone().filter(|path| !is_null(path)));
        }
        for serial in &config.serial {
            serial_port(serial, &mut files);
        }
        for chardev in &config.chardevs {
            serial_port(&chardev.line, &mut files);
        }
        if let Some(path) = &self.debugcon {
            make(path);
            files.write.push(path.clone());
        }
        if config.localtime {
            files.read.extend(["/etc/localtime", "/usr/share/zoneinfo"].map(PathBuf::from));
        }
        for netdev in &config.netdevs {
            network(netdev, &mut files);
        }
        for back_end in &config.back_ends {
            if let BackEndPlace::Listen(path) = &back_end.place {
                remove_left_over(path);
                files.sockets.push(folder(path));
            }
        }
        for dump in &config.dumps {
            make(&dump.file);
            files.write.push(dump.file.clone());
        }
        for audiodev in &config.audiodevs {
            if let AudioDriver::Wav { path, .. } = &audiodev.driver {
                make(path);
                files.write.push(path.clone());
            }
        }
        for path in config.devices.iter().filter_map(DeviceSpec::host_socket) {
            remove_left_over(path);
            files.sockets.push(folder(path));
        }
        files.internet = config.reach().internet;
        files.write.push("/dev/null".into());
        files
    }
}

fn network(netdev: &NetdevConfig, files: &mut Files) {
    let set =
        |key: &str| netdev.options.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str());
    match netdev.kind.as_str() {
        // Who is asked for names.
        "user" => {
            files.read.push("/etc/resolv.conf".into());
            files.read.extend(set("tftp").map(PathBuf::from));
        }
        "tap" => files.write.push("/dev/net/tun".into()),
        "stream" | "vhost-user" if set("server") == Some("on") => {
            if let Some(path) = set("addr.path").or(set("path")).map(Path::new) {
                remove_left_over(path);
                files.sockets.push(folder(path));
            }
        }
        _ => {}
    }
    if let Ok(NetSpec::Stream(StreamSpec { address: Address::Inet { port, .. }, server, .. })) = netdev.spec()
    {
        if server { &mut files.listen } else { &mut files.connect }.push(port);
    }
}

fn serial_port(serial: &SerialConfig, files: &mut Files) {
    match serial {
        SerialConfig::File(path) | SerialConfig::Append(path) => {
            make(path);
            files.write.push(path.clone());
        }
        SerialConfig::Pty => files.write.extend(["/dev/ptmx", "/dev/pts"].map(PathBuf::from)),
        SerialConfig::Unix(path) => {
            remove_left_over(path);
            files.sockets.push(folder(path));
        }
        // Whom a socket connects to is no matter of files.
        SerialConfig::Connect(_) | SerialConfig::None | SerialConfig::Null | SerialConfig::Stdio => {}
    }
}

/// The folder that a name lies in.
fn folder(path: &Path) -> PathBuf {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new(".")).to_owned()
}

/// Whether a folder can be left to a guest's process.
fn is_own(folder: &Path, home: Option<&Path>) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let holds_home =
        home.and_then(|home| home.canonicalize().ok()).is_some_and(|home| home.starts_with(&folder));
    let for_all = folder.metadata().map_or(true, |meta| meta.permissions().mode() & 0o002 != 0);
    !holds_home && !for_all && folder != Path::new("/")
}

/// Makes a file that is to be written. Whoever opens it tells what is wrong with it.
fn make(path: &Path) {
    let mut options = OpenOptions::new();
    // Nobody may be at the other end of a pipe.
    let _ = options.write(true).create_new(true).custom_flags(libc::O_NONBLOCK).open(path);
}

/// Removes a socket that nobody serves.
fn remove_left_over(path: &Path) {
    let is_socket = path.symlink_metadata().is_ok_and(|meta| meta.file_type().is_socket());
    if is_socket
        && UnixStream::connect(path).is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
    {
        // Whoever binds it tells what is wrong.
        let _ = std::fs::remove_file(path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DiskConfig;

    #[test]
    fn what_is_named_may_be_opened_and_nothing_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let read_only = DiskConfig { readonly: true, ..DiskConfig::new("/b") };
        let thrown_away = DiskConfig { snapshot: true, ..DiskConfig::new("/c") };
        let config = GuestConfig {
            disks: vec![DiskConfig::new("/a"), read_only, thrown_away],
            kernel: Some("/k".into()),
            firmware: Some("/f".into()),
            serial: vec![SerialConfig::File(at("out")), SerialConfig::Unix("/tmp/s".into())],
            ..GuestConfig::default()
        };
        let named = Named { monitor: Some(at("m")), ..Named::default() };
        let files = named.files(&config);
        assert_eq!(files.write, [PathBuf::from("/a"), at("out"), "/dev/null".into()]);
        assert!(at("out").exists(), "it is there to be written, and nothing else can be made");
        assert_eq!(files.folders, [folder.path()]);
        assert_eq!(files.sockets, [Path::new("/tmp")]);
        for path in ["/b", "/c", "/k", "/f"] {
            assert!(files.read.contains(&path.into()), "{path}");
        }
    }

    #[test]
    fn the_ports_of_streams_are_left_and_no_others() {
        let netdev = |id: &str, options: &[(&str, &str)]| NetdevConfig {
            id: id.into(),
            kind: if options.len() == 1 { "socket" } else { "stream" }.into(),
            options: options.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        };
        let inet = [("addr.type", "inet"), ("addr.host", "::1"), ("addr.port", "7")];
        let mut config = GuestConfig {
            netdevs: vec![
                netdev("a", &[("listen", "127.0.0.1:5")]),
                netdev("b", &[("connect", "127.0.0.1:6")]),
                netdev("c", &inet),
            ],
            ..GuestConfig::default()
        };
        let files = Named::default().files(&config);
        assert_eq!((files.listen, files.connect, files.internet), (vec![5], vec![6, 7], false));
        config.netdevs.clear();
        let files = Named::default().files(&config);
        assert_eq!((files.listen, files.connect), (vec![], vec![]));
    }

    #[test]
    fn a_folder_that_others_use_is_not_the_guests() {
        let folder = tempfile::tempdir().unwrap();
        let own = folder.path().join("own");
        std::fs::create_dir(&own).unwrap();
        assert!(is_own(&own, None));
        assert!(is_own(&own, Some(folder.path())), "below the home");
        assert!(!is_own(&own, Some(&own)));
        assert!(!is_own(folder.path(), Some(&own)), "above it");
        assert!(!is_own(Path::new("/"), None));
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o1777)).unwrap();
        assert!(!is_own(&own, None));
        assert!(!is_own(&folder.path().join("nowhere"), None));
        assert_eq!(super::folder(Path::new("m")), Path::new("."));
    }
}
