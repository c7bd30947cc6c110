//! The host side of a serial line, as the device sees it.

use std::sync::Arc;

use crate::port::Port;

/// A byte stream to and from the host. Never blocks. The backend wakes its device
/// ([`crate::Wake::Backend`]) when there is input after there was none, when it takes output again
/// after it took less than it was given, and when somebody comes to the other end or goes.
pub trait CharBackend: Send + Sync {
    /// Takes what it can of `data` and says how many bytes that was. A line with nobody at the other end
    /// takes everything.
    fn write(&self, data: &[u8]) -> usize;
    /// Gives at most `data.len()` bytes of input.
    fn read(&self, data: &mut [u8]) -> usize;
    /// Whether somebody is at the other end.
    fn connected(&self) -> bool {
        true
    }
    /// Columns and rows of the terminal that is the other end; none: it is no terminal, or nobody knows.
    fn size(&self) -> Option<(u16, u16)> {
        None
    }
    /// The guest has opened its end, or closed it. For people: whoever is at the other end is not told.
    fn set_open(&self, _open: bool) {}
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
/// answered by the bytes; `c`, answered by 1 if somebody is there and by 0 if not; `s`, answered by columns and rows, or
/// by nothing. Numbers have eight bytes, the lowest first, columns and rows two.
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
    fn connected(&self) -> bool {
        self.port.call(b"c".to_vec(), &mut || vec![self.inner.connected().into()]) == [1]
    }
    fn size(&self) -> Option<(u16, u16)> {
        let found = self.port.call(b"s".to_vec(), &mut || match self.inner.size() {
            Some((columns, rows)) => [columns.to_le_bytes(), rows.to_le_bytes()].concat(),
            None => Vec::new(),
        });
        let [c0, c1, r0, r1] = found.try_into().ok()?;
        Some((u16::from_le_bytes([c0, c1]), u16::from_le_bytes([r0, r1])))
    }
}
