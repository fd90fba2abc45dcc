//! Durations as people type them: `250ms`, `5s`, `1m30s`. Reads and prints; knows no limits, those are the settings'.

use std::fmt;
use std::time::Duration;

/// Units from long to short, in milliseconds. A longer one than a day invites mistakes (months, leap years).
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Why a text is not a duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// Nothing there.
    Empty,
    /// `-5s`.
    Negative,
    /// `5`: seconds and milliseconds are both in use around us, so a bare number is not guessed at.
    NoUnit,
    /// `5 parsecs`.
    UnknownUnit,
    /// `1.5s`.
    Fraction,
    /// `s`.
    NoNumber,
    /// `1s1m` or `1s1s`.
    Disorder,
    /// More than the type can hold.
    TooLong,
}

impl fmt::Display for Malformed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Empty => "is empty",
            Self::Negative => "is negative",
            Self::NoUnit => "has a number without a unit (ms, s, m, h, d)",
            Self::UnknownUnit => "has an unknown unit (known: ms, s, m, h, d)",
            Self::Fraction => "has a fraction (1500ms is one and a half seconds)",
            Self::NoNumber => "has a unit without a number",
            Self::Disorder => "has its units twice or not from long to short (1m30s)",
            Self::TooLong => "is absurdly long",
        })
    }
}

/// Reads a duration: whole numbers with units, from long to short, each unit at most once.
///
/// # Errors
/// The first thing that is wrong with the text.
pub fn parse(text: &str) -> Result<Duration, Malformed> {
    if text.is_empty() {
        return Err(Malformed::Empty);
    }
    if text.starts_with('-') {
        return Err(Malformed::Negative);
    }
    if text.contains(['.', ',']) {
        return Err(Malformed::Fraction);
    }
    let mut rest = text;
    let mut units = UNITS.iter();
    let mut total_ms = 0_u64;
    while !rest.is_empty() {
        let (number, tail) = split_at_first(rest, |c| !c.is_ascii_digit());
        let (unit, tail) = split_at_first(tail, |c| c.is_ascii_digit());
        let in_ms = match (number, unit) {
            ("", _) => return Err(Malformed::NoNumber),
            (_, "") => return Err(Malformed::NoUnit),
            _ if !UNITS.iter().any(|(name, _)| *name == unit) => return Err(Malformed::UnknownUnit),
            // The iterator only goes forward, which is what makes a repeated or longer unit impossible to find.
            _ => units.find(|(name, _)| *name == unit).map(|(_, ms)| *ms).ok_or(Malformed::Disorder)?,
        };
        let count: u64 = number.parse().map_err(|_overflow| Malformed::TooLong)?;
        let part = count.checked_mul(in_ms).ok_or(Malformed::TooLong)?;
        total_ms = total_ms.checked_add(part).ok_or(Malformed::TooLong)?;
        rest = tail;
    }
    Ok(Duration::from_millis(total_ms))
}

/// Prints a duration in the form that [`parse`] reads; what is below a millisecond is left out.
pub fn show(duration: Duration) -> String {
    let mut left = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    for (unit, in_ms) in UNITS {
        let count = left / in_ms;
        left %= in_ms;
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

fn split_at_first(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    let end = text.find(is_end).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, ms) in [
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("1m", 60_000),
            ("1m30s", 90_000),
            ("90s", 90_000),
            ("1h1ms", 3_600_001),
            ("2d", 172_800_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(ms)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for (text, why) in [
            ("", Malformed::Empty),
            ("-5s", Malformed::Negative),
            ("5", Malformed::NoUnit),
            ("1m30", Malformed::NoUnit),
            ("5 s", Malformed::UnknownUnit),
            (" 5s", Malformed::NoNumber),
            ("5µs", Malformed::UnknownUnit),
            ("5S", Malformed::UnknownUnit),
            ("1.5s", Malformed::Fraction),
            ("s", Malformed::NoNumber),
            ("1s1m", Malformed::Disorder),
            ("1s1s", Malformed::Disorder),
            ("99999999999999999999s", Malformed::TooLong),
            ("18446744073709551615s", Malformed::TooLong),
            ("213503982334d18446744073709551615ms", Malformed::TooLong),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn durations_are_printed() {
        for (ms, text) in
            [(0, "0s"), (250, "250ms"), (1_500, "1s500ms"), (90_000, "1m30s"), (86_400_000, "1d")]
        {
            assert_eq!(show(Duration::from_millis(ms)), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(ms: u64) {
            let duration = Duration::from_millis(ms);
            prop_assert_eq!(parse(&show(duration)), Ok(duration));
        }

        #[test]
        fn any_text_is_read_or_refused(text: String) {
            let _ = parse(&text);
        }
    }
}
