//! What we ask of the host.

use std::time::{SystemTime, UNIX_EPOCH};

use chrono::{Local, Offset, TimeZone, Utc};

/// The host's time in seconds since 1970.
pub fn seconds() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// Seconds that local time is ahead of UTC at that instant (seconds since 1970).
pub fn utc_offset(utc: i64) -> i64 {
    let at = Utc.timestamp_opt(utc, 0).single().unwrap_or_default();
    i64::from(Local.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
}
