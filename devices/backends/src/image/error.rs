//! Why an image was not opened.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why an image was not opened. Each is one sentence that names the file.
#[derive(Debug, Error)]
pub enum ImageError {
    /// No such file.
    #[error("disk image {} does not exist", .0.display())]
    Missing(PathBuf),
    /// A directory, a socket.
    #[error("disk image {} is not a file or a block device", .0.display())]
    NotAFile(PathBuf),
    /// It could not be opened.
    #[error("disk image {} cannot be opened: {source}", .path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The host's file system has no O_DIRECT.
    #[error("disk image {} is on a file system that does not do cache=none", .0.display())]
    NoDirect(PathBuf),
    /// Somebody else has it.
    #[error("disk image {} is in use by another process", .0.display())]
    Locked(PathBuf),
    /// Not whole sectors.
    #[error("disk image {} has {size} bytes, which is not a disk: is it cut short?", .path.display())]
    Size {
        /// The file.
        path: PathBuf,
        /// Its length.
        size: u64,
    },
    /// Not the format that was said.
    #[error("disk image {} is not a qcow2 file (for its bytes as they are, say format=raw)", .0.display())]
    NotQcow2(PathBuf),
    /// A qcow2 header that makes no sense.
    #[error("disk image {} has a damaged qcow2 header: {what}", .path.display())]
    Header {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        what: &'static str,
    },
    /// A qcow2 file that needs more than there is here.
    #[error("disk image {} {what}", .path.display())]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// What it needs.
        what: String,
    },
    /// The format's metadata.
    #[error("disk image {} cannot be used: {source}", .path.display())]
    Format {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
