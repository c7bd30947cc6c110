//! The machine's power switch, as devices see it.

/// What a device asks of the machine. Carried out after the access that caused it, and before the
/// vCPU's next instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PowerEvent {
    /// Hard reset of the platform: port 0xcf9, keyboard controller, port 0x92.
    Reset,
    /// Soft off (ACPI S5).
    PowerOff,
    /// Suspend to RAM (ACPI S3).
    Suspend,
    /// The guest's kernel crashed (pvpanic bit 0).
    Panicked,
    /// The guest's kernel crashed and loads its crash kernel (pvpanic bit 1).
    CrashLoaded,
    /// A watchdog's time is over: what then happens is the machine's owner's to say.
    Watchdog,
    /// The program that runs the guest is to end with that status (isa-debug-exit).
    Exit(u8),
}

/// Takes a device's requests. Never blocks.
pub trait Power: Send + Sync {
    /// Notes the request; the machine acts on it once the handler has returned.
    fn request(&self, event: PowerEvent);
}
