//! The calendar (proleptic Gregorian, UTC or whatever zone the machine was given), and its digits.

use super::spec::*;

/// Seconds in a day.
const DAY_SECONDS: i64 = 86_400;
/// Days in 400 years.
const ERA: i64 = 146_097;

/// A point in time by the fields of the clock. Fields taken from a guest may be out of range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Date {
    pub year: i64,
    /// 1 to 12.
    pub month: i64,
    /// 1 to 31.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    /// Sunday is 1.
    pub weekday: i64,
}

impl Date {
    /// From seconds since 1970.
    pub fn from_seconds(seconds: i64) -> Date {
        let days = seconds.div_euclid(DAY_SECONDS);
        let rest = seconds.rem_euclid(DAY_SECONDS);
        // Years that begin in March put the leap day last. Day 0 is 1 March of year 0.
        let from_march = days + 719_468;
        let era = from_march.div_euclid(ERA);
        let of_era = from_march.rem_euclid(ERA);
        let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
        Date {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month,
            day: of_year - (153 * march_month + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            weekday: (days + 4).rem_euclid(7) + 1,
        }
    }

    /// To seconds since 1970; fields out of range carry over. The day of the week is not looked at.
    pub fn to_seconds(self) -> i64 {
        let months = self.year * 12 + self.month - 1;
        let march = months - 2;
        let (year, march_month) = (march.div_euclid(12), march.rem_euclid(12));
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let of_year = (153 * march_month + 2) / 5 + self.day - 1;
        let days = era * ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year - 719_468;
        days * DAY_SECONDS + self.hour * 3600 + self.minute * 60 + self.second
    }
}

/// A field as register B wants it.
pub(super) fn encode(b: u8, value: i64) -> u8 {
    let value = value.rem_euclid(100) as u8;
    if b & B_BINARY != 0 { value } else { ((value / 10) << 4) | (value % 10) }
}

/// The reverse, of any byte.
pub(super) fn decode(b: u8, register: u8) -> i64 {
    let register = i64::from(register);
    if b & B_BINARY != 0 { register } else { (register >> 4) * 10 + (register & 15) }
}

/// The hour register.
pub(super) fn encode_hour(b: u8, hour: i64) -> u8 {
    if b & B_24 != 0 {
        return encode(b, hour);
    }
    let of_twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
    encode(b, of_twelve) | if hour >= 12 { PM } else { 0 }
}

/// The reverse, of any byte.
pub(super) fn decode_hour(b: u8, register: u8) -> i64 {
    if b & B_24 != 0 {
        return decode(b, register);
    }
    let hour = decode(b, register & !PM) % 12;
    if register & PM != 0 { hour + 12 } else { hour }
}
