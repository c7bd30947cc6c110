//! The host side of a serial line, as the device sees it.

/// A byte stream to and from the host. Never blocks. The backend wakes its device
/// ([`crate::Wake::Backend`]) when there is input after there was none, and when it takes output again
/// after it took less than it was given.
pub trait CharBackend: Send + Sync {
    /// Takes what it can of `data` and says how many bytes that was. A line with nobody at the other end
    /// takes everything.
    fn write(&self, data: &[u8]) -> usize;
    /// Gives at most `data.len()` bytes of input.
    fn read(&self, data: &mut [u8]) -> usize;
}

/// Takes everything, gives nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Null;

impl CharBackend for Null {
    fn write(&self, data: &[u8]) -> usize {
        data.len()
    }
    fn read(&self, _data: &mut [u8]) -> usize {
        0
    }
}
