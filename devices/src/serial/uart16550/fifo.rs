//! A FIFO of sixteen bytes.

use devices_core::StateError;
use devices_core::state::valid;

use super::spec;

#[derive(Clone, Default)]
pub(super) struct Fifo {
    bytes: [u8; spec::FIFO],
    len: usize,
}

impl Fifo {
    pub fn len(&self) -> usize {
        self.len
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    pub fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
    pub fn clear(&mut self) {
        self.len = 0;
    }
    /// False if it is full.
    pub fn push(&mut self, byte: u8) -> bool {
        let Some(free) = self.bytes.get_mut(self.len) else { return false };
        *free = byte;
        self.len += 1;
        true
    }
    pub fn pop(&mut self) -> Option<u8> {
        let first = *self.as_slice().first()?;
        self.bytes.copy_within(1.., 0);
        self.len -= 1;
        Some(first)
    }
    pub fn load(bytes: &[u8]) -> Result<Fifo, StateError> {
        valid(bytes.len() <= spec::FIFO, "a FIFO holds sixteen bytes")?;
        let mut fifo = Fifo::default();
        bytes.iter().for_each(|&byte| {
            fifo.push(byte);
        });
        Ok(fifo)
    }
}
