#![forbid(unsafe_code)]
//! Real guests on the real program: what starts them, watches them and talks to them.
//!
//! A [`Machine`] says what the guest is made of, [`Machine::boot`] gives a running [`Guest`], which is ended
//! when it is dropped. The tests call [`case`], which times each and turns its error into a failure.
//!
//! Variables of the environment:
//!
//! | variable | what |
//! |---|---|
//! | `AILURUS` | the program; else `target/release/ailurus` |
//! | `AILURUS_GUESTS` | the folder of the guests; else `build/guests` |
//! | `AILURUS_FIRMWARE_DIR` | SeaBIOS's folder; else `build/root/usr/share/seabios` |
//! | `AILURUS_SKIP_MISSING` | set: a test whose guest files are missing says so and passes |
//! | `AILURUS_CONTROL` | set: run the guests under the QEMU in `build/qemu` instead, to prove the test |
//! | `AILURUS_LOGS` | a folder that keeps what every guest said |

mod case;
mod guest;
mod machine;
pub mod perl;
pub mod place;
mod qmp;
pub mod random;
pub mod saved;
pub mod screen;
mod serial;

pub use case::case;
pub use guest::{Guest, Subcommand};
pub use machine::{Disk, Machine, Program};
pub use place::guest;
pub use qmp::Qmp;
pub use screen::Screen;

use std::time::Duration;

/// So many seconds.
pub const fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
