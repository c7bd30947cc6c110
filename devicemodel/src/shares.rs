//! Folders of the host's that a guest shares (`--share`): for each virtiofsd is started, another process, which serves the
//! file system's device.
//!
//! It gets a listening socket of ours on its standard input, to which we are connected already: no other program can come
//! first, and none has a name to come by. It ends when that connection does, which is when the guest's process ends.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};
use rustix::rand::{GetRandomFlags, getrandom};

use crate::config::{BackEndConfig, BackEndPlace, ConfigError, GuestConfig};

/// Where distributions have it, beside the folders of `PATH`.
const PLACES: &[&str] =
    &["/usr/libexec/virtiofsd", "/usr/lib/virtiofsd", "/usr/lib/qemu/virtiofsd", "/usr/local/bin/virtiofsd"];

/// Starts one for each folder that the guest shares: what its device is to be served by, by the ids of the back ends.
pub(crate) fn start(config: &GuestConfig) -> Result<Vec<(String, OwnedFd)>, ConfigError> {
    let shares = config.back_ends.iter().filter_map(|BackEndConfig { id, place, .. }| match place {
        BackEndPlace::Share(folder) => Some((id, folder)),
        _ => None,
    });
    let one = |(id, folder): (&String, &PathBuf)| Ok((id.clone(), serve(folder)?));
    shares.map(one).collect()
}

fn serve(folder: &Path) -> Result<OwnedFd, ConfigError> {
    let failed = |why: String| ConfigError::Invalid(format!("share {}: {why}", folder.display()));
    if !folder.is_dir() {
        return Err(failed("there is no such folder".into()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let program = find(&path, PLACES).ok_or_else(|| {
        failed("virtiofsd is not on this machine (Debian has it in the package of that name)".into())
    })?;
    let of = |error: io::Error| failed(format!("{}: {error}", program.display()));
    let help = Command::new(&program).arg("--help").stdin(Stdio::null()).output().map_err(of)?;
    let help = [help.stdout, help.stderr].concat();
    let arguments = arguments(&String::from_utf8_lossy(&help), folder, rustix::process::geteuid().is_root());
    let arguments = arguments.map_err(failed)?;
    let (ours, theirs) = pair().map_err(of)?;
    // What it says is for the person.
    Command::new(&program).args(arguments).stdin(theirs).spawn().map_err(of)?;
    Ok(ours)
}

/// The program, in one of these folders or at one of these places.
fn find(path: &std::ffi::OsStr, places: &[&str]) -> Option<PathBuf> {
    let in_path = std::env::split_paths(path).map(|folder| folder.join("virtiofsd"));
    in_path.chain(places.iter().map(PathBuf::from)).find(|program| program.is_file())
}

/// What it is told. The one in Rust confines itself to the folder where it may: root by `chroot`; an ordinary user reaches
/// no more by it than he does himself. QEMU's own, of before 8.0, is for root.
fn arguments(help: &str, folder: &Path, root: bool) -> Result<Vec<OsString>, String> {
    let source = |key: &str| [OsString::from(key), folder.into()];
    let joined = || {
        let mut source = OsString::from("source=");
        // A comma would end it.
        source.push(folder.to_string_lossy().replace(',', "\\,"));
        source
    };
    let mut arguments = vec!["--fd=0".into()];
    if help.contains("--shared-dir") {
        arguments.extend(source("--shared-dir"));
        arguments.push(if root { "--sandbox=chroot" } else { "--sandbox=none" }.into());
    } else if root {
        arguments.extend(["-o".into(), joined(), "-o".into(), "sandbox=chroot".into()]);
    } else {
        return Err("this virtiofsd is QEMU's of before 8.0, which works for root alone".into());
    }
    Ok(arguments)
}

/// A connection, and the listening socket that accepts it next.
fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut random = [0; 16];
    getrandom(&mut random, GetRandomFlags::empty())?;
    let name = format!("ailurus-share-{:032x}", u128::from_ne_bytes(random));
    let address = SocketAddrUnix::new_abstract_name(name.as_bytes())?;
    let socket = || socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None);
    let (theirs, ours) = (socket()?, socket()?);
    bind(&theirs, &address)?;
    listen(&theirs, 1)?;
    connect(&ours, &address)?;
    Ok((ours, theirs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_what_it_understands() {
        let told = |help, root| {
            let told = arguments(help, Path::new("/a,b"), root)?;
            Ok::<_, String>(
                told.into_iter().map(|word| word.into_string().unwrap()).collect::<Vec<_>>().join(" "),
            )
        };
        let rust = "      --shared-dir <SHARED_DIR>";
        assert_eq!(told(rust, true), Ok("--fd=0 --shared-dir /a,b --sandbox=chroot".into()));
        assert_eq!(told(rust, false), Ok("--fd=0 --shared-dir /a,b --sandbox=none".into()));
        assert_eq!(told("-o source=PATH", true), Ok("--fd=0 -o source=/a\\,b -o sandbox=chroot".into()));
        assert!(told("-o source=PATH", false).unwrap_err().contains("root alone"));
    }

    #[test]
    fn it_is_found_or_said_to_be_missing() {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("virtiofsd");
        assert_eq!(find(folder.path().as_os_str(), &[]), None);
        std::fs::write(&program, "").unwrap();
        assert_eq!(find(folder.path().as_os_str(), &[]), Some(program.clone()));
        assert_eq!(find("".as_ref(), &["/nonexistent", program.to_str().unwrap()]), Some(program));
        let error = serve(Path::new("/nonexistent")).unwrap_err().to_string();
        assert_eq!(error, "share /nonexistent: there is no such folder");
    }

    #[test]
    fn the_connection_is_there_before_anybody_else_can_come() {
        use std::io::{Read, Write};
        use std::os::unix::net::{UnixListener, UnixStream};
        let (ours, theirs) = pair().unwrap();
        let (mut served, _) = UnixListener::from(theirs).accept().unwrap();
        UnixStream::from(ours).write_all(b"x").unwrap();
        let mut came = Vec::new();
        served.read_to_end(&mut came).unwrap();
        assert_eq!(came, b"x");
    }
}
