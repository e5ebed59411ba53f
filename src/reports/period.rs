//! The days that a report is about, in UTC.

use chrono::{DateTime, Days, Months, NaiveDate, NaiveTime, Utc};

/// The longest period, so that a report reads a bounded part of what is kept.
const MOST_DAYS: i64 = 366;

/// The period of a report for which nobody asked for another one: this day and those before.
const USUAL_DAYS: u64 = 30;

/// Whole days, the last one included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    first: NaiveDate,
    last: NaiveDate,
}

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    #[error("{name} is {text:?}, which is no day: write it as 2026-11-30")]
    NoDay { name: &'static str, text: String },
    #[error("month is {0:?}, which is no month: write it as 2026-11")]
    NoMonth(String),
    #[error("the period ends on {last}, before it begins on {first}")]
    Backwards { first: NaiveDate, last: NaiveDate },
    #[error("the period has {0} days: a report is about {MOST_DAYS} days at most")]
    TooLong(i64),
}

impl Period {
    /// From one day to another. Without the last one, up to today; without the first one, the thirty days up to the last.
    pub fn between(
        from: Option<&str>,
        to: Option<&str>,
        today: NaiveDate,
    ) -> Result<Self, PeriodError> {
        let day = |name, text: Option<&str>| text.map(|text| day(name, text)).transpose();
        let last = day("to", to)?.unwrap_or(today);
        let usual = last.checked_sub_days(Days::new(USUAL_DAYS - 1)).unwrap_or(last);
        let first = day("from", from)?.unwrap_or(usual);
        let days = (last - first).num_days() + 1;
        match days {
            ..=0 => Err(PeriodError::Backwards { first, last }),
            1..=MOST_DAYS => Ok(Self { first, last }),
            _ => Err(PeriodError::TooLong(days)),
        }
    }

    /// A whole month; without one, the month of today.
    pub fn month(month: Option<&str>, today: NaiveDate) -> Result<Self, PeriodError> {
        let text = month.map_or_else(|| today.format("%Y-%m").to_string(), str::to_owned);
        let wrong = || PeriodError::NoMonth(text.clone());
        let is_plain =
            text.len() == 7 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
        let first = format!("{text}-01").parse::<NaiveDate>().ok().filter(|_| is_plain);
        let first = first.ok_or_else(wrong)?;
        let next = first.checked_add_months(Months::new(1)).ok_or_else(wrong)?;
        Ok(Self { first, last: next.pred_opt().ok_or_else(wrong)? })
    }

    pub fn first(&self) -> NaiveDate {
        self.first
    }

    pub fn last(&self) -> NaiveDate {
        self.last
    }

    /// The moment at which the first day begins.
    pub fn begins(&self) -> DateTime<Utc> {
        self.first.and_time(NaiveTime::MIN).and_utc()
    }

    /// The moment at which the last day has ended.
    pub fn ends(&self) -> DateTime<Utc> {
        let next = self.last.succ_opt().unwrap_or(self.last);
        next.and_time(NaiveTime::MIN).and_utc()
    }
}

fn day(name: &'static str, text: &str) -> Result<NaiveDate, PeriodError> {
    let is_plain =
        text.len() == 10 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    let day = text.parse().ok().filter(|_| is_plain);
    day.ok_or_else(|| PeriodError::NoDay { name, text: text.chars().take(40).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn days(period: Result<Period, PeriodError>) -> String {
        match period {
            Ok(period) => format!("{} {}", period.first, period.last),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_period_has_whole_days_at_most_a_year_and_thirty_if_nobody_says_more() {
        let today = date("2026-12-01");
        for (from, to, said) in [
            (None, None, "2026-11-02 2026-12-01"),
            (Some("2026-11-01"), Some("2026-11-30"), "2026-11-01 2026-11-30"),
            (None, Some("2026-03-01"), "2026-01-31 2026-03-01"),
            (Some("2025-12-01"), None, "2025-12-01 2026-12-01"),
            (
                Some("2025-11-30"),
                None,
                "the period has 367 days: a report is about 366 days at most",
            ),
            (
                Some("2026-12-02"),
                None,
                "the period ends on 2026-12-01, before it begins on 2026-12-02",
            ),
            (
                Some("yesterday"),
                None,
                "from is \"yesterday\", which is no day: write it as 2026-11-30",
            ),
            (
                None,
                Some("+2026-1-1"),
                "to is \"+2026-1-1\", which is no day: write it as 2026-11-30",
            ),
        ] {
            assert_eq!(days(Period::between(from, to, today)), said, "{from:?} {to:?}");
        }
        let period = Period::between(Some("2026-11-01"), Some("2026-11-30"), today).unwrap();
        assert_eq!(period.begins().to_rfc3339(), "2026-11-01T00:00:00+00:00");
        assert_eq!(period.ends().to_rfc3339(), "2026-12-01T00:00:00+00:00");
    }

    #[test]
    fn a_month_ends_with_its_last_day() {
        let today = date("2026-12-15");
        for (month, said) in [
            (None, "2026-12-01 2026-12-31"),
            (Some("2028-02"), "2028-02-01 2028-02-29"),
            (Some("2026-13"), "month is \"2026-13\", which is no month: write it as 2026-11"),
            (Some("November"), "month is \"November\", which is no month: write it as 2026-11"),
            (Some("2026-1-"), "month is \"2026-1-\", which is no month: write it as 2026-11"),
        ] {
            assert_eq!(days(Period::month(month, today)), said, "{month:?}");
        }
    }
}
