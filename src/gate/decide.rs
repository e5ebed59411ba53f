//! How a gate moves: a pure function of the gate and of what an attempt showed.

use super::{Attempt, Cause, Gate, Move, Policy, Position, Sign};

/// How the gate moves; `None` if it stays as it is.
pub fn after(policy: &Policy, gate: &Gate, attempt: &Attempt) -> Option<Move> {
    match gate.position {
        Position::Open if gate.since.is_some_and(|since| attempt.began < since) => None,
        Position::Open => after_attempt(policy, gate, attempt.sign),
        Position::HalfOpen if gate.probe == Some(attempt.task) => {
            Some(after_probe(policy, gate, attempt.sign))
        }
        Position::HalfOpen | Position::Closed | Position::WithPerson => None,
    }
}

fn after_attempt(policy: &Policy, gate: &Gate, sign: Sign) -> Option<Move> {
    match sign {
        Sign::Nothing | Sign::Runs => None,
        Sign::Works if gate.failures == 0 && gate.slope.is_none() && gate.closings == 0 => None,
        Sign::Works => Some(Move::Forget { slope: wider(policy, gate.slope) }),
        Sign::Fails if gate.failures + 1 < policy.gate.failures => Some(Move::Count),
        Sign::Fails => Some(close_for_failures(policy, gate)),
        Sign::LimitsRate(wait) => Some(limit_rate(gate, wait)),
    }
}

fn after_probe(policy: &Policy, gate: &Gate, sign: Sign) -> Move {
    match sign {
        Sign::Nothing => Move::NextProbe,
        // A job that the backend accepted shows that it limits the rate no longer.
        Sign::Runs if gate.cause == Some(Cause::RateLimit) => Move::Open,
        Sign::Runs => Move::Await(policy.longest_job),
        Sign::Works => Move::Open,
        Sign::Fails => close_for_failures(policy, gate),
        Sign::LimitsRate(wait) => limit_rate(gate, wait),
    }
}

fn wider(policy: &Policy, slope: Option<u32>) -> Option<u32> {
    slope.map(|slope| slope + 1).filter(|slope| *slope < policy.gate.slope_end)
}

fn close_for_failures(policy: &Policy, gate: &Gate) -> Move {
    Move::Close {
        cause: Cause::Failures,
        wait: policy.closed_for(gate.closings),
        closings: gate.closings.saturating_add(1),
    }
}

fn limit_rate(gate: &Gate, wait: std::time::Duration) -> Move {
    Move::Close { cause: Cause::RateLimit, wait, closings: gate.closings }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, TimeDelta, Utc};
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;

    const TASK: i64 = 7;

    fn policy() -> Policy {
        let settings = [
            ("DATABASE__URL", "postgres://unused"),
            ("BACKEND__BASE_URL", "http://unused"),
            ("BACKEND__API_KEY", "unused"),
        ];
        let settings =
            settings.map(|(name, value)| (format!("RECONCILER__{name}"), value.to_owned())).into();
        Policy::new(&Config::from_sources(None, Some(settings)).unwrap())
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
    }

    fn gate(position: Position) -> Gate {
        Gate {
            position,
            cause: None,
            since: Some(at(100)),
            failures: 0,
            closings: 0,
            slope: None,
            probe: (position == Position::HalfOpen).then_some(TASK),
        }
    }

    fn shows(sign: Sign) -> Attempt {
        Attempt { task: TASK, began: at(200), sign }
    }

    fn wait_of(moved: Option<Move>) -> f64 {
        match moved {
            Some(Move::Close { wait, .. }) => wait.as_secs_f64(),
            other => panic!("not closed: {other:?}"),
        }
    }

    #[test]
    fn the_fifth_failure_in_a_row_closes_the_gate_and_no_earlier_one() {
        for failures in 0..4 {
            let gate = Gate { failures, ..gate(Position::Open) };
            assert_eq!(after(&policy(), &gate, &shows(Sign::Fails)), Some(Move::Count));
        }
        let gate = Gate { failures: 4, ..gate(Position::Open) };
        let moved = after(&policy(), &gate, &shows(Sign::Fails));
        assert!((54.0..=66.0).contains(&wait_of(moved)), "{moved:?}");
    }

    #[test]
    fn a_gate_that_closes_again_and_again_stays_closed_twice_as_long_up_to_an_hour() {
        let minutes = |closings| {
            let gate = Gate { closings, ..gate(Position::HalfOpen) };
            (wait_of(after(&policy(), &gate, &shows(Sign::Fails))) / 60.0).round() as u32
        };
        for (closings, expected) in [(0, 1), (1, 2), (2, 4), (3, 8)] {
            let found = minutes(closings);
            let margin = expected / 8 + 1;
            assert!(found.abs_diff(expected) < margin + 1, "{closings}: {found} min");
        }
        assert!((54..=66).contains(&minutes(1_000_000)));
    }

    #[test]
    fn only_signs_of_the_app_count() {
        let trouble = Gate { failures: 3, slope: Some(2), closings: 1, ..gate(Position::Open) };
        let table = [
            (Sign::Nothing, None),
            (Sign::Runs, None),
            (Sign::Fails, Some(Move::Count)),
            (Sign::Works, Some(Move::Forget { slope: Some(3) })),
        ];
        for (sign, expected) in table {
            assert_eq!(after(&policy(), &trouble, &shows(sign)), expected, "{sign:?}");
        }
        let healthy = gate(Position::Open);
        assert_eq!(after(&policy(), &healthy, &shows(Sign::Works)), None, "health writes nothing");
    }

    #[test]
    fn a_rate_limit_closes_for_as_long_as_it_asks_and_is_no_failure() {
        let wait = Duration::from_secs(300);
        for position in [Position::Open, Position::HalfOpen] {
            let gate = Gate { closings: 2, ..gate(position) };
            let moved = after(&policy(), &gate, &shows(Sign::LimitsRate(wait)));
            assert_eq!(moved, Some(Move::Close { cause: Cause::RateLimit, wait, closings: 2 }));
        }
    }

    #[test]
    fn the_probe_decides_and_nobody_else() {
        let table = [
            (Sign::Works, Move::Open),
            (Sign::Nothing, Move::NextProbe),
            (Sign::Runs, Move::Await(policy().longest_job)),
        ];
        for (sign, expected) in table {
            let gate = Gate { cause: Some(Cause::Failures), ..gate(Position::HalfOpen) };
            assert_eq!(after(&policy(), &gate, &shows(sign)), Some(expected), "{sign:?}");
            let other = Attempt { task: TASK + 1, ..shows(sign) };
            assert_eq!(after(&policy(), &gate, &other), None, "{sign:?} of another");
        }
        let limited = Gate { cause: Some(Cause::RateLimit), ..gate(Position::HalfOpen) };
        assert_eq!(after(&policy(), &limited, &shows(Sign::Runs)), Some(Move::Open));
    }

    #[test]
    fn the_slope_gets_wider_by_one_with_each_that_works_until_it_ends() {
        let mut slope = Some(1);
        let mut steps = 0;
        while let Some(width) = slope {
            let gate = Gate { slope, ..gate(Position::Open) };
            let Some(Move::Forget { slope: wider }) = after(&policy(), &gate, &shows(Sign::Works))
            else {
                panic!("not wider after {width}");
            };
            assert!(wider.is_none_or(|wider| wider == width + 1));
            slope = wider;
            steps += 1;
        }
        assert_eq!(steps, 31);
    }

    proptest! {
        #[test]
        fn what_began_before_the_gate_last_moved_moves_nothing(
            position in prop_oneof![
                Just(Position::Open), Just(Position::Closed), Just(Position::WithPerson)
            ],
            failures in 0_u32..10, early in 1_i64..1000,
            sign in prop_oneof![
                Just(Sign::Works), Just(Sign::Fails), Just(Sign::LimitsRate(Duration::from_secs(9)))
            ],
        ) {
            let gate = Gate { failures, ..gate(position) };
            let late = Attempt { began: at(100 - early), ..shows(sign) };
            prop_assert_eq!(after(&policy(), &gate, &late), None);
        }

        #[test]
        fn a_shut_gate_is_opened_by_its_probe_alone(
            position in prop_oneof![
                Just(Position::HalfOpen), Just(Position::Closed), Just(Position::WithPerson)
            ],
            task in 0_i64..20, began in 0_i64..1000,
            sign in prop_oneof![
                Just(Sign::Works), Just(Sign::Fails), Just(Sign::Runs), Just(Sign::Nothing)
            ],
        ) {
            let attempt = Attempt { task, began: at(began), sign };
            if after(&policy(), &gate(position), &attempt) == Some(Move::Open) {
                prop_assert_eq!((position, task, sign), (Position::HalfOpen, TASK, Sign::Works));
            }
        }
    }
}
