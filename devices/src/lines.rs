//! Text that a guest writes byte by byte, put together into lines that are safe to log.

use devices_core::StateError;
use devices_core::state::valid;

/// Longest line that is kept together, in bytes.
pub(crate) const LINE_MAX: usize = 512;

/// The line as it is so far, less than [`LINE_MAX`] bytes.
#[derive(Default)]
pub(crate) struct LineBuffer(Vec<u8>);

impl LineBuffer {
    /// Takes a byte; the line, if this ended it. A line that is too long is cut. What is not printable
    /// ASCII is shown as an escape, so that a guest cannot send a terminal control sequences.
    pub fn put(&mut self, byte: u8) -> Option<String> {
        match byte {
            b'\n' => return Some(self.take()),
            b'\r' => {}
            _ => self.0.push(byte),
        }
        (self.0.len() >= LINE_MAX).then(|| self.take())
    }

    /// Ends the line that has begun, if one has.
    pub fn end(&mut self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.take())
    }

    fn take(&mut self) -> String {
        let line = std::mem::take(&mut self.0);
        line.escape_ascii().to_string().replace("\\'", "'").replace("\\\"", "\"")
    }

    /// What has begun, for the saved state and for people.
    pub fn begun(&self) -> &[u8] {
        &self.0
    }

    /// Takes over what had begun.
    pub fn load(&mut self, begun: Vec<u8>) -> Result<(), StateError> {
        valid(begun.len() < LINE_MAX, "the begun line is too long")?;
        self.0 = begun;
        Ok(())
    }
}
