//! Dates for people: a time since the epoch, written in UTC.

use std::fmt;
use std::time::Duration;

/// Time since the epoch, printed as RFC 3339 in UTC with milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Utc(pub Duration);

impl fmt::Display for Utc {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Parts { date: (year, month, day), time: (hour, minute, second) } = Parts::of(self.0);
        let ms = self.0.subsec_millis();
        write!(out, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

impl Utc {
    /// The same to the second and with spaces: `2026-01-02 03:04:05 UTC`.
    pub fn spaced(self) -> String {
        let Parts { date: (year, month, day), time: (hour, minute, second) } = Parts::of(self.0);
        format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

struct Parts {
    date: (u64, u64, u64),
    time: (u64, u64, u64),
}

impl Parts {
    fn of(time: Duration) -> Self {
        let seconds = time.as_secs();
        Self { date: civil(seconds / 86_400), time: (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) }
    }
}

/// Year, month and day of a day since 1970-01-01, after Howard Hinnant's `civil_from_days`: years begin in March, so
/// the leap day is the last of its year and a month's length follows from its number.
fn civil(days: u64) -> (u64, u64, u64) {
    const DAYS_OF_400_YEARS: u64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const DAYS_BEFORE_EPOCH: u64 = 719_468;
    let days = days + DAYS_BEFORE_EPOCH;
    let day_of_era = days % DAYS_OF_400_YEARS;
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = days / DAYS_OF_400_YEARS * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right_around_leap_days() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_709_164_800, "2024-02-29T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(Utc(Duration::from_secs(seconds)).to_string(), text);
        }
    }

    #[test]
    fn people_get_spaces() {
        assert_eq!(Utc(Duration::from_millis(1_767_323_045_678)).spaced(), "2026-01-02 03:04:05 UTC");
    }
}
