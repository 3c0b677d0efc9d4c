//! Numbers and times as people read them.

use std::borrow::Cow;
use time::{OffsetDateTime, UtcOffset};

/// `45 s`, `12 min`, `3 h 12 min`, `5 days`.
pub(super) fn duration(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (seconds, hours, days) {
        (0..=59, ..) => format!("{seconds} s"),
        (_, 0, _) => format!("{minutes} min"),
        (_, 1..=9, _) if minutes % 60 > 0 => format!("{hours} h {} min", minutes % 60),
        (_, _, 0..=1) => format!("{hours} h"),
        _ => format!("{days} days"),
    }
}

/// How long ago.
pub(super) fn ago(then: u64, now: u64) -> String {
    match now.saturating_sub(then) {
        0..=4 => "just now".to_owned(),
        seconds => format!("{} ago", duration(seconds)),
    }
}

/// What is left, as a clock shows it: `9:41`.
pub(super) fn left(seconds: u64) -> String {
    format!("{}:{:02}", seconds / 60, seconds % 60)
}

/// `1.2 MB`, in powers of ten.
pub(super) fn bytes(n: u64) -> String {
    let mut value = n as f64;
    let mut unit = "B";
    for larger in ["kB", "MB", "GB", "TB"] {
        // So that 999,950 bytes are no "1000 kB".
        if value < 999.5 {
            break;
        }
        value /= 1000.0;
        unit = larger;
    }
    match unit {
        "B" => format!("{n} B"),
        _ if value < 9.95 => format!("{value:.1} {unit}"),
        _ => format!("{value:.0} {unit}"),
    }
}

/// `14:05:09` of the local day.
pub(super) fn clock(time: u64, offset: UtcOffset) -> String {
    let (hour, minute, second) = local(time, offset).to_hms();
    format!("{hour:02}:{minute:02}:{second:02}")
}

/// `2026-01-31 14:05:09`.
pub(super) fn date(time: u64, offset: UtcOffset) -> String {
    let date = local(time, offset).date();
    let (year, month, day) = (date.year(), u8::from(date.month()), date.day());
    format!("{year}-{month:02}-{day:02} {}", clock(time, offset))
}

fn local(time: u64, offset: UtcOffset) -> OffsetDateTime {
    i64::try_from(time)
        .ok()
        .and_then(|time| OffsetDateTime::from_unix_timestamp(time).ok())
        .and_then(|time| time.checked_to_offset(offset))
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// The text with words cut that are longer than `most` characters.
pub(super) fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    if text.split(' ').all(|word| word.len() <= most) {
        return text.into();
    }
    let cut = |word: &str| match word.char_indices().nth(most) {
        None => word.to_owned(),
        Some(_) => {
            let kept: String = word.chars().take(most / 2).collect();
            format!("{kept}…")
        }
    };
    let words: Vec<_> = text.split(' ').map(cut).collect();
    words.join(" ").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_two_units_at_most() {
        for (seconds, text) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (3599, "59 min"),
            (3600, "1 h"),
            (3660, "1 h 1 min"),
            (36_060, "10 h"),
            (86_400, "24 h"),
            (172_799, "47 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(duration(seconds), text);
        }
        assert_eq!(ago(100, 103), "just now");
        assert_eq!(ago(100, 90), "just now");
        assert_eq!(ago(100, 160), "1 min ago");
        assert_eq!((left(581), left(9)), ("9:41".into(), "0:09".into()));
    }

    #[test]
    fn bytes_have_two_or_three_digits() {
        for (n, text) in [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.0 kB"),
            (9949, "9.9 kB"),
            (9950, "10 kB"),
            (999_499, "999 kB"),
            (999_950, "1.0 MB"),
            (u64::MAX, "18446744 TB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn local_time_is_that_of_the_offset() {
        let offset = UtcOffset::from_hms(1, 30, 0).unwrap();
        assert_eq!(date(1_700_000_000, offset), "2023-11-14 23:43:20");
        assert_eq!(clock(u64::MAX, offset), "00:00:00");
    }

    #[test]
    fn only_long_words_are_cut() {
        assert_eq!(shortened("open http://a b", 10), "open http://a b");
        assert_eq!(shortened("open http://abcdef b", 10), "open http:… b");
        // letters of several octets are letters
        assert_eq!(shortened("ääää", 4), "ääää");
        assert_eq!(shortened("äääää", 4), "ää…");
    }
}
