//! Times as they are shown: in UTC in files, local and relative to now for a person at a terminal or in a browser.

use chrono::{DateTime, Local, TimeDelta, Utc};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) enum Clock {
    Utc,
    Person { now: DateTime<Utc> },
}

impl Clock {
    /// A time to the second.
    pub(in crate::operator) fn moment(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Utc => at.format("%Y-%m-%d %H:%M:%S UTC").to_string(),
            Self::Person { now } => {
                let local = at.with_timezone(&Local).format("%Y-%m-%d %H:%M:%S %:z");
                format!("{local} ({})", relative(at - now))
            }
        }
    }

    /// A time to the minute, short enough for a column.
    pub(in crate::operator) fn minute(self, at: DateTime<Utc>) -> String {
        match self {
            Self::Utc => at.format("%Y-%m-%d %H:%M UTC").to_string(),
            Self::Person { now } => {
                let local = at.with_timezone(&Local).format("%d %b %H:%M");
                format!("{local}, {}", relative(at - now))
            }
        }
    }
}

/// The distance from now, in one unit.
pub(in crate::operator) fn relative(from_now: TimeDelta) -> String {
    let distance = from_now.abs();
    let distance = match (distance.num_days(), distance.num_hours(), distance.num_minutes()) {
        (2.., ..) => format!("{} d", distance.num_days()),
        (_, 1.., _) => format!("{} h", distance.num_hours()),
        (_, _, 1..) => format!("{} min", distance.num_minutes()),
        _ => return "now".to_owned(),
    };
    if from_now < TimeDelta::zero() { format!("{distance} ago") } else { format!("in {distance}") }
}

/// A length of time, in two units at most.
pub(in crate::operator) fn span(time: TimeDelta) -> String {
    let (days, hours) = (time.num_days(), time.num_hours() % 24);
    let (minutes, seconds) = (time.num_minutes() % 60, time.num_seconds() % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distance_is_told_in_the_unit_that_matters() {
        for (seconds, words) in [
            (0, "now"),
            (-59, "now"),
            (60, "in 1 min"),
            (-3599, "59 min ago"),
            (3600, "in 1 h"),
            (-47 * 3600, "47 h ago"),
            (48 * 3600, "in 2 d"),
            (-30 * 86_400, "30 d ago"),
        ] {
            assert_eq!(relative(TimeDelta::seconds(seconds)), words, "{seconds}");
        }
    }

    #[test]
    fn a_file_has_utc_and_a_person_reads_how_far_it_is() {
        let at: DateTime<Utc> = "2026-03-01T10:00:00Z".parse().unwrap();
        assert_eq!(Clock::Utc.moment(at), "2026-03-01 10:00:00 UTC");
        assert_eq!(Clock::Utc.minute(at), "2026-03-01 10:00 UTC");
        let person = Clock::Person { now: at + TimeDelta::hours(3) };
        assert!(person.moment(at).ends_with(" (3 h ago)"), "{}", person.moment(at));
        assert!(person.minute(at).ends_with(", 3 h ago"), "{}", person.minute(at));
    }
}
