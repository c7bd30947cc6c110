//! What a drive says of itself, as far as that can be chosen.

/// Names and numbers in IDENTIFY and INQUIRY. Those that are none are QEMU's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    /// Serial number; 20 characters count.
    pub serial: Option<String>,
    /// Firmware revision; 8 characters count.
    pub version: Option<String>,
    /// Model; 40 characters count.
    pub model: Option<String>,
    /// World wide name; 0: it has none.
    pub wwn: u64,
    /// Bytes of a physical sector; none: the medium's own.
    pub physical_block: Option<u32>,
    /// Whether it offers TRIM where its medium can.
    pub trim: bool,
}

impl Default for Labels {
    fn default() -> Labels {
        Labels { serial: None, version: None, model: None, wwn: 0, physical_block: None, trim: true }
    }
}

impl Labels {
    /// The serial number.
    pub(in crate::storage) fn serial(&self) -> &str {
        self.serial.as_deref().unwrap_or_default()
    }
    /// The firmware revision.
    pub(in crate::storage) fn version(&self) -> &str {
        self.version.as_deref().unwrap_or("2.5+")
    }
    /// The model, where QEMU's is `usual`.
    pub(in crate::storage) fn model<'a>(&'a self, usual: &'a str) -> &'a str {
        self.model.as_deref().unwrap_or(usual)
    }
}

/// A text in a field of so many bytes, padded with blanks.
pub(in crate::storage) fn padded(text: &str, len: usize) -> Vec<u8> {
    text.bytes().chain(std::iter::repeat(b' ')).take(len).collect()
}
