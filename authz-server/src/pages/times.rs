//! Instants and durations in words. Instants are UTC: the server does not know where the person is.

use std::time::Duration;

use shared::clock::UnixSeconds;

use super::lang::{Lang, fill};

const DAY: i64 = 86_400;

/// A date of the proleptic Gregorian calendar, in UTC.
struct Civil {
    year: i64,
    month: usize,
    day: i64,
    hour: i64,
    minute: i64,
    second: i64,
}

impl Civil {
    /// Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`: years begin in March, so that
    /// the day that is sometimes missing comes last. Years after 9999 are shown as 9999.
    fn of(at: UnixSeconds) -> Self {
        let at = at.0.clamp(-62_135_596_800, 253_402_300_799);
        let (days, rest) = (at.div_euclid(DAY) + 719_468, at.rem_euclid(DAY));
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = if month_from_march < 10 {
            month_from_march + 3
        } else {
            month_from_march - 9
        };
        Self {
            year: year_of_era + era * 400 + i64::from(month <= 2),
            month: usize::try_from(month).unwrap_or(1),
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }
}

/// The day alone: `2026-11-21`.
pub(crate) fn iso_day(at: UnixSeconds) -> String {
    let Civil { year, month, day, .. } = Civil::of(at);
    format!("{year:04}-{month:02}-{day:02}")
}

/// As RFC 3339 writes it: `2026-11-21T10:04:00Z`.
pub(crate) fn iso(at: UnixSeconds) -> String {
    let Civil {
        year,
        month,
        day,
        hour,
        minute,
        second,
    } = Civil::of(at);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// As people write it: `21 November 2026, 10:04 UTC`.
pub(super) fn date(lang: Lang, at: UnixSeconds) -> String {
    let civil = Civil::of(at);
    let texts = lang.texts();
    let month = texts.months.get(civil.month.saturating_sub(1)).copied();
    fill(
        texts.date,
        &[
            ("day", &civil.day.to_string()),
            ("month", month.unwrap_or_default()),
            ("year", &civil.year.to_string()),
            ("time", &format!("{:02}:{:02}", civil.hour, civil.minute)),
        ],
    )
}

/// The largest unit that measures `time` without a rest: `30 days`, `36 hours`, `5 minutes`. At least a minute.
pub(super) fn duration(lang: Lang, time: Duration) -> String {
    let minutes = (time.as_secs() / 60).max(1);
    let texts = lang.texts();
    let (number, one, many) = match minutes {
        _ if minutes.is_multiple_of(1440) => (minutes / 1440, texts.one_day, texts.many_days),
        _ if minutes.is_multiple_of(60) => (minutes / 60, texts.one_hour, texts.many_hours),
        _ => (minutes, texts.one_minute, texts.many_minutes),
    };
    if number == 1 {
        one.to_owned()
    } else {
        fill(many, &[("n", &number.to_string())])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_the_right_day() {
        for (at, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
            (1_795_255_440, "2026-11-21T10:04:00Z"),
            (i64::MAX, "9999-12-31T23:59:59Z"),
            (i64::MIN, "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(iso(UnixSeconds(at)), expected);
        }
    }

    #[test]
    fn words_follow_the_language() {
        let at = UnixSeconds(1_795_255_440);
        assert_eq!(date(Lang::En, at), "21 November 2026, 10:04 UTC");
        assert_eq!(date(Lang::Es, at), "21 de noviembre de 2026, 10:04 UTC");
        assert_eq!(duration(Lang::En, Duration::from_secs(30 * 86_400)), "30 days");
        assert_eq!(duration(Lang::En, Duration::from_secs(86_400)), "1 day");
        assert_eq!(duration(Lang::Es, Duration::from_secs(36 * 3600)), "36 horas");
        assert_eq!(duration(Lang::En, Duration::from_secs(0)), "1 minute");
        assert_eq!(duration(Lang::En, Duration::from_secs(5400)), "90 minutes");
    }
}
