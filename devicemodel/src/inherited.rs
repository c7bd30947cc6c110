//! Files that were given to the process when it was started, by their numbers.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Mutex, PoisonError};

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// A file of our own, the same as the one with number `fd`, which stays open.
///
/// A number alone proves nothing about who owns the file. The kernel is therefore asked for a duplicate
/// (Linux 5.6 and later): that belongs to us whoever owns the first, and a number that is no file is an
/// error.
pub fn duplicate(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let process = pidfd_open(getpid(), PidfdFlags::empty())?;
    Ok(pidfd_getfd(process, fd, PidfdGetfdFlags::empty())?)
}

/// Numbers of files that the process was started with and that nobody has [taken](take).
static GIVEN: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Notes which files the process was started with, but for its standard ones. Said first of all: whatever is opened
/// later is ours.
pub fn note() {
    // Without /proc none is known, and those that are taken stay open.
    let Ok(folder) = std::fs::read_dir("/proc/self/fd") else { return };
    let numbers: Vec<i32> =
        folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    // That of the folder is closed by now. To look opens no file, which would have its number.
    let open = |fd: &i32| std::fs::symlink_metadata(format!("/proc/self/fd/{fd}")).is_ok();
    given.extend(numbers.into_iter().filter(|fd| *fd > libc::STDERR_FILENO && open(fd)));
}

/// The same file as [`duplicate`], for who is its only user: of a file that the process was started with the first
/// number is closed, so that it ends with what is given back. An interface of the host's that lives as long as somebody
/// has it open goes with its card, then.
pub fn take(fd: i32) -> io::Result<OwnedFd> {
    let file = duplicate(fd)?;
    if GIVEN.lock().unwrap_or_else(PoisonError::into_inner).remove(&fd) {
        // Ours is the other.
        let _ = nix::unistd::close(fd);
    }
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::AsRawFd;

    #[test]
    fn a_duplicate_is_the_same_file() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"saved").unwrap();
        let mut again = File::from(duplicate(file.as_raw_fd()).unwrap());
        drop(file);
        std::io::Seek::rewind(&mut again).unwrap();
        let mut text = String::new();
        again.read_to_string(&mut text).unwrap();
        assert_eq!(text, "saved");
        assert!(duplicate(1_000_000).is_err());
        assert!(duplicate(-1).is_err());
    }

    #[test]
    fn who_takes_a_file_that_was_given_is_the_only_one_to_have_it() {
        let (ours, given) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut ours = std::fs::File::from(OwnedFd::from(ours));
        // Whoever started us has let go of it.
        let number = std::os::fd::IntoRawFd::into_raw_fd(given);
        GIVEN.lock().unwrap().insert(number);
        drop(take(number).unwrap());
        assert_eq!(ours.read(&mut [0; 1]).unwrap(), 0, "somebody still has it");
        // One of our own stays whole.
        let (own, mut other) = std::os::unix::net::UnixStream::pair().unwrap();
        drop(take(own.as_raw_fd()).unwrap());
        other.write_all(b"x").unwrap();
    }
}
