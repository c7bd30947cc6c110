//! The linker script "etc/table-loader": how the firmware places tables and makes their pointers and checksums right.
//!
//! Each command is 128 bytes: a 32-bit number and its arguments, little-endian, file names of 56 bytes. Meanings are
//! from the interface that SeaBIOS's `romfile_loader` and EDK2's `QemuFwCfgAcpi` implement.

/// Bytes of one command.
pub const COMMAND_BYTES: usize = 128;
/// Bytes of a file name, its zero included.
pub const NAME_BYTES: usize = 56;

pub(super) const ALLOCATE: u32 = 1;
pub(super) const ADD_POINTER: u32 = 2;
pub(super) const ADD_CHECKSUM: u32 = 3;
pub(super) const WRITE_POINTER: u32 = 4;

/// Where the firmware is to put a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// Anywhere in RAM below 4 GiB.
    High = 1,
    /// In the BIOS segment, where operating systems look for anchors.
    FSegment = 2,
}

/// A script under construction.
#[derive(Default)]
pub struct Script {
    bytes: Vec<u8>,
}

impl Script {
    /// Load `file` at an address that is a multiple of `align`, a power of two.
    pub fn allocate(&mut self, file: &str, align: u32, zone: Zone) {
        self.command(ALLOCATE, &[file], &[align], zone as u8);
    }

    /// Add the address of `source` to the little-endian number of `size` bytes (1, 2, 4 or 8) at `offset` in `file`.
    pub fn add_pointer(&mut self, file: &str, offset: u32, size: u8, source: &str) {
        self.command(ADD_POINTER, &[file, source], &[offset], size);
    }

    /// Make the bytes `start..start + length` of `file` add up to zero by changing the byte at `offset`.
    pub fn add_checksum(&mut self, file: &str, offset: u32, start: u32, length: u32) {
        self.command(ADD_CHECKSUM, &[file], &[offset, start, length], 0);
    }

    /// Write the address of `source`, and `offset` more, into the `size` bytes (1, 2, 4 or 8) at the beginning of `file`
    /// as this side has it, which is not loaded.
    pub fn write_pointer(&mut self, file: &str, size: u8, source: &str, offset: u32) {
        self.command(WRITE_POINTER, &[file, source], &[0, offset], size);
    }

    fn command(&mut self, number: u32, files: &[&str], words: &[u32], last: u8) {
        let end = self.bytes.len() + COMMAND_BYTES;
        self.bytes.extend_from_slice(&number.to_le_bytes());
        for file in files {
            assert!(file.len() < NAME_BYTES, "the firmware knows no name as long as {file}");
            let padded = self.bytes.len() + NAME_BYTES;
            self.bytes.extend_from_slice(file.as_bytes());
            self.bytes.resize(padded, 0);
        }
        for word in words {
            self.bytes.extend_from_slice(&word.to_le_bytes());
        }
        self.bytes.push(last);
        self.bytes.resize(end, 0);
    }

    /// The script as the firmware reads it.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
