//! What we ask of the host.

use chrono::{Local, Offset, TimeZone, Utc};

/// Seconds that local time is ahead of UTC at that instant (seconds since 1970).
pub fn utc_offset(utc: i64) -> i64 {
    let at = Utc.timestamp_opt(utc, 0).single().unwrap_or_default();
    i64::from(Local.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc())
}
