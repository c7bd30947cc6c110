//! The host side of a serial line, as the device sees it.

use std::sync::Arc;

use crate::port::Port;

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

/// A line whose calls go over a port: `w` and the bytes, answered by how many were taken; `r` and how many are asked for,
/// answered by the bytes. Numbers have eight bytes, the lowest first.
pub struct Ported {
    port: Arc<dyn Port>,
    inner: Arc<dyn CharBackend>,
}

impl Ported {
    /// `inner` is behind the port; in a replay nobody asks it.
    pub fn new(port: Arc<dyn Port>, inner: Arc<dyn CharBackend>) -> Ported {
        Ported { port, inner }
    }
}

impl CharBackend for Ported {
    fn write(&self, data: &[u8]) -> usize {
        let taken = self
            .port
            .call([b"w", data].concat(), &mut || (self.inner.write(data) as u64).to_le_bytes().to_vec());
        let taken = taken.try_into().map_or(u64::MAX, u64::from_le_bytes);
        data.len().min(usize::try_from(taken).unwrap_or(usize::MAX))
    }
    fn read(&self, data: &mut [u8]) -> usize {
        let call = [b"r".as_slice(), &(data.len() as u64).to_le_bytes()].concat();
        let found = self.port.call(call, &mut || {
            let mut found = vec![0; data.len()];
            let read = self.inner.read(&mut found);
            found.truncate(read);
            found
        });
        let len = found.len().min(data.len());
        data[..len].copy_from_slice(&found[..len]);
        len
    }
}
