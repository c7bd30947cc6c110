//! Files that were given to the process when it was started, by their numbers.

use std::io;
use std::os::fd::OwnedFd;

use rustix::process::{PidfdFlags, PidfdGetfdFlags, getpid, pidfd_getfd, pidfd_open};

/// A file of our own, the same as the one with number `fd`, which stays open until the program ends.
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
}
