//! What the monitor wants of a memory balloon.

use crate::Device;

/// Names of the statistics that a guest's driver tells, in QEMU's words, by their tags (Virtio 1.3, 5.5.6.4).
pub const STATISTICS: [&str; 10] = [
    "stat-swap-in",
    "stat-swap-out",
    "stat-major-faults",
    "stat-minor-faults",
    "stat-free-memory",
    "stat-total-memory",
    "stat-available-memory",
    "stat-disk-caches",
    "stat-htlb-pgalloc",
    "stat-htlb-pgfail",
];

/// The property by which the monitor says how often the guest is asked, in seconds.
pub const POLLING: &str = "guest-stats-polling-interval";

/// What a guest's driver last told of its memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// By tag; none: the driver does not tell.
    pub values: [Option<u64>; STATISTICS.len()],
    /// When it told, in nanoseconds of guest time; none: it has not.
    pub told: Option<u64>,
}

/// A device by which the guest gives memory back.
pub trait Balloon: Device {
    /// Asks the guest to keep so many bytes of its memory; more than it has is all of it.
    fn set_target(&mut self, bytes: u64);
    /// Bytes that the guest has, as its driver says.
    fn actual(&self) -> u64;
    /// What the guest last told.
    fn statistics(&self) -> Statistics;
    /// Every how many seconds it is asked; 0: never.
    fn polling(&self) -> u32;
    /// Changes that.
    fn set_polling(&mut self, seconds: u32);
}
