//! QEMU's command line: what libxl starts a device model with, and what tools made for QEMU say.
//!
//! [`options`] is the table of options, [`parse`](fn@parse) turns arguments into a [`QemuConfig`], [`Plan`]
//! turns that into this program's own configuration. Every option that libxl can write is known. One that
//! asks for what is not built is refused by its name before anything is opened or started.

mod blockdev;
mod boot;
mod config;
mod drivers;
pub mod keyval;
mod lines;
mod listings;
mod network;
mod objects;
pub mod options;
mod parse;
mod plan;
mod readconfig;
mod values;

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::path::Path;

use thiserror::Error;

use crate::config::{BackEndConfig, ChardevConfig, ConfigError};

pub use boot::{Ends, Panic};
pub use config::{
    BlockSource, Blockdev, Chardev, ChardevTarget, DeviceArg, Drive, Global, Incoming, Interface, MachineArg,
    MachineKind, Mon, QemuConfig, Smp, SocketAt, VncArg,
};
pub use drivers::is_built;
pub use objects::{TlsFiles, UserObject};
pub use parse::parse;
pub(crate) use plan::added_drive;
pub use plan::{HostOptions, LooseImage, MonitorSocket, Plan, QtestOptions, Task, XenOptions};

/// Why one option is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It makes no sense.
    Bad(String),
    /// It makes sense, but we cannot do it; what it would need.
    NotBuilt(String),
}

impl Refusal {
    pub(crate) fn bad(why: impl Into<String>) -> Refusal {
        Refusal::Bad(why.into())
    }
    pub(crate) fn not_built(what: impl Into<String>) -> Refusal {
        Refusal::NotBuilt(what.into())
    }
}

/// A command line that cannot be run; one line for the person.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum QemuError {
    /// An argument that makes no sense.
    #[error("{option}: {why}")]
    Bad {
        /// The argument.
        option: String,
        /// What is wrong with it.
        why: String,
    },
    /// Everything that was asked for and is not built.
    #[error("not built yet: {}", .0.join(", "))]
    NotBuilt(Vec<String>),
}

/// A line for a device, in the words of `-chardev`.
pub(crate) fn device_line(text: &str) -> Result<ChardevConfig, String> {
    let line = lines::chardev(text).and_then(|chardev| lines::of_device(&chardev));
    line.map_err(|refusal| match refusal {
        Refusal::Bad(why) => why,
        Refusal::NotBuilt(what) => format!("not built yet: {what}"),
    })
}

/// What `-chardev` says, as the process that serves a device.
pub(crate) fn back_end(text: &str) -> Result<BackEndConfig, ConfigError> {
    let back_end = lines::chardev(text).and_then(|chardev| lines::back_end(&chardev));
    back_end.map_err(|refusal| {
        let why = match refusal {
            Refusal::Bad(why) => why,
            Refusal::NotBuilt(what) => format!("not built yet: {what}"),
        };
        ConfigError::Invalid(format!("chardev {text}: {why}"))
    })
}

/// Whether this program was started in QEMU's place: by its name, or with options of one dash first.
pub fn is_asked_for(program: &OsStr, first: Option<&OsStr>) -> bool {
    let name = Path::new(program).file_name().and_then(OsStr::to_str).unwrap_or("");
    if name.starts_with("qemu-system-") || name == "xen-qemu-system-i386" {
        return true;
    }
    let first = first.and_then(OsStr::to_str).unwrap_or("");
    first.starts_with('-') && !matches!(first, "-h" | "--help" | "-V" | "--version")
}
