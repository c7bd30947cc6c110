//! The beginning of a recording: what the machine was.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use hypervisor::Capabilities;
use serde::{Deserialize, Serialize};

use super::record::MediumInfo;
use crate::config::GuestConfig;

/// The first bytes of a recording.
pub const MAGIC: &[u8; 8] = b"AILURIO\n";
/// The machine that is recorded.
pub const MACHINE: &str = "pc-1";
/// Path of the pieces of a recording.
pub const IO: &str = "io";

/// What the machine was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Header {
    /// The program that recorded it.
    pub build: String,
    /// What it was built from.
    pub config: GuestConfig,
    /// What the hypervisor emulated itself.
    pub capabilities: Capabilities,
    /// Whether there was a port for the firmware's log.
    pub debugcon: bool,
    /// Files that the machine was built from, but for disks.
    pub files: Vec<Identity>,
    /// The media of the drives, in the order in which they were opened.
    pub media: Vec<MediumInfo>,
}

/// Which file it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Where it was.
    pub path: PathBuf,
    /// Its length in bytes.
    pub len: u64,
    /// CRC-32 of its bytes.
    pub sum: u32,
}

impl Identity {
    /// Of the file that is there now.
    pub fn of(path: &Path) -> std::io::Result<Identity> {
        let mut file = File::open(path)?;
        let (mut len, mut sum) = (0, crc32fast::Hasher::new());
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                return Ok(Identity { path: path.to_owned(), len, sum: sum.finalize() });
            }
            len += read as u64;
            sum.update(&buffer[..read]);
        }
    }

    /// Why the file is not as it was when it was recorded; none: it is.
    pub fn changed(&self) -> Option<String> {
        let path = self.path.display();
        let there = std::fs::metadata(&self.path);
        match there {
            Err(error) => return Some(format!("{path}: {error}; the recording was made with it")),
            Ok(there) if !there.is_file() || there.len() != self.len => {
                return Some(format!("{path} is not the file that the recording was made with"));
            }
            Ok(_) => {}
        }
        match Identity::of(&self.path) {
            Ok(now) if now == *self => None,
            Ok(_) => {
                Some(format!("{path} is not the file that the recording was made with: its bytes differ"))
            }
            Err(error) => Some(format!("{path}: {error}")),
        }
    }
}

/// What belongs to no device.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct MachineState {
    /// Guest time.
    pub clock: u64,
    /// The latch at port 0xcf8.
    pub config_address: u32,
}
