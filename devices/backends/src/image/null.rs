//! Images that lie in no file: what QEMU's drivers null-co and null-aio give.

use std::io;
use std::path::{Path, PathBuf};

use super::host::HostFile;

/// Bytes of one, as QEMU has it if nobody says more.
pub const NULL_SIZE: u64 = 1 << 30;

/// The names of the drivers, and what stands in the place of a file's for each.
const DRIVERS: [(&str, &str); 2] = [("null-co", "null-co://"), ("null-aio", "null-aio://")];

/// What stands in the place of a file's name for one of the drivers; none: it is another.
pub fn null_path(driver: &str) -> Option<PathBuf> {
    DRIVERS.iter().find(|(name, _)| *name == driver).map(|(_, path)| path.into())
}

/// Whether that is no file's name but that of one of the drivers.
pub fn is_null(path: &Path) -> bool {
    DRIVERS.iter().any(|(_, name)| path == Path::new(name))
}

/// Zeros, whatever is written.
pub(super) struct Null;

impl HostFile for Null {
    fn read(&self, data: &mut [u8], _: u64) -> io::Result<()> {
        data.fill(0);
        Ok(())
    }
    fn write(&self, _: &[u8], _: u64) -> io::Result<()> {
        Ok(())
    }
    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
    fn len(&self) -> io::Result<u64> {
        Ok(NULL_SIZE)
    }
    fn grows(&self) -> bool {
        false
    }
    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}
