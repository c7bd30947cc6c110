//! The monitor: QMP, QEMU's machine protocol (JSON over a stream), as clients of QEMU expect it.
//!
//! [`protocol`] turns bytes into commands and answers into bytes, [`commands`] gives the commands their
//! meaning on a [`Guest`], [`server`] moves the bytes on sockets, [`client`] is the other end.

pub mod client;
pub mod commands;
pub mod protocol;
pub mod server;

use std::path::Path;

use protocol::QmpError;

/// What a monitor can do with a guest. All calls come from the event loop's thread.
pub trait Guest {
    /// `running`, `paused`, `shutdown`, ... as QMP's RunState.
    fn status(&self) -> &'static str;
    /// The guest's name.
    fn name(&self) -> String;
    /// Stops the vCPUs and guest time.
    fn stop(&mut self);
    /// Lets them go on.
    fn cont(&mut self) -> Result<(), QmpError>;
    /// Ends the program.
    fn quit(&mut self);
    /// Presses the power button.
    fn powerdown(&mut self);
    /// Presses the reset button.
    fn reset(&mut self);
    /// The tree below `path` as text.
    fn inspect(&mut self, path: &str) -> Result<String, QmpError>;
    /// Writes the screen to a PNG file.
    fn screendump(&mut self, file: &Path) -> Result<(), QmpError>;
    /// Presses keys (QKeyCode names) together and lets them go after `hold_ms`.
    fn send_key(&mut self, keys: &[String], hold_ms: u64) -> Result<(), QmpError>;
    /// Saves the whole guest to a file, telling how far it is: (bytes done, of so many).
    fn save(&mut self, file: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<(), QmpError>;
    /// Opens the tray of a CD drive and takes the medium out.
    fn eject(&mut self, device: &str, force: bool) -> Result<(), QmpError>;
    /// Puts a medium into a CD drive.
    fn change_medium(&mut self, device: &str, file: &Path) -> Result<(), QmpError>;
}
