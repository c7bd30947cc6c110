//! The run states of a guest.

/// QMP's RunState, as far as a guest of ours has them. There is none of a guest that comes in by a migration, nor one
/// in which a machine waits to be configured (QEMU's `--preconfig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// Built, and not let run yet.
    Prelaunch,
    /// The vCPUs run.
    Running,
    /// Stopped by `stop`, or restored and not let go on yet.
    Paused,
    /// Asleep (ACPI S3).
    Suspended,
    /// It has switched itself off, and is kept.
    Shutdown,
    /// It has panicked, and is kept.
    GuestPanicked,
    /// Stopped since the host could not read or write a disk (`werror`, `rerror`); `cont` does that again.
    IoError,
    /// A watchdog's time was over, and it is kept; `cont` lets it go on.
    Watchdog,
    /// It is being saved whole.
    SaveVm,
}

impl RunState {
    /// All of them.
    pub const ALL: [RunState; 9] = [
        RunState::Prelaunch,
        RunState::Running,
        RunState::Paused,
        RunState::Suspended,
        RunState::Shutdown,
        RunState::GuestPanicked,
        RunState::IoError,
        RunState::Watchdog,
        RunState::SaveVm,
    ];

    /// QMP's word.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Prelaunch => "prelaunch",
            RunState::Running => "running",
            RunState::Paused => "paused",
            RunState::Suspended => "suspended",
            RunState::Shutdown => "shutdown",
            RunState::GuestPanicked => "guest-panicked",
            RunState::IoError => "io-error",
            RunState::Watchdog => "watchdog",
            RunState::SaveVm => "save-vm",
        }
    }
}
