//! Numbers of Virtio 1.3, 5.5.

/// Feature bits (5.5.3).
pub mod feature {
    /// There is a queue for statistics.
    pub const STATS_VQ: u64 = 1 << 1;
    /// The guest takes pages out of the balloon before it kills a process for memory.
    pub const DEFLATE_ON_OOM: u64 = 1 << 2;
    /// The driver fills free pages with a value.
    pub const PAGE_POISON: u64 = 1 << 4;
    /// There is a queue for pages that are free.
    pub const REPORTING: u64 = 1 << 5;
}

/// Offsets into the configuration (5.5.4).
pub mod config {
    /// Pages that the host wants in the balloon.
    pub const NUM_PAGES: usize = 0;
    /// Pages that are in it, as the driver says.
    pub const ACTUAL: usize = 4;
    /// What the driver fills free pages with.
    pub const POISON: usize = 12;
    /// Its length.
    pub const LEN: usize = 16;
    /// Its length where nothing is known of poison, nor of hints.
    pub const SHORT: usize = 8;
}

/// Numbers of the queues. Those that are not offered are not counted.
pub mod queue {
    /// Pages that go into the balloon.
    pub const INFLATE: u16 = 0;
    /// Pages that come out.
    pub const DEFLATE: u16 = 1;
    /// Statistics.
    pub const STATS: u16 = 2;
    /// Pages that are free. Hints, which QEMU has before it, are not offered.
    pub const REPORTING: u16 = 3;
}

/// Bytes of a page: of the balloon, whatever the guest's are (5.5.6).
pub const PAGE: u64 = 4096;
/// Bytes of one statistic: its tag and its value (5.5.6.4).
pub const STAT_LEN: usize = 10;
