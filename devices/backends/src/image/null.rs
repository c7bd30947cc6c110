//! Images that lie in no file: what QEMU's drivers null-co and null-aio give.

use std::io;
use std::path::Path;

use super::host::HostFile;

/// Bytes of one whose size nobody says, as QEMU has it.
pub(super) const SIZE: u64 = 1 << 30;

/// Whether that is no file's name but that of one of the drivers.
pub fn is_null(path: &Path) -> bool {
    matches!(path.to_str(), Some("null-co://" | "null-aio://"))
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
        Ok(SIZE)
    }
    fn grows(&self) -> bool {
        false
    }
    fn punch(&self, _: u64, _: u64) -> io::Result<()> {
        Ok(())
    }
}
